"""The state machine of an update, led against a device on strings: each state, result and way it ends."""

import asyncio
from collections.abc import Callable
from itertools import product

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.fleet.firmware import lead as lead_module
from flownexus_appliance.fleet.firmware.instance import SETTLE_S
from flownexus_appliance.fleet.ports import PackageGone
from flownexus_appliance.lwm2m.firmware import (
    ENDED,
    FAILING,
    MOVES,
    OTHER_WAY,
    PASSING,
    TRANSITIONS,
    Delivery,
    DeviceState,
    Move,
    Reason,
    Step,
    UpdateResult,
    UpdateState,
)
from flownexus_appliance.lwm2m.paths import Path
from tests.conftest import FakeClock
from tests.peer import until

from .led import SIZE, Led, Puppet, asked_for, leading, silent

DOWNLOADING, DOWNLOADED, UPDATING = UpdateState.DOWNLOADING, UpdateState.DOWNLOADED, UpdateState.UPDATING
URI = "coaps://192.0.2.9:5684/fw/AbCdEfGhIjKl"


@pytest.fixture
def puppet(clock: FakeClock) -> Puppet:
    return Puppet(clock)


async def fetch(led: Led) -> None:
    """The device fetches the whole package, and says so."""
    await led.reaches(DOWNLOADING)
    await until(lambda: any(asked.startswith("write") for asked in led.puppet.asked))
    led.tell(state=1, result=0)
    led.lead.fetched(SIZE)
    led.tell(state=2)


async def install(led: Led) -> None:
    """... and is told to install it."""
    await fetch(led)
    await until(lambda: bool(led.puppet.arguments))
    led.tell(state=3)


def test_the_table_has_a_move_for_each_state_a_device_can_say() -> None:
    led = [state for state in UpdateState if state not in ENDED and state is not UpdateState.WAITING]
    assert set(MOVES) == set(product(led, DeviceState))


def test_nothing_follows_an_end() -> None:
    assert not [state for state, _ in TRANSITIONS if state in ENDED]


async def test_a_device_fetches_installs_and_comes_back_with_the_version(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await install(led)
        led.reboot("2.0.0", result=1)
        update = await led.ends()
    assert update.state is UpdateState.SUCCEEDED
    assert (update.result, update.bytes, update.attempts, update.from_version) == (1, SIZE, 1, "1.0.0")
    assert update.started_ms
    assert update.ended_ms
    assert puppet.states == [
        UpdateState.PREPARING,
        DOWNLOADING,
        DOWNLOADED,
        UPDATING,
        UpdateState.SUCCEEDED,
    ]
    assert puppet.asked.count(f"write /5/0/1 {URI!r}") == 1
    assert puppet.arguments == [""]


async def test_the_state_is_on_disk_before_the_device_is_told_to_install(puppet: Puppet) -> None:
    seen: list[UpdateState] = []
    puppet.on_execute = lambda: seen.append(puppet.states[-1])
    async with leading(puppet) as led:
        await install(led)
    assert seen == [UPDATING]


async def test_a_push_goes_to_the_package_resource(puppet: Puppet) -> None:
    puppet.method = 1

    def take(sent: Callable[[int], None]) -> None:
        sent(512)
        sent(SIZE)
        puppet.state = 2

    puppet.on_push = take
    async with leading(puppet) as led:
        await until(lambda: bool(puppet.arguments))
        led.reboot("2.0.0", result=1)
        update = await led.ends()
    assert update.state is UpdateState.SUCCEEDED
    assert update.delivery is Delivery.PUSH
    assert f"push /5/0/0 {SIZE}" in puppet.asked


@pytest.mark.parametrize("result", [*sorted(FAILING - PASSING - OTHER_WAY), 255, -5, 2**63 - 1])
async def test_a_result_ends_it(puppet: Puppet, result: int) -> None:
    async with leading(puppet) as led:
        await led.reaches(DOWNLOADING)
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        led.tell(state=1, result=0)
        led.tell(state=0)
        led.tell(result=result)
        update = await led.ends()
    assert (update.state, update.reason, update.result) == (UpdateState.FAILED, Reason.RESULT, result)


@pytest.mark.parametrize("result", sorted(FAILING))
async def test_a_result_of_the_installation_ends_it(puppet: Puppet, result: int) -> None:
    async with leading(puppet) as led:
        await install(led)
        led.tell(state=0, result=result)
        update = await led.ends()
    assert (update.state, update.reason, update.result) == (UpdateState.FAILED, Reason.RESULT, result)


async def test_a_lost_connection_is_another_try_three_times(puppet: Puppet) -> None:
    update = asked_for()
    for attempt in (1, 2, 3):
        puppet.state = puppet.result = 0
        puppet.asked.clear()
        async with leading(puppet, update) as led:
            await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
            led.tell(state=1, result=0)
            led.lead.fetched(400)
            led.tell(state=0, result=UpdateResult.CONNECTION_LOST)
            update = await led.ends()
        assert update.attempts == attempt
    assert (update.state, update.result) == (UpdateState.FAILED, UpdateResult.CONNECTION_LOST)


async def test_another_way_is_tried_where_one_is_not_supported(puppet: Puppet) -> None:
    puppet.protocols = (0, 1, 3)

    def refuse(_: object) -> str:
        puppet.result = UpdateResult.UNSUPPORTED_PROTOCOL
        return "4.00"

    puppet.on_uri = puppet.on_push = refuse
    update = asked_for()
    ways: list[Delivery | None] = []
    while not update.done:
        puppet.result = 0
        async with leading(puppet, update) as led:
            update = await led.ends()
        ways.append(puppet.offered)
    assert ways == [Delivery.COAPS, Delivery.HTTPS, Delivery.COAP, Delivery.PUSH]
    assert (update.state, update.result) == (UpdateState.FAILED, UpdateResult.UNSUPPORTED_PROTOCOL)


async def test_a_way_asked_for_by_hand_is_the_only_one(puppet: Puppet) -> None:
    async with leading(puppet, asked_for(wanted=Delivery.COAP)) as led:
        await until(lambda: any("coap://" in asked for asked in puppet.asked))
        led.tell(result=UpdateResult.INVALID_URI)
        update = await led.ends()
    assert (update.state, update.result) == (UpdateState.FAILED, UpdateResult.INVALID_URI)


async def test_without_a_common_way_there_is_no_delivery(puppet: Puppet) -> None:
    puppet.method, puppet.protocols = 0, (2, 5)
    async with leading(puppet) as led:
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.FAILED, Reason.NO_DELIVERY)


async def test_a_result_that_lay_there_before_is_not_of_this_update(puppet: Puppet) -> None:
    puppet.result = UpdateResult.UPDATE_FAILED
    async with leading(puppet) as led:
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        led.lead.registered()  # it is read again, and says the same
        puppet.state = 1
        await led.later(0)
        assert led.update.state is DOWNLOADING
        led.tell(state=1, result=0)
        led.tell(state=2)
        await led.reaches(UPDATING)


async def test_an_old_result_is_taken_back_before_the_offer(puppet: Puppet) -> None:
    puppet.result = UpdateResult.UNSUPPORTED_PROTOCOL
    async with leading(puppet) as led:
        await led.reaches(DOWNLOADING)
    assert puppet.asked.count("write /5/0/1 ''") == 1
    assert puppet.result == 0


async def test_a_device_that_says_the_same_as_before_is_heard(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead_module, "POLL_S", 0.01)
    puppet.stubborn, puppet.result = True, UpdateResult.UNSUPPORTED_PROTOCOL
    async with leading(puppet, asked_for(wanted=Delivery.HTTPS)) as led:
        await led.reaches(DOWNLOADING)
        await until(lambda: any("https://" in asked for asked in puppet.asked))
        await led.later(SETTLE_S - 1)
        assert led.update.state is DOWNLOADING
        puppet.clock.advance(2)
        update = await led.ends()
    assert (update.state, update.result) == (UpdateState.FAILED, UpdateResult.UNSUPPORTED_PROTOCOL)


async def test_a_first_block_before_the_news_of_it_makes_no_old_result_a_new_one(puppet: Puppet) -> None:
    puppet.result = UpdateResult.CONNECTION_LOST
    async with leading(puppet) as led:
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        led.lead.fetched(512)
        await led.later(0)
        assert led.update.state is DOWNLOADING
        led.tell(state=1)
        led.tell(result=0)
        led.tell(state=0, result=UpdateResult.CONNECTION_LOST)
        assert (await led.ends()).state is UpdateState.WAITING


async def test_the_old_version_after_the_installation_is_a_reversion(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await install(led)
        led.reboot("1.0.0", result=0)
        update = await led.ends()
    assert (update.state, update.reason, update.detail) == (
        UpdateState.REVERTED,
        Reason.REVERTED,
        "1.0.0",
    )


async def test_success_with_the_old_version_is_a_reversion_too(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await install(led)
        led.reboot("1.0.0", result=1)
        assert (await led.ends()).state is UpdateState.REVERTED


async def test_another_version_is_no_success(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await install(led)
        led.reboot("1.5.0", result=1)
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.FAILED, Reason.OTHER_VERSION)


async def test_the_version_alone_is_no_success(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await install(led)
        led.reboot("2.0.0", result=0)
        await led.later(99)
        assert led.update.state is UPDATING
        await led.later(2)
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.FAILED, Reason.UNCONFIRMED)


async def test_a_result_that_comes_later_makes_it_one(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await install(led)
        led.reboot("2.0.0", result=0)
        await led.later(50)
        led.tell(result=1)
        assert (await led.ends()).state is UpdateState.SUCCEEDED


async def test_who_does_not_come_back_is_gone(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await install(led)
        puppet.away = True
        await led.later(101)
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.FAILED, Reason.GONE)


async def test_what_lies_there_of_somebody_else_is_reset_first(puppet: Puppet) -> None:
    puppet.state = 2
    async with leading(puppet) as led:
        await led.reaches(DOWNLOADING)
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
    assert puppet.asked.index("write /5/0/1 ''") < puppet.asked.index(f"write /5/0/1 {URI!r}")


async def test_a_device_that_runs_the_version_is_left_alone(puppet: Puppet) -> None:
    puppet.version = "v2.0.0"
    async with leading(puppet) as led:
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.SUCCEEDED, Reason.ALREADY)
    assert update.from_version == "v2.0.0"
    assert not [asked for asked in puppet.asked if asked.startswith(("write", "execute"))]


async def test_a_device_without_the_object_is_told_apart(puppet: Puppet) -> None:
    puppet.whole = "4.04"
    async with leading(puppet) as led:
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.FAILED, Reason.OBJECT_MISSING)


async def test_a_device_that_cannot_be_read_whole_is_read_piece_by_piece(puppet: Puppet) -> None:
    puppet.whole = "5.00"
    async with leading(puppet) as led:
        await led.reaches(DOWNLOADING)
        assert led.update.delivery is Delivery.COAPS
    assert "read /5/0/9" in puppet.asked


async def test_a_device_that_cannot_be_read_at_all_says_so_three_times(puppet: Puppet) -> None:
    puppet.whole, puppet.unreadable = "5.00", True
    update = asked_for()
    for _ in range(3):
        async with leading(puppet, update) as led:
            update = await led.ends()
    assert (update.state, update.reason, update.detail) == (UpdateState.FAILED, Reason.REFUSED, "5.00")


async def test_a_state_that_there_is_not_is_no_state(puppet: Puppet) -> None:
    puppet.state = 7
    async with leading(puppet, asked_for(attempts=2)) as led:
        update = await led.ends()
    assert (update.state, update.reason, update.detail) == (UpdateState.FAILED, Reason.REFUSED, "State 7")


async def test_a_refused_execute_ends_it(puppet: Puppet) -> None:
    puppet.on_execute = lambda: "4.05"
    async with leading(puppet) as led:
        await fetch(led)
        update = await led.ends()
    assert (update.state, update.reason, update.detail) == (UpdateState.FAILED, Reason.REFUSED, "4.05")


async def test_a_lost_execute_is_repeated_only_when_the_device_still_waits(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead_module, "POLL_S", 0.01)

    def lose() -> str | None:
        if len(puppet.arguments) == 1:
            raise silent()
        puppet.state = 3
        return None

    puppet.on_execute = lose
    async with leading(puppet) as led:
        await fetch(led)
        await until(lambda: len(puppet.arguments) == 1)
        await led.later(SETTLE_S - 1)
        assert len(puppet.arguments) == 1
        puppet.clock.advance(2)
        await until(lambda: len(puppet.arguments) == 2)
        led.reboot("2.0.0", result=1)
        assert (await led.ends()).state is UpdateState.SUCCEEDED


async def test_a_lost_execute_that_was_carried_out_is_not_repeated(puppet: Puppet) -> None:
    def lose() -> str | None:
        puppet.state = 3
        raise silent()

    puppet.on_execute = lose
    async with leading(puppet) as led:
        await fetch(led)
        await until(lambda: bool(puppet.arguments))
        await led.later(SETTLE_S + 1)
        led.reboot("2.0.0", result=1)
        assert (await led.ends()).state is UpdateState.SUCCEEDED
    assert len(puppet.arguments) == 1


async def test_a_device_that_lost_its_package_gets_another_try(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        led.tell(state=1, result=0)
        puppet.state = 0
        led.lead.registered()
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.WAITING, Reason.LOST)


async def test_no_progress_is_another_try(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        led.tell(state=1, result=0)
        await led.later(99)
        led.lead.fetched(10)  # it lives
        await led.later(99)
        assert led.update.state is DOWNLOADING
        await led.later(2)
        update = await led.ends()
    assert (update.state, update.reason, update.bytes) == (UpdateState.WAITING, Reason.STALLED, 0)


async def test_a_device_may_install_by_itself(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        led.tell(state=1, result=0)
        led.tell(state=3)
        await led.reaches(UPDATING)
        led.reboot("2.0.0", result=1)
        assert (await led.ends()).state is UpdateState.SUCCEEDED
    assert puppet.arguments == []


async def test_the_advanced_object_is_asked_per_instance(clock: FakeClock) -> None:
    puppet = Puppet(clock, Path.of(33629, 1))
    async with leading(puppet) as led:
        await until(lambda: f"write /33629/1/1 {URI!r}" in puppet.asked)
        led.tell(state=1, result=0)
        led.tell(state=2)
        await until(lambda: bool(puppet.arguments))
        led.tell(state=3)
        led.reboot("2.0.0", result=1)
        assert (await led.ends()).state is UpdateState.SUCCEEDED
    assert puppet.arguments == ["0='</33629/1>'"]
    assert "read /33629/1/15" in puppet.asked


@pytest.mark.parametrize("told", [UpdateResult.INITIAL, UpdateResult.CONNECTION_LOST])
async def test_a_restart_of_the_box_offers_anew_what_the_device_gave_up(puppet: Puppet, told: int) -> None:
    puppet.result = told
    begun = asked_for(state=DOWNLOADING, delivery=Delivery.COAPS, bytes=400, attempts=1)
    async with leading(puppet, begun) as led:
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        assert led.update.state is DOWNLOADING


async def test_a_restart_of_the_box_leaves_a_fetching_device_alone(puppet: Puppet) -> None:
    puppet.state = 1
    begun = asked_for(state=DOWNLOADING, delivery=Delivery.COAPS, bytes=400, attempts=1)
    async with leading(puppet, begun) as led:
        await until(lambda: "observe /5/0/5" in puppet.asked)
        led.lead.fetched(SIZE)
        led.tell(state=2)
        await led.reaches(UPDATING)
    assert not [asked for asked in puppet.asked if asked.startswith("write")]


async def test_a_restart_of_the_box_begins_a_push_anew(puppet: Puppet) -> None:
    puppet.state = 1
    begun = asked_for(state=DOWNLOADING, delivery=Delivery.PUSH, bytes=400, attempts=1)
    async with leading(puppet, begun):
        await until(lambda: f"push /5/0/0 {SIZE}" in puppet.asked)
    assert puppet.asked.index("write /5/0/1 ''") < puppet.asked.index(f"push /5/0/0 {SIZE}")


async def test_a_restart_of_the_box_judges_who_came_back_meanwhile(puppet: Puppet) -> None:
    puppet.result, puppet.version = 1, "2.0.0"
    begun = asked_for(state=UPDATING, delivery=Delivery.COAPS, from_version="1.0.0", attempts=1)
    async with leading(puppet, begun) as led:
        assert (await led.ends()).state is UpdateState.SUCCEEDED
    assert puppet.arguments == []


async def test_a_restart_of_the_box_sees_who_came_back_as_before(puppet: Puppet) -> None:
    begun = asked_for(state=UPDATING, delivery=Delivery.COAPS, from_version="1.0.0", attempts=1)
    async with leading(puppet, begun) as led:
        assert (await led.ends()).state is UpdateState.REVERTED


async def test_what_the_disk_does_not_take_is_tried_again(
    puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead_module, "RETRY_S", 0.01)
    failures = 3

    def full() -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise StoreError("store_failed", "disk full")

    puppet.disk = full
    async with leading(puppet) as led:
        await led.reaches(DOWNLOADING)
    assert failures == 0
    assert puppet.states[:2] == [UpdateState.PREPARING, DOWNLOADING]


async def test_a_package_that_is_gone_ends_it(puppet: Puppet) -> None:
    def gone() -> None:
        raise PackageGone("no file")

    puppet.method, puppet.package = 1, gone  # type: ignore[assignment]
    async with leading(puppet) as led:
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.FAILED, Reason.PACKAGE_MISSING)


async def test_a_push_that_breaks_off_is_another_try(puppet: Puppet) -> None:
    def broken(sent: Callable[[int], None]) -> str | None:
        sent(512)
        raise silent()

    puppet.method, puppet.on_push = 1, broken
    async with leading(puppet) as led:
        update = await led.ends()
    assert (update.state, update.reason, update.attempts) == (UpdateState.WAITING, Reason.SILENT, 1)


async def test_a_device_that_sleeps_is_waited_for(puppet: Puppet) -> None:
    puppet.away = True
    async with leading(puppet) as led:
        await until(lambda: bool(puppet.asked))
        assert led.update.state is UpdateState.PREPARING
        puppet.away = False
        led.lead.wake()
        await led.reaches(DOWNLOADING)


async def test_moves_that_wait_ask_nothing(puppet: Puppet) -> None:
    """A device that is heard a hundred times while it fetches is not asked a hundred times."""
    async with leading(puppet) as led:
        await until(lambda: f"write /5/0/1 {URI!r}" in puppet.asked)
        led.tell(state=1, result=0)
        await asyncio.sleep(0)
        before = len(puppet.asked)
        for _ in range(100):
            await led.later(0.1)
        assert len(puppet.asked) == before
    assert MOVES[DOWNLOADING, DeviceState.DOWNLOADING] is Move.WAIT


def test_each_step_has_its_word() -> None:
    assert {step for _, step in TRANSITIONS} == set(Step)
