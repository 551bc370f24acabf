"""Charts: a series in buckets of time, from its samples or from the roll-ups that fit its points.

SQL and rows for `Reader`, which has the connections. A chart of roll-ups counts every sample exactly once; it
differs from one of samples in this alone: a slot of a roll-up is in the bucket that it begins in.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from math import floor as floor_of
from math import inf, log10
from typing import Final

from ..lwm2m.paths import Path
from .rollups import (
    DAY,
    DAY_MS,
    FIVE_MINUTES,
    FIVE_MINUTES_MS,
    HOUR,
    NUMBERS,
    SIZE_MS,
    SUMMED,
    between,
    floor,
)

MAX_POINTS: Final = 10_000
# As `Reader._rows`.
Rows = Callable[[str, Mapping[str, object]], Awaitable[list[sqlite3.Row]]]


@dataclass(frozen=True, slots=True)
class Chart:
    """A series in at most `points` buckets of `step_ms` each, from `from_ms` on; one entry a non-empty one.

    `time_ms` is the first sample's time in the bucket; where `count` is 1 throughout, these are the
    very samples. Values are in the resource's units. `resolution_ms` is 0 where the chart was made of
    samples, else the slot of the roll-ups that it was made of: a time may then be the beginning of a slot.
    `first_ms` is the oldest sample that is known, or the beginning of its day, None without any: what is
    there to be shown begins then.
    """

    path: str
    name: str
    data_type: str
    units: str
    from_ms: int
    to_ms: int
    step_ms: int
    resolution_ms: int
    first_ms: int | None
    time_ms: list[int]
    min: list[float]
    mean: list[float]
    max: list[float]
    count: list[int]


@dataclass(frozen=True, slots=True)
class Marks:
    """How far a series is rolled up, since when its samples are kept, and if the chart has 5-minute rows."""

    rolled_ms: int
    kept_ms: int
    fine: bool


SERIES: Final = f"""
    SELECT s.id, s.data_type, s.rolled_ms, s.kept_ms, t.name, t.units,
           (SELECT time_ms FROM resource WHERE series_id = s.id ORDER BY time_ms LIMIT 1) AS first_ms,
           iif(s.kept_ms, (SELECT slot * {DAY_MS} FROM rollup WHERE series_id = s.id AND level = {DAY}
                           ORDER BY slot LIMIT 1), NULL) AS first_day_ms,
           EXISTS (SELECT 1 FROM rollup WHERE series_id = s.id AND level = {FIVE_MINUTES}
                   AND slot >= :from_ms / {FIVE_MINUTES_MS} AND slot < :to_ms / {FIVE_MINUTES_MS}) AS fine
    FROM series s
    JOIN endpoint e ON e.id = s.endpoint_id
    JOIN resource_type t ON t.id = s.resource_type_id
    WHERE e.name = :name AND s.path = :path
"""
CHART_QUERY: Final = f"""
    SELECT min(time_ms), min(value), avg(value), max(value), count(*)
    FROM resource
    WHERE series_id = :series AND time_ms >= :from_ms AND time_ms < :to_ms AND {NUMBERS}
    GROUP BY (time_ms - :from_ms) / :step_ms
    ORDER BY time_ms
"""


def _rolled_query() -> str:
    """Of a span that is rolled up: samples, slots of the level below, slots of the level, and back again.

    Where the samples are gone, rows of a coarser level stand in for those that are not kept there; the slot
    in which the chart begins is drawn at its beginning.
    """
    spans = [between(name) for name in ("before", "main", "behind")]
    edge = f"""
        SELECT time_ms, value, value, value, 1 FROM resource
        WHERE series_id = :series AND time_ms >= :{{0}}_from AND time_ms < :{{0}}_to AND {NUMBERS}
    """
    coarse = """
        SELECT max(c.slot * {size}, :gone_from), c.low, c.mean, c.high, c.count FROM rollup c
        WHERE c.series_id = :series AND c.level = {level} AND :main_level <= {level}
          AND :gone_from < :gone_to AND c.slot >= :gone_from / {size} AND c.slot * {size} < :gone_to
          AND (:main_level = {level} OR NOT EXISTS (
               SELECT 1 FROM rollup f WHERE f.series_id = :series AND f.level = {level} - 1
               AND f.slot >= c.slot * {parts} AND f.slot < (c.slot + 1) * {parts}))
    """
    parts = [
        *(chosen for _, chosen in spans),
        *(edge.format(name) for name in ("first", "last")),
        *(
            coarse.format(level=level, size=size, parts=size // SIZE_MS[max(0, level - 1)])
            for level, size in enumerate(SIZE_MS)
        ),
    ]
    return f"""
        WITH {", ".join(held for held, _ in spans)},
        part (time_ms, low, mean, high, count) AS ({" UNION ALL ".join(parts)})
        SELECT min(time_ms), min(low), {SUMMED}, max(high), sum(count)
        FROM part GROUP BY (time_ms - :from_ms) / :step_ms ORDER BY 1
    """


ROLLED_QUERY: Final = _rolled_query()


async def read_chart(
    rows: Rows, endpoint: str, path: Path, from_ms: int | None, to_ms: int, points: int
) -> Chart | None:
    """Numeric samples in [from_ms, to_ms) in at most `points` buckets; None: no such series.

    `from_ms` None: from the first sample on. `points` from 1 to `MAX_POINTS`.
    """
    asked: Mapping[str, object]
    asked = {"name": endpoint, "path": str(path), "from_ms": from_ms or 0, "to_ms": to_ms}
    found = await rows(SERIES, asked)
    if not found:
        return None
    series = found[0]
    known = [moment for moment in (series["first_ms"], series["first_day_ms"]) if moment is not None]
    first_ms = min(known, default=None)
    if from_ms is None:
        from_ms = min(to_ms - 1, to_ms - DAY_MS if first_ms is None else first_ms)
    step_ms = max(1, -(-(to_ms - from_ms) // points))
    marks = Marks(series["rolled_ms"], series["kept_ms"], bool(series["fine"]))
    statement, parameters = plan(series["id"], (from_ms, to_ms), step_ms, marks)
    buckets = await rows(statement, parameters)
    time_ms, low, mean, high, count = zip(*buckets, strict=True) if buckets else ((),) * 5
    resolution_ms = parameters.get("main_size", 0)
    return Chart(
        path=str(path),
        name=series["name"],
        data_type=series["data_type"],
        units=series["units"],
        from_ms=from_ms,
        to_ms=to_ms,
        step_ms=step_ms,
        resolution_ms=resolution_ms,
        first_ms=first_ms,
        time_ms=list(time_ms),
        min=list(low),
        mean=_shortened(low, mean, high) if resolution_ms else list(mean),
        max=list(high),
        count=list(count),
    )


def plan(series: int, span: tuple[int, int], step_ms: int, marks: Marks) -> tuple[str, dict[str, int]]:
    """The statement that reads a chart, and its parameters."""
    asked = {"series": series, "from_ms": span[0], "to_ms": span[1], "step_ms": step_ms}
    cover = _cover(*span, _level(step_ms), marks)
    return (CHART_QUERY, asked) if cover is None else (ROLLED_QUERY, asked | cover)


def _shortened(low: Sequence[float], mean: Sequence[float], high: Sequence[float]) -> list[float]:
    """Means to a millionth of what the chart spans: a fifth of the answer is digits that nobody sees."""
    span = max(high, default=0) - min(low, default=0)
    if not 0 < span < inf:
        return list(mean)
    digits = 6 - floor_of(log10(span))
    return [min(max(round(m, digits), lo), hi) for lo, m, hi in zip(low, mean, high, strict=True)]


def _level(step_ms: int) -> int | None:
    """The coarsest level whose slots are no longer than a bucket, so that each has one; None: samples."""
    return max((level for level, size in enumerate(SIZE_MS) if size <= step_ms), default=None)


def _cover(from_ms: int, to_ms: int, level: int | None, marks: Marks) -> dict[str, int] | None:
    """What `ROLLED_QUERY` reads from where; None where it would all be samples."""
    gone = marks.kept_ms > 0 and from_ms < marks.kept_ms
    if not gone and (level is None or (level == FIVE_MINUTES and not marks.fine)):
        return None
    level = FIVE_MINUTES if level is None else level
    begin = min(marks.kept_ms, to_ms) if gone else from_ms
    end = min(to_ms, marks.rolled_ms)
    below = HOUR if level == DAY else level
    first = _ceil(begin, SIZE_MS[below])
    last = floor(end, SIZE_MS[below])
    if first >= last:
        if begin == from_ms:
            return None
        first = last = begin
    main = _ceil(begin, SIZE_MS[level]), floor(end, SIZE_MS[level])
    main_from, main_to = main if first <= main[0] < main[1] else (last, last)
    return {
        "gone_from": from_ms,
        "gone_to": begin,
        "first_from": begin,
        "first_to": first,
        **_span("before", below, first, main_from),
        **_span("main", level, main_from, main_to),
        **_span("behind", below, main_to, last),
        "last_from": last,
        "last_to": max(last, to_ms),
    }


def _span(name: str, level: int, begin: int, end: int) -> dict[str, int]:
    return {
        f"{name}_level": level,
        f"{name}_size": SIZE_MS[level],
        f"{name}_from": begin,
        f"{name}_to": end,
    }


def _ceil(time_ms: int, size_ms: int) -> int:
    return -(-time_ms // size_ms) * size_ms
