"""The front door: takes connections in, and keeps strangers from holding it.

aiohttp bounds what a request may weigh, but neither how many connections there are nor how long one may stay
silent. Here a connection has a time to shake hands and a time to bring its request's head (RFC 9112 2.2), an
address has a number of connections, and when there are too many, one that does nothing gives way. A request
under way is never touched, so a stream may last for as long as somebody reads it.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import socket
import ssl
import time
from asyncio import sslproto
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..errors import clean
from .errors import Handler

BACKLOG: Final = 128
SWEEP_S: Final = 1.0
# What a browser that was closed has for its goodbye.
GOODBYE_S: Final = 5.0
# How long to wait where the system has no room for another connection.
PAUSE_S: Final = 1.0
# asyncio gives each TLS connection a buffer of 256 KiB, which strangers could have by the hundred. A record
# has 16 KiB.
TLS_BUFFER_BYTES: Final = 32 * 1024
EVERYWHERE: Final = "::"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections, in all and of one address (of a network /64 in IPv6), and how long they may take.

    `head_s` is for a request's head, from the connection on or from its first byte; `stall_s` for how long
    an answer may wait for who asked for it to read on.
    """

    connections: int = 512
    of_address: int = 64
    of_loopback: int = 256
    handshake_s: float = 10.0
    head_s: float = 10.0
    stall_s: float = 60.0


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at an address; for `::` on IPv4 too, each by itself, so that an IPv4 address is
    told as one. Raises OSError, and leaves nothing open then."""
    if host != EVERYWHERE:
        return [_listen(host, port)]
    first = _listen("0.0.0.0", port)
    try:
        return [_listen(host, int(first.getsockname()[1])), first]
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return [first]  # a machine without IPv6
        first.close()
        raise


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


class Guest(asyncio.Protocol):
    """One connection: hands on to aiohttp's protocol, and knows what it is waiting for.

    `due_s` is when it has to have said something, None while it need not; `idle_s` since when it does
    nothing, None while a request is under way.
    """

    def __init__(self, door: "FrontDoor", group: str) -> None:
        self.group = group
        self.transport: asyncio.BaseTransport | None = None
        self.receiving: asyncio.Task[None] | None = None
        self.idle_s: float | None = door.now()
        # The handshake has a limit of its own.
        self.due_s: float | None = None
        self.stalled_s: float | None = None
        self._door = door
        self._inner: Any = None

    def begin(self) -> None:
        """A request's head has arrived."""
        self.due_s = self.idle_s = None

    def end(self) -> None:
        """The request is answered. aiohttp bounds how long the connection may rest now."""
        self.due_s = None
        self.idle_s = self._door.now()

    def dismiss(self) -> None:
        """Close it now."""
        if self.transport is not None:
            # TLS transports of Debian 12's Python have no protocol left once the connection is lost.
            with contextlib.suppress(AttributeError):
                self.transport.abort()  # type: ignore[attr-defined]
        elif self.receiving is not None:
            self.receiving.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.due_s = self._door.now() + self._door.limits.head_s
        self._inner = self._door.serve()
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self.due_s is None and self.idle_s is not None:
            self.due_s = self._door.now() + self._door.limits.head_s
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        answer: bool | None = self._inner.eof_received()
        return answer

    def pause_writing(self) -> None:
        self.stalled_s = self._door.now()
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self.stalled_s = None
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.left(self)
        self._inner.connection_lost(exc)


class FrontDoor:
    """Takes in the connections of listening sockets, for `serve`, which makes aiohttp's protocol for each."""

    def __init__(
        self,
        sockets: Collection[socket.socket],
        context: ssl.SSLContext | None,
        serve: Callable[[], Any],
        limits: Limits | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits or Limits()
        self.now = now
        self.serve = serve
        self._sockets = list(sockets)
        self._context = context
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
        self._guests: dict[Guest, None] = {}  # in the order of their coming
        self._receiving: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        """That of the first socket."""
        return int(self._sockets[0].getsockname()[1])

    def __len__(self) -> int:
        """How many connections there are, those that still shake hands among them."""
        return len(self._guests)

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._accept(listening), name="http-accept") for listening in self._sockets
        ]
        self._tasks.append(asyncio.create_task(self._sweep(), name="http-sweep"))

    async def stop(self) -> None:
        """Take nobody in any more, and drop who still shakes hands; the others are aiohttp's to end."""
        tasks = [*self._tasks, *self._receiving]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listening in self._sockets:
            listening.close()

    def left(self, guest: Guest) -> None:
        """A connection is gone."""
        self._guests.pop(guest, None)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # it went while it waited
            except OSError as error:
                log.error(
                    "no connection can be taken", extra={"REASON": errno.errorcode.get(error.errno or 0, "")}
                )
                self._give_way(self._guests)
                await asyncio.sleep(PAUSE_S)
                continue
            self._admit(connection, str(address[0]))

    def _admit(self, connection: socket.socket, address: str) -> None:
        group, limit = self._group(address)
        same = [guest for guest in self._guests if guest.group == group]
        if (len(same) >= limit and not self._give_way(same)) or (
            len(self._guests) >= self.limits.connections and not self._give_way(self._crowd())
        ):
            log.info("connection refused", extra={"PEER": address, "CONNECTIONS": len(self._guests)})
            connection.close()
            return
        guest = Guest(self, group)
        self._guests[guest] = None
        guest.receiving = asyncio.create_task(self._receive(guest, connection), name="http-handshake")
        self._receiving.add(guest.receiving)
        guest.receiving.add_done_callback(partial(self._received, guest, connection))

    async def _receive(self, guest: Guest, connection: socket.socket) -> None:
        secure = self._context is not None
        # No TLS, not in time, or gone again: a stranger's doing, not worth a line.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self.limits.handshake_s if secure else None,
                ssl_shutdown_timeout=GOODBYE_S if secure else None,
            )

    def _received(self, guest: Guest, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._receiving.discard(task)
        if guest.transport is None:
            # Also where the task was cancelled before it began, and nobody has the socket yet.
            connection.close()
            self.left(guest)

    def _give_way(self, guests: Collection[Guest]) -> bool:
        """Close the one of these that has done nothing for the longest; False where all are at work."""
        idle = [(guest.idle_s, guest) for guest in guests if guest.idle_s is not None]
        if not idle:
            return False
        _, guest = min(idle, key=itemgetter(0))
        self.left(guest)
        guest.dismiss()
        return True

    def _crowd(self) -> list[Guest]:
        """The connections of the address that has the most idle ones."""
        idle = Counter(guest.group for guest in self._guests if guest.idle_s is not None)
        largest = idle.most_common(1)
        return [guest for guest in self._guests if largest and guest.group == largest[0][0]]

    def _group(self, address: str) -> tuple[str, int]:
        """Who counts as one, and how many connections it may have."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if found.is_loopback:
            return address, self.limits.of_loopback
        if found.version == 6:
            # Whoever has one IPv6 address has the whole network of it.
            return str(ipaddress.IPv6Network((found.packed, 64), strict=False)), self.limits.of_address
        return address, self.limits.of_address

    def sweep(self) -> None:
        """Close those whose time is over."""
        now = self.now()
        for guest in list(self._guests):
            late = guest.due_s is not None and now > guest.due_s
            stalled = guest.stalled_s is not None and now > guest.stalled_s + self.limits.stall_s
            if late or stalled:
                self.left(guest)
                guest.dismiss()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep()


@web.middleware
async def attend(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection that its request is under way; the outermost of all middlewares."""
    guest: object = None
    if request.transport is not None:
        with contextlib.suppress(AttributeError):
            guest = request.transport.get_protocol()
    if not isinstance(guest, Guest):
        return await handler(request)
    guest.begin()
    try:
        return await handler(request)
    finally:
        guest.end()


class _Unreadable(logging.Filter):
    """What is no HTTP is a stranger's doing, and worth one line: aiohttp tells it as a fault of ours, with a
    traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args, record.exc_info = "request unreadable", (), None
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.REASON = clean(error.message)
            return parser_log.isEnabledFor(logging.INFO)
        return True


# For aiohttp's parser and its connections.
parser_log: Final = logging.getLogger(f"{__name__}.parser")
parser_log.addFilter(_Unreadable())
