"""Asking a device from its page: reading, writing, executing and observing, each by a form.

A form is answered when the device has, or after a moment; the next page tells how it stands. A form of more
than a button stands on the page of its path, from which a script takes it into the tree.
"""

import contextlib
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.operations import EndpointOperation
from ..errors import ApplianceError, UsageError, clean
from ..lwm2m.attributes import Attributes, check_attributes
from ..lwm2m.operations import MAX_PATHS, Kind, Operation
from ..lwm2m.paths import Path
from . import devices, pages_forms, pages_operations, requests, views_operations, views_tree
from .devices import Device
from .guard import BY
from .inputs import records_of
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS, Parts
from .routes import Place, form, page
from .views import device_url
from .views_tree import FORM_ATTRIBUTES, Known

WAIT_S: Final = 2.0
ASKED: Final = (Kind.READ, Kind.WRITE, Kind.EXECUTE, Kind.OBSERVE, Kind.WRITE_ATTRIBUTES, Kind.CANCEL)
# Which field of the form an error is about; attributes name theirs themselves.
FIELDS: Final = {
    "value_invalid": "value",
    "value_missing": "value",
    "arguments_invalid": "arguments",
}


def routes() -> list[Place]:
    return [
        form("/devices/{endpoint}/operations", ask, Role.OPERATOR),
        page("/devices/{endpoint}/resources/{path:.+}", show),
    ]


async def show(request: web.Request) -> web.Response:
    """What is at a path of a device, and what can be asked there: ?operation= as on the device's page."""
    path = Path.parse(request.match_info["path"], UsageError)
    if not path:
        raise UsageError("path_invalid", "the path has no object", "name one, such as 3303/0/5700")
    return await _page(request, path)


async def ask(request: web.Request) -> web.Response:
    """Do what a form's `ask` says: an operation and its path, as in `read /3/0/9`."""
    form = await pages_forms.read(request)
    parts = request.app[PARTS]
    device = await devices.device(parts, requests.endpoint(request))
    kind, paths = _asked(form)
    try:
        wanted = await _wanted(parts, device, kind, paths, form)
        asked = [await parts.operations.ask(device.endpoint, one, request[BY]) for one in wanted]
    except ApplianceError as error:
        if not paths[0]:
            raise  # the root has no page of its own
        return await _page(request, paths[0], form, _problem(error))
    # Nobody waits for one that sleeps.
    if parts.fleet.presence(device.endpoint) == "online":
        await _finished(parts, asked[-1])
    below = f"/resources{paths[0]}" if form.text("back") == "resource" and paths[0] else ""
    query = "&".join(f"operation={one.id}" for one in asked)
    return pages_forms.see_other(f"{device_url(device.endpoint)}{below}?{query}")


def _asked(form: Form) -> tuple[Kind, tuple[Path, ...]]:
    """The operation and its paths; several only to end an observation of several."""
    name, *texts = form.text("ask").split(" ")
    if name not in ASKED or not 1 <= len(texts) <= (MAX_PATHS if name == Kind.CANCEL else 1):
        raise UsageError(
            "body_invalid", f"not something to ask for: {clean(name, 40)}", "use the forms of the page"
        )
    return Kind(name), tuple(Path.parse(text, UsageError) for text in texts)


async def _wanted(
    parts: Parts, device: Device, kind: Kind, paths: tuple[Path, ...], form: Form
) -> list[Operation]:
    """The operations that a form asks for, in the order in which the device is to do them."""
    path = paths[0]
    if kind is Kind.EXECUTE:
        return [Operation(kind, paths, arguments=form.text("arguments"))]
    if kind in (Kind.READ, Kind.CANCEL):
        return [Operation(kind, paths)]
    found = await _known(parts, device, path)
    if kind is Kind.WRITE:
        view = views_tree.path_view(found, path)
        if view.wanted is None:
            raise UsageError(
                "not_writable", f"{view.name} at {path} is not writable", "its model does not let servers"
            )
        return [Operation(kind, paths, records_of(path, view.wanted, form.fields.get("value", "")))]
    changes = _changes(form, found.attributes.get(path, {}), path)
    wanted = [Operation(Kind.WRITE_ATTRIBUTES, paths, attributes=changes)] if changes else []
    if kind is Kind.OBSERVE:
        wanted.append(Operation(kind, paths))
    if not wanted:
        raise UsageError("attributes_invalid", "nothing was changed", "change a field, or leave it as it is")
    return wanted


def _changes(form: Form, present: Mapping[str, str], path: Path) -> Attributes:
    """What a form changes of the attributes at a path: a field left empty unsets its own.

    Raises UsageError("attributes_invalid") where what the form holds does not go together.
    """
    given = {name: form.text(name) for name in FORM_ATTRIBUTES if name in form.fields}
    full = tuple((name, text) for name, text in given.items() if text)
    if full:
        check_attributes(full, path)
    return tuple((name, text or None) for name, text in given.items() if text != present.get(name, ""))


async def _finished(parts: Parts, asked: EndpointOperation) -> None:
    """Wait a moment for the last of those that were asked for: a device does them in their order."""
    with contextlib.suppress(UsageError):  # it ended, and is told of from the file
        await parts.operations.finished(asked.id, WAIT_S)


def _problem(error: ApplianceError) -> Problem:
    # `lwm2m.attributes` begins with the attribute that is wrong.
    name = error.message.split(" ")[0]
    attribute = name if name in FORM_ATTRIBUTES else "pmin"
    return Problem.of(error, {**FIELDS, "attributes_invalid": attribute})


async def _known(parts: Parts, device: Device, path: Path) -> Known:
    return views_tree.known(parts, device, await parts.reader.latest(device.endpoint), *path[:1])


async def _page(
    request: web.Request, path: Path, form: Form | None = None, problem: Problem | None = None
) -> web.Response:
    parts = request.app[PARTS]
    position = parts.hub.last_number
    device = await devices.device(parts, requests.endpoint(request))
    found = await _known(parts, device, path)
    view = views_tree.path_view(found, path)
    fields = dict(view.report.set)
    if view.wanted is not None:
        fields["value"] = view.wanted.value
    return render(
        request,
        "resource.html",
        status=200 if problem is None else problem.status,
        stream_after=position,
        device=device,
        view=view,
        fields=fields | (dict(form.fields) if form is not None else {}),
        told=await pages_operations.told(request, device.endpoint),
        wait=views_operations.wait_of(parts.fleet, device.endpoint),
        problem=problem,
    )
