"""Getting to know a device after it has registered."""

import asyncio

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet import onboarding as onboarding_module
from flownexus_appliance.fleet.ports import Action, Method, Notification, Verdict
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.links import Link, format_links
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import until

from .conftest import CBOR, ELSEWHERE, HOME, Asked, House, plain, plays_a_thermometer, senml, silent

FULL = b"</>;ct=112,</1/0>,</3/0>,</5/0>,</3303/0>,</3303/1>"
TEMPERATURE = "/3303/0/5700"


async def onboard(house: House, links: bytes = FULL, *more: str) -> list[str]:
    """Register a device that takes everything; what it was asked."""
    house.wire.plays[HOME] = plays_a_thermometer
    await house.register("one", HOME, links, "1.1", 300, *more)
    await until(lambda: bool(house.wire.log))
    await house.onboarded()
    return house.wire.steps


async def test_the_steps_and_their_order(house: House) -> None:
    """/3/0/7 and /3/0/11 are left out: the Discover does not list them."""
    assert await onboard(house) == [
        "discover /3",
        "read /3/0",
        "observe /3/0/9",
        "observe /5/0/3",
        "observe /5/0/5",
        "observe /3303/0/5700",
        "read /3303/0/5701",
        "observe /3303/1/5700",
        "read /3303/1/5701",
    ]
    assert house.wire.most_a_device == 1
    assert set(house.rows.observations("one")) == {"/3/0/9", "/5/0/3", "/5/0/5", TEMPERATURE, "/3303/1/5700"}
    assert house.fleet.observed("one") == {Path.parse(p) for p in house.rows.observations("one")}
    assert house.rows.samples("one", "/3/0/0") == ["ACME"]
    assert house.rows.samples("one", TEMPERATURE) == [21.5]
    assert house.rows.samples("one", "/3303/0/5701") == ["Cel"]


async def test_the_reply_to_the_register_goes_first(house: House) -> None:
    with house.disk_held():
        answered = house.ask(house.register_request())
        await until(lambda: house.store.writer._in_flight is not None)
        assert house.wire.log == []
    assert isinstance(await answered, Reply)
    assert (await house.wire.asked()).what == "discover /3"


async def test_each_observation_is_on_disk_before_it_is_asked_for(house: House) -> None:
    await house.register(links=b"</3303/0>")
    asked = await house.wire.asked()
    assert asked.what == f"observe {TEMPERATURE}"
    assert house.rows.observations("one") == {TEMPERATURE: asked.downlink.token}
    assert len(asked.downlink.token) == 8
    asked.value({TEMPERATURE: 1.0}, observe=1)


async def test_units_are_asked_once(house: House) -> None:
    await onboard(house)
    house.wire.log.clear()
    await onboard(house)
    assert [step for step in house.wire.steps if step.endswith("5701")] == []
    assert f"observe {TEMPERATURE}" in house.wire.steps


async def test_a_device_without_object_3(house: House) -> None:
    assert await onboard(house, b"</1/0>,</3303/0>") == [f"observe {TEMPERATURE}", "read /3303/0/5701"]


async def test_a_device_with_nothing_to_ask(house: House) -> None:
    house.wire.plays[HOME] = plays_a_thermometer
    await house.register(links=b"</1/0>")
    await house.onboarded()
    assert house.wire.log == []


async def test_a_clock_that_was_never_set_is_set(house: House) -> None:
    """Zephyr counts /3/0/13 from 1970 until somebody writes it."""

    def play(asked: Asked) -> None:
        if asked.what == "read /3/0":
            asked.value({"/3/0/13": 77})
        else:
            plays_a_thermometer(asked)

    house.wire.plays[HOME] = play
    await house.register(links=b"</3/0>")
    await until(lambda: len(house.wire.log) >= 3)
    await house.onboarded()
    assert house.wire.steps[:3] == ["discover /3", "read /3/0", "write /3/0/13"]
    written = house.wire.log[2].downlink
    assert written.method is Method.PUT
    records = codecs.decode(
        CBOR, written.payload, base=written.path, types=lambda _: None, now_ms=house.clock.wall_ms
    )
    assert [(str(r.path), r.value) for r in records] == [("/3/0/13", house.clock.wall_ms // 1000)]


@pytest.mark.parametrize("code", ["4.04", "4.05", "4.01", "5.00"])
async def test_refused_steps_go_on(house: House, code: str) -> None:
    """Zephyr's pool of observers is small: 5.00 when it is full."""

    def play(asked: Asked) -> None:
        if (asked.downlink.observe == 0 and str(asked.downlink.path) != "/3303/1/5700") or asked.what in (
            "discover /3",
            "read /3/0",
        ):
            asked.answer(code)
        else:
            plays_a_thermometer(asked)

    house.wire.plays[HOME] = play
    await house.register(links=FULL)
    await until(lambda: len(house.wire.log) > 8)
    await house.onboarded()
    assert house.wire.steps[-1] == "read /3303/1/5701"
    assert set(house.rows.observations("one")) == {"/3303/1/5700"}
    assert house.fleet.presence("one") == "online"


async def test_answers_that_nobody_understands_go_on(house: House) -> None:
    def play(asked: Asked) -> None:
        if asked.downlink.path == Path.parse("/3/0"):
            asked.answer("2.05", b"\xff\xff")
        elif asked.what == "discover /3":
            asked.fail(PeerError("payload_invalid", "blocks do not fit", ""))
        else:
            plays_a_thermometer(asked)

    house.wire.plays[HOME] = play
    await house.register(links=FULL)
    await until(lambda: TEMPERATURE in house.rows.observations("one"))
    await house.onboarded()
    assert house.fleet.presence("one") == "online"


async def test_a_response_without_the_observe_option_is_a_read(house: House) -> None:
    """The device cannot observe this: the value is kept, the observation is not."""

    def play(asked: Asked) -> None:
        if asked.downlink.observe == 0:
            asked.value({str(asked.downlink.path): 7.0})
        else:
            plays_a_thermometer(asked)

    house.wire.plays[HOME] = play
    await house.register(links=b"</3303/0>")
    await until(lambda: house.rows.samples("one", TEMPERATURE) == [7.0])
    await house.onboarded()
    assert house.rows.observations("one") == {}


async def test_a_composite_refusal_of_the_format_asks_without_one(house: House) -> None:
    """4.06: an observation is asked for again without Accept, under the same token."""

    def play(asked: Asked) -> None:
        if asked.downlink.accept == CBOR:
            asked.answer("4.06")
        elif asked.downlink.observe == 0:
            payload = senml({TEMPERATURE: 3.0}, TEMPERATURE, ContentFormat.TLV)
            asked.answer("2.05", payload, ContentFormat.TLV, observe=1)
        else:
            plays_a_thermometer(asked)

    house.wire.plays[HOME] = play
    await house.register(links=b"</3303/0>")
    await until(lambda: house.rows.samples("one", TEMPERATURE) == [3.0])
    await house.onboarded()
    first, second = [a.downlink for a in house.wire.log if a.downlink.observe == 0]
    assert (first.accept, second.accept) == (CBOR, None)
    assert first.token == second.token == house.token(TEMPERATURE)


# Silence


async def test_a_silent_device_is_offline_until_it_is_heard_and_then_goes_on(house: House) -> None:
    registration_id = await house.register(links=FULL)
    (await house.wire.asked()).fail(silent())
    await house.told.presence("one", "offline")
    await house.onboarded()
    assert house.fleet.presence("one") == "offline"
    assert house.wire.steps == ["discover /3"]
    assert house.rows.registrations() == {"one": registration_id}, "it stays registered"
    house.wire.plays[HOME] = plays_a_thermometer
    assert await house.update(registration_id) == Reply(Success.CHANGED)
    await until(lambda: len(house.rows.observations("one")) == 5)
    assert house.wire.steps[1] == "discover /3", "what was not answered is asked again"
    assert house.fleet.presence("one") == "online"


async def test_any_word_of_the_device_is_a_sign_to_go_on(house: House) -> None:
    await house.register(links=FULL)
    (await house.wire.asked()).fail(silent())
    await house.told.presence("one", "offline")
    house.wire.plays[HOME] = plays_a_thermometer
    await house.outcome(house.send_request({TEMPERATURE: 1.0}))
    await until(lambda: len(house.rows.observations("one")) == 5)


async def test_a_silent_queue_mode_device_sleeps(house: House) -> None:
    registration_id = await house.register("one", HOME, FULL, "1.1", 300, "Q")
    (await house.wire.asked()).fail(silent())
    await house.told.presence("one", "sleeping")
    house.wire.plays[HOME] = plays_a_thermometer
    await house.update(registration_id)
    await until(lambda: len(house.rows.observations("one")) == 5)


async def test_an_observation_that_was_not_answered_is_forgotten(house: House) -> None:
    await house.register(links=b"</3303/0>")
    asked = await house.wire.asked()
    asked.fail(silent())
    await until(lambda: house.rows.observations("one") == {})
    late = Notification(
        plain(HOME), asked.downlink.token, 1, "2.05", CBOR, senml({TEMPERATURE: 1.0}, TEMPERATURE)
    )
    assert await house.verdict(late) is Verdict.REFUSED, "the device took it after all: it is told to stop"


async def test_a_sleeping_device_is_not_asked(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn comes after its window has closed: what is left waits until it is heard again."""
    monkeypatch.setattr(house.fleet._onboarding, "_turn", asyncio.Semaphore(1))
    await house.register("busy", ELSEWHERE, b"</3/0>")
    busy = await house.wire.asked()
    registration_id = await house.register("one", HOME, b"</3303/0>", "1.1", 300, "Q")
    house.clock.advance(94)
    await house.told.presence("one", "sleeping")
    house.wire.plays[ELSEWHERE] = plays_a_thermometer
    busy.answer("4.04")
    await house.onboarded()
    assert {asked.address for asked in house.wire.log} == {ELSEWHERE}
    house.wire.plays[HOME] = plays_a_thermometer
    await house.update(registration_id)
    await until(lambda: TEMPERATURE in house.rows.observations("one"))


# Again, elsewhere, many


async def test_a_new_registration_begins_anew(house: House) -> None:
    """Register resets a client's observations (Leshan #848)."""
    await onboard(house)
    before = house.rows.observations("one")
    house.wire.log.clear()
    house.wire.plays.clear()
    await house.register(links=FULL)
    asked = await house.wire.asked()
    assert asked.what == "discover /3"
    assert house.rows.observations("one") == {}
    house.wire.plays[HOME] = plays_a_thermometer
    plays_a_thermometer(asked)
    await until(lambda: len(house.rows.observations("one")) == 5)
    after = house.rows.observations("one")
    assert set(before) == set(after)
    assert set(before.values()).isdisjoint(after.values())


async def test_a_new_registration_breaks_off_what_is_under_way(house: House) -> None:
    await house.register(links=FULL)
    abandoned = await house.wire.asked()
    await house.register(address=ELSEWHERE, links=FULL)
    asked = await house.wire.asked()
    assert (asked.what, asked.address) == ("discover /3", ELSEWHERE)
    assert abandoned.answered.cancelled()
    assert house.fleet.presence("one") == "online"
    asked.answer("4.04")
    assert (await house.wire.asked()).address == ELSEWHERE


async def test_a_retransmitted_register_does_not_onboard_twice_at_once(house: House) -> None:
    request = house.register_request(links=FULL)
    await house.outcome(request)
    await house.wire.asked()
    await house.outcome(request)
    await house.wire.asked()
    await until(lambda: house.wire.under_way[HOME] == 1)
    assert house.fleet.onboarding() == 1


async def test_an_update_with_new_objects_onboards_again(house: House) -> None:
    await onboard(house, b"</3/0>,</3303/0>")
    house.wire.log.clear()
    registration_id = house.rows.registrations()["one"]
    request = house.uplink(
        Action.UPDATE,
        registration_id=registration_id,
        content_format=40,
        payload=b"</3/0>,</3303/0>,</3304/0>",
    )
    assert await house.outcome(request) == Reply(Success.CHANGED)
    await until(lambda: "/3304/0/5700" in house.rows.observations("one"))
    await house.onboarded()
    house.wire.log.clear()
    await house.update(registration_id)
    await house.onboarded()
    assert house.wire.log == [], "an Update without news asks nothing"


async def test_a_device_that_leaves_is_asked_nothing_more(house: House) -> None:
    registration_id = await house.register(links=FULL)
    abandoned = await house.wire.asked()
    await house.deregister(registration_id)
    await until(abandoned.answered.cancelled)
    await house.onboarded()
    assert house.wire.steps == ["discover /3"]
    assert house.fleet.presence("one") == "offline"


async def test_several_devices_at_once_and_one_request_each(house: House) -> None:
    for number in range(10):
        await house.register(f"dev-{number}", f"192.0.2.7:{number + 1}", FULL)
    first = [await house.wire.asked() for _ in range(10)]
    assert {asked.what for asked in first} == {"discover /3"}
    assert house.fleet.onboarding() == 10
    for asked in first:
        house.wire.plays[asked.address] = plays_a_thermometer
        plays_a_thermometer(asked)
    await until(lambda: house.fleet.onboarding() == 0)
    assert house.wire.most_at_once == 10
    assert house.wire.most_a_device == 1
    assert house.rows("SELECT count(*) FROM observation") == [(50,)]


async def test_not_more_than_so_many_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert onboarding_module.AT_ONCE == 64
    monkeypatch.setattr(house.fleet._onboarding, "_turn", asyncio.Semaphore(3))
    for number in range(9):
        house.wire.plays[f"192.0.2.7:{number + 1}"] = plays_a_thermometer
    for number in range(9):
        await house.register(f"dev-{number}", f"192.0.2.7:{number + 1}", FULL)
    await until(lambda: house.rows("SELECT count(*) FROM observation") == [(45,)])
    await house.onboarded()
    assert house.wire.most_at_once <= 3


async def test_a_silent_device_does_not_hold_up_the_others(house: House) -> None:
    await house.register("silent", ELSEWHERE, FULL)
    await house.wire.asked()
    house.wire.plays[HOME] = plays_a_thermometer
    await house.register(links=FULL)
    await until(lambda: len(house.rows.observations("one")) == 5)
    assert house.rows.observations("silent") == {}
    assert house.fleet.onboarding() >= 1


# Alternate path and versions


async def test_everything_is_asked_below_the_alternate_path(house: House) -> None:
    links = b'</lwm2m>;rt="oma.lwm2m";ct=112,</lwm2m/1/0>,</lwm2m/3/0>,</lwm2m/3303/0>'
    house.wire.plays[HOME] = plays_a_thermometer
    await house.register(links=links)
    await until(lambda: TEMPERATURE in house.rows.observations("one"))
    await house.onboarded()
    assert {asked.downlink.root_path for asked in house.wire.log} == {"/lwm2m"}


async def test_a_discover_that_lists_no_resources_leaves_nothing_out(house: House) -> None:
    def play(asked: Asked) -> None:
        if asked.what == "discover /3":
            asked.answer(
                "2.05", format_links([Link("/3"), Link("/3/0"), Link("/odd/one")]), ContentFormat.LINK
            )
        else:
            plays_a_thermometer(asked)

    house.wire.plays[HOME] = play
    await house.register(links=b"</3/0>")
    await until(lambda: len(house.rows.observations("one")) == 3)
    assert set(house.rows.observations("one")) == {"/3/0/7", "/3/0/9", "/3/0/11"}


# The end


async def test_a_commit_that_ends_after_the_stop_sets_nothing_off(house: House) -> None:
    with house.disk_held():
        answered = house.ask(house.register_request(links=FULL))
        await until(lambda: house.store.writer._in_flight is not None)
        await house.fleet.stop()
    assert isinstance(await answered, Reply)
    assert house.fleet.onboarding() == 0
    assert house.wire.log == []


async def test_a_stop_in_the_middle(house: House) -> None:
    for number in range(5):
        await house.register(f"dev-{number}", f"192.0.2.7:{number + 1}", FULL)
    waiting = [await house.wire.asked() for _ in range(5)]
    await house.fleet.stop()
    assert all(asked.answered.cancelled() for asked in waiting)
    assert house.fleet.onboarding() == 0


async def test_a_stop_while_the_disk_is_broken(house: House, caplog: pytest.LogCaptureFixture) -> None:
    registration_id = await house.register(links=b"</1/0>")
    with house.disk_fails("UPDATE ON endpoint"):
        house.clock.advance(1)
        assert await house.update(registration_id) is None
        await house.fleet.stop()
