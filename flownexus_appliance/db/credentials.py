"""Credentials: what DTLS peers prove themselves by, whose they are, and what became of them.

Owns the types and the SQL of table `credential`; `fleet/credentials.py` decides. LwM2M Core 1.1.1
section 5.2 (pre-shared keys and certificates), RFC 4279 (PSK identities).
"""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from .writer import Batch


class ProofKind(StrEnum):
    """How a DTLS peer proved who it is."""

    PSK = "psk"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a DTLS handshake proved: the PSK identity, or the SHA-256 of the peer's certificate."""

    kind: ProofKind
    value: bytes


class CredentialState(StrEnum):
    OFFERED = "offered"  # good, and not used yet; takes the place of the earlier ones when it is
    ACTIVE = "active"  # good
    REPLACED = "replaced"  # ended: a newer one of its kind is in use
    REVOKED = "revoked"  # ended: taken away by the operator


class CredentialOrigin(StrEnum):
    OPERATOR = "operator"
    ENROLMENT = "enrolment"  # given to a device that came with the enrolment key
    BOOTSTRAP = "bootstrap"  # made to take an earlier one's place


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential of one endpoint name, whether or not the device was ever seen.

    `secret` is the pre-shared key, empty for a certificate and once it has ended; `certificate` is
    the DER, empty for a key. `serial` is the certificate's serial number. Times are ms since 1970
    UTC, 0 where it did not happen yet (for `not_after_ms`: where there is no end).
    """

    id: int
    endpoint: str
    proof: Proof
    state: CredentialState
    origin: CredentialOrigin
    made_ms: int
    secret: bytes = field(default=b"", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    serial: int = 0
    not_after_ms: int = 0
    label: str = ""
    first_used_ms: int = 0
    last_used_ms: int = 0
    ended_ms: int = 0

    @property
    def kind(self) -> ProofKind:
        return self.proof.kind

    @property
    def good(self) -> bool:
        """Whether a device may come in by it."""
        return self.state in GOOD


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """A credential as it is shown: no key, times as in `Credential`.

    `identity` is that of a PSK (hexadecimal where it is no printable text) or, hexadecimal, the
    SHA-256 of a certificate; `serial` is hexadecimal, "" for a PSK.
    """

    id: int
    endpoint: str
    kind: str
    identity: str
    serial: str
    not_after_ms: int
    state: str
    origin: str
    label: str
    made_ms: int
    first_used_ms: int
    last_used_ms: int
    ended_ms: int


GOOD: Final = frozenset({CredentialState.OFFERED, CredentialState.ACTIVE})

_PUT: Final = """
    INSERT INTO credential
    (id, endpoint, kind, identity, secret, certificate, serial, not_after_ms, state, origin, label,
     made_ms, first_used_ms, last_used_ms, ended_ms)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
        secret = excluded.secret, state = excluded.state, first_used_ms = excluded.first_used_ms,
        last_used_ms = excluded.last_used_ms, ended_ms = excluded.ended_ms
"""
# A session whose own removal the disk did not take would come back with the next start, and its
# identity may stand for another key by then.
_END_SESSIONS: Final = "DELETE FROM dtls_session WHERE proof_kind = ? AND proof = ?"
# A device that bootstraps at each start ends a certificate each time. The newest stays in any case: its
# id is not given out again.
ENDED_KEPT: Final = 20
_DROP_ENDED: Final = """
    DELETE FROM credential WHERE endpoint = ?1 AND state IN ('replaced', 'revoked') AND id NOT IN (
        SELECT id FROM credential WHERE endpoint = ?1 AND state IN ('replaced', 'revoked')
        ORDER BY ended_ms DESC, id DESC LIMIT ?2)
"""
# One statement for a thousand devices that came back after a power cut.
_USED: Final = """
    UPDATE credential SET last_used_ms = used.moment
    FROM (SELECT value ->> 0 AS id, value ->> 1 AS moment FROM json_each(?)) AS used
    WHERE credential.id = used.id
"""


# For readers: everything but the secret.
SHOWN: Final = """
    SELECT id, endpoint, kind, identity, serial, not_after_ms, state, origin, label, made_ms,
           first_used_ms, last_used_ms, ended_ms FROM credential
"""


def put_credential(batch: Batch, credential: Credential) -> None:
    """Keep a new credential, or what became of one.

    When it ends its key is wiped, its sessions go, and of those of its endpoint that ended before the
    last `ENDED_KEPT` stay.
    """
    if not credential.good:
        batch.statements.append((_END_SESSIONS, (credential.kind.value, credential.proof.value)))
    batch.statements.append(
        (
            _PUT,
            (
                credential.id,
                credential.endpoint,
                credential.kind.value,
                credential.proof.value,
                credential.secret if credential.good else b"",
                credential.certificate,
                f"{credential.serial:x}",
                credential.not_after_ms,
                credential.state.value,
                credential.origin.value,
                credential.label,
                credential.made_ms,
                credential.first_used_ms,
                credential.last_used_ms,
                credential.ended_ms,
            ),
        )
    )
    if not credential.good:
        batch.statements.append((_DROP_ENDED, (credential.endpoint, ENDED_KEPT)))


def put_credential_uses(batch: Batch, used_ms: Mapping[int, int]) -> None:
    """Note when credentials were last used, by id."""
    if used_ms:
        batch.statements.append((_USED, (json.dumps(list(used_ms.items())),)))


def load_credentials(connection: sqlite3.Connection) -> tuple[Credential, ...]:
    """Those that are good, oldest first; raises ValueError for a row that nobody can have written."""
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        return tuple(
            Credential(
                id=row["id"],
                endpoint=row["endpoint"],
                proof=Proof(ProofKind(row["kind"]), row["identity"]),
                state=CredentialState(row["state"]),
                origin=CredentialOrigin(row["origin"]),
                made_ms=row["made_ms"],
                secret=row["secret"],
                certificate=row["certificate"],
                serial=int(row["serial"], 16),
                not_after_ms=row["not_after_ms"],
                label=row["label"],
                first_used_ms=row["first_used_ms"],
                last_used_ms=row["last_used_ms"],
                ended_ms=row["ended_ms"],
            )
            for row in cursor.execute(
                "SELECT * FROM credential WHERE state IN ('offered', 'active') ORDER BY id"
            )
        )


def credential_row(row: sqlite3.Row) -> CredentialRow:
    """A row of `SHOWN`."""
    certificate = row["kind"] == ProofKind.CERTIFICATE
    return CredentialRow(
        id=row["id"],
        endpoint=row["endpoint"],
        kind=row["kind"],
        identity=row["identity"].hex() if certificate else identity_text(row["identity"]),
        serial=row["serial"] if certificate else "",
        not_after_ms=row["not_after_ms"],
        state=row["state"],
        origin=row["origin"],
        label=row["label"],
        made_ms=row["made_ms"],
        first_used_ms=row["first_used_ms"],
        last_used_ms=row["last_used_ms"],
        ended_ms=row["ended_ms"],
    )


def identity_text(identity: bytes) -> str:
    """A PSK identity for people: as text where it is some (RFC 4279 5.1), else hexadecimal."""
    try:
        text = identity.decode()
    except UnicodeDecodeError:
        return identity.hex()
    return text if text.isprintable() else identity.hex()
