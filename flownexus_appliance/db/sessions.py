"""DTLS sessions as they survive a restart, in two tables: what stays, and what moves with every record.

Owns the type and the SQL of `dtls_session` and `dtls_counter`. The box saves where a thousand
sessions stand once a second; small rows and one statement keep that to a few pages and one step of
the writing thread.
"""

import json
import logging
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from .credentials import Proof, ProofKind
from .writer import Batch

SESSION_PREFIX: Final = "dtls-"
MAX_ID_BYTES: Final = 32  # RFC 9146 allows 255; ours have 8
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SavedSession:
    """A DTLS session as it survives a restart.

    `id` is its Connection ID and names it (`Sender.peer` is "dtls-" and this in hexadecimal);
    `snapshot` is what the engine made of it at its handshake, `counters` where its records stand.
    A session that is not `live` was closed and can only be resumed, by `resumption_id` (RFC 5246
    7.4.1.2; empty where it cannot be). Snapshots hold master secrets.
    """

    id: bytes
    address: str
    proof: Proof
    snapshot: bytes = field(repr=False)
    counters: bytes
    resumption_id: bytes
    live: bool
    used_ms: int

    @property
    def name(self) -> str:
        return session_name(self.id)


def session_name(session_id: bytes) -> str:
    """What everybody but the DTLS side calls a session."""
    return f"{SESSION_PREFIX}{session_id.hex()}"


def session_id_of(name: str) -> bytes | None:
    """The inverse of `session_name`; None for what is none."""
    if not name.startswith(SESSION_PREFIX):
        return None
    try:
        return bytes.fromhex(name.removeprefix(SESSION_PREFIX))
    except ValueError:
        return None


_PUT: Final = """
    INSERT OR REPLACE INTO dtls_session (id, proof_kind, proof, snapshot, resumption_id, live)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_PUT_COUNTER: Final = """
    INSERT OR REPLACE INTO dtls_counter (id, counters, address, used_ms) VALUES (?, ?, ?, ?)
"""
# JSON holds no bytes: all ids and counters come as one string of them, which the rows cut up. Only
# rows that are there change, so a session that was removed meanwhile does not come back.
_MOVE: Final = """
    UPDATE dtls_counter SET counters = moved.counters, address = moved.address, used_ms = moved.used_ms
    FROM (SELECT substr(?1, value ->> 0, value ->> 1) AS id,
                 substr(?1, (value ->> 0) + (value ->> 1), value ->> 2) AS counters,
                 value ->> 3 AS address, value ->> 4 AS used_ms
          FROM json_each(?2)) AS moved
    WHERE dtls_counter.id = moved.id
"""
_LOAD: Final = """
    SELECT s.id, c.address, s.proof_kind, s.proof, s.snapshot, c.counters, s.resumption_id, s.live,
           c.used_ms
    FROM dtls_session s LEFT JOIN dtls_counter c ON c.id = s.id ORDER BY c.used_ms
"""


def put_session(batch: Batch, saved: SavedSession) -> None:
    """Keep a session, in place of an earlier state of it."""
    proof = saved.proof
    batch.statements.append(
        (
            _PUT,
            (saved.id, proof.kind.value, proof.value, saved.snapshot, saved.resumption_id, int(saved.live)),
        )
    )
    batch.statements.append((_PUT_COUNTER, (saved.id, saved.counters, saved.address, saved.used_ms)))


def put_session_counters(batch: Batch, counters: Mapping[bytes, tuple[bytes, str, int]]) -> None:
    """Keep counters, address and time of last use (ms since 1970) by session id, in one statement."""
    if not counters:
        return
    rows = []
    parts: list[bytes] = []
    position = 1  # substr() counts from one
    for session_id, (counter, address, used_ms) in counters.items():
        rows.append((position, len(session_id), len(counter), address, used_ms))
        parts += (session_id, counter)
        position += len(session_id) + len(counter)
    batch.statements.append((_MOVE, (b"".join(parts), json.dumps(rows))))


def remove_session(batch: Batch, session_id: bytes) -> None:
    """Forget a session."""
    batch.statements.append(("DELETE FROM dtls_session WHERE id = ?", (session_id,)))


def load_sessions(connection: sqlite3.Connection) -> tuple[SavedSession, ...]:
    """All sessions, the one used last at the end.

    A row that makes no sense is thrown away: it costs its device a handshake, not the box its start.
    """
    sessions = []
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        for row in cursor.execute(_LOAD).fetchall():
            try:
                sessions.append(_session(row))
            except ValueError as error:
                log.warning("saved session dropped", extra={"SESSION": row["id"].hex(), "REASON": str(error)})
                connection.execute("DELETE FROM dtls_session WHERE id = ?", (row["id"],))
    return tuple(sessions)


def _session(row: sqlite3.Row) -> SavedSession:
    """Raises ValueError."""
    if row["counters"] is None:
        raise ValueError("it has no counters")
    if not 0 < len(row["id"]) <= MAX_ID_BYTES:
        raise ValueError(f"an id of {len(row['id'])} bytes")
    return SavedSession(
        id=row["id"],
        address=row["address"],
        proof=Proof(ProofKind(row["proof_kind"]), row["proof"]),
        snapshot=row["snapshot"],
        counters=row["counters"],
        resumption_id=row["resumption_id"],
        live=bool(row["live"]),
        used_ms=row["used_ms"],
    )
