"""The daemon as its user runs it: `flownexus run` as a process of its own."""

from collections.abc import Iterator

import pytest

from tests.interop.daemon import Daemon, running


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for the tests of a module, each with endpoint names of its own.

    At its end it is stopped by SIGINT and must have ended with exit code 0, without a warning in its
    log, and with a sound database.
    """
    with running(tmp_path_factory.mktemp("daemon")) as started:
        yield started
