"""How the pages behave in a browser: search, themes, sizes, policy, and the same words as the box writes."""

import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from flownexus_appliance.http import wording
from tests.unit.http.house import QUIET, SENSOR, STRANGE

from .chromium import Chromium
from .conftest import House

DeviceUrl = Callable[[str], str]
# How far what was on the page has moved, and what it was that moved.
SHIFT = """new Promise((resolve) => {
  const found = {sum: 0, moved: []};
  new PerformanceObserver((list) => {
    for (const {value, sources} of list.getEntries()) {
      found.sum += value;
      for (const {node, previousRect: a, currentRect: b} of sources) {
        found.moved.push(`${node?.className || node?.nodeName}: ${a.x},${a.y} to ${b.x},${b.y}`);
      }
    }
  }).observe({type: "layout-shift", buffered: true});
  setTimeout(() => resolve(found), 300);
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (768, 1024), (1440, 900)])
async def test_pages_fit_every_size_and_stand_still(
    chromium: Chromium, house: House, device_url: DeviceUrl, width: int, height: int, scheme: str
) -> None:
    for url in (f"{house.url}/", device_url(SENSOR), device_url(STRANGE), device_url(QUIET)):
        async with chromium.page(width, height, scheme) as page:
            await page.open(url)
            await page.until_text("#live", "Live")
            if url == device_url(SENSOR):
                await page.until("document.querySelector('[data-chart] canvas')")
            house.tell(SENSOR, "/3303/0/5700", 123.75)
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(overflow) <= 0
            shift = await page.evaluate(SHIFT)
            assert shift["sum"] < 0.05, (url, shift["moved"])
            assert {urlsplit(request).netloc for request in page.requested} == {urlsplit(url).netloc}


async def test_a_choice_of_theme_is_kept(chromium: Chromium, house: House) -> None:
    async with chromium.page(scheme="light") as page:
        await page.open(f"{house.url}/")
        paper = "getComputedStyle(document.documentElement).backgroundColor"
        light = await page.evaluate(paper)
        await page.click("#theme-switch")  # light
        await page.click("#theme-switch")  # dark
        dark = await page.evaluate(paper)
        assert dark != light
        await page.open(f"{house.url}/")
        assert await page.evaluate(paper) == dark
        assert await page.evaluate("document.getElementById('theme-switch').title") == "Theme: dark"
        await page.click("#theme-switch")  # as the system
        assert await page.evaluate(paper) == light


async def test_search_finds_while_one_types(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.type("#q", "greenh")
        await page.until("document.querySelectorAll('.device').length === 1")
        assert await page.evaluate("location.search") == "?q=greenh"
        assert await page.evaluate("document.activeElement.id") == "q"
        await page.until_text("#found", "1 device")
        await page.type("#q", "zzz")
        await page.until_text("[data-region=list]", "No device answers to that")


async def test_pages_read_without_a_script(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    async with chromium.page() as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.open(f"{house.url}/")
        text = await page.text("main")
        assert "29.50°C" in text
        assert "Greenhouse" in text
        await page.open(device_url(SENSOR))
        assert "Charts need JavaScript" in await page.text("main")
        for sign in ("live", "theme-switch"):  # they would promise what does not work
            shown = f"getComputedStyle(document.getElementById('{sign}')).display"
            assert await page.evaluate(shown) == "none"


async def test_a_script_from_a_name_never_runs(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    name = "<img src=x onerror=alert(1)>"
    async with chromium.page() as page:
        await page.open(device_url(name))
        assert name in await page.text("h1")
        # The missing device is a 404, which the browser reports.
        page.complaints = [text for text in page.complaints if "404" not in text]


async def test_everything_is_reached_by_keyboard(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        reached: list[str] = []
        for _ in range(27):
            for kind in ("keyDown", "keyUp"):
                await page.call(
                    "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
                )
            reached.append(
                await page.evaluate(
                    "document.activeElement.id || document.activeElement.getAttribute('href')"
                    " || document.activeElement.type || document.activeElement.tagName"
                )
            )
        assert reached[0] == "#content"
        assert {"theme-switch", "q", "submit", "/?state=online"} <= set(reached)
        assert any(one.startswith("/devices/") for one in reached)


# The browser's words are the box's words


async def test_numbers_read_the_same_in_both_places(chromium: Chromium, house: House) -> None:
    numbers = [
        sign * digit * 10.0**power
        for sign in (1, -1)
        for digit in (1.2345, 9.8765)
        for power in range(-6, 17)
    ]
    numbers += [0.0, -0.0, 1.0, 9999.9, 10_000.4, 999.96, 0.0009]
    wholes = [0, 7, -7, 9999, 10_000, -10_000, 86_400, 2**31, -(2**53) + 1]
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        script = await page.evaluate("document.querySelector('script[type=module]').src")
        module = f"import({json.dumps(script.replace('overview.js', 'format.js'))})"
        floats = await page.evaluate(
            f"{module}.then((m) => {json.dumps(numbers)}.map((n) => m.numberText(n)))"
        )
        assert floats == [wording.number_text(number) for number in numbers]
        degrees = await page.evaluate(
            f"{module}.then((m) => {json.dumps(numbers)}.map((n) => m.numberText(n, true)))"
        )
        assert degrees == [wording.number_text(number, degrees=True) for number in numbers]
        whole = await page.evaluate(
            f"{module}.then((m) => {json.dumps(wholes)}.map((n) => m.numberText(n, false, true)))"
        )
        assert whole == [wording.number_text(number) for number in wholes]


async def test_times_read_the_same_in_both_places(chromium: Chromium, house: House) -> None:
    ages = [-5000, 0, 1999, 2000, 59_999, 60_000, 3_599_999, 3_600_000, 172_799_999, 172_800_000, 10**11]
    moments = [0, 1_795_000_000_000, 951_782_400_000]
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        script = await page.evaluate("document.querySelector('script[type=module]').src")
        module = f"import({json.dumps(script.replace('overview.js', 'format.js'))})"
        told = await page.evaluate(f"{module}.then((m) => {json.dumps(ages)}.map((a) => m.agoText(0, a)))")
        assert told == [wording.ago_text(0, age) for age in ages]
        told = await page.evaluate(f"{module}.then((m) => {json.dumps(moments)}.map((t) => m.momentText(t)))")
        assert told == [wording.moment_text(moment) for moment in moments]


async def test_states_read_the_same_in_both_places(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        script = await page.evaluate("document.querySelector('script[type=module]').src")
        module = f"import({json.dumps(script.replace('overview.js', 'texts.js'))})"
        assert await page.evaluate(f"{module}.then((m) => m.TEXTS.states)") == dict(wording.STATES)
        assert await page.evaluate(f"{module}.then((m) => m.TEXTS.notes)") == dict(wording.STATE_NOTES)
