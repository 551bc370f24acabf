"""A device fetches a package by HTTP, from a real server that breaks connections and knows ranges, or not."""

import asyncio
import datetime
import hashlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.firmware import DeviceState, Protocol, UpdateResult
from flownexus_appliance.sim.download import parse_uri
from flownexus_appliance.sim.firmware_options import FirmwareOptions, Outcome
from flownexus_appliance.sim.package import Intake, make_package
from flownexus_appliance.sim.port import Workers
from flownexus_appliance.sim.web import WebDownload, trusted

from .firmware_peer import updatable

PACKAGE = make_package("2.0.0", 200_000)
SHA256 = hashlib.sha256(PACKAGE).hexdigest()
QUICK = FirmwareOptions(https_wait_s=0.0)


class Depot(HTTPServer):
    """Hands out a package; `asked` are the Range headers that came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.package = PACKAGE
        self.etag = '"one"'
        self.ranges = True  # else all of it is sent each time
        self.break_at: list[int] = []  # after how many bytes each connection breaks
        self.statuses: list[int] = []  # of the answers, 200 and 206 when there is none left
        self.asked: list[str | None] = []
        self.sent = threading.Event()  # the last byte before a break has gone
        self.hold = threading.Event()  # a connection that is to break waits for it

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what these tests are about."""


class Handler(BaseHTTPRequestHandler):
    server: Depot

    def do_GET(self) -> None:
        depot = self.server
        asked = self.headers.get("Range")
        depot.asked.append(asked)
        if depot.statuses:
            self.send_response(depot.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if asked and depot.ranges and self.headers.get("If-Range", depot.etag) == depot.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(depot.package) - 1}/{len(depot.package)}")
        else:
            self.send_response(200)
        self.send_header("ETag", depot.etag)
        self.send_header("Content-Length", str(len(depot.package) - start))
        self.end_headers()
        stop = depot.break_at.pop(0) if depot.break_at else len(depot.package)
        self.wfile.write(depot.package[start : start + stop])
        if stop < len(depot.package) - start:
            depot.sent.set()
            depot.hold.wait(10)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Nobody reads it."""


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Depot]:
    depot = Depot()
    depot.hold.set()
    if context is not None:
        depot.socket = context.wrap_socket(depot.socket, server_side=True)
    thread = threading.Thread(target=depot.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield depot
    finally:
        depot.shutdown()
        thread.join()
        depot.server_close()


@pytest.fixture
def depot() -> Iterator[Depot]:
    with serving() as found:
        yield found


def fetch(
    depot: Depot, options: FirmwareOptions = QUICK, intake: Intake | None = None, scheme: str = "http"
) -> tuple[UpdateResult | None, Intake]:
    intake = intake or Intake(1 << 20)
    place = parse_uri(f"{scheme}://127.0.0.1:{depot.server_port}/fw/abc?d=1")
    return WebDownload(options, place, intake).run(), intake


def test_a_package_is_fetched(depot: Depot) -> None:
    result, intake = fetch(depot)
    assert (result, intake.received, intake.sha256) == (None, len(PACKAGE), SHA256)
    assert (intake.version, depot.asked) == ("2.0.0", [None])


def test_a_broken_connection_is_taken_up_where_it_was(depot: Depot) -> None:
    depot.break_at = [50_000, 70_001]
    result, intake = fetch(depot)
    assert (result, intake.sha256) == (None, SHA256)
    assert depot.asked == [None, "bytes=50000-", "bytes=120001-"]


def test_without_ranges_it_begins_anew(depot: Depot) -> None:
    depot.break_at, depot.ranges = [50_000], False
    result, intake = fetch(depot)
    assert (result, intake.sha256, intake.received) == (None, SHA256, len(PACKAGE))


def test_another_package_meanwhile_begins_anew(depot: Depot) -> None:
    depot.break_at = [50_000]
    depot.hold.clear()
    results: list[UpdateResult | None] = []
    intake = Intake(1 << 20)
    thread = threading.Thread(target=lambda: results.append(fetch(depot, intake=intake)[0]))
    thread.start()
    assert depot.sent.wait(10)
    depot.package, depot.etag = make_package("2.1.0", 90_000), '"two"'
    depot.hold.set()
    thread.join()
    assert (results, intake.version, intake.received) == ([None], "2.1.0", 90_000)


def test_a_connection_that_breaks_all_the_time_is_given_up(depot: Depot) -> None:
    depot.break_at = [1000] * 10
    result, _ = fetch(depot, FirmwareOptions(https_wait_s=0.0, https_tries=3))
    assert (result, len(depot.asked)) == (UpdateResult.CONNECTION_LOST, 4)


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        place = parse_uri(f"http://127.0.0.1:{taken.getsockname()[1]}/fw")
        download = WebDownload(FirmwareOptions(https_wait_s=0.0, https_tries=1), place, Intake(1000))
        assert download.run() is UpdateResult.CONNECTION_LOST


@pytest.mark.parametrize("status", [403, 404, 410, 301])
def test_a_server_that_does_not_have_it(depot: Depot, status: int) -> None:
    depot.statuses = [status]
    assert fetch(depot)[0] is UpdateResult.INVALID_URI
    assert len(depot.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(depot: Depot, status: int) -> None:
    depot.statuses = [status, status]
    assert fetch(depot)[0] is None
    assert len(depot.asked) == 3


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (Outcome.NO_STORAGE, UpdateResult.NO_STORAGE),
        (Outcome.NO_MEMORY, UpdateResult.NO_MEMORY),
        (Outcome.CONNECTION_LOST, UpdateResult.CONNECTION_LOST),
        (Outcome.INTEGRITY_FAILED, UpdateResult.INTEGRITY_FAILED),
    ],
)
def test_failures_that_were_asked_for(depot: Depot, outcome: Outcome, result: UpdateResult) -> None:
    assert fetch(depot, intake=Intake(1 << 20, outcome))[0] is result
    assert len(depot.asked) == 1


def test_a_package_that_does_not_fit(depot: Depot) -> None:
    result, intake = fetch(depot, intake=Intake(100_000))
    assert (result, intake.received) == (UpdateResult.NO_STORAGE, 0)


def test_a_stalled_download_ends_without_a_word(depot: Depot) -> None:
    result, intake = fetch(depot, intake=Intake(1 << 20, Outcome.STALL))
    assert (result, intake.stalled) == (None, True)
    assert intake.received < len(PACKAGE)


def test_an_aborted_download_lets_go_at_once(depot: Depot) -> None:
    depot.break_at = [1000]
    depot.hold.clear()
    place = parse_uri(f"http://127.0.0.1:{depot.server_port}/fw")
    download = WebDownload(FirmwareOptions(https_wait_s=3600.0), place, Intake(1 << 20))
    results: list[UpdateResult | None] = []
    thread = threading.Thread(target=lambda: results.append(download.run()))
    thread.start()
    assert depot.sent.wait(10)
    download.abort()
    thread.join()
    depot.hold.set()
    assert results == [UpdateResult.CONNECTION_LOST]
    assert download.run() is UpdateResult.CONNECTION_LOST
    assert len(depot.asked) == 1


# TLS


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "depot")])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "depot.crt", folder / "depot.key"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def test_a_server_is_verified_if_that_is_wished(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    files, foreign = certificate(own), certificate(other)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    with serving(context) as depot:
        assert fetch(depot, scheme="https")[0] is None
        known = FirmwareOptions(https_wait_s=0.0, https_ca=str(files[0]))
        assert fetch(depot, known, scheme="https")[0] is None
        strict = FirmwareOptions(https_wait_s=3600.0, https_ca=str(foreign[0]))
        assert fetch(depot, strict, scheme="https")[0] is UpdateResult.CONNECTION_LOST


@pytest.mark.parametrize("content", [None, "no certificates"])
def test_a_file_without_certificates(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, "utf-8")
    with pytest.raises(UsageError, match=r"ca\.pem") as caught:
        trusted(str(file))
    assert caught.value.code == "credential_unusable"


# The device, and the threads of a fleet


def test_a_device_has_it_fetched_beside_itself(depot: Depot) -> None:
    peer = updatable(FirmwareOptions(pull=(Protocol.HTTP,), https_wait_s=0.0))
    peer.offer(f"http://127.0.0.1:{depot.server_port}/fw/abc")
    assert peer.standing() == (DeviceState.DOWNLOADING, UpdateResult.INITIAL)
    ((work, done),) = peer.jobs
    done(work(), peer.now)
    assert peer.standing() == (DeviceState.DOWNLOADED, UpdateResult.INITIAL)
    assert peer.device.firmware.fetched == ((len(PACKAGE), SHA256),)


def test_what_comes_too_late_is_of_no_use(depot: Depot) -> None:
    peer = updatable(FirmwareOptions(pull=(Protocol.HTTP,), https_wait_s=0.0))
    peer.offer(f"http://127.0.0.1:{depot.server_port}/fw/abc")
    ((work, done),) = peer.jobs
    peer.write("/5/0/1", "")
    done(work(), peer.now)
    assert peer.standing() == (DeviceState.IDLE, UpdateResult.INITIAL)


async def test_so_many_fetch_at_a_time_and_no_more() -> None:
    workers = Workers(2)
    running: list[int] = []
    most: list[int] = []
    begun, go = threading.Semaphore(0), threading.Event()

    def work() -> UpdateResult | None:
        running.append(1)
        most.append(len(running))
        begun.release()
        go.wait(10)
        running.pop()
        return None

    futures = [workers.begin(work) for _ in range(5)]
    await asyncio.to_thread(begun.acquire)
    await asyncio.to_thread(begun.acquire)
    go.set()
    assert await asyncio.gather(*futures) == [None] * 5
    assert max(most) == 2
    await workers.close()


async def test_without_a_download_there_is_no_thread() -> None:
    before = threading.active_count()
    workers = Workers(8)
    await workers.close()
    assert threading.active_count() == before
