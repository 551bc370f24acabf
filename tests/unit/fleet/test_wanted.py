"""What devices are wanted to report: kept, begun anew after each Register, and what people say goes first."""

from pathlib import Path as FilePath

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.fleet import FleetOptions
from flownexus_appliance.fleet.ports import Notification, Verdict
from flownexus_appliance.lwm2m.operations import Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.presence import AWAKE_WINDOW_S
from tests.conftest import FakeClock
from tests.peer import until

from .conftest import CBOR, HOME, Asked, House, a_house, operation, plain, senml

LINKS = b"</1/0>,</3303/0>"
TEMPERATURE = "/3303/0/5700"
LOWEST = "/3303/0/5601"
QUEUE_MODE = ("one", HOME, LINKS, "1.1", 86_400, "b=U", "Q")
OBSERVE = operation("observe", TEMPERATURE)
CANCEL = operation("cancel", TEMPERATURE)


def attributes(path: str = TEMPERATURE, **values: str | None) -> Operation:
    return operation("write_attributes", path, attributes=tuple(values.items()))


def reports(asked: Asked) -> None:
    """A device that takes whatever is asked of it."""
    down = asked.downlink
    if down.method == "GET" and down.accept != 40:
        asked.value({str(down.path): 21.5}, observe=1 if down.observe == 0 else None)
    elif down.method == "FETCH":
        asked.answer("2.05", senml({TEMPERATURE: 21.5}), observe=1 if down.observe == 0 else None)
    else:
        asked.answer("2.04")


def requests(house: House) -> list[str]:
    """What the device was asked that changes what it reports, in order."""
    found = []
    for asked in house.wire.log:
        down = asked.downlink
        if down.query:
            found.append(f"{down.path} {'&'.join(down.query)}")
        elif down.observe is not None:
            found.append(f"{'observe' if down.observe == 0 else 'cancel'} {down.path}")
    house.wire.log.clear()
    return found


def states(house: House) -> dict[str, str]:
    """State and who wants it, by path."""
    return {
        " ".join(map(str, one.paths)): f"{one.state}, {one.asked_by}" for one in house.fleet.reporting("one")
    }


async def onboarded(house: House) -> None:
    await house.onboarded()
    await until(lambda: house.fleet.onboarding() == 0 and not house.wire.under_way.get(HOME))


@pytest.fixture
async def device(quiet_house: House) -> House:
    """A house that watches nothing, and a device that does what it is asked."""
    quiet_house.wire.plays[HOME] = reports
    await quiet_house.register(links=LINKS)
    await onboarded(quiet_house)
    return quiet_house


@pytest.fixture
async def watched(house: House) -> House:
    """A house that watches temperatures."""
    house.wire.plays[HOME] = reports
    await house.register(links=LINKS)
    await until(lambda: TEMPERATURE in house.rows.observations("one"))
    await onboarded(house)
    house.wire.log.clear()
    return house


# After a Register


async def test_what_people_asked_for_is_asked_for_again(device: House) -> None:
    """Attributes first: an observation that begins before them would report at its own pace."""
    for wanted in (
        OBSERVE,
        operation("observe_composite", "/3303/0", "/1/0/1", content_format=110),
        attributes(pmin="10", pmax="60"),
        attributes("/3303", pmin="5"),
    ):
        assert (await device.perform(wanted)).status is Status.CONFIRMED
    requests(device)
    device.clock.advance(1)
    await device.register(links=LINKS)
    await until(lambda: len(device.fleet.observed("one")) == 3)
    await onboarded(device)
    composite = device.wire.log[-1].downlink
    assert requests(device) == [
        "/3303 pmin=5",
        f"{TEMPERATURE} pmin=10&pmax=60",
        f"observe {TEMPERATURE}",
        "observe /",
    ]
    assert (composite.content_format, composite.accept) == (110, 110)
    assert states(device) == {TEMPERATURE: "active, test", "/3303/0 /1/0/1": "active, test"}


async def test_only_what_is_set_is_written_back(device: House) -> None:
    await device.perform(attributes(pmin="10", pmax="60", gt="30"))
    await device.perform(attributes(pmax=None, pmin="20"))
    await device.perform(attributes(LOWEST, pmin="1"))
    await device.perform(attributes(LOWEST, pmin=None))
    assert device.fleet.attributes("one") == {Path.parse(TEMPERATURE): {"pmin": "20", "gt": "30"}}
    requests(device)
    await device.register(links=LINKS)
    await until(lambda: device.wire.log != [])
    await onboarded(device)
    assert requests(device) == [f"{TEMPERATURE} pmin=20&gt=30"]


async def test_what_the_device_did_not_take_is_not_wanted(device: House) -> None:
    device.wire.plays[HOME] = lambda asked: asked.answer("4.05")
    for wanted in (OBSERVE, attributes(pmin="10"), operation("observe_composite", "/3303")):
        assert (await device.perform(wanted)).status is Status.FAILED
    assert (states(device), device.fleet.attributes("one")) == ({}, {})
    assert device.fleet._wanted._wishes == {}


async def test_an_answer_without_the_observe_option_is_no_observation(device: House) -> None:
    device.wire.plays[HOME] = lambda asked: asked.value({TEMPERATURE: 21.5})
    kept = await device.perform(OBSERVE)
    assert (kept.status, kept.outcome.code) == (Status.FAILED, "2.05")
    assert "does not report" in kept.outcome.message
    assert [r.value for r in kept.outcome.records] == [21.5], "the value is one all the same"
    assert states(device) == {}


async def test_all_of_it_outlives_a_restart(tmp_path: FilePath, clock: FakeClock) -> None:
    options = FleetOptions(watch_list=("/3303/*/5601",))
    async with a_house(tmp_path / "db", clock, options) as before:
        before.wire.plays[HOME] = reports
        await before.register(links=LINKS)
        await until(lambda: LOWEST in before.rows.observations("one"))
        await onboarded(before)
        await before.perform(OBSERVE)
        clock.advance(1)
        await before.perform(operation("observe_composite", "/3303/0"))
        await before.perform(operation("cancel", LOWEST))
        await before.perform(attributes(pmin="10"))
        told = states(before)
        before.kill()
    async with a_house(tmp_path / "db", clock, options) as after:
        after.wire.plays[HOME] = reports
        assert (
            states(after)
            == told
            == {
                "/3303/0": "active, test",
                TEMPERATURE: "active, test",
                LOWEST: "off, test",
            }
        )
        clock.advance(1)
        await after.register(links=LINKS)
        await until(lambda: len(after.fleet.observed("one")) == 2)
        await onboarded(after)
        assert requests(after) == [f"{TEMPERATURE} pmin=10", f"observe {TEMPERATURE}", "observe /"]


# What people ask while the device sleeps


async def asleep(house: House, *first: Operation) -> None:
    house.wire.plays[HOME] = reports
    await house.register(*QUEUE_MODE)
    await until(lambda: house.wire.log != [] or house.fleet._watch_list == ())
    await onboarded(house)
    for wanted in first:
        await house.perform(wanted)
    house.clock.advance(AWAKE_WINDOW_S)
    await until(lambda: house.fleet.presence("one") == "sleeping")
    house.wire.log.clear()


async def test_the_newest_attributes_are_written_back(quiet_house: House) -> None:
    """A Zephyr that closes its socket while it sleeps registers anew each time it wakes."""
    house = quiet_house
    await asleep(house, attributes(pmin="10", gt="30"))
    asked = await house.order(attributes(pmin="60"))
    await house.register(*QUEUE_MODE)
    await house.done(asked)
    await until(lambda: len(house.wire.log) == 2)
    await onboarded(house)
    assert requests(house) == [f"{TEMPERATURE} pmin=60", f"{TEMPERATURE} pmin=60&gt=30"]


async def test_what_was_unset_is_not_written_back(quiet_house: House) -> None:
    house = quiet_house
    await asleep(house, attributes(pmin="10"))
    asked = await house.order(attributes(pmin=None))
    await house.register(*QUEUE_MODE)
    await house.done(asked)
    await onboarded(house)
    assert requests(house) == [f"{TEMPERATURE} pmin"]


@pytest.mark.parametrize("kind", ["cancel", "cancel_passive"])
async def test_what_was_ended_is_not_begun_again(house: House, kind: str) -> None:
    """The watch list's own; the Register has ended it, so there is nothing to ask of the device."""
    await asleep(house)
    asked = await house.order(operation(kind, TEMPERATURE))
    await house.register(*QUEUE_MODE)
    assert (await house.done(asked)).status is Status.CONFIRMED
    await onboarded(house)
    assert requests(house) == []
    assert states(house) == {TEMPERATURE: "off, test"}


async def test_an_observe_that_waited_makes_the_box_ask_no_second_one(house: House) -> None:
    await asleep(house)
    asked = await house.order(OBSERVE)
    await house.register(*QUEUE_MODE)
    await house.done(asked)
    await onboarded(house)
    assert requests(house) == [f"observe {TEMPERATURE}"]
    assert states(house) == {TEMPERATURE: "active, test"}


# What is watched


async def test_one_of_the_watch_list_is_ended_for_good_and_begun_again(watched: House) -> None:
    assert states(watched) == {TEMPERATURE: "active, watch list"}
    token = watched.token(TEMPERATURE)
    assert (await watched.perform(CANCEL)).status is Status.CONFIRMED
    assert (watched.wire.log[-1].downlink.observe, watched.wire.log[-1].downlink.token) == (1, token)
    assert states(watched) == {TEMPERATURE: "off, test"}
    await watched.register(links=LINKS)
    await onboarded(watched)
    assert watched.rows.observations("one") == {}
    await watched.perform(OBSERVE)
    assert states(watched) == {TEMPERATURE: "active, test"}
    watched.wire.log.clear()
    await watched.register(links=LINKS)
    await until(lambda: TEMPERATURE in watched.rows.observations("one"))
    await onboarded(watched)
    assert requests(watched) == [f"observe {TEMPERATURE}"]


async def test_one_may_be_ended_while_the_device_is_away(watched: House) -> None:
    """Nobody knows then what the watch list will find on it."""
    (registration_id,) = watched.rows.registrations().values()
    await watched.deregister(registration_id)
    kept = await watched.perform(operation("cancel_passive", TEMPERATURE))
    assert kept.status is Status.CONFIRMED
    watched.wire.log.clear()
    await watched.register(links=LINKS)
    await onboarded(watched)
    assert requests(watched) == []
    assert states(watched) == {TEMPERATURE: "off, test"}


async def test_one_that_nobody_watches_is_forgotten(device: House) -> None:
    await device.perform(OBSERVE)
    await device.perform(CANCEL)
    assert states(device) == {}
    assert device.rows("SELECT count(*) FROM wanted_observation") == [(0,)]
    assert device.fleet._wanted._wishes == {}, "nothing is left of a device that nothing is wanted of"


async def test_an_observe_at_the_same_moment(house: House) -> None:
    """The box's own is under way: the device has one observation in the end, under a token that we know."""
    await house.register(links=LINKS)
    own = await house.wire.asked()
    assert own.downlink.observe == 0
    task = house.perform(OBSERVE)
    await until(lambda: len(house.rows.observations("one")) == 1)
    own.value({TEMPERATURE: 1.0}, observe=1)
    theirs = await house.wire.asked()
    house.wire.plays[HOME] = reports
    theirs.value({TEMPERATURE: 1.5}, observe=1)
    assert (await task).status is Status.CONFIRMED
    await onboarded(house)
    assert house.rows.observations("one") == {TEMPERATURE: theirs.downlink.token}
    news = Notification(
        plain(HOME), theirs.downlink.token, 2, "2.05", CBOR, senml({TEMPERATURE: 2.0}, TEMPERATURE)
    )
    assert await house.verdict(news) is Verdict.TAKEN
    assert states(house) == {TEMPERATURE: "active, test"}
    assert house.wire.most_a_device == 1


async def test_a_cancel_at_the_same_moment(house: House) -> None:
    """It waits for the answer to the box's own Observe, and ends that."""
    await house.register(links=LINKS)
    own = await house.wire.asked()
    task = house.perform(CANCEL)
    own.value({TEMPERATURE: 1.0}, observe=1)
    ends = await house.wire.asked()
    house.wire.plays[HOME] = reports
    assert (ends.downlink.observe, ends.downlink.token) == (1, own.downlink.token)
    ends.value({TEMPERATURE: 1.0})
    assert (await task).status is Status.CONFIRMED
    await onboarded(house)
    assert (house.rows.observations("one"), states(house)) == ({}, {TEMPERATURE: "off, test"})


async def test_a_register_that_overtakes_the_answer_to_an_observe(device: House) -> None:
    """The device agreed in its former life: the observation is begun anew, not taken to be there."""
    del device.wire.plays[HOME]
    asked = await device.order(OBSERVE)
    first = await device.wire.asked()
    device.clock.advance(1)
    await device.register(links=LINKS)
    device.wire.plays[HOME] = reports
    first.value({TEMPERATURE: 1.0}, observe=1)
    assert (await device.done(asked)).status is Status.CONFIRMED
    await onboarded(device)
    assert device.rows.observations("one") == {TEMPERATURE: device.wire.log[-1].downlink.token}
    assert device.wire.log[-1].downlink.token != first.downlink.token
    assert states(device) == {TEMPERATURE: "active, test"}


@pytest.mark.parametrize(("answer", "state"), [("4.05", "refused"), (None, "waiting")])
async def test_why_one_is_not_reported(house: House, answer: str | None, state: str) -> None:
    house.wire.plays[HOME] = lambda asked: asked.answer(answer) if answer else asked.fail()
    await house.register(links=LINKS)
    await until(lambda: house.wire.log != [])
    await onboarded(house)
    assert states(house) == {TEMPERATURE: f"{state}, watch list"}
    assert house.fleet.reporting("nobody") == []


# The disk


async def test_what_the_disk_does_not_take_is_wanted_when_it_does(device: House) -> None:
    with device.disk_fails("INSERT ON wanted_observation", "INSERT ON wanted_attributes"):
        observe = await device.order(OBSERVE)
        await until(lambda: observe.id in device.fleet.operations._settling)
        assert device.status(observe) == "SENDING", "not told done before it is wanted for good"
        assert device.rows("SELECT count(*) FROM wanted_observation") == [(0,)]
    await device.done(observe)
    await device.perform(attributes(pmin="10"))
    assert device.rows("SELECT paths, wanted FROM wanted_observation") == [(f'["{TEMPERATURE}"]', 1)]
    assert device.rows("SELECT path, attributes FROM wanted_attributes") == [(TEMPERATURE, '{"pmin": "10"}')]


# What is set of a device


@pytest.mark.parametrize("window_s", [0.5, -1.0, 86_401.0, float("nan"), float("inf")])
async def test_a_window_that_makes_no_sense(device: House, window_s: float) -> None:
    with pytest.raises(UsageError) as raised:
        await device.fleet.configure("one", awake_window_s=window_s)
    assert raised.value.code == "awake_window_invalid"
    assert device.rows("SELECT awake_window_s FROM endpoint") == [(None,)]


async def test_label_and_window_are_set_apart(device: House) -> None:
    await device.fleet.configure("one", label="Küche")
    await device.fleet.configure("one", awake_window_s=20)
    assert device.rows("SELECT label, awake_window_s FROM endpoint") == [("Küche", 20.0)]
    await device.fleet.configure("one", awake_window_s=0)
    assert device.rows("SELECT label, awake_window_s FROM endpoint") == [("Küche", None)]
    for label in ("x" * 101, "a\nb", "\ud800"):
        with pytest.raises(UsageError) as raised:
            await device.fleet.configure("one", label=label)
        assert raised.value.code == "label_invalid"
    with pytest.raises(UsageError) as raised:
        await device.fleet.configure("nobody", label="x")
    assert raised.value.code == "endpoint_unknown"


async def test_a_cancel_that_the_device_knows_nothing_of_is_done(quiet_house: House) -> None:
    """It has ended already: the wish goes too, and nobody need ask twice."""
    house = quiet_house
    house.wire.plays[HOME] = reports
    await house.register(links=LINKS)
    await house.onboarded()
    assert (await house.done(await house.order(OBSERVE))).status is Status.CONFIRMED
    house.wire.plays[HOME] = lambda asked: asked.answer("4.04")
    ended = await house.done(await house.order(CANCEL))
    assert (ended.status, ended.outcome.code) == (Status.CONFIRMED, "4.04")
    assert house.fleet.reporting("one") == []
