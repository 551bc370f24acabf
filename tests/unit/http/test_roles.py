"""The table of every address and the role it needs, held against the code, and each tried by each role.

The table is tests/vectors/roles.txt: kept by hand, so that no address changes hands unnoticed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http.guard import COOKIE, GATE
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import build_app

from .conftest import Client
from .people import BEARER

TABLE = Path(__file__).parents[2] / "vectors" / "roles.txt"
EVERYBODY = "everybody"
# What stands in the place of names in addresses: nothing that is there.
NAMES = {
    "endpoint": "nobody-of-this-name",
    "id": "999999",
    "name": "nobody",
    "object_id": "65000",
    "path": "3303/0/5700",
    "rest": "",
    "ticket": "no-such-ticket",
    "version": "9.9",
}
ENDLESS = ("/api/v1/stream", "/leshan/api/event")


def table() -> dict[tuple[str, str], Role | None]:
    """By method and address; None is for everybody."""
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            who, method, address = line.split()
            rows[method, address] = None if who == EVERYBODY else Role(who)
    return rows


def tries() -> Iterator[tuple[str, str, Role | None]]:
    for (method, address), needed in table().items():
        yield ("PATCH" if method == "*" else method), address.format(**NAMES), needed


@pytest.fixture
async def stranger(parts: Parts) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(parts))) as client:
        yield client


def test_the_table_has_every_address(parts: Parts) -> None:
    needs = build_app(parts)[GATE].needs
    assert {at: role for at, role in needs.items() if at[0] != "HEAD"} == table()


async def answered(client: Client, method: str, address: str, headers: dict[str, str]) -> tuple[int, str]:
    """The status, and the error's code or where one is led."""
    async with client.request(method, address, headers=headers, allow_redirects=False) as response:
        if response.content_type == "text/event-stream":
            return response.status, ""
        body = await response.read()
        if response.content_type == "application/json" and b'"error":' in body:
            return response.status, (await response.json()).get("error", "")
        return response.status, response.headers.get("Location", "")


@pytest.mark.parametrize("role", Role)
async def test_each_role_may_what_the_table_says(stranger: Client, role: Role) -> None:
    wrong = []
    for method, address, needed in tries():
        async with asyncio.timeout(20):
            status, code = await answered(stranger, method, address, BEARER[role])
        refused = (status, code) == (403, "role_missing")
        if refused != (needed is not None and not role.includes(needed)) or status == 401:
            wrong.append((role, method, address, status, code))
    assert wrong == []


async def test_a_stranger_may_what_is_for_everybody(stranger: Client) -> None:
    wrong = []
    for method, address, needed in tries():
        status, code = await answered(stranger, method, address, {})
        if ((status, code) == (401, "sign_in_needed")) != (needed is not None):
            wrong.append((method, address, status, code))
        if method == "GET" and needed is not None and not address.startswith(("/api/", "/leshan")):
            headers = {"Accept": "text/html"}
            status, location = await answered(stranger, method, address, headers)
            if status != 303 or not location.startswith("/sign-in"):
                wrong.append((method, address, status, location))
    assert wrong == []


@pytest.mark.parametrize("role", Role)
async def test_a_browser_changes_nothing_without_a_form_of_ours(stranger: Client, role: Role) -> None:
    wrong = []
    for method, address, needed in tries():
        if method == "GET" or needed is None or not role.includes(needed):
            continue
        headers = {"Cookie": f"{COOKIE}={role}", "Sec-Fetch-Site": "same-origin"}
        status, code = await answered(stranger, method, address, headers)
        is_form = not address.startswith(("/api/", "/leshan"))
        # A body of nothing is no form at all.
        if is_form and code not in ("media_type_unsupported", "form_stale"):
            wrong.append((method, address, status, code))
        headers["Sec-Fetch-Site"] = "cross-site"
        status, code = await answered(stranger, method, address, headers)
        if (status, code) != (403, "cross_site"):
            wrong.append((method, address, status, code))
    assert wrong == []
