"""Whatever bytes come in: the server takes no harm, says nothing that is not CoAP, and goes on.

The whole box behind it is real, so the payloads go through link lists, queries and codecs too.
"""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.box import Box, box
from tests.peer import (
    ACCEPT,
    BLOCK1,
    BLOCK2,
    CON,
    CONTENT_FORMAT,
    EMPTY,
    ETAG,
    OBSERVE,
    REGISTER_LINKS,
    REGISTER_QUERY,
    RST,
    SIZE1,
    URI_PATH,
    URI_QUERY,
    DevicePeer,
    Frame,
    device,
    dotted,
    options,
    uint,
)

SHARED = settings(
    max_examples=100,
    deadline=None,
    # One box for all examples: what one leaves behind must not harm the next either.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PING = Frame(CON, EMPTY, 0xFFFF)


@pytest.fixture
async def running(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Box]:
    async with box(tmp_path) as started:
        yield started
    bad = [r for r in caplog.get_records("call") if r.levelno >= logging.ERROR or r.exc_info]
    assert bad == []


async def heard_until_the_pong(peer: DevicePeer) -> list[Frame]:
    """What the server says, checked to be CoAP, until it answers a ping."""
    peer.send(PING)
    frames = []
    while (frame := await peer.receive()) != Frame(RST, EMPTY, PING.mid):
        frames.append(frame)
    return frames


async def send_all(started: Box, datagrams: list[bytes]) -> None:
    with device(started.port) as peer:
        for data in datagrams:
            peer.send(data)
        for frame in await heard_until_the_pong(peer):
            assert frame.is_request or frame.code == EMPTY or frame.code >> 5 in (2, 4), dotted(frame.code)


@SHARED
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=5))
async def test_any_bytes(running: Box, datagrams: list[bytes]) -> None:
    await send_all(running, datagrams)


numbers = st.one_of(
    st.sampled_from(
        [
            OBSERVE,
            URI_PATH,
            CONTENT_FORMAT,
            URI_QUERY,
            ACCEPT,
            BLOCK2,
            BLOCK1,
            SIZE1,
            ETAG,
            1,
            3,
            5,
            7,
            8,
            9,
            292,
        ]
    ),
    st.integers(0, 65_535),
)
values = st.one_of(
    st.sampled_from(
        [b"rd", b"dp", b"bs", b"", b"(", b"\x70", b"\x2d\x16", b"ep=x", b"lwm2m=1.1", b"lt=60", b"Q"]
    ),
    st.integers(0, 2**40).map(uint),
    st.binary(max_size=20),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
frames = st.builds(
    Frame,
    kind=st.integers(0, 3),
    code=st.integers(0, 255),
    mid=st.integers(0, 3),
    token=st.binary(max_size=8),
    options=st.lists(st.tuples(numbers, values), max_size=8).map(tuple),
    payload=st.binary(max_size=60),
)


@SHARED
@given(st.lists(frames.map(Frame.encode), min_size=1, max_size=5))
async def test_any_message(running: Box, datagrams: list[bytes]) -> None:
    await send_all(running, datagrams)


links = st.one_of(
    st.binary(max_size=100), st.text(alphabet='</>;=,"013 .ver\\', max_size=100).map(str.encode)
)
queries = st.lists(
    st.one_of(
        st.sampled_from(
            ["lwm2m=1.1", "lwm2m=1.0", "lwm2m=9.9", "ep=x", "ep=y", "lt=60", "lt=0", "b=U", "b=UQ", "Q"]
        ),
        st.text(max_size=12).filter(str.isprintable),
    ),
    max_size=6,
).map(tuple)


@SHARED
@given(queries, links, st.sampled_from(["/rd", "/rd/", "/rd/x"]))
async def test_any_register(running: Box, query: tuple[str, ...], payload: bytes, path: str) -> None:
    listed = options(path, query, content_format=40)
    await send_all(running, [Frame(CON, 2, 1, b"t", listed, payload).encode()])


formats = st.sampled_from([0, 40, 42, 60, 110, 112, 1542, 1543, 11542, 11543, 11544, 65535])
json_like = st.text(alphabet='[]{}":,.-+0123456789eEnvsbtdlobu/ \\', max_size=80).map(str.encode)


@SHARED
@given(formats, st.one_of(st.binary(max_size=100), json_like))
async def test_any_send_and_notification(running: Box, content_format: int, payload: bytes) -> None:
    """From a registered device, whose payloads reach the codecs and the store."""
    with device(running.port) as peer:
        peer.register(REGISTER_QUERY, b"</1/0>")
        assert (await peer.receive()).status == "2.01"
        request = peer.request(2, "/dp", payload, content_format=content_format)
        reply = await peer.reply(request)
        assert reply.code >> 5 in (2, 4), reply.status
        for frame in await heard_until_the_pong(peer):
            assert frame.is_request, frame


@SHARED
@given(st.data())
async def test_a_register_with_bytes_changed(running: Box, data: st.DataObject) -> None:
    listed = options("/rd", REGISTER_QUERY, content_format=40)
    sound = bytearray(Frame(CON, 2, 1, b"token", listed, REGISTER_LINKS).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(sound)))
    await send_all(running, [bytes(sound[:cut]), bytes(sound)])
