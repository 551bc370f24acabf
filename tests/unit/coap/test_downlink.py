"""Requests to devices: how they look, how they are answered, when they end."""

import asyncio

import pytest

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import DeviceSilent, Downlink, DownlinkReply, Method, Verdict
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import (
    ACCEPT,
    ACK,
    BLOCK2,
    CHANGED,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    CONTINUE,
    DEADLINE_S,
    DELETE,
    EMPTY,
    FETCH,
    GET,
    IPATCH,
    NON,
    OBSERVE,
    POST,
    PUT,
    RST,
    SENML_CBOR,
    TLV,
    Block,
    DevicePeer,
    Frame,
    options,
)

from .asking import BODY, NOT_FOUND, READ, asking, write
from .conftest import ScriptedUplinks

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


async def test_a_separate_response_that_comes_again_is_acknowledged_again(
    server: CoapServer, uplinks: ScriptedUplinks, peer: DevicePeer
) -> None:
    async with asking(server, peer, READ) as task:
        request = await peer.asked()
        peer.acknowledge(request)
        again = Frame(CON, CONTENT, 500, request.token, options(content_format=TLV), b"tlv")
        peer.send(again)
        assert await peer.receive() == Frame(ACK, EMPTY, 500)
    assert task.result() == DownlinkReply("2.05", TLV, b"tlv")
    peer.send(again)
    assert await peer.receive() == Frame(ACK, EMPTY, 500)
    assert uplinks.notifications.empty(), "it is no notification"


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
    assert (await asyncio.wait_for(first, DEADLINE_S)).payload == b"one"
    request = await peer.asked()
    assert request.code == GET
    peer.answer(request, CONTENT, b"three")
    assert (await asyncio.wait_for(third, DEADLINE_S)).payload == b"three"
    await peer.silent()


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
