"""Firmware, updates and campaigns as the file keeps them; and none of their rows fails a commit."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db import firmware_rows
from flownexus_appliance.db.firmware import KeptFirmware, UpdateStep
from flownexus_appliance.db.firmware_rows import ENDED_KEPT
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.firmware import (
    CAMPAIGN_ENDED,
    ENDED,
    CampaignState,
    Delivery,
    Reason,
    UpdateState,
)
from flownexus_appliance.lwm2m.paths import Path

from .updating import NOW, TICKET, Box, opened, step

COMPONENT = Path.of(33629, 1)


@pytest.fixture
async def box(tmp_path: FilePath) -> AsyncIterator[Box]:
    async with opened(tmp_path / "test.db") as box:
        yield box


# What goes in comes out; every field of its own: tests/property/test_firmware_rows.py


async def test_all_of_it_is_taken_up_again(box: Box) -> None:
    plain = box.firmware("2", image=None, note="für außen", model="nRF", tag="roof", from_version="1.2.3")
    running = box.campaign(
        instance=COMPONENT, delivery=Delivery.PUSH, at_once=3, failure_limit=50, starts_ms=9
    )
    paused = box.campaign(plain.id, state=CampaignState.PAUSED, reason=Reason.FAILURES)
    waiting = box.update(campaign_id=running.id, instance=COMPONENT, wanted=Delivery.PUSH)
    moving = box.update(
        plain.id,
        "b",
        state=UpdateState.DOWNLOADING,
        delivery=Delivery.HTTPS,
        tried=(Delivery.COAPS, Delivery.COAP),
        result=4,
        reason=Reason.STALLED,
        detail="4.04",
        bytes=512,
        attempts=2,
        from_version="1.0",
        started_ms=NOW + 9,
    )
    await box.put(plain, running, paused, waiting, moving)
    first = (await box.again()).firmware.firmware[0]
    assert (first.id, first.sha256, first.versions) == (1, (1).to_bytes(32, "big"), ("1.2.3", "1.2.3"))
    assert (await box.again()).firmware == KeptFirmware(
        (first, plain),
        (running, paused),
        (waiting, moving),
        {running.id: {UpdateState.WAITING: 1}, paused.id: {}},
    )


async def test_what_has_ended_is_not_taken_up_but_counted(box: Box) -> None:
    campaigns = [box.campaign(state=state) for state in CampaignState]
    updates = [box.update(state=state, campaign_id=campaigns[1].id) for state in UpdateState]
    await box.put(*campaigns, *updates, box.update(endpoint="b", campaign_id=campaigns[1].id))
    kept = (await box.again()).firmware
    assert [campaign.state for campaign in kept.campaigns] == [
        state for state in CampaignState if state not in CAMPAIGN_ENDED
    ]
    assert [update.state for update in kept.updates] == [
        *(state for state in UpdateState if state not in ENDED),
        UpdateState.WAITING,
    ]
    assert kept.counts == {
        campaigns[0].id: {},
        campaigns[1].id: dict.fromkeys(UpdateState, 1) | {UpdateState.WAITING: 2},
        campaigns[2].id: {},
    }


async def test_an_update_of_a_stopped_campaign_goes_on(box: Box) -> None:
    campaign = box.campaign(state=CampaignState.STOPPED)
    update = box.update(campaign_id=campaign.id, state=UpdateState.UPDATING)
    await box.put(campaign, update)
    assert (await box.again()).firmware.updates == (update,)


async def test_what_is_said_of_firmware_changes_and_the_package_does_not(box: Box) -> None:
    firmware = box.firmware("2.0")
    await box.put(firmware)
    after = replace(firmware, version="2.0.1", image=None, note="n", model="m", tag="t", from_version="1")
    elsewhere = replace(after, file_name="x", size=1, added_by="x", added_ms=1)
    box.store.change_firmware(elsewhere)
    assert (await box.again()).firmware.firmware[1] == after


async def test_a_campaign_changes(box: Box) -> None:
    campaign = box.campaign()
    await box.put(campaign)
    after = replace(
        campaign, state=CampaignState.PAUSED, reason=Reason.ASKED, changed_ms=NOW, at_once=7, starts_ms=5
    )
    box.store.change_campaign(replace(after, asked_by="x", created_ms=1, firmware_id=99))
    assert (await box.again()).firmware.campaigns == (after,)


async def test_the_file_numbers_the_steps_of_each_update(box: Box) -> None:
    update, other = box.update(), box.update(endpoint="b")
    await box.put(update, other)
    for number, state in enumerate((UpdateState.PREPARING, UpdateState.DOWNLOADING, UpdateState.FAILED)):
        told = UpdateStep(update.id, 77, NOW + number, state, Reason.RESULT, "3")
        await box.change(replace(update, state=state), told)
        await box.change(other, step(other))
    assert await box.reader.update_steps(update.id) == [
        UpdateStep(update.id, 1, NOW, UpdateState.PREPARING, Reason.RESULT, "3"),
        UpdateStep(update.id, 2, NOW + 1, UpdateState.DOWNLOADING, Reason.RESULT, "3"),
        UpdateStep(update.id, 3, NOW + 2, UpdateState.FAILED, Reason.RESULT, "3"),
    ]
    found = await box.reader.update(update.id)
    assert found == replace(update, state=UpdateState.FAILED)
    # In one go too, and after a restart.
    await box.again()
    box.store.change_update(update, step(update))
    box.store.change_update(update, step(update))
    await box.store.commit()
    assert [one.number for one in await box.reader.update_steps(update.id)] == [1, 2, 3, 4, 5]


async def test_progress_changes_the_bytes_alone(box: Box) -> None:
    update, other, still = box.update(), box.update(endpoint="b"), box.update(endpoint="c")
    await box.put(update, other, still)
    box.store.put_update_bytes({update.id: 512, other.id: 1024, 99: 1})
    assert (await box.again()).firmware.updates == (
        replace(update, bytes=512),
        replace(other, bytes=1024),
        still,
    )


async def test_a_ticket_may_change(box: Box) -> None:
    update = box.update()
    await box.put(update, box.update(endpoint="b"))
    await box.change(replace(update, ticket="another"))
    tickets = [update.ticket for update in (await box.again()).firmware.updates]
    assert tickets == ["another", TICKET]


# Ids


def next_ids(box: Box) -> tuple[int, int, int]:
    return box.store.new_firmware_id(), box.store.new_update_id(), box.store.new_campaign_id()


async def test_ids_rise_over_a_restart(box: Box) -> None:
    await box.put(box.campaign(), box.campaign(), box.update(), box.update(), box.update())
    await box.again()
    assert next_ids(box) == (2, 4, 3)


async def test_what_is_removed_leaves_no_id_behind(box: Box) -> None:
    """An open page, or a record of changes, that speaks of firmware 2 means no other."""
    firmware = box.firmware()
    campaign = box.campaign(firmware.id, state=CampaignState.DONE)
    update = box.update(firmware.id, campaign_id=campaign.id, state=UpdateState.SUCCEEDED)
    await box.put(firmware, campaign, update)
    box.store.remove_firmware(firmware.id)
    await box.again()
    assert box.ids("firmware") == [1]
    assert next_ids(box) == (firmware.id + 1, update.id + 1, campaign.id + 1)
    await box.again()  # nothing was put by these
    assert next_ids(box) == (firmware.id + 1, update.id + 1, campaign.id + 1)


async def test_who_waited_with_an_id_through_a_failed_commit_has_it_alone(box: Box) -> None:
    update, campaign = box.update(), box.campaign()
    firmware = box.firmware("2")
    await box.lose()
    await box.put(box.firmware("3"), box.campaign(), box.update(), firmware, campaign, update)
    assert box.ids("firmware") == [1, 2, 3]
    assert box.ids("firmware_update") == box.ids("firmware_campaign") == [1, 2]


# A commit is everybody's


async def test_after_a_failed_commit_nothing_of_it_is_there(box: Box) -> None:
    firmware = box.firmware("2")
    box.store.put_firmware(firmware)
    box.store.put_campaign(box.campaign(firmware.id))
    box.store.put_update(box.update(firmware.id, "new"))
    await box.lose()
    assert [box.ids(t) for t in ("firmware", "firmware_campaign", "firmware_update")] == [[1], [], []]
    again = box.firmware("2", sha256=firmware.sha256)
    await box.put(again, box.update(again.id, "new"))
    assert box.ids("firmware") == [1, again.id]


async def test_firmware_whose_removal_failed_is_there(box: Box) -> None:
    box.store.remove_firmware(1)
    await box.lose()
    assert box.ids("firmware") == [1]
    with pytest.raises(UsageError) as raised:
        box.store.put_firmware(box.firmware(sha256=(1).to_bytes(32, "big")))
    assert raised.value.code == "firmware_known"


@pytest.mark.parametrize("change", [False, True])
@pytest.mark.parametrize("restart", [False, True])
async def test_the_same_package_as_the_same_version_is_refused(box: Box, change: bool, restart: bool) -> None:
    sha256 = (1).to_bytes(32, "big")
    other = box.firmware("2", sha256=sha256)
    await box.put(other)
    if restart:
        await box.again()
    twice = replace(other, version="1.2.3") if change else box.firmware("1.2.3", sha256=sha256)
    with pytest.raises(UsageError) as raised:
        (box.store.change_firmware if change else box.store.put_firmware)(twice)
    assert raised.value.code == "firmware_known"
    # What is its own it may keep, and what became free is free.
    box.store.change_firmware(replace(other, note="x"))
    box.store.remove_firmware(1)
    (box.store.change_firmware if change else box.store.put_firmware)(twice)
    await box.store.commit()
    assert ("1.2.3",) in box.rows("SELECT version FROM firmware")


async def test_the_file_refuses_a_second_one_without_failing(box: Box) -> None:
    """Were it to get that far."""
    (first,) = (await box.again()).firmware.firmware
    other = box.firmware("2", sha256=first.sha256)
    await box.put(other)
    box.store.catalog.packages.clear()
    await box.put(replace(first, id=box.store.new_firmware_id()))
    box.store.catalog.packages.clear()
    box.store.catalog.packages[other.id] = (b"", "")
    box.store.change_firmware(replace(other, version=first.version))
    await box.store.commit()
    assert box.rows("SELECT id, version FROM firmware ORDER BY id") == [(1, "1.2.3"), (2, "2")]


async def test_what_refers_to_nothing_is_not_kept_and_harms_nothing(box: Box) -> None:
    gone = box.update()
    box.store.put_update(box.update(99))
    box.store.put_campaign(box.campaign(99))
    box.store.change_update(gone, step(gone))
    box.store.put_update_bytes({gone.id: 1})
    box.store.change_campaign(box.campaign())
    unknown = box.firmware()
    box.store.change_firmware(unknown)
    box.store.remove_firmware(99)
    orphan = box.update(campaign_id=99)
    await box.put(orphan)
    assert [box.ids(t) for t in ("firmware", "firmware_campaign")] == [[1], []]
    assert box.steps() == []
    # Its campaign is gone: it is one by itself.
    assert await box.reader.update(orphan.id) == replace(orphan, campaign_id=0)
    assert box.ids("firmware_update") == [orphan.id]
    # Nor is it believed to be there.
    await box.put(replace(box.firmware(), sha256=unknown.sha256, version=unknown.version))
    assert box.rows("SELECT count(*) FROM firmware") == [(2,)]


# What goes


async def test_firmware_goes_with_all_that_has_ended(box: Box) -> None:
    gone, stays = box.firmware("2"), box.firmware("3")
    campaigns = [box.campaign(one.id, state=CampaignState.STOPPED) for one in (gone, stays)]
    updates = [
        box.update(one.id, endpoint, campaign_id=campaign, state=state)
        for one, own in zip((gone, stays), campaigns, strict=True)
        for endpoint, campaign, state in (
            ("a", own.id, UpdateState.REVERTED),
            ("b", 0, UpdateState.CANCELLED),
        )
    ]
    await box.put(gone, stays, *campaigns, *updates)
    for update in updates:
        await box.change(update, step(update))
    box.store.remove_firmware(gone.id)
    await box.store.commit()
    assert box.ids("firmware") == [1, stays.id]
    assert box.ids("firmware_campaign") == [campaigns[1].id]
    assert box.ids("firmware_update") == [updates[2].id, updates[3].id]
    assert box.steps() == [(updates[2].id, 1), (updates[3].id, 1)]


@pytest.mark.parametrize("under_way", ["update", "campaign", "update of a stopped campaign"])
async def test_firmware_that_somebody_needs_stays(box: Box, under_way: str) -> None:
    campaign = box.campaign(state=CampaignState.RUNNING if under_way == "campaign" else CampaignState.STOPPED)
    update = box.update(
        campaign_id=campaign.id if under_way.startswith("update of") else 0,
        state=UpdateState.FAILED if under_way == "campaign" else UpdateState.WAITING,
    )
    await box.put(campaign, update)
    box.store.remove_firmware(1)
    await box.store.commit()
    assert box.ids("firmware") == [1]
    assert box.ids("firmware_update") == ([] if under_way == "campaign" else [update.id])
    assert box.ids("firmware_campaign") == ([] if under_way == "update" else [campaign.id])


async def test_the_oldest_that_have_ended_go_with_their_steps(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each endpoint its own; never one that goes on, nor one of a campaign."""
    assert ENDED_KEPT == 50
    monkeypatch.setattr(firmware_rows, "ENDED_KEPT", 3)
    campaign = box.campaign()
    elsewhere = box.update(endpoint="b", state=UpdateState.FAILED)
    under_way = box.update(state=UpdateState.UPDATING)
    of_campaign = box.update(state=UpdateState.SUCCEEDED, campaign_id=campaign.id)
    ended = [box.update(state=state) for state in sorted(ENDED)]
    await box.put(campaign, elsewhere, under_way, of_campaign, *ended)
    for update in (of_campaign, *ended):
        await box.change(update, step(update))
    # A campaign's are not counted, and make nothing go.
    await box.put(*[box.update(state=UpdateState.SUCCEEDED, campaign_id=campaign.id) for _ in range(5)])
    newest = box.update()
    assert set(box.ids("firmware_update")) >= {one.id for one in ended[1:]}
    await box.put(newest)
    left = set(box.ids("firmware_update"))
    assert left >= {elsewhere.id, under_way.id, of_campaign.id, ended[2].id, ended[3].id, newest.id}
    assert not left & {ended[0].id, ended[1].id}
    assert box.steps() == [(one.id, 1) for one in (of_campaign, *ended[2:])]
    await box.put(*[box.update() for _ in range(5)])
    left = set(box.ids("firmware_update"))
    assert left >= {elsewhere.id, under_way.id, of_campaign.id, newest.id}
    assert not left & {one.id for one in ended}


async def test_an_endpoint_that_goes_takes_its_own_along(box: Box) -> None:
    campaign = box.campaign()
    update, other = (box.update(endpoint=endpoint, campaign_id=campaign.id) for endpoint in ("c", "a"))
    await box.put(campaign, update, other)
    await box.change(update, step(update))
    box.store.remove_unseen("c")
    await box.store.commit()
    assert box.ids("firmware_update") == [other.id]
    assert box.steps() == []
    # What its update still does harms nothing.
    await box.change(update, step(update))
    assert box.steps() == []


# What nobody can have written


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        ("firmware", "image = 'x'"),
        ("firmware", """image = '{"version": "1"}'"""),
        ("firmware", "image = '[]'"),
        ("firmware_update", "state = 'FLYING' || state"),
        ("firmware_update", "instance = '/x'"),
        ("firmware_update", "wanted = 'mail'"),
        ("firmware_update", "tried = 'coaps mail'"),
        ("firmware_update", "reason = 'because'"),
        ("firmware_campaign", "state = 'FLYING'"),
        ("firmware_campaign", "delivery = 'mail'"),
        ("setting", "value = '[1]'"),
        ("setting", "value = 'x'"),
        ("setting", """value = '["1", 2, 3]'"""),
    ],
)
async def test_what_nobody_can_have_written_is_said_to_be_so(box: Box, table: str, damage: str) -> None:
    campaign = box.campaign()
    await box.put(campaign, box.update(campaign_id=campaign.id))
    box.store.remove_firmware(99)
    await box.store.stop()
    with closing(sqlite3.connect(box.path)) as connection:
        before = connection.execute(f"SELECT * FROM {table}").fetchall()
        connection.execute(f"UPDATE {table} SET {damage}")
        connection.commit()
        assert connection.execute(f"SELECT * FROM {table}").fetchall() != before
    with pytest.raises(StoreError) as raised:
        await box.store.start()
    assert raised.value.code == "database_unreadable"
