"""The real clock: two times that agree with the system's own; and which times are believed."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from flownexus_appliance.system import clock
from flownexus_appliance.system.clock import PLAUSIBLE_FROM, PLAUSIBLE_UNTIL, doubt, trustworthy

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_both_times_are_the_systems() -> None:
    before = time.monotonic(), int(time.time() * 1000)
    moment = clock.now()
    after = time.monotonic(), int(time.time() * 1000)
    assert before[0] <= moment.now <= after[0]
    assert before[1] <= moment.wall_ms <= after[1]


@pytest.mark.parametrize(
    ("shown", "noted", "believed"),
    [
        (NOW, None, True),
        (NOW, NOW - HOUR, True),
        (PLAUSIBLE_FROM, None, True),
        (PLAUSIBLE_FROM - SECOND, None, False),
        (datetime(1970, 1, 1, tzinfo=UTC), None, False),
        (datetime(1900, 1, 1, tzinfo=UTC), None, False),
        (PLAUSIBLE_UNTIL - SECOND, None, True),
        (PLAUSIBLE_UNTIL, None, False),
        # Before what was noted: a time server may have set it back a little, but not by a day.
        (NOW, NOW + HOUR, True),
        (NOW, NOW + HOUR + SECOND, False),
        (NOW, NOW + 24 * HOUR, False),
        # Noted by a clock that lost its battery.
        (NOW, PLAUSIBLE_UNTIL - SECOND, False),
        (NOW, PLAUSIBLE_UNTIL, True),
    ],
)
def test_which_clock_is_believed(shown: datetime, noted: datetime | None, believed: bool) -> None:
    noted_ms = 0 if noted is None else ms(noted)
    assert trustworthy(ms(shown), noted_ms) is believed
    assert bool(doubt(ms(shown), noted_ms)) is not believed


def test_a_time_server_is_believed_over_what_was_noted_but_not_over_the_build() -> None:
    """Once a clock ran ahead, the time noted by it must not make every right clock a wrong one."""
    ahead = ms(NOW + 4000 * 24 * HOUR)
    assert not trustworthy(ms(NOW), ahead)
    assert trustworthy(ms(NOW), ahead, synchronised=True)
    assert not trustworthy(0, synchronised=True)
    assert not trustworthy(ms(PLAUSIBLE_UNTIL), synchronised=True)


def test_the_operator_is_told_what_is_wrong() -> None:
    assert doubt(0) == "the clock shows 1970-01-01 00:00 UTC, which is before this software was made"
    assert doubt(ms(PLAUSIBLE_UNTIL)).endswith("which is too far ahead to be right")
    assert doubt(ms(NOW), ms(NOW + 48 * HOUR)) == (
        "the clock shows 2027-03-01 12:00 UTC, but this box has already noted 2027-03-03 12:00 UTC"
    )


@pytest.mark.parametrize("shown", [-(2**63), 2**63])
def test_no_time_is_too_strange_for_words(shown: int) -> None:
    assert "no calendar" in doubt(shown)
