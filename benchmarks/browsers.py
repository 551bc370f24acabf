"""What browsers that are left open cost: the way of a value to them, and what it takes from ingest.

Twenty listeners to the whole fleet over HTTPS, in a process of their own that only reads. First a thousand
notifications a second: how long each takes from the datagram to the listener, and whether one falls behind.
Then as many values as the daemon takes, with the listeners and without, in turns.
"""

import asyncio
import json
import re
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .ingest import ROUNDS, load, rate_of
from .people import bearer
from .processes import daemon, running
from .results import Figure

BROWSERS: Final = 20
DEVICES: Final = 1000
SECONDS: Final = 20.0
# A sample a second of each.
RATE: Final = 1000
_RECEIVED: Final = re.compile(rb'"received_ms":(\d+)')


def browsers(work: Path) -> list[Figure]:
    """`wire_to_browser_p95_ms`, `ingest_20_browsers`."""
    return [_paced(work / "browsers"), _flat_out(work)]


def _paced(state: Path) -> Figure:
    with daemon(state) as (started, ports):
        headers = bearer(state)
        command = [sys.executable, "-m", "flownexus_appliance", "sim", "-n", str(DEVICES)]
        command += ["--port", str(ports.coap), "--period", "1"]
        with running(command, "registered", state / "sim.log"):
            time.sleep(SECONDS)  # until all are watched and the start is behind
            before, cpu = started.rss_mb, started.cpu_s
            seen = _listen(ports.http, headers, SECONDS)
            grown, cpu = started.rss_mb - before, started.cpu_s - cpu
    print(
        f"  {seen['values'] / SECONDS:.0f} messages/s to each of {BROWSERS}, {seen['bytes'] / 1e6:.1f} MB,"
        f" {seen['resets']} resets, daemon at {cpu / SECONDS:.0%} of a core, {grown:+.1f} MB",
        flush=True,
    )
    if seen["resets"] or seen["ended"]:
        raise SystemExit(f"a browser fell behind: {seen}")
    return Figure("wire_to_browser_p95_ms", seen["p95_ms"], "ms")


def _flat_out(work: Path) -> Figure:
    """Values a second of the daemon's processor time with listeners, against the same without.

    Of processor time, because the listeners take a core as well, where there are two for all; the rates by
    the clock are printed.
    """
    costs: dict[int, list[float]] = {0: [], BROWSERS: []}
    rates: dict[int, list[float]] = {0: [], BROWSERS: []}
    for number in range(ROUNDS):
        for count in costs:
            state = work / f"browsers-{number}-{count}"
            with daemon(state) as (started, ports), _listening(ports.http, state, count):
                before = started.cpu_s
                result = load(ports.coap)
                values = float(result["sends"] + result["notifications"])
                costs[count].append(values / (started.cpu_s - before))
                rates[count].append(rate_of(result))
        alone, watched = rates[0][-1], rates[BROWSERS][-1]
        print(f"  round {number + 1}: {alone:.0f}/s by the clock, watched {watched:.0f}/s", flush=True)
    rate, against = statistics.median(costs[BROWSERS]), statistics.median(costs[0])
    return Figure("ingest_20_browsers", rate, "values/cpu s", against, rate / against)


@contextmanager
def _listening(port: int, state: Path, count: int) -> Iterator[None]:
    if not count:
        yield
        return
    with subprocess.Popen(_command(port, bearer(state), 60.0), stdout=subprocess.PIPE) as process:
        try:
            yield
            if process.poll() is not None:
                raise SystemExit("the listeners went away before the load was over")
        finally:
            process.kill()


def _listen(port: int, headers: dict[str, str], seconds: float) -> dict[str, float]:
    done = subprocess.run(_command(port, headers, seconds), check=True, capture_output=True)
    seen: dict[str, float] = json.loads(done.stdout)
    return seen


def _command(port: int, headers: dict[str, str], seconds: float) -> list[str]:
    return [sys.executable, "-m", "benchmarks.browsers", str(port), json.dumps(headers), str(seconds)]


async def _all(port: int, headers: dict[str, str], seconds: float) -> dict[str, float]:
    found = await asyncio.gather(*(_one(port, headers, seconds, first=n == 0) for n in range(BROWSERS)))
    latencies = sorted(found[0][3])
    return {
        "bytes": sum(size for size, *_ in found),
        "resets": sum(resets for _, resets, *_ in found),
        "ended": sum(ended for *_, ended, _ in found),
        "values": len(latencies),
        "p95_ms": latencies[int(len(latencies) * 0.95)] if latencies else 0.0,
    }


async def _one(
    port: int, headers: dict[str, str], seconds: float, *, first: bool
) -> tuple[int, int, bool, list[float]]:
    """Bytes, resets, whether the stream ended early, and the age of what came; the first one looks inside."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n{told}\r\n".encode())
    size, resets, ended, ages = 0, 0, True, []
    try:
        async with asyncio.timeout(seconds):
            while piece := await reader.read(1 << 20):
                now_ms = time.time() * 1000
                size += len(piece)
                resets += piece.count(b"event: reset")
                if first:
                    ages += [now_ms - int(told_ms) for told_ms in _RECEIVED.findall(piece)]
    except TimeoutError:
        ended = False
    writer.transport.abort()
    return size, resets, ended, ages


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_all(int(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3])))))
