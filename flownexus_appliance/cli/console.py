"""Asks the daemon: its REST interface (`http/api*.py`) over the control socket in the state folder."""

import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..errors import ApplianceError, UsageError

SOCKET: Final = "control.sock"
# Longer than the daemon itself waits for a device.
TIMEOUT_S: Final = 150.0
PAGE: Final = 500
CHUNK_BYTES: Final = 64 * 1024
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"

# A parameter of a query; those that are "" or have no items are left out.
Asked = str | list[str]
# Hints of the API that name its own addresses and fields, as they are for a terminal.
HINTS: Final[Mapping[str, str]] = {
    "campaign_unknown": "list them: flownexus firmware campaign list",
    "firmware_not_for": "its model, tag or version is another; --anyway gives it the package all the same",
    "firmware_unknown": "list them: flownexus firmware list",
    "operation_unknown": "list them: flownexus op list; of each device the oldest that are done are dropped",
    "update_unknown": "list them: flownexus firmware updates",
}


class Refused(ApplianceError):
    """The daemon answered, and what it said is no."""


class Console:
    """The daemon that runs on a state folder.

    Everything raises Refused, UsageError: `daemon_absent`, `control_forbidden`, and `daemon_silent`.
    """

    def __init__(self, state: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._state = state
        self._timeout_s = timeout_s

    def get(self, path: str, /, **query: Asked) -> Any:
        """GET a path below /api/v1."""
        return json.loads(self.fetch(path, **query))

    def fetch(self, path: str, /, **query: Asked) -> bytes:
        """GET something that is not JSON."""
        return self._ask("GET", path + _query(query))

    def items(self, path: str, /, most: int | None = None, **query: Asked) -> list[Any]:
        """All items of a list, or the first `most` of them, page after page."""
        found: list[Any] = []
        after = ""
        while True:
            limit = PAGE if most is None else min(PAGE, most - len(found))
            page = self.get(path, **query, limit=str(limit), after=after)
            found += page["items"]
            if page["next"] is None or len(found) == most:
                return found
            after = str(page["next"])

    def chunks(self, path: str, /, **query: Asked) -> Iterator[bytes]:
        """GET something of any length, as it comes."""
        with closing(self._connection()) as connection:
            response = self._send(connection, "GET", path + _query(query))
            while chunk := self._read(response):
                yield chunk

    @contextmanager
    def listen(self, path: str, /, **query: Asked) -> Iterator[Iterator[tuple[str, Any]]]:
        """GET server-sent events: names and data. Entered, the daemon has begun to tell."""
        with closing(self._connection()) as connection:
            yield self._events(self._send(connection, "GET", path + _query(query)))

    def post(self, path: str, body: object = None) -> Any:
        return self._change("POST", path, body)

    def patch(self, path: str, body: object) -> Any:
        return self._change("PATCH", path, body)

    def delete(self, path: str, /, **query: Asked) -> Any:
        return self._change("DELETE", path + _query(query), None)

    def upload(self, path: str, content: bytes, media_type: str) -> Any:
        """POST something that is not JSON."""
        return json.loads(self._ask("POST", path, content, media_type))

    def send(self, path: str, /, content: Iterable[bytes], length: int, **query: Asked) -> Any:
        """POST bytes of any kind as they come; `length` is of all of them.

        A daemon that refuses says so before it has read them all: the rest is not asked for then.
        """
        with closing(self._connection()) as connection:
            about = {"Content-Type": BYTES, "Content-Length": str(length)}
            response = self._send(connection, "POST", path + _query(query), content, about)
            with self._heard():
                return json.loads(response.read())

    def _change(self, method: str, path: str, body: object) -> Any:
        content = None if body is None else json.dumps(body).encode()
        answer = self._ask(method, path, content)
        return json.loads(answer) if answer else None

    def _ask(self, method: str, path: str, content: bytes | None = None, media_type: str = JSON) -> bytes:
        with closing(self._connection()) as connection:
            about = {} if content is None else {"Content-Type": media_type}
            response = self._send(connection, method, path, content, about)
            with self._heard():
                return response.read()

    def _connection(self) -> "_Connection":
        return _Connection(self._state / SOCKET, self._timeout_s)

    def _send(
        self,
        connection: "_Connection",
        method: str,
        path: str,
        content: bytes | Iterable[bytes] | None = None,
        about: Mapping[str, str] = MappingProxyType({}),
    ) -> http.client.HTTPResponse:
        """The head of a good answer, its body still to be read; `about` are headers of the content."""
        with self._heard():
            # A daemon that has heard enough hangs up; its answer is there all the same.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, f"/api/v1{path}", content, {"Accept": JSON, **about})
            response = connection.getresponse()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise _refused(response.status, response.read())
        return response

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        """The next part of a body, b"" at its end."""
        with self._heard():
            chunk = response.read1(CHUNK_BYTES)
            if not chunk and response.length:  # http.client takes a body cut short for a whole one here
                raise http.client.IncompleteRead(chunk, response.length)
            return chunk

    def _events(self, response: http.client.HTTPResponse) -> Iterator[tuple[str, Any]]:
        """What a stream tells, until it ends: which it does not by itself."""
        name, data = "", ""
        while True:
            with self._heard():
                line = response.readline()
                if not line:
                    raise http.client.IncompleteRead(line)
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value
            elif not field and data:  # an empty line ends an event; a comment has no field either
                yield name, json.loads(data)
                name, data = "", ""

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Tells what can go wrong on the way to the daemon."""
        try:
            yield
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise _absent(self._state) from None
        except PermissionError:
            raise UsageError(
                "control_forbidden",
                f"this user may not command the daemon on {self._state}",
                "run the command as the user that the daemon runs as, or as root",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise ApplianceError(
                "daemon_silent",
                f"the daemon on {self._state} did not answer: {error}",
                "see whether it still runs, and what its log says",
            ) from None


def below(collection: str, name: str, rest: str = "") -> str:
    """The address of what has a name, such as an endpoint's, which may hold anything."""
    return f"/{collection}/{quote(name, safe='')}{rest}"


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _query(query: dict[str, Asked]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"?{urlencode(given, doseq=True)}" if given else ""


def _absent(state: Path) -> UsageError:
    shown = state if state.is_absolute() else f"./{state}"
    return UsageError(
        "daemon_absent",
        f"the daemon does not run on {shown}",
        f"start it with ./run, or with flownexus run --state {state}; --state names another folder",
    )


def _refused(status: int, answer: bytes) -> Refused:
    try:
        told = json.loads(answer)
        return Refused(told["error"], told["message"], HINTS.get(told["error"], told["hint"]))
    except (ValueError, TypeError, KeyError):
        return Refused("answer_unusable", f"the daemon answered with HTTP {status}", "see its log")
