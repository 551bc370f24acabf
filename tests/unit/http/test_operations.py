"""Operations over REST: what is asked of devices and typed how, what is waited for, listed and ended."""

import asyncio
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path as FilePath
from typing import Any

import pytest
from aiohttp import ClientSession, UnixConnector
from yarl import URL

from flownexus_appliance.db.operations import EndpointOperation, Outcome
from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.http import api_operations
from flownexus_appliance.http import operations as shapes
from flownexus_appliance.http.ports import Sources
from flownexus_appliance.http.server import HttpOptions, HttpServer
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record

from .conftest import Client
from .house import NOW_MS, QUIET, SENSOR, STRANGE, Asked, FakeOperations, record
from .test_api import address

JSON = {"Content-Type": "application/json"}
DONE = (Status.CONFIRMED, Outcome("2.04"))


async def post(
    client: Client,
    body: object,
    endpoint: str = SENSOR,
    query: str = "",
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    data = BytesIO(text.encode() if isinstance(text, str) else text)
    url = URL(address(endpoint, f"/operations{query}"), encoded=True)
    async with client.post(url, data=data, headers=headers or JSON) as response:
        return response.status, await response.json()


def read(path: str) -> Operation:
    return Operation(Kind.READ, (Path.parse(path),))


# Asking


async def test_what_is_asked_waits_for_the_device(client: Client, operations: FakeOperations) -> None:
    body = {"operation": "read", "path": "/3/0", "format": "tlv", "deadline_s": 90}
    url = URL(address(STRANGE, "/operations"), encoded=True)
    async with client.post(url, json=body) as response:
        assert response.status == 202
        assert response.headers["Location"] == "/api/v1/operations/1"
        answer = await response.json()
    assert answer == {
        "id": 1,
        "endpoint": STRANGE,
        "operation": "read",
        "paths": ["/3/0"],
        "wanted": [],
        "arguments": "",
        "attributes": {},
        "status": "QUEUED",
        "attempts": 0,
        "asked_by": "anna/script",
        "retry_of": None,
        "created_ms": NOW_MS,
        "changed_ms": NOW_MS,
        "deadline_ms": NOW_MS + 90_000,
        "code": "",
        "message": "",
        "hint": "",
        "values": [],
        "links": [],
        "location": "",
        "cut": False,
    }
    wanted = Operation(Kind.READ, (Path.of(3, 0),), content_format=11542)
    assert operations.asked == [Asked(STRANGE, wanted, "anna/script", NOW_MS + 90_000)]


async def test_an_answer_that_is_waited_for_is_there(client: Client, operations: FakeOperations) -> None:
    values = (
        record("/3/0/9", 87, DataType.INTEGER, 1000),
        record("/3/0/22", ObjectLink(66, 0), DataType.OBJLNK),
        record("/3/0/99", b"\x00\xff", DataType.OPAQUE),
    )
    operations.ends = Status.CONFIRMED, Outcome("2.05", values)
    status, answer = await post(client, {"operation": "read", "path": "/3/0"}, query="?wait=10")
    assert (status, answer["status"], answer["code"]) == (200, "CONFIRMED", "2.05")
    assert [value["value"] for value in answer["values"]] == [87, "66:0", "00ff"]
    assert [value["time_ms"] for value in answer["values"]] == [1000, None, None]
    assert answer["attempts"] == 1


async def test_a_discover_brings_links_and_a_create_a_place(
    client: Client, operations: FakeOperations
) -> None:
    links = (Link("/3/0/9", {"pmin": "10"}), Link("/3/0/0", {"ssid": None}))
    operations.ends = Status.CONFIRMED, Outcome("2.05", links=links)
    _, answer = await post(client, {"operation": "discover", "path": "/3"}, query="?wait=1")
    assert answer["links"] == [
        {"path": "/3/0/9", "attributes": {"pmin": "10"}},
        {"path": "/3/0/0", "attributes": {"ssid": None}},
    ]
    operations.ends = Status.CONFIRMED, Outcome("2.01", location="/3303/4")
    _, answer = await post(client, {"operation": "create", "path": "/3303"}, query="?wait=1")
    assert answer["location"] == "/3303/4"


async def test_a_device_that_refuses_is_an_answer(client: Client, operations: FakeOperations) -> None:
    operations.ends = Status.FAILED, Outcome("4.05", message="not allowed", hint="see its manual")
    status, answer = await post(client, {"operation": "execute", "path": "/3/0/4"}, query="?wait=1")
    assert (status, answer["status"], answer["code"]) == (200, "FAILED", "4.05")
    assert (answer["message"], answer["hint"]) == ("not allowed", "see its manual")


async def test_what_does_not_come_in_time_goes_on_waiting(
    client: Client, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def finished(operation_id: int, timeout_s: float) -> EndpointOperation:
        """Time passes as it is told to."""
        waited.append(timeout_s)
        now_s[0] += timeout_s
        return operations.rows[operation_id]

    now_s = [0.0]
    monkeypatch.setattr(operations, "finished", finished)
    monkeypatch.setattr(shapes, "now_s", lambda: now_s[0])
    status, answer = await post(client, {"operation": "read", "path": "/3"}, query="?wait=3")
    assert (status, answer["status"], waited) == (202, "QUEUED", [1.0, 1.0, 1.0])
    status, _ = await post(client, {"operation": "read", "path": "/3"})
    assert (status, len(waited)) == (202, 3)


async def test_who_waits_hears_of_the_end(client: Client, operations: FakeOperations) -> None:
    asking = asyncio.create_task(post(client, {"operation": "read", "path": "/3"}, query="?wait=120"))
    await taken_up(operations)
    await operations.end(1, Status.EXPIRED, Outcome(message="it never came"))
    status, answer = await asking
    assert (status, answer["status"], answer["message"]) == (200, "EXPIRED", "it never came")


async def test_who_goes_away_is_not_waited_for(
    sources: Sources, operations: FakeOperations, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    wait = shapes.wait_until_done

    async def noting(*args: Any) -> EndpointOperation:
        try:
            return await wait(*args)
        except BaseException as error:
            ended.set_result(error)
            raise

    monkeypatch.setattr(api_operations, "wait_until_done", noting)
    monkeypatch.setattr(shapes, "LOOK_S", 0.02)
    # The real server: that of the tests ends a handler when its client is gone.
    options = HttpOptions(tmp_path / "state", port=0)
    server = HttpServer(options, sources)
    await server.start()
    try:
        async with ClientSession(connector=UnixConnector(str(options.control))) as session:
            url = URL(f"http://box{address(SENSOR, '/operations')}?wait=120", encoded=True)
            asking = asyncio.create_task(session.post(url, json={"operation": "read", "path": "/3"}))
            await taken_up(operations)
            asking.cancel()  # and its connection with it
            async with asyncio.timeout(10):
                assert isinstance(await ended, ConnectionResetError)
    finally:
        await server.stop()
    assert operations.rows[1].asked_by == "console"
    assert operations.rows[1].status is Status.QUEUED  # the operation goes on without it


async def taken_up(operations: FakeOperations) -> None:
    """Until somebody waits for an operation."""
    async with asyncio.timeout(10):
        await operations.awaited.wait()


# Values and their types


async def wanted(
    client: Client, operations: FakeOperations, body: Mapping[str, object], endpoint: str = SENSOR
) -> Operation:
    """What is asked of the device for a body."""
    status, answer = await post(client, body, endpoint)
    assert status == 202, answer
    return operations.asked[-1].operation


async def test_the_model_types_a_value(client: Client, operations: FakeOperations) -> None:
    for path, value, typed in (
        ("/3/0/14", "+01", Record(Path.of(3, 0, 14), "+01", DataType.STRING)),
        ("/3/0/13", 1_760_000_000, Record(Path.of(3, 0, 13), 1_760_000_000, DataType.TIME)),
        ("/1/0/1", 60, Record(Path.of(1, 0, 1), 60, DataType.INTEGER)),
        ("/1/0/6", True, Record(Path.of(1, 0, 6), True, DataType.BOOLEAN)),
        ("/1/0/1", 60.0, Record(Path.of(1, 0, 1), 60, DataType.INTEGER)),
    ):
        operation = await wanted(client, operations, {"operation": "write", "path": path, "value": value})
        assert operation.records == (typed,)
        assert type(operation.records[0].value) is type(typed.value)
        assert (operation.kind, operation.paths) == (Kind.WRITE, (typed.path,))
    # A whole number for a FLOAT becomes one, whatever data_type says: the model knows better.
    body = {
        "operation": "create",
        "path": "/3303/5",
        "values": {"5750": "a", "5700": 21},
        "data_type": "string",
    }
    assert (await wanted(client, operations, body)).records[1] == record("/3303/5/5700", 21.0, DataType.FLOAT)


@pytest.mark.parametrize(
    ("value", "data_type", "typed"),
    [
        (3, None, (3, DataType.INTEGER)),
        (3.0, None, (3.0, DataType.FLOAT)),
        (True, None, (True, DataType.BOOLEAN)),
        ("00ff", None, ("00ff", DataType.STRING)),
        ("00ff", "opaque", (b"\x00\xff", DataType.OPAQUE)),
        ("66:0", "objlnk", (ObjectLink(66, 0), DataType.OBJLNK)),
        (3, "float", (3.0, DataType.FLOAT)),
        (2**63, "unsigned", (2**63, DataType.UNSIGNED)),
        ("nan", "float", None),
    ],
)
async def test_without_a_model_the_request_types_a_value_else_json(
    client: Client, operations: FakeOperations, value: object, data_type: str | None, typed: Any
) -> None:
    body = {"operation": "write", "path": "/32769/0/7", "value": value, "data_type": data_type}
    (found,) = (await wanted(client, operations, body, QUIET)).records
    assert found.data_type is (typed[1] if typed else DataType.FLOAT)
    if typed:
        assert (found.value, type(found.value)) == (typed[0], type(typed[0]))
    else:
        assert found.value != found.value


async def test_an_instance_is_written_by_numbers_or_paths(client: Client, operations: FakeOperations) -> None:
    body: Mapping[str, object] = {"operation": "write_partial", "path": "/3/0"}
    for values in (
        {"14": "+01", "15": "Europe/Berlin"},
        {"/3/0/14": "+01", "/3/0/15": "Europe/Berlin"},
        {"14": "+01", "/3/0/15": "Europe/Berlin"},
    ):
        operation = await wanted(client, operations, {**body, "values": values})
        assert operation.paths == (Path.of(3, 0),)
        assert operation.records == (
            record("/3/0/14", "+01", DataType.STRING),
            record("/3/0/15", "Europe/Berlin", DataType.STRING),
        )


async def test_an_object_of_values_makes_resource_instances(
    client: Client, operations: FakeOperations
) -> None:
    body = {"operation": "write", "path": "/32769/0/7", "value": {"0": 1, "5": 2}}
    expected = (
        record("/32769/0/7/0", 1, DataType.INTEGER),
        record("/32769/0/7/5", 2, DataType.INTEGER),
    )
    assert (await wanted(client, operations, body, QUIET)).records == expected
    body = {"operation": "write", "path": "/32769/0", "values": {"7": {"0": 1, "5": 2}}}
    assert (await wanted(client, operations, body, QUIET)).records == expected
    body = {"operation": "write", "path": "/32769/0", "values": {"7/0": 1, "/32769/0/7/5": 2}}
    assert (await wanted(client, operations, body, QUIET)).records == expected
    body = {"operation": "write", "path": "/32769/0/7", "values": {"0": 1, "5": 2}}
    assert (await wanted(client, operations, body, QUIET)).records == expected


async def test_the_device_chooses_an_instance_or_not(client: Client, operations: FakeOperations) -> None:
    values = {"5750": "roof"}
    chosen = await wanted(client, operations, {"operation": "create", "path": "/3303", "values": values})
    assert chosen.records == (record("/3303/0/5750", "roof", DataType.STRING),)
    assert chosen.paths == (Path.of(3303),)
    given = await wanted(client, operations, {"operation": "create", "path": "/3303/5", "values": values})
    assert given.records == (record("/3303/5/5750", "roof", DataType.STRING),)
    assert given.paths == (Path.of(3303, 5),)
    empty = await wanted(client, operations, {"operation": "create", "path": "/3303/6"})
    assert empty.records == ()
    body = {"operation": "create", "path": "/3303", "values": {"/3303/5/5750": "roof"}}
    status, answer = await post(client, body)
    assert (status, answer["error"]) == (400, "path_invalid")
    assert "/3303/5" in answer["hint"]


async def test_composites_have_several_targets(client: Client, operations: FakeOperations) -> None:
    body: Mapping[str, object] = {"operation": "read_composite", "paths": ["/3/0/9", "/3303"]}
    assert (await wanted(client, operations, body)).paths == (Path.of(3, 0, 9), Path.of(3303))
    for body in (
        {"operation": "write_composite", "values": {"/3/0/14": "+01", "/1/0/1": 60}},
        {"operation": "write_composite", "paths": ["/3/0/14", "/1/0/1"],
         "values": {"/3/0/14": "+01", "/1/0/1": 60}},
    ):  # fmt: skip
        operation = await wanted(client, operations, body)
        assert operation.paths == (Path.of(3, 0, 14), Path.of(1, 0, 1))
        assert operation.records == (
            record("/3/0/14", "+01", DataType.STRING),
            record("/1/0/1", 60, DataType.INTEGER),
        )
    body = {"operation": "write_composite", "path": "/3/0", "values": {"14": "+01"}}
    assert (await wanted(client, operations, body)).paths == (Path.of(3, 0, 14),)


async def test_an_execute_has_arguments_and_attributes_are_text(
    client: Client, operations: FakeOperations
) -> None:
    body: Mapping[str, object] = {"operation": "execute", "path": "/3/0/4", "arguments": "0='x',1"}
    assert (await wanted(client, operations, body)).arguments == "0='x',1"
    given = {"pmin": 10, "pmax": 60.0, "gt": 22.5, "lt": -1e-05, "st": None}
    body = {"operation": "write_attributes", "path": "/3303/0/5700", "attributes": given}
    assert (await wanted(client, operations, body)).attributes == (
        ("pmin", "10"),
        ("pmax", "60"),
        ("gt", "22.5"),
        ("lt", "-0.00001"),
        ("st", None),
    )


# What cannot be asked


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("endpoint_unknown", "m", "h"), 404),
        (UsageError("queue_full", "m", "h"), 429),
        (UsageError("something_new", "m", "h"), 400),
        (PeerError("payload_invalid", "m", "h"), 502),
    ],
)
async def test_what_is_raised_has_its_status(
    client: Client, operations: FakeOperations, error: UsageError, status: int
) -> None:
    operations.failure = error
    answered, body = await post(client, {"operation": "read", "path": "/3"})
    assert answered == status
    assert body == {"error": error.code, "message": "m", "hint": "h"}


WRITE = {"operation": "write", "path": "/3/0/14"}
UNKNOWN = {"operation": "write", "path": "/9/0"}
ATTRIBUTES = {"operation": "write_attributes", "path": "/3/0"}
THOUSANDS = {str(number): 1 for number in range(4000)}
BAD = [
    ("", 400, "body_invalid"),
    ("{", 400, "body_invalid"),
    ("[]", 400, "body_invalid"),
    (b"\xff\xfe", 400, "body_invalid"),
    ("[" * 30_000, 400, "body_invalid"),
    ('{"operation": "read", "path": "/3", "value": ' + "[" * 30_000, 400, "body_invalid"),
    ({"path": "/3"}, 400, "body_invalid"),
    ({"operation": "read", "path": 3}, 400, "body_invalid"),
    ({"operation": "read", "path": "/3", "more": 1}, 400, "body_invalid"),
    ({"operation": "execute", "path": "/3/0/4", "arguments": 0}, 400, "body_invalid"),
    ({"operation": "execute", "path": "/3/0/4", "arguments": "x" * 1025}, 400, "body_invalid"),
    ({"operation": "read", "path": "/3", "format": "xml"}, 400, "body_invalid"),
    ({**WRITE, "value": "x", "data_type": "double"}, 400, "body_invalid"),
    ({**WRITE, "value": "x", "data_type": "none"}, 400, "body_invalid"),
    ({"operation": "read", "path": "/3", "deadline_s": 0}, 400, "body_invalid"),
    ({"operation": "read", "path": "/3", "deadline_s": 1e12}, 400, "body_invalid"),
    ({"operation": "write_attributes", "path": "/3", "attributes": {"pmin": True}}, 400, "body_invalid"),
    ({"operation": "Read!", "path": "/3"}, 400, "operation_unknown"),
    ({"operation": "read"}, 400, "paths_invalid"),
    ({"operation": "read", "paths": []}, 400, "paths_invalid"),
    ({"operation": "read", "path": "/3", "paths": ["/4"]}, 400, "paths_invalid"),
    ({"operation": "read", "paths": ["/3", "/4"]}, 400, "paths_invalid"),
    ({"operation": "read_composite", "paths": [f"/3/0/{n}" for n in range(65)]}, 400, "paths_invalid"),
    ({"operation": "read", "path": "/a/b"}, 400, "path_invalid"),
    ({"operation": "read", "path": "/1/2/3/4/5"}, 400, "path_invalid"),
    ({"operation": "read", "path": "/"}, 400, "path_invalid"),
    ({"operation": "execute", "path": "/3/0"}, 400, "path_invalid"),
    ({"operation": "write", "path": "/3/0", "values": {"14/0/1": 1}}, 400, "path_invalid"),
    ({"operation": "write", "path": "/3/0", "values": {"": 1}}, 400, "path_invalid"),
    ({"operation": "write", "path": "/3/0", "values": {"/1/0/1": 1}}, 400, "path_invalid"),
    ({"operation": "write_composite", "values": {"14": 1}}, 400, "path_invalid"),
    ({"operation": "write", "path": "/32769/0/7", "value": {"a": 1}}, 400, "path_invalid"),
    ({"operation": "write_composite", "paths": ["/3", "/4"], "value": 1}, 400, "value_unexpected"),
    ({"operation": "write", "path": "/3/0", "value": {"14": "+01"}}, 400, "value_unexpected"),
    ({**WRITE, "value": "x", "values": {"/3/0/14": "x"}}, 400, "value_unexpected"),
    ({"operation": "read", "path": "/3/0/14", "value": "x"}, 400, "value_unexpected"),
    (WRITE, 400, "value_missing"),
    ({"operation": "write", "path": "/3/0", "values": {}}, 400, "value_missing"),
    ({**WRITE, "value": 5}, 400, "value_invalid"),
    ({**WRITE, "value": None}, 400, "value_invalid"),
    ({**WRITE, "value": ["+01"]}, 400, "value_invalid"),
    ({"operation": "write", "path": "/1/0/1", "value": "60"}, 400, "value_invalid"),
    ({"operation": "write", "path": "/1/0/1", "value": 60.5}, 400, "value_invalid"),
    ({"operation": "write", "path": "/1/0/1", "value": 2**63}, 400, "value_invalid"),
    ({"operation": "write", "path": "/3/0/4", "value": 1}, 400, "value_invalid"),
    ({"operation": "write", "path": "/3/0", "values": {"14": "a", "/3/0/14": "b"}}, 400, "value_invalid"),
    ({**UNKNOWN, "values": {"7": {"0": 1}, "7/0": 2}}, 400, "value_invalid"),
    ({**UNKNOWN, "values": THOUSANDS}, 400, "value_invalid"),
    ({**UNKNOWN, "values": {"7": THOUSANDS}}, 400, "value_invalid"),
    ({"operation": "read", "path": "/3/0/14", "arguments": "0"}, 400, "arguments_invalid"),
    ({"operation": "execute", "path": "/3/0/4", "arguments": "x"}, 400, "arguments_invalid"),
    (ATTRIBUTES, 400, "attributes_invalid"),
    ({**ATTRIBUTES, "attributes": {"pmin": 1.5}}, 400, "attributes_invalid"),
    ({"operation": "read", "path": "/3/0", "attributes": {"pmin": 1}}, 400, "attributes_invalid"),
    ({"operation": "read", "path": "/5/0"}, 404, "object_unknown"),
    ({"operation": "read", "path": "/3/7"}, 404, "instance_unknown"),
    ({"operation": "read", "path": "/3/0/77"}, 404, "resource_undefined"),
    ({"operation": "write", "path": "/3/0/0", "value": "x"}, 409, "not_writable"),
    ({"operation": "read", "path": "/3/0/4"}, 409, "not_readable"),
    ({"operation": "execute", "path": "/3/0/9"}, 409, "not_executable"),
    ({"operation": "read", "path": "/3/0/9/0"}, 409, "not_multiple"),
    ({**WRITE, "value": "x" * 70_000}, 413, "body_too_large"),
    ({**WRITE, "value": "x" * 10_000_000}, 413, "body_too_large"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code"), BAD)
async def test_bad_bodies_ask_nothing(
    client: Client, operations: FakeOperations, body: object, status: int, code: str
) -> None:
    answered, answer = await post(client, body)
    assert (answered, answer["error"]) == (status, code), answer
    assert set(answer) == {"error", "message", "hint"}
    assert answer["hint"]
    assert not operations.asked


async def test_a_wrong_value_is_told_with_its_path(client: Client) -> None:
    body = {"operation": "write", "path": "/3/0", "values": {"14": "+01", "13": "noon"}}
    _, answer = await post(client, body)
    assert answer["message"].startswith("/3/0/13: ")
    assert "seconds since 1970" in answer["hint"]


async def test_who_is_not_there_is_asked_nothing(client: Client, operations: FakeOperations) -> None:
    body = {"operation": "read", "path": "/3"}
    status, answer = await post(client, body, "nobody")
    assert (status, answer["error"]) == (404, "endpoint_unknown")
    operations.unseen.add(QUIET)
    status, answer = await post(client, body, QUIET)
    assert (status, answer["error"]) == (409, "endpoint_unseen")
    assert not operations.asked


@pytest.mark.parametrize("wait", ["-1", "121", "1.5", "x", ""])
async def test_a_wait_is_some_seconds(client: Client, operations: FakeOperations, wait: str) -> None:
    status, answer = await post(client, {"operation": "read", "path": "/3"}, query=f"?wait={wait}")
    assert (status, answer["error"]) == (400, "query_invalid")
    assert not operations.asked


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_taken(client: Client, operations: FakeOperations, content_type: str) -> None:
    status, answer = await post(
        client, '{"operation": "read", "path": "/3"}', headers={"Content-Type": content_type}
    )
    assert (status, answer["error"]) == (415, "media_type_unsupported")
    assert not operations.asked


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_of_another_site_changes_nothing(
    client: Client, operations: FakeOperations, site: str
) -> None:
    status, answer = await post(
        client, {"operation": "execute", "path": "/3/0/4"}, headers={**JSON, "Sec-Fetch-Site": site}
    )
    assert (status, answer["error"]) == (403, "cross_site")
    assert not operations.asked
