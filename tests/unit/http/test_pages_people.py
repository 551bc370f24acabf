"""People, for admins: adding, roles, passwords, what they use, removing; and the last admin, who stays."""

from collections.abc import Mapping

import pytest

from flownexus_appliance.access.passwords import check_password
from flownexus_appliance.access.roles import Role, Way
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.views_people import agent_names

from .conftest import Client
from .page import value, wrong
from .people import ANNA, OTTO, PASSWORD, VERA, FakeAccess, Person
from .signed import Browser

LAST = UsageError("last_admin", "anna is the last admin", "make somebody else an admin first")


@pytest.fixture
def browser(client: Client) -> Browser:
    """Anna's, the admin's."""
    del client.session.headers["Authorization"]
    return Browser(client, "admin")


async def send(browser: Browser, path: str, fields: Mapping[str, str] | None = None) -> str:
    """Send a form of the page of people that is taken; where one is sent."""
    answer = await browser.post(path, fields, seen="/people")
    assert answer.status == 303, answer.html
    return answer.location


async def test_everybody_is_listed(browser: Browser) -> None:
    found = await browser.page("/people")
    for words in ("anna Admin You", "otto Operator", "vera Viewer"):
        assert words in found.text
    assert {"/people/anna", "/people/otto", "/people/vera"} <= set(found.all("href"))
    tabs = [tag for name, tag in found.tags if name == "a" and tag.get("aria-current") == "page"]
    assert [tag["href"] for tag in tabs] == ["/system", "/people"]


async def test_somebody_is_added_with_a_password_of_the_box(browser: Browser, access: FakeAccess) -> None:
    place = await send(browser, "/people", {"name": "maria", "role": "operator", "password": ""})
    assert place.startswith("/new-password/")
    answer = await browser.get(place)
    made = value(answer.page, "given-password")
    assert (access.passwords["maria"], access.people["maria"].role) == (made, Role.OPERATOR)
    check_password(made, "maria")
    assert answer.headers["Cache-Control"] == "no-store"
    again = await browser.get(place)
    assert (again.status, made in again.html) == (410, False)
    other = await browser.get(await send(browser, "/people", {"name": "mario", "role": "viewer"}))
    assert value(other.page, "given-password") != made


async def test_somebody_is_added_with_a_password_of_ones_own(browser: Browser, access: FakeAccess) -> None:
    fields = {"name": "maria", "role": "viewer", "password": "seven slow buses"}
    assert await send(browser, "/people", fields) == "/people?done=added"
    assert access.passwords["maria"] == "seven slow buses"


@pytest.mark.parametrize(
    ("code", "field", "status"),
    [("user_name_invalid", "name", 400), ("user_taken", "name", 409), ("password_weak", "password", 400)],
)
async def test_what_is_wrong_with_somebody_new_is_told_beside_its_field(
    browser: Browser, access: FakeAccess, code: str, field: str, status: int
) -> None:
    access.failure = UsageError(code, "not so: <b>", "otherwise")
    fields = {"name": "<b>maria</b>", "role": "operator", "password": "eight red kites"}
    answer = await browser.post("/people", fields, seen="/people")
    assert (answer.status, wrong(answer.page)) == (status, [field])
    assert value(answer.page, "name") == "<b>maria</b>"
    assert "eight red kites" not in answer.html
    assert [tag["id"] for _, tag in answer.page.tags if "checked" in tag] == ["role-operator"]


async def test_a_role_is_changed(browser: Browser, access: FakeAccess) -> None:
    found = await browser.page("/people/otto")
    assert [tag["id"] for _, tag in found.tags if "checked" in tag] == ["role-operator"]
    place = await send(browser, "/people/otto/role", {"role": "viewer"})
    assert access.people[OTTO].role is Role.VIEWER
    assert access.details[-1] == "viewer"
    assert "The role is changed" in (await browser.page(place)).text
    answer = await browser.post("/people/otto/role", {"role": "king"}, seen="/people")
    assert answer.status == 400


async def test_who_gives_up_being_admin_is_not_left_at_a_closed_door(browser: Browser) -> None:
    assert await send(browser, "/people/anna/role", {"role": "viewer"}) == "/account"


async def test_the_last_admin_stays(browser: Browser, access: FakeAccess) -> None:
    access.failure = LAST
    answer = await browser.post("/people/anna/role", {"role": "viewer"}, seen="/people")
    assert answer.status == 409
    assert "Anna is the last admin" in answer.page.text
    assert "role-wrong" in answer.page.all("aria-describedby")
    assert "That is you." in (await browser.page("/people/anna/remove")).text
    answer = await browser.post("/people/anna/remove", seen="/people")
    assert answer.status == 409
    assert "Make somebody else an admin first." in answer.page.text
    assert ANNA in access.people


async def test_a_password_is_reset(browser: Browser, access: FakeAccess) -> None:
    answer = await browser.get(await send(browser, "/people/otto/password", {"password": ""}))
    assert access.passwords[OTTO] == value(answer.page, "given-password")
    assert "Their sessions have ended." in answer.page.text
    place = await send(browser, "/people/otto/password", {"password": "nine warm stones"})
    assert access.passwords[OTTO] == "nine warm stones"
    assert "The password is set." in (await browser.page(place)).text


async def test_ones_own_password_is_changed_elsewhere(browser: Browser, access: FakeAccess) -> None:
    found = await browser.page("/people/anna")
    assert "/people/anna/password" not in found.all("action")
    answer = await browser.post("/people/anna/password", {"password": "nine warm stones"}, seen="/people")
    assert answer.status == 409
    assert access.passwords == {}


async def test_somebody_is_removed_after_a_question(browser: Browser, access: FakeAccess) -> None:
    found = await browser.page("/people/vera/remove")
    for words in ("Remove vera?", "1 session ends at once.", "1 API token stops to work."):
        assert words in found.text
    assert await send(browser, "/people/vera/remove") == "/people?done=removed"
    assert VERA not in access.people
    assert (await browser.get("/people/vera")).status == 404


async def test_who_removes_oneself_is_signed_out(browser: Browser, access: FakeAccess) -> None:
    assert await send(browser, "/people/anna/remove") == "/sign-in?ended=out"
    assert browser.cookie == ""


async def test_sessions_and_tokens_of_others_are_ended(browser: Browser, access: FakeAccess) -> None:
    found = await browser.page("/people/otto")
    assert "/people/otto/sessions/2/end" in found.all("action")
    assert "/people/otto/tokens/2/remove" in found.all("href")
    await send(browser, "/people/otto/sessions/2/end")
    assert "operator" not in access.browsers
    assert "Remove this token?" in (await browser.page("/people/otto/tokens/2/remove")).text
    await send(browser, "/people/otto/tokens/2/remove")
    assert "operator" not in access.programs
    for path in ("sessions/1/end", "tokens/1/remove"):  # vera's
        assert (await browser.post(f"/people/otto/{path}", seen="/people")).status == 404
    assert {"viewer", "admin"} == set(access.browsers) == set(access.programs)


async def test_html_in_a_name_is_text(browser: Browser, access: FakeAccess) -> None:
    name = "<script>\"&'</script> /?#"
    access.people[name] = Person(name, Role.VIEWER)
    found = await browser.page("/people")
    [url] = [url for url in found.all("href") if url.startswith("/people/%3C")][:1]
    assert name in (await browser.page(url)).text
    assert name in (await browser.page(f"{url}/remove")).text
    await send(browser, f"{url}/remove")
    assert name not in access.people


@pytest.mark.parametrize("path", ["/people/nobody", "/people/nobody/remove", "/people/%3Cb%3E"])
async def test_who_is_not_there_is_not_found(browser: Browser, path: str) -> None:
    assert (await browser.get(path)).status == 404


@pytest.mark.parametrize("cookie", ["viewer", "operator"])
async def test_people_are_for_admins(browser: Browser, access: FakeAccess, cookie: str) -> None:
    browser.cookie = cookie
    token = await browser.token("/account")
    for path in ("/people", "/people/vera", "/audit", "/welcome"):
        assert (await browser.get(path)).status == 403
    answer = await browser.post("/people/vera/role", {"role": "admin"}, token=token)
    assert answer.status == 403
    assert access.people[VERA].role is Role.VIEWER


async def test_a_password_is_nowhere_to_be_read(
    browser: Browser, access: FakeAccess, caplog: pytest.LogCaptureFixture
) -> None:
    await send(browser, "/people", {"name": "maria", "role": "viewer", "password": PASSWORD})
    assert PASSWORD not in str(access.notes) + caplog.text
    assert {who for who, *_ in access.notes} == {ANNA}
    assert access.browsers["admin"].way is Way.SESSION


@pytest.mark.parametrize(
    ("agent", "names"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0", ("Firefox", "Linux")),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
            " Version/18.0 Mobile/15E148 Safari/604.1",
            ("Safari", "iPhone"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"
            " Mobile Safari/537.36",
            ("Chrome", "Android"),
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
            ("Edge", "Windows"),
        ),
        ("curl/8.11.0", ("curl", "")),
        ("Mozilla/5.0 something", ("", "")),
        ("x" * 200, ("x" * 40, "")),
        ("", ("", "")),
    ],
)
def test_browsers_are_called_by_their_names(agent: str, names: tuple[str, str]) -> None:
    assert agent_names(agent) == names
