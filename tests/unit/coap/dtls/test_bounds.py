"""What the transport may cost: half-open handshakes, sessions awake, and a stop in the middle of it all."""

import asyncio
import gc
import socket
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import pytest

from flownexus_appliance.coap import blocks
from flownexus_appliance.coap.dtls import handshakes
from flownexus_appliance.coap.dtls.engine import Context, Session, work
from flownexus_appliance.coap.dtls.handshakes import BATCH, MAX_HANDSHAKES
from flownexus_appliance.coap.dtls.sessions import SPARE
from flownexus_appliance.coap.dtls.transport import DtlsTransport, Identity
from flownexus_appliance.coap.server import CoapServer, Secure
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.system.config import LOOPBACK
from tests.peer import DEADLINE_S, POST, Block, until
from tests.peer import device as plain_device

from ..conftest import ScriptedUplinks
from .authority import CLIENT, SERVER, certificate_client, issue, root
from .conftest import NewDevice, introduced
from .joined import HEADER, psk_client
from .secure import FakeKeyring, SecureDevice, psk, secure_device

STRANGERS = 10_000


def with_cookie(hello: bytes, verify: bytes) -> bytes:
    """The ClientHello again, with the cookie that came (RFC 6347 4.2.1): by hand, as 10,000 are needed."""
    cookie = verify[HEADER + 15 :]
    body = hello[HEADER + 12 :]
    place = 35 + body[34]  # version, random, session id
    body = body[:place] + bytes([len(cookie)]) + cookie + body[place + 1 :]
    size = len(body).to_bytes(3, "big")
    message = b"\1" + size + b"\0\1" + bytes(3) + size + body
    return hello[:10] + b"\1" + len(message).to_bytes(2, "big") + message


def stranger(number: int, port: int) -> socket.socket:
    """A socket at a loopback address of its own."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}", 0))
    sock.connect(("127.0.0.1", port))
    return sock


async def half_open(numbers: Iterable[int], port: int, hello: bytes) -> None:
    """Strangers bring their cookies back and fall silent."""
    with ExitStack() as stack:
        socks = [stack.enter_context(stranger(number, port)) for number in numbers]
        for sock in socks:
            sock.send(hello)
        async with asyncio.timeout(DEADLINE_S):
            for sock in socks:
                verify = await asyncio.get_running_loop().sock_recv(sock, 2048)
                sock.send(with_cookie(hello, verify))


def first_hello(context: Context | None = None) -> bytes:
    client = Session(context or psk_client())
    client.use_cid(b"")
    client.advance()
    return client.take()[0]


def engine_sessions() -> int:
    """How many sessions of the engine there are, 40 kB or more each."""
    gc.collect()
    return sum(isinstance(one, Session) for one in gc.get_objects())


async def test_ten_thousand_half_open_handshakes(
    server: CoapServer, dtls: DtlsTransport, peer: SecureDevice, new_device: NewDevice
) -> None:
    """Each from an address that is true: what they cost is bounded, and another device gets in meanwhile."""
    hello = first_hello()
    most = 0
    for number in range(0, STRANGERS, 100):
        await half_open(range(number, number + 100), server.secure_port, hello)
        assert len(dtls.handshakes) <= MAX_HANDSHAKES
        if number % 2000 == 1000:
            most = max(most, engine_sessions())
            await introduced(new_device(psk_client(b"other")), dtls)
    assert dtls.handshakes.evicted > STRANGERS * 0.9
    assert most <= MAX_HANDSHAKES + BATCH + SPARE + 20
    await peer.pong()


async def test_what_waits_for_the_thread_is_bounded_too(
    server: CoapServer, dtls: DtlsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With certificates it does 300 handshakes a second, and the loop takes 20,000 hellos in that time."""
    busy = threading.Event()

    def late(jobs: Sequence[tuple[Session, bytes | None]]) -> list[int]:
        busy.wait(DEADLINE_S)
        return work(jobs)

    ca = root()
    device = issue("sensor", ca, usage=CLIENT)
    server.present(Identity(issue("box", ca, usage=SERVER).chain(), (ca.der,)))
    hello = first_hello(certificate_client(ca, device.chain()))
    monkeypatch.setattr(handshakes, "work", late)
    before = engine_sessions()
    for number in range(0, 2000, 100):
        await half_open(range(number, number + 100), server.secure_port, hello)
    await until(lambda: dtls.handshakes.evicted > 1000)
    most = engine_sessions() - before
    busy.set()
    assert most <= MAX_HANDSHAKES + BATCH + 1


async def test_one_host_does_not_crowd_out_another(
    server: CoapServer, dtls: DtlsTransport, new_device: NewDevice
) -> None:
    """The host with the most handshakes gives way, not the device that is slow."""
    slow = new_device(source="127.0.0.9")
    await slow.greet()
    await until(lambda: len(dtls.handshakes) == 1)
    hello = first_hello()
    with ExitStack() as stack:
        while dtls.handshakes.evicted < MAX_HANDSHAKES:
            sock = stack.enter_context(stranger(0, server.secure_port))
            sock.send(hello)
            async with asyncio.timeout(DEADLINE_S):
                verify = await asyncio.get_running_loop().sock_recv(sock, 2048)
            sock.send(with_cookie(hello, verify))
    await slow.finish()
    await until(lambda: len(dtls.sessions) == 1)
    await slow.pong()


async def test_a_crowd_does_not_push_out_its_own_first_ones(
    dtls: DtlsTransport, new_device: NewDevice
) -> None:
    """After a power cut all come back at once, and each needs some seconds for its handshake."""
    dtls.handshakes._limit = 3
    devices = [new_device(psk_client(timeouts_ms=(50, 200))) for _ in range(4)]
    for device in devices:
        await device.greet()
    await until(lambda: dtls.handshakes.evicted == 1)
    last = devices.pop()
    for device in devices:
        await device.finish()
    await until(lambda: dtls.counts.handshakes == 3)
    # Its ClientHello, sent again by its own timer, finds room.
    await until(lambda: last.session.timer() == 0)
    last.session.advance()
    last.flush()
    await last.finish()
    await until(lambda: dtls.counts.handshakes == 4)


async def test_who_takes_long_gives_way_to_an_equal(
    dtls: DtlsTransport, new_device: NewDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "PATIENCE_S", 0.0)
    dtls.handshakes._limit = 1
    silent, device = new_device(), new_device()
    await silent.greet()
    await until(lambda: len(dtls.handshakes) == 1)
    await introduced(device, dtls)
    assert dtls.handshakes.evicted == 1


async def test_a_handshake_that_falls_silent_is_given_up(
    server: CoapServer, dtls: DtlsTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's timer runs out; the loop looks every quarter of a second."""
    monkeypatch.setattr("flownexus_appliance.coap.dtls.handshakes.TIMER_PERIOD_S", 0.01)
    await half_open([0], server.secure_port, first_hello())
    await until(lambda: len(dtls.handshakes) == 1)
    monkeypatch.setattr(Session, "timer", lambda _: 0)
    monkeypatch.setattr(Session, "step", lambda *_: -0x6800)
    await until(lambda: len(dtls.handshakes) == 0)
    assert dtls.counts.refused == 1


async def test_blocks_over_plain_coap_push_out_none_over_dtls(
    server: CoapServer, peer: SecureDevice, uplinks: ScriptedUplinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device behind a slow network needs a minute for them, and who speaks plain CoAP is not known."""
    monkeypatch.setattr(blocks, "MAX_BODIES", 2)
    await peer.reply(peer.request(POST, "/dp", bytes(32), block1=Block(0, True, 1)))
    with ExitStack() as stack:
        for _ in range(5):
            stranger = stack.enter_context(plain_device(server.port))
            await stranger.reply(stranger.request(POST, "/dp", bytes(32), block1=Block(0, True, 1)))
    uplinks.outcomes.append(Reply(Success.CHANGED))
    last = await peer.reply(peer.request(POST, "/dp", b"end", block1=Block(1, False, 1)))
    assert last.status == "2.04"


# Awake and asleep


async def test_only_those_that_spoke_last_are_awake(
    dtls: DtlsTransport, keyring: FakeKeyring, new_device: NewDevice
) -> None:
    dtls.sessions._max_live = 3
    for number in range(10):
        keyring.let_in(psk(f"device{number}"))
    devices = [
        await introduced(new_device(psk_client(b"device%d" % number), cid=number % 2 == 0), dtls)
        for number in range(10)
    ]

    def awake() -> set[str]:
        return {peer.name for peer in dtls.sessions if peer.live is not None}

    assert awake() == {device.name for device in devices[-3:]}
    for device in devices:
        await device.pong()
        assert device.name in awake()
        assert len(awake()) == 3
    assert awake() == {device.name for device in devices[-3:]}
    assert dtls.sessions.parked >= 14
    assert dtls.counts.refused == 0


async def test_a_parked_session_hears_and_speaks_as_before(
    server: CoapServer, dtls: DtlsTransport, peer: SecureDevice
) -> None:
    record = peer.session.seal(b"\x40\x00\x12\x34")
    for _ in range(5):
        dtls.sessions.park(dtls.peer(peer.name))
        await peer.pong()
    numbers = [int.from_bytes(data[5:11], "big") for data in peer.raw if data[3:5] == b"\0\1"]
    assert len(numbers) == len(set(numbers)), "no number of a record twice"
    dtls.sessions.park(dtls.peer(peer.name))
    peer.transmit(record)
    assert (await peer.receive()).mid == 0x1234, "old, but not here before"
    dtls.sessions.park(dtls.peer(peer.name))
    peer.transmit(record)
    await peer.silent()


# The end


async def test_a_stop_in_the_middle_of_it_all(uplinks: ScriptedUplinks, secure: Secure) -> None:
    """Handshakes at every stage, requests under way: nothing is left of it, no thread, task or socket."""
    server = CoapServer(0, LOOPBACK, uplinks, secure)
    await server.start()
    with ExitStack() as stack:
        devices = [stack.enter_context(secure_device(server.secure_port)) for _ in range(40)]
        for number, device in enumerate(devices):
            if number % 2:
                await device.greet()
            else:
                device.session.advance()
                device.flush()
        assert server.dtls is not None
        await server.stop()
        assert len(server.dtls.handshakes) == len(server.dtls.sessions) == 0
        await server.stop()


async def test_two_starts_one_after_another(
    uplinks: ScriptedUplinks, keyring: FakeKeyring, secure: Secure
) -> None:
    for _ in range(2):
        server = CoapServer(0, LOOPBACK, uplinks, secure)
        await server.start()
        with secure_device(server.secure_port) as device:
            await device.shake()
            await device.pong()
        await server.stop()
