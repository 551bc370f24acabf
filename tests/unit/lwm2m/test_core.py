"""The core, one story at a time: what each call remembers and wants done, in order."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.lwm2m.core import REGISTRATION_ID_BYTES, Core, Device, Moment, Origin
from flownexus_appliance.lwm2m.effects import (
    Announce,
    Change,
    Effect,
    Effects,
    Onboard,
    PersistObservation,
    PersistRegistration,
    PresenceChanged,
    RemoveObservation,
    RemoveRegistration,
    Reply,
    Success,
)
from flownexus_appliance.lwm2m.observation import Freshness, Observation, ObservationEvent, ObservationState
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.presence import AWAKE_WINDOW_S, Presence
from flownexus_appliance.lwm2m.registration import GRACE_S, RegisteredObject, Registration
from flownexus_appliance.lwm2m.requests import (
    MAX_LIFETIME_S,
    RegisterRequest,
    UpdateRequest,
    parse_register,
    parse_update,
    read_object_list,
)

TEMPERATURE = (Path.of(3303, 0, 5700),)
BATTERY = (Path.of(3, 0, 9),)
HOME = "192.0.2.1:5683"
ELSEWHERE = "198.51.100.7:40000"
UNCHANGED = UpdateRequest()


def at(seconds: float) -> Moment:
    return Moment(seconds, 1_700_000_000_000 + round(seconds * 1000))


def request(*query: str, endpoint: str = "a", version: str = "1.1", links: str = "</3/0>") -> RegisterRequest:
    return parse_register([f"lwm2m={version}", f"ep={endpoint}", "lt=60", *query], links.encode())


def register(
    core: Core,
    *query: str,
    endpoint: str = "a",
    version: str = "1.1",
    links: str = "</3/0>",
    address: str = HOME,
    message_id: int = 1,
    now: float = 0.0,
) -> Effects:
    asked = request(*query, endpoint=endpoint, version=version, links=links)
    origin = Origin(address, message_id, b"token")
    entropy = f"{endpoint[:2]:2}{message_id:04}".encode()
    return core.register(asked, origin, at(now), entropy)


def registration(effects: Iterable[Effect]) -> Registration:
    (found,) = [effect.registration for effect in effects if isinstance(effect, PersistRegistration)]
    return found


def known(core: Core, endpoint: str = "a") -> Device:
    device = core.device(endpoint)
    assert device is not None
    return device


def observation(token: bytes = b"T", paths: tuple[Path, ...] = TEMPERATURE) -> Observation:
    return Observation(token, "a", paths, 112, 1_700_000_000_000)


# Register


def test_a_register_is_kept_answered_told_and_onboarded_in_that_order() -> None:
    core = Core()
    effects = register(core, "b=UQ", now=5.0)
    kept = registration(effects)
    assert effects == (
        PersistRegistration(kept),
        Reply(Success.CREATED, ("rd", kept.id)),
        Announce(Change.REGISTERED, kept),
        PresenceChanged("a", Presence.ONLINE),
        Onboard("a"),
    )
    assert kept == Registration(
        id=kept.id,
        endpoint="a",
        address=HOME,
        lwm2m_version="1.1",
        lifetime_s=60,
        binding="U",
        queue_mode=True,
        root_path="/",
        objects={3: RegisteredObject("", (0,))},
        content_formats=(),
        message_id=1,
        token=b"token",
        registered_ms=at(5.0).wall_ms,
        updated_ms=at(5.0).wall_ms,
        expires_at=5.0 + 60 + GRACE_S,
    )
    assert core.device_at(HOME) is known(core)
    assert known(core).registration == kept
    assert len(core) == 1


@pytest.mark.parametrize("entropy", [b"\0" * 6, b"\xff" * 6, bytes(range(6))])
def test_the_location_is_short_enough_for_zephyr(entropy: bytes) -> None:
    effects = Core().register(request(), Origin(HOME, 1, b""), at(0), entropy)
    (location,) = [effect.location for effect in effects if isinstance(effect, Reply)]
    assert location[0] == "rd"
    assert len(location) == 2
    assert 8 <= len(location[1]) <= 10
    assert location[1].isascii()
    assert location[1].isalnum()


def test_ids_need_all_their_entropy() -> None:
    with pytest.raises(ValueError, match="6 bytes"):
        Core().register(request(), Origin(HOME, 1, b""), at(0), b"short")
    assert REGISTRATION_ID_BYTES == 6


def test_a_new_register_replaces_the_old_registration_and_its_observations() -> None:
    core = Core()
    first = registration(register(core))
    core.observe(observation())
    effects = register(core, address=ELSEWHERE, message_id=2, now=10.0)
    second = registration(effects)
    assert second.id != first.id
    assert effects[0] == RemoveObservation(b"T")
    assert Announce(Change.REGISTERED, second, first) in effects
    assert PresenceChanged("a", Presence.ONLINE) not in effects  # it was online all the time
    assert core.observed_by(b"T") is None
    assert core.device_at(HOME) is None
    assert core.device_at(ELSEWHERE) is known(core)
    with pytest.raises(PeerError):
        core.update(first.id, UNCHANGED, HOME, at(11))
    core.update(second.id, UNCHANGED, ELSEWHERE, at(11))


def test_a_retransmitted_register_keeps_its_id() -> None:
    core = Core()
    first = register(core, message_id=7)
    again = core.register(request(), Origin(HOME, 7, b"token"), at(2), b"others")
    assert registration(again).id == registration(first).id
    assert [effect for effect in again if isinstance(effect, Reply)] == [
        effect for effect in first if isinstance(effect, Reply)
    ]


@pytest.mark.parametrize("origin", [Origin(ELSEWHERE, 7, b"t"), Origin(HOME, 8, b"t"), Origin(HOME, 7, b"u")])
def test_any_other_register_gets_a_new_id(origin: Origin) -> None:
    core = Core()
    first = registration(core.register(request(), Origin(HOME, 7, b"t"), at(0), b"one id"))
    assert registration(core.register(request(), origin, at(2), b"two id")).id != first.id


def test_two_endpoints_at_one_address() -> None:
    core = Core()
    first = registration(register(core, endpoint="a"))
    second = registration(register(core, endpoint="b"))
    assert core.device_at(HOME) is known(core, "b")
    core.update(first.id, UNCHANGED, HOME, at(1))
    assert core.device_at(HOME) is known(core, "a")
    # The end of the one is not the end of the other.
    core.deregister(second.id, at(2))
    assert core.device_at(HOME) is known(core, "a")


# Update


def test_an_update_prolongs_and_changes_nothing_it_does_not_say() -> None:
    core = Core()
    before = registration(register(core, "Q", "site=roof", links="</>;ct=112,</3/0>"))
    effects = core.update(before.id, UNCHANGED, HOME, at(30))
    after = registration(effects)
    assert after == replace(before, updated_ms=at(30).wall_ms, expires_at=30 + 60 + GRACE_S)
    assert effects == (
        PersistRegistration(after),
        Reply(Success.CHANGED),
        Announce(Change.UPDATED, after, before),
    )


def test_an_update_may_change_lifetime_binding_objects_and_address() -> None:
    core = Core()
    before = registration(register(core))
    changed = parse_update(["lt=600", "b=UT", "Q"], b"</3/0>,</3303/0>")
    effects = core.update(before.id, changed, ELSEWHERE, at(30))
    after = registration(effects)
    assert (after.lifetime_s, after.binding, after.queue_mode) == (600, "UT", True)
    assert after.expires_at == 30 + 600 + GRACE_S
    assert set(after.objects) == {3, 3303}
    assert after.address == ELSEWHERE
    assert effects[-1] == Onboard("a")
    assert core.device_at(HOME) is None
    assert core.device_at(ELSEWHERE) is known(core)


def test_the_same_objects_once_more_need_no_onboarding() -> None:
    core = Core()
    before = registration(register(core, links="</3/0>,</1/0>"))
    effects = core.update(before.id, parse_update([], b"</1/0>,</3/0>"), HOME, at(1))
    assert not [effect for effect in effects if isinstance(effect, Onboard)]


def test_a_list_with_another_root_moves_the_root() -> None:
    core = Core()
    before = registration(register(core, links='</lwm2m>;rt="oma.lwm2m",</lwm2m/3/0>'))
    assert before.root_path == "/lwm2m"
    after = registration(core.update(before.id, parse_update([], b"</3/0>"), HOME, at(1)))
    assert (after.root_path, set(after.objects)) == ("/", {3})


@pytest.mark.parametrize(
    ("version", "registered", "updated", "queue_mode"),
    [
        ("1.0", "b=UQ", [], True),
        ("1.0", "b=UQ", ["b=U"], False),
        ("1.0", "b=UQ", ["b=UQ"], True),
        ("1.0", "b=U", ["b=UQ"], True),
        ("1.1", "Q", ["b=U"], True),
        ("1.1", "Q", ["lt=5"], True),
        ("1.1", "b=U", ["Q"], True),
        ("1.1", "b=U", ["b=T"], False),
    ],
)
def test_queue_mode_after_an_update(
    version: str, registered: str, updated: list[str], queue_mode: bool
) -> None:
    core = Core()
    before = registration(register(core, registered, version=version))
    after = registration(core.update(before.id, parse_update(updated, b""), HOME, at(1)))
    assert after.queue_mode is queue_mode


def test_observations_outlive_an_update_from_another_address() -> None:
    core = Core()
    before = registration(register(core))
    core.observe(observation())
    core.update(before.id, UNCHANGED, ELSEWHERE, at(1))
    found = core.observed_by(b"T")
    assert found is not None
    assert found[0] is known(core)


@pytest.mark.parametrize("registration_id", ["", "nosuch", "x" * 1000, "a\nb"])
def test_an_unknown_registration_is_the_peers_fault(registration_id: str) -> None:
    core = Core()
    register(core)
    with pytest.raises(PeerError) as updating:
        core.update(registration_id, UNCHANGED, HOME, at(1))
    with pytest.raises(PeerError) as ending:
        core.deregister(registration_id, at(1))
    for caught in (updating, ending):
        assert caught.value.code == "registration_unknown"
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 100


# The end


def test_a_deregister_ends_everything() -> None:
    core = Core()
    kept = registration(register(core))
    core.observe(observation())
    effects = core.deregister(kept.id, at(9))
    assert effects == (
        Reply(Success.DELETED),
        RemoveRegistration(kept),
        RemoveObservation(b"T"),
        Announce(Change.DEREGISTERED, kept),
        PresenceChanged("a", Presence.OFFLINE),
    )
    device = known(core)
    assert (device.registration, device.observations, device.heard_ms) == (None, {}, at(9).wall_ms)
    assert core.device_at(HOME) is None
    assert core.observed_by(b"T") is None
    with pytest.raises(PeerError):
        core.deregister(kept.id, at(10))


def test_a_registration_lasts_its_lifetime_and_the_grace() -> None:
    core = Core()
    kept = registration(register(core))
    core.observe(observation())
    assert core.tick(at(60 + GRACE_S - 0.1)) == ()
    assert core.tick(at(60 + GRACE_S)) == (
        RemoveRegistration(kept),
        RemoveObservation(b"T"),
        Announce(Change.EXPIRED, kept),
        PresenceChanged("a", Presence.OFFLINE),
    )
    assert core.tick(at(10_000)) == ()
    assert core.device_at(HOME) is None


def test_a_lifetime_without_end_outlives_a_century() -> None:
    core = Core()
    core.register(replace(request(), lifetime_s=MAX_LIFETIME_S), Origin(HOME, 1, b""), at(0), b"abcdef")
    assert core.tick(at(100 * 365 * 86_400.0)) == ()


def test_an_update_in_the_grace_is_in_time() -> None:
    core = Core()
    kept = registration(register(core))
    core.update(kept.id, UNCHANGED, HOME, at(60 + GRACE_S - 1))
    assert core.tick(at(60 + GRACE_S)) == ()


def test_a_device_that_was_offline_for_good_registers_again() -> None:
    core = Core()
    register(core)
    core.tick(at(1000))
    assert PresenceChanged("a", Presence.ONLINE) in register(core, message_id=2, now=2000)
    assert len(core) == 1


# Presence


def test_a_queue_mode_device_falls_asleep_after_its_window() -> None:
    core = Core()
    kept = registration(register(core, "Q"))
    assert core.tick(at(AWAKE_WINDOW_S - 0.1)) == ()
    assert core.tick(at(AWAKE_WINDOW_S)) == (PresenceChanged("a", Presence.SLEEPING),)
    assert core.tick(at(AWAKE_WINDOW_S + 1)) == ()
    woken = core.update(kept.id, UNCHANGED, HOME, at(200))
    assert woken[-1] == PresenceChanged("a", Presence.ONLINE)
    assert core.tick(at(200 + AWAKE_WINDOW_S - 0.1)) == ()


def test_the_window_is_the_operators_choice() -> None:
    core = Core(awake_window_s=20.0)
    register(core, "Q")
    assert core.tick(at(20)) == (PresenceChanged("a", Presence.SLEEPING),)


def test_a_device_that_listens_always_is_online_until_it_does_not_answer() -> None:
    core = Core()
    register(core)
    assert core.tick(at(300)) == ()
    assert core.unanswered("a", 300.0) == (PresenceChanged("a", Presence.OFFLINE),)
    assert core.unanswered("a", 300.0) == ()
    assert core.heard(known(core), at(301)) == (PresenceChanged("a", Presence.ONLINE),)


def test_a_queue_mode_device_that_does_not_answer_sleeps() -> None:
    core = Core()
    register(core, "Q")
    assert core.unanswered("a", 0.0) == (PresenceChanged("a", Presence.SLEEPING),)


def test_a_device_that_was_heard_since_is_there_though_it_did_not_answer() -> None:
    core = Core()
    register(core)
    core.heard(known(core), at(50))
    assert core.unanswered("a", 49.9) == ()
    assert known(core).presence is Presence.ONLINE
    assert core.unanswered("a", 50.0) == (PresenceChanged("a", Presence.OFFLINE),)


def test_nobody_misses_an_answer_of_the_unregistered() -> None:
    core = Core()
    assert core.unanswered("a", 2.0) == ()
    kept = registration(register(core))
    core.deregister(kept.id, at(1))
    assert core.unanswered("a", 2.0) == ()


def test_hearing_late_of_a_message_does_not_take_back_a_later_one() -> None:
    core = Core()
    register(core, "Q")
    device = known(core)
    core.heard(device, at(50))
    core.heard(device, at(40))  # its commit took longer
    assert device.heard_ms == at(50).wall_ms
    assert core.tick(at(40 + AWAKE_WINDOW_S)) == ()
    assert core.tick(at(50 + AWAKE_WINDOW_S)) == (PresenceChanged("a", Presence.SLEEPING),)


def test_when_the_clock_is_put_back_the_last_one_heard_still_counts() -> None:
    core = Core()
    register(core, now=10.0)
    core.heard(known(core), Moment(20.0, 5_000))
    assert known(core).heard_ms == 5_000


def test_hearing_late_of_a_message_brings_no_ended_registration_back() -> None:
    core = Core()
    kept = registration(register(core))
    device = known(core)
    core.deregister(kept.id, at(2))
    assert core.heard(device, at(1)) == ()
    assert (device.presence, device.heard_ms) == (Presence.OFFLINE, at(2).wall_ms)


# Observations


def test_an_observation_is_kept_before_it_is_asked_for() -> None:
    core = Core()
    register(core)
    assert core.observe(observation()) == (PersistObservation(observation()),)
    found = core.observed_by(b"T")
    assert found is not None
    device, live = found
    assert device is known(core)
    states = [live.state]
    assert core.observation_answered(b"T", accepted=True) == ()
    states.append(live.state)
    assert states == [ObservationState.REQUESTED, ObservationState.ACTIVE]


def test_an_observation_that_was_refused_is_forgotten() -> None:
    core = Core()
    register(core)
    core.observe(observation())
    assert core.observation_answered(b"T", accepted=False) == (RemoveObservation(b"T"),)
    assert core.observed_by(b"T") is None
    assert known(core).observations == {}
    assert core.observation_answered(b"T", accepted=True) == ()
    assert core.observation_answered(b"T", accepted=False) == ()


def test_a_second_observation_of_the_same_paths_replaces_the_first() -> None:
    core = Core()
    register(core)
    core.observe(observation(b"1"))
    assert core.observe(observation(b"2")) == (RemoveObservation(b"1"), PersistObservation(observation(b"2")))
    assert core.observed_by(b"1") is None
    core.observe(observation(b"3", BATTERY))
    assert {live.observation.token for live in known(core).observations.values()} == {b"2", b"3"}


@pytest.mark.parametrize("event", [ObservationEvent.CANCELLED, ObservationEvent.FAILED])
def test_an_observation_ends_by_us_or_by_the_device(event: ObservationEvent) -> None:
    core = Core()
    register(core)
    core.observe(observation())
    assert core.cancel(b"T", event) == (RemoveObservation(b"T"),)
    assert core.cancel(b"T", event) == ()
    assert known(core).observations == {}


def test_a_notification_may_overtake_the_answer() -> None:
    core = Core()
    register(core)
    core.observe(observation())
    found = core.observed_by(b"T")
    assert found is not None
    live = found[1]
    assert core.notified(live, 1, 0.0) is Freshness.NEW
    assert live.state is ObservationState.ACTIVE
    assert core.notified(live, 1, 0.0) is Freshness.NEW  # not on disk yet: nothing is remembered
    live.order.accept(1, 0.0)
    assert core.notified(live, 1, 0.1) is Freshness.REPEATED
    assert core.observation_answered(b"T", accepted=True) == ()


def test_nothing_is_observed_of_who_is_not_there() -> None:
    core = Core()
    with pytest.raises(UsageError) as caught:
        core.observe(observation())
    assert caught.value.code == "endpoint_unknown"
    kept = registration(register(core))
    core.deregister(kept.id, at(1))
    with pytest.raises(UsageError) as caught:
        core.observe(observation())
    assert caught.value.code == "endpoint_offline"
    assert core.observed_by(b"T") is None


# Restart


def test_a_restart_takes_up_where_the_last_run_ended() -> None:
    before = Core()
    first = registration(register(before, "Q", endpoint="a"))
    second = registration(register(before, endpoint="b", address=ELSEWHERE))
    core = Core()
    core.restore([first, second], [observation()], {"a": 5, "b": 6, "gone": 7})
    assert len(core) == 3
    assert (known(core, "a").presence, known(core, "a").heard_ms) == (Presence.SLEEPING, 5)
    assert (known(core, "b").presence, known(core, "b").heard_ms) == (Presence.ONLINE, 6)
    assert (known(core, "gone").presence, known(core, "gone").heard_ms) == (Presence.OFFLINE, 7)
    assert core.device_at(HOME) is known(core, "a")
    found = core.observed_by(b"T")
    assert found is not None
    assert found[1].state is ObservationState.ACTIVE
    assert core.notified(found[1], 4_000_000, 0.0) is Freshness.NEW
    core.update(first.id, UNCHANGED, HOME, at(1))


def test_a_retransmitted_register_is_known_after_a_restart() -> None:
    first = registration(register(Core(), message_id=7))
    core = Core()
    core.restore([first], [], {})
    assert registration(register(core, message_id=7, now=3)).id == first.id


def test_what_a_failed_write_left_behind_confuses_nobody() -> None:
    kept = registration(register(Core()))
    orphan = replace(observation(b"orphan"), endpoint="gone")
    older, newer = observation(b"1"), replace(observation(b"2"), created_ms=1_700_000_000_001)
    core = Core()
    core.restore([kept], [newer, orphan, older], {"gone": 1})
    assert core.observed_by(b"orphan") is None
    assert core.observed_by(b"1") is None
    assert core.observed_by(b"2") is not None
    assert core.cancel(b"2", ObservationEvent.CANCELLED) == (RemoveObservation(b"2"),)


def test_a_registration_without_a_last_heard_uses_its_last_update() -> None:
    kept = registration(register(Core(), now=4))
    core = Core()
    core.restore([kept], [], {})
    assert known(core).heard_ms == at(4).wall_ms


def test_object_lists_are_compared_by_what_they_say() -> None:
    assert read_object_list(b"</3/0>,</1/0>") == read_object_list(b"</1/0>,</3/0>")
