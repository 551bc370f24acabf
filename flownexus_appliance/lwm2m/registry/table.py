"""The form of the registry's table: text, one line a resource, one paragraph an object version.

Fields are separated by tabs, `-` stands for none. An object's line has its id after a slash, its
version, its LwM2M version, flags and name; a resource's line has its id, operations, data type,
flags, name, range and units. Flags: `*` multiple, `!` mandatory.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from sys import intern
from types import MappingProxyType
from typing import Final

from ..model import ObjectDefinition, ObjectEntry, ResourceDefinition
from ..values import DataType

HEADER: Final = (
    "# LwM2M objects and resources of the OMA registry. Written by `make registry`; do not edit.\n"
    "# /object  version  lwm2m  flags  name\n"
    "# resource  operations  type  flags  name  range  units        flags: * multiple, ! mandatory\n"
)

_NONE: Final = "-"
_TYPES: Final = {data_type.value: data_type for data_type in DataType}


def encode_table(objects: Iterable[ObjectDefinition]) -> str:
    """Write objects, ordered by id and version; raises ValueError for text that cannot be a field."""
    ordered = sorted(objects, key=lambda o: (o.object_id, [int(n) for n in o.version.split(".")]))
    return "\n".join([HEADER, *map(_encode_object, ordered)])


def decode_table(text: str) -> Iterator[ObjectEntry]:
    """Read what `encode_table` wrote: only the objects' lines, their resources when asked for."""
    for block in text.split("\n\n")[1:]:
        number, version, _, _, name = block.partition("\n")[0].split("\t")
        yield ObjectEntry(int(number[1:]), intern(version), name, partial(_decode_object, block))


def _encode_object(definition: ObjectDefinition) -> str:
    lines = [
        _line(
            f"/{definition.object_id}",
            definition.version,
            definition.lwm2m_version,
            _flags(definition.multiple, definition.mandatory),
            definition.name,
        )
    ]
    lines += [
        _line(
            str(resource.resource_id),
            resource.operations,
            resource.data_type.value,
            _flags(resource.multiple, resource.mandatory),
            resource.name,
            resource.range_text or "",
            resource.units or "",
        )
        for resource in sorted(definition.resources.values(), key=lambda r: r.resource_id)
    ]
    return "".join(lines)


def _decode_object(block: str) -> ObjectDefinition:
    head, *lines = block.rstrip("\n").split("\n")
    number, version, lwm2m_version, flags, name = head.split("\t")
    resources: dict[int, ResourceDefinition] = {}
    for line in lines:
        resource = _decode_resource(line)
        resources[resource.resource_id] = resource
    return ObjectDefinition(
        int(number[1:]),
        intern(version),
        intern(lwm2m_version),
        name,
        "*" in flags,
        "!" in flags,
        MappingProxyType(resources),
    )


def _decode_resource(line: str) -> ResourceDefinition:
    number, operations, data_type, flags, name, range_text, units = line.split("\t")
    return ResourceDefinition(
        int(number),
        intern(name),  # a few names ("Sensor Value") stand in most objects
        "" if operations == _NONE else intern(operations),
        _TYPES[data_type],
        "*" in flags,
        "!" in flags,
        None if range_text == _NONE else intern(range_text),
        None if units == _NONE else intern(units),
    )


def _flags(multiple: bool, mandatory: bool) -> str:
    return "*" * multiple + "!" * mandatory


def _line(*fields: str) -> str:
    for text in fields:
        if text == _NONE or not text.isprintable():
            raise ValueError(f"not fit for a field of the table: {text!r}")
    return "\t".join(text or _NONE for text in fields) + "\n"
