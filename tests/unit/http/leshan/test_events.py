"""Leshan's event streams: exact frames, who gets which, and bounds for who does not read."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import ClientResponse

from flownexus_appliance.events import EventBus
from flownexus_appliance.fleet.ports import Traced
from flownexus_appliance.http.leshan import events as events_module
from flownexus_appliance.http.leshan.answers import Refused
from flownexus_appliance.http.leshan.events import EVENTS, HEARTBEAT, MAX_WAITING_BYTES, Events, Listener
from flownexus_appliance.http.leshan.messages import Message
from flownexus_appliance.http.leshan.sides import Side
from flownexus_appliance.http.ports import Parts, Sources
from flownexus_appliance.lwm2m.effects import Announce, Change, Report, Source
from flownexus_appliance.lwm2m.values import DataType

from ..conftest import Client
from ..house import NOW_MS, QUIET, SENSOR, SLEEPER, FakeFleet, record, registration
from .alone import alone

DEADLINE_S = 5.0
PATH = "/leshan/api/event"
STREAM = {"Accept": "text/event-stream"}


@dataclass(slots=True)
class FakeWire:
    trace: Callable[[Traced], None] | None = None

    def is_asked(self) -> bool:
        return self.trace is not None


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire()


@pytest.fixture
def sources(sources: Sources, wire: FakeWire) -> Sources:
    return replace(sources, tracer=wire)


@pytest.fixture
async def events(parts: Parts) -> AsyncIterator[Events]:
    events = Events(parts)
    yield events
    await events.stop()
    assert "leshan-events" not in {task.get_name() for task in asyncio.all_tasks()}


class Script:
    """Reads a stream line by line, as Zephyr's suite does."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response

    async def line(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self._response.content.readline()

    async def event(self) -> tuple[str, Any]:
        """The next event, checked to be written as Leshan writes it."""
        while (first := await self.line()) == b"\r\n":
            pass
        name, data, end = first, await self.line(), await self.line()
        assert name.startswith(b"event: ")
        assert data.startswith(b"data: ")
        assert [line[-2:] for line in (name, data)] == [b"\r\n"] * 2
        assert end == b"\r\n"
        return name[7:-2].decode(), json.loads(data[6:])

    async def ended(self) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await self._response.content.read()


@asynccontextmanager
async def listening(client: Client, path: str = PATH) -> AsyncIterator[Script]:
    async with client.get(path, headers=STREAM) as response:
        assert response.status == 200
        script = Script(response)
        assert await script.line() == b"\r\n"  # from here on nothing is missed
        yield script


def send(bus: EventBus, endpoint: str = SENSOR, value: float = 21.5) -> None:
    records = (record("/3303/0/5700", value, DataType.FLOAT),)
    bus.publish("values", {"endpoint": endpoint}, Report(endpoint, Source.SEND, records, NOW_MS))


def bootstrap_step(bus: EventBus, endpoint: str = SENSOR) -> None:
    data = {"endpoint": endpoint, "step": "finished", "ok": True, "message": "", "time_ms": NOW_MS}
    bus.publish("bootstrap", data)


def message(endpoint: str = SENSOR, name: str = "SEND") -> Message:
    return Message(name, endpoint, {"ep": endpoint})


# Over HTTP


async def test_what_a_script_reads(client: Client, bus: EventBus) -> None:
    async with listening(client) as script:
        send(bus)
        name, data = await script.event()
        assert (name, data["ep"], data["val"]["/3303/0/5700"]["value"]) == ("SEND", SENSOR, 21.5)
        old = registration(SENSOR)
        announced = Announce(Change.REGISTERED, replace(old, id="new"), old)
        bus.publish("registration", {"endpoint": SENSOR}, announced)
        assert [(await script.event())[0] for _ in range(2)] == ["DEREGISTRATION", "REGISTRATION"]


async def test_the_headers(client: Client) -> None:
    async with client.get(PATH, headers=STREAM) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Connection"] == "close"
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream, */*", "text/*"])
async def test_only_who_asks_for_a_stream_gets_one(client: Client, accept: str) -> None:
    async with client.get(PATH, headers={"Accept": accept}) as response:
        assert response.status == 405
        assert "text/event-stream" in await response.text()


async def test_an_endpoint_by_name_and_zephyrs_way_to_name_none(client: Client, bus: EventBus) -> None:
    async with listening(client, f"{PATH}?ep=sleeper") as one, listening(client, f"{PATH}?sleeper") as all_:
        send(bus, SENSOR)
        send(bus, SLEEPER)
        assert (await one.event())[1]["ep"] == SLEEPER
        assert [(await all_.event())[1]["ep"] for _ in range(2)] == [SENSOR, SLEEPER]


async def test_each_server_has_its_own_events(client: Client, parts: Parts, bus: EventBus) -> None:
    async with (
        alone(parts, Side.SERVER) as server,
        alone(parts, Side.BOOTSTRAP) as bootstrap,
        listening(client) as both,
        listening(server, "/api/event") as of_server,
        listening(bootstrap, "/api/event") as of_bootstrap,
    ):
        bootstrap_step(bus)
        send(bus)
        bootstrap_step(bus)
        assert [(await both.event())[0] for _ in range(3)] == ["BSSESSION", "SEND", "BSSESSION"]
        assert (await of_server.event())[0] == "SEND"
        assert [(await of_bootstrap.event())[0] for _ in range(2)] == ["BSSESSION"] * 2


async def test_floats_as_each_asks_for_them(client: Client, bus: EventBus) -> None:
    async with listening(client) as numbers, listening(client, f"{PATH}?float=string") as texts:
        send(bus)
        assert (await numbers.event())[1]["val"]["/3303/0/5700"]["value"] == 21.5
        assert (await texts.event())[1]["val"]["/3303/0/5700"]["value"] == "21.5"


async def test_a_heartbeat(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "HEARTBEAT_S", 0.01)
    async with listening(client) as script:
        assert [await script.line() for _ in range(3)] == [b"\r\n"] * 3


async def test_the_wire_is_asked_for_who_is_named(client: Client, wire: FakeWire, fleet: FakeFleet) -> None:
    own = registration(SENSOR)
    told = Traced(own.peer, True, "CON", "POST", 7, b"t", "", b"x")
    async with listening(client) as everything:
        assert not wire.is_asked()
        async with listening(client, f"{PATH}?ep={SENSOR}") as script:
            assert wire.trace is not None
            wire.trace(replace(told, peer="192.0.2.99:1", message_id=6))
            wire.trace(told)
            name, data = await script.event()
            assert (name, data["ep"], data["mId"], data["timestamp"]) == ("COAPLOG", SENSOR, 7, NOW_MS)
            assert (await everything.event())[0] == "COAPLOG"


async def test_a_full_house(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MAX_LISTENERS", 1)
    async with listening(client), client.get(PATH, headers=STREAM) as response:
        assert response.status == 503
        assert response.content_type == "text/plain"


async def test_streams_end_when_the_server_does(client: Client) -> None:
    async with listening(client) as script:
        assert client.app is not None
        client.app[EVENTS].close_all()
        assert await script.ended() == b""


# The hub itself


async def test_it_listens_only_while_somebody_listens_to_it(events: Events, bus: EventBus) -> None:
    assert not bus._subscriptions
    first, second = Listener(), Listener()
    events.join(first)
    events.join(second)
    assert len(bus._subscriptions) == 1
    events.leave(first)
    assert len(bus._subscriptions) == 1
    events.leave(second)
    assert not bus._subscriptions
    events.join(first)  # at once, before the first task has ended
    send(bus)
    assert b"SEND" in await first.take(DEADLINE_S)


async def test_what_happens_right_after_joining_is_told(events: Events, bus: EventBus) -> None:
    send(bus, value=1.0)
    listener = Listener()
    events.join(listener)
    send(bus, value=2.0)
    data = await listener.take(DEADLINE_S)
    assert data.count(b"event: ") == 1
    assert b'"value":2.0' in data


async def test_who_does_not_read_is_cut_off() -> None:
    listener = Listener()
    piece = b"x" * (MAX_WAITING_BYTES // 2)
    told = []
    for data in (piece, piece, b"x", piece):
        listener.push(data)
        told.append(listener.closed)
    assert told == [False, False, True, True]
    assert await listener.take(DEADLINE_S) == HEARTBEAT  # nothing is kept for it


async def test_one_large_event_cuts_nobody_off() -> None:
    listener = Listener()
    listener.push(b"x" * (2 * MAX_WAITING_BYTES))
    assert not listener.closed
    assert len(await listener.take(DEADLINE_S)) == 2 * MAX_WAITING_BYTES


async def test_events_that_were_lost_end_every_stream(
    events: Events, bus: EventBus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flownexus_appliance.events.QUEUE_EVENTS", 2)
    listener = Listener()
    events.join(listener)
    for _ in range(3):
        send(bus)
    await listener.take(DEADLINE_S)
    assert listener.closed
    assert "events lost" in caplog.messages


async def test_a_defect_meets_one_event(
    events: Events, bus: EventBus, fleet: FakeFleet, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener()
    events.join(listener)
    bus.publish("presence", {})  # no endpoint
    send(bus)
    assert b"SEND" in await listener.take(DEADLINE_S)
    assert "event not told" in caplog.messages


async def test_whom_the_wire_is_asked_for(events: Events, wire: FakeWire) -> None:
    for endpoint in (None, QUIET, "nobody"):  # no name, and two that are not registered
        listener = Listener(endpoint=endpoint)
        events.join(listener)
        assert not wire.is_asked()
        events.leave(listener)
    named, everything = Listener(endpoint=SENSOR), Listener()
    events.join(everything)
    events.join(named)
    assert wire.is_asked()
    events.leave(named)
    assert wire.is_asked(), "who listens to all goes on hearing of it"
    events.leave(everything)
    assert not wire.is_asked()


async def test_the_wire_is_left_alone_when_its_last_listener_goes(events: Events, wire: FakeWire) -> None:
    one, other = Listener(endpoint=SENSOR), Listener(endpoint=SLEEPER)
    events.join(one)
    events.join(other)
    events.leave(one)
    assert wire.is_asked()
    assert events._followed == {SLEEPER}
    events.leave(other)
    assert not wire.is_asked()


async def test_without_a_wire_to_ask(parts: Parts) -> None:
    events = Events(replace(parts, tracer=None))
    listener = Listener(endpoint=SENSOR)
    events.join(listener)
    events.leave(listener)
    await events.stop()


async def test_too_many(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MAX_LISTENERS", 2)
    for _ in range(2):
        events.join(Listener())
    with pytest.raises(Refused) as caught:
        events.join(Listener())
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("side", "endpoint", "told", "wanted"),
    [
        (Side.BOTH, None, message(), True),
        (Side.BOTH, SLEEPER, message(), False),
        (Side.BOTH, "", message(), False),
        (Side.SERVER, SENSOR, message(), True),
        (Side.SERVER, None, message(name="BSSESSION"), False),
        (Side.BOOTSTRAP, None, message(name="BSSESSION"), True),
        (Side.BOOTSTRAP, SLEEPER, message(name="BSSESSION"), False),
        (Side.BOOTSTRAP, None, message(name="COAPLOG"), False),
    ],
)
def test_who_wants_what(side: Side, endpoint: str | None, told: Message, wanted: bool) -> None:
    assert Listener(side, endpoint).wants(told) is wanted
