"""Object definitions from DDF files, the XML form that the OMA registry and vendors publish.

LwM2M Core 1.1.1 appendix D and the schema LWM2M.xsd that the registry serves. A file may hold
several objects. It comes from an operator but may have been written by anyone: its size and depth
are bounded, and a document type declaration, the only way to entities, is refused when met.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NoReturn, TypeVar
from xml.etree.ElementTree import Element, TreeBuilder, tostring
from xml.parsers import expat

from ..errors import UsageError, clean
from .model import (
    DEFAULT_VERSION,
    OPERATIONS,
    TYPE_NAMES,
    ObjectDefinition,
    ResourceDefinition,
    tidy,
    tidy_range,
    version_key,
)
from .paths import MAX_ID
from .values import DataType

MAX_SIZE_BYTES: Final = 1024 * 1024
MAX_NAME: Final = 255
MAX_RANGE: Final = 4096
MAX_UNITS: Final = 64

_T = TypeVar("_T")

_MAX_DEPTH: Final = 8  # LWM2M/Object/Resources/Item/Name is 5
_HINT: Final = "upload a DDF file as the OMA LwM2M registry publishes them, valid by LWM2M.xsd"
_MULTIPLE: Final[Mapping[str, bool]] = {"multiple": True, "single": False}
_MANDATORY: Final[Mapping[str, bool]] = {"mandatory": True, "optional": False}


def parse_ddf(data: bytes) -> tuple[ObjectDefinition, ...]:
    """Read a DDF file of at most 1 MiB: its object definitions in the order of the file.

    Raises UsageError("ddf_invalid"), its message naming the element, or the line where it is not XML.
    A file made to be slow takes some 0.3 s: call it off the event loop.
    """
    return tuple(definition for definition, _ in _objects(_root(data)))


def split_ddf(data: bytes) -> tuple[tuple[ObjectDefinition, bytes], ...]:
    """As `parse_ddf`, each definition beside a DDF file for it alone; the file of an only one is `data`."""
    root = _root(data)
    found = _objects(root)
    if len(found) == 1:
        return ((found[0][0], data),)
    parts = []
    for definition, element in found:
        alone = Element(root.tag, root.attrib)
        alone.append(element)
        part: bytes = tostring(alone, "utf-8", xml_declaration=True)
        if len(part) > MAX_SIZE_BYTES:
            _fail(f"Object {definition.object_id}", f"larger than {MAX_SIZE_BYTES // 1024} KiB in UTF-8")
        parts.append((definition, part))
    return tuple(parts)


def _root(data: bytes) -> Element:
    if len(data) > MAX_SIZE_BYTES:
        _fail("the file", f"larger than {MAX_SIZE_BYTES // 1024} KiB")
    root = _parse_xml(data)
    if root.tag != "LWM2M":
        _fail(clean(root.tag), "the outermost element is not LWM2M")
    return root


def _objects(root: Element) -> tuple[tuple[ObjectDefinition, Element], ...]:
    elements = root.findall("Object")
    if not elements:
        _fail("LWM2M/Object", "missing")
    found: dict[tuple[int, tuple[int, int] | None], tuple[ObjectDefinition, Element]] = {}
    for element in elements:
        definition = _object(element)
        key = definition.object_id, version_key(definition.version)
        if key in found:
            _fail(f"Object {key[0]}", f"version {definition.version} stands twice")
        found[key] = definition, element
    return tuple(found.values())


class _Tree:
    """Expat handlers that build an element tree within bounds.

    Not ElementTree's own parser: that one reads a DOCTYPE and expands its entities.
    """

    def __init__(self) -> None:
        self._builder = TreeBuilder()
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            _fail(clean(tag), f"elements are nested more than {_MAX_DEPTH} deep")
        self._builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        self._depth -= 1
        self._builder.end(tag)

    def data(self, text: str) -> None:
        self._builder.data(text)

    def doctype(self, name: str, *_ids: object) -> NoReturn:
        _fail(f"<!DOCTYPE {clean(name)}>", "document type declarations are not accepted")

    def close(self) -> Element:
        return self._builder.close()


def _parse_xml(data: bytes) -> Element:
    tree = _Tree()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.data
    parser.StartDoctypeDeclHandler = tree.doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        _fail(f"line {error.lineno}", f"not XML: {expat.ErrorString(error.code)}")
    except (LookupError, ValueError) as error:  # an encoding that Python or expat does not know
        _fail("the XML declaration", f"unusable encoding: {clean(str(error))}")
    return tree.close()


def _object(element: Element) -> ObjectDefinition:
    object_id = _id(_text(element, "ObjectID", "Object"), "Object/ObjectID")
    where = f"Object {object_id}"
    resources: dict[int, ResourceDefinition] = {}
    for item in _child(element, "Resources", where).findall("Item"):
        resource = _resource(item, where)
        if resource.resource_id in resources:
            _fail(f"{where}/Item {resource.resource_id}", "stands twice")
        resources[resource.resource_id] = resource
    return ObjectDefinition(
        object_id,
        _version(element, "ObjectVersion", where),
        _version(element, "LWM2MVersion", where),
        _name(element, where),
        _choice(element, "MultipleInstances", where, _MULTIPLE),
        _choice(element, "Mandatory", where, _MANDATORY),
        MappingProxyType(dict(sorted(resources.items()))),
    )


def _resource(item: Element, parent: str) -> ResourceDefinition:
    resource_id = _id(item.get("ID", ""), f"{parent}/Item attribute ID")
    where = f"{parent}/Item {resource_id}"
    operations = _text(item, "Operations", where)
    if operations not in OPERATIONS:
        _fail(f"{where}/Operations", f"{clean(operations)} is none of R, W, RW, E")
    # What is executed has no type; some files of the registry leave it empty for others too.
    typeless = operations == "E" or not _text(item, "Type", where)
    return ResourceDefinition(
        resource_id,
        _name(item, where),
        operations,
        DataType.NONE if typeless else _choice(item, "Type", where, TYPE_NAMES),
        _choice(item, "MultipleInstances", where, _MULTIPLE),
        _choice(item, "Mandatory", where, _MANDATORY),
        clean(tidy_range(_raw(item, "RangeEnumeration")), MAX_RANGE) or None,
        clean(tidy(_raw(item, "Units")), MAX_UNITS) or None,
    )


def _name(element: Element, where: str) -> str:
    name = clean(_text(element, "Name", where), MAX_NAME)
    return name or _fail(f"{where}/Name", "empty")


def _version(element: Element, tag: str, where: str) -> str:
    """An optional version; empty and missing mean 1.0."""
    version = tidy(_raw(element, tag)) or DEFAULT_VERSION
    if version_key(version) is None:
        _fail(f"{where}/{tag}", f"{clean(version)} is not a version such as 1.0")
    return version


def _choice(element: Element, tag: str, where: str, choices: Mapping[str, _T]) -> _T:
    text = _text(element, tag, where)
    choice = choices.get(text.casefold())
    if choice is None:
        _fail(f"{where}/{tag}", f"{clean(text) or 'nothing'} is none of {', '.join(choices)}")
    return choice


def _id(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_ID):
        _fail(where, f"{clean(text) or 'nothing'} is not a number from 0 to {MAX_ID}")
    return int(text)


def _child(element: Element, tag: str, where: str) -> Element:
    child = element.find(tag)
    return child if child is not None else _fail(f"{where}/{tag}", "missing")


def _text(element: Element, tag: str, where: str) -> str:
    return tidy(_child(element, tag, where).text or "")


def _raw(element: Element, tag: str) -> str:
    return element.findtext(tag) or ""


def _fail(where: str, what: str) -> NoReturn:
    raise UsageError("ddf_invalid", f"DDF: {where}: {what}", _HINT)
