"""The CoAP server: plain CoAP on UDP, `/rd` and `/dp` up, requests to devices down.

LwM2M Transport 1.1.1 section 6.4; RFC 7252, RFC 7959 (blockwise). Requests go up as plain data to the
`Uplinks`; this module checks what CoAP itself demands: method, options, formats, blocks.
"""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import aiocoap
from aiocoap import Code, Message
from aiocoap.blockwise import Block1Spool
from aiocoap.error import RenderableError, UnparsableMessage
from aiocoap.numbers.optionnumbers import OptionNumber

from ..errors import PeerError
from ..fleet.ports import (
    Action,
    Downlink,
    DownlinkReply,
    Notification,
    Uplink,
    Uplinks,
    Verdict,
)
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.effects import Reply
from .codes import ERROR_CODES, SUCCESS_CODES, dotted
from .downlink import Requester
from .messages import Acknowledge, Answer, DeviceMessages, DeviceTokens
from .peers import Peer
from .udp import Network, UdpTransport

MAX_BODY: Final = 65_536
_UNDERSTOOD: Final = frozenset(
    {
        OptionNumber.IF_MATCH,
        OptionNumber.URI_HOST,
        OptionNumber.IF_NONE_MATCH,
        OptionNumber.URI_PORT,
        OptionNumber.URI_PATH,
        OptionNumber.URI_QUERY,
        OptionNumber.ACCEPT,
        OptionNumber.BLOCK1,
        OptionNumber.BLOCK2,
    }
)
_ACKNOWLEDGE: Final = {Verdict.TAKEN: True, Verdict.REFUSED: False, Verdict.SILENT: None}
log = logging.getLogger(__name__)


class CoapServer:
    """One aiocoap context over our own transport; a `Wire` for the fleet."""

    def __init__(self, port: int, networks: Sequence[Network], uplinks: Uplinks) -> None:
        self._port = port
        self._networks = networks
        self._uplinks = uplinks
        self._blocks = Block1Spool()
        self._context: aiocoap.Context | None = None
        self.received = 0

    async def start(self) -> None:
        """Listen; raises ApplianceError("port_unavailable")."""
        context = aiocoap.Context(loop=asyncio.get_running_loop(), loggername="aiocoap.box")
        tokens = DeviceTokens(context, self._serve, self._notified)
        self._messages = DeviceMessages(tokens)
        tokens.token_interface = self._messages
        self._transport = UdpTransport(self._port, self._networks, self._receive)
        self._messages.message_interface = self._transport
        context.request_interfaces.append(tokens)
        self._context = context
        self._requester = Requester(context, self._transport)
        self._transport.start()

    async def stop(self) -> None:
        """Close the sockets; requests under way end with DeviceSilent. Not started is stopped."""
        if self._context is not None:
            await self._context.shutdown()

    @property
    def port(self) -> int:
        return self._transport.port

    async def request(self, address: str, downlink: Downlink) -> DownlinkReply:
        """See `fleet.ports.Wire`."""
        return await self._requester.request(self._transport.peer(address), downlink)

    # From the transport

    def _receive(self, data: bytes, peer: Peer) -> None:
        self.received += 1
        try:
            message = _decode(data, peer)
        except PeerError as error:
            log.info("not CoAP", extra={"PEER": peer.text, "ERROR_CODE": error.code})
            # RFC 7252 4.2: a confirmable message that cannot be processed is rejected by a reset.
            if len(data) >= 4 and data[0] >> 4 == 0b0100:
                self._messages.reset(peer, int.from_bytes(data[2:4], "big"))
            return
        try:
            self._messages.dispatch_message(message)
        except Exception:
            # A defect of ours or of the library met one datagram; the next one is served.
            log.exception("datagram failed", extra={"PEER": peer.text})

    # From the message layer

    def _serve(self, request: Message, answer: Answer) -> None:
        try:
            whole = self._assemble(request)
            uplink = _uplink(whole)
        except PeerError as error:
            _refuse(request.remote, error, answer)
        except RenderableError as error:
            answer(error.to_message())
        else:
            self._uplinks.receive(uplink, partial(_respond, uplink, whole, answer))

    def _assemble(self, request: Message) -> Message:
        """Put the blocks of a body together (RFC 7959 2.3); raises for every block but the last."""
        block = request.opt.block1
        if block is None:
            return request
        if block.start + len(request.payload) > MAX_BODY:
            raise PeerError(
                "body_too_large", f"body over {MAX_BODY} bytes", "send fewer objects or values at once"
            )
        return self._blocks.feed_and_take(request)

    def _notified(self, response: Message, acknowledge: Acknowledge) -> None:
        block = response.opt.block2
        notification = Notification(
            address=response.remote.text,
            token=response.token,
            observe=response.opt.observe,
            code=dotted(response.code),
            content_format=_number(response.opt.content_format),
            payload=response.payload,
            partial=block is not None and block.more,
        )
        self._uplinks.notified(notification, lambda verdict: acknowledge(_ACKNOWLEDGE[verdict]))


def _decode(data: bytes, peer: Peer) -> Message:
    """Read a datagram; raises PeerError("payload_invalid") for whatever is not a CoAP message."""
    try:
        if data[0] & 0x0F > 8:
            raise UnparsableMessage("token length")  # RFC 7252 3: 9-15 are reserved
        return Message.decode(data, remote=peer)
    except (UnparsableMessage, ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise PeerError("payload_invalid", f"not a CoAP message: {error}", "") from error


def _uplink(request: Message) -> Uplink:
    """Find out what is asked; raises PeerError."""
    for number in request.opt._options:
        if number % 2 and number not in _UNDERSTOOD:
            raise PeerError("option_unknown", f"critical option {int(number)}", "leave it out")
    path = request.opt.uri_path
    action, registration_id = _route(request.code, path)
    content_format = request.opt.content_format
    if action in (Action.REGISTER, Action.UPDATE) and content_format not in (None, ContentFormat.LINK):
        raise PeerError(
            "content_format_unsupported",
            f"Content-Format {int(content_format)} for a link list",
            "send application/link-format (40)",
        )
    if request.opt.accept is not None:
        raise PeerError("not_acceptable", "the answer has no content", "leave the Accept option out")
    return Uplink(
        action=action,
        address=request.remote.text,
        message_id=request.mid,
        token=request.token,
        query=request.opt.uri_query,
        content_format=_number(content_format),
        payload=request.payload,
        registration_id=registration_id,
    )


def _number(content_format: int | None) -> int | None:
    return None if content_format is None else int(content_format)


def _route(code: Code, path: tuple[str, ...]) -> tuple[Action, str]:
    if path == ("dp",):
        if code is Code.POST:
            return Action.SEND, ""
    elif path == ("rd",):
        if code is Code.POST:
            return Action.REGISTER, ""
    elif len(path) == 2 and path[0] == "rd":
        if code in (Code.POST, Code.PUT):
            return Action.UPDATE, path[1]
        if code is Code.DELETE:
            return Action.DEREGISTER, path[1]
    else:
        raise PeerError("not_found", "no such path here", "use /rd or /dp")
    raise PeerError("method_not_allowed", f"{code.name_printable} not allowed", "see LwM2M Transport 6.4")


def _respond(uplink: Uplink, request: Message, answer: Answer, outcome: Reply | PeerError | None) -> None:
    if outcome is None:
        answer(None)
    elif isinstance(outcome, PeerError):
        _refuse(request.remote, outcome, answer)
    else:
        response = Message(code=SUCCESS_CODES[outcome.success])
        if outcome.location:
            response.opt.location_path = outcome.location
        if request.opt.block1 is not None:
            response.opt.block1 = request.opt.block1
        answer(response)


def _refuse(peer: Any, error: PeerError, answer: Answer) -> None:
    code = ERROR_CODES[error.code]
    log.info(
        "request refused",
        extra={"PEER": peer.text, "ERROR_CODE": error.code, "COAP_CODE": dotted(code)},
    )
    answer(Message(code=code, payload=error.message.encode()[:64]))
