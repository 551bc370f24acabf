"""The enrolment window by its page: opened by a button, its key told once, who came, closed again."""

from dataclasses import replace

import pytest

from flownexus_appliance.db.credentials import CredentialOrigin, Proof, ProofKind
from flownexus_appliance.http.ports import Parts

from .conftest import Client
from .house import NOW_MS
from .page import check_policy, device, page, refused, send, value
from .trust import FakeCredentials


@pytest.fixture
def parts(parts: Parts) -> Parts:
    return replace(parts, coap_uris=("coaps://192.0.2.7:5684",))


async def test_it_is_closed_at_first(client: Client) -> None:
    found = await page(client, "/enrolment", cache="no-store")
    check_policy(found)
    assert "No device can enrol now" in found.text
    assert "Let new devices enrol for 10 minutes" in found.text
    assert "Nobody yet" in found.text


async def test_its_key_is_told_once(client: Client, credentials: FakeCredentials) -> None:
    place = await send(client, "/enrolment")
    found = await page(client, place, cache="no-store")
    check_policy(found)
    assert credentials.window is not None
    assert value(found, "given-identity") == "enrol"
    assert value(found, "given-key") == credentials.window.key.hex()
    assert value(found, "given-uri") == "coaps://192.0.2.7:5684"
    assert "Closes by itself in 10:00" in found.text
    assert str(NOW_MS + 600_000) in found.all("data-until")
    again = await page(client, place, cache="no-store")
    assert "Open" in again.text
    assert credentials.window.key.hex() not in str(again.tags)
    assert "was shown when it was opened" in again.text


async def test_a_key_of_an_earlier_window_is_not_told(client: Client, credentials: FakeCredentials) -> None:
    place = await send(client, "/enrolment")
    credentials.open_enrolment(60)
    found = await page(client, place, cache="no-store")
    assert "given-key" not in found.all("id")


async def test_a_devices_key_is_not_told_here(client: Client) -> None:
    given = await send(client, "/add-device", {"kind": "psk", "endpoint": "a"})
    await send(client, "/enrolment")
    name = given.removeprefix("/given/")
    found = await page(client, f"/enrolment?key={name}", cache="no-store")
    assert "given-key" not in found.all("id")


async def test_it_is_closed_by_a_button(client: Client, credentials: FakeCredentials) -> None:
    await send(client, "/enrolment")
    assert await send(client, "/enrolment/close") == "/enrolment"
    assert credentials.window is None
    assert await send(client, "/enrolment/close") == "/enrolment"


async def test_it_tells_who_enrolled_of_late(client: Client, credentials: FakeCredentials) -> None:
    for number, name in enumerate(["first", "a/<b>", "other"]):
        origin = CredentialOrigin.OPERATOR if name == "other" else CredentialOrigin.ENROLMENT
        credentials.add(name, Proof(ProofKind.PSK, bytes([number])), origin=origin)
    yesterday = replace(credentials.known[0], made_ms=NOW_MS - 25 * 3_600_000)
    credentials.known[0] = yesterday
    found = await page(client, "/enrolment", cache="no-store")
    assert "a/<b> just now · not come back with its own key yet" in found.text
    assert device("a/<b>") in found.all("href")
    assert "first" not in found.text
    assert "other" not in found.text
    credentials.use(2, NOW_MS)
    assert "not come back" not in (await page(client, "/enrolment", cache="no-store")).text


async def test_the_newest_come_first_and_not_all(client: Client, credentials: FakeCredentials) -> None:
    for number in range(60):
        proof = Proof(ProofKind.PSK, bytes([number]))
        credentials.add(f"device-{number}", proof, origin=CredentialOrigin.ENROLMENT)
    found = await page(client, "/enrolment", cache="no-store")
    listed = [href for href in found.all("href") if href.startswith("/devices/")]
    assert listed[0] == device("device-59")
    assert len(listed) == 50


async def test_only_this_box_opens_it(client: Client, credentials: FakeCredentials) -> None:
    await refused(client, "/enrolment", 403, {}, {"Sec-Fetch-Site": "cross-site"})
    await refused(client, "/enrolment", 403, {}, {"Origin": "https://elsewhere.example"})
    assert credentials.window is None
