"""What people do with operations they asked for: cancel, wait, ask once more."""

import asyncio
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet import operations as engine
from flownexus_appliance.lwm2m.operations import Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record
from tests.conftest import FakeClock
from tests.peer import until

from .conftest import HOME, House, a_house, operation
from .orders import BARE, TEMPERATURE, execute, nothing_left, read, sleeper, told


@pytest.fixture
def house(quiet_house: House) -> House:
    return quiet_house


# Cancelled


async def test_one_that_waits_is_cancelled(house: House) -> None:
    registration_id = await sleeper(house)
    first, second, third = [await house.order(read(number)) for number in range(3)]
    kept = await house.fleet.operations.cancel(second.id)
    assert (kept.status, kept.attempts) == (Status.CANCELLED, 0)
    assert (house.status(second), told(house, second)) == ("CANCELLED", ["QUEUED", "CANCELLED"])
    with pytest.raises(UsageError) as raised:
        await house.fleet.operations.cancel(second.id)
    assert raised.value.code == "operation_done"
    await house.update(registration_id)
    for one in (first, third):
        request = await house.wire.asked()
        assert request.downlink.path == one.operation.path
        request.answer("4.04")
        await house.done(one)


async def test_one_that_is_under_way_is_broken_off(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(execute())
    request = await house.wire.asked()
    kept = await house.fleet.operations.cancel(asked.id)
    assert (kept.status, kept.attempts) == (Status.CANCELLED, 1)
    assert "nobody knows" in kept.outcome.message
    assert request.answered.cancelled(), "it is sent no more"
    assert house.fleet.presence("one") == "online", "it was not silent"


async def test_one_that_is_about_to_be_sent_is_not(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    with house.disk_held():
        await until(lambda: house.store.writer._in_flight is not None)
        cancelling = asyncio.create_task(house.fleet.operations.cancel(asked.id))
        await asyncio.sleep(0)
    kept = await cancelling
    assert (kept.status, kept.attempts, house.wire.log) == (Status.CANCELLED, 0, [])


async def test_an_answer_that_is_here_already_counts(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    request = await house.wire.asked()
    with house.disk_held():
        flight = house.fleet.operations._lines["one"].flight
        assert flight is not None
        request.value({"/10/0/0": 1.0})
        await asyncio.wait({flight})
        with pytest.raises(UsageError) as raised:
            await house.fleet.operations.cancel(asked.id)
    assert raised.value.code == "operation_done"
    kept = await house.done(asked)
    assert (kept.status, house.status(asked)) == (Status.CONFIRMED, "CONFIRMED")


@pytest.mark.parametrize("operation_id", [0, 1, 99])
async def test_what_never_was(house: House, operation_id: int) -> None:
    for asking in (
        house.fleet.operations.cancel(operation_id),
        house.fleet.operations.finished(operation_id, 0),
        house.fleet.operations.retry(operation_id, "test"),
    ):
        with pytest.raises(UsageError) as raised:
            await asking
        assert raised.value.code == "operation_missing"


# Who waits


async def test_who_has_waited_long_enough_is_told_how_it_stands(house: House) -> None:
    registration_id = await sleeper(house)
    asked = await house.order(read())
    assert (await house.fleet.operations.finished(asked.id, 0.001)).status is Status.QUEUED
    await house.update(registration_id)
    request = await house.wire.asked()
    assert (await house.fleet.operations.finished(asked.id, 0.001)).status is Status.SENDING
    request.answer("4.04")
    await house.done(asked)


async def test_several_wait_and_one_who_leaves_takes_nothing_with_them(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    waiting = [asyncio.create_task(house.fleet.operations.finished(asked.id, 10)) for _ in range(3)]
    request = await house.wire.asked()
    waiting[0].cancel()
    await asyncio.wait({waiting[0]})
    request.answer("4.04")
    assert [(await task).status for task in waiting[1:]] == [Status.FAILED] * 2
    await until(lambda: nothing_left(house))


async def test_one_who_leaves_while_asking_has_asked(house: House) -> None:
    await house.register(links=BARE)
    with house.disk_held():
        asking = asyncio.create_task(house.order(read()))
        await until(lambda: house.store.writer._in_flight is not None)
        asking.cancel()
        await asyncio.wait({asking})
    (await house.wire.asked()).answer("4.04")
    await until(lambda: house.rows("SELECT status FROM endpoint_operation") == [("FAILED",)])


async def test_what_is_done_is_remembered_for_a_while(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RECENT", 2)
    monkeypatch.setattr(engine, "RECENT_VALUES", 3)
    await house.register(links=BARE)
    house.wire.plays[HOME] = lambda asked: asked.value({f"{asked.downlink.path}": 1.0})
    done = [await house.perform(read(number)) for number in range(3)]
    with pytest.raises(UsageError):
        await house.fleet.operations.finished(done[0].id, 0)
    assert await house.fleet.operations.finished(done[2].id, 0) == done[2]
    house.wire.plays[HOME] = lambda asked: asked.value({f"/10/0/{n}": 1.0 for n in range(4)})
    large = await house.perform(operation("read", "/10/0"))
    assert await house.fleet.operations.finished(large.id, 0) == large, "the newest, however large"
    assert house.fleet.operations._recent_values == 4


# Once more


async def test_one_that_is_done_is_asked_anew(house: House) -> None:
    await house.register(links=BARE)
    house.wire.plays[HOME] = lambda asked: asked.answer("4.04")
    first = await house.perform(read())
    again = await house.fleet.operations.retry(first.id, "somebody")
    assert (again.retry_of, again.asked_by, again.operation) == (first.id, "somebody", first.operation)
    await house.done(again)
    house.fleet.operations._recent.clear()
    third = await house.fleet.operations.retry(again.id, "test")
    assert (third.retry_of, third.operation) == (again.id, first.operation), "from the disk too"
    await house.done(third)


async def test_one_that_is_not_done_is_tried_by_itself(house: House) -> None:
    await sleeper(house)
    asked = await house.order(read())
    with pytest.raises(UsageError) as raised:
        await house.fleet.operations.retry(asked.id, "test")
    assert raised.value.code == "operation_unfinished"


async def test_one_that_came_by_another_gateway_is_waited_for_too(
    tmp_path: FilePath, clock: FakeClock
) -> None:
    """It was heard of, so it may come here some day; a restart makes no difference."""
    record = Record(Path.of(3303, 0, 5700), 21.5, DataType.FLOAT)
    async with a_house(tmp_path / "gateway.db", clock) as house:
        await house.fleet.ingest("elsewhere", [record])
        asked = await house.fleet.operations.ask("elsewhere", read(), "test")
        assert house.rows.samples("elsewhere", TEMPERATURE) == [21.5]
    async with a_house(tmp_path / "gateway.db", clock) as house:
        again = await house.fleet.operations.ask("elsewhere", read(), "test")
        assert house.fleet.operations.waiting("elsewhere") == 2
        assert (asked.status, again.status) == (Status.QUEUED, Status.QUEUED)
