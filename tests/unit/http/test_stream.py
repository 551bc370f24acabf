"""The live stream: what a listener gets, in which order, and what happens when it does not keep up."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientResponse

from flownexus_appliance.errors import UsageError
from flownexus_appliance.events import Event, EventBus
from flownexus_appliance.http import stream
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.stream import RESET, Chunk, Hub, Listener

from .conftest import Client

DEADLINE_S = 5.0


def values(endpoint: str, *samples: tuple[str, float, int]) -> dict[str, Any]:
    return {
        "endpoint": endpoint,
        "received_ms": max(time_ms for _, _, time_ms in samples),
        "values": [
            {"path": path, "value": value, "data_type": "float", "time_ms": time_ms}
            for path, value, time_ms in samples
        ],
    }


def presence(endpoint: str, state: str = "online") -> dict[str, Any]:
    return {"endpoint": endpoint, "presence": state, "time_ms": 1}


@dataclass(frozen=True, slots=True)
class Message:
    name: str
    data: Any
    id: str


def parse(text: str) -> list[Message]:
    """Server-sent events as a browser reads them; `id` is the last one set before a message's end."""
    messages: list[Message] = []
    last = ""
    for block in text.split("\n\n"):
        name, data = "", ""
        for line in block.split("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif field == "id":
                last = value
        if data:
            messages.append(Message(name, json.loads(data), last))
    return messages


class Browser:
    """Reads a stream as it comes."""

    def __init__(self, response: ClientResponse) -> None:
        self._response = response
        self.text = ""

    @property
    def messages(self) -> list[Message]:
        """What came, without the hello that every stream begins with."""
        found = parse(self.text[: self.text.rfind("\n\n") + 2])
        return [message for message in found if message.name != "hello"]

    @property
    def last_id(self) -> str:
        ids = [line[4:] for line in self.text.split("\n") if line.startswith("id: ")]
        return ids[-1] if ids else ""

    async def until(self, part: str) -> list[Message]:
        async with asyncio.timeout(DEADLINE_S):
            while part not in self.text or not self.text.endswith("\n\n"):
                chunk = await self._response.content.readany()
                assert chunk, f"the stream ended before {part!r}: {self.text}"
                self.text += chunk.decode()
        return self.messages


@asynccontextmanager
async def listening(
    client: Client, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[Browser]:
    async with client.get(f"/api/v1/stream{query}", headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        browser = Browser(response)
        await browser.until("event: counts")
        yield browser


async def test_a_stream_begins_with_the_version_of_the_pages(client: Client, parts: Parts) -> None:
    async with listening(client) as browser:
        first = parse(browser.text)[0]
    assert first == Message("hello", {"version": parts.assets.version}, "")
    assert f"/{parts.assets.version}/" in parts.assets.url("js/app.js")


def chunk(*events: tuple[str, dict[str, Any]]) -> Chunk:
    return Chunk(Event(number, name, data) for number, (name, data) in enumerate(events, 1))


# What one write holds


def test_the_whole_fleet_gets_the_newest_of_each_resource() -> None:
    one = chunk(
        ("values", values("a", ("/3303/0/5700", 1.0, 10), ("/3304/0/5700", 5.0, 10))),
        ("values", values("b", ("/3303/0/5700", 7.0, 11))),
        ("values", values("a", ("/3303/0/5700", 2.0, 20))),
        ("values", values("a", ("/3303/0/5700", 0.5, 5))),  # kept by the device since before
    )
    messages = parse(one.for_endpoints(None).decode())
    assert [message.data["endpoint"] for message in messages] == ["a", "b"]
    assert [(v["path"], v["value"]) for v in messages[0].data["values"]] == [
        ("/3303/0/5700", 2.0),
        ("/3304/0/5700", 5.0),
    ]


def test_a_listener_to_one_device_gets_every_value() -> None:
    one = chunk(
        ("values", values("a", ("/3303/0/5700", 1.0, 10))),
        ("values", values("b", ("/3303/0/5700", 7.0, 11))),
        ("values", values("a", ("/3303/0/5700", 2.0, 20))),
    )
    (message,) = parse(one.for_endpoints(frozenset("a")).decode())
    assert [v["value"] for v in message.data["values"]] == [1.0, 2.0]
    assert message.data["received_ms"] == 20


def operation(endpoint: str, number: int, status: str) -> dict[str, Any]:
    return {"endpoint": endpoint, "id": number, "status": status}


def observation(endpoint: str, state: str, *paths: str) -> dict[str, Any]:
    return {"endpoint": endpoint, "paths": list(paths), "state": state}


ASKED = (
    ("operation", operation("a", 1, "QUEUED")),
    ("operation", operation("a", 2, "QUEUED")),
    ("operation", operation("b", 3, "QUEUED")),
    ("observation", observation("a", "waiting", "/3303/0/5700")),
    ("operation", operation("a", 1, "SENDING")),
    ("observation", observation("a", "active", "/3303/0/5700")),
    ("observation", observation("a", "active", "/3303/0/5700", "/3/0/9")),
    ("operation", operation("a", 1, "CONFIRMED")),
    ("presence", presence("a", "sleeping")),
    ("presence", presence("a", "online")),
)


def test_the_whole_fleet_gets_the_newest_of_each_operation_and_observation() -> None:
    messages = parse(chunk(*ASKED).for_endpoints(None).decode())
    assert [(m.name, m.data) for m in messages] == [ASKED[number] for number in (1, 5, 6, 7, 8, 9, 2)]


def test_a_listener_to_one_device_gets_every_step_of_its_operations() -> None:
    messages = parse(chunk(*ASKED).for_endpoints(frozenset("a")).decode())
    assert [(m.name, m.data) for m in messages] == [one for one in ASKED if one[1]["endpoint"] == "a"]


UPDATED = (
    ("firmware_update", {"endpoint": "a", "id": 1, "bytes": 10}),
    ("firmware_campaign", {"id": 1, "counts": {"WAITING": 2}}),
    ("firmware_update", {"endpoint": "a", "id": 1, "bytes": 20}),
    ("firmware_update", {"endpoint": "b", "id": 2, "bytes": 5}),
    ("firmware", {"id": 1, "version": "1.5.0", "change": "added"}),
    ("firmware_campaign", {"id": 1, "counts": {"WAITING": 1}}),
    ("firmware_campaign", {"id": 2, "counts": {}}),
)


def test_the_whole_fleet_gets_the_newest_of_each_update_and_campaign() -> None:
    messages = parse(chunk(*UPDATED).for_endpoints(None).decode())
    assert [(m.name, m.data) for m in messages] == [UPDATED[number] for number in (2, 4, 5, 6, 3)]


def test_what_is_of_no_device_comes_to_who_listens_to_one() -> None:
    messages = parse(chunk(*UPDATED).for_endpoints(frozenset("b")).decode())
    assert [(m.name, m.data) for m in messages] == [UPDATED[number] for number in (1, 4, 5, 6, 3)]


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("registration", True),
        ("presence", True),
        ("values", False),
        ("operation", False),
        ("observation", False),
        ("firmware_update", False),
        ("firmware_campaign", False),
    ],
)
def test_counts_are_told_again_where_they_may_have_changed(name: str, moved: bool) -> None:
    assert chunk((name, {"endpoint": "a"})).moves_counts is moved


def test_only_what_is_meant_for_browsers_leaves() -> None:
    one = chunk(("secret", {"endpoint": "a", "key": "k"}), ("presence", presence("a")))
    assert [message.name for message in parse(one.for_endpoints(None).decode())] == ["presence"]


def test_text_of_a_device_cannot_forge_an_event() -> None:
    name = "a\n\nevent: reset\ndata: {}\n\n"
    (message,) = parse(chunk(("presence", presence(name))).for_endpoints(None).decode())
    assert message.data["endpoint"] == name


# A listener that does not keep up


async def test_what_waits_for_a_slow_browser_is_bounded() -> None:
    listener = Listener(None, 0)
    block = b"x" * 100_000
    for _ in range(50):
        listener.push(block)
    waiting = await listener.take(DEADLINE_S)
    assert len(waiting) <= stream.MAX_WAITING_BYTES + len(block)
    assert waiting.startswith(RESET)


async def test_a_silent_house_sends_a_heartbeat() -> None:
    assert await Listener(None, 41).take(0) == b": heartbeat\nid: 41\n\n"


def test_listeners_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_CLIENTS", 2)
    hub = Hub(EventBus(), dict)
    listeners = [hub.join(None, None) for _ in range(2)]
    with pytest.raises(UsageError) as caught:
        hub.join(None, None)
    assert caught.value.code == "client_limit"
    hub.leave(listeners[0])
    hub.join(None, None)


def test_nobody_takes_the_stream_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MAX_CLIENTS", 4)
    hub = Hub(EventBus(), dict)
    tablet, *scripts = [hub.join(None, None, who) for who in ("anna", "vera", "vera", "vera")]
    phone = hub.join(None, None, "anna")
    assert [one.closed for one in (tablet, phone, *scripts)] == [False, False, True, False, False]
    for who in ("anna", "vera"):
        with pytest.raises(UsageError) as caught:
            hub.join(None, None, who)
        assert caught.value.code == "client_limit"
    hub.join(None, None, "otto")
    assert sum(one.closed for one in (tablet, phone, *scripts)) == 2


# Over HTTP


async def test_events_arrive_with_their_number(client: Client, bus: EventBus) -> None:
    async with listening(client) as browser:
        bus.publish("values", values("a", ("/3303/0/5700", 21.5, 10)))
        bus.publish("presence", presence("a", "sleeping"))
        await browser.until("id: 2")
        named = {message.name: message for message in browser.messages}
        assert named["values"].data == values("a", ("/3303/0/5700", 21.5, 10))
        assert named["presence"].data == presence("a", "sleeping")
        assert named["counts"].data == {"online": 2, "sleeping": 1, "offline": 1}
        assert browser.last_id == "2"


async def test_a_filter_lets_only_its_devices_through(client: Client, bus: EventBus) -> None:
    async with listening(client, "?endpoint=a%2Fb&endpoint=c") as browser:
        for name in ("b", "a/b", "d", "c"):
            bus.publish("presence", presence(name))
        await browser.until("id: 4")
        names = [m.data["endpoint"] for m in browser.messages if m.name == "presence"]
        assert names == ["a/b", "c"]


async def test_operations_and_observations_reach_who_listens_to_their_device(
    client: Client, bus: EventBus
) -> None:
    async with listening(client, "?endpoint=a") as browser, listening(client) as other:
        for name, data in ASKED:
            bus.publish(name, data)
        for one in (browser, other):
            await one.until("id: 10")
        told = [m.name for m in browser.messages if m.data.get("endpoint") == "a"]
        assert told == [name for name, data in ASKED if data["endpoint"] == "a"]
        assert not any(m.data.get("endpoint") == "b" for m in browser.messages)
        assert any(m.data.get("endpoint") == "b" for m in other.messages)


async def test_counts_reach_a_filtered_listener(client: Client, bus: EventBus) -> None:
    async with listening(client, "?endpoint=a") as browser:
        bus.publish("presence", presence("other"))
        messages = await browser.until("id: 1")
        assert [message.name for message in messages] == ["counts", "counts"]


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_browser_that_comes_back_misses_nothing(client: Client, bus: EventBus, way: str) -> None:
    for number in range(1, 6):
        bus.publish("values", values("a", ("/3303/0/5700", number, number)))
    query, headers = (
        ("?endpoint=a&after=3", None) if way == "query" else ("?endpoint=a", {"Last-Event-ID": "3"})
    )
    async with listening(client, query, headers) as browser:
        await browser.until("id: 5")
        (message,) = [m for m in browser.messages if m.name == "values"]
        assert [v["value"] for v in message.data["values"]] == [4, 5]


async def test_the_header_goes_before_the_query(client: Client, bus: EventBus) -> None:
    for number in range(1, 4):
        bus.publish("presence", presence(f"n{number}"))
    async with listening(client, "?after=0", {"Last-Event-ID": "2"}) as browser:
        await browser.until("id: 3")
        assert [m.data["endpoint"] for m in browser.messages if m.name == "presence"] == ["n3"]


@pytest.mark.parametrize("after", [1, 5000])
async def test_a_gap_is_told_by_a_reset(client: Client, bus: EventBus, after: int) -> None:
    """1: too long ago for what is kept; 5000: a number of an earlier run of the daemon."""
    for number in range(2000):
        bus.publish("presence", presence(f"n{number}"))
    async with listening(client, f"?after={after}") as browser:
        await browser.until("id: 2000")
        assert [message.name for message in browser.messages] == ["reset", "counts"]


async def test_one_who_is_up_to_date_is_told_nothing_twice(client: Client, bus: EventBus) -> None:
    bus.publish("presence", presence("a"))
    async with listening(client, "?after=1") as browser:
        bus.publish("presence", presence("b"))
        await browser.until("id: 2")
        assert [m.data["endpoint"] for m in browser.messages if m.name == "presence"] == ["b"]


async def test_each_event_arrives_once_although_it_was_under_way(client: Client, bus: EventBus) -> None:
    """Events that wait in the hub when a listener joins are given by its replay, and not again."""
    async with listening(client) as first:
        bus.publish("presence", presence("a"))
        await first.until("id: 1")
        # The hub rests after a write: these two wait there while the second browser joins.
        bus.publish("presence", presence("b"))
        async with listening(client, "?after=1") as second:
            bus.publish("presence", presence("c"))
            await second.until("id: 3")
            assert [m.data["endpoint"] for m in second.messages if m.name == "presence"] == ["b", "c"]


async def test_events_lost_between_bus_and_hub_are_told_by_a_reset(client: Client, bus: EventBus) -> None:
    async with listening(client) as browser:
        for number in range(5000):  # more than the hub's subscription holds, in one go of the loop
            bus.publish("values", values(f"n{number % 7}", ("/1/0/0", number, number)))
        await browser.until("id: 5000")
        messages = [m for m in browser.messages if m.name != "counts"]
        assert messages[0].name == "reset"
        newest = {m.data["endpoint"]: m.data["values"][-1]["value"] for m in messages[1:]}
        assert max(newest.values()) == 4999
        assert len(messages) == 1 + 7


async def test_listeners_of_a_closing_server_are_let_go(client: Client, bus: EventBus) -> None:
    async with client.get("/api/v1/stream") as response:
        browser = Browser(response)
        await browser.until("event: counts")
        await client.server.close()
        async with asyncio.timeout(DEADLINE_S):
            assert b"event: presence" not in await response.content.read()
