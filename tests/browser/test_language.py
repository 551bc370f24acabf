"""Pages in German: chosen by the browser or by hand, whole from the first paint on, alive all the same."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from flownexus_appliance.http import language, wording
from tests.unit.http.house import QUIET, SENSOR, SLEEPER

from .chromium import Chromium, Page
from .conftest import House

AUSTRIA = "de-AT,de;q=0.9,en;q=0.5"
SENSOR_CARD = f'[data-endpoint="{SENSOR}"]'
CHART = '[data-chart="/3303/0/5700"]'
CATALOGUE = "/js/catalogue/de.js"
DeviceUrl = Callable[[str], str]


@pytest.fixture
def german() -> Iterator[None]:
    token = language.use(language.load("de"))
    yield
    token.var.reset(token)


@asynccontextmanager
async def austrian(chromium: Chromium, width: int = 1280, height: int = 900) -> AsyncIterator[Page]:
    async with chromium.page(width, height) as page:
        await page.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": AUSTRIA})
        yield page


async def test_a_german_browser_gets_german(chromium: Chromium, house: House) -> None:
    async with austrian(chromium) as page:
        await page.open(f"{house.url}/")
        assert await page.evaluate("document.documentElement.lang") == "de"
        assert await page.text("h1") == "Ger\u00e4te"
        assert "29,50" in await page.text(SENSOR_CARD)
        await page.until_text("#live", "Live")
        house.tell(SENSOR, "/3303/0/5700", -31.25)
        await page.until_text(SENSOR_CARD, "\u221231,25")
        house.move(SENSOR, "sleeping")
        await page.until_text(f"{SENSOR_CARD} .state", "Schl\u00e4ft")
        await page.until_text(f"{SENSOR_CARD} footer", "wacht von selbst auf")
        await page.until_text(f"{SENSOR_CARD} footer", "vor ")
        # The texts of scripts are fetched once, beside the scripts themselves.
        asked = [url for url in page.requested if urlsplit(url).path.endswith(CATALOGUE)]
        assert len(asked) == 1
        assert asked[0] == await page.evaluate("document.querySelector('link[rel=modulepreload]').href")


async def test_an_english_browser_loads_no_catalogue(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        assert await page.evaluate("document.documentElement.lang") == "en"
        assert not [url for url in page.requested if "/catalogue/" in url]


async def test_a_choice_outdoes_the_browser(chromium: Chromium, house: House) -> None:
    async with austrian(chromium) as page:
        await page.call("Network.setCookie", name="language", value="en", url=house.url, secure=True)
        await page.open(f"{house.url}/")
        assert await page.evaluate("document.documentElement.lang") == "en"
        assert await page.text("h1") == "Devices"


async def test_numbers_and_times_read_the_same_in_both_places(
    chromium: Chromium, house: House, german: None
) -> None:
    floats = [21.5, -5.25, 0.0314, 0.000123, -1234.5, 101_325.0, 1e18, 0.0]
    wholes = [0, -7, 9999, 86_400, 2**31]
    ages = [0, 2000, 60_000, 3_600_000, 10**11]
    moments = [month * 2_629_800_000 + 951_782_400_000 for month in range(12)]
    async with austrian(chromium) as page:
        await page.open(f"{house.url}/")
        script = await page.evaluate("document.querySelector('script[type=module]').src")
        module = f"import({json.dumps(script.rpartition('/')[0] + '/format.js')})"

        async def each(call: str, values: list[float] | list[int]) -> list[str]:
            told = await page.evaluate(f"{module}.then((m) => {json.dumps(values)}.map((v) => {call}))")
            assert isinstance(told, list)
            return told

        assert await each("m.numberText(v)", floats) == [wording.number_text(value) for value in floats]
        assert await each("m.numberText(v, false, true)", wholes) == [
            wording.number_text(value) for value in wholes
        ]
        assert await each("m.agoText(0, v)", ages) == [wording.ago_text(0, age) for age in ages]
        told = await each("m.momentText(v)", moments)
        assert told == [wording.moment_text(moment) for moment in moments]
        assert len({text.split(" ")[1] for text in told}) == 12


async def test_one_and_many_and_names_in_a_text(chromium: Chromium, house: House) -> None:
    async with austrian(chromium) as page:
        await page.open(f"{house.url}/")
        script = await page.evaluate("document.querySelector('script[type=module]').src")
        module = f"import({json.dumps(script.rpartition('/')[0] + '/language.js')})"
        told = await page.evaluate(
            f"""{module}.then(({{_, n_}}) => [
              ...[0, 1, 2].map((count) => n_("%(num)s device", "%(num)s devices", count)),
              ...[0, 1, 2].map((count) => n_("%(num)s grape", "%(num)s grapes", count)),
              _("Theme: %(name)s", {{ name: "$& %(x)s" }}),
              _("no text of ours"),
            ])"""
        )
        assert told == [
            "0 Ger\u00e4te",
            "1 Ger\u00e4t",
            "2 Ger\u00e4te",
            "0 grapes",
            "1 grape",
            "2 grapes",
            "Darstellung: $& %(x)s",
            "no text of ours",
        ]


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (768, 1024), (1440, 900)])
async def test_german_fits_every_size(
    chromium: Chromium, house: House, device_url: DeviceUrl, width: int, height: int
) -> None:
    paths = (
        "/",
        "/account",
        "/add-device",
        "/audit",
        "/bootstrap",
        "/certificates",
        "/compare",
        "/enrolment",
        "/help",
        "/operations",
        "/people",
        "/system",
        "/system/log",
        "/system/settings",
    )
    urls = [f"{house.url}{path}" for path in paths]
    urls += [device_url(one) for one in (SENSOR, SLEEPER, QUIET)] + [f"{device_url(SENSOR)}/resources/3/0/15"]
    async with austrian(chromium, width, height) as page:
        for url in urls:
            await page.open(url)
            assert await page.evaluate("document.documentElement.lang") == "de"
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(overflow) <= 0, url
            cut = """[...document.querySelectorAll('button, .button, .act, h1, h2, h3, label')]
              .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0
                && getComputedStyle(one).display !== 'inline' && !one.closest('.visually-hidden'))
              .map((one) => one.textContent.trim())"""
            assert await page.evaluate(cut) == [], url


async def test_a_form_says_in_german_what_is_wrong(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    async with austrian(chromium) as page:
        await page.open(f"{house.url}/operations/999999")
        assert await page.text("h1") == "Einen solchen Vorgang gibt es nicht"
        assert "there is no operation 999999" in await page.text('.detail[lang="en"]')
        # The missing operation is a 404, which the browser reports.
        page.complaints = [text for text in page.complaints if "404" not in text]
