"""The LwM2M server's memory of its devices: registrations, presence, observations.

Pure: every call takes the moment it happens at and returns what is to be done (`effects`). The
driver commits what must persist before it replies, announces or sends. LwM2M Core 1.1.1 section 6.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

from ..errors import PeerError, UsageError, clean
from .effects import (
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
from .observation import (
    OBSERVATION_TRANSITIONS,
    Freshness,
    NotificationOrder,
    Observation,
    ObservationEvent,
    ObservationState,
)
from .paths import Path
from .presence import AWAKE_WINDOW_S, PRESENCE_TRANSITIONS, Presence, PresenceEvent
from .registration import (
    GRACE_S,
    REGISTRATION_TRANSITIONS,
    Registration,
    RegistrationEvent,
    RegistrationState,
)
from .requests import RegisterRequest, UpdateRequest

# Zephyr's option parser refuses options over 12 bytes: `rd` and an id of 10 characters.
REGISTRATION_ID_BYTES: Final = 6
# The end of an awake window in which nothing is begun.
WINDOW_END_S: Final = 2.0
WINDOW_END_SHARE: Final = 0.1
SURELY_AWAKE_S: Final = 5.0
KEPT_SILENCES: Final = 2


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, twice: monotonic seconds for deadlines, milliseconds since 1970 UTC for records."""

    now: float
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from and what tells its retransmissions apart.

    `session` is the DTLS session it came by, "" over plain CoAP.
    """

    address: str
    message_id: int
    token: bytes
    session: str = ""

    @property
    def peer(self) -> str:
        return self.session or self.address


@dataclass(slots=True)
class LiveObservation:
    observation: Observation
    state: ObservationState
    order: NotificationOrder = field(default_factory=NotificationOrder)


@dataclass(slots=True)
class Device:
    """All the core knows of one endpoint.

    `awake_window_s` is its own, None: as configured. `silent_after_s` are the times after its last message
    that it left requests unanswered at since it registered, `deaf_after_s` what is made of them.
    """

    endpoint: str
    registration: Registration | None = None
    presence: Presence = Presence.OFFLINE
    heard_at: float = 0.0
    heard_ms: int = 0
    awake_window_s: float | None = None
    silent_after_s: tuple[float, ...] = ()
    observations: dict[tuple[Path, ...], LiveObservation] = field(default_factory=dict)

    @property
    def deaf_after_s(self) -> float | None:
        """How long after it spoke it is deaf; None where nothing tells: once may be a lost datagram."""
        return sorted(self.silent_after_s)[1] if len(self.silent_after_s) > 1 else None


class Core:
    """Devices by endpoint, registration id, peer and observation token."""

    def __init__(self, awake_window_s: float = AWAKE_WINDOW_S) -> None:
        self.awake_window_s = awake_window_s
        self._devices: dict[str, Device] = {}
        self._by_id: dict[str, Device] = {}
        self._by_peer: dict[str, Device] = {}
        self._by_token: dict[bytes, tuple[Device, LiveObservation]] = {}

    def __iter__(self) -> Iterator[Device]:
        return iter(self._devices.values())

    def __len__(self) -> int:
        return len(self._devices)

    def device(self, endpoint: str) -> Device | None:
        return self._devices.get(endpoint)

    def device_at(self, peer: str) -> Device | None:
        """The registered device that speaks by this session, or from this address without one."""
        return self._by_peer.get(peer)

    def registered(self, registration_id: str) -> Device:
        """Whose registration this is; raises PeerError("registration_unknown")."""
        device = self._by_id.get(registration_id)
        if device is None:
            raise PeerError(
                "registration_unknown",
                f"no registration {clean(registration_id, 32)}",
                "the client registers anew by itself",
            )
        return device

    def know(self, endpoint: str) -> None:
        """An endpoint is expected, before it was ever heard."""
        self._devices.setdefault(endpoint, Device(endpoint))

    def forget(self, endpoint: str) -> None:
        """An endpoint is expected no longer; one that was heard is remembered all the same."""
        device = self._devices.get(endpoint)
        if device is not None and device.registration is None and not device.heard_ms:
            del self._devices[endpoint]

    # Registration interface

    def register(self, request: RegisterRequest, origin: Origin, moment: Moment, entropy: bytes) -> Effects:
        """A Register: replaces any registration of the same endpoint.

        `entropy` is REGISTRATION_ID_BYTES random bytes. A retransmitted Register (same endpoint,
        peer, message id and token) keeps its id, so a lost reply does not leave two.
        """
        device = self._devices.setdefault(request.endpoint, Device(request.endpoint))
        _advance(device, RegistrationEvent.REGISTER)
        before = device.registration
        same = before is not None and _repeats(before, origin)
        registration = Registration(
            id=before.id if before is not None and same else _registration_id(entropy),
            endpoint=request.endpoint,
            address=origin.address,
            lwm2m_version=request.lwm2m_version,
            lifetime_s=request.lifetime_s,
            binding=request.binding,
            queue_mode=request.queue_mode,
            root_path=request.object_list.root_path,
            objects=request.object_list.objects,
            content_formats=request.object_list.content_formats,
            message_id=origin.message_id,
            token=origin.token,
            registered_ms=moment.wall_ms,
            updated_ms=moment.wall_ms,
            expires_at=moment.now + request.lifetime_s + GRACE_S,
            attributes=request.attributes,
            session=origin.session,
        )
        effects: list[Effect] = list(self._drop_observations(device))
        device.silent_after_s = ()  # it may be another firmware now
        self._adopt(device, registration)
        effects.append(PersistRegistration(registration))
        effects.append(Reply(Success.CREATED, ("rd", registration.id)))
        effects.append(Announce(Change.REGISTERED, registration, before))
        effects += self._heard(device, moment)
        effects.append(Onboard(device.endpoint))
        return tuple(effects)

    def update(
        self,
        registration_id: str,
        request: UpdateRequest,
        address: str,
        moment: Moment,
        session: str = "",
    ) -> Effects:
        """An Update, from an address and by a session; raises PeerError("registration_unknown")."""
        device = self.registered(registration_id)
        before = device.registration
        assert before is not None
        _advance(device, RegistrationEvent.UPDATE)
        lifetime_s = before.lifetime_s if request.lifetime_s is None else request.lifetime_s
        listed = request.object_list
        registration = replace(
            before,
            address=address,
            session=session,
            lifetime_s=lifetime_s,
            binding=before.binding if request.binding is None else request.binding,
            queue_mode=_queue_mode(before, request),
            root_path=before.root_path if listed is None else listed.root_path,
            objects=before.objects if listed is None else listed.objects,
            updated_ms=moment.wall_ms,
            expires_at=moment.now + lifetime_s + GRACE_S,
        )
        self._adopt(device, registration)
        effects: list[Effect] = [
            PersistRegistration(registration),
            Reply(Success.CHANGED),
            Announce(Change.UPDATED, registration, before),
            *self._heard(device, moment),
        ]
        if registration.objects != before.objects:
            effects.append(Onboard(device.endpoint))
        return tuple(effects)

    def deregister(self, registration_id: str, moment: Moment) -> Effects:
        """A Deregister; raises PeerError("registration_unknown")."""
        device = self.registered(registration_id)
        device.heard_ms = moment.wall_ms
        _advance(device, RegistrationEvent.DEREGISTER)
        return (Reply(Success.DELETED), *self._end(device, Change.DEREGISTERED))

    def revoke(self, endpoint: str) -> Effects:
        """What the device proved itself by is good no more: its registration ends, if it has one."""
        device = self._devices.get(endpoint)
        if device is None or device.registration is None:
            return ()
        _advance(device, RegistrationEvent.REVOKE)
        return tuple(self._end(device, Change.REVOKED))

    def follow(self, device: Device, address: str, session: str) -> Effects:
        """The device speaks by another session of its own: what is asked of it goes that way now.

        Zephyr shakes hands again when it must and goes on with its registration, and not always by an
        Update (LwM2M Core 1.1.1 section 6.2 asks for none).
        """
        registration = device.registration
        if registration is None or registration.session == session:
            return ()
        moved = replace(registration, address=address, session=session)
        self._adopt(device, moved)
        return (PersistRegistration(moved),)

    def tick(self, moment: Moment) -> Effects:
        """What time alone brings about: ended registrations, closed awake windows."""
        effects: list[Effect] = []
        for device in self._devices.values():
            registration = device.registration
            if registration is None:
                continue
            if moment.now >= registration.expires_at:
                _advance(device, RegistrationEvent.EXPIRE)
                effects += self._end(device, Change.EXPIRED)
            elif (
                registration.queue_mode
                and device.presence is Presence.ONLINE
                and moment.now >= device.heard_at + self.window(device)
            ):
                effects += self._presence(device, PresenceEvent.WINDOW_OVER)
        return tuple(effects)

    # Presence

    def heard(self, device: Device, moment: Moment) -> Effects:
        """The device sent something: it is awake for a window from then on.

        A message whose commit took longer than the registration lived makes nobody online.
        """
        return () if device.registration is None else self._heard(device, moment)

    def unanswered(self, endpoint: str, asked_at: float) -> Effects:
        """The device left a request of ours, sent at `asked_at`, without an answer.

        One that was heard since is there all the same: wakaama answers no composite operation.
        """
        device = self._devices.get(endpoint)
        if device is None or device.registration is None:
            return ()
        if device.heard_at > asked_at:
            return ()
        queued = device.registration.queue_mode
        waited_s = asked_at - device.heard_at
        # One that was asked right after it spoke was awake: its silence says nothing of its window.
        if queued and SURELY_AWAKE_S <= waited_s < self.window(device):
            device.silent_after_s = (*device.silent_after_s, waited_s)[-KEPT_SILENCES:]
        return self._presence(device, PresenceEvent.UNANSWERED_QUEUED if queued else PresenceEvent.UNANSWERED)

    def window(self, device: Device) -> float:
        """How long a Queue Mode client listens after it was heard, in seconds.

        What is set for it counts, else what is configured, or less where it was found deaf earlier: a client
        tells its window to nobody.
        """
        if device.awake_window_s is not None:
            return device.awake_window_s
        return self.awake_window_s if device.deaf_after_s is None else device.deaf_after_s

    def listens_for(self, endpoint: str, now: float) -> float:
        """For how many seconds from now a request is worth sending: 0 where the device is not heard of,
        infinity without Queue Mode.

        The end of an awake window is left alone: what is sent then is answered to nobody.
        """
        device = self._devices.get(endpoint)
        if device is None or device.registration is None or device.presence is not Presence.ONLINE:
            return 0.0
        if not device.registration.queue_mode:
            return inf
        window = self.window(device)
        left_s = device.heard_at + window - now
        return left_s if left_s > min(WINDOW_END_S, window * WINDOW_END_SHARE) else 0.0

    # Information reporting

    def observe(self, observation: Observation) -> Effects:
        """A new observation is about to be asked for; it replaces one on the same paths.

        Raises UsageError: `endpoint_unknown`, `endpoint_offline`.
        """
        device = self._devices.get(observation.endpoint)
        if device is None:
            raise unknown_endpoint(observation.endpoint)
        if device.registration is None:
            raise UsageError(
                "endpoint_offline",
                f"{clean(observation.endpoint)} is not registered",
                "wait until the device registers again",
            )
        effects: list[Effect] = []
        if observation.paths in device.observations:
            effects.append(self._forget(device, observation.paths, ObservationEvent.CANCELLED))
        live = LiveObservation(observation, ObservationState.REQUESTED)
        device.observations[observation.paths] = live
        self._by_token[observation.token] = (device, live)
        effects.append(PersistObservation(observation))
        return tuple(effects)

    def observation_answered(self, token: bytes, accepted: bool) -> Effects:
        """The device answered an Observe: it goes on, or it never came to be."""
        found = self._by_token.get(token)
        if found is None:
            return ()
        device, live = found
        if not accepted:
            return (self._forget(device, live.observation.paths, ObservationEvent.REFUSED),)
        _observe_step(live, ObservationEvent.ACCEPTED)
        return ()

    def cancel(self, token: bytes, event: ObservationEvent) -> Effects:
        """An observation ends: by us (CANCELLED) or by the device (FAILED)."""
        found = self._by_token.get(token)
        if found is None:
            return ()
        return (self._forget(found[0], found[1].observation.paths, event),)

    def observed_by(self, token: bytes) -> tuple[Device, LiveObservation] | None:
        """Whose observation a token is."""
        return self._by_token.get(token)

    def notified(self, live: LiveObservation, number: int, now: float) -> Freshness:
        """Judge a notification; `LiveObservation.order.accept` once it is on disk."""
        _observe_step(live, ObservationEvent.NOTIFIED)
        return live.order.judge(number, now)

    # Restart

    def restore(
        self,
        registrations: Iterable[Registration],
        observations: Iterable[Observation],
        heard_ms: Mapping[str, int],
        awake_windows_s: Mapping[str, float] | None = None,
    ) -> None:
        """Take up what an earlier run of the daemon kept."""
        for endpoint, heard in heard_ms.items():
            window_s = (awake_windows_s or {}).get(endpoint)
            self._devices[endpoint] = Device(endpoint, heard_ms=heard, awake_window_s=window_s)
        for registration in registrations:
            device = self._devices.setdefault(
                registration.endpoint, Device(registration.endpoint, heard_ms=registration.updated_ms)
            )
            self._adopt(device, registration)
            # Queue Mode devices sleep until they are heard; the others are taken to listen.
            device.presence = Presence.SLEEPING if registration.queue_mode else Presence.ONLINE
        for observation in sorted(observations, key=lambda kept: kept.created_ms):
            owner = self._devices.get(observation.endpoint)
            if owner is None or owner.registration is None:
                continue
            # A removal that never reached the disk leaves an older one on the same paths.
            older = owner.observations.get(observation.paths)
            if older is not None:
                del self._by_token[older.observation.token]
            live = LiveObservation(observation, ObservationState.ACTIVE)
            owner.observations[observation.paths] = live
            self._by_token[observation.token] = (owner, live)

    # Within

    def _adopt(self, device: Device, registration: Registration) -> None:
        self._release(device)
        device.registration = registration
        self._by_id[registration.id] = device
        self._by_peer[registration.peer] = device

    def _release(self, device: Device) -> None:
        before = device.registration
        if before is None:
            return
        self._by_id.pop(before.id, None)
        if self._by_peer.get(before.peer) is device:
            del self._by_peer[before.peer]
        device.registration = None

    def _end(self, device: Device, change: Change) -> Iterator[Effect]:
        registration = device.registration
        assert registration is not None
        self._release(device)
        yield RemoveRegistration(registration)
        yield from self._drop_observations(device)
        yield Announce(change, registration)
        yield from self._presence(device, PresenceEvent.GONE)

    def _heard(self, device: Device, moment: Moment) -> Effects:
        # A message is told of after its commit, when a later one may have been heard already.
        if moment.now >= device.heard_at:
            device.heard_at = moment.now
            device.heard_ms = moment.wall_ms
        if device.presence is Presence.ONLINE:
            return ()
        return self._presence(device, PresenceEvent.HEARD)

    def _presence(self, device: Device, event: PresenceEvent) -> Effects:
        after = PRESENCE_TRANSITIONS[device.presence, event]
        if after is device.presence:
            return ()
        device.presence = after
        return (PresenceChanged(device.endpoint, after),)

    def _drop_observations(self, device: Device) -> Iterator[RemoveObservation]:
        for paths in list(device.observations):
            yield self._forget(device, paths, ObservationEvent.CANCELLED)

    def _forget(self, device: Device, paths: tuple[Path, ...], event: ObservationEvent) -> RemoveObservation:
        live = device.observations.pop(paths)
        _observe_step(live, event)
        del self._by_token[live.observation.token]
        return RemoveObservation(live.observation.token)


def unknown_endpoint(endpoint: str) -> UsageError:
    """For who asks for an endpoint that is not listed."""
    return UsageError("endpoint_unknown", f"no endpoint {clean(endpoint)}", "check its name in the list")


def _advance(device: Device, event: RegistrationEvent) -> None:
    """Check the step against the table: an unlisted pair is a defect of ours and raises KeyError."""
    state = RegistrationState.UNREGISTERED if device.registration is None else RegistrationState.REGISTERED
    REGISTRATION_TRANSITIONS[state, event]


def _observe_step(live: LiveObservation, event: ObservationEvent) -> None:
    live.state = OBSERVATION_TRANSITIONS[live.state, event]


def _queue_mode(before: Registration, request: UpdateRequest) -> bool:
    """LwM2M 1.0 tells Queue Mode by the binding alone, so `b=U` ends it; since 1.1 `Q` stands apart."""
    if request.queue_mode is not None:
        return request.queue_mode
    return before.queue_mode and not (before.lwm2m_version == "1.0" and request.binding is not None)


def _repeats(before: Registration, origin: Origin) -> bool:
    return (before.peer, before.message_id, before.token) == (
        origin.peer,
        origin.message_id,
        origin.token,
    )


def _registration_id(entropy: bytes) -> str:
    """Ten lower-case characters from REGISTRATION_ID_BYTES random bytes."""
    if len(entropy) != REGISTRATION_ID_BYTES:
        raise ValueError(f"need {REGISTRATION_ID_BYTES} bytes of entropy, got {len(entropy)}")
    return base64.b32encode(entropy).decode().rstrip("=").lower()
