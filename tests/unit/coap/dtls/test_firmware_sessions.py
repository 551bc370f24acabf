"""A device that fetches firmware by a second session, beside the one it is registered by."""

import asyncio
from dataclasses import replace

from flownexus_appliance.coap.dtls.engine import CLOSE_NOTIFY
from flownexus_appliance.coap.dtls.transport import DtlsTransport
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import DeviceSilent
from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.peer import BLOCK2, CHANGED, CONTENT, GET, POST, Block, until

from ..asking import READ, asking
from ..conftest import ListedPackage, ListedPackages, ScriptedUplinks
from .conftest import NewDevice, introduced
from .joined import psk_client
from .secure import FakeKeeper, FakeKeyring, SecureDevice, psk

IMAGE = bytes(range(256)) * 5
UPDATED = Reply(Success.CHANGED)
REGISTERED = Reply(Success.CREATED, ("rd", "abcdefghij"))


async def update(device: SecureDevice, uplinks: ScriptedUplinks) -> None:
    uplinks.outcomes.append(UPDATED)
    assert (await device.reply(device.request(POST, "/rd/abcdefghij"))).code == CHANGED


async def fetch(device: SecureDevice, ticket: str = "ticket") -> bytes:
    body, number = b"", 0
    while True:
        asked = device.request(GET, f"/fw/{ticket}", token=b"fw", block2=Block(number, False, 5))
        reply = await device.reply(asked)
        block = reply.block(BLOCK2)
        assert block is not None, reply
        body, number = body + reply.payload, number + 1
        if not block.more:
            return body


async def test_it_resumes_the_session_of_its_registration(
    server: CoapServer,
    dtls: DtlsTransport,
    packages: ListedPackages,
    uplinks: ScriptedUplinks,
    keeper: FakeKeeper,
    peer: SecureDevice,
    new_device: NewDevice,
) -> None:
    """Zephyr's session cache knows the box, not what a socket is for. RFC 5246 F.1.4: two connections."""
    packages.listed["ticket"] = ListedPackage(IMAGE, owner="device")
    uplinks.outcomes.append(REGISTERED)
    await peer.reply(peer.register())
    socket = new_device()
    socket.begin_anew(resume=peer.session.freeze())
    await introduced(socket, dtls)
    assert socket.session.resumed
    assert await fetch(socket) == IMAGE
    await peer.pong()
    async with asking(server, peer, READ) as task:
        peer.answer(await peer.asked(), CONTENT)
    assert task.result().success
    await update(peer, uplinks)
    assert await fetch(socket) == IMAGE, "its registration goes on beside"
    assert len(dtls.sessions) == len(keeper.kept()) == 2

    socket.session.alert(CLOSE_NOTIFY)
    socket.flush()
    await socket.next_opened()
    await peer.pong()
    assert [row.id for row in keeper.kept() if row.live] == [dtls.peer(peer.name).id]


async def test_a_registration_that_moves_to_a_resumed_session_ends_the_one_before_it(
    server: CoapServer,
    dtls: DtlsTransport,
    uplinks: ScriptedUplinks,
    keeper: FakeKeeper,
    peer: SecureDevice,
    new_device: NewDevice,
) -> None:
    """Its socket broke and it could not say so: what is asked of the first need not wait any longer."""
    uplinks.outcomes.append(REGISTERED)
    await peer.reply(peer.register())
    async with asking(server, peer, READ) as task:
        await peer.asked()
        moved = new_device()
        moved.begin_anew(resume=peer.session.freeze())
        await introduced(moved, dtls)
        assert not task.done()
        await update(moved, uplinks)
        await asyncio.wait([task])
        assert isinstance(task.exception(), DeviceSilent)
    assert [f"{row.id.hex()}" in moved.name for row in keeper.kept()] == [True]
    assert [session.name for session in dtls.sessions] == [moved.name]


async def test_a_fetch_under_way_outlives_the_move_of_the_registration(
    dtls: DtlsTransport,
    packages: ListedPackages,
    uplinks: ScriptedUplinks,
    peer: SecureDevice,
    new_device: NewDevice,
) -> None:
    packages.listed["ticket"] = ListedPackage(IMAGE)
    uplinks.outcomes.append(REGISTERED)
    await peer.reply(peer.register())
    socket, moved = new_device(), new_device()
    socket.begin_anew(resume=peer.session.freeze())
    await introduced(socket, dtls)
    moved.begin_anew(resume=peer.session.freeze())
    await introduced(moved, dtls)
    assert moved.session.resumed
    await update(moved, uplinks)
    assert {session.name for session in dtls.sessions} == {moved.name, socket.name}
    assert await fetch(socket) == IMAGE


async def test_a_registration_by_a_session_of_its_own_ends_no_other(
    dtls: DtlsTransport, uplinks: ScriptedUplinks, peer: SecureDevice, new_device: NewDevice
) -> None:
    """Only a client that resumed a session is known to have no use for it."""
    other = await introduced(new_device(), dtls)
    uplinks.outcomes += [REGISTERED, REGISTERED]
    await peer.reply(peer.register())
    await other.reply(other.register())
    await peer.pong()
    assert len(dtls.sessions) == 2


async def test_it_comes_with_another_credential(
    dtls: DtlsTransport,
    keyring: FakeKeyring,
    packages: ListedPackages,
    peer: SecureDevice,
    new_device: NewDevice,
) -> None:
    """Zephyr's pull uses Security instance 0, which is the bootstrap server's after a bootstrap."""
    packages.listed["ticket"] = ListedPackage(IMAGE, owner="device")
    keyring.let_in(psk("bootstrap"), endpoint="device")
    socket = await introduced(new_device(psk_client(b"bootstrap")), dtls)
    assert await fetch(socket) == IMAGE
    await peer.pong()
    stranger = await introduced(new_device(psk_client(b"other")), dtls)
    asked = stranger.request(GET, "/fw/ticket", block2=Block(0, False, 5))
    assert (await stranger.reply(asked)).status == "4.03"


async def test_where_a_session_reaches_us(
    server: CoapServer, dtls: DtlsTransport, peer: SecureDevice
) -> None:
    assert server.local_host(peer.name) == "127.0.0.1"
    session = dtls.peer(peer.name)
    dtls.sessions.park(session)
    assert server.local_host(peer.name) == "127.0.0.1"
    session.way = None  # its network was let in no more when the box started
    assert server.local_host(peer.name) == ""
    assert server.local_host("dtls-0011223344556677") == ""
    assert server.ports.coaps == server.secure_port != 0


async def test_what_a_record_carries(dtls: DtlsTransport, peer: SecureDevice) -> None:
    """A device that asks for nothing gets all that CoAP allows, awake or parked."""
    session = dtls.peer(peer.name)
    awake = session.max_message
    dtls.sessions.park(session)
    assert awake == session.max_message == 1152
    session.frozen, session.live = b"", None
    dtls.sessions.park(session)
    assert session.max_message == 1152, "what cannot be read any more"


async def test_a_fetch_goes_on_after_a_restart(
    server: CoapServer,
    keeper: FakeKeeper,
    packages: ListedPackages,
    new_device: NewDevice,
    dtls: DtlsTransport,
) -> None:
    """The device repeats its last request, by the session it has."""
    packages.listed["ticket"] = ListedPackage(IMAGE)
    device = await introduced(new_device(), dtls)
    first = device.request(GET, "/fw/ticket", token=b"fw", block2=Block(0, False, 5))
    assert (await device.reply(first)).payload == IMAGE[:512]
    await server.stop()
    server._secure = replace(server._secure, port=device.server[1], kept=tuple(keeper.kept()))  # type: ignore[type-var]
    await server.start()
    assert server.dtls is not None
    assert len(server.dtls.sessions) == 1
    second = device.request(GET, "/fw/ticket", token=b"fw", block2=Block(1, False, 5))
    assert (await device.reply(second)).payload == IMAGE[512:1024]
    await until(lambda: packages.listed["ticket"].told == [512, 1024])
