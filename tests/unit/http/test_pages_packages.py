"""The pages of packages: what there is, uploading by the form, changing, removing, giving one to a device."""

import re

import pytest
from aiohttp import FormData

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.guard import COOKIE, FORM_FIELD
from flownexus_appliance.lwm2m.firmware import Delivery

from .conftest import Client
from .firmware_box import FakeFirmwareBox
from .house import QUIET, SENSOR, SLEEPER, STRANGE
from .page import Page, check_policy, device, page, parse, refused, send, value, wrong
from .people import FakeAccess
from .signed import HERE, Browser
from .updatable import UpdatableFleet

ADDRESS = "/firmware/packages"


@pytest.fixture
def fleet() -> UpdatableFleet:
    states = {SENSOR: "online", SLEEPER: "sleeping", STRANGE: "online", QUIET: "offline"}
    return UpdatableFleet(states=states)


@pytest.fixture
def viewer(client: Client) -> Browser:
    del client.session.headers["Authorization"]
    return Browser(client, "viewer")


async def uploaded(
    client: Client, content: bytes, fields: dict[str, str], name: str = "app.bin", token: str = ""
) -> tuple[int, str, Page | None]:
    """Send the form as a browser does: the status, where it leads, and the page that says why not."""
    form = FormData(quote_fields=False)  # as browsers write the name of a file
    for key, text in fields.items():
        form.add_field(key, text)
    form.add_field("package", content, filename=name, content_type="application/octet-stream")
    url = f"{ADDRESS}?{FORM_FIELD}={token}" if token else ADDRESS
    headers = {"Accept": "text/html"}
    async with client.post(url, data=form, headers=headers, allow_redirects=False) as response:
        text = await response.text()
        return response.status, response.headers.get("Location", ""), parse(text) if text else None


async def test_they_say_what_is_in_them(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, ADDRESS)
    check_policy(found)
    assert "2.0.0-rc1 x.hex" in found.text
    assert "1.5.0 MCUboot signed app_update.bin" in found.text
    assert "Fixes the clock and the <modem>" in found.text
    assert "The file says of itself that it is version 1.6.1." in found.text
    assert "It is not signed." in found.text
    assert "Tag field From version 1.5.0" in found.text
    # Without a header is usual for other boot loaders: no reason to worry.
    assert "It has no MCUboot header" not in found.text
    assert "No device runs it · 1 got it from here" in found.text


async def test_who_runs_it_is_counted(client: Client, stocked: FakeFirmwareBox) -> None:
    await send(client, f"{ADDRESS}/1", {"version": "1.4.2", "model": "Thingy:91"})
    assert "1 device runs it" in (await page(client, ADDRESS)).text
    await send(client, f"{ADDRESS}/1", {"version": "1.4.2", "model": "Another"})
    assert "1 device runs it" not in (await page(client, ADDRESS)).text


async def test_the_first_one_is_asked_for(client: Client) -> None:
    found = await page(client, ADDRESS)
    check_policy(found)
    assert "No package yet" in found.text
    assert [tag["type"] for _, tag in found.tags if tag.get("name") == "package"] == ["file"]
    assert "Thingy:91" in [tag["value"] for name, tag in found.tags if name == "option"]


async def test_one_is_uploaded(client: Client, firmware: FakeFirmwareBox) -> None:
    fields = {"version": "2.1", "note": "new", "model": "Thingy:91", "tag": "", "from_version": "1.4.2"}
    status, location, _ = await uploaded(client, b"x" * 100_000, fields, "ä ö.bin")
    assert (status, location) == (303, f"{ADDRESS}/1?done=added")
    kept = firmware.get(1)
    assert (kept.version, kept.file_name, kept.size, kept.note) == ("2.1", "ä ö.bin", 100_000, "new")
    assert (kept.model, kept.tag, kept.from_version) == ("Thingy:91", "", "1.4.2")
    assert kept.added_by == "anna/script"
    assert "The package is here." in (await page(client, location)).text


@pytest.mark.parametrize(
    ("content", "fields", "status", "field"),
    [
        (b"", {"version": "2.1"}, 400, "package"),
        (b"x", {}, 400, "version"),
        (b"x" * 300_000, {"version": "2.1"}, 413, "package"),
    ],
)
async def test_one_that_cannot_be_kept_brings_the_form_back(
    client: Client, firmware: FakeFirmwareBox, content: bytes, fields: dict[str, str], status: int, field: str
) -> None:
    answered, _, found = await uploaded(client, content, {**fields, "note": "for the <barn>", "model": "M"})
    assert answered == status
    assert found is not None
    check_policy(found)
    assert wrong(found) == [field]
    assert value(found, "note") == "for the <barn>"
    assert value(found, "model") == "M"
    assert firmware.rows == {}


async def test_a_form_that_is_no_form(client: Client, firmware: FakeFirmwareBox) -> None:
    await refused(client, ADDRESS, 415, {"version": "1"})
    assert firmware.rows == {}


async def test_the_token_of_an_upload_is_in_its_address(
    client: Client, viewer: Browser, firmware: FakeFirmwareBox
) -> None:
    viewer.cookie = "operator"
    html = (await viewer.get(ADDRESS)).html
    found = re.search(rf'action="([^"]*\?{FORM_FIELD}=[^"]+)"', html)
    assert found is not None
    headers = {**HERE, "Cookie": f"{COOKIE}=operator"}

    async def post(address: str) -> tuple[int, str]:
        form = FormData()
        form.add_field("version", "3.0")
        form.add_field("package", b"abc", filename="a.bin")
        async with client.post(address, data=form, headers=headers, allow_redirects=False) as response:
            return response.status, await response.text()

    assert (await post(ADDRESS))[0] == 403
    assert (await post(f"{ADDRESS}?{FORM_FIELD}=x"))[0] == 403
    assert firmware.rows == {}
    assert (await post(found[1]))[0] == 303
    status, text = await post(found[1])
    assert status == 409
    assert "sent already" in text
    assert len(firmware.rows) == 1


async def test_an_upload_is_put_on_record(
    client: Client, firmware: FakeFirmwareBox, access: FakeAccess
) -> None:
    await uploaded(client, b"abc", {"version": "3.0"})
    assert access.notes[-1][2:] == (f"POST {ADDRESS}", "", "")
    assert access.details[-1] == "1 3.0"


async def test_one_in_full(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, f"{ADDRESS}/2")
    check_policy(found)
    assert "version 1.6.1, not signed" in found.text
    assert value(found, "sha256") == stocked.get(2).sha256.hex()
    assert "/api/v1/firmware/2/package" in found.all("href")
    assert "/firmware/campaigns/new?firmware=2" in found.all("href")
    assert [tag["data-update"] for name, tag in found.tags if name == "li" and "data-update" in tag] == [
        "7",
        "6",
        "5",
    ]
    await page(client, f"{ADDRESS}/9", 404)
    await page(client, f"{ADDRESS}/x", 404)


async def test_what_is_said_of_it_is_changed(client: Client, stocked: FakeFirmwareBox) -> None:
    fields = {"version": "1.6.1", "note": "n", "model": "", "tag": "barn", "from_version": ""}
    location = await send(client, f"{ADDRESS}/2", fields)
    assert location == f"{ADDRESS}/2?done=saved"
    kept = stocked.get(2)
    assert (kept.version, kept.note, kept.tag, kept.from_version) == ("1.6.1", "n", "barn", "")
    assert "Saved." in (await page(client, location)).text
    stocked.failure = UsageError("version_invalid", "the version is not usable", "shorten it")
    found = await refused(client, f"{ADDRESS}/2", 400, {**fields, "version": "x\x07", "note": "kept"})
    assert wrong(found) == ["version"]
    assert value(found, "note") == "kept"


async def test_it_is_removed_after_a_question(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, f"{ADDRESS}/3/remove")
    check_policy(found)
    assert "Remove this package?" in found.text
    assert await send(client, f"{ADDRESS}/3/remove") == f"{ADDRESS}?done=removed"
    assert 3 not in stocked.rows
    found = await refused(client, f"{ADDRESS}/2/remove", 409, {})
    assert "An update of it has not ended" in found.text
    assert 2 in stocked.rows


async def test_it_is_given_to_a_device(client: Client, stocked: FakeFirmwareBox) -> None:
    location = await send(
        client, f"{ADDRESS}/1/update", {"endpoint": STRANGE, "delivery": "push", "anyway": "1"}
    )
    made = stocked.updates[max(stocked.updates)]
    assert location == f"/firmware/updates/{made.id}"
    assert (made.endpoint, made.firmware_id, made.wanted) == (STRANGE, 1, Delivery.PUSH)


@pytest.mark.parametrize(
    ("endpoint", "status"),
    [("nobody", 404), (SENSOR, 409), (SLEEPER, 409)],
)
async def test_why_a_device_cannot_have_it_stands_beside_its_name(
    client: Client, stocked: FakeFirmwareBox, endpoint: str, status: int
) -> None:
    stocked.refusing = {SLEEPER: "object_missing"}
    found = await refused(client, f"{ADDRESS}/1/update", status, {"endpoint": endpoint})
    check_policy(found)
    assert wrong(found) == ["endpoint"]
    assert value(found, "endpoint") == endpoint


async def test_one_that_is_for_others_is_given_when_it_is_meant(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    stocked.refusing = {STRANGE: "firmware_not_for"}
    form = f"{device(STRANGE)}/firmware"
    found = await page(client, form)
    check_policy(found)
    # 1 is for a model, 2 for a tag that it has not; 3 is for all.
    offered = [tag["value"] for name, tag in found.tags if name == "option" and tag["value"].isdigit()]
    assert offered == ["3", "2", "1"]
    assert "2 packages for other devices" in found.text
    found = await refused(client, form, 409, {"firmware": "3"})
    check_policy(found)
    assert wrong(found) == ["firmware"]
    location = await send(client, form, {"firmware": "1", "anyway": "1"})
    assert location == f"/firmware/updates/{max(stocked.updates)}"


async def test_a_device_of_parts_has_them_to_choose(client: Client, stocked: FakeFirmwareBox) -> None:
    await send(client, "/firmware/updates/7/cancel")
    form = f"{device(SENSOR)}/firmware"
    found = await page(client, form)
    check_policy(found)
    assert "The usual one /5/0 part 0 (/33629/0) part 1 (/33629/1)" in found.text
    await send(client, form, {"firmware": "1", "instance": "/33629/1"})
    made = stocked.updates[max(stocked.updates)]
    assert str(made.instance) == "/33629/1"
    assert "part 1 (/33629/1)" in (await page(client, f"/firmware/updates/{made.id}")).text


async def test_a_device_that_is_busy_is_left_alone(client: Client, stocked: FakeFirmwareBox) -> None:
    form = f"{device(SENSOR)}/firmware"
    assert "It has an update under way." in (await page(client, form)).text
    found = await refused(client, form, 409, {"firmware": "1"})
    assert "has an update under way" in found.text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 404),
        ({"firmware": "x"}, 404),
        ({"firmware": "99"}, 404),
        ({"firmware": "3", "delivery": "pigeon"}, 400),
        ({"firmware": "3", "instance": "5"}, 400),
        ({"firmware": "3", "instance": "a/b"}, 400),
    ],
)
async def test_what_no_form_of_ours_sends(
    client: Client, stocked: FakeFirmwareBox, fields: dict[str, str], status: int
) -> None:
    before = dict(stocked.updates)
    await refused(client, f"{device(STRANGE)}/firmware", status, fields)
    assert stocked.updates == before


async def test_a_viewer_sees_all_but_the_buttons(viewer: Browser, stocked: FakeFirmwareBox) -> None:
    for path in (ADDRESS, f"{ADDRESS}/1"):
        answer = await viewer.get(path)
        assert answer.status == 200
        assert [one for one in answer.page.all("action") if one.startswith("/firmware/")] == []
        assert [one for one in answer.page.all("href") if one.endswith(("/package", "/remove"))] == []
