"""A real CoapServer over DTLS on the loopback; its fleet, its keyring and its disk are the test's."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest

from flownexus_appliance.coap.dtls.engine import Context
from flownexus_appliance.coap.dtls.transport import DtlsTransport
from flownexus_appliance.coap.server import CoapServer, Secure
from flownexus_appliance.system.config import LOOPBACK
from tests.peer import until

from ..conftest import ListedPackages, ScriptedUplinks
from .secure import FakeKeeper, FakeKeyring, SecureDevice, psk, secure_device

NewDevice = Callable[..., SecureDevice]


@pytest.fixture
def keyring() -> FakeKeyring:
    made = FakeKeyring()
    made.let_in(psk("device"))
    made.let_in(psk("other"))
    return made


@pytest.fixture
def keeper() -> FakeKeeper:
    return FakeKeeper()


@pytest.fixture
def secure(keyring: FakeKeyring, keeper: FakeKeeper) -> Secure:
    return Secure(0, LOOPBACK, keyring, keeper)


@pytest.fixture
async def server(
    uplinks: ScriptedUplinks, secure: Secure, packages: ListedPackages, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[CoapServer]:
    """A started server; nothing may have gone wrong inside it, by its own word or aiocoap's."""
    started = CoapServer(0, LOOPBACK, uplinks, secure, packages)
    await started.start()
    yield started
    await started.stop()
    complaints = [r for r in caplog.get_records("call") if r.levelno >= logging.WARNING]
    assert [r.getMessage() for r in complaints if r.name != "asyncio"] == []


@pytest.fixture
def dtls(server: CoapServer) -> DtlsTransport:
    assert server.dtls is not None
    return server.dtls


@pytest.fixture
def new_device(server: CoapServer) -> Iterator[NewDevice]:
    """Makes devices that have not shaken hands yet, to be closed with the test."""
    with ExitStack() as stack:

        def made(context: Context | None = None, **named: object) -> SecureDevice:
            opened = secure_device(server.secure_port, context, **named)  # type: ignore[arg-type]
            return stack.enter_context(opened)

        yield made


async def introduced(device: SecureDevice, dtls: DtlsTransport) -> SecureDevice:
    """A device with a session; it knows what the fleet calls it."""
    before = dtls.sessions.at(device.sock.getsockname())
    await device.shake()
    await until(lambda: dtls.sessions.at(device.sock.getsockname()) is not before)
    peer = dtls.sessions.at(device.sock.getsockname())
    assert peer is not None
    device.name = peer.name
    await device.pong()
    return device


@pytest.fixture
async def peer(new_device: NewDevice, dtls: DtlsTransport) -> SecureDevice:
    return await introduced(new_device(), dtls)


@pytest.fixture
async def other_peer(new_device: NewDevice, dtls: DtlsTransport) -> SecureDevice:
    """A device at another address, with another session."""
    return await introduced(new_device(), dtls)
