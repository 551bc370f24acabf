"""How long a request is waited for, how often one that must not happen twice is sent, and Location-Path."""

from typing import Any

import pytest
from aiocoap.numbers.constants import TransportTuning

from flownexus_appliance.coap import downlink as downlink_module
from flownexus_appliance.coap.downlink import Requester
from flownexus_appliance.coap.messages import DeviceMessages
from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import DeviceSilent, Downlink, DownlinkReply, Method
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import (
    BLOCK1,
    BLOCK2,
    CHANGED,
    CONTENT,
    CONTINUE,
    CREATED,
    DEADLINE_S,
    EMPTY,
    LOCATION_PATH,
    POST,
    Block,
    DevicePeer,
    Frame,
)

from .asking import READ, asking, write

EXECUTE = Downlink(Method.POST, Path.parse("/3/0/4"), once=True, timeout_s=DEADLINE_S)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long each exchange was waited for, in order."""
    waited: list[float] = []
    real = Requester._exchange

    async def watched(self: Requester, message: Any, timeout_s: float) -> Any:
        waited.append(timeout_s)
        return await real(self, message, timeout_s)

    monkeypatch.setattr(Requester, "_exchange", watched)
    return waited


async def test_each_block_of_a_body_has_all_the_patience(
    server: CoapServer, peer: DevicePeer, patience: list[float]
) -> None:
    async with asking(server, peer, write(bytes(1500))) as task:
        for number in range(3):
            request = await peer.asked()
            block = request.block(BLOCK1)
            assert block is not None
            assert block.number == number
            peer.answer(request, CONTINUE if block.more else CHANGED, block1=block)
    assert task.result().success
    assert patience == [DEADLINE_S] * 3


async def test_so_has_each_block_of_an_answer(
    server: CoapServer, peer: DevicePeer, patience: list[float]
) -> None:
    async with asking(server, peer, READ) as task:
        for number in range(3):
            request = await peer.asked()
            asked = request.block(BLOCK2)
            assert (asked.number if asked else 0) == number
            peer.answer(request, CONTENT, bytes(16), content_format=112, block2=Block(number, number < 2, 0))
    assert len(task.result().payload) == 48
    assert patience == [DEADLINE_S] * 3


@pytest.mark.parametrize("blocks", [0, 1, 2])
async def test_a_device_that_stops_in_the_middle_is_silent(
    server: CoapServer, peer: DevicePeer, blocks: int
) -> None:
    """Its patience is that of the exchange it stopped in."""
    hasty = Downlink(Method.PUT, Path.parse("/5/0/0"), payload=bytes(1500), content_format=42, timeout_s=0.2)
    async with asking(server, peer, hasty) as task:
        for _ in range(blocks):
            request = await peer.asked()
            peer.answer(request, CONTINUE, block1=request.block(BLOCK1))
        peer.acknowledge(await peer.asked())
    error = task.exception()
    assert isinstance(error, DeviceSilent)
    assert (error.sent, error.code) == (True, "device_unanswered")
    assert "within" in error.message


# What must not happen twice


def test_it_is_sent_at_most_three_times_and_late() -> None:
    """RFC 7252 4.8: the device has 10 s at least to answer before it sees the same again."""
    assert downlink_module._ONCE.MAX_RETRANSMIT <= 2
    assert downlink_module._ONCE.ACK_TIMEOUT >= 10
    assert TransportTuning.ACK_TIMEOUT < 10, "all else is as the RFC has it"


@pytest.mark.usefixtures("impatient")
async def test_it_waits_while_others_are_sent_again(
    server: CoapServer, peer: DevicePeer, other_peer: DevicePeer
) -> None:
    async with asking(server, peer, EXECUTE) as task:
        request = await peer.asked()
        async with asking(server, other_peer, READ):
            again = await other_peer.asked()
            assert [await other_peer.asked() for _ in range(2)] == [again, again]
            other_peer.answer(again, CONTENT)
        await peer.silent()
        peer.answer(request, CHANGED)
    assert task.result() == DownlinkReply("2.04")


async def test_it_is_sent_again_all_the_same_and_then_given_up(
    server: CoapServer, peer: DevicePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network loses requests, too: one that never arrived has not happened."""
    monkeypatch.setattr(downlink_module._Once, "ACK_TIMEOUT", 0.02)
    async with asking(server, peer, EXECUTE) as task:
        request = await peer.asked()
        assert [await peer.asked() for _ in range(2)] == [request, request]
    error = task.exception()
    assert isinstance(error, DeviceSilent)
    assert error.sent
    await peer.silent()


async def test_an_empty_acknowledgement_ends_its_repetitions(
    server: CoapServer, peer: DevicePeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downlink_module._Once, "ACK_TIMEOUT", 0.05)
    hasty = Downlink(Method.POST, Path.parse("/3/0/4"), once=True, timeout_s=0.5)
    async with asking(server, peer, hasty) as task:
        peer.acknowledge(await peer.asked())
    error = task.exception()
    assert isinstance(error, DeviceSilent)
    assert error.sent, "it may be rebooting by now"
    await peer.silent()


async def test_a_separate_response_to_it(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, EXECUTE) as task:
        request = await peer.asked()
        peer.acknowledge(request)
        peer.send(Frame(0, CHANGED, 500, request.token))
        assert (await peer.receive()).code == EMPTY
    assert task.result() == DownlinkReply("2.04")


# Location-Path


@pytest.mark.parametrize("location", [(), ("3303", "2"), ("dev", "3303", "65534"), ("ü",)])
async def test_where_a_create_made_it(
    server: CoapServer, peer: DevicePeer, location: tuple[str, ...]
) -> None:
    create = Downlink(
        Method.POST, Path.of(3303), payload=b"\xc8", content_format=11542, once=True, timeout_s=DEADLINE_S
    )
    async with asking(server, peer, create) as task:
        request = await peer.asked()
        peer.answer(request, CREATED, more=tuple((LOCATION_PATH, part.encode()) for part in location))
    assert task.result() == DownlinkReply("2.01", location=location)


async def test_a_location_that_is_no_text(server: CoapServer, peer: DevicePeer) -> None:
    """Whatever a device says there, it has answered, or is told of as one that did not."""
    async with asking(server, peer, EXECUTE) as task:
        request = await peer.asked()
        peer.answer(request, CREATED, more=((LOCATION_PATH, b"\xff"),))
        await peer.silent()
        peer.answer(request, CHANGED)
    assert task.result().success


# A device that wakes


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch, server: CoapServer) -> None:
    """Whatever was sent last was sent some seconds ago, and its next repetition is far away."""
    real = DeviceMessages._schedule_retransmit

    def scheduled(self: DeviceMessages, message: Any, timeout: float, counter: int) -> Any:
        handle = real(self, message, 60.0, counter)
        self._under_way[message.remote] = (message, 60.0, counter, self.loop.time() - 5.0)
        return handle

    monkeypatch.setattr(DeviceMessages, "_schedule_retransmit", scheduled)


@pytest.mark.usefixtures("long_ago")
async def test_what_it_did_not_hear_comes_again_as_soon_as_it_speaks(
    server: CoapServer, peer: DevicePeer
) -> None:
    """It listens now, and may be deaf again before the back-off ends."""
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        update = peer.request(POST, "/nowhere")
        await peer.reply(update)  # its own answer comes first
        assert await peer.asked() == request
        peer.answer(request, CONTENT)
    assert task.result().code == "2.05"


@pytest.mark.usefixtures("long_ago")
async def test_what_must_not_happen_twice_does_not(server: CoapServer, peer: DevicePeer) -> None:
    async with asking(server, peer, EXECUTE) as task:
        request = await peer.asked()
        await peer.reply(peer.request(POST, "/nowhere"))
        await peer.silent()
        peer.answer(request, CHANGED)
    assert task.result().success


async def test_what_was_sent_just_now_is_not_repeated(server: CoapServer, peer: DevicePeer) -> None:
    """It may well be on its way."""
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        await peer.reply(peer.request(POST, "/nowhere"))
        await peer.silent()
        peer.answer(request, CONTENT)
    assert task.result().success
