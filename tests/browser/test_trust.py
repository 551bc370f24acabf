"""A person in a browser: adds a device, lets devices enrol, rotates, rolls over, takes a credential away."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flownexus_appliance.db.credentials import CredentialOrigin, Proof, ProofKind
from flownexus_appliance.http import wording
from flownexus_appliance.http.ports import PlainCoap
from flownexus_appliance.http.server import HttpServer
from flownexus_appliance.system.clock import wall_ms
from tests.unit.http.house import SENSOR, STRANGE
from tests.unit.http.trust import FakeCertificates, FakeCredentials

from .chromium import Chromium, Page
from .conftest import House

DeviceUrl = Callable[[str], str]
SUBMIT = "main form button[type=submit]"
NAME = 'sensor/1 "<b>é</b>" & 100%'


def credentials_of(house: House) -> FakeCredentials:
    assert isinstance(house.sources.credentials, FakeCredentials)
    return house.sources.credentials


def certificates_of(house: House) -> FakeCertificates:
    assert isinstance(house.sources.certificates, FakeCertificates)
    return house.sources.certificates


async def shown(page: Page, name: str) -> str:
    return str(await page.evaluate(f"document.getElementById({json.dumps(name)}).value"))


def pardon(page: Page, status: int) -> None:
    """A browser reports every page that is an error; those that are meant are none to us."""
    page.complaints = [text for text in page.complaints if f"status of {status}" not in text]


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_device_is_added_from_end_to_end(chromium: Chromium, house: House, scripts: bool) -> None:
    credentials = credentials_of(house)
    async with chromium.page() as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        await page.open(f"{house.url}/")
        await page.follow('a[href="/add-device"]')
        await page.type("#endpoint", NAME)
        await page.follow(SUBMIT)
        assert await page.text("h1") == "What the device is to hold"
        [made] = credentials.known
        assert made.endpoint == await shown(page, "given-endpoint") == NAME
        assert await shown(page, "given-key") == made.secret.hex()
        assert await shown(page, "given-uri") == "coaps://192.0.2.7:5684"
        assert f'CONFIG_NET_SAMPLE_LWM2M_PSK="{made.secret.hex()}"' in await page.text("#recipe-1")

        given = await page.evaluate("location.href")
        await page.open(given)
        assert "shown once already" in await page.text("main")
        assert made.secret.hex() not in await page.evaluate("document.documentElement.outerHTML")
        pardon(page, 410)

        await page.open(f"{house.url}/?q=sensor")
        assert "Not seen yet" in await page.text(".device")
        await page.follow(".device h2 a")
        assert await page.text("h1") == NAME
        assert "Pre-shared key Not used yet" in await page.text(f'[data-credential="{made.id}"]')


async def test_going_back_does_not_show_a_key_again(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/add-device?endpoint=a")
        await page.follow(SUBMIT)
        key = await shown(page, "given-key")
        await page.follow('a[href="/devices/a"]')
        await page.back()
        await page.until_text("h1", "shown once already")
        assert key not in await page.evaluate("document.documentElement.outerHTML")
        pardon(page, 410)


async def test_what_is_shown_is_copied_and_saved(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        await page.open(f"{house.url}/add-device?endpoint=cam")
        await page.click("#kind-certificate")
        visible = "getComputedStyle(document.querySelector('.{}')).display"
        assert await page.evaluate(visible.format("for-psk")) == "none"
        assert await page.evaluate(visible.format("for-certificate")) != "none"
        await page.follow(SUBMIT)
        await page.evaluate(
            """(() => {
              window.copied = [];
              navigator.clipboard.writeText = async (text) => window.copied.push(text);
              window.saved = [];
              URL.createObjectURL = (blob) => (window.saved.push(blob.text()), "blob:nothing");
              HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download); };
            })()"""
        )
        await page.click('[data-copy="given-endpoint"]')
        await page.until_text('[data-copy="given-endpoint"]', "Copied")
        await page.click('[data-copy="recipe-1"]')
        await page.until("copied.length === 2")
        assert await page.evaluate("copied[0]") == "cam"
        assert "CONFIG_NET_SAMPLE_LWM2M_ID" in await page.evaluate("copied[1]")
        await page.click('[data-download="given-private-key"]')
        text, name = await page.evaluate("Promise.all(saved)")
        assert text.strip() == (await shown(page, "given-private-key")).strip()
        assert text.startswith("-----BEGIN PRIVATE KEY-----")
        assert name == "private-key.pem"


async def test_a_mistake_is_shown_where_it_was_made(chromium: Chromium, house: House) -> None:
    async with chromium.page(360, 740) as page:
        await page.open(f"{house.url}/add-device?endpoint=a")
        await page.evaluate("document.querySelector('.for-psk').open = true")
        await page.type("#key", "0011")
        await page.evaluate("document.querySelector('#key').value = 'zz'")
        await page.follow(SUBMIT)
        await page.until_text("#key-wrong", "not hexadecimal")
        # It stands in a part that is folded otherwise.
        assert await page.evaluate("document.getElementById('key').checkVisibility()")
        assert credentials_of(house).known == []
        pardon(page, 400)


async def test_a_window_counts_down_and_shows_who_enrols(chromium: Chromium, house: House) -> None:
    credentials = credentials_of(house)
    async with chromium.page() as page:
        await page.open(f"{house.url}/enrolment")
        await page.follow('form[action="/enrolment"] button')
        assert credentials.window is not None
        key = credentials.window.key.hex()
        assert await shown(page, "given-key") == key
        begun = await page.text(".countdown")
        await page.until(f"document.querySelector('.countdown').textContent !== {json.dumps(begun)}")

        credentials.add("newcomer <b>", Proof(ProofKind.PSK, b"newcomer"), origin=CredentialOrigin.ENROLMENT)
        await page.until_text('[data-region="enrolled"]', "newcomer <b>")
        assert await shown(page, "given-key") == key  # still there for the next device

        credentials.close_enrolment()  # as it does by itself when the time is over
        await page.until_text('[data-region="window"]', "Closed")
        await page.until("!document.getElementById('given-key')")


async def test_a_window_is_closed_by_hand(chromium: Chromium, house: House) -> None:
    credentials = credentials_of(house)
    async with chromium.page() as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.open(f"{house.url}/enrolment")
        await page.follow('form[action="/enrolment"] button')
        assert "Closes by itself in" in await page.text('[data-region="window"]')
        await page.open(f"{house.url}/")
        assert "New devices may enrol until" in await page.text("main")
        await page.follow('.banner a[href="/enrolment"]')
        await page.follow('form[action="/enrolment/close"] button')
        assert credentials.window is None
        assert "No device can enrol now" in await page.text("main")


async def test_certificates_are_rotated_and_a_root_rolled_over(chromium: Chromium, house: House) -> None:
    certificates = certificates_of(house)
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.follow('.places a[href="/system"]')
        await page.follow('main nav a[href="/certificates"]')
        before_rotation = [status.serial for status in certificates.describe()]
        await page.follow('form[action="/certificates/rotate"] button')
        assert "New server certificates are in use" in await page.text(".banner")
        assert [status.serial for status in certificates.describe()] != before_rotation

        await page.follow('a[href="/certificates/roll-over"]')
        await page.type("#days", "9")
        await page.follow(SUBMIT)
        assert len(certificates.roots()) == 2
        assert "A roll-over is under way." in await page.text("main")
        await page.follow('a[href="/certificates/roll-over/finish"]')
        await page.follow(SUBMIT)
        assert len(certificates.roots()) == 1
        assert "One root" in await page.text("main")


async def test_a_credential_is_taken_away(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    credentials = credentials_of(house)
    made = await credentials.add_psk(STRANGE, b"<id>")
    async with chromium.page() as page:
        await page.open(device_url(STRANGE))
        await page.follow('a[href$="/remove"]')
        assert "It is the last one of this device" in await page.text("main")
        assert credentials.known == [made]
        await page.follow(SUBMIT)
        assert credentials.known == []
        assert await page.text("h1") == STRANGE
        assert await page.text("#ended-credentials summary") == "Those that ended 1"


async def test_what_is_opened_stays_open_when_the_page_moves(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    credentials = credentials_of(house)
    made = await credentials.add_psk(SENSOR, b"one")
    await credentials.remove(made.id)
    async with chromium.page() as page:
        await page.open(device_url(SENSOR))
        await page.until_text("#live", "Live")
        await page.click("#ended-credentials summary")
        await credentials.add_psk(SENSOR, b"two")
        event = {"endpoint": SENSOR, "time_ms": wall_ms(), "change": "updated"}
        house.bus.publish("registration", event)
        await page.until_text('[data-credential="2"]', "two")
        assert await page.evaluate("document.getElementById('ended-credentials').open") is True


async def test_bootstrap_settings_are_kept(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    async with chromium.page() as page:
        await page.open(f"{device_url(STRANGE)}/bootstrap")
        await page.evaluate("document.getElementById('lifetime_s').value = ''")
        await page.type("#lifetime_s", "120")
        await page.follow('form:has(#lifetime_s) button[type="submit"]')
        assert await page.text(".banner") == "Saved. It is given with the next bootstrap."
        config = house.sources.bootstrap.config(STRANGE)
        assert config is not None
        assert config.lifetime_s == 120


async def test_a_newcomer_is_online_on_the_overview(chromium: Chromium, house: House) -> None:
    """What was not seen yet loses that mark by itself, and one that speaks unencrypted keeps its own."""
    await credentials_of(house).add_psk("newcomer")
    async with chromium.page() as page:
        await page.open(f"{house.url}/")
        await page.until_text("#live", "Live")
        await page.until_text('[data-endpoint="newcomer"]', "Not seen yet")
        house.move("newcomer", "online")
        await page.until_text('[data-endpoint="newcomer"] .state', "Online")
        house.move(SENSOR, "sleeping")
        await page.until_text(f'[data-endpoint="{SENSOR}"] .state', "Sleeping")
        assert await page.text(f'[data-endpoint="{SENSOR}"] .mark') == "Unencrypted"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900)])
async def test_pages_of_trust_fit_every_size(
    chromium: Chromium, house: House, device_url: DeviceUrl, width: int, height: int, scheme: str
) -> None:
    credentials = credentials_of(house)
    certificate = await credentials.add_psk(STRANGE, b"x" * 120, label="y" * 100)
    await certificates_of(house).roll_over(30)
    urls = [
        f"{house.url}/certificates",
        f"{house.url}/certificates/roll-over",
        f"{house.url}/certificates/roll-over/finish",
        f"{house.url}/add-device?endpoint={'z' * 200}",
        f"{house.url}/enrolment",
        f"{house.url}/bootstrap",
        f"{device_url(STRANGE)}/bootstrap",
        f"{house.url}/credentials/{certificate.id}/remove",
        f"{house.url}/credentials/{certificate.id}/renew",
        device_url(STRANGE),
    ]
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    async with chromium.page(width, height, scheme) as page:
        for url in urls:
            await page.open(url)
            await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            assert await page.evaluate(overflow) <= 0, url
        # The last name is too long for a certificate.
        for kind, name in (("psk", "w" * 120), ("certificate", "w" * 64), ("certificate", "w" * 200)):
            await page.open(f"{house.url}/add-device?endpoint={name}")
            await page.click(f"#kind-{kind}")
            await page.follow(SUBMIT)
            await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            assert await page.evaluate(overflow) <= 0, (kind, name)
        assert await page.text("h1") == "Add a device"
        pardon(page, 400)


async def test_open_plain_coap_is_red_and_fits(chromium: Chromium, house: House, tmp_path: Path) -> None:
    networks = tuple(f"2001:db8:{number:x}::/48" for number in range(20))
    (tmp_path / "open").mkdir()
    options = replace(house.options, state=tmp_path / "open", plain=PlainCoap(5683, networks))
    server = HttpServer(options, house.sources)
    server.use_certificate(house.options.certificate, house.options.key)
    await server.start()
    try:
        async with chromium.page(360, 740) as page:
            await page.open(server.url)
            await page.until_text("#live", "Live")
            assert "Unencrypted: coap on port 5683 is open to 2001:db8:0::/48," in await page.text(".banner")
            assert "2001:db8:13::/48" in await page.text(".banner")
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await page.evaluate(overflow) <= 0
    finally:
        await server.stop()


async def test_a_countdown_reads_the_same_in_both_places(chromium: Chromium, house: House) -> None:
    spans = [-1, 0, 1, 999, 1000, 59_001, 600_000, 3_599_001, 3_600_000, 86_399_000]
    async with chromium.page() as page:
        await page.open(f"{house.url}/enrolment")
        script = await page.evaluate("document.querySelector('script[type=module]').src")
        module = f"import({json.dumps(script.replace('enrolment.js', 'format.js'))})"
        told = await page.evaluate(f"{module}.then((m) => {json.dumps(spans)}.map((s) => m.leftText(s, 0)))")
    assert told == [wording.left_text(span, 0) for span in spans]
