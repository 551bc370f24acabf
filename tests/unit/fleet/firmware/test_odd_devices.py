"""Devices that say odd things of themselves, or never come to an end."""

import pytest

from flownexus_appliance.errors import MAX_PEER_TEXT
from flownexus_appliance.fleet.firmware.progress import MAX_SIGNS, Progress
from flownexus_appliance.lwm2m.firmware import Reason, UpdateState
from tests.conftest import FakeClock
from tests.peer import until

from .led import SIZE, Led, Puppet, leading

TOO_LONG_S = 101.0  # the patience of a puppet's lead is 100 s


@pytest.fixture
def puppet(clock: FakeClock) -> Puppet:
    return Puppet(clock)


async def offered(led: Led) -> None:
    await until(lambda: any("/fw/" in asked for asked in led.puppet.asked))


def test_what_a_device_tells_is_progress_a_number_of_times() -> None:
    progress = Progress(0, 0.0)
    assert [progress.sign(float(turn)) for turn in range(MAX_SIGNS + 2)] == [True] * MAX_SIGNS + [False] * 2
    assert progress.at == MAX_SIGNS - 1
    progress.begin(0, 500.0)
    assert progress.sign(501.0)


def test_bytes_it_did_not_have_yet_always_are() -> None:
    progress = Progress(0, 0.0)
    for turn in range(1, 10 * MAX_SIGNS):
        progress.fetched(turn, float(turn))
        assert progress.at == turn


def test_the_same_bytes_again_are_none() -> None:
    progress = Progress(0, 0.0)
    for now in (1.0, 2.0, 3.0):
        progress.fetched(16, now)
    assert progress.at == 1.0


def test_who_begins_anew_may_do_so_a_number_of_times() -> None:
    progress = Progress(0, 0.0)
    for turn in range(3 * MAX_SIGNS):
        progress.fetched(32, 2.0 * turn)
        progress.fetched(16, 2.0 * turn + 1)
    assert progress.at < 2.0 * MAX_SIGNS + 2
    progress.fetched(48, 9999.0)
    assert progress.at == 9999.0


async def test_a_device_that_goes_back_and_forth_comes_to_its_end(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await led.reaches(UpdateState.DOWNLOADING)
        await offered(led)
        for turn in range(MAX_SIGNS + int(TOO_LONG_S) + 2):
            led.tell(state=1 - turn % 2)
            await led.later(1)
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.WAITING, Reason.STALLED)


async def test_a_device_that_fetches_the_beginning_for_ever_comes_to_its_end(puppet: Puppet) -> None:
    async with leading(puppet) as led:
        await led.reaches(UpdateState.DOWNLOADING)
        await offered(led)
        led.tell(state=1)
        for _ in range(11):
            led.lead.fetched(SIZE // 2)
            await led.later(TOO_LONG_S / 10)
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.WAITING, Reason.STALLED)


async def test_a_device_that_installs_something_else_is_busy(puppet: Puppet) -> None:
    puppet.state = 3
    async with leading(puppet) as led:
        await until(lambda: "read /3/0/3" in puppet.asked)
        await led.later(TOO_LONG_S)
        update = await led.ends()
    assert (update.state, update.reason) == (UpdateState.WAITING, Reason.BUSY)


async def test_a_version_is_text_of_some_length(puppet: Puppet) -> None:
    puppet.version = "\0\x1b[31m" + "9" * 100_000
    async with leading(puppet) as led:
        await led.reaches(UpdateState.DOWNLOADING)
        assert len(led.update.from_version) == MAX_PEER_TEXT
        assert led.update.from_version.isprintable()


async def test_what_it_said_of_an_earlier_update_is_none_of_this_one(puppet: Puppet) -> None:
    puppet.version, puppet.result = "2.0.0", 8
    puppet.stubborn = True
    async with leading(puppet) as led:
        update = await led.ends()
    assert (update.state, update.reason, update.result) == (UpdateState.SUCCEEDED, Reason.ALREADY, None)
