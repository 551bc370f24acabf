"""The CoAP message layer of one simulated device, without socket or clock.

Owns message ids and tokens, acknowledgement and retransmission (RFC 7252 4.2), deduplication of
requests (4.5), one confirmable message in flight at a time (4.7, NSTART = 1) and the matching of
responses (5.3.2). It has one peer. It must not know LwM2M.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final, Protocol

from ..errors import PeerError
from .messages import Code, Message, Type, decode_message, encode_message
from .statistics import Statistics

EXCHANGE_LIFETIME_S: Final = 247.0  # RFC 7252 4.8.2
SEPARATE_RESPONSE_S: Final = 93.0  # how long a response may follow its empty acknowledgement
MAX_REMEMBERED: Final = 32  # answered requests kept for duplicates
TOKEN_BYTES: Final = 8
_MESSAGE_IDS: Final = 1 << 16


class Outcome(Enum):
    """What became of a confirmable message."""

    ACKNOWLEDGED = "acknowledged"  # a notification arrived
    ANSWERED = "answered"  # a request got its response
    RESET = "reset"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"  # there is no way to the server, or none any more


class Outgoing(Protocol):
    """A confirmable message to be sent when its turn comes."""

    def build(self, now: float) -> Message | None:
        """Make the message as late as possible; None when there is nothing to say any more."""

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        """Called once for every message built; `response` only when it was answered."""


@dataclass(frozen=True, slots=True)
class Transmission:
    """Transmission parameters, RFC 7252 4.8."""

    ack_timeout_s: float = 2.0
    ack_random_factor: float = 1.5
    max_retransmit: int = 4


RFC_7252: Final = Transmission()


def always_ready(now: float) -> bool:
    """For a wire that is always there."""
    return True


class _Exchange:
    """The one confirmable message in flight."""

    __slots__ = ("acknowledged", "data", "deadline", "message", "outgoing", "retransmissions", "timeout_s")

    def __init__(
        self, outgoing: Outgoing, message: Message, data: bytes, timeout_s: float, now: float
    ) -> None:
        self.outgoing = outgoing
        self.message = message
        self.data = data
        self.timeout_s = timeout_s
        self.deadline = now + timeout_s
        self.retransmissions = 0
        self.acknowledged = False


class MessageLayer:
    """One device's side of its conversation; every method takes `now`, monotonic seconds.

    `transmit` puts a datagram on the wire, `serve` answers a request of the peer, `was_reset` is
    told the id of an unconfirmed message the peer rejected. Confirmable messages wait until `ready`
    says that the way is open; then `resume` is to be called, or `give_up`.
    """

    __slots__ = (
        "_entropy",
        "_exchange",
        "_last_separate",
        "_message_id",
        "_pending",
        "_ready",
        "_remembered",
        "_serve",
        "_statistics",
        "_transmission",
        "_transmit",
        "_was_reset",
    )

    def __init__(
        self,
        transmit: Callable[[bytes], None],
        serve: Callable[[Message, float], Message],
        was_reset: Callable[[int], None],
        entropy: Random,
        statistics: Statistics,
        transmission: Transmission = RFC_7252,
        ready: Callable[[float], bool] = always_ready,
    ) -> None:
        self._transmit = transmit
        self._ready = ready
        self._serve = serve
        self._was_reset = was_reset
        self._entropy = entropy
        self._statistics = statistics
        self._transmission = transmission
        self._exchange: _Exchange | None = None
        self._pending: deque[Outgoing] = deque()
        # Message id to (when to forget it, the reply), oldest first.
        self._remembered: dict[int, tuple[float, bytes]] = {}
        self._last_separate: int | None = None
        self._message_id = entropy.randrange(_MESSAGE_IDS)

    @property
    def deadline(self) -> float | None:
        """When `handle_timer` wants to be called."""
        return None if self._exchange is None else self._exchange.deadline

    @property
    def busy(self) -> bool:
        """Whether a confirmable message is in flight or waits for its turn."""
        return self._exchange is not None or bool(self._pending)

    @property
    def in_flight(self) -> bool:
        """Whether a confirmable message waits for its answer."""
        return self._exchange is not None

    def submit(self, outgoing: Outgoing, now: float, urgent: bool = False) -> None:
        """Send a confirmable message when its turn comes; an urgent one is the next."""
        if urgent:
            self._pending.appendleft(outgoing)
        else:
            self._pending.append(outgoing)
        if self._exchange is None:
            self._start(now)

    def resume(self, now: float) -> None:
        """The way is open: begin with what waits."""
        if self._exchange is None:
            self._start(now)

    def give_up(self, now: float) -> None:
        """There is no way: what is in flight ends UNREACHABLE, else what would go next."""
        if self._exchange is not None:
            self._end(Outcome.UNREACHABLE, None, now)
            return
        while self._pending:
            outgoing = self._pending.popleft()
            if outgoing.build(now) is not None:
                outgoing.ended(Outcome.UNREACHABLE, None, now)
                return

    def send_unconfirmed(self, message: Message) -> int:
        """Send a non-confirmable message and return its id."""
        message.type = Type.NON
        message.message_id = self._next_message_id()
        self._transmit(encode_message(message))
        return message.message_id

    def forget_all(self) -> None:
        """Lose everything in flight, waiting or remembered, as a reboot does. Nobody is told."""
        self._exchange = None
        self._pending.clear()
        self._remembered.clear()
        self._message_id = self._entropy.randrange(_MESSAGE_IDS)

    def receive(self, data: bytes, now: float) -> None:
        """Take in a datagram of the peer. What cannot be read is counted and dropped."""
        try:
            message = decode_message(data)
        except PeerError:
            self._statistics.unreadable += 1
            return
        if message.type in (Type.ACK, Type.RST):
            self._settle(message, now)
        elif message.code == Code.EMPTY:
            if message.type is Type.CON:  # a CoAP ping, RFC 7252 4.3
                self._transmit_empty(Type.RST, message.message_id)
        elif message.is_request:
            self._receive_request(message, now)
        else:
            self._receive_separate(message, now)

    def handle_timer(self, now: float) -> None:
        """Retransmit, or give up, when the deadline has come."""
        exchange = self._exchange
        if exchange is None or now < exchange.deadline:
            return
        if exchange.acknowledged or exchange.retransmissions >= self._transmission.max_retransmit:
            self._statistics.timeouts += 1
            self._end(Outcome.TIMEOUT, None, now)
            return
        exchange.retransmissions += 1
        exchange.timeout_s *= 2
        exchange.deadline = now + exchange.timeout_s
        self._statistics.retransmissions += 1
        self._transmit(exchange.data)

    # Outgoing

    def _start(self, now: float) -> None:
        while self._exchange is None and self._pending and self._ready(now):
            outgoing = self._pending.popleft()
            message = outgoing.build(now)
            if message is None:
                continue
            message.type = Type.CON
            message.message_id = self._next_message_id()
            # A block of a download comes with the token of all of them.
            if message.is_request and not message.token:
                message.token = self._entropy.randbytes(TOKEN_BYTES)
            data = encode_message(message)
            timeout_s = self._transmission.ack_timeout_s * self._entropy.uniform(
                1.0, self._transmission.ack_random_factor
            )
            self._exchange = _Exchange(outgoing, message, data, timeout_s, now)
            self._transmit(data)

    def _end(self, outcome: Outcome, response: Message | None, now: float) -> None:
        exchange = self._exchange
        assert exchange is not None
        self._exchange = None
        exchange.outgoing.ended(outcome, response, now)
        self._start(now)

    def _settle(self, message: Message, now: float) -> None:
        """An acknowledgement or a reset: of the message in flight, or of nothing we know."""
        exchange = self._exchange
        if exchange is None or message.message_id != exchange.message.message_id:
            if message.type is Type.RST:
                self._was_reset(message.message_id)
            return
        if message.type is Type.RST:
            self._statistics.resets += 1
            self._end(Outcome.RESET, None, now)
        elif not exchange.message.is_request:
            self._end(Outcome.ACKNOWLEDGED, None, now)
        elif message.code == Code.EMPTY:
            # RFC 7252 5.2.2: the response follows in a message of its own.
            exchange.acknowledged = True
            exchange.deadline = now + SEPARATE_RESPONSE_S
        elif message.token == exchange.message.token and not message.is_request:
            self._end(Outcome.ANSWERED, message, now)

    def _next_message_id(self) -> int:
        self._message_id = (self._message_id + 1) % _MESSAGE_IDS
        return self._message_id

    # Incoming

    def _receive_request(self, message: Message, now: float) -> None:
        known = self._remembered.get(message.message_id)
        if known is not None and now < known[0]:
            self._statistics.duplicates += 1
            # RFC 7252 4.5: acknowledge each duplicate of a confirmable message with the same
            # reply, and process the request once.
            if message.type is Type.CON:
                self._transmit(known[1])
            return
        response = self._serve(message, now)
        response.token = message.token
        if message.type is Type.CON:
            response.type = Type.ACK
            response.message_id = message.message_id
        else:
            response.type = Type.NON
            response.message_id = self._next_message_id()
        reply = encode_message(response)
        self._remember(message.message_id, reply, now)
        self._transmit(reply)

    def _receive_separate(self, message: Message, now: float) -> None:
        """A response that is not piggybacked; it stands for the acknowledgement as well."""
        exchange = self._exchange
        expected = (
            exchange is not None and exchange.message.is_request and message.token == exchange.message.token
        )
        if message.type is Type.CON:
            # The last one may come again because our acknowledgement was lost. Any other is of no
            # request of ours: RFC 7252 4.2 wants it rejected.
            welcome = expected or message.message_id == self._last_separate
            self._transmit_empty(Type.ACK if welcome else Type.RST, message.message_id)
        if expected:
            self._last_separate = message.message_id
            self._end(Outcome.ANSWERED, message, now)

    def _remember(self, message_id: int, reply: bytes, now: float) -> None:
        self._remembered.pop(message_id, None)
        while self._remembered:
            oldest = next(iter(self._remembered))
            if len(self._remembered) < MAX_REMEMBERED and now < self._remembered[oldest][0]:
                break
            del self._remembered[oldest]
        self._remembered[message_id] = (now + EXCHANGE_LIFETIME_S, reply)

    def _transmit_empty(self, type_: Type, message_id: int) -> None:
        self._transmit(encode_message(Message(Code.EMPTY, type=type_, message_id=message_id)))
