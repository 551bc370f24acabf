"""What all codecs share: from a path and a wire value to a Record, and back.

Owns the bounds on payloads, the checks of paths against the path of the request, and the few
conversions that need the model (an Objlnk sent as text, a Time sent as a date). LwM2M Core 1.1.1
appendix C, 1.2 table C.2.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Final, TypeAlias

from ...errors import PeerError, UsageError
from ..paths import MAX_LENGTH, Path
from ..values import (
    INT64_MIN,
    UINT64_MAX,
    DataType,
    ObjectLink,
    Record,
    TypeLookup,
    Value,
    fit,
    natural_type,
)
from .cbor import MAX_ITEMS, EpochTime, read_date_time

MAX_RECORDS: Final = MAX_ITEMS

_FLOAT: Final = DataType.FLOAT

# What a payload can hold for a resource; None where it says that there is no value.
Wire: TypeAlias = Value | EpochTime | None


@lru_cache(maxsize=8192)
def _locate(name: str, base: Path) -> Path:
    path = Path.parse(name)
    check_path(path, base)
    return path


def locate(name: str, base: Path) -> Path:
    """The path of a resource or resource instance that a payload names, checked to lie under `base`.

    Raises PeerError: `path_invalid`, `path_incomplete` (less than a resource) or `path_outside`.
    """
    return _locate(name, base) if len(name) <= MAX_LENGTH else Path.parse(name)


def check_path(path: Path, base: Path) -> None:
    """Raise PeerError unless `path` is at least a resource and lies under `base`."""
    if len(path) < 3:
        raise PeerError(
            "path_incomplete",
            f"{path} is not a resource, yet the payload gives it a value",
            "the device sends a name of less than three numbers; look at its Content-Format",
        )
    if not base.covers(path):
        raise PeerError("path_outside", f"the payload answers for {path}, which is outside {base}")


def typed(path: Path, value: Wire, types: TypeLookup, time_ms: int | None) -> Record | None:
    """Make a record of a wire value, typed by the model where it fits, else by the wire.

    Returns None where there is no reading: a null, or a float that is not finite. Neither SQLite
    nor JSON can hold NaN, and a broken sensor must not take the rest of its pack down with it.
    """
    wanted = types(path)
    if wanted is _FLOAT and type(value) is float and isfinite(value):
        return Record(path, value, wanted, time_ms)  # what sensors send, by the short way
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return None
    if wanted is not None:
        fitted = None if isinstance(value, EpochTime) else fit(value, wanted)
        if fitted is None:
            fitted = _converted(value, wanted)
        if fitted is not None:
            return Record(path, fitted, wanted, time_ms)
    if isinstance(value, EpochTime):
        return Record(path, value.seconds, DataType.TIME, time_ms)
    if isinstance(value, int) and not INT64_MIN <= value <= UINT64_MAX:
        raise PeerError("value_invalid", f"the integer at {path} does not fit 64 bits")
    return Record(path, value, natural_type(value), time_ms)


def _converted(value: Value | EpochTime, wanted: DataType) -> Value | None:
    """Conversions beyond `fit`: the same value, written in another of the spec's ways or a peer's."""
    if isinstance(value, EpochTime):
        return fit(value.seconds, wanted)
    try:
        if wanted is DataType.OBJLNK and isinstance(value, str):
            # Spec deviation: Zephyr counts the closing NUL into an Objlnk sent as plain CBOR.
            return ObjectLink.parse(value.removesuffix("\0"))
        if wanted is DataType.OBJLNK and type(value) is int and -(2**31) <= value < 2**32:
            # Spec deviation: early Zephyr 3 packs both ids of an Objlnk into one SenML CBOR integer.
            return ObjectLink(value >> 16 & 0xFFFF, value & 0xFFFF)
        if wanted is DataType.TIME and isinstance(value, str):
            return read_date_time(value).seconds
    except PeerError:
        pass  # not written that way: the text stays what it is
    return None


def utf8(raw: bytes) -> str:
    """Read UTF-8; raises PeerError("payload_invalid")."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise PeerError("payload_invalid", "a text in the payload is not UTF-8") from None


def too_many(count: int) -> PeerError:
    return PeerError("payload_too_large", f"{count} records in one payload, at most {MAX_RECORDS} are read")


def checked(records: Iterable[Record], base: Path) -> list[tuple[Record, Value]]:
    """Pair each record with the value to encode; raises UsageError where it cannot be encoded.

    The value is what `fit` makes of it for the record's type, so an int given for a FLOAT goes out
    as a float: Zephyr reads nothing else there.
    """
    return [(record, _sendable(record, base)) for record in records]


def _sendable(record: Record, base: Path) -> Value:
    path = record.path
    if len(path) < 3:
        raise UsageError("path_incomplete", f"{path} is not a resource and cannot be given a value")
    if not base.covers(path):
        raise UsageError("path_outside", f"{path} is outside {base}, the target of the operation")
    value = fit(record.value, record.data_type)
    match value:
        case float():
            sendable = isfinite(value)
        case ObjectLink():
            sendable = all(0 <= number <= 65535 for number in value)
        case str():
            sendable = is_unicode(value)
        case _:
            sendable = value is not None
    if value is None or not sendable:
        raise UsageError(
            "value_invalid",
            f"the value for {path} is not of type {record.data_type}",
            "give a value of the resource's data type",
        )
    return value


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can write the text: a lone surrogate from a JSON escape cannot be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def untimed(records: Sequence[Record], format_name: str) -> None:
    """Raise UsageError where a record carries a time: only SenML and JSON can say one."""
    if any(record.time_ms is not None for record in records):
        raise UsageError("time_unsupported", f"{format_name} cannot carry timestamps", "use SenML CBOR")


def distinct(paths: Iterable[Path], error: type[PeerError] | type[UsageError]) -> None:
    """Raise `error` where a path occurs twice, in a format that has no room for samples."""
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise error("path_repeated", f"{path} has two values in one payload")
        seen.add(path)


def decimal_text(value: float) -> str:
    """Write a float with a decimal point and, within reason, without an exponent.

    Zephyr reads digits and one point and stops at an `e`. 0.1 gives "0.1", 1e-7 "0.0000001".
    """
    text = repr(value)
    if "e" not in text or not 1e-20 < abs(value) < 1e20:
        return text
    plain = f"{Decimal(text):f}"
    return plain if "." in plain else plain + ".0"
