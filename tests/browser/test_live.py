"""A reading moves in the browser: overview and device page, by the live stream."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from flownexus_appliance.http.server import HttpServer
from flownexus_appliance.lwm2m.values import DataType
from flownexus_appliance.system.clock import wall_ms
from tests.unit.http.house import QUIET, SENSOR, SLEEPER, STRANGE, fill, record

from .chromium import Chromium
from .conftest import House

CARD = '[data-endpoint="{}"]'
SENSOR_CARD = CARD.format(SENSOR)
TEMPERATURE = '.value[data-path="/3303/0/5700"]'
CHART = '[data-chart="/3303/0/5700"]'
DeviceUrl = Callable[[str], str]


async def test_the_overview_lives(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        assert await page.text(f"{SENSOR_CARD} h2") == "Greenhouse"
        # Sparklines come by themselves.
        await page.until(f"document.querySelector('{SENSOR_CARD} [data-spark] path')?.getAttribute('d')")

        house.tell(SENSOR, "/3303/0/5700", 31.25)
        await page.until_text(f"{SENSOR_CARD} {TEMPERATURE}", "31.25")
        await page.until_text(f"{SENSOR_CARD} footer", "Last heard")

        house.move(SENSOR, "sleeping")
        await page.until_text(f"{SENSOR_CARD} .state", "Sleeping")
        await page.until_text('[data-count="sleeping"]', "2")
        await page.until_text('[data-count="online"]', "1")
        await page.until_text(f"{SENSOR_CARD} footer", "wakes by itself")


async def test_a_new_device_appears_by_itself(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        reading = record("/3303/0/5700", 18.5, DataType.FLOAT)
        await fill(
            house.database, house.sources.models.set, {"newcomer": (reading,)}, registered=["newcomer"]
        )
        house.move("newcomer", "online")
        card = CARD.format("newcomer")
        await page.until_text(f"{card} {TEMPERATURE}", "18.50")
        await page.until_text('[data-count="all"]', "5")
        # And is listened to from then on.
        house.tell("newcomer", "/3303/0/5700", 19.75)
        await page.until_text(f"{card} {TEMPERATURE}", "19.75")


async def test_a_filtered_overview_keeps_its_filter(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/?state=sleeping")
        await page.until_text("#live", "Live")
        assert await page.evaluate("document.querySelectorAll('.device').length") == 1
        house.move(QUIET, "sleeping")
        await page.until("document.querySelectorAll('.device').length === 2")


async def test_a_device_page_lives(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    async with chromium.page() as page:
        await page.open(device_url(SENSOR))
        await page.until_text("#live", "Live")
        await page.until(f"document.querySelector('{CHART} canvas')")
        await page.until_text(f"{CHART} [data-readout]", "High 29.50")

        house.tell(SENSOR, "/3303/0/5700", 44.5)
        await page.until_text(f"{CHART} {TEMPERATURE}", "44.50")
        await page.until_text(f"{CHART} [data-readout]", "High 44.50")
        await page.until_text(f"#object-3303 {TEMPERATURE}", "44.50")
        assert "High 44.50" in await page.evaluate(
            f"document.querySelector('{CHART} [role=img]').getAttribute('aria-label')"
        )

        house.tell(SENSOR, "/3342/0/5500", False, "boolean")
        await page.until_text('[data-chart="/3342/0/5500"] .value', "Off")
        house.move(SENSOR, "offline")
        await page.until_text(".device-head .state", "Offline")
        await page.until_text(".device-head", "not reachable")


@pytest.mark.parametrize(
    "place", ["[data-row='/3/0/0'] button", "#object-3 > summary", "a[href^='/add-device']"]
)
async def test_the_focus_stays_where_it_was_when_a_device_comes_anew(
    chromium: Chromium, house: House, device_url: DeviceUrl, place: str
) -> None:
    """A device that sleeps updates its registration as often as it wakes: each time the page is read anew."""
    async with chromium.page() as page:
        await page.open(device_url(SENSOR))
        await page.until_text("#live", "Live")
        await page.evaluate("document.getElementById('object-3').open = true")
        await page.evaluate(f'document.querySelector("{place}").focus()')
        await page.evaluate("window.before = document.activeElement")
        event = {"endpoint": SENSOR, "event": "updated", "time_ms": wall_ms()}
        house.bus.publish("registration", event)
        await page.until("!before.isConnected")
        assert await page.evaluate(f'document.activeElement.matches("{place}")') is True


async def test_a_resource_never_heard_of_gets_its_chart(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    async with chromium.page() as page:
        await page.open(device_url(SENSOR))
        await page.until_text("#live", "Live")
        reading = record("/3304/0/5700", 55.5, DataType.FLOAT)
        await fill(house.database, house.sources.models.set, {SENSOR: (reading,)})
        house.tell(SENSOR, "/3304/0/5700", 55.5)
        await page.until_text('[data-chart="/3304/0/5700"] h3', "Humidity")
        await page.until_text("#object-3304", "55.50")


async def test_every_sample_of_a_burst_is_drawn(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    """A device that was away tells an hour at once: its chart counts every sample."""
    async with chromium.page() as page:
        await page.open(f"{device_url(SLEEPER)}?range=1h")
        await page.until_text(f"{CHART} [data-readout]", "High")
        for number in range(300):
            house.tell(SLEEPER, "/3303/0/5700", 100.0 + number)
        await page.until_text(f"{CHART} [data-readout]", "High 399.0")
        house.tell(SLEEPER, "/3303/0/5700", -7.0)
        await page.until_text(f"{CHART} [data-readout]", "Low \u22127.00")


@pytest.mark.parametrize("name", ["1h", "24h", "7d", "30d", "1y"])
async def test_every_range_draws(chromium: Chromium, house: House, device_url: DeviceUrl, name: str) -> None:
    async with chromium.page() as page:
        await page.open(device_url(SENSOR))
        await page.until(f"document.querySelector('{CHART} canvas')")
        await page.click(f'[data-range="{name}"]')
        await page.until(f"document.querySelector('[data-range=\"{name}\"][aria-current]')")
        await page.until_text(f"{CHART} [data-readout]", "High")
        assert await page.evaluate("location.search") == f"?range={name}"
        inked = f"""(() => {{
          const canvas = document.querySelector('{CHART} canvas');
          const {{data}} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value, at) => at % 4 === 3 && value > 0);
        }})()"""
        await page.until(inked)


async def test_a_page_survives_a_restart_of_the_daemon(chromium: Chromium, house: House) -> None:
    server = house.server
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        await server.stop()
        await page.until_text("#live", "Connection lost")
        again = HttpServer(replace(house.options, port=server.port), house.sources)
        await again.start()
        try:
            house.tell(SENSOR, "/3303/0/5700", 12.5)
            await page.until_text("#live", "Live")
            await page.until_text(f"{SENSOR_CARD} {TEMPERATURE}", "12.50")
            await page.open("about:blank")  # before the box is away again
        finally:
            await again.stop()
        # The browser itself tells of refused connections.
        page.complaints = [text for text in page.complaints if "net::ERR_" not in text]


async def test_a_tab_opened_behind_holds_no_connection(chromium: Chromium, house: House) -> None:
    """A browser allows six connections to one host: were each a stream, the seventh tab would never load."""
    async with chromium.page() as page:
        behind = """
          let hidden = true;
          Object.defineProperty(document, "hidden", { get: () => hidden });
          window.lookAt = () => { hidden = false; document.dispatchEvent(new Event("visibilitychange")); };"""
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=behind)
        await page.open(f"{house.url}/")
        await page.until("document.getElementById('theme-switch').title")  # the scripts have run
        stream = f"{house.url}/api/v1/stream"
        assert [url for url in page.requested if url.startswith(stream)] == []
        house.move(SENSOR, "sleeping")
        await page.evaluate("lookAt()")
        await page.until_text("#live", "Live")
        await page.until_text(f"{SENSOR_CARD} .state", "Sleeping")


async def test_a_card_leads_to_its_device_whatever_its_name(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/?q=kitchen")
        await page.follow(".device h2 a")
        await page.until_text("h1", STRANGE)
        await page.until_text("#live", "Live")
        house.tell(STRANGE, "/3303/0/5700", 3.25)
        await page.until_text(f"{CHART} {TEMPERATURE}", "3.25")
