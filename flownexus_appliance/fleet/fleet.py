"""All devices of the box: what pages, the API and the command line ask of them.

Puts the parts together (intake, requests, onboarding) and watches the time. `intake.py` takes what
devices send; this module is for what we want of them.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from ..db.firmware_reads import RunningRow
from ..db.kept import Kept
from ..db.migrate import StoreError
from ..db.operations import EndpointOperation
from ..db.store import Store
from ..errors import ApplianceError, UsageError, clean
from ..events import EventBus
from ..lwm2m.core import Core, Moment, unknown_endpoint
from ..lwm2m.effects import Source
from ..lwm2m.model import ModelSet
from ..lwm2m.observation import Observation
from ..lwm2m.operations import Kind, Operation
from ..lwm2m.paths import Path
from ..lwm2m.presence import AWAKE_WINDOW_S, Presence
from ..lwm2m.registration import GRACE_S, MAX_PLAIN_ENDPOINTS, Registration
from ..lwm2m.requests import check_endpoint
from ..lwm2m.values import DataType, Record
from ..lwm2m.watch import DEFAULT_WATCH_LIST, expand_watch_list
from .bootstrap import Bootstrap, BootstrapParts
from .credentials import Consequences, Credentials
from .firmware.box import FirmwareBox, FirmwareParts, Inventory
from .firmware.offers import Offers
from .identity import Door
from .intake import Intake, Reactions
from .noted import label_of, notes_of, tags_of
from .onboarding import Onboarding
from .operations import Operations, Recall
from .performer import Performer
from .ports import Judge, ObservationShown, Proof, Uplinks, Verdict, Wire
from .requests import Answered, DeviceRequests
from .wanted import Wanted

TICK_S: Final = 1.0
# Longer than any request takes whose device answers nothing.
ASK_NOW_S: Final = 120.0
MAX_WINDOW_S: Final = 86_400
# Who wants it, where no person does.
WATCH_LIST: Final = "watch list"
BOX: Final = "box"
HEARD_EVERY_TICKS: Final = 30
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """`watch_list` as `lwm2m.watch` reads it; `awake_window_s` of Queue Mode devices.

    `max_plain_endpoints` bounds the names without a credential. `offers` are the ways of firmware packages;
    an update may go without progress, and a device stay away while it installs, for so many seconds.
    """

    watch_list: tuple[str, ...] = DEFAULT_WATCH_LIST
    awake_window_s: float = AWAKE_WINDOW_S
    max_plain_endpoints: int = MAX_PLAIN_ENDPOINTS
    offers: Offers = field(default_factory=Offers)
    patience_s: float = 1800.0
    comeback_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Reporting:
    """See `http.ports.Reporting`."""

    paths: tuple[Path, ...]
    composite: bool
    state: str
    asked_by: str
    since_ms: int


async def _nothing_runs() -> Sequence[RunningRow]:
    return ()


class Fleet:
    """All devices. `uplinks` and `credentials` are for the wire; `start` needs the wire in return."""

    def __init__(
        self,
        store: Store,
        bus: EventBus,
        models: ModelSet,
        options: FleetOptions,
        recall: Recall,
        clock: Callable[[], Moment],
        inventory: Inventory = _nothing_runs,
    ) -> None:
        self._store = store
        self._models = models
        self._watch_list = options.watch_list
        self._clock = clock
        self._core = Core(options.awake_window_s)
        self.credentials = Credentials(store, bus, clock)
        self.credentials.consequences = Consequences(
            guarded=self._guarded, carries=self._carries, ended=self._revoke, forgotten=self._core.forget
        )
        door = Door(self._core, self.credentials, options.max_plain_endpoints)
        self._intake = Intake(self._core, store, bus, door, models, clock)
        self._requests = DeviceRequests(self._core, clock)
        self._performer = Performer(self._core, self._intake, self._requests, clock)
        self._wanted = Wanted(store, self._watched, self._listed)
        self.operations = Operations(
            self._core,
            store,
            bus,
            models,
            self._wanted,
            self._performer.perform,
            recall,
            clock,
            self._requests.transferring,
        )
        self._onboarding = Onboarding(
            self._core, self._wanted.operations, self.operations.idle, self._perform, clock
        )
        self.bootstrap = Bootstrap(
            BootstrapParts(
                store,
                bus,
                self.credentials,
                models.type_of,
                clock,
                ask=self._ask_now,
                registration=self.registration,
                listens=lambda endpoint: self.presence(endpoint) == Presence.ONLINE,
            )
        )
        self.firmware = FirmwareBox(
            FirmwareParts(
                store,
                bus,
                self._core,
                self.operations,
                self._performer,
                self._perform,
                self._watched,
                inventory,
                clock,
                options.offers,
                options.patience_s,
                options.comeback_s,
            )
        )
        self._intake.reactions = Reactions(
            registered=self._registered,
            onboard=self._onboarding.start,
            awake=self._awake,
            ended=self._ended,
            read_whole=self._read_whole,
            bootstrap=self.bootstrap.receive,
        )
        self._heard_written: dict[str, int] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: set[bytes] = set()

    @property
    def uplinks(self) -> Uplinks:
        return self._intake

    def start(self, kept: Kept, wire: Wire) -> None:
        """Take up what an earlier run kept and begin to watch the time."""
        moment = self._clock()
        self._core.restore(
            [_remaining(r, moment) for r in kept.registrations],
            kept.observations,
            kept.heard_ms,
            kept.awake_windows_s,
        )
        self._wanted.start(kept.wanted_observations, kept.wanted_attributes)
        self.credentials.start(kept.credentials)
        for device in self._core:
            # The box may have gone down between a change of credentials and what follows from it.
            if device.registration is not None:
                guarded = self.credentials.has_any(device.endpoint)
                if guarded != bool(device.registration.session):
                    self._revoke(device.endpoint)
        self._heard_written = dict(kept.heard_ms)
        self._requests.attach(wire)
        self.firmware.attach(wire)
        self.operations.start(kept.operations)
        self.bootstrap.start(kept.bootstrap_configs, wire)
        for device in self._core:
            self._onboarding.take_up(device.endpoint)
        self._ticker = asyncio.create_task(self._tick(), name="fleet tick")

    async def stop(self) -> None:
        tasks = [t for t in (self._ticker, *self._tasks) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.firmware.stop()
        await self.operations.stop()
        await self._onboarding.stop()
        await self.bootstrap.stop()
        try:
            self._write_heard()
            self.credentials.write_uses()
        except StoreError as error:
            log.warning("presence not kept", extra={"ERROR_CODE": error.code})

    # What is known

    def presence(self, endpoint: str) -> str:
        """ "online", "sleeping" or "offline"."""
        device = self._core.device(endpoint)
        return (Presence.OFFLINE if device is None else device.presence).value

    def heard_ms(self, endpoint: str) -> int | None:
        """When the device was last heard, in ms since 1970 UTC; None where it never was."""
        device = self._core.device(endpoint)
        return None if device is None else device.heard_ms or None

    def proof(self, endpoint: str) -> Proof | None:
        """What the DTLS session proved that the device is registered by; None without one."""
        registration = self.registration(endpoint)
        return None if registration is None else self._store.session_proof(registration.session)

    def observed(self, endpoint: str) -> frozenset[Path]:
        """The paths that the device reports by itself."""
        device = self._core.device(endpoint)
        if device is None:
            return frozenset()
        return frozenset(path for paths in device.observations for path in paths)

    def counts(self) -> dict[str, int]:
        """How many devices are in each state of presence."""
        counted = Counter(device.presence for device in self._core)
        return {presence.value: counted[presence] for presence in Presence}

    def onboarding(self) -> int:
        """How many devices are being onboarded now."""
        return self._onboarding.busy()

    def registration(self, endpoint: str) -> Registration | None:
        """The live registration, None where there is none."""
        device = self._core.device(endpoint)
        return None if device is None else device.registration

    def registrations(self) -> list[Registration]:
        """All live ones, by endpoint."""
        live = [device.registration for device in self._core if device.registration is not None]
        return sorted(live, key=lambda registration: registration.endpoint)

    def type_of(self, endpoint: str, path: Path) -> DataType | None:
        """The data type at a path, by the version of its object that the device registered."""
        return self._intake.types_of(endpoint)(path)

    def attributes(self, endpoint: str) -> Mapping[Path, Mapping[str, str]]:
        """What was set by Write-Attributes, and is written back after each registration."""
        return self._wanted.attributes(endpoint)

    def reporting(self, endpoint: str) -> list[Reporting]:
        """What the device is wanted to report, and whether it does, by path."""
        device = self._core.device(endpoint)
        if device is None:
            return []
        said = {one.paths: one for one in self._wanted.observations(endpoint)}
        watched = {(path,) for path in self._watched(endpoint)}
        refused = self._onboarding.refused(endpoint)
        found = []
        for paths in sorted({*device.observations, *said, *watched}):
            one, live = said.get(paths), device.observations.get(paths)
            if live is not None:
                state = ObservationShown.ACTIVE
            elif one is not None and not one.wanted:
                state = ObservationShown.OFF
            else:
                state = ObservationShown.REFUSED if paths in refused else ObservationShown.WAITING
            kept = live.observation if live is not None else None
            found.append(
                Reporting(
                    paths=paths,
                    composite=kept.composite if kept is not None else one is not None and one.composite,
                    state=state.value,
                    asked_by=WATCH_LIST if one is None else one.asked_by,
                    since_ms=one.since_ms if one is not None else kept.created_ms if kept is not None else 0,
                )
            )
        return found

    # What can be changed

    async def configure(
        self,
        endpoint: str,
        *,
        label: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        awake_window_s: float | None = None,
    ) -> None:
        """See `http.ports.Fleet.configure`."""
        if not self._store.knows(endpoint):
            raise unknown_endpoint(endpoint)
        # All of it is looked at before any of it is kept.
        label = None if label is None else label_of(label)
        notes = None if notes is None else notes_of(notes)
        tags = None if tags is None else tags_of(tags)
        if awake_window_s is not None and awake_window_s and not 1 <= awake_window_s <= MAX_WINDOW_S:
            raise UsageError(
                "awake_window_invalid",
                f"{awake_window_s:g} s is no awake window",
                f"give seconds from 1 to {MAX_WINDOW_S}, or 0 for the one configured",
            )
        if label is not None:
            self._store.put_label(endpoint, label)
        if notes is not None:
            self._store.put_notes(endpoint, notes)
        if tags is not None:
            self._store.put_tags(endpoint, tags)
        if awake_window_s is not None:
            self._store.put_awake_window(endpoint, awake_window_s or None)
        await asyncio.shield(self._store.commit())
        device = self._core.device(endpoint)
        if awake_window_s is not None and device is not None:
            device.awake_window_s = awake_window_s or None
            self.operations.wake(endpoint)  # it may listen by what counts from now on

    async def ingest(self, endpoint: str, records: Sequence[Record]) -> None:
        """See `http.ports.Fleet.ingest`."""
        check_endpoint(endpoint, UsageError)
        moment = self._clock()
        self._store.put_endpoint(endpoint, moment.wall_ms)
        self._core.know(endpoint)
        device = self._core.device(endpoint)
        if device is not None:
            device.heard_ms = max(device.heard_ms, moment.wall_ms)  # as the file says after a restart
        await asyncio.shield(self._intake.keep(endpoint, records, Source.INGEST))

    # What the box asks of a device

    async def _perform(self, endpoint: str, operation: Operation) -> Answered:
        """For the onboarding: what comes is on disk."""
        answered = await self._performer.perform(endpoint, operation)
        if answered.records:
            await asyncio.shield(self._store.commit())
        return answered

    async def _ask_now(self, endpoint: str, operation: Operation) -> EndpointOperation:
        """For the bootstrap: of a device that listens, and for no longer than it does."""
        presence = self.presence(endpoint)
        if self._core.device(endpoint) is not None and presence != Presence.ONLINE:
            offline = presence == Presence.OFFLINE
            raise UsageError(
                "endpoint_offline" if offline else "endpoint_asleep",
                f"{clean(endpoint)} {'is not registered' if offline else 'sleeps'}",
                "wait until the device registers again" if offline else "try again when it is awake",
            )
        asked = await self.operations.ask(endpoint, operation, BOX, checked=False)
        done = await self.operations.finished(asked.id, ASK_NOW_S)
        return done if done.done else await self.operations.cancel(done.id)

    def _watched(self, endpoint: str) -> tuple[Path, ...]:
        """What the watch list finds on a device as it is registered."""
        registration = self.registration(endpoint)
        if registration is None:
            return ()
        return expand_watch_list(self._watch_list, registration.instances, self._models)

    def _listed(self, path: Path) -> bool:
        """Whether the watch list names a path, on a device that has it."""
        if len(path) != 3:
            return False
        return path in expand_watch_list(self._watch_list, {path[0]: (path[1],)}, self._models)

    # What a change of credentials sets off

    def _guarded(self, endpoint: str) -> None:
        """An endpoint has its first credential: what came by plain CoAP in its name may be anybody's."""
        self._core.know(endpoint)
        self._revoke(endpoint)

    def _carries(self, endpoint: str, proof: Proof) -> bool:
        """Whether an endpoint's registration rests on a session of this proof, or may."""
        device = self._core.device(endpoint)
        if device is None or device.registration is None:
            return False
        return self._store.session_proof(device.registration.session) in (proof, None)

    def _revoke(self, endpoint: str) -> None:
        # The intake owes it to the disk where that takes no writes now.
        with suppress(StoreError):
            self._intake.apply(self._core.revoke(endpoint))

    # What happens by itself

    def _ended(self, endpoint: str) -> None:
        device = self._core.device(endpoint)
        if device is None or device.registration is None:
            self._onboarding.forget(endpoint)

    def _registered(self, endpoint: str) -> None:
        self._requests.break_off(endpoint)
        self.firmware.registered(endpoint)

    def _awake(self, endpoint: str) -> None:
        self.operations.wake(endpoint)
        self._onboarding.resume(endpoint)
        self.firmware.wake(endpoint)

    def _read_whole(self, observation: Observation, judge: Judge) -> None:
        """A notification came with its first block only: read the rest, then acknowledge."""
        if observation.token in self._reading:
            judge(Verdict.SILENT)  # one at a time: the device sends this one again
            return
        self._reading.add(observation.token)
        endpoint = observation.endpoint
        kind = Kind.READ_COMPOSITE if observation.composite else Kind.READ

        async def read() -> None:
            verdict = Verdict.SILENT
            try:
                await self._performer.perform(endpoint, Operation(kind, observation.paths), Source.NOTIFY)
                await asyncio.shield(self._store.commit())
                verdict = Verdict.TAKEN
            except ApplianceError as error:
                log.info(
                    "large notification not read",
                    extra={
                        "ENDPOINT": endpoint,
                        "PATH": str(observation.paths[0]),
                        "ERROR_CODE": error.code,
                    },
                )
            finally:
                self._reading.discard(observation.token)
                judge(verdict)

        self._spawn(read())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            ticks += 1
            self._on_time(self.credentials.tick)
            self._on_time(lambda moment: self._intake.apply(self._core.tick(moment)))
            self._on_time(self.operations.tick)
            self._on_time(self.firmware.tick)
            self._on_time(self.bootstrap.tick)  # after the core: who sleeps by now is not asked
            if ticks % HEARD_EVERY_TICKS == 0:
                self._on_time(lambda _: self._write_heard())

    def _on_time(self, step: Callable[[Moment], object]) -> None:
        try:
            step(self._clock())
        except StoreError as error:
            log.warning("tick not kept", extra={"ERROR_CODE": error.code})
        except Exception:
            # A defect must not stop the clock: registrations would never expire again.
            log.exception("tick failed")

    def _write_heard(self) -> None:
        """Keep when devices were last heard: a row for those that spoke since the last time."""
        changed = {
            device.endpoint: device.heard_ms
            for device in self._core
            if device.heard_ms and self._heard_written.get(device.endpoint) != device.heard_ms
        }
        if changed:
            self._store.put_heard(changed)
            self._store.commit()
            self._heard_written.update(changed)


def _remaining(registration: Registration, moment: Moment) -> Registration:
    """A kept registration's expiry in this run's time.

    While the box was off no device could update: each gets at least the grace anew, and none more
    than its whole lifetime, however the wall clock has jumped.
    """
    left_s = (registration.expires_at - moment.wall_ms) / 1000
    left_s = min(max(left_s, 0.0), float(registration.lifetime_s))
    return replace(registration, expires_at=moment.now + left_s + GRACE_S)
