"""What firmware runs where, from what devices have told, and what each device can do about an update; and
giving one device a package."""

from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.reads import LatestValue
from ..errors import ApplianceError
from . import devices, pages_forms, requests, views_firmware, views_packages, views_updates
from .devices import Device
from .guard import BY
from .pages_campaigns import firmware_of, wish_of
from .pages_forms import Form, Problem
from .pages_frame import render
from .pages_updates import PLACE
from .ports import PARTS, Parts
from .routes import Place, form, page
from .views import Reading
from .views_firmware import FIRST_MODELS, FIRST_VERSIONS, UPDATE_STATES, Question
from .views_packages import DeviceFirmware
from .views_updates import UpdateView

PAGE_SIZE: Final = 50
MAX_PAGE: Final = 100_000
SCRIPT: Final = "js/firmware.js"
TAB: Final = "runs"
# Which field of the form for one device an error is about.
FIELDS: Final[Mapping[str, str]] = {
    "firmware_unknown": "firmware",
    "firmware_not_for": "firmware",
    "delivery_closed": "delivery",
    "instance_invalid": "instance",
    "path_invalid": "instance",
}


def routes() -> list[Place]:
    return [
        page("/firmware", show),
        page("/devices/{endpoint}/firmware", ask, Role.OPERATOR),
        form("/devices/{endpoint}/firmware", give, Role.OPERATOR),
    ]


async def show(request: web.Request) -> web.Response:
    """Versions by model, and the devices: ?q=, ?model=, ?version=, ?state=, ?page="""
    parts = request.app[PARTS]
    question = Question(
        requests.search(request),
        requests.words(request, "model"),
        requests.words(request, "version"),
        requests.one_of(request, "state", tuple(UPDATE_STATES)),
    )
    number = requests.whole(request, "page", 1, 1, MAX_PAGE)
    position = parts.hub.last_number
    running = [views_firmware.running(row, parts.fleet) for row in await parts.reader.running()]
    found = views_firmware.answering(running, question)
    shown = found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    names = [one.endpoint for one in shown]
    latest = await parts.reader.latest_of(names)
    since = await parts.reader.known_since(names)
    models = views_firmware.models(running, question)
    newest = {(model.title, model.newest) for model in models if model.newest}
    return render(
        request,
        "firmware.html",
        place=PLACE,
        tab=TAB,
        stream_after=position,
        modules=parts.assets.modules(SCRIPT),
        question=question,
        models=models,
        first_models=FIRST_MODELS,
        first_versions=FIRST_VERSIONS,
        model_choices=views_firmware.model_choices(models, question),
        versions=views_firmware.version_choices(running, question),
        update_states=UPDATE_STATES,
        campaign_url=views_firmware.campaign_url(found, question),
        lines=[
            views_firmware.line(
                one, latest[one.endpoint], since.get(one.endpoint), newest, _under_way(parts, one.endpoint)
            )
            for one in shown
        ],
        heard=len(running),
        total=len(found),
        number=number,
        pages=max(1, -(-len(found) // PAGE_SIZE)),
        first=(number - 1) * PAGE_SIZE + 1,
        last=(number - 1) * PAGE_SIZE + len(shown),
    )


async def device_card(
    parts: Parts, device: Device, latest: Sequence[LatestValue], readings: Sequence[Reading]
) -> DeviceFirmware:
    """The firmware of one device: what it runs, what is being done about it, what it can be given."""
    card = views_firmware.card(device, latest, readings, parts.fleet)
    told = {value.path: value.value for value in latest}
    fitting, others = views_packages.offers(
        parts.firmware.all(),
        views_firmware.plain_text(told.get("/3/0/1")),
        device.tags,
        views_firmware.plain_text(told.get("/3/0/3")),
    )
    last = (await parts.reader.last_updates([device.endpoint])).get(device.endpoint)
    return DeviceFirmware(
        line=card.line,
        facts=card.facts,
        seen=bool(device.first_seen_ms),
        running=_under_way(parts, device.endpoint),
        last=views_updates.update_view(parts, last, device.label) if last is not None else None,
        fitting=fitting,
        others=others,
        instances=views_packages.instances(parts.fleet.registration(device.endpoint)),
    )


async def ask(request: web.Request) -> web.Response:
    """The form by itself, as it stands on the device's page too."""
    return await _ask(request, Form())


async def give(request: web.Request) -> web.Response:
    """Give the device a package; where it cannot be given, the form comes back and says why."""
    sent = await pages_forms.read(request)
    endpoint = requests.endpoint(request)
    try:
        begun = await request.app[PARTS].firmware.update(
            endpoint, firmware_of(sent), wish_of(sent), request[BY]
        )
    except ApplianceError as error:
        # The form for packages of other devices stands apart, and has none of those fields.
        return await _ask(request, sent, Problem.of(error, {} if sent.text("anyway") else FIELDS))
    return pages_forms.see_other(f"/firmware/updates/{begun.id}")


async def _ask(request: web.Request, sent: Form, problem: Problem | None = None) -> web.Response:
    parts = request.app[PARTS]
    device = await devices.device(parts, requests.endpoint(request))
    latest = await parts.reader.latest(device.endpoint)
    return render(
        request,
        "device_firmware.html",
        place=PLACE,
        tab="updates",
        status=200 if problem is None else problem.status,
        device=device,
        card=await device_card(parts, device, latest, ()),
        deliveries=views_updates.delivery_options(),
        form=sent,
        problem=problem,
    )


def _under_way(parts: Parts, endpoint: str) -> UpdateView | None:
    found = parts.firmware.under_way(endpoint)
    return views_updates.update_view(parts, found) if found is not None else None
