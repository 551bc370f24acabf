"""The record of changes: who changed what, from where, and how it ended. For admins."""

from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from ..access.roles import Role
from ..db.people import AuditQuestion
from . import requests, views_audit
from .pages_frame import render
from .ports import PARTS
from .routes import MAX_ID, Place, page

TAB: Final = "audit"
PAGE_SIZE: Final = 100
MAX_TEXT: Final = 255


def routes() -> list[Place]:
    return [page("/audit", show, Role.ADMIN)]


async def show(request: web.Request) -> web.Response:
    """Newest first: ?who=, ?q=, ?before= the number of a change."""
    parts = request.app[PARTS]
    who = request.query.get("who", "").strip()[:MAX_TEXT]
    search = request.query.get("q", "").strip()[:MAX_TEXT]
    before = requests.whole(request, "before", 0, 0, MAX_ID) or None
    found, following = await parts.reader.audit(AuditQuestion(who, search, before_id=before), PAGE_SIZE)
    return render(
        request,
        "audit.html",
        tab=TAB,
        changes=[views_audit.change(row) for row in found],
        who=who,
        search=search,
        people=[user.name for user in parts.access.users()],
        newest=_url(who, search),
        earlier=None if following is None else _url(who, search, following),
        first=before is None,
    )


def _url(who: str, search: str, before: int | None = None) -> str:
    fields = {"who": who, "q": search, "before": "" if before is None else str(before)}
    query = urlencode({name: value for name, value in fields.items() if value})
    return f"/audit?{query}" if query else "/audit"
