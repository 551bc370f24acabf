"""Packages, updates and campaigns in a browser: uploading, bars that move by themselves, a new campaign."""

import json
import struct

import pytest

from flownexus_appliance.http.ports_firmware import Wish
from flownexus_appliance.lwm2m.firmware import CampaignState, UpdateState
from tests.unit.http.firmware_box import FakeFirmwareBox, stock
from tests.unit.http.house import QUIET, SENSOR

from .accessibility import findings
from .chromium import Chromium, Page
from .conftest import House

FORM = "[data-upload]"
UPDATE = '[data-update="7"]'


@pytest.fixture
async def box(house: House) -> FakeFirmwareBox:
    assert isinstance(house.sources.firmware, FakeFirmwareBox)
    await stock(house.sources.firmware)
    return house.sources.firmware


def image(major: int, minor: int, revision: int, build: int = 0) -> bytes:
    """The head of an MCUboot image and something behind it."""
    head = struct.pack("<IIHHII", 0x96F3B83D, 0, 32, 0, 1000, 0)
    return head + struct.pack("<BBHI", major, minor, revision, build) + b"\0" * 1004


async def choose(page: Page, content: bytes, name: str = "app.bin") -> None:
    """Choose a file as by the button; its bytes are made in the page."""
    await page.evaluate(
        f"""(() => {{
          const input = document.querySelector('{FORM} input[type=file]');
          const files = new DataTransfer();
          const parts = [new Uint8Array({list(content[:64])}), new Uint8Array({max(0, len(content) - 64)})];
          files.items.add(new File(parts, {json.dumps(name)}));
          input.files = files.files;
          input.dispatchEvent(new Event("change", {{ bubbles: true }}));
        }})()"""
    )


def field(name: str) -> str:
    return f"document.querySelector('{FORM} [name={name}]').value"


async def test_the_version_is_read_from_the_file(
    chromium: Chromium, house: House, box: FakeFirmwareBox
) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware/packages")
        await choose(page, image(2, 3, 400, 7))
        await page.until_text("[data-read]", "version 2.3.400+7")
        assert await page.evaluate(field("version")) == "2.3.400+7"
        # Another file says another version; what somebody typed stays.
        await choose(page, image(3, 0, 0))
        await page.until_text("[data-read]", "version 3.0.0")
        assert await page.evaluate(field("version")) == "3.0.0"
        await page.evaluate(f"void ({field('version')} = 'mine')")
        await choose(page, b"\x7fELF" + b"\0" * 60)
        await page.until_text("[data-read]", "no MCUboot header")
        assert await page.evaluate(field("version")) == "mine"


async def test_a_package_is_uploaded(chromium: Chromium, house: House, box: FakeFirmwareBox) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware/packages")
        await choose(page, image(2, 3, 4))
        await page.until(f"{field('version')} === '2.3.4'")
        await page.type(f"{FORM} [name=note]", "for the barn")
        await page.follow(f"{FORM} button[type=submit]")
        await page.until_text("h1", "Firmware 2.3.4")
    kept = box.get(4)
    assert (kept.file_name, kept.note, kept.size) == ("app.bin", "for the barn", 1032)


async def test_what_was_typed_stays_where_the_box_refuses(
    chromium: Chromium, house: House, box: FakeFirmwareBox
) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware/packages")
        await choose(page, b"no head at all, and no version either" * 3)
        await page.until_text("[data-read]", "no MCUboot header")
        await page.type(f"{FORM} [name=note]", "for the barn")
        await page.click(f"{FORM} button[type=submit]")
        await page.until_text(f"{FORM} .banner", "Nothing says which version it is")
        assert "Say it." in await page.text(f"{FORM} .banner")
        assert await page.evaluate(field("note")) == "for the barn"
        page.complaints.clear()  # a browser notes each answer that is no good one
        # The form has a new token by now, so it can be sent again.
        await page.type(f"{FORM} [name=version]", "7.0")
        await page.follow(f"{FORM} button[type=submit]")
        await page.until_text("h1", "Firmware 7.0")


async def test_what_is_too_large_is_not_even_sent(
    chromium: Chromium, house: House, box: FakeFirmwareBox
) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware/packages")
        await page.evaluate(
            f"""(() => {{
              const input = document.querySelector('{FORM} input[type=file]');
              const files = new DataTransfer();
              files.items.add(new File([new Uint8Array(64 * 1024 * 1024 + 1)], "all.zip"));
              input.files = files.files;
              input.dispatchEvent(new Event("change"));
            }})()"""
        )
        await page.until_text("[data-read]", "a package has at most 64.0 MiB")
        await page.click(f"{FORM} button[type=submit]")
        assert await page.evaluate(f"document.querySelector('{FORM}').checkValidity()") is False
        assert await page.evaluate("document.querySelector('[data-sending]').hidden") is True


async def test_an_update_that_is_begun_elsewhere_comes_into_the_list(
    chromium: Chromium, house: House, box: FakeFirmwareBox
) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware/updates?state=unfinished")
        await page.until_text("#live", "Live")
        known = await page.evaluate("document.querySelectorAll('li.update').length")
        begun = await box.update(QUIET, 3, Wish(), "ada")
        await page.until(f"document.querySelector('[data-update=\"{begun.id}\"]') !== null")
        assert await page.evaluate("document.querySelectorAll('li.update').length") == known + 1


async def test_a_bar_moves_by_itself(chromium: Chromium, house: House, box: FakeFirmwareBox) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware/updates")
        await page.until_text("#live", "Live")
        await page.evaluate("void (window.stayed = true)")
        await page.until_text(UPDATE, "25 %")
        size = box.get(2).size
        box.move(7, bytes=size // 2)
        await page.until_text(UPDATE, "50 %")
        value = f"document.querySelector('{UPDATE} progress').value"
        assert await page.evaluate(value) == size // 2
        box.move(7, state=UpdateState.DOWNLOADED, bytes=size)
        await page.until_text(f"{UPDATE} .update-state", "Downloaded")
        await page.until(f"document.querySelector('{UPDATE} .update-progress').hidden")
        box.move(7, state=UpdateState.UPDATING)
        box.move(7, state=UpdateState.SUCCEEDED)
        await page.until_text(f"{UPDATE} .update-state", "Done")
        assert await page.evaluate("window.stayed") is True


@pytest.mark.parametrize("path", ["/firmware", "/firmware/updates/7", "/firmware/packages/2", None])
async def test_an_update_is_live_wherever_it_stands(
    chromium: Chromium, house: House, box: FakeFirmwareBox, device_url: object, path: str | None
) -> None:
    assert callable(device_url)
    async with chromium.page(390, 844, "dark") as page:
        await page.open(device_url(SENSOR) if path is None else house.url + path)
        await page.until_text("#live", "Live")
        box.move(7, bytes=box.get(2).size // 2)
        await page.until_text(f"main {UPDATE}", "50 %")
        box.move(7, state=UpdateState.DOWNLOADED)
        await page.until_text(f"main {UPDATE}", "Downloaded")


async def test_the_steps_of_one_come_by_themselves(
    chromium: Chromium, house: House, box: FakeFirmwareBox
) -> None:
    now = "document.querySelector('.way [aria-current=step] .way-name')?.textContent"
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware/updates/7")
        await page.until_text("#live", "Live")
        await page.until(f"{now} === 'Downloading'")
        box.move(7, state=UpdateState.DOWNLOADED)
        await page.until(f"{now} === 'Downloaded'")
        await page.follow("[data-region=update] button.danger")
        await page.until_text("[data-region=update] .update-state", "Cancelled")
        assert box.updates[7].state is UpdateState.CANCELLED
        assert await findings(page) == []


async def test_a_campaign_moves_by_itself(chromium: Chromium, house: House, box: FakeFirmwareBox) -> None:
    async with chromium.page(390, 844) as page:
        await page.open(f"{house.url}/firmware/campaigns/2")
        await page.until_text("#live", "Live")
        await page.evaluate("void (window.stayed = true)")
        box.move(5, state=UpdateState.PREPARING)
        box.move(5, state=UpdateState.DOWNLOADING)
        counts = {"DOWNLOADING": 1, "FAILED": 1}
        told = {
            "id": 2,
            "name": "Field",
            "firmware": 2,
            "state": "PAUSED",
            "reason": "failures",
            "time_ms": 1,
        }
        house.bus.publish("firmware_campaign", {**told, "counts": counts})
        await page.until("document.querySelector('[data-count=moving]').textContent === '1'")
        await page.until("document.querySelector('.shares [data-part=moving]').getAttribute('width') === '1'")
        assert await page.text("[data-count=waiting]") == "0"
        # Its state is another one: the buttons with it.
        await page.follow("[data-region=steps] .primary")
        await page.until_text(".campaign-state", "Running")
        await page.until_text("[data-region=steps]", "Pause")
        assert box.campaigns[2].state is CampaignState.RUNNING
        # Stopped elsewhere, there is nothing left to press.
        await box.steer(2, CampaignState.STOPPED)
        house.bus.publish("firmware_campaign", {**told, "state": "STOPPED", "counts": counts})
        await page.until("document.querySelectorAll('[data-region=steps] .button').length === 0")
        await page.until_text("[data-region=facts]", "Ended")


async def test_a_campaign_is_made_in_two_steps(
    chromium: Chromium, house: House, box: FakeFirmwareBox
) -> None:
    async with chromium.page(390, 844) as page:
        await page.open(f"{house.url}/firmware/campaigns/new?firmware=3")
        shown = "getComputedStyle(document.querySelector('.for-named')).display !== 'none'"
        assert await page.evaluate(shown) is False
        await page.click("#which-named")
        await page.until(f"{shown}")
        await page.click(f"input[value='{QUIET}']")
        await page.follow(".campaign-form button[type=submit]")
        await page.until_text("h1", "1 device gets 2.0.0-rc1")
        assert await findings(page) == []
        await page.follow("form[action='/firmware/campaigns'] button")
        await page.until_text(".campaign-state", "Running")
    made = box.campaigns[max(box.campaigns)]
    assert [one.endpoint for one in box.updates.values() if one.campaign_id == made.id] == [QUIET]
