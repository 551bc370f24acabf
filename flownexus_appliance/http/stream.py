"""The live stream: what happens in the house, as server-sent events (HTML Living Standard 9.2).

One hub reads the event bus for all browsers and writes at most every `WRITE_INTERVAL_S`: what happened
in between is grouped by device and encoded once, whoever listens. A listener to a few devices gets
everything; a listener to the whole fleet of each resource, operation, observation, firmware update and
campaign only the newest. What is no device's, everybody gets.

Messages: those of `MESSAGES` as on the bus, `counts` (devices by presence) beside them, `hello` first of all
with the version of the pages' files, and `reset` where something was lost: the page then reads anew what it
shows. Nothing waits for a slow browser: what it does not fetch in time is dropped, and it is told so by
`reset`.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import web

from ..errors import UsageError
from ..events import Event, EventBus
from ..lwm2m.plain import PlainValue
from .outbox import Outbox

WRITE_INTERVAL_S: Final = 0.1
HEARTBEAT_S: Final = 15.0
WRITE_TIMEOUT_S: Final = 30.0
RECONNECT_MS: Final = 2000
MAX_CLIENTS: Final = 100
MAX_WAITING_BYTES: Final = 512 * 1024
# Up to so many devices a listener gets every value, beyond only the newest of each resource.
DETAIL_ENDPOINTS: Final = 4


@dataclass(frozen=True, slots=True)
class RegistrationMessage:
    """A device registered, updated, deregistered, or its registration ended otherwise: see `change`."""

    endpoint: str
    change: str
    registration_id: str
    address: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class PresenceMessage:
    """A device is online, sleeping or offline from now on."""

    endpoint: str
    presence: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class ValueMessage:
    """A value, at the device's own time where it told one."""

    path: str
    value: PlainValue
    data_type: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class ValuesMessage:
    """What a device has told; it is on disk."""

    endpoint: str
    received_ms: int
    values: list[ValueMessage]


@dataclass(frozen=True, slots=True)
class OperationMessage:
    """An operation was asked for, or has come on; GET operations/{id} has the rest."""

    endpoint: str
    id: int
    operation: str
    paths: list[str]
    status: str
    attempts: int
    code: str
    message: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class ObservationMessage:
    """An observation is active, waiting, refused or off from now on."""

    endpoint: str
    paths: list[str]
    state: str


@dataclass(frozen=True, slots=True)
class FirmwareUpdateMessage:
    """A firmware update has come to another state, or more `bytes` of the package of `size` have got there:
    that at most once a second. `campaign` is 0 where it belongs to none, `delivery` "" where there is none
    yet. GET updates/{id} has the rest."""

    endpoint: str
    id: int
    campaign: int
    firmware: int
    version: str
    instance: str
    state: str
    delivery: str
    bytes: int
    size: int
    attempts: int
    result: int | None
    reason: str
    detail: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class FirmwareCampaignMessage:
    """A campaign has come to another state, or its updates have: `counts` has how many are in each state."""

    id: int
    name: str
    firmware: int
    state: str
    reason: str
    counts: dict[str, int]
    time_ms: int


@dataclass(frozen=True, slots=True)
class FirmwareMessage:
    """A firmware package was added, changed or removed: see `change`."""

    id: int
    version: str
    change: str


@dataclass(frozen=True, slots=True)
class HelloMessage:
    """The first message of a stream: the version of the files that pages of this box are made with."""

    version: str


# What browsers may see, and what is in it. Other events of the bus stay in the house until somebody lists
# them here.
MESSAGES: Final[Mapping[str, type]] = {
    "registration": RegistrationMessage,
    "presence": PresenceMessage,
    "values": ValuesMessage,
    "operation": OperationMessage,
    "observation": ObservationMessage,
    "firmware_update": FirmwareUpdateMessage,
    "firmware_campaign": FirmwareCampaignMessage,
    "firmware": FirmwareMessage,
}
# What stands for the device in events that are of none. No device is called so.
_NOBODY: Final = ""
# Those after which there may be other counts.
_COUNTED: Final = frozenset({"registration", "presence"})

RESET: Final = b"event: reset\ndata: {}\n\n"


def encode_message(name: str, data: Mapping[str, Any]) -> bytes:
    """One server-sent event; JSON has no line breaks, so the data is one line."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


def encode_number(number: int) -> bytes:
    """A block that only sets the browser's Last-Event-ID: at the end, when all before it has arrived."""
    return b"id: %d\n\n" % number


class Chunk:
    """The events of one write, grouped by device, encoded when first asked for."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events: dict[str, list[Event]] = {}
        self._encoded: dict[tuple[str, bool], bytes] = {}
        self._whole: bytes | None = None
        self.moves_counts = False
        for event in events:
            if event.name in MESSAGES:
                self._events.setdefault(event.data.get("endpoint", _NOBODY), []).append(event)
                self.moves_counts |= event.name in _COUNTED

    def for_endpoints(self, endpoints: frozenset[str] | None) -> bytes:
        """What a listener to these devices gets; None is the whole fleet."""
        if endpoints is None:
            if self._whole is None:
                self._whole = b"".join(self._encode(name, detail=False) for name in self._events)
            return self._whole
        detail = len(endpoints) <= DETAIL_ENDPOINTS
        wanted = endpoints | {_NOBODY}
        return b"".join(self._encode(name, detail) for name in self._events if name in wanted)

    def _encode(self, endpoint: str, detail: bool) -> bytes:
        key = (endpoint, detail)
        if key not in self._encoded:
            events = self._events[endpoint]
            others = [e for e in events if e.name != "values"]
            told = [encode_message(e.name, e.data) for e in (others if detail else _newest(others))]
            values = _merge([e.data for e in events if e.name == "values"], detail)
            self._encoded[key] = b"".join([*told, *(encode_message("values", v) for v in values)])
        return self._encoded[key]


def _merge(reports: Sequence[dict[str, Any]], detail: bool) -> Sequence[dict[str, Any]]:
    """The `values` events of one device as one; without `detail`, with the newest value of each path."""
    if not reports or (len(reports) == 1 and detail):
        return reports
    values = [value for report in reports for value in report["values"]]
    if not detail:
        newest: dict[str, dict[str, Any]] = {}
        for value in values:
            known = newest.get(value["path"])
            if known is None or value["time_ms"] >= known["time_ms"]:
                newest[value["path"]] = value
        values = list(newest.values())
    return [{**reports[-1], "values": values}]


def _newest(events: Iterable[Event]) -> Iterable[Event]:
    """Of what goes on for a while the newest event alone, and all others, in order."""
    newest: dict[Hashable, Event] = {}
    for event in events:
        key = _subject(event)
        newest.pop(key, None)
        newest[key] = event
    return newest.values()


def _subject(event: Event) -> Hashable:
    match event.name:
        case "operation" | "firmware_update" | "firmware_campaign":
            return event.name, event.data["id"]
        case "observation":
            return event.name, *event.data["paths"]
    return event.number


@dataclass(eq=False, slots=True)
class Listener(Outbox):
    """One browser: what it wants, where it stands."""

    endpoints: frozenset[str] | None
    position: int
    who: str = ""

    def push(self, data: bytes) -> None:
        """Leave data to be written; when too much waits already, all of it gives way to a reset."""
        if self.overflows(data, MAX_WAITING_BYTES):
            self.drop()
            self.put(RESET)
        self.put(data)

    async def take(self, timeout_s: float) -> bytes:
        """All that waits; after `timeout_s` without anything, a heartbeat."""
        data = await Outbox.take(self, timeout_s)
        return data or b": heartbeat\n" + encode_number(self.position)


class Hub:
    """Hands on what the bus tells to every listener."""

    def __init__(self, bus: EventBus, counts: Callable[[], Mapping[str, int]]) -> None:
        self._bus = bus
        self._counts = counts
        self._listeners: dict[Listener, None] = {}  # in the order of their coming
        self._task: asyncio.Task[None] | None = None
        self.closing = False

    async def start(self) -> None:
        self._task = asyncio.create_task(self._pump(), name="http-stream")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def close_all(self) -> None:
        """Let every listener's request end."""
        self.closing = True
        for listener in self._listeners:
            listener.close()

    @property
    def last_number(self) -> int:
        """The number of the newest event: a page says up to where it is right."""
        return self._bus.last_number

    def join(self, endpoints: frozenset[str] | None, after: int | None, who: str = "") -> Listener:
        """A new listener; with `after`, what is kept of the later events comes first.

        Where there are too many, the oldest of the person with the most gives way, so that nobody takes the
        stream from the others. Raises UsageError("client_limit"): that person is `who` asks.
        """
        if len(self._listeners) >= MAX_CLIENTS:
            self._make_room(who)
        kept = list(self._bus)
        last = self._bus.last_number
        listener = Listener(endpoints, last, who)
        if after is not None and after != last:
            first = kept[0].number if kept else last + 1
            if after > last or after < first - 1:
                listener.push(RESET)
            else:
                listener.push(Chunk(e for e in kept if e.number > after).for_endpoints(endpoints))
        listener.push(encode_message("counts", self._counts()) + encode_number(last))
        self._listeners[listener] = None
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    def _make_room(self, who: str) -> None:
        counts = Counter(listener.who for listener in self._listeners)
        most = max(counts, key=counts.__getitem__)
        if counts[most] <= counts[who] + 1:
            raise UsageError(
                "client_limit",
                f"{MAX_CLIENTS} browsers are listening already",
                "close pages that nobody looks at",
            )
        oldest = next(listener for listener in self._listeners if listener.who == most)
        oldest.close()
        self.leave(oldest)

    async def _pump(self) -> None:
        subscription = self._bus.subscribe()
        lost = 0
        try:
            while True:
                events = await subscription.next_batch(HEARTBEAT_S)
                if subscription.lost != lost:
                    lost = subscription.lost
                    for listener in self._listeners:
                        listener.push(RESET)
                if events and self._listeners:
                    self._hand_out(events)
                await asyncio.sleep(WRITE_INTERVAL_S)
        finally:
            self._bus.unsubscribe(subscription)

    def _hand_out(self, events: Sequence[Event]) -> None:
        shared = Chunk(events)
        counts = encode_message("counts", self._counts()) if shared.moves_counts else b""
        number = encode_number(events[-1].number)
        for listener in self._listeners:
            if listener.position >= events[-1].number:
                continue
            chunk = shared
            if listener.position >= events[0].number:  # joined while these waited here
                chunk = Chunk(e for e in events if e.number > listener.position)
            listener.position = events[-1].number
            data = chunk.for_endpoints(listener.endpoints) + counts
            if data:
                listener.push(data + number)


async def serve_stream(
    request: web.Request, hub: Hub, listener: Listener, allowed: Callable[[], bool], version: str
) -> web.StreamResponse:
    """Answer a request with the stream until either side ends it, or it is not `allowed` any more.

    `listener` has joined the hub, and leaves it here. `version` is that of the pages' files: a page of
    another one wants to be loaded anew.
    """
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    try:
        await response.prepare(request)
        hello = encode_message("hello", {"version": version})
        await _write(response, b"retry: %d\n\n" % RECONNECT_MS + hello)
        while not listener.closed:
            data = await listener.take(HEARTBEAT_S)
            if not allowed():
                break
            await _write(response, data)
    except (ConnectionError, TimeoutError):
        pass  # the browser went away, or does not read any more: it comes back by itself
    finally:
        hub.leave(listener)
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(data)
