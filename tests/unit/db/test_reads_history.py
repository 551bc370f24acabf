"""Samples as they are read: pages that pass over none, exports that keep no connection and no memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from math import inf
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db import history
from flownexus_appliance.db.history import Sample, Span
from flownexus_appliance.db.reads import CONNECTIONS, FETCH_ROWS, MAX_PAGE_BYTES, Reader
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import INT64_MAX, DataType, ObjectLink, Record, Value

NOW = 1_760_000_000_000
TEMPERATURE = Path.of(3303, 0, 5700)


class Box:
    """A store and a reader on one file."""

    def __init__(self, path: FilePath) -> None:
        self.store = Store(path, lambda path, data_type: ResourceType(str(path), data_type, ""))
        self.reader = Reader(path)

    async def add(
        self, *samples: tuple[int, Value], path: Path = TEMPERATURE, data_type: DataType = DataType.FLOAT
    ) -> None:
        records = [Record(path, value, data_type, time_ms) for time_ms, value in samples]
        self.store.add_samples("a", records, NOW)
        await self.store.commit()

    async def page(self, span: Span, limit: int = 100) -> tuple[list[int], int | None]:
        page = await self.reader.history("a", TEMPERATURE, span, limit)
        assert page is not None
        return [sample.time_ms for sample in page[0]], page[1]

    async def exported(self, span: Span, *paths: Path) -> list[tuple[str, list[int]]]:
        return [
            (path, [sample.time_ms for sample in samples])
            async for path, samples in self.reader.export("a", [str(path) for path in paths], span)
        ]


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    box = Box(tmp_path / "test.db")
    await box.store.start()
    await box.reader.start()
    yield box
    await box.reader.stop()
    await box.store.stop()


async def test_a_page_is_bounded_on_both_sides(box: Box) -> None:
    await box.add(*((time_ms, float(time_ms)) for time_ms in range(-2, 8)))
    assert await box.page(Span()) == (list(range(-2, 8)), None)
    assert await box.page(Span(newest_first=True)) == (list(range(7, -3, -1)), None)
    assert await box.page(Span(2, 5)) == ([2, 3, 4], None)
    assert await box.page(Span(2, 5, newest_first=True)) == ([4, 3, 2], None)
    assert await box.page(Span(2, 5), 2) == ([2, 3], 3)
    assert await box.page(Span(2, 5, 3), 2) == ([4], None)
    assert await box.page(Span(2, 5, newest_first=True), 2) == ([4, 3], 3)
    assert await box.page(Span(2, 5, 3, newest_first=True), 2) == ([2], None)
    assert await box.page(Span(2, 5, 0)) == ([2, 3, 4], None)
    assert await box.page(Span(2, 5, 9, newest_first=True)) == ([4, 3, 2], None)
    assert await box.page(Span(after=INT64_MAX - 1)) == ([], None)
    assert await box.page(Span(0, 7), 7) == ([0, 1, 2, 3, 4, 5, 6], None)  # exactly full


async def test_who_told_nothing_has_no_page(box: Box) -> None:
    await box.add((1, 1.0))
    assert await box.reader.history("a", Path.of(3303, 9, 5700), Span(), 5) is None
    assert await box.reader.history("b", TEMPERATURE, Span(), 5) is None


async def test_values_are_as_the_device_meant_them(box: Box) -> None:
    for path, data_type, value, plain in (
        (Path.of(9, 0, 0), DataType.BOOLEAN, True, True),
        (Path.of(9, 0, 1), DataType.OPAQUE, b"\x00\xff", "00ff"),
        (Path.of(9, 0, 2), DataType.OBJLNK, ObjectLink(66, 0), "66:0"),
        (Path.of(9, 0, 3), DataType.UNSIGNED, 2**64 - 1, 2**64 - 1),
        (Path.of(9, 0, 4), DataType.FLOAT, -inf, "-inf"),
    ):
        await box.add((5, value), path=path, data_type=data_type)
        page = await box.reader.history("a", path, Span(), 5)
        assert page == ([Sample(5, plain)], None)
        assert type(page[0][0].value) is type(plain)


async def test_a_page_that_weighs_a_lot_ends_early(box: Box) -> None:
    await box.add(
        *((time_ms, b"x" * 20_000) for time_ms in range(300)), path=TEMPERATURE, data_type=DataType.OPAQUE
    )
    seen: list[int] = []
    after: int | None = None
    pages = 0
    while True:
        times, after = await box.page(Span(after=after), 300)
        assert len(times) * 20_000 < MAX_PAGE_BYTES + FETCH_ROWS * 20_000
        seen += times
        pages += 1
        if after is None:
            break
    assert seen == list(range(300))
    assert pages > 3


async def test_an_export_is_whole_and_in_order(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PIECE", 4)
    other = Path.of(3, 0, 9)
    await box.add(*((time_ms, 1.0) for time_ms in range(10)))
    await box.add(*((time_ms, 1.0) for time_ms in range(8)), path=other)
    assert await box.exported(Span(), other, TEMPERATURE) == [
        ("/3/0/9", [0, 1, 2, 3]),
        ("/3/0/9", [4, 5, 6, 7]),
        ("/3303/0/5700", [0, 1, 2, 3]),
        ("/3303/0/5700", [4, 5, 6, 7]),
        ("/3303/0/5700", [8, 9]),
    ]
    assert await box.exported(Span(3, 8), TEMPERATURE) == [
        ("/3303/0/5700", [3, 4, 5, 6]),
        ("/3303/0/5700", [7]),
    ]
    assert await box.exported(Span(50), TEMPERATURE, other) == []
    assert await box.exported(Span(), Path.of(9, 9, 9)) == []


async def test_what_comes_in_meanwhile_joins_what_is_not_passed(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PIECE", 2)
    await box.add((1, 1.0), (2, 1.0), (3, 1.0))
    seen: list[int] = []
    async for _, samples in box.reader.export("a", [str(TEMPERATURE)], Span(to_ms=10)):
        if not seen:
            await box.add((0, 1.0), (5, 1.0), (12, 1.0))
        seen += [sample.time_ms for sample in samples]
    assert seen == [1, 2, 3, 5]


async def test_who_reads_slowly_holds_nobody_up(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "PIECE", 2)
    await box.add(*((time_ms, 1.0) for time_ms in range(10)))
    async with AsyncExitStack() as stack:
        for _ in range(CONNECTIONS * 3):
            slow = await stack.enter_async_context(
                aclosing(box.reader.export("a", [str(TEMPERATURE)], Span()))
            )
            await anext(slow)
        async with asyncio.timeout(10):
            assert await box.page(Span(), 1) == ([0], 0)
            assert sorted(one.endpoint for one in await box.reader.listed()) == ["a"]


async def test_no_piece_is_longer_for_a_longer_series(box: Box) -> None:
    for first in range(0, 30_000, 10_000):
        await box.add(*((time_ms, 1.0) for time_ms in range(first, first + 10_000)))
    sizes = [len(times) for _, times in await box.exported(Span(), TEMPERATURE)]
    assert sizes == [history.PIECE] * 30
