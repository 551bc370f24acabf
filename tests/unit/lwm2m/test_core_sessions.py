"""The core and DTLS sessions: who is reached by which, whom it follows, whom it puts out."""

from dataclasses import replace

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.lwm2m.core import Core, Origin
from flownexus_appliance.lwm2m.effects import (
    Announce,
    Change,
    PersistRegistration,
    PresenceChanged,
    RemoveObservation,
    RemoveRegistration,
)
from flownexus_appliance.lwm2m.presence import Presence
from flownexus_appliance.lwm2m.registration import Registration

from .test_core import ELSEWHERE, HOME, UNCHANGED, at, known, observation, registration, request

# Sessions and credentials


def register_by(core: Core, session: str, message_id: int = 1, endpoint: str = "a") -> Registration:
    origin = Origin(HOME, message_id, b"token", session)
    return registration(core.register(request(endpoint=endpoint), origin, at(0), message_id.to_bytes(6)))


def test_a_session_is_the_way_to_a_device_whatever_its_address() -> None:
    core = Core()
    kept = register_by(core, "dtls-01")
    assert (kept.session, kept.address, kept.peer) == ("dtls-01", HOME, "dtls-01")
    assert core.device_at("dtls-01") is known(core)
    assert core.device_at(HOME) is None
    moved = registration(core.update(kept.id, UNCHANGED, ELSEWHERE, at(1), "dtls-01"))
    assert (moved.peer, moved.address) == ("dtls-01", ELSEWHERE)


def test_two_sessions_from_one_address_do_not_displace_each_other() -> None:
    core = Core()
    register_by(core, "dtls-01", 1)
    register_by(core, "dtls-02", 2, endpoint="b")
    assert core.device_at("dtls-01") is known(core, "a")
    assert core.device_at("dtls-02") is known(core, "b")


def test_a_register_by_another_session_is_no_retransmission() -> None:
    core = Core()
    first = register_by(core, "dtls-01")
    assert register_by(core, "dtls-01").id == first.id
    origin = Origin(HOME, 1, b"token", "dtls-02")
    assert registration(core.register(request(), origin, at(0), bytes(6))).id != first.id


def test_a_device_is_followed_to_another_session() -> None:
    core = Core()
    kept = register_by(core, "dtls-01")
    core.observe(observation())
    effects = core.follow(known(core), ELSEWHERE, "dtls-02")
    assert effects == (PersistRegistration(replace(kept, address=ELSEWHERE, session="dtls-02")),)
    assert core.device_at("dtls-02") is known(core)
    assert core.device_at("dtls-01") is None
    assert core.registered(kept.id) is known(core)
    assert core.observed_by(b"T") is not None
    assert core.follow(known(core), HOME, "dtls-02") == (), "an address alone is no move"


def test_nobody_follows_a_device_without_a_registration() -> None:
    core = Core()
    kept = register_by(core, "dtls-01")
    core.deregister(kept.id, at(1))
    assert core.follow(known(core), HOME, "dtls-02") == ()
    assert core.device_at("dtls-02") is None


def test_a_revoked_registration_is_gone_with_all_it_had() -> None:
    core = Core()
    kept = register_by(core, "dtls-01")
    core.observe(observation())
    assert core.revoke("a") == (
        RemoveRegistration(kept),
        RemoveObservation(b"T"),
        Announce(Change.REVOKED, kept),
        PresenceChanged("a", Presence.OFFLINE),
    )
    assert core.device_at("dtls-01") is None
    with pytest.raises(PeerError, match="registration_unknown"):
        core.registered(kept.id)
    assert known(core).heard_ms, "it is remembered"


def test_there_is_nothing_to_revoke() -> None:
    core = Core()
    core.know("a")
    assert core.revoke("a") == ()
    assert core.revoke("nobody") == ()
    assert len(core) == 1


def test_who_is_expected_is_known_until_that_is_over() -> None:
    core = Core()
    core.know("a")
    core.know("a")
    assert [(d.endpoint, d.presence, d.heard_ms) for d in core] == [("a", Presence.OFFLINE, 0)]
    core.forget("a")
    core.forget("a")
    assert len(core) == 0


def test_who_was_heard_is_not_forgotten() -> None:
    core = Core()
    kept = register_by(core, "dtls-01")
    core.know("a")
    core.forget("a")
    assert known(core).registration == kept
    core.deregister(kept.id, at(1))
    core.forget("a")
    assert known(core).heard_ms


def test_sessions_come_back_after_a_restart() -> None:
    core = Core()
    kept = register_by(core, "dtls-01")
    again = Core()
    again.restore([kept], [], {"a": 1, "expected": 0})
    assert again.device_at("dtls-01") is known(again)
    assert known(again, "expected").presence is Presence.OFFLINE
