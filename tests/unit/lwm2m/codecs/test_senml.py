"""How packs are laid out, and what the resolving of names, times and values refuses."""

import json
from typing import Any

import cbor2
import pytest

from flownexus_appliance.errors import ApplianceError, PeerError, UsageError
from flownexus_appliance.lwm2m.codecs import decode, decode_paths, encode, encode_paths
from flownexus_appliance.lwm2m.codecs.records import MAX_RECORDS
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record, TypeLookup, Value

NOW = 1_700_000_000_000
BOTH = pytest.mark.parametrize("content_format", [ContentFormat.SENML_CBOR, ContentFormat.SENML_JSON])


def record(path: str, value: Value, data_type: DataType, time_ms: int | None = None) -> Record:
    return Record(Path.parse(path), value, data_type, time_ms)


def resolve(pack: Any, base: str = "/", types: TypeLookup = lambda path: None) -> tuple[Record, ...]:
    payload = cbor2.dumps(pack)
    return decode(112, payload, base=Path.parse(base), types=types, now_ms=NOW)


def code_of(pack: Any, base: str = "/") -> str:
    with pytest.raises(PeerError) as caught:
        resolve(pack, base)
    return caught.value.code


MIXED = (
    record("/3303/0/5700", 21.5, DataType.FLOAT),
    record("/3303/0/5701", "Cel", DataType.STRING),
    record("/3/0/6/1", 5, DataType.INTEGER),
    record("/3/0/21", True, DataType.BOOLEAN),
    record("/10/0/0", ObjectLink(66, 1), DataType.OBJLNK),
    record("/65000/999/65000/999", b"\0\1", DataType.OPAQUE, NOW + 5),
)


def test_layout_fits_zephyr() -> None:
    """Its decoder wants the fields in this order, and older ones cut names at 11 and 9 characters."""
    entries = cbor2.loads(encode(112, MIXED, base=Path.ROOT))
    assert entries == [
        {-2: "/3303/0/", 0: "5700", 2: 21.5},
        {0: "5701", 3: "Cel"},
        {-2: "/3/0/", 0: "6/1", 2: 5},
        {0: "21", 4: True},
        {-2: "/10/0/", 0: "0", "vlo": "66:1"},
        {-2: "/65000/999/", 0: "65000/999", 6: 1700000000.005, 8: b"\0\1"},
    ]
    order = [-2, -3, 0, 6, 2, 3, 4, 8, "vlo"]
    for entry in entries:
        assert list(entry) == sorted(entry, key=order.index)
        assert len(entry.get(-2, "")) <= 11
        assert len(entry[0]) <= 9


def test_json_layout() -> None:
    payload = encode(110, MIXED, base=Path.ROOT)
    assert payload == (
        b'[{"bn":"/3303/0/","n":"5700","v":21.5},{"n":"5701","vs":"Cel"},'
        b'{"bn":"/3/0/","n":"6/1","v":5},{"n":"21","vb":true},'
        b'{"bn":"/10/0/","n":"0","vlo":"66:1"},'
        b'{"bn":"/65000/999/","n":"65000/999","t":1700000000.005,"vd":"AAE"}]'
    )
    assert json.loads(payload)[0]["v"] == 21.5


@BOTH
def test_a_float_stays_a_float_and_a_time_an_integer(content_format: int) -> None:
    base = Path.parse("/3/0")
    records = (record("/3/0/1", 21, DataType.FLOAT), record("/3/0/13", NOW // 1000, DataType.TIME))
    decoded = decode(
        content_format,
        encode(content_format, records, base=base),
        base=base,
        types=lambda path: None,
        now_ms=NOW,
    )
    assert [(r.value, r.data_type) for r in decoded] == [
        (21.0, DataType.FLOAT),
        (NOW // 1000, DataType.INTEGER),
    ]


@BOTH
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (record("/3/0", 1, DataType.INTEGER), "path_incomplete"),
        (record("/4/0/1", 1, DataType.INTEGER), "path_outside"),
        (record("/3/0/1", "x", DataType.INTEGER), "value_invalid"),
        (record("/3/0/1", True, DataType.INTEGER), "value_invalid"),
        (record("/3/0/1", 2**63, DataType.INTEGER), "value_invalid"),
        (record("/3/0/1", -1, DataType.UNSIGNED), "value_invalid"),
        (record("/3/0/1", float("nan"), DataType.FLOAT), "value_invalid"),
        (record("/3/0/1", float("inf"), DataType.FLOAT), "value_invalid"),
        (record("/3/0/1", 10**400, DataType.FLOAT), "value_invalid"),
        (record("/3/0/1", "\ud83d", DataType.STRING), "value_invalid"),
        (record("/3/0/1", ObjectLink(65536, 0), DataType.OBJLNK), "value_invalid"),
        (record("/3/0/1", "", DataType.NONE), "value_invalid"),
        (record("/3/0/1", 1, DataType.INTEGER, 2**28 * 1000 - 1), "time_invalid"),
        (record("/3/0/1", 1, DataType.INTEGER, 253_402_300_800_000), "time_invalid"),
    ],
)
def test_what_cannot_be_encoded(content_format: int, bad: Record, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode(content_format, [bad], base=Path.parse("/3"))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("pack", "code"),
    [
        ({}, "payload_invalid"),
        ([[]], "payload_invalid"),
        ([{0: 1, 2: 1}], "payload_invalid"),
        ([{-2: b"/3/0/9", 2: 1}], "payload_invalid"),
        ([{0: "/3/0/9", 2: "1"}], "payload_invalid"),
        ([{0: "/3/0/9", 2: True}], "payload_invalid"),
        ([{0: "/3/0/9", 3: b"x"}], "payload_invalid"),
        ([{0: "/3/0/9", 4: 1}], "payload_invalid"),
        ([{0: "/3/0/9", 8: "x"}], "payload_invalid"),
        ([{0: "/3/0/9", "vlo": 1}], "payload_invalid"),
        ([{0: "/3/0/9", "vlo": b"66:0"}], "payload_invalid"),
        ([{0: "/3/0/9", "vlo": "66"}], "value_invalid"),
        ([{0: "/3/0/9", "vlo": "66:65536"}], "value_invalid"),
        ([{0: "/3/0/9", 2: [1]}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, 6: "0"}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, 6: True}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, 6: float("inf")}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, 6: 2**64 - 1}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, -3: None}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, -5: "1"}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, -1: 10.0}], "payload_invalid"),
        ([{0: "/3/0/9", 2: 1, -1: 0}], "payload_invalid"),
        ([{0: "/3/0/9"}], "payload_invalid"),
        ([{0: "/3/0/9", 5: 1}], "payload_invalid"),
        ([{6: 5}], "payload_invalid"),
        ([{2: 1}], "path_incomplete"),
        ([{0: "/3", 2: 1}], "path_incomplete"),
        ([{0: "/3//0/9", 2: 1}], "path_invalid"),
        ([{0: "/3/0/9/1/1", 2: 1}], "path_invalid"),
        ([{0: "/3/0/x", 2: 1}], "path_invalid"),
        ([{0: "3/0/9 ", 2: 1}], "path_invalid"),
        ([{0: "/3/0/" + "9" * 1000, 2: 1}], "path_invalid"),
        ([{-2: "/3/0/9/", 0: "/1", 2: 1}], "path_invalid"),
    ],
)
def test_refuses(pack: Any, code: str) -> None:
    assert code_of(pack) == code


def test_paths_must_lie_under_the_path_of_the_request() -> None:
    pack = [{0: "/3303/1/5700", 2: 1}]
    for base in ("/", "/3303", "/3303/1", "/3303/1/5700"):
        assert len(resolve(pack, base)) == 1
    for base in ("/3304", "/3303/0", "/3303/1/5701", "/3303/1/5700/0"):
        assert code_of(pack, base) == "path_outside"


def test_base_fields_hold_until_given_again() -> None:
    pack = [
        {-2: "/3303/0/", -3: 1_600_000_000, 0: "5700", 2: 1.5},
        {0: "5700", 2: 2.5, 6: -5},
        {-2: "/3304/0/", 0: "5700", 2: 3.5},
        {-3: 0, 0: "5700", 2: 4.5},
    ]
    assert [(str(r.path), r.time_ms) for r in resolve(pack)] == [
        ("/3303/0/5700", 1_600_000_000_000),
        ("/3303/0/5700", 1_599_999_995_000),
        ("/3304/0/5700", 1_600_000_000_000),
        ("/3304/0/5700", None),
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, None),
        (-0.0, None),
        (2**28, 2**28 * 1000),
        (2**28 - 1, NOW),
        (-0.0015, NOW - 2),
        (-1_700_000_000, 0),
        (253_402_300_799.9, 253_402_300_799_900),
    ],
)
def test_times_at_the_edges(seconds: float, expected: int | None) -> None:
    assert resolve([{0: "/3/0/9", 2: 1, 6: seconds}])[0].time_ms == expected


def test_a_time_that_takes_its_base_time_back_is_now() -> None:
    assert resolve([{-3: 5, 0: "/3/0/9", 2: 1, 6: -5}])[0].time_ms is None


def test_a_null_of_any_kind_is_no_value() -> None:
    nulls = [{0: "/3/0/9", label: None} for label in (2, 3, 4, 8, "vlo")]
    assert resolve([*nulls, {0: "/3/0/9", 2: 1}]) == (record("/3/0/9", 1, DataType.INTEGER),)


def test_base_values_of_every_kind() -> None:
    assert resolve([{-5: 1, 0: "/3/0/9", 2: 2}])[0].value == 3
    assert resolve([{-5: 0.5, 0: "/3/0/9", 2: 2}])[0].value == 2.5
    assert resolve([{-5: 1, 0: "/3/0/9", 3: "a"}])[0].value == "a"
    assert resolve([{-5: 1, 0: "/3/0/9", 4: True}])[0].value is True
    assert resolve([{-5: 1}, {0: "/3/0/9"}])[0].value == 1
    assert resolve([{-5: -1e15, 0: "/3/0/9", 2: -(2**64)}])[0].data_type is DataType.FLOAT


def test_an_unresolved_type_is_kept_as_it_came() -> None:
    def types(path: Path) -> DataType:
        return DataType.FLOAT

    (text,) = resolve([{0: "/3303/0/5700", 3: "n/a"}], types=types)
    assert (text.value, text.data_type) == ("n/a", DataType.STRING)


def test_a_time_written_as_text_needs_the_model() -> None:
    pack = [{0: "/3/0/13", 3: "2016-10-11T11:50:13Z"}]
    assert resolve(pack, types=lambda path: DataType.TIME)[0].value == 1476186613
    assert resolve(pack)[0].value == "2016-10-11T11:50:13Z"
    odd = [{0: "/3/0/13", 3: "noon"}]
    assert resolve(odd, types=lambda path: DataType.TIME)[0].data_type is DataType.STRING


def test_the_number_of_records_is_bounded() -> None:
    pack = [{-2: "/3/0/9", 2: 1}] + [{2: 1}] * (MAX_RECORDS - 1)
    assert len(resolve(pack)) == MAX_RECORDS
    assert code_of([*pack, {2: 1}]) == "payload_too_large"


@BOTH
def test_paths_round_trip(content_format: int) -> None:
    paths = tuple(map(Path.parse, ("/", "/3", "/3/0", "/3/0/9", "/3/0/7/1")))
    assert decode_paths(content_format, encode_paths(content_format, paths)) == paths


def test_paths_as_clients_and_servers_write_them() -> None:
    assert encode_paths(110, [Path.parse("/3/0/0"), Path.ROOT]) == b'[{"n":"/3/0/0"},{"n":"/"}]'
    # LwM2M Core 1.1.1 7.4.6, and Zephyr's base names.
    spec = bytes.fromhex("83a100662f332f302f30a100662f332f302f39a100662f312f302f31")
    assert list(map(str, decode_paths(112, spec))) == ["/3/0/0", "/3/0/9", "/1/0/1"]
    based = b'[{"bn":"/3/0/","n":"0"},{"n":"9"},{"bn":"/4"},{"bt":1}]'
    assert list(map(str, decode_paths(110, based))) == ["/3/0/0", "/3/0/9", "/4"]


@pytest.mark.parametrize("body", [b"{}", b"[1]", b'[{"n":1}]', b'[{"n":"/3","v":1}]', b'[{"n":"/x"}]', b"["])
def test_bad_path_lists(body: bytes) -> None:
    with pytest.raises(PeerError):
        decode_paths(110, body)


@pytest.mark.parametrize("payload", [b"[" * 100_000, b'[{"n":' * 20_000, b"\xff", b"[1e5", b"1" * 5000, b""])
def test_hostile_json(payload: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        decode(110, payload, base=Path.ROOT, types=lambda path: None, now_ms=NOW)
    assert isinstance(caught.value, ApplianceError)
    assert caught.value.code == "payload_invalid"
