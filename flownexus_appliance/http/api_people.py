"""People over REST: users, one's own account, and the browsers that are signed in.

Who may use an address at all `guard.py` has decided. What stands here is whose things are whose: everybody
sees and ends their own, an admin everybody's.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..access.passwords import MAX_LENGTH, MIN_LENGTH
from ..access.roles import Caller, Role, Way
from ..errors import UsageError, clean
from . import requests
from .answers import created, json_answer
from .api_credentials import Removed
from .guard import CALLER, DETAIL, client
from .ports import PARTS
from .ports_box import Access, Session, User
from .routes import Answer, Query, Route, get

TAG: Final = "people"
# What it is checked by is `access/passwords.py`, with an error of its own.
Password = Annotated[
    str, msgspec.Meta(extra_json_schema={"minLength": MIN_LENGTH, "maxLength": MAX_LENGTH, "writeOnly": True})
]


class UserRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A new user. The name is taken in lower case."""

    name: str
    role: Role
    password: Password

    def __repr__(self) -> str:
        return f"UserRequest({self.name!r}, {self.role!r})"


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays. A new password ends all sessions of the user."""

    role: Role | UnsetType = UNSET
    password: Password | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"UserChange({self.role!r})"


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """One's own password, and the one to take its place. All other sessions of the user end."""

    old: Annotated[str, msgspec.Meta(extra_json_schema={"writeOnly": True})]
    new: Password

    def __repr__(self) -> str:
        return "PasswordChange()"


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user; `changed_ms` is when the password became what it is. How many sessions and tokens there are."""

    name: str
    role: Role
    made_ms: int
    changed_ms: int
    sessions: int
    tokens: int


@dataclass(frozen=True, slots=True)
class UserList:
    """All users, by name."""

    items: list[UserEntry]


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks: a user, user/token, or console; by which way, and in which session."""

    name: str
    role: Role
    way: Way
    session: int | None


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """A browser that is signed in; `kept` over weeks. `ends_ms` is when it ends if nobody uses it, `address`
    and `agent` are those it was last used with. `own`: it is the one that asks."""

    id: int
    user: str
    kept: bool
    made_ms: int
    used_ms: int
    ends_ms: int
    address: str
    agent: str
    own: bool


@dataclass(frozen=True, slots=True)
class SessionList:
    """Sessions, the last used first."""

    items: list[SessionEntry]


@dataclass(frozen=True, slots=True)
class SetupCode:
    """The code that makes the first admin."""

    code: str


def routes() -> list[Route]:
    return [*_user_routes(), *_own_routes()]


def _user_routes() -> list[Route]:
    all_of_them, one = "/api/v1/users", "/api/v1/users/{name}"
    admin = Role.ADMIN
    return [
        Route("GET", all_of_them, list_users, "All users", TAG, (Answer(UserList),), needs=admin),
        Route(
            "POST",
            all_of_them,
            add_user,
            "Add a user; the first one has to be an admin",
            TAG,
            (Answer(UserEntry, HTTPStatus.CREATED),),
            body=UserRequest,
        ),
        Route("GET", one, show_user, "One user", TAG, (Answer(UserEntry),), needs=admin),
        Route(
            "PATCH",
            one,
            change_user,
            "Give a user another role, or a new password",
            TAG,
            (Answer(UserEntry),),
            body=UserChange,
        ),
        Route(
            "DELETE",
            one,
            remove_user,
            "Remove a user, with sessions and tokens; not the only admin",
            TAG,
            (Answer(Removed),),
        ),
        Route(
            "GET",
            "/api/v1/setup-code",
            show_setup_code,
            "The code that makes the first admin, while there is none",
            TAG,
            (Answer(SetupCode),),
            needs=admin,
        ),
    ]


def _own_routes() -> list[Route]:
    return [
        get("/api/v1/account", show_account, "Who asks, and what they may do", TAG, Account),
        Route(
            "POST",
            "/api/v1/account/password",
            change_password,
            "Change one's own password, signed in with a browser",
            TAG,
            (Answer(status=HTTPStatus.NO_CONTENT, media=()),),
            body=PasswordChange,
            needs=Role.VIEWER,
        ),
        get(
            "/api/v1/sessions",
            list_sessions,
            "The browsers in which one is signed in",
            TAG,
            SessionList,
            whose_query(),
        ),
        Route(
            "DELETE",
            "/api/v1/sessions/{id}",
            end_session,
            "End a session of one's own; an admin may end any",
            TAG,
            (Answer(Removed),),
            needs=Role.VIEWER,
        ),
    ]


async def list_users(request: web.Request) -> web.Response:
    """GET users"""
    access = request.app[PARTS].access
    return json_answer(UserList([_user(one, *_counts(access)) for one in access.users()]))


async def add_user(request: web.Request) -> web.Response:
    """POST users {"name", "role", "password"}"""
    wanted = await requests.body(request, UserRequest)
    access = request.app[PARTS].access
    made = await access.add_user(wanted.name, wanted.role, wanted.password)
    request[DETAIL] = f"{made.name}, {made.role}"
    return created(_user(made, *_counts(access)))


async def show_user(request: web.Request) -> web.Response:
    """GET users/{name}"""
    access = request.app[PARTS].access
    return json_answer(_user(_known(access, request.match_info["name"]), *_counts(access)))


async def change_user(request: web.Request) -> web.Response:
    """PATCH users/{name} {"role", "password"}"""
    wanted = await requests.body(request, UserChange)
    access = request.app[PARTS].access
    changed = await access.change_user(
        request.match_info["name"],
        role=None if wanted.role is UNSET else wanted.role,
        password=None if wanted.password is UNSET else wanted.password,
    )
    told = ("" if wanted.role is UNSET else wanted.role, "" if wanted.password is UNSET else "password")
    request[DETAIL] = ", ".join(filter(None, told))
    return json_answer(_user(changed, *_counts(access)))


async def remove_user(request: web.Request) -> web.Response:
    """DELETE users/{name}"""
    await request.app[PARTS].access.remove_user(request.match_info["name"])
    return json_answer(Removed(1))


async def show_setup_code(request: web.Request) -> web.Response:
    """GET setup-code"""
    code = request.app[PARTS].access.setup_code()
    if code is None:
        raise UsageError(
            "setup_done",
            "this box has been set up already, and has no setup code any more",
            "flownexus user lists who can sign in, and sets new passwords",
        )
    return json_answer(SetupCode(code))


async def show_account(request: web.Request) -> web.Response:
    """GET account"""
    caller: Caller = request[CALLER]
    session = caller.number if caller.way is Way.SESSION else None
    return json_answer(Account(caller.name, caller.role, caller.way, session))


async def change_password(request: web.Request) -> web.Response:
    """POST account/password {"old", "new"}"""
    wanted = await requests.body(request, PasswordChange)
    access = request.app[PARTS].access
    await access.change_password(request[CALLER], wanted.old, wanted.new, client(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def list_sessions(request: web.Request) -> web.Response:
    """GET sessions?user="""
    caller: Caller = request[CALLER]
    found = request.app[PARTS].access.sessions(whose(request))
    return json_answer(SessionList([_session(one, caller) for one in found]))


async def end_session(request: web.Request) -> web.Response:
    """DELETE sessions/{id}"""
    caller, access = changing(request), request.app[PARTS].access
    number = numbered(request, "session")
    if caller.role is not Role.ADMIN and all(one.id != number for one in access.sessions(caller.user)):
        raise _unknown("session", str(number))
    await access.end_session(number)
    return json_answer(Removed(1))


# Whose it is: for tokens too


def whose_query() -> Query:
    """`?user=` of a list."""
    return Query("user", "Of this user, or everybody's if it is empty: for an admin. Without it, one's own")


def whose(request: web.Request) -> str | None:
    """The user whose things are asked for, None for everybody's. The console, which is no user, asks for all.

    Raises UsageError: role_missing, user_unknown.
    """
    caller: Caller = request[CALLER]
    wanted = request.query.get("user")
    if wanted is None:
        return caller.user or None
    if wanted != caller.user:
        check_admin(caller)
    return _known(request.app[PARTS].access, wanted).name if wanted else None


def check_admin(caller: Caller) -> None:
    """For what is somebody else's. Raises UsageError("role_missing")."""
    if caller.role is not Role.ADMIN:
        raise UsageError(
            "role_missing",
            f"{caller.name} has the role {caller.role}, and what is another user's is for an admin",
            "leave the user out for what is your own",
        )


def changing(request: web.Request) -> Caller:
    """Who changes what is a user's own.

    A token may not, unless an admin's: else one that may only look could make another that may do all, or
    sign its user out. Raises UsageError("session_needed").
    """
    caller: Caller = request[CALLER]
    if caller.way is Way.TOKEN and caller.role is not Role.ADMIN:
        raise UsageError(
            "session_needed",
            "a token changes nothing of its user's account",
            "sign in with a browser for it",
        )
    return caller


def numbered(request: web.Request, what: str) -> int:
    """The number at the end of the address; raises UsageError, session_unknown or token_unknown."""
    text = request.match_info["id"]
    if requests.is_id(text):
        return int(text)
    raise _unknown(what, text)


def _unknown(what: str, text: str) -> UsageError:
    return UsageError(f"{what}_unknown", f"there is no {what} {clean(text, 40)}", f"GET {what}s lists them")


def _known(access: Access, name: str) -> User:
    meant = name.lower()
    found = next((one for one in access.users() if one.name == meant), None)
    if found is None:
        raise UsageError("user_unknown", f"there is no user {clean(name, 40)}", "GET users lists them")
    return found


def _counts(access: Access) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """How many sessions and tokens users have."""
    return Counter(one.user for one in access.sessions()), Counter(one.user for one in access.tokens())


def _user(user: User, sessions: Mapping[str, int], tokens: Mapping[str, int]) -> UserEntry:
    return UserEntry(
        user.name,
        user.role,
        user.made_ms,
        user.changed_ms,
        sessions.get(user.name, 0),
        tokens.get(user.name, 0),
    )


def _session(one: Session, caller: Caller) -> SessionEntry:
    return SessionEntry(
        one.id,
        one.user,
        one.kept,
        one.made_ms,
        one.used_ms,
        one.ends_ms,
        one.address,
        one.agent,
        own=caller.way is Way.SESSION and caller.number == one.id,
    )
