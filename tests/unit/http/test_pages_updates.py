"""The pages of updates: lists, one step by step, ending one, trying again."""

from dataclasses import replace

import pytest

from flownexus_appliance.db.firmware import FirmwareUpdate, UpdateStep
from flownexus_appliance.http import views_updates
from flownexus_appliance.lwm2m.firmware import CampaignState, Delivery, Reason, UpdateResult, UpdateState

from .conftest import Client
from .firmware_box import FakeFirmwareBox
from .house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE
from .page import Page, check_policy, device, page, refused, send
from .signed import Browser
from .updatable import UpdatableFleet

BAR = "to version 1.6.0 · just now · CoAPS"


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


def update(state: UpdateState, **facts: object) -> FirmwareUpdate:
    kept = FirmwareUpdate(1, SENSOR, 1, "t", "ada", NOW_MS, NOW_MS, state=state)
    return replace(kept, **facts)  # type: ignore[arg-type]


def steps(*states: UpdateState) -> list[UpdateStep]:
    return [UpdateStep(1, at, NOW_MS + 1000 * at, state) for at, state in enumerate(states)]


async def test_all_of_them_newest_first(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, "/firmware/updates")
    check_policy(found)
    assert lines(found) == sorted(stocked.updates, reverse=True)
    assert "Downloading Greenhouse urn:imei:352656100123456 25 %" in found.text
    assert BAR in found.text
    assert "The device says: Integrity check failed." in found.text
    assert "The device came back with the version it had before." in found.text


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("state=unfinished", {UpdateState.WAITING, UpdateState.DOWNLOADING}),
        ("state=SUCCEEDED", {UpdateState.SUCCEEDED}),
        ("state=FAILED", {UpdateState.FAILED}),
        ("state=REVERTED", {UpdateState.REVERTED}),
        ("state=CANCELLED", {UpdateState.CANCELLED}),
    ],
)
async def test_they_are_found_by_state(
    client: Client, stocked: FakeFirmwareBox, query: str, states: set[UpdateState]
) -> None:
    shown = lines(await page(client, f"/firmware/updates?{query}"))
    assert shown == [
        key for key in sorted(stocked.updates, reverse=True) if stocked.updates[key].state in states
    ]
    assert shown


async def test_they_are_found_by_device_campaign_and_package(
    client: Client, stocked: FakeFirmwareBox
) -> None:
    async def asked(query: str) -> list[FirmwareUpdate]:
        return [stocked.updates[key] for key in lines(await page(client, f"/firmware/updates?{query}"))]

    assert {one.endpoint for one in await asked(f"device={SLEEPER}")} == {SLEEPER}
    assert {one.campaign_id for one in await asked("campaign=2")} == {2}
    # As the form sends it, with nothing chosen in the others.
    assert {one.firmware_id for one in await asked("state=&device=&campaign=&firmware=2")} == {2}
    found = await page(client, "/firmware/updates?device=nobody")
    assert "No update answers to that" in found.text
    await page(client, "/firmware/updates?firmware=x", 400)
    await page(client, "/firmware/updates?state=GONE", 400)


async def test_a_long_list_has_pages(
    client: Client, stocked: FakeFirmwareBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flownexus_appliance.http.pages_updates.find.__defaults__", (3, ""))
    first = await page(client, "/firmware/updates")
    assert lines(first) == [7, 6, 5]
    (onward,) = [tag["href"] for _, tag in first.tags if tag.get("rel") == "next"]
    second = await page(client, onward)
    assert lines(second) == [4, 3, 2]
    assert "/firmware/updates" in [tag["href"] for _, tag in second.tags if tag.get("rel") == "prev"]


async def test_without_any_it_says_where_to_begin(client: Client) -> None:
    found = await page(client, "/firmware/updates")
    check_policy(found)
    assert "No device was updated yet" in found.text
    assert "/firmware/packages" in found.all("href")


async def test_one_tells_how_far_it_is(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, "/firmware/updates/7")
    check_policy(found)
    assert "1.4.2 1.6.0 Downloading 25 %" in found.text
    assert "The device fetches it, encrypted (CoAP over DTLS)" in found.text
    looks = [tag["data-look"] for _, tag in found.tags if "data-look" in tag]
    assert looks == ["done", "done", "now", "ahead", "ahead", "ahead"]
    assert [tag["value"] for name, tag in found.tags if name == "progress"] == [str(80_012 // 4)]
    # What moves live is found by its number.
    assert "7" in found.all("data-update")


async def test_one_that_failed_says_why_and_what_to_do(client: Client, stocked: FakeFirmwareBox) -> None:
    text = (await page(client, "/firmware/updates/2")).text
    assert "The device came back with the version it had before. The new version did not start well" in text
    assert "Try again" in text
    text = (await page(client, "/firmware/updates/3")).text
    assert "The device says: Integrity check failed. The package came across damaged" in text
    assert "Integrity check failed 5" in text


async def test_one_that_waits_says_what_for(client: Client, stocked: FakeFirmwareBox) -> None:
    assert "Its campaign is paused." in (await page(client, "/firmware/updates/5")).text
    await stocked.steer(2, CampaignState.RUNNING)
    assert "It goes on when the device wakes." in (await page(client, "/firmware/updates/5")).text


@pytest.mark.parametrize("number", ["0", "99", "x", "9" * 30])
async def test_one_that_is_not_there(client: Client, number: str) -> None:
    assert "no update" in (await page(client, f"/firmware/updates/{number}", 404)).text


async def test_it_is_cancelled(client: Client, stocked: FakeFirmwareBox) -> None:
    assert await send(client, "/firmware/updates/7/cancel") == "/firmware/updates/7"
    assert stocked.updates[7].state is UpdateState.CANCELLED
    found = await refused(client, "/firmware/updates/7/cancel", 409, {})
    assert "Update 7 has ended" in found.text
    # The page stays that of the update.
    assert "Update of Greenhouse" in found.text


async def test_nothing_stops_a_device_that_installs(client: Client, stocked: FakeFirmwareBox) -> None:
    stocked.move(7, state=UpdateState.UPDATING)
    found = await page(client, "/firmware/updates/7")
    assert "Nothing can stop that from here." in found.text
    assert not [one for one in found.all("action") if one.endswith(("/cancel", "/retry"))]


async def test_it_is_tried_again_as_before(client: Client, stocked: FakeFirmwareBox) -> None:
    url = await send(client, "/firmware/updates/3/retry")
    made = stocked.updates[max(stocked.updates)]
    assert url == f"/firmware/updates/{made.id}"
    assert (made.endpoint, made.firmware_id, made.wanted) == (STRANGE, 1, Delivery.PUSH)
    found = await refused(client, "/firmware/updates/2/retry", 409, {})
    assert "has an update under way" in found.text


async def test_a_viewer_sees_all_but_the_buttons(viewer: Browser, stocked: FakeFirmwareBox) -> None:
    for path in ("/firmware/updates", "/firmware/updates/7", "/firmware/updates/2"):
        answer = await viewer.get(path)
        assert answer.status == 200
        assert [one for one in answer.page.all("action") if one.startswith("/firmware/updates/")] == []


async def test_a_device_has_its_update_on_its_page(client: Client, stocked: FakeFirmwareBox) -> None:
    found = await page(client, device(SENSOR))
    check_policy(found)
    assert "Downloading Version 1.6.0 25 %" in found.text
    assert f"{device(SENSOR)}/firmware" not in found.all("action")
    # Nothing is under way: what came of the last one, and the next.
    found = await page(client, device(STRANGE))
    check_policy(found)
    assert "Last update from here Failed Version 1.6.0" in found.text
    assert f"{device(STRANGE)}/firmware" in found.all("action")
    # One that is away gets it when it comes.
    assert f"{device(QUIET)}/firmware" in (await page(client, device(QUIET))).all("action")


async def test_a_viewer_gives_no_device_anything(viewer: Browser, stocked: FakeFirmwareBox) -> None:
    assert f"{device(STRANGE)}/firmware" not in (await viewer.get(device(STRANGE))).page.all("action")
    assert (await viewer.get(f"{device(STRANGE)}/firmware")).status == 403


async def test_in_german(viewer: Browser, stocked: FakeFirmwareBox) -> None:
    viewer.language = "de"
    answer = await viewer.get("/firmware/updates/2")
    assert "Das Gerät kam mit der Version zurück, die es vorher hatte." in answer.page.text
    assert "The device" not in answer.page.text


@pytest.mark.parametrize("state", UpdateState)
def test_the_way_has_an_end_for_each_state(state: UpdateState) -> None:
    found = views_updates.way(update(state), steps(UpdateState.WAITING, UpdateState.PREPARING))
    assert len(found) == 6
    assert [one.look for one in found].count("now") == (0 if update(state).done else 1)
    assert found[-1].state is (state if update(state).done else UpdateState.SUCCEEDED)


def test_the_way_is_that_of_the_last_try() -> None:
    waiting, preparing, downloading = views_updates.WAY[:3]
    again = steps(waiting, preparing, downloading, waiting, preparing)
    found = views_updates.way(update(preparing), again)
    assert [one.look for one in found] == ["done", "now", "ahead", "ahead", "ahead", "ahead"]
    assert [one.time_ms for one in found[:2]] == [NOW_MS + 3000, NOW_MS + 4000]
    assert found[0].took_ms == 1000


def test_every_reason_has_a_sentence_and_failures_an_advice() -> None:
    for reason in Reason:
        said = views_updates.why_text(reason, UpdateResult.NO_MEMORY, UpdateState.FAILED)
        assert bool(said) == (reason is not Reason.NONE), reason
    for result in UpdateResult:
        if result not in (UpdateResult.INITIAL, UpdateResult.SUCCESS):
            assert views_updates.advice_text(Reason.RESULT, result), result
        # Also what no device should say is told as it is.
        assert views_updates.why_text(Reason.RESULT, 77) == "The device says: 77."
    for reason in set(Reason) - {Reason.NONE, Reason.RESULT, Reason.ALREADY, Reason.ASKED, Reason.FAILURES}:
        assert views_updates.advice_text(reason, None), reason


def test_a_bar_is_full_when_all_of_it_is_there() -> None:
    def percent(done: int, size: int) -> int:
        view = views_updates.view_of(update(UpdateState.DOWNLOADING, bytes=done), None)
        return replace(view, size=size).percent

    assert [percent(999_999, 1_000_000), percent(10, 10), percent(20, 10), percent(5, 0)] == [99, 100, 100, 0]
