"""The resource tree of a device: what its objects have by their models, what is known of it.

LwM2M Core 1.1.1 5.1.2 (attributes), 6.3 and 6.4 (operations), 7.1 (objects, instances, resources). A resource
is here when the model of its object has it for servers, or the device has told of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from ..db.reads import LatestValue
from ..lwm2m.model import ObjectDefinition, ResourceDefinition
from ..lwm2m.operations import Kind
from ..lwm2m.paths import Path
from ..lwm2m.values import DataType
from .devices import Device
from .inputs import Input, input_of
from .ports import Parts, Reporting
from .resources import PURPOSE_RESOURCE, ResourceState, describe, object_name, object_version
from .views import Reading, device_url, readings_of, unread
from .wording import CONSEQUENCES, asked_by_text

# What a page lists of resources that nobody has read yet; beyond, each instance has a page of its own.
MAX_UNREAD: Final = 1500
# Objects are open at first, those with values before the others, until so many rows are in sight.
OPEN_ROWS: Final = 80
# LwM2M Server, Access Control and Firmware Update.
HOUSEKEEPING: Final = frozenset({1, 2, 5})
# Below an object or instance, where the model is not known.
ANY: Final = "RW"
FORM_ATTRIBUTES: Final = ("pmin", "pmax", "gt", "lt", "st")


@dataclass(frozen=True)
class Known:
    """All that the house knows of a device's resources."""

    device: Device
    states: tuple[ResourceState, ...]
    readings: tuple[Reading, ...]
    reporting: Sequence[Reporting]
    observed: frozenset[Path]
    attributes: Mapping[Path, Mapping[str, str]]
    definitions: Mapping[int, ObjectDefinition | None]

    def report(self, path: Path) -> "Report":
        """How a path is reported."""
        above = (Path(path[:depth]) for depth in range(len(path) + 1))
        observed = bool(self.observed) and any(one in self.observed for one in above)
        return Report(self._own.get(path, ""), observed, self.attributes.get(path, {}))

    @cached_property
    def _own(self) -> Mapping[Path, str]:
        """The state of each observation of a single path."""
        return {one.paths[0]: one.state for one in self.reporting if not one.composite}


@dataclass(frozen=True, slots=True)
class Report:
    """How a path is reported. `state` is that of its own observation, "" where there is none; `observed`
    whether the device reports it, be it by the observation of more; `set` the attributes there."""

    state: str = ""
    observed: bool = False
    set: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        return self.state in ("active", "waiting")

    @property
    def text(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.set.items())


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """A resource: `readings` hold its newest value, one each instance of a multiple one. Where none was told,
    the one there is `told` False and has no text; what has no value to read has no reading."""

    path: str
    name: str
    readings: tuple[Reading, ...]
    told: bool
    multiple: bool
    operations: str
    report: Report

    @property
    def readable(self) -> bool:
        return "R" in self.operations

    @property
    def writable(self) -> bool:
        return "W" in self.operations

    @property
    def executable(self) -> bool:
        return "E" in self.operations

    @property
    def confirmed(self) -> bool:
        """Whether an Execute does what one may regret."""
        return bool(consequence(Path.parse(self.path)))

    @property
    def time_ms(self) -> int:
        return max((reading.time_ms for reading in self.readings), default=0)


@dataclass(frozen=True, slots=True)
class InstanceView:
    """An instance; `left_out` counts resources that only its own page lists."""

    id: int
    path: str
    purpose: str
    rows: tuple[ResourceRow, ...]
    report: Report
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class ObjectView:
    """An object that the device has; `version` is "" where the device named none."""

    id: int
    path: str
    name: str
    version: str
    instances: tuple[InstanceView, ...]
    report: Report
    open: bool = False

    @property
    def told(self) -> bool:
        """Whether the device has told any value of it."""
        return any(row.told for part in self.instances for row in part.rows)


@dataclass(frozen=True, slots=True)
class ObservationView:
    """An observation in words; `ask` is what a form sends to end it, "" where there is nothing to end."""

    paths: tuple[str, ...]
    composite: bool
    state: str
    asked_by: str
    since_ms: int
    attributes: str
    ask: str


@dataclass(frozen=True, slots=True)
class PathView:
    """What a page about one path shows. `inputs` None: nothing can be written there."""

    path: str
    url: str
    name: str
    objects: tuple[ObjectView, ...]
    report: Report
    readable: bool
    executable: bool
    numeric: bool
    consequence: str
    wanted: Input | None
    units: str
    range: str

    @property
    def whole(self) -> bool:
        """Whether it is an object or an instance."""
        return len(Path.parse(self.path)) < 3

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that make sense there: gt, lt and st are for numbers (LwM2M Core 1.1.1 5.1.2)."""
        return FORM_ATTRIBUTES if self.numeric else FORM_ATTRIBUTES[:2]


def known(parts: Parts, device: Device, latest: Sequence[LatestValue], *also: int) -> Known:
    """What is known of a device's resources now; with the models of the objects in `also`."""
    observed = parts.fleet.observed(device.endpoint)
    states = describe(latest, parts.models, device.registration, observed)
    ids = {state.object_id for state in states} | set(_registered(device)) | set(also)
    definitions = {
        number: parts.models.object(number, object_version(device.registration, number)) for number in ids
    }
    return Known(
        device=device,
        states=states,
        readings=readings_of(states),
        reporting=parts.fleet.reporting(device.endpoint),
        observed=observed,
        attributes=parts.fleet.attributes(device.endpoint),
        definitions=definitions,
    )


def tree(found: Known, below: Path = Path.ROOT) -> tuple[ObjectView, ...]:
    """The objects at or below a path that the device has registered or told of."""
    told: dict[tuple[int, int], dict[int, list[tuple[ResourceState, Reading]]]] = {}
    for state, reading in zip(found.states, found.readings, strict=True):
        instance = told.setdefault((state.object_id, state.instance_id), {})
        instance.setdefault(state.resource_id, []).append((state, reading))
    instances: dict[int, set[int]] = {n: set(ids) for n, ids in _registered(found.device).items()}
    for number, instance_id in told:
        instances.setdefault(number, set()).add(instance_id)
    views: list[ObjectView] = []
    room = MAX_UNREAD
    for number in sorted(instances):
        if not _related(Path((number,)), below):
            continue
        parts: list[InstanceView] = []
        for instance_id in sorted(instances[number]):
            path = Path((number, instance_id))
            if _related(path, below):
                view = _instance(found, path, told.get((number, instance_id), {}), room, below)
                room -= sum(not row.told for row in view.rows)
                parts.append(view)
        views.append(_object(found, number, tuple(parts)))
    return _opened(views)


def path_view(found: Known, path: Path) -> PathView:
    """What can be asked of a path of one to four numbers, whether or not the device has it."""
    definition = _resource(found, path)
    operations = definition.operations if definition is not None else ANY
    present = [
        (Path.parse(state.path), state.value)
        for state in found.states
        if path.resource.covers(Path.parse(state.path))
    ]
    data_type = _type(found, path, definition)
    wanted = None
    if len(path) > 2 and "W" in operations:
        multiple = definition is not None and definition.multiple and len(path) == 3
        range_text = definition.range_text if definition is not None else None
        wanted = input_of(path, data_type, range_text, present, multiple=multiple)
    units = next((reading.unit for reading in found.readings if path.covers(Path.parse(reading.path))), "")
    return PathView(
        path=str(path),
        url=f"{device_url(found.device.endpoint)}/resources{path}",
        name=_name(found, path, definition),
        objects=tree(found, path),
        report=found.report(path),
        readable=len(path) < 3 or "R" in operations,
        executable=len(path) == 3 and "E" in operations,
        numeric=len(path) > 2 and data_type in (DataType.INTEGER, DataType.UNSIGNED, DataType.FLOAT),
        consequence=consequence(path),
        wanted=wanted,
        units=units if len(path) > 2 else "",
        range=(definition.range_text or "") if definition is not None else "",
    )


def observations(found: Known) -> tuple[ObservationView, ...]:
    """What the device is wanted to report, by path."""
    return tuple(
        ObservationView(
            paths=tuple(map(str, one.paths)),
            composite=one.composite,
            state=one.state,
            asked_by=asked_by_text(one.asked_by),
            since_ms=one.since_ms,
            attributes=_attributes_text(found, one.paths),
            ask=" ".join([Kind.CANCEL, *map(str, one.paths)]) if one.state != "off" else "",
        )
        for one in sorted(found.reporting, key=lambda one: one.paths)
    )


def consequence(path: Path) -> str:
    """What an Execute does that one may regret, "" for the rest."""
    return CONSEQUENCES.get((path[0], path[2]), "") if len(path) == 3 else ""


def _registered(device: Device) -> dict[int, list[int]]:
    objects = device.registration.objects if device.registration is not None else {}
    return {int(number): entry["instances"] for number, entry in objects.items()}


def _related(path: Path, below: Path) -> bool:
    return path.covers(below) or below.covers(path)


def _object(found: Known, number: int, instances: tuple[InstanceView, ...]) -> ObjectView:
    definition = found.definitions[number]
    path = Path((number,))
    return ObjectView(
        id=number,
        path=str(path),
        name=definition.name if definition is not None else object_name(None, number),
        version=object_version(found.device.registration, number) or "",
        instances=instances,
        report=found.report(path),
    )


def _opened(views: Sequence[ObjectView]) -> tuple[ObjectView, ...]:
    """The same with some of them open."""
    opened: set[int] = set()
    shown = 0
    # What a device measures goes before the housekeeping of the protocol, of which there is much.
    for view in sorted(views, key=lambda view: (not view.told, view.id in HOUSEKEEPING, view.id)):
        if shown < OPEN_ROWS and (view.id not in HOUSEKEEPING or not shown):
            opened.add(view.id)
        shown += sum(len(part.rows) for part in view.instances)
    return tuple(replace(view, open=view.id in opened) for view in views)


def _instance(
    found: Known,
    path: Path,
    told: Mapping[int, Sequence[tuple[ResourceState, Reading]]],
    room: int,
    below: Path,
) -> InstanceView:
    definition = found.definitions[path[0]]
    defined = definition.resources if definition is not None else {}
    rows: list[ResourceRow] = []
    left_out = 0
    for number in sorted(defined.keys() | told.keys()):
        at = path.child(number)
        resource = defined.get(number)
        if not _related(at, below) or (
            number not in told and resource is not None and not resource.operations
        ):
            continue
        if number in told:
            rows.append(_told(found, at, resource, told[number]))
        elif room > 0 and resource is not None:
            room -= 1
            rows.append(_untold(found, at, resource))
        else:
            left_out += 1
    purpose = next((str(s.value) for s, _ in told.get(PURPOSE_RESOURCE, ()) if s.value), "")
    return InstanceView(path[1], str(path), purpose, tuple(rows), found.report(path), left_out)


def _told(
    found: Known,
    path: Path,
    definition: ResourceDefinition | None,
    values: Sequence[tuple[ResourceState, Reading]],
) -> ResourceRow:
    state = values[0][0]
    return ResourceRow(
        path=str(path),
        name=state.name,
        readings=tuple(reading for _, reading in values),
        told=True,
        multiple=state.resource_instance_id is not None,
        operations=definition.operations if definition is not None else ANY,
        report=found.report(path),
    )


def _untold(found: Known, path: Path, definition: ResourceDefinition) -> ResourceRow:
    return ResourceRow(
        path=str(path),
        name=definition.name,
        readings=(unread(path, definition),) if definition.readable else (),
        told=False,
        multiple=False,
        operations=definition.operations,
        report=found.report(path),
    )


def _resource(found: Known, path: Path) -> ResourceDefinition | None:
    definition = found.definitions.get(path[0])
    return definition.resources.get(path[2]) if definition is not None and len(path) > 2 else None


def _type(found: Known, path: Path, definition: ResourceDefinition | None) -> DataType:
    """The data type by the model, else as the device has told it, else text."""
    if definition is not None and definition.data_type is not DataType.NONE:
        return definition.data_type
    told = (DataType(s.data_type) for s in found.states if path.covers(Path.parse(s.path)))
    return next(told, DataType.STRING) if len(path) > 2 else DataType.NONE


def _name(found: Known, path: Path, definition: ResourceDefinition | None) -> str:
    if definition is not None:
        return definition.name
    model = found.definitions.get(path[0])
    name = model.name if model is not None else object_name(None, path[0])
    return name if len(path) < 3 else f"{name}: {path[2]}"


def _attributes_text(found: Known, paths: Sequence[Path]) -> str:
    texts = [(path, found.report(path).text) for path in paths]
    named = [f"{path}: {text}" if len(paths) > 1 else text for path, text in texts if text]
    return "; ".join(named)
