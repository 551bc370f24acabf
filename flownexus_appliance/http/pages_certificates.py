"""The certificates for people: what is valid until when and why, rotation, and the roots' roll-over."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from ..errors import ApplianceError
from ..pki.roots import OVERLAP
from . import pages_forms, views_trust
from .api_certificates import MAX_OVERLAP_DAYS, MIN_OVERLAP_DAYS, entries
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS

PLACE: Final = "certificates"
DONE: Final = ("rotated", "rolled", "finished")
FIELDS: Final = {"overlap_invalid": "days"}


def routes() -> list[web.RouteDef]:
    return [
        web.get("/certificates", show),
        web.post("/certificates/rotate", rotate),
        web.get("/certificates/roll-over", ask_roll_over),
        web.post("/certificates/roll-over", roll_over),
        web.get("/certificates/roll-over/finish", ask_finish),
        web.post("/certificates/roll-over/finish", finish),
    ]


async def show(request: web.Request) -> web.Response:
    """What there is, what comes next, and what can be done: ?done= tells what has just been done."""
    done = request.query.get("done", "")
    return _certificates(request, done=done if done in DONE else "")


async def rotate(request: web.Request) -> web.Response:
    """The server's certificates anew now."""
    await pages_forms.read(request)
    parts = request.app[PARTS]
    try:
        await parts.certificates.rotate()
    except ApplianceError as error:
        return _certificates(request, Problem.of(error, {}))
    return pages_forms.see_other("/certificates?done=rotated")


async def ask_roll_over(request: web.Request) -> web.Response:
    """What a roll-over means, before it is begun."""
    return _confirm(request, "roll_over.html", Form())


async def roll_over(request: web.Request) -> web.Response:
    form = await pages_forms.read(request)

    async def begin() -> object:
        days = form.whole("days", MIN_OVERLAP_DAYS, MAX_OVERLAP_DAYS, "overlap_invalid")
        return await request.app[PARTS].certificates.roll_over(days)

    return await _change(request, "roll_over.html", form, begin, "rolled")


async def ask_finish(request: web.Request) -> web.Response:
    """What it means to trust the newest root alone, before it is so."""
    return _confirm(request, "roll_over_finish.html", Form())


async def finish(request: web.Request) -> web.Response:
    form = await pages_forms.read(request)
    change = request.app[PARTS].certificates.finish_roll_over
    return await _change(request, "roll_over_finish.html", form, change, "finished")


async def _change(
    request: web.Request, template: str, form: Form, change: Callable[[], Awaitable[object]], done: str
) -> web.Response:
    try:
        await change()
    except ApplianceError as error:
        return _confirm(request, template, form, Problem.of(error, FIELDS))
    return pages_forms.see_other(f"/certificates?done={done}")


def _confirm(request: web.Request, template: str, form: Form, problem: Problem | None = None) -> web.Response:
    return render(
        request,
        template,
        place=PLACE,
        status=200 if problem is None else problem.status,
        page=_page(request),
        usual_days=OVERLAP.days,
        form=form,
        problem=problem,
    )


def _certificates(request: web.Request, problem: Problem | None = None, done: str = "") -> web.Response:
    return render(
        request,
        "certificates.html",
        place=PLACE,
        status=200 if problem is None else problem.status,
        page=_page(request),
        problem=problem,
        done=done,
    )


def _page(request: web.Request) -> views_trust.CertificatesPage:
    parts = request.app[PARTS]
    return views_trust.certificates_page(entries(parts), parts.certificates.doubt())
