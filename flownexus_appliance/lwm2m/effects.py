"""What the core wants done: frozen orders for the driver, which persists before it replies."""

from dataclasses import dataclass, field
from enum import StrEnum

from .observation import Observation
from .paths import Path
from .presence import Presence
from .registration import Registration
from .values import Record


class Success(StrEnum):
    """The good endings of a request to us; the wire layer knows their CoAP codes."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    CONTENT = "content"


class Change(StrEnum):
    """What became of a registration, as events and logs name it."""

    REGISTERED = "registered"
    UPDATED = "updated"
    DEREGISTERED = "deregistered"
    EXPIRED = "expired"
    REVOKED = "revoked"  # by us: what the client proved itself by is good no more


@dataclass(frozen=True, slots=True)
class PersistRegistration:
    registration: Registration


@dataclass(frozen=True, slots=True)
class RemoveRegistration:
    registration: Registration


@dataclass(frozen=True, slots=True)
class PersistObservation:
    observation: Observation


@dataclass(frozen=True, slots=True)
class RemoveObservation:
    token: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the request at hand; `location` are the Location-Path options, in order.

    `content_format` is that of the payload, None where there is none.
    """

    success: Success
    location: tuple[str, ...] = ()
    payload: bytes = field(default=b"", repr=False)  # a Bootstrap-Pack holds keys
    content_format: int | None = None


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the world of a registration's change.

    `before` is the registration that an Update or a Register changed or replaced; that of a Register which
    was only repeated has the same id.
    """

    change: Change
    registration: Registration
    before: Registration | None = None


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    endpoint: str
    presence: Presence


@dataclass(frozen=True, slots=True)
class Onboard:
    """Discover, read and observe the device in the background."""

    endpoint: str


Effect = (
    PersistRegistration
    | RemoveRegistration
    | PersistObservation
    | RemoveObservation
    | Reply
    | Announce
    | PresenceChanged
    | Onboard
)
Effects = tuple[Effect, ...]


class Source(StrEnum):
    """By what way values came."""

    READ = "read"  # the answer to a Read or an Observe
    NOTIFY = "notify"
    SEND = "send"
    INGEST = "ingest"  # by HTTP, from another gateway


@dataclass(frozen=True, slots=True)
class Report:
    """Values that a device told and that are on disk.

    `paths` are those of the observation or the request, empty for a Send; `received_ms` stamps the
    records that have no time of their own.
    """

    endpoint: str
    source: Source
    records: tuple[Record, ...]
    received_ms: int
    paths: tuple[Path, ...] = ()
    composite: bool = False
