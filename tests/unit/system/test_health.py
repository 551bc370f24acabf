"""How the box is: figures of this very process, and what of them is worth a word."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from flownexus_appliance.system import health
from flownexus_appliance.system.health import MIB, Health, Vitals, Warn, warnings

WELL = Vitals(
    started_ms=1_795_000_000_000,
    uptime_s=86_400,
    rss_bytes=120 * MIB,
    memory_total_bytes=1000 * MIB,
    memory_available_bytes=500 * MIB,
    cpu_percent=3.0,
    cores=4,
    load=0.2,
    lag_ms=4,
    open_files=40,
    open_sockets=12,
    max_files=1024,
    disk_free_bytes=20_000 * MIB,
    disk_total_bytes=32_000 * MIB,
    temperature_c=52.0,
)


async def test_the_figures_are_those_of_this_process(tmp_path: Path) -> None:
    vitals = await Health(tmp_path).vitals()
    assert vitals.rss_bytes is not None
    assert 10 * MIB < vitals.rss_bytes < 10_000 * MIB
    assert vitals.memory_total_bytes is not None
    assert vitals.memory_available_bytes is not None
    assert vitals.rss_bytes < vitals.memory_available_bytes < vitals.memory_total_bytes
    assert vitals.disk_total_bytes is not None
    assert vitals.disk_free_bytes is not None
    assert 0 < vitals.disk_free_bytes < vitals.disk_total_bytes
    assert vitals.cores == os.cpu_count()
    assert vitals.open_files is not None
    assert vitals.open_sockets is not None
    assert 0 < vitals.open_sockets < vitals.open_files < vitals.max_files
    assert warnings(replace(vitals, disk_free_bytes=20_000 * MIB, memory_available_bytes=None)) == []


async def test_what_the_machine_hides_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_PROC", tmp_path / "none")
    vitals = await Health(tmp_path / "none").vitals()
    assert vitals.rss_bytes is None
    assert vitals.memory_total_bytes is None
    assert vitals.disk_free_bytes is None
    assert vitals.open_files is None
    assert warnings(vitals) == []


async def test_a_loop_that_comes_late_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "TICK_S", 0.0)
    watching = Health()
    await watching.start()
    loop = asyncio.get_running_loop()
    real, late = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + late)
    await asyncio.sleep(0)
    late = 3.0
    async with asyncio.timeout(10):
        while (await watching.vitals()).lag_ms < 2900:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    await watching.stop()


def test_versions_are_told_by_name() -> None:
    versions = Health(versions={"mbedTLS": "3.6.6"}).all_versions()
    assert versions["mbedTLS"] == "3.6.6"
    assert {"Python", "aiohttp", "aiocoap", "Linux"} <= set(versions)


def test_a_box_that_is_well_has_no_warning() -> None:
    assert warnings(WELL) == []


@pytest.mark.parametrize(
    ("vitals", "expected"),
    [
        (replace(WELL, disk_free_bytes=100 * MIB), Warn("disk_full", 100 * MIB, danger=True)),
        (replace(WELL, disk_free_bytes=900 * MIB), Warn("disk_low", 900 * MIB)),
        # A small card has less, and it is enough.
        (replace(WELL, disk_free_bytes=900 * MIB, disk_total_bytes=4000 * MIB), None),
        (replace(WELL, memory_available_bytes=70 * MIB), Warn("memory_low", 70 * MIB)),
        (replace(WELL, lag_ms=800), Warn("loop_late", 800)),
        (replace(WELL, open_files=900), Warn("files_low", 900)),
        (replace(WELL, temperature_c=82.0), Warn("hot", 82.0)),
    ],
)
def test_what_somebody_should_look_at(vitals: Vitals, expected: Warn | None) -> None:
    assert warnings(vitals) == ([] if expected is None else [expected])
