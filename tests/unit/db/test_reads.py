"""What pages read: names, newest values and charts, by connections that cannot write."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from math import inf, nan
from pathlib import Path as FilePath

import aiosqlite
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flownexus_appliance.db import reads
from flownexus_appliance.db.charts import Chart
from flownexus_appliance.db.reads import CONNECTIONS, Reader
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration
from flownexus_appliance.lwm2m.values import UINT64_MAX, DataType, ObjectLink, Record, Value

NOW = 1_760_000_000_000
TEMPERATURE = Path.of(3303, 0, 5700)
UNITS = Path.of(3303, 0, 5701)
BATTERY = Path.of(3, 0, 9)


def describe(path: Path, data_type: DataType) -> ResourceType:
    """A model that knows the units of the battery level, and of nothing else."""
    return ResourceType(f"Resource {path[2]}", data_type, "%" if path[0] == 3 else "")


def registration(endpoint: str) -> Registration:
    return Registration(
        id=f"id {endpoint}",
        endpoint=endpoint,
        address="127.0.0.1:5683",
        lwm2m_version="1.1",
        lifetime_s=60,
        binding="U",
        queue_mode=True,
        root_path="/",
        objects={3: RegisteredObject("1.1", (0, 1))},
        content_formats=(112, 110),
        message_id=1,
        token=b"token",
        registered_ms=NOW,
        updated_ms=NOW + 5,
        expires_at=0.0,
        attributes={"site": "roof"},
    )


class Box:
    """A store and a reader on one file."""

    def __init__(self, path: FilePath) -> None:
        self.store = Store(path, describe)
        self.reader = Reader(path)

    async def start(self) -> None:
        await self.store.start()
        try:
            await self.reader.start()
        except BaseException:
            await self.store.stop()
            raise

    async def stop(self) -> None:
        await self.reader.stop()
        await self.store.stop()

    async def add(
        self, *samples: tuple[int, Value], path: Path = TEMPERATURE, endpoint: str = "a",
        data_type: DataType = DataType.FLOAT,
    ) -> None:  # fmt: skip
        records = [Record(path, value, data_type, time_ms) for time_ms, value in samples]
        self.store.add_samples(endpoint, records, NOW)
        await self.store.commit()

    async def name(self, *endpoints: str) -> None:
        for endpoint in endpoints:
            self.store.add_samples(endpoint, [], NOW)
        await self.store.commit()

    async def found(self) -> list[str]:
        return sorted(one.endpoint for one in await self.reader.listed())

    async def chart(
        self, from_ms: int, to_ms: int, points: int, path: Path = TEMPERATURE, endpoint: str = "a"
    ) -> Chart:
        chart = await self.reader.chart(endpoint, path, from_ms, to_ms, points)
        assert chart is not None
        return chart


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    box = Box(tmp_path / "a box?#%41.db")  # a name that an address has to escape
    await box.start()
    yield box
    await box.stop()


# Endpoints


async def test_an_endpoint_with_its_registration(box: Box) -> None:
    box.store.put_registration(registration("a"))
    await box.store.commit()
    (row,) = await box.reader.endpoints(["a"])
    assert row == await box.reader.endpoint("a")
    assert (row.id, row.endpoint, row.label, row.first_seen_ms, row.last_seen_ms) == (
        1,
        "a",
        "",
        NOW,
        NOW + 5,
    )
    assert row.registration == reads.RegistrationRow(
        id="id a",
        address="127.0.0.1:5683",
        lwm2m_version="1.1",
        lifetime_s=60,
        binding="U",
        queue_mode=True,
        root_path="/",
        objects={"3": {"version": "1.1", "instances": [0, 1]}},
        content_formats=[112, 110],
        attributes={"site": "roof"},
        registered_ms=NOW,
        updated_ms=NOW + 5,
        expires_ms=NOW + 60_005,
        secure=False,
    )


async def test_an_endpoint_outlives_its_registration(box: Box) -> None:
    box.store.put_registration(registration("a"))
    box.store.remove_registration(registration("a"))
    await box.store.commit()
    row = await box.reader.endpoint("a")
    assert row is not None
    assert row.registration is None
    assert await box.reader.endpoint("b") is None
    assert await box.reader.endpoint("") is None


async def test_endpoints_asked_for_come_by_name_and_unknown_ones_not_at_all(box: Box) -> None:
    names = [f"device {n:03}" for n in range(25)]
    await box.name(*reversed(names))
    assert await box.found() == names
    rows = await box.reader.endpoints(["device 020", "device 003", "nobody", "device 011"])
    assert [row.endpoint for row in rows] == ["device 003", "device 011", "device 020"]
    assert await box.reader.endpoints([]) == []


# Newest values


async def test_the_newest_by_the_devices_time_not_by_arrival(box: Box) -> None:
    await box.add((3000, 3.0))
    await box.add((1000, 1.0), (2000, 2.0))
    (latest,) = await box.reader.latest("a")
    assert (latest.value, latest.time_ms) == (3.0, 3000)


async def test_newest_values_are_ordered_by_numbers_not_by_text(box: Box) -> None:
    paths = [Path.of(10, 0, 1), Path.of(3, 0, 9), Path.of(3, 0, 11), Path.of(3, 0, 6, 1), Path.of(3, 0, 6)]
    for path in paths:
        await box.add((NOW, 1.0), path=path)
    found = [value.path for value in await box.reader.latest("a")]
    assert found == ["/3/0/6", "/3/0/6/1", "/3/0/9", "/3/0/11", "/10/0/1"]


async def test_newest_values_of_many_endpoints_at_once(box: Box) -> None:
    names = ["a", 'q"uote', "zürich", "𝄞"]
    for number, name in enumerate(names):
        await box.add((NOW, float(number)), endpoint=name)
        await box.add((NOW, "V"), path=UNITS, endpoint=name, data_type=DataType.STRING)
    await box.add((NOW, 9.0), endpoint="not asked for")
    found = await box.reader.latest_of([*names, "unknown", "a"])
    assert list(found) == [*names, "unknown"]
    assert found["unknown"] == []
    for number, name in enumerate(names):
        assert [(value.value, value.units) for value in found[name]] == [(float(number), "V"), ("V", "")]
        assert found[name] == await box.reader.latest(name)
    assert await box.reader.latest_of([]) == {}


@pytest.mark.parametrize(
    ("data_type", "value", "plain"),
    [
        (DataType.FLOAT, nan, "nan"),
        (DataType.FLOAT, -inf, "-inf"),
        (DataType.FLOAT, 21.5, 21.5),
        (DataType.UNSIGNED, UINT64_MAX, UINT64_MAX),
        (DataType.BOOLEAN, True, True),
        (DataType.OPAQUE, b"\x0a\xff", "0aff"),
        (DataType.OBJLNK, ObjectLink(66, 0), "66:0"),
        (DataType.STRING, "<script>\0", "<script>\0"),
    ],
)
async def test_a_newest_value_as_json_has_it(
    box: Box, data_type: DataType, value: Value, plain: object
) -> None:
    await box.add((NOW, value), path=Path.of(1, 0, 0), data_type=data_type)
    (latest,) = await box.reader.latest("a")
    assert latest.value == plain
    assert type(latest.value) is type(plain)
    assert (latest.data_type, latest.name) == (data_type.value, "Resource 0")


async def test_a_newest_value_of_an_earlier_type_is_shown_as_it_was(box: Box) -> None:
    await box.add((2000, "warm"), data_type=DataType.STRING)
    await box.add((1000, 21), data_type=DataType.INTEGER)
    (latest,) = await box.reader.latest("a")
    assert (latest.value, latest.data_type) == ("warm", "integer")


# Units


async def test_a_sensor_says_its_own_units(box: Box) -> None:
    await box.add((NOW, 21.5))
    await box.add((NOW, 20.0), path=Path.of(3303, 1, 5700))
    await box.add((NOW, 50.0), path=BATTERY)
    await box.add((NOW, "ignored"), path=Path.of(3, 0, 5701), data_type=DataType.STRING)
    await box.add((NOW, "F"), path=UNITS, data_type=DataType.STRING)
    await box.add((NOW + 1, "Cel"), path=UNITS, data_type=DataType.STRING)
    units = {value.path: value.units for value in await box.reader.latest("a")}
    assert units["/3303/0/5700"] == "Cel"
    assert units["/3303/1/5700"] == ""
    assert units["/3/0/9"] == "%"  # the model knows better
    assert units["/3303/0/5701"] == ""
    assert (await box.chart(0, NOW * 2, 10)).units == "Cel"
    assert (await box.chart(0, NOW * 2, 10, Path.of(3303, 1, 5700))).units == ""
    assert (await box.chart(0, NOW * 2, 10, BATTERY)).units == "%"


async def test_instances_of_a_resource_share_their_units(box: Box) -> None:
    path = Path.of(3303, 0, 5700, 2)
    await box.add((NOW, 21.5), path=path)
    await box.add((NOW, "Cel"), path=UNITS, data_type=DataType.STRING)
    assert [value.units for value in await box.reader.latest("a")] == ["Cel", ""]
    assert (await box.chart(0, NOW * 2, 10, path)).units == "Cel"


# Charts


def buckets(samples: Sequence[tuple[int, Value]], from_ms: int, to_ms: int, points: int) -> list[list[float]]:
    """What a chart shall hold, the slow way: per bucket its first time, least, mean, greatest, count."""
    step_ms = max(1, -((from_ms - to_ms) // points))
    found: dict[int, list[tuple[int, float]]] = {}
    for time_ms, value in sorted(samples, key=lambda sample: sample[0]):
        if from_ms <= time_ms < to_ms and isinstance(value, (int, float)) and abs(value) < inf:
            found.setdefault((time_ms - from_ms) // step_ms, []).append((time_ms, value))
    return [
        [inside[0][0], min(v), sum(v) / len(v), max(v), len(v)]
        for inside in found.values()
        if (v := [value for _, value in inside])
    ]


times = st.integers(-50, 1050)
readings = st.floats(-1e6, 1e6) | st.integers(-1000, 1000) | st.sampled_from([nan, inf, -inf])


def test_a_chart_is_what_the_slow_way_gives(tmp_path: FilePath) -> None:
    with asyncio.Runner() as runner:
        box = Box(tmp_path / "test.db")
        runner.run(box.start())
        count = 0

        @settings(max_examples=150, deadline=None)
        @given(
            st.dictionaries(times, readings, max_size=40),
            st.integers(-100, 1000),
            st.integers(1, 1200),
            st.integers(1, 60) | st.just(10_000),
        )
        def compare(samples: dict[int, float], from_ms: int, span_ms: int, points: int) -> None:
            nonlocal count
            count += 1
            endpoint = f"device {count}"
            runner.run(box.add((0, 0.5), *samples.items(), endpoint=endpoint))
            runner.run(check(endpoint, from_ms, from_ms + span_ms, points))

        async def check(endpoint: str, from_ms: int, to_ms: int, points: int) -> None:
            rows = await box.reader._rows(
                "SELECT time_ms, value FROM resource JOIN series s ON s.id = series_id"
                " JOIN endpoint e ON e.id = s.endpoint_id WHERE e.name = :name",
                {"name": endpoint},
            )
            chart = await box.chart(from_ms, to_ms, points, endpoint=endpoint)
            expected = buckets([(row[0], row[1]) for row in rows], from_ms, to_ms, points)
            columns = zip(chart.time_ms, chart.min, chart.mean, chart.max, chart.count, strict=True)
            assert len(chart.time_ms) <= points
            assert [pytest.approx(row) for row in expected] == [list(column) for column in columns]
            assert chart.time_ms == sorted(chart.time_ms)

        try:
            compare()
        finally:
            runner.run(box.stop())


async def test_the_range_holds_its_beginning_and_not_its_end(box: Box) -> None:
    await box.add((999, 1.0), (1000, 2.0), (1999, 3.0), (2000, 4.0))
    chart = await box.chart(1000, 2000, 1000)
    assert (chart.time_ms, chart.mean, chart.step_ms) == ([1000, 1999], [2.0, 3.0], 1)


async def test_one_point_is_the_whole_range(box: Box) -> None:
    await box.add((1000, 1.0), (1500, 6.0), (1999, 2.0))
    chart = await box.chart(1000, 2000, 1)
    assert (chart.time_ms, chart.min, chart.mean, chart.max, chart.count) == (
        [1000],
        [1.0],
        [3.0],
        [6.0],
        [3],
    )


async def test_gaps_stay_gaps(box: Box) -> None:
    await box.add((0, 1.0), (10, 2.0), (900, 3.0))
    chart = await box.chart(0, 1000, 10)
    assert (chart.step_ms, chart.time_ms, chart.count) == (100, [0, 900], [2, 1])


@pytest.mark.parametrize(("from_ms", "to_ms"), [(5000, 6000), (1000, 1000), (2000, 1000)])
async def test_a_range_without_samples_is_empty(box: Box, from_ms: int, to_ms: int) -> None:
    await box.add((1000, 1.0), (1500, 1.0))
    chart = await box.chart(from_ms, to_ms, 10)
    assert (chart.time_ms, chart.min, chart.mean, chart.max, chart.count) == ([], [], [], [], [])
    assert (chart.from_ms, chart.to_ms, chart.path) == (from_ms, to_ms, "/3303/0/5700")


async def test_only_numbers_are_drawn(box: Box) -> None:
    samples: list[tuple[int, Value]] = [(1, nan), (2, 5.0), (3, inf), (4, "high"), (5, b"\x01"), (6, 7)]
    await box.add(*samples)
    chart = await box.chart(0, 100, 1)
    assert (chart.time_ms, chart.min, chart.max, chart.count) == ([2], [5.0], [7], [2])


async def test_charts_are_of_one_series(box: Box) -> None:
    await box.add((1, 1.0), endpoint="a")
    await box.add((1, 2.0), endpoint="b")
    await box.add((1, 3.0), path=BATTERY)
    assert (await box.chart(0, 10, 5)).mean == [1.0]
    assert (await box.chart(0, 10, 5, endpoint="b")).mean == [2.0]
    assert await box.reader.chart("a", Path.of(3303, 9, 5700), 0, 10, 5) is None
    assert await box.reader.chart("nobody", TEMPERATURE, 0, 10, 5) is None


# Connections


async def test_readers_cannot_write(box: Box) -> None:
    await box.name("a")
    for statement in (
        "DELETE FROM endpoint",
        "INSERT INTO setting VALUES ('a', 'b')",
        "CREATE TABLE mine (x)",
        "PRAGMA user_version = 5",
    ):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await box.reader._rows(statement, {})
    assert await box.found() == ["a"]


async def test_a_read_sees_what_was_committed_and_nothing_else(box: Box) -> None:
    await box.name("a")
    box.store.add_samples("b", [], NOW)
    assert await box.found() == ["a"]
    await box.store.commit()
    assert await box.found() == ["a", "b"]


async def test_more_readers_than_connections_take_turns(box: Box) -> None:
    await box.name("a")
    pages = await asyncio.gather(*(box.found() for _ in range(CONNECTIONS * 20)))
    assert pages == [["a"]] * len(pages)


async def test_a_reader_that_gives_up_gives_its_connection_back(box: Box) -> None:
    await box.name("a")
    for _ in range(CONNECTIONS * 3):
        task = asyncio.create_task(box.found())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(sqlite3.OperationalError):
        await box.reader._rows("SELECT * FROM nosuch", {})
    async with asyncio.timeout(10):
        assert await box.found() == ["a"]


async def test_a_path_may_be_relative(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    box = Box(FilePath("var") / "test.db")
    await box.start()
    await box.name("a")
    assert await box.found() == ["a"]
    await box.stop()


async def test_without_a_database_nothing_stays_open(tmp_path: FilePath) -> None:
    reader = Reader(tmp_path / "none.db")
    with pytest.raises(sqlite3.OperationalError):
        await reader.start()
    assert not (tmp_path / "none.db").exists()


async def test_a_failed_start_ends_the_connections_it_made(
    box: Box, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, made = aiosqlite.connect, 0

    def second_fails(address: str, *, uri: bool) -> aiosqlite.Connection:
        nonlocal made
        made += 1
        if made > 1:
            raise sqlite3.OperationalError("too many open files")
        return connect(address, uri=uri)

    monkeypatch.setattr(aiosqlite, "connect", second_fails)
    with pytest.raises(sqlite3.OperationalError):
        await Reader(box.store.path).start()  # conftest sees the thread that would be left
    assert made == 2
