"""The appliance as its neighbours meet it: a process, a CoAP port, an HTTPS API and a file on disk.

Everything these tests assume about the daemon's command line, configuration, API and schema stands in this
module, so that a change of a name is a change here.
"""

import json
import re
import socket
import sqlite3
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .program import Program, until

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
READY_WITHIN_S = 20.0
# An operation waits for the device; the API answers within the daemon's own limit, which is shorter.
API_WITHIN_S = 60.0
READY = "FlowNexus is ready"
# What a peer does wrong is told at level info; anything above means that something is wrong with the box.
DEFECT = re.compile(r"^[0-9:]{8} (warning|error|critical) |^ *Traceback|Warning: ")

CONFIG = """\
[coap]
port = {coap}

[http]
port = {https}
"""


def free_port(kind: socket.SocketKind) -> int:
    """A port of the loopback that nothing listens on now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a series: integer milliseconds since 1970 UTC, and the value as SQLite holds it."""

    time_ms: int
    value: object


class Store:
    """The daemon's database, read as anyone may read a file: no part of the daemon is asked."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def endpoints(self) -> set[str]:
        return {name for (name,) in self.rows("SELECT name FROM endpoint")}

    def registration(self, endpoint: str) -> Mapping[str, Any] | None:
        """The live registration of an endpoint, its JSON columns read; None when it has none."""
        columns = ("id", "address", "lwm2m_version", "lifetime_s", "binding", "queue_mode", "objects")
        found = self.rows(
            f"SELECT {', '.join('registration.' + name for name in columns)} FROM registration"
            " JOIN endpoint ON endpoint.id = registration.endpoint_id WHERE endpoint.name = :name",
            name=endpoint,
        )
        assert len(found) <= 1, f"{len(found)} registrations of {endpoint}"
        if not found:
            return None
        registration = dict(zip(columns, found[0], strict=True))
        objects = json.loads(registration["objects"])
        registration["objects"] = {int(number): entry["instances"] for number, entry in objects.items()}
        return registration

    def observations(self, endpoint: str) -> dict[str, bytes]:
        """The tokens of an endpoint's observations, by path; composite ones by their joined paths."""
        found = self.rows(
            "SELECT paths, token FROM observation JOIN endpoint ON endpoint.id = observation.endpoint_id"
            " WHERE endpoint.name = :name",
            name=endpoint,
        )
        return {" ".join(json.loads(paths)): token for paths, token in found}

    def reporting(self, endpoint: str) -> set[str]:
        """The observed paths of an endpoint from which a value has come since they are observed."""
        found = self.rows(
            "SELECT json_extract(observation.paths, '$[0]') AS observed FROM observation"
            " JOIN endpoint ON endpoint.id = observation.endpoint_id WHERE endpoint.name = :name AND EXISTS"
            " (SELECT 1 FROM series JOIN resource ON resource.series_id = series.id"
            "  WHERE series.endpoint_id = endpoint.id AND resource.time_ms >= observation.created_ms"
            "  AND (series.path = observed OR series.path LIKE observed || '/%'))",
            name=endpoint,
        )
        return {path for (path,) in found}

    def samples(self, endpoint: str, path: str) -> list[Sample]:
        """All samples of one resource, oldest first."""
        found = self.rows(
            "SELECT resource.time_ms, resource.value FROM resource"
            " JOIN series ON series.id = resource.series_id"
            " JOIN endpoint ON endpoint.id = series.endpoint_id"
            " WHERE endpoint.name = :name AND series.path = :path ORDER BY resource.time_ms",
            name=endpoint,
            path=path,
        )
        return [Sample(*row) for row in found]

    def values(self, endpoint: str, path: str) -> list[object]:
        return [sample.value for sample in self.samples(endpoint, path)]

    def check(self) -> None:
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        assert self.rows("PRAGMA foreign_key_check") == []


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said to an operation: values of a Read, attributes of the links of a Discover, by path."""

    status: str
    code: str
    values: Mapping[str, Any]
    links: Mapping[str, Mapping[str, str]]
    message: str


class Daemon:
    """The daemon on a state folder of its own and free ports of the loopback."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.coap_port = free_port(socket.SOCK_DGRAM)
        self.https_port = free_port(socket.SOCK_STREAM)
        config = folder / "appliance.toml"
        config.write_text(CONFIG.format(coap=self.coap_port, https=self.https_port), encoding="utf-8")
        arguments = ["run", "--state", str(self.state), "--config", str(config)]
        self.program = Program("daemon", [sys.executable, "-m", "flownexus_appliance", *arguments], ROOT)
        self.store = Store(self.state / "flownexus.db")
        self._tls = ssl.create_default_context()
        # Its certificate is made by itself at the first start, and the way to it is the loopback.
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    @property
    def coap_uri(self) -> str:
        return f"coap://{LOOPBACK}:{self.coap_port}"

    def start(self) -> None:
        self.program.start()
        self.program.wait_for(lambda line: READY in line, READY, READY_WITHIN_S)

    def stop(self) -> None:
        """Ctrl-C: it ends with exit code 0, a clean log and a sound store."""
        assert self.program.stop() == 0, self.program.tail()
        self.check()

    def check(self) -> None:
        defects = [line for line in self.program.log if DEFECT.search(line)]
        assert not defects, "\n".join([*defects, "--- the end of the log:", self.program.tail()])
        self.store.check()

    def api(self, path: str, body: object = None) -> Any:
        """GET a path below /api/v1, or POST it with a body; the JSON that comes back. Errors raise."""
        request = urllib.request.Request(
            f"https://{LOOPBACK}:{self.https_port}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=API_WITHIN_S, context=self._tls) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read().decode(errors="replace")
            raise AssertionError(f"{request.get_method()} {path}: HTTP {error.code} {text}") from None

    def endpoint(self, name: str) -> Any:
        return self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}")

    def resources(self, name: str) -> dict[str, Any]:
        """The API's resource items of an endpoint, by path."""
        items = self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}/resources")["items"]
        return {item["path"]: item for item in items}

    def series(self, name: str, path: str, **query: int) -> Any:
        asked = urllib.parse.urlencode(query)
        return self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}/series{path}?{asked}")

    def operate(self, name: str, operation: str, path: str, **more: object) -> Answer:
        """Carry out a device management operation through the API."""
        reply = self.api(
            f"/endpoints/{urllib.parse.quote(name, safe='')}/operations",
            {"operation": operation, "path": path, **more},
        )
        values = {item["path"]: item["value"] for item in reply["values"]}
        links = {item["path"]: item["attributes"] for item in reply.get("links", ())}
        return Answer(reply["status"], reply["code"], values, links, reply["message"])

    def wait_onboarded(self, name: str, observed: set[str], within_s: float = 20.0) -> None:
        """Wait until exactly these paths of an endpoint are observed, and each has sent its first value."""
        until(
            lambda: set(self.store.observations(name)) == self.store.reporting(name) == observed,
            f"{name} observed at {sorted(observed)}",
            within_s,
        )


@contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    """A daemon that is stopped and checked at the end, and ended in any case."""
    daemon = Daemon(folder)
    daemon.state.mkdir()
    try:
        daemon.start()
        yield daemon
        daemon.stop()
    finally:
        daemon.program.end()
