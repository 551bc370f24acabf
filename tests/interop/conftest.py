"""The fixtures of the tests with programs no one here wrote."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .coap_client import CoapClient
from .daemon import Daemon, running
from .leshan_client import OBSERVED, Account, LeshanClient, StartLeshan
from .link import Link


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the tests of a module, each with endpoint names of its own."""
    with running(tmp_path_factory.mktemp("daemon")) as started:
        yield started


@pytest.fixture
def coap_client(daemon: Daemon, tmp_path: Path) -> CoapClient:
    return CoapClient(daemon.coap_uri, tmp_path)


@pytest.fixture
def start_leshan(tmp_path: Path) -> Iterator[StartLeshan]:
    """Starts Leshan's client; those that still run at the end are killed."""
    with ExitStack() as clients:

        def start(endpoint: str, account: Account) -> LeshanClient:
            client = LeshanClient(endpoint, account, tmp_path)
            clients.callback(client.program.end)
            client.start()
            return client

        yield start


@pytest.fixture(scope="module")
def secure_client(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeshanClient]:
    """The same over DTLS with a pre-shared key."""
    account = Account(daemon.coaps_uri, daemon.give_psk("leshan-secure"), 6)
    client = LeshanClient("leshan-secure", account, tmp_path_factory.mktemp("secure"))
    try:
        client.start()
        yield client
        client.stop()
        assert not client.complaints()
    finally:
        client.program.end()


@pytest.fixture(scope="module", params=["nosec", "psk"])
def device(
    daemon: Daemon,
    request: pytest.FixtureRequest,
    leshan_client: LeshanClient,
    secure_client: LeshanClient,
) -> LeshanClient:
    """Each of the two, once the box has finished onboarding it."""
    client = leshan_client if request.param == "nosec" else secure_client
    daemon.wait_onboarded(client.endpoint, OBSERVED)
    return client


@pytest.fixture
def endpoint(daemon: Daemon, device: LeshanClient) -> str:
    """The name of each of the two, with its Test Object (3442) as it was at first."""
    assert daemon.operate(device.endpoint, "execute", "/3442/0/0").code == "2.04"  # Reset values
    return device.endpoint


@pytest.fixture
def link(daemon: Daemon) -> Iterator[Link]:
    """A way to the daemon that can be cut."""
    with Link(daemon.coap_port) as way:
        yield way


@pytest.fixture(scope="module")
def leshan_client(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeshanClient]:
    """A client that is registered and onboarded, for the tests that do not end it."""
    client = LeshanClient("leshan-shared", Account(daemon.coap_uri), tmp_path_factory.mktemp("leshan"))
    try:
        client.start()
        yield client
        client.stop()
        assert not client.complaints()
    finally:
        client.program.end()
