"""Firmware Update as tables and small judgements: no device, no clock."""

from itertools import product

import pytest

from flownexus_appliance.lwm2m.firmware import (
    CAMPAIGN_ENDED,
    CAMPAIGN_TRANSITIONS,
    ENDED,
    FAILING,
    MOVES,
    OTHER_WAY,
    PASSING,
    TRANSITIONS,
    UNSUCCESSFUL,
    CampaignState,
    CampaignStep,
    Delivery,
    DeviceState,
    Move,
    Step,
    Told,
    UpdateResult,
    UpdateState,
    deliveries,
    same_version,
    version_path,
)
from flownexus_appliance.lwm2m.paths import Path

PUSH, COAPS, COAP, HTTPS = Delivery.PUSH, Delivery.COAPS, Delivery.COAP, Delivery.HTTPS
EVERY = tuple(Delivery)


# The tables


def test_each_state_can_be_reached_and_left() -> None:
    reached = {after for _, after in TRANSITIONS.items()} | {UpdateState.WAITING}
    assert reached == set(UpdateState)
    left = {state for state, _ in TRANSITIONS}
    assert left == set(UpdateState) - ENDED


def test_whatever_has_not_ended_can_fail() -> None:
    for state in set(UpdateState) - ENDED:
        assert TRANSITIONS[state, Step.FAIL] is UpdateState.FAILED


def test_whatever_is_not_being_installed_can_be_cancelled() -> None:
    for state in set(UpdateState) - ENDED - {UpdateState.UPDATING}:
        assert TRANSITIONS[state, Step.CANCEL] is UpdateState.CANCELLED
    assert (UpdateState.UPDATING, Step.CANCEL) not in TRANSITIONS


def test_what_is_being_installed_is_not_tried_again() -> None:
    assert (UpdateState.UPDATING, Step.AGAIN) not in TRANSITIONS


def test_success_is_the_installation_s_or_was_there_before() -> None:
    came_from = {state for (state, step), _ in TRANSITIONS.items() if step is Step.SUCCEED}
    assert came_from == {UpdateState.UPDATING, UpdateState.PREPARING}
    assert {state for state, step in TRANSITIONS if step is Step.REVERT} == {UpdateState.UPDATING}


def test_only_what_has_ended_can_be_unsuccessful() -> None:
    assert UNSUCCESSFUL < ENDED
    assert UpdateState.CANCELLED not in UNSUCCESSFUL


def test_nothing_is_installed_before_the_device_has_it() -> None:
    for (stage, state), move in MOVES.items():
        if move is Move.INSTALL:
            assert state is DeviceState.DOWNLOADED
            assert stage in (UpdateState.DOWNLOADING, UpdateState.DOWNLOADED)
        if move is Move.JUDGE:
            assert (stage, state) == (UpdateState.UPDATING, DeviceState.IDLE)


def test_the_results_are_sorted_out() -> None:
    assert {UpdateResult.INITIAL, UpdateResult.SUCCESS, UpdateResult.DEFERRED} == set(UpdateResult) - FAILING
    assert PASSING <= FAILING
    assert OTHER_WAY <= FAILING
    assert not PASSING & OTHER_WAY


def test_the_numbers_of_the_specification() -> None:
    """LwM2M Core 1.1.1 E.6: resource 5, 0 to 9; 10 and 11 are those of 1.2."""
    assert [result.name for result in sorted(UpdateResult)][:12] == [
        "INITIAL",
        "SUCCESS",
        "NO_STORAGE",
        "NO_MEMORY",
        "CONNECTION_LOST",
        "INTEGRITY_FAILED",
        "UNSUPPORTED_PACKAGE",
        "INVALID_URI",
        "UPDATE_FAILED",
        "UNSUPPORTED_PROTOCOL",
        "CANCELLED",
        "DEFERRED",
    ]
    assert list(UpdateResult) == list(range(14))


def test_a_campaign_that_has_not_ended_can_be_stopped_and_be_done() -> None:
    for state in set(CampaignState) - CAMPAIGN_ENDED:
        assert CAMPAIGN_TRANSITIONS[state, CampaignStep.STOP] is CampaignState.STOPPED
        assert CAMPAIGN_TRANSITIONS[state, CampaignStep.FINISH] is CampaignState.DONE
    assert not {state for state, _ in CAMPAIGN_TRANSITIONS} & CAMPAIGN_ENDED
    assert {step for _, step in CAMPAIGN_TRANSITIONS} == set(CampaignStep)
    assert set(CAMPAIGN_TRANSITIONS.values()) == set(CampaignState)


# How a package gets there


@pytest.mark.parametrize(
    ("protocols", "method", "secure", "expected"),
    [
        ((0, 1, 3), 2, True, (COAPS, HTTPS, COAP, PUSH)),
        ((3, 1, 0), 0, True, (COAPS, HTTPS, COAP)),  # the order is ours
        ((0,), 0, True, (COAP,)),
        ((1,), 2, False, (COAPS, PUSH)),
        ((0, 1), 1, True, (PUSH,)),
        ((2, 4, 5), 0, True, ()),
        ((2,), 2, True, (PUSH,)),
        ((), 2, True, (PUSH,)),
        (None, 0, True, (COAPS,)),
        (None, 2, False, (COAP, PUSH)),
        # What tells nothing takes a push, and may fetch by what it is registered with.
        (None, None, True, (PUSH, COAPS)),
        (None, None, False, (PUSH, COAP)),
        ((0,), None, True, (PUSH, COAP)),
        # What nobody defined is no way.
        ((0, 1), 3, True, ()),
        ((99, 1), 0, True, (COAPS,)),
    ],
)
def test_the_ways_a_device_can_take(
    protocols: tuple[int, ...] | None, method: int | None, secure: bool, expected: tuple[Delivery, ...]
) -> None:
    told = Told(protocols=protocols, method=method)
    assert deliveries(told, secure=secure, open_ways=EVERY) == expected


def test_a_way_that_is_closed_is_none() -> None:
    told = Told(protocols=(0, 1, 3), method=2)
    for closed in Delivery:
        ways = deliveries(told, secure=True, open_ways=[way for way in Delivery if way is not closed])
        assert closed not in ways
        assert len(ways) == 3
    assert deliveries(told, secure=True, open_ways=()) == ()


def test_no_way_is_there_twice() -> None:
    for protocols, method in product([None, (1, 1, 0, 0)], [None, 0, 1, 2]):
        found = deliveries(Told(protocols=protocols, method=method), secure=True, open_ways=EVERY)
        assert len(found) == len(set(found))


# Versions


@pytest.mark.parametrize(
    ("told", "wanted", "same"),
    [
        ("1.2.3", ("1.2.3",), True),
        ("v1.2.3", ("1.2.3",), True),
        ("V1.2.3", ("v1.2.3",), True),
        ("1.2.3+0", ("1.2.3",), True),
        ("1.2.3", ("1.2.3+0",), True),
        (" 1.2.3\n", ("1.2.3",), True),
        ("1.2.3+4", ("1.2.3",), False),
        ("1.2.30", ("1.2.3",), False),
        ("1.2.3", ("9.9.9", "1.2.3"), True),
        ("1.2.3", (), False),
        # Saying nothing is no version.
        ("", ("",), False),
        ("v", ("v",), False),
        ("   ", (" ",), False),
    ],
)
def test_whether_a_version_is_the_same(told: str, wanted: tuple[str, ...], same: bool) -> None:
    assert same_version(told, wanted) == same


def test_where_the_version_is_told() -> None:
    assert version_path(Path.of(5, 0)) == Path.of(3, 0, 3)
    assert version_path(Path.of(5, 1)) == Path.of(3, 0, 3)
    assert version_path(Path.of(33629, 1)) == Path.of(33629, 1, 15)
