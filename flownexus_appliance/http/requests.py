"""What a request asks: query parameters and bodies read into plain values, or a UsageError that helps."""

import asyncio
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from ..errors import UsageError, clean
from ..lwm2m.paths import Path
from .devices import MAX_SEARCH, Question
from .wording import STATES

BODY_TIMEOUT_S: Final = 10.0
# Year 9999, and well within what a browser counts exactly.
MAX_TIME_MS: Final = 253_402_300_799_999

Body = TypeVar("Body")


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


def question(request: web.Request) -> Question:
    """`?q=` and `?state=`."""
    search = request.query.get("q", "").strip()
    if len(search) > MAX_SEARCH:
        raise UsageError("query_invalid", "q is too long", f"search for at most {MAX_SEARCH} characters")
    state = request.query.get("state", "")
    if state and state not in STATES:
        raise UsageError(
            "query_invalid", f"state is not usable: {clean(state, 40)}", f"give one of {', '.join(STATES)}"
        )
    return Question(search, state)


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
    try:
        return msgspec.json.decode(content, type=shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(
            "body_invalid", f"the body is not usable: {clean(str(error))}", "see the API's description"
        ) from None
