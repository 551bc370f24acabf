"""Requests of devices that come in blocks (RFC 7959)."""

from collections.abc import Iterator

import pytest

from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.peer import (
    BLOCK1,
    BLOCK2,
    LINKS,
    NON,
    POST,
    REGISTER_QUERY,
    SENML_CBOR,
    URI_PATH,
    Block,
    DevicePeer,
    Frame,
    uint,
)

from .conftest import ScriptedUplinks

CREATED = Reply(Success.CREATED, ("rd", "abcdefghij"))
CHANGED = Reply(Success.CHANGED)
BODY = b",".join(f"</3303/{number}>".encode() for number in range(150))


def blocks_of(body: bytes, szx: int = 5) -> Iterator[tuple[Block, bytes]]:
    size = 16 << szx
    for number in range(-(-len(body) // size)):
        chunk = body[number * size : (number + 1) * size]
        yield Block(number, (number + 1) * size < len(body), szx), chunk


def send_block(peer: DevicePeer, block: Block, chunk: bytes, path: str = "/rd", **named: object) -> Frame:
    more: dict[str, object] = {"query": REGISTER_QUERY, "content_format": LINKS, **named}
    return peer.request(POST, path, chunk, block1=block, **more)  # type: ignore[arg-type]


async def upload(peer: DevicePeer, body: bytes = BODY, **named: object) -> tuple[Frame, Frame]:
    """Send a body block by block, each under a token of its own as Zephyr does; the last pair."""
    for block, chunk in blocks_of(body):
        size1 = len(body) if block.number == 0 else None
        request = send_block(peer, block, chunk, "/rd", size1=size1, **named)
        reply = await peer.reply(request)
        assert reply.block(BLOCK1) == block
        if block.more:
            assert (reply.status, reply.payload, len(reply.options)) == ("2.31", b"", 1)
    return request, reply


async def test_a_register_in_blocks(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    """Every 2.31 echoes Block1 as it was sent, with M=1: Zephyr wants it so."""
    uplinks.outcomes.append(CREATED)
    request, reply = await upload(peer)
    assert (reply.status, reply.location) == ("2.01", ("rd", "abcdefghij"))
    uplink, _ = await uplinks.request()
    assert uplink.payload == BODY
    assert (uplink.message_id, uplink.token) == (request.mid, request.token)
    assert uplinks.requests.empty()


async def test_a_send_in_blocks_is_answered_after_the_commit(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    body = bytes(range(256)) * 5
    *first, (block, chunk) = blocks_of(body)
    for number, (earlier, part) in enumerate(first):
        reply = await peer.reply(send_block(peer, earlier, part, "/dp", content_format=SENML_CBOR))
        assert reply.block(BLOCK1) == Block(number, True, 5)
    request = send_block(peer, block, chunk, "/dp", content_format=SENML_CBOR)
    uplink, respond = await uplinks.request()
    assert uplink.payload == body
    await peer.silent()
    respond(CHANGED)
    assert (await peer.reply(request)).status == "2.04"


async def test_the_last_block_of_a_register_again(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    """The reply was lost. An error here would switch Zephyr's client off for 1235 s."""
    uplinks.outcomes += [CREATED, CREATED]
    request, _ = await upload(peer)
    peer.send(request)
    reply = await peer.reply(request)
    assert (reply.status, reply.location) == ("2.01", ("rd", "abcdefghij"))
    assert [(await uplinks.request())[0].payload for _ in range(2)] == [BODY, BODY]


async def test_the_last_block_again_after_silence(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    uplinks.outcomes += [None, CHANGED]
    *first, (block, chunk) = blocks_of(BODY)
    for earlier, part in first:
        await peer.reply(send_block(peer, earlier, part, "/rd/abc"))
    request = send_block(peer, block, chunk, "/rd/abc")
    await uplinks.request()
    await peer.silent()
    peer.send(request)
    assert (await peer.reply(request)).status == "2.04"
    assert (await uplinks.request())[0].payload == BODY


async def test_a_block_that_comes_twice_is_acknowledged_twice(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes.append(CREATED)
    sent = []
    for block, chunk in blocks_of(BODY):
        request = send_block(peer, block, chunk)
        first = await peer.datagram()
        sent.append(request)
        if block.more:
            peer.send(request)
            assert await peer.datagram() == first
            # Delayed on the way: it must not throw the body back to where it was.
            peer.send(sent[0])
            assert (await peer.reply(sent[0])).status == "2.31"
    assert (await uplinks.request())[0].payload == BODY


async def test_a_device_that_starts_anew_with_the_same_ids(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    """zephyr's native_sim without a seed: the very same datagrams, another boot."""
    uplinks.outcomes += [CREATED, CREATED]
    boot = []
    for block, chunk in blocks_of(BODY):
        boot.append(send_block(peer, block, chunk))
        await peer.reply(boot[-1])
    for request in boot:
        peer.send(request)
        reply = await peer.reply(request)
    assert reply.location == ("rd", "abcdefghij")
    assert uplinks.requests.qsize() == 2


async def test_a_lost_block_is_4_08(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    parts = list(blocks_of(BODY))
    await peer.reply(send_block(peer, *parts[0]))
    reply = await peer.reply(send_block(peer, *parts[2]))
    assert reply.status == "4.08"
    uplinks.outcomes.append(CREATED)
    _, reply = await upload(peer)
    assert reply.status == "2.01"


async def test_a_block_out_of_nowhere_is_4_08(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    assert (await peer.reply(send_block(peer, Block(1, False, 5), b"</3/0>"))).status == "4.08"
    assert uplinks.requests.empty()


async def test_devices_do_not_share_blocks(
    peer: DevicePeer, other_peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    parts = list(blocks_of(BODY))
    await peer.reply(send_block(peer, *parts[0]))
    assert (await other_peer.reply(send_block(other_peer, *parts[1]))).status == "4.08"
    assert uplinks.requests.empty()


async def test_requests_do_not_share_blocks(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    parts = list(blocks_of(BODY))
    await peer.reply(send_block(peer, *parts[0]))
    assert (await peer.reply(send_block(peer, *parts[1], path="/rd/abc"))).status == "4.08"
    assert (await peer.reply(send_block(peer, *parts[1], query=("ep=else",)))).status == "4.08"
    assert uplinks.requests.empty()


@pytest.mark.parametrize(
    ("block", "size", "status"),
    [
        (Block(128, False, 5), 1, "4.13"),
        (Block(2**20 - 1, True, 6), 1024, "4.13"),
        (Block(0, True, 5), 511, "4.00"),
        (Block(0, True, 5), 0, "4.00"),
        (Block(0, True, 7), 1024, "4.00"),
        (Block(0, False, 7), 10, "4.00"),
        (Block(1, False, 5), 0, "4.08"),
    ],
)
async def test_absurd_blocks(
    peer: DevicePeer, uplinks: ScriptedUplinks, block: Block, size: int, status: str
) -> None:
    assert (await peer.reply(send_block(peer, block, b"x" * size))).status == status
    assert uplinks.requests.empty()


async def test_a_block_option_of_absurd_length(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    listed = ((URI_PATH, b"rd"), (BLOCK1, b"\xff" * 1000))
    peer.send(Frame(0, POST, 5, b"", listed, b"x"))
    assert (await peer.receive()).status in ("4.00", "4.02", "4.13")
    assert uplinks.requests.empty()


async def test_a_body_too_large_is_4_13(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    status = "2.31"
    for number in range(65):
        reply = await peer.reply(send_block(peer, Block(number, True, 6), b"x" * 1024))
        status = reply.status
        if number < 64:
            assert status == "2.31"
    assert status == "4.13"
    assert uplinks.requests.empty()


@pytest.mark.parametrize(
    ("path", "named", "status"),
    [("/nowhere", {}, "4.04"), ("/rd", {"content_format": 112}, "4.15"), ("/dp", {"accept": 112}, "4.06")],
)
async def test_what_is_refused_is_refused_at_its_first_block(
    peer: DevicePeer, path: str, named: dict[str, object], status: str
) -> None:
    assert (await peer.reply(send_block(peer, Block(0, True, 5), b"x" * 512, path, **named))).status == status


async def test_non_confirmable_blocks(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    uplinks.outcomes.append(CHANGED)
    for block, chunk in blocks_of(BODY):
        request = send_block(peer, block, chunk, "/dp", kind=NON)
        reply = await peer.receive()
        assert (reply.kind, reply.token, reply.block(BLOCK1)) == (NON, request.token, block)
    assert (await uplinks.request())[0].payload == BODY


async def test_a_block2_option_of_a_request_is_passed_over(
    peer: DevicePeer, uplinks: ScriptedUplinks
) -> None:
    uplinks.outcomes.append(CREATED)
    reply = await peer.reply(peer.register(more=((BLOCK2, uint(5)),)))
    assert (reply.status, reply.one(BLOCK2)) == ("2.01", None)
