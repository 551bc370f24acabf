"""Help: what a person who runs the box needs to know, in short chapters. Offline, as all of it."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ..errors import clean
from .language import N_
from .pages_frame import render
from .ports import PARTS
from .routes import Place, page
from .views_recipes import secure_uri

MAX_HOST: Final = 255


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter of the page; `name` is its anchor, which other pages lead to."""

    name: str
    title: str


CHAPTERS: Final = (
    Chapter("words", N_("What is what")),
    Chapter("adding", N_("Adding a device")),
    Chapter("missing", N_("Why a device is not there")),
    Chapter("sleeping", N_("Devices that sleep")),
    Chapter("operations", N_("Asking a device")),
    Chapter("browser", N_("Why the browser warns")),
    Chapter("people", N_("People and roles")),
    Chapter("programs", N_("Programs")),
    Chapter("commands", N_("Command line")),
    Chapter("away", N_("When the box is away")),
    Chapter("logs", N_("Where to look when something is wrong")),
)


def routes() -> list[Place]:
    return [page("/help", show)]


async def show(request: web.Request) -> web.Response:
    """All chapters on one page."""
    parts = request.app[PARTS]
    return render(
        request,
        "help.html",
        place="help",
        chapters=CHAPTERS,
        address=f"{request.scheme}://{clean(request.host, MAX_HOST)}",
        coap_uris=parts.coap_uris,
        uri=secure_uri(parts.coap_uris),
    )
