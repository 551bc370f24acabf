"""Leshan's API on ports of its own: which side has what, who is let in, and that no socket is left."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path as FilePath

import aiohttp
import pytest
from aiohttp.test_utils import unused_port

from flownexus_appliance.errors import ApplianceError
from flownexus_appliance.http.ports import Sources
from flownexus_appliance.http.server import HttpOptions, HttpServer
from flownexus_appliance.system.config import LeshanConfig

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def config() -> LeshanConfig:
    server, bootstrap = unused_port(), unused_port()
    assert server != bootstrap
    return LeshanConfig(server_port=server, bootstrap_port=bootstrap, anonymous="admin")


@pytest.fixture
async def server(tmp_path: FilePath, sources: Sources, config: LeshanConfig) -> AsyncIterator[HttpServer]:
    server = HttpServer(HttpOptions(tmp_path / "state", port=0, leshan=config), sources)
    await server.start()
    yield server
    await server.stop()


async def status(port: int, path: str, host: str = "", method: str = "GET") -> int:
    headers = {"Host": host} if host else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
        return response.status


async def test_each_side_has_its_own(server: HttpServer, config: LeshanConfig) -> None:
    both = {"/api/security/clients": 200, "/api/server/endpoint": 200, "/api/server/security": 200}
    for path, expected in {**both, "/api/clients": 200, "/api/bootstrap": 404}.items():
        assert await status(config.server_port, path) == expected, path
    for path, expected in {**both, "/api/clients": 404, "/api/bootstrap": 200}.items():
        assert await status(config.bootstrap_port, path) == expected, path


async def test_strangers_may_nothing_unless_they_are_let(
    tmp_path: FilePath, sources: Sources, config: LeshanConfig
) -> None:
    closed = replace(config, anonymous="")
    server = HttpServer(HttpOptions(tmp_path / "state", port=0, leshan=closed), sources)
    await server.start()
    assert await status(config.server_port, "/api/clients") == 401
    assert await status(config.bootstrap_port, "/api/bootstrap") == 401
    await server.stop()
    seeing = replace(config, anonymous="viewer")
    server = HttpServer(HttpOptions(tmp_path / "state", port=0, leshan=seeing), sources)
    await server.start()
    assert await status(config.server_port, "/api/clients") == 200
    assert await status(config.server_port, "/api/clients/x/3/0", method="DELETE") == 403
    await server.stop()


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api/v1/endpoints", "/leshan/api/clients", "/leshan_api/data/x/"]
)
async def test_nothing_else_is_served_there(server: HttpServer, config: LeshanConfig, path: str) -> None:
    assert await status(config.server_port, path) == 404
    assert await status(config.bootstrap_port, path) == 404


async def test_they_are_off_by_default(tmp_path: FilePath, sources: Sources) -> None:
    server = HttpServer(HttpOptions(tmp_path / "state", port=0), sources)
    await server.start()
    assert server._own_ports._runners == []
    await server.stop()


async def test_one_side_alone(tmp_path: FilePath, sources: Sources) -> None:
    port = unused_port()
    options = HttpOptions(
        tmp_path / "state", port=0, leshan=LeshanConfig(bootstrap_port=port, anonymous="admin")
    )
    server = HttpServer(options, sources)
    await server.start()
    assert await status(port, "/api/bootstrap") == 200
    assert len(server._own_ports._runners) == 1
    await server.stop()


async def test_a_port_that_is_taken(tmp_path: FilePath, sources: Sources, config: LeshanConfig) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", config.bootstrap_port))
        taken.listen()
        server = HttpServer(HttpOptions(tmp_path / "state", port=0, leshan=config), sources)
        with pytest.raises(ApplianceError) as caught:
            await server.start()
    assert caught.value.code == "address_unusable"
    assert str(config.bootstrap_port) in caught.value.message
    with socket.socket() as free:  # nothing of the others is left either
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", config.server_port))


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", 200), ("127.0.0.1", 200), ("[::1]:8080", 200), ("elsewhere.example:8080", 421)],
)
async def test_a_browser_led_astray_gets_nothing(
    server: HttpServer, config: LeshanConfig, host: str, expected: int
) -> None:
    assert await status(config.server_port, "/api/clients", host) == expected
    assert await status(config.bootstrap_port, "/api/security/clients/x", host, "DELETE") == expected


async def test_other_machines_call_it_by_a_name_of_its_own(
    tmp_path: FilePath, sources: Sources, config: LeshanConfig, caplog: pytest.LogCaptureFixture
) -> None:
    wide = LeshanConfig("0.0.0.0", config.server_port, anonymous="viewer")
    options = HttpOptions(tmp_path / "state", port=0, leshan=wide, names=("Box.example",))
    server = HttpServer(options, sources)
    await server.start()
    for name in ("192.0.2.7:8080", "box.example", f"{socket.gethostname()}.local"):
        assert await status(config.server_port, "/api/clients", name) == 200, name
    assert await status(config.server_port, "/api/clients", "elsewhere.example") == 421
    await server.stop()
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warnings == ["Leshan's API is open to other machines, unencrypted"]


async def test_streams_end_with_the_server(
    tmp_path: FilePath, sources: Sources, config: LeshanConfig
) -> None:
    server = HttpServer(HttpOptions(tmp_path / "state", port=0, leshan=config), sources)
    await server.start()
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{config.server_port}/api/event"
        async with session.get(url, headers=STREAM) as response:
            assert await response.content.readline() == b"\r\n"
            await server.stop()
            assert await response.content.read() == b""
    assert [task.get_name() for task in asyncio.all_tasks() if "leshan" in task.get_name()] == []
