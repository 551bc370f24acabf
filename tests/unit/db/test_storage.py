"""The figures of the system page."""

from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db import storage
from flownexus_appliance.db.rollups import DAY_MS, HOUR_MS
from flownexus_appliance.db.upkeep import GRACE_MS

from .rolling import MIDNIGHT, MINUTE_MS, every, opened


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "KEPT_S", -1.0)


async def test_an_empty_database(tmp_path: FilePath) -> None:
    async with opened(tmp_path / "test.db") as box:
        figures = await box.reader.storage()
    assert (figures.series, figures.samples, figures.oldest_ms, figures.samples_day) == (0, 0, None, None)
    assert figures.database_bytes + figures.wal_bytes > 0
    assert 0 < figures.free_bytes <= figures.total_bytes


async def test_samples_are_counted_before_and_after_they_are_rolled_up(tmp_path: FilePath) -> None:
    async with opened(tmp_path / "test.db", keep_days=2) as box:
        await box.add(every(MINUTE_MS, MIDNIGHT + HOUR_MS, MIDNIGHT + 4 * DAY_MS + 7 * MINUTE_MS))
        count = box.kept()
        before = await box.reader.storage()
        assert (before.series, before.samples, before.oldest_ms) == (1, count, MIDNIGHT + HOUR_MS)
        assert before.samples_day is None
        box.upkeep.look(MIDNIGHT + 4 * DAY_MS + GRACE_MS)
        assert await box.upkeep.piece()
        assert (await box.reader.storage()).samples == count
        await box.work(MIDNIGHT + 4 * DAY_MS + GRACE_MS)
        assert box.kept() == 2 * 1440 + 7
        after = await box.reader.storage()
        assert (after.samples, after.oldest_ms) == (box.kept(), MIDNIGHT + 2 * DAY_MS)
        assert after.samples_day == 1440
        assert after.unused_bytes > 0


async def test_a_backlog_is_not_counted(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "MAX_UNROLLED", 100)
    async with opened(tmp_path / "test.db") as box:
        await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + 100 * MINUTE_MS))
        assert (await box.reader.storage()).samples == 100
        await box.add(every(MINUTE_MS, MIDNIGHT + DAY_MS, MIDNIGHT + DAY_MS + MINUTE_MS))
        assert (await box.reader.storage()).samples is None


async def test_figures_are_made_once_in_a_while(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "KEPT_S", 3600.0)
    async with opened(tmp_path / "test.db") as box:
        first = await box.reader.storage()
        await box.add([(MIDNIGHT, 1.0)])
        assert await box.reader.storage() is first
