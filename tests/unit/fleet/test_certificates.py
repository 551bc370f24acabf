"""The box's certificates in time: what the servers are told to show, and when they could not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flownexus_appliance.events import EventBus
from flownexus_appliance.fleet import certificates as module
from flownexus_appliance.fleet.certificates import Certificates, Shown
from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.names import ServerNames
from tests.peer import until

NOW_MS = 1_800_000_000_000


@pytest.fixture
async def certificates(tmp_path: Path) -> AsyncIterator[Certificates]:
    made = Certificates(
        Authority(tmp_path / "pki"),
        EventBus(first_number=0),
        lambda: ServerNames.of("box"),
        tmp_path / "https.crt",
        now_ms=lambda: NOW_MS,
    )
    await made.load(0)
    yield made
    await made.stop()


async def test_what_could_not_be_shown_is_shown_later(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A server that cannot load its files now would go on with a certificate until that ends."""
    monkeypatch.setattr(module, "CHECK_PERIOD_S", 0.01)
    shown: list[Shown] = []

    def show(what: Shown) -> None:
        shown.append(what)
        if len(shown) == 1:
            raise OSError(24, "Too many open files")

    certificates.start(show)
    with pytest.raises(OSError, match="Too many"):
        await certificates.rotate()
    await until(lambda: len(shown) > 1)
    assert shown[0] == shown[1]
