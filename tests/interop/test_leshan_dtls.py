"""Eclipse Leshan's client over DTLS with Connection ID: its life, its bootstrap, NATs and restarts under it.

LwM2M Core 1.1.1 sections 5.2 and 6.1, RFC 9146. Its DTLS is Californium's Scandium.
"""

import signal
from itertools import count
from pathlib import Path

import pytest

from .daemon import IMPOSTOR, Certificate, Daemon, Store, running
from .leshan_client import OBSERVED, Account, LeshanClient, StartLeshan
from .nat import WITH_CID, Nat
from .program import until

TEMPERATURE = "/3303/0/5700"
KINDS = ["psk", "certificate"]
# A Security instance of more bytes is written in parts, those in blocks (docs/bootstrap.md).
LARGE = 1000


def wait_value(daemon: Daemon, endpoint: str, path: str, value: object, within_s: float = 15.0) -> None:
    """Wait until a value is the newest of its series."""
    until(
        lambda: daemon.store.values(endpoint, path)[-1:] == [value],
        f"{endpoint} {path} = {value} in the store",
        within_s,
    )


def session(store: Store, endpoint: str) -> tuple[str, str]:
    """The registration's session, and where that is now."""
    found = store.registration(endpoint)
    assert found is not None
    return found["session"], found["address"]


# A device's life


@pytest.mark.parametrize("cid_length", [None, 0, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_devices_life(
    daemon: Daemon, tmp_path: Path, start_leshan: StartLeshan, kind: str, cid_length: int | None
) -> None:
    endpoint = f"leshan-{kind}-{cid_length}"
    credential = daemon.give(kind, endpoint, tmp_path)
    client = start_leshan(endpoint, Account(daemon.coaps_uri, credential, cid_length))
    daemon.wait_onboarded(endpoint, OBSERVED)
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert stored["id"] == client.registration_id
    assert stored["session"].startswith("dtls-")

    client.temperature(0, 21.5)
    wait_value(daemon, endpoint, TEMPERATURE, 21.5)
    assert client.send("SENML_CBOR", TEMPERATURE, "/3/0") == "204"
    assert daemon.store.values(endpoint, TEMPERATURE)[-2:] == [21.5, 21.5]

    # Everything it has, in more than one record's worth of blocks.
    read = daemon.operate(endpoint, "read", "/3442/0")
    assert (read.status, read.values["/3442/0/125"]) == ("CONFIRMED", 2**63)
    assert daemon.operate(endpoint, "write", "/3442/0/110", value="Grüße").code == "2.04"
    assert daemon.operate(endpoint, "read", "/3442/0/110").values == {"/3442/0/110": "Grüße"}
    assert daemon.operate(endpoint, "observe", "/3442/0/120").code == "2.05"
    assert daemon.operate(endpoint, "write", "/3442/0/120", value=-77).code == "2.04"
    wait_value(daemon, endpoint, "/3442/0/120", -77)
    assert daemon.operate(endpoint, "execute", "/3/0/4").code == "2.04"
    client.rebooted()

    client.update()
    client.stop()
    assert daemon.store.registration(endpoint) is None
    assert daemon.handshakes(endpoint) == 1
    assert client.complaints() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_name_is_refused(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    endpoint, victim = f"leshan-{kind}-thief", f"leshan-{kind}-victim"
    credential = daemon.give(kind, endpoint, tmp_path)
    daemon.give_psk(victim)
    client = LeshanClient(victim, Account(daemon.coaps_uri, credential, 6), tmp_path)
    try:
        client.program.start()
        assert client.wait_failed("register").startswith("FORBIDDEN")
    finally:
        client.program.end()
    daemon.wait_logged(IMPOSTOR, endpoint=victim)
    assert daemon.handshakes(endpoint) == 1  # it came in, as who it is
    assert daemon.store.registration(victim) is None
    assert daemon.store.registration(endpoint) is None


# Bootstrap by its client


@pytest.mark.parametrize("kind", KINDS)
def test_bootstrap(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """With a key it gets its account by that key; with a certificate it gets a new one, block by block."""
    endpoint = f"leshan-boot-{kind}-of-a-device-whose-name-is-a-long-one"
    credential = daemon.give(kind, endpoint, tmp_path)
    daemon.put_bootstrap(endpoint, {"uri": daemon.coaps_uri, "lifetime_s": 1234, "short_server_id": 7})
    client = LeshanClient(endpoint, Account(daemon.coaps_uri, credential, 6, bootstrap=True), tmp_path)
    try:
        client.program.start()
        client.wait_bootstrapped()
        client.wait_registered()
        daemon.wait_onboarded(endpoint, OBSERVED)
        stored = daemon.store.registration(endpoint)
        assert stored is not None
        assert (stored["id"], stored["lifetime_s"]) == (client.registration_id, 1234)
        assert daemon.operate(endpoint, "read", "/1/0/0").values == {"/1/0/0": 7}
        client.temperature(0, 18.5)
        wait_value(daemon, endpoint, TEMPERATURE, 18.5)

        states = [(entry["origin"], entry["state"]) for entry in daemon.credentials(endpoint)]
        if isinstance(credential, Certificate):
            # Both are good: the operator's brings it here again.
            assert states == [("bootstrap", "active"), ("operator", "active")]
            assert sum(map(len, credential.der())) > LARGE  # and its like was brought
        else:
            assert states == [("operator", "active")]
        client.stop()
    finally:
        client.program.end()
    assert client.complaints() == []


def test_bootstrap_from_a_key_to_a_certificate(daemon: Daemon, tmp_path: Path) -> None:
    """A device made with a key gets a certificate; and another one when it is asked to come again."""
    endpoint = "leshan-boot-promoted"
    credential = daemon.give_psk(endpoint)
    daemon.put_bootstrap(endpoint, {"uri": daemon.coaps_uri, "security": "certificate"})
    client = LeshanClient(endpoint, Account(daemon.coaps_uri, credential, 6, bootstrap=True), tmp_path)
    try:
        client.program.start()
        client.wait_bootstrapped()
        client.wait_registered()
        daemon.wait_onboarded(endpoint, OBSERVED)
        first = {entry["identity"]: entry["state"] for entry in daemon.credentials(endpoint)}
        assert sorted(first.values()) == ["active", "active"]  # the key still brings it here

        answer = daemon.api(f"/endpoints/{endpoint}/bootstrap", {})
        assert answer["code"] == "2.04"
        client.wait_bootstrapped()
        client.wait_registered()
        daemon.wait_onboarded(endpoint, OBSERVED)
        second = {entry["identity"]: entry["state"] for entry in daemon.credentials(endpoint)}
        assert sorted(second.values()) == ["active", "active", "replaced"]
        client.stop()
    finally:
        client.program.end()
    assert client.complaints() == []


# NATs


@pytest.mark.parametrize("cid_length", [0, 6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_nat_forgets_it(
    daemon: Daemon, tmp_path: Path, start_leshan: StartLeshan, kind: str, cid_length: int
) -> None:
    """Its port changes between messages: the session goes on, both ways, and so do its observations."""
    endpoint = f"leshan-nat-{kind}-{cid_length}"
    credential = daemon.give(kind, endpoint, tmp_path)
    with Nat(daemon.coaps_port) as nat:
        client = start_leshan(endpoint, Account(nat.uri, credential, cid_length))
        daemon.wait_onboarded(endpoint, OBSERVED)
        before, hellos = session(daemon.store, endpoint), nat.hellos
        assert {before[1]} == nat.outside
        for value in (1.5, 2.5, 3.5):
            nat.rebind()
            client.temperature(0, value)
            wait_value(daemon, endpoint, TEMPERATURE, value)
            # The way back is the new one at once.
            assert daemon.operate(endpoint, "read", "/3/0/1").values == {"/3/0/1": "interop"}
            nat.rebind()
            assert client.send("SENML_CBOR", TEMPERATURE) == "204"
        nat.rebind()
        client.update()
        after = session(daemon.store, endpoint)
        assert after[0] == before[0]
        assert {after[1]} == nat.outside != {before[1]}
        client.stop()
        assert nat.records[WITH_CID] > 0
        assert (nat.hellos, hellos) == (2, 2)  # one without the cookie, one with it
    assert daemon.handshakes(endpoint) == 1
    assert client.complaints() == []


def test_a_nat_forgets_it_all_the_time(daemon: Daemon, tmp_path: Path, start_leshan: StartLeshan) -> None:
    """From another port every third datagram, in the middle of a blockwise transfer too."""
    endpoint = "leshan-nat-always"
    credential = daemon.give_psk(endpoint)
    with Nat(daemon.coaps_port) as nat:
        client = start_leshan(endpoint, Account(nat.uri, credential, 6))
        daemon.wait_onboarded(endpoint, OBSERVED)
        nat.every = 3
        for number in range(30):
            client.temperature(0, float(number))
            assert client.send("SENML_JSON", TEMPERATURE, "/3442/0") == "204"
        wait_value(daemon, endpoint, TEMPERATURE, 29.0)
        assert set(daemon.store.values(endpoint, TEMPERATURE)) >= {float(number) for number in range(30)}
        client.update()
        nat.every = None
        client.stop()
        assert nat.hellos == 2
    assert daemon.handshakes(endpoint) == 1
    assert client.complaints() == []


# Restarts


@pytest.mark.parametrize(
    ("kind", "how"),
    [("psk", signal.SIGTERM), ("certificate", signal.SIGKILL), ("psk", signal.SIGKILL)],
    ids=lambda item: item if isinstance(item, str) else item.name,
)
def test_a_restart_costs_no_handshake(
    tmp_path: Path, start_leshan: StartLeshan, kind: str, how: signal.Signals
) -> None:
    """What was acknowledged is there, the observations go on, and the NAT has forgotten it meanwhile, too."""
    endpoint = "leshan-stays"
    values = (float(number) for number in count(100))
    with running(tmp_path) as daemon, Nat(daemon.coaps_port) as nat:
        credential = daemon.give(kind, endpoint, tmp_path)
        client = start_leshan(endpoint, Account(nat.uri, credential, 6))
        daemon.wait_onboarded(endpoint, OBSERVED)
        registration = daemon.store.registration(endpoint)
        tokens = daemon.store.observations(endpoint)
        acknowledged = set()
        for nat_forgets in (False, True):
            for value in (next(values), next(values), next(values)):
                client.temperature(0, value)
                assert client.send("SENML_CBOR", TEMPERATURE) == "204"
                acknowledged.add(value)
            if how is signal.SIGKILL:
                daemon.program.kill()
            else:
                daemon.stop(how)
            assert set(daemon.store.values(endpoint, TEMPERATURE)) >= acknowledged
            if nat_forgets:
                nat.rebind()
            meanwhile = next(values)
            client.temperature(0, meanwhile)  # said to a closed port; the client says it again
            daemon.start()
            wait_value(daemon, endpoint, TEMPERATURE, meanwhile, within_s=40)
            assert daemon.operate(endpoint, "read", "/3/0/1").values == {"/3/0/1": "interop"}
        client.update()
        after = daemon.store.registration(endpoint)
        assert after is not None
        assert registration is not None
        assert {**after, "address": ""} == {**registration, "address": ""}
        assert daemon.store.observations(endpoint) == tokens
        client.stop()
        assert nat.hellos == 2
        assert daemon.handshakes(endpoint) == 1
    assert client.complaints() == []
