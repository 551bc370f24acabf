"""`flownexus completion`: what the scripts know, by a real bash, and the names that they ask for."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flownexus_appliance.cli import completion, completion_scripts, main
from flownexus_appliance.cli.completion import describe
from flownexus_appliance.cli.main import make_parser
from flownexus_appliance.db.operations import DONE_KEPT

from .scripted import KITCHEN, Problem, Terminal, operation

ROOT = Path(__file__).parents[3]
URN = "urn:imei:352656100123456"
Complete = Callable[..., list[str]]


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield from parsers(one)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script for bash, with a command `flownexus` that is this one."""
    found = tmp_path_factory.mktemp("completion") / "flownexus.bash"
    commands = list(describe(make_parser()))
    program = f'flownexus() {{ {shlex.quote(sys.executable)} -m flownexus_appliance "$@"; }}\n'
    found.write_text(program + completion_scripts.bash(commands))
    return found


@pytest.fixture
def complete(script: Path, tmp_path: Path) -> Complete:
    """What bash offers at the end of a line."""

    def run(line: str, breaks: str = " \t\n\"'><=;|&(:") -> list[str]:
        words = [
            f". {shlex.quote(str(script))}",
            "compopt() { :; }",  # which works only where somebody has pressed Tab
            f"COMP_WORDBREAKS={shlex.quote(breaks)}",
            f"COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}",
            "_flownexus",
            'for word in "${COMPREPLY[@]}"; do printf "%s\\n" "$word"; done',
        ]
        ended = subprocess.run(
            ["bash", "--norc", "-u", "-c", "\n".join(words)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ended.stderr == ""
        return ended.stdout.splitlines()

    return run


def test_every_command_is_completed(complete: Complete) -> None:
    for parser in parsers(make_parser()):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                assert complete(f"{parser.prog} ") == list(action.choices), parser.prog
    assert complete("flownexus op re") == ["retry"]
    assert complete("flownexus --st") == []
    assert complete("flownexus op --wa") == []
    assert complete("flownexus op wait --wa") == ["--wait"]
    assert complete("flownexus op wait --json --wa") == ["--wait"]


def test_every_option_is_in_the_scripts() -> None:
    commands = list(describe(make_parser()))
    bash, zsh, fish = (write(commands) for write in completion_scripts.SHELLS.values())
    for parser in parsers(make_parser()):
        options = [text for action in parser._actions for text in action.option_strings]
        assert f"    '{parser.prog}')\n" in bash
        assert f"        options='{' '.join(options)}'\n" in bash
        assert f"    '{parser.prog}')\n" in zsh
        for option in options:
            here = f"complete -c flownexus -n \"__flownexus_at '{parser.prog}'\" "
            lines = [line for line in fish.splitlines() if line.startswith(here)]
            short = f" -l {option[2:]} " if option.startswith("--") else f" -s {option[1:]} "
            assert any(short in line for line in lines), (parser.prog, option)


def test_values_of_options_and_arguments(complete: Complete, tmp_path: Path) -> None:
    assert complete("flownexus op list --status ex") == []
    assert complete("flownexus op list --status EX") == ["EXPIRED"]
    assert complete("flownexus op list --status=EX") == ["EXPIRED"]
    assert complete("flownexus op list --device kitchen --status FA") == ["FAILED"]
    assert complete("flownexus completion ba") == ["bash"]
    assert complete("flownexus read --wait ") == []
    (tmp_path / "model.xml").touch()
    (tmp_path / "models").mkdir()
    assert sorted(complete("flownexus model add mo")) == ["model.xml", "models"]
    assert complete("flownexus op list --state mo") == ["models"]


def test_names_are_asked_for(terminal: Terminal, complete: Complete) -> None:
    devices = [
        {"endpoint": name, "state": "sleeping", "label": "x\ty"}
        for name in (KITCHEN, URN, "a b", "bad\nname")
    ]
    terminal.daemon.answers["GET /endpoints"] = {"items": devices, "next": "x"}
    terminal.daemon.answers["GET /operations"] = {"items": [operation(17), operation(171)], "next": None}
    state = f"--state {terminal.daemon.state}"
    assert complete(f"flownexus {state} read ki") == []  # --state comes after a command
    assert complete(f"flownexus read {state} ki") == [KITCHEN]
    assert terminal.daemon.asked[-1].query == {"q": ["ki"], "limit": ["200"]}
    assert complete(f"flownexus read {state} ") == [KITCHEN, URN, r"a\ b"]
    assert complete(f"flownexus read {state} kitchen /3") == []
    assert complete(f"flownexus op list {state} --device ki") == [KITCHEN]
    terminal.daemon.answers["GET /users"] = {"items": [{"name": "anna", "role": "admin"}]}
    assert complete(f"flownexus user role {state} a") == ["anna"]
    assert complete("flownexus user role anna ad") == ["admin"]
    assert complete(f"flownexus token add {state} x --user ") == ["anna"]
    assert complete(f"flownexus op show {state} 17") == ["17", "171"]
    assert complete(f"flownexus op wait 5 {state} 171") == ["171"]
    packages = [{"id": number, "version": "1.2", "file_name": "a.bin"} for number in (3, 31)]
    terminal.daemon.answers["GET /firmware"] = {"items": packages, "next": None}
    begun = {"state": "RUNNING", "version": "1.2", "endpoint": KITCHEN, "name": "night"}
    terminal.daemon.answers["GET /updates"] = {"items": [{"id": 17, **begun}], "next": None}
    terminal.daemon.answers["GET /campaigns"] = {"items": [{"id": 4, **begun}], "next": None}
    assert complete(f"flownexus firmware show {state} 3") == ["3", "31"]
    assert complete(f"flownexus firmware update {state} kitchen --firmware ") == ["3", "31"]
    assert complete(f"flownexus firmware update {state} kit") == [KITCHEN]
    assert complete("flownexus firmware update kitchen --delivery co") == ["coaps", "coap"]
    assert complete(f"flownexus firmware wait {state} ") == ["17"]
    assert complete(f"flownexus firmware campaign stop {state} ") == ["4"]
    assert complete("flownexus firmware campaign s") == ["show", "stop"]
    # What bash takes for the end of a word stays on the line.
    assert complete(f"flownexus device show {state} urn:imei:35") == ["352656100123456"]
    assert complete(f"flownexus device show {state} urn:imei:35", breaks=" \t\n") == [URN]


def test_names_come_with_what_they_are(terminal: Terminal) -> None:
    devices = [{"endpoint": KITCHEN, "state": "sleeping", "label": "x\ty"}]
    terminal.daemon.answers["GET /endpoints"] = {"items": devices, "next": None}
    terminal.daemon.answers["GET /operations"] = {"items": [operation(17)], "next": None}
    assert terminal.run("completion", "devices").out == "kitchen\tsleeping x?y\n"
    assert terminal.run("completion", "devices", "--prefix", "z").out == ""
    terminal.daemon.answers["GET /users"] = {"items": [{"name": "anna", "role": "admin"}]}
    assert terminal.run("completion", "users").out == "anna\tadmin\n"
    assert terminal.run("completion", "users", "--prefix", "b").out == ""
    assert terminal.run("completion", "operations").out == "17\tCONFIRMED read /3303/0/5700 kitchen\n"
    assert terminal.daemon.asked[-1].query == {"limit": ["200"]}
    told = {"id": 4, "state": "PAUSED", "version": "1.2", "endpoint": KITCHEN, "name": "night"}
    for what, words in (
        ("firmware", "1.2 a.bin"),
        ("updates", f"PAUSED 1.2 {KITCHEN}"),
        ("campaigns", "PAUSED 1.2 night"),
    ):
        answer = {"items": [{"file_name": "a.bin", **told}], "next": None}
        terminal.daemon.answers[f"GET /{what}"] = answer
        source = "packages" if what == "firmware" else what
        assert terminal.run("completion", source).out == f"4\t{words}\n"
        assert terminal.daemon.asked[-1].query == {"limit": ["200"]}
    assert DONE_KEPT >= 200


def test_nothing_is_said_where_there_is_no_daemon(
    terminal: Terminal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "devices", "--state", str(tmp_path / "none")]) == 0
    assert capsys.readouterr() == ("", "")
    terminal.daemon.answers["GET /operations"] = Problem(503, "store_failed")
    said = terminal.run("completion", "operations")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_every_kind_of_name_has_a_source() -> None:
    assert set(completion.SOURCES) == set(completion_scripts.ASKED)


def test_texts_are_harmless_in_every_shell() -> None:
    option = completion_scripts.Option(("--x",), "it's $(a) `b` \\", None)
    command = completion_scripts.Command("flownexus", {"go": "don't"}, (option,), (), repeated=False)
    quoted = "it\\'s\\ \\$\\(a\\)\\ \\`b\\`\\ \\\\"
    assert f"-l x -d {quoted}\n" in completion_scripts.fish([command])
    zsh = completion_scripts.zsh([command])
    (line,) = [line for line in zsh.splitlines() if "commands=(go" in line]
    assert line.strip() == "commands=(go\\:don\\'t)"
    told = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, text=True, check=True)
    assert told.stdout == option.help


@pytest.mark.parametrize("shell", completion_scripts.SHELLS)
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert script == completion_scripts.SHELLS[shell](list(describe(make_parser())))
    assert "@" not in script.replace('"$@"', "").replace("[@]", "")
