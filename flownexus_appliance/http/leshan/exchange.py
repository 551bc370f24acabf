"""What security, bootstrap and server information share: bodies of any media type in, words of blame out."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from aiohttp import web

from ...errors import UsageError
from ..errors import status_of
from ..requests import BODY_TIMEOUT_S, check_still
from .answers import Refused


@contextmanager
def blamed(prefix: str = "") -> Iterator[None]:
    """What is asked wrongly within is refused as Leshan does: with 400, and text behind `prefix`."""
    try:
        yield
    except UsageError as error:
        status = status_of(error)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            status = HTTPStatus.BAD_REQUEST
        said = f"{error.message}: {error.hint}" if error.hint else error.message
        raise Refused(status, prefix + said) from None


async def body(request: web.Request) -> str:
    """The body as text, whatever its type; raises Refused, lets 413 through."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            content = (await request.read()).decode()
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "Invalid request: the body did not arrive") from None
    except UnicodeDecodeError:
        raise Refused(HTTPStatus.BAD_REQUEST, "Invalid request: the body is not UTF-8") from None
    check_still(request)
    return content


def done(status: int = HTTPStatus.OK) -> web.Response:
    """Done, and nothing to say."""
    return web.Response(status=status, headers={"Cache-Control": "no-store"})
