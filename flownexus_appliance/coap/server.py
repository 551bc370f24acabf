"""The CoAP server: over UDP and over DTLS, `/rd`, `/dp` and `/bs` up, packages and requests to devices down.

LwM2M Transport 1.1.1 section 6.4; RFC 7252, RFC 7959 (blockwise). Requests go up as plain data to the
`Uplinks`; this module checks what CoAP itself demands: method, options, formats, blocks.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import aiocoap
from aiocoap import Code, Message
from aiocoap.error import UnparsableMessage

from ..db.migrate import StoreError
from ..db.sessions import SESSION_PREFIX
from ..errors import PeerError
from ..fleet.ports import (
    Action,
    DeviceSilent,
    Downlink,
    DownlinkReply,
    Keyring,
    Notification,
    Packages,
    Ports,
    SavedSession,
    SessionKeeper,
    Traced,
    Uplink,
    Uplinks,
    Verdict,
)
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.effects import Reply
from ..system.config import Network
from .blocks import Bodies
from .codes import (
    ERROR_CODES,
    MAX_CONTENT_FORMAT,
    MAX_OBSERVE,
    SUCCESS_CODES,
    check_options,
    dotted,
    number_of,
)
from .downlink import Requester
from .dtls.peer import DtlsPeer
from .dtls.transport import PSK_ONLY, DtlsTransport, Identity
from .messages import Acknowledge, Answer, DeviceMessages, DeviceTokens
from .packages import serve, ticket_of
from .peers import Outlet, Peer
from .sockets import local_host
from .trace import traced, traced_datagram
from .udp import UdpTransport

MAX_DIAGNOSTIC: Final = 64
_REGISTERING: Final = (Action.REGISTER, Action.UPDATE)
_ACKNOWLEDGE: Final = {Verdict.TAKEN: True, Verdict.REFUSED: False, Verdict.SILENT: None}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Secure:
    """What CoAP over DTLS needs: where to listen, whom to let in, where sessions are kept.

    `kept` are the sessions of an earlier run, `identity` what the box shows of itself at first.
    """

    port: int
    networks: Sequence[Network]
    keyring: Keyring
    keeper: SessionKeeper
    kept: Sequence[SavedSession] = ()
    identity: Identity = PSK_ONLY


class CoapServer:
    """One aiocoap context over our own transports; a `Wire` for the fleet."""

    def __init__(
        self,
        port: int,
        networks: Sequence[Network],
        uplinks: Uplinks,
        secure: Secure | None = None,
        packages: Packages | None = None,
    ) -> None:
        self._port = port
        self._networks = networks
        self._uplinks = uplinks
        self._secure = secure
        self._packages = packages
        # Apart: nobody knows who speaks plain CoAP, and those must not push out what others send.
        self._bodies = Bodies()
        self._secure_bodies = Bodies()
        self._context: aiocoap.Context | None = None
        self.dtls: DtlsTransport | None = None
        self.received = 0
        self._outlet = Outlet()
        self._trace: Callable[[Traced], None] | None = None

    async def start(self) -> None:
        """Listen; raises ApplianceError: `port_unavailable`, `dtls_unusable`."""
        self._loop = asyncio.get_running_loop()
        context = aiocoap.Context(loop=self._loop, loggername="aiocoap.box")
        tokens = DeviceTokens(context, self._serve, self._notified, self._fetched)
        self._messages = DeviceMessages(tokens)
        tokens.token_interface = self._messages
        self._messages.message_interface = self._outlet
        context.request_interfaces.append(tokens)
        self._context = context
        self._requester = Requester(tokens)
        self._transport = UdpTransport(self._port, self._networks, self._receive)
        if self._secure is not None:
            wanted = self._secure
            self.dtls = DtlsTransport(
                wanted.port,
                wanted.networks,
                wanted.keyring,
                wanted.keeper,
                self._receive,
                tokens.abandon,
            )
            self.dtls.present(wanted.identity)
            await self.dtls.start(wanted.kept)
        self._transport.start()

    async def stop(self) -> None:
        """Close the sockets; requests under way end with DeviceSilent. Not started is stopped.

        What was taken is answered first: a device that repeats it after a restart has it stored twice.
        """
        context, self._context = self._context, None
        if context is None:
            return
        self._transport.sockets.deafen()
        if self._secure is not None and self.dtls is not None:
            self.dtls.sockets.deafen()
            with contextlib.suppress(StoreError):  # it is not answered, then
                await asyncio.shield(self._secure.keeper.commit())
        await context.shutdown()
        self._transport.close()
        if self.dtls is not None:
            await self.dtls.stop()

    @property
    def port(self) -> int:
        return self._transport.sockets.port

    @property
    def secure_port(self) -> int:
        """The port of CoAP over DTLS; 0 where it is off."""
        return self.dtls.port if self.dtls is not None else 0

    @property
    def ports(self) -> Ports:
        """See `fleet.ports.Wire`; none while the server is not started."""
        return Ports() if self._context is None else Ports(self.port, self.secure_port)

    def local_host(self, peer: str) -> str:
        """See `fleet.ports.Wire`: by the way of the newest datagram, so unknown until there is one."""
        if self._context is None:
            return ""
        if peer.startswith(SESSION_PREFIX):
            way = None if self.dtls is None else self.dtls.way_of(peer)
        else:
            way = self._transport.way_of(peer)
        return "" if way is None else local_host(way)

    @property
    def trace(self) -> Callable[[Traced], None] | None:
        """Who is told of every message from now on, duplicates too; None costs nothing."""
        return self._trace

    @trace.setter
    def trace(self, told: Callable[[Traced], None] | None) -> None:
        self._trace = told
        self._outlet.tap = None if told is None else self._sent

    def present(self, identity: Identity) -> None:
        """Show another certificate from the next handshake on; see `DtlsTransport.present`."""
        if self.dtls is not None:
            self.dtls.present(identity)

    async def request(self, peer: str, downlink: Downlink) -> DownlinkReply:
        """See `fleet.ports.Wire`."""
        if self._context is None:
            raise DeviceSilent(
                "address_unreachable", "the wire is not up", "wait until the appliance is ready", sent=False
            )
        return await self._requester.request(self._find(peer), downlink)

    def _find(self, name: str) -> Peer:
        if self.dtls is not None and name.startswith(SESSION_PREFIX):
            return self.dtls.peer(name)
        return self._transport.peer(name)

    # From the transports

    def _receive(self, data: bytes, peer: Peer) -> None:
        self.received += 1
        try:
            message = _decode(data, peer)
        except PeerError as error:
            log.info("not CoAP", extra={"PEER": peer.sender.address, "ERROR_CODE": error.code})
            # RFC 7252 4.2: a confirmable message that cannot be processed is rejected by a reset.
            if len(data) >= 4 and data[0] >> 4 == 0b0100:
                self._messages.reset(peer, int.from_bytes(data[2:4], "big"))
            return
        if self._trace is not None:
            self._tell(lambda: traced(message, peer, incoming=True))
        try:
            self._messages.take(message, hash(data))
        except Exception:
            # A defect of ours or of the library met one datagram; the next one is served.
            log.exception("datagram failed", extra={"PEER": peer.sender.address})

    def _sent(self, data: bytes, peer: Peer) -> None:
        self._tell(lambda: traced_datagram(data, peer))

    def _tell(self, make: Callable[[], Traced]) -> None:
        try:
            if self._trace is not None:
                self._trace(make())
        except Exception:
            # Somebody only looks on: the message goes its way all the same.
            log.exception("trace failed")

    # From the message layer

    def _fetched(self, request: Message) -> Message | None:
        """The answer to who fetches a package; None for all other requests."""
        ticket = None if self._packages is None else ticket_of(request)
        if self._packages is None or ticket is None:
            return None
        try:
            return serve(self._packages, request, ticket)
        except PeerError as error:
            return _refusal(request.remote, error)

    def _serve(self, request: Message, answer: Answer) -> None:
        try:
            uplink = _uplink(request)
            if request.opt.block1 is not None:
                body = self._assemble(request)
                if body is None:
                    answer(_echoing(request, Message(code=Code.CONTINUE)))
                    return
                uplink = replace(uplink, payload=body)
        except PeerError as error:
            answer(_refusal(request.remote, error))
        else:
            if uplink.action in _REGISTERING and isinstance(request.remote, DtlsPeer):
                request.remote.registered()
            self._uplinks.receive(uplink, partial(_respond, request, answer))

    def _assemble(self, request: Message) -> bytes | None:
        """The whole body once the last block is here (RFC 7959 2.3); raises PeerError."""
        option, block = request.opt, request.opt.block1
        # RFC 7959 2.5: blocks belong together by their peer and options; Zephyr's tokens differ.
        key = (request.remote, request.code, option.uri_path, option.uri_query, option.request_tag)
        bodies = self._secure_bodies if request.remote.sender.secure else self._bodies
        return bodies.take(
            key, block.block_number, block.more, block.size_exponent, request.payload, self._loop.time()
        )

    def _notified(self, response: Message, acknowledge: Acknowledge) -> None:
        block = response.opt.block2
        notification = Notification(
            sender=response.remote.sender,
            token=response.token,
            observe=number_of(response.opt.observe, MAX_OBSERVE),
            code=dotted(response.code),
            content_format=number_of(response.opt.content_format, MAX_CONTENT_FORMAT),
            payload=response.payload,
            partial=block is not None and block.more,
        )
        self._uplinks.notified(notification, lambda verdict: acknowledge(_ACKNOWLEDGE[verdict]))


def _decode(data: bytes, peer: Peer) -> Message:
    """Read a datagram; raises PeerError("payload_invalid") for whatever is not a CoAP message."""
    try:
        token_length = data[0] & 0x0F
        if token_length > 8 or len(data) < 4 + token_length:  # RFC 7252 3: 9-15 are reserved
            raise UnparsableMessage("token length")
        if data[1] == Code.EMPTY and len(data) > 4:
            raise UnparsableMessage("an empty message with content")
        message = Message.decode(data, remote=peer)
        # aiocoap lets a payload marker without payload pass. With a zero after it that is a payload of
        # one byte; after anything else that ends in 0xff it is an option without content.
        if data[-1] == 0xFF and not message.payload and Message.decode(data + b"\0").payload:
            raise UnparsableMessage("a payload marker without payload")
        return message
    except (UnparsableMessage, ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise PeerError("payload_invalid", f"not a CoAP message: {error}", "") from error


def _uplink(request: Message) -> Uplink:
    """Find out what is asked; raises PeerError."""
    check_options(request)
    path = request.opt.uri_path
    action, registration_id = _route(request.code, path)
    content_format = number_of(request.opt.content_format, MAX_CONTENT_FORMAT)
    if action in (Action.REGISTER, Action.UPDATE) and content_format not in (None, ContentFormat.LINK):
        raise PeerError(
            "content_format_unsupported",
            f"Content-Format {content_format} for a link list",
            "send application/link-format (40)",
        )
    accept = number_of(request.opt.accept, MAX_CONTENT_FORMAT)
    if request.opt.accept is not None and action is not Action.BOOTSTRAP_PACK:
        raise PeerError("not_acceptable", "the answer has no content", "leave the Accept option out")
    return Uplink(
        action=action,
        sender=request.remote.sender,
        message_id=request.mid,
        token=request.token,
        query=request.opt.uri_query,
        content_format=content_format,
        payload=request.payload,
        registration_id=registration_id,
        accept=accept,
    )


def _route(code: Code, path: tuple[str, ...]) -> tuple[Action, str]:
    if path == ("dp",):
        if code is Code.POST:
            return Action.SEND, ""
    elif path == ("rd",):
        if code is Code.POST:
            return Action.REGISTER, ""
    elif path == ("bs",):
        if code is Code.POST:
            return Action.BOOTSTRAP, ""
    elif path == ("bspack",):
        if code is Code.GET:
            return Action.BOOTSTRAP_PACK, ""
    elif len(path) == 2 and path[0] == "rd":
        if code in (Code.POST, Code.PUT):
            return Action.UPDATE, path[1]
        if code is Code.DELETE:
            return Action.DEREGISTER, path[1]
    else:
        raise PeerError("not_found", "no such path here", "use /rd, /dp or /bs")
    raise PeerError("method_not_allowed", f"{code.name_printable} not allowed", "see LwM2M Transport 6.4")


def _respond(request: Message, answer: Answer, outcome: Reply | PeerError | None) -> None:
    if outcome is None:
        answer(None)
    elif isinstance(outcome, PeerError):
        answer(_refusal(request.remote, outcome))
    else:
        response = Message(code=SUCCESS_CODES[outcome.success])
        if outcome.location:
            response.opt.location_path = outcome.location
        if outcome.content_format is not None:
            response.opt.content_format = outcome.content_format
            response.payload = outcome.payload
        answer(_echoing(request, response))


def _echoing(request: Message, response: Message) -> Message:
    """RFC 7959 2.3: the response to a block names the block; Zephyr wants it as it sent it."""
    if request.opt.block1 is not None:
        response.opt.block1 = request.opt.block1
    return response


def _refusal(peer: Any, error: PeerError) -> Message:
    code = ERROR_CODES[error.code]
    log.info(
        "request refused",
        extra={"PEER": peer.sender.address, "ERROR_CODE": error.code, "COAP_CODE": dotted(code)},
    )
    words = error.message.encode()[:MAX_DIAGNOSTIC].decode("utf-8", "ignore")  # no half character
    return Message(code=code, payload=words.encode())
