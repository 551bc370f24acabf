"""Changes come one after the other, and are seen when they are on disk."""

import asyncio

import pytest

from flownexus_appliance.access.changes import Changes, Show
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.writer import Batch
from flownexus_appliance.errors import UsageError

from .conftest import Box


class Counter:
    """Counts up by changes that read what the one before has shown."""

    def __init__(self, box: Box) -> None:
        self.changes = Changes(box.store)
        self.value = 0

    async def count(self) -> int:
        return await self.changes.make(self.prepare)

    def prepare(self, batch: Batch) -> tuple[int, Show]:
        wanted = self.value + 1
        batch.statements.append(("INSERT INTO setting VALUES (?, ?)", (f"n{wanted}", str(wanted))))
        return wanted, lambda: self.show(wanted)

    def show(self, value: int) -> None:
        self.value = value


async def test_of_many_at_once_each_sees_what_the_one_before_has_done(box: Box) -> None:
    counter = Counter(box)
    assert await asyncio.gather(*(counter.count() for _ in range(5))) == [1, 2, 3, 4, 5]
    assert box.rows("SELECT count(*) FROM setting WHERE name LIKE 'n%'") == [(5,)]


async def test_nothing_is_seen_before_it_is_on_disk(box: Box) -> None:
    counter = Counter(box)
    task = asyncio.create_task(counter.count())
    await asyncio.sleep(0)
    assert counter.value == 0
    assert box.store.writer._batch.statements
    assert (await task, counter.value) == (1, 1)


async def test_who_gives_up_leaves_nothing_half_done(box: Box) -> None:
    counter = Counter(box)
    task = asyncio.create_task(counter.count())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # It goes on, and the next one waits for its end.
    assert counter.value == 0
    assert await counter.count() == 2


async def test_who_gives_up_in_the_line_is_not_in_it_any_more(box: Box) -> None:
    counter = Counter(box)
    first, second = asyncio.create_task(counter.count()), asyncio.create_task(counter.count())
    await asyncio.sleep(0)
    second.cancel()
    assert await first == 1
    with pytest.raises(asyncio.CancelledError):
        await second
    assert await counter.count() == 2


async def test_what_is_refused_leaves_the_line_open(box: Box) -> None:
    counter = Counter(box)

    def refuse(batch: Batch) -> tuple[None, Show]:
        raise UsageError("user_unknown", "there is none")

    with pytest.raises(UsageError):
        await counter.changes.make(refuse)
    assert await counter.count() == 1


async def test_what_the_disk_does_not_take_has_not_happened(box: Box) -> None:
    counter = Counter(box)
    box.fail_next()
    first, second = await asyncio.gather(counter.count(), counter.count(), return_exceptions=True)
    assert isinstance(first, StoreError)
    assert isinstance(second, StoreError)
    assert counter.value == 0
    await box.usable()
    assert await counter.count() == 1
