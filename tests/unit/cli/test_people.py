"""`flownexus user`, `token`, `setup-code` and `audit`; passwords that are asked for, and seen nowhere."""

import getpass
import io
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.access.roles import Role
from flownexus_appliance.cli import main, people
from flownexus_appliance.http.ports_box import Access
from tests.unit.http.people import CODE

from .conftest import Box
from .scripted import NOW_MS, Problem, Said, Terminal, serving

ROOT = Path(__file__).parents[3]
PASSWORD = "four wet horses"
PATIENCE_S = 60.0


class Keyboard:
    """Somebody at the terminal, who types these lines when asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lines: str | None) -> None:
        self.lines = list(lines)
        self.prompts: list[str] = []
        monkeypatch.setattr(sys, "stdin", self)
        monkeypatch.setattr(getpass, "getpass", self.ask)

    def isatty(self) -> bool:
        return True

    def ask(self, prompt: str, stream: Any = None) -> str:
        self.prompts.append(prompt)
        line = self.lines.pop(0)
        if line is None:
            raise EOFError
        return line


def user(name: str = "anna", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "role": "admin",
        "made_ms": NOW_MS,
        "changed_ms": NOW_MS,
        "sessions": 2,
        "tokens": 1,
    } | more


def token(**more: Any) -> dict[str, Any]:
    return {
        "id": 4,
        "user": "anna",
        "name": "home assistant",
        "role": "viewer",
        "made_ms": NOW_MS,
        "expires_ms": None,
        "used_ms": None,
    } | more


def refused(said: Said) -> str:
    assert said.out == ""
    return str(json.loads(said.err)["error"])


def test_the_roles_are_those_of_the_box() -> None:
    assert tuple(Role) == people.ROLES


def test_users_are_listed(terminal: Terminal) -> None:
    items = [user(), user("otto", role="viewer", sessions=0)]
    terminal.daemon.answers["GET /users"] = {"items": items}
    said = terminal.run("user", "list")
    assert said.rows[0] == ["NAME", "ROLE", "PASSWORD OF", "SESSIONS", "TOKENS"]
    assert [[row[0], row[1], *row[3:]] for row in said.rows[1:]] == [
        ["anna", "admin", "2", "1"],
        ["otto", "viewer", "0", "1"],
    ]
    assert terminal.run("user", "list", "--json").data == items


def test_a_password_is_asked_for_twice(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.daemon.answers |= {
        "GET /account": {"name": "console"},
        "POST /users": user("otto", role="operator"),
    }
    keyboard = Keyboard(monkeypatch, PASSWORD, PASSWORD)
    said = terminal.run("user", "add", "otto", "--role", "operator")
    assert (said.code, said.out) == (0, "otto can sign in, as operator.\n")
    assert keyboard.prompts == ["New password: ", "Once more: "]
    (request,) = terminal.daemon.of("POST", "/users")
    assert request.body == {"name": "otto", "role": "operator", "password": PASSWORD}
    assert PASSWORD not in said.out + said.err


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ((PASSWORD, "four wet horsse"), "passwords_differ"),
        (("",), "password_missing"),
        ((None,), "password_missing"),
        ((PASSWORD, None), "passwords_differ"),
    ],
)
def test_what_is_typed_wrong_is_not_sent(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, lines: tuple[str | None, ...], error: str
) -> None:
    terminal.daemon.answers |= {"GET /account": {"name": "console"}, "GET /users/anna": user()}
    for words in (("add", "otto", "--role", "viewer"), ("password", "anna")):
        keyboard = Keyboard(monkeypatch, *lines)
        said = terminal.run("user", *words, "--json")
        assert (said.code, refused(said), keyboard.lines) == (2, error, [])
    assert {request.method for request in terminal.daemon.asked} == {"GET"}


def test_a_password_comes_by_standard_input_too(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.daemon.answers |= {
        "GET /users/anna": user(),
        "PATCH /users/anna": user(),
        "GET /account": {"name": "console"},
        "POST /users": user("otto", role="viewer"),
    }
    monkeypatch.setattr(sys, "stdin", io.StringIO(f" {PASSWORD} \r\nsecond line\n"))
    said = terminal.run("user", "password", "anna", "--stdin")
    assert (said.code, said.out) == (0, "anna has a new password; all their sessions have ended.\n")
    assert terminal.daemon.of("PATCH", "/users/anna")[0].body == {"password": f" {PASSWORD} "}
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD))
    assert terminal.run("user", "add", "otto", "--role", "viewer", "--stdin", "--json").data["name"] == "otto"
    assert terminal.daemon.of("POST", "/users")[0].body["password"] == PASSWORD
    for text in ("", "\n", "\r\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert refused(terminal.run("user", "password", "anna", "--stdin", "--json")) == "password_missing"
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD))
    assert refused(terminal.run("user", "password", "anna", "--json")) == "terminal_missing"
    assert len(terminal.daemon.of("PATCH", "/users/anna")) == 1


def test_nobody_types_a_password_for_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keyboard = Keyboard(monkeypatch)
    terminal.daemon.answers["GET /users/nora"] = Problem(404, "user_unknown")
    said = terminal.run("user", "password", "nora", "--json")
    assert (said.code, refused(said)) == (1, "user_unknown")
    assert main(["user", "add", "nora", "--role", "viewer", "--state", str(tmp_path / "none")]) == 2
    assert "does not run" in capsys.readouterr().err
    assert keyboard.prompts == []


def test_a_password_is_no_argument(terminal: Terminal) -> None:
    for words in (("add", "otto", PASSWORD, "--role", "viewer"), ("password", "anna", PASSWORD)):
        with pytest.raises(SystemExit) as caught:
            terminal.run("user", *words)
        assert caught.value.code == 2
    assert terminal.daemon.asked == []


@pytest.fixture
def teletype(tmp_path: Path) -> Iterator[tuple[Any, subprocess.Popen[bytes], int]]:
    """The command on a terminal of its own, at which a test can type."""
    state = tmp_path / "state"
    state.mkdir()
    with serving(state) as daemon:
        daemon.answers |= {"GET /users/anna": user(), "PATCH /users/anna": user()}
        ours, theirs = pty.openpty()
        # The child takes the terminal that it opens first for its own, as a login does.
        code = (
            "import os, sys; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR));"
            "from flownexus_appliance.cli import main; sys.exit(main(sys.argv[1:]))"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, "user", "password", "anna", "--state", str(state)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        os.close(theirs)
        try:
            yield daemon, process, ours
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def test_what_is_typed_is_not_shown(teletype: tuple[Any, subprocess.Popen[bytes], int]) -> None:
    daemon, process, terminal = teletype
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            assert select.select([terminal], [], [], PATIENCE_S)[0], shown
            shown += os.read(terminal, 4096)

    for prompt in (b"New password: ", b"Once more: "):
        until(prompt)
        os.write(terminal, PASSWORD.encode() + b"\n")
    until(b"new password;")
    assert process.wait(PATIENCE_S) == 0
    assert daemon.of("PATCH", "/users/anna")[0].body == {"password": PASSWORD}
    assert PASSWORD.encode() not in shown


def test_roles_are_given_and_users_removed(terminal: Terminal) -> None:
    terminal.daemon.answers |= {
        "PATCH /users/anna": user(role="viewer"),
        "DELETE /users/anna": {"removed": 1},
        "DELETE /users/a b/c?": Problem(404, "user_unknown"),
    }
    said = terminal.run("user", "role", "anna", "viewer")
    assert (said.code, said.out) == (0, "anna is viewer from now on.\n")
    assert terminal.daemon.of("PATCH", "/users/anna")[0].body == {"role": "viewer"}
    assert terminal.run("user", "role", "anna", "viewer", "--json").data["role"] == "viewer"
    assert terminal.run("user", "remove", "anna").out == "anna is no user any more.\n"
    assert refused(terminal.run("user", "remove", "a b/c?", "--json")) == "user_unknown"


def test_tokens_are_listed_made_and_removed(terminal: Terminal) -> None:
    given = {"token": token(expires_ms=NOW_MS + 90 * 86_400_000), "secret": "fnx_abc"}
    terminal.daemon.answers |= {
        "GET /tokens": {"items": [token(), token(id=5, user="otto", used_ms=NOW_MS)]},
        "POST /tokens": given,
        "DELETE /tokens/4": {"removed": 1},
    }
    said = terminal.run("token", "list")
    assert said.rows[0] == ["ID", "USER", "NAME", "ROLE", "GOOD UNTIL", "LAST USED"]
    assert said.rows[1] == ["4", "anna", "home assistant", "viewer", "no end", "never"]
    assert said.rows[2][-1] != "never"
    assert len(terminal.run("token", "list", "--user", "otto", "--json").data) == 2
    assert [request.query for request in terminal.daemon.asked] == [{}, {"user": ["otto"]}]
    said = terminal.run(
        "token", "add", "home assistant", "--user", "anna", "--role", "viewer", "--days", "90"
    )
    assert (said.code, said.rows[0]) == (0, ["Token", "fnx_abc"])
    assert "told this once" in said.err
    assert terminal.run("token", "add", "x", "--user", "anna", "--days", "0", "--json").data == given
    terminal.run("token", "add", "y", "--user", "anna")
    assert [request.body for request in terminal.daemon.of("POST", "/tokens")] == [
        {"name": "home assistant", "user": "anna", "role": "viewer", "expires_days": 90},
        {"name": "x", "user": "anna", "role": "viewer", "expires_days": None},
        {"name": "y", "user": "anna", "role": "viewer", "expires_days": 365},
    ]
    assert terminal.run("token", "remove", "4").out == "Token 4 is good no more.\n"
    assert terminal.run("token", "remove", "5").code == 1


@pytest.mark.parametrize(
    "words",
    [
        ["user"],
        ["user", "add", "anna"],
        ["user", "add", "anna", "--role", "king"],
        ["user", "role", "anna", "king"],
        ["token", "add", "x"],
        ["token", "add", "x", "--user", "anna", "--days", "-1"],
        ["token", "add", "x", "--user", "anna", "--days", "soon"],
        ["token", "remove", "x"],
        ["audit", "--limit", "-1"],
        ["audit", "--from", "yesterday"],
    ],
)
def test_words_that_make_no_command(terminal: Terminal, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.run(*words)
    assert caught.value.code == 2
    assert terminal.daemon.asked == []


def test_the_record_of_changes(terminal: Terminal) -> None:
    rows = [
        {
            "id": 2,
            "time_ms": NOW_MS,
            "who": "anna",
            "address": "192.0.2.1",
            "action": "PATCH /api/v1/users/{name}",
            "target": "otto\x1b[31m",
            "outcome": "",
            "detail": "",
        },
        {
            "id": 1,
            "time_ms": NOW_MS,
            "who": "",
            "address": "",
            "action": "POST /sign-in",
            "target": "",
            "outcome": "sign_in_refused",
            "detail": "",
        },
    ]
    terminal.daemon.answers["GET /audit"] = {"items": rows, "next": None}
    said = terminal.run("audit")
    assert said.rows[0] == ["WHEN", "WHO", "FROM", "WHAT", "OF", "OUTCOME"]
    assert said.rows[1][1:] == ["anna", "192.0.2.1", "PATCH /api/v1/users/{name}", "otto?[31m", "done"]
    assert said.rows[2][1:] == ["-", "-", "POST /sign-in", "-", "sign_in_refused"]
    found = terminal.run(
        "audit", "--who", "anna", "--search", "otto", "--from", "2026-03-01T00:00Z", "--limit", "7", "--json"
    )
    assert found.data == rows
    terminal.run("audit", "--limit", "0", "--to", "2026-03-01T00:00Z")
    assert [request.query for request in terminal.daemon.asked] == [
        {"limit": ["50"]},
        {"who": ["anna"], "q": ["otto"], "from_ms": ["1772323200000"], "limit": ["7"]},
        {"to_ms": ["1772323200000"], "limit": ["500"]},
    ]


# On the real web side


async def test_the_setup_code(box: Box) -> None:
    access: Any = box.access
    access.people.clear()
    said = await box.run("setup-code")
    assert (said.code, said.out) == (0, f"{CODE}\n")
    assert (await box.run("setup-code", "--json")).data == {"code": CODE}


async def test_the_console_is_an_admin_without_being_a_user(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    access: Access = box.access
    assert refused(await box.run("setup-code", "--json")) == "setup_done"
    monkeypatch.setattr(sys, "stdin", io.StringIO(PASSWORD))
    assert (await box.run("user", "add", "nora", "--role", "viewer", "--stdin")).code == 0
    assert (await box.run("user", "role", "nora", "operator")).code == 0
    assert [one["name"] for one in (await box.run("user", "list", "--json")).data] == [
        "anna",
        "nora",
        "otto",
        "vera",
    ]
    given = (await box.run("token", "add", "script", "--user", "nora", "--role", "admin", "--json")).data
    assert given["token"]["role"] == "operator"
    listed = (await box.run("token", "list", "--json")).data
    assert {one["user"] for one in listed} == {"anna", "nora", "otto", "vera"}
    (one,) = (await box.run("token", "list", "--user", "nora", "--json")).data
    assert (one["id"], one["user"], one["name"]) == (given["token"]["id"], "nora", "script")
    assert (await box.run("token", "remove", str(given["token"]["id"]))).code == 0
    assert (await box.run("user", "remove", "nora")).code == 0
    assert "nora" not in [user.name for user in access.users()]
    assert (await box.run("audit", "--json")).data == []
    assert refused(await box.run("user", "role", "nora", "viewer", "--json")) == "user_unknown"
