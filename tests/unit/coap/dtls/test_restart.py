"""Sessions over a restart and over a crash: nobody shakes hands again, and no number of a record repeats."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from flownexus_appliance.coap.dtls.engine import CLOSE_NOTIFY
from flownexus_appliance.coap.dtls.peer import AHEAD, records_sent
from flownexus_appliance.coap.dtls.transport import DtlsTransport
from flownexus_appliance.coap.server import CoapServer, Secure
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.fleet.ports import DeviceSilent, SavedSession
from flownexus_appliance.system.config import LOOPBACK
from tests.peer import until

from ..asking import READ
from ..conftest import ELSEWHERE, ScriptedUplinks
from .conftest import introduced
from .joined import psk_client
from .secure import FULL, FakeKeeper, FakeKeyring, SecureDevice, psk, secure_device

PING = b"\x40\x00\x12\x34"


@pytest.fixture
def box(uplinks: ScriptedUplinks, keyring: FakeKeyring, keeper: FakeKeeper) -> Iterator["Box"]:
    with ExitStack() as devices:
        yield Box(uplinks, keyring, keeper, devices)


class Box:
    """A server that can be started again on what its disk holds, at the port it had."""

    def __init__(
        self, uplinks: ScriptedUplinks, keyring: FakeKeyring, keeper: FakeKeeper, devices: ExitStack
    ) -> None:
        self.uplinks, self.keyring, self.keeper = uplinks, keyring, keeper
        self._devices = devices
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[DtlsTransport]:
        secure = Secure(self.port, LOOPBACK, self.keyring, self.keeper, self.keeper.kept())
        self.server = CoapServer(0, LOOPBACK, self.uplinks, secure)
        try:
            await self.server.start()
            self.port = self.server.secure_port
            assert self.server.dtls is not None
            yield self.server.dtls
        finally:
            await self.server.stop()

    @asynccontextmanager
    async def until_a_crash(self) -> AsyncIterator[DtlsTransport]:
        """Running, and then gone without a word to the disk."""
        async with self.running() as dtls:
            yield dtls
            self.keeper.stuck = True
        self.keeper.stuck = False
        self.keeper._pending.clear()

    def device(self, name: str = "device", *, cid: bool = True) -> SecureDevice:
        return self._devices.enter_context(secure_device(self.port, psk_client(name.encode()), cid=cid))


def numbers(device: SecureDevice) -> list[int]:
    """Of the records of epoch 1 that came, which have no id as the device wants none."""
    return [int.from_bytes(data[5:11], "big") for data in device.raw if data[3:5] == b"\0\1"]


@pytest.mark.parametrize("cid", [True, False])
@pytest.mark.parametrize("crash", [True, False])
async def test_a_session_outlives_a_restart(box: Box, cid: bool, crash: bool) -> None:
    async with box.until_a_crash() if crash else box.running() as dtls:
        device = await introduced(box.device(cid=cid), dtls)
    async with box.running() as dtls:
        await device.pong()
        assert dtls.peer(device.name).has_cid is cid
        assert dtls.counts.handshakes == 0
        assert await asked(box.server, device) == b"here"
    assert len(numbers(device)) == len(set(numbers(device)))


async def asked(server: CoapServer, device: SecureDevice) -> bytes:
    task = asyncio.create_task(server.request(device.name, READ))
    device.answer(await device.asked(), 0x45, b"here")
    return (await task).payload


async def test_a_request_reaches_a_restored_session_that_has_said_nothing(box: Box) -> None:
    async with box.running() as dtls:
        device = await introduced(box.device(), dtls)
    async with box.running():
        assert await asked(box.server, device) == b"here"


async def test_a_device_that_moves_while_the_box_is_down(box: Box) -> None:
    async with box.running() as dtls:
        device = await introduced(box.device(), dtls)
    device.move()
    async with box.running() as dtls:
        await device.pong()
        assert dtls.peer(device.name).where == device.where
        assert dtls.counts.handshakes == 0
    assert [row.address for row in box.keeper.kept()] == [device.where]


async def test_a_session_that_was_closed_is_resumed_after_a_restart(box: Box) -> None:
    async with box.running() as dtls:
        device = await introduced(box.device(), dtls)
        frozen = device.session.freeze()
        device.session.alert(CLOSE_NOTIFY)
        device.flush()
        assert (await device.next_opened()).closed
    async with box.running() as dtls:
        assert len(dtls.sessions) == 0
        device.begin_anew(resume=frozen)
        await introduced(device, dtls)
        assert device.session.resumed


async def test_a_credential_that_went_while_the_box_was_down(box: Box) -> None:
    async with box.running() as dtls:
        device = await introduced(box.device(), dtls)
        stays = await introduced(box.device("other"), dtls)
    box.keyring.remove(psk("device"))
    async with box.running() as dtls:
        with pytest.raises(DeviceSilent):
            dtls.peer(device.name)
        await stays.pong()
    assert [row.proof for row in box.keeper.kept()] == [psk("other")]


# Numbers of records (RFC 5246 6.1): none is ever used twice under a key


async def test_numbers_go_on_exactly_after_a_restart(box: Box) -> None:
    async with box.running() as dtls:
        device = await introduced(box.device(), dtls)
    async with box.running():
        await device.pong()
    first, second = numbers(device)[-2:]
    assert second == first + 1


async def test_no_number_repeats_over_crashes(box: Box) -> None:
    async with box.until_a_crash() as dtls:
        device = await introduced(box.device(), dtls)
    for _ in range(5):
        async with box.until_a_crash() as dtls:
            box.keeper.stuck = True
            peer = dtls.peer(device.name)
            for _ in range(100):
                peer.deliver(PING)
                await device.datagram_raw()
    assert len(numbers(device)) == len(set(numbers(device)))
    assert len(numbers(device)) >= 500


def is_silent(device: SecureDevice) -> bool:
    try:
        device.raw.append(device.sock.recv(4096))
    except BlockingIOError:
        return True
    return False


async def test_a_disk_that_takes_nothing_silences_a_session_in_time(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    """It sends what was promised to the disk, and not one record more; the device repeats what it said."""
    async with box.until_a_crash() as dtls:
        device = await introduced(box.device(), dtls)
        box.keeper.stuck = True
        peer = dtls.peer(device.name)
        limit = peer.record_limit
        for _ in range(AHEAD + 50):
            peer.deliver(PING)
            is_silent(device)
        while not is_silent(device):
            pass
        assert numbers(device)[-1] == limit - 1
        device.send(PING)
        await until(lambda: box.server.received > 1)
        assert is_silent(device)
        # Once the disk takes it, the session goes on.
        box.keeper.stuck = False
        await dtls._saver.save()
        device.send(PING)
        assert (await device.receive()).mid == 0x1234
    saved = records_sent(box.keeper.kept()[0].counters)
    assert saved > max(numbers(device))
    async with box.running():
        await device.pong()
    assert len(numbers(device)) == len(set(numbers(device)))


async def test_a_session_that_the_disk_did_not_take_is_kept_as_soon_as_it_does(
    box: Box, caplog: pytest.LogCaptureFixture
) -> None:
    async with box.until_a_crash() as dtls:
        box.keeper.broken = True
        device = await introduced(box.device(), dtls)
        await device.pong()
        assert box.keeper.kept() == []
        box.keeper.broken = False
        await dtls._saver.save()
    assert "session not kept" in [record.getMessage() for record in caplog.records]
    async with box.running() as dtls:
        await device.pong()
        assert dtls.counts.handshakes == 0
    assert len(numbers(device)) == len(set(numbers(device)))


async def test_the_saver_goes_on_after_a_failure(
    box: Box, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flownexus_appliance.coap.dtls.saver.SAVE_PERIOD_S", 0.01)
    async with box.running() as dtls:
        device = await introduced(box.device(), dtls)
        box.keeper.stuck = True
        await device.pong()
        await until(lambda: "sessions not kept" in [r.getMessage() for r in caplog.records])
        box.keeper.stuck = False
        before = records_sent(box.keeper.kept()[0].counters)
        await device.pong()
        await until(lambda: records_sent(box.keeper.kept()[0].counters) > before)
    assert all(r.levelno < logging.ERROR for r in caplog.records)


async def test_a_disk_that_fails_at_the_start_is_told(box: Box) -> None:
    """None of the sessions may speak before the disk knows of it, so there is no start."""
    async with box.running() as dtls:
        await introduced(box.device(), dtls)
    box.keeper.stuck = True
    secure = Secure(0, LOOPBACK, box.keyring, box.keeper, box.keeper.kept())
    server = CoapServer(0, LOOPBACK, box.uplinks, secure)
    with pytest.raises(StoreError) as caught:
        await server.start()
    assert caught.value is FULL
    await server.stop()


# What comes back from the disk


async def kept_row(box: Box) -> tuple[SavedSession, SecureDevice]:
    async with box.running() as dtls:
        device = await introduced(box.device(), dtls)
    return box.keeper.kept()[0], device


@pytest.mark.parametrize(
    "damage",
    [
        {"snapshot": b""},
        {"snapshot": b"\xff" * 40},
        {"counters": b""},
        {"counters": bytes(24)},
        {"counters": b"\xff" * 24},
        {"address": "nonsense"},
        {"address": "192.0.2.1:5684"},
        {"address": ""},
    ],
    ids=["empty", "nonsense", "no counters", "epoch 0", "counters at their end", "no address", "foreign", ""],
)
async def test_damaged_rows_keep_nobody_out(box: Box, damage: dict[str, object]) -> None:
    row, device = await kept_row(box)
    box.keeper.rows[row.id] = replace(row, **damage)  # type: ignore[arg-type]
    async with box.running() as dtls:
        device.send(PING)
        device.begin_anew()
        await introduced(device, dtls)
        for peer in list(dtls.sessions):
            peer.deliver(PING)


async def test_a_network_that_is_let_in_no_more(box: Box, uplinks: ScriptedUplinks) -> None:
    """Its sessions are there, for it may be let in again; nothing is sent there."""
    _, device = await kept_row(box)
    secure = Secure(box.port, ELSEWHERE, box.keyring, box.keeper, box.keeper.kept())
    server = CoapServer(0, LOOPBACK, uplinks, secure)
    await server.start()
    assert server.dtls is not None
    server.dtls.peer(device.name).deliver(PING)
    await server.stop()
    assert is_silent(device)
    async with box.running():
        await device.pong()
