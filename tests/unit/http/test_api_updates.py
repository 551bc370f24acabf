"""Firmware updates and campaigns over REST: asked for, followed as they stand this moment, ended."""

import json
from dataclasses import fields, replace
from typing import Any

import msgspec
import pytest

from flownexus_appliance.events import EventBus
from flownexus_appliance.http.stream import MESSAGES
from flownexus_appliance.lwm2m.firmware import DEFAULT_INSTANCE, CampaignState, Delivery, UpdateState
from flownexus_appliance.lwm2m.paths import Path

from .asking import ask, of_endpoint
from .conftest import Client
from .firmware_box import NOT_FOR, FakeFirmwareBox
from .house import HOUR_MS, NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE
from .people import FakeAccess

LONG_AGO_MS = NOW_MS - 5 * HOUR_MS


async def give(client: Client, body: object, status: int = 201, endpoint: str = SENSOR) -> Any:
    return await ask(client, "POST", of_endpoint(endpoint, "/updates"), body, status)


async def listed(client: Client, query: str) -> tuple[list[int], int | None]:
    answer = await ask(client, "GET", f"/updates?{query}")
    return [one["id"] for one in answer["items"]], answer["next"]


async def begin(client: Client, status: int = 201, **plan: object) -> Any:
    return await ask(client, "POST", "/campaigns", {"firmware": 1, **plan}, status)


# Updates


async def test_an_update_is_told_with_all_that_is_known_of_it(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    answer = await ask(client, "GET", "/updates/2")
    steps = answer.pop("steps")
    assert answer == {
        "id": 2,
        "endpoint": SENSOR,
        "label": "Greenhouse",
        "firmware": 1,
        "version": "1.5.0",
        "size": 40_019,
        "campaign": 1,
        "instance": "/5/0",
        "state": "REVERTED",
        "wanted": None,
        "delivery": "coaps",
        "tried": [],
        "bytes": 40_019,
        "percent": 100,
        "attempts": 1,
        "result": None,
        "result_text": "",
        "reason": "reverted",
        "message": "The device came back with the version it had before.",
        "detail": "1.4.2",
        "hint": answer["hint"],
        "from_version": "1.4.2",
        "asked_by": "ada",
        "created_ms": LONG_AGO_MS,
        "started_ms": LONG_AGO_MS,
        "changed_ms": LONG_AGO_MS + 120_000,
        "ended_ms": LONG_AGO_MS + 120_000,
    }
    assert "boot loader" in answer["hint"]
    assert [step["state"] for step in steps] == [
        "WAITING",
        "PREPARING",
        "DOWNLOADING",
        "DOWNLOADED",
        "UPDATING",
        "REVERTED",
    ]
    assert steps[-1] == {
        "number": 6,
        "time_ms": LONG_AGO_MS + 120_000,
        "state": "REVERTED",
        "reason": "reverted",
        "message": "The device came back with the version it had before.",
        "detail": "1.4.2",
    }


async def test_what_the_device_says_is_told_in_words(client: Client, stocked: FakeFirmwareBox) -> None:
    failed = await ask(client, "GET", "/updates/3")
    assert (failed["wanted"], failed["result"], failed["result_text"]) == (
        "push",
        5,
        "Integrity check failed",
    )
    assert failed["message"] == "The device says: Integrity check failed."


async def test_the_secret_of_an_update_is_told_to_nobody(client: Client, stocked: FakeFirmwareBox) -> None:
    answers = [
        await ask(client, "GET", "/updates"),
        await ask(client, "GET", "/updates/7"),
        await ask(client, "DELETE", "/updates/7"),
        await ask(client, "POST", "/updates/7/retry", status=201),
        await give(client, {"firmware": 1}, endpoint=STRANGE),
    ]
    assert "ticket" not in json.dumps(answers)
    assert all(one.ticket.startswith("ticket") for one in stocked.updates.values())


async def test_an_update_under_way_stands_as_the_box_knows_it(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    stocked.updates[7] = replace(stocked.updates[7], bytes=79_999)  # and the file has a quarter
    (first, *_) = (await ask(client, "GET", "/updates"))["items"]
    for answer in (first, await ask(client, "GET", "/updates/7")):
        assert (answer["id"], answer["bytes"], answer["percent"]) == (7, 79_999, 99)
    stocked.updates[7] = replace(stocked.updates[7], bytes=80_012)
    assert (await ask(client, "GET", "/updates/7"))["percent"] == 100


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("limit=3", ([7, 6, 5], 5)),
        ("limit=3&after=5", ([4, 3, 2], 2)),
        ("limit=3&after=2", ([1], None)),
        (f"endpoint={SENSOR}", ([7, 2], None)),
        ("endpoint=nobody", ([], None)),
        ("firmware=2", ([7, 6, 5], None)),
        ("campaign=1", ([2, 1], None)),
        ("state=WAITING", ([5], None)),
        ("state=unfinished", ([7, 5], None)),
        ("state=done", ([6, 4, 3, 2, 1], None)),
        ("state=unsuccessful", ([6, 3, 2], None)),
        ("q=GREENHOUSE", ([7, 2], None)),
        ("firmware=2&state=FAILED", ([6], None)),
    ],
)
async def test_updates_are_looked_through(
    client: Client, stocked: FakeFirmwareBox, query: str, found: tuple[list[int], int | None]
) -> None:
    assert await listed(client, query) == found


async def test_a_device_is_given_a_firmware(
    client: Client, stocked: FakeFirmwareBox, access: FakeAccess
) -> None:
    body = {"firmware": 1, "delivery": "push", "instance": "/33629/1"}
    url = f"/api/v1{of_endpoint(STRANGE, '/updates')}"
    async with client.post(url, json=body) as response:
        assert (response.status, response.headers["Location"]) == (201, "/api/v1/updates/8")
        answer = await response.json()
    assert (answer["state"], answer["wanted"], answer["instance"]) == ("WAITING", "push", "/33629/1")
    assert (answer["started_ms"], answer["ended_ms"], answer["campaign"]) == (None, None, None)
    assert answer["asked_by"] == "anna/script"
    kept = stocked.updates[8]
    assert (kept.wanted, kept.instance) == (Delivery.PUSH, Path.of(33629, 1))
    assert access.notes[-1][2:] == ("POST /api/v1/endpoints/{endpoint}/updates", STRANGE, "")
    assert access.details[-1] == "1.5.0"


async def test_without_more_it_is_the_best_way_to_the_first_instance(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    await give(client, {"firmware": 1}, endpoint=STRANGE)
    assert (stocked.updates[8].wanted, stocked.updates[8].instance) == (None, DEFAULT_INSTANCE)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"firmware": 9}, 404, "firmware_unknown"),
        ({"firmware": 2}, 409, "update_under_way"),
        ({}, 400, "body_invalid"),
        ({"firmware": "1"}, 400, "body_invalid"),
        ({"firmware": 2**60}, 400, "body_invalid"),
        ({"firmware": 1, "delivery": "carrier pigeon"}, 400, "body_invalid"),
        ({"firmware": 1, "ticket": "mine"}, 400, "body_invalid"),
        ({"firmware": 1, "instance": "/3/0"}, 400, "path_invalid"),
        ({"firmware": 1, "instance": "/5"}, 400, "path_invalid"),
        ({"firmware": 1, "instance": "/5/0/1"}, 400, "path_invalid"),
        ({"firmware": 1, "instance": "five"}, 400, "path_invalid"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    client: Client, stocked: FakeFirmwareBox, body: object, status: int, code: str
) -> None:
    assert (await give(client, body, status))["error"] == code
    assert len(stocked.updates) == 7


async def test_a_device_that_nobody_knows(client: Client, stocked: FakeFirmwareBox) -> None:
    assert (await give(client, {"firmware": 1}, 404, "nobody"))["error"] == "endpoint_unknown"


async def test_a_firmware_for_others_is_given_all_the_same_where_one_insists(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    stocked.refusing[STRANGE] = NOT_FOR
    assert (await give(client, {"firmware": 1}, 409, STRANGE))["error"] == NOT_FOR
    assert (await give(client, {"firmware": 1, "anyway": True}, 201, STRANGE))["endpoint"] == STRANGE


async def test_an_update_is_cancelled(client: Client, stocked: FakeFirmwareBox) -> None:
    answer = await ask(client, "DELETE", "/updates/7")
    assert (answer["state"], answer["reason"], answer["label"]) == ("CANCELLED", "asked", "Greenhouse")
    assert (await ask(client, "DELETE", "/updates/7", status=409))["error"] == "update_done"
    stocked.move(5, state=UpdateState.UPDATING)
    assert (await ask(client, "DELETE", "/updates/5", status=409))["error"] == "update_installing"


async def test_one_that_has_ended_is_tried_again_as_it_was_wanted(
    client: Client, stocked: FakeFirmwareBox, access: FakeAccess
) -> None:
    stocked.refusing[STRANGE] = NOT_FOR
    answer = await ask(client, "POST", "/updates/3/retry", status=201)
    assert (answer["id"], answer["endpoint"], answer["firmware"], answer["wanted"]) == (8, STRANGE, 1, "push")
    assert (answer["state"], answer["asked_by"], answer["campaign"]) == ("WAITING", "anna/script", None)
    assert access.details[-1] == f"{STRANGE} 1.5.0"
    assert (await ask(client, "GET", "/updates/3"))["state"] == "FAILED"
    assert (await ask(client, "POST", "/updates/3/retry", status=409))["error"] == "update_under_way"
    assert (await ask(client, "POST", "/updates/8/retry", status=409))["error"] == "update_unfinished"


@pytest.mark.parametrize("number", ["99", "0", "x", "9" * 16])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("DELETE", ""), ("POST", "/retry")])
async def test_an_update_that_is_not_there(
    client: Client, stocked: FakeFirmwareBox, number: str, method: str, rest: str
) -> None:
    assert (await ask(client, method, f"/updates/{number}{rest}", None, 404))["error"] == "update_unknown"


async def test_an_update_whose_package_is_gone_has_no_size(client: Client, stocked: FakeFirmwareBox) -> None:
    del stocked.rows[1]
    answer = await ask(client, "GET", "/updates/2")
    assert (answer["version"], answer["size"], answer["percent"]) == ("", 0, 0)


# Campaigns


async def test_a_campaign_is_told_as_it_stands_this_moment(client: Client, stocked: FakeFirmwareBox) -> None:
    second, first = (await ask(client, "GET", "/campaigns"))["items"]
    assert second == {
        "id": 2,
        "name": "Field",
        "firmware": 2,
        "version": "1.6.0",
        "instance": "/5/0",
        "delivery": None,
        "at_once": 20,
        "failure_limit": 10,
        "starts_ms": None,
        "state": "PAUSED",
        "reason": "failures",
        "message": "Too many devices failed.",
        "devices": 2,
        "counts": {"WAITING": 1, "FAILED": 1},
        "asked_by": "grace",
        "created_ms": NOW_MS - HOUR_MS,
        "changed_ms": NOW_MS - HOUR_MS,
    }
    assert (first["state"], first["counts"]) == ("DONE", {"SUCCEEDED": 1, "REVERTED": 1})
    stocked.updates[5] = replace(stocked.updates[5], state=UpdateState.PREPARING)  # the file waits
    assert (await ask(client, "GET", "/campaigns/2"))["counts"] == {"PREPARING": 1, "FAILED": 1}


@pytest.mark.parametrize(
    ("query", "found", "following"),
    [
        ("limit=1", [2], 2),
        ("limit=1&after=2", [1], None),
        ("state=unfinished", [2], None),
        ("state=done", [1], None),
        ("state=PAUSED", [2], None),
        ("state=RUNNING", [], None),
    ],
)
async def test_campaigns_are_looked_through(
    client: Client, stocked: FakeFirmwareBox, query: str, found: list[int], following: int | None
) -> None:
    answer = await ask(client, "GET", f"/campaigns?{query}")
    assert ([one["id"] for one in answer["items"]], answer["next"]) == (found, following)


async def test_a_campaign_begins_and_says_who_is_left_out(
    client: Client, stocked: FakeFirmwareBox, access: FakeAccess
) -> None:
    stocked.refusing = {QUIET: "endpoint_unseen", SLEEPER: "object_missing", SENSOR: "runs_it"}
    answer = await begin(client, name=" Night ", delivery="https", at_once=3, failure_limit=0)
    campaign = answer.pop("campaign")
    assert answer == {
        "devices": 1,
        "left_out": [
            {"endpoint": QUIET, "why": "endpoint_unseen", "message": "It has never registered."},
            {
                "endpoint": SLEEPER,
                "why": "object_missing",
                "message": "It has no Firmware Update object, so it takes no updates.",
            },
            {"endpoint": SENSOR, "why": "runs_it", "message": "It runs this version already."},
        ],
    }
    assert (campaign["id"], campaign["name"], campaign["state"]) == (3, "Night", "RUNNING")
    assert (campaign["delivery"], campaign["at_once"], campaign["failure_limit"]) == ("https", 3, 0)
    assert (campaign["counts"], campaign["asked_by"]) == ({"WAITING": 1}, "anna/script")
    assert access.details[-1] == "3 1.5.0"


async def test_without_more_it_has_the_boxs_own_bounds_and_begins_at_once(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    campaign = (await begin(client))["campaign"]
    assert (campaign["at_once"], campaign["failure_limit"], campaign["starts_ms"]) == (20, 10, None)


async def test_a_campaign_may_begin_later(client: Client, stocked: FakeFirmwareBox) -> None:
    campaign = (await begin(client, starts_ms=NOW_MS + HOUR_MS, endpoints=[SLEEPER, SLEEPER]))["campaign"]
    assert (campaign["state"], campaign["starts_ms"]) == ("SCHEDULED", NOW_MS + HOUR_MS)
    assert campaign["devices"] == 1


async def test_a_preview_does_nothing_and_is_no_change(
    client: Client, stocked: FakeFirmwareBox, access: FakeAccess
) -> None:
    stocked.refusing = {QUIET: "endpoint_unseen"}
    before = len(access.notes)
    answer = await ask(client, "POST", "/campaigns/preview", {"firmware": 1, "endpoints": [QUIET, SENSOR]})
    assert (answer["devices"], answer["endpoints"]) == (1, [SENSOR])
    assert [one["endpoint"] for one in answer["left_out"]] == [QUIET]
    assert (len(stocked.campaigns), len(stocked.updates), len(access.notes)) == (2, 7, before)
    await ask(client, "POST", "/campaigns/preview", {"firmware": 9}, 404)
    assert access.notes[-1][-1] == "firmware_unknown"


@pytest.mark.parametrize("path", ["/campaigns", "/campaigns/preview"])
@pytest.mark.parametrize(
    ("plan", "status", "code"),
    [
        ({"firmware": 9}, 404, "firmware_unknown"),
        ({"endpoints": []}, 400, "body_invalid"),
        ({"endpoints": [SENSOR], "tag": "field"}, 400, "body_invalid"),
        ({"endpoints": [SENSOR], "version": "1"}, 400, "body_invalid"),
        ({"endpoints": ["nobody"]}, 404, "endpoint_unknown"),
        ({"at_once": 0}, 400, "at_once_invalid"),
        ({"failure_limit": 101}, 400, "failure_limit_invalid"),
        ({"failure_limit": 1.5}, 400, "body_invalid"),
        ({"starts_ms": -1}, 400, "body_invalid"),
        ({"starts_ms": "tomorrow"}, 400, "body_invalid"),
        ({"instance": "/3/0"}, 400, "path_invalid"),
        ({"more": 1}, 400, "body_invalid"),
    ],
)
async def test_a_campaign_that_makes_no_sense_is_refused(
    client: Client, stocked: FakeFirmwareBox, path: str, plan: dict[str, object], status: int, code: str
) -> None:
    assert (await ask(client, "POST", path, {"firmware": 1, **plan}, status))["error"] == code
    assert len(stocked.campaigns) == 2


async def test_a_campaign_without_devices_is_none(client: Client, stocked: FakeFirmwareBox) -> None:
    stocked.refusing = {SENSOR: "runs_it"}
    assert (await begin(client, 409, endpoints=[SENSOR]))["error"] == "campaign_empty"


async def test_a_campaign_is_steered(client: Client, stocked: FakeFirmwareBox, access: FakeAccess) -> None:
    answer = await ask(client, "PATCH", "/campaigns/2", {"state": "RUNNING"})
    assert (answer["state"], answer["reason"]) == ("RUNNING", "")
    again = await ask(client, "PATCH", "/campaigns/2", {"state": "RUNNING"}, 409)
    assert again["error"] == "campaign_unmoved"
    assert (await ask(client, "PATCH", "/campaigns/2", {"state": "STOPPED"}))["state"] == "STOPPED"
    assert access.details[-1] == "STOPPED"
    ended = await ask(client, "PATCH", "/campaigns/2", {"state": "RUNNING"}, 409)
    assert ended["error"] == "campaign_ended"
    assert stocked.campaigns[2].state is CampaignState.STOPPED


@pytest.mark.parametrize("state", ["DONE", "SCHEDULED", "running", "", "x" * 40, 1])
async def test_a_campaign_is_not_steered_anywhere_else(
    client: Client, stocked: FakeFirmwareBox, state: object
) -> None:
    answer = await ask(client, "PATCH", "/campaigns/2", {"state": state}, 400)
    assert answer["error"] == "body_invalid"


@pytest.mark.parametrize("number", ["99", "0", "x", "9" * 16])
async def test_a_campaign_that_is_not_there(client: Client, stocked: FakeFirmwareBox, number: str) -> None:
    assert (await ask(client, "GET", f"/campaigns/{number}", None, 404))["error"] == "campaign_unknown"
    body = {"state": "PAUSED"}
    assert (await ask(client, "PATCH", f"/campaigns/{number}", body, 404))["error"] == "campaign_unknown"


# What stands for the engine here


def test_its_events_are_of_their_declared_types(stocked: FakeFirmwareBox, bus: EventBus) -> None:
    told = [event for event in bus if event.name in ("firmware", "firmware_update", "firmware_campaign")]
    assert {event.name for event in told} == {"firmware", "firmware_update", "firmware_campaign"}
    for event in told:
        kind = MESSAGES[event.name]
        assert set(event.data) == {field.name for field in fields(kind)}
        msgspec.convert(event.data, kind)
