"""Finding devices: search, state, tag, order; pages that are right and stay so."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.devices import (
    Device,
    Question,
    TaggedDevices,
    device,
    page_after,
    page_grouped,
    page_numbered,
)
from flownexus_appliance.http.ports import Parts

from .house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet
from .noting import note


@pytest.fixture
def database(tmp_path: FilePath, parts: Parts) -> FilePath:
    return tmp_path / "flownexus.db"


def have(database: FilePath, labels: Mapping[str, str], tags: Mapping[str, Sequence[str]]) -> None:
    """Devices beside those of the house, by label, and tags of any."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for name, label in labels.items():
            connection.execute(
                "INSERT INTO endpoint (name, label, first_seen_ms, last_seen_ms) VALUES (?, ?, 1, 1)",
                (name, label),
            )
        for name, some in tags.items():
            note(connection, name, None, some)


async def found(parts: Parts, question: Question) -> list[str]:
    devices, total = await page_numbered(parts, question, 1, 100)
    assert total == len(devices)
    return [one.endpoint for one in devices]


@pytest.mark.parametrize(
    ("search", "names"),
    [
        ("", ["100%", "<b>bold</b>", "A_1", "Ab1", "O'Neil", "back\\slash", "zürich"]),
        ("%", ["100%"]),
        ("_", ["A_1"]),
        ("a_1", ["A_1"]),
        ("AB", ["Ab1"]),
        ("<B>", ["<b>bold</b>"]),
        ("'", ["O'Neil"]),
        ("\\", ["back\\slash"]),
        ("ZÜR", ["zürich"]),
        ("1", ["100%", "A_1", "Ab1"]),
        ("nothing", []),
        ("*", []),
        ("' OR 1=1 --", []),
    ],
)
async def test_a_search_means_what_it_says(
    parts: Parts, database: FilePath, search: str, names: list[str]
) -> None:
    house = {SENSOR, SLEEPER, STRANGE, QUIET}
    have(
        database,
        dict.fromkeys(("Ab1", "A_1", "100%", "O'Neil", "<b>bold</b>", "back\\slash", "zürich"), ""),
        {},
    )
    assert [name for name in await found(parts, Question(search)) if name not in house] == names


async def test_a_search_is_of_labels_too(parts: Parts) -> None:
    assert await found(parts, Question("GREENH")) == [SENSOR]
    assert await found(parts, Question("greenhouse", state="sleeping")) == []


async def test_names_come_in_the_order_of_their_characters(parts: Parts, database: FilePath) -> None:
    names = ["Z", "a", "zürich", "ä", "日本", "😀", "\uffee"]
    have(database, dict.fromkeys(names, ""), {})
    assert await found(parts, Question()) == sorted([*names, SENSOR, SLEEPER, STRANGE, QUIET])


async def test_labels_come_as_people_sort(parts: Parts, database: FilePath) -> None:
    have(database, {"a": "Sensor 10", "b": "sensor 2", "c": "Älpli", "d": ""}, {})
    assert await found(parts, Question(sort="label")) == ["d", SENSOR, STRANGE, QUIET, "b", "a", SLEEPER, "c"]


async def test_the_last_heard_comes_first(parts: Parts, fleet: FakeFleet, database: FilePath) -> None:
    have(database, {"never": ""}, {})
    fleet.heard = {QUIET: NOW_MS + 1, SENSOR: NOW_MS + 2, STRANGE: NOW_MS + 2, SLEEPER: NOW_MS}
    assert await found(parts, Question(sort="heard")) == [STRANGE, SENSOR, QUIET, SLEEPER, "never"]


async def test_states_come_as_the_tiles_stand(parts: Parts) -> None:
    assert await found(parts, Question(sort="state")) == [SENSOR, STRANGE, SLEEPER, QUIET]


async def test_a_tag_is_found_in_any_case(parts: Parts, database: FilePath) -> None:
    have(database, {}, {SENSOR: ["Straße", "roof"], QUIET: ["Straße"]})
    assert await found(parts, Question(tag="STRASSE")) == [QUIET, SENSOR]
    assert await found(parts, Question(tag="straße", state="online")) == [SENSOR]
    assert await found(parts, Question(tag="stra")) == []
    assert (await device(parts, SENSOR)).tags == ("roof", "Straße")


@pytest.mark.parametrize("sort", ["name", "label", "heard", "state"])
async def test_pages_follow_each_other_without_a_gap(parts: Parts, database: FilePath, sort: str) -> None:
    have(database, {f"n{number}": f'"Label": {number % 4}, 日' for number in range(11)}, {})
    question = Question(sort=sort)
    every = await found(parts, question)
    assert len(every) == 15
    for size in (1, 4, 15, 20):
        seen: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page, cursor = await page_after(parts, question, cursor, size)
            seen += [one.endpoint for one in page]
        assert seen == every


async def test_a_device_that_goes_between_two_pages_leaves_no_gap(parts: Parts, database: FilePath) -> None:
    question = Question(sort="label")
    every = await found(parts, question)
    first, cursor = await page_after(parts, question, "", 2)
    assert cursor is not None
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM registration")
        connection.execute("DELETE FROM endpoint WHERE name = ?", (first[-1].endpoint,))
    second, end = await page_after(parts, question, cursor, 2)
    assert [one.endpoint for one in first + second] == every
    assert end is None


@pytest.mark.parametrize("cursor", ["kitchen", "[]", '["a"]', '["a", 1]', '[1, "a"]', "[" * 10_000, "\ud800"])
async def test_a_cursor_of_another_order_is_refused(parts: Parts, cursor: str) -> None:
    with pytest.raises(UsageError) as raised:
        await page_after(parts, Question(sort="label"), cursor, 2)
    assert raised.value.code == "query_invalid"


def flat(groups: Sequence[TaggedDevices]) -> list[tuple[str, list[str]]]:
    return [(group.tag, [one.endpoint for one in group.devices]) for group in groups]


async def test_a_device_stands_under_each_of_its_tags(parts: Parts, database: FilePath) -> None:
    have(database, {}, {SENSOR: ["room 10", "Roof"], SLEEPER: ["room 2", "Roof"]})
    page = await page_grouped(parts, Question(), 1, 100)
    assert flat(page.groups) == [
        ("Roof", [SLEEPER, SENSOR]),
        ("room 2", [SLEEPER]),
        ("room 10", [SENSOR]),
        ("", [STRANGE, QUIET]),
    ]
    assert (page.entries, page.devices) == (6, 4)


async def test_groups_go_on_over_pages(parts: Parts, database: FilePath) -> None:
    have(database, {}, {SENSOR: ["a", "b"], SLEEPER: ["b", "a"]})
    pages = [await page_grouped(parts, Question(), number, 3) for number in (1, 2, 3)]
    assert [flat(page.groups) for page in pages] == [
        [("a", [SLEEPER, SENSOR]), ("b", [SLEEPER])],
        [("b", [SENSOR]), ("", [STRANGE, QUIET])],
        [],
    ]
    assert [group.total for group in pages[1].groups] == [2, 2]
    assert {(page.entries, page.devices) for page in pages} == {(6, 4)}


async def test_groups_keep_to_what_is_asked_for(parts: Parts, database: FilePath) -> None:
    have(database, {}, {SENSOR: ["a", "b"], SLEEPER: ["a"]})
    page = await page_grouped(parts, Question(state="online", tag="A"), 1, 100)
    assert flat(page.groups) == [("a", [SENSOR]), ("b", [SENSOR])]


async def test_an_edition_is_of_what_people_note_alone(parts: Parts, database: FilePath) -> None:
    async def now() -> Device:
        return await device(parts, SENSOR)

    editions = [(await now()).edition]
    for label, notes, tags in (("", "", ["a"]), ("", "a", []), ("a", "", []), ("Greenhouse", "", [])):
        with closing(sqlite3.connect(database)) as connection, connection:
            note(connection, SENSOR, notes, tags)
            connection.execute(
                "UPDATE endpoint SET label = ?, last_seen_ms = 5 WHERE name = ?", (label, SENSOR)
            )
        editions.append((await now()).edition)
    assert len(set(editions[:-1])) == 4
    assert editions[-1] == editions[0]
