"""The one place where the daemon reads the time for the core."""

import time

from ..lwm2m.core import Moment


def now() -> Moment:
    return Moment(time.monotonic(), time.time_ns() // 1_000_000)
