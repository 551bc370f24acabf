"""How the box is: the process, the machine under it, and what of that somebody should look at.

Reads /proc, and watches the event loop: a loop that comes late answers devices late. What the machine does
not tell is None.
"""

import asyncio
import contextlib
import os
import platform
import resource
import shutil
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final

from .clock import wall_ms

TICK_S: Final = 1.0
WINDOW: Final = 60  # ticks that the figures of the last minute are of
LIBRARIES: Final = ("aiocoap", "aiohttp", "cryptography", "Jinja2", "msgspec")
MIB: Final = 1024 * 1024
# What is worth telling of. A full disk stops the box; an SD card needs room to write well.
FREE_LOW_BYTES: Final = 1024 * MIB
FREE_LOW_PART: Final = 0.1
FREE_OUT_BYTES: Final = 200 * MIB
MEMORY_LOW_PART: Final = 0.08
LAG_S: Final = 0.5
FILES_PART: Final = 0.8
HOT_C: Final = 80.0  # where a Raspberry Pi begins to slow down
_PROC: Final = Path("/proc")
_THERMAL: Final = Path("/sys/class/thermal/thermal_zone0/temp")


@dataclass(frozen=True, slots=True)
class Vitals:
    """The process and its machine at a moment.

    `cpu_percent` of one core and `lag_ms`, the longest that the event loop came late by, are of the last
    minute. `memory_available_bytes` is what programs can still have, `disk_*` of where the state is.
    """

    started_ms: int
    uptime_s: int
    rss_bytes: int | None
    memory_total_bytes: int | None
    memory_available_bytes: int | None
    cpu_percent: float
    cores: int
    load: float | None
    lag_ms: int
    open_files: int | None
    open_sockets: int | None
    max_files: int
    disk_free_bytes: int | None
    disk_total_bytes: int | None
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Warn:
    """What somebody should look at: `code` is disk_full, disk_low, memory_low, loop_late, files_low or hot;
    `figure` what it is about, in bytes, ms, number or degrees. `danger`: it stops the box, or soon will."""

    code: str
    figure: float
    danger: bool = False


@dataclass(slots=True)
class Health:
    """Watches while it is started; answers before that too.

    `versions` are those of what the box is made of, by their names, besides `LIBRARIES`.
    """

    state: Path = Path()
    versions: Mapping[str, str] = field(default_factory=dict)
    started_ms: int = field(default_factory=wall_ms)
    _began_s: float = field(default_factory=time.monotonic)
    _began_cpu_s: float = field(default_factory=time.process_time)
    _late_ms: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _spent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="health")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def vitals(self) -> Vitals:
        """How it is now. Files are looked at in a thread: a card that hangs must not stop the loop."""
        machine = await asyncio.to_thread(_Machine.read, self.state)
        return Vitals(
            self.started_ms,
            int(time.monotonic() - self._began_s),
            machine.rss_bytes,
            machine.memory.get("MemTotal"),
            machine.memory.get("MemAvailable"),
            self._cpu_percent(),
            os.cpu_count() or 1,
            machine.load,
            max(self._late_ms, default=0),
            machine.files,
            machine.sockets,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            machine.disk_free,
            machine.disk_total,
            machine.temperature_c,
        )

    def all_versions(self) -> dict[str, str]:
        """What runs here, by name."""
        found = dict(self.versions)
        found["Python"] = platform.python_version()
        for name in LIBRARIES:
            with contextlib.suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(name)
        found["Linux"] = platform.release()
        return found

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            self._late_ms.append(max(0, round((loop.time() - due) * 1000)))
            self._spent.append((time.monotonic(), time.process_time()))

    def _cpu_percent(self) -> float:
        now, spent = time.monotonic(), time.process_time()
        then, before = self._spent[0] if self._spent else (self._began_s, self._began_cpu_s)
        return round(100 * (spent - before) / max(now - then, 0.001), 1)


def warnings(vitals: Vitals) -> list[Warn]:
    """What somebody should look at, the worst first; none when all is well."""
    found = []
    free, total = vitals.disk_free_bytes, vitals.disk_total_bytes
    if free is not None and free < FREE_OUT_BYTES:
        found.append(Warn("disk_full", free, danger=True))
    elif free is not None and total and free < min(FREE_LOW_BYTES, total * FREE_LOW_PART):
        found.append(Warn("disk_low", free))
    available, memory = vitals.memory_available_bytes, vitals.memory_total_bytes
    if available is not None and memory and available < memory * MEMORY_LOW_PART:
        found.append(Warn("memory_low", available))
    if vitals.open_files is not None and vitals.open_files > vitals.max_files * FILES_PART:
        found.append(Warn("files_low", vitals.open_files))
    if vitals.lag_ms > LAG_S * 1000:
        found.append(Warn("loop_late", vitals.lag_ms))
    if vitals.temperature_c is not None and vitals.temperature_c >= HOT_C:
        found.append(Warn("hot", vitals.temperature_c))
    return found


@dataclass(frozen=True, slots=True)
class _Machine:
    """What files tell; each by itself, for a container may hide some."""

    rss_bytes: int | None
    memory: Mapping[str, int]
    load: float | None
    files: int | None
    sockets: int | None
    disk_free: int | None
    disk_total: int | None
    temperature_c: float | None

    @classmethod
    def read(cls, state: Path) -> "_Machine":
        rss = load = free = total = temperature = None
        with contextlib.suppress(OSError, ValueError, IndexError):
            rss = int((_PROC / "self/statm").read_text().split()[1]) * resource.getpagesize()
        with contextlib.suppress(OSError):
            load = os.getloadavg()[0]
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(state)
            free, total = disk.free, disk.total
        with contextlib.suppress(OSError, ValueError):
            temperature = int(_THERMAL.read_text()) / 1000
        return cls(rss, _memory(), load, *_descriptors(), free, total, temperature)


def _memory() -> dict[str, int]:
    """Bytes by the names of /proc/meminfo."""
    found = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (_PROC / "meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            found[name] = int(rest.split()[0]) * 1024
    return found


def _descriptors() -> tuple[int | None, int | None]:
    """How many files are open, and how many of them are sockets."""
    folder = _PROC / "self/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return None, None
    sockets = 0
    for name in names:
        with contextlib.suppress(OSError):  # closed meanwhile
            sockets += os.readlink(folder / name).startswith("socket:")
    return len(names), sockets
