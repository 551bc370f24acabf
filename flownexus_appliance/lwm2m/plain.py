"""Values as JSON carries them, both ways: for the API, the live stream and the command line.

OPAQUE is hexadecimal text, Objlnk is `66:0`, Time is seconds since 1970, non-finite floats are the
texts `nan`, `inf` and `-inf`; everything else is itself.
"""

import json
from math import isfinite

from ..errors import ApplianceError, UsageError, clean
from .values import DataType, ObjectLink, Value, fit

PlainValue = str | int | float | bool


def to_plain(value: Value) -> PlainValue:
    """A value as JSON can carry it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, ObjectLink):
        return str(value)
    if isinstance(value, float) and not isfinite(value):
        return repr(value)
    return value


def from_plain(value: object, data_type: DataType) -> Value:
    """The value of `data_type` that JSON carried; raises UsageError("value_invalid")."""
    result: Value | None = None
    try:
        if data_type is DataType.OPAQUE and isinstance(value, str):
            result = bytes.fromhex(value)
        elif data_type is DataType.OBJLNK and isinstance(value, str):
            result = ObjectLink.parse(value)
        elif data_type is DataType.FLOAT and value in ("nan", "inf", "-inf"):
            result = float(str(value))
        elif isinstance(value, (str, int, float, bool)):
            result = fit(value, data_type)
    except (ValueError, ApplianceError):
        result = None
    if result is None:
        raise UsageError(
            "value_invalid",
            f"{clean(_said(value), 40)} is not a value of type {data_type.value}",
            _HINTS.get(data_type, f"give a JSON value for {data_type.value}"),
        )
    return result


def _said(value: object) -> str:
    """A value as whoever sent it wrote it."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


_HINTS = {
    DataType.STRING: "give text, in quotes where it is JSON",
    DataType.INTEGER: "give a whole number, such as 23",
    DataType.UNSIGNED: "give a whole number, not below 0",
    DataType.FLOAT: "give a number, such as 21.5",
    DataType.BOOLEAN: "give true or false",
    DataType.OPAQUE: "give bytes as hexadecimal text, such as 0a1bff",
    DataType.OBJLNK: "give an object link as text, such as 66:0",
    DataType.TIME: "give a time as whole seconds since 1970",
    DataType.NONE: "this resource holds no value; it can only be executed",
}
