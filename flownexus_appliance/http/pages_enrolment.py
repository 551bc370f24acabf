"""Letting new devices enrol: the window, its key for one look, and who came through it."""

from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.credentials import CredentialOrigin
from . import pages_forms, provisioning, views_recipes
from .api_credentials import DEFAULT_MINUTES
from .credentials import CredentialEntry, entry_of
from .pages_frame import render
from .pages_once import ONCE
from .ports import PARTS, Parts
from .provisioning import EnrolmentGiven
from .routes import Place, form, page

RECENT_MS: Final = 24 * 3_600_000
SHOWN: Final = 50


def routes() -> list[Place]:
    return [
        page("/enrolment", show, Role.OPERATOR, head=False),  # to look at a key is to take it
        form("/enrolment", open_window, Role.OPERATOR),
        form("/enrolment/close", close_window, Role.OPERATOR),
    ]


async def show(request: web.Request) -> web.Response:
    """The window as it is now; ?key= is where the key of a new one waits for its one look."""
    parts = request.app[PARTS]
    window = parts.credentials.enrolment()
    given = request.app[ONCE].take(request.query.get("key", ""))
    if not isinstance(given, EnrolmentGiven) or window is None or given.ends_ms != window.ends_ms:
        given = None
    return render(
        request,
        "enrolment.html",
        secret=True,
        ends_ms=None if window is None else window.ends_ms,
        given=given,
        uri=views_recipes.secure_uri(parts.coap_uris),
        minutes=DEFAULT_MINUTES,
        enrolled=_enrolled(parts),
    )


async def open_window(request: web.Request) -> web.Response:
    await pages_forms.read(request)
    given = provisioning.open_enrolment(request.app[PARTS], DEFAULT_MINUTES)
    return pages_forms.see_other(f"/enrolment?key={request.app[ONCE].put(given)}")


async def close_window(request: web.Request) -> web.Response:
    await pages_forms.read(request)
    request.app[PARTS].credentials.close_enrolment()
    return pages_forms.see_other("/enrolment")


def _enrolled(parts: Parts) -> list[CredentialEntry]:
    """Who has enrolled of late and is let in by it, newest first."""
    since_ms = parts.now_ms() - RECENT_MS
    found = [
        entry_of(one)
        for one in parts.credentials.all()
        if one.origin is CredentialOrigin.ENROLMENT and one.made_ms >= since_ms
    ]
    return found[: -SHOWN - 1 : -1]
