"""A device on strings, and a lead that leads it: what the device says of itself is the test's to set."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network

from flownexus_appliance.db.firmware import Firmware, FirmwareUpdate, UpdateStep
from flownexus_appliance.fleet.firmware.lead import Lead, Means
from flownexus_appliance.fleet.firmware.offers import Offers
from flownexus_appliance.fleet.ports import Body, DeviceSilent, Downlink, DownlinkReply, Ports
from flownexus_appliance.fleet.requests import Answered
from flownexus_appliance.lwm2m.firmware import (
    DELIVERY,
    PACKAGE_URI,
    PROTOCOLS,
    RESULT,
    STATE,
    UPDATE,
    Delivery,
    DeviceState,
    UpdateState,
    version_path,
)
from flownexus_appliance.lwm2m.operations import Kind, Operation
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration
from flownexus_appliance.lwm2m.values import DataType, Record
from tests.conftest import FakeClock
from tests.peer import until

SIZE = 1000
NAME = "urn:dev:1"
FIRMWARE = Firmware(7, "2.0.0", "app.bin", SIZE, b"\1" * 32, "anna", 0)


def silent(*, sent: bool = True) -> DeviceSilent:
    return DeviceSilent("device_unanswered", "no answer", sent=sent)


class Package:
    """A body of a package."""

    size = SIZE

    def read(self, offset: int, size: int) -> bytes:
        return bytes(SIZE)[offset : offset + size]


class Loopback:
    """A wire that nothing goes over."""

    ports = Ports(5683, 5684)

    async def request(self, peer: str, downlink: Downlink) -> DownlinkReply:
        raise silent()

    def local_host(self, peer: str) -> str:
        return "192.0.2.9"


@dataclass
class Puppet:
    """The device and what became of its update. `asked` are the requests, `kept` what went to disk.

    `on_uri`, `on_push` and `on_execute` are what it does when it gets there; they may raise, or return
    a code.
    """

    clock: FakeClock
    instance: Path = field(default_factory=lambda: Path.of(5, 0))
    state: int = 0
    result: int = 0
    version: str = "1.0.0"
    protocols: tuple[int, ...] | None = (0, 1)
    method: int | None = 2
    whole: str = "2.05"  # how it answers to a read of the instance
    unreadable: bool = False
    away: bool = False
    stubborn: bool = False  # a reset does not have it take its result back
    asked: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)
    steps: list[UpdateStep] = field(default_factory=list)
    states: list[UpdateState] = field(default_factory=list)
    offered: Delivery | None = None
    on_uri: Callable[[str], str | None] = lambda uri: None
    on_push: Callable[[Callable[[int], None]], str | None] = lambda sent: None
    on_execute: Callable[[], str | None] = lambda: None
    disk: Callable[[], None] = lambda: None
    package: Callable[[], Body] = Package
    registered_by: str = "dtls:00"

    async def perform(self, endpoint: str, operation: Operation) -> Answered:
        kind, path = operation.kind, operation.path
        self.asked.append(f"{kind} {path}")
        if self.away:
            raise silent(sent=False)
        match kind:
            case Kind.READ | Kind.OBSERVE if self.unreadable:
                return Answered("5.00")
            case Kind.READ | Kind.OBSERVE:
                records = self._records(path)
                if path == self.instance and self.whole != "2.05":
                    return Answered(self.whole)
                return Answered("2.05" if records else "4.04", records)
            case Kind.WRITE if path == self.instance.child(PACKAGE_URI):
                uri = str(operation.records[0].value)
                self.asked[-1] += f" {uri!r}"
                if not uri:
                    self.state = 0
                    self.result = self.result if self.stubborn else 0
                    return Answered("2.04")
                return Answered(self.on_uri(uri) or "2.04")
            case Kind.EXECUTE if path == self.instance.child(UPDATE):
                self.arguments.append(operation.arguments)
                return Answered(self.on_execute() or "2.04")
        return Answered("4.05")

    async def push(self, endpoint: str, path: Path, body: Body, sent: Callable[[int], None]) -> Answered:
        self.asked.append(f"push {path} {body.size}")
        return Answered(self.on_push(sent) or "2.04")

    async def keep(self, after: FirmwareUpdate, step: UpdateStep, adopt: Callable[[], None]) -> None:
        self.disk()
        await asyncio.sleep(0)
        self.steps.append(step)
        self.states.append(after.state)
        self.offered = after.delivery or self.offered
        adopt()

    def registration(self, endpoint: str) -> Registration:
        return Registration(
            id="abc",
            endpoint=endpoint,
            address="192.0.2.1:5683",
            lwm2m_version="1.1",
            lifetime_s=300,
            binding="U",
            queue_mode=False,
            root_path="/",
            objects={self.instance[0]: RegisteredObject("", (self.instance[1],)), 3: RegisteredObject()},
            content_formats=(),
            message_id=1,
            token=b"",
            registered_ms=0,
            updated_ms=0,
            expires_at=1e9,
            session=self.registered_by,
        )

    def means(self) -> Means:
        async def idle(endpoint: str) -> None:
            pass

        return Means(
            perform=self.perform,
            push=self.push,
            idle=idle,
            registration=self.registration,
            observed=lambda endpoint, path: False,
            body=lambda update: self.package(),
            keep=self.keep,
            progressed=lambda update: None,
            offers=Offers("", True, [ip_network("192.0.2.0/24")], lambda: (), 443, Loopback()),
            clock=self.clock,
            patience_s=100.0,
            comeback_s=100.0,
        )

    def _records(self, path: Path) -> tuple[Record, ...]:
        values: dict[Path, int | str] = {
            self.instance.child(STATE): self.state,
            self.instance.child(RESULT): self.result,
            version_path(self.instance): self.version,
        }
        for number, protocol in enumerate(self.protocols or ()):
            values[self.instance.child(PROTOCOLS).child(number)] = protocol
        if self.method is not None:
            values[self.instance.child(DELIVERY)] = self.method
        return tuple(
            Record(at, value, DataType.STRING if isinstance(value, str) else DataType.INTEGER)
            for at, value in values.items()
            if path.covers(at)
        )


@dataclass
class Led:
    """A lead at work on a puppet."""

    puppet: Puppet
    lead: Lead
    task: "asyncio.Task[None]"

    @property
    def update(self) -> FirmwareUpdate:
        return self.lead.update

    async def reaches(self, state: UpdateState) -> None:
        await until(lambda: self.update.state is state)

    async def ends(self) -> FirmwareUpdate:
        """The update when the lead has come to its end."""
        async with asyncio.timeout(10):
            await self.task
        return self.update

    def tell(self, state: int | None = None, result: int | None = None) -> None:
        """The device changes, and notifies of it."""
        puppet = self.puppet
        if state is not None:
            puppet.state = state
            self._notify(STATE, state)
        if result is not None:
            puppet.result = result
            self._notify(RESULT, result)

    def reboot(self, version: str, result: int) -> None:
        """It comes back after an installation, and registers."""
        self.puppet.state, self.puppet.result, self.puppet.version = DeviceState.IDLE, result, version
        self.lead.registered()

    async def later(self, seconds: float) -> None:
        """Time passes, and the device is heard."""
        self.puppet.clock.advance(seconds)
        self.lead.wake()
        for _ in range(50):
            await asyncio.sleep(0)

    def _notify(self, resource: int, value: int) -> None:
        self.lead.told([Record(self.puppet.instance.child(resource), value, DataType.INTEGER)])


def asked_for(**changes: object) -> FirmwareUpdate:
    """An update as it is when it has just been asked for."""
    fields: dict[str, object] = {
        "id": 1,
        "endpoint": NAME,
        "firmware_id": FIRMWARE.id,
        "ticket": "AbCdEfGhIjKl",
        "asked_by": "anna",
        "created_ms": 0,
        "changed_ms": 0,
    }
    return FirmwareUpdate(**{**fields, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def leading(puppet: Puppet, update: FirmwareUpdate | None = None) -> AsyncIterator[Led]:
    """Lead a puppet through an update; the lead ends with the context at the latest."""
    lead = Lead(update or asked_for(instance=puppet.instance), FIRMWARE, puppet.means())
    task = asyncio.create_task(lead.run())
    try:
        yield Led(puppet, lead, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
