"""Text, opaque and CBOR: one value, or a refusal that says so."""

import pytest

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.lwm2m.codecs import decode, encode
from flownexus_appliance.lwm2m.codecs.records import decimal_text
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record, Value

SINGLE = (ContentFormat.TEXT, ContentFormat.OPAQUE, ContentFormat.CBOR)
PATH = Path.parse("/3/0/9")


@pytest.mark.parametrize("content_format", SINGLE)
@pytest.mark.parametrize(
    ("records", "base", "code"),
    [
        ([], "/3/0/9", "format_single_value"),
        ([Record(PATH, b"", DataType.OPAQUE)] * 2, "/3/0/9", "format_single_value"),
        ([Record(PATH, b"", DataType.OPAQUE)], "/3/0", "format_single_value"),
        ([Record(PATH, b"", DataType.OPAQUE, 1_700_000_000_000)], "/3/0/9", "time_unsupported"),
        ([Record(Path((3, 0)), b"", DataType.OPAQUE)], "/3/0", "path_incomplete"),
        ([Record(PATH, "x", DataType.OPAQUE)], "/3/0/9", "value_invalid"),
    ],
)
def test_encodes_the_one_value_of_the_target(
    content_format: int, records: list[Record], base: str, code: str
) -> None:
    with pytest.raises(UsageError) as caught:
        encode(content_format, records, base=Path.parse(base))
    assert caught.value.code == code


def test_opaque_carries_bytes_only() -> None:
    with pytest.raises(UsageError) as caught:
        encode(ContentFormat.OPAQUE, [Record(PATH, 5, DataType.INTEGER)], base=PATH)
    assert caught.value.code == "value_invalid"


@pytest.mark.parametrize("content_format", SINGLE)
@pytest.mark.parametrize("base", ["/", "/3", "/3/0"])
def test_decodes_at_a_resource_only(content_format: int, base: str) -> None:
    with pytest.raises(PeerError) as caught:
        decode(content_format, b"\0", base=Path.parse(base), types=lambda path: None, now_ms=0)
    assert caught.value.code == "path_incomplete"


@pytest.mark.parametrize(
    ("text", "data_type", "value"),
    [
        ("+7", DataType.INTEGER, 7),
        ("-7", DataType.UNSIGNED, None),
        ("9223372036854775808", DataType.INTEGER, None),
        ("9223372036854775808", DataType.UNSIGNED, 2**63),
        ("1" * 21, DataType.UNSIGNED, None),
        ("1.0", DataType.INTEGER, None),
        ("１", DataType.INTEGER, None),
        ("1_0", DataType.INTEGER, None),
        (" 1", DataType.INTEGER, None),
        ("", DataType.INTEGER, None),
        ("5", DataType.FLOAT, 5.0),
        (".5", DataType.FLOAT, 0.5),
        ("5.", DataType.FLOAT, 5.0),
        ("1E3", DataType.FLOAT, 1000.0),
        ("1e999", DataType.FLOAT, None),
        ("nan", DataType.FLOAT, None),
        ("inf", DataType.FLOAT, None),
        ("0x10", DataType.FLOAT, None),
        ("true", DataType.BOOLEAN, None),
        ("0", DataType.BOOLEAN, False),
        ("66-0", DataType.OBJLNK, None),
        ("x", DataType.NONE, None),
    ],
)
def test_text_is_read_by_the_model(text: str, data_type: DataType, value: Value | None) -> None:
    (record,) = decode(0, text.encode(), base=PATH, types=lambda path: data_type, now_ms=0)
    if value is None:
        assert record == Record(PATH, text, DataType.STRING)
    else:
        assert record == Record(PATH, value, data_type)
        assert type(record.value) is type(value)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"AP8=", b"\0\xff"),
        (b"AP8", b"\0\xff"),
        (b"-_8", b"\xfb\xff"),
        (b"", b""),
        (b"A", b"A"),
        (b"\xff", b"\xff"),
    ],
)
def test_opaque_text_is_base64_or_the_bytes_themselves(payload: bytes, value: bytes) -> None:
    (record,) = decode(0, payload, base=PATH, types=lambda path: DataType.OPAQUE, now_ms=0)
    assert record == Record(PATH, value, DataType.OPAQUE)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-22.5, "-22.5"),
        (1e-7, "0.0000001"),
        (1.25e-10, "0.000000000125"),
        (1e16, "10000000000000000.0"),
        (1.5e19, "15000000000000000000.0"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
    ],
)
def test_decimal_text(value: float, text: str) -> None:
    assert decimal_text(value) == text
    assert float(text) == value
