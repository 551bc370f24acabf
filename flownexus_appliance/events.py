"""What happens in the box, told to whoever listens: the live stream, later rules and webhooks.

Owns numbering, a bounded replay ring and bounded subscriptions. It never blocks the teller: a
subscriber that does not keep up loses its oldest events and is told how many (`Subscription.lost`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

REPLAY_EVENTS: Final = 1024
QUEUE_EVENTS: Final = 4096


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `data` is ready for JSON; times in it are ms since 1970 UTC.

    `subject` is for listeners in the house that need more than the world is told, None where there is none:
    of `registration` the `lwm2m.effects.Announce`, of `values` the `Report`, of `operation` the
    `db.operations.EndpointOperation`.
    """

    number: int
    name: str
    data: dict[str, Any]
    subject: object = None


class Subscription:
    """A bounded queue of events for one listener, which takes them by `next_batch`."""

    def __init__(self, backlog: list[Event], limit: int) -> None:
        self._queue: deque[Event] = deque(backlog, maxlen=limit)
        self._ready = asyncio.Event()
        self.lost = 0
        if backlog:
            self._ready.set()

    def push(self, event: Event) -> None:
        if len(self._queue) == self._queue.maxlen:
            self.lost += 1
        self._queue.append(event)
        self._ready.set()

    async def next_batch(self, timeout_s: float) -> list[Event]:
        """All waiting events, at least one; an empty list when `timeout_s` passes without any."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return []
        self._ready.clear()
        batch = list(self._queue)
        self._queue.clear()
        return batch


@dataclass(slots=True)
class EventBus:
    """Numbers events and hands them on; the numbers rise by one and start anew with the daemon."""

    first_number: int = 1
    _replay: deque[Event] = field(default_factory=lambda: deque(maxlen=REPLAY_EVENTS))
    _subscriptions: set[Subscription] = field(default_factory=set)
    _listeners: list[Callable[[Event], None]] = field(default_factory=list)
    _next: int = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.first_number

    @property
    def last_number(self) -> int:
        """The number of the newest event, one below the first while there is none."""
        return self._next - 1

    def publish(self, name: str, data: dict[str, Any], subject: object = None) -> Event:
        event = Event(self._next, name, data, subject)
        self._next += 1
        self._replay.append(event)
        for subscription in self._subscriptions:
            subscription.push(event)
        for listener in self._listeners:
            listener(event)
        return event

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event, in place; it must be quick and must not raise."""
        self._listeners.append(listener)

    def subscribe(self, after: int | None = None) -> Subscription:
        """Begin to listen; with `after`, the kept events with a higher number come first."""
        backlog = [e for e in self._replay if after is not None and e.number > after]
        subscription = Subscription(backlog, QUEUE_EVENTS)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def __iter__(self) -> Iterator[Event]:
        """The kept events, oldest first."""
        return iter(list(self._replay))
