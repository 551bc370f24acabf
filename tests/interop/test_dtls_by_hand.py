"""OpenSSL's and GnuTLS's client programs register and deregister by hand; who should not come in does not.

RFC 6347, RFC 4279, RFC 7251 (ECDHE-ECDSA with CCM), RFC 6655 (PSK with CCM); LwM2M Transport 1.1.1 section 5.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.peer import CHANGED, DELETE, DELETED, POST

from . import certificates
from .daemon import IMPOSTOR, REFUSED, SESSION_MADE, Certificate, Credential, Daemon, Psk, running
from .hand import ByHand, gnutls, openssl, register, request
from .program import until


@dataclass(frozen=True, slots=True)
class Tool:
    """One of the two programs, and the suites it is to try by what a device proves itself with."""

    name: str
    run: Callable[[int, Credential | None, str, Path], AbstractContextManager[ByHand]]
    suites: Mapping[str, tuple[str, ...]]
    says: Callable[[str], str]  # which suite it has agreed on, in its own words


OPENSSL = Tool(
    "openssl",
    openssl,
    {
        "psk": ("PSK-AES128-CCM", "PSK-AES128-CCM8", "PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"),
        "certificate": (
            "ECDHE-ECDSA-AES128-CCM8",
            "ECDHE-ECDSA-AES128-CCM",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES128-SHA256",
        ),
    },
    lambda suite: f"Ciphersuite: {suite}\n",
)
CIPHERS = ("AES-128-CCM-8", "AES-128-CCM", "AES-128-GCM", "AES-128-CBC")
GNUTLS = Tool(
    "gnutls",
    gnutls,
    {
        "psk": tuple(f"PSK:{cipher}" for cipher in CIPHERS),
        "certificate": tuple(f"ECDHE-ECDSA:{cipher}" for cipher in CIPHERS),
    },
    lambda suite: f"-({suite.partition(':')[2]})",
)
TOOLS = [pytest.param(tool, id=tool.name) for tool in (OPENSSL, GNUTLS)]
WAYS_IN = [
    pytest.param(tool, kind, suite, id=f"{tool.name}-{suite.replace(':', '-')}")
    for tool in (OPENSSL, GNUTLS)
    for kind, suites in tool.suites.items()
    for suite in suites
]
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


@pytest.mark.parametrize(("tool", "kind", "suite"), WAYS_IN)
def test_every_suite(daemon: Daemon, tmp_path: Path, tool: Tool, kind: str, suite: str) -> None:
    endpoint = f"{tool.name}-{suite}"
    credential = daemon.give(kind, endpoint, tmp_path)
    since = daemon.now
    with tool.run(daemon.coaps_port, credential, suite, tmp_path) as client:
        registration_id = register(client, daemon, endpoint)
        made = daemon.wait_logged(SESSION_MADE, since, endpoint=endpoint)
        stored = daemon.store.registration(endpoint)
        assert stored is not None
        assert stored["address"] == made["peer"]
        assert stored["session"].startswith("dtls-")
        client.ask(request(POST, "rd", registration_id, query=("lt=900",)), CHANGED)
        client.ask(request(DELETE, "rd", registration_id), DELETED)
        client.stop()
    assert tool.says(suite) in client.words
    assert daemon.store.registration(endpoint) is None
    assert daemon.handshakes(endpoint) == 1


def refused(daemon: Daemon, client: ByHand, since: int, code: str, words: str = "") -> None:
    """The program gives up, and the daemon's log says why."""
    entry = daemon.wait_logged(REFUSED, since, error_code=code)
    assert words in entry["cause"], entry
    client.wait_refused()


@pytest.mark.parametrize("tool", TOOLS)
def test_a_wrong_key(daemon: Daemon, tmp_path: Path, tool: Tool) -> None:
    endpoint = f"{tool.name}-wrong-key"
    right = daemon.give_psk(endpoint)
    wrong = replace(right, key=f"{int(right.key, 16) ^ 1:032x}")
    suite = tool.suites["psk"][0]
    since = daemon.now
    with tool.run(daemon.coaps_port, wrong, suite, tmp_path) as client:
        refused(daemon, client, since, "psk_wrong")
    daemon.wait_logged(REFUSED, since, identity=right.identity)
    assert daemon.handshakes(endpoint) == 0
    with tool.run(daemon.coaps_port, right, suite, tmp_path) as client:
        register(client, daemon, endpoint)


@pytest.mark.parametrize("tool", TOOLS)
def test_an_unknown_identity(daemon: Daemon, tmp_path: Path, tool: Tool) -> None:
    suite = tool.suites["psk"][0]
    since = daemon.now
    nobody = Psk(f"{tool.name}-nobody", "00112233445566778899aabbccddeeff")
    with tool.run(daemon.coaps_port, nobody, suite, tmp_path) as client:
        refused(daemon, client, since, "psk_unknown")
    daemon.wait_logged(REFUSED, since, identity=nobody.identity)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_key_that_was_taken_away(daemon: Daemon, tmp_path: Path, tool: Tool) -> None:
    """Its registration and its session end at once; then it is nobody's."""
    endpoint = f"{tool.name}-removed-key"
    credential = daemon.give_psk(endpoint)
    suite = tool.suites["psk"][0]
    with tool.run(daemon.coaps_port, credential, suite, tmp_path) as client:
        register(client, daemon, endpoint)
        daemon.revoke(endpoint)
        until(lambda: daemon.store.registration(endpoint) is None, f"{endpoint} is registered no more")
        client.wait_refused()
    since = daemon.now
    with tool.run(daemon.coaps_port, credential, suite, tmp_path) as client:
        refused(daemon, client, since, "psk_unknown")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_certificate_that_was_taken_away(daemon: Daemon, tmp_path: Path, tool: Tool) -> None:
    endpoint = f"{tool.name}-revoked"
    credential = daemon.give_certificate(endpoint, tmp_path)
    with tool.run(daemon.coaps_port, credential, tool.suites["certificate"][0], tmp_path) as client:
        register(client, daemon, endpoint)
        daemon.revoke(endpoint)
        until(lambda: daemon.store.registration(endpoint) is None, f"{endpoint} is registered no more")
        client.wait_refused()
    since = daemon.now
    with tool.run(daemon.coaps_port, credential, tool.suites["certificate"][0], tmp_path) as client:
        refused(daemon, client, since, "certificate_revoked")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_certificate_that_is_over(
    daemon: Daemon, tmp_path: Path, tool: Tool, expired: Certificate, ending: Certificate
) -> None:
    since = daemon.now
    with tool.run(daemon.coaps_port, expired, tool.suites["certificate"][0], tmp_path) as client:
        refused(daemon, client, since, "certificate_expired")
    assert daemon.handshakes("hand-expired") == 0
    with tool.run(daemon.coaps_port, ending, tool.suites["certificate"][0], tmp_path) as client:
        register(client, daemon, "hand-ending")


@pytest.mark.parametrize("tool", TOOLS)
def test_a_certificate_by_another_ca(daemon: Daemon, tmp_path: Path, tool: Tool) -> None:
    """It names an endpoint that there is, and nothing in it is wrong but its issuer."""
    endpoint = f"{tool.name}-foreign"
    own = daemon.give_certificate(endpoint, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    foreign = certificates.foreign(other, endpoint, own.roots)
    since = daemon.now
    with tool.run(daemon.coaps_port, foreign, tool.suites["certificate"][0], tmp_path) as client:
        refused(daemon, client, since, "certificate_foreign")
    assert daemon.handshakes(endpoint) == 0
    with tool.run(daemon.coaps_port, own, tool.suites["certificate"][0], tmp_path) as client:
        register(client, daemon, endpoint)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_server_by_another_ca(daemon: Daemon, tmp_path: Path, tool: Tool) -> None:
    """A device that does not know the box's root leaves, and the log tells that it was the device."""
    endpoint = f"{tool.name}-doubtful"
    own = daemon.give_certificate(endpoint, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    strangers = certificates.foreign(other, endpoint, own.roots).certificate
    since = daemon.now
    with tool.run(
        daemon.coaps_port, replace(own, roots=strangers), tool.suites["certificate"][0], tmp_path
    ) as client:
        client.wait_refused()
    daemon.wait_logged(REFUSED, since, error_code="handshake_refused")
    assert daemon.handshakes(endpoint) == 0


def test_no_certificate_at_all(daemon: Daemon, tmp_path: Path) -> None:
    since = daemon.now
    with openssl(daemon.coaps_port, None, OPENSSL.suites["certificate"][0], tmp_path) as client:
        refused(daemon, client, since, "certificate_missing")


def test_a_suite_the_box_does_not_have(daemon: Daemon, tmp_path: Path) -> None:
    since = daemon.now
    credential = daemon.give_psk("openssl-old-suite")
    with openssl(daemon.coaps_port, credential, "PSK-AES256-CBC-SHA", tmp_path) as client:
        refused(daemon, client, since, "handshake_refused")


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("kind", ["psk", "certificate"])
def test_a_foreign_name_is_refused(daemon: Daemon, tmp_path: Path, tool: Tool, kind: str) -> None:
    """Who has come in as one device is not another: register, update and deregister."""
    endpoint, victim = f"{tool.name}-{kind}-thief", f"{tool.name}-{kind}-victim"
    thief, owner = daemon.give(kind, endpoint, tmp_path), daemon.give(kind, victim, tmp_path)
    suite = tool.suites[kind][0]
    (tmp_path / "owner").mkdir()
    with (
        tool.run(daemon.coaps_port, owner, suite, tmp_path / "owner") as honest,
        tool.run(daemon.coaps_port, thief, suite, tmp_path) as client,
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
