"""Whose datagram is this: sessions found by id and address, strangers, moves, and a new beginning."""

import asyncio
import itertools
import secrets

import pytest

from flownexus_appliance.coap.dtls.engine import CLOSE_NOTIFY, Context, DtlsError
from flownexus_appliance.coap.dtls.transport import DtlsTransport, Identity
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import DeviceSilent, Proof, ProofKind, Sender
from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.peer import POST, until

from ..asking import READ
from ..conftest import ScriptedUplinks
from .authority import CLIENT, SERVER, certificate_client, issue, root
from .conftest import NewDevice, introduced
from .joined import ALERT, DATA, HANDSHAKE, HEADER, WITH_CID, psk_client
from .secure import FakeKeyring, SecureDevice, psk

CHANGED = Reply(Success.CHANGED)
SILENCE = bytes(HEADER)  # a datagram of nobody


def tables(dtls: DtlsTransport) -> tuple[int, int]:
    return len(dtls.handshakes), len(dtls.sessions)


async def sender_of(device: SecureDevice, uplinks: ScriptedUplinks) -> Sender:
    """Who a request of a device is from, as the fleet is told."""
    uplinks.outcomes.append(CHANGED)
    await device.reply(device.request(POST, "/dp"))
    return (await uplinks.request())[0].sender


async def nothing_comes(device: SecureDevice, witness: SecureDevice) -> None:
    """The server has taken all that was sent to it, and this device got nothing for it."""
    await witness.pong()
    with pytest.raises(BlockingIOError):
        raise AssertionError(device.sock.recv(4096))


# Who it is


async def test_a_psk_session_stands_for_its_endpoint(peer: SecureDevice, uplinks: ScriptedUplinks) -> None:
    sender = await sender_of(peer, uplinks)
    assert sender == Sender(peer.name, peer.where, "device")
    assert sender.secure
    assert sender.local_host == "127.0.0.1"


async def test_a_certificate_stands_for_its_endpoint(
    server: CoapServer,
    dtls: DtlsTransport,
    keyring: FakeKeyring,
    new_device: NewDevice,
    uplinks: ScriptedUplinks,
) -> None:
    ca = root()
    device = issue("sensor", ca, usage=CLIENT)
    server.present(Identity(issue("box", ca, usage=SERVER).chain(), (ca.der,)))
    keyring.let_in(Proof(ProofKind.CERTIFICATE, device.fingerprint), b"", "sensor")
    joined = await introduced(new_device(certificate_client(ca, device.chain())), dtls)
    assert (await sender_of(joined, uplinks)).endpoint == "sensor"


async def test_the_enrolment_key_stands_for_nobody(
    dtls: DtlsTransport, keyring: FakeKeyring, new_device: NewDevice, uplinks: ScriptedUplinks
) -> None:
    keyring.let_in(psk("enrol"), endpoint=None)
    device = await introduced(new_device(psk_client(b"enrol")), dtls)
    sender = await sender_of(device, uplinks)
    assert sender.endpoint is None
    assert sender.enrolling


async def test_who_has_the_wrong_key_is_told_and_leaves_nothing(
    dtls: DtlsTransport, new_device: NewDevice
) -> None:
    with pytest.raises(DtlsError):
        await new_device(psk_client(key=b"z" * 16)).shake()
    assert tables(dtls) == (0, 0)
    assert dtls.counts.refused == 1


async def test_a_request_to_a_session_that_has_ended(server: CoapServer) -> None:
    for name in ("dtls-0011223344556677", "dtls-", "dtls-x"):
        with pytest.raises(DeviceSilent) as caught:
            await server.request(name, READ)
        assert caught.value.code == "session_ended"


# Strangers


async def test_a_hello_leaves_nothing(dtls: DtlsTransport, new_device: NewDevice, peer: SecureDevice) -> None:
    """RFC 6347 4.2.1: no memory before the cookie is back."""
    before = tables(dtls)
    stranger = new_device()
    stranger.session.advance()
    (hello,) = stranger.session.take()
    for _ in range(100):
        stranger.transmit(hello)
        assert (await stranger.datagram_raw())[HEADER] == 3  # HelloVerifyRequest
    assert tables(dtls) == before
    await peer.pong()


def garbage() -> list[bytes]:
    made = [bytes(length) for length in (0, 1, 12, 13, 14, 100, 2048)]
    for kind in (0, 19, 20, ALERT, HANDSHAKE, DATA, 24, WITH_CID, 26, 0x40, 0x60, 255):
        for epoch in (0, 1, 2):
            header = bytes([kind, 0xFE, 0xFD, 0, epoch])
            made += [header + secrets.token_bytes(length) for length in (0, 8, 9, 13, 14, 15, 16, 60, 1400)]
            made += [header + bytes(7) + b"\x20" + b"\x01" + secrets.token_bytes(31)]
    return made


async def test_garbage_leaves_nothing(dtls: DtlsTransport, new_device: NewDevice, peer: SecureDevice) -> None:
    before = tables(dtls)
    stranger = new_device()
    for data in garbage():
        stranger.transmit(data)
        await peer.pong()
    assert tables(dtls) == before
    assert dtls.sessions.at(stranger.sock.getsockname()) is None


async def test_a_hello_of_nonsense_costs_the_next_device_nothing(
    dtls: DtlsTransport, new_device: NewDevice, peer: SecureDevice
) -> None:
    """All hellos are read by the same session of the engine, which has a Connection ID to promise."""
    peer.transmit(b"\x16\xfe\xfd" + bytes(8) + b"\0\x0d" + b"\1" + bytes(12))
    await peer.pong()
    device = await introduced(new_device(), dtls)
    assert dtls.peer(device.name).has_cid


async def test_garbage_from_a_device_s_own_address_harms_nothing(
    dtls: DtlsTransport, peer: SecureDevice, new_device: NewDevice
) -> None:
    without = await introduced(new_device(psk_client(b"other"), cid=False), dtls)
    for data in garbage():
        for device in (peer, without):
            device.transmit(data)
    for device in (peer, without):
        await device.pong()
    assert len(dtls.sessions) == 2


async def test_a_hello_hidden_in_a_datagram_does_not_end_a_session(
    dtls: DtlsTransport, new_device: NewDevice
) -> None:
    """Whoever can write a sender's address could end its session: the library would look at any record."""
    device = await introduced(new_device(cid=False), dtls)
    hello = b"\x16\xfe\xfd" + bytes(8) + b"\0\5" + b"\1\0\0\x2a\0"
    for front in (ALERT, DATA, HANDSHAKE):
        junk = bytes([front, 0xFE, 0xFD]) + bytes(8) + b"\0\2\2\0"
        device.transmit(junk + hello)
        await device.pong()


async def test_forged_records_for_a_session_change_nothing(
    dtls: DtlsTransport, peer: SecureDevice, new_device: NewDevice
) -> None:
    """Its id is on the wire for all to read."""
    where = peer.where
    record = peer.session.seal(b"\x40\x00\x12\x34")
    stranger = new_device()
    for place in range(len(record)):
        stranger.transmit(record[:place] + bytes([record[place] ^ 1]) + record[place + 1 :])
    stranger.transmit(record[:25])
    await nothing_comes(stranger, peer)
    assert dtls.peer(peer.name).where == where
    assert dtls.counts.moved == 0


async def test_a_forged_alert_ends_nothing(peer: SecureDevice, new_device: NewDevice) -> None:
    record = peer.session.seal(b"x")
    cid = record[11:19]
    stranger = new_device()
    for epoch, kind in itertools.product((0, 1), (ALERT, WITH_CID)):
        header = bytes([kind, 0xFE, 0xFD, 0, epoch]) + bytes(5) + b"\x77"
        data = header + (cid if kind == WITH_CID else b"") + b"\0\2\2\0"
        stranger.transmit(data)
        peer.transmit(data)
    await nothing_comes(stranger, peer)


# A device that moves (RFC 9146)


async def test_a_device_behind_a_nat_keeps_its_session(
    dtls: DtlsTransport, peer: SecureDevice, uplinks: ScriptedUplinks
) -> None:
    before = await sender_of(peer, uplinks)
    peer.move()
    after = await sender_of(peer, uplinks)
    assert after.peer == before.peer
    assert after.address == peer.where != before.address
    assert dtls.counts.moved == 1
    assert len(dtls.sessions) == 1


async def test_requests_go_where_it_is_now(server: CoapServer, peer: SecureDevice) -> None:
    peer.move()
    await peer.pong()
    task = asyncio.create_task(server.request(peer.name, READ))
    peer.answer(await peer.asked(), 0x45, b"here")
    assert (await task).payload == b"here"


async def test_a_request_under_way_finds_a_device_that_has_moved(
    server: CoapServer, peer: SecureDevice
) -> None:
    task = asyncio.create_task(server.request(peer.name, READ))
    request = await peer.asked()
    peer.move()
    peer.answer(request, 0x45, b"from there")
    assert (await task).payload == b"from there"


async def test_without_an_id_a_device_that_moves_is_nobody(
    dtls: DtlsTransport, new_device: NewDevice, peer: SecureDevice
) -> None:
    device = await introduced(new_device(psk_client(b"other"), cid=False), dtls)
    device.move()
    unknown = dtls.counts.unknown
    device.send(b"\x40\x00\x12\x34")
    await nothing_comes(device, peer)
    assert dtls.counts.unknown == unknown + 1


async def test_an_old_record_does_not_move_a_device(dtls: DtlsTransport, peer: SecureDevice) -> None:
    """RFC 9146 6: held back by somebody on the way, and sent from elsewhere."""
    old = peer.session.seal(b"\x40\x00\x12\x34")
    await peer.pong()
    where = peer.where
    thief = peer.sock.dup()
    peer.move()
    peer.transmit(old)
    peer.sock.close()
    peer.sock = thief
    frame = await peer.receive()
    assert frame.mid == 0x1234, "it is answered, to where the device is"
    assert dtls.peer(peer.name).where == where
    await peer.pong()


async def test_a_record_played_again_from_elsewhere_does_nothing(
    dtls: DtlsTransport, peer: SecureDevice, new_device: NewDevice
) -> None:
    record = peer.session.seal(b"\x40\x00\x12\x34")
    peer.transmit(record)
    assert (await peer.receive()).mid == 0x1234
    stranger = new_device()
    stranger.transmit(record)
    await nothing_comes(stranger, peer)
    assert dtls.counts.moved == 0


async def test_an_address_changes_hands(
    dtls: DtlsTransport, peer: SecureDevice, new_device: NewDevice
) -> None:
    """A NAT gives a port to another device: both have their id, both go on."""
    other = new_device(psk_client(b"other"))
    peer.sock, other.sock = other.sock, peer.sock
    await introduced(other, dtls)
    assert len(dtls.sessions) == 2
    await peer.pong()
    await other.pong()
    assert dtls.peer(peer.name).where == peer.where


# A new beginning at the same address (RFC 6347 4.2.8)


@pytest.mark.parametrize("cid", [True, False])
async def test_a_session_goes_on_until_its_successor_is_complete(
    dtls: DtlsTransport, new_device: NewDevice, cid: bool
) -> None:
    device = await introduced(new_device(cid=cid), dtls)
    old, name = device.session, device.name
    device.begin_anew()
    await device.greet()
    await until(lambda: len(dtls.handshakes) == 1)
    new, device.session = device.session, old
    while (await device.datagram_raw())[HEADER] != 2:  # the flight of the server, of no use to the old one
        pass
    flight = device.raw[-1]
    await device.pong()
    assert dtls.peer(name).where == device.where
    device.session = new
    new.advance(flight)
    device.flush()
    await device.finish()
    await until(lambda: len(dtls.handshakes) == 0)
    await device.pong()
    assert len(dtls.sessions) == 1
    with pytest.raises(DeviceSilent):
        dtls.peer(name)


async def test_a_hello_that_is_sent_again_gets_the_same_keys(
    dtls: DtlsTransport, new_device: NewDevice
) -> None:
    """The way is slow: the client repeats its hello before our flight is there, then takes the first."""
    device = new_device()
    device.session.advance()
    device.flush()
    device.session.advance(await device.datagram_raw())
    (hello,) = device.session.take()
    for number in range(4):
        device.transmit(hello[:10] + bytes([hello[10] + number]) + hello[11:])
    await device.finish()
    await until(lambda: len(dtls.sessions) == 1)
    await device.pong()
    assert dtls.counts.handshakes == 1
    assert dtls.counts.refused == 0


async def test_another_hello_from_the_same_address_begins_anew(
    dtls: DtlsTransport, new_device: NewDevice
) -> None:
    device = new_device()
    await device.greet()
    await until(lambda: len(dtls.handshakes) == 1)
    await device.datagram_raw()
    device.begin_anew()
    await introduced(device, dtls)
    assert tables(dtls) == (0, 1)


async def test_a_hello_played_again_does_not_silence_a_session(
    dtls: DtlsTransport, new_device: NewDevice, peer: SecureDevice
) -> None:
    """Its cookie is good for a minute, and without an id the session is found by the address alone."""
    device = new_device(psk_client(b"other"), cid=False)
    device.session.advance()
    device.flush()
    device.session.advance(await device.datagram_raw())
    (hello,) = device.session.take()
    device.transmit(hello)
    await device.finish()
    await until(lambda: len(dtls.handshakes) == 0)
    device.transmit(hello)
    await until(lambda: len(dtls.handshakes) == 1)
    await device.pong()
    await device.pong()
    assert tables(dtls) == (1, 2)


# The end of sessions


async def test_four_sessions_a_proof(dtls: DtlsTransport, new_device: NewDevice) -> None:
    """The longest unused gives way, and is told."""
    devices = [await introduced(new_device(), dtls) for _ in range(4)]
    for number, device in enumerate(devices):
        dtls.peer(device.name).used_at = 1000 + (number - 1) % 4  # the second is the oldest
    fifth = await introduced(new_device(), dtls)
    assert (await devices[1].next_opened()).closed
    assert len(dtls.sessions) == 4
    for device in (devices[0], devices[2], devices[3], fifth):
        await device.pong()


async def test_a_device_that_says_goodbye(
    dtls: DtlsTransport, peer: SecureDevice, other_peer: SecureDevice
) -> None:
    peer.session.alert(CLOSE_NOTIFY)
    peer.flush()
    assert (await peer.next_opened()).closed, "RFC 5246 7.2.1: it is answered"
    await other_peer.pong()
    assert len(dtls.sessions) == 1
    with pytest.raises(DeviceSilent):
        dtls.peer(peer.name)


async def test_a_message_to_a_session_that_has_gone_is_lost(
    dtls: DtlsTransport, peer: SecureDevice, other_peer: SecureDevice
) -> None:
    gone = dtls.peer(peer.name)
    peer.session.alert(CLOSE_NOTIFY)
    peer.flush()
    assert (await peer.next_opened()).closed
    gone.deliver(b"\x40\x00\x12\x34")
    await nothing_comes(peer, other_peer)


# Cipher suites over the wire


@pytest.mark.parametrize("suite", [0xC0A8, 0xC0A4, 0x00A8, 0x00AE])
async def test_every_psk_suite(dtls: DtlsTransport, new_device: NewDevice, suite: int) -> None:
    context = Context(client=True, psk=(b"device", bytes(range(16))), cid_bytes=0, suites=[suite])
    device = await introduced(new_device(context), dtls)
    dtls.sessions.park(dtls.peer(device.name))
    await device.pong()
