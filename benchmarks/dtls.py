"""What DTLS costs: readings over it against plain CoAP, handshakes against the bare engine, memory.

Handshakes are made by one client program, in turns with the daemon and with the bare engine; what each
server spends of its processor on one is printed beside the rates.
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from flownexus_appliance.cli.console import Console

from .credentials import DEVICES, add_certificate, add_psk, store
from .ingest import check, load, rate_of
from .processes import Started, daemon, free_port, running
from .results import Figure

ROUNDS: Final = 3
WINDOW: Final = 16
HANDSHAKES: Final = {"psk": 1000, "ecdsa": 400}


def dtls(work: Path) -> list[Figure]:
    """`dtls_ingest_vs_nosec`, `psk_` and `ecdsa_handshakes_vs_engine`, bytes of sessions."""
    return [_ingest(work), *_handshakes(work / "handshakes"), *_sessions()]


def _ingest(work: Path) -> Figure:
    """The load of `ingest`, in turns over plain CoAP and over DTLS with Connection ID."""
    plain: list[float] = []
    secure: list[float] = []
    for number in range(ROUNDS):
        with daemon(work / f"plain-{number}") as (_, ports):
            plain.append(rate_of(load(ports.coap)))
        state = work / f"dtls-{number}"
        with daemon(state) as (_, ports):
            _add_keys(Console(state))
            result = load(ports.coaps, "dtls")
            secure.append(rate_of(result))
        check(state / "flownexus.db", result["values"])
        print(f"  round {number + 1}: plain {plain[-1]:.0f}/s, DTLS {secure[-1]:.0f}/s", flush=True)
    rate, against = statistics.median(secure), statistics.median(plain)
    return Figure("dtls_ingest_vs_nosec", rate, "values/s", against, rate / against)


def _add_keys(console: Console) -> None:
    for number in range(DEVICES):
        add_psk(console, number)


def _handshakes(state: Path) -> list[Figure]:
    ours: dict[str, list[float]] = {kind: [] for kind in HANDSHAKES}
    bare: dict[str, list[float]] = {kind: [] for kind in HANDSHAKES}
    file = state / "credentials.json"
    with daemon(state) as (box, ports):
        console = Console(state)
        _add_keys(console)
        store(file, state, add_certificate(console, 0))
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.bare_engine", str(port), str(file)]
        with running(command, "ready", state / "engine.log") as engine:
            for kind in HANDSHAKES:
                for _ in range(ROUNDS):
                    bare[kind].append(_rate(engine, port, kind, file))
                    ours[kind].append(_rate(box, ports.coaps, kind, file))
    rates = {}
    for kind in HANDSHAKES:
        rate, against = statistics.median(ours[kind]), statistics.median(bare[kind])
        rates[kind] = rate, "handshakes/s", against, rate / against
    return [
        Figure("psk_handshakes_vs_engine", *rates["psk"]),
        Figure("ecdsa_handshakes_vs_engine", *rates["ecdsa"]),
    ]


def _rate(server: Started, port: int, kind: str, file: Path) -> float:
    """Handshakes a second."""
    before = server.cpu_s
    words = [str(port), str(HANDSHAKES[kind]), str(WINDOW), kind, str(file)]
    result = _run("benchmarks.handshakes", *words)
    rate = float(result["made"] / result["seconds"])
    cost_us = (server.cpu_s - before) / result["made"] * 1e6
    print(f"  {kind}: {rate:.0f}/s, {cost_us:.0f} us of the server's processor each", flush=True)
    return rate


def _sessions() -> list[Figure]:
    cost = _run("benchmarks.parked")
    return [
        Figure("parked_session_bytes", cost["parked"], "bytes", 2000.0, cost["parked"] / 2000.0),
        Figure("live_session_bytes", cost["live"], "bytes"),
        Figure("wake_session_us", cost["wake_us"], "us", 1000.0, cost["wake_us"] / 1000.0),
    ]


def _run(module: str, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *words], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result
