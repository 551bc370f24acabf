"""Firmware updates of devices over REST: asked for, followed, cancelled, tried again."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.firmware import FirmwareUpdate
from ..db.update_reads import DONE_WORD, UNFINISHED_WORD, UNSUCCESSFUL_WORD, UpdateQuestion
from ..errors import UsageError, clean
from ..lwm2m.firmware import UpdateState
from . import requests
from .answers import json_answer
from .firmware import UpdateDetail, UpdateEntry, UpdateRequest, update_detail, update_entry, wish_of
from .guard import BY, DETAIL
from .ports import PARTS, Parts
from .ports_firmware import Wish
from .routes import DEFAULT_LIMIT, MAX_ID, MAX_LIMIT, Answer, Query, Route, get, paging, search

TAG: Final = "firmware"
STATES: Final = (*(one.value for one in UpdateState), UNFINISHED_WORD, DONE_WORD, UNSUCCESSFUL_WORD)
ASKED: Final = (
    Answer(
        UpdateEntry,
        HTTPStatus.CREATED,
        "It is on disk, and begins when the device listens",
        headers={"Location": "Where the update is seen from now on"},
    ),
)


@dataclass(frozen=True, slots=True)
class UpdateList:
    """A page of updates, newest first; `next` goes into `?after=` for the following one."""

    items: list[UpdateEntry]
    next: int | None


def routes() -> list[Route]:
    one, operator = "/api/v1/updates/{id}", Role.OPERATOR
    return [
        Route(
            "POST",
            "/api/v1/endpoints/{endpoint}/updates",
            ask,
            "Give a device a firmware",
            TAG,
            ASKED,
            body=UpdateRequest,
            needs=operator,
        ),
        get(
            "/api/v1/updates",
            list_updates,
            "Firmware updates of devices, newest first",
            TAG,
            UpdateList,
            Query("endpoint", "Those of this device"),
            Query("firmware", "Those of this package, by its id", int, low=1, high=MAX_ID),
            Query("campaign", "Those of this campaign, by its id", int, low=1, high=MAX_ID),
            Query("state", "Where it stands: a state, or unfinished, done or unsuccessful", values=STATES),
            search("names and labels of devices, versions, who asked, and why it stands there"),
            *paging(int),
        ),
        get(one, show, "An update with what happened to it", TAG, UpdateDetail),
        Route(
            "DELETE",
            one,
            cancel,
            "End an update; one that is being installed cannot be ended",
            TAG,
            (Answer(UpdateEntry),),
            needs=operator,
        ),
        Route(
            "POST",
            f"{one}/retry",
            retry,
            "Give the device the same firmware again: a new update, for one that has ended",
            TAG,
            ASKED,
            needs=operator,
        ),
    ]


async def ask(request: web.Request) -> web.Response:
    """POST endpoints/{endpoint}/updates {"firmware", "delivery", "instance", "anyway"}"""
    endpoint, wanted = requests.endpoint(request), await requests.body(request, UpdateRequest)
    return await _asked(request, endpoint, wanted.firmware, wish_of(wanted))


async def list_updates(request: web.Request) -> web.Response:
    """GET updates?endpoint=&firmware=&campaign=&state=&q=&after=&limit="""
    parts = request.app[PARTS]
    question = UpdateQuestion(
        endpoint=request.query.get("endpoint", ""),
        firmware_id=requests.whole_or_none(request, "firmware", 1, MAX_ID) or 0,
        campaign_id=requests.whole_or_none(request, "campaign", 1, MAX_ID) or 0,
        state=requests.one_of(request, "state", STATES),
        search=requests.search(request),
        before_id=requests.whole_or_none(request, "after", 1, MAX_ID),
    )
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    found, following = await parts.reader.updates(question, limit)
    return json_answer(UpdateList([update_entry(parts, one.update, one.label) for one in found], following))


async def show(request: web.Request) -> web.Response:
    """GET updates/{id}"""
    parts, kept = request.app[PARTS], await _update(request)
    steps = await parts.reader.update_steps(kept.id)
    return json_answer(update_detail(parts, kept, await _label(parts, kept.endpoint), steps))


async def cancel(request: web.Request) -> web.Response:
    """DELETE updates/{id}"""
    parts, kept = request.app[PARTS], await _update(request)
    _check_unfinished(kept)
    request[DETAIL] = kept.endpoint
    ended = await parts.firmware.cancel(kept.id)
    return json_answer(update_entry(parts, ended, await _label(parts, kept.endpoint)))


async def retry(request: web.Request) -> web.Response:
    """POST updates/{id}/retry"""
    kept = await _update(request)
    if not kept.done:
        raise UsageError(
            "update_unfinished",
            f"update {kept.id} is {kept.state.value}",
            "wait until it has ended, or cancel it",
        )
    # Whoever asked for it wanted it for this device, whatever the package says of others.
    wish = Wish(kept.wanted, kept.instance, anyway=True)
    return await _asked(request, kept.endpoint, kept.firmware_id, wish)


async def _asked(request: web.Request, endpoint: str, firmware_id: int, wish: Wish) -> web.Response:
    parts = request.app[PARTS]
    kept = await parts.firmware.update(endpoint, firmware_id, wish, request[BY])
    entry = update_entry(parts, kept, await _label(parts, endpoint))
    # The address names the device, but for another try of an update.
    named = "endpoint" in request.match_info
    request[DETAIL] = entry.version if named else f"{endpoint} {entry.version}"
    response = json_answer(entry, HTTPStatus.CREATED)
    response.headers["Location"] = f"/api/v1/updates/{kept.id}"
    return response


async def _update(request: web.Request) -> FirmwareUpdate:
    """The update in the address, as it stands this moment."""
    parts, text = request.app[PARTS], request.match_info["id"]
    if requests.is_id(text):
        kept = parts.firmware.live(int(text)) or await parts.reader.update(int(text))
        if kept is not None:
            return kept
    raise UsageError("update_unknown", f"there is no update {clean(text, 40)}", "GET updates lists them")


async def _label(parts: Parts, endpoint: str) -> str:
    row = await parts.reader.endpoint(endpoint)
    return row.label if row is not None else ""


def _check_unfinished(kept: FirmwareUpdate) -> None:
    if kept.done:
        raise UsageError(
            "update_done",
            f"update {kept.id} is {kept.state.value}",
            "what is over cannot be cancelled; what it did stays done",
        )
