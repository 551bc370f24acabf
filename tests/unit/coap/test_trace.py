"""The trace: every message that goes over the wire, in words, and no key in any of them."""

import logging
from collections.abc import AsyncIterator

import pytest

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import Downlink, Method, Traced
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.system.config import LOOPBACK
from tests.peer import (
    ACK,
    CHANGED,
    CONTENT,
    EMPTY,
    GET,
    NON,
    POST,
    RST,
    SENML_CBOR,
    Block,
    DevicePeer,
    Frame,
    device,
)

from .asking import READ, asking
from .conftest import ScriptedUplinks

KEY = bytes(range(0xA0, 0xB0))


@pytest.fixture
def told(server: CoapServer) -> list[Traced]:
    found: list[Traced] = []
    server.trace = found.append
    return found


async def test_a_request_and_its_answer(
    peer: DevicePeer, uplinks: ScriptedUplinks, told: list[Traced]
) -> None:
    uplinks.outcomes.append(Reply(Success.CREATED, ("rd", "abcdefghij")))
    request = peer.register()
    await peer.reply(request)
    assert told == [
        Traced(
            peer.address, True, "CON", "POST", request.mid, request.token,
            'Uri-Path: "rd" - Content-Format: 40 - Uri-Query: "lwm2m=1.1", "ep=peer", "lt=300"',
            request.payload, 40,
        ),
        Traced(
            peer.address, False, "ACK", "2.01", request.mid, request.token,
            'Location-Path: "rd", "abcdefghij"', b"",
        ),
    ]  # fmt: skip


async def test_a_request_of_ours_and_its_answer(
    server: CoapServer, peer: DevicePeer, told: list[Traced]
) -> None:
    async with asking(server, peer, READ):
        asked = await peer.asked()
        peer.answer(asked, CONTENT, b"\x80", content_format=SENML_CBOR)
    assert [(one.incoming, one.kind, one.code, one.options, one.payload) for one in told] == [
        (False, "CON", "GET", 'Uri-Path: "3", "0" - Accept: 112', b""),
        (True, "ACK", "2.05", "Content-Format: 112", b"\x80"),
    ]
    assert {one.token for one in told} == {asked.token}
    assert {one.message_id for one in told} == {asked.mid}


async def test_what_has_no_code_and_what_comes_twice(
    peer: DevicePeer, uplinks: ScriptedUplinks, told: list[Traced]
) -> None:
    await peer.silent()  # a ping
    assert [(one.incoming, one.kind, one.code, one.options) for one in told] == [
        (True, "CON", "", ""),
        (False, "RST", "", ""),
    ]
    told.clear()
    uplinks.outcomes.append(Reply(Success.CHANGED))
    request = peer.request(POST, "/dp", b"[]", kind=NON)
    first = await peer.receive()
    peer.send(request)
    assert await peer.receive() == first
    assert [(one.incoming, one.kind, one.code) for one in told] == [
        (True, "NON", "POST"),
        (False, "NON", "2.04"),
    ] * 2


async def test_options_of_all_kinds(peer: DevicePeer, told: list[Traced]) -> None:
    peer.request(GET, "/x", observe=0, block2=Block(2, True, 5), more=((4, b"\x01\xff"), (65000, b"?")))
    assert (await peer.receive()).status == "4.04"
    assert told[0].options == (
        'Etag: 0x01ff - Observe: 0 - Uri-Path: "x" - Block2: (num=2, m=true, szx=5) - Unknown (65000): 0x3f'
    )


@pytest.mark.parametrize(
    ("path", "root", "hidden"),
    [
        ("/0/1", "/", True),
        ("/0/1/5", "/", True),
        ("/21/0", "/", True),
        ("/0", "/lwm2m", True),
        ("/", "/", True),
        ("/1/0", "/", False),
        ("/3/0", "/0a", False),
    ],
)
async def test_no_key_is_told_that_is_written(
    server: CoapServer, peer: DevicePeer, told: list[Traced], path: str, root: str, hidden: bool
) -> None:
    bootstrap_write = Downlink(Method.PUT, Path.parse(path), root, payload=KEY, content_format=11542)
    async with asking(server, peer, bootstrap_write):
        peer.answer(await peer.asked(), CHANGED)
    assert told[0].payload == (None if hidden else KEY)
    assert told[0].content_format == 11542
    assert KEY.hex() not in repr(told)
    assert repr(KEY) not in repr(told)


async def test_the_paths_of_a_composite_read_are_told(
    server: CoapServer, peer: DevicePeer, told: list[Traced]
) -> None:
    composite = Downlink(Method.FETCH, Path.ROOT, payload=b"\x81\xa1\x00\x64/3/0", content_format=SENML_CBOR)
    async with asking(server, peer, composite):
        peer.answer(await peer.asked(), CONTENT, b"\x80", content_format=SENML_CBOR)
    assert told[0].payload == composite.payload


async def test_no_bootstrap_pack_is_told(
    peer: DevicePeer, uplinks: ScriptedUplinks, told: list[Traced]
) -> None:
    uplinks.outcomes.append(Reply(Success.CONTENT, payload=KEY, content_format=SENML_CBOR))
    reply = await peer.reply(peer.request(GET, "/bspack", query=("ep=peer",), accept=SENML_CBOR))
    assert reply.payload == KEY
    assert [one.payload for one in told] == [b"", None]


async def test_what_is_no_coap_is_not_told(peer: DevicePeer, told: list[Traced]) -> None:
    peer.send(b"\x40\x01\x00\x07\xff")
    assert await peer.receive() == Frame(RST, EMPTY, 7)
    assert [(one.incoming, one.kind, one.message_id) for one in told] == [(False, "RST", 7)]


async def test_nobody_is_told_any_more(server: CoapServer, peer: DevicePeer, told: list[Traced]) -> None:
    await peer.silent()
    server.trace = None
    assert server.trace is None
    await peer.silent()
    assert len(told) == 2


@pytest.fixture
async def clumsy(uplinks: ScriptedUplinks) -> AsyncIterator[CoapServer]:
    """A server whose listener fails at every message."""
    started = CoapServer(0, LOOPBACK, uplinks)

    def fail(_: Traced) -> None:
        raise RuntimeError("told too much")

    started.trace = fail
    await started.start()
    yield started
    await started.stop()


async def test_who_looks_on_cannot_stop_a_message(
    clumsy: CoapServer, uplinks: ScriptedUplinks, caplog: pytest.LogCaptureFixture
) -> None:
    uplinks.outcomes.append(Reply(Success.CHANGED))
    with device(clumsy.port) as peer:
        reply = await peer.reply(peer.request(POST, "/dp", b"[]"))
    assert (reply.kind, reply.status) == (ACK, "2.04")
    complaints = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert complaints == ["trace failed", "trace failed"]
