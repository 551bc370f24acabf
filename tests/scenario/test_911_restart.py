"""A restart that somebody asks for: the same process, the same devices, other settings.

The daemon is a process of its own here, as in the other scenarios, and starts itself anew.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flownexus_appliance.cli.console import Console
from flownexus_appliance.errors import ApplianceError
from tests.interop.daemon import ROOT, Daemon, free_port, running
from tests.interop.program import Program, until
from tests.scenario.test_command_line import with_key

READY = "FlowNexus is ready"


def started_ms(daemon: Daemon) -> int:
    """When the present run began; 0 while none answers."""
    try:
        found: int = Console(daemon.state).get("/system")["vitals"]["started_ms"]
    except ApplianceError:
        return 0
    return found


def restart(daemon: Daemon) -> None:
    before = started_ms(daemon)
    assert Console(daemon.state).post("/restart") == {"started_ms": before}
    until(lambda: started_ms(daemon) not in (0, before), "another run")


def test_it_is_the_same_process_with_the_same_devices(tmp_path: Path) -> None:
    with running(tmp_path) as daemon, with_key(daemon, "kitchen", tmp_path) as name:
        registration = daemon.store.registration(name)
        assert registration is not None
        pid = daemon.program.pid
        files = len(os.listdir(f"/proc/{pid}/fd"))
        restart(daemon)
        assert daemon.program.pid == pid
        assert sum(READY in line for line in list(daemon.program.log)) == 2
        after = daemon.store.registration(name)
        assert after is not None
        assert after["id"] == registration["id"]
        # Nothing of the run before is open.
        assert len(os.listdir(f"/proc/{pid}/fd")) <= files + 4
        assert daemon.handshakes(name) == 1
        value = daemon.ask(name, "read", path="/3/0/0")
        assert value.status == "CONFIRMED", value


def test_what_was_set_is_in_use_afterwards(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        console = Console(daemon.state)
        console.patch("/settings", {"settings": {"log.level": "debug"}})
        restart(daemon)
        found = console.get("/settings")
        (level,) = (item for item in found["items"] if (item["section"], item["name"]) == ("log", "level"))
        assert (level["value"], level["in_use"], level["origin"]) == ("debug", "debug", "page")
        assert found["restart_needed"] is False


@contextmanager
def systemd(folder: Path) -> Iterator[tuple[Path, socket.socket]]:
    """What listens to sd_notify."""
    path = folder / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))
        listening.settimeout(20)
        yield path, listening


def test_to_systemd_it_goes_on_running(tmp_path: Path) -> None:
    ports = [free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)]
    config = tmp_path / "appliance.toml"
    settings = "[coap]\nport = {}\n[dtls]\nport = {}\n[http]\nhost = '127.0.0.1'\nport = {}\n"
    config.write_text(settings.format(*ports))
    words: list[str | Path] = ["run", "--state", tmp_path / "var", "--config", config]
    with systemd(tmp_path) as (path, listening):
        command = ["env", f"NOTIFY_SOCKET={path}", ROOT / ".venv/bin/flownexus", *words]
        daemon = Program("the daemon", command, tmp_path)
        daemon.start()
        try:
            assert listening.recv(200) == b"READY=1"
            Console(tmp_path / "var").post("/restart")
            assert listening.recv(200).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert listening.recv(200) == b"READY=1"
        finally:
            assert daemon.stop() == 0, daemon.tail()
        assert listening.recv(200) == b"STOPPING=1"


def test_a_setting_that_keeps_it_from_starting_is_set_aside(tmp_path: Path) -> None:
    """An address that went away between the two runs: without it nobody would have a page any more."""
    with running(tmp_path) as daemon:
        (daemon.state / "settings.toml").write_text('[http]\nhost = "192.0.2.1"\n')
        restart(daemon)
        found = Console(daemon.state).get("/settings")
        (problem,) = found["problems"]
        assert "192.0.2.1" in problem
        daemon.wait_logged("settings set aside")
