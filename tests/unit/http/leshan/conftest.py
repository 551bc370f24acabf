"""Leshan's API over the house of tests/unit/http, with the application's own errors and bounds around it."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.db.reads import Reader
from flownexus_appliance.http import control, errors
from flownexus_appliance.http.answers import MAX_BODY_BYTES
from flownexus_appliance.http.leshan.routes import routes
from flownexus_appliance.http.ports import PARTS, Parts
from flownexus_appliance.http.server import refuse_cross_site
from flownexus_appliance.lwm2m.model import ModelSet

from ..house import QUIET, SENSOR, SLEEPER, STRANGE, fill

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
    app = web.Application(
        middlewares=[errors.answer_errors, control.note_who_asks, refuse_cross_site],
        client_max_size=MAX_BODY_BYTES,
    )
    app[PARTS] = parts
    app.add_routes(routes(BASE))
    async with TestClient(TestServer(app)) as client:
        yield client
