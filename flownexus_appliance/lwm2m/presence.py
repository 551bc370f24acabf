"""Whether a device can be reached now: online, sleeping or offline.

LwM2M Core 1.1.1 section 6.5 (Queue Mode). A Queue Mode client listens for a while after every
message of its own and is deaf afterwards; without Queue Mode a device is taken to listen until it
leaves a request unanswered or its registration ends.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

# LwM2M Core 1.1.1 6.5: MAX_TRANSMIT_WAIT of RFC 7252 4.8.2 unless the client says otherwise.
AWAKE_WINDOW_S: Final = 93.0


class Presence(StrEnum):
    ONLINE = "online"
    SLEEPING = "sleeping"
    OFFLINE = "offline"


class PresenceEvent(StrEnum):
    HEARD = "heard"  # any message from the device
    WINDOW_OVER = "window_over"  # a Queue Mode client's awake window has passed
    UNANSWERED_QUEUED = "unanswered_queued"  # a Queue Mode client left a request unanswered
    UNANSWERED = "unanswered"  # any other client did
    GONE = "gone"  # the registration ended


PRESENCE_TRANSITIONS: Final[Mapping[tuple[Presence, PresenceEvent], Presence]] = {
    (Presence.OFFLINE, PresenceEvent.HEARD): Presence.ONLINE,
    (Presence.OFFLINE, PresenceEvent.WINDOW_OVER): Presence.OFFLINE,
    (Presence.OFFLINE, PresenceEvent.UNANSWERED_QUEUED): Presence.OFFLINE,
    (Presence.OFFLINE, PresenceEvent.UNANSWERED): Presence.OFFLINE,
    (Presence.OFFLINE, PresenceEvent.GONE): Presence.OFFLINE,
    (Presence.ONLINE, PresenceEvent.HEARD): Presence.ONLINE,
    (Presence.ONLINE, PresenceEvent.WINDOW_OVER): Presence.SLEEPING,
    (Presence.ONLINE, PresenceEvent.UNANSWERED_QUEUED): Presence.SLEEPING,
    (Presence.ONLINE, PresenceEvent.UNANSWERED): Presence.OFFLINE,
    (Presence.ONLINE, PresenceEvent.GONE): Presence.OFFLINE,
    (Presence.SLEEPING, PresenceEvent.HEARD): Presence.ONLINE,
    (Presence.SLEEPING, PresenceEvent.WINDOW_OVER): Presence.SLEEPING,
    (Presence.SLEEPING, PresenceEvent.UNANSWERED_QUEUED): Presence.SLEEPING,
    (Presence.SLEEPING, PresenceEvent.UNANSWERED): Presence.OFFLINE,
    (Presence.SLEEPING, PresenceEvent.GONE): Presence.OFFLINE,
}
