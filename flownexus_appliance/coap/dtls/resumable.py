"""Sessions that a client may resume by their id, those it has closed among them.

RFC 5246 7.3 and F.1.4. A Zephyr device in Queue Mode closes its socket before it sleeps and keeps the
session's id: without this each wake-up would cost it a handshake.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple

from ...fleet.ports import Proof
from .engine import frozen_id
from .peer import DtlsPeer

MAX_RESUMABLE: Final = 20_000


class Resumption(NamedTuple):
    session_id: bytes  # ours, the Connection ID
    frozen: bytes
    proof: Proof


class Resumable:
    """By TLS session id; the oldest goes where there are too many."""

    def __init__(self, limit: int = MAX_RESUMABLE) -> None:
        self._limit = limit
        self._by_tls_id: OrderedDict[bytes, Resumption] = OrderedDict()
        self._tls_ids: dict[bytes, bytes] = {}

    def __contains__(self, session_id: bytes) -> bool:
        return session_id in self._tls_ids

    def get(self, tls_id: bytes) -> Resumption | None:
        return self._by_tls_id.get(tls_id)

    def put(self, peer: DtlsPeer) -> None:
        """Take in a session; a resumed one takes the place of the one it resumed."""
        tls_id = frozen_id(peer.frozen)
        if not tls_id:
            return
        before = self._by_tls_id.pop(tls_id, None)
        if before is not None:
            self._tls_ids.pop(before.session_id, None)
        self._by_tls_id[tls_id] = Resumption(peer.id, peer.frozen, peer.proof)
        self._tls_ids[peer.id] = tls_id
        if len(self._by_tls_id) > self._limit:
            _, oldest = self._by_tls_id.popitem(last=False)
            self._tls_ids.pop(oldest.session_id, None)

    def drop(self, session_id: bytes) -> None:
        tls_id = self._tls_ids.pop(session_id, None)
        if tls_id is not None:
            self._by_tls_id.pop(tls_id, None)

    def drop_proof(self, proof: Proof) -> Iterator[bytes]:
        """Drop all that a proof has made; their ids."""
        for resumption in [r for r in self._by_tls_id.values() if r.proof == proof]:
            self.drop(resumption.session_id)
            yield resumption.session_id
