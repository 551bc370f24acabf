"""The sessions there are: found by Connection ID, address and proof; awake or parked.

RFC 9146 (Connection ID). A session in the engine costs 40 kB, so only those that spoke last are awake,
and the engine's memory of one that was parked serves the next that wakes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Final

from ...fleet.ports import Proof
from ..peers import SocketAddress
from ..sockets import Way
from .engine import Context, Session
from .peer import DtlsPeer

MAX_LIVE: Final = 1024
IDLE_MS: Final = 10_000  # who says nothing for so long is parked; a busy fleet need not be woken each time
SETTLING_MS: Final = 60_000  # the device may still want the last flight of its handshake again
CANDIDATES: Final = 8  # of those that spoke longest ago, to be parked
SPARE: Final = 32  # sessions of the engine kept for the next one to wake
# A device may have one session for its registration and one for firmware, and leave one behind.
MAX_A_PROOF: Final = 4
MAX_ENROLLING: Final = 64  # they share the enrolment key


class Sessions:
    """All sessions; `context` is the engine's configuration of those that wake."""

    def __init__(self, max_live: int = MAX_LIVE) -> None:
        self._max_live = max_live
        self._by_id: dict[bytes, DtlsPeer] = {}
        self._by_address: dict[SocketAddress, DtlsPeer] = {}
        # Tuples: nearly all have one, and a dictionary of one is four times as large.
        self._by_proof: dict[Proof, tuple[DtlsPeer, ...]] = {}
        self._live: OrderedDict[bytes, DtlsPeer] = OrderedDict()
        self._spare: list[Session] = []
        self._context: Context | None = None
        self.parked = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[DtlsPeer]:
        return iter(self._by_id.values())

    def __contains__(self, peer: DtlsPeer) -> bool:
        return self._by_id.get(peer.id) is peer

    def get(self, session_id: bytes) -> DtlsPeer | None:
        return self._by_id.get(session_id)

    def at(self, sockaddr: SocketAddress) -> DtlsPeer | None:
        """Who spoke last from an address."""
        return self._by_address.get(sockaddr)

    def of(self, proof: Proof) -> tuple[DtlsPeer, ...]:
        return self._by_proof.get(proof, ())

    def use(self, context: Context) -> None:
        """Wake sessions by another configuration from now on; those awake keep theirs."""
        self._context = context
        self._spare.clear()

    def add(self, peer: DtlsPeer) -> None:
        """Take in a session, at the address it has a way to."""
        self._by_id[peer.id] = peer
        self._by_proof[peer.proof] = (*self.of(peer.proof), peer)
        if peer.way is not None:
            self._by_address[peer.way.sockaddr] = peer
        if peer.live is not None:
            self._note_live(peer)

    def crowding(self, peer: DtlsPeer) -> tuple[DtlsPeer, ...]:
        """The sessions that a new one of the same proof leaves no room for, longest unused first."""
        limit = MAX_ENROLLING if peer.admission.endpoint is None else MAX_A_PROOF
        others = sorted((p for p in self.of(peer.proof) if p is not peer), key=lambda p: p.used_at)
        return tuple(others[: max(0, len(others) + 1 - limit)])

    def follow(self, peer: DtlsPeer, way: Way) -> bool:
        """A session's newest record came this way; True when that is another address."""
        before = peer.way
        if before is not None and before.sockaddr == way.sockaddr and before.local == way.local:
            return False
        peer.moved(way)
        if before is not None and before.sockaddr == way.sockaddr:
            return False
        if before is not None and self._by_address.get(before.sockaddr) is peer:
            del self._by_address[before.sockaddr]
        # A session without Connection ID is found by nothing else: it keeps its address.
        there = self._by_address.get(way.sockaddr)
        if there is None or there.has_cid:
            self._by_address[way.sockaddr] = peer
        return before is not None

    def remove(self, peer: DtlsPeer) -> None:
        """Forget a session; it is parked, so that what it was can still be kept."""
        self.park(peer)
        self._by_id.pop(peer.id, None)
        if peer.way is not None and self._by_address.get(peer.way.sockaddr) is peer:
            del self._by_address[peer.way.sockaddr]
        left = tuple(other for other in self.of(peer.proof) if other is not peer)
        if left:
            self._by_proof[peer.proof] = left
        else:
            self._by_proof.pop(peer.proof, None)

    def wake(self, peer: DtlsPeer) -> Session:
        """The engine's session of a peer; raises DtlsError where what was parked cannot be read."""
        session = peer.live
        if session is not None:
            self._live.move_to_end(peer.id)
            return session
        assert self._context is not None, "no configuration yet"
        session = self._spare.pop() if self._spare else Session(self._context)
        session.thaw(peer.frozen, peer.counters)
        peer.live = session
        self._note_live(peer)
        return session

    def park(self, peer: DtlsPeer) -> None:
        """Put a session to sleep: its counters stay, the engine's memory goes to the next."""
        session, peer.live = peer.live, None
        self._live.pop(peer.id, None)
        if session is None:
            return
        peer.counters = session.counters()
        peer.shed()
        self.parked += 1
        if session.context is self._context and len(self._spare) < SPARE:
            session.recycle()
            self._spare.append(session)

    def park_idle(self, now_ms: int) -> None:
        """Park those that have been silent; `now_ms` is the wall clock of `DtlsPeer.used_at`."""
        idle = []
        for peer in self._live.values():  # longest silent first
            silent_ms = now_ms - peer.used_at
            if silent_ms < IDLE_MS:
                break
            if silent_ms >= SETTLING_MS or (peer.live is not None and peer.live.settled):
                idle.append(peer)
        for peer in idle:
            self.park(peer)

    def clear(self) -> None:
        for peer in list(self._live.values()):
            self.park(peer)
        self._spare.clear()

    def _note_live(self, peer: DtlsPeer) -> None:
        self._live[peer.id] = peer
        if len(self._live) > self._max_live:
            # One that is parked before its device knows of the handshake's end cannot tell it again.
            oldest = tuple(islice(self._live.values(), CANDIDATES))
            self.park(next((p for p in oldest if p.live is not None and p.live.settled), oldest[0]))
