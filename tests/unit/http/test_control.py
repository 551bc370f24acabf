"""The control socket: for its owner alone, one daemon at a time, gone with the server."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path as FilePath

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.errors import ApplianceError, UsageError
from flownexus_appliance.http import guard
from flownexus_appliance.http.control import open_control, remove_control
from flownexus_appliance.http.ports import Parts, Sources
from flownexus_appliance.http.routes import page
from flownexus_appliance.http.server import HttpOptions, HttpServer, build_app

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


def left_behind(path: FilePath) -> None:
    """A socket that nobody listens at any more, as a killed daemon leaves it."""
    path.parent.mkdir(exist_ok=True)
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))


async def status_over(path: FilePath) -> int:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://box/api/v1/status") as response,
    ):
        return response.status


@pytest.mark.usefixtures("server")
async def test_it_serves_the_api_to_its_owner_alone(options: HttpOptions) -> None:
    assert stat.S_IMODE(options.control.stat().st_mode) == 0o600
    assert await status_over(options.control) == 200


async def test_the_umask_is_as_it_was(tmp_path: FilePath) -> None:
    before = os.umask(0o022)
    try:
        open_control(tmp_path / "control.sock").close()
        with pytest.raises(ApplianceError):
            open_control(tmp_path / "none" / "control.sock")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


async def test_it_goes_with_the_server(server: HttpServer, options: HttpOptions) -> None:
    await server.stop()
    assert not options.control.exists()
    await server.start()
    assert await status_over(options.control) == 200


async def test_one_that_was_left_behind_is_replaced(options: HttpOptions, sources: Sources) -> None:
    left_behind(options.control)
    server = HttpServer(options, sources)
    await server.start()
    try:
        assert stat.S_IMODE(options.control.stat().st_mode) == 0o600
        assert await status_over(options.control) == 200
    finally:
        await server.stop()


@pytest.mark.usefixtures("server")
async def test_two_daemons_do_not_share_one(options: HttpOptions, sources: Sources) -> None:
    second = HttpServer(options, sources)
    with pytest.raises(UsageError) as caught:
        await second.start()
    assert caught.value.code == "control_in_use"
    assert str(options.control) in caught.value.message
    assert caught.value.hint
    assert second._runner is None  # its HTTPS port is closed again
    assert await status_over(options.control) == 200


def test_one_that_is_too_busy_to_answer_is_left_alone(tmp_path: FilePath) -> None:
    path = tmp_path / "control.sock"
    with closing(socket.socket(socket.AF_UNIX)) as busy, closing(socket.socket(socket.AF_UNIX)) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))  # its queue is full with this
        with pytest.raises(UsageError) as caught:
            open_control(path)
    assert caught.value.code == "control_in_use"
    assert path.exists()


def test_a_file_of_that_name_is_not_removed(tmp_path: FilePath) -> None:
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(ApplianceError) as caught:
        open_control(path)
    assert caught.value.code == "control_unusable"
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_told(tmp_path: FilePath) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(ApplianceError) as caught:
        open_control(folder / "control.sock")
    assert caught.value.code == "control_unusable"
    assert "107" in caught.value.hint


def test_the_socket_of_the_next_daemon_stays(tmp_path: FilePath) -> None:
    path = tmp_path / "control.sock"
    left_behind(path)
    made = path.lstat()
    path.rename(tmp_path / "elsewhere")  # so that its number cannot be given again
    left_behind(path)
    remove_control(path, made)
    assert path.exists()
    remove_control(path, path.lstat())
    assert not path.exists()
    remove_control(path, made)


async def test_a_request_says_who_asks(parts: Parts, tmp_path: FilePath) -> None:
    async def who(request: web.Request) -> web.Response:
        return web.Response(text=request[guard.BY])

    app = build_app(parts)
    guard.serve(app, [page("/who", who)])
    async with TestClient(TestServer(app)) as client:
        async with client.get("/who", headers=BEARER[Role.VIEWER]) as response:
            assert await response.text() == "vera/script"
        assert client.server.runner is not None
        bound = open_control(tmp_path / "control.sock")
        await web.SockSite(client.server.runner, bound).start()
        connector = aiohttp.UnixConnector(str(tmp_path / "control.sock"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get("http://box/who") as response,
        ):
            assert await response.text() == "console"
    await asyncio.sleep(0)


async def test_a_listener_does_not_hold_up_the_stop(server: HttpServer, options: HttpOptions) -> None:
    connector = aiohttp.UnixConnector(str(options.control))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get("http://box/api/v1/stream") as response,
    ):
        await response.content.readuntil(b"\n\n")
        async with asyncio.timeout(5):
            await server.stop()
        await response.content.read()
