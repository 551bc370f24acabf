"""A device by hand, for tests of the wire: a UDP socket and CoAP messages written out (RFC 7252 3).

Shares no code with what it tests, so that the two cannot be wrong together. Never sleeps: waits end by a
message or by a deadline, and silence is shown by a probe that is answered first.
"""

import asyncio
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

CON, NON, ACK, RST = range(4)

GET, POST, PUT, DELETE, FETCH, PATCH, IPATCH = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
EMPTY = 0x00
CREATED, DELETED, CHANGED, CONTENT, CONTINUE = 0x41, 0x42, 0x44, 0x45, 0x5F

OBSERVE, LOCATION_PATH, URI_PATH, CONTENT_FORMAT, URI_QUERY, ACCEPT = 6, 8, 11, 12, 15, 17
BLOCK2, BLOCK1, SIZE2, SIZE1 = 23, 27, 28, 60
ETAG = 4

LINKS, TLV, SENML_JSON, SENML_CBOR = 40, 11542, 110, 112

DEADLINE_S = 10.0
POLL_S = 0.002
Options = tuple[tuple[int, bytes], ...]


def uint(number: int) -> bytes:
    """An unsigned integer as an option holds it: as few bytes as it needs, none for 0."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def dotted(code: int) -> str:
    return f"{code >> 5}.{code & 31:02}"


@dataclass(frozen=True, slots=True)
class Block:
    """A Block1 or Block2 option (RFC 7959 2.2); `szx` 5 is 512 bytes."""

    number: int
    more: bool
    szx: int

    @property
    def size(self) -> int:
        return 1 << self.szx + 4

    def encode(self) -> bytes:
        return uint(self.number << 4 | self.more << 3 | self.szx)

    @classmethod
    def decode(cls, data: bytes) -> "Block":
        number = int.from_bytes(data, "big")
        return cls(number >> 4, bool(number & 8), number & 7)


@dataclass(frozen=True, slots=True)
class Frame:
    """One CoAP message. Options are kept as they are on the wire, in order of their numbers."""

    kind: int
    code: int
    mid: int
    token: bytes = b""
    options: Options = ()
    payload: bytes = b""

    def encode(self) -> bytes:
        data = bytearray([0x40 | self.kind << 4 | len(self.token), self.code])
        data += self.mid.to_bytes(2, "big") + self.token
        last = 0
        for number, value in sorted(self.options, key=lambda option: option[0]):
            delta, long_delta = _nibble(number - last)
            length, long_length = _nibble(len(value))
            data += bytes([delta << 4 | length]) + long_delta + long_length + value
            last = number
        return bytes(data) + (b"\xff" + self.payload if self.payload else b"")

    @classmethod
    def decode(cls, data: bytes) -> "Frame":
        """Read a message; fails the test on anything RFC 7252 3 does not allow."""
        assert data[0] >> 6 == 1, "version"
        length = data[0] & 15
        assert length <= 8, "token length"
        token, at = data[4 : 4 + length], 4 + length
        assert len(token) == length, "token cut off"
        options: list[tuple[int, bytes]] = []
        number, payload = 0, b""
        while at < len(data):
            if data[at] == 0xFF:
                payload = data[at + 1 :]
                assert payload, "payload marker without payload"
                break
            delta, length = data[at] >> 4, data[at] & 15
            delta, at = _extended(data, at + 1, delta)
            length, at = _extended(data, at, length)
            number += delta
            assert at + length <= len(data), "option cut off"
            options.append((number, data[at : at + length]))
            at += length
        frame = cls(
            data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big"), token, tuple(options), payload
        )
        if frame.code == EMPTY:
            assert data[4:] == b"", "an empty message with content"
        return frame

    def all(self, number: int) -> list[bytes]:
        """The values of every option of this number."""
        return [value for found, value in self.options if found == number]

    def one(self, number: int) -> bytes | None:
        found = self.all(number)
        assert len(found) <= 1, f"option {number} given {len(found)} times"
        return found[0] if found else None

    def number(self, option: int) -> int | None:
        value = self.one(option)
        return None if value is None else int.from_bytes(value, "big")

    def block(self, option: int) -> Block | None:
        value = self.one(option)
        return None if value is None else Block.decode(value)

    @property
    def path(self) -> str:
        return "/" + "/".join(segment.decode() for segment in self.all(URI_PATH))

    @property
    def query(self) -> tuple[str, ...]:
        return tuple(part.decode() for part in self.all(URI_QUERY))

    @property
    def location(self) -> tuple[str, ...]:
        return tuple(segment.decode() for segment in self.all(LOCATION_PATH))

    @property
    def is_request(self) -> bool:
        return 1 <= self.code < 32

    @property
    def status(self) -> str:
        """The code as people write it: "2.05"."""
        return dotted(self.code)


def _nibble(number: int) -> tuple[int, bytes]:
    if number < 13:
        return number, b""
    if number < 269:
        return 13, bytes([number - 13])
    return 14, (number - 269).to_bytes(2, "big")


def _extended(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    assert nibble != 15, "reserved option nibble"
    if nibble == 13:
        return data[at] + 13, at + 1
    if nibble == 14:
        return int.from_bytes(data[at : at + 2], "big") + 269, at + 2
    return nibble, at


def options(
    path: str = "",
    query: tuple[str, ...] = (),
    content_format: int | None = None,
    accept: int | None = None,
    observe: int | None = None,
    block1: Block | None = None,
    block2: Block | None = None,
    size1: int | None = None,
    more: Options = (),
) -> Options:
    """Options by their names; `more` are further ones as number and bytes."""
    listed = [(URI_PATH, part.encode()) for part in path.split("/") if part]
    listed += [(URI_QUERY, part.encode()) for part in query]
    numbers = ((CONTENT_FORMAT, content_format), (ACCEPT, accept), (OBSERVE, observe), (SIZE1, size1))
    listed += [(number, uint(value)) for number, value in numbers if value is not None]
    blocks = ((BLOCK1, block1), (BLOCK2, block2))
    listed += [(number, block.encode()) for number, block in blocks if block is not None]
    return tuple(listed) + more


REGISTER_QUERY = ("lwm2m=1.1", "ep=peer", "lt=300")
REGISTER_LINKS = b"</>;ct=112,</1/0>,</3/0>,</3303/0>"


@dataclass(slots=True)
class DevicePeer:
    """A device's UDP socket, and the address it knows the server by. Nothing else may answer it."""

    sock: socket.socket
    server: tuple[str, int]
    mids: Iterator[int] = field(default_factory=lambda: itertools.count(0x1000))

    @property
    def address(self) -> str:
        """As the server names it."""
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def send(self, frame: Frame | bytes) -> None:
        self.sock.sendto(frame if isinstance(frame, bytes) else frame.encode(), self.server)

    def request(
        self,
        code: int,
        path: str,
        payload: bytes = b"",
        *,
        kind: int = CON,
        mid: int | None = None,
        token: bytes | None = None,
        **named: object,
    ) -> Frame:
        """Send a request and return it; further names are those of `options`."""
        mid = next(self.mids) & 0xFFFF if mid is None else mid
        token = b"tok" + mid.to_bytes(2, "big") if token is None else token
        frame = Frame(kind, code, mid, token, options(path, **named), payload)  # type: ignore[arg-type]
        self.send(frame)
        return frame

    def register(
        self, query: tuple[str, ...] = REGISTER_QUERY, links: bytes = REGISTER_LINKS, **more: object
    ) -> Frame:
        named: dict[str, object] = {"query": query, "content_format": LINKS, **more}
        return self.request(POST, "/rd", links, **named)  # type: ignore[arg-type]

    async def datagram(self) -> bytes:
        """The next datagram; fails after DEADLINE_S."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.next_datagram()

    async def next_datagram(self) -> bytes:
        """The next datagram, however long it takes."""
        data, source = await asyncio.get_running_loop().sock_recvfrom(self.sock, 65_536)
        assert source[:2] == self.server
        return data

    async def receive(self) -> Frame:
        return Frame.decode(await self.datagram())

    async def reply(self, request: Frame) -> Frame:
        """The piggybacked answer to a request, checked to be one."""
        frame = await self.receive()
        assert (frame.kind, frame.mid, frame.token) == (ACK, request.mid, request.token), frame
        return frame

    async def asked(self) -> Frame:
        """The next message, checked to be a confirmable request of the server."""
        frame = await self.receive()
        assert frame.is_request, frame
        assert frame.kind == CON, frame
        return frame

    def answer(self, request: Frame, code: int, payload: bytes = b"", **named: object) -> Frame:
        """Answer a request of the server, piggybacked."""
        frame = Frame(ACK, code, request.mid, request.token, options(**named), payload)  # type: ignore[arg-type]
        self.send(frame)
        return frame

    def acknowledge(self, frame: Frame) -> None:
        self.send(Frame(ACK, EMPTY, frame.mid))

    def reset(self, frame: Frame) -> None:
        self.send(Frame(RST, EMPTY, frame.mid))

    def notify(
        self,
        token: bytes,
        number: int | None,
        payload: bytes = b"",
        content_format: int | None = SENML_CBOR,
        *,
        kind: int = CON,
        code: int = CONTENT,
        mid: int | None = None,
        **named: object,
    ) -> Frame:
        mid = next(self.mids) & 0xFFFF if mid is None else mid
        listed = options(content_format=content_format, observe=number, **named)  # type: ignore[arg-type]
        frame = Frame(kind, code, mid, token, listed, payload)
        self.send(frame)
        return frame

    async def silent(self) -> None:
        """Show that the server has sent nothing: the answer to a ping is the next thing to come.

        Loopback keeps the order of datagrams, so what was sent before would come before.
        """
        ping = Frame(CON, EMPTY, next(self.mids) & 0xFFFF)
        self.send(ping)
        frame = await self.receive()
        assert frame == Frame(RST, EMPTY, ping.mid), f"not silent: {frame}"


async def until(holds: Callable[[], bool]) -> None:
    """Until something holds of which nobody is told; looks every few milliseconds, fails at the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=POLL_S)


@contextmanager
def device(port: int, host: str = "127.0.0.1", source: str = "") -> Iterator[DevicePeer]:
    """A device at a port of its own, at `source` if given, that speaks to the server at `port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((source or ("::1" if ":" in host else "127.0.0.1"), 0))
        yield DevicePeer(sock, (host, port))
