"""The life of a registration: its table, and what it says of itself."""

from itertools import product

from flownexus_appliance.lwm2m.registration import (
    GRACE_S,
    REGISTRATION_TRANSITIONS,
    RegisteredObject,
    Registration,
    RegistrationEvent,
    RegistrationState,
)

UNREGISTERED, REGISTERED = RegistrationState.UNREGISTERED, RegistrationState.REGISTERED


def test_the_table_has_every_pair_that_may_happen() -> None:
    may_happen = {
        (state, event)
        for state, event in product(RegistrationState, RegistrationEvent)
        if state is REGISTERED or event is RegistrationEvent.REGISTER
    }
    assert set(REGISTRATION_TRANSITIONS) == may_happen


def test_what_ends_a_registration() -> None:
    ending = {event for (_, event), after in REGISTRATION_TRANSITIONS.items() if after is UNREGISTERED}
    assert ending == {RegistrationEvent.DEREGISTER, RegistrationEvent.EXPIRE, RegistrationEvent.REVOKE}


def test_the_grace_covers_an_exchange_lifetime() -> None:
    # RFC 7252 4.8.2 with its default parameters.
    ack_timeout_s, max_retransmit, factor, latency_s = 2, 4, 1.5, 100
    max_transmit_span_s = ack_timeout_s * (2**max_retransmit - 1) * factor
    assert max_transmit_span_s + 2 * latency_s + ack_timeout_s == GRACE_S


def test_instances_and_expiry_by_the_wall_clock() -> None:
    registration = Registration(
        id="abc",
        endpoint="a",
        address="127.0.0.1:5683",
        lwm2m_version="1.1",
        lifetime_s=60,
        binding="U",
        queue_mode=False,
        root_path="/",
        objects={3: RegisteredObject("1.1", (0,)), 3303: RegisteredObject("", (0, 2))},
        content_formats=(),
        message_id=1,
        token=b"t",
        registered_ms=1_000,
        updated_ms=5_000,
        expires_at=0.0,
    )
    assert registration.instances == {3: (0,), 3303: (0, 2)}
    assert registration.expires_ms == 65_000
