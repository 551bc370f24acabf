"""The writer: many messages to one commit, and what a disk that fails does to them."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.migrate import StoreError, open_database
from flownexus_appliance.db.writer import Batch, Sample, SqlValue, Writer

Rows = list[tuple[Any, ...]]
PATIENCE_S = 10.0


class Box:
    """A writer on a file of its own, which it can be made to fail on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = open_database(path)
        self.recovered: list[Rows] = []
        self.usable = asyncio.Event()
        self.unreadable = 0
        self.entered, self.gate = threading.Event(), threading.Event()
        self.connection.create_function("wait_for_gate", 0, self.wait_for_gate)
        self.writer = Writer(self.connection, self.reload, self.learn)

    def wait_for_gate(self) -> bool:
        self.entered.set()
        return self.gate.wait(PATIENCE_S)

    def learn(self, rows: Rows) -> None:
        self.recovered.append(rows)
        self.usable.set()

    def reload(self, connection: sqlite3.Connection) -> Rows:
        if self.unreadable:
            self.unreadable -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return list(connection.execute("SELECT series_id, time_ms, value FROM resource ORDER BY 1, 2"))

    def add(self, *samples: Sample) -> asyncio.Future[None]:
        self.writer.gather().samples.extend(samples)
        return self.writer.commit()

    def say(self, sql: str, *parameters: SqlValue) -> asyncio.Future[None]:
        self.writer.gather().statements.append((sql, parameters))
        return self.writer.commit()

    def on_disk(self) -> Rows:
        """What another process would read."""
        with closing(sqlite3.connect(self.path)) as connection:
            return self.reload(connection)

    @contextmanager
    def held(self) -> Iterator[asyncio.Future[None]]:
        """One commit is under way for as long as this is open; its future fails when it is refused."""
        self.entered.clear()
        self.gate.clear()
        yield self.say("SELECT wait_for_gate()")
        self.gate.set()

    async def under_way(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE_S)


@pytest.fixture
async def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.001)
    box = Box(tmp_path / "test.db")
    box.writer.start()
    yield box
    box.gate.set()
    async with asyncio.timeout(PATIENCE_S):
        await box.writer.stop()


async def failed(*futures: asyncio.Future[None]) -> None:
    """All fail for the same reason, which says what to do."""
    async with asyncio.timeout(PATIENCE_S):
        results = await asyncio.gather(*futures, return_exceptions=True)
    for result in results:
        assert isinstance(result, StoreError)
        assert result.code == "store_failed"
        assert result.hint


async def usable(box: Box) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await box.usable.wait()
    box.usable.clear()


@pytest.fixture
def full(box: Box) -> Iterator[None]:
    """The disk is full: SQLite may add no page."""
    (pages,) = box.connection.execute("PRAGMA page_count").fetchone()
    box.connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    yield
    make_room(box)


def make_room(box: Box) -> None:
    box.connection.execute("PRAGMA max_page_count = 1000000").fetchall()


BIG: Sample = (9, 9, b"x" * 100_000)


# Group commit


async def test_what_is_gathered_at_once_is_one_commit(box: Box) -> None:
    waiting = [box.add((1, n, float(n))) for n in range(1000)]
    assert len(set(waiting)) == 1
    await waiting[0]
    assert box.writer.commits == 1
    assert box.writer.samples == 1000
    assert len(box.on_disk()) == 1000


async def test_what_arrives_during_a_commit_shares_the_next(box: Box) -> None:
    with box.held() as first:
        await box.under_way()
        waiting = [box.add((1, n, n)) for n in range(500)]
        await asyncio.sleep(0)
        assert not first.done()
        assert not waiting[0].done()
        assert box.on_disk() == []
    await asyncio.gather(first, *waiting)
    assert box.writer.commits == 2
    assert len(box.on_disk()) == 500


async def test_many_devices_share_few_commits(box: Box) -> None:
    async def device(number: int) -> None:
        for step in range(20):
            await asyncio.shield(box.add((number, step, step)))

    await asyncio.gather(*(device(number) for number in range(50)))
    assert len(box.on_disk()) == 1000
    assert box.writer.commits <= 100


async def test_a_future_is_done_only_when_the_row_is_there(box: Box) -> None:
    for n in range(5):
        await box.add((1, n, n))
        assert box.on_disk()[-1] == (1, n, n)


async def test_with_nothing_gathered_there_is_nothing_to_wait_for(box: Box) -> None:
    assert box.writer.commit().done()
    with box.held() as first:
        await box.under_way()
        assert box.writer.commit() is first
    await first
    assert box.writer.commit().done()


async def test_statements_come_before_samples_and_in_order(box: Box) -> None:
    box.add((1, 1, "one"))
    box.say("CREATE TABLE told (n INTEGER)")
    box.say("INSERT INTO told SELECT count(*) FROM resource")
    await box.say("INSERT INTO told VALUES (?)", 7)
    assert box.connection.execute("SELECT n FROM told").fetchall() == [(0,), (7,)]


async def test_a_waiter_that_gives_up_disturbs_nobody(box: Box) -> None:
    with box.held() as first:
        await box.under_way()
        done = box.add((1, 1, 1))
        impatient = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(done), 0.001))
        with pytest.raises(TimeoutError):
            await impatient
    await asyncio.gather(first, done)
    assert box.on_disk() == [(1, 1, 1)]


async def test_stop_commits_what_is_gathered(tmp_path: Path) -> None:
    box = Box(tmp_path / "test.db")
    box.writer.start()
    with box.held() as first:
        await box.under_way()
        second = box.add((1, 1, 1))
    await box.writer.stop()
    assert first.done()
    assert second.done()
    assert box.on_disk() == [(1, 1, 1)]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        box.connection.execute("SELECT 1")


async def test_stop_with_nothing_to_do(tmp_path: Path) -> None:
    box = Box(tmp_path / "test.db")
    box.writer.start()
    await box.writer.stop()
    assert box.writer.commits == 0


async def test_too_much_at_once_is_refused(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_GATHERED", 10)
    done = box.add(*((1, n, n) for n in range(11)))
    with pytest.raises(StoreError) as caught:
        box.add((1, 11, 11))
    assert caught.value.code == "store_full"
    await done
    await box.add((1, 11, 11))
    assert len(box.on_disk()) == 12


def test_a_batch_counts_statements_and_samples() -> None:
    loop = asyncio.new_event_loop()
    try:
        batch = Batch(loop.create_future())
        assert not len(batch)
        batch.samples.append((1, 1, 1))
        batch.statements.append(("SELECT 1", ()))
        assert len(batch) == 2
    finally:
        loop.close()


# Samples at the same moment


async def test_the_same_sample_twice_is_one(box: Box) -> None:
    values: list[SqlValue] = [1, 1.5, "text", b"bytes", -0.0, 1e300, 0.1 + 0.2, 5e-324, 2**63 - 1, -(2**63)]
    samples = [(n, 1000, value) for n, value in enumerate(values)]
    await box.add(*samples, *samples)
    await box.add(*samples)
    assert box.on_disk() == samples


async def test_another_value_at_a_taken_moment_moves_to_the_next_free_one(box: Box) -> None:
    await box.add((1, 1000, 1.0), (1, 1001, 9.0))
    await box.add((1, 1000, 2.0), (1, 1000, "three"))
    assert box.on_disk() == [(1, 1000, 1.0), (1, 1001, 9.0), (1, 1002, 2.0), (1, 1003, "three")]


async def test_values_that_moved_are_known_when_they_are_sent_again(box: Box) -> None:
    samples: list[Sample] = [(1, 1000, 1.0), (1, 1000, 2.0), (1, 1000, b"3"), (2, 1000, 2.0)]
    await box.add(*samples)
    before = box.on_disk()
    await box.add(*samples)
    assert box.on_disk() == before
    assert len(before) == 4


async def test_more_values_at_one_moment_than_it_has_room_for(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_BESIDE", 4)
    await box.add((1, 2000, 0.5), (2, 1000, 9.5))
    for n in range(6):
        await box.add((1, 1000, float(n)))
    await box.add((1, 1000, 2.0), (1, 1003, 7.0), (1, 1000, 0.0))
    assert box.on_disk() == [
        *((1, 1000 + n, float(n)) for n in range(4)),
        (1, 1004, 4.0),
        (1, 1005, 7.0),
        (1, 2000, 0.5),
        (1, 2001, 5.0),
        (2, 1000, 9.5),
    ]


async def test_one_is_not_one_point_nought(box: Box) -> None:
    await box.add((1, 1000, 1), (1, 1000, 1.0), (1, 1000, "1"), (1, 1000, b"1"))
    stored = [value for _, _, value in box.on_disk()]
    assert sorted(map(repr, stored)) == ["'1'", "1", "1.0", "b'1'"]
    assert [moment for _, moment, _ in box.on_disk()] == [1000, 1001, 1002, 1003]


# A disk that fails


@pytest.mark.usefixtures("full")
async def test_a_full_disk_fails_the_batch_and_the_next_one_as_a_whole(box: Box) -> None:
    with box.held() as first:
        box.add(BIG)
        await box.under_way()
        second = box.add((1, 1, 1))
    await failed(first, second)
    assert box.on_disk() == []
    await usable(box)
    await failed(box.add((1, 1, 1), BIG))
    await usable(box)
    make_room(box)
    await box.add((1, 1, 1), BIG)
    assert box.on_disk() == [(1, 1, 1), BIG]


async def test_what_is_gathered_during_a_failing_commit_fails_with_it(box: Box) -> None:
    box.add((1, 1, 1))
    with box.held() as first:
        box.say("INSERT INTO nosuch VALUES (1)")
        await box.under_way()
        gathered = [box.add((2, n, n)) for n in range(10)]
    await failed(first, *gathered)
    assert box.on_disk() == []
    await usable(box)
    assert box.recovered == [[]]
    await box.add((3, 3, 3))
    assert box.on_disk() == [(3, 3, 3)]


async def test_nothing_is_taken_before_the_store_has_learned_what_is_there(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.add((1, 1, 1))
    entered, leave = threading.Event(), threading.Event()

    def slow_reload(connection: sqlite3.Connection) -> Rows:
        entered.set()
        assert leave.wait(PATIENCE_S)
        return box.reload(connection)

    monkeypatch.setattr(box.writer, "_reload", slow_reload)
    await failed(box.say("INSERT INTO nosuch VALUES (1)"))
    await asyncio.to_thread(entered.wait, PATIENCE_S)
    with pytest.raises(StoreError) as caught:
        box.add((2, 2, 2))
    assert caught.value.code == "store_failed"
    assert box.writer.commit().done()
    leave.set()
    await usable(box)
    assert box.recovered == [[(1, 1, 1)]]
    await box.add((2, 2, 2))


async def test_a_file_that_cannot_be_read_either_is_tried_again(box: Box) -> None:
    box.unreadable = 3
    await failed(box.say("INSERT INTO nosuch VALUES (1)"))
    await usable(box)
    assert box.unreadable == 0
    await box.add((1, 1, 1))


@pytest.mark.parametrize("poison", ["half a character: \ud800", 2**70], ids=["text", "integer"])
async def test_a_value_that_sqlite_cannot_hold_does_not_end_the_thread(box: Box, poison: SqlValue) -> None:
    await failed(box.add((1, 1, 1), (1, 2, poison)))
    await usable(box)
    assert box.on_disk() == []
    await box.add((1, 1, 1))


async def test_a_trigger_that_refuses_one_row_refuses_all(box: Box) -> None:
    await box.say(
        "CREATE TRIGGER refuse BEFORE INSERT ON resource WHEN NEW.value = 13"
        " BEGIN SELECT RAISE(ABORT, 'thirteen'); END"
    )
    await failed(box.add((1, 1, 1), (1, 2, 13), (1, 3, "x")))
    assert box.on_disk() == []
    await usable(box)
    await box.add((1, 1, 1), (1, 3, "x"))
    assert len(box.on_disk()) == 2


async def test_a_failure_is_logged_once_with_its_code(box: Box, caplog: pytest.LogCaptureFixture) -> None:
    await failed(box.say("INSERT INTO nosuch VALUES (1)"))
    await usable(box)
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.getMessage() == "commit failed"
    assert record.__dict__["ERROR_CODE"] == "store_failed"
    assert record.__dict__["ROWS"] == 1


async def test_a_failing_disk_is_not_tried_again_at_once(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []

    class Impatient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return self.is_set()

    monkeypatch.setattr(writer_module, "RETRY_S", 1.0)
    monkeypatch.setattr(box.writer, "_stopping", Impatient())
    box.unreadable = 2
    await failed(box.say("INSERT INTO nosuch VALUES (1)"))
    await usable(box)
    assert waited == [1.0, 1.0, 1.0]


async def test_stop_does_not_wait_for_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 60.0)
    box = Box(tmp_path / "test.db")
    box.writer.start()
    await failed(box.say("INSERT INTO nosuch VALUES (1)"))
    async with asyncio.timeout(PATIENCE_S):
        await box.writer.stop()
    assert box.recovered == []


async def test_stop_during_a_failing_commit(tmp_path: Path) -> None:
    box = Box(tmp_path / "test.db")
    box.writer.start()
    with box.held() as first:
        box.say("INSERT INTO nosuch VALUES (1)")
        await box.under_way()
        second = box.add((1, 1, 1))
        stopping = asyncio.create_task(box.writer.stop())
        await asyncio.sleep(0)
    await stopping
    await failed(first, second)
    assert box.on_disk() == []
