"""What makes the pages an application that a phone or a tablet can install (W3C Web Application Manifest).

Icons are drawn from static/img/icon.svg; the maskable one has its drawing within the inner four fifths, so
that a system may cut any shape out of it.
"""

from typing import Final

from aiohttp import web

from .answers import json_answer
from .ports import PARTS
from .routes import Place, page

MEDIA_TYPE: Final = "application/manifest+json"
PAPER: Final = "#f3f6f4"
DEEP: Final = "#0a4d52"
# File, sizes, what it is for.
ICONS: Final = (
    ("img/icon.svg", "any", "any"),
    ("img/icon-192.png", "192x192", "any"),
    ("img/icon-512.png", "512x512", "any"),
    ("img/icon-maskable-512.png", "512x512", "maskable"),
)


def routes() -> list[Place]:
    # A browser asks for it without its cookie, so it is for everybody.
    return [page("/manifest.webmanifest", show, None)]


async def show(request: web.Request) -> web.Response:
    """The manifest; its icons lie at addresses made of their content."""
    url = request.app[PARTS].assets.url
    response = json_answer(
        {
            "id": "/",
            "name": "FlowNexus",
            "short_name": "FlowNexus",
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": PAPER,
            "theme_color": DEEP,
            "icons": [_icon(url(file), file, sizes, purpose) for file, sizes, purpose in ICONS],
        }
    )
    response.headers["Content-Type"] = MEDIA_TYPE
    response.headers["Cache-Control"] = "no-cache"
    return response


def _icon(url: str, file: str, sizes: str, purpose: str) -> dict[str, str]:
    kind = "image/svg+xml" if file.endswith(".svg") else "image/png"
    return {"src": url, "type": kind, "sizes": sizes, "purpose": purpose}
