"""The values of resources in forms: which input fits a data type, and what was written into it.

LwM2M Core 1.1.1 appendix C (data types). The model's range, where it can be read, is a bound of the input and
is kept to here as well; what has no model is asked for by what the device last told of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Final

from ..errors import UsageError, clean
from ..lwm2m.paths import Path
from ..lwm2m.plain import PlainValue, from_plain
from ..lwm2m.values import INT64_MAX, INT64_MIN, UINT64_MAX, DataType, Record, Value
from .wording import labels_of

NUMBERS: Final = frozenset({DataType.INTEGER, DataType.UNSIGNED, DataType.FLOAT})
WHOLE: Final = re.compile(r"[+-]?[0-9]{1,20}")
DECIMAL: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
# A form has no room for more, and a person no patience.
MAX_LINES: Final = 64
_RANGE: Final = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\.\.(-?[0-9]+(?:\.[0-9]+)?)")
_ENUMERATED: Final = re.compile(r"([0-9]+)\s*:\s*([^;]+)")
_LINE: Final = re.compile(r"([0-9]{1,5})\s*=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Input:
    """What a form asks for. `kind` is choice, number, time, opaque, link, text, or lines: those of a multiple
    resource, one a line as `0=value`.

    `value` is the present one as the input takes it; `low` and `high` bound a number, "" where nothing does.
    """

    kind: str
    data_type: DataType
    value: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    low: str = ""
    high: str = ""

    @property
    def step(self) -> str:
        return "any" if self.data_type is DataType.FLOAT else "1"


def bounds(range_text: str | None) -> tuple[str, str]:
    """The least and the greatest number that a model's range names; "" where it does not say it so."""
    found = _RANGE.fullmatch((range_text or "").strip())
    return (found[1], found[2]) if found and float(found[1]) <= float(found[2]) else ("", "")


def choices(path: Path, data_type: DataType, range_text: str | None) -> Mapping[str, str]:
    """The values of a boolean or an enumeration with their words, none for what has any value."""
    known = labels_of(path[0], path[2], data_type.value)
    if known is not None:
        return known
    parts = [part.strip() for part in (range_text or "").split(";")]
    found = [_ENUMERATED.fullmatch(part) for part in parts]
    if data_type not in NUMBERS or len(found) < 2:
        return {}
    return {match[1]: match[2].strip() for match in found if match} if all(found) else {}


def input_of(
    path: Path,
    data_type: DataType,
    range_text: str | None,
    present: Sequence[tuple[Path, PlainValue]],
    *,
    multiple: bool,
) -> Input:
    """The input for what is at `path`, with what is known to be there at `present`.

    `multiple`: all of a multiple resource at once; one of its instances is asked for like a single one.
    """
    if multiple:
        lines = "\n".join(f"{at[3]}={_text(value, data_type)}" for at, value in present if len(at) == 4)
        return Input("lines", data_type, lines)
    value = next((_text(value, data_type) for at, value in present if at == path), "")
    if labels := choices(path, data_type, range_text):
        return Input("choice", data_type, value, tuple(labels.items()))
    if data_type in NUMBERS:
        low, high = bounds(range_text)
        return Input("number", data_type, value, low=low, high=high)
    kinds = {DataType.TIME: "time", DataType.OPAQUE: "opaque", DataType.OBJLNK: "link"}
    return Input(kinds.get(data_type, "text"), data_type, value)


def records_of(path: Path, wanted: Input, text: str) -> tuple[Record, ...]:
    """What a form's field says is to be written to `path`; raises UsageError("value_invalid")."""
    if wanted.kind != "lines":
        return (Record(path, _value(wanted, text), wanted.data_type),)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or len(lines) > MAX_LINES:
        raise _invalid(f"{len(lines)} instances", f"write 1 to {MAX_LINES} lines, each as 0=value")
    records: dict[Path, Record] = {}
    for line in lines:
        found = _LINE.fullmatch(line.strip())
        if found is None or int(found[1]) > 65534:
            raise _invalid(f"not a resource instance: {clean(line, 40)}", "write a number, = and its value")
        at = path.child(int(found[1]))
        if at in records:
            raise _invalid(f"instance {at[3]} stands twice", "give each number once")
        records[at] = Record(at, _value(wanted, found[2]), wanted.data_type)
    return tuple(records.values())


def _value(wanted: Input, text: str) -> Value:
    data_type = wanted.data_type
    trimmed = text.strip()
    if data_type in (DataType.STRING, DataType.CORELNK):
        return text.replace("\r\n", "\n")  # as a browser sends it; other white space may be meant
    if not trimmed and data_type is not DataType.OPAQUE:
        raise _invalid("there is no value", "give one")
    match data_type:
        case DataType.BOOLEAN:
            return from_plain({"true": True, "false": False}.get(trimmed.lower(), trimmed), data_type)
        case DataType.TIME:
            return from_plain(seconds_of(trimmed), data_type)
        case DataType.OPAQUE:
            return from_plain(re.sub(r"[\s:]|^0x", "", trimmed), data_type)
        case DataType.INTEGER | DataType.UNSIGNED:
            return _bounded(wanted, from_plain(_whole(trimmed, data_type), data_type))
        case DataType.FLOAT:
            return _bounded(wanted, from_plain(_decimal(trimmed), data_type))
    return from_plain(trimmed, data_type)


def seconds_of(text: str) -> int:
    """A moment as a browser's input writes it (2026-11-22T13:38, UTC), or seconds since 1970."""
    if WHOLE.fullmatch(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(f"not a time: {clean(text, 40)}", "write it as 2026-11-22T13:38, in UTC") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _whole(text: str, data_type: DataType) -> int:
    low, high = (0, UINT64_MAX) if data_type is DataType.UNSIGNED else (INT64_MIN, INT64_MAX)
    if WHOLE.fullmatch(text) and low <= int(text) <= high:
        return int(text)
    raise _invalid(f"not a whole number: {clean(text, 40)}", f"give one from {low} to {high}")


def _decimal(text: str) -> float:
    if DECIMAL.fullmatch(text) and isfinite(number := float(text)):
        return number
    raise _invalid(f"not a number: {clean(text, 40)}", "write it with a point, such as 21.5")


def _bounded(wanted: Input, value: Value) -> Value:
    assert isinstance(value, (int, float))
    if wanted.low and not float(wanted.low) <= value <= float(wanted.high):
        raise _invalid(f"{value} is outside the range of the model", f"give {wanted.low} to {wanted.high}")
    return value


def _text(value: PlainValue, data_type: DataType) -> str:
    """A value as its input takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if data_type is DataType.TIME and isinstance(value, int):
        try:
            return datetime.fromtimestamp(value, UTC).replace(tzinfo=None).isoformat()
        except (OverflowError, ValueError, OSError):
            return ""
    return str(value)


def _invalid(what: str, hint: str) -> UsageError:
    return UsageError("value_invalid", what, hint)
