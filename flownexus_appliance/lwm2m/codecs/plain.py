"""Formats of one value: text (0), opaque (42) and CBOR (60).

LwM2M Core 1.1.1 7.4.1 to 7.4.3: the path of the request is the path of the value, a resource or a
resource instance. Appendix C says how each data type is written.
"""

import base64
import re
from collections.abc import Sequence
from math import isfinite
from typing import Final

from ...errors import PeerError, UsageError
from ..paths import Path
from ..values import DataType, ObjectLink, Record, TypeLookup, Value, fit
from . import cbor
from .json_text import from_base64
from .records import check_path, checked, decimal_text, typed, untimed, utf8

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_MAX_NUMBER_LENGTH: Final = 400


def decode_text(payload: bytes, base: Path, types: TypeLookup) -> tuple[Record, ...]:
    """Decode text/plain; raises PeerError. Without a model, or where it does not fit, it is a STRING."""
    check_path(base, base)
    wanted = types(base)
    if wanted is DataType.OPAQUE:
        return (Record(base, _opaque_text(payload), DataType.OPAQUE),)
    text = utf8(payload)
    value = _parsed(text, wanted) if wanted is not None else None
    if value is None or wanted is None:
        return (Record(base, text, DataType.STRING),)
    return (Record(base, value, wanted),)


def _opaque_text(payload: bytes) -> bytes:
    """Appendix C: base64. Spec deviation: Zephyr sends the bytes as they are."""
    data = from_base64(payload.decode()) if payload.isascii() else None
    return payload if data is None else data


def _parsed(text: str, wanted: DataType) -> Value | None:
    match wanted:
        case DataType.INTEGER | DataType.UNSIGNED | DataType.TIME:
            return fit(int(text), wanted) if _INTEGER.fullmatch(text) else None
        case DataType.FLOAT:
            number = float(text) if len(text) <= _MAX_NUMBER_LENGTH and _DECIMAL.fullmatch(text) else None
            return number if number is not None and isfinite(number) else None
        case DataType.BOOLEAN:
            return {"0": False, "1": True}.get(text)
        case DataType.OBJLNK:
            try:
                return ObjectLink.parse(text)
            except PeerError:
                return None
    return fit(text, wanted)


def encode_text(records: Sequence[Record], base: Path) -> bytes:
    """Encode the one value of `records`; raises UsageError."""
    value = _single(records, base, "text/plain")
    match value:
        case bool():
            return b"1" if value else b"0"
        case float():
            return decimal_text(value).encode()
        case bytes():
            return base64.b64encode(value)
    return str(value).encode()


def decode_opaque(payload: bytes, base: Path, types: TypeLookup) -> tuple[Record, ...]:
    """Take the payload as it is, whatever the model says; raises PeerError for the path only."""
    check_path(base, base)
    return (Record(base, payload, DataType.OPAQUE),)


def encode_opaque(records: Sequence[Record], base: Path) -> bytes:
    """Encode the one value of `records`, which must be OPAQUE; raises UsageError."""
    value = _single(records, base, "octet-stream")
    if not isinstance(value, bytes):
        raise UsageError("value_invalid", f"the value for {base} is not opaque", "choose another format")
    return value


def decode_cbor(payload: bytes, base: Path, types: TypeLookup) -> tuple[Record, ...]:
    """Decode one CBOR item; raises PeerError, for null and NaN too: a single value must be one."""
    check_path(base, base)
    item = cbor.load(payload)
    if isinstance(item, (list, dict)):
        raise PeerError("payload_invalid", "application/cbor holds an array or a map, not one value")
    record = typed(base, item, types, None)
    if record is None:
        raise PeerError("value_invalid", f"the payload for {base} says that there is no value")
    return (record,)


def encode_cbor(records: Sequence[Record], base: Path) -> bytes:
    """Encode the one value of `records`; raises UsageError.

    A TIME carries tag 1: Core 1.2 table C.2 points to RFC 7049 2.4.1, Leshan insists on the tag,
    the others skip it.
    """
    value = _single(records, base, "application/cbor")
    if isinstance(value, ObjectLink):
        return cbor.dump(str(value))
    if isinstance(value, int) and records[0].data_type is DataType.TIME:
        return cbor.dump(cbor.EpochTime(value))
    return cbor.dump(value)


def _single(records: Sequence[Record], base: Path, format_name: str) -> Value:
    untimed(records, format_name)
    if len(records) != 1 or records[0].path != base:
        raise UsageError(
            "format_single_value",
            f"{format_name} carries the one value of {base} and nothing else",
            "choose SenML CBOR or TLV for more",
        )
    return checked(records, base)[0][1]
