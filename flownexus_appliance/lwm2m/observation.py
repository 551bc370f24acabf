"""Observations: what a device reports by itself, under a token of ours.

LwM2M Core 1.1.1 section 6.4 (Information Reporting); RFC 7641 (Observe). One observation a path or,
for Observe-Composite, a list of paths. Kept by endpoint and token, not by address, so that a new
address of the device does not lose it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .paths import Path

# RFC 7641 3.4: a notification is newer by its 24-bit number, or by 128 s having passed.
_SEQUENCE_HALF: Final = 2**23
_SEQUENCE_RESET_S: Final = 128.0

TOKEN_BYTES: Final = 8


class ObservationState(StrEnum):
    REQUESTED = "requested"
    ACTIVE = "active"
    ENDED = "ended"


class ObservationEvent(StrEnum):
    ACCEPTED = "accepted"  # the device answered the Observe with an Observe option
    REFUSED = "refused"  # it answered without one, with an error, or not at all
    NOTIFIED = "notified"
    CANCELLED = "cancelled"  # by us, or replaced by a newer one on the same paths
    FAILED = "failed"  # the device sent an error notification, which ends the observation


OBSERVATION_TRANSITIONS: Final[Mapping[tuple[ObservationState, ObservationEvent], ObservationState]] = {
    (ObservationState.REQUESTED, ObservationEvent.ACCEPTED): ObservationState.ACTIVE,
    (ObservationState.REQUESTED, ObservationEvent.REFUSED): ObservationState.ENDED,
    # A notification may overtake the answer to the Observe itself.
    (ObservationState.REQUESTED, ObservationEvent.NOTIFIED): ObservationState.ACTIVE,
    (ObservationState.REQUESTED, ObservationEvent.CANCELLED): ObservationState.ENDED,
    (ObservationState.REQUESTED, ObservationEvent.FAILED): ObservationState.ENDED,
    (ObservationState.ACTIVE, ObservationEvent.ACCEPTED): ObservationState.ACTIVE,
    (ObservationState.ACTIVE, ObservationEvent.NOTIFIED): ObservationState.ACTIVE,
    (ObservationState.ACTIVE, ObservationEvent.CANCELLED): ObservationState.ENDED,
    (ObservationState.ACTIVE, ObservationEvent.REFUSED): ObservationState.ENDED,
    (ObservationState.ACTIVE, ObservationEvent.FAILED): ObservationState.ENDED,
}


@dataclass(frozen=True, slots=True)
class Observation:
    """An observation as it is kept: token, endpoint, paths, the Content-Format asked for.

    `composite`: by Observe-Composite, which may be of a single path too.
    """

    token: bytes
    endpoint: str
    paths: tuple[Path, ...]
    content_format: int
    created_ms: int
    composite: bool = False

    @property
    def base(self) -> Path:
        """What its notifications answer for: the path, the root for a composite one."""
        return Path.ROOT if self.composite else self.paths[0]


class Freshness(StrEnum):
    NEW = "new"
    REPEATED = "repeated"  # the same notification again: its acknowledgement was lost
    STALE = "stale"  # overtaken by a newer one


class NotificationOrder:
    """Tells new notifications of one observation from repeated and overtaken ones.

    RFC 7641 section 3.4. After a restart nothing is known and the first one counts as new.
    """

    __slots__ = ("_heard_at", "_number")

    def __init__(self) -> None:
        self._number: int | None = None
        self._heard_at = 0.0

    def judge(self, number: int, now: float) -> Freshness:
        """Judge without remembering; `number` is the Observe option, `now` monotonic seconds."""
        last = self._number
        if last is None or now > self._heard_at + _SEQUENCE_RESET_S:
            return Freshness.NEW
        if number == last:
            return Freshness.REPEATED
        ahead = (number - last) % (2 * _SEQUENCE_HALF)
        return Freshness.NEW if ahead < _SEQUENCE_HALF else Freshness.STALE

    def accept(self, number: int, now: float) -> None:
        """Remember a notification that was taken in, unless a newer one was in the meantime."""
        if self.judge(number, now) is Freshness.NEW:
            self._number = number
            self._heard_at = now
