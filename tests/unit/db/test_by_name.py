"""Samples by name: the newest of all series of a name, however they lie in time, and nothing beyond."""

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path as FilePath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flownexus_appliance.db.by_name import FIRST_SPAN_MS, NEWEST, NamedSample, samples_by_name
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record, Value

NOW_MS = 1_795_000_000_000
TEMPERATURE = Path.of(3303, 0, 5700)
DAY_MS = 86_400_000


def describe(path: Path, data_type: DataType) -> ResourceType:
    """Objects below 4000 measure, the others are named after their resource."""
    return ResourceType("Sensor Value" if path[0] < 4000 else f"Resource {path[2]}", data_type, "")


@pytest.fixture
def file(tmp_path: FilePath) -> FilePath:
    return tmp_path / "flownexus.db"


@pytest.fixture
async def store(file: FilePath) -> AsyncIterator[Store]:
    store = Store(file, describe)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
async def reader(file: FilePath, store: Store) -> AsyncIterator[Reader]:
    reader = Reader(file)
    await reader.start()
    yield reader
    await reader.stop()


async def keep(store: Store, endpoint: str, times: Mapping[int, Value], path: Path = TEMPERATURE) -> None:
    for moment, value in times.items():
        kind = DataType.FLOAT if isinstance(value, float) else DataType.STRING
        store.add_samples(endpoint, [Record(path, value, kind, moment)], NOW_MS)
    await store.commit()


async def test_no_such_name(reader: Reader, store: Store) -> None:
    await keep(store, "one", {NOW_MS: 1.0})
    assert await samples_by_name(reader.take, "sensor value") is None
    assert await samples_by_name(reader.take, "") is None


async def test_a_name_whose_samples_are_gone(reader: Reader, store: Store, file: FilePath) -> None:
    await keep(store, "one", {NOW_MS: 1.0})
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM resource")
    assert await samples_by_name(reader.take, "Sensor Value") == []


async def test_all_devices_objects_and_instances_of_a_name(reader: Reader, store: Store) -> None:
    await keep(store, "one", {NOW_MS - DAY_MS: 1.0, NOW_MS: 4.0})
    await keep(store, "two", {NOW_MS - 3: 3.0}, Path.of(3303, 7, 5700))
    await keep(store, "two", {NOW_MS - 2 * DAY_MS: 0.0}, Path.of(3304, 0, 5700))
    await keep(store, "two", {NOW_MS - 1: 9.0}, Path.of(4000, 0, 5700))
    assert await samples_by_name(reader.take, "Sensor Value") == [
        NamedSample(NOW_MS - 2 * DAY_MS, 0.0, "float"),
        NamedSample(NOW_MS - DAY_MS, 1.0, "float"),
        NamedSample(NOW_MS - 3, 3.0, "float"),
        NamedSample(NOW_MS, 4.0, "float"),
    ]


async def test_values_as_json_has_them(reader: Reader, store: Store) -> None:
    values: list[tuple[Value, DataType]] = [
        (b"\x01\xff", DataType.OPAQUE), (True, DataType.BOOLEAN), (5, DataType.TIME), ("x", DataType.STRING),
    ]  # fmt: skip
    for number, (value, kind) in enumerate(values):
        store.add_samples("one", [Record(Path.of(4000, number, 1), value, kind, NOW_MS + number)], NOW_MS)
    await store.commit()
    found = await samples_by_name(reader.take, "Resource 1")
    assert found is not None
    assert [(one.value, one.data_type) for one in found] == [
        ("01ff", "opaque"), (True, "boolean"), (5, "time"), ("x", "string"),
    ]  # fmt: skip


async def test_large_values_are_fewer(reader: Reader, store: Store) -> None:
    await keep(store, "one", {NOW_MS + n: "x" * 8000 for n in range(400)}, Path.of(4000, 0, 1))
    found = await samples_by_name(reader.take, "Resource 1")
    assert found is not None
    assert 100 < len(found) < 400
    assert found[-1].time_ms == NOW_MS + 399
    assert [one.time_ms for one in found] == list(range(NOW_MS + 400 - len(found), NOW_MS + 400))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    series=st.lists(
        st.lists(st.integers(0, 40 * FIRST_SPAN_MS), min_size=1, max_size=12, unique=True),
        min_size=1,
        max_size=4,
    ),
    limit=st.integers(1, 30),
)
async def test_the_newest_wherever_they_lie(
    tmp_path_factory: pytest.TempPathFactory, series: list[list[int]], limit: int
) -> None:
    file = tmp_path_factory.mktemp("by_name") / "flownexus.db"
    store, reader = Store(file, describe), Reader(file)
    await store.start()
    for number, times in enumerate(series):
        await keep(store, f"device {number}", {NOW_MS - back: float(back) for back in sorted(times)[::-1]})
    await reader.start()
    try:
        found = await samples_by_name(reader.take, "Sensor Value", limit)
    finally:
        await reader.stop()
        await store.stop()
    assert found is not None
    newest = sorted((NOW_MS - back for times in series for back in times), reverse=True)[:limit]
    assert [one.time_ms for one in found] == newest[::-1]


def test_what_is_older_is_not_touched(tmp_path: FilePath) -> None:
    """The plan seeks in each series by its key; a scan of all samples would take for ever."""
    schema = FilePath(__file__).parents[3] / "flownexus_appliance/db/schema/0001_initial.sql"
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(schema.read_text(encoding="utf-8"))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {NEWEST}", {"name": "x", "from_ms": 0}).fetchall()
    seeks = [row[3] for row in plan if row[3].startswith("SEARCH r ")]
    assert seeks == ["SEARCH r USING PRIMARY KEY (series_id=? AND time_ms>?)"]
