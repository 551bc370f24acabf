"""DTLS between a device and a server: handshakes, Connection IDs, resumption, lost and parked sessions."""

from dataclasses import replace

import pytest

from flownexus_appliance.coap.dtls.engine import CLOSE_NOTIFY, INVALID_MAC, Kind, Session, failure
from flownexus_appliance.sim.channel import HANDSHAKE_S, TURNS, DtlsOptions, Link, Sessions, Turn
from flownexus_appliance.sim.credentials import PskPattern
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Code, Message, Type, encode_message
from flownexus_appliance.sim.options import Reporting, SimOptions

from .peer import LOCATION
from .secure_peer import ALERT, DATA, KEY, PSK, SECURE, WITH_CID, SecurePeer, Server, certified, fingerprint

# A day between samples, where only what a test does shall happen.
CALM = replace(SECURE, sample_period_s=86_400.0)


def secure(options: SimOptions = CALM, **extra: object) -> SecurePeer:
    """A device that has registered over DTLS."""
    peer = SecurePeer(options, **extra)  # type: ignore[arg-type]
    peer.boot()
    return peer


def paths(messages: list[Message]) -> list[tuple[str, ...]]:
    return [m.path for m in messages if m.is_request]


def test_a_device_registers_by_its_psk_and_nothing_goes_in_the_clear() -> None:
    peer = SecurePeer()
    peer.boot()
    assert (peer.server.handshakes, peer.statistics.handshakes) == (1, 1)
    assert peer.server.ring.remove(Kind.PSK, b"sim-0001")
    assert not any(b"lwm2m=" in data for data in peer.wire)
    assert peer.wire[-1][0] == WITH_CID  # the Register
    assert peer.get("/3/0/2").payload
    assert peer.statistics.records_unopened == 0


def test_a_device_registers_by_its_certificate() -> None:
    peer = certified(CALM)
    peer.boot()
    assert peer.statistics.handshakes == 1
    assert peer.get("/3/0").payload


def test_a_server_of_another_ca_is_not_spoken_to() -> None:
    peer = certified(CALM, trusted="another root")
    peer.device.start(peer.now)
    peer.advance(0.0)
    assert peer.is_in(State.WAITING)
    assert peer.statistics.last_handshake_failure.startswith("certificate_foreign")
    assert peer.heard == []
    assert peer.server.failures == ["handshake_refused"]  # the device said why it went


def test_a_certificate_that_is_not_listed_is_refused() -> None:
    peer = certified(CALM)
    chain = peer.options.credentials.of("").chain  # type: ignore[union-attr]
    peer.server.ring.remove(Kind.CERTIFICATE, fingerprint(chain.certificates[0]))
    peer.device.start(peer.now)
    peer.advance(0.0)
    assert (peer.statistics.handshakes, peer.statistics.handshakes_failed) == (0, 1)


def test_a_wrong_key_is_told_and_tried_again_ever_later() -> None:
    peer = SecurePeer(CALM)
    peer.allow(PskPattern("{name}", b"another key".ljust(16)))
    peer.device.start(peer.now)
    peer.advance(0.0)
    times = []
    for _ in range(5):
        assert peer.is_in(State.WAITING)
        assert peer.heard == []
        times.append(peer.device.registration.due - peer.now)
        peer.advance(times[-1])
    assert times == sorted(times)
    assert times[0] <= 2 < times[2]
    assert peer.server.failures == ["psk_wrong"] * 6
    assert peer.statistics.handshakes_failed == 6
    assert peer.statistics.last_failure == "unreachable"
    assert peer.statistics.last_handshake_failure
    assert KEY.hex() not in peer.statistics.last_handshake_failure
    peer.allow(PSK)
    peer.advance(60)
    assert peer.is_in(State.REGISTERED)


def test_a_silent_server_ends_the_handshake_in_time() -> None:
    peer = SecurePeer(CALM)
    peer.deaf = True
    peer.device.start(peer.now)
    peer.advance(HANDSHAKE_S - 1)
    assert peer.is_in(State.REGISTERING)
    assert peer.device.busy
    peer.advance(1.0)
    assert peer.is_in(State.WAITING)
    assert peer.statistics.last_handshake_failure == "handshake_timeout: no answer"
    peer.deaf = False
    peer.advance(3.0)
    assert peer.is_in(State.REGISTERED)


def test_a_lost_flight_is_sent_again_by_the_clock_of_the_engine() -> None:
    options = replace(CALM, dtls=DtlsOptions(timeouts_ms=(1, 60_000)))
    peer = SecurePeer(options)
    peer.deaf = True
    peer.device.start(peer.now)
    peer.advance(0.0)
    for _ in range(1_000_000):
        if len(peer.wire) > 1:
            break
        peer.now = max(peer.now, peer.device.deadline)
        peer.device.handle_timer(peer.now)
    # The record has a number of its own, what is in it is the same ClientHello.
    first, again = peer.wire[:2]
    assert first[13:] == again[13:]


def test_rebinding_costs_nothing_with_connection_ids() -> None:
    peer = secure()
    peer.observe("/3303/0/5700", b"climate")
    peer.rebind()
    sent = len(peer.wire)
    peer.advance(300)  # Updates, from the new port
    (record, *_) = peer.wire[sent:]
    assert record[0] == WITH_CID
    assert peer.statistics.updates >= 1
    assert (peer.server.handshakes, peer.statistics.handshakes) == (1, 1)
    assert peer.statistics.registrations == 1
    # The server's answers go to the new address: it was believed.
    assert peer.server.by_address[peer.address] is peer._session


def test_rebinding_without_connection_ids_costs_a_handshake_and_an_update() -> None:
    options = replace(CALM, dtls=DtlsOptions(cid_bytes=None), reporting=Reporting.SEND)
    peer = secure(replace(options, sample_period_s=200))
    assert peer.wire[-1][0] == DATA
    peer.rebind()
    peer.heard.clear()
    peer.advance(200)  # a Send: unanswered for 93 s at most
    assert peer.statistics.timeouts == 1
    peer.advance(100)
    assert (peer.server.handshakes, peer.statistics.registrations) == (2, 1)
    heard = paths(peer.take())
    assert heard[0] == LOCATION  # the first over the new session is the Update
    assert ("dp",) in heard  # and what was not told is told
    assert ("rd",) not in heard


def test_a_connection_id_of_its_own() -> None:
    peer = secure(replace(CALM, dtls=DtlsOptions(cid_bytes=4)))
    assert peer._session is not None
    record = peer._session.seal(b"\x40\0\0\1")
    assert record[0] == WITH_CID
    assert peer.get("/3/0/2").payload
    assert peer.statistics.records_unopened == 0


def test_a_session_is_resumed_if_the_server_can() -> None:
    peer = secure()
    peer.end_session()
    assert (peer.statistics.handshakes, peer.statistics.handshakes_resumed) == (2, 1)
    assert peer.statistics.sessions_ended == 1
    # Zephyr's way: the registration holds, the new session is made known by an Update.
    assert paths(peer.take()) == [LOCATION]
    assert peer.is_in(State.REGISTERED)
    peer.server.resumable.clear()
    peer.end_session()
    assert (peer.statistics.handshakes, peer.statistics.handshakes_resumed) == (3, 1)


def test_a_device_may_be_told_never_to_resume() -> None:
    peer = secure(replace(CALM, dtls=DtlsOptions(resume=False)))
    peer.end_session()
    assert (peer.statistics.handshakes, peer.statistics.handshakes_resumed) == (2, 0)


def test_a_reboot_forgets_the_session() -> None:
    peer = secure()
    peer.execute("/3/0/4")
    peer.advance(5)
    assert (peer.statistics.handshakes, peer.statistics.handshakes_resumed) == (2, 0)
    assert peer.statistics.registrations == 2


@pytest.mark.parametrize("confirmable", [True, False])
def test_a_server_that_lost_the_session_is_found_out(confirmable: bool) -> None:
    """A notification is not acknowledged, or an Update is not answered."""
    peer = secure(replace(CALM, sample_period_s=30.0, lifetime_s=600, confirmable=confirmable))
    peer.observe("/3303/0/5700", b"climate")
    peer.take()
    peer.server.forget()
    while not peer.statistics.timeouts:
        peer.advance(1)  # the rest takes no time
    assert (peer.server.handshakes, peer.statistics.handshakes_resumed) == (2, 0)
    assert peer.is_in(State.REGISTERED)
    # After a notification an Update; after an Update a Register, for nothing else is left to try.
    heard = paths(peer.take())
    assert heard[0] == (LOCATION if confirmable else ("rd",))


def test_notifications_go_on_over_the_new_session_in_order() -> None:
    peer = secure(replace(CALM, sample_period_s=1.0))
    peer.observe("/3303/0/5700", b"climate")
    peer.advance(30)
    before = [m.observe for m in peer.take() if m.observe is not None]
    peer.end_session()
    peer.advance(30)
    after = [m.observe for m in peer.take() if m.observe is not None]
    assert before
    assert after
    assert before + after == list(range(before[0], before[0] + len(before + after)))


def test_a_notification_under_way_when_the_session_ends_leads_to_an_update() -> None:
    peer = secure(replace(CALM, sample_period_s=1.0))
    peer.observe("/3303/0/5700", b"climate")
    peer.friendly = False
    peer.take()
    peer.advance(2)
    assert peer.take_one().observe is not None
    peer.end_session()
    assert paths(peer.take()) == [LOCATION]
    assert peer.statistics.timeouts == 0


def test_a_register_that_nobody_answers_is_tried_over_a_new_session() -> None:
    peer = SecurePeer(CALM)
    peer.friendly = False
    peer.device.start(peer.now)
    peer.advance(0.0)
    peer.server.forget()
    while not peer.is_in(State.WAITING):
        peer.advance(1.0)
    peer.friendly = True
    peer._unanswered.clear()
    peer.advance(2.0)
    assert peer.is_in(State.REGISTERED)
    assert peer.server.handshakes == 2


def test_after_a_handshake_that_failed_nothing_is_resumed() -> None:
    peer = secure()
    kept = dict(peer.server.resumable)
    peer.server.resumable.clear()
    peer.allow(PskPattern("{name}", b"another key".ljust(16)))
    peer.end_session()
    assert peer.statistics.handshakes_failed >= 1
    peer.server.resumable.update(kept)
    peer.allow(PSK)
    peer.advance(5)
    assert peer.is_in(State.REGISTERED)
    assert peer.statistics.handshakes_resumed == 0


def test_a_session_that_breaks_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = secure()
    assert peer._session is not None
    ping = peer._session.seal(b"\x40\0\x12\x34")

    def broken(self: Session, datagram: bytes) -> None:
        raise failure(INVALID_MAC)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "open", broken)
        peer.device.receive(ping, peer.now)
    peer.be_friendly()
    assert (peer.statistics.handshakes, peer.statistics.handshakes_resumed) == (2, 0)
    assert (peer.statistics.sessions_ended, peer.statistics.registrations) == (1, 1)
    assert paths(peer.take()) == [LOCATION]


def test_the_session_is_closed_after_the_deregister() -> None:
    peer = secure()
    assert peer.device.stop(peer.now)
    peer.be_friendly()
    assert peer.is_in(State.OFF)
    assert peer.server.closed == 1
    sent = len(peer.wire)
    peer.device.vanish()
    assert len(peer.wire) == sent


def test_a_server_that_closes_with_its_last_answer_closes_what_is_closed() -> None:
    """Both in one datagram: the answer makes the device leave, the rest is of a session that is gone."""
    peer = secure()
    peer.friendly = False
    assert peer.device.stop(peer.now)
    (leave,) = peer.take()
    session = peer._session
    assert session is not None
    deleted = Message(Code.DELETED, type=Type.ACK, message_id=leave.message_id, token=leave.token)
    records = session.seal(encode_message(deleted))
    session.alert(CLOSE_NOTIFY)
    peer.device.receive(records + b"".join(session.take()), peer.now)
    assert peer.is_in(State.OFF)
    assert peer.statistics.sessions_ended == 0


def test_an_alert_without_protection_ends_nothing() -> None:
    peer = secure()
    forged = bytes((ALERT, 254, 253)) + bytes(8) + b"\0\2\2\x28"
    peer.device.receive(forged, peer.now)
    assert peer.statistics.records_unopened == 1
    assert peer.get("/3/0/2").payload
    assert peer.statistics.handshakes == 1


def test_what_comes_twice_or_is_no_record_is_counted_and_passed_over() -> None:
    peer = secure()
    assert peer._session is not None
    ping = peer._session.seal(b"\x40\0\x12\x34")
    peer.device.receive(ping, peer.now)
    (pong,) = peer.take()
    assert pong.type is Type.RST
    for data in (ping, b"", b"\x19", bytes(40), ping[:-1]):
        peer.device.receive(data, peer.now)
    assert peer.take() == []
    assert peer.statistics.records_unopened == 5
    assert peer.is_in(State.REGISTERED)


def test_a_fleet_keeps_few_sessions_live() -> None:
    options = replace(CALM, dtls=DtlsOptions(live=2), sample_period_s=10.0)
    sessions = Sessions(options.dtls)
    server = Server()
    peers = [SecurePeer(options, index, server, sessions) for index in range(6)]
    for peer in peers:
        peer.allow(PSK)
        peer.boot()
        assert sessions.live <= 2
        peer.observe("/3303/0/5700", b"climate")
    for _ in range(5):
        for peer in peers:
            peer.rebind()
            peer.advance(20)
            assert sessions.live <= 2
    assert server.handshakes == 6
    assert all(peer.statistics.notifications_acknowledged >= 5 for peer in peers)
    assert all(peer.statistics.records_unopened == 0 for peer in peers)
    # A parked device answers, and says goodbye.
    assert peers[0].get("/3/0/2").payload == peers[0].get("/3/0/2").payload
    for peer in peers:
        assert peer.device.stop(peer.now)
        peer.be_friendly()
        assert peer.is_in(State.OFF)
    assert sessions.live == 0


def test_a_resumed_session_is_parked_only_when_the_server_has_heard() -> None:
    """After a resumption the last flight is the device's: if it is lost, the server asks again."""
    options = replace(CALM, dtls=DtlsOptions(live=1))
    sessions = Sessions(options.dtls)
    server = Server()
    first, second = (SecurePeer(options, index, server, sessions) for index in range(2))
    for peer in (first, second):
        peer.allow(PSK)
        peer.boot()
    first.friendly = False
    first.end_session()
    assert first.statistics.handshakes_resumed == 1
    second.get("/3/0/2")
    assert sessions.live == 2  # the server has not answered the Update
    first.friendly = True
    first.be_friendly()
    second.get("/3/0/2")
    assert sessions.live == 1
    assert first.get("/3/0/2").payload


def test_every_turn_that_is_not_listed_is_a_defect() -> None:
    assert {link for link, _ in TURNS} == set(Link)
    assert {turn for _, turn in TURNS} == set(Turn)
    assert (Link.PARKED, Turn.PARK) not in TURNS


def test_what_gives_up_ends_what_waits_though_it_was_never_sent() -> None:
    """See `MessageLayer.give_up`."""
    peer = SecurePeer(CALM)
    peer.deaf = True
    peer.device.start(peer.now)
    peer.advance(0.0)
    assert waits(peer)
    peer.device.failed(peer.now)
    assert not waits(peer)
    assert peer.is_in(State.WAITING)


def waits(peer: SecurePeer) -> bool:
    layer = peer.device._layer
    return layer.busy and not layer.in_flight
