"""Coming in: set up with the code, signing in and out, where one is led then, and what a stranger may see."""

import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.access.throttle import SignInThrottled
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.answers import MAX_BODY_BYTES
from flownexus_appliance.http.guard import COOKIE
from flownexus_appliance.http.pages_sign_in import local
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import build_app
from flownexus_appliance.http.wording import fingerprint_text

from .conftest import Client
from .page import check_policy, value, wrong
from .people import ANNA, CODE, PASSWORD, FakeAccess
from .signed import Browser
from .trust import FakeCertificates

MINE = {"code": CODE, "name": "maria", "password": "three dry camels", "keep": "1"}
ANNAS = {"name": ANNA, "password": PASSWORD}


@pytest.fixture
async def bare(parts: Parts) -> AsyncIterator[Client]:
    """A client that brings nothing by itself."""
    async with TestClient(TestServer(build_app(parts))) as client:
        yield client


@pytest.fixture
def browser(bare: Client) -> Browser:
    return Browser(bare)


@pytest.fixture
def unclaimed(access: FakeAccess) -> FakeAccess:
    """A box that nobody has set up."""
    access.people.clear()
    return access


async def test_a_new_box_leads_to_its_setup(browser: Browser, unclaimed: FakeAccess) -> None:
    for path in ("/", "/sign-in", "/devices/a", "/people"):
        assert (await browser.get(path)).location == "/setup", path
    found = await browser.page("/setup")
    for words in ("flownexus setup-code", "journalctl -u flownexus", "Is it really your box?"):
        assert words in found.text
    inputs = {tag["id"]: tag for name, tag in found.tags if name == "input" and "id" in tag}
    assert inputs["code"]["autocomplete"] == "one-time-code"
    assert inputs["name"]["autocomplete"] == "username"
    assert inputs["password"]["autocomplete"] == "new-password"
    assert not [tag for name, tag in found.tags if name == "nav" or tag.get("action") == "/sign-out"]


async def test_the_setup_shows_what_the_browser_should_show(
    browser: Browser, unclaimed: FakeAccess, certificates: FakeCertificates
) -> None:
    shown = next(one for one in certificates.describe() if one.kind.value == "https")
    found = await browser.page("/setup")
    assert fingerprint_text(shown.fingerprint) in found.text.replace(": ", ":")


async def test_the_code_makes_the_first_admin_who_is_welcomed(
    browser: Browser, unclaimed: FakeAccess, certificates: FakeCertificates
) -> None:
    answer = await browser.post("/setup", MINE)
    assert (answer.status, answer.location) == (303, "/welcome")
    assert unclaimed.people["maria"].role is Role.ADMIN
    found = await browser.page("/welcome")
    for words in ("Welcome, maria", "Add your first device", "Look around", "box.local", "Signed by the box"):
        assert words in found.text, words
    assert {"/add-device", "/", "/ca.crt"} <= set(found.all("href"))
    assert ("maria", "POST /setup", "") in [
        (who, what, outcome) for who, _, what, _, outcome in unclaimed.notes
    ]
    # It is done: nobody can do it again.
    stranger = Browser(browser.client)
    assert (await stranger.get("/setup")).location == "/sign-in"
    assert (await stranger.post("/setup", MINE)).location == "/sign-in?ended=setup"
    assert "set up already" in (await stranger.page("/sign-in?ended=setup")).text


async def test_a_code_may_come_with_the_address(browser: Browser, unclaimed: FakeAccess) -> None:
    found = await browser.page("/setup?code=%3Cb%3E7K3M")
    assert value(found, "code") == "<b>7K3M"


async def test_a_wrong_code_is_told_beside_its_field(browser: Browser, unclaimed: FakeAccess) -> None:
    answer = await browser.post("/setup", MINE | {"code": "AAAA-BBBB-CCCC", "name": "<i>maria</i>"})
    assert answer.status == 403
    check_policy(answer.page)
    assert wrong(answer.page) == ["code"]
    assert value(answer.page, "name") == "<i>maria</i>"
    assert MINE["password"] not in answer.html
    assert answer.headers["Cache-Control"] == "no-store"
    assert not unclaimed.people
    assert COOKIE not in answer.cookies


async def test_a_password_typed_twice_must_be_the_same(browser: Browser, unclaimed: FakeAccess) -> None:
    answer = await browser.post("/setup", MINE | {"repeat": "three dry camel"})
    assert answer.status == 400
    assert wrong(answer.page) == ["repeat"]
    assert not unclaimed.people
    assert (await browser.post("/setup", MINE | {"repeat": MINE["password"]})).location == "/welcome"


async def test_a_doubtful_clock_is_said_at_once(
    browser: Browser, unclaimed: FakeAccess, certificates: FakeCertificates
) -> None:
    certificates.doubtful = "it is before <2024>"
    assert "The clock is not trusted: it is before <2024>" in (await browser.page("/setup")).text
    await browser.post("/setup", MINE)
    assert "The clock is not trusted:" in (await browser.page("/welcome")).text


async def test_signing_in_leads_where_one_wanted(browser: Browser) -> None:
    answer = await browser.get("/devices/a%2Fb?range=7d")
    assert answer.location.startswith("/sign-in?next=")
    found = await browser.page(answer.location)
    following = next(tag["value"] for _, tag in found.tags if tag.get("name") == "next")
    assert following == "/devices/a%2Fb?range=7d"
    answer = await browser.post("/sign-in", ANNAS | {"next": following})
    assert (answer.status, answer.location) == (303, following)
    assert (await browser.get("/sign-in")).location == "/"
    assert "anna" in (await browser.page("/account")).text


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/a\\b",
        "/a\r\nSet-Cookie: a=b",
        "https://evil.example/",
        "evil",
        "javascript:alert(1)",
        "/é",
        "/a b",
        "/" + "a" * 3000,
        "/sign-in?next=/",
        "/setup",
        "",
    ],
)
async def test_what_leads_elsewhere_leads_to_the_devices(browser: Browser, address: str) -> None:
    assert local(address) == ""
    answer = await browser.post("/sign-in", ANNAS | {"next": address})
    assert (answer.status, answer.location) == (303, "/")


@pytest.mark.parametrize(("keep", "kept"), [({"keep": "1"}, True), ({}, False)])
async def test_a_session_stays_where_it_is_wanted_to(
    browser: Browser, access: FakeAccess, keep: dict[str, str], kept: bool
) -> None:
    answer = await browser.post("/sign-in", ANNAS | keep)
    cookie = answer.headers["Set-Cookie"]
    assert ("Max-Age" in cookie) is kept
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))


async def test_a_wrong_password_is_refused_and_on_record(browser: Browser, access: FakeAccess) -> None:
    answer = await browser.post("/sign-in", ANNAS | {"password": "four dry horses", "next": "/operations"})
    assert answer.status == 403
    check_policy(answer.page)
    assert "Name or password is not right." in answer.page.text
    assert value(answer.page, "name") == ANNA
    assert "four dry horses" not in answer.html
    assert [tag["value"] for _, tag in answer.page.tags if tag.get("name") == "next"] == ["/operations"]
    assert [note[0::2] for note in access.notes] == [(ANNA, "POST /sign-in", "sign_in_refused")]


async def test_what_stands_in_the_place_of_a_name_is_not_put_on_record(
    browser: Browser, access: FakeAccess
) -> None:
    answer = await browser.post("/sign-in", {"name": PASSWORD, "password": ""})
    assert answer.status == 403
    assert access.notes == []


async def test_who_tries_too_often_is_told_how_long_to_wait(browser: Browser, access: FakeAccess) -> None:
    access.failure = SignInThrottled(37)
    answer = await browser.post("/sign-in", ANNAS)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "37")
    assert "Wait 37 seconds" in answer.page.text
    access.people.clear()
    answer = await browser.post("/setup", MINE)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "37")


async def test_signing_out_ends_the_session(browser: Browser, access: FakeAccess) -> None:
    browser.cookie = "viewer"
    answer = await browser.post("/sign-out", seen="/account")
    assert answer.location == "/sign-in?ended=out"
    assert answer.cookies[COOKIE] == ""
    assert "viewer" not in access.browsers
    assert "You are signed out." in (await browser.page("/sign-in?ended=out")).text


async def test_a_session_that_has_ended_is_told_of_once(browser: Browser) -> None:
    browser.cookie = "ended"
    answer = await browser.get("/operations")
    assert answer.location == "/sign-in?next=%2Foperations&ended=1"
    answer = await browser.get(answer.location)
    assert "Your session has ended." in answer.page.text
    assert answer.cookies[COOKIE] == ""


async def test_a_form_of_a_session_that_has_ended_is_said_to_be_lost(
    browser: Browser, access: FakeAccess
) -> None:
    browser.cookie = "admin"
    token = await browser.token("/certificates/roll-over")
    del access.browsers["admin"]
    answer = await browser.post("/certificates/roll-over", {"days": "30"}, token=token)
    assert answer.location == "/sign-in?ended=form"
    # A browser says at the page it is sent to where it stood.
    port = browser.client.port
    came = {"Referer": f"http://127.0.0.1:{port}/certificates/roll-over"}
    answer = await browser.get(answer.location, came)
    assert "Your form was not sent:" in answer.page.text
    following = [tag["value"] for _, tag in answer.page.tags if tag.get("name") == "next"]
    assert following == ["/certificates/roll-over"]
    elsewhere = await browser.get("/sign-in?ended=form", {"Referer": "https://evil.example/certificates"})
    assert 'name="next"' not in elsewhere.html


async def test_in_two_tabs_both_can_sign_in(browser: Browser, access: FakeAccess) -> None:
    await browser.post("/sign-in", ANNAS)
    first = browser.cookie
    answer = await browser.post("/sign-in", ANNAS | {"next": "/operations"})
    assert (answer.status, answer.location) == (303, "/operations")
    assert browser.cookie != first
    assert first not in access.browsers


async def test_another_site_cannot_sign_anybody_in(browser: Browser) -> None:
    async with browser.client.post(
        "/sign-in", data=ANNAS, headers={"Sec-Fetch-Site": "cross-site", "Accept": "text/html"}
    ) as response:
        assert response.status == 403
        assert COOKIE not in response.cookies


async def test_a_password_of_two_megabytes_is_refused(browser: Browser) -> None:
    answer = await browser.post("/sign-in", ANNAS | {"password": "x" * (2 << 20)})
    assert answer.status == 413
    assert f"Send at most {MAX_BODY_BYTES} bytes" in answer.page.text


async def test_a_trouble_of_the_box_itself_is_shown(browser: Browser, access: FakeAccess) -> None:
    access.failure = UsageError("store_full", "the database does not keep up", "try again")
    answer = await browser.post("/sign-in", ANNAS)
    assert answer.status == 503
    assert "The database does not keep up." in answer.page.text


@pytest.mark.parametrize("cookie", ["", "viewer", "admin"])
async def test_everybody_gets_the_root_to_trust(
    browser: Browser, certificates: FakeCertificates, cookie: str
) -> None:
    browser.cookie = cookie
    answer = await browser.get("/ca.crt")
    assert (answer.status, answer.headers["Content-Type"]) == (
        200,
        "application/x-x509-ca-cert; charset=utf-8",
    )
    assert ssl.PEM_cert_to_DER_cert(answer.html) == certificates.roots()[0]


async def test_a_form_sent_twice_says_so(browser: Browser, access: FakeAccess) -> None:
    browser.cookie = "admin"
    token = await browser.token("/people")
    fields = {"name": "maria", "role": "viewer"}
    assert (await browser.post("/people", fields, token=token)).status == 303
    answer = await browser.post("/people", fields | {"name": "mario"}, token=token)
    assert answer.status == 409
    assert "The form was sent already" in answer.page.text
    assert "mario" not in access.people
