"""A restart: what was known is known again."""

from pathlib import Path as FilePath

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.fleet import FleetOptions
from flownexus_appliance.fleet.ports import Notification, Verdict
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.paths import Path
from tests.conftest import FakeClock
from tests.peer import until

from .conftest import CBOR, ELSEWHERE, HOME, House, a_house, operation, plain, plays_a_thermometer, senml

LINKS = b"</3/0>,</3303/0>"
TEMPERATURE = "/3303/0/5700"


async def live(house: House, *more: str) -> tuple[str, dict[str, bytes]]:
    """Register and onboard a device; its registration's id and its tokens."""
    house.wire.plays[HOME] = plays_a_thermometer
    registration_id = await house.register("one", HOME, LINKS, "1.1", 300, *more)
    await until(lambda: TEMPERATURE in house.rows.observations("one"))
    await house.onboarded()
    return registration_id, house.rows.observations("one")


def notification(token: bytes, number: int, value: float) -> Notification:
    return Notification(plain(HOME), token, number, "2.05", CBOR, senml({TEMPERATURE: value}, TEMPERATURE))


async def test_registrations_and_observations_outlive_a_restart(tmp_path: FilePath, clock: FakeClock) -> None:
    """A device that gets a reset for its notification does not register again (zephyr #38527)."""
    async with a_house(tmp_path / "db", clock) as house:
        registration_id, tokens = await live(house)
    clock.advance(10)
    async with a_house(tmp_path / "db", clock) as house:
        house.wire.plays[HOME] = plays_a_thermometer
        # The very first thing that arrives: matched, stored, acknowledged.
        assert await house.verdict(notification(tokens[TEMPERATURE], 2, 33.0)) is Verdict.TAKEN
        assert house.rows.samples("one", TEMPERATURE) == [21.5, 33.0]
        assert house.fleet.observed("one") == {Path.parse(p) for p in tokens}
        assert house.fleet.presence("one") == "online"
        assert await house.update(registration_id) == Reply(Success.CHANGED)
        assert await house.outcome(house.send_request({TEMPERATURE: 1.0})) == Reply(Success.CHANGED)
        result = await house.perform(operation("read", TEMPERATURE))
        assert result.status == "CONFIRMED"
        assert {asked.address for asked in house.wire.log} == {HOME}


async def test_an_onboarded_device_is_not_onboarded_again(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        registration_id, _ = await live(house)
    async with a_house(tmp_path / "db", clock, FleetOptions(watch_list=("*/*/5700", "/3/0/9"))) as house:
        await house.update(registration_id)
        await house.onboarded()
        assert house.wire.log == []


async def test_an_onboarding_that_was_cut_short_is_finished(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        registration_id = await house.register(links=LINKS)
        await house.wire.asked()
    async with a_house(tmp_path / "db", clock) as house:
        assert house.rows.observations("one") == {}
        house.wire.plays[HOME] = plays_a_thermometer
        await house.update(registration_id)
        await until(lambda: TEMPERATURE in house.rows.observations("one"))


async def test_a_register_repeated_after_a_restart_keeps_its_id(tmp_path: FilePath, clock: FakeClock) -> None:
    """The reply was lost in the restart."""
    async with a_house(tmp_path / "db", clock) as house:
        request = house.register_request(links=b"</1/0>")
        first = await house.outcome(request)
    async with a_house(tmp_path / "db", clock) as house:
        assert await house.outcome(request) == first


async def test_a_queue_mode_device_is_taken_to_sleep(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        registration_id, _ = await live(house, "Q")
        assert house.fleet.presence("one") == "online"
    async with a_house(tmp_path / "db", clock) as house:
        assert house.fleet.presence("one") == "sleeping"
        await house.update(registration_id)
        assert house.fleet.presence("one") == "online"


@pytest.mark.parametrize(
    ("off_s", "left_s"),
    [(0, 300 + 247), (100, 200 + 247), (10_000, 247)],
    ids=["at once", "after a while", "after its lifetime"],
)
async def test_a_registration_has_its_grace_after_a_restart(
    tmp_path: FilePath, clock: FakeClock, off_s: float, left_s: float
) -> None:
    """While the box was off, no device could update."""
    async with a_house(tmp_path / "db", clock) as house:
        await house.register(links=b"</1/0>", lifetime_s=300)
    clock.advance(off_s)
    async with a_house(tmp_path / "db", clock) as house:
        clock.advance(left_s - 1)
        assert await house.outcome(house.register_request("other", ELSEWHERE, b"</1/0>"))
        assert set(house.rows.registrations()) == {"one", "other"}
        clock.advance(2)
        await house.told.change("one", "expired")
        assert set(house.rows.registrations()) == {"other"}


async def test_a_wall_clock_that_jumped_back_does_not_keep_a_registration_for_ever(
    tmp_path: FilePath, clock: FakeClock
) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        await house.register(links=b"</1/0>", lifetime_s=300)
    clock.wall_ms -= 10**9
    async with a_house(tmp_path / "db", clock) as house:
        clock.advance(300 + 248)
        await house.told.change("one", "expired")


async def test_a_device_that_left_is_remembered_and_no_more(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        registration_id, tokens = await live(house)
        await house.deregister(registration_id)
        heard_ms = house.fleet.heard_ms("one")
    clock.advance(5)
    async with a_house(tmp_path / "db", clock) as house:
        assert house.fleet.presence("one") == "offline"
        assert house.fleet.heard_ms("one") == heard_ms
        assert await house.verdict(notification(tokens[TEMPERATURE], 2, 1.0)) is Verdict.REFUSED
        assert isinstance(await house.update(registration_id), PeerError)
        assert house.fleet.observed("one") == frozenset()


async def test_when_it_was_last_heard_is_kept_by_the_stop(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock) as house:
        await house.register(links=b"</1/0>")
        clock.advance(7)
        await house.outcome(house.send_request({TEMPERATURE: 1.0}))
        heard_ms = house.fleet.heard_ms("one")
    assert heard_ms == clock.wall_ms
    async with a_house(tmp_path / "db", clock) as house:
        assert house.fleet.heard_ms("one") == heard_ms
