"""Labels, notes and tags over REST, and devices by them."""

import io
import json
from typing import Any

import pytest

from .asking import ask, of_endpoint
from .conftest import Client
from .house import QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet


async def change(client: Client, endpoint: str, body: object, status: int = 200) -> Any:
    return await ask(client, "PATCH", of_endpoint(endpoint), body, status)


async def names(client: Client, query: str) -> list[str]:
    return [one["endpoint"] for one in (await ask(client, "GET", f"/endpoints?{query}"))["items"]]


async def test_notes_and_tags_are_set_and_taken_away(client: Client) -> None:
    answer = await change(client, STRANGE, {"notes": "one\r\ntwo", "tags": [" Garden", "garden", "<b>"]})
    assert (answer["notes"], answer["tags"]) == ("one\ntwo", ["<b>", "Garden"])
    answer = await change(client, STRANGE, {"label": "x"})
    assert (answer["notes"], answer["tags"], answer["label"]) == ("one\ntwo", ["<b>", "Garden"], "x")
    answer = await change(client, STRANGE, {"notes": "", "tags": []})
    assert (answer["notes"], answer["tags"], answer["label"]) == ("", [], "x")


async def test_tags_are_listed_with_their_devices(client: Client) -> None:
    assert await ask(client, "GET", "/tags") == {"items": []}
    await change(client, SENSOR, {"tags": ["roof", "Garden"]})
    await change(client, SLEEPER, {"tags": ["roof"]})
    assert await ask(client, "GET", "/tags") == {
        "items": [{"tag": "Garden", "devices": 1}, {"tag": "roof", "devices": 2}]
    }
    assert await names(client, "tag=ROOF") == [SLEEPER, SENSOR]
    assert await names(client, "tag=roof&state=online") == [SENSOR]
    assert await names(client, "tag=none") == []


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ("name", [STRANGE, QUIET, SLEEPER, SENSOR]),
        ("label", [SENSOR, STRANGE, QUIET, SLEEPER]),
        ("state", [SENSOR, STRANGE, SLEEPER, QUIET]),
    ],
)
async def test_devices_come_in_the_order_that_is_asked_for(
    client: Client, sort: str, found: list[str]
) -> None:
    assert await names(client, f"sort={sort}") == found


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"tags": ["x" * 33]}, 400, "tag_invalid"),
        ({"tags": ["a,b"]}, 400, "tag_invalid"),
        ({"tags": [str(number) for number in range(17)]}, 400, "tag_limit"),
        ({"tags": "a"}, 400, "body_invalid"),
        ({"tags": None}, 400, "body_invalid"),
        ({"notes": "x" * 4001}, 400, "notes_invalid"),
        ({"notes": None}, 400, "body_invalid"),
    ],
)
async def test_what_cannot_be_noted_is_refused(client: Client, body: object, status: int, code: str) -> None:
    answer = await change(client, SENSOR, body, status)
    assert answer["error"] == code
    assert answer["hint"]


async def test_a_label_of_two_megabytes_is_refused(client: Client, fleet: FakeFleet) -> None:
    body = io.BytesIO(json.dumps({"label": "x" * 2_000_000}).encode())
    headers = {"Content-Type": "application/json"}
    async with client.patch(f"/api/v1/endpoints/{QUIET}", data=body, headers=headers) as response:
        answer = await response.json()
    assert (response.status, answer["error"]) == (413, "body_too_large")
    assert "at most" in answer["hint"]
    assert fleet.configured == []


@pytest.mark.parametrize("query", ["sort=x", "sort=label&after=x", "tag=" + "x" * 256])
async def test_a_bad_question_is_refused(client: Client, query: str) -> None:
    assert (await ask(client, "GET", f"/endpoints?{query}", status=400))["error"] == "query_invalid"


async def test_an_operator_may_note_and_a_viewer_may_not(client: Client, fleet: FakeFleet) -> None:
    for role, status in (("operator", 200), ("viewer", 403)):
        async with client.patch(
            f"/api/v1/endpoints/{QUIET}",
            json={"label": role},
            headers={"Authorization": f"Bearer {role}"},
        ) as response:
            assert response.status == status
    assert [label for _, label, _ in fleet.configured] == ["operator"]
