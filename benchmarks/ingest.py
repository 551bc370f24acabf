"""How fast readings become durable rows, against bare aiocoap and against the seed's way.

The same load generator, devices and messages for the daemon and for bare aiocoap, in turns; the
ratio is that of the medians. After the last round the daemon is killed and the file must hold every
value it acknowledged.
"""

import http.client
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from .credentials import DEVICES
from .processes import daemon, free_port, running
from .results import Figure

WINDOW: Final = 64
SECONDS: Final = 5.0
ROUNDS: Final = 3
SEED_THREADS: Final = 8
SEED_SECONDS: Final = 10.0


def ingest(work: Path) -> list[Figure]:
    """`ingest_vs_aiocoap`, `ingest_vs_seed`, `bytes_per_sample`."""
    ours: list[float] = []
    bare: list[float] = []
    for number in range(ROUNDS):
        bare.append(_bare(work))
        ours.append(_daemon(work / f"ingest-{number}", kill=number == ROUNDS - 1))
        print(f"  round {number + 1}: aiocoap {bare[-1]:.0f}/s, daemon {ours[-1]:.0f}/s", flush=True)
    rate, against = statistics.median(ours), statistics.median(bare)
    seed = _seed(work / "seed")
    return [
        Figure("ingest_vs_aiocoap", rate, "values/s", against, rate / against),
        Figure("ingest_vs_seed", rate, "values/s", seed, rate / seed),
    ]


def load(port: int, *words: str) -> dict[str, Any]:
    """Run the load generator, `dtls` among its words for that; its result, in which none was refused."""
    command = [sys.executable, "-m", "benchmarks.wire", str(port), str(DEVICES), str(SECONDS), str(WINDOW)]
    command += words
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    if result["registered"] != DEVICES or result["observed"] != DEVICES or result.get("refused"):
        raise SystemExit(f"the load did not run as it should: {done.stdout[:300]}")
    return result


def rate_of(result: dict[str, Any]) -> float:
    return float(result["sends"] + result["notifications"]) / float(result["seconds"])


def _bare(work: Path) -> float:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_aiocoap", str(port)]
    with running(command, "ready", work / "aiocoap.log"):
        return rate_of(load(port))


def _daemon(state: Path, kill: bool) -> float:
    with daemon(state) as (started, ports):
        result = load(ports.coap)
        if kill:
            started.process.send_signal(signal.SIGKILL)
            started.process.wait()
    check(state / "flownexus.db", result["values"])
    return rate_of(result)


def check(database: Path, acknowledged: dict[str, int]) -> None:
    """Every acknowledged value is in the file: no fewer rows than acknowledgements, per device."""
    with closing(sqlite3.connect(database)) as connection:
        rows = dict(
            connection.execute(
                "SELECT e.name, count(*) FROM resource r JOIN series s ON s.id = r.series_id"
                " JOIN endpoint e ON e.id = s.endpoint_id WHERE s.path = '/3303/0/5700' GROUP BY e.name"
            )
        )
    lost = {name: count for name, count in acknowledged.items() if rows.get(name, 0) < count}
    if lost:
        raise SystemExit(f"acknowledged values are missing from the file: {lost}")


def _seed(work: Path) -> float:
    """Values a second by one POST each on Django's development server."""
    work.mkdir(parents=True, exist_ok=True)
    port = free_port(socket.SOCK_STREAM)
    environment = {"SEED_STATE": str(work), "DJANGO_SETTINGS_MODULE": "benchmarks.seed.settings"}
    django = [sys.executable, "-m", "django"]
    subprocess.run(
        [*django, "migrate", "--run-syncdb", "--verbosity", "0"],
        check=True,
        env={**os.environ, **environment},
    )
    command = [*django, "runserver", "--noreload", f"127.0.0.1:{port}"]
    with running(command, "Quit the server", work / "django.log", environment):
        return _post_all(port)


def _post_all(port: int) -> float:
    counts = [0] * SEED_THREADS
    end = time.monotonic() + SEED_SECONDS

    def post(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while time.monotonic() < end:
            value = {"kind": "singleResource", "id": 5700, "type": "FLOAT", "value": "24.899181214836236"}
            body = json.dumps({"ep": f"load-{index}", "obj_id": 3303, "val": value})
            try:
                connection.request(
                    "POST", "/leshan_api/resource/single", body, {"Content-Type": "application/json"}
                )
                response = connection.getresponse()
                response.read()
            except (http.client.HTTPException, OSError):
                # The development server closes connections; a client opens the next one.
                connection.close()
                continue
            # "database is locked" under concurrent writes: not stored, not counted.
            if response.status == 201:
                counts[index] += 1

    began = time.monotonic()
    threads = [threading.Thread(target=post, args=(n,)) for n in range(SEED_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)
