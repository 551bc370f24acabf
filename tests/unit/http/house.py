"""A small house for the web side to stand in: a real database, a real bus, a fleet that does as told.

Shared by tests/unit/http and tests/browser.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.credentials import Proof
from flownexus_appliance.db.operations import (
    Attempt,
    EndpointOperation,
    change_operation,
    put_attempt,
    put_operation,
)
from flownexus_appliance.db.operations import Outcome as Answered
from flownexus_appliance.db.reads import EndpointRow, Reader
from flownexus_appliance.db.store import Store
from flownexus_appliance.db.writer import Batch
from flownexus_appliance.errors import ApplianceError, UsageError
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m.ddf import parse_ddf
from flownexus_appliance.lwm2m.model import ModelSet, ObjectDefinition, ResourceDefinition
from flownexus_appliance.lwm2m.operations import Operation, Status, check, check_model
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration
from flownexus_appliance.lwm2m.values import DataType, Record, Value

from .noting import check_noted, note

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000
# Everything a name can hold that could break an address or a page.
STRANGE = 'kitchen/north & "east" <b>100%</b> ä?#'
SENSOR = "urn:imei:352656100123456"
SLEEPER = "sleeper"
QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation that the box asked for by itself ended."""

    status: str = "CONFIRMED"
    code: str = "2.04"
    message: str = ""
    hint: str = ""

    def operation(self, endpoint: str, operation: Operation) -> EndpointOperation:
        """It, with this end."""
        outcome = Answered(self.code, message=self.message, hint=self.hint)
        return EndpointOperation(
            1,
            endpoint,
            operation,
            "bootstrap",
            NOW_MS,
            NOW_MS,
            status=Status(self.status),
            attempts=1,
            outcome=outcome,
        )


@dataclass(frozen=True, slots=True)
class FakeReporting:
    """An observation, as `Fleet.reporting` tells it."""

    paths: tuple[Path, ...]
    composite: bool = False
    state: str = "active"
    asked_by: str = "watch list"
    since_ms: int = NOW_MS - HOUR_MS


@dataclass(slots=True)
class FakeFleet:
    """Says what it is told to say, and notes what it is asked to do.

    `models` and `database` are set by `trust.make_sources`. Who is in `states` is known, and registered
    unless offline.
    """

    states: dict[str, str] = field(default_factory=dict)
    heard: dict[str, int] = field(default_factory=dict)
    watched: frozenset[Path] = frozenset()
    proofs: dict[str, Proof] = field(default_factory=dict)
    reports: dict[str, list[FakeReporting]] = field(default_factory=dict)
    set_attributes: dict[str, dict[Path, dict[str, str]]] = field(default_factory=dict)
    configured: list[tuple[str, str | None, float | None]] = field(default_factory=list)
    ingested: list[tuple[str, tuple[Record, ...]]] = field(default_factory=list)
    failure: ApplianceError | None = None
    models: ModelSet = field(default_factory=ModelSet)
    database: FilePath | None = None

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

    def registration(self, endpoint: str) -> Registration | None:
        state = self.presence(endpoint)
        return None if state == "offline" else registration(endpoint, queue_mode=state == "sleeping")

    def registrations(self) -> Sequence[Registration]:
        found = (self.registration(endpoint) for endpoint in sorted(self.states))
        return [one for one in found if one is not None]

    def type_of(self, endpoint: str, path: Path) -> DataType | None:
        one = self.registration(endpoint)
        if one is None:
            return self.models.type_of(path)
        return self.models.with_versions({n: o.version for n, o in one.objects.items()})(path)

    def reporting(self, endpoint: str) -> Sequence[FakeReporting]:
        return self.reports.get(endpoint, ())

    def attributes(self, endpoint: str) -> Mapping[Path, Mapping[str, str]]:
        return self.set_attributes.get(endpoint, {})

    async def configure(
        self,
        endpoint: str,
        *,
        label: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        awake_window_s: float | None = None,
    ) -> None:
        if self.failure is not None:
            raise self.failure
        if endpoint not in self.states:
            raise UsageError("endpoint_unknown", f"no device is called {endpoint}", "see the list")
        check_noted(label, notes, tags)
        self.configured.append((endpoint, label, awake_window_s))
        if self.database is None:
            return
        with closing(sqlite3.connect(self.database)) as connection, connection:
            if label is not None:
                connection.execute("UPDATE endpoint SET label = ? WHERE name = ?", (label, endpoint))
            note(connection, endpoint, notes, tags)
            if awake_window_s is not None:
                connection.execute(
                    "UPDATE endpoint SET awake_window_s = ? WHERE name = ?",
                    (awake_window_s or None, endpoint),
                )

    async def ingest(self, endpoint: str, records: Sequence[Record]) -> None:
        if self.failure is not None:
            raise self.failure
        self.ingested.append((endpoint, tuple(records)))


@dataclass(frozen=True, slots=True)
class Asked:
    """A call of `Operations.ask` that was taken up."""

    endpoint: str
    operation: Operation
    by: str
    deadline_ms: int = 0
    checked: bool = True


@dataclass
class FakeOperations:
    """Decides in memory, by the real checks, and keeps its rows in the real database for the reader.

    With `ends` an operation ends so as soon as it is asked for; without, it stays QUEUED until the test
    calls `end`. `failure` is raised by every call that changes something. `awaited` is set when somebody
    waits for an operation, `left` are the ids that somebody gave up waiting for; `unseen` are the endpoints
    that only have a credential.
    """

    database: FilePath
    fleet: FakeFleet
    ends: tuple[Status, Answered] | None = None
    failure: ApplianceError | None = None
    asked: list[Asked] = field(default_factory=list)
    rows: dict[int, EndpointOperation] = field(default_factory=dict)
    awaited: asyncio.Event = field(default_factory=asyncio.Event)
    left: list[int] = field(default_factory=list)
    unseen: set[str] = field(default_factory=set)
    now_ms: int = NOW_MS
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def ask(
        self,
        endpoint: str,
        operation: Operation,
        by: str,
        *,
        deadline_ms: int = 0,
        checked: bool = True,
    ) -> EndpointOperation:
        self._fail()
        check(operation)
        if endpoint in self.unseen:
            raise UsageError("endpoint_unseen", f"{endpoint} was never here", "wait until it registers")
        if endpoint not in self.fleet.states:
            raise UsageError("endpoint_unknown", f"no device is called {endpoint}", "see the list")
        if checked:
            self._check_model(endpoint, operation)
        if deadline_ms and deadline_ms <= self.now_ms:
            raise UsageError("deadline_past", "the deadline has passed", "give a later one")
        self.asked.append(Asked(endpoint, operation, by, deadline_ms, checked))
        return await self._take(endpoint, operation, by, deadline_ms)

    async def finished(self, operation_id: int, timeout_s: float) -> EndpointOperation:
        if operation_id not in self.rows:
            raise UsageError("operation_missing", f"no operation {operation_id}", "see the list")
        self.awaited.set()
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.rows[operation_id].done)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            self.left.append(operation_id)
            raise
        return self.rows[operation_id]

    async def cancel(self, operation_id: int) -> EndpointOperation:
        self._fail()
        if self._row(operation_id).done:
            raise UsageError("operation_done", f"operation {operation_id} is done", "see what became of it")
        return await self.end(operation_id, Status.CANCELLED, Answered())

    async def retry(self, operation_id: int, by: str) -> EndpointOperation:
        self._fail()
        before = self._row(operation_id)
        if not before.done:
            raise UsageError("operation_unfinished", f"operation {operation_id} is not done", "cancel it")
        return await self._take(before.endpoint, before.operation, by, 0, operation_id)

    def waiting(self, endpoint: str) -> int:
        return sum(1 for row in self.rows.values() if row.endpoint == endpoint and not row.done)

    def counts(self) -> Mapping[str, int]:
        stand = [row.status for row in self.rows.values()]
        return {status.value: stand.count(status) for status in (Status.QUEUED, Status.SENDING)}

    async def end(self, operation_id: int, status: Status, outcome: Answered) -> EndpointOperation:
        """End one, for whoever waits for it."""
        before = self.rows[operation_id]
        attempts = before.attempts if status is Status.CANCELLED else before.attempts + 1
        ended = replace(
            before, status=status, attempts=attempts, outcome=outcome, changed_ms=self.now_ms + 40
        )
        self._keep(ended, partial(change_operation, kept=ended))
        if attempts > before.attempts:
            attempt = Attempt(
                operation_id, attempts, self.now_ms, self.now_ms + 40, outcome.code, outcome.message
            )
            self._keep(ended, partial(put_attempt, attempt=attempt))
        async with self._changed:
            self._changed.notify_all()
        return ended

    async def _take(
        self, endpoint: str, operation: Operation, by: str, deadline_ms: int, retry_of: int = 0
    ) -> EndpointOperation:
        now_ms = self.now_ms
        taken = EndpointOperation(
            len(self.rows) + 1,
            endpoint,
            operation,
            by,
            now_ms,
            now_ms,
            deadline_ms=deadline_ms,
            retry_of=retry_of,
        )
        self._keep(taken, lambda batch: put_operation(batch, self._endpoint_id(endpoint), taken))
        if self.ends is not None:
            await self.end(taken.id, *self.ends)
        return taken

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _row(self, operation_id: int) -> EndpointOperation:
        if operation_id not in self.rows:
            raise UsageError("operation_missing", f"no operation {operation_id}", "see the list")
        return self.rows[operation_id]

    def _check_model(self, endpoint: str, operation: Operation) -> None:
        one = self.fleet.registration(endpoint)
        objects = None if one is None else one.objects

        def defined(path: Path) -> ResourceDefinition | None:
            version = objects[path[0]].version if objects is not None and path[0] in objects else None
            return self.fleet.models.resource(path, version)

        known = self.fleet.models.object
        check_model(operation, objects, defined, lambda object_id: known(object_id) is not None)

    def _endpoint_id(self, endpoint: str) -> int:
        with closing(sqlite3.connect(self.database)) as connection:
            row = connection.execute("SELECT id FROM endpoint WHERE name = ?", (endpoint,)).fetchone()
        return int(row[0])

    def _keep(self, kept: EndpointOperation, put: Callable[[Batch], None]) -> None:
        batch = Batch(asyncio.get_running_loop().create_future())
        put(batch)
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for sql, parameters in batch.statements:
                connection.execute(sql, parameters)
        self.rows[kept.id] = kept


@dataclass(frozen=True, slots=True)
class FakeUpload:
    definition: ObjectDefinition
    file: str


class FakeModels:
    """The registry's models in a set of its own; what is added lives in memory, like the rest of it."""

    def __init__(self, models: ModelSet) -> None:
        self.set = models.with_objects(())
        self.kept: list[FakeUpload] = []
        self.failure: ApplianceError | None = None

    def uploaded(self) -> Sequence[FakeUpload]:
        return sorted(self.kept, key=lambda one: (one.definition.object_id, one.definition.version))

    async def add(self, data: bytes) -> Sequence[FakeUpload]:
        if self.failure is not None:
            raise self.failure
        added = [
            FakeUpload(definition, f"{definition.object_id}-{definition.version}.xml")
            for definition in parse_ddf(data)
        ]
        files = {one.file for one in added}
        self._use([one for one in self.kept if one.file not in files] + added)
        return added

    async def remove(self, object_id: int, version: str) -> None:
        if self.failure is not None:
            raise self.failure
        wanted = object_id, version
        stay = [one for one in self.kept if (one.definition.object_id, one.definition.version) != wanted]
        if len(stay) == len(self.kept):
            raise UsageError("model_unknown", f"no model {object_id} {version} was uploaded", "see the list")
        self._use(stay)

    def _use(self, kept: list[FakeUpload]) -> None:
        self.kept = kept
        self.set.overlay(one.definition for one in kept)


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
