"""Whatever devices do, in whatever order: the core's indexes agree, what it wants kept is all it needs
after a restart, every request is answered once, and nobody has a name that is another's.
"""

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.fleet.identity import NOTIFY, Door
from flownexus_appliance.fleet.ports import Action, Sender
from flownexus_appliance.lwm2m.core import Core, Device, Moment, Origin
from flownexus_appliance.lwm2m.effects import (
    Announce,
    Change,
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
from flownexus_appliance.lwm2m.presence import Presence
from flownexus_appliance.lwm2m.registration import GRACE_S, RegisteredObject, Registration
from flownexus_appliance.lwm2m.requests import ObjectList, RegisterRequest, UpdateRequest

ENDPOINTS = ("a", "b", "c")
WINDOW_S = 20.0

endpoints = st.sampled_from(ENDPOINTS)
addresses = st.sampled_from(("192.0.2.1:5683", "192.0.2.2:5683", "[2001:db8::1]:5683"))
plain = st.builds(lambda address: Sender(address, address), addresses)
sessions = st.builds(
    lambda endpoint, number, address: Sender(f"dtls-{endpoint}{number}", address, endpoint),
    endpoints,
    st.integers(1, 2),
    addresses,
)
enrolling = st.builds(lambda address: Sender("dtls-enrol", address, enrolling=True), addresses)
senders = plain | sessions | enrolling
lifetimes = st.sampled_from((1, 30, 300))
paths = st.sampled_from(
    ((Path.of(3, 0, 9),), (Path.of(3303, 0, 5700),), (Path.of(3, 0, 7), Path.of(3, 0, 9)))
)
objects = st.sampled_from(({3: RegisteredObject("", (0,))}, {1: RegisteredObject("1.1", (0,))}))
object_lists = st.builds(ObjectList, objects, st.sampled_from(("/", "/lwm2m")), st.just((112,)))
requests = st.builds(
    RegisterRequest,
    endpoint=endpoints,
    lwm2m_version=st.sampled_from(("1.0", "1.1")),
    lifetime_s=lifetimes,
    binding=st.just("U"),
    queue_mode=st.booleans(),
    object_list=object_lists,
)
updates = st.builds(
    UpdateRequest,
    lifetime_s=st.none() | lifetimes,
    binding=st.sampled_from((None, "U", "UT")),
    queue_mode=st.sampled_from((None, True)),
    object_list=st.none() | object_lists,
)


class ModelStore:
    """A disk: what effects say shall persist, in the order it was written."""

    def __init__(self) -> None:
        self.registrations: dict[str, Registration] = {}
        self.observations: dict[bytes, Observation] = {}

    def apply(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case PersistRegistration(registration):
                    self.registrations.pop(registration.endpoint, None)
                    self.registrations[registration.endpoint] = registration
                case RemoveRegistration(registration):
                    assert self.registrations[registration.endpoint].id == registration.id
                    del self.registrations[registration.endpoint]
                case PersistObservation(observation):
                    assert observation.token not in self.observations
                    self.observations[observation.token] = observation
                case RemoveObservation(token):
                    del self.observations[token]


class ModelNames:
    """Who has a credential."""

    def __init__(self) -> None:
        self.guarded: set[str] = set()

    def has_any(self, endpoint: str) -> bool:
        return endpoint in self.guarded

    def may_enrol(self, endpoint: str) -> bool:
        return False

    def endpoints(self) -> int:
        return len(self.guarded)


class Devices(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.core = Core(WINDOW_S)
        self.store = ModelStore()
        self.now = 0.0
        self.started = 0.0
        self.count = 0
        self.ended: set[str] = set()
        self.presence = dict.fromkeys(ENDPOINTS, Presence.OFFLINE)
        self.heard_ms: dict[str, int] = {}
        self.speaker: dict[str, str] = {}  # who spoke last by a session or from an address
        self.names = ModelNames()
        self.door = Door(self.core, self.names)

    @property
    def moment(self) -> Moment:
        return self.at(self.now)

    def at(self, now: float) -> Moment:
        return Moment(now, 1_700_000_000_000 + round(now * 1000))

    def may(self, deed: str, sender: Sender, endpoint: str) -> bool:
        """Ask the door, and hold it to the rules."""
        allowed = True
        try:
            self.door.check(deed, sender, endpoint)
        except PeerError:
            allowed = False
        if sender.secure:
            assert allowed == (sender.endpoint == endpoint)
            return allowed and endpoint in self.names.guarded  # else its session has ended
        assert allowed == (endpoint not in self.names.guarded)
        return allowed

    def live(self) -> list[Registration]:
        return list(self.store.registrations.values())

    def number(self) -> int:
        self.count += 1
        return self.count

    def take(self, effects: Effects, replies: int = 0) -> None:
        """Do what the core wants done, and hold it to what always holds."""
        assert sum(isinstance(effect, Reply) for effect in effects) == replies
        assert sum(isinstance(effect, Onboard) for effect in effects) <= 1
        self.store.apply(effects)
        for effect in effects:
            match effect:
                case Announce(change, registration):
                    gone = change in (Change.DEREGISTERED, Change.EXPIRED, Change.REVOKED)
                    kept = self.store.registrations.get(registration.endpoint)
                    assert kept == (None if gone else registration)
                case PresenceChanged(endpoint, presence):
                    assert self.presence[endpoint] is not presence
                    self.presence[endpoint] = presence
                case Onboard(endpoint):
                    assert endpoint in self.store.registrations

    def moved(self, before: Registration | None, after: Registration | None) -> None:
        """The address book as it should be."""
        if before is not None and self.speaker.get(before.peer) == before.endpoint:
            del self.speaker[before.peer]
        if after is not None:
            self.speaker[after.peer] = after.endpoint

    # Registration

    @initialize(request=requests, sender=plain)
    def first(self, request: RegisterRequest, sender: Sender) -> None:
        self.register(request, sender)

    @rule(request=requests, sender=senders)
    def register(self, request: RegisterRequest, sender: Sender) -> None:
        if not self.may(Action.REGISTER, sender, request.endpoint):
            return
        number = self.number()
        before = self.store.registrations.get(request.endpoint)
        origin = Origin(sender.address, number, b"token", sender.session)
        effects = self.core.register(request, origin, self.moment, number.to_bytes(6))
        self.take(effects, replies=1)
        after = self.store.registrations[request.endpoint]
        assert Reply(Success.CREATED, ("rd", after.id)) in effects
        assert Onboard(request.endpoint) in effects
        assert after.expires_at == self.now + request.lifetime_s + GRACE_S
        assert not self.observed(request.endpoint)
        if before is not None:
            self.ended.add(before.id)
        self.moved(before, after)

    @precondition(lambda self: self.store.registrations)
    @rule(data=st.data())
    def register_again(self, data: st.DataObject) -> None:
        """The reply was lost, so the same message comes once more."""
        before = data.draw(st.sampled_from(self.live()))
        listed = ObjectList(before.objects, before.root_path, before.content_formats)
        request = RegisterRequest(
            before.endpoint, before.lwm2m_version, before.lifetime_s, "U", before.queue_mode, listed
        )
        origin = Origin(before.address, before.message_id, before.token, before.session)
        effects = self.core.register(request, origin, self.moment, self.number().to_bytes(6))
        self.take(effects, replies=1)
        after = self.store.registrations[before.endpoint]
        assert after.id == before.id
        self.moved(before, after)

    @precondition(lambda self: self.store.registrations)
    @rule(data=st.data(), request=updates, sender=senders)
    def update(self, data: st.DataObject, request: UpdateRequest, sender: Sender) -> None:
        before = data.draw(st.sampled_from(self.live()))
        if not self.may(Action.UPDATE, sender, before.endpoint):
            return
        observed = self.observed(before.endpoint)
        effects = self.core.update(before.id, request, sender.address, self.moment, sender.session)
        self.take(effects, replies=1)
        after = self.store.registrations[before.endpoint]
        assert (after.id, after.registered_ms) == (before.id, before.registered_ms)
        assert (after.address, after.peer) == (sender.address, sender.peer)
        assert (Onboard(before.endpoint) in effects) == (after.objects != before.objects)
        assert self.observed(before.endpoint) == observed
        assert self.presence[before.endpoint] is Presence.ONLINE
        self.moved(before, after)

    @precondition(lambda self: self.store.registrations)
    @rule(data=st.data(), sender=senders)
    def deregister(self, data: st.DataObject, sender: Sender) -> None:
        before = data.draw(st.sampled_from(self.live()))
        if not self.may(Action.DEREGISTER, sender, before.endpoint):
            return
        self.take(self.core.deregister(before.id, self.moment), replies=1)
        self.ended.add(before.id)
        self.moved(before, None)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def use_an_ended_registration(self, data: st.DataObject) -> None:
        ended = data.draw(st.sampled_from(sorted(self.ended)))
        with pytest.raises(PeerError, match="registration_unknown"):
            self.core.update(ended, UpdateRequest(), "192.0.2.9:5683", self.moment)
        with pytest.raises(PeerError, match="registration_unknown"):
            self.core.deregister(ended, self.moment)

    # Credentials

    @rule(endpoint=endpoints)
    def give_a_credential(self, endpoint: str) -> None:
        if endpoint not in self.names.guarded:
            self.names.guarded.add(endpoint)
            self.core.know(endpoint)
            self.revoke(endpoint)

    @precondition(lambda self: self.names.guarded)
    @rule(data=st.data())
    def take_it_away(self, data: st.DataObject) -> None:
        endpoint = data.draw(st.sampled_from(sorted(self.names.guarded)))
        self.names.guarded.remove(endpoint)
        self.revoke(endpoint)
        self.core.forget(endpoint)
        assert (self.core.device(endpoint) is not None) == bool(self.heard_ms.get(endpoint))

    def revoke(self, endpoint: str) -> None:
        before = self.store.registrations.get(endpoint)
        self.take(self.core.revoke(endpoint))
        assert endpoint not in self.store.registrations
        if before is not None:
            self.ended.add(before.id)
            self.moved(before, None)
        assert self.core.revoke(endpoint) == ()

    # Time and presence

    @rule(seconds=st.sampled_from((0.0, 1.0, WINDOW_S, 60.0, GRACE_S, 400.0)))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        before = self.live()
        self.take(self.core.tick(self.moment))
        for registration in before:
            expired = registration.endpoint not in self.store.registrations
            assert expired == (self.now >= registration.expires_at)
            if expired:
                self.ended.add(registration.id)
                self.moved(registration, None)
        assert self.core.tick(self.moment) == ()

    @rule(endpoint=endpoints, late_s=st.sampled_from((0.0, 0.0, 5.0, WINDOW_S + 1)))
    def heard(self, endpoint: str, late_s: float) -> None:
        device = self.core.device(endpoint)
        if device is not None:
            self.take(self.core.heard(device, self.at(max(self.started, self.now - late_s))))
            assert (self.presence[endpoint] is Presence.ONLINE) == (device.registration is not None)

    @rule(endpoint=endpoints)
    def unanswered(self, endpoint: str) -> None:
        self.take(self.core.unanswered(endpoint, self.now))
        assert self.presence[endpoint] is not Presence.ONLINE

    # Observations

    @rule(endpoint=endpoints, wanted=paths)
    def observe(self, endpoint: str, wanted: tuple[Path, ...]) -> None:
        token = self.number().to_bytes(8)
        observation = Observation(token, endpoint, wanted, 112, self.moment.wall_ms)
        if endpoint not in self.store.registrations:
            with pytest.raises(UsageError):
                self.core.observe(observation)
            return
        self.take(self.core.observe(observation))
        assert list(self.observed(endpoint, wanted)) == [token]

    @precondition(lambda self: self.store.observations)
    @rule(data=st.data(), accepted=st.booleans())
    def answer(self, data: st.DataObject, accepted: bool) -> None:
        token = data.draw(st.sampled_from(sorted(self.store.observations)))
        self.take(self.core.observation_answered(token, accepted))
        assert (token in self.store.observations) == accepted

    @precondition(lambda self: self.store.observations)
    @rule(data=st.data(), event=st.sampled_from((ObservationEvent.CANCELLED, ObservationEvent.FAILED)))
    def cancel(self, data: st.DataObject, event: ObservationEvent) -> None:
        token = data.draw(st.sampled_from(sorted(self.store.observations)))
        self.take(self.core.cancel(token, event))
        assert token not in self.store.observations
        assert self.core.cancel(token, event) == ()
        assert self.core.observation_answered(token, accepted=False) == ()

    @precondition(lambda self: self.store.observations)
    @rule(data=st.data(), number=st.integers(0, 2**24 - 1), sender=senders)
    def notify(self, data: st.DataObject, number: int, sender: Sender) -> None:
        token = data.draw(st.sampled_from(sorted(self.store.observations)))
        found = self.core.observed_by(token)
        assert found is not None
        device, live = found
        if not self.may(NOTIFY, sender, device.endpoint):
            return
        if sender.secure:
            self.follow(device, sender)
        freshness = self.core.notified(live, number, self.now)
        assert live.state is ObservationState.ACTIVE
        if freshness is Freshness.NEW:
            live.order.accept(number, self.now)
            assert self.core.notified(live, number, self.now) is Freshness.REPEATED
        self.take(self.core.heard(device, self.moment))

    @precondition(lambda self: self.names.guarded)
    @rule(sender=sessions)
    def send(self, sender: Sender) -> None:
        assert sender.endpoint is not None
        device = self.core.device(sender.endpoint)
        if device is not None and self.may(Action.SEND, sender, sender.endpoint):
            self.follow(device, sender)
            self.take(self.core.heard(device, self.moment))

    def follow(self, device: Device, sender: Sender) -> None:
        """A message by a session of the device's own, maybe a new one."""
        before, observed = device.registration, self.observed(device.endpoint)
        self.take(self.core.follow(device, sender.address, sender.session))
        after = device.registration
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert (after.id, after.expires_at, after.peer) == (before.id, before.expires_at, sender.peer)
            assert self.observed(device.endpoint) == observed
            self.moved(before, after)
        assert self.core.follow(device, sender.address, sender.session) == ()

    # Restart

    @rule()
    def restart(self) -> None:
        before = self.core
        heard_ms = {device.endpoint: device.heard_ms for device in before}
        self.core, self.started = Core(WINDOW_S), self.now
        self.door = Door(self.core, self.names)
        self.core.restore(self.live(), self.store.observations.values(), heard_ms)
        assert {device.endpoint for device in self.core} == {device.endpoint for device in before}
        # Who was displaced by another at its address is found there again, if that one has left.
        speaker = {registration.peer: registration.endpoint for registration in self.live()}
        assert self.speaker.items() <= speaker.items()
        self.speaker = speaker
        for device in self.core:
            registration = device.registration
            if registration is None:
                expected = Presence.OFFLINE
            else:
                expected = Presence.SLEEPING if registration.queue_mode else Presence.ONLINE
            assert device.presence is expected
            assert all(live.state is ObservationState.ACTIVE for live in device.observations.values())
            self.presence[device.endpoint] = expected

    # What always holds

    def observed(self, endpoint: str, wanted: tuple[Path, ...] | None = None) -> Iterable[bytes]:
        return {
            token
            for token, kept in self.store.observations.items()
            if kept.endpoint == endpoint and wanted in (None, kept.paths)
        }

    def registered(self) -> list[tuple[Device, Registration]]:
        return [(d, d.registration) for d in self.core if d.registration is not None]

    @invariant()
    def memory_is_what_was_kept(self) -> None:
        assert {d.endpoint: r for d, r in self.registered()} == self.store.registrations
        assert {
            live.observation.token: live.observation
            for device in self.core
            for live in device.observations.values()
        } == self.store.observations

    @invariant()
    def indexes_agree_with_the_devices(self) -> None:
        core = self.core
        assert core._by_id == {r.id: d for d, r in self.registered()}
        assert {peer: d.endpoint for peer, d in core._by_peer.items()} == self.speaker
        assert all(d.registration and d.registration.peer == p for p, d in core._by_peer.items())
        by_token = {
            live.observation.token: (device, live)
            for device in core
            for paths, live in device.observations.items()
            if paths == live.observation.paths and device.endpoint == live.observation.endpoint
        }
        assert core._by_token == by_token
        assert not self.ended & set(core._by_id)
        assert len(core) == len(list(core))

    @invariant()
    def nobody_has_a_name_that_is_anothers(self) -> None:
        for device, registration in self.registered():
            assert bool(registration.session) == (device.endpoint in self.names.guarded)
            assert not registration.session or registration.session[5:-1] == device.endpoint
        assert self.names.guarded <= {device.endpoint for device in self.core}

    @invariant()
    def presence_is_what_was_told(self) -> None:
        for device in self.core:
            assert device.presence is self.presence[device.endpoint]
            if device.registration is None:
                assert device.presence is Presence.OFFLINE
                assert not device.observations

    @invariant()
    def last_heard_never_goes_back(self) -> None:
        for device in self.core:
            assert device.heard_ms >= self.heard_ms.get(device.endpoint, 0)
            assert device.heard_ms <= self.moment.wall_ms
            self.heard_ms[device.endpoint] = device.heard_ms


Devices.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestDevices = Devices.TestCase
