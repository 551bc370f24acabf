"""A store with its reader and upkeep on one file, at a time of the test's choosing."""

import random
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path as FilePath
from typing import Any

from flownexus_appliance.db.charts import Chart
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.rollups import DAY_MS
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.db.upkeep import Upkeep
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record, Value

# Midnight of a day, UTC.
MIDNIGHT = 20_000 * DAY_MS
MINUTE_MS = 60_000
TEMPERATURE = Path.of(3303, 0, 5700)

Rows = list[tuple[Any, ...]]
Column = tuple[float, float, float, int]


class Box:
    """`keep_days` as `Upkeep` has it."""

    def __init__(self, path: FilePath, keep_days: int = 0) -> None:
        self.path = path
        self.keep_days = keep_days
        self.store = Store(path, lambda _, data_type: ResourceType("", data_type, ""))
        self.reader = Reader(path)
        self.upkeep = Upkeep(self.store, keep_days)

    async def start(self) -> None:
        await self.store.start()
        await self.reader.start()

    async def stop(self) -> None:
        await self.reader.stop()
        await self.store.stop()

    async def add(
        self, samples: Sequence[tuple[int, Value]], path: Path = TEMPERATURE, endpoint: str = "a",
        data_type: DataType = DataType.FLOAT,
    ) -> None:  # fmt: skip
        """Each by itself, so that what has the same moment is the same sample or the next free moment's."""
        for time_ms, value in samples:
            self.store.add_samples(endpoint, [Record(path, value, data_type, time_ms)], time_ms)
        await self.store.commit()

    async def work(self, now_ms: int) -> int:
        """All that is due at a time; how many pieces that were."""
        self.upkeep.look(now_ms)
        pieces = 0
        while await self.upkeep.piece():
            pieces += 1
        return pieces

    async def chart(self, from_ms: int | None, to_ms: int, points: int, endpoint: str = "a") -> Chart:
        chart = await self.reader.chart(endpoint, TEMPERATURE, from_ms, to_ms, points)
        assert chart is not None
        return chart

    def rows(self, sql: str, *parameters: object) -> Rows:
        """What is on the disk."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def slots(self, level: int) -> dict[int, int]:
        """How many samples each slot of a level stands for."""
        return dict(self.rows("SELECT slot, count FROM rollup WHERE level = ?", level))

    def kept(self) -> int:
        """How many samples there are."""
        return int(self.rows("SELECT count(*) FROM resource")[0][0])

    def marks(self) -> tuple[int, int]:
        """`rolled_ms` and `kept_ms` of the one series."""
        ((rolled_ms, kept_ms),) = self.rows("SELECT rolled_ms, kept_ms FROM series")
        return rolled_ms, kept_ms


@asynccontextmanager
async def opened(path: FilePath, keep_days: int = 0) -> AsyncIterator[Box]:
    box = Box(path, keep_days)
    await box.start()
    try:
        yield box
    finally:
        await box.stop()


def every(period_ms: int, from_ms: int, to_ms: int, seed: int = 1) -> list[tuple[int, float]]:
    """Samples of a value that wanders."""
    chance = random.Random(seed)
    value, samples = 20.0, []
    for time_ms in range(from_ms, to_ms, period_ms):
        value += chance.uniform(-0.5, 0.5)
        samples.append((time_ms, round(value, 2)))
    return samples


def buckets(
    samples: Sequence[tuple[int, float]], from_ms: int, to_ms: int, step_ms: int
) -> dict[int, Column]:
    """Least, mean, greatest and number of what falls in each bucket, by the bucket's number."""
    found: dict[int, list[float]] = {}
    for time_ms, value in samples:
        if from_ms <= time_ms < to_ms:
            found.setdefault((time_ms - from_ms) // step_ms, []).append(value)
    return {n: (min(v), sum(v) / len(v), max(v), len(v)) for n, v in found.items()}


def drawn(chart: Chart) -> dict[int, Column]:
    """What a chart shows, as `buckets` has it."""
    columns = zip(chart.min, chart.mean, chart.max, chart.count, strict=True)
    numbers = [(time_ms - chart.from_ms) // chart.step_ms for time_ms in chart.time_ms]
    return dict(zip(numbers, columns, strict=True))
