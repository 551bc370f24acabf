"""Requests to devices: one exchange, or as many as its blocks need.

RFC 7959 (blockwise). aiocoap's own blockwise client gives every block a new token; Zephyr finds the
blocks of a Block1 transfer by the token, restarts are told by 4.08 and smaller blocks by 4.13, so
the loop is here. A body may be a file, of which one block is in memory. A first GET never carries Block2:
Zephyr drops such a request.
"""

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import Final

from aiocoap import Code, Message
from aiocoap.error import LibraryShutdown, MessageError, NetworkError
from aiocoap.numbers.constants import TransportTuning
from aiocoap.optiontypes import BlockOption

from ..errors import PeerError
from ..fleet.ports import Body, DeviceSilent, Downlink, DownlinkReply, Method
from .codes import MAX_CONTENT_FORMAT, MAX_OBSERVE, dotted, number_of
from .messages import TOKEN_BYTES, DeviceTokens, PeerGone
from .peers import BLOCK_SIZE_EXPONENT, Peer

MAX_REPLY: Final = 1 << 20
MIN_BLOCK_SIZE_EXPONENT: Final = 0
RESTARTS: Final = 2
MAX_BLOCKS: Final = 1 << 20  # RFC 7959 2.2: the number of a block has 20 bits
_CODES: Final = {
    Method.GET: Code.GET,
    Method.POST: Code.POST,
    Method.PUT: Code.PUT,
    Method.DELETE: Code.DELETE,
    Method.FETCH: Code.FETCH,
    Method.IPATCH: Code.iPATCH,
}


class _Once(TransportTuning):  # type: ignore[misc]
    """RFC 7252 4.8: a lost request is still sent again, and a slow answer does not make it happen twice.

    Also of the first and the last block of a file: a device erases its flash, and checks what it has got.
    """

    ACK_TIMEOUT = 10.0
    MAX_RETRANSMIT = 2


_ONCE: Final = _Once()


@dataclass(frozen=True, slots=True)
class _Held:
    """A payload as a body."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        return self.data[offset : offset + size]


class Requester:
    """Sends requests over the server's own socket, so that devices behind a NAT are reached."""

    def __init__(self, tokens: DeviceTokens) -> None:
        self._tokens = tokens

    async def request(self, peer: Peer, downlink: Downlink) -> DownlinkReply:
        """See `fleet.ports.Wire.request`."""
        body = _Held(downlink.payload) if downlink.body is None else downlink.body
        exponent = peer.block_exponent(BLOCK_SIZE_EXPONENT)
        if body.size > _size(exponent):
            first = await self._upload(peer, downlink, body, exponent)
        else:
            message = _message(peer, downlink, body.read(0, body.size))
            if downlink.body is not None:
                message.transport_tuning = _ONCE
            first = await self._exchange(message, downlink.timeout_s)
            if first.code.is_successful():
                _tell(downlink, body.size)
        payload = await self._download(peer, downlink, first)
        return DownlinkReply(
            code=dotted(first.code),
            content_format=number_of(first.opt.content_format, MAX_CONTENT_FORMAT),
            payload=payload,
            observe=number_of(first.opt.observe, MAX_OBSERVE),
            location=tuple(first.opt.location_path),
        )

    async def _exchange(self, message: Message, timeout_s: float) -> Message:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._tokens.ask(message)
        except TimeoutError:
            raise _silent(message.remote, f"no answer within {timeout_s:.0f} s") from None
        except MessageError:
            raise _silent(message.remote, "it rejected the request with a reset") from None
        except LibraryShutdown:
            raise _silent(message.remote, "the appliance is stopping") from None
        except PeerGone:
            raise _silent(message.remote, "its DTLS session has ended") from None
        except NetworkError:
            raise _silent(message.remote, "no acknowledgement after all retransmissions") from None

    async def _upload(self, peer: Peer, downlink: Downlink, body: Body, exponent: int) -> Message:
        """Send a body in blocks; from the start again where the device lost its place."""
        for left in range(RESTARTS, -1, -1):
            response, sent, exponent = await self._upload_once(peer, downlink, body, exponent)
            smaller: int | None = exponent
            if response.code is Code.REQUEST_ENTITY_TOO_LARGE:
                smaller = _smaller(response, exponent, at_first=sent == 0)
            elif response.code is not Code.REQUEST_ENTITY_INCOMPLETE:
                break
            if smaller is None or not left:
                break
            exponent = smaller
            _tell(downlink, 0)
        return response

    async def _upload_once(
        self, peer: Peer, downlink: Downlink, body: Body, exponent: int
    ) -> tuple[Message, int, int]:
        """One go through all blocks: the last response, what was acknowledged before, the block size then."""
        token = downlink.token or secrets.token_bytes(TOKEN_BYTES)
        sent = 0
        while True:
            size = _size(exponent)
            if body.size > size * MAX_BLOCKS:
                raise PeerError(
                    "body_too_large",
                    f"{body.size} bytes in blocks of {size}: more blocks than there are numbers",
                    "send less, or have the device take larger blocks",
                )
            chunk = body.read(sent, size)
            more = sent + len(chunk) < body.size
            message = _message(peer, downlink, chunk, token)
            message.opt.block1 = BlockOption.BlockwiseTuple(sent // size, more, exponent)
            if sent == 0:
                message.opt.size1 = body.size
            if downlink.body is not None and (sent == 0 or not more):
                message.transport_tuning = _ONCE
            response = await self._exchange(message, downlink.timeout_s)
            if not response.code.is_successful():
                return response, sent, exponent
            if not more and response.code is Code.CONTINUE:
                raise PeerError("payload_invalid", "the device asks for more than there is", "try again")
            sent += len(chunk)
            _tell(downlink, sent)
            if not more:
                return response, sent, exponent
            # A device that acts on every block by itself answers each with 2.04 (RFC 7959 2.3).
            # "Go on with smaller blocks" is in the echo of the first one (RFC 7959 2.3); what was
            # sent is a multiple of the smaller size too.
            echo = response.opt.block1
            if echo is not None and echo.size_exponent < exponent:
                exponent = echo.size_exponent

    async def _download(self, peer: Peer, downlink: Downlink, first: Message) -> bytes:
        """The whole payload of a response whose first block is here."""
        payload = bytes(first.payload)
        block = first.opt.block2
        # RFC 7959 2.4: FETCH repeats its payload; what was uploaded in blocks is not sent again.
        body = downlink.payload if len(downlink.payload) <= _size(BLOCK_SIZE_EXPONENT) else b""
        rest = replace(downlink, observe=None, token=b"", payload=body, body=None)
        while block is not None and block.more:
            if len(payload) != block.start + _size(block.size_exponent) or len(payload) > MAX_REPLY:
                raise PeerError("payload_invalid", "blocks of the answer do not fit", "try again")
            # A token of its own: under the observation's a notification would pass for the block.
            message = _message(peer, rest, rest.payload)
            number = len(payload) // _size(block.size_exponent)
            message.opt.block2 = BlockOption.BlockwiseTuple(number, False, block.size_exponent)
            response = await self._exchange(message, downlink.timeout_s)
            block = response.opt.block2
            if (
                not response.code.is_successful()
                or block is None
                or block.start != len(payload)
                or response.opt.etag != first.opt.etag
            ):
                raise PeerError("payload_invalid", "the answer changed between its blocks", "try again")
            payload += response.payload
        return payload


def _message(peer: Peer, downlink: Downlink, payload: bytes, token: bytes = b"") -> Message:
    message = Message(code=_CODES[downlink.method], payload=payload)
    message.remote = peer
    message.token = token or downlink.token
    if downlink.once:
        message.transport_tuning = _ONCE
    root = tuple(part for part in downlink.root_path.split("/") if part)
    message.opt.uri_path = root + tuple(str(number) for number in downlink.path)
    if downlink.query:
        message.opt.uri_query = downlink.query
    if downlink.content_format is not None:
        message.opt.content_format = downlink.content_format
    if downlink.accept is not None:
        message.opt.accept = downlink.accept
    if downlink.observe is not None:
        message.opt.observe = downlink.observe
    return message


def _smaller(response: Message, exponent: int, *, at_first: bool) -> int | None:
    """The size exponent to begin with anew after a 4.13 (RFC 7959 2.9.3); None: smaller blocks help nothing.

    A device that says so later, and offers none, has no room for the rest of the body.
    """
    offered = response.opt.block1
    if not at_first and (offered is None or offered.size_exponent >= exponent):
        return None
    smaller = exponent - 1 if offered is None else min(offered.size_exponent, exponent - 1)
    return None if smaller < MIN_BLOCK_SIZE_EXPONENT else smaller


def _tell(downlink: Downlink, sent: int) -> None:
    if downlink.sent is not None:
        downlink.sent(sent)


def _size(exponent: int) -> int:
    return 1 << (exponent + 4)


def _silent(peer: Peer, reason: str) -> DeviceSilent:
    return DeviceSilent(
        "device_unanswered",
        f"no answer from {peer.sender.address}: {reason}",
        "a sleeping device answers after it wakes; otherwise check its power and network",
    )
