"""What pages and the API read: endpoints, credentials, operations, values, charts, firmware updates. Never
writes.

A few read-only connections, so that a long query does not hold up a page. Everything returned is a
frozen dataclass of plain values, ready to be shown or encoded.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any, Final

import aiosqlite

from ..lwm2m.firmware import Reason, UpdateState
from ..lwm2m.paths import Path
from ..lwm2m.plain import PlainValue, to_plain
from ..lwm2m.values import DataType
from .charts import Chart, read_chart
from .credentials import SHOWN, CredentialRow, credential_row
from .firmware import Campaign, FirmwareUpdate, UpdateStep
from .firmware_reads import KNOWN_SINCE, RUNNING, RunningRow
from .firmware_rows import COUNTS, STEPS, campaign_of, counts_of, step_of, update_of
from .history import Sample, Span, export_pieces, samples_page
from .noted import FAILED, LISTED, LISTED_TAGGED, TAGGED, TAGS, ListedEndpoint, TagCount, same_tag
from .operation_reads import ATTEMPTS, ONE, OperationQuestion, attempt_of, select
from .operations import Attempt, EndpointOperation, operation_of
from .people import AuditQuestion, AuditRow, audit_row, select_audit
from .series_reads import KINDS, OF_KIND, SeriesKind, SeriesPlace
from .storage import Storage, StorageFigures
from .store import from_sql
from .update_reads import (
    CAMPAIGN,
    CAMPAIGNS_PAGE,
    FAILURES,
    FIRMWARE_COUNTS,
    FIRMWARE_REACHED,
    LAST,
    UPDATE,
    Failures,
    ListedUpdate,
    UpdateQuestion,
    select_updates,
)

CONNECTIONS: Final = 3
# What one page takes from the file at a time, and in all: values may be large, and a page is made of them in
# the event loop. A page that is full before its limit ends early.
FETCH_ROWS: Final = 50
MAX_PAGE_BYTES: Final = 1024 * 1024
SENSOR_UNITS: Final = 5701
# What resource 5701 gives the units of (OMA reusable resources): the value, its extremes and range.
_MEASURED: Final = frozenset((5601, 5602, 5603, 5604, 5700, 5702, 5703, 5704))


@dataclass(frozen=True, slots=True)
class RegistrationRow:
    """A registration as it is shown; times in ms since 1970 UTC. `secure`: it came over DTLS."""

    id: str
    address: str
    lwm2m_version: str
    lifetime_s: int
    binding: str
    queue_mode: bool
    root_path: str
    objects: dict[str, Any]
    content_formats: list[int]
    attributes: dict[str, str]
    registered_ms: int
    updated_ms: int
    expires_ms: int
    secure: bool


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint as it is shown. One that has a credential and was never seen has the times 0.

    `awake_window_s` is how long it listens in Queue Mode after it was heard; None: as configured.
    """

    id: int
    endpoint: str
    label: str
    first_seen_ms: int
    last_seen_ms: int
    registration: RegistrationRow | None
    awake_window_s: float | None = None
    notes: str = ""
    tags: tuple[str, ...] = ()

    @property
    def seen(self) -> bool:
        return self.first_seen_ms > 0


@dataclass(frozen=True, slots=True)
class LatestValue:
    """The newest sample of one series. OPAQUE values are hexadecimal text, links `66:0`."""

    endpoint: str
    path: str
    name: str
    data_type: str
    units: str
    value: PlainValue
    time_ms: int


_ENDPOINTS: Final = """
    SELECT e.id, e.name, e.label, e.first_seen_ms, e.last_seen_ms, e.awake_window_s, e.notes,
           (SELECT json_group_array(tag) FROM endpoint_tag WHERE endpoint_id = e.id) AS tags,
           r.id AS registration_id, r.address, r.lwm2m_version, r.lifetime_s, r.binding, r.queue_mode,
           r.root_path, r.objects, r.content_formats, r.attributes, r.registered_ms, r.updated_ms,
           r.expires_ms, r.session
    FROM endpoint e LEFT JOIN registration r ON r.endpoint_id = e.id
"""
_LATEST: Final = """
    SELECT e.name AS endpoint, s.path, s.data_type, t.name, t.units, newest.time_ms,
           newest.value
    FROM endpoint e
    JOIN series s ON s.endpoint_id = e.id
    JOIN resource_type t ON t.id = s.resource_type_id
    JOIN resource newest ON newest.series_id = s.id AND newest.time_ms =
         (SELECT time_ms FROM resource WHERE series_id = s.id ORDER BY time_ms DESC LIMIT 1)
"""


class Reader:
    """The reading side of the database: a small pool of connections."""

    def __init__(self, path: FilePath) -> None:
        self._path = path.absolute()
        self._connections: list[aiosqlite.Connection] = []
        self._free: asyncio.Queue[aiosqlite.Connection] = asyncio.Queue()
        self._figures = StorageFigures(self._path, self._rows)

    async def start(self) -> None:
        address = f"{self._path.as_uri()}?mode=ro"
        try:
            for _ in range(CONNECTIONS):
                connection = await aiosqlite.connect(address, uri=True)
                self._connections.append(connection)
                connection.row_factory = sqlite3.Row
                await connection.execute("PRAGMA query_only = ON")
                await connection.execute("PRAGMA busy_timeout = 5000")
                self._free.put_nowait(connection)
        except BaseException:
            await self.stop()  # each connection has a thread, which would keep the process alive
            raise

    async def stop(self) -> None:
        for connection in self._connections:
            await connection.close()
        self._connections.clear()

    async def listed(self, tag: str = "") -> list[ListedEndpoint]:
        """All endpoints, or those with a tag (as it is spelled), in no order: few bytes each, even of
        thousands."""
        rows = await self._rows(LISTED_TAGGED if tag else LISTED, {"tag": tag})
        return [ListedEndpoint(*row) for row in rows]

    async def tags(self) -> list[TagCount]:
        """All tags, in the order of the alphabet."""
        found = [TagCount(*row) for row in await self._rows(TAGS, {})]
        return sorted(found, key=lambda one: same_tag(one.tag))

    async def tagged(self) -> dict[str, list[str]]:
        """The tags of every endpoint that has any."""
        found: dict[str, list[str]] = {}
        for endpoint, tag in await self._rows(TAGGED, {}):
            found.setdefault(endpoint, []).append(tag)
        return found

    async def failed(self, since_ms: int) -> int:
        """How many operations failed since a moment, counted up to `noted.MAX_FAILED`."""
        return int((await self._rows(FAILED, {"since_ms": since_ms}))[0]["failed"])

    async def endpoints(self, names: Sequence[str]) -> list[EndpointRow]:
        """These endpoints with their registrations, by name; unknown names are passed over."""
        rows = await self._rows(
            f"{_ENDPOINTS} WHERE e.name IN (SELECT value FROM json_each(:names)) ORDER BY e.name",
            {"names": json.dumps(list(names))},
        )
        return [_endpoint(row) for row in rows]

    async def endpoint(self, name: str) -> EndpointRow | None:
        rows = await self._rows(f"{_ENDPOINTS} WHERE e.name = :name", {"name": name})
        return _endpoint(rows[0]) if rows else None

    async def credentials(self, endpoint: str) -> list[CredentialRow]:
        """All credentials that an endpoint has or had, newest first."""
        rows = await self._rows(f"{SHOWN} WHERE endpoint = :name ORDER BY id DESC", {"name": endpoint})
        return [credential_row(row) for row in rows]

    async def all_credentials(self, before_id: int | None, limit: int) -> list[CredentialRow]:
        """At most `limit` of everybody's credentials, newest first: the page behind `before_id`."""
        rows = await self._rows(
            f"{SHOWN} WHERE :before IS NULL OR id < :before ORDER BY id DESC LIMIT :limit",
            {"before": before_id, "limit": limit},
        )
        return [credential_row(row) for row in rows]

    async def operation(self, operation_id: int) -> EndpointOperation | None:
        rows = await self._rows(ONE, {"id": operation_id})
        return operation_of(rows[0]) if rows else None

    async def operations(
        self, question: OperationQuestion, limit: int
    ) -> tuple[list[EndpointOperation], int | None]:
        """A page of operations, newest first, and the id to go on behind; None at the end."""
        rows, more = await self.take(*select(question), limit)
        found = [operation_of(row) for row in rows]
        return found, found[-1].id if found and more else None

    async def attempts(self, operation_id: int) -> list[Attempt]:
        """Each sending of an operation, in order."""
        return [attempt_of(row) for row in await self._rows(ATTEMPTS, {"id": operation_id})]

    async def audit(self, question: AuditQuestion, limit: int) -> tuple[list[AuditRow], int | None]:
        """A page of changes on record, newest first, and the id to go on behind; None at the end."""
        rows, more = await self.take(*select_audit(question), limit)
        found = [audit_row(row) for row in rows]
        return found, found[-1].id if found and more else None

    async def history(
        self, endpoint: str, path: Path, span: Span, limit: int
    ) -> tuple[list[Sample], int | None] | None:
        """A page of samples, and the time to go on after (None at the end); None: no such series."""
        return await samples_page(self.take, endpoint, path, span, limit)

    def export(
        self, endpoint: str, paths: Sequence[str], span: Span
    ) -> AsyncGenerator[tuple[str, list[Sample]], None]:
        """All samples of these series in pieces, see `export_pieces`; between two no connection is held."""
        return export_pieces(self.take, endpoint, paths, span)

    async def latest(self, endpoint: str) -> list[LatestValue]:
        """The newest value of every series of an endpoint, by path as numbers."""
        rows = await self._rows(f"{_LATEST} WHERE e.name = :name", {"name": endpoint})
        return _with_units([_latest(row) for row in rows])

    async def latest_of(self, endpoints: Sequence[str]) -> dict[str, list[LatestValue]]:
        """The newest values of many endpoints at once; every name asked for is a key."""
        rows = await self._rows(
            f"{_LATEST} WHERE e.name IN (SELECT value FROM json_each(:names))",
            {"names": json.dumps(list(endpoints))},
        )
        found: dict[str, list[LatestValue]] = {name: [] for name in endpoints}
        for row in rows:
            found[row["endpoint"]].append(_latest(row))
        return {name: _with_units(values) for name, values in found.items()}

    async def running(self) -> list[RunningRow]:
        """What every endpoint that was heard says it is and runs, in no order."""
        return [RunningRow(*row) for row in await self._rows(RUNNING, {})]

    async def known_since(self, endpoints: Sequence[str]) -> dict[str, int]:
        """Since when each has told the firmware version that it told last, as far as is looked back."""
        return dict(map(tuple, await self._rows(KNOWN_SINCE, {"names": json.dumps(list(endpoints))})))

    async def update(self, update_id: int) -> FirmwareUpdate | None:
        rows = await self._rows(UPDATE, {"id": update_id})
        return update_of(rows[0]) if rows else None

    async def update_steps(self, update_id: int) -> list[UpdateStep]:
        """What happened to an update, in order."""
        return [step_of(row) for row in await self._rows(STEPS, {"id": update_id})]

    async def updates(self, question: UpdateQuestion, limit: int) -> tuple[list[ListedUpdate], int | None]:
        """A page of updates, newest first, and the id to go on behind; None at the end."""
        rows, more = await self.take(*select_updates(question), limit)
        found = [ListedUpdate(update_of(row), row["label"]) for row in rows]
        return found, found[-1].update.id if found and more else None

    async def last_updates(self, endpoints: Sequence[str]) -> dict[str, FirmwareUpdate]:
        """The newest update of each endpoint that has any."""
        rows = await self._rows(LAST, {"names": json.dumps(list(endpoints))})
        return {row["endpoint"]: update_of(row) for row in rows}

    async def firmware_counts(self) -> dict[int, dict[UpdateState, int]]:
        """How many updates of each firmware are in each state; firmware without any is not in it."""
        return counts_of(await self._rows(FIRMWARE_COUNTS, {}))

    async def firmware_reached(self) -> dict[int, int]:
        """How many devices were brought to each firmware; firmware that none was brought to is not in it."""
        return {row[0]: row[1] for row in await self._rows(FIRMWARE_REACHED, {})}

    async def campaign(self, campaign_id: int) -> Campaign | None:
        rows = await self._rows(CAMPAIGN, {"id": campaign_id})
        return campaign_of(rows[0]) if rows else None

    async def campaigns(
        self, before_id: int | None, limit: int, state: str = ""
    ) -> tuple[list[Campaign], int | None]:
        """A page of campaigns, newest first, and the id to go on behind; None at the end.

        `state` is one of `CampaignState`, or unfinished, or done; "": all.
        """
        rows, more = await self.take(CAMPAIGNS_PAGE, {"before": before_id, "state": state}, limit)
        found = [campaign_of(row) for row in rows]
        return found, found[-1].id if found and more else None

    async def campaign_counts(self, ids: Sequence[int]) -> dict[int, dict[UpdateState, int]]:
        """How many updates of these campaigns are in each state; every id asked for is a key."""
        return counts_of(await self._rows(COUNTS, {"ids": json.dumps(list(ids))}), ids)

    async def campaign_failures(self, campaign_id: int) -> list[Failures]:
        """Why devices of a campaign failed, what most failed by first."""
        rows = await self._rows(FAILURES, {"id": campaign_id})
        return [
            Failures(UpdateState(row["state"]), Reason(row["reason"]), row["result"], row["devices"])
            for row in rows
        ]

    async def kinds(self) -> list[SeriesKind]:
        """The resources that anybody has told numbers of, by object and resource id."""
        return [SeriesKind(*row) for row in await self._rows(KINDS, {})]

    async def series_of(self, object_id: int, resource_id: int, search: str, limit: int) -> list[SeriesPlace]:
        """At most `limit` series of a resource, by the name that is shown of their device, which contains
        `search`."""
        question = {"object": object_id, "resource": resource_id, "search": search, "limit": limit}
        return [SeriesPlace(*row) for row in await self._rows(OF_KIND, question)]

    async def chart(
        self, endpoint: str, path: Path, from_ms: int | None, to_ms: int, points: int
    ) -> Chart | None:
        """Numeric samples in [from_ms, to_ms) in at most `points` buckets; None: no such series.

        `from_ms` None: from the first sample on.
        """
        chart = await read_chart(self._rows, endpoint, path, from_ms, to_ms, points)
        if chart is None or chart.units or path[2] not in _MEASURED:
            return chart
        return replace(chart, units=await self._own_units(endpoint, path))

    async def storage(self) -> Storage:
        """What the database takes up; figures of the last minute."""
        return await self._figures.get()

    async def _own_units(self, endpoint: str, path: Path) -> str:
        rows = await self._rows(
            f"{_LATEST} WHERE e.name = :name AND s.path = :path",
            {"name": endpoint, "path": str(Path((*path[:2], SENSOR_UNITS)))},
        )
        return str(rows[0]["value"]) if rows else ""

    async def take(
        self, sql: str, parameters: Mapping[str, object], limit: int
    ) -> tuple[list[sqlite3.Row], bool]:
        """At most `limit` rows of a query, and whether there may be more.

        Fewer where they are large: reading ends with the piece by which they weigh `MAX_PAGE_BYTES`.
        """
        rows: list[sqlite3.Row] = []
        weight = 0
        async with self._connection() as connection, connection.execute(sql, parameters) as cursor:
            while len(rows) <= limit and weight < MAX_PAGE_BYTES:
                piece = list(await cursor.fetchmany(min(FETCH_ROWS, limit + 1 - len(rows))))
                if not piece:
                    return rows, False
                rows += piece
                weight += sum(len(cell) for row in piece for cell in row if isinstance(cell, (str, bytes)))
        return rows[:limit], True

    async def _rows(self, sql: str, parameters: Mapping[str, object]) -> list[sqlite3.Row]:
        async with self._connection() as connection, connection.execute(sql, parameters) as cursor:
            return list(await cursor.fetchall())

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[aiosqlite.Connection]:
        connection = await self._free.get()
        try:
            yield connection
        finally:
            self._free.put_nowait(connection)


def _endpoint(row: sqlite3.Row) -> EndpointRow:
    registration = None
    if row["registration_id"] is not None:
        registration = RegistrationRow(
            id=row["registration_id"],
            address=row["address"],
            lwm2m_version=row["lwm2m_version"],
            lifetime_s=row["lifetime_s"],
            binding=row["binding"],
            queue_mode=bool(row["queue_mode"]),
            root_path=row["root_path"],
            objects=json.loads(row["objects"]),
            content_formats=json.loads(row["content_formats"]),
            attributes=json.loads(row["attributes"]),
            registered_ms=row["registered_ms"],
            updated_ms=row["updated_ms"],
            expires_ms=row["expires_ms"],
            secure=bool(row["session"]),
        )
    return EndpointRow(
        id=row["id"],
        endpoint=row["name"],
        label=row["label"],
        first_seen_ms=row["first_seen_ms"],
        last_seen_ms=row["last_seen_ms"],
        registration=registration,
        awake_window_s=row["awake_window_s"],
        notes=row["notes"],
        tags=tuple(sorted(json.loads(row["tags"]), key=same_tag)),
    )


def _latest(row: sqlite3.Row) -> LatestValue:
    value = from_sql(row["value"], DataType(row["data_type"]))
    return LatestValue(
        endpoint=row["endpoint"],
        path=row["path"],
        name=row["name"],
        data_type=row["data_type"],
        units=row["units"],
        value=to_plain(value),
        time_ms=row["time_ms"],
    )


def _with_units(values: list[LatestValue]) -> list[LatestValue]:
    """Sorted by path, a sensor's own units where the model names none.

    The registry leaves the units of the reusable sensor resources to the device (resource 5701).
    """
    paths = {v.path: Path.parse(v.path) for v in values}
    own = {paths[v.path][:2]: v.value for v in values if paths[v.path][2:] == (SENSOR_UNITS,)}
    return [
        v
        if v.units or paths[v.path][2] not in _MEASURED or paths[v.path][:2] not in own
        else replace(v, units=str(own[paths[v.path][:2]]))
        for v in sorted(values, key=lambda v: paths[v.path])
    ]
