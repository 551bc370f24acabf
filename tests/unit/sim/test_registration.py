"""Register, Update, Deregister: what goes over the wire and what follows from the answers."""

from itertools import pairwise

import pytest

from flownexus_appliance.lwm2m.requests import parse_register
from flownexus_appliance.sim.device import BOOT_S
from flownexus_appliance.sim.lifecycle import LAST_RETRY_S, TRANSITIONS, State, Step
from flownexus_appliance.sim.messages import Block, Code, Message, Type
from flownexus_appliance.sim.options import SimOptions

from .peer import LOCATION, Peer, booted


def first_message(options: SimOptions) -> Message:
    peer = Peer(options)
    peer.friendly = False
    peer.device.start(peer.now)
    peer.advance(0.0)
    return peer.take_one()


@pytest.mark.parametrize(
    ("options", "query"),
    [
        (SimOptions(), ("lwm2m=1.1", "ep=sim-0001", "lt=300")),
        (SimOptions(queue_mode=True), ("lwm2m=1.1", "ep=sim-0001", "lt=300", "b=U", "Q")),
        (SimOptions(queue_mode=True, lwm2m_version="1.0"), ("lwm2m=1.0", "ep=sim-0001", "lt=300", "b=UQ")),
        (SimOptions(lwm2m_version="1.2", prefix="x", lifetime_s=60), ("lwm2m=1.2", "ep=x-0001", "lt=60")),
    ],
)
def test_the_query_of_a_register_is_in_the_order_zephyr_sends_it(
    options: SimOptions, query: tuple[str, ...]
) -> None:
    message = first_message(options)
    assert (message.code, message.path, message.content_format) == (Code.POST, ("rd",), 40)
    assert message.query == query
    assert len(message.token) == 8
    assert parse_register(message.query, message.payload).endpoint == options.name(0)


@pytest.mark.parametrize(
    ("version", "payload"),
    [
        (
            "1.1",
            "</>;ct=112,</1>;ver=1.1,</1/0>,</3>;ver=1.1,</3/0>,</4>;ver=1.2,</4/0>,</5/0>,</6/0>,</19>,"
            "</3303>;ver=1.1,</3303/0>,</3304>;ver=1.1,</3304/0>",
        ),
        ("1.0", "</1/0>,</3/0>,</4/0>,</5/0>,</6/0>,</19>,</3303/0>,</3304/0>"),
    ],
)
def test_the_objects_of_a_register(version: str, payload: str) -> None:
    assert first_message(SimOptions(lwm2m_version=version)).payload.decode() == payload


def test_an_update_comes_in_time_and_is_empty() -> None:
    peer = booted(SimOptions(lifetime_s=100))
    peer.advance(70)
    assert peer.take() == []
    peer.advance(20)
    update = peer.take_one()
    assert (update.code, update.path, update.query, update.payload) == (Code.POST, LOCATION, (), b"")
    assert peer.statistics.updates == 1
    peer.advance(10_000)
    assert peer.statistics.registrations == 1
    assert peer.statistics.updates >= 10_000 // 85


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.BAD_REQUEST, Code.INTERNAL_SERVER_ERROR])
def test_an_update_refused_leads_to_a_register_at_once(code: Code) -> None:
    peer = booted(SimOptions(lifetime_s=100))
    peer.friendly = False
    peer.advance(90)
    assert peer.statistics.registered == 1
    peer.answer(peer.take_first(), code)
    again = peer.take_one()
    assert again.path == ("rd",)
    assert peer.statistics.registered == 0
    peer.answer(again, Code.CREATED, ("rd", "second"))
    assert peer.device.registration.location == ("rd", "second")
    assert (peer.statistics.registered, peer.statistics.registrations) == (1, 2)


def test_an_update_unanswered_or_reset_leads_to_a_register() -> None:
    peer = booted(SimOptions(lifetime_s=100))
    peer.friendly = False
    peer.advance(90)
    peer.reject(peer.take_first())
    assert peer.take_one().path == ("rd",)
    silent = booted(SimOptions(lifetime_s=100))
    silent.friendly = False
    silent.advance(200)
    assert [m.path[0:1] for m in silent.take()][-1] == ("rd",)
    assert silent.is_in(State.REGISTERING)


@pytest.mark.parametrize(
    ("code", "location", "told"),
    [
        (Code.BAD_REQUEST, (), "4.00"),
        (Code.CREATED, ("rd/abc",), "2.01 without a location of two parts"),
        (Code.CREATED, ("rd", "abc", "def"), "2.01 without a location of two parts"),
        (Code.CREATED, ("rd", "x" * 33), "2.01 without a location of two parts"),
        (Code.CHANGED, ("rd", "abc"), "2.04 without a location of two parts"),
    ],
)
def test_a_register_that_fails_is_tried_again_ever_later_and_for_ever(
    code: Code, location: tuple[str, ...], told: str
) -> None:
    peer = Peer()
    peer.friendly = False
    peer.device.start(peer.now)
    times = []
    for _ in range(12):
        peer.advance(0.0)
        while not peer.heard:
            peer.advance(0.25)
        times.append(peer.now)
        peer.answer(peer.take_one(), code, location)
        assert peer.is_in(State.WAITING)
    waits = [b - a for a, b in pairwise(times)]
    assert waits[0] <= 2.25
    assert all(LAST_RETRY_S / 2 - 0.25 <= wait <= LAST_RETRY_S + 0.25 for wait in waits[6:])
    assert peer.statistics.registration_failures == 12
    assert peer.statistics.last_failure == told
    assert peer.statistics.registered == 0
    while not peer.heard:
        peer.advance(1.0)
    peer.answer(peer.take_one(), Code.CREATED, LOCATION)
    assert peer.is_in(State.REGISTERED)


def test_a_server_that_is_away_is_waited_for() -> None:
    peer = Peer()
    peer.friendly = False
    peer.device.start(peer.now)
    peer.advance(3600)
    sent = peer.take()
    assert {m.path for m in sent} == {("rd",)}
    assert len({m.message_id for m in sent}) > 10  # many tries, each sent five times
    peer.friendly = True
    peer.advance(120)
    assert peer.is_in(State.REGISTERED)


def test_the_trigger_makes_an_update_after_its_reply() -> None:
    peer = booted()
    request = Message(Code.POST, message_id=5, token=b"t", path=("1", "0", "8"))
    peer.say(request)
    reply, update = peer.take()
    assert (reply.type, reply.code) == (Type.ACK, Code.CHANGED)
    assert (update.path, update.query) == (LOCATION, ())


def test_a_new_lifetime_is_told() -> None:
    peer = booted()
    assert peer.write("/1/0/1", 120) == Code.CHANGED
    assert peer.take_one().query == ("lt=120",)
    peer.advance(100)
    assert peer.take_one().query == ()


def test_a_lifetime_written_during_an_update_is_told_after_it() -> None:
    peer = booted()
    peer.friendly = False
    peer.execute("/1/0/8")
    update = peer.take_one()
    assert peer.write("/1/0/1", 120) == Code.CHANGED
    assert peer.take() == []
    peer.answer(update, Code.CHANGED)
    assert peer.take_one().query == ("lt=120",)


def test_deregister_at_the_end() -> None:
    peer = booted()
    assert peer.device.stop(peer.now)
    peer.be_friendly()
    leave = peer.take_one()
    assert (leave.code, leave.path) == (Code.DELETE, LOCATION)
    assert peer.is_in(State.OFF)
    assert peer.statistics.registered == 0
    peer.advance(10_000)
    assert peer.take() == []


def test_a_deregister_waits_for_the_update_under_way() -> None:
    peer = booted()
    peer.friendly = False
    peer.execute("/1/0/8")
    update = peer.take_one()
    assert peer.device.stop(peer.now)
    assert peer.take() == []
    peer.answer(update, Code.CHANGED)
    leave = peer.take_one()
    assert leave.code == Code.DELETE
    assert peer.is_in(State.DEREGISTERING)
    peer.answer(leave, Code.NOT_FOUND)
    assert peer.is_in(State.OFF)


def test_an_end_without_a_server_is_an_end() -> None:
    peer = Peer()
    peer.friendly = False
    peer.device.start(peer.now)
    peer.advance(1.0)
    assert not peer.device.stop(peer.now)
    assert peer.is_in(State.OFF)
    peer.take()
    peer.advance(10_000)
    assert peer.take() == []


def test_a_reboot_is_silent_and_registers_anew() -> None:
    peer = booted()
    peer.observe("/3303/0/5700", b"watch")
    peer.attributes("/3303/0/5700", "pmin=7")
    peer.write("/3/0/14", "+05:00")
    assert peer.execute("/3/0/4") == Code.CHANGED
    peer.advance(BOOT_S - 0.1)
    assert peer.is_in(State.REGISTERED)
    peer.take()
    peer.advance(0.2)
    assert [(m.code, m.path) for m in peer.take()] == [(Code.POST, ("rd",))]
    assert len(peer.device.reports.reporter) == 0
    assert "pmin" not in peer.discover("/3303/0/5700")
    # What is in flash stays.
    assert peer.get("/3/0/14", accept=None).payload.endswith(b"+05:00")


def test_a_factory_reset_forgets_what_was_written() -> None:
    peer = booted()
    peer.write("/3/0/14", "+05:00")
    assert peer.execute("/3/0/5") == Code.CHANGED
    peer.advance(BOOT_S + 0.1)
    assert peer.get("/3/0/14", accept=None).payload.endswith(b"+00:00")


def test_disable_deregisters_for_a_while() -> None:
    peer = booted()
    peer.write("/1/0/5", 600)
    assert peer.execute("/1/0/4") == Code.CHANGED
    assert peer.take_one().code == Code.DELETE
    peer.advance(599)
    assert peer.take() == []
    assert peer.is_in(State.OFF)
    peer.advance(2)
    assert peer.take_one().path == ("rd",)
    assert peer.is_in(State.REGISTERED)


def test_a_long_register_goes_out_in_blocks() -> None:
    peer = Peer(SimOptions(block_size=64))
    peer.friendly = False
    peer.device.start(peer.now)
    peer.advance(0.0)
    body = b""
    for number in range(3):
        message = peer.take_one()
        assert message.query == ("lwm2m=1.1", "ep=sim-0001", "lt=300")
        assert message.block1 is not None
        assert message.block1.number == number
        body += message.payload
        if not message.block1.more:
            break
        reply = Message(Code.CONTINUE, type=Type.ACK, message_id=message.message_id, token=message.token)
        reply.block1 = Block(number, True, 2)
        peer.say(reply)
    peer.answer(message, Code.CREATED, LOCATION)
    assert peer.is_in(State.REGISTERED)
    assert body.endswith(b"</3304/0>")


def test_no_state_is_a_dead_end() -> None:
    for state in State:
        assert (state, Step.SWITCH_OFF) in TRANSITIONS
        assert any(before is state and after is not state for (before, _), after in TRANSITIONS.items())
    reachable = {State.OFF}
    while more := {after for (before, _), after in TRANSITIONS.items() if before in reachable} - reachable:
        reachable |= more
    assert reachable == set(State)
