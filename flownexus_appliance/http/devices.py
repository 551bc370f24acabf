"""Finding devices: the database knows the names, the fleet knows their state, a question joins both."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..db.reads import EndpointRow, RegistrationRow
from ..errors import UsageError, clean
from .ports import Parts

MAX_SEARCH: Final = 255


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is now; times in ms since 1970 UTC, 0 where it was never seen.

    `awake_window_s`: for how long it listens in Queue Mode after it was heard; None: as configured.
    """

    endpoint: str
    label: str
    state: str
    first_seen_ms: int
    last_seen_ms: int
    awake_window_s: float | None
    registration: RegistrationRow | None


@dataclass(frozen=True, slots=True)
class Question:
    """Which devices: name or label contains `search`, presence is `state`; "" asks for all."""

    search: str = ""
    state: str = ""

    @property
    def open(self) -> bool:
        return not (self.search or self.state)


async def device(parts: Parts, endpoint: str) -> Device:
    """One device; raises UsageError("endpoint_unknown")."""
    row = await parts.reader.endpoint(endpoint)
    if row is None:
        raise UsageError(
            "endpoint_unknown",
            f"no device is called {clean(endpoint)}",
            "check its name in the list of devices; in an address a name is percent-encoded",
        )
    return _device(parts, row)


async def page_after(
    parts: Parts, question: Question, after: str, limit: int
) -> tuple[list[Device], str | None]:
    """At most `limit` devices after a name, and the name to ask on from; None at the end."""
    names = await _names(parts, question)
    first = bisect_right(names, after)
    wanted = names[first : first + limit]
    following = wanted[-1] if first + limit < len(names) else None
    return await _devices(parts, wanted), following


async def page_numbered(parts: Parts, question: Question, number: int, size: int) -> tuple[list[Device], int]:
    """The devices of a page (counted from 1), and how many answer to the question in all."""
    names = await _names(parts, question)
    return await _devices(parts, names[(number - 1) * size : number * size]), len(names)


async def _names(parts: Parts, question: Question) -> list[str]:
    """All names that answer to a question, in order: few bytes each, even of thousands."""
    names = await parts.reader.names(question.search)
    if not question.state:
        return names
    return [name for name in names if parts.fleet.presence(name) == question.state]


async def _devices(parts: Parts, names: Sequence[str]) -> list[Device]:
    return [_device(parts, row) for row in await parts.reader.endpoints(names)]


def _device(parts: Parts, row: EndpointRow) -> Device:
    return Device(
        endpoint=row.endpoint,
        label=row.label,
        state=parts.fleet.presence(row.endpoint),
        first_seen_ms=row.first_seen_ms,
        last_seen_ms=max(row.last_seen_ms, parts.fleet.heard_ms(row.endpoint) or 0),
        awake_window_s=row.awake_window_s,
        registration=row.registration,
    )
