"""Credentials as they are shown, without their keys, and finding them: the database knows all that ever were.

What the memory of the fleet knows newer (when one was last used) goes over what is on disk.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ..db.credentials import (
    Credential,
    CredentialOrigin,
    CredentialRow,
    CredentialState,
    ProofKind,
    identity_text,
)
from . import requests
from .ports import Parts

BATCH: Final = 500
GOOD: Final = frozenset({CredentialState.OFFERED, CredentialState.ACTIVE})
# What `?state=` may be: a state, or good (offered or active) and ended (the others).
STATES: Final = (*CredentialState, "good", "ended")


@dataclass(frozen=True, slots=True)
class CredentialEntry:
    """A credential as it is shown; times in ms since 1970 UTC, None where it has not happened.

    `identity` is that of a key (hexadecimal where it is no printable text) or the SHA-256 of a certificate,
    hexadecimal; `serial` the certificate's number, hexadecimal, "" for a key. `good`: a device may come in
    by it now.
    """

    id: int
    endpoint: str
    kind: str
    identity: str
    serial: str
    state: str
    good: bool
    origin: str
    label: str
    made_ms: int
    not_after_ms: int | None
    first_used_ms: int | None
    last_used_ms: int | None
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class CredentialQuestion:
    """Which credentials: of `endpoint`; `search` is in the endpoint's name, the identity or the label."""

    endpoint: str = ""
    search: str = ""
    kind: str = ""
    state: str = ""
    origin: str = ""

    @classmethod
    def of(cls, request: web.Request, endpoint: str = "") -> "CredentialQuestion":
        """`?q=`, `?kind=`, `?state=` and `?origin=`."""
        return cls(
            endpoint=endpoint,
            search=requests.search(request),
            kind=requests.one_of(request, "kind", tuple(ProofKind)),
            state=requests.one_of(request, "state", STATES),
            origin=requests.one_of(request, "origin", tuple(CredentialOrigin)),
        )

    def admits(self, row: CredentialRow) -> bool:
        if (self.kind and row.kind != self.kind) or (self.origin and row.origin != self.origin):
            return False
        if self.state in ("good", "ended"):
            if (row.state in GOOD) != (self.state == "good"):
                return False
        elif self.state and row.state != self.state:
            return False
        wanted = self.search.lower()
        return not wanted or any(wanted in text.lower() for text in (row.endpoint, row.identity, row.label))


async def page_before(
    parts: Parts, question: CredentialQuestion, before: int, limit: int
) -> tuple[list[CredentialEntry], int | None]:
    """At most `limit` credentials with numbers below `before`, newest first; and the number to ask on from,
    None at the end."""
    found: list[CredentialRow] = []
    while len(found) <= limit:
        batch = await _batch(parts, question.endpoint, before)
        found += filter(question.admits, batch)
        if len(batch) < BATCH:
            break
        before = batch[-1].id
    following = found[limit - 1].id if len(found) > limit else None
    return _entries(parts, found[:limit]), following


def entry_of(credential: Credential) -> CredentialEntry:
    """What may be shown of a credential."""
    psk = credential.kind is ProofKind.PSK
    value = credential.proof.value
    return CredentialEntry(
        id=credential.id,
        endpoint=credential.endpoint,
        kind=credential.kind.value,
        identity=identity_text(value) if psk else value.hex(),
        serial="" if psk else f"{credential.serial:x}",
        state=credential.state.value,
        good=credential.good,
        origin=credential.origin.value,
        label=credential.label,
        made_ms=credential.made_ms,
        not_after_ms=credential.not_after_ms or None,
        first_used_ms=credential.first_used_ms or None,
        last_used_ms=credential.last_used_ms or None,
        ended_ms=credential.ended_ms or None,
    )


async def _batch(parts: Parts, endpoint: str, before: int) -> Sequence[CredentialRow]:
    """The next rows, `BATCH` of them where there are more; all at once of a single endpoint."""
    if not endpoint:
        return await parts.reader.all_credentials(before, BATCH)
    return [row for row in await parts.reader.credentials(endpoint) if row.id < before]


def _entries(parts: Parts, rows: Iterable[CredentialRow]) -> list[CredentialEntry]:
    in_use = {one.id: one for one in parts.credentials.all()}
    return [entry_of(in_use[row.id]) if row.id in in_use else _entry(row) for row in rows]


def _entry(row: CredentialRow) -> CredentialEntry:
    return CredentialEntry(
        id=row.id,
        endpoint=row.endpoint,
        kind=row.kind,
        identity=row.identity,
        serial=row.serial,
        state=row.state,
        good=row.state in GOOD,
        origin=row.origin,
        label=row.label,
        made_ms=row.made_ms,
        not_after_ms=row.not_after_ms or None,
        first_used_ms=row.first_used_ms or None,
        last_used_ms=row.last_used_ms or None,
        ended_ms=row.ended_ms or None,
    )
