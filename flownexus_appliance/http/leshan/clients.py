"""Leshan's routes below `clients`: registrations, and operations on devices that are registered.

Every operation goes by `Operations`, as those of the box's own API do. The answer is waited for, while the
device is awake, wakes or sleeps; whoever asked is told of a timeout, and then nothing is left to be done.
"""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ...access.roles import Role
from ...db.operations import EndpointOperation
from ...errors import UsageError, clean
from ...lwm2m import codecs
from ...lwm2m.attributes import parse_attributes
from ...lwm2m.content_formats import ContentFormat
from ...lwm2m.operations import WRITES, Kind, Operation, check
from ...lwm2m.paths import Path
from ...lwm2m.values import DataType, Record
from ..answers import json_answer
from ..guard import BY
from ..ports import PARTS
from ..routes import Place, page
from .answers import Refused, answer_of, invalid_path, invalid_request, plain_errors, text_answer, timed_out
from .asking import TEXT, Asking, asking_of, parse_path
from .nodes import instance_of, read_json, records_of
from .registrations import registration_json

# What nobody waits for any more, after a restart of the box, must not be carried out late.
DEADLINE_AFTER_MS: Final = 1000

_ACTIVE: Final = "active"  # the state of an observation that the device reports


def routes(base: str) -> list[Place]:
    """The routes below `base`, such as /leshan/api."""
    clients = f"{base}/clients"
    return [
        page(clients, list_clients),
        page(f"{clients}/", list_clients),
        page(f"{clients}/{{endpoint}}{{rest:/?}}", serve_client),
        # Everything else is asked of the device.
        Place("*", f"{clients}/{{endpoint}}{{rest:(?:/.*)?}}", serve_client, Role.OPERATOR),
    ]


@plain_errors
async def list_clients(request: web.Request) -> web.Response:
    """All registrations."""
    fleet = request.app[PARTS].fleet
    return json_answer([registration_json(one, fleet) for one in fleet.registrations()])


@plain_errors
async def serve_client(request: web.Request) -> web.Response:
    """Everything about one device, told apart by the segments after its name."""
    method = _METHODS.get(request.method)
    if method is None:
        text = f"{clean(request.method)} is not supported here"
        return text_answer(text, HTTPStatus.METHOD_NOT_ALLOWED)
    return await method(asking_of(request))


async def _get(asking: Asking) -> web.Response:
    match asking.tail:
        case ():
            fleet = asking.parts.fleet
            registration = fleet.registration(asking.endpoint)
            assert registration is not None  # `asking_of` has looked, and nobody was waited for since
            return json_answer(registration_json(registration, fleet))
        case ("composite",):
            return await _composite(asking, Kind.READ_COMPOSITE)
        case (_, *_, "discover"):
            return await _perform(asking, Operation(Kind.DISCOVER, (asking.path(without=1),)))
    return await _perform(asking, Operation(Kind.READ, (asking.path(),), content_format=asking.format()))


async def _put(asking: Asking) -> web.Response:
    match asking.tail:
        case ("composite",):
            return await _write_composite(asking)
        case (_, *_, "attributes"):
            attributes = parse_attributes(asking.query_parts())
            path = asking.path(without=1)
            return await _perform(asking, Operation(Kind.WRITE_ATTRIBUTES, (path,), attributes=attributes))
        case (_, _, *_):
            return await _write(asking)
    raise invalid_path()


async def _post(asking: Asking) -> web.Response:
    match asking.tail:
        case ("composite", "observe"):
            return await _composite(asking, Kind.OBSERVE_COMPOSITE)
        case (_, *_, "observe"):
            path = asking.path(without=1)
            return await _perform(asking, Operation(Kind.OBSERVE, (path,), content_format=asking.format()))
        case (_, _, _):
            arguments = await asking.text()
            return await _perform(asking, Operation(Kind.EXECUTE, (asking.path(),), arguments=arguments))
        case (_,) | (_, _):
            return await _create(asking)
    raise invalid_path()


async def _delete(asking: Asking) -> web.Response:
    match asking.tail:
        case ("composite", "observe"):
            return await _cancel(asking, asking.paths(), composite=True)
        case (_, *_, "observe"):
            return await _cancel(asking, (asking.path(without=1),), composite=False)
    path = asking.path()
    if len(path) != 2:
        raise invalid_request(f"{path}: only object instances can be deleted")
    return await _perform(asking, Operation(Kind.DELETE, (path,)))


_METHODS: Final[Mapping[str, Callable[[Asking], Awaitable[web.Response]]]] = {
    "GET": _get,
    "HEAD": _get,
    "PUT": _put,
    "POST": _post,
    "DELETE": _delete,
}


async def _composite(asking: Asking, kind: Kind) -> web.Response:
    """A Read- or Observe-Composite.

    Zephyr reads the list of paths in the format it is to answer in: both are `nodeformat` where it is given.
    """
    paths = asking.paths()
    path_format = asking.needed_format("pathformat")
    node_format = asking.format("nodeformat")
    chosen = path_format if node_format is None else node_format
    return await _perform(asking, Operation(kind, paths, content_format=chosen))


async def _write_composite(asking: Asking) -> web.Response:
    """The values of a map from path to node; a multiResource becomes its instances."""
    chosen = asking.needed_format("nodeformat")
    nodes = read_json(await asking.body())
    if not isinstance(nodes, dict):
        raise invalid_request('the body is {"/3/0/14": {"id": 14, ..}, ..}')
    paths: list[Path] = []
    records: list[Record] = []
    for text, node in nodes.items():
        path = parse_path(text)
        if len(path) < 3:
            raise invalid_request(f"{path}: only resources and resource instances can be written")
        paths.append(path)
        records += records_of(path, node, asking.type_of)
    operation = Operation(Kind.WRITE_COMPOSITE, tuple(paths), tuple(records), content_format=chosen)
    return await _perform(asking, operation)


async def _write(asking: Asking) -> web.Response:
    path = asking.path()
    if len(path) < 2:
        raise invalid_path()
    if asking.media_type() == TEXT:
        if len(path) != 3:
            raise invalid_request(f"{path}: text is for a resource")
        records: tuple[Record, ...] = (Record(path, await asking.text(), DataType.STRING),)
    else:
        records = records_of(path, read_json(await asking.body()), asking.type_of)
    replace = asking.request.query.get("replace", "true").lower() == "true"
    if replace:
        operation = Operation(Kind.WRITE, (path,), records, content_format=asking.format())
    elif len(path) == 4 or any(record.path == path for record in records):
        raise invalid_request(f"{path}: update is not allowed on a single value")
    else:
        # A POST on a resource is an Execute; of its instance it updates the same resource instances.
        instance = Path(path[:2])
        operation = Operation(Kind.WRITE_PARTIAL, (instance,), records, content_format=asking.format())
    return await _perform(asking, operation)


async def _create(asking: Asking) -> web.Response:
    path, chosen = asking.path(), asking.format()
    if len(path) != 1:
        raise invalid_request(f"{path}: a Create is for an object")
    if asking.media_type() == TEXT:
        raise invalid_request("a Create brings an instance as JSON")
    target, records = instance_of(path[0], read_json(await asking.body()), asking.type_of)
    if len(target) == 1 and chosen not in (None, ContentFormat.TLV):
        raise invalid_request("only TLV can leave the id of a new instance to the device")
    return await _perform(asking, Operation(Kind.CREATE, (target,), records, content_format=chosen))


async def _cancel(asking: Asking, paths: tuple[Path, ...], *, composite: bool) -> web.Response:
    """End an observation: `?active` by telling the device, else by a reset of its next notification."""
    known = [
        one
        for one in asking.parts.fleet.reporting(asking.endpoint)
        if one.composite == composite and set(one.paths) == set(paths)
    ]
    active = "active" in asking.request.query
    if active and not any(one.state == _ACTIVE for one in known):
        shown = ", ".join(map(str, paths))
        raise Refused(HTTPStatus.NOT_FOUND, f"no observation for {shown} of client '{asking.endpoint}'")
    if not known:
        return web.Response()
    kind = Kind.CANCEL if active else Kind.CANCEL_PASSIVE
    return await _perform(asking, Operation(kind, known[0].paths), composite=composite)


async def _perform(asking: Asking, operation: Operation, *, composite: bool = False) -> web.Response:
    """Have an operation done within the time that the asker gives; raises Refused, ApplianceError.

    `composite`: it ends an observation of several paths, whose last values are told by path.
    """
    check(operation)
    _check_format(operation)
    operations, timeout_s = asking.parts.operations, asking.timeout_s
    deadline_ms = asking.parts.now_ms() + timeout_s * 1000 + DEADLINE_AFTER_MS
    one = await operations.ask(
        asking.endpoint, operation, asking.request[BY], deadline_ms=deadline_ms, checked=False
    )
    if not one.done:
        one = await operations.finished(one.id, timeout_s)
    if not one.done:
        one = await _give_up(asking, one)
    return answer_of(
        one,
        composite=composite or operation.composite,
        floats_as_text=asking.floats_as_text,
        types=asking.type_of,
    )


async def _give_up(asking: Asking, waiting: EndpointOperation) -> EndpointOperation:
    """Break an operation off; what was answered at the last moment counts. Raises Refused."""
    operations = asking.parts.operations
    try:
        ended = await operations.cancel(waiting.id)
    except UsageError as error:
        if error.code != "operation_done":
            raise
        ended = await operations.finished(waiting.id, 0)
    if ended.done and ended.outcome.code:
        return ended
    # A device that said "later" (5.03) has answered, though the box would have asked again.
    if waiting.outcome.code:
        return waiting
    raise timed_out()


def _check_format(operation: Operation) -> None:
    """Whether the format that was asked for can hold this; raises Refused."""
    chosen, paths = operation.content_format, operation.paths
    if chosen is None:
        return
    try:
        if operation.kind in (Kind.READ_COMPOSITE, Kind.OBSERVE_COMPOSITE):
            codecs.encode_paths(chosen, paths)
        elif operation.kind in WRITES:
            codecs.encode(chosen, operation.records, base=_base(operation))
    except UsageError as error:
        raise invalid_request(error.message) from None


def _base(operation: Operation) -> Path:
    """The path that a payload of this operation is relative to, as it will be written."""
    path = operation.path
    if operation.kind is Kind.WRITE_COMPOSITE:
        return Path.ROOT
    if operation.kind is Kind.CREATE:
        return Path(path[:1]) if len(path) == 2 else path.child(0)
    return path
