"""Operations and wishes as the file keeps them: what goes in comes out, and the oldest that are done go."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db import operations as operations_module
from flownexus_appliance.db.kept import Kept
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.operations import (
    MAX_RESULT,
    Attempt,
    EndpointOperation,
    Outcome,
    WantedAttributes,
    WantedObservation,
)
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record, Value
from tests.box import Rows

READ = Operation(Kind.READ, (Path.parse("/3/0/9"),))
VALUES: list[tuple[Value, DataType, int | None]] = [
    ("Grüße\x00", DataType.STRING, None),
    (-(2**63), DataType.INTEGER, 1_760_000_000_000),
    (2**64 - 1, DataType.UNSIGNED, None),
    (0.1, DataType.FLOAT, None),
    (-inf, DataType.FLOAT, None),
    (True, DataType.BOOLEAN, None),
    (b"\x00\xff", DataType.OPAQUE, None),
    (1_760_000_000, DataType.TIME, None),
    (ObjectLink(3, 0), DataType.OBJLNK, None),
    ("</3/0>", DataType.CORELNK, None),
]
RECORDS = tuple(
    Record(Path.of(10, 0, number), value, data_type, time_ms)
    for number, (value, data_type, time_ms) in enumerate(VALUES)
)
OPERATIONS = [
    READ,
    Operation(Kind.WRITE, (Path.of(10, 0),), RECORDS),
    Operation(Kind.EXECUTE, (Path.of(3, 0, 4),), arguments="0='ü',1"),
    Operation(
        Kind.WRITE_ATTRIBUTES,
        (Path.of(3303, 0, 5700),),
        attributes=(("pmin", "1"), ("gt", None), ("st", "0.5")),
    ),
    Operation(Kind.READ_COMPOSITE, (Path.ROOT,), content_format=110),
    Operation(
        Kind.OBSERVE_COMPOSITE, (Path.of(3), Path.of(3303, 0, 5700), Path.of(6, 0, 0, 1)), content_format=0
    ),
    Operation(Kind.CREATE, (Path.of(3303),)),
    Operation(Kind.CANCEL_PASSIVE, (Path.of(3, 0, 9),)),
]


@dataclass(slots=True)
class Box:
    path: FilePath
    store: Store
    reader: Reader
    rows: Rows

    def new(self, operation: Operation = READ, **more: object) -> EndpointOperation:
        base = EndpointOperation(self.store.new_operation_id(), "a", operation, "web", 1000, 1000)
        return replace(base, **more)  # type: ignore[arg-type]

    async def put(self, *kept: EndpointOperation) -> None:
        for one in kept:
            self.store.put_operation(one)
        await self.store.commit()

    async def change(self, kept: EndpointOperation, attempt: Attempt | None = None) -> None:
        self.store.change_operation(kept, attempt)
        await self.store.commit()

    async def again(self) -> Kept:
        await self.store.stop()
        return await self.store.start()

    def ids(self) -> list[int]:
        return [number for (number,) in self.rows("SELECT id FROM endpoint_operation ORDER BY id")]


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    path = tmp_path / "test.db"
    store = Store(path, lambda _path, data_type: ResourceType("", data_type, ""))
    await store.start()
    reader = Reader(path)
    await reader.start()
    store.put_endpoint("a", 1)
    store.put_endpoint("b", 1)
    yield Box(path, store, reader, Rows(path))
    await reader.stop()
    await store.stop()


# Operations


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.kind.value)
async def test_what_is_asked_comes_back(box: Box, operation: Operation) -> None:
    kept = box.new(operation, deadline_ms=5000, retry_of=77)
    await box.put(kept)
    assert await box.reader.operation(kept.id) == kept
    assert (await box.again()).operations == (kept,)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(),
        Outcome("2.05", RECORDS),
        Outcome("2.05", links=(Link("/3", {"ver": "1.1", "pmin": "10"}), Link("/3/0/9"))),
        Outcome("2.01", location="/3303/2"),
        Outcome("4.05", message="nicht möglich", hint="try another"),
        Outcome(message="it did not answer", hint="wait", cut=False),
    ],
)
async def test_what_became_of_it_comes_back(box: Box, outcome: Outcome) -> None:
    kept = box.new()
    await box.put(kept)
    after = replace(kept, status=Status.CONFIRMED, attempts=2, changed_ms=3000, outcome=outcome)
    await box.change(after)
    assert await box.reader.operation(kept.id) == after


@pytest.mark.parametrize(("length", "cut"), [(MAX_RESULT // 2, False), (MAX_RESULT, True)])
async def test_a_large_answer_is_left_out_and_said_to_be(box: Box, length: int, cut: bool) -> None:
    kept = box.new()
    await box.put(kept)
    records = (Record(Path.of(10, 0, 0), "x" * length, DataType.STRING),)
    after = replace(kept, status=Status.CONFIRMED, outcome=Outcome("2.05", records, location="/1/0"))
    await box.change(after)
    outcome = (await box.reader.operation(kept.id) or kept).outcome
    assert outcome == (Outcome("2.05", cut=True) if cut else after.outcome)


async def test_those_that_are_not_done_are_taken_up_in_order(box: Box) -> None:
    kept = [box.new() for _ in range(len(Status))]
    await box.put(*kept)
    for one, status in zip(kept, Status, strict=True):
        await box.change(replace(one, status=status))
    elsewhere = box.new(endpoint="b")
    await box.put(elsewhere)
    found = (await box.again()).operations
    assert [(one.id, one.status, one.endpoint) for one in found] == [
        (kept[0].id, Status.QUEUED, "a"),
        (kept[1].id, Status.SENDING, "a"),
        (elsewhere.id, Status.QUEUED, "b"),
    ]


async def test_ids_rise_over_a_restart(box: Box) -> None:
    kept = box.new()
    await box.put(kept)
    await box.again()
    assert box.store.new_operation_id() == kept.id + 1


async def test_attempts_follow_each_other(box: Box) -> None:
    kept = box.new()
    await box.put(kept)
    first = Attempt(kept.id, 1, 1000)
    await box.change(replace(kept, status=Status.SENDING), first)
    await box.change(kept, replace(first, ended_ms=2000, message="silent"))
    second = Attempt(kept.id, 2, 3000, 4000, "2.05")
    await box.change(replace(kept, status=Status.CONFIRMED), second)
    assert await box.reader.attempts(kept.id) == [Attempt(kept.id, 1, 1000, 2000, "", "silent"), second]


async def test_the_oldest_that_are_done_go_with_their_attempts(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never one that waits, however old; and another endpoint's stay."""
    monkeypatch.setattr(operations_module, "DONE_KEPT", 3)
    elsewhere = box.new(endpoint="b", status=Status.FAILED)
    waiting, under_way = box.new(), box.new(status=Status.SENDING)
    done = [box.new(status=status) for status in list(Status)[2:]]
    await box.put(elsewhere, waiting, under_way)
    for one in done:
        await box.put(one)
        await box.change(one, Attempt(one.id, 1, 1000))
    newest = [box.new() for _ in range(2)]
    await box.put(*newest)
    assert box.ids() == [one.id for one in (elsewhere, waiting, under_way, done[-1], *newest)]
    assert box.rows("SELECT operation_id FROM operation_attempt") == [(done[-1].id,)]
    await box.put(*[box.new() for _ in range(5)])
    assert waiting.id in box.ids()
    assert under_way.id in box.ids()
    assert done[-1].id not in box.ids()


async def test_what_becomes_of_one_that_is_gone_harms_nothing(box: Box) -> None:
    kept = box.new()
    await box.change(replace(kept, status=Status.FAILED), Attempt(kept.id, 1, 1000))
    assert (box.ids(), box.rows("SELECT count(*) FROM operation_attempt")) == ([], [(0,)])


async def test_an_endpoint_that_goes_takes_its_own_along(box: Box) -> None:
    kept = box.new()
    await box.put(kept)
    await box.change(kept, Attempt(kept.id, 1, 1000))
    box.store.put_wanted_attributes(WantedAttributes("a", Path.of(3), {"pmin": "1"}))
    box.store.put_wanted_observation(wanted("/3"))
    await box.store.commit()
    with closing(sqlite3.connect(box.path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM endpoint WHERE name = 'a'")
        connection.commit()
    for table in ("endpoint_operation", "operation_attempt", "wanted_observation", "wanted_attributes"):
        assert box.rows(f"SELECT count(*) FROM {table}") == [(0,)], table


@pytest.mark.parametrize(
    "damage",
    [
        "kind = 'fly'",
        "request = 'x'",
        "request = '{}'",
        """request = '{"paths": ["/x"]}'""",
        """request = '{"paths": ["/3"], "values": [["/3/0/9", "integer", "x", null]]}'""",
    ],
)
async def test_what_nobody_can_have_written_is_said_to_be_so(box: Box, damage: str) -> None:
    await box.put(box.new())
    await box.store.stop()
    with closing(sqlite3.connect(box.path)) as connection:
        connection.execute(f"UPDATE endpoint_operation SET {damage}")
        connection.commit()
    with pytest.raises(StoreError) as raised:
        await box.store.start()
    assert raised.value.code == "database_unreadable"


# Wishes


def wanted(*paths: str, **more: object) -> WantedObservation:
    base = WantedObservation("a", tuple(map(Path.parse, paths)), False, None, True, "web", 1000)
    return replace(base, **more)  # type: ignore[arg-type]


async def test_wishes_come_back_in_the_order_of_their_asking(box: Box) -> None:
    wishes = [
        wanted("/3/0/9", "/6", since_ms=3000, composite=True, content_format=110),
        wanted("/3/0/9", since_ms=1000, wanted=False),
        wanted("/", since_ms=2000, composite=True, endpoint="b"),
    ]
    attributes = [
        WantedAttributes("a", Path.of(3303, 0, 5700), {"pmin": "1", "gt": "22.5"}),
        WantedAttributes("b", Path.of(3), {"pmax": "60"}),
    ]
    for one in wishes:
        box.store.put_wanted_observation(one)
    for each in attributes:
        box.store.put_wanted_attributes(each)
    kept = await box.again()
    assert kept.wanted_observations == tuple(sorted(wishes, key=lambda one: one.since_ms))
    assert sorted(kept.wanted_attributes, key=lambda one: one.endpoint) == attributes


async def test_a_wish_takes_the_place_of_an_earlier_one(box: Box) -> None:
    box.store.put_wanted_observation(wanted("/3"))
    box.store.put_wanted_observation(wanted("/3", wanted=False, asked_by="console", since_ms=5))
    box.store.put_wanted_attributes(WantedAttributes("a", Path.of(3), {"pmin": "1"}))
    box.store.put_wanted_attributes(WantedAttributes("a", Path.of(3), {"pmax": "1"}))
    kept = await box.again()
    assert kept.wanted_observations == (wanted("/3", wanted=False, asked_by="console", since_ms=5),)
    assert kept.wanted_attributes == (WantedAttributes("a", Path.of(3), {"pmax": "1"}),)


async def test_what_is_wanted_no_longer_goes(box: Box) -> None:
    box.store.put_wanted_observation(wanted("/3"))
    box.store.put_wanted_observation(wanted("/3", "/4"))
    box.store.put_wanted_attributes(WantedAttributes("a", Path.of(3), {"pmin": "1"}))
    box.store.remove_wanted_observation("a", (Path.of(3),))
    box.store.put_wanted_attributes(WantedAttributes("a", Path.of(3), {}))
    kept = await box.again()
    assert kept.wanted_observations == (wanted("/3", "/4"),)
    assert kept.wanted_attributes == ()


async def test_windows_of_ones_own(box: Box) -> None:
    box.store.put_awake_window("a", 20.5)
    box.store.put_awake_window("b", 30.0)
    box.store.put_awake_window("b", None)
    box.store.put_label("b", "Küche")
    kept = await box.again()
    assert kept.awake_windows_s == {"a": 20.5}
    assert box.rows("SELECT label FROM endpoint ORDER BY id") == [("",), ("Küche",)]


async def test_only_what_is_listed_is_known(box: Box) -> None:
    assert (box.store.knows("a"), box.store.knows("c")) == (True, False)
