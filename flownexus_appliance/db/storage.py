"""What the database takes up, and how fast it grows: figures for the system page.

Counting a hundred million rows would hold a page up for minutes. What is rolled up is counted by the day as
it happens (`rollups`), and what is not yet, a bounded number a series, is counted here.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .rollups import DAY_MS

# A series with more samples that are not rolled up has a backlog, as after an upgrade: their number is not
# known until that is worked off.
MAX_UNROLLED: Final = 20_000
# How long figures are shown before they are made again: they are about days.
KEPT_S: Final = 60.0

_COUNTS: Final = """
    SELECT (SELECT count(*) FROM series) AS series,
           (SELECT sum(samples) FROM sample_day) AS rolled,
           (SELECT min(day) FROM sample_day WHERE samples > 0) AS day,
           -- Of the newest day a part may be missing yet.
           (SELECT max(samples) FROM sample_day, (SELECT max(day) AS newest FROM sample_day)
            WHERE day >= newest - 2 AND day < newest) AS samples_day,
           (SELECT freelist_count FROM pragma_freelist_count)
           * (SELECT page_size FROM pragma_page_size) AS unused
"""
# Series by series from its mark on, each by its key.
_UNROLLED: Final = """
    SELECT sum(samples) AS samples, max(samples) AS most, min(first_ms) AS first_ms FROM (
        SELECT (SELECT count(*) FROM (
                    SELECT 1 FROM resource WHERE series_id = s.id AND time_ms >= s.rolled_ms LIMIT :most + 1)
               ) AS samples,
               (SELECT time_ms FROM resource WHERE series_id = s.id AND time_ms >= s.rolled_ms
                ORDER BY time_ms LIMIT 1) AS first_ms
        FROM series s)
"""
# As `Reader._rows`.
Rows = Callable[[str, Mapping[str, object]], Awaitable[list[sqlite3.Row]]]


@dataclass(frozen=True, slots=True)
class Storage:
    """What is stored. Bytes: of the database, of what it has yet to take over (WAL), of its disk;
    `unused_bytes` of the database are empty and fill up before it grows.

    `samples` is how many are kept, about; None while unknown. `oldest_ms` is the oldest of them, or the
    beginning of its day (ms since 1970 UTC); None without any. `samples_day` is how many came in a day (UTC)
    lately, None before there is a full one.
    """

    database_bytes: int
    wal_bytes: int
    free_bytes: int
    total_bytes: int
    series: int
    samples: int | None
    oldest_ms: int | None
    samples_day: int | None
    unused_bytes: int = 0


class StorageFigures:
    """Makes the figures, at most once in a while: many pages may ask."""

    def __init__(self, path: Path, rows: Rows) -> None:
        self._path = path
        self._rows = rows
        self._made: Storage | None = None
        self._made_at = 0.0
        self._making = asyncio.Lock()

    async def get(self) -> Storage:
        """The figures, at most `KEPT_S` old."""
        async with self._making:
            now = asyncio.get_running_loop().time()
            if self._made is None or now - self._made_at > KEPT_S:
                self._made = await self._make()
                self._made_at = now
            return self._made

    async def _make(self) -> Storage:
        database, wal, free, total = await asyncio.to_thread(_sizes, self._path)
        (counts,) = await self._rows(_COUNTS, {})
        (unrolled,) = await self._rows(_UNROLLED, {"most": MAX_UNROLLED})
        known = (unrolled["most"] or 0) <= MAX_UNROLLED
        oldest = None if counts["day"] is None else counts["day"] * DAY_MS
        if oldest is None or (unrolled["first_ms"] is not None and unrolled["first_ms"] < oldest):
            oldest = unrolled["first_ms"]
        return Storage(
            database_bytes=database,
            wal_bytes=wal,
            free_bytes=free,
            total_bytes=total,
            series=counts["series"],
            samples=(counts["rolled"] or 0) + (unrolled["samples"] or 0) if known else None,
            oldest_ms=oldest,
            samples_day=counts["samples_day"],
            unused_bytes=counts["unused"],
        )


def _sizes(path: Path) -> tuple[int, int, int, int]:
    """Bytes of the database and of its write-ahead log, free and in all on its disk."""
    wal = path.with_name(f"{path.name}-wal")
    disk = shutil.disk_usage(path.parent)
    return path.stat().st_size, wal.stat().st_size if wal.exists() else 0, disk.free, disk.total
