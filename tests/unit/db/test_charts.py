"""Charts of long ranges: by the roll-ups that fit, each sample once."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.charts import CHART_QUERY, ROLLED_QUERY
from flownexus_appliance.db.rollups import DAY_MS, HOUR_MS
from flownexus_appliance.db.upkeep import GRACE_MS

from .rolling import MIDNIGHT, MINUTE_MS, Box, buckets, drawn, every, opened

END = MIDNIGHT + 10 * DAY_MS
PERIODS = {"dense": 20_000, "usual": MINUTE_MS, "sparse": 17 * MINUTE_MS, "rare": 5 * HOUR_MS}


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    async with opened(tmp_path / "test.db") as box:
        yield box


@pytest.mark.parametrize("density", PERIODS)
@pytest.mark.parametrize(
    ("from_ms", "to_ms", "step_ms", "resolution_ms"),
    [
        (MIDNIGHT, END, DAY_MS, DAY_MS),
        (MIDNIGHT, END, 12 * HOUR_MS, HOUR_MS),
        (MIDNIGHT, END, 2 * DAY_MS, DAY_MS),
        (MIDNIGHT + 3 * HOUR_MS, MIDNIGHT + 7 * DAY_MS, HOUR_MS, HOUR_MS),
        (MIDNIGHT + DAY_MS, MIDNIGHT + 3 * DAY_MS, 10 * MINUTE_MS, 5 * MINUTE_MS),
        (MIDNIGHT + DAY_MS, MIDNIGHT + DAY_MS + 2 * HOUR_MS, MINUTE_MS, 0),
        (END - 2 * HOUR_MS, END + HOUR_MS, HOUR_MS, HOUR_MS),
        (END, END + HOUR_MS, HOUR_MS, 0),
    ],
)
async def test_a_chart_of_roll_ups_is_that_of_the_samples(
    box: Box, density: str, from_ms: int, to_ms: int, step_ms: int, resolution_ms: int
) -> None:
    samples = every(PERIODS[density], MIDNIGHT, END + HOUR_MS // 2)
    await box.add(samples)
    await box.work(END + GRACE_MS)
    chart = await box.chart(from_ms, to_ms, -(-(to_ms - from_ms) // step_ms))
    assert (chart.from_ms, chart.to_ms, chart.step_ms) == (from_ms, to_ms, step_ms)
    assert drawn(chart) == {
        n: pytest.approx(column, abs=1e-4) for n, column in buckets(samples, from_ms, to_ms, step_ms).items()
    }
    assert chart.time_ms == sorted(chart.time_ms)
    if density == "dense" or (density != "rare" and resolution_ms != 5 * MINUTE_MS):
        assert chart.resolution_ms == resolution_ms


@pytest.mark.parametrize("points", [1, 3, 7, 40, 100, 1500, 10_000])
async def test_a_range_that_fits_no_slot_still_has_each_sample_once(box: Box, points: int) -> None:
    samples = every(MINUTE_MS, MIDNIGHT, END + 1)
    await box.add(samples)
    await box.work(END + GRACE_MS)
    from_ms, to_ms = MIDNIGHT + 12_345_678, END - 23_456_789
    chart = await box.chart(from_ms, to_ms, points)
    ((low, mean, high, count),) = buckets(samples, from_ms, to_ms, to_ms - from_ms).values()
    assert (min(chart.min), max(chart.max), sum(chart.count)) == (low, high, count)
    weighed = sum(m * n for m, n in zip(chart.mean, chart.count, strict=True)) / count
    assert weighed == pytest.approx(mean, abs=1e-4)
    assert len(chart.time_ms) <= points
    assert all(from_ms <= time_ms < to_ms for time_ms in chart.time_ms)


@pytest.mark.parametrize("points", [1, 2, 24])
@pytest.mark.parametrize("from_ms", [MIDNIGHT - DAY_MS // 2, MIDNIGHT, MIDNIGHT + 3 * HOUR_MS + 1])
async def test_what_is_not_rolled_up_yet_is_there_too(box: Box, from_ms: int, points: int) -> None:
    """The mark stands in the first day of the range, and in the first hours of its bucket."""
    samples = every(MINUTE_MS, MIDNIGHT, MIDNIGHT + DAY_MS // 2)
    await box.add(samples)
    await box.work(MIDNIGHT + 10 * HOUR_MS + GRACE_MS)
    assert box.marks() == (MIDNIGHT + 10 * HOUR_MS, 0)
    chart = await box.chart(from_ms, MIDNIGHT + 2 * DAY_MS, points)
    assert sum(chart.count) == len([time_ms for time_ms, _ in samples if time_ms >= from_ms])


async def test_gaps_stay_gaps(box: Box) -> None:
    await box.add(every(MINUTE_MS, MIDNIGHT, MIDNIGHT + 2 * DAY_MS))
    await box.add(every(MINUTE_MS, MIDNIGHT + 5 * DAY_MS, END + 1))
    await box.work(END + GRACE_MS)
    chart = await box.chart(MIDNIGHT, END, 240)
    assert chart.resolution_ms == HOUR_MS
    assert [n for n in range(240) if n not in drawn(chart)] == list(range(48, 120))


async def test_all_begins_with_the_first_sample(box: Box) -> None:
    await box.add([(MIDNIGHT + 5, 1.0), (MIDNIGHT + DAY_MS, 2.0)])
    chart = await box.chart(None, END, 100)
    assert (chart.from_ms, chart.first_ms, sum(chart.count)) == (MIDNIGHT + 5, MIDNIGHT + 5, 2)
    assert (await box.chart(END - 5, END, 100)).first_ms == MIDNIGHT + 5


async def test_all_of_what_is_later_is_empty(box: Box) -> None:
    await box.add([(MIDNIGHT, 1.0)])
    chart = await box.chart(None, MIDNIGHT - 1000, 100)
    assert (chart.from_ms, chart.time_ms) == (MIDNIGHT - 1001, [])


@pytest.mark.parametrize("query", [CHART_QUERY, ROLLED_QUERY])
def test_what_is_read_is_found_by_its_key(box: Box, query: str) -> None:
    """No statement of a chart looks at a row of another series, or of another time."""
    import re

    plan = box.rows(f"EXPLAIN QUERY PLAN {re.sub(r':[a-z_]+', '1', query)}")
    reads = [row[3] for row in plan if re.search(r"\b(resource|rollup|c|f)\b", row[3].split(" USING")[0])]
    assert reads
    assert all(read.startswith("SEARCH") and "series_id=?" in read for read in reads)
