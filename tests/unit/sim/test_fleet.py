"""Whole fleets over real sockets, against aiocoap as the server."""

import asyncio
import hashlib
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiocoap
import aiocoap.resource
import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.firmware import Protocol
from flownexus_appliance.sim.accounts import Account
from flownexus_appliance.sim.credentials import PskPattern, read_psk_file
from flownexus_appliance.sim.device import Device
from flownexus_appliance.sim.firmware_options import FirmwareOptions
from flownexus_appliance.sim.fleet import Fleet, run, status_line
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Code, Message, Type, decode_message, encode_message
from flownexus_appliance.sim.options import Reporting, SimOptions
from flownexus_appliance.sim.package import make_package
from flownexus_appliance.sim.port import Port, Resolver
from flownexus_appliance.sim.profile import IP_ADDRESS
from flownexus_appliance.sim.statistics import Statistics

PATIENCE_S = 10.0


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server(aiocoap.resource.Resource):  # type: ignore[misc]
    """A LwM2M server of a few lines; `heard` is what came in, by kind."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.context: Any = None
        self.remotes: dict[str, Any] = {}
        self.senders: list[Any] = []
        self.heard = {"register": 0, "update": 0, "deregister": 0, "send": 0}
        self._news = asyncio.Condition()

    async def _note(self, kind: str) -> None:
        async with self._news:
            self.heard[kind] += 1
            self._news.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(condition)

    async def render_post(self, request: Any) -> Any:
        match request.opt.uri_path:
            case ("dp",):
                self.senders.append(request.remote)
                await self._note("send")
            case ("rd",):
                parameters = dict(part.split("=", 1) for part in request.opt.uri_query)
                self.remotes[parameters["ep"]] = request.remote
                await self._note("register")
                return aiocoap.Message(code=aiocoap.CREATED, location_path=("rd", parameters["ep"]))
            case _:
                await self._note("update")
        return aiocoap.Message(code=aiocoap.CHANGED)

    async def render_delete(self, request: Any) -> Any:
        await self._note("deregister")
        return aiocoap.Message(code=aiocoap.DELETED)

    def ask(self, endpoint: str, code: Any, path: str, payload: bytes = b"", **options: Any) -> Any:
        request = aiocoap.Message(code=code, payload=payload, uri_path=path.split("/"), **options)
        request.remote = self.remotes[endpoint]
        return self.context.request(request)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server(free_port())
    server.context = await aiocoap.Context.create_server_context(
        server, bind=("127.0.0.1", server.port), transports=["simplesocketserver"]
    )
    try:
        yield server
    finally:
        await server.context.shutdown()


@asynccontextmanager
async def running(options: SimOptions) -> AsyncIterator[Fleet]:
    fleet = Fleet(options)
    await fleet.start()
    try:
        yield fleet
    finally:
        await fleet.stop()


async def test_devices_register_are_read_observed_and_leave() -> None:
    async with serving() as server:
        options = SimOptions(port=server.port, count=3, sample_period_s=0.05)
        async with running(options) as fleet:
            await server.until(lambda: server.heard["register"] == 3)
            reply = await server.ask("sim-0002", aiocoap.GET, "3/0/2", accept=0).response
            assert (reply.code, reply.payload) == (aiocoap.CONTENT, b"sim-0002")
            observe = server.ask("sim-0003", aiocoap.GET, "3303/0/5700", accept=112, observe=0)
            first = await observe.response
            assert first.opt.observe == 1
            async with asyncio.timeout(PATIENCE_S):
                async for notification in observe.observation:
                    assert notification.payload != first.payload
                    break
            addresses = {device.profile.tree.get(IP_ADDRESS) for device in fleet.devices}
            assert addresses == {"127.0.0.1"}
            assert fleet.statistics.registered == 3
            assert [device.name for device in fleet.devices] == ["sim-0001", "sim-0002", "sim-0003"]
        assert server.heard["deregister"] == 3
        assert fleet.statistics.registered == 0
        assert fleet.devices == ()


async def test_each_device_has_a_port_of_its_own() -> None:
    async with serving() as server, running(SimOptions(port=server.port, count=5)):
        await server.until(lambda: server.heard["register"] == 5)
        assert len({str(remote) for remote in server.remotes.values()}) == 5


async def test_a_device_goes_on_from_a_new_port_and_tells_nobody() -> None:
    async with serving() as server:
        options = SimOptions(
            port=server.port, count=1, sample_period_s=0.05, reporting=Reporting.SEND, rebind_every_s=0.02
        )
        async with running(options) as fleet:
            ports: set[str] = set()

            def moved() -> bool:
                ports.update(str(remote) for remote in server.senders)
                return len(ports) >= 4

            await server.until(moved)
            assert fleet.statistics.rebindings >= 3
            assert fleet.statistics.registrations == 1
            assert fleet.statistics.retransmissions == 0  # it moves between messages


async def test_no_new_port_while_an_answer_is_awaited() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setblocking(False)
        server.bind(("127.0.0.1", 0))
        options = SimOptions(
            port=server.getsockname()[1],
            count=1,
            rebind_every_s=0.001,
            transmission=replace(SimOptions().transmission, ack_timeout_s=0.05),
        )
        async with running(options) as fleet, asyncio.timeout(PATIENCE_S):
            senders = {(await loop.sock_recvfrom(server, 2048))[1] for _ in range(3)}
            assert len(senders) == 1
            assert fleet.statistics.rebindings == 0


async def test_devices_do_not_all_move_at_once() -> None:
    options = SimOptions(port=free_port(), count=5, rebind_every_s=1000, deregister=False)
    async with running(options) as fleet:
        due = [port._rebind_due for port in fleet._ports]
        assert max(due) - min(due) > 100


@pytest.mark.parametrize(("host", "failures"), [("127.0.0.1", 0), ("localhost", 1)])
async def test_a_device_is_sent_to_another_server(host: str, failures: int) -> None:
    """What a bootstrap does. A name is looked up beside the loop, so the first attempt is lost."""
    async with serving() as first, serving() as second:
        async with running(SimOptions(port=first.port, count=1)) as fleet:
            await first.until(lambda: first.heard["register"] == 1)
            (device,) = fleet.devices
            device.leave()
            device.join(Account(host, second.port, None))
            device.register(asyncio.get_running_loop().time())
            fleet._ports[0]._arm()
            await second.until(lambda: second.heard["register"] == 1)
            assert fleet.statistics.registration_failures == failures
            assert set(first.remotes) == set(second.remotes)
            assert {str(r) for r in first.remotes.values()}.isdisjoint(map(str, second.remotes.values()))
        assert second.heard["deregister"] == 1


async def test_a_server_without_an_address_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = asyncio.Event()
    monkeypatch.setattr(Device, "refused", lambda self, now: refused.set())
    monkeypatch.setattr(Resolver, "find", lambda self, host, port: None)
    async with serving() as server, running(SimOptions(port=server.port, count=1)) as fleet:
        await server.until(lambda: server.heard["register"] == 1)
        (device,) = fleet.devices
        device.leave()
        device.join(Account("no-such-host.invalid", 5683, None))
        device.register(asyncio.get_running_loop().time())
        fleet._ports[0]._arm()
        async with asyncio.timeout(PATIENCE_S):
            await refused.wait()
        assert device.state is State.WAITING
        assert fleet.statistics.last_failure == "unreachable"


async def test_a_name_is_asked_for_once_at_a_time_and_again_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver, asked = Resolver(), 0
    answers = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def resolve(self: Resolver, host: str, port: int) -> None:
        nonlocal asked
        asked += 1
        await answers[asked - 1]

    monkeypatch.setattr(Resolver, "resolve", resolve)
    for _ in range(3):
        assert resolver.find("box.invalid", 5684) is None
        await asyncio.sleep(0)
    assert asked == 1
    answers[0].set_exception(OSError("no such name"))
    (task,) = resolver._asking.values()
    await task
    assert resolver.find("box.invalid", 5684) is None
    await asyncio.sleep(0)
    assert asked == 2
    await resolver.close()
    assert answers[1].cancelled()


async def test_credentials_that_are_missing_are_told_before_any_device_starts(tmp_path: Path) -> None:
    lines = tmp_path / "psk"
    lines.write_text("sim-0001 one 00ff\n", "utf-8")
    fleet = Fleet(SimOptions(port=free_port(), count=2, credentials=read_psk_file(lines)))
    with pytest.raises(UsageError, match="no PSK for sim-0002"):
        await fleet.start()
    assert fleet.devices == ()


async def test_large_reads_and_writes_go_in_blocks_with_a_foreign_server() -> None:
    async with serving() as server, running(SimOptions(port=server.port, count=1, block_size=64)):
        await server.until(lambda: server.heard["register"] == 1)
        reply = await server.ask("sim-0001", aiocoap.GET, "3303/0", accept=110).response
        assert len(reply.payload) > 2 * 64
        assert b"5701" in reply.payload
        image = b"version=2.0.0\n" + os.urandom(5000)
        written = await server.ask("sim-0001", aiocoap.PUT, "5/0/0", image, content_format=42).response
        assert written.code == aiocoap.CHANGED


async def test_sends_arrive() -> None:
    async with serving() as server:
        options = SimOptions(port=server.port, count=2, sample_period_s=0.05, reporting=Reporting.SEND)
        async with running(options):
            await server.until(lambda: server.heard["send"] >= 6)


async def test_devices_may_vanish_without_a_word() -> None:
    async with serving() as server:
        async with running(SimOptions(port=server.port, count=2, deregister=False)):
            await server.until(lambda: server.heard["register"] == 2)
        assert server.heard["deregister"] == 0


async def test_a_server_that_is_away_does_not_hold_up_the_end() -> None:
    async with serving() as server:
        fleet = Fleet(SimOptions(port=server.port, count=3, stop_timeout_s=0.2))
        await fleet.start()
        await server.until(lambda: server.heard["register"] == 3)
    # Its socket is closed now: each datagram meets an ICMP error.
    async with asyncio.timeout(PATIENCE_S):
        await fleet.stop()
    assert fleet.statistics.registered == 0


async def test_a_device_asks_until_it_is_answered() -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.setblocking(False)
        server.bind(("127.0.0.1", 0))
        options = SimOptions(
            port=server.getsockname()[1],
            count=1,
            sample_period_s=0.05,
            reporting=Reporting.SEND,
            transmission=replace(SimOptions().transmission, ack_timeout_s=0.05),
            stop_timeout_s=0.1,
        )
        async with running(options), asyncio.timeout(PATIENCE_S):
            first, address = await loop.sock_recvfrom(server, 2048)
            again, _ = await loop.sock_recvfrom(server, 2048)
            assert first == again
            register = decode_message(first)
            reply = Message(Code.CREATED, type=Type.ACK, token=register.token, location=("rd", "late"))
            reply.message_id = register.message_id
            await loop.sock_sendto(server, encode_message(reply), address)
            report = decode_message(await loop.sock_recv(server, 2048))
            assert report.path == ("dp",)


async def test_run_tells_what_goes_on_and_ends_cleanly_when_cancelled() -> None:
    lines: list[str] = []
    told = asyncio.Event()

    def say(line: str) -> None:
        lines.append(line)
        if "requests served" in line:
            told.set()

    async with serving() as server:
        options = SimOptions(port=server.port, count=3, status_period_s=0.3)
        task = asyncio.create_task(run(options, say))
        async with asyncio.timeout(PATIENCE_S):
            await told.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.heard["deregister"] == 3
    assert lines[0] == f"sim: 3 devices, LwM2M 1.1, coap://127.0.0.1:{server.port}"
    assert lines[1].startswith("sim: all 3 registered after ")
    assert lines[2].startswith("sim: 3/3 registered, ")
    assert lines[-1] == "sim: stopped after 0 reports"


def test_the_status_line_counts() -> None:
    statistics = Statistics(
        registered=7,
        notifications_acknowledged=5,
        sends_acknowledged=4,
        timeouts=2,
        notifications_unconfirmed=1,
    )
    line = status_line(SimOptions(count=9), statistics, 12.34)
    assert line.startswith("sim: 7/9 registered, 12.3 reports/s, 10 reports, ")
    assert line.endswith(", 2 failures")
    assert "DTLS" not in line
    assert "bootstrap" not in line
    statistics.last_failure = "4.12 too new"
    assert status_line(SimOptions(count=9), statistics, 0).endswith(" (last Register: 4.12 too new)")
    assert status_line(SimOptions(count=7), statistics, 0).endswith(", 2 failures")


def test_the_status_line_of_dtls_and_bootstrap() -> None:
    options = SimOptions(credentials=PskPattern("{name}", b"key"), rebind_every_s=5, bootstrap=True)
    statistics = Statistics(
        handshakes=5, handshakes_resumed=2, handshakes_failed=1, last_handshake_failure="psk_wrong: no",
        records_unopened=3, sessions_ended=4, rebindings=6, bootstraps=7,
    )  # fmt: skip
    assert status_line(options, statistics, 0).endswith(
        ", 0 failures; DTLS: 5 handshakes, 2 of them resumed, 1 failed (last: psk_wrong: no), "
        "3 records not opened, 4 sessions ended, 6 new ports; 7 bootstraps, 0 failed"
    )
    statistics.bootstraps_failed, statistics.last_bootstrap_failure = 1, "Bootstrap-Request: timeout"
    assert status_line(options, statistics, 0).endswith(
        "; 7 bootstraps, 1 failed (last: Bootstrap-Request: timeout)"
    )


async def test_what_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start(options: SimOptions) -> str:
        with pytest.raises(UsageError) as caught:
            await Fleet(options).start()
        return caught.value.code

    assert await start(SimOptions(count=0)) == "sim_options_invalid"
    assert await start(SimOptions(host="no-such-host.invalid")) == "host_unknown"
    monkeypatch.setattr(resource, "getrlimit", lambda which: (100, 100))
    assert await start(SimOptions(count=200)) == "too_many_devices"


async def test_a_socket_that_cannot_be_had_undoes_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = 0
    real = Port.open

    def scarce(self: Port, *arguments: Any) -> None:
        nonlocal opened
        if opened == 2:
            raise OSError(24, "Too many open files")
        opened += 1
        real(self, *arguments)

    monkeypatch.setattr(Port, "open", scarce)
    fleet = Fleet(SimOptions(port=free_port(), count=5))
    with pytest.raises(UsageError, match="too_many_devices"):
        await fleet.start()
    assert fleet.devices == ()


class Depot(aiocoap.resource.Resource):  # type: ignore[misc]
    """Hands out a package; aiocoap cuts it into blocks."""

    def __init__(self, package: bytes) -> None:
        super().__init__()
        self.package = package
        self.remotes: set[str] = set()

    async def render_get(self, request: Any) -> Any:
        self.remotes.add(str(request.remote))
        return aiocoap.Message(code=aiocoap.CONTENT, payload=self.package, etag=b"1")


async def test_packages_are_fetched_from_a_second_port() -> None:
    package = make_package("2.0.0", 20_000)
    site, depot, port = aiocoap.resource.Site(), Depot(package), free_port()
    site.add_resource(["fw", "x"], depot)
    context = await aiocoap.Context.create_server_context(
        site, bind=("127.0.0.1", port), transports=["simplesocketserver"]
    )
    firmware = FirmwareOptions(update_s=0.0, boot_s=0.0)
    try:
        async with serving() as server:
            options = SimOptions(port=server.port, count=4, firmware=firmware)
            async with running(options) as fleet:
                await server.until(lambda: server.heard["register"] == 4)
                remotes = {str(remote) for remote in server.remotes.values()}
                uri = f"coap://127.0.0.1:{port}/fw/x".encode()
                for device in fleet.devices:
                    state = server.ask(device.name, aiocoap.GET, "5/0/3", accept=0, observe=0)
                    assert (await state.response).payload == b"0"
                    written = await server.ask(
                        device.name, aiocoap.PUT, "5/0/1", uri, content_format=0
                    ).response
                    assert written.code == aiocoap.CHANGED
                    async with asyncio.timeout(PATIENCE_S):
                        async for notification in state.observation:
                            if notification.payload == b"2":
                                break
                assert len(depot.remotes) == 4
                assert not depot.remotes & remotes
                for device in fleet.devices:
                    assert device.firmware.fetched == ((len(package), hashlib.sha256(package).hexdigest()),)
                    await server.ask(device.name, aiocoap.POST, "5/0/2").response
                await server.until(lambda: server.heard["register"] == 8)
                assert [device.firmware.version for device in fleet.devices] == ["2.0.0"] * 4
                # From new ports, as Anjay.
                assert not remotes & {str(remote) for remote in server.remotes.values()}
                assert "4 installed" in status_line(options, fleet.statistics, 0.0)
    finally:
        await context.shutdown()


async def test_a_fleet_that_stops_in_the_middle_of_a_download_leaves_nothing_behind() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections, and says nothing
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}/fw".encode()
        before = threading.active_count()
        async with serving() as server:
            firmware = FirmwareOptions(pull=(Protocol.HTTP,))
            async with running(SimOptions(port=server.port, count=1, firmware=firmware)) as fleet:
                await server.until(lambda: server.heard["register"] == 1)
                await server.ask("sim-0001", aiocoap.PUT, "5/0/1", uri, content_format=0).response
                assert fleet.statistics.firmware_begun == 1
            assert threading.active_count() <= before + 1  # that of asyncio's own, which stays
