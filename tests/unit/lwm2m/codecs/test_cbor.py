"""The CBOR reader and writer, with cbor2 as the independent witness."""

import contextlib
import math
import struct
from typing import Any

import cbor2
import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.lwm2m.codecs.cbor import MAX_DEPTH, MAX_ITEMS, EpochTime, dump, load, read_date_time

# RFC 8949 appendix A, the examples within what LwM2M uses.
EXAMPLES: list[tuple[str, Any]] = [
    ("00", 0),
    ("17", 23),
    ("1818", 24),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1b000000e8d4a51000", 1000000000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("3bffffffffffffffff", -18446744073709551616),
    ("20", -1),
    ("3863", -100),
    ("3903e7", -1000),
    ("f90000", 0.0),
    ("f93c00", 1.0),
    ("fb3ff199999999999a", 1.1),
    ("f97bff", 65504.0),
    ("fa47c35000", 100000.0),
    ("fa7f7fffff", 3.4028234663852886e38),
    ("f90001", 5.960464477539063e-8),
    ("fbc010666666666666", -4.1),
    ("f97c00", math.inf),
    ("fbfff0000000000000", -math.inf),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("c074323031332d30332d32315432303a30343a30305a", EpochTime(1363896240)),
    ("c11a514b67b0", EpochTime(1363896240)),
    ("c1fb41d452d9ec200000", EpochTime(1363896240)),
    ("40", b""),
    ("4401020304", b"\1\2\3\4"),
    ("60", ""),
    ("62225c", '"\\'),
    ("62c3bc", "ü"),
    ("64f0908591", "𐅑"),
    ("80", []),
    ("8301820203820405", [1, [2, 3], [4, 5]]),
    ("98190102030405060708090a0b0c0d0e0f101112131415161718181819", list(range(1, 26))),
    ("a0", {}),
    ("a201020304", {1: 2, 3: 4}),
    ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ("5f42010243030405ff", b"\1\2\3\4\5"),
    ("7f657374726561646d696e67ff", "streaming"),
    ("9fff", []),
    ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
    ("83019f0203ff820405", [1, [2, 3], [4, 5]]),
    ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
    ("826161bf61626163ff", ["a", {"b": "c"}]),
    ("a18303000901", {(3, 0, 9): 1}),
    ("c48221196ab3", 273.15),
    ("c4820203", 300),
]


@pytest.mark.parametrize(("text", "expected"), EXAMPLES)
def test_reads_the_examples_of_the_rfc(text: str, expected: object) -> None:
    item = load(bytes.fromhex(text))
    assert item == expected
    assert type(item) is type(expected)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("18", "argument missing"),
        ("1c", "reserved length"),
        ("5c", "reserved length of a string"),
        ("fc", "reserved simple value"),
        ("f7", "undefined"),
        ("f0", "simple value"),
        ("f818", "simple value in two bytes"),
        ("ff", "break alone"),
        ("81ff", "break in an array of definite length"),
        ("a1ff00", "break in a map of definite length"),
        ("bf01ff", "break for a value"),
        ("1f", "indefinite integer"),
        ("df00", "indefinite tag"),
        ("0000", "bytes left over"),
        ("6261", "text cut short"),
        ("4261", "bytes cut short"),
        ("fb00000000", "double cut short"),
        ("9affffffff", "array as long as it says it is not"),
        ("9bffffffffffffffff00", "array longer than memory"),
        ("bbffffffffffffffff00", "map longer than memory"),
        ("5bffffffffffffffff00", "string longer than memory"),
        ("7bffffffffffffffff00", "text longer than memory"),
        ("61ff", "not UTF-8"),
        ("63eda080", "a surrogate in UTF-8"),
        ("a2010001 00", "one key twice"),
        ("a2 8103 00 8103 00", "one array key twice"),
        ("a1f500", "boolean key"),
        ("a1f900000000", "float key"),
        ("a1400000", "bytes key"),
        ("a1816100 00", "array key of text"),
        ("a1a000", "map key"),
        ("5f6161ff", "text in bytes"),
        ("7f4161ff", "bytes in text"),
        ("7f7f6161ffff", "chunks in chunks"),
        ("7f61", "chunk cut short"),
        ("7f6161", "chunks without an end"),
        ("c249010000000000000000", "big number"),
        ("c5820118ff", "big float"),
        ("d81c80", "shared value"),
        ("d81d00", "shared reference"),
        ("d82363282e2a", "regular expression"),
        ("d9d9f700", "self-described CBOR"),
        ("c0", "tag around nothing"),
        ("c000", "date tag around a number"),
        ("c06161", "date tag around other text"),
        ("c074323031332d30332d32315432303a30343a3030", "date cut short"),
        ("c073323031332d30332d32315432303a30343a3030", "date without a zone"),
        ("c16131", "epoch tag around text"),
        ("c1f97e00", "epoch tag around NaN"),
        ("c1f97c00", "epoch tag around infinity"),
        ("c1f5", "epoch tag around a boolean"),
        ("c11bffffffffffffffff", "epoch beyond 64 bits"),
        ("c400", "decimal fraction not a pair"),
        ("c4820000 00", "bytes left over after a fraction"),
        ("c48100", "decimal fraction of one number"),
        ("c482f500", "decimal fraction of a boolean"),
        ("c482 1a3b9aca00 01", "exponent without bounds"),
        ("c482 3a3b9aca00 01", "negative exponent without bounds"),
        ("c482 190190 1bffffffffffffffff", "fraction beyond a double"),
    ],
)
def test_refuses(text: str, why: str) -> None:
    with pytest.raises(PeerError) as caught:
        load(bytes.fromhex(text))
    assert caught.value.code == "payload_invalid", why


@pytest.mark.parametrize("initial", range(256))
def test_every_initial_byte_gives_an_item_or_a_peer_error(initial: int) -> None:
    for rest in (b"", b"\0", b"\0" * 8, b"\xff" * 8, b"\x81" * 8):
        with contextlib.suppress(PeerError):
            load(bytes((initial,)) + rest)


def test_depth_is_bounded() -> None:
    nested: Any = 0
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert load(cbor2.dumps(nested)) == nested
    for opening in (b"\x81", b"\x9f", b"\xa1\x01", b"\xbf\x01", b"\xc1", b"\xc4\x82", b"\x5f", b"\x7f"):
        for closing in (b"", b"\0"):
            with pytest.raises(PeerError):
                load(opening * 100_000 + closing)


def test_the_size_of_arrays_and_maps_is_bounded() -> None:
    pairs = b"".join(b"\x19" + number.to_bytes(2) + b"\0" for number in range(MAX_ITEMS + 1))
    size = (MAX_ITEMS + 1).to_bytes(2)
    for payload in (
        b"\x99" + size + bytes(MAX_ITEMS + 1),
        b"\x9f" + bytes(MAX_ITEMS + 1) + b"\xff",
        b"\xb9" + size + pairs,
        b"\xbf" + pairs + b"\xff",
    ):
        with pytest.raises(PeerError) as caught:
            load(payload)
        assert caught.value.code == "payload_too_large"
    assert load(b"\x99" + MAX_ITEMS.to_bytes(2) + bytes(MAX_ITEMS)) == [0] * MAX_ITEMS


def test_a_decimal_fraction_is_rounded_once() -> None:
    # 2**53 + 1 tenths: dividing the rounded integer would give another double.
    mantissa = 2**53 + 1
    assert load(b"\xc4\x82\x20\x1b" + struct.pack(">Q", mantissa)) == float(f"{mantissa}e-1")
    assert load(b"\xc4\x82\x39\x01\x8f\x01") == 0.0


def test_dates() -> None:
    assert read_date_time("1970-01-01T00:00:00-00:00") == EpochTime(0)
    assert read_date_time("2016-10-11T13:50:13.75+02:00") == EpochTime(1476186613)
    assert read_date_time("1969-12-31T23:59:59.5Z") == EpochTime(-1)
    for text in ("", "now", "2016-10-11", "2016-13-11T00:00:00Z", "2016-10-11T11:50:60Z", "1" * 5000):
        with pytest.raises(PeerError):
            read_date_time(text)


@pytest.mark.parametrize(
    "item",
    [
        *(0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -1, -24, -25, -257, -(2**63)),
        *(True, False, None, 0.0, 1.5, 1.1, 1e300, -2.5e-310),
        *("", "é" * 30, b"", bytes(300), [], [1, [2]], {}, {-2: "/3/0/"}),
    ],
)
def test_writes_what_cbor2_reads(item: Any) -> None:
    assert cbor2.loads(dump(item)) == item
    assert load(dump(item)) == item


def test_writes_the_shortest_float_but_never_a_half() -> None:
    assert dump(1.5) == bytes.fromhex("fa3fc00000")
    assert dump(1.1) == bytes.fromhex("fb3ff199999999999a")
    assert dump(1e39) == b"\xfb" + struct.pack(">d", 1e39)


def test_writes_array_keys_and_moments() -> None:
    assert dump({(3, 0): {9: 1}}) == bytes.fromhex("a1820300a10901")
    assert dump(EpochTime(1)) == bytes.fromhex("c101")
