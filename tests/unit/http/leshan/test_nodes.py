"""Leshan's nodes: every kind both ways, what is tolerated in a request, and what is refused."""

from typing import Any

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.leshan.nodes import (
    instance_of,
    newest,
    node_of,
    nodes_by_path,
    nodes_by_record,
    read_json,
    records_of,
)
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record

from ..house import record

LEVEL = record("/3/0/9", 95, DataType.INTEGER)
NAME = record("/3/0/0", "Nordic", DataType.STRING)
VOLTAGES = (record("/3/0/7/0", 3800, DataType.INTEGER), record("/3/0/7/1", 5000, DataType.INTEGER))
WARM = record("/3303/0/5700", 22.5, DataType.FLOAT)
COLD = record("/3303/1/5700", -1.0, DataType.FLOAT)

LEVEL_NODE = {"kind": "singleResource", "id": 9, "type": "INTEGER", "value": "95"}
NAME_NODE = {"kind": "singleResource", "id": 0, "type": "STRING", "value": "Nordic"}
VOLTAGES_NODE = {
    "kind": "multiResource",
    "id": 7,
    "type": "INTEGER",
    "values": {"0": "3800", "1": "5000"},
}
VOLTAGE_NODE = {"kind": "resourceInstance", "id": 1, "type": "INTEGER", "value": "5000"}
WARM_NODE = {"kind": "singleResource", "id": 5700, "type": "FLOAT", "value": 22.5}
COLD_NODE = {"kind": "singleResource", "id": 5700, "type": "FLOAT", "value": -1.0}
DEVICE_NODE = {"kind": "instance", "id": 0, "resources": [NAME_NODE, VOLTAGES_NODE, LEVEL_NODE]}
TEMPERATURES_NODE = {
    "kind": "obj",
    "id": 3303,
    "instances": [
        {"kind": "instance", "id": 0, "resources": [WARM_NODE]},
        {"kind": "instance", "id": 1, "resources": [COLD_NODE]},
    ],
}
ROOT_NODE = {
    "kind": "root",
    "objects": [{"kind": "obj", "id": 3, "instances": [DEVICE_NODE]}, TEMPERATURES_NODE],
}
EVERYTHING = (COLD, LEVEL, *reversed(VOLTAGES), WARM, NAME)

SHAPES: list[tuple[str, dict[str, Any], tuple[Record, ...]]] = [
    ("/3/0/9", LEVEL_NODE, (LEVEL,)),
    ("/3/0/7", VOLTAGES_NODE, VOLTAGES),
    ("/3/0/7/1", VOLTAGE_NODE, (VOLTAGES[1],)),
    ("/3/0", DEVICE_NODE, (NAME, *VOLTAGES, LEVEL)),
    ("/3303", TEMPERATURES_NODE, (WARM, COLD)),
    ("/", ROOT_NODE, (NAME, *VOLTAGES, LEVEL, WARM, COLD)),
]


def no_model(_: Path) -> None:
    return None


def taken_apart(path: str, node: object) -> tuple[Record, ...]:
    return records_of(Path.parse(path), node, no_model)


def refused(path: str, node: object) -> UsageError:
    with pytest.raises(UsageError) as raised:
        taken_apart(path, node)
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize(("path", "node", "records"), SHAPES)
def test_every_kind_both_ways(path: str, node: dict[str, Any], records: tuple[Record, ...]) -> None:
    assert node_of(Path.parse(path), EVERYTHING) == node
    assert taken_apart(path, node) == records


def test_floats_can_be_leshans_text_at_any_depth() -> None:
    root = node_of(Path.ROOT, [WARM], floats_as_text=True)
    assert root is not None
    assert root["objects"][0]["instances"][0]["resources"][0]["value"] == "22.5"
    assert nodes_by_path([WARM.path], [WARM], floats_as_text=True)["/3303/0/5700"]["value"] == "22.5"
    assert nodes_by_record([WARM], floats_as_text=True)["/3303/0/5700"]["value"] == "22.5"


def test_what_has_no_value() -> None:
    assert node_of(Path.ROOT, []) == {"kind": "root", "objects": []}
    assert node_of(Path.of(3), []) == {"kind": "obj", "id": 3, "instances": []}
    assert node_of(Path.of(3, 0), [WARM]) == {"kind": "instance", "id": 0, "resources": []}
    assert node_of(Path.of(3, 0, 7, 0), []) is None


def test_an_empty_multiple_resource_has_the_type_of_its_model(models: ModelSet) -> None:
    empty = {"kind": "multiResource", "id": 7, "type": "INTEGER", "values": {}}
    assert node_of(Path.of(3, 0, 7), [], types=models.type_of) == empty
    assert node_of(Path.of(3, 0, 7), []) == {**empty, "type": "STRING"}


def test_of_several_times_the_newest_counts() -> None:
    old = record("/3303/0/5700", 1.0, DataType.FLOAT, 1000)
    new = record("/3303/0/5700", 2.0, DataType.FLOAT, 2000)
    now = record("/3303/0/5700", 3.0, DataType.FLOAT)
    assert newest([new, old]) == [new]
    assert newest([old, new]) == [new]
    assert newest([now, new, old]) == [now]
    assert newest([new, old, now, COLD]) == [now, COLD]
    again = record("/3303/0/5700", 4.0, DataType.FLOAT, 2000)
    assert newest([new, again]) == [again]


def test_a_devices_own_time_is_told() -> None:
    timed = record("/3/0/9", 95, DataType.INTEGER, 1_702_050_067_123)
    assert node_of(Path.of(3, 0, 9), [timed]) == {**LEVEL_NODE, "timestamp": 1_702_050_067_123}
    instances = (
        record("/3/0/7/0", 3800, DataType.INTEGER, 1000),
        record("/3/0/7/1", 5000, DataType.INTEGER, 2000),
    )
    assert node_of(Path.of(3, 0, 7), instances) == {**VOLTAGES_NODE, "timestamp": 2000}


def test_a_composite_content_leaves_out_what_has_no_value() -> None:
    paths = [Path.of(3, 0, 9), Path.of(3303, 1), Path.of(3, 0, 99), Path.of(5)]
    assert nodes_by_path(paths, EVERYTHING) == {
        "/3/0/9": LEVEL_NODE,
        "/3303/1": {"kind": "instance", "id": 1, "resources": [COLD_NODE]},
    }
    assert nodes_by_path([Path.ROOT], EVERYTHING) == {"/": ROOT_NODE}
    assert nodes_by_path([Path.ROOT], []) == {}


def test_a_send_is_told_by_record() -> None:
    assert nodes_by_record([VOLTAGES[1], LEVEL]) == {"/3/0/7/1": VOLTAGE_NODE, "/3/0/9": LEVEL_NODE}


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("/3/0/9", {"id": "9", "type": "integer", "value": 95}),
        ("/3/0/9", {"kind": "singleResource", "type": "Integer", "value": "95"}),
        ("/3/0/9", {"id": 9, "type": "INTEGER", "value": 95.0, "timestamp": 5}),
        ("/3/0", {"resources": [{"id": "9", "type": "integer", "value": 95}]}),
        ("/3/0", {"kind": "instance", "id": "0", "resources": [LEVEL_NODE]}),
        ("/3", {"id": 3, "instances": [{"id": 0, "resources": [LEVEL_NODE]}]}),
        ("/", {"objects": [{"id": 3, "instances": [{"id": 0, "resources": [LEVEL_NODE]}]}]}),
    ],
)
def test_what_is_tolerated(path: str, node: object) -> None:
    assert taken_apart(path, node) == (LEVEL,)


def test_a_resource_instance_may_leave_out_its_kind() -> None:
    assert taken_apart("/3/0/7/1", {"id": 1, "type": "integer", "value": "5000"}) == (VOLTAGES[1],)
    assert taken_apart("/3/0/7", {"id": 7, "type": "integer", "values": {"1": 5000, "0": 3800}}) == (
        VOLTAGES[1],
        VOLTAGES[0],
    )


def test_the_model_decides_between_types_that_hold_the_same(models: ModelSet) -> None:
    node = {"id": 5601, "type": "integer", "value": 5}
    found = records_of(Path.of(3303, 0, 5601), node, models.type_of)
    assert found == (Record(Path.of(3303, 0, 5601), 5.0, DataType.FLOAT),)
    # Seconds, as the house has them: only a TIME of the request is in milliseconds.
    node = {"id": 13, "type": "integer", "value": 5}
    assert records_of(Path.of(3, 0, 13), node, models.type_of)[0].data_type is DataType.TIME


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("/3/0/9", None),
        ("/3/0/9", [LEVEL_NODE]),
        ("/3/0/9", "95"),
        ("/3/0/9", {}),
        ("/3/0/9", {"id": 9, "type": "INTEGER"}),
        ("/3/0/9", {"kind": "singleResource", "id": 9, "type": "INTEGER"}),
        ("/3/0/9", {**LEVEL_NODE, "id": 8}),
        ("/3/0/9", {**LEVEL_NODE, "id": "nine"}),
        ("/3/0/9", {**LEVEL_NODE, "id": 65535}),
        ("/3/0/9", {**LEVEL_NODE, "id": True}),
        ("/3/0/9", {**LEVEL_NODE, "kind": "resource"}),
        ("/3/0/9", {**LEVEL_NODE, "kind": ["singleResource"]}),
        ("/3/0/7", {**VOLTAGE_NODE, "id": 7}),
        ("/3/0/7/1", {**LEVEL_NODE, "id": 1}),
        ("/3/0", LEVEL_NODE),
        ("/3/0/9", DEVICE_NODE),
        ("/3", {"kind": "instance", "id": 3, "resources": []}),
        ("/", {"kind": "obj", "id": 3, "instances": []}),
        ("/3/0", {"kind": "instance", "id": 0}),
        ("/3/0", {"id": 0, "resources": {}}),
        ("/3/0", {"id": 0, "resources": [{"type": "INTEGER", "value": 1}]}),
        ("/3/0", {"id": 0, "resources": [5]}),
        ("/3/0", {"id": 0, "resources": [VOLTAGE_NODE]}),
        ("/3/0/7", {**VOLTAGES_NODE, "values": [1]}),
        ("/3/0/7", {**VOLTAGES_NODE, "values": {"x": 1}}),
        ("/3/0/7", {**VOLTAGES_NODE, "values": {"65535": 1}}),
    ],
)
def test_what_is_no_node_for_a_path(path: str, node: object) -> None:
    assert refused(path, node).code == "body_invalid"


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("/3/0/9", {"id": 9, "value": 95}),
        ("/3/0/9", {**LEVEL_NODE, "type": "NUMBER"}),
        ("/3/0/9", {**LEVEL_NODE, "value": True}),
        ("/3/0/9", {**LEVEL_NODE, "value": None}),
        ("/3/0/7", {**VOLTAGES_NODE, "type": None}),
        ("/3/0/7", {**VOLTAGES_NODE, "values": {"0": "much"}}),
        ("/3/0", {"id": 0, "resources": [{**LEVEL_NODE, "value": "much"}]}),
    ],
)
def test_what_is_no_value_of_its_type(path: str, node: object) -> None:
    assert refused(path, node).code == "value_invalid"


def test_an_instance_is_created_with_and_without_an_id() -> None:
    inside = {"resources": [{"id": 5700, "type": "float", "value": -1}]}
    target, records = instance_of(3303, {"id": 1, **inside}, no_model)
    assert (target, records) == (Path.of(3303, 1), (COLD,))
    target, records = instance_of(3303, inside, no_model)
    assert target == Path.of(3303)
    assert records == (record("/3303/0/5700", -1.0, DataType.FLOAT),)
    assert instance_of(442, {"id": 0, "resources": []}, no_model) == (Path.of(442, 0), ())


@pytest.mark.parametrize("node", [LEVEL_NODE, TEMPERATURES_NODE, [], {"id": 0}])
def test_only_an_instance_is_created(node: object) -> None:
    with pytest.raises(UsageError) as raised:
        instance_of(3303, node, no_model)
    assert raised.value.code == "body_invalid"


def test_json_is_read() -> None:
    assert read_json(b'{"id": "6"}') == {"id": "6"}
    for text in (b"", b"{", b"[" * 100_000, b"\xff", b'{"id": NaN}'):
        with pytest.raises(UsageError) as raised:
            read_json(text)
        assert raised.value.code == "body_invalid"
