"""The command against a daemon: a device is given a key or a certificate, comes in by it, and is put out."""

import json
import os
import shlex
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop.daemon import ROOT, Daemon, running
from tests.interop.program import Program, until

REGISTERED_WITHIN_S = 30.0


def flownexus(state: Path, *words: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "flownexus_appliance", *map(str, words), "--state", str(state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def done(state: Path, *words: str | Path) -> str:
    """What a command said that must succeed."""
    ended = flownexus(state, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def told(state: Path, *words: str | Path) -> Any:
    return json.loads(done(state, *words, "--json"))


@contextmanager
def device(daemon: Daemon, prefix: str, *words: str | Path) -> Iterator[Program]:
    """One simulated device, PREFIX-0001, over DTLS."""
    command = [sys.executable, "-m", "flownexus_appliance", "sim", "-n", "1", "--dtls", "--prefix", prefix]
    program = Program(prefix, [*command, "--port", str(daemon.coaps_port), *map(str, words)], ROOT)
    program.start()
    try:
        yield program
    finally:
        program.end()


def state_of(daemon: Daemon, name: str) -> str:
    """The device's presence, as `flownexus device show` has it."""
    shown: str = told(daemon.state, "device", "show", name)["state"]
    return shown


def test_a_key_lets_its_device_in_until_it_is_removed(daemon: Daemon, tmp_path: Path) -> None:
    name = "cli-psk-0001"
    words = ("device", "add", name, "--out", tmp_path / "new", "--for", "env")
    done(daemon.state, *words)
    lines = (tmp_path / "new" / "device.env").read_text().splitlines()
    values = {key: shlex.split(value)[0] for key, _, value in (line.partition("=") for line in lines)}
    assert values["FLOWNEXUS_ENDPOINT"] == name
    assert values["FLOWNEXUS_URI"].startswith("coaps://")
    keys = tmp_path / "keys"
    keys.write_text(f"{name} {values['FLOWNEXUS_PSK_IDENTITY']} {values['FLOWNEXUS_PSK_KEY']}\n")
    with device(daemon, "cli-psk", "--psk-file", keys):
        until(lambda: state_of(daemon, name) == "online", "the device is online", REGISTERED_WITHIN_S)
        (credential,) = told(daemon.state, "device", "show", name)["credentials"]
        assert (credential["state"], credential["kind"]) == ("active", "psk")
        assert credential["first_used_ms"]
        assert told(daemon.state, "device", "remove", name, "--credential", str(credential["id"]))
        until(lambda: daemon.store.registration(name) is None, "its registration ended")
    shown = told(daemon.state, "device", "show", name)
    assert shown["state"] == "offline"
    assert [one["state"] for one in shown["credentials"]] == ["revoked"]
    logged = "\n".join(daemon.program.log)
    assert values["FLOWNEXUS_PSK_KEY"] not in logged


def test_a_certificate_lets_its_device_in_over_rotation_and_roll_over(daemon: Daemon, tmp_path: Path) -> None:
    name = "cli-cert-0001"
    folder = tmp_path / "device"
    done(daemon.state, "device", "add", name, "--cert", "--out", folder)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    files = ("--cert", folder / "certificate.pem", "--key", folder / "private-key.der")
    with device(daemon, "cli-cert", *files, "--ca", folder / "ca.pem"):
        until(lambda: state_of(daemon, name) == "online", "the device is online", REGISTERED_WITHIN_S)
    before = told(daemon.state, "cert")["items"]
    assert len(told(daemon.state, "cert", "rotate")["changes"]) == 2
    done(daemon.state, "cert", "roll-over", "--days", "30")
    after = told(daemon.state, "cert", "list")["items"]
    assert [item["kind"] for item in after] == ["root", "root", "cross", "dtls", "https"]
    assert {item["serial"] for item in before} & {item["serial"] for item in after} == {before[0]["serial"]}
    # The device knows the old root alone, and its certificate is of that one.
    with device(daemon, "cli-cert", *files, "--ca", folder / "ca.pem"):
        earlier = daemon.store.registration(name)
        until(
            lambda: (found := daemon.store.registration(name)) is not None and found != earlier,
            "it has registered anew",
            REGISTERED_WITHIN_S,
        )
    assert done(daemon.state, "cert", "ca").count("BEGIN CERTIFICATE") == 2
    done(daemon.state, "cert", "roll-over", "--finish")
    assert done(daemon.state, "cert", "ca").count("BEGIN CERTIFICATE") == 1


def test_enrolment_gives_an_unknown_device_a_key_of_its_own(daemon: Daemon, tmp_path: Path) -> None:
    name = "cli-enrol-0001"
    opened = told(daemon.state, "device", "enrol", "--minutes", "5")["psk"]
    keys = tmp_path / "keys"
    keys.write_text(f"{name} {opened['identity']} {opened['key']}\n")
    with device(daemon, "cli-enrol", "--bootstrap", "--psk-file", keys):
        until(lambda: name in daemon.store.endpoints(), "the box knows the device", REGISTERED_WITHIN_S)
        until(lambda: state_of(daemon, name) == "online", "the device is online", REGISTERED_WITHIN_S)
        (credential,) = told(daemon.state, "device", "show", name)["credentials"]
        assert (credential["origin"], credential["identity"]) == ("enrolment", name)
        assert told(daemon.state, "status")["enrolment"]["open"] is True
        assert told(daemon.state, "device", "enrol", "--close")["open"] is False
        assert done(daemon.state, "device", "bootstrap", name) == f"{name} comes to bootstrap.\n"
    assert name in done(daemon.state, "device", "list")


def test_a_script_can_tell_what_went_wrong(daemon: Daemon, tmp_path: Path) -> None:
    unknown = flownexus(daemon.state, "device", "remove", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("flownexus: nobody has no credential\n  hint: ")
    unusable = flownexus(daemon.state, "device", "add", "a", "--days", "3")
    assert (unusable.returncode, unusable.stdout) == (2, "")
    nowhere = flownexus(Path("var"), "device", "list", folder=tmp_path)
    assert nowhere.returncode == 2
    assert nowhere.stderr.startswith(
        "flownexus: the daemon does not run on ./var\n  hint: start it with ./run"
    )


def test_the_control_socket_is_its_owners_and_ends_with_the_daemon(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        control = daemon.state / "control.sock"
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        assert told(daemon.state, "status")["credentials"] == 0
    assert not control.exists()
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(control))
    assert flownexus(daemon.state, "status").returncode == 2
    daemon.start()
    try:
        assert told(daemon.state, "status")["credentials"] == 0
    finally:
        daemon.stop()


def test_a_killed_daemon_is_no_hindrance_to_the_next(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        daemon.program.kill()
        assert (daemon.state / "control.sock").exists()
        ended = flownexus(daemon.state, "status")
        assert ended.returncode == 2
        assert "does not run" in ended.stderr
        daemon.start()
        assert told(daemon.state, "status")["devices"] == {"online": 0, "sleeping": 0, "offline": 0}


@pytest.mark.parametrize("form", ["env", "leshan", "anjay", "zephyr-kconfig", "openssl"])
def test_every_form_holds_the_key_and_the_address(daemon: Daemon, form: str) -> None:
    said = flownexus(daemon.state, "device", "add", f"form-{form}", "--for", form)
    assert said.returncode == 0, said.stderr
    assert str(daemon.coaps_port) in said.stdout
    assert f"form-{form}" in said.stdout
    assert "only now" in said.stderr
