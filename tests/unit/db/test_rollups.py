"""Roll-ups: what is in them by when, and that they go on telling the truth when samples come late."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from math import inf, nan
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db import rollups, upkeep, writer
from flownexus_appliance.db.kept import Catalog
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.rollups import DAY, DAY_MS, FIVE_MINUTES, HOUR, HOUR_MS
from flownexus_appliance.db.upkeep import GRACE_MS
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType

from .rolling import MIDNIGHT, MINUTE_MS, Box, buckets, drawn, every, opened

NEXT_DAY = MIDNIGHT + DAY_MS + GRACE_MS


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    async with opened(tmp_path / "test.db") as box:
        yield box


async def test_nothing_is_rolled_up_before_there_is_reason_to(box: Box) -> None:
    assert await box.work(MIDNIGHT) == 0
    await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + 3 * HOUR_MS))
    assert await box.work(MIDNIGHT + 4 * HOUR_MS) == 1  # a series is begun at once
    assert box.marks() == (MIDNIGHT + 2 * HOUR_MS, 0)
    await box.add(every(MINUTE_MS, MIDNIGHT + 3 * HOUR_MS, MIDNIGHT + 9 * HOUR_MS))
    assert await box.work(MIDNIGHT + 10 * HOUR_MS) == 0
    assert box.marks() == (MIDNIGHT + 2 * HOUR_MS, 0)


async def test_with_the_day_everything_is_rolled_up_to_the_hour_of_its_newest_sample(box: Box) -> None:
    await box.add(every(10_000, MIDNIGHT, MIDNIGHT + DAY_MS + 5 * MINUTE_MS))
    assert await box.work(NEXT_DAY - 1) == 3  # 8640 samples, of which a piece takes 4000
    assert box.marks() == (MIDNIGHT + 23 * HOUR_MS, 0)
    assert await box.work(NEXT_DAY) == 1
    assert box.marks() == (MIDNIGHT + DAY_MS, 0)
    assert box.slots(FIVE_MINUTES) == {MIDNIGHT // 300_000 + n: 30 for n in range(288)}
    assert box.slots(HOUR) == {MIDNIGHT // HOUR_MS + n: 360 for n in range(24)}
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 8640}


async def test_no_series_is_forgotten_for_another(box: Box) -> None:
    """Whichever of them the pieces end in."""
    periods = {f"device {period_s}": period_s * 1000 for period_s in (20, 40, 60, 90, 30, 600)}
    for endpoint, period_ms in periods.items():
        await box.add(every(period_ms, MIDNIGHT, MIDNIGHT + 2 * DAY_MS + 1), endpoint=endpoint)
    assert await box.work(NEXT_DAY + DAY_MS) > 4
    assert box.rows("SELECT DISTINCT rolled_ms FROM series") == [(MIDNIGHT + 2 * DAY_MS,)]
    assert box.rows("SELECT sum(count) FROM rollup WHERE level = ?", DAY) == [(box.kept() - len(periods),)]
    assert await box.work(NEXT_DAY + DAY_MS) == 0


async def test_many_samples_are_rolled_up_by_the_hour(box: Box) -> None:
    await box.add(every(5_000, MIDNIGHT, MIDNIGHT + HOUR_MS + MINUTE_MS))
    assert await box.work(MIDNIGHT + HOUR_MS + GRACE_MS) == 1
    assert box.slots(HOUR) == {MIDNIGHT // HOUR_MS: 720}
    # And no more until there are as many again.
    await box.add(every(MINUTE_MS, MIDNIGHT + HOUR_MS + MINUTE_MS, MIDNIGHT + 3 * HOUR_MS))
    assert await box.work(MIDNIGHT + 3 * HOUR_MS + GRACE_MS) == 0


async def test_a_slot_that_would_save_nothing_has_no_row(box: Box) -> None:
    await box.add(every(15 * MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1))
    await box.work(NEXT_DAY)
    assert (box.slots(FIVE_MINUTES), box.slots(HOUR)) == ({}, {})
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 96}
    assert box.marks() == (MIDNIGHT + DAY_MS, 0)


async def test_a_day_that_a_silence_left_unfinished_is_finished_after_it(box: Box) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + 12 * HOUR_MS))
    await box.work(NEXT_DAY + DAY_MS)
    assert (box.marks(), box.slots(DAY)) == ((MIDNIGHT + 12 * HOUR_MS, 0), {})
    await box.add(every(MINUTE_MS, MIDNIGHT + 3 * DAY_MS, MIDNIGHT + 4 * DAY_MS + 1))
    await box.work(NEXT_DAY + 3 * DAY_MS)
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 720, MIDNIGHT // DAY_MS + 3: 1440}


async def test_values_that_are_no_numbers_are_left_out(box: Box) -> None:
    samples = every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1)
    await box.add(samples)
    await box.add([(MIDNIGHT + 1, nan), (MIDNIGHT + 2, inf), (MIDNIGHT + 3, "high"), (MIDNIGHT + 4, b"\x01")])
    await box.work(NEXT_DAY)
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 1440}
    text = Path.of(3, 0, 0)
    await box.add([(MIDNIGHT + n, "maker") for n in range(100)], path=text, data_type=DataType.STRING)
    await box.work(NEXT_DAY + 2 * DAY_MS)
    assert box.rows("SELECT count(DISTINCT series_id) FROM rollup") == [(1,)]


async def test_the_mean_lies_between_the_extremes_whatever_the_sum(box: Box) -> None:
    huge = 1.7e308
    await box.add([(MIDNIGHT + n * MINUTE_MS, huge if n % 2 else huge / 2) for n in range(1441)])
    await box.work(NEXT_DAY)
    assert box.rows("SELECT min(low <= mean AND mean <= high), count(*) FROM rollup")[0][0] == 1
    chart = await box.chart(MIDNIGHT, MIDNIGHT + DAY_MS, 12)
    assert chart.resolution_ms == HOUR_MS
    assert all(huge / 2 <= mean <= huge for mean in chart.mean)


# What comes late


@pytest.mark.parametrize("hour", [3, 23])
async def test_a_late_sample_is_rolled_up_too(box: Box, hour: int) -> None:
    samples = every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1)
    await box.add(samples)
    await box.work(NEXT_DAY)
    late = (MIDNIGHT + hour * HOUR_MS + 7, 99.0)
    await box.add([late])
    assert box.rows("SELECT hour FROM rollup_late") == [(MIDNIGHT // HOUR_MS + hour,)]
    assert await box.work(NEXT_DAY) == 1
    assert box.rows("SELECT hour FROM rollup_late") == []
    assert box.slots(HOUR)[MIDNIGHT // HOUR_MS + hour] == 61
    assert box.rows("SELECT high, count FROM rollup WHERE level = ?", DAY) == [(99.0, 1441)]
    chart = await box.chart(MIDNIGHT, MIDNIGHT + DAY_MS, 24)
    assert drawn(chart) == {
        n: pytest.approx(column, abs=1e-4)
        for n, column in buckets([*samples, late], MIDNIGHT, MIDNIGHT + DAY_MS, HOUR_MS).items()
    }


async def test_the_same_sample_again_changes_nothing(box: Box) -> None:
    samples = every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1)
    await box.add(samples)
    await box.work(NEXT_DAY)
    before = box.rows("SELECT * FROM rollup")
    await box.add(samples[:100])
    assert await box.work(NEXT_DAY) == 1
    assert box.rows("SELECT * FROM rollup") == before


async def test_a_late_sample_that_is_put_into_the_next_hour_is_counted_there(box: Box) -> None:
    end = MIDNIGHT + 4 * HOUR_MS
    await box.add([*every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1), (end - 1, 1.0)])
    await box.work(NEXT_DAY)
    await box.add([(end - 1, 2.0)])  # its moment is taken, and the next is taken by the minute's sample
    assert box.rows("SELECT time_ms FROM resource WHERE value = 2.0") == [(end + 1,)]
    await box.work(NEXT_DAY)
    assert box.slots(HOUR)[end // HOUR_MS] == 61


async def test_what_is_late_outlives_a_restart(tmp_path: FilePath) -> None:
    async with opened(tmp_path / "test.db") as box:
        await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1))
        await box.work(NEXT_DAY)
        await box.add([(MIDNIGHT + 1, 99.0)])
    async with opened(tmp_path / "test.db") as box:
        await box.work(NEXT_DAY)
        assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 1441}
        # And the mark too: what is older is late after it as before it.
        await box.add([(MIDNIGHT + 2, 99.0)])
        await box.work(NEXT_DAY)
        assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 1442}


@pytest.mark.parametrize("first", ["sample", "piece"])
async def test_a_late_sample_in_the_commit_that_rolls_up_is_in(box: Box, first: str) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1))
    box.upkeep.look(NEXT_DAY)
    commits = box.store.writer.commits
    both = [box.add([(MIDNIGHT + 1, 99.0)]), box.upkeep.piece()]
    await asyncio.gather(*(both if first == "sample" else reversed(both)))
    assert box.store.writer.commits == commits + 1
    await box.work(NEXT_DAY)
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 1441}


async def test_a_late_sample_while_its_series_is_rolled_up_is_in(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gathered for the next commit, before anybody was told how far this one got."""
    await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1))
    rolled, gate = threading.Event(), threading.Event()

    def roll_slowly(
        connection: sqlite3.Connection, wanted: list[int], until_ms: int
    ) -> dict[int, rollups.Rolled]:
        done = rollups.roll(connection, wanted, until_ms)
        rolled.set()
        assert gate.wait(10)
        return done

    monkeypatch.setattr(upkeep, "roll", roll_slowly)
    box.upkeep.look(NEXT_DAY)
    piece = asyncio.create_task(box.upkeep.piece())
    assert await asyncio.to_thread(rolled.wait, 10)
    adding = asyncio.create_task(box.add([(MIDNIGHT + 1, 99.0)]))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(piece, adding)
    await box.work(NEXT_DAY)
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 1441}


async def test_a_failed_commit_leaves_marks_as_they_are_on_disk(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "RETRY_S", 0.001)
    samples = every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1)
    await box.add(samples)
    box.upkeep.look(NEXT_DAY)
    learn, learned = box.store.writer._on_failure, asyncio.Event()

    def hear(catalog: Catalog) -> None:
        learn(catalog)
        learned.set()

    monkeypatch.setattr(box.store.writer, "_on_failure", hear)
    box.store.writer.gather().statements.append(("INSERT INTO nosuch VALUES (1)", ()))
    with pytest.raises(StoreError):
        await box.upkeep.piece()
    assert (box.marks(), box.slots(HOUR)) == ((0, 0), {})
    assert await box.upkeep.piece() is False  # it must look anew
    async with asyncio.timeout(10):
        await learned.wait()
    await box.work(NEXT_DAY)
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 1440}


async def test_work_that_fails_takes_nothing_of_devices_with_it(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS + 1))

    def half(connection: sqlite3.Connection, wanted: list[int], until_ms: int) -> None:
        connection.execute("UPDATE series SET rolled_ms = ?", (until_ms,))
        connection.execute("INSERT INTO nosuch VALUES (1)")

    box.upkeep.look(NEXT_DAY)
    with monkeypatch.context() as broken:
        broken.setattr(upkeep, "roll", half)
        add = box.add([(MIDNIGHT + 1, 99.0)])
        results = await asyncio.gather(add, box.upkeep.piece(), return_exceptions=True)
    assert [type(result) for result in results] == [type(None), StoreError]
    assert getattr(results[1], "code", "") == upkeep.FAILED
    assert box.marks() == (0, 0)
    assert box.kept() == 1442
    await box.work(NEXT_DAY + HOUR_MS)
    assert box.slots(DAY) == {MIDNIGHT // DAY_MS: 1441}
