"""The relay of the interop tests: it loses and mixes as much as it says, the same in every run."""

import random
from dataclasses import replace

import pytest

from tests.interop.relay import Course, Sky, Weather

MANY = 20_000
STEP_S = 0.001


def passed(
    weather: Weather, names: tuple[str, ...] = ("0/0 out",), many: int = MANY
) -> tuple[Sky, list[bytes]]:
    """What arrives of so many datagrams of each course, sent a millisecond apart, in the order of arrival."""
    sky = Sky(weather)
    arrived: list[bytes] = []
    courses = [Course(name, weather, arrived.append) for name in names]
    for number in range(many):
        sky.release(number * STEP_S)
        for course in courses:
            sky.take(course, b"%d" % number, number * STEP_S)
    while (deadline := sky.deadline) is not None:
        sky.release(deadline)
    return sky, arrived


def test_a_twentieth_is_lost_and_the_rest_arrives_once() -> None:
    sky, arrived = passed(Weather())
    assert len(set(arrived)) == len(arrived) == sky.counts.passed == MANY - sky.counts.lost
    assert sky.counts.lost == pytest.approx(0.05 * MANY, rel=0.1)
    assert sky.counts.held == pytest.approx(0.95 * 0.10 * MANY, rel=0.1)
    assert sky.counts.late == pytest.approx(0.95 * 0.005 * MANY, rel=0.3)


def test_what_is_held_back_is_overtaken() -> None:
    sky, arrived = passed(Weather(lost=0.0))
    numbers = [int(data) for data in arrived]
    assert sorted(numbers) == list(range(MANY)) != numbers
    overtaken, latest = 0, -1
    for number in numbers:
        overtaken += number < latest
        latest = max(number, latest)
    assert sky.counts.overtaken == overtaken > 0.8 * (sky.counts.held + sky.counts.late)


@pytest.mark.parametrize(("late", "longest_s"), [(0.0, 0.05), (0.005, 4.0)])
def test_nothing_is_held_longer_than_it_says(late: float, longest_s: float) -> None:
    weather = Weather(late=late)
    sky, waited = Sky(weather), 0.0
    for number in range(MANY):
        came = float(number * 100)
        arrivals: list[bytes] = []
        sky.take(Course(f"{number}", weather, arrivals.append), b"x", came)
        if (deadline := sky.deadline) is not None:
            waited = max(waited, deadline - came)
            sky.release(deadline)
            assert arrivals == [b"x"]
    assert 0.9 * longest_s < waited <= longest_s


def test_a_seed_says_it_all() -> None:
    assert passed(Weather(seed=7))[1] == passed(Weather(seed=7))[1] != passed(Weather(seed=8))[1]


def test_what_others_send_changes_nothing() -> None:
    """Devices run in another order each time; what becomes of one's tenth datagram must not."""
    weather = Weather(late=0.0, held=0.0)
    alone = passed(weather, many=500)[1]
    chance = random.Random(1)
    sky = Sky(weather)
    arrived: list[bytes] = []
    other: list[bytes] = []
    course, beside = Course("0/0 out", weather, arrived.append), Course("0/1 out", weather, other.append)
    for number in range(500):
        for _ in range(chance.randrange(3)):
            sky.take(beside, b"noise", 0.0)
        sky.take(course, b"%d" % number, 0.0)
    assert arrived == alone
    assert other


def test_a_share_can_be_changed_alone() -> None:
    """A run without reordering loses the same datagrams."""
    calm = replace(Weather(), held=0.0, late=0.0)
    assert sorted(passed(calm)[1]) == sorted(passed(Weather())[1])
    assert passed(calm)[0].counts.overtaken == 0
