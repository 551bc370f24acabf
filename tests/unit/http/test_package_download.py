"""Packages on their way out: by the ticket alone, whole or a range, and told how far they have got."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from typing import Any, cast
from unittest.mock import Mock

import pytest
from aiohttp import ClientPayloadError, TCPConnector, web
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http import package_download
from flownexus_appliance.http.answers import SECURITY_HEADERS
from flownexus_appliance.http.package_download import PIECE_BYTES, READERS, UNSENT_BYTES, _stream
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.ports_firmware import FirmwareFacts
from flownexus_appliance.http.server import build_app
from tests.peer import until

from .conftest import Client
from .firmware_box import FakeFirmwareBox, FakePackage
from .people import BEARER
from .test_front_door import contexts as contexts
from .test_uploads import Served

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
DEADLINE_S = 20.0
TICKET = "aB3_-xyz0129"
CONTENT = bytes(number * 7 % 256 for number in range(3 * PIECE_BYTES + 100))
SIZE = len(CONTENT)


@pytest.fixture
def package(firmware: FakeFirmwareBox) -> FakePackage:
    served = firmware.packages.served[TICKET] = FakePackage(CONTENT)
    return served


@pytest.fixture
async def stranger(parts: Parts, package: FakePackage) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(parts))) as client:
        yield client


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when somebody's connection is broken off."""
    happened = asyncio.Event()
    broken_off = package_download._broken_off

    def noticed(request: web.Request, why: str) -> ConnectionError:
        happened.set()
        return broken_off(request, why)

    monkeypatch.setattr(package_download, "_broken_off", noticed)
    return happened


async def fetched(client: Client, method: str = "GET", path: str = f"/fw/{TICKET}", **headers: str) -> Any:
    """Status, headers and body."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with client.request(method, path, headers=named, allow_redirects=False) as response:
        return response.status, response.headers, await response.read()


async def test_a_device_gets_the_whole_and_little_beside_it(stranger: Client, package: FakePackage) -> None:
    status, headers, body = await fetched(stranger, Accept_Encoding="gzip, deflate, br")
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Length"] == str(SIZE)
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["ETag"] == f'"{package.etag.hex()}"'
    assert headers["Cache-Control"] == "no-store"
    assert not set(headers) & {*SECURITY_HEADERS, "Set-Cookie", "Content-Encoding", "Server", "Location"}
    assert package.told == [PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES, SIZE]


async def test_a_look_at_the_head_fetches_nothing(stranger: Client, package: FakePackage) -> None:
    status, headers, body = await fetched(stranger, "HEAD", Range="bytes=0-9")
    assert (status, headers["Content-Length"], body) == (200, str(SIZE), b"")
    assert package.told == []


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-1023", 0, 1023),
        ("bytes=1000-", 1000, SIZE - 1),
        (f"bytes=5-{SIZE + 99}", 5, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=-10", SIZE - 10, SIZE - 1),
        (f"bytes=-{SIZE + 1}", 0, SIZE - 1),
        ("bytes = 3 - 4", 3, 4),
    ],
)
async def test_a_range(stranger: Client, package: FakePackage, asked: str, first: int, last: int) -> None:
    status, headers, body = await fetched(stranger, Range=asked)
    assert status == 206
    assert headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert headers["Content-Length"] == str(last - first + 1)
    assert body == CONTENT[first : last + 1]
    assert package.told[-1] == last + 1


@pytest.mark.parametrize(
    "asked",
    ["bytes=9-3", "bytes=0-1,5-6", "bytes=", "bytes=-", "bytes=a-b", "octets=0-5", "0-5", "bytes=0x1-2"],
)
async def test_what_is_no_single_range_is_as_if_nobody_had_asked(stranger: Client, asked: str) -> None:
    status, headers, body = await fetched(stranger, Range=asked)
    assert (status, body == CONTENT) == (200, True)
    assert "Content-Range" not in headers


@pytest.mark.parametrize("asked", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0"])
async def test_a_range_beyond_the_end(stranger: Client, package: FakePackage, asked: str) -> None:
    status, headers, body = await fetched(stranger, Range=asked)
    assert (status, headers["Content-Range"]) == (416, f"bytes */{SIZE}")
    assert b"range_unsatisfiable" in body
    assert package.told == []


async def test_who_has_the_beginning_of_another_package_gets_this_one_whole(
    stranger: Client, package: FakePackage
) -> None:
    tag = f'"{package.etag.hex()}"'
    assert (await fetched(stranger, Range="bytes=5-9", If_Range=tag))[0] == 206
    for other in ('"0123456789abcdef"', f"W/{tag}", "Sat, 01 Jan 2028 00:00:00 GMT", package.etag.hex()):
        status, _, body = await fetched(stranger, Range="bytes=5-9", If_Range=other)
        assert (status, body == CONTENT) == (200, True)


async def test_who_wants_that_one_package_alone(stranger: Client, package: FakePackage) -> None:
    tag = f'"{package.etag.hex()}"'
    for good in (tag, "*", f'"other", {tag}'):
        assert (await fetched(stranger, If_Match=good))[0] == 200
    status, _, body = await fetched(stranger, If_Match='"other"')
    assert (status, b"etag_differs" in body) == (412, True)


@pytest.mark.parametrize("path", ["/fw/no-such-one", "/fw/..%2F..%2Fetc%2Fpasswd", f"/fw/{TICKET[:-1]}"])
async def test_nobody_is_told_why_there_is_none_or_led_elsewhere(stranger: Client, path: str) -> None:
    status, headers, body = await fetched(stranger, path=path, Accept="text/html", Accept_Language="de")
    assert (status, headers["Content-Type"]) == (404, "application/json")
    assert b'"package_unknown"' in body
    assert "Location" not in headers


async def test_a_file_that_is_gone_is_an_error(stranger: Client, package: FakePackage) -> None:
    package.lasts = 0
    status, _, body = await fetched(stranger)
    assert (status, b"package_missing" in body) == (503, True)
    assert package.told == []


@pytest.mark.parametrize("fault", ["gone", "shorter"])
async def test_a_file_that_fails_meanwhile_ends_in_a_broken_connection(
    stranger: Client, package: FakePackage, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    if fault == "gone":
        package.lasts = PIECE_BYTES
    else:
        package.content, package.claimed = CONTENT[: PIECE_BYTES + 100], SIZE
    with caplog.at_level(logging.INFO):
        async with stranger.get(f"/fw/{TICKET}") as response:
            assert response.headers["Content-Length"] == str(SIZE)
            with pytest.raises(ClientPayloadError):
                await response.read()
    assert package.told == [PIECE_BYTES]
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "package broken off"
    ]


async def test_who_breaks_off_leaves_no_word_in_the_log(
    parts: Parts, package: FakePackage, caplog: pytest.LogCaptureFixture, ended: asyncio.Event
) -> None:
    package.content = bytes(8 * 1024 * 1024)  # more than any buffer on the way takes
    with caplog.at_level(logging.INFO):
        async with TestClient(Served(build_app(parts))) as client:
            reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
            writer.write(f"GET /fw/{TICKET} HTTP/1.1\r\nHost: box\r\n\r\n".encode())
            await reader.readexactly(1000)
            writer.transport.abort()
            async with asyncio.timeout(DEADLINE_S):
                await ended.wait()
    assert package.told
    assert package.told[-1] < package.size
    assert [record for record in caplog.records if record.name.startswith(("flownexus", "aiohttp"))] == []


async def test_who_does_not_read_is_dropped(
    stranger: Client, package: FakePackage, ended: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_download, "WRITE_TIMEOUT_S", 0.05)
    package.content = bytes(32 * 1024 * 1024)
    _, writer = await asyncio.open_connection("127.0.0.1", stranger.server.port, limit=1000)
    writer.write(f"GET /fw/{TICKET} HTTP/1.1\r\nHost: box\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE_S):
        await ended.wait()
    writer.close()
    assert package.told[-1] < package.size


async def test_little_is_taken_for_a_device_before_it_reads(
    parts: Parts, package: FakePackage, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio holds half a megabyte of a TLS connection: at 6 kB a second that lasts longer than a reader may
    stall, though it reads all the time."""
    app, most = build_app(parts), 0

    def fetched_to(_: FakePackage, __: int) -> None:
        nonlocal most
        for transport in app[READERS]:
            most = max(most, transport.get_write_buffer_limits()[1])

    monkeypatch.setattr(FakePackage, "fetched", fetched_to)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=contexts[0])
    async with TestClient(server, connector=TCPConnector(ssl=contexts[1])) as client:
        status, _, body = await fetched(client)
    assert (status, body) == (200, CONTENT)
    assert 0 < most <= UNSENT_BYTES


async def test_a_box_that_stops_waits_for_no_reader(parts: Parts, package: FakePackage) -> None:
    package.content = bytes(32 * 1024 * 1024)
    app = build_app(parts)
    async with TestServer(app) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1000)
        writer.write(f"GET /fw/{TICKET} HTTP/1.1\r\nHost: box\r\n\r\n".encode())
        try:
            await until(lambda: bool(app[READERS]))
            await app.shutdown()
            # A reader that stalls has a minute, else, which is longer than this waits.
            await until(lambda: not app[READERS])
        finally:
            writer.close()
    assert package.told[-1] < package.size


class Ready:
    """An answer that takes what comes without a pause, over a connection that lasts for so many pieces."""

    def __init__(self, lasts: int) -> None:
        self.transport: Mock | None = Mock()
        self._lasts = lasts

    async def write(self, _: bytes) -> None:
        self._lasts -= 1
        if self._lasts < 0:
            self.transport = None


async def stream(ready: Ready, package: FakePackage) -> None:
    first = package.read(0, PIECE_BYTES)
    # It is asked for its connection as a request is.
    await _stream(cast(Any, ready), cast(Any, ready), package, range(SIZE), first, package.fetched)


async def test_others_have_their_turn_between_the_pieces() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    package = FakePackage(CONTENT)
    others = asyncio.create_task(turn())
    await stream(Ready(100), package)
    others.cancel()
    assert package.told[-1] == SIZE
    assert turns >= len(package.told)


async def test_what_goes_into_a_lost_connection_is_not_fetched() -> None:
    package = FakePackage(CONTENT)
    with pytest.raises(ConnectionResetError):
        await stream(Ready(2), package)
    assert package.told == [PIECE_BYTES, 2 * PIECE_BYTES]


async def test_one_connection_serves_one_range_after_the_other(
    stranger: Client, package: FakePackage
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stranger.server.port)
    got = b""
    while len(got) < 5000:
        asked = f"Range: bytes={len(got)}-{len(got) + 999}\r\n"
        writer.write(f"GET /fw/{TICKET} HTTP/1.1\r\nHost: box\r\n{asked}\r\n".encode())
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 206 ")
            assert len(head) < 400
            got += await reader.readexactly(1000)
    writer.close()
    assert got == CONTENT[:5000]
    assert package.told == [1000, 2000, 3000, 4000, 5000]


# By the API


async def kept(box: FakeFirmwareBox, name: str) -> int:
    async with box.upload() as upload:
        await upload.write(CONTENT[:1000])
        return (await box.add(upload, FirmwareFacts("1.5.0", name), "otto")).id


async def test_people_get_it_by_its_id_as_a_file(client: Client, firmware: FakeFirmwareBox) -> None:
    number = await kept(firmware, 'zürich "1".bin')
    status, headers, body = await fetched(client, path=f"/api/v1/firmware/{number}/package")
    assert (status, body) == (200, CONTENT[:1000])
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''z%C3%BCrich%20%221%22.bin"
    assert headers["ETag"] == f'"{firmware.rows[number].sha256.hex()}"'
    assert set(SECURITY_HEADERS) <= set(headers)
    status, _, body = await fetched(client, path=f"/api/v1/firmware/{number}/package", Range="bytes=990-")
    assert (status, body) == (206, CONTENT[990:1000])


async def test_a_viewer_does_not(stranger: Client, firmware: FakeFirmwareBox) -> None:
    number = await kept(firmware, "app.bin")
    path = f"/api/v1/firmware/{number}/package"
    assert (await fetched(stranger, path=path, **BEARER[Role.VIEWER]))[0] == 403
    assert (await fetched(stranger, path=path, **BEARER[Role.OPERATOR]))[0] == 200
