"""The command against a daemon: devices are let in, asked for things, watched, and put out."""

import json
import os
import re
import shlex
import signal
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
DONE_WITHIN_S = 60.0
# It listens for a second, and no longer comes by itself.
ASLEEP = ("--queue-mode", "--awake", "1", "--wake-every", "3600")
MODEL = """
<LWM2M><Object ObjectType="MODefinition"><Name>Greenhouse</Name><ObjectID>33777</ObjectID>
<LWM2MVersion>1.0</LWM2MVersion><ObjectVersion>1.0</ObjectVersion>
<MultipleInstances>Single</MultipleInstances><Mandatory>Optional</Mandatory><Resources><Item ID="7">
<Name>Moisture</Name><Operations>RW</Operations><MultipleInstances>Single</MultipleInstances>
<Mandatory>Mandatory</Mandatory><Type>Integer</Type><Units>/100</Units></Item></Resources></Object></LWM2M>
"""


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


@contextmanager
def with_key(daemon: Daemon, prefix: str, folder: Path, *words: str) -> Iterator[str]:
    """One simulated device that has a key, has come in and been read whole; its name."""
    name = f"{prefix}-0001"
    keys = folder / f"{prefix}.psk"
    if not keys.exists():
        psk = daemon.give_psk(name)
        keys.write_text(f"{name} {psk.identity} {psk.key}\n")
    since = daemon.now
    with device(daemon, prefix, "--psk-file", keys, "--period", "1", *words):
        daemon.wait_logged("onboarded", since, endpoint=name)
        yield name


@contextmanager
def asking(daemon: Daemon, *words: str) -> Iterator[Program]:
    """A command that takes its time."""
    command = [sys.executable, "-u", "-m", "flownexus_appliance", *words, "--state", str(daemon.state)]
    program = Program(words[0], command, ROOT)
    program.start()
    try:
        yield program
    finally:
        program.end()


def rows(text: str) -> list[list[str]]:
    """The cells of a table, by its lines."""
    return [re.split(r" {2,}", line) for line in text.splitlines()]


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


def test_a_device_does_what_it_is_asked(daemon: Daemon, tmp_path: Path) -> None:
    with with_key(daemon, "cli-ask", tmp_path) as name:
        table = rows(done(daemon.state, "read", name, "/3/0/0"))
        assert table[0] == ["PATH", "NAME", "VALUE", "UNITS", "TIME"]
        assert table[1][:3] == ["/3/0/0", "Manufacturer", "FlowNexus"]
        # The model says what `5` is: a text of the time zone, a number of the lifetime.
        done(daemon.state, "write", name, "/3/0/15", "5")
        done(daemon.state, "write", name, "/1/0/1", "500")
        found = told(daemon.state, "read", name, "/3/0/15", "/1/0/1")
        assert found["operation"] == "read_composite"
        assert {one["path"]: one["value"] for one in found["values"]} == {"/3/0/15": "5", "/1/0/1": 500}
        done(daemon.state, "write", name, "/3/0/14=+02:00", "/3/0/15=Europe/Berlin", "--partial")
        each = told(daemon.state, "read", name, "/3/0/14", "/3/0/15", "--each")["operations"]
        assert [one["values"][0]["value"] for one in each] == ["+02:00", "Europe/Berlin"]
        done(daemon.state, "attributes", name, "/3/0/9", "pmin=10", "pmax=60")
        assert ["/3/0/9", "pmin=10 pmax=60"] in rows(done(daemon.state, "discover", name, "/3/0"))
        done(daemon.state, "execute", name, "/3/0/12")
        refused = flownexus(daemon.state, "create", name, "/3/7")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "4.05" in refused.stderr
        wrong = flownexus(daemon.state, "write", name, "/3/0/0", "x")
        assert wrong.returncode == 1
        assert "not writable\n  hint: " in wrong.stderr
        listed = told(daemon.state, "op", "list", "--device", name, "--status", "failed")
        assert [one["operation"] for one in listed] == ["create"]
        shown = told(daemon.state, "op", "show", str(listed[0]["id"]))
        assert [one["code"] for one in shown["attempts_made"]] == ["4.05"]
        again = flownexus(daemon.state, "op", "retry", str(listed[0]["id"]), "--json")
        assert again.returncode == 1
        assert json.loads(again.stdout)["retry_of"] == listed[0]["id"]


def test_what_a_device_reports_is_followed_and_exported(daemon: Daemon, tmp_path: Path) -> None:
    with with_key(daemon, "cli-see", tmp_path) as name:
        words = ("observe", name, "/3303/0/5700", "--pmin", "1", "--follow")
        with asking(daemon, *words) as following:
            line = following.wait_for(lambda line: "/3303/0/5700" in line, "value")
            assert line.split("  ")[2] == "Sensor Value"
            following.wait_for(lambda line: "/3303/0/5700" in line, "second value")
            assert following.stop(signal.SIGINT) == 130
        observed = told(daemon.state, "observations", name, "--only", "active")["items"]
        (mine,) = [one for one in observed if one["paths"] == ["/3303/0/5700"]]
        assert (mine["asked_by"], mine["attributes"]) == ("console", {"/3303/0/5700": {"pmin": "1"}})
        done(daemon.state, "observe", name, "/3303/0/5700", "--cancel")
        (mine,) = told(daemon.state, "observations", name, "--only", "off")["items"]
        assert mine["paths"] == ["/3303/0/5700"]
    lines = done(daemon.state, "export", name, "/3303/0/5700", "--ndjson", "--from", "1h").splitlines()
    assert [json.loads(one)["value"] for one in lines] == daemon.store.values(name, "/3303/0/5700")
    assert len(done(daemon.state, "export", name, "/3303/0/5700").splitlines()) == len(lines) + 1
    assert flownexus(daemon.state, "export", name, "/3303/0/5700", "--to", "1h").stdout.count("\n") == 1


def test_operations_wait_for_a_sleeping_device(daemon: Daemon, tmp_path: Path) -> None:
    prefix, name = "cli-nap", "cli-nap-0001"
    with with_key(daemon, prefix, tmp_path, *ASLEEP):
        assert "awake window 1 s" in done(daemon.state, "device", "window", name, "1")
        daemon.wait_asleep(name)
        waits = flownexus(daemon.state, "read", name, "/3/0/0", "--wait", "1")
        assert (waits.returncode, waits.stdout) == (3, "")
        number = re.search(r"sleeps; operation (\d+) waits for it", waits.stderr)
        assert number is not None, waits.stderr
        late = flownexus(daemon.state, "execute", name, "/3/0/12", "--deadline", "2", "--json")
        assert (late.returncode, json.loads(late.stdout)["status"]) == (4, "EXPIRED")
        with asking(daemon, "write", name, "/3/0/15", "Etc/UTC") as interrupted:
            interrupted.wait_for(lambda line: "sleeps; operation" in line, "word of its sleep")
            assert interrupted.stop(signal.SIGINT) == 130
            assert "goes on" in interrupted.log[-1]
        queued = told(daemon.state, "op", "list", "--device", name, "--status", "unfinished")
        assert [one["operation"] for one in queued] == ["write", "read"]
        done(daemon.state, "op", "cancel", number[1])
        assert flownexus(daemon.state, "op", "wait", number[1]).returncode == 4
        queued_now = done(daemon.state, "read", name, "/3/0/1", "--wait", "0")
        assert queued_now.endswith(f" is queued for {name}.\n")
    # The device starts anew: it is awake for a second.
    with asking(daemon, "op", "wait", str(queued[0]["id"]), queued_now.split()[1]) as waiting:
        waiting.wait_for(lambda line: "wait for it" in line, "word of its sleep")
        with with_key(daemon, prefix, tmp_path, *ASLEEP):
            waiting.wait_for(lambda line: "Simulated device" in line, "model number", DONE_WITHIN_S)
            waiting.wait_for(lambda line: "CONFIRMED: 2.04" in line, "word of the write", DONE_WITHIN_S)


def test_object_models_come_and_go(daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "greenhouse.xml"
    file.write_text(MODEL)
    assert rows(done(daemon.state, "model", "add", file))[1] == ["33777", "1.0", "Greenhouse", "uploaded"]
    assert ["7", "Moisture", "RW", "integer", "one", "yes", "/100"] in rows(
        done(daemon.state, "model", "show", "33777")
    )
    assert [one["object_id"] for one in told(daemon.state, "model", "list", "--source", "uploaded")] == [
        33777
    ]
    done(daemon.state, "model", "remove", "33777", "1.0")
    assert flownexus(daemon.state, "model", "show", "33777").returncode == 1


def test_names_are_completed_from_the_daemon(daemon: Daemon, tmp_path: Path) -> None:
    daemon.give_psk("tab-0001")
    daemon.give_psk("tab-0002")
    listed = done(daemon.state, "completion", "devices", "--prefix", "tab-").splitlines()
    assert [line.split("\t")[0] for line in listed] == ["tab-0001", "tab-0002"]
    nowhere = flownexus(tmp_path, "completion", "operations")
    assert (nowhere.returncode, nowhere.stdout, nowhere.stderr) == (0, "", "")
