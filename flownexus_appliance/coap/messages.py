"""aiocoap's message and token layers, bent where a durable server needs it.

The one module that leans on aiocoap's inner names (tested with 0.4.14 and 0.4.17; setup.cfg caps the
version). What it changes, and why:

- A request's answer waits for the disk. aiocoap sends an empty acknowledgement after 0.1 s and the
  answer separately; Zephyr then waits up to 247 s for it. Here nothing is sent before the one
  piggybacked answer, and a request that came to nothing is forgotten, so that its retransmission is
  a new try (RFC 7252 4.2: the sender repeats an unacknowledged message).
- A notification is acknowledged when it is on disk. aiocoap acknowledges on receipt.
- A duplicate is a datagram that is the same to the last bit; a few answers are kept per peer. aiocoap
  keeps every request for 247 s by message id alone, which costs 1 kB each and mistakes a simulated
  device that starts anew for its own retransmission. A Register is always handled, and ends what is
  kept of its peer: the core is idempotent there.
- A block of a package is sent anew each time it is asked for: kept, the blocks of a whole fleet would take
  4 kB a device.
- Observations are found by token in the fleet's table; aiocoap would keep several objects each.
- A request of ours is a future, no task; a reset is an answer like others and not worth a warning.
- Requests carry random tokens, or the one given: Zephyr finds the blocks of a Block1 transfer by it.
- A request is not sent again once its response is here or nobody waits for it any more. aiocoap stops
  for an acknowledgement only, and Zephyr carries out whatever comes twice (zephyr #86978).
- A request that a sleeping device did not hear is sent again as soon as the device is heard, not when its
  back-off ends.
- Numbers of options and formats that it has no name for aiocoap keeps for good, one object each: a
  stranger could fill the memory with them. Here they are forgotten with their message.
"""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from aiocoap import EMPTY, ContentFormat, Message
from aiocoap.error import NetworkError
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.constants import TransportTuning
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.numbers.types import ACK, CON, NON, RST
from aiocoap.tokenmanager import TokenManager

from .peers import KeptReply, Outlet, Peer

# Zephyr has one request under way, NSTART of RFC 7252 4.7; a few more cost nothing.
REPLIES_KEPT: Final = 4
# Of one peer, while the disk is slow; what is over is as if lost, and comes again.
MAX_PENDING: Final = 256
# RFC 7252 4.8.2: after this time a message id may stand for another message.
EXCHANGE_LIFETIME_S: Final = 247.0
TOKEN_BYTES: Final = 8
ANSWERS_KNOWN: Final = 256

# Answers a request, once: with a message, or with None to stay silent.
Answer = Callable[[Message | None], None]
# Answers a notification, once: True acknowledges, False resets, None stays silent.
Acknowledge = Callable[[bool | None], None]


class PeerGone(NetworkError):  # type: ignore[misc]
    """The session to a peer has ended."""


class _Question:
    """A request and the future of its response, where aiocoap has its Pipe, Request and a task."""

    def __init__(self, request: Message, response: asyncio.Future[Message]) -> None:
        self.request = request
        self.response = response

    def on_interest_end(self, callback: Callable[[], object]) -> None:
        self.response.add_done_callback(lambda _: callback())

    def add_response(self, response: Message, is_last: bool) -> None:
        if not self.response.done():
            self.response.set_result(response)

    def add_exception(self, error: Any) -> None:
        if not self.response.done():
            self.response.set_exception(error)
            self.response.exception()  # who is cancelled in the same moment never looks at it


class DeviceTokens(TokenManager):  # type: ignore[misc]
    """Matches responses to our requests; hands requests and notifications to the server.

    `serve(request, answer)` is called with each new request, `notified(response, acknowledge)` with
    each response that no request of ours waits for and that may be a notification. Before that,
    `fetched(request)` may answer a request, whether new or repeated; None leaves it to `serve`.
    """

    def __init__(
        self,
        context: Any,
        serve: Callable[[Message, Answer], None],
        notified: Callable[[Message, Acknowledge], None],
        fetched: Callable[[Message], Message | None],
    ) -> None:
        super().__init__(context)
        self.fetched = fetched
        self.serve = serve
        self.notified = notified
        self._wanted_token = b""
        # The message ids of the last separate responses: their acknowledgement may have been lost.
        self._answered: OrderedDict[tuple[bytes, Peer], int] = OrderedDict()

    def ask(self, request: Message) -> asyncio.Future[Message]:
        """Send a request, under its token if it has one; the future is its response.

        It fails with an error of aiocoap. Cancel it, and the request is sent no more.
        """
        question = _Question(request, self.loop.create_future())
        self._wanted_token = request.token
        self.request(question)
        question.on_interest_end(lambda: self.token_interface.release(request))
        return question.response

    def abandon(self, peer: Peer) -> None:
        """Nothing more comes from a peer: what is asked of it ends with PeerGone."""
        waiting = self.outgoing_requests or {}  # None: stopped
        for key in [key for key in waiting if key[1] is peer]:
            self.outgoing_requests.pop(key).add_exception(PeerGone())

    def next_token(self) -> bytes:
        return self._wanted_token or secrets.token_bytes(TOKEN_BYTES)

    def process_response(self, response: Message) -> bool:
        """Every response ends its request here: later ones are notifications."""
        pipe = self.outgoing_requests.pop((response.token, response.remote), None)
        if pipe is None:
            return False
        if response.mtype is CON:
            self._answered[response.token, response.remote] = response.mid
            if len(self._answered) > ANSWERS_KNOWN:
                self._answered.popitem(last=False)
        pipe.add_response(response, is_last=True)
        return True

    def repeats(self, response: Message) -> bool:
        """Whether a response that nobody waits for is one that was here already."""
        return bool(self._answered.get((response.token, response.remote)) == response.mid)

    def awaits(self, response: Message) -> bool:
        return (response.token, response.remote) in self.outgoing_requests


class DeviceMessages(MessageManager):  # type: ignore[misc]
    """Message ids, acknowledgements and duplicates of incoming messages, as described above."""

    token_manager: DeviceTokens
    message_interface: Outlet

    def __init__(self, token_manager: DeviceTokens) -> None:
        super().__init__(token_manager)
        self.message_id = secrets.randbelow(0x10000)
        self._unacknowledged: set[tuple[Peer, int]] = set()
        # The request under way to a peer, its patience, how often it was repeated, when it was last sent.
        self._under_way: dict[Peer, tuple[Message, float, int, float]] = {}

    def take(self, message: Message, digest: int) -> None:
        """Take a message that has come in; `digest` is the datagram's, by which a duplicate is known."""
        code, kind = message.code, message.mtype
        if code.is_request() and kind in (CON, NON):
            self._take_request(message, digest)
        elif code.is_response() and kind in (CON, NON) and not self.token_manager.awaits(message):
            self._take_notification(message)
        elif (code.is_response() and kind is not RST) or (code is EMPTY and kind is not NON):
            self.dispatch_message(message)
        elif kind is CON:
            self.reset(message.remote, message.mid)  # of a reserved class (RFC 7252 4.2)

    def release(self, request: Message) -> None:
        """Send a request no more: it is answered, or nobody waits for its answer."""
        peer = request.remote
        if self._active_exchanges is None:
            return  # stopped
        if peer in self._under_way and self._under_way[peer][0] is request:
            del self._under_way[peer]
        exchange = self._active_exchanges.pop((peer, request.mid), None)
        if exchange is not None:
            exchange[1].cancel()
            self._continue_backlog(peer)
        elif peer in self._backlogs:
            self._backlogs[peer] = [entry for entry in self._backlogs[peer] if entry[0] is not request]

    def _schedule_retransmit(self, message: Message, timeout: float, retransmission_counter: int) -> Any:
        self._under_way[message.remote] = (message, timeout, retransmission_counter, self.loop.time())
        return super()._schedule_retransmit(message, timeout, retransmission_counter)

    def _hurry(self, peer: Peer) -> None:
        """The peer was heard, so it listens: what it did not acknowledge is sent again now.

        A device that woke would else wait for the end of the back-off, and sleep again before that. What must
        not happen twice keeps its own pace.
        """
        message, timeout, repeated, sent_at = self._under_way.get(peer, (None, 0.0, 0, 0.0))
        if message is None or self._active_exchanges is None:
            return
        tuning = message.transport_tuning
        if (
            (peer, message.mid) in self._active_exchanges
            and tuning.ACK_TIMEOUT == TransportTuning.ACK_TIMEOUT
            and repeated < tuning.MAX_RETRANSMIT
            and self.loop.time() - sent_at >= tuning.ACK_TIMEOUT
        ):
            self._retransmit(message, timeout, repeated)

    def reset(self, peer: Peer, message_id: int) -> None:
        """Reject a message (RFC 7252 4.2)."""
        rst = Message(code=EMPTY)
        rst.mtype, rst.mid, rst.remote = RST, message_id, peer
        self.message_interface.send(rst)

    def _take_request(self, request: Message, digest: int) -> None:
        peer: Peer = request.remote
        fetched = self.token_manager.fetched(request)
        if fetched is not None:
            self._answer(request, fetched)
            return
        if digest in peer.pending or len(peer.pending) >= MAX_PENDING:
            return  # the answer is still to come
        if _is_register(request):
            peer.replies = ()  # maybe it starts anew, and repeats what follows as well
        others = tuple(reply for reply in peer.replies if reply.digest != digest)
        if len(others) < len(peer.replies):
            (known,) = (reply for reply in peer.replies if reply.digest == digest)
            if self.loop.time() < known.until:
                peer.replies = (*others, known)
                self.message_interface.deliver(known.data, peer)
                return
            peer.replies = others
        peer.pending += (digest,)

        def done() -> None:
            peer.pending = tuple(other for other in peer.pending if other != digest)

        def answer(response: Message | None) -> None:
            done()
            if response is None:
                return
            data = self._answer(request, response)
            reply = KeptReply(digest, data, self.loop.time() + EXCHANGE_LIFETIME_S)
            peer.replies = (*peer.replies[1 - REPLIES_KEPT :], reply)

        try:
            self.token_manager.serve(request, answer)
        except BaseException:
            done()  # never to be answered: its repetition is a new try
            raise

    def _answer(self, request: Message, response: Message) -> bytes:
        """Send the answer to a request; the datagram."""
        peer: Peer = request.remote
        response.token = request.token
        response.remote = peer
        if request.mtype is CON:
            response.mtype, response.mid = ACK, request.mid
        else:
            response.mtype, response.mid = NON, self._next_message_id()
        data = bytes(response.encode())
        self.message_interface.deliver(data, peer)
        self._hurry(peer)
        return data

    def _take_notification(self, response: Message) -> None:
        peer: Peer = response.remote
        key = (peer, response.mid)
        if key in self._unacknowledged:
            return  # the same one again, still on its way to the disk
        if response.mtype is CON and self.token_manager.repeats(response):
            self._acknowledge(peer, response.mid)
            return
        self._unacknowledged.add(key)

        def acknowledge(taken: bool | None) -> None:
            self._unacknowledged.discard(key)
            if taken is False:
                self.reset(peer, response.mid)
            elif taken and response.mtype is CON:
                self._acknowledge(peer, response.mid)
            self._hurry(peer)

        try:
            self.token_manager.notified(response, acknowledge)
        except BaseException:
            self._unacknowledged.discard(key)
            raise

    def _acknowledge(self, peer: Peer, message_id: int) -> None:
        """An empty acknowledgement: version 1, type ACK, code 0.00, the message id."""
        self.message_interface.deliver(b"\x60\x00" + message_id.to_bytes(2, "big"), peer)


def _is_register(request: Message) -> bool:
    """A Register, or the last block of one: the blocks before it are acknowledged again as they were."""
    block = request.opt.block1
    return bool(request.opt.uri_path == ("rd",)) and (block is None or not block.more)


def _unnamed(kind: Any, value: int) -> Any:
    member = int.__new__(kind, value)
    member._value_ = value
    return member


for _kind in (ContentFormat, OptionNumber):
    _kind._missing_ = classmethod(_unnamed)
