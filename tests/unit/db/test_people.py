"""People in the file, and the record of changes as it is asked for."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.db.people import (
    AuditQuestion,
    AuditRow,
    People,
    SessionRow,
    TokenRow,
    UserRow,
    prune_audit,
    put_audit,
    put_session_uses,
    put_setup_code,
    put_token,
    put_token_uses,
    put_user,
    put_user_session,
    remove_token,
    remove_user,
    remove_user_sessions,
)
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import Store
from flownexus_appliance.db.writer import Batch

from .test_store import describe

ANNA = UserRow(1, "anna", "admin", "$argon2id$", 100, 200)
OTTO = UserRow(2, "otto", "viewer", "$argon2id$2", 300, 300)
SESSION = SessionRow(3, 1, b"s" * 32, True, 400, 500, "192.0.2.1", "Firefox")
TOKEN = TokenRow(4, 1, "backup", "viewer", b"t" * 32, 600, 700, 800)


class Box:
    def __init__(self, path: Path) -> None:
        self.store = Store(path, describe)

    async def start(self) -> None:
        self.people = (await self.store.start()).people
        self.reader = Reader(self.store.path)
        await self.reader.start()

    async def stop(self) -> None:
        await self.reader.stop()
        await self.store.stop()

    @property
    def batch(self) -> Batch:
        return self.store.writer.gather()

    async def kept(self) -> People:
        """What the next run finds."""
        await self.store.commit()
        await self.stop()
        await self.start()
        return self.people

    async def fill(self) -> None:
        put_user(self.batch, ANNA)
        put_user(self.batch, OTTO)
        put_user_session(self.batch, SESSION)
        put_user_session(self.batch, replace(SESSION, id=5, user_id=2, secret_hash=b"u" * 32, kept=False))
        put_token(self.batch, TOKEN)
        put_setup_code(self.batch, "AAAA-BBBB-CCCC")
        await self.store.commit()


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(tmp_path / "test.db")
    await box.start()
    yield box
    await box.stop()


async def test_they_come_back_as_they_were(box: Box) -> None:
    assert box.people == People()
    await box.fill()
    other = replace(SESSION, id=5, user_id=2, secret_hash=b"u" * 32, kept=False)
    assert await box.kept() == People((ANNA, OTTO), (SESSION, other), (TOKEN,), "AAAA-BBBB-CCCC")


async def test_what_is_secret_is_in_no_repr(box: Box) -> None:
    await box.fill()
    shown = repr(await box.kept())
    for secret in ("argon2id", "AAAA", "ssss", "tttt"):
        assert secret not in shown


async def test_changes_are_kept(box: Box) -> None:
    await box.fill()
    changed = replace(OTTO, role="operator", password_hash="other", changed_ms=900)
    put_user(box.batch, changed)
    used = replace(SESSION, made_ms=401, used_ms=999, address="::1", agent="")
    put_session_uses(box.batch, (used, replace(SESSION, id=77)))
    put_token_uses(box.batch, (replace(TOKEN, used_ms=998), replace(TOKEN, id=77)))
    put_setup_code(box.batch, "DDDD-EEEE-FFFF")
    found = await box.kept()
    assert found.users == (ANNA, changed)
    assert found.sessions[0] == used
    assert found.tokens == (replace(TOKEN, used_ms=998),)
    assert found.setup_code == "DDDD-EEEE-FFFF"
    remove_user_sessions(box.batch, (5, 77))
    remove_token(box.batch, TOKEN.id)
    put_setup_code(box.batch, "")
    assert await box.kept() == People((ANNA, changed), (used,), (), "")


async def test_a_user_goes_with_all_that_is_theirs(box: Box) -> None:
    await box.fill()
    remove_user(box.batch, ANNA.id)
    found = await box.kept()
    assert found.users == (OTTO,)
    assert [one.user_id for one in found.sessions] == [OTTO.id]
    assert found.tokens == ()


# The record

ROWS = [
    AuditRow(1, 1000, "anna", "192.0.2.1", "POST /api/v1/users", "otto", "", ""),
    AuditRow(2, 2000, "anna/backup", "192.0.2.2", "DELETE /api/v1/users/{name}", "Otto", "last_admin", ""),
    AuditRow(3, 3000, "annabel", "192.0.2.3", "POST /devices/{endpoint}/operations", "kitchen", "", "read"),
    AuditRow(4, 3000, "console", "", "POST /api/v1/users", "vera", "", ""),
    AuditRow(5, 4000, "", "192.0.2.4", "POST /sign-in", "", "sign_in_refused", "100% _x"),
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"who": "anna"}, [2, 1]),
        ({"who": "anna/backup"}, [2]),
        ({"who": "Anna"}, []),
        ({"who": "console"}, [4]),
        ({"search": "OTTO"}, [2, 1]),
        ({"search": "kitchen"}, [3]),
        ({"search": "192.0.2."}, [5, 3, 2, 1]),
        ({"search": "refused"}, [5]),
        ({"search": "0% _"}, [5]),
        ({"search": "%"}, [5]),
        ({"search": "READ"}, [3]),
        ({"from_ms": 3000}, [5, 4, 3]),
        ({"to_ms": 3000}, [2, 1]),
        ({"from_ms": 2000, "to_ms": 4000, "who": "console"}, [4]),
        ({"before_id": 3}, [2, 1]),
        ({"before_id": 5, "search": "users"}, [4, 2, 1]),
    ],
)
async def test_questions_are_answered_newest_first(box: Box, asked: dict[str, Any], found: list[int]) -> None:
    for row in ROWS:
        put_audit(box.batch, row)
    await box.store.commit()
    rows, behind = await box.reader.audit(AuditQuestion(**asked), 100)
    assert rows == [ROWS[number - 1] for number in found]
    assert behind is None
    # And in pages of one.
    paged: list[int] = []
    question = AuditQuestion(**asked)
    while True:
        rows, behind = await box.reader.audit(question, 1)
        paged += [row.id for row in rows]
        if behind is None:
            break
        question = replace(question, before_id=behind)
    assert paged == found


async def test_the_oldest_go(box: Box) -> None:
    prune_audit(box.batch)  # of none
    for row in ROWS:
        put_audit(box.batch, row)
    for expected in ([5, 4, 3, 2], [5, 4, 3], [5, 4], [5, 4]):
        prune_audit(box.batch, max(2, len(expected)))
        await box.store.commit()
        rows, _ = await box.reader.audit(AuditQuestion(), 100)
        assert [row.id for row in rows] == expected


async def test_nobody_pushes_out_what_others_did(box: Box) -> None:
    for row in (ROWS[0], ROWS[3], *[replace(ROWS[2], who=f"vera/{number}") for number in range(20)]):
        put_audit(box.batch, row)
    prune_audit(box.batch, 5)
    await box.store.commit()
    rows, _ = await box.reader.audit(AuditQuestion(), 100)
    assert [row.id for row in rows] == [22, 21, 20, 2, 1]
