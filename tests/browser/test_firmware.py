"""What firmware runs where, live, within a phone's width, and for everybody's eyes and ears."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.unit.http.house import SENSOR

from .accessibility import findings
from .chromium import Chromium
from .conftest import House

ROW = '[data-region="list"] tbody tr'


def install(house: House, version: str) -> None:
    """SENSOR tells another version now."""
    with closing(sqlite3.connect(house.database)) as connection, connection:
        connection.execute(
            "INSERT INTO resource (series_id, time_ms, value)"
            " SELECT s.id, max(r.time_ms) + 1, ? FROM series s JOIN endpoint e ON e.id = s.endpoint_id"
            " JOIN resource r ON r.series_id = s.id WHERE e.name = ? AND s.path = '/3/0/3'",
            (version, SENSOR),
        )
    sample = {"path": "/3/0/3", "value": version, "data_type": "string", "time_ms": 1}
    house.bus.publish("values", {"endpoint": SENSOR, "received_ms": 1, "values": [sample]})


async def test_a_new_version_comes_by_itself(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/firmware")
        await page.until_text("#live", "Live")
        await page.until_text('[data-region="models"]', "1.4.2")
        await page.evaluate("void (window.stayed = true)")
        name = f'[data-endpoint="{SENSOR}"] th a'
        await page.evaluate(f"document.querySelector({json.dumps(name)}).focus()")
        install(house, "1.5.0")
        await page.until_text('[data-region="models"]', "1.5.0")
        await page.until_text(f'[data-endpoint="{SENSOR}"]', "1.5.0")
        assert await page.evaluate("window.stayed") is True
        assert await page.evaluate(f"document.activeElement.matches({json.dumps(name)})")


async def test_a_version_leads_to_its_devices(chromium: Chromium, house: House) -> None:
    async with chromium.page(360, 740) as page:
        await page.open(f"{house.url}/firmware")
        count = f"document.querySelectorAll({json.dumps(ROW)}).length"
        assert await page.evaluate(count) == 4
        await page.follow('.versions a[href*="1.4.2"]')
        assert await page.evaluate(count) == 1
        # The list is in view, and all of it is as wide as the phone at most.
        top = "document.getElementById('runs').getBoundingClientRect().top"
        assert await page.evaluate(f"{top} < innerHeight")
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(wide) <= 0


@pytest.mark.parametrize("size", [(360, 740), (1280, 900)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_it(
    chromium: Chromium, house: House, size: tuple[int, int], scheme: str
) -> None:
    async with chromium.page(*size, scheme) as page:
        await page.open(f"{house.url}/firmware?model=Nordic+%3CSemi%3E+Thingy:91")
        await page.until_text("#live", "Live")
        assert await findings(page) == []


@pytest.mark.parametrize("width", [320, 991, 993, 1231, 1233])
@pytest.mark.parametrize("language", ["en", "de"])
async def test_the_navigation_has_room(chromium: Chromium, house: House, width: int, language: str) -> None:
    async with chromium.page(width, 700) as page:
        await page.call("Network.enable")
        await page.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
        await page.open(f"{house.url}/firmware")
        words = "[...document.querySelectorAll('.places a span')]"
        assert await page.evaluate(f"{words}.some((one) => one.scrollWidth > one.clientWidth)") is False
        apart = """(() => {
            const last = document.querySelector('.places a:last-child').getBoundingClientRect();
            const end = document.querySelector('.top-end').getBoundingClientRect();
            return last.right <= end.left || last.top >= end.bottom;
        })()"""
        assert await page.evaluate(apart) is True
