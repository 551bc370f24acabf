"""Typed values of LwM2M resources and the flat record that every codec reads and writes.

LwM2M Core 1.1.1 appendix C (data types). A payload of any Content-Format decodes to a tuple of
`Record`s: one value each, addressed by the full path of its resource (three numbers) or resource
instance (four numbers). That is the shape the store keeps too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from ..errors import PeerError, clean
from .paths import Path

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
UINT64_MAX: Final = 2**64 - 1


class DataType(StrEnum):
    """Data types of LwM2M Core 1.1.1 appendix C; NONE is an executable resource."""

    STRING = "string"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    FLOAT = "float"
    BOOLEAN = "boolean"
    OPAQUE = "opaque"
    TIME = "time"
    OBJLNK = "objlnk"
    CORELNK = "corelnk"
    NONE = "none"


class ObjectLink(NamedTuple):
    """An Objlnk: object id and instance id, each 0 to 65535; 65535:65535 links to nothing."""

    object_id: int
    instance_id: int

    def __str__(self) -> str:
        return f"{self.object_id}:{self.instance_id}"

    @classmethod
    def parse(cls, text: str) -> "ObjectLink":
        """Read `66:0`; raises PeerError("value_invalid")."""
        left, colon, right = text.partition(":")
        if colon and _is_id(left) and _is_id(right):
            return cls(int(left), int(right))
        raise PeerError("value_invalid", f"not an object link: {clean(text)}", "write it as 66:0")


# STRING, CORELNK: str. INTEGER, UNSIGNED: int. TIME: int, seconds since 1970-01-01 UTC.
# FLOAT: float. BOOLEAN: bool. OPAQUE: bytes. OBJLNK: ObjectLink.
Value = str | int | float | bool | bytes | ObjectLink

# Data type of the resource at a path (three or four numbers), None where no model knows it.
TypeLookup = Callable[[Path], DataType | None]


@dataclass(frozen=True, slots=True)
class Record:
    """One value of one resource or resource instance.

    `time_ms` is the device's own timestamp in milliseconds since 1970 UTC, None when it sent none
    (the value then belongs to the moment of receipt).
    """

    path: Path
    value: Value
    data_type: DataType
    time_ms: int | None = None


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def natural_type(value: Value) -> DataType:
    """The data type that the wire itself tells, for a resource no model knows."""
    if isinstance(value, bool):
        return DataType.BOOLEAN
    if isinstance(value, int):
        return DataType.INTEGER if value <= INT64_MAX else DataType.UNSIGNED
    if isinstance(value, float):
        return DataType.FLOAT
    if isinstance(value, ObjectLink):
        return DataType.OBJLNK
    return DataType.OPAQUE if isinstance(value, bytes) else DataType.STRING


def fit(value: Value, data_type: DataType) -> Value | None:
    """Turn a wire value into a value of `data_type` when nothing is lost by it, else None.

    JSON and CBOR do not tell 23 from 23.0, or a Time from an Integer: the model does. An integer
    wanted as FLOAT becomes the nearest double, as RFC 8428 section 5 reads numbers.
    """
    match data_type:
        case DataType.FLOAT:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                try:
                    return float(value)
                except OverflowError:
                    return None
        case DataType.INTEGER | DataType.TIME:
            whole = _whole(value)
            return whole if whole is not None and INT64_MIN <= whole <= INT64_MAX else None
        case DataType.UNSIGNED:
            whole = _whole(value)
            return whole if whole is not None and 0 <= whole <= UINT64_MAX else None
        case DataType.BOOLEAN:
            return value if isinstance(value, bool) else None
        case DataType.OPAQUE:
            return value if isinstance(value, bytes) else None
        case DataType.OBJLNK:
            return value if isinstance(value, ObjectLink) else None
        case DataType.STRING | DataType.CORELNK:
            return value if isinstance(value, str) else None
        case DataType.NONE:
            return None
    return None


def _whole(value: Value) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def record(path: Path, value: Value, types: TypeLookup, time_ms: int | None = None) -> Record:
    """Make a record typed by the model where it fits, by the wire where it does not.

    A device that sends text for a resource the registry calls a number is kept as it spoke: losing
    a reading over a registry's opinion helps nobody.
    """
    wanted = types(path)
    if wanted is not None:
        fitted = fit(value, wanted)
        if fitted is not None:
            return Record(path, fitted, wanted, time_ms)
    return Record(path, value, natural_type(value), time_ms)
