"""The object tree of a simulated device: instances, resources, and what may be done to them.

LwM2M Core 1.1.1 section 6.3 (Device Management and Service Enablement). What an object means comes
from the object model; this module holds values and answers Read, Write, Create and Delete, or
raises `RefusedError` with the CoAP code the device must answer. It knows neither wire nor time.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ..lwm2m.model import ObjectDefinition, ResourceDefinition
from ..lwm2m.paths import MAX_ID, Path
from ..lwm2m.values import DataType, Record, Value
from .messages import Code

# What a resource holds: one value, or the values of its instances.
Stored = Value | dict[int, Value]
_Instance = dict[int, Stored]

# Security and OSCORE belong to the Bootstrap-Server alone (LwM2M Core 1.1.1 6.3, E.1).
FORBIDDEN_OBJECTS: Final = frozenset({0, 21})
# Security, Server, Access Control: what a Bootstrap-Server makes and deletes.
ACCOUNT_OBJECTS: Final = frozenset({0, 1, 2})
Kept = Mapping[int, Mapping[int, Mapping[int, Stored]]]


class RefusedError(Exception):
    """An operation the device does not do, and the response code that says why."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ObjectTree:
    """The objects of one device.

    `definitions` are shared by all devices; `executable` are the (object, resource) pairs the device
    can Execute, `creatable` the objects whose instances the server may create and delete.
    """

    __slots__ = ("_creatable", "_definitions", "_executable", "_objects")

    def __init__(
        self,
        definitions: Mapping[int, ObjectDefinition],
        executable: frozenset[tuple[int, int]] = frozenset(),
        creatable: frozenset[int] = frozenset(),
    ) -> None:
        self._definitions = definitions
        self._executable = executable
        self._creatable = creatable
        self._objects: dict[int, dict[int, _Instance]] = {number: {} for number in definitions}

    # From inside the device: no access control

    def add(self, object_id: int, instance_id: int, resources: Mapping[int, Stored]) -> None:
        """Put an instance in place, or put another one in its place."""
        self._objects[object_id][instance_id] = dict(resources)

    def put(self, path: Path, value: Stored) -> bool:
        """Set a resource or resource instance that exists; tells whether the value changed."""
        instance = self._objects[path[0]][path[1]]
        if len(path) == 3:
            changed = instance.get(path[2]) != value
            instance[path[2]] = value
            return changed
        values = instance[path[2]]
        assert isinstance(values, dict)
        assert not isinstance(value, dict)
        changed = values.get(path[3]) != value
        values[path[3]] = value
        return changed

    def get(self, path: Path) -> Value | None:
        """The value at a resource or resource instance, None when there is none."""
        stored = self._objects.get(path[0], {}).get(path[1], {}).get(path[2])
        if isinstance(stored, dict):
            return stored.get(path[3]) if len(path) == 4 else None
        return stored if len(path) == 3 else None

    def instances(self) -> Iterator[tuple[ObjectDefinition, tuple[int, ...]]]:
        """Every object with the ids of its instances, in ascending order."""
        for object_id in sorted(self._objects):
            yield self._definitions[object_id], tuple(sorted(self._objects[object_id]))

    def instance_ids(self, object_id: int) -> tuple[int, ...]:
        """The ids of an object's instances, in ascending order; none of an object that is not there."""
        return tuple(sorted(self._objects.get(object_id, ())))

    def clear(self, object_id: int) -> None:
        """Remove all instances of an object, if there is such an object."""
        self._objects.get(object_id, {}).clear()

    def keep_accounts(self) -> Kept:
        """Security, Server and Access Control as they are now."""
        return {
            object_id: {
                number: {key: dict(v) if isinstance(v, dict) else v for key, v in instance.items()}
                for number, instance in self._objects[object_id].items()
            }
            for object_id in sorted(ACCOUNT_OBJECTS & self._objects.keys())
        }

    def restore_accounts(self, kept: Kept) -> None:
        """Make Security, Server and Access Control what they were."""
        for object_id, instances in kept.items():
            self._objects[object_id] = {number: dict(instance) for number, instance in instances.items()}

    def type_of(self, path: Path) -> DataType | None:
        """The data type at a path of three or four numbers: a TypeLookup for the codecs."""
        definition = self.definition(path)
        return definition.data_type if definition is not None else None

    def definition(self, path: Path) -> ResourceDefinition | None:
        """The model of the resource at or above `path`."""
        model = self._definitions.get(path[0]) if len(path) >= 3 else None
        return model.resources.get(path[2]) if model is not None else None

    # For the server

    def require(self, path: Path) -> None:
        """Raise RefusedError unless `path` exists and the server may know of it."""
        if path and path[0] in FORBIDDEN_OBJECTS:
            raise RefusedError(Code.UNAUTHORIZED, "for the Bootstrap-Server alone")
        found = not path or path[0] in self._objects
        if found and len(path) >= 2:
            instance = self._objects[path[0]].get(path[1])
            found = instance is not None
            if instance is not None and len(path) >= 3:
                stored = instance.get(path[2])
                if len(path) == 4:
                    found = isinstance(stored, dict) and path[3] in stored
                else:
                    found = stored is not None or (path[0], path[2]) in self._executable
        if not found:
            raise RefusedError(Code.NOT_FOUND, "no such object, instance or resource")

    def read(self, path: Path) -> tuple[Record, ...]:
        """The values at and below `path`, in ascending order; what cannot be read is left out.

        Raises RefusedError: 4.04, 4.01, and 4.05 for a resource that cannot be read.
        """
        self.require(path)
        if len(path) >= 3:
            definition = self.definition(path)
            if definition is None or not definition.readable:
                raise RefusedError(Code.METHOD_NOT_ALLOWED, "not a readable resource")
        return tuple(self._records(path))

    def read_all(self, paths: Iterable[Path]) -> tuple[Record, ...]:
        """The values at several paths, each once; paths that cannot be read are left out.

        Raises RefusedError 4.04 when none of them can.
        """
        found: dict[Path, Record] = {}
        readable = False
        for path in paths:
            try:
                records = self.read(path)
            except RefusedError:
                continue
            readable = True
            found.update((record.path, record) for record in records)
        if not readable:
            raise RefusedError(Code.NOT_FOUND, "none of the paths can be read")
        return tuple(found.values())

    def resources(self, path: Path) -> Iterator[tuple[Path, ResourceDefinition, tuple[int, ...] | None]]:
        """The resources of the instance at `path` as Discover lists them, executable ones too.

        With each the ids of its instances, None for a single-instance resource.
        """
        instance = self._objects[path[0]][path[1]]
        for definition in self._definitions[path[0]].resources.values():
            stored = instance.get(definition.resource_id)
            if stored is None and (path[0], definition.resource_id) not in self._executable:
                continue
            ids = tuple(sorted(stored)) if isinstance(stored, dict) else None
            yield path.child(definition.resource_id), definition, ids

    def require_executable(self, path: Path) -> None:
        """Raise RefusedError unless `path` is a resource to Execute: 4.04, 4.01, 4.05."""
        self.require(path)
        if len(path) != 3 or (path[0], path[2]) not in self._executable:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "not an executable resource")

    def write(self, path: Path, records: tuple[Record, ...], replace: bool) -> tuple[Path, ...]:
        """Write to an instance, resource or resource instance: all of it or nothing.

        With `replace` what the payload does not name goes away where it may (LwM2M Core 1.1.1
        6.3.3). Returns the paths written. Raises RefusedError: 4.00, 4.01, 4.04, 4.05.
        """
        self.require(Path(path[:2]))
        if len(path) < 2:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "write to an instance or a resource")
        if len(path) >= 3:
            self.require(path)
            self._require_writable(path)
        for record in records:
            self._check(record, path)
        if replace:
            self._clear(path)
        return self._store(records)

    def write_all(self, records: tuple[Record, ...]) -> tuple[Path, ...]:
        """Write-Composite: all of it or nothing. Raises RefusedError as `write` does."""
        for record in records:
            self.require(Path(record.path[:2]))
            self._check(record, Path(record.path[:2]))
        return self._store(records)

    def create(self, object_id: int, instance_id: int | None, records: tuple[Record, ...]) -> int:
        """Create an instance and return its id, the lowest free one when none is named.

        Raises RefusedError: 4.00 for values that do not fit, are missing or an instance that exists,
        4.01, 4.04, 4.05 for an object whose instances are fixed.
        """
        self.require(Path.of(object_id))
        if object_id not in self._creatable:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "the instances of this object are fixed")
        chosen = self.free_instance(object_id) if instance_id is None else instance_id
        if chosen in self._objects[object_id]:
            raise RefusedError(Code.BAD_REQUEST, "the instance exists")
        base = Path.of(object_id, chosen)
        for record in records:
            self._check(record, base)
        given = {record.path[2] for record in records}
        model = self._definitions[object_id].resources.values()
        if any(r.mandatory and r.operations != "E" and r.resource_id not in given for r in model):
            raise RefusedError(Code.BAD_REQUEST, "a mandatory resource is missing")
        self._objects[object_id][chosen] = {}
        self._store(records)
        return chosen

    def free_instance(self, object_id: int) -> int:
        """The lowest instance id that is free; raises RefusedError 4.00 when there is none."""
        taken = self._objects[object_id]
        for number in range(MAX_ID + 1):
            if number not in taken:
                return number
        raise RefusedError(Code.BAD_REQUEST, "no instance id is free")

    def delete(self, path: Path) -> None:
        """Delete an instance, or a resource instance (1.2); raises RefusedError 4.01, 4.04, 4.05."""
        self.require(path)
        if len(path) == 4:
            self._require_writable(path)
            stored = self._objects[path[0]][path[1]][path[2]]
            assert isinstance(stored, dict)
            del stored[path[3]]
            return
        if len(path) != 2 or path[0] not in self._creatable:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "the instances of this object are fixed")
        del self._objects[path[0]][path[1]]

    # For the Bootstrap-Server

    def install(self, path: Path, records: Iterable[Record]) -> None:
        """Bootstrap-Write below an object, an instance or a resource: all of it or nothing.

        Instances come to be, and nothing is read-only (LwM2M Core 1.1.1 6.1.7.5). A resource that
        this version of an object does not have is passed over, unless it is named by the path.
        Raises RefusedError: 4.00 for values that do not fit, 4.04, 4.05.
        """
        if not path:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "write to an object, an instance or a resource")
        if path[0] not in self._objects or (len(path) > 2 and self.definition(path) is None):
            raise RefusedError(Code.NOT_FOUND, "no such object or resource")
        fitting = []
        for record in records:
            definition = self.definition(record.path)
            if not path.covers(record.path) or len(record.path) < 3:
                raise RefusedError(Code.BAD_REQUEST, "a value outside of what the request names")
            if definition is None:
                continue
            _require_fit(record, definition)
            object_id, instance_id = record.path[:2]
            fixed = object_id not in ACCOUNT_OBJECTS | self._creatable
            if fixed and instance_id not in self._objects[object_id]:
                raise RefusedError(Code.METHOD_NOT_ALLOWED, "the instances of this object are fixed")
            fitting.append(record)
        for record in fitting:
            self._objects[record.path[0]].setdefault(record.path[1], {})
        self._store(tuple(fitting))

    def uninstall(self, path: Path, bootstrap: int | None) -> None:
        """Bootstrap-Delete of all there is, an object's instances or one instance.

        The account of the Bootstrap-Server, instance `bootstrap` of Security, stays, as does what a
        device cannot be without (LwM2M Core 1.1.1 6.1.7.6). Raises RefusedError 4.00, 4.04, 4.05.
        """
        removable = (ACCOUNT_OBJECTS | self._creatable) & self._objects.keys()
        if len(path) > 2 or (path and path[0] in self._objects and path[0] not in removable):
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "that cannot be deleted")
        if path and path[0] not in self._objects:
            raise RefusedError(Code.NOT_FOUND, "no such object")
        if len(path) == 2:
            if path == (0, bootstrap):
                raise RefusedError(Code.BAD_REQUEST, "the account of the Bootstrap-Server stays")
            if self._objects[path[0]].pop(path[1], None) is None:
                raise RefusedError(Code.NOT_FOUND, "no such instance")
            return
        for object_id in path or removable:
            for number in self.instance_ids(object_id):
                if (object_id, number) != (0, bootstrap):
                    del self._objects[object_id][number]

    # Within

    def _records(self, path: Path) -> Iterator[Record]:
        for object_id in (path[0],) if path else sorted(self._objects):
            instances = self._objects[object_id]
            model = self._definitions[object_id].resources
            for instance_id in (path[1],) if len(path) > 1 else sorted(instances):
                instance = instances[instance_id]
                for resource_id in (path[2],) if len(path) > 2 else sorted(instance):
                    definition = model[resource_id]
                    if not definition.readable:
                        continue
                    here = Path((object_id, instance_id, resource_id))
                    stored = instance[resource_id]
                    if not isinstance(stored, dict):
                        yield Record(here, stored, definition.data_type)
                        continue
                    for number in (path[3],) if len(path) > 3 else sorted(stored):
                        yield Record(Path((*here, number)), stored[number], definition.data_type)

    def _require_writable(self, path: Path) -> None:
        definition = self.definition(path)
        if definition is None:
            raise RefusedError(Code.NOT_FOUND, "no such resource")
        if "W" not in definition.operations:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "not a writable resource")

    def _check(self, record: Record, base: Path) -> None:
        """Refuse a record that does not belong below `base`, or does not fit the model."""
        if not base.covers(record.path) or len(record.path) < 3:
            raise RefusedError(Code.BAD_REQUEST, "a value outside of what the request names")
        self._require_writable(record.path)
        definition = self.definition(record.path)
        assert definition is not None
        _require_fit(record, definition)

    def _clear(self, path: Path) -> None:
        """Make room for a replacement: what may go, goes."""
        instance = self._objects[path[0]][path[1]]
        if len(path) == 2:
            for definition in self._definitions[path[0]].resources.values():
                if "W" in definition.operations and not definition.mandatory:
                    instance.pop(definition.resource_id, None)
        elif len(path) == 3 and isinstance(instance.get(path[2]), dict):
            instance[path[2]] = {}

    def _store(self, records: tuple[Record, ...]) -> tuple[Path, ...]:
        for record in records:
            object_id, instance_id, resource_id = record.path[:3]
            instance = self._objects[object_id][instance_id]
            if len(record.path) == 3:
                instance[resource_id] = record.value
                continue
            values = instance.setdefault(resource_id, {})
            assert isinstance(values, dict)
            values[record.path[3]] = record.value
        return tuple(record.path for record in records)


def _require_fit(record: Record, definition: ResourceDefinition) -> None:
    """Refuse a value that is not as the model has it."""
    if definition.multiple != (len(record.path) == 4):
        raise RefusedError(Code.BAD_REQUEST, "single value for many, or many for a single one")
    if record.data_type is not definition.data_type:
        raise RefusedError(Code.BAD_REQUEST, "a value of another data type")
