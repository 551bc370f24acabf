"""What an address is, said once: its handler, who may use it, and for the API what it takes and answers.

The routes of `api*.py` are `Route` objects, which `openapi.py` describes too; pages, forms and all others are
`Place` objects. aiohttp serves both, and `guard.py` asks them who may come in.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from ..access.roles import Role

JSON: Final = "application/json"
# What lists give at once.
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
MAX_ID: Final = 2**53
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^}]*)?\}")


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query. `type` is str, int, float or bool (a bare name); `values` are the words it
    knows, `low` and `high` the bounds of a number."""

    name: str
    help: str
    type: type = str
    values: tuple[str, ...] = ()
    default: str | int | float | None = None
    repeated: bool = False
    low: float | None = None
    high: float | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: its status, the type of its JSON, or the media types of what is no JSON.

    `headers` are the names of those that mean something, each with what it says; `events` the types of the
    data of server-sent events, by their names.
    """

    type: Any = None
    status: int = HTTPStatus.OK
    help: str = ""
    media: tuple[str, ...] = (JSON,)
    headers: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """An address: `path` as aiohttp writes it; `summary` is one line, `help` the rest, `tag` its group.

    `body` is the type of the JSON body; None where there is none, or where `body_media` says it is no JSON.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    answers: tuple[Answer, ...] = (Answer(),)
    query: tuple[Query, ...] = ()
    body: Any = None
    body_optional: bool = False
    body_media: tuple[str, ...] = (JSON,)
    endless: bool = False  # a GET that never ends has no HEAD
    streamed: bool = False  # its handler takes the body as it comes, and says when: see `uploads.py`
    help: str = ""
    headers: tuple[Query, ...] = ()  # of the request
    # Who may use it: a role and those above it. None: who reads needs to be a viewer, who changes an admin.
    needs: Role | None = None
    public: bool = False  # for everybody, signed in or not

    @property
    def template(self) -> str:
        """The path without what aiohttp adds to the names in it."""
        return _PARAMETER.sub(r"{\1}", self.path)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in the path."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def takes_body(self) -> bool:
        return self.body is not None or self.body_media != (JSON,)

    @property
    def role(self) -> Role | None:
        """Who may use it; None: everybody."""
        if self.public:
            return None
        return self.needs or (Role.VIEWER if self.method == "GET" else Role.ADMIN)

    @property
    def name(self) -> str:
        """What it is called in the description: by its address, which programs rely on anyway."""
        words = re.findall(r"\w+", self.template.removeprefix("/api/v1"))
        return "_".join([self.method.lower(), *words])

    def definition(self) -> web.RouteDef:
        """As aiohttp takes it."""
        if self.method == "GET":
            return web.get(self.path, self.handler, allow_head=not self.endless)
        return _changing(self)


@dataclass(frozen=True, slots=True)
class Place:
    """A page, a form's address, or whatever else is no part of the API; `role` None is for everybody.

    `head` False: a GET that has no HEAD, because to look changes something, or because it never ends.
    `streamed`: a form whose body its handler takes as it comes; its token is in the query of its address.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    head: bool = True
    streamed: bool = False

    def definition(self) -> web.RouteDef:
        """As aiohttp takes it."""
        if self.method == "GET":
            return web.get(self.path, self.handler, allow_head=self.head)
        return _changing(self)


def _changing(place: Place | Route) -> web.RouteDef:
    if place.streamed:
        # Without a word of ours, nobody sends 64 MiB of what is refused (RFC 9110 10.1.1).
        return web.route(place.method, place.path, place.handler, expect_handler=_say_nothing)
    return web.route(place.method, place.path, place.handler)


async def _say_nothing(request: web.Request) -> None:
    """For `Expect: 100-continue`; aiohttp would say at once that the body is welcome."""


def page(path: str, handler: Handler, role: Role | None = Role.VIEWER, *, head: bool = True) -> Place:
    """A page to look at."""
    return Place("GET", path, handler, role, head)


def form(path: str, handler: Handler, role: Role | None, *, streamed: bool = False) -> Place:
    """Where a form is sent to."""
    return Place("POST", path, handler, role, streamed=streamed)


def search(what: str) -> Query:
    """`?q=`"""
    return Query("q", f"Text in {what}; upper and lower case are one")


def paging(after: type = str, default: int = DEFAULT_LIMIT, high: int = MAX_LIMIT) -> tuple[Query, Query]:
    """`?after=&limit=` of a list; `after` is what the cursor `next` is made of."""
    ids = (1, MAX_ID) if after is int else (None, None)
    return (
        Query("after", "Where the page before ended: its `next`", after, low=ids[0], high=ids[1]),
        Query("limit", "How many at most", int, default=default, low=1, high=high),
    )


def get(
    path: str,
    handler: Handler,
    summary: str,
    tag: str,
    answer: Any = None,
    *query: Query,
    needs: Role | None = None,
) -> Route:
    """The usual GET: JSON of one type."""
    return Route("GET", path, handler, summary, tag, (Answer(answer),), query, needs=needs)
