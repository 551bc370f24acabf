"""Online, sleeping, offline: the table, and that it means what its words say."""

from itertools import product

import pytest

from flownexus_appliance.lwm2m.presence import (
    AWAKE_WINDOW_S,
    PRESENCE_TRANSITIONS,
    Presence,
    PresenceEvent,
)

REGISTERED = (Presence.ONLINE, Presence.SLEEPING)


def test_the_table_is_total() -> None:
    assert set(PRESENCE_TRANSITIONS) == set(product(Presence, PresenceEvent))


@pytest.mark.parametrize("before", Presence)
def test_who_is_heard_is_online_and_who_is_gone_is_offline(before: Presence) -> None:
    assert PRESENCE_TRANSITIONS[before, PresenceEvent.HEARD] is Presence.ONLINE
    assert PRESENCE_TRANSITIONS[before, PresenceEvent.GONE] is Presence.OFFLINE


@pytest.mark.parametrize("event", [event for event in PresenceEvent if event is not PresenceEvent.HEARD])
def test_nobody_comes_back_without_being_heard(event: PresenceEvent) -> None:
    assert PRESENCE_TRANSITIONS[Presence.OFFLINE, event] is Presence.OFFLINE
    assert PRESENCE_TRANSITIONS[Presence.SLEEPING, event] is not Presence.ONLINE


@pytest.mark.parametrize("before", REGISTERED)
def test_silence_of_a_queue_mode_client_is_sleep(before: Presence) -> None:
    assert PRESENCE_TRANSITIONS[before, PresenceEvent.WINDOW_OVER] is Presence.SLEEPING
    assert PRESENCE_TRANSITIONS[before, PresenceEvent.UNANSWERED_QUEUED] is Presence.SLEEPING
    assert PRESENCE_TRANSITIONS[before, PresenceEvent.UNANSWERED] is Presence.OFFLINE


def test_the_awake_window_is_max_transmit_wait() -> None:
    # RFC 7252 4.8.2: ACK_TIMEOUT * ((2 ** (MAX_RETRANSMIT + 1)) - 1) * ACK_RANDOM_FACTOR
    assert pytest.approx(2 * (2**5 - 1) * 1.5) == AWAKE_WINDOW_S
