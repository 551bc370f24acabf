"""Whether a device has come by the credential it was given, for who waits for it."""

from dataclasses import dataclass

from .credentials import entry_of
from .devices import Device, device
from .ports import Parts
from .views import Reading, device_url
from .views_overview import card


@dataclass(frozen=True, slots=True)
class Arrival:
    """A credential that is waited for. `came_ms` is its first use, None while there is none.

    `registered`: the device stands registered now; `readings` are the first that it told.
    """

    credential_id: int
    endpoint: str
    title: str
    url: str
    came_ms: int | None
    registered: bool
    readings: tuple[Reading, ...] = ()


async def arrival(parts: Parts, credential_id: int) -> Arrival:
    """How it stands now; raises UsageError: credential_unknown, endpoint_unknown."""
    entry = entry_of(parts.credentials.get(credential_id))
    found = await device(parts, entry.endpoint)
    came = entry.first_used_ms
    registered = came is not None and parts.fleet.registration(entry.endpoint) is not None
    return Arrival(
        credential_id=entry.id,
        endpoint=entry.endpoint,
        title=found.label or entry.endpoint,
        url=device_url(entry.endpoint),
        came_ms=came,
        registered=registered,
        readings=await _readings(parts, found) if registered else (),
    )


async def _readings(parts: Parts, found: Device) -> tuple[Reading, ...]:
    latest = await parts.reader.latest_of([found.endpoint])
    return card(found, latest[found.endpoint], parts.models).readings
