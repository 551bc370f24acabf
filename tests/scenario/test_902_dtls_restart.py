"""Stop, start, crash with DTLS: sessions outlive it, so no device shakes hands again."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from flownexus_appliance.sim.credentials import PskPattern
from flownexus_appliance.sim.fleet import Fleet
from flownexus_appliance.sim.options import SimOptions
from tests.interop.daemon import REFUSED, SESSION_MADE, Daemon, Psk
from tests.peer import ACK, EMPTY, Frame, until
from tests.secure_peer import numbers, secure_peer

from .thermometer import TEMPERATURE, WATCHED, SecureThermometer, secure_thermometer

DEVICES: Final = 300
AT_ONCE: Final = 32
SENDS_AGAIN_S: Final = 1.0
KEY: Final = "00112233445566778899aabbccddeeff"


def name(number: int) -> str:
    return f"lasting-{number:04d}"


async def provide(daemon: Daemon, count: int) -> None:
    """Let the devices in."""
    await at_once(8, (give(daemon, name(number)) for number in range(count)))


async def give(daemon: Daemon, endpoint: str) -> None:
    await asyncio.to_thread(daemon.give_psk, endpoint, KEY)


async def at_once(limit: int, work: Iterable[Awaitable[None]]) -> None:
    """Do all of it, so much at a time."""
    gate = asyncio.Semaphore(limit)

    async def one(piece: Awaitable[None]) -> None:
        async with gate:
            await piece

    async with asyncio.TaskGroup() as group:
        for piece in work:
            group.create_task(one(piece))


class Reporters:
    """Devices that are registered and observed, each with a value under way at any time.

    `acknowledged` are the values that the daemon has acknowledged, in the order they were said in.
    """

    def __init__(self, clients: list[SecureThermometer]) -> None:
        self.clients = clients
        self.acknowledged: dict[str, list[float]] = {client.endpoint: [] for client in clients}
        self._reporting = True

    async def report(self) -> None:
        """One value after the other, until `enough`."""
        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(self._report(client))

    def enough(self) -> None:
        self._reporting = False

    async def heard_again(self) -> None:
        """Until a value of each device was acknowledged that it had not begun to say before."""
        wanted = {endpoint: len(values) + 2 for endpoint, values in self.acknowledged.items()}
        await until(lambda: all(len(self.acknowledged[e]) >= count for e, count in wanted.items()))

    async def _report(self, client: SecureThermometer) -> None:
        said = self.acknowledged[client.endpoint]
        while self._reporting:
            value = float(len(said))
            await self._say(client, value)
            said.append(value)

    async def _say(self, client: SecureThermometer, value: float) -> None:
        """Again and again until it is acknowledged."""
        notification = client.notify(TEMPERATURE, value)
        while True:
            try:
                async with asyncio.timeout(SENDS_AGAIN_S):
                    heard = await client.replies.get()
            except TimeoutError:
                client.peer.send(notification)
                continue
            assert (heard.kind, heard.code) == (ACK, EMPTY), heard
            # What was said twice is answered twice, the second time perhaps after the next value.
            if heard.mid == notification.mid:
                return


@asynccontextmanager
async def reporters(daemon: Daemon, count: int) -> AsyncIterator[Reporters]:
    async with AsyncExitStack() as stack:
        clients: list[SecureThermometer] = []

        async def join(number: int) -> None:
            made = secure_thermometer(daemon.coaps_port, name(number), Psk(name(number), KEY))
            client = await stack.enter_async_context(made)
            await client.register()
            await until(lambda: set(client.observed) == WATCHED)
            clients.append(client)

        await at_once(AT_ONCE, map(join, range(count)))
        yield Reporters(clients)


def kill(daemon: Daemon) -> None:
    daemon.program.kill()


def terminate(daemon: Daemon) -> None:
    daemon.stop(signal.SIGTERM)


async def test_a_restart_while_many_devices_report(tmp_path: Path) -> None:
    """By SIGTERM and by SIGKILL: no handshake, all is answered, all that was acknowledged is kept."""
    import time; t=time.time()
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        await provide(daemon, DEVICES)
        print("provide", time.time()-t); t=time.time()
        async with reporters(daemon, DEVICES) as fleet:
            print("join", time.time()-t); t=time.time()
            since = daemon.now
            reporting = asyncio.create_task(fleet.report())
            for end in (terminate, kill):
                await fleet.heard_again()
                await asyncio.to_thread(end, daemon)
                await asyncio.to_thread(daemon.start)
                print("restart", time.time()-t); t=time.time()
            await fleet.heard_again()
            print("heard", time.time()-t); t=time.time()
            fleet.enough()
            await reporting
            print("end", time.time()-t); t=time.time()
            assert daemon.logged(SESSION_MADE, since) == []
            assert daemon.logged(REFUSED, since) == []
            for client in fleet.clients:
                check(daemon, client, fleet.acknowledged[client.endpoint])
            print("check", time.time()-t); t=time.time()
        daemon.stop()
    finally:
        daemon.program.end()


def check(daemon: Daemon, client: SecureThermometer, acknowledged: list[float]) -> None:
    lost = set(acknowledged) - set(daemon.store.values(client.endpoint, TEMPERATURE))
    assert not lost, f"{client.endpoint}: acknowledged and not kept: {lost}"
    received = numbers(client.peer.raw)
    assert len(set(received)) == len(received), f"{client.endpoint}: the number of a record came twice"
