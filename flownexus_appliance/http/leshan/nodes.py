"""Leshan's JSON nodes and the house's records, both ways.

A node is a tree below a path: root, obj, instance, singleResource, multiResource, resourceInstance. The house
has flat records instead, so a tree is built of them, and taken apart into them.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from ...errors import ApplianceError, UsageError, clean
from ...lwm2m.paths import MAX_ID, Path
from ...lwm2m.values import DataType, Record, TypeLookup
from .values import TYPES, data_type_of, suited, value_json, value_of

Node = dict[str, Any]

# What a node without a kind is, by the field that it has.
_KIND_BY_FIELD: Final[Mapping[str, str]] = {
    "objects": "root",
    "instances": "obj",
    "resources": "instance",
    "values": "multiResource",
    "value": "",  # a singleResource or a resourceInstance: the path tells
}
_KINDS: Final = ("root", "obj", "instance", "singleResource", "multiResource", "resourceInstance")
# The kinds that fit a path, by how many numbers it has.
_FITTING: Final = (
    ("root",),
    ("obj",),
    ("instance",),
    ("singleResource", "multiResource"),
    ("resourceInstance",),
)


def node_of(
    path: Path, records: Iterable[Record], *, floats_as_text: bool = False, types: TypeLookup | None = None
) -> Node | None:
    """The node at a path, of those records that lie at or below it, of several times the newest.

    None where a resource instance has no value. A resource without one is a multiResource without instances,
    whose type `types` knows. A resource whose value has the device's own time says so: `timestamp`, in ms.
    """
    below = newest(record for record in records if path.covers(record.path))
    return _Builder(floats_as_text, types).node(path, below)


def nodes_by_path(
    paths: Iterable[Path], records: Sequence[Record], *, floats_as_text: bool = False
) -> dict[str, Node]:
    """The content of a composite answer: the node at each path that there are records of."""
    builder = _Builder(floats_as_text, None)
    found: dict[str, Node] = {}
    for path in paths:
        below = newest(record for record in records if path.covers(record.path))
        node = builder.node(path, below) if below else None
        if node is not None:
            found[str(path)] = node
    return found


def nodes_by_record(records: Iterable[Record], *, floats_as_text: bool = False) -> dict[str, Node]:
    """The content of a Send: a node for each resource, or resource instance, that has a record."""
    builder = _Builder(floats_as_text, None)
    found = ((record.path, builder.node(record.path, [record])) for record in newest(records))
    return {str(path): node for path, node in found if node is not None}


def newest(records: Iterable[Record]) -> list[Record]:
    """One record a path, in the order of paths: the one without a time, which is of now, else the latest."""
    found: dict[Path, Record] = {}
    for record in records:
        before = found.get(record.path)
        if before is None or _age(record) >= _age(before):
            found[record.path] = record
    return [found[path] for path in sorted(found)]


def records_of(path: Path, node: object, types: TypeLookup) -> tuple[Record, ...]:
    """The records of a node that was sent for a path.

    At the top the id may be missing; where it stands it must be that of the path. `types` are those of the
    device's objects, see `suited`. Raises UsageError: `body_invalid` for a node that is none or is not for
    this path, `value_invalid` for a value that its type does not have.
    """
    return tuple(_Reader(types).records(path, node))


def instance_of(object_id: int, node: object, types: TypeLookup) -> tuple[Path, tuple[Record, ...]]:
    """The target and the records of a Create: of an object, or, where the node has an id, of that instance.

    Without an id the records stand in instance 0. Raises as `records_of`.
    """
    fields = _fields(node)
    if _kind(fields) != "instance":
        raise _invalid("a Create brings an instance", '{"id": 0, "resources": [..]}')
    number = _id(fields)
    inside = Path.of(object_id, 0 if number is None else number)
    return (Path.of(object_id) if number is None else inside), records_of(inside, node, types)


def read_json(text: bytes) -> Any:
    """The JSON of a body; raises UsageError("body_invalid")."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _invalid(f"not JSON: {clean(str(error))}", "a node") from None


class _Builder:
    """Builds nodes of records that are sorted by path, one a path, all at or below the node's path."""

    def __init__(self, floats_as_text: bool, types: TypeLookup | None) -> None:
        self._floats_as_text = floats_as_text
        self._types = types

    def node(self, path: Path, records: Sequence[Record]) -> Node | None:
        match len(path):
            case 0:
                return {"kind": "root", "objects": self._children(path, records)}
            case 1:
                return {"kind": "obj", "id": path[0], "instances": self._children(path, records)}
            case 2:
                return {"kind": "instance", "id": path[1], "resources": self._children(path, records)}
            case 3:
                return self._resource(path, records)
        return self._single("resourceInstance", records[0]) if records else None

    def _children(self, path: Path, records: Sequence[Record]) -> list[Node]:
        depth = len(path)
        deeper = (record for record in records if len(record.path) > depth)
        groups = groupby(deeper, key=lambda record: record.path[depth])
        nodes = (self.node(Path((*path, number)), list(group)) for number, group in groups)
        return [node for node in nodes if node is not None]

    def _resource(self, path: Path, records: Sequence[Record]) -> Node:
        instances = [record for record in records if len(record.path) == 4]
        if records and not instances:
            return self._single("singleResource", records[0])
        known = self._types(path) if self._types is not None else None
        data_type = instances[0].data_type if instances else known or DataType.STRING
        node: Node = {
            "kind": "multiResource",
            "id": path[2],
            "type": TYPES[data_type],
            "values": {str(record.path[3]): self._value(record) for record in instances},
        }
        return _timed(node, instances)

    def _single(self, kind: str, record: Record) -> Node:
        node: Node = {
            "kind": kind,
            "id": record.path[-1],
            "type": TYPES[record.data_type],
            "value": self._value(record),
        }
        return _timed(node, [record])

    def _value(self, record: Record) -> Any:
        return value_json(record.value, record.data_type, floats_as_text=self._floats_as_text)


class _Reader:
    """Takes nodes apart."""

    def __init__(self, types: TypeLookup) -> None:
        self._types = types

    def records(self, path: Path, node: object) -> Iterable[Record]:
        fields = _fields(node)
        kind = _kind(fields) or _FITTING[len(path)][0]
        if kind not in _FITTING[len(path)]:
            raise _invalid(f"a {kind} is not for {path}", f"a {' or '.join(_FITTING[len(path)])}")
        number = _id(fields) if path else None
        if number is not None and number != path[-1]:
            raise _invalid(f"the node for {path} has the id {number}", f'"id": {path[-1]}')
        match kind:
            case "root":
                return self._children(path, fields, "objects")
            case "obj":
                return self._children(path, fields, "instances")
            case "instance":
                return self._children(path, fields, "resources")
            case "multiResource":
                return self._instances(path, fields)
        if "value" not in fields:
            raise _invalid(f"the node for {path} has no value", '"value"')
        return [self._record(path, fields["value"], data_type_of(fields.get("type")))]

    def _children(self, path: Path, fields: Mapping[str, Any], name: str) -> list[Record]:
        children = fields.get(name)
        if not isinstance(children, list):
            raise _invalid(f"the node for {path} has no list of {name}", f'"{name}": [..]')
        found: list[Record] = []
        for child in children:
            number = _id(_fields(child))
            if number is None:
                raise _invalid(f"one of the {name} of {path} has no id", '"id"')
            found += self.records(path.child(number), child)
        return found

    def _instances(self, path: Path, fields: Mapping[str, Any]) -> list[Record]:
        values = fields.get("values")
        if not isinstance(values, dict):
            raise _invalid(f"the node for {path} has no values", '"values": {"0": ..}')
        data_type = data_type_of(fields.get("type"))
        return [self._record(path.child(_number(key)), value, data_type) for key, value in values.items()]

    def _record(self, path: Path, given: object, data_type: DataType) -> Record:
        value, fitted = suited(value_of(given, data_type), data_type, self._types(path))
        return Record(path, value, fitted)


def _age(record: Record) -> float:
    return float("inf") if record.time_ms is None else record.time_ms


def _timed(node: Node, records: Sequence[Record]) -> Node:
    times = [record.time_ms for record in records if record.time_ms is not None]
    return {**node, "timestamp": max(times)} if times else node


def _fields(node: object) -> dict[str, Any]:
    if not isinstance(node, dict):
        raise _invalid("a node is a JSON object", '{"id": 0, ..}')
    return node


def _kind(fields: Mapping[str, Any]) -> str:
    """The kind that a node names, else the one that its fields tell, "" for a single value."""
    kind = fields.get("kind")
    if kind is None:
        for name, told in _KIND_BY_FIELD.items():
            if name in fields:
                return told
        raise _invalid("a node without kind and content", '"kind"')
    if kind not in _KINDS:
        raise _invalid(f"no kind {clean(repr(kind), 40)}", f"one of {', '.join(_KINDS)}")
    return str(kind)


def _id(fields: Mapping[str, Any]) -> int | None:
    found = fields.get("id")
    return None if found is None else _number(found)


def _number(given: object) -> int:
    """An id: a number, or text of digits."""
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) <= 5:
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= MAX_ID:
        return given
    raise _invalid(f"not an id: {clean(repr(given), 40)}", f"a number from 0 to {MAX_ID}")


def _invalid(what: str, wanted: str) -> ApplianceError:
    return UsageError("body_invalid", what, f"give {wanted}")
