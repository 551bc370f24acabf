"""A page outlives the daemon: it says so, comes back by itself, and keeps what somebody is typing."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http.server import HttpServer
from flownexus_appliance.http.static import Assets
from tests.unit.http.house import SENSOR, FakeOperations
from tests.unit.http.people import FakeAccess, caller

from .chromium import Chromium, Page
from .conftest import House

NOTICE = ".notice"
TYPED = "Europe/Berlin, half typed"
DeviceUrl = Callable[[str], str]


def access_of(house: House) -> FakeAccess:
    assert isinstance(house.sources.access, FakeAccess)
    return house.sources.access


@asynccontextmanager
async def restarted(house: House) -> AsyncIterator[None]:
    """The daemon anew, at the same address."""
    again = HttpServer(replace(house.options, port=house.server.port), house.sources)
    await again.start()
    try:
        yield
    finally:
        await again.stop()


async def leave(page: Page, *words: str) -> None:
    """Go away from the house before it stops for good. A browser itself tells of refused connections and of
    errors; those that are meant are none to us."""
    await page.open("about:blank")
    page.complaints = [text for text in page.complaints if not any(word in text for word in words)]


AWAY = "The box is restarting or not reachable. This page comes back by itself."


async def write_page(page: Page, url: str) -> None:
    """A page with a form, half filled in."""
    await page.open(f"{url}/resources/3/0/15")
    await page.until_text("#live", "Live")
    await page.type("#value", TYPED)


async def typed(page: Page) -> str:
    return str(await page.evaluate("document.getElementById('value').value"))


async def test_a_page_says_that_the_box_is_away_and_comes_back(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    async with chromium.page() as page:
        await write_page(page, device_url(SENSOR))
        await page.evaluate("document.getElementById('value').focus()")
        await house.server.stop()
        await page.until_text(
            NOTICE, "The box is restarting or not reachable. This page comes back by itself."
        )
        assert await page.evaluate(f"document.querySelector('{NOTICE}').getAttribute('role')") == "status"
        await page.until_text("#live", "Connection lost")
        assert await typed(page) == TYPED
        async with restarted(house):
            await page.until(f"!document.querySelector('{NOTICE}')")
            await page.until_text("#live", "Live")
            house.tell(SENSOR, "/3/0/15", 1.5)
            assert await typed(page) == TYPED
            assert await page.evaluate("document.activeElement.id") == "value"
            await leave(page, "net::ERR_")


@pytest.mark.parametrize("path", ["/system", "/system/log"])
async def test_a_page_without_a_stream_says_so_too(chromium: Chromium, house: House, path: str) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}{path}")
        await house.server.stop()
        await page.until_text(NOTICE, AWAY)
        async with restarted(house):
            await page.until(f"!document.querySelector('{NOTICE}')")
            await leave(page, "net::ERR_")


async def test_what_changed_meanwhile_is_read_anew(chromium: Chromium, house: House) -> None:
    """What is no event: the page of a new daemon says it, and the stream never does."""
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        await house.server.stop()
        await page.until_text("#live", "Connection lost")
        house.fleet.states[SENSOR] = "offline"
        async with restarted(house):
            await page.until_text(f'[data-endpoint="{SENSOR}"] .state', "Offline")
            await leave(page, "net::ERR_")


async def test_tries_grow_apart_to_a_bound(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        source = """
          const set = window.setTimeout;
          window.waits = [];
          window.setTimeout = (task, ms, ...rest) => {
            if (ms >= 750) window.waits.push(ms);
            return set(task, ms >= 750 ? 20 : ms, ...rest);
          };
          Math.random = () => 0.5;"""
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=source)
        await page.open(f"{house.url}/operations")
        await page.until_text("#live", "Live")
        await page.evaluate("waits.length = 0")
        await house.server.stop()
        await page.until("waits.filter((ms) => ms === 15000).length > 2")
        # 2000 is also how long it waits before it says that the box is away.
        waits = await page.evaluate("waits.filter((ms) => ms !== 2000)")
        assert waits[:4] == [1000, 4000, 8000, 15_000]
        assert set(waits[4:]) <= {15_000}
        await leave(page, "net::ERR_")


async def test_an_ended_session_is_told_and_nothing_typed_is_lost(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    access = access_of(house)
    async with chromium.page(390, 844) as page:
        await write_page(page, device_url(SENSOR))
        del access.browsers[Role.ADMIN]
        house.tell(SENSOR, "/3303/0/5700", 3.5)  # what is said next, it is not told any more
        await page.until_text(NOTICE, "Your session has ended.")
        link = await page.evaluate(f"document.querySelector('{NOTICE} a').getAttribute('href')")
        assert link.startswith("/sign-in?next=%2Fdevices%2F")
        assert await page.evaluate(f"document.querySelector('{NOTICE} a').target") == "_blank"
        assert await typed(page) == TYPED

        # Signed in again in another tab: the session is another one, and forms are its own.
        access.browsers[Role.ADMIN] = replace(caller(Role.ADMIN), number=99, form_key=b"of the next session")
        before = await page.evaluate("document.querySelector('#write [name=form_token]').value")
        await page.evaluate("window.dispatchEvent(new Event('focus'))")
        await page.until(f"!document.querySelector('{NOTICE}')")
        await page.until_text("#live", "Live")
        await page.until(f"document.querySelector('#write [name=form_token]').value !== '{before}'")
        assert await typed(page) == TYPED
        await page.follow("#write button[type=submit]")
        await page.until_text('[data-region="told"]', "Write to /3/0/15")
        assert isinstance(house.sources.operations, FakeOperations)
        [asked] = house.sources.operations.asked
        assert [one.value for one in asked.operation.records] == [TYPED]
        await leave(page, "status of 401")


async def test_an_updated_box_offers_to_reload(
    chromium: Chromium, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/operations")
        await page.until_text("#live", "Live")
        assert not await page.evaluate(f"document.querySelector('{NOTICE}')")
        await house.server.stop()
        await page.until_text("#live", "Connection lost")
        load = Assets.load

        def newer(assets: Assets) -> None:
            load(assets)
            assets._version = "0123456789abcdef"

        monkeypatch.setattr(Assets, "load", newer)
        async with restarted(house):
            await page.until_text(NOTICE, "The box was updated.")
            await page.follow(f"{NOTICE} button")
            await page.until_text("#live", "Live")
            version = "document.querySelector('link[rel=icon]').href.split('/static/')[1].split('/')[0]"
            assert await page.evaluate(version) == "0123456789abcdef"
            assert not await page.evaluate(f"document.querySelector('{NOTICE}')")
            await leave(page, "net::ERR_")


async def test_the_pages_can_be_installed(chromium: Chromium, house: House) -> None:
    """Chromium's own look at the manifest, as before it offers to install the pages."""
    async with chromium.page() as page:
        await page.open(f"{house.url}/help")
        found = await page.call("Page.getAppManifest")
        assert found["url"] == f"{house.url}/manifest.webmanifest"
        assert found["errors"] == []
        errors = (await page.call("Page.getInstallabilityErrors"))["installabilityErrors"]
        # The profiles of these tests are incognito ones, into which nothing can be installed.
        assert [error["errorId"] for error in errors] in ([], ["in-incognito"])
