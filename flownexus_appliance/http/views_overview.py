"""What the overview shows: the signs of the box's health, the devices as cards, and its own address with one
thing asked otherwise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from ..db.noted import MAX_FAILED, TagCount, same_tag
from ..db.reads import LatestValue
from ..db.storage import Storage
from ..lwm2m.model import ModelSet
from ..system.health import FREE_LOW_PART, FREE_OUT_BYTES
from .api_certificates import CertificateEntry
from .devices import Device, Question, collated
from .language import N_, gettext, ngettext
from .resources import describe
from .views import Reading, device_url, readings_of, subtitle, telling
from .wording import number_text

CARD_READINGS: Final = 3
# Orders that people choose from; the first is the one without choosing.
SORTS: Final[Mapping[str, str]] = {"label": N_("Name"), "heard": N_("Last heard"), "state": N_("State")}
# Tags that stand there at once; the others behind "More".
CHIPS: Final = 10
FAILED_SINCE_MS: Final = 24 * 3_600_000
DAY_MS: Final = 86_400_000
# A certificate that nothing renews, or that should have been renewed, is told of this long before its end.
ENDING_MS: Final = 30 * DAY_MS
# Renewal is looked after every minute or so: one that is this late does not happen.
LATE_MS: Final = DAY_MS
SERVING: Final = ("dtls", "https")


@dataclass(frozen=True, slots=True)
class Vital:
    """A sign of health: `level` is good, warning or danger; `url` is where one sees more or acts."""

    key: str
    name: str
    icon: str
    url: str
    value: str
    note: str = ""
    level: str = "good"


@dataclass(frozen=True, slots=True)
class Health:
    """What the signs are made of. `failed` operations are of the last day, counted up to MAX_FAILED."""

    failed: int
    waiting: int
    storage: Storage
    doubt: str
    certificates: Sequence[CertificateEntry]
    now_ms: int


@dataclass(frozen=True, slots=True)
class DeviceCard:
    """A device on the overview."""

    device: Device
    url: str
    title: str
    subtitle: str
    readings: tuple[Reading, ...]
    more: int

    @property
    def unencrypted(self) -> bool:
        """Whether it is registered over plain CoAP."""
        registration = self.device.registration
        return registration is not None and not registration.secure


@dataclass(frozen=True, slots=True)
class Group:
    """Cards under one heading: a tag, "" for devices without any. `total` is how many it has on all pages."""

    tag: str
    total: int
    cards: tuple[DeviceCard, ...]


@dataclass(frozen=True, slots=True)
class Chip:
    """A tag to filter by; one that is `chosen` leads back to all devices."""

    tag: str
    devices: int
    url: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class View:
    """What is asked of the overview: which devices, in groups or not, which page."""

    question: Question
    grouped: bool = False
    page: int = 1

    def url(self, **other: str) -> str:
        """The address of the first page with `state`, `tag`, `sort` or `search` asked otherwise."""
        return View(replace(self.question, **other), self.grouped).address

    def turned(self, page: int) -> str:
        """The address of another page of the same."""
        return replace(self, page=page).address

    @property
    def regrouped(self) -> str:
        """The address of the same with the groups on or off."""
        return View(self.question, not self.grouped).address

    @property
    def kept(self) -> dict[str, str]:
        """What a search keeps of the query."""
        asked = self.question
        found = {"state": asked.state, "tag": asked.tag, "sort": asked.sort if asked.sort != _FIRST else ""}
        found["group"] = "tag" if self.grouped else ""
        return {name: value for name, value in found.items() if value}

    @property
    def address(self) -> str:
        query = {"q": self.question.search, **self.kept, "page": str(self.page) if self.page > 1 else ""}
        asked = urlencode({name: query[name] for name in sorted(query) if query[name]})
        return f"/?{asked}" if asked else "/"


_FIRST: Final = next(iter(SORTS))


def card(device: Device, latest: Sequence[LatestValue], models: ModelSet) -> DeviceCard:
    """A device with its few most telling values."""
    readings = readings_of(
        describe([one for one in latest if telling(one.path)], models, device.registration, ())
    )
    ranked = sorted((r for r in readings if r.rank), key=lambda r: r.rank)
    return DeviceCard(
        device=device,
        url=device_url(device.endpoint),
        title=device.label or device.endpoint,
        subtitle=subtitle(latest),
        readings=tuple(ranked[:CARD_READINGS]),
        more=max(0, len(ranked) - CARD_READINGS),
    )


def chips(view: View, tags: Sequence[TagCount]) -> tuple[tuple[Chip, ...], tuple[Chip, ...]]:
    """The tags to filter by, the alphabet's order: those that most devices have, and the others."""
    chosen = same_tag(view.question.tag)
    often = sorted(tags, key=lambda one: (same_tag(one.tag) != chosen, -one.devices))[:CHIPS]
    made = [
        (one in often, Chip(one.tag, one.devices, view.url(tag="" if mine else one.tag), mine))
        for one in sorted(tags, key=lambda one: collated(one.tag))
        for mine in [same_tag(one.tag) == chosen]
    ]
    return tuple(chip for first, chip in made if first), tuple(chip for first, chip in made if not first)


def vitals(health: Health) -> tuple[Vital, ...]:
    """The signs of the box's health, always the same and in the same place."""
    return (_failed(health.failed), _waiting(health.waiting), _storage(health.storage), *_trust(health))


def bytes_text(size: int) -> str:
    """A size in the largest unit that leaves a number of at least one: 45 GB."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    digits = round(amount, 1) if amount < 10 and unit != "B" else round(amount)
    return f"{number_text(digits)}\u00a0{unit}"


def _failed(count: int) -> Vital:
    return Vital(
        key="failed",
        name=gettext("Failed"),
        icon="warning" if count else "online",
        url="/operations?status=FAILED",
        value=f"{count}+" if count >= MAX_FAILED else str(count) if count else gettext("None"),
        note=gettext("operations in 24 h"),
        level="warning" if count else "good",
    )


def _waiting(count: int) -> Vital:
    return Vital(
        key="waiting",
        name=gettext("Waiting"),
        icon="list",
        url="/operations?status=unfinished",
        value=str(count) if count else gettext("None"),
        note=ngettext("operation", "operations", count),
    )


def _storage(storage: Storage) -> Vital:
    full = storage.free_bytes < FREE_OUT_BYTES
    low = full or storage.free_bytes < storage.total_bytes * FREE_LOW_PART
    return Vital(
        key="storage",
        name=gettext("Storage"),
        icon="warning" if low else "disk",
        url="/system",
        value=gettext("%(size)s free") % {"size": bytes_text(storage.free_bytes)},
        note=gettext("the data takes %(size)s")
        % {"size": bytes_text(storage.database_bytes + storage.wal_bytes)},
        level="danger" if full else "warning" if low else "good",
    )


def _trust(health: Health) -> tuple[Vital, Vital]:
    clock = Vital(
        key="clock",
        name=gettext("Clock"),
        icon="warning" if health.doubt else "clock",
        url="/certificates" if health.doubt else "/system",
        value=gettext("Wrong") if health.doubt else gettext("Right"),
        note=gettext("nothing is signed") if health.doubt else "",
        level="danger" if health.doubt else "good",
    )
    return clock, _certificate(health.certificates, health.now_ms)


def _certificate(entries: Sequence[CertificateEntry], now_ms: int) -> Vital:
    """The one of the box's own certificates that ends first."""
    known = [one for one in entries if one.kind in SERVING]
    first = min(known, key=lambda one: one.not_after_ms, default=None)
    value, note, level = gettext("None"), gettext("until the clock is right"), "warning"
    if first is not None:
        left_ms = first.not_after_ms - now_ms
        days = max(0, left_ms // DAY_MS)
        value = ngettext("%(num)s day left", "%(num)s days left", days) % {"num": days}
        due_ms = first.next_step_ms
        note, level = gettext("renews itself"), "good"
        if left_ms <= 0:
            value, note, level = gettext("Ended"), "", "danger"
        elif first.state == "provisional":
            note, level = gettext("signed by itself"), "warning"
        elif due_ms is None or now_ms > due_ms + LATE_MS:
            note = gettext("not renewed") if due_ms is not None else gettext("ends as it is")
            level = "danger" if left_ms < ENDING_MS else "warning"
    return Vital(
        key="certificate",
        name=gettext("Certificate"),
        icon="shield" if level == "good" else "warning",
        url="/certificates",
        value=value,
        note=note,
        level=level,
    )
