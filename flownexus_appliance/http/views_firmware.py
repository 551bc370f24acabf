"""Firmware as its page shows it: the versions of each model, and the devices with what their Firmware Update
object tells (LwM2M Core 1.1.1 E.6)."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

from ..db.firmware_reads import MAX_TEXT, RunningRow
from ..db.reads import LatestValue
from ..db.writer import SqlValue
from ..errors import clean
from ..lwm2m.firmware import ADVANCED_FIRMWARE_UPDATE, FIRMWARE_UPDATE
from .devices import Device, collated
from .language import N_, gettext
from .ports import Fleet
from .views import Reading, device_url
from .views_updates import UpdateView
from .wording import MEANINGS

# What was not told. A device that says just this of itself has told as much.
UNTOLD: Final = "-"
NO_OBJECT: Final = "none"
STATE_UNTOLD: Final = "untold"
# How updates stand, as one asks for it: the states of resource 3, or why there is none.
UPDATE_STATES: Final[Mapping[str, str]] = {
    **MEANINGS[FIRMWARE_UPDATE, 3],
    STATE_UNTOLD: N_("Not told"),
    NO_OBJECT: N_("No Firmware Update object"),
}
FACTS: Final[Mapping[str, str]] = {
    "/3/0/3": N_("Version"),
    "/5/0/3": N_("Update"),
    "/5/0/5": N_("Last result"),
}
# Object 33629 has the same resources by the same numbers; its first instance stands for the device.
_ADVANCED: Final = f"/{ADVANCED_FIRMWARE_UPDATE}/0/"
# What stands there at once; the rest is folded, and beyond the last bound only counted.
FIRST_MODELS: Final = 8
MAX_MODELS: Final = 200
FIRST_VERSIONS: Final = 5
MAX_VERSIONS: Final = 100
# Who chooses wants to see the devices, which on a phone are a few screens further down.
LIST: Final = "#runs"
_DOTTED: Final = re.compile(r"[vV]?([0-9]{1,9}(?:\.[0-9]{1,9})*)")


@dataclass(frozen=True, slots=True)
class Question:
    """Which devices: name or label contains `search`, the others are equal; "" asks for all.

    `state` is a key of UPDATE_STATES; `model` and `version` may be UNTOLD.
    """

    search: str = ""
    model: str = ""
    version: str = ""
    state: str = ""

    def url(self, page: int = 1, **other: str) -> str:
        """The address of a page with something asked otherwise."""
        asked = replace(self, **other)
        query = {
            "q": asked.search,
            "model": asked.model,
            "version": asked.version,
            "state": asked.state,
            "page": str(page) if page > 1 else "",
        }
        text = urlencode({name: value for name, value in query.items() if value})
        return f"/firmware?{text}" if text else "/firmware"

    @property
    def open(self) -> bool:
        return self == Question()


@dataclass(frozen=True, slots=True)
class Running:
    """A device, what it is and what it runs; `state` is a key of UPDATE_STATES.

    `updatable`: it is registered with a Firmware Update object; `advanced`: with 33629 alone. `number` is its
    model number alone (3/0/1), which packages and campaigns go by.
    """

    endpoint: str
    label: str
    model: str
    version: str
    state: str
    updatable: bool
    number: str = ""
    advanced: bool = False

    @property
    def title(self) -> str:
        return self.label or self.endpoint


@dataclass(frozen=True, slots=True)
class VersionView:
    """A version of a model, and how many devices run it; one that is `chosen` leads back to all."""

    version: str
    devices: int
    newest: bool
    url: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model with its versions, the newest first where that can be told, else what most devices run.

    `newest` is "" where it cannot; `left` are the devices of the versions that are not here.
    """

    title: str
    devices: int
    versions: tuple[VersionView, ...]
    newest: str
    left: int
    url: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device in the list; words are "" for what it has not told. `since_ms` is since when it has told its
    version, None where it told none; `object_url` is "" where nobody knows of its Firmware Update object;
    `update` is the one that is under way."""

    running: Running
    url: str
    object_url: str
    newest: bool
    since_ms: int | None
    state: str
    result: str
    delivery: str
    protocols: tuple[str, ...]
    update: UpdateView | None = None

    @property
    def no_object(self) -> bool:
        return self.running.state == NO_OBJECT


@dataclass(frozen=True, slots=True)
class FirmwareCard:
    """A device's firmware on its own page: `facts` are its values, which the browser keeps current."""

    line: DeviceLine
    facts: tuple[tuple[str, Reading], ...]


def running(row: RunningRow, fleet: Fleet) -> Running:
    """A device as it is compared."""
    model = " ".join(filter(None, (plain_text(row.manufacturer), plain_text(row.model))))
    registration = fleet.registration(row.endpoint)
    objects = registration.objects if registration is not None else ()
    advanced = ADVANCED_FIRMWARE_UPDATE in objects and FIRMWARE_UPDATE not in objects
    updatable = FIRMWARE_UPDATE in objects or advanced
    if registration is not None and not updatable:
        state = NO_OBJECT
    else:
        told = plain_text(row.state)
        state = told if told in MEANINGS[FIRMWARE_UPDATE, 3] else STATE_UNTOLD
    return Running(
        endpoint=row.endpoint,
        label=row.label,
        model=model or UNTOLD,
        version=plain_text(row.version) or UNTOLD,
        state=state,
        updatable=updatable,
        number=plain_text(row.model),
        advanced=advanced,
    )


def answering(devices: Iterable[Running], question: Question) -> list[Running]:
    """The devices that answer to a question, by what people call them."""
    search = question.search.casefold()
    found = [
        one
        for one in devices
        if question.model in ("", one.model)
        and question.version in ("", one.version)
        and question.state in ("", one.state)
        and (not search or search in f"{one.endpoint} {one.label}".casefold())
    ]
    return sorted(found, key=lambda one: (collated(one.title), one.endpoint))


def models(devices: Iterable[Running], question: Question) -> tuple[ModelView, ...]:
    """The models with their versions, those that most devices are of first."""
    found: dict[str, Counter[str]] = {}
    for one in devices:
        found.setdefault(one.model, Counter())[one.version] += 1
    ordered = sorted(found, key=lambda title: (title == UNTOLD, -found[title].total(), collated(title)))
    return tuple(_model(title, found[title], question) for title in ordered[:MAX_MODELS])


def model_choices(known: Sequence[ModelView], question: Question) -> tuple[str, ...]:
    """The models to choose from by name, with the one that is asked for."""
    titles = {model.title for model in known} | ({question.model} if question.model else set())
    return tuple(sorted(titles, key=lambda title: (title == UNTOLD, collated(title))))


def version_choices(devices: Iterable[Running], question: Question) -> tuple[str, ...]:
    """The versions to choose from: of the model that is asked for, or of all."""
    counts = Counter(one.version for one in devices if question.model in ("", one.model))
    often = {version for version, _ in counts.most_common(MAX_VERSIONS)}
    wanted = often | ({question.version} if question.version else set())
    return tuple(sorted(wanted, key=lambda version: (version == UNTOLD, collated(version))))


def line(
    one: Running,
    latest: Sequence[LatestValue],
    since_ms: int | None,
    newest: Collection[tuple[str, str]],
    update: UpdateView | None = None,
) -> DeviceLine:
    """A device with what its Firmware Update object told; `newest` has the newest version of each model."""
    told = {value.path: value for value in latest}
    here = one.state != NO_OBJECT
    base = _ADVANCED if one.advanced else f"/{FIRMWARE_UPDATE}/0/"
    known = one.updatable or any(path.startswith(base) for path in told)
    protocols = [value for value in latest if re.fullmatch(rf"{base}8(/\d+)?", value.path)] if here else []
    return DeviceLine(
        running=one,
        url=device_url(one.endpoint),
        object_url=f"{device_url(one.endpoint)}/resources{base[:-1]}" if here and known else "",
        newest=(one.model, one.version) in newest,
        since_ms=since_ms if one.version != UNTOLD else None,
        state=_words(told.get(f"{base}3"), 3) if here else "",
        result=_words(told.get(f"{base}5"), 5) if here else "",
        delivery=_words(told.get(f"{base}9"), 9) if here else "",
        protocols=tuple(_words(value, 8) for value in protocols),
        update=update,
    )


def card(
    device: Device, latest: Sequence[LatestValue], readings: Sequence[Reading], fleet: Fleet
) -> FirmwareCard:
    """The firmware of one device, for its own page."""
    told = {value.path: value.value for value in latest}
    state = told.get("/5/0/3", told.get(f"{_ADVANCED}3"))
    row = RunningRow(device.endpoint, device.label, None, None, told.get("/3/0/3"), state)
    one = running(row, fleet)
    known = {reading.path: reading for reading in readings}
    facts = {path.replace("/5/0/", _ADVANCED) if one.advanced else path: name for path, name in FACTS.items()}
    return FirmwareCard(
        line(one, latest, None, ()),
        tuple((name, known[path]) for path, name in facts.items() if path in known),
    )


def campaign_url(devices: Sequence[Running], question: Question) -> str:
    """Where a campaign for the devices that were chosen by model or version begins; "" where none can.

    A campaign goes by the model number: devices that tell none, or several, are no choice of one.
    """
    numbers = {one.number for one in devices}
    if question.search or question.state or question.open or len(numbers) != 1 or question.version == UNTOLD:
        return ""
    query = {"model": numbers.pop(), "version": question.version}
    if not query["model"]:
        return ""
    text = urlencode({name: value for name, value in query.items() if value})
    return f"/firmware/campaigns/new?{text}"


def newest_of(versions: Collection[str]) -> str:
    """The newest of several versions, "" where they have no sure order.

    They have one if all are numbers with dots between, and none other is as high: 1.2 and 1.2.0 are equal.
    """
    ranked: list[tuple[tuple[int, ...], str]] = []
    for version in versions:
        found = _DOTTED.fullmatch(version)
        if found is None:
            return ""
        ranked.append((_rank(found[1]), version))
    ranked.sort()
    if len(ranked) < 2 or ranked[-1][0] == ranked[-2][0]:
        return ""
    return ranked[-1][1]


def _rank(dotted: str) -> tuple[int, ...]:
    numbers = [int(part) for part in dotted.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _model(title: str, counts: Counter[str], question: Question) -> ModelView:
    told = [version for version in counts if version != UNTOLD]
    newest = newest_of(told) if title != UNTOLD else ""
    if newest:
        ordered = sorted(told, key=lambda version: _rank(version.lstrip("vV")), reverse=True)
    else:
        ordered = sorted(told, key=lambda version: (-counts[version], collated(version)))
    ordered += [UNTOLD] if UNTOLD in counts else []
    mine = question.model == title
    shown = ordered[:MAX_VERSIONS]
    return ModelView(
        title=title,
        devices=counts.total(),
        versions=tuple(
            _version(version, counts[version], version == newest, replace(question, model=title), mine)
            for version in shown
        ),
        newest=newest,
        left=sum(counts[version] for version in ordered[MAX_VERSIONS:]),
        url=question.url(model="", version="") if mine else question.url(model=title, version="") + LIST,
        chosen=mine,
    )


def _version(version: str, devices: int, newest: bool, question: Question, mine: bool) -> VersionView:
    chosen = mine and question.version == version
    url = question.url(version="") if chosen else question.url(version=version) + LIST
    return VersionView(version, devices, newest, url, chosen)


def _words(value: LatestValue | None, resource_id: int) -> str:
    """A value in words, or as it came where it has none."""
    if value is None:
        return ""
    known = MEANINGS[FIRMWARE_UPDATE, resource_id].get(str(value.value))
    return gettext(known) if known is not None else plain_text(str(value.value))


@lru_cache(maxsize=16_384)  # many devices tell the same
def plain_text(value: SqlValue | None) -> str:
    """What a device told, fit to be shown and to stand in an address; "" for nothing."""
    if value is None:
        return ""
    text = value.hex() if isinstance(value, bytes) else str(value)
    return " ".join(clean(text, MAX_TEXT).split())
