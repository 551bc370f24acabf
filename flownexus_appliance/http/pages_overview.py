"""The overview: the fleet at a glance, the box's health, and the devices with their newest values."""

from typing import Final

from aiohttp import web

from . import api_certificates, devices, requests, views_overview, wording
from .devices import Device
from .pages_frame import render
from .ports import PARTS, Parts
from .routes import Place, page
from .views_overview import FAILED_SINCE_MS, SORTS, DeviceCard, Group, Health, View

PAGE_SIZE: Final = 50
MAX_PAGE: Final = 100_000
SCRIPT: Final = "js/overview.js"


def routes() -> list[Place]:
    return [page("/", overview)]


async def overview(request: web.Request) -> web.Response:
    """The fleet at a glance: ?q=, ?state=, ?tag=, ?sort=, ?group=tag, ?page="""
    parts = request.app[PARTS]
    view = View(
        question=requests.question(request, tuple(SORTS)),
        grouped=bool(requests.one_of(request, "group", ("tag",))),
        page=requests.whole(request, "page", 1, 1, MAX_PAGE),
    )
    # Before anything is read: what happens from here on, the stream repeats.
    position = parts.hub.last_number
    tags = await parts.reader.tags()
    groups, entries, total = await _found(parts, view)
    health = await _health(parts)
    first, others = views_overview.chips(view, tags)
    counts = {state: parts.fleet.counts().get(state, 0) for state in wording.STATES}
    return render(
        request,
        "overview.html",
        stream_after=position,
        modules=parts.assets.modules(SCRIPT),
        vitals=views_overview.vitals(health),
        view=view,
        question=view.question,
        sorts=SORTS,
        chips=first,
        other_chips=others,
        groups=groups,
        counts=counts,
        fleet_size=sum(counts.values()),
        pages=max(1, -(-entries // PAGE_SIZE)),
        total=total,
        entries=entries,
        first=(view.page - 1) * PAGE_SIZE + 1,
        last=(view.page - 1) * PAGE_SIZE + sum(len(group.cards) for group in groups),
        coap_uris=parts.coap_uris,
        plain=parts.plain,
        doubt=health.doubt,
        enrolment=parts.credentials.enrolment(),
    )


async def _found(parts: Parts, view: View) -> tuple[list[Group], int, int]:
    """The cards of a page under their headings, and how many cards and devices there are on all pages."""
    if view.grouped:
        page = await devices.page_grouped(parts, view.question, view.page, PAGE_SIZE)
        cards = await _cards(parts, [device for group in page.groups for device in group.devices])
        groups = [
            Group(group.tag, group.total, tuple(cards[device.endpoint] for device in group.devices))
            for group in page.groups
        ]
        return groups, page.entries, page.devices
    found, total = await devices.page_numbered(parts, view.question, view.page, PAGE_SIZE)
    cards = await _cards(parts, found)
    shown = [Group("", total, tuple(cards[device.endpoint] for device in found))] if found else []
    return shown, total, total


async def _cards(parts: Parts, found: list[Device]) -> dict[str, DeviceCard]:
    latest = await parts.reader.latest_of(list({device.endpoint for device in found}))
    known = {device.endpoint: device for device in found}
    return {name: views_overview.card(known[name], latest[name], parts.models) for name in known}


async def _health(parts: Parts) -> Health:
    now_ms = parts.now_ms()
    return Health(
        failed=await parts.reader.failed(now_ms - FAILED_SINCE_MS),
        waiting=sum(parts.operations.counts().values()),
        storage=await parts.reader.storage(),
        doubt=parts.certificates.doubt(),
        certificates=api_certificates.entries(parts),
        now_ms=now_ms,
    )
