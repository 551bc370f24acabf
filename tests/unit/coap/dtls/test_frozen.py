"""Sessions as bytes: frozen and thawed, resumed, recycled; and whatever comes back from a disk instead."""

from collections.abc import Callable

import pytest

from flownexus_appliance.coap.dtls.engine import (
    CID_BYTES,
    ECDSA_SUITES,
    PSK_SUITES,
    Context,
    DtlsError,
    Kind,
    Session,
    frozen_has_cid,
    frozen_id,
    hello_id,
)
from flownexus_appliance.coap.dtls.peer import AHEAD, ahead, are_counters, records_sent

from .authority import CLIENT, certificate_client, certificate_server, issue, root
from .joined import (
    HANDSHAKE,
    KEY,
    Joined,
    joined,
    psk_client,
    psk_joined,
    psk_server,
    ring,
)

VERSION = 2  # of the library within frozen bytes: major, minor, patch; behind it the flags of its build


def ecdsa_joined(**more: object) -> Joined:
    ca = root()
    device = issue("device", ca, usage=CLIENT)
    server = certificate_server(ca, None, device)
    return joined(server, certificate_client(ca, device.chain(), **more)).shake()


def thawed(session: Session, context: Context | None = None) -> Session:
    other = Session(context or session.context)
    other.thaw(session.freeze(), session.counters())
    return other


# Freezing and thawing


@pytest.mark.parametrize("suite", PSK_SUITES + ECDSA_SUITES)
@pytest.mark.parametrize("settled", [True, False], ids=["settled", "just made"])
def test_both_ends_go_on_after_a_freeze(suite: int, settled: bool) -> None:
    if suite in PSK_SUITES:
        ends = joined(psk_server(), psk_client(suites=[suite])).shake()
    else:
        ends = ecdsa_joined(suites=[suite])
    if settled:
        ends.exchange()
    ends.server, ends.client = thawed(ends.server), thawed(ends.client)
    assert ends.server.suite == suite
    for _ in range(3):
        ends.exchange()


def test_a_frozen_session_is_small_and_without_the_certificate() -> None:
    """A parked session shall cost less than 2 kB with everything."""
    for ends in (psk_joined(), ecdsa_joined()):
        assert len(ends.server.freeze()) < 256


def test_freezing_changes_nothing() -> None:
    ends = psk_joined()
    assert ends.server.freeze() == ends.server.freeze()
    assert ends.server.counters() == ends.server.counters()
    ends.exchange()


def test_a_thawed_session_freezes_to_the_same() -> None:
    """In memory that served another session before, whose Connection ID is not this one's."""
    first, second = psk_joined(), psk_joined()
    frozen, counters = first.server.freeze(), first.server.counters()
    session = second.server
    session.recycle()
    session.thaw(frozen, counters)
    assert session.freeze() == frozen
    assert session.counters() == counters


@pytest.mark.parametrize("client_cid", [True, False])
def test_whether_it_has_an_id_is_kept(client_cid: bool) -> None:
    ends = joined(psk_server(), psk_client(), client_cid=client_cid).shake()
    assert frozen_has_cid(ends.server.freeze()) is client_cid
    ends.server = thawed(ends.server)
    assert ends.server.has_cid is client_cid
    ends.exchange()


def test_repetitions_are_known_after_a_thaw() -> None:
    ends = psk_joined()
    first, second = ends.client.seal(b"1"), ends.client.seal(b"2")
    assert ends.server.open(second).newest
    ends.server = thawed(ends.server)
    assert not ends.server.open(second).authentic
    assert ends.server.open(first) == ((b"1",), True, False, False)


def test_it_thaws_under_another_configuration() -> None:
    """The box has another certificate now."""
    ends = psk_joined()
    ends.server = thawed(ends.server, psk_server())
    ends.exchange()


def number_of(record: bytes) -> int:
    return int.from_bytes(record[5:11], "big")


def test_counters_ahead_leave_a_gap_and_repeat_nothing() -> None:
    ends = psk_joined()
    frozen, saved = ends.server.freeze(), ahead(ends.server.counters())
    sent = {number_of(ends.server.seal(b"x")) for _ in range(100)}
    after = Session(ends.server.context)
    after.thaw(frozen, saved)
    record = after.seal(b"later")
    assert number_of(record) == records_sent(saved) > max(sent)
    assert ends.client.open(record).newest


@pytest.mark.parametrize(
    "counters",
    [
        bytes(16) + b"\0\1" + bytes(6),
        bytes(16) + b"\0\1" + (2**48 - 3 * AHEAD).to_bytes(6, "big"),
    ],
)
def test_counters_to_go_on_with(counters: bytes) -> None:
    assert are_counters(counters)
    ahead(ahead(counters))


@pytest.mark.parametrize("counters", [b"", bytes(23), bytes(25), bytes(16) + b"\0\1" + b"\xff" * 6])
def test_counters_not_to_go_on_with(counters: bytes) -> None:
    assert not are_counters(counters)


# Bytes that are no frozen session


def refuses(context: Context, frozen: bytes, counters: bytes) -> None:
    session = Session(context)
    with pytest.raises(DtlsError):
        session.thaw(frozen, counters)
    session.recycle()
    client = Session(psk_client())
    client.advance()
    session.use_cid(bytes(CID_BYTES))
    assert not session.hello(client.take()[0], b"here"), "of use again after it was recycled"


def test_every_truncation_is_refused() -> None:
    ends = psk_joined()
    frozen, counters = ends.server.freeze(), ends.server.counters()
    for length in range(len(frozen)):
        refuses(ends.server.context, frozen[:length], counters)
        assert frozen_id(frozen[:length]) == b""
        frozen_has_cid(frozen[:length])
        Session(ends.client.context).offer(frozen[:length])
    refuses(ends.server.context, frozen + b"\0", counters)


def test_no_changed_byte_does_harm() -> None:
    """It is refused, or becomes a session that nobody can speak to; never the peer's."""
    ends = psk_joined()
    frozen, counters = ends.server.freeze(), ends.server.counters()
    record = ends.client.seal(b"genuine")
    opened = refused = 0
    for place in range(len(frozen)):
        for flip in (0x01, 0x80, 0xFF):
            changed = frozen[:place] + bytes([frozen[place] ^ flip]) + frozen[place + 1 :]
            assert len(frozen_id(changed)) <= 32
            session = Session(ends.server.context)
            try:
                session.thaw(changed, counters)
            except DtlsError:
                refused += 1
                continue
            opened += session.open(record).authentic
            session.seal(b"x")
            session.freeze()
    assert refused > 30  # lengths, versions, suite, end
    assert 0 < opened < 2 * len(frozen)  # the time of its making, say, opens nothing and closes nothing


@pytest.mark.parametrize(
    ("place", "accepted"),
    [(VERSION, False), (VERSION + 1, False), (VERSION + 2, True), (VERSION + 3, False), (VERSION + 4, False)],
    ids=["major", "minor", "patch", "flags", "flags"],
)
def test_other_versions_of_the_library(place: int, accepted: bool) -> None:
    """A security update must cost no device a handshake; another format must not be read at all."""
    ends = psk_joined()
    frozen, counters = ends.server.freeze(), ends.server.counters()
    other = frozen[:place] + bytes([frozen[place] ^ 1]) + frozen[place + 1 :]
    if not accepted:
        refuses(ends.server.context, other, counters)
        assert frozen_id(other) == b""
        return
    ends.server = Session(ends.server.context)
    ends.server.thaw(other, counters)
    ends.exchange()
    assert frozen_id(other) == frozen_id(frozen)


def test_the_other_end_is_not_ours() -> None:
    ends = psk_joined()
    refuses(ends.server.context, ends.client.freeze(), ends.client.counters())


@pytest.mark.parametrize("epoch", [0, 2])
def test_counters_of_another_epoch_are_refused(epoch: int) -> None:
    ends = psk_joined()
    counters = ends.server.counters()
    refuses(ends.server.context, ends.server.freeze(), counters[:16] + bytes([0, epoch]) + counters[18:])


def test_counters_of_another_length_are_refused() -> None:
    ends = psk_joined()
    with pytest.raises(ValueError, match="24 bytes"):
        Session(ends.server.context).thaw(ends.server.freeze(), bytes(23))


def test_a_session_that_is_in_use_does_not_thaw() -> None:
    ends = psk_joined()
    with pytest.raises(DtlsError):
        ends.server.thaw(ends.server.freeze(), ends.server.counters())


# Resumption (RFC 5246 7.3)


@pytest.mark.parametrize("make", [psk_joined, ecdsa_joined], ids=["psk", "ecdsa"])
def test_a_resumed_session_has_new_keys_and_takes_fewer_flights(make: Callable[[], Joined]) -> None:
    before = make()
    ours, theirs = before.server.freeze(), before.client.freeze()
    assert frozen_id(ours) == frozen_id(theirs) != b""
    after = joined(
        before.server.context, before.client.context, server_offer=ours, client_offer=theirs
    ).shake()
    assert after.server.resumed
    assert after.client.resumed
    assert after.server.proof() is None, "the caller knows whose session it was"
    assert len(after.wire) < len(before.wire)
    assert after.server.freeze() != ours
    after.exchange()
    record = before.client.seal(b"old")
    assert not after.server.open(record).authentic


def test_a_resumed_session_can_be_frozen_and_resumed_again() -> None:
    ends = psk_joined()
    for _ in range(3):
        ours, theirs = ends.server.freeze(), ends.client.freeze()
        ends = joined(
            ends.server.context, ends.client.context, server_offer=ours, client_offer=theirs
        ).shake()
        assert ends.server.resumed
        ends.exchange()
        ends.server = thawed(ends.server)
        ends.exchange()


def test_the_id_that_a_hello_asks_for() -> None:
    before = psk_joined()
    theirs = before.client.freeze()
    after = joined(before.server.context, before.client.context, client_offer=theirs).shake()
    hellos = [d.data for d in after.wire if d.to_server and d.data[0] == HANDSHAKE and d.data[13] == 1]
    assert [hello_id(hello) for hello in hellos] == [frozen_id(theirs)] * 2
    for length in range(len(hellos[0])):
        assert hello_id(hellos[0][:length]) in (b"", frozen_id(theirs))
    long = bytearray(hellos[0])
    long[59] = 33
    assert hello_id(bytes(long)) == b""


def test_without_the_server_s_half_it_is_a_full_handshake() -> None:
    before = psk_joined()
    after = joined(before.server.context, before.client.context, client_offer=before.client.freeze()).shake()
    assert after.done
    assert not after.server.resumed
    assert not after.client.resumed
    assert after.server.proof() == (Kind.PSK, b"device")


def test_another_session_s_half_is_a_full_handshake() -> None:
    before, other = psk_joined(), psk_joined()
    after = joined(
        before.server.context,
        before.client.context,
        server_offer=other.server.freeze(),
        client_offer=before.client.freeze(),
    ).shake()
    assert after.done
    assert not after.server.resumed


def test_who_knows_the_id_but_not_the_secret_is_not_in() -> None:
    """The id goes over the wire in the clear."""
    before = psk_joined()
    theirs = before.client.freeze()
    # The master secret: behind length, header, version, end, suite, time, and the id with its length.
    place = 2 + 5 + 4 + 8 + 33
    forged = theirs[:place] + bytes(48) + theirs[place + 48 :]
    assert frozen_id(forged) == frozen_id(theirs)
    after = joined(
        before.server.context,
        before.client.context,
        server_offer=before.server.freeze(),
        client_offer=forged,
    ).shake()
    assert not after.server_done


def test_a_removed_key_alone_does_not_end_resumption() -> None:
    """Nor can it: no key is asked for. The transport asks the keyring (test_transport_credentials.py)."""
    names = ring()
    before = joined(Context(ring=names), psk_client()).shake()
    ours, theirs = before.server.freeze(), before.client.freeze()
    names.remove(Kind.PSK, b"device")
    after = joined(
        before.server.context, before.client.context, server_offer=ours, client_offer=theirs
    ).shake()
    assert after.server.resumed


def test_an_offer_of_nonsense_is_passed_over() -> None:
    for nonsense in (b"", b"\0", bytes(300), b"\xff" * 300):
        ends = joined(psk_server(), psk_client(), server_offer=nonsense, client_offer=nonsense).shake()
        assert ends.done
        assert not ends.server.resumed


# Recycling


def test_a_recycled_session_knows_nothing_of_its_last_peer() -> None:
    ends = psk_joined()
    ours, theirs = ends.server.freeze(), ends.client.freeze()
    session = ends.server
    session.offer(ours)
    session.alert(0)
    session.recycle()
    assert session.proof() is None
    assert session.suite == 0
    assert session.take() == ()
    assert session.timer() is None
    assert not session.has_cid
    assert not session.resumed
    assert not session.settled
    with pytest.raises(DtlsError):
        session.freeze()
    # Neither its offer nor its Connection ID serve the next one.
    after = Joined(session, Session(ends.client.context))
    after.client.use_cid(b"")
    after.client.offer(theirs)
    assert after.shake().done
    assert not session.resumed
    assert not session.has_cid
    after.exchange()


def test_a_recycled_session_forgets_a_handshake_that_failed() -> None:
    ends = joined(psk_server(), psk_client(key=b"z" * 16)).shake()
    assert ends.server.proof() == (Kind.PSK, b"device"), "who it said it was, for the log"
    ends.server.recycle()
    assert ends.server.proof() is None
    again = Joined(ends.server, Session(psk_client(key=KEY)))
    assert again.shake().done


def test_a_session_outlives_who_made_its_configuration() -> None:
    """The order in which a garbage collector frees is its own."""
    ends = psk_joined()
    frozen, counters = ends.server.freeze(), ends.server.counters()
    session = Session(Context(ring=ring()))
    session.context = ends.client.context  # the last hold on its own is gone
    session.thaw(frozen, counters)
    ends.server = session
    ends.exchange()
