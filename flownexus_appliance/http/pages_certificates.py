"""The certificates for people: what is valid until when and why, rotation, and the roots' roll-over."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..errors import ApplianceError
from ..pki.roots import OVERLAP
from . import pages_forms, provisioning, views_trust
from .api_certificates import MAX_OVERLAP_DAYS, MIN_OVERLAP_DAYS, entries
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS
from .routes import Place, form, page

TAB: Final = "certificates"
DONE: Final = ("rotated", "rolled", "finished")
ROOT_TYPE: Final = "application/x-x509-ca-cert"
FIELDS: Final = {"overlap_invalid": "days"}


def routes() -> list[Place]:
    return [
        page("/certificates", show),
        page("/ca.crt", newest_root, None),  # who does not trust the box yet cannot sign in to it
        form("/certificates/rotate", rotate, Role.ADMIN),
        page("/certificates/roll-over", ask_roll_over, Role.ADMIN),
        form("/certificates/roll-over", roll_over, Role.ADMIN),
        page("/certificates/roll-over/finish", ask_finish, Role.ADMIN),
        form("/certificates/roll-over/finish", finish, Role.ADMIN),
    ]


async def show(request: web.Request) -> web.Response:
    """What there is, what comes next, and what can be done: ?done= tells what has just been done."""
    done = request.query.get("done", "")
    return _certificates(request, done=done if done in DONE else "")


async def newest_root(request: web.Request) -> web.Response:
    """The newest root (RFC 7468), under the type at which browsers and phones offer to trust it."""
    newest = provisioning.trusted_roots(request.app[PARTS].certificates)[0]
    response = web.Response(text=ssl.DER_cert_to_PEM_cert(newest), content_type=ROOT_TYPE)
    response.headers["Cache-Control"] = "no-cache"
    return response


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
        tab=TAB,
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
        tab=TAB,
        status=200 if problem is None else problem.status,
        page=_page(request),
        problem=problem,
        done=done,
    )


def _page(request: web.Request) -> views_trust.CertificatesPage:
    parts = request.app[PARTS]
    return views_trust.certificates_page(entries(parts), parts.certificates.doubt())
