"""Addresses of devices, as aiocoap wants them and as the rest of the house writes them.

One `Peer` object stands for one remote address and is compared by identity: what the message layer
keeps for a peer (exchanges, duplicates, blocks) hangs on the object, so a transport with sessions can
move a peer to another address without losing any of it.
"""

import ipaddress
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiocoap import error, interfaces

from ..errors import PeerError, clean
from ..fleet.ports import Sender

# Zephyr's default for a block; larger messages to it are refused or stored corrupt.
BLOCK_SIZE_EXPONENT: Final = 5
# RFC 7252 4.6: what a message may have where nothing is known of the way, its payload and all of it.
MAX_MESSAGE: Final = 1152
# Of a message with a block: header, token and options.
BLOCK_HEADER: Final = 96
SocketAddress = tuple[Any, ...]
PacketInfo = tuple[int, int, bytes]


class KeptReply(NamedTuple):
    """An answer, by the digest of its request; good until a time of the loop."""

    digest: int
    data: bytes
    until: float


class Peer(interfaces.EndpointAddress):  # type: ignore[misc]
    """Whom messages come from and go to: an address, or a DTLS session wherever it is."""

    __slots__ = ("pending", "replies")

    is_multicast = False
    is_multicast_locally = False
    maximum_block_size_exp = BLOCK_SIZE_EXPONENT
    sender: Sender

    def __init__(self) -> None:
        # Requests by their digest: those that wait for their answer, and the last answers, oldest first
        # (`messages.DeviceMessages`). Tuples, because most peers have none or one and there are many.
        self.pending: tuple[int, ...] = ()
        self.replies: tuple[KeptReply, ...] = ()

    def deliver(self, data: bytes) -> None:
        """Send a CoAP message; what cannot be sent is lost, as on the way it may be too."""
        raise NotImplementedError

    @property
    def max_message(self) -> int:
        """The largest message that `deliver` can send, in bytes."""
        return MAX_MESSAGE

    def block_exponent(self, wanted: int) -> int:
        """The size exponent of the largest blocks, `wanted` at most, that fit into messages to this peer."""
        while wanted > 0 and (16 << wanted) + BLOCK_HEADER > self.max_message:
            wanted -= 1
        return wanted

    def __repr__(self) -> str:
        return f"<Peer {self.sender.address}>"

    @property
    def hostinfo(self) -> str:
        return self.sender.address

    @property
    def hostinfo_local(self) -> str:
        raise error.AnonymousHost

    @property
    def uri_base(self) -> str:
        return f"{self.scheme}://{self.sender.address}"

    @property
    def uri_base_local(self) -> str:
        raise error.AnonymousHost

    @property
    def blockwise_key(self) -> int:
        return id(self)


class Outlet(interfaces.MessageInterface):  # type: ignore[misc]
    """What every message goes out by; `tap`, where there is one, sees it first. Peers know their own way."""

    def __init__(self) -> None:
        self.tap: Callable[[bytes, Peer], None] | None = None

    def send(self, message: Any) -> None:
        self.deliver(message.encode(), message.remote)

    def deliver(self, data: bytes, peer: Peer) -> None:
        """Send a message that is encoded already."""
        if self.tap is not None:
            self.tap(data, peer)
        peer.deliver(data)

    async def determine_remote(self, message: Any) -> None:
        """Requests always come with their remote: nothing is resolved here."""

    async def recognize_remote(self, remote: Any) -> bool:
        return isinstance(remote, Peer)

    async def shutdown(self) -> None:
        """The sockets are closed by who opened them."""


def address_text(sockaddr: SocketAddress) -> str:
    """`127.0.0.1:5683` or `[2001:db8::1]:5683`; IPv4 seen through an IPv6 socket reads as IPv4."""
    host, port = sockaddr[0], sockaddr[1]
    if ":" not in host:
        return f"{host}:{port}"
    if host.startswith("::ffff:") and "." in host:
        return f"{host[7:]}:{port}"
    return f"[{host}]:{port}"


def parse_address(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """The inverse of `address_text`; raises PeerError("address_invalid")."""
    host, _, port = text.rpartition(":")
    try:
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError
        return ipaddress.ip_address(host.strip("[]")), int(port)
    except ValueError:
        raise PeerError(
            "address_invalid", f"not an address: {clean(text)}", "write it as 192.0.2.1:5683"
        ) from None
