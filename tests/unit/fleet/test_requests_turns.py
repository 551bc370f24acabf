"""Requests to a device: one at a time, and none that makes no sense."""

import asyncio

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.ports import DeviceSilent
from flownexus_appliance.lwm2m.operations import Operation, Status
from tests.peer import until

from .conftest import ELSEWHERE, HOME, House, operation
from .test_requests import BARE, EACH, TEMPERATURE, read

# One at a time


async def test_operations_wait_for_each_other(house: House) -> None:
    await house.register(links=BARE)
    await house.register("other", ELSEWHERE, BARE)
    tasks = [house.perform(read("/3")) for _ in range(5)]
    tasks.append(house.perform(read("/3"), "other"))
    first, elsewhere = await house.wire.asked(), await house.wire.asked()
    assert {first.address, elsewhere.address} == {HOME, ELSEWHERE}
    for asked in (elsewhere, first):
        asked.answer("4.04")
    for _ in range(4):
        (await house.wire.asked()).answer("4.04")
    assert {(await task).outcome.code for task in tasks} == {"4.04"}
    assert house.wire.most_a_device == 1


async def test_what_the_box_asks_waits_too(house: House) -> None:
    await house.register(links=BARE)
    first = house.perform(read("/3"))
    asked = await house.wire.asked()
    own = asyncio.create_task(house.fleet._performer.perform("one", read("/4")))
    asked.answer("4.04")
    assert str((await house.wire.asked()).downlink.path) == "/4"
    house.wire.log[-1].answer("4.04")
    await own
    await first
    assert house.wire.most_a_device == 1


async def test_one_that_is_given_up_lets_the_next_go(house: House) -> None:
    await house.register(links=BARE)
    first = await house.order(read("/3"))
    await house.wire.asked()
    second = house.perform(read("/4"))
    cancelled = await house.fleet.operations.cancel(first.id)
    assert (cancelled.status, house.status(first)) == (Status.CANCELLED, "CANCELLED")
    asked = await house.wire.asked()
    assert str(asked.downlink.path) == "/4"
    asked.answer("4.04")
    assert (await second).outcome.code == "4.04"


async def test_what_waits_while_the_device_registers_anew_goes_to_its_new_life(house: House) -> None:
    await house.register(links=BARE)
    own = asyncio.create_task(house.fleet._performer.perform("one", read("/3")))
    asked = await house.wire.asked()
    waiting = await house.order(EACH["execute"])
    await house.becomes(waiting, Status.SENDING)
    house.clock.advance(1)
    await house.register(address=ELSEWHERE, links=BARE)
    with pytest.raises(DeviceSilent):
        await own
    assert asked.answered.cancelled(), "its former life is not waited for"
    asked = await house.wire.asked()
    assert (asked.address, len(house.wire.log)) == (ELSEWHERE, 2)
    asked.answer("2.04")
    result = await house.done(waiting)
    assert (result.status, result.attempts) == ("CONFIRMED", 1), "the former life was not even asked"
    assert house.fleet.presence("one") == "online", "the silent one was its former life"


async def test_what_the_box_asked_of_its_former_life_is_not_asked(house: House) -> None:
    """It was made for what the device registered then; onboarding begins anew."""
    await house.register(links=BARE)
    perform = house.fleet._performer.perform
    first, second = (asyncio.create_task(perform("one", read(path))) for path in ("/3", "/4"))
    asked = await house.wire.asked()
    house.clock.advance(1)
    await house.register(address=ELSEWHERE, links=BARE)
    with pytest.raises(DeviceSilent) as broken:
        await first
    assert (broken.value.code, broken.value.sent) == ("endpoint_moved", True)
    assert asked.answered.cancelled()
    with pytest.raises(DeviceSilent) as raised:
        await second
    assert (raised.value.code, raised.value.sent) == ("endpoint_moved", False)
    assert len(house.wire.log) == 1


async def test_what_waits_while_the_device_moves_goes_to_its_new_address(house: House) -> None:
    registration_id = await house.register(links=BARE)
    first, second = house.perform(read("/3")), house.perform(read("/4"))
    asked = await house.wire.asked()
    await house.update(registration_id, ELSEWHERE)
    asked.answer("4.04")
    await first
    asked = await house.wire.asked()
    assert asked.address == ELSEWHERE
    asked.answer("4.04")
    await second


async def test_locks_do_not_pile_up(house: House) -> None:
    for number in range(20):
        await house.register(f"dev-{number}", f"192.0.2.7:{number + 1}", BARE)
        task = house.perform(read("/3"), f"dev-{number}")
        (await house.wire.asked()).answer("4.04")
        await task
    del task
    await until(lambda: len(house.fleet._requests._locks) == 0)


# What makes no sense


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (read("/"), "path_invalid"),
        (operation("observe", "/"), "path_invalid"),
        (operation("discover", "/"), "path_invalid"),
        (operation("discover", "/3/0/11/0"), "path_invalid"),
        (operation("write_attributes", "/", attributes=(("pmin", "1"),)), "path_invalid"),
        (operation("write_attributes", "/3"), "attributes_invalid"),
        (operation("write", "/3", values={"/3/0/14": 1}), "path_invalid"),
        (operation("write", "/3/0"), "value_missing"),
        (operation("execute", "/3"), "path_invalid"),
        (operation("execute", "/3/0"), "path_invalid"),
        (operation("execute", "/3/0/11/0"), "path_invalid"),
        (operation("execute", "/3/0/4", arguments="x"), "arguments_invalid"),
        (operation("read_composite", "/3", "/3/0/9"), "paths_invalid"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else f"{value.kind} {value.path}",
)
async def test_what_makes_no_sense_is_never_sent(house: House, wanted: Operation, code: str) -> None:
    await house.register(links=BARE)
    with pytest.raises(UsageError) as raised:
        await house.order(wanted)
    assert raised.value.code == code
    assert raised.value.message
    assert raised.value.hint
    assert house.wire.log == []
    assert house.rows("SELECT count(*) FROM endpoint_operation") == [(0,)], "nothing is queued"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (operation("write", "/40000/0/1", values={"/40000/0/1": "\ud800"}), "not of type string"),
        (operation("write", "/3/0/14", values={"/3/0/14": "x"}, content_format=40), "is not supported"),
        (operation("read_composite", "/3", content_format=11542), "is not supported"),
    ],
)
async def test_what_cannot_be_put_in_a_message_fails_and_is_not_sent(
    house: House, wanted: Operation, code: str
) -> None:
    await house.register(links=BARE)
    result = await house.perform(wanted)
    assert (result.status, result.outcome.code, result.attempts) == ("FAILED", "", 0)
    assert code in result.outcome.message
    assert house.wire.log == []


@pytest.mark.parametrize("kind", EACH)
async def test_a_device_that_is_not_there(house: House, kind: str) -> None:
    with pytest.raises(UsageError) as raised:
        await house.order(EACH[kind])
    assert (raised.value.code, bool(raised.value.hint)) == ("endpoint_unknown", True)
    await house.deregister(await house.register(links=BARE))
    asked = await house.order(EACH[kind])
    assert house.wire.log == []
    assert house.rows.observations("one") == {}
    assert house.status(asked) == Status.QUEUED, "it is asked when it comes back"
    await house.register(links=BARE)
    (await house.wire.asked()).answer("4.04")
    assert (await house.done(asked)).outcome.code == "4.04"


async def test_a_device_that_leaves_while_it_is_asked(house: House) -> None:
    registration_id = await house.register(links=BARE)
    first = house.perform(read(TEMPERATURE))
    asked = await house.wire.asked()
    second = await house.order(read("/4"))
    await house.deregister(registration_id)
    asked.value({TEMPERATURE: 1.0})
    assert (await first).status == "CONFIRMED"
    assert house.status(second) == Status.QUEUED
    assert len(house.wire.log) == 1
    assert house.fleet.presence("one") == "offline", "an answer after the farewell makes nobody present"
    assert house.fleet.counts()["online"] == 0
