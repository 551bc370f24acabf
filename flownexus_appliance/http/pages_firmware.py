"""What firmware runs where, from what devices have told, and what each device can do about an update."""

from typing import Final

from aiohttp import web

from . import requests, views_firmware
from .pages_frame import render
from .ports import PARTS
from .routes import Place, page
from .views_firmware import FIRST_MODELS, FIRST_VERSIONS, UPDATE_STATES, Question

PAGE_SIZE: Final = 50
MAX_PAGE: Final = 100_000
SCRIPT: Final = "js/firmware.js"


def routes() -> list[Place]:
    return [page("/firmware", show)]


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
        place="firmware",
        stream_after=position,
        modules=parts.assets.modules(SCRIPT),
        question=question,
        models=models,
        first_models=FIRST_MODELS,
        first_versions=FIRST_VERSIONS,
        model_choices=views_firmware.model_choices(models, question),
        versions=views_firmware.version_choices(running, question),
        update_states=UPDATE_STATES,
        lines=[
            views_firmware.line(one, latest[one.endpoint], since.get(one.endpoint), newest) for one in shown
        ],
        heard=len(running),
        total=len(found),
        number=number,
        pages=max(1, -(-len(found) // PAGE_SIZE)),
        first=(number - 1) * PAGE_SIZE + 1,
        last=(number - 1) * PAGE_SIZE + len(shown),
    )
