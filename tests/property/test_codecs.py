"""What holds for every codec: what is encoded decodes to itself, and any bytes at all give a value or
a PeerError.
"""

import functools
import json
import math
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flownexus_appliance.errors import PeerError
from flownexus_appliance.lwm2m.codecs import cbor, decode, decode_paths, encode, encode_paths
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.links import Link, format_links, parse_links
from flownexus_appliance.lwm2m.paths import MAX_ID, Path
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
)

NOW = 1_700_000_000_000
MAX_TIME_MS = 253_402_300_799_999
# The two old numbers name the same codecs as TLV and JSON.
OLD = (ContentFormat.OLD_TLV, ContentFormat.OLD_JSON)
FORMATS = tuple(f for f in ContentFormat if f is not ContentFormat.LINK and f not in OLD)
SINGLE = (ContentFormat.TEXT, ContentFormat.OPAQUE, ContentFormat.CBOR)
TIMED = (ContentFormat.SENML_JSON, ContentFormat.SENML_CBOR, ContentFormat.JSON)
NESTED = (ContentFormat.TLV, ContentFormat.LWM2M_CBOR)
COMPOSITE = (ContentFormat.SENML_JSON, ContentFormat.SENML_CBOR)
BASES = tuple(map(Path.parse, ("/", "/3", "/3/0", "/3/0/9", "/3/0/6/1")))
DATA_TYPES = tuple(t for t in DataType if t is not DataType.NONE)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.STRING: texts,
    DataType.CORELNK: texts,
    DataType.INTEGER: st.integers(INT64_MIN, INT64_MAX) | st.integers(-300, 300),
    DataType.TIME: st.integers(INT64_MIN, INT64_MAX) | st.integers(0, 2**32),
    DataType.UNSIGNED: st.integers(0, UINT64_MAX),
    DataType.FLOAT: st.floats(allow_nan=False, allow_infinity=False) | st.floats(-99, 99, width=32),
    DataType.BOOLEAN: st.booleans(),
    DataType.OPAQUE: st.binary(max_size=20) | st.binary(min_size=250, max_size=300),
    DataType.OBJLNK: st.builds(ObjectLink, st.integers(0, 65535), st.integers(0, 65535)),
}
ids = st.integers(0, 3) | st.integers(0, MAX_ID)
times = (
    st.none() | st.integers(2**28 * 1000, MAX_TIME_MS) | st.integers(10**9, 2 * 10**9).map(lambda s: s * 1000)
)

steady = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def packs(draw: st.DrawFn, timed: bool, single: bool) -> tuple[Path, list[Record]]:
    """A base path and records under it whose resources each have one type and one shape."""
    depth = draw(st.sampled_from((3, 4) if single else (1, 2, 3, 4)))
    base = Path(draw(st.tuples(*[ids] * depth)))
    tails = st.tuples(*[ids] * max(0, 3 - depth))
    records: list[Record] = []
    for tail in draw(st.lists(tails, min_size=1, max_size=1 if single or depth > 2 else 4, unique=True)):
        path = Path((*base, *tail))
        data_type = draw(st.sampled_from(DATA_TYPES))
        if single or depth == 4 or draw(st.booleans()):
            paths = [path]
        else:
            paths = [path.child(i) for i in draw(st.lists(ids, min_size=1, max_size=3, unique=True))]
        for each in paths:
            for _ in range(draw(st.integers(1, 3)) if timed else 1):
                time_ms = draw(times) if timed else None
                records.append(Record(each, draw(VALUES[data_type]), data_type, time_ms))
    return base, records


def lookup(records: list[Record]) -> Callable[[Path], DataType | None]:
    return {record.path: record.data_type for record in records}.get


@pytest.mark.parametrize("content_format", FORMATS, ids=lambda f: f.name)
@given(data=st.data())
@steady
def test_round_trip(content_format: ContentFormat, data: st.DataObject) -> None:
    base, records = data.draw(packs(content_format in TIMED, content_format in SINGLE))
    if content_format is ContentFormat.OPAQUE:
        records = [Record(base, data.draw(VALUES[DataType.OPAQUE]), DataType.OPAQUE)]
    payload = encode(content_format, records, base=base)
    decoded = decode(content_format, payload, base=base, types=lookup(records), now_ms=NOW)
    if content_format in NESTED:  # what belongs together comes together there
        decoded = tuple(sorted(decoded, key=lambda record: record.path))
        records.sort(key=lambda record: record.path)
    assert decoded == tuple(records)
    assert [type(r.value) for r in decoded] == [type(r.value) for r in records]


@pytest.mark.parametrize("content_format", COMPOSITE, ids=lambda f: f.name)
@given(data=st.data())
@steady
def test_senml_tells_its_types_without_a_model(content_format: ContentFormat, data: st.DataObject) -> None:
    base, records = data.draw(packs(True, False))
    payload = encode(content_format, records, base=base)
    decoded = decode(content_format, payload, base=base, types=lambda path: None, now_ms=NOW)
    assert decoded == tuple(Record(r.path, r.value, natural_type(r.value), r.time_ms) for r in records)


@given(paths=st.lists(st.lists(ids, max_size=4).map(Path), max_size=6))
@steady
def test_paths_round_trip(paths: list[Path]) -> None:
    for content_format in COMPOSITE:
        assert decode_paths(content_format, encode_paths(content_format, paths)) == tuple(paths)


MODEL: tuple[DataType | None, ...] = (*DataType, None)


def any_type(path: Path) -> DataType | None:
    """A model that knows every data type, and some resources not at all."""
    return MODEL[sum(path) % len(MODEL)]


def consistent(record: Record, base: Path) -> bool:
    """Whether a record is one that the rest of the house may rely on."""
    value: Value = record.value
    if isinstance(value, str):
        value.encode()
    return (
        type(record.path) is Path
        and 3 <= len(record.path) <= 4
        and all(0 <= number <= MAX_ID for number in record.path)
        and base.covers(record.path)
        and (not isinstance(value, float) or math.isfinite(value))
        and fit(value, record.data_type) == value
        and (record.time_ms is None or (type(record.time_ms) is int and 0 <= record.time_ms <= MAX_TIME_MS))
    )


def decode_at_all_bases(content_format: ContentFormat, payload: bytes) -> None:
    for base in BASES:
        try:
            records = decode(content_format, payload, base=base, types=any_type, now_ms=NOW)
        except PeerError:
            continue
        assert all(consistent(record, base) for record in records)
    if content_format in COMPOSITE:
        try:
            paths = decode_paths(content_format, payload)
        except PeerError:
            return
        assert all(type(path) is Path and Path.of(*path) == path for path in paths)


names = st.sampled_from(
    [
        "/",
        "/3",
        "/3/0",
        "/3/0/",
        "0",
        "/0",
        "9",
        "/3/0/9",
        "/3/0/6/1",
        "6/1",
        "",
        "/3/65535/0",
        "x",
        "//",
        "3/0/9",
    ]
)
numbers = st.sampled_from([0, 1, -1, 2**28, 1_700_000_000, 2**63, 2**64 - 1, 0.5, -30.25, 1e300, 1e12])
labels = st.sampled_from([*range(-6, 9), "vlo", "x", "x_"])
fields: dict[int | str, st.SearchStrategy[Any]] = {
    **dict.fromkeys((-2, 0), names),
    **dict.fromkeys((-6, -5, -3, -1, 2, 5, 6, 7), numbers),
    **dict.fromkeys((-4, 1, 3), texts),
    4: st.booleans(),
    8: st.binary(max_size=5),
    "vlo": st.sampled_from(["66:0", "65535:65535", "66", ""]),
    "x": texts,
    "x_": texts,
}
items = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.integers(-(2**64), 2**64 - 1),
    st.floats(),
    names,
    texts,
    st.binary(max_size=8),
)
JSON_LABELS: dict[int | str, str] = {
    **dict(zip(range(-6, 9), "bs bv bu bt bn bver n u v vs vb s t ut vd".split(), strict=True)),
    **{label: label for label in ("vlo", "x", "x_")},
}


@st.composite
def senml_entries(draw: st.DrawFn) -> dict[Any, Any]:
    chosen = draw(st.lists(labels, max_size=5, unique=True))
    return {label: draw(fields[label] if draw(st.integers(0, 7)) else items) for label in chosen}


ids_or_odd = st.integers(0, 9) | st.sampled_from([65534, 65535, -1, "dev1"])
keys = ids_or_odd | st.lists(ids_or_odd, max_size=5).map(tuple)
trees = st.recursive(
    items, lambda inner: st.dictionaries(keys, inner, max_size=3) | st.lists(inner, max_size=2), max_leaves=8
)
tagged = st.builds(cbor2.CBORTag, st.sampled_from([0, 1, 2, 4, 5, 28, 29, 35, 258, 55799]), items | trees)

cbor_items: st.SearchStrategy[Any] = st.one_of(
    st.lists(senml_entries(), max_size=5), trees, st.lists(st.dictionaries(labels, tagged), max_size=4)
)
CBOR_PAYLOADS = cbor_items.map(cbor2.dumps)


def as_json(entries: list[dict[Any, Any]]) -> bytes:
    pack = [{JSON_LABELS[label]: item for label, item in entry.items()} for entry in entries]
    return json.dumps(pack, default=lambda item: item.hex()).encode()


json_items = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | names,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("bn bt e n t v sv bv ov vs vd x x_".split()), inner, max_size=5)
    ),
    max_leaves=12,
)
legacy_entries = st.fixed_dictionaries(
    {},
    optional={
        "n": names,
        "t": numbers,
        "v": numbers,
        "sv": texts,
        "bv": st.booleans(),
        "ov": st.just("66:0"),
    },
)
legacy = st.fixed_dictionaries(
    {"e": st.lists(legacy_entries | json_items, max_size=4)}, optional={"bn": names, "bt": numbers}
)
JSON_PAYLOADS = st.one_of(
    st.lists(senml_entries(), max_size=5).map(as_json),
    (json_items | legacy).map(lambda item: json.dumps(item).encode()),
)


@st.composite
def tlvs(draw: st.DrawFn, depth: int = 3) -> bytes:
    kind = draw(st.integers(0, 3))
    nested = st.lists(tlvs(depth - 1), max_size=3).map(b"".join) if depth else st.binary(max_size=9)
    body = draw(nested if kind in (0, 2) else st.binary(max_size=9))
    number = draw(st.sampled_from([0, 1, 6, 9, 300, 65534, 65535]))
    claimed = max(0, len(body) + draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1, 200])))
    head = bytes((kind << 6 | 0x20 | 1 << 3,)) + number.to_bytes(2) + bytes((min(claimed, 255),))
    return head + body


def any_payload(content_format: ContentFormat) -> st.SearchStrategy[bytes]:
    match content_format:
        case ContentFormat.TLV:
            return st.lists(tlvs(), max_size=3).map(b"".join)
        case ContentFormat.JSON | ContentFormat.SENML_JSON:
            return JSON_PAYLOADS
        case ContentFormat.TEXT:
            numerals = st.text("0123456789.+-eE:", max_size=30)
            return (numerals | texts).map(str.encode)
    return CBOR_PAYLOADS


@pytest.mark.parametrize("content_format", FORMATS, ids=lambda f: f.name)
@given(data=st.data())
@steady
def test_any_bytes_give_records_or_a_peer_error(content_format: ContentFormat, data: st.DataObject) -> None:
    decode_at_all_bases(content_format, data.draw(st.binary(max_size=60)))


@pytest.mark.parametrize("content_format", FORMATS, ids=lambda f: f.name)
@given(data=st.data())
@steady
def test_plausible_payloads_give_records_or_a_peer_error(
    content_format: ContentFormat, data: st.DataObject
) -> None:
    decode_at_all_bases(content_format, data.draw(any_payload(content_format)))


def mutated(payload: bytes, data: st.DataObject) -> bytes:
    changed = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        match data.draw(st.sampled_from(["set", "insert", "delete", "repeat"])):
            case "set" if at < len(changed):
                changed[at] = data.draw(st.integers(0, 255))
            case "insert":
                changed[at:at] = data.draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del changed[at : at + data.draw(st.integers(1, 4))]
            case "repeat":
                changed[at:at] = changed[at : at + 8]
    return bytes(changed)


def sample() -> list[Record]:
    """Records of every type under /3/0, for a payload that is worth breaking."""
    values: dict[DataType, Value] = {
        DataType.STRING: "Größe",
        DataType.INTEGER: -70000,
        DataType.UNSIGNED: 2**63,
        DataType.FLOAT: 20.1,
        DataType.BOOLEAN: True,
        DataType.OPAQUE: bytes(range(20)),
        DataType.TIME: 1_700_000_000,
        DataType.OBJLNK: ObjectLink(66, 1),
        DataType.CORELNK: "</3/0>",
    }
    records = [Record(Path((3, 0, n)), value, t) for n, (t, value) in enumerate(values.items())]
    return [*records, Record(Path((3, 0, 300, 1)), 1, DataType.INTEGER)]


@functools.cache
def valid_payload(content_format: ContentFormat) -> bytes:
    match content_format:
        case ContentFormat.TEXT:
            return b"-22.5e-3"
        case ContentFormat.OPAQUE:
            return b"\0\1\2"
        case ContentFormat.CBOR:
            return cbor.dump("Größe")
    records = sample()
    if content_format in TIMED:
        records = [Record(r.path, r.value, r.data_type, NOW + n * 500) for n, r in enumerate(records)]
    return encode(content_format, records, base=Path((3, 0)))


@pytest.mark.parametrize("content_format", FORMATS, ids=lambda f: f.name)
@given(data=st.data())
@steady
def test_broken_payloads_give_records_or_a_peer_error(
    content_format: ContentFormat, data: st.DataObject
) -> None:
    decode_at_all_bases(content_format, mutated(valid_payload(content_format), data))


@pytest.mark.parametrize("content_format", FORMATS, ids=lambda f: f.name)
def test_every_truncation_gives_records_or_a_peer_error(content_format: ContentFormat) -> None:
    payload = valid_payload(content_format)
    for size in range(len(payload)):
        decode_at_all_bases(content_format, payload[:size])
        if content_format in (*COMPOSITE, ContentFormat.JSON, ContentFormat.LWM2M_CBOR):
            with pytest.raises(PeerError):
                decode(content_format, payload[:size], base=Path.ROOT, types=any_type, now_ms=NOW)


plain_items = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.floats(allow_nan=False)
    | texts
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-(2**64), 2**64 - 1) | texts, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(item=plain_items)
@steady
def test_cbor_agrees_with_cbor2(item: Any) -> None:
    if depth_of(item) <= cbor.MAX_DEPTH:
        for canonical in (False, True):  # canonical uses half floats
            assert cbor.load(cbor2.dumps(item, canonical=canonical)) == item
        assert cbor2.loads(cbor.dump(item)) == item


def depth_of(item: Any) -> int:
    if isinstance(item, dict):
        item = list(item.values())
    return 1 + max(map(depth_of, item), default=0) if isinstance(item, list) else 0


@given(payload=st.binary(max_size=40) | CBOR_PAYLOADS)
@settings(steady, max_examples=300)
def test_what_cbor_reads_cbor2_reads_alike(payload: bytes) -> None:
    try:
        item = cbor.load(payload)
    except PeerError:
        return
    if not any(byte >> 5 == 6 for byte in payload):  # no tags: cbor2 makes objects of its own of them
        assert same(item, cbor2.loads(payload))


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict):
        return len(ours) == len(theirs) and all(k in theirs and same(v, theirs[k]) for k, v in ours.items())
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs) or (ours != ours and theirs != theirs)


targets = st.lists(ids, max_size=4).map(lambda numbers: str(Path(numbers)))
attribute_names = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=6)
links = st.builds(Link, targets, st.dictionaries(attribute_names, st.none() | texts, max_size=4))


@given(some=st.lists(links, max_size=5))
@steady
def test_links_round_trip(some: list[Link]) -> None:
    assert parse_links(format_links(some)) == tuple(some)


@given(payload=st.binary(max_size=40) | st.text('</3>;,="\\ abc1.', max_size=40).map(str.encode))
@settings(steady, max_examples=300)
def test_any_bytes_give_links_or_a_peer_error(payload: bytes) -> None:
    try:
        parsed = parse_links(payload)
    except PeerError:
        return
    assert parse_links(format_links(parsed)) == parsed


@given(data=st.data(), some=st.lists(links, min_size=1, max_size=4))
@steady
def test_broken_links_give_links_or_a_peer_error(data: st.DataObject, some: list[Link]) -> None:
    payload = mutated(format_links(some), data)
    try:
        parse_links(payload)
    except PeerError:
        return
