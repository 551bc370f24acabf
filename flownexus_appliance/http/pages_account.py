"""One's own account: password, browsers that are signed in, API tokens, language."""

import asyncio
import re
import shlex
from typing import Final

from aiohttp import web

from ..access.passwords import MIN_LENGTH
from ..access.roles import Caller, Role, Way
from ..errors import ApplianceError, UsageError, clean
from . import guard, language, pages_forms, pages_passwords, requests, views_people
from .cookies import cookie
from .language import N_
from .pages_forms import Form, Problem
from .pages_frame import render
from .pages_once import ONCE
from .pages_passwords import TokenGiven
from .pages_sign_in import waited_for
from .ports import PARTS, Parts
from .ports_box import Token
from .routes import Place, form, page

PLACE: Final = "account"
DONE: Final = ("password", "session", "sessions", "token", "language")
# Days that a token may live; 0 is without an end.
LIVES: Final = {"30": N_("30 days"), "90": N_("90 days"), "365": N_("A year"), "0": N_("Without an end")}
USUAL_LIFE: Final = "365"
DAY_MS: Final = 86_400_000
FIELDS: Final = {
    "password_wrong": "old",
    "password_weak": "password",
    "password_unlike": "repeat",
    "token_name_invalid": "name",
    "token_taken": "name",
}
GONE: Final = 410
_HOST: Final = re.compile(r"[0-9A-Za-z.:\[\]-]{1,255}")


def routes() -> list[Place]:
    return [
        page("/account", show),
        form("/account/password", change_password, Role.VIEWER),
        form("/account/sessions/{id}/end", end_session, Role.VIEWER),
        form("/account/sessions/end-others", end_others, Role.VIEWER),
        form("/account/tokens", add_token, Role.VIEWER),
        page("/account/tokens/{id}/remove", ask_remove_token),
        form("/account/tokens/{id}/remove", remove_token, Role.VIEWER),
        form("/account/language", choose_language, Role.VIEWER),
        page("/new-token/{name}", show_token, head=False),  # to look is to take
    ]


async def show(request: web.Request) -> web.Response:
    """Who one is, and what is one's own: ?done= tells what has just been done."""
    done = request.query.get("done", "")
    return await _account(request, done=done if done in DONE else "")


async def change_password(request: web.Request) -> web.Response:
    caller, sent = await _mine(request)
    access = request.app[PARTS].access
    try:
        pages_passwords.check_repeated(sent)
        await access.change_password(
            caller, pages_passwords.given(sent, "old"), pages_passwords.given(sent), guard.client(request)
        )
    except ApplianceError as error:
        return waited_for(await _account(request, sent, Problem.of(error, FIELDS)), error)
    return pages_forms.see_other("/account?done=password")


async def end_session(request: web.Request) -> web.Response:
    """End another browser's session."""
    caller, _ = await _mine(request)
    access = request.app[PARTS].access
    number = number_of(request)
    if all(one.id != number for one in access.sessions(caller.user)):
        raise session_unknown()
    await access.end_session(number)
    return pages_forms.see_other("/account?done=session#sessions-title")


async def end_others(request: web.Request) -> web.Response:
    """End all sessions but the one that asks."""
    caller, _ = await _mine(request)
    access = request.app[PARTS].access
    for one in access.sessions(caller.user):
        if one.id != caller.number:
            await access.end_session(one.id)
    return pages_forms.see_other("/account?done=sessions#sessions-title")


async def add_token(request: web.Request) -> web.Response:
    caller, sent = await _mine(request)
    parts = request.app[PARTS]
    allowed = views_people.roles_up_to(caller.role)
    role = Role(pages_forms.chosen(sent.text("role"), allowed, "role"))
    days = int(pages_forms.chosen(sent.text("days"), tuple(LIVES), "days"))
    ends_ms = parts.now_ms() + days * DAY_MS if days else 0
    try:
        token, secret = await parts.access.add_token(caller.user, sent.text("name"), role, ends_ms)
    except ApplianceError as error:
        return await _account(request, sent, Problem.of(error, FIELDS))
    request[guard.DETAIL] = f"{token.user}/{token.name}, {token.role}"
    return pages_forms.see_other(f"/new-token/{request.app[ONCE].put(TokenGiven(token, secret))}")


async def show_token(request: web.Request) -> web.Response:
    """What was made, this once."""
    given = request.app[ONCE].take(request.match_info["name"])
    if not isinstance(given, TokenGiven):
        return render(request, "secret_gone.html", place=PLACE, status=GONE, secret=True, back="/account")
    return render(
        request, "token_given.html", place=PLACE, secret=True, given=given, curl=_curl(request, given)
    )


async def ask_remove_token(request: web.Request) -> web.Response:
    """What a removal means, before it is done."""
    return _remove_form(request, token_in(request, _person(request).user))


async def remove_token(request: web.Request) -> web.Response:
    caller, _ = await _mine(request)
    token = token_in(request, caller.user)
    try:
        await request.app[PARTS].access.remove_token(token.id)
    except ApplianceError as error:
        return _remove_form(request, token, Problem.of(error, {}))
    return pages_forms.see_other("/account?done=token#tokens-title")


async def choose_language(request: web.Request) -> web.Response:
    """Keep the language in the browser: it is the browser's, more than the person's; "" is its own."""
    _, sent = await _mine(request)
    chosen = pages_forms.chosen(sent.text("language"), ("", *language.offered()), "language")
    response = pages_forms.see_other("/account?done=language")
    if chosen:
        language.remember(response, chosen)
    else:
        response.del_cookie(language.COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def number_of(request: web.Request, name: str = "id") -> int:
    """The number in the address, 0 where it is none: nothing has that."""
    text = request.match_info[name]
    return int(text) if requests.is_id(text) else 0


def session_unknown() -> UsageError:
    return UsageError("session_unknown", "there is no such session", "it may have ended: load the page anew")


def token_in(request: web.Request, user: str) -> Token:
    """The token of `user` in the address; raises UsageError("token_unknown")."""
    number = number_of(request)
    for token in request.app[PARTS].access.tokens(user):
        if token.id == number:
            return token
    raise UsageError(
        "token_unknown", "there is no such token", "it may have been removed: load the page anew"
    )


def _person(request: web.Request) -> Caller:
    """The person who asks; raises UsageError("session_needed") for programs and the console, who are none.

    A token is lent for what it is for: it must not make others, or change who may come in.
    """
    caller: Caller | None = request[guard.CALLER]
    if caller is None or caller.way is not Way.SESSION:
        who = "nobody" if caller is None else clean(caller.name)
        raise UsageError(
            "session_needed",
            f"{who} has no account of its own",
            "sign in with a browser",
        )
    return caller


async def _mine(request: web.Request) -> tuple[Caller, Form]:
    """The person who asks, and what they sent."""
    return _person(request), await pages_forms.read(request)


async def _account(
    request: web.Request, sent: Form | None = None, problem: Problem | None = None, done: str = ""
) -> web.Response:
    parts = request.app[PARTS]
    caller = _person(request)
    sessions = parts.access.sessions(caller.user)
    return render(
        request,
        "account.html",
        place=PLACE,
        status=200 if problem is None else problem.status,
        secret=True,
        form=sent or Form({"days": USUAL_LIFE, "role": Role.VIEWER.value}),
        problem=problem,
        done=done,
        role_note=views_people.ROLE_NOTES[caller.role],
        sessions=views_people.session_views(sessions, caller),
        tokens=views_people.token_views(parts.access.tokens(caller.user), parts.now_ms()),
        roles=views_people.roles_up_to(caller.role),
        lives=LIVES,
        min_length=MIN_LENGTH,
        languages=await asyncio.to_thread(language.names),
        language=cookie(request, language.COOKIE) or "",
    )


def _remove_form(request: web.Request, token: Token, problem: Problem | None = None) -> web.Response:
    return render(
        request,
        "remove_token.html",
        place=PLACE,
        status=200 if problem is None else problem.status,
        token=token,
        problem=problem,
        url=f"/account/tokens/{token.id}/remove",
        back="/account",
        back_title=N_("Account"),
    )


def _curl(request: web.Request, given: TokenGiven) -> str:
    """Lines for a shell that use the token, at the address by which the browser came."""
    host = request.host if _HOST.fullmatch(request.host) else "localhost"
    base = f"https://{host}"
    lines = []
    trusted = "--cacert flownexus-ca.crt"
    if _has_root(request.app[PARTS]):
        lines.append(f"curl --insecure --output flownexus-ca.crt {shlex.quote(base + '/ca.crt')}")
    else:
        trusted = "--insecure"  # until the clock is right: there is no root to trust yet
    bearer = shlex.quote(f"Authorization: Bearer {given.secret}")
    lines.append(f"curl {trusted} --header {bearer} {shlex.quote(base + '/api/v1/endpoints')}")
    return "\n".join(lines)


def _has_root(parts: Parts) -> bool:
    return bool(parts.certificates.roots())
