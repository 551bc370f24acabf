"""Firmware Update as devices tell it (LwM2M Core 1.1.1 E.6, object 5; 1.2 adds results; object 33629), and
the state machine of an update as the box leads it. Pure: who asks and waits is `fleet/firmware/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from .paths import Path

FIRMWARE_UPDATE: Final = 5
# Advanced Firmware Update, an instance for each part of the device (nRF Connect SDK, Anjay).
ADVANCED_FIRMWARE_UPDATE: Final = 33629
OBJECTS: Final = frozenset({FIRMWARE_UPDATE, ADVANCED_FIRMWARE_UPDATE})
DEFAULT_INSTANCE: Final = Path.of(FIRMWARE_UPDATE, 0)
DEVICE_VERSION: Final = Path.of(3, 0, 3)

# The same in both objects.
PACKAGE: Final = 0
PACKAGE_URI: Final = 1
UPDATE: Final = 2
STATE: Final = 3
RESULT: Final = 5
PROTOCOLS: Final = 8
DELIVERY: Final = 9
# Of 33629 alone.
COMPONENT_NAME: Final = 14
COMPONENT_VERSION: Final = 15

# Below which the box serves packages: coaps://host/fw/<ticket>. Short, for Zephyr reads options of up to 12
# bytes, and without a query, for Zephyr drops that.
PACKAGE_PATH: Final = "fw"
# LwM2M Core 1.1.1 E.6: Package URI; older Zephyr clients keep 128.
MAX_URI: Final = 127


class DeviceState(IntEnum):
    """Resource 3."""

    IDLE = 0
    DOWNLOADING = 1
    DOWNLOADED = 2
    UPDATING = 3


class UpdateResult(IntEnum):
    """Resource 5; 10 and 11 since object version 1.1, 12 and 13 of object 33629."""

    INITIAL = 0
    SUCCESS = 1
    NO_STORAGE = 2
    NO_MEMORY = 3
    CONNECTION_LOST = 4
    INTEGRITY_FAILED = 5
    UNSUPPORTED_PACKAGE = 6
    INVALID_URI = 7
    UPDATE_FAILED = 8
    UNSUPPORTED_PROTOCOL = 9
    CANCELLED = 10
    DEFERRED = 11
    CONFLICTING_STATE = 12
    DEPENDENCY_ERROR = 13


# What ends an update. A device that defers installs later by itself.
FAILING: Final = frozenset(UpdateResult) - {
    UpdateResult.INITIAL,
    UpdateResult.SUCCESS,
    UpdateResult.DEFERRED,
}
_NOT_FAILING: Final = frozenset(UpdateResult) - FAILING
# What another try of the same may mend.
PASSING: Final = frozenset({UpdateResult.CONNECTION_LOST})
# What another way of delivery may mend.
OTHER_WAY: Final = frozenset({UpdateResult.INVALID_URI, UpdateResult.UNSUPPORTED_PROTOCOL})


class Protocol(IntEnum):
    """Resource 8: what a device can fetch packages by."""

    COAP = 0
    COAPS = 1
    HTTP = 2
    HTTPS = 3
    COAP_TCP = 4
    COAPS_TCP = 5


class DeliveryMethod(IntEnum):
    """Resource 9."""

    PULL = 0
    PUSH = 1
    BOTH = 2


class Delivery(StrEnum):
    """How a package gets to a device."""

    COAPS = "coaps"  # it fetches it from the box, by CoAP over DTLS
    HTTPS = "https"  # by HTTP over TLS
    COAP = "coap"  # by plain CoAP
    PUSH = "push"  # the box writes it to resource 0, block by block


class UpdateState(StrEnum):
    """Where an update stands; the names are those of the database."""

    WAITING = "WAITING"  # for its turn, or for its device
    PREPARING = "PREPARING"  # the device is asked how it stands
    DOWNLOADING = "DOWNLOADING"  # it was told where the package is, or gets it
    DOWNLOADED = "DOWNLOADED"  # it has it, and is to install it
    UPDATING = "UPDATING"  # it was told to install it
    SUCCEEDED = "SUCCEEDED"  # it said so, and runs the version
    FAILED = "FAILED"
    REVERTED = "REVERTED"  # it came back with the version it had
    CANCELLED = "CANCELLED"


ENDED: Final = frozenset(
    {UpdateState.SUCCEEDED, UpdateState.FAILED, UpdateState.REVERTED, UpdateState.CANCELLED}
)
# Those that count against a campaign.
UNSUCCESSFUL: Final = frozenset({UpdateState.FAILED, UpdateState.REVERTED})


class Step(StrEnum):
    """What can happen to an update."""

    START = "start"  # its turn has come, and the device listens
    OFFER = "offer"  # the package is on its way
    DOWNLOADED = "downloaded"  # the device has it
    INSTALL = "install"  # the device is to install it, or does so by itself
    AGAIN = "again"  # another try, from the beginning
    SUCCEED = "succeed"
    FAIL = "fail"
    REVERT = "revert"
    CANCEL = "cancel"


TRANSITIONS: Final[Mapping[tuple[UpdateState, Step], UpdateState]] = {
    (UpdateState.WAITING, Step.START): UpdateState.PREPARING,
    (UpdateState.PREPARING, Step.OFFER): UpdateState.DOWNLOADING,
    (UpdateState.DOWNLOADING, Step.DOWNLOADED): UpdateState.DOWNLOADED,
    (UpdateState.DOWNLOADING, Step.INSTALL): UpdateState.UPDATING,
    (UpdateState.DOWNLOADED, Step.INSTALL): UpdateState.UPDATING,
    (UpdateState.UPDATING, Step.SUCCEED): UpdateState.SUCCEEDED,
    (UpdateState.UPDATING, Step.REVERT): UpdateState.REVERTED,
    # A device that runs the version already.
    (UpdateState.PREPARING, Step.SUCCEED): UpdateState.SUCCEEDED,
    **{
        (state, Step.AGAIN): UpdateState.WAITING
        for state in (UpdateState.PREPARING, UpdateState.DOWNLOADING, UpdateState.DOWNLOADED)
    },
    **{(state, Step.FAIL): UpdateState.FAILED for state in UpdateState if state not in ENDED},
    **{
        (state, Step.CANCEL): UpdateState.CANCELLED
        for state in UpdateState
        # Nothing stops a device that installs.
        if state not in ENDED | {UpdateState.UPDATING}
    },
}


class Move(StrEnum):
    """What is to be done next about a device's state, if no result says otherwise."""

    OFFER = "offer"
    RESET = "reset"  # what lies there is of somebody else (an empty Package URI: E.6)
    WAIT = "wait"
    INSTALL = "install"
    BEGUN = "begun"  # it installs it already
    AGAIN = "again"  # it has lost what it had
    JUDGE = "judge"  # it is through: the result and the version tell


# By where the update stands and what the device says of itself.
MOVES: Final[Mapping[tuple[UpdateState, DeviceState], Move]] = {
    (UpdateState.PREPARING, DeviceState.IDLE): Move.OFFER,
    (UpdateState.PREPARING, DeviceState.DOWNLOADING): Move.RESET,
    (UpdateState.PREPARING, DeviceState.DOWNLOADED): Move.RESET,
    (UpdateState.PREPARING, DeviceState.UPDATING): Move.WAIT,
    (UpdateState.DOWNLOADING, DeviceState.IDLE): Move.WAIT,
    (UpdateState.DOWNLOADING, DeviceState.DOWNLOADING): Move.WAIT,
    (UpdateState.DOWNLOADING, DeviceState.DOWNLOADED): Move.INSTALL,
    (UpdateState.DOWNLOADING, DeviceState.UPDATING): Move.BEGUN,
    (UpdateState.DOWNLOADED, DeviceState.IDLE): Move.AGAIN,
    (UpdateState.DOWNLOADED, DeviceState.DOWNLOADING): Move.WAIT,
    (UpdateState.DOWNLOADED, DeviceState.DOWNLOADED): Move.INSTALL,
    (UpdateState.DOWNLOADED, DeviceState.UPDATING): Move.BEGUN,
    (UpdateState.UPDATING, DeviceState.IDLE): Move.JUDGE,
    (UpdateState.UPDATING, DeviceState.DOWNLOADING): Move.WAIT,
    (UpdateState.UPDATING, DeviceState.DOWNLOADED): Move.WAIT,
    (UpdateState.UPDATING, DeviceState.UPDATING): Move.WAIT,
}


class Reason(StrEnum):
    """Why an update or a campaign stands where it stands: a word for programs. `REASONS` has sentences."""

    NONE = ""
    RESULT = "result"  # the device's Update Result says it
    REVERTED = "reverted"
    UNCONFIRMED = "unconfirmed"  # the version is right, and the Update Result does not say so
    OTHER_VERSION = "other_version"
    OBJECT_MISSING = "object_missing"
    SILENT = "silent"  # no word from the device for too long
    STALLED = "stalled"  # no progress for too long
    GONE = "gone"  # it did not come back after the installation
    REFUSED = "refused"  # it answered a request with an error
    LOST = "lost"  # it had the package, and has it no more
    BUSY = "busy"  # it is installing something else
    NO_DELIVERY = "no_delivery"  # no way of delivery that both sides have
    PACKAGE_MISSING = "package_missing"  # the file is gone from the box
    RESTARTED = "restarted"  # the box went down in the middle of it
    ALREADY = "already"  # it runs the version
    ASKED = "asked"  # somebody wanted it so
    FAILURES = "failures"  # too many devices of the campaign failed
    DEFECT = "defect"  # of the appliance; the log tells


class CampaignState(StrEnum):
    """Where a campaign stands."""

    SCHEDULED = "SCHEDULED"  # it has a start that is ahead
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"  # no device is begun; those that are go on
    STOPPED = "STOPPED"  # for good: what had not begun was cancelled
    DONE = "DONE"


class CampaignStep(StrEnum):
    """What can happen to a campaign."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    SCHEDULE = "schedule"  # resumed, and its start is ahead
    STOP = "stop"
    FINISH = "finish"  # each of its devices has ended


CAMPAIGN_TRANSITIONS: Final[Mapping[tuple[CampaignState, CampaignStep], CampaignState]] = {
    (CampaignState.SCHEDULED, CampaignStep.START): CampaignState.RUNNING,
    (CampaignState.SCHEDULED, CampaignStep.PAUSE): CampaignState.PAUSED,
    (CampaignState.SCHEDULED, CampaignStep.STOP): CampaignState.STOPPED,
    (CampaignState.SCHEDULED, CampaignStep.FINISH): CampaignState.DONE,
    (CampaignState.RUNNING, CampaignStep.PAUSE): CampaignState.PAUSED,
    (CampaignState.RUNNING, CampaignStep.STOP): CampaignState.STOPPED,
    (CampaignState.RUNNING, CampaignStep.FINISH): CampaignState.DONE,
    (CampaignState.PAUSED, CampaignStep.RESUME): CampaignState.RUNNING,
    (CampaignState.PAUSED, CampaignStep.SCHEDULE): CampaignState.SCHEDULED,
    (CampaignState.PAUSED, CampaignStep.STOP): CampaignState.STOPPED,
    (CampaignState.PAUSED, CampaignStep.FINISH): CampaignState.DONE,
}
CAMPAIGN_ENDED: Final = frozenset({CampaignState.STOPPED, CampaignState.DONE})


@dataclass(frozen=True, slots=True)
class Told:
    """What a device has told of its Firmware Update instance; None for what it has not."""

    state: int | None = None
    result: int | None = None
    version: str | None = None
    protocols: tuple[int, ...] | None = None
    method: int | None = None


def deliveries(told: Told, *, secure: bool, open_ways: Sequence[Delivery]) -> tuple[Delivery, ...]:
    """The ways that a device says it can take and the box has, the best first.

    `secure`: the device is registered over DTLS. `open_ways` are those that the box serves. A device that
    says nothing of protocols can fetch by what it is registered with (E.6, resource 8).
    """
    method = told.method
    found: list[Delivery] = []
    if method in (None, DeliveryMethod.PULL, DeliveryMethod.BOTH):
        spoken = {Protocol.COAPS if secure else Protocol.COAP} if told.protocols is None else told.protocols
        for protocol, delivery in (
            (Protocol.COAPS, Delivery.COAPS),
            (Protocol.HTTPS, Delivery.HTTPS),
            (Protocol.COAP, Delivery.COAP),
        ):
            if protocol in spoken:
                found.append(delivery)
    if method is None:
        found.insert(0, Delivery.PUSH)  # what every client has that tells nothing
    elif method in (DeliveryMethod.PUSH, DeliveryMethod.BOTH):
        found.append(Delivery.PUSH)
    return tuple(delivery for delivery in found if delivery in open_ways)


def fails(result: int | None) -> bool:
    """Whether an Update Result says that it came to nothing; one that no standard names does too."""
    return result is not None and result not in _NOT_FAILING


def same_version(told: str, wanted: Sequence[str]) -> bool:
    """Whether a version that a device tells is one of those; a `v` before it and `+0` behind it mean
    nothing."""
    plain = _plain(told)
    return bool(plain) and any(_plain(version) == plain for version in wanted)


def version_path(instance: Path) -> Path:
    """Where the version is told that an instance updates."""
    if instance[0] == ADVANCED_FIRMWARE_UPDATE:
        return instance.child(COMPONENT_VERSION)
    return DEVICE_VERSION


def _plain(version: str) -> str:
    return version.strip().removeprefix("v").removeprefix("V").removesuffix("+0")
