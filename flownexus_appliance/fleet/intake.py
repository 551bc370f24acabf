"""Takes what devices send: the core decides, the store keeps, and then the device is answered.

The order is always the same. What must persist is gathered, the commit is awaited, and only then the
device gets its answer and the world is told. When a commit fails the device gets no answer and sends
again; the core takes a repetition as it took the first. What ended for good cannot be repeated, so
that is owed to the disk and the world until a commit succeeds.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..db.migrate import StoreError
from ..db.store import Store
from ..db.writer import when_done
from ..errors import PeerError
from ..events import EventBus
from ..lwm2m import codecs
from ..lwm2m.core import REGISTRATION_ID_BYTES, Core, Device, LiveObservation, Moment, Origin
from ..lwm2m.effects import (
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
    Report,
    Source,
    Success,
)
from ..lwm2m.model import ModelSet
from ..lwm2m.observation import Freshness, Observation, ObservationEvent
from ..lwm2m.paths import Path
from ..lwm2m.requests import named_endpoint, parse_register, parse_update
from ..lwm2m.values import Record, TypeLookup
from .identity import NOTIFY, Door
from .ports import Action, Judge, Notification, ObservationShown, Respond, Sender, Uplink, Verdict
from .telemetry import Telemetry

_HEARD: Final = frozenset({Change.REGISTERED, Change.UPDATED})
_ENDS: Final = frozenset({Change.DEREGISTERED, Change.EXPIRED, Change.REVOKED})
_BOOTSTRAPS: Final = frozenset({Action.BOOTSTRAP, Action.BOOTSTRAP_PACK})
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reactions:
    """What else a device's message sets off, filled in by the fleet.

    `registered` is told of a Register that is no repetition, `awake` of every message of a device, after its
    commit. `bootstrap` takes over a request of an endpoint that may make it, and answers it.
    """

    registered: Callable[[str], None]
    onboard: Callable[[str], None]
    awake: Callable[[str], None]
    ended: Callable[[str], None]
    read_whole: Callable[[Observation, Judge], None]
    bootstrap: Callable[[str, Uplink, Respond], None]


class Intake:
    """The fleet's `Uplinks`: requests and notifications of devices."""

    reactions: Reactions

    def __init__(
        self,
        core: Core,
        store: Store,
        bus: EventBus,
        door: Door,
        models: ModelSet,
        clock: Callable[[], Moment],
    ) -> None:
        self._core = core
        self._store = store
        self._bus = bus
        self._door = door
        self._models = models
        self._clock = clock
        self._telemetry = Telemetry(store, bus)
        self._types: dict[str, TypeLookup] = {}
        self._owed: Effects = ()
        self._adrift: set[str] = set()

    def receive(self, uplink: Uplink, respond: Respond) -> None:
        """See `ports.Uplinks`."""
        moment = self._clock()
        try:
            if uplink.action is Action.SEND:
                self._send(uplink, moment, respond)
            elif uplink.action in _BOOTSTRAPS:
                self._bootstrap(uplink, respond)
            else:
                self.apply(self._registration(uplink, moment), respond)
        except PeerError as error:
            respond(error)
        except StoreError:
            respond(None)

    def notified(self, notification: Notification, judge: Judge) -> None:
        """See `ports.Uplinks`."""
        found = self._core.observed_by(notification.token)
        if found is None or found[0].registration is None:
            judge(Verdict.REFUSED)
            return
        device, live = found
        sender = notification.sender
        try:
            self._door.check(NOTIFY, sender, device.endpoint)
        except PeerError:
            # An address may be anybody's; who has proved to be another shall drop the observation.
            judge(Verdict.REFUSED if sender.secure else Verdict.SILENT)
            return
        if not sender.secure and found[0].registration.peer != sender.peer:
            # Without a session an address is all that tells who speaks; a device that moved
            # registers anew when its notification stays unanswered.
            log.info(
                "notification from a foreign address",
                extra={"ENDPOINT": device.endpoint, "PEER": sender.address},
            )
            judge(Verdict.SILENT)
            return
        try:
            moved = self._follow(device, sender, self._clock())
            self._notification(
                device, live, notification, judge if moved is None else _judge_after(moved, judge)
            )
        except StoreError:
            judge(Verdict.SILENT)

    def types_of(self, endpoint: str) -> TypeLookup:
        """Data types by the object versions that the device registered."""
        types = self._types.get(endpoint)
        if types is None:
            device = self._core.device(endpoint)
            if device is None or device.registration is None:
                return self._models.with_versions({})
            versions = {n: o.version for n, o in device.registration.objects.items() if o.version}
            types = self._types[endpoint] = self._models.with_versions(versions)
        return types

    def keep(
        self,
        endpoint: str,
        records: Sequence[Record],
        source: Source,
        paths: tuple[Path, ...] = (),
        *,
        composite: bool = False,
    ) -> asyncio.Future[None]:
        """Keep what a device told by no message of its own; done when it is on disk."""
        report = Report(endpoint, source, tuple(records), self._clock().wall_ms, paths, composite)
        done = self._telemetry.take(report)
        when_done(done, lambda: self._telemetry.publish(report))
        return done

    def heard(self, device: Device, moment: Moment) -> None:
        """The device has sent something."""
        for effect in self._core.heard(device, moment):
            self._tell(effect)
        self.reactions.awake(device.endpoint)

    def apply(self, effects: Effects, respond: Respond | None = None) -> asyncio.Future[None]:
        """Do what the core wants done: first the disk, then the answer, then the world."""
        effects, self._owed = self._owed + effects, ()
        try:
            for effect in effects:
                self._persist(effect)
            done = self._store.commit()
        except StoreError:
            self._owe(effects)
            raise

        def settle() -> None:
            for effect in effects:
                if isinstance(effect, Reply) and respond is not None:
                    respond(effect)
            for effect in effects:
                self._tell(effect)

        def lost() -> None:
            self._owe(effects)
            if respond is not None:
                respond(None)

        when_done(done, settle, lost)
        return done

    def tell_observation(self, endpoint: str, paths: tuple[Path, ...], state: ObservationShown) -> None:
        """Tell the world how an observation stands now."""
        told = {"endpoint": endpoint, "paths": [str(path) for path in paths], "state": state.value}
        self._bus.publish("observation", told)

    # Within

    def _owe(self, effects: Effects) -> None:
        """Keep what no device will repeat for the next call of `apply`; the clock makes one a second."""
        self._owed += tuple(filter(_is_final, effects))

    def _registration(self, uplink: Uplink, moment: Moment) -> Effects:
        sender = uplink.sender
        if uplink.action is Action.REGISTER:
            request = parse_register(uplink.query, uplink.payload, sender.endpoint)
            self._door.check(Action.REGISTER, sender, request.endpoint)
            origin = Origin(sender.address, uplink.message_id, uplink.token, sender.session)
            return self._core.register(request, origin, moment, secrets.token_bytes(REGISTRATION_ID_BYTES))
        self._door.check(uplink.action, sender, self._core.registered(uplink.registration_id).endpoint)
        if uplink.action is Action.UPDATE:
            update = parse_update(uplink.query, uplink.payload)
            return self._core.update(uplink.registration_id, update, sender.address, moment, sender.session)
        return self._core.deregister(uplink.registration_id, moment)

    def _bootstrap(self, uplink: Uplink, respond: Respond) -> None:
        endpoint = named_endpoint(uplink.query, uplink.sender.endpoint)
        self._door.check(uplink.action, uplink.sender, endpoint)
        self.reactions.bootstrap(endpoint, uplink, respond)

    def _send(self, uplink: Uplink, moment: Moment, respond: Respond) -> None:
        """Send (LwM2M Core 1.1.1 6.4.6): the peer tells whose values these are."""
        sender = uplink.sender
        device = self._core.device(sender.endpoint) if sender.endpoint else self._core.device_at(sender.peer)
        self._door.check(Action.SEND, sender, device.endpoint if device else sender.endpoint or "")
        if device is None or device.registration is None:
            raise PeerError("sender_unknown", "Send without a registration", "register first")
        try:
            records = self._decode(device, uplink.content_format, uplink.payload, Path.ROOT, moment)
        except PeerError:
            self.heard(device, moment)
            raise
        self._follow(device, sender, moment)
        report = Report(device.endpoint, Source.SEND, records, moment.wall_ms)
        self._take(device, report, moment, lambda: respond(Reply(Success.CHANGED)), lambda: respond(None))

    def _follow(self, device: Device, sender: Sender, moment: Moment) -> asyncio.Future[None] | None:
        """Gather that a device speaks by another session now; None where that is nothing new.

        The core has moved by the time a commit fails: what is not on disk is `_adrift`, and gathered
        again with the next message.
        """
        if not sender.secure:
            return None
        if self._core.follow(device, sender.address, sender.session):
            self._adrift.add(device.endpoint)
        if device.endpoint not in self._adrift or device.registration is None:
            return None
        self._store.put_registration(device.registration)
        self._store.put_heard({device.endpoint: moment.wall_ms})
        done = self._store.commit()
        when_done(done, lambda: self._adrift.discard(device.endpoint))
        return done

    def _notification(
        self, device: Device, live: LiveObservation, notification: Notification, judge: Judge
    ) -> None:
        moment = self._clock()
        number = notification.observe
        if not notification.success or number is None:
            # RFC 7641 3.2: an error, or a response without the option, is the last one.
            log.info(
                "observation ended by the device",
                extra={"ENDPOINT": device.endpoint, "COAP_CODE": notification.code},
            )
            done = self.apply(self._core.cancel(notification.token, ObservationEvent.FAILED))
            self.tell_observation(device.endpoint, live.observation.paths, ObservationShown.WAITING)

            def ended() -> None:
                judge(Verdict.TAKEN)
                self.heard(device, moment)

            when_done(done, ended, lambda: judge(Verdict.SILENT))
            return
        if self._core.notified(live, number, moment.now) is not Freshness.NEW:
            self.heard(device, moment)
            judge(Verdict.TAKEN)
            return

        def judged(verdict: Verdict) -> None:
            if verdict is Verdict.TAKEN:
                live.order.accept(number, moment.now)
            judge(verdict)

        if notification.partial:
            self.reactions.read_whole(live.observation, judged)
            return
        observation = live.observation
        base = observation.base
        try:
            records = self._decode(device, notification.content_format, notification.payload, base, moment)
        except PeerError as error:
            log.warning(
                "notification not understood",
                extra={"ENDPOINT": device.endpoint, "PATH": str(base), "ERROR_CODE": error.code},
            )
            # Acknowledged all the same: sending it again would not make it better.
            self.heard(device, moment)
            judge(Verdict.TAKEN)
            return
        report = Report(
            device.endpoint,
            Source.NOTIFY,
            records,
            moment.wall_ms,
            observation.paths,
            observation.composite,
        )
        self._take(device, report, moment, lambda: judged(Verdict.TAKEN), lambda: judged(Verdict.SILENT))

    def _decode(
        self,
        device: Device,
        content_format: int | None,
        payload: bytes,
        base: Path,
        moment: Moment,
    ) -> tuple[Record, ...]:
        if content_format is None:
            raise PeerError("content_format_unsupported", "no Content-Format", "send SenML CBOR (112)")
        return codecs.decode(
            content_format,
            payload,
            base=base,
            types=self.types_of(device.endpoint),
            now_ms=moment.wall_ms,
        )

    def _take(
        self,
        device: Device,
        report: Report,
        moment: Moment,
        taken: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        done = self._telemetry.take(report)

        def settle() -> None:
            taken()
            self._telemetry.publish(report)
            self.heard(device, moment)

        when_done(done, settle, lost)

    def _persist(self, effect: Effect) -> None:
        match effect:
            case PersistRegistration(registration):
                self._types.pop(registration.endpoint, None)
                self._store.put_registration(registration)
            case RemoveRegistration(registration):
                self._types.pop(registration.endpoint, None)
                self._store.remove_registration(registration)
            case PersistObservation(observation):
                self._store.put_observation(observation)
            case RemoveObservation(token):
                self._store.remove_observation(token)

    def _tell(self, effect: Effect) -> None:
        match effect:
            case Announce(change, registration, before):
                log.info(
                    change.value,
                    extra={
                        "ENDPOINT": registration.endpoint,
                        "REGISTRATION_ID": registration.id,
                        "PEER": registration.address,
                    },
                )
                self._bus.publish(
                    "registration",
                    {
                        "endpoint": registration.endpoint,
                        "change": change.value,
                        "registration_id": registration.id,
                        "address": registration.address,
                        "time_ms": self._clock().wall_ms,
                    },
                    effect,
                )
                if change is Change.REGISTERED and (before is None or before.id != registration.id):
                    self.reactions.registered(registration.endpoint)
                if change in _HEARD:
                    self.reactions.awake(registration.endpoint)
                elif change in _ENDS:
                    self.reactions.ended(registration.endpoint)
            case PresenceChanged(endpoint, presence):
                self._bus.publish(
                    "presence",
                    {
                        "endpoint": endpoint,
                        "presence": presence.value,
                        "time_ms": self._clock().wall_ms,
                    },
                )
            case Onboard(endpoint):
                self.reactions.onboard(endpoint)


def _is_final(effect: Effect) -> bool:
    match effect:
        case RemoveRegistration() | RemoveObservation() | PresenceChanged():
            return True
        case Announce(change):
            return change in _ENDS
    return False


def _judge_after(done: asyncio.Future[None], judge: Judge) -> Judge:
    """Pass a verdict on when a commit is on disk; where it failed the device gets none."""

    def wait(verdict: Verdict) -> None:
        when_done(done, lambda: judge(verdict), lambda: judge(Verdict.SILENT))

    return wait
