"""One's own account: what it shows, password, sessions, tokens, language; and whose it is not."""

import pytest
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.access.throttle import SignInThrottled
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import build_app

from .conftest import Client
from .house import NOW_MS
from .page import page, refused, value, wrong
from .people import BEARER, OTTO, PASSWORD, VERA, FakeAccess, Program
from .people import Browser as Session
from .signed import Browser

DAY_MS = 86_400_000
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
NEW = {"old": PASSWORD, "password": "six quiet owls"}


@pytest.fixture
def browser(client: Client) -> Browser:
    """Vera's, who may look at things."""
    del client.session.headers["Authorization"]
    return Browser(client, "viewer")


@pytest.mark.parametrize("role", list(Role))
async def test_it_says_who_one_is_and_what_one_may_do(browser: Browser, role: Role) -> None:
    browser.cookie = role.value
    found = await browser.page("/account")
    may = {"viewer": "Changes nothing.", "operator": "acts on devices", "admin": "changes the box itself"}
    for name, words in may.items():
        assert (words in found.text) is (name == role)
    offered = [
        tag["value"] for name, tag in found.tags if name == "option" and tag.get("value") in list(Role)
    ]
    assert offered == [one.value for one in Role if role.includes(one)]
    assert "/sign-out" in found.all("action")
    menu = {"/people", "/audit"} & set(found.all("href"))
    assert not menu


async def test_the_password_is_changed(browser: Browser, access: FakeAccess) -> None:
    answer = await browser.post("/account/password", NEW, seen="/account")
    assert answer.location == "/account?done=password"
    assert access.passwords[VERA] == NEW["password"]
    assert "The password is changed." in (await browser.page(answer.location)).text


async def test_white_space_is_part_of_a_password(browser: Browser, access: FakeAccess) -> None:
    await browser.post("/account/password", NEW | {"password": " six quiet owls  "}, seen="/account")
    assert access.passwords[VERA] == " six quiet owls  "


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [({"old": "wrong horses"}, 403, "old"), ({"repeat": "six quiet owl"}, 400, "repeat")],
)
async def test_a_wrong_password_is_told_beside_its_field(
    browser: Browser, access: FakeAccess, fields: dict[str, str], status: int, field: str
) -> None:
    answer = await browser.post("/account/password", NEW | fields, seen="/account")
    assert answer.status == status
    assert wrong(answer.page) == [field]
    assert access.passwords == {}
    assert NEW["password"] not in answer.html


async def test_a_weak_password_and_too_many_tries_are_told(browser: Browser, access: FakeAccess) -> None:
    access.failure = UsageError("password_weak", "the password has 3 characters", "use 10 to 256")
    answer = await browser.post("/account/password", NEW, seen="/account")
    assert (answer.status, wrong(answer.page)) == (400, ["password"])
    access.failure = SignInThrottled(9)
    answer = await browser.post("/account/password", NEW, seen="/account")
    assert (answer.status, answer.headers["Retry-After"]) == (429, "9")


async def test_sessions_are_listed_in_words_and_ended(
    browser: Browser, access: FakeAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [
        Session(1, VERA, agent=FIREFOX, used_ms=NOW_MS - 5000),
        Session(7, VERA, kept=True, address="2001:db8::7", agent="curl/8.11 <b>", used_ms=NOW_MS - 7_200_000),
        Session(8, VERA, address=""),
    ]
    ended: list[int] = []

    async def end_session(_self: FakeAccess, number: int) -> None:
        ended.append(number)

    monkeypatch.setattr(FakeAccess, "sessions", lambda _self, user=None: kept if user == VERA else [])
    monkeypatch.setattr(FakeAccess, "end_session", end_session)
    found = await browser.page("/account")
    assert "Firefox on Linux This one 192.0.2.9 · last used 5 s ago" in found.text
    assert "curl 2001:db8::7 · last used 2 h ago" in found.text
    assert "stays signed in" in found.text
    ends = [action for action in found.all("action") if action.endswith("/end")]
    assert ends == ["/account/sessions/7/end", "/account/sessions/8/end"]
    answer = await browser.post("/account/sessions/7/end", seen="/account")
    assert answer.location.startswith("/account?done=session")
    assert ended == [7]
    await browser.post("/account/sessions/end-others", seen="/account")
    assert ended == [7, 7, 8]


@pytest.mark.parametrize("number", ["2", "99", "x", "-1", "9" * 30])
async def test_the_sessions_of_others_are_not_ones_own(
    browser: Browser, access: FakeAccess, number: str
) -> None:
    answer = await browser.post(f"/account/sessions/{number}/end", seen="/account")
    assert answer.status == 404
    assert set(access.browsers) == set(Role)


async def test_a_token_is_made_and_shown_once(browser: Browser, access: FakeAccess) -> None:
    browser.cookie = "operator"
    fields = {"name": "home-assistant", "role": "viewer", "days": "30"}
    answer = await browser.post("/account/tokens", fields, seen="/account")
    assert answer.location.startswith("/new-token/")
    given = await browser.get(answer.location)
    assert given.headers["Cache-Control"] == "no-store"
    secret = value(given.page, "given-token")
    assert access.programs[secret].name == f"{OTTO}/home-assistant"
    assert access.programs[secret].role is Role.VIEWER
    host = f"127.0.0.1:{browser.client.port}"
    assert f"curl --insecure --output flownexus-ca.crt https://{host}/ca.crt" in given.page.text
    assert "curl --cacert flownexus-ca.crt" in given.page.text
    assert f"'Authorization: Bearer {secret}' https://{host}/api/v1/endpoints" in given.page.text
    assert str(NOW_MS + 30 * DAY_MS) in given.page.all("data-moment")
    again = await browser.get(answer.location)
    assert again.status == 410
    assert secret not in again.html
    # It is what it says: a program gets in by it.
    async with browser.client.get(
        "/api/v1/endpoints", headers={"Authorization": f"Bearer {secret}"}
    ) as response:
        assert response.status == 200


async def test_a_token_without_an_end_is_possible(
    browser: Browser, access: FakeAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def add_token(
        _self: FakeAccess, user: str, name: str, role: Role, expires_ms: int
    ) -> tuple[Program, str]:
        asked.append(expires_ms)
        return Program(9, user, name, role), "fnx_9"

    monkeypatch.setattr(FakeAccess, "add_token", add_token)
    fields = {"name": "wall", "role": "viewer", "days": "0"}
    answer = await browser.post("/account/tokens", fields, seen="/account")
    assert asked == [0]
    assert "without an end" in (await browser.page(answer.location)).text


@pytest.mark.parametrize("fields", [{"role": "admin"}, {"role": "king"}, {"days": "7"}, {"days": "-1"}])
async def test_a_token_for_more_than_one_may_is_not_made(
    browser: Browser, access: FakeAccess, fields: dict[str, str]
) -> None:
    sent = {"name": "a", "role": "viewer", "days": "30"} | fields
    answer = await browser.post("/account/tokens", sent, seen="/account")
    assert answer.status == 400
    assert len(access.programs) == len(Role)


async def test_a_wrong_name_of_a_token_is_told_beside_its_field(browser: Browser, access: FakeAccess) -> None:
    access.failure = UsageError("token_name_invalid", "not a name for a token: <b>", "use 1 to 40 of A-Z")
    sent = {"name": "<b>", "role": "viewer", "days": "90"}
    answer = await browser.post("/account/tokens", sent, seen="/account")
    assert (answer.status, wrong(answer.page)) == (400, ["name"])
    assert value(answer.page, "name") == "<b>"
    chosen = [tag["value"] for _, tag in answer.page.tags if "selected" in tag]
    assert chosen == ["viewer", "90", ""] or chosen == ["viewer", "90"]


async def test_a_token_is_removed_after_a_question(browser: Browser, access: FakeAccess) -> None:
    found = await browser.page("/account/tokens/1/remove")
    assert "Remove this token?" in found.text
    answer = await browser.post("/account/tokens/1/remove", seen="/account/tokens/1/remove")
    assert answer.location.startswith("/account?done=token")
    assert "viewer" not in access.programs
    assert (await browser.get("/account/tokens/1/remove")).status == 404


async def test_the_tokens_of_others_are_not_ones_own(browser: Browser, access: FakeAccess) -> None:
    for number in ("2", "3", "x"):
        assert (await browser.get(f"/account/tokens/{number}/remove")).status == 404
        answer = await browser.post(f"/account/tokens/{number}/remove", seen="/account")
        assert answer.status == 404
    assert len(access.programs) == len(Role)


async def test_a_language_is_chosen_and_unchosen(browser: Browser) -> None:
    found = await browser.page("/account")
    assert {"English", "Deutsch"} <= set(found.text.split())
    answer = await browser.post("/account/language", {"language": "de"}, seen="/account")
    assert (answer.location, answer.cookies["language"]) == ("/account?done=language", "de")
    browser.language = "de"
    found = await browser.page("/account")
    assert next(tag["lang"] for name, tag in found.tags if name == "html") == "de"
    assert [
        tag["value"] for _, tag in found.tags if "selected" in tag and tag["value"] in ("", "en", "de")
    ] == ["de"]
    answer = await browser.post("/account/language", {"language": ""}, seen="/account")
    assert answer.cookies["language"] == ""
    answer = await browser.post("/account/language", {"language": "tlh"}, seen="/account")
    assert answer.status == 400


async def test_a_program_has_no_account(parts: Parts, access: FakeAccess) -> None:
    """A token is lent: it makes no other token, and changes no password."""
    async with TestClient(TestServer(build_app(parts)), headers=BEARER[Role.ADMIN]) as program:
        assert "has no account" in (await page(program, "/account", 403, "no-cache")).text
        fields = {"name": "more", "role": "admin", "days": "0", **NEW}
        for path in ("tokens", "password", "sessions/1/end", "sessions/end-others", "tokens/1/remove"):
            await refused(program, f"/account/{path}", 403, fields)
    assert len(access.programs) == len(Role)
    assert access.passwords == {}
