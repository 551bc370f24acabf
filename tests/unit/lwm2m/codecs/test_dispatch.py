"""The tables of the package: every Content-Format has its codec, the others are refused."""

import pytest

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.lwm2m.codecs import (
    MAX_PAYLOAD_BYTES,
    MAX_RECORDS,
    decode,
    decode_paths,
    encode,
    encode_paths,
)
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record

PATH = Path.parse("/5/0/0")
COMPOSITE = (ContentFormat.SENML_JSON, ContentFormat.SENML_CBOR)
# An object instance of LwM2M CBOR with a little more than half of the values that one payload may have.
HALF = b"\xbf" + b"".join(b"\x19" + n.to_bytes(2) + b"\0" for n in range(MAX_RECORDS // 2 + 1)) + b"\xff"
RECORD = Record(PATH, b"\0\1\2", DataType.OPAQUE)


@pytest.mark.parametrize("content_format", [f for f in ContentFormat if f is not ContentFormat.LINK])
def test_every_format_carries_bytes_both_ways(content_format: int) -> None:
    payload = encode(content_format, [RECORD], base=PATH)
    assert decode(content_format, payload, base=PATH, types=lambda path: DataType.OPAQUE, now_ms=0) == (
        RECORD,
    )


@pytest.mark.parametrize("content_format", [-1, 1, 40, 41, 50, 111, 320, 322, 65535, 10**9])
def test_other_formats_are_refused(content_format: int) -> None:
    with pytest.raises(PeerError) as theirs:
        decode(content_format, b"", base=PATH, types=lambda path: None, now_ms=0)
    with pytest.raises(UsageError) as ours:
        encode(content_format, [RECORD], base=PATH)
    assert theirs.value.code == ours.value.code == "content_format_unsupported"


@pytest.mark.parametrize("content_format", [f for f in ContentFormat if f not in COMPOSITE])
def test_paths_travel_in_senml_only(content_format: int) -> None:
    with pytest.raises(PeerError) as theirs:
        decode_paths(content_format, b"")
    with pytest.raises(UsageError) as ours:
        encode_paths(content_format, [PATH])
    assert theirs.value.code == ours.value.code == "content_format_unsupported"


def test_the_size_is_bounded() -> None:
    """Parsing takes time on the event loop; bytes that nobody looks into are the transport's to bound."""
    for content_format, size in ((0, MAX_PAYLOAD_BYTES), (42, MAX_PAYLOAD_BYTES + 1)):
        payload = b"x" * size
        (record,) = decode(content_format, payload, base=PATH, types=lambda path: None, now_ms=0)
        assert record.value == (payload if content_format else payload.decode())
    for content_format in (0, *COMPOSITE):
        with pytest.raises(PeerError) as caught:
            decode(content_format, bytes(MAX_PAYLOAD_BYTES + 1), base=PATH, types=lambda path: None, now_ms=0)
        assert caught.value.code == "payload_too_large"
    with pytest.raises(PeerError) as caught:
        decode_paths(112, bytes(MAX_PAYLOAD_BYTES + 1))
    assert caught.value.code == "payload_too_large"


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [
        (ContentFormat.JSON, b'{"e":[' + b",".join([b"1"] * (MAX_RECORDS + 1)) + b"]}"),
        (ContentFormat.SENML_JSON, b"[" + b",".join([b"1"] * (MAX_RECORDS + 1)) + b"]"),
        (ContentFormat.LWM2M_CBOR, b"\xa1\x03\xa2\x00" + HALF + b"\x01" + HALF),
    ],
    ids=["JSON", "SENML_JSON", "LWM2M_CBOR"],
)
def test_the_number_of_records_is_bounded(content_format: int, payload: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        decode(content_format, payload, base=Path.ROOT, types=lambda path: None, now_ms=0)
    assert caught.value.code == "payload_too_large"


def test_legacy_json_that_is_no_base64_stays_text() -> None:
    payload = b'{"e":[{"n":"0","sv":"!"}]}'
    (record,) = decode(11543, payload, base=Path((5, 0)), types=lambda path: DataType.OPAQUE, now_ms=0)
    assert record == Record(PATH, "!", DataType.STRING)


@pytest.mark.parametrize("content_format", [ContentFormat.LWM2M_CBOR, ContentFormat.JSON])
def test_hierarchies_that_contradict_themselves(content_format: int) -> None:
    """JSON lists values, so it holds them; LwM2M CBOR has one place for both."""
    single = Record(Path((3, 0, 9)), 1, DataType.INTEGER)
    instance = Record(Path((3, 0, 9, 0)), 1, DataType.INTEGER)
    for records in ((single, instance), (instance, single)):
        if content_format == ContentFormat.JSON:
            payload = encode(content_format, records, base=Path((3,)))
            assert decode(content_format, payload, base=Path((3,)), types=lambda p: None, now_ms=0) == records
        else:
            with pytest.raises(UsageError) as caught:
                encode(content_format, records, base=Path((3,)))
            assert caught.value.code == "value_invalid"


def test_lwm2m_cbor_has_no_times_and_no_repeats() -> None:
    timed = Record(PATH, b"", DataType.OPAQUE, 1_700_000_000_000)
    for records, code in (([timed], "time_unsupported"), ([RECORD, RECORD], "path_repeated")):
        with pytest.raises(UsageError) as caught:
            encode(ContentFormat.LWM2M_CBOR, records, base=PATH)
        assert caught.value.code == code
