"""The pages of campaigns: making one in two steps, how far it has come, pausing, going on, stopping."""

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.http import views_campaigns
from flownexus_appliance.lwm2m.firmware import CampaignState, Delivery, Reason, UpdateState

from .conftest import Client
from .firmware_box import FakeFirmwareBox
from .house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE
from .page import Page, check_policy, device, page, refused, send, value, wrong
from .people import FakeAccess
from .signed import Browser
from .updatable import UpdatableFleet

NEW = "/firmware/campaigns/new"
ADDRESS = "/firmware/campaigns"
FIELDS = {"firmware": "3", "which": "", "at_once": "5", "failure_limit": "0", "starts": ""}


@pytest.fixture
def fleet() -> UpdatableFleet:
    states = {SENSOR: "online", SLEEPER: "sleeping", STRANGE: "online", QUIET: "offline"}
    return UpdatableFleet(states=states)


@pytest.fixture
def viewer(client: Client) -> Browser:
    del client.session.headers["Authorization"]
    return Browser(client, "viewer")


def lines(found: Page) -> list[int]:
    return [int(tag["data-update"]) for name, tag in found.tags if name == "li" and "data-update" in tag]


def hidden(found: Page) -> dict[str, str]:
    """What the preview carries on to the next step."""
    return {
        tag["name"]: tag["value"]
        for name, tag in found.tags
        if name == "input" and tag.get("type") == "hidden" and tag["name"] != "form_token"
    }


def checked(found: Page) -> list[str]:
    return [tag["id"] for _, tag in found.tags if "checked" in tag]


async def previewed(client: Client, fields: dict[str, str], status: int = 200) -> Page:
    return await refused(client, NEW, status, fields)


async def test_all_of_them(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, ADDRESS)
    check_policy(found)
    assert "Field Paused to version 1.6.0 · 2 devices" in found.text
    assert "Paused, because too many devices failed." in found.text
    assert [tag["data-campaign"] for name, tag in found.tags if name == "li" and "data-campaign" in tag] == [
        "2",
        "1",
    ]


async def test_without_any_it_says_what_it_is_for(client: Client) -> None:
    found = await page(client, ADDRESS)
    check_policy(found)
    assert "No campaign yet" in found.text
    assert NEW not in found.all("href")
    assert "Upload a package first" in (await page(client, NEW)).text


async def test_one_says_how_far_it_is_and_why_it_stands(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, f"{ADDRESS}/2")
    check_policy(found)
    assert "more than 10 % of the devices that had ended had failed; by now 1 of 1." in found.text
    assert "Why devices failed 1 device Nothing was heard from the device for too long." in found.text
    assert "Done 0 Failed 1 Under way 0 Waiting 1 Cancelled 0" in found.text
    assert lines(found) == [6, 5]
    rects = {tag["data-part"]: tag["width"] for name, tag in found.tags if name == "rect"}
    assert rects == {"done": "0", "failed": "1", "moving": "0", "waiting": "1", "cancelled": "0"}
    await page(client, f"{ADDRESS}/9", 404)
    await page(client, f"{ADDRESS}/x", 404)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("state=waiting", [5]),
        ("state=failed", [6]),
        ("state=failed&q=silent", [6]),
        ("q=sleeper", [5]),
        ("q=lost", []),
        ("reason=silent", [6]),
        ("reason=result", []),
        ("reason=silent&result=5", []),
    ],
)
async def test_its_devices_are_found(
    client: Client, stocked: FakeFirmwareBox, query: str, shown: list[int]
) -> None:
    assert lines(await page(client, f"{ADDRESS}/2?{query}")) == shown


async def test_who_is_under_way_stands_on_top(client: Client, stocked: FakeFirmwareBox) -> None:
    stocked.move(5, state=UpdateState.PREPARING)
    assert lines(await page(client, f"{ADDRESS}/2")) == [5, 6]
    assert lines(await page(client, f"{ADDRESS}/2?state=moving")) == [5]


async def test_a_failure_leads_to_its_devices(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, f"{ADDRESS}/2")
    (url,) = [one for one in found.all("href") if "reason=silent" in one]
    found = await page(client, url.partition("#")[0])
    assert lines(found) == [6]
    assert "Nothing was heard from the device for too long. Show all devices" in found.text


async def test_the_form_offers_what_is_known(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, f"{NEW}?firmware=2&model=Thingy:91&version=1.4.2")
    check_policy(found)
    chosen = [tag["value"] for name, tag in found.tags if name == "option" and "selected" in tag]
    assert chosen == ["2", "Thingy:91", "1.4.2", ""]
    assert checked(found) == ["which-all"]
    assert {SENSOR, STRANGE, SLEEPER} <= {
        tag["value"] for _, tag in found.tags if tag.get("name", "").startswith("tick-")
    }


async def test_devices_that_are_named_in_the_address_are_ticked(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    found = await page(client, f"{NEW}?endpoint={SLEEPER}&endpoint=nobody")
    check_policy(found)
    assert "which-named" in checked(found)
    ticked = [tag["value"] for _, tag in found.tags if "checked" in tag and tag.get("type") == "checkbox"]
    assert ticked == [SLEEPER]
    # Who cannot be ticked stands in the lines.
    assert "nobody" in found.text


async def test_many_devices_are_named_by_lines(
    client: Client, stocked: FakeFirmwareBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flownexus_appliance.http.pages_campaigns.MAX_TICKED", 2)
    found = await page(client, f"{NEW}?endpoint={SLEEPER}")
    check_policy(found)
    assert "endpoints" in found.all("id")
    assert not [one for one in found.all("name") if one.startswith("tick-")]


async def test_who_gets_it_is_shown_before_it_begins(
    client: Client, stocked: FakeFirmwareBox, access: FakeAccess
) -> None:
    stocked.refusing = {QUIET: "endpoint_unseen", SLEEPER: "object_missing"}
    before, noted = len(stocked.campaigns), len(access.notes)
    found = await previewed(client, FIELDS)
    check_policy(found)
    assert "2 devices get 2.0.0-rc1" in found.text
    assert "2 devices are left out" in found.text
    assert "1 · It has never registered." in found.text
    assert {device(SENSOR), device(STRANGE)} <= set(found.all("href"))
    assert "5 devices at a time" in found.text
    # Nothing was done, and nothing is on record.
    assert (len(stocked.campaigns), len(access.notes)) == (before, noted)


async def test_it_begins_as_it_was_shown(client: Client, stocked: FakeFirmwareBox) -> None:
    fields = {
        **FIELDS,
        "name": "Barn <2>",
        "which": "named",
        "tick-1": STRANGE,
        "endpoints": f"{SLEEPER}\r\n\r\n",
        "delivery": "push",
        "instance": "33629/1",
    }
    carried = hidden(await previewed(client, fields))
    location = await send(client, ADDRESS, carried)
    made = stocked.campaigns[max(stocked.campaigns)]
    assert location == f"{ADDRESS}/{made.id}"
    assert (made.name, made.firmware_id, made.at_once, made.failure_limit) == ("Barn <2>", 3, 5, 0)
    assert (made.delivery, str(made.instance), made.state) == (
        Delivery.PUSH,
        "/33629/1",
        CampaignState.RUNNING,
    )
    mine = {one.endpoint for one in stocked.updates.values() if one.campaign_id == made.id}
    assert mine == {STRANGE, SLEEPER}
    assert made.asked_by == "anna/script"


async def test_it_can_be_changed_after_it_was_shown(client: Client, stocked: FakeFirmwareBox) -> None:
    fields = {**FIELDS, "which": "named", "tick-1": STRANGE, "name": "Barn", "starts": "2030-01-02T03:04:05Z"}
    carried = hidden(await previewed(client, fields))
    found = await previewed(client, {**carried, "edit": "1"})
    check_policy(found)
    assert (value(found, "name"), value(found, "at_once"), value(found, "failure_limit")) == (
        "Barn",
        "5",
        "0",
    )
    assert value(found, "starts") == "2030-01-02T03:04:05"
    ticked = [tag["value"] for _, tag in found.tags if "checked" in tag and tag.get("type") == "checkbox"]
    assert ticked == [STRANGE]


async def test_it_begins_when_it_is_time(client: Client, stocked: FakeFirmwareBox) -> None:
    fields = {**FIELDS, "starts": "2030-01-02T03:04:05Z"}
    assert "Schedule the campaign" in (await previewed(client, fields)).text
    await send(client, ADDRESS, fields)
    made = stocked.campaigns[max(stocked.campaigns)]
    assert made.starts_ms == 1_893_553_445_000 > NOW_MS
    found = await page(client, f"{ADDRESS}/{made.id}")
    assert "It begins" in found.text
    assert await send(client, f"{ADDRESS}/{made.id}/resume") == f"{ADDRESS}/{made.id}"
    assert stocked.campaigns[made.id].state is CampaignState.RUNNING


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"at_once": "0"}, 400, "at_once"),
        ({"at_once": "many"}, 400, "at_once"),
        ({"failure_limit": "101"}, 400, "failure_limit"),
        ({"starts": "tomorrow"}, 400, "starts"),
        ({"firmware": ""}, 404, "firmware"),
        ({"firmware": "77"}, 404, "firmware"),
        ({"which": "named"}, 404, "endpoints"),
        ({"which": "named", "endpoints": "nobody"}, 404, "endpoints"),
        ({"instance": "5"}, 400, "instance"),
        ({"instance": "x/y"}, 400, "instance"),
    ],
)
@pytest.mark.parametrize("address", [NEW, ADDRESS])
async def test_what_is_wrong_stands_beside_its_field(
    client: Client, stocked: FakeFirmwareBox, address: str, fields: dict[str, str], status: int, field: str
) -> None:
    before = dict(stocked.campaigns)
    found = await refused(client, address, status, {**FIELDS, "name": "<kept>", **fields})
    check_policy(found)
    assert wrong(found) == [field]
    assert value(found, "name") == "<kept>"
    assert stocked.campaigns == before


async def test_nobody_is_left(client: Client, stocked: FakeFirmwareBox) -> None:
    stocked.refusing = dict.fromkeys((SENSOR, SLEEPER, STRANGE, QUIET), "runs_it")
    found = await previewed(client, FIELDS)
    assert "Nobody" in found.text
    assert "4 · It runs this version already." in found.text
    assert ADDRESS not in found.all("action")
    assert "No device is left" in (await refused(client, ADDRESS, 409, FIELDS)).text


async def test_it_is_paused_and_goes_on(client: Client, stocked: FakeFirmwareBox) -> None:
    def state() -> CampaignState:
        return stocked.campaigns[2].state

    await send(client, f"{ADDRESS}/2/resume")
    assert state() is CampaignState.RUNNING
    await send(client, f"{ADDRESS}/2/pause")
    assert state() is CampaignState.PAUSED
    assert "It is paused." in (await page(client, f"{ADDRESS}/2")).text
    found = await refused(client, f"{ADDRESS}/2/pause", 409, {})
    check_policy(found)
    assert "It is PAUSED already" in found.text


async def test_it_is_stopped_after_a_question(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, f"{ADDRESS}/2/stop")
    check_policy(found)
    assert "1 device that waits gets nothing." in found.text
    await send(client, f"{ADDRESS}/2/stop")
    assert stocked.campaigns[2].state is CampaignState.STOPPED
    found = await page(client, f"{ADDRESS}/2")
    assert "It was stopped." in found.text
    assert not [one for one in found.all("action") if one.endswith(("/pause", "/resume"))]
    await refused(client, f"{ADDRESS}/2/stop", 409, {})


async def test_the_box_says_why_it_cannot(client: Client, stocked: FakeFirmwareBox) -> None:
    stocked.failure = UsageError("delivery_closed", "the box has no https open", "open it")
    found = await refused(client, ADDRESS, 409, FIELDS)
    assert wrong(found) == ["delivery"]


async def test_a_viewer_sees_all_but_the_buttons(viewer: Browser, stocked: FakeFirmwareBox) -> None:
    for path in (ADDRESS, f"{ADDRESS}/1", f"{ADDRESS}/2"):
        answer = await viewer.get(path)
        assert answer.status == 200
        found = answer.page
        assert [tag for name, tag in found.tags if name == "form" and tag.get("method") == "post"][1:] == []
        assert NEW not in found.all("href")
        assert f"{ADDRESS}/2/stop" not in found.all("href")


def test_each_state_is_in_one_part() -> None:
    assert set(views_campaigns.PART_OF_STATE) == set(UpdateState)
    assert set(views_campaigns.PART_OF_STATE.values()) == set(views_campaigns.PARTS_OF)
    assert set(views_campaigns.STATE_OF_PART) == {"", *views_campaigns.PARTS_OF}


def test_failures_lead_to_their_devices_alone() -> None:
    from flownexus_appliance.db.firmware import Campaign
    from flownexus_appliance.db.update_reads import Failures

    campaign = Campaign(4, "", 1, "ada", NOW_MS, NOW_MS)
    view = views_campaigns.CampaignView(campaign, "1", 1, {})
    shown = views_campaigns.failure_views(
        view,
        [
            Failures(UpdateState.FAILED, Reason.RESULT, 2, 7),
            Failures(UpdateState.FAILED, Reason.GONE, 0, 4),
            Failures(UpdateState.FAILED, Reason.GONE, None, 4),
        ],
    )
    assert [(one.devices, one.url) for one in shown] == [
        (8, "/firmware/campaigns/4?state=failed&reason=gone#devices"),
        (7, "/firmware/campaigns/4?state=failed&reason=result&result=2#devices"),
    ]
    assert shown[1].why == "The device says: Not enough flash memory."
    assert view.name == "Campaign 4"
    assert view.percent == 0
