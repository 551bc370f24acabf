"""The CoAP messages of the simulator, both ways."""

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.sim.messages import Block, Code, Message, Type, decode_message, encode_message

REGISTER = Message(
    Code.POST,
    b"</1/0>",
    type=Type.CON,
    message_id=0x1234,
    token=b"\x01\x02\x03\x04\x05\x06\x07\x08",
    path=("rd",),
    query=("lwm2m=1.1", "ep=sim-0001", "lt=300"),
    content_format=40,
)
# RFC 7252 3: version 1, CON, 8 bytes of token; 0.02; Uri-Path (11), Content-Format (12), Uri-Query
# (15), three of them; the payload marker.
REGISTER_BYTES = bytes.fromhex(
    "48021234 0102030405060708 b2 7264 11 28"
    "39 6c776d326d3d312e31 0b 65703d73696d2d30303031 06 6c743d333030 ff 3c2f312f303e"
)


def test_a_register_looks_as_the_rfc_says() -> None:
    assert encode_message(REGISTER) == REGISTER_BYTES
    assert decode_message(REGISTER_BYTES) == REGISTER


@pytest.mark.parametrize(
    "message",
    [
        Message(Code.EMPTY, type=Type.ACK, message_id=7),
        Message(Code.EMPTY, type=Type.RST, message_id=65535),
        Message(Code.EMPTY, type=Type.CON, message_id=0),
        Message(Code.CONTENT, b"x", token=b"t", observe=0xABCDEF, content_format=0),
        Message(Code.CREATED, type=Type.ACK, token=b"t", location=("rd", "abc")),
        Message(Code.FETCH, b"p", token=b"", accept=112, content_format=112, observe=0),
        Message(Code.PUT, bytes(64), path=("5", "0", "0"), block1=Block(3, True, 2), size1=9000),
        Message(Code.CONTENT, bytes(16), block2=Block(0, False, 0), size2=16),
    ],
)
def test_messages_survive_the_wire(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40\x01\x00",
        b"\x80\x01\x00\x01",  # version 2
        b"\x49\x01\x00\x01123456789",  # nine bytes of token
        b"\x48\x01\x00\x01123",  # a token cut short
        b"\x41\x00\x00\x01t",  # an Empty message with a token
        b"\x40\x01\x00\x01\xbdx",  # an option cut short
        b"\x40\x01\x00\x01\xf0",  # the reserved delta
        b"\x40\x01\x00\x01\xb1\xff",  # a path that is not UTF-8
    ],
)
def test_what_is_no_message_is_a_peer_error(data: bytes) -> None:
    with pytest.raises(PeerError, match="message_invalid"):
        decode_message(data)


def test_a_critical_option_is_noticed_an_elective_one_is_not() -> None:
    if_match = bytes.fromhex("40010001 10")  # option 1, empty
    etag = bytes.fromhex("40010001 4101")  # option 4
    assert decode_message(if_match).bad_option
    assert not decode_message(etag).bad_option


@pytest.mark.parametrize(
    ("size", "exponent"), [(1, 0), (16, 0), (31, 0), (32, 1), (512, 5), (1024, 6), (4096, 6)]
)
def test_the_exponent_of_a_block_size(size: int, exponent: int) -> None:
    assert Block.exponent_for(size) == exponent
