"""What the daemon costs: memory with a thousand devices, time to start, processor when idle, disk."""

import sqlite3
import statistics
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from .processes import daemon, running
from .results import Figure

DEVICES: Final = 1000
STARTS: Final = 5
SETTLE_S: Final = 10.0
IDLE_S: Final = 10.0
SERIES: Final = 1000
SAMPLES_EACH: Final = 500


def footprint(work: Path) -> list[Figure]:
    """`rss_1000_mb`, `idle_cpu_percent`, `start_to_ready_s`, `bytes_per_sample`."""
    return [*_memory(work / "memory"), _start(work / "memory"), _bytes(work / "bytes")]


def _memory(state: Path) -> list[Figure]:
    """A thousand simulated devices, each observed, reporting once a minute each."""
    with daemon(state) as (started, ports):
        command = [sys.executable, "-m", "flownexus_appliance", "sim", "-n", str(DEVICES)]
        command += ["--port", str(ports.coap), "--period", "60"]
        with running(command, "registered", state / "sim.log"):
            _await_registered(state / "flownexus.db")
            time.sleep(SETTLE_S)  # not a race: a span in which the daemon goes on working
            rss = started.rss_mb
            before = started.cpu_s
            time.sleep(IDLE_S)
            busy = (started.cpu_s - before) / IDLE_S * 100
    return [Figure("rss_1000_mb", rss, "MB"), Figure("idle_cpu_percent", busy, "% of a core")]


def _await_registered(database: Path) -> None:
    deadline = time.monotonic() + 120
    wanted = (DEVICES, DEVICES)
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        while time.monotonic() < deadline:
            seen = connection.execute(
                "SELECT (SELECT count(*) FROM registration),"
                " (SELECT count(DISTINCT endpoint_id) FROM observation)"
            ).fetchone()
            if seen == wanted:
                return
            time.sleep(0.2)
    raise SystemExit(f"registered and observed: {seen}, not {wanted}")


def _start(state: Path) -> Figure:
    """From the command to READY, on the database that the memory run left."""
    times = []
    for _ in range(STARTS):
        with daemon(state) as (started, _):
            times.append(started.ready_s)
    return Figure("start_to_ready_s", statistics.median(times), "s")


def _bytes(state: Path) -> Figure:
    """Bytes of the file a sample, many series growing side by side as they do in earnest."""
    with daemon(state):
        pass
    database = state / "flownexus.db"
    empty = _size(database)
    with closing(sqlite3.connect(database)) as connection:
        for n in range(SAMPLES_EACH):
            with connection:
                connection.executemany(
                    "INSERT INTO resource (series_id, time_ms, value) VALUES (?, ?, ?)",
                    (
                        (series, 1_700_000_000_000 + n * 60_000 + series, 20 + (n * series % 997) / 100)
                        for series in range(SERIES)
                    ),
                )
    figure = (_size(database) - empty) / (SERIES * SAMPLES_EACH)
    return Figure("bytes_per_sample", figure, "bytes", 20.0, figure / 20.0)


def _size(database: Path) -> int:
    """The file's size with its log written back."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return database.stat().st_size
