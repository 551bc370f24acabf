"""CoAP over DTLS: whose record is this, and what is in it?

RFC 6347 (DTLS 1.2), RFC 9146 (Connection ID). A record with an id of ours is found by that, others by
their address; an address is believed only on the newest authentic record. Handshakes go on beside the
loop (`handshakes.py`), sessions sleep (`sessions.py`) and are kept on the disk (`saver.py`).
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ...db.sessions import session_id_of
from ...errors import PeerError, clean
from ...fleet.ports import DeviceSilent, Keyring, Proof, ProofKind, SavedSession, SessionKeeper
from ...system import clock
from ...system.config import Network
from ..peers import MAX_MESSAGE, Peer, address_text
from ..sockets import UdpSockets, Way
from .engine import (
    ACCESS_DENIED,
    CID_BYTES,
    CLOSE_NOTIFY,
    Chain,
    Context,
    DtlsError,
    Kind,
    Ring,
    Session,
    frozen_id,
    hello_id,
)
from .handshakes import Handshake, Handshakes
from .peer import DtlsPeer, are_counters, records_sent
from .resumable import Resumable
from .saver import Saver
from .sessions import Sessions

# RFC 6347 4.1 and RFC 9146 4: types of records; a handshake's first records have epoch 0.
_HANDSHAKE, _WITH_CID = 22, 25
_CLIENT_HELLO: Final = b"\x01"
_EPOCH_0: Final = b"\0\0"
_HEADER: Final = 13
_KINDS: Final = {ProofKind.PSK: Kind.PSK, ProofKind.CERTIFICATE: Kind.CERTIFICATE}
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


class DtlsTransport:
    """All of CoAP over DTLS. `receive` gets every message of a session, `gone` each that has ended."""

    def __init__(
        self,
        port: int,
        networks: Sequence[Network],
        keyring: Keyring,
        keeper: SessionKeeper,
        receive: Callable[[bytes, Peer], None],
        gone: Callable[[Peer], None],
    ) -> None:
        self.sockets = UdpSockets(port, networks, self._arrived, "dtls")
        self.sessions = Sessions()
        self.handshakes = Handshakes(self.sockets.send, self._completed, self._failed)
        self.counts = Counts()
        self._keyring = keyring
        self._receive = receive
        self._gone = gone
        self._ring = Ring()
        self._resumable = Resumable()
        self._saver = Saver(keeper, lambda: self.sessions.park_idle(clock.wall_ms()))
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
        for peer in self.sessions:
            self._saver.used(peer)
        await self._saver.save()
        self.handshakes.start()
        self._saver.start()
        self.sockets.listen()

    async def stop(self) -> None:
        """Save where every session stands, and close the sockets; no session ends by this."""
        self.sockets.close()
        await self.handshakes.stop()
        await self._saver.stop()
        self.sessions.clear()

    @property
    def port(self) -> int:
        return self.sockets.port

    def present(self, identity: Identity) -> None:
        """Show another certificate, trust other roots, from the next handshake on.

        Sessions go on; raises ValueError for what cannot be read, and all stays as it was.
        """
        self._context = Context(
            ring=self._ring,
            chain=identity.chain,
            roots=identity.roots,
            check_dates=identity.check_dates,
        )
        self.sessions.use(self._context)
        self._listener, self._listener_cid = self._new_listener()

    def peer(self, name: str) -> DtlsPeer:
        """The session of a name; raises DeviceSilent."""
        session_id = session_id_of(name)
        peer = None if session_id is None else self.sessions.get(session_id)
        if peer is None:
            raise DeviceSilent(
                "session_ended",
                "its DTLS session has ended",
                "the device makes another one by itself",
                sent=False,
            )
        return peer

    def way_of(self, name: str) -> Way | None:
        """How a session was heard last; None for one that has ended, or whose network is let in no more."""
        session_id = session_id_of(name)
        peer = None if session_id is None else self.sessions.get(session_id)
        return None if peer is None else peer.way

    def max_message(self, peer: DtlsPeer) -> int:
        """See `Peer.max_message`."""
        try:
            return min(self.sessions.wake(peer).max_message, MAX_MESSAGE)
        except DtlsError:
            return MAX_MESSAGE  # nothing can be sent at all, which `deliver` finds

    def registered(self, peer: DtlsPeer) -> None:
        """A Register or an Update has come by a session: it takes the place of the one that it resumed.

        Not as soon as it is resumed: RFC 5246 F.1.4 lets a client have several connections of one session,
        and a Zephyr device that keeps its session fetches firmware by a second one, beside its registration.
        """
        if peer.registers:
            return
        peer.registers = True
        others = [other for other in self.sessions.of(peer.proof) if other is not peer and other.registers]
        tls_id = frozen_id(peer.frozen) if others else b""
        for other in others:
            if tls_id and frozen_id(other.frozen) == tls_id:
                self._end(other, alert=None)

    def deliver(self, peer: DtlsPeer, data: bytes) -> None:
        """Send a message to a session; what cannot be sent is lost, as on the way it may be too."""
        if peer not in self.sessions:
            return
        self._saver.used(peer)
        if peer.records_out >= peer.record_limit or peer.way is None:
            # The disk is late, and its counter must be there first; or its network is let in no more.
            return
        try:
            record = self.sessions.wake(peer).seal(data)
        except DtlsError as error:
            log.warning("message not sent", extra={"PEER": peer.where, "ERROR_CODE": error.code})
            return
        peer.records_out += 1
        self.sockets.send(record, peer.way)

    # Datagrams

    def _arrived(self, data: bytes, way: Way) -> None:
        if len(data) < _HEADER or not self.sockets.lets_in(way.sockaddr):
            return
        kind = data[0]
        if kind == _WITH_CID:
            session_id = data[11 : 11 + CID_BYTES]
            peer = self.sessions.get(session_id)
            handshake = self.handshakes.promised(session_id) if peer is None else None
        elif kind == _HANDSHAKE and data[3:5] == _EPOCH_0 and data[_HEADER : _HEADER + 1] == _CLIENT_HELLO:
            self._hello(data, way)
            return
        else:
            handshake = self.handshakes.at(way.sockaddr)
            peer = self.sessions.at(way.sockaddr)
            if handshake is not None and peer is not None and (peer.has_cid or data[3:5] == _EPOCH_0):
                peer = None
        # RFC 6347 4.2.8: until a new handshake is complete the old session at its address goes on, and
        # without a Connection ID nothing but the key tells whose record this is.
        if peer is not None and (self._opened(peer, data, way) or handshake is None):
            return
        if handshake is not None and handshake.way.sockaddr == way.sockaddr:
            self.handshakes.take(handshake, data)
        else:
            self.counts.unknown += 1

    def _hello(self, data: bytes, way: Way) -> None:
        """A ClientHello: a cookie for the stranger, a handshake for who brings it back."""
        message = data[_HEADER:]
        under_way = self.handshakes.at(way.sockaddr)
        if under_way is not None and under_way.hello == message:
            # Sent again, as our flight takes its time. With another handshake, and its keys, the flight
            # that is on its way would be in vain: over a slow network none would ever be complete.
            self.handshakes.take(under_way, data)
            return
        session = self._listener
        try:
            good = session.hello(data, address_text(way.sockaddr).encode())
        except DtlsError as error:
            self._flush(session, way)
            self._refused(way, error)
            session.recycle()
            session.use_cid(self._listener_cid)
            return
        if not good:
            self._flush(session, way)
            return
        cid = self._listener_cid
        self._listener, self._listener_cid = self._new_listener()
        resumable = self._resumable.get(hello_id(data))
        if resumable is not None:
            session.offer(resumable.frozen)
        began = asyncio.get_running_loop().time()
        self.handshakes.begin(Handshake(session, cid, way, message, resumable, began))

    def _opened(self, peer: DtlsPeer, data: bytes, way: Way) -> bool:
        """A datagram of a session; whether it truly is one."""
        try:
            session = self.sessions.wake(peer)
            opened = session.open(data)
        except DtlsError as error:
            log.info("session broken", extra={"PEER": peer.where, "ERROR_CODE": error.code})
            self._end(peer)
            return False
        # The last flight of the handshake again, or the answer to an alert.
        if peer.records_out < peer.record_limit:
            peer.records_out += self._flush(session, way)
        if not opened.authentic:
            return False
        if opened.newest and self.sessions.follow(peer, way):
            self.counts.moved += 1
        peer.used_at = clock.wall_ms()
        self._saver.used(peer)
        for message in opened.messages:
            self._receive(message, peer)
        if opened.closed and peer in self.sessions:
            self._closed(peer)
        return True

    def _flush(self, session: Session, way: Way) -> int:
        """Send what the engine has to say; how many datagrams."""
        datagrams = session.take()
        for datagram in datagrams:
            self.sockets.send(datagram, way)
        return len(datagrams)

    # Handshakes

    def _new_listener(self) -> tuple[Session, bytes]:
        session = Session(self._context)
        cid = secrets.token_bytes(CID_BYTES)
        session.use_cid(cid)
        return session, cid

    def _completed(self, handshake: Handshake) -> None:
        """A handshake is complete: who is it, and may they come in?"""
        session, way = handshake.session, handshake.way
        resumed = handshake.resumes if session.resumed else None
        proof = _proof(session) if resumed is None else resumed.proof
        admission = None if proof is None or handshake.revoked else self._keyring.admit(proof)
        if proof is None or admission is None:
            # It was let in by the ring and is good no more: its credential ended meanwhile.
            session.alert(ACCESS_DENIED)
            self._flush(session, way)
            self.counts.refused += 1
            return
        peer = DtlsPeer(self, handshake.cid, session.freeze(), proof, admission)
        peer.live = session
        peer.way = way
        peer.used_at = clock.wall_ms()
        self.counts.handshakes += 1
        self.counts.resumed += resumed is not None
        self._place(peer, way)
        self._saver.made(peer)
        log.info(
            "session made",
            extra={
                "PEER": peer.where,
                "ENDPOINT": admission.endpoint or "",
                "DURATION_MS": round((asyncio.get_running_loop().time() - handshake.started_at) * 1000),
            },
        )
        for early in handshake.waiting:
            if early is not None and peer in self.sessions:
                self._opened(peer, early, way)

    def _place(self, peer: DtlsPeer, way: Way) -> None:
        """Give a new session its place; RFC 6347 4.2.8: only now the one at its address ends."""
        there = self.sessions.at(way.sockaddr)
        if there is not None and (there.proof == peer.proof or not there.has_cid):
            self._end(there, alert=None)
        for other in self.sessions.crowding(peer):
            self._end(other)
        self.sessions.add(peer)
        self._let_resume(peer)

    def _let_resume(self, peer: DtlsPeer) -> None:
        for session_id in self._resumable.put(peer):
            if self.sessions.get(session_id) is None:
                self._saver.ended(session_id)

    def _failed(self, handshake: Handshake, error: DtlsError) -> None:
        self._refused(handshake.way, error, handshake.session.proof())

    def _refused(self, way: Way, error: DtlsError, shown: tuple[Kind, bytes] | None = None) -> None:
        self.counts.refused += 1
        named = ""
        if shown is not None:
            kind, value = shown
            named = value.decode("utf-8", "replace") if kind is Kind.PSK else value.hex()
        log.info(
            "handshake refused",
            extra={
                "PEER": address_text(way.sockaddr),
                "IDENTITY": clean(named),
                "ERROR_CODE": error.code,
                "CAUSE": error.message,
            },
        )

    # The end of sessions

    def _closed(self, peer: DtlsPeer) -> None:
        """The peer has ended its session: it may resume it, and nothing else."""
        self._say(peer, CLOSE_NOTIFY)  # RFC 5246 7.2.1 has it answered; GnuTLS waits for that
        self.sessions.remove(peer)
        self._gone(peer)
        if peer.id in self._resumable:
            self._saver.closed(peer)
        else:
            self._saver.ended(peer.id)

    def _end(self, peer: DtlsPeer, alert: int | None = CLOSE_NOTIFY) -> None:
        """End a session for good, with a word to the peer where that is possible."""
        if alert is not None:
            self._say(peer, alert)
        self.sessions.remove(peer)
        self._gone(peer)
        self._resumable.drop(peer.id)
        self._saver.ended(peer.id)

    def _say(self, peer: DtlsPeer, alert: int) -> None:
        """Send an alert, where that is possible."""
        if peer.way is None or peer.records_out >= peer.record_limit:
            return
        try:
            session = self.sessions.wake(peer)
        except DtlsError:
            return  # what was parked cannot be read: it goes without a word
        session.alert(alert)
        peer.records_out += self._flush(session, peer.way)

    def _credential_changed(self, proof: Proof, secret: bytes | None) -> None:
        kind = _KINDS[proof.kind]
        if secret is not None:
            self._ring.put(kind, proof.value, secret)
            return
        self._ring.remove(kind, proof.value)
        for handshake in self.handshakes:
            # Another key may be let in by the same name before it is complete.
            handshake.revoked |= _rests_on(handshake, proof)
        for peer in self.sessions.of(proof):
            self._end(peer, ACCESS_DENIED)
        for session_id in self._resumable.drop_proof(proof):
            self._saver.ended(session_id)

    # A restart

    def _restore(self, saved: SavedSession) -> None:
        admission = self._keyring.whose(saved.proof)
        if admission is None or not are_counters(saved.counters):
            self._saver.ended(saved.id)
            return
        peer = DtlsPeer(self, saved.id, saved.snapshot, saved.proof, admission)
        peer.counters = saved.counters
        peer.address = saved.address
        peer.used_at = saved.used_ms
        peer.records_out = peer.record_limit = records_sent(saved.counters)
        peer.registers = True  # as most have
        if not saved.live:
            self._let_resume(peer)
            return
        try:
            peer.way = self.sockets.way_to(saved.address)
        except (DeviceSilent, PeerError):
            log.info("session of a foreign network", extra={"PEER": clean(saved.address)})
        self.sessions.add(peer)
        self._let_resume(peer)


def _proof(session: Session) -> Proof | None:
    shown = session.proof()
    return None if shown is None else Proof(_PROOFS[shown[0]], shown[1])


def _rests_on(handshake: Handshake, proof: Proof) -> bool:
    """Whether a handshake under way has come by a proof: by its key, or by a session that it made.

    Not asked of a certificate: that never comes back as another one, and its handshake may be in the thread.
    """
    if handshake.resumes is not None and handshake.resumes.proof == proof:
        return True
    return handshake.quick and _proof(handshake.session) == proof
