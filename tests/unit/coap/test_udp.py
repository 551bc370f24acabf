"""The sockets: where they listen, whom they hear, what their addresses look like."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest

from flownexus_appliance.coap import sockets, udp
from flownexus_appliance.coap.peers import address_text, parse_address
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.coap.udp import UdpTransport
from flownexus_appliance.errors import ApplianceError, PeerError
from flownexus_appliance.fleet.ports import DeviceSilent, Downlink, Method, Ports
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.system.config import LOOPBACK, Network
from tests.peer import CON, CONTENT, DEADLINE_S, EMPTY, POST, RST, DevicePeer, Frame, device

from .conftest import ELSEWHERE, ScriptedUplinks

READ = Downlink(Method.GET, Path.parse("/3/0"), timeout_s=2.0)
EVERYWHERE: tuple[Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))
HAS_IPV6 = socket.has_ipv6
HOME = "127.0.0.9"


async def read_from(server: CoapServer, peer: DevicePeer) -> bytes:
    task = asyncio.create_task(server.request(peer.address, READ))
    peer.answer(await peer.asked(), CONTENT, b"here")
    return (await task).payload


# Addresses


@pytest.mark.parametrize(
    ("sockaddr", "text"),
    [
        (("127.0.0.1", 5683), "127.0.0.1:5683"),
        (("::1", 5683, 0, 0), "[::1]:5683"),
        (("2001:db8::1", 1, 0, 0), "[2001:db8::1]:1"),
        (("::ffff:192.0.2.7", 40000, 0, 0), "192.0.2.7:40000"),
        (("fe80::1%lo", 5683, 0, 1), "[fe80::1%lo]:5683"),
    ],
)
def test_addresses_both_ways(sockaddr: tuple[object, ...], text: str) -> None:
    assert address_text(sockaddr) == text
    host, port = parse_address(text)
    assert port == sockaddr[1]
    assert str(host) == str(sockaddr[0]).removeprefix("::ffff:")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:x",
        "box:5683",
        "::1",
        "[::1]",
        "1.2.3:5683",
        "127.0.0.1:٣",
        "[::1]:" + "9" * 5000,
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(PeerError) as raised:
        parse_address(text)
    assert raised.value.code == "address_invalid"
    assert raised.value.hint


# Where it listens


async def test_loopback_listens_on_one_port_for_both_families(server: CoapServer) -> None:
    assert server.port
    for host in ("127.0.0.1", "::1") if HAS_IPV6 else ("127.0.0.1",):
        with device(server.port, host) as peer:
            await peer.silent()


async def test_ipv6(server: CoapServer, uplinks: ScriptedUplinks) -> None:
    assert HAS_IPV6, "these tests need the IPv6 loopback"
    uplinks.outcomes.append(Reply(Success.CREATED, ("rd", "abcdefghij")))
    with device(server.port, "::1") as peer:
        assert (await peer.reply(peer.register())).status == "2.01"
        uplink, _ = await uplinks.request()
        assert uplink.sender.address == peer.address
        assert uplink.sender.address.startswith("[::1]:")
        assert await read_from(server, peer) == b"here"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_wildcard_socket_answers_and_asks(uplinks: ScriptedUplinks, host: str) -> None:
    uplinks.outcomes.append(Reply(Success.CREATED, ("rd", "abcdefghij")))
    server = CoapServer(0, EVERYWHERE, uplinks)
    await server.start()
    try:
        with device(server.port, host) as peer:
            assert (await peer.reply(peer.register())).status == "2.01"
            assert (await uplinks.request())[0].sender.address == peer.address
            assert await read_from(server, peer) == b"here"
    finally:
        await server.stop()


async def test_a_wildcard_socket_answers_from_where_it_was_asked(uplinks: ScriptedUplinks) -> None:
    """A peer that asked 127.0.0.2 takes no answer from 127.0.0.1."""
    server = CoapServer(0, EVERYWHERE, uplinks)
    await server.start()
    try:
        with device(server.port, "127.0.0.2") as peer:
            await peer.silent()
            assert await read_from(server, peer) == b"here"
    finally:
        await server.stop()


async def test_without_ipv6(uplinks: ScriptedUplinks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_ipv6", False)
    for networks in (LOOPBACK, EVERYWHERE):
        server = CoapServer(0, networks, uplinks)
        await server.start()
        try:
            with device(server.port, "127.0.0.1") as peer:
                await peer.silent()
                assert await read_from(server, peer) == b"here"
            with pytest.raises(DeviceSilent):
                await server.request("[::1]:5683", READ)
        finally:
            await server.stop()


async def test_without_networks_there_is_no_socket(uplinks: ScriptedUplinks) -> None:
    server = CoapServer(0, (), uplinks)
    await server.start()
    assert server.port == 0
    with pytest.raises(DeviceSilent) as raised:
        await server.request("127.0.0.1:5683", READ)
    assert raised.value.code == "address_unreachable"
    await server.stop()


async def test_not_started(uplinks: ScriptedUplinks) -> None:
    server = CoapServer(0, LOOPBACK, uplinks)
    with pytest.raises(DeviceSilent):
        await server.request("127.0.0.1:5683", READ)
    await server.stop()


@pytest.mark.parametrize("networks", [LOOPBACK, EVERYWHERE])
async def test_a_port_in_use(uplinks: ScriptedUplinks, networks: tuple[Network, ...]) -> None:
    first = CoapServer(0, networks, uplinks)
    await first.start()
    second = CoapServer(first.port, networks, uplinks)
    with pytest.raises(ApplianceError) as raised:
        await second.start()
    assert raised.value.code == "port_unavailable"
    assert str(first.port) in raised.value.message
    assert raised.value.hint
    await second.stop()
    await first.stop()


# Where devices reach us


@pytest.mark.parametrize(
    ("asked", "ours"), [("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1")]
)
async def test_our_address_is_the_one_that_was_asked(uplinks: ScriptedUplinks, asked: str, ours: str) -> None:
    server = CoapServer(0, EVERYWHERE, uplinks)
    await server.start()
    try:
        with device(server.port, asked) as peer:
            assert server.local_host(peer.address) == "", "it has not been heard yet"
            await peer.silent()
            assert server.local_host(peer.address) == ours
        assert server.ports == Ports(server.port, 0)
    finally:
        await server.stop()


async def test_our_address_is_that_of_the_newest_datagram(uplinks: ScriptedUplinks) -> None:
    server = CoapServer(0, EVERYWHERE, uplinks)
    await server.start()
    try:
        with device(server.port, "127.0.0.1") as peer:
            await peer.silent()
            peer.server = ("127.0.0.3", server.port)
            await peer.silent()
            assert server.local_host(peer.address) == "127.0.0.3"
    finally:
        await server.stop()


async def test_our_address_for_who_was_only_asked_is_not_known(uplinks: ScriptedUplinks) -> None:
    """As after a restart: a wildcard is no address."""
    server = CoapServer(0, EVERYWHERE, uplinks)
    await server.start()
    try:
        with device(server.port) as peer:
            task = asyncio.create_task(server.request(peer.address, READ))
            request = await peer.asked()
            assert server.local_host(peer.address) == ""
            peer.answer(request, CONTENT)
            await task
            assert server.local_host(peer.address) == "127.0.0.1"
    finally:
        await server.stop()


@pytest.mark.parametrize("peer", ["", "192.0.2.1:5683", "nonsense", "[fe80::1%nowhere]:1", "dtls-00"])
async def test_our_address_for_others(server: CoapServer, peer: str) -> None:
    assert server.local_host(peer) == ""


async def test_nobody_reaches_a_server_that_is_not_started(uplinks: ScriptedUplinks) -> None:
    server = CoapServer(0, LOOPBACK, uplinks)
    assert (server.ports, server.local_host("127.0.0.1:5683")) == (Ports(), "")
    await server.start()
    assert server.ports == Ports(server.port, 0) != Ports()
    await server.stop()
    assert (server.ports, server.local_host("127.0.0.1:5683")) == (Ports(), "")


# Whom it hears


@dataclass(slots=True)
class Listener:
    """What a transport of named networks hands on; a knock from `HOME` shows that all before it was read."""

    transport: UdpTransport = field(init=False)
    heard: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        networks = (*ELSEWHERE, ip_network(HOME))
        self.transport = UdpTransport(0, networks, lambda data, peer: self.heard.put_nowait(data))

    async def only_a_knock(self) -> None:
        with device(self.transport.sockets.port, "127.0.0.1", source=HOME) as neighbour:
            neighbour.send(b"knock")
            async with asyncio.timeout(DEADLINE_S):
                assert await self.heard.get() == b"knock"


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    made.transport.start()
    yield made
    made.transport.close()


async def test_a_network_that_is_not_named_is_not_heard(listener: Listener) -> None:
    with device(listener.transport.sockets.port) as stranger:
        stranger.register()
        stranger.send(Frame(CON, EMPTY, 1))
        stranger.send(b"garbage")
        await listener.only_a_knock()
    assert listener.transport.sockets.dropped == 3


async def test_a_network_that_is_not_named_gets_nothing(uplinks: ScriptedUplinks) -> None:
    server = CoapServer(0, (*ELSEWHERE, ip_network(HOME)), uplinks)
    await server.start()
    try:
        with device(server.port) as stranger, device(server.port, source=HOME) as neighbour:
            stranger.register()
            stranger.send(Frame(CON, EMPTY, 1))
            await neighbour.silent()
            with pytest.raises(BlockingIOError):
                stranger.sock.recv(100)
        assert uplinks.requests.empty()
    finally:
        await server.stop()


async def test_nobody_outside_is_asked_and_so_let_in(listener: Listener) -> None:
    """A kept registration from a network that the operator no longer names."""
    with device(listener.transport.sockets.port) as stranger:
        with pytest.raises(DeviceSilent) as raised:
            listener.transport.peer(stranger.address)
        assert raised.value.code == "address_unreachable"
        assert raised.value.hint
        stranger.send(Frame(CON, EMPTY, 1))
        await listener.only_a_knock()
    assert listener.transport.sockets.dropped == 1


async def test_a_link_local_device_is_asked_at_the_address_it_spoke_from() -> None:
    transport = UdpTransport(0, (ip_network("fe80::/10"),), lambda data, peer: None)
    transport.start()
    try:
        assert transport.peer("[fe80::1%lo]:5683").way.sockaddr == (
            "fe80::1%lo",
            5683,
            0,
            socket.if_nametoindex("lo"),
        )
        assert transport.peer("[fe80::1%7]:5683").way.sockaddr == ("fe80::1%7", 5683, 0, 7)
        with pytest.raises(DeviceSilent):
            transport.peer("[fe80::1%nosuch0]:5683")
    finally:
        transport.close()


async def test_an_address_that_cannot_be_reached_is_silence(server: CoapServer) -> None:
    with pytest.raises(DeviceSilent):
        await server.request("192.0.2.1:5683", READ)
    with pytest.raises(PeerError):
        await server.request("nonsense", READ)


# Memory


async def test_peers_are_kept_while_they_are_recent(
    uplinks: ScriptedUplinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "RECENT_PEERS", 4)
    transport = UdpTransport(0, LOOPBACK, lambda data, peer: None)
    transport.start()
    try:
        held = transport.peer("127.0.0.1:1")
        for port in range(2, 100):
            transport.peer(f"127.0.0.1:{port}")
        assert transport.peer("127.0.0.1:1") is held
        assert len(transport._peers) == 5
    finally:
        transport.close()


async def test_a_burst_of_datagrams_lets_the_loop_see_to_other_things(
    server: CoapServer, uplinks: ScriptedUplinks
) -> None:
    with device(server.port) as peer:
        for mid in range(3 * sockets.BURST):
            peer.request(POST, "/dp", mid=mid)
        for _ in range(3 * sockets.BURST):
            await uplinks.request()
            assert uplinks.requests.qsize() < sockets.BURST
        await peer.silent()


async def test_pings_of_many_devices(server: CoapServer) -> None:
    for _ in range(200):
        with device(server.port) as peer:
            peer.send(Frame(CON, EMPTY, 5))
            assert await peer.receive() == Frame(RST, EMPTY, 5)
