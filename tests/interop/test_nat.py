"""A NAT that forgets, under simulated devices and under those that have no Connection ID (RFC 9146).

Leshan's client under it is in `test_leshan_dtls`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peer import ACK, CHANGED, POST, Frame

from .coap_client import KEY, SECURE, CoapClient
from .coap_client import register as register_once
from .daemon import LOOPBACK, ROOT, SESSION_MADE, Daemon, Psk
from .hand import openssl, register, request
from .nat import WITH_CID, Nat
from .program import Program, until

PERIOD_S = 0.2
TEMPERATURE = "/3303/0/5700"


@contextmanager
def simulated(daemon: Daemon, nat: Nat, folder: Path, kind: str, prefix: str, *more: str) -> Iterator[str]:
    """A device of `flownexus sim --dtls` that speaks through a NAT; its name."""
    endpoint = f"{prefix}-0001"
    command = [sys.executable, "-m", "flownexus_appliance", "sim", "--count", "1", "--dtls"]
    command += ["--host", LOOPBACK, "--port", str(nat.port), "--prefix", prefix, "--period", str(PERIOD_S)]
    credential = daemon.give(kind, endpoint, folder)
    if isinstance(credential, Psk):
        keys = folder / "keys"
        keys.write_text(f"{endpoint} {credential.identity} {credential.key}\n", encoding="ascii")
        command += ["--psk-file", str(keys)]
    else:
        command += ["--cert", str(credential.certificate), "--key", str(credential.key)]
        command += ["--ca", str(credential.roots)]
    program = Program(f"sim {endpoint}", [*command, *more], ROOT)
    try:
        program.start()
        until(lambda: len(daemon.store.samples(endpoint, TEMPERATURE)) > 1, f"{endpoint} reports", 20)
        yield endpoint
        assert program.stop() == 0, program.tail()
    finally:
        program.end()


def wait_samples(daemon: Daemon, endpoint: str, more: int) -> None:
    """Wait for so many samples that are not there yet."""
    wanted = len(daemon.store.samples(endpoint, TEMPERATURE)) + more
    until(lambda: len(daemon.store.samples(endpoint, TEMPERATURE)) >= wanted, f"{endpoint} reports on")


@pytest.mark.parametrize(
    ("kind", "more"),
    [("psk", ()), ("certificate", ()), ("psk", ("--own-cid", "8"))],
    ids="".join,
)
def test_a_simulated_device_goes_on(daemon: Daemon, tmp_path: Path, kind: str, more: tuple[str, ...]) -> None:
    """It reports, is read and updates, from ever other ports and without a handshake."""
    with (
        Nat(daemon.coaps_port) as nat,
        simulated(daemon, nat, tmp_path, kind, f"nat-{kind}{''.join(more)}", *more) as endpoint,
    ):
        before = daemon.store.registration(endpoint)
        assert before is not None
        seen = {before["address"]}
        for _ in range(5):
            nat.rebind()
            until(lambda: nat.outside, "it speaks from another port")
            assert not seen & nat.outside
            seen |= nat.outside
            wait_samples(daemon, endpoint, 2)
            assert daemon.operate(endpoint, "read", "/3/0/0").code == "2.05"
        after = daemon.store.registration(endpoint)
        assert after is not None
        assert (after["id"], after["session"]) == (before["id"], before["session"])
        assert (nat.hellos, daemon.handshakes(endpoint)) == (2, 1)
        assert nat.records[WITH_CID] > 0
        nat.every = 1  # deregister from one more
    assert daemon.store.registration(endpoint) is None
    assert daemon.handshakes(endpoint) == 1


def test_without_connection_ids_it_is_lost(daemon: Daemon, tmp_path: Path) -> None:
    """The same device but for that: it repeats itself, and nobody knows whose record it is."""
    with (
        Nat(daemon.coaps_port) as nat,
        simulated(daemon, nat, tmp_path, "psk", "nat-no-cid", "--no-cid", "--vanish") as endpoint,
    ):
        assert nat.records[WITH_CID] == 0
        nat.rebind()
        until(lambda: nat.outside, "it speaks from another port")
        samples = len(daemon.store.samples(endpoint, TEMPERATURE))
        relayed = nat.records.total()
        until(lambda: nat.records.total() > relayed, "it says it again")
        # The daemon has read all of that: what comes after it in the same socket has been answered.
        other = CoapClient(daemon.coaps_uri, tmp_path, SECURE[0], daemon.give_psk("nat-probe", KEY))
        register_once(other, "nat-probe")
        assert len(daemon.store.samples(endpoint, TEMPERATURE)) == samples


def test_openssl_needs_another_handshake(daemon: Daemon, tmp_path: Path) -> None:
    endpoint, suite = "nat-openssl", "PSK-AES128-CCM8"
    credential = daemon.give_psk(endpoint)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with Nat(daemon.coaps_port) as nat, openssl(nat.port, credential, suite, first) as client:
        registration_id = register(client, daemon, endpoint)
        client.ask(request(POST, "rd", registration_id, query=("lt=400",)), CHANGED)
        nat.rebind()
        relayed = nat.records.total()
        lost = request(POST, "rd", registration_id, query=("lt=500",))
        client.send(lost)
        until(lambda: nat.records.total() > relayed, "the relay has passed it on")
        with openssl(nat.port, credential, suite, second) as again:
            again.ask(request(POST, "rd", registration_id, query=("lt=600",)), CHANGED)
            stored = daemon.store.registration(endpoint)
            assert stored is not None
            assert stored["lifetime_s"] == 600
        assert not client.heard(Frame(ACK, CHANGED, lost.mid, lost.token))
        assert (nat.hellos, daemon.handshakes(endpoint)) == (4, 2)


def test_coap_client_needs_a_handshake_each(daemon: Daemon, tmp_path: Path) -> None:
    endpoint = "nat-coap-client"
    with Nat(daemon.coaps_port) as nat:
        client = CoapClient(nat.uri, tmp_path, SECURE[0], daemon.give_psk(endpoint, KEY))
        registration_id = register_once(client, endpoint)
        nat.rebind()
        assert client.request("post", f"/rd/{registration_id}").code == "2.04"
        assert (nat.hellos, nat.records[WITH_CID]) == (4, 0)
    made = daemon.logged(SESSION_MADE, endpoint=endpoint)
    assert len({entry["peer"] for entry in made}) == 2
