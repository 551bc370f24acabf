"""Bad input, of devices and of who asks them: the right code, a log line or a hint, nothing half kept."""

import asyncio
import json
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


# What is asked over HTTP

KNOWN, CREDENTIALED = "asked badly", "never here"
OPERATIONS = f"/api/v1/endpoints/{KNOWN.replace(' ', '%20')}/operations"
LESHAN = f"/leshan/api/clients/{KNOWN.replace(' ', '%20')}"


def asked(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def written(value: bytes, path: str = "/1/0/1") -> bytes:
    """The body of a write, its value as bytes: no JSON writer makes the worst of them."""
    return b'{"operation":"write","path":"%s","value":%s}' % (path.encode(), value)


async def _register(port: int) -> None:
    async with thermometer(port, KNOWN) as started:
        await started.register()


@pytest.fixture(scope="module")
def target(daemon: Daemon) -> Daemon:
    """A daemon that has a device, and one that has a credential and was never there."""
    asyncio.run(_register(daemon.coap_port))
    daemon.give_psk(CREDENTIALED)
    return daemon


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        pytest.param(written(b'"60"'), 400, "value_invalid", id="a text for a number"),
        pytest.param(written(b"1.5"), 400, "value_invalid", id="a fraction for a whole number"),
        pytest.param(written(b"true"), 400, "value_invalid", id="a boolean for a number"),
        pytest.param(written(b"null"), 400, "value_invalid", id="null"),
        pytest.param(written(b"[1]"), 400, "value_invalid", id="a list"),
        pytest.param(written(b"7", "/3/0/15"), 400, "value_invalid", id="a number for a text"),
        pytest.param(written(b'{"0": 1}'), 409, "not_multiple", id="instances of a single value"),
        pytest.param(written(b"%d" % 2**70), 400, "value_invalid", id="2 to the 70"),
        pytest.param(written(b"9" * 5000), 400, "body_invalid", id="a number of 5000 digits"),
        pytest.param(written(b"1e400", TEMPERATURE), 400, "body_invalid", id="1e400"),
        pytest.param(written(b"NaN", TEMPERATURE), 400, "body_invalid", id="NaN"),
        pytest.param(written(b"Infinity", TEMPERATURE), 400, "body_invalid", id="infinity"),
        pytest.param(written(b'"\\ud800"', "/3/0/15"), 400, "body_invalid", id="half a character"),
        pytest.param(written(b'"\xff"', "/3/0/15"), 400, "body_invalid", id="a text that is not UTF-8"),
        pytest.param(b'{"\xff": 1}', 400, "body_invalid", id="a name that is not UTF-8"),
        pytest.param(written(b"[" * 20_000 + b"]" * 20_000), 400, "body_invalid", id="nested 20,000 deep"),
        pytest.param(b"", 400, "body_invalid", id="nothing"),
        pytest.param(b"[]", 400, "body_invalid", id="no object"),
        pytest.param(b'{"operation": "read"', 400, "body_invalid", id="half an object"),
        pytest.param(
            asked(operation="write", path="/3/0", values={str(n): "" for n in range(5000)}),
            400,
            "value_invalid",
            id="5000 values",
        ),
        pytest.param(
            json.dumps({f"key {n}": n for n in range(100_000)}).encode(),
            413,
            "body_too_large",
            id="100,000 fields",
        ),
        pytest.param(b" " * 10_000_000 + b"{}", 413, "body_too_large", id="10 MB"),
        pytest.param(asked(operation="read", path="/9/0"), 404, "object_unknown", id="no such object"),
        pytest.param(asked(operation="read", path="/3/7"), 404, "instance_unknown", id="no such instance"),
        pytest.param(asked(operation="read", path="/3/0/99"), 404, "resource_undefined", id="no resource"),
        pytest.param(asked(operation="read", path="/70000"), 400, "path_invalid", id="a path out of range"),
        pytest.param(asked(operation="read", path="/3/0 "), 400, "path_invalid", id="a space in a path"),
        pytest.param(asked(operation="read", path="/3\u0660/0"), 400, "path_invalid", id="other digits"),
        pytest.param(asked(operation="read"), 400, "paths_invalid", id="no path"),
        pytest.param(
            asked(operation="read_composite", paths=["/3", "/3/0"]), 400, "paths_invalid", id="a path twice"
        ),
        pytest.param(
            asked(operation="read_composite", paths=[f"/3/0/{n}" for n in range(65)]),
            400,
            "paths_invalid",
            id="65 paths",
        ),
        pytest.param(asked(operation="write", path="/3/0/0", value="x"), 409, "not_writable", id="read-only"),
        pytest.param(asked(operation="read", path="/3/0/4"), 409, "not_readable", id="only executable"),
        pytest.param(asked(operation="execute", path="/3/0/9"), 409, "not_executable", id="not executable"),
        pytest.param(
            asked(operation="execute", path="/3/0/4", arguments="x"), 400, "arguments_invalid", id="arguments"
        ),
        pytest.param(
            asked(operation="write_attributes", path=TEMPERATURE, attributes={"pmin": "1&gt=2"}),
            400,
            "attributes_invalid",
            id="an attribute in another",
        ),
        pytest.param(asked(operation="reboot", path="/3"), 400, "operation_unknown", id="no operation"),
        pytest.param(
            asked(operation="read", path="/3", deadline_s=-1), 400, "body_invalid", id="a deadline before now"
        ),
    ],
)
def test_a_bad_operation(target: Daemon, body: bytes, status: int, error: str) -> None:
    refused(target, OPERATIONS, body, status, error)


@pytest.mark.parametrize(
    ("endpoint", "status", "error"),
    [
        pytest.param("nobody", 404, "endpoint_unknown", id="unknown"),
        pytest.param("a%2Fb%25", 404, "endpoint_unknown", id="a slash and a percent sign"),
        pytest.param("%00", 404, "endpoint_unknown", id="NUL"),
        pytest.param("%ff", 404, "endpoint_unknown", id="not UTF-8"),
        pytest.param("n" * 5000, 404, "endpoint_unknown", id="an absurd name"),
        pytest.param(CREDENTIALED.replace(" ", "%20"), 409, "endpoint_unseen", id="never here"),
    ],
)
def test_a_bad_endpoint(target: Daemon, endpoint: str, status: int, error: str) -> None:
    address = f"/api/v1/endpoints/{endpoint}"
    body = asked(operation="read", path="/3")
    refused(target, f"{address}/operations", body, status, error)
    refused(target, f"{address}/observations", asked(path="/3"), status, error)


def test_a_body_of_another_type(target: Daemon) -> None:
    """What a form of another site can send without asking first."""
    body = asked(operation="read", path="/3")
    refused(target, OPERATIONS, body, 415, "media_type_unsupported", "text/plain")
    refused(target, f"{OPERATIONS}?wait=121", body, 400, "query_invalid")


def refused(
    daemon: Daemon, address: str, body: bytes, status: int, error: str, media_type: str = "application/json"
) -> None:
    """It is refused with a hint, and nothing is asked of any device."""
    before = daemon.store.rows("SELECT count(*) FROM endpoint_operation")
    reply = daemon.request("POST", address, body, media_type)
    assert (reply.status, reply.json["error"]) == (status, error), reply
    assert set(reply.json) == {"error", "message", "hint"}
    assert reply.json["message"]
    assert reply.json["hint"]
    assert daemon.store.rows("SELECT count(*) FROM endpoint_operation") == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("PUT", "/3/0/15", b"\xff", 400, id="not UTF-8"),
        pytest.param("PUT", "/3/0/15", b"[" * 100_000, 400, id="nested 100,000 deep"),
        pytest.param("PUT", "/3/0/15", b" " * 10_000_000, 413, id="10 MB"),
        pytest.param("PUT", "/3/0/15", b'{"id": 14, "value": "x"}', 400, id="another resource"),
        pytest.param("POST", "/3/0/4", b"\xff", 400, id="arguments that are not UTF-8"),
        pytest.param("POST", "/3303", b"{}", 400, id="no instance"),
        pytest.param("GET", "/70000", None, 400, id="a path out of range"),
        pytest.param("DELETE", "/3", None, 400, id="an object"),
        pytest.param("PUT", f"{TEMPERATURE}/attributes?pmin=x", b"", 400, id="an attribute"),
    ],
)
def test_a_bad_request_of_leshans_api(
    target: Daemon, method: str, path: str, body: bytes | None, status: int
) -> None:
    before = target.store.rows("SELECT count(*) FROM endpoint_operation")
    reply = target.request(method, f"{LESHAN}{path}", body)
    assert reply.status == status, reply
    assert reply.text
    assert target.store.rows("SELECT count(*) FROM endpoint_operation") == before


@pytest.mark.parametrize("kind", ["single", "composite"])
@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 30_000, b'{"ep": 1, "obj_id": -1, "val": 5}'])
def test_a_bad_value_of_a_gateway(target: Daemon, kind: str, body: bytes) -> None:
    before = target.store.endpoints(), target.store.rows("SELECT count(*) FROM resource")
    reply = target.request("POST", f"/leshan_api/resource/{kind}", body)
    assert reply.status == 400, reply
    assert reply.json
    assert (target.store.endpoints(), target.store.rows("SELECT count(*) FROM resource")) == before
