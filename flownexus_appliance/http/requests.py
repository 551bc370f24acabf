"""What a request asks: query parameters and bodies read into plain values, or a UsageError that helps."""

import asyncio
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from ..errors import UsageError, clean
from ..lwm2m.paths import Path
from .devices import MAX_SEARCH, SORTS, Question
from .wording import STATES

BODY_TIMEOUT_S: Final = 10.0
# Where `guard.py` keeps what raises when who asks may no more. A body can take its time, and who was admitted
# before it came may have been shown out since.
STILL: Final = "still"
# Of `?wait=`: below what proxies and programs give up after.
MAX_WAIT_S: Final = 120
MAX_ID_DIGITS: Final = 15
# Year 9999, and well within what a browser counts exactly.
MAX_TIME_MS: Final = 253_402_300_799_999

Body = TypeVar("Body")


def is_id(text: str) -> bool:
    """Whether a text is the number of something, as it stands in an address: of no more digits than a browser
    counts exactly."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS


def whole(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query between `low` and `high`."""
    text = request.query.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) <= 16 and low <= int(text) <= high:
        return int(text)
    raise UsageError(
        "query_invalid",
        f"{name} is not usable: {clean(text, 40)}",
        f"give a whole number from {low} to {high}",
    )


def whole_or_none(request: web.Request, name: str, low: int, high: int) -> int | None:
    """As `whole`; None where the query does not say."""
    return whole(request, name, low, low, high) if name in request.query else None


def wait_s(request: web.Request) -> int:
    """`?wait=`: for how many seconds to wait for a device."""
    return whole(request, "wait", 0, 0, MAX_WAIT_S)


def flag(request: web.Request, name: str) -> bool:
    """A bare name of the query, or one that says 1 or true, 0 or false."""
    text = request.query.get(name, "0").lower()
    if text not in ("", "0", "1", "true", "false"):
        raise UsageError(
            "query_invalid",
            f"{name} is not usable: {clean(text, 40)}",
            f"write {name} alone, or leave it out",
        )
    return text in ("", "1", "true")


def question(request: web.Request, sorts: Sequence[str] = SORTS) -> Question:
    """`?q=`, `?state=`, `?tag=` and `?sort=`, which is the first of `sorts` where the query does not say."""
    return Question(
        search(request),
        one_of(request, "state", tuple(STATES)),
        words(request, "tag"),
        one_of(request, "sort", sorts) or sorts[0],
    )


def search(request: web.Request) -> str:
    """`?q=`: what to search for, "" for everything."""
    return words(request, "q")


def words(request: web.Request, name: str) -> str:
    """Words of the query without the white space around them."""
    text = request.query.get(name, "").strip()
    if len(text) > MAX_SEARCH:
        raise UsageError("query_invalid", f"{name} is too long", f"give at most {MAX_SEARCH} characters")
    return text


def one_of(request: web.Request, name: str, known: Sequence[str]) -> str:
    """One of the known words, "" where the query does not say."""
    text = request.query.get(name, "")
    if text and text not in known:
        raise UsageError(
            "query_invalid", f"{name} is not usable: {clean(text, 40)}", f"give one of {', '.join(known)}"
        )
    return text


def endpoint(request: web.Request) -> str:
    """The endpoint name in the address: one segment, percent-encoded."""
    return request.match_info["endpoint"]


def path(request: web.Request, *depths: int) -> Path:
    """The LwM2M path at the end of the address, with one of these numbers of levels."""
    found = Path.parse(request.match_info["path"], UsageError)
    if len(found) not in depths:
        raise UsageError(
            "path_invalid",
            f"{found} is not the path of a resource",
            "write object, instance and resource: 3303/0/5700",
        )
    return found


async def body(request: web.Request, shape: type[Body]) -> Body:
    """The JSON body as `shape`, a msgspec Struct; raises UsageError, or lets 413 through."""
    content = await _content(request)
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UsageError(
            "body_invalid", f"the body is not usable: {clean(str(error))}", "see the API's description"
        ) from None


async def body_or(request: web.Request, shape: type[Body]) -> Body:
    """As `body`; without a body, `shape` with its defaults."""
    return await body(request, shape) if request.can_read_body else shape()


async def json_text(request: web.Request) -> str:
    """The JSON body as it came, for a reader of its own; raises as `body`."""
    try:
        return (await _content(request)).decode()
    except UnicodeDecodeError:
        raise UsageError("body_invalid", "the body is not UTF-8", "send JSON as UTF-8") from None


async def _content(request: web.Request) -> bytes:
    # A page elsewhere can post a form or plain text to this box, but no JSON without asking first.
    if request.content_type != "application/json":
        raise UsageError(
            "media_type_unsupported",
            f"the body is {clean(request.content_type)}",
            "send JSON with Content-Type: application/json",
        )
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            content = await request.read()
    except TimeoutError:
        raise UsageError(
            "request_timeout", "the body did not arrive in time", f"send it within {BODY_TIMEOUT_S:.0f} s"
        ) from None
    check_still(request)
    return content


def check_still(request: web.Request) -> None:
    """To be called once a body is there. Raises UsageError("sign_in_needed")."""
    if STILL in request:
        request[STILL]()
