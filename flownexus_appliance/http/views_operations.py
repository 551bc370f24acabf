"""Operations as the pages show them: what was asked of a device, how it stands, what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from ..db.operation_reads import DONE_WORD, UNFINISHED_WORD, OperationQuestion
from ..db.operations import Attempt, EndpointOperation
from ..lwm2m.attributes import attribute_query
from ..lwm2m.links import Link
from ..lwm2m.model import ModelSet
from ..lwm2m.operations import Kind, Status
from ..lwm2m.paths import Path
from ..lwm2m.plain import to_plain
from ..lwm2m.values import Record
from .language import gettext
from .ports import Fleet, Parts
from .views import device_url, value_text
from .views_tree import consequence
from .wording import CODE_MEANINGS, CONTENT_FORMATS, asked_by_text, code_text

MAX_SHOWN_PATHS: Final = 4
# Of the values of an operation, those that a line in a list makes of them.
MAX_SHOWN_VALUES: Final = 5
# The groups of the page, beside the single statuses that its address also takes.
GROUPS: Final = ("", UNFINISHED_WORD, DONE_WORD)
STATUSES: Final = (UNFINISHED_WORD, DONE_WORD, *(status.value for status in Status))


@dataclass(frozen=True, slots=True)
class ShownValue:
    """A value of an operation; `moment_ms` is the value itself where it is a time."""

    path: str
    name: str
    text: str
    unit: str
    moment_ms: int | None
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a device does not act at once: its presence, and until when it must be heard if it is to stay
    registered (ms since 1970 UTC; 0: nobody knows)."""

    presence: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class OperationView:
    """An operation in words. `regret` says what an Execute does that nobody should have done twice by a slip;
    `wait` is None for what is done. `wanted` and `values` may be the first few only; `count` is how many
    values the device answered.
    """

    kept: EndpointOperation
    url: str
    device_url: str
    kind: str
    paths: str
    name: str
    asked_by: str
    code: str
    meaning: str
    wanted: tuple[ShownValue, ...]
    values: tuple[ShownValue, ...]
    count: int
    attributes: tuple[str, ...]
    links: tuple[Link, ...]
    format: str
    regret: str
    wait: Wait | None

    @property
    def status(self) -> str:
        return self.kept.status.value

    @property
    def done(self) -> bool:
        return self.kept.done

    @property
    def taken_ms(self) -> int:
        """From the asking to the end."""
        return max(0, self.kept.changed_ms - self.kept.created_ms)


@dataclass(frozen=True, slots=True)
class AttemptView:
    """A sending with its code in words."""

    attempt: Attempt
    code: str
    meaning: str

    @property
    def took_ms(self) -> int | None:
        """None while it is under way, or where the box went down meanwhile."""
        attempt = self.attempt
        return max(0, attempt.ended_ms - attempt.started_ms) if attempt.ended_ms else None


def operation_views(parts: Parts, found: Sequence[EndpointOperation]) -> tuple[OperationView, ...]:
    return tuple(operation_view(parts, one) for one in found)


def operation_view(parts: Parts, kept: EndpointOperation, *, whole: bool = False) -> OperationView:
    """An operation in words, with all its values where it is to be shown as a whole; named by the newest
    models."""
    wanted, outcome = kept.operation, kept.outcome
    limit = None if whole else MAX_SHOWN_VALUES
    return OperationView(
        kept=kept,
        url=f"/operations/{kept.id}",
        device_url=device_url(kept.endpoint),
        kind=wanted.kind.value,
        paths=_paths_text(wanted.paths),
        name=_name(parts.models, wanted.paths),
        asked_by=asked_by_text(kept.asked_by),
        code=code_text(outcome.code),
        meaning=CODE_MEANINGS.get(outcome.code, ""),
        wanted=_values(parts.models, wanted.records[:limit]),
        values=_values(parts.models, outcome.records[:limit]),
        count=len(outcome.records),
        attributes=attribute_query(wanted.attributes),
        links=outcome.links,
        format=_format(wanted.content_format),
        regret=consequence(wanted.path) if wanted.kind is Kind.EXECUTE else "",
        wait=None if kept.done else wait_of(parts.fleet, kept.endpoint),
    )


def attempt_views(attempts: Sequence[Attempt]) -> tuple[AttemptView, ...]:
    return tuple(AttemptView(one, code_text(one.code), CODE_MEANINGS.get(one.code, "")) for one in attempts)


def wait_of(fleet: Fleet, endpoint: str) -> Wait:
    """Whether a device acts at once, and if not, when at the latest it may be heard."""
    registration = fleet.registration(endpoint)
    presence = fleet.presence(endpoint)
    return Wait(presence, registration.expires_ms if registration is not None else 0)


def listing(question: OperationQuestion, after: int | None = None, *, status: str | None = None) -> str:
    """The address of the list that answers a question, on from the operation `after`."""
    query = {
        "status": question.status if status is None else status,
        "device": question.endpoint,
        "operation": question.kind,
        "q": question.search,
        "after": str(after) if after is not None else "",
    }
    text = urlencode({name: value for name, value in query.items() if value})
    return f"/operations?{text}" if text else "/operations"


def _paths_text(paths: Sequence[Path]) -> str:
    shown = ", ".join(map(str, paths[:MAX_SHOWN_PATHS]))
    return f"{shown}, …" if len(paths) > MAX_SHOWN_PATHS else shown


def _format(number: int | None) -> str:
    if number is None:
        return ""
    return gettext(CONTENT_FORMATS[number]) if number in CONTENT_FORMATS else str(number)


def _name(models: ModelSet, paths: Sequence[Path]) -> str:
    """What a single path is called, "" for several and for what no model knows."""
    if len(paths) != 1 or not paths[0]:
        return ""
    definition = models.resource(paths[0])
    if definition is not None:
        return definition.name
    entry = models.entry(paths[0][0])
    return entry.name if entry is not None and len(paths[0]) < 3 else ""


def _values(models: ModelSet, records: Sequence[Record]) -> tuple[ShownValue, ...]:
    return tuple(_value(models, record) for record in records)


def _value(models: ModelSet, record: Record) -> ShownValue:
    definition = models.resource(record.path)
    units = (definition.units or "") if definition is not None else ""
    text, unit, moment_ms = value_text(record.path, to_plain(record.value), record.data_type.value, units)
    name = definition.name if definition is not None else f"Resource {record.path[2]}"
    suffix = f" [{record.path[3]}]" if len(record.path) > 3 else ""
    return ShownValue(str(record.path), name + suffix, text, unit, moment_ms, record.time_ms)
