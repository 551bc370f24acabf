"""What devices send: kept first, answered then, told last."""

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import Action, Notification, Uplink, Verdict
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.observation import Observation
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import until

from .conftest import CBOR, ELSEWHERE, HOME, House, plain, senml

TOKEN = b"12345678"
BARE = b"</1/0>"  # nothing to onboard
TEMPERATURE = "/3303/0/5700"


def code_of(outcome: object) -> str:
    assert isinstance(outcome, PeerError), outcome
    return outcome.code


async def observed(house: House, path: str = TEMPERATURE, token: bytes = TOKEN) -> None:
    """An observation that the device holds, without a word on the wire."""
    observation = Observation(token, "one", (Path.parse(path),), CBOR, house.clock.wall_ms)
    intake = house.fleet._intake
    await intake.apply(house.fleet._core.observe(observation))
    await intake.apply(house.fleet._core.observation_answered(token, accepted=True))


def value(
    number: int | None, reading: float = 21.5, token: bytes = TOKEN, address: str = HOME
) -> Notification:
    return Notification(
        plain(address), token, number, "2.05", CBOR, senml({TEMPERATURE: reading}, TEMPERATURE)
    )


# The answer comes after the commit


async def test_a_register_is_answered_once_it_is_on_disk(house: House) -> None:
    with house.disk_held():
        answered = house.ask(house.register_request(links=BARE))
        # The commit is under way and cannot end: one more that waits behind it shows as much.
        await until(lambda: house.store.writer._in_flight is not None)
        assert not answered.done()
        assert house.rows.registrations() == {}
        assert list(house.told.bus) == []
    reply = await answered
    assert isinstance(reply, Reply)
    assert reply.success is Success.CREATED
    assert reply.location == ("rd", house.rows.registrations()["one"])
    assert len(reply.location[1]) == 10
    await house.told.change("one", "registered")
    await house.told.presence("one", "online")


async def test_an_update_is_answered_once_it_is_on_disk(house: House) -> None:
    registration_id = await house.register(links=BARE)
    with house.disk_held():
        answered = house.ask(house.uplink(Action.UPDATE, registration_id=registration_id, query=("lt=77",)))
        await until(lambda: house.store.writer._in_flight is not None)
        assert not answered.done()
    assert await answered == Reply(Success.CHANGED)
    assert house.rows("SELECT lifetime_s FROM registration") == [(77,)]


async def test_a_deregister_is_answered_once_it_is_on_disk(house: House) -> None:
    registration_id = await house.register(links=BARE)
    with house.disk_held():
        answered = house.ask(house.uplink(Action.DEREGISTER, registration_id=registration_id))
        await until(lambda: house.store.writer._in_flight is not None)
        assert not answered.done()
    assert await answered == Reply(Success.DELETED)
    assert house.rows.registrations() == {}
    await house.told.presence("one", "offline")


async def test_a_send_is_answered_once_it_is_on_disk(house: House) -> None:
    await house.register(links=BARE)
    with house.disk_held():
        answered = house.ask(house.send_request({TEMPERATURE: 21.5}))
        await until(lambda: house.store.writer._in_flight is not None)
        assert not answered.done()
        assert house.told.values() == []
    assert await answered == Reply(Success.CHANGED)
    assert house.rows.samples("one", TEMPERATURE) == [21.5]
    await house.told.value("one", TEMPERATURE, 21.5)


async def test_a_notification_is_judged_once_it_is_on_disk(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    with house.disk_held():
        judged = house.notify(value(1))
        await until(lambda: house.store.writer._in_flight is not None)
        assert not judged.done()
        assert house.told.values() == []
    assert await judged is Verdict.TAKEN
    assert house.rows.samples("one", TEMPERATURE) == [21.5]
    await house.told.value("one", TEMPERATURE, 21.5)


# A disk that fails: silence, and the next try works


async def test_a_register_that_is_not_taken_is_not_answered_and_works_when_repeated(house: House) -> None:
    request = house.register_request(links=BARE)
    with house.disk_fails("INSERT ON registration"):
        assert await house.outcome(request) is None
        assert house.rows.registrations() == {}
    await house.healed()
    reply = await house.outcome(request)
    assert isinstance(reply, Reply)
    assert house.rows.registrations() == {"one": reply.location[1]}
    assert house.fleet.presence("one") == "online"
    await house.told.presence("one", "online")
    await house.told.change("one", "registered")
    assert len([e for e in house.told.bus if e.name == "presence"]) == 1


async def test_while_the_disk_is_broken_everything_is_met_with_silence(house: House) -> None:
    registration_id = await house.register(links=BARE)
    await observed(house)
    with house.disk_fails("INSERT ON resource", "UPDATE ON endpoint"):
        assert await house.outcome(house.send_request({TEMPERATURE: 1.0})) is None
        assert await house.update(registration_id) is None
        assert await house.verdict(value(1)) is Verdict.SILENT
        assert await house.outcome(house.register_request("two", ELSEWHERE, BARE)) is None
    await house.healed()
    assert await house.outcome(house.send_request({TEMPERATURE: 1.0})) == Reply(Success.CHANGED)
    assert await house.update(registration_id) == Reply(Success.CHANGED)
    assert await house.verdict(value(1, 2.0)) is Verdict.TAKEN
    assert house.rows.samples("one", TEMPERATURE) == [1.0, 2.0]


async def test_a_deregister_that_is_not_taken_is_made_good_later(house: House) -> None:
    """Its retransmission finds no registration any more; the row must go all the same, and the world hear."""
    registration_id = await house.register(links=BARE)
    await observed(house)
    with house.disk_fails("DELETE ON registration"):
        assert await house.deregister(registration_id) is None
        assert house.rows.registrations() == {"one": registration_id}
    assert code_of(await house.deregister(registration_id)) == "registration_unknown"
    await house.told.change("one", "deregistered")
    await house.told.presence("one", "offline")
    assert house.rows.registrations() == {}
    assert house.rows.observations("one") == {}


async def test_an_expiry_that_is_not_taken_is_made_good_later(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.register(links=BARE, lifetime_s=60)
    with house.disk_fails("DELETE ON registration"):
        house.clock.advance(60 + 248)
        await until(lambda: house.fleet.presence("one") == "offline")
        await until(lambda: any(r.getMessage() == "commit failed" for r in caplog.records))
        assert [e.data["change"] for e in house.told.bus if e.name == "registration"] == ["registered"]
    await house.told.change("one", "expired")
    assert house.rows.registrations() == {}


async def test_observations_that_a_failed_register_dropped_do_not_stay_in_the_file(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    again = house.register_request(links=BARE)
    with house.disk_fails("DELETE ON observation"):
        assert await house.outcome(again) is None
    await house.healed()
    assert isinstance(await house.outcome(again), Reply)
    assert house.rows.observations("one") == {}


# Registration


async def test_a_second_registration_of_a_name_replaces_the_first(house: House) -> None:
    first = await house.register(links=BARE)
    second = await house.register(address=ELSEWHERE, links=BARE)
    assert first != second
    assert house.rows.registrations() == {"one": second}
    assert code_of(await house.update(first)) == "registration_unknown"
    assert await house.update(second, ELSEWHERE) == Reply(Success.CHANGED)
    assert code_of(await house.outcome(house.send_request({TEMPERATURE: 1.0}, HOME))) == "sender_unknown"
    assert await house.outcome(house.send_request({TEMPERATURE: 1.0}, ELSEWHERE)) == Reply(Success.CHANGED)


async def test_a_retransmitted_register_keeps_its_id(house: House) -> None:
    """Leshan #525: two ids of one registration."""
    request = house.register_request(links=BARE)
    replies = [await house.outcome(request) for _ in range(3)]
    assert replies[0] == replies[1] == replies[2]
    assert len(house.rows.registrations()) == 1


async def test_an_update_for_an_unknown_id(house: House) -> None:
    assert code_of(await house.update("nosuchid01")) == "registration_unknown"
    assert code_of(await house.deregister("nosuchid01")) == "registration_unknown"
    assert house.rows("SELECT count(*) FROM endpoint") == [(0,)]


@pytest.mark.parametrize(
    ("query", "links", "code"),
    [
        ((), BARE, "version_missing"),
        (("lwm2m=1.1",), BARE, "endpoint_missing"),
        (("ep=one",), BARE, "version_missing"),
        (("lwm2m=2.0", "ep=one"), BARE, "version_unsupported"),
        (("lwm2m=one", "ep=one"), BARE, "version_invalid"),
        (("lwm2m=1.1", "ep=" + "x" * 256), BARE, "endpoint_invalid"),
        (("lwm2m=1.1", "ep=a\nb"), BARE, "endpoint_invalid"),
        (("lwm2m=1.1", "ep=one", "lt=-1"), BARE, "lifetime_invalid"),
        (("lwm2m=1.1", "ep=one", "lt=99999999999"), BARE, "lifetime_invalid"),
        (("lwm2m=1.1", "ep=one", "b=X"), BARE, "binding_invalid"),
        (("lwm2m=1.1", "ep=one", "ep=two"), BARE, "query_invalid"),
        (("lwm2m=1.1", "ep=one"), b"", "links_invalid"),
        (("lwm2m=1.1", "ep=one"), b"<<<", "links_invalid"),
        (("lwm2m=1.1", "ep=one"), b"\xff\xfe", "links_invalid"),
        (("lwm2m=1.1", "ep=one"), b"</nothing>", "links_invalid"),
        (("lwm2m=1.1", "ep=one"), b"</65536/0>", "links_invalid"),
    ],
)
async def test_a_bad_register_leaves_nothing(
    house: House, query: tuple[str, ...], links: bytes, code: str
) -> None:
    request = house.uplink(Action.REGISTER, query=query, content_format=40, payload=links)
    assert code_of(await house.outcome(request)) == code
    assert house.rows("SELECT count(*) FROM endpoint") == [(0,)]
    assert len(house.fleet._core) == 0
    assert list(house.told.bus) == []


async def test_a_bad_update_changes_nothing(house: House) -> None:
    registration_id = await house.register(links=BARE)
    before = house.rows("SELECT * FROM registration")
    assert code_of(await house.update(registration_id, HOME, "lt=soon")) == "lifetime_invalid"
    assert house.rows("SELECT * FROM registration") == before


async def test_an_update_moves_the_device_to_its_new_address(house: House) -> None:
    registration_id = await house.register(links=BARE)
    await observed(house)
    assert await house.update(registration_id, ELSEWHERE) == Reply(Success.CHANGED)
    assert house.rows("SELECT address FROM registration") == [(ELSEWHERE,)]
    assert await house.verdict(value(1, address=ELSEWHERE)) is Verdict.TAKEN, "kept by token (Leshan #1636)"
    assert await house.outcome(house.send_request({TEMPERATURE: 1.0}, ELSEWHERE)) == Reply(Success.CHANGED)


# Send


async def test_a_send_from_an_unknown_address_is_refused(house: House) -> None:
    assert code_of(await house.outcome(house.send_request({TEMPERATURE: 1.0}))) == "sender_unknown"
    assert house.rows("SELECT count(*) FROM endpoint") == [(0,)]


async def test_a_send_after_the_registration_has_ended_is_refused(house: House) -> None:
    await house.deregister(await house.register(links=BARE))
    assert code_of(await house.outcome(house.send_request({TEMPERATURE: 1.0}))) == "sender_unknown"


@pytest.mark.parametrize(
    ("content_format", "payload", "code"),
    [
        (CBOR, b"\xff\xff", "payload_invalid"),
        (CBOR, b"", "payload_invalid"),
        (110, b"[{]", "payload_invalid"),
        (CBOR, senml({TEMPERATURE: 1.0})[:-3], "payload_invalid"),
        (None, senml({TEMPERATURE: 1.0}), "content_format_unsupported"),
        (41, b"<xml/>", "content_format_unsupported"),
        (65535, b"", "content_format_unsupported"),
        (110, b'[{"n":"/99999/0/1","v":1}]', "path_invalid"),
        (110, b'[{"n":"/3303/0","v":1}]', "path_incomplete"),
        (110, b'[{"n":"/3303/0/5700","v":1,"t":1e14}]', "time_invalid"),
    ],
)
async def test_a_bad_send_leaves_nothing(
    house: House, content_format: int | None, payload: bytes, code: str
) -> None:
    await house.register(links=BARE)
    request = house.uplink(Action.SEND, content_format=content_format, payload=payload)
    assert code_of(await house.outcome(request)) == code
    assert house.rows("SELECT count(*) FROM series") == [(0,)]
    assert house.told.values() == []


async def test_one_bad_record_spoils_the_whole_send(house: House) -> None:
    await house.register(links=BARE)
    payload = b'[{"n":"/3303/0/5700","v":1},{"n":"/bad","v":2}]'
    assert isinstance(
        await house.outcome(house.uplink(Action.SEND, content_format=110, payload=payload)), PeerError
    )
    assert house.rows("SELECT count(*) FROM resource") == [(0,)]


async def test_all_values_of_a_send_are_kept_at_their_times(house: House) -> None:
    await house.register(links=BARE)
    payload = (
        b'[{"bn":"/3303/0/5700","bt":1700000000,"v":1},{"t":1,"v":2},{"t":2,"v":3},'
        b'{"bt":0,"bn":"/3/0/9","v":50}]'
    )
    reply = await house.outcome(house.uplink(Action.SEND, content_format=110, payload=payload))
    assert reply == Reply(Success.CHANGED)
    assert house.rows(
        "SELECT s.path, r.time_ms, r.value FROM resource r JOIN series s ON s.id = r.series_id ORDER BY 1, 2"
    ) == [
        ("/3/0/9", house.clock.wall_ms, 50),
        (TEMPERATURE, 1_700_000_000_000, 1.0),
        (TEMPERATURE, 1_700_000_001_000, 2.0),
        (TEMPERATURE, 1_700_000_002_000, 3.0),
    ]


async def test_a_send_tells_that_the_device_is_awake(house: House) -> None:
    await house.register("one", HOME, BARE, "1.1", 300, "Q")
    house.clock.advance(94)
    await house.told.presence("one", "sleeping")
    await house.outcome(house.send_request({TEMPERATURE: 1.0}))
    assert house.fleet.presence("one") == "online"
    assert house.fleet.heard_ms("one") == house.clock.wall_ms


# Notifications


async def test_notifications_in_order(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    for number in (1, 2, 3):
        house.clock.advance(1)
        assert await house.verdict(value(number, float(number))) is Verdict.TAKEN
    assert house.rows.samples("one", TEMPERATURE) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(("number", "what"), [(7, "the same again"), (6, "overtaken")])
async def test_a_repeated_or_overtaken_notification_is_acknowledged_and_not_kept(
    house: House, number: int, what: str
) -> None:
    """RFC 7641 3.4. Its acknowledgement was lost, or a newer one was faster."""
    await house.register(links=BARE)
    await observed(house)
    await house.verdict(value(7, 1.0))
    house.clock.advance(1)
    assert await house.verdict(value(number, 2.0)) is Verdict.TAKEN, what
    assert house.rows.samples("one", TEMPERATURE) == [1.0]
    assert house.fleet.heard_ms("one") == house.clock.wall_ms


async def test_an_old_number_is_new_again_after_128_s(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    await house.verdict(value(7, 1.0))
    house.clock.advance(129)
    await house.verdict(value(2, 2.0))
    assert house.rows.samples("one", TEMPERATURE) == [1.0, 2.0]


async def test_of_two_under_way_the_later_number_stays(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    with house.disk_held():
        late, early = house.notify(value(9, 9.0)), house.notify(value(8, 8.0))
        await until(lambda: house.store.writer._in_flight is not None)
    assert (await late, await early) == (Verdict.TAKEN, Verdict.TAKEN)
    house.clock.advance(1)
    await house.verdict(value(9, 90.0))
    assert 90.0 not in house.rows.samples("one", TEMPERATURE)


async def test_a_notification_of_an_unknown_token_is_reset(house: House) -> None:
    await house.register(links=BARE)
    assert await house.verdict(value(1, token=b"unknown")) is Verdict.REFUSED
    assert await house.verdict(value(1, token=b"")) is Verdict.REFUSED


async def test_a_notification_after_deregistration_is_reset(house: House) -> None:
    registration_id = await house.register(links=BARE)
    await observed(house)
    await house.deregister(registration_id)
    assert await house.verdict(value(1)) is Verdict.REFUSED


async def test_a_notification_from_a_foreign_address_is_met_with_silence(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    assert await house.verdict(value(1, address=ELSEWHERE)) is Verdict.SILENT
    assert house.rows.samples("one", TEMPERATURE) == []
    assert await house.verdict(value(1)) is Verdict.TAKEN


@pytest.mark.parametrize(("code", "number"), [("4.04", None), ("5.00", 3), ("2.05", None)])
async def test_an_error_ends_the_observation(house: House, code: str, number: int | None) -> None:
    """RFC 7641 3.2: an error, or a response without the option, is the last one."""
    await house.register(links=BARE)
    await observed(house)
    last = Notification(plain(HOME), TOKEN, number, code, CBOR, senml({TEMPERATURE: 1.0}, TEMPERATURE))
    assert await house.verdict(last) is Verdict.TAKEN
    assert house.rows.observations("one") == {}
    assert house.fleet.observed("one") == frozenset()
    assert await house.verdict(value(4)) is Verdict.REFUSED


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [(CBOR, b"\xff"), (None, b"21"), (41, b"x"), (CBOR, senml({"/3/0/9": 1}))],
    ids=["garbage", "no format", "unknown format", "another resource"],
)
async def test_a_notification_that_nobody_understands_is_acknowledged(
    house: House, content_format: int | None, payload: bytes
) -> None:
    """Sending it again would not make it better, and a reset would end the observation."""
    await house.register(links=BARE)
    await observed(house)
    house.clock.advance(1)
    assert (
        await house.verdict(Notification(plain(HOME), TOKEN, 1, "2.05", content_format, payload))
        is Verdict.TAKEN
    )
    assert house.rows("SELECT count(*) FROM resource") == [(0,)]
    assert house.fleet.heard_ms("one") == house.clock.wall_ms
    assert TEMPERATURE in house.rows.observations("one")


async def test_the_last_word_before_a_deregistration(house: House) -> None:
    """A client that notifies and leaves without waiting must not be taken for present for good."""
    registration_id = await house.register(links=BARE)
    await observed(house)
    with house.disk_held():
        judged = house.notify(value(1))
        gone = house.ask(house.uplink(Action.DEREGISTER, registration_id=registration_id))
        await until(lambda: house.store.writer._in_flight is not None)
    assert await judged is Verdict.TAKEN
    assert await gone == Reply(Success.DELETED)
    await house.told.presence("one", "offline")
    assert house.fleet.presence("one") == "offline"
    assert [e.data["presence"] for e in house.told.bus if e.name == "presence"] == ["online", "offline"]


# Large notifications


def first_block(number: int, path: str = TEMPERATURE) -> Notification:
    return Notification(plain(HOME), TOKEN, number, "2.05", CBOR, b"part", partial=True)


async def test_a_large_notification_is_read_whole_and_then_acknowledged(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    judged = house.notify(first_block(1))
    asked = await house.wire.asked()
    assert (asked.what, asked.address) == (f"read {TEMPERATURE}", HOME)
    assert not judged.done()
    asked.value({TEMPERATURE: 42.0})
    assert await judged is Verdict.TAKEN
    assert house.rows.samples("one", TEMPERATURE) == [42.0]
    assert await house.verdict(first_block(1)) is Verdict.TAKEN, "a repetition is not read again"
    assert len(house.wire.log) == 1


async def test_a_large_notification_that_cannot_be_read_is_met_with_silence(house: House) -> None:
    from flownexus_appliance.fleet.ports import DeviceSilent

    await house.register(links=BARE)
    await observed(house)
    judged = house.notify(first_block(1))
    (await house.wire.asked()).fail(DeviceSilent("device_unanswered", "no", "wait"))
    assert await judged is Verdict.SILENT


async def test_large_notifications_do_not_pile_up(house: House) -> None:
    await house.register(links=BARE)
    await observed(house)
    judged = house.notify(first_block(1))
    for number in range(2, 50):
        assert await house.verdict(first_block(number)) is Verdict.SILENT
    (await house.wire.asked()).value({TEMPERATURE: 42.0})
    assert await judged is Verdict.TAKEN
    assert len(house.wire.log) == 1
    await until(lambda: house.fleet._tasks == set())


# Time


async def test_a_registration_expires_after_its_lifetime_and_a_grace(house: House) -> None:
    registration_id = await house.register(links=BARE, lifetime_s=60)
    await observed(house)
    house.clock.advance(60 + 246)
    assert await house.update(registration_id) == Reply(Success.CHANGED)
    house.clock.advance(60 + 248)
    await house.told.change("one", "expired")
    await house.told.presence("one", "offline")
    assert house.rows.registrations() == {}
    assert house.rows.observations("one") == {}
    assert code_of(await house.update(registration_id)) == "registration_unknown"


async def test_a_queue_mode_device_sleeps_after_its_window(house: House) -> None:
    await house.register("one", HOME, BARE, "1.1", 300, "Q")
    await house.register("awake", ELSEWHERE, BARE)
    assert house.fleet.presence("one") == "online"
    house.clock.advance(92)
    await house.outcome(house.send_request({TEMPERATURE: 1.0}))
    house.clock.advance(92)
    assert house.fleet.presence("one") == "online"
    house.clock.advance(2)
    await house.told.presence("one", "sleeping")
    assert house.fleet.counts() == {"online": 1, "sleeping": 1, "offline": 0}


async def test_when_devices_were_heard_is_kept(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.register(links=BARE)
    house.clock.advance(5)
    await house.outcome(house.send_request({TEMPERATURE: 1.0}))
    await until(lambda: house.rows("SELECT last_seen_ms FROM endpoint") == [(house.clock.wall_ms,)])


async def test_a_defect_does_not_stop_the_clock(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await house.register(links=BARE, lifetime_s=60)
    with monkeypatch.context() as patch:

        def broken(*_: object) -> None:
            raise RuntimeError("a defect")

        patch.setattr(house.fleet._core, "tick", broken, raising=True)
        await until(lambda: any(r.getMessage() == "tick failed" for r in caplog.records))
    house.clock.advance(60 + 248)
    await house.told.change("one", "expired")


# Memory


async def test_strangers_leave_nothing_in_memory(house: House) -> None:
    for number in range(50):
        await house.outcome(
            Uplink(Action.SEND, plain(f"192.0.2.9:{number}"), number, b"", content_format=CBOR)
        )
        await house.verdict(value(1, token=number.to_bytes(8, "big")))
        await house.update(f"nosuchid{number}")
    house.fleet._intake.types_of("nobody")
    assert len(house.fleet._core) == 0
    assert house.fleet._intake._types == {}


async def test_a_device_that_leaves_leaves_no_types_or_steps(house: House) -> None:
    for number in range(5):
        registration_id = await house.register(f"dev-{number}", f"192.0.2.5:{number + 1}", BARE)
        await house.outcome(house.send_request({TEMPERATURE: 1.0}, f"192.0.2.5:{number + 1}"))
        await house.deregister(registration_id)
    assert house.fleet._intake._types == {}
    await until(lambda: house.fleet._onboarding._progress == {})
