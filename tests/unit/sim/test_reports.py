"""Observe, Notify and Send of a whole device, awake and in Queue Mode."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from statistics import median

import pytest

from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Code, Message, Type
from flownexus_appliance.sim.options import Reporting, SimOptions
from flownexus_appliance.sim.reporting import MAX_OBSERVATIONS

from .peer import SENML, Peer, booted

TEMPERATURE = "/3303/0/5700"


def observed(options: SimOptions | None = None, path: str = TEMPERATURE) -> Peer:
    peer = booted(options)
    assert peer.observe(path, b"watch").observe == 1
    return peer


def reading(peer: Peer, message: Message) -> float:
    value = peer.read(message, TEMPERATURE)[TEMPERATURE]
    assert isinstance(value, float)
    return value


def numbers(messages: Iterable[Message]) -> list[int | None]:
    return [message.observe for message in messages]


# Notifications


def test_notifications_follow_the_samples() -> None:
    peer = observed(SimOptions(sample_period_s=5.0))
    peer.advance(60)
    heard = peer.take()
    assert 8 <= len(heard) <= 12
    assert all(m.type is Type.CON and m.code == Code.CONTENT and m.token == b"watch" for m in heard)
    assert numbers(heard) == list(range(2, 2 + len(heard)))
    readings = [reading(peer, message) for message in heard]
    assert all(a != b for a, b in pairwise(readings))
    assert peer.statistics.notifications_acknowledged == len(heard)


def test_two_devices_tell_two_stories_and_the_same_one_twice() -> None:
    def story(index: int, seed: int = 1) -> list[bytes]:
        peer = booted(SimOptions(seed=seed), index)
        peer.observe(TEMPERATURE, b"watch")
        peer.advance(60)
        return [m.payload for m in peer.take()]

    assert story(0) == story(0)
    assert story(0) != story(1)
    assert story(0) != story(0, seed=2)


def test_pmin_and_pmax_hold_on_the_wire() -> None:
    peer = observed(SimOptions(sample_period_s=1.0))
    peer.attributes(TEMPERATURE, "pmin=20", "pmax=30")
    times = []
    for _ in range(200):
        peer.advance(1.0)
        times += [peer.now] * len(peer.take())
    gaps = [b - a for a, b in pairwise(times)]
    assert gaps
    assert all(20 <= gap <= 31 for gap in gaps)


def test_a_threshold_that_is_never_crossed_silences_until_pmax() -> None:
    peer = observed(SimOptions(sample_period_s=1.0))
    peer.attributes(TEMPERATURE, "gt=1000", "pmax=100")
    peer.advance(99)
    assert peer.take() == []
    peer.advance(2)
    assert len(peer.take()) == 1


def test_the_periods_of_the_server_object_hold_where_no_attribute_does() -> None:
    peer = observed(SimOptions(sample_period_s=1.0))
    peer.write("/1/0/2", 30)
    peer.advance(29)
    assert peer.take() == []
    peer.advance(2)
    assert len(peer.take()) == 1
    peer.attributes(TEMPERATURE, "pmin=0")
    peer.advance(5)
    assert len(peer.take()) > 2


def test_an_observe_of_1_2_may_bring_its_attributes() -> None:
    peer = booted(SimOptions(lwm2m_version="1.2", sample_period_s=1.0))
    observe = Message(Code.GET, path=("3303", "0", "5700"), accept=SENML, observe=0)
    observe.query = ("pmin=30", "con=0")
    assert peer.request(observe, b"watch").observe == 1
    peer.advance(29)
    assert peer.take() == []
    peer.advance(2)
    assert peer.take_one().type is Type.NON
    observe.query = ("pmin=soon",)
    assert peer.request(observe, b"watch").code == Code.BAD_REQUEST


def test_without_room_for_one_more_an_observe_is_a_read() -> None:
    peer = booted()
    for instance in range(MAX_OBSERVATIONS):
        assert peer.observe("/3/0", bytes((instance,))).observe == 1  # replaced each time
    readable = [str(record.path) for record in peer.device.profile.tree.read(Path.ROOT)]
    for number, path in enumerate(readable):
        reply = peer.observe(path, bytes((1, number)), ContentFormat.SENML_JSON)
        assert reply.code == Code.CONTENT
        assert reply.observe == (1 if number < MAX_OBSERVATIONS - 1 else None)
    assert len(readable) >= MAX_OBSERVATIONS


def test_the_notified_value_is_the_one_that_crossed() -> None:
    twin = observed(SimOptions(sample_period_s=30.0))
    twin.advance(24 * 3600)
    readings = [reading(twin, message) for message in twin.take() if message.observe]
    limit = median(readings)
    peer = observed(SimOptions(sample_period_s=30.0))
    started = reading(peer, peer.get(TEMPERATURE))
    peer.attributes(TEMPERATURE, f"gt={limit:.3f}")
    peer.advance(24 * 3600)
    told = [reading(peer, message) for message in peer.take() if message.observe]
    assert 0 < len(told) < len(readings) / 2
    sides = [value > limit for value in (started, *told)]
    assert all(a is not b for a, b in pairwise(sides))


def test_a_read_in_between_does_not_swallow_a_change() -> None:
    peer = observed(SimOptions(sample_period_s=1e5))
    peer.advance(1e5 - 1)
    peer.take()
    peer.get(TEMPERATURE)  # measures
    at_read = peer.take()
    peer.advance(1e5)
    assert at_read == []
    assert len(peer.take()) >= 1


def test_an_instance_and_a_composite_are_observed() -> None:
    peer = booted(SimOptions(sample_period_s=5.0))
    assert peer.observe("/3303/0", b"instance").observe == 1
    assert peer.fetch(TEMPERATURE, "/3/0/7", observe=0, token=b"several").observe == 1
    peer.advance(30)
    heard = peer.take()
    by_token = {token: [m for m in heard if m.token == token] for token in (b"instance", b"several")}
    assert TEMPERATURE in peer.read(by_token[b"instance"][0], "/3303/0")
    assert "/3303/0/5701" in peer.read(by_token[b"instance"][0], "/3303/0")
    assert set(peer.read(by_token[b"several"][0])) == {TEMPERATURE, "/3/0/7/0", "/3/0/7/1"}
    assert peer.fetch(TEMPERATURE, "/3/0/7", observe=1, token=b"several").observe is None
    peer.advance(30)
    assert {m.token for m in peer.take()} == {b"instance"}


def test_the_ways_an_observation_ends() -> None:
    peer = observed()
    peer.request(Message(Code.GET, path=("3303", "0", "5700"), accept=SENML, observe=1), b"watch")
    peer.advance(60)
    assert peer.take() == []

    rejected = observed()
    rejected.friendly = False
    rejected.advance(5.5)
    rejected.reject(rejected.take_first())
    rejected.advance(60)
    assert rejected.take() == []

    replaced = observed()
    replaced.observe(TEMPERATURE, b"again")
    replaced.advance(60)
    assert {m.token for m in replaced.take()} == {b"again"}


def test_an_observed_instance_that_goes_ends_its_observation_with_an_error() -> None:
    peer = booted()
    data = b"\x83\x00\x41\x00a"
    peer.request(Message(Code.POST, data, path=("19",), content_format=ContentFormat.TLV))
    assert peer.observe("/19/0", b"watch", ContentFormat.TLV).observe == 1
    peer.take()
    peer.request(Message(Code.DELETE, path=("19", "0")))
    peer.advance(1.0)
    assert [(m.code, m.token) for m in peer.take() if m.token == b"watch"] == [(Code.NOT_FOUND, b"watch")]
    assert len(peer.device.reports.reporter) == 0


def test_unconfirmed_notifications_and_their_reset() -> None:
    peer = observed(SimOptions(confirmable=False))
    peer.advance(20)
    heard = peer.take()
    assert {m.type for m in heard} == {Type.NON}
    assert len(heard) > 2
    peer.reject(heard[-1])
    peer.advance(20)
    assert peer.take() == []


def test_a_notification_unanswered_leads_to_a_register() -> None:
    peer = observed(SimOptions(lifetime_s=10_000))
    peer.friendly = False
    peer.advance(120)
    heard = peer.take()
    assert len({m.message_id for m in heard if m.token == b"watch"}) == 1, "one in flight at a time"
    assert heard[-1].path == ("rd",)
    assert len(peer.device.reports.reporter) == 0


def test_while_one_is_in_flight_changes_gather_in_the_next() -> None:
    peer = observed(SimOptions(sample_period_s=1.0))
    peer.friendly = False
    peer.advance(1.5)
    first = peer.take()[0]
    peer.advance(15)  # it is sent again meanwhile
    assert {m.message_id for m in peer.take()} == {first.message_id}
    peer.acknowledge(first)
    second = peer.take_one()
    assert second.observe == 3
    assert second.payload != first.payload


def test_large_notifications_are_fetched_block_by_block() -> None:
    peer = observed(SimOptions(block_size=64), "/3303/0")
    peer.advance(6)
    (first,) = peer.take()[:1]
    assert first.block2 is not None
    assert first.block2.more
    body, block, number = first.payload, first.block2, 0
    while block.more:
        number += 1
        get = Message(Code.GET, path=("3303", "0"), accept=SENML)
        get.block2 = block._replace(number=number, more=False)
        reply = peer.request(get)
        assert reply.block2 is not None
        block, body = reply.block2, body + reply.payload
    whole = Message(Code.CONTENT, body, content_format=SENML)
    assert TEMPERATURE in peer.read(whole, "/3303/0")


# Send


def sending(**options: object) -> Peer:
    chosen = SimOptions(reporting=Reporting.SEND, sample_period_s=10.0, send_paths=(TEMPERATURE, "/3/0/9"))
    return booted(replace(chosen, **options))  # type: ignore[arg-type]


def test_sends_are_posted_unasked() -> None:
    peer = sending()
    peer.advance(35)
    heard = peer.take()
    assert len(heard) in (3, 4)
    for message in heard:
        assert (message.code, message.path, message.content_format) == (Code.POST, ("dp",), SENML)
        assert set(peer.read(message)) == {TEMPERATURE, "/3/0/9"}
        assert {record.time_ms for record in peer.records(message)} == {None}
    assert peer.statistics.sends_acknowledged == len(heard)


def test_sends_may_be_senml_json_and_never_anything_else() -> None:
    peer = sending(content_format=ContentFormat.SENML_JSON)
    peer.advance(15)
    assert {m.content_format for m in peer.take()} == {ContentFormat.SENML_JSON}
    tlv = sending(content_format=ContentFormat.TLV)
    tlv.advance(15)
    assert {m.content_format for m in tlv.take()} == {SENML}


def test_mute_send_mutes_but_forgets_nothing() -> None:
    peer = sending()
    peer.write("/1/0/23", True)
    peer.advance(60)
    assert peer.take() == []
    peer.write("/1/0/23", False)
    peer.advance(10)
    told = peer.records(peer.take()[0])
    assert len({record.time_ms for record in told}) in (6, 7, 8)


def test_a_large_send_goes_in_blocks() -> None:
    peer = sending(block_size=32, content_format=ContentFormat.SENML_JSON)
    peer.friendly = False
    peer.advance(10)
    body = b""
    for number in range(20):
        message = peer.take_first()
        assert message.block1 is not None
        assert message.block1.number == number
        body += message.payload
        if not message.block1.more:
            break
        reply = Message(Code.CONTINUE, type=Type.ACK, message_id=message.message_id, token=message.token)
        reply.block1 = message.block1
        peer.say(reply)
    assert number > 0
    peer.answer(message, Code.CHANGED)
    whole = Message(Code.POST, body, content_format=ContentFormat.SENML_JSON)
    assert set(peer.read(whole)) == {TEMPERATURE, "/3/0/9"}
    assert peer.statistics.sends_acknowledged == 1


def test_a_path_to_send_that_is_not_there_is_passed_over() -> None:
    peer = sending(send_paths=("/99", TEMPERATURE))
    peer.advance(15)
    assert set(peer.read(peer.take()[0])) == {TEMPERATURE}


def test_a_send_that_is_lost_is_told_later_with_its_times() -> None:
    peer = sending(lifetime_s=10_000)
    peer.friendly = False
    peer.advance(120)  # given up after at most 93 s, and registering
    lost = peer.take()
    assert peer.is_in(State.REGISTERING)
    peer.friendly = True
    peer.answer(lost[-1], Code.CREATED, ("rd", "new"))
    later = [m for m in peer.take() if m.path == ("dp",)]
    told = [record for record in peer.records(later[0]) if str(record.path) == TEMPERATURE]
    times = [record.time_ms for record in told]
    assert len(times) in (11, 12)
    assert all(isinstance(time, int) for time in times)
    assert times == sorted(times, key=lambda time: time or 0)


def test_a_send_refused_is_not_repeated() -> None:
    peer = sending()
    peer.friendly = False
    peer.advance(10)
    first = peer.take_first()
    peer.answer(first, Code.NOT_FOUND)
    peer.advance(10)
    second = peer.take_first()
    assert {record.time_ms for record in peer.records(second)} == {None}
    assert peer.statistics.sends_acknowledged == 0


# Queue Mode


def sleeper(**options: object) -> Peer:
    chosen = SimOptions(queue_mode=True, awake_s=20.0, wake_period_s=60.0, sample_period_s=5.0)
    return booted(replace(chosen, **options))  # type: ignore[arg-type]


def test_asleep_it_really_does_not_answer() -> None:
    peer = sleeper()
    peer.advance(19)
    assert peer.get("/3/0/0").code == Code.CONTENT
    peer.advance(19)  # the exchange has kept it awake
    assert peer.is_in(State.REGISTERED)
    peer.advance(2)
    assert peer.is_in(State.SLEEPING)
    peer.say(Message(Code.GET, message_id=99, token=b"t", path=("3", "0", "0")))
    assert peer.take() == []
    assert peer.statistics.unheard == 1
    assert peer.statistics.registered == 1


def test_it_wakes_by_an_update_then_tells_what_it_measured_in_its_sleep() -> None:
    peer = sleeper()
    peer.observe(TEMPERATURE, b"watch")
    peer.advance(59)
    assert peer.is_in(State.SLEEPING)
    assert peer.take() == []
    peer.advance(2)
    update, notification = peer.take()
    assert update.path == ("rd", "abcdefghij")
    assert (notification.token, notification.observe) == (b"watch", 2)
    told = peer.records(notification, TEMPERATURE)
    times = [record.time_ms for record in told]
    assert len(times) in (11, 12)  # every sample
    assert all(isinstance(time, int) and time <= peer.wall_ms for time in times)
    steps = {(b or 0) - (a or 0) for a, b in pairwise(times)}
    assert steps == {5000}
    peer.advance(18)
    assert peer.get("/3/0/0").code == Code.CONTENT


@pytest.mark.parametrize("accept", [ContentFormat.TLV, ContentFormat.TEXT])
def test_a_format_without_times_tells_the_last_value(accept: ContentFormat) -> None:
    peer = sleeper()
    assert peer.observe(TEMPERATURE, b"watch", accept).observe == 1
    peer.advance(61)
    _, notification = peer.take()
    assert len(peer.records(notification, TEMPERATURE)) == 1


def test_storing_can_be_switched_off() -> None:
    peer = sleeper()
    peer.write("/1/0/6", False)
    peer.observe(TEMPERATURE, b"watch")
    peer.advance(61)
    notification = peer.take()[-1]
    assert len(peer.records(notification, TEMPERATURE)) == 1


def test_sends_wait_for_the_wake() -> None:
    peer = sleeper(reporting=Reporting.SEND, send_paths=(TEMPERATURE,))
    peer.advance(59)
    assert peer.take() == []
    peer.advance(2)
    _, message = peer.take()
    assert message.path == ("dp",)
    assert len(peer.records(message)) in (12, 13)


def test_it_sleeps_and_wakes_for_hours() -> None:
    peer = sleeper(lifetime_s=3600)
    peer.observe(TEMPERATURE, b"watch")
    peer.advance(3 * 3600)
    heard = peer.take()
    assert sum(m.token == b"watch" for m in heard) in range(175, 182)
    assert peer.statistics.registrations == 1
    assert peer.statistics.timeouts == 0


def test_leaving_wakes_it() -> None:
    peer = sleeper()
    peer.advance(30)
    assert peer.is_in(State.SLEEPING)
    peer.device.stop(peer.now)
    assert peer.take_one().code == Code.DELETE
