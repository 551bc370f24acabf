"""The two doors between the fleet and the wire: what devices ask of us, what we ask of devices.

`coap/` hands an `Uplink` or a `Notification` in and answers by the callable it gave along; the fleet
sends a `Downlink` through a `Wire`. Neither side sees the other's libraries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from ..errors import ApplianceError, PeerError
from ..lwm2m.effects import Reply
from ..lwm2m.paths import Path


class Action(StrEnum):
    """What a device can ask (LwM2M Transport 1.1.1 sections 6.4.3 and 6.4.6)."""

    REGISTER = "register"
    UPDATE = "update"
    DEREGISTER = "deregister"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Uplink:
    """A request of a device. `content_format` is None where the option was absent."""

    action: Action
    address: str
    message_id: int
    token: bytes
    query: tuple[str, ...] = ()
    content_format: int | None = None
    payload: bytes = b""
    registration_id: str = ""


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

    address: str
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


class Method(StrEnum):
    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    FETCH = "FETCH"
    IPATCH = "iPATCH"


@dataclass(frozen=True, slots=True)
class Downlink:
    """A request to a device. `observe` is 0 to begin and 1 to end an observation, under `token`."""

    method: Method
    path: Path
    root_path: str = "/"
    query: tuple[str, ...] = ()
    payload: bytes = b""
    content_format: int | None = None
    accept: int | None = None
    observe: int | None = None
    token: bytes = b""
    timeout_s: float = 100.0


@dataclass(frozen=True, slots=True)
class DownlinkReply:
    """What the device answered: the CoAP code as "2.05", the payload put together from its blocks."""

    code: str
    content_format: int | None = None
    payload: bytes = b""
    observe: int | None = None

    @property
    def success(self) -> bool:
        return self.code.startswith("2.")


class DeviceSilent(ApplianceError):
    """The device did not answer in time, or its address cannot be reached."""


class Wire(Protocol):
    """Sends requests to devices."""

    async def request(self, address: str, downlink: Downlink) -> DownlinkReply:
        """Send and wait; raises DeviceSilent, or PeerError where the answer is not CoAP."""
