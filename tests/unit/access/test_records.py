"""The record of changes: with the next commit, cleaned and cut, the newest kept."""

import logging

import pytest

from flownexus_appliance.access import records as records_module
from flownexus_appliance.access.roles import Role
from flownexus_appliance.db import people
from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.migrate import StoreError

from .conftest import NOW_MS, Box


def test_the_database_knows_the_same_roles() -> None:
    assert set(Role) == people.ROLES


async def test_a_change_is_put_on_record(box: Box) -> None:
    box.access.note("anna", "192.0.2.1", "POST /users", "otto", "", "as operator")
    box.access.note("", "192.0.2.2", "POST /sign-in", "", "sign_in_refused")
    await box.store.commit()
    assert box.rows("SELECT * FROM audit ORDER BY id") == [
        (1, NOW_MS, "anna", "192.0.2.1", "POST /users", "otto", "", "as operator"),
        (2, NOW_MS, "", "192.0.2.2", "POST /sign-in", "", "sign_in_refused", ""),
    ]


async def test_it_needs_no_commit_of_anybody_else(box: Box) -> None:
    box.access.note("anna", "", "POST /users", "otto", "")
    await box.crash()
    assert box.rows("SELECT who FROM audit") == [("anna",)]


async def test_texts_are_printable_and_bounded(box: Box) -> None:
    box.access.note(*["\x1b[31m\ud800<b>" + "x" * 2_000_000] * 6)
    await box.store.commit()
    ((_, _, *texts),) = box.rows("SELECT * FROM audit")
    assert [len(text) for text in texts] == [80, 64, 160, 300, 64, 400]
    assert all(text.isprintable() and text.startswith("?[31m?<b>x") for text in texts)


async def test_the_newest_stay(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records_module, "PRUNE_EVERY", 10)
    monkeypatch.setattr(records_module, "prune_audit", lambda batch: people.prune_audit(batch, 25))
    for number in range(101):
        box.access.note("anna", "", "POST", str(number), "")
    await box.store.commit()
    assert box.rows("SELECT min(target + 0), max(target + 0), count(*) FROM audit") == [(76, 100, 25)]


async def test_what_cannot_be_recorded_is_in_the_log(
    box: Box, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 60.0)
    box.fail_next()
    box.access.note("anna", "192.0.2.1", "POST /users", "otto", "")
    with pytest.raises(StoreError):
        await box.store.commit()
    box.access.note("otto", "192.0.2.1", "POST /users", "vera", "")
    lost = [vars(record) for record in caplog.records if record.levelno == logging.WARNING]
    assert [(one["WHO"], one["ACTION"], one["TARGET"]) for one in lost] == [
        ("anna", "POST /users", "otto"),
        ("otto", "POST /users", "vera"),
    ]
    monkeypatch.setattr(writer_module, "RETRY_S", 0.001)
    await box.crash()
    assert box.rows("SELECT count(*) FROM audit") == [(0,)]
    box.access.note("vera", "192.0.2.1", "POST /users", "nora", "")
    await box.store.commit()
    assert box.rows("SELECT who FROM audit") == [("vera",)]
