"""Registrations: what a client tells of itself on the Registration interface, and its life.

LwM2M Core 1.1.1 section 6.2; Transport 1.1.1 section 6.4.3 (the CoAP mapping). A registration ends
by Deregister, by a new Register of the same endpoint, when its lifetime and a grace have passed
without an Update, or when the client's credential is taken away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# RFC 7252 4.8.2 EXCHANGE_LIFETIME: an Update sent at the last moment may still be under way for
# this long, and Zephyr clamps short lifetimes upward on its own side.
GRACE_S: Final = 247
DEFAULT_LIFETIME_S: Final = 86_400
# Names that nobody vouches for: whoever may speak without a credential can make up as many.
MAX_PLAIN_ENDPOINTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class RegisteredObject:
    """An object a client supports: its version ("" when it named none) and its instances."""

    version: str = ""
    instances: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Registration:
    """A client's live registration.

    `address` is where the client spoke from when it last registered or updated ("127.0.0.1:5683"),
    `session` the DTLS session it spoke by, "" over plain CoAP. `*_ms` are wall-clock times since
    1970 UTC, `expires_at` is monotonic seconds of this run of the daemon.
    """

    id: str
    endpoint: str
    address: str
    lwm2m_version: str
    lifetime_s: int
    binding: str
    queue_mode: bool
    root_path: str
    objects: Mapping[int, RegisteredObject]
    content_formats: tuple[int, ...]
    message_id: int
    token: bytes
    registered_ms: int
    updated_ms: int
    expires_at: float
    attributes: Mapping[str, str] = field(default_factory=dict)
    session: str = ""

    @property
    def peer(self) -> str:
        """The way to the client, as the wire layer finds it: by the session, else by the address."""
        return self.session or self.address

    @property
    def instances(self) -> dict[int, tuple[int, ...]]:
        return {number: entry.instances for number, entry in self.objects.items()}

    @property
    def expires_ms(self) -> int:
        """When the lifetime ends by the wall clock, the grace not counted."""
        return self.updated_ms + self.lifetime_s * 1000


class RegistrationState(StrEnum):
    UNREGISTERED = "unregistered"
    REGISTERED = "registered"


class RegistrationEvent(StrEnum):
    REGISTER = "register"
    UPDATE = "update"
    DEREGISTER = "deregister"
    EXPIRE = "expire"
    REVOKE = "revoke"


REGISTRATION_TRANSITIONS: Final[Mapping[tuple[RegistrationState, RegistrationEvent], RegistrationState]] = {
    (RegistrationState.UNREGISTERED, RegistrationEvent.REGISTER): RegistrationState.REGISTERED,
    (RegistrationState.REGISTERED, RegistrationEvent.REGISTER): RegistrationState.REGISTERED,
    (RegistrationState.REGISTERED, RegistrationEvent.UPDATE): RegistrationState.REGISTERED,
    (RegistrationState.REGISTERED, RegistrationEvent.DEREGISTER): RegistrationState.UNREGISTERED,
    (RegistrationState.REGISTERED, RegistrationEvent.EXPIRE): RegistrationState.UNREGISTERED,
    (RegistrationState.REGISTERED, RegistrationEvent.REVOKE): RegistrationState.UNREGISTERED,
}
