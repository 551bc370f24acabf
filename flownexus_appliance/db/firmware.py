"""Firmware, its updates and its campaigns as they are kept (schema 6).

Owns the types; their SQL is in `firmware_rows`, and `fleet/firmware/` decides. The packages themselves are
files: `package_files`.
"""

from dataclasses import dataclass, field

from ..lwm2m.firmware import (
    CAMPAIGN_ENDED,
    DEFAULT_INSTANCE,
    ENDED,
    CampaignState,
    Delivery,
    Reason,
    UpdateState,
)
from ..lwm2m.paths import Path


@dataclass(frozen=True, slots=True)
class Image:
    """What the MCUboot header of a package says: `version` as 1.2.3+4, or 1.2.3 for build 0; `size` in bytes
    of header, image and trailer; whether there is a signature in the trailer."""

    version: str
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Firmware:
    """A firmware package. `version` is what a device tells that runs it; `size` in bytes.

    `model`, `tag` and `from_version` say which devices it is for, "" for any. `image` is None where the
    package has no MCUboot header.
    """

    id: int
    version: str
    file_name: str
    size: int
    sha256: bytes
    added_by: str
    added_ms: int
    image: Image | None = None
    note: str = ""
    model: str = ""
    tag: str = ""
    from_version: str = ""

    @property
    def versions(self) -> tuple[str, ...]:
        """What a device may tell that runs it."""
        return (self.version,) if self.image is None else (self.version, self.image.version)


@dataclass(frozen=True, slots=True)
class FirmwareUpdate:
    """A firmware for a device, from its asking to its end. Times are ms since 1970 UTC, 0 for "not yet".

    `campaign_id` is 0 where it belongs to none. `wanted` is the delivery that was asked for, None for the
    best; `delivery` the one that is in use, `tried` those that did not work. `bytes` of the package have got
    to the device. `result` is the device's Update Result that ended it; `reason` and `detail` say why it
    stands where it stands.
    """

    id: int
    endpoint: str
    firmware_id: int
    ticket: str = field(repr=False)  # who has it may fetch the package
    asked_by: str
    created_ms: int
    changed_ms: int
    campaign_id: int = 0
    instance: Path = DEFAULT_INSTANCE
    wanted: Delivery | None = None
    delivery: Delivery | None = None
    tried: tuple[Delivery, ...] = ()
    state: UpdateState = UpdateState.WAITING
    result: int | None = None
    reason: Reason = Reason.NONE
    detail: str = ""
    bytes: int = 0
    attempts: int = 0
    from_version: str = ""
    started_ms: int = 0
    ended_ms: int = 0

    @property
    def done(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class UpdateStep:
    """Something that happened to an update: the state it came to, and why."""

    update_id: int
    number: int
    time_ms: int
    state: UpdateState
    reason: Reason = Reason.NONE
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A firmware for a set of devices. `at_once` devices are under way at a time; when more than
    `failure_limit` per cent of those that ended have failed, it pauses. `starts_ms` 0: at once."""

    id: int
    name: str
    firmware_id: int
    asked_by: str
    created_ms: int
    changed_ms: int
    instance: Path = DEFAULT_INSTANCE
    delivery: Delivery | None = None
    at_once: int = 20
    failure_limit: int = 10
    starts_ms: int = 0
    state: CampaignState = CampaignState.RUNNING
    reason: Reason = Reason.NONE

    @property
    def done(self) -> bool:
        return self.state in CAMPAIGN_ENDED


@dataclass(frozen=True, slots=True)
class KeptFirmware:
    """What an earlier run left: all firmware, the campaigns and updates that have not ended, in the order of
    their asking; and how many updates of each such campaign are in each state."""

    firmware: tuple[Firmware, ...] = ()
    campaigns: tuple[Campaign, ...] = ()
    updates: tuple[FirmwareUpdate, ...] = ()
    counts: dict[int, dict[UpdateState, int]] = field(default_factory=dict)
