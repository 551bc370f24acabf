"""sd_notify(3), with a real socket at the other end."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from flownexus_appliance.system.notify import notify


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        yield listener


def test_a_state_reaches_the_socket(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert notify("READY=1")
    assert notify("STATUS=3 Geräte")
    assert listener.recv(100) == b"READY=1"
    assert listener.recv(100) == "STATUS=3 Geräte".encode()


def test_the_socket_may_have_an_abstract_name(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"flownexus-test{tmp_path}"[:100]
    listener.bind(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    assert notify("WATCHDOG=1")
    assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", [None, ""])
def test_without_systemd_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")


def test_a_socket_that_is_gone_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address in (str(tmp_path / "gone"), "vsock:2:1", "@nobody here", str(tmp_path / ("x" * 200))):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not notify("READY=1")
