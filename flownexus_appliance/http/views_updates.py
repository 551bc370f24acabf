"""Updates as the pages show them: where one stands, how far it has come, why, and what to do about it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from ..db.firmware import Firmware, FirmwareUpdate, UpdateStep
from ..db.update_reads import UNFINISHED_WORD
from ..errors import UsageError
from ..lwm2m.firmware import (
    ADVANCED_FIRMWARE_UPDATE,
    ENDED,
    FIRMWARE_UPDATE,
    CampaignState,
    Delivery,
    Reason,
    UpdateResult,
    UpdateState,
)
from ..lwm2m.paths import Path
from .language import N_, gettext
from .ports import Fleet, Parts
from .views import device_url
from .wording import DELIVERY_WORDS, MEANINGS, UPDATE_WORDS, asked_by_text

# The way of an update that goes well.
WAY: Final = (
    UpdateState.WAITING,
    UpdateState.PREPARING,
    UpdateState.DOWNLOADING,
    UpdateState.DOWNLOADED,
    UpdateState.UPDATING,
    UpdateState.SUCCEEDED,
)
# The groups of the list: the words of its address with what each is called.
GROUPS: Final[Mapping[str, str]] = {
    "": N_("All"),
    UNFINISHED_WORD: N_("Under way"),
    UpdateState.SUCCEEDED: UPDATE_WORDS[UpdateState.SUCCEEDED],
    UpdateState.FAILED: UPDATE_WORDS[UpdateState.FAILED],
    UpdateState.REVERTED: UPDATE_WORDS[UpdateState.REVERTED],
    UpdateState.CANCELLED: UPDATE_WORDS[UpdateState.CANCELLED],
}
STATES: Final = (UNFINISHED_WORD, *(state.value for state in UpdateState))
# How a state looks: what a bar, a mark and a step are coloured by.
TONES: Final[Mapping[UpdateState, str]] = {
    UpdateState.WAITING: "waiting",
    UpdateState.SUCCEEDED: "done",
    UpdateState.FAILED: "failed",
    UpdateState.REVERTED: "failed",
    UpdateState.CANCELLED: "cancelled",
}
# Short names of the ways of delivery, for lines; `wording.DELIVERY_WORDS` has whole ones.
SHORT_DELIVERY: Final[Mapping[Delivery, str]] = {
    Delivery.COAPS: "CoAPS",
    Delivery.HTTPS: "HTTPS",
    Delivery.COAP: N_("CoAP, unencrypted"),
    Delivery.PUSH: N_("sent by the box"),
}

# Why an update stands where it stands.
REASONS: Final[Mapping[Reason, str]] = {
    Reason.REVERTED: N_("The device came back with the version it had before."),
    Reason.UNCONFIRMED: N_("The device runs the new version, but does not say that the update went well."),
    Reason.OTHER_VERSION: N_("The device installed something, and runs neither the old nor the new version."),
    Reason.OBJECT_MISSING: N_("The device has no Firmware Update object, so it takes no updates."),
    Reason.SILENT: N_("Nothing was heard from the device for too long."),
    Reason.STALLED: N_("The download stood still for too long."),
    Reason.GONE: N_("The device did not come back after it was told to install."),
    Reason.REFUSED: N_("The device refused what it was asked."),
    Reason.LOST: N_("The device had the package, and lost it again."),
    Reason.BUSY: N_("The device is busy with another installation."),
    Reason.NO_DELIVERY: N_("The box and the device have no way in common to get the package across."),
    Reason.PACKAGE_MISSING: N_("The file of the package is gone from the box."),
    Reason.RESTARTED: N_("The box was restarted in the middle of it."),
    Reason.ALREADY: N_("The device runs this version already."),
    Reason.ASKED: N_("Somebody wanted it so."),
    Reason.FAILURES: N_("Too many devices failed."),
    Reason.DEFECT: N_("Something went wrong in the box."),
}
# What to do about an update that has failed.
ADVICE: Final[Mapping[Reason, str]] = {
    Reason.REVERTED: N_(
        "The new version did not start well, or did not confirm itself, so the boot loader brought back the"
        " old one. Find out why before you try again: the device's own log tells."
    ),
    Reason.UNCONFIRMED: N_("Look whether the device does what it should. If it does, nothing is left to do."),
    Reason.OTHER_VERSION: N_("Check that the version of the package is what devices tell that run it."),
    Reason.OBJECT_MISSING: N_("It needs a client with object 5 or 33629; the first one goes on by cable."),
    Reason.SILENT: N_("See that it has power and a connection, then try again."),
    Reason.STALLED: N_("Try again where the connection is better, or by another way of delivery."),
    Reason.GONE: N_("See that it has power and a connection. If it does not come back, it needs a visit."),
    Reason.REFUSED: N_("Look at its answer. Another way of delivery may help."),
    Reason.LOST: N_("It may have restarted. Try again."),
    Reason.BUSY: N_("Wait until it is through, then try again."),
    Reason.NO_DELIVERY: N_("Choose a way of delivery by hand, or open one in the settings of the box."),
    Reason.PACKAGE_MISSING: N_("Upload it again."),
    Reason.RESTARTED: N_("Try again."),
    Reason.DEFECT: N_("The log tells more."),
}
RESULT_ADVICE: Final[Mapping[int, str]] = {
    UpdateResult.NO_STORAGE: N_("Check that the package is made for this device: it does not fit its flash."),
    UpdateResult.NO_MEMORY: N_("Restart the device, then try again."),
    UpdateResult.CONNECTION_LOST: N_("Try again where the connection is better."),
    UpdateResult.INTEGRITY_FAILED: N_(
        "The package came across damaged, or is not signed with the key that the device knows. If another try"
        " does not help, check the signature."
    ),
    UpdateResult.UNSUPPORTED_PACKAGE: N_("Check that the package is made for this device."),
    UpdateResult.INVALID_URI: N_("Try again by another way of delivery."),
    UpdateResult.UPDATE_FAILED: N_(
        "The device could not install it. Check that it is made and signed for this device; the device's own"
        " log tells more."
    ),
    UpdateResult.UNSUPPORTED_PROTOCOL: N_("Try again by another way of delivery."),
    UpdateResult.CANCELLED: N_("Somebody at the device may have stopped it. Try again."),
    UpdateResult.DEFERRED: N_("The device installs it when it finds the time."),
    UpdateResult.CONFLICTING_STATE: N_("Another part of the device is being updated. Try again later."),
    UpdateResult.DEPENDENCY_ERROR: N_("Another part of the device must be updated first."),
}
# What a state says by itself.
_SAID: Final = frozenset({(UpdateState.CANCELLED, Reason.ASKED), (UpdateState.SUCCEEDED, Reason.RESULT)})


@dataclass(frozen=True, slots=True)
class Question:
    """Which updates; "" and 0 ask for all. `state` is a word of STATES, `after` the end of a page; `reason`
    and `result` are why they stand there, as campaigns ask."""

    state: str = ""
    endpoint: str = ""
    campaign: int = 0
    firmware: int = 0
    after: int = 0
    reason: str = ""
    result: int | None = None

    def url(self, after: int = 0, *, state: str | None = None) -> str:
        """The address of the list, on from the update `after`."""
        query = {
            "state": self.state if state is None else state,
            "device": self.endpoint,
            "campaign": str(self.campaign or ""),
            "firmware": str(self.firmware or ""),
            "after": str(after or ""),
        }
        text = urlencode({name: value for name, value in query.items() if value})
        return f"/firmware/updates?{text}" if text else "/firmware/updates"

    @property
    def open(self) -> bool:
        return self == Question()


@dataclass(frozen=True, slots=True)
class UpdateView:
    """An update in words. `size` in bytes, 0 where the package is gone; `why` and `advice` are whole
    sentences, "" where there is nothing to say."""

    kept: FirmwareUpdate
    label: str
    version: str
    size: int
    why: str
    advice: str

    @property
    def url(self) -> str:
        return f"/firmware/updates/{self.kept.id}"

    @property
    def device_url(self) -> str:
        return device_url(self.kept.endpoint)

    @property
    def title(self) -> str:
        """What people call the device."""
        return self.label or self.kept.endpoint

    @property
    def words(self) -> str:
        return gettext(UPDATE_WORDS[self.kept.state])

    @property
    def tone(self) -> str:
        return TONES.get(self.kept.state, "moving")

    @property
    def moving(self) -> bool:
        """Whether a bar tells more than the word: while the package gets there."""
        return self.kept.state is UpdateState.DOWNLOADING and self.size > 0

    @property
    def percent(self) -> int:
        """How much of the package has got there; 100 only when all of it has."""
        return min(100, 100 * self.kept.bytes // self.size) if self.size else 0

    @property
    def delivery(self) -> str:
        """The way that is in use, in short; "" while there is none."""
        found = self.kept.delivery
        return gettext(SHORT_DELIVERY[found]) if found is not None else ""

    @property
    def asked_by(self) -> str:
        return asked_by_text(self.kept.asked_by)

    @property
    def cancellable(self) -> bool:
        """Once a device installs, nothing can stop it."""
        return not self.kept.done and self.kept.state is not UpdateState.UPDATING

    @property
    def again(self) -> bool:
        """Whether trying once more makes sense."""
        return self.kept.done and self.kept.state is not UpdateState.SUCCEEDED


@dataclass(frozen=True, slots=True)
class StepView:
    """A step of the way. `look` is done, now, ahead or failed; `time_ms` None where it was not reached, and
    `took_ms` None where it has not ended."""

    state: UpdateState
    words: str
    look: str
    time_ms: int | None
    took_ms: int | None


@dataclass(frozen=True, slots=True)
class HappenedView:
    """Something that happened to an update, in words."""

    step: UpdateStep
    words: str
    why: str


def update_view(parts: Parts, kept: FirmwareUpdate, label: str = "") -> UpdateView:
    """An update as it stands this moment, in words."""
    live = parts.firmware.live(kept.id)
    return view_of(live or kept, package(parts, kept.firmware_id), label)


async def labels_of(parts: Parts, endpoints: Iterable[str]) -> dict[str, str]:
    """The labels of devices that have one."""
    names = list(dict.fromkeys(endpoints))
    rows = await parts.reader.endpoints(names) if names else []
    return {row.endpoint: row.label for row in rows if row.label}


def view_of(kept: FirmwareUpdate, firmware: Firmware | None, label: str = "") -> UpdateView:
    """An update in words."""
    return UpdateView(
        kept=kept,
        label=label,
        version=firmware.version if firmware is not None else "",
        size=firmware.size if firmware is not None else 0,
        why=why_text(kept.reason, kept.result, kept.state),
        advice=advice_text(kept.reason, kept.result) if kept.done else "",
    )


def package(parts: Parts, firmware_id: int) -> Firmware | None:
    """The package of an update; None where it was removed meanwhile."""
    try:
        return parts.firmware.get(firmware_id)
    except UsageError:
        return None


def why_text(reason: Reason, result: int | None, state: UpdateState | None = None) -> str:
    """Why an update stands where it stands, as a sentence; "" where there is nothing to say."""
    if (state, reason) in _SAID:
        return ""
    if reason is Reason.RESULT and result is not None:
        words = MEANINGS[FIRMWARE_UPDATE, 5].get(str(result))
        said = gettext(words) if words is not None else str(result)
        return gettext("The device says: %(result)s.") % {"result": said}
    return gettext(REASONS[reason]) if reason in REASONS else ""


def advice_text(reason: Reason, result: int | None) -> str:
    """What to do about it."""
    if reason is Reason.RESULT and result is not None and result in RESULT_ADVICE:
        return gettext(RESULT_ADVICE[result])
    return gettext(ADVICE[reason]) if reason in ADVICE else ""


def way(kept: FirmwareUpdate, steps: Sequence[UpdateStep]) -> tuple[StepView, ...]:
    """The steps of the present try, from waiting to done; the last one says how it ended otherwise."""
    trial = _last_try(steps)
    times: dict[UpdateState, int] = {UpdateState.WAITING: kept.created_ms}
    for step in trial:
        times[step.state] = step.time_ms
    if kept.state in ENDED:
        reached = [state for state in WAY[:-1] if state in times]
        at = WAY.index(reached[-1]) + 1 if reached else 0
    else:
        at = WAY.index(kept.state)
    ordered = sorted(times.values())
    found = []
    for number, state in enumerate(WAY[:-1]):
        look = "done" if number < at else "now" if number == at and kept.state not in ENDED else "ahead"
        time_ms = times.get(state) if look != "ahead" else None
        later = next((one for one in ordered if time_ms is not None and one > time_ms), None)
        took_ms = later - time_ms if later is not None and time_ms is not None and look == "done" else None
        found.append(StepView(state, gettext(UPDATE_WORDS[state]), look, time_ms, took_ms))
    last = kept.state if kept.state in ENDED else UpdateState.SUCCEEDED
    look = "ahead" if kept.state not in ENDED else "done" if last is UpdateState.SUCCEEDED else "failed"
    return (*found, StepView(last, gettext(UPDATE_WORDS[last]), look, kept.ended_ms or None, None))


def happened(kept: FirmwareUpdate, steps: Sequence[UpdateStep]) -> tuple[HappenedView, ...]:
    """All that happened to an update, the newest first."""
    return tuple(
        HappenedView(step, gettext(UPDATE_WORDS[step.state]), why_text(step.reason, kept.result, step.state))
        for step in reversed(steps)
    )


def wait_text(fleet: Fleet, view: UpdateView, campaign: CampaignState | None = None) -> str:
    """What an update that waits is waiting for, "" where it does not; `campaign` is how its own stands."""
    if view.kept.state is not UpdateState.WAITING:
        return ""
    match campaign:
        case CampaignState.PAUSED:
            return gettext("Its campaign is paused. It goes on when the campaign does.")
        case CampaignState.SCHEDULED:
            return gettext("Its campaign has not begun yet.")
    match fleet.presence(view.kept.endpoint):
        case "sleeping":
            return gettext("The device sleeps. It goes on when the device wakes.")
        case "offline":
            return gettext("The device is not registered. It goes on when the device registers.")
    return gettext("It waits for its turn.")


def delivery_options() -> list[tuple[str, str]]:
    """The ways of delivery to choose from, the choice of the box first."""
    best = gettext("The best way that the device and the box have")
    return [("", best), *((key, gettext(words)) for key, words in DELIVERY_WORDS.items())]


def instance_text(path: Path) -> str:
    """Which part of a device an instance updates, "" for the usual one."""
    if path[0] == ADVANCED_FIRMWARE_UPDATE:
        return gettext("part %(number)s (%(path)s)") % {"number": path[1], "path": path}
    return "" if path[1] == 0 else str(path)


def _last_try(steps: Sequence[UpdateStep]) -> Sequence[UpdateStep]:
    begins = [number for number, step in enumerate(steps) if step.state is UpdateState.WAITING]
    return steps[begins[-1] :] if begins else steps
