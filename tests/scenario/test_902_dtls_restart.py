"""Stop, start, crash with DTLS: sessions outlive it, so no device shakes hands again."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.credentials import add_psk, device_key, device_name
from flownexus_appliance.cli.console import Console
from flownexus_appliance.sim.credentials import PskPattern
from flownexus_appliance.sim.fleet import Fleet
from flownexus_appliance.sim.options import SimOptions
from flownexus_appliance.sim.statistics import Statistics
from flownexus_appliance.sim.wire import Transmission
from tests.interop.daemon import REFUSED, SESSION_MADE, Daemon, Psk
from tests.peer import ACK, EMPTY, POST, SENML_CBOR, until
from tests.secure_peer import numbers, secure_peer

from .thermometer import TEMPERATURE, WATCHED, SecureThermometer, secure_thermometer, senml

DEVICES: Final = 1000
WITHIN_S: Final = 60.0  # on a machine that others use, too
AT_ONCE: Final = 32
SENDS_AGAIN_S: Final = 1.0
KEY: Final = bytes(range(16))


def provide(daemon: Daemon, numbers: Iterable[int]) -> None:
    """Let devices in."""
    console = Console(daemon.state)
    for number in numbers:
        add_psk(console, number)


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
        self._awaited: dict[str, int] = {}
        self._all_heard = asyncio.Event()

    async def report(self) -> None:
        """One value after the other, until `enough`."""
        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(self._report(client))

    def enough(self) -> None:
        self._reporting = False

    async def heard_again(self) -> None:
        """Until a value of each device was acknowledged that it had not begun to say before."""
        self._awaited = {endpoint: len(values) + 2 for endpoint, values in self.acknowledged.items()}
        self._all_heard.clear()
        async with asyncio.timeout(WITHIN_S):
            await self._all_heard.wait()

    async def _report(self, client: SecureThermometer) -> None:
        endpoint = client.endpoint
        said = self.acknowledged[endpoint]
        while self._reporting:
            value = float(len(said))
            await self._say(client, value)
            said.append(value)
            if len(said) == self._awaited.get(endpoint):
                del self._awaited[endpoint]
                if not self._awaited:
                    self._all_heard.set()

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
            key = Psk(device_name(number), device_key(number).hex())
            made = secure_thermometer(daemon.coaps_port, key.identity, key)
            client = await stack.enter_async_context(made)
            await client.register()
            await until(lambda: set(client.observed) == WATCHED)
            clients.append(client)

        await at_once(AT_ONCE, map(join, range(count)))
        yield Reporters(clients)


def allow_files(count: int) -> None:
    """Let this process have so many open, where it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def kill(daemon: Daemon) -> None:
    daemon.program.kill()


def terminate(daemon: Daemon) -> None:
    daemon.stop(signal.SIGTERM)


async def test_a_restart_while_many_devices_report(tmp_path: Path) -> None:
    """By SIGTERM and by SIGKILL: no handshake, all is answered, all that was acknowledged is kept."""
    # In debug mode a thousand devices would keep this process busy, and not the daemon.
    asyncio.get_running_loop().set_debug(False)
    allow_files(2 * DEVICES)
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        await at_once(4, (asyncio.to_thread(provide, daemon, range(n, DEVICES, 4)) for n in range(4)))
        async with reporters(daemon, DEVICES) as fleet:
            since = daemon.now
            reporting = asyncio.create_task(fleet.report())
            for end in (terminate, kill):
                await fleet.heard_again()
                await asyncio.to_thread(end, daemon)
                await asyncio.to_thread(daemon.start)
            await fleet.heard_again()
            fleet.enough()
            await reporting
            assert daemon.logged(SESSION_MADE, since) == []
            assert daemon.logged(REFUSED, since) == []
            for client in fleet.clients:
                check(daemon, client, fleet.acknowledged[client.endpoint])
        daemon.stop()
    finally:
        daemon.program.end()


def check(daemon: Daemon, client: SecureThermometer, acknowledged: list[float]) -> None:
    lost = set(acknowledged) - set(daemon.store.values(client.endpoint, TEMPERATURE))
    assert not lost, f"{client.endpoint}: acknowledged and not kept: {lost}"
    received = numbers(client.peer.raw)
    assert len(set(received)) == len(received), f"{client.endpoint}: the number of a record came twice"


async def test_a_stop_answers_what_it_has_taken(tmp_path: Path) -> None:
    """What it has kept it acknowledges, so that no device says it again to the next daemon."""
    daemon = Daemon(tmp_path)
    daemon.start()
    try:
        provide(daemon, range(AT_ONCE))
        with ExitStack() as stack:
            peers = {}
            for number in range(AT_ONCE):
                key = Psk(device_name(number), device_key(number).hex())
                peer = stack.enter_context(secure_peer(daemon.coaps_port, key))
                await peer.shake()
                assert (await peer.reply(peer.register(("lwm2m=1.1",), b"</1/0>"))).status == "2.01"
                peers[key.identity] = peer
            for value in range(3):
                for peer in peers.values():
                    peer.request(POST, "/dp", senml({TEMPERATURE: value}), content_format=SENML_CBOR)
            daemon.stop(signal.SIGTERM)
            for endpoint, peer in peers.items():
                assert len(daemon.store.values(endpoint, TEMPERATURE)) == len(peer.waiting()), endpoint
    finally:
        daemon.program.end()


async def test_simulated_devices_with_new_ports_go_on_after_a_restart(tmp_path: Path) -> None:
    """Their NAT forgets them all the time, also while the box is off."""
    daemon = Daemon(tmp_path)
    daemon.start()
    options = SimOptions(
        port=daemon.coaps_port,
        count=AT_ONCE,
        credentials=PskPattern("{name}", KEY),
        sample_period_s=0.1,
        rebind_every_s=0.3,
        transmission=Transmission(ack_timeout_s=0.5),
        deregister=False,
    )
    fleet = Fleet(options)
    try:
        for number in range(options.count):
            daemon.give_psk(options.name(number), KEY.hex())
        await fleet.start()
        counts = fleet.statistics
        await goes_on(counts, options.count)
        for end in (terminate, kill):
            await asyncio.to_thread(end, daemon)
            await asyncio.to_thread(daemon.start)
            await goes_on(counts, options.count)
        assert (counts.handshakes, counts.registrations) == (options.count, options.count)
        assert (counts.sessions_ended, counts.failures, counts.records_unopened) == (0, 0, 0)
        daemon.stop()
    finally:
        await fleet.stop()
        daemon.program.end()


async def goes_on(counts: Statistics, devices: int) -> None:
    """Until simulated devices have reported and moved some times more."""
    reports, moves = counts.reports + 5 * devices, counts.rebindings + devices
    await until(lambda: counts.reports > reports and counts.rebindings > moves)
