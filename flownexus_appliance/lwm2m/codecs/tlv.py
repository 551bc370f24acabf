"""LwM2M TLV, Content-Format 11542, before that 1542 (LwM2M Core 1.1.1 7.4.4, LwM2M 1.0.2 6.4.3).

A TLV does not say its data type: without the model a value stays OPAQUE.
"""

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from math import isfinite
from typing import Final, NamedTuple

from ...errors import PeerError, UsageError
from ..paths import MAX_ID, Path
from ..values import INT64_MAX, DataType, ObjectLink, Record, TypeLookup, Value
from .cbor import shortest_float
from .records import MAX_RECORDS, check_path, checked, distinct, too_many, untimed

MAX_VALUE_BYTES: Final = 2**24 - 1


class Kind(IntEnum):
    """Bits 7 and 6 of the type byte."""

    OBJECT_INSTANCE = 0
    RESOURCE_INSTANCE = 1
    MULTIPLE_RESOURCE = 2
    RESOURCE = 3


class Tlv(NamedTuple):
    kind: Kind
    number: int
    value: bytes


def decode_tlv(payload: bytes, base: Path, types: TypeLookup) -> tuple[Record, ...]:
    """Decode TLVs read at `base` (an object or deeper); raises PeerError.

    The levels above those of the request may be there or not: an object instance TLV in the reply
    for an instance, or none in the reply for an object that has but one, which then is instance 0.
    """
    if not base:
        raise PeerError("payload_invalid", "TLV cannot answer for the root path")
    raw: list[tuple[Path, bytes]] = []
    for tlv in _split(payload):
        _collect(tlv, base, raw)
    for path, _ in raw:
        check_path(path, base)
    distinct((path for path, _ in raw), PeerError)
    records = (_record(path, value, types) for path, value in raw)
    return tuple(record for record in records if record is not None)


def _split(data: bytes) -> Iterator[Tlv]:
    at = 0
    while at < len(data):
        head = data[at]
        number_end = at + (3 if head & 0x20 else 2)
        length_end = number_end + (head >> 3 & 3)
        number = int.from_bytes(data[at + 1 : number_end])
        length = int.from_bytes(data[number_end:length_end]) if head & 0x18 else head & 7
        at = length_end + length
        if at > len(data):
            raise PeerError("payload_invalid", "not a usable TLV payload: it ends too early")
        if number > MAX_ID:
            raise PeerError("path_invalid", f"{number} is not an id that a TLV may carry")
        yield Tlv(Kind(head >> 6), number, data[length_end:at])


def _collect(tlv: Tlv, base: Path, raw: list[tuple[Path, bytes]]) -> None:
    """Add the values in one top-level TLV, which may start at any level from `base` on."""
    match tlv.kind:
        case Kind.OBJECT_INSTANCE:
            instance = Path((base[0], tlv.number))
            for inner in _split(tlv.value):
                _collect_resource(inner, instance, raw)
        case Kind.RESOURCE_INSTANCE if len(base) > 2:
            _add(_child(base.resource, tlv), tlv, raw)
        case _:
            instance = Path(base[:2]) if len(base) > 1 else Path((base[0], 0))
            _collect_resource(tlv, instance, raw)


def _collect_resource(tlv: Tlv, instance: Path, raw: list[tuple[Path, bytes]]) -> None:
    if tlv.kind is Kind.RESOURCE:
        _add(_child(instance, tlv), tlv, raw)
    elif tlv.kind is Kind.MULTIPLE_RESOURCE:
        resource = _child(instance, tlv)
        for inner in _split(tlv.value):
            if inner.kind is not Kind.RESOURCE_INSTANCE:
                raise _misplaced(inner)
            _add(_child(resource, inner), inner, raw)
    else:
        raise _misplaced(tlv)


def _add(path: Path, tlv: Tlv, raw: list[tuple[Path, bytes]]) -> None:
    if len(raw) >= MAX_RECORDS:
        raise too_many(len(raw) + 1)
    raw.append((path, tlv.value))


def _child(parent: Path, tlv: Tlv) -> Path:
    return Path((*parent, tlv.number))


def _misplaced(tlv: Tlv) -> PeerError:
    return PeerError("payload_invalid", f"not a usable TLV payload: misplaced {tlv.kind.name} {tlv.number}")


def _record(path: Path, raw: bytes, types: TypeLookup) -> Record | None:
    """Type a value by the model where its length and content allow, else keep the bytes.

    None for a float that is not finite, as in the other formats.
    """
    wanted = types(path)
    if wanted is None:
        return Record(path, raw, DataType.OPAQUE)
    value = _read(raw, wanted)
    if isinstance(value, float) and not isfinite(value):
        return None
    return Record(path, raw, DataType.OPAQUE) if value is None else Record(path, value, wanted)


def _read(raw: bytes, wanted: DataType) -> Value | None:
    size = len(raw)
    match wanted:
        case DataType.INTEGER | DataType.TIME | DataType.UNSIGNED if size in (1, 2, 4, 8):
            return int.from_bytes(raw, signed=wanted is not DataType.UNSIGNED)
        case DataType.FLOAT if size in (4, 8):
            number: float = struct.unpack(">f" if size == 4 else ">d", raw)[0]
            return number
        case DataType.BOOLEAN if raw in (b"\0", b"\1"):
            return raw == b"\1"
        case DataType.OBJLNK if size == 4:
            return ObjectLink(*struct.unpack(">HH", raw))
        case DataType.STRING | DataType.CORELNK:
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return None
        case DataType.OPAQUE:
            return raw
    return None


def encode_tlv(records: Sequence[Record], base: Path) -> bytes:
    """Encode values for a write or create at `base` (an object or deeper); raises UsageError.

    Instances and resources keep the order of their first record.
    """
    if not base:
        raise UsageError("path_outside", "TLV cannot carry values for the root path", "use SenML CBOR")
    untimed(records, "TLV")
    tree: dict[int, dict[int, bytes | dict[int, bytes]]] = {}
    distinct((record.path for record in records), UsageError)
    for record, value in checked(records, base):
        _, instance, resource, *rest = record.path
        resources = tree.setdefault(instance, {})
        raw = _written(value, record.data_type)
        if not rest:
            node: bytes | dict[int, bytes] = raw
            clash = resource in resources
        else:
            node = resources.get(resource, {})
            clash = not isinstance(node, dict)
            if isinstance(node, dict):
                node[rest[0]] = raw
        if clash:
            raise UsageError("value_invalid", f"{record.path.resource} is given as one value and as several")
        resources[resource] = node
    return _assembled(tree, base)


def encode_bare_instance(number: int) -> bytes:
    """An object instance without resources, as a Create of an object carries it."""
    return _tlv(Kind.OBJECT_INSTANCE, number, b"")


def _assembled(tree: dict[int, dict[int, bytes | dict[int, bytes]]], base: Path) -> bytes:
    if len(base) == 1:
        return b"".join(_tlv(Kind.OBJECT_INSTANCE, number, _resources(node)) for number, node in tree.items())
    if len(base) == 4:
        # The request names the resource: its instance comes alone, as Leshan writes and reads it.
        return b"".join(
            _instances(node)
            for resources in tree.values()
            for node in resources.values()
            if isinstance(node, dict)
        )
    return b"".join(map(_resources, tree.values()))


def _resources(resources: dict[int, bytes | dict[int, bytes]]) -> bytes:
    return b"".join(
        _tlv(Kind.MULTIPLE_RESOURCE, number, _instances(node))
        if isinstance(node, dict)
        else _tlv(Kind.RESOURCE, number, node)
        for number, node in resources.items()
    )


def _instances(instances: dict[int, bytes]) -> bytes:
    return b"".join(_tlv(Kind.RESOURCE_INSTANCE, number, raw) for number, raw in instances.items())


def _tlv(kind: Kind, number: int, value: bytes) -> bytes:
    size = len(value)
    if size > MAX_VALUE_BYTES:
        raise UsageError("value_invalid", f"{size} bytes are more than a TLV can hold")
    head = kind << 6 | (0x20 if number > 0xFF else 0)
    name = number.to_bytes(2 if number > 0xFF else 1)
    if size < 8:
        return bytes((head | size,)) + name + value
    width = (size.bit_length() + 7) // 8
    return bytes((head | width << 3,)) + name + size.to_bytes(width) + value


def _written(value: Value, data_type: DataType) -> bytes:
    match value:
        case bool():
            return b"\1" if value else b"\0"
        case int():
            # Leshan reads unsigned numbers as signed ones: where the first bit is clear, both readings agree.
            signed = data_type is not DataType.UNSIGNED or value <= INT64_MAX
            return value.to_bytes(_width(value, signed), signed=signed)
        case float():
            return shortest_float(value)
        case ObjectLink():
            return struct.pack(">HH", *value)
        case str():
            return value.encode()
        case bytes():
            return value


def _width(value: int, signed: bool) -> int:
    """Bytes of the shortest of 1, 2, 4, 8 that hold the number."""
    bits = (~value if value < 0 else value).bit_length() + signed
    return next(width for width in (1, 2, 4, 8) if bits <= width * 8)
