"""What Leshan's API tells of the server: what devices are to trust, where they reach it."""

from base64 import b64decode

import pytest
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http.ports import Sources
from flownexus_appliance.http.server import build_app, join

from ..conftest import Client
from ..house import NOW_MS
from ..people import BEARER
from ..trust import FakeCertificates


@pytest.mark.parametrize("path", ["/security/server", "/server/security"])
async def test_devices_are_to_trust_the_newest_root(
    client: Client, certificates: FakeCertificates, path: str
) -> None:
    await certificates.roll_over(None)
    newest, older = certificates.roots()
    async with client.get(f"/leshan/api{path}") as response:
        assert response.status == 200
        told = (await response.json())["certificate"]
    assert b64decode(told["b64Der"]) == newest != older
    key = x509.load_der_x509_certificate(newest).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert load_der_public_key(b64decode(told["pubkey"]["b64Der"])) == key
    point = key.public_numbers()
    assert (int(told["pubkey"]["x"], 16), int(told["pubkey"]["y"], 16)) == (point.x, point.y)
    assert {len(told["pubkey"]["x"]), len(told["pubkey"]["y"])} == {64}
    assert told["pubkey"]["params"] == "secp256r1"


async def test_without_a_root(
    client: Client, certificates: FakeCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "roots", list)
    certificates.doubtful = "it is 1970"
    async with client.get("/leshan/api/security/server") as response:
        assert response.status == 503
        assert "it is 1970" in await response.text()


async def test_where_devices_reach_the_box(sources: Sources) -> None:
    uris = ("coaps://[2001:db8::7]:5684", "coap://127.0.0.1:5683")
    app = build_app(join(sources, uris, lambda: NOW_MS))
    async with (
        TestClient(TestServer(app), headers=BEARER[Role.ADMIN]) as client,
        client.get("/leshan/api/server/endpoint") as response,
    ):
        assert await response.json() == [
            {
                "uri": {"full": uris[0], "scheme": "coaps", "host": "2001:db8::7", "port": 5684},
                "description": "CoAP over DTLS",
            },
            {
                "uri": {"full": uris[1], "scheme": "coap", "host": "127.0.0.1", "port": 5683},
                "description": "CoAP over UDP",
            },
        ]
