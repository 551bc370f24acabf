"""A package that is written to a device: blocks in order, twice, out of order, too large, and no more."""

import hashlib

import pytest

from flownexus_appliance.lwm2m.codecs import encode
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.firmware import DeliveryMethod, DeviceState, UpdateResult
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record
from flownexus_appliance.sim.firmware_options import FirmwareOptions
from flownexus_appliance.sim.messages import Block, Code, Message

from .firmware_peer import PACKAGE, FirmwarePeer, updatable

IDLE, DOWNLOADING, DOWNLOADED = DeviceState.IDLE, DeviceState.DOWNLOADING, DeviceState.DOWNLOADED
INITIAL = UpdateResult.INITIAL


def whole(peer: FirmwarePeer) -> bool:
    """Whether the device has the very package, and no more than that."""
    return peer.device.firmware.fetched == ((len(PACKAGE), hashlib.sha256(PACKAGE).hexdigest()),)


@pytest.mark.parametrize("size", [16, 64, 512, 1024])
def test_a_package_is_written_block_by_block(size: int) -> None:
    peer = updatable()
    reply = peer.push_block(0, size)
    exponent = Block.exponent_for(size)
    assert (reply.code, reply.block1) == (Code.CONTINUE, Block(0, True, exponent))
    assert peer.standing() == (DOWNLOADING, INITIAL)
    last = peer.push(size=size)
    assert last.code == Code.CHANGED
    assert last.block1 == Block(len(PACKAGE) // size, False, exponent)
    assert peer.standing() == (DOWNLOADED, INITIAL)
    assert whole(peer)
    assert peer.device.profile.tree.get(Path.of(5, 0, 0)) == b""  # nothing of it is kept


def test_every_block_comes_twice() -> None:
    peer = updatable()
    for number in range(-(-len(PACKAGE) // 512)):
        first, second = peer.push_block(number), peer.push_block(number)
        assert (first.code, first.block1) == (second.code, second.block1)
    assert peer.standing() == (DOWNLOADED, INITIAL)
    assert whole(peer)


def test_the_first_block_begins_anew() -> None:
    peer = updatable()
    for number in (0, 1, 2, 0):
        assert peer.push_block(number).code == Code.CONTINUE
    assert peer.push_block(3).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.push().code == Code.CHANGED
    assert whole(peer)


def test_blocks_out_of_order_are_incomplete() -> None:
    peer = updatable()
    assert peer.push_block(1).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.standing() == (IDLE, INITIAL)
    peer.push_block(0)
    assert peer.push_block(2).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.push_block(1).code == Code.CONTINUE


def test_a_block_that_is_not_what_it_says() -> None:
    peer = updatable()
    put = Message(Code.PUT, b"short", path=("5", "0", "0"), content_format=42, block1=Block(0, True, 5))
    assert peer.request(put).code == Code.BAD_REQUEST
    assert peer.standing() == (IDLE, INITIAL)


def test_the_device_has_smaller_blocks() -> None:
    peer = updatable(FirmwareOptions(push_block_size=256))
    reply = peer.push_block(0, 1024)
    assert (reply.code, reply.block1) == (Code.REQUEST_ENTITY_TOO_LARGE, Block(0, True, 4))
    assert peer.standing() == (IDLE, INITIAL)
    assert peer.push(size=256).code == Code.CHANGED


@pytest.mark.parametrize("sized", [True, False])
def test_a_package_that_does_not_fit(sized: bool) -> None:
    peer = updatable(FirmwareOptions(max_size=1500))
    replies = [peer.push_block(number, 512, sized=sized) for number in range(3)]
    expected = (
        [Code.REQUEST_ENTITY_TOO_LARGE, *[Code.REQUEST_ENTITY_INCOMPLETE] * 2]
        if sized
        else [Code.CONTINUE, Code.CONTINUE, Code.REQUEST_ENTITY_TOO_LARGE]
    )
    assert [reply.code for reply in replies] == expected
    assert replies[0].block1 is None or not sized  # no smaller block would help
    assert peer.standing() == (IDLE, UpdateResult.NO_STORAGE)


def test_a_package_that_ends_early() -> None:
    peer = updatable()
    assert peer.push(PACKAGE[:1500]).code == Code.INTERNAL_SERVER_ERROR
    assert peer.standing() == (IDLE, UpdateResult.INTEGRITY_FAILED)


def test_a_server_that_goes_away_in_the_middle() -> None:
    peer = updatable(FirmwareOptions(push_idle_s=60.0))
    peer.push_block(0)
    peer.advance(50.0)
    peer.push_block(1)
    peer.advance(59.0)
    assert peer.standing() == (DOWNLOADING, INITIAL)
    peer.advance(2.0)
    assert peer.standing() == (IDLE, UpdateResult.CONNECTION_LOST)
    assert peer.push().code == Code.CHANGED
    peer.advance(3600.0)
    assert peer.standing() == (DOWNLOADED, INITIAL)


def test_no_more_blocks_once_it_is_all_there() -> None:
    peer = updatable()
    package = b"version=3.0.0\n".ljust(1024, b".")
    assert peer.push(package).code == Code.CHANGED
    longer = package + bytes(1024)
    assert peer.push_block(2, 512, longer).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.push_block(0, 512, longer).code == Code.METHOD_NOT_ALLOWED
    assert peer.update() == Code.CHANGED
    assert peer.push_block(2, 512, longer).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.push_block(1, 512, package).code == Code.REQUEST_ENTITY_INCOMPLETE
    peer.advance(5.0)
    assert peer.device.firmware.version == "3.0.0"


def test_a_reset_in_the_middle() -> None:
    peer = updatable()
    peer.push_block(0)
    assert peer.write("/5/0/1", "") == Code.CHANGED
    assert peer.push_block(1).code == Code.REQUEST_ENTITY_INCOMPLETE
    assert peer.standing() == (IDLE, INITIAL)


@pytest.mark.parametrize(
    "content_format", [ContentFormat.OPAQUE, ContentFormat.TLV, ContentFormat.SENML_CBOR]
)
def test_a_small_package_is_written_in_one(content_format: int) -> None:
    peer = updatable()
    at = Path.of(5, 0, 0)
    small = b"version=3.0.0\n"
    payload = encode(content_format, (Record(at, small, DataType.OPAQUE),), base=at)
    assert peer.put("/5/0/0", payload, content_format) == Code.CHANGED
    assert (peer.standing(), peer.text("/5/0/7")) == ((DOWNLOADED, INITIAL), "3.0.0")
    assert peer.device.profile.tree.get(at) == b""


def test_a_package_as_tlv_comes_in_blocks() -> None:
    peer = updatable()
    at = Path.of(5, 0, 0)
    payload = encode(ContentFormat.TLV, (Record(at, PACKAGE, DataType.OPAQUE),), base=at)
    for number in range(5):
        part = payload[number * 1024 : (number + 1) * 1024]
        block = Block(number, number < 4, 6)
        put = Message(Code.PUT, part, path=("5", "0", "0"), content_format=ContentFormat.TLV, block1=block)
        assert peer.request(put).code == (Code.CONTINUE if number < 4 else Code.CHANGED)
    assert peer.standing() == (DOWNLOADED, INITIAL)
    assert whole(peer)


def test_one_block_may_be_all_of_it() -> None:
    peer = updatable()
    reply = peer.push_block(0, 512, b"version=3.0.0\n")
    assert (reply.code, reply.block1) == (Code.CHANGED, Block(0, False, 5))
    assert peer.standing() == (DOWNLOADED, INITIAL)
    assert peer.push_block(0, 512, b"\0").code == Code.CHANGED
    assert peer.standing() == (IDLE, INITIAL)


def test_a_device_that_fetches_is_not_pushed() -> None:
    peer = updatable(FirmwareOptions(method=DeliveryMethod.PULL))
    assert peer.push().code == Code.METHOD_NOT_ALLOWED
    assert peer.put("/5/0/0", b"version=1.2.3\n", 42) == Code.METHOD_NOT_ALLOWED
    assert peer.put("/5/0/0", b"\0", 42) == Code.CHANGED


def test_a_device_that_is_pushed_does_not_fetch() -> None:
    peer = updatable(FirmwareOptions(method=DeliveryMethod.PUSH))
    peer.offer()
    assert peer.standing() == (IDLE, UpdateResult.UNSUPPORTED_PROTOCOL)


def test_a_push_does_not_disturb_a_download() -> None:
    peer = updatable()
    peer.depot.lose = {2}
    peer.offer()
    assert peer.push().code == Code.METHOD_NOT_ALLOWED
    peer.advance(5.0)
    assert peer.standing() == (DOWNLOADED, INITIAL)
