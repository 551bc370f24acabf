"""Credentials over REST: keys are told once, lists find what there is and was, enrolment opens and closes."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flownexus_appliance.db.credentials import CredentialOrigin, CredentialState, Proof, ProofKind
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.http import credentials as listing

from .asking import ask, of_endpoint
from .conftest import Client
from .house import NOW_MS, SENSOR, STRANGE
from .trust import FakeCertificates, FakeCredentials

KEY = "00112233445566778899aabbccddeeff"


def request_for(name: str) -> tuple[str, ec.EllipticCurvePrivateKey]:
    """A certificate request of a device that made its own key, as PEM, and the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode(), key


async def test_a_device_gets_a_key_of_its_own(client: Client, credentials: FakeCredentials) -> None:
    given = await ask(client, "POST", "/endpoints", {"endpoint": "kitchen"}, status=201)
    made = credentials.known[0]
    assert given["psk"] == {"identity": "kitchen", "identity_hex": b"kitchen".hex(), "key": made.secret.hex()}
    assert given["certificate"] is None
    assert given["uris"] == ["coap://127.0.0.1:5683"]
    assert given["credential"] == {
        "id": made.id,
        "endpoint": "kitchen",
        "kind": "psk",
        "identity": "kitchen",
        "serial": "",
        "state": "active",
        "good": True,
        "origin": "operator",
        "label": "",
        "made_ms": NOW_MS,
        "not_after_ms": None,
        "first_used_ms": None,
        "last_used_ms": None,
        "ended_ms": None,
    }


async def test_a_key_may_be_brought_along(client: Client, credentials: FakeCredentials) -> None:
    wanted = {"kind": "psk", "identity": "Ä1", "key": KEY.upper(), "label": "north wall"}
    given = await ask(client, "POST", of_endpoint(STRANGE, "/credentials"), wanted, status=201)
    assert given["psk"] == {"identity": "Ä1", "identity_hex": "Ä1".encode().hex(), "key": KEY}
    assert given["credential"]["label"] == "north wall"
    assert credentials.known[0].endpoint == STRANGE
    assert credentials.known[0].proof == Proof(ProofKind.PSK, "Ä1".encode())
    assert credentials.known[0].secret == bytes.fromhex(KEY)


async def test_a_device_gets_a_certificate_with_its_key(
    client: Client, credentials: FakeCredentials, certificates: FakeCertificates
) -> None:
    wanted = {"endpoint": "valve", "kind": "certificate", "valid_days": 30}
    given = await ask(client, "POST", "/endpoints", wanted, status=201)
    assert given["psk"] is None
    certificate = x509.load_pem_x509_certificate(given["certificate"]["certificate"].encode())
    key = serialization.load_pem_private_key(given["certificate"]["private_key"].encode(), None)
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "valve"
    end = datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(days=30)
    assert certificate.not_valid_after_utc == end.replace(microsecond=0)
    roots = x509.load_pem_x509_certificates(given["certificate"]["ca"].encode())
    assert [root.public_bytes(serialization.Encoding.DER) for root in roots] == list(certificates.roots())
    certificate.verify_directly_issued_by(roots[0])
    listed = credentials.known[0]
    assert listed.certificate == certificate.public_bytes(serialization.Encoding.DER)
    assert given["credential"]["identity"] == certificate.fingerprint(hashes.SHA256()).hex()
    assert given["credential"]["serial"] == f"{certificate.serial_number:x}"
    assert given["credential"]["not_after_ms"] == int(certificate.not_valid_after_utc.timestamp() * 1000)


async def test_a_device_keeps_the_key_it_made(client: Client) -> None:
    request, key = request_for("valve")
    wanted = {"kind": "certificate", "csr": request}
    given = await ask(client, "POST", of_endpoint("valve", "/credentials"), wanted, status=201)
    assert given["certificate"]["private_key"] == ""
    certificate = x509.load_pem_x509_certificate(given["certificate"]["certificate"].encode())
    assert certificate.public_key() == key.public_key()


@pytest.mark.parametrize(
    ("body", "error", "status"),
    [
        ({"kind": "rpk"}, "body_invalid", 400),
        ({"kind": "psk", "csr": "x"}, "body_invalid", 400),
        ({"kind": "psk", "valid_days": 3}, "body_invalid", 400),
        ({"kind": "certificate", "key": KEY}, "body_invalid", 400),
        ({"kind": "certificate", "identity": "x"}, "body_invalid", 400),
        ({"kind": "certificate", "valid_days": 0}, "body_invalid", 400),
        ({"kind": "certificate", "valid_days": 36_500}, "validity_invalid", 400),
        ({"kind": "certificate", "csr": "no request"}, "request_unreadable", 400),
        ({"key": "KEY"}, "key_invalid", 400),
        ({"key": [1, 2]}, "body_invalid", 400),
        ({"label": "x" * 101}, "body_invalid", 400),
        ({"secret": KEY}, "body_invalid", 400),
        ([], "body_invalid", 400),
    ],
)
async def test_what_is_no_credential_is_told(
    client: Client, credentials: FakeCredentials, body: object, error: str, status: int
) -> None:
    answer = await ask(client, "POST", of_endpoint(SENSOR, "/credentials"), body, status=status)
    assert answer["error"] == error
    assert answer["hint"]
    assert credentials.known == []


async def test_a_request_in_anothers_name_is_refused(client: Client, credentials: FakeCredentials) -> None:
    request, _ = request_for("somebody else")
    wanted = {"kind": "certificate", "csr": request}
    answer = await ask(client, "POST", of_endpoint("valve", "/credentials"), wanted, status=400)
    assert answer["error"] == "request_name"
    assert credentials.known == []


@pytest.mark.parametrize("key", ["zz" * 16, "0011 2233 zz"])
async def test_a_key_that_is_none_is_not_repeated(client: Client, key: str) -> None:
    answer = await ask(client, "POST", "/endpoints", {"endpoint": "a", "key": key}, status=400)
    assert answer["error"] == "key_invalid"
    assert key not in json.dumps(answer)


async def test_a_device_needs_a_name(client: Client) -> None:
    for body in ({}, {"endpoint": ""}, {"endpoint": "x" * 256}):
        assert (await ask(client, "POST", "/endpoints", body, status=400))["error"] == "body_invalid"


async def test_what_is_not_on_disk_is_not_given(client: Client, credentials: FakeCredentials) -> None:
    credentials.failure = StoreError("store_full", "the disk is full", "make room")
    answer = await ask(client, "POST", "/endpoints", {"endpoint": "kitchen"}, status=503)
    assert answer == {"error": "store_full", "message": "the disk is full", "hint": "make room"}


async def test_no_list_tells_a_key(client: Client, credentials: FakeCredentials) -> None:
    secrets = set()
    for body in ({"kind": "psk"}, {"kind": "psk", "identity": "b", "key": KEY}, {"kind": "certificate"}):
        given = await ask(client, "POST", of_endpoint(SENSOR, "/credentials"), body, status=201)
        secrets.add(given["psk"]["key"] if given["psk"] else given["certificate"]["private_key"])
    opened = await ask(client, "POST", "/enrolment", {"minutes": 5}, status=201)
    secrets.add(opened["psk"]["key"])
    assert len(secrets) == 4
    assert "" not in secrets
    paths = ["/credentials", "/enrolment", "/status", "/certificates", "/bootstrap", "/endpoints"]
    paths += [of_endpoint(SENSOR), of_endpoint(SENSOR, "/credentials"), "/credentials?q=b"]
    told = "".join([json.dumps(await ask(client, "GET", path)) for path in paths])
    for secret in secrets:
        assert json.dumps(secret).strip('"') not in told
    pages = ["/", "/devices/" + of_endpoint(SENSOR).removeprefix("/endpoints/")]
    for path in pages:
        async with client.get(path) as response:
            text = await response.text()
        assert not any(secret in text for secret in secrets)
    assert not any(secret in repr(credentials.known) + repr(credentials.window) for secret in secrets)


@pytest.fixture
async def several(credentials: FakeCredentials) -> FakeCredentials:
    """1 a's key, 2 b's key (enrolled), 3 a's certificate, 4 a key that was removed, 5 one that is offered."""
    await credentials.add_psk("a", b"\xff\x00", label="Cellar")
    credentials.add("b", Proof(ProofKind.PSK, b"blue"), origin=CredentialOrigin.ENROLMENT)
    credentials.add("a", Proof(ProofKind.CERTIFICATE, b"\x01" * 32), ends=(255, NOW_MS + 1))
    await credentials.add_psk("c")
    await credentials.remove(4)
    await credentials.renew_psk("a")
    return credentials


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/credentials", [5, 4, 3, 2, 1]),
        ("/credentials?kind=psk", [5, 4, 2, 1]),
        ("/credentials?kind=certificate", [3]),
        ("/credentials?state=good", [5, 3, 2, 1]),
        ("/credentials?state=ended", [4]),
        ("/credentials?state=revoked", [4]),
        ("/credentials?state=offered", [5]),
        ("/credentials?origin=enrolment", [2]),
        ("/credentials?q=BLUE", [2]),
        ("/credentials?q=cellar", [1]),
        ("/credentials?q=0101", [3]),
        ("/credentials?q=c&state=good", [1]),
        ("/endpoints/a/credentials", [5, 3, 1]),
        ("/endpoints/a/credentials?kind=psk&state=active", [1]),
        ("/endpoints/nobody/credentials", []),
    ],
)
@pytest.mark.usefixtures("several")
async def test_credentials_are_found(client: Client, path: str, found: list[int]) -> None:
    answer = await ask(client, "GET", path)
    assert [item["id"] for item in answer["items"]] == found
    assert answer["next"] is None


@pytest.mark.parametrize("path", ["/credentials?limit=2", "/endpoints/a/credentials?limit=2"])
@pytest.mark.usefixtures("several")
async def test_a_cursor_leads_through_all_credentials_once(client: Client, path: str) -> None:
    everything = [item["id"] for item in (await ask(client, "GET", path.partition("?")[0]))["items"]]
    seen: list[int] = []
    after = ""
    while True:
        answer = await ask(client, "GET", path + after)
        seen += [item["id"] for item in answer["items"]]
        if answer["next"] is None:
            break
        assert len(answer["items"]) == 2
        after = f"&after={answer['next']}"
    assert seen == everything


async def test_many_are_found_beyond_the_first_batch(
    client: Client, credentials: FakeCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "BATCH", 5)
    await credentials.add_psk("first", label="the one")
    for number in range(17):
        credentials.add("many", Proof(ProofKind.PSK, f"m{number}".encode()))
    await credentials.add_psk("last", label="the one")
    answer = await ask(client, "GET", "/credentials?q=the%20one")
    assert [item["id"] for item in answer["items"]] == [19, 1]
    assert answer["next"] is None
    answer = await ask(client, "GET", "/credentials?q=many&limit=17")
    assert len(answer["items"]) == 17
    assert answer["next"] is None


async def test_what_a_credential_says(client: Client, several: FakeCredentials) -> None:
    several.use(1, NOW_MS + 5)
    items = {item["id"]: item for item in (await ask(client, "GET", "/credentials"))["items"]}
    assert items[1]["identity"] == "ff00"
    assert (items[1]["first_used_ms"], items[1]["last_used_ms"]) == (NOW_MS + 5, NOW_MS + 5)
    assert (items[3]["identity"], items[3]["serial"]) == ("01" * 32, "ff")
    assert items[3]["not_after_ms"] == NOW_MS + 1
    assert (items[4]["state"], items[4]["good"], items[4]["ended_ms"]) == ("revoked", False, NOW_MS)
    assert (items[5]["state"], items[5]["good"], items[5]["origin"]) == ("offered", True, "bootstrap")


@pytest.mark.parametrize("query", ["kind=rpk", "state=gone", "origin=x", "limit=0", "after=x", "after=0"])
async def test_a_question_that_makes_no_sense_is_told(client: Client, query: str) -> None:
    answer = await ask(client, "GET", f"/credentials?{query}", status=400)
    assert answer["error"] == "query_invalid"


async def test_a_credential_is_removed(client: Client, several: FakeCredentials) -> None:
    assert await ask(client, "DELETE", "/credentials/1") == {"removed": 1}
    assert [one.id for one in several.known] == [2, 3, 5]
    answer = await ask(client, "DELETE", "/credentials/1", status=404)
    assert answer["error"] == "credential_unknown"


@pytest.mark.parametrize("number", ["x", "-1", "1.0", "9" * 30, "%20", "%C2%B2"])
async def test_a_number_that_is_none_is_unknown(client: Client, number: str) -> None:
    for method, rest in (("DELETE", ""), ("POST", "/renew")):
        answer = await ask(client, method, f"/credentials/{number}{rest}", status=404)
        assert answer["error"] == "credential_unknown"


async def test_all_of_a_device_are_removed(client: Client, several: FakeCredentials) -> None:
    assert await ask(client, "DELETE", "/endpoints/a/credentials") == {"removed": 3}
    assert [one.endpoint for one in several.known] == ["b"]
    answer = await ask(client, "DELETE", "/endpoints/a/credentials", status=404)
    assert answer["error"] == "credential_unknown"


async def test_a_key_is_renewed_beside_the_present_one(client: Client, credentials: FakeCredentials) -> None:
    await credentials.add_psk("a")
    given = await ask(client, "POST", "/credentials/1/renew", status=201)
    assert given["credential"]["state"] == "offered"
    assert given["psk"]["key"] == credentials.known[1].secret.hex()
    assert [one.state for one in credentials.known] == [CredentialState.ACTIVE, CredentialState.OFFERED]


async def test_a_certificate_is_renewed_beside_the_present_one(
    client: Client, credentials: FakeCredentials
) -> None:
    await ask(
        client, "POST", "/endpoints", {"endpoint": "a", "kind": "certificate", "label": "l"}, status=201
    )
    request, key = request_for("a")
    given = await ask(client, "POST", "/credentials/1/renew", {"csr": request, "valid_days": 5}, status=201)
    certificate = x509.load_pem_x509_certificate(given["certificate"]["certificate"].encode())
    assert certificate.public_key() == key.public_key()
    assert (given["credential"]["state"], given["credential"]["label"]) == ("offered", "l")
    assert len(credentials.known) == 2


async def test_a_key_needs_no_request(client: Client, credentials: FakeCredentials) -> None:
    await credentials.add_psk("a")
    for body in ({"csr": "x"}, {"valid_days": 3}):
        answer = await ask(client, "POST", "/credentials/1/renew", body, status=400)
        assert answer["error"] == "body_invalid"
    assert len(credentials.known) == 1


async def test_enrolment_opens_and_closes(client: Client, credentials: FakeCredentials) -> None:
    assert await ask(client, "GET", "/enrolment") == {"open": False, "ends_ms": None}
    opened = await ask(client, "POST", "/enrolment", status=201)
    ends_ms = NOW_MS + 600_000
    assert opened == {
        "ends_ms": ends_ms,
        "psk": {"identity": "enrol", "identity_hex": b"enrol".hex(), "key": "a1" * 16},
        "uris": ["coap://127.0.0.1:5683"],
    }
    assert await ask(client, "GET", "/enrolment") == {"open": True, "ends_ms": ends_ms}
    again = await ask(client, "POST", "/enrolment", {"minutes": 3}, status=201)
    assert (again["ends_ms"], again["psk"]["key"]) == (NOW_MS + 180_000, "a2" * 16)
    for _ in range(2):
        assert await ask(client, "DELETE", "/enrolment") == {"open": False, "ends_ms": None}
    assert credentials.window is None


@pytest.mark.parametrize("minutes", [0, 1441, "10", 1.5, None])
async def test_enrolment_is_never_open_for_long(
    client: Client, credentials: FakeCredentials, minutes: object
) -> None:
    assert (await ask(client, "POST", "/enrolment", {"minutes": minutes}, status=400))[
        "error"
    ] == "body_invalid"
    assert credentials.window is None


async def test_the_box_at_a_glance(
    client: Client, credentials: FakeCredentials, certificates: FakeCertificates
) -> None:
    await credentials.add_psk("a")
    credentials.open_enrolment(60.0)
    certificates.doubtful = "the clock shows 1970"
    answer = await ask(client, "GET", "/status")
    steps = [status.next_step for status in certificates.describe() if status.next_step is not None]
    assert answer.pop("version")
    assert answer == {
        "now_ms": NOW_MS,
        "devices": {"online": 2, "sleeping": 1, "offline": 1},
        "uris": ["coap://127.0.0.1:5683"],
        "credentials": 1,
        "enrolment": {"open": True, "ends_ms": NOW_MS + 60_000},
        "certificates_doubt": "the clock shows 1970",
        "certificates_next_step_ms": round(min(steps).timestamp() * 1000),
    }
