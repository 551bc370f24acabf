"""Leshan's API over the house of tests/unit/http, with the application's own errors and bounds around it."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.http import guard
from flownexus_appliance.http.leshan.routes import routes
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import bare_app
from flownexus_appliance.lwm2m.model import ModelSet

from ..house import QUIET, SENSOR, SLEEPER, STRANGE, fill
from ..people import BEARER

BASE = "/leshan/api"
Rest = TestClient[web.Request, web.Application]


@pytest.fixture
async def reader(tmp_path: FilePath, models: ModelSet) -> AsyncIterator[Reader]:
    """The devices of the house, without the values that nobody reads here."""
    path = tmp_path / "flownexus.db"
    names = SENSOR, SLEEPER, STRANGE, QUIET
    await fill(path, models, dict.fromkeys(names, ()), registered=names[:3], asleep=[SLEEPER])
    reader = Reader(path)
    await reader.start()
    yield reader
    await reader.stop()


@pytest.fixture
async def rest(parts: Parts) -> AsyncIterator[Rest]:
    app = bare_app(parts)
    guard.serve(app, routes(BASE))
    async with TestClient(TestServer(app), headers=BEARER[Role.ADMIN]) as client:
        yield client
