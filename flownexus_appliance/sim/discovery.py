"""The link lists of a simulated device: of its Register and Update, and of Discover.

LwM2M Core 1.1.1 section 6.2.1 (Register payload) and 6.3.2 (Discover).
"""

from collections.abc import Iterator
from typing import Final

from ..lwm2m.links import Link
from ..lwm2m.model import DEFAULT_VERSION, ObjectDefinition
from ..lwm2m.paths import Path
from .attributes import Attributes, AttributeTable, format_number
from .messages import Code
from .objects import FORBIDDEN_OBJECTS, ObjectTree, RefusedError

_ORDER: Final = ("pmin", "pmax", "gt", "lt", "st", "epmin", "epmax", "edge", "con", "hqmax")


def registration_links(tree: ObjectTree, lwm2m_version: str, content_format: int) -> list[Link]:
    """What a Register lists: the preferred format, then every object and instance, as Zephyr does.

    An object stands for itself only where it has no instance or a version to name. Security is
    never listed (LwM2M Core 1.1.1 6.2.1).
    """
    links = []
    if lwm2m_version != "1.0":
        links.append(Link("/", {"ct": str(content_format)}))
    for definition, instances in tree.instances():
        if definition.object_id in FORBIDDEN_OBJECTS:
            continue
        version = _version(definition)
        if version or not instances:
            links.append(Link(f"/{definition.object_id}", version))
        links += [Link(f"/{definition.object_id}/{number}", {}) for number in instances]
    return links


def discover_links(
    tree: ObjectTree, attributes: AttributeTable, path: Path, lwm2m_version: str
) -> list[Link]:
    """Answer a Discover of an object, instance or resource; raises RefusedError 4.01, 4.04, 4.05."""
    if not 1 <= len(path) <= 3:
        raise RefusedError(Code.METHOD_NOT_ALLOWED, "discover an object, an instance or a resource")
    tree.require(path)
    return list(_links(tree, attributes, path, lwm2m_version))


def _links(tree: ObjectTree, table: AttributeTable, path: Path, lwm2m_version: str) -> Iterator[Link]:
    # The target itself shows what holds for it, inherited attributes included; what lies below it
    # shows its own (the examples of 6.3.2).
    target = _shown(table.effective(path))
    if len(path) == 1:
        definition, instances = next(item for item in tree.instances() if item[0].object_id == path[0])
        yield Link(str(path), {**_version(definition), **target})
        for number in instances:
            instance = path.child(number)
            yield Link(str(instance), _shown(table.at(instance)))
            yield from _resources(tree, table, instance)
    elif len(path) == 2:
        yield Link(str(path), target)
        yield from _resources(tree, table, path)
    else:
        for resource, _, ids in tree.resources(path.parent):
            if resource != path:
                continue
            yield Link(str(path), {**_dimension(ids), **target})
            # Resource instances have attributes of their own since 1.1.
            if ids is not None and lwm2m_version != "1.0":
                for number in ids:
                    yield Link(str(path.child(number)), _shown(table.at(path.child(number))))


def _resources(tree: ObjectTree, table: AttributeTable, instance: Path) -> Iterator[Link]:
    for resource, _, ids in tree.resources(instance):
        yield Link(str(resource), {**_dimension(ids), **_shown(table.at(resource))})


def _version(definition: ObjectDefinition) -> dict[str, str]:
    return {} if definition.version == DEFAULT_VERSION else {"ver": definition.version}


def _dimension(ids: tuple[int, ...] | None) -> dict[str, str]:
    return {} if ids is None else {"dim": str(len(ids))}


def _shown(attributes: Attributes) -> dict[str, str]:
    return {name: format_number(attributes[name]) for name in _ORDER if name in attributes}
