"""Operations on devices over REST: asked for at once, done when the device listens, awaited if need be."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.operation_reads import DONE_WORD, UNFINISHED_WORD, OperationQuestion
from ..db.operations import EndpointOperation
from ..errors import UsageError, clean
from ..lwm2m.operations import Kind, Status
from . import devices, requests
from .answers import json_answer
from .guard import BY
from .operations import (
    OperationDetail,
    OperationRequest,
    OperationState,
    deadline_ms,
    detail_of,
    operation_from,
    state_of,
    wait_until_done,
)
from .ports import PARTS
from .routes import Answer, Query, Route, get

TAG: Final = "operations"
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
MAX_ID: Final = 2**53
STATUSES: Final = (*(status.value for status in Status), UNFINISHED_WORD, DONE_WORD)
KINDS: Final = tuple(kind.value for kind in Kind)

WAIT: Final = Query(
    "wait",
    f"Wait so many seconds for the operation to be done, 0 to {requests.MAX_WAIT_S}",
    type=int,
    default=0,
)
_SEEN_AT: Final = {"Location": "Where the operation is seen from now on"}
# What asks a device for something answers with one of these.
ASKED: Final = (
    Answer(OperationState, HTTPStatus.OK, "It is done, whatever the device said of it", headers=_SEEN_AT),
    Answer(
        OperationState,
        HTTPStatus.ACCEPTED,
        "It is on disk and waits for the device, or is under way",
        headers=_SEEN_AT,
    ),
)
_FILTERS: Final = (
    Query("status", "Where it stands: one of the six, or unfinished, or done", values=STATUSES),
    Query("operation", "What is asked", values=KINDS),
    Query("q", "Text to look for: device, paths and values, who asked, code and message"),
    Query("after", "The id to go on behind: `next` of the page before", type=int),
    Query("limit", f"At most so many, up to {MAX_LIMIT}", type=int, default=DEFAULT_LIMIT),
)


@dataclass(frozen=True, slots=True)
class OperationList:
    """A page of operations, newest first; `next` goes into `?after=` for the following one.

    A page whose values weigh a lot ends before its limit.
    """

    items: list[OperationState]
    next: int | None


def routes() -> list[Route]:
    one, listed = "/api/v1/operations/{id}", "Operations on devices, newest first"
    of_device = "/api/v1/endpoints/{endpoint}/operations"
    endpoint = Query("endpoint", "Those of this device")
    operator = Role.OPERATOR
    return [
        Route("POST", of_device, ask, "Ask a device", TAG, ASKED, (WAIT,), OperationRequest, needs=operator),
        get(of_device, list_of_device, "What a device was asked", TAG, OperationList, *_FILTERS),
        get("/api/v1/operations", list_operations, listed, TAG, OperationList, endpoint, *_FILTERS),
        get(one, show, "An operation with its attempts", TAG, OperationDetail, WAIT),
        Route(
            "DELETE",
            one,
            cancel,
            "End an operation that is not done",
            TAG,
            (Answer(OperationState),),
            needs=operator,
        ),
        Route(
            "POST",
            f"{one}/retry",
            retry,
            "Ask again for one that is done",
            TAG,
            ASKED,
            (WAIT,),
            needs=operator,
        ),
    ]


async def ask(request: web.Request) -> web.Response:
    """POST endpoints/{endpoint}/operations?wait= {"operation", "path", ...}"""
    parts, endpoint, wait_s = request.app[PARTS], requests.endpoint(request), requests.wait_s(request)
    wanted = await requests.body(request, OperationRequest)
    operation = operation_from(parts, endpoint, wanted)
    until_ms = deadline_ms(parts, wanted.deadline_s)
    kept = await parts.operations.ask(endpoint, operation, request[BY], deadline_ms=until_ms)
    return asked_answer(await wait_until_done(request, kept, wait_s))


async def list_operations(request: web.Request) -> web.Response:
    """GET operations?endpoint=&status=&operation=&q=&after=&limit="""
    return json_answer(await _page(request, request.query.get("endpoint", "")))


async def list_of_device(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}/operations?status=&operation=&q=&after=&limit="""
    device = await devices.device(request.app[PARTS], requests.endpoint(request))
    return json_answer(await _page(request, device.endpoint))


async def show(request: web.Request) -> web.Response:
    """GET operations/{id}?wait="""
    wait_s, kept = requests.wait_s(request), await _operation(request)
    kept = await wait_until_done(request, kept, wait_s)
    return json_answer(detail_of(kept, await request.app[PARTS].reader.attempts(kept.id)))


async def cancel(request: web.Request) -> web.Response:
    """DELETE operations/{id}"""
    kept = await _operation(request)
    if kept.done:
        raise UsageError(
            "operation_done",
            f"operation {kept.id} is {kept.status.value}",
            "what is done cannot be cancelled; what it did stays done",
        )
    return json_answer(state_of(await request.app[PARTS].operations.cancel(kept.id)))


async def retry(request: web.Request) -> web.Response:
    """POST operations/{id}/retry?wait="""
    wait_s, kept = requests.wait_s(request), await _operation(request)
    again = await request.app[PARTS].operations.retry(kept.id, request[BY])
    return asked_answer(await wait_until_done(request, again, wait_s))


def asked_answer(kept: EndpointOperation) -> web.Response:
    """How an operation stands that was just asked for, and where it is seen from now on."""
    response = json_answer(state_of(kept), HTTPStatus.OK if kept.done else HTTPStatus.ACCEPTED)
    response.headers["Location"] = f"/api/v1/operations/{kept.id}"
    return response


async def _page(request: web.Request, endpoint: str) -> OperationList:
    question = OperationQuestion(
        endpoint=endpoint,
        status=requests.one_of(request, "status", STATUSES),
        kind=requests.one_of(request, "operation", KINDS),
        search=requests.search(request),
        before_id=requests.whole_or_none(request, "after", 1, MAX_ID),
    )
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    found, following = await request.app[PARTS].reader.operations(question, limit)
    return OperationList([state_of(kept) for kept in found], following)


async def _operation(request: web.Request) -> EndpointOperation:
    text = request.match_info["id"]
    if requests.is_id(text):
        kept = await request.app[PARTS].reader.operation(int(text))
        if kept is not None:
            return kept
    raise UsageError(
        "operation_missing",
        f"there is no operation {clean(text, 40)}",
        "GET operations lists them; of each device the oldest that are done are dropped",
    )
