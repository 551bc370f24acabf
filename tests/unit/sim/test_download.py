"""A device fetches a package by CoAP, plain and over DTLS: block sizes, losses, difficult servers."""

import hashlib
from dataclasses import replace

import pytest

from flownexus_appliance.coap.dtls.engine import Kind
from flownexus_appliance.lwm2m.firmware import DeviceState, Protocol, UpdateResult
from flownexus_appliance.sim.download import Place, parse_uri
from flownexus_appliance.sim.firmware_options import AS_SOLD, FirmwareOptions
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Block, Code, Message, Type, encode_message
from flownexus_appliance.sim.package import make_package
from flownexus_appliance.sim.wire import Transmission

from .firmware_peer import CALM, PACKAGE, SecureFirmwarePeer, updatable
from .secure_peer import KEY, SECURE
from .test_bootstrap import NEW_KEY, Bootstrapper

IDLE, DOWNLOADING, DOWNLOADED = DeviceState.IDLE, DeviceState.DOWNLOADING, DeviceState.DOWNLOADED
INITIAL, LOST = UpdateResult.INITIAL, UpdateResult.CONNECTION_LOST
SECURE_URI = "coaps://192.0.2.9/fw/abcdef"


def digest(package: bytes) -> tuple[int, str]:
    return len(package), hashlib.sha256(package).hexdigest()


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512, 1024])
def test_a_package_is_fetched_in_blocks_of_any_size(size: int) -> None:
    peer = updatable(FirmwareOptions(block_size=size))
    peer.offer()
    assert peer.standing() == (DOWNLOADED, INITIAL)
    assert peer.device.firmware.fetched == (digest(PACKAGE),)
    exponent = Block.exponent_for(size)
    count = -(-len(PACKAGE) // size)
    assert [m.block2 for m in peer.depot.asked] == [Block(n, False, exponent) for n in range(count)]
    assert peer.statistics.firmware_bytes == len(PACKAGE)


def test_it_is_asked_for_as_zephyr_does() -> None:
    peer = updatable()
    peer.offer()
    assert peer.places == [("192.0.2.9", 5700)]
    first, *later = peer.depot.asked
    assert (first.code, first.type, first.path) == (Code.GET, Type.CON, ("fw", "abcdef"))
    assert first.query == ()
    assert first.size2 == 0
    assert {m.token for m in later} == {first.token}  # one for all blocks
    assert first.token
    assert {m.size2 for m in later} == {None}
    assert len({m.message_id for m in peer.depot.asked}) == len(peer.depot.asked)


def test_the_first_get_may_be_without_block2() -> None:
    peer = updatable(FirmwareOptions(early_block2=False, block_size=256))
    peer.offer()
    first, second, *_ = peer.depot.asked
    assert (first.block2, first.size2) == (None, None)
    assert second.block2 == Block(4, False, 4)  # 1024 bytes are there
    assert peer.device.firmware.fetched == (digest(PACKAGE),)


def test_a_server_with_smaller_blocks_is_followed() -> None:
    peer = updatable(FirmwareOptions(block_size=1024))
    peer.depot.exponent = 2
    peer.offer()
    assert peer.depot.asked[1].block2 == Block(1, False, 2)
    assert peer.device.firmware.fetched == (digest(PACKAGE),)


def test_a_package_of_one_block() -> None:
    peer = updatable()
    peer.depot.package = b"version=1.2.3\n"
    peer.offer()
    assert (len(peer.depot.asked), peer.standing()) == (1, (DOWNLOADED, INITIAL))


def test_a_server_need_not_tell_the_size() -> None:
    peer = updatable()
    peer.depot.tells_size = False
    peer.offer()
    assert peer.device.firmware.fetched == (digest(PACKAGE),)


def test_a_device_takes_its_time_to_write_a_block() -> None:
    peer = updatable(FirmwareOptions(block_s=2.0))
    peer.offer()
    assert len(peer.depot.asked) == 1
    peer.advance(8.1)
    assert len(peer.depot.asked) == 5
    assert peer.write("/5/0/1", "") == Code.CHANGED
    peer.advance(60.0)
    assert len(peer.depot.asked) == 5
    peer.offer()
    peer.advance(20.0)
    assert peer.device.firmware.fetched == (digest(PACKAGE),)
    assert peer.statistics.retransmissions == 0


def test_what_is_lost_is_asked_for_again() -> None:
    peer = updatable()
    peer.depot.lose = {0, 3, 4, 9}
    peer.offer()
    assert peer.standing() == (DOWNLOADING, INITIAL)
    peer.advance(30.0)
    assert peer.device.firmware.fetched == (digest(PACKAGE),)
    assert peer.statistics.retransmissions == 4


def test_a_server_that_goes_away_in_the_middle() -> None:
    options = replace(CALM, transmission=Transmission(1.0, 1.0, 2))
    peer = updatable(options=options)
    peer.depot.lose = set(range(4, 100))
    peer.offer()
    peer.advance(6.9)  # 1 + 2 + 4 s
    assert peer.standing() == (DOWNLOADING, INITIAL)
    peer.advance(0.2)
    assert (peer.standing(), len(peer.depot.asked)) == ((IDLE, LOST), 7)
    assert not peer.lines[0].open
    peer.depot.lose = set()
    peer.offer()
    assert peer.device.firmware.fetched == (digest(PACKAGE),)
    assert len(set(peer.lines)) == 2


@pytest.mark.parametrize(
    ("code", "result"),
    [
        (Code.NOT_FOUND, UpdateResult.INVALID_URI),
        (Code.UNAUTHORIZED, UpdateResult.INVALID_URI),
        (Code.INTERNAL_SERVER_ERROR, LOST),
    ],
)
def test_a_server_that_does_not_have_it(code: Code, result: UpdateResult) -> None:
    peer = updatable()
    peer.depot.code = code
    peer.offer()
    assert (peer.standing(), len(peer.depot.asked)) == ((IDLE, result), 1)


def test_a_package_that_is_another_one_begins_anew() -> None:
    peer = updatable()
    other = make_package("2.5.0", 4000)

    def before(number: int) -> None:
        if number == 3:
            peer.depot.package, peer.depot.etag = other, b"two"

    peer.depot.before = before
    peer.offer()
    assert peer.device.firmware.fetched == (digest(other),)
    assert [m.block2.number for m in peer.depot.asked if m.block2][:6] == [0, 1, 2, 3, 0, 1]


def test_a_package_that_changes_all_the_time_is_given_up() -> None:
    peer = updatable()

    def before(number: int) -> None:
        peer.depot.etag = str(number // 3).encode()

    peer.depot.before = before
    peer.offer()
    assert peer.standing() == (IDLE, LOST)


def test_a_package_that_does_not_fit_is_not_fetched() -> None:
    peer = updatable(FirmwareOptions(max_size=4000))
    peer.offer()
    assert (peer.standing(), len(peer.depot.asked)) == ((IDLE, UpdateResult.NO_STORAGE), 1)


def test_a_late_answer_is_taken_for_what_it_is() -> None:
    """Under one token a response that comes again, in a message of its own, is not the next block."""
    peer = updatable()
    peer.depot.lose = {2}
    peer.offer()
    token = peer.depot.asked[0].token
    late = Message(Code.CONTENT, PACKAGE[512:1024], type=Type.CON, message_id=7, token=token, etag=b"one")
    late.block2 = Block(1, True, 5)
    peer.lines[0].receive(encode_message(late), peer.now)
    peer.be_friendly()
    peer.advance(10.0)
    assert peer.device.firmware.fetched == (digest(PACKAGE),)


def test_a_separate_answer_is_acknowledged() -> None:
    peer = updatable()
    peer.depot.lose = {0}
    peer.offer()
    asked = peer.depot.asked[0]
    line = peer.lines[0]
    line.receive(encode_message(Message(Code.EMPTY, type=Type.ACK, message_id=asked.message_id)), peer.now)
    reply = Message(Code.CONTENT, b"version=9\n", type=Type.CON, message_id=99, token=asked.token)
    peer.depot.deaf = []
    line.receive(encode_message(reply), peer.now)
    assert peer.depot.deaf == [encode_message(Message(Code.EMPTY, type=Type.ACK, message_id=99))]
    assert peer.standing() == (DOWNLOADED, INITIAL)


def test_a_stranger_on_the_second_port_learns_nothing() -> None:
    peer = updatable()
    peer.depot.lose = {1}
    peer.offer()
    line = peer.lines[0]
    peer.depot.deaf = []
    line.receive(encode_message(Message(Code.GET, message_id=5, token=b"x", path=("3", "0"))), peer.now)
    assert peer.depot.deaf[0][1] == Code.NOT_FOUND
    peer.depot.deaf = None
    peer.advance(5.0)
    assert peer.standing() == (DOWNLOADED, INITIAL)


def test_a_name_is_asked_for_until_it_is_known() -> None:
    peer = updatable()
    peer.unknown = 3
    peer.offer("coap://box.example/fw/x")
    assert peer.standing() == (DOWNLOADING, INITIAL)
    peer.advance(1.0)
    assert peer.places == [("box.example", 5683)]
    assert peer.standing() == (DOWNLOADED, INITIAL)


def test_a_name_that_nobody_knows_is_given_up() -> None:
    peer = updatable()
    peer.unknown = 1000
    peer.offer("coap://nowhere.example/fw/x")
    peer.advance(9.0)
    assert peer.standing() == (DOWNLOADING, INITIAL)
    peer.advance(2.0)
    assert peer.standing() == (IDLE, LOST)


# URIs


def test_a_uri_is_read() -> None:
    assert parse_uri("coap://[2001:db8::1]/fw/a%2Fb") == Place(
        Protocol.COAP, "2001:db8::1", 5683, ("fw", "a/b"), "/fw/a%2Fb"
    )
    assert parse_uri("coaps://box.example:9/fw/x?y=1") == Place(
        Protocol.COAPS, "box.example", 9, ("fw", "x"), "/fw/x?y=1"
    )
    assert parse_uri("https://box.example").target == "/"


@pytest.mark.parametrize(
    ("uri", "result"),
    [
        ("ftp://192.0.2.1/fw", UpdateResult.UNSUPPORTED_PROTOCOL),
        ("coaps://192.0.2.1/fw", UpdateResult.UNSUPPORTED_PROTOCOL),  # of those it has coap alone
        ("https://192.0.2.1/fw", UpdateResult.UNSUPPORTED_PROTOCOL),
        ("nonsense", UpdateResult.INVALID_URI),
        ("/fw/abc", UpdateResult.INVALID_URI),
        ("coap://", UpdateResult.INVALID_URI),
        ("coap://host:port/fw", UpdateResult.INVALID_URI),
        ("coap://192.0.2.1:99999/fw", UpdateResult.INVALID_URI),
        ("coap://192.0.2.1:0/fw", UpdateResult.INVALID_URI),
        ("coap://[::1/fw", UpdateResult.INVALID_URI),
        ("coap://192.0.2.1/a b", UpdateResult.INVALID_URI),
    ],
)
def test_a_uri_that_is_none(uri: str, result: UpdateResult) -> None:
    peer = updatable()
    peer.offer(uri)
    assert (peer.standing(), peer.lines) == ((IDLE, result), [])


def test_a_plain_device_has_nothing_to_prove_itself_with() -> None:
    peer = updatable(FirmwareOptions(pull=(Protocol.COAPS,)))
    peer.offer(SECURE_URI)
    assert peer.standing() == (IDLE, UpdateResult.UNSUPPORTED_PROTOCOL)


# coaps


def secure(firmware: FirmwareOptions = AS_SOLD) -> SecureFirmwarePeer:
    peer = SecureFirmwarePeer(replace(SECURE, firmware=firmware))
    peer.boot()
    return peer


def state(peer: SecureFirmwarePeer) -> tuple[object, object]:
    told = peer.read(peer.get("/5/0"), "/5/0")
    return told["/5/0/3"], told["/5/0/5"]


def offer(peer: SecureFirmwarePeer) -> None:
    assert peer.write("/5/0/1", SECURE_URI) == Code.CHANGED
    peer.advance(0.0)


def test_a_package_is_fetched_over_dtls_of_its_own() -> None:
    peer = secure()
    peer.gate.ring.put(Kind.PSK, b"sim-0001", KEY)
    assert peer.read(peer.get("/5/0/8"), "/5/0/8") == {"/5/0/8/0": Protocol.COAPS}
    offer(peer)
    assert state(peer) == (DOWNLOADED, INITIAL)
    assert peer.device.firmware.fetched == (digest(PACKAGE),)
    assert (peer.gate.handshakes, peer.gate.closed) == (1, 1)  # it said good-bye
    assert (peer.server.handshakes, peer.server.closed) == (1, 0)  # that one goes on
    assert not peer.lines[0].open


def test_a_server_that_does_not_let_it_in() -> None:
    peer = secure()
    peer.gate.ring.put(Kind.PSK, b"sim-0001", b"another key".ljust(16))
    offer(peer)
    peer.advance(200.0)
    assert state(peer) == (IDLE, LOST)
    assert peer.get("/3/0/2").payload  # nothing of this is the registration's


def test_a_session_that_the_server_ends_is_a_lost_connection() -> None:
    peer = secure()
    peer.gate.ring.put(Kind.PSK, b"sim-0001", KEY)
    peer.depot.lose = {3}
    offer(peer)
    (session,) = peer.gate.by_id.values()
    session.alert(0)
    peer.under_way += [(peer.lines[0], data) for data in session.take()]
    peer.be_friendly()
    assert state(peer) == (IDLE, LOST)


def test_a_reset_closes_the_session() -> None:
    peer = secure()
    peer.gate.ring.put(Kind.PSK, b"sim-0001", KEY)
    peer.depot.lose = {3}
    offer(peer)
    assert peer.write("/5/0/1", "") == Code.CHANGED
    assert (peer.gate.closed, peer.lines[0].open) == (1, False)
    assert state(peer) == (IDLE, INITIAL)


class BootstrappedPeer(SecureFirmwarePeer, Bootstrapper):
    """The same of a device that has its account from a Bootstrap-Server."""


@pytest.mark.parametrize("first", [False, True])
def test_a_bootstrapped_device_proves_itself_by_the_one_or_the_other(first: bool) -> None:
    """Zephyr fetches by Security instance 0, whatever it registered by."""
    firmware = FirmwareOptions(first_credential=first)
    peer = BootstrappedPeer(replace(SECURE, bootstrap=True, firmware=firmware))
    peer.bootstrap()
    assert peer.is_in(State.REGISTERED)
    identity, key = (b"sim-0001", KEY) if first else (b"new", NEW_KEY)
    peer.gate.ring.put(Kind.PSK, identity, key)
    offer(peer)
    assert state(peer) == (DOWNLOADED, INITIAL)


def test_a_secure_device_installs_and_shakes_hands_anew() -> None:
    peer = secure()
    peer.gate.ring.put(Kind.PSK, b"sim-0001", KEY)
    offer(peer)
    assert peer.execute("/5/0/2") == Code.CHANGED
    peer.advance(5.0)
    assert state(peer) == (IDLE, UpdateResult.SUCCESS)
    assert peer.server.handshakes == 2
    assert len(peer.places) == 1
