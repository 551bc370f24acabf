"""Leshan's event streams: `/event`, to all of a side's events or (`?ep=`) to those of one endpoint.

They have no numbers and no replay. Who does not read is cut off, and so is everybody where the house itself
was too fast: a stream that ends is opened anew by who listens, one with a gap in it is believed. The CoAP
messages of an endpoint are told from when somebody asks for it by name, while it is registered, until
nobody listens to it any more.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ...access.roles import Role
from ...events import Event, Subscription
from ...fleet.ports import Traced
from ..outbox import Outbox
from ..ports import Parts
from ..routes import Place, page
from .answers import Refused, plain_errors
from .messages import BOOTSTRAP_SESSION, Message, coap_log, messages_of
from .sides import Side

HEARTBEAT_S: Final = 10.0
HEARTBEAT: Final = b"\r\n"
WRITE_TIMEOUT_S: Final = 30.0
MAX_LISTENERS: Final = 100
MAX_WAITING_BYTES: Final = 512 * 1024
MEDIA_TYPE: Final = "text/event-stream"
log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Listener(Outbox):
    """Somebody who listens, and to what."""

    side: Side = Side.BOTH
    endpoint: str | None = None
    floats_as_text: bool = False

    def wants(self, message: Message) -> bool:
        if self.endpoint not in (None, message.endpoint):
            return False
        of_bootstrap = message.name == BOOTSTRAP_SESSION
        return self.side is Side.BOTH or of_bootstrap == (self.side is Side.BOOTSTRAP)

    def push(self, data: bytes) -> None:
        """Leave data to be written; where too much waits already, there is no more."""
        if self.overflows(data, MAX_WAITING_BYTES):
            self.close()
        if not self.closed:
            self.put(data)

    def close(self) -> None:
        self.drop()
        Outbox.close(self)

    async def take(self, timeout_s: float) -> bytes:
        """All that waits; after `timeout_s` without anything, a heartbeat."""
        return await Outbox.take(self, timeout_s) or HEARTBEAT


class Events:
    """Hands on what the bus and the wire tell. It listens itself only while somebody listens to it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._listeners: set[Listener] = set()
        self._followed: set[str] = set()
        self._subscription: Subscription | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def join(self, listener: Listener) -> None:
        """Begin to tell a listener; raises Refused where there are too many."""
        if len(self._listeners) >= MAX_LISTENERS:
            raise Refused(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MAX_LISTENERS} listen already: close streams that nobody reads",
            )
        if self._subscription is None:
            self._subscription = self._parts.bus.subscribe()
            task = asyncio.create_task(self._pump(self._subscription), name="leshan-events")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._listeners.add(listener)
        wanted = listener.endpoint
        if wanted is not None and self._parts.fleet.registration(wanted) is not None:
            self._followed.add(wanted)
            self._trace()

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        left = {one.endpoint for one in self._listeners}
        if None not in left:  # who listens to all hears of CoAP messages too
            self._followed &= {endpoint for endpoint in left if endpoint is not None}
        self._trace()
        if not self._listeners and self._subscription is not None:
            self._parts.bus.unsubscribe(self._subscription)
            self._subscription = None
            for task in self._tasks:
                task.cancel()

    def close_all(self) -> None:
        """Let every listener's request end."""
        for listener in self._listeners:
            listener.close()

    async def stop(self) -> None:
        for listener in tuple(self._listeners):
            self.leave(listener)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self, subscription: Subscription) -> None:
        lost = 0
        while True:
            events = await subscription.next_batch(HEARTBEAT_S)
            if subscription.lost != lost:
                lost = subscription.lost
                log.warning("events lost", extra={"COUNT": lost})
                self.close_all()
            for event in events:
                try:
                    self._hand_out(event)
                except Exception:
                    # A defect met one event; the next one is told.
                    log.exception("event not told", extra={"EVENT": event.name})

    def _hand_out(self, event: Event) -> None:
        for as_text in {listener.floats_as_text for listener in self._listeners}:
            listeners = [one for one in self._listeners if one.floats_as_text is as_text]
            for message in messages_of(event, self._parts.fleet, floats_as_text=as_text):
                _push(message, listeners)

    def _trace(self) -> None:
        tracer = self._parts.tracer
        if tracer is not None:
            tracer.trace = self._traced if self._followed else None

    def _traced(self, traced: Traced) -> None:
        for endpoint in self._followed:
            registration = self._parts.fleet.registration(endpoint)
            if registration is not None and registration.peer == traced.peer:
                _push(coap_log(traced, endpoint, self._parts.now_ms()), self._listeners)


EVENTS: Final = web.AppKey("leshan_events", Events)


def routes(base: str, side: Side) -> list[Place]:
    """The routes below `base`, such as /leshan/api."""

    async def listen(request: web.Request) -> web.StreamResponse:
        return await serve(request, side)

    # It would never end, and may tell what is said to devices word by word.
    return [page(f"{base}/event", plain_errors(listen), Role.OPERATOR, head=False)]


async def serve(request: web.Request, side: Side) -> web.StreamResponse:
    """GET event?ep=&float=string, until either side ends it.

    As with Leshan, no other Accept will do, and a bare `?kitchen` is no endpoint's name.
    """
    if MEDIA_TYPE not in request.headers.getall("Accept", ()):
        raise Refused(
            HTTPStatus.METHOD_NOT_ALLOWED, f"this is a stream: ask for it with Accept: {MEDIA_TYPE}"
        )
    as_text = request.query.get("float", "").lower() == "string"
    listener = Listener(side, request.query.get("ep"), as_text)
    events = request.app[EVENTS]
    events.join(listener)
    response = web.StreamResponse(headers={"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"})
    response.force_close()
    try:
        await response.prepare(request)
        data = HEARTBEAT  # the headers go out with the first that is written
        while not listener.closed:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await response.write(data)
            data = await listener.take(HEARTBEAT_S)
    except (ConnectionError, TimeoutError):
        pass  # gone, or not reading any more
    finally:
        events.leave(listener)
    return response


def _push(message: Message, listeners: Iterable[Listener]) -> None:
    """To those who want it, encoded once."""
    data = b""
    for listener in listeners:
        if listener.wants(message):
            data = data or message.encode()
            listener.push(data)
