"""The NOTIFICATION attributes that a Write-Attributes sets on a device: read, checked, written.

LwM2M Core 1.1.1 section 5.1.2 (attributes and their rules), 6.3.4 (Write-Attributes); edge, con and
hqmax are of 1.2. `lt`, `gt` and `st` are numbers in the resource's units, the rest whole seconds or
counts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..errors import UsageError, clean
from .paths import Path

# Name and value, None to unset; values as the device gets them.
Attributes = tuple[tuple[str, str | None], ...]

ATTRIBUTES: Final = ("pmin", "pmax", "gt", "lt", "st", "epmin", "epmax", "edge", "con", "hqmax")
_CHANGE_VALUE: Final = frozenset({"gt", "lt", "st"})
_WHOLE: Final = re.compile(r"[0-9]{1,10}")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")


def parse_attributes(query: Sequence[str]) -> Attributes:
    """Read `pmin=10`, `gt=22.5`, or a bare `pmax`, which unsets it; raises UsageError("attributes_invalid").

    Whether they fit together and fit the path is for `check_attributes`.
    """
    found: dict[str, str | None] = {}
    for part in query:
        name, equals, text = part.partition("=")
        if name in found:
            raise _invalid(f"{name} stands twice", "name each attribute once")
        found[name] = text if equals else None
    return tuple(found.items())


def attribute_query(attributes: Attributes) -> tuple[str, ...]:
    """The queries of a Write-Attributes; `parse_attributes` is its inverse."""
    return tuple(name if value is None else f"{name}={value}" for name, value in attributes)


def merge_attributes(before: Mapping[str, str], changes: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """What is set after a Write-Attributes."""
    merged = dict(before)
    for name, value in changes:
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    return merged


def check_attributes(attributes: Attributes, path: Path) -> None:
    """Whether attributes can be written to a path; raises UsageError("attributes_invalid")."""
    if not attributes:
        raise _invalid("no attributes", "write them as pmin=10&pmax=60; a bare pmin unsets it")
    numbers: dict[str, float] = {}
    for name, value in attributes:
        if name not in ATTRIBUTES:
            raise _invalid(f"no attribute {clean(name)!r}", f"use {', '.join(ATTRIBUTES)}")
        if name in _CHANGE_VALUE and len(path) < 3:
            raise _invalid(f"{name} is not for {path}", "gt, lt and st belong to a resource")
        if value is not None:
            numbers[name] = _number(name, value)
    for low, high in (("pmin", "pmax"), ("epmin", "epmax")):
        # LwM2M Core 1.1.1 5.1.2: a pmax below pmin is ignored by the client; nobody means that.
        if low in numbers and 0 < numbers.get(high, 0) < numbers[low]:
            raise _invalid(f"{high} is below {low}", f"give {high} at least as large as {low}")
    if "lt" in numbers and "gt" in numbers and numbers["lt"] + 2 * numbers.get("st", 0) >= numbers["gt"]:
        raise _invalid("lt and gt leave no room between them", "lt plus twice st must be below gt")


def _number(name: str, text: str) -> float:
    decimal = name in _CHANGE_VALUE
    if not (_DECIMAL if decimal else _WHOLE).fullmatch(text):
        kind = "a number such as 22.5" if decimal else "a whole number, not below 0"
        raise _invalid(f"{name} cannot be {clean(text, 40)!r}", f"give {kind}")
    if name in ("edge", "con") and text not in ("0", "1"):
        raise _invalid(f"{name} cannot be {text}", "give 0 or 1")
    if name == "st" and float(text) <= 0:
        raise _invalid("st cannot be 0 or less", "a step is above 0")
    return float(text)


def _invalid(what: str, hint: str) -> UsageError:
    return UsageError("attributes_invalid", what, hint)
