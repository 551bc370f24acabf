"""A box whose clock is wrong: keys work, nothing is signed, and all comes right with the clock."""

import http.client
import ssl
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.interop import certificates
from tests.interop.daemon import LOOPBACK, REFUSED, SESSION_MADE, Daemon
from tests.peer import until
from tests.secure_peer import chain, context, secure_peer

from .thermometer import TEMPERATURE, ready, secure_thermometer

CHILD: Final = "tests.scenario.clock_child"
HOUR_S: Final = 3600
UNTRUSTED, TRUSTED = "clock not trusted", "clock trusted again"


class WrongDaemon(Daemon):
    """A daemon whose clock is `off` by some seconds."""

    def __init__(self, folder: Path, off_s: int) -> None:
        super().__init__(folder)
        self._off = folder / "off"
        self.set_clock(off_s)
        flownexus = self.program.command.index("run")
        arguments = self.program.command[flownexus:]
        self.program.command = [sys.executable, "-m", CHILD, str(self._off), *arguments]

    def set_clock(self, off_s: int) -> None:
        fresh = self._off.with_suffix(".new")
        fresh.write_text(str(off_s))
        fresh.rename(self._off)

    @property
    def doubt(self) -> str:
        return str(self.api("/certificates")["doubt"])

    def page(self, path: str, trusted: ssl.SSLContext) -> str:
        connection = http.client.HTTPSConnection(LOOPBACK, self.https_port, timeout=10, context=trusted)
        try:
            connection.request("GET", path, headers=self.bearer)
            return connection.getresponse().read().decode()
        finally:
            connection.close()


@pytest.mark.parametrize(
    ("wakes_s", "doubt"),
    [
        pytest.param(1000, "before this software was made", id="in 1970"),
        pytest.param(3_471_292_800, "too far ahead to be right", id="in 2080"),
    ],
)
async def test_a_box_that_wakes_at_a_wrong_time(tmp_path: Path, wakes_s: int, doubt: str) -> None:
    """PSK from the start, no certificate; once the clock is set right, certificates without a restart."""
    daemon = WrongDaemon(tmp_path, wakes_s - int(time.time()))
    daemon.start()
    try:
        assert doubt in daemon.wait_logged(UNTRUSTED)["cause"]
        async with secure_thermometer(daemon.coaps_port, "sensor", daemon.give_psk("sensor")) as client:
            await ready(daemon, client)
            async with secure_thermometer(daemon.coaps_port, "quiet", daemon.give_psk("quiet")) as quiet:
                await quiet.register()  # and is not heard again
            await nothing_is_signed(daemon, tmp_path, doubt)
            before, since = daemon.store.registration("sensor"), daemon.now
            daemon.set_clock(0)
            daemon.wait_logged(TRUSTED)
            await certificates_work(daemon, tmp_path)
            assert (await client.send({TEMPERATURE: 22.0})).status == "2.04"
            assert 22.0 in daemon.store.values("sensor", TEMPERATURE)
            assert daemon.store.registration("sensor") == before
            assert daemon.logged(SESSION_MADE, since, endpoint="sensor") == []
        daemon.stop()
        daemon.start()
        assert daemon.doubt == "", "what the wrong clock noted is not held against the right one"
        daemon.stop()
    finally:
        daemon.program.end()


async def nothing_is_signed(daemon: WrongDaemon, folder: Path, doubt: str) -> None:
    """No root, no certificate; API and page say why, and DTLS has keys only."""
    assert [path.name for path in (daemon.state / "pki").glob("*") if path.suffix == ".crt"] == []
    assert doubt in daemon.doubt
    with pytest.raises(AssertionError, match=f"clock_untrusted.*{doubt}"):
        daemon.give_certificate("refused", folder)
    anything = ssl.create_default_context()
    anything.check_hostname, anything.verify_mode = False, ssl.CERT_NONE
    for path in ("/", "/certificates"):
        assert doubt in daemon.page(path, anything)
    (folder / "none").touch()
    stranger = certificates.foreign(folder, "stranger", folder / "none")
    since = daemon.now
    with secure_peer(daemon.coaps_port, context(stranger, roots=chain(stranger).certificates)) as peer:
        assert await peer.refused() == "handshake_refused"
    daemon.wait_logged(REFUSED, since, error_code="handshake_refused")


async def certificates_work(daemon: WrongDaemon, folder: Path) -> None:
    """Without a restart: browsers and devices can verify the box, and devices get certificates."""
    root = daemon.state / "pki" / "root-1.crt"
    await until(root.exists)
    trusted = ssl.create_default_context(cadata=root.read_text())
    await until(lambda: verifies(daemon, trusted))
    assert daemon.doubt == ""
    assert "The clock is not trusted" not in daemon.page("/", trusted)
    credential = daemon.give_certificate("late", folder)
    async with secure_thermometer(daemon.coaps_port, "late", credential) as client:
        await ready(daemon, client)


def verifies(daemon: WrongDaemon, trusted: ssl.SSLContext) -> bool:
    try:
        daemon.page("/", trusted)
    except ssl.SSLCertVerificationError:
        return False
    return True


async def test_a_box_whose_clock_was_set_back(tmp_path: Path) -> None:
    """It has noted a later time: nothing new is signed, and what it has goes on to be good."""
    daemon = WrongDaemon(tmp_path, 0)
    daemon.start()
    try:
        credential = daemon.give_certificate("sensor", tmp_path)
        async with secure_thermometer(daemon.coaps_port, "sensor", credential) as client:
            await ready(daemon, client)
            daemon.stop()
            daemon.set_clock(-2 * HOUR_S)
            since = daemon.now
            daemon.start()
            assert "has already noted" in daemon.wait_logged(UNTRUSTED, since)["cause"]
            assert "has already noted" in daemon.doubt
            with pytest.raises(AssertionError, match="clock_untrusted"):
                daemon.give_certificate("refused", tmp_path)
            assert (await client.update()).status == "2.04"
            assert daemon.logged(SESSION_MADE, since) == []
            with secure_peer(daemon.coaps_port, credential) as peer:
                await peer.shake()
                await peer.pong()
            daemon.set_clock(0)
            daemon.wait_logged(TRUSTED, since)
            daemon.give_certificate("sensor", tmp_path)
        daemon.stop()
    finally:
        daemon.program.end()
