"""Gets to know a device after each registration: Discover, Read /3, observe what is wanted of it.

A Register resets a client's observations (LwM2M Core 1.1.1 6.2.1), so this happens every time. In
the background, many devices at once but one request a device, a little apart so that a fleet which
comes back after a power cut does not speak all at once. What a sleeping device left undone goes on
when it is heard again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..errors import ApplianceError, PeerError
from ..lwm2m.core import Core, Moment
from ..lwm2m.operations import Kind, Operation
from ..lwm2m.paths import Path
from ..lwm2m.presence import Presence
from ..lwm2m.values import DataType, Record
from .pace import Pace
from .requests import Answered

AT_ONCE: Final = 64
# Between the beginnings of two: a thousand devices take five seconds.
GAP_S: Final = 0.005
SENSOR_VALUE: Final = 5700
SENSOR_UNITS: Final = 5701
DEVICE: Final = Path((3,))
DEVICE_INSTANCE: Final = Path((3, 0))
CURRENT_TIME: Final = Path((3, 0, 13))
CLOCK_SET_S: Final = 1_577_836_800  # 2020-01-01: a device that says earlier has no clock
_WISHES: Final = frozenset({Kind.OBSERVE, Kind.OBSERVE_COMPOSITE, Kind.WRITE_ATTRIBUTES})
log = logging.getLogger(__name__)


# What the box asks; done when what came is on disk.
Perform = Callable[[str, Operation], Awaitable[Answered]]


@dataclass(slots=True)
class _Progress:
    """How far a device's onboarding got."""

    todo: list[Operation]
    task: asyncio.Task[None] | None = None
    refused: list[Operation] = field(default_factory=list)


class Onboarding:
    """Runs the steps for each device; `start(endpoint)` begins anew, `resume(endpoint)` goes on.

    `wanted` are the observations and attributes of a device, the watch list among them; `idle` waits until
    people's operations on it have been sent, which go first.
    """

    def __init__(
        self,
        core: Core,
        wanted: Callable[[str], Sequence[Operation]],
        idle: Callable[[str], Awaitable[None]],
        perform: Perform,
        clock: Callable[[], Moment],
    ) -> None:
        self._core = core
        self._wanted = wanted
        self._idle = idle
        self._perform = perform
        self._clock = clock
        self._progress: dict[str, _Progress] = {}
        self._known_units: set[tuple[str, Path]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._pace = Pace(GAP_S)
        self._stopped = False

    def start(self, endpoint: str) -> None:
        """Begin anew: the device has registered."""
        self.forget(endpoint)
        device = self._core.device(endpoint)
        if device is None or device.registration is None:
            return
        todo: list[Operation] = []
        if DEVICE[0] in device.registration.instances:
            todo += [Operation(Kind.DISCOVER, (DEVICE,)), Operation(Kind.READ, (DEVICE_INSTANCE,))]
        for operation in self._wanted(endpoint):
            todo.append(operation)
            path = operation.path
            if operation.kind is not Kind.OBSERVE or len(path) < 3:
                continue
            units = path.resource.parent.child(SENSOR_UNITS)
            if path[2] == SENSOR_VALUE and (endpoint, units) not in self._known_units:
                todo.append(Operation(Kind.READ, (units,)))
        self._progress[endpoint] = _Progress(todo)
        self.resume(endpoint)

    def take_up(self, endpoint: str) -> None:
        """After a restart: when the device is next heard, observe what is wanted and is not observed yet.

        The restart may have cut its onboarding short, or the watch list may have grown.
        """
        device = self._core.device(endpoint)
        if device is None or device.registration is None:
            return
        wanted = self._wanted(endpoint)
        missing = [
            operation
            for operation in wanted
            if operation.kind is not Kind.WRITE_ATTRIBUTES and operation.paths not in device.observations
        ]
        if missing:
            # Nobody knows whether the attributes were written before the box went down.
            todo = [o for o in wanted if o.kind is Kind.WRITE_ATTRIBUTES] + missing
            if any(DEVICE.covers(path) for operation in missing for path in operation.paths):
                todo.insert(0, Operation(Kind.DISCOVER, (DEVICE,)))
            self._progress[endpoint] = _Progress(todo)

    def resume(self, endpoint: str) -> None:
        """Go on where the device stopped answering; nothing to do is no error."""
        progress = self._progress.get(endpoint)
        if progress is not None and progress.todo and progress.task is None and not self._stopped:
            progress.task = asyncio.create_task(self._run(endpoint, progress), name=f"onboarding {endpoint}")
            self._tasks.add(progress.task)
            progress.task.add_done_callback(self._tasks.discard)

    def forget(self, endpoint: str) -> None:
        progress = self._progress.pop(endpoint, None)
        if progress is not None and progress.task is not None:
            progress.task.cancel()

    def busy(self) -> int:
        """How many devices are being onboarded now."""
        return sum(1 for p in self._progress.values() if p.task is not None)

    async def stop(self) -> None:
        """Break all off; what a commit still under way sets off later is no longer begun."""
        self._stopped = True
        self._progress.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def refused(self, endpoint: str) -> frozenset[tuple[Path, ...]]:
        """The paths that the device does not have, or did not let be observed when it was asked last."""
        progress = self._progress.get(endpoint)
        return frozenset() if progress is None else frozenset(o.paths for o in progress.refused)

    async def _run(self, endpoint: str, progress: _Progress) -> None:
        try:
            await self._idle(endpoint)  # not in a turn that another device could have
            async with self._turn:
                await self._pace.turn()
                while progress.todo:
                    await self._idle(endpoint)
                    if self._sleeps(endpoint):
                        return  # its turn came too late: what is left waits until it is heard again
                    if self._still_wanted(endpoint, progress):
                        try:
                            await self._step(endpoint, progress)
                        except PeerError as error:
                            _refused(endpoint, progress, error.code)
                    progress.todo.pop(0)
                log.info("onboarded", extra={"ENDPOINT": endpoint, "REFUSED": len(progress.refused)})
        except ApplianceError as error:
            # The rest waits until the device is heard again.
            log.info(
                "onboarding interrupted",
                extra={"ENDPOINT": endpoint, "ERROR_CODE": error.code, "LEFT": len(progress.todo)},
            )
        finally:
            progress.task = None

    def _still_wanted(self, endpoint: str, progress: _Progress) -> bool:
        """Whether the next step is worth its request: people's operations may have changed what is wanted."""
        planned = progress.todo[0]
        if planned.kind not in _WISHES:
            return True
        device = self._core.device(endpoint)
        observed = {} if device is None else device.observations
        if planned.kind is not Kind.WRITE_ATTRIBUTES and planned.paths in observed:
            return False
        for wanted in self._wanted(endpoint):
            if (wanted.kind, wanted.paths) == (planned.kind, planned.paths):
                progress.todo[0] = wanted
                return True
        return False

    def _sleeps(self, endpoint: str) -> bool:
        device = self._core.device(endpoint)
        return device is not None and device.presence is Presence.SLEEPING

    async def _step(self, endpoint: str, progress: _Progress) -> None:
        operation = progress.todo[0]
        path = operation.path
        answered = await self._perform(endpoint, operation)
        if operation.kind is Kind.DISCOVER and answered.success:
            _keep_existing(progress, path, answered)
        if operation.kind is Kind.READ:
            if path[2:] == (SENSOR_UNITS,) and answered.code in ("2.05", "4.04"):
                self._known_units.add((endpoint, path))
            if any(map(_has_no_clock, answered.records)):
                seconds = Record(CURRENT_TIME, self._clock().wall_ms // 1000, DataType.TIME)
                progress.todo.insert(1, Operation(Kind.WRITE, (CURRENT_TIME,), (seconds,)))
        if not answered.success:
            _refused(endpoint, progress, answered.code)


def _refused(endpoint: str, progress: _Progress, code: str) -> None:
    operation = progress.todo[0]
    if operation.kind in (Kind.OBSERVE, Kind.OBSERVE_COMPOSITE):
        progress.refused.append(operation)
    path = str(operation.path)
    log.debug("onboarding step refused", extra={"ENDPOINT": endpoint, "PATH": path, "ERROR_CODE": code})


def _has_no_clock(record: Record) -> bool:
    """Zephyr counts /3/0/13 from 1970 until somebody writes it."""
    return (
        record.path == CURRENT_TIME and isinstance(record.value, (int, float)) and record.value < CLOCK_SET_S
    )


def _keep_existing(progress: _Progress, path: Path, answered: Answered) -> None:
    """Leave out what Discover shows the device not to have: a request less on a slow network."""
    listed = set()
    for link in answered.links:
        try:
            listed.add(Path.parse(link.target))
        except ApplianceError:
            continue
    if not any(len(p) == 3 for p in listed):
        return  # it lists no resources: then it says nothing of them
    first, *others = progress.todo
    missing = [
        operation
        for operation in others
        if operation.kind is Kind.OBSERVE
        and path.covers(operation.path)
        and operation.path.resource not in listed
    ]
    progress.todo = [first, *(operation for operation in others if operation not in missing)]
    progress.refused += missing
