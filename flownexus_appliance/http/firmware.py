"""Firmware, its updates and campaigns as JSON, and what the API takes for them.

Sentences are those of the pages, in English. The ticket of an update is told to nobody but its device: who
has it may fetch the package.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from ..db.firmware import Campaign, Firmware, FirmwareUpdate, UpdateStep
from ..errors import UsageError
from ..lwm2m.firmware import FIRMWARE_UPDATE, OBJECTS, Delivery, UpdateState
from ..lwm2m.paths import MAX_LENGTH, Path
from .ports import Parts
from .ports_firmware import CampaignPlan, Choice, FirmwareFacts, LeftOut, Wish
from .requests import MAX_TIME_MS
from .routes import MAX_ID
from .views_campaigns import LEFT_OUT
from .views_updates import advice_text, package, why_text
from .wording import MEANINGS

# What people type. The bounds are the box's, which has errors of its own for them; these are far beyond.
Text = Annotated[str, msgspec.Meta(max_length=4096)]
FirmwareId = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]
InstanceText = Annotated[str, msgspec.Meta(max_length=MAX_LENGTH)]
# A percentage, and how many at once: checked by the box.
Count = Annotated[int, msgspec.Meta(ge=-MAX_ID, le=MAX_ID)]
STEERED: Final = ("RUNNING", "PAUSED", "STOPPED")


@dataclass(frozen=True, slots=True)
class ImageState:
    """What the MCUboot header of a package says: its version as 1.2.3+4, the size in bytes of header, image
    and trailer, and whether the trailer has a signature."""

    version: str
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class FirmwareState:
    """A firmware package. `version` is what a device tells that runs it; `size` in bytes; `sha256` in hex.

    `model`, `tag` and `from_version` say which devices it is for, "" for any. `image` is null where it has
    no MCUboot header. `doubts` are words for what is odd about it: version_mismatch, unsigned, no_image,
    archive, not_binary, file_missing. `updates` counts its updates by state.
    """

    id: int
    version: str
    file_name: str
    size: int
    sha256: str
    image: ImageState | None
    note: str
    model: str
    tag: str
    from_version: str
    added_by: str
    added_ms: int
    doubts: list[str]
    updates: dict[str, int]


class FirmwareChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays. An empty `version` is that of the MCUboot header; `model`, `tag` and
    `from_version` say which devices it is for, "" for any."""

    version: Text | UnsetType = UNSET
    note: Text | UnsetType = UNSET
    model: Text | UnsetType = UNSET
    tag: Text | UnsetType = UNSET
    from_version: Text | UnsetType = UNSET


class UpdateRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A firmware for a device. `delivery` is how it gets there: without it the best that both sides have.
    `instance`, such as /33629/1, is the part of the device that it is for: without it the first. `anyway`:
    also where the firmware is for other devices."""

    firmware: FirmwareId
    delivery: Delivery | None = None
    instance: InstanceText | None = None
    anyway: bool = False


class CampaignRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A firmware for many devices: for `endpoints`, or for those that `model` (3/0/1), `tag` and `version`
    (3/0/3) are true of; with none of them, for all that the firmware is for.

    `at_once` devices are under way at a time; when more than `failure_limit` per cent of those that ended
    have failed, the campaign pauses. It begins at `starts_ms`, 0 for now. The others as for an update.
    """

    firmware: FirmwareId
    name: Text = ""
    endpoints: list[Text] | None = None
    model: Text = ""
    tag: Text = ""
    version: Text = ""
    delivery: Delivery | None = None
    instance: InstanceText | None = None
    at_once: Count | UnsetType = UNSET
    failure_limit: Count | UnsetType = UNSET
    starts_ms: Annotated[int, msgspec.Meta(ge=0, le=MAX_TIME_MS)] = 0
    anyway: bool = False


class CampaignChange(msgspec.Struct, forbid_unknown_fields=True):
    """RUNNING resumes a campaign, or starts it before its time; STOPPED cancels what has not begun."""

    state: Annotated[str, msgspec.Meta(max_length=32, extra_json_schema={"enum": list(STEERED)})]


@dataclass(frozen=True, slots=True)
class StepState:
    """Something that happened to an update: the state it came to, and why."""

    number: int
    time_ms: int
    state: str
    reason: str
    message: str
    detail: str


@dataclass(frozen=True, slots=True)
class UpdateEntry:
    """A firmware update of a device as it stands; times in ms since 1970 UTC.

    `state` is WAITING, PREPARING, DOWNLOADING, DOWNLOADED, UPDATING, SUCCEEDED, FAILED, REVERTED (the device
    came back with the version it had) or CANCELLED. `firmware` is the package, of this `version` and `size`;
    `campaign` the campaign it belongs to. `wanted` is the delivery that was asked for, null for the best;
    `delivery` the one in use, `tried` those that did not work. `bytes` of the package have got there.
    `result` is the device's Update Result that ended it, `result_text` what that means; `reason` is a word,
    and `message` a sentence, for why it stands where it stands, `detail` more of that, `hint` what to do.
    """

    id: int
    endpoint: str
    label: str
    firmware: int
    version: str
    size: int
    campaign: int | None
    instance: str
    state: str
    wanted: str | None
    delivery: str | None
    tried: list[str]
    bytes: int
    percent: int
    attempts: int
    result: int | None
    result_text: str
    reason: str
    message: str
    detail: str
    hint: str
    from_version: str
    asked_by: str
    created_ms: int
    started_ms: int | None
    changed_ms: int
    ended_ms: int | None


@dataclass(frozen=True, slots=True)
class UpdateDetail(UpdateEntry):
    """An update with what happened to it, in order."""

    steps: list[StepState]


@dataclass(frozen=True, slots=True)
class CampaignEntry:
    """A campaign as it stands: SCHEDULED, RUNNING, PAUSED, STOPPED or DONE; `reason` and `message` say why.

    `counts` has how many of its `devices` are in each state of an update. `starts_ms` is null where it began
    at once, `delivery` where each device has its best.
    """

    id: int
    name: str
    firmware: int
    version: str
    instance: str
    delivery: str | None
    at_once: int
    failure_limit: int
    starts_ms: int | None
    state: str
    reason: str
    message: str
    devices: int
    counts: dict[str, int]
    asked_by: str
    created_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class LeftOutState:
    """A device that a campaign leaves out, with a word and a sentence for why."""

    endpoint: str
    why: str
    message: str


@dataclass(frozen=True, slots=True)
class CampaignBegun:
    """A campaign that was made, how many devices it has, and those it leaves out."""

    campaign: CampaignEntry
    devices: int
    left_out: list[LeftOutState]


@dataclass(frozen=True, slots=True)
class CampaignPreview:
    """How many devices a campaign would have, which, and those it would leave out."""

    devices: int
    endpoints: list[str]
    left_out: list[LeftOutState]


def firmware_state(parts: Parts, kept: Firmware, counts: Mapping[UpdateState, int]) -> FirmwareState:
    """A package as JSON tells it."""
    image = kept.image
    return FirmwareState(
        id=kept.id,
        version=kept.version,
        file_name=kept.file_name,
        size=kept.size,
        sha256=kept.sha256.hex(),
        image=None if image is None else ImageState(image.version, image.size, image.signed),
        note=kept.note,
        model=kept.model,
        tag=kept.tag,
        from_version=kept.from_version,
        added_by=kept.added_by,
        added_ms=kept.added_ms,
        doubts=[str(doubt) for doubt in parts.firmware.doubts(kept)],
        updates=_counts(counts),
    )


def facts_of(kept: Firmware, change: FirmwareChange) -> FirmwareFacts:
    """What is to be said of a package from now on."""

    def new(wanted: str | UnsetType, before: str) -> str:
        return before if wanted is UNSET else wanted.strip()

    return FirmwareFacts(
        version=new(change.version, kept.version),
        file_name=kept.file_name,
        note=new(change.note, kept.note),
        model=new(change.model, kept.model),
        tag=new(change.tag, kept.tag),
        from_version=new(change.from_version, kept.from_version),
    )


def update_entry(parts: Parts, kept: FirmwareUpdate, label: str) -> UpdateEntry:
    """An update as it stands this moment: of one that has not ended the file is seconds behind."""
    return UpdateEntry(**_update(parts, kept, label))


def update_detail(
    parts: Parts, kept: FirmwareUpdate, label: str, steps: Sequence[UpdateStep]
) -> UpdateDetail:
    """The same with what happened to it."""
    told = [
        StepState(
            number=step.number,
            time_ms=step.time_ms,
            state=step.state.value,
            reason=step.reason.value,
            message=why_text(step.reason, kept.result, step.state),
            detail=step.detail,
        )
        for step in steps
    ]
    return UpdateDetail(**_update(parts, kept, label), steps=told)


def campaign_entry(parts: Parts, kept: Campaign, counts: Mapping[UpdateState, int]) -> CampaignEntry:
    """A campaign as it stands this moment; `counts` are those of the file."""
    live = parts.firmware.campaign(kept.id)
    if live is not None:
        kept, counts = live, parts.firmware.counts(kept.id)
    firmware = package(parts, kept.firmware_id)
    return CampaignEntry(
        id=kept.id,
        name=kept.name,
        firmware=kept.firmware_id,
        version=firmware.version if firmware is not None else "",
        instance=str(kept.instance),
        delivery=kept.delivery.value if kept.delivery is not None else None,
        at_once=kept.at_once,
        failure_limit=kept.failure_limit,
        starts_ms=kept.starts_ms or None,
        state=kept.state.value,
        reason=kept.reason.value,
        message=why_text(kept.reason, None),
        devices=sum(counts.values()),
        counts=_counts(counts),
        asked_by=kept.asked_by,
        created_ms=kept.created_ms,
        changed_ms=kept.changed_ms,
    )


def left_out_states(left_out: Sequence[LeftOut]) -> list[LeftOutState]:
    """Who is left out, and why."""
    return [LeftOutState(one.endpoint, one.why, LEFT_OUT.get(one.why, "")) for one in left_out]


def wish_of(wanted: UpdateRequest | CampaignRequest) -> Wish:
    """How a firmware is to get there. Raises UsageError: path_invalid."""
    instance = None
    if wanted.instance is not None:
        instance = Path.parse(wanted.instance, UsageError)
        if len(instance) != 2 or instance[0] not in OBJECTS:
            raise UsageError(
                "path_invalid",
                f"{instance} is no instance that updates firmware",
                "write object and instance: /5/0, or /33629/1",
            )
    return Wish(wanted.delivery, instance, wanted.anyway)


def plan_of(wanted: CampaignRequest) -> CampaignPlan:
    """What a campaign is to be. Raises UsageError: body_invalid, path_invalid."""
    chosen = wanted.model or wanted.tag or wanted.version
    if wanted.endpoints is not None and (chosen or not wanted.endpoints):
        raise UsageError(
            "body_invalid",
            "devices are named, and chosen by what they are" if chosen else "no device is named",
            "give endpoints, or model, tag and version, or none of them",
        )
    plan = CampaignPlan(
        firmware_id=wanted.firmware,
        choice=Choice(
            tuple(dict.fromkeys(wanted.endpoints or ())),
            wanted.model.strip(),
            wanted.tag.strip(),
            wanted.version.strip(),
        ),
        name=wanted.name.strip(),
        wish=wish_of(wanted),
        starts_ms=wanted.starts_ms,
    )
    if wanted.at_once is not UNSET:
        plan = replace(plan, at_once=wanted.at_once)
    if wanted.failure_limit is not UNSET:
        plan = replace(plan, failure_limit=wanted.failure_limit)
    return plan


def _update(parts: Parts, kept: FirmwareUpdate, label: str) -> dict[str, Any]:
    kept = parts.firmware.live(kept.id) or kept
    firmware = package(parts, kept.firmware_id)
    size = firmware.size if firmware is not None else 0
    words = MEANINGS[FIRMWARE_UPDATE, 5]
    return {
        "id": kept.id,
        "endpoint": kept.endpoint,
        "label": label,
        "firmware": kept.firmware_id,
        "version": firmware.version if firmware is not None else "",
        "size": size,
        "campaign": kept.campaign_id or None,
        "instance": str(kept.instance),
        "state": kept.state.value,
        "wanted": kept.wanted.value if kept.wanted is not None else None,
        "delivery": kept.delivery.value if kept.delivery is not None else None,
        "tried": [one.value for one in kept.tried],
        "bytes": kept.bytes,
        "percent": min(100, 100 * kept.bytes // size) if size else 0,
        "attempts": kept.attempts,
        "result": kept.result,
        "result_text": words.get(str(kept.result), "") if kept.result is not None else "",
        "reason": kept.reason.value,
        "message": why_text(kept.reason, kept.result, kept.state),
        "detail": kept.detail,
        "hint": advice_text(kept.reason, kept.result) if kept.done else "",
        "from_version": kept.from_version,
        "asked_by": kept.asked_by,
        "created_ms": kept.created_ms,
        "started_ms": kept.started_ms or None,
        "changed_ms": kept.changed_ms,
        "ended_ms": kept.ended_ms or None,
    }


def _counts(counts: Mapping[UpdateState, int]) -> dict[str, int]:
    """In the order of an update's way, without what nobody is in."""
    return {state.value: counts[state] for state in UpdateState if counts.get(state, 0)}
