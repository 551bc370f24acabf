"""Asks the daemon: its REST interface (`http/api*.py`) over the control socket in the state folder."""

import http.client
import json
import socket
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..errors import ApplianceError, UsageError

SOCKET: Final = "control.sock"
# Longer than the daemon itself waits for a device.
TIMEOUT_S: Final = 150.0
PAGE: Final = 500


class Refused(ApplianceError):
    """The daemon answered, and what it said is no."""


class Console:
    """The daemon that runs on a state folder."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def get(self, path: str, **query: str) -> Any:
        """GET a path below /api/v1; queries that are "" are left out."""
        return json.loads(self.fetch(path, **query))

    def fetch(self, path: str, **query: str) -> bytes:
        """GET something that is not JSON."""
        return self._ask("GET", path + _query(query))

    def items(self, path: str, **query: str) -> list[Any]:
        """All items of a list, page after page."""
        found: list[Any] = []
        after = ""
        while True:
            page = self.get(path, **query, limit=str(PAGE), after=after)
            found += page["items"]
            if page["next"] is None:
                return found
            after = str(page["next"])

    def post(self, path: str, body: object = None) -> Any:
        return json.loads(self._ask("POST", path, body))

    def delete(self, path: str) -> Any:
        return json.loads(self._ask("DELETE", path))

    def _ask(self, method: str, path: str, body: object = None) -> bytes:
        """Raises Refused, UsageError: `daemon_absent`, `control_forbidden`, and `daemon_silent`."""
        connection = _Connection(self._state / SOCKET)
        headers = {"Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body)
        try:
            connection.request(method, f"/api/v1{path}", content, headers)
            response = connection.getresponse()
            answer = response.read()
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
        finally:
            connection.close()
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _refused(response.status, answer)
        return answer


def below(collection: str, name: str, rest: str = "") -> str:
    """The address of what has a name, such as an endpoint's, which may hold anything."""
    return f"/{collection}/{quote(name, safe='')}{rest}"


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _query(query: dict[str, str]) -> str:
    given = {name: value for name, value in query.items() if value}
    return f"?{urlencode(given)}" if given else ""


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
        return Refused(told["error"], told["message"], told["hint"])
    except (ValueError, TypeError, KeyError):
        return Refused("answer_unusable", f"the daemon answered with HTTP {status}", "see its log")
