"""Typed values: what fits which data type, and what a record becomes without a model."""

import dataclasses
import math

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import (
    INT64_MAX,
    INT64_MIN,
    UINT64_MAX,
    DataType,
    ObjectLink,
    Record,
    Value,
    fit,
    natural_type,
    record,
)

PATH = Path.parse("/3/0/9")
LINK = ObjectLink(66, 0)


@pytest.mark.parametrize(
    ("value", "data_type", "fitted"),
    [
        (5, DataType.INTEGER, 5),
        (5.0, DataType.INTEGER, 5),
        (-0.0, DataType.INTEGER, 0),
        (5, DataType.FLOAT, 5.0),
        (2**53 + 1, DataType.FLOAT, float(2**53)),
        (UINT64_MAX, DataType.FLOAT, 2.0**64),
        (INT64_MIN, DataType.INTEGER, INT64_MIN),
        (INT64_MAX, DataType.TIME, INT64_MAX),
        (1e18, DataType.TIME, 10**18),
        (0, DataType.UNSIGNED, 0),
        (UINT64_MAX, DataType.UNSIGNED, UINT64_MAX),
        (True, DataType.BOOLEAN, True),
        (b"x", DataType.OPAQUE, b"x"),
        ("x", DataType.STRING, "x"),
        ("</3>", DataType.CORELNK, "</3>"),
        (LINK, DataType.OBJLNK, LINK),
    ],
)
def test_fit(value: Value, data_type: DataType, fitted: Value) -> None:
    result = fit(value, data_type)
    assert result == fitted
    assert type(result) is type(fitted)
    assert record(PATH, value, lambda path: data_type) == Record(PATH, fitted, data_type)


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        (True, DataType.INTEGER),
        (True, DataType.FLOAT),
        (True, DataType.UNSIGNED),
        (1, DataType.BOOLEAN),
        (1.5, DataType.INTEGER),
        (math.nan, DataType.INTEGER),
        (math.inf, DataType.TIME),
        (INT64_MIN - 1, DataType.INTEGER),
        (INT64_MAX + 1, DataType.TIME),
        (1e300, DataType.INTEGER),
        (-1, DataType.UNSIGNED),
        (UINT64_MAX + 1, DataType.UNSIGNED),
        (10**400, DataType.FLOAT),
        ("5", DataType.INTEGER),
        (b"x", DataType.STRING),
        ("x", DataType.OPAQUE),
        ("66:0", DataType.OBJLNK),
        (LINK, DataType.STRING),
        (5, DataType.NONE),
    ],
)
def test_does_not_fit(value: Value, data_type: DataType) -> None:
    assert fit(value, data_type) is None
    kept = record(PATH, value, lambda path: data_type, 7)
    assert kept.value is value
    assert kept.data_type is natural_type(value)
    assert kept.time_ms == 7


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        (True, DataType.BOOLEAN),
        (1, DataType.INTEGER),
        (INT64_MAX, DataType.INTEGER),
        (INT64_MAX + 1, DataType.UNSIGNED),
        (1.0, DataType.FLOAT),
        ("x", DataType.STRING),
        (b"x", DataType.OPAQUE),
        (LINK, DataType.OBJLNK),
    ],
)
def test_natural_type(value: Value, data_type: DataType) -> None:
    assert natural_type(value) is data_type
    assert record(PATH, value, lambda path: None) == Record(PATH, value, data_type)


def test_the_model_is_asked_for_the_path() -> None:
    asked: list[Path] = []

    def types(path: Path) -> DataType | None:
        asked.append(path)
        return None

    record(PATH, 5, types)
    assert asked == [PATH]


@pytest.mark.parametrize(
    ("text", "link"),
    [("66:0", LINK), ("0:0", ObjectLink(0, 0)), ("65535:65535", ObjectLink(65535, 65535))],
)
def test_object_link(text: str, link: ObjectLink) -> None:
    assert ObjectLink.parse(text) == link
    assert str(link) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "66", "66:", ":0", "66:0:1", "65536:0", "0:65536", "-1:0", " 1:0", "1:٣", "9" * 5000 + ":0"],
)
def test_bad_object_links(text: str) -> None:
    with pytest.raises(PeerError) as caught:
        ObjectLink.parse(text)
    assert caught.value.code == "value_invalid"
    assert len(caught.value.message) < 200


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Record(PATH, 1, DataType.INTEGER).value = 2  # type: ignore[misc]
