"""What series hold, sample by sample: pages of one series, and whole exports in pieces.

SQL and rows for `Reader`, which has the connections. Nothing here keeps one between two pieces, so
who reads slowly holds nobody up.
"""

import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..lwm2m.paths import Path
from ..lwm2m.plain import PlainValue, to_plain
from ..lwm2m.values import INT64_MAX, INT64_MIN, DataType
from .store import from_sql

PIECE: Final = 1000
# As `Reader.take`: at most so many rows of a query, and whether there are more.
Take = Callable[[str, Mapping[str, object], int], Awaitable[tuple[list[sqlite3.Row], bool]]]

_SERIES: Final = """
    SELECT s.id, s.data_type FROM series s JOIN endpoint e ON e.id = s.endpoint_id
    WHERE e.name = :name AND s.path = :path
"""
_FORWARD: Final = """
    SELECT time_ms, value FROM resource
    WHERE series_id = :series AND time_ms >= :low AND time_ms < :high ORDER BY time_ms
"""
_BACKWARD: Final = f"{_FORWARD} DESC"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a series. OPAQUE values are hexadecimal text, links `66:0`, as everywhere in JSON."""

    time_ms: int
    value: PlainValue


@dataclass(frozen=True, slots=True)
class Span:
    """Samples from `from_ms` on and before `to_ms`, None without that bound; the newest first or last.

    `after` is the time of the last sample of the page before.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    after: int | None = None
    newest_first: bool = False


async def samples_page(
    take: Take, endpoint: str, path: Path, span: Span, limit: int
) -> tuple[list[Sample], int | None] | None:
    """At most `limit` samples, and the time to go on after; None: no such series."""
    series = await _series(take, endpoint, str(path))
    return None if series is None else await _page(take, series, span, limit)


async def export_pieces(
    take: Take, endpoint: str, paths: Sequence[str], span: Span
) -> AsyncGenerator[tuple[str, list[Sample]], None]:
    """All samples of these series, one series after the other, each from its oldest sample on.

    Each piece is the path and some samples of it, none empty. What comes in while one reads is there if
    it falls into the span and its series has not been passed.
    """
    for path in paths:
        series = await _series(take, endpoint, path)
        after = span.after
        while series is not None:
            samples, after = await _page(take, series, Span(span.from_ms, span.to_ms, after), PIECE)
            if samples:
                yield path, samples
            if after is None:
                break


async def _series(take: Take, endpoint: str, path: str) -> tuple[int, DataType] | None:
    rows, _ = await take(_SERIES, {"name": endpoint, "path": path}, 1)
    return (rows[0]["id"], DataType(rows[0]["data_type"])) if rows else None


async def _page(
    take: Take, series: tuple[int, DataType], span: Span, limit: int
) -> tuple[list[Sample], int | None]:
    number, data_type = series
    low = INT64_MIN if span.from_ms is None else span.from_ms
    high = INT64_MAX if span.to_ms is None else span.to_ms
    if span.after is not None:
        low, high = (low, min(high, span.after)) if span.newest_first else (max(low, span.after + 1), high)
    rows, more = await take(
        _BACKWARD if span.newest_first else _FORWARD, {"series": number, "low": low, "high": high}, limit
    )
    samples = [Sample(row["time_ms"], to_plain(from_sql(row["value"], data_type))) for row in rows]
    return samples, samples[-1].time_ms if samples and more else None
