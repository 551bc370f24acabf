"""Operations as they are read: one with its attempts, pages by question, none too heavy, none found late."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.operation_reads import OperationQuestion, select
from flownexus_appliance.db.operations import Attempt, EndpointOperation, Outcome
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record

NOW = 1_760_000_000_000
READ = Operation(Kind.READ, (Path.of(3, 0),))


class Box:
    """A store and a reader on one file."""

    def __init__(self, path: FilePath) -> None:
        self.store = Store(path, lambda path, data_type: ResourceType(str(path), data_type, ""))
        self.reader = Reader(path)

    async def put(self, *kept: EndpointOperation) -> None:
        for one in kept:
            self.store.put_operation(one)
        await self.store.commit()

    async def ids(self, question: OperationQuestion, limit: int = 500) -> list[int]:
        return [kept.id for kept in (await self.reader.operations(question, limit))[0]]


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    box = Box(tmp_path / "test.db")
    await box.store.start()
    box.store.add_samples("a", [], NOW)
    await box.store.commit()
    await box.reader.start()
    yield box
    await box.reader.stop()
    await box.store.stop()


def kept(number: int, endpoint: str = "a", operation: Operation = READ) -> EndpointOperation:
    return EndpointOperation(number, endpoint, operation, "web", NOW + number, NOW + number)


async def test_one_comes_as_it_was_kept(box: Box) -> None:
    records = (
        Record(Path.of(3, 0, 9), 87, DataType.INTEGER, 5),
        Record(Path.of(3, 0, 22), ObjectLink(66, 0), DataType.OBJLNK),
        Record(Path.of(3, 0, 99, 1), b"\x00\xff", DataType.OPAQUE),
    )
    asked = EndpointOperation(
        7,
        "a",
        Operation(Kind.WRITE_COMPOSITE, (Path.of(3, 0, 9), Path.of(3, 0, 22)), records, content_format=112),
        "console",
        NOW,
        NOW + 5,
        Status.FAILED,
        3,
        NOW + 9,
        4,
        Outcome("4.05", records[:1], (Link("/3", {"ver": "1.1", "x": None}),), "/3/1", "no", "try"),
    )
    await box.put(asked)
    assert await box.reader.operation(7) == asked
    assert await box.reader.operations(OperationQuestion(), 10) == ([asked], None)
    assert await box.reader.operation(8) is None


async def test_attempts_come_in_their_order(box: Box) -> None:
    one, other = kept(1), kept(2)
    await box.put(one, other)
    made = [Attempt(1, 1, NOW, NOW + 5, "", "no answer"), Attempt(1, 2, NOW + 9, 0)]
    box.store.change_operation(one, made[1])
    box.store.change_operation(other, Attempt(2, 1, NOW))
    box.store.change_operation(one, made[0])
    await box.store.commit()
    assert await box.reader.attempts(1) == made
    assert await box.reader.attempts(3) == []


async def test_a_cursor_passes_over_nothing(box: Box) -> None:
    await box.put(*(kept(number, "a" if number % 3 else "b") for number in range(1, 24)))
    for question, expected in (
        (OperationQuestion(), list(range(23, 0, -1))),
        (OperationQuestion(endpoint="b"), list(range(21, 0, -3))),
    ):
        seen: list[int] = []
        before: int | None = None
        while True:
            page, before = await box.reader.operations(replace(question, before_id=before), 5)
            assert len(page) == 5 or before is None
            seen += [one.id for one in page]
            if before is None:
                break
        assert seen == expected


async def test_a_page_that_weighs_a_lot_ends_early(box: Box) -> None:
    values = tuple(Record(Path.of(9, 0, n), "x" * 1000, DataType.STRING) for n in range(50))
    heavy = [replace(kept(number), outcome=Outcome("2.05", values)) for number in range(1, 301)]
    await box.put(*heavy)
    seen: list[int] = []
    before: int | None = None
    pages = 0
    while True:
        page, before = await box.reader.operations(OperationQuestion(before_id=before), 300)
        assert len(page) * 50_000 < 4 * 1024 * 1024
        assert all(len(one.outcome.records) == 50 for one in page)
        seen += [one.id for one in page]
        pages += 1
        if before is None:
            break
    assert seen == list(range(300, 0, -1))
    assert pages > 3


async def test_a_search_takes_every_character_as_itself(box: Box) -> None:
    await box.put(
        kept(1, "a%b"),
        kept(2, "a_b"),
        kept(3, "a'b"),
        replace(kept(4), outcome=Outcome("4.04", message='not "found" \\ here')),
    )
    for search, found in (
        ("%", [1]),
        ("_", [2]),
        ("a'b", [3]),
        ('"FOUND" \\', [4]),
        ("4.04", [4]),
        ("'--", []),
    ):
        assert await box.ids(OperationQuestion(search=search)) == found


async def test_done_and_unfinished_are_all_there_is(box: Box) -> None:
    await box.put(*(replace(kept(n), status=status) for n, status in enumerate(Status, 1)))
    for endpoint in ("", "a"):
        assert await box.ids(OperationQuestion(endpoint, "unfinished")) == [2, 1]
        assert await box.ids(OperationQuestion(endpoint, "done")) == [6, 5, 4, 3]
        for number, status in enumerate(Status, 1):
            assert await box.ids(OperationQuestion(endpoint, status.value)) == [number]


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (OperationQuestion(), "SCAN o"),  # from the newest on, by the primary key
        (OperationQuestion(before_id=9), "SEARCH o USING INTEGER PRIMARY KEY"),
        (OperationQuestion(status="done"), "SCAN o"),
        (OperationQuestion(status="FAILED"), "endpoint_operation_status (status=?)"),
        (OperationQuestion(status="QUEUED", before_id=9), "endpoint_operation_status (status=? AND id<?)"),
        (OperationQuestion(status="unfinished"), "endpoint_operation_status (status=?)"),
        (OperationQuestion(endpoint="a"), "endpoint_operation_endpoint (endpoint_id=?)"),
        (OperationQuestion(endpoint="a", status="done"), "endpoint_operation_endpoint (endpoint_id=?)"),
        (OperationQuestion(endpoint="a", status="FAILED"), "endpoint_operation_endpoint (endpoint_id=?)"),
        (OperationQuestion(endpoint="a", status="unfinished"), "endpoint_operation_"),
    ],
)
async def test_no_question_sorts_what_is_done(box: Box, question: OperationQuestion, index: str) -> None:
    sql, parameters = select(question)
    with closing(sqlite3.connect(box.store.path)) as connection:
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    assert any(index in step for step in plan), plan
    # Those that are not done are few, so they alone may be sorted.
    assert question.status == "unfinished" or not any("TEMP B-TREE" in step for step in plan), plan
