"""The socket and the timer of one simulated device.

One UDP socket a device, connected to the server, so each has a port of its own as real devices do.
All devices share one event loop and its one thread.
"""

import asyncio
import math
import socket
from dataclasses import dataclass
from typing import Final

from .device import Device
from .lifecycle import State
from .statistics import Statistics

# More than any message of a peer that keeps to blocks of 1024 bytes.
_DATAGRAM_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is, as the resolver gave it."""

    family: int
    address: tuple[object, ...]


class Port:
    """Joins a device to the network: call `open` once, `close` at the end."""

    __slots__ = ("_device", "_fd", "_handle", "_loop", "_server", "_socket", "_statistics", "_stopped")

    def __init__(self, server: Server, statistics: Statistics) -> None:
        self._server = server
        self._statistics = statistics
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
        self._socket = socket.socket(self._server.family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(self._server.address)
            self._fd = self._socket.fileno()
            self._loop.add_reader(self._fd, self._readable)
        except OSError:
            self._socket.close()
            raise
        self._device = device
        device.attached(self._socket.getsockname()[0])
        device.start(start_at)
        self._arm()

    def transmit(self, data: bytes) -> None:
        """Put a datagram on the wire; one that will not go is lost, as any other may be."""
        try:
            self._socket.send(data)
        except OSError:
            # BlockingIOError: the buffer is full. ConnectionRefusedError: an earlier datagram met a
            # closed port. CoAP sends again either way.
            self._statistics.unsent += 1

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
        self._loop.remove_reader(self._fd)
        self._socket.close()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(_DATAGRAM_BYTES)
        except OSError:
            return  # an ICMP error: the server is away, which retransmission finds out by itself
        self.device.receive(data, self._loop.time())
        self._arm()

    def _timer(self) -> None:
        self._handle = None
        self.device.handle_timer(self._loop.time())
        self._arm()

    def _arm(self) -> None:
        """See that the loop calls in time. A call that comes too early is cheap and sets the next."""
        device = self.device
        if self._stopped is not None and device.state is State.OFF and not self._stopped.done():
            self._stopped.set_result(None)
        deadline = device.deadline
        if self._handle is not None:
            if self._handle.when() <= deadline:
                return
            self._handle.cancel()
            self._handle = None
        if deadline < math.inf:
            self._handle = self._loop.call_at(deadline, self._timer)
