"""Coming in and going out: setting the box up with its one-time code, signing in and out, the first look."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from ..access.names import folded
from ..access.passwords import MIN_LENGTH
from ..access.roles import Caller, Role, Way
from ..access.throttle import SignInThrottled
from ..errors import ApplianceError, UsageError
from ..pki.describe import CertificateKind, CertificateState
from . import guard, pages_forms, pages_passwords
from .cookies import cookie
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS, Parts
from .ports_box import SignedIn
from .routes import Place, form, page
from .wording import fingerprint_text

# Which field of the form an error is about.
SETUP_FIELDS: Final = {
    "setup_code_wrong": "code",
    "user_name_invalid": "name",
    "password_weak": "password",
    "password_unlike": "repeat",
}
# Why somebody is to sign in; guard.py says "1" and "form".
ENDED: Final = ("1", "form", "out", "setup")
MAX_CODE: Final = 64
# A path of this box as a browser understands it: not "//host", not "/\host"; printable ASCII, nothing more.
_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,2000}")
_NO_PLACE_TO_GO: Final = ("/sign-in", "/sign-out", "/setup")


@dataclass(frozen=True, slots=True)
class Trust:
    """What a person can check about the box: the certificate it shows to browsers, and its newest root.

    `doubt`: why the clock cannot be right, or "". `provisional`: no root has signed the certificate.
    """

    doubt: str
    fingerprint: str = ""
    names: tuple[str, ...] = ()
    ends_ms: int = 0
    provisional: bool = True
    root: str = ""
    root_fingerprint: str = ""


def routes() -> list[Place]:
    return [
        page("/setup", show_setup, None),
        form("/setup", set_up, None),
        page("/sign-in", show_sign_in, None),
        form("/sign-in", sign_in, None),
        form("/sign-out", sign_out, Role.VIEWER),
        page("/welcome", show_welcome, Role.ADMIN),
    ]


async def show_setup(request: web.Request) -> web.Response:
    """The form for the first admin, while there is none; ?code= fills in the code."""
    if not request.app[PARTS].access.unclaimed():
        return pages_forms.see_other("/sign-in")
    return _setup(request, Form({"code": request.query.get("code", "")[:MAX_CODE], "keep": "1"}))


async def set_up(request: web.Request) -> web.Response:
    """Make the first admin, who is signed in from then on."""
    sent = await pages_forms.read(request)
    access = request.app[PARTS].access
    if not access.unclaimed():
        return pages_forms.see_other("/sign-in?ended=setup")
    try:
        pages_passwords.check_repeated(sent)
        signed_in = await access.claim(
            sent.text("code"),
            sent.text("name"),
            pages_passwords.given(sent),
            guard.client(request),
            keep="keep" in sent.fields,
        )
    except ApplianceError as error:
        if error.code == "setup_done":
            return pages_forms.see_other("/sign-in?ended=setup")
        return waited_for(_setup(request, sent, Problem.of(error, SETUP_FIELDS)), error)
    return _begin(request, signed_in, "/welcome")


async def show_sign_in(request: web.Request) -> web.Response:
    """The form to sign in: ?next= is where to go then, ?ended= why one is here."""
    if request.app[PARTS].access.unclaimed():
        return pages_forms.see_other("/setup")
    ended = request.query.get("ended", "")
    following = local(request.query.get("next", "")) or _page_of_form(request, ended)
    if _session(request) is not None:
        return pages_forms.see_other(following or "/")
    response = _sign_in(request, Form({"next": following}), ended=ended if ended in ENDED else "")
    if cookie(request, guard.COOKIE) is not None:
        guard.end(response)  # it stands for nobody: said once, it need not be said again
    return response


async def sign_in(request: web.Request) -> web.Response:
    """Begin a session; one that this browser had before ends."""
    sent = await pages_forms.read(request)
    access = request.app[PARTS].access
    if access.unclaimed():
        return pages_forms.see_other("/setup")
    name = sent.text("name")
    try:
        signed_in = await access.sign_in(
            name, pages_passwords.given(sent), guard.client(request), keep="keep" in sent.fields
        )
    except ApplianceError as error:
        # On record by the name of somebody there is. What else stands in that field may be a password.
        known = folded(name)
        if any(user.name == known for user in access.users()):
            request[guard.BY] = known
        return waited_for(_sign_in(request, sent, Problem.of(error, {})), error)
    before = _session(request)
    if before is not None:
        await _end(request, before.number)
    return _begin(request, signed_in, local(sent.text("next")) or "/")


async def sign_out(request: web.Request) -> web.Response:
    """End the session that asks."""
    await pages_forms.read(request)
    caller = _session(request)
    if caller is not None:
        await _end(request, caller.number)
    response = pages_forms.see_other("/sign-in?ended=out")
    guard.end(response)
    return response


async def show_welcome(request: web.Request) -> web.Response:
    """The first look: whether clock and certificate are right, and where to go from here."""
    return render(request, "welcome.html", place="", trust=trust(request.app[PARTS]))


def local(address: str) -> str:
    """An address of this box, "" where it could lead elsewhere or nowhere."""
    found = _LOCAL.fullmatch(address) is not None
    return address if found and not address.startswith(_NO_PLACE_TO_GO) else ""


def trust(parts: Parts) -> Trust:
    """What a person can check about the box as it is now."""
    doubt = parts.certificates.doubt()
    known = parts.certificates.describe()
    shown = next((status for status in known if status.kind is CertificateKind.HTTPS), None)
    root = next((status for status in known if status.kind is CertificateKind.ROOT), None)
    if shown is None:
        return Trust(doubt)
    return Trust(
        doubt=doubt,
        fingerprint=fingerprint_text(shown.fingerprint),
        names=shown.names,
        ends_ms=round(shown.not_after.timestamp() * 1000),
        provisional=root is None or shown.state is CertificateState.PROVISIONAL,
        root="" if root is None else root.subject,
        root_fingerprint="" if root is None else fingerprint_text(root.fingerprint),
    )


def waited_for(response: web.Response, error: ApplianceError) -> web.Response:
    """An answer to who tried too often, with the time to wait (RFC 9110 10.2.3)."""
    if isinstance(error, SignInThrottled):
        response.headers["Retry-After"] = str(error.wait_s)
    return response


def _session(request: web.Request) -> Caller | None:
    """Who asks, where it is a browser that is signed in."""
    caller: Caller | None = request[guard.CALLER]
    return caller if caller is not None and caller.way is Way.SESSION else None


async def _end(request: web.Request, number: int) -> None:
    """End a session, which may have ended in another tab."""
    with suppress(UsageError):
        await request.app[PARTS].access.end_session(number)


def _begin(request: web.Request, signed_in: SignedIn, url: str) -> web.Response:
    response = pages_forms.see_other(url)
    guard.begin(request, response, signed_in)
    return response


def _page_of_form(request: web.Request, ended: str) -> str:
    """Where a form stood that came when its session had ended: the browser tells, through the redirection."""
    if ended != "form":
        return ""
    referrer = urlsplit(request.headers.get("Referer", ""))
    return local(referrer.path) if referrer.netloc == request.host else ""


def _setup(request: web.Request, sent: Form, problem: Problem | None = None) -> web.Response:
    return render(
        request,
        "setup.html",
        place="",
        status=200 if problem is None else problem.status,
        secret=True,
        form=sent,
        problem=problem,
        trust=trust(request.app[PARTS]),
        min_length=MIN_LENGTH,
    )


def _sign_in(
    request: web.Request, sent: Form, problem: Problem | None = None, ended: str = ""
) -> web.Response:
    return render(
        request,
        "sign_in.html",
        place="",
        status=200 if problem is None else problem.status,
        secret=True,
        form=sent,
        problem=problem,
        ended=ended,
    )
