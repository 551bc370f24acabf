"""Adding a device by its page: the key is told once, mistakes beside their field, removal after a warning."""

import html
import re
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from yarl import URL

from flownexus_appliance.access.roles import Role
from flownexus_appliance.db.credentials import Credential, CredentialState
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.server import build_app

from .conftest import Client
from .house import NOW_MS, SENSOR, STRANGE
from .page import check_policy, device, page, refused, send, value, wrong
from .people import BEARER
from .trust import FakeCertificates, FakeCredentials

URI = "coaps://192.0.2.7:5684"
KEY = "00112233445566778899aabbccddeeff"


@pytest.fixture
def parts(parts: Parts) -> Parts:
    return replace(parts, coap_uris=(URI, "coap://127.0.0.1:5683"))


def device_request(name: str) -> str:
    """A PKCS#10 request of a device that has made its key, as PEM."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def give(client: Client, **fields: str) -> str:
    return await send(client, "/add-device", {"kind": "psk", **fields})


async def test_a_key_is_made_and_shown_once(client: Client, credentials: FakeCredentials) -> None:
    place = await give(client, endpoint=" urn:imei:1 ", label="roof")
    found = await page(client, place, cache="no-store")
    check_policy(found)
    assert credentials.known[0].endpoint == "urn:imei:1"
    assert credentials.known[0].label == "roof"
    assert value(found, "given-endpoint") == value(found, "given-identity") == "urn:imei:1"
    assert value(found, "given-identity-hex") == b"urn:imei:1".hex()
    assert value(found, "given-key") == credentials.known[0].secret.hex() == "a1" * 16
    assert value(found, "given-uri") == URI
    gone = await page(client, place, 410, cache="no-store")
    assert "shown once already" in gone.text
    assert "a1" * 16 not in gone.text


async def test_no_other_page_has_the_key(client: Client, credentials: FakeCredentials) -> None:
    await give(client, endpoint=SENSOR, identity="id", key=KEY)
    for path in (device(SENSOR), "/credentials/1/renew", "/credentials/1/remove", "/", "/add-device"):
        async with client.get(URL(path, encoded=True), headers={"Accept": "text/html"}) as response:
            assert response.status == 200
            assert KEY not in await response.text()


async def test_looking_at_the_heads_takes_nothing(client: Client) -> None:
    place = await give(client, endpoint="a")
    async with client.head(place) as response:
        assert response.status == 405
    await page(client, place, cache="no-store")


async def test_every_client_is_told_what_to_enter(client: Client) -> None:
    found = await page(
        client, await give(client, endpoint="it's", key=KEY.replace("00", "01")), cache="no-store"
    )
    key = KEY.replace("00", "01")
    for words in (
        f'CONFIG_NET_SAMPLE_LWM2M_SERVER="{URI}"',
        f'CONFIG_NET_SAMPLE_LWM2M_PSK="{key}"',
        f'CONFIG_APP_LWM2M_PSK="{key}"',
        f"flownexus sim --name 'it'\"'\"'s' --host 192.0.2.7 --dtls --psk 'it'\"'\"'s:{key}'",
        "./lwm2mclient_tinydtls -4 -n 'it'\"'\"'s' -h 192.0.2.7 -p 5684",
        'AT%CMNG=0,35724861,4,"it\'s"',
        f'AT%CMNG=0,35724861,3,"{key}"',
        f"--identity 69742773 --key {key}",
        f"-n 'it'\"'\"'s' -cid on -u {URI} -i 'it'\"'\"'s' -p {key}",
        "-k $'\\x01\\x11\\x22",
        f"{URI}/rd",
    ):
        assert words in found.text, words


async def test_a_recipe_says_what_it_cannot_carry(client: Client) -> None:
    place = await give(client, endpoint="a", identity='quo"te', key=KEY)
    found = await page(client, place, cache="no-store")
    assert "has a zero byte" in found.text
    assert "-k $'" not in found.text
    assert "This identity has a quote" in found.text
    assert 'which are not the same here: enter quo"te' in found.text


async def test_without_dtls_there_is_a_warning_and_no_recipe(parts: Parts) -> None:
    plain = replace(parts, coap_uris=("coap://127.0.0.1:5683",))
    async with TestClient(TestServer(build_app(plain)), headers=BEARER[Role.ADMIN]) as client:
        assert "switched off" in (await page(client, "/add-device", cache="no-store")).text
        found = await page(client, await give(client, endpoint="a"), cache="no-store")
    assert "switched off" in found.text
    assert "What to enter where" not in found.text


async def test_a_certificate_comes_with_its_key_and_the_roots(
    client: Client, certificates: FakeCertificates
) -> None:
    place = await give(client, endpoint=STRANGE, kind="certificate", valid_days="30", key="not asked for")
    async with client.get(place) as response:
        text = html.unescape(await response.text())
    pems = re.findall(r"-----BEGIN ([A-Z ]+)-----", text)
    # The fields, and the modem's AT commands.
    assert pems == ["CERTIFICATE", "PRIVATE KEY", *["CERTIFICATE"] * 3, "PRIVATE KEY"]
    first = text[text.index("-----BEGIN") : text.index("-----END CERTIFICATE-----") + 25]
    made = x509.load_pem_x509_certificate(first.encode())
    assert made.subject.rfc4514_string().startswith("CN=")
    assert (made.not_valid_after_utc - certificates.now).days == 30


async def test_a_device_keeps_the_key_it_has_made(client: Client) -> None:
    csr = device_request("cam")
    found = await page(
        client, await give(client, endpoint="cam", kind="certificate", csr=csr), cache="no-store"
    )
    assert "The device has its private key itself" in found.text
    assert "PRIVATE KEY" not in found.text
    assert "This page is shown once" in found.text


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"endpoint": ""}, 400, "endpoint"),
        ({"endpoint": "   "}, 400, "endpoint"),
        ({"endpoint": "a", "key": "xyz"}, 400, "key"),
        ({"endpoint": "a", "kind": "certificate", "valid_days": "0"}, 400, "valid_days"),
        ({"endpoint": "a", "kind": "certificate", "valid_days": "½"}, 400, "valid_days"),
        ({"endpoint": "a", "kind": "certificate", "valid_days": "36501"}, 400, "valid_days"),
        ({"endpoint": "a", "kind": "certificate", "csr": "<b>"}, 400, "csr"),
        ({"endpoint": "a", "kind": "certificate", "csr": "other"}, 400, "csr"),
        ({"endpoint": "a" * 65, "kind": "certificate"}, 400, "endpoint"),
    ],
)
async def test_a_mistake_is_told_beside_its_field(
    client: Client, credentials: FakeCredentials, fields: dict[str, str], status: int, field: str
) -> None:
    if fields.get("csr") == "other":
        fields = {**fields, "csr": device_request("b")}
    found = await refused(client, "/add-device", status, {"kind": "psk", "label": "<i>", **fields})
    check_policy(found)
    assert wrong(found) == [field]
    assert f"#{field}" in found.all("href")
    assert value(found, "label") == "<i>"
    assert credentials.known == []


async def test_an_identity_that_is_taken_is_told_beside_it(client: Client) -> None:
    await give(client, endpoint="a", identity="id")
    found = await refused(client, "/add-device", 409, {"kind": "psk", "endpoint": "b", "identity": "id"})
    assert wrong(found) == ["identity"]
    assert value(found, "identity") == "id"


async def test_a_typed_key_is_not_sent_back(client: Client) -> None:
    found = await refused(client, "/add-device", 400, {"kind": "psk", "endpoint": "", "key": KEY})
    assert value(found, "key") == ""


@pytest.mark.parametrize("kind", ["", "rpk", "<b>"])
async def test_another_kind_is_no_choice(client: Client, kind: str) -> None:
    found = await refused(client, "/add-device", 400, {"kind": kind, "endpoint": "a"})
    assert "choose one of psk, certificate" in found.text.lower()


async def test_the_disk_or_the_clock_may_say_no(
    client: Client, credentials: FakeCredentials, certificates: FakeCertificates
) -> None:
    credentials.failure = StoreError("store_full", "the disk is full", "make room")
    found = await refused(client, "/add-device", 503, {"kind": "psk", "endpoint": "a"})
    assert "The disk is full. Make room." in found.text
    assert wrong(found) == []
    certificates.doubtful = "it says 1970"
    found = await refused(client, "/add-device", 503, {"kind": "certificate", "endpoint": "a"})
    assert "It says 1970" in found.text


async def test_the_name_may_come_with_the_address(client: Client) -> None:
    found = await page(client, "/add-device?endpoint=%3Cb%3E%22%27%26", cache="no-store")
    assert value(found, "endpoint") == "<b>\"'&"
    check_policy(found)


async def test_a_second_credential_is_told_of(client: Client) -> None:
    await give(client, endpoint="a")
    found = await page(client, await give(client, endpoint="a", identity="b"), cache="no-store")
    assert "This device has 2 credentials now" in found.text


# What a device has


async def add(credentials: FakeCredentials, endpoint: str = STRANGE) -> Credential:
    return await credentials.add_psk(endpoint, b"id <of> it", label="on the <roof>")


async def test_a_device_page_lists_its_credentials(client: Client, credentials: FakeCredentials) -> None:
    added = await add(credentials)
    found = await page(client, device(STRANGE))
    check_policy(found)
    for words in (
        "Pre-shared key Not used yet id <of> it on the <roof>",
        "Origin Made here",
        "First used Not yet",
    ):
        assert words in found.text
    assert {f"/credentials/{added.id}/renew", f"/credentials/{added.id}/remove"} <= set(found.all("href"))
    credentials.use(added.id, NOW_MS - 60_000)
    found = await page(client, device(STRANGE))
    assert "Pre-shared key In use" in found.text
    assert "Last used 1 min ago" in found.text


async def test_a_removal_is_explained_first(client: Client, credentials: FakeCredentials) -> None:
    added = await add(credentials)
    found = await page(client, f"/credentials/{added.id}/remove")
    check_policy(found)
    assert "It is the last one of this device" in found.text
    assert credentials.known == [added]
    await credentials.add_psk(STRANGE, b"another")
    assert "the last one" not in (await page(client, f"/credentials/{added.id}/remove")).text


async def test_a_removed_credential_is_listed_as_ended(client: Client, credentials: FakeCredentials) -> None:
    added = await add(credentials)
    assert await send(client, f"/credentials/{added.id}/remove") == device(STRANGE)
    assert credentials.known == []
    found = await page(client, device(STRANGE))
    assert "Those that ended 1 Pre-shared key Removed id <of> it" in found.text
    assert f"/credentials/{added.id}/renew" not in found.all("href")
    assert "There is no credential 1" in (await page(client, f"/credentials/{added.id}/remove", 404)).text


async def test_a_device_that_never_came_goes_with_its_last(
    client: Client, credentials: FakeCredentials
) -> None:
    added = await add(credentials, "never")
    assert await send(client, f"/credentials/{added.id}/remove") == "/"


async def test_a_removal_that_fails_says_so(
    client: Client, credentials: FakeCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    added = await add(credentials)

    async def fail(_: int) -> None:
        raise StoreError("store_full", "the disk is full", "make room")

    monkeypatch.setattr(FakeCredentials, "remove", lambda _, number: fail(number))
    found = await refused(client, f"/credentials/{added.id}/remove", 503, {})
    assert "The disk is full" in found.text


async def test_a_renewed_key_waits_for_its_first_use(client: Client, credentials: FakeCredentials) -> None:
    added = await add(credentials)
    found = await page(client, f"/credentials/{added.id}/renew")
    check_policy(found)
    assert "csr" not in found.all("id")
    place = await send(client, f"/credentials/{added.id}/renew")
    found = await page(client, place, cache="no-store")
    assert "takes the place of the present one" in found.text
    assert credentials.known[1].state is CredentialState.OFFERED
    assert value(found, "given-key") == credentials.known[1].secret.hex()
    assert "Waiting for its first use" in (await page(client, device(STRANGE))).text


async def test_a_certificate_is_renewed_for_a_key_of_the_device(
    client: Client, credentials: FakeCredentials
) -> None:
    await give(client, endpoint="cam", kind="certificate")
    found = await refused(client, "/credentials/1/renew", 400, {"csr": "no request"})
    check_policy(found)
    assert wrong(found) == ["csr"]
    place = await send(client, "/credentials/1/renew", {"csr": device_request("cam"), "valid_days": "9"})
    assert "has its private key itself" in (await page(client, place, cache="no-store")).text
    assert len(credentials.known) == 2


@pytest.mark.parametrize("number", ["0", "x", "9" * 20, "-1", "%C2%B2"])
@pytest.mark.parametrize("deed", ["remove", "renew"])
async def test_a_number_that_is_none_is_not_found(client: Client, number: str, deed: str) -> None:
    await page(client, f"/credentials/{number}/{deed}", 404)
    await refused(client, f"/credentials/{number}/{deed}", 404, {})
