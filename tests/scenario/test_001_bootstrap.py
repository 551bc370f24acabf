"""The Bootstrap interface and enrolment, from a Bootstrap-Request to the registration by what it gave."""

import asyncio
from pathlib import Path

import cbor2
import pytest

from tests.interop.daemon import IMPOSTOR, REFUSED, Certificate, Credential, Daemon, Psk
from tests.peer import CONTENT_FORMAT, GET, POST, SENML_CBOR, device
from tests.secure_peer import secure_peer

from .bootstrapping import ACCOUNT, NO_SEC_MODE, OPAQUE, PSK_MODE, Bootstrapper
from .thermometer import (
    TEMPERATURE,
    ready,
    secure_thermometer,
    thermometer,
)

PLAN = ["discover", "delete /0", "delete /1", "write /0/1", "write /1/0", "finish"]
KEYS = tuple(f"{ACCOUNT}/{number}" for number in (3, 4, 5))
FORBIDDEN = "4.03"


async def comes_in(daemon: Daemon, endpoint: str, port: int, credential: Credential) -> None:
    """A device registers by what it was given, and reports."""
    async with secure_thermometer(port, endpoint, credential) as client:
        await ready(daemon, client)
        assert (await client.send({TEMPERATURE: 5.0})).status == "2.04"
        assert daemon.store.values(endpoint, TEMPERATURE) == [21.5, 5.0]


@pytest.mark.parametrize("named", [True, False], ids=["with its name", "without"])
async def test_client_initiated_bootstrap(daemon: Daemon, tmp_path: Path, named: bool) -> None:
    """LightweightM2M-1.1-int-0, LightweightM2M-1.1-int-1: it gets the key again that it came by."""
    endpoint = f"int-1-{named}"
    credential = daemon.give_psk(endpoint)
    daemon.put_bootstrap(endpoint, {"lifetime_s": 3600, "writes": {"/3/0/15": "Europe/Berlin"}})
    with secure_peer(daemon.coaps_port, credential) as peer:
        client = Bootstrapper(await peer.shake())
        await client.bootstrap(endpoint if named else "")
        assert client.steps == [*PLAN[:-1], "write /3/0/15", "finish"]
        assert client.values[f"{ACCOUNT}/2"] == PSK_MODE
        assert client.values["/1/0/1"] == 3600
        assert client.values["/3/0/15"] == "Europe/Berlin"
        daemon.wait_logged("bootstrap step", endpoint=endpoint, step="finished")
    assert client.credential(tmp_path) == credential
    await comes_in(daemon, endpoint, client.port, credential)


async def test_bootstrap_with_a_certificate(daemon: Daemon, tmp_path: Path) -> None:
    """LightweightM2M-1.1-int-2: keys and certificates one by one, for all in one is above 1,000 bytes."""
    endpoint = "int-2"
    daemon.put_bootstrap(endpoint, {"security": "certificate"})
    with secure_peer(daemon.coaps_port, daemon.give_psk(endpoint)) as peer:
        client = Bootstrapper(await peer.shake())
        await client.bootstrap(endpoint)
    written = {write.path: write for write in client.writes}
    assert {written[path].content_format for path in KEYS} == {OPAQUE}
    assert all(write.size <= 512 for write in client.writes)
    given = client.credential(tmp_path)
    assert isinstance(given, Certificate)
    await comes_in(daemon, endpoint, client.port, given)


async def test_large_keys_come_in_blocks(daemon: Daemon) -> None:
    """RFC 7959 2.3 and 4: blocks of 512 bytes, and Size1 tells how much it will be."""
    endpoint = "int-2-large"
    sizes = {f"{ACCOUNT}/3": 1100, f"{ACCOUNT}/4": 1024, f"{ACCOUNT}/5": 513}
    large = {path: [number % 251 for number in range(size)] for path, size in sizes.items()}
    names = ("publicKeyOrId", "serverPublicKey", "secretKey")
    account = {"uri": "coaps://box.example:5684", "bootstrapServer": False, "securityMode": "X509"}
    account |= {"serverId": 1, **dict(zip(names, large.values(), strict=True))}
    server = {"shortId": 1, "lifetime": 60, "binding": "U"}
    daemon.put_bootstrap(
        endpoint, {"toDelete": ["/0", "/1"], "servers": {"0": server}, "security": {"1": account}}
    )
    with secure_peer(daemon.coaps_port, daemon.give_psk(endpoint)) as peer:
        client = Bootstrapper(await peer.shake())
        await client.bootstrap(endpoint)
    for path, octets in large.items():
        assert client.values[path] == bytes(octets)
        (write,) = (w for w in client.writes if w.path == path)
        assert (write.content_format, write.announced) == (OPAQUE, len(octets))
        assert [block.size for block in write.blocks] == [512] * -(-len(octets) // 512)
    assert client.values["/1/0/1"] == 60


async def test_a_device_that_breaks_off_comes_again(daemon: Daemon, tmp_path: Path) -> None:
    """In the middle of a write it is gone; the next time it gets all of it from the start."""
    endpoint = "half-way"
    credential = daemon.give_psk(endpoint)
    with secure_peer(daemon.coaps_port, credential) as peer:
        client = Bootstrapper(await peer.shake())
        await client.bootstrap(endpoint, until="delete /1")
        await peer.asked()
        again = Bootstrapper(peer)
        assert (await again.ask(endpoint)).status == "2.04"
        while "finish" not in again.steps:
            # What of the first one is still sent again has nothing to do with the second.
            again.do(await peer.asked())
    assert again.steps[-len(PLAN) :] == PLAN
    assert again.credential(tmp_path) == credential
    await comes_in(daemon, endpoint, again.port, credential)


async def test_server_initiated_bootstrap(daemon: Daemon, tmp_path: Path) -> None:
    """LightweightM2M-1.1-int-5: an Execute of /1/0/9, and the device comes."""
    endpoint = "int-5"
    credential = daemon.give_psk(endpoint)
    async with secure_thermometer(daemon.coaps_port, endpoint, credential) as client:
        client.values["/1/0/0"] = 1
        await ready(daemon, client)
        answer = await asyncio.to_thread(daemon.api, f"/endpoints/{endpoint}/bootstrap", {})
        assert answer["status"] == "CONFIRMED"
        assert client.executed == [("/1/0/9", b"")]
    with secure_peer(daemon.coaps_port, credential) as peer:
        bootstrapper = Bootstrapper(await peer.shake())
        await bootstrapper.bootstrap(endpoint)
        assert bootstrapper.credential(tmp_path) == credential


async def test_bootstrap_pack(daemon: Daemon) -> None:
    """LwM2M Core 1.2 6.1.7.7: everything in one answer."""
    credential = daemon.give_psk("packed")
    with secure_peer(daemon.coaps_port, credential) as peer:
        await peer.shake()
        reply = await peer.reply(peer.request(GET, "/bspack", query=("ep=packed",), accept=SENML_CBOR))
    assert (reply.status, reply.number(CONTENT_FORMAT)) == ("2.05", SENML_CBOR)
    given = Bootstrapper(peer)
    given.learn(cbor2.loads(reply.payload))
    assert given.values[f"{ACCOUNT}/3"] == credential.identity.encode()
    assert given.values[f"{ACCOUNT}/5"] == bytes.fromhex(credential.key)


async def test_keys_do_not_go_in_the_clear(daemon: Daemon) -> None:
    """Over plain CoAP there is an account without security, and that only if it is configured."""
    with device(daemon.coap_port) as peer:
        client = Bootstrapper(peer)
        assert (await client.ask("in-the-clear")).status == "4.00"
        daemon.wait_logged("bootstrap step", endpoint="in-the-clear", step="refused")
        daemon.put_bootstrap("in-the-clear", {"security": "none"})
        await client.bootstrap("in-the-clear")
        assert client.values[f"{ACCOUNT}/2"] == NO_SEC_MODE
        assert client.values[f"{ACCOUNT}/5"] == b""
    async with thermometer(client.port, "in-the-clear") as registered:
        await ready(daemon, registered)


# Enrolment


def open_window(daemon: Daemon) -> Psk:
    given = daemon.api("/enrolment", {})["psk"]
    return Psk(given["identity"], given["key"])


def close_window(daemon: Daemon) -> None:
    daemon.api("/enrolment", method="DELETE")


async def test_an_unknown_device_enrols(daemon: Daemon, tmp_path: Path) -> None:
    """It bootstraps by the window's key, gets one of its own, and registers by that."""
    with secure_peer(daemon.coaps_port, open_window(daemon)) as peer:
        client = Bootstrapper(await peer.shake())
        await client.bootstrap("enrolled")
        assert client.steps == PLAN
    own = client.credential(tmp_path)
    assert isinstance(own, Psk)
    assert own.identity == "enrolled"
    close_window(daemon)
    await comes_in(daemon, "enrolled", client.port, own)
    (credential,) = daemon.credentials("enrolled")
    assert (credential["origin"], credential["state"]) == ("enrolment", "active")


async def test_the_enrolment_key_is_good_for_nothing_else(daemon: Daemon) -> None:
    """Neither to register nor to take the name of a device that has a credential."""
    daemon.give_psk("taken")
    async with secure_thermometer(daemon.coaps_port, "nobody", open_window(daemon)) as client:
        for code, path, endpoint in (
            (POST, "/rd", "nobody"),
            (POST, "/bs", "taken"),
            (GET, "/bspack", "taken"),
        ):
            since = daemon.now
            request = client.peer.request(code, path, b"</1/0>", query=("lwm2m=1.1", f"ep={endpoint}"))
            assert (await client.ask(request)).status == FORBIDDEN
            daemon.wait_logged(IMPOSTOR, since, endpoint=endpoint)
        since = daemon.now
        assert (await client.send({TEMPERATURE: 1.0})).status == FORBIDDEN
        daemon.wait_logged(IMPOSTOR, since, action="send")
    close_window(daemon)
    assert "nobody" not in daemon.store.endpoints()


async def test_a_closed_window(daemon: Daemon) -> None:
    """It ends who is half-way through, and lets nobody in any more."""
    key = open_window(daemon)
    with secure_peer(daemon.coaps_port, key) as peer:
        client = Bootstrapper(await peer.shake())
        await client.bootstrap("too-late", until="delete /1")
        since = daemon.now
        close_window(daemon)
        await peer.ended()
        # It need not wait for what is asked of a session that is gone.
        daemon.wait_logged("bootstrap step", since, endpoint="too-late", step="failed")
    with secure_peer(daemon.coaps_port, key) as peer:
        since = daemon.now
        assert await peer.refused() == "handshake_refused"
        daemon.wait_logged(REFUSED, since, error_code="psk_unknown", identity=key.identity)
    assert open_window(daemon).key != key.key
    close_window(daemon)


async def test_who_enrols_and_breaks_off_comes_again(daemon: Daemon, tmp_path: Path) -> None:
    """Its key was written to nobody: it gets another, and the first is good for nothing."""
    window = open_window(daemon)
    with secure_peer(daemon.coaps_port, window) as peer:
        first = Bootstrapper(await peer.shake())
        await first.bootstrap("twice", until=f"write {ACCOUNT}")
    with secure_peer(daemon.coaps_port, window) as peer:
        second = Bootstrapper(await peer.shake())
        await second.bootstrap("twice")
    lost, own = first.credential(tmp_path), second.credential(tmp_path)
    assert isinstance(lost, Psk)
    assert isinstance(own, Psk)
    assert lost.key != own.key
    with secure_peer(daemon.coaps_port, lost) as peer:
        assert await peer.refused() == "handshake_refused"
    await comes_in(daemon, "twice", second.port, own)
    with secure_peer(daemon.coaps_port, window) as peer:
        since = daemon.now
        third = Bootstrapper(await peer.shake())
        assert (await third.ask("twice")).status == FORBIDDEN, "it was used: the name is taken"
        daemon.wait_logged(IMPOSTOR, since, endpoint="twice")
    close_window(daemon)
