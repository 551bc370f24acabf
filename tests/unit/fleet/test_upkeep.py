"""The task that has the store's own work done: when, how much of it, and what it does when it fails."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.upkeep import FAILED
from flownexus_appliance.fleet import upkeep
from flownexus_appliance.fleet.upkeep import UpkeepTask

PATIENCE_S = 10.0


class Work:
    """So many pieces of work, and what goes wrong with the first."""

    def __init__(self, pieces: int, error: Exception | None = None) -> None:
        self.left = pieces
        self.error = error
        self.looked: list[int] = []
        self.changed = asyncio.Event()

    def look(self, now_ms: int) -> None:
        self.looked.append(now_ms)

    async def piece(self) -> bool:
        self.changed.set()
        await asyncio.sleep(0)
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if not self.left:
            return False
        self.left -= 1
        return True

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


class Clock:
    def __init__(self) -> None:
        self.doubt = ""
        self.asked = asyncio.Event()

    def __call__(self) -> str:
        self.asked.set()
        return self.doubt


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_EVERY_S", "TICK_S", "LEAST_PAUSE_S", "RETRY_S", "PAUSE_FACTOR"):
        monkeypatch.setattr(upkeep, name, 0.0)


@pytest.fixture
async def run(clock: Clock) -> AsyncIterator[Callable[[Work], UpkeepTask]]:
    tasks: list[UpkeepTask] = []

    def start(work: Work) -> UpkeepTask:
        task = UpkeepTask(work, lambda: 1000 + len(work.looked), clock)  # type: ignore[arg-type]
        task.start()
        tasks.append(task)
        return task

    yield start
    for task in tasks:
        await task.stop()


async def test_all_that_is_due_is_done(run: Callable[[Work], UpkeepTask]) -> None:
    work = Work(5)
    run(work)
    await work.until(lambda: work.left == 0 and len(work.looked) >= 2)
    assert work.looked[:2] == [1000, 1001]


async def test_a_clock_that_cannot_be_right_has_nothing_done(
    run: Callable[[Work], UpkeepTask], clock: Clock
) -> None:
    clock.doubt = "the clock shows 1970"
    work = Work(1)
    run(work)
    for _ in range(3):
        clock.asked.clear()
        async with asyncio.timeout(PATIENCE_S):
            await clock.asked.wait()
    assert (work.looked, work.left) == ([], 1)
    clock.doubt = ""
    await work.until(lambda: work.left == 0)


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (StoreError("store_failed", "no space", "check the disk"), []),
        (StoreError(FAILED, "no such table", "it is tried again"), ["upkeep failed"]),
    ],
)
async def test_what_fails_is_tried_again(
    run: Callable[[Work], UpkeepTask],
    error: Exception,
    logged: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, "flownexus_appliance")
    work = Work(2, error)
    run(work)
    await work.until(lambda: work.left == 0)
    assert [record.getMessage() for record in caplog.records] == logged


async def test_after_the_stop_nothing_is_done(run: Callable[[Work], UpkeepTask]) -> None:
    work = Work(1_000_000)
    task = run(work)
    await work.until(lambda: work.left < 999_990)
    await task.stop()
    left = work.left
    for _ in range(5):
        await asyncio.sleep(0)
    assert work.left == left
    await task.stop()
