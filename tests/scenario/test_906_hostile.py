"""What comes to the DTLS port is not always meant well, and the disk is not always there."""

import asyncio
import random
import resource
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from flownexus_appliance.coap.dtls.engine import Context
from tests.interop.daemon import SESSION_MADE, Credential, Daemon, Psk, running
from tests.peer import (
    CON,
    CONTENT_FORMAT,
    DEADLINE_S,
    EMPTY,
    POST,
    RST,
    SENML_CBOR,
    URI_PATH,
    Frame,
    device,
    uint,
    until,
)
from tests.secure_peer import (
    WITH_CID,
    SecurePeer,
    context,
    numbers,
    record_number,
    secure_peer,
)

from .strangers import half_open
from .thermometer import TEMPERATURE, senml

NOBODY: Final = Psk("nobody", "00" * 16)
STRANGERS: Final = 10_000
MB: Final = 1024  # of the kB that /proc counts in
# A session that the daemon holds sends so many records beyond those that the disk knows of, and no more.
AHEAD: Final = 4096
SENDS_AGAIN_S: Final = 0.5


async def joined(daemon: Daemon, peer: SecurePeer) -> SecurePeer:
    """A device that is registered and has nothing to be asked."""
    await peer.shake()
    assert (await peer.reply(peer.register(("lwm2m=1.1",), b"</1/0>"))).status == "2.01"
    return peer


def reading(peer: SecurePeer, value: float) -> Frame:
    return peer.request(POST, "/dp", senml({TEMPERATURE: value}), content_format=SENML_CBOR)


async def reports(daemon: Daemon, endpoint: str, peer: SecurePeer, value: float) -> None:
    """It is heard, and what it says is kept."""
    assert (await peer.reply(reading(peer, value))).status == "2.04"
    assert daemon.store.values(endpoint, TEMPERATURE)[-1] == value


@asynccontextmanager
async def untroubled(daemon: Daemon, endpoint: str) -> AsyncIterator[SecurePeer]:
    """A device that is as well off after the test as before: same session, same registration, same place."""
    with secure_peer(daemon.coaps_port, daemon.give_psk(endpoint)) as peer:
        await joined(daemon, peer)
        await reports(daemon, endpoint, peer, 1.0)
        before, since = daemon.store.registration(endpoint), daemon.now
        yield peer
        await reports(daemon, endpoint, peer, 2.0)
        assert daemon.store.values(endpoint, TEMPERATURE) == [1.0, 2.0]
        assert daemon.store.registration(endpoint) == before
        assert daemon.logged(SESSION_MADE, since, endpoint=endpoint) == []


# Datagrams


def garbage(chance: random.Random, session_id: bytes) -> list[bytes]:
    """Of all sizes and kinds; some are nearly right, with a session's id or the number of a next record."""
    made = [chance.randbytes(size) for size in (0, 1, 12, 13, 14, 21, 22, 64, 512, 1200, 2048, 2049, 60_000)]
    for kind in range(256):
        for size in (0, 1, 16, 200):
            body = chance.randbytes(size)
            epoch = chance.choice((0, 1, 1, 2, 0xFFFF))
            number = chance.choice((0, 1, 5, 2**48 - 1))
            head = bytes([kind]) + b"\xfe\xfd" + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
            named = session_id if kind == WITH_CID or size % 2 else b""
            said = chance.choice((size, size, size + 1, 0xFFFF))
            made.append(head + named + said.to_bytes(2, "big") + body)
    return made


@pytest.mark.parametrize("seed", range(4))
async def test_garbage(daemon: Daemon, seed: int) -> None:
    """From a stranger, and from a device's own address."""
    chance = random.Random(seed)
    async with untroubled(daemon, f"garbage-{seed}") as peer:
        session_id = peer.sent[-1][11:19]
        with device(daemon.coaps_port) as stranger:
            for number, datagram in enumerate(garbage(chance, session_id)):
                stranger.send(datagram)
                peer.transmit(datagram)
                if number % 50 == 0:
                    await peer.pong()  # no more than a socket's buffer holds
        with secure_peer(daemon.coaps_port, daemon.give_psk(f"guest-{seed}")) as guest:
            await joined(daemon, guest)


async def test_records_that_come_again(daemon: Daemon) -> None:
    """Each once more, from everywhere: nothing is taken twice, and the session stays where it is."""
    endpoint = "recorded"
    with secure_peer(daemon.coaps_port, daemon.give_psk(endpoint)) as peer:
        await joined(daemon, peer)
        for value in range(10):
            await reports(daemon, endpoint, peer, float(value))
        before = daemon.store.registration(endpoint)
        recorded = list(peer.sent)
        with device(daemon.coaps_port) as stranger:
            for datagram in recorded:
                stranger.send(datagram)
                peer.transmit(datagram)
        await reports(daemon, endpoint, peer, 10.0)
        assert daemon.store.values(endpoint, TEMPERATURE) == [float(value) for value in range(11)]
        assert daemon.store.registration(endpoint) == before


async def test_a_record_that_was_held_up_moves_nothing(daemon: Daemon) -> None:
    """RFC 9146 6: only the newest record tells where a device is; who holds one back is not there."""
    endpoint = "held-up"
    with secure_peer(daemon.coaps_port, daemon.give_psk(endpoint)) as peer:
        await joined(daemon, peer)
        before = daemon.store.registration(endpoint)
        options = ((URI_PATH, b"dp"), (CONTENT_FORMAT, uint(SENML_CBOR)))
        late = Frame(CON, POST, 0x7FFF, b"late", options, senml({TEMPERATURE: 1.0}))
        record = peer.record(late)
        await reports(daemon, endpoint, peer, 2.0)
        with device(daemon.coaps_port) as stranger:
            stranger.send(record)
            assert (await peer.reply(late)).status == "2.04"
            await reports(daemon, endpoint, peer, 3.0)
            with pytest.raises(BlockingIOError):
                stranger.sock.recv(1)
        assert daemon.store.registration(endpoint) == before


@pytest.mark.parametrize("by", ["stop", "kill"])
async def test_records_that_come_again_after_a_restart(tmp_path: Path, by: str) -> None:
    """After a stop none is taken; after a crash at most those of the last second, and each of them once."""
    endpoint = "recorded"
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        with secure_peer(daemon.coaps_port, daemon.give_psk(endpoint)) as peer:
            await joined(daemon, peer)
            for value in range(10):
                await reports(daemon, endpoint, peer, float(value))
            await until(lambda: newest_saved(daemon) == record_number(peer.sent[-1]) % 2**48)
            early = [datagram for datagram in peer.sent if datagram[0] == WITH_CID]
            for value in (10, 11):
                await reports(daemon, endpoint, peer, float(value))
            late = peer.sent[-2:]
            if by == "stop":
                daemon.stop(signal.SIGTERM)
            else:
                daemon.program.kill()
            daemon.start()
            with device(daemon.coaps_port) as stranger:
                for datagram in (*early, *late, *early, *late):
                    stranger.send(datagram)
            asked = reading(peer, 12.0)
            while (await peer.receive()).mid != asked.mid:
                pass  # what was taken again is answered again
            kept = Counter(daemon.store.values(endpoint, TEMPERATURE))
        again = {value for value, times in kept.items() if times > 1}
        assert set(kept) == {float(value) for value in range(13)}
        assert again <= ({10.0, 11.0} if by == "kill" else set())
        assert max(kept.values()) <= 2
        daemon.stop()
    finally:
        daemon.program.end()


def newest_saved(daemon: Daemon) -> int:
    """The number of the newest record of the one session, without its epoch, as it stands on the disk."""
    ((counters,),) = daemon.store.rows("SELECT counters FROM dtls_counter")
    return int.from_bytes(counters[2:8], "big")


# Handshakes


Tamper = Callable[[Sequence[bytes]], Sequence[bytes]]


def truncated(flight: Sequence[bytes]) -> Sequence[bytes]:
    """Cut off somewhere, and then whole."""
    return [*(datagram[: number * 31 % len(datagram)] for number, datagram in enumerate(flight, 1)), *flight]


def backwards(flight: Sequence[bytes]) -> Sequence[bytes]:
    return flight[::-1]


def doubled(flight: Sequence[bytes]) -> Sequence[bytes]:
    return [*flight, *flight]


def damaged(flight: Sequence[bytes]) -> Sequence[bytes]:
    """The header of each says something else first: another length, fragment or message."""
    return [d[:13] + bytes([d[13] ^ 1]) + d[14:] for d in flight if len(d) > 14] + list(flight)


def rushed(flight: Sequence[bytes]) -> Sequence[bytes]:
    """Only what ends the flight at first, as if all before it was lost."""
    return [*flight[-1:], *flight]


@pytest.mark.parametrize("kind", ["psk", "certificate"])
@pytest.mark.parametrize("tamper", [truncated, backwards, doubled, rushed])
async def test_a_handshake_over_a_bad_wire(daemon: Daemon, tmp_path: Path, kind: str, tamper: Tamper) -> None:
    """Cut, doubled and in another order: it is complete in the end, and others hear nothing of it."""
    endpoint = f"{tamper.__name__}-{kind}"
    credential = daemon.give(kind, endpoint, tmp_path)
    made = context(credential, timeouts_ms=(200, 2000))
    async with untroubled(daemon, f"beside-{endpoint}"):
        with secure_peer(daemon.coaps_port, made) as peer:
            peer.tamper = tamper
            await peer.shake()
            peer.tamper = None
            await joined_already(daemon, endpoint, peer)


async def joined_already(daemon: Daemon, endpoint: str, peer: SecurePeer) -> None:
    assert (await peer.reply(peer.register(("lwm2m=1.1",), b"</1/0>"))).status == "2.01"
    await reports(daemon, endpoint, peer, 3.0)


@pytest.mark.parametrize("kind", ["psk", "certificate"])
async def test_a_handshake_that_comes_again(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """All that a device said in it, from its address and from another: nobody gets in by that."""
    endpoint = f"played-{kind}"
    with secure_peer(daemon.coaps_port, daemon.give(kind, endpoint, tmp_path)) as peer:
        await peer.shake()
        recorded = list(peer.sent)
        await joined_already(daemon, endpoint, peer)
        since = daemon.now
        with device(daemon.coaps_port) as stranger:
            for datagram in recorded * 2:
                stranger.send(datagram)
                peer.transmit(datagram)
        await reports(daemon, endpoint, peer, 4.0)
        assert daemon.logged(SESSION_MADE, since, endpoint=endpoint) == []


async def test_ten_thousand_half_open_handshakes(tmp_path: Path) -> None:
    """From as many addresses, their cookies brought back: what they cost is bounded, and devices come in."""
    with running(tmp_path) as daemon:
        traitor = context(daemon.give_certificate("traitor", tmp_path))
        honest = {kind: daemon.give(kind, f"honest-{kind}", tmp_path) for kind in ("psk", "certificate")}
        async with untroubled(daemon, "settled") as settled:
            await flood(daemon, traitor, range(1000), honest)
            before = memory_kb(daemon)
            await flood(daemon, context(NOBODY), range(1000, STRANGERS - 2000), honest)
            await flood(daemon, traitor, range(STRANGERS - 2000, STRANGERS), honest)
            assert memory_kb(daemon) < before + 10 * MB
            await settled.pong()


async def flood(daemon: Daemon, stranger: Context, wave: range, honest: dict[str, Credential]) -> None:
    """Strangers begin their handshakes as fast as they can; meanwhile devices make theirs, and report."""
    flooding = asyncio.create_task(asyncio.to_thread(_exhaust, daemon.coaps_port, stranger, wave))
    value = float(wave.start)
    while not flooding.done():
        for kind, credential in honest.items():
            value += 1
            with secure_peer(daemon.coaps_port, credential) as peer:
                await joined(daemon, peer)
                await reports(daemon, f"honest-{kind}", peer, value)
    assert await flooding == len(wave)


def _exhaust(port: int, stranger: Context, wave: range) -> int:
    count = 0
    for count in half_open(port, stranger, wave):  # noqa: B007
        pass
    return count


def memory_kb(daemon: Daemon) -> int:
    """The daemon's resident memory."""
    status = Path(f"/proc/{daemon.program.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1])


# The disk


@pytest.mark.parametrize("by", ["mended", "killed"])
async def test_a_full_disk(tmp_path: Path, by: str) -> None:
    """Nothing is acknowledged that is not kept, and the number of no record comes twice.

    RFC 5246 6.1: with CCM and GCM a repeated number would give the key away. So a session falls silent where
    the disk knows of it no more, and goes on when the disk is there again or with the next daemon.
    """
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        with (
            secure_peer(daemon.coaps_port, daemon.give_psk("kept")) as peer,
            secure_peer(daemon.coaps_port, daemon.give_psk("late")) as late,
        ):
            await joined(daemon, peer)
            await reports(daemon, "kept", peer, 1.0)
            limit_files(daemon, 0)
            request = reading(peer, 2.0)
            daemon.wait_logged("commit failed")
            await late.shake()
            await late.pong()
            assert await pongs(peer, late, 2 * AHEAD) <= AHEAD
            assert await pongs(peer, late, 100) == 0, "silent for good"
            assert daemon.store.values("kept", TEMPERATURE) == [1.0]
            if by == "mended":
                limit_files(daemon, resource.RLIM_INFINITY)
            else:
                daemon.program.kill()
                daemon.start()
            await said_again(peer, request)
            assert daemon.store.values("kept", TEMPERATURE) == [1.0, 2.0]
            await reports(daemon, "kept", peer, 3.0)
            received = numbers(peer.raw)
            assert len(received) > AHEAD
            assert len(set(received)) == len(received)
        assert daemon.program.stop() == 0
        daemon.store.check()
    finally:
        daemon.program.end()


def limit_files(daemon: Daemon, size: int) -> None:
    """From now on the daemon may write no file beyond a size: as if its disk was full, or no more."""
    resource.prlimit(daemon.program.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def pongs(peer: SecurePeer, other: SecurePeer, count: int) -> int:
    """Send so many pings; how many are answered. Another device shows when that is decided."""
    answered = 0
    for first in range(0, count, 50):
        pings = {Frame(CON, EMPTY, mid) for mid in range(first, first + 50)}
        for ping in pings:
            peer.send(ping)
        await other.pong()
        heard = [Frame.decode(message) for message in peer.waiting()]
        assert {(frame.kind, frame.code) for frame in heard} <= {(RST, EMPTY)}, "no other answer"
        answered += len(heard)
    return answered


async def said_again(peer: SecurePeer, request: Frame) -> None:
    """A device repeats its request until it is answered."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            peer.send(request)
            try:
                async with asyncio.timeout(SENDS_AGAIN_S):
                    assert (await peer.receive()).mid == request.mid
                    return
            except TimeoutError:
                continue
