"""JSON of LwM2M 1.0, Content-Format 11543, before that 1543 (LwM2M 1.0.2 6.4.4).

One object: `bn` base name, `bt` base time, `e` the entries; an entry has `n`, `t` and one of `v`,
`sv`, `bv`, `ov`. Opaque values are base64 in `sv`.
"""

import base64
from collections.abc import Sequence
from typing import Any, Final

from ...errors import PeerError
from ..paths import Path
from ..values import DataType, ObjectLink, Record, TypeLookup, Value
from . import json_text, senml
from .records import checked

# The same fields as SenML has, so that its rules for names, times and values serve here too.
_BASE: Final[dict[str, senml.Label]] = {"bn": senml.BASE_NAME, "bt": senml.BASE_TIME}
_FIELDS: Final[dict[str, senml.Label]] = {
    "n": senml.NAME,
    "t": senml.TIME,
    "v": senml.VALUE,
    "sv": senml.STRING_VALUE,
    "bv": senml.BOOLEAN_VALUE,
    "ov": senml.LINK_VALUE,
}


def decode_json(payload: bytes, base: Path, types: TypeLookup, now_ms: int) -> tuple[Record, ...]:
    """Decode an object; raises PeerError. Names without a base name are relative to `base`."""
    item = json_text.load(payload)
    entries = item.get("e") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(entries, list):
        raise PeerError("payload_invalid", "not a usable LwM2M JSON payload: it has no array e")
    head = {label: item[name] for name, label in _BASE.items() if name in item}
    if head.get(senml.BASE_NAME, "") == "":
        head[senml.BASE_NAME] = _implied_base_name(entries, base)
    records = senml.resolve([head, *map(_labelled, entries)], base, types, now_ms)
    return tuple(_opaque_read(record, types) for record in records)


def _implied_base_name(entries: list[Any], base: Path) -> str:
    names = [entry.get("n", "") for entry in entries if isinstance(entry, dict)]
    if any(isinstance(name, str) and name.startswith("/") for name in names):
        return ""
    return f"{base}/" if base and any(names) else str(base)


def _labelled(entry: object) -> object:
    if not isinstance(entry, dict):
        return entry
    return {label: entry[name] for name, label in _FIELDS.items() if name in entry}


def _opaque_read(record: Record, types: TypeLookup) -> Record:
    """Only the model tells an opaque value from a text."""
    if isinstance(record.value, str) and types(record.path) is DataType.OPAQUE:
        data = json_text.from_base64(record.value)
        if data is not None:
            return Record(record.path, data, DataType.OPAQUE, record.time_ms)
    return record


def encode_json(records: Sequence[Record], base: Path) -> bytes:
    """Encode an object; raises UsageError. Times go out absolute, without a base time."""
    values = checked(records, base)
    depth = _shared_depth([record.path for record in records])
    entries = json_text.dump_array(
        json_text.dump_object(_entry(record, value, depth)) for record, value in values
    )
    base_name = "/".join(["", *map(str, records[0].path[:depth]), ""]) if records else f"{base}/"
    return f'{{"bn":"{base_name}","e":{entries}}}'.encode()


def _shared_depth(paths: Sequence[Path]) -> int:
    """How many leading numbers, at most the object instance, all paths have in common."""
    return next((depth for depth in (2, 1) if len({path[:depth] for path in paths}) == 1), 0)


def _entry(record: Record, value: Value, depth: int) -> dict[str, Value]:
    entry: dict[str, Value] = {"n": "/".join(map(str, record.path[depth:]))}
    match value:
        case bool():
            entry["bv"] = value
        case int() | float():
            entry["v"] = value
        case ObjectLink():
            entry["ov"] = str(value)
        case str():
            entry["sv"] = value
        case bytes():
            entry["sv"] = base64.b64encode(value).decode()
    if record.time_ms is not None:
        entry["t"] = senml.seconds(record.time_ms)
    return entry
