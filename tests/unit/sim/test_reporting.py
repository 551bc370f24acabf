"""When an observation is due: pmin, pmax, gt, lt, st, on a clock that is a number."""

import math
from collections.abc import Mapping, Sequence

import pytest

from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record, Value
from flownexus_appliance.sim.attributes import AttributeTable
from flownexus_appliance.sim.reporting import CONFIRM_AT_LEAST_S, MAX_OBSERVATIONS, Observation, Reporter

VALUE = Path.of(3303, 0, 5700)
UNITS = Path.of(3303, 0, 5701)


class Watch:
    """A reporter with one observation that has just told its first value."""

    def __init__(self, attributes: Mapping[str, float] | None = None, path: Path = VALUE) -> None:
        self.table = AttributeTable()
        if attributes is not None:
            self.table.write(path, attributes, DataType.FLOAT if len(path) > 2 else None)
        self.reporter = Reporter(self.table)
        self.observation = Observation(b"watch", (path,), 112)
        assert self.reporter.add(self.observation)
        self.tell(0.0, 20.0)

    def tell(self, now: float, value: Value) -> None:
        """What sending a notification leaves behind."""
        self.observation.sent((Record(VALUE, value, DataType.FLOAT),), now)

    def due(self, now: float) -> bool:
        return self.reporter.due(now) == [self.observation]


def test_any_change_is_told_at_once_without_attributes() -> None:
    watch = Watch()
    assert not watch.due(1e9)
    watch.reporter.changed(VALUE, 20.0)
    assert watch.reporter.deadline == math.inf
    watch.reporter.changed(VALUE, 20.01)
    assert watch.due(0.0)


def test_pmin_holds_a_change_back() -> None:
    watch = Watch({"pmin": 10})
    watch.reporter.changed(VALUE, 21.0)
    assert not watch.due(9.9)
    assert watch.reporter.deadline == 10.0
    assert watch.due(10.0)
    watch.tell(10.0, 21.0)
    assert not watch.due(1000.0)


def test_pmax_tells_without_a_change() -> None:
    watch = Watch({"pmax": 60})
    assert not watch.due(59.9)
    assert watch.due(60.0)
    watch.tell(60.0, 20.0)
    assert watch.reporter.deadline == 120.0


def test_pmax_does_not_care_for_thresholds() -> None:
    watch = Watch({"pmax": 60, "gt": 100.0})
    watch.reporter.changed(VALUE, 50.0)
    assert not watch.due(59.9)
    assert watch.due(60.0)


@pytest.mark.parametrize(("pmin", "pmax", "due"), [(10, 5, math.inf), (10, 10, 10.0), (10, 0, math.inf)])
def test_a_pmax_below_pmin_or_zero_is_none(pmin: float, pmax: float, due: float) -> None:
    assert Watch({"pmin": pmin, "pmax": pmax}).reporter.deadline == due


@pytest.mark.parametrize(
    ("attributes", "values", "told"),
    [
        # gt: crossing it upward and downward is told, moving on either side is not.
        ({"gt": 25.0}, [22.0, 25.0, 25.1, 30.0, 24.0, 23.0], [25.1, 24.0]),
        ({"lt": 15.0}, [18.0, 15.0, 14.9, 10.0, 15.0, 16.0], [14.9, 15.0]),
        ({"st": 2.0}, [21.0, 21.9, 22.0, 23.9, 20.0, 20.1], [22.0, 20.0]),
        # Any one of the conditions is enough.
        ({"gt": 25.0, "lt": 15.0}, [24.0, 26.0, 14.0, 16.0], [26.0, 14.0, 16.0]),
        ({"gt": 25.0, "st": 3.0}, [22.9, 23.0, 24.9, 25.5, 26.0], [23.0, 25.5]),
    ],
)
def test_thresholds_and_steps(
    attributes: dict[str, float], values: Sequence[float], told: Sequence[float]
) -> None:
    watch = Watch(attributes)
    heard = []
    for now, value in enumerate(values, 1):
        watch.reporter.changed(VALUE, value)
        if watch.due(now):
            heard.append(value)
            watch.tell(now, value)
    assert heard == told


def test_what_crossed_within_pmin_is_told_when_pmin_is_over() -> None:
    watch = Watch({"pmin": 10, "gt": 25.0})
    watch.reporter.changed(VALUE, 26.0)
    watch.reporter.changed(VALUE, 24.0)
    assert not watch.due(9.0)
    assert watch.due(10.0)


def test_thresholds_of_a_resource_hold_in_the_observation_of_its_instance() -> None:
    watch = Watch(path=Path.of(3303, 0))
    watch.table.write(VALUE, {"st": 5.0}, DataType.FLOAT)
    watch.reporter.changed(VALUE, 22.0)
    assert not watch.due(1.0)
    watch.reporter.changed(UNITS, "K")
    assert watch.due(1.0)


def test_an_edge_is_told_in_its_direction_only() -> None:
    door = Path.of(3200, 0, 5500)
    table = AttributeTable()
    table.write(door, {"edge": 1}, DataType.BOOLEAN)
    reporter = Reporter(table)
    observation = Observation(b"door", (door,), None)
    reporter.add(observation)
    observation.sent((Record(door, True, DataType.BOOLEAN),), 0.0)
    reporter.changed(door, False)
    assert reporter.due(1.0) == []
    observation.sent((Record(door, False, DataType.BOOLEAN),), 1.0)
    reporter.changed(door, True)
    assert reporter.due(2.0) == [observation]


def test_the_server_object_gives_defaults_that_attributes_override() -> None:
    watch = Watch()
    watch.reporter.default_pmin_s, watch.reporter.default_pmax_s = 5.0, 50.0
    watch.reporter.attributes_changed()
    assert watch.reporter.deadline == 50.0
    watch.table.write(VALUE, {"pmax": 30}, DataType.FLOAT)
    assert watch.reporter.deadline == 50.0, "kept until told"
    watch.reporter.attributes_changed()
    assert watch.reporter.deadline == 30.0
    watch.reporter.changed(VALUE, 21.0)
    assert watch.reporter.deadline == 5.0


def test_a_composite_keeps_the_longest_pmin_and_the_shortest_pmax() -> None:
    table = AttributeTable()
    table.write(VALUE, {"pmin": 10, "pmax": 100}, DataType.FLOAT)
    table.write(Path.of(3), {"pmin": 20, "pmax": 70}, None)
    reporter = Reporter(table)
    observation = Observation(b"both", (VALUE, Path.of(3, 0, 9)), 112, composite=True)
    reporter.add(observation)
    assert reporter.deadline == 70.0
    reporter.changed(Path.of(3, 0, 9), 80)
    assert reporter.deadline == 20.0


def test_attributes_of_the_observe_itself_win() -> None:
    table = AttributeTable()
    table.write(VALUE, {"pmax": 100, "con": 1}, DataType.FLOAT)
    reporter = Reporter(table)
    observation = Observation(b"own", (VALUE,), 112, own={"pmax": 40, "con": 0})
    reporter.add(observation)
    assert reporter.deadline == 40.0
    assert not reporter.confirmable(observation, usually=True, now=1.0)


def test_confirmable_is_as_usual_as_con_says_and_at_least_daily() -> None:
    watch = Watch()
    assert watch.reporter.confirmable(watch.observation, usually=True, now=1.0)
    assert not watch.reporter.confirmable(watch.observation, usually=False, now=1.0)
    assert watch.reporter.confirmable(watch.observation, usually=False, now=CONFIRM_AT_LEAST_S)
    watch.table.write(VALUE, {"con": 1}, DataType.FLOAT)
    assert watch.reporter.confirmable(watch.observation, usually=False, now=1.0)


def test_what_is_under_way_is_not_due_again() -> None:
    watch = Watch({"pmax": 10})
    watch.observation.queued = True
    watch.reporter.changed(VALUE, 25.0)
    assert watch.reporter.deadline == math.inf
    watch.observation.queued = False
    assert watch.due(0.0)


def test_the_same_paths_again_replace_the_token() -> None:
    watch = Watch()
    again = Observation(b"again", (VALUE,), 112)
    assert watch.reporter.add(again)
    assert watch.reporter.observations == (again,)
    assert not watch.reporter.live(watch.observation)
    watch.reporter.cancel(b"watch")
    assert watch.reporter.live(again)


def test_there_is_a_bound() -> None:
    reporter = Reporter(AttributeTable())
    for number in range(MAX_OBSERVATIONS):
        assert reporter.add(Observation(bytes([number]), (Path.of(number),), None))
    assert not reporter.add(Observation(b"more", (Path.of(999),), None))
    assert len(reporter) == MAX_OBSERVATIONS


def test_a_rejected_message_ends_its_observation() -> None:
    watch = Watch()
    watch.observation.message_id = 44
    watch.reporter.cancel_by_message(45)
    assert len(watch.reporter) == 1
    watch.reporter.cancel_by_message(44)
    assert len(watch.reporter) == 0


def test_instances_that_come_and_go_are_told() -> None:
    watch = Watch(path=Path.of(3303))
    watch.reporter.instances_changed(Path.of(3304, 0))
    assert not watch.due(1.0)
    watch.reporter.instances_changed(Path.of(3303, 7))
    assert watch.due(1.0)


def test_sequence_numbers_have_24_bits() -> None:
    observation = Observation(b"t", (VALUE,), None)
    assert observation.next_sequence() == 1
    observation.sequence = 0xFFFFFF
    assert observation.next_sequence() == 0
