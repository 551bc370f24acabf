"""Firmware packages over REST: listed, described, taken away; test_uploads.py has how they come."""

from urllib.parse import quote

import pytest

from flownexus_appliance.errors import ApplianceError, UsageError

from .asking import ask
from .conftest import Client
from .firmware_box import FakeFirmwareBox
from .house import NOW_MS
from .people import FakeAccess

BYTES = {"Content-Type": "application/octet-stream"}


async def test_packages_are_listed_with_what_became_of_them(client: Client, stocked: FakeFirmwareBox) -> None:
    third, second, first = (await ask(client, "GET", "/firmware"))["items"]
    assert [one["id"] for one in (third, second, first)] == [3, 2, 1]
    assert first == {
        "id": 1,
        "version": "1.5.0",
        "file_name": "app_update.bin",
        "size": 40_019,
        "sha256": stocked.rows[1].sha256.hex(),
        "image": {"version": "1.5.0", "size": 40_019, "signed": True},
        "note": "Fixes the clock\nand the <modem>",
        "model": "Thingy:91",
        "tag": "",
        "from_version": "",
        "added_by": "ada",
        "added_ms": NOW_MS,
        "doubts": [],
        "updates": {"SUCCEEDED": 1, "FAILED": 1, "REVERTED": 1, "CANCELLED": 1},
    }
    assert (second["doubts"], second["updates"]) == (
        ["version_mismatch", "unsigned"],
        {"WAITING": 1, "DOWNLOADING": 1, "FAILED": 1},
    )
    assert (third["image"], third["doubts"], third["updates"]) == (None, ["no_image"], {})
    assert await ask(client, "GET", "/firmware/1") == first


@pytest.mark.parametrize(
    ("query", "found", "following"),
    [
        ("limit=2", [3, 2], 2),
        ("limit=2&after=2", [1], None),
        ("limit=3", [3, 2, 1], None),
        ("after=1", [], None),
        ("q=THINGY", [1], None),
        ("q=app", [2, 1], None),
        ("q=app&limit=1", [2], 2),
        ("q=field", [2], None),
        ("q=2.0.0-RC1", [3], None),
        ("q=nothing", [], None),
    ],
)
async def test_they_are_looked_through_page_by_page(
    client: Client, stocked: FakeFirmwareBox, query: str, found: list[int], following: int | None
) -> None:
    answer = await ask(client, "GET", f"/firmware?{query}")
    assert ([one["id"] for one in answer["items"]], answer["next"]) == (found, following)


async def test_what_is_said_of_an_upload_stands_in_its_query(
    client: Client, firmware: FakeFirmwareBox, access: FakeAccess
) -> None:
    facts = {
        "version": " 1.5.0 ",
        "file_name": "Grüße & more.bin",
        "note": "one\ntwo",
        "model": "Thingy:91",
        "tag": "field",
        "from_version": "1.4.2",
    }
    query = "&".join(f"{name}={quote(text, safe='')}" for name, text in facts.items())
    async with client.post(f"/api/v1/firmware?{query}", data=b"firmware", headers=BYTES) as response:
        assert (response.status, response.headers["Location"]) == (201, "/api/v1/firmware/1")
        answer = await response.json()
    assert {name: answer[name] for name in facts} == {**facts, "version": "1.5.0"}
    assert (answer["added_by"], answer["size"]) == ("anna/script", 8)
    assert access.notes[-1][2:] == ("POST /api/v1/firmware", "", "")
    assert access.details[-1] == "1 1.5.0"


@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ("", b"firmware", 400, "version_missing"),
        ("version=1.5.0", b"", 400, "package_empty"),
        ("version=1.5.0", b"firmware", 409, "firmware_known"),
    ],
)
async def test_what_cannot_be_kept_is_refused(
    client: Client, firmware: FakeFirmwareBox, query: str, body: bytes, status: int, code: str
) -> None:
    async with client.post("/api/v1/firmware?version=1.5.0", data=b"firmware", headers=BYTES) as response:
        assert response.status == 201
    async with client.post(f"/api/v1/firmware?{query}", data=body, headers=BYTES) as response:
        assert (response.status, (await response.json())["error"]) == (status, code)
    assert list(firmware.rows) == [1]


async def test_a_version_may_come_from_the_package(client: Client, firmware: FakeFirmwareBox) -> None:
    async with client.post("/api/v1/firmware", data=b"IMAGE 1.2.3+4 signed\n", headers=BYTES) as response:
        assert (await response.json())["version"] == "1.2.3+4"


async def test_other_things_are_said_of_it_and_the_rest_stays(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    before = await ask(client, "GET", "/firmware/2")
    answer = await ask(client, "PATCH", "/firmware/2", {"note": "New\r\n", "tag": ""})
    assert answer == {**before, "note": "New", "tag": ""}
    answer = await ask(client, "PATCH", "/firmware/2", {"version": "1.6.1", "model": "T", "from_version": ""})
    assert (answer["version"], answer["model"], answer["from_version"]) == ("1.6.1", "T", "")
    assert answer["doubts"] == ["unsigned"]
    assert await ask(client, "GET", "/firmware/2") == answer


async def test_one_that_is_on_its_way_stays(client: Client, stocked: FakeFirmwareBox) -> None:
    answer = await ask(client, "DELETE", "/firmware/2", status=409)
    assert answer["error"] == "firmware_in_use"
    assert await ask(client, "DELETE", "/firmware/1") == {"removed": 1}
    assert (await ask(client, "GET", "/firmware/1", status=404))["error"] == "firmware_unknown"
    assert [one["id"] for one in (await ask(client, "GET", "/firmware"))["items"]] == [3, 2]
    left = (await ask(client, "GET", "/updates"))["items"]
    assert {one["firmware"] for one in left} == {2}


@pytest.mark.parametrize("number", ["9", "0", "x", "-1", "9" * 16, "%D9%A1"])
@pytest.mark.parametrize(
    ("method", "rest"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/package")]
)
async def test_one_that_is_not_there(
    client: Client, stocked: FakeFirmwareBox, number: str, method: str, rest: str
) -> None:
    body = {"note": ""} if method == "PATCH" else None
    answer = await ask(client, method, f"/firmware/{number}{rest}", body, 404)
    assert answer["error"] == "firmware_unknown"


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (ApplianceError("package_unwritable", "the disk does not take it", "look at it"), 503),
        (UsageError("storage_low", "there is no room", "make some"), 507),
    ],
)
async def test_a_disk_that_does_not_take_it(
    client: Client, firmware: FakeFirmwareBox, failure: ApplianceError, status: int
) -> None:
    firmware.failure = failure
    async with client.post("/api/v1/firmware?version=1", data=b"firmware", headers=BYTES) as response:
        assert (response.status, (await response.json())["error"]) == (status, failure.code)
