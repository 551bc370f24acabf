"""All devices of the box: what pages, the API and the command line ask of them.

Puts the parts together (intake, requests, onboarding) and watches the time. `intake.py` takes what
devices send; this module is for what we want of them.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from ..db.kept import Kept
from ..db.migrate import StoreError
from ..db.store import Store
from ..errors import ApplianceError, PeerError, UsageError, clean
from ..events import EventBus
from ..lwm2m.core import Core, Moment
from ..lwm2m.links import Link
from ..lwm2m.model import ModelSet
from ..lwm2m.observation import Observation
from ..lwm2m.paths import Path
from ..lwm2m.plain import from_plain
from ..lwm2m.presence import AWAKE_WINDOW_S, Presence
from ..lwm2m.registration import GRACE_S, MAX_PLAIN_ENDPOINTS, Registration
from ..lwm2m.values import DataType, Record
from ..lwm2m.watch import DEFAULT_WATCH_LIST
from .bootstrap import Bootstrap, BootstrapParts
from .credentials import Consequences, Credentials
from .identity import Door
from .intake import Intake, Reactions
from .onboarding import Onboarding, Steps
from .ports import DeviceSilent, Judge, Proof, Uplinks, Verdict, Wire
from .requests import Answered, DeviceRequests

TICK_S: Final = 1.0
HEARD_EVERY_TICKS: Final = 30
log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FleetOptions:
    """`watch_list` as `lwm2m.watch` reads it; `awake_window_s` of Queue Mode devices.

    `max_plain_endpoints` bounds the names without a credential.
    """

    watch_list: tuple[str, ...] = DEFAULT_WATCH_LIST
    awake_window_s: float = AWAKE_WINDOW_S
    max_plain_endpoints: int = MAX_PLAIN_ENDPOINTS


@dataclass(frozen=True, slots=True)
class OperationResult:
    """How an operation ended: CONFIRMED or FAILED, the CoAP code ("" without an answer), and what
    a Read or an Observe (`values`) or a Discover (`links`) brought."""

    status: str
    code: str
    values: tuple[Record, ...] = ()
    links: tuple[Link, ...] = ()
    message: str = ""
    hint: str = ""


class Fleet:
    """All devices. `uplinks` and `credentials` are for the wire; `start` needs the wire in return."""

    def __init__(
        self,
        store: Store,
        bus: EventBus,
        models: ModelSet,
        options: FleetOptions,
        clock: Callable[[], Moment],
    ) -> None:
        self._store = store
        self._models = models
        self._clock = clock
        self._core = Core(options.awake_window_s)
        self.credentials = Credentials(store, bus, clock)
        self.credentials.consequences = Consequences(
            guarded=self._guarded, carries=self._carries, ended=self._revoke, forgotten=self._core.forget
        )
        door = Door(self._core, self.credentials, options.max_plain_endpoints)
        self._intake = Intake(self._core, store, bus, door, models, clock)
        self._requests = DeviceRequests(self._core, clock)
        self._onboarding = Onboarding(
            self._core,
            models,
            options.watch_list,
            Steps(self.discover, self.read, self.observe, self._set_clock),
        )
        self.bootstrap = Bootstrap(
            BootstrapParts(
                store,
                bus,
                self.credentials,
                models.type_of,
                clock,
                perform=partial(self.perform, value=None, arguments=None),
                registration=self._registration,
                listens=lambda endpoint: self.presence(endpoint) == Presence.ONLINE,
            )
        )
        self._intake.reactions = Reactions(
            onboard=self._onboarding.start,
            awake=self._onboarding.resume,
            ended=self._ended,
            read_whole=self._read_whole,
            bootstrap=self.bootstrap.receive,
        )
        self._heard_written: dict[str, int] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: set[tuple[str, Path]] = set()

    @property
    def uplinks(self) -> Uplinks:
        return self._intake

    def start(self, kept: Kept, wire: Wire) -> None:
        """Take up what an earlier run kept and begin to watch the time."""
        moment = self._clock()
        self._core.restore(
            [_remaining(r, moment) for r in kept.registrations], kept.observations, kept.heard_ms
        )
        self.credentials.start(kept.credentials)
        for device in self._core:
            # The box may have gone down between a change of credentials and what follows from it.
            if device.registration is not None:
                guarded = self.credentials.has_any(device.endpoint)
                if guarded != bool(device.registration.session):
                    self._revoke(device.endpoint)
        self._heard_written = dict(kept.heard_ms)
        self._requests.attach(wire)
        self.bootstrap.start(kept.bootstrap_configs, wire)
        for device in self._core:
            self._onboarding.take_up(device.endpoint)
        self._ticker = asyncio.create_task(self._tick(), name="fleet tick")

    async def stop(self) -> None:
        tasks = [t for t in (self._ticker, *self._tasks) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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

    def _registration(self, endpoint: str) -> Registration | None:
        device = self._core.device(endpoint)
        return None if device is None else device.registration

    def proof(self, endpoint: str) -> Proof | None:
        """What the DTLS session proved that the device is registered by; None without one."""
        registration = self._registration(endpoint)
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

    # What can be asked of a device

    async def perform(
        self, endpoint: str, operation: str, path: Path, value: object | None, arguments: str | None
    ) -> OperationResult:
        """Do one operation now.

        `operation` is read, write, execute, discover, observe or write_attributes (`arguments` then
        is `pmin=10&pmax=60`). Raises UsageError where it makes no sense or the device is not
        registered; a device that does not answer, or with an error, makes a FAILED result.
        """
        try:
            answered = await self._operate(endpoint, operation, path, value, arguments or "")
        except (DeviceSilent, PeerError) as error:
            return OperationResult("FAILED", "", message=error.message, hint=error.hint)
        status = "CONFIRMED" if answered.success else "FAILED"
        return OperationResult(status, answered.code, answered.records, answered.links, answered.message)

    async def read(self, endpoint: str, path: Path) -> Answered:
        """Read, and keep what comes."""
        types = self._intake.types_of(endpoint)
        answered = await self._asked(endpoint, self._requests.read(endpoint, path, types))
        await self._keep(endpoint, answered)
        return answered

    async def discover(self, endpoint: str, path: Path) -> Answered:
        return await self._asked(endpoint, self._requests.discover(endpoint, path))

    async def observe(self, endpoint: str, path: Path) -> Answered:
        """Begin to observe a path, and keep its first value."""
        types = self._intake.types_of(endpoint)
        token = b""

        def prepare(observation: Observation) -> asyncio.Future[None]:
            nonlocal token
            token = observation.token
            return self._intake.apply(self._core.observe(observation))

        number: int | None = None
        try:
            answered, number = await self._asked(
                endpoint, self._requests.observe(endpoint, path, types, prepare)
            )
        finally:
            accepted = number is not None
            self._intake.apply(self._core.observation_answered(token, accepted))
        found = self._core.observed_by(token)
        if found is not None and number is not None:
            found[1].order.accept(number, self._clock().now)
        await self._keep(endpoint, answered)
        return answered

    async def _operate(
        self, endpoint: str, operation: str, path: Path, value: object | None, arguments: str
    ) -> Answered:
        _check_depth(operation, path)
        match operation:
            case "read":
                return await self.read(endpoint, path)
            case "discover":
                return await self.discover(endpoint, path)
            case "observe":
                return await self.observe(endpoint, path)
            case "write":
                return await self._write(endpoint, path, value)
            case "execute":
                return await self._asked(endpoint, self._requests.execute(endpoint, path, arguments))
            case _:
                query = [part for part in arguments.split("&") if part]
                return await self._asked(endpoint, self._requests.write_attributes(endpoint, path, query))

    async def _write(self, endpoint: str, path: Path, value: object | None) -> Answered:
        data_type = self._intake.types_of(endpoint)(path) or _natural(value)
        record = Record(path, from_plain(value, data_type), data_type)
        return await self._asked(endpoint, self._requests.write(endpoint, path, [record]))

    async def _set_clock(self, endpoint: str, path: Path) -> Answered:
        return await self._write(endpoint, path, self._clock().wall_ms // 1000)

    async def _asked(self, endpoint: str, request: Awaitable[T]) -> T:
        """Await a request; what it tells of the device's presence is taken down."""
        asked_at = self._clock().now
        try:
            answered = await request
        except DeviceSilent:
            self._intake.apply(self._core.unanswered(endpoint, asked_at))
            raise
        except PeerError:
            self._heard(endpoint)
            raise
        self._heard(endpoint)
        return answered

    def _heard(self, endpoint: str) -> None:
        device = self._core.device(endpoint)
        if device is not None:
            self._intake.heard(device, self._clock())

    async def _keep(self, endpoint: str, answered: Answered) -> None:
        if answered.records:
            await asyncio.shield(self._intake.keep(endpoint, answered.records))

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

    def _read_whole(self, endpoint: str, path: Path, judge: Judge) -> None:
        """A notification came with its first block only: read the rest, then acknowledge."""
        if (endpoint, path) in self._reading:
            judge(Verdict.SILENT)  # one at a time: the device sends this one again
            return
        self._reading.add((endpoint, path))

        async def read() -> None:
            verdict = Verdict.SILENT
            try:
                await self.read(endpoint, path)
                verdict = Verdict.TAKEN
            except ApplianceError as error:
                log.info(
                    "large notification not read",
                    extra={"ENDPOINT": endpoint, "PATH": str(path), "ERROR_CODE": error.code},
                )
            finally:
                self._reading.discard((endpoint, path))
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


# How many numbers a path has that an operation makes sense on (LwM2M Core 1.1.1 6.3); an Execute of
# an instance would be a Write, one of an object a Create: CoAP tells them apart by the path alone.
_DEPTHS: Final[Mapping[str, tuple[int, ...]]] = {
    "read": (1, 2, 3, 4),
    "discover": (1, 2, 3),
    "observe": (1, 2, 3, 4),
    "write": (3, 4),
    "execute": (3,),
    "write_attributes": (1, 2, 3, 4),
}
_LEVELS: Final = ("the root", "an object", "an instance", "a resource", "a resource instance")


def _check_depth(operation: str, path: Path) -> None:
    depths = _DEPTHS.get(operation)
    if depths is None:
        raise UsageError(
            "operation_unknown", f"no operation {clean(operation)!r}", f"use one of {', '.join(_DEPTHS)}"
        )
    if len(path) not in depths:
        fit = " or ".join(_LEVELS[depth] for depth in depths)
        raise UsageError(
            "path_invalid",
            f"{path} is {_LEVELS[len(path)]}, which {operation} does not work on",
            f"name {fit}, such as {Path((3, 0, 1, 0)[: depths[0]])}",
        )


def _remaining(registration: Registration, moment: Moment) -> Registration:
    """A kept registration's expiry in this run's time.

    While the box was off no device could update: each gets at least the grace anew, and none more
    than its whole lifetime, however the wall clock has jumped.
    """
    left_s = (registration.expires_at - moment.wall_ms) / 1000
    left_s = min(max(left_s, 0.0), float(registration.lifetime_s))
    return replace(registration, expires_at=moment.now + left_s + GRACE_S)


def _natural(value: object) -> DataType:
    """The data type that a JSON value is written as where no model knows the resource."""
    if isinstance(value, bool):
        return DataType.BOOLEAN
    if isinstance(value, int):
        return DataType.INTEGER
    return DataType.FLOAT if isinstance(value, float) else DataType.STRING
