"""The pages in a real browser, against the real server over a filled database.

Needs Debian's package `chromium` (it brings all it needs; no driver, no font package). Where it is
missing the tests fail and say so.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path as FilePath
from typing import Final
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from flownexus_appliance.db.reads import Reader
from flownexus_appliance.events import EventBus
from flownexus_appliance.http.ports import Sources
from flownexus_appliance.http.server import HttpOptions, HttpServer, tls_context
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registry import load_registry
from flownexus_appliance.lwm2m.values import Record
from flownexus_appliance.system.clock import wall_ms
from tests.unit.http.house import IDENTITY, NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet, curve, fill
from tests.unit.http.trust import FakeCredentials, make_sources

from .chromium import Chromium, connected, running_chromium

GOODBYE_S: Final = 5.0


@dataclass(slots=True)
class House:
    """A started server with what stands behind it, and ways to move it."""

    server: HttpServer
    options: HttpOptions
    reader: Reader
    fleet: FakeFleet
    bus: EventBus
    database: FilePath
    sources: Sources

    @property
    def url(self) -> str:
        return self.server.url.rstrip("/")

    def tell(self, endpoint: str, path: str, value: float | bool, data_type: str = "float") -> None:
        """A value arrives from a device now."""
        now = wall_ms()
        sample = {"path": path, "value": value, "data_type": data_type, "time_ms": now}
        self.bus.publish("values", {"endpoint": endpoint, "received_ms": now, "values": [sample]})

    def move(self, endpoint: str, state: str) -> None:
        """A device's presence changes now."""
        self.fleet.states[endpoint] = state
        self.bus.publish("presence", {"endpoint": endpoint, "presence": state, "time_ms": wall_ms()})


@pytest.fixture(scope="session")
def options(tmp_path_factory: pytest.TempPathFactory) -> HttpOptions:
    """One certificate for all servers of the run, so that the browser can trust it from its start."""
    options = HttpOptions(
        tmp_path_factory.mktemp("state"),
        port=0,
        coap_uris=("coaps://192.0.2.7:5684", "coap://127.0.0.1:5683"),
    )
    tls_context(options, wall_ms())
    return options


@pytest.fixture(scope="session")
def chromium_address(tmp_path_factory: pytest.TempPathFactory, options: HttpOptions) -> Iterator[str]:
    certificate = x509.load_pem_x509_certificate(options.certificate.read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    trusted = base64.b64encode(sha256(key).digest()).decode()
    with running_chromium(tmp_path_factory.mktemp("chromium"), trusted) as address:
        yield address


@pytest.fixture
async def chromium(chromium_address: str) -> AsyncIterator[Chromium]:
    async with connected(chromium_address) as chromium:
        yield chromium


@pytest.fixture(scope="session")
def models() -> ModelSet:
    return load_registry()


def today(records: tuple[Record, ...], shift_ms: int) -> tuple[Record, ...]:
    """Samples made for the tests' fixed moment, moved to the browser's now."""
    return tuple(
        Record(r.path, r.value, r.data_type, None if r.time_ms is None else r.time_ms + shift_ms)
        for r in records
    )


@pytest.fixture
async def house(tmp_path: FilePath, options: HttpOptions, models: ModelSet) -> AsyncIterator[House]:
    before = asyncio.all_tasks()
    shift_ms = wall_ms() - NOW_MS
    database = tmp_path / "flownexus.db"
    devices = {
        SENSOR: today((*IDENTITY, *curve("/3303/0/5700", 1440, 60_000)), shift_ms),
        SLEEPER: today(curve("/3303/0/5700", 60, 60_000), shift_ms),
        STRANGE: today(curve("/3303/0/5700", 60, 60_000), shift_ms),
        QUIET: (),
    }
    await fill(
        database, models, devices, registered=[SENSOR, SLEEPER, STRANGE], labels={SENSOR: "Greenhouse"}
    )
    reader = Reader(database)
    await reader.start()
    fleet = FakeFleet(
        states={SENSOR: "online", SLEEPER: "sleeping", STRANGE: "online", QUIET: "offline"},
        watched=frozenset({Path.of(3303, 0, 5700)}),
    )
    bus = EventBus()
    sources = make_sources(reader, fleet, bus, models, tmp_path)
    assert isinstance(sources.credentials, FakeCredentials)
    sources.credentials.now_ms = wall_ms()
    server = HttpServer(options, sources)
    await server.start()
    yield House(server, options, reader, fleet, bus, database, sources)
    await server.stop()
    await reader.stop()
    # A connection that the browser was just opening ends when its page is gone, in the browser's time.
    if opening := asyncio.all_tasks() - before - {asyncio.current_task()}:
        await asyncio.wait(opening, timeout=GOODBYE_S)


@pytest.fixture
def device_url(house: House) -> Callable[[str], str]:
    return lambda endpoint: f"{house.url}/devices/{quote(endpoint, safe='')}"
