"""The pages as they leave the box: readable without a script, right in any language of names."""

from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.db.credentials import Proof, ProofKind
from flownexus_appliance.http.ports import Parts, PlainCoap
from flownexus_appliance.http.server import build_app

from .conftest import Client
from .house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet, secured
from .page import check_policy, device, page
from .people import BEARER
from .trust import FakeCertificates, FakeCredentials

PAGES = ["/", "/?state=sleeping", "/?q=nothing", device(SENSOR), device(STRANGE), device(QUIET), "/nothing"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_obeys_its_own_policy(client: Client, path: str) -> None:
    """No inline script or style and nothing from elsewhere; names and ids are sound."""
    check_policy(await page(client, path, 404 if path == "/nothing" else 200))


async def test_the_overview_reads_without_a_script(client: Client) -> None:
    found = await page(client, "/")
    for words in (
        "4 All",
        "2 Online",
        "1 Sleeping",
        "1 Offline",
        "Greenhouse",
        "Nordic <Semi> Thingy:91",
        "29.50 °C",
        "87 %",
        "Last heard 12 s ago",
        "wakes by itself",
        STRANGE,
        "No readings yet",
    ):
        assert words in found.text, words
    assert {device(name) for name in (SENSOR, SLEEPER, STRANGE, QUIET)} <= set(found.all("href"))
    assert set(found.all("data-endpoint")) == {SENSOR, SLEEPER, STRANGE, QUIET}


async def test_the_overview_filters_and_searches(client: Client) -> None:
    assert (await page(client, "/?state=sleeping")).all("data-endpoint") == [SLEEPER]
    assert (await page(client, "/?q=greenh")).all("data-endpoint") == [SENSOR]
    found = await page(client, "/?q=kitchen%2Fnorth&state=offline")
    assert found.all("data-endpoint") == []
    assert "No device answers to that" in found.text
    # The search stays in the links to the states.
    assert "/?q=kitchen%2Fnorth&state=online" in found.all("href")


async def test_a_device_page_reads_without_a_script(client: Client) -> None:
    found = await page(client, device(SENSOR))
    for words in (
        "Greenhouse",
        SENSOR,
        "Nordic <Semi> Thingy:91",
        "Firmware 1.4.2",
        "every 5 min",
        "LwM2M 1.1, UDP",
        "SenML CBOR, SenML JSON",
        "Always listening",
        "192.168.1.20:5683",
        "Sensor Value /3303/0/5700",
        "29.50 °C",
        "No error",
        "On/Off switch",
        "01ff",
        "reported by itself",
        "Serial Number /3/0/2 not read yet",  # by the model
        "Reboot /3/0/4 Execute",
        "Nothing was asked of it yet",
    ):
        assert words in found.text, words
    # Sensors first, what lives in the device after them, the rest apart.
    assert found.all("data-chart") == ["/3303/0/5700", "/3342/0/5500", "/3/0/9", "/3/0/11/0"]


async def test_a_time_is_left_to_the_browsers_zone(client: Client) -> None:
    found = await page(client, device(SENSOR))
    assert "1794996400000" in found.all("data-moment")


async def test_a_sleeping_device_is_explained(client: Client) -> None:
    found = await page(client, device(SLEEPER))
    assert "Sleeps between messages and wakes by itself" in found.text


async def test_a_device_that_never_registered_has_a_page(client: Client) -> None:
    found = await page(client, device(QUIET))
    assert "Not registered now" in found.text
    assert found.all("data-chart") == []


@pytest.mark.parametrize(
    ("endpoint", "query", "current"),
    [(QUIET, "", "1h"), (SENSOR, "", "24h"), (SENSOR, "?range=7d", "7d"), (STRANGE, "?range=1y", "1y")],
)
async def test_the_range_is_chosen_by_address_or_age(
    client: Client, endpoint: str, query: str, current: str
) -> None:
    found = await page(client, device(endpoint) + query)
    chosen = [a["data-range"] for _, a in found.tags if "data-range" in a and "aria-current" in a]
    assert chosen == [current]


@pytest.mark.parametrize("path", ["/?page=0", "/?page=x", "/?state=x", device(SENSOR) + "?range=2d"])
async def test_a_bad_address_is_explained_on_a_page(client: Client, path: str) -> None:
    found = await page(client, path, 400)
    assert "Back to the devices" in found.text
    assert "not usable" in found.text


async def test_an_empty_house_tells_how_to_begin(
    client: Client, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(parts.reader, "endpoints", none)
    found = await page(client, "/")
    assert "Waiting for the first device" in found.text
    assert "coap://127.0.0.1:5683" in found.text


async def test_a_page_says_up_to_which_event_it_is_right(client: Client, parts: Parts) -> None:
    assert (await page(client, "/")).all("data-stream-after") == ["0"]
    parts.hub._bus.publish("presence", {"endpoint": SENSOR, "presence": "online", "time_ms": 1})
    assert (await page(client, device(SENSOR))).all("data-stream-after") == ["1"]


async def test_what_speaks_unencrypted_is_marked_by_a_word(client: Client) -> None:
    found = await page(client, "/?q=sleeper")
    assert "Unencrypted Model not told yet" in found.text
    assert "Unencrypted" not in (await page(client, f"/?q={QUIET}")).text  # not registered
    found = await page(client, device(SENSOR))
    assert "Connection Unencrypted" in found.text
    assert f"/add-device?endpoint={SENSOR.replace(':', '%3A')}" in found.all("href")


async def test_a_session_is_told_with_what_it_proved(
    client: Client, parts: Parts, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    secured(parts.reader, monkeypatch)
    fleet.proofs[SENSOR] = Proof(ProofKind.PSK, b"id <of> it")
    found = await page(client, device(SENSOR))
    assert "Connection DTLS, Pre-shared key id <of> it" in found.text
    assert "Unencrypted" not in found.text
    fleet.proofs[SENSOR] = Proof(ProofKind.CERTIFICATE, b"\xab" * 32)
    assert "DTLS, Certificate AB:AB" in (await page(client, device(SENSOR))).text
    fleet.proofs.clear()  # a session that was not kept
    assert "Connection DTLS Address" in (await page(client, device(SENSOR))).text
    assert "Unencrypted" not in (await page(client, "/")).text


async def test_open_plain_coap_is_warned_of(parts: Parts) -> None:
    plain = PlainCoap(5683, ("192.168.1.0/24", "fd00::/8"))
    async with TestClient(
        TestServer(build_app(replace(parts, plain=plain))), headers=BEARER[Role.ADMIN]
    ) as client:
        found = await page(client, "/")
    assert "Unencrypted: coap on port 5683 is open to 192.168.1.0/24, fd00::/8." in found.text


async def test_nothing_is_warned_of_where_nothing_is(client: Client) -> None:
    assert "banner" not in (await page(client, "/")).all("class")


async def test_the_overview_tells_of_doubt_and_of_an_open_window(
    client: Client, certificates: FakeCertificates, credentials: FakeCredentials
) -> None:
    certificates.doubtful = "it says 1970"
    credentials.open_enrolment(600)
    found = await page(client, "/")
    assert "The clock is not trusted: it says 1970." in found.text
    assert "New devices may enrol until" in found.text
    assert str(NOW_MS + 600_000) in found.all("data-moment")


async def test_a_device_that_never_came_is_listed(client: Client, credentials: FakeCredentials) -> None:
    await credentials.add_psk("newcomer <b>")
    found = await page(client, "/?q=newcomer")
    assert "newcomer <b> Not seen yet" in found.text
    assert "Has a credential; never came" in found.text
    assert "ago" not in found.text
    found = await page(client, device("newcomer <b>"))
    assert "Not seen yet" in found.text
    assert "It has not come yet" in found.text
    assert "First seen" not in found.text
