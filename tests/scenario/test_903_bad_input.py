"""Bad input, as issue 2 lists it: the right code, a log line with fields, nothing half kept."""

from collections.abc import AsyncIterator

import pytest

from tests.interop.daemon import Daemon
from tests.interop.program import until as eventually
from tests.peer import (
    BLOCK1,
    CON,
    DELETE,
    EMPTY,
    GET,
    POST,
    RST,
    SENML_CBOR,
    Block,
    DevicePeer,
    Frame,
    device,
)

from .thermometer import OBJECTS, TEMPERATURE, Thermometer, senml, thermometer

QUERY = ("lwm2m=1.1", "ep=bad", "lt=60")


@pytest.fixture
async def peer(daemon: Daemon) -> AsyncIterator[DevicePeer]:
    """A stranger. What it does must leave no trace, and the daemon must answer after it as before."""
    endpoints, rows = daemon.store.endpoints(), daemon.store.rows("SELECT count(*) FROM resource")
    with device(daemon.coap_port) as stranger:
        yield stranger
        await stranger.silent()
    assert daemon.store.endpoints() == endpoints
    assert daemon.store.rows("SELECT count(*) FROM resource") == rows


def logged(daemon: Daemon, *words: str) -> None:
    eventually(
        lambda: any(all(word in line for word in words) for line in daemon.program.log),
        f"a log line with {words}",
    )


@pytest.mark.parametrize(
    ("query", "links", "status", "error"),
    [
        pytest.param(QUERY, b"<<</3", "4.00", "links_invalid", id="a malformed link list"),
        pytest.param(QUERY, b"\xff\xfe\x00", "4.00", "links_invalid", id="links that are not UTF-8"),
        pytest.param(QUERY, b"", "4.00", "links_invalid", id="no links"),
        pytest.param(QUERY, b"</70000/0>", "4.00", "links_invalid", id="a path out of range"),
        pytest.param(("lwm2m=1.1",), OBJECTS, "4.00", "endpoint_missing", id="no name"),
        pytest.param(("ep=bad",), OBJECTS, "4.00", "version_missing", id="no version"),
        pytest.param((*QUERY, "lt=9"), OBJECTS, "4.00", "query_invalid", id="a parameter twice"),
        pytest.param(
            ("lwm2m=1.1", "ep=bad", "lt=x"), OBJECTS, "4.00", "lifetime_invalid", id="a lifetime of x"
        ),
        pytest.param(
            ("lwm2m=1.1", "ep=" + "x" * 300), OBJECTS, "4.00", "endpoint_invalid", id="an absurd name"
        ),
        pytest.param(("lwm2m=9.9", "ep=bad"), OBJECTS, "4.12", "version_unsupported", id="LwM2M 9.9"),
    ],
)
async def test_a_bad_register(
    daemon: Daemon, peer: DevicePeer, query: tuple[str, ...], links: bytes, status: str, error: str
) -> None:
    reply = await peer.reply(peer.register(query, links))
    assert reply.status == status
    assert reply.location == ()
    logged(daemon, "request refused", f"peer={peer.address}", f"error_code={error}", f"coap_code={status}")


@pytest.mark.parametrize(
    ("code", "path", "named", "status"),
    [
        pytest.param(POST, "/rd", {"content_format": 112}, "4.15", id="an unknown format of links"),
        pytest.param(POST, "/rd", {"accept": 112}, "4.06", id="an answer with content"),
        pytest.param(POST, "/rd/nosuchid01", {}, "4.04", id="an update for an unknown id"),
        pytest.param(DELETE, "/rd/nosuchid01", {}, "4.04", id="a deregister for an unknown id"),
        pytest.param(POST, "/dp", {"content_format": SENML_CBOR}, "4.00", id="a send of a stranger"),
        pytest.param(GET, "/nowhere", {}, "4.04", id="an unknown path"),
        pytest.param(GET, "/rd", {}, "4.05", id="a wrong method"),
        pytest.param(POST, "/rd", {"more": ((2049, b""),)}, "4.02", id="an unknown critical option"),
        pytest.param(POST, "/rd", {"block1": Block(7, False, 5)}, "4.08", id="a block out of nowhere"),
        pytest.param(POST, "/rd", {"block1": Block(2**20 - 1, True, 6)}, "4.00", id="an absurd block"),
        pytest.param(POST, "/rd", {"block1": Block(2**20 - 1, False, 6)}, "4.13", id="an absurd length"),
    ],
)
async def test_bad_requests(
    daemon: Daemon, peer: DevicePeer, code: int, path: str, named: dict[str, object], status: str
) -> None:
    reply = await peer.reply(peer.request(code, path, b"", **named))  # type: ignore[arg-type]
    assert reply.status == status
    logged(daemon, "request refused", f"peer={peer.address}", "error_code=", f"coap_code={status}")


@pytest.mark.parametrize("data", ["", "40", "4802", "4f020001", "4002 0001 ff", "4002 0001 b9", "c002 0001"])
async def test_a_malformed_datagram(daemon: Daemon, peer: DevicePeer, data: str) -> None:
    peer.send(bytes.fromhex(data))
    if data.startswith(("4f", "4002")):
        assert await peer.receive() == Frame(RST, EMPTY, 1)
    await peer.silent()
    logged(daemon, "not CoAP", f"peer={peer.address}", "error_code=payload_invalid")


async def test_a_datagram_of_absurd_length(daemon: Daemon, peer: DevicePeer) -> None:
    peer.send(Frame(CON, POST, 1, b"", (), b"x" * 60_000))
    await peer.silent()
    logged(daemon, "datagram too long", f"peer={peer.address}")


async def test_a_body_of_absurd_length(daemon: Daemon, peer: DevicePeer) -> None:
    for number in range(65):
        request = peer.register(QUERY, b"x" * 1024, block1=Block(number, True, 6))
        reply = await peer.reply(request)
    assert reply.status == "4.13"
    assert reply.one(BLOCK1) is None


@pytest.mark.parametrize(
    ("content_format", "payload", "status"),
    [
        pytest.param(SENML_CBOR, b"\xff", "4.00", id="a malformed payload"),
        pytest.param(SENML_CBOR, senml({TEMPERATURE: 1.0})[:-2], "4.00", id="a payload cut off"),
        pytest.param(
            SENML_CBOR, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "4.00", id="an absurd length inside"
        ),
        pytest.param(SENML_CBOR, senml({"/3303/0/70000": 1.0}), "4.00", id="a path out of range"),
        pytest.param(SENML_CBOR, senml({"/3303": 1.0}), "4.00", id="a path of no resource"),
        pytest.param(41, b"<x/>", "4.15", id="an unknown format"),
        pytest.param(None, b"x", "4.15", id="no format"),
        pytest.param(SENML_CBOR, senml({TEMPERATURE: 1.0, "/bad": 2.0}), "4.00", id="good and bad together"),
    ],
)
async def test_a_bad_send(
    daemon: Daemon, client: Thermometer, content_format: int | None, payload: bytes, status: str
) -> None:
    before = daemon.store.rows("SELECT count(*) FROM resource"), daemon.store.rows("SELECT * FROM series")
    request = client.peer.request(POST, "/dp", payload, content_format=content_format)
    reply = await client.ask(request)
    assert reply.status == status
    logged(daemon, "request refused", f"peer={client.peer.address}", f"coap_code={status}")
    after = daemon.store.rows("SELECT count(*) FROM resource"), daemon.store.rows("SELECT * FROM series")
    assert before == after
    assert (await client.send({TEMPERATURE: 5.0})).status == "2.04"


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[Thermometer]:
    """A device that is registered and has nothing to be asked."""
    async with thermometer(daemon.coap_port, "sender") as started:
        request = started.peer.register(("lwm2m=1.1", "ep=sender"), b"</1/0>")
        assert (await started.ask(request)).status == "2.01"
        yield started


async def test_a_flood_of_a_stranger_does_not_keep_a_device_from_its_answer(
    daemon: Daemon, client: Thermometer
) -> None:
    with device(daemon.coap_port) as stranger:
        for number in range(2000):
            stranger.send(Frame(CON, POST, number, b"", ((11, b"nowhere"), (12, bytes(9))), b"x" * 200))
            if number % 200 == 0:
                assert (await client.send({TEMPERATURE: float(number)})).status == "2.04"
    kept = daemon.store.values("sender", TEMPERATURE)
    assert set(map(float, range(0, 2000, 200))) <= set(kept)
