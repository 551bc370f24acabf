"""Credentials that come and go, certificates that change, sessions that are resumed over the wire."""

import asyncio

import pytest

from flownexus_appliance.coap.dtls.engine import CID_BYTES, CLOSE_NOTIFY, DtlsError
from flownexus_appliance.coap.dtls.transport import PSK_ONLY, DtlsTransport, Identity
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import DeviceSilent, Proof, ProofKind
from tests.peer import DEADLINE_S, until

from ..asking import READ
from .authority import CLIENT, SERVER, Issued, certificate_client, issue, root
from .conftest import NewDevice, introduced
from .joined import KEY, psk_client, records
from .secure import FakeKeeper, FakeKeyring, SecureDevice, psk


@pytest.fixture(scope="module")
def ca() -> Issued:
    return root()


async def told_and_gone(device: SecureDevice, dtls: DtlsTransport) -> None:
    assert (await device.next_opened()).closed
    with pytest.raises(DeviceSilent):
        dtls.peer(device.name)


# Credentials


async def test_a_removed_credential_ends_its_sessions(
    dtls: DtlsTransport,
    keyring: FakeKeyring,
    keeper: FakeKeeper,
    peer: SecureDevice,
    other_peer: SecureDevice,
    new_device: NewDevice,
) -> None:
    stays = await introduced(new_device(psk_client(b"other")), dtls)
    keyring.remove(psk("device"))
    await told_and_gone(peer, dtls)
    await told_and_gone(other_peer, dtls)
    await stays.pong()
    assert [row.proof for row in keeper.kept()] == [psk("other")]


async def test_what_is_asked_of_a_session_ends_with_it(
    server: CoapServer, dtls: DtlsTransport, keyring: FakeKeyring, peer: SecureDevice
) -> None:
    asked = asyncio.create_task(server.request(peer.name, READ))
    await peer.asked()
    keyring.remove(psk("device"))
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(DeviceSilent) as raised:
            await asked
    assert "session has ended" in raised.value.message


async def test_a_removed_credential_ends_a_parked_session(
    dtls: DtlsTransport, keyring: FakeKeyring, peer: SecureDevice
) -> None:
    dtls.sessions.park(dtls.peer(peer.name))
    keyring.remove(psk("device"))
    await told_and_gone(peer, dtls)


@pytest.mark.parametrize("closed", [True, False])
async def test_a_removed_credential_cannot_be_resumed(
    dtls: DtlsTransport, keyring: FakeKeyring, keeper: FakeKeeper, peer: SecureDevice, closed: bool
) -> None:
    frozen = peer.session.freeze()
    if closed:
        peer.session.alert(CLOSE_NOTIFY)
        peer.flush()
        assert (await peer.next_opened()).closed
    keyring.remove(psk("device"))
    if not closed:
        await told_and_gone(peer, dtls)
    assert keeper.kept() == []
    peer.begin_anew(resume=frozen)
    with pytest.raises(DtlsError):
        await peer.shake()
    assert len(dtls.sessions) == 0


async def test_a_credential_that_goes_during_a_resumption(
    dtls: DtlsTransport, keyring: FakeKeyring, peer: SecureDevice
) -> None:
    """No key is asked for in it, so it is looked at again when it is complete."""
    frozen = peer.session.freeze()
    peer.begin_anew(resume=frozen)
    await peer.greet()
    await until(lambda: len(dtls.handshakes) == 1)
    flight = await peer.datagram_raw()
    keyring.remove(psk("device"))
    assert peer.session.advance(flight), "the client has all it needs"
    peer.flush()
    while not (await peer.next_opened()).closed:
        pass
    await until(lambda: len(dtls.handshakes) == 0)
    assert len(dtls.sessions) == 0


async def test_a_credential_that_goes_during_a_handshake(
    dtls: DtlsTransport, keyring: FakeKeyring, new_device: NewDevice
) -> None:
    device = new_device()
    await device.greet()
    flight = await device.datagram_raw()
    keyring.remove(psk("device"))
    device.session.advance(flight)
    device.flush()
    with pytest.raises(DtlsError):
        await device.finish()
    assert len(dtls.sessions) == 0


async def last_flight(device: SecureDevice) -> list[bytes]:
    """A handshake up to the client's last flight, the records of which are held back."""
    await device.greet()
    flight: tuple[bytes, ...] = ()
    while not flight:
        device.session.advance(await device.datagram_raw())
        flight = device.session.take()
    return [record for datagram in flight for record in records(datagram, CID_BYTES)]


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_key_that_is_changed_during_a_handshake(
    dtls: DtlsTransport, keyring: FakeKeyring, peer: SecureDevice, new_device: NewDevice, resumes: bool
) -> None:
    """Who had the old key shows it, and waits for a new one of the same name before it finishes."""
    witness = await introduced(new_device(psk_client(b"other")), dtls)
    peer.begin_anew(resume=peer.session.freeze() if resumes else b"")
    *first, finished = await last_flight(peer)
    for record in first:
        peer.transmit(record)
    await witness.pong()  # what was sent is taken
    keyring.remove(psk("device"))
    keyring.let_in(psk("device"), b"the new key of 20 b.")
    peer.transmit(finished)
    await until(lambda: len(dtls.handshakes) == 0)
    assert [session.admission.endpoint for session in dtls.sessions] == ["other"]
    assert dtls.counts.refused == 1


async def test_another_key_for_the_same_identity(
    dtls: DtlsTransport, keyring: FakeKeyring, peer: SecureDevice, new_device: NewDevice
) -> None:
    keyring.remove(psk("device"))
    keyring.let_in(psk("device"), b"the new key", "device")
    await told_and_gone(peer, dtls)
    with pytest.raises(DtlsError):
        await new_device().shake()
    await introduced(new_device(psk_client(key=b"the new key")), dtls)


# Another certificate


@pytest.fixture
def device(ca: Issued, keyring: FakeKeyring) -> Issued:
    made = issue("sensor", ca, usage=CLIENT)
    keyring.let_in(Proof(ProofKind.CERTIFICATE, made.fingerprint), b"", "sensor")
    return made


def shown(ca: Issued) -> Identity:
    return Identity(issue("box", ca, usage=SERVER).chain(), (ca.der,))


async def test_another_certificate_drops_no_session(
    server: CoapServer,
    dtls: DtlsTransport,
    ca: Issued,
    device: Issued,
    new_device: NewDevice,
    peer: SecureDevice,
) -> None:
    server.present(shown(ca))
    by_certificate = await introduced(new_device(certificate_client(ca, device.chain())), dtls)
    parked = await introduced(new_device(psk_client(b"other")), dtls)
    dtls.sessions.park(dtls.peer(parked.name))
    for identity in (shown(ca), PSK_ONLY, shown(root("another"))):
        server.present(identity)
        for one in (peer, by_certificate, parked):
            await one.pong()
    assert dtls.counts.handshakes == 3


@pytest.mark.parametrize("greeted", [True, False], ids=["cookie back", "cookie on its way"])
async def test_another_certificate_during_handshakes(
    server: CoapServer, dtls: DtlsTransport, ca: Issued, device: Issued, new_device: NewDevice, greeted: bool
) -> None:
    server.present(shown(ca))
    clients = [new_device(certificate_client(ca, device.chain())), new_device()]
    for client in clients:
        if greeted:
            await client.greet()
        else:
            client.session.advance()
            client.flush()
    await until(lambda: len(dtls.handshakes) == 2 * greeted)
    server.present(shown(ca))
    for client in clients:
        await client.finish()
    await until(lambda: len(dtls.sessions) == 2)
    for client in clients:
        await client.pong()
    assert dtls.counts.refused == 0


async def test_a_root_that_is_trusted_no_more(
    server: CoapServer, dtls: DtlsTransport, ca: Issued, device: Issued, new_device: NewDevice
) -> None:
    other = root("another")
    box = issue("box", ca, usage=SERVER).chain()
    server.present(Identity(box, (ca.der, other.der)))
    await introduced(new_device(certificate_client(ca, device.chain())), dtls)
    server.present(Identity(box, (other.der,)))
    with pytest.raises(DtlsError):
        await new_device(certificate_client(ca, device.chain())).shake()


async def test_what_cannot_be_read_changes_nothing(
    server: CoapServer, dtls: DtlsTransport, ca: Issued, device: Issued, new_device: NewDevice
) -> None:
    server.present(shown(ca))
    with pytest.raises(ValueError, match="roots"):
        server.present(Identity(None, (b"nonsense",)))
    await introduced(new_device(certificate_client(ca, device.chain())), dtls)


# Resumption


async def test_a_session_is_resumed(dtls: DtlsTransport, keeper: FakeKeeper, peer: SecureDevice) -> None:
    """It takes the place of the one before it."""
    peer.begin_anew(resume=peer.session.freeze())
    await introduced(peer, dtls)
    assert peer.session.resumed
    assert (dtls.counts.handshakes, dtls.counts.resumed) == (2, 1)
    assert len(dtls.sessions) == len(keeper.kept()) == 1
    assert dtls.peer(peer.name).admission.endpoint == "device"


async def test_a_closed_session_is_resumed_from_elsewhere(
    dtls: DtlsTransport, keeper: FakeKeeper, peer: SecureDevice
) -> None:
    """A Zephyr device in Queue Mode closes its socket, and its session with it, before it sleeps."""
    frozen = peer.session.freeze()
    peer.session.alert(CLOSE_NOTIFY)
    peer.flush()
    assert (await peer.next_opened()).closed
    assert [row.live for row in keeper.kept()] == [False]
    peer.move()
    peer.begin_anew(resume=frozen)
    await introduced(peer, dtls)
    assert peer.session.resumed
    assert [row.live for row in keeper.kept()] == [True]


async def test_the_id_of_another_device_s_session_is_of_no_use(
    dtls: DtlsTransport, peer: SecureDevice, new_device: NewDevice
) -> None:
    """Whom a resumed session stands for is whom the first one proved to be."""
    frozen = peer.session.freeze()
    place = 2 + 5 + 4 + 8 + 33  # of the master secret
    forged = frozen[:place] + bytes(48) + frozen[place + 48 :]
    thief = new_device(psk_client(b"other"))
    thief.begin_anew(resume=forged)
    with pytest.raises(DtlsError):
        await thief.shake()
    await peer.pong()
    assert len(dtls.sessions) == 1


async def test_an_id_nobody_knows_is_a_full_handshake(
    dtls: DtlsTransport, peer: SecureDevice, new_device: NewDevice
) -> None:
    frozen = peer.session.freeze()
    unknown = bytearray(frozen)
    unknown[2 + 5 + 4 + 8 + 1] ^= 1
    other = new_device()
    other.begin_anew(resume=bytes(unknown))
    await introduced(other, dtls)
    assert not other.session.resumed


async def test_keys_do_not_reach_the_log(
    dtls: DtlsTransport, new_device: NewDevice, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        device = await introduced(new_device(), dtls)
        for context in (psk_client(key=b"z" * 16), psk_client(b"nobody\n\x1b[31m")):
            with pytest.raises(DtlsError):
                await new_device(context).shake()
    text = "".join(str(vars(record)) for record in caplog.records)
    for secret in (KEY, b"z" * 16, device.session.freeze()[52:100]):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
    assert "\x1b" not in text
    assert {r.__dict__["ERROR_CODE"] for r in caplog.records if r.getMessage() == "handshake refused"} == {
        "psk_wrong",
        "psk_unknown",
    }
