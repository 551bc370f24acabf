"""Samples by the name of what they are, whichever device they came from: how the seed listed its values.

Owns no connection: `Reader.take` reads for it.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from ..lwm2m.plain import PlainValue, to_plain
from ..lwm2m.values import DataType
from .history import Take
from .store import from_sql

MAX_SAMPLES: Final = 10_000
# How far back is looked at first, and how much farther each time that it was not enough.
FIRST_SPAN_MS: Final = 60_000
SPAN_FACTOR: Final = 16

_KNOWN: Final = "SELECT 1 FROM resource_type WHERE name = :name LIMIT 1"
_EXTENT: Final = """
    SELECT min(first_ms), max(last_ms) FROM (
        SELECT (SELECT time_ms FROM resource WHERE series_id = s.id ORDER BY time_ms LIMIT 1) AS first_ms,
               (SELECT time_ms FROM resource WHERE series_id = s.id ORDER BY time_ms DESC LIMIT 1) AS last_ms
        FROM resource_type t JOIN series s ON s.resource_type_id = t.id
        WHERE t.name = :name)
"""
# CROSS JOIN keeps the order: series by series, each by its key, so nothing older than `from_ms` is touched.
NEWEST: Final = """
    SELECT r.time_ms, r.value, s.data_type
    FROM resource_type t
    CROSS JOIN series s ON s.resource_type_id = t.id
    CROSS JOIN resource r ON r.series_id = s.id AND r.time_ms >= :from_ms
    WHERE t.name = :name
    ORDER BY r.time_ms DESC, s.id DESC
"""


@dataclass(frozen=True, slots=True)
class NamedSample:
    """A value with its time, in ms since 1970 UTC; `data_type` is that of its series."""

    time_ms: int
    value: PlainValue
    data_type: str


async def samples_by_name(take: Take, name: str, limit: int = MAX_SAMPLES) -> list[NamedSample] | None:
    """The newest samples of all resources of a name (as stored), oldest first; None: there is no such name.

    At most `limit`, and fewer of large values, as `take` has it. It looks back as far as it must and not
    through everything there is: a name may have millions.
    """
    known, _ = await take(_KNOWN, {"name": name}, 1)
    if not known:
        return None
    ((first_ms, last_ms),), _ = await take(_EXTENT, {"name": name}, 1)
    if last_ms is None:
        return []
    span_ms = FIRST_SPAN_MS
    while True:
        from_ms = max(first_ms, last_ms - span_ms)
        found, more = await take(NEWEST, {"name": name, "from_ms": from_ms}, limit)
        if more or from_ms == first_ms:
            return [_sample(row) for row in reversed(found)]
        span_ms *= SPAN_FACTOR


def _sample(row: sqlite3.Row) -> NamedSample:
    kind = DataType(row["data_type"])
    return NamedSample(row["time_ms"], to_plain(from_sql(row["value"], kind)), kind.value)
