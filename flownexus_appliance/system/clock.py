"""The one place where the daemon reads the time."""

import time

from ..lwm2m.core import Moment


def wall_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def now() -> Moment:
    return Moment(time.monotonic(), wall_ms())
