"""Campaigns that ended long ago go with their updates, by and by; nothing that goes on does."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db import firmware_room
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.upkeep import FAILED, Upkeep
from flownexus_appliance.lwm2m.firmware import CAMPAIGN_ENDED, CampaignState, UpdateState

from .updating import NOW, Box, opened, step


@pytest.fixture
async def box(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(firmware_room, "CAMPAIGNS_KEPT", 3)
    monkeypatch.setattr(firmware_room, "UPDATES_KEPT", 20)
    monkeypatch.setattr(firmware_room, "PIECE_UPDATES", 4)
    async with opened(tmp_path / "test.db") as box:
        yield box


def ended_lately(box: Box) -> bool:
    return box.store.catalog.campaign_ended


async def work(upkeep: Upkeep) -> int:
    """How many pieces there were to do."""
    upkeep.look(NOW)
    pieces = 0
    while await upkeep.piece():
        pieces += 1
    return pieces


async def campaigns(
    box: Box,
    *updates: int,
    state: CampaignState = CampaignState.DONE,
    ended: UpdateState = UpdateState.FAILED,
) -> None:
    """One campaign each, with so many updates."""
    for count in updates:
        campaign = box.campaign(state=state)
        own = [box.update(campaign_id=campaign.id, state=ended) for _ in range(count)]
        await box.put(campaign, *own)
        for update in own:
            await box.change(update, step(update))


async def test_the_newest_that_ended_stay(box: Box) -> None:
    await campaigns(box, 1, 2, 0, 1, 1)
    upkeep = Upkeep(box.store, 0)
    assert await work(upkeep) == 2
    assert box.ids("firmware_campaign") == [3, 4, 5]
    assert box.ids("firmware_update") == [4, 5]
    assert [number for number, _ in box.steps()] == [4, 5]
    assert await work(upkeep) == 0


@pytest.mark.parametrize(
    ("updates", "left"),
    [((10, 10), [1, 2]), ((11, 10), [2]), ((1, 21), [2]), ((50,), [1]), ((1, 1, 19), [2, 3])],
)
async def test_no_more_updates_stay_than_there_is_room_for(
    box: Box, updates: tuple[int, ...], left: list[int]
) -> None:
    """But those of the newest always."""
    await campaigns(box, *updates)
    await work(Upkeep(box.store, 0))
    assert box.ids("firmware_campaign") == left
    assert len(box.ids("firmware_update")) == sum(updates[-len(left) :])


async def test_a_large_campaign_goes_by_and_by(box: Box) -> None:
    await campaigns(box, 10, 1, 1, 1)
    upkeep = Upkeep(box.store, 0)
    upkeep.look(NOW)
    left = []
    while await upkeep.piece():
        left.append((len(box.ids("firmware_update")), box.ids("firmware_campaign")[0]))
    assert left == [(9, 1), (5, 1), (3, 2)]


async def test_one_that_has_begun_to_go_goes_after_a_restart(box: Box) -> None:
    """Also where the rest of it would have room."""
    await campaigns(box, 11, 10)
    upkeep = Upkeep(box.store, 0)
    upkeep.look(NOW)
    assert await upkeep.piece()
    assert len(box.ids("firmware_update")) == 17
    await box.again()
    await work(Upkeep(box.store, 0))
    assert (box.ids("firmware_campaign"), len(box.ids("firmware_update"))) == ([2], 10)


async def test_one_that_has_begun_to_go_may_go_with_its_firmware(box: Box) -> None:
    await campaigns(box, 11, 10)
    upkeep = Upkeep(box.store, 0)
    upkeep.look(NOW)
    assert await upkeep.piece()
    box.store.remove_firmware(1)
    await box.store.commit()
    assert await work(upkeep) == 1
    assert (box.ids("firmware"), box.ids("firmware_campaign"), box.steps()) == ([], [], [])


async def test_what_is_begun_in_one_that_goes_stays_with_it(box: Box) -> None:
    await campaigns(box, 11, 10)
    upkeep = Upkeep(box.store, 0)
    upkeep.look(NOW)
    assert await upkeep.piece()
    begun = box.update(campaign_id=1)
    await box.put(begun)
    await work(upkeep)
    assert box.ids("firmware_campaign") == [1, 2]
    assert begun.id in box.ids("firmware_update")
    await box.change(replace(begun, state=UpdateState.FAILED))
    assert await work(upkeep) == 0  # it has room now


async def test_what_goes_on_stays(box: Box) -> None:
    """Neither is it counted, nor does it keep others from going."""
    for state in CampaignState:
        if state not in CAMPAIGN_ENDED:
            await campaigns(box, 30, state=state)
    await campaigns(box, 2, state=CampaignState.STOPPED, ended=UpdateState.UPDATING)
    await campaigns(box, 1, 1, 1, 1)
    by_itself = box.update(state=UpdateState.SUCCEEDED)
    await box.put(by_itself)
    assert await work(Upkeep(box.store, 0)) == 1
    assert box.ids("firmware_campaign") == [1, 2, 3, 4, 6, 7, 8]
    assert by_itself.id in box.ids("firmware_update")


async def test_it_is_looked_for_at_the_start_and_when_one_has_ended(box: Box) -> None:
    await campaigns(box, 1, 1, 1, state=CampaignState.RUNNING)
    upkeep = Upkeep(box.store, 0)
    assert ended_lately(box)
    await work(upkeep)
    assert not ended_lately(box)
    running, _ = await box.reader.campaigns(None, 3)
    box.store.change_campaign(running[0])
    assert not ended_lately(box)
    await campaigns(box, 1)
    await box.end(*running)
    assert ended_lately(box)
    await work(upkeep)
    assert box.ids("firmware_campaign") == [2, 3, 4]
    await box.again()
    assert ended_lately(box)


async def test_what_fails_is_tried_again(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    await campaigns(box, 1, 1, 1, 1)
    upkeep = Upkeep(box.store, 0)
    upkeep.look(NOW)
    with monkeypatch.context() as broken:
        broken.setattr(firmware_room, "_DROP", "DELETE FROM nosuch WHERE ?")
        with pytest.raises(StoreError) as raised:
            await upkeep.piece()
    assert raised.value.code == FAILED
    assert len(box.ids("firmware_update")) == 4
    assert await work(upkeep) == 1
    assert box.ids("firmware_campaign") == [2, 3, 4]
