"""The NOTIFICATION attributes a server sets on a device with Write-Attributes.

LwM2M Core 1.1.1 section 5.1.2 (attributes, levels and inheritance), 6.3.4 (Write-Attributes);
edge, con and hqmax are of 1.2. What the attributes do to a notification is in `reporting.py`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ..lwm2m.paths import Path
from ..lwm2m.values import DataType
from .messages import Code
from .objects import RefusedError

_WHOLE: Final = re.compile(r"[0-9]{1,10}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")
_CHANGE_VALUE: Final = frozenset({"gt", "lt", "st"})

# By LwM2M version.
_VERSION_1_0: Final = frozenset({"pmin", "pmax"}) | _CHANGE_VALUE
_VERSION_1_1: Final = _VERSION_1_0 | {"epmin", "epmax"}
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "1.0": _VERSION_1_0,
    "1.1": _VERSION_1_1,
    "1.2": _VERSION_1_1 | {"edge", "con", "hqmax"},
}
NUMERIC: Final = frozenset({DataType.INTEGER, DataType.UNSIGNED, DataType.FLOAT, DataType.TIME})
MAX_QUERIES: Final = 16

Attributes = Mapping[str, float]
_NONE: Final[Attributes] = {}


def parse_attributes(query: Sequence[str], lwm2m_version: str) -> dict[str, float | None]:
    """Read `pmin=10`, `gt=22.5`, or a bare `pmax`, which unsets it (None).

    Raises RefusedError 4.00 for an attribute the version does not have, a value that is none, an
    attribute named twice.
    """
    found: dict[str, float | None] = {}
    if not query or len(query) > MAX_QUERIES:
        raise RefusedError(Code.BAD_REQUEST, "no attributes, or too many")
    for part in query:
        name, equals, text = part.partition("=")
        if name not in _KNOWN[lwm2m_version] or name in found:
            raise RefusedError(Code.BAD_REQUEST, "an attribute unknown or named twice")
        found[name] = _number(name, text) if equals else None
    return found


def _number(name: str, text: str) -> float:
    decimal = name in _CHANGE_VALUE
    if not (_DECIMAL if decimal else _WHOLE).fullmatch(text):
        raise RefusedError(Code.BAD_REQUEST, "not a number for this attribute")
    value = float(text) if decimal else int(text)
    if name in ("edge", "con") and value > 1:
        raise RefusedError(Code.BAD_REQUEST, "0 or 1")
    if name == "st" and value <= 0:
        raise RefusedError(Code.BAD_REQUEST, "a step is above 0")
    return value


class AttributeTable:
    """The attributes of one device, by the path they were written to."""

    __slots__ = ("_table",)

    def __init__(self) -> None:
        self._table: dict[Path, dict[str, float]] = {}

    def write(self, path: Path, changes: Mapping[str, float | None], data_type: DataType | None) -> None:
        """Set and unset attributes at an existing path; `data_type` is None above a resource.

        Raises RefusedError 4.00 for attributes the level or the data type cannot have, and for
        gt, lt and st that contradict each other.
        """
        if len(path) < 3 and not _CHANGE_VALUE.isdisjoint(changes):
            raise RefusedError(Code.BAD_REQUEST, "gt, lt and st belong to a resource")
        if data_type is not None:
            if data_type not in NUMERIC and not _CHANGE_VALUE.isdisjoint(changes):
                raise RefusedError(Code.BAD_REQUEST, "gt, lt and st need a number")
            if data_type is not DataType.BOOLEAN and "edge" in changes:
                raise RefusedError(Code.BAD_REQUEST, "edge needs a boolean")
        wanted = dict(self._table.get(path, _NONE))
        for name, value in changes.items():
            if value is None:
                wanted.pop(name, None)
            else:
                wanted[name] = value
        # LwM2M Core 1.1.1 5.1.2: lt plus twice st stays below gt, else the thresholds could never be
        # told apart; without a step that leaves lt < gt.
        if "lt" in wanted and "gt" in wanted and wanted["lt"] + 2 * wanted.get("st", 0) >= wanted["gt"]:
            raise RefusedError(Code.BAD_REQUEST, "lt + 2 st must be below gt")
        if wanted:
            self._table[path] = wanted
        else:
            self._table.pop(path, None)

    def at(self, path: Path) -> Attributes:
        """What was written to this very path."""
        return self._table.get(path, _NONE)

    def effective(self, path: Path) -> Attributes:
        """What holds at a path: its own, and of the levels above what it does not have itself."""
        if not self._table:
            return _NONE
        merged: dict[str, float] = {}
        for depth in range(1, len(path) + 1):
            merged.update(self._table.get(Path(path[:depth]), _NONE))
        return merged

    def drop(self, path: Path) -> None:
        """Forget what was written at and below a path that is gone."""
        for known in [known for known in self._table if path.covers(known)]:
            del self._table[known]

    def clear(self) -> None:
        self._table.clear()


def format_number(value: float) -> str:
    """An attribute's value as Discover shows it: `10`, `22.5`."""
    return str(int(value)) if float(value).is_integer() else f"{value:.15g}"
