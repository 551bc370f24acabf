"""The pages for people. They read without JavaScript; with it, the same page stays current."""

from dataclasses import dataclass
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web

from .. import __version__
from ..errors import UsageError, clean
from . import devices, requests, views, wording
from .answers import page_answer
from .ports import PARTS, Parts

PAGE_SIZE: Final = 50
MAX_PAGE: Final = 100_000


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation; `name` marks the page that is open."""

    name: str
    title: str
    url: str
    icon: str


NAVIGATION: Final = (Place("overview", "Devices", "/", "grid"),)


def set_up_templates(app: web.Application, parts: Parts) -> None:
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("flownexus_appliance.http"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    # Texts are marked for translation from the first page on; the catalogue comes with a second language.
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(
        static=parts.assets.url,
        navigation=NAVIGATION,
        version=__version__,
        ago_text=wording.ago_text,
        moment_text=wording.moment_text,
        duration_text=wording.duration_text,
        states=wording.STATES,
        state_notes=wording.STATE_NOTES,
        content_formats=wording.CONTENT_FORMATS,
        transports=wording.TRANSPORTS,
        ranges=views.RANGES,
    )


def routes() -> list[web.RouteDef]:
    return [web.get("/", overview), web.get("/devices/{endpoint}", device_page)]


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
    )


async def device_page(request: web.Request) -> web.Response:
    """One device in full: ?range="""
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
    observed = parts.fleet.observed(device.endpoint)
    page = views.device_page(device, latest, parts.models, observed, parts.now_ms(), chosen)
    return _page(request, "device.html", position, page=page)


def _page(request: web.Request, template: str, position: int, **context: Any) -> web.Response:
    parts = request.app[PARTS]
    context |= {"now_ms": parts.now_ms(), "stream_after": position, "current": "overview"}
    return page_answer(aiohttp_jinja2.render_string(template, request, context))
