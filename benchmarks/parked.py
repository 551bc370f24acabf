"""What sessions cost in memory, and a parked one to wake: the daemon's own DTLS side, with real clients.

    python -m benchmarks.parked

prints bytes a parked session, bytes a live one, and microseconds to wake one, as JSON.
"""

import asyncio
import gc
import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from flownexus_appliance.coap.dtls.engine import Context, Session
from flownexus_appliance.coap.dtls.sessions import Sessions
from flownexus_appliance.coap.dtls.transport import PSK_ONLY, DtlsTransport
from flownexus_appliance.coap.peers import KeptReply, Peer
from flownexus_appliance.fleet.ports import Admission, Proof, ProofKind, SavedSession
from flownexus_appliance.system.config import LOOPBACK

from .credentials import device_key, device_name

PARKED: Final = 10_000
LIVE: Final = 500
_PAGE: Final = 4096
_heard = asyncio.Semaphore(0)


class Keyring:
    """Lets all in, each as itself."""

    def secrets(self) -> Mapping[Proof, bytes]:
        return {
            Proof(ProofKind.PSK, device_name(n).encode()): device_key(n) for n in range(PARKED + LIVE + 100)
        }

    def admit(self, proof: Proof) -> Admission:
        return Admission(proof.value.decode(), 1)

    whose = admit

    def watch(self, changed: Callable[[Proof, bytes | None], None]) -> None:
        pass


class Keeper:
    """A disk that takes everything and keeps nothing."""

    def put_session(self, saved: SavedSession) -> None:
        pass

    def put_session_counters(self, counters: Mapping[bytes, tuple[bytes, str, int]]) -> None:
        pass

    def remove_session(self, session_id: bytes) -> None:
        pass

    def commit(self) -> asyncio.Future[None]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


async def main() -> None:
    transport = DtlsTransport(0, LOOPBACK, Keyring(), Keeper(), _answered, lambda peer: None)
    transport.sessions = Sessions(LIVE)
    transport.present(PSK_ONLY)
    await transport.start(())
    await _shake(transport.port, range(PARKED, PARKED + 100))  # what the first ones bring along
    _park(transport)
    before = _rss()
    for number in range(0, PARKED, 100):
        await _shake(transport.port, range(number, number + 100))
        _park(transport)
    parked = (_rss() - before) / PARKED
    before = _rss()
    await _shake(transport.port, range(PARKED + 100, PARKED + 100 + LIVE))
    live = (_rss() - before) / LIVE
    peers = [peer for peer in transport.sessions if peer.live is None][:1000]
    transport.sessions.clear()
    began = time.perf_counter()
    for peer in peers:
        transport.sessions.wake(peer)
        transport.sessions.park(peer)
    wake_us = (time.perf_counter() - began) / len(peers) * 1e6
    print(json.dumps({"parked": parked, "live": live, "wake_us": wake_us}))
    await transport.stop()


def _answered(data: bytes, peer: Peer) -> None:
    """A device that has spoken leaves an answer, in case it asks again."""
    peer.replies = (KeptReply(hash(data), data[:6], 0.5),)
    _heard.release()


def _park(transport: DtlsTransport) -> None:
    for peer in list(transport.sessions):
        transport.sessions.park(peer)


def _rss() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


async def _shake(port: int, numbers: range) -> None:
    """A handshake of each device; the clients are gone afterwards."""
    loop = asyncio.get_running_loop()
    for number in numbers:
        context = Context(client=True, psk=(device_name(number).encode(), device_key(number)), cid_bytes=0)
        session = Session(context)
        session.use_cid(b"")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port))
            done = session.advance()
            while not done:
                for datagram in session.take():
                    sock.send(datagram)
                done = session.advance(await asyncio.wait_for(loop.sock_recv(sock, 4096), 10))
            for datagram in session.take():
                sock.send(datagram)
            sock.send(session.seal(number.to_bytes(64, "big")))
            await asyncio.wait_for(_heard.acquire(), 10)


if __name__ == "__main__":
    asyncio.run(main())
