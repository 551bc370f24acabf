"""Who may come in: the one place that tells who asks, and decides what they may do. Pages, forms, REST, the
live stream and the console all pass it, and an address that says nothing about its role opens to nobody.

A browser has a cookie, a program a bearer token, the console the control socket. What a browser sends with
its cookie must come from a page of this box: by the headers that browsers set (WHATWG Fetch, `Sec-Fetch-Site`
and `Origin`), and forms by a token that only this caller's pages hold and that is good once, so that a form
which is sent again does nothing twice. Every change, and every attempt at one, is put on record.
"""

import hmac
import secrets
import socket
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlencode

from aiohttp import web

from ..access.roles import CONSOLE, Caller, Role, Way
from ..errors import ApplianceError, UsageError, clean
from . import pages_forms
from .cookies import cookie
from .errors import Handler, wants_page
from .ports import PARTS
from .ports_box import Client, SignedIn
from .requests import STILL
from .routes import Place, Route

COOKIE: Final = "__Host-flownexus"
# What a browser keeps the cookie of a kept session for; the session itself ends by its own rules.
KEPT_S: Final = 180 * 86_400
CALLER: Final = "caller"
BY: Final = "by"
# What a handler says it failed by, where it answers without raising: a code for the record.
FAILED: Final = "failed"
# What a handler adds to the record of what it has done, where the address does not say it: whom it has added.
DETAIL: Final = "detail"
# Set by a handler whose success is no change, and comes by the thousand: values of a device.
ROUTINE: Final = "routine"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_FIELD: Final = "form_token"
NONCE_BYTES: Final = 12
MAC_BYTES: Final = 15
# Forms that were taken are remembered this far back, over all callers.
MAX_SPENT: Final = 50_000
MAX_AGENT: Final = 200
_BEARER: Final = "bearer "


@dataclass(slots=True)
class Gate:
    """What an application's guard knows: the role that each address needs, by method and aiohttp's template.

    `streamed` are the addresses of forms whose bodies it leaves alone. `anonymous` is who asks where nobody
    says so: on ports that are open to everybody.
    """

    needs: dict[tuple[str, str], Role | None] = field(default_factory=dict)
    streamed: set[tuple[str, str]] = field(default_factory=set)
    anonymous: Caller | None = None
    spent: "OrderedDict[bytes, None]" = field(default_factory=OrderedDict)

    def spend(self, nonce: bytes) -> bool:
        """Use a form token up; False when it was already."""
        if nonce in self.spent:
            return False
        self.spent[nonce] = None
        if len(self.spent) > MAX_SPENT:
            self.spent.popitem(last=False)
        return True


GATE: Final = web.AppKey("gate", Gate)


def serve(app: web.Application, places: Iterable[Place | Route]) -> None:
    """Serve these addresses, each for whom it is for."""
    gate = app[GATE]
    for place in places:
        for route in app.router.add_routes([place.definition()]):
            resource = route.resource
            assert resource is not None
            gate.needs[route.method, resource.canonical] = place.role
            if isinstance(place, Place) and place.streamed:
                gate.streamed.add((route.method, resource.canonical))


@web.middleware
async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Set `request["caller"]`, None for a stranger, and `request["by"]`, the caller's name."""
    caller = request[CALLER] = _caller(request)
    request[BY] = caller.name if caller is not None else ""
    return await handler(request)


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through who may, and put on record what was changed."""
    needed = _needed(request)
    # What is served nowhere, or not so, changes nothing either.
    if request.method in SAFE or request.match_info.http_exception is not None:
        turned_away = _turn_away(request, needed)
        return turned_away if turned_away is not None else await handler(request)
    try:
        response = await _admit_change(request, needed, handler)
    except ApplianceError as error:
        _note(request, error.code)
        raise
    except web.HTTPException as error:
        _note(request, "" if error.status < HTTPStatus.BAD_REQUEST else f"http_{error.status}")
        raise
    except Exception:
        _note(request, "internal_error")
        raise
    failed = request.get(FAILED) or f"http_{response.status}"
    _note(request, "" if response.status < HTTPStatus.BAD_REQUEST else failed)
    return response


async def _admit_change(request: web.Request, needed: Role | None, handler: Handler) -> web.StreamResponse:
    caller: Caller | None = request[CALLER]
    _refuse_cross_site(request, caller)
    turned_away = _turn_away(request, needed)
    if turned_away is not None:
        return turned_away
    if needed is not None:
        request[STILL] = partial(_check_still, request)
    # What is for everybody has a stranger's form: one tab signs in while another one has done so already.
    if needed is not None and caller is not None and caller.way is Way.SESSION and not _is_api(request):
        await _check_form(request, caller)
    return await handler(request)


def client(request: web.Request) -> Client:
    """Where a request comes from."""
    return Client(request.remote or "", clean(request.headers.get("User-Agent", ""), MAX_AGENT))


def begin(request: web.Request, response: web.StreamResponse, signed_in: SignedIn) -> None:
    """Have the browser that asks hold the cookie of its new session."""
    response.set_cookie(
        COOKIE,
        signed_in.secret,
        max_age=KEPT_S if signed_in.kept else None,
        path="/",
        secure=True,
        httponly=True,
        samesite="Lax",
    )
    request[CALLER], request[BY] = signed_in.caller, signed_in.caller.name


def end(response: web.StreamResponse) -> None:
    """Have the browser forget its cookie, and the pages it keeps."""
    response.headers["Clear-Site-Data"] = '"cache"'
    response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")


def form_token(caller: Caller) -> str:
    """What a form carries: a number that is good once, sealed for this caller."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return urlsafe_b64encode(nonce + _seal(caller, nonce)).decode()


def still_holds(request: web.Request) -> bool:
    """Whether who asked may still see what it is being shown: for answers that last."""
    caller: Caller | None = request[CALLER]
    if caller is None or caller.way in (Way.CONSOLE, Way.LESHAN):
        return True
    return request.app[PARTS].access.holds(caller)


def _caller(request: web.Request) -> Caller | None:
    transport = request.transport
    used = transport.get_extra_info("socket") if transport is not None else None
    if used is not None and used.family == socket.AF_UNIX:
        return CONSOLE
    access = request.app[PARTS].access
    authorization = request.headers.get("Authorization", "")
    if authorization[: len(_BEARER)].lower() == _BEARER:
        # Who brings a token means it: one that is wrong is not made good by a cookie.
        return access.caller_of_token(authorization[len(_BEARER) :].strip())
    secret = cookie(request, COOKIE)
    found = access.caller_of_session(secret, client(request)) if secret else None
    return found or request.app[GATE].anonymous


def _needed(request: web.Request) -> Role | None:
    """The role that the address asks for. What is served nowhere is nobody's business either."""
    route = request.match_info.route
    if route.resource is None:
        return Role.VIEWER
    needs = request.app[GATE].needs
    for method in (request.method, "GET" if request.method == "HEAD" else "", "*"):
        if (method, route.resource.canonical) in needs:
            return needs[method, route.resource.canonical]
    return Role.ADMIN


def _turn_away(request: web.Request, needed: Role | None) -> web.Response | None:
    """The way to sign in for who may not come in yet, None for who may.

    Raises UsageError: setup_needed, sign_in_needed, role_missing.
    """
    caller: Caller | None = request[CALLER]
    if needed is None:
        return None
    if caller is None:
        return _to_sign_in(request)
    if not caller.role.includes(needed):
        raise UsageError(
            "role_missing",
            f"{caller.name} has the role {caller.role}, and this is for {needed}",
            f"ask an admin for the role {needed}, or for somebody who has it",
        )
    return None


def _to_sign_in(request: web.Request) -> web.Response:
    unclaimed = request.app[PARTS].access.unclaimed()
    if not wants_page(request):
        if unclaimed:
            raise UsageError(
                "setup_needed",
                "nobody can sign in to this box yet",
                "open its address in a browser and enter the setup code: flownexus setup-code tells it",
            )
        raise UsageError(
            "sign_in_needed",
            "this is for those who signed in",
            "send Authorization: Bearer and an API token, or sign in with a browser",
        )
    if unclaimed:
        return pages_forms.see_other("/setup")
    query = {}
    if request.method in SAFE:
        if request.raw_path != "/":
            query["next"] = request.raw_path
        if cookie(request, COOKIE) is not None:
            query["ended"] = "1"
    else:
        query["ended"] = "form"  # it was not taken, and the page says so
    return pages_forms.see_other("/sign-in" + (f"?{urlencode(query, quote_via=quote)}" if query else ""))


def _refuse_cross_site(request: web.Request, caller: Caller | None) -> None:
    """No page of another site may change anything here. Raises UsageError("cross_site").

    Browsers tell by Sec-Fetch-Site; old ones name the page's origin when they post, and so do the others. A
    program says nothing, which is well unless it comes with a browser's cookie.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    from_here = site in (None, "none", "same-origin") and (
        origin is None or origin.partition("://")[2] == request.host
    )
    silent = site in (None, "none") and origin is None
    if not from_here or (silent and caller is not None and caller.way is Way.SESSION):
        raise UsageError(
            "cross_site", "the request comes from another site's page", "use the pages of this box"
        )


async def _check_form(request: web.Request, caller: Caller) -> None:
    """Raises UsageError: form_stale, form_replayed, and what `pages_forms.read` raises."""
    token = await _sent_token(request)
    try:
        sealed = urlsafe_b64decode(token)
    except ValueError:
        sealed = b""
    nonce, mac = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    if len(nonce) != NONCE_BYTES or not hmac.compare_digest(mac, _seal(caller, nonce)):
        raise UsageError(
            "form_stale",
            "the form is of another session, and was not taken",
            "go back, load the page anew and fill it in again",
        )
    if not request.app[GATE].spend(nonce):
        raise UsageError(
            "form_replayed",
            "the form was sent already, and is taken once",
            "go back and load the page anew: it shows what became of it",
        )


async def _sent_token(request: web.Request) -> str:
    """The token of a form: in its body, or where that is not read here, in the query of its address."""
    resource = request.match_info.route.resource
    if resource is not None and (request.method, resource.canonical) in request.app[GATE].streamed:
        return request.query.get(FORM_FIELD, "")
    return (await pages_forms.read(request)).text(FORM_FIELD)


def _seal(caller: Caller, nonce: bytes) -> bytes:
    return hmac.digest(caller.form_key, nonce, "sha256")[:MAC_BYTES]


def _check_still(request: web.Request) -> None:
    if not still_holds(request):
        raise UsageError(
            "sign_in_needed",
            "your session or your role ended while the request was on its way",
            "sign in, and send it again",
        )


def _is_api(request: web.Request) -> bool:
    """Whether the address is a program's: JSON, which no page elsewhere can send without being asked."""
    return request.path.startswith(("/api/", "/leshan"))


def _note(request: web.Request, outcome: str) -> None:
    """Put a change on record; what a stranger tried in vain is none."""
    caller: Caller | None = request[CALLER]
    by: str = request[BY]
    if caller is None and (not by or outcome == "sign_in_throttled"):
        return
    if ROUTINE in request and not outcome:
        return
    resource = request.match_info.route.resource
    at = resource.canonical if resource is not None else request.path
    named = [value for name, value in request.match_info.items() if value]
    request.app[PARTS].access.note(
        by,
        (request.remote or "") if caller is None or caller.way is not Way.CONSOLE else "",
        f"{request.method} {at}",
        " ".join(named),
        outcome,
        request.get(DETAIL, ""),
    )
