"""Samples that were kept long enough: gone, and their roll-ups stay and go on taking in what comes late."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.rollups import DAY, DAY_MS, FIVE_MINUTES, HOUR, HOUR_MS
from flownexus_appliance.db.upkeep import GRACE_MS
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType

from .rolling import MIDNIGHT, MINUTE_MS, Box, buckets, drawn, every, opened

KEEP_DAYS = 3
DAYS = 8
END = MIDNIGHT + DAYS * DAY_MS
NOW = END + GRACE_MS
GONE_UNTIL = MIDNIGHT + (DAYS - KEEP_DAYS) * DAY_MS


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    async with opened(tmp_path / "test.db", KEEP_DAYS) as box:
        yield box


async def test_what_is_older_goes_and_its_roll_ups_stay(box: Box) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, END + 1))
    await box.work(NOW)
    assert box.rows("SELECT min(time_ms), count(*) FROM resource") == [(GONE_UNTIL, KEEP_DAYS * 1440 + 1)]
    assert box.marks() == (END, GONE_UNTIL)
    assert sum(box.slots(DAY).values()) == DAYS * 1440
    assert sum(box.slots(HOUR).values()) == DAYS * 1440
    # Too few for 5-minute rows while the samples were there; worth it now that they are not.
    assert sum(box.slots(FIVE_MINUTES).values()) == (DAYS - KEEP_DAYS) * 1440


async def test_no_series_is_forgotten_for_another(box: Box) -> None:
    for number, period_ms in enumerate((MINUTE_MS, 2 * MINUTE_MS, HOUR_MS, 3 * MINUTE_MS)):
        await box.add(every(period_ms, MIDNIGHT, END + 1), endpoint=f"device {number}")
    await box.work(NOW)
    assert box.rows("SELECT DISTINCT kept_ms FROM series") == [(GONE_UNTIL,)]
    assert box.rows("SELECT min(time_ms) FROM resource") == [(GONE_UNTIL,)]
    assert await box.work(NOW) == 0


async def test_for_ever_is_for_ever(tmp_path: FilePath) -> None:
    async with opened(tmp_path / "test.db") as box:
        await box.add(every(HOUR_MS, MIDNIGHT, END + 1))
        await box.work(NOW + 100_000 * DAY_MS)
        assert box.kept() == DAYS * 24 + 1


@pytest.mark.parametrize(
    ("period_ms", "levels"),
    [
        (20_000, (FIVE_MINUTES, HOUR, DAY)),
        (MINUTE_MS, (FIVE_MINUTES, HOUR, DAY)),
        (10 * MINUTE_MS, (HOUR, DAY)),
        (HOUR_MS, (DAY,)),
        (40 * HOUR_MS, (DAY,)),
    ],
)
async def test_what_is_gone_is_kept_as_finely_as_it_pays(
    box: Box, period_ms: int, levels: tuple[int, ...]
) -> None:
    samples = every(period_ms, MIDNIGHT, END + 1)
    await box.add(samples)
    await box.work(NOW)
    gone = [sample for sample in samples if sample[0] < GONE_UNTIL]
    for level, size in enumerate((5 * MINUTE_MS, HOUR_MS, DAY_MS)):
        rows = box.rows(
            "SELECT sum(count) FROM rollup WHERE level = ? AND slot < ?", level, GONE_UNTIL // size
        )
        assert rows == [(len(gone) if level in levels else None,)]
    # Whatever is asked for, each sample is in the chart once.
    for points in (1, 5, DAYS, 24 * DAYS, 288 * DAYS, 10_000):
        chart = await box.chart(MIDNIGHT, END, points)
        ((low, mean, high, count),) = buckets(samples, MIDNIGHT, END, END).values()
        assert (min(chart.min), max(chart.max), sum(chart.count)) == (low, high, count)
        weighed = sum(m * n for m, n in zip(chart.mean, chart.count, strict=True)) / count
        assert weighed == pytest.approx(mean, abs=1e-4)
        assert len(chart.time_ms) <= points
    # By days there is no difference at all.
    assert drawn(await box.chart(MIDNIGHT, END, DAYS)) == {
        n: pytest.approx(column, abs=1e-4) for n, column in buckets(samples, MIDNIGHT, END, DAY_MS).items()
    }


async def test_a_chart_finer_than_what_is_left_shows_what_is_left(box: Box) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, END + 1))
    await box.work(NOW)
    chart = await box.chart(MIDNIGHT, MIDNIGHT + HOUR_MS, 60)
    assert (chart.resolution_ms, chart.count) == (5 * MINUTE_MS, [5] * 12)
    assert chart.time_ms == list(range(MIDNIGHT, MIDNIGHT + HOUR_MS, 5 * MINUTE_MS))


async def test_a_chart_that_begins_within_a_slot_draws_it_at_its_beginning(box: Box) -> None:
    await box.add(every(HOUR_MS, MIDNIGHT, END + 1))
    await box.work(NOW)
    chart = await box.chart(MIDNIGHT + HOUR_MS, MIDNIGHT + 5 * HOUR_MS, 4)
    assert (chart.time_ms, chart.count) == ([MIDNIGHT + HOUR_MS], [24])


async def test_the_newest_values_stay_however_old(box: Box) -> None:
    text = Path.of(3, 0, 0)
    await box.add(every(HOUR_MS, MIDNIGHT, MIDNIGHT + 2 * DAY_MS))
    await box.add([(MIDNIGHT, "old"), (MIDNIGHT + DAY_MS, "maker")], path=text, data_type=DataType.STRING)
    await box.work(NOW + 100 * DAY_MS)
    await box.work(NOW + 200 * DAY_MS)
    newest = {value.path: value.time_ms for value in await box.reader.latest("a")}
    # The last hour of a day: the whole of it is rolled up.
    assert newest == {"/3/0/0": MIDNIGHT + DAY_MS, "/3303/0/5700": MIDNIGHT + 47 * HOUR_MS}
    assert box.rows("SELECT value FROM resource WHERE typeof(value) = 'text'") == [("maker",)]
    assert box.rows("SELECT min(time_ms) FROM resource") == [(MIDNIGHT + DAY_MS,)]
    # And go when there is a newer one.
    await box.add([(END, 1.0)])
    await box.add([(END, "new maker")], path=text, data_type=DataType.STRING)
    await box.work(NOW + 300 * DAY_MS)
    assert set(box.rows("SELECT value FROM resource")) == {(1.0,), ("new maker",)}
    assert sum(box.slots(DAY).values()) == 48


async def test_what_was_not_rolled_up_yet_is_not_taken(box: Box) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, END + 1))
    box.upkeep.look(NOW)
    while box.marks()[0] < MIDNIGHT + 3 * DAY_MS:
        assert await box.upkeep.piece()
        assert box.marks()[1] == 0
    assert box.kept() == DAYS * 1440 + 1


@pytest.mark.parametrize("period_ms", [MINUTE_MS, 10 * MINUTE_MS, HOUR_MS])
async def test_what_comes_late_into_a_day_that_is_gone_is_merged(box: Box, period_ms: int) -> None:
    samples = every(period_ms, MIDNIGHT, END + 1)
    await box.add(samples)
    await box.work(NOW)
    kept = box.kept()
    late = [(MIDNIGHT + HOUR_MS + n * 7000, 90.0 + n) for n in range(1, 20)]
    await box.add(late)
    await box.work(NOW)
    assert box.kept() == kept
    assert box.rows("SELECT * FROM rollup_late") == []
    for step_ms in (DAY_MS, DAYS * DAY_MS):
        chart = await box.chart(MIDNIGHT, END, DAYS * DAY_MS // step_ms)
        expected = buckets([*samples, *late], MIDNIGHT, END, step_ms)
        assert drawn(chart) == {n: pytest.approx(column, abs=1e-4) for n, column in expected.items()}
    for points in (24 * DAYS, 288 * DAYS):
        chart = await box.chart(MIDNIGHT, END, points)
        assert (sum(chart.count), max(chart.max)) == (len(samples) - 1 + len(late), 109.0)


async def test_a_day_of_which_nothing_was_known_is_kept_as_finely_as_any(box: Box) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT + DAY_MS, END + 1))
    await box.work(NOW)
    late = every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS, seed=2)
    await box.add(late)
    await box.work(NOW)
    assert box.rows("SELECT count(*) FROM resource WHERE time_ms < ?", GONE_UNTIL) == [(0,)]
    chart = await box.chart(MIDNIGHT, MIDNIGHT + DAY_MS, 288)
    assert drawn(chart) == {
        n: pytest.approx(column, abs=1e-4)
        for n, column in buckets(late, MIDNIGHT, MIDNIGHT + DAY_MS, 5 * MINUTE_MS).items()
    }


async def test_what_is_late_and_old_at_once_is_neither_lost_nor_counted_twice(box: Box) -> None:
    """It came after its hour was rolled up, and its day goes before that was mended."""
    await box.add(every(MINUTE_MS, MIDNIGHT, END + 1))
    box.upkeep.look(NOW)
    while box.marks()[0] < END:
        assert await box.upkeep.piece()
    await box.add([(MIDNIGHT + 1, 99.0)])
    box.store.catalog.late_hours.clear()  # as if it were noted in the file alone
    while await box.upkeep.piece():
        pass
    assert box.rows("SELECT count, high FROM rollup WHERE level = ? ORDER BY slot LIMIT 1", DAY) == [
        (1441, 99.0)
    ]
    await box.work(NOW)
    assert sum(box.slots(DAY).values()) == DAYS * 1440 + 1


async def test_a_sample_that_nobody_noted_takes_no_roll_up_with_it(box: Box) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, END + 1))
    await box.work(NOW)
    await box.add([(MIDNIGHT + 1, 99.0)])
    box.store.writer.gather().statements.append(("DELETE FROM rollup_late", ()))
    await box.store.commit()
    box.store.catalog.late_hours.clear()
    await box.work(NOW + DAY_MS)
    assert box.slots(DAY)[MIDNIGHT // DAY_MS] == 1441
    assert len(box.slots(HOUR)) == DAYS * 24
