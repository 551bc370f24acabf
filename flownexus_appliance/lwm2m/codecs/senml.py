"""SenML (RFC 8428) as LwM2M uses it: resolving packs to records and laying records out as packs.

LwM2M Core 1.1.1 7.4.5 (SenML JSON) and 7.4.6 (SenML CBOR). Both codecs hand over and receive
entries keyed by the integer labels of SenML CBOR (RFC 8428 table 4), "vlo" and unknown labels as
text.
"""

from collections.abc import Callable, ItemsView, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from ...errors import PeerError, UsageError, clean
from ..paths import Path
from ..values import INT64_MIN, UINT64_MAX, ObjectLink, Record, TypeLookup, Value
from .cbor import EpochTime
from .records import MAX_RECORDS, Wire, checked, locate, too_many, typed

Label: TypeAlias = int | str
Entry: TypeAlias = dict[Label, Value]

BASE_VERSION: Final = -1
BASE_NAME: Final = -2
BASE_TIME: Final = -3
BASE_UNIT: Final = -4
BASE_VALUE: Final = -5
BASE_SUM: Final = -6
NAME: Final = 0
UNIT: Final = 1
VALUE: Final = 2
STRING_VALUE: Final = 3
BOOLEAN_VALUE: Final = 4
SUM: Final = 5
TIME: Final = 6
UPDATE_TIME: Final = 7
DATA_VALUE: Final = 8
LINK_VALUE: Final = "vlo"

VERSION: Final = 10
# RFC 8428 4.5.3: "Values less than 268,435,456 (2**28) represent time relative to the current time."
FIRST_ABSOLUTE_S: Final = 2**28
MAX_TIME_MS: Final = 253_402_300_799_999  # the end of the year 9999


def resolve(pack: object, base: Path, types: TypeLookup, now_ms: int) -> tuple[Record, ...]:
    """Resolve a pack (RFC 8428 4.6) to records that lie under `base`; raises PeerError.

    A record of base fields alone is taken as setting them: meters send their base time that way.
    """
    base_name = ""
    base_time: int | float = 0
    base_value: int | float | None = None
    records: list[Record] = []
    relative: dict[int, int] = {}  # the samples whose time is relative to now
    for entry in _entries(pack):
        name, values, own = "", 0, False
        time: int | float = 0
        value: Any = None
        for label, item in _fields(entry):
            if label == NAME:
                name, own = _text(item), True
            elif label in _VALUES:
                value = item if type(item) is float and label == VALUE else _VALUES[label](item)
                values += 1
            elif label == BASE_NAME:
                base_name = _text(item)
            elif label == TIME:
                time, own = _number(item), True
            elif label == BASE_TIME:
                base_time = _number(item)
            elif label == BASE_VALUE:
                base_value = _number(item)
            else:
                _check_other(label, item)
        if values != 1:
            if values or (own and base_value is None):
                raise _invalid("a record carries no value, or more than one")
            if not own:
                continue
            value = base_value
        elif base_value is not None and type(value) in (int, float):
            # RFC 8428 4.5.4: a value and the base value add up, a missing one counts as zero.
            value += base_value
        path = locate(base_name + name, base)
        moment = _moment(base_time, time, now_ms) if time or base_time else None
        record = typed(path, value, types, moment)
        if record is not None:
            if moment is not None and base_time + time < FIRST_ABSOLUTE_S:
                relative[len(records)] = moment
            records.append(record)
    late_ms = max(relative.values(), default=now_ms) - now_ms
    if late_ms > 0:
        # Spec deviation: no measurement lies in the future. A device without a clock, Zephyr among
        # them, sends its uptime, which reads as relative to now. Its latest sample is taken to be of
        # this moment; how far the samples lie apart is right.
        for index, moment in relative.items():
            records[index] = replace(records[index], time_ms=moment - late_ms)
    return tuple(records)


def resolve_paths(pack: object) -> tuple[Path, ...]:
    """The paths of a pack without values, the body of a composite read or observe."""
    base_name = ""
    paths: list[Path] = []
    for entry in _entries(pack):
        name, own = "", False
        for label, item in _fields(entry):
            if label == NAME:
                name, own = _text(item), True
            elif label == BASE_NAME:
                base_name, own = _text(item), True
            elif label in _VALUES:
                raise _invalid("a record of a composite read carries a value")
            else:
                _check_other(label, item)
        if own:
            paths.append(Path.parse(base_name + name))
    return tuple(paths)


def _entries(pack: object) -> list[Any]:
    if type(pack) is not list:
        raise _invalid("it is not an array of records")
    if len(pack) > MAX_RECORDS:
        raise too_many(len(pack))
    return pack


def _fields(entry: object) -> ItemsView[Any, Any]:
    if type(entry) is not dict:
        raise _invalid("a record is not a map")
    return entry.items()


def _check_other(label: object, item: object) -> None:
    if label == BASE_VERSION and (type(item) is not int or not 0 < item <= VERSION):
        # RFC 8428 4.4: a larger version "MUST NOT" be used.
        raise _invalid("it is of an unknown version")
    if isinstance(label, str) and label.endswith("_"):
        # RFC 8428 4.4: a field that has to be understood.
        raise _invalid(f"the field {clean(label, 20)} is not known")


def _moment(base_time: int | float, time: int | float, now_ms: int) -> int | None:
    """The sample's time in ms since 1970, None for "now"; raises PeerError("time_invalid")."""
    if time >= FIRST_ABSOLUTE_S and base_time >= FIRST_ABSOLUTE_S:
        # Spec deviation: Zephyr's SenML JSON gives the first sample of every resource but the
        # first as an absolute time although a base time is in force.
        base_time = 0
    seconds = base_time + time
    if not seconds:
        return None
    moment = round(seconds * 1000)
    if seconds < FIRST_ABSOLUTE_S:
        moment += now_ms
    if not 0 <= moment <= MAX_TIME_MS:
        raise PeerError("time_invalid", f"a sample's time is out of range: {moment} ms since 1970")
    return moment


def _invalid(what: str) -> PeerError:
    return PeerError("payload_invalid", f"not a usable SenML pack: {what}")


def _text(item: object) -> str:
    if type(item) is not str:
        raise _invalid("a name is not text")
    return item


def _number(item: object) -> int | float:
    """A time or base value: bounded so that no sum can overflow; tag 1 is seen around base times."""
    if type(item) is EpochTime:
        return item.seconds
    # The comparison refuses NaN too.
    if type(item) not in (int, float) or not -1e15 <= item <= 1e15:  # type: ignore[operator]
        raise _invalid("a time or a base value is not a number in range")
    return item  # type: ignore[return-value]


def _value(item: object) -> Wire:
    if type(item) is int and not INT64_MIN <= item <= UINT64_MAX:
        # RFC 8428 5: a number is good for the range of a double, however it is written.
        try:
            return float(item)
        except OverflowError:
            raise _invalid("a v field is out of range") from None
    if type(item) in (float, int, EpochTime) or item is None:
        return item  # type: ignore[return-value]
    raise _invalid("a v field is not a number")


def _string_value(item: object) -> Wire:
    if type(item) in (str, EpochTime) or item is None:
        return item  # type: ignore[return-value]
    raise _invalid("a vs field is not text")


def _boolean_value(item: object) -> Wire:
    if type(item) is bool or item is None:
        return item
    raise _invalid("a vb field is not a boolean")


def _data_value(item: object) -> Wire:
    if type(item) is bytes or item is None:
        return item
    raise _invalid("a vd field is not a byte string")


def _link_value(item: object) -> Wire:
    if item is None:
        return None
    if type(item) is str:
        return ObjectLink.parse(item)
    raise _invalid("a vlo field is not text")


_VALUES: Final[dict[Label, Callable[[object], Wire]]] = {
    VALUE: _value,
    STRING_VALUE: _string_value,
    BOOLEAN_VALUE: _boolean_value,
    DATA_VALUE: _data_value,
    LINK_VALUE: _link_value,
}


def lay_out(records: Sequence[Record], base: Path) -> Iterator[Entry]:
    """Lay records out as the entries of a pack; raises UsageError.

    The base name is always the object instance ("/3/0/") and the name the rest ("9", "6/1"), given
    anew where the instance changes, because older Zephyr clients cut a base name after 11
    characters and a name after 9. The order of the fields is the one Zephyr's decoder expects.
    """
    instance: Path | None = None
    for record, value in checked(records, base):
        entry: Entry = {}
        parent = Path(record.path[:2])
        if parent != instance:
            instance = parent
            entry[BASE_NAME] = f"{parent}/"
        entry[NAME] = "/".join(map(str, record.path[2:]))
        if record.time_ms is not None:
            entry[TIME] = seconds(record.time_ms)
        if isinstance(value, ObjectLink):
            entry[LINK_VALUE] = str(value)
        else:
            entry[_label(value)] = value
        yield entry


def _label(value: Value) -> Label:
    if isinstance(value, bool):
        return BOOLEAN_VALUE
    if isinstance(value, (int, float)):
        return VALUE
    return STRING_VALUE if isinstance(value, str) else DATA_VALUE


def seconds(time_ms: int) -> int | float:
    """A sample's time as SenML has it, whole seconds as an integer; raises UsageError."""
    if not FIRST_ABSOLUTE_S * 1000 <= time_ms <= MAX_TIME_MS:
        raise UsageError("time_invalid", f"SenML cannot carry the time {time_ms} ms since 1970")
    return time_ms / 1000 if time_ms % 1000 else time_ms // 1000


def lay_out_paths(paths: Sequence[Path]) -> Iterator[Entry]:
    """Lay the paths of a composite read out: full names, which every client takes."""
    return ({NAME: str(path)} for path in paths)
