"""What people can ask of firmware updates, and its bounds."""

from dataclasses import dataclass
from typing import Final

from ...db.firmware import Campaign
from ...errors import UsageError
from ...lwm2m.firmware import OBJECTS, Delivery
from ...lwm2m.paths import Path

MAX_NAME: Final = 100
DEFAULT_AT_ONCE: Final = 20
MAX_AT_ONCE: Final = 500
DEFAULT_FAILURE_LIMIT: Final = 10
# A start further ahead was typed wrong.
MAX_AHEAD_MS: Final = 366 * 86_400_000


@dataclass(frozen=True, slots=True)
class Wish:
    """How a firmware is to get to a device. `delivery` None: the best that both have; `instance` None: what
    the device has, 5/0 before 33629; `anyway`: also where the firmware is for other devices."""

    delivery: Delivery | None = None
    instance: Path | None = None
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """Which devices: those named, or (where none is) all that the other fields are true of; "" asks nothing.

    `model` is what 3/0/1 says, `version` what 3/0/3 says. With nothing at all: those the firmware is for.
    """

    endpoints: tuple[str, ...] = ()
    model: str = ""
    tag: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """What a campaign is to be. `starts_ms` 0: now. At most `at_once` devices are under way at a time; more
    than `failure_limit` per cent of failures among those that ended, and it pauses."""

    firmware_id: int
    choice: Choice
    name: str = ""
    wish: Wish = Wish()
    at_once: int = DEFAULT_AT_ONCE
    failure_limit: int = DEFAULT_FAILURE_LIMIT
    starts_ms: int = 0


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A device that a campaign leaves out, and why: endpoint_unseen, object_missing, firmware_not_for,
    runs_it, delivery_closed."""

    endpoint: str
    why: str


@dataclass(frozen=True, slots=True)
class Begun:
    """A campaign that has been made, how many devices it has, and those left out."""

    campaign: Campaign
    devices: int
    left_out: tuple[LeftOut, ...]


def check_plan(plan: CampaignPlan, now_ms: int) -> None:
    """Raises UsageError: campaign_name_invalid, at_once_invalid, failure_limit_invalid, start_invalid,
    instance_invalid."""
    if len(plan.name) > MAX_NAME or not plan.name.isprintable():
        raise UsageError(
            "campaign_name_invalid",
            "the name is not usable",
            f"give at most {MAX_NAME} printable characters, in one line",
        )
    if not 1 <= plan.at_once <= MAX_AT_ONCE:
        raise UsageError(
            "at_once_invalid", f"{plan.at_once} devices at once", f"give a number from 1 to {MAX_AT_ONCE}"
        )
    if not 0 <= plan.failure_limit <= 100:
        raise UsageError(
            "failure_limit_invalid", f"a limit of {plan.failure_limit} %", "give a share from 0 to 100"
        )
    if not 0 <= plan.starts_ms <= now_ms + MAX_AHEAD_MS:
        raise UsageError("start_invalid", "no such start", "give a time within a year from now")
    check_instance(plan.wish.instance)


def check_instance(instance: Path | None) -> None:
    """Raises UsageError("instance_invalid") for what is no instance of object 5 or 33629."""
    if instance is not None and (len(instance) != 2 or instance[0] not in OBJECTS):
        raise UsageError(
            "instance_invalid",
            f"{instance} is no Firmware Update instance",
            "use /5/0, or an instance of 33629 such as /33629/1",
        )
