"""Block-wise transfers of one simulated device, both roles and both ways.

RFC 7959: Block1 of what the server writes (`Assembly`), Block2 of what it reads (`Slices`), Block1
of what the device itself posts (`Upload`). Bounded in size, number and time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .messages import Block, Code, Message
from .objects import RefusedError
from .wire import MessageLayer, Outcome

IDLE_S: Final = 30.0
MAX_BODY_BYTES: Final = 4 << 20
MAX_TRANSFERS: Final = 2

_Key = tuple[object, ...]


@dataclass(slots=True)
class _Partial:
    body: bytearray
    deadline: float


class Assembly:
    """Puts the blocks of a large request together."""

    __slots__ = ("_exponent", "_partials")

    def __init__(self, block_size: int) -> None:
        self._exponent = Block.exponent_for(block_size)
        self._partials: dict[_Key, _Partial] = {}

    def take(self, request: Message, now: float) -> Message | None:
        """Take a request's block: the reply that asks for the next one, or None when all is there.

        In the latter case `request.payload` is the whole body. Raises RefusedError: 4.08 for a
        block out of order, 4.13 for a body too large, 4.00 for a block of a wrong size.
        """
        block = request.block1
        if block is None:
            return None
        # RFC 7959 2.5: the blocks belong together by peer, path and the options of the cache key.
        key = (request.code, request.path, request.query, request.content_format, request.accept)
        partial = self._partial(key, block, now)
        if request.size1 is not None and request.size1 > MAX_BODY_BYTES:
            self._partials.pop(key, None)
            raise RefusedError(Code.REQUEST_ENTITY_TOO_LARGE, "the body is larger than the device")
        if block.exponent > 6 or (block.more and len(request.payload) != block.size):
            raise RefusedError(Code.BAD_REQUEST, "a block whose size is not what it says")
        start = block.number * block.size
        if start + len(request.payload) == len(partial.body) and start < len(partial.body):
            pass  # the block we already have, sent again under a new message id
        elif start != len(partial.body):
            self._partials.pop(key, None)
            raise RefusedError(Code.REQUEST_ENTITY_INCOMPLETE, "a block out of order")
        else:
            partial.body += request.payload
        if len(partial.body) > MAX_BODY_BYTES:
            self._partials.pop(key, None)
            raise RefusedError(Code.REQUEST_ENTITY_TOO_LARGE, "the body is larger than the device")
        partial.deadline = now + IDLE_S
        if block.more:
            accepted = Block(block.number, True, min(block.exponent, self._exponent))
            return Message(Code.CONTINUE, block1=accepted)
        request.payload = bytes(partial.body)
        del self._partials[key]
        return None

    def _partial(self, key: _Key, block: Block, now: float) -> _Partial:
        for known in [k for k, p in self._partials.items() if p.deadline <= now]:
            del self._partials[known]
        if block.number == 0:
            self._partials.pop(key, None)
            while len(self._partials) >= MAX_TRANSFERS:
                del self._partials[next(iter(self._partials))]
            self._partials[key] = _Partial(bytearray(), now + IDLE_S)
        elif key not in self._partials:
            raise RefusedError(Code.REQUEST_ENTITY_INCOMPLETE, "a block without its predecessors")
        return self._partials[key]


@dataclass(slots=True)
class _Kept:
    response: Message
    deadline: float


class Slices:
    """Hands out a large response block by block, all of the same moment."""

    __slots__ = ("_exponent", "_kept")

    def __init__(self, block_size: int) -> None:
        self._exponent = Block.exponent_for(block_size)
        self._kept: dict[_Key, _Kept] = {}

    @staticmethod
    def key(request: Message) -> _Key:
        """What makes two requests ask for the same representation."""
        return (request.code, request.path, request.query, request.accept, request.payload)

    def later_block(self, request: Message, now: float) -> Message | None:
        """Answer a request for a block other than the first from what is kept, if it is."""
        for known in [k for k, kept in self._kept.items() if kept.deadline <= now]:
            del self._kept[known]
        kept = self._kept.get(self.key(request))
        if request.block2 is None or request.block2.number == 0 or kept is None:
            return None
        kept.deadline = now + IDLE_S
        return self._slice(kept.response, request.block2)

    def first_block(self, key: _Key, response: Message, wanted: Block | None, now: float) -> Message:
        """Cut a response that is too large for one message, and keep the rest."""
        exponent = self._exponent if wanted is None else min(self._exponent, wanted.exponent)
        first = Block(wanted.number if wanted is not None else 0, False, exponent)
        if not response.is_success or (wanted is None and len(response.payload) <= first.size):
            return response
        if len(response.payload) > first.size:
            self._kept.pop(key, None)
            while len(self._kept) >= MAX_TRANSFERS:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = _Kept(response, now + IDLE_S)
        return self._slice(response, first)

    def _slice(self, response: Message, wanted: Block) -> Message:
        exponent = min(wanted.exponent, self._exponent)
        # A smaller block than asked for: the same place, counted in the smaller size.
        number = wanted.number << (wanted.exponent - exponent)
        start = number << (exponent + 4)
        end = start + (1 << (exponent + 4))
        if start and start >= len(response.payload):
            raise RefusedError(Code.BAD_REQUEST, "a block beyond the end")
        more = end < len(response.payload)
        return Message(
            response.code,
            response.payload[start:end],
            content_format=response.content_format,
            observe=response.observe if number == 0 else None,
            block2=Block(number, more, exponent),
            size2=len(response.payload) if number == 0 else None,
            token=response.token,
        )


# Answers a block by itself; None: the body is to be put together.
Stream = Callable[[Message, float], Message | None]

# These have no effect, so a part of their answer may be asked for again.
_SAFE: Final = frozenset({Code.GET, Code.FETCH})


class Blockwise:
    """A device's side of requests and answers that are too large for one message.

    `stream` is shown each block of a request first: what it answers is not put together here.
    """

    __slots__ = ("_assembly", "_stream", "slices")

    def __init__(self, block_size: int, stream: Stream | None = None) -> None:
        self._assembly = Assembly(block_size)
        self._stream = stream
        self.slices = Slices(block_size)

    def handle(self, request: Message, now: float, dispatch: Callable[[Message, float], Message]) -> Message:
        """Answer one request, by `dispatch` once all of it is there; never raises RefusedError."""
        try:
            if request.bad_option:
                raise RefusedError(Code.BAD_OPTION, "a critical option that is not understood")
            return self._handle(request, now, dispatch)
        except RefusedError as refused:
            # RFC 7252 5.5.2: an error may explain itself in plain text.
            return Message(refused.code, refused.reason.encode())

    def _handle(self, request: Message, now: float, dispatch: Callable[[Message, float], Message]) -> Message:
        later = self.slices.later_block(request, now)
        if later is not None:
            return later
        if request.block1 is not None:
            more = None if self._stream is None else self._stream(request, now)
            more = more or self._assembly.take(request, now)
            if more is not None:
                return more
        response = dispatch(request, now)
        if request.block1 is not None:
            response.block1 = request.block1._replace(more=False)
        if request.code not in _SAFE:
            return response
        return self.slices.first_block(Slices.key(request), response, request.block2, now)


class Upload:
    """A POST of the device, in blocks where its payload does not fit one message (RFC 7959 2.3).

    `ended` is called once: ANSWERED with the final response, RESET or TIMEOUT.
    """

    __slots__ = ("_ended", "_exponent", "_layer", "_offset", "_request")

    def __init__(
        self,
        layer: MessageLayer,
        request: Message,
        block_size: int,
        ended: Callable[[Outcome, Message | None, float], None],
    ) -> None:
        self._layer = layer
        self._request = request
        self._exponent = Block.exponent_for(block_size)
        self._offset = 0
        self._ended = ended

    def build(self, now: float) -> Message:
        request = self._request
        size = 1 << (self._exponent + 4)
        if len(request.payload) <= size:
            return request
        end = self._offset + size
        return Message(
            request.code,
            request.payload[self._offset : end],
            path=request.path,
            query=request.query,
            content_format=request.content_format,
            block1=Block(self._offset // size, end < len(request.payload), self._exponent),
            size1=len(request.payload) if self._offset == 0 else None,
        )

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        if response is not None and self._goes_on(response):
            self._layer.submit(self, now, urgent=True)
        else:
            self._ended(outcome, response, now)

    def _goes_on(self, response: Message) -> bool:
        agreed = response.block1
        size = 1 << (self._exponent + 4)
        if agreed is None or len(self._request.payload) <= size:
            return False
        if response.code == Code.CONTINUE:
            self._offset += size
            if self._offset >= len(self._request.payload):
                return False
            # The server may ask for smaller blocks from here on (RFC 7959 2.3).
            self._exponent = min(self._exponent, agreed.exponent)
            return True
        if response.code == Code.REQUEST_ENTITY_TOO_LARGE and agreed.exponent < self._exponent:
            self._exponent, self._offset = agreed.exponent, 0
            return True
        return False
