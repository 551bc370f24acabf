"""The pages for people. They read without JavaScript; with it, the same page stays current."""

from typing import Any, Final

from aiohttp import web

from ..db.operation_reads import OperationQuestion
from ..errors import UsageError, clean
from . import (
    credentials,
    devices,
    pages_bootstrap,
    pages_certificates,
    pages_credentials,
    pages_enrolment,
    pages_operations,
    pages_resources,
    requests,
    views,
    views_operations,
    views_tree,
    views_trust,
    wording,
)
from .api_bootstrap import entry as bootstrap_entry
from .credentials import CredentialQuestion
from .pages_frame import render, set_up_templates
from .pages_once import ONCE, Once
from .ports import PARTS, Parts
from .routes import MAX_ID

PAGE_SIZE: Final = 50
MAX_PAGE: Final = 100_000
MAX_CREDENTIALS: Final = 50
TIMELINE: Final = 10


def set_up(app: web.Application, parts: Parts) -> None:
    """Give the application what the pages need besides their routes."""
    set_up_templates(app, parts)
    app[ONCE] = Once(parts.now_ms)


def routes() -> list[web.RouteDef]:
    return [
        web.get("/", overview),
        web.get("/devices/{endpoint}", device_page),
        *pages_credentials.routes(),
        *pages_enrolment.routes(),
        *pages_certificates.routes(),
        *pages_bootstrap.routes(),
        *pages_operations.routes(),
        *pages_resources.routes(),
    ]


async def overview(request: web.Request) -> web.Response:
    """The fleet at a glance: ?q=, ?state=, ?page="""
    parts = request.app[PARTS]
    number = requests.whole(request, "page", 1, 1, MAX_PAGE)
    question = requests.question(request)
    # Before anything is read: what happens from here on, the stream repeats.
    position = parts.hub.last_number
    found, total = await devices.page_numbered(parts, question, number, PAGE_SIZE)
    latest = await parts.reader.latest_of([one.endpoint for one in found])
    cards = [views.card(one, latest[one.endpoint], parts.models) for one in found]
    counts = {state: parts.fleet.counts().get(state, 0) for state in wording.STATES}
    return _page(
        request,
        "overview.html",
        position,
        cards=cards,
        counts=counts,
        fleet_size=sum(counts.values()),
        question=question,
        number=number,
        pages=max(1, -(-total // PAGE_SIZE)),
        total=total,
        first=(number - 1) * PAGE_SIZE + 1,
        coap_uris=parts.coap_uris,
        plain=parts.plain,
        doubt=parts.certificates.doubt(),
        enrolment=parts.credentials.enrolment(),
    )


async def device_page(request: web.Request) -> web.Response:
    """One device in full: ?range=, ?operation= for what a form has just asked for."""
    parts = request.app[PARTS]
    chosen = request.query.get("range", "")
    if chosen and chosen not in views.RANGES:
        raise UsageError(
            "query_invalid",
            f"range is not usable: {clean(chosen, 40)}",
            f"give one of {', '.join(views.RANGES)}",
        )
    position = parts.hub.last_number
    device = await devices.device(parts, requests.endpoint(request))
    latest = await parts.reader.latest(device.endpoint)
    found = views_tree.known(parts, device, latest)
    question = OperationQuestion(endpoint=device.endpoint)
    timeline, _ = await parts.reader.operations(question, TIMELINE)
    entries, more = await credentials.page_before(
        parts, CredentialQuestion(endpoint=device.endpoint), MAX_ID, MAX_CREDENTIALS
    )
    held = views_trust.credential_views(entries)
    return _page(
        request,
        "device.html",
        position,
        page=views.device_page(device, latest, found.readings, parts.now_ms(), chosen),
        objects=views_tree.tree(found),
        observations=views_tree.observations(found),
        wait=views_operations.wait_of(parts.fleet, device.endpoint),
        told=await pages_operations.told(request, device.endpoint),
        timeline=views_operations.operation_views(parts, timeline),
        operations_url=views_operations.listing(question),
        connection=views_trust.connection(device, parts.fleet.proof(device.endpoint)),
        credentials=[view for view in held if view.entry.good],
        ended=[view for view in held if not view.entry.good],
        more_ended=more is not None,
        bootstrap=bootstrap_entry(parts, device.endpoint),
    )


def _page(request: web.Request, template: str, position: int, **context: Any) -> web.Response:
    """A page that the stream keeps current from `position` on."""
    return render(request, template, stream_after=position, **context)
