"""One side of Leshan's API by itself, at /api, as on a port of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http.leshan.events import Events
from flownexus_appliance.http.leshan.routes import set_up_alone
from flownexus_appliance.http.leshan.sides import Side
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import bare_app

from ..conftest import Client
from ..people import BEARER


@asynccontextmanager
async def alone(parts: Parts, side: Side) -> AsyncIterator[Client]:
    """A client of it; closes it with its streams."""
    app, events = bare_app(parts), Events(parts)
    set_up_alone(app, events, side)
    async with TestClient(TestServer(app), headers=BEARER[Role.ADMIN]) as client:
        yield client
    await events.stop()
