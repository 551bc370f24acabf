"""How forms are taken, and what is shown once: from our pages alone, in time, never twice."""

import asyncio
from urllib.parse import urlencode

import pytest

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http import pages_forms
from flownexus_appliance.http.pages_once import KEEP_MS, MAX_WAITING, Once
from flownexus_appliance.http.provisioning import EnrolmentGiven, PskGiven

from .conftest import Client
from .page import refused, send
from .trust import FakeCredentials

FIELDS = {"kind": "psk", "endpoint": "a"}
URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
)
async def test_a_form_of_another_site_is_refused(
    client: Client, credentials: FakeCredentials, headers: dict[str, str]
) -> None:
    found = await refused(client, "/add-device", 403, FIELDS, headers)
    assert "comes from another site's page" in found.text
    assert credentials.known == []


async def test_a_form_of_our_own_page_is_taken(client: Client) -> None:
    own = {"Origin": str(client.make_url("/").origin()), "Sec-Fetch-Site": "same-origin"}
    await send(client, "/add-device", FIELDS, own)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/form-data"])
async def test_another_kind_of_body_is_refused(client: Client, content_type: str) -> None:
    await refused(client, "/add-device", 415, FIELDS, {"Content-Type": content_type})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"endpoint=%FF", 400),
        (b"&".join(b"f%d=" % number for number in range(60)), 400),
        (b"endpoint=" + b"x" * 70_000, 413),
        (b"", 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(
    client: Client, credentials: FakeCredentials, body: bytes, status: int
) -> None:
    headers = {"Content-Type": URLENCODED}
    async with client.post("/add-device", data=body, headers=headers) as response:
        assert response.status == status
    assert credentials.known == []


@pytest.mark.parametrize("charset", ["klingon", "punycode", "unicode_escape", "utf-16"])
async def test_another_charset_is_refused(client: Client, charset: str) -> None:
    headers = {"Content-Type": f"{URLENCODED}; charset={charset}"}
    async with client.post("/add-device", data=urlencode(FIELDS), headers=headers) as response:
        assert response.status == 400


async def test_a_form_that_does_not_arrive_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_forms, "BODY_TIMEOUT_S", 0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    head = (
        f"POST /enrolment HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {Role.ADMIN}\r\n"
        f"Content-Type: {URLENCODED}\r\nContent-Length: 9\r\n\r\na"
    )
    writer.write(head.encode())
    assert b" 408 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


def secret(number: int = 0) -> EnrolmentGiven:
    return EnrolmentGiven(number, PskGiven("enrol", "", "aa" * 16), ())


def test_what_is_shown_once_is_gone() -> None:
    once = Once(lambda: 0)
    name = once.put(secret())
    assert once.take(name) == secret()
    assert once.take(name) is None
    assert once.take("") is None
    assert "aa" not in repr(once)


@pytest.mark.parametrize("passed_ms", [KEEP_MS, -1])
def test_what_nobody_fetches_is_forgotten(passed_ms: int) -> None:
    """And where the clock is set back, at once: nobody could tell how long it would be kept."""
    now_ms = [KEEP_MS]
    once = Once(lambda: now_ms[0])
    name = once.put(secret())
    now_ms[0] += KEEP_MS - 1
    kept = once.put(secret(1))
    assert once.take(name) == secret()
    name = kept
    now_ms[0] += passed_ms
    assert once.take(name) is None


def test_no_more_wait_than_there_is_room_for() -> None:
    once = Once(lambda: 0)
    names = [once.put(secret(number)) for number in range(MAX_WAITING + 1)]
    assert len(set(names)) == len(names)
    assert once.take(names[0]) is None
    assert once.take(names[1]) == secret(1)
    assert once.take(names[-1]) == secret(MAX_WAITING)
