"""Firmware updates as an operator leads them: packages, campaigns, and how each update stands.

What is asked of the box goes by its API; how updates stand is read from its file, which costs the box nothing
while it is busy with them.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from sys import executable
from typing import Any

from flownexus_appliance.cli.console import Console, below

from . import firmware_devices, relay
from .daemon import ROOT, Daemon
from .firmware_devices import Group
from .program import Program, until

ENDED = {"SUCCEEDED", "FAILED", "REVERTED", "CANCELLED"}
STARTS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Update:
    """An update as it stands in the file."""

    endpoint: str
    state: str
    result: int | None
    reason: str
    detail: str
    delivery: str
    bytes: int
    attempts: int

    @property
    def end(self) -> tuple[str, int | None, str]:
        """How it ended, or where it stands: state, result, reason."""
        return self.state, self.result, self.reason


def campaign(daemon: Daemon, firmware: int, endpoints: Sequence[str], **more: object) -> int:
    """Begin a campaign; its id. `at_once` and `failure_limit` as the API has them."""
    plan = {"firmware": firmware, "endpoints": list(endpoints), **more}
    begun = daemon.api("/campaigns", plan)
    assert (begun["devices"], begun["left_out"]) == (len(endpoints), [])
    return int(begun["campaign"]["id"])


def updates(daemon: Daemon, campaign_id: int) -> dict[str, Update]:
    """The updates of a campaign, by endpoint."""
    rows = daemon.store.rows(
        "SELECT e.name, u.state, u.result, u.reason, u.detail, u.delivery, u.bytes, u.attempts"
        " FROM firmware_update u JOIN endpoint e ON e.id = u.endpoint_id WHERE u.campaign_id = :campaign",
        campaign=campaign_id,
    )
    return {row[0]: Update(*row) for row in rows}


def counts(daemon: Daemon, campaign_id: int) -> Counter[str]:
    """How many updates of a campaign are in each state."""
    return Counter(update.state for update in updates(daemon, campaign_id).values())


def wait_ended(daemon: Daemon, campaign_id: int, within_s: float) -> dict[str, Update]:
    """Wait until each update of a campaign has ended; how."""
    told: list[Counter[str]] = [Counter()]

    def ended() -> bool:
        told[0] = counts(daemon, campaign_id)
        return bool(told[0]) and set(told[0]) <= ENDED

    try:
        until(ended, "the campaign has ended", within_s)
    except AssertionError as error:
        raise AssertionError(f"{error}: {dict(told[0])}\n{daemon.program.tail()}") from None
    return updates(daemon, campaign_id)


def wait_state(daemon: Daemon, campaign_id: int, state: str, within_s: float = 15.0) -> Any:
    """Wait until the API has a campaign in a state; the campaign."""
    until(lambda: daemon.api(f"/campaigns/{campaign_id}")["state"] == state, f"campaign {state}", within_s)
    return daemon.api(f"/campaigns/{campaign_id}")


def versions(daemon: Daemon, endpoints: Sequence[str]) -> dict[str, str]:
    """What the box has of 3/0/3 of devices."""
    known = dict(
        daemon.store.rows(
            "SELECT endpoint.name, latest.value FROM endpoint JOIN series ON series.endpoint_id = endpoint.id"
            " JOIN resource latest ON latest.series_id = series.id WHERE series.path = '/3/0/3'"
            " ORDER BY latest.time_ms"
        )
    )
    return {name: known.get(name, "") for name in endpoints}


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a process, in MB of 10^6 bytes."""

    now_mb: float
    peak_mb: float


def memory(pid: int) -> Memory:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    now, peak = (int(entries[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    return Memory(now, peak)


class Devices:
    """A running `firmware_devices`."""

    def __init__(self, program: Program, groups: Sequence[Group]) -> None:
        self._program = program
        self.groups = tuple(groups)

    @property
    def names(self) -> list[str]:
        return [name for group in self.groups for name in group.names]

    def standing(self) -> Any:
        """How they stand now: see `firmware_devices.standing`."""
        self._program.say("standing")
        return json.loads(self._program.wait_for(lambda line: line.startswith("{"), "an answer"))

    def wait_registered(self, daemon: Daemon, within_s: float = 60.0) -> None:
        """Wait until the box has all of them and has asked all it wants to know of new devices."""
        until(lambda: set(self.names) <= registered(daemon), "all devices are registered", within_s)


def registered(daemon: Daemon) -> set[str]:
    rows = daemon.store.rows(
        "SELECT endpoint.name FROM registration JOIN endpoint ON endpoint.id = registration.endpoint_id"
    )
    return {name for (name,) in rows}


@contextmanager
def devices(daemon: Daemon, groups: Sequence[Group], folder: Path) -> Iterator[Devices]:
    """Simulated devices, let in by the daemon where they have keys, and registered."""
    console = Console(daemon.state)
    for group in groups:
        for name in group.names if group.key else ():
            console.post(below("endpoints", name, "/credentials"), {"kind": "psk", "key": group.psk(name)})
    file = folder / f"{groups[0].prefix}.json"
    firmware_devices.write(file, groups)
    program = Program("devices", [executable, "-m", "tests.interop.firmware_devices", file], ROOT)
    program.start()
    try:
        program.wait_for(lambda line: line == firmware_devices.READY, firmware_devices.READY, STARTS_WITHIN_S)
        started = Devices(program, groups)
        started.wait_registered(daemon)
        yield started
    finally:
        program.end()


@contextmanager
def relaying(ports: Sequence[int], folder: Path, seed: int = 1) -> Iterator[Callable[[], Any]]:
    """The lossy relay to those ports of the daemon; what it yields ends it and gives its counters."""
    words = [executable, "-m", "tests.interop.relay", str(seed), *map(str, ports)]
    program = Program("relay", words, ROOT)
    program.start()

    def end() -> Any:
        assert program.stop() == 0, program.tail()
        return json.loads(program.log[-1])

    try:
        program.wait_for(lambda line: line == relay.READY, relay.READY, STARTS_WITHIN_S)
        yield end
    finally:
        program.end()
