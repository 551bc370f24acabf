"""CoAP over DTLS: whose record is this, and what is in it; sessions live, parked, saved.

RFC 6347 (DTLS 1.2), RFC 9146 (Connection ID). A record with an id of ours is found by that, others by
their address; an address is believed only on the newest authentic record. Handshakes go on beside the
loop (`handshakes.py`). What a restart must not lose is saved with the next commit, what moves with
every record once a second and ahead (`peer.AHEAD`).
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ...db.migrate import StoreError
from ...errors import PeerError, clean
from ...fleet.ports import (
    DeviceSilent,
    Keyring,
    Proof,
    ProofKind,
    SavedSession,
    SessionKeeper,
)
from ...system import clock
from ...system.config import Network
from ..peers import Peer, SocketAddress, address_text
from ..sockets import UdpSockets, Way
from .engine import ACCESS_DENIED, CID_BYTES, CLOSE_NOTIFY, Chain, Context, DtlsError, Ring, Session, hello_id
from .engine import Kind as EngineKind
from .handshakes import Handshake, Handshakes
from .peer import AHEAD, DtlsPeer, ahead, records_sent, session_id_of
from .resumable import Resumable

SAVE_PERIOD_S: Final = 1.0
MAX_LIVE: Final = 256
SPARE: Final = 32  # sessions of the engine kept for the next one to wake
# A device may have one session for its registration and one for firmware, and leave one behind.
MAX_SESSIONS_A_PROOF: Final = 4
# RFC 6347 4.1 and RFC 9146 4: types of records; a handshake's first records have epoch 0.
_ALERT, _HANDSHAKE, _WITH_CID = 21, 22, 25
_CLIENT_HELLO: Final = 1
_EPOCH_0: Final = b"\0\0"
_KINDS: Final = {ProofKind.PSK: EngineKind.PSK, ProofKind.CERTIFICATE: EngineKind.CERTIFICATE}
_PROOFS: Final = {kind: proof for proof, kind in _KINDS.items()}
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the box shows of itself over DTLS: a certificate chain, and the roots it trusts.

    Without a chain there is PSK only. `check_dates` off while the clock is not to be trusted.
    """

    chain: Chain | None = None
    roots: tuple[bytes, ...] = ()
    check_dates: bool = True


PSK_ONLY: Final = Identity()


@dataclass(slots=True)
class Counts:
    """What has happened since the start."""

    handshakes: int = 0
    resumed: int = 0
    refused: int = 0
    moved: int = 0
    unknown: int = 0  # records of sessions that are not here
    parked: int = 0


class DtlsTransport:
    """All of CoAP over DTLS. `receive` gets every message of a session."""

    def __init__(
        self,
        port: int,
        networks: Sequence[Network],
        keyring: Keyring,
        keeper: SessionKeeper,
        receive: Callable[[bytes, Peer], None],
    ) -> None:
        self.sockets = UdpSockets(port, networks, self._arrived, "dtls")
        self.counts = Counts()
        self._keyring = keyring
        self._keeper = keeper
        self._receive = receive
        self._ring = Ring()
        self._by_id: dict[bytes, DtlsPeer] = {}
        self._by_address: dict[SocketAddress, DtlsPeer] = {}
        self._by_proof: dict[Proof, dict[bytes, DtlsPeer]] = {}
        self._resumable = Resumable()
        self._live: OrderedDict[bytes, DtlsPeer] = OrderedDict()
        self._spare: list[Session] = []
        self._dirty: dict[bytes, DtlsPeer] = {}
        self._handshakes = Handshakes(self.sockets.send, self._completed, self._failed)
        self._saver: asyncio.Task[None] | None = None
        self.present(PSK_ONLY)

    async def start(self, kept: Sequence[SavedSession]) -> None:
        """Take up the sessions of an earlier run, then listen; raises ApplianceError, StoreError."""
        for proof, secret in self._keyring.secrets().items():
            self._ring.put(_KINDS[proof.kind], proof.value, secret)
        self._keyring.watch(self._credential_changed)
        self.sockets.open()
        for saved in kept:
            self._restore(saved)
        # None of them may send a record before the disk knows of it.
        self._dirty.update(self._by_id)
        await self._save()
        self._handshakes.start()
        self._saver = asyncio.create_task(self._keep_saving(), name="dtls sessions")
        self.sockets.listen()

    async def stop(self) -> None:
        """Save where every session stands, and close the sockets; no session ends by this."""
        if self._saver is not None:
            self._saver.cancel()
            await asyncio.gather(self._saver, return_exceptions=True)
            self._saver = None
        self.sockets.close()
        await self._handshakes.stop()
        try:
            await self._save(by=0)
        except StoreError as error:
            log.warning("sessions not kept", extra={"ERROR_CODE": error.code})
        self._by_id.clear()
        self._live.clear()
        self._spare.clear()

    @property
    def port(self) -> int:
        return self.sockets.port

    def present(self, identity: Identity) -> None:
        """Show another certificate, trust other roots, from the next handshake on.

        Sessions go on; raises ValueError for what cannot be read, and all stays as it was.
        """
        context = Context(
            ring=self._ring,
            chain=identity.chain,
            roots=identity.roots,
            check_dates=identity.check_dates,
        )
        self._context = context
        self._spare.clear()
        self._listener, self._listener_cid = self._new_listener()

    def peer(self, name: str) -> DtlsPeer:
        """The session of a name; raises DeviceSilent."""
        session_id = session_id_of(name)
        peer = None if session_id is None else self._by_id.get(session_id)
        if peer is None:
            raise DeviceSilent(
                "session_ended", "its DTLS session has ended", "the device makes another one by itself"
            )
        return peer

    def sessions(self) -> int:
        return len(self._by_id)

    def deliver(self, peer: DtlsPeer, data: bytes) -> None:
        """Send a message to a session; what cannot be sent is lost, as on the way it may be too."""
        if self._by_id.get(peer.id) is not peer:
            return
        if peer.records_out >= peer.record_limit:
            # Its counter must be on disk before it goes on: the saver is late, the device repeats.
            self._dirty[peer.id] = peer
            return
        try:
            way = peer.way or self.sockets.way_to(peer.address)
            session = self._wake(peer)
            record = session.seal(data)
        except DtlsError as error:
            log.warning(
                "message not sent",
                extra={"PEER": peer.where, "ERROR_CODE": error.code, "CAUSE": error.message},
            )
            return
        except DeviceSilent:
            return  # restored, and the network it was in is not allowed any more
        peer.records_out += 1
        self._dirty[peer.id] = peer
        self.sockets.send(record, way)

    # Datagrams

    def _arrived(self, data: bytes, way: Way) -> None:
        if len(data) < 13 or not self.sockets.lets_in(way.sockaddr):
            return
        kind = data[0]
        if kind == _WITH_CID:
            session_id = data[11 : 11 + CID_BYTES]
            peer = self._by_id.get(session_id)
            if peer is not None:
                self._opened(peer, data, way)
                return
            handshake = self._handshakes.promised(session_id)
        elif kind == _HANDSHAKE and data[3:5] == _EPOCH_0 and len(data) > 13 and data[13] == _CLIENT_HELLO:
            self._hello(data, way)
            return
        else:
            handshake = self._handshakes.at(way.sockaddr)
            if handshake is None:
                peer = self._by_address.get(way.sockaddr)
                if peer is not None:
                    self._opened(peer, data, way)
                    return
        if handshake is not None and handshake.way.sockaddr == way.sockaddr:
            self._handshakes.take(handshake, data)
        else:
            self.counts.unknown += 1

    def _hello(self, data: bytes, way: Way) -> None:
        """A ClientHello: a cookie for the stranger, a handshake for who brings it back."""
        address = address_text(way.sockaddr).encode()
        resumable = self._resumable.get(hello_id(data))
        session = self._listener
        try:
            good = session.hello(data, address)
        except DtlsError as error:
            for datagram in session.take():
                self.sockets.send(datagram, way)
            self._refused(way, error)
            session.recycle()
            return
        if not good:
            for datagram in session.take():
                self.sockets.send(datagram, way)
            return
        cid = self._listener_cid
        self._listener, self._listener_cid = self._new_listener()
        if resumable is not None and self._keyring.admit(resumable.proof) is None:
            resumable = None
        if resumable is not None:
            session.offer(resumable.frozen)
        began = asyncio.get_running_loop().time()
        self._handshakes.begin(Handshake(session, cid, way, resumable, began))

    def _opened(self, peer: DtlsPeer, data: bytes, way: Way) -> None:
        """A datagram of a session."""
        try:
            session = self._wake(peer)
            opened = session.open(data)
        except DtlsError as error:
            log.info("session broken", extra={"PEER": peer.where, "ERROR_CODE": error.code})
            self._end(peer)
            return
        for datagram in session.take():  # the last flight again, or the answer to an alert
            self.sockets.send(datagram, way)
            peer.records_out += 1
        if not opened.authentic:
            return
        if opened.newest:
            self._follow(peer, way)
        peer.used_at = clock.wall_ms()
        self._dirty[peer.id] = peer
        for message in opened.messages:
            self._receive(message, peer)
        if opened.closed:
            self._closed(peer)

    def _follow(self, peer: DtlsPeer, way: Way) -> None:
        """The newest record came this way: this is where the peer is (RFC 9146 6)."""
        before = peer.way
        peer.way = way
        if before is not None and before.sockaddr == way.sockaddr:
            return
        if before is not None:
            self.counts.moved += 1
            if self._by_address.get(before.sockaddr) is peer:
                del self._by_address[before.sockaddr]
        if not peer.has_cid or way.sockaddr not in self._by_address:
            self._by_address[way.sockaddr] = peer

    # Sessions

    def _new_listener(self) -> tuple[Session, bytes]:
        session = Session(self._context)
        cid = secrets.token_bytes(CID_BYTES)
        session.use_cid(cid)
        return session, cid

    def _wake(self, peer: DtlsPeer) -> Session:
        """The engine's session of a peer; raises DtlsError where what was parked cannot be read."""
        session = peer.live
        if session is not None:
            self._live.move_to_end(peer.id)
            return session
        session = self._spare.pop() if self._spare else Session(self._context)
        session.thaw(peer.frozen, peer.counters)
        peer.live = session
        peer.settled = True
        self._live[peer.id] = peer
        if len(self._live) > MAX_LIVE:
            self._park(next(iter(self._live.values())))
        return session

    def _park(self, peer: DtlsPeer) -> None:
        session, peer.live = peer.live, None
        self._live.pop(peer.id, None)
        if session is None:
            return
        peer.counters = session.counters()
        self.counts.parked += 1
        if session.context is self._context and len(self._spare) < SPARE:
            session.recycle()
            self._spare.append(session)

    def _completed(self, handshake: Handshake) -> None:
        """A handshake is complete: who is it, and may they come in?"""
        session, way = handshake.session, handshake.way
        resumed = handshake.resumes if session.resumed else None
        proof = _proof(session) if resumed is None else resumed.proof
        admission = None if proof is None else self._keyring.admit(proof)
        if proof is None or admission is None:
            # It was let in by the ring and is good no more: its credential ended meanwhile.
            session.alert(ACCESS_DENIED)
            for datagram in session.take():
                self.sockets.send(datagram, way)
            return
        frozen = session.freeze()
        peer = DtlsPeer(self, handshake.cid, frozen, proof, admission)
        peer.live = session
        peer.has_cid = session.has_cid
        peer.records_out = records_sent(session.counters())
        peer.record_limit = peer.records_out + AHEAD
        peer.used_at = clock.wall_ms()
        self.counts.handshakes += 1
        self.counts.resumed += resumed is not None
        self._replace(peer, way)
        self._live[peer.id] = peer
        if len(self._live) > MAX_LIVE:
            self._park(next(iter(self._live.values())))
        self._resumable.put(peer)
        try:
            self._keeper.put_session(peer.saved(ahead(session.counters()), int(peer.used_at)))
            self._keeper.commit()
        except StoreError as error:
            log.warning("session not kept", extra={"PEER": peer.where, "ERROR_CODE": error.code})
        log.info(
            "session made",
            extra={
                "PEER": peer.where,
                "ENDPOINT": admission.endpoint or "",
                "DURATION_MS": round((asyncio.get_running_loop().time() - handshake.started_at) * 1000),
            },
        )
        for early in handshake.waiting:
            if early is not None and self._by_id.get(peer.id) is peer:
                self._opened(peer, early, way)

    def _replace(self, peer: DtlsPeer, way: Way) -> None:
        """Give a new session its place; RFC 6347 4.2.8: only now the one at its address ends."""
        there = self._by_address.get(way.sockaddr)
        if there is not None and (there.proof == peer.proof or not there.has_cid):
            self._end(there)
        peer.way = way
        self._by_id[peer.id] = peer
        self._by_address[way.sockaddr] = peer
        own = self._by_proof.setdefault(peer.proof, {})
        own[peer.id] = peer
        while len(own) > MAX_SESSIONS_A_PROOF:
            self._end(min((p for p in own.values() if p is not peer), key=lambda p: p.used_at))

    def _failed(self, handshake: Handshake, error: DtlsError) -> None:
        self._refused(handshake.way, error, handshake.session.proof())

    def _refused(self, way: Way, error: DtlsError, shown: tuple[EngineKind, bytes] | None = None) -> None:
        self.counts.refused += 1
        named = ""
        if shown is not None:
            kind, value = shown
            named = value.decode("utf-8", "replace") if kind is EngineKind.PSK else value.hex()
        log.info(
            "handshake refused",
            extra={
                "PEER": address_text(way.sockaddr),
                "IDENTITY": clean(named),
                "ERROR_CODE": error.code,
                "CAUSE": error.message,
            },
        )

    def _closed(self, peer: DtlsPeer) -> None:
        """The peer has ended its session: it may resume it, and nothing else."""
        self._forget(peer)
        if peer.id in self._resumable:
            closed = peer.saved(peer.counters, int(peer.used_at), live=False)
            self._keep(lambda: self._keeper.put_session(closed))
        else:
            self._keep(lambda: self._keeper.remove_session(peer.id))

    def _end(self, peer: DtlsPeer, alert: int = CLOSE_NOTIFY) -> None:
        """End a session for good, with a word to the peer where that is possible."""
        if peer.way is not None and peer.records_out < peer.record_limit:
            try:
                session = self._wake(peer)
                session.alert(alert)
                for datagram in session.take():
                    self.sockets.send(datagram, peer.way)
            except DtlsError:
                pass  # it goes without a word
        self._forget(peer)
        self._resumable.drop(peer.id)
        self._keep(lambda: self._keeper.remove_session(peer.id))

    def _forget(self, peer: DtlsPeer) -> None:
        self._park(peer)
        self._by_id.pop(peer.id, None)
        self._dirty.pop(peer.id, None)
        if peer.way is not None and self._by_address.get(peer.way.sockaddr) is peer:
            del self._by_address[peer.way.sockaddr]
        own = self._by_proof.get(peer.proof)
        if own is not None:
            own.pop(peer.id, None)
            if not own:
                del self._by_proof[peer.proof]

    def _keep(self, put: Callable[[], None]) -> None:
        try:
            put()
            self._keeper.commit()
        except StoreError as error:
            log.warning("session not kept", extra={"ERROR_CODE": error.code})

    # Credentials

    def _credential_changed(self, proof: Proof, secret: bytes | None) -> None:
        kind = _KINDS[proof.kind]
        if secret is not None:
            self._ring.put(kind, proof.value, secret)
            return
        self._ring.remove(kind, proof.value)
        for peer in list(self._by_proof.get(proof, {}).values()):
            self._end(peer, ACCESS_DENIED)
        for session_id in self._resumable.drop_proof(proof):
            self._keep(lambda ended=session_id: self._keeper.remove_session(ended))  # type: ignore[misc]

    # The disk

    def _restore(self, saved: SavedSession) -> None:
        admission = self._keyring.admit(saved.proof)
        if admission is None:
            self._keeper.remove_session(saved.id)
            return
        peer = DtlsPeer(self, saved.id, saved.snapshot, saved.proof, admission)
        peer.counters = saved.counters
        peer.address = saved.address
        peer.used_at = saved.used_ms
        peer.records_out = peer.record_limit = records_sent(saved.counters)
        self._resumable.put(peer)
        if not saved.live:
            return
        self._by_id[peer.id] = peer
        self._by_proof.setdefault(saved.proof, {})[peer.id] = peer
        try:
            peer.way = self.sockets.way_to(saved.address)
            self._by_address[peer.way.sockaddr] = peer
        except (DeviceSilent, PeerError):
            log.info("session of a foreign network", extra={"PEER": clean(saved.address)})

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_PERIOD_S)
            try:
                await self._save()
            except StoreError as error:
                log.warning("sessions not kept", extra={"ERROR_CODE": error.code})

    async def _save(self, by: int = AHEAD) -> None:
        """Save where the sessions stand that were used; `by` records more may be sent then."""
        dirty, self._dirty = self._dirty, {}
        if not dirty:
            return
        rows = {}
        for peer in dirty.values():
            counters = peer.counters if peer.live is None else peer.live.counters()
            peer.records_out = records_sent(counters)
            rows[peer.id] = (ahead(counters, by), peer.where, int(peer.used_at))
        try:
            self._keeper.put_session_counters(rows)
            await asyncio.shield(self._keeper.commit())
        except BaseException:
            self._dirty = dirty | self._dirty
            raise
        for peer in dirty.values():
            saved = rows[peer.id][0]
            peer.record_limit = records_sent(saved)


def _proof(session: Session) -> Proof | None:
    shown = session.proof()
    return None if shown is None else Proof(_PROOFS[shown[0]], shown[1])
