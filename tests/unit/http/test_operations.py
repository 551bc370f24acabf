"""Operations over REST: what reaches the fleet, and what never does."""

import json
from typing import Any

import pytest
from yarl import URL

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink

from .conftest import Client
from .house import SENSOR, STRANGE, FakeFleet, Outcome, record
from .test_api import address

JSON = {"Content-Type": "application/json"}


async def post(
    client: Client, body: object, endpoint: str = SENSOR, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    url = URL(address(endpoint, "/operations"), encoded=True)
    async with client.post(url, data=data, headers=headers or JSON) as response:
        return response.status, await response.json()


async def test_a_read_brings_values(client: Client, fleet: FakeFleet) -> None:
    fleet.outcome = Outcome(
        values=(
            record("/3/0/9", 87, DataType.INTEGER, 1000),
            record("/3/0/22", ObjectLink(66, 0), DataType.OBJLNK),
            record("/3/0/99", b"\x00\xff", DataType.OPAQUE),
        )
    )
    status, answer = await post(client, {"operation": "read", "path": "/3/0"}, STRANGE)
    assert status == 200
    assert (answer["status"], answer["code"]) == ("CONFIRMED", "2.05")
    assert [value["value"] for value in answer["values"]] == [87, "66:0", "00ff"]
    assert [value["time_ms"] for value in answer["values"]] == [1000, None, None]
    assert fleet.calls == [(STRANGE, "read", Path.of(3, 0), None, None)]


async def test_a_discover_brings_links(client: Client, fleet: FakeFleet) -> None:
    fleet.outcome = Outcome(links=(Link("/3/0/9", {"pmin": "10"}), Link("/3/0/0", {})))
    _, answer = await post(client, {"operation": "discover", "path": "/3"})
    assert answer["links"] == [
        {"path": "/3/0/9", "attributes": {"pmin": "10"}},
        {"path": "/3/0/0", "attributes": {}},
    ]


async def test_a_write_hands_the_value_on_as_json_meant_it(client: Client, fleet: FakeFleet) -> None:
    for value in (21.5, 3, True, "text", None):
        await post(client, {"operation": "write", "path": "/3/0/14", "value": value})
    assert [call[3] for call in fleet.calls] == [21.5, 3, True, "text", None]
    assert [type(call[3]) for call in fleet.calls] == [float, int, bool, str, type(None)]


async def test_an_execute_has_arguments(client: Client, fleet: FakeFleet) -> None:
    await post(client, {"operation": "execute", "path": "/3/0/4", "arguments": "0='x'"})
    assert fleet.calls == [(SENSOR, "execute", Path.of(3, 0, 4), None, "0='x'")]


async def test_a_device_that_refuses_is_an_answer(client: Client, fleet: FakeFleet) -> None:
    fleet.outcome = Outcome("FAILED", "4.05", message="not allowed", hint="see its manual")
    status, answer = await post(client, {"operation": "write", "path": "/3/0/0", "value": "x"})
    assert status == 200
    assert answer == {
        "status": "FAILED",
        "code": "4.05",
        "values": [],
        "links": [],
        "message": "not allowed",
        "hint": "see its manual",
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("endpoint_unknown", "m", "h"), 404),
        (UsageError("endpoint_offline", "m", "h"), 409),
        (UsageError("endpoint_asleep", "m", "h"), 409),
        (UsageError("value_invalid", "m", "h"), 400),
        (UsageError("something_new", "m", "h"), 400),
        (PeerError("payload_invalid", "m", "h"), 502),
    ],
)
async def test_what_the_fleet_raises_has_its_status(
    client: Client, fleet: FakeFleet, error: UsageError, status: int
) -> None:
    fleet.outcome = error
    answered, body = await post(client, {"operation": "read", "path": "/3"})
    assert answered == status
    assert body == {"error": error.code, "message": "m", "hint": "h"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "body_invalid"),
        ("{", 400, "body_invalid"),
        ("[]", 400, "body_invalid"),
        (b"\xff\xfe", 400, "body_invalid"),
        ("[" * 30_000, 400, "body_invalid"),
        ('{"operation": "read", "path": "/3", "value": ' + "[" * 30_000, 400, "body_invalid"),
        ({"operation": "read"}, 400, "body_invalid"),
        ({"path": "/3"}, 400, "body_invalid"),
        ({"operation": "Read!", "path": "/3"}, 400, "body_invalid"),
        ({"operation": "read", "path": 3}, 400, "body_invalid"),
        ({"operation": "read", "path": "/3", "more": 1}, 400, "body_invalid"),
        ({"operation": "execute", "path": "/3/0/4", "arguments": 0}, 400, "body_invalid"),
        ({"operation": "execute", "path": "/3/0/4", "arguments": "x" * 1025}, 400, "body_invalid"),
        ({"operation": "read", "path": "/a/b"}, 400, "path_invalid"),
        ({"operation": "read", "path": "/1/2/3/4/5"}, 400, "path_invalid"),
        ({"operation": "write", "path": "/3/0/0", "value": "x" * 70_000}, 413, "body_too_large"),
    ],
)
async def test_bad_bodies_never_reach_the_fleet(
    client: Client, fleet: FakeFleet, body: object, status: int, code: str
) -> None:
    answered, answer = await post(client, body)
    assert (answered, answer["error"]) == (status, code)
    assert answer["hint"]
    assert not fleet.calls


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_only_json_is_taken(client: Client, fleet: FakeFleet, content_type: str) -> None:
    status, answer = await post(
        client, '{"operation": "read", "path": "/3"}', headers={"Content-Type": content_type}
    )
    assert (status, answer["error"]) == (415, "media_type_unsupported")
    assert not fleet.calls


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_page_of_another_site_changes_nothing(client: Client, fleet: FakeFleet, site: str) -> None:
    status, answer = await post(
        client, {"operation": "execute", "path": "/3/0/4"}, headers={**JSON, "Sec-Fetch-Site": site}
    )
    assert (status, answer["error"]) == (403, "cross_site")
    assert not fleet.calls


async def test_the_stream_has_no_head(client: Client) -> None:
    async with client.head("/api/v1/stream") as response:
        assert response.status == 405


async def test_the_wrong_method_is_told_the_right_one(client: Client) -> None:
    async with client.get(URL(address(SENSOR, "/operations"), encoded=True)) as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert (await response.json())["error"] == "method_not_allowed"
    async with client.delete("/api/v1/sparklines") as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD"}
        assert "GET" in (await response.json())["hint"]
