"""Campaigns: how many at once, when too many have failed, and what people and restarts make of one."""

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest

from flownexus_appliance.db.firmware import Campaign
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.firmware import updates as updates_module
from flownexus_appliance.fleet.firmware.campaigns import SHARE_OF
from flownexus_appliance.lwm2m.firmware import CAMPAIGN_ENDED, CampaignState, UpdateState

from .bench import Bench

RUNNING, PAUSED, STOPPED = CampaignState.RUNNING, CampaignState.PAUSED, CampaignState.STOPPED
HOUR_MS = 3_600_000


async def begun(bench: Bench, names: Iterable[str], **plan: object) -> Campaign:
    return await bench.campaign(await bench.firmware(), *names, **plan)


async def ends(bench: Bench, campaign: Campaign, state: str = "DONE") -> None:
    await bench.until_ticking(lambda: bench.campaigns.get(campaign.id) is None)
    await bench.settled()
    assert bench.campaign_state(campaign)[0] == state


def add_up(bench: Bench, campaign: Campaign, devices: int) -> bool:
    """Whether each event's counts are of all devices (but the first, which goes before them)."""
    return all(sum(told["counts"].values()) == devices for told in bench.told_of(campaign)[1:])


# How many at once


@pytest.mark.parametrize("at_once", [1, 3, 20])
async def test_no_more_than_so_many_are_under_way(bench: Bench, at_once: int) -> None:
    campaign = await begun(bench, bench.devices(12), at_once=at_once)
    await ends(bench, campaign)
    assert bench.at_once <= at_once
    assert bench.count(campaign) == {"SUCCEEDED": 12}
    assert add_up(bench, campaign, 12)
    assert bench.told_of(campaign)[-1]["state"] == "DONE"


async def test_a_slot_that_another_try_has_left_is_taken_by_one_only(bench: Bench) -> None:
    names = bench.devices(8)
    for name in names[:3]:
        bench.fails(name, 4)  # thrice
    campaign = await begun(bench, names, at_once=2, failure_limit=100)
    await ends(bench, campaign)
    assert bench.at_once <= 2
    assert bench.count(campaign) == {"SUCCEEDED": 5, "FAILED": 3}


async def test_a_restart_counts_who_is_under_way(bench: Bench) -> None:
    names = bench.devices(6)
    for name in names[:4]:
        bench.puppets[name].on_uri = lambda uri: None  # takes its time
    campaign = await begun(bench, names, at_once=2)
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 2)
    for _ in range(2):
        await bench.restart()
        await bench.ticks()
    assert bench.count(campaign) == {"DOWNLOADING": 2, "WAITING": 4}
    assert bench.at_once == 2


async def test_a_cancel_that_fails_keeps_its_slot(bench: Bench) -> None:
    names = [f"d{n}" for n in range(3)]
    for name in names:
        bench.device(name)
    campaign = await begun(bench, names, at_once=1)
    first, *_ = bench.ids(campaign)
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 1)
    with bench.disk_fails("UPDATE ON firmware_update"):
        cancelling = asyncio.create_task(bench.box.cancel(first))
        for _ in range(20):
            await asyncio.sleep(0)
            bench.box.tick(bench.clock())
        with pytest.raises(StoreError):
            await cancelling
        await bench.healed()
    await bench.ticks()
    assert [update.id for update in bench.updates.all() if update.state is not UpdateState.WAITING] == [first]
    assert bench.at_once == 1


async def test_devices_that_are_away_hold_no_slot(bench: Bench) -> None:
    names = bench.devices(5)
    for name in names[:3]:
        bench.leaves(name)
    campaign = await begun(bench, names, at_once=1)
    await bench.until_ticking(lambda: bench.count(campaign)["SUCCEEDED"] == 2)
    assert bench.count(campaign) == {"SUCCEEDED": 2, "WAITING": 3}
    for name in names[:3]:
        bench.comes(name)
    await ends(bench, campaign)


# Failures


@pytest.mark.parametrize(
    ("devices", "limit", "allowed"),
    [(20, 10, 1), (3, 10, 0), (3, 34, 1), (5, 0, 0), (30, 20, 2), (4, 100, 4)],
)
async def test_too_many_failures_pause_it(bench: Bench, devices: int, limit: int, allowed: int) -> None:
    """The share is of those that ended, but of SHARE_OF or all at least."""
    names = bench.devices(devices)
    for name in names:
        bench.fails(name)
    campaign = await begun(bench, names, at_once=1, failure_limit=limit)

    def over() -> bool:
        return bench.campaign_state(campaign)[0] in ("PAUSED", "DONE")

    await bench.until_ticking(over)
    await bench.ticks()
    if allowed == devices:
        assert bench.campaign_state(campaign) == ("DONE", "")
        return
    assert bench.campaign_state(campaign) == ("PAUSED", "failures")
    assert bench.count(campaign)["FAILED"] == allowed + 1
    assert allowed * 100 / min(SHARE_OF, devices) <= limit


async def test_who_comes_back_as_before_counts_as_a_failure(bench: Bench) -> None:
    names = bench.devices(3)
    for name in names:
        bench.obeys(name, "1.0.0")
    campaign = await begun(bench, names, at_once=1)
    await bench.until_ticking(lambda: bench.campaign_state(campaign) == ("PAUSED", "failures"))
    assert bench.count(campaign) == {"REVERTED": 1, "WAITING": 2}


async def test_those_under_way_go_on_while_it_is_paused(bench: Bench) -> None:
    names = bench.devices(6)
    bench.fails(names[0])
    for name in names[1:3]:
        bench.puppets[name].on_uri = lambda uri: None
    campaign = await begun(bench, names, at_once=3)
    await bench.comes_to(lambda: bench.count(campaign) == {"FAILED": 1, "DOWNLOADING": 2, "WAITING": 3})
    assert bench.campaign_state(campaign) == ("PAUSED", "failures")
    for name in names[1:3]:
        bench.fetch(name)
    await bench.comes_to(lambda: bench.count(campaign)["SUCCEEDED"] == 2)
    await bench.ticks()
    assert bench.count(campaign) == {"FAILED": 1, "SUCCEEDED": 2, "WAITING": 3}


async def test_who_resumes_it_takes_the_failures_so_far(bench: Bench) -> None:
    names = bench.devices(6)
    bench.fails(names[0])
    bench.fails(names[3])
    campaign = await begun(bench, names, at_once=1)
    await bench.until_ticking(lambda: bench.campaign_state(campaign)[0] == "PAUSED")
    await bench.box.steer(campaign.id, RUNNING)
    await bench.until_ticking(lambda: bench.campaign_state(campaign)[0] == "PAUSED")
    assert bench.count(campaign) == {"FAILED": 2, "SUCCEEDED": 2, "WAITING": 2}
    await bench.box.steer(campaign.id, RUNNING)
    await ends(bench, campaign)
    assert bench.count(campaign) == {"FAILED": 2, "SUCCEEDED": 4}


async def test_cancelled_ones_are_no_failures(bench: Bench) -> None:
    names = bench.devices(4)
    for name in names:
        bench.puppets[name].on_uri = lambda uri: None
    campaign = await begun(bench, names, at_once=2, failure_limit=0)
    for number in bench.ids(campaign)[:3]:
        await bench.box.cancel(number)
    assert bench.campaign_state(campaign) == ("RUNNING", "")


async def test_with_the_last_one_cancelled_it_is_done(bench: Bench) -> None:
    names = bench.devices(4)
    for name in names:
        bench.puppets[name].on_uri = lambda uri: None
    campaign = await begun(bench, names, at_once=2)
    for number in bench.ids(campaign):
        await bench.box.cancel(number)
    await bench.settled()
    assert bench.campaign_state(campaign) == ("DONE", "")
    assert bench.campaigns.get(campaign.id) is None


# Steering


async def test_it_is_paused_and_resumed_by_hand(bench: Bench) -> None:
    names = bench.devices(3)
    bench.leaves(names[0])
    bench.leaves(names[1])
    campaign = await begun(bench, names)
    await bench.comes_to(lambda: bench.count(campaign)["SUCCEEDED"] == 1)
    paused = await bench.box.steer(campaign.id, PAUSED)
    assert paused.state is PAUSED
    assert bench.campaign_state(campaign) == ("PAUSED", "asked")
    bench.comes(names[0])
    await bench.ticks()
    assert bench.count(campaign)["WAITING"] == 2
    await bench.restart()
    await bench.ticks()
    assert bench.count(campaign)["WAITING"] == 2
    assert (await bench.box.steer(campaign.id, RUNNING)).state is RUNNING
    await ends(bench, campaign)


async def test_it_starts_when_it_is_to(bench: Bench) -> None:
    ahead = bench.clock.wall_ms + HOUR_MS
    campaign = await begun(bench, bench.devices(2), starts_ms=ahead)
    assert bench.campaign_state(campaign) == ("SCHEDULED", "")
    await bench.ticks(3599)
    assert bench.campaign_state(campaign) == ("SCHEDULED", "")
    assert bench.count(campaign) == {"WAITING": 2}
    await bench.ticks(1)
    assert bench.campaign_state(campaign) == ("RUNNING", "")
    await ends(bench, campaign)


async def test_it_starts_late_where_the_box_was_off(bench: Bench) -> None:
    campaign = await begun(bench, bench.devices(2), starts_ms=bench.clock.wall_ms + HOUR_MS)
    await bench.stop()
    bench.clock.advance(7200)
    await bench.start()
    assert bench.campaign_state(campaign) == ("SCHEDULED", "")
    await ends(bench, campaign)


async def test_it_starts_before_its_time_when_somebody_wants_it(bench: Bench) -> None:
    campaign = await begun(bench, bench.devices(2), starts_ms=bench.clock.wall_ms + HOUR_MS)
    after = await bench.box.steer(campaign.id, RUNNING)
    assert (after.state, after.starts_ms) == (RUNNING, bench.clock.wall_ms)
    await ends(bench, campaign)


async def test_one_that_is_resumed_before_its_start_waits_for_it(bench: Bench) -> None:
    campaign = await begun(bench, bench.devices(2), starts_ms=bench.clock.wall_ms + HOUR_MS)
    await bench.box.steer(campaign.id, PAUSED)
    after = await bench.box.steer(campaign.id, RUNNING)
    assert after.state is CampaignState.SCHEDULED
    await bench.ticks()
    assert bench.count(campaign) == {"WAITING": 2}
    await bench.ticks(3600)
    await ends(bench, campaign)


async def test_a_pause_outlasts_the_start(bench: Bench) -> None:
    campaign = await begun(bench, bench.devices(2), starts_ms=bench.clock.wall_ms + HOUR_MS)
    await bench.box.steer(campaign.id, PAUSED)
    await bench.ticks(7200)
    assert bench.count(campaign) == {"WAITING": 2}
    assert (await bench.box.steer(campaign.id, RUNNING)).state is RUNNING


async def test_stopping_cancels_those_that_wait_and_lets_the_others_end(bench: Bench) -> None:
    names = bench.devices(8)
    for name in names:
        bench.puppets[name].on_uri = lambda uri: None
    campaign = await begun(bench, names, at_once=2)
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 2)
    commits = bench.store.writer.commits
    after = await bench.box.steer(campaign.id, STOPPED)
    assert bench.store.writer.commits == commits + 2, "the campaign, then all that wait"
    assert after.state is STOPPED
    assert bench.campaign_state(campaign) == ("STOPPED", "asked")
    assert bench.count(campaign) == {"DOWNLOADING": 2, "CANCELLED": 6}
    assert bench.campaigns.get(campaign.id) is not None
    for name in names[:2]:
        bench.fetch(name)
    await ends(bench, campaign, "STOPPED")
    assert bench.count(campaign) == {"SUCCEEDED": 2, "CANCELLED": 6}
    assert bench.told_of(campaign)[-1]["counts"] == {"SUCCEEDED": 2, "CANCELLED": 6}
    assert add_up(bench, campaign, 8)


async def test_a_stopped_one_with_nobody_under_way_is_over(bench: Bench) -> None:
    campaign = await begun(bench, bench.devices(3), starts_ms=bench.clock.wall_ms + HOUR_MS)
    await bench.box.steer(campaign.id, STOPPED)
    assert bench.count(campaign) == {"CANCELLED": 3}
    assert bench.campaigns.get(campaign.id) is None
    assert bench.told_of(campaign)[-1]["counts"] == {"CANCELLED": 3}


async def test_another_try_of_a_stopped_one_does_not_come(bench: Bench) -> None:
    (name,) = bench.devices(1)
    bench.puppets[name].on_uri = lambda uri: None
    campaign = await begun(bench, [name])
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 1)
    await bench.box.steer(campaign.id, STOPPED)
    bench.tell(name, state=1, result=0)
    bench.tell(name, state=0, result=4)
    await bench.comes_to(lambda: bench.count(campaign)["WAITING"] == 1)
    await ends(bench, campaign, "STOPPED")
    assert bench.count(campaign) == {"CANCELLED": 1}


async def test_what_waits_for_a_stopped_one_is_cancelled_after_a_restart(bench: Bench) -> None:
    """The box went down between the campaign's end and that of its updates."""
    names = bench.devices(3)
    bench.puppets[names[0]].on_uri = lambda uri: None
    campaign = await begun(bench, names, at_once=1)
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 1)
    with bench.disk_held():
        steering = asyncio.create_task(bench.box.steer(campaign.id, STOPPED))
        await asyncio.sleep(0)
        steering.cancel()
        await asyncio.gather(steering, return_exceptions=True)
    await bench.comes_to(lambda: bench.campaign_state(campaign)[0] == "STOPPED")
    assert bench.count(campaign) == {"DOWNLOADING": 1, "WAITING": 2}
    await bench.killed()
    await bench.ticks()
    await bench.ticks()
    assert bench.count(campaign) == {"DOWNLOADING": 1, "CANCELLED": 2}
    bench.obeys(names[0])
    bench.puppets[names[0]].state = 1
    bench.fetch(names[0])
    await bench.comes_to(lambda: bench.count(campaign)["SUCCEEDED"] == 1)


@pytest.mark.parametrize("state", sorted(CAMPAIGN_ENDED | {RUNNING}))
async def test_it_cannot_become_what_it_is_or_was(bench: Bench, state: CampaignState) -> None:
    bench.devices(1)
    bench.leaves("d000")
    campaign = await begun(bench, ["d000"])
    wanted = {RUNNING: RUNNING, STOPPED: RUNNING, CampaignState.DONE: CampaignState.DONE}[state]
    if state is STOPPED:
        await bench.box.steer(campaign.id, STOPPED)
        await bench.until_ticking(lambda: bench.campaigns.get(campaign.id) is None)
    with pytest.raises(UsageError) as refused:
        await bench.box.steer(campaign.id, wanted)
    assert refused.value.code == ("campaign_ended" if state is STOPPED else "campaign_unmoved")


async def test_what_ends_while_it_is_steered_stays_ended(bench: Bench) -> None:
    (name,) = bench.devices(1)
    bench.puppets[name].on_uri = lambda uri: None
    campaign = await begun(bench, [name])
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 1)
    with bench.disk_held():
        bench.tell(name, state=1, result=0)
        bench.tell(name, state=0, result=5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        steering = asyncio.create_task(bench.box.steer(campaign.id, PAUSED))
        await asyncio.sleep(0)
    await asyncio.gather(steering, return_exceptions=True)
    await ends(bench, campaign)
    assert bench.told_of(campaign)[-1]["state"] == "DONE"


# The disk


async def test_a_campaign_that_the_disk_does_not_take_is_not_there(bench: Bench) -> None:
    names = bench.devices(3)
    firmware = await bench.firmware()
    with bench.disk_fails("INSERT ON firmware_update"):
        with pytest.raises(StoreError):
            await bench.campaign(firmware, *names)
        await bench.healed()
    assert bench.rows("SELECT count(*) FROM firmware_campaign") == [(0,)]
    assert not bench.said
    assert not list(bench.updates.all())
    assert not bench.updates.uses(firmware.id)
    await ends(bench, await bench.campaign(firmware, *names))


@pytest.mark.parametrize("to", [PAUSED, STOPPED])
async def test_what_the_disk_does_not_take_steers_nothing(bench: Bench, to: CampaignState) -> None:
    names = bench.devices(3)
    bench.leaves(names[0])
    campaign = await begun(bench, names)
    with bench.disk_fails("UPDATE ON firmware_campaign"):
        with pytest.raises(StoreError):
            await bench.box.steer(campaign.id, to)
        await bench.healed()
    now = bench.campaigns.get(campaign.id)
    assert now is not None
    assert now.state is RUNNING
    assert bench.campaign_state(campaign) == ("RUNNING", "")
    bench.comes(names[0])
    await ends(bench, campaign)


async def test_a_stopped_one_is_stopped_though_its_updates_are_cancelled_later(bench: Bench) -> None:
    names = bench.devices(3)
    campaign = await begun(bench, names, starts_ms=bench.clock.wall_ms + HOUR_MS)
    with bench.disk_fails("UPDATE ON firmware_update"):
        after = await bench.box.steer(campaign.id, STOPPED)
        assert after.state is STOPPED
        await bench.healed()
    assert bench.count(campaign) == {"WAITING": 3}
    await ends(bench, campaign, "STOPPED")
    assert bench.count(campaign) == {"CANCELLED": 3}


async def test_an_end_that_the_disk_does_not_take_is_owed_to_it(bench: Bench) -> None:
    (name,) = bench.devices(1)
    campaign = await begun(bench, [name])
    with bench.disk_fails("UPDATE ON firmware_campaign"):
        await bench.comes_to(lambda: bench.campaigns.get(campaign.id) is None)
        await bench.healed()
    assert bench.campaign_state(campaign) == ("RUNNING", "")
    await bench.ticks()
    assert bench.campaign_state(campaign) == ("DONE", "")
    assert not bench.campaigns._owed


async def test_an_end_that_went_down_with_the_box_comes_after_the_restart(bench: Bench) -> None:
    (name,) = bench.devices(1)
    campaign = await begun(bench, [name])
    with bench.disk_fails("UPDATE ON firmware_campaign"):
        await bench.comes_to(lambda: bench.campaigns.get(campaign.id) is None)
        await bench.restart()
    assert bench.campaign_state(campaign) == ("RUNNING", "")
    await ends(bench, campaign)


async def test_a_pause_that_the_disk_did_not_take_is_overtaken_by_what_people_want(bench: Bench) -> None:
    names = bench.devices(4)
    bench.fails(names[0])
    for name in names[1:]:
        bench.leaves(name)
    campaign = await begun(bench, names, at_once=1)
    with bench.disk_fails("UPDATE OF state ON firmware_campaign"):
        await bench.comes_to(lambda: bool(bench.campaigns._owed))
        await bench.healed()
    await bench.box.steer(campaign.id, RUNNING)
    await bench.ticks()
    assert bench.campaign_state(campaign) == ("RUNNING", "asked")


# What is told


async def test_what_is_told_of_a_campaign(bench: Bench) -> None:
    campaign = await begun(bench, bench.devices(2), name="spring")
    await ends(bench, campaign)
    first, last = bench.told_of(campaign)[0], bench.told_of(campaign)[-1]
    assert first == {
        "id": campaign.id,
        "name": "spring",
        "firmware": campaign.firmware_id,
        "state": "RUNNING",
        "reason": "",
        "counts": {},
        "time_ms": campaign.created_ms,
    }
    assert (last["state"], last["counts"]) == ("DONE", {"SUCCEEDED": 2})


async def test_its_counts_are_told_once_a_tick(bench: Bench) -> None:
    names = bench.devices(5)
    for name in names:
        bench.puppets[name].on_uri = lambda uri: None
    campaign = await begun(bench, names)
    await bench.comes_to(lambda: bench.count(campaign)["DOWNLOADING"] == 5)
    before = len(bench.told_of(campaign))
    await bench.ticks()
    await bench.ticks()
    assert [told["counts"] for told in bench.told_of(campaign)[before:]] == [{"DOWNLOADING": 5}]


async def test_its_counts_are_those_of_the_disk_after_a_restart(bench: Bench) -> None:
    names = bench.devices(6)
    bench.fails(names[0])
    bench.puppets[names[1]].on_uri = lambda uri: None
    campaign = await begun(bench, names, at_once=1, failure_limit=100)
    await bench.until_ticking(lambda: bench.count(campaign) == {"FAILED": 1, "DOWNLOADING": 1, "WAITING": 4})
    await bench.restart()
    counts = Counter({state.value: n for state, n in bench.box.counts(campaign.id).items()})
    assert counts == bench.count(campaign) == {"FAILED": 1, "DOWNLOADING": 1, "WAITING": 4}


async def test_a_device_that_is_named_twice_has_one_update(bench: Bench) -> None:
    names = bench.devices(2)
    campaign = await begun(bench, [*names, *names])
    assert len(bench.ids(campaign)) == 2
    await ends(bench, campaign)


async def test_the_failures_of_other_tries_do_not_count(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that comes through at its second try is a success."""
    monkeypatch.setattr(updates_module, "RETRY_S", 1.0)
    names = bench.devices(3)
    bench.fails(names[0], 4)
    campaign = await begun(bench, names, at_once=1, failure_limit=0)
    first, *_ = bench.ids(campaign)
    await bench.comes_to(
        lambda: bench.states(first)[-1] is UpdateState.WAITING and len(bench.states(first)) > 1
    )
    bench.obeys(names[0])
    await ends(bench, campaign)
    assert bench.count(campaign) == {"SUCCEEDED": 3}
