"""Block-wise transfers apart from a device: assembling, slicing, uploading, and their bounds."""

from random import Random

import pytest

from flownexus_appliance.sim.blocks import IDLE_S, MAX_BODY_BYTES, Assembly, Slices, Upload
from flownexus_appliance.sim.messages import Block, Code, Message, Type, decode_message, encode_message
from flownexus_appliance.sim.objects import RefusedError
from flownexus_appliance.sim.statistics import Statistics
from flownexus_appliance.sim.wire import MessageLayer, Outcome


def put(number: int, more: bool, payload: bytes, exponent: int = 0, path: str = "5") -> Message:
    return Message(Code.PUT, payload, path=(path,), block1=Block(number, more, exponent))


def refused(assembly: Assembly, request: Message, now: float = 0.0) -> Code:
    with pytest.raises(RefusedError) as caught:
        assembly.take(request, now)
    return caught.value.code


# Assembly


def test_blocks_become_a_body() -> None:
    assembly = Assembly(1024)
    first = assembly.take(put(0, True, bytes(16)), 0.0)
    assert first == Message(Code.CONTINUE, block1=Block(0, True, 0))
    last = put(1, False, b"end")
    assert assembly.take(last, 1.0) is None
    assert last.payload == bytes(16) + b"end"


def test_a_smaller_block_size_is_asked_for_and_counted_right() -> None:
    assembly = Assembly(16)
    first = assembly.take(put(0, True, bytes(64), exponent=2), 0.0)
    assert first == Message(Code.CONTINUE, block1=Block(0, True, 0))
    assert assembly.take(put(4, True, bytes(16)), 0.0) is not None
    last = put(5, False, b"x")
    assert assembly.take(last, 0.0) is None
    assert len(last.payload) == 81


def test_a_block_sent_twice_is_taken_once() -> None:
    assembly = Assembly(1024)
    assembly.take(put(0, True, b"a" * 16), 0.0)
    assembly.take(put(1, True, b"b" * 16), 0.0)
    assembly.take(put(1, True, b"b" * 16), 0.0)
    last = put(2, False, b"c")
    assembly.take(last, 0.0)
    assert last.payload == b"a" * 16 + b"b" * 16 + b"c"


def test_a_new_first_block_starts_over() -> None:
    assembly = Assembly(1024)
    assembly.take(put(0, True, b"a" * 16), 0.0)
    assembly.take(put(0, True, b"b" * 16), 0.0)
    last = put(1, False, b"c")
    assembly.take(last, 0.0)
    assert last.payload == b"b" * 16 + b"c"


def test_gaps_pauses_and_strangers_are_incomplete() -> None:
    assembly = Assembly(1024)
    assembly.take(put(0, True, bytes(16)), 0.0)
    assert refused(assembly, put(2, True, bytes(16))) == Code.REQUEST_ENTITY_INCOMPLETE
    assembly.take(put(0, True, bytes(16)), 0.0)
    assert refused(assembly, put(1, True, bytes(16), path="6")) == Code.REQUEST_ENTITY_INCOMPLETE
    assert refused(assembly, put(1, True, bytes(16)), IDLE_S) == Code.REQUEST_ENTITY_INCOMPLETE


def test_a_block_of_a_wrong_size_is_bad() -> None:
    assert refused(Assembly(1024), put(0, True, bytes(15))) == Code.BAD_REQUEST
    assert refused(Assembly(1024), put(0, True, bytes(2048), exponent=7)) == Code.BAD_REQUEST


def test_too_much_is_too_large_announced_or_not() -> None:
    announced = put(0, True, bytes(16))
    announced.size1 = MAX_BODY_BYTES + 1
    assert refused(Assembly(1024), announced) == Code.REQUEST_ENTITY_TOO_LARGE
    assembly = Assembly(1024)
    block = bytes(1024)
    for number in range(MAX_BODY_BYTES // 1024):
        assembly.take(put(number, True, block, exponent=6), 0.0)
    over = put(MAX_BODY_BYTES // 1024, True, block, exponent=6)
    assert refused(assembly, over) == Code.REQUEST_ENTITY_TOO_LARGE


# Slices


def test_small_and_failed_responses_go_whole() -> None:
    slices = Slices(32)
    small = Message(Code.CONTENT, bytes(32))
    assert slices.first_block((), small, None, 0.0) is small
    failed = Message(Code.NOT_FOUND, bytes(100))
    assert slices.first_block((), failed, Block(0, False, 0), 0.0) is failed


def test_what_is_kept_is_forgotten_when_nobody_comes_for_it() -> None:
    slices = Slices(32)
    request = Message(Code.GET, path=("3",))
    first = slices.first_block(Slices.key(request), Message(Code.CONTENT, bytes(100)), None, 0.0)
    assert first.block2 == Block(0, True, 1)
    request.block2 = Block(1, False, 1)
    second = slices.later_block(request, IDLE_S - 1)
    assert second is not None
    assert second.block2 == Block(1, True, 1)
    assert slices.later_block(request, 3 * IDLE_S) is None


def test_a_larger_block_than_ours_is_answered_in_ours_at_the_same_place() -> None:
    slices = Slices(16)
    request = Message(Code.GET, path=("3",))
    payload = bytes(range(100))
    slices.first_block(Slices.key(request), Message(Code.CONTENT, payload), None, 0.0)
    request.block2 = Block(1, False, 2)  # the bytes from 64 on
    reply = slices.later_block(request, 0.0)
    assert reply is not None
    assert (reply.block2, reply.payload) == (Block(4, True, 0), payload[64:80])


# Upload


class Server:
    """A device's message layer, and what an upload over it puts on the wire."""

    def __init__(self, size: int, block_size: int) -> None:
        self.sent: list[Message] = []
        self.ended: list[tuple[Outcome, Message | None]] = []
        layer = MessageLayer(
            lambda data: self.sent.append(decode_message(data)),
            lambda request, now: request,
            lambda message_id: None,
            Random(1),
            Statistics(),
        )
        request = Message(Code.POST, bytes(range(size)), path=("dp",), query=("q",), content_format=112)
        upload = Upload(
            layer, request, block_size, lambda outcome, response, now: self.ended.append((outcome, response))
        )
        self.layer = layer
        layer.submit(upload, 0.0)

    def answer(self, code: Code, block1: Block | None = None) -> None:
        sent = self.sent[-1]
        reply = Message(code, type=Type.ACK, message_id=sent.message_id, token=sent.token, block1=block1)
        self.layer.receive(encode_message(reply), 0.0)


def test_what_fits_goes_whole() -> None:
    server = Server(64, 64)
    assert server.sent[0].block1 is None
    server.answer(Code.CHANGED)
    assert server.ended[0][0] is Outcome.ANSWERED


def test_an_upload_goes_on_block_by_block() -> None:
    server = Server(100, 32)
    while not server.ended:
        block = server.sent[-1].block1
        assert block is not None
        server.answer(Code.CONTINUE if block.more else Code.CHANGED, block)
    assert b"".join(m.payload for m in server.sent) == bytes(range(100))
    assert [m.block1 for m in server.sent] == [Block(n, n < 3, 1) for n in range(4)]
    assert {(m.path, m.query, m.content_format) for m in server.sent} == {(("dp",), ("q",), 112)}
    assert [m.size1 for m in server.sent] == [100, None, None, None]
    assert len({m.token for m in server.sent}) == 4


def test_the_server_may_ask_for_smaller_blocks_on_the_way() -> None:
    server = Server(100, 64)
    server.answer(Code.CONTINUE, Block(0, True, 0))
    assert server.sent[-1].block1 == Block(4, True, 0)
    server.answer(Code.CONTINUE, Block(4, True, 0))
    server.answer(Code.CONTINUE, Block(5, True, 0))
    server.answer(Code.CHANGED, Block(6, False, 0))
    assert b"".join(m.payload for m in server.sent) == bytes(range(100))
    assert len(server.ended) == 1


def test_the_server_may_ask_to_begin_anew_with_smaller_blocks() -> None:
    server = Server(100, 64)
    server.answer(Code.REQUEST_ENTITY_TOO_LARGE, Block(0, True, 1))
    assert server.sent[-1].block1 == Block(0, True, 1)
    assert server.ended == []


@pytest.mark.parametrize("code", [Code.REQUEST_ENTITY_TOO_LARGE, Code.REQUEST_ENTITY_INCOMPLETE])
def test_an_error_ends_it(code: Code) -> None:
    server = Server(100, 64)
    server.answer(code)
    ((outcome, response),) = server.ended
    assert outcome is Outcome.ANSWERED
    assert response is not None
    assert response.code == code
