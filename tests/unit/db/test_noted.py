"""What people note about endpoints, as the file keeps it: notes, tags in one spelling, finding by them."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.noted import MAX_FAILED, ListedEndpoint, TagCount
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType
from tests.peer import until

NOW = 1_760_000_000_000


def describe(path: Path, data_type: DataType) -> ResourceType:
    return ResourceType("", data_type, "")


@dataclass
class Box:
    path: FilePath
    store: Store
    reader: Reader

    async def tag(self, endpoint: str, *tags: str) -> None:
        self.store.put_tags(endpoint, tags)
        await self.store.commit()

    async def tags(self, endpoint: str) -> tuple[str, ...]:
        row = await self.reader.endpoint(endpoint)
        assert row is not None
        return row.tags


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    path = tmp_path / "flownexus.db"
    store, reader = Store(path, describe), Reader(path)
    await store.start()
    try:
        await reader.start()
        for endpoint in ("one", "two", "three"):
            store.put_endpoint(endpoint, NOW)
        await store.commit()
        yield Box(path, store, reader)
    finally:
        await reader.stop()
        await store.stop()


async def test_notes_come_back_as_they_were(box: Box) -> None:
    notes = "By the door.\n<b>Battery</b> 'changed' 1 May; DROP TABLE endpoint"
    box.store.put_notes("one", notes)
    await box.store.commit()
    rows = {row.endpoint: row.notes for row in await box.reader.endpoints(["one", "two"])}
    assert rows == {"one": notes, "two": ""}


async def test_tags_are_in_place_of_those_before(box: Box) -> None:
    await box.tag("one", "Roof", "cellar")
    assert await box.tags("one") == ("cellar", "Roof")
    await box.tag("one", "garden")
    assert await box.tags("one") == ("garden",)
    await box.tag("one")
    assert await box.tags("one") == ()
    assert await box.reader.tags() == []


async def test_a_tag_is_spelled_as_where_it_stands_first(box: Box) -> None:
    await box.tag("one", "Garden", "GARDEN")
    await box.tag("two", "garden", "roof")
    assert await box.tags("two") == ("Garden", "roof")
    assert await box.reader.tags() == [TagCount("Garden", 2), TagCount("roof", 1)]
    # Who has a tag alone may spell it anew.
    await box.tag("two", "Roof", "gArDeN")
    assert await box.tags("two") == ("Garden", "Roof")


async def test_the_spelling_survives_a_restart(box: Box) -> None:
    await box.tag("one", "Garden")
    await box.store.stop()
    await box.store.start()
    await box.tag("two", "GARDEN")
    assert await box.tags("two") == ("Garden",)


async def test_tags_that_the_disk_did_not_take_are_none(box: Box) -> None:
    with closing(sqlite3.connect(box.path, isolation_level=None)) as connection:
        connection.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON endpoint_tag BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        box.store.put_tags("one", ["Garden"])
        with pytest.raises(StoreError):
            await box.store.commit()
        connection.execute("DROP TRIGGER broken")
    await until(lambda: not box.store.writer._broken)
    await box.tag("two", "GARDEN")
    assert await box.reader.tags() == [TagCount("GARDEN", 1)]


async def test_endpoints_are_listed_by_tag(box: Box) -> None:
    box.store.put_label("two", "Küche")
    await box.tag("two", "Garden", "roof")
    await box.tag("three", "roof")
    assert sorted(one.endpoint for one in await box.reader.listed()) == ["one", "three", "two"]
    (found,) = await box.reader.listed("Garden")
    assert found == ListedEndpoint("two", "Küche", NOW)
    assert found.title == "Küche"
    assert await box.reader.listed("garden") == []  # as it is spelled
    assert await box.reader.tagged() == {"two": ["Garden", "roof"], "three": ["roof"]}


async def test_an_endpoint_that_is_forgotten_leaves_no_tag(box: Box) -> None:
    box.store.put_endpoint("new", 0)
    await box.tag("new", "Garden")
    box.store.remove_unseen("new")
    await box.store.commit()
    assert await box.reader.tags() == []
    await box.tag("one", "garden")
    assert await box.tags("one") == ("garden",)


async def test_operations_that_failed_lately_are_counted(box: Box) -> None:
    with closing(sqlite3.connect(box.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO endpoint_operation VALUES"
            " (?, 1, 'read', '{}', ?, 1, 'web', 0, ?, 0, ?, '', '', '', '')",
            [
                # Asked for long ago, and failed just now.
                (1, "FAILED", NOW - 10**9, NOW),
                (2, "FAILED", NOW - 10**9, NOW - 1001),
                (3, "CONFIRMED", NOW, NOW),
                (4, "FAILED", NOW, NOW - 1000),
            ],
        )
    assert await box.reader.failed(NOW - 1000) == 2
    assert await box.reader.failed(NOW + 1) == 0
    with closing(sqlite3.connect(box.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO endpoint_operation VALUES"
            " (?, 1, 'read', '{}', 'FAILED', 1, 'web', 0, 0, 0, ?, '', '', '', '')",
            ((number, NOW) for number in range(5, 5 + MAX_FAILED + 1)),
        )
    assert await box.reader.failed(NOW) == MAX_FAILED
