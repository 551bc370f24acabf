"""Leshan's nodes: what is built of records is taken apart into the same records, and nothing else raises."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.leshan.nodes import node_of, nodes_by_path, read_json, records_of
from flownexus_appliance.lwm2m.paths import MAX_ID, Path
from flownexus_appliance.lwm2m.values import (
    INT64_MAX,
    INT64_MIN,
    UINT64_MAX,
    DataType,
    ObjectLink,
    Record,
    Value,
)

IDS = st.integers(0, MAX_ID)
FEW_IDS = st.integers(0, 3)  # so that paths share their parents
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Leshan's milliseconds of a whole second are a number of 64 bits too.
TIMES = st.integers(INT64_MIN // 1000 + 1, INT64_MAX // 1000)
VALUES: dict[DataType, st.SearchStrategy[Value]] = {
    DataType.STRING: TEXT,
    DataType.INTEGER: st.integers(INT64_MIN, INT64_MAX),
    DataType.UNSIGNED: st.integers(0, UINT64_MAX),
    DataType.FLOAT: st.floats(allow_nan=False, allow_infinity=False),
    DataType.BOOLEAN: st.booleans(),
    DataType.OPAQUE: st.binary(max_size=20),
    DataType.TIME: TIMES,
    DataType.OBJLNK: st.builds(ObjectLink, st.integers(0, 65535), st.integers(0, 65535)),
    DataType.CORELNK: st.sampled_from(["", "</3/0>", '</3/0>;ver="1.1",</5>']),
}


def no_model(_: Path) -> None:
    return None


def records_at(path: tuple[int, ...], data_type: DataType) -> st.SearchStrategy[list[Record]]:
    """One value of a resource, or its instances, which have one type."""
    value = VALUES[data_type]
    single = value.map(lambda v: [Record(Path(path), v, data_type)])
    several = st.dictionaries(FEW_IDS, value, min_size=1).map(
        lambda found: [Record(Path((*path, number)), found[number], data_type) for number in sorted(found)]
    )
    return st.one_of(single, several)


RESOURCES = st.dictionaries(
    st.tuples(FEW_IDS, FEW_IDS, IDS), st.sampled_from(sorted(VALUES)), max_size=6
).flatmap(lambda types: st.tuples(*(records_at(path, types[path]) for path in sorted(types))))


@given(RESOURCES, st.booleans())
def test_records_become_nodes_and_records_again(
    resources: tuple[list[Record], ...], floats_as_text: bool
) -> None:
    records = tuple(record for resource in resources for record in resource)
    node = node_of(Path.ROOT, reversed(records), floats_as_text=floats_as_text)
    sent = json.loads(msgspec.json.encode(node))
    assert records_of(Path.ROOT, sent, no_model) == records


@given(RESOURCES)
def test_a_composite_content_holds_each_record_once(resources: tuple[list[Record], ...]) -> None:
    records = [record for resource in resources for record in resource]
    paths = sorted({Path(record.path[:2]) for record in records})
    content = nodes_by_path(paths, records)
    again = [record for path in paths for record in records_of(path, content[str(path)], no_model)]
    assert again == records


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["9", "integer", "obj", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "kind", "type", "value", "values", "resources", "instances", "objects", "0"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


def taken_apart(path: Path, sent: Any) -> tuple[Record, ...] | str:
    """The records of a node, or the code of the error."""
    try:
        return records_of(path, sent, no_model)
    except UsageError as error:
        return error.code


@given(st.lists(FEW_IDS, max_size=4).map(Path), JSON)
def test_any_json_is_a_node_or_a_usage_error(path: Path, sent: Any) -> None:
    found = taken_apart(path, sent)
    if isinstance(found, str):
        assert found in ("body_invalid", "value_invalid")
    else:
        assert all(path.covers(record.path) and len(record.path) >= 3 for record in found)


@given(st.binary(max_size=30))
def test_any_body_is_json_or_a_usage_error(body: bytes) -> None:
    try:
        found = read_json(body)
    except UsageError as error:
        found = error
    assert not isinstance(found, UsageError) or found.code == "body_invalid"
