"""Observations: their table, and the order of notifications (RFC 7641 3.4)."""

from itertools import product

import pytest

from flownexus_appliance.lwm2m.observation import (
    OBSERVATION_TRANSITIONS,
    Freshness,
    NotificationOrder,
    Observation,
    ObservationEvent,
    ObservationState,
)
from flownexus_appliance.lwm2m.paths import Path

NEW, REPEATED, STALE = Freshness.NEW, Freshness.REPEATED, Freshness.STALE
LAST = 2**24 - 1
HALF = 2**23


def test_the_table_has_every_pair_that_may_happen() -> None:
    alive = set(ObservationState) - {ObservationState.ENDED}
    assert set(OBSERVATION_TRANSITIONS) == set(product(alive, ObservationEvent))


@pytest.mark.parametrize("before", [ObservationState.REQUESTED, ObservationState.ACTIVE])
def test_an_observation_lives_by_answers_and_notifications_only(before: ObservationState) -> None:
    going_on = {
        event
        for event in ObservationEvent
        if OBSERVATION_TRANSITIONS[before, event] is ObservationState.ACTIVE
    }
    assert going_on == {ObservationEvent.ACCEPTED, ObservationEvent.NOTIFIED}


@pytest.mark.parametrize("paths", [(Path.of(3, 0, 9),), (Path.of(3, 0, 9), Path.of(3, 0, 7))])
def test_a_composite_one_answers_for_the_root(paths: tuple[Path, ...]) -> None:
    """Even of a single path: it was made by Observe-Composite, so its records have whole paths."""
    assert Observation(b"t", "a", paths, 112, 0).base == paths[0]
    assert Observation(b"t", "a", paths, 112, 0, composite=True).base == Path.ROOT


def order(number: int, now: float = 0.0) -> NotificationOrder:
    begun = NotificationOrder()
    begun.accept(number, now)
    return begun


@pytest.mark.parametrize("number", [0, 1, HALF, LAST])
def test_the_first_one_is_new(number: int) -> None:
    assert NotificationOrder().judge(number, 0.0) is NEW


@pytest.mark.parametrize(
    ("last", "number", "freshness"),
    [
        # V1 < V2 and V2 - V1 < 2^23
        (0, 1, NEW),
        (0, HALF - 1, NEW),
        (5, 5 + HALF - 1, NEW),
        # V1 > V2 and V1 - V2 > 2^23: the numbers have wrapped around
        (LAST, 0, NEW),
        (LAST, HALF - 2, NEW),
        (HALF + 1, 0, NEW),
        # the same number: the acknowledgement was lost
        (0, 0, REPEATED),
        (LAST, LAST, REPEATED),
        # everything else was overtaken
        (1, 0, STALE),
        (0, LAST, STALE),
        (0, HALF, STALE),
        (HALF, 0, STALE),
        (0, HALF + 1, STALE),
        (LAST, HALF - 1, STALE),
        (HALF, HALF - 1, STALE),
    ],
)
def test_newer_by_number(last: int, number: int, freshness: Freshness) -> None:
    assert order(last).judge(number, 1.0) is freshness


@pytest.mark.parametrize("number", [0, 5, 6, HALF, LAST])
def test_after_more_than_128_seconds_every_number_is_new(number: int) -> None:
    assert order(5, now=10.0).judge(number, 138.001) is NEW


@pytest.mark.parametrize(("number", "freshness"), [(5, REPEATED), (4, STALE), (6, NEW)])
def test_128_seconds_are_not_enough(number: int, freshness: Freshness) -> None:
    assert order(5, now=10.0).judge(number, 138.0) is freshness


def test_judging_remembers_nothing() -> None:
    begun = order(5)
    assert begun.judge(6, 1.0) is NEW
    assert begun.judge(6, 1.0) is NEW


def test_accepting_counts_the_128_seconds_anew() -> None:
    begun = order(5, now=0.0)
    begun.accept(6, 100.0)
    assert begun.judge(5, 200.0) is STALE
    assert begun.judge(5, 228.5) is NEW


def test_a_whole_round_stays_in_order() -> None:
    begun = order(0)
    for step in range(1, 40):
        number = step * (HALF - 1) % 2**24
        assert begun.judge(number, 0.0) is NEW
        begun.accept(number, 0.0)
        assert begun.judge(number, 0.0) is REPEATED


def test_one_that_was_overtaken_on_its_way_to_the_disk_takes_nothing_back() -> None:
    begun = order(5)
    # Both were judged before either was on disk.
    assert (begun.judge(7, 1.0), begun.judge(6, 1.1)) == (NEW, NEW)
    begun.accept(7, 1.0)
    begun.accept(6, 1.1)
    assert begun.judge(7, 1.2) is REPEATED
