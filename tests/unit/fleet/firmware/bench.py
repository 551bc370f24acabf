"""The updates and campaigns of a box on a real store; its devices are on strings, and time is the test's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from pathlib import Path as FilePath
from typing import Any

from flownexus_appliance.db.firmware import Campaign, Firmware, FirmwareUpdate
from flownexus_appliance.db.firmware_reads import RunningRow
from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.events import Event, EventBus
from flownexus_appliance.fleet.firmware.box import FirmwareBox, FirmwareParts
from flownexus_appliance.fleet.firmware.campaigns import Campaigns
from flownexus_appliance.fleet.firmware.facts import FirmwareFacts
from flownexus_appliance.fleet.firmware.offers import Offers
from flownexus_appliance.fleet.firmware.plans import CampaignPlan, Choice, Wish
from flownexus_appliance.fleet.firmware.updates import Updates
from flownexus_appliance.fleet.ports import Body
from flownexus_appliance.fleet.requests import Answered
from flownexus_appliance.lwm2m.core import Core, Origin
from flownexus_appliance.lwm2m.effects import Report, Source
from flownexus_appliance.lwm2m.firmware import RESULT, STATE, DeviceState, UpdateState
from flownexus_appliance.lwm2m.operations import Operation
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.requests import parse_register
from flownexus_appliance.lwm2m.values import DataType, Record
from tests.box import Rows
from tests.conftest import FakeClock
from tests.disk import DiskFaults
from tests.peer import DEADLINE_S, until

from .led import Loopback, Puppet

BY = "anna"
SIZE = 1000
UNDER_WAY = (UpdateState.PREPARING, UpdateState.DOWNLOADING, UpdateState.DOWNLOADED, UpdateState.UPDATING)


def describe(path: Path, data_type: DataType) -> ResourceType:
    return ResourceType("", data_type, "")


@dataclass(slots=True)
class Push:
    """A package on its way to a device; the test says how far it has got, and how it ends."""

    body: Body
    sent: Callable[[int], None]
    answered: "asyncio.Future[Answered]"


@dataclass(slots=True)
class Bench(DiskFaults):
    """One box after the other on the same files. `said` are the events of updates and campaigns."""

    folder: FilePath
    clock: FakeClock
    bus: EventBus = field(default_factory=EventBus)
    offers: Offers = field(init=False)
    store: Store = field(init=False)
    core: Core = field(init=False)
    box: FirmwareBox = field(init=False)
    puppets: dict[str, Puppet] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    said: list[Event] = field(default_factory=list)
    pushes: dict[str, Push] = field(default_factory=dict)
    at_once: int = 0
    looked: "asyncio.Event | None" = None
    defects: set[str] = field(default_factory=set)
    garbling: set[str] = field(default_factory=set)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    _registrations: int = 0

    @property
    def database(self) -> FilePath:
        return self.folder / "fleet.db"

    @property
    def rows(self) -> Rows:
        return Rows(self.database)

    @property
    def updates(self) -> Updates:
        return self.box._updates

    @property
    def campaigns(self) -> Campaigns:
        return self.box._campaigns

    # One box after the other

    async def start(self, *, opened: bool = True) -> None:
        self.store = Store(self.database, describe)
        kept = await self.store.start()
        self.core = Core()
        self.bus = EventBus()
        self.bus.listen(self._listen)
        self.offers = Offers("", True, [ip_network("192.0.2.0/24")], lambda: (), 443)
        self.box = FirmwareBox(
            FirmwareParts(
                self.store,
                self.bus,
                self.core,
                self,  # type: ignore[arg-type]
                self,  # type: ignore[arg-type]
                self.perform,
                lambda endpoint: (),
                self.inventory,
                self.clock,
                self.offers,
                patience_s=100.0,
                comeback_s=100.0,
            )
        )
        await self.box.prepare(kept.firmware)
        self.box.attach(Loopback())
        for name in self.puppets:
            self._register(name)
        if opened:
            self.box.open(443)

    async def stop(self) -> None:
        await self.box.stop()
        await self.store.stop()

    async def restart(self, *, opened: bool = True) -> None:
        await self.stop()
        await self.start(opened=opened)

    async def killed(self) -> None:
        """As by SIGKILL, and a new start: what was not on disk is lost."""
        self.store.writer._broken = True
        await self.restart()

    # Devices

    def device(self, name: str, *, objects: str = "</3/0>,</5/0>", model: str = "", **how: Any) -> Puppet:
        """A device that is there."""
        puppet = self.puppets[name] = Puppet(self.clock, **how)
        self.models[name] = model
        self.store.put_endpoint(name, self.clock.wall_ms)
        self._register(name, objects)
        return puppet

    def devices(self, number: int) -> list[str]:
        """So many that do as they are told, named d000 and so on."""
        names = [f"d{n:03}" for n in range(number)]
        for name in names:
            self.device(name)
            self.obeys(name)
        return names

    def _register(self, name: str, objects: str = "</3/0>,</5/0>") -> None:
        self._registrations += 1
        number = self._registrations
        request = parse_register(("lwm2m=1.1", f"ep={name}", "lt=86400"), objects.encode())
        origin = Origin(f"192.0.2.1:{number}", number, b"", f"dtls:{number}")
        self.core.register(request, origin, self.clock(), number.to_bytes(6, "big"))

    def leaves(self, name: str) -> None:
        """Its registration ends."""
        self.core.revoke(name)

    def comes(self, name: str) -> None:
        """It registers (anew)."""
        self._register(name)
        self.box.registered(name)
        self.box.wake(name)

    def tell(self, name: str, **values: int) -> None:
        """The device changes, and notifies of it."""
        puppet = self.puppets[name]
        for resource, number in (("state", STATE), ("result", RESULT)):
            if resource in values:
                setattr(puppet, resource, values[resource])
                record = Record(puppet.instance.child(number), values[resource], DataType.INTEGER)
                report = Report(name, Source.NOTIFY, (record,), self.clock.wall_ms)
                self.bus.publish("values", {}, report)
        self.box.wake(name)

    def fetch(self, name: str, until_byte: int = SIZE) -> None:
        """The device fetches, and says so."""
        self.tell(name, state=DeviceState.DOWNLOADING, result=0)
        update = self.box.under_way(name)
        assert update is not None
        package = self.box.packages.open(update.ticket, None)
        package.fetched(until_byte)
        if until_byte == SIZE:
            self.tell(name, state=DeviceState.DOWNLOADED)

    def reboot(self, name: str, version: str = "2.0.0", result: int = 1) -> None:
        """It comes back after an installation, and registers."""
        puppet = self.puppets[name]
        puppet.state, puppet.result, puppet.version = DeviceState.IDLE, result, version
        self.comes(name)

    def obeys(self, name: str, *versions: str) -> None:
        """The device does from now on what it is told to; it comes back with one version after the other, and
        then with the last of them."""
        left = list(versions or ("2.0.0",))
        puppet, soon = self.puppets[name], asyncio.get_running_loop().call_soon

        def fetch(_: str) -> None:
            soon(self.fetch, name)

        def execute() -> None:
            puppet.state = DeviceState.UPDATING
            soon(self.reboot, name, left.pop(0) if len(left) > 1 else left[0])

        puppet.on_uri = fetch
        puppet.on_execute = execute

    def fails(self, name: str, result: int = 5) -> None:
        """The device fetches from now on, and then says that it came to nothing."""
        puppet, soon = self.puppets[name], asyncio.get_running_loop().call_soon

        def come_to_nothing() -> None:
            self.tell(name, state=DeviceState.DOWNLOADING, result=0)
            self.tell(name, state=DeviceState.IDLE, result=result)

        def fail(_: str) -> None:
            soon(come_to_nothing)

        puppet.on_uri = fail

    # What the box works with

    async def idle(self, endpoint: str) -> None:
        """Nobody else asks anything here."""

    async def inventory(self) -> Sequence[RunningRow]:
        if self.looked is not None:
            await self.looked.wait()
        return [
            RunningRow(name, "", None, self.models[name], puppet.version, None)
            for name, puppet in self.puppets.items()
        ]

    async def perform(self, endpoint: str, operation: Operation) -> Answered:
        if endpoint in self.defects:
            raise RuntimeError("a defect")
        async with self._locks.setdefault(endpoint, asyncio.Lock()):
            device = self.core.device(endpoint)
            if device is None or device.registration is None:
                raise UsageError("endpoint_offline", f"{endpoint} is not registered", "wait")
            answered = await self.puppets[endpoint].perform(endpoint, operation)
            self.box.wake(endpoint)
            if endpoint in self.garbling:
                raise PeerError("senml_invalid", "no SenML", "ask the vendor")
            return answered

    async def push(self, endpoint: str, path: Path, body: Body, sent: Callable[[int], None]) -> Answered:
        async with self._locks.setdefault(endpoint, asyncio.Lock()):
            push = Push(body, sent, asyncio.get_running_loop().create_future())
            self.pushes[endpoint] = push
            try:
                return await push.answered
            finally:
                del self.pushes[endpoint]

    # What people ask

    async def firmware(self, version: str = "2.0.0", **facts: str) -> Firmware:
        """A package of SIZE bytes; another for each version."""
        async with self.box.upload() as upload:
            await upload.write(version.encode().ljust(SIZE, b"\7"))
            return await self.box.add(upload, FirmwareFacts(version=version, **facts), BY)

    async def update(self, name: str, firmware: Firmware, **wish: Any) -> FirmwareUpdate:
        return await self.box.update(name, firmware.id, Wish(**wish), BY)

    async def campaign(self, firmware: Firmware, *names: str, **plan: Any) -> Campaign:
        """Begin one for devices by name, or for all that it is for."""
        begun = await self.box.begin(CampaignPlan(firmware.id, Choice(names), **plan), BY)
        return begun.campaign

    # What the test waits for

    def kept(self, update: FirmwareUpdate | int) -> tuple[UpdateState, str]:
        """State and reason of an update as the disk has them."""
        number = update if isinstance(update, int) else update.id
        ((state, reason),) = self.rows("SELECT state, reason FROM firmware_update WHERE id = ?", number)
        return UpdateState(state), str(reason)

    async def reaches(self, update: FirmwareUpdate, state: UpdateState) -> None:
        """Until an update is in a state, it is on disk, and who waited for that has gone on."""
        await self.comes_to(lambda: self.states(update)[-1:] == [state])

    async def comes_to(self, holds: Callable[[], bool]) -> None:
        """Until something holds, and what it goes with has happened too."""
        await until(holds)
        await self.settled()

    def states(self, update: FirmwareUpdate | int) -> list[UpdateState]:
        """The states that an update was told to be in, each once in a row."""
        number = update if isinstance(update, int) else update.id
        found: list[UpdateState] = []
        for event in self.said:
            if event.name == "firmware_update" and event.data["id"] == number:
                state = UpdateState(event.data["state"])
                if found[-1:] != [state]:
                    found.append(state)
        return found

    def ids(self, campaign: Campaign) -> list[int]:
        """The updates of a campaign."""
        sql = "SELECT id FROM firmware_update WHERE campaign_id = ? ORDER BY id"
        return [number for (number,) in self.rows(sql, campaign.id)]

    def campaign_state(self, campaign: Campaign) -> tuple[str, str]:
        """State and reason of a campaign as the disk has them."""
        ((state, reason),) = self.rows(
            "SELECT state, reason FROM firmware_campaign WHERE id = ?", campaign.id
        )
        return str(state), str(reason)

    def count(self, campaign: Campaign) -> Counter[str]:
        """How many updates of a campaign are in each state on disk."""
        sql = "SELECT state, count(*) FROM firmware_update WHERE campaign_id = ? GROUP BY state"
        return Counter(dict(self.rows(sql, campaign.id)))

    def told_of(self, campaign: Campaign) -> list[dict[str, Any]]:
        """The events of a campaign."""
        return [e.data for e in self.said if e.name == "firmware_campaign" and e.data["id"] == campaign.id]

    async def ticks(self, seconds: float = 1.0) -> None:
        """Time passes, and what follows from it."""
        self.box.tick(self.clock.advance(seconds))
        await self.settled()

    async def settled(self) -> None:
        """Until what has been gathered is on disk, and everybody has had a turn or ten after it."""
        for _ in range(10):
            await asyncio.sleep(0)
        await asyncio.wait([self.store.commit()])
        for _ in range(10):
            await asyncio.sleep(0)

    async def until_ticking(self, reached: Callable[[], bool]) -> None:
        """Until something is so, a second of the clock passing all the while."""
        async with asyncio.timeout(3 * DEADLINE_S):
            while not reached():
                await self.ticks()

    # Within

    def _listen(self, event: Event) -> None:
        if event.name not in ("firmware_update", "firmware_campaign"):
            return
        self.said.append(event)
        begun = sum(update.state in UNDER_WAY for update in self.updates.all())
        self.at_once = max(self.at_once, begun)


def plan_of(firmware: Firmware, *names: str, **plan: Any) -> CampaignPlan:
    return replace(CampaignPlan(firmware.id, Choice(names)), **plan)


@asynccontextmanager
async def a_bench(folder: FilePath, clock: FakeClock) -> AsyncIterator[Bench]:
    bench = Bench(folder, clock)
    await bench.start()
    try:
        yield bench
    finally:
        await bench.stop()


def nothing_is_left(bench: Bench) -> bool:
    """Whether what has ended is out of memory."""
    updates, campaigns = bench.updates, bench.campaigns
    kept = (
        updates._unfinished,
        updates._coming,
        updates._of_endpoint,
        updates._tickets,
        updates._leads,
        updates._led,
        updates._not_before,
        updates._closing,
        updates._unkept,
        updates._asides,
        campaigns._live,
        campaigns._counts,
        campaigns._owed,
    )
    return not any(kept)


async def downloading(bench: Bench, name: str = "one") -> FirmwareUpdate:
    """An update whose device was told where the package is."""
    puppet = bench.device(name)
    update = await bench.update(name, await bench.firmware())
    await bench.reaches(update, UpdateState.DOWNLOADING)
    await until(lambda: any(asked.startswith("write") for asked in puppet.asked))
    return update


async def pushing(bench: Bench, name: str = "one") -> FirmwareUpdate:
    """An update whose package is on its way."""
    bench.device(name, method=1)
    update = await bench.update(name, await bench.firmware())
    await until(lambda: name in bench.pushes)
    return update


async def of_two_campaigns(bench: Bench) -> tuple[FirmwareUpdate, FirmwareUpdate]:
    """Two updates of device "one", which is not there."""
    bench.device("one")
    bench.leaves("one")
    await bench.campaign(await bench.firmware("1.5.0"), "one")
    await bench.campaign(await bench.firmware("2.0.0"), "one")
    older, newer = bench.updates.of("one")
    return older, newer
