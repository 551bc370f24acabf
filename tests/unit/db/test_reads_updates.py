"""Updates and campaigns as they are read: one by one, in pages by question, counted, none found late."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest

from flownexus_appliance.db.update_reads import (
    FAILURES,
    FIRMWARE_COUNTS,
    LAST,
    Failures,
    ListedUpdate,
    UpdateQuestion,
    select_updates,
)
from flownexus_appliance.lwm2m.firmware import CampaignState, Reason, UpdateState

from .updating import Box, opened, step


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    async with opened(tmp_path / "test.db") as box:
        yield box


async def ids(box: Box, question: UpdateQuestion, limit: int = 500) -> list[int]:
    return [row.update.id for row in (await box.reader.updates(question, limit))[0]]


async def test_one_comes_as_it_was_kept(box: Box) -> None:
    campaign = box.campaign()
    update = box.update(campaign_id=campaign.id, bytes=7, from_version="1.0")
    box.store.put_label("a", "Dach")
    await box.put(campaign, update)
    assert await box.reader.update(update.id) == update
    assert await box.reader.update(99) is None
    assert await box.reader.updates(UpdateQuestion(), 10) == ([ListedUpdate(update, "Dach")], None)
    assert await box.reader.campaign(campaign.id) == campaign
    assert await box.reader.campaign(99) is None
    assert await box.reader.update_steps(99) == []


@pytest.mark.parametrize(("label", "title"), [("Dach", "Dach"), ("", "a")])
def test_a_device_is_shown_by_its_label(tmp_path: FilePath, label: str, title: str) -> None:
    assert ListedUpdate(Box(tmp_path).update(), label).title == title


async def test_a_cursor_passes_over_nothing(box: Box) -> None:
    campaign = box.campaign()
    updates = [
        box.update(
            endpoint="a" if number % 3 else "b",
            campaign_id=campaign.id if number % 2 else 0,
            state=UpdateState.FAILED if number % 4 else UpdateState.REVERTED,
        )
        for number in range(1, 24)
    ]
    await box.put(campaign, *updates)
    for question, expected in (
        (UpdateQuestion(), list(range(23, 0, -1))),
        (UpdateQuestion(endpoint="b"), list(range(21, 0, -3))),
        (UpdateQuestion(campaign_id=campaign.id), list(range(23, 0, -2))),
        (UpdateQuestion(firmware_id=1), list(range(23, 0, -1))),
        (UpdateQuestion(state="REVERTED"), list(range(20, 0, -4))),
        (UpdateQuestion(state="unsuccessful"), list(range(23, 0, -1))),
    ):
        seen: list[int] = []
        before: int | None = None
        while True:
            page, before = await box.reader.updates(replace(question, before_id=before), 5)
            assert len(page) == 5 or before is None
            seen += [row.update.id for row in page]
            if before is None:
                break
        assert seen == expected


async def test_each_state_and_each_word_finds_its_own(box: Box) -> None:
    campaign = box.campaign()
    of_state = {state: box.update(state=state, campaign_id=campaign.id).id for state in UpdateState}
    await box.put(
        campaign, *(box.update(state=state, campaign_id=campaign.id, id=n) for state, n in of_state.items())
    )
    words = {
        "unfinished": ("UPDATING", "DOWNLOADED", "DOWNLOADING", "PREPARING", "WAITING"),
        "moving": ("UPDATING", "DOWNLOADED", "DOWNLOADING", "PREPARING"),
        "done": ("CANCELLED", "REVERTED", "FAILED", "SUCCEEDED"),
        "unsuccessful": ("REVERTED", "FAILED"),
        **{state.value: (state.value,) for state in UpdateState},
    }
    assert set(words["unfinished"]) | set(words["done"]) == set(UpdateState)
    abouts: list[dict[str, Any]] = [{}, {"endpoint": "a"}, {"campaign_id": campaign.id}, {"firmware_id": 1}]
    for about in abouts:
        for word, states in words.items():
            expected = [of_state[UpdateState(state)] for state in states]
            assert await ids(box, UpdateQuestion(state=word, **about)) == expected
    for question in (
        UpdateQuestion(endpoint="b"),
        UpdateQuestion(endpoint="nobody"),
        UpdateQuestion(campaign_id=9),
        UpdateQuestion(firmware_id=9),
        UpdateQuestion(state="FLYING"),
        UpdateQuestion(endpoint="b", state="done"),
    ):
        assert await ids(box, question) == []


async def test_devices_that_a_firmware_was_brought_to_are_counted_once(box: Box) -> None:
    succeeded = UpdateState.SUCCEEDED
    await box.put(
        box.update(state=succeeded),
        box.update(state=succeeded),
        box.update(endpoint="b", state=succeeded, reason=Reason.ALREADY),
        box.update(endpoint="b", state=UpdateState.FAILED),
    )
    assert await box.reader.firmware_reached() == {1: 1}


async def test_why_they_stand_there_is_asked_for_alone(box: Box) -> None:
    updates = [
        box.update(reason=Reason.RESULT, result=5),
        box.update(reason=Reason.RESULT, result=2),
        box.update(reason=Reason.GONE, result=5, detail="result"),
    ]
    await box.put(*updates)
    assert await ids(box, UpdateQuestion(reason="result")) == [2, 1]
    assert await ids(box, UpdateQuestion(reason="result", result=5)) == [1]
    assert await ids(box, UpdateQuestion(result=5)) == [3, 1]
    assert await ids(box, UpdateQuestion(result=0)) == []


async def test_a_search_takes_every_character_as_itself(box: Box) -> None:
    firmware = box.firmware("9.8.7")
    box.store.put_label("b", "Dach")
    updates = [
        box.update(detail="100 % of it"),
        box.update(detail="a_b", asked_by="o'hara"),
        box.update(firmware.id),
        box.update(endpoint="b", reason=Reason.STALLED),
        box.update(from_version="0.9"),
    ]
    await box.put(firmware, *updates)
    for search, found in (
        ("%", [1]),
        ("_", [2]),
        ("O'HARA", [2]),
        ("9.8.7", [3]),
        ("dach", [4]),
        ("stalled", [4]),
        ("0.9", [5]),
        ("'--", []),
    ):
        assert await ids(box, UpdateQuestion(search=search)) == found, search


async def test_the_newest_of_each_device(box: Box) -> None:
    first, last = box.update(), box.update(state=UpdateState.FAILED)
    other = box.update(endpoint="b")
    await box.put(first, last, other)
    assert await box.reader.last_updates(["a", "b", "c", "nobody"]) == {"a": last, "b": other}
    assert await box.reader.last_updates(["a"]) == {"a": last}
    assert await box.reader.last_updates([]) == {}


async def test_updates_are_counted_by_campaign_and_by_firmware(box: Box) -> None:
    firmware = box.firmware("2")
    one, other, empty = box.campaign(), box.campaign(firmware.id), box.campaign()
    await box.put(
        firmware,
        one,
        other,
        empty,
        *(box.update(campaign_id=one.id) for _ in range(3)),
        box.update(campaign_id=one.id, state=UpdateState.FAILED),
        box.update(firmware.id, campaign_id=other.id, state=UpdateState.FAILED),
        box.update(firmware.id, state=UpdateState.SUCCEEDED),
    )
    waiting, failed, succeeded = UpdateState.WAITING, UpdateState.FAILED, UpdateState.SUCCEEDED
    assert await box.reader.campaign_counts([one.id, empty.id, 99]) == {
        one.id: {waiting: 3, failed: 1},
        empty.id: {},
        99: {},
    }
    assert await box.reader.campaign_counts([]) == {}
    assert await box.reader.firmware_counts() == {
        1: {waiting: 3, failed: 1},
        firmware.id: {failed: 1, succeeded: 1},
    }


async def test_why_devices_of_a_campaign_failed(box: Box) -> None:
    campaign = box.campaign()
    failed = [
        (UpdateState.FAILED, Reason.RESULT, 5),
        (UpdateState.FAILED, Reason.SILENT, None),
        (UpdateState.FAILED, Reason.SILENT, None),
        (UpdateState.REVERTED, Reason.REVERTED, 8),
    ]
    await box.put(
        campaign,
        *(box.update(campaign_id=campaign.id, state=s, reason=r, result=n) for s, r, n in failed),
        box.update(campaign_id=campaign.id, state=UpdateState.SUCCEEDED),
        box.update(state=UpdateState.FAILED, reason=Reason.GONE),
    )
    assert await box.reader.campaign_failures(campaign.id) == [
        Failures(UpdateState.FAILED, Reason.SILENT, None, 2),
        Failures(UpdateState.FAILED, Reason.RESULT, 5, 1),
        Failures(UpdateState.REVERTED, Reason.REVERTED, 8, 1),
    ]
    assert await box.reader.campaign_failures(99) == []


async def test_pages_of_campaigns(box: Box) -> None:
    states = [*CampaignState, CampaignState.RUNNING]
    campaigns = [box.campaign(state=state) for state in states]
    await box.put(*campaigns)
    assert await box.reader.campaigns(None, 4) == (campaigns[:1:-1], 3)
    assert await box.reader.campaigns(3, 4) == (campaigns[1::-1], None)
    for state, expected in (
        ("unfinished", [6, 3, 2, 1]),
        ("done", [5, 4]),
        ("RUNNING", [6, 2]),
        ("FLYING", []),
    ):
        assert [one.id for one in (await box.reader.campaigns(None, 10, state))[0]] == expected
    assert [one.id for one in (await box.reader.campaigns(3, 10, "unfinished"))[0]] == [2, 1]


async def test_a_page_goes_on_while_the_newest_change(box: Box) -> None:
    updates = [box.update() for _ in range(6)]
    await box.put(*updates)
    page, before = await box.reader.updates(UpdateQuestion(), 3)
    await box.put(box.update())
    await box.change(replace(updates[1], state=UpdateState.FAILED), step(updates[1], UpdateState.FAILED))
    more, end = await box.reader.updates(UpdateQuestion(before_id=before), 3)
    assert ([row.update.id for row in (*page, *more)], end) == ([6, 5, 4, 3, 2, 1], None)


# Nothing is scanned, and nothing sorted, that may be long

MANY = "firmware_update_"


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (UpdateQuestion(), "SCAN u"),  # from the newest on, by the primary key
        (UpdateQuestion(before_id=9), "SEARCH u USING INTEGER PRIMARY KEY"),
        (UpdateQuestion(state="done"), "SCAN u"),
        (UpdateQuestion(state="done", before_id=9), "SEARCH u USING INTEGER PRIMARY KEY"),
        (UpdateQuestion(state="FAILED"), f"{MANY}state (state=?)"),
        (UpdateQuestion(state="FAILED", before_id=9), f"{MANY}state (state=? AND id<?)"),
        (UpdateQuestion(state="unfinished"), f"{MANY}state (state=?)"),
        (UpdateQuestion(state="moving"), f"{MANY}state (state=?)"),
        (UpdateQuestion(state="unsuccessful"), f"{MANY}state (state=?)"),
        (UpdateQuestion(endpoint="a"), f"{MANY}endpoint (endpoint_id=?)"),
        (UpdateQuestion(endpoint="a", before_id=9), f"{MANY}endpoint (endpoint_id=? AND id<?)"),
        (UpdateQuestion(endpoint="a", state="done"), f"{MANY}endpoint (endpoint_id=?)"),
        (UpdateQuestion(endpoint="a", campaign_id=1), f"{MANY}endpoint (endpoint_id=?)"),
        (UpdateQuestion(campaign_id=1), f"{MANY}campaign (campaign_id=?)"),
        (UpdateQuestion(campaign_id=1, before_id=9), f"{MANY}campaign (campaign_id=? AND id<?)"),
        (UpdateQuestion(campaign_id=1, state="done"), f"{MANY}campaign (campaign_id=?)"),
        (UpdateQuestion(campaign_id=1, state="unfinished"), f"{MANY}campaign (campaign_id=?)"),
        (UpdateQuestion(campaign_id=1, state="FAILED"), f"{MANY}campaign_state (campaign_id=? AND state=?)"),
        (UpdateQuestion(firmware_id=1), f"{MANY}firmware (firmware_id=?)"),
        (UpdateQuestion(firmware_id=1, before_id=9), f"{MANY}firmware (firmware_id=? AND id<?)"),
        (UpdateQuestion(firmware_id=1, state="FAILED"), f"{MANY}firmware_state (firmware_id=? AND state=?)"),
        (UpdateQuestion(firmware_id=1, state="unsuccessful"), f"{MANY}firmware (firmware_id=?)"),
    ],
)
async def test_no_question_sorts_what_is_done(box: Box, question: UpdateQuestion, index: str) -> None:
    plan = explain(box, *select_updates(question))
    assert any(step.startswith(("SCAN u", "SEARCH u")) and index in step for step in plan), plan
    everybodys = not (question.endpoint or question.campaign_id or question.firmware_id)
    few = everybodys and question.state in ("unfinished", "moving", "unsuccessful")
    assert few == any("TEMP B-TREE" in step for step in plan), plan


async def test_counts_and_newest_are_read_from_indexes(box: Box) -> None:
    (counts,) = explain(box, FIRMWARE_COUNTS, {})
    assert f"COVERING INDEX {MANY}firmware_state" in counts
    assert any(f"COVERING INDEX {MANY}endpoint" in step for step in explain(box, LAST, {"names": "[]"}))
    assert any(f"INDEX {MANY}campaign" in step for step in explain(box, FAILURES, {"id": 1}))


def explain(box: Box, sql: str, parameters: dict[str, object]) -> list[str]:
    with closing(sqlite3.connect(box.path)) as connection:
        return [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
