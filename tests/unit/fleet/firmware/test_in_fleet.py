"""Updates amid all else that is asked of a device: people's operations, Queue Mode, ended registrations."""

import asyncio
from dataclasses import dataclass, field

import pytest

from flownexus_appliance.db.firmware import Firmware, FirmwareUpdate, KeptFirmware
from flownexus_appliance.fleet.firmware.facts import FirmwareFacts
from flownexus_appliance.fleet.firmware.plans import Wish
from flownexus_appliance.fleet.ports import Method
from flownexus_appliance.lwm2m.firmware import UpdateState
from flownexus_appliance.lwm2m.operations import Status
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import until

from ..conftest import HOME, Asked, House, operation
from .led import Loopback

LINKS = b"</3/0>,</5/0>,</3303/0>"
SIZE = 1000
TICKS_S = 15.0


@dataclass(slots=True)
class Updater:
    """A device with object 5 that takes pushes; the test holds each one, and may hold a read of /3303."""

    state: int = 0
    result: int = 0
    version: str = "1.0.0"
    pushed: list[Asked] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    held: list[Asked] = field(default_factory=list)
    holds: bool = False

    def __call__(self, asked: Asked) -> None:
        self.asked.append(asked.what)
        down = asked.downlink
        if down.body is not None:
            self.pushed.append(asked)
        elif down.path[:1] == Path.of(3303) and self.holds:
            self.held.append(asked)
        elif down.method is not Method.GET:
            if down.path == Path.of(5, 0, 1):
                self.state = 0
            asked.answer("2.04")
        elif asked.what.startswith("discover"):
            asked.answer("4.05")
        elif down.path == Path.of(3, 0):
            asked.value({"/3/0/0": "ACME", "/3/0/3": self.version})
        elif down.path == Path.of(5, 0):
            asked.value({"/5/0/3": self.state, "/5/0/5": self.result, "/5/0/9": 1})
        elif down.path == Path.of(3, 0, 3):
            asked.value({"/3/0/3": self.version})
        else:
            values = {"/5/0/3": self.state, "/5/0/5": self.result}
            path = str(down.path)
            asked.value({path: values.get(path, 21.5)}, observe=1 if down.observe == 0 else None)


@dataclass(slots=True)
class Site:
    """A fleet whose firmware side is open, and one device of it."""

    house: House
    firmware: Firmware
    device: Updater = field(default_factory=Updater)

    async def register(self, *more: str) -> str:
        self.house.wire.plays[HOME] = self.device
        registration = await self.house.register("one", HOME, LINKS, "1.1", 300, *more)
        await self.house.onboarded()
        return registration

    async def update(self) -> FirmwareUpdate:
        return await self.house.fleet.firmware.update("one", self.firmware.id, Wish(), "anna")

    async def pushing(self) -> FirmwareUpdate:
        """An update whose package is on its way to the device."""
        update = await self.update()
        await until(lambda: bool(self.device.pushed))
        return update

    def sent(self, size: int) -> None:
        """The device has acknowledged so many bytes."""
        told = self.device.pushed[-1].downlink.sent
        assert told is not None
        told(size)

    def state(self, update: FirmwareUpdate) -> UpdateState:
        ((state,),) = self.house.rows("SELECT state FROM firmware_update WHERE id = ?", update.id)
        return UpdateState(state)


@pytest.fixture
async def site(quiet_house: House) -> Site:
    box = quiet_house.fleet.firmware
    await box.prepare(KeptFirmware())
    box.attach(Loopback())
    box.open()
    async with box.upload() as upload:
        await upload.write(bytes(range(250)) * (SIZE // 250))
        firmware = await box.add(upload, FirmwareFacts(version="2.0.0"), "anna")
    return Site(quiet_house, firmware)


async def test_an_operation_waits_for_the_end_of_a_push(site: Site) -> None:
    await site.register()
    await site.pushing()
    order = await site.house.order(operation("read", "/3303/0/5700"))
    for size in (256, 512, 768):
        site.sent(size)  # each block is heard, and wakes whoever waits
    site.house.fleet.operations.wake("one")
    for _ in range(20):
        await asyncio.sleep(0)
    assert site.house.fleet.operations.counts()["SENDING"] == 0
    await asyncio.wait([site.house.store.commit()])
    assert site.house.status(order) == Status.QUEUED
    assert "read /3303/0/5700" not in site.device.asked
    site.sent(SIZE)
    site.device.state = 2
    site.device.pushed[-1].answer("2.04", b"")
    assert (await site.house.done(order)).status is Status.CONFIRMED
    assert site.house.wire.most_a_device == 1


async def test_an_operation_goes_out_when_the_push_is_cancelled(site: Site) -> None:
    await site.register()
    update = await site.pushing()
    order = await site.house.order(operation("read", "/3303/0/5700"))
    await site.house.fleet.firmware.cancel(update.id)
    assert (await site.house.done(order)).status is Status.CONFIRMED
    assert "write /5/0/1" in site.device.asked
    assert site.house.wire.most_a_device == 1


async def test_people_s_operations_go_before_the_next_request_of_an_update(site: Site) -> None:
    await site.register()
    site.device.holds = True
    orders = [await site.house.order(operation("read", "/3303/0/5700")) for _ in range(3)]
    await until(lambda: bool(site.device.held))
    update = await site.update()
    await until(lambda: site.state(update) is UpdateState.PREPARING)
    site.device.asked.clear()
    site.device.holds = False
    site.device.held[-1].value({"/3303/0/5700": 21.5})
    for order in orders:
        await site.house.done(order)
    await until(lambda: "read /5/0" in site.device.asked)
    assert site.device.asked[: len(orders)] == ["read /3303/0/5700"] * 2 + ["read /5/0"]


async def test_a_push_may_take_longer_than_a_device_stays_awake(site: Site) -> None:
    await site.register("b=U", "Q")
    update = await site.pushing()
    assert site.device.pushed[-1].downlink.timeout_s == 100.0
    for size in range(100, 1000, 100):
        site.house.clock.advance(TICKS_S)
        site.sent(size)
    await until(lambda: site.house.fleet.presence("one") == "online")
    assert site.state(update) is UpdateState.DOWNLOADING
    site.device.state = 2
    site.device.pushed[-1].answer("2.04", b"")
    await until(lambda: "execute /5/0/2" in site.device.asked)


async def test_an_update_of_a_sleeping_device_begins_when_it_wakes(site: Site) -> None:
    registration = await site.register("b=U", "Q")
    site.house.clock.advance(100)
    await until(lambda: site.house.fleet.presence("one") == "sleeping")
    site.device.asked.clear()
    update = await site.update()
    assert site.state(update) is UpdateState.WAITING
    assert not site.device.asked
    await site.house.update(registration)
    await until(lambda: bool(site.device.pushed))


async def test_a_push_is_broken_off_by_a_new_registration_and_tried_again(site: Site) -> None:
    await site.register()
    update = await site.pushing()
    await site.register()
    await until(lambda: site.state(update) is UpdateState.WAITING)
    site.house.clock.advance(11)
    await until(lambda: len(site.device.pushed) == 2)


async def test_a_device_that_leaves_in_the_middle_is_waited_for(site: Site) -> None:
    registration = await site.register()
    update = await site.pushing()
    site.device.state = 2
    site.device.pushed[-1].answer("2.04", b"")
    await until(lambda: site.state(update) is UpdateState.UPDATING)
    await site.house.deregister(registration)
    site.device.state, site.device.result, site.device.version = 0, 1, "2.0.0"
    await site.register()
    await until(lambda: site.state(update) is UpdateState.SUCCEEDED)


async def test_a_device_whose_registration_is_revoked_is_not_asked(site: Site) -> None:
    """What came by plain CoAP is revoked in the middle, and the device may not come so again."""
    await site.register()
    update = await site.pushing()
    site.device.pushed[-1].fail()
    await until(lambda: site.state(update) is UpdateState.WAITING)
    site.house.fleet._guarded("one")
    site.house.clock.advance(11)
    asked = len(site.device.asked)
    await until(lambda: site.house.fleet.registration("one") is None)
    site.house.fleet.firmware.tick(site.house.clock())
    assert site.state(update) is UpdateState.WAITING
    assert len(site.device.asked) == asked
    assert (await site.house.fleet.firmware.cancel(update.id)).state is UpdateState.CANCELLED
