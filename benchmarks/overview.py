"""What the overview costs with a thousand devices, and with five thousand: the box's time for the page, what
a browser loads of it, and when it shows something.

W3C Paint Timing, Layout Instability, Resource Timing.
"""

import asyncio
import http.client
import json
import random
import sqlite3
import ssl
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.browser.chromium import Chromium, connected, running_chromium

from .people import bearer
from .processes import daemon
from .results import Figure

SIZES: Final = (1000, 5000)
SEED: Final = 5
REPEATS: Final = 40
PAINTS: Final = 7
SETTLE_S: Final = 1.5
WANTED_MS: Final = 60.0
WANTED_KB: Final = 150.0
WANTED_PAINT_MS: Final = 500.0
WANTED_SHIFT: Final = 0.05
STEP_MS: Final = 1_800_000
SAMPLES: Final = 48
TAGS: Final = tuple(f"room {n}" for n in range(1, 21))
# What a device tells: path, name, data type, units, its middle, how far it swings.
RESOURCES: Final = (
    ("/3303/0/5700", "Sensor Value", "float", "Cel", 21.0, 6.0),
    ("/3304/0/5700", "Sensor Value", "float", "%RH", 50.0, 20.0),
    ("/3/0/9", "Battery Level", "integer", "%", 70.0, 30.0),
    ("/4/0/2", "Radio Signal Strength", "integer", "dBm", -80.0, 25.0),
)
# Other addresses that people use, for a line of their own.
OTHERS: Final = ("/?sort=heard", "/?sort=state&state=online", "/?group=tag", "/?q=sensor+9", "/?tag=room+3")
SHOWN: Final = """new Promise((resolve) => {
  let shift = 0;
  const add = (entry) => { if (!entry.hadRecentInput) shift += entry.value; };
  const watch = new PerformanceObserver((list) => list.getEntries().forEach(add));
  watch.observe({ type: "layout-shift", buffered: true });
  setTimeout(() => {
    watch.takeRecords().forEach(add);
    const files = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
    const later = (file) => new URL(file.name).pathname.startsWith("/api/");
    const weigh = (some) => some.reduce((sum, file) => sum + file.transferSize, 0);
    resolve({
      paint: performance.getEntriesByName("first-contentful-paint")[0].startTime,
      shift,
      page: weigh(files.filter((file) => !later(file))),
      files: files.filter((file) => !later(file)).length,
      later: weigh(files.filter(later)),
    });
  }, %d);
})"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One look at the page: when something was seen, how far it moved, bytes before and after that."""

    paint_ms: float
    shift: float
    page_bytes: int
    files: int
    later_bytes: int


def overview(work: Path) -> list[Figure]:
    """`overview_1000_ms`, `overview_5000_ms`: GET / by HTTPS on a connection that stands, the median; with
    the thousand also `overview_transfer_kb`, `overview_first_paint_ms` and `overview_layout_shift`."""
    figures: list[Figure] = []
    for size in SIZES:
        state = work / f"overview-{size}"
        with daemon(state):
            pass  # makes the database
        _fill(state / "flownexus.db", size)
        with daemon(state) as (_, ports):
            headers = bearer(state)
            took_ms = _timed(ports.http, "/", headers)
            others = {path: _timed(ports.http, path, headers) for path in OTHERS}
            told = ", ".join(f"{path} {ms:.0f} ms" for path, ms in others.items())
            print(f"  {size} devices: / {took_ms:.1f} ms; {told}")
            ratio = took_ms / WANTED_MS
            if size != SIZES[0]:
                figures.append(Figure("overview_5000_ms", took_ms, "ms", WANTED_MS, ratio))
            else:
                figures.append(Figure("overview_1000_ms", took_ms, "ms", WANTED_MS, ratio))
                figures += _looked_at(work, ports.http, headers)
    return figures


def _fill(database: Path, size: int) -> None:
    """Devices with a day of samples, two tags, and a registration that holds on."""
    now_ms = int(time.time() * 1000)
    chance = random.Random(SEED)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO resource_type (id, object_id, resource_id, name, data_type, units)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                (number, *(int(part) for part in path.split("/")[1:4:2]), name, data_type, units)
                for number, (path, name, data_type, units, *_) in enumerate(RESOURCES, 1)
            ),
        )
        for number in range(1, size + 1):
            _add(connection, number, now_ms, chance)


def _add(connection: sqlite3.Connection, number: int, now_ms: int, chance: random.Random) -> None:
    heard_ms = now_ms - chance.randrange(3_600_000)
    connection.execute(
        "INSERT INTO endpoint (id, name, label, first_seen_ms, last_seen_ms) VALUES (?, ?, ?, ?, ?)",
        (
            number,
            f"urn:imei:{352_656_100_000_000 + number * 37}",
            f"Sensor {number}" if number % 3 else "",
            now_ms - 10**8,
            heard_ms,
        ),
    )
    connection.execute(
        "INSERT INTO registration (id, endpoint_id, address, lwm2m_version, lifetime_s, binding, queue_mode,"
        " root_path, objects, content_formats, attributes, message_id, token, registered_ms, updated_ms,"
        " expires_ms, session) VALUES (?, ?, ?, '1.1', 86400, 'U', ?, '/', ?, '[112,110]', '{}', 1, x'01',"
        " ?, ?, ?, '')",
        (
            f"bench{number}",
            number,
            f"127.0.0.1:{10_000 + number}",
            number % 4 == 0,
            json.dumps({str(one): {"version": "1.1", "instances": [0]} for one in (1, 3, 4, 3303, 3304)}),
            heard_ms,
            heard_ms,
            now_ms + 86_400_000,
        ),
    )
    connection.executemany(
        "INSERT INTO endpoint_tag VALUES (?, ?)", ((number, tag) for tag in chance.sample(TAGS, 2))
    )
    for place, (path, _, data_type, _, middle, swing) in enumerate(RESOURCES, 1):
        series = (number - 1) * len(RESOURCES) + place
        connection.execute(
            "INSERT INTO series (id, endpoint_id, resource_type_id, path, data_type) VALUES (?, ?, ?, ?, ?)",
            (series, number, place, path, data_type),
        )
        values = (middle + swing * chance.uniform(-1, 1) for _ in range(SAMPLES))
        connection.executemany(
            "INSERT INTO resource (series_id, time_ms, value) VALUES (?, ?, ?)",
            (
                (series, now_ms - step * STEP_MS, value if data_type == "float" else int(value))
                for step, value in enumerate(values)
            ),
        )


def _timed(port: int, path: str, caller: dict[str, str]) -> float:
    """The median of what a page takes, in ms, from the request to its last byte."""
    headers = {"Accept": "text/html", "Accept-Encoding": "gzip", **caller}
    context = ssl._create_unverified_context()
    with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context)) as connection:
        took: list[float] = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            took.append((time.perf_counter() - began) * 1000)
            if response.status != 200:
                raise SystemExit(f"{path} failed: {response.status} {body[:300]!r}")
    return statistics.median(took)


def _looked_at(work: Path, port: int, caller: dict[str, str]) -> Iterator[Figure]:
    """What a browser sees of the page that has nothing of it yet."""
    looks = asyncio.run(_look(work / "chromium", f"https://127.0.0.1:{port}/", caller))
    paint = statistics.median(look.paint_ms for look in looks)
    shift = max(look.shift for look in looks)
    kilobytes = max(look.page_bytes for look in looks) / 1000
    later = max(look.later_bytes for look in looks) / 1000
    slowest = max(look.paint_ms for look in looks)
    print(
        f"  in Chromium: {kilobytes:.0f} kB in {looks[0].files} files, then {later:.0f} kB of sparklines;"
        f" first paint after {paint:.0f} ms (median), {slowest:.0f} ms (slowest of {len(looks)})"
    )
    yield Figure("overview_transfer_kb", kilobytes, "kB", WANTED_KB, kilobytes / WANTED_KB)
    yield Figure("overview_first_paint_ms", paint, "ms", WANTED_PAINT_MS, paint / WANTED_PAINT_MS)
    yield Figure("overview_layout_shift", shift, "", WANTED_SHIFT, shift / WANTED_SHIFT)


async def _look(profile: Path, url: str, caller: dict[str, str]) -> list[Shown]:
    with running_chromium(profile, "") as address:
        async with connected(address) as chromium:
            return [await _look_once(chromium, url, caller) for _ in range(PAINTS)]


async def _look_once(chromium: Chromium, url: str, caller: dict[str, str]) -> Shown:
    async with chromium.page(width=1280, height=800, cookie="") as page:
        await page.call("Security.setIgnoreCertificateErrors", ignore=True)
        await page.call("Network.setCacheDisabled", cacheDisabled=True)
        await page.call("Network.setExtraHTTPHeaders", headers=caller)
        await page.open(url)
        found: dict[str, Any] = await page.evaluate(SHOWN % (SETTLE_S * 1000))
    return Shown(found["paint"], found["shift"], found["page"], found["files"], found["later"])
