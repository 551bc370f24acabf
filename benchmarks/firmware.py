"""What firmware costs: 200 devices behind a lossy way that all fetch an image at once, and how others fare
meanwhile; and blocks as fast as they come, against aiocoap's own.

The devices, the relay and their daemon are those of `tests/interop/test_firmware_fleet.py`, which tells what
is on the way between them. There all that is asserted is how updates end; the figures are here.
"""

import json
import signal
import statistics
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Final

from flownexus_appliance.sim.package import make_package
from tests.interop.daemon import LOOPBACK, Daemon
from tests.interop.daemon import running as daemon_running
from tests.interop.firmware import add
from tests.interop.firmware_devices import Group
from tests.interop.relay import FRONT
from tests.interop.updates import campaign, counts, devices, memory, relaying, wait_ended

from . import notifiers
from .processes import Started, free_port, running
from .results import Figure

DEVICES: Final = 200
BESIDE: Final = 50
VERSION: Final = "2.0.0"
SIZE: Final = 256 * 1024
KEY: Final = "00112233445566778899aabbccddeeff"
ACK_TIMEOUT_S: Final = 0.5
WANTED_MB: Final = 120.0
WANTED_MS: Final = 100.0
PATIENCE_S: Final = 600.0
ROUNDS: Final = 3
SECONDS: Final = 5.0
FETCHERS: Final = 16
DAY_MS: Final = 86_400_000
SETTINGS: Final = f'\n[firmware]\nhost = "{FRONT}"\n'


def firmware(work: Path) -> list[Figure]:
    """`firmware_200_s`, `firmware_rss_mb`, `notify_p95_during_firmware_ms`, `firmware_blocks_vs_aiocoap`."""
    return [*_fleet(work), _blocks(work)]


def _fleet(work: Path) -> list[Figure]:
    image = make_package(VERSION, SIZE)
    folder, other = work / "updates", work / "idle"
    for made in (folder, other):
        made.mkdir()
    # A second box that has nothing else to do: what its notifications take is what the machine makes of them.
    with daemon_running(folder, SETTINGS) as box, daemon_running(other) as idle:
        fleet = Group("fleet", DEVICES, FRONT, box.coaps_port, KEY, ack_timeout_s=ACK_TIMEOUT_S)
        with relaying([box.coaps_port], folder) as relayed, devices(box, [fleet], folder):
            package = add(box, image, VERSION)
            with _beside(box, folder) as beside, _beside(idle, other) as beside_idle:
                began = time.monotonic()
                number = campaign(box, package, fleet.names, at_once=DEVICES, failure_limit=100)
                ended = wait_ended(box, number, PATIENCE_S)
                took_s = time.monotonic() - began
                busy, calm = _stop(beside), _stop(beside_idle)
            taken = memory(box.program.pid)
            way = relayed()
        if counts(box, number) != {"SUCCEEDED": DEVICES}:
            raise SystemExit(
                f"not all succeeded: {[update for update in ended.values() if update.result != 1]}"
            )
    seen = way["passed"] + way["lost"]
    print(
        f"  {DEVICES} devices, {SIZE // 1024} KiB each: {seen / took_s:.0f} datagrams/s,"
        f" {way['lost'] / seen:.1%} lost, {way['overtaken']} overtaken;"
        f" memory {taken.now_mb:.0f} MB, {taken.peak_mb:.0f} MB at most"
    )
    print(f"  notifications of {BESIDE} others: {_told(busy)}; of an idle box: {_told(calm)}")
    p95 = _p95(busy)
    return [
        Figure("firmware_200_s", took_s, "s"),
        Figure("firmware_rss_mb", taken.peak_mb, "MB", WANTED_MB, taken.peak_mb / WANTED_MB),
        Figure("notify_p95_during_firmware_ms", p95, "ms", WANTED_MS, p95 / WANTED_MS),
    ]


def _beside(box: Daemon, folder: Path) -> AbstractContextManager[Started]:
    command = [sys.executable, "-m", "benchmarks.notifiers", str(box.coap_port), str(BESIDE), str(PATIENCE_S)]
    return running(command, notifiers.READY, folder / "notifiers.log")


def _stop(beside: Started) -> list[float]:
    beside.process.send_signal(signal.SIGTERM)
    assert beside.process.stdout is not None
    took_ms: list[float] = json.loads(beside.process.stdout.read())
    return took_ms


def _p95(took_ms: list[float]) -> float:
    return statistics.quantiles(took_ms, n=20)[18]


def _told(took_ms: list[float]) -> str:
    return (
        f"{statistics.median(took_ms):.1f} ms (median), {_p95(took_ms):.1f} ms (95 %), {max(took_ms):.0f} ms"
        f" (most) of {len(took_ms)}"
    )


def _blocks(work: Path) -> Figure:
    """Blocks of 1024 bytes a second by plain CoAP, in turns with a bare aiocoap server."""
    image = make_package(VERSION, SIZE)
    file = work / "package.bin"
    file.write_bytes(image)
    ours: list[float] = []
    bare: list[float] = []
    folder = work / "blocks"
    folder.mkdir()
    with daemon_running(folder) as box:
        paths = _tickets(box, folder, add(box, image, VERSION))
        for number in range(ROUNDS):
            port = free_port()
            command = [sys.executable, "-m", "benchmarks.bare_package", str(port), str(file)]
            with running(command, "ready", work / "aiocoap.log"):
                bare.append(_fetched(port, ["fw/package"] * FETCHERS, image))
            ours.append(_fetched(box.coap_port, paths, image))
            print(f"  round {number + 1}: aiocoap {bare[-1]:.0f}/s, daemon {ours[-1]:.0f}/s", flush=True)
    rate, against = statistics.median(ours), statistics.median(bare)
    return Figure("firmware_blocks_vs_aiocoap", rate, "blocks/s", against, rate / against)


def _tickets(box: Daemon, folder: Path, package: int) -> list[str]:
    """Where the package is for a device each: a campaign that is to begin tomorrow has told nobody yet."""
    fleet = Group("later", FETCHERS, LOOPBACK, box.coap_port)
    with devices(box, [fleet], folder):
        starts_ms = int(time.time() * 1000) + DAY_MS
        number = campaign(box, package, fleet.names, starts_ms=starts_ms)
    rows = box.store.rows("SELECT ticket FROM firmware_update WHERE campaign_id = :number", number=number)
    return [f"fw/{ticket}" for (ticket,) in rows]


def _fetched(port: int, paths: list[str], image: bytes) -> float:
    """Blocks a second; what came whole is what was to come."""
    command = [sys.executable, "-m", "benchmarks.fetchers", str(port), str(SECONDS), *paths]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if done["seen"] != [sha256(image).hexdigest()]:
        raise SystemExit(f"what was fetched is not what was uploaded: {done['seen']}")
    return float(done["blocks"]) / float(done["seconds"])
