"""Updates from their asking to their end: who begins when, and what a restart finds."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from flownexus_appliance.db.firmware import Firmware, FirmwareUpdate
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.fleet.firmware import updates as updates_module
from flownexus_appliance.lwm2m.firmware import CampaignState, Delivery, UpdateState
from tests.peer import until

from .bench import SIZE, UNDER_WAY, Bench, downloading, nothing_is_left, of_two_campaigns

WAITING, PREPARING, DOWNLOADING = UpdateState.WAITING, UpdateState.PREPARING, UpdateState.DOWNLOADING
DOWNLOADED, UPDATING, SUCCEEDED = UpdateState.DOWNLOADED, UpdateState.UPDATING, UpdateState.SUCCEEDED
FAILED, CANCELLED = UpdateState.FAILED, UpdateState.CANCELLED
ALL_OF_IT = [WAITING, PREPARING, DOWNLOADING, DOWNLOADED, UPDATING, SUCCEEDED]
CHANGES = "UPDATE ON firmware_update"


def as_on_disk(bench: Bench, update: FirmwareUpdate, **columns: object) -> None:
    """What an earlier run has left, written while no box runs."""
    with closing(sqlite3.connect(bench.database, isolation_level=None)) as connection:
        for column, value in columns.items():
            connection.execute(f"UPDATE firmware_update SET {column} = ? WHERE id = ?", (value, update.id))


# From asking to end


async def test_an_update_goes_through_its_states_and_leaves_nothing(bench: Bench) -> None:
    bench.device("one")
    bench.obeys("one")
    update = await bench.update("one", await bench.firmware())
    await bench.reaches(update, SUCCEEDED)
    assert bench.states(update) == ALL_OF_IT
    assert bench.kept(update) == (SUCCEEDED, "")
    steps = bench.rows("SELECT number, state FROM firmware_update_step WHERE update_id = ?", update.id)
    assert steps == list(enumerate(ALL_OF_IT[1:], 1))
    await bench.settled()
    assert nothing_is_left(bench)


async def test_what_is_told_of_an_update(bench: Bench) -> None:
    update = await downloading(bench)
    told = bench.said[-1].data
    assert told == {
        "endpoint": "one",
        "id": update.id,
        "campaign": 0,
        "firmware": update.firmware_id,
        "version": "2.0.0",
        "instance": "/5/0",
        "state": "DOWNLOADING",
        "delivery": "coaps",
        "bytes": 0,
        "size": SIZE,
        "attempts": 1,
        "result": None,
        "reason": "",
        "detail": "",
        "time_ms": bench.clock.wall_ms,
    }
    assert update.ticket not in repr(told)


async def test_progress_is_told_at_most_once_a_tick(bench: Bench) -> None:
    update = await downloading(bench)
    before = len(bench.said)
    for got in range(100, 900, 100):
        bench.fetch("one", got)
    assert len(bench.said) == before
    await bench.ticks()
    assert [event.data["bytes"] for event in bench.said[before:]] == [800]
    await bench.ticks()
    assert len(bench.said) == before + 1
    live = bench.box.live(update.id)
    assert live is not None
    assert live.bytes == 800


async def test_how_far_a_package_has_got_is_on_disk_every_few_seconds(bench: Bench) -> None:
    update = await downloading(bench)
    bench.fetch("one", 300)
    await bench.ticks(updates_module.KEPT_EVERY_S)
    kept = "SELECT bytes FROM firmware_update WHERE id = ?"
    assert bench.rows(kept, update.id) == [(300,)]
    bench.fetch("one", 400)
    await bench.ticks()
    assert bench.rows(kept, update.id) == [(300,)]
    await bench.stop()
    assert bench.rows(kept, update.id) == [(400,)]
    await bench.start()


async def test_a_device_that_is_away_is_waited_for(bench: Bench) -> None:
    puppet = bench.device("one")
    bench.leaves("one")
    update = await bench.update("one", await bench.firmware())
    await bench.ticks()
    assert bench.states(update) == [WAITING]
    assert not puppet.asked
    bench.comes("one")
    await bench.reaches(update, DOWNLOADING)


async def test_a_device_that_goes_in_the_middle_is_led_on_when_it_is_back(bench: Bench) -> None:
    update = await downloading(bench)
    bench.leaves("one")
    bench.puppets["one"].state = 1
    await bench.ticks()
    bench.comes("one")
    bench.fetch("one")
    await bench.reaches(update, UPDATING)
    bench.leaves("one")
    await bench.ticks()
    bench.reboot("one")
    await bench.reaches(update, SUCCEEDED)


async def test_a_ticket_is_good_until_the_end(bench: Bench) -> None:
    update = await downloading(bench)
    assert bench.updates.by_ticket(update.ticket) is not None
    bench.obeys("one")
    bench.fetch("one")
    await bench.reaches(update, SUCCEEDED)
    assert bench.updates.by_ticket(update.ticket) is None


async def test_a_try_that_came_to_nothing_is_repeated_after_a_pause(bench: Bench) -> None:
    update = await downloading(bench)
    bench.tell("one", state=1, result=0)
    bench.tell("one", state=0, result=4)
    await bench.reaches(update, WAITING)
    await bench.ticks(updates_module.RETRY_S - 1)
    bench.box.wake("one")
    await bench.settled()
    assert bench.states(update)[-1] is WAITING
    bench.obeys("one")
    await bench.ticks(1)
    await bench.reaches(update, SUCCEEDED)
    assert bench.said[-1].data["attempts"] == 2


# Several of one device


async def test_updates_of_one_device_go_one_after_the_other(bench: Bench) -> None:
    older, newer = await of_two_campaigns(bench)
    bench.obeys("one", "1.5.0", "2.0.0")
    bench.comes("one")
    await bench.reaches(newer, SUCCEEDED)
    assert bench.at_once == 1
    told = [event.data["id"] for event in bench.said if event.name == "firmware_update"]
    assert told == [older.id, newer.id, *[older.id] * 5, *[newer.id] * 5]


async def test_an_older_one_that_has_another_try_goes_before_a_newer_one(bench: Bench) -> None:
    older, newer = await of_two_campaigns(bench)
    bench.fails("one", 4)
    bench.comes("one")
    await until(lambda: bench.states(older)[1:] == [PREPARING, DOWNLOADING, WAITING])
    await bench.settled()
    await bench.ticks(updates_module.RETRY_S - 1)
    bench.box.wake("one")
    assert bench.states(newer) == [WAITING]
    bench.obeys("one", "1.5.0", "2.0.0")
    await bench.ticks(1)
    await bench.reaches(newer, SUCCEEDED)
    assert bench.states(older)[-1] is SUCCEEDED


async def test_an_older_one_whose_campaign_is_paused_holds_no_newer_one_up(bench: Bench) -> None:
    older, newer = await of_two_campaigns(bench)
    bench.fails("one", 4)
    bench.comes("one")
    await until(lambda: bench.states(older)[1:] == [PREPARING, DOWNLOADING, WAITING])
    await bench.settled()
    await bench.box.steer(older.campaign_id, CampaignState.PAUSED)
    bench.obeys("one")
    await bench.ticks(1)
    await bench.reaches(newer, SUCCEEDED)
    assert bench.states(older)[-1] is WAITING


async def test_an_older_one_that_stands_there_without_a_lead_is_still_before_a_newer_one(
    bench: Bench,
) -> None:
    older, newer = await of_two_campaigns(bench)
    bench.comes("one")
    await bench.reaches(older, DOWNLOADING)
    bench.defects.add("one")
    await bench.box.steer(older.campaign_id, CampaignState.PAUSED)
    with bench.disk_fails(CHANGES):
        bench.comes("one")
        await until(lambda: not bench.updates._leads)
        await bench.healed()
    bench.defects.clear()
    bench.obeys("one", "1.5.0", "2.0.0")
    await bench.ticks(updates_module.RETRY_S - 1)
    assert bench.states(newer) == [WAITING]
    await bench.ticks(1)
    await bench.reaches(newer, SUCCEEDED)
    assert bench.states(older)[-1] is SUCCEEDED


async def test_who_may_not_begin_holds_nobody_up(bench: Bench) -> None:
    bench.device("one")
    bench.obeys("one")
    ahead = bench.clock.wall_ms + 3_600_000
    await bench.campaign(await bench.firmware("1.5.0"), "one", starts_ms=ahead)
    campaign = await bench.campaign(await bench.firmware("2.0.0"), "one")
    await until(lambda: bench.campaign_state(campaign) == ("DONE", ""))


# Defects


async def test_a_device_that_answers_nonsense_is_not_asked_all_the_time(
    bench: Bench,
) -> None:
    """Its answer is a sign of life, and must not be what has it asked again."""
    update = await downloading(bench)
    bench.fetch("one")
    await bench.reaches(update, UPDATING)
    bench.garbling.add("one")
    bench.comes("one")
    asked = bench.puppets["one"].asked
    before = len(asked)
    for _ in range(20):
        await bench.settled()
    assert len(asked) <= before + 2
    bench.garbling.clear()
    bench.reboot("one")
    await bench.reaches(update, SUCCEEDED)


async def test_a_full_disk_is_not_tried_all_the_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by an update whose patience is over."""
    await downloading(bench)
    changes = 0

    def refuse(*_: object) -> None:
        nonlocal changes
        changes += 1
        raise StoreError("store_failed", "disk full", "")

    monkeypatch.setattr(bench.store, "change_update", refuse)
    bench.clock.advance(200)
    bench.box.wake("one")
    for _ in range(50):
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.002)
        bench.box.wake("one")
    assert changes == 1


async def test_a_defect_ends_its_update_and_no_other(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.device("one")
    bench.device("two")
    bench.obeys("two")
    firmware = await bench.firmware()
    bench.defects.add("one")
    update = await bench.update("one", firmware)
    other = await bench.update("two", firmware)
    await bench.reaches(update, FAILED)
    assert bench.kept(update) == (FAILED, "defect")
    await bench.reaches(other, SUCCEEDED)
    assert "update broken off" in caplog.text
    bench.defects.clear()
    bench.obeys("one")
    await bench.reaches(await bench.update("one", firmware), SUCCEEDED)


async def test_a_defect_while_the_disk_is_full_ends_it_when_there_is_room(bench: Bench) -> None:
    update = await downloading(bench)
    bench.defects.add("one")
    with bench.disk_fails(CHANGES):
        bench.comes("one")  # it is read anew
        await until(lambda: not bench.updates._leads)
        await bench.healed()
    assert bench.kept(update) == (DOWNLOADING, "")
    await bench.ticks(updates_module.RETRY_S)
    await bench.reaches(update, FAILED)
    assert bench.kept(update) == (FAILED, "defect")


# Restarts


@pytest.mark.parametrize("state", UNDER_WAY)
async def test_each_state_is_taken_up(bench: Bench, state: UpdateState) -> None:
    update = await downloading(bench)
    await bench.stop()
    as_on_disk(bench, update, state=state.value, bytes=300, from_version="1.0.0")
    bench.puppets["one"].state = {PREPARING: 0, DOWNLOADING: 1, DOWNLOADED: 2, UPDATING: 3}[state]
    bench.said.clear()
    await bench.start(opened=False)
    await bench.ticks()
    live = bench.box.live(update.id)
    assert live is not None
    assert (live.state, live.bytes) == (state, 300)
    assert not bench.updates._leads, "nothing is asked before the wire is up"
    bench.obeys("one")
    bench.box.open()
    if state is DOWNLOADING:
        bench.fetch("one")
    elif state is UPDATING:
        bench.reboot("one")
    await bench.reaches(update, SUCCEEDED)
    await bench.settled()
    assert nothing_is_left(bench)


async def test_one_that_waits_is_taken_up(bench: Bench) -> None:
    bench.device("one")
    bench.leaves("one")
    update = await bench.update("one", await bench.firmware())
    bench.obeys("one")
    await bench.restart()
    await bench.ticks()
    await bench.reaches(update, SUCCEEDED)


async def test_a_killed_box_goes_on_where_the_disk_says(bench: Bench) -> None:
    update = await downloading(bench)
    bench.fetch("one", 300)
    await bench.killed()
    assert bench.kept(update) == (DOWNLOADING, "")
    bench.obeys("one")
    bench.fetch("one")
    await bench.reaches(update, SUCCEEDED)


async def test_a_stop_in_the_middle_of_a_commit_loses_nothing(bench: Bench) -> None:
    update = await downloading(bench)
    bench.tell("one", state=1, result=0)
    bench.tell("one", state=0, result=5)
    await asyncio.sleep(0)
    await bench.restart()
    await until(lambda: bench.kept(update) == (FAILED, "result"))
    assert nothing_is_left(bench)


async def test_a_stop_in_the_middle_of_a_cancel_loses_nothing(bench: Bench) -> None:
    update = await downloading(bench)
    with bench.disk_held():
        cancelling = asyncio.create_task(bench.box.cancel(update.id))
        for _ in range(5):
            await asyncio.sleep(0)
        await bench.box.stop()
        await asyncio.gather(cancelling, return_exceptions=True)
    await bench.store.stop()
    await bench.start()
    state = bench.kept(update)[0]
    assert (bench.box.live(update.id) is None) == (state is CANCELLED)


async def test_ids_rise_over_restarts(bench: Bench) -> None:
    bench.device("one")
    bench.obeys("one")
    firmware = await bench.firmware()
    first = await bench.update("one", firmware)
    await bench.reaches(first, SUCCEEDED)
    await bench.box.remove(firmware.id)
    assert bench.rows("SELECT id FROM firmware_update") == []
    await bench.restart()
    bench.puppets["one"].version = "1.0.0"
    second = await bench.update("one", await bench.firmware("2.0.1"))
    assert second.id > first.id
    assert second.ticket != first.ticket


async def test_what_is_led_is_counted_over_a_restart(bench: Bench) -> None:
    names = [f"d{n}" for n in range(5)]
    for name in names:
        bench.device(name)
    campaign = await bench.campaign(await bench.firmware(), *names, at_once=3)
    await until(lambda: bench.count(campaign) == {"DOWNLOADING": 3, "WAITING": 2})
    await bench.restart()
    await bench.ticks()
    assert bench.updates.led(campaign.id) == 3
    assert bench.count(campaign) == {"DOWNLOADING": 3, "WAITING": 2}


async def test_a_hundred_updates_leave_nothing(bench: Bench) -> None:
    names = bench.devices(50)
    for version in ("1.1.0", "1.2.0"):
        for name in names:
            bench.obeys(name, version)
        campaign = await bench.campaign(await bench.firmware(version), *names, at_once=50)
        await bench.until_ticking(lambda: not bench.campaigns._live)
        await bench.settled()
        assert bench.count(campaign) == {"SUCCEEDED": 50}
    await bench.settled()
    assert nothing_is_left(bench)


async def test_no_more_are_led_than_the_box_can(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates_module, "MAX_LED", 2)
    names = [f"d{n}" for n in range(5)]
    for name in names:
        bench.device(name)
    campaign = await bench.campaign(await bench.firmware(), *names)
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 2)
    await bench.ticks()
    assert bench.count(campaign) == {"DOWNLOADING": 2, "WAITING": 3}
    first = next(bench.updates.all())
    await bench.box.cancel(first.id)
    await bench.ticks()
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 2)
    assert bench.count(campaign) == {"CANCELLED": 1, "DOWNLOADING": 2, "WAITING": 2}


async def test_a_device_says_how_a_push_goes(bench: Bench, firmware: Firmware) -> None:
    bench.device("one", method=1)
    update = await bench.update("one", firmware)
    await until(lambda: "one" in bench.pushes)
    bench.pushes["one"].sent(512)
    await bench.ticks()
    assert (bench.said[-1].data["bytes"], bench.said[-1].data["delivery"]) == (512, Delivery.PUSH)
    bench.pushes["one"].sent(0)  # from the start (4.08)
    await bench.ticks()
    assert bench.said[-1].data["bytes"] == 0
    assert bench.states(update)[-1] is DOWNLOADING


@pytest.fixture
async def firmware(bench: Bench) -> Firmware:
    return await bench.firmware()
