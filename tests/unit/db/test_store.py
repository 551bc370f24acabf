"""The store: what is put comes back the same, whatever devices call themselves and say."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from math import copysign, inf, isnan, nan
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.kept import Kept
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.store import ResourceType, Store, from_sql, to_sql
from flownexus_appliance.lwm2m.observation import Observation
from flownexus_appliance.lwm2m.paths import MAX_ID, Path
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration
from flownexus_appliance.lwm2m.values import (
    INT64_MAX,
    INT64_MIN,
    UINT64_MAX,
    DataType,
    ObjectLink,
    Record,
    Value,
)

TEMPERATURE = Path.of(3303, 0, 5700)
NOW = 1_760_000_000_000
PATIENCE_S = 10.0

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.floats(width=64)
VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.STRING: texts,
    DataType.CORELNK: texts,
    DataType.INTEGER: st.integers(INT64_MIN, INT64_MAX),
    DataType.TIME: st.integers(INT64_MIN, INT64_MAX),
    DataType.UNSIGNED: st.integers(0, UINT64_MAX),
    DataType.FLOAT: numbers,
    DataType.BOOLEAN: st.booleans(),
    DataType.OPAQUE: st.binary(max_size=30),
    DataType.OBJLNK: st.builds(ObjectLink, st.integers(0, 65535), st.integers(0, 65535)),
}
typed = st.sampled_from(list(VALUES)).flatmap(lambda t: st.tuples(st.just(t), VALUES[t]))


def describe(path: Path, data_type: DataType) -> ResourceType:
    return ResourceType(f"Resource {path[2]}", data_type, "Cel" if path[2] == 5700 else "")


def number(value: float, time_ms: int | None = None, path: Path = TEMPERATURE) -> Record:
    return Record(path, value, DataType.FLOAT, time_ms)


def same(left: Value, right: Value) -> bool:
    """Equal to the last bit, and of one type."""
    if isinstance(left, float) and isinstance(right, float):
        return (isnan(left) and isnan(right)) or (left == right and copysign(1, left) == copysign(1, right))
    return type(left) is type(right) and left == right


class Box:
    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.store = Store(path, describe)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Kept]:
        kept = await self.store.start()
        try:
            yield kept
        finally:
            await self.store.stop()

    async def add(self, *records: Record, endpoint: str = "a", received_ms: int = NOW) -> None:
        self.store.add_samples(endpoint, records, received_ms)
        await self.store.commit()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()

    def samples(self, path: Path = TEMPERATURE, endpoint: str = "a") -> list[tuple[int, Value]]:
        """Time and value of a series as they are in the file, oldest first."""
        rows = self.rows(
            "SELECT e.name, s.path, s.data_type, r.time_ms, r.value FROM resource r"
            " JOIN series s ON s.id = r.series_id JOIN endpoint e ON e.id = s.endpoint_id ORDER BY time_ms"
        )
        return [
            (moment, from_sql(value, DataType(data_type)))
            for name, where, data_type, moment, value in rows
            if name == endpoint and where == str(path)
        ]


@pytest.fixture
async def box(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.001)
    box = Box(tmp_path / "test.db")
    async with box.open():
        yield box


async def reopen(path: FilePath) -> Kept:
    box = Box(path)
    async with box.open() as kept:
        return kept


# Values


@given(typed)
def test_a_value_comes_back_from_its_sql(case: tuple[DataType, Value]) -> None:
    data_type, value = case
    assert same(from_sql(to_sql(value), data_type), value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, 1),
        (False, 0),
        (nan, "nan"),
        (inf, "inf"),
        (-inf, "-inf"),
        (UINT64_MAX, "18446744073709551615"),
        (INT64_MAX, INT64_MAX),
        (INT64_MAX + 1, "9223372036854775808"),
        (INT64_MIN, INT64_MIN),
        (INT64_MIN - 1, "-9223372036854775809"),
        (10**100, "1" + "0" * 100),
        (ObjectLink(66, 0), "66:0"),
        ("text", "text"),
        (b"bytes", b"bytes"),
    ],
)
def test_how_a_value_is_kept(value: Value, kept: object) -> None:
    assert to_sql(value) == kept
    assert type(to_sql(value)) is type(kept)


@given(typed, st.sampled_from(list(DataType)))
def test_a_value_of_an_earlier_type_can_still_be_read(case: tuple[DataType, Value], later: DataType) -> None:
    assert isinstance(from_sql(to_sql(case[1]), later), (str, int, float, bool, bytes, ObjectLink))


SPECIAL: list[tuple[DataType, Value]] = [
    (DataType.FLOAT, nan),
    (DataType.FLOAT, inf),
    (DataType.FLOAT, -inf),
    (DataType.FLOAT, -0.0),
    (DataType.FLOAT, 0.0),
    (DataType.FLOAT, 5e-324),
    (DataType.FLOAT, 1.7976931348623157e308),
    (DataType.FLOAT, 0.1 + 0.2),
    (
        DataType.FLOAT,
        float.fromhex("-0x1.6ee6fa8e33c94p-259"),
    ),  # SQLite 3.46 reads its decimal form one bit off
    (DataType.FLOAT, 2.0**63),
    (DataType.FLOAT, 1e22),
    (DataType.UNSIGNED, UINT64_MAX),
    (DataType.UNSIGNED, INT64_MAX + 1),
    (DataType.INTEGER, INT64_MIN),
    (DataType.INTEGER, 0),
    (DataType.BOOLEAN, False),
    (DataType.STRING, "a\0b"),
    (DataType.STRING, "\0"),
    (DataType.STRING, ""),
    (DataType.STRING, "nan"),
    (DataType.STRING, "'; DROP TABLE resource; --"),
    (DataType.STRING, "é𝄞\u202e"),
    (DataType.OPAQUE, b""),
    (DataType.OPAQUE, bytes(range(256))),
    (DataType.OBJLNK, ObjectLink(65535, 65535)),
    (DataType.CORELNK, "</3/0>,</4>"),
    (DataType.TIME, -1),
]


async def test_special_values_of_every_type_come_back_from_the_file(box: Box) -> None:
    records = [
        Record(Path.of(9000, number, 0), value, data_type)
        for number, (data_type, value) in enumerate(SPECIAL)
    ]
    await box.add(*records)
    for record in records:
        ((moment, value),) = box.samples(record.path)
        assert same(value, record.value), record
        assert moment == NOW


def test_values_of_every_type_come_back_from_the_file(tmp_path: FilePath) -> None:
    with asyncio.Runner() as runner:
        box = Box(tmp_path / "test.db")
        runner.run(box.store.start())
        count = 0

        @settings(max_examples=60, deadline=None)
        @given(st.lists(typed, min_size=1, max_size=30))
        def compare(cases: list[tuple[DataType, Value]]) -> None:
            nonlocal count
            count += 1
            endpoint = f"device {count}"
            records = [Record(Path.of(1, n, 0), v, t) for n, (t, v) in enumerate(cases)]
            runner.run(box.add(*records, endpoint=endpoint))
            rows = box.rows(
                "SELECT path, data_type, value FROM resource JOIN series ON series.id = series_id"
                f" WHERE endpoint_id = (SELECT id FROM endpoint WHERE name = '{endpoint}')"
            )
            kept = {path: from_sql(value, DataType(data_type)) for path, data_type, value in rows}
            assert len(kept) == len(records)
            assert all(same(kept[str(record.path)], record.value) for record in records)

        try:
            compare()
        finally:
            runner.run(box.store.stop())


# Moments


async def test_a_device_that_stamps_its_values_has_its_own_times(box: Box) -> None:
    await box.add(number(1.0, NOW - 5000), number(2.0, NOW - 4000), number(3.0))
    assert box.samples() == [(NOW - 5000, 1.0), (NOW - 4000, 2.0), (NOW, 3.0)]


async def test_the_same_stamped_sample_sent_again_is_one(box: Box) -> None:
    message = [number(1.0, 1000), number(2.5, 2000), Record(Path.of(3, 0, 0), "x", DataType.STRING, 1000)]
    await box.add(*message)
    await box.add(*message, received_ms=NOW + 5)
    box.store.add_samples("a", message, NOW + 6)
    await box.add(*message, received_ms=NOW + 7)
    assert box.samples() == [(1000, 1.0), (2000, 2.5)]
    assert box.samples(Path.of(3, 0, 0)) == [(1000, "x")]


async def test_another_value_at_the_same_moment_is_another_sample(box: Box) -> None:
    await box.add(number(1.0, 1000), number(2.0, 1000), number(3.0, 1000))
    await box.add(number(4.0, 1000))
    box.store.add_samples("a", [number(5.0, 1000)], NOW)
    await box.add(number(6.0, 1000))
    assert box.samples() == [(1000 + n, float(n + 1)) for n in range(6)]


async def test_the_same_value_twice_in_one_message_is_two_samples(box: Box) -> None:
    """A device that stamps by the second may measure 21.5 twice in one; again as a whole it is known."""
    message = [number(21.5, 1000), number(21.5, 1000), number(21.5, 2000)]
    await box.add(*message)
    await box.add(*message)
    assert [moment for moment, _ in box.samples()] == [1000, 1001, 2000]


async def test_thousands_of_values_at_one_moment_in_one_message(box: Box) -> None:
    message = [number(float(n), 1000) for n in range(8000)] + [number(-1.0, 1000 + n) for n in range(8000)]
    await box.add(*message)
    assert [moment for moment, _ in box.samples()] == list(range(1000, 17000))
    assert [value for _, value in box.samples()[:8000]] == list(range(8000))


async def test_moments_in_any_order_are_taken_once(box: Box) -> None:
    moments = [1002, 1000, 1001, 1000, 1003, 1002, 1000]
    await box.add(*(number(float(n), moment) for n, moment in enumerate(moments)))
    assert box.samples() == [
        (1000, 1.0),
        (1001, 2.0),
        (1002, 0.0),
        (1003, 3.0),
        (1004, 4.0),
        (1005, 5.0),
        (1006, 6.0),
    ]


async def test_values_stamped_by_their_receipt_never_collide(box: Box) -> None:
    await box.add(*(number(21.5) for _ in range(5)))
    for _ in range(3):
        box.store.add_samples("a", [number(21.5)], NOW)
    await box.add(number(21.5), received_ms=NOW + 1)
    assert box.samples() == [(NOW + n, 21.5) for n in range(9)]
    await box.add(number(21.5), received_ms=NOW + 1000)
    assert box.samples()[-1] == (NOW + 1000, 21.5)


async def test_receipt_and_device_may_name_the_same_moment(box: Box) -> None:
    await box.add(number(1.0, NOW), number(2.0))
    assert sorted(value for _, value in box.samples()) == [1.0, 2.0]
    assert [moment for moment, _ in box.samples()] == [NOW, NOW + 1]


async def test_a_clock_that_was_put_back_is_followed(box: Box) -> None:
    hour = 3_600_000
    await box.add(number(1.0))
    await box.add(number(2.0), received_ms=NOW - hour)
    await box.add(number(3.0), received_ms=NOW - hour + 5)
    assert box.samples() == [(NOW - hour, 2.0), (NOW - hour + 5, 3.0), (NOW, 1.0)]


async def test_series_of_two_devices_are_two(box: Box) -> None:
    await box.add(number(1.0), endpoint="a")
    await box.add(number(1.0), endpoint="b")
    assert box.samples(endpoint="a") == box.samples(endpoint="b") == [(NOW, 1.0)]


# Series


async def test_a_series_that_changes_its_type_keeps_its_past(box: Box) -> None:
    await box.add(Record(TEMPERATURE, "warm", DataType.STRING, 1000))
    await box.add(Record(TEMPERATURE, 21, DataType.INTEGER, 2000))
    await box.add(Record(TEMPERATURE, 21.5, DataType.FLOAT, 3000))
    assert box.rows("SELECT data_type FROM series") == [("float",)]
    assert box.samples() == [(1000, "warm"), (2000, 21), (3000, 21.5)]


async def test_a_resource_type_is_named_once_by_the_model(box: Box) -> None:
    await box.add(number(1.0), number(2.0, path=Path.of(3303, 1, 5700)), endpoint="a")
    await box.add(number(3.0), number(4.0, path=Path.of(3303, 1, 5700, 2)), endpoint="b")
    assert box.rows("SELECT object_id, resource_id, name, data_type, units FROM resource_type") == [
        (3303, 5700, "Resource 5700", "float", "Cel")
    ]
    assert box.rows("SELECT count(*) FROM series") == [(4,)]


async def test_ids_go_on_after_a_restart(tmp_path: FilePath) -> None:
    path = tmp_path / "test.db"
    for run in range(3):
        box = Box(path)
        async with box.open():
            await box.add(number(run, 1000 + run), endpoint="a")
            await box.add(number(run, path=Path.of(3, run, 9)), endpoint=f"new {run}")
    assert box.samples() == [(1000, 0.0), (1001, 1.0), (1002, 2.0)]
    assert box.rows("SELECT count(*), count(DISTINCT id) FROM endpoint") == [(4, 4)]
    assert box.rows("SELECT count(*) FROM series") == [(4,)]
    assert box.rows("PRAGMA foreign_key_check") == []


async def test_when_endpoints_were_seen(box: Box) -> None:
    await box.add(number(1.0), endpoint="a", received_ms=NOW)
    await box.add(number(1.0), endpoint="a", received_ms=NOW + 10)
    box.store.put_heard({"a": NOW + 20, "unknown": NOW})
    await box.store.commit()
    assert box.rows("SELECT name, first_seen_ms, last_seen_ms FROM endpoint") == [("a", NOW, NOW + 20)]


# Registrations and observations

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
moments = st.integers(0, 2**45)
registrations = st.builds(
    Registration,
    id=st.text("abcdefghij234567", min_size=10, max_size=10),
    endpoint=names,
    address=st.sampled_from(["127.0.0.1:5683", "[2001:db8::1]:40000"]),
    lwm2m_version=st.sampled_from(["1.0", "1.1", "1.2"]),
    lifetime_s=st.integers(1, 2**32 - 1),
    binding=st.sampled_from(["U", "UT"]),
    queue_mode=st.booleans(),
    root_path=st.sampled_from(["/", "/lwm2m", "/é"]),
    objects=st.dictionaries(
        st.integers(0, MAX_ID),
        st.builds(
            RegisteredObject,
            st.sampled_from(["", "1.0", "1.1"]),
            st.lists(st.integers(0, MAX_ID), max_size=4).map(lambda found: tuple(sorted(set(found)))),
        ),
        max_size=5,
    ),
    content_formats=st.lists(st.integers(0, 65535), max_size=4).map(tuple),
    message_id=st.integers(0, 65535),
    token=st.binary(max_size=8),
    registered_ms=moments.map(lambda moment: moment + 1),  # 0 is "never"
    updated_ms=moments,
    expires_at=st.just(0.0),
    # What a client sends beside the known parameters, lone surrogates of a lenient decoder too.
    attributes=st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
)
observation_lists = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=8),
        st.lists(
            st.builds(Path.of, st.integers(0, MAX_ID), st.integers(0, 9), st.integers(0, MAX_ID)),
            min_size=1,
            max_size=3,
        ),
        moments,
    ),
    max_size=4,
    unique_by=lambda entry: entry[0],
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(registrations, max_size=4, unique_by=(lambda r: r.id, lambda r: r.endpoint)), observation_lists
)
def test_what_was_put_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[Registration],
    observed: Sequence[tuple[bytes, list[Path], int]],
) -> None:
    path = tmp_path_factory.mktemp("kept") / "test.db"
    observations = {
        token: Observation(token, wanted[0].endpoint, tuple(paths), 112, created)
        for token, paths, created in (observed if wanted else ())
    }

    async def put() -> None:
        box = Box(path)
        async with box.open() as before:
            assert before == Kept((), (), {})
            for registration in wanted:
                box.store.put_registration(registration)
            for observation in observations.values():
                box.store.put_observation(observation)
            await box.store.commit()

    asyncio.run(put())
    kept = asyncio.run(reopen(path))
    # See `Kept`: the expiry is by the wall clock there.
    assert kept.registrations == tuple(replace(r, expires_at=float(r.expires_ms)) for r in wanted)
    assert {o.token: o for o in kept.observations} == observations
    assert kept.heard_ms == {r.endpoint: r.updated_ms for r in wanted}


def registration(registration_id: str = "first", endpoint: str = "a", updated_ms: int = NOW) -> Registration:
    return Registration(
        id=registration_id,
        endpoint=endpoint,
        address="127.0.0.1:5683",
        lwm2m_version="1.1",
        lifetime_s=60,
        binding="U",
        queue_mode=True,
        root_path="/",
        objects={3: RegisteredObject("1.1", (0,))},
        content_formats=(112,),
        message_id=1,
        token=b"token",
        registered_ms=NOW,
        updated_ms=updated_ms,
        expires_at=0.0,
        attributes={"site": "roof"},
    )


def observation(token: bytes = b"T", endpoint: str = "a") -> Observation:
    return Observation(token, endpoint, (TEMPERATURE,), 112, NOW)


async def test_a_new_registration_takes_the_place_of_the_old_one(box: Box) -> None:
    box.store.put_registration(registration("first"))
    box.store.put_registration(registration("second", updated_ms=NOW + 1))
    box.store.put_registration(registration("second", updated_ms=NOW + 2))
    await box.store.commit()
    assert box.rows("SELECT id, updated_ms FROM registration") == [("second", NOW + 2)]
    box.store.remove_registration(registration("first"))  # long gone
    await box.store.commit()
    assert box.rows("SELECT count(*) FROM registration") == [(1,)]
    box.store.remove_registration(registration("second"))
    await box.store.commit()
    assert box.rows("SELECT count(*) FROM registration") == [(0,)]
    assert box.rows("SELECT name FROM endpoint") == [("a",)]  # outlives its registrations


async def test_registrations_come_back_in_the_order_they_were_written(box: Box) -> None:
    for name in ("c", "a", "b", "a"):
        box.store.put_registration(registration(f"of {name}", name))
    await box.store.commit()
    kept = await reopen(box.path)
    assert [r.endpoint for r in kept.registrations] == ["c", "b", "a"]


async def test_an_observation_is_replaced_and_removed_by_its_token(box: Box) -> None:
    box.store.put_observation(observation(b"1"))
    box.store.put_observation(observation(b"2"))
    box.store.put_observation(observation(b"1"))
    box.store.remove_observation(b"2")
    box.store.remove_observation(b"never there")
    await box.store.commit()
    assert (await reopen(box.path)).observations == (observation(b"1"),)


# A write that fails


async def lose(box: Box) -> None:
    """Let the batch that is being gathered fail, and wait until the store takes writes again."""
    learned = asyncio.Event()
    learn = box.store.writer._on_failure

    def told(knowledge: Any) -> None:
        learn(knowledge)
        learned.set()

    box.store.writer._on_failure = told
    box.store.writer.gather().statements.append(("INSERT INTO nosuch VALUES (1)", ()))
    with pytest.raises(StoreError):
        await box.store.commit()
    async with asyncio.timeout(PATIENCE_S):
        await learned.wait()
    box.store.writer._on_failure = learn


async def test_after_a_failure_the_ids_are_those_of_the_file(box: Box) -> None:
    await box.add(number(1.0, 1000), endpoint="kept")
    box.store.add_samples("lost", [number(2.0), number(3.0, path=Path.of(3, 0, 9))], NOW)
    box.store.add_samples("kept", [number(4.0, path=Path.of(6, 0, 0))], NOW)
    box.store.put_registration(registration("lost", "lost too"))
    await lose(box)
    assert box.rows("SELECT name FROM endpoint") == [("kept",)]
    assert box.samples(endpoint="kept") == [(1000, 1.0)]
    # The same once more: every id has to be given out anew, and refer to what is there.
    await box.add(number(3.0, path=Path.of(3, 0, 9)), number(2.0), endpoint="lost")
    await box.add(number(4.0, path=Path.of(6, 0, 0)), endpoint="kept")
    box.store.put_registration(registration("lost", "lost too"))
    await box.store.commit()
    assert box.samples(endpoint="lost") == [(NOW, 2.0)]
    assert box.samples(Path.of(3, 0, 9), "lost") == [(NOW, 3.0)]
    assert box.samples(Path.of(6, 0, 0), "kept") == [(NOW, 4.0)]
    assert box.rows("PRAGMA foreign_key_check") == []
    assert box.rows("SELECT id, name FROM endpoint ORDER BY id") == [
        (1, "kept"),
        (2, "lost"),
        (3, "lost too"),
    ]
    assert [r.endpoint for r in (await reopen(box.path)).registrations] == ["lost too"]


async def test_a_type_that_was_not_written_is_written_later(box: Box) -> None:
    await box.add(number(1.0, 1000))
    box.store.add_samples("a", [Record(TEMPERATURE, "hot", DataType.STRING, 2000)], NOW)
    await lose(box)
    await box.add(Record(TEMPERATURE, "hot", DataType.STRING, 2000))
    assert box.samples() == [(1000, 1.0), (2000, "hot")]
    assert box.rows("SELECT data_type FROM series") == [("string",)]


async def test_stop_without_start_and_twice(tmp_path: FilePath) -> None:
    store = Store(tmp_path / "test.db", describe)
    await store.stop()
    await store.start()
    await store.stop()
    await store.stop()


async def test_a_store_that_cannot_be_opened_leaves_nothing_open(tmp_path: FilePath) -> None:
    path = tmp_path / "test.db"
    await reopen(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO endpoint (id, name, first_seen_ms, last_seen_ms) VALUES (1, 'a', 1, 1)"
        )
        connection.execute("INSERT INTO resource_type VALUES (1, 3, 9, 'x', 'integer', '')")
        connection.execute(
            "INSERT INTO series (id, endpoint_id, resource_type_id, path, data_type)"
            " VALUES (1, 1, 1, '/3/0/9', 'no such type')"
        )
        connection.commit()
    with pytest.raises(StoreError) as caught:
        await reopen(path)
    assert caught.value.code == "database_unreadable"
