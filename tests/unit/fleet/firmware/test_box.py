"""What may be asked of firmware at all: which device may be given what, and which devices a campaign has."""

import asyncio

import pytest

from flownexus_appliance.db.firmware import Firmware, FirmwareUpdate
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.firmware.plans import MAX_AHEAD_MS, MAX_AT_ONCE, Choice, LeftOut, Wish
from flownexus_appliance.lwm2m.firmware import CampaignState, Delivery, UpdateState
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import until

from .bench import BY, Bench, plan_of


@pytest.fixture
async def firmware(bench: Bench) -> Firmware:
    return await bench.firmware()


async def refusal(bench: Bench, name: str, firmware: Firmware, **wish: object) -> str:
    """The code that an update is refused with, by `check` and by `update` alike."""
    with pytest.raises(UsageError) as checked:
        await bench.box.check(name, firmware, Wish(**wish))  # type: ignore[arg-type]
    with pytest.raises(UsageError) as asked:
        await bench.update(name, firmware, **wish)
    assert asked.value.code == checked.value.code
    assert bench.box.under_way(name) is None or checked.value.code == "update_under_way"
    return asked.value.code


# One device


async def test_a_device_that_nobody_knows(bench: Bench, firmware: Firmware) -> None:
    assert await refusal(bench, "nobody", firmware) == "endpoint_unknown"


async def test_a_device_that_was_never_heard(bench: Bench, firmware: Firmware) -> None:
    bench.store.put_endpoint("expected", 0)
    bench.core.know("expected")
    assert await refusal(bench, "expected", firmware) == "endpoint_unseen"


async def test_a_device_without_the_object(bench: Bench, firmware: Firmware) -> None:
    bench.device("one", objects="</3/0>,</3303/0>")
    assert await refusal(bench, "one", firmware) == "object_missing"


@pytest.mark.parametrize(
    ("objects", "instance", "is_there"),
    [
        ("</5/0>", "/5/0", True),
        ("</5/0>", "/5/1", False),
        ("</5>", "/5/0", True),  # it names no instances
        ("</5/0>", "/33629/0", False),
        ("</33629/0>,</33629/1>", "/33629/1", True),
        ("</33629/0>", "/5/0", False),
    ],
)
async def test_an_instance_that_is_asked_for(
    bench: Bench, firmware: Firmware, objects: str, instance: str, is_there: bool
) -> None:
    bench.device("one", objects=f"</3/0>,{objects}")
    wanted = Path.parse(instance)
    if is_there:
        assert (await bench.update("one", firmware, instance=wanted)).instance == wanted
    else:
        assert await refusal(bench, "one", firmware, instance=wanted) == "object_missing"


@pytest.mark.parametrize("instance", ["/5", "/5/0/0", "/3/0", "/"])
async def test_what_is_no_instance_of_the_object(bench: Bench, firmware: Firmware, instance: str) -> None:
    bench.device("one")
    assert await refusal(bench, "one", firmware, instance=Path.parse(instance)) == "instance_invalid"


@pytest.mark.parametrize(
    ("objects", "chosen"),
    [
        ("</5/0>", "/5/0"),
        ("</5/0>,</33629/1>", "/5/0"),
        ("</33629/2>,</33629/1>", "/33629/1"),
    ],
)
async def test_the_instance_that_is_taken_where_nobody_says(
    bench: Bench, firmware: Firmware, objects: str, chosen: str
) -> None:
    bench.device("one", objects=f"</3/0>,{objects}")
    assert str((await bench.update("one", firmware)).instance) == chosen


async def test_a_device_that_is_away_is_taken_at_its_word_later(bench: Bench, firmware: Firmware) -> None:
    bench.device("one", objects="</3/0>")
    bench.leaves("one")
    update = await bench.update("one", firmware)
    assert (update.state, update.instance) == (UpdateState.WAITING, Path.of(5, 0))


@pytest.mark.parametrize(
    ("facts", "is_for"),
    [
        ({}, True),
        ({"model": "lamp"}, True),
        ({"model": "door"}, False),
        ({"from_version": "v1.0.0"}, True),
        ({"from_version": "1.1.0"}, False),
        ({"tag": "Hall"}, True),
        ({"tag": "attic"}, False),
        ({"model": "lamp", "tag": "hall", "from_version": "1.1.0"}, False),
    ],
)
async def test_a_firmware_that_is_for_others(bench: Bench, facts: dict[str, str], is_for: bool) -> None:
    bench.device("one", model="lamp")
    bench.store.put_tags("one", ["hall"])
    firmware = await bench.firmware("2.0.0", **facts)
    if is_for:
        await bench.box.check("one", firmware, Wish())
    else:
        assert await refusal(bench, "one", firmware) == "firmware_not_for"
        assert (await bench.update("one", firmware, anyway=True)).state is UpdateState.WAITING


async def test_a_way_that_is_closed(bench: Bench, firmware: Firmware) -> None:
    bench.device("one")
    bench.offers.https_port = 0
    assert await refusal(bench, "one", firmware, delivery=Delivery.HTTPS) == "delivery_closed"
    bench.leaves("one")
    assert await refusal(bench, "one", firmware, delivery=Delivery.HTTPS) == "delivery_closed"
    assert (await bench.update("one", firmware, delivery=Delivery.COAP)).wanted is Delivery.COAP


async def test_a_device_has_one_update_at_a_time(bench: Bench, firmware: Firmware) -> None:
    bench.device("one")
    update = await bench.update("one", firmware)
    assert bench.box.under_way("one") is not None
    assert await refusal(bench, "one", firmware, anyway=True) == "update_under_way"
    await bench.box.cancel(update.id)
    assert bench.box.under_way("one") is None
    await bench.update("one", firmware)


async def test_two_that_are_asked_at_the_same_moment_are_one(bench: Bench, firmware: Firmware) -> None:
    """Both have looked at what runs before either is on disk."""
    bench.device("one")
    bench.looked = asyncio.Event()
    asking = [asyncio.create_task(bench.update("one", firmware)) for _ in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    bench.looked.set()
    asked = await asyncio.gather(*asking, return_exceptions=True)
    assert len([one for one in asked if isinstance(one, FirmwareUpdate)]) == 1
    refused = [one.code for one in asked if isinstance(one, UsageError)]
    assert refused == ["update_under_way"] * 2
    assert bench.rows("SELECT count(*) FROM firmware_update") == [(1,)]


async def test_a_firmware_that_goes_meanwhile(bench: Bench, firmware: Firmware) -> None:
    bench.device("one")
    bench.looked = asyncio.Event()
    asking = asyncio.create_task(bench.update("one", firmware))
    await asyncio.sleep(0)
    await bench.box.remove(firmware.id)
    bench.looked.set()
    with pytest.raises(UsageError) as refused:
        await asking
    assert refused.value.code == "firmware_unknown"


@pytest.mark.parametrize("many", [False, True])
async def test_a_firmware_whose_update_is_on_its_way_to_the_disk_stays(
    bench: Bench, firmware: Firmware, many: bool
) -> None:
    bench.device("one")
    with bench.disk_held():
        work = bench.campaign(firmware, "one") if many else bench.update("one", firmware)
        asking = asyncio.create_task(work)
        for _ in range(3):
            await asyncio.sleep(0)
        with pytest.raises(UsageError) as refused:
            await bench.box.remove(firmware.id)
    assert refused.value.code == "firmware_in_use"
    await asking
    assert bench.box.get(firmware.id) == firmware


async def test_a_firmware_goes_with_its_last_update(bench: Bench, firmware: Firmware) -> None:
    bench.device("one")
    bench.obeys("one")
    update = await bench.update("one", firmware)
    with pytest.raises(UsageError) as refused:
        await bench.box.remove(firmware.id)
    assert refused.value.code == "firmware_in_use"
    await bench.reaches(update, UpdateState.SUCCEEDED)
    await bench.box.remove(firmware.id)


async def test_an_update_that_the_disk_does_not_take_is_not_there(bench: Bench, firmware: Firmware) -> None:
    bench.device("one")
    await bench.settled()
    with bench.disk_fails("INSERT ON firmware_update"):
        with pytest.raises(StoreError):
            await bench.update("one", firmware)
        with pytest.raises(StoreError):  # nor is it while nothing is taken
            await bench.update("one", firmware)
        await bench.healed()
    assert bench.box.under_way("one") is None
    assert not bench.said
    bench.obeys("one")
    await bench.reaches(await bench.update("one", firmware), UpdateState.SUCCEEDED)


async def test_which_of_several_is_under_way(bench: Bench) -> None:
    bench.device("one")
    bench.leaves("one")
    for version in ("1.5.0", "2.0.0"):
        await bench.campaign(await bench.firmware(version), "one")
    older, newer = bench.updates.of("one")
    assert bench.box.under_way("one") == older
    first = bench.campaigns.get(older.campaign_id)
    assert first is not None
    await bench.box.steer(first.id, CampaignState.PAUSED)
    bench.comes("one")
    await bench.reaches(newer, UpdateState.DOWNLOADING)
    under_way = bench.box.under_way("one")
    assert under_way is not None
    assert under_way.id == newer.id


# Campaigns


async def test_who_a_campaign_is_for_and_who_is_left_out(bench: Bench, firmware: Firmware) -> None:
    bench.device("bare", objects="</3/0>")
    bench.device("fits")
    bench.device("runs", version="v2.0.0")
    bench.device("away")
    bench.leaves("away")
    devices, left_out = await bench.box.preview(plan_of(firmware))
    assert devices == ("away", "fits")
    assert left_out == (LeftOut("bare", "object_missing"), LeftOut("runs", "runs_it"))
    begun = await bench.box.begin(plan_of(firmware), BY)
    assert (begun.devices, begun.left_out) == (2, left_out)
    await bench.box.steer(begun.campaign.id, CampaignState.STOPPED)
    anyway, _ = await bench.box.preview(plan_of(firmware, wish=Wish(anyway=True)))
    assert anyway == ("away", "fits", "runs")


async def test_a_choice_of_devices(bench: Bench) -> None:
    for name, model, version in (("a", "lamp", "1.0.0"), ("b", "lamp", "1.1.0"), ("c", "door", "1.0.0")):
        bench.device(name, model=model, version=version)
    bench.store.put_tags("b", ["hall"])
    firmware = await bench.firmware("2.0.0", model="lamp")

    async def chosen(**choice: str) -> tuple[tuple[str, ...], list[str]]:
        plan = plan_of(firmware, choice=Choice(**choice))  # type: ignore[arg-type]
        devices, left_out = await bench.box.preview(plan)
        return devices, [f"{left.endpoint} {left.why}" for left in left_out]

    assert await chosen() == (("a", "b"), [])
    assert await chosen(version="v1.0.0") == (("a",), ["c firmware_not_for"])
    assert await chosen(tag="HALL") == (("b",), [])
    assert await chosen(model="door") == ((), ["c firmware_not_for"])
    assert await chosen(model="lamp", tag="attic") == ((), [])


async def test_who_cannot_take_it_by_the_way_that_is_wanted_is_left_out(
    bench: Bench, firmware: Firmware
) -> None:
    bench.device("one")
    bench.offers.plain = False
    plan = plan_of(firmware, wish=Wish(delivery=Delivery.COAP))
    assert await bench.box.preview(plan) == ((), (LeftOut("one", "delivery_closed"),))
    with pytest.raises(UsageError) as refused:
        await bench.box.begin(plan, BY)
    assert refused.value.code == "campaign_empty"


@pytest.mark.parametrize(
    ("name", "code"),
    [("nobody", "endpoint_unknown"), ("bare", "object_missing"), ("expected", "endpoint_unseen")],
)
async def test_a_device_that_is_named_must_be_able_to(
    bench: Bench, firmware: Firmware, name: str, code: str
) -> None:
    bench.device("one")
    bench.device("bare", objects="</3/0>")
    bench.store.put_endpoint("expected", 0)
    with pytest.raises(UsageError) as refused:
        await bench.campaign(firmware, "one", name)
    assert refused.value.code == code
    assert not list(bench.updates.all())


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        ({"name": "x" * 101}, "campaign_name_invalid"),
        ({"name": "two\nlines"}, "campaign_name_invalid"),
        ({"at_once": 0}, "at_once_invalid"),
        ({"at_once": MAX_AT_ONCE + 1}, "at_once_invalid"),
        ({"failure_limit": -1}, "failure_limit_invalid"),
        ({"failure_limit": 101}, "failure_limit_invalid"),
        ({"starts_ms": -1}, "start_invalid"),
        ({"starts_ms": 1_760_000_000_000 + MAX_AHEAD_MS + 1}, "start_invalid"),
        ({"wish": Wish(instance=Path.of(3, 0))}, "instance_invalid"),
        ({"firmware_id": 99}, "firmware_unknown"),
    ],
)
async def test_a_plan_that_is_none(
    bench: Bench, firmware: Firmware, plan: dict[str, object], code: str
) -> None:
    bench.device("one")
    for ask in (bench.box.preview(plan_of(firmware, **plan)), bench.box.begin(plan_of(firmware, **plan), BY)):
        with pytest.raises(UsageError) as refused:
            await ask
        assert refused.value.code == code
    assert bench.rows("SELECT count(*) FROM firmware_campaign") == [(0,)]


@pytest.mark.parametrize("plan", [{"at_once": 1, "failure_limit": 0}, {"at_once": 500, "failure_limit": 100}])
async def test_the_bounds_themselves_are_a_plan(
    bench: Bench, firmware: Firmware, plan: dict[str, int]
) -> None:
    bench.device("one")
    starts_ms = bench.clock.wall_ms + MAX_AHEAD_MS
    campaign = await bench.campaign(firmware, "one", name="x" * 100, starts_ms=starts_ms, **plan)
    assert campaign.state is CampaignState.SCHEDULED
    assert bench.campaigns.get(campaign.id) == campaign


async def test_a_campaign_without_a_name_has_that_of_its_version(bench: Bench, firmware: Firmware) -> None:
    bench.device("one")
    campaign = await bench.campaign(firmware, "one", name="  ")
    assert (campaign.name, campaign.asked_by) == ("2.0.0", BY)


async def test_each_device_of_a_campaign_has_its_own_instance(bench: Bench, firmware: Firmware) -> None:
    bench.device("old", objects="</3/0>,</33629/1>")
    bench.device("new")
    await bench.campaign(firmware)
    instances = {update.endpoint: str(update.instance) for update in bench.updates.all()}
    assert instances == {"old": "/33629/1", "new": "/5/0"}


async def test_a_stop_waits_for_what_is_being_dropped(bench: Bench, firmware: Firmware) -> None:
    """A box that stops while it cancels what a stopped campaign left behind takes it up at the next start."""
    bench.device("one")
    bench.leaves("one")
    campaign = await bench.campaign(firmware, "one")
    with bench.disk_fails("UPDATE ON firmware_update"):
        await bench.box.steer(campaign.id, CampaignState.STOPPED)
        await bench.healed()
    bench.box.tick(bench.clock.advance(1))
    await bench.restart()
    await bench.ticks()
    await until(lambda: bench.count(campaign) == {"CANCELLED": 1})
