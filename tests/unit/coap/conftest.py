"""A real CoapServer on the loopback, whose fleet is the test itself."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
from aiocoap.numbers.constants import TransportTuning

from flownexus_appliance.coap.dtls.peer import DtlsPeer
from flownexus_appliance.coap.peers import Peer
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import Judge, Notification, PackageGone, Respond, Sender, Uplink
from flownexus_appliance.lwm2m.effects import Reply
from flownexus_appliance.system.config import LOOPBACK
from tests.peer import DEADLINE_S, DevicePeer, device

Outcome = Reply | PeerError | None


@dataclass(slots=True)
class ScriptedUplinks:
    """What the wire hands up, in order. With `outcomes` each request is answered at once by the next."""

    requests: asyncio.Queue[tuple[Uplink, Respond]] = field(default_factory=asyncio.Queue)
    notifications: asyncio.Queue[tuple[Notification, Judge]] = field(default_factory=asyncio.Queue)
    outcomes: list[Outcome] = field(default_factory=list)

    def receive(self, uplink: Uplink, respond: Respond) -> None:
        self.requests.put_nowait((uplink, respond))
        if self.outcomes:
            respond(self.outcomes.pop(0))

    def notified(self, notification: Notification, judge: Judge) -> None:
        self.notifications.put_nowait((notification, judge))

    async def request(self) -> tuple[Uplink, Respond]:
        async with asyncio.timeout(DEADLINE_S):
            return await self.requests.get()

    async def notification(self) -> tuple[Notification, Judge]:
        async with asyncio.timeout(DEADLINE_S):
            return await self.notifications.get()


@pytest.fixture
def uplinks() -> ScriptedUplinks:
    return ScriptedUplinks()


@dataclass(slots=True)
class ListedPackage:
    """A package in memory. `owner` is the endpoint that may fetch it, "" whoever knows its ticket."""

    data: bytes
    owner: str = ""
    gone: bool = False
    etag: bytes = b"8 bytes."
    told: list[int] = field(default_factory=list)  # what it was told has been fetched

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        if self.gone:
            raise PackageGone("the file is another one")
        return self.data[offset : offset + size]

    def fetched(self, until: int) -> None:
        self.told.append(until)


@dataclass(slots=True)
class ListedPackages:
    """What the wire serves, by ticket, and who asked for it."""

    listed: dict[str, ListedPackage] = field(default_factory=dict)
    senders: list[Sender | None] = field(default_factory=list)

    def open(self, ticket: str, sender: Sender | None) -> ListedPackage:
        self.senders.append(sender)
        package = self.listed.get(ticket)
        if package is None:
            raise PeerError("not_found", "no such package", "ask for another")
        if package.owner and (sender is None or sender.endpoint != package.owner):
            raise PeerError("identity_refused", "the package is for another device", "use your own")
        return package


TICKET = "AbCd-_012345"
IMAGE = bytes(range(256)) * 11 + b"the end"  # 2823 bytes


@pytest.fixture
def packages() -> ListedPackages:
    return ListedPackages()


@pytest.fixture
def package(packages: ListedPackages) -> ListedPackage:
    """The package of TICKET."""
    packages.listed[TICKET] = ListedPackage(IMAGE)
    return packages.listed[TICKET]


@pytest.fixture
async def server(
    uplinks: ScriptedUplinks, packages: ListedPackages, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[CoapServer]:
    """A started server; nothing may have gone wrong inside it, by its own word or aiocoap's."""
    started = CoapServer(0, LOOPBACK, uplinks, packages=packages)
    await started.start()
    yield started
    await started.stop()
    # asyncio's own are left out: in debug mode it tells of every slow step of a busy machine.
    complaints = [r for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    assert [r.getMessage() for r in complaints if r.name != "asyncio"] == []


@pytest.fixture
def peer(server: CoapServer) -> Iterator[DevicePeer]:
    with device(server.port) as opened:
        yield opened


@pytest.fixture
def other_peer(server: CoapServer) -> Iterator[DevicePeer]:
    """A device at another address."""
    with device(server.port) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retransmissions within milliseconds: RFC 7252's parameters, a hundredth of them."""
    monkeypatch.setattr(TransportTuning, "ACK_TIMEOUT", 0.02)
    monkeypatch.setattr(TransportTuning, "MAX_RETRANSMIT", 2)


Narrow = Callable[[int], None]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Narrow:
    """Has messages to all devices be small: at most so many bytes, as RFC 6066 4 lets a device ask for."""

    def to(max_message: int) -> None:
        for kind in (Peer, DtlsPeer):
            monkeypatch.setattr(kind, "max_message", max_message)

    return to


ELSEWHERE = (ip_network("192.0.2.0/24"),)
