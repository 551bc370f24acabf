"""What is worked on next of roll-ups, retention and campaigns that ended long ago, a piece at a time, between
the commits of devices.

Samples that come in cost a look at their series' mark and a count; everything else is done here, later. Who
calls `piece` says how often, and at what time it is.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

from .firmware_room import make_room
from .kept import Catalog, Series
from .migrate import StoreError
from .retention import thin
from .rollups import DAY_MS, HOUR_MS, PIECE_SAMPLES, Rolled, floor, roll, take_late
from .store import Store
from .writer import Job

# The code of the StoreError where the work itself failed.
FAILED: Final = "upkeep_failed"
# An hour is left alone for so long: what is on its way to us belongs to it.
GRACE_MS: Final = 15 * 60_000
# A series with so many new samples is rolled up when an hour is over, any other with the day (UTC).
SOON_FROM: Final = PIECE_SAMPLES // 8
SERIES_A_PIECE: Final = 64


class Upkeep:
    """One instance, in the event loop, with the store that it works for.

    `keep_days`: how old samples get, by their own time; 0 is for ever.
    """

    def __init__(self, store: Store, keep_days: int) -> None:
        self._store = store
        self._keep_ms = keep_days * DAY_MS
        self._catalog: Catalog | None = None
        self._to_roll: deque[Series] = deque()
        self._to_thin: deque[Series] = deque()
        self._until_ms = 0
        self._before_ms = 0

    def look(self, now_ms: int) -> None:
        """See what is due. What is left of the last time is done first, of its kind."""
        if self._catalog is not self._store.catalog:
            self._catalog = self._store.catalog
            self._to_roll.clear()
            self._to_thin.clear()
        if not self._to_roll:
            self._until_ms = floor(now_ms - GRACE_MS, HOUR_MS)
            self._to_roll.extend(series for series in _all(self._catalog) if self._is_due(series))
        if self._keep_ms and not self._to_thin:
            self._before_ms = floor(now_ms - self._keep_ms, DAY_MS)
            self._to_thin.extend(s for s in _all(self._catalog) if s.thinned_ms < self._before_ms)

    async def piece(self) -> bool:
        """Do a piece of what is due; False when there is nothing.

        Raises StoreError: those of the writer, and `FAILED` where the work itself failed.
        """
        if self._catalog is not self._store.catalog:  # what it knew of the file was thrown away: look again
            return False
        try:
            if self._store.catalog.late_hours or self._store.catalog.late_left:
                await self._take_late(self._store.catalog)
            elif self._to_roll:
                await self._roll(list(islice(self._to_roll, SERIES_A_PIECE)))
            elif self._to_thin:
                await self._thin(list(islice(self._to_thin, SERIES_A_PIECE)))
            elif self._store.catalog.campaign_ended:
                return await self._make_room(self._store.catalog)
            else:
                return False
        except BaseException:
            self._catalog = None
            raise
        return True

    def _is_due(self, series: Series) -> bool:
        if not series.fresh or self._until_ms <= max(series.rolled_ms, series.tried_ms):
            return False
        return series.fresh >= SOON_FROM or floor(self._until_ms, DAY_MS) > series.rolled_ms

    async def _take_late(self, catalog: Catalog) -> None:
        # What comes from now on is noted anew: the work may see it already, which does no harm.
        noted, catalog.late_hours = catalog.late_hours, set()
        try:
            catalog.late_left = await self._do(take_late)
        except BaseException:
            catalog.late_left = True
            catalog.late_hours |= noted
            raise

    async def _roll(self, wanted: list[Series]) -> None:
        before = {series.id: (series.rolled_ms, series.fresh) for series in wanted}
        for series in wanted:
            series.tried_ms = self._until_ms
            # From now on, what is older counts as late, wherever the work may end.
            series.rolled_ms = max(series.rolled_ms, self._until_ms)
        done: dict[int, Rolled] = await self._do(partial(roll, wanted=list(before), until_ms=self._until_ms))
        for series in reversed([self._to_roll.popleft() for _ in wanted]):
            rolled_ms, fresh = before[series.id]
            rolled = done.get(series.id, Rolled(rolled_ms, rest=True, whole=False))
            series.rolled_ms = rolled.rolled_ms
            if not rolled.rest:
                series.fresh -= fresh
            elif rolled.rolled_ms > rolled_ms:
                series.fresh -= fresh - 1
            if not rolled.whole:
                self._to_roll.appendleft(series)

    async def _thin(self, wanted: list[Series]) -> None:
        work = partial(thin, wanted=[series.id for series in wanted], before_ms=self._before_ms)
        done: dict[int, bool] = await self._do(work)
        for series in reversed([self._to_thin.popleft() for _ in wanted]):
            if done.get(series.id, True):
                self._to_thin.appendleft(series)
            else:
                series.thinned_ms = self._before_ms

    async def _make_room(self, catalog: Catalog) -> bool:
        catalog.campaign_ended = False  # one that ends from now on is looked at anew
        went: bool = True
        try:
            went = await self._do(make_room)
        finally:
            catalog.campaign_ended |= went
        return went

    async def _do(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        job = Job(work)
        self._store.writer.gather().jobs.append(job)
        await asyncio.shield(self._store.commit())
        if job.error is not None:
            raise StoreError(
                FAILED,
                f"samples could not be rolled up or removed: {job.error}",
                "it is tried again; charts read the samples until then",
            ) from job.error
        return job.result


def _all(catalog: Catalog) -> Iterator[Series]:
    return (series for of_endpoint in catalog.series.values() for series in of_endpoint.values())
