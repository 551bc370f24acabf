"""The way between one simulated device and one server: plain, or a DTLS session; no socket, no clock.

RFC 6347 (DTLS 1.2), RFC 9146 (Connection ID), LwM2M Transport 1.1.1 section 5. Owns the handshake, its
retransmission, resumption by session id, and parking: of a fleet's sessions only so many are live in
the engine, 40 kB each, the others are frozen to 200 bytes. The engine's timers run on its own clock,
which is asked; how long a handshake may take in all goes by `now`.
"""

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final, Protocol

from ..coap.dtls.engine import CLOSE_NOTIFY, Context, DtlsError, Session
from ..errors import clean
from .credentials import Credential, context
from .statistics import Statistics

HANDSHAKE_S: Final = 120.0  # in which a handshake must be complete
MAX_CID_BYTES: Final = 8  # of the engine
MAX_LIVE: Final = 256
_SPARE: Final = 8  # sessions of the engine kept for the next one to wake
_PARK_TRIES: Final = 4


@dataclass(frozen=True, slots=True)
class DtlsOptions:
    """DTLS for a fleet.

    `cid_bytes` is the length of the Connection ID the server shall use, 0 as Zephyr has it: the device
    then sends records with the server's id and gets them without. None: no Connection IDs at all.
    `live` sessions stay in the engine. `timeouts_ms` are the first and the longest wait before a flight
    of a handshake is sent again, by default those of mbedTLS in Zephyr.
    """

    cid_bytes: int | None = 0
    resume: bool = True
    live: int = MAX_LIVE
    timeouts_ms: tuple[int, int] = (1000, 60_000)


LIKE_ZEPHYR: Final = DtlsOptions()


class Listener(Protocol):
    """The device at this end of a channel."""

    def received(self, message: bytes, now: float) -> None:
        """A message has come."""

    def opened(self, now: float) -> None:
        """Messages can go."""

    def failed(self, now: float) -> None:
        """The handshake came to nothing; `ready` begins another one."""

    def closed(self, now: float) -> None:
        """The server ended the session, or it broke."""


class Channel(Protocol):
    """`deadline` is when `handle_timer` wants to be called, `secure` whether there is a session."""

    deadline: float
    secure: bool

    @property
    def busy(self) -> bool:
        """Whether a handshake is under way."""

    def ready(self, now: float) -> bool:
        """Whether messages can go; if not, see to it that they can: the listener is told."""

    def send(self, message: bytes) -> None:
        """Put a message on the wire; without a session it is lost."""

    def receive(self, datagram: bytes, now: float) -> None:
        """A datagram has come."""

    def handle_timer(self, now: float) -> None:
        """Do what is due."""

    def drop(self, resumable: bool = True) -> None:
        """End without a word; forget the session for good if not `resumable`."""

    def close(self) -> None:
        """End, and tell the server."""


class PlainChannel:
    """Messages as they are."""

    __slots__ = ("_listener", "_transmit", "deadline", "secure")

    def __init__(self, transmit: Callable[[bytes], None], listener: Listener) -> None:
        self._transmit = transmit
        self._listener = listener
        self.deadline = math.inf
        self.secure = False

    @property
    def busy(self) -> bool:
        return False

    def ready(self, now: float) -> bool:
        return True

    def send(self, message: bytes) -> None:
        self._transmit(message)

    def receive(self, datagram: bytes, now: float) -> None:
        self._listener.received(datagram, now)

    def handle_timer(self, now: float) -> None:
        """There is nothing to wait for."""

    def drop(self, resumable: bool = True) -> None:
        """There is nothing to end."""

    def close(self) -> None:
        """There is nothing to end."""


class Sessions:
    """The engine's sessions of a fleet: so many live, the least recently used ones parked."""

    def __init__(self, options: DtlsOptions) -> None:
        self.options = options
        self._live: dict[DtlsChannel, None] = {}
        self._spare: list[Session] = []
        self._context: Context | None = None

    @property
    def live(self) -> int:
        """How many established sessions are in the engine."""
        return len(self._live)

    def used(self, channel: "DtlsChannel") -> None:
        """A channel has a live session and was just used; another one may be parked for it."""
        self._live.pop(channel, None)
        self._live[channel] = None
        if len(self._live) > self.options.live:
            # One that is not settled cannot be parked; the next exchange will see to it.
            for candidate in tuple(islice(self._live, _PARK_TRIES)):
                if candidate is not channel and candidate.park():
                    break

    def forget(self, channel: "DtlsChannel") -> None:
        """A channel has no live session any more."""
        self._live.pop(channel, None)

    def thaw(self, frozen: bytes, counters: bytes) -> Session:
        """A live session of a parked one; raises DtlsError."""
        if self._context is None:
            # A frozen session brings its keys; only the length of the Connection ID must be as it was.
            self._context = Context(client=True, cid_bytes=self.options.cid_bytes or 0)
        session = self._spare.pop() if self._spare else Session(self._context)
        session.thaw(frozen, counters)
        return session

    def reuse(self, session: Session) -> None:
        """Take back what `thaw` gave, when it is of use for the next one."""
        if session.context is self._context and len(self._spare) < _SPARE:
            session.recycle()
            self._spare.append(session)


class Link(StrEnum):
    """Where a DTLS channel stands."""

    CLOSED = "closed"
    SHAKING = "shaking"  # a handshake is under way
    OPEN = "open"
    PARKED = "parked"  # established, and frozen


class Turn(StrEnum):
    BEGIN = "begin"
    COMPLETE = "complete"
    PARK = "park"
    WAKE = "wake"
    END = "end"  # failed, closed, dropped


TURNS: Final[Mapping[tuple[Link, Turn], Link]] = {
    (Link.CLOSED, Turn.BEGIN): Link.SHAKING,
    (Link.SHAKING, Turn.COMPLETE): Link.OPEN,
    (Link.OPEN, Turn.PARK): Link.PARKED,
    (Link.PARKED, Turn.WAKE): Link.OPEN,
    **{(link, Turn.END): Link.CLOSED for link in Link},
}


class DtlsChannel:
    """One device's DTLS sessions with one server, one at a time."""

    __slots__ = (
        "_context",
        "_counters",
        "_frozen",
        "_give_up",
        "_listener",
        "_session",
        "_sessions",
        "_statistics",
        "_transmit",
        "deadline",
        "link",
        "secure",
    )

    def __init__(
        self,
        transmit: Callable[[bytes], None],
        credential: Credential,
        sessions: Sessions,
        listener: Listener,
        statistics: Statistics,
    ) -> None:
        """Raises ValueError for a credential that cannot be used."""
        self._transmit = transmit
        self._sessions = sessions
        self._listener = listener
        self._statistics = statistics
        options = sessions.options
        self._context = context(credential, options.cid_bytes or 0, options.timeouts_ms)
        self._session: Session | None = None
        self._frozen = b""  # the session now, and once it has ended the one to be resumed
        self._counters = b""  # of a parked session
        self._give_up = math.inf
        self.link = Link.CLOSED
        self.deadline = math.inf
        self.secure = True

    @property
    def busy(self) -> bool:
        return self.link is Link.SHAKING

    def ready(self, now: float) -> bool:
        if self.link is Link.CLOSED:
            self._begin(now)
        return self.link is not Link.SHAKING

    def send(self, message: bytes) -> None:
        try:
            session = self._awake()
            if session is None:
                self._statistics.unsent += 1
                return
            record = session.seal(message)
        except DtlsError as error:
            self._broken(error)
            return
        self._transmit(record)
        self._sessions.used(self)

    def receive(self, datagram: bytes, now: float) -> None:
        if self.link is Link.SHAKING:
            self._advance(datagram, now)
            return
        try:
            session = self._awake()
            if session is None:
                self._statistics.records_unopened += 1
                return
            opened = session.open(datagram)
        except DtlsError as error:
            self._broken(error)
            self._listener.closed(now)
            return
        # Its own last flight, if the server asks for it again.
        self._flush(session)
        self._sessions.used(self)
        self._statistics.records_unopened += not opened.authentic
        for message in opened.messages:
            self._listener.received(message, now)
            if self._session is not session:
                return  # what was asked for ended it
        if opened.closed:
            self._statistics.sessions_ended += 1
            self.drop()
            self._listener.closed(now)

    def handle_timer(self, now: float) -> None:
        if self.link is not Link.SHAKING or now < self.deadline:
            return
        if now >= self._give_up:
            self._fail("handshake_timeout: no answer", now)
        else:
            self._advance(None, now)

    def drop(self, resumable: bool = True) -> None:
        if self._session is not None:
            self._sessions.reuse(self._session)
            self._session = None
        self._sessions.forget(self)
        self._counters = b""
        if not (resumable and self._sessions.options.resume):
            self._frozen = b""
        self.deadline = self._give_up = math.inf
        self._turn(Turn.END)

    def close(self) -> None:
        try:
            session = self._awake()
        except DtlsError:
            session = None
        if session is not None:
            session.alert(CLOSE_NOTIFY)
            self._flush(session)
        self.drop()

    def park(self) -> bool:
        """Freeze the session and give its memory back; False while that cannot be."""
        session = self._session
        # After a resumption the last flight is ours, and the server may want it again.
        if self.link is not Link.OPEN or session is None or not session.settled:
            return False
        self._counters = session.counters()
        self._session = None
        self._sessions.reuse(session)
        self._sessions.forget(self)
        self._turn(Turn.PARK)
        return True

    # Within

    def _turn(self, turn: Turn) -> None:
        self.link = TURNS[self.link, turn]

    def _begin(self, now: float) -> None:
        """The first flight goes out by `handle_timer`: whoever asks is in the midst of something."""
        options = self._sessions.options
        session = Session(self._context)
        session.use_cid(None if options.cid_bytes is None else secrets.token_bytes(options.cid_bytes))
        if self._frozen:
            session.offer(self._frozen)
        self._turn(Turn.BEGIN)
        self._session = session
        self.deadline = now
        self._give_up = now + HANDSHAKE_S

    def _advance(self, datagram: bytes | None, now: float) -> None:
        session = self._session
        assert session is not None
        try:
            complete = session.advance(datagram)
        except DtlsError as error:
            self._flush(session)  # an alert that says why
            self._fail(f"{error.code}: {error.message}", now)
            return
        self._flush(session)
        if complete:
            self._complete(session, now)
            return
        wait_s = session.timer()
        self.deadline = self._give_up if wait_s is None else min(self._give_up, now + wait_s)

    def _complete(self, session: Session, now: float) -> None:
        self._turn(Turn.COMPLETE)
        self._frozen = session.freeze()
        self.deadline = self._give_up = math.inf
        self._statistics.handshakes += 1
        self._statistics.handshakes_resumed += session.resumed
        self._sessions.used(self)
        self._listener.opened(now)

    def _fail(self, why: str, now: float) -> None:
        self._statistics.handshakes_failed += 1
        self._statistics.last_handshake_failure = clean(why)
        self.drop(resumable=False)
        self._listener.failed(now)

    def _broken(self, error: DtlsError) -> None:
        """The session cannot go on; RFC 5246 7.2.2: nor can it be resumed."""
        self._statistics.sessions_ended += 1
        self._statistics.last_handshake_failure = clean(f"{error.code}: {error.message}")
        self.drop(resumable=False)

    def _awake(self) -> Session | None:
        """The session, live; None without one. Raises DtlsError."""
        if self.link is Link.PARKED:
            self._session = self._sessions.thaw(self._frozen, self._counters)
            self._turn(Turn.WAKE)
        return self._session if self.link is Link.OPEN else None

    def _flush(self, session: Session) -> None:
        for datagram in session.take():
            self._transmit(datagram)
