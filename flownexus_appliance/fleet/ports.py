"""The two doors between the fleet and the wire: what devices ask of us, what we ask of devices.

`coap/` hands an `Uplink` or a `Notification` in and answers by the callable it gave along; the fleet
sends a `Downlink` through a `Wire`. Neither side sees the other's libraries.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# What is kept is defined where it is kept; it belongs to these doors all the same.
from ..db.credentials import Proof as Proof
from ..db.credentials import ProofKind as ProofKind
from ..db.sessions import SavedSession as SavedSession
from ..errors import ApplianceError, PeerError
from ..lwm2m.effects import Reply
from ..lwm2m.paths import Path


class Action(StrEnum):
    """What a device can ask (LwM2M Transport 1.1.1 sections 6.4.2, 6.4.3 and 6.4.6)."""

    REGISTER = "register"
    UPDATE = "update"
    DEREGISTER = "deregister"
    SEND = "send"
    BOOTSTRAP = "bootstrap"  # POST /bs (6.4.2)
    BOOTSTRAP_PACK = "bootstrap_pack"  # GET /bspack (LwM2M Transport 1.2 6.4.2)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who a message came from.

    `peer` is the way back, and the key of what is known of it: the address of plain CoAP
    ("192.0.2.1:5683"), or the name of a DTLS session, which outlives a change of address and a
    restart. `address` is where it spoke from, for people. `endpoint` is whom the session's
    credential belongs to, None over plain CoAP; with the enrolment key, which belongs to nobody,
    `enrolling` is set. `local_host` is our address as the device reached it, "" where unknown.
    """

    peer: str
    address: str
    endpoint: str | None = None
    enrolling: bool = False
    local_host: str = field(default="", compare=False)

    @property
    def secure(self) -> bool:
        return self.peer != self.address

    @property
    def session(self) -> str:
        """The name of the DTLS session, "" over plain CoAP."""
        return self.peer if self.secure else ""


@dataclass(frozen=True, slots=True)
class Uplink:
    """A request of a device. `content_format` and `accept` are None where the option was absent."""

    action: Action
    sender: Sender
    message_id: int
    token: bytes
    query: tuple[str, ...] = ()
    content_format: int | None = None
    payload: bytes = b""
    registration_id: str = ""
    accept: int | None = None


# Answers an uplink once, now or later. None: stay silent, so that the device sends it again.
Respond = Callable[[Reply | PeerError | None], None]


class Verdict(StrEnum):
    """How a notification is answered."""

    TAKEN = "taken"  # acknowledge it
    REFUSED = "refused"  # reset it: the device then drops the observation (RFC 7641 3.6)
    SILENT = "silent"  # no answer: the device sends it again or registers anew


@dataclass(frozen=True, slots=True)
class Notification:
    """A response that came by itself: `code` as "2.05", options None where absent.

    `partial`: the payload is only the first block (RFC 7959 3.4), the rest waits to be read.
    """

    sender: Sender
    token: bytes
    observe: int | None
    code: str
    content_format: int | None
    payload: bytes
    partial: bool = False

    @property
    def success(self) -> bool:
        return self.code.startswith("2.")


Judge = Callable[[Verdict], None]


class Uplinks(Protocol):
    """What the wire layer gives its messages to."""

    def receive(self, uplink: Uplink, respond: Respond) -> None:
        """Handle a request; `respond` is called exactly once."""

    def notified(self, notification: Notification, judge: Judge) -> None:
        """Handle a notification; `judge` is called exactly once."""


class ObservationShown(StrEnum):
    """How an observation stands, as people and listeners are told."""

    ACTIVE = "active"  # the device reports it
    WAITING = "waiting"  # for the next registration, or for its turn
    REFUSED = "refused"  # by the device
    OFF = "off"  # somebody ended it


class Body(Protocol):
    """What is too large to hold: read as it is sent."""

    @property
    def size(self) -> int:
        """In bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """That many bytes from there, fewer at the end; raises PackageGone when the file is not what it
        was."""


class Package(Body, Protocol):
    """A firmware package that a device fetches."""

    @property
    def etag(self) -> bytes:
        """What tells this package from any other, 8 bytes."""

    def fetched(self, until: int) -> None:
        """The device has come for everything before this byte; `size` is the end of it."""


class Packages(Protocol):
    """What the wire serves to devices beside the protocol's own paths: `GET /fw/<ticket>`."""

    def open(self, ticket: str, sender: Sender | None) -> Package:
        """The package of a ticket; `sender` is None for who comes by HTTP.

        Raises PeerError: `not_found`, `identity_refused`; PackageGone.
        """


class PackageGone(ApplianceError):
    """The file of a package cannot be read."""

    def __init__(self, message: str) -> None:
        super().__init__("package_missing", message, "add the firmware again")


class Method(StrEnum):
    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    FETCH = "FETCH"
    IPATCH = "iPATCH"


@dataclass(frozen=True, slots=True)
class Downlink:
    """A request to a device. `observe` is 0 to begin and 1 to end an observation, under `token`.

    `timeout_s` is the patience for each exchange, of which a large body takes many. `once`: it must not be
    carried out twice, and Zephyr knows no duplicate (zephyr #86978), so it is repeated late and rarely.

    A `body` is sent in the place of the payload, in blocks: the first has at least 10 s before it is repeated
    (zephyr #71351: a device that erases its flash takes its time, and would take the repetition for another
    beginning). `sent` is told after each block how many bytes the device has acknowledged; 0: from the start.
    """

    method: Method
    path: Path
    root_path: str = "/"
    query: tuple[str, ...] = ()
    payload: bytes = field(default=b"", repr=False)  # bootstrap writes keys
    content_format: int | None = None
    accept: int | None = None
    observe: int | None = None
    token: bytes = b""
    timeout_s: float = 100.0
    once: bool = False
    body: Body | None = None
    sent: Callable[[int], None] | None = None


@dataclass(frozen=True, slots=True)
class DownlinkReply:
    """What the device answered: the CoAP code as "2.05", the payload put together from its blocks.

    `location` are its Location-Path options.
    """

    code: str
    content_format: int | None = None
    payload: bytes = b""
    observe: int | None = None
    location: tuple[str, ...] = ()

    @property
    def success(self) -> bool:
        return self.code.startswith("2.")


class DeviceSilent(ApplianceError):
    """The device did not answer in time, or its address cannot be reached.

    `sent` is False where it was not even asked.
    """

    def __init__(self, code: str, message: str, hint: str = "", *, sent: bool = True) -> None:
        super().__init__(code, message, hint)
        self.sent = sent


@dataclass(frozen=True, slots=True)
class Ports:
    """UDP ports of CoAP and of CoAP over DTLS; 0 where it is off."""

    coap: int = 0
    coaps: int = 0


class Wire(Protocol):
    """Sends requests to devices."""

    async def request(self, peer: str, downlink: Downlink) -> DownlinkReply:
        """Send to a `Sender.peer` and wait.

        Raises DeviceSilent, and PeerError where the answer is not CoAP; PackageGone of a body.
        """

    def local_host(self, peer: str) -> str:
        """The address of ours that a peer reaches us by, "" where it is not known."""

    @property
    def ports(self) -> "Ports":
        """Where devices reach us."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A CoAP message as it went over the wire, in words.

    `peer` is a `Sender.peer`, `kind` CON, NON, ACK or RST, `code` a method ("GET") or a response code
    ("2.05"), "" of an empty message. `options` reads `Uri-Path: "3", "0" - Accept: 112`. `payload` is None
    where it may hold keys.
    """

    peer: str
    incoming: bool
    kind: str
    code: str
    message_id: int
    token: bytes
    options: str
    payload: bytes | None = field(repr=False)
    content_format: int | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom a proof stands for: an endpoint, or (None) whoever may enrol; by which credential."""

    endpoint: str | None
    credential_id: int


class Keyring(Protocol):
    """What the DTLS side asks and is told of credentials; all in the event loop."""

    def secrets(self) -> Mapping[Proof, bytes]:
        """All that may come in now, with the key of a PSK, b"" for a certificate."""

    def admit(self, proof: Proof) -> Admission | None:
        """Whom a proof stands for, now that it was used; None where it is good no more."""

    def whose(self, proof: Proof) -> Admission | None:
        """The same for who only wants to know: it is no use of the credential."""

    def watch(self, changed: Callable[[Proof, bytes | None], None]) -> None:
        """Have `changed` called with each proof that is let in (its secret) or is good no more (None).

        The sessions that a proof has made end with it; one that gets another secret is told twice.
        """


class SessionKeeper(Protocol):
    """Keeps DTLS sessions; what is put is gathered and on disk with the next commit."""

    def put_session(self, saved: SavedSession) -> None:
        """Keep a session, in place of an earlier state of it."""

    def put_session_counters(self, counters: Mapping[bytes, tuple[bytes, str, int]]) -> None:
        """Keep counters, address and time of last use (ms since 1970) by session id."""

    def remove_session(self, session_id: bytes) -> None:
        """Forget a session."""

    def commit(self) -> asyncio.Future[None]:
        """Done when all that was put so far is on disk; shared, fails with StoreError."""
