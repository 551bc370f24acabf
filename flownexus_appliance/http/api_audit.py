"""The record of changes over REST: who changed what, or tried to, newest first."""

from dataclasses import dataclass

from aiohttp import web

from ..access.roles import Role
from ..db.people import AuditQuestion, AuditRow
from . import requests
from .answers import json_answer
from .api_people import TAG
from .ports import PARTS
from .requests import MAX_TIME_MS
from .routes import DEFAULT_LIMIT, MAX_ID, MAX_LIMIT, Answer, Query, Route, paging, search


@dataclass(frozen=True, slots=True)
class AuditList:
    """A page of changes, newest first; `next` goes into `?after=` for the following one."""

    items: list[AuditRow]
    next: int | None


def routes() -> list[Route]:
    return [
        Route(
            "GET",
            "/api/v1/audit",
            list_audit,
            "Who changed what, or tried to, newest first",
            TAG,
            (Answer(AuditList),),
            (
                Query("who", "A user, with their tokens; or console, or leshan"),
                search("names, addresses, actions, targets and outcomes"),
                Query("from_ms", "From this moment on, ms since 1970 UTC", int, low=0, high=MAX_TIME_MS),
                Query("to_ms", "Before this moment, ms since 1970 UTC", int, low=0, high=MAX_TIME_MS),
                *paging(int),
            ),
            needs=Role.ADMIN,
        )
    ]


async def list_audit(request: web.Request) -> web.Response:
    """GET audit?who=&q=&from_ms=&to_ms=&after=&limit="""
    question = AuditQuestion(
        who=request.query.get("who", "").strip(),
        search=requests.search(request),
        from_ms=requests.whole_or_none(request, "from_ms", 0, MAX_TIME_MS),
        to_ms=requests.whole_or_none(request, "to_ms", 0, MAX_TIME_MS),
        before_id=requests.whole_or_none(request, "after", 1, MAX_ID),
    )
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    return json_answer(AuditList(*await request.app[PARTS].reader.audit(question, limit)))
