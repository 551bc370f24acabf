"""What the page that compares devices shows: the chosen series, and what there is to choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from ..db.reads import LatestValue
from ..db.series_reads import SeriesKind, SeriesPlace
from ..lwm2m.model import ModelSet
from ..lwm2m.paths import Path
from .devices import Device
from .resources import describe, object_name
from .views import GENERIC, SENSED, SHORT, VITAL, Reading, device_url, readings_of

MAX_SERIES: Final = 12
SENSOR_VALUE: Final = 5700
# Two axes, one at each side: a third could not be read.
MAX_UNITS: Final = 2
ADDRESS: Final = "/compare"
# Lines of like colours differ by their dashes too: solid, long, dots, both (SVG's stroke-dasharray).
DASHES: Final = ("", "8 4", "2 4", "10 4 2 4")


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """A series as addresses name it: path, colon, endpoint."""

    path: str
    endpoint: str

    def __str__(self) -> str:
        return f"{self.path}:{self.endpoint}"

    @property
    def kind(self) -> tuple[int, int]:
        path = Path.parse(self.path)
        return path[0], path[2]


@dataclass(frozen=True, slots=True)
class Address:
    """The whole choice, as an address holds it. `kind` is what is offered, `search` narrows that."""

    chosen: tuple[SeriesKey, ...]
    range: str
    kind: tuple[int, int] | None = None
    search: str = ""

    def url(self, chosen: Sequence[SeriesKey] | None = None) -> str:
        """The address with these series in place of its own."""
        keys = self.chosen if chosen is None else chosen
        query = [("series", str(key)) for key in keys]
        if self.kind is not None:
            query.append(("kind", kind_text(*self.kind)))
        query += [(name, text) for name, text in (("q", self.search), ("range", self.range)) if text]
        return f"{ADDRESS}?{urlencode(query, safe='/:')}"

    def ranged(self, name: str) -> str:
        """The address with another time span."""
        return replace(self, range=name).url()


@dataclass(frozen=True, slots=True)
class Compared:
    """A chosen series. `number` is its colour and dash, from 1; `axis` is 1 (left), 2 (right), or 0 for what
    is not drawn: it has no samples (then it has no `reading`), or its unit would be the third."""

    key: SeriesKey
    number: int
    axis: int
    device: str
    device_url: str
    remove_url: str
    reading: Reading | None

    @property
    def dash(self) -> str:
        return DASHES[(self.number - 1) % len(DASHES)]


@dataclass(frozen=True, slots=True)
class KindOption:
    """A resource to choose devices by: `value` is object/resource, `series` how many there are."""

    value: str
    title: str
    path: str
    sensed: bool
    series: int


@dataclass(frozen=True, slots=True)
class Offer:
    """A series that may be ticked; its path tells several of one device apart."""

    key: SeriesKey
    device: str
    chosen: bool


def kind_text(object_id: int, resource_id: int) -> str:
    return f"{object_id}/{resource_id}"


def compared(
    address: Address,
    devices: Mapping[str, Device],
    latest: Mapping[str, Sequence[LatestValue]],
    models: ModelSet,
) -> tuple[Compared, ...]:
    """The chosen series in the order of the address, each with its newest value and its axis."""
    readings = {
        name: {one.path: one for one in _readings(values, models, devices.get(name))}
        for name, values in latest.items()
    }
    axes: dict[str, int] = {}
    found: list[Compared] = []
    for number, key in enumerate(address.chosen, 1):
        reading = readings.get(key.endpoint, {}).get(key.path)
        if reading is not None and not reading.plotted:
            reading = None
        device = devices.get(key.endpoint)
        found.append(
            Compared(
                key=key,
                number=number,
                axis=0 if reading is None else _axis(axes, reading),
                device=device.label or device.endpoint if device is not None else key.endpoint,
                device_url=device_url(key.endpoint),
                remove_url=address.url([one for one in address.chosen if one != key]),
                reading=reading,
            )
        )
    return tuple(found)


def kind_options(kinds: Sequence[SeriesKind], models: ModelSet) -> tuple[KindOption, ...]:
    """The resources to choose from: what sensors measure first, then vital numbers, then the rest."""
    ranked = sorted(kinds, key=lambda kind: (kind.resource_id != SENSOR_VALUE, _title(kind, models).lower()))
    options = [_kind_option(kind, models) for kind in ranked]
    return tuple(sorted(options, key=lambda one: not one.sensed))


def offers(found: Sequence[SeriesPlace], chosen: Sequence[SeriesKey]) -> tuple[Offer, ...]:
    """The series found for a kind."""
    keys = [(SeriesKey(place.path, place.endpoint), place.label) for place in found]
    return tuple(Offer(key, label or key.endpoint, key in chosen) for key, label in keys)


def _kind_option(kind: SeriesKind, models: ModelSet) -> KindOption:
    return KindOption(
        value=kind_text(kind.object_id, kind.resource_id),
        title=_title(kind, models),
        path=f"/{kind.object_id}/*/{kind.resource_id}",
        sensed=kind.resource_id in SENSED or (kind.object_id, kind.resource_id) in VITAL,
        series=kind.series,
    )


def _title(kind: SeriesKind, models: ModelSet) -> str:
    name = object_name(models.entry(kind.object_id, None), kind.object_id)
    resource = kind.name or f"Resource {kind.resource_id}"
    full = name if kind.resource_id in GENERIC else f"{name}: {resource}"
    return SHORT.get((kind.object_id, kind.resource_id), full)


def _axis(axes: dict[str, int], reading: Reading) -> int:
    """The axis of a reading: one each unit. States have words, which are like a unit of their own."""
    unit = reading.labels_json or reading.unit
    if unit not in axes:
        axes[unit] = len(axes) + 1 if len(axes) < MAX_UNITS else 0
    return axes[unit]


def _readings(values: Sequence[LatestValue], models: ModelSet, device: Device | None) -> Sequence[Reading]:
    return readings_of(describe(values, models, device.registration if device is not None else None, ()))
