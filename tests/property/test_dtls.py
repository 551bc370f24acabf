"""DTLS: whatever arrives, in whatever order and however often, each message is there once or not at all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flownexus_appliance.coap.dtls.engine import (
    COUNTER_BYTES,
    PSK_SUITES,
    DtlsError,
    Opened,
    Session,
    frozen_has_cid,
    frozen_id,
    hello_id,
)
from tests.unit.coap.dtls.joined import Datagram, Joined, joined, psk_client, psk_joined, psk_server

WINDOW = 64  # records that may be overtaken (RFC 6347 4.1.2.6)
NOTHING = Opened((), False, False, False)
# One for all examples: what one leaves behind must not harm the next either.
SHARED = psk_joined()
CID = SHARED.client.seal(b"x")[11:19]

headers = st.builds(
    lambda kind, epoch, number, length, cid: (
        bytes([kind])
        + b"\xfe\xfd"
        + epoch.to_bytes(2, "big")
        + number.to_bytes(6, "big")
        + (cid if kind == 25 else b"")
        + length.to_bytes(2, "big")
    ),
    kind=st.sampled_from([20, 21, 22, 23, 24, 25, 0, 255]),
    epoch=st.sampled_from([0, 1, 2, 0xFFFF]),
    number=st.one_of(st.integers(0, 200), st.integers(0, 2**48 - 1)),
    length=st.one_of(st.integers(0, 80), st.integers(0, 0xFFFF)),
    cid=st.sampled_from([CID, bytes(8)]),
)
datagrams = st.lists(
    st.one_of(st.binary(max_size=80), st.builds(bytes.__add__, headers, st.binary(max_size=80)))
)


@given(datagrams.map(b"".join))
def test_any_datagram_to_a_session(datagram: bytes) -> None:
    """Nobody but the peer has the key: nothing comes of it, and the session goes on."""
    assert SHARED.server.open(datagram) == NOTHING
    assert SHARED.client.open(datagram) == NOTHING
    assert SHARED.server.take() == SHARED.client.take() == ()
    SHARED.exchange()


@given(datagrams.map(b"".join))
def test_any_datagram_to_who_waits_for_a_hello(datagram: bytes) -> None:
    server = Session(psk_server())
    try:
        assert not server.hello(datagram, b"here")
    except DtlsError:
        server.recycle()
    assert len(hello_id(datagram)) <= 32
    client = Session(psk_client())
    client.advance()
    server.take()
    assert not server.hello(client.take()[0], b"here")


@given(st.data())
@settings(max_examples=60)
def test_any_datagram_during_a_handshake(data: st.DataObject) -> None:
    """It may fail by what comes in the clear; it is never complete without the key, nor wrong."""
    right = data.draw(st.booleans())
    ends = joined(psk_server(), psk_client() if right else psk_client(key=b"another"))
    strange = data.draw(st.dictionaries(st.integers(0, 8), datagrams.map(b"".join), max_size=3))
    count = 0

    def meddle(datagram: Datagram) -> list[Datagram]:
        nonlocal count
        count += 1
        before = strange.get(count)
        return [datagram] if before is None else [Datagram(datagram.to_server, before), datagram]

    ends.shake(alters=meddle)
    assert not ends.server_done or right
    if ends.done:
        ends.exchange()


def session(suite: int) -> Joined:
    ends = joined(psk_server(), psk_client(suites=[suite])).shake()
    ends.exchange()
    return ends


@given(st.sampled_from(PSK_SUITES), st.data())
@settings(max_examples=60)
def test_any_order_and_number_of_records(suite: int, data: st.DataObject) -> None:
    """Each is opened once, unless a window of others has overtaken it; sleep changes nothing."""
    ends = session(suite)
    total = data.draw(st.integers(1, 150))
    sent = [ends.client.seal(b"%d" % number) for number in range(total)]
    arrivals = data.draw(st.lists(st.integers(0, total - 1), max_size=300))
    sleeps = data.draw(st.sets(st.integers(0, 300), max_size=5))
    seen: set[int] = set()
    newest = -1
    for place, number in enumerate(arrivals):
        if place in sleeps:
            frozen, counters = ends.server.freeze(), ends.server.counters()
            ends.server.recycle()
            ends.server.thaw(frozen, counters)
        fresh = number not in seen and number > newest - WINDOW
        opened = ends.server.open(sent[number])
        expected = Opened((b"%d" % number,), True, number > newest, False) if fresh else NOTHING
        assert opened == expected
        seen.add(number)
        newest = max(newest, number)


@given(st.one_of(st.binary(max_size=400), st.integers(0, 300).map(lambda cut: SHARED.server.freeze()[:cut])))
def test_any_frozen_bytes(frozen: bytes) -> None:
    server, client = Session(psk_server()), Session(psk_client())
    assert len(frozen_id(frozen)) <= 32
    frozen_has_cid(frozen)
    server.offer(frozen)
    client.offer(frozen)
    try:
        server.thaw(frozen, SHARED.server.counters())
    except DtlsError:
        assert frozen != SHARED.server.freeze()


@given(st.data())
def test_a_frozen_session_with_bytes_changed(data: st.DataObject) -> None:
    frozen = bytearray(SHARED.server.freeze())
    for _ in range(data.draw(st.integers(1, 4))):
        frozen[data.draw(st.integers(0, len(frozen) - 1))] = data.draw(st.integers(0, 255))
    counters = data.draw(st.one_of(st.just(SHARED.server.counters()), st.binary(min_size=24, max_size=24)))
    assert len(counters) == COUNTER_BYTES
    other = Session(psk_server())
    other.offer(bytes(frozen))
    other.recycle()
    try:
        other.thaw(bytes(frozen), counters)
        other.seal(b"x")
        other.freeze()
    except DtlsError:
        other.recycle()
    SHARED.exchange()
