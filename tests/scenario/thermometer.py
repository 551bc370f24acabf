"""A LwM2M client played by hand: Server, Device and a temperature sensor, SenML CBOR by cbor2.

Like `tests.peer` it shares no code with the appliance, but for the DTLS of `tests.secure_peer`. It answers
what it is asked in the background.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import cbor2

from flownexus_appliance.coap.dtls.engine import Context
from tests.interop.daemon import Credential, Daemon
from tests.peer import (
    ACCEPT,
    ACK,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    DEADLINE_S,
    DELETE,
    GET,
    LINKS,
    OBSERVE,
    POST,
    PUT,
    SENML_CBOR,
    DevicePeer,
    Frame,
    device,
    until,
)
from tests.secure_peer import SecurePeer, SessionEnded, secure_peer

TEMPERATURE = "/3303/0/5700"
OBJECTS = b"</>;ct=112,</1/0>,</3/0>,</3303/0>"
# What is watched by default of what it has.
WATCHED = {"/3/0/9", TEMPERATURE}
NOT_FOUND, NOT_ALLOWED, NOT_ACCEPTABLE = 0x84, 0x85, 0x86
BASE_NAME, NAME, VALUE, TEXT = -2, 0, 2, 3


def senml(values: Mapping[str, object]) -> bytes:
    return cbor2.dumps(
        [{NAME: path, (TEXT if isinstance(v, str) else VALUE): v} for path, v in values.items()]
    )


@dataclass(slots=True)
class Thermometer:
    """One client. `asked` are the requests it got, `values` what it answers to a Read, unless `mute`."""

    peer: DevicePeer
    endpoint: str
    values: dict[str, object] = field(
        default_factory=lambda: {
            "/1/0/1": 300,
            "/3/0/0": "ACME",
            "/3/0/9": 88,
            "/3/0/13": 1_800_000_000,
            TEMPERATURE: 21.5,
            "/3303/0/5701": "Cel",
        }
    )
    location: str = ""
    observed: dict[str, bytes] = field(default_factory=dict)
    asked: list[Frame] = field(default_factory=list)
    executed: list[tuple[str, bytes]] = field(default_factory=list)
    replies: "asyncio.Queue[Frame]" = field(default_factory=asyncio.Queue)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 1
    mute: bool = False

    # The Registration interface

    async def register(self, *more: str, lifetime_s: int = 300, version: str = "1.1") -> Frame:
        """Register; from then on its Updates go to the location it was given."""
        name = (f"ep={self.endpoint}",) if self.endpoint else ()
        query = (f"lwm2m={version}", *name, f"lt={lifetime_s}", *more)
        reply = await self.ask(self.peer.register(query, OBJECTS))
        assert reply.status == "2.01", reply
        self.location = "/" + "/".join(reply.location)
        self.observed.clear()
        return reply

    async def update(self, *query: str) -> Frame:
        return await self.ask(self.peer.request(POST, self.location, query=query))

    async def deregister(self) -> Frame:
        return await self.ask(self.peer.request(DELETE, self.location))

    async def ask(self, request: Frame) -> Frame:
        """The reply to a request that has been sent."""
        reply = await self.reply()
        assert (reply.kind, reply.mid, reply.token) == (ACK, request.mid, request.token), reply
        return reply

    async def reply(self) -> Frame:
        """The next message that is no request."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.replies.get()

    async def ended(self) -> None:
        """Wait until the server ends its DTLS session."""
        async with asyncio.timeout(DEADLINE_S):
            await self.over.wait()

    # Reporting

    async def send(self, values: Mapping[str, object]) -> Frame:
        return await self.ask(self.peer.request(POST, "/dp", senml(values), content_format=SENML_CBOR))

    def notify(self, path: str, value: object, kind: int = CON) -> Frame:
        """Report a new value of an observed path."""
        self.values[path] = value
        self.number += 1
        return self.peer.notify(self.observed[path], self.number, senml({path: value}), kind=kind)

    # What it is asked

    async def serve(self) -> None:
        while True:
            try:
                frame = Frame.decode(await self.peer.next_datagram())
            except SessionEnded:
                self.over.set()
                return
            if not frame.is_request:
                self.replies.put_nowait(frame)
                continue
            assert frame.kind == CON, "Zephyr passes over anything else"
            self.asked.append(frame)
            if not self.mute:
                self._answer(frame)

    def _answer(self, request: Frame) -> None:
        if request.code == GET and request.number(ACCEPT) == LINKS:
            self._discover(request)
        elif request.code == GET:
            self._read(request)
        elif request.code == PUT and request.one(CONTENT_FORMAT) is not None:
            for entry in cbor2.loads(request.payload):
                base = entry.get(BASE_NAME, "")
                self.values[base + entry.get(NAME, "")] = entry.get(VALUE, entry.get(TEXT))
            self.peer.answer(request, CHANGED)
        elif request.code == PUT:
            self.peer.answer(request, CHANGED)
        elif request.code == POST and request.path.count("/") == 3:
            self.executed.append((request.path, request.payload))
            self.peer.answer(request, CHANGED)
        else:
            self.peer.answer(request, NOT_ALLOWED)

    def _below(self, path: str) -> dict[str, object]:
        return {p: v for p, v in self.values.items() if p == path or p.startswith(path + "/")}

    def _discover(self, request: Frame) -> None:
        links = ",".join(f"<{path}>" for path in self._below(request.path))
        self.peer.answer(request, CONTENT, links.encode(), content_format=LINKS)

    def _read(self, request: Frame) -> None:
        found = self._below(request.path)
        if not found:
            self.peer.answer(request, NOT_FOUND)
        elif request.number(ACCEPT) not in (None, SENML_CBOR):
            self.peer.answer(request, NOT_ACCEPTABLE)
        else:
            observe = request.number(OBSERVE)
            if observe == 0:
                self.observed[request.path] = request.token
                observe = self.number
            self.peer.answer(request, CONTENT, senml(found), content_format=SENML_CBOR, observe=observe)


@dataclass(slots=True)
class SecureThermometer(Thermometer):
    """One whose peer speaks DTLS. Without an `endpoint` it leaves its name to its credential."""

    peer: SecurePeer


Client = TypeVar("Client", bound=Thermometer)


@asynccontextmanager
async def thermometer(port: int, endpoint: str) -> AsyncIterator[Thermometer]:
    """A client at a socket of its own, which listens as long as the context is open."""
    with device(port) as peer:
        async with serving(Thermometer(peer, endpoint)) as client:
            yield client


@asynccontextmanager
async def secure_thermometer(
    port: int, endpoint: str, credential: Credential | Context, *, cid: bool = True
) -> AsyncIterator[SecureThermometer]:
    """The same over DTLS; its handshake is done."""
    with secure_peer(port, credential, cid=cid) as peer:
        await peer.shake()
        async with serving(SecureThermometer(peer, endpoint)) as client:
            yield client


@asynccontextmanager
async def serving(client: Client) -> AsyncIterator[Client]:
    """Have a client listen for as long as the context is open."""
    listening = asyncio.create_task(client.serve())
    try:
        yield client
        if listening.done():
            listening.result()
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def ready(daemon: Daemon, client: Thermometer) -> None:
    """Register, and wait until the daemon has nothing more to ask by itself."""
    await client.register()
    await until(lambda: daemon.store.reporting(client.endpoint) == WATCHED)
    await until(lambda: daemon.store.values(client.endpoint, "/3303/0/5701") == ["Cel"])
    client.asked.clear()
