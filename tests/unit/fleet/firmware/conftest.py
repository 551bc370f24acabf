"""The packages of a box on a real store and in a real folder, at a time that the test sets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.firmware import Firmware, FirmwareUpdate, KeptFirmware
from flownexus_appliance.db.package_files import PackageFiles
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.events import EventBus
from flownexus_appliance.fleet.firmware.library import FirmwareFacts, Library
from flownexus_appliance.fleet.firmware.shelf import Shelf
from flownexus_appliance.lwm2m.paths import Path as ResourcePath
from flownexus_appliance.lwm2m.values import DataType
from tests.box import Rows
from tests.conftest import FakeClock
from tests.disk import DiskFaults

from .bench import Bench, a_bench

BY = "anna"


def describe(path: ResourcePath, data_type: DataType) -> ResourceType:
    return ResourceType("", data_type, "")


@dataclass(slots=True)
class Shop(DiskFaults):
    """A library and its shelf, with one daemon after the other on the same files."""

    folder: Path
    clock: FakeClock
    bus: EventBus = field(default_factory=EventBus)
    in_use: set[int] = field(default_factory=set)
    tickets: dict[str, FirmwareUpdate] = field(default_factory=dict)
    fetched: list[tuple[int, int]] = field(default_factory=list)
    store: Store = field(init=False)
    files: PackageFiles = field(init=False)
    library: Library = field(init=False)
    shelf: Shelf = field(init=False)

    @property
    def database(self) -> Path:
        return self.folder / "fleet.db"

    @property
    def packages(self) -> Path:
        return self.folder / "firmware"

    @property
    def rows(self) -> Rows:
        return Rows(self.database)

    async def start(self) -> KeptFirmware:
        self.store = Store(self.database, describe)
        kept = await self.store.start()
        self.files = PackageFiles(self.packages)
        self.library = Library(self.store, self.files, self.bus, self.clock, self.in_use.__contains__)
        self.shelf = Shelf(self.tickets.get, self.library, self.files, self.tell)
        await self.library.start(kept.firmware)
        self.shelf.start()
        return kept.firmware

    async def stop(self) -> None:
        self.shelf.stop()
        await self.library.stop()
        await self.store.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def tell(self, update_id: int, until_byte: int) -> None:
        self.fetched.append((update_id, until_byte))

    async def add(self, *pieces: bytes, **facts: str) -> Firmware:
        """Upload and add a package."""
        async with self.library.upload() as upload:
            for piece in pieces:
                await upload.write(piece)
            return await self.library.add(upload, FirmwareFacts(**facts), BY)

    def on_disk(self) -> list[str]:
        """The names in the folder of packages."""
        return sorted(path.name for path in self.packages.iterdir())

    def changes(self) -> list[tuple[str, int]]:
        """What the bus was told: change and id."""
        return [(event.data["change"], event.data["id"]) for event in self.bus if event.name == "firmware"]

    def kept(self) -> list[tuple[int, str]]:
        """Id and version of the rows on disk."""
        return [(number, version) for number, version in self.rows("SELECT id, version FROM firmware")]


@asynccontextmanager
async def a_shop(folder: Path, clock: FakeClock) -> AsyncIterator[Shop]:
    shop = Shop(folder, clock)
    await shop.start()
    try:
        yield shop
    finally:
        await shop.stop()


@pytest.fixture(autouse=True)
def soon_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store looks at a failed disk every few milliseconds."""
    monkeypatch.setattr(writer_module, "RETRY_S", 0.02)


@pytest.fixture
async def shop(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Shop]:
    async with asyncio.timeout(60), a_shop(tmp_path, clock) as started:
        yield started


@pytest.fixture
async def bench(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    async with asyncio.timeout(60), a_bench(tmp_path, clock) as started:
        yield started
