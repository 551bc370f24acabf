"""Plain CoAP over UDP: one `Peer` an address.

Own transport instead of aiocoap's: docs/decisions/0002. Nobody is authenticated here; which networks
may speak at all is a setting.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from ..errors import PeerError
from ..fleet.ports import DeviceSilent, Sender
from ..system.config import Network
from .peers import Peer, SocketAddress, address_text
from .sockets import UdpSockets, Way, local_host

RECENT_PEERS: Final = 8192


class UdpPeer(Peer):
    """An address that speaks plain CoAP."""

    __slots__ = ("sender", "transport", "way")

    scheme = "coap"

    def __init__(self, transport: "UdpTransport", way: Way) -> None:
        super().__init__()
        self.transport = transport
        self.way = way
        text = address_text(way.sockaddr)
        self.sender = Sender(text, text, local_host=local_host(way))

    def deliver(self, data: bytes) -> None:
        self.transport.sockets.send(data, self.way)


class UdpTransport:
    """All of plain CoAP. `receive` gets every datagram from an allowed network."""

    def __init__(
        self, port: int, networks: Sequence[Network], receive: Callable[[bytes, Peer], None]
    ) -> None:
        self.sockets = UdpSockets(port, networks, self._arrived, "coap")
        self._receive = receive
        # Peers live as long as somebody holds them; the recent ones are held here.
        self._peers: WeakValueDictionary[SocketAddress, UdpPeer] = WeakValueDictionary()
        self._recent: OrderedDict[SocketAddress, UdpPeer] = OrderedDict()

    def start(self) -> None:
        """Open the sockets; raises ApplianceError("port_unavailable")."""
        self.sockets.open()
        self.sockets.listen()

    def close(self) -> None:
        self.sockets.close()
        self._recent.clear()

    def peer(self, address: str) -> UdpPeer:
        """The peer at an address as `address_text` writes it; raises PeerError, DeviceSilent."""
        return self._peer(self.sockets.way_to(address))

    def way_of(self, address: str) -> Way | None:
        """How a peer was heard last; None for one that was not heard or asked lately."""
        try:
            peer = self._peers.get(self.sockets.way_to(address).sockaddr)
        except (DeviceSilent, PeerError):
            return None
        return None if peer is None else peer.way

    def _arrived(self, data: bytes, way: Way) -> None:
        peer = self._peers.get(way.sockaddr)
        if peer is None:
            if not self.sockets.lets_in(way.sockaddr):
                return
            peer = self._peer(way)
        peer.way = way
        self._receive(data, peer)

    def _peer(self, way: Way) -> UdpPeer:
        peer = self._peers.get(way.sockaddr)
        if peer is None:
            peer = self._peers[way.sockaddr] = UdpPeer(self, way)
            self._recent[way.sockaddr] = peer
            if len(self._recent) > RECENT_PEERS:
                self._recent.popitem(last=False)
        return peer
