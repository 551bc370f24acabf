"""The one place where the daemon reads the time, and where it asks whether the time can be right.

A Pi has no clock battery: it wakes in 1970 or at the time it was switched off, until a time server tells it
better. What is stamped or signed by such a clock misleads for years, so whoever stamps or signs asks first.
"""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ..lwm2m.core import Moment

# No clock is right that is before this: the code is younger. Raised with every release.
PLAUSIBLE_FROM: Final = datetime(2026, 11, 1, tzinfo=UTC)
# Nor one that is after this: clock chips that lost their battery also wake in the next century, and a
# root of our own must never end by the mistake of a clock (it lives 20 years).
PLAUSIBLE_UNTIL: Final = datetime(2041, 11, 1, tzinfo=UTC)
# What signs does not even ask: nothing is dated beyond.
SIGNS_UNTIL: Final = datetime(2076, 11, 1, tzinfo=UTC)
# A time server may set a clock back a little, and the newest time noted is then ahead of it.
SET_BACK: Final = timedelta(hours=1)

_SYNCHRONISED: Final = Path("/run/systemd/timesync/synchronized")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def wall_ms() -> int:
    """Milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


def now() -> Moment:
    return Moment(time.monotonic(), wall_ms())


def synchronised() -> bool:
    """Whether a time server has set the clock since the machine started, as systemd-timesyncd notes it."""
    return _SYNCHRONISED.exists()


def trustworthy(clock_ms: int, noted_ms: int = 0, *, synchronised: bool = False) -> bool:
    """Whether a clock may stamp samples and sign certificates; `doubt` tells why not.

    `clock_ms` is what it shows, `noted_ms` the newest time this box ever noted, 0 where it noted none, both
    in milliseconds since 1970 UTC. `synchronised`: the system says that a time server set the clock. Such a
    clock may be before the noted time, because a clock that once ran ahead may have been what noted it.
    """
    return not doubt(clock_ms, noted_ms, synchronised=synchronised)


def doubt(clock_ms: int, noted_ms: int = 0, *, synchronised: bool = False) -> str:
    """What is wrong with a clock, in words for the operator; empty where nothing is. See `trustworthy`."""
    shown = f"the clock shows {_words(clock_ms)}"
    if clock_ms < _ms(PLAUSIBLE_FROM):
        return f"{shown}, which is before this software was made"
    if clock_ms >= _ms(PLAUSIBLE_UNTIL):
        return f"{shown}, which is too far ahead to be right"
    # What cannot be right was noted by a clock that was not: it says nothing of this one.
    told = noted_ms < _ms(PLAUSIBLE_UNTIL) and not synchronised
    if told and clock_ms < noted_ms - SET_BACK // timedelta(milliseconds=1):
        return f"{shown}, but this box has already noted {_words(noted_ms)}"
    return ""


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _words(moment_ms: int) -> str:
    try:
        return f"{_EPOCH + timedelta(milliseconds=moment_ms):%Y-%m-%d %H:%M} UTC"
    except OverflowError:
        return "a year that no calendar has"
