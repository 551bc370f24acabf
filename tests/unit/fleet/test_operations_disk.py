"""Operations while the disk takes no writes, and at the end of the daemon."""

import asyncio
from collections.abc import Callable

import pytest

from flownexus_appliance.db import writer
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.operations import EndpointOperation
from flownexus_appliance.lwm2m.operations import Operation, Status
from tests.peer import until

from .conftest import HOME, House, operation
from .orders import BARE, TEMPERATURE, attempts, execute, nothing_left, read, told

CHANGES = "UPDATE ON endpoint_operation"
ASKINGS = "INSERT ON endpoint_operation"


@pytest.fixture
def house(quiet_house: House) -> House:
    return quiet_house


# The disk


async def test_what_the_disk_does_not_take_is_not_asked(house: House) -> None:
    await house.register(links=BARE)
    with house.disk_fails(ASKINGS), pytest.raises(StoreError):
        await house.order(read())
    await house.healed()
    assert (house.wire.log, nothing_left(house)) == ([], True)
    task = house.perform(read(1))
    (await house.wire.asked()).answer("4.04")
    await task


async def test_what_the_disk_does_not_take_is_not_sent(house: House) -> None:
    """And it is by itself, once the disk does: the device may say nothing for a day."""
    await house.register(links=BARE)
    with house.disk_fails(CHANGES):
        asked = await house.order(execute())
        await until(lambda: house.fleet.operations._lines["one"].held)
        assert (house.wire.log, house.status(asked)) == ([], "QUEUED")
    (await house.wire.asked()).answer("2.04")
    kept = await house.done(asked)
    assert (kept.status, kept.attempts) == (Status.CONFIRMED, 1)
    assert told(house, asked) == ["QUEUED", "SENDING", "CONFIRMED"]


async def test_a_cancel_that_the_disk_does_not_take_lets_the_next_go(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cancelled all the same, and said to be when the disk is back."""
    await house.register(links=BARE)
    house.fleet.operations._open = False
    first, second = await house.order(read()), await house.order(read(1))
    house.fleet.operations._open = True
    with monkeypatch.context() as patched:
        patched.setattr(house.fleet.operations, "tick", lambda moment: None)
        with house.disk_fails(f"{CHANGES} WHEN new.status = 'CANCELLED'"):
            with pytest.raises(StoreError):
                await house.fleet.operations.cancel(first.id)
            await house.healed()
            assert (house.status(first), house.wire.log) == ("QUEUED", [])
    (await house.wire.asked()).answer("4.04")
    await house.done(second)
    assert (await house.done(first)).status is Status.CANCELLED
    assert len(house.wire.log) == 1
    await until(lambda: nothing_left(house))


async def test_what_became_of_it_is_kept_when_the_disk_is_back(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(execute())
    request = await house.wire.asked()
    with house.disk_fails(CHANGES):
        request.answer("2.04")
        await until(lambda: asked.id in house.fleet.operations._owed)
        waited = await house.fleet.operations.finished(asked.id, 0.01)
        assert (waited.status, house.status(asked)) == (Status.SENDING, "SENDING"), "as the disk has it"
    kept = await house.done(asked)
    assert (kept.status, house.status(asked)) == (Status.CONFIRMED, "CONFIRMED")
    assert told(house, asked) == ["QUEUED", "SENDING", "CONFIRMED"], "once"
    assert attempts(house, asked) == [(1, True, "2.04")]
    assert len(house.wire.log) == 1
    await until(lambda: nothing_left(house))


@pytest.fixture
def tick(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The engine looks at its clock when the test says so."""
    real = house.fleet.operations.tick
    monkeypatch.setattr(house.fleet.operations, "tick", lambda moment: None)
    return lambda: real(house.clock())


async def postponed_and_lost(house: House, wanted: Operation, **more: int) -> EndpointOperation:
    """One that the device has put off, of which the disk does not know: it is owed."""
    asked = await house.order(wanted, **more)  # type: ignore[arg-type]
    request = await house.wire.asked()
    with house.disk_fails(CHANGES):
        request.answer("5.03")
        await until(lambda: asked.id in house.fleet.operations._owed)
    await house.healed()
    assert house.status(asked) == "SENDING"
    return asked


async def settled(house: House) -> None:
    await asyncio.shield(house.store.commit())


async def test_what_is_owed_never_comes_after_what_followed_it(
    house: House, tick: Callable[[], None]
) -> None:
    registration_id = await house.register(links=BARE)
    asked = await postponed_and_lost(house, read())
    assert (await house.fleet.operations.cancel(asked.id)).status is Status.CANCELLED
    tick()
    await settled(house)
    assert house.status(asked) == "CANCELLED", "else the next start would send it"
    assert attempts(house, asked) == [(1, True, "5.03")], "what happened before is kept too"
    assert told(house, asked)[-1] == "CANCELLED"
    await house.update(registration_id)
    assert len(house.wire.log) == 1
    assert nothing_left(house)


async def test_nor_after_the_next_try(house: House, tick: Callable[[], None]) -> None:
    registration_id = await house.register(links=BARE)
    asked = await postponed_and_lost(house, execute())
    await house.update(registration_id)
    request = await house.wire.asked()
    tick()
    await settled(house)
    assert house.status(asked) == "SENDING", "else the next start would send it once more"
    request.answer("2.04")
    await house.done(asked)
    assert attempts(house, asked) == [(1, True, "5.03"), (2, True, "2.04")]


async def test_nor_after_its_deadline(house: House, tick: Callable[[], None]) -> None:
    await house.register(links=BARE)
    asked = await postponed_and_lost(house, read(), deadline_ms=house.clock.wall_ms + 5000)
    house.clock.advance(6)
    tick()
    assert (await house.done(asked)).status is Status.EXPIRED
    assert house.status(asked) == "EXPIRED"


async def test_a_slow_disk_is_not_given_the_same_again_and_again(
    house: House, tick: Callable[[], None]
) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    request = await house.wire.asked()
    with house.disk_fails(CHANGES):
        request.value({"/10/0/0": 1.0})
        await until(lambda: asked.id in house.fleet.operations._owed)
    await house.healed()
    with house.disk_held():
        for _ in range(3):
            tick()
            await until(lambda: house.store.writer._in_flight is not None)
        assert len(house.store.writer._batch) == 0
    await house.done(asked)
    assert told(house, asked) == ["QUEUED", "SENDING", "CONFIRMED"]
    assert house.fleet.operations._recent_values == 1


async def test_one_that_is_cancelled_while_the_disk_takes_no_sending_is_cancelled(house: House) -> None:
    await house.register(links=BARE)
    house.fleet.operations._open = False
    asked = await house.order(execute())
    with house.disk_fails(CHANGES):
        with house.disk_held():
            house.fleet.operations.open()
            await until(lambda: house.store.writer._in_flight is not None)
            cancelling = asyncio.create_task(house.fleet.operations.cancel(asked.id))
            await asyncio.sleep(0)
        await until(lambda: asked.id in house.fleet.operations._settling)
        assert house.status(asked) == "QUEUED"
    assert (await cancelling).status is Status.CANCELLED
    assert (house.status(asked), house.wire.log) == ("CANCELLED", [])


async def test_attributes_follow_each_other_even_over_a_failed_disk(
    house: House, tick: Callable[[], None]
) -> None:
    await house.register(links=BARE)
    first, second = (
        operation("write_attributes", TEMPERATURE, attributes=(("pmin", value),)) for value in ("1", "2")
    )
    asked = await house.order(first)
    request = await house.wire.asked()
    with house.disk_fails(CHANGES):
        request.answer("2.04")
        await until(lambda: asked.id in house.fleet.operations._owed)
    await house.healed()
    task = house.perform(second)
    (await house.wire.asked()).answer("2.04")
    await task
    tick()
    await settled(house)
    assert house.rows("SELECT attributes FROM wanted_attributes") == [('{"pmin": "2"}',)]
    assert house.status(asked) == "CONFIRMED"


async def test_an_observation_that_cannot_be_kept_is_begun_when_the_disk_is_back(house: House) -> None:
    """Without a word of the device: nothing is wrong with it."""
    await house.register(links=BARE)
    with house.disk_fails("INSERT ON observation"):
        asked = await house.order(operation("observe", TEMPERATURE))
        await house.told.until(lambda e: e.name == "operation" and e.data["status"] == "SENDING")
        await until(lambda: house.store.writer._broken)
        assert house.wire.log == []
    (await house.wire.asked()).value({TEMPERATURE: 1.0}, observe=1)
    kept = await house.done(asked)
    assert (kept.status, kept.attempts) == (Status.CONFIRMED, 1)


async def test_a_value_that_cannot_be_kept_is_read_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.3)
    await house.register(links=BARE)
    asked = await house.order(operation("read", TEMPERATURE))
    request = await house.wire.asked()
    with house.disk_fails("UPDATE ON endpoint"):
        house.store.put_label("one", "x")
        with pytest.raises(StoreError):
            await house.store.commit()
    request.value({TEMPERATURE: 1.0})
    await until(lambda: asked.id in house.fleet.operations._owed)
    house.wire.plays[HOME] = lambda again: again.value({TEMPERATURE: 2.0})
    kept = await house.done(asked)
    assert (kept.status, kept.attempts) == (Status.CONFIRMED, 1)
    assert house.rows.samples("one", TEMPERATURE) == [2.0]


# The end of the daemon


async def test_a_stop_leaves_what_is_under_way_to_the_next_start(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    behind = await house.order(read(1))
    await house.wire.asked()
    waiting = asyncio.create_task(house.fleet.operations.finished(asked.id, 60))
    await asyncio.sleep(0)
    await house.fleet.operations.stop()
    assert (await waiting).status is Status.SENDING, "who waits is told how it stands"
    assert (house.status(asked), house.status(behind)) == ("SENDING", "QUEUED")
    assert house.wire.under_way == {HOME: 0}
    later = await house.order(read(2))
    assert (house.status(later), len(house.wire.log)) == ("QUEUED", 1)


async def test_nothing_is_sent_before_the_wire_is_up(house: House) -> None:
    await house.register(links=BARE)
    house.fleet.operations._open = False
    asked = await house.order(read())
    await house.outcome(house.send_request({TEMPERATURE: 1.0}))
    assert house.wire.log == []
    house.fleet.operations.open()
    (await house.wire.asked()).answer("4.04")
    await house.done(asked)
