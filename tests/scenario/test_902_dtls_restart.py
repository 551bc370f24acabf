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
    """Devices that are registered and observed, and all that was acknowledged to them."""

    def __init__(self, clients: list[SecureThermometer]) -> None:
        self.clients = clients
        self.acknowledged: dict[str, list[float]] = {client.endpoint: [] for client in clients}

    @property
    def count(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    async def report(self, value: float) -> None:
        """A value of each device, said again and again until it is acknowledged."""
        await at_once(len(self.clients), (self._report(client, value) for client in self.clients))

    async def _report(self, client: SecureThermometer, value: float) -> None:
        notification = client.notify(TEMPERATURE, value)
        acknowledgement = Frame(ACK, EMPTY, notification.mid)
        while True:
            try:
                async with asyncio.timeout(SENDS_AGAIN_S):
                    heard = await client.replies.get()
            except TimeoutError:
                client.peer.send(notification)
                continue
            # One that was sent twice is answered twice; the second answer may come a round later.
            if heard == acknowledgement:
                self.acknowledged[client.endpoint].append(value)
                return
            assert heard.kind == ACK, heard
            assert heard.code == EMPTY, heard


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


async def restart_while(daemon: Daemon, fleet: Reporters, end: Callable[[Daemon], None], value: float) -> None:
    """End the daemon when a third of a round is acknowledged, and start it again."""
    before = fleet.count
    reporting = asyncio.create_task(fleet.report(value))
    await until(lambda: fleet.count >= before + len(fleet.clients) // 3)
    await asyncio.to_thread(end, daemon)
    assert not reporting.done(), "it was to be in the middle"
    await asyncio.to_thread(daemon.start)
    await reporting


async def test_a_restart_while_many_devices_report(tmp_path: Path) -> None:
    """By SIGTERM and by SIGKILL: no handshake, all is answered, all that was acknowledged is kept."""
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        provide(daemon, DEVICES)
        async with reporters(daemon, DEVICES) as fleet:
            since = daemon.now
            print("join", time.time()-t); t=time.time()
            await fleet.report(1.0)
            print("r1", time.time()-t); t=time.time()
            await restart_while(daemon, fleet, terminate, 2.0)
            print("r2", time.time()-t); t=time.time()
            await restart_while(daemon, fleet, kill, 3.0)
            print("r3", time.time()-t); t=time.time()
            await fleet.report(4.0)
            print("r4", time.time()-t); t=time.time()
            assert daemon.logged(SESSION_MADE, since) == []
            assert daemon.logged(REFUSED, since) == []
            for client in fleet.clients:
                said = fleet.acknowledged[client.endpoint]
                assert said == [1.0, 2.0, 3.0, 4.0]
                assert set(said) <= set(daemon.store.values(client.endpoint, TEMPERATURE))
                received = numbers(client.peer.raw)
                assert len(set(received)) == len(received), "the number of a record came twice"
                assert (await client.update()).status == "2.04"
        daemon.stop()
    finally:
        daemon.program.end()
