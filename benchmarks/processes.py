"""Starts and stops what is measured, and reads what it costs from /proc."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

READY_S: Final = 30.0
STOP_S: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    """A port of loopback that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Started:
    """A running process and how long it took to say it is ready."""

    process: subprocess.Popen[str]
    ready_s: float

    @property
    def rss_mb(self) -> float:
        """Resident memory in MB of 10^6 bytes, its peak not counted."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise ProcessLookupError(self.process.pid)

    @property
    def cpu_s(self) -> float:
        """Processor time spent so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextlib.contextmanager
def running(
    command: Sequence[str], ready: str, log: Path, environment: dict[str, str] | None = None
) -> Iterator[Started]:
    """Run a command until the context ends; it is up when it prints a line with `ready` in it."""
    began = time.perf_counter()
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            assert process.stdout is not None
            _await_line(process.stdout, ready, log)
            yield Started(process, time.perf_counter() - began)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _await_line(stream: IO[str], wanted: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    for line in stream:
        if wanted in line:
            return
        if time.monotonic() > deadline:
            break
    raise SystemExit(f"not ready: {wanted!r} never came; see {log}:\n{log.read_text()[-2000:]}")


@dataclass(frozen=True, slots=True)
class Ports:
    coap: int
    coaps: int
    http: int


@contextlib.contextmanager
def daemon(state: Path, settings: str = "") -> Iterator[tuple[Started, Ports]]:
    """The real daemon, all of it, on a state folder; with more `settings` as TOML."""
    ports = Ports(free_port(), free_port(), free_port(socket.SOCK_STREAM))
    state.mkdir(parents=True, exist_ok=True)
    config = state / "appliance.toml"
    config.write_text(
        f"[coap]\nport = {ports.coap}\n"
        f'[dtls]\nport = {ports.coaps}\nnetworks = ["127.0.0.0/8"]\n'
        f'[http]\nhost = "127.0.0.1"\nport = {ports.http}\n[log]\nlevel = "warning"\n{settings}'
    )
    command = [sys.executable, "-m", "flownexus_appliance", "run"]
    command += ["--state", str(state), "--config", str(config)]
    with running(command, "is ready", state / "daemon.log") as started:
        yield started, ports
