"""Asking devices from the pages, by forms alone: the tree, inputs by the model, what is told afterwards."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import quote

import pytest

from flownexus_appliance.db.operations import Outcome
from flownexus_appliance.errors import ApplianceError
from flownexus_appliance.http import pages_resources, views_tree
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record, Value

from . import house
from .conftest import Client
from .house import (
    NOW_MS,
    QUIET,
    SENSOR,
    SLEEPER,
    STRANGE,
    FakeFleet,
    FakeOperations,
    FakeReporting,
    record,
)
from .page import Page, check_policy, device, page, refused, send, value, wrong

NOT_FOUND = Outcome("4.04")
TEMPERATURE = "/3303/0/5700"


def asks(endpoint: str = SENSOR) -> str:
    return f"{device(endpoint)}/operations"


def at(path: str, endpoint: str = SENSOR) -> str:
    return f"{device(endpoint)}/resources{path}"


def read_of(path: str) -> Operation:
    return Operation(Kind.READ, (Path.parse(path),))


async def asked(client: Client, operations: FakeOperations, fields: Mapping[str, str]) -> Operation:
    """Send a form that asks for one operation; which."""
    before = len(operations.asked)
    await send(client, asks(), fields)
    [one] = operations.asked[before:]
    assert (one.endpoint, one.by) == (SENSOR, "anna/script")
    return one.operation


# The tree


async def test_the_tree_lists_what_the_models_have(client: Client) -> None:
    found = await page(client, device(SENSOR))
    rows = found.all("data-row")
    assert {"/1/0/1", "/3/0", "/3/0/4", "/3303", "/3303/0/5601", "/3303/1/5700", "/32769/0/7"} <= set(rows)
    # Nothing can be asked of what is a bootstrap server's alone; what no model knows can be read and written.
    assert "Resource 7 /32769/0/7 01ff 30 s ago Read Write Observe" in found.text
    assert "Short Server ID /1/0/0 not read yet Read Observe" in found.text
    assert "Lifetime /1/0/1 not read yet s Read Write Observe" in found.text
    assert "All instances Read Observe Instance 0 Read Observe" in found.text


async def test_a_value_that_comes_later_has_its_place(client: Client) -> None:
    """The browser writes what arrives into what is there, so it must know how."""
    found = await page(client, device(SENSOR))
    kinds = {
        tag["data-path"]: tag["data-kind"] for _, tag in found.tags if tag.get("class") == "value unread"
    }
    assert kinds["/3/0/20"] == "labels"
    assert kinds["/3/0/10"] == "number"
    assert kinds["/3303/0/5518"] == "time"
    assert kinds["/3/0/2"] == "text"
    assert "/3/0/4" not in kinds  # nothing to read
    assert "/3/0/9" not in kinds  # read


async def test_instances_of_a_multiple_resource_share_a_row(
    client: Client, operations: FakeOperations
) -> None:
    found = await page(client, device(SENSOR))
    assert "Error Code /3/0/11 reported by itself [0] No error" in found.text
    assert "/3/0/11/0" not in found.all("data-row")


async def test_objects_with_values_are_open_first(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_tree, "OPEN_ROWS", 30)
    found = await page(client, device(SENSOR))
    folds = {tag["id"]: "open" in tag for _, tag in found.tags if tag.get("id", "").startswith("object-")}
    assert folds == {
        "object-1": False,
        "object-3": True,
        "object-3303": True,
        "object-3342": False,
        "object-32769": False,
    }


async def test_a_device_of_very_many_instances_lists_them_apart(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views_tree, "MAX_UNREAD", 30)
    found = await page(client, device(SENSOR))
    assert TEMPERATURE in found.all("data-row")  # it has told of that
    assert "/3303/1/5700" not in found.all("data-row")
    assert "more by its model" in found.text
    below = await page(client, at("/3303/1"))
    assert "/3303/1/5700" in below.all("data-row")
    assert TEMPERATURE not in below.all("data-row")


async def test_what_is_reported_says_how(client: Client, fleet: FakeFleet) -> None:
    path = Path.parse(TEMPERATURE)
    composite = (Path.parse("/3/0/9"), Path.parse("/3303"))
    fleet.reports[SENSOR] = [
        FakeReporting((path,)),
        FakeReporting((Path.parse("/3/0/13"),), state="refused", asked_by="web"),
        FakeReporting((Path.parse("/3/0"),), state="off"),
        FakeReporting(composite, composite=True, state="waiting", asked_by="leshan"),
    ]
    fleet.set_attributes[SENSOR] = {path: {"pmin": "10", "gt": "22.5"}}
    found = await page(client, device(SENSOR))
    assert "29.50 °C pmin 10, gt 22.5" in found.text
    assert "The device refuses to report it" in found.text
    on = [tag["href"] for _, tag in found.tags if "data-on" in tag]
    assert on == [f"{at(TEMPERATURE)}#observe"]
    assert "What it is asked to report 4" in found.text
    assert "/3/0/9 /3303 composite Will be asked for when the device listens · Leshan's API" in found.text
    assert {"cancel /3/0/9 /3303", f"cancel {TEMPERATURE}", "cancel /3/0/13"} <= set(found.all("value"))
    assert "cancel /3/0" not in found.all("value")  # ended already


@pytest.mark.parametrize("path", [TEMPERATURE, "/3303/1", "/3/0/4", "/3/0/13", "/3/0/11", "/9/0/0", "/77"])
async def test_a_path_has_a_page_that_obeys_the_policy(client: Client, path: str) -> None:
    for endpoint in (SENSOR, STRANGE):
        found = await page(client, at(path, endpoint))
        check_policy(found)
        assert quote(endpoint, safe="") in "".join(found.all("action"))


@pytest.mark.parametrize("path", ["/3303/x", "/1/2/3/4/5", "/70000"])
async def test_what_is_no_path_has_none(client: Client, path: str) -> None:
    assert "Not a LwM2M path" in (await page(client, at(path), 400)).text


async def test_a_path_of_nobody_has_none(client: Client) -> None:
    await page(client, at("/3", "nobody"), 404)


# Inputs by the model


@pytest.mark.parametrize(
    ("path", "tag", "attributes"),
    [
        ("/1/0/1", "input", {"type": "number", "step": "1"}),
        ("/1/0/6", "select", {}),
        ("/3/0/14", "input", {"type": "text"}),
        ("/3/0/13", "input", {"type": "datetime-local", "value": "2026-11-18T10:06:40"}),
        ("/5/0/0", "input", {"type": "text", "class": "mono"}),
        ("/3303/0/5518", "", {}),  # the model lets servers only read it
        ("/3308/0/5900", "input", {"type": "number", "step": "any"}),
        ("/6/0/3", "", {}),
        ("/2/0/3", "input", {"type": "number", "min": "0", "max": "65535"}),
        ("/2/0/2", "textarea", {}),
        ("/2/0/2/7", "input", {"type": "number"}),
        ("/32769/0/7", "input", {"value": "01ff", "class": "mono"}),  # as the device has told it
    ],
)
async def test_the_input_is_the_models(
    client: Client, path: str, tag: str, attributes: Mapping[str, str]
) -> None:
    found = await page(client, at(path))
    inputs = [(name, one) for name, one in found.tags if one.get("id") == "value"]
    assert [name for name, _ in inputs] == ([tag] if tag else [])
    for _, one in inputs:
        assert {name: one.get(name) for name in attributes} == attributes


async def test_a_choice_shows_its_words_and_the_present_value(client: Client) -> None:
    found = await page(client, at("/3342/0/5500"))
    assert [tag["value"] for _, tag in found.tags if "selected" in tag] == []  # read only
    found = await page(client, at("/1/0/6"))
    assert "Choose Yes No" in found.text


# Asking


@pytest.mark.parametrize("path", [TEMPERATURE, "/3303/0", "/3303", "/3/0/11/0"])
async def test_a_button_reads(client: Client, operations: FakeOperations, path: str) -> None:
    assert await asked(client, operations, {"ask": f"read {path}"}) == read_of(path)


@pytest.mark.parametrize(
    ("path", "text", "data_type", "written"),
    [
        ("/3/0/14", "+01:00", DataType.STRING, "+01:00"),
        ("/1/0/1", "600", DataType.INTEGER, 600),
        ("/1/0/6", "true", DataType.BOOLEAN, True),
        ("/3/0/13", "2026-11-18T10:06:40Z", DataType.TIME, 1_794_996_400),
        ("/32769/0/7", "0a", DataType.OPAQUE, b"\x0a"),
    ],
)
async def test_a_form_writes(
    client: Client,
    operations: FakeOperations,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    text: str,
    data_type: DataType,
    written: Value,
) -> None:
    fleet_knows(monkeypatch, 32769)
    target = Path.parse(path)
    wanted = await asked(client, operations, {"ask": f"write {path}", "value": text})
    assert wanted == Operation(Kind.WRITE, (target,), (Record(target, written, data_type),))


def fleet_knows(monkeypatch: pytest.MonkeyPatch, *objects: int) -> None:
    """Has the devices registered some objects more."""
    base = house.registration(SENSOR)
    more = {number: RegisteredObject("", (0,)) for number in objects}
    grown = replace(base, objects={**base.objects, **more})
    monkeypatch.setattr(FakeFleet, "registration", lambda *_: grown)


async def test_all_instances_of_a_resource_are_written_at_once(
    client: Client, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet_knows(monkeypatch, 2)
    wanted = await asked(client, operations, {"ask": "write /2/0/2", "value": "0=1\r\n7=15"})
    assert wanted.records == (
        record("/2/0/2/0", 1, DataType.INTEGER),
        record("/2/0/2/7", 15, DataType.INTEGER),
    )


async def test_a_link_is_written(client: Client, operations: FakeOperations) -> None:
    wanted = await asked(client, operations, {"ask": "write /1/0/10", "value": "66:0"})
    assert wanted.records[0].value == ObjectLink(66, 0)


async def test_an_execute_has_arguments_or_none(client: Client, operations: FakeOperations) -> None:
    path = (Path.parse("/3/0/4"),)
    assert await asked(client, operations, {"ask": "execute /3/0/4"}) == Operation(Kind.EXECUTE, path)
    wanted = await asked(client, operations, {"ask": "execute /3/0/4", "arguments": " 0='a',1 "})
    assert wanted.arguments == "0='a',1"


async def test_what_one_may_regret_is_confirmed_first(client: Client) -> None:
    found = await page(client, device(SENSOR))
    values = found.all("value")
    assert "execute /1/0/8" in values  # a trigger is a button
    for path in ("/3/0/4", "/3/0/5", "/1/0/4"):
        assert f"execute {path}" not in values
        assert f"{at(path)}#execute" in found.all("href")
    asking = await page(client, at("/3/0/5"))
    assert "goes back to its factory settings" in asking.text
    assert "execute /3/0/5" in asking.all("value")
    assert "restarts" not in (await page(client, at("/1/0/8"))).text


async def test_observing_sets_attributes_first(client: Client, operations: FakeOperations) -> None:
    path = (Path.parse(TEMPERATURE),)
    fields = {"ask": f"observe {TEMPERATURE}", "pmin": "10", "pmax": "", "gt": "22.5", "lt": "", "st": ""}
    where = await send(client, asks(), fields)
    assert [one.operation for one in operations.asked] == [
        Operation(Kind.WRITE_ATTRIBUTES, path, attributes=(("pmin", "10"), ("gt", "22.5"))),
        Operation(Kind.OBSERVE, path),
    ]
    assert where == f"{device(SENSOR)}?operation=1&operation=2"


async def test_observing_without_attributes_is_one_operation(
    client: Client, operations: FakeOperations
) -> None:
    wanted = await asked(client, operations, {"ask": "observe /3303/0", "pmin": "", "pmax": ""})
    assert wanted == Operation(Kind.OBSERVE, (Path.parse("/3303/0"),))


async def test_attributes_are_changed_and_unset(
    client: Client, operations: FakeOperations, fleet: FakeFleet
) -> None:
    path = Path.parse(TEMPERATURE)
    fleet.reports[SENSOR] = [FakeReporting((path,))]
    fleet.set_attributes[SENSOR] = {path: {"pmin": "10", "gt": "22.5", "epmin": "5"}}
    found = await page(client, at(TEMPERATURE))
    assert [value(found, name) for name in ("pmin", "pmax", "gt", "lt", "st")] == ["10", "", "22.5", "", ""]
    assert {f"write_attributes {path}", f"cancel {path}"} <= set(found.all("value"))
    assert f"observe {path}" not in found.all("value")
    fields = {"ask": f"write_attributes {path}", "pmin": "10", "pmax": "60", "gt": "", "lt": "", "st": ""}
    wanted = await asked(client, operations, fields)
    assert wanted.attributes == (("pmax", "60"), ("gt", None))  # and epmin, which has no field, stays


@pytest.mark.parametrize(
    ("path", "fields", "field", "words"),
    [
        (TEMPERATURE, {"pmin": "-1"}, "pmin", "Pmin cannot be '-1'"),
        (TEMPERATURE, {"pmin": "60", "pmax": "10"}, "pmax", "Pmax is below pmin"),
        (TEMPERATURE, {"pmin": "10", "pmax": "5"}, "pmax", "Pmax is below pmin"),  # pmin is set already
        (TEMPERATURE, {"st": "0"}, "st", "St cannot be 0"),
        (TEMPERATURE, {"gt": "5", "lt": "6"}, "lt", "no room between them"),
        (TEMPERATURE, {"pmin": "10"}, "pmin", "Nothing was changed"),
        ("/3303/0", {"gt": "5"}, "", "Gt is not for /3303/0"),
    ],
)
async def test_attributes_that_do_not_fit_are_shown_where_they_are(
    client: Client,
    operations: FakeOperations,
    fleet: FakeFleet,
    path: str,
    fields: Mapping[str, str],
    field: str,
    words: str,
) -> None:
    fleet.set_attributes[SENSOR] = {Path.parse(path): {"pmin": "10"}}
    found = await refused(client, asks(), 400, {"ask": f"write_attributes {path}", **fields})
    assert wrong(found) == ([field] if field else [])
    assert words in found.text
    assert operations.asked == []


async def test_an_observation_is_ended(client: Client, operations: FakeOperations) -> None:
    paths = tuple(map(Path.parse, ("/3/0/9", "/3303")))
    assert await asked(client, operations, {"ask": "cancel /3/0/9 /3303"}) == Operation(Kind.CANCEL, paths)


@pytest.mark.parametrize(
    ("fields", "status", "field", "words"),
    [
        ({"ask": "write /1/0/1", "value": "soon"}, 400, "value", "Not a whole number: soon"),
        ({"ask": "write /1/0/1", "value": ""}, 400, "value", "There is no value"),
        ({"ask": "write /3/0/13", "value": "noon"}, 400, "value", "Not a time: noon"),
        ({"ask": "write /3/0/0", "value": "x"}, 409, "", "is not writable"),
        ({"ask": "execute /3/0/4", "arguments": "x"}, 400, "arguments", "Not the arguments of an execute"),
        ({"ask": "execute /3/0/9"}, 409, "", "is not executable"),
        ({"ask": "read /3/0/4"}, 409, "", "is not readable"),
        ({"ask": "read /3/7"}, 404, "", "no instance 7 of object 3"),
        ({"ask": "read /9/0/0"}, 404, "", "no object 9"),
    ],
)
async def test_a_mistake_is_shown_and_nothing_is_asked(
    client: Client, operations: FakeOperations, fields: Mapping[str, str], status: int, field: str, words: str
) -> None:
    found = await refused(client, asks(), status, fields)
    check_policy(found)
    assert words in found.text
    assert wrong(found) == ([field] if field else [])
    if field:
        assert value(found, field) == fields[field]
    assert operations.asked == []


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        ("", 400),
        ("read", 400),
        ("read /3 /4", 400),
        ("reboot /3/0/4", 400),
        ("delete /3303/0", 400),
        ("read /3/x", 400),
        ("read /", 400),
        ("cancel " + " ".join(["/3"] * 65), 400),
    ],
)
async def test_what_no_page_sends_is_refused(
    client: Client, operations: FakeOperations, ask: str, status: int
) -> None:
    await refused(client, asks(), status, {"ask": ask})
    assert operations.asked == []


async def test_a_store_that_fails_is_told(client: Client, operations: FakeOperations) -> None:
    operations.failure = ApplianceError("store_full", "the disk is full", "make room")
    found = await refused(client, asks(), 503, {"ask": f"read {TEMPERATURE}"})
    assert "The disk is full." in found.text


async def test_a_form_of_another_site_asks_nothing(client: Client, operations: FakeOperations) -> None:
    other = {"Sec-Fetch-Site": "cross-site"}
    await refused(client, asks(), 403, {"ask": "execute /3/0/5"}, other)
    await operations.ask(SENSOR, read_of("/3"), "web")
    await refused(client, "/operations/1/cancel", 403, {}, other)
    assert len(operations.asked) == 1


# What became of it


def ends(operations: FakeOperations, *records: Record) -> None:
    operations.ends = Status.CONFIRMED, Outcome("2.05", records)


async def told(client: Client, fields: Mapping[str, str], endpoint: str = SENSOR) -> Page:
    """The page that a browser is on after a form."""
    return await page(client, await send(client, asks(endpoint), fields))


async def test_an_answer_is_told_at_the_top(client: Client, operations: FakeOperations) -> None:
    ends(operations, record("/3/0/9", 87, DataType.INTEGER))
    found = await told(client, {"ask": "read /3/0/9"})
    check_policy(found)
    assert "Read of /3/0/9 confirmed: 87 %" in found.text
    assert found.all("data-told") == ["1"]
    assert "done" in found.all("data-kind")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome("2.05", (record("/3/0/13", 1_794_996_400, DataType.TIME),)), "confirmed: 18 Nov 2026,"),
        (Outcome("2.05", (record("/3/0/2", "", DataType.STRING),) * 2), "confirmed: 2 values"),
        (Outcome("2.05", links=(Link("/3/0", {}),)), "confirmed: 1 link"),
        (Outcome("2.01", location="/3303/5"), "confirmed: /3303/5"),
        (Outcome("2.04"), "confirmed."),
    ],
)
async def test_every_kind_of_answer_is_told(
    client: Client, operations: FakeOperations, outcome: Outcome, words: str
) -> None:
    operations.ends = Status.CONFIRMED, outcome
    assert words in (await told(client, {"ask": "read /3/0"})).text


@pytest.mark.parametrize(
    ("status", "outcome", "words"),
    [
        (Status.FAILED, NOT_FOUND, "failed: 4.04 Not Found: the device has no such object, instance or res"),
        (
            Status.FAILED,
            Outcome("4.05", message="<no>"),
            "failed: 4.05 Method Not Allowed: the device does not allow that on this path."
            " The device says: <no>",
        ),
        (Status.FAILED, Outcome("4.99"), "failed: 4.99."),
        (Status.FAILED, Outcome(message="no answer", hint="wait"), "failed: no answer. Wait."),
        (Status.EXPIRED, Outcome(), "expired: the device did not listen in time."),
        (Status.CANCELLED, Outcome(), "was cancelled."),
    ],
)
async def test_every_other_end_is_told(
    client: Client, operations: FakeOperations, status: Status, outcome: Outcome, words: str
) -> None:
    operations.ends = status, outcome
    found = await told(client, {"ask": "read /3/0/17"})
    assert f"Read of /3/0/17 {words}" in found.text


async def test_nobody_waits_for_a_sleeper(client: Client, operations: FakeOperations) -> None:
    found = await told(client, {"ask": f"read {TEMPERATURE}"}, SLEEPER)
    assert "waits until sleeper wakes. It must be heard of by" in found.text
    assert str(NOW_MS - 60_000 + 300_000) in found.all("data-moment")
    assert "It sleeps: what you ask waits until it wakes." in found.text
    asking = await page(client, at("/1/0/1", SLEEPER))
    assert "It sleeps: what you ask waits until it wakes." in asking.text


async def test_what_is_away_is_waited_for(client: Client, operations: FakeOperations) -> None:
    found = await told(client, {"ask": "read /3"}, QUIET)
    assert "waits until quiet registers." in found.text


async def test_a_device_that_takes_its_time_is_not_waited_for_long(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_resources, "WAIT_S", 0.01)
    found = await told(client, {"ask": "read /3"})
    assert "Read of /3 waits for its turn." in found.text
    assert "It sleeps" not in found.text


async def test_a_form_on_the_page_of_a_path_comes_back_to_it(
    client: Client, operations: FakeOperations
) -> None:
    ends(operations, record(TEMPERATURE, 21.5, DataType.FLOAT))
    where = await send(client, asks(STRANGE), {"ask": f"read {TEMPERATURE}", "back": "resource"})
    assert where == f"{at(TEMPERATURE, STRANGE)}?operation=1"
    found = await page(client, where)
    assert f"Read of {TEMPERATURE} confirmed: 21.50" in found.text
    assert found.all("data-told") == ["1"]


async def test_only_its_own_operations_are_told_of_on_a_device(
    client: Client, operations: FakeOperations
) -> None:
    await operations.ask(SLEEPER, read_of("/3"), "web", checked=False)
    found = await page(client, f"{device(SENSOR)}?operation=1&operation=99&operation=x")
    assert found.all("data-told") == []


async def test_an_operation_of_long_ago_is_told_from_the_file(
    client: Client, operations: FakeOperations
) -> None:
    ends(operations, record("/3/0/9", 87, DataType.INTEGER))
    await operations.ask(SENSOR, read_of("/3/0/9"), "web")
    operations.rows.clear()
    found = await page(client, f"{device(SENSOR)}?operation=1")
    assert "Read of /3/0/9 confirmed: 87" in found.text
