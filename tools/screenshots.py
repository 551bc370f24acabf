"""`make screenshots`: the pictures of the README, of a real daemon with simulated devices and their last day.

The devices register over DTLS and go on reporting meanwhile; only the day before is made up.
"""

import asyncio
import base64
import json
import math
import secrets
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.processes import Ports, daemon, running
from flownexus_appliance.cli.console import Console
from tests.browser.chromium import Chromium, Page, connected, running_chromium

SHOTS: Final = Path(__file__).parents[1] / "docs" / "screenshots"
DEVICES: Final = {
    "sim-0001": ("Greenhouse", ["garden"]),
    "sim-0002": ("Cellar", ["house"]),
    "sim-0003": ("Workshop", ["house"]),
    "sim-0004": ("Beehive 1", ["garden", "bees"]),
    "sim-0005": ("Beehive 2", ["garden", "bees"]),
    "sim-0006": ("Cold store", ["house"]),
    "sim-0007": ("Rain barrel", ["garden"]),
    "sim-0008": ("Attic", ["house"]),
}
SLEEPERS: Final = {"sleepy-0001": ("Meadow", ["garden"]), "sleepy-0002": ("Pond", ["garden"])}
NAME, PASSWORD = "anna", "four wet horses"
STEP_MS: Final = 120_000
DAY_MS: Final = 86_400_000
SETTLE_S: Final = 12.0
AWAKE_S: Final = 3
KEYS: Final = "keys"
DRAWN_S: Final = 2.0
GREENHOUSE: Final = "/devices/sim-0001"
COMPARED: Final = ("sim-0001", "sim-0002", "sim-0006", "sim-0008")
COMPARE: Final = "/compare?" + "&".join(f"series={quote(f'/3303/0/5700:{name}')}" for name in COMPARED)


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture: its name, what is on it, and how it is looked at."""

    name: str
    path: str
    width: int
    height: int
    scheme: str


PICTURES: Final = (
    Shot("overview-desk", "/", 1280, 860, "light"),
    Shot("device-desk", GREENHOUSE, 1280, 860, "dark"),
    Shot("compare-desk", COMPARE, 1280, 860, "light"),
    Shot("overview-phone", "/", 390, 780, "dark"),
    Shot("device-phone", GREENHOUSE, 390, 780, "light"),
    Shot("add-device-phone", "/add-device", 390, 780, "light"),
)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="flownexus-screenshots-") as folder, ExitStack() as stack:
        state = Path(folder) / "state"
        with daemon(state) as (_, ports):
            _furnish(Console(state), Path(folder))
            with _devices(ports, Path(folder)):
                time.sleep(SETTLE_S)  # until they are onboarded
        _remember(state / "flownexus.db")
        _, ports = stack.enter_context(daemon(state))
        stack.enter_context(_devices(ports, Path(folder)))
        time.sleep(SETTLE_S)
        _label(Console(state))
        address = stack.enter_context(running_chromium(Path(folder) / "profile", _key_of(ports.http)))
        asyncio.run(_take(address, f"https://127.0.0.1:{ports.http}"))
    return 0


@contextmanager
def _devices(ports: Ports, folder: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "flownexus_appliance", "sim", "--dtls", "--port", str(ports.coaps)]
    command += ["--psk-file", str(folder / KEYS), "--period", "2"]
    awake = [*command, "-n", str(len(DEVICES))]
    asleep = [*command, "-n", str(len(SLEEPERS)), "--prefix", "sleepy", "--queue-mode"]
    asleep += ["--awake", str(AWAKE_S)]
    with (
        running(awake, "registered", folder / "sim.log"),
        running([*asleep, "--wake-every", "600"], "registered", folder / "sleepy.log"),
    ):
        yield


def _remember(database: Path) -> None:
    """A day of samples before those that came, about the value that each series had first."""
    now_ms = int(time.time() * 1000)
    with closing(sqlite3.connect(database)) as connection, connection:
        found = connection.execute(
            "SELECT s.id, r.value, s.endpoint_id FROM series s JOIN resource r ON r.series_id = s.id"
            " WHERE s.path LIKE '/33%/5700' GROUP BY s.id HAVING r.time_ms = min(r.time_ms)"
        ).fetchall()
        for series, value, device in found:
            swing = 0.12 * abs(value)
            for at in range(now_ms - DAY_MS, now_ms - 60_000, STEP_MS):
                turn = 2 * math.pi * (at / DAY_MS + device / 11)
                wave = math.sin(turn) + 0.25 * math.sin(5 * turn + device) + 0.08 * math.sin(37 * turn)
                connection.execute(
                    "INSERT OR IGNORE INTO resource VALUES (?, ?, ?)", (series, at, value + swing * wave)
                )
        connection.execute("UPDATE endpoint SET first_seen_ms = ?", (now_ms - 3 * DAY_MS,))


def _furnish(console: Console, folder: Path) -> None:
    """Somebody to look, and a key for each device."""
    console.post("/users", {"name": NAME, "role": "admin", "password": PASSWORD})
    keys = {endpoint: secrets.token_hex(16) for endpoint in (*DEVICES, *SLEEPERS)}
    for endpoint, key in keys.items():
        console.post("/endpoints", {"endpoint": endpoint, "key": key})
    lines = (f"{endpoint} {endpoint} {key}\n" for endpoint, key in keys.items())
    (folder / KEYS).write_text("".join(lines))


def _label(console: Console) -> None:
    for endpoint, (label, tags) in {**DEVICES, **SLEEPERS}.items():
        console.patch(f"/endpoints/{endpoint}", {"label": label, "tags": tags})
    for endpoint in SLEEPERS:
        console.patch(f"/endpoints/{endpoint}", {"awake_window_s": AWAKE_S})


def _key_of(port: int) -> str:
    """The SHA-256 of the server's key, by which the browser trusts it."""
    certificate = x509.load_pem_x509_certificate(ssl.get_server_certificate(("127.0.0.1", port)).encode())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(sha256(key).digest()).decode()


async def _take(address: str, url: str) -> None:
    async with connected(address) as chromium:
        for shot in PICTURES:
            await _picture(chromium, url, shot)


async def _picture(chromium: Chromium, url: str, shot: Shot) -> None:
    async with chromium.page(shot.width, shot.height, shot.scheme, cookie="") as page:
        await page.call("Emulation.setScrollbarsHidden", hidden=True)
        await page.open(f"{url}/sign-in?next={quote(shot.path, safe='')}")
        for field, text in (("name", NAME), ("password", PASSWORD)):
            await page.type(f"input[name={field}]", text)
        await page.follow("form[action^='/sign-in'] button[type=submit]")
        await _drawn(page)
        found = await page.call("Page.captureScreenshot", format="png")
    raw = SHOTS / f"{shot.name}.png"
    raw.write_bytes(base64.b64decode(found["data"]))
    print(f"{raw.name}: {raw.stat().st_size // 1000} kB", flush=True)


async def _drawn(page: Page) -> None:
    await page.until("document.readyState === 'complete'")
    await page.until("!document.querySelector('[data-chart]') || document.querySelector('.u-over')")
    await asyncio.sleep(DRAWN_S)  # live values come in, sparklines are drawn


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(json.dumps(error.args, default=str))
