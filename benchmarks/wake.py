"""A fleet that sleeps, has operations waiting for it, and wakes within a minute."""

import json
import signal
import sqlite3
import statistics
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final

from flownexus_appliance.cli.console import Console, below

from .processes import Started, daemon, running
from .results import Figure

DEVICES: Final = 2000
AWAKE_S: Final = 15.0
WAKE_EVERY_S: Final = 60.0
WANTED_MS: Final = 50.0
ASKING_AT_ONCE: Final = 16
PATIENCE_S: Final = 300.0
OPERATIONS: Final = (
    {"operation": "write", "path": "/3/0/15", "value": "Europe/Berlin"},
    {"operation": "read", "path": "/3/0/15"},
    {"operation": "execute", "path": "/3/0/12"},
)


def wake(work: Path) -> list[Figure]:
    """`wake_to_first_request_ms`: from the 2.04 of an Update to the first request, the median."""
    with daemon(work, f"[fleet]\nawake_window_s = {AWAKE_S}\n") as (started, ports):
        command = [sys.executable, "-m", "benchmarks.sleepers", str(ports.coap), str(DEVICES)]
        with running([*command, str(AWAKE_S), str(WAKE_EVERY_S)], "started", work / "sleepers.log") as sim:
            database = work / "flownexus.db"
            _await_asleep(work)
            before_mb = started.rss_mb
            _ask(work)
            queued_mb = started.rss_mb
            sim.process.send_signal(signal.SIGUSR1)
            began = time.monotonic()
            peak_mb = _await_done(database, started)
            took_s = time.monotonic() - began
            waited = _stop(sim)
    _check_order(database)
    median, slow = statistics.median(waited), statistics.quantiles(waited, n=100)[98]
    print(
        f"  {DEVICES} devices woke and {DEVICES * len(OPERATIONS)} operations were CONFIRMED in order within"
        f" {took_s:.0f} s; first request after {median:.1f} ms (median), {slow:.1f} ms (99 %);"
        f" memory {before_mb:.0f} MB asleep, {queued_mb:.0f} MB with all queued, {peak_mb:.0f} MB at most"
    )
    return [Figure("wake_to_first_request_ms", median, "ms", WANTED_MS, median / WANTED_MS)]


def _await_asleep(state: Path) -> None:
    """Until every device was got to know and none is awake."""
    box = Console(state)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if box.get("/status")["devices"]["sleeping"] == DEVICES:
            return
        time.sleep(0.1)
    raise SystemExit(f"not asleep: {box.get('/status')['devices']}")


def _ask(state: Path) -> None:
    """Queue what waits for the devices, in order for each."""
    names = [device["endpoint"] for device in Console(state).items("/endpoints")]

    def ask(name: str) -> None:
        box = Console(state)
        for operation in OPERATIONS:
            box.post(below("endpoints", name, "/operations"), operation)

    with ThreadPoolExecutor(ASKING_AT_ONCE) as pool:
        list(pool.map(ask, names))


def _await_done(database: Path, started: Started) -> float:
    """Until all operations are CONFIRMED; the most memory seen meanwhile, in MB."""
    peak, counted = 0.0, {}
    deadline = time.monotonic() + PATIENCE_S
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        while time.monotonic() < deadline:
            peak = max(peak, started.rss_mb)
            counted = dict(
                connection.execute("SELECT status, count(*) FROM endpoint_operation GROUP BY status")
            )
            if counted == {"CONFIRMED": DEVICES * len(OPERATIONS)}:
                return peak
            time.sleep(0.2)
    raise SystemExit(f"operations: {counted}")


def _check_order(database: Path) -> None:
    """Each device was sent its operations in the order of their asking, one after the other."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT o.endpoint_id, a.started_ms, a.ended_ms FROM endpoint_operation o"
            " JOIN operation_attempt a ON a.operation_id = o.id ORDER BY o.endpoint_id, o.id, a.number"
        ).fetchall()
    for endpoint, attempts in groupby(rows, key=lambda row: row[0]):
        if not _in_order(attempts):
            raise SystemExit(f"endpoint {endpoint} was sent its operations out of order")


def _in_order(attempts: Iterable[tuple[int, int, int]]) -> bool:
    return all(before[2] <= after[1] for before, after in pairwise(attempts))


def _stop(sim: Started) -> list[float]:
    sim.process.send_signal(signal.SIGTERM)
    assert sim.process.stdout is not None
    waited: list[float] = json.loads(sim.process.stdout.read())
    if len(waited) < DEVICES:
        raise SystemExit(f"{len(waited)} of {DEVICES} devices were asked after an Update")
    return waited
