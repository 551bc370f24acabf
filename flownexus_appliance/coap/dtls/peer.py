"""One DTLS session as the CoAP layers see it: a peer that keeps its name wherever it goes.

RFC 9146 (Connection ID), RFC 7252 9.1 (what a session means to CoAP). The engine's session costs 40 kB,
so an idle one is parked as bytes; a parked peer is meant to cost less than 2 kB with everything.
"""

from typing import TYPE_CHECKING, Final

from ...db.sessions import session_name
from ...fleet.ports import Admission, Proof, SavedSession, Sender
from ..peers import Peer, address_text
from ..sockets import Way, local_host
from .engine import COUNTER_BYTES, Session, frozen_has_cid, frozen_id

if TYPE_CHECKING:
    from .transport import DtlsTransport

# How many records a session may send before its counters must be on the disk again (`saver.py`).
AHEAD: Final = 4096
_OUT = slice(16, 24)


class DtlsPeer(Peer):
    """A session: `live` while it is in the engine, else parked in `counters`."""

    __slots__ = (
        "_sender",
        "address",
        "admission",
        "counters",
        "frozen",
        "has_cid",
        "id",
        "live",
        "proof",
        "record_limit",
        "records_out",
        "registers",
        "transport",
        "used_at",
        "way",
    )

    scheme = "coaps"

    def __init__(
        self,
        transport: "DtlsTransport",
        session_id: bytes,
        frozen: bytes,
        proof: Proof,
        admission: Admission,
    ) -> None:
        super().__init__()
        self.transport = transport
        self._sender: Sender | None = None
        self.id = session_id
        self.frozen = frozen
        self.proof = proof
        self.admission = admission
        self.way: Way | None = None
        self.address = ""  # while there is no way: where it was, as text
        self.live: Session | None = None
        self.counters = b""
        self.has_cid = frozen_has_cid(frozen)
        self.used_at = 0  # ms since 1970
        # How many records it has sent, and how many it may have before its counters are on disk anew.
        self.records_out = 0
        self.record_limit = 0
        self.registers = False  # its device has registered by it, and not only fetched something

    @property
    def name(self) -> str:
        return session_name(self.id)

    @property
    def where(self) -> str:
        return self.address if self.way is None else address_text(self.way.sockaddr)

    @property
    def sender(self) -> Sender:  # type: ignore[override]
        """Made when asked for: a parked peer needs none."""
        if self._sender is None:
            endpoint = self.admission.endpoint
            self._sender = Sender(
                self.name,
                self.where,
                endpoint,
                enrolling=endpoint is None,
                local_host="" if self.way is None else local_host(self.way),
            )
        return self._sender

    def moved(self, way: Way) -> None:
        """Its newest record came this way."""
        self.way = way
        self._sender = None

    def deliver(self, data: bytes) -> None:
        self.transport.deliver(self, data)

    def registered(self) -> None:
        """A Register or an Update has come by it."""
        self.transport.registered(self)

    @property
    def max_message(self) -> int:
        return self.transport.max_message(self)

    def shed(self) -> None:
        """Keep of the answers only the last: a device has one request under way (RFC 7252 4.7)."""
        self.replies = self.replies[-1:]
        self._sender = None

    def saved(self, counters: bytes, live: bool = True) -> SavedSession:
        """The session for the disk; `counters` are the engine's."""
        return SavedSession(
            id=self.id,
            address=self.where,
            proof=self.proof,
            snapshot=self.frozen,
            counters=counters,
            resumption_id=frozen_id(self.frozen),
            live=live,
            used_ms=self.used_at,
        )


def records_sent(counters: bytes) -> int:
    """The number of the next record out, without its epoch."""
    return int.from_bytes(counters[_OUT][2:], "big")


def are_counters(data: bytes) -> bool:
    """Whether these are counters that a session can go on with: what came back from a disk may be any."""
    return len(data) == COUNTER_BYTES and records_sent(data) + 2 * AHEAD < 1 << 48


def ahead(counters: bytes, by: int = AHEAD) -> bytes:
    """Counters as they may stand after `by` more records."""
    out = counters[_OUT]
    number = int.from_bytes(out[2:], "big") + by
    return counters[:16] + out[:2] + number.to_bytes(6, "big")
