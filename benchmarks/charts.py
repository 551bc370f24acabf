"""What a chart costs: over its bare query, and of a year of samples, a minute apart."""

import asyncio
import http.client
import math
import random
import sqlite3
import ssl
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from flownexus_appliance.db.charts import Marks, plan
from flownexus_appliance.db.rollups import DAY_MS, floor
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.db.upkeep import Upkeep

from .people import bearer
from .processes import daemon
from .results import Figure

SAMPLES: Final = 100_000
YEAR: Final = 525_600
POINTS: Final = 1500
REPEATS: Final = 15
YEAR_REPEATS: Final = 100
PERIOD_MS: Final = 60_000
# The samples are old, and are not to go while they are measured.
KEEP: Final = "[storage]\nkeep_samples_days = 0\n"
START_MS: Final = floor(1_700_000_000_000, DAY_MS)


def charts(work: Path) -> list[Figure]:
    """`chart_100k_over_sqlite_ms`: the API's answer less what sqlite3 itself needs for the query.

    `chart_year_p95_ms`: a year of samples by the API, against the same from the samples alone.
    """
    state = work / "charts"
    database = state / "flownexus.db"
    with daemon(state):  # makes the database
        headers = bearer(state)
    _fill(database)
    by_samples = _bare(database, 2, YEAR, Marks(0, 0, fine=False))
    rolled_ms = asyncio.run(_roll_up(database))
    with daemon(state, KEEP) as (_, ports):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", ports.http, context=ssl._create_unverified_context()
        )

        def ask(series: int, samples: int) -> tuple[float, int]:
            """How long the answer takes, in ms, and what it weighs on the wire, in bytes."""
            path = (
                f"/api/v1/endpoints/chart/series/3303/{series}/5700?points={POINTS}"
                f"&from_ms={START_MS}&to_ms={START_MS + samples * PERIOD_MS}"
            )
            began = time.perf_counter()
            connection.request("GET", path, headers={**headers, "Accept-Encoding": "gzip, deflate"})
            response = connection.getresponse()
            body = response.read()
            took = (time.perf_counter() - began) * 1000
            if response.status != 200:
                raise SystemExit(f"the chart failed: {response.status} {body[:300]!r}")
            return took, len(body)

        figures = [_over_sqlite(lambda: ask(1, SAMPLES)[0], database, rolled_ms[1])]
        answers = sorted(ask(2, YEAR) for _ in range(YEAR_REPEATS))
        connection.close()
    p95, weight = answers[YEAR_REPEATS * 95 // 100][0], answers[0][1]
    median = answers[YEAR_REPEATS // 2][0]
    print(f"  a year of {POINTS} points: median {median:.1f} ms, {weight / 1000:.1f} kB", flush=True)
    return [*figures, Figure("chart_year_p95_ms", p95, "ms", by_samples, p95 / by_samples)]


def _over_sqlite(ask: Callable[[], float], database: Path, rolled_ms: int) -> Figure:
    api: list[float] = []
    bare: list[float] = []
    for _ in range(REPEATS):
        bare.append(_bare(database, 1, SAMPLES, Marks(rolled_ms, 0, fine=False)))
        api.append(ask())
    figure, against = statistics.median(api), statistics.median(bare)
    return Figure("chart_100k_over_sqlite_ms", figure - against, "ms", against, figure / against)


def _fill(database: Path) -> None:
    chance = random.Random(1)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO endpoint (id, name, first_seen_ms, last_seen_ms) VALUES (1, 'chart', ?, ?)",
            (START_MS, START_MS),
        )
        connection.execute(
            "INSERT INTO resource_type (id, object_id, resource_id, name, data_type, units)"
            " VALUES (1, 3303, 5700, 'Sensor Value', 'float', '')"
        )
        for series, samples in ((1, SAMPLES), (2, YEAR)):
            connection.execute(
                "INSERT INTO series (id, endpoint_id, resource_type_id, path, data_type)"
                " VALUES (?, 1, 1, ?, 'float')",
                (series, f"/3303/{series}/5700"),
            )
            connection.executemany(
                "INSERT INTO resource (series_id, time_ms, value) VALUES (?, ?, ?)",
                ((series, START_MS + n * PERIOD_MS, _temperature(n, chance)) for n in range(samples)),
            )


def _temperature(minute: int, chance: random.Random) -> float:
    """What a sensor says: warmer by day, never quite the same."""
    return round(20 + 8 * math.sin(minute * math.tau / 1440) + chance.uniform(-0.6, 0.6), 2)


async def _roll_up(database: Path) -> dict[int, int]:
    """As the daemon does by and by; how far each series is rolled up, ms since 1970."""
    store = Store(database, lambda _, data_type: ResourceType("Sensor Value", data_type, ""))
    await store.start()
    upkeep = Upkeep(store, 0)
    upkeep.look(START_MS + 2 * YEAR * PERIOD_MS)
    while await upkeep.piece():
        pass
    marks = {s.id: s.rolled_ms for of_one in store.catalog.series.values() for s in of_one.values()}
    await store.stop()
    return marks


def _bare(database: Path, series: int, samples: int, marks: Marks) -> float:
    """The statement of a chart by sqlite3 alone, connection and statement ready, in ms."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT count(*) FROM series").fetchone()
        span = START_MS, START_MS + samples * PERIOD_MS
        statement, asked = plan(series, span, max(1, -(-(span[1] - span[0]) // POINTS)), marks)
        began = time.perf_counter()
        rows = connection.execute(statement, asked).fetchall()
        took = (time.perf_counter() - began) * 1000
    if not rows or sum(row[4] for row in rows) != samples:
        raise SystemExit("the query did not see every sample")
    return took
