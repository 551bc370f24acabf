"""The DTLS engine as Python sees it: contexts, sessions, and the ring of who may come in.

RFC 6347 (DTLS 1.2), RFC 9146 (Connection ID). Wraps `native/`, which wraps mbedTLS; nothing
here opens a socket or waits. Every call gives the interpreter lock away while C works, so a session
belongs to one thread at a time, and no buffer is shared between calls. `coap/` uses it as a server,
`sim/` as a client.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple

from ...errors import ApplianceError
from ._engine import ffi, lib

CID_BYTES: Final = 8
COUNTER_BYTES: Final = 24
MAX_IDENTITY_BYTES: Final = 128
MAX_PSK_BYTES: Final = 48  # of Debian's build of mbedTLS
MAX_MESSAGE_BYTES: Final = 2048
# AES-128 with CCM-8, CCM, GCM and CBC-SHA256, in the order a server prefers them.
ECDSA_SUITES: Final = (0xC0AE, 0xC0AC, 0xC02B, 0xC023)
PSK_SUITES: Final = (0xC0A8, 0xC0A4, 0x00A8, 0x00AE)
_MAX_FROZEN: Final = 1024
_FLIGHT: Final = 16384
_RECORD_OVERHEAD: Final = 128  # header, CID, explicit nonce, padding, authentication
# Alerts of RFC 5246 7.2.2.
CLOSE_NOTIFY: Final = 0
ACCESS_DENIED: Final = 49


class DtlsError(ApplianceError):
    """A handshake failed or a session is broken; `number` is the library's error."""

    def __init__(self, code: str, message: str, hint: str, number: int) -> None:
        super().__init__(code, message, hint)
        self.number = number


class Kind(IntEnum):
    """How a peer proves who it is, as C counts."""

    PSK = 1
    CERTIFICATE = 2


class Opened(NamedTuple):
    """What was in a datagram: `authentic` if a record of it was new and whole, `newest` if none that
    came before was sent later (only then may the peer's address be believed, RFC 9146 6), `closed`
    when the peer ended the session."""

    messages: tuple[bytes, ...]
    authentic: bool
    newest: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """A certificate chain, leaf first, and the leaf's key (PKCS #8 or SEC 1), all DER."""

    certificates: tuple[bytes, ...]
    key: bytes = field(repr=False)


class Ring:
    """Who may come in: PSK identities with their keys, certificates by their SHA-256. Thread-safe."""

    def __init__(self) -> None:
        _begin()
        self._ring = ffi.gc(_made(lib.dtls_ring_new()), lib.dtls_ring_free)

    def __len__(self) -> int:
        return int(lib.dtls_ring_count(self._ring))

    def put(self, kind: Kind, name: bytes, secret: bytes = b"") -> None:
        """Let in; raises ValueError for a name or a key that is too long."""
        if len(secret) > MAX_PSK_BYTES or lib.dtls_ring_put(
            self._ring, kind, name, len(name), secret, len(secret)
        ):
            raise ValueError(f"a name of 1 to {MAX_IDENTITY_BYTES} bytes, a key of at most {MAX_PSK_BYTES}")

    def remove(self, kind: Kind, name: bytes) -> bool:
        """Let in no more; tells whether it was in."""
        return bool(lib.dtls_ring_remove(self._ring, kind, name, len(name)) == 0)


class Context:
    """What sessions of one kind share; fixed once made.

    A server has a `ring`, and a `chain` with `roots` where it does certificates too; a client has a
    `psk` (identity, key), or a chain and roots. `check_dates` off takes certificates whose time has
    passed or not come: the clock is not to be trusted. `suites` by their IANA numbers; a client offers
    by itself those that fit its credential. A peer is given Connection IDs of `cid_bytes`;
    `timeouts_ms` are the first and the longest wait before a flight is sent again. Raises ValueError.
    """

    def __init__(
        self,
        *,
        client: bool = False,
        ring: Ring | None = None,
        psk: tuple[bytes, bytes] | None = None,
        chain: Chain | None = None,
        roots: Sequence[bytes] = (),
        check_dates: bool = True,
        cid_bytes: int = CID_BYTES,
        timeouts_ms: tuple[int, int] = (2000, 32000),
        suites: Sequence[int] = (),
    ) -> None:
        _begin()
        self._ring = ring  # C holds a pointer to it
        self.client = client
        self.cid_bytes = cid_bytes
        self._config = ffi.gc(
            _made(lib.dtls_config_new(client, cid_bytes, *timeouts_ms)), lib.dtls_config_free
        )
        if ring is not None:
            lib.dtls_config_ring(self._config, ring._ring)
        if psk is not None:
            identity, key = psk
            _check(lib.dtls_config_psk(self._config, identity, len(identity), key, len(key)), "PSK")
        if chain is not None:
            own = _framed(chain.certificates)
            _check(lib.dtls_config_own(self._config, own, len(own), chain.key, len(chain.key)), "chain")
        if roots:
            trusted = _framed(roots)
            _check(lib.dtls_config_roots(self._config, trusted, len(trusted), check_dates), "roots")
        if client and not suites:
            suites = PSK_SUITES if chain is None else ECDSA_SUITES
        if suites:
            _check(lib.dtls_config_suites(self._config, list(suites), len(suites)), "suites")


class Session:
    """One DTLS session in the library's memory, about 40 kB: freeze it when it is idle."""

    __slots__ = ("_session", "context")

    def __init__(self, context: Context) -> None:
        self.context = context
        self._session = ffi.gc(_made(lib.dtls_session_new(context._config)), lib.dtls_session_free)

    def use_cid(self, cid: bytes | None) -> None:
        """Have the peer send records with this Connection ID; None: with none.

        Raises ValueError where it has not the context's length.
        """
        if cid is not None and len(cid) != self.context.cid_bytes:
            raise ValueError(f"a Connection ID of {self.context.cid_bytes} bytes")
        _raise(lib.dtls_session_cid(self._session, cid is not None, cid or ffi.NULL))

    def offer(self, frozen: bytes) -> None:
        """Let the handshake resume an earlier session; one that cannot be read is passed over."""
        lib.dtls_session_offer(self._session, frozen, len(frozen))

    # Handshake

    def hello(self, datagram: bytes, address: bytes) -> bool:
        """Server: take a ClientHello.

        True: it brought a good cookie, go on with `advance`. False: `take` has the cookie to send, and
        the session is as new. Raises DtlsError.
        """
        return bool(_raise(lib.dtls_hello(self._session, datagram, len(datagram), address, len(address))))

    def advance(self, datagram: bytes | None = None) -> bool:
        """Go on with the handshake, by a datagram or because its timer has run out.

        A client begins so too. True when it is complete; raises DtlsError when it has failed. Either
        way `take` may have something to send.
        """
        return bool(_raise(self.step(datagram)))

    def step(self, datagram: bytes | None = None) -> int:
        """`advance` for who counts: 1 complete, 0 goes on, negative an error for `failure`."""
        if datagram is None:
            return int(lib.dtls_advance(self._session, ffi.NULL, 0))
        return int(lib.dtls_advance(self._session, datagram, len(datagram)))

    def timer(self) -> float | None:
        """Seconds until `advance` wants to be called without a datagram; None: not at all."""
        left_ms = lib.dtls_timer(self._session)
        return None if left_ms < 0 else left_ms / 1000

    # Records

    def open(self, datagram: bytes) -> Opened:
        """Open a datagram; what is not authentic is nothing. Raises DtlsError where all is lost."""
        capacity = len(datagram) + 256
        out = ffi.new("uint8_t[]", capacity)
        flags = ffi.new("int *")
        used = _raise(lib.dtls_open(self._session, datagram, len(datagram), out, capacity, flags))
        seen = flags[0]
        return Opened(_split(out, used), bool(seen & 1), bool(seen & 2), bool(seen & 4))

    def seal(self, message: bytes) -> bytes:
        """The datagram that carries a message. Raises DtlsError."""
        capacity = len(message) + _RECORD_OVERHEAD
        out = ffi.new("uint8_t[]", capacity)
        length = _raise(lib.dtls_seal(self._session, message, len(message), out, capacity))
        return bytes(ffi.buffer(out, length))

    def alert(self, number: int) -> None:
        """Write an alert: CLOSE_NOTIFY, or a fatal one."""
        lib.dtls_alert(self._session, number)

    def take(self) -> tuple[bytes, ...]:
        """The datagrams of handshakes and alerts to send, each once."""
        if not lib.dtls_waiting(self._session):
            return ()
        out = ffi.new("uint8_t[]", _FLIGHT)
        return _split(out, lib.dtls_take(self._session, out, _FLIGHT))

    # What is known

    def proof(self) -> tuple[Kind, bytes] | None:
        """What the client came with, proven once the handshake is complete: identity or SHA-256."""
        name = ffi.new("uint8_t[]", MAX_IDENTITY_BYTES)
        length = ffi.new("size_t *")
        kind = lib.dtls_proof(self._session, name, MAX_IDENTITY_BYTES, length)
        return (Kind(kind), bytes(ffi.buffer(name, length[0]))) if kind else None

    @property
    def suite(self) -> int:
        """The cipher suite's IANA number, chosen as soon as `hello` has read the ClientHello."""
        return int(lib.dtls_suite(self._session))

    @property
    def settled(self) -> bool:
        """The peer knows that the handshake is complete: its last flight need not be sent again."""
        return bool(lib.dtls_settled(self._session))

    @property
    def resumed(self) -> bool:
        return bool(lib.dtls_resumed(self._session))

    @property
    def max_message(self) -> int:
        """The largest message for `seal`, in bytes: the peer may want small records (RFC 6066 4)."""
        return min(int(lib.dtls_max_message(self._session)), MAX_MESSAGE_BYTES)

    @property
    def has_cid(self) -> bool:
        return bool(lib.dtls_uses_cid(self._session))

    # Freezing

    def freeze(self) -> bytes:
        """The session as bytes, without what moves; holds its master secret. Raises DtlsError."""
        out = ffi.new("uint8_t[]", _MAX_FROZEN)
        length = _raise(lib.dtls_freeze(self._session, out, _MAX_FROZEN))
        frozen = bytes(ffi.buffer(out, length))
        ffi.buffer(out)[:] = bytes(_MAX_FROZEN)
        return frozen

    def counters(self) -> bytes:
        """What moves: newest record in, the window below it, number of the next record out; 8 bytes each."""
        out = ffi.new("uint8_t[]", COUNTER_BYTES)
        lib.dtls_counters(self._session, out)
        return bytes(ffi.buffer(out))

    def thaw(self, frozen: bytes, counters: bytes) -> None:
        """Become a session that was frozen; raises DtlsError where it cannot be read."""
        if len(counters) != COUNTER_BYTES:
            raise ValueError("counters are 24 bytes")
        _raise(lib.dtls_thaw(self._session, frozen, len(frozen), counters))

    def recycle(self) -> None:
        """Forget everything: as new, and cheaper than another one."""
        _raise(lib.dtls_session_recycle(self._session))


def work(jobs: Sequence[tuple[Session, bytes | None]]) -> list[int]:
    """`advance` for many sessions in one call, for a thread beside the event loop.

    The results are those of C: 1 complete, 0 goes on, negative an error for `failure`.
    """
    count = len(jobs)
    table = ffi.new("dtls_job[]", count)
    held: list[Any] = []
    for entry, (session, datagram) in zip(table, jobs, strict=True):
        entry.session = session._session
        if datagram is not None:
            data = ffi.from_buffer("uint8_t[]", datagram)
            held.append(data)
            entry.datagram, entry.length = data, len(datagram)
    lib.dtls_work(table, count)
    return [entry.result for entry in table]


def failure(number: int) -> DtlsError:
    """An error of the library in words."""
    text = ffi.new("char[]", 160)
    lib.dtls_describe(number, text, 160)
    code, hint = _FAILURES.get(number, ("dtls_failed", "see docs/certificates.md"))
    words = _CERTIFICATES.get(number) or ffi.string(text).decode("ascii", "replace")
    return DtlsError(code, words, hint, number)


def frozen_id(frozen: bytes) -> bytes:
    """The TLS session id of a frozen session, by which a client can resume it; b"" for none."""
    out = ffi.new("uint8_t[]", 32)
    return bytes(ffi.buffer(out, lib.dtls_frozen_id(frozen, len(frozen), out)))


def frozen_has_cid(frozen: bytes) -> bool:
    """Whether the peer of a frozen session sends a Connection ID of ours."""
    place = 2 + int.from_bytes(frozen[:2], "big") + 64  # behind the library's session and the randoms
    return frozen[place : place + 1] not in (b"", b"\0")


def hello_id(datagram: bytes) -> bytes:
    """The TLS session id that a ClientHello asks to resume; b"" for none."""
    out = ffi.new("uint8_t[]", 32)
    return bytes(ffi.buffer(out, lib.dtls_hello_id(datagram, len(datagram), out)))


def library_version() -> str:
    """The mbedTLS in use, such as "3.6.6"."""
    number = lib.dtls_version()
    return f"{number >> 24}.{number >> 16 & 0xFF}.{number >> 8 & 0xFF}"


UNKNOWN_IDENTITY: Final = -0x6C80
INVALID_MAC: Final = -0x7180
VERIFY_FAILED: Final = -0x2700
UNKNOWN_CA, NOT_LISTED, NOT_VALID_NOW = (VERIFY_FAILED - reason for reason in (1, 2, 3))
NO_CERTIFICATE: Final = -0x7480
BAD_CERTIFICATE: Final = -0x7A00  # of another use than its place asks for, or unreadable
NO_SUITE: Final = -0x6E00  # MBEDTLS_ERR_SSL_HANDSHAKE_FAILURE
TIMEOUT: Final = -0x6800
FATAL_ALERT: Final = -0x7780
_FAILURES: Final = {
    UNKNOWN_IDENTITY: ("psk_unknown", "no device has this PSK identity: compare it with its credentials"),
    INVALID_MAC: ("psk_wrong", "the key is not the one of this identity: give the device the right one"),
    VERIFY_FAILED: ("certificate_refused", "not one that the box makes for a device: issue a new one"),
    BAD_CERTIFICATE: ("certificate_refused", "not one that the box makes for a device: issue a new one"),
    UNKNOWN_CA: ("certificate_foreign", "issue one by this box, or see whether its root has ended"),
    NOT_LISTED: ("certificate_revoked", "issue a new one, if the device is to come in"),
    NOT_VALID_NOW: ("certificate_expired", "issue a new one; compare the clock of the box"),
    NO_CERTIFICATE: ("certificate_missing", "give the device a certificate, or a key and a PSK cipher suite"),
    NO_SUITE: ("handshake_refused", "nothing both sides can do: compare cipher suites and credentials"),
    TIMEOUT: ("handshake_timeout", "the device fell silent: look at its power and network"),
    FATAL_ALERT: (
        "handshake_refused",
        "the device gave up: compare its key, or the CA it trusts",
    ),
}
# Words for what the library has one error for.
_CERTIFICATES: Final = {
    UNKNOWN_CA: "the certificate is by no CA of this box",
    NOT_LISTED: "the certificate was removed, or never given to a device",
    NOT_VALID_NOW: "the certificate has expired, or its time has not come",
}


def _begin() -> None:
    """Make the library ready, once; raises DtlsError where this build of it does not fit."""
    global _begun
    if not _begun:
        number = lib.dtls_begin()
        if number:
            raise DtlsError(
                "dtls_unusable",
                f"mbedTLS {library_version()} does not fit: {failure(number).message}",
                "install the library this version was made for (3.6)",
                number,
            )
        _begun = True


_begun = False


def _made(pointer: Any) -> Any:
    if pointer == ffi.NULL:
        raise MemoryError("the DTLS engine")
    return pointer


def _raise(number: int) -> int:
    if number < 0:
        raise failure(number)
    return number


def _check(number: int, what: str) -> None:
    if number < 0:
        raise ValueError(f"{what}: {failure(number).message}")


def _framed(items: Sequence[bytes]) -> bytes:
    return b"".join(len(item).to_bytes(3, "big") + item for item in items)


def _split(data: Any, length: int) -> tuple[bytes, ...]:
    """Takes apart what stands in C's memory, each piece behind its length in two bytes."""
    if not length:
        return ()
    framed = bytes(ffi.buffer(data, length))
    pieces = []
    at = 0
    while at < length:
        size = framed[at] << 8 | framed[at + 1]
        pieces.append(framed[at + 2 : at + 2 + size])
        at += 2 + size
    return tuple(pieces)
