"""The fixtures of the tests with programs no one here wrote."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .coap_client import CoapClient
from .daemon import Daemon, running
from .leshan_client import Account, LeshanClient, StartLeshan


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
