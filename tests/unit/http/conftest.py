"""The web side over a filled database, reached by real HTTP on loopback."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from flownexus_appliance.access.roles import Role
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.events import EventBus
from flownexus_appliance.http.ports import Parts, Sources
from flownexus_appliance.http.server import build_app, join
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registry import load_registry

from .firmware_box import FakeFirmwareBox, stock
from .house import (
    IDENTITY,
    NOW_MS,
    QUIET,
    SENSOR,
    SLEEPER,
    STRANGE,
    FakeFleet,
    FakeModels,
    FakeOperations,
    curve,
    fill,
)
from .people import BEARER, FakeAccess
from .trust import FakeBootstrap, FakeCertificates, FakeCredentials, make_sources

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
def sources(reader: Reader, fleet: FakeFleet, bus: EventBus, models: ModelSet, tmp_path: FilePath) -> Sources:
    return make_sources(reader, fleet, bus, models, tmp_path)


@pytest.fixture
def operations(sources: Sources) -> FakeOperations:
    assert isinstance(sources.operations, FakeOperations)
    return sources.operations


@pytest.fixture
def access(sources: Sources) -> FakeAccess:
    assert isinstance(sources.access, FakeAccess)
    return sources.access


@pytest.fixture
def uploads(sources: Sources) -> FakeModels:
    assert isinstance(sources.models, FakeModels)
    return sources.models


@pytest.fixture
def credentials(sources: Sources) -> FakeCredentials:
    assert isinstance(sources.credentials, FakeCredentials)
    return sources.credentials


@pytest.fixture
def certificates(sources: Sources) -> FakeCertificates:
    assert isinstance(sources.certificates, FakeCertificates)
    return sources.certificates


@pytest.fixture
def bootstrap(sources: Sources) -> FakeBootstrap:
    assert isinstance(sources.bootstrap, FakeBootstrap)
    return sources.bootstrap


@pytest.fixture
def firmware(sources: Sources) -> FakeFirmwareBox:
    """Without a package."""
    assert isinstance(sources.firmware, FakeFirmwareBox)
    return sources.firmware


@pytest.fixture
async def stocked(firmware: FakeFirmwareBox) -> FakeFirmwareBox:
    """With the packages, updates and campaigns of `stock`."""
    await stock(firmware)
    return firmware


@pytest.fixture
def parts(sources: Sources) -> Parts:
    return join(sources, ("coap://127.0.0.1:5683",), lambda: NOW_MS)


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(parts)), headers=BEARER[Role.ADMIN]) as client:
        yield client
