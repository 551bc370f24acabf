"""Firmware campaigns over REST: a firmware for many devices, a few at a time."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.firmware import Campaign
from ..db.update_reads import DONE_WORD, UNFINISHED_WORD
from ..errors import UsageError, clean
from ..lwm2m.firmware import CampaignState
from . import requests
from .answers import json_answer
from .firmware import (
    STEERED,
    CampaignBegun,
    CampaignChange,
    CampaignEntry,
    CampaignPreview,
    CampaignRequest,
    campaign_entry,
    left_out_states,
    plan_of,
)
from .guard import BY, DETAIL, ROUTINE
from .ports import PARTS, Parts
from .routes import DEFAULT_LIMIT, MAX_ID, MAX_LIMIT, Answer, Query, Route, get, paging

TAG: Final = "firmware"
STATES: Final = (*(one.value for one in CampaignState), UNFINISHED_WORD, DONE_WORD)


@dataclass(frozen=True, slots=True)
class CampaignList:
    """A page of campaigns, newest first; `next` goes into `?after=` for the following one."""

    items: list[CampaignEntry]
    next: int | None


def routes() -> list[Route]:
    listed, one, operator = "/api/v1/campaigns", "/api/v1/campaigns/{id}", Role.OPERATOR
    return [
        get(
            listed,
            list_campaigns,
            "Firmware campaigns, newest first",
            TAG,
            CampaignList,
            Query("state", "Where it stands: a state, or unfinished or done", values=STATES),
            *paging(int),
        ),
        Route(
            "POST",
            listed,
            begin,
            "Give many devices a firmware",
            TAG,
            (
                Answer(
                    CampaignBegun,
                    HTTPStatus.CREATED,
                    "It is on disk",
                    headers={"Location": "Where the campaign is seen from now on"},
                ),
            ),
            body=CampaignRequest,
            needs=operator,
        ),
        Route(
            "POST",
            f"{listed}/preview",
            preview,
            "Which devices a campaign would have; nothing is done",
            TAG,
            (Answer(CampaignPreview),),
            body=CampaignRequest,
            needs=operator,
        ),
        get(one, show, "A campaign", TAG, CampaignEntry),
        Route(
            "PATCH",
            one,
            steer,
            "Pause a campaign, have it go on, or stop it for good",
            TAG,
            (Answer(CampaignEntry),),
            body=CampaignChange,
            needs=operator,
        ),
    ]


async def list_campaigns(request: web.Request) -> web.Response:
    """GET campaigns?state=&after=&limit="""
    parts, state = request.app[PARTS], requests.one_of(request, "state", STATES)
    before = requests.whole_or_none(request, "after", 1, MAX_ID)
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    found, following = await parts.reader.campaigns(before, limit, state)
    counts = await parts.reader.campaign_counts([kept.id for kept in found])
    return json_answer(
        CampaignList([campaign_entry(parts, kept, counts[kept.id]) for kept in found], following)
    )


async def begin(request: web.Request) -> web.Response:
    """POST campaigns {"firmware", "name", "endpoints" | "model", "tag", "version", ...}"""
    parts, wanted = request.app[PARTS], await requests.body(request, CampaignRequest)
    begun = await parts.firmware.begin(plan_of(wanted), request[BY])
    request[DETAIL] = f"{begun.campaign.id} {parts.firmware.get(wanted.firmware).version}"
    entry = await _entry(parts, begun.campaign)
    answer = CampaignBegun(entry, begun.devices, left_out_states(begun.left_out))
    response = json_answer(answer, HTTPStatus.CREATED)
    response.headers["Location"] = f"/api/v1/campaigns/{begun.campaign.id}"
    return response


async def preview(request: web.Request) -> web.Response:
    """POST campaigns/preview, as POST campaigns"""
    request[ROUTINE] = True
    wanted = await requests.body(request, CampaignRequest)
    chosen, left_out = await request.app[PARTS].firmware.preview(plan_of(wanted))
    return json_answer(CampaignPreview(len(chosen), list(chosen), left_out_states(left_out)))


async def show(request: web.Request) -> web.Response:
    """GET campaigns/{id}"""
    return json_answer(await _entry(request.app[PARTS], await _campaign(request)))


async def steer(request: web.Request) -> web.Response:
    """PATCH campaigns/{id} {"state": "PAUSED"}"""
    parts, wanted = request.app[PARTS], await requests.body(request, CampaignChange)
    if wanted.state not in STEERED:
        raise UsageError(
            "body_invalid",
            f"a campaign cannot be made {clean(wanted.state, 40)}",
            f"give one of {', '.join(STEERED)}",
        )
    kept = await _campaign(request)
    if kept.done:
        raise UsageError("campaign_ended", f"campaign {kept.id} is {kept.state.value}", "begin another one")
    request[DETAIL] = wanted.state
    return json_answer(await _entry(parts, await parts.firmware.steer(kept.id, CampaignState(wanted.state))))


async def _entry(parts: Parts, kept: Campaign) -> CampaignEntry:
    counts = await parts.reader.campaign_counts([kept.id])
    return campaign_entry(parts, kept, counts[kept.id])


async def _campaign(request: web.Request) -> Campaign:
    """The campaign in the address, as it stands this moment."""
    parts, text = request.app[PARTS], request.match_info["id"]
    if requests.is_id(text):
        kept = parts.firmware.campaign(int(text)) or await parts.reader.campaign(int(text))
        if kept is not None:
            return kept
    raise UsageError(
        "campaign_unknown", f"there is no campaign {clean(text, 40)}", "GET campaigns lists them"
    )
