"""The life of a simulated device's registration, as a table.

LwM2M Core 1.1.1 section 6.2 (Client Registration interface) and 6.5 (Queue Mode). What follows from
a step is done by `device.py`; a pair that is not listed is a defect and raises KeyError.
"""

from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import Final

FIRST_RETRY_S: Final = 2.0
LAST_RETRY_S: Final = 60.0
_MAX_DOUBLINGS: Final = 10


class State(StrEnum):
    OFF = "off"  # not yet started, rebooting, disabled or stopped
    REGISTERING = "registering"
    WAITING = "waiting"  # a Register failed; the next one is due later
    REGISTERED = "registered"
    UPDATING = "updating"
    SLEEPING = "sleeping"  # Queue Mode: deaf until it wakes by itself
    DEREGISTERING = "deregistering"


class Step(StrEnum):
    START = "start"
    ACCEPTED = "accepted"  # Register or Update got its success
    REFUSED = "refused"  # Register or Update got an error, a reset or nothing
    RETRY = "retry"
    DUE = "due"  # an Update is due
    FALL_ASLEEP = "fall_asleep"
    LOST = "lost"  # a notification or Send stayed unanswered
    DEREGISTER = "deregister"
    DONE = "done"  # the Deregister is over, whatever came of it
    SWITCH_OFF = "switch_off"  # a reboot, or a stop without a word


_S = State
TRANSITIONS: Final[Mapping[tuple[State, Step], State]] = {
    (_S.OFF, Step.START): _S.REGISTERING,
    (_S.REGISTERING, Step.ACCEPTED): _S.REGISTERED,
    (_S.REGISTERING, Step.REFUSED): _S.WAITING,
    (_S.WAITING, Step.RETRY): _S.REGISTERING,
    (_S.REGISTERED, Step.DUE): _S.UPDATING,
    (_S.REGISTERED, Step.FALL_ASLEEP): _S.SLEEPING,
    (_S.REGISTERED, Step.LOST): _S.REGISTERING,
    (_S.REGISTERED, Step.DEREGISTER): _S.DEREGISTERING,
    (_S.UPDATING, Step.ACCEPTED): _S.REGISTERED,
    (_S.UPDATING, Step.REFUSED): _S.REGISTERING,
    (_S.UPDATING, Step.LOST): _S.REGISTERING,
    (_S.UPDATING, Step.DEREGISTER): _S.DEREGISTERING,
    (_S.SLEEPING, Step.DUE): _S.UPDATING,
    (_S.SLEEPING, Step.DEREGISTER): _S.DEREGISTERING,
    (_S.DEREGISTERING, Step.DONE): _S.OFF,
    **{(state, Step.SWITCH_OFF): _S.OFF for state in State},
}

# The server knows the device in these.
KNOWN: Final = frozenset({_S.REGISTERED, _S.UPDATING, _S.SLEEPING})
# The device may report in these.
AWAKE: Final = frozenset({_S.REGISTERED, _S.UPDATING})


def backoff_s(failures: int, entropy: Random) -> float:
    """How long to wait after so many failures in a row before the present one: ever longer, with jitter."""
    longest = min(LAST_RETRY_S, FIRST_RETRY_S * (1 << min(failures, _MAX_DOUBLINGS)))
    return longest * entropy.uniform(0.5, 1.0)
