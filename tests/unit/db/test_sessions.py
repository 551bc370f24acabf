"""DTLS sessions in the file: what is put comes back, what moves is cheap, what is damaged is let go."""

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.credentials import CredentialState, Proof, ProofKind
from flownexus_appliance.db.kept import Kept
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.sessions import SavedSession
from flownexus_appliance.db.store import Store
from flownexus_appliance.fleet.ports import SessionKeeper

from .test_credentials import psk
from .test_store import describe

PSK = Proof(ProofKind.PSK, b"one")
CERTIFICATE = Proof(ProofKind.CERTIFICATE, bytes(range(32)))


def session(number: int, proof: Proof = PSK, live: bool = True) -> SavedSession:
    return SavedSession(
        id=number.to_bytes(8, "big"),
        address=f"192.0.2.1:{40_000 + number}",
        proof=proof,
        snapshot=b"snapshot" + bytes(200) + bytes([number % 256]),
        counters=bytes([0, number % 256]),
        resumption_id=b"resume" if number % 2 else b"",
        live=live,
        used_ms=1_000 + number,
    )


@pytest.fixture
async def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.001)
    store = Store(tmp_path / "test.db", describe)
    await store.start()
    yield store
    await store.stop()


async def reopened(store: Store) -> Kept:
    await store.stop()
    return await store.start()


def change(path: Path, sql: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(sql, parameters)
        connection.commit()


async def test_sessions_come_back_the_one_used_last_at_the_end(store: Store) -> None:
    keeper: SessionKeeper = store
    sessions = [session(1), session(2, CERTIFICATE, live=False), replace(session(3), used_ms=7)]
    for saved in sessions:
        keeper.put_session(saved)
    await keeper.commit()
    assert (await reopened(store)).sessions == (sessions[2], sessions[0], sessions[1])


async def test_a_session_put_again_replaces_its_earlier_state(store: Store) -> None:
    store.put_session(session(1))
    later = replace(session(1), live=False, counters=b"later", address="[2001:db8::1]:5", used_ms=9)
    store.put_session(later)
    await store.commit()
    assert (await reopened(store)).sessions == (later,)


async def test_what_moves_is_kept_by_one_statement(store: Store) -> None:
    sessions = {saved.id: saved for saved in map(session, range(1, 301))}
    for saved in sessions.values():
        store.put_session(saved)
    await store.commit()
    moved = {
        saved.id: replace(
            saved, counters=saved.id * 2, address=f"198.51.100.7:{number}", used_ms=10**12 + number
        )
        for number, saved in enumerate(sessions.values())
        if number % 3
    }
    store.put_session_counters({i: (s.counters, s.address, s.used_ms) for i, s in moved.items()})
    assert len(store.writer.gather().statements) == 1
    await store.commit()
    kept = (await reopened(store)).sessions
    assert {saved.id: saved for saved in kept} == sessions | moved


@pytest.mark.parametrize("counters", [b"", b"\0", b"\0\0", bytes(range(256)), b"'\"\\\xff\xfe"])
async def test_counters_are_any_bytes(store: Store, counters: bytes) -> None:
    other = session(2)
    for saved in (session(1), other):
        store.put_session(saved)
    ids = {session(1).id: (counters, "[fe80::1%eth0]:5684", 7), b"unknown": (b"x", "y", 8)}
    store.put_session_counters(ids)
    await store.commit()
    moved = replace(session(1), counters=counters, address="[fe80::1%eth0]:5684", used_ms=7)
    assert (await reopened(store)).sessions == (moved, other)


async def test_nothing_that_moved_is_nothing_to_write(store: Store) -> None:
    store.put_session_counters({})
    assert len(store.writer.gather()) == 0


async def test_a_removed_session_does_not_come_back_by_its_counters(store: Store) -> None:
    store.put_session(session(1))
    store.put_session(session(2))
    await store.commit()
    store.remove_session(session(1).id)
    store.put_session_counters({session(1).id: (b"late", "192.0.2.9:1", 99)})
    await store.commit()
    assert (await reopened(store)).sessions == (session(2),)
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT count(*) FROM dtls_counter").fetchone() == (1,)


@pytest.mark.parametrize("state", [CredentialState.REVOKED, CredentialState.REPLACED])
async def test_no_session_outlives_its_credential(store: Store, state: CredentialState) -> None:
    """Not even one whose end the disk did not take: its identity may be given out again, with another key."""
    store.put_session(session(1))
    store.put_session(session(2, replace(PSK, value=b"two")))
    store.put_credential(psk(1, proof=PSK))
    await store.commit()
    store.put_credential(psk(1, proof=PSK, last_used_ms=5))
    await store.commit()
    assert len((await reopened(store)).sessions) == 2
    store.put_credential(psk(1, proof=PSK, state=state))
    store.put_credential(psk(2, proof=PSK, secret=b"another key"))
    await store.commit()
    assert [saved.proof.value for saved in (await reopened(store)).sessions] == [b"two"]


async def test_by_what_a_session_was_proved(store: Store) -> None:
    saved = session(10, CERTIFICATE)
    assert saved.name == "dtls-000000000000000a"
    assert store.session_proof(saved.name) is None
    store.put_session(saved)
    assert store.session_proof("dtls-000000000000000a") == CERTIFICATE
    await store.stop()
    again = Store(store.path, describe)
    await again.start()
    try:
        assert again.session_proof(saved.name) == CERTIFICATE
        again.remove_session(saved.id)
        assert again.session_proof(saved.name) is None
        assert again.session_proof("") is None
    finally:
        await again.stop()


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM dtls_counter WHERE id = ?",
        "UPDATE dtls_session SET proof_kind = 'smell' WHERE id = ?",
    ],
)
async def test_a_damaged_session_is_let_go_and_the_others_stay(
    store: Store, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2, 3):
        store.put_session(session(number))
    await store.commit()
    await store.stop()
    change(store.path, damage, session(2).id)
    kept = await store.start()
    assert kept.sessions == (session(1), session(3))
    (record,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert (record.getMessage(), record.__dict__["SESSION"]) == (
        "saved session dropped",
        session(2).id.hex(),
    )
    caplog.clear()
    assert (await reopened(store)).sessions == (session(1), session(3))
    assert not caplog.records, "it is gone from the file"


@pytest.mark.parametrize("length", [0, 33])
async def test_an_id_of_no_length_that_can_be_is_damage(store: Store, length: int) -> None:
    store.put_session(replace(session(1), id=bytes(length)))
    store.put_session(session(2))
    await store.commit()
    assert (await reopened(store)).sessions == (session(2),)


async def test_a_disk_that_fails_is_told_to_who_waits(store: Store) -> None:
    change(
        store.path,
        "CREATE TRIGGER broken BEFORE INSERT ON dtls_session BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    )
    store.put_session(session(1))
    with pytest.raises(StoreError):
        await store.commit()


def test_a_session_shows_no_master_secret() -> None:
    assert "snapshot" not in repr(session(1))
