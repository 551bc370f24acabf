"""Users, sessions, tokens and the record over REST, by the real `Access`: who may do what with whose."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from flownexus_appliance.access.access import Access
from flownexus_appliance.access.passwords import Passwords
from flownexus_appliance.access.roles import Role
from flownexus_appliance.access.throttle import FREE
from flownexus_appliance.db.store import Store
from flownexus_appliance.http.api_people import PasswordChange, UserChange, UserRequest
from flownexus_appliance.http.api_tokens import DAY_MS, MAX_DAYS
from flownexus_appliance.http.guard import COOKIE
from flownexus_appliance.http.ports import Sources
from flownexus_appliance.http.ports_box import Client as From
from flownexus_appliance.http.server import build_app, join
from tests.conftest import FakeClock

from ..db.test_store import describe
from .conftest import Client
from .house import NOW_MS

ANNA, OTTO, VERA = "anna", "otto", "vera"
PASSWORD, OTHER = "four wet horses", "three dry camels"
HERE = From("127.0.0.1", "pytest")


@dataclass(frozen=True, slots=True)
class Web:
    """The API with the real access behind it."""

    client: Client
    access: Access
    store: Store

    async def browser(self, name: str) -> dict[str, str]:
        """What the browser of somebody who has just signed in sends."""
        signed_in = await self.access.sign_in(name, PASSWORD, HERE, keep=False)
        return {"Cookie": f"{COOKIE}={signed_in.secret}", "Sec-Fetch-Site": "same-origin"}

    async def program(self, name: str, role: Role) -> dict[str, str]:
        """What a program with a token sends."""
        _, secret = await self.access.add_token(name, f"as {role}", role, 0)
        return {"Authorization": f"Bearer {secret}"}

    async def ask(
        self, who: dict[str, str], method: str, path: str, body: object = None, status: int = 200
    ) -> Any:
        url = URL(f"/api/v1{path}", encoded=True)
        async with self.client.request(method, url, json=body, headers=who) as response:
            assert response.status == status, await response.text()
            if status == 204:
                assert await response.read() == b""
                return None
            assert response.headers["Cache-Control"] == "no-store"
            return await response.json()

    async def refused(
        self, who: dict[str, str], method: str, path: str, body: object = None, status: int = 400
    ) -> str:
        found = await self.ask(who, method, path, body, status)
        assert set(found) == {"error", "message", "hint"}
        assert found["hint"]
        return str(found["error"])


@pytest.fixture
async def web(sources: Sources, clock: FakeClock) -> AsyncIterator[Web]:
    """A house with an admin, an operator and a viewer."""
    clock.wall_ms = NOW_MS
    store = Store(sources.reader._path, describe)
    kept = await store.start()
    access = Access(store, clock, Passwords(8, 1))
    await access.start(kept.people)
    for name, role in ((ANNA, Role.ADMIN), (OTTO, Role.OPERATOR), (VERA, Role.VIEWER)):
        await access.add_user(name, role, PASSWORD)
    parts = join(replace(sources, access=access), (), lambda: NOW_MS)
    async with TestClient(TestServer(build_app(parts))) as client:
        yield Web(client, access, store)
    await access.stop()
    await store.stop()


# Users


async def test_an_admin_sees_and_changes_users(web: Web) -> None:
    anna = await web.browser(ANNA)
    await web.program(VERA, Role.VIEWER)
    found = await web.ask(anna, "GET", "/users")
    assert [(one["name"], one["role"], one["sessions"], one["tokens"]) for one in found["items"]] == [
        (ANNA, "admin", 1, 0),
        (OTTO, "operator", 0, 0),
        (VERA, "viewer", 0, 1),
    ]
    assert not any("password" in one or "hash" in str(one) for one in found["items"])
    made = await web.ask(
        anna, "POST", "/users", {"name": " Nora ", "role": "viewer", "password": PASSWORD}, status=201
    )
    assert made == {
        "name": "nora",
        "role": "viewer",
        "made_ms": NOW_MS,
        "changed_ms": NOW_MS,
        "sessions": 0,
        "tokens": 0,
    }
    assert await web.ask(anna, "GET", "/users/Nora") == made
    nora = await web.browser("nora")
    changed = await web.ask(anna, "PATCH", "/users/nora", {"role": "operator"})
    assert (changed["role"], changed["sessions"]) == ("operator", 1)
    assert (await web.ask(nora, "GET", "/account"))["role"] == "operator"
    await web.ask(anna, "PATCH", "/users/nora", {"password": OTHER})
    assert await web.refused(nora, "GET", "/account", status=401) == "sign_in_needed"
    assert await web.ask(anna, "PATCH", "/users/nora", {}) == await web.ask(anna, "GET", "/users/nora")
    assert await web.ask(anna, "DELETE", "/users/nora") == {"removed": 1}
    assert await web.refused(anna, "GET", "/users/nora", status=404) == "user_unknown"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/users", {"name": "Anna", "role": "viewer", "password": PASSWORD}, 409, "user_taken"),
        ("POST", "/users", {"name": "<b>", "role": "viewer", "password": PASSWORD}, 400, "user_name_invalid"),
        ("POST", "/users", {"name": "nora", "role": "viewer", "password": "short"}, 400, "password_weak"),
        ("POST", "/users", {"name": "nora", "role": "king", "password": PASSWORD}, 400, "body_invalid"),
        ("POST", "/users", {"name": "nora", "role": "viewer"}, 400, "body_invalid"),
        ("POST", "/users", {"name": "n", "role": "viewer", "password": 12345678901}, 400, "body_invalid"),
        ("PATCH", "/users/anna", {"role": "viewer"}, 409, "last_admin"),
        ("PATCH", "/users/otto", {"password": "short"}, 400, "password_weak"),
        ("PATCH", "/users/otto", {"name": "karl"}, 400, "body_invalid"),
        ("PATCH", "/users/nora", {"role": "viewer"}, 404, "user_unknown"),
        ("DELETE", "/users/anna", None, 409, "last_admin"),
        ("DELETE", "/users/%3Cb%3E%20%2F", None, 404, "user_unknown"),
        ("GET", "/setup-code", None, 404, "setup_done"),
    ],
)
async def test_what_an_admin_cannot_do(
    web: Web, method: str, path: str, body: object, status: int, error: str
) -> None:
    anna = await web.browser(ANNA)
    before = await web.ask(anna, "GET", "/users")
    assert await web.refused(anna, method, path, body, status) == error
    assert await web.ask(anna, "GET", "/users") == before


def test_passwords_are_in_no_repr() -> None:
    for body in (UserRequest(ANNA, Role.ADMIN, PASSWORD), UserChange(password=PASSWORD)):
        assert PASSWORD not in repr(body)
    assert PASSWORD not in repr(PasswordChange(PASSWORD, PASSWORD))


# One's own account


async def test_everybody_is_told_who_they_are(web: Web) -> None:
    vera = await web.browser(VERA)
    number = web.access.sessions(VERA)[0].id
    assert await web.ask(vera, "GET", "/account") == {
        "name": VERA,
        "role": "viewer",
        "way": "session",
        "session": number,
    }
    program = await web.program(ANNA, Role.OPERATOR)
    assert await web.ask(program, "GET", "/account") == {
        "name": "anna/as operator",
        "role": "operator",
        "way": "token",
        "session": None,
    }


async def test_one_changes_ones_own_password(web: Web) -> None:
    vera, elsewhere = await web.browser(VERA), await web.browser(VERA)
    path = "/account/password"
    assert await web.refused(vera, "POST", path, {"old": OTHER, "new": OTHER}, 403) == "password_wrong"
    assert await web.refused(vera, "POST", path, {"old": PASSWORD, "new": "x"}, 400) == "password_weak"
    program = await web.program(VERA, Role.VIEWER)
    assert await web.refused(program, "POST", path, {"old": PASSWORD, "new": OTHER}, 403) == "session_needed"
    await web.ask(vera, "POST", path, {"old": PASSWORD, "new": OTHER}, 204)
    assert (await web.ask(vera, "GET", "/account"))["name"] == VERA
    assert await web.refused(elsewhere, "GET", "/account", status=401) == "sign_in_needed"
    for _ in range(FREE + 1):
        assert await web.refused(vera, "POST", path, {"old": PASSWORD, "new": PASSWORD}, 403) == (
            "password_wrong"
        )
    assert await web.refused(vera, "POST", path, {"old": OTHER, "new": PASSWORD}, 429) == "sign_in_throttled"


async def test_everybody_sees_and_ends_their_own_sessions(web: Web) -> None:
    vera, elsewhere, otto = await web.browser(VERA), await web.browser(VERA), await web.browser(OTTO)
    found = (await web.ask(vera, "GET", "/sessions"))["items"]
    assert [(one["user"], one["address"], one["agent"]) for one in found] == [
        (VERA, "127.0.0.1", one["agent"]) for one in found
    ]
    (own,) = [one["id"] for one in found if one["own"]]
    (other,) = [one["id"] for one in found if not one["own"]]
    (ottos,) = [one.id for one in web.access.sessions(OTTO)]
    assert await web.ask(vera, "GET", "/sessions?user=vera") == await web.ask(vera, "GET", "/sessions")
    # What is another's is as if it were not there.
    for number in (ottos, 10**14):
        assert await web.refused(vera, "DELETE", f"/sessions/{number}", status=404) == "session_unknown"
    for text in ("x", "-1", "1" * 99, "%00"):
        assert await web.refused(vera, "DELETE", f"/sessions/{text}", status=404) == "session_unknown"
    assert await web.ask(otto, "GET", "/account")
    assert await web.ask(vera, "DELETE", f"/sessions/{other}") == {"removed": 1}
    assert await web.refused(elsewhere, "GET", "/account", status=401) == "sign_in_needed"
    assert await web.ask(vera, "DELETE", f"/sessions/{own}") == {"removed": 1}
    assert await web.refused(vera, "GET", "/account", status=401) == "sign_in_needed"


async def test_an_admin_sees_and_ends_everybodys_sessions(web: Web) -> None:
    anna, vera, otto = await web.browser(ANNA), await web.browser(VERA), await web.browser(OTTO)
    assert [one["user"] for one in (await web.ask(anna, "GET", "/sessions"))["items"]] == [ANNA]
    everybody = (await web.ask(anna, "GET", "/sessions?user="))["items"]
    assert sorted(one["user"] for one in everybody) == [ANNA, OTTO, VERA]
    (veras,) = (await web.ask(anna, "GET", "/sessions?user=Vera"))["items"]
    assert not veras["own"]
    assert await web.refused(anna, "GET", "/sessions?user=nora", status=404) == "user_unknown"
    for what in ("sessions", "tokens"):
        for whose in ("", ANNA, "nora"):
            found = await web.refused(otto, "GET", f"/{what}?user={whose}", status=403)
            assert found == "role_missing"
    assert await web.ask(anna, "DELETE", f"/sessions/{veras['id']}") == {"removed": 1}
    assert await web.refused(vera, "GET", "/account", status=401) == "sign_in_needed"


# Tokens


async def test_one_makes_uses_and_removes_ones_own_tokens(web: Web) -> None:
    otto = await web.browser(OTTO)
    given = await web.ask(otto, "POST", "/tokens", {"name": "script", "role": "admin"}, 201)
    assert given["token"] == {
        "id": given["token"]["id"],
        "user": OTTO,
        "name": "script",
        "role": "operator",
        "made_ms": NOW_MS,
        "expires_ms": NOW_MS + 365 * DAY_MS,
        "used_ms": None,
    }
    program = {"Authorization": f"Bearer {given['secret']}"}
    assert (await web.ask(program, "GET", "/account"))["name"] == "otto/script"
    listed = (await web.ask(otto, "GET", "/tokens"))["items"]
    assert listed == [given["token"] | {"used_ms": NOW_MS}]
    endless = await web.ask(otto, "POST", "/tokens", {"name": "endless", "expires_days": None}, 201)
    assert (endless["token"]["role"], endless["token"]["expires_ms"]) == ("viewer", None)
    vera = await web.browser(VERA)
    number = given["token"]["id"]
    assert await web.refused(vera, "DELETE", f"/tokens/{number}", status=404) == "token_unknown"
    assert await web.refused(vera, "DELETE", "/tokens/x", status=404) == "token_unknown"
    assert await web.ask(otto, "DELETE", f"/tokens/{number}") == {"removed": 1}
    assert await web.refused(program, "GET", "/account", status=401) == "sign_in_needed"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"name": "<b>"}, 400, "token_name_invalid"),
        ({"name": "as viewer"}, 409, "token_taken"),
        ({"name": "x", "user": ANNA}, 403, "role_missing"),
        ({"name": "x", "user": ""}, 403, "role_missing"),
        ({"name": "x", "expires_days": 0}, 400, "body_invalid"),
        ({"name": "x", "expires_days": MAX_DAYS + 1}, 400, "body_invalid"),
        ({"name": "x", "role": "king"}, 400, "body_invalid"),
        ({}, 400, "body_invalid"),
    ],
)
async def test_tokens_that_are_not_made(web: Web, body: object, status: int, error: str) -> None:
    await web.program(OTTO, Role.VIEWER)
    assert await web.refused(await web.browser(OTTO), "POST", "/tokens", body, status) == error
    assert len(web.access.tokens()) == 1


async def test_an_admin_makes_and_removes_anybodys_tokens(web: Web) -> None:
    anna = await web.browser(ANNA)
    body = {"name": "display", "role": "operator", "user": "Vera", "expires_days": 1}
    given = await web.ask(anna, "POST", "/tokens", body, 201)
    assert (given["token"]["user"], given["token"]["role"]) == (VERA, "viewer")
    assert (await web.ask(anna, "GET", "/tokens"))["items"] == []
    assert (await web.ask(anna, "GET", "/tokens?user="))["items"] == [given["token"]]
    assert (await web.ask(anna, "GET", "/tokens?user=vera"))["items"] == [given["token"]]
    assert await web.refused(anna, "POST", "/tokens", body | {"user": "nora"}, 404) == "user_unknown"
    assert await web.refused(anna, "POST", "/tokens", body | {"user": ""}, 400) == "body_invalid"
    assert await web.ask(anna, "DELETE", f"/tokens/{given['token']['id']}") == {"removed": 1}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_a_token_makes_no_more_of_itself(web: Web, role: Role) -> None:
    """One that may only look would make another of its user, an admin, that may do all."""
    program, anna = await web.program(ANNA, role), await web.browser(ANNA)
    session, token = web.access.sessions(ANNA)[0].id, web.access.tokens(ANNA)[0].id
    for method, path in (
        ("POST", "/tokens"),
        ("DELETE", f"/tokens/{token}"),
        ("DELETE", f"/sessions/{session}"),
    ):
        body = {"name": "more", "role": "admin"} if method == "POST" else None
        assert await web.refused(program, method, path, body, 403) == "session_needed"
    assert (await web.ask(program, "GET", "/sessions"))["items"]
    assert await web.refused(program, "GET", "/users", status=403) == "role_missing"
    assert await web.ask(anna, "GET", "/account")
    admin = await web.program(ANNA, Role.ADMIN)
    assert await web.ask(admin, "POST", "/tokens", {"name": "more", "role": "admin"}, 201)


# The record


async def test_the_record_is_read_in_pages_by_an_admin(web: Web) -> None:
    anna = await web.browser(ANNA)
    for number in range(5):
        web.access.note(OTTO if number % 2 else "otto/script", "192.0.2.1", "POST /x", f"t{number}", "")
    web.access.note(VERA, "192.0.2.2", "POST /y", "Kitchen", "role_missing", "detail")
    await web.store.commit()
    newest = (await web.ask(anna, "GET", "/audit?limit=1"))["items"]
    assert newest == [
        {
            "id": 6,
            "time_ms": NOW_MS,
            "who": VERA,
            "address": "192.0.2.2",
            "action": "POST /y",
            "target": "Kitchen",
            "outcome": "role_missing",
            "detail": "detail",
        }
    ]
    first = await web.ask(anna, "GET", "/audit?who=otto&limit=3")
    assert [one["target"] for one in first["items"]] == ["t4", "t3", "t2"]
    second = await web.ask(anna, "GET", f"/audit?who=otto&limit=3&after={first['next']}")
    assert ([one["target"] for one in second["items"]], second["next"]) == (["t1", "t0"], None)
    assert [one["id"] for one in (await web.ask(anna, "GET", "/audit?q=KITCHEN"))["items"]] == [6]
    assert (await web.ask(anna, "GET", f"/audit?from_ms={NOW_MS + 1}"))["items"] == []
    assert (await web.ask(anna, "GET", f"/audit?to_ms={NOW_MS}"))["items"] == []
    assert len((await web.ask(anna, "GET", f"/audit?from_ms={NOW_MS}"))["items"]) == 6
    for query in ("limit=0", "after=x", "from_ms=-1", f"q={'x' * 5000}"):
        assert await web.refused(anna, "GET", f"/audit?{query}", status=400) == "query_invalid"


async def test_who_is_shown_out_while_a_request_is_on_its_way_does_nothing(web: Web) -> None:
    anna, vera = await web.browser(ANNA), await web.browser(VERA)
    await web.ask(anna, "PATCH", "/users/vera", {"role": "admin"})
    sent = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": "nora", "role": "admin",'
        await sent.wait()
        yield f'"password": "{PASSWORD}"}}'.encode()

    headers = vera | {"Content-Type": "application/json"}
    asked = asyncio.create_task(web.client.post("/api/v1/users", data=body(), headers=headers))
    await asyncio.sleep(0.05)
    await web.ask(anna, "PATCH", "/users/vera", {"role": "viewer"})
    sent.set()
    async with await asked as response:
        assert (response.status, (await response.json())["error"]) == (401, "sign_in_needed")
    assert "nora" not in {user.name for user in web.access.users()}


async def test_what_is_done_here_is_on_record(web: Web) -> None:
    anna = await web.browser(ANNA)
    await web.ask(anna, "PATCH", "/users/otto", {"role": "viewer"})
    await web.refused(anna, "DELETE", "/users/anna", status=409)
    await web.ask(anna, "POST", "/users", {"name": "Nora", "role": "viewer", "password": PASSWORD}, 201)
    await web.ask(anna, "POST", "/tokens", {"name": "backup", "user": "nora", "role": "admin"}, 201)
    await web.store.commit()
    found = (await web.ask(anna, "GET", "/audit"))["items"]
    names = ("who", "action", "target", "outcome", "detail")
    assert [tuple(one[name] for name in names) for one in found] == [
        (ANNA, "POST /api/v1/tokens", "", "", "nora/backup, viewer"),
        (ANNA, "POST /api/v1/users", "", "", "nora, viewer"),
        (ANNA, "DELETE /api/v1/users/{name}", ANNA, "last_admin", ""),
        (ANNA, "PATCH /api/v1/users/{name}", OTTO, "", "viewer"),
    ]
    assert PASSWORD not in str(found)
