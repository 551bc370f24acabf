"""The command against the real web side on a control socket, over a filled database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flownexus_appliance.cli import main
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.events import EventBus
from flownexus_appliance.http.ports_box import Access
from flownexus_appliance.http.ports_firmware import FirmwareBox
from flownexus_appliance.http.server import HttpOptions, HttpServer
from tests.box import models
from tests.unit.http.house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet, fill
from tests.unit.http.trust import FakeBootstrap, FakeCertificates, FakeCredentials, make_sources

from .scripted import Said
from .scripted import terminal as terminal

URIS = ("coap://127.0.0.1:5683", "coaps://192.0.2.1:5684")


@dataclass(frozen=True, slots=True)
class Box:
    """A running web side with its state folder, and what stands behind it."""

    state: Path
    credentials: FakeCredentials
    certificates: FakeCertificates
    bootstrap: FakeBootstrap
    firmware: FirmwareBox
    access: Access
    capsys: pytest.CaptureFixture[str]

    async def run(self, *words: str) -> Said:
        """`flownexus` with these words, on this box."""
        self.capsys.readouterr()
        code = await asyncio.to_thread(main, [*words, "--state", str(self.state)])
        return Said(code, *self.capsys.readouterr())


@pytest.fixture
async def box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Box]:
    state = tmp_path / "state"
    state.mkdir()
    await fill(
        state / "flownexus.db",
        models(),
        {SENSOR: (), SLEEPER: (), STRANGE: (), QUIET: ()},
        registered=[SENSOR, SLEEPER],
        labels={SENSOR: "Greenhouse"},
    )
    reader = Reader(state / "flownexus.db")
    await reader.start()
    fleet = FakeFleet(states={SENSOR: "online", SLEEPER: "sleeping", STRANGE: "online", QUIET: "offline"})
    sources = make_sources(reader, fleet, EventBus(), models(), state)
    server = HttpServer(HttpOptions(state, port=0, coap_uris=URIS), sources, lambda: NOW_MS)
    await server.start()
    assert isinstance(sources.credentials, FakeCredentials)
    assert isinstance(sources.certificates, FakeCertificates)
    assert isinstance(sources.bootstrap, FakeBootstrap)
    yield Box(
        state,
        sources.credentials,
        sources.certificates,
        sources.bootstrap,
        sources.firmware,
        sources.access,
        capsys,
    )
    await server.stop()
    await reader.stop()
