"""The overview in the browser: what is chosen changes in place, and the page loads little and stays still."""

import json
import sqlite3
from contextlib import closing
from typing import Final

import pytest

from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from tests.unit.http.house import QUIET, SENSOR, SLEEPER, STRANGE, FakeOperations, Outcome
from tests.unit.http.noting import note

from .chromium import Chromium, Page
from .conftest import House

TEMPERATURE: Final = "/3303/0/5700"
VALUE: Final = f'.value[data-path="{TEMPERATURE}"]'
CARD: Final = f'.device[data-endpoint="{SENSOR}"]'
MAX_TRANSFER_BYTES: Final = 150_000
MAX_SHIFT: Final = 0.05
LOADED: Final = """new Promise((resolve) => {
  let shift = 0;
  const add = (entry) => { if (!entry.hadRecentInput) shift += entry.value; };
  const watch = new PerformanceObserver((list) => list.getEntries().forEach(add));
  watch.observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => {
    watch.takeRecords().forEach(add);
    const files = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
    const page = files.filter((file) => !new URL(file.name).pathname.startsWith("/api/"));
    resolve({ shift, bytes: page.reduce((sum, file) => sum + file.transferSize, 0), files: page.length });
  }));
})"""


def tag(house: House) -> None:
    with closing(sqlite3.connect(house.database)) as connection, connection:
        note(connection, SENSOR, None, ["Garden", "<b>room</b>"])
        note(connection, SLEEPER, None, ["Garden"])


def link(key: str) -> str:
    return f'a[data-key="{key}"]'


async def shown(page: Page, *endpoints: str) -> None:
    """Wait until these cards are there, in this order."""
    cards = '[...document.querySelectorAll(".device")].map((card) => card.dataset.endpoint)'
    await page.until(f"JSON.stringify({cards}) === JSON.stringify({json.dumps(endpoints)})")


async def test_choices_change_the_list_in_place(chromium: Chromium, house: House) -> None:
    tag(house)
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.evaluate("void (window.stayed = true)")
        await shown(page, SENSOR, STRANGE, QUIET, SLEEPER)
        await page.evaluate(f"document.querySelector({json.dumps(link('tag Garden'))}).focus()")
        await page.click(link("tag Garden"))
        await shown(page, SENSOR, SLEEPER)
        assert await page.evaluate("location.search") == "?tag=Garden"
        # The keyboard stays where it was, and the ear hears what was found.
        assert await page.evaluate("document.activeElement.dataset.key") == "tag Garden"
        await page.until_text("#found", "2 devices")
        await page.click(link("state sleeping"))
        await shown(page, SLEEPER)
        # A search keeps what was chosen.
        await page.type("#q", "nothing")
        await page.until_text('[data-region="list"]', "No device answers to that")
        kept = "Object.fromEntries(new URLSearchParams(location.search))"
        assert await page.evaluate(kept) == {"q": "nothing", "state": "sleeping", "tag": "Garden"}
        await page.evaluate("history.back()")
        await shown(page, SENSOR, SLEEPER)
        assert await page.evaluate("document.getElementById('q').value") == ""
        assert await page.evaluate("window.stayed") is True


async def test_the_last_of_two_quick_choices_counts(chromium: Chromium, house: House) -> None:
    tag(house)
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.evaluate("void (window.stayed = true)")
        first, second = json.dumps(link("tag Garden")), json.dumps(link("state offline"))
        await page.evaluate(f"[{first}, {second}].forEach((one) => document.querySelector(one).click())")
        await shown(page, QUIET)
        assert await page.evaluate("[location.search, window.stayed]") == ["?state=offline", True]


async def test_a_device_lives_under_each_of_its_tags(chromium: Chromium, house: House) -> None:
    tag(house)
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        await page.click(link("group"))
        await shown(page, SENSOR, SENSOR, SLEEPER, STRANGE, QUIET)
        assert await page.text("h2.group") == "<b>room</b> 1 device"
        drawn = f"[...document.querySelectorAll('{CARD} [data-spark=\"{TEMPERATURE}\"] path.line')]"
        await page.until(f"{drawn}.filter((line) => line.getAttribute('d')).length === 2")
        house.tell(SENSOR, TEMPERATURE, 31.25)
        written = f"[...document.querySelectorAll('{CARD} {VALUE}')].map((one) => one.textContent)"
        await page.until(f"{written}.join() === '31.25,31.25'")
        house.move(SENSOR, "sleeping")
        states = f"[...document.querySelectorAll('{CARD}')].map((card) => card.dataset.state)"
        await page.until(f"{states}.join() === 'sleeping,sleeping'")


async def test_the_list_may_change_while_its_lines_are_fetched(chromium: Chromium, house: House) -> None:
    """Of a young device the last hour is asked for, of an old one the last day: one after the other."""
    async with chromium.page() as page:
        await page.open(f"{house.url}/help")
        asked = await page.evaluate("""(async () => {
          const icon = document.querySelector("link[rel=icon]").href;
          const { Sparklines } = await import(new URL("../js/sparkline.js", icon));
          const answers = [];
          window.fetch = () => new Promise((resolve) => answers.push(resolve));
          const list = document.createElement("div");
          for (const since of [Date.now(), 1]) {
            const card = list.appendChild(document.createElement("p"));
            Object.assign(card.dataset, { endpoint: `device ${since}`, since });
            card.innerHTML = '<svg data-spark="/3303/0/5700" width="50" height="20"></svg>';
          }
          document.querySelector("h1").after(list);
          const lines = new Sparklines();
          lines.attach(list);
          while (!answers.length) await new Promise((resolve) => setTimeout(resolve, 20));
          list.replaceChildren();
          lines.attach(list);
          answers[0](new Response('{"items": []}'));
          await new Promise((resolve) => setTimeout(resolve, 200));
          return answers.length;
        })()""")
        assert asked == 1


@pytest.mark.parametrize("width", [320, 390])
async def test_many_tags_are_pushed_along_and_the_page_is_not(
    chromium: Chromium, house: House, width: int
) -> None:
    with closing(sqlite3.connect(house.database)) as connection, connection:
        note(connection, SENSOR, None, [f"a room of the house {number}" for number in range(12)])
    async with chromium.page(width, 844) as page:
        await page.open(f"{house.url}/")
        chips = "document.querySelector('.chips-first')"
        assert await page.evaluate(f"{chips}.scrollWidth - {chips}.clientWidth") > 0
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await page.evaluate(wide) <= 0
        cut = "[...document.querySelectorAll('.tile')].filter((one) => one.scrollWidth > one.clientWidth)"
        assert await page.evaluate(f"{cut}.length") == 0
        words = "[...document.querySelectorAll('.tile-name')].map((one) => getComputedStyle(one).fontSize)"
        assert set(await page.evaluate(words)) == {"12px"}


async def test_a_failure_stands_out_by_itself(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        await page.until_text('[data-vital="failed"]', "None")
        operations = house.sources.operations
        assert isinstance(operations, FakeOperations)
        read = Operation(Kind.READ, (Path.of(3, 0, 9),))
        operations.now_ms = await page.evaluate("Date.now()")
        asked = await operations.ask(SENSOR, read, "web")
        await operations.end(
            asked.id, Status.FAILED, Outcome("FAILED", "4.05").operation(SENSOR, read).outcome
        )
        house.bus.publish("operation", {"endpoint": SENSOR, "id": asked.id, "status": "FAILED"})
        await page.until('document.querySelector("[data-vital=failed]").dataset.level === "warning"')
        assert await page.text('[data-vital="failed"] .vital-value') == "1"
        await page.follow('[data-vital="failed"]')
        assert await page.evaluate("location.pathname + location.search") == "/operations?status=FAILED"


async def test_the_page_is_light_and_stays_still(chromium: Chromium, house: House) -> None:
    tag(house)
    for width, height in ((390, 844), (1024, 768), (1440, 900)):
        async with chromium.page(width, height) as page:
            await page.call("Network.setCacheDisabled", cacheDisabled=True)
            await page.open(f"{house.url}/")
            await page.until('document.getElementById("live").dataset.live === "live"')
            await page.until(f"document.querySelector('{CARD} [data-spark] path')?.getAttribute('d')")
            loaded = await page.evaluate(LOADED)
            assert loaded["bytes"] < MAX_TRANSFER_BYTES
            assert loaded["files"] > 10
            assert loaded["shift"] < MAX_SHIFT
            # Nothing sticks out at the side.
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
