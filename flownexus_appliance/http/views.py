"""What the pages show, put together from what the house knows; templates only lay it out."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from ..db.reads import LatestValue
from ..lwm2m.model import ResourceDefinition
from ..lwm2m.paths import Path
from ..lwm2m.plain import PlainValue
from ..lwm2m.watch import SENSOR_RESOURCES
from .devices import Device
from .language import N_
from .resources import PURPOSE_RESOURCE, ResourceState
from .wording import CORE_UNITS, labels_of, moment_text, number_text, unit_text

NUMERIC: Final = frozenset({"integer", "unsigned", "float", "boolean"})
HOUR_S: Final = 3600
RANGES: Final[Mapping[str, int]] = {
    "1h": HOUR_S,
    "24h": 24 * HOUR_S,
    "7d": 7 * 24 * HOUR_S,
    "30d": 30 * 24 * HOUR_S,
    "1y": 365 * 24 * HOUR_S,
    "all": 0,  # from the first sample on
}
# A device that has told for less than this shows its first hour, not a sliver of a day.
YOUNG_S: Final = 3 * HOUR_S

# Readings, On/Off and Dimmer.
SENSED: Final = frozenset(SENSOR_RESOURCES) | {5850, 5851}
# Of those, the names that say nothing without their object's.
GENERIC: Final = SENSED - {5705, 5800}
# Shorter words for what every second card shows.
SHORT: Final[Mapping[tuple[int, int], str]] = {
    (3, 7): "Supply voltage",
    (3, 9): "Battery",
    (4, 2): "Signal strength",
    (6, 0): "Latitude",
    (6, 1): "Longitude",
    (6, 2): "Altitude",
}
# Numbers worth a chart of the first row although they are no sensor: battery, voltage, signal, place.
# Latitude and longitude of the objects that tell a place: a track in place of two curves.
PLACES: Final = ((6, 0, 1), (3336, 6051, 6052), (3336, 5514, 5515))
VITAL: Final = {(3, 9): 2, (3, 7): 3, (4, 2): 4, (6, 0): 5, (6, 1): 6, (6, 2): 7}
# Colours by what is measured; tokens.css gives them their values.
HUES: Final[Mapping[int, str]] = {
    3: "power",
    6: "place",
    3300: "plain",
    3301: "light",
    3302: "motion",
    3303: "warm",
    3304: "water",
    3305: "power",
    3313: "motion",
    3314: "motion",
    3315: "air",
    3316: "power",
    3317: "power",
    3318: "power",
    3323: "air",
    3324: "air",
    3325: "air",
    3327: "water",
    3328: "power",
    3330: "place",
    3331: "power",
    3334: "motion",
    3335: "light",
    3346: "motion",
    3428: "air",
}
IDENTITY: Final[Mapping[str, str]] = {
    "/3/0/0": N_("Manufacturer"),
    "/3/0/1": N_("Model"),
    "/3/0/17": N_("Type"),
    "/3/0/2": N_("Serial number"),
    "/3/0/3": N_("Firmware"),
    "/3/0/19": N_("Software"),
    "/3/0/18": N_("Hardware"),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """A value as it is shown. `kind` tells the browser how to write the next one: number, degrees,
    labels, time or text; `moment_ms` is the value itself where it is a time."""

    path: str
    name: str
    title: str
    text: str
    unit: str
    kind: str
    labels: Mapping[str, str] | None
    hue: str
    time_ms: int
    moment_ms: int | None
    operations: str
    observed: bool
    plotted: bool
    stepped: bool
    rank: tuple[int, ...]

    @property
    def labels_json(self) -> str:
        return json.dumps(self.labels) if self.labels else ""


@dataclass(frozen=True, slots=True)
class Track:
    """Where a device was: the resources that tell its latitude and longitude."""

    latitude: Reading
    longitude: Reading

    @property
    def path(self) -> str:
        """The object instance that both are of."""
        return self.latitude.path.rpartition("/")[0]

    @property
    def source(self) -> str:
        """Where its samples are read: older devices tell coordinates as text, which is no chart."""
        return "series" if self.latitude.plotted and self.longitude.plotted else "history"


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A device but for its tree; `charts` are what one comes for, `other_charts` the rest of the numbers."""

    device: Device
    title: str
    subtitle: str
    identity: tuple[tuple[str, str], ...]
    tracks: tuple[Track, ...]
    charts: tuple[Reading, ...]
    other_charts: tuple[Reading, ...]
    range: str
    observed: int


def device_url(endpoint: str) -> str:
    return "/devices/" + quote(endpoint, safe="")


def device_page(
    device: Device,
    latest: Sequence[LatestValue],
    readings: Sequence[Reading],
    now_ms: int,
    chosen_range: str,
) -> DevicePage:
    """A device with its newest values; `chosen_range` is a key of RANGES or "" for what fits its age."""
    plotted = sorted((r for r in readings if r.plotted), key=lambda r: (not r.rank, r.rank))
    tracks = tracks_of(readings)
    tracked = {one.path for track in tracks for one in (track.latitude, track.longitude)}
    main = [r for r in plotted if r.rank and r.path not in tracked]
    texts = {value.path: str(value.value) for value in latest}
    young = now_ms - device.first_seen_ms < YOUNG_S * 1000
    return DevicePage(
        device=device,
        title=device.label or device.endpoint,
        subtitle=subtitle(latest),
        identity=tuple((term, texts[path]) for path, term in IDENTITY.items() if texts.get(path)),
        tracks=tracks,
        charts=tuple(main),
        other_charts=tuple(r for r in plotted if r not in main),
        range=chosen_range or ("1h" if young else "24h"),
        observed=sum(r.observed for r in readings),
    )


def tracks_of(readings: Sequence[Reading]) -> tuple[Track, ...]:
    """A track each object instance that tells both of its coordinates."""
    known = {reading.path: reading for reading in readings}
    found: dict[str, Track] = {}
    for latitude in readings:
        path = Path.parse(latitude.path)
        for object_id, first, second in PLACES:
            longitude = known.get(str(Path((path[0], path[1], second))))
            if (path[0], path[2:]) == (object_id, (first,)) and longitude is not None:
                found.setdefault(str(Path(path[:2])), Track(latitude, longitude))
    return tuple(found.values())


def readings_of(states: Sequence[ResourceState]) -> tuple[Reading, ...]:
    """The values as they are shown, one each state."""
    purposes = _purposes(states)
    siblings = {(s.object_id, s.instance_id) for s in states}
    objects = Counter(object_id for object_id, _ in siblings)
    resources = Counter(_resource(state) for state in states)
    found: list[Reading] = []
    for state in states:
        purpose = purposes.get((state.object_id, state.instance_id), "")
        title = _title(state, purpose, alone=objects[state.object_id] == 1)
        # A multiple resource with a single instance needs no number.
        suffix = f" [{state.resource_instance_id}]" if resources[_resource(state)] > 1 else ""
        found.append(_reading(state, state.name + suffix, title + suffix))
    return tuple(found)


def _resource(state: ResourceState) -> tuple[int, int, int]:
    return state.object_id, state.instance_id, state.resource_id


def _reading(state: ResourceState, name: str, title: str) -> Reading:
    path = Path((state.object_id, state.instance_id, state.resource_id))
    labels = labels_of(state.object_id, state.resource_id, state.data_type)
    numeric = state.data_type in NUMERIC and isinstance(state.value, (int, float))
    kind, unit = _kind(path, state.data_type, state.units)
    if (kind in ("number", "degrees") and not numeric) or (
        kind == "time" and not isinstance(state.value, int)
    ):
        kind = "text"
    return Reading(
        path=state.path,
        name=name,
        title=title,
        text=_text(state.value, kind, labels),
        unit=unit,
        kind=kind,
        labels=labels,
        hue=HUES.get(state.object_id, "plain"),
        time_ms=state.time_ms,
        moment_ms=state.value * 1000 if kind == "time" and isinstance(state.value, int) else None,
        operations=state.operations,
        observed=state.observed,
        plotted=numeric,
        stepped=labels is not None,
        rank=_rank(state) if numeric else (),
    )


def value_text(path: Path, value: PlainValue, data_type: str, units: str) -> tuple[str, str, int | None]:
    """A value as it is written, its unit, and in ms since 1970 the moment that it is, where it is one."""
    labels = labels_of(path[0], path[2], data_type)
    kind, unit = _kind(path, data_type, units or CORE_UNITS.get((path[0], path[2]), ""))
    moment_ms = value * 1000 if kind == "time" and isinstance(value, int) else None
    return _text(value, kind, labels), unit, moment_ms


def unread(path: Path, definition: ResourceDefinition) -> Reading:
    """What stands for a value that is not known yet, so that the browser can write it when it comes."""
    data_type = definition.data_type.value
    labels = labels_of(path[0], path[2], data_type)
    kind, unit = _kind(path, data_type, definition.units or CORE_UNITS.get((path[0], path[2]), ""))
    return Reading(
        path=str(path),
        name=definition.name,
        title=definition.name,
        text="",
        unit=unit,
        kind=kind,
        labels=labels,
        hue=HUES.get(path[0], "plain"),
        time_ms=0,
        moment_ms=None,
        operations=definition.operations,
        observed=False,
        plotted=False,
        stepped=labels is not None,
        rank=(),
    )


def _kind(path: Path, data_type: str, units: str) -> tuple[str, str]:
    """How values of a resource are written, and their unit."""
    if labels_of(path[0], path[2], data_type) is not None:
        return "labels", ""
    if data_type in NUMERIC:
        degrees = units in ("lat", "lon") or (path[0] == 6 and path[2] in (0, 1))
        return ("degrees", "°") if degrees else ("number", unit_text(units))
    return "time" if data_type == "time" else "text", unit_text(units)


def _text(value: PlainValue, kind: str, labels: Mapping[str, str] | None) -> str:
    if kind == "labels":
        key = str(value).lower() if isinstance(value, bool) else str(value)
        return (labels or {}).get(key, str(value))
    if kind in ("number", "degrees") and isinstance(value, (int, float)):
        return number_text(value, degrees=kind == "degrees")
    if kind == "time" and isinstance(value, int):
        return moment_text(value * 1000)
    return str(value)


def _rank(state: ResourceState) -> tuple[int, ...]:
    """Where a number stands among a device's most telling ones; () for those that are not."""
    place = (state.object_id, state.instance_id, state.resource_id, state.resource_instance_id or 0)
    if state.resource_id in SENSED:
        return (int(state.data_type == "boolean"), *place)
    vital = VITAL.get((state.object_id, state.resource_id))
    return (vital, *place) if vital is not None else ()


def telling(path_text: str) -> bool:
    """Whether a card has use for a resource: it is ranked, or names one that is."""
    path = Path.parse(path_text)
    return path[2] in SENSED or path[2] == PURPOSE_RESOURCE or (path[0], path[2]) in VITAL


def _title(state: ResourceState, purpose: str, *, alone: bool) -> str:
    """What a value is called away from its object: Temperature, not Sensor Value."""
    if state.resource_id not in GENERIC:
        full = state.name if state.object_id == 3 else f"{state.object_name}: {state.name}"
        return SHORT.get((state.object_id, state.resource_id), full)
    name = state.object_name
    if state.resource_id in (5702, 5703, 5704):
        name = f"{name} {'XYZ'[state.resource_id - 5702]}"
    if purpose:
        return f"{name}, {purpose}"
    return name if alone else f"{name} {state.instance_id}"


def _purposes(states: Sequence[ResourceState]) -> dict[tuple[int, int], str]:
    return {
        (s.object_id, s.instance_id): str(s.value)
        for s in states
        if s.resource_id == PURPOSE_RESOURCE and s.value
    }


def subtitle(latest: Sequence[LatestValue]) -> str:
    """What a device is: manufacturer and model, as far as it told."""
    known = {v.path: str(v.value) for v in latest if v.path in ("/3/0/0", "/3/0/1")}
    return " ".join(filter(None, (known.get("/3/0/0"), known.get("/3/0/1"))))
