"""The appliance without its web side, in the test's own process: joined as `app.py` joins it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import Store
from flownexus_appliance.events import Event, EventBus
from flownexus_appliance.fleet.fleet import Fleet, FleetOptions
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m.core import Moment
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.registry import load_registry
from flownexus_appliance.system import clock
from flownexus_appliance.system.config import LOOPBACK
from tests.peer import DEADLINE_S

_models: list[ModelSet] = []


def models() -> ModelSet:
    """The registry's models, loaded once for all tests."""
    if not _models:
        _models.append(load_registry())
    return _models[0]


@dataclass(frozen=True, slots=True)
class Told:
    """What the event bus says, waited for."""

    bus: EventBus

    async def until(self, wanted: Callable[[Event], object]) -> Event:
        """The first event that is `wanted`, those already told included; fails after DEADLINE_S."""
        subscription = self.bus.subscribe(after=0)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    for event in await subscription.next_batch(DEADLINE_S):
                        if wanted(event):
                            return event
        finally:
            self.bus.unsubscribe(subscription)

    async def presence(self, endpoint: str, presence: str) -> Event:
        return await self.until(
            lambda e: (
                e.name == "presence" and (e.data["endpoint"], e.data["presence"]) == (endpoint, presence)
            )
        )

    async def change(self, endpoint: str, change: str) -> Event:
        return await self.until(
            lambda e: (
                e.name == "registration" and (e.data["endpoint"], e.data["change"]) == (endpoint, change)
            )
        )

    async def value(self, endpoint: str, path: str, value: object) -> Event:
        return await self.until(
            lambda e: (
                e.name == "values"
                and e.data["endpoint"] == endpoint
                and any((v["path"], v["value"]) == (path, value) for v in e.data["values"])
            )
        )

    def values(self) -> list[tuple[str, str, object]]:
        """Every value told so far: endpoint, path, value."""
        return [
            (e.data["endpoint"], v["path"], v["value"])
            for e in self.bus
            if e.name == "values"
            for v in e.data["values"]
        ]


@dataclass(frozen=True, slots=True)
class Rows:
    """The database as anyone may read it, by a connection of one's own."""

    path: Path

    def __call__(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
            return connection.execute(sql, parameters).fetchall()

    def registrations(self) -> dict[str, str]:
        """The id of each endpoint's registration."""
        return dict(self("SELECT e.name, r.id FROM registration r JOIN endpoint e ON e.id = r.endpoint_id"))

    def observations(self, endpoint: str) -> dict[str, bytes]:
        """The tokens by path."""
        return dict(
            self(
                "SELECT json_extract(o.paths, '$[0]'), o.token FROM observation o"
                " JOIN endpoint e ON e.id = o.endpoint_id WHERE e.name = ?",
                endpoint,
            )
        )

    def samples(self, endpoint: str, path: str) -> list[object]:
        """The values of a series in the order of their times."""
        return [
            value
            for (value,) in self(
                "SELECT r.value FROM resource r JOIN series s ON s.id = r.series_id"
                " JOIN endpoint e ON e.id = s.endpoint_id WHERE e.name = ? AND s.path = ?"
                " ORDER BY r.time_ms",
                endpoint,
                path,
            )
        ]


@dataclass(frozen=True, slots=True)
class Box:
    """A running assembly."""

    store: Store
    fleet: Fleet
    coap: CoapServer
    told: Told
    rows: Rows

    @property
    def port(self) -> int:
        return self.coap.port


@asynccontextmanager
async def box(
    folder: Path,
    port: int = 0,
    options: FleetOptions | None = None,
    now: Callable[[], Moment] = clock.now,
) -> AsyncIterator[Box]:
    """The parts in the order of `app.appliance`, stopped in the same order too."""
    bus = EventBus()
    store = Store(folder / "box.db", partial(describe, models()))
    kept = await store.start()
    reader = Reader(folder / "box.db")
    try:
        await reader.start()
        fleet = Fleet(store, bus, models(), options or FleetOptions(), reader.operation, now)
        coap = CoapServer(port, LOOPBACK, fleet.uplinks)
        fleet.start(kept, coap)
        await coap.start()
        fleet.operations.open()
        try:
            yield Box(store, fleet, coap, Told(bus), Rows(folder / "box.db"))
        finally:
            await fleet.stop()
            await coap.stop()
    finally:
        await reader.stop()
        await store.stop()
