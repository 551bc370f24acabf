"""Which samples go: those older than they are to be kept, once the roll-ups say what they amounted to.

Day by day, each in one transaction with its roll-ups, in the writer's thread. The day of a series' newest
sample stays, however old: it is what the series shows. What comes late into a day that is gone is merged into
its roll-ups (`rollups.take_late_hour`).
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from .rollups import (
    DAY,
    DAY_MS,
    FINER_FROM,
    FIVE_MINUTES,
    FROM_SAMPLES,
    HOUR,
    HOUR_MS,
    NUMBERS,
    PIECE_SAMPLES,
    SIZE_MS,
    floor,
    forget,
    marks,
    take_late_hour,
)

# What is there already holds the same samples.
_COMPLETE: Final = f"INSERT INTO rollup {FROM_SAMPLES} ON CONFLICT (series_id, level, slot) DO NOTHING"
_HOURS: Final = f"""
    SELECT time_ms / {HOUR_MS} AS hour, count(*) FROM resource
    WHERE series_id = ? AND time_ms >= ? AND time_ms < ? AND {NUMBERS} GROUP BY hour
"""
_LATE: Final = f"""
    SELECT hour FROM rollup_late
    WHERE series_id = ? AND hour >= ? / {HOUR_MS} AND hour < ? / {HOUR_MS}
"""
_WITH_ANY: Final = f"""
    SELECT DISTINCT time_ms / {HOUR_MS} FROM resource WHERE series_id = ? AND time_ms >= ? AND time_ms < ?
"""
_ENDS: Final = """
    SELECT (SELECT time_ms FROM resource WHERE series_id = :series AND time_ms >= 0 ORDER BY time_ms LIMIT 1),
           (SELECT time_ms FROM resource WHERE series_id = :series ORDER BY time_ms DESC LIMIT 1)
"""


def thin(connection: sqlite3.Connection, wanted: Sequence[int], before_ms: int) -> dict[int, bool]:
    """Take the samples before a whole day from series, as many as make a piece of work.

    Which series it came to, and whether each has more to go.
    """
    done: dict[int, bool] = {}
    left = PIECE_SAMPLES
    for series in wanted:
        if left <= 0:
            break
        rolled_ms, _ = marks(connection, series)
        first, last = connection.execute(_ENDS, {"series": series}).fetchone()
        limit = before_ms if last is None else min(before_ms, floor(rolled_ms, DAY_MS), floor(last, DAY_MS))
        while first is not None and first < limit and left > 0:
            left -= _thin_day(connection, series, floor(first, DAY_MS))
            first, _ = connection.execute(_ENDS, {"series": series}).fetchone()
        done[series] = first is not None and first < limit
    return done


def _thin_day(connection: sqlite3.Connection, series: int, begin: int) -> int:
    """Take the samples of a day; how many went."""
    end = begin + DAY_MS
    _, kept_ms = marks(connection, series)
    gone = end <= kept_ms
    for (hour,) in connection.execute(_WITH_ANY if gone else _LATE, (series, begin, end)).fetchall():
        take_late_hour(connection, series, hour)
    if gone:  # what is here came late, and its roll-ups are all that is known of the day
        return 0
    hours = connection.execute(_HOURS, (series, begin, end)).fetchall()
    if hours:
        _complete(connection, series, DAY, begin, end)
    if sum(count for _, count in hours) >= FINER_FROM:
        _complete(connection, series, HOUR, begin, end)
        for hour, count in hours:
            span = hour * HOUR_MS, (hour + 1) * HOUR_MS
            if count >= FINER_FROM:
                _complete(connection, series, FIVE_MINUTES, *span)
            else:
                forget(connection, series, FIVE_MINUTES, *span)
    else:
        forget(connection, series, HOUR, begin, end)
        forget(connection, series, FIVE_MINUTES, begin, end)
    went = connection.execute(
        "DELETE FROM resource WHERE series_id = ? AND time_ms >= ? AND time_ms < ?", (series, begin, end)
    ).rowcount
    connection.execute(
        "UPDATE sample_day SET samples = max(0, samples - ?) WHERE day = ?", (went, begin // DAY_MS)
    )
    connection.execute("UPDATE series SET kept_ms = max(kept_ms, ?) WHERE id = ?", (end, series))
    return went


def _complete(connection: sqlite3.Connection, series: int, level: int, begin: int, end: int) -> None:
    parameters = {"series": series, "level": level, "size": SIZE_MS[level], "from_ms": begin, "to_ms": end}
    connection.execute(_COMPLETE, parameters)
