"""A person adds a device and waits for it: the page of its key tells when it has come, and why it may not."""

import json
from functools import partial

import pytest

from flownexus_appliance.db.store import Store
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m.values import DataType
from flownexus_appliance.system.clock import wall_ms
from tests.unit.http.house import record, registration
from tests.unit.http.trust import FakeCredentials

from .chromium import Chromium, Page
from .conftest import House

REGION = '[data-region="arrival"]'
SUBMIT = "main form button[type=submit]"


def credentials_of(house: House) -> FakeCredentials:
    assert isinstance(house.sources.credentials, FakeCredentials)
    return house.sources.credentials


async def arrives(house: House, endpoint: str) -> None:
    """A device registers by its new credential, and tells a temperature."""
    store = Store(house.database, partial(describe, house.sources.models.set))
    await store.start()
    store.put_registration(registration(endpoint))
    store.add_samples(endpoint, (record("/3303/0/5700", 21.25, DataType.FLOAT),), wall_ms())
    await store.commit()
    await store.stop()
    credentials = credentials_of(house)
    credentials.use(credentials.of(endpoint)[0].id, wall_ms())
    house.move(endpoint, "online")
    told = {
        "endpoint": endpoint,
        "change": "registered",
        "registration_id": "r",
        "address": "",
        "time_ms": wall_ms(),
    }
    house.bus.publish("registration", told)


async def add(page: Page, house: House, client: str) -> None:
    await page.open(f"{house.url}/add-device?endpoint=kitchen&client={client}")
    await page.follow(SUBMIT)
    await page.until_text("h1", "What the device is to hold")


async def test_the_page_of_a_key_tells_when_the_device_has_come(chromium: Chromium, house: House) -> None:
    async with chromium.page(390, 844) as page:
        await add(page, house, "nrf91")
        assert "AT%CMNG=0,35724861,4" in await page.text("#recipe-1")
        await page.until_text("#live", "Live")
        await page.until_text(REGION, "Waiting for kitchen")
        key = await page.evaluate("document.getElementById('given-key').value")
        await arrives(house, "kitchen")
        await page.until_text(REGION, "kitchen has registered")
        await page.until_text(REGION, "21.25")
        await page.until_text("#arrived", "kitchen has registered")
        # What is shown once is still there, for who has not copied it yet.
        assert await page.evaluate("document.getElementById('given-key').value") == key
        assert "kitchen" in await page.evaluate(f"document.querySelector('{REGION} a').getAttribute('href')")


async def test_who_waits_for_long_is_told_why_it_may_be(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        source = "const set = setTimeout; window.setTimeout = (task, ms) => set(task, ms === 30000 ? 1 : ms);"
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=source)
        await add(page, house, "zephyr")
        await page.until("document.getElementById('not-coming').open")
        assert "coaps://192.0.2.7:5684 by UDP" in await page.text(REGION)
        # What is open stays so when the page looks again.
        house.move("kitchen", "offline")
        house.bus.publish("presence", {"endpoint": "kitchen", "presence": "offline", "time_ms": 1})
        await page.until("document.getElementById('not-coming').open")


async def test_without_scripts_one_looks_in_another_tab(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await add(page, house, "simulator")
        assert "flownexus sim --name kitchen" in await page.text("#recipe-1")
        link = await page.evaluate(f"document.querySelector('{REGION} .without-js a').href")
        assert await page.evaluate(f"document.querySelector('{REGION} .without-js a').target") == "_blank"
        await page.open(link)
        assert "Waiting for kitchen" in await page.text(REGION)
        await arrives(house, "kitchen")
        await page.follow("main > .narrow > .without-js a")
        assert "kitchen has registered" in await page.text(REGION)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_code_can_be_read_in_every_theme(chromium: Chromium, house: House, scheme: str) -> None:
    async with chromium.page(390, 844, scheme) as page:
        await add(page, house, "other")
        await page.click(".qr-code summary")
        await page.until("document.querySelector('.qr-frame svg').getBoundingClientRect().width > 200")
        shown = await page.evaluate(
            """(() => {
              const [paper, ink] = document.querySelectorAll(".qr-frame path");
              return [getComputedStyle(paper).fill, getComputedStyle(ink).stroke];
            })()"""
        )
        assert shown == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        assert json.dumps(await page.text(".qr-code")).count("Whoever sees it has the key") == 1
