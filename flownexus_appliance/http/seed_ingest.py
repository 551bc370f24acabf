"""The seed's way in: values that a Leshan gateway posts in the seed's format, and lists of them.

`POST /leshan_api/resource/single` and `.../composite`, `GET /leshan_api/data/{name}/`. Mistakes are told as
the seed tells them, reasons by field, for gateways that log them. Values are kept like those of a device of
this box; a `multiResource`, which the seed passes over, becomes its resource instances.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from ..access.roles import Role
from ..db.by_name import NamedSample, samples_by_name
from ..errors import UsageError, clean
from ..lwm2m.paths import MAX_ID, Path
from ..lwm2m.values import DataType, Record, TypeLookup
from . import requests
from .answers import json_answer
from .guard import ROUTINE
from .leshan.values import TYPES, suited, value_of
from .ports import PARTS
from .routes import Place, form, page

MAX_TEXT: Final = 255
MAX_ID_DIGITS: Final = 5
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: Final = {name: kind for kind, name in TYPES.items() if kind is not DataType.NONE}
_BOOLEANS: Final = {"true": True, "false": False}
_SINGLE: Final = "singleResource"
_MULTIPLE: Final = "multiResource"

# What a post holds, as it is answered: the fields that were understood, as they were understood.
Valid = dict[str, Any]
Read = Callable[[object], Any]


class Fault(Exception):
    """What is wrong with a field: reasons, or the reasons of what stands in it."""

    def __init__(self, reasons: object) -> None:
        super().__init__(reasons)
        self.reasons = [reasons] if isinstance(reasons, str) else reasons


def routes() -> list[Place]:
    return [
        form("/leshan_api/resource/single", post_single, Role.OPERATOR),
        form("/leshan_api/resource/composite", post_composite, Role.OPERATOR),
        page("/leshan_api/data/{name}/", list_values),
        page("/leshan_api/data/{name}", list_values),
    ]


async def post_single(request: web.Request) -> web.Response:
    """POST resource/single {"ep", "obj_id", "val": resource}: a resource of instance 0."""
    return await _post(request, {"ep": _text, "obj_id": _id, "val": _resource}, _records_of_single)


async def post_composite(request: web.Request) -> web.Response:
    """POST resource/composite {"ep", "val": object} or {"ep", "val": {"/3": object, ..}}"""
    return await _post(request, {"ep": _text, "val": _objects}, _records_of_composite)


async def list_values(request: web.Request) -> web.Response:
    """GET data/{name}/: the newest values of all resources of a name, oldest first."""
    name = request.match_info["name"]
    found = await samples_by_name(request.app[PARTS].reader.take, name)
    if found is None:
        return json_answer({"error": f"no resource is called {clean(name)}"}, HTTPStatus.NOT_FOUND)
    return json_answer([_listed(sample, name) for sample in found])


async def _post(
    request: web.Request,
    fields: Mapping[str, Read],
    records_of: Callable[[Valid, TypeLookup], Iterable[Record]],
) -> web.Response:
    """Keep what is posted: 201 with it, or 400 with what is wrong, and then nothing is kept."""
    fleet = request.app[PARTS].fleet
    text = await requests.json_text(request)
    try:
        valid = _fields(_decode(text), fields)
        endpoint = valid["ep"]
        records = tuple(records_of(valid, lambda path: fleet.type_of(endpoint, path)))
        if records:
            await fleet.ingest(endpoint, records)
    except Fault as fault:
        return json_answer(fault.reasons, HTTPStatus.BAD_REQUEST)
    except UsageError as error:
        return json_answer({"ep": [f"{error.message}: {error.hint}"]}, HTTPStatus.BAD_REQUEST)
    request[ROUTINE] = True
    return json_answer(valid, HTTPStatus.CREATED)


# What the fields hold


def _decode(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Fault({"detail": f"not JSON: {clean(str(error))}"}) from None


def _fields(given: object, readers: Mapping[str, Read], optional: frozenset[str] = frozenset()) -> Valid:
    """The fields of a JSON object; raises Fault with all that is wrong with any of them."""
    if not isinstance(given, dict):
        raise Fault({"non_field_errors": ["not a JSON object"]})
    found: Valid = {}
    faults: dict[str, object] = {}
    for name, read in readers.items():
        if name in given:
            try:
                found[name] = read(given[name])
            except Fault as fault:
                faults[name] = fault.reasons
        elif name not in optional:
            faults[name] = ["this field is missing"]
    if faults:
        raise Fault(faults)
    return found


def _several(given: object, read: Read) -> list[Any]:
    """A list; of a fault the position is told: what is right before it has none."""
    if not isinstance(given, list):
        raise Fault("not a list")
    found: list[Any] = []
    faults: list[object] = []
    for one in given:
        try:
            found.append(read(one))
            faults.append({})
        except Fault as fault:
            faults.append(fault.reasons)
    if any(faults):
        raise Fault(faults)
    return found


def _objects(given: object) -> Valid:
    """One object, or objects by their paths; what the paths say stands in the objects too."""
    if isinstance(given, dict) and ("kind" in given or "instances" in given):
        return _object(given)
    readers: dict[str, Read] = dict.fromkeys(given, _object) if isinstance(given, dict) else {}
    return _fields(given, readers)


def _object(given: object) -> Valid:
    readers = {"kind": _one_of("obj"), "id": _id, "instances": lambda found: _several(found, _instance)}
    return _fields(given, readers, frozenset({"instances"}))


def _instance(given: object) -> Valid:
    readers = {"kind": _one_of("instance"), "id": _id, "resources": lambda found: _several(found, _resource)}
    return _fields(given, readers)


def _resource(given: object) -> Valid:
    multiple = isinstance(given, dict) and given.get("kind") == _MULTIPLE
    readers: dict[str, Read] = {
        "kind": _one_of(_SINGLE, _MULTIPLE),
        "id": _id,
        "type": _one_of(*_TYPES),
        **({"values": _values} if multiple else {"value": _text}),
    }
    # The document's own listing shows a multiResource without the two.
    return _fields(given, readers, frozenset({"id", "type"}) if multiple else frozenset())


def _values(given: object) -> Valid:
    if not isinstance(given, dict):
        raise Fault("not a JSON object")
    for number in given:
        digits = number.isascii() and number.isdigit() and len(number) <= MAX_ID_DIGITS
        if not digits or int(number) > MAX_ID:
            raise Fault({number: [f"not a number from 0 to {MAX_ID}"]})
    return _fields(given, dict.fromkeys(given, _text))


def _text(given: object) -> str:
    """Text; numbers and booleans are taken as they are written."""
    if isinstance(given, bool | int | float):
        given = msgspec.json.encode(given).decode()
    if not isinstance(given, str):
        raise Fault("neither text nor a number")
    if len(given) > MAX_TEXT:
        raise Fault(f"more than {MAX_TEXT} characters")
    return given


def _id(given: object) -> int:
    if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) <= MAX_ID_DIGITS:
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= MAX_ID:
        return given
    raise Fault(f"not a whole number from 0 to {MAX_ID}")


def _one_of(*known: str) -> Read:
    def read(given: object) -> str:
        if isinstance(given, str) and given in known:
            return given
        raise Fault(f"{clean(str(given), 40)} is none of {', '.join(known)}")

    return read


# What they mean


def _records_of_single(valid: Valid, types: TypeLookup) -> Iterable[Record]:
    try:
        return list(_records(Path.of(valid["obj_id"], 0), valid["val"], types))
    except Fault as fault:
        raise Fault({"val": fault.reasons}) from None


def _records_of_composite(valid: Valid, types: TypeLookup) -> Iterable[Record]:
    given = valid["val"]
    objects = [given] if "kind" in given else given.values()
    try:
        return [
            record
            for one in objects
            for instance in one.get("instances", ())
            for resource in instance["resources"]
            for record in _records(Path.of(one["id"], instance["id"]), resource, types)
        ]
    except Fault as fault:
        raise Fault({"val": fault.reasons}) from None


def _records(instance: Path, resource: Valid, types: TypeLookup) -> Iterable[Record]:
    """The records of a resource; a multiResource that does not say of what has none."""
    if "id" not in resource:
        return
    path = instance.child(resource["id"])
    data_type = _TYPES.get(resource.get("type", ""))
    if resource["kind"] == _SINGLE:
        yield _record(path, resource["value"], data_type, types)
        return
    for number, text in resource["values"].items():
        yield _record(path.child(int(number)), text, data_type, types)


def _record(path: Path, text: str, given: DataType | None, types: TypeLookup) -> Record:
    """A value of the type that is given, else of the model's; in the model's where nothing is lost by it."""
    wanted = types(path)
    data_type = given or wanted or DataType.STRING
    try:
        value, fitted = suited(value_of(_spelled(text, data_type), data_type), data_type, wanted)
    except UsageError as error:
        raise Fault({"value": [f"{path}: {error.message}; {error.hint}"]}) from None
    return Record(path, value, fitted)


def _spelled(text: str, data_type: DataType) -> object:
    """What `value_of` wants of a type whose values are no text in Leshan's JSON."""
    match data_type:
        case DataType.BOOLEAN:
            return _BOOLEANS.get(text.lower(), text)
        case DataType.TIME if text.removeprefix("-").isdecimal() and text.isascii():
            return int(text)
        case DataType.OBJLNK:
            numbers = text.split(":")
            if len(numbers) == 2 and all(n.isascii() and n.isdigit() and len(n) <= 5 for n in numbers):
                return {"objectId": int(numbers[0]), "objectInstanceId": int(numbers[1])}
    return text


def _listed(sample: NamedSample, name: str) -> dict[str, object]:
    value = sample.value
    if sample.data_type == DataType.TIME and isinstance(value, int):
        value *= 1000  # it was posted as ms
    # A device may have told a time that no calendar has.
    time_ms = max(0, min(sample.time_ms, requests.MAX_TIME_MS))
    moment = (EPOCH + timedelta(milliseconds=time_ms)).isoformat()
    return {"timestamp_created": moment.replace("+00:00", "Z"), "value": value, "resource_type": name}
