"""Requests to devices and answers of theirs that need more than one block (RFC 7959)."""

from collections.abc import Mapping
from typing import Any

import pytest

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import Downlink, DownlinkReply, Method
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import (
    ACCEPT,
    BLOCK1,
    BLOCK2,
    CHANGED,
    CONTENT,
    CONTENT_FORMAT,
    CONTINUE,
    DEADLINE_S,
    ETAG,
    FETCH,
    GET,
    OBSERVE,
    PUT,
    SENML_CBOR,
    SIZE1,
    Block,
    DevicePeer,
    Frame,
)

from .asking import BODY, NOT_FOUND, READ, asking, write

INCOMPLETE, TOO_LARGE = 0x88, 0x8D


# Large answers


async def answer_in_blocks(
    peer: DevicePeer, request: Frame, body: bytes, szx: int = 4, **named: object
) -> list[Frame]:
    """Serve a body by Block2 until its end; the requests."""
    asked = [request]
    while True:
        block = request.block(BLOCK2) or Block(0, False, szx)
        start = block.number * block.size
        more = start + block.size < len(body)
        peer.answer(
            request,
            CONTENT,
            body[start : start + block.size],
            block2=Block(block.number, more, block.szx),
            **named,
        )
        if not more:
            return asked
        request = await peer.asked()
        asked.append(request)


async def test_an_answer_in_blocks(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, READ) as task:
        first = await peer.asked()
        _, *rest = await answer_in_blocks(peer, first, BODY, content_format=SENML_CBOR)
    assert task.result() == DownlinkReply("2.05", SENML_CBOR, BODY)
    assert len(rest) == 19
    for number, request in enumerate(rest, 1):
        assert (request.code, request.path, request.number(ACCEPT)) == (GET, "/3/0", 112)
        assert request.block(BLOCK2) == Block(number, False, 4)


async def test_the_blocks_of_an_observed_value_come_under_tokens_of_their_own(
    server: CoapServer, peer: DevicePeer
) -> None:
    """A notification that comes in between must not pass for a block."""
    observe = Downlink(Method.GET, Path.parse("/3303"), observe=0, token=b"12345678", timeout_s=DEADLINE_S)
    async with asking(server, peer, observe) as task:
        _, *rest = await answer_in_blocks(peer, await peer.asked(), BODY[:600], observe=1)
    assert task.result().payload == BODY[:600]
    assert task.result().observe == 1
    assert rest
    for request in rest:
        assert request.token != b"12345678"
        assert request.one(OBSERVE) is None


async def test_a_fetch_repeats_its_payload_for_each_block(server: CoapServer, peer: DevicePeer) -> None:
    fetch = Downlink(Method.FETCH, Path.ROOT, payload=b"\x80", content_format=112, timeout_s=DEADLINE_S)
    async with asking(server, peer, fetch) as task:
        requests = await answer_in_blocks(peer, await peer.asked(), BODY[:600])
    assert task.result().payload == BODY[:600]
    assert {(r.code, r.payload, r.number(CONTENT_FORMAT)) for r in requests} == {(FETCH, b"\x80", 112)}


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"block2": Block(2, False, 4)}, id="another block"),
        pytest.param({}, id="no block"),
        pytest.param({"block2": Block(1, True, 4), "more": ((ETAG, b"new"),)}, id="another ETag"),
        pytest.param({"block2": Block(1, True, 4), "code": NOT_FOUND}, id="an error"),
        pytest.param({"block2": Block(1, True, 4), "size": 100}, id="a block too short"),
    ],
)
async def test_blocks_that_do_not_fit(server: CoapServer, peer: DevicePeer, second: dict[str, Any]) -> None:
    second = dict(second)  # the parameters serve the same test over DTLS too
    code, size = second.pop("code", CONTENT), second.pop("size", 256)
    async with asking(server, peer, READ) as task:
        peer.answer(await peer.asked(), CONTENT, BODY[:256], block2=Block(0, True, 4))
        peer.answer(await peer.asked(), code, BODY[256 : 256 + size], **second)
    assert isinstance(task.exception(), PeerError)


async def test_a_first_block_that_is_not_its_size(server: CoapServer, peer: DevicePeer) -> None:
    for block, size in ((Block(0, True, 5), 100), (Block(3, True, 4), 256), (Block(0, True, 7), 1024)):
        async with asking(server, peer, READ) as task:
            peer.answer(await peer.asked(), CONTENT, b"x" * size, block2=block)
        assert isinstance(task.exception(), PeerError)


async def test_an_answer_without_end(
    server: CoapServer, peer: DevicePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flownexus_appliance.coap.downlink.MAX_REPLY", 4096)
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        for number in range(5):
            peer.answer(request, CONTENT, b"x" * 1024, block2=Block(number, True, 6))
            if number < 4:
                request = await peer.asked()
    assert isinstance(task.exception(), PeerError)
    await peer.silent()


# Large requests


async def take_blocks(
    peer: DevicePeer, answers: Mapping[int, tuple[int, Block | None]] | None = None
) -> list[Frame]:
    """Take an upload to its end with 2.31 and 2.04; `answers` says otherwise for the n-th block."""
    taken: list[Frame] = []
    while True:
        request = await peer.asked()
        block = request.block(BLOCK1)
        assert block is not None
        usual = CONTINUE if block.more else CHANGED
        code, echo = (answers or {}).get(len(taken), (usual, block))
        peer.answer(request, code, block1=echo)
        taken.append(request)
        if code == CHANGED and not block.more:
            return taken


def body_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.payload for frame in frames)


@pytest.mark.parametrize("size", [512, 513, 1024, 5120, 5121])
async def test_an_upload_in_blocks_of_512(server: CoapServer, peer: DevicePeer, size: int) -> None:
    body = (BODY + b"!")[:size]
    async with asking(server, peer, write(body)) as task:
        if size == 512:
            request = await peer.asked()
            assert (request.one(BLOCK1), request.one(SIZE1), request.payload) == (None, None, body)
            peer.answer(request, CHANGED)
        else:
            taken = await take_blocks(peer)
            assert body_of(taken) == body
            assert taken[0].number(SIZE1) == size
            assert all(frame.one(SIZE1) is None for frame in taken[1:])
            assert len({frame.token for frame in taken}) == 1, "Zephyr finds the blocks by their token"
            assert [frame.block(BLOCK1) for frame in taken] == [
                Block(number, (number + 1) * 512 < size, 5) for number in range(len(taken))
            ]
            assert {(f.code, f.path, f.number(CONTENT_FORMAT)) for f in taken} == {(PUT, "/5/0/0", 42)}
            assert all(len(frame.encode()) < 1211 for frame in taken)
    assert task.result() == DownlinkReply("2.04")


async def test_a_device_that_wants_smaller_blocks(server: CoapServer, peer: DevicePeer) -> None:
    """RFC 7959 2.3: its answer to the first block says so; Zephyr's 2.31 has M=0."""
    async with asking(server, peer, write(BODY)) as task:
        taken = await take_blocks(peer, {0: (CONTINUE, Block(0, False, 3))})
    assert task.result().success
    assert body_of(taken) == BODY
    assert taken[1].block(BLOCK1) == Block(4, True, 3)


async def test_a_final_answer_without_block1(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, write(BODY)) as task:
        await take_blocks(peer, {9: (CHANGED, None)})
    assert task.result().code == "2.04"


async def test_a_device_that_acts_on_each_block(server: CoapServer, peer: DevicePeer) -> None:
    """RFC 7959 2.3: 2.04 to a block in the middle does not mean that all has arrived."""
    stateless = {number: (CHANGED, Block(number, False, 5)) for number in range(9)}
    async with asking(server, peer, write(BODY)) as task:
        taken = await take_blocks(peer, stateless)
    assert body_of(taken) == BODY
    assert task.result().success


async def test_a_device_that_lost_its_place_gets_all_again(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, write(BODY)) as task:
        taken = await take_blocks(peer, {4: (INCOMPLETE, None)})
    assert task.result().success
    assert len(taken) == 15
    assert taken[5].block(BLOCK1) == Block(0, True, 5)
    assert taken[5].number(SIZE1) == len(BODY)
    assert body_of(taken[5:]) == BODY
    assert taken[5].token != taken[4].token


async def test_a_device_that_always_loses_its_place(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, write(BODY)) as task:
        for _ in range(3):
            peer.answer(await peer.asked(), INCOMPLETE)
    assert task.result().code == "4.08"
    await peer.silent()


@pytest.mark.parametrize(("echo", "szx"), [(Block(0, True, 2), 2), (None, 4), (Block(0, True, 6), 4)])
async def test_4_13_begins_anew_with_smaller_blocks(
    server: CoapServer, peer: DevicePeer, echo: Block | None, szx: int
) -> None:
    async with asking(server, peer, write(BODY)) as task:
        taken = await take_blocks(peer, {0: (TOO_LARGE, echo)})
    assert task.result().success
    assert taken[1].block(BLOCK1) == Block(0, True, szx)
    assert body_of(taken[1:]) == BODY


async def test_4_13_for_good(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, write(BODY)) as task:
        for _ in range(3):
            peer.answer(await peer.asked(), TOO_LARGE)
    assert task.result().code == "4.13"


async def test_an_error_in_the_middle_ends_an_upload(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, write(BODY)) as task:
        peer.answer(await peer.asked(), CONTINUE, block1=Block(0, True, 5))
        peer.answer(await peer.asked(), 0xA0, b"no room")
    assert task.result() == DownlinkReply("5.00", None, b"no room")
    await peer.silent()


async def test_a_device_that_asks_for_more_than_there_is(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, write(BODY[:600])) as task:
        for number in range(2):
            peer.answer(await peer.asked(), CONTINUE, block1=Block(number, True, 5))
    assert isinstance(task.exception(), PeerError)


async def test_the_answer_to_an_upload_may_be_large_too(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, write(BODY[:600])) as task:
        peer.answer(await peer.asked(), CONTINUE, block1=Block(0, True, 5))
        last = await peer.asked()
        peer.answer(last, CHANGED, BODY[:256], block1=Block(1, False, 5), block2=Block(0, True, 4))
        request = await peer.asked()
        assert (request.block(BLOCK2), request.payload) == (Block(1, False, 4), b"")
        peer.answer(request, CHANGED, BODY[256:300], block2=Block(1, False, 4))
    assert task.result().payload == BODY[:300]
