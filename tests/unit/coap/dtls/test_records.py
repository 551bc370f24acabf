"""Records of an established session: Connection IDs, repetitions, order, alerts, and what is nobody's."""

import secrets

import pytest

from flownexus_appliance.coap.dtls.engine import (
    ACCESS_DENIED,
    CLOSE_NOTIFY,
    PSK_SUITES,
    Context,
    DtlsError,
    Opened,
    Session,
)

from .joined import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    DATA,
    HANDSHAKE,
    IDENTITY,
    KEY,
    WITH_CID,
    Datagram,
    Joined,
    joined,
    psk_client,
    psk_joined,
    psk_server,
    records,
)

NOTHING = Opened((), False, False, False)


@pytest.fixture
def ends() -> Joined:
    return psk_joined()


# Connection IDs (RFC 9146)


def test_a_client_with_a_zero_length_id(ends: Joined) -> None:
    """It gives the server's id along; the server has none to give."""
    assert ends.server.has_cid
    assert ends.client.has_cid
    up, down = ends.client.seal(b"up"), ends.server.seal(b"down")
    assert up[0] == WITH_CID
    assert down[0] == DATA
    flight = [record for d in ends.wire if d.to_server for record in records(d.data, 8)]
    assert flight[-1][:1] + flight[-1][11:19] == up[:1] + up[11:19], "the Finished is the first with the id"


def test_a_client_with_an_id_of_its_own() -> None:
    client = Context(client=True, psk=(IDENTITY, KEY), cid_bytes=4)
    ends = Joined(Session(psk_server()), Session(client))
    ends.server.use_cid(b"12345678")
    ends.client.use_cid(b"abcd")
    assert ends.shake().done
    assert ends.client.seal(b"up")[11:19] == b"12345678"
    down = ends.server.seal(b"down")
    assert (down[0], down[11:15]) == (WITH_CID, b"abcd")
    ends.exchange()


def test_a_client_without_them() -> None:
    ends = joined(psk_server(), psk_client(), client_cid=False).shake()
    assert not ends.server.has_cid
    assert ends.client.seal(b"up")[0] == DATA
    assert ends.server.seal(b"down")[0] == DATA
    ends.exchange()


def test_an_id_of_another_length_is_none() -> None:
    session = Session(psk_server())
    for cid in (b"", b"1234567", b"123456789"):
        with pytest.raises(ValueError, match="8 bytes"):
            session.use_cid(cid)
    session.use_cid(b"12345678")


def test_a_record_with_another_id_is_nobodys(ends: Joined) -> None:
    record = bytearray(ends.client.seal(b"up"))
    record[12] ^= 1
    assert ends.server.open(bytes(record)) == NOTHING
    ends.exchange()


# Order and repetition (RFC 6347 4.1.2.6)


def test_a_repeated_record_is_nothing(ends: Joined) -> None:
    record = ends.client.seal(b"once")
    assert ends.server.open(record) == ((b"once",), True, True, False)
    assert ends.server.open(record) == NOTHING


def test_a_record_that_was_overtaken_is_opened_but_not_the_newest(ends: Joined) -> None:
    """RFC 9146 6: only the newest may move the peer's address."""
    first, second, third = (ends.client.seal(b"%d" % number) for number in range(3))
    assert ends.server.open(third) == ((b"2",), True, True, False)
    assert ends.server.open(first) == ((b"0",), True, False, False)
    assert ends.server.open(second) == ((b"1",), True, False, False)
    for record in (first, second, third):
        assert ends.server.open(record) == NOTHING
    ends.exchange()


def test_a_record_older_than_the_window_is_nothing(ends: Joined) -> None:
    old = ends.client.seal(b"old")
    edge = ends.client.seal(b"edge")
    for _ in range(63):
        newest = ends.client.seal(b"new")
    assert ends.server.open(newest).newest
    assert ends.server.open(old) == NOTHING
    assert ends.server.open(edge) == ((b"edge",), True, False, False)


def test_several_records_in_a_datagram(ends: Joined) -> None:
    datagram = b"".join(ends.client.seal(b"message %d" % number) for number in range(5))
    opened = ends.server.open(datagram)
    assert opened == (tuple(b"message %d" % number for number in range(5)), True, True, False)


def test_a_bad_record_costs_nothing_but_itself(ends: Joined) -> None:
    good, bad, best = (ends.client.seal(b"%d" % number) for number in range(3))
    opened = ends.server.open(good + bad[:-1] + bytes([bad[-1] ^ 1]) + best)
    assert opened == ((b"0", b"2"), True, True, False)


def test_records_opened_after_each_other_are_newest_each(ends: Joined) -> None:
    assert all(ends.server.open(ends.client.seal(b"x")).newest for _ in range(100))


@pytest.mark.parametrize("suite", PSK_SUITES)
@pytest.mark.parametrize("length", [1, 15, 16, 17, 64, 1024, 1211, 2000])
def test_messages_of_all_lengths(suite: int, length: int) -> None:
    """More than a handshake's datagrams may have: its limit ends with it."""
    ends = joined(psk_server(), psk_client(suites=[suite])).shake()
    ends.exchange(secrets.token_bytes(length))


def test_the_largest_message_is_one_datagram(ends: Joined) -> None:
    assert len(records(ends.client.seal(bytes(2048)), 8)) == 1


# Nobody's


@pytest.mark.parametrize("kind", [0, CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA, 24, WITH_CID, 26, 255])
@pytest.mark.parametrize("epoch", [0, 1, 2, 0xFFFF])
def test_a_stranger_changes_nothing(ends: Joined, kind: int, epoch: int) -> None:
    cid = ends.client.seal(b"x")[11:19]
    for body in (b"\1\0", b"\2\50", b"\1", bytes(40), b"\x14\0\0\x0c" + bytes(20), secrets.token_bytes(300)):
        for number in (0, 5, 2**48 - 1):
            header = bytes([kind, 0xFE, 0xFD]) + epoch.to_bytes(2, "big") + number.to_bytes(6, "big")
            header += cid if kind == WITH_CID else b""
            for session in (ends.server, ends.client):
                assert session.open(header + len(body).to_bytes(2, "big") + body) == NOTHING
    assert ends.server.take() == ends.client.take() == ()
    ends.exchange()


def first_hello() -> bytes:
    client = Session(psk_client())
    client.advance()
    return client.take()[0]


@pytest.mark.parametrize("cut", [0, 1, 20, 60])
@pytest.mark.parametrize(
    "front", [b"", b"\x15\xfe\xfd" + bytes(8) + b"\0\2\1\0"], ids=["alone", "behind another"]
)
def test_a_hello_does_not_end_a_session(ends: Joined, cut: int, front: bytes) -> None:
    """The library would take it for the peer's new beginning, wherever in a datagram it stands, and one
    that it cannot read for the end of the session."""
    hello = first_hello()
    hello = hello[:11] + (len(hello) - 13 - cut).to_bytes(2, "big") + hello[13 : len(hello) - cut]
    assert ends.server.open(front + hello) == NOTHING
    assert ends.server.take() == ()
    ends.exchange()


def test_not_even_with_a_good_cookie() -> None:
    """Who has listened to a handshake knows a cookie that is good for a minute."""
    ends = psk_joined()
    hellos = [d.data for d in ends.wire if d.to_server and d.data[0] == HANDSHAKE and d.data[13] == 1]
    assert len(hellos) == 2
    junk = b"\x15\xfe\xfd" + bytes(8) + b"\0\2\1\0"
    for data in (hellos[1], junk + hellos[1], b"".join(hellos)):
        assert ends.server.open(data) == NOTHING
    assert ends.server.take() == ()
    ends.exchange()


def test_a_handshake_played_again_changes_nothing() -> None:
    ends = psk_joined()
    for datagram in list(ends.wire):
        session = ends.server if datagram.to_server else ends.client
        assert session.open(datagram.data) == NOTHING
    ends.exchange()


@pytest.mark.parametrize("length", [*range(40), 200, 2048])
def test_nonsense_of_any_length(ends: Joined, length: int) -> None:
    assert ends.server.open(bytes(length)) == NOTHING
    assert ends.server.open(b"\x17" + bytes(length)) == NOTHING
    assert ends.server.open(secrets.token_bytes(length)) == NOTHING
    ends.exchange()


def test_every_byte_of_a_record_counts(ends: Joined) -> None:
    """But for its version, which RFC 6347 4.1 has authenticated too."""
    record = ends.client.seal(b"whole")
    for place in range(len(record)):
        changed = bytearray(record)
        changed[place] ^= 0x40
        assert ends.server.open(bytes(changed)) == NOTHING, place
        assert ends.server.open(record[:place]) == NOTHING, place
    assert ends.server.open(record).messages == (b"whole",)


def test_a_record_of_another_session_is_nothing(ends: Joined) -> None:
    other = psk_joined()
    cid = ends.client.seal(b"x")[11:19]
    record = other.client.seal(b"theirs")
    assert ends.server.open(record[:11] + cid + record[19:]) == NOTHING


def test_a_record_does_not_come_back(ends: Joined) -> None:
    """Reflected to who sent it."""
    assert ends.server.open(ends.server.seal(b"mine")) == NOTHING
    assert ends.client.open(ends.client.seal(b"mine")) == NOTHING


# Alerts


def test_close_notify_ends_a_session(ends: Joined) -> None:
    last = ends.client.seal(b"last words")
    ends.client.alert(CLOSE_NOTIFY)
    (alert,) = ends.client.take()
    assert alert[0] == WITH_CID
    assert ends.server.open(last + alert) == ((b"last words",), True, True, True)


def test_a_fatal_alert_ends_a_session(ends: Joined) -> None:
    ends.server.alert(ACCESS_DENIED)
    (alert,) = ends.server.take()
    assert alert[0] == ALERT
    assert ends.client.open(alert) == ((), True, True, True)


def test_an_alert_in_the_clear_ends_nothing(ends: Joined) -> None:
    assert ends.server.open(bytes([ALERT, 0xFE, 0xFD]) + bytes(8) + b"\0\2\2\50") == NOTHING
    ends.exchange()


# Before there is a session


def test_there_are_no_records_before_the_handshake_is_over() -> None:
    session = Session(psk_server())
    for attempt in (lambda: session.open(bytes(40)), lambda: session.seal(b"early"), session.freeze):
        with pytest.raises(DtlsError):
            attempt()
    assert session.take() == ()
    assert session.proof() is None
    assert not session.resumed
    assert not session.has_cid


def test_a_session_is_settled_once_the_client_has_spoken() -> None:
    ends = joined(psk_server(), psk_client()).shake()
    assert not ends.server.settled
    ends.exchange()
    assert ends.server.settled


def test_what_comes_with_the_finished_is_lost_and_no_more() -> None:
    """A datagram with the record that completes the handshake and another one: as on the way it may be."""
    ends = joined(psk_server(), psk_client())

    def doubled(datagram: Datagram) -> list[Datagram]:
        return [Datagram(datagram.to_server, datagram.data + datagram.data)]

    assert ends.shake(alters=doubled).done
    ends.exchange()
