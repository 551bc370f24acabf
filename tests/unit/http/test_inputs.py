"""Values in forms: the input that fits a data type, and what is taken from it."""

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.inputs import MAX_LINES, Input, bounds, choices, input_of, records_of
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.plain import PlainValue
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Value

AT = Path.parse("/4000/0/7")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0..100", ("0", "100")),
        ("-24..24", ("-24", "24")),
        ("0.000001..1.0", ("0.000001", "1.0")),
        ("1..64 bytes", ("", "")),
        ("0..247, 255", ("", "")),
        ("100..0", ("", "")),
        ("", ("", "")),
        (None, ("", "")),
    ],
)
def test_a_range_of_the_model_bounds_a_number(text: str | None, found: tuple[str, str]) -> None:
    assert bounds(text) == found


def test_words_of_the_model_are_choices() -> None:
    words = "0: CONFIGURED_ON; 1: FULL_ON; 2: RECALL"
    assert choices(AT, DataType.UNSIGNED, words) == {"0": "CONFIGURED_ON", "1": "FULL_ON", "2": "RECALL"}
    assert choices(AT, DataType.STRING, words) == {}
    assert choices(AT, DataType.UNSIGNED, "0: off; more: on") == {}
    assert choices(AT, DataType.UNSIGNED, "0..5") == {}
    assert choices(AT, DataType.BOOLEAN, None) == {"true": "Yes", "false": "No"}
    assert choices(Path.parse("/5/0/3"), DataType.INTEGER, "0..3")["2"] == "Downloaded"


@pytest.mark.parametrize(
    ("data_type", "present", "kind", "value"),
    [
        (DataType.STRING, " x", "text", " x"),
        (DataType.CORELNK, "</1>", "text", "</1>"),
        (DataType.INTEGER, -3, "number", "-3"),
        (DataType.UNSIGNED, 2**64 - 1, "number", str(2**64 - 1)),
        (DataType.FLOAT, 21.5, "number", "21.5"),
        (DataType.BOOLEAN, True, "choice", "true"),
        (DataType.TIME, 1_794_996_400, "time", "2026-11-18T10:06:40"),
        (DataType.TIME, 2**62, "time", ""),
        (DataType.OPAQUE, "01ff", "opaque", "01ff"),
        (DataType.OBJLNK, "66:0", "link", "66:0"),
    ],
)
def test_an_input_fits_its_data_type(data_type: DataType, present: PlainValue, kind: str, value: str) -> None:
    found = input_of(AT, data_type, None, [(AT, present)], multiple=False)
    assert (found.kind, found.value) == (kind, value)


def test_a_number_is_bounded_and_stepped() -> None:
    whole = input_of(AT, DataType.INTEGER, "0..100", [], multiple=False)
    assert (whole.low, whole.high, whole.step, whole.value) == ("0", "100", "1", "")
    assert input_of(AT, DataType.FLOAT, None, [], multiple=False).step == "any"


def test_a_multiple_resource_is_asked_for_line_by_line() -> None:
    present = [(AT.child(0), 1), (AT.child(5), 2)]
    found = input_of(AT, DataType.INTEGER, None, present, multiple=True)
    assert (found.kind, found.value) == ("lines", "0=1\n5=2")
    one = input_of(AT.child(5), DataType.INTEGER, None, present, multiple=False)
    assert (one.kind, one.value) == ("number", "2")


@pytest.mark.parametrize(
    ("data_type", "text", "value"),
    [
        (DataType.STRING, "  two\r\nlines ", "  two\nlines "),
        (DataType.STRING, "", ""),
        (DataType.INTEGER, " +7 ", 7),
        (DataType.INTEGER, "-9223372036854775808", -(2**63)),
        (DataType.UNSIGNED, "18446744073709551615", 2**64 - 1),
        (DataType.FLOAT, "21.5", 21.5),
        (DataType.FLOAT, "-1e-3", -0.001),
        (DataType.BOOLEAN, "true", True),
        (DataType.BOOLEAN, "false", False),
        (DataType.TIME, "2026-11-18T10:06:40", 1_794_996_400),
        (DataType.TIME, "2026-11-18T11:06:40+01:00", 1_794_996_400),
        (DataType.TIME, "2026-11-18T10:06:40Z", 1_794_996_400),
        (DataType.TIME, "1794996400", 1_794_996_400),
        (DataType.OPAQUE, "0x01 FF:0a", b"\x01\xff\x0a"),
        (DataType.OPAQUE, "", b""),
        (DataType.OBJLNK, "66:0", ObjectLink(66, 0)),
    ],
)
def test_what_was_written_becomes_a_value(data_type: DataType, text: str, value: Value) -> None:
    wanted = input_of(AT, data_type, None, [], multiple=False)
    [record] = records_of(AT, wanted, text)
    assert (record.path, record.value, record.data_type) == (AT, value, data_type)
    assert type(record.value) is type(value)


@pytest.mark.parametrize(
    ("data_type", "text"),
    [
        (DataType.INTEGER, ""),
        (DataType.INTEGER, "1.5"),
        (DataType.INTEGER, "1_000"),
        (DataType.INTEGER, "9223372036854775808"),
        (DataType.INTEGER, "9" * 30),
        (DataType.UNSIGNED, "-1"),
        (DataType.FLOAT, "21,5"),
        (DataType.FLOAT, "nan"),
        (DataType.FLOAT, "1e999"),
        (DataType.FLOAT, "."),
        (DataType.BOOLEAN, "maybe"),
        (DataType.BOOLEAN, ""),
        (DataType.TIME, "yesterday"),
        (DataType.TIME, ""),
        (DataType.OPAQUE, "zz"),
        (DataType.OPAQUE, "abc"),
        (DataType.OBJLNK, "66"),
        (DataType.OBJLNK, "66:70000"),
    ],
)
def test_what_is_no_value_is_refused(data_type: DataType, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        records_of(AT, input_of(AT, data_type, None, [], multiple=False), text)
    assert caught.value.code == "value_invalid"
    assert caught.value.hint


@pytest.mark.parametrize(("text", "good"), [("0", True), ("100", True), ("-1", False), ("101", False)])
def test_the_range_of_the_model_is_kept_to(text: str, good: bool) -> None:
    wanted = input_of(AT, DataType.INTEGER, "0..100", [], multiple=False)
    if good:
        assert records_of(AT, wanted, text)[0].value == int(text)
        return
    with pytest.raises(UsageError) as caught:
        records_of(AT, wanted, text)
    assert caught.value.hint == "give 0 to 100"


def test_lines_become_resource_instances() -> None:
    wanted = Input("lines", DataType.STRING)
    found = records_of(AT, wanted, "0=a=b\r\n\r\n 12 = c \n")
    assert [(str(one.path), one.value) for one in found] == [("/4000/0/7/0", "a=b"), ("/4000/0/7/12", " c")]


@pytest.mark.parametrize(
    "text",
    ["", "a", "x=1", "70000=1", "0=1\n0=2", "0=one", "\n".join(f"{n}=1" for n in range(MAX_LINES + 1))],
)
def test_lines_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        records_of(AT, Input("lines", DataType.INTEGER), text)
    assert caught.value.code == "value_invalid"
