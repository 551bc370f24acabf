"""The real clock: two times that agree with the system's own."""

import time

from flownexus_appliance.system import clock


def test_both_times_are_the_systems() -> None:
    before = time.monotonic(), int(time.time() * 1000)
    moment = clock.now()
    after = time.monotonic(), int(time.time() * 1000)
    assert before[0] <= moment.now <= after[0]
    assert before[1] <= moment.wall_ms <= after[1]
