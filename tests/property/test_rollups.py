"""Whatever comes in whatever order, with upkeep in between: no sample is lost to a chart or in it twice."""

import asyncio
from itertools import count
from pathlib import Path as FilePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flownexus_appliance.db import rollups
from flownexus_appliance.db.rollups import DAY_MS, HOUR_MS
from flownexus_appliance.db.upkeep import GRACE_MS
from tests.unit.db.rolling import MIDNIGHT, MINUTE_MS, Box, buckets, drawn

DAYS = 6
KEEP_DAYS = 2
END = MIDNIGHT + DAYS * DAY_MS

# A burst of samples: when it begins, how far apart they are, how many.
bursts = st.tuples(
    st.integers(0, DAYS * 24 * 12 - 1).map(lambda n: MIDNIGHT + n * 5 * MINUTE_MS),
    st.sampled_from([1_000, 20_000, MINUTE_MS, 10 * MINUTE_MS, HOUR_MS]),
    st.integers(1, 80),
)
# And when upkeep is done: at an hour of the time, and so many pieces of it.
works = st.tuples(st.integers(0, DAYS * 24 + 30), st.integers(1, 4) | st.just(1000))
steps = st.lists(bursts | works, min_size=1, max_size=12)


@pytest.mark.parametrize("keep_days", [0, KEEP_DAYS])
def test_each_sample_is_in_every_chart_once(
    tmp_path: FilePath, keep_days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "PIECE_SAMPLES", 50)
    with asyncio.Runner() as runner:
        box = Box(tmp_path / "test.db", keep_days)
        runner.run(box.start())
        numbers = count()

        @settings(max_examples=120, deadline=None)
        @given(steps)
        def carried_out(story: list[tuple[int, ...]]) -> None:
            runner.run(carry_out(f"device {next(numbers)}", story))

        async def carry_out(endpoint: str, story: list[tuple[int, ...]]) -> None:
            samples: dict[int, float] = {}
            for step in story:
                if len(step) == 2:
                    box.upkeep.look(MIDNIGHT + step[0] * HOUR_MS + GRACE_MS)
                    for _ in range(step[1]):
                        if not await box.upkeep.piece():
                            break
                    continue
                begin, period_ms, length = step
                burst = {begin + n * period_ms: float(n % 7) for n in range(length)}
                new = {time_ms: burst[time_ms] for time_ms in burst if time_ms not in samples}
                samples |= new
                await box.add(list(new.items()), endpoint=endpoint)
            if samples:
                await check(endpoint, list(samples.items()))
                await box.work(END + DAY_MS + GRACE_MS)
                await check(endpoint, list(samples.items()))

        async def check(endpoint: str, samples: list[tuple[int, float]]) -> None:
            while box.store.catalog.late_hours or box.store.catalog.late_left:
                assert await box.upkeep.piece()
            # Bursts may reach beyond the end.
            last = END + 4 * DAY_MS
            for points in (1, 10, 240, 2880, 10_000):
                chart = await box.chart(MIDNIGHT, last, points, endpoint)
                ((low, mean, high, number),) = buckets(samples, MIDNIGHT, last, last).values()
                assert (min(chart.min), max(chart.max), sum(chart.count)) == (low, high, number)
                weighed = sum(m * n for m, n in zip(chart.mean, chart.count, strict=True)) / number
                assert weighed == pytest.approx(mean, abs=1e-4)
            by_day = await box.chart(MIDNIGHT, last, DAYS + 4, endpoint)
            assert drawn(by_day) == {
                n: pytest.approx(column, abs=1e-4)
                for n, column in buckets(samples, MIDNIGHT, last, DAY_MS).items()
            }

        try:
            carried_out()
        finally:
            runner.run(box.stop())
