"""Operations as pages and the API ask for them: SQL and rows for `Reader`, which has the connections."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from .operations import OPERATIONS, Attempt

# What "unfinished" and "done" mean as `Question.status`, beside the six words of `lwm2m.operations.Status`.
UNFINISHED_WORD: Final = "unfinished"
DONE_WORD: Final = "done"

# The indexes of statuses and endpoints end with the id, so whichever finds the rows also sorts them; only
# those that are not done, of two statuses, are sorted apart, and they are few.
_UNFINISHED: Final = "o.status IN ('QUEUED', 'SENDING')"
_DONE: Final = "o.status NOT IN ('QUEUED', 'SENDING')"
_STATUS: Final = "o.status = :status"
_ENDPOINT: Final = "o.endpoint_id = (SELECT id FROM endpoint WHERE name = :endpoint)"
_KIND: Final = "o.kind = :kind"
_BEFORE: Final = "o.id < :before"
_SEARCH: Final = (
    "instr(lower(e.name || ' ' || e.label || ' ' || o.kind || ' ' || o.request || ' ' || o.asked_by || ' '"
    " || o.code || ' ' || o.message), lower(:search))"
)

ATTEMPTS: Final = "SELECT * FROM operation_attempt WHERE operation_id = :id ORDER BY number"
ONE: Final = f"{OPERATIONS} WHERE o.id = :id"


@dataclass(frozen=True, slots=True)
class OperationQuestion:
    """Which operations: "" asks for all. `status` is one of the six, or unfinished, or done.

    `search` is looked for in the names and labels of devices, in what is asked, by whom, and in the answer's
    code and message. `before_id`: the page behind that operation.
    """

    endpoint: str = ""
    status: str = ""
    kind: str = ""
    search: str = ""
    before_id: int | None = None


def select(question: OperationQuestion) -> tuple[str, dict[str, object]]:
    """The statement that answers a question, newest first, and its parameters."""
    # Put together of constants alone: one statement for all questions could use no index.
    conditions = []
    if question.endpoint:
        conditions.append(_ENDPOINT)
    if question.status == UNFINISHED_WORD:
        conditions.append(_UNFINISHED)
    elif question.status == DONE_WORD:
        conditions.append(_DONE)
    elif question.status:
        conditions.append(_STATUS)
    if question.kind:
        conditions.append(_KIND)
    if question.search:
        conditions.append(_SEARCH)
    if question.before_id is not None:
        conditions.append(_BEFORE)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{OPERATIONS}{where} ORDER BY o.id DESC", {
        "endpoint": question.endpoint,
        "status": question.status,
        "kind": question.kind,
        "search": question.search,
        "before": question.before_id,
    }


def attempt_of(row: sqlite3.Row) -> Attempt:
    return Attempt(
        operation_id=row["operation_id"],
        number=row["number"],
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
        code=row["code"],
        message=row["message"],
    )
