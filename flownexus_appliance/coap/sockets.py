"""UDP sockets of one port: bound to loopback, or open to named networks and deaf to all others.

What plain CoAP and DTLS have in common: many datagrams a wake-up, a filter by network, sockets for
both families, and an answer from the address that was asked where the socket has a wildcard one.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ..errors import ApplianceError
from ..fleet.ports import DeviceSilent
from ..system.config import Network
from .peers import PacketInfo, SocketAddress, address_text, parse_address

Host = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_DATAGRAM: Final = 2048
BURST: Final = 64
RECEIVE_BUFFER: Final = 1 << 20
MAX_ANSWERS: Final = 256
MAX_HOSTS: Final = 4096
_ANCILLARY: Final = socket.CMSG_SPACE(32) * 2
# Linux's <linux/in.h>; the socket module does not name it before Python 3.14.
_IP_PKTINFO: Final = 8
_WILDCARDS: Final = ("::", "0.0.0.0")
log = logging.getLogger(__name__)


class Way(NamedTuple):
    """Where a datagram came from, and so where the answer goes: `local` is the packet info to send it
    with."""

    sock: socket.socket
    sockaddr: SocketAddress
    local: tuple[PacketInfo, ...] = ()


class UdpSockets:
    """The sockets of a port; `receive` gets every datagram from an allowed network."""

    def __init__(
        self,
        port: int,
        networks: Sequence[Network],
        receive: Callable[[bytes, Way], None],
        setting: str,
    ) -> None:
        self._port = port
        self._networks = tuple(networks)
        self._receive = receive
        self._setting = setting
        self._sockets: list[socket.socket] = []
        self._wildcard: set[int] = set()
        # Packet info by what came with a datagram: a box has few addresses, and peers share the tuples.
        self._answers: dict[tuple[tuple[int, int, bytes], ...], tuple[PacketInfo, ...]] = {}
        self._open_to_all = all(
            any(network.prefixlen == 0 and network.version == version for network in networks)
            for version in (4, 6)
        )
        # What was found out of a host; with open networks nobody asks.
        self._let_in: dict[str, bool] = {}
        self.dropped = 0

    def open(self) -> None:
        """Bind the sockets, none without networks; raises ApplianceError("port_unavailable").

        What comes in waits in their buffers until `listen`.
        """
        if not self._networks:
            return
        local = all(network.is_loopback for network in self._networks)
        try:
            if local:
                self._open(socket.AF_INET, "127.0.0.1")
                if socket.has_ipv6:
                    self._open_optional(socket.AF_INET6, "::1")
            elif not (socket.has_ipv6 and self._open_optional(socket.AF_INET6, "::")):
                self._open(socket.AF_INET, "0.0.0.0")
        except OSError as error:
            self.close()
            raise ApplianceError(
                "port_unavailable",
                f"cannot listen on UDP port {self._port}: {error.strerror or error}",
                f"stop the program that has the port, or name another in [{self._setting}] port",
            ) from error

    def listen(self) -> None:
        """Begin to read."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), self._readable, sock)

    @property
    def port(self) -> int:
        """The bound port, where 0 was asked for; 0 while there is no socket."""
        return int(self._sockets[0].getsockname()[1]) if self._sockets else 0

    def deafen(self) -> None:
        """Read no more; what is on its way out still goes."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            if sock.fileno() >= 0:
                loop.remove_reader(sock.fileno())

    def close(self) -> None:
        self.deafen()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        self._wildcard.clear()

    def way_to(self, address: str) -> Way:
        """The way to an address as `address_text` writes it; raises PeerError, DeviceSilent."""
        host, port = parse_address(address)
        # A peer is let in without another look once it is known: none becomes so by being asked.
        for sock in self._sockets if self._allowed(host) else ():
            if sock.family == socket.AF_INET and host.version == 4:
                return Way(sock, (str(host), port))
            if sock.family == socket.AF_INET6 and host.version == 6:
                return Way(sock, (str(host), port, 0, _scope(host)))
            if sock.family == socket.AF_INET6 and sock.fileno() in self._wildcard:
                return Way(sock, (f"::ffff:{host}", port, 0, 0))
        raise DeviceSilent(
            "address_unreachable",
            f"no socket reaches {address}",
            f"check the networks in [{self._setting}]",
            sent=False,
        )

    def send(self, data: bytes, way: Way) -> None:
        """Send a datagram; what the kernel refuses is lost, as on the way it may be too."""
        try:
            if way.local:
                way.sock.sendmsg([data], way.local, 0, way.sockaddr)
            else:
                way.sock.sendto(data, way.sockaddr)
        except OSError as error:
            self.dropped += 1
            log.debug("datagram not sent", extra={"PEER": address_text(way.sockaddr), "CAUSE": str(error)})

    # Within

    def _open_optional(self, family: int, host: str) -> bool:
        """Open an IPv6 socket where the machine has IPv6 at all."""
        try:
            self._open(family, host)
        except OSError:
            return False
        return True

    def _open(self, family: int, host: str) -> None:
        wildcard = host in _WILDCARDS
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if wildcard:
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                else:
                    sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            elif family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # The second socket takes the port that the first one was given.
            port = self._sockets[0].getsockname()[1] if self._sockets else self._port
            sock.bind((host, port))
        except BaseException:
            sock.close()
            raise
        self._sockets.append(sock)
        if wildcard:
            self._wildcard.add(sock.fileno())

    def _readable(self, sock: socket.socket) -> None:
        """Take up to BURST datagrams, then let the loop see to other things."""
        wildcard = sock.fileno() in self._wildcard
        local: tuple[PacketInfo, ...] = ()
        for _ in range(BURST):
            try:
                if wildcard:
                    data, ancillary, _flags, sockaddr = sock.recvmsg(MAX_DATAGRAM + 1, _ANCILLARY)
                    local = self._answer_from(tuple(ancillary))
                else:
                    data, sockaddr = sock.recvfrom(MAX_DATAGRAM + 1)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # An ICMP error of an earlier datagram, say: the socket itself goes on.
                log.debug("receive failed", extra={"CAUSE": str(error)})
                continue
            if len(data) > MAX_DATAGRAM:
                self.dropped += 1
                log.info("datagram too long", extra={"PEER": address_text(sockaddr)})
                continue
            self._receive(data, Way(sock, sockaddr, local))

    def _answer_from(self, ancillary: tuple[tuple[int, int, bytes], ...]) -> tuple[PacketInfo, ...]:
        answer = self._answers.get(ancillary)
        if answer is None:
            if len(self._answers) >= MAX_ANSWERS:
                self._answers.clear()
            answer = self._answers[ancillary] = tuple(map(_answer_from, ancillary))
        return answer

    def lets_in(self, sockaddr: SocketAddress) -> bool:
        """Whether an address is of an allowed network; what is not is counted."""
        if self._open_to_all:
            return True
        host = sockaddr[0]
        found = self._let_in.get(host)
        if found is None:
            if len(self._let_in) >= MAX_HOSTS:
                self._let_in.clear()
            found = self._let_in[host] = self._allowed(_host(sockaddr))
        self.dropped += not found
        return found

    def _allowed(self, host: Host) -> bool:
        return any(host in network for network in self._networks)


def _host(sockaddr: SocketAddress) -> Host:
    host = ipaddress.ip_address(str(sockaddr[0]))
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        return host.ipv4_mapped
    return host


def _scope(host: Host) -> int:
    """The interface of a link-local address, as the socket's addresses carry it; 0 for others."""
    scope = host.scope_id if isinstance(host, ipaddress.IPv6Address) else None
    if scope is None:
        return 0
    try:
        return int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
    except OSError:
        raise DeviceSilent(
            "address_unreachable", f"no interface {scope}", "the device registers anew elsewhere", sent=False
        ) from None


def _answer_from(ancillary: tuple[int, int, bytes]) -> PacketInfo:
    """Packet info of a received datagram, turned into one that sends from the same address."""
    level, kind, data = ancillary
    if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
        # struct in_pktinfo: ifindex, spec_dst (what sends), addr (what was asked).
        return level, kind, data[:4] + data[8:12] + data[8:12]
    return level, kind, data


def local_host(way: Way) -> str:
    """Our own address, as the sender of a datagram reached it; "" where nothing tells."""
    for level, kind, data in way.local:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            return socket.inet_ntoa(data[8:12])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            host = ipaddress.IPv6Address(data[:16])
            return str(host.ipv4_mapped or host)
    if way.local or way.sock.fileno() < 0:
        return ""
    bound = str(way.sock.getsockname()[0])
    return "" if bound in _WILDCARDS else bound
