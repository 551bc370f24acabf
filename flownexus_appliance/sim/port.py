"""The socket and the timer of one simulated device.

One UDP socket a device, connected to the server, so each has a port of its own as real devices do.
All devices share one event loop and its one thread. Where a bootstrap sends a device the fleet's
`Resolver` finds out.
"""

import asyncio
import math
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ..lwm2m.firmware import UpdateResult
from .device import Device
from .download import Ended
from .lifecycle import State
from .statistics import Statistics

# More than any message of a peer that keeps to blocks of 1024 bytes.
_DATAGRAM_BYTES: Final = 2048
_MAX_ASKING: Final = 16
_REBIND_AGAIN_S: Final = 0.1  # when the device had something under way


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is, as the resolver gave it."""

    family: int
    address: tuple[object, ...]


class Resolver:
    """Finds the addresses of servers beside the loop; `find` never waits."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Server] = {}
        self._asking: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def resolve(self, host: str, port: int) -> Server:
        """The address of a server; raises OSError."""
        loop = asyncio.get_running_loop()
        family, _, _, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
        found = self._known[host, port] = Server(family, address)
        return found

    def find(self, host: str, port: int) -> Server | None:
        """What is known of a server's address; None while it is asked for, or has none."""
        key = host, port
        if key not in self._known:
            self._read_address(key)
        if key not in self._known and key not in self._asking and len(self._asking) < _MAX_ASKING:
            self._asking[key] = asyncio.get_running_loop().create_task(self._ask(key))
        return self._known.get(key)

    def _read_address(self, key: tuple[str, int]) -> None:
        """What is an address already needs no asking."""
        flags = socket.AI_NUMERICHOST
        try:
            family, _, _, _, address = socket.getaddrinfo(*key, type=socket.SOCK_DGRAM, flags=flags)[0]
        except (OSError, UnicodeError):
            return
        self._known[key] = Server(family, address)

    async def close(self) -> None:
        """Ask no more."""
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, key: tuple[str, int]) -> None:
        try:
            await self.resolve(*key)
        except (OSError, UnicodeError):
            pass  # whoever wants to go there asks again
        finally:
            del self._asking[key]


class Workers:
    """The threads in which the devices of a fleet fetch by HTTP; there are none before the first one does."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ThreadPoolExecutor | None = None

    def begin(self, work: Callable[[], UpdateResult | None]) -> "asyncio.Future[UpdateResult | None]":
        """Do this when a thread is free."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._count, "sim")
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def close(self) -> None:
        """Wait until all threads are through; the downloads are to be aborted before."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
            self._pool = None


class Line:
    """A further socket of a device, connected to a server."""

    __slots__ = ("_close", "_socket", "_unsent")

    def __init__(
        self, opened: socket.socket, close: Callable[[socket.socket], None], unsent: Callable[[], None]
    ) -> None:
        self._socket = opened
        self._close = close
        self._unsent = unsent

    def transmit(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError:
            self._unsent()

    def close(self) -> None:
        self._close(self._socket)


class Port:
    """Joins a device to the network: call `open` once, `close` at the end."""

    __slots__ = (
        "_device",
        "_handle",
        "_loop",
        "_rebind_due",
        "_rebind_every_s",
        "_resolver",
        "_server",
        "_socket",
        "_statistics",
        "_stopped",
        "_workers",
    )

    def __init__(
        self,
        server: Server,
        statistics: Statistics,
        resolver: Resolver,
        rebind_every_s: float = 0.0,
        workers: Workers | None = None,
    ) -> None:
        self._workers = workers or Workers(1)
        self._server = server
        self._statistics = statistics
        self._resolver = resolver
        self._rebind_every_s = rebind_every_s or math.inf
        self._rebind_due = math.inf
        self._device: Device | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._stopped: asyncio.Future[None] | None = None

    @property
    def device(self) -> Device:
        assert self._device is not None
        return self._device

    def open(self, device: Device, start_at: float) -> None:
        """Open the socket and start the device at a time of the loop; raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._socket = self._open_socket(self._server, self._readable)
        self._device = device
        device.attached(self._socket.getsockname()[0])
        device.start(start_at)
        # By its phase: not all at once.
        self._rebind_due = start_at + self._rebind_every_s * (1 + device.profile.phase)
        self._arm()

    def connect(self, host: str, port: int) -> bool:
        server = self._resolver.find(host, port)
        if server is None:
            return False
        self._server = server
        try:
            self._move()
        except OSError:
            return False
        return True

    def open_line(self, host: str, port: int, receive: Callable[[bytes, float], None]) -> Line | None:
        server = self._resolver.find(host, port)
        if server is None:
            return None

        def readable() -> None:
            try:
                data = opened.recv(_DATAGRAM_BYTES)
            except OSError:
                return
            receive(data, self._loop.time())
            self._arm()

        try:
            opened = self._open_socket(server, readable)
        except OSError:
            return None
        return Line(opened, self._close_socket, self._count_unsent)

    def beside(self, work: Callable[[], UpdateResult | None], done: Ended) -> None:
        def over(future: "asyncio.Future[UpdateResult | None]") -> None:
            if self._device is not None and not future.cancelled():
                done(future.result(), self._loop.time())
                self._arm()

        self._workers.begin(work).add_done_callback(over)

    def transmit(self, data: bytes) -> None:
        """Put a datagram on the wire; one that will not go is lost, as any other may be."""
        try:
            self._socket.send(data)
        except OSError:
            # BlockingIOError: the buffer is full. ConnectionRefusedError: an earlier datagram met a
            # closed port. CoAP sends again either way.
            self._count_unsent()

    async def stop(self) -> None:
        """Deregister, and wait until that is done; the caller bounds the time."""
        self._stopped = self._loop.create_future()
        if self.device.stop(self._loop.time()):
            self._arm()
            await self._stopped

    def close(self) -> None:
        """Vanish from the network."""
        if self._device is None:
            return
        self._device.vanish()
        self._device = None
        if self._handle is not None:
            self._handle.cancel()
        self._close_socket(self._socket)

    def _count_unsent(self) -> None:
        self._statistics.unsent += 1

    def _open_socket(self, server: Server, readable: Callable[[], None]) -> socket.socket:
        opened = socket.socket(server.family, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.connect(server.address)
            self._loop.add_reader(opened.fileno(), readable)
        except OSError:
            opened.close()
            raise
        return opened

    def _close_socket(self, old: socket.socket) -> None:
        self._loop.remove_reader(old.fileno())
        old.close()

    def _move(self) -> None:
        """Go on from a new port; raises OSError. The old one is closed last, so it is another one."""
        old, self._socket = self._socket, self._open_socket(self._server, self._readable)
        self._close_socket(old)
        self.device.attached(self._socket.getsockname()[0])

    def _rebind(self, now: float) -> None:
        if self.device.busy:
            self._rebind_due = now + _REBIND_AGAIN_S
            return
        self._rebind_due = now + self._rebind_every_s
        try:
            self._move()
        except OSError:
            return  # no socket to be had: the old one is as good
        self._statistics.rebindings += 1

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_DATAGRAM_BYTES)
        except OSError:
            return  # an ICMP error: the server is away, which retransmission finds out by itself
        self.device.receive(data, self._loop.time())
        self._arm()

    def _timer(self) -> None:
        self._handle = None
        now = self._loop.time()
        self.device.handle_timer(now)
        if now >= self._rebind_due:
            self._rebind(now)
        self._arm()

    def _arm(self) -> None:
        """See that the loop calls in time. A call that comes too early is cheap and sets the next."""
        device = self.device
        if self._stopped is not None and device.state is State.OFF and not self._stopped.done():
            self._stopped.set_result(None)
        deadline = min(device.deadline, self._rebind_due)
        if self._handle is not None:
            if self._handle.when() <= deadline:
                return
            self._handle.cancel()
            self._handle = None
        if deadline < math.inf:
            self._handle = self._loop.call_at(deadline, self._timer)
