"""Requests to devices: one exchange, and as many as blocks need."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import DeviceSilent, Downlink, DownlinkReply, Method, Verdict
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import (
    ACCEPT,
    ACK,
    BLOCK1,
    BLOCK2,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    CONTINUE,
    DEADLINE_S,
    DELETE,
    EMPTY,
    ETAG,
    FETCH,
    GET,
    IPATCH,
    NON,
    OBSERVE,
    POST,
    PUT,
    RST,
    SENML_CBOR,
    SIZE1,
    TLV,
    Block,
    DevicePeer,
    Frame,
    options,
)

from .conftest import ScriptedUplinks

READ = Downlink(Method.GET, Path.parse("/3/0"), accept=SENML_CBOR, timeout_s=DEADLINE_S)
BODY = bytes(range(256)) * 20  # 5120 bytes
NOT_FOUND, INCOMPLETE, TOO_LARGE = 0x84, 0x88, 0x8D


@asynccontextmanager
async def asking(
    server: CoapServer, peer: DevicePeer, downlink: Downlink
) -> AsyncIterator["asyncio.Task[DownlinkReply]"]:
    task = asyncio.create_task(server.request(peer.address, downlink))
    try:
        yield task
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait([task])
    finally:
        task.cancel()


async def within(work: Coroutine[Any, Any, DownlinkReply]) -> DownlinkReply:
    async with asyncio.timeout(DEADLINE_S):
        return await work


def write(payload: bytes) -> Downlink:
    return Downlink(
        Method.PUT, Path.parse("/5/0/0"), payload=payload, content_format=42, timeout_s=DEADLINE_S
    )


# What a request looks like


@pytest.mark.parametrize(
    ("downlink", "code", "path", "query", "numbers", "payload"),
    [
        (READ, GET, "/3/0", (), {ACCEPT: 112}, b""),
        (Downlink(Method.GET, Path.parse("/3")), GET, "/3", (), {}, b""),
        (Downlink(Method.GET, Path.ROOT, root_path="/lwm2m"), GET, "/lwm2m", (), {}, b""),
        (Downlink(Method.GET, Path.parse("/3/0"), root_path="/a/b/"), GET, "/a/b/3/0", (), {}, b""),
        (
            Downlink(Method.PUT, Path.parse("/3/0/14"), payload=b"+01:00", content_format=0),
            PUT,
            "/3/0/14",
            (),
            {CONTENT_FORMAT: 0},
            b"+01:00",
        ),
        (
            Downlink(Method.PUT, Path.parse("/3303/0"), query=("pmin=10", "pmax")),
            PUT,
            "/3303/0",
            ("pmin=10", "pmax"),
            {},
            b"",
        ),
        (Downlink(Method.POST, Path.parse("/3/0/4")), POST, "/3/0/4", (), {}, b""),
        (Downlink(Method.DELETE, Path.parse("/3303/1")), DELETE, "/3303/1", (), {}, b""),
        (
            Downlink(Method.FETCH, Path.ROOT, payload=b"\x80", content_format=112, accept=112),
            FETCH,
            "/",
            (),
            {CONTENT_FORMAT: 112, ACCEPT: 112},
            b"\x80",
        ),
        (Downlink(Method.IPATCH, Path.ROOT, payload=b"\x80"), IPATCH, "/", (), {}, b"\x80"),
    ],
)
async def test_requests(
    server: CoapServer,
    peer: DevicePeer,
    downlink: Downlink,
    code: int,
    path: str,
    query: tuple[str, ...],
    numbers: dict[int, int],
    payload: bytes,
) -> None:
    async with asking(server, peer, downlink) as task:
        request = await peer.asked()
        assert (request.code, request.path, request.query, request.payload) == (code, path, query, payload)
        others = {number for number, _ in request.options} - {11, 15}
        assert {number: request.number(number) for number in others} == numbers
        assert len(request.token) == 8
        peer.answer(request, CHANGED)
    assert task.result() == DownlinkReply("2.04")


async def test_a_first_get_never_carries_block2(server: CoapServer, peer: DevicePeer) -> None:
    """Zephyr drops such a request silently."""
    async with asking(server, peer, READ):
        request = await peer.asked()
        assert request.one(BLOCK2) is None
        peer.answer(request, CONTENT)


async def test_tokens_and_message_ids_differ(server: CoapServer, peer: DevicePeer) -> None:
    seen = set()
    for _ in range(5):
        async with asking(server, peer, READ):
            request = await peer.asked()
            seen.add((request.mid, request.token))
            peer.answer(request, CONTENT)
    assert len({mid for mid, _ in seen}) == len({token for _, token in seen}) == 5


# How it is answered


async def test_a_piggybacked_response(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, READ) as task:
        peer.answer(await peer.asked(), CONTENT, b"\x80", content_format=SENML_CBOR)
    assert task.result() == DownlinkReply("2.05", SENML_CBOR, b"\x80")
    await peer.silent()


@pytest.mark.parametrize(
    ("code", "text"), [(NOT_FOUND, "4.04"), (0x86, "4.06"), (0xA0, "5.00"), (0x9F, "4.31")]
)
async def test_an_error_is_an_answer(server: CoapServer, peer: DevicePeer, code: int, text: str) -> None:
    async with asking(server, peer, READ) as task:
        peer.answer(await peer.asked(), code, b"why")
    assert task.result() == DownlinkReply(text, None, b"why")
    assert not task.result().success


async def test_a_separate_response_is_acknowledged(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        peer.acknowledge(request)
        await peer.silent()
        peer.send(Frame(CON, CONTENT, 500, request.token, options(content_format=TLV), b"tlv"))
        assert await peer.receive() == Frame(ACK, EMPTY, 500)
    assert task.result() == DownlinkReply("2.05", TLV, b"tlv")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", [CON, NON])
async def test_a_response_whose_acknowledgement_was_lost_ends_the_retransmissions(
    server: CoapServer, peer: DevicePeer, kind: int
) -> None:
    """Zephyr carries out what comes twice (zephyr #86978): an Execute must not be sent again."""
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        peer.send(Frame(kind, CONTENT, 500, request.token, (), b"late"))
    assert task.result().payload == b"late"
    acknowledgement = [Frame(ACK, EMPTY, 500)] if kind == CON else []
    assert [frame for frame in await said(peer) if frame != request] == acknowledgement
    await outlasts_retransmissions(server, peer)


async def said(peer: DevicePeer) -> list[Frame]:
    """What the server has said and nobody has read."""
    peer.send(Frame(CON, EMPTY, 0xFFFF))
    frames = []
    while (frame := await peer.receive()) != Frame(RST, EMPTY, 0xFFFF):
        frames.append(frame)
    return frames


async def outlasts_retransmissions(server: CoapServer, peer: DevicePeer) -> None:
    """Until a later request was sent twice more: an earlier one would have been, too."""
    async with asking(server, peer, READ):
        request = await peer.asked()
        for _ in range(2):
            assert await peer.asked() == request
        peer.answer(request, CONTENT)


async def test_a_reset_is_silence(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, READ) as task:
        peer.reset(await peer.asked())
    error = task.exception()
    assert isinstance(error, DeviceSilent)
    assert error.code == "device_unanswered"
    assert "reset" in error.message
    assert error.hint


@pytest.mark.usefixtures("impatient")
async def test_no_answer_at_all(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        assert [await peer.asked() for _ in range(2)] == [request, request]
    error = task.exception()
    assert isinstance(error, DeviceSilent)
    assert peer.address in error.message
    await peer.silent()


async def test_an_acknowledgement_and_then_nothing(server: CoapServer, peer: DevicePeer) -> None:
    """wakaama answers FETCH so; the client stays usable."""
    hasty = Downlink(Method.FETCH, Path.ROOT, payload=b"\x80", timeout_s=0.05)
    async with asking(server, peer, hasty) as task:
        peer.acknowledge(await peer.asked())
    error = task.exception()
    assert isinstance(error, DeviceSilent)
    assert "within" in error.message
    async with asking(server, peer, READ) as task:
        peer.answer(await peer.asked(), CONTENT, b"here")
    assert task.result().payload == b"here"


@pytest.mark.usefixtures("impatient")
async def test_what_nobody_waits_for_is_not_sent_again(server: CoapServer, peer: DevicePeer) -> None:
    task = asyncio.create_task(server.request(peer.address, READ))
    given_up = await peer.asked()
    task.cancel()
    await asyncio.wait([task])
    assert all(frame == given_up for frame in await said(peer))
    await outlasts_retransmissions(server, peer)
    peer.answer(given_up, CONTENT, b"late")  # and its late answer bothers nobody
    await peer.silent()


async def test_a_second_request_waits_for_the_first(server: CoapServer, peer: DevicePeer) -> None:
    """NSTART is 1 (RFC 7252 4.7)."""
    first = asyncio.create_task(server.request(peer.address, READ))
    request = await peer.asked()
    second = asyncio.create_task(server.request(peer.address, write(b"x")))
    third = asyncio.create_task(server.request(peer.address, READ))
    await peer.silent()
    second.cancel()
    await asyncio.wait([second])
    peer.answer(request, CONTENT, b"one")
    assert (await within(_result(first))).payload == b"one"
    request = await peer.asked()
    assert request.code == GET
    peer.answer(request, CONTENT, b"three")
    assert (await within(_result(third))).payload == b"three"
    await peer.silent()


async def _result(task: "asyncio.Task[DownlinkReply]") -> DownlinkReply:
    return await task


async def test_an_answer_from_another_address_is_not_taken(
    server: CoapServer, peer: DevicePeer, other_peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        other_peer.answer(request, CONTENT, b"forged")
        await other_peer.silent()
        peer.answer(request, CONTENT, b"true")
    assert task.result().payload == b"true"
    assert uplinks.notifications.empty()


async def test_exchanges_interleave(server: CoapServer, peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    """A write of the lifetime makes Anjay send its Update before the 2.04 of the write."""
    uplinks.outcomes.append(Reply(Success.CHANGED))
    async with asking(server, peer, write(b"60")) as task:
        request = await peer.asked()
        await peer.reply(peer.request(POST, "/rd/abc", query=("lt=60",)))
        peer.notify(b"observed", 1)
        notification = (await uplinks.notification())[0]
        assert notification.token == b"observed"
        peer.answer(request, CHANGED)
    assert task.result().success


# Observe


async def test_an_observe_is_sent_under_the_token_given(server: CoapServer, peer: DevicePeer) -> None:
    observe = Downlink(
        Method.GET, Path.parse("/3303/0/5700"), accept=112, observe=0, token=b"12345678", timeout_s=DEADLINE_S
    )
    async with asking(server, peer, observe) as task:
        request = await peer.asked()
        assert (request.token, request.one(OBSERVE)) == (b"12345678", b"")
        peer.answer(request, CONTENT, b"\x80", observe=3, content_format=112)
    assert task.result() == DownlinkReply("2.05", 112, b"\x80", 3)


async def test_after_the_first_response_its_token_brings_notifications(
    server: CoapServer, peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    observe = Downlink(Method.GET, Path.parse("/3303/0/5700"), observe=0, token=b"12345678")
    async with asking(server, peer, observe):
        peer.answer(await peer.asked(), CONTENT, observe=1)
    peer.notify(b"12345678", 2, b"\x80")
    notification, judge = await uplinks.notification()
    assert (notification.token, notification.observe) == (b"12345678", 2)
    judge(Verdict.TAKEN)
    assert (await peer.receive()).kind == ACK


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


# The end


async def test_requests_under_way_end_when_the_server_stops(
    server: CoapServer, peer: DevicePeer, other_peer: DevicePeer
) -> None:
    waiting = asyncio.create_task(server.request(peer.address, READ))
    await peer.asked()
    queued = asyncio.create_task(server.request(peer.address, READ))
    half_way = asyncio.create_task(server.request(other_peer.address, write(BODY)))
    other_peer.answer(await other_peer.asked(), CONTINUE, block1=Block(0, True, 5))
    await other_peer.asked()
    await server.stop()
    await asyncio.wait([waiting, queued, half_way], timeout=DEADLINE_S)
    for task in (waiting, queued, half_way):
        assert isinstance(task.exception(), DeviceSilent)


async def test_a_request_after_the_stop(server: CoapServer, peer: DevicePeer) -> None:
    await server.stop()
    with pytest.raises(DeviceSilent) as raised:
        await server.request(peer.address, READ)
    assert raised.value.code == "address_unreachable"


async def test_an_answer_after_the_stop_is_lost(
    server: CoapServer, peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    """A commit that was under way at the stop: its row is there, its answer has no socket any more."""
    peer.register()
    peer.notify(b"observed", 1)
    peer.notify(b"observed", 2)
    _, respond = await uplinks.request()
    _, judge = await uplinks.notification()
    _, other_judge = await uplinks.notification()
    await server.stop()
    respond(None)
    judge(Verdict.TAKEN)
    other_judge(Verdict.REFUSED)


async def test_a_reset_that_fits_nothing_is_passed_over(server: CoapServer, peer: DevicePeer) -> None:
    peer.send(Frame(RST, EMPTY, 99))
    peer.send(Frame(ACK, EMPTY, 99))
    await peer.silent()
