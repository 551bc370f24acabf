"""People who may use the box, their sessions and tokens, and the record of what was changed.

Owns the types and the SQL of the tables `user`, `session`, `api_token` and `audit`, and of the setup code in
`setting`; `access/` decides. Of passwords, cookies and tokens only hashes are here.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from .writer import Batch

# As `access.roles.Role` has them, which is above this package.
ROLES: Final = frozenset({"viewer", "operator", "admin"})
# The newest changes that stay on record: years of a household, and some 20 MB.
AUDIT_KEPT: Final = 100_000
_SETUP_CODE: Final = "setup_code"


@dataclass(frozen=True, slots=True)
class UserRow:
    """A person. Times are ms since 1970 UTC; `changed_ms` is when the password became what it is."""

    id: int
    name: str
    role: str
    password_hash: str = field(repr=False)
    made_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser that is signed in, by the SHA-256 of its secret; `address` and `agent` are the last ones."""

    id: int
    user_id: int
    secret_hash: bytes = field(repr=False)
    kept: bool
    made_ms: int
    used_ms: int
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    """An API token, by the SHA-256 of its secret; `expires_ms` is 0 for no end, `used_ms` for never."""

    id: int
    user_id: int
    name: str
    role: str
    secret_hash: bytes = field(repr=False)
    made_ms: int
    expires_ms: int
    used_ms: int = 0


@dataclass(frozen=True, slots=True)
class People:
    """All that an earlier run left of them. `setup_code` is "" where none waits."""

    users: tuple[UserRow, ...] = ()
    sessions: tuple[SessionRow, ...] = ()
    tokens: tuple[TokenRow, ...] = ()
    setup_code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change, or an attempt at one. `who` is "" for a stranger, `address` for the box itself, `outcome`
    for what was done, else it is the error's code."""

    id: int
    time_ms: int
    who: str
    address: str
    action: str
    target: str
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditQuestion:
    """Which changes: "" asks for all, None for no bound. `who` is a user, with the tokens of theirs, or
    whoever else stands there; `search` is looked for in everything that is text; `from_ms` is in, `to_ms` is
    not; `before_id`: the page behind that change."""

    who: str = ""
    search: str = ""
    from_ms: int | None = None
    to_ms: int | None = None
    before_id: int | None = None


def load_people(connection: sqlite3.Connection) -> People:
    """Everything at once; raises ValueError for a row that nobody can have written."""
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        users = tuple(
            UserRow(
                id=row["id"],
                name=row["name"],
                role=_role(row["role"]),
                password_hash=row["password_hash"],
                made_ms=row["made_ms"],
                changed_ms=row["changed_ms"],
            )
            for row in cursor.execute("SELECT * FROM user ORDER BY id")
        )
        sessions = tuple(
            SessionRow(
                id=row["id"],
                user_id=row["user_id"],
                secret_hash=row["secret_hash"],
                kept=bool(row["kept"]),
                made_ms=row["made_ms"],
                used_ms=row["used_ms"],
                address=row["address"],
                agent=row["agent"],
            )
            for row in cursor.execute("SELECT * FROM session ORDER BY id")
        )
        tokens = tuple(
            TokenRow(
                id=row["id"],
                user_id=row["user_id"],
                name=row["name"],
                role=_role(row["role"]),
                secret_hash=row["secret_hash"],
                made_ms=row["made_ms"],
                expires_ms=row["expires_ms"],
                used_ms=row["used_ms"],
            )
            for row in cursor.execute("SELECT * FROM api_token ORDER BY id")
        )
        code = cursor.execute("SELECT value FROM setting WHERE name = ?", (_SETUP_CODE,)).fetchone()
    return People(users, sessions, tokens, "" if code is None else code["value"])


def _role(text: str) -> str:
    if text not in ROLES:
        raise ValueError(f"there is no role {text}")
    return text


def put_user(batch: Batch, user: UserRow) -> None:
    """Keep a new user, or what became of one."""
    batch.statements.append(
        (
            "INSERT INTO user (id, name, role, password_hash, made_ms, changed_ms) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET role = excluded.role, password_hash = excluded.password_hash,"
            " changed_ms = excluded.changed_ms",
            (user.id, user.name, user.role, user.password_hash, user.made_ms, user.changed_ms),
        )
    )


def remove_user(batch: Batch, user_id: int) -> None:
    """Forget a user, with sessions and tokens."""
    batch.statements.append(("DELETE FROM user WHERE id = ?", (user_id,)))


def put_setup_code(batch: Batch, code: str) -> None:
    """Keep the code that makes the first admin, in place of an earlier one; "" takes it away."""
    batch.statements.append(
        ("INSERT OR REPLACE INTO setting VALUES (?, ?)", (_SETUP_CODE, code))
        if code
        else ("DELETE FROM setting WHERE name = ?", (_SETUP_CODE,))
    )


def put_user_session(batch: Batch, session: SessionRow) -> None:
    """Keep a new session."""
    batch.statements.append(
        (
            "INSERT INTO session (id, user_id, secret_hash, kept, made_ms, used_ms, address, agent)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                session.id,
                session.user_id,
                session.secret_hash,
                int(session.kept),
                session.made_ms,
                session.used_ms,
                session.address,
                session.agent,
            ),
        )
    )


def put_session_uses(batch: Batch, sessions: Iterable[SessionRow]) -> None:
    """Note when, and from where, sessions were used; one that ended meanwhile is passed over."""
    batch.statements.extend(
        (
            "UPDATE session SET made_ms = ?, used_ms = ?, address = ?, agent = ? WHERE id = ?",
            (one.made_ms, one.used_ms, one.address, one.agent, one.id),
        )
        for one in sessions
    )


def remove_user_sessions(batch: Batch, session_ids: Iterable[int]) -> None:
    """Forget sessions."""
    batch.statements.extend(("DELETE FROM session WHERE id = ?", (number,)) for number in session_ids)


def put_token(batch: Batch, token: TokenRow) -> None:
    """Keep a new token."""
    batch.statements.append(
        (
            "INSERT INTO api_token (id, user_id, name, role, secret_hash, made_ms, expires_ms, used_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                token.id,
                token.user_id,
                token.name,
                token.role,
                token.secret_hash,
                token.made_ms,
                token.expires_ms,
                token.used_ms,
            ),
        )
    )


def put_token_uses(batch: Batch, tokens: Iterable[TokenRow]) -> None:
    """Note when tokens were used; one that was removed meanwhile is passed over."""
    batch.statements.extend(
        ("UPDATE api_token SET used_ms = ? WHERE id = ?", (one.used_ms, one.id)) for one in tokens
    )


def remove_token(batch: Batch, token_id: int) -> None:
    """Forget a token."""
    batch.statements.append(("DELETE FROM api_token WHERE id = ?", (token_id,)))


def put_audit(batch: Batch, row: AuditRow) -> None:
    """Put a change on record; its `id` is given by the database, whatever the row says."""
    batch.statements.append(
        (
            "INSERT INTO audit (time_ms, who, address, action, target, outcome, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.time_ms, row.who, row.address, row.action, row.target, row.outcome, row.detail),
        )
    )


_USER: Final = "substr(who, 1, instr(who || '/', '/') - 1)"
# Put together of constants alone.
_PRUNE: Final = (
    f"DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE {_USER} ="
    f" (SELECT {_USER} FROM audit GROUP BY 1 ORDER BY count(*) DESC, min(id) LIMIT 1)"
    " ORDER BY id LIMIT max(0, (SELECT count(*) FROM audit) - ?))"
)


def prune_audit(batch: Batch, kept: int = AUDIT_KEPT) -> None:
    """Drop what is beyond `kept`: the oldest of whoever has the most on record, with the tokens of theirs, so
    that nobody can push out what others did by doing much themselves."""
    batch.statements.append((_PRUNE, (kept,)))


_WHO: Final = "(who = :who OR substr(who, 1, length(:who) + 1) = :who || '/')"
_SEARCH: Final = (
    "instr(lower(who || ' ' || address || ' ' || action || ' ' || target || ' ' || outcome || ' ' || detail),"
    " lower(:search))"
)


def select_audit(question: AuditQuestion) -> tuple[str, dict[str, object]]:
    """The statement that answers a question, newest first, and its parameters."""
    # Put together of constants alone.
    wanted = {
        _WHO: bool(question.who),
        _SEARCH: bool(question.search),
        "time_ms >= :from_ms": question.from_ms is not None,
        "time_ms < :to_ms": question.to_ms is not None,
        "id < :before": question.before_id is not None,
    }
    conditions = [condition for condition, asked in wanted.items() if asked]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT * FROM audit{where} ORDER BY id DESC", {
        "who": question.who,
        "search": question.search,
        "from_ms": question.from_ms,
        "to_ms": question.to_ms,
        "before": question.before_id,
    }


def audit_row(row: sqlite3.Row) -> AuditRow:
    return AuditRow(
        id=row["id"],
        time_ms=row["time_ms"],
        who=row["who"],
        address=row["address"],
        action=row["action"],
        target=row["target"],
        outcome=row["outcome"],
        detail=row["detail"],
    )
