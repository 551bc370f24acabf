"""Campaigns as the pages show them: how far one has come, why it stands, why devices failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from ..db.firmware import Campaign, Firmware
from ..db.update_reads import MOVING_WORD, UNSUCCESSFUL_WORD, Failures
from ..lwm2m.firmware import ENDED, CampaignState, Reason, UpdateState
from .language import N_, gettext
from .ports import Parts
from .ports_firmware import LeftOut
from .views_updates import advice_text, package, why_text
from .wording import UPDATE_WORDS, asked_by_text

# The parts of a campaign's bar, in its order: what they are called, and which updates are of them.
PARTS_OF: Final[Mapping[str, str]] = {
    "done": N_("Done"),
    "failed": N_("Failed"),
    "moving": N_("Under way"),
    "waiting": N_("Waiting"),
    "cancelled": N_("Cancelled"),
}
PART_OF_STATE: Final[Mapping[UpdateState, str]] = {
    UpdateState.SUCCEEDED: "done",
    UpdateState.FAILED: "failed",
    UpdateState.REVERTED: "failed",
    UpdateState.WAITING: "waiting",
    UpdateState.CANCELLED: "cancelled",
    **{state: "moving" for state in UpdateState if state not in ENDED and state is not UpdateState.WAITING},
}
# What the list of its devices asks for by the name of a part.
STATE_OF_PART: Final[Mapping[str, str]] = {
    "": "",
    "done": UpdateState.SUCCEEDED.value,
    "failed": UNSUCCESSFUL_WORD,
    "moving": MOVING_WORD,
    "waiting": UpdateState.WAITING.value,
    "cancelled": UpdateState.CANCELLED.value,
}
# Why a device is left out of a campaign.
LEFT_OUT: Final[Mapping[str, str]] = {
    "object_missing": N_("It has no Firmware Update object, so it takes no updates."),
    "not_for": N_("The package is not meant for it."),
    "firmware_not_for": N_("The package is not meant for it."),
    "runs_it": N_("It runs this version already."),
    "endpoint_unseen": N_("It has never registered."),
    "delivery_closed": N_("The way of delivery that was chosen is not open."),
    "endpoint_unknown": N_("No device is called that."),
    "update_under_way": N_("It has an update under way."),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the bar: it begins `at` so many devices and has `count`."""

    name: str
    words: str
    at: int
    count: int


@dataclass(frozen=True, slots=True)
class CampaignView:
    """A campaign in words."""

    kept: Campaign
    version: str
    size: int
    counts: Mapping[UpdateState, int]

    @property
    def url(self) -> str:
        return f"/firmware/campaigns/{self.kept.id}"

    @property
    def name(self) -> str:
        return self.kept.name or gettext("Campaign %(id)s") % {"id": self.kept.id}

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def parts(self) -> tuple[Part, ...]:
        """All five parts, also those that nobody is in: the live stream fills them."""
        found = []
        at = 0
        for name, words in PARTS_OF.items():
            count = self.of(name)
            found.append(Part(name, gettext(words), at, count))
            at += count
        return tuple(found)

    def of(self, name: str) -> int:
        """How many devices are in a part."""
        return sum(count for state, count in self.counts.items() if PART_OF_STATE[state] == name)

    @property
    def percent(self) -> int:
        """The share of the devices that run the version now; 100 only when all do."""
        return 100 * self.of("done") // self.total if self.total else 0

    @property
    def asked_by(self) -> str:
        return asked_by_text(self.kept.asked_by)

    @property
    def steps(self) -> tuple[str, ...]:
        """What can be done with it: pause, resume, start, stop."""
        match self.kept.state:
            case CampaignState.SCHEDULED:
                return ("start", "pause", "stop")
            case CampaignState.RUNNING:
                return ("pause", "stop")
            case CampaignState.PAUSED:
                return ("resume", "stop")
        return ()

    @property
    def judged(self) -> int:
        """How many devices ended by themselves: what its limit is a share of."""
        return self.of("failed") + self.of("done")


@dataclass(frozen=True, slots=True)
class FailureView:
    """Why so many devices failed, what to do about it, and where they are listed."""

    why: str
    advice: str
    devices: int
    url: str


@dataclass(frozen=True, slots=True)
class LeftOutView:
    """Why devices are left out, and which."""

    why: str
    endpoints: tuple[str, ...]


def campaign_view(parts: Parts, kept: Campaign, counts: Mapping[UpdateState, int]) -> CampaignView:
    """A campaign as it stands this moment; `counts` are those of the file."""
    live = parts.firmware.campaign(kept.id)
    firmware: Firmware | None = package(parts, kept.firmware_id)
    return CampaignView(
        kept=live or kept,
        version=firmware.version if firmware is not None else "",
        size=firmware.size if firmware is not None else 0,
        counts=parts.firmware.counts(kept.id) if live is not None else counts,
    )


def failure_views(view: CampaignView, failures: Sequence[Failures]) -> tuple[FailureView, ...]:
    """Why devices failed, what most failed by first."""
    counts: dict[tuple[UpdateState, Reason, int | None], int] = {}
    for one in failures:
        # What a device told last is the reason of none but those that ended by it.
        key = one.state, one.reason, one.result if one.reason is Reason.RESULT else None
        counts[key] = counts.get(key, 0) + one.devices
    found = []
    for (state, reason, result), devices in sorted(counts.items(), key=lambda item: -item[1]):
        query = {"state": "failed", "reason": reason.value}
        if result is not None:
            query["result"] = str(result)
        found.append(
            FailureView(
                why=failure_text(reason, result, state),
                advice=advice_text(reason, result),
                devices=devices,
                url=f"{view.url}?{urlencode(query)}#devices",
            )
        )
    return tuple(found)


def failure_text(reason: Reason, result: int | None, state: UpdateState = UpdateState.FAILED) -> str:
    """Why devices failed, as a sentence."""
    return why_text(reason, result, state) or gettext(UPDATE_WORDS[state])


def left_out_views(left_out: Sequence[LeftOut]) -> tuple[LeftOutView, ...]:
    """The devices that are left out, by why, most first."""
    groups: dict[str, list[str]] = {}
    for one in left_out:
        groups.setdefault(one.why, []).append(one.endpoint)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return tuple(
        LeftOutView(gettext(LEFT_OUT[why]) if why in LEFT_OUT else why, tuple(endpoints))
        for why, endpoints in ordered
    )
