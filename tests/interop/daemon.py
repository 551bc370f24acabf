"""The appliance as its neighbours meet it: a process, two CoAP ports, an HTTPS API, its log, a file on disk.

Everything these tests assume about the daemon's command line, configuration, API and schema stands in this
module, so that a change of a name is a change here.
"""

import base64
import json
import re
import signal
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

from flownexus_appliance.cli.console import Console

from .program import Program, until

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"
READY_WITHIN_S = 20.0
# An operation waits for the device; the API answers within the daemon's own limit, which is shorter.
API_WITHIN_S = 60.0
WAIT_S = 30
READY = "FlowNexus is ready"
# What a peer does wrong is told at level info, but for a try to be somebody else; anything else above info
# means that something is wrong with the box.
DEFECT = re.compile(r"^[0-9:]{8} (warning|error|critical) |^ *Traceback|Warning: ")
ENTRY = re.compile(r"^[0-9:]{8} (?:debug|info|warning|error|critical) (?P<said>.*)$")
FIELD = re.compile(r" (?=[a-z_]+=)")
SESSION_MADE, REFUSED, IMPOSTOR = "session made", "handshake refused", "identity refused"

CONFIG = """\
[coap]
port = {coap}

[dtls]
port = {coaps}
networks = ["127.0.0.0/8"]

[http]
host = "127.0.0.1"
port = {https}

[leshan]
server_port = {leshan}
anonymous = "operator"
"""


ADMIN = "anna"
PASSWORD = "four wet horses"
NO_HEADERS: Mapping[str, str] = {}


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


@dataclass(frozen=True, slots=True)
class Psk:
    """What a device proves itself by: a pre-shared key, hexadecimal, and its identity."""

    identity: str
    key: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a device proves itself by: files with its certificate, its key and the roots to trust, all PEM."""

    certificate: Path
    key: Path
    roots: Path

    @classmethod
    def into(cls, folder: Path, name: str, certificate: str, key: str, roots: str) -> "Certificate":
        files = tuple(folder / f"{name}.{kind}.pem" for kind in ("certificate", "key", "roots"))
        for file, content in zip(files, (certificate, key, roots), strict=True):
            file.write_text(content, encoding="ascii")
        return cls(*files)

    def der(self) -> tuple[bytes, bytes, bytes]:
        """Certificate, key (PKCS#8) and the newest root."""
        files = (self.certificate, self.key, self.roots)
        bodies = (file.read_text("ascii").split("-----")[2] for file in files)
        certificate, key, root = map(base64.b64decode, bodies)
        return certificate, key, root


Credential = Psk | Certificate


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
        columns = (
            "id",
            "address",
            "session",
            "lwm2m_version",
            "lifetime_s",
            "binding",
            "queue_mode",
            "objects",
        )
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
class Reply:
    """What came back over HTTP, whatever its status."""

    status: int
    media_type: str
    text: str

    @property
    def json(self) -> Any:
        assert self.media_type == "application/json", self
        return json.loads(self.text)


def fetch(
    method: str,
    url: str,
    body: bytes | None,
    media_type: str,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> Reply:
    """Ask by HTTP; an error is an answer, too."""
    request = urllib.request.Request(url, data=body, method=method, headers=dict(headers))
    if body is not None:
        request.add_header("Content-Type", media_type)
    try:
        answer = urllib.request.urlopen(request, timeout=API_WITHIN_S, context=tls)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        text = answer.read().decode()
        return Reply(answer.status, answer.headers.get_content_type() if text else "", text)


@dataclass(frozen=True, slots=True)
class Answer:
    """How an operation stands in the API: values, and attributes of links, by path."""

    id: int
    status: str
    code: str
    values: Mapping[str, Any]
    links: Mapping[str, Mapping[str, str | None]]
    location: str
    message: str
    attempts: int

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Answer":
        return cls(
            state["id"],
            state["status"],
            state["code"],
            {item["path"]: item["value"] for item in state["values"]},
            {item["path"]: item["attributes"] for item in state["links"]},
            state["location"],
            state["message"],
            state["attempts"],
        )


class Daemon:
    """The daemon on a state folder of its own and free ports of the loopback; `settings` is more TOML."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.state = folder / "state"
        self.coap_port = free_port(socket.SOCK_DGRAM)
        self.coaps_port = free_port(socket.SOCK_DGRAM)
        self.https_port = free_port(socket.SOCK_STREAM)
        self.leshan_port = free_port(socket.SOCK_STREAM)
        config = folder / "appliance.toml"
        ports = {"coap": self.coap_port, "coaps": self.coaps_port, "https": self.https_port}
        config.write_text(CONFIG.format(**ports, leshan=self.leshan_port) + settings, encoding="utf-8")
        arguments = ["run", "--state", str(self.state), "--config", str(config)]
        self.program = Program("daemon", [sys.executable, "-m", "flownexus_appliance", *arguments], ROOT)
        self.store = Store(self.state / "flownexus.db")
        self._expected: set[int] = set()
        self._token = ""
        self.tls = ssl.create_default_context()
        # Its certificate is made by itself at the first start, and the way to it is the loopback.
        self.tls.check_hostname = False
        self.tls.verify_mode = ssl.CERT_NONE

    @property
    def coap_uri(self) -> str:
        return f"coap://{LOOPBACK}:{self.coap_port}"

    @property
    def coaps_uri(self) -> str:
        return f"coaps://{LOOPBACK}:{self.coaps_port}"

    def start(self) -> None:
        self.program.start()
        self.program.wait_for(lambda line: READY in line, READY, READY_WITHIN_S)

    @property
    def bearer(self) -> dict[str, str]:
        """What a request says to be an admin's; made over the control socket when first asked for."""
        if not self._token:
            console = Console(self.state)
            console.post("/users", {"name": ADMIN, "role": "admin", "password": PASSWORD})
            # Without an end: some tests set the clock forward by years.
            wanted = {"user": ADMIN, "name": "tests", "role": "admin", "expires_days": None}
            made = console.post("/tokens", wanted)
            self._token = str(made["secret"])
        return {"Authorization": f"Bearer {self._token}"}

    def stop(self, by: signal.Signals = signal.SIGINT) -> None:
        """Ctrl-C, or another signal: it ends with exit code 0, a clean log and a sound store."""
        assert self.program.stop(by) == 0, self.program.tail()
        self.check()

    def check(self) -> None:
        log = enumerate(list(self.program.log))
        defects = [line for number, line in log if DEFECT.search(line) and number not in self._expected]
        assert not defects, "\n".join([*defects, "--- the end of the log:", self.program.tail()])
        self.store.check()

    # Its log

    def logged(self, message: str, since: int = 0, **fields: str) -> list[dict[str, str]]:
        """The fields of all entries with this message and at least these fields, oldest first."""
        return [found for _, found in self._entries(message, since, fields)]

    def wait_logged(self, message: str, since: int = 0, **fields: str) -> dict[str, str]:
        """Wait for such an entry; where it is a warning, `check` takes it for expected."""
        until(lambda: self.logged(message, since, **fields), f"{message} {fields} in the log of the daemon")
        entries = list(self._entries(message, since, fields))
        self._expected.update(number for number, _ in entries)
        return entries[0][1]

    def _entries(
        self, message: str, since: int, wanted: Mapping[str, str]
    ) -> Iterator[tuple[int, dict[str, str]]]:
        for number, line in enumerate(list(self.program.log)):
            entry = ENTRY.match(line)
            if number < since or entry is None:
                continue
            said, *rest = FIELD.split(entry["said"])
            fields = {name: value for name, _, value in (part.partition("=") for part in rest)}
            if said == message and wanted.items() <= fields.items():
                yield number, fields

    @property
    def now(self) -> int:
        """Where its log stands, for `since`."""
        return len(self.program.log)

    def handshakes(self, endpoint: str) -> int:
        """How many DTLS sessions it says that an endpoint has made."""
        return len(self.logged(SESSION_MADE, endpoint=endpoint))

    # Credentials

    def give_psk(self, endpoint: str, key: str | None = None) -> Psk:
        """A pre-shared key for an endpoint, made by the daemon where none is named."""
        given = self.api("/endpoints", {"endpoint": endpoint, "key": key})["psk"]
        return Psk(given["identity"], given["key"])

    def give_certificate(self, endpoint: str, folder: Path) -> Certificate:
        given = self.api("/endpoints", {"endpoint": endpoint, "kind": "certificate"})["certificate"]
        return Certificate.into(folder, endpoint, given["certificate"], given["private_key"], given["ca"])

    def give(self, kind: str, endpoint: str, folder: Path) -> Credential:
        """A credential of a kind: psk or certificate."""
        return self.give_psk(endpoint) if kind == "psk" else self.give_certificate(endpoint, folder)

    def credentials(self, endpoint: str) -> list[dict[str, Any]]:
        """All that an endpoint ever had, newest first."""
        name = urllib.parse.quote(endpoint, safe="")
        found: list[dict[str, Any]] = self.api(f"/endpoints/{name}/credentials")["items"]
        return found

    def revoke(self, endpoint: str) -> None:
        """Take all credentials of an endpoint away."""
        self.api(f"/endpoints/{urllib.parse.quote(endpoint, safe='')}/credentials", method="DELETE")

    def put_bootstrap(self, endpoint: str, config: Mapping[str, object]) -> None:
        self.api(f"/bootstrap/{urllib.parse.quote(endpoint, safe='')}", config, method="PUT")

    # Its API

    def api(self, path: str, body: object = None, method: str | None = None) -> Any:
        """GET a path below /api/v1, or POST it with a body; the JSON that comes back. Errors raise."""
        data = None if body is None else json.dumps(body).encode()
        method = method or ("GET" if body is None else "POST")
        reply = self.request(method, f"/api/v1{path}", data)
        assert reply.status < 300, f"{method} {path}: HTTP {reply.status} {reply.text}"
        return reply.json if reply.text else None

    def request(
        self, method: str, path: str, body: bytes | None = None, media_type: str = "application/json"
    ) -> Reply:
        """Ask by HTTPS for any path."""
        url = f"https://{LOOPBACK}:{self.https_port}{path}"
        return fetch(method, url, body, media_type, self.tls, self.bearer)

    def endpoint(self, name: str) -> Any:
        return self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}")

    def resources(self, name: str) -> dict[str, Any]:
        """The API's resource items of an endpoint, by path."""
        items = self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}/resources")["items"]
        return {item["path"]: item for item in items}

    def series(self, name: str, path: str, **query: int) -> Any:
        asked = urllib.parse.urlencode(query)
        return self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}/series{path}?{asked}")

    def operate(self, name: str, operation: str, path: str, **more: Any) -> Answer:
        """Ask a device for an operation through the API, and wait until it is done."""
        return self.ask(name, operation, path=path, **more)

    def ask(self, name: str, operation: str, wait_s: int = WAIT_S, **more: Any) -> Answer:
        """Ask a device for an operation; how it stands once it is done, or after so many seconds."""
        address = f"/endpoints/{urllib.parse.quote(name, safe='')}/operations?wait={wait_s}"
        return Answer.of(self.api(address, {"operation": operation, **more}))

    def refusal(self, name: str, operation: str, **more: object) -> tuple[int, str, str]:
        """Ask for what is not even taken up: the HTTP status, the code of the error and its hint."""
        address = f"/api/v1/endpoints/{urllib.parse.quote(name, safe='')}/operations"
        reply = self.request("POST", address, json.dumps({"operation": operation, **more}).encode())
        assert reply.status >= 400, reply
        return reply.status, reply.json["error"], reply.json["hint"]

    def operations(self, name: str) -> list[Answer]:
        """All that was asked of a device, newest first."""
        items = self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}/operations")["items"]
        return [Answer.of(item) for item in items]

    def wait_asleep(self, name: str) -> None:
        """Wait until a device in Queue Mode is taken to sleep."""
        until(lambda: self.endpoint(name)["state"] == "sleeping", f"{name} sleeps")

    def operation(self, operation_id: int, wait_s: int = WAIT_S) -> Answer:
        """How an operation stands once it is done, or after so many seconds."""
        return Answer.of(self.api(f"/operations/{operation_id}?wait={wait_s}"))

    def cancel(self, operation_id: int) -> Answer:
        return Answer.of(self.api(f"/operations/{operation_id}", method="DELETE"))

    def retry(self, operation_id: int) -> Answer:
        """Ask anew for an operation that is done, and wait until the new one is."""
        return Answer.of(self.api(f"/operations/{operation_id}/retry?wait={WAIT_S}", method="POST"))

    def configure(self, name: str, **settings: object) -> None:
        """Set what the API lets one set for a device: its label, its awake window."""
        self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}", settings, method="PATCH")

    def observations(self, name: str) -> dict[str, Any]:
        """The API's observations of an endpoint, by path; composite ones by their joined paths."""
        items = self.api(f"/endpoints/{urllib.parse.quote(name, safe='')}/observations")["items"]
        return {" ".join(item["paths"]): item for item in items}

    def wait_onboarded(self, name: str, observed: set[str], within_s: float = 20.0) -> None:
        """Wait until exactly these paths of an endpoint are observed, and each has sent its first value."""
        until(
            lambda: set(self.store.observations(name)) == self.store.reporting(name) == observed,
            f"{name} observed at {sorted(observed)}",
            within_s,
        )


@contextmanager
def running(folder: Path, settings: str = "") -> Iterator[Daemon]:
    """A daemon that is stopped and checked at the end, and ended in any case; `settings` is more TOML."""
    daemon = Daemon(folder, settings)
    daemon.state.mkdir(exist_ok=True)
    try:
        daemon.start()
        yield daemon
        daemon.stop()
    finally:
        daemon.program.end()
