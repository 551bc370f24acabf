"""Values as JSON carries them."""

import json
from math import copysign, inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.plain import from_plain, to_plain
from flownexus_appliance.lwm2m.values import INT64_MAX, INT64_MIN, UINT64_MAX, DataType, ObjectLink, Value

VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.STRING: st.text(),
    DataType.CORELNK: st.text(),
    DataType.INTEGER: st.integers(INT64_MIN, INT64_MAX),
    DataType.TIME: st.integers(INT64_MIN, INT64_MAX),
    DataType.UNSIGNED: st.integers(0, UINT64_MAX),
    DataType.FLOAT: st.floats(allow_nan=False),
    DataType.BOOLEAN: st.booleans(),
    DataType.OPAQUE: st.binary(),
    DataType.OBJLNK: st.builds(ObjectLink, st.integers(0, 65535), st.integers(0, 65535)),
}
typed = st.sampled_from(list(VALUES)).flatmap(lambda t: st.tuples(st.just(t), VALUES[t]))


def test_every_data_type_that_has_values_is_tried_here() -> None:
    assert set(VALUES) == set(DataType) - {DataType.NONE}


@given(typed)
def test_a_value_comes_back_through_json(case: tuple[DataType, Value]) -> None:
    data_type, value = case
    carried = json.loads(json.dumps(to_plain(value), allow_nan=False))
    back = from_plain(carried, data_type)
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (b"\x0a\x1b\xff", "0a1bff"),
        (b"", ""),
        (ObjectLink(66, 0), "66:0"),
        (ObjectLink(65535, 65535), "65535:65535"),
        (inf, "inf"),
        (-inf, "-inf"),
        (nan, "nan"),
        (21.5, 21.5),
        (True, True),
        (UINT64_MAX, UINT64_MAX),
        ("é\0", "é\0"),
    ],
)
def test_how_it_is_written(value: Value, plain: object) -> None:
    assert to_plain(value) == plain
    assert type(to_plain(value)) is type(plain)


def test_not_a_number_and_negative_zero() -> None:
    number = from_plain("nan", DataType.FLOAT)
    assert isinstance(number, float)
    assert isnan(number)
    zero = from_plain(to_plain(-0.0), DataType.FLOAT)
    assert isinstance(zero, float)
    assert copysign(1, zero) == -1


@pytest.mark.parametrize(
    ("plain", "data_type", "value"),
    [
        (23, DataType.FLOAT, 23.0),
        (23.0, DataType.INTEGER, 23),
        (1.7e9, DataType.TIME, 1_700_000_000),
        ("0A1b Ff", DataType.OPAQUE, b"\x0a\x1b\xff"),
    ],
)
def test_json_need_not_tell_numbers_apart(plain: object, data_type: DataType, value: Value) -> None:
    read = from_plain(plain, data_type)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("plain", "data_type"),
    [
        (None, DataType.STRING),
        ([1], DataType.FLOAT),
        ({}, DataType.STRING),
        (5, DataType.STRING),
        (True, DataType.INTEGER),
        (True, DataType.FLOAT),
        ("5", DataType.INTEGER),
        ("1.5", DataType.FLOAT),
        ("NaN", DataType.FLOAT),
        (1.5, DataType.INTEGER),
        (inf, DataType.INTEGER),
        (nan, DataType.UNSIGNED),
        (-1, DataType.UNSIGNED),
        (UINT64_MAX + 1, DataType.UNSIGNED),
        (INT64_MAX + 1, DataType.INTEGER),
        (INT64_MIN - 1, DataType.TIME),
        (10**400, DataType.FLOAT),
        (1, DataType.BOOLEAN),
        ("true", DataType.BOOLEAN),
        ("0a1", DataType.OPAQUE),
        ("0x0a", DataType.OPAQUE),
        (10, DataType.OPAQUE),
        ("66", DataType.OBJLNK),
        ("66:70000", DataType.OBJLNK),
        ("66:-1", DataType.OBJLNK),
        (66, DataType.OBJLNK),
        ("anything", DataType.NONE),
        (0, DataType.NONE),
    ],
)
def test_what_does_not_fit_is_refused_with_a_hint(plain: object, data_type: DataType) -> None:
    with pytest.raises(UsageError) as caught:
        from_plain(plain, data_type)
    assert caught.value.code == "value_invalid"
    assert data_type.value in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 120


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_values, st.sampled_from(DataType))
def test_any_json_gives_a_value_or_a_usage_error(plain: object, data_type: DataType) -> None:
    try:
        value = from_plain(plain, data_type)
    except UsageError:
        return
    assert isinstance(value, (str, int, float, bool, bytes, ObjectLink))
