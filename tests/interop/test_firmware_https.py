"""curl brings packages to the box and fetches them from it by HTTPS: whole, broken off and resumed, by hash.

RFC 9110 14 (ranges), 13.1.5 (If-Range), 10.1.1 (Expect).
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flownexus_appliance.http.stream import MESSAGES

from .daemon import LOOPBACK, Daemon
from .firmware import OCTETS, Package, give, packages_kept, update, upload
from .firmware_by_hand import FirmwareByHand, firmware_by_hand
from .program import until

WITHIN_S = 60.0
_KIND = ("-H", f"Content-Type: {OCTETS}")
MIB = 1024 * 1024
# More than what lies on the way between the two, so that one who stops has not got all of it.
SIZE = 12 * MIB + 7
# curl's exit codes: the time is over; a server that does not take up where one left off.
TIMED_OUT, NO_RANGES = 28, 33


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a run of curl: its exit code, the last status, the body, and the heads it got."""

    code: int
    status: int
    body: bytes
    heads: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Curl:
    """curl on a folder of its own, trusting the daemon's certificate alone."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self._daemon = daemon
        self.folder = folder

    def command(self, path: str, *options: str | Path) -> list[str]:
        shown = ["--insecure", "--silent", "--show-error", "--http1.1", "--max-time", str(int(WITHIN_S))]
        url = f"https://{LOOPBACK}:{self._daemon.https_port}{path}"
        return ["curl", "--disable", *shown, *(str(option) for option in options), url]

    def run(self, path: str, *options: str | Path, signed_in: bool = False) -> Said:
        body, heads = self.folder / "body", self.folder / "heads"
        body.unlink(missing_ok=True)
        command = self.command(
            path,
            *(_bearer(self._daemon) if signed_in else ()),
            *("--dump-header", heads, "--write-out", "%{http_code}"),
            *(() if "--output" in options else ("--output", body)),
            *options,
        )
        done = subprocess.run(command, capture_output=True, timeout=2 * WITHIN_S, check=False)
        content = body.read_bytes() if body.exists() else b""
        told = heads.read_text("latin-1") if heads.exists() else ""
        return Said(done.returncode, int(done.stdout or b"0"), content, told)


@pytest.fixture
def curl(daemon: Daemon, tmp_path: Path) -> Curl:
    return Curl(daemon, tmp_path)


@pytest.fixture(scope="module")
def package(daemon: Daemon) -> Package:
    return upload(daemon, SIZE, "2.0.0")


@pytest.fixture
def device(daemon: Daemon, package: Package, request: pytest.FixtureRequest) -> Iterator[FirmwareByHand]:
    """A device that is told to fetch the package by HTTPS."""
    with firmware_by_hand(daemon, f"https-{request.node.name}") as registered:
        asked = give(daemon, registered.endpoint, package, "https")
        yield registered
        if update(daemon, asked)["state"] not in ("CANCELLED", "FAILED"):
            daemon.api(f"/updates/{asked}", method="DELETE")


def how_far(daemon: Daemon, device: FirmwareByHand) -> tuple[str, int]:
    (item,) = daemon.api(f"/updates?endpoint={device.endpoint}")["items"]
    return item["state"], item["bytes"]


# Fetching


def test_the_whole(daemon: Daemon, package: Package, device: FirmwareByHand, curl: Curl) -> None:
    path = device.ticket("https")
    said = curl.run(path, "--compressed")
    assert (said.code, said.status) == (0, 200)
    assert hashlib.sha256(said.body).hexdigest() == package.sha256
    for head in (f'ETag: "{package.sha256[:16]}"', f"Content-Length: {SIZE}", f"Content-Type: {OCTETS}"):
        assert head in said.heads.splitlines()
    assert "set-cookie" not in said.heads.lower()
    until(lambda: how_far(daemon, device) == ("DOWNLOADING", SIZE), "the box knows that it is there")


def test_broken_off_and_resumed(daemon: Daemon, package: Package, device: FirmwareByHand, curl: Curl) -> None:
    path, file = device.ticket("https"), curl.folder / "package"
    resumed = ("--continue-at", "-", "--output", file)
    # Each time for a second, at a rate at which it cannot get through.
    for _ in range(2):
        before = file.stat().st_size if file.exists() else 0
        said = curl.run(path, *resumed, "--max-time", "1", "--limit-rate", "2M")
        assert said.code == TIMED_OUT
        assert before < file.stat().st_size < SIZE
        state, told = how_far(daemon, device)
        assert (state, 0 < told < SIZE) == ("DOWNLOADING", True)
    said = curl.run(path, *resumed)
    assert (said.code, said.status) == (0, 206)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == package.sha256
    until(lambda: how_far(daemon, device) == ("DOWNLOADING", SIZE), "the box knows that it is there")


def test_killed_in_the_middle_and_resumed(
    daemon: Daemon, package: Package, device: FirmwareByHand, curl: Curl
) -> None:
    path, file = device.ticket("https"), curl.folder / "package"
    fetching = subprocess.Popen(curl.command(path, "--output", file, "--limit-rate", "3M"))
    try:
        until(lambda: file.exists() and file.stat().st_size > MIB, "curl has a part of it")
    finally:
        fetching.kill()
        fetching.wait(WITHIN_S)
    assert file.stat().st_size < SIZE
    tag = f'If-Range: "{package.sha256[:16]}"'
    said = curl.run(path, "--continue-at", "-", "--output", file, "-H", tag)
    assert (said.code, said.status) == (0, 206)
    assert hashlib.sha256(file.read_bytes()).hexdigest() == package.sha256


def test_who_has_the_beginning_of_something_else_is_not_given_the_rest(
    device: FirmwareByHand, curl: Curl
) -> None:
    file = curl.folder / "package"
    file.write_bytes(b"something else")
    other = 'If-Range: "0123456789abcdef"'
    said = curl.run(device.ticket("https"), "--continue-at", "-", "--output", file, "-H", other)
    assert (said.code, said.status) == (NO_RANGES, 200)
    assert file.read_bytes() == b"something else"


def test_range_by_range_over_one_connection(package: Package, device: FirmwareByHand, curl: Curl) -> None:
    path, step = device.ticket("https"), 2048
    url = curl.command(path)[-1]
    more = [word for at in range(step, 20 * step, step) for word in _next(url, at, at + step - 1)]
    body = curl.folder / "ranges"
    with body.open("wb") as file:
        command = [
            *curl.command(path, "--range", f"0-{step - 1}", "--write-out", "%{stderr}%{num_connects} ")
        ]
        done = subprocess.run(
            [*command, *more], stdout=file, stderr=subprocess.PIPE, timeout=WITHIN_S, check=True
        )
    assert body.read_bytes() == package.content[: 20 * step]
    assert sum(map(int, done.stderr.split())) == 1


def _next(url: str, first: int, last: int) -> list[str]:
    shown = ["--insecure", "--silent", "--http1.1", "--write-out", "%{stderr}%{num_connects} "]
    return ["--next", *shown, "--range", f"{first}-{last}", url]


def test_a_ticket_is_good_for_as_long_as_its_update(
    daemon: Daemon, device: FirmwareByHand, curl: Curl
) -> None:
    path = device.ticket("https")
    said = curl.run(path, "--head")
    assert said.status == 200
    (item,) = daemon.api(f"/updates?endpoint={device.endpoint}")["items"]
    daemon.api(f"/updates/{item['id']}", method="DELETE")
    for gone in (path, "/fw/AAAAAAAAAAAA", "/fw/..%2f..%2fflownexus.db"):
        said = curl.run(gone, "-H", "Accept: text/html")
        assert (said.status, said.json["error"]) == (404, "package_unknown")


def test_an_operator_gets_it_as_a_file(package: Package, curl: Curl) -> None:
    path = f"/api/v1/firmware/{package.id}/package"
    assert curl.run(path).status == 401
    said = curl.run(path, signed_in=True)
    assert (said.status, hashlib.sha256(said.body).hexdigest()) == (200, package.sha256)


# Bringing


def posted(curl: Curl, query: str, *options: str | Path) -> Said:
    kind = () if any("Content-Type" in str(option) for option in options) else _KIND
    return curl.run(f"/api/v1/firmware?{query}", *kind, *options, signed_in=True)


def test_the_largest_package_is_taken_as_it_is(daemon: Daemon, curl: Curl) -> None:
    file = curl.folder / "image"
    content = bytes(range(256)) * 256 * 1024
    assert len(content) == 64 * MIB
    file.write_bytes(content)
    said = posted(curl, "version=3.0.0", "--data-binary", f"@{file}")
    assert (said.code, said.status) == (0, 201)
    assert said.json["sha256"] == hashlib.sha256(content).hexdigest()
    assert said.json["sha256"] in packages_kept(daemon)
    daemon.api(f"/firmware/{said.json['id']}", method="DELETE")
    assert said.json["sha256"] not in packages_kept(daemon)


@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize("chunked", [False, True])
def test_ten_gigabytes_are_refused_and_leave_nothing(
    daemon: Daemon, curl: Curl, expect: str, chunked: bool
) -> None:
    file, before = curl.folder / "huge", packages_kept(daemon)
    with file.open("wb") as sparse:
        sparse.truncate(10 * 10**9)
    how = ["-H", "Transfer-Encoding: chunked"] if chunked else []
    said = posted(curl, "version=3.1.0", "--upload-file", file, "--request", "POST", "-H", expect, *how)
    assert (said.status, said.json["error"]) == (413, "package_too_large")
    until(lambda: packages_kept(daemon) == before, "nothing of it is left")


def test_an_upload_that_is_killed_leaves_nothing(daemon: Daemon, curl: Curl) -> None:
    file, before = curl.folder / "image", packages_kept(daemon)
    file.write_bytes(bytes(SIZE))
    command = curl.command("/api/v1/firmware?version=3.2.0", *_bearer(daemon), *_KIND)
    sending = subprocess.Popen([*command, "--data-binary", f"@{file}", "--limit-rate", "1M"])
    try:
        until(lambda: packages_kept(daemon) != before, "a part of it is there")
    finally:
        sending.kill()
        sending.wait(WITHIN_S)
    until(lambda: packages_kept(daemon) == before, "nothing of it is left")
    assert "3.2.0" not in {one["version"] for one in daemon.api("/firmware")["items"]}


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("version=4", (), 400, "package_empty"),
        ("version=4", ("-H", "Content-Encoding: gzip"), 415, "media_type_unsupported"),
        (
            "version=4",
            ("-H", "Content-Type: application/x-www-form-urlencoded"),
            415,
            "media_type_unsupported",
        ),
        ("", ("--data-binary", "no header"), 400, "version_missing"),
        ("version=4&file_name=..%2Fapp.bin", ("--data-binary", "x"), 400, "file_name_invalid"),
        ("version=4&tag=a,b", ("--data-binary", "x"), 400, "target_invalid"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    daemon: Daemon, curl: Curl, query: str, headers: tuple[str, ...], status: int, code: str
) -> None:
    before = packages_kept(daemon)
    content = () if "--data-binary" in headers else ("--data-binary", "")
    said = posted(curl, query, *content, *headers)
    assert (said.status, said.json["error"]) == (status, code)
    assert said.json["hint"]
    assert packages_kept(daemon) == before


def test_the_live_stream_tells_of_it(daemon: Daemon, package: Package, curl: Curl) -> None:
    """What the daemon publishes has the fields that its description names."""
    streaming = subprocess.Popen(
        curl.command("/api/v1/stream", "--no-buffer", *_bearer(daemon)), stdout=subprocess.PIPE
    )
    assert streaming.stdout is not None
    try:
        events = _events(streaming.stdout)
        assert next(events)[0] == "hello"
        daemon.api(f"/firmware/{package.id}", {"note": "Told of"}, "PATCH")
        with firmware_by_hand(daemon, "https-told") as device:
            asked = give(daemon, device.endpoint, package, "https")
            assert curl.run(device.ticket("https")).status == 200
            told: dict[str, Any] = {}
            changed = False
            while (told.get("id"), told.get("bytes")) != (asked, SIZE):
                name, data = next(events)
                if name in ("firmware", "firmware_update"):
                    msgspec.convert(data, MESSAGES[name])
                    assert data.keys() == {field.name for field in fields(MESSAGES[name])}
                if name == "firmware":
                    assert data == {"id": package.id, "version": package.version, "change": "changed"}
                    changed = True
                elif name == "firmware_update":
                    told = data
            daemon.api(f"/updates/{asked}", method="DELETE")
    finally:
        streaming.kill()
        streaming.wait(WITHIN_S)
        streaming.stdout.close()
    assert changed
    assert (told["version"], told["size"], told["delivery"]) == ("2.0.0", SIZE, "https")


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """The events of a stream: name and data."""
    name = ""
    for line in lines:
        kind, _, rest = line.decode().rstrip("\n").partition(": ")
        if kind == "event":
            name = rest
        elif kind == "data":
            yield name, json.loads(rest)


def _bearer(daemon: Daemon) -> list[str]:
    return [word for pair in daemon.bearer.items() for word in ("-H", ": ".join(pair))]
