"""Updates for people: which device was given which firmware, and what came of it; ending, trying again."""

from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.firmware import FirmwareUpdate
from ..db.update_reads import ListedUpdate, UpdateQuestion
from ..errors import ApplianceError, UsageError, clean
from ..lwm2m.firmware import FIRMWARE_UPDATE
from . import pages_forms, requests, views_updates
from .guard import BY
from .language import gettext
from .pages_forms import Problem
from .pages_frame import render
from .ports import PARTS, Parts
from .ports_firmware import Wish
from .routes import MAX_ID, Place, form, page
from .views_campaigns import campaign_view
from .views_updates import Question, UpdateView
from .wording import MEANINGS

PLACE: Final = "firmware"
TAB: Final = "updates"
PAGE_SIZE: Final = 50
# What the filters offer: older ones are reached from their own pages.
MAX_CAMPAIGNS: Final = 100
UPDATE: Final = "update"
CAMPAIGN: Final = "campaign"


def routes() -> list[Place]:
    return [
        page("/firmware/updates", show_all),
        page("/firmware/updates/{id}", show_one),
        form("/firmware/updates/{id}/cancel", cancel, Role.OPERATOR),
        form("/firmware/updates/{id}/retry", retry, Role.OPERATOR),
    ]


async def show_all(request: web.Request) -> web.Response:
    """All updates, newest first: ?state=, ?device=, ?campaign=, ?firmware=, ?after="""
    parts = request.app[PARTS]
    question = _question(request)
    position = parts.hub.last_number
    found, following = await find(parts, question)
    campaigns, _ = await parts.reader.campaigns(None, MAX_CAMPAIGNS)
    return render(
        request,
        "updates.html",
        place=PLACE,
        tab=TAB,
        stream_after=position,
        question=question,
        groups=views_updates.GROUPS,
        packages=parts.firmware.all(),
        campaigns=campaigns,
        updates=found,
        following=following,
    )


async def show_one(request: web.Request) -> web.Response:
    """One update: where it stands, step by step, and all that happened."""
    return await _one(request, number_in(request, UPDATE))


async def cancel(request: web.Request) -> web.Response:
    """End one that has not ended."""
    await pages_forms.read(request)
    number = number_in(request, UPDATE)
    try:
        await request.app[PARTS].firmware.cancel(number)
    except ApplianceError as error:
        return await _one(request, number, Problem.of(error, {}))
    return pages_forms.see_other(f"/firmware/updates/{number}")


async def retry(request: web.Request) -> web.Response:
    """The same for the same device again, as a new update."""
    await pages_forms.read(request)
    parts = request.app[PARTS]
    number = number_in(request, UPDATE)
    before = await _kept(parts, number)
    # Who asks again has decided already that it is for this device.
    wish = Wish(before.wanted, before.instance, anyway=True)
    try:
        begun = await parts.firmware.update(before.endpoint, before.firmware_id, wish, request[BY])
    except ApplianceError as error:
        return await _one(request, number, Problem.of(error, {}))
    return pages_forms.see_other(f"/firmware/updates/{begun.id}")


async def find(
    parts: Parts, question: Question, limit: int = PAGE_SIZE, search: str = ""
) -> tuple[list[UpdateView], int | None]:
    """The updates that answer a question, newest first, and where to go on."""
    asked = UpdateQuestion(
        endpoint=question.endpoint,
        firmware_id=question.firmware,
        campaign_id=question.campaign,
        state=question.state,
        search=search,
        reason=question.reason,
        result=question.result,
        before_id=question.after or None,
    )
    found, following = await parts.reader.updates(asked, limit)
    return listed(parts, found), following


def listed(parts: Parts, found: list[ListedUpdate]) -> list[UpdateView]:
    """Updates of a list, as they stand this moment."""
    return [views_updates.update_view(parts, one.update, one.label) for one in found]


def number_in(request: web.Request, what: str) -> int:
    """The number in the address; raises UsageError: update_unknown, campaign_unknown, firmware_unknown."""
    text = request.match_info["id"]
    if requests.is_id(text):
        return int(text)
    raise UsageError(f"{what}_unknown", f"there is no {what} {clean(text, 40)}", "the list has them")


async def _kept(parts: Parts, number: int) -> FirmwareUpdate:
    kept = await parts.reader.update(number)
    if kept is None:
        raise UsageError("update_unknown", f"there is no update {number}", "the list has them")
    return kept


async def _one(request: web.Request, number: int, problem: Problem | None = None) -> web.Response:
    parts = request.app[PARTS]
    position = parts.hub.last_number
    kept = await _kept(parts, number)
    labels = await views_updates.labels_of(parts, [kept.endpoint])
    view = views_updates.update_view(parts, kept, labels.get(kept.endpoint, ""))
    steps = await parts.reader.update_steps(number)
    campaign = await parts.reader.campaign(kept.campaign_id) if kept.campaign_id else None
    of_campaign = campaign_view(parts, campaign, {}) if campaign is not None else None
    result = MEANINGS[FIRMWARE_UPDATE, 5].get(str(view.kept.result), "")
    return render(
        request,
        "update.html",
        place=PLACE,
        tab=TAB,
        status=200 if problem is None else problem.status,
        stream_after=position,
        view=view,
        way=views_updates.way(view.kept, steps),
        happened=views_updates.happened(view.kept, steps),
        campaign=of_campaign,
        part=views_updates.instance_text(view.kept.instance),
        result=gettext(result),
        wait=views_updates.wait_text(
            parts.fleet, view, of_campaign.kept.state if of_campaign is not None else None
        ),
        problem=problem,
    )


def _question(request: web.Request) -> Question:
    return Question(
        state=requests.one_of(request, "state", views_updates.STATES),
        endpoint=requests.words(request, "device"),
        campaign=_number(request, "campaign"),
        firmware=_number(request, "firmware"),
        after=_number(request, "after"),
    )


def _number(request: web.Request, name: str) -> int:
    # A select that asks for all sends an empty text.
    return requests.whole(request, name, 0, 1, MAX_ID) if request.query.get(name) else 0
