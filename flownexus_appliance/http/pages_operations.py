"""The operations of all devices: what waits, runs and is done; one with all that happened to it; ending one,
asking anew."""

from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.operation_reads import OperationQuestion
from ..db.operations import EndpointOperation
from ..errors import ApplianceError, UsageError, clean
from ..lwm2m.operations import Kind
from . import pages_forms, requests, views_operations
from .guard import BY
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS, Parts
from .routes import Place, form, page
from .views import device_url
from .views_operations import OperationView, listing, operation_view, operation_views

PAGE_SIZE: Final = 50
MAX_ID: Final = 2**53
# What a page tells of at its top: no form asks for more at once.
MAX_TOLD: Final = 4


def routes() -> list[Place]:
    return [
        page("/operations", show_all),
        page("/operations/{id}", show_one),
        form("/operations/{id}/cancel", cancel, Role.OPERATOR),
        form("/operations/{id}/retry", retry, Role.OPERATOR),
    ]


async def show_all(request: web.Request) -> web.Response:
    """All operations, newest first: ?status=, ?device=, ?operation=, ?q=, ?after="""
    parts = request.app[PARTS]
    question = _question(request)
    position = parts.hub.last_number
    found, following = await parts.reader.operations(question, PAGE_SIZE)
    return render(
        request,
        "operations.html",
        place="operations",
        stream_after=position,
        question=question,
        groups=views_operations.GROUPS,
        kinds=tuple(Kind),
        listing=listing,
        operations=operation_views(parts, found),
        counts=parts.operations.counts(),
        following=following,
    )


async def show_one(request: web.Request) -> web.Response:
    """One operation: what was asked, every attempt, the answer."""
    return await _one(request, _number(request))


async def cancel(request: web.Request) -> web.Response:
    """End one that is not done."""
    return await _change(request, again=False)


async def retry(request: web.Request) -> web.Response:
    """Ask anew for one that is done."""
    return await _change(request, again=True)


async def told(request: web.Request, endpoint: str) -> tuple[OperationView, ...]:
    """The operations of a device that ?operation= names, for its page to tell of; others are passed over."""
    parts = request.app[PARTS]
    texts = request.query.getall("operation", [])[:MAX_TOLD]
    found = [await current(parts, int(text)) for text in texts if requests.is_id(text)]
    return operation_views(parts, [one for one in found if one is not None and one.endpoint == endpoint])


async def current(parts: Parts, operation_id: int) -> EndpointOperation | None:
    """An operation as it stands now, with all its values where it has just ended; None: there is none."""
    try:
        return await parts.operations.finished(operation_id, 0.0)
    except UsageError:  # not of late
        return await parts.reader.operation(operation_id)


async def _change(request: web.Request, *, again: bool) -> web.Response:
    """Cancel or retry, and back to where the form stood: the device, the list, or the operation."""
    form = await pages_forms.read(request)
    parts = request.app[PARTS]
    number = _number(request)
    try:
        operations = parts.operations
        changed = await (operations.retry(number, request[BY]) if again else operations.cancel(number))
    except ApplianceError as error:
        return await _one(request, number, Problem.of(error, {}))
    match form.text("back"):
        case "device":
            return pages_forms.see_other(f"{device_url(changed.endpoint)}?operation={changed.id}")
        case "list":
            return pages_forms.see_other(_listed(form))
    return pages_forms.see_other(f"/operations/{changed.id}")


async def _one(request: web.Request, number: int, problem: Problem | None = None) -> web.Response:
    parts = request.app[PARTS]
    position = parts.hub.last_number
    found = await current(parts, number)
    if found is None:
        raise UsageError(
            "operation_missing",
            f"there is no operation {number}",
            "of each device the newest are kept; the list has them",
        )
    return render(
        request,
        "operation.html",
        place="operations",
        status=200 if problem is None else problem.status,
        stream_after=position,
        operation=operation_view(parts, found, whole=True),
        attempts=views_operations.attempt_views(await parts.reader.attempts(number)),
        problem=problem,
    )


def _question(request: web.Request) -> OperationQuestion:
    after = requests.whole(request, "after", 0, 1, MAX_ID)
    return OperationQuestion(
        endpoint=request.query.get("device", "").strip(),
        status=requests.one_of(request, "status", views_operations.STATUSES),
        kind=requests.one_of(request, "operation", tuple(Kind)),
        search=requests.search(request),
        before_id=after or None,
    )


def _listed(form: Form) -> str:
    """The list with the filters that a form was sent from."""
    return listing(
        OperationQuestion(
            endpoint=form.text("device"),
            status=form.text("status"),
            kind=form.text("operation"),
            search=form.text("q"),
        )
    )


def _number(request: web.Request) -> int:
    text = request.match_info["id"]
    if requests.is_id(text):
        return int(text)
    raise UsageError(
        "operation_missing", f"not the number of an operation: {clean(text, 40)}", "the list has them"
    )
