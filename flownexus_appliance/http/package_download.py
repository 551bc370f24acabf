"""Firmware packages on their way out by HTTP, whole or a range of them (RFC 9110 14): to devices by the
ticket of an update, and to people by the API.

The ticket is all that lets a device in: it has no session and knows no page, so it is never led to one. Who
fetches reads it in small ranges, or breaks off and comes again: that is the usual way of things, and no line
in the log.
"""

import asyncio
import contextlib
import logging
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ..errors import ApplianceError, PeerError, UsageError
from ..fleet.ports import Body, Package, PackageGone
from ..lwm2m.firmware import PACKAGE_PATH
from . import errors
from .answers import BARE
from .ports import PARTS
from .routes import Place

BYTES: Final = "application/octet-stream"
# What is read at once, in the event loop: it comes from the system's memory, or soon.
PIECE_BYTES: Final = 32 * 1024
# What the system takes of an answer before the other side has, and asyncio too. By default that is megabytes,
# and half a one. Nobody knows yet whether a slow device will ever come for them, and one that needs a minute
# for them passes for one that does not read at all.
UNSENT_BYTES: Final = 16 * 1024
WRITE_TIMEOUT_S: Final = 60.0
# One range. Several would need a body of several parts, which nobody asks a package for: they get the whole.
_RANGE: Final = re.compile(r"bytes\s*=\s*(?:([0-9]{1,15})\s*-\s*([0-9]{0,15})|-\s*([0-9]{1,15}))\s*")
# The connections that a package goes out by.
READERS: Final = web.AppKey("readers", set[asyncio.Transport])
log = logging.getLogger(__name__)


def set_up(app: web.Application) -> None:
    """Have downloads end with the box: who fetches comes again for the rest, and nobody waits for that."""
    app[READERS] = set()
    app.on_shutdown.append(_end_all)


def routes() -> Sequence[Place]:
    return [Place("GET", f"/{PACKAGE_PATH}/{{ticket}}", fetch, None)]


async def fetch(request: web.Request) -> web.StreamResponse:
    """GET /fw/{ticket}"""
    # Devices have little room for the head of an answer, and no use for what browsers are told in it.
    request[BARE] = True
    package = _package(request)
    return await send(request, package, package.etag.hex(), fetched=package.fetched)


async def send(
    request: web.Request,
    body: Body,
    etag: str,
    *,
    fetched: Callable[[int], None] = lambda _: None,
    disposition: str = "",
) -> web.StreamResponse:
    """Answer with a package, or with the range of it that is asked for; `etag` tells it from any other.

    `fetched` is told until which byte it was read, each time some of it has gone out. Raises
    UsageError("etag_differs"), PackageGone, and ConnectionError where the other side is gone.
    """
    tag = f'"{etag}"'
    if "If-Match" in request.headers and not _has(request.headers["If-Match"], tag):
        raise UsageError("etag_differs", "the package is another one by now", "begin from its first byte")
    head = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "no-store"}
    if disposition:
        head["Content-Disposition"] = disposition
    wanted = _range(request, tag, body.size)
    if wanted is not None and not wanted:
        return _beyond(request, body.size)
    response = web.StreamResponse(status=HTTPStatus.OK, headers=head)
    if wanted is not None:
        response.set_status(HTTPStatus.PARTIAL_CONTENT)
        response.headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{body.size}"
    else:
        wanted = range(body.size)
    response.content_type = BYTES
    response.content_length = len(wanted)
    if request.method == "HEAD":
        await response.prepare(request)
        return response
    # Read before anything is said: a package that cannot be read is an error, and not a broken connection.
    first = body.read(wanted.start, min(PIECE_BYTES, len(wanted)))
    await response.prepare(request)
    with _reading(request):
        await _stream(request, response, body, wanted, first, fetched)
    await response.write_eof()
    return response


async def _stream(
    request: web.Request,
    response: web.StreamResponse,
    body: Body,
    wanted: range,
    first: bytes,
    fetched: Callable[[int], None],
) -> None:
    at, piece = wanted.start, first
    _hold_back(request)
    try:
        while True:
            if len(piece) != min(PIECE_BYTES, wanted.stop - at):
                raise PackageGone("the file of a package is shorter than it was")
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.write(piece)
            # What the system takes at once goes by without a pause: others have their turn here, and a
            # connection that is lost is known to be.
            await asyncio.sleep(0)
            if request.transport is None:
                raise ConnectionResetError("the connection is lost")
            at += len(piece)
            fetched(at)
            if at >= wanted.stop:
                return
            piece = body.read(at, min(PIECE_BYTES, wanted.stop - at))
    except (ConnectionError, TimeoutError) as error:
        raise _broken_off(request, "who fetches is gone, or does not read") from error
    except PackageGone as error:
        log.error("package broken off", extra={"ERROR_CODE": error.code, "REASON": error.message})
        raise _broken_off(request, error.message) from error


def _hold_back(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    # Debian 12's Python: a TLS transport has no protocol left once its connection is lost.
    with contextlib.suppress(AttributeError):
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
    used = transport.get_extra_info("socket")
    if used is not None and used.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            used.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


@contextlib.contextmanager
def _reading(request: web.Request) -> Iterator[None]:
    readers, transport = request.app[READERS], request.transport
    if transport is not None:
        readers.add(transport)
    try:
        yield
    finally:
        if transport is not None:
            readers.discard(transport)


async def _end_all(app: web.Application) -> None:
    readers = app[READERS]
    for transport in tuple(readers):
        # Debian 12's Python: see above.
        with contextlib.suppress(AttributeError):
            transport.abort()


def _package(request: web.Request) -> Package:
    """The package of the ticket in the address; nobody is told why there is none."""
    try:
        return request.app[PARTS].firmware.packages.open(request.match_info["ticket"], None)
    except PeerError:
        raise UsageError(
            "package_unknown", "there is no such package", "the update that it was for has ended"
        ) from None


def _range(request: web.Request, tag: str, size: int) -> range | None:
    """The range that is asked for, empty where there is nothing of it; None: the whole."""
    header = request.headers.get("Range", "")
    # A date, or a tag that is weak, is none of ours (RFC 9110 13.1.5).
    if request.method != "GET" or not header or request.headers.get("If-Range", tag) != tag:
        return None
    found = _RANGE.fullmatch(header.strip())
    if found is None:
        return None
    if found[3]:
        return range(max(0, size - int(found[3])), size)
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None  # no range at all, which is as if nobody had asked (14.1.1)
    return range(first, min(last + 1, size))


def _beyond(request: web.Request, size: int) -> web.Response:
    error: ApplianceError = UsageError(
        "range_unsatisfiable", f"the package has {size} bytes", "begin from its first byte"
    )
    response = errors.answer(request, error, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    response.headers["Content-Range"] = f"bytes */{size}"
    return response


def _has(header: str, tag: str) -> bool:
    return any(one.strip() in ("*", tag) for one in header.split(","))


def _broken_off(request: web.Request, why: str) -> ConnectionError:
    """End the connection, so that nobody takes a part for the whole."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError(why)
