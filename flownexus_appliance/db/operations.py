"""Operations on devices as they are kept, and what devices are wanted to report.

Owns the types and the SQL of the tables `endpoint_operation`, `operation_attempt`, `wanted_observation`
and `wanted_attributes`; `fleet/operations.py` and `fleet/wanted.py` decide.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..lwm2m.links import Link
from ..lwm2m.operations import UNFINISHED, Kind, Operation, Status
from ..lwm2m.paths import Path
from ..lwm2m.plain import from_plain, to_plain
from ..lwm2m.values import DataType, Record
from .writer import Batch

# Of each endpoint, the ones that are done and their attempts.
DONE_KEPT: Final = 500
# What a device answered is kept up to this size as JSON; who waits for it gets all of it.
MAX_RESULT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a device answered: the CoAP code as "2.05", "" without an answer; values, links or a location.

    `message` are the device's words on an error, or ours where there is no answer, with a `hint`. `cut`:
    the values were too many to be kept.
    """

    code: str = ""
    records: tuple[Record, ...] = ()
    links: tuple[Link, ...] = ()
    location: str = ""
    message: str = ""
    hint: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class EndpointOperation:
    """An operation on an endpoint, from its asking to its end.

    Times are ms since 1970 UTC. `deadline_ms` is 0 for none, `retry_of` 0 where it repeats no other.
    `attempts` counts how often it was sent; `changed_ms` is when `status` became what it is.
    """

    id: int
    endpoint: str
    operation: Operation
    asked_by: str
    created_ms: int
    changed_ms: int
    status: Status = Status.QUEUED
    attempts: int = 0
    deadline_ms: int = 0
    retry_of: int = 0
    outcome: Outcome = field(default=Outcome())

    @property
    def done(self) -> bool:
        return self.status not in UNFINISHED


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of an operation. `ended_ms` is 0 while it is under way, or where the box went down."""

    operation_id: int
    number: int
    started_ms: int
    ended_ms: int = 0
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class WantedObservation:
    """What a device is wanted to report, or (`wanted` is False) not to, whatever the watch list says."""

    endpoint: str
    paths: tuple[Path, ...]
    composite: bool
    content_format: int | None
    wanted: bool
    asked_by: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class WantedAttributes:
    """The attributes set at a path of a device, by name."""

    endpoint: str
    path: Path
    attributes: Mapping[str, str]


_PUT: Final = """
    INSERT INTO endpoint_operation
    (id, endpoint_id, kind, request, status, attempts, asked_by, retry_of, created_ms, deadline_ms,
     changed_ms, code, message, hint, result)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CHANGE: Final = """
    UPDATE endpoint_operation SET status = ?, attempts = ?, changed_ms = ?, code = ?, message = ?,
        hint = ?, result = ? WHERE id = ?
"""
# Of one that is gone nothing is kept: a reference to nothing would fail the commit, and each after it.
_PUT_ATTEMPT: Final = """
    INSERT OR REPLACE INTO operation_attempt SELECT ?1, ?2, ?3, ?4, ?5, ?6
        WHERE EXISTS (SELECT 1 FROM endpoint_operation WHERE id = ?1)
"""
# Done means: older than all that are kept, and not waiting.
_DROP_DONE: Final = """
    DELETE FROM endpoint_operation WHERE endpoint_id = ?1 AND status NOT IN ('QUEUED', 'SENDING')
        AND id <= (
            SELECT id FROM endpoint_operation WHERE endpoint_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2
        )
"""
OPERATIONS: Final = """
    SELECT o.*, e.name AS endpoint FROM endpoint_operation o JOIN endpoint e ON e.id = o.endpoint_id
"""


def put_operation(batch: Batch, endpoint_id: int, kept: EndpointOperation) -> None:
    """Keep a new operation, and drop the oldest that are done beyond `DONE_KEPT`."""
    wanted = kept.operation
    request: dict[str, Any] = {"paths": [str(path) for path in wanted.paths]}
    if wanted.records:
        request["values"] = _records_to_json(wanted.records)
    if wanted.arguments:
        request["arguments"] = wanted.arguments
    if wanted.attributes:
        request["attributes"] = dict(wanted.attributes)
    if wanted.content_format is not None:
        request["content_format"] = wanted.content_format
    batch.statements.append(
        (
            _PUT,
            (
                kept.id,
                endpoint_id,
                wanted.kind.value,
                json.dumps(request),
                kept.status.value,
                kept.attempts,
                kept.asked_by,
                kept.retry_of,
                kept.created_ms,
                kept.deadline_ms,
                kept.changed_ms,
                *_outcome_columns(kept.outcome),
            ),
        )
    )
    batch.statements.append((_DROP_DONE, (endpoint_id, DONE_KEPT)))


def change_operation(batch: Batch, kept: EndpointOperation) -> None:
    """Keep what became of an operation."""
    batch.statements.append(
        (
            _CHANGE,
            (
                kept.status.value,
                kept.attempts,
                kept.changed_ms,
                *_outcome_columns(kept.outcome),
                kept.id,
            ),
        )
    )


def put_attempt(batch: Batch, attempt: Attempt) -> None:
    """Keep an attempt, in place of an earlier state of it."""
    batch.statements.append(
        (
            _PUT_ATTEMPT,
            (
                attempt.operation_id,
                attempt.number,
                attempt.started_ms,
                attempt.ended_ms,
                attempt.code,
                attempt.message,
            ),
        )
    )


def put_wanted_observation(batch: Batch, endpoint_id: int, wanted: WantedObservation) -> None:
    batch.statements.append(
        (
            "INSERT OR REPLACE INTO wanted_observation VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                endpoint_id,
                paths_to_json(wanted.paths),
                int(wanted.composite),
                wanted.content_format,
                int(wanted.wanted),
                wanted.asked_by,
                wanted.since_ms,
            ),
        )
    )


def remove_wanted_observation(batch: Batch, endpoint_id: int, paths: Sequence[Path]) -> None:
    batch.statements.append(
        (
            "DELETE FROM wanted_observation WHERE endpoint_id = ? AND paths = ?",
            (endpoint_id, paths_to_json(paths)),
        )
    )


def put_wanted_attributes(batch: Batch, endpoint_id: int, wanted: WantedAttributes) -> None:
    """Keep what is set at a path; nothing set, nothing kept."""
    path = str(wanted.path)
    batch.statements.append(
        (
            "INSERT OR REPLACE INTO wanted_attributes VALUES (?, ?, ?)",
            (endpoint_id, path, json.dumps(dict(wanted.attributes))),
        )
        if wanted.attributes
        else ("DELETE FROM wanted_attributes WHERE endpoint_id = ? AND path = ?", (endpoint_id, path))
    )


def load_unfinished(cursor: sqlite3.Cursor) -> tuple[EndpointOperation, ...]:
    """The operations that wait or were under way, in the order of their asking.

    The cursor's rows are `sqlite3.Row`. Raises as `operation_of`.
    """
    rows = cursor.execute(f"{OPERATIONS} WHERE o.status IN ('QUEUED', 'SENDING') ORDER BY o.id")
    return tuple(map(operation_of, rows))


def load_wanted(
    cursor: sqlite3.Cursor,
) -> tuple[tuple[WantedObservation, ...], tuple[WantedAttributes, ...]]:
    """What devices are wanted to report, in the order of the asking, and how; raises as `operation_of`."""
    observations = tuple(
        WantedObservation(
            row["endpoint"],
            paths_from_json(row["paths"]),
            bool(row["composite"]),
            row["content_format"],
            bool(row["wanted"]),
            row["asked_by"],
            row["since_ms"],
        )
        for row in cursor.execute(
            "SELECT w.*, e.name AS endpoint FROM wanted_observation w"
            " JOIN endpoint e ON e.id = w.endpoint_id ORDER BY w.since_ms, w.paths"
        )
    )
    attributes = tuple(
        WantedAttributes(row["endpoint"], Path.parse(row["path"]), json.loads(row["attributes"]))
        for row in cursor.execute(
            "SELECT w.*, e.name AS endpoint FROM wanted_attributes w JOIN endpoint e ON e.id = w.endpoint_id"
        )
    )
    return observations, attributes


def operation_of(row: sqlite3.Row) -> EndpointOperation:
    """A row of `OPERATIONS`.

    Raises ValueError, LookupError, ApplianceError for what nobody can have written.
    """
    request = json.loads(row["request"])
    result = json.loads(row["result"]) if row["result"] else {}
    return EndpointOperation(
        id=row["id"],
        endpoint=row["endpoint"],
        operation=Operation(
            kind=Kind(row["kind"]),
            paths=tuple(map(Path.parse, request["paths"])),
            records=_records_from_json(request.get("values", ())),
            arguments=request.get("arguments", ""),
            attributes=tuple(request.get("attributes", {}).items()),
            content_format=request.get("content_format"),
        ),
        asked_by=row["asked_by"],
        created_ms=row["created_ms"],
        changed_ms=row["changed_ms"],
        status=Status(row["status"]),
        attempts=row["attempts"],
        deadline_ms=row["deadline_ms"],
        retry_of=row["retry_of"],
        outcome=Outcome(
            code=row["code"],
            records=_records_from_json(result.get("values", ())),
            links=tuple(Link(target, attributes) for target, attributes in result.get("links", ())),
            location=result.get("location", ""),
            message=row["message"],
            hint=row["hint"],
            cut=result.get("cut", False),
        ),
    )


def paths_to_json(paths: Sequence[Path]) -> str:
    """A list of paths as the file keeps it; `paths_from_json` is its inverse."""
    return json.dumps([str(path) for path in paths])


def paths_from_json(text: str) -> tuple[Path, ...]:
    return tuple(map(Path.parse, json.loads(text)))


def _outcome_columns(outcome: Outcome) -> tuple[str, str, str, str]:
    result: dict[str, Any] = {}
    if outcome.records:
        result["values"] = _records_to_json(outcome.records)
    if outcome.links:
        result["links"] = [[link.target, dict(link.attributes)] for link in outcome.links]
    if outcome.location:
        result["location"] = outcome.location
    text = json.dumps(result) if result else ""
    if len(text) > MAX_RESULT:
        text = json.dumps({"cut": True})
    return outcome.code, outcome.message, outcome.hint, text


def _records_to_json(records: Sequence[Record]) -> list[list[object]]:
    return [[str(r.path), r.data_type.value, to_plain(r.value), r.time_ms] for r in records]


def _records_from_json(values: Sequence[Sequence[Any]]) -> tuple[Record, ...]:
    found = []
    for path, type_name, plain, time_ms in values:
        data_type = DataType(type_name)
        found.append(Record(Path.parse(path), from_plain(plain, data_type), data_type, time_ms))
    return tuple(found)
