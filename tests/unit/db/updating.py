"""A store and a reader on one file, with firmware in it, for the tests of updates and campaigns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest

from flownexus_appliance.db.firmware import Campaign, Firmware, FirmwareUpdate, Image, UpdateStep
from flownexus_appliance.db.kept import Kept
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.firmware import CampaignState, UpdateState
from tests.box import Rows

NOW = 1_760_000_000_000
PATIENCE_S = 10.0
TICKET = "tIcKeT-_0123"


class Box:
    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.store = Store(path, lambda _path, data_type: ResourceType("", data_type, ""))
        self.reader = Reader(path)
        self.rows = Rows(path)

    def firmware(self, version: str = "1.2.3", **more: Any) -> Firmware:
        number = self.store.new_firmware_id()
        sha256 = number.to_bytes(32, "big")
        base = Firmware(
            number, version, "app.bin", 1000, sha256, "web", NOW + number, Image(version, 900, True)
        )
        return replace(base, **more)

    def update(self, firmware: int = 1, endpoint: str = "a", **more: Any) -> FirmwareUpdate:
        number = self.store.new_update_id()
        base = FirmwareUpdate(number, endpoint, firmware, TICKET, "web", NOW + number, NOW + number)
        return replace(base, **more)

    def campaign(self, firmware: int = 1, **more: Any) -> Campaign:
        number = self.store.new_campaign_id()
        return replace(Campaign(number, "roof", firmware, "web", NOW + number, NOW + number), **more)

    async def put(self, *kept: Firmware | FirmwareUpdate | Campaign) -> None:
        for one in kept:
            match one:
                case Firmware():
                    self.store.put_firmware(one)
                case FirmwareUpdate():
                    self.store.put_update(one)
                case Campaign():
                    self.store.put_campaign(one)
        await self.store.commit()

    async def change(self, kept: FirmwareUpdate, step: UpdateStep | None = None) -> None:
        self.store.change_update(kept, step)
        await self.store.commit()

    async def end(self, *kept: Campaign) -> None:
        for one in kept:
            self.store.change_campaign(replace(one, state=CampaignState.DONE))
        await self.store.commit()

    async def again(self) -> Kept:
        await self.store.stop()
        return await self.store.start()

    async def lose(self) -> None:
        """Let the batch that is being gathered fail, and wait until the store takes writes again."""
        learned = asyncio.Event()
        learn = self.store.writer._on_failure

        def told(knowledge: Any) -> None:
            learn(knowledge)
            learned.set()

        self.store.writer._on_failure = told
        self.store.writer.gather().statements.append(("INSERT INTO nosuch VALUES (1)", ()))
        with pytest.raises(StoreError):
            await self.store.commit()
        async with asyncio.timeout(PATIENCE_S):
            await learned.wait()
        self.store.writer._on_failure = learn

    def ids(self, table: str) -> list[int]:
        return [number for (number,) in self.rows(f"SELECT id FROM {table} ORDER BY id")]

    def steps(self) -> list[tuple[int, int]]:
        return self.rows("SELECT update_id, number FROM firmware_update_step ORDER BY 1, 2")


@asynccontextmanager
async def opened(path: FilePath) -> AsyncIterator[Box]:
    """With the endpoints a, b and c, of which c was never heard, and firmware 1."""
    box = Box(path)
    await box.store.start()
    await box.reader.start()
    for endpoint, seen_ms in (("a", 1), ("b", 1), ("c", 0)):
        box.store.put_endpoint(endpoint, seen_ms)
    await box.put(box.firmware())
    yield box
    assert box.rows("PRAGMA foreign_key_check") == []
    await box.reader.stop()
    await box.store.stop()


def step(
    update: FirmwareUpdate, state: UpdateState = UpdateState.PREPARING, time_ms: int = NOW
) -> UpdateStep:
    return UpdateStep(update.id, 0, time_ms, state)
