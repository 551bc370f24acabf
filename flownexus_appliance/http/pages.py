"""The pages for people. They read without JavaScript; with it, the same page stays current."""

from typing import Any, Final

from aiohttp import web

from ..db.operation_reads import OperationQuestion
from ..errors import UsageError, clean
from . import (
    credentials,
    devices,
    manifest,
    pages_about,
    pages_account,
    pages_audit,
    pages_bootstrap,
    pages_campaigns,
    pages_certificates,
    pages_compare,
    pages_credentials,
    pages_enrolment,
    pages_firmware,
    pages_help,
    pages_operations,
    pages_overview,
    pages_packages,
    pages_people,
    pages_resources,
    pages_sign_in,
    pages_system,
    pages_updates,
    requests,
    views,
    views_operations,
    views_tree,
    views_trust,
    views_updates,
)
from .api_bootstrap import entry as bootstrap_entry
from .credentials import CredentialQuestion
from .pages_frame import render, set_up_templates
from .pages_once import ONCE, Once
from .ports import PARTS, Parts
from .routes import MAX_ID, Place, page

MAX_CREDENTIALS: Final = 50
TIMELINE: Final = 10


def set_up(app: web.Application, parts: Parts) -> None:
    """Give the application what the pages need besides their routes."""
    set_up_templates(app, parts)
    app[ONCE] = Once(parts.now_ms)


def routes() -> list[Place]:
    return [
        *pages_overview.routes(),
        *pages_about.routes(),
        page("/devices/{endpoint}", device_page),
        *pages_compare.routes(),
        *pages_credentials.routes(),
        *pages_enrolment.routes(),
        *pages_certificates.routes(),
        *pages_bootstrap.routes(),
        *pages_firmware.routes(),
        *pages_packages.routes(),
        *pages_updates.routes(),
        *pages_campaigns.routes(),
        *pages_operations.routes(),
        *pages_resources.routes(),
        *pages_sign_in.routes(),
        *pages_account.routes(),
        *pages_people.routes(),
        *pages_audit.routes(),
        *pages_system.routes(),
        *pages_help.routes(),
        *manifest.routes(),
    ]


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
        firmware=await pages_firmware.device_card(parts, device, latest, found.readings),
        deliveries=views_updates.delivery_options(),
        connection=views_trust.connection(device, parts.fleet.proof(device.endpoint)),
        credentials=[view for view in held if view.entry.good],
        ended=[view for view in held if not view.entry.good],
        more_ended=more is not None,
        bootstrap=bootstrap_entry(parts, device.endpoint),
    )


def _page(request: web.Request, template: str, position: int, **context: Any) -> web.Response:
    """A page that the stream keeps current from `position` on."""
    return render(request, template, stream_after=position, **context)
