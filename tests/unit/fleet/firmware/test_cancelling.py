"""Updates that are cancelled, in each state and at each moment."""

import asyncio

import pytest

from flownexus_appliance.db.firmware import FirmwareUpdate
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.requests import Answered
from flownexus_appliance.lwm2m.firmware import UpdateState
from tests.peer import until

from .bench import SIZE, Bench, downloading, nothing_is_left, of_two_campaigns, pushing

WAITING, PREPARING, DOWNLOADING = UpdateState.WAITING, UpdateState.PREPARING, UpdateState.DOWNLOADING
UPDATING, SUCCEEDED, CANCELLED = UpdateState.UPDATING, UpdateState.SUCCEEDED, UpdateState.CANCELLED
CHANGES = "UPDATE ON firmware_update"


async def test_one_that_waits_is_cancelled(bench: Bench) -> None:
    puppet = bench.device("one")
    bench.leaves("one")
    update = await bench.update("one", await bench.firmware())
    after = await bench.box.cancel(update.id)
    assert (after.state, after.ended_ms) == (CANCELLED, bench.clock.wall_ms)
    assert bench.kept(update) == (CANCELLED, "asked")
    bench.comes("one")
    await bench.ticks()
    assert not puppet.asked
    assert nothing_is_left(bench)


async def test_one_that_is_begun_this_moment_is_cancelled(bench: Bench) -> None:
    """Its lead may not even have run."""
    bench.device("one")
    firmware = await bench.firmware()
    update = await bench.update("one", firmware)
    await bench.box.cancel(update.id)
    assert bench.kept(update)[0] is CANCELLED
    bench.obeys("one")
    another = await bench.update("one", firmware)
    await bench.reaches(another, SUCCEEDED)
    assert bench.states(update)[-1] is CANCELLED


async def test_one_that_is_being_prepared_is_cancelled(bench: Bench) -> None:
    puppet = bench.device("one", away=True)
    update = await bench.update("one", await bench.firmware())
    await until(lambda: bool(puppet.asked))
    await bench.box.cancel(update.id)
    assert bench.states(update) == [WAITING, PREPARING, CANCELLED]


async def test_a_device_is_told_to_forget_what_it_fetches(bench: Bench) -> None:
    update = await downloading(bench)
    bench.fetch("one", 300)
    await bench.box.cancel(update.id)
    puppet = bench.puppets["one"]
    await until(lambda: puppet.asked[-1] == "write /5/0/1 ''")
    assert bench.kept(update) == (CANCELLED, "asked")
    assert bench.rows("SELECT bytes FROM firmware_update") == [(300,)]
    await bench.settled()
    assert nothing_is_left(bench)


async def test_a_push_stops_at_once(bench: Bench) -> None:
    update = await pushing(bench)
    bench.pushes["one"].sent(512)
    await bench.box.cancel(update.id)
    assert not bench.pushes
    await until(lambda: bench.puppets["one"].asked[-1] == "write /5/0/1 ''")


async def test_a_device_that_cannot_be_told_stops_nobody(bench: Bench) -> None:
    update = await downloading(bench)
    bench.puppets["one"].away = True
    await bench.box.cancel(update.id)
    await bench.settled()
    assert nothing_is_left(bench)


async def test_an_installation_cannot_be_stopped_and_goes_on(bench: Bench) -> None:
    update = await downloading(bench)
    bench.fetch("one")
    await bench.reaches(update, UPDATING)
    with pytest.raises(UsageError) as refused:
        await bench.box.cancel(update.id)
    assert refused.value.code == "update_installing"
    bench.reboot("one")
    await bench.reaches(update, SUCCEEDED)


async def test_an_installation_that_begins_meanwhile_goes_on(bench: Bench) -> None:
    update = await downloading(bench)
    with bench.disk_held():
        bench.tell("one", state=3)  # by itself
        for _ in range(5):
            await asyncio.sleep(0)
        cancelling = asyncio.create_task(bench.box.cancel(update.id))
        for _ in range(5):
            await asyncio.sleep(0)
    with pytest.raises(UsageError) as refused:
        await cancelling
    assert refused.value.code == "update_installing"
    assert bench.kept(update) == (UPDATING, "")
    bench.reboot("one")
    await bench.reaches(update, SUCCEEDED)


async def test_one_that_ends_meanwhile_has_ended(bench: Bench) -> None:
    update = await downloading(bench)
    with bench.disk_held():
        bench.tell("one", state=1, result=0)
        bench.tell("one", state=0, result=5)
        for _ in range(5):
            await asyncio.sleep(0)
        cancelling = asyncio.create_task(bench.box.cancel(update.id))
        for _ in range(5):
            await asyncio.sleep(0)
    with pytest.raises(UsageError) as refused:
        await cancelling
    assert refused.value.code == "update_done"
    assert bench.kept(update) == (UpdateState.FAILED, "result")
    assert nothing_is_left(bench)


async def test_one_is_cancelled_once(bench: Bench) -> None:
    update = await downloading(bench)
    first, second = await asyncio.gather(
        bench.box.cancel(update.id), bench.box.cancel(update.id), return_exceptions=True
    )
    assert isinstance(first, FirmwareUpdate)
    assert isinstance(second, UsageError)
    with pytest.raises(UsageError) as refused:
        await bench.box.cancel(update.id)
    assert refused.value.code == second.code == "update_done"
    assert bench.states(update).count(CANCELLED) == 1


async def test_what_the_disk_does_not_take_is_not_cancelled_and_goes_on(bench: Bench) -> None:
    update = await downloading(bench)
    bench.fetch("one", 300)
    with bench.disk_fails(CHANGES):
        with pytest.raises(StoreError):
            await bench.box.cancel(update.id)
        await bench.healed()
    bench.obeys("one")
    bench.fetch("one")
    await bench.reaches(update, SUCCEEDED)


async def test_a_push_that_could_not_be_cancelled_begins_anew(bench: Bench) -> None:
    update = await pushing(bench)
    bench.pushes["one"].sent(512)
    with bench.disk_fails(CHANGES):
        with pytest.raises(StoreError):
            await bench.box.cancel(update.id)
        await bench.healed()
    await until(lambda: "one" in bench.pushes)
    bench.pushes["one"].sent(SIZE)
    bench.obeys("one")
    bench.puppets["one"].state = 2
    bench.pushes["one"].answered.set_result(Answered("2.04"))
    await bench.reaches(update, SUCCEEDED)


async def test_while_one_is_being_cancelled_no_other_of_the_device_begins(bench: Bench) -> None:
    """Two leads of one device would offer it two packages."""
    older, newer = await of_two_campaigns(bench)
    bench.comes("one")
    await bench.reaches(older, DOWNLOADING)
    with bench.disk_held():
        cancelling = asyncio.create_task(bench.box.cancel(older.id))
        for _ in range(20):
            await asyncio.sleep(0)
            bench.box.wake("one")
            bench.box.tick(bench.clock())
        assert [lead.update.id for lead, _ in bench.updates._leads.values()] == [older.id]
    await cancelling
    await bench.reaches(newer, DOWNLOADING)
    await until(lambda: bench.puppets["one"].asked[-1].startswith("write /5/0/1 'coaps"))
    assert "write /5/0/1 ''" in bench.puppets["one"].asked


async def test_a_cancel_goes_through_though_who_asked_gives_up(bench: Bench) -> None:
    update = await downloading(bench)
    with bench.disk_held():
        cancelling = asyncio.create_task(bench.box.cancel(update.id))
        for _ in range(5):
            await asyncio.sleep(0)
        cancelling.cancel()
        await asyncio.gather(cancelling, return_exceptions=True)
    await bench.reaches(update, CANCELLED)
    await bench.ticks()
    await bench.settled()
    assert nothing_is_left(bench)
    assert bench.kept(update) == (CANCELLED, "asked")


@pytest.mark.parametrize("number", [0, 99])
async def test_what_is_not_there_is_not_cancelled(bench: Bench, number: int) -> None:
    with pytest.raises(UsageError) as refused:
        await bench.box.cancel(number)
    assert refused.value.code == "update_done"
