"""Leshan's security store: keys go in and never come out, and a PUT takes the place of what was there."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flownexus_appliance.db.credentials import CredentialState, Proof, ProofKind
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.http.leshan.security import BOOTSTRAP_LABEL, SERVER_LABEL
from flownexus_appliance.http.leshan.sides import Side
from flownexus_appliance.http.ports import Parts

from ..conftest import Client
from ..trust import FakeCredentials
from .alone import alone

CLIENTS = "/leshan/api/security/clients"
KEY = "000102030405060708090a0b0c0d0e0f"
OTHER = "ffeeddccbbaa99887766554433221100"


@pytest.fixture
async def bootstrap_client(parts: Parts) -> AsyncIterator[Client]:
    async with alone(parts, Side.BOOTSTRAP) as client:
        yield client


def psk(endpoint: str = "kitchen", identity: str = "id", key: str = KEY) -> dict[str, Any]:
    return {"endpoint": endpoint, "tls": {"mode": "psk", "details": {"identity": identity, "key": key}}}


async def put(client: Client, body: object, status: int = 200, path: str = CLIENTS) -> str:
    async with client.put(path, json=body) as response:
        text = await response.text()
        assert response.status == status, text
        assert response.headers["Cache-Control"] == "no-store"
        if status != 200:
            assert response.content_type == "text/plain"
        return text


async def listed(client: Client, query: str = "") -> Any:
    async with client.get(f"{CLIENTS}{query}") as response:
        assert response.status == 200
        text = await response.text()
        assert KEY not in text
        assert OTHER not in text
        return json.loads(text)


def certificate(credentials: FakeCredentials, endpoint: str = "kitchen") -> int:
    proof = Proof(ProofKind.CERTIFICATE, endpoint.encode().ljust(32, b"."))
    return credentials.add(endpoint, proof, certificate=b"DER").id


async def test_a_key_is_put_and_listed_without_it(client: Client, credentials: FakeCredentials) -> None:
    assert await listed(client) == []
    assert await put(client, psk()) == ""
    await put(client, psk("attic", "küche", OTHER), path=f"{CLIENTS}/")  # Zephyr's suite puts it there
    assert await listed(client, "?timeout=10&format=SENML_CBOR") == [
        {"endpoint": "attic", "tls": {"mode": "psk", "details": {"identity": "küche"}}},
        {"endpoint": "kitchen", "tls": {"mode": "psk", "details": {"identity": "id"}}},
    ]
    assert await listed(client, "/") == await listed(client)
    (kept,) = credentials.of("kitchen")
    assert (kept.proof, kept.secret.hex()) == (Proof(ProofKind.PSK, b"id"), KEY)
    assert (kept.state, kept.label) == (CredentialState.ACTIVE, SERVER_LABEL)


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "application/json"])
async def test_any_media_type_will_do(client: Client, credentials: FakeCredentials, kind: str) -> None:
    headers = {"Content-Type": kind}
    async with client.put(CLIENTS, data=json.dumps(psk()).encode(), headers=headers) as response:
        assert response.status == 200
    assert len(credentials.of("kitchen")) == 1


@pytest.mark.parametrize(("identity", "key"), [("id", OTHER), ("another", KEY)])
async def test_a_second_put_takes_the_place_of_the_first(
    client: Client, credentials: FakeCredentials, identity: str, key: str
) -> None:
    made = await credentials.add_psk("kitchen")
    stays = certificate(credentials)
    neighbour = await credentials.add_psk("attic")
    await put(client, psk())
    await put(client, psk(identity=identity, key=key))
    old, new = credentials.of("kitchen")
    assert old.id == stays
    assert (new.proof.value.decode(), new.secret.hex()) == (identity, key)
    assert made not in credentials.all()
    assert credentials.of("attic") == [neighbour]


async def test_the_same_key_once_more_changes_nothing(client: Client, credentials: FakeCredentials) -> None:
    await put(client, psk())
    (before,) = credentials.of("kitchen")
    other = await credentials.add_psk("kitchen", b"other")
    await put(client, psk())
    assert credentials.of("kitchen") == [before]
    assert other not in credentials.all()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (psk(key="not hexadecimal"), "key"),
        (psk(key=KEY[:8]), "key"),
        (psk(endpoint=""), "name"),
        (psk(endpoint="x" * 300), "name"),
        ({"endpoint": "kitchen"}, "tls"),
        ({"endpoint": "kitchen", "oscore": {"rid": "01", "sid": "02", "msec": KEY}}, "OSCORE"),
        ({"endpoint": "kitchen", "tls": {"mode": "rpk", "details": {"key": KEY}}}, "rpk"),
        ({"endpoint": "kitchen", "tls": {"mode": "psk", "details": {"identity": "id"}}}, "key"),
        ({"endpoint": "kitchen", "tls": {"mode": "psk"}}, "null"),
        ({"tls": {"mode": "psk", "details": {"identity": "id", "key": KEY}}}, "endpoint"),
        ({"endpoint": 5, "tls": {"mode": "psk", "details": {"identity": "id", "key": KEY}}}, "endpoint"),
        ([], "object"),
    ],
)
async def test_what_cannot_be_taken(
    client: Client, credentials: FakeCredentials, body: object, why: str
) -> None:
    await put(client, psk())
    before = credentials.all()
    text = await put(client, body, 400)
    assert text.startswith("Invalid request body: ")
    assert why.lower() in text.lower()
    assert KEY not in text
    assert credentials.all() == before


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 20_000])
async def test_a_body_that_is_no_json(client: Client, credentials: FakeCredentials, data: bytes) -> None:
    async with client.put(CLIENTS, data=data) as response:
        assert response.status == 400
        assert (await response.text()).startswith("Invalid request")
    assert credentials.all() == []


async def test_an_identity_of_another_endpoint(client: Client, credentials: FakeCredentials) -> None:
    await put(client, psk())
    text = await put(client, psk("attic"), 400)
    assert "identity" in text
    assert credentials.of("attic") == []


async def test_a_disk_that_is_full(client: Client, credentials: FakeCredentials) -> None:
    credentials.failure = StoreError("store_full", "the disk is full", "make room")
    text = await put(client, psk(), 500)
    assert text == "Unexpected exception: the disk is full: make room"


async def test_certificates_are_not_brought_by_a_put(client: Client, credentials: FakeCredentials) -> None:
    wanted = {"endpoint": "kitchen", "tls": {"mode": "x509"}}
    await put(client, psk())
    assert "has no certificate" in await put(client, wanted, 400)
    assert len(credentials.of("kitchen")) == 1
    stays = certificate(credentials)
    await put(client, wanted)
    assert [one.id for one in credentials.of("kitchen")] == [stays]
    assert await listed(client) == [wanted]


async def test_an_endpoint_is_removed(client: Client, credentials: FakeCredentials) -> None:
    await put(client, psk("kitchen/north é"))
    certificate(credentials, "kitchen/north é")
    path = f"{CLIENTS}/kitchen%2Fnorth%20%C3%A9"
    async with client.delete(path) as response:
        assert (response.status, await response.text()) == (200, "")
    assert credentials.all() == []
    async with client.delete(path) as response:
        assert (response.status, await response.json()) == (200, {"message": "not_found"})


async def test_pages_of_other_sites_can_put_nothing(client: Client, credentials: FakeCredentials) -> None:
    async with client.put(CLIENTS, json=psk(), headers={"Origin": "https://elsewhere.example"}) as response:
        assert response.status == 403
    assert credentials.all() == []


# The bootstrap server's list, which is a part of the same


async def test_neither_side_takes_the_others_key(
    client: Client, bootstrap_client: Client, credentials: FakeCredentials
) -> None:
    own = "/api/security/clients"
    await put(client, psk(identity="server"))
    await put(bootstrap_client, psk(identity="bootstrap", key=OTHER), path=own)
    await put(client, psk(identity="server 2"))
    await put(bootstrap_client, psk(identity="bootstrap 2", key=OTHER), path=own)
    assert {one.proof.value: one.label for one in credentials.of("kitchen")} == {
        b"server 2": SERVER_LABEL,
        b"bootstrap 2": BOOTSTRAP_LABEL,
    }
    assert [entry["tls"]["details"]["identity"] for entry in await listed(client)] == ["server 2"]
    async with bootstrap_client.get(own) as response:
        assert [entry["tls"]["details"]["identity"] for entry in await response.json()] == ["bootstrap 2"]
    async with bootstrap_client.delete(f"{own}/kitchen") as response:
        assert await response.text() == ""
    assert [one.label for one in credentials.of("kitchen")] == [SERVER_LABEL]
    async with bootstrap_client.delete(f"{own}/kitchen") as response:
        assert await response.json() == {"message": "not_found"}


async def test_one_identity_has_one_key(
    client: Client, bootstrap_client: Client, credentials: FakeCredentials
) -> None:
    """Leshan's two servers may know two keys by it; here it is one list."""
    own = "/api/security/clients"
    await put(client, psk())
    assert "identity" in await put(bootstrap_client, psk(key=OTHER), 400, own)
    assert [one.secret.hex() for one in credentials.of("kitchen")] == [KEY]


async def test_the_server_removes_both_sides_keys(
    client: Client, bootstrap_client: Client, credentials: FakeCredentials
) -> None:
    """What is good for bootstrap is good for a registration here."""
    await put(client, psk())
    await put(bootstrap_client, psk(identity="bootstrap", key=OTHER), path="/api/security/clients")
    async with client.delete(f"{CLIENTS}/kitchen") as response:
        assert response.status == 200
    assert credentials.all() == []
