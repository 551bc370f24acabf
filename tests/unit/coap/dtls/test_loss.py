"""Handshakes over a wire that loses, cuts, doubles and reorders (RFC 6347 4.2.3 and 4.2.4).

Time-outs are milliseconds here; nothing sleeps, the engine's timers are asked until one has run out.
"""

from itertools import combinations

import pytest

from flownexus_appliance.coap.dtls.engine import Chain, Context, Kind, Ring, Session

from .authority import CLIENT, SERVER, Issued, issue, root
from .joined import (
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEADER,
    IDENTITY,
    KEY,
    Datagram,
    Joined,
    joined,
    records,
    ring,
)

FAST_MS = (5, 40)


@pytest.fixture(scope="module")
def ca() -> Issued:
    return root()


def psk_ends() -> Joined:
    client = Context(client=True, psk=(IDENTITY, KEY), cid_bytes=0, timeouts_ms=FAST_MS)
    return joined(Context(ring=ring(), timeouts_ms=FAST_MS), client)


def ecdsa_ends(ca: Issued) -> Joined:
    """Both chains of three certificates, one of which is of no use."""
    between = issue("between", ca, ca=True)
    box, device = issue("box", between, usage=SERVER), issue("device", between, usage=CLIENT)
    names = Ring()
    names.put(Kind.CERTIFICATE, device.fingerprint)
    return joined(
        Context(ring=names, chain=box.chain(between, ca), roots=[ca.der], timeouts_ms=FAST_MS),
        Context(
            client=True,
            chain=device.chain(between, ca),
            roots=[ca.der],
            cid_bytes=0,
            timeouts_ms=FAST_MS,
        ),
    )


@pytest.fixture(params=["psk", "ecdsa"])
def ends(request: pytest.FixtureRequest, ca: Issued) -> Joined:
    return psk_ends() if request.param == "psk" else ecdsa_ends(ca)


def test_no_datagram_of_a_handshake_is_longer_than_1200_bytes(ca: Issued) -> None:
    """Three certificates each way: flights are cut into fragments."""
    ends = ecdsa_ends(ca).shake()
    assert ends.done
    assert sum(len(d.data) for d in ends.wire if not d.to_server) > 1200
    assert max(len(d.data) for d in ends.wire) <= 1200


@pytest.mark.parametrize("lost", range(12))
def test_each_datagram_lost_once(ends: Joined, lost: int) -> None:
    assert ends.shake(loses=lambda number, _: number == lost).done
    ends.exchange()


@pytest.mark.parametrize("pair", list(combinations(range(2, 7), 2)))
def test_two_datagrams_lost(pair: tuple[int, int]) -> None:
    ends = psk_ends()
    assert ends.shake(loses=lambda number, _: number in pair).done
    ends.exchange()


def is_last_flight(datagram: Datagram) -> bool:
    return not datagram.to_server and datagram.data[0] == CHANGE_CIPHER_SPEC


@pytest.mark.parametrize("times", [1, 3])
def test_the_server_s_last_flight_lost(ends: Joined, times: int) -> None:
    """The server is done and has no timer: it sends the flight again for the client's Finished."""
    lost = 0
    server_was_done = False

    def loses(_: int, datagram: Datagram) -> bool:
        nonlocal lost, server_was_done
        if not is_last_flight(datagram) or lost == times:
            return False
        server_was_done = ends.server_done
        lost += 1
        return True

    assert ends.shake(loses=loses).done
    assert server_was_done
    assert lost == times
    ends.exchange()


def test_a_settled_session_sends_no_last_flight_again() -> None:
    """Else who has listened could have the box repeat itself."""
    ends = psk_ends().shake()
    ends.exchange()
    for datagram in [d.data for d in ends.wire if d.to_server]:
        assert ends.server.open(datagram).messages == ()
        assert ends.server.take() == ()


def test_datagrams_doubled(ends: Joined) -> None:
    assert ends.shake(alters=lambda datagram: [datagram, datagram]).done
    ends.exchange()


def messages(datagrams: tuple[bytes, ...]) -> list[bytes]:
    return [record[HEADER:] for datagram in datagrams for record in records(datagram)]


def test_a_hello_sent_again_gets_the_same_flight() -> None:
    """Over a slow network the first one's answer is under way: with other keys it would be in vain."""
    ends = psk_ends()
    ends.client.advance()
    (first,) = ends.client.take()
    assert not ends.server.hello(first, b"here")
    ends.client.advance(ends.server.take()[0])
    (second,) = ends.client.take()
    assert ends.server.hello(second, b"here")
    ends.server.advance()
    flight = ends.server.take()
    again = second[:10] + bytes([second[10] + 1]) + second[11:]  # another record with the same message
    assert not ends.server.advance(again)
    repeated = ends.server.take()
    assert messages(repeated) == messages(flight)


def backwards(held: list[Datagram], datagram: Datagram) -> list[Datagram]:
    """Holds the records of a flight back until its last one, and gives them from there to its first."""
    closing = False
    for record in records(datagram.data, 8):
        held.append(Datagram(datagram.to_server, record))
        in_the_clear = record[3:5] == b"\0\0"
        # ClientHello, HelloVerifyRequest and ServerHelloDone end a flight, and so does a Finished.
        closing |= not in_the_clear or (record[0] == HANDSHAKE and record[HEADER] in (1, 3, 14))
    if not closing:
        return []
    arriving, held[:] = held[::-1], []
    return arriving


def test_records_out_of_order(ends: Joined) -> None:
    """What comes early is kept until what belongs before it is there."""
    held: list[Datagram] = []
    assert ends.shake(alters=lambda datagram: backwards(held, datagram)).done
    ends.exchange()


def numbered(record: bytes, index: int, body: bytes) -> bytes:
    """A record with this body, its number among those that its own stands for."""
    number = int.from_bytes(record[5:11], "big") * 64 + index
    return record[:5] + number.to_bytes(6, "big") + len(body).to_bytes(2, "big") + body


def fragments(record: bytes, size: int) -> list[bytes]:
    """A handshake message in the clear as several records, each with a part of it (RFC 6347 4.2.3)."""
    message = record[HEADER:]
    head, offset, body = message[:6], int.from_bytes(message[6:9], "big"), message[12:]
    made: list[bytes] = []
    for place in range(0, len(body), size):
        part = body[place : place + size]
        header = head + (offset + place).to_bytes(3, "big") + len(part).to_bytes(3, "big")
        made.append(numbered(record, len(made), header + part))
    return made


def in_fragments(datagram: Datagram, size: int, reverse: bool) -> list[Datagram]:
    """Cuts the messages of a handshake; a ClientHello stays whole, as a server without memory wants it."""
    arriving = []
    for record in records(datagram.data, 8):
        parts = [record]
        if record[3:5] == b"\0\0":  # in the clear
            parts = [numbered(record, 0, record[HEADER:])]
            if record[0] == HANDSHAKE and record[HEADER] not in (1, 3) and len(record) > HEADER + 12:
                parts = fragments(record, max(size, len(record) // 60 + 1))
        arriving += [Datagram(datagram.to_server, part) for part in (parts[::-1] if reverse else parts)]
    return arriving


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "in reverse"])
@pytest.mark.parametrize("size", [7, 60, 400])
def test_messages_in_fragments(ends: Joined, size: int, reverse: bool) -> None:
    assert ends.shake(alters=lambda datagram: in_fragments(datagram, size, reverse)).done
    ends.exchange()


def test_a_datagram_that_comes_late_is_still_read() -> None:
    """The library reads nothing once its timer has run out; a flight would be thrown away."""
    ends = psk_ends()
    ends.client.advance()
    (hello,) = ends.client.take()
    assert not ends.server.hello(hello, b"here")
    (verify,) = ends.server.take()
    while ends.client.timer() != 0:
        pass
    ends.client.advance(verify)
    (second,) = ends.client.take()
    assert second[HEADER:] != hello[HEADER:], "an answer to the cookie, not the first hello again"


def test_a_peer_that_falls_silent_ends_a_handshake() -> None:
    ends = psk_ends()

    def loses(number: int, datagram: Datagram) -> bool:
        return number > 3 and datagram.to_server

    ends.shake(loses=loses)
    assert {error.code for error in ends.errors.values()} == {"handshake_timeout"}
    assert not ends.server_done


def test_a_server_has_no_timer_before_the_cookie() -> None:
    """Nothing is kept for a stranger."""
    client, server = (
        Session(Context(client=True, psk=(IDENTITY, KEY), cid_bytes=0)),
        Session(Context(ring=ring())),
    )
    client.advance()
    assert not server.hello(client.take()[0], b"here")
    server.take()
    assert server.timer() is None


def test_a_chain_that_is_very_long(ca: Issued) -> None:
    """Ten certificates: several datagrams, all of them sent."""
    box, device = issue("box", ca, usage=SERVER), issue("device", ca, usage=CLIENT)
    names = Ring()
    names.put(Kind.CERTIFICATE, device.fingerprint)
    chain = Chain((box.der, *(root(f"root {number}").der for number in range(9))), box.chain().key)
    ends = joined(
        Context(ring=names, chain=chain, roots=[ca.der]),
        Context(client=True, chain=device.chain(), roots=[ca.der], cid_bytes=0),
    ).shake()
    assert ends.done
    assert max(len(d.data) for d in ends.wire) <= 1200
