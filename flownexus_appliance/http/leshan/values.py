"""Values of resources as Leshan's JSON has them, both ways.

STRING and CORELINK are text, INTEGER and UNSIGNED_INTEGER text of digits, BOOLEAN a JSON boolean, TIME
milliseconds since 1970 (seconds in the house), OPAQUE hexadecimal text, OBJLNK an object of three. FLOAT is a
JSON number here, or on demand Leshan's own text: docs/decisions/0009-leshans-numbers.md.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite, isnan
from typing import Any, Final

from ...errors import ApplianceError, UsageError, clean
from ...lwm2m.links import parse_links
from ...lwm2m.values import INT64_MAX, INT64_MIN, UINT64_MAX, DataType, ObjectLink, Value, fit

TYPES: Final[Mapping[DataType, str]] = {
    DataType.STRING: "STRING",
    DataType.INTEGER: "INTEGER",
    DataType.UNSIGNED: "UNSIGNED_INTEGER",
    DataType.FLOAT: "FLOAT",
    DataType.BOOLEAN: "BOOLEAN",
    DataType.OPAQUE: "OPAQUE",
    DataType.TIME: "TIME",
    DataType.OBJLNK: "OBJLNK",
    DataType.CORELNK: "CORELINK",
    DataType.NONE: "NONE",
}
_BY_NAME: Final = {name: kind for kind, name in TYPES.items() if kind is not DataType.NONE}

_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SPACE: Final = re.compile(r"\s")
MAX_NUMBER: Final = 400  # characters: the longest double written out in full has fewer
_NO_LINK: Final = 65535
# Between these Java writes a double without an exponent.
_PLAIN_FROM: Final = 1e-3
_PLAIN_BELOW: Final = 1e7


def value_json(value: Value, data_type: DataType, *, floats_as_text: bool = False) -> Any:
    """A value as JSON. A float that JSON has no number for is text, as Java writes it."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, ObjectLink):
        null = value.object_id == value.instance_id == _NO_LINK
        return {"objectId": value.object_id, "objectInstanceId": value.instance_id, "nullLink": null}
    if isinstance(value, float):
        return value if isfinite(value) and not floats_as_text else java_text(value)
    return value * 1000 if data_type is DataType.TIME else str(value)


def java_text(value: float) -> str:
    """A double as Java's `Double.toString` writes it: `1.0`, `22.5`, `1.0E-9`, `NaN`."""
    if not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    mantissa = f"{text[0]}.{text[1:] or '0'}"
    return f"{'-' if sign else ''}{mantissa}E{exponent + len(text) - 1}"


def data_type_of(name: object) -> DataType:
    """The data type that a node's `type` names, in any case; raises UsageError("value_invalid")."""
    found = _BY_NAME.get(name.upper()) if isinstance(name, str) else None
    if found is None:
        what = "a node without its type" if name is None else f"no type {clean(repr(name), 40)}"
        raise UsageError("value_invalid", what, f"give one of {', '.join(_BY_NAME)}")
    return found


def value_of(given: object, data_type: DataType) -> Value:
    """The value that JSON carried for a type; raises UsageError("value_invalid").

    INTEGER, UNSIGNED_INTEGER and FLOAT are taken as text and as numbers.
    """
    try:
        found = _READERS[data_type](given)
    except (ValueError, OverflowError, ApplianceError):
        found = None
    if found is None:
        raise UsageError(
            "value_invalid",
            f"{clean(repr(given), 40)} is not a value of type {TYPES[data_type]}",
            f"give {_WANTED[data_type]}",
        )
    return found


def suited(value: Value, data_type: DataType, wanted: DataType | None) -> tuple[Value, DataType]:
    """A value of the type that the object's model wants, where nothing is lost by it; else as it was given.

    Scripts name their own language's type: an `integer` for what the model calls a Float or a Time.
    """
    if wanted is None or wanted is data_type:
        return value, data_type
    fitted = fit(value, wanted)
    return (value, data_type) if fitted is None else (fitted, wanted)


def _text(given: object) -> str | None:
    return given if isinstance(given, str) else None


def _links(given: object) -> str | None:
    if not isinstance(given, str):
        return None
    parse_links(given.encode())
    return given


def _whole(given: object) -> int | None:
    if isinstance(given, str):
        return int(given) if _WHOLE.fullmatch(given) else None
    if isinstance(given, bool):
        return None
    if isinstance(given, float):
        return int(given) if given.is_integer() else None
    return given if isinstance(given, int) else None


def _integer(given: object) -> int | None:
    number = _whole(given)
    return number if number is not None and INT64_MIN <= number <= INT64_MAX else None


def _unsigned(given: object) -> int | None:
    number = _whole(given)
    return number if number is not None and 0 <= number <= UINT64_MAX else None


def _float(given: object) -> float | None:
    if isinstance(given, str):
        if len(given) > MAX_NUMBER or not _DECIMAL.fullmatch(given):
            return None
        number = float(given)
        return number if isfinite(number) else None
    return float(given) if isinstance(given, int | float) and not isinstance(given, bool) else None


def _boolean(given: object) -> bool | None:
    return given if isinstance(given, bool) else None


def _time(given: object) -> int | None:
    number = None if isinstance(given, str) else _integer(given)
    return None if number is None else number // 1000


def _opaque(given: object) -> bytes | None:
    # fromhex() would pass over white space.
    return bytes.fromhex(given) if isinstance(given, str) and not _SPACE.search(given) else None


def _object_link(given: object) -> ObjectLink | None:
    if not isinstance(given, dict):
        return None
    object_id, instance_id = _link_id(given.get("objectId")), _link_id(given.get("objectInstanceId"))
    return None if object_id is None or instance_id is None else ObjectLink(object_id, instance_id)


def _link_id(given: object) -> int | None:
    number = None if isinstance(given, str) else _whole(given)
    return number if number is not None and 0 <= number <= _NO_LINK else None


_READERS: Final[Mapping[DataType, Callable[[object], Value | None]]] = {
    DataType.STRING: _text,
    DataType.INTEGER: _integer,
    DataType.UNSIGNED: _unsigned,
    DataType.FLOAT: _float,
    DataType.BOOLEAN: _boolean,
    DataType.OPAQUE: _opaque,
    DataType.TIME: _time,
    DataType.OBJLNK: _object_link,
    DataType.CORELNK: _links,
}
_WANTED: Final[Mapping[DataType, str]] = {
    DataType.STRING: "a JSON string",
    DataType.INTEGER: "a whole number of 64 bits, as text or number",
    DataType.UNSIGNED: "a whole number of 64 bits, not below 0, as text or number",
    DataType.FLOAT: "a finite number, as text or number",
    DataType.BOOLEAN: "true or false",
    DataType.OPAQUE: "hexadecimal text, such as 0a1bff",
    DataType.TIME: "milliseconds since 1970, as a number",
    DataType.OBJLNK: '{"objectId": 66, "objectInstanceId": 0}',
    DataType.CORELNK: "a link list as text, such as </3/0>",
}
