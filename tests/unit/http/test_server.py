"""The server with its sockets: HTTPS, start and stop, what cannot be started."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import aiohttp
import pytest

from flownexus_appliance.access.roles import Role
from flownexus_appliance.errors import ApplianceError
from flownexus_appliance.http.ports import Sources
from flownexus_appliance.http.server import HttpOptions, HttpServer, tls_context

from .house import NOW_MS
from .people import BEARER


@pytest.fixture
def options(tmp_path: FilePath) -> HttpOptions:
    return HttpOptions(tmp_path / "state", port=0)


@pytest.fixture
async def server(options: HttpOptions, sources: Sources) -> AsyncIterator[HttpServer]:
    server = HttpServer(options, sources)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def session(options: HttpOptions, server: HttpServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that trusts the box's certificate and nothing else."""
    context = ssl.create_default_context(cafile=options.certificate)
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector, headers=BEARER[Role.ADMIN]) as session:
        yield session


async def test_it_serves_by_https_under_its_own_certificate(
    server: HttpServer, session: aiohttp.ClientSession
) -> None:
    assert server.url == f"https://127.0.0.1:{server.port}/"
    for host in ("127.0.0.1", "localhost"):
        async with session.get(f"https://{host}:{server.port}/healthz") as response:
            assert response.status == 200


def test_old_tls_is_refused(options: HttpOptions) -> None:
    options.state.mkdir()
    context = tls_context(options, NOW_MS)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


async def test_plain_http_gets_nothing(server: HttpServer) -> None:
    # In debug mode alone, asyncio tells the loop's exception handler of every broken handshake.
    asyncio.get_running_loop().set_debug(False)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        assert b"HTTP" not in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_packed_request_is_not_unpacked(server: HttpServer, session: aiohttp.ClientSession) -> None:
    packed = gzip.compress(b"name=" + b"x" * 30_000_000)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-www-form-urlencoded"}
    async with session.post(f"{server.url}sign-in", data=packed, headers=headers) as response:
        # Unpacked it would be too large, which is 413.
        assert (response.status, (await response.json())["error"]) == (400, "body_invalid")


async def test_a_port_in_use_is_told(server: HttpServer, options: HttpOptions, sources: Sources) -> None:
    second = HttpServer(HttpOptions(options.state, port=server.port), sources)
    with pytest.raises(ApplianceError) as caught:
        await second.start()
    assert caught.value.code == "address_unusable"
    assert str(server.port) in caught.value.message
    assert caught.value.hint


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: FilePath, sources: Sources) -> None:
    (tmp_path / "file").write_text("in the way")
    server = HttpServer(HttpOptions(tmp_path / "file", port=0), sources)
    with pytest.raises(ApplianceError) as caught:
        await server.start()
    assert caught.value.code == "certificate_unusable"


async def test_a_browser_that_listens_does_not_hold_up_the_stop(
    server: HttpServer, session: aiohttp.ClientSession
) -> None:
    async with session.get(f"{server.url}api/v1/stream") as response:
        await response.content.readuntil(b"\n\n")
        async with asyncio.timeout(1.5):
            await server.stop()
        await response.content.read()


async def test_it_starts_again_after_a_stop(server: HttpServer, session: aiohttp.ClientSession) -> None:
    await server.stop()
    await server.start()
    async with session.get(f"{server.url}healthz") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("host", "url"),
    [("::1", "https://[::1]:8443/"), ("::", "https://localhost:8443/")],
)
def test_the_address_to_open(tmp_path: FilePath, sources: Sources, host: str, url: str) -> None:
    assert HttpServer(HttpOptions(tmp_path, host=host), sources).url == url
