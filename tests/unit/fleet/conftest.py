"""A Fleet on a real store, whose wire and whose clock are the test's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.operations import EndpointOperation
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import Store
from flownexus_appliance.errors import PeerError
from flownexus_appliance.events import EventBus
from flownexus_appliance.fleet import fleet as fleet_module
from flownexus_appliance.fleet.credentials import Credentials
from flownexus_appliance.fleet.fleet import Fleet, FleetOptions
from flownexus_appliance.fleet.ports import (
    Action,
    DeviceSilent,
    Downlink,
    DownlinkReply,
    Keyring,
    Method,
    Notification,
    Ports,
    Proof,
    Sender,
    Uplink,
    Verdict,
)
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.effects import Reply
from flownexus_appliance.lwm2m.links import Link, format_links
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import Record, Value, natural_type
from tests.box import Rows, Told, models
from tests.conftest import FakeClock
from tests.disk import DiskFaults
from tests.peer import DEADLINE_S, until

HOME = "192.0.2.1:5683"
ELSEWHERE = "192.0.2.2:40000"
CBOR = ContentFormat.SENML_CBOR
LINKS = b"</1/0>,</3/0>,</3303/0>"
Outcome = Reply | PeerError | None


def silent() -> DeviceSilent:
    return DeviceSilent("device_unanswered", "it did not answer", "wait")


def senml(values: Mapping[str, Value], base: str = "/", content_format: int = CBOR) -> bytes:
    """Values by path as a device sends them."""
    records = [Record(Path.parse(path), value, natural_type(value)) for path, value in values.items()]
    return codecs.encode(content_format, records, base=Path.parse(base))


def operation(kind: str, *paths: str, values: Mapping[str, Value] | None = None, **more: object) -> Operation:
    """An operation; the values by path are typed as the wire would."""
    records = tuple(Record(Path.parse(p), v, natural_type(v)) for p, v in (values or {}).items())
    return Operation(Kind(kind), tuple(map(Path.parse, paths)), records, **more)  # type: ignore[arg-type]


@dataclass(slots=True)
class Asked:
    """A request that waits for the test's answer."""

    address: str
    downlink: Downlink
    answered: "asyncio.Future[DownlinkReply]"

    @property
    def what(self) -> str:
        """ "observe /3/0/9"."""
        down = self.downlink
        names = {Method.PUT: "write", Method.POST: "execute"}
        name = names.get(down.method, "read")
        if down.observe == 0:
            name = "observe"
        elif down.accept == ContentFormat.LINK:
            name = "discover"
        elif down.method is Method.PUT and down.query:
            name = "write_attributes"
        return f"{name} {down.path}"

    def answer(
        self,
        code: str,
        payload: bytes = b"",
        content_format: int | None = CBOR,
        observe: int | None = None,
        location: tuple[str, ...] = (),
    ) -> None:
        if not self.answered.done():  # else it was given up meanwhile
            reply = DownlinkReply(code, content_format if payload else None, payload, observe, location)
            self.answered.set_result(reply)

    def fail(self, error: Exception | None = None) -> None:
        self.answered.set_exception(error or silent())

    def value(self, values: Mapping[str, Value], observe: int | None = None) -> None:
        """2.05 with these values."""
        base = "/" + "/".join(map(str, self.downlink.path))
        self.answer("2.05", senml(values, base), CBOR, observe)


Answer = Callable[[Asked], None]


@dataclass(slots=True)
class ScriptedWire:
    """Hands every request to `plays` of its address; without one it waits in `waiting` for the test."""

    waiting: "asyncio.Queue[Asked]" = field(default_factory=asyncio.Queue)
    plays: dict[str, Answer] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)
    under_way: dict[str, int] = field(default_factory=dict)
    most_at_once: int = 0
    most_a_device: int = 0
    ports: Ports = field(default=Ports(5683, 5684))

    def local_host(self, peer: str) -> str:
        return "192.0.2.9"

    async def request(self, address: str, downlink: Downlink) -> DownlinkReply:
        asked = Asked(address, downlink, asyncio.get_running_loop().create_future())
        self.log.append(asked)
        self.under_way[address] = self.under_way.get(address, 0) + 1
        self.most_a_device = max(self.most_a_device, self.under_way[address])
        self.most_at_once = max(self.most_at_once, sum(self.under_way.values()))
        play = self.plays.get(address)
        if play is None:
            self.waiting.put_nowait(asked)
        else:
            asyncio.get_running_loop().call_soon(play, asked)
        try:
            return await asked.answered
        finally:
            self.under_way[address] -= 1

    async def asked(self) -> Asked:
        async with asyncio.timeout(DEADLINE_S):
            return await self.waiting.get()

    @property
    def steps(self) -> list[str]:
        return [asked.what for asked in self.log]


def plays_a_thermometer(asked: Asked) -> None:
    """A device with /3/0 and /3303/0 that takes everything asked of it."""
    down = asked.downlink
    if asked.what == "discover /3":
        links = [Link(f"/3/0/{number}") for number in (0, 9, 13)]
        asked.answer("2.05", format_links([Link("/3"), Link("/3/0"), *links]), ContentFormat.LINK)
    elif down.path == Path.parse("/3/0"):
        asked.value({"/3/0/0": "ACME", "/3/0/13": 1_800_000_000})
    elif down.path == Path.parse("/3303/0/5701"):
        asked.value({"/3303/0/5701": "Cel"})
    elif down.method is Method.GET:
        asked.value({str(down.path): 21.5}, observe=1 if down.observe == 0 else None)
    else:
        asked.answer("2.04")


def plain(address: str) -> Sender:
    """Who speaks plain CoAP from an address."""
    return Sender(address, address)


@dataclass(slots=True)
class House(DiskFaults):
    """A running fleet and all that is around it."""

    fleet: Fleet
    store: Store
    wire: ScriptedWire
    told: Told
    rows: Rows
    clock: FakeClock
    path: FilePath
    sent: int = 0

    # What a device does

    def ask(self, uplink: Uplink) -> "asyncio.Future[Outcome]":
        """Give the fleet a request; the future is how it is answered."""
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.fleet.uplinks.receive(uplink, answered.set_result)
        return answered

    async def outcome(self, uplink: Uplink) -> Outcome:
        async with asyncio.timeout(DEADLINE_S):
            return await self.ask(uplink)

    def uplink(self, action: Action, address: str = HOME, **more: object) -> Uplink:
        self.sent += 1
        token = self.sent.to_bytes(2, "big")
        return replace(Uplink(action, plain(address), self.sent, token), **more)  # type: ignore[arg-type]

    def register_request(
        self,
        endpoint: str = "one",
        address: str = HOME,
        links: bytes = LINKS,
        version: str = "1.1",
        lifetime_s: int = 300,
        *more: str,
    ) -> Uplink:
        query = (f"lwm2m={version}", f"ep={endpoint}", f"lt={lifetime_s}", *more)
        return self.uplink(Action.REGISTER, address, query=query, content_format=40, payload=links)

    async def register(self, *arguments: object, **named: object) -> str:
        """Register well; the registration's id."""
        reply = await self.outcome(self.register_request(*arguments, **named))  # type: ignore[arg-type]
        assert isinstance(reply, Reply), reply
        assert reply.location[0] == "rd"
        return reply.location[1]

    async def update(self, registration_id: str, address: str = HOME, *query: str) -> Outcome:
        return await self.outcome(
            self.uplink(Action.UPDATE, address, registration_id=registration_id, query=query)
        )

    async def deregister(self, registration_id: str, address: str = HOME) -> Outcome:
        return await self.outcome(self.uplink(Action.DEREGISTER, address, registration_id=registration_id))

    def send_request(self, values: Mapping[str, Value], address: str = HOME) -> Uplink:
        return self.uplink(Action.SEND, address, content_format=CBOR, payload=senml(values))

    def notify(self, notification: Notification) -> "asyncio.Future[Verdict]":
        judged: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.fleet.uplinks.notified(notification, judged.set_result)
        return judged

    async def verdict(self, notification: Notification) -> Verdict:
        async with asyncio.timeout(DEADLINE_S):
            return await self.notify(notification)

    # What people ask

    async def order(
        self, wanted: Operation, endpoint: str = "one", *, checked: bool = False, deadline_ms: int = 0
    ) -> EndpointOperation:
        """Ask for an operation; it is on disk."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.fleet.operations.ask(
                endpoint, wanted, "test", checked=checked, deadline_ms=deadline_ms
            )

    async def done(self, asked: EndpointOperation) -> EndpointOperation:
        """An operation when it is done."""
        kept = await self.fleet.operations.finished(asked.id, DEADLINE_S)
        assert kept.done, kept
        return kept

    def perform(self, wanted: Operation, endpoint: str = "one") -> "asyncio.Task[EndpointOperation]":
        """Ask, and wait until it is done."""

        async def within() -> EndpointOperation:
            return await self.done(await self.order(wanted, endpoint))

        return asyncio.create_task(within())

    def status(self, asked: EndpointOperation) -> str:
        """As the disk has it."""
        ((status,),) = self.rows("SELECT status FROM endpoint_operation WHERE id = ?", asked.id)
        return str(status)

    async def becomes(self, asked: EndpointOperation, status: Status) -> None:
        """Until an operation is in this state on disk."""
        await until(lambda: self.status(asked) == status)

    # What the test waits for

    async def onboarded(self) -> None:
        """Until nobody is being onboarded."""
        await until(lambda: self.fleet.onboarding() == 0)

    def token(self, path: str, endpoint: str = "one") -> bytes:
        return self.rows.observations(endpoint)[path]

    def kill(self) -> None:
        """As by SIGKILL: nothing more is written, whatever is said while the house is left."""
        self.store.writer._broken = True


@asynccontextmanager
async def a_house(
    path: FilePath, clock: FakeClock, options: FleetOptions | None = None
) -> AsyncIterator[House]:
    bus = EventBus()
    store = Store(path, partial(describe, models()))
    kept = await store.start()
    reader = Reader(path)
    try:
        await reader.start()
        fleet = Fleet(store, bus, models(), options or FleetOptions(), reader.operation, clock)
        wire = ScriptedWire()
        fleet.start(kept, wire)
        fleet.operations.open()
        try:
            yield House(fleet, store, wire, Told(bus), Rows(path), clock, path)
        finally:
            await fleet.stop()
    finally:
        await reader.stop()
        await store.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet looks at its clock, and the store at a failed disk, every few milliseconds."""
    monkeypatch.setattr(fleet_module, "TICK_S", 0.005)
    monkeypatch.setattr(writer_module, "RETRY_S", 0.02)


@pytest.fixture
async def house(tmp_path: FilePath, clock: FakeClock) -> AsyncIterator[House]:
    async with a_house(tmp_path / "fleet.db", clock) as started:
        yield started


@pytest.fixture
async def quiet_house(tmp_path: FilePath, clock: FakeClock) -> AsyncIterator[House]:
    """A fleet that watches nothing: a registered device is asked at most about itself."""
    async with a_house(tmp_path / "fleet.db", clock, FleetOptions(watch_list=())) as started:
        yield started


class Watched:
    """The DTLS side's list, as it was told."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.list = dict(keyring.secrets())
        self.told: list[tuple[Proof, bytes | None]] = []
        keyring.watch(self.changed)

    def changed(self, proof: Proof, secret: bytes | None) -> None:
        self.told.append((proof, secret))
        if secret is None:
            del self.list[proof]
        else:
            self.list[proof] = secret

    def agrees(self) -> bool:
        return self.list == self.keyring.secrets()


@pytest.fixture
def credentials(quiet_house: House) -> Credentials:
    return quiet_house.fleet.credentials


@pytest.fixture
async def watched(credentials: Credentials) -> AsyncIterator[Watched]:
    told = Watched(credentials)
    yield told
    assert told.agrees()
