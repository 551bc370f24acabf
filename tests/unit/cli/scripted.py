"""A daemon that says what a test wrote down for it, on a real control socket, and notes what it was asked."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from flownexus_appliance.cli import main

NOW_MS = 1_795_000_000_000
KITCHEN = "kitchen"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: where to below /api/v1, and with what."""

    method: str
    path: str
    query: dict[str, list[str]]
    content: bytes
    media_type: str

    @property
    def body(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is a no."""

    status: int
    error: str
    message: str = "that cannot be"
    hint: str = "do something else"


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not JSON; `whole` False breaks off before its end."""

    chunks: tuple[bytes, ...]
    whole: bool = True


Reply = Callable[[Request], object]


@dataclass(slots=True)
class Daemon:
    """What it answers, by "METHOD /path": JSON, a Problem, a Raw, or a function of the request for one."""

    state: Path
    answers: dict[str, object] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)

    def answer(self, request: Request) -> object:
        self.asked.append(request)
        found = self.answers.get(f"{request.method} {request.path}")
        if found is None:
            return Problem(HTTPStatus.NOT_FOUND, "unknown_address", f"nothing is at {request.path}")
        return found(request) if callable(found) else found

    def of(self, method: str, path: str) -> list[Request]:
        """What it was asked there."""
        return [request for request in self.asked if (request.method, request.path) == (method, path)]


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = False
    scripted: Daemon


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "console"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass  # a test's output is its own

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        address = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command,
            unquote(address.path.removeprefix("/api/v1")),
            parse_qs(address.query),
            self.rfile.read(length),
            self.headers.get("Content-Type") or "",
        )
        found = self.server.scripted.answer(request)
        self.close_connection = True
        if isinstance(found, Raw):
            self._send_raw(found)
            return
        status = found.status if isinstance(found, Problem) else HTTPStatus.OK
        if isinstance(found, Problem):
            found = {"error": found.error, "message": found.message, "hint": found.hint}
        content = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_raw(self, raw: Raw) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in raw.chunks:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if raw.whole:
            self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serving(state: Path) -> Iterator[Daemon]:
    """A daemon on a state folder, until the block ends."""
    daemon = Daemon(state)
    with _Server(str(state / "control.sock"), _Handler) as server:
        server.scripted = daemon
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield daemon
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The lines of the output, each taken apart where a table's columns are."""
        return [re.split(r" {2,}", line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where commands are typed, beside the daemon that they ask."""

    daemon: Daemon
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str) -> Said:
        """`flownexus` with these words."""
        self.capsys.readouterr()
        code = main([*words, "--state", str(self.daemon.state)])
        return Said(code, *self.capsys.readouterr())


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """A terminal on a daemon that knows the sleeping device KITCHEN, and nothing of its values."""
    state = tmp_path / "state"
    state.mkdir()
    with serving(state) as daemon:
        daemon.answers |= {
            f"GET /endpoints/{KITCHEN}": device(),
            f"GET /endpoints/{KITCHEN}/resources": {"items": []},
        }
        yield Terminal(daemon, capsys)


def device(state: str = "sleeping", objects: dict[str, str] | None = None) -> dict[str, Any]:
    """KITCHEN as the API tells it, with the versions of its objects."""
    registered = {
        number: {"version": version, "instances": [0]} for number, version in (objects or {}).items()
    }
    return {
        "endpoint": KITCHEN,
        "label": "",
        "notes": "",
        "tags": [],
        "state": state,
        "first_seen_ms": NOW_MS,
        "last_seen_ms": NOW_MS,
        "awake_window_s": None,
        "registration": {"objects": registered},
    }


def operation(number: int = 17, status: str = "CONFIRMED", **changes: Any) -> dict[str, Any]:
    """An operation as the API tells it."""
    state = {
        "id": number,
        "endpoint": KITCHEN,
        "operation": "read",
        "paths": ["/3303/0/5700"],
        "wanted": [],
        "arguments": "",
        "attributes": {},
        "status": status,
        "attempts": 1,
        "asked_by": "console",
        "retry_of": None,
        "created_ms": NOW_MS,
        "changed_ms": NOW_MS,
        "deadline_ms": None,
        "code": "2.05" if status == "CONFIRMED" else "",
        "message": "",
        "hint": "",
        "values": [],
        "links": [],
        "location": "",
        "cut": False,
    }
    return state | changes


def value(path: str, plain: object, data_type: str = "float", time_ms: int | None = None) -> dict[str, Any]:
    return {"path": path, "value": plain, "data_type": data_type, "time_ms": time_ms}
