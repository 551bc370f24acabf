"""Campaigns for people: making one in two steps, how far it has come, pausing, going on, stopping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.firmware import Firmware
from ..db.firmware_reads import RunningRow
from ..errors import ApplianceError, UsageError, clean
from ..lwm2m.firmware import CampaignState, Delivery, Reason
from ..lwm2m.paths import Path
from . import inputs, pages_forms, requests, views_campaigns, views_packages, views_updates
from .devices import collated
from .guard import BY, ROUTINE
from .pages_forms import Form, Problem
from .pages_frame import render
from .pages_updates import CAMPAIGN, PAGE_SIZE, PLACE, find, number_in
from .ports import PARTS, Parts
from .ports_firmware import CampaignPlan, Choice, Wish
from .routes import MAX_ID, Place, form, page
from .views_campaigns import CampaignView, campaign_view
from .views_firmware import plain_text
from .views_updates import Question, UpdateView

TAB: Final = "campaigns"
NEW: Final = "/firmware/campaigns/new"
MAX_AT_ONCE: Final = 500
USUAL: Final = CampaignPlan(0, Choice())
# Up to so many devices are offered to be ticked; more are named line by line.
MAX_TICKED: Final = 30
# Of those that a campaign will have, so many are named before it begins.
MAX_NAMED: Final = 50
NAMED: Final = "named"
# Which field of the form an error is about.
FIELDS: Final[Mapping[str, str]] = {
    "firmware_unknown": "firmware",
    "campaign_name_invalid": "name",
    "at_once_invalid": "at_once",
    "failure_limit_invalid": "failure_limit",
    "start_invalid": "starts",
    "value_invalid": "starts",
    "delivery_closed": "delivery",
    "instance_invalid": "instance",
    "path_invalid": "instance",
    **dict.fromkeys(
        (
            "endpoint_unknown",
            "endpoint_unseen",
            "object_missing",
            "firmware_not_for",
            "update_under_way",
        ),
        "endpoints",
    ),
}
# What the preview carries on to the next step.
CARRIED: Final = (
    "firmware",
    "name",
    "which",
    "model",
    "tag",
    "version",
    "anyway",
    "at_once",
    "failure_limit",
    "starts",
    "delivery",
    "instance",
)
REASONS: Final = tuple(reason.value for reason in Reason if reason.value)
MAX_RESULT: Final = 255
STEPS: Final[Mapping[str, CampaignState]] = {
    "pause": CampaignState.PAUSED,
    "resume": CampaignState.RUNNING,
    "stop": CampaignState.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A device that can be ticked."""

    endpoint: str
    title: str
    version: str
    ticked: bool


def routes() -> list[Place]:
    return [
        page("/firmware/campaigns", show_all),
        form("/firmware/campaigns", begin, Role.OPERATOR),
        page(NEW, ask, Role.OPERATOR),
        form(NEW, preview, Role.OPERATOR),
        page("/firmware/campaigns/{id}", show_one),
        form("/firmware/campaigns/{id}/pause", pause, Role.OPERATOR),
        form("/firmware/campaigns/{id}/resume", resume, Role.OPERATOR),
        page("/firmware/campaigns/{id}/stop", ask_stop, Role.OPERATOR),
        form("/firmware/campaigns/{id}/stop", stop, Role.OPERATOR),
    ]


async def show_all(request: web.Request) -> web.Response:
    """All campaigns, newest first: ?after="""
    parts = request.app[PARTS]
    after = requests.whole(request, "after", 0, 1, MAX_ID)
    position = parts.hub.last_number
    found, following = await parts.reader.campaigns(after or None, PAGE_SIZE)
    counts = await parts.reader.campaign_counts([one.id for one in found])
    return render(
        request,
        "campaigns.html",
        place=PLACE,
        tab=TAB,
        stream_after=position,
        campaigns=[campaign_view(parts, one, counts[one.id]) for one in found],
        after=after,
        following=following,
        packages=len(parts.firmware.all()),
    )


async def ask(request: web.Request) -> web.Response:
    """The form: ?firmware=, ?model=, ?tag=, ?version= and ?endpoint= fill it in."""
    names = request.query.getall("endpoint", [])
    fields = {name: requests.words(request, name) for name in ("firmware", "model", "tag", "version")}
    fields |= {"endpoints": "\n".join(names), "which": NAMED if names else ""}
    return await _form(request, Form(fields))


async def preview(request: web.Request) -> web.Response:
    """Which devices it will have, before it begins; or, asked by "edit", the form again."""
    sent = await pages_forms.read(request)
    request[ROUTINE] = True  # nothing is changed yet
    if sent.text("edit"):
        return await _form(request, sent)
    parts = request.app[PARTS]
    try:
        plan = _plan(sent)
        endpoints, left_out = await parts.firmware.preview(plan)
        firmware = parts.firmware.get(plan.firmware_id)
    except ApplianceError as error:
        return await _form(request, sent, Problem.of(error, FIELDS))
    carried = {name: sent.text(name) for name in CARRIED}
    carried["endpoints"] = "\n".join(_named(sent))
    return render(
        request,
        "campaign_preview.html",
        place=PLACE,
        tab=TAB,
        plan=plan,
        firmware_kept=firmware,
        endpoints=endpoints[:MAX_NAMED],
        labels=await views_updates.labels_of(parts, endpoints[:MAX_NAMED]),
        count=len(endpoints),
        left_out=views_campaigns.left_out_views(left_out),
        left_count=len(left_out),
        max_named=MAX_NAMED,
        fields={name: value for name, value in carried.items() if value},
    )


async def begin(request: web.Request) -> web.Response:
    """Make it. Where it cannot be made, the form comes back as it was filled in."""
    sent = await pages_forms.read(request)
    try:
        begun = await request.app[PARTS].firmware.begin(_plan(sent), request[BY])
    except ApplianceError as error:
        return await _form(request, sent, Problem.of(error, FIELDS))
    return pages_forms.see_other(f"/firmware/campaigns/{begun.campaign.id}")


async def show_one(request: web.Request) -> web.Response:
    """One campaign and its devices: ?state=, ?q=, ?reason=, ?result=, ?after="""
    return await _one(request, number_in(request, CAMPAIGN))


async def pause(request: web.Request) -> web.Response:
    """Begin no more devices."""
    return await _steer(request, "pause")


async def resume(request: web.Request) -> web.Response:
    """Go on, or begin before its time."""
    return await _steer(request, "resume")


async def ask_stop(request: web.Request) -> web.Response:
    """What stopping means, before it is done."""
    view = await _view(request.app[PARTS], number_in(request, CAMPAIGN))
    if "stop" not in view.steps:
        return pages_forms.see_other(view.url)  # it has ended meanwhile
    return render(request, "stop_campaign.html", place=PLACE, tab=TAB, view=view, problem=None)


async def stop(request: web.Request) -> web.Response:
    """End it for good."""
    return await _steer(request, "stop")


async def _steer(request: web.Request, step: str) -> web.Response:
    await pages_forms.read(request)
    number = number_in(request, CAMPAIGN)
    try:
        await request.app[PARTS].firmware.steer(number, STEPS[step])
    except ApplianceError as error:
        return await _one(request, number, Problem.of(error, {}))
    return pages_forms.see_other(f"/firmware/campaigns/{number}")


async def _view(parts: Parts, number: int) -> CampaignView:
    kept = await parts.reader.campaign(number)
    if kept is None:
        raise UsageError("campaign_unknown", f"there is no campaign {number}", "the list has them")
    counts = await parts.reader.campaign_counts([number])
    return campaign_view(parts, kept, counts[number])


async def _one(request: web.Request, number: int, problem: Problem | None = None) -> web.Response:
    parts = request.app[PARTS]
    position = parts.hub.last_number
    view = await _view(parts, number)
    part = requests.one_of(request, "state", tuple(views_campaigns.PARTS_OF))
    search = requests.search(request)
    after = requests.whole(request, "after", 0, 1, MAX_ID)
    state = views_campaigns.STATE_OF_PART[part]
    reason = requests.one_of(request, "reason", tuple(REASONS))
    result = requests.whole_or_none(request, "result", 0, MAX_RESULT)
    question = Question(state, campaign=number, after=after, reason=reason, result=result)
    found, following = await find(parts, question, search=search)
    if not (part or search or after or reason or result is not None):
        found = await _moving_first(parts, number, found)
    failures = await parts.reader.campaign_failures(number)
    return render(
        request,
        "campaign.html",
        place=PLACE,
        tab=TAB,
        status=200 if problem is None else problem.status,
        stream_after=position,
        view=view,
        part=part,
        search=search,
        after=after,
        reason=reason,
        result=result,
        why=views_campaigns.failure_text(Reason(reason), result) if reason else "",
        failures=views_campaigns.failure_views(view, failures),
        updates=found,
        following=following,
        instance=views_updates.instance_text(view.kept.instance),
        problem=problem,
    )


async def _moving_first(parts: Parts, number: int, found: Sequence[UpdateView]) -> list[UpdateView]:
    """The first page of a campaign's devices: those under way stand on top, wherever they are in the list."""
    state = views_campaigns.STATE_OF_PART["moving"]
    moving, _ = await find(parts, Question(state, campaign=number))
    known = {one.kept.id for one in moving}
    return [*moving, *(one for one in found if one.kept.id not in known)]


def _plan(sent: Form) -> CampaignPlan:
    """What a form asks for; raises UsageError as FIELDS has them."""
    named = sent.text("which") == NAMED
    names = _named(sent)
    if named and not names:
        raise UsageError("endpoint_unknown", "no device is named", "name one at least")
    choice = (
        Choice(endpoints=names)
        if named
        else Choice(model=sent.text("model"), tag=sent.text("tag"), version=sent.text("version"))
    )
    limit = sent.whole("failure_limit", 0, 100, "failure_limit_invalid")
    starts = sent.text("starts")
    return CampaignPlan(
        firmware_id=firmware_of(sent),
        choice=choice,
        name=sent.text("name"),
        wish=wish_of(sent),
        at_once=sent.whole("at_once", 1, MAX_AT_ONCE, "at_once_invalid") or USUAL.at_once,
        failure_limit=USUAL.failure_limit if limit is None else limit,
        starts_ms=inputs.seconds_of(starts) * 1000 if starts else 0,
    )


def firmware_of(sent: Form) -> int:
    """The package that a form chose; raises UsageError("firmware_unknown")."""
    text = sent.text("firmware")
    if requests.is_id(text):
        return int(text)
    raise UsageError("firmware_unknown", "no package is chosen", "choose one")


def wish_of(sent: Form) -> Wish:
    """How a form wants a firmware to get there; raises UsageError: body_invalid, path_invalid."""
    delivery, instance = sent.text("delivery"), sent.text("instance")
    if delivery:
        pages_forms.chosen(delivery, tuple(Delivery), "delivery")
    if instance:
        path = Path.parse(instance, UsageError)
        if len(path) != 2:
            raise UsageError(
                "path_invalid", f"not an instance: {clean(instance, 40)}", "write it as 5/0 or 33629/1"
            )
    return Wish(
        Delivery(delivery) if delivery else None,
        Path.parse(instance, UsageError) if instance else None,
        anyway=bool(sent.text("anyway")),
    )


def _named(sent: Form) -> tuple[str, ...]:
    """The devices that were ticked, and those of the lines."""
    ticked = [value for name, value in sent.fields.items() if name.startswith("tick-") and value]
    lines = [line.strip() for line in sent.fields.get("endpoints", "").splitlines()]
    return tuple(dict.fromkeys([*ticked, *filter(None, lines)]))


async def _form(request: web.Request, sent: Form, problem: Problem | None = None) -> web.Response:
    parts = request.app[PARTS]
    packages = parts.firmware.all()
    rows = await parts.reader.running()
    known = views_packages.known(rows, await parts.reader.tags(), packages)
    names = _named(sent)
    ticks = _ticks(rows, names)
    return render(
        request,
        "campaign_new.html",
        place=PLACE,
        tab=TAB,
        status=200 if problem is None else problem.status,
        packages=packages,
        chosen=_chosen(packages, sent),
        known=known,
        form=sent,
        usual=USUAL,
        ticks=ticks,
        # Who names more than there is to tick, or something unknown, finds it where it was written.
        lines="" if ticks and {tick.endpoint for tick in ticks} >= set(names) else "\n".join(names),
        deliveries=views_updates.delivery_options(),
        devices=len(rows),
        max_at_once=MAX_AT_ONCE,
        problem=problem,
    )


def _ticks(rows: Sequence[RunningRow], names: Sequence[str]) -> list[Tick]:
    if len(rows) > MAX_TICKED:
        return []
    ordered = sorted(rows, key=lambda row: (collated(row.title), row.endpoint))
    return [Tick(row.endpoint, row.title, plain_text(row.version), row.endpoint in names) for row in ordered]


def _chosen(packages: Sequence[Firmware], sent: Form) -> str:
    """The package that stands in the form: the one asked for, else the newest."""
    wanted = sent.text("firmware")
    if any(str(one.id) == wanted for one in packages):
        return wanted
    return str(packages[0].id) if packages else ""
