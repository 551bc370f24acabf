"""What a chart costs over the bare query, and what the overview costs with many devices."""

import http.client
import sqlite3
import ssl
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from flownexus_appliance.db.reads import CHART_QUERY

from .processes import daemon
from .results import Figure

SAMPLES: Final = 100_000
POINTS: Final = 1500
REPEATS: Final = 15
PERIOD_MS: Final = 60_000
START_MS: Final = 1_700_000_000_000


def charts(work: Path) -> list[Figure]:
    """`chart_100k_over_sqlite_ms`: the API's answer less what sqlite3 itself needs for the query."""
    state = work / "charts"
    with daemon(state):
        pass  # makes the database
    _fill(state / "flownexus.db")
    with daemon(state) as (_, ports):
        path = (
            f"/api/v1/endpoints/chart/series/3303/0/5700?points={POINTS}"
            f"&from_ms={START_MS}&to_ms={START_MS + SAMPLES * PERIOD_MS}"
        )
        connection = http.client.HTTPSConnection(
            "127.0.0.1", ports.http, context=ssl._create_unverified_context()
        )
        api: list[float] = []
        bare: list[float] = []
        for _ in range(REPEATS):
            bare.append(_bare(state / "flownexus.db"))
            began = time.perf_counter()
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            api.append((time.perf_counter() - began) * 1000)
            if response.status != 200:
                raise SystemExit(f"the chart failed: {response.status} {body[:300]!r}")
        connection.close()
    figure, against = statistics.median(api), statistics.median(bare)
    return [Figure("chart_100k_over_sqlite_ms", figure - against, "ms", against, figure / against)]


def _fill(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "INSERT INTO endpoint (id, name, first_seen_ms, last_seen_ms) VALUES (1, 'chart', ?, ?)",
            (START_MS, START_MS),
        )
        connection.execute(
            "INSERT INTO resource_type (id, object_id, resource_id, name, data_type, units)"
            " VALUES (1, 3303, 5700, 'Sensor Value', 'float', '')"
        )
        connection.execute(
            "INSERT INTO series (id, endpoint_id, resource_type_id, path, data_type)"
            " VALUES (1, 1, 1, '/3303/0/5700', 'float')"
        )
        connection.executemany(
            "INSERT INTO resource (series_id, time_ms, value) VALUES (1, ?, ?)",
            ((START_MS + n * PERIOD_MS, 20 + (n * 37 % 1000) / 64) for n in range(SAMPLES)),
        )


def _bare(database: Path) -> float:
    """The same query by sqlite3 alone, connection and statement ready, in ms."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        connection.execute("SELECT count(*) FROM series").fetchone()
        span = SAMPLES * PERIOD_MS
        parameters = {
            "series": 1,
            "from_ms": START_MS,
            "to_ms": START_MS + span,
            "step_ms": max(1, -(-span // POINTS)),
        }
        began = time.perf_counter()
        rows = connection.execute(CHART_QUERY, parameters).fetchall()
        took = (time.perf_counter() - began) * 1000
    if not rows or sum(row[4] for row in rows) != SAMPLES:
        raise SystemExit("the query did not see every sample")
    return took
