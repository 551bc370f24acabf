"""LwM2M CBOR, Content-Format 11544 (LwM2M Core 1.2 7.4.4).

Nested maps from ids to values: `{3: {0: {9: 95}}}`. A key may be an array of several ids at once,
`{[3, 0]: {9: 95}}`. No timestamps. In a write a null deletes a resource instance; no client at hand
takes the paths of a composite read in this format.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import PeerError, UsageError
from ..paths import MAX_DEPTH, MAX_ID, Path
from ..values import ObjectLink, Record, TypeLookup, Value
from . import cbor
from .records import MAX_RECORDS, Wire, check_path, checked, distinct, too_many, typed, untimed


def decode_lwm2m_cbor(payload: bytes, base: Path, types: TypeLookup) -> tuple[Record, ...]:
    """Decode the maps; raises PeerError. A null is no value and makes no record."""
    root = cbor.load(payload)
    if not isinstance(root, dict):
        raise cbor.malformed("LwM2M CBOR is not a map")
    leaves: list[tuple[Path, Wire]] = []
    for leaf in _leaves(root, ()):
        leaves.append(leaf)
        if len(leaves) > MAX_RECORDS:
            raise too_many(len(leaves))
    for path, _ in leaves:
        check_path(path, base)
    distinct((path for path, _ in leaves), PeerError)
    records = (typed(path, value, types, None) for path, value in leaves)
    return tuple(record for record in records if record is not None)


def _leaves(node: dict[cbor.Key, Any], above: tuple[int, ...]) -> Iterator[tuple[Path, Wire]]:
    for key, item in node.items():
        path = above + _ids(key)
        if len(path) > MAX_DEPTH:
            raise cbor.malformed("a path has more than four numbers")
        if isinstance(item, dict):
            yield from _leaves(item, path)
        elif isinstance(item, list):
            raise cbor.malformed("an array stands where a value belongs")
        else:
            yield Path(path), item


def _ids(key: cbor.Key) -> tuple[int, ...]:
    ids = (key,) if isinstance(key, int) else key
    if isinstance(ids, str) or not ids or not all(0 <= number <= MAX_ID for number in ids):
        raise cbor.malformed("a key is neither an id nor an array of ids")
    return ids


def encode_lwm2m_cbor(records: Sequence[Record], base: Path) -> bytes:
    """Encode maps of definite length; raises UsageError. `base` becomes one key where it can."""
    untimed(records, "LwM2M CBOR")
    distinct((record.path for record in records), UsageError)
    root: dict[cbor.Key, cbor.Item] = {}
    for record, value in checked(records, base):
        *parents, last = _keys(record.path, len(base))
        node = root
        for key in parents:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                raise _clash(record.path)
            node = child
        if last in node:
            raise _clash(record.path)
        node[last] = _item(value)
    return cbor.dump(root)


def _keys(path: Path, together: int) -> Iterator[cbor.Key]:
    if together > 1:
        yield tuple(path[:together])
    yield from path[together if together > 1 else 0 :]


def _item(value: Value) -> cbor.Item:
    return str(value) if isinstance(value, ObjectLink) else value


def _clash(path: Path) -> UsageError:
    return UsageError("value_invalid", f"{path.resource} is given as one value and as several")
