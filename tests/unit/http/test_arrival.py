"""Waiting for a device: what the page of its key says until it has registered, and after."""

import html
import json
import re
from dataclasses import replace

import pytest

from flownexus_appliance.fleet.recipes import RECIPES
from flownexus_appliance.http.credentials import entry_of
from flownexus_appliance.http.pages_once import MAX_TOLD, Once
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.provisioning import Given, PskGiven
from flownexus_appliance.http.qr import svg
from flownexus_appliance.http.views_recipes import CLIENT_NAMES, CLIENT_NOTES, CLIENTS, TITLES

from .conftest import Client
from .house import NOW_MS, QUIET, SENSOR
from .page import check_policy, device, page, refused, send, value
from .trust import FakeCredentials

URI = "coaps://192.0.2.7:5684"
KEY = "00112233445566778899aabbccddeeff"


@pytest.fixture
def parts(parts: Parts) -> Parts:
    return replace(parts, coap_uris=(URI, "coap://127.0.0.1:5683"))


async def give(page_client: Client, /, **fields: str) -> str:
    return await send(page_client, "/add-device", {"kind": "psk", **fields})


async def test_the_page_of_a_key_waits(client: Client, credentials: FakeCredentials) -> None:
    found = await page(client, await give(client, endpoint="kitchen"), cache="no-store")
    check_policy(found)
    assert "Waiting for kitchen" in found.text
    assert "See whether it has come (in a new tab)" in found.text
    assert f"The device must reach {URI} by UDP" in found.text
    number = credentials.known[0].id
    assert found.all("data-ask") == [f"/credentials/{number}/arrival"]
    assert found.all("data-stream-after")


async def test_it_has_come_when_it_is_registered_by_this_credential(
    client: Client, credentials: FakeCredentials
) -> None:
    # Registered already, by something else: the new key has not been used.
    await give(client, endpoint=SENSOR, identity="new", label="")
    number = credentials.known[0].id
    place = f"/credentials/{number}/arrival"
    assert "Waiting for Greenhouse" in (await page(client, place)).text
    credentials.use(number, NOW_MS - 12_000)
    found = await page(client, place)
    check_policy(found)
    assert "Greenhouse has registered" in found.text
    assert "for the first time: 12 s ago" in found.text
    assert device(SENSOR) in found.all("href")
    assert "Temperature" in found.text
    assert "It does not come?" not in found.text


async def test_a_proof_is_no_registration(client: Client, credentials: FakeCredentials) -> None:
    await give(client, endpoint=QUIET)
    credentials.use(1, NOW_MS)
    found = await page(client, "/credentials/1/arrival")
    assert "It has proved its credential, and has not registered yet." in found.text
    assert "Waiting for" in found.text


async def test_nobody_waits_for_what_is_none(client: Client) -> None:
    await page(client, "/credentials/1/arrival", 404)
    await page(client, "/credentials/x/arrival", 404)


async def test_an_address_of_this_machine_alone_is_told(parts: Parts, client: Client) -> None:
    object.__setattr__(parts, "coap_uris", ("coaps://127.0.0.1:5684",))
    found = await page(client, await give(client, endpoint="a"), cache="no-store")
    assert "The box is reached from this machine alone now" in found.text


# What was chosen


@pytest.mark.parametrize(
    ("client_name", "first"),
    [
        ("zephyr", "CONFIG_NET_SAMPLE_LWM2M_SERVER="),
        ("nrf91", "AT+CFUN=4"),
        ("esp32", "CONFIG_NET_SAMPLE_LWM2M_SERVER="),
        ("anjay", "./demo"),
        ("leshan", "java -jar"),
        ("simulator", "flownexus sim --name kitchen"),
        ("other", "coap-client"),
    ],
)
async def test_the_chosen_client_comes_first(client: Client, client_name: str, first: str) -> None:
    place = await give(client, endpoint="kitchen", client=client_name, key="11" * 16)
    assert place.endswith(f"?for={client_name}")
    async with client.get(place) as response:
        text = html.unescape(await response.text())
    lines = re.findall(r'<code id="recipe-\d+">(.*?)</code>', text, re.DOTALL)
    assert lines[0].startswith(("# Holds a key", first))
    assert first in lines[0]
    assert len(lines) == len(TITLES)
    assert text.count("CONFIG_WIFI=y") == (client_name == "esp32")
    opened = text.index('<details class="card recipe" open>')
    assert opened < text.index("Waiting for kitchen") < text.index("What to enter into other clients")


async def test_without_a_choice_the_first_is_open(client: Client, credentials: FakeCredentials) -> None:
    await give(client, endpoint="a")
    place = await send(client, "/credentials/1/renew")
    found = await page(client, place, cache="no-store")
    assert "What to enter into other clients" not in found.text
    assert [tag for _, tag in found.tags if "recipe" in tag.get("class", "").split() and "open" in tag]


async def test_a_client_that_is_none_is_refused(client: Client, credentials: FakeCredentials) -> None:
    found = await refused(client, "/add-device", 400, {"kind": "psk", "endpoint": "a", "client": "<b>"})
    assert "choose one of zephyr" in found.text.lower()
    assert credentials.known == []


async def test_a_form_keeps_what_was_entered(client: Client) -> None:
    fields = {"endpoint": "a", "kind": "psk", "client": "nrf91", "identity": "id", "label": "<roof>"}
    found = await refused(client, "/add-device", 400, {**fields, "key": "zz"})
    assert [value(found, name) for name in ("endpoint", "identity", "label")] == ["a", "id", "<roof>"]
    checked = {tag["id"] for _, tag in found.tags if "checked" in tag}
    assert checked == {"client-nrf91", "kind-psk"}
    assert "A key is never sent back to a page: enter it again." in found.text
    certificate = {"endpoint": "a", "kind": "certificate", "csr": "no request", "valid_days": "30"}
    found = await refused(client, "/add-device", 400, certificate)
    assert value(found, "valid_days") == "30"
    assert "no request" in found.text


def test_every_client_has_its_words() -> None:
    assert set(CLIENTS) == set(CLIENT_NAMES) == set(CLIENT_NOTES)
    assert {name for names in CLIENTS.values() for name in names} == set(TITLES)
    assert set(TITLES) == set(RECIPES) - {"env"}


# Shown once, and then


async def test_who_comes_again_is_led_to_a_renewal(client: Client, credentials: FakeCredentials) -> None:
    place = await give(client, endpoint="kitchen")
    await page(client, place, cache="no-store")
    gone = await page(client, place, 410, cache="no-store")
    check_policy(gone)
    assert "Renew the credential of kitchen" in gone.text
    assert "/credentials/1/renew" in gone.all("href")
    await credentials.remove(1)
    assert "/credentials/1/renew" not in (await page(client, place, 410, cache="no-store")).all("href")
    assert "Renew the credential" not in (await page(client, "/given/unknown", 410, cache="no-store")).text


async def test_what_was_told_is_known_for_a_while(credentials: FakeCredentials) -> None:
    once = Once(lambda: NOW_MS)
    given = Given(entry_of(await credentials.add_psk("a")), PskGiven("a", "61", KEY), None, (URI,))
    names = [once.put(given) for _ in range(1)]
    assert once.told(names[0]) is None
    once.take(names[0])
    assert once.told(names[0]) == 1
    for _ in range(MAX_TOLD):
        once.take(once.put(given))
    assert once.told(names[0]) is None


# The QR code


async def test_a_code_holds_what_the_device_is_to_hold(client: Client) -> None:
    async with client.get(await give(client, endpoint='a"<b>', identity="id", key=KEY)) as response:
        text = await response.text()
    held = {"endpoint": 'a"<b>', "uri": URI, "identity": "id", "key": KEY}
    assert svg(json.dumps(held, separators=(",", ":"))) in text
    assert "It holds one line of JSON: endpoint and uri, identity and key." in text


async def test_a_certificate_is_not_in_its_code(client: Client) -> None:
    async with client.get(await give(client, endpoint="cam", kind="certificate")) as response:
        text = await response.text()
    assert svg(json.dumps({"endpoint": "cam", "uri": URI}, separators=(",", ":"))) in text
    assert "A certificate is too large for it." in text


def test_a_code_is_dark_on_light_with_a_quiet_zone() -> None:
    drawn = svg("x")
    assert drawn.startswith("<svg ")
    assert "style" not in drawn
    size = int(re.findall(r'viewBox="0 0 (\d+) ', drawn)[0])
    assert size == 21 + 2 * 4
    assert f'fill="#fff" d="M0 0h{size}v{size}h-{size}z"' in drawn
    assert 'stroke="#000" d="M4 4.5h7' in drawn
