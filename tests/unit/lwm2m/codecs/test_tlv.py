"""TLV beyond the vectors: widths, levels and what cannot be written."""

import struct

import pytest

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.lwm2m.codecs.tlv import decode_tlv, encode_bare_instance, encode_tlv
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record, Value


def record(path: str, value: Value, data_type: DataType) -> Record:
    return Record(Path.parse(path), value, data_type)


def one(raw: bytes, data_type: DataType | None) -> Record | None:
    """Decode the value `raw` of /3/0/1 under a model that says `data_type`."""
    payload = bytes((0xC8, 1, len(raw))) + raw
    records = decode_tlv(payload, Path.parse("/3/0"), lambda path: data_type)
    return records[0] if records else None


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, "c001"),
        (7, "c701"),
        (8, "c80108"),
        (255, "c801ff"),
        (256, "d0010100"),
        (65535, "d001ffff"),
        (65536, "d801010000"),
    ],
)
def test_lengths(size: int, head: str) -> None:
    base = Path.parse("/3/0")
    records = (record("/3/0/1", b"x" * size, DataType.OPAQUE),)
    payload = encode_tlv(records, base)
    assert payload == bytes.fromhex(head) + b"x" * size
    assert decode_tlv(payload, base, lambda path: None) == records


@pytest.mark.parametrize(("number", "raw"), [(0, "0000"), (7, "0007"), (300, "20012c")])
def test_an_instance_without_resources(number: int, raw: str) -> None:
    assert encode_bare_instance(number) == bytes.fromhex(raw)
    assert decode_tlv(bytes.fromhex(raw), Path.of(3303), lambda path: None) == ()


def test_a_value_too_long_for_a_tlv() -> None:
    with pytest.raises(UsageError) as caught:
        encode_tlv([record("/3/0/1", bytes(2**24), DataType.OPAQUE)], Path.parse("/3/0"))
    assert caught.value.code == "value_invalid"


@pytest.mark.parametrize(
    ("value", "data_type", "raw"),
    [
        (127, DataType.INTEGER, "7f"),
        (128, DataType.INTEGER, "0080"),
        (-128, DataType.INTEGER, "80"),
        (-129, DataType.TIME, "ff7f"),
        (32768, DataType.INTEGER, "00008000"),
        (2**31, DataType.TIME, "0000000080000000"),
        (-(2**31), DataType.INTEGER, "80000000"),
        (127, DataType.UNSIGNED, "7f"),
        (255, DataType.UNSIGNED, "00ff"),  # right for those too who take it for a signed one
        (256, DataType.UNSIGNED, "0100"),
        (2**64 - 1, DataType.UNSIGNED, "ffffffffffffffff"),
        (2**32, DataType.UNSIGNED, "0000000100000000"),
        (0.5, DataType.FLOAT, "3f000000"),
        (0.1, DataType.FLOAT, "3fb999999999999a"),
        (False, DataType.BOOLEAN, "00"),
        (ObjectLink(1, 65535), DataType.OBJLNK, "0001ffff"),
        ("é", DataType.CORELNK, "c3a9"),
    ],
)
def test_values_are_as_short_as_they_can_be(value: Value, data_type: DataType, raw: str) -> None:
    expected = record("/3/0/1", value, data_type)
    assert one(bytes.fromhex(raw), data_type) == expected
    assert encode_tlv([expected], Path.parse("/3/0")).endswith(bytes.fromhex(raw))


@pytest.mark.parametrize(
    ("raw", "data_type"),
    [
        ("", DataType.INTEGER),
        ("010203", DataType.INTEGER),
        ("01" * 16, DataType.UNSIGNED),
        ("0000", DataType.FLOAT),
        ("02", DataType.BOOLEAN),
        ("0001", DataType.BOOLEAN),
        ("000100", DataType.OBJLNK),
        ("ff", DataType.STRING),
        ("00", DataType.NONE),
        ("c3a9", None),
    ],
)
def test_what_does_not_fit_the_model_stays_bytes(raw: str, data_type: DataType | None) -> None:
    assert one(bytes.fromhex(raw), data_type) == record("/3/0/1", bytes.fromhex(raw), DataType.OPAQUE)


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("form", [">f", ">d"])
def test_a_float_that_is_not_finite_is_no_value(number: str, form: str) -> None:
    assert one(struct.pack(form, float(number)), DataType.FLOAT) is None


@pytest.mark.parametrize(
    ("base", "payload", "code"),
    [
        ("/", "c10964", "payload_invalid"),
        ("/3", "0800", "payload_invalid"),
        ("/3", "030003000000", "payload_invalid"),
        ("/3/0", "410064", "payload_invalid"),
        ("/3/0/9", "c10864", "path_outside"),
        ("/3/0/9", "c1", "payload_invalid"),
        ("/3/0/9", "e1ffff64", "path_invalid"),
        ("/3/0/9/1", "c10964", "path_outside"),
        ("/3/0/9/1", "410264", "path_outside"),
        ("/3/0", "8309430064", "payload_invalid"),
        ("/3/0", "8606410001410001", "path_repeated"),
        ("/3/0", "d8ffffffff", "payload_invalid"),
    ],
)
def test_refuses(base: str, payload: str, code: str) -> None:
    with pytest.raises(PeerError) as caught:
        decode_tlv(bytes.fromhex(payload), Path.parse(base), lambda path: None)
    assert caught.value.code == code


def test_the_number_of_values_is_bounded() -> None:
    payload = b"".join(b"\xe0" + number.to_bytes(2) for number in range(20_000))
    with pytest.raises(PeerError) as caught:
        decode_tlv(payload, Path.parse("/3/0"), lambda path: None)
    assert caught.value.code == "payload_too_large"


@pytest.mark.parametrize(
    ("records", "base", "code"),
    [
        ([record("/3/0/9", 1, DataType.INTEGER)], "/", "path_outside"),
        ([record("/4/0/9", 1, DataType.INTEGER)], "/3", "path_outside"),
        ([record("/3/0/9", 1, DataType.INTEGER)] * 2, "/3", "path_repeated"),
        (
            [record("/3/0/9", 1, DataType.INTEGER), record("/3/0/9/0", 1, DataType.INTEGER)],
            "/3/0",
            "value_invalid",
        ),
        (
            [record("/3/0/9/0", 1, DataType.INTEGER), record("/3/0/9", 1, DataType.INTEGER)],
            "/3/0",
            "value_invalid",
        ),
        ([Record(Path((3, 0, 9)), 1, DataType.INTEGER, 1_700_000_000_000)], "/3/0", "time_unsupported"),
    ],
)
def test_what_cannot_be_encoded(records: list[Record], base: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode_tlv(records, Path.parse(base))
    assert caught.value.code == code


def test_instances_of_one_resource_are_gathered() -> None:
    records = [
        record("/3/0/7/0", 1, DataType.INTEGER),
        record("/3/0/9", 2, DataType.INTEGER),
        record("/3/0/7/1", 3, DataType.INTEGER),
    ]
    assert encode_tlv(records, Path.parse("/3/0")) == bytes.fromhex("8607410001410103c10902")
