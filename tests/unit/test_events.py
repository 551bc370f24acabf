"""The bus: numbers without gaps, a bounded past, and listeners that never hold up the teller."""

import asyncio

from flownexus_appliance import events
from flownexus_appliance.events import REPLAY_EVENTS, Event, EventBus, Subscription


def numbers(batch: list[Event]) -> list[int]:
    return [event.number for event in batch]


def test_events_are_numbered_by_one() -> None:
    bus = EventBus()
    first, second = bus.publish("values", {"a": 1}), bus.publish("presence", {})
    assert (first, second.number) == (Event(1, "values", {"a": 1}), 2)
    assert list(bus) == [first, second]
    assert EventBus(first_number=100).publish("x", {}).number == 100


def test_the_past_is_bounded() -> None:
    bus = EventBus()
    for _ in range(REPLAY_EVENTS + 10):
        bus.publish("x", {})
    assert numbers(list(bus)) == list(range(11, REPLAY_EVENTS + 11))


async def test_a_subscriber_hears_what_is_told_from_now_on() -> None:
    bus = EventBus()
    bus.publish("x", {})
    subscription = bus.subscribe()
    assert await subscription.next_batch(0.001) == []
    bus.publish("x", {})
    bus.publish("x", {})
    assert numbers(await subscription.next_batch(10)) == [2, 3]
    assert await subscription.next_batch(0.001) == []


async def test_a_subscriber_that_comes_back_is_told_what_it_missed() -> None:
    bus = EventBus()
    for _ in range(5):
        bus.publish("x", {})
    subscription = bus.subscribe(after=3)
    bus.publish("x", {})
    assert numbers(await subscription.next_batch(10)) == [4, 5, 6]
    assert numbers(await bus.subscribe(after=0).next_batch(10)) == [1, 2, 3, 4, 5, 6]
    assert await bus.subscribe(after=6).next_batch(0.001) == []


async def test_a_waiting_subscriber_is_woken() -> None:
    bus = EventBus()
    subscription = bus.subscribe()
    for number in (1, 2, 3):
        waiting = asyncio.create_task(subscription.next_batch(10))
        await asyncio.sleep(0)
        assert not waiting.done()
        bus.publish("x", {})
        assert numbers(await waiting) == [number]


async def test_every_subscriber_hears_everything_until_it_leaves() -> None:
    bus = EventBus()
    stays, leaves = bus.subscribe(), bus.subscribe()
    bus.publish("x", {})
    bus.unsubscribe(leaves)
    bus.unsubscribe(leaves)
    bus.publish("x", {})
    assert numbers(await stays.next_batch(10)) == [1, 2]
    assert numbers(await leaves.next_batch(10)) == [1]


async def test_a_subscriber_that_does_not_keep_up_loses_the_oldest_and_is_told() -> None:
    subscription = Subscription([], limit=3)
    for number in range(1, 6):
        subscription.push(Event(number, "x", {}))
    assert subscription.lost == 2
    assert numbers(await subscription.next_batch(10)) == [3, 4, 5]
    subscription.push(Event(6, "x", {}))
    assert subscription.lost == 2
    assert numbers(await subscription.next_batch(10)) == [6]


def test_the_queue_of_a_subscriber_holds_all_of_the_past() -> None:
    assert events.QUEUE_EVENTS >= REPLAY_EVENTS


def test_listeners_hear_in_place() -> None:
    bus = EventBus()
    heard: list[Event] = []
    bus.listen(heard.append)
    told = bus.publish("x", {"a": 1})
    assert heard == [told]
