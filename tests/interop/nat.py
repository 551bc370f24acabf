"""A NAT with a bad memory: a UDP relay that goes on from another port, on command or every few datagrams.

What the daemon still sends to a port that was left is lost, as it is on the way. It counts what it can see of
DTLS, which is how many times a device begins a handshake (RFC 6347 4.1, RFC 9146 4).
"""

import selectors
import socket
import threading
from collections import Counter
from collections.abc import Iterator

from .daemon import LOOPBACK

MAX_DATAGRAM = 65535
HANDSHAKE, CLIENT_HELLO = 22, 1
WITH_CID = 25
CID_BYTES = 8  # of the ids that the daemon gives its devices


class Nat:
    """Devices speak to `port`; used as a context. `every`: it goes on from another port after so many
    datagrams of a device."""

    def __init__(self, server_port: int, every: int | None = None) -> None:
        self.every = every
        self.lost = 0
        self.records: Counter[int] = Counter()  # of devices, by content type
        self.hellos = 0
        self._server = (LOOPBACK, server_port)
        self._inside = self._bound()
        self.port: int = self._inside.getsockname()[1]
        self._lock = threading.Lock()
        self._outside: dict[tuple[str, int], socket.socket] = {}
        self._left: set[socket.socket] = set()
        self._relayed: Counter[tuple[str, int]] = Counter()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ear = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"nat {self.port}")

    def __enter__(self) -> "Nat":
        self._selector.register(self._inside, selectors.EVENT_READ, None)
        self._selector.register(self._ear, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bell.send(b"!")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            sock.close()
        self._selector.close()
        self._bell.close()

    @property
    def uri(self) -> str:
        return f"coaps://{LOOPBACK}:{self.port}"

    @property
    def outside(self) -> set[str]:
        """The addresses that the daemon sees its devices at now."""
        with self._lock:
            return {f"{LOOPBACK}:{sock.getsockname()[1]}" for sock in self._outside.values()}

    def rebind(self) -> None:
        """Forget every device: its next datagram goes out from a port it never had."""
        with self._lock:
            for device in list(self._outside):
                self._leave(device)

    def _leave(self, device: tuple[str, int]) -> None:
        # It stays bound, so that no one else gets the port and the daemon is not told that nobody is there.
        self._left.add(self._outside.pop(device))

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._ear:
                    return
                try:
                    data, source = sock.recvfrom(MAX_DATAGRAM)
                except ConnectionError:
                    continue  # the daemon is not there now
                with self._lock:
                    if sock is self._inside:
                        self._outwards(data, source)
                    else:
                        self._inwards(data, sock, key.data)

    def _outwards(self, data: bytes, device: tuple[str, int]) -> None:
        if self.every is not None and self._relayed[device] and self._relayed[device] % self.every == 0:
            self._leave(device)
        sock = self._outside.get(device)
        if sock is None:
            sock = self._outside[device] = self._bound()
            self._selector.register(sock, selectors.EVENT_READ, device)
        self._relayed[device] += 1
        for kind, begins in records(data):
            self.records[kind] += 1
            self.hellos += begins
        sock.sendto(data, self._server)

    def _inwards(self, data: bytes, sock: socket.socket, device: tuple[str, int]) -> None:
        if sock in self._left:
            self.lost += 1
        else:
            self._inside.sendto(data, device)

    @staticmethod
    def _bound() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((LOOPBACK, 0))
        return sock


def records(datagram: bytes) -> Iterator[tuple[int, bool]]:
    """The content type of each record of a device's datagram, and whether it begins a ClientHello."""
    at = 0
    while len(datagram) - at >= 13:
        kind, epoch = datagram[at], datagram[at + 3 : at + 5]
        header = 13 + (CID_BYTES if kind == WITH_CID else 0)
        length = int.from_bytes(datagram[at + header - 2 : at + header], "big")
        body = datagram[at + header : at + header + length]
        in_clear = kind == HANDSHAKE and epoch == b"\0\0" and len(body) >= 12
        yield kind, in_clear and body[0] == CLIENT_HELLO and body[6:9] == b"\0\0\0"
        at += header + length
