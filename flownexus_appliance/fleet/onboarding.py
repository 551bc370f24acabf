"""Gets to know a device after each registration: Discover, Read /3, observe the watch list.

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
from ..lwm2m.core import Core
from ..lwm2m.model import ModelSet
from ..lwm2m.paths import Path
from ..lwm2m.presence import Presence
from ..lwm2m.registration import Registration
from ..lwm2m.values import Record
from ..lwm2m.watch import expand_watch_list
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
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Steps:
    """What onboarding does to a device; all keep what they learn."""

    discover: Callable[[str, Path], Awaitable[Answered]]
    read: Callable[[str, Path], Awaitable[Answered]]
    observe: Callable[[str, Path], Awaitable[Answered]]
    set_clock: Callable[[str, Path], Awaitable[Answered]]


@dataclass(slots=True)
class _Progress:
    """How far a device's onboarding got."""

    todo: list[tuple[str, Path]]
    task: asyncio.Task[None] | None = None
    refused: list[Path] = field(default_factory=list)


class Onboarding:
    """Runs the steps for each device; `start(endpoint)` begins anew, `resume(endpoint)` goes on."""

    def __init__(self, core: Core, models: ModelSet, watch_list: Sequence[str], steps: Steps) -> None:
        self._core = core
        self._models = models
        self._watch_list = tuple(watch_list)
        self._steps = steps
        self._progress: dict[str, _Progress] = {}
        self._known_units: set[tuple[str, Path]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._next_at = 0.0
        self._stopped = False

    def start(self, endpoint: str) -> None:
        """Begin anew: the device has registered."""
        self.forget(endpoint)
        device = self._core.device(endpoint)
        if device is None or device.registration is None:
            return
        todo: list[tuple[str, Path]] = []
        if DEVICE[0] in device.registration.instances:
            todo += [("discover", DEVICE), ("read", DEVICE_INSTANCE)]
        for path in self._watched(device.registration):
            todo.append(("observe", path))
            units = path.parent.child(SENSOR_UNITS)
            if path[2] == SENSOR_VALUE and (endpoint, units) not in self._known_units:
                todo.append(("units", units))
        self._progress[endpoint] = _Progress(todo)
        self.resume(endpoint)

    def take_up(self, endpoint: str) -> None:
        """After a restart: when the device is next heard, observe what is watched and is not yet.

        The restart may have cut its onboarding short, or the watch list may have grown.
        """
        device = self._core.device(endpoint)
        if device is None or device.registration is None:
            return
        missing = [p for p in self._watched(device.registration) if (p,) not in device.observations]
        if missing:
            todo = [("observe", path) for path in missing]
            if any(DEVICE.covers(path) for path in missing):
                todo.insert(0, ("discover", DEVICE))
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

    def _watched(self, registration: Registration) -> tuple[Path, ...]:
        return expand_watch_list(self._watch_list, registration.instances, self._models)

    async def _run(self, endpoint: str, progress: _Progress) -> None:
        try:
            async with self._turn:
                await self._pace()
                while progress.todo:
                    if self._sleeps(endpoint):
                        return  # its turn came too late: what is left waits until it is heard again
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

    def _sleeps(self, endpoint: str) -> bool:
        device = self._core.device(endpoint)
        return device is not None and device.presence is Presence.SLEEPING

    async def _pace(self) -> None:
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next_at)
        self._next_at = begin + GAP_S
        if begin > now:
            await asyncio.sleep(begin - now)

    async def _step(self, endpoint: str, progress: _Progress) -> None:
        name, path = progress.todo[0]
        if name == "set_clock":
            answered = await self._steps.set_clock(endpoint, path)
        elif name == "discover":
            answered = await self._steps.discover(endpoint, path)
            if answered.success:
                _keep_existing(progress, path, answered)
        elif name == "observe":
            answered = await self._steps.observe(endpoint, path)
        else:
            answered = await self._steps.read(endpoint, path)
            if name == "units" and answered.code in ("2.05", "4.04"):
                self._known_units.add((endpoint, path))
            if any(map(_has_no_clock, answered.records)):
                progress.todo.insert(1, ("set_clock", CURRENT_TIME))
        if not answered.success:
            _refused(endpoint, progress, answered.code)


def _refused(endpoint: str, progress: _Progress, code: str) -> None:
    path = progress.todo[0][1]
    progress.refused.append(path)
    log.debug("onboarding step refused", extra={"ENDPOINT": endpoint, "PATH": str(path), "ERROR_CODE": code})


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
    if any(len(p) == 3 for p in listed):
        progress.todo[1:] = [
            (name, p)
            for name, p in progress.todo[1:]
            if name != "observe" or not path.covers(p) or p in listed
        ]
