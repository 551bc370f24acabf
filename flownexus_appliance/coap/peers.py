"""Addresses of devices, as aiocoap wants them and as the rest of the house writes them.

One `Peer` object stands for one remote address and is compared by identity: what the message layer
keeps for a peer (exchanges, duplicates, blocks) hangs on the object, so a transport with sessions can
move a peer to another address without losing any of it.
"""

import ipaddress
import socket
from typing import Any, Final

from aiocoap import error, interfaces

from ..errors import PeerError, clean
from ..fleet.ports import Sender

# Zephyr's default for a block; larger messages to it are refused or stored corrupt.
BLOCK_SIZE_EXPONENT: Final = 5
SocketAddress = tuple[Any, ...]


class Peer(interfaces.EndpointAddress):  # type: ignore[misc]
    """A remote address over one of our sockets; `local` is the packet info to answer from."""

    __slots__ = ("local", "pending", "replies", "sender", "sock", "sockaddr", "text")

    scheme = "coap"
    is_multicast = False
    is_multicast_locally = False
    maximum_block_size_exp = BLOCK_SIZE_EXPONENT

    def __init__(self, sock: socket.socket, sockaddr: SocketAddress, text: str) -> None:
        self.sock = sock
        self.sockaddr = sockaddr
        self.text = text
        self.sender = Sender(text, text)
        self.local: tuple[tuple[int, int, bytes], ...] = ()
        # Requests by their digest: those that wait for their answer, and the last answers, each with
        # the loop's time until when it is good (`messages.DeviceMessages`).
        self.pending: set[int] = set()
        self.replies: dict[int, tuple[bytes, float]] = {}

    def __repr__(self) -> str:
        return f"<Peer {self.text}>"

    @property
    def hostinfo(self) -> str:
        return self.text

    @property
    def hostinfo_local(self) -> str:
        raise error.AnonymousHost

    @property
    def uri_base(self) -> str:
        return f"coap://{self.text}"

    @property
    def uri_base_local(self) -> str:
        raise error.AnonymousHost

    @property
    def blockwise_key(self) -> int:
        return id(self)


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
