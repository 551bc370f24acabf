"""Firmware that is written to a device, read from its file as it is sent (RFC 7959 2.3, 2.9)."""

import asyncio
from dataclasses import dataclass, field

import pytest
from aiocoap.numbers.constants import TransportTuning

from flownexus_appliance.coap import downlink as downlink_module
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import DeviceSilent, Downlink, DownlinkReply, Method, PackageGone
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import (
    BLOCK1,
    CHANGED,
    CON,
    CONTENT_FORMAT,
    CONTINUE,
    DEADLINE_S,
    EMPTY,
    PUT,
    SIZE1,
    Block,
    DevicePeer,
    Frame,
    until,
)

from .asking import READ, asking
from .conftest import Narrow

INCOMPLETE, TOO_LARGE, INTERNAL = 0x88, 0x8D, 0xA0
IMAGE = bytes(range(256)) * 12 + b"the end"  # 3079 bytes: seven blocks


@dataclass(slots=True)
class File:
    """A body, what was read of it, and how far it was acknowledged."""

    data: bytes = IMAGE
    read_at: list[tuple[int, int]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    gone_at: int | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> bytes:
        if self.gone_at is not None and offset >= self.gone_at:
            raise PackageGone("the file is another one")
        self.read_at.append((offset, size))
        return self.data[offset : offset + size]


def push(file: File, *, timeout_s: float = DEADLINE_S) -> Downlink:
    path = Path.parse("/5/0/0")
    return Downlink(
        Method.PUT, path, content_format=42, timeout_s=timeout_s, body=file, sent=file.sent.append
    )


async def take(peer: DevicePeer, until_number: int | None = None) -> list[Frame]:
    """Take blocks with 2.31, and with 2.04 the last; or those up to a number."""
    taken: list[Frame] = []
    while True:
        request = await peer.asked()
        block = request.block(BLOCK1)
        assert block is not None
        taken.append(request)
        peer.answer(request, CONTINUE if block.more else CHANGED, block1=block)
        if not block.more or block.number == until_number:
            return taken


def body_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.payload for frame in frames)


async def test_block_by_block(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        taken = await take(peer)
    assert task.result() == DownlinkReply("2.04")
    assert body_of(taken) == IMAGE
    assert [frame.block(BLOCK1) for frame in taken] == [Block(number, number < 6, 5) for number in range(7)]
    assert [frame.number(SIZE1) for frame in taken] == [len(IMAGE)] + [None] * 6
    assert len({frame.token for frame in taken}) == 1, "Zephyr finds the blocks by their token"
    assert len({frame.mid for frame in taken}) == 7
    assert {(f.code, f.path, f.number(CONTENT_FORMAT), f.kind) for f in taken} == {(PUT, "/5/0/0", 42, CON)}
    assert file.sent == [512, 1024, 1536, 2048, 2560, 3072, 3079]
    assert max(size for _, size in file.read_at) <= 512, "never whole in memory"


async def test_a_block_is_read_and_sent_when_the_one_before_it_is_there(
    server: CoapServer, peer: DevicePeer
) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        for number in range(6):
            request = await peer.asked()
            await peer.silent()
            assert file.read_at == [(n * 512, 512) for n in range(number + 1)]
            assert file.sent == [(n + 1) * 512 for n in range(number)]
            peer.answer(request, CONTINUE, block1=request.block(BLOCK1))
        await take(peer)
    assert task.result().success


@pytest.mark.parametrize("size", [1, 512])
async def test_a_small_file_is_one_message(server: CoapServer, peer: DevicePeer, size: int) -> None:
    file = File(IMAGE[:size])
    async with asking(server, peer, push(file)) as task:
        request = await peer.asked()
        assert (request.payload, request.one(BLOCK1), request.number(CONTENT_FORMAT)) == (
            IMAGE[:size],
            None,
            42,
        )
        assert file.sent == []
        peer.answer(request, CHANGED)
    assert task.result().success
    assert file.sent == [size]


async def test_a_small_file_that_is_refused(server: CoapServer, peer: DevicePeer) -> None:
    file = File(IMAGE[:100])
    async with asking(server, peer, push(file)) as task:
        peer.answer(await peer.asked(), INTERNAL)
    assert (task.result().code, file.sent) == ("5.00", [])


# What a device answers


async def test_smaller_blocks_by_the_echo(server: CoapServer, peer: DevicePeer) -> None:
    """RFC 7959 2.3: it goes on, at the same byte."""
    file = File()
    async with asking(server, peer, push(file)) as task:
        first = await peer.asked()
        peer.answer(first, CONTINUE, block1=Block(0, True, 3))
        rest = await take(peer)
    assert task.result().success
    assert rest[0].block(BLOCK1) == Block(4, True, 3)
    assert body_of([first, *rest]) == IMAGE
    assert file.sent[:3] == [512, 640, 768]
    assert 0 not in file.sent


async def test_more_blocks_than_there_are_numbers_are_refused(
    server: CoapServer, peer: DevicePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downlink_module, "MAX_BLOCKS", 8)
    file = File()  # seven blocks of 512 bytes, thirteen of 256
    async with asking(server, peer, push(file)) as task:
        peer.answer(await peer.asked(), TOO_LARGE, block1=Block(0, True, 4))
        with pytest.raises(PeerError, match="more blocks"):
            await task


async def test_smaller_blocks_by_4_13(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        peer.answer(await peer.asked(), TOO_LARGE, block1=Block(0, True, 4))
        taken = await take(peer)
    assert task.result().success
    assert (taken[0].block(BLOCK1), taken[0].number(SIZE1)) == (Block(0, True, 4), len(IMAGE))
    assert body_of(taken) == IMAGE
    assert file.sent[:3] == [0, 256, 512]


async def test_no_room_in_the_middle_is_no_wish_for_smaller_blocks(
    server: CoapServer, peer: DevicePeer
) -> None:
    """All would go over the air again, to the same end."""
    file = File()
    async with asking(server, peer, push(file)) as task:
        await take(peer, 2)
        peer.answer(await peer.asked(), TOO_LARGE)
        await asyncio.wait([task])
        await peer.silent()
    assert (task.result().code, file.sent[-1]) == ("4.13", 1536)


async def test_a_wish_for_smaller_blocks_in_the_middle(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        await take(peer, 2)
        peer.answer(await peer.asked(), TOO_LARGE, block1=Block(3, True, 2))
        taken = await take(peer)
    assert taken[0].block(BLOCK1) == Block(0, True, 2)
    assert body_of(taken) == IMAGE
    assert task.result().success


async def test_a_device_that_lost_its_place(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        before = await take(peer, 2)
        peer.answer(await peer.asked(), INCOMPLETE)
        taken = await take(peer)
    assert task.result().success
    assert body_of(taken) == IMAGE
    assert taken[0].number(SIZE1) == len(IMAGE)
    assert taken[0].token != before[0].token
    assert file.sent == [512, 1024, 1536, 0, 512, 1024, 1536, 2048, 2560, 3072, 3079]


async def test_a_device_that_always_loses_its_place(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        for _ in range(3):
            await take(peer, 0)
            peer.answer(await peer.asked(), INCOMPLETE)
        await asyncio.wait([task])
        await peer.silent()
    assert (task.result().code, file.sent) == ("4.08", [512, 0, 512, 0, 512])


async def test_2_04_for_each_block(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        for _ in range(7):
            request = await peer.asked()
            peer.answer(request, CHANGED, block1=request.block(BLOCK1))
    assert task.result().success
    assert file.sent[-1] == len(IMAGE)


async def test_a_refusal_in_the_middle(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file)) as task:
        await take(peer, 3)
        peer.answer(await peer.asked(), INTERNAL, b"no flash")
        await asyncio.wait([task])
        await peer.silent()
    assert task.result() == DownlinkReply("5.00", None, b"no flash")
    assert file.sent[-1] == 2048


async def test_an_acknowledgement_first_and_the_answer_later(server: CoapServer, peer: DevicePeer) -> None:
    """nRF Connect SDK answers the first block so, when it has made room in its flash."""
    file = File()
    async with asking(server, peer, push(file)) as task:
        request = await peer.asked()
        peer.acknowledge(request)
        await peer.silent()
        assert file.sent == []
        separate = Frame(CON, CONTINUE, 900, request.token, ((BLOCK1, Block(0, True, 5).encode()),))
        peer.send(separate)
        acknowledged = await peer.receive()
        assert (acknowledged.code, acknowledged.mid) == (EMPTY, 900)
        rest = await take(peer)
        peer.send(separate)  # our acknowledgement was lost
        assert (await peer.receive()).mid == 900
    assert task.result().success
    assert body_of([request, *rest]) == IMAGE


# Patience


def test_the_first_block_has_at_least_10_s() -> None:
    """zephyr #71351: a repetition while it erases its flash would be another beginning."""
    assert downlink_module._ONCE.ACK_TIMEOUT >= 10


@pytest.mark.usefixtures("impatient")
async def test_the_first_and_the_last_block_are_not_repeated_soon(
    server: CoapServer, peer: DevicePeer, other_peer: DevicePeer
) -> None:
    async def goes_by() -> None:
        """So much time that whatever has the usual patience was given up."""
        async with asking(server, other_peer, READ) as task:
            for _ in range(3):
                await other_peer.asked()
            await asyncio.wait([task])
        assert isinstance(task.exception(), DeviceSilent)

    async with asking(server, peer, push(File(IMAGE[:1500]))) as task:
        for number in range(3):
            request = await peer.asked()
            block = request.block(BLOCK1)
            assert block is not None
            assert block.number == number
            if number == 1:
                assert await peer.asked() == request, "the same message, and so the same message id"
            else:
                await goes_by()
                await peer.silent()
            peer.answer(request, CONTINUE if block.more else CHANGED, block1=block)
    assert task.result().success


@pytest.mark.usefixtures("impatient")
async def test_neither_is_a_file_of_one_message(
    server: CoapServer, peer: DevicePeer, other_peer: DevicePeer
) -> None:
    async with asking(server, peer, push(File(b"small"))) as task:
        request = await peer.asked()
        async with asking(server, other_peer, READ) as other:
            for _ in range(3):
                await other_peer.asked()
            await asyncio.wait([other])
        await peer.silent()
        peer.answer(request, CHANGED)
    assert task.result().success


async def test_a_lost_block_is_sent_again_and_counted_once(
    server: CoapServer, peer: DevicePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TransportTuning, "ACK_TIMEOUT", 0.02)
    file = File()
    async with asking(server, peer, push(file)) as task:
        await take(peer, 1)
        lost = await peer.asked()
        assert await peer.asked() == lost
        peer.answer(lost, CONTINUE, block1=lost.block(BLOCK1))
        peer.answer(lost, CONTINUE, block1=lost.block(BLOCK1))  # and to the other
        await until(lambda: len(file.sent) == 3)
        request = await peer.asked()
        while request == lost:  # repeated before the answer came
            request = await peer.asked()
        assert request.block(BLOCK1) == Block(3, True, 5)
        task.cancel()
    assert file.sent == [512, 1024, 1536]


async def test_a_device_that_falls_silent(server: CoapServer, peer: DevicePeer) -> None:
    file = File()
    async with asking(server, peer, push(file, timeout_s=0.3)) as task:
        await take(peer, 3)
        peer.acknowledge(await peer.asked())
    error = task.exception()
    assert isinstance(error, DeviceSilent)
    assert error.sent
    assert file.sent[-1] == 2048


# Its end


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("blocks", [0, 3])
async def test_one_that_is_cancelled_stops_at_once(server: CoapServer, peer: DevicePeer, blocks: int) -> None:
    """And the next request need not wait for what is left of it."""
    file = File()
    async with asking(server, peer, push(file)) as task:
        if blocks:
            await take(peer, blocks - 1)
        under_way = await peer.asked()
        task.cancel()
        await asyncio.wait([task])
        async with asking(server, peer, READ) as read:
            request = await peer.asked()
            while request == under_way:  # repeated before the cancellation
                request = await peer.asked()
            assert request.path == "/3/0"
            peer.answer(under_way, CONTINUE, block1=under_way.block(BLOCK1))  # too late
            peer.answer(request, 0x45)
        assert read.result().code == "2.05"
        await peer.silent()
    assert task.cancelled()
    assert len(file.sent) == blocks
    messages = server._messages
    assert (messages._active_exchanges, messages._backlogs, messages._under_way) == ({}, {}, {})
    assert messages.token_manager.outgoing_requests == {}


@pytest.mark.parametrize("gone_at", [0, 1024])
async def test_a_file_that_is_gone(server: CoapServer, peer: DevicePeer, gone_at: int) -> None:
    file = File(gone_at=gone_at)
    async with asking(server, peer, push(file)) as task:
        if gone_at:
            await take(peer, 1)
        await asyncio.wait([task])
        await peer.silent()
    assert isinstance(task.exception(), PackageGone)
    assert file.sent == [512, 1024][: gone_at // 512]
    assert server._messages.token_manager.outgoing_requests == {}


async def test_a_small_file_that_is_gone(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, push(File(b"small", gone_at=0))) as task:
        await asyncio.wait([task])
        await peer.silent()
    assert isinstance(task.exception(), PackageGone)


async def test_blocks_fit_into_the_records_of_a_session(
    server: CoapServer, peer: DevicePeer, narrow: Narrow
) -> None:
    narrow(512)
    file = File()
    async with asking(server, peer, push(file)) as task:
        taken = await take(peer)
    assert task.result().success
    assert body_of(taken) == IMAGE
    assert taken[0].block(BLOCK1) == Block(0, True, 4)
    assert max(len(frame.encode()) for frame in taken) <= 512
