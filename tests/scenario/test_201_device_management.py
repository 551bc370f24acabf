"""The Device Management interface, from the REST API to the device and back."""

import asyncio
from typing import Any

import pytest

from tests.interop.daemon import Answer, Daemon
from tests.peer import ACCEPT, CONTENT_FORMAT, DELETE, GET, PUT, SENML_CBOR, until

from .thermometer import TEMPERATURE, WATCHED, Thermometer, ready, thermometer


async def operate(daemon: Daemon, client: Thermometer, operation: str, path: str, **more: Any) -> Answer:
    return await asyncio.to_thread(daemon.operate, client.endpoint, operation, path, **more)


async def test_querying_basic_information(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-232: right after the registration, by itself"""
    async with thermometer(daemon.coap_port, "int-232") as client:
        await client.register()
        await until(lambda: daemon.store.values("int-232", "/3/0/0") == ["ACME"])
        assert {r.number(ACCEPT) for r in client.asked if r.path == "/3/0"} == {SENML_CBOR}
        await until(lambda: daemon.store.reporting("int-232") == WATCHED)


async def test_read_on_object(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-222"""
    async with thermometer(daemon.coap_port, "int-222") as client:
        await ready(daemon, client)
        answer = await operate(daemon, client, "read", "/1")
        assert (answer.status, answer.code, answer.values) == ("CONFIRMED", "2.05", {"/1/0/1": 300})
        assert [(r.code, r.path) for r in client.asked] == [(GET, "/1")]


async def test_read_on_object_instance(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-223"""
    async with thermometer(daemon.coap_port, "int-223") as client:
        await ready(daemon, client)
        answer = await operate(daemon, client, "read", "/3303/0")
        assert answer.values == {TEMPERATURE: 21.5, "/3303/0/5701": "Cel"}


async def test_read_on_resource(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-224"""
    async with thermometer(daemon.coap_port, "int-224") as client:
        await ready(daemon, client)
        client.values[TEMPERATURE] = -3.25
        answer = await operate(daemon, client, "read", TEMPERATURE)
        assert answer.values == {TEMPERATURE: -3.25}
        assert daemon.store.values("int-224", TEMPERATURE) == [21.5, -3.25]


async def test_write_replace_on_resource(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-227"""
    async with thermometer(daemon.coap_port, "int-227") as client:
        await ready(daemon, client)
        answer = await operate(daemon, client, "write", "/1/0/1", value=60)
        assert (answer.status, answer.code) == ("CONFIRMED", "2.04")
        (request,) = client.asked
        assert (request.code, request.path, request.number(CONTENT_FORMAT)) == (PUT, "/1/0/1", SENML_CBOR)
        assert client.values["/1/0/1"] == 60


async def test_executable_resource(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-241"""
    async with thermometer(daemon.coap_port, "int-241") as client:
        await ready(daemon, client)
        answer = await operate(daemon, client, "execute", "/3/0/4")
        assert (answer.status, answer.code) == ("CONFIRMED", "2.04")
        assert client.executed == [("/3/0/4", b"")]


async def test_an_operation_that_fails(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-256"""
    async with thermometer(daemon.coap_port, "int-256") as client:
        await ready(daemon, client)
        answer = await operate(daemon, client, "read", "/3/0/1")  # the model has it, this device has not
        assert (answer.status, answer.code, answer.values) == ("FAILED", "4.04", {})


async def test_discover_command(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-260"""
    async with thermometer(daemon.coap_port, "int-260") as client:
        await ready(daemon, client)
        answer = await operate(daemon, client, "discover", "/3")
        assert set(answer.links) == {"/3/0/0", "/3/0/9", "/3/0/13"}


async def test_write_attributes(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-261"""
    async with thermometer(daemon.coap_port, "int-261") as client:
        await ready(daemon, client)
        answer = await operate(
            daemon, client, "write_attributes", TEMPERATURE, attributes={"pmin": 5, "pmax": 10}
        )
        assert (answer.status, answer.code) == ("CONFIRMED", "2.04")
        (request,) = client.asked
        assert (request.code, request.query, request.payload) == (PUT, ("pmin=5", "pmax=10"), b"")


@pytest.mark.parametrize(
    ("operation", "path", "named", "error"),
    [
        ("read", "/", {}, "path_invalid"),
        ("execute", "/3/0", {}, "path_invalid"),
        ("write", "/3/0/13", {"value": "soon"}, "value_invalid"),
        ("fly", "/3", {}, "operation_unknown"),
    ],
)
async def test_operations_that_make_no_sense(
    daemon: Daemon, operation: str, path: str, named: dict[str, Any], error: str
) -> None:
    """Said by the API at once; the device hears nothing of it."""
    async with thermometer(daemon.coap_port, f"senseless-{operation}") as client:
        await ready(daemon, client)
        with pytest.raises(AssertionError, match=f"HTTP 400 .*{error}"):
            await operate(daemon, client, operation, path, **named)
        assert client.asked == []


async def test_a_device_that_has_left(daemon: Daemon) -> None:
    """What is asked of it waits until it is there again."""
    async with thermometer(daemon.coap_port, "left") as client:
        await ready(daemon, client)
        request = client.peer.request(DELETE, client.location)
        await client.ask(request)
        asked = await asyncio.to_thread(
            daemon.api, "/endpoints/left/operations", {"operation": "read", "path": "/3/0/9"}
        )
        assert asked["status"] == "QUEUED"
        client.asked.clear()
        await client.register()
        ended = await asyncio.to_thread(daemon.api, f"/operations/{asked['id']}?wait=30")
        assert (ended["status"], ended["code"]) == ("CONFIRMED", "2.05")
