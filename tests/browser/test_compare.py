"""Comparing devices: the choice and its address, the legend, downloads; with and without a script."""

from urllib.parse import parse_qs, urlsplit

from tests.unit.http.house import SENSOR, SLEEPER

from .chromium import Chromium
from .conftest import House
from .test_charts import PICTURE, SAVED, TEMPERATURE, press

COMPARISON = "[data-comparison]"


async def test_a_tick_adds_a_series_and_the_address_holds_the_choice(
    chromium: Chromium, house: House
) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/compare")
        for number, endpoint in enumerate((SENSOR, SLEEPER), 1):
            await page.evaluate(f"document.querySelector('[value=\"{TEMPERATURE}:{endpoint}\"]').focus()")
            await page.click(f'[value="{TEMPERATURE}:{endpoint}"]')
            await page.until(f"document.querySelectorAll('.trace').length === {number}")
        await page.until(f"document.querySelector('{COMPARISON} .u-over')")
        chosen = f"{TEMPERATURE}:{SLEEPER}"
        assert await page.evaluate("document.activeElement.value") == chosen
        await page.until_text("#live", "Live")
        house.tell(SLEEPER, TEMPERATURE, 77.25)
        await page.until_text(f'[data-series="{chosen}"] .value', "77.25")
        label = f"document.querySelector('{COMPARISON} [role=img]').getAttribute('aria-label')"
        await page.until(f"{label}.includes('High 77.25')")

        query = parse_qs(urlsplit(await page.evaluate("location.href")).query)
        assert query["series"] == [f"{TEMPERATURE}:{SENSOR}", chosen]
        await page.open(await page.evaluate("location.href"))
        await page.until(f"document.querySelector('{COMPARISON} .u-over')")
        assert await page.evaluate("document.querySelectorAll('.trace').length") == 2
        await page.click(f'[data-remove="{TEMPERATURE}:{SENSOR}"]')
        await page.until("document.querySelectorAll('.trace').length === 1")
        ticked = f"document.querySelector('[value=\"{TEMPERATURE}:{SENSOR}\"]').checked"
        assert await page.evaluate(ticked) is False
        await page.click(f'[data-remove="{chosen}"]')
        await page.until(f"document.querySelector('{COMPARISON}').hidden")
        await page.until_text("[data-none]", "Tick the devices")


async def test_the_legend_tells_what_lies_under_the_cursor(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        keys = f"series={TEMPERATURE}:{SENSOR}&series={TEMPERATURE}:{SLEEPER}"
        await page.open(f"{house.url}/compare?{keys}&range=1h")
        await page.until(f"document.querySelector('{COMPARISON} .u-over')")
        label = f"document.querySelector('{COMPARISON} [role=img]').getAttribute('aria-label')"
        await page.until(f"{label}.split('Mean').length === 3")
        await page.evaluate(f"document.querySelector('{COMPARISON} .stepper').focus()")
        await press(page, "Home")
        pointed = '[data-series$="imei:352656100123456"] [data-pointed]'
        await page.until_text(pointed, "°C")
        told = await page.evaluate(
            f"document.querySelector('{COMPARISON} .stepper').getAttribute('aria-valuetext')"
        )
        assert "Greenhouse Temperature 2" in told
        await page.evaluate("document.activeElement.blur()")
        await page.until(f"document.querySelector('{pointed}').textContent === ''")


async def test_the_search_and_the_resource_change_what_is_offered(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/compare?series={TEMPERATURE}:{SENSOR}")
        await page.type("#q", "sleep")
        await page.until("document.querySelectorAll('.offer').length === 1")
        assert await page.evaluate("document.activeElement.id") == "q"
        assert await page.evaluate("document.querySelectorAll('.trace').length") == 1
        await page.evaluate(
            """(() => {
              document.getElementById("q").value = "";
              const kind = document.getElementById("kind");
              kind.value = "3342/5500";
              kind.dispatchEvent(new Event("change", {bubbles: true}));
            })()"""
        )
        await page.until_text("[data-region=offers]", "/3342/0/5500")
        await page.click(".offer input")
        await page.until("document.querySelectorAll('.trace').length === 2")
        axes = "[...document.querySelectorAll('.trace')].map((one) => one.dataset.axis).join()"
        assert await page.evaluate(axes) == "1,2"


async def test_comparing_works_without_a_script(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.open(f"{house.url}/compare?series=/3342/0/5500:{SENSOR}&kind=3303/5700")
        await page.evaluate(f"document.querySelector('[value=\"{TEMPERATURE}:{SENSOR}\"]').checked = true")
        await page.follow("[data-chooser] [type=submit]")
        assert await page.evaluate("document.querySelectorAll('.trace').length") == 2
        text = await page.text("main")
        assert "29.50 °C" in text.replace("29.50°C", "29.50 °C")
        assert "Charts need JavaScript" in text


async def test_a_comparison_is_had_as_a_table_and_a_picture(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(
            f"{house.url}/compare?series={TEMPERATURE}:{SENSOR}&series={TEMPERATURE}:{SLEEPER}&range=1h"
        )
        label = f"document.querySelector('{COMPARISON} [role=img]')?.getAttribute('aria-label') ?? ''"
        await page.until(f"({label}).split('Mean').length === 3")
        await page.evaluate(SAVED)
        await page.click(f"{COMPARISON} [data-csv]")
        await page.until("window.savedAs === 'flownexus-compare.csv'")
        rows = str(await page.evaluate("window.saved.text()")).splitlines()
        assert rows[0] == "endpoint,path,name,units,time_ms,time,min,mean,max,count"
        assert {row.split(",")[0] for row in rows[1:]} == {SENSOR, SLEEPER}
        await page.click(f"{COMPARISON} [data-png]")
        await page.until("window.savedAs === 'flownexus-compare.png'")
        assert (await page.evaluate(PICTURE))[3] > 10
