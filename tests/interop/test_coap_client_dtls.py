"""libcoap's coap-client over DTLS, in its OpenSSL and its GnuTLS build: each request a handshake of its own.

LwM2M Transport 1.1.1 sections 5.2 (identity), 6.4.3 and 6.4.6; RFC 7959. It has no Connection ID.
"""

from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from . import certificates
from .coap_client import KEY, LINK_FORMAT, SECURE, CoapClient, register
from .daemon import IMPOSTOR, REFUSED, Credential, Daemon, Psk
from .program import until

LINKS = b'</>;rt="oma.lwm2m";ct=112,</1/0>,</3/0>,</3303/0>'
OBJECTS = {1: [0], 3: [0], 3303: [0]}
SENML_CBOR = 112


def give(daemon: Daemon, kind: str, endpoint: str, folder: Path) -> Credential:
    return daemon.give_psk(endpoint, KEY) if kind == "psk" else daemon.give_certificate(endpoint, folder)


@pytest.mark.parametrize("kind", ["psk", "certificate"])
@pytest.mark.parametrize("build", SECURE)
def test_a_devices_life(daemon: Daemon, tmp_path: Path, build: str, kind: str) -> None:
    endpoint = f"{build}-{kind}"
    client = CoapClient(daemon.coaps_uri, tmp_path, build, give(daemon, kind, endpoint, tmp_path))
    registration_id = register(client, endpoint, LINKS)
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert (stored["id"], stored["objects"]) == (registration_id, OBJECTS)
    first_session = stored["session"]
    assert first_session.startswith("dtls-")

    # From another port and by another session, and the same device all the same.
    assert client.request("post", f"/rd/{registration_id}", ("lt=900",)).code == "2.04"
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert (stored["id"], stored["lifetime_s"]) == (registration_id, 900)
    assert stored["session"] != first_session

    pack = cbor2.dumps([{-2: "/3303/0/", 0: "5700", 2: 21.5}, {0: "5701", 3: "Cel"}])
    assert client.request("post", "/dp", (), pack, SENML_CBOR).code == "2.04"
    assert daemon.store.values(endpoint, "/3303/0/5700") == [21.5]
    assert daemon.store.values(endpoint, "/3303/0/5701") == ["Cel"]

    assert client.request("delete", f"/rd/{registration_id}").code == "2.02"
    assert daemon.store.registration(endpoint) is None
    assert daemon.handshakes(endpoint) == 4


@pytest.mark.parametrize("build", SECURE)
def test_register_and_send_in_blocks(daemon: Daemon, tmp_path: Path, build: str) -> None:
    endpoint = f"{build}-blocks"
    client = CoapClient(daemon.coaps_uri, tmp_path, build, daemon.give_psk(endpoint, KEY))
    links = LINKS + b"".join(b",</3303/%d>" % number for number in range(1, 100))
    register(client, endpoint, links, block_size=256)
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert stored["objects"] == {1: [0], 3: [0], 3303: list(range(100))}

    times = range(1_700_000_000, 1_700_000_060)
    pack = cbor2.dumps([{0: "/3303/1/5700", 6: moment, 2: float(moment)} for moment in times])
    assert client.request("post", "/dp", (), pack, SENML_CBOR, block_size=256).code == "2.04"
    assert daemon.store.values(endpoint, "/3303/1/5700") == [float(moment) for moment in times]
    assert daemon.handshakes(endpoint) == 2


@pytest.mark.parametrize("kind", ["psk", "certificate"])
@pytest.mark.parametrize("build", SECURE)
def test_a_foreign_name_is_refused(daemon: Daemon, tmp_path: Path, build: str, kind: str) -> None:
    endpoint, victim = f"{build}-{kind}-thief", f"{build}-{kind}-victim"
    thief = CoapClient(daemon.coaps_uri, tmp_path, build, give(daemon, kind, endpoint, tmp_path))
    owner = CoapClient(daemon.coaps_uri, tmp_path, build, daemon.give_certificate(victim, tmp_path))
    registration_id = register(owner, victim)
    before = daemon.store.registration(victim)
    nobody = f"{build}-{kind}-nobody"
    for name in (victim, nobody):
        query = ("lwm2m=1.1", f"ep={name}", "lt=300")
        assert thief.request("post", "/rd", query, LINKS, LINK_FORMAT).code == "4.03"
        daemon.wait_logged(IMPOSTOR, endpoint=name)
    assert thief.request("post", f"/rd/{registration_id}", ("lt=1",)).code == "4.03"
    assert thief.request("delete", f"/rd/{registration_id}").code == "4.03"
    until(lambda: len(daemon.logged(IMPOSTOR, endpoint=victim)) == 3, "three refusals in the log")
    daemon.wait_logged(IMPOSTOR, endpoint=victim)
    assert daemon.store.registration(victim) == before
    assert nobody not in daemon.store.endpoints()


def test_a_guarded_name_cannot_be_had_in_the_clear(
    daemon: Daemon, coap_client: CoapClient, tmp_path: Path
) -> None:
    """Before it ever came over DTLS, and while it is there."""
    owner = CoapClient(daemon.coaps_uri, tmp_path, SECURE[0], daemon.give_psk("coap-guarded", KEY))
    query = ("lwm2m=1.1", "ep=coap-guarded", "lt=300")
    assert coap_client.request("post", "/rd", query, LINKS, LINK_FORMAT).code == "4.03"
    registration_id = register(owner, "coap-guarded")
    before = daemon.store.registration("coap-guarded")
    assert coap_client.request("post", "/rd", query, LINKS, LINK_FORMAT).code == "4.03"
    assert coap_client.request("post", f"/rd/{registration_id}", ("lt=1",)).code == "4.03"
    assert coap_client.request("delete", f"/rd/{registration_id}").code == "4.03"
    until(lambda: len(daemon.logged(IMPOSTOR, endpoint="coap-guarded")) == 4, "four refusals in the log")
    daemon.wait_logged(IMPOSTOR, endpoint="coap-guarded")
    assert daemon.store.registration("coap-guarded") == before


@pytest.mark.parametrize("build", SECURE)
def test_who_does_not_come_in(daemon: Daemon, tmp_path: Path, build: str) -> None:
    endpoint = f"{build}-outside"
    right = daemon.give_psk(endpoint, KEY)
    own = daemon.give_certificate(endpoint, tmp_path)
    (tmp_path / "other").mkdir()
    foreign = certificates.foreign(tmp_path / "other", endpoint, own.roots)
    tries: list[tuple[Credential, str]] = [
        (replace(right, key=b"sixteen LETTERS!".hex()), "psk_wrong"),
        (Psk(f"{endpoint}-nobody", KEY), "psk_unknown"),
        (foreign, "certificate_foreign"),
        (replace(own, roots=foreign.certificate), "handshake_refused"),
    ]
    query = ("lwm2m=1.1", f"ep={endpoint}", "lt=300")
    for credential, code in tries:
        since = daemon.now
        client = CoapClient(daemon.coaps_uri, tmp_path, build, credential)
        with pytest.raises(AssertionError, match="no response"):
            client.request("post", "/rd", query, LINKS, LINK_FORMAT)
        daemon.wait_logged(REFUSED, since, error_code=code)
    assert daemon.handshakes(endpoint) == 0

    client = CoapClient(daemon.coaps_uri, tmp_path, build, own)
    register(client, endpoint)
    daemon.revoke(endpoint)
    until(lambda: daemon.store.registration(endpoint) is None, f"{endpoint} is registered no more")
    for lost, code in ((own, "certificate_revoked"), (right, "psk_unknown")):
        since = daemon.now
        client = CoapClient(daemon.coaps_uri, tmp_path, build, lost)
        with pytest.raises(AssertionError, match="no response"):
            client.request("post", "/rd", query, LINKS, LINK_FORMAT)
        daemon.wait_logged(REFUSED, since, error_code=code)
