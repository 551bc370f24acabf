"""The far side of a real DTLS transport: devices at sockets of their own, a keyring and a disk."""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from flownexus_appliance.coap.dtls.engine import Context, Opened, Session
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.fleet.ports import Admission, Proof, ProofKind, SavedSession
from tests.peer import DEADLINE_S, DevicePeer, Frame

from .joined import KEY, psk_client

Changed = Callable[[Proof, bytes | None], None]


def psk(name: str) -> Proof:
    return Proof(ProofKind.PSK, name.encode())


@dataclass(slots=True)
class FakeKeyring:
    """Credentials: whom each proof stands for, and its key."""

    keys: dict[Proof, bytes] = field(default_factory=dict)
    endpoints: dict[Proof, str | None] = field(default_factory=dict)
    _changed: list[Changed] = field(default_factory=list)

    def let_in(self, proof: Proof, key: bytes = KEY, endpoint: str | None = "") -> None:
        """`endpoint` is the name of the proof unless said otherwise."""
        self.keys[proof] = key
        self.endpoints[proof] = proof.value.decode() if endpoint == "" else endpoint
        for changed in self._changed:
            changed(proof, key)

    def remove(self, proof: Proof) -> None:
        del self.keys[proof]
        for changed in self._changed:
            changed(proof, None)

    def secrets(self) -> Mapping[Proof, bytes]:
        return self.keys

    def admit(self, proof: Proof) -> Admission | None:
        return Admission(self.endpoints[proof], 1) if proof in self.keys else None

    def whose(self, proof: Proof) -> Admission | None:
        return self.admit(proof)

    def watch(self, changed: Changed) -> None:
        self._changed.append(changed)


FULL = StoreError("disk_full", "no space left on device", "make room")


@dataclass(slots=True)
class FakeKeeper:
    """A disk. While it is `stuck` nothing gets there; `broken` raises for what is put."""

    rows: dict[bytes, SavedSession] = field(default_factory=dict)
    stuck: bool = False
    broken: bool = False
    _pending: list[Callable[[], None]] = field(default_factory=list)

    def put_session(self, saved: SavedSession) -> None:
        self._put(lambda: self.rows.update({saved.id: saved}))

    def put_session_counters(self, counters: Mapping[bytes, tuple[bytes, str, int]]) -> None:
        def apply() -> None:
            for session_id, (moved, address, used_ms) in counters.items():
                if session_id in self.rows:
                    row = self.rows[session_id]
                    self.rows[session_id] = replace(row, counters=moved, address=address, used_ms=used_ms)

        self._put(apply)

    def remove_session(self, session_id: bytes) -> None:
        def apply() -> None:
            self.rows.pop(session_id, None)

        self._put(apply)

    def commit(self) -> "asyncio.Future[None]":
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.stuck:
            done.set_exception(FULL)
            done.exception()  # nobody else need look at it
            return done
        for apply in self._pending:
            apply()
        self._pending.clear()
        done.set_result(None)
        return done

    def _put(self, apply: Callable[[], None]) -> None:
        if self.broken:
            raise FULL
        self._pending.append(apply)

    def kept(self) -> list[SavedSession]:
        return list(self.rows.values())


@dataclass(slots=True)
class SecureDevice(DevicePeer):
    """A device that speaks DTLS: what it sends and hears is CoAP, what goes over the wire are records."""

    context: Context = field(default_factory=psk_client)
    with_cid: bool = True
    name: str = ""  # of its session, as the fleet calls it; set by whoever knows
    session: Session = field(init=False)
    raw: list[bytes] = field(default_factory=list)  # all datagrams that came

    def __post_init__(self) -> None:
        self.begin_anew()

    def begin_anew(self, resume: bytes = b"") -> None:
        self.session = Session(self.context)
        self.session.use_cid(bytes(self.context.cid_bytes) if self.with_cid else None)
        if resume:
            self.session.offer(resume)

    @property
    def address(self) -> str:
        return self.name

    @property
    def where(self) -> str:
        host, port = self.sock.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def datagram_raw(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            data, source = await asyncio.get_running_loop().sock_recvfrom(self.sock, 65_536)
        assert source[:2] == self.server
        self.raw.append(data)
        return data

    def transmit(self, data: bytes) -> None:
        self.sock.sendto(data, self.server)

    def flush(self) -> None:
        for data in self.session.take():
            self.transmit(data)

    async def greet(self) -> None:
        """Bring the cookie back: a handshake is under way after it."""
        self.session.advance()
        self.flush()
        self.session.advance(await self.datagram_raw())
        self.flush()

    async def shake(self) -> "SecureDevice":
        """A whole handshake; raises DtlsError where it fails."""
        self.session.advance()
        self.flush()
        await self.finish()
        return self

    async def finish(self) -> None:
        """The rest of a handshake."""
        while not self.session.advance(await self.datagram_raw()):
            self.flush()
        self.flush()

    def send(self, frame: Frame | bytes) -> None:
        self.transmit(self.session.seal(frame if isinstance(frame, bytes) else frame.encode()))

    async def next_datagram(self) -> bytes:
        while True:
            opened = await self.next_opened()
            if opened.messages:
                (message,) = opened.messages
                return message

    async def next_opened(self) -> Opened:
        """What is in the next datagram."""
        return self.session.open(await self.datagram_raw())

    def move(self, source: str = "127.0.0.1") -> None:
        """It speaks from another port from now on, as behind a NAT that has forgotten it."""
        before = self.sock.getsockname()
        self.sock.close()
        self.sock = _socket(source)
        assert self.sock.getsockname() != before

    async def pong(self) -> None:
        """It is heard and answered."""
        await self.silent()


def _socket(source: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.bind((source, 0))
    return made


@contextmanager
def secure_device(
    port: int, context: Context | None = None, *, cid: bool = True, source: str = "127.0.0.1"
) -> Iterator[SecureDevice]:
    """A device at a port of its own that speaks to the server at `port`; it has not shaken hands yet."""
    opened = SecureDevice(_socket(source), ("127.0.0.1", port), context=context or psk_client(), with_cid=cid)
    try:
        yield opened
    finally:
        opened.sock.close()
