"""The front door: who says nothing is let go, who floods it keeps nobody else out, who is served stays."""

import asyncio
import logging
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import pytest
from aiohttp import web

from flownexus_appliance.http.front_door import FrontDoor, Limits, attend, listen, parser_log
from flownexus_appliance.pki.selfsigned import ensure_certificate

from .house import NOW_MS

PATIENCE_S = 10.0
REQUEST = b"GET / HTTP/1.1\r\nHost: box\r\n\r\n"
# More than the buffers of both ends hold, so that writing has to wait.
LARGE = 32 * 1024 * 1024


@dataclass(slots=True)
class Clock:
    """A clock that goes on when a test says so."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@dataclass(eq=False, slots=True)
class Lobby:
    """What is behind the door: `/` answers, `/stream` tells when `poked`, `/large` is too much to send."""

    door: FrontDoor
    clock: Clock
    poked: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0
    over: bool = False

    async def connect(self, address: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> "Caller":
        """A connection of one's own, from an address of this machine."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.door.port, ssl=context, local_addr=(address, 0)
        )
        return Caller(reader, writer)

    def later(self, seconds: float) -> None:
        """Let time pass, and the door see to it."""
        self.clock.now_s += seconds
        self.door.sweep()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not true():  # noqa: ASYNC110 - what the door notes sets no event
                await asyncio.sleep(0)


@dataclass(eq=False, slots=True)
class Caller:
    """The other end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes = REQUEST) -> bytes:
        """Send a request; the body of the answer, which is `here`."""
        self.writer.write(request)
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n"), head
            return await self.reader.readexactly(4)

    async def closed(self) -> bool:
        """Wait for the end of the connection."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True

    def close(self) -> None:
        self.writer.transport.abort()


Open = Callable[..., Awaitable[Lobby]]


@pytest.fixture
async def open_door() -> AsyncIterator[Open]:
    ends: list[Callable[[], Awaitable[None]]] = []

    async def opened(limits: Limits | None = None, context: ssl.SSLContext | None = None) -> Lobby:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(text="here")

        async def stream(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            lobby.streams += 1
            while not lobby.over:
                await lobby.poked.wait()
                lobby.poked.clear()
                await response.write(b"on\n")
            return response

        async def large(request: web.Request) -> web.Response:
            return web.Response(body=bytes(LARGE))

        app = web.Application(middlewares=[attend])
        app.add_routes([web.get("/", answer), web.get("/stream", stream), web.get("/large", large)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, logger=parser_log)
        await runner.setup()
        assert runner.server is not None
        clock = Clock()
        lobby = Lobby(FrontDoor(listen("127.0.0.1", 0), context, runner.server, limits, clock), clock)
        lobby.door.start()

        async def end() -> None:
            lobby.over = True
            lobby.poked.set()
            await lobby.door.stop()
            await runner.cleanup()

        ends.append(end)
        return lobby

    yield opened
    for end in ends:
        await end()


@pytest.fixture
def contexts(tmp_path: FilePath) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and a client's."""
    chain, key = tmp_path / "box.crt", tmp_path / "box.key"
    ensure_certificate(chain, key, "box", NOW_MS / 1000)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)
    client = ssl.create_default_context(cafile=chain)
    client.check_hostname = False
    return server, client


async def test_who_says_nothing_is_let_go(open_door: Open) -> None:
    lobby = await open_door()
    silent = await lobby.connect()
    other = await lobby.connect()
    await lobby.until(lambda: len(lobby.door) == 2)
    assert await other.ask() == b"here"
    lobby.later(9)
    assert len(lobby.door) == 2
    lobby.later(2)
    assert await silent.closed()
    # Who was served may rest: for how long is aiohttp's to say.
    assert await other.ask() == b"here"
    for caller in (silent, other):
        caller.close()


async def test_who_sends_a_head_byte_by_byte_is_let_go(open_door: Open) -> None:
    lobby = await open_door()
    slow = await lobby.connect()
    assert await slow.ask() == b"here"
    lobby.later(30)
    (guest,) = lobby.door._guests
    for byte in REQUEST[:8]:
        due = guest.due_s
        slow.writer.write(bytes([byte]))
        await lobby.until(lambda: guest.due_s is not None)
        assert due in (None, guest.due_s), "each byte gives it more time"
        lobby.later(1.2)
    lobby.later(1.2)
    assert await slow.closed()
    slow.close()


async def test_who_is_served_may_take_its_time(open_door: Open) -> None:
    lobby = await open_door()
    listener = await lobby.connect()
    listener.writer.write(b"GET /stream HTTP/1.1\r\nHost: box\r\n\r\n")
    await lobby.until(lambda: lobby.streams == 1)
    lobby.later(86_400)
    lobby.poked.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await listener.reader.readuntil(b"on\n")
    listener.close()


async def test_who_does_not_read_the_answer_is_let_go(open_door: Open) -> None:
    lobby = await open_door()
    stalled = await lobby.connect()
    stalled.writer.write(b"GET /large HTTP/1.1\r\nHost: box\r\n\r\n")
    await lobby.until(lambda: any(guest.stalled_s is not None for guest in lobby.door._guests))
    lobby.later(59)
    assert len(lobby.door) == 1
    lobby.later(2)
    assert len(lobby.door) == 0
    assert await stalled.closed()
    stalled.close()


async def test_a_flood_from_one_address_keeps_no_other_out(open_door: Open) -> None:
    lobby = await open_door(Limits(connections=40, of_loopback=20))
    flood = [await lobby.connect() for _ in range(60)]
    assert await flood[0].closed()
    await lobby.until(lambda: len(lobby.door) == 20)
    neighbour = await lobby.connect("127.0.0.2")
    assert await neighbour.ask() == b"here"
    assert len(lobby.door) == 21
    for caller in (*flood, neighbour):
        caller.close()


async def test_a_flood_from_many_addresses_is_answered_by_taking_turns(open_door: Open) -> None:
    lobby = await open_door(Limits(connections=20, of_loopback=8))
    listener = await lobby.connect("127.0.0.9")
    listener.writer.write(b"GET /stream HTTP/1.1\r\nHost: box\r\n\r\n")
    await lobby.until(lambda: lobby.streams == 1)
    flood = [await lobby.connect(f"127.0.0.{host}") for host in (2, 3, 4, 5) for _ in range(8)]
    await lobby.until(lambda: len(lobby.door) == 20)
    neighbour = await lobby.connect("127.0.0.8")
    assert await neighbour.ask() == b"here"
    lobby.poked.set()
    async with asyncio.timeout(PATIENCE_S):
        assert await listener.reader.readuntil(b"on\n")
    for caller in (*flood, neighbour, listener):
        caller.close()


async def test_where_all_are_at_work_nobody_gives_way(open_door: Open) -> None:
    lobby = await open_door(Limits(connections=3, of_loopback=3))
    listeners = [await lobby.connect() for _ in range(3)]
    for listener in listeners:
        listener.writer.write(b"GET /stream HTTP/1.1\r\nHost: box\r\n\r\n")
    await lobby.until(lambda: lobby.streams == 3)
    late = await lobby.connect()
    assert await late.closed()
    assert len(lobby.door) == 3
    listeners[0].close()
    await lobby.until(lambda: len(lobby.door) == 2)
    later = await lobby.connect()
    assert await later.ask() == b"here"
    for caller in (*listeners, late, later):
        caller.close()


async def test_tls_is_served(open_door: Open, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    lobby = await open_door(context=contexts[0])
    caller = await lobby.connect(context=contexts[1])
    assert await caller.ask() == b"here"
    lobby.later(60)
    assert await caller.ask() == b"here"
    caller.writer.write(b"G")
    (guest,) = lobby.door._guests
    await lobby.until(lambda: guest.due_s is not None)
    lobby.later(11)
    assert await caller.closed()
    caller.close()


async def test_a_connection_that_does_nothing_costs_little(
    open_door: Open, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """asyncio would take 256 KiB for each."""
    lobby = await open_door(context=contexts[0])
    caller = await lobby.connect(context=contexts[1])
    assert await caller.ask() == b"here"
    tracemalloc.start()
    more = [await lobby.connect(context=contexts[1]) for _ in range(10)]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Both ends are here.
    assert taken < 10 * 2 * 100_000
    for one in (caller, *more):
        one.close()


async def test_who_never_shakes_hands_is_let_go(
    open_door: Open, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    # In debug mode alone, asyncio tells the loop's exception handler of every broken handshake.
    asyncio.get_running_loop().set_debug(False)
    lobby = await open_door(Limits(handshake_s=0.05), contexts[0])
    silent = await lobby.connect()
    assert await silent.closed()
    await lobby.until(lambda: len(lobby.door) == 0)
    silent.close()


async def test_who_still_shakes_hands_gives_way_too(
    open_door: Open, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    asyncio.get_running_loop().set_debug(False)
    lobby = await open_door(Limits(of_loopback=2), contexts[0])
    silent = [await lobby.connect() for _ in range(4)]
    assert await silent[0].closed()
    assert await silent[1].closed()
    caller = await lobby.connect(context=contexts[1])
    assert await caller.ask() == b"here"
    for one in (*silent, caller):
        one.close()


async def test_what_is_no_http_is_one_line(open_door: Open, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lobby = await open_door()
    for nonsense in (b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n"):
        stranger = await lobby.connect()
        stranger.writer.write(nonsense)
        assert await stranger.closed()
        stranger.close()
    told = [record for record in caplog.records if record.name == parser_log.name]
    assert {(record.levelname, record.getMessage(), record.exc_info) for record in told} == {
        ("INFO", "request unreadable", None)
    }


def test_everywhere_is_both_families() -> None:
    sockets = listen("::", 0)
    families = [one.family for one in sockets]
    ports = {one.getsockname()[1] for one in sockets}
    for one in sockets:
        one.close()
    assert socket.AF_INET in families
    assert len(ports) == 1
    if len(families) == 2:
        assert socket.AF_INET6 in families


def test_a_port_that_is_taken_leaves_nothing_open() -> None:
    (taken,) = listen("0.0.0.0", 0)
    with taken, pytest.raises(OSError, match="in use"):
        listen("::", taken.getsockname()[1])
