"""API tokens over REST: the answer that makes one holds its secret, once; no other answer does."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web

from ..access.roles import Role
from ..errors import UsageError
from . import requests
from .answers import created, json_answer
from .api_credentials import Removed
from .api_people import TAG, changing, check_admin, numbered, whose, whose_query
from .guard import DETAIL
from .ports import PARTS
from .ports_box import Token
from .routes import Answer, Route, get

DAY_MS: Final = 86_400_000
DEFAULT_DAYS: Final = 365
MAX_DAYS: Final = 3650

Days = Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)]


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`role` is the most it may do, and never more than its user; `expires_days` null is for no end. `user`
    is for admins: without it, it is one's own."""

    name: str
    role: Role = Role.VIEWER
    expires_days: Days | None = DEFAULT_DAYS
    user: str | None = None


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token without its secret; `expires_ms` is null for no end, `used_ms` for never."""

    id: int
    user: str
    name: str
    role: Role
    made_ms: int
    expires_ms: int | None
    used_ms: int | None


@dataclass(frozen=True, slots=True)
class TokenList:
    """Tokens, by user and name."""

    items: list[TokenEntry]


@dataclass(frozen=True, slots=True)
class TokenGiven:
    """A token with its secret, which goes into `Authorization: Bearer`."""

    token: TokenEntry
    secret: str = field(repr=False)


def routes() -> list[Route]:
    path = "/api/v1/tokens"
    return [
        get(
            path, list_tokens, "One's API tokens, those that have expired too", TAG, TokenList, whose_query()
        ),
        Route(
            "POST",
            path,
            add_token,
            "Make an API token",
            TAG,
            (Answer(TokenGiven, HTTPStatus.CREATED, "The token, whose secret is told this once"),),
            body=TokenRequest,
            needs=Role.VIEWER,
        ),
        Route(
            "DELETE",
            f"{path}/{{id}}",
            remove_token,
            "Remove a token of one's own; an admin may remove any",
            TAG,
            (Answer(Removed),),
            needs=Role.VIEWER,
        ),
    ]


async def list_tokens(request: web.Request) -> web.Response:
    """GET tokens?user="""
    return json_answer(TokenList([_entry(one) for one in request.app[PARTS].access.tokens(whose(request))]))


async def add_token(request: web.Request) -> web.Response:
    """POST tokens {"name", "role", "expires_days", "user"}"""
    caller, parts = changing(request), request.app[PARTS]
    wanted = await requests.body(request, TokenRequest)
    user = caller.user if wanted.user is None else wanted.user
    if user != caller.user:
        check_admin(caller)
    if not user:
        raise UsageError("body_invalid", "a token is a user's", "name the user: the console is none")
    expires_ms = 0 if wanted.expires_days is None else parts.now_ms() + wanted.expires_days * DAY_MS
    token, secret = await parts.access.add_token(user, wanted.name, wanted.role, expires_ms)
    request[DETAIL] = f"{token.user}/{token.name}, {token.role}"
    return created(TokenGiven(_entry(token), secret))


async def remove_token(request: web.Request) -> web.Response:
    """DELETE tokens/{id}"""
    caller, access = changing(request), request.app[PARTS].access
    number = numbered(request, "token")
    if caller.role is not Role.ADMIN and all(one.id != number for one in access.tokens(caller.user)):
        raise UsageError("token_unknown", f"there is no token {number}", "GET tokens lists them")
    await access.remove_token(number)
    return json_answer(Removed(1))


def _entry(token: Token) -> TokenEntry:
    return TokenEntry(
        token.id,
        token.user,
        token.name,
        token.role,
        token.made_ms,
        token.expires_ms or None,
        token.used_ms or None,
    )
