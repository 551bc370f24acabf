"""The REST interface: devices and their resources, and what bad input is told."""

from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from flownexus_appliance.http.ports import Parts

from .conftest import Client
from .house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet

BASE = "/api/v1/endpoints"


def address(endpoint: str, rest: str = "") -> str:
    return f"{BASE}/{quote(endpoint, safe='')}{rest}"


async def get(client: Client, path: str, status: int = 200) -> Any:
    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        return await response.json()


async def test_devices_come_by_name_with_state_and_registration(client: Client) -> None:
    answer = await get(client, BASE)
    assert [item["endpoint"] for item in answer["items"]] == sorted([SENSOR, SLEEPER, STRANGE, QUIET])
    assert answer["next"] is None
    by_name = {item["endpoint"]: item for item in answer["items"]}
    sensor = by_name[SENSOR]
    assert (sensor["label"], sensor["state"]) == ("Greenhouse", "online")
    assert sensor["last_seen_ms"] == NOW_MS - 12_000  # what the fleet heard since
    assert sensor["registration"]["lifetime_s"] == 300
    assert sensor["registration"]["objects"]["3303"] == {"version": "1.1", "instances": [0, 1]}
    assert by_name[SLEEPER]["registration"]["queue_mode"] is True


async def test_a_cursor_leads_through_all_devices_once(client: Client) -> None:
    seen: list[str] = []
    after = ""
    for _ in range(4):
        answer = await get(client, f"{BASE}?limit=1&after={quote(after)}")
        seen += [item["endpoint"] for item in answer["items"]]
        after = answer["next"]
        if after is None:
            break
    assert seen == sorted([SENSOR, SLEEPER, STRANGE, QUIET])
    assert after is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=GREEN", [SENSOR]),
        ("q=imei", [SENSOR]),
        ("q=nothing-like-it", []),
        ("state=sleeping", [SLEEPER]),
        ("state=online&q=kitchen", [STRANGE]),
        ("state=offline&q=kitchen", []),
    ],
)
async def test_devices_are_found_by_words_and_state(client: Client, query: str, found: list[str]) -> None:
    answer = await get(client, f"{BASE}?{query}")
    assert [item["endpoint"] for item in answer["items"]] == found


async def test_a_state_is_filtered_across_pages(client: Client) -> None:
    first = await get(client, f"{BASE}?state=online&limit=1")
    assert [item["endpoint"] for item in first["items"]] == [STRANGE]
    second = await get(client, f"{BASE}?state=online&limit=1&after={quote(first['next'])}")
    assert [item["endpoint"] for item in second["items"]] == [SENSOR]
    assert second["next"] is None


@pytest.mark.parametrize("endpoint", [SENSOR, SLEEPER, STRANGE])
async def test_any_name_is_an_address(client: Client, endpoint: str) -> None:
    assert (await get(client, address(endpoint)))["endpoint"] == endpoint


async def test_lower_case_escapes_are_the_same_address(client: Client) -> None:
    assert (await get(client, f"{BASE}/urn%3aimei%3a352656100123456"))["endpoint"] == SENSOR


async def test_resources_say_what_their_values_mean(client: Client) -> None:
    items = (await get(client, address(SENSOR, "/resources")))["items"]
    found = {item["path"]: item for item in items}
    assert found["/3303/0/5700"] == {
        "path": "/3303/0/5700",
        "object_id": 3303,
        "object_name": "Temperature",
        "instance_id": 0,
        "resource_id": 5700,
        "resource_instance_id": None,
        "name": "Sensor Value",
        "data_type": "float",
        "units": "Cel",
        "operations": "R",
        "value": 29.5,
        "time_ms": NOW_MS,
        "observed": True,
    }
    assert found["/3/0/11/0"]["resource_instance_id"] == 0
    assert found["/3/0/9"]["observed"] is True  # its instance is observed
    assert found["/3342/0/5500"]["observed"] is False
    assert found["/3342/0/5500"]["value"] is True
    assert found["/32769/0/7"]["value"] == "01ff"
    assert found["/32769/0/7"]["object_name"] == "Object 32769"
    assert items[0]["path"] == "/3/0/0"


@pytest.mark.parametrize(
    ("path", "count"),
    [("3303", 2), ("3303/0", 2), ("3303/0/5700", 1), ("3/0/11", 1), ("3/0/11/0", 1), ("/3/0/9", 1)],
)
async def test_resources_below_a_path(client: Client, path: str, count: int) -> None:
    items = (await get(client, address(SENSOR, f"/resources/{path}")))["items"]
    assert len(items) == count


async def change(client: Client, endpoint: str, body: object, status: int = 200) -> Any:
    async with client.patch(URL(address(endpoint), encoded=True), json=body) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_a_device_is_called_as_its_owner_likes(client: Client, fleet: FakeFleet) -> None:
    assert (await change(client, STRANGE, {"label": "Küche"}))["label"] == "Küche"
    answer = await get(client, address(STRANGE))
    assert (answer["label"], answer["awake_window_s"]) == ("Küche", None)
    assert (await change(client, STRANGE, {"label": ""}))["label"] == ""
    assert fleet.configured == [(STRANGE, "Küche", None), (STRANGE, "", None)]


@pytest.mark.parametrize("back", [0, None])
async def test_an_awake_window_is_set_and_taken_back(
    client: Client, fleet: FakeFleet, back: int | None
) -> None:
    assert (await change(client, SLEEPER, {"awake_window_s": 12.5}))["awake_window_s"] == 12.5
    by_name = {item["endpoint"]: item for item in (await get(client, BASE))["items"]}
    assert by_name[SLEEPER]["awake_window_s"] == 12.5
    assert by_name[SENSOR]["awake_window_s"] is None
    assert (await change(client, SLEEPER, {"awake_window_s": back}))["awake_window_s"] is None
    assert fleet.configured == [(SLEEPER, None, 12.5), (SLEEPER, None, 0.0)]


async def test_what_is_left_out_stays(client: Client) -> None:
    await change(client, SENSOR, {"awake_window_s": 5})
    answer = await change(client, SENSOR, {})
    assert (answer["label"], answer["awake_window_s"]) == ("Greenhouse", 5)


@pytest.mark.parametrize(
    ("endpoint", "body", "status", "code"),
    [
        ("nobody", {"label": "x"}, 404, "endpoint_unknown"),
        ("nobody", {}, 404, "endpoint_unknown"),
        (SENSOR, {"label": None}, 400, "body_invalid"),
        (SENSOR, {"label": 1}, 400, "body_invalid"),
        (SENSOR, {"awake_window_s": "1"}, 400, "body_invalid"),
        (SENSOR, {"state": "online"}, 400, "body_invalid"),
        (SENSOR, [], 400, "body_invalid"),
    ],
)
async def test_a_bad_change_changes_nothing(
    client: Client, fleet: FakeFleet, endpoint: str, body: object, status: int, code: str
) -> None:
    assert (await change(client, endpoint, body, status))["error"] == code
    assert fleet.configured == []


async def test_health(client: Client) -> None:
    answer = await get(client, "/healthz")
    assert answer == {"status": "ok", "devices": {"online": 2, "sleeping": 1, "offline": 1}}


async def test_health_fails_with_the_database(client: Client, parts: Parts) -> None:
    await parts.reader.stop()
    async with client.get("/healthz") as response:
        assert response.status == 500
        assert (await response.json())["error"] == "internal_error"


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/nothing", 404, "unknown_address"),
        ("/api", 404, "unknown_address"),
        (address("nobody"), 404, "endpoint_unknown"),
        (address("nobody", "/resources"), 404, "endpoint_unknown"),
        (address(SENSOR, "/resources/9/9/9"), 404, "resource_unknown"),
        (address(SENSOR, "/resources/x"), 400, "path_invalid"),
        (address(SENSOR, "/resources/3/0/65535"), 400, "path_invalid"),
        (f"{BASE}?limit=0", 400, "query_invalid"),
        (f"{BASE}?limit=501", 400, "query_invalid"),
        (f"{BASE}?limit=ten", 400, "query_invalid"),
        (f"{BASE}?limit=%D9%A1", 400, "query_invalid"),
        (f"{BASE}?limit=99999999999999999999", 400, "query_invalid"),
        (f"{BASE}?state=asleep", 400, "query_invalid"),
        (f"{BASE}?q={'x' * 256}", 400, "query_invalid"),
        ("/api/v1/stream?after=-1", 400, "query_invalid"),
        ("/api/v1/stream?after=x", 400, "query_invalid"),
        ("/api/v1/stream?" + "&".join(f"endpoint={n}" for n in range(201)), 400, "query_invalid"),
    ],
)
async def test_bad_questions_are_told_what_is_wrong(
    client: Client, path: str, status: int, code: str
) -> None:
    answer = await get(client, path, status)
    assert set(answer) == {"error", "message", "hint"}
    assert answer["error"] == code
    assert answer["message"]
    assert answer["hint"]
