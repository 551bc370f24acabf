"""A simulated device fetches a package by CoAP: over a socket and, with coaps, a DTLS session of its own.

LwM2M Core 1.1.1 E.6 (Package URI), RFC 7959 2.4 (Block2), 4 (Size2), RFC 7252 5.10.6 (ETag). No socket, no
clock: the network hands the datagrams in. As with Zephyr all requests have one token, and nothing is resumed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final
from typing import Protocol as Interface
from urllib.parse import unquote, urlsplit

from ..lwm2m.firmware import Protocol, UpdateResult
from .channel import Channel, DtlsChannel, PlainChannel, Sessions
from .credentials import Credential
from .firmware_options import PULLS
from .messages import Block, Code, Message
from .options import SimOptions
from .package import Intake
from .statistics import Statistics
from .wire import TOKEN_BYTES, MessageLayer, Outcome

DEFAULT_PORTS: Final = {
    Protocol.COAP: 5683,
    Protocol.COAPS: 5684,
    Protocol.HTTP: 80,
    Protocol.HTTPS: 443,
}
_ASK_AGAIN_S: Final = 0.2  # while the address of the server is not known
_NOT_FOUND_S: Final = 10.0

# What is wrong with the download, None for nothing, and when that was known.
Ended = Callable[[UpdateResult | None, float], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a package is."""

    protocol: Protocol
    host: str
    port: int
    path: tuple[str, ...]  # decoded
    target: str  # path and query as they stand in the URI


class Line(Interface):
    """A socket of a device beside its first."""

    def transmit(self, data: bytes) -> None:
        """Put a datagram on the wire."""

    def close(self) -> None:
        """Give the socket back."""


class Lines(Interface):
    """Where lines come from."""

    def open_line(self, host: str, port: int, receive: Callable[[bytes, float], None]) -> Line | None:
        """A line to this server, from a port of its own; None while that cannot be."""


class Download(Interface):
    """A package on its way. `deadline` is when `handle_timer` wants to be called."""

    @property
    def deadline(self) -> float:
        """Monotonic seconds, infinite while there is nothing to wait for."""

    def handle_timer(self, now: float) -> None:
        """Do what is due."""

    def abort(self) -> None:
        """Stop, and tell nobody."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a device has to fetch packages with."""

    options: SimOptions
    lines: Lines
    sessions: Sessions
    statistics: Statistics
    entropy: Random


def parse_uri(text: str) -> Place:
    """Read a Package URI; raises ValueError for what is none, KeyError for a scheme that nobody knows."""
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no scheme")
    protocol = PULLS[parts.scheme]
    port = DEFAULT_PORTS[protocol] if parts.port is None else parts.port
    if not parts.hostname or not port or any(c.isspace() for c in text):
        raise ValueError("no host, or no port")
    path = tuple(unquote(segment) for segment in parts.path.split("/")[1:])
    query = f"?{parts.query}" if parts.query else ""
    # The query is dropped by CoAP clients as it is by Zephyr.
    return Place(protocol, parts.hostname, port, path, (parts.path or "/") + query)


class CoapDownload:
    """Fetches a package block by block, once; `ended` is told unless it is aborted, or stalls."""

    __slots__ = (
        "_again",
        "_channel",
        "_due",
        "_ended",
        "_etag",
        "_exponent",
        "_give_up",
        "_intake",
        "_layer",
        "_line",
        "_means",
        "_place",
        "_token",
        "_unanswered",
    )

    def __init__(
        self,
        means: Means,
        place: Place,
        credential: Credential | None,
        intake: Intake,
        ended: Ended,
        now: float,
    ) -> None:
        """Raises ValueError for a credential that cannot be used."""
        self._means = means
        self._place = place
        self._intake = intake
        self._ended: Ended | None = ended
        self._exponent = Block.exponent_for(means.options.firmware.block_size)
        self._token = means.entropy.randbytes(TOKEN_BYTES)
        self._etag: bytes | None = None
        self._again = False  # it has begun anew already
        self._unanswered = True
        self._line: Line | None = None
        self._due = now
        self._give_up = now + _NOT_FOUND_S
        self._channel: Channel
        if credential is None:
            self._channel = PlainChannel(self._transmit, self)
        else:
            self._channel = DtlsChannel(self._transmit, credential, means.sessions, self, means.statistics)
        self._layer = MessageLayer(
            self._channel.send,
            _refuse,
            _ignore,
            means.entropy,
            means.statistics,
            means.options.transmission,
            self._channel.ready,
        )

    @property
    def deadline(self) -> float:
        wire = self._layer.deadline
        return min(self._due, self._channel.deadline, math.inf if wire is None else wire)

    def handle_timer(self, now: float) -> None:
        if now >= self._due:
            self._due = math.inf
            if self._line is None:
                self._connect(now)
            else:
                self._layer.submit(self, now)
        self._layer.handle_timer(now)
        self._channel.handle_timer(now)

    def abort(self) -> None:
        self._ended = None
        self._close()

    def receive(self, data: bytes, now: float) -> None:
        """A datagram has come by the line."""
        self._channel.receive(data, now)
        self.handle_timer(now)

    # What the channel brings about

    def received(self, message: bytes, now: float) -> None:
        self._layer.receive(message, now)

    def opened(self, now: float) -> None:
        self._layer.resume(now)

    def failed(self, now: float) -> None:
        self._layer.give_up(now)

    def closed(self, now: float) -> None:
        self._layer.give_up(now)

    # The GET of the next block, as the message layer sends it

    def build(self, now: float) -> Message | None:
        if self._ended is None:
            return None
        request = Message(Code.GET, token=self._token, path=self._place.path)
        received = self._intake.received
        if not self._unanswered or self._means.options.firmware.early_block2:
            request.block2 = Block(received >> (self._exponent + 4), False, self._exponent)
        if self._unanswered and self._means.options.firmware.early_block2:
            request.size2 = 0  # RFC 7959 4: how large is it?
        return request

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        if response is None:
            self._end(UpdateResult.CONNECTION_LOST, now)
        elif response.code != Code.CONTENT:
            # What the server does not have, or not for this device, is a wrong URI; the rest may pass.
            passing = response.code >> 5 == 5
            self._end(UpdateResult.CONNECTION_LOST if passing else UpdateResult.INVALID_URI, now)
        else:
            self._take(response, now)

    # Within

    def _connect(self, now: float) -> None:
        self._line = self._means.lines.open_line(self._place.host, self._place.port, self.receive)
        if self._line is not None:
            self._layer.submit(self, now)
        elif now >= self._give_up:
            self._end(UpdateResult.CONNECTION_LOST, now)
        else:
            self._due = now + _ASK_AGAIN_S

    def _transmit(self, data: bytes) -> None:
        if self._line is not None:
            self._line.transmit(data)

    def _take(self, response: Message, now: float) -> None:
        intake, block = self._intake, response.block2 or Block(0, False, 6)
        if self._unanswered:
            self._etag = response.etag
        elif response.etag != self._etag:
            self._begin_anew(now)
            return
        self._unanswered = False
        if response.size2 is not None and intake.size is None:
            intake.expect(response.size2)
        if block.more and len(response.payload) != block.size:
            self._end(UpdateResult.CONNECTION_LOST, now)
            return
        # The server may have smaller blocks; RFC 7959 2.4: those then are used for the rest.
        self._exponent = min(self._exponent, block.exponent)
        more = True
        # One that was there already came late, as a message of its own under the one token.
        if block.number << (block.exponent + 4) == intake.received:
            if intake.failure is None:
                intake.take(response.payload)
                self._means.statistics.firmware_bytes += len(response.payload)
            more = block.more
        if intake.stalled:
            self.abort()
        elif intake.failure is not None or not more:
            self._end(intake.failure or intake.complete(), now)
        elif self._means.options.firmware.block_s:
            self._due = now + self._means.options.firmware.block_s
        else:
            self._layer.submit(self, now)

    def _begin_anew(self, now: float) -> None:
        """The package is another one than it was: RFC 7959 2.4 wants all of it again."""
        if self._again:
            self._end(UpdateResult.CONNECTION_LOST, now)
            return
        self._again = self._unanswered = True
        self._intake.restart()
        self._intake.size = None
        self._layer.submit(self, now)

    def _end(self, result: UpdateResult | None, now: float) -> None:
        ended, self._ended = self._ended, None
        self._close()
        if ended is not None:
            ended(result, now)

    def _close(self) -> None:
        self._due = math.inf
        self._layer.forget_all()
        self._channel.close()
        if self._line is not None:
            self._line.close()
            self._line = None


def _refuse(request: Message, now: float) -> Message:
    """Nobody asks anything here."""
    return Message(Code.NOT_FOUND)


def _ignore(message_id: int) -> None:
    """Nothing is sent here that need not be confirmed."""
