"""Sessions that a client may resume by their id, those it has closed among them.

RFC 5246 7.3 and F.1.4. A Zephyr device in Queue Mode closes its socket before it sleeps and keeps the
session's id: without this each wake-up would cost it a handshake.
"""

from typing import Final, NamedTuple

from ...fleet.ports import Proof
from .engine import frozen_id
from .peer import DtlsPeer

# A client asks for the last one it had; a few more in case it has several sessions.
MAX_A_PROOF: Final = 4


class Resumption(NamedTuple):
    session_id: bytes  # ours, the Connection ID
    frozen: bytes
    proof: Proof


class Resumable:
    """By TLS session id, and how many each proof has."""

    def __init__(self) -> None:
        self._by_tls_id: dict[bytes, Resumption] = {}
        self._tls_ids: dict[bytes, bytes] = {}
        self._of_proof: dict[Proof, tuple[bytes, ...]] = {}  # session ids, oldest first

    def __len__(self) -> int:
        return len(self._by_tls_id)

    def __contains__(self, session_id: bytes) -> bool:
        return session_id in self._tls_ids

    def get(self, tls_id: bytes) -> Resumption | None:
        return self._by_tls_id.get(tls_id)

    def put(self, peer: DtlsPeer) -> tuple[bytes, ...]:
        """Take in a session; the ids of those that had to go for it."""
        tls_id = frozen_id(peer.frozen)
        if not tls_id:
            return ()
        gone = []
        before = self._by_tls_id.get(tls_id)
        if before is not None:
            self.drop(before.session_id)
            gone.append(before.session_id)
        self._by_tls_id[tls_id] = Resumption(peer.id, peer.frozen, peer.proof)
        self._tls_ids[peer.id] = tls_id
        own = (*self._of_proof.get(peer.proof, ()), peer.id)
        self._of_proof[peer.proof] = own
        for oldest in own[:-MAX_A_PROOF]:
            self.drop(oldest)
            gone.append(oldest)
        return tuple(gone)

    def drop(self, session_id: bytes) -> None:
        tls_id = self._tls_ids.pop(session_id, None)
        if tls_id is None:
            return
        proof = self._by_tls_id.pop(tls_id).proof
        left = tuple(other for other in self._of_proof[proof] if other != session_id)
        if left:
            self._of_proof[proof] = left
        else:
            del self._of_proof[proof]

    def drop_proof(self, proof: Proof) -> tuple[bytes, ...]:
        """Drop all that a proof has made; their ids."""
        gone = self._of_proof.get(proof, ())
        for session_id in gone:
            self.drop(session_id)
        return gone
