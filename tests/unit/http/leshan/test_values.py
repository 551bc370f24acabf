"""Values in Leshan's JSON: each type both ways, and what no type takes."""

import json
from typing import Any

import msgspec
import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.leshan.values import (
    MAX_NUMBER,
    TYPES,
    data_type_of,
    java_text,
    suited,
    value_json,
    value_of,
)
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Value

BOTH_WAYS = [
    (DataType.STRING, "Zürich \u0000 \U0001d11e", "Zürich \u0000 \U0001d11e"),
    (DataType.INTEGER, 95, "95"),
    (DataType.INTEGER, -(2**63), "-9223372036854775808"),
    (DataType.UNSIGNED, 2**64 - 1, "18446744073709551615"),
    (DataType.FLOAT, 22.5, 22.5),
    (DataType.FLOAT, 1e-9, 1e-9),
    (DataType.BOOLEAN, False, False),
    (DataType.TIME, 1_702_050_067, 1_702_050_067_000),
    (DataType.TIME, -1, -1000),
    (DataType.OPAQUE, b"\xde\xad\x00", "dead00"),
    (DataType.OPAQUE, b"", ""),
    (DataType.CORELNK, '</3/0>;ver="1.1",</5>', '</3/0>;ver="1.1",</5>'),
]


@pytest.mark.parametrize(("data_type", "value", "shown"), BOTH_WAYS)
def test_a_value_both_ways(data_type: DataType, value: Value, shown: Any) -> None:
    told = value_json(value, data_type)
    assert told == shown
    assert type(told) is type(shown)
    assert value_of(json.loads(msgspec.json.encode(told)), data_type) == value


def test_object_links_say_whether_they_link_to_nothing() -> None:
    assert value_json(ObjectLink(10, 3), DataType.OBJLNK) == {
        "objectId": 10,
        "objectInstanceId": 3,
        "nullLink": False,
    }
    assert value_json(ObjectLink(65535, 65535), DataType.OBJLNK)["nullLink"] is True
    assert value_json(ObjectLink(65535, 0), DataType.OBJLNK)["nullLink"] is False
    link = {"objectId": 65535, "objectInstanceId": 65535, "nullLink": True}
    assert value_of(link, DataType.OBJLNK) == ObjectLink(65535, 65535)
    assert value_of({"objectId": 10, "objectInstanceId": 3.0}, DataType.OBJLNK) == ObjectLink(10, 3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "1.0"),
        (22.5, "22.5"),
        (-0.0, "-0.0"),
        (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (1e-9, "1.0E-9"),
        (-1.25e-7, "-1.25E-7"),
        (9999999.5, "9999999.5"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_floats_as_java_writes_them(value: float, shown: str) -> None:
    assert java_text(value) == shown
    assert value_json(value, DataType.FLOAT, floats_as_text=True) == shown
    assert repr(float(shown)) == repr(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_floats_that_json_has_no_number_for_are_text(value: float) -> None:
    assert value_json(value, DataType.FLOAT) == java_text(value)


@pytest.mark.parametrize(
    ("data_type", "given", "value"),
    [
        (DataType.INTEGER, 95, 95),
        (DataType.INTEGER, 95.0, 95),
        (DataType.INTEGER, "+7", 7),
        (DataType.UNSIGNED, 2**64 - 1, 2**64 - 1),
        (DataType.FLOAT, "22.5", 22.5),
        (DataType.FLOAT, "1.0E-9", 1e-9),
        (DataType.FLOAT, 3, 3.0),
        (DataType.TIME, 1_702_050_067_999, 1_702_050_067),
        (DataType.OPAQUE, "DEADBEEF", b"\xde\xad\xbe\xef"),
    ],
)
def test_what_is_tolerated(data_type: DataType, given: object, value: Value) -> None:
    found = value_of(given, data_type)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("data_type", "given"),
    [
        (DataType.STRING, 5),
        (DataType.STRING, None),
        (DataType.INTEGER, True),
        (DataType.INTEGER, "1.5"),
        (DataType.INTEGER, 1.5),
        (DataType.INTEGER, ""),
        (DataType.INTEGER, "1_000"),
        (DataType.INTEGER, 2**63),
        (DataType.INTEGER, "٣"),
        (DataType.UNSIGNED, -1),
        (DataType.UNSIGNED, "18446744073709551616"),
        (DataType.FLOAT, "NaN"),
        (DataType.FLOAT, "1e999"),
        (DataType.FLOAT, 10**400),
        (DataType.FLOAT, "9" * (MAX_NUMBER + 1)),
        (DataType.FLOAT, False),
        (DataType.BOOLEAN, "true"),
        (DataType.BOOLEAN, 1),
        (DataType.TIME, "1702050067000"),
        (DataType.TIME, 1.5),
        (DataType.OPAQUE, "abc"),
        (DataType.OPAQUE, "zz"),
        (DataType.OPAQUE, "de ad"),
        (DataType.OPAQUE, [1, 2]),
        (DataType.OBJLNK, "66:0"),
        (DataType.OBJLNK, {"objectId": 66}),
        (DataType.OBJLNK, {"objectId": 66, "objectInstanceId": 65536}),
        (DataType.OBJLNK, {"objectId": True, "objectInstanceId": 0}),
        (DataType.CORELNK, "</3/0"),
        (DataType.CORELNK, 3),
    ],
)
def test_what_is_no_value_of_a_type(data_type: DataType, given: object) -> None:
    with pytest.raises(UsageError) as raised:
        value_of(given, data_type)
    assert raised.value.code == "value_invalid"
    assert TYPES[data_type] in raised.value.message
    assert raised.value.hint.startswith("give ")


@pytest.mark.parametrize("data_type", [one for one in DataType if one is not DataType.NONE])
def test_types_are_named_in_any_case(data_type: DataType) -> None:
    name = TYPES[data_type]
    assert data_type_of(name) is data_type
    assert data_type_of(name.lower()) is data_type


@pytest.mark.parametrize("name", [None, "NONE", "number", 5, ""])
def test_types_that_there_are_not(name: object) -> None:
    with pytest.raises(UsageError) as raised:
        data_type_of(name)
    assert raised.value.code == "value_invalid"
    assert "UNSIGNED_INTEGER" in raised.value.hint


@pytest.mark.parametrize(
    ("value", "given", "wanted", "fitted"),
    [
        (5, DataType.INTEGER, DataType.FLOAT, (5.0, DataType.FLOAT)),
        (5, DataType.INTEGER, DataType.TIME, (5, DataType.TIME)),
        (5.5, DataType.FLOAT, DataType.INTEGER, (5.5, DataType.FLOAT)),
        ("x", DataType.STRING, DataType.INTEGER, ("x", DataType.STRING)),
        (5, DataType.INTEGER, None, (5, DataType.INTEGER)),
        (5, DataType.INTEGER, DataType.INTEGER, (5, DataType.INTEGER)),
    ],
)
def test_a_type_gives_way_to_the_models_where_nothing_is_lost(
    value: Value, given: DataType, wanted: DataType | None, fitted: tuple[Value, DataType]
) -> None:
    found = suited(value, given, wanted)
    assert found == fitted
    assert type(found[0]) is type(fitted[0])
