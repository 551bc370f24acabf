"""Operations over REST: how they are found, followed, ended and asked again."""

import asyncio

import pytest
from yarl import URL

from flownexus_appliance.db.operations import EndpointOperation, Outcome
from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType

from .asking import ask, of_endpoint
from .conftest import Client
from .house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeOperations, record
from .test_api import address
from .test_operations import DONE, read

# Seeing, ending, asking again


@pytest.fixture
async def many(operations: FakeOperations) -> FakeOperations:
    """1 to 7: done, refused, three that wait, expired, done again; ids are their order."""
    set_time = Operation(
        Kind.WRITE, (Path.of(3, 0, 14),), (record("/3/0/14", "Äquator +01", DataType.STRING),)
    )
    for endpoint, operation, by, ends in (
        (SENSOR, read("/3/0"), "web", DONE),
        (SENSOR, set_time, "console", (Status.FAILED, Outcome("4.05", message="Locked 100%"))),
        (SENSOR, read("/3303"), "web", None),
        (SLEEPER, read("/3303"), "leshan", None),
        (STRANGE, Operation(Kind.EXECUTE, (Path.of(3, 0, 4),)), "web", None),
        (SLEEPER, read("/3/0/9"), "web", (Status.EXPIRED, Outcome(message="it never came"))),
        (SLEEPER, read("/3/0/9"), "web", DONE),
    ):
        operations.ends = ends
        await operations.ask(endpoint, operation, by)
    operations.ends = None
    return operations


async def ids(client: Client, path: str) -> list[int]:
    return [item["id"] for item in (await ask(client, "GET", path))["items"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [7, 6, 5, 4, 3, 2, 1]),
        ("?status=CONFIRMED", [7, 1]),
        ("?status=unfinished", [5, 4, 3]),
        ("?status=QUEUED", [5, 4, 3]),
        ("?status=SENDING", []),
        ("?status=done", [7, 6, 2, 1]),
        ("?operation=read", [7, 6, 4, 3, 1]),
        ("?operation=execute&status=done", []),
        (f"?endpoint={SENSOR}", [3, 2, 1]),
        (f"?endpoint={SENSOR}&status=done", [2, 1]),
        (f"?endpoint={SENSOR}&status=FAILED", [2]),
        (f"?endpoint={SENSOR}&status=unfinished", [3]),
        ("?endpoint=nobody", []),
        ("?q=greenHOUSE", [3, 2, 1]),
        ("?q=/3303", [4, 3]),
        ("?q=4.05", [2]),
        ("?q=locked+100%25", [2]),
        ("?q=console", [2]),
        ("?q=KITCHEN", [5]),
        ("?q=imei&status=QUEUED&operation=read", [3]),
        ("?after=3", [2, 1]),
        ("?after=6&status=unfinished&limit=2", [5, 4]),
    ],
)
@pytest.mark.usefixtures("many")
async def test_operations_are_found_newest_first(client: Client, query: str, found: list[int]) -> None:
    assert await ids(client, f"/operations{query}") == found


@pytest.mark.usefixtures("many")
async def test_a_cursor_leads_through_all_once(client: Client) -> None:
    seen: list[int] = []
    query = ""
    for _ in range(4):
        page = await ask(client, "GET", f"/operations?limit=2{query}")
        seen += [item["id"] for item in page["items"]]
        query = f"&after={page['next']}"
        if page["next"] is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert page["next"] is None


@pytest.mark.usefixtures("many")
async def test_a_device_has_its_own_list(client: Client) -> None:
    assert await ids(client, of_endpoint(STRANGE, "/operations")) == [5]
    assert await ids(client, of_endpoint(SENSOR, "/operations?operation=read&limit=1")) == [3]
    assert await ids(client, of_endpoint(QUIET, "/operations")) == []
    # Whose list it is, the address says.
    assert await ids(client, of_endpoint(STRANGE, f"/operations?endpoint={SENSOR}")) == [5]
    answer = await ask(client, "GET", of_endpoint("nobody", "/operations"), status=404)
    assert answer["error"] == "endpoint_unknown"


@pytest.mark.parametrize(
    "query",
    ["status=queued", "operation=reed", "limit=0", "limit=501", "after=0", "after=x", f"q={'x' * 256}"],
)
async def test_bad_questions_are_told_what_is_wrong(client: Client, query: str) -> None:
    for path in ("/operations", of_endpoint(SENSOR, "/operations")):
        answer = await ask(client, "GET", f"{path}?{query}", status=400)
        assert answer["error"] == "query_invalid"
        assert answer["hint"]


async def test_one_is_seen_with_its_attempts(client: Client, many: FakeOperations) -> None:
    shown = await ask(client, "GET", "/operations/2")
    assert (shown["status"], shown["asked_by"]) == ("FAILED", "console")
    assert shown["wanted"] == [{"path": "/3/0/14", "value": "Äquator +01", "data_type": "string"}]
    assert shown["attempts_made"] == [
        {
            "number": 1,
            "started_ms": NOW_MS,
            "ended_ms": NOW_MS + 40,
            "code": "4.05",
            "message": "Locked 100%",
        }
    ]
    listed = next(item for item in (await ask(client, "GET", "/operations"))["items"] if item["id"] == 2)
    assert listed == {name: value for name, value in shown.items() if name != "attempts_made"}
    assert (await ask(client, "GET", "/operations/3"))["attempts_made"] == []
    assert many.asked  # nothing was asked anew


@pytest.mark.usefixtures("many")
async def test_one_is_waited_for(client: Client, operations: FakeOperations) -> None:
    waiting = asyncio.create_task(ask(client, "GET", "/operations/3?wait=120"))
    await asyncio.sleep(0)
    await operations.end(3, *DONE)
    shown = await waiting
    assert (shown["status"], len(shown["attempts_made"])) == ("CONFIRMED", 1)
    assert (await ask(client, "GET", "/operations/3?wait=120"))["status"] == "CONFIRMED"  # at once


async def test_what_ended_unseen_is_read_from_the_file(
    client: Client, many: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def finished(operation_id: int, _: float) -> EndpointOperation:
        await many.end(operation_id, *DONE)
        raise UsageError("operation_missing", "not under way", "see the list")

    monkeypatch.setattr(many, "finished", finished)
    assert (await ask(client, "GET", "/operations/4?wait=5"))["status"] == "CONFIRMED"


async def test_what_is_not_done_can_be_ended(client: Client, many: FakeOperations) -> None:
    assert (await ask(client, "DELETE", "/operations/3"))["status"] == "CANCELLED"
    assert many.rows[3].status is Status.CANCELLED
    answer = await ask(client, "DELETE", "/operations/3", status=409)
    assert (answer["error"], bool(answer["hint"])) == ("operation_done", True)
    assert (await ask(client, "GET", "/operations/3"))["attempts_made"] == []


async def test_what_is_done_can_be_asked_again(client: Client, many: FakeOperations) -> None:
    again = await ask(client, "POST", "/operations/2/retry", status=202)
    assert (again["id"], again["retry_of"], again["asked_by"]) == (8, 2, "anna/script")
    assert again["wanted"] == [{"path": "/3/0/14", "value": "Äquator +01", "data_type": "string"}]
    assert (await ask(client, "GET", "/operations/2"))["status"] == "FAILED"
    many.ends = DONE
    assert (await ask(client, "POST", "/operations/2/retry?wait=5"))["status"] == "CONFIRMED"
    answer = await ask(client, "POST", "/operations/3/retry", status=409)
    assert (answer["error"], bool(answer["hint"])) == ("operation_unfinished", True)


@pytest.mark.parametrize("number", ["9", "0", "x", "-1", "9" * 40, "%D9%A1"])
@pytest.mark.usefixtures("many")
async def test_what_is_not_there_is_told(client: Client, number: str) -> None:
    for method, rest in (("GET", ""), ("DELETE", ""), ("POST", "/retry")):
        answer = await ask(client, method, f"/operations/{number}{rest}", status=404)
        assert answer["error"] == "operation_missing"
        assert answer["hint"]


async def test_the_stream_has_no_head(client: Client) -> None:
    async with client.head("/api/v1/stream") as response:
        assert response.status == 405


async def test_the_wrong_method_is_told_the_right_one(client: Client) -> None:
    async with client.put(URL(address(SENSOR, "/operations"), encoded=True)) as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}
        assert (await response.json())["error"] == "method_not_allowed"
    async with client.delete("/api/v1/sparklines") as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"GET", "HEAD"}
        assert "GET" in (await response.json())["hint"]
