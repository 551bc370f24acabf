"""The box's certificates over REST: told, rotated, rolled over; the roots to download."""

import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .asking import ask
from .conftest import Client
from .trust import FakeCertificates


async def test_what_is_valid_until_when_and_why(client: Client, certificates: FakeCertificates) -> None:
    answer = await ask(client, "GET", "/certificates")
    assert answer["doubt"] == ""
    assert [(item["kind"], item["state"]) for item in answer["items"]] == [
        ("root", "current"),
        ("dtls", "current"),
        ("https", "current"),
    ]
    root, dtls, https = answer["items"]
    known = certificates.describe()
    assert root["fingerprint"] == known[0].fingerprint
    assert root["serial"] == known[0].serial
    assert dtls["not_before_ms"] == 0  # devices without a clock believe it is 1970
    assert dtls["issuer"] == root["subject"]
    assert https["not_after_ms"] == https["trusted_until_ms"] == known[2].not_after.timestamp() * 1000
    assert known[2].next_step is not None
    assert https["next_step_ms"] == known[2].next_step.timestamp() * 1000 < https["not_after_ms"]
    assert "two thirds" in https["reason"]


async def test_a_doubtful_clock_is_told_and_signs_nothing(
    client: Client, certificates: FakeCertificates
) -> None:
    certificates.doubtful = "the clock shows 1970-01-01"
    assert (await ask(client, "GET", "/certificates"))["doubt"] == "the clock shows 1970-01-01"
    for path in ("/certificates/rotate", "/certificates/roll-over", "/certificates/roll-over/finish"):
        assert (await ask(client, "POST", path, status=503))["error"] == "clock_untrusted"
    wanted = {"endpoint": "a", "kind": "certificate"}
    assert (await ask(client, "POST", "/endpoints", wanted, status=503))["error"] == "clock_untrusted"


async def test_rotation_replaces_the_servers_certificates_alone(client: Client) -> None:
    before = (await ask(client, "GET", "/certificates"))["items"]
    answer = await ask(client, "POST", "/certificates/rotate")
    assert len(answer["changes"]) == 2
    assert all("the operator asked for it" in change for change in answer["changes"])
    after = (await ask(client, "GET", "/certificates"))["items"]
    assert answer["items"] == after
    assert [a["serial"] == b["serial"] for a, b in zip(after, before, strict=True)] == [True, False, False]


async def test_a_roll_over_and_its_end(client: Client, certificates: FakeCertificates) -> None:
    (first,) = certificates.roots()
    answer = await ask(client, "POST", "/certificates/roll-over", {"days": 400})
    kinds = [(item["kind"], item["state"]) for item in answer["items"]]
    assert kinds == [
        ("root", "current"),
        ("root", "old"),
        ("cross", "current"),
        ("dtls", "current"),
        ("https", "current"),
    ]
    now_ms = round(certificates.now.timestamp() * 1000)
    assert answer["items"][1]["trusted_until_ms"] == now_ms + 400 * 24 * 3600 * 1000
    assert certificates.roots()[1] == first
    answer = await ask(client, "POST", "/certificates/roll-over/finish")
    assert [item["kind"] for item in answer["items"]] == ["root", "dtls", "https"]
    assert first not in certificates.roots()
    answer = await ask(client, "POST", "/certificates/roll-over/finish", status=409)
    assert answer["error"] == "roll_over_none"


async def test_a_roll_over_takes_its_usual_time(client: Client, certificates: FakeCertificates) -> None:
    await ask(client, "POST", "/certificates/roll-over")
    await ask(client, "POST", "/certificates/roll-over", {})
    assert len(certificates.roots()) == 3
    answer = await ask(client, "POST", "/certificates/roll-over", status=409)
    assert answer["error"] == "roll_over_limit"


@pytest.mark.parametrize("days", [0, -1, "400", 1.5, 10**9])
async def test_an_overlap_that_makes_no_sense_is_told(
    client: Client, certificates: FakeCertificates, days: object
) -> None:
    answer = await ask(client, "POST", "/certificates/roll-over", {"days": days}, status=400)
    assert answer["error"] == "body_invalid"
    assert len(certificates.roots()) == 1


async def test_the_roots_to_trust(client: Client, certificates: FakeCertificates) -> None:
    await ask(client, "POST", "/certificates/roll-over")
    async with client.get("/api/v1/certificates/ca.pem") as response:
        assert response.status == 200
        assert response.content_type == "application/x-pem-file"
        assert re.search(r'filename="[a-z-]+\.pem"', response.headers["Content-Disposition"])
        found = x509.load_pem_x509_certificates(await response.read())
    assert [one.public_bytes(Encoding.DER) for one in found] == list(certificates.roots())
    async with client.get("/api/v1/certificates/ca.der") as response:
        assert response.content_type == "application/pkix-cert"
        assert await response.read() == certificates.roots()[0]


async def test_before_there_is_a_root(
    client: Client, certificates: FakeCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCertificates, "roots", lambda _: ())
    certificates.doubtful = "the clock shows 1970-01-01"
    for name in ("ca.pem", "ca.der"):
        answer = await ask(client, "GET", f"/certificates/{name}", status=503)
        assert answer["error"] == "ca_missing"
        assert "1970" in answer["message"]
