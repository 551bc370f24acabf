"""The box's certificates change, sped up, while devices and browsers are at it: nobody notices."""

import asyncio
import http.client
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from flownexus_appliance.coap.dtls.engine import Context
from tests.interop.daemon import LOOPBACK, REFUSED, Daemon
from tests.peer import until
from tests.secure_peer import context, roots, secure_peer

from .thermometer import TEMPERATURE, SecureThermometer, ready, secure_thermometer

# Seconds that a server certificate is valid; the next one is made after two thirds of them.
LIFE_S: Final = 6
KINDS: Final = ("psk", "certificate")
CHANGED: Final = "certificates changed"


@dataclass(slots=True)
class Load:
    """What goes on all the time, and how often each has been done. The first failure ends it."""

    daemon: Daemon
    root: str
    done: Counter[str] = field(default_factory=Counter)
    serials: set[str] = field(default_factory=set)  # of the HTTPS certificates that were seen
    over: bool = False

    async def shake(self, what: str, made: Context) -> None:
        """Handshakes, each of a new session that is answered once."""
        while not self.over:
            with secure_peer(self.daemon.coaps_port, made) as peer:
                await peer.shake()
                await peer.pong()
            self.done[what] += 1

    async def send(self, client: SecureThermometer) -> None:
        """Readings by a session that was made before."""
        while not self.over:
            assert (await client.send({TEMPERATURE: 1.0})).status == "2.04"
            self.done["send"] += 1

    async def browse(self) -> None:
        await asyncio.to_thread(self._browse)

    def _browse(self) -> None:
        trusted = ssl.create_default_context(cadata=self.root)
        while not self.over:
            connection = http.client.HTTPSConnection(
                LOOPBACK, self.daemon.https_port, timeout=10, context=trusted
            )
            connection.request("GET", "/", headers=self.daemon.bearer)
            assert connection.sock is not None
            shown = connection.sock.getpeercert()
            assert shown is not None
            self.serials.add(str(shown["serialNumber"]))
            reply = connection.getresponse()
            assert (reply.status, reply.read()[:15]) == (200, b"<!doctype html>")
            connection.close()
            self.done["page"] += 1

    async def goes_on(self) -> None:
        """Until each has been done some times more."""
        before = self.done.copy()
        await until(lambda: all(self.done[what] >= before[what] + 5 for what in before))


@asynccontextmanager
async def under_load(daemon: Daemon, folder: Path) -> AsyncIterator[Load]:
    """Handshakes by keys and by certificates, sessions that send, pages that are read."""
    load = Load(daemon, (daemon.state / "pki" / "root-1.crt").read_text())
    async with AsyncExitStack() as stack:
        clients = []
        for kind in KINDS:
            credential = daemon.give(kind, f"sends-{kind}", folder)
            made = secure_thermometer(daemon.coaps_port, f"sends-{kind}", credential)
            clients.append(await stack.enter_async_context(made))
            await ready(daemon, clients[-1])
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                made_anew = context(daemon.give(kind, f"shakes-{kind}", folder))
                group.create_task(load.shake(kind, made_anew))
            for client in clients:
                group.create_task(load.send(client))
            group.create_task(load.browse())
            await until(lambda: set(load.done) == {*KINDS, "send", "page"})
            yield load
            load.over = True


def rotations(daemon: Daemon) -> int:
    return len(daemon.logged(CHANGED, kind="dtls"))


async def rotated(daemon: Daemon, times: int) -> None:
    """Wait until the server certificate was made anew by itself."""
    for _ in range(times):
        before = rotations(daemon)
        await until(lambda before=before: rotations(daemon) > before)  # type: ignore[misc]


async def test_rotation_and_roll_over_under_load(tmp_path: Path) -> None:
    """Over several rotations and to another root: no handshake, no reading and no page fails.

    All here know the first root alone, and go on until its overlap is declared over.
    """
    daemon = Daemon(tmp_path)
    with (tmp_path / "appliance.toml").open("a") as config:
        config.write(f"\n[certificates]\nserver_days = {LIFE_S / 86_400}\n")
    daemon.start()
    try:
        early = daemon.give_certificate("early", tmp_path)
        async with under_load(daemon, tmp_path) as load:
            since = daemon.now
            await rotated(daemon, 2)
            await asyncio.to_thread(daemon.api, "/certificates/rotate", {})
            await load.goes_on()
            await asyncio.to_thread(daemon.api, "/certificates/roll-over", {"days": 1})
            await load.goes_on()
            late = await asyncio.to_thread(daemon.give_certificate, "late", tmp_path)
            newest, *others = roots(late)
            assert others == list(roots(early))
            only_newest = context(late, roots=(newest,))
            with secure_peer(daemon.coaps_port, only_newest) as peer:
                await peer.shake()
                await peer.pong()
            await rotated(daemon, 1)
            await load.goes_on()
            assert daemon.logged(REFUSED, since) == []
        assert len(load.serials) >= 5, "made at the start, rotated thrice, and by another root"
        await the_end_of_the_first_root(daemon, context(early), only_newest)
        daemon.stop()
    finally:
        daemon.program.end()


async def the_end_of_the_first_root(daemon: Daemon, early: Context, late: Context) -> None:
    """Who has a session keeps it; who has nothing but the first root does not get another."""
    with secure_peer(daemon.coaps_port, early) as session, secure_peer(daemon.coaps_port, early) as other:
        await session.shake()
        daemon.api("/certificates/roll-over/finish", {})
        await session.pong()
        assert (await other.refused()) == "certificate_foreign"
    with secure_peer(daemon.coaps_port, late) as peer:
        await peer.shake()
        await peer.pong()
