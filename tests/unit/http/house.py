"""A small house for the web side to stand in: a real database, a real bus, a fleet that does as told.

Shared by tests/unit/http and tests/browser.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.credentials import Proof
from flownexus_appliance.db.reads import EndpointRow, Reader
from flownexus_appliance.db.store import Store
from flownexus_appliance.errors import ApplianceError
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration
from flownexus_appliance.lwm2m.values import DataType, Record, Value

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
# Everything a name can hold that could break an address or a page.
STRANGE = 'kitchen/north & "east" <b>100%</b> ä?#'
SENSOR = "urn:imei:352656100123456"
SLEEPER = "sleeper"
QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the fleet's `perform` answers."""

    status: str = "CONFIRMED"
    code: str = "2.05"
    values: tuple[Record, ...] = ()
    links: tuple[Link, ...] = ()
    message: str = ""
    hint: str = ""


Call = tuple[str, str, Path, object, str | None]


@dataclass(slots=True)
class FakeFleet:
    """Says what it is told to say, and notes what it is asked to do."""

    states: dict[str, str] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    watched: frozenset[Path] = frozenset()
    proofs: dict[str, Proof] = field(default_factory=dict)
    outcome: Outcome | ApplianceError = Outcome()
    calls: list[Call] = field(default_factory=list)

    def presence(self, endpoint: str) -> str:
        return self.states.get(endpoint, "offline")

    def heard_ms(self, endpoint: str) -> int | None:
        return self.heard.get(endpoint)

    def observed(self, endpoint: str) -> frozenset[Path]:
        return self.watched if endpoint in self.states else frozenset()

    def proof(self, endpoint: str) -> Proof | None:
        return self.proofs.get(endpoint)

    def counts(self) -> Mapping[str, int]:
        states = list(self.states.values())
        return {state: states.count(state) for state in ("online", "sleeping", "offline")}

    async def perform(
        self, endpoint: str, operation: str, path: Path, value: object | None, arguments: str | None
    ) -> Outcome:
        self.calls.append((endpoint, operation, path, value, arguments))
        if isinstance(self.outcome, ApplianceError):
            raise self.outcome
        return self.outcome


def record(path: str, value: Value, data_type: DataType, time_ms: int | None = None) -> Record:
    return Record(Path.parse(path), value, data_type, time_ms)


def registration(endpoint: str, *, queue_mode: bool = False) -> Registration:
    objects = {
        1: RegisteredObject("1.1", (0,)),
        3: RegisteredObject("1.2", (0,)),
        3303: RegisteredObject("1.1", (0, 1)),
    }
    return Registration(
        id=f"r-{len(endpoint)}-{endpoint[0]}",
        endpoint=endpoint,
        address="192.168.1.20:5683",
        lwm2m_version="1.1",
        lifetime_s=300,
        binding="U",
        queue_mode=queue_mode,
        root_path="/",
        objects=objects,
        content_formats=(112, 110),
        message_id=1,
        token=b"t",
        registered_ms=NOW_MS - 5 * HOUR_MS,
        updated_ms=NOW_MS - 60_000,
        expires_at=0.0,
    )


# What SENSOR has told: identity, units, a place, a switch, text that a page must not take for markup.
IDENTITY = (
    record("/3/0/0", "Nordic <Semi>", DataType.STRING),
    record("/3/0/1", "Thingy:91", DataType.STRING),
    record("/3/0/3", "1.4.2", DataType.STRING),
    record("/3/0/9", 87, DataType.INTEGER),
    record("/3/0/11/0", 0, DataType.INTEGER),
    record("/3/0/13", 1_794_996_400, DataType.TIME),
    record("/3303/0/5701", "Cel", DataType.STRING),
    record("/3342/0/5500", True, DataType.BOOLEAN),
    record("/32769/0/7", b"\x01\xff", DataType.OPAQUE),
)


def curve(path: str, count: int, step_ms: int) -> tuple[Record, ...]:
    """Samples up to now, one each `step_ms`: 20.0, 20.5, ... going round at 30."""
    return tuple(
        record(path, 20.0 + (index % 20) / 2, DataType.FLOAT, NOW_MS - (count - 1 - index) * step_ms)
        for index in range(count)
    )


async def fill(
    path: FilePath,
    models: ModelSet,
    devices: Mapping[str, Sequence[Record]],
    *,
    registered: Sequence[str] = (),
    asleep: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
) -> None:
    """Make a database that holds these devices and what they have told."""
    store = Store(path, partial(describe, models))
    await store.start()
    try:
        for endpoint in registered:
            store.put_registration(registration(endpoint, queue_mode=endpoint in asleep))
        for endpoint, records in devices.items():
            store.add_samples(endpoint, records, NOW_MS - 30_000)
        await store.commit()
    finally:
        await store.stop()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "UPDATE endpoint SET label = ? WHERE name = ?",
            [(label, name) for name, label in (labels or {}).items()],
        )


def secured(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every registration be one over DTLS."""

    def over_dtls(row: EndpointRow) -> EndpointRow:
        registration = row.registration
        return row if registration is None else replace(row, registration=replace(registration, secure=True))

    one, many = reader.endpoint, reader.endpoints

    async def endpoint(name: str) -> EndpointRow | None:
        row = await one(name)
        return None if row is None else over_dtls(row)

    async def endpoints(names: Sequence[str]) -> list[EndpointRow]:
        return [over_dtls(row) for row in await many(names)]

    monkeypatch.setattr(reader, "endpoint", endpoint)
    monkeypatch.setattr(reader, "endpoints", endpoints)
