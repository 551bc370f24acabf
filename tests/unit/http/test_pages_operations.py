"""The operations that were asked for: the timeline of a device, the list, one with all its tries."""

from urllib.parse import quote

import pytest

from flownexus_appliance.db.operations import Outcome
from flownexus_appliance.http import pages_operations
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record

from .conftest import Client
from .house import (
    HOUR_MS,
    NOW_MS,
    SENSOR,
    SLEEPER,
    STRANGE,
    FakeOperations,
    record,
)
from .page import check_policy, device, page, refused, send

CONFIRMED = (Status.CONFIRMED, Outcome("2.04"))
NOT_FOUND = Outcome("4.04")
TEMPERATURE = "/3303/0/5700"


def read_of(path: str) -> Operation:
    return Operation(Kind.READ, (Path.parse(path),))


def ends(operations: FakeOperations, *records: Record) -> None:
    operations.ends = Status.CONFIRMED, Outcome("2.05", records)


# The timeline and the lists


async def filled(operations: FakeOperations) -> None:
    """Five operations: one done, two failed, two that wait."""
    operations.now_ms = NOW_MS - HOUR_MS
    ends(operations, record("/3/0/9", 87, DataType.INTEGER))
    await operations.ask(SENSOR, read_of("/3/0/9"), "console")
    operations.ends = Status.FAILED, NOT_FOUND
    await operations.ask(SENSOR, read_of("/3/0/17"), "web")
    operations.ends = Status.FAILED, Outcome(message="no answer")
    await operations.ask(SENSOR, Operation(Kind.EXECUTE, (Path.parse("/3/0/4"),)), "leshan")
    operations.ends = None
    write = Operation(Kind.WRITE, (Path.parse("/1/0/1"),), (record("/1/0/1", 600, DataType.INTEGER),))
    await operations.ask(SLEEPER, write, "web")
    await operations.ask(STRANGE, read_of(TEMPERATURE), "web", deadline_ms=NOW_MS + HOUR_MS)


async def test_the_timeline_of_a_device(client: Client, operations: FakeOperations) -> None:
    await filled(operations)
    found = await page(client, device(SENSOR))
    check_policy(found)
    assert found.all("data-operation") == ["3", "2", "1"]
    assert "Done Read of /3/0/9 Battery Level Answer: 87 % Command line · 1 h ago" in found.text
    assert "Failed Read of /3/0/17 Device Type failed: 4.04 Not Found" in found.text
    assert "Leshan's API" in found.text
    assert f"/operations?device={quote(SENSOR, safe='')}" in found.all("href")
    # A reboot is not asked for again by a slip.
    assert "/operations/3/retry" not in found.all("action")
    assert "/operations/3#again" in found.all("href")
    assert "/operations/2/retry" in found.all("action")


async def test_all_operations_newest_first(client: Client, operations: FakeOperations) -> None:
    await filled(operations)
    found = await page(client, "/operations")
    check_policy(found)
    assert found.all("data-operation") == ["5", "4", "3", "2", "1"]
    assert "Waiting 2 Running 0" in found.text
    assert "Waiting Write to /1/0/1 Lifetime sleeper 600 s waits until sleeper wakes." in found.text
    assert device(STRANGE) in found.all("href")
    assert {"/operations/4/cancel", "/operations/2/retry"} <= set(found.all("action"))
    assert [tag["href"] for _, tag in found.tags if tag.get("aria-current") == "page"] == ["/operations"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=FAILED", ["3", "2"]),
        ("status=unfinished", ["5", "4"]),
        ("status=done", ["3", "2", "1"]),
        ("operation=execute", ["3"]),
        (f"device={SLEEPER}", ["4"]),
        (f"device={quote(STRANGE)}", ["5"]),
        ("q=%2F3%2F0%2F17", ["2"]),
        ("q=greenhouse&status=FAILED&operation=read", ["2"]),
        ("after=3", ["2", "1"]),
        ("q=nothing", []),
    ],
)
async def test_operations_are_filtered(
    client: Client, operations: FakeOperations, query: str, found: list[str]
) -> None:
    await filled(operations)
    shown = await page(client, f"/operations?{query}")
    check_policy(shown)
    assert shown.all("data-operation") == found
    if not found:
        assert "No operation answers to that" in shown.text


@pytest.mark.parametrize("query", ["status=x", "operation=x", "after=x", "after=0", "q=" + "x" * 300])
async def test_a_filter_that_is_none_is_explained(client: Client, query: str) -> None:
    await page(client, f"/operations?{query}", 400)


async def test_the_list_is_cut_into_pages(
    client: Client, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_operations, "PAGE_SIZE", 1)
    await filled(operations)
    first = await page(client, "/operations?status=FAILED")
    assert first.all("data-operation") == ["3"]
    assert "data-first" in {name for _, tag in first.tags for name in tag}
    [following] = [tag["href"] for _, tag in first.tags if tag.get("rel") == "next"]
    second = await page(client, following)
    assert second.all("data-operation") == ["2"]
    assert "/operations?status=FAILED" in second.all("href")
    assert "data-first" not in {name for _, tag in second.tags for name in tag}


async def test_an_empty_list_tells_how_to_begin(client: Client) -> None:
    assert "Nothing was asked of a device yet" in (await page(client, "/operations")).text


# One


async def test_one_operation_in_full(client: Client, operations: FakeOperations) -> None:
    operations.ends = (
        Status.CONFIRMED,
        Outcome(
            "2.05", (record("/3/0/9", 87, DataType.INTEGER, NOW_MS), record("/3/0/0", "<b>", DataType.STRING))
        ),
    )
    kept = Operation(Kind.READ, (Path.parse("/3/0"),), content_format=112)
    await operations.ask(SENSOR, kept, "console", deadline_ms=NOW_MS + HOUR_MS)
    found = await page(client, "/operations/1")
    check_policy(found)
    for words in (
        "Done Device ·",
        "Asked by Command line",
        "Format SenML CBOR",
        "Not after",
        "CoAP code 2.05 Content",
        "40 ms after the asking",
        "/3/0/9 Battery Level 87 %",
        "/3/0/0 Manufacturer <b>",
        "Ask the same again",
    ):
        assert words in found.text, words
    assert device(SENSOR) in found.all("href")


async def test_links_and_attributes_are_shown(client: Client, operations: FakeOperations) -> None:
    operations.ends = (
        Status.CONFIRMED,
        Outcome("2.05", links=(Link("/3/0", {"pmin": "5", "obs": None}),), cut=True),
    )
    await operations.ask(SENSOR, Operation(Kind.DISCOVER, (Path.parse("/3"),)), "web")
    found = await page(client, "/operations/1")
    assert "/3/0 pmin=5 obs" in found.text
    assert "too large to be kept whole" in found.text
    operations.ends = CONFIRMED
    path = (Path.parse(TEMPERATURE),)
    await operations.ask(
        SENSOR, Operation(Kind.WRITE_ATTRIBUTES, path, attributes=(("pmin", "1"), ("gt", None))), "web"
    )
    assert "Attributes pmin=1, gt" in (await page(client, "/operations/2")).text


async def test_every_try_is_shown(client: Client, operations: FakeOperations) -> None:
    operations.ends = Status.FAILED, Outcome(message="no answer")
    await operations.ask(SENSOR, read_of("/3"), "web")
    found = await page(client, "/operations/1")
    assert "Every try" in found.text
    assert "· 40 ms no answer" in found.text
    operations.ends = None
    await operations.ask(SENSOR, read_of("/3"), "web")
    assert "It was not sent yet." in (await page(client, "/operations/2")).text


async def test_a_regrettable_repetition_is_explained(client: Client, operations: FakeOperations) -> None:
    await filled(operations)
    found = await page(client, "/operations/3")
    assert "To ask again does it again. The device restarts." in found.text
    assert "/operations/3/retry" in found.all("action")


@pytest.mark.parametrize("number", ["99", "x", "-1", "9" * 16])
async def test_an_operation_that_is_not_there(client: Client, number: str) -> None:
    await page(client, f"/operations/{number}", 404)


# Ending one, asking anew


async def test_one_that_waits_is_cancelled(client: Client, operations: FakeOperations) -> None:
    await filled(operations)
    assert await send(client, "/operations/4/cancel") == "/operations/4"
    assert operations.rows[4].status is Status.CANCELLED
    assert "Write to /1/0/1 was cancelled." in (await page(client, "/operations/4")).text


async def test_one_that_is_done_is_asked_for_anew(client: Client, operations: FakeOperations) -> None:
    await filled(operations)
    assert await send(client, "/operations/2/retry") == "/operations/6"
    assert operations.rows[6].retry_of == 2
    assert operations.rows[6].asked_by == "anna/script"
    found = await page(client, "/operations/6")
    assert "Repeats operation 2" in found.text


async def test_one_goes_back_to_where_the_button_was(client: Client, operations: FakeOperations) -> None:
    await filled(operations)
    where = await send(client, "/operations/2/retry", {"back": "device"})
    assert where == f"{device(SENSOR)}?operation=6"
    filters = {"back": "list", "status": "QUEUED", "device": STRANGE, "q": "a b", "operation": "read"}
    where = await send(client, "/operations/5/cancel", filters)
    assert where.startswith("/operations?status=QUEUED&device=kitchen%2Fnorth")
    assert (await page(client, where)).all("data-operation") == []
    # An address from a form is never followed.
    assert await send(client, "/operations/4/cancel", {"back": "//elsewhere.example"}) == "/operations/4"


@pytest.mark.parametrize(
    ("path", "words"),
    [("/operations/2/cancel", "is done"), ("/operations/4/retry", "is not done")],
)
async def test_what_cannot_be_changed_is_explained(
    client: Client, operations: FakeOperations, path: str, words: str
) -> None:
    await filled(operations)
    found = await refused(client, path, 409, {})
    assert words in found.text
    assert len(operations.rows) == 5


async def test_nobody_changes_what_is_not_there(client: Client, operations: FakeOperations) -> None:
    await refused(client, "/operations/9/cancel", 404, {})
    await refused(client, "/operations/x/retry", 404, {})


async def test_pages_say_up_to_which_event_they_are_right(client: Client, parts: Parts) -> None:
    parts.bus.publish("presence", {"endpoint": SENSOR, "presence": "online", "time_ms": 1})
    for path in ("/operations", f"{device(SENSOR)}/resources{TEMPERATURE}"):
        assert (await page(client, path)).all("data-stream-after") == ["1"]
