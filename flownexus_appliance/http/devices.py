"""Finding devices: the database knows the names, the fleet knows their state, a question joins both."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from ..db.reads import EndpointRow, RegistrationRow
from ..errors import UsageError, clean
from .ports import Parts

WALK: Final = 250
MAX_SEARCH: Final = 255


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is now; times in ms since 1970 UTC."""

    endpoint: str
    label: str
    state: str
    first_seen_ms: int
    last_seen_ms: int
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


async def walk(parts: Parts, question: Question, after: str = "", limit: int = WALK) -> AsyncIterator[Device]:
    """The devices that answer to a question, by name, those after `after`.

    `limit` is how many the caller thinks to take: it bounds what is read at a time, not what comes.
    """
    chunk = min(limit, WALK) if not question.state else WALK
    while True:
        rows = await parts.reader.endpoints(after, chunk, question.search)
        for row in rows:
            if question.state in ("", parts.fleet.presence(row.endpoint)):
                yield _device(parts, row)
        if len(rows) < chunk:
            return
        after = rows[-1].endpoint


async def page_after(
    parts: Parts, question: Question, after: str, limit: int
) -> tuple[list[Device], str | None]:
    """At most `limit` devices after a name, and the name to ask on from; None at the end."""
    found: list[Device] = []
    async for one in walk(parts, question, after, limit + 1):
        if len(found) == limit:
            return found, found[-1].endpoint
        found.append(one)
    return found, None


async def page_numbered(parts: Parts, question: Question, number: int, size: int) -> tuple[list[Device], int]:
    """The devices of a page (counted from 1), and how many answer to the question in all."""
    first = (number - 1) * size
    found: list[Device] = []
    total = 0
    async for one in walk(parts, question, limit=first + size + 1):
        if first <= total < first + size:
            found.append(one)
        total += 1
        if question.open and total > first + size:  # there is more: how much, the fleet knows
            return found, max(total, sum(parts.fleet.counts().values()))
    return found, total


def _device(parts: Parts, row: EndpointRow) -> Device:
    return Device(
        endpoint=row.endpoint,
        label=row.label,
        state=parts.fleet.presence(row.endpoint),
        first_seen_ms=row.first_seen_ms,
        last_seen_ms=max(row.last_seen_ms, parts.fleet.heard_ms(row.endpoint) or 0),
        registration=row.registration,
    )
