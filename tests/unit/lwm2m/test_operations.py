"""What can be asked of a device, on which paths, and what becomes of the asking."""

from itertools import product
from typing import Any

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.model import ResourceDefinition
from flownexus_appliance.lwm2m.operations import (
    AT_MOST_ONCE,
    CANCELS,
    COMPOSITES,
    MAX_ARGUMENTS,
    MAX_PATHS,
    TRANSITIONS,
    UNFINISHED,
    WRITES,
    Kind,
    Operation,
    Status,
    Step,
    check,
    check_model,
    kind_of,
    natural_plain_type,
)
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject
from flownexus_appliance.lwm2m.values import DataType, Record, natural_type

PATHS = [Path((3, 0, 11, 0)[:depth]) for depth in range(5)]
# LwM2M Core 1.1.1 6.3, 6.4: how deep the path of each may be.
DEPTHS = {
    "read": {1, 2, 3, 4},
    "write": {2, 3, 4},
    "write_partial": {2},
    "write_attributes": {1, 2, 3, 4},
    "discover": {1, 2, 3},
    "execute": {3},
    "create": {1, 2},
    "delete": {2, 4},
    "read_composite": {0, 1, 2, 3, 4},
    "write_composite": {3, 4},
    "observe": {1, 2, 3, 4},
    "observe_composite": {0, 1, 2, 3, 4},
    "cancel": {0, 1, 2, 3, 4},
    "cancel_passive": {0, 1, 2, 3, 4},
}


def operation(kind: str, *paths: str, values: dict[str, Any] | None = None, **more: Any) -> Operation:
    records = tuple(Record(Path.parse(p), v, natural_type(v)) for p, v in (values or {}).items())
    return Operation(Kind(kind), tuple(map(Path.parse, paths)), records, **more)


def refused(wanted: Operation) -> str:
    with pytest.raises(UsageError) as raised:
        check(wanted)
    assert raised.value.message
    assert raised.value.hint
    return raised.value.code


# The table


def test_every_step_from_every_state_is_known_or_not_allowed() -> None:
    """What is done stays done; what is sent was queued; all else ends somewhere."""
    assert set(DEPTHS) == {kind.value for kind in Kind}
    for status, step in product(Status, Step):
        after = TRANSITIONS.get((status, step))
        if status not in UNFINISHED:
            assert after is None
    assert {after for (before, _), after in TRANSITIONS.items() if before is Status.QUEUED} == {
        Status.SENDING,
        Status.FAILED,
        Status.EXPIRED,
        Status.CANCELLED,
    }
    assert {step for (before, step) in TRANSITIONS if before is Status.SENDING} == set(Step) - {Step.SEND}
    assert TRANSITIONS[Status.SENDING, Step.POSTPONE] is Status.QUEUED
    assert Status.CONFIRMED not in {
        after for (before, _), after in TRANSITIONS.items() if before is Status.QUEUED
    }


def test_what_must_not_happen_twice() -> None:
    assert {Kind.EXECUTE, Kind.CREATE} == AT_MOST_ONCE
    assert not AT_MOST_ONCE & (COMPOSITES | CANCELS)


# Paths


@pytest.mark.parametrize(
    ("kind", "path"), list(product(Kind, PATHS)), ids=lambda value: str(value) if value else "/"
)
def test_how_deep_a_path_may_be(kind: Kind, path: Path) -> None:
    records: tuple[Record, ...] = ()
    if kind in WRITES and kind is not Kind.CREATE:
        below = Path((*path, *(3, 0, 11, 0)[len(path) : 3])) if len(path) < 3 else path
        records = (Record(below, 1, DataType.INTEGER),)
    attributes = (("pmin", "1"),) if kind is Kind.WRITE_ATTRIBUTES else ()
    wanted = Operation(kind, (path,), records, attributes=attributes)
    if len(path) in DEPTHS[kind.value]:
        check(wanted)
    else:
        assert refused(wanted) == "path_invalid"


@pytest.mark.parametrize("kind", Kind)
def test_how_many_paths_there_may_be(kind: Kind) -> None:
    depth = max(DEPTHS[kind.value] & {1, 2, 3})
    many = tuple(
        Path((3, number, 1)[:depth]) if depth > 1 else Path((number,)) for number in range(MAX_PATHS + 1)
    )
    records = tuple(Record(Path((*p, *(3, 0, 1)[len(p) :])), 1, DataType.INTEGER) for p in many)
    more = {"attributes": (("pmin", "1"),)} if kind is Kind.WRITE_ATTRIBUTES else {}

    def of(paths: tuple[Path, ...]) -> Operation:
        written = kind in WRITES and paths
        return Operation(kind, paths, records[: len(paths)] if written else (), **more)  # type: ignore[arg-type]

    several = kind in COMPOSITES | CANCELS
    assert refused(of(())) == "paths_invalid"
    check(of(many[:1]))
    assert refused(of(many)) == "paths_invalid"
    if several:
        check(of(many[:MAX_PATHS]))
    else:
        assert refused(of(many[:2])) == "paths_invalid"


@pytest.mark.parametrize(
    "paths", [("/3", "/3/0/9"), ("/3/0/9", "/3"), ("/3/0", "/3/0"), ("/", "/3"), ("/1", "/3", "/3/0/11/0")]
)
def test_a_composite_operation_asks_for_nothing_twice(paths: tuple[str, ...]) -> None:
    for kind in ("read_composite", "observe_composite"):
        assert refused(operation(kind, *paths)) == "paths_invalid"


def test_nor_by_the_same_path_object() -> None:
    path = Path.of(3, 0, 9)
    assert refused(Operation(Kind.READ_COMPOSITE, (path, path))) == "paths_invalid"


# Values


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (operation("write", "/3/0"), "value_missing"),
        (operation("write_partial", "/3/0"), "value_missing"),
        (operation("write_composite", "/3/0/14"), "value_missing"),
        (operation("read", "/3/0", values={"/3/0/9": 1}), "value_unexpected"),
        (operation("execute", "/3/0/4", values={"/3/0/4": 1}), "value_unexpected"),
        (operation("delete", "/3/0", values={"/3/0/9": 1}), "value_unexpected"),
        (operation("write", "/3/0", values={"/3/1/9": 1}), "path_invalid"),
        (operation("write", "/3/0/9", values={"/3/0/9": 1, "/3/0/14": "Z"}), "path_invalid"),
        (operation("write_composite", "/3/0/9", values={"/3/0/14": "Z"}), "path_invalid"),
        (operation("create", "/3303", values={"/3303/0": 1}), "path_invalid"),
        (operation("create", "/3303/1", values={"/3303/0/5700": 1.0}), "path_invalid"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.kind} {value.path}",
)
def test_values_that_make_no_sense(wanted: Operation, code: str) -> None:
    assert refused(wanted) == code


@pytest.mark.parametrize(
    "wanted",
    [
        operation("write", "/3/0", values={"/3/0/14": "Z", "/3/0/11/0": 1}),
        operation("write", "/3/0/11", values={"/3/0/11/0": 1, "/3/0/11/5": 2}),
        operation("write_composite", "/3/0/14", "/1/0/1", values={"/3/0/14": "Z", "/1/0/1": 60}),
        operation("create", "/3303"),
        operation("create", "/3303/1", values={"/3303/1/5700": 1.0}),
    ],
    ids=lambda wanted: f"{wanted.kind} {len(wanted.records)}",
)
def test_values_that_do(wanted: Operation) -> None:
    check(wanted)


# Arguments and attributes


@pytest.mark.parametrize(
    "arguments", ["", "0", "9", "0,1,2", "0=''", "0='/33629/1'", "3,0='a b, c',1='=\"é'"]
)
def test_arguments_of_an_execute(arguments: str) -> None:
    check(operation("execute", "/3/0/4", arguments=arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        *("x", "10", "0=", "0=5", "0='", "0='it's'", "0,", ",0", " 0", "0\n", "0='a\nb'", "0='\ud800'", "٣"),
        "0='" + "x" * MAX_ARGUMENTS + "'",
    ],
    ids=lambda text: ascii(text[:10]),
)
def test_what_are_none(arguments: str) -> None:
    assert refused(operation("execute", "/3/0/4", arguments=arguments)) == "arguments_invalid"


def test_only_an_execute_has_arguments_and_only_write_attributes_has_attributes() -> None:
    assert refused(operation("read", "/3", arguments="0")) == "arguments_invalid"
    assert refused(operation("read", "/3", attributes=(("pmin", "1"),))) == "attributes_invalid"
    assert refused(operation("write_attributes", "/3")) == "attributes_invalid"
    assert refused(operation("write_attributes", "/3", attributes=(("gt", "1"),))) == "attributes_invalid"


# What the device and its models have

OBJECTS = {
    3: RegisteredObject("1.1", (0,)),
    3303: RegisteredObject("", (0, 1)),
    9: RegisteredObject("", ()),
    40_000: RegisteredObject("", (0,)),
}
MODEL = {
    (3, 4): ("Reboot", "E", False),
    (3, 11): ("Error Code", "R", True),
    (3, 14): ("UTC Offset", "RW", False),
    (3, 15): ("Secret", "W", False),
    (3, 16): ("Hidden", "", False),
    (3303, 5700): ("Sensor Value", "R", False),
}


def defined(path: Path) -> ResourceDefinition | None:
    found = MODEL.get((path[0], path[2]))
    if found is None:
        return None
    name, operations, multiple = found
    return ResourceDefinition(path[2], name, operations, DataType.STRING, multiple, False)


def known(object_id: int) -> bool:
    return object_id in (3, 3303, 9)


def model_refuses(wanted: Operation, objects: Any = OBJECTS) -> str:
    """The code, "" where the model has nothing against it."""
    check(wanted)
    try:
        check_model(wanted, objects, defined, known)
    except UsageError as error:
        return error.code if error.message and error.hint else "says too little"
    return ""


def on(kind: str, path: str) -> Operation:
    values = {path: "x"} if Kind(kind) in WRITES else None
    attributes = (("pmin", "1"),) if kind == "write_attributes" else ()
    return operation(kind, path, values=values, attributes=attributes)


@pytest.mark.parametrize(
    ("kind", "path", "code"),
    [
        ("read", "/3/0/11", ""),
        ("read", "/3/0/11/7", ""),
        ("read", "/3/0/14", ""),
        ("read", "/3/0/4", "not_readable"),
        ("read", "/3/0/15", "not_readable"),
        ("read", "/3/0/16", "not_readable"),
        ("read", "/3/0/99", "resource_undefined"),
        ("read", "/3/0/14/0", "not_multiple"),
        ("read", "/3", ""),
        ("read", "/4", "object_unknown"),
        ("read", "/3/1", "instance_unknown"),
        ("read", "/3303/1/5700", ""),
        ("read", "/9/7", ""),
        ("read", "/40000/0/1", ""),
        ("read_composite", "/3/0/15", "not_readable"),
        ("read_composite", "/", ""),
        ("observe", "/3/0/4", "not_readable"),
        ("observe_composite", "/3/0/15", "not_readable"),
        ("write", "/3/0/14", ""),
        ("write", "/3/0/15", ""),
        ("write", "/3/0/11", "not_writable"),
        ("write", "/3/0/4", "not_writable"),
        ("write_composite", "/3/0/11", "not_writable"),
        ("execute", "/3/0/4", ""),
        ("execute", "/3/0/14", "not_executable"),
        ("write_attributes", "/3/0/4", ""),
        ("write_attributes", "/3/0/99", "resource_undefined"),
        ("discover", "/3/0/4", ""),
        ("delete", "/3303/2", "instance_unknown"),
        ("delete", "/3/0/11/0", ""),
        ("cancel", "/4/0/1", ""),
        ("cancel_passive", "/3/0/4", ""),
    ],
)
def test_what_the_models_allow(kind: str, path: str, code: str) -> None:
    assert model_refuses(on(kind, path)) == code


def test_a_create_may_name_an_instance_that_is_not_there_and_write_what_is_read_only() -> None:
    assert model_refuses(operation("create", "/3303/7", values={"/3303/7/5700": "x"})) == ""
    assert model_refuses(operation("create", "/3303", values={"/3303/0/1": "x"})) == "resource_undefined"
    assert model_refuses(operation("create", "/4")) == "object_unknown"


def test_each_value_of_a_write_is_looked_at() -> None:
    wanted = operation("write_partial", "/3/0", values={"/3/0/14": "x", "/3/0/11": "x"})
    assert model_refuses(wanted) == "not_writable"


def test_of_a_device_that_is_away_the_models_alone_are_asked() -> None:
    assert model_refuses(on("read", "/4/0/1"), None) == ""
    assert model_refuses(on("read", "/3/0/15"), None) == "not_readable"


def test_a_long_list_is_cut() -> None:
    many = {number: RegisteredObject("", (0,)) for number in range(5, 40)}
    with pytest.raises(UsageError) as raised:
        check_model(on("read", "/3"), many, defined, known)
    assert "and 15 more" in raised.value.hint


# Words


@pytest.mark.parametrize("kind", Kind)
def test_each_has_a_name(kind: Kind) -> None:
    assert kind_of(kind.value) is kind


@pytest.mark.parametrize("name", ["", "fly", "READ", "read\n"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(UsageError) as raised:
        kind_of(name)
    assert raised.value.code == "operation_unknown"


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        (True, DataType.BOOLEAN),
        (1, DataType.INTEGER),
        (1.0, DataType.FLOAT),
        ("1", DataType.STRING),
        (None, DataType.STRING),
    ],
)
def test_what_a_plain_value_is_where_no_model_tells(value: object, data_type: DataType) -> None:
    assert natural_plain_type(value) is data_type
