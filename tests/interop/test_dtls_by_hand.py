"""OpenSSL's and GnuTLS's client programs register and deregister by hand; who should not come in does not.

RFC 6347, RFC 4279, RFC 7251 (ECDHE-ECDSA with CCM), RFC 6655 (PSK with CCM); LwM2M Transport 1.1.1 section 5.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.peer import CHANGED, DELETE, DELETED, POST

from . import certificates
from .daemon import IMPOSTOR, REFUSED, SESSION_MADE, Certificate, Credential, Daemon, Psk, running
from .hand import ByHand, gnutls, openssl, register, request
from .program import until

Program = Callable[[int, Credential, str, Path], AbstractContextManager[ByHand]]
OPENSSL_SUITES = {
    "psk": ("PSK-AES128-CCM8", "PSK-AES128-CCM", "PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"),
    "certificate": (
        "ECDHE-ECDSA-AES128-CCM8",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA256",
    ),
}
GNUTLS_SUITES = {
    kind: tuple(
        f"{exchange}:{cipher}" for cipher in ("AES-128-CCM-8", "AES-128-CCM", "AES-128-GCM", "AES-128-CBC")
    )
    for kind, exchange in (("psk", "PSK"), ("certificate", "ECDHE-ECDSA"))
}
WAYS_IN = [
    pytest.param(program, kind, suite, id=f"{program.__name__}-{suite.replace(':', '-')}")
    for program, suites in ((openssl, OPENSSL_SUITES), (gnutls, GNUTLS_SUITES))
    for kind in suites
    for suite in suites[kind]
]
PROGRAMS = [pytest.param(openssl, id="openssl"), pytest.param(gnutls, id="gnutls")]
FORBIDDEN = 0x83


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("by-hand")


@pytest.fixture(scope="module")
def expired(folder: Path) -> Certificate:
    return certificates.provision(folder / "state", folder, "hand-expired", since_days=10, valid_days=9)


@pytest.fixture(scope="module")
def ending(folder: Path) -> Certificate:
    """What differs from `expired` in its end only."""
    return certificates.provision(folder / "state", folder, "hand-ending", since_days=10, valid_days=11)


@pytest.fixture(scope="module")
def daemon(folder: Path, expired: Certificate, ending: Certificate) -> Iterator[Daemon]:
    with running(folder) as started:
        yield started


@pytest.mark.parametrize(("program", "kind", "suite"), WAYS_IN)
def test_every_suite(daemon: Daemon, tmp_path: Path, program: Program, kind: str, suite: str) -> None:
    endpoint = f"{program.__name__}-{suite}"
    credential = daemon.give(kind, endpoint, tmp_path)
    since = daemon.now
    with program(daemon.coaps_port, credential, suite, tmp_path) as client:
        registration_id = register(client, daemon, endpoint)
        made = daemon.wait_logged(SESSION_MADE, since, endpoint=endpoint)
        stored = daemon.store.registration(endpoint)
        assert stored is not None
        assert stored["address"] == made["peer"]
        assert stored["session"].startswith("dtls-")
        client.ask(request(POST, "rd", registration_id, query=("lt=900",)), CHANGED)
        client.ask(request(DELETE, "rd", registration_id), DELETED)
        client.stop()
    chosen = f"Ciphersuite: {suite}\n" if program is openssl else f"-({suite.partition(':')[2]})"
    assert chosen in client.words
    assert daemon.store.registration(endpoint) is None
    assert daemon.handshakes(endpoint) == 1


def refused(daemon: Daemon, client: ByHand, since: int, code: str, words: str = "") -> None:
    """The program gives up, and the daemon's log says why."""
    entry = daemon.wait_logged(REFUSED, since, error_code=code)
    assert words in entry["cause"], entry
    client.wait_refused()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_key(daemon: Daemon, tmp_path: Path, program: Program) -> None:
    endpoint = f"{program.__name__}-wrong-key"
    right = daemon.give_psk(endpoint)
    wrong = replace(right, key=f"{int(right.key, 16) ^ 1:032x}")
    suite = "PSK-AES128-CCM" if program is openssl else "PSK:AES-128-CCM"
    since = daemon.now
    with program(daemon.coaps_port, wrong, suite, tmp_path) as client:
        refused(daemon, client, since, "psk_wrong")
    assert daemon.logged(REFUSED, since, identity=right.identity)
    assert daemon.handshakes(endpoint) == 0
    with program(daemon.coaps_port, right, suite, tmp_path) as client:
        register(client, daemon, endpoint)


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_identity(daemon: Daemon, tmp_path: Path, program: Program) -> None:
    suite = "PSK-AES128-CCM" if program is openssl else "PSK:AES-128-CCM"
    since = daemon.now
    nobody = Psk(f"{program.__name__}-nobody", "00112233445566778899aabbccddeeff")
    with program(daemon.coaps_port, nobody, suite, tmp_path) as client:
        refused(daemon, client, since, "psk_unknown")
    assert daemon.logged(REFUSED, since, identity=nobody.identity)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_key_that_was_taken_away(daemon: Daemon, tmp_path: Path, program: Program) -> None:
    """Its registration and its session end at once; then it is nobody's."""
    endpoint = f"{program.__name__}-removed-key"
    credential = daemon.give_psk(endpoint)
    suite = "PSK-AES128-CCM" if program is openssl else "PSK:AES-128-CCM"
    with program(daemon.coaps_port, credential, suite, tmp_path) as client:
        register(client, daemon, endpoint)
        daemon.revoke(endpoint)
        until(lambda: daemon.store.registration(endpoint) is None, f"{endpoint} is registered no more")
        client.wait_refused()
    since = daemon.now
    with program(daemon.coaps_port, credential, suite, tmp_path) as client:
        refused(daemon, client, since, "psk_unknown")


ECDHE = {openssl: "ECDHE-ECDSA-AES128-CCM8", gnutls: "ECDHE-ECDSA:AES-128-CCM-8"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_certificate_that_was_taken_away(daemon: Daemon, tmp_path: Path, program: Program) -> None:
    endpoint = f"{program.__name__}-revoked"
    credential = daemon.give_certificate(endpoint, tmp_path)
    with program(daemon.coaps_port, credential, ECDHE[program], tmp_path) as client:
        register(client, daemon, endpoint)
        daemon.revoke(endpoint)
        until(lambda: daemon.store.registration(endpoint) is None, f"{endpoint} is registered no more")
        client.wait_refused()
    since = daemon.now
    with program(daemon.coaps_port, credential, ECDHE[program], tmp_path) as client:
        refused(daemon, client, since, "certificate_revoked")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_certificate_that_is_over(
    daemon: Daemon, tmp_path: Path, program: Program, expired: Certificate, ending: Certificate
) -> None:
    since = daemon.now
    with program(daemon.coaps_port, expired, ECDHE[program], tmp_path) as client:
        refused(daemon, client, since, "certificate_expired")
    assert daemon.handshakes("hand-expired") == 0
    with program(daemon.coaps_port, ending, ECDHE[program], tmp_path) as client:
        register(client, daemon, "hand-ending")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_certificate_by_another_ca(daemon: Daemon, tmp_path: Path, program: Program) -> None:
    """It names an endpoint that there is, and nothing in it is wrong but its issuer."""
    endpoint = f"{program.__name__}-foreign"
    own = daemon.give_certificate(endpoint, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    foreign = certificates.foreign(other, endpoint, own.roots)
    since = daemon.now
    with program(daemon.coaps_port, foreign, ECDHE[program], tmp_path) as client:
        refused(daemon, client, since, "certificate_foreign")
    assert daemon.handshakes(endpoint) == 0
    with program(daemon.coaps_port, own, ECDHE[program], tmp_path) as client:
        register(client, daemon, endpoint)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_server_by_another_ca(daemon: Daemon, tmp_path: Path, program: Program) -> None:
    """A device that does not know the box's root leaves, and the log tells that it was the device."""
    endpoint = f"{program.__name__}-doubtful"
    own = daemon.give_certificate(endpoint, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    strangers = certificates.foreign(other, endpoint, own.roots).certificate
    since = daemon.now
    with program(daemon.coaps_port, replace(own, roots=strangers), ECDHE[program], tmp_path) as client:
        client.wait_refused()
    daemon.wait_logged(REFUSED, since, error_code="handshake_refused")
    assert daemon.handshakes(endpoint) == 0


def test_no_certificate_at_all(daemon: Daemon, tmp_path: Path) -> None:
    since = daemon.now
    with openssl(daemon.coaps_port, None, ECDHE[openssl], tmp_path) as client:
        refused(daemon, client, since, "certificate_missing")


def test_a_suite_the_box_does_not_have(daemon: Daemon, tmp_path: Path) -> None:
    since = daemon.now
    credential = daemon.give_psk("openssl-old-suite")
    with openssl(daemon.coaps_port, credential, "PSK-AES256-CBC-SHA", tmp_path) as client:
        refused(daemon, client, since, "handshake_refused")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("kind", ["psk", "certificate"])
def test_a_foreign_name_is_refused(daemon: Daemon, tmp_path: Path, program: Program, kind: str) -> None:
    """Who has come in as one device is not another: register, update and deregister."""
    endpoint, victim = f"{program.__name__}-{kind}-thief", f"{program.__name__}-{kind}-victim"
    thief, owner = daemon.give(kind, endpoint, tmp_path), daemon.give(kind, victim, tmp_path)
    suite = (OPENSSL_SUITES if program is openssl else GNUTLS_SUITES)[kind][0]
    (tmp_path / "owner").mkdir()
    with (
        program(daemon.coaps_port, owner, suite, tmp_path / "owner") as honest,
        program(daemon.coaps_port, thief, suite, tmp_path) as client,
    ):
        registration_id = register(honest, daemon, victim)
        before = daemon.store.registration(victim)
        query = ("lwm2m=1.1", f"ep={victim}", "lt=300")
        client.ask(request(POST, "rd", query=query, payload=b"</3/0>"), FORBIDDEN)
        client.ask(request(POST, "rd", registration_id, query=("lt=1",)), FORBIDDEN)
        client.ask(request(DELETE, "rd", registration_id), FORBIDDEN)
        daemon.wait_logged(IMPOSTOR, endpoint=victim)
        assert daemon.store.registration(victim) == before
        assert daemon.store.registration(endpoint) is None
        register(client, daemon, endpoint)
        honest.ask(request(POST, "rd", registration_id), CHANGED)
