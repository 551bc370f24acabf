"""Time: lifetimes and Queue Mode. An hour must not last one here, so the clock is the test's own."""

from pathlib import Path

import pytest

from flownexus_appliance.fleet import fleet as fleet_module
from tests.box import box
from tests.conftest import FakeClock
from tests.peer import until

from .thermometer import TEMPERATURE, WATCHED, thermometer


@pytest.fixture(autouse=True)
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "TICK_S", 0.005)


async def test_a_registration_expires(tmp_path: Path, clock: FakeClock) -> None:
    """LightweightM2M-1.1-int-107: not before the lifetime and a grace have passed since the last Update"""
    async with box(tmp_path, now=clock) as started, thermometer(started.port, "int-107") as client:
        await client.register(lifetime_s=30)
        await until(lambda: set(started.rows.observations("int-107")) == WATCHED)
        for _ in range(3):
            clock.advance(30 + 240)
            assert (await client.update()).status == "2.04"
        assert (await client.update("lt=3600")).status == "2.04"
        clock.advance(3600 + 240)
        assert (await client.update()).status == "2.04"
        clock.advance(3600 + 248)
        await started.told.change("int-107", "expired")
        await started.told.presence("int-107", "offline")
        assert started.rows.registrations() == {}
        assert started.rows.observations("int-107") == {}
        assert (await client.update()).status == "4.04"
        await client.register()
        await until(lambda: set(started.rows.observations("int-107")) == WATCHED)


async def test_queue_mode(tmp_path: Path, clock: FakeClock) -> None:
    """LightweightM2M-1.1-int-108, LightweightM2M-1.1-int-109"""
    async with box(tmp_path, now=clock) as started, thermometer(started.port, "int-108") as client:
        await client.register("b=U", "Q")
        assert started.rows("SELECT queue_mode, binding FROM registration") == [(1, "U")]
        assert started.fleet.presence("int-108") == "online"
        await until(lambda: set(started.rows.observations("int-108")) == WATCHED)
        await until(lambda: started.fleet.onboarding() == 0)
        clock.advance(94)
        await started.told.presence("int-108", "sleeping")
        client.notify(TEMPERATURE, 20.0)
        await client.reply()
        await started.told.value("int-108", TEMPERATURE, 20.0)
        assert started.fleet.presence("int-108") == "online"


async def test_a_device_that_moves(tmp_path: Path) -> None:
    """Its address changes behind a NAT: an Update from the new one keeps everything (Leshan #1636)."""
    async with (
        box(tmp_path) as started,
        thermometer(started.port, "moving") as before,
        thermometer(started.port, "moving") as after,
    ):
        await before.register()
        await until(lambda: set(started.rows.observations("moving")) == WATCHED)
        after.location, after.observed = before.location, before.observed
        assert (await after.update()).status == "2.04"
        after.notify(TEMPERATURE, 2.0)
        assert (await after.reply()).code == 0
        assert started.rows.samples("moving", TEMPERATURE) == [21.5, 2.0]
