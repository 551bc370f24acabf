"""Stop, start, crash: what was acknowledged is there, and no device has to begin anew."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.interop.daemon import Daemon
from tests.peer import ACK, EMPTY, Frame, until

from .thermometer import TEMPERATURE, WATCHED, thermometer


@pytest.mark.parametrize("by", ["stop", "kill"])
async def test_a_restart_in_the_middle(tmp_path: Path, by: str) -> None:
    """Registrations and observations outlive it; a notification that comes right after it is matched."""
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        async with thermometer(daemon.coap_port, "lasting") as client:
            await client.register()
            await until(lambda: daemon.store.reporting("lasting") == WATCHED)
            acknowledged = []
            for value in range(20):
                notification = client.notify(TEMPERATURE, float(value))
                assert await client.reply() == Frame(ACK, EMPTY, notification.mid)
                acknowledged.append(float(value))
            tokens = daemon.store.observations("lasting")
            if by == "stop":
                daemon.stop()
            else:
                daemon.program.kill()
            # While it is down: lost on the way, so the device sends it again until it is acknowledged.
            missed = client.notify(TEMPERATURE, 100.0)
            daemon.start()
            client.peer.send(missed)
            assert await client.reply() == Frame(ACK, EMPTY, missed.mid)
            assert daemon.store.values("lasting", TEMPERATURE) == [21.5, *acknowledged, 100.0]
            assert daemon.store.observations("lasting") == tokens
            assert (await client.update()).status == "2.04"
            assert (await client.send({TEMPERATURE: 101.0})).status == "2.04"
            assert daemon.store.values("lasting", TEMPERATURE)[-1] == 101.0
        daemon.stop()
    finally:
        daemon.program.end()


async def test_a_register_whose_answer_was_lost_in_a_restart(tmp_path: Path) -> None:
    """Leshan #525: no second registration of the same request."""
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        async with thermometer(daemon.coap_port, "lost") as client:
            request = client.peer.register(("lwm2m=1.1", "ep=lost"), b"</1/0>")
            first = await client.ask(request)
            daemon.stop()
            daemon.start()
            client.peer.send(request)
            assert (await client.ask(request)).location == first.location
        daemon.stop()
    finally:
        daemon.program.end()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_well(tmp_path: Path, by: signal.Signals) -> None:
    """Exit code 0, a word about it, no complaint."""
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        assert daemon.program.stop(by) == 0
        assert "Stopping." in daemon.program.log
        daemon.check()
    finally:
        daemon.program.end()


async def test_a_stop_with_requests_under_way(tmp_path: Path) -> None:
    """A device that is being asked and does not answer holds nothing up."""
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        async with thermometer(daemon.coap_port, "mute") as client:
            client.mute = True
            await client.register()
            await until(lambda: len(client.asked) == 1)
            daemon.stop()
            assert not [line for line in daemon.program.log if "Task" in line or "Traceback" in line]
    finally:
        daemon.program.end()


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that is to end by itself."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)


def test_a_second_daemon_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    """It says so, says what to do, and ends with exit code 2; the first one goes on."""
    first = Daemon(tmp_path)
    first.start()
    try:
        refused = run(first.program.command, first.program.folder)
        assert refused.returncode == 2
        assert "another daemon" in refused.stderr
        assert "hint: " in refused.stderr
        assert "--state" in refused.stderr
        assert first.api("/endpoints")["items"] == []
        first.stop()
    finally:
        first.program.end()


def test_a_port_that_is_taken_is_refused(tmp_path: Path) -> None:
    first = Daemon(tmp_path)
    first.start()
    try:
        command = [str(tmp_path / "other") if w == str(first.state) else w for w in first.program.command]
        refused = run(command, first.program.folder)
        assert refused.returncode == 2
        assert f"UDP port {first.coaps_port}" in refused.stderr
        assert "hint: " in refused.stderr
        assert "Traceback" not in refused.stderr
        first.stop()
    finally:
        first.program.end()
