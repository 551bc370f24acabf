"""A person at the door: sets the box up, signs in and out, minds the account and people; by thumb too."""

import json
from collections.abc import AsyncIterator

import pytest

from flownexus_appliance.access.roles import Role
from tests.unit.http.people import ANNA, CODE, PASSWORD, FakeAccess

from .chromium import Chromium, Page
from .conftest import House

SUBMIT = "main form button[type=submit]"
PHONE = (390, 844)
MINE = [
    "/account",
    "/people",
    "/people/otto",
    "/people/otto/remove",
    "/account/tokens/3/remove",
    "/audit",
    "/welcome",
    "/certificates",
]


@pytest.fixture
def access(house: House) -> FakeAccess:
    assert isinstance(house.sources.access, FakeAccess)
    return house.sources.access


@pytest.fixture
async def door(chromium: Chromium, house: House) -> AsyncIterator[Page]:
    """A phone that has no session."""
    async with chromium.page(*PHONE, cookie="") as page:
        yield page


def pardon(page: Page, status: int) -> None:
    """A browser reports every page that is an error; those that are meant are none to us."""
    page.complaints = [text for text in page.complaints if f"status of {status}" not in text]


async def overflow(page: Page) -> float:
    return float(
        await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )


async def sign_in(page: Page, house: House, path: str = "/") -> None:
    await page.open(f"{house.url}{path}")
    await page.type("#name", ANNA)
    await page.type("#password", PASSWORD)
    await page.follow(SUBMIT)


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_box_is_set_up_on_a_phone(
    door: Page, house: House, access: FakeAccess, scripts: bool
) -> None:
    access.people.clear()
    await door.call("Emulation.setScriptExecutionDisabled", value=not scripts)
    await door.open(house.url)
    assert await door.text("h1") == "Make this box yours"
    assert await overflow(door) <= 0
    if scripts:
        await door.until_text(".check", "The two agree.")
    await door.type("#code", "wrong")
    await door.type("#name", "maria")
    await door.type("#password", "three dry camels")
    if not scripts:
        await door.type("#repeat", "three dry camels")
    await door.follow(SUBMIT)
    pardon(door, 403)
    assert "The code is not right." in await door.text("#code-wrong")
    assert await door.evaluate("document.querySelector('.where').open") is True
    await door.evaluate("document.getElementById('code').value = ''")
    await door.type("#code", CODE)
    await door.type("#password", "three dry camels")
    if not scripts:
        await door.type("#repeat", "three dry camels")
    await door.follow(SUBMIT)
    assert await door.text("h1") == "Welcome, maria"
    assert access.people["maria"].role is Role.ADMIN
    assert await overflow(door) <= 0
    await door.follow('a[href="/add-device"]')
    assert await door.evaluate("location.pathname") == "/add-device"


async def test_clocks_that_differ_are_pointed_out(door: Page, house: House, access: FakeAccess) -> None:
    access.people.clear()
    # A browser whose clock is an hour behind: its page began an hour earlier than the box says.
    behind = "Object.defineProperty(performance, 'timeOrigin', {value: performance.timeOrigin - 3600e3})"
    await door.call("Page.addScriptToEvaluateOnNewDocument", source=behind)
    await door.open(house.url)
    await door.until_text(".check", "one of them is wrong")


async def test_one_signs_in_and_out(door: Page, house: House, access: FakeAccess) -> None:
    await sign_in(door, house, "/operations?status=FAILED")
    assert await door.evaluate("location.pathname + location.search") == "/operations?status=FAILED"
    await door.click(".menu summary")
    assert await door.text(".menu-who") == "anna Admin"
    sheet = await door.evaluate("document.querySelector('.menu-sheet').getBoundingClientRect().toJSON()")
    assert 0 <= sheet["left"] < sheet["right"] <= PHONE[0]
    key = {"key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27}
    await door.call("Input.dispatchKeyEvent", type="keyDown", **key)
    await door.until("!document.querySelector('.menu').open")
    assert await door.evaluate("document.activeElement.tagName") == "SUMMARY"
    await door.click(".menu summary")
    await door.click("h1")
    await door.until("!document.querySelector('.menu').open")
    await door.click(".menu summary")
    await door.follow(".menu-sheet button")
    assert "You are signed out." in await door.text("main")
    assert await door.evaluate("document.querySelector('.menu, .places')") is None
    assert set(access.browsers) == set(Role)
    await door.open(f"{house.url}/operations")
    assert await door.text("h1") == "Sign in"


async def test_back_shows_nothing_of_who_has_signed_out(door: Page, house: House) -> None:
    await sign_in(door, house, "/help")
    await door.click(".menu summary")
    await door.follow(".menu-sheet button")
    await door.back()
    assert await door.text("h1") == "Sign in"


async def test_what_is_typed_can_be_looked_at(door: Page, house: House) -> None:
    await door.open(f"{house.url}/sign-in")
    await door.type("#password", "four wet hares")
    kind = "document.getElementById('password').type"
    await door.click("[data-reveal]")
    assert await door.evaluate(kind) == "text"
    await door.click("[data-reveal]")
    assert await door.evaluate(kind) == "password"
    await door.click("[data-reveal]")
    # What a browser is to remember must be a password when it is sent.
    sent = f"""new Promise((resolve) => {{
      document.addEventListener("submit", (event) => {{ event.preventDefault(); resolve({kind}); }});
      document.getElementById("name").value = "anna";
      document.querySelector({json.dumps(SUBMIT)}).click();
    }})"""
    assert await door.evaluate(sent) == "password"


async def test_a_form_of_a_session_that_ended_leads_back_to_its_page(
    door: Page, house: House, access: FakeAccess
) -> None:
    await sign_in(door, house, "/certificates/roll-over")
    access.browsers.clear()
    await door.type("#days", "30")
    await door.follow(SUBMIT)
    assert "Your form was not sent:" in await door.text("main")
    await door.type("#name", ANNA)
    await door.type("#password", PASSWORD)
    await door.follow(SUBMIT)
    assert await door.evaluate("location.pathname") == "/certificates/roll-over"
    assert len(house.sources.certificates.roots()) == 1


async def test_the_theme_is_chosen_by_name_too(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/account")
        await page.evaluate("document.getElementById('theme').value = 'dark'")
        await page.evaluate("document.getElementById('theme').dispatchEvent(new Event('change'))")
        assert await page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert await page.evaluate("document.getElementById('theme-switch').title") == "Theme: dark"
        await page.open(f"{house.url}/account")
        assert await page.evaluate("document.getElementById('theme').value") == "dark"
        await page.click("#theme-switch")  # as the system
        assert await page.evaluate("document.getElementById('theme').value") == "system"


async def test_a_token_is_made_copied_and_gone(chromium: Chromium, house: House, access: FakeAccess) -> None:
    async with chromium.page(*PHONE) as page:
        await page.open(f"{house.url}/account")
        await page.click(".adding summary")
        await page.type("#name", "home-assistant")
        await page.follow('form[action="/account/tokens"] button')
        secret = await page.evaluate("document.getElementById('given-token').value")
        assert access.programs[secret].name == "anna/home-assistant"
        assert await overflow(page) <= 0
        await page.evaluate("window.copied = []")
        await page.evaluate("navigator.clipboard.writeText = async (text) => { copied.push(text); }")
        await page.click('[data-copy="given-curl"]')
        await page.until("copied.length === 1")
        assert secret in await page.evaluate("copied[0]")
        await page.open(await page.evaluate("location.href"))
        assert "shown once already" in await page.text("h1")
        pardon(page, 410)


@pytest.mark.parametrize("scripts", [True, False])
async def test_somebody_is_added_and_removed(
    chromium: Chromium, house: House, access: FakeAccess, scripts: bool
) -> None:
    async with chromium.page() as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        await page.open(f"{house.url}/people")
        await page.click(".adding summary")
        await page.type("#name", "maria")
        await page.click("#role-operator")
        await page.follow('form[action="/people"] button[type=submit]')
        made = await page.evaluate("document.getElementById('given-password').value")
        assert (access.people["maria"].role, access.passwords["maria"]) == (Role.OPERATOR, made)
        await page.follow(".buttons a.primary")
        assert await page.text("h1") == "maria"
        await page.follow('a[href="/people/maria/remove"]')
        await page.follow(SUBMIT)
        assert "Removed." in await page.text("main")
        assert "maria" not in access.people


@pytest.mark.parametrize("width", [320, 390, 820, 1100, 1440])
async def test_nothing_is_wider_than_the_screen(chromium: Chromium, house: House, width: int) -> None:
    async with chromium.page(width, 700) as page:
        for path in MINE:
            await page.open(f"{house.url}{path}")
            assert await overflow(page) <= 0, path


@pytest.mark.parametrize("width", [320, 390, 820])
async def test_the_bar_at_the_bottom_is_for_a_thumb(chromium: Chromium, house: House, width: int) -> None:
    """On narrow screens: at the lower edge, each place with its word, nothing cut, and hiding no focus."""
    async with chromium.page(width, 700) as page:
        await page.open(f"{house.url}/people/otto")
        bar = await page.evaluate("document.querySelector('.places').getBoundingClientRect().toJSON()")
        assert (bar["left"], bar["bottom"]) == (0, 700)
        cut = """[...document.querySelectorAll('.places a')].filter((link) => {
          const box = link.getBoundingClientRect();
          const word = link.querySelector("span");
          return box.height < 44 || box.width < 44 || word.scrollWidth > word.clientWidth + 1;
        }).length"""
        assert await page.evaluate(cut) == 0
        hidden = """[...document.querySelectorAll('main a, main button, main input')].filter((element) => {
          element.focus();
          const box = element.getBoundingClientRect();
          const edge = document.querySelector('.places').getBoundingClientRect().top;
          return element.checkVisibility() && box.bottom > edge + 1;
        }).length"""
        assert await page.evaluate(hidden) == 0


async def test_the_navigation_is_above_on_a_desk(chromium: Chromium, house: House) -> None:
    async with chromium.page(1440, 900) as page:
        await page.open(f"{house.url}/people")
        assert await page.evaluate("document.querySelector('.places').getBoundingClientRect().bottom") < 60
        assert await page.text('.places [aria-current="page"]') == "System"
        assert await page.text('.tabs [aria-current="page"]') == "People"
        assert (
            await page.evaluate("getComputedStyle(document.querySelector('.places .icon')).display") != "none"
        )
