"""A device's resources as the API and the pages show them: the newest value beside what it means."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from ..db.reads import LatestValue, RegistrationRow
from ..lwm2m.model import ModelSet, ObjectEntry
from ..lwm2m.paths import Path
from ..lwm2m.plain import PlainValue
from .wording import CORE_UNITS

# Application Type: what the owner calls the sensor.
PURPOSE_RESOURCE: Final = 5750


@dataclass(frozen=True, slots=True)
class ResourceState:
    """One resource, or one resource instance, with its newest value.

    `operations` is a subset of "RWE" by the model, "" where no model knows the resource. `units` are
    as in RFC 8428, or as the device spells them.
    """

    path: str
    object_id: int
    object_name: str
    instance_id: int
    resource_id: int
    resource_instance_id: int | None
    name: str
    data_type: str
    units: str
    operations: str
    value: PlainValue
    time_ms: int
    observed: bool


def describe(
    latest: Iterable[LatestValue],
    models: ModelSet,
    registration: RegistrationRow | None,
    observed: Collection[Path],
) -> tuple[ResourceState, ...]:
    """Every resource with a value, in the order of `latest`."""
    entries: dict[int, ObjectEntry | None] = {}
    states: list[ResourceState] = []
    for value in latest:
        path = Path.parse(value.path)
        if path[0] not in entries:
            entries[path[0]] = models.entry(path[0], object_version(registration, path[0]))
        states.append(_state(path, value, entries[path[0]], observed))
    return tuple(states)


def object_version(registration: RegistrationRow | None, object_id: int) -> str | None:
    """The version of an object that the device registered, None where it named none."""
    entry = registration.objects.get(str(object_id)) if registration is not None else None
    return (entry.get("version") or None) if entry is not None else None


def object_name(entry: ObjectEntry | None, object_id: int) -> str:
    return entry.name if entry is not None else f"Object {object_id}"


def _state(
    path: Path, latest: LatestValue, entry: ObjectEntry | None, observed: Collection[Path]
) -> ResourceState:
    resource = entry.definition.resources.get(path[2]) if entry is not None else None
    units = latest.units or ((resource.units or "") if resource is not None else "")
    return ResourceState(
        path=latest.path,
        object_id=path[0],
        object_name=object_name(entry, path[0]),
        instance_id=path[1],
        resource_id=path[2],
        resource_instance_id=path[3] if len(path) > 3 else None,
        name=resource.name if resource is not None else latest.name or f"Resource {path[2]}",
        data_type=latest.data_type,
        units=units or CORE_UNITS.get((path[0], path[2]), ""),
        operations=resource.operations if resource is not None else "",
        value=latest.value,
        time_ms=latest.time_ms,
        observed=bool(observed) and any(Path(path[:depth]) in observed for depth in range(len(path), 0, -1)),
    )
