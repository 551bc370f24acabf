"""What every test runs under: nothing may be left behind, and time passes when the test says so.

Warnings are errors (setup.cfg). Beyond that a test fails that leaves a task, a thread or a socket,
and one during which an exception reached nobody but the event loop.
"""

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings

from flownexus_appliance.lwm2m.core import Moment

# How long an example takes says more of the machine, which others share, than of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

# What ends by itself may take this long; nothing waits for it in a test that is clean.
PATIENCE_S: Final = 2.0


@dataclass(slots=True)
class FakeClock:
    """A clock for whoever takes `Callable[[], Moment]`; both its times move by `advance` only."""

    now: float = 1000.0
    wall_ms: int = 1_760_000_000_000

    def __call__(self) -> Moment:
        return Moment(self.now, self.wall_ms)

    def advance(self, seconds: float) -> Moment:
        self.now += seconds
        self.wall_ms += round(seconds * 1000)
        return self()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a thread or a socket; one with an event loop, also a task."""
    threads, sockets = set(threading.enumerate()), _sockets()
    asynchronous = inspect.iscoroutinefunction(getattr(request, "function", None))
    if asynchronous:
        request.getfixturevalue("_quiet_loop")
    yield
    left = [thread for thread in threading.enumerate() if thread not in threads and _runs(thread)]
    assert not left, f"threads left running: {left}"
    if not asynchronous:  # the loop, which is closed after this, has sockets of its own
        assert _sockets() <= sockets, "sockets left open"


@pytest.fixture
async def _quiet_loop() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    unheard: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: unheard.append(context))
    sockets = _sockets()
    yield
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    assert not tasks, f"tasks left: {tasks}"
    await asyncio.sleep(0)  # a transport closes its socket in the next turn of the loop
    assert not unheard, f"exceptions nobody heard of: {unheard}"
    assert _sockets() <= sockets, "sockets left open"


def _runs(thread: threading.Thread) -> bool:
    # The pool of asyncio.to_thread() belongs to the loop and ends with it.
    if thread.name.startswith("asyncio_"):
        return False
    thread.join(PATIENCE_S)
    return thread.is_alive()


def _sockets() -> set[str]:
    """The inodes of this process's open sockets."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the folder's own, closed by now
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
