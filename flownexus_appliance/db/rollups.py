"""Roll-ups: least, mean, greatest and number of a series' samples in 5 minutes, an hour, a day.

What is in the file by when, and the statements that see to it. They run in the writer's thread, each piece
of work in one transaction with the marks that it moves; `upkeep` says what is worked on next, `charts` reads,
and `retention` takes away samples that are here. Why it is as it is: docs/decisions/0010-roll-ups.md.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FIVE_MINUTES: Final = 0
HOUR: Final = 1
DAY: Final = 2
FIVE_MINUTES_MS: Final = 300_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
SIZE_MS: Final = (FIVE_MINUTES_MS, HOUR_MS, DAY_MS)
# A slot has a row if that stands for so many samples: a row is as large as two of them, and reading a few
# samples costs no more than reading it.
LEAST: Final = (8, 5, 5)
# Once the samples are gone, an hour is kept in 5 minutes and a day in hours if it had so many.
FINER_FROM: Final = 36
# Samples that one piece of work goes through, about: the commits of devices wait for it.
PIECE_SAMPLES: Final = 4_000
PIECE_HOURS: Final = 8
# A series that was silent for so long will not go on where it stopped: its last hour is whole too.
SILENT_MS: Final = DAY_MS

NUMBERS: Final = "typeof(value) IN ('integer', 'real')"
# The mean lies between the others, also where a sum passed what a float holds.
MEAN: Final = "coalesce(min(max({mean}, min({low})), max({high})), min({low}))"
SUMMED: Final = MEAN.format(mean="total(mean * count) / sum(count)", low="low", high="high")


def between(name: str) -> tuple[str, str]:
    """Parts of a WITH clause, and a SELECT of them: a span by the rows of one level, by samples between them.

    Of the parameters `:NAME_level`, `:NAME_size`, `:NAME_from` and `:NAME_to` the last two are multiples of
    the size; beside them `:series`. Columns: time_ms (where a slot begins), low, mean, high, count.
    """
    held = f"""
        {name}_row AS (
            SELECT slot * :{name}_size AS time_ms, low, mean, high, count FROM rollup
            WHERE series_id = :series AND level = :{name}_level
              AND slot >= :{name}_from / :{name}_size AND slot < :{name}_to / :{name}_size),
        {name}_gap AS (
            SELECT lag(time_ms + :{name}_size, 1, :{name}_from) OVER (ORDER BY time_ms) AS from_ms,
                   time_ms AS to_ms FROM {name}_row
            UNION ALL
            SELECT coalesce((SELECT max(time_ms) + :{name}_size FROM {name}_row), :{name}_from), :{name}_to)
    """
    # CROSS JOIN keeps the order: gap by gap, each by its key.
    chosen = f"""
        SELECT time_ms, low, mean, high, count FROM {name}_row
        UNION ALL
        SELECT time_ms, value, value, value, 1
        FROM {name}_gap CROSS JOIN resource ON series_id = :series AND time_ms >= from_ms AND time_ms < to_ms
        WHERE from_ms < to_ms AND {NUMBERS}
    """
    return held, chosen


_HELD, _CHOSEN = between("hours")
FROM_SAMPLES: Final = f"""
    SELECT :series, :level, time_ms / :size AS slot, min(value),
           {MEAN.format(mean="avg(value)", low="value", high="value")}, max(value), count(*)
    FROM resource
    WHERE series_id = :series AND time_ms >= :from_ms AND time_ms < :to_ms AND {NUMBERS}
    GROUP BY slot
"""
_ROLL: Final = f"INSERT OR REPLACE INTO rollup {FROM_SAMPLES} HAVING count(*) >= :least"
_ROLL_DAYS: Final = f"""
    INSERT OR REPLACE INTO rollup
    WITH {_HELD}
    SELECT :series, {DAY}, time_ms / {DAY_MS} AS day, min(low), {SUMMED}, max(high), sum(count)
    FROM ({_CHOSEN}) GROUP BY day HAVING sum(count) >= :least
"""
_FORGET: Final = """
    DELETE FROM rollup WHERE series_id = :series AND level = :level AND slot >= :first AND slot < :last
"""
_COUNT_DAYS: Final = f"""
    INSERT INTO sample_day
    SELECT time_ms / {DAY_MS} AS number, count(*) FROM resource
    WHERE series_id = ? AND time_ms >= ? AND time_ms < ? GROUP BY number
    ON CONFLICT (day) DO UPDATE SET samples = samples + excluded.samples
"""
_MERGE: Final = f"""
    INSERT INTO rollup {FROM_SAMPLES}
    ON CONFLICT (series_id, level, slot) DO UPDATE SET
        low = min(low, excluded.low),
        mean = coalesce(min(max(
            (mean * count + excluded.mean * excluded.count) / (count + excluded.count),
            min(low, excluded.low)), max(high, excluded.high)), mean),
        high = max(high, excluded.high),
        count = count + excluded.count
"""
_FIRST: Final = "SELECT time_ms FROM resource WHERE series_id = ? AND time_ms >= ? ORDER BY time_ms LIMIT 1"
_LAST: Final = "SELECT time_ms FROM resource WHERE series_id = ? ORDER BY time_ms DESC LIMIT 1"
_NTH: Final = """
    SELECT time_ms FROM resource WHERE series_id = ? AND time_ms >= ? AND time_ms < ?
    ORDER BY time_ms LIMIT 1 OFFSET ?
"""
_SOME_NUMBERS: Final = f"""
    SELECT count(*) FROM resource WHERE series_id = ? AND time_ms >= ? AND time_ms < ? AND {NUMBERS}
"""


@dataclass(frozen=True, slots=True)
class Rolled:
    """How far a series is rolled up, if it has samples from there on, and if that is all for now."""

    rolled_ms: int
    rest: bool
    whole: bool = True


def floor(time_ms: int, size_ms: int) -> int:
    """The beginning of the slot that a moment lies in."""
    return time_ms // size_ms * size_ms


def roll(connection: sqlite3.Connection, wanted: Sequence[int], until_ms: int) -> dict[int, Rolled]:
    """Roll series up to a whole hour, as many of them as make a piece of work; what became of each.

    The last may not be `whole`. None is rolled up beyond its newest sample, for a clock may be behind ours; a
    series that is silent for a day will not go on in that hour.
    """
    done: dict[int, Rolled] = {}
    left = PIECE_SAMPLES
    for series in wanted:
        if left <= 0:
            break
        mark, _ = marks(connection, series)
        newest = _one(connection, _LAST, series)
        if newest is None:
            done[series] = Rolled(mark, rest=False)
            continue
        end = floor(newest, HOUR_MS)
        if newest < until_ms - SILENT_MS:
            end += HOUR_MS
        end = min(end, until_ms)
        reached, samples = _roll_one(connection, series, mark, end, left)
        left -= samples
        done[series] = Rolled(reached, rest=newest >= reached, whole=not samples or reached >= end)
    return done


def _roll_one(connection: sqlite3.Connection, series: int, mark: int, end: int, most: int) -> tuple[int, int]:
    """Roll a series up from its mark to `end`, or about `most` samples: how far, and how many."""
    first = _one(connection, _FIRST, series, mark) if mark < end else None
    if first is None or first >= end:
        return mark, 0
    begin = floor(first, HOUR_MS)
    behind = _one(connection, _NTH, series, begin, end, most)
    if behind is not None:  # a whole hour in any case, however many it has
        end = max(begin + HOUR_MS, floor(behind, HOUR_MS))
    for level in (FIVE_MINUTES, HOUR):
        connection.execute(_ROLL, _span(series, level, begin, end))
    # The day of the mark may have been left unfinished by a silence.
    days_from = floor(mark or begin, DAY_MS)
    _roll_days(connection, series, days_from, floor(end, DAY_MS))
    samples = connection.execute(
        "SELECT count(*) FROM resource WHERE series_id = ? AND time_ms >= ? AND time_ms < ?",
        (series, begin, end),
    ).fetchone()[0]
    connection.execute(_COUNT_DAYS, (series, begin, end))
    connection.execute("UPDATE series SET rolled_ms = ? WHERE id = ?", (end, series))
    return end, samples


def take_late(connection: sqlite3.Connection) -> bool:
    """Have roll-ups hold what came late, as many hours as make a piece of work; whether there are more."""
    hours = connection.execute("SELECT series_id, hour FROM rollup_late LIMIT ?", (PIECE_HOURS,)).fetchall()
    for series, hour in hours:
        take_late_hour(connection, series, hour)
    return len(hours) == PIECE_HOURS


def take_late_hour(connection: sqlite3.Connection, series: int, hour: int) -> None:
    """Have the roll-ups of an hour hold what came into it late."""
    rolled_ms, kept_ms = marks(connection, series)
    begin, end = hour * HOUR_MS, (hour + 1) * HOUR_MS
    if 0 <= begin < kept_ms:
        _merge(connection, series, begin, end)
    elif 0 <= begin < rolled_ms:
        for level in (FIVE_MINUTES, HOUR):
            forget(connection, series, level, begin, end)
            connection.execute(_ROLL, _span(series, level, begin, end))
        day = floor(begin, DAY_MS)
        if day + DAY_MS <= rolled_ms:
            forget(connection, series, DAY, day, day + DAY_MS)
            _roll_days(connection, series, day, day + DAY_MS)
    connection.execute("DELETE FROM rollup_late WHERE series_id = ? AND hour = ?", (series, hour))


def _merge(connection: sqlite3.Connection, series: int, begin: int, end: int) -> None:
    """Add samples of a time whose samples are gone to its roll-ups, and let them go as well.

    A level that is kept there goes on being kept, and one that is not stays away: what it had before is
    known no more. A day without anything begins like any other.
    """
    day = floor(begin, DAY_MS)
    hours = has(connection, series, HOUR, day, day + DAY_MS)
    if hours or not has(connection, series, DAY, day, day + DAY_MS):
        samples = connection.execute(_SOME_NUMBERS, (series, begin, end)).fetchone()[0]
        empty = not has(connection, series, HOUR, begin, end)
        if has(connection, series, FIVE_MINUTES, begin, end) or (empty and samples >= FINER_FROM):
            connection.execute(_MERGE, _span(series, FIVE_MINUTES, begin, end))
        connection.execute(_MERGE, _span(series, HOUR, begin, end))
    connection.execute(_MERGE, _span(series, DAY, begin, end))
    connection.execute(
        "DELETE FROM resource WHERE series_id = ? AND time_ms >= ? AND time_ms < ?", (series, begin, end)
    )


def marks(connection: sqlite3.Connection, series: int) -> tuple[int, int]:
    """`rolled_ms` and `kept_ms` of a series."""
    row = connection.execute("SELECT rolled_ms, kept_ms FROM series WHERE id = ?", (series,)).fetchone()
    return row[0], row[1]


def has(connection: sqlite3.Connection, series: int, level: int, begin: int, end: int) -> bool:
    """Whether a series has roll-ups of a level in a span of whole slots."""
    size = SIZE_MS[level]
    found = connection.execute(
        "SELECT 1 FROM rollup WHERE series_id = ? AND level = ? AND slot >= ? AND slot < ? LIMIT 1",
        (series, level, begin // size, end // size),
    )
    return found.fetchone() is not None


def forget(connection: sqlite3.Connection, series: int, level: int, begin: int, end: int) -> None:
    """Take away the roll-ups of a level in a span of whole slots."""
    size = SIZE_MS[level]
    connection.execute(
        _FORGET, {"series": series, "level": level, "first": begin // size, "last": end // size}
    )


def _roll_days(connection: sqlite3.Connection, series: int, begin: int, end: int) -> None:
    if begin < end:
        connection.execute(
            _ROLL_DAYS,
            {
                "series": series,
                "hours_level": HOUR,
                "hours_size": HOUR_MS,
                "hours_from": begin,
                "hours_to": end,
                "least": LEAST[DAY],
            },
        )


def _span(series: int, level: int, begin: int, end: int) -> dict[str, int]:
    return {
        "series": series,
        "level": level,
        "size": SIZE_MS[level],
        "from_ms": begin,
        "to_ms": end,
        "least": LEAST[level],
    }


def _one(connection: sqlite3.Connection, sql: str, *parameters: int) -> int | None:
    row = connection.execute(sql, parameters).fetchone()
    return None if row is None else int(row[0])
