"""Observations over REST: seen with their attributes, asked for in one go or not at all, ended."""

from collections.abc import Sequence
from urllib.parse import quote

import pytest

from flownexus_appliance.db.operations import EndpointOperation, Outcome
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http import api_observations
from flownexus_appliance.http import operations as operation_shapes
from flownexus_appliance.lwm2m.operations import Kind, Status
from flownexus_appliance.lwm2m.paths import Path

from .asking import ask, of_endpoint
from .conftest import Client
from .house import HOUR_MS, NOW_MS, QUIET, SENSOR, STRANGE, FakeFleet, FakeOperations, FakeReporting

TEMPERATURE = Path.of(3303, 0, 5700)
BATTERY = Path.of(3, 0, 9)
NAME = Path.of(3, 0, 0)


def observations_of(endpoint: str, query: str = "") -> str:
    return of_endpoint(endpoint, f"/observations{query}")


def asked(operations: FakeOperations) -> list[tuple[Kind, tuple[Path, ...]]]:
    return [(one.operation.kind, one.operation.paths) for one in operations.asked]


@pytest.fixture
def reports(fleet: FakeFleet) -> Sequence[FakeReporting]:
    """STRANGE reports a temperature, and battery and name in one; a third was refused, a fourth ended."""
    fleet.reports[STRANGE] = [
        FakeReporting((TEMPERATURE,)),
        FakeReporting((BATTERY, NAME), composite=True, state="waiting", asked_by="web", since_ms=5),
        FakeReporting((Path.of(1),), state="refused"),
        FakeReporting((Path.of(3303, 1),), state="off", asked_by="console"),
    ]  # fmt: skip
    fleet.set_attributes[STRANGE] = {
        Path.of(3303): {"pmin": "10"},
        TEMPERATURE: {"pmax": "60", "gt": "22.5"},
        Path.of(3303, 1, 5700): {"pmin": "1"},
        BATTERY: {"pmin": "3600"},
    }
    return fleet.reports[STRANGE]


@pytest.mark.usefixtures("reports")
async def test_what_a_device_reports_is_told_with_its_attributes(client: Client) -> None:
    items = (await ask(client, "GET", observations_of(STRANGE)))["items"]
    assert items[0] == {
        "paths": ["/3303/0/5700"],
        "composite": False,
        "state": "active",
        "asked_by": "watch list",
        "since_ms": NOW_MS - HOUR_MS,
        "attributes": {"/3303": {"pmin": "10"}, "/3303/0/5700": {"pmax": "60", "gt": "22.5"}},
    }
    assert items[1] == {
        "paths": ["/3/0/9", "/3/0/0"],
        "composite": True,
        "state": "waiting",
        "asked_by": "web",
        "since_ms": 5,
        "attributes": {"/3/0/9": {"pmin": "3600"}},
    }
    assert [item["attributes"] for item in items[2:]] == [
        {},
        {"/3303": {"pmin": "10"}, "/3303/1/5700": {"pmin": "1"}},
    ]
    assert (await ask(client, "GET", observations_of(SENSOR)))["items"] == []


@pytest.mark.parametrize(("state", "found"), [("active", 1), ("waiting", 1), ("refused", 1), ("off", 1)])
@pytest.mark.usefixtures("reports")
async def test_they_are_found_by_state(client: Client, state: str, found: int) -> None:
    items = (await ask(client, "GET", observations_of(STRANGE, f"?state={state}")))["items"]
    assert [item["state"] for item in items] == [state] * found


async def test_a_device_is_observed(client: Client, operations: FakeOperations) -> None:
    body = {"path": "/3303/0/5700", "deadline_s": 60}
    answer = await ask(client, "POST", observations_of(STRANGE), body, status=202)
    assert asked(operations) == [(Kind.OBSERVE, (TEMPERATURE,))]
    assert (operations.asked[0].by, operations.asked[0].deadline_ms) == ("anna/script", NOW_MS + 60_000)
    (state,) = answer["operations"]
    assert (state["operation"], state["status"], state["paths"]) == ("observe", "QUEUED", ["/3303/0/5700"])


async def test_attributes_are_set_before_it_begins(client: Client, operations: FakeOperations) -> None:
    operations.ends = Status.CONFIRMED, Outcome("2.04")
    body = {"paths": ["/3303/0/5700", "/3/0/9"], "attributes": {"pmin": 10, "gt": None}}
    answer = await ask(client, "POST", observations_of(SENSOR, "?wait=5"), body)
    assert [one["status"] for one in answer["operations"]] == ["CONFIRMED"] * 4
    assert asked(operations) == [
        (Kind.WRITE_ATTRIBUTES, (TEMPERATURE,)),
        (Kind.WRITE_ATTRIBUTES, (BATTERY,)),
        (Kind.OBSERVE, (TEMPERATURE,)),
        (Kind.OBSERVE, (BATTERY,)),
    ]
    assert operations.asked[0].operation.attributes == (("pmin", "10"), ("gt", None))


async def test_a_composite_is_one_observation(client: Client, operations: FakeOperations) -> None:
    body = {"paths": ["/3303/0/5700", "/3/0/9"], "composite": True}
    await ask(client, "POST", observations_of(SENSOR), body, status=202)
    body = {"path": "/3303", "composite": True}
    await ask(client, "POST", observations_of(SENSOR), body, status=202)
    assert asked(operations) == [
        (Kind.OBSERVE_COMPOSITE, (TEMPERATURE, BATTERY)),
        (Kind.OBSERVE_COMPOSITE, (Path.of(3303),)),
    ]


async def test_one_that_is_not_done_is_not_all_done(
    client: Client, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[int, float]] = []

    async def finished(operation_id: int, timeout_s: float) -> EndpointOperation:
        """The first is done in half a second, the second never; time passes as it is told to."""
        waited.append((operation_id, timeout_s))
        if operation_id == 1:
            now_s[0] += 0.5
            return await operations.end(1, Status.CONFIRMED, Outcome("2.04"))
        now_s[0] += timeout_s
        return operations.rows[operation_id]

    now_s = [0.0]
    monkeypatch.setattr(operations, "finished", finished)
    for module in (operation_shapes, api_observations):
        monkeypatch.setattr(module, "now_s", lambda: now_s[0])
    body = {"path": "/3303/0/5700", "attributes": {"pmin": 10}}
    answer = await ask(client, "POST", observations_of(SENSOR, "?wait=2"), body, status=202)
    assert [one["status"] for one in answer["operations"]] == ["CONFIRMED", "QUEUED"]
    assert waited == [(1, 1.0), (2, 1.0), (2, 0.5)]  # two seconds for both


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "paths_invalid"),
        ({"paths": []}, 400, "paths_invalid"),
        ({"path": "/3", "paths": ["/3"]}, 400, "paths_invalid"),
        ({"paths": ["/3/0/9", "/3/0/9/"]}, 400, "paths_invalid"),
        ({"paths": [f"/3/0/{number}" for number in range(65)]}, 400, "paths_invalid"),
        ({"paths": ["/3", "/3/0/9"], "composite": True}, 400, "paths_invalid"),
        ({"path": "/"}, 400, "path_invalid"),
        ({"path": "/x"}, 400, "path_invalid"),
        ({"path": "/3", "attributes": {"gt": 1}}, 400, "attributes_invalid"),
        ({"path": "/3", "attributes": {"colour": 1}}, 400, "attributes_invalid"),
        ({"path": "/3", "attributes": {"pmin": 10, "pmax": 5}}, 400, "attributes_invalid"),
        ({"path": "/3", "attributes": {"pmin": [1]}}, 400, "body_invalid"),
        ({"path": "/3", "value": 1}, 400, "body_invalid"),
        ({"path": "/3", "composite": "yes"}, 400, "body_invalid"),
        ({"path": "/5", "attributes": {"pmin": 10}}, 404, "object_unknown"),
        ({"path": "/3/4", "attributes": {"pmin": 10}}, 404, "instance_unknown"),
        # What can have attributes and cannot be observed: neither is asked for.
        ({"path": "/3/0/4", "attributes": {"pmin": 10}}, 409, "not_readable"),
        ({"paths": ["/3/0/9", "/3/0/4"]}, 409, "not_readable"),
    ],
)
async def test_what_makes_no_sense_asks_nothing(
    client: Client, operations: FakeOperations, body: object, status: int, code: str
) -> None:
    answer = await ask(client, "POST", observations_of(SENSOR), body, status=status)
    assert answer["error"] == code
    assert answer["hint"]
    assert not operations.asked


async def test_half_an_observation_is_withdrawn(
    client: Client, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = operations.ask

    async def full(*args: object, **more: object) -> EndpointOperation:
        if operations.asked:
            raise UsageError("queue_full", "too many wait", "wait")
        return await take(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(operations, "ask", full)
    body = {"path": "/3303/0/5700", "attributes": {"pmin": 10}}
    answer = await ask(client, "POST", observations_of(SENSOR), body, status=429)
    assert answer["error"] == "queue_full"
    assert [row.status for row in operations.rows.values()] == [Status.CANCELLED]


@pytest.mark.usefixtures("reports")
async def test_an_observation_is_ended(client: Client, operations: FakeOperations, fleet: FakeFleet) -> None:
    answer = await ask(client, "DELETE", observations_of(STRANGE, "?path=/3303/0/5700"), status=202)
    assert (answer["operation"], answer["paths"]) == ("cancel", ["/3303/0/5700"])
    operations.ends = Status.CONFIRMED, Outcome()
    # Its paths in any order are those of the one observation.
    query = "?path=/3/0/0&path=3/0/9&passive&wait=5"
    answer = await ask(client, "DELETE", observations_of(STRANGE, query))
    assert (answer["operation"], answer["status"]) == ("cancel_passive", "CONFIRMED")
    # Two of the same paths differ by their order.
    fleet.reports[STRANGE].append(FakeReporting((NAME, BATTERY), composite=True))
    answer = await ask(client, "DELETE", observations_of(STRANGE, "?path=/3/0/0&path=/3/0/9&wait=5"))
    assert answer["paths"] == ["/3/0/0", "/3/0/9"]
    for passive in ("passive=0", "passive=false", "passive=true", "passive=1"):
        await ask(client, "DELETE", observations_of(STRANGE, f"?path=/1&wait=5&{passive}"))
    assert asked(operations) == [
        (Kind.CANCEL, (TEMPERATURE,)),
        (Kind.CANCEL_PASSIVE, (BATTERY, NAME)),
        (Kind.CANCEL, (NAME, BATTERY)),
        (Kind.CANCEL, (Path.of(1),)),
        (Kind.CANCEL, (Path.of(1),)),
        (Kind.CANCEL_PASSIVE, (Path.of(1),)),
        (Kind.CANCEL_PASSIVE, (Path.of(1),)),
    ]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 404, "observation_unknown"),
        ("?path=/3/0/9", 404, "observation_unknown"),  # one path of a composite one
        ("?path=/3303", 404, "observation_unknown"),
        ("?path=/x", 400, "path_invalid"),
        ("?path=/1&passive=maybe", 400, "query_invalid"),
        ("?path=/1&wait=999", 400, "query_invalid"),
    ],
)
@pytest.mark.usefixtures("reports")
async def test_what_is_not_observed_is_not_ended(
    client: Client, operations: FakeOperations, query: str, status: int, code: str
) -> None:
    answer = await ask(client, "DELETE", observations_of(STRANGE, query), status=status)
    assert answer["error"] == code
    assert answer["hint"]
    assert not operations.asked


async def test_nobody_observes_nobody(client: Client, operations: FakeOperations) -> None:
    for method, query, body in (
        ("GET", "", None),
        ("POST", "", {"path": "/3"}),
        ("DELETE", "?path=/3", None),
    ):
        answer = await ask(client, method, observations_of("nobody", query), body, status=404)
        assert answer["error"] == "endpoint_unknown"
    answer = await ask(client, "GET", observations_of(QUIET, f"?state={quote('aktiv')}"), status=400)
    assert answer["error"] == "query_invalid"
    assert not operations.asked
