"""Who is let in where: the one place that decides, by session, token and console, whatever is asked for."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http import guard
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import build_app

from .conftest import Client
from .house import SENSOR
from .people import BEARER, FakeAccess

PAGE = {"Accept": "text/html"}
FORM = "/devices/urn%3Aimei%3A352656100123456/operations"
READ = {"ask": "read /3/0/9"}
HERE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def stranger(parts: Parts) -> AsyncIterator[Client]:
    """A client that brings nothing by itself."""
    async with TestClient(TestServer(build_app(parts))) as client:
        yield client


def signed_in(role: Role) -> dict[str, str]:
    return {"Cookie": f"{guard.COOKIE}={role}", **PAGE}


async def token_of(client: Client, role: Role, path: str = "/operations") -> str:
    async with client.get(path, headers=signed_in(role)) as response:
        assert response.status == 200
        found = re.search(rf'name="{guard.FORM_FIELD}" value="([^"]+)"', await response.text())
    assert found is not None
    return found[1]


async def post(
    client: Client, role: Role, fields: Mapping[str, str], headers: Mapping[str, str] = HERE
) -> tuple[int, str]:
    """A form as a signed-in browser sends it: the status, and the page or where it leads."""
    async with client.post(
        FORM, data=fields, headers={**signed_in(role), **headers}, allow_redirects=False
    ) as response:
        return response.status, response.headers.get("Location") or await response.text()


@pytest.mark.parametrize("way", ["session", "token"])
async def test_who_is_known_is_let_in(stranger: Client, way: str) -> None:
    headers = signed_in(Role.VIEWER) if way == "session" else BEARER[Role.VIEWER]
    async with stranger.get("/api/v1/endpoints", headers=headers) as response:
        assert response.status == 200


async def test_a_stranger_with_a_program_is_told_how(stranger: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Cookie": f"{guard.COOKIE}=nonsense"}):
        async with stranger.get("/api/v1/endpoints", headers=headers) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            answer = await response.json()
            assert (answer["error"], "token" in answer["hint"]) == ("sign_in_needed", True)


async def test_a_wrong_token_is_not_made_good_by_a_cookie(stranger: Client) -> None:
    headers = signed_in(Role.ADMIN) | {"Authorization": "Bearer nonsense", "Accept": "*/*"}
    async with stranger.get("/api/v1/endpoints", headers=headers) as response:
        assert response.status == 401


async def test_a_cookie_of_another_program_on_this_machine_keeps_nobody_out(stranger: Client) -> None:
    ours = f"{guard.COOKIE}={Role.VIEWER}"
    for cookies in (f"a(b=c; {ours}", f'other={{"a": [1]}}; {ours}', f"nothing; =; {ours}; {guard.COOKIE}=x"):
        async with stranger.get("/account", headers=PAGE | {"Cookie": cookies}) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("path", "cookie", "expected"),
    [
        ("/", "", {}),
        ("/devices/a%2Fb?range=1h", "", {"next": ["/devices/a%2Fb?range=1h"]}),
        ("/operations", "nonsense", {"next": ["/operations"], "ended": ["1"]}),
        ("/nothing/here", "", {"next": ["/nothing/here"]}),
    ],
)
async def test_a_stranger_with_a_browser_is_led_to_the_door(
    stranger: Client, path: str, cookie: str, expected: dict[str, list[str]]
) -> None:
    headers = PAGE | ({"Cookie": f"{guard.COOKIE}={cookie}"} if cookie else {})
    async with stranger.get(path, headers=headers, allow_redirects=False) as response:
        assert response.status == 303
        led = urlsplit(response.headers["Location"])
    assert (led.path, parse_qs(led.query)) == ("/sign-in", expected)


async def test_a_form_of_one_whose_session_ended_is_not_lost_without_a_word(
    stranger: Client, access: FakeAccess
) -> None:
    token = await token_of(stranger, Role.OPERATOR)
    access.browsers.clear()
    status, location = await post(stranger, Role.OPERATOR, {**READ, guard.FORM_FIELD: token})
    assert (status, location) == (303, "/sign-in?ended=form")


async def test_before_anybody_can_sign_in_there_is_only_the_setup(
    stranger: Client, access: FakeAccess
) -> None:
    access.people.clear()
    access.browsers.clear()
    access.programs.clear()
    async with stranger.get("/devices/x", headers=PAGE, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/setup")
    async with stranger.get("/api/v1/endpoints") as response:
        assert (response.status, (await response.json())["error"]) == (403, "setup_needed")
    async with stranger.get("/healthz") as response:
        assert response.status == 200


async def test_a_role_that_is_not_enough_is_told_which_would_be(stranger: Client) -> None:
    headers = BEARER[Role.VIEWER]
    async with stranger.patch("/api/v1/endpoints/x", json={"label": "y"}, headers=headers) as response:
        answer = await response.json()
    assert (response.status, answer["error"]) == (403, "role_missing")
    assert answer["message"] == "vera/script has the role viewer, and this is for operator"


async def test_a_form_is_taken_once(stranger: Client, access: FakeAccess, parts: Parts) -> None:
    fields = {**READ, guard.FORM_FIELD: await token_of(stranger, Role.OPERATOR)}
    status, location = await post(stranger, Role.OPERATOR, fields)
    assert status == 303, location
    for _ in range(2):
        status, text = await post(stranger, Role.OPERATOR, fields)
        assert status == 409
        assert "sent already" in text
    assert len(parts.operations.asked) == 1  # type: ignore[attr-defined]
    assert [note[4] for note in access.notes] == ["", "form_replayed", "form_replayed"]


async def test_a_form_needs_a_token_of_this_very_person(stranger: Client, parts: Parts) -> None:
    others = await token_of(stranger, Role.ADMIN)
    for token in ("", "nonsense", "A" * 36, others, "ä"):
        status, text = await post(stranger, Role.OPERATOR, {**READ, guard.FORM_FIELD: token})
        assert status == 403, token
        assert "another session" in text
    assert parts.operations.asked == []  # type: ignore[attr-defined]


async def test_two_tabs_do_not_disturb_each_other(stranger: Client) -> None:
    first, second = await token_of(stranger, Role.OPERATOR), await token_of(stranger, Role.OPERATOR)
    assert first != second
    for token in (first, second):
        assert (await post(stranger, Role.OPERATOR, {**READ, guard.FORM_FIELD: token}))[0] == 303


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://elsewhere.example"},
    ],
)
async def test_what_comes_with_a_cookie_comes_from_a_page_of_this_box(
    stranger: Client, parts: Parts, headers: dict[str, str]
) -> None:
    token = await token_of(stranger, Role.OPERATOR)
    status, _ = await post(stranger, Role.OPERATOR, {**READ, guard.FORM_FIELD: token}, headers)
    assert status == 403
    given = {**signed_in(Role.OPERATOR), **headers, "Accept": "*/*"}
    path = f"/api/v1/endpoints/{SENSOR}"
    async with stranger.patch(path, json={"label": "x"}, headers=given) as response:
        assert (response.status, (await response.json())["error"]) == (403, "cross_site")
    assert parts.operations.asked == []  # type: ignore[attr-defined]


async def test_an_old_browser_says_where_it_is_by_the_origin(stranger: Client) -> None:
    origin = {"Origin": str(stranger.make_url("")).rstrip("/")}
    token = await token_of(stranger, Role.OPERATOR)
    status, _ = await post(stranger, Role.OPERATOR, {**READ, guard.FORM_FIELD: token}, origin)
    assert status == 303


async def test_a_program_needs_no_form_token(stranger: Client) -> None:
    async with stranger.post(
        FORM, data=READ, headers=BEARER[Role.OPERATOR], allow_redirects=False
    ) as response:
        assert response.status == 303


async def test_changes_are_on_record_with_who_and_what(stranger: Client, access: FakeAccess) -> None:
    path = "/api/v1/endpoints/kitchen%2F1"
    for role, label in ((Role.OPERATOR, "x"), (Role.VIEWER, "x"), (Role.OPERATOR, "x" * 999)):
        async with stranger.patch(path, json={"label": label}, headers=BEARER[role]) as response:
            await response.read()
    async with stranger.get("/api/v1/endpoints", headers=BEARER[Role.VIEWER]) as response:
        assert response.status == 200
    action = "PATCH /api/v1/endpoints/{endpoint}"
    noted = [(who, what, target) for who, _, what, target, _ in access.notes]
    assert noted == [(f"{who}/script", action, "kitchen/1") for who in ("otto", "vera", "otto")]
    assert [outcome for *_, outcome in access.notes][1] == "role_missing"
    assert all(outcome for *_, outcome in access.notes)


async def test_what_another_site_tries_is_on_record(stranger: Client, access: FakeAccess) -> None:
    status, _ = await post(stranger, Role.OPERATOR, READ, {"Sec-Fetch-Site": "cross-site"})
    assert status == 403
    assert [(who, outcome) for who, *_, outcome in access.notes] == [("otto", "cross_site")]


async def test_what_is_not_served_so_is_told_and_not_on_record(stranger: Client, access: FakeAccess) -> None:
    for path, status in (("/operations", 405), ("/nothing", 404)):
        headers = signed_in(Role.ADMIN) | HERE
        async with stranger.post(path, data={}, headers=headers) as response:
            assert response.status == status
        async with stranger.post(path, headers=PAGE, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/sign-in?ended=form")
    assert access.notes == []


async def test_what_a_stranger_tries_in_vain_is_not(stranger: Client, access: FakeAccess) -> None:
    async with stranger.post("/api/v1/endpoints", json={}) as response:
        assert response.status == 401
    assert access.notes == []


async def test_a_page_has_only_what_is_for_who_looks(stranger: Client) -> None:
    shown = {}
    for role in Role:
        async with stranger.get("/", headers=signed_in(role)) as response:
            shown[role] = await response.text()
    assert ["/add-device" in shown[role] for role in Role] == [False, True, True]


async def test_an_address_without_a_role_is_for_admins(parts: Parts) -> None:
    app = build_app(parts)

    async def forgotten(_: object) -> None:
        raise AssertionError("nobody asked for a role")

    app.router.add_get("/forgotten", forgotten)  # type: ignore[arg-type]
    async with TestClient(TestServer(app)) as client:
        async with client.get("/forgotten", headers=BEARER[Role.OPERATOR]) as response:
            assert response.status == 403
        async with client.get("/forgotten", headers=BEARER[Role.ADMIN]) as response:
            assert response.status == 500


async def test_a_stream_ends_with_the_session(stranger: Client, access: FakeAccess, parts: Parts) -> None:
    async with stranger.get("/api/v1/stream", headers=signed_in(Role.VIEWER)) as response:
        assert response.status == 200
        await response.content.readuntil(b"id: ")
        del access.browsers[Role.VIEWER]
        parts.bus.publish("presence", {"endpoint": SENSOR, "presence": "offline", "time_ms": 1})
        rest = await response.content.read()
    assert b"offline" not in rest


def test_form_tokens_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_SPENT", 3)
    gate = guard.Gate()
    assert all(gate.spend(bytes([number])) for number in range(4))
    assert not gate.spend(b"\x03")
    assert len(gate.spent) == 3


def test_a_caller_shows_no_key() -> None:
    caller = replace(FakeAccess().browsers[Role.ADMIN], form_key=b"hidden away")
    assert "hidden" not in repr(caller)
