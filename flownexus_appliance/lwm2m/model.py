"""The object model: what objects and resources mean, and the lookups over them.

LwM2M Core 1.1.1 appendix D (object template) and 7.1 (object versions). A `ModelSet` holds many
versions of many objects and parses each one when it is first asked for. It never reads a file:
`registry/` and `ddf.py` fill it. What is laid over it at run time, all its lookups follow.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from weakref import WeakValueDictionary

from .paths import Path
from .values import DataType, TypeLookup

OPERATIONS: Final = frozenset({"R", "RW", "W", "E", ""})
DEFAULT_VERSION: Final = "1.0"

# Type names of the OMA registry and of DDF files, casefolded. No name: DataType.NONE.
TYPE_NAMES: Final[Mapping[str, DataType]] = {
    "string": DataType.STRING,
    "integer": DataType.INTEGER,
    "unsigned integer": DataType.UNSIGNED,
    "float": DataType.FLOAT,
    "boolean": DataType.BOOLEAN,
    "opaque": DataType.OPAQUE,
    "time": DataType.TIME,
    "objlnk": DataType.OBJLNK,
    "corelnk": DataType.CORELNK,
}

_NO_TYPES: Final[Mapping[int, DataType]] = MappingProxyType({})
_MAX_VERSION_DIGITS: Final = 5


@dataclass(frozen=True, slots=True)
class ResourceDefinition:
    """One resource of an object: `operations` is one of "R", "RW", "W", "E" and "".

    `data_type` is NONE for what is executed, and where the definition gives none (10482/5 in the
    registry): then the wire tells. `range_text` and `units` are the registry's own words, None
    where it says nothing.
    """

    resource_id: int
    name: str
    operations: str
    data_type: DataType
    multiple: bool
    mandatory: bool
    range_text: str | None = None
    units: str | None = None

    @property
    def readable(self) -> bool:
        return "R" in self.operations


@dataclass(frozen=True, slots=True)
class ObjectDefinition:
    """One version of an object, its resources by id in ascending order."""

    object_id: int
    version: str
    lwm2m_version: str
    name: str
    multiple: bool
    mandatory: bool
    resources: Mapping[int, ResourceDefinition] = field(hash=False)


class ObjectEntry:
    """A place in a `ModelSet`: an object version known by name, parsed when first asked for."""

    __slots__ = ("_definition", "_load", "_types", "name", "object_id", "version")

    def __init__(self, object_id: int, version: str, name: str, load: Callable[[], ObjectDefinition]) -> None:
        self.object_id = object_id
        self.version = version
        self.name = name
        self._load: Callable[[], ObjectDefinition] | None = load
        self._definition: ObjectDefinition | None = None
        self._types: Mapping[int, DataType] | None = None

    @classmethod
    def of(cls, definition: ObjectDefinition) -> "ObjectEntry":
        """An entry for a definition that is already there."""
        return cls(definition.object_id, definition.version, definition.name, lambda: definition)

    @property
    def definition(self) -> ObjectDefinition:
        if self._definition is None:
            assert self._load is not None
            self._definition = self._load()
            self._load = None  # lets go of the text it was parsed from
        return self._definition

    @property
    def types(self) -> Mapping[int, DataType]:
        """Data type by resource id, without the resources that have a value but no type given."""
        if self._types is None:
            self._types = {
                number: resource.data_type
                for number, resource in self.definition.resources.items()
                if resource.data_type is not DataType.NONE or resource.operations == "E"
            }
        return self._types


class ModelSet:
    """Objects by id, each in one or more versions.

    The entries of one object are kept in the order of precedence, the last one first in rank:
    by version, and what `overlay` laid over after all of them.
    """

    __slots__ = ("_below", "_entries", "_lookups", "_types")

    def __init__(self, entries: Iterable[ObjectEntry] = ()) -> None:
        self._below = self._entries = _by_object(entries)
        # One for each set of versions that is in use: devices of one make share theirs.
        self._lookups: WeakValueDictionary[frozenset[tuple[int, str]], _Types] = WeakValueDictionary()
        self._types = _Types(self, {})

    def object(self, object_id: int, version: str | None = None) -> ObjectDefinition | None:
        """The definition of an object, None when no version of it is known.

        Without `version` it is the newest. A version that is not known gets the newest with the
        same major number (minor versions only add, appendix D.2), else the newest of all.
        """
        entry = self.entry(object_id, version)
        return entry.definition if entry is not None else None

    def resource(self, path: Path, version: str | None = None) -> ResourceDefinition | None:
        """The definition of the resource at or above `path` (three or four numbers)."""
        if len(path) < 3:
            return None
        definition = self.object(path[0], version)
        return definition.resources.get(path[2]) if definition is not None else None

    def type_of(self, path: Path) -> DataType | None:
        """The data type at a path of three or four numbers, by the newest version: a TypeLookup."""
        if len(path) < 3:
            return None
        return self._types[path[0]].get(path[2])

    def with_versions(self, versions: Mapping[int, str]) -> TypeLookup:
        """A `type_of` for a client that registered these object versions, by object id.

        Versions resolve as in `object`; objects that are not listed count as the newest.
        """
        if not versions:
            return self.type_of
        key = frozenset(versions.items())
        lookup = self._lookups.get(key)
        if lookup is None:
            lookup = self._lookups[key] = _Types(self, dict(versions))
        return lookup.type_of

    def overlay(self, definitions: Iterable[ObjectDefinition]) -> None:
        """Have these definitions win from now on, in place of what was laid over before.

        A definition replaces the same version of its object. The other versions stay and are
        found by their number, but the newest of `definitions` is what counts as the newest.
        """
        merged = dict(self._below)
        for object_id, entries in _by_object(map(ObjectEntry.of, definitions)).items():
            known = {version_key(entry.version) for entry in entries}
            below = self._below.get(object_id, ())
            merged[object_id] = (*(e for e in below if version_key(e.version) not in known), *entries)
        self._entries = dict(sorted(merged.items()))
        for lookup in (self._types, *self._lookups.values()):
            lookup.clear()

    def with_objects(self, definitions: Iterable[ObjectDefinition]) -> "ModelSet":
        """A set over this one in which these definitions win, as by `overlay`; this one stays as it is."""
        above = ModelSet()
        above._below = self._entries
        above.overlay(definitions)
        return above

    def versions(self, object_id: int) -> tuple[str, ...]:
        """The known versions of an object, the one that counts as the newest last."""
        return tuple(entry.version for entry in self._entries.get(object_id, ()))

    def names(self) -> tuple[tuple[int, str], ...]:
        """Every object id with the name of its newest version, in ascending order."""
        return tuple((number, entries[-1].name) for number, entries in self._entries.items())

    def entry(self, object_id: int, version: str | None = None) -> ObjectEntry | None:
        """As `object`, without parsing the definition."""
        entries = self._entries.get(object_id)
        if entries is None:
            return None
        wanted = version_key(version) if version is not None else None
        if wanted is None:
            return entries[-1]
        keyed = [(version_key(entry.version), entry) for entry in reversed(entries)]
        for key, entry in keyed:
            if key == wanted:
                return entry
        for key, entry in keyed:
            if key is not None and key[0] == wanted[0]:
                return entry
        return entries[-1]


class _Types(dict[int, Mapping[int, DataType]]):
    """Data types by object id and resource id, one object filled in at its first lookup.

    Only known objects are kept, so what peers ask for cannot make it grow; cleared, it fills in anew.
    """

    __slots__ = ("__weakref__", "_models", "_versions")

    def __init__(self, models: ModelSet, versions: Mapping[int, str]) -> None:
        super().__init__()
        self._models = models
        self._versions = versions

    def __missing__(self, object_id: int) -> Mapping[int, DataType]:
        entry = self._models.entry(object_id, self._versions.get(object_id))
        if entry is None:
            return _NO_TYPES
        self[object_id] = entry.types
        return entry.types

    def type_of(self, path: Path) -> DataType | None:
        if len(path) < 3:
            return None
        return self[path[0]].get(path[2])


def tidy(text: str) -> str:
    """One line of text: runs of white space of any kind become one space."""
    return " ".join(text.split())


def tidy_range(text: str) -> str:
    """As `tidy`; the lines of an enumeration are joined with "; "."""
    lines = (tidy(line) for line in text.splitlines())
    return "; ".join(line for line in lines if line)


def _by_object(entries: Iterable[ObjectEntry]) -> dict[int, tuple[ObjectEntry, ...]]:
    found: dict[int, list[ObjectEntry]] = {}
    for entry in entries:
        found.setdefault(entry.object_id, []).append(entry)
    return {number: _by_version(found[number]) for number in sorted(found)}


def _by_version(entries: Iterable[ObjectEntry]) -> tuple[ObjectEntry, ...]:
    unique = {version_key(entry.version): entry for entry in entries}
    return tuple(sorted(unique.values(), key=lambda e: version_key(e.version) or (0, 0)))


def version_key(version: str) -> tuple[int, int] | None:
    """`1.1` as (1, 1), None for anything else: a client may register any text as its version."""
    major, dot, minor = version.partition(".")
    if not dot or not _is_number(major) or not _is_number(minor):
        return None
    return int(major), int(minor)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_VERSION_DIGITS
