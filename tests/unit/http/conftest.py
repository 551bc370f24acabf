"""The web side over a filled database, reached by real HTTP on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from flownexus_appliance.db.reads import Reader
from flownexus_appliance.events import EventBus
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import build_app
from flownexus_appliance.http.static import Assets
from flownexus_appliance.http.stream import Hub
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registry import load_registry

from .house import IDENTITY, NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet, curve, fill

Client = TestClient[Request, Application]


@pytest.fixture(scope="session")
def models() -> ModelSet:
    return load_registry()


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet(
        states={SENSOR: "online", SLEEPER: "sleeping", STRANGE: "online", QUIET: "offline"},
        heard={SENSOR: NOW_MS - 12_000},
        watched=frozenset({Path.of(3303, 0, 5700), Path.of(3, 0)}),
    )


@pytest.fixture
async def reader(tmp_path: FilePath, models: ModelSet) -> AsyncIterator[Reader]:
    """Four devices; SENSOR has a day of temperatures, one a minute."""
    path = tmp_path / "flownexus.db"
    devices = {
        SENSOR: (*IDENTITY, *curve("/3303/0/5700", 1440, 60_000)),
        SLEEPER: curve("/3303/0/5700", 3, 60_000),
        STRANGE: curve("/3303/0/5700", 3, 60_000),
        QUIET: (),
    }
    await fill(
        path,
        models,
        devices,
        registered=[SENSOR, SLEEPER, STRANGE],
        asleep=[SLEEPER],
        labels={SENSOR: "Greenhouse"},
    )
    reader = Reader(path)
    await reader.start()
    yield reader
    await reader.stop()


@pytest.fixture
def parts(reader: Reader, fleet: FakeFleet, bus: EventBus, models: ModelSet) -> Parts:
    hub = Hub(bus, fleet.counts)
    return Parts(reader, fleet, models, hub, Assets(), ("coap://127.0.0.1:5683",), lambda: NOW_MS)


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(parts))) as client:
        yield client
