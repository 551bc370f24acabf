"""What is set over the configuration file: kept, checked, taken back; and never in the way of a start."""

import socket
import stat
import tomllib
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import ApplianceError, UsageError
from flownexus_appliance.system.config import Config
from flownexus_appliance.system.settings import NAME, Entry, Settings, SettingsInvalid, read, write


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The operator's."""
    path = tmp_path / "appliance.toml"
    path.write_text('[http]\nport = 9443\n[log]\nlevel = "warning"\n')
    return path


Load = Callable[[], Settings]


@pytest.fixture
def load(tmp_path: Path, file: Path) -> Load:
    """The daemon starts: reads both files."""
    return lambda: Settings(file, tmp_path / NAME)


def content(path: Path) -> bytes:
    return path.read_bytes()


def put(path: Path, text: str) -> None:
    path.write_text(text)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def entry(settings: Settings, key: str) -> Entry:
    (found,) = (one for one in settings.entries() if one.key == key)
    return found


def test_without_anything_set_the_file_counts(load: Load) -> None:
    settings = load()
    assert settings.config.http.port == 9443
    assert not settings.restart_needed()
    assert settings.problems() == []
    port, level, networks = (entry(settings, key) for key in ("http.port", "log.level", "coap.networks"))
    assert (port.value, port.default, port.origin, port.kind) == ("9443", "8443", "file", "number")
    assert (level.value, level.choices[0], level.kind) == ('"warning"', "debug", "choice")
    assert (networks.value, networks.origin) == ('["127.0.0.0/8", "::1/128"]', "default")


async def test_what_is_set_is_in_use_after_a_restart(load: Load, tmp_path: Path, file: Path) -> None:
    before = content(file)
    settings = load()
    await settings.change({"log.level": '"debug"', "coap.networks": '["192.0.2.0/24"]'})
    assert settings.config.log.level == "warning"
    assert settings.restart_needed()
    level = entry(settings, "log.level")
    assert (level.value, level.in_use, level.base, level.origin) == (
        '"debug"',
        '"warning"',
        '"warning"',
        "page",
    )
    after = load()
    assert after.config.log.level == "debug"
    assert after.config.coap.networks == (ip_network("192.0.2.0/24"),)
    assert not after.restart_needed()
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert content(file) == before


async def test_what_is_taken_back_is_as_the_file_says(load: Load, tmp_path: Path) -> None:
    settings = load()
    await settings.change({"log.level": '"debug"', "fleet.awake_window_s": "20"})
    await settings.change({"log.level": None, "fleet.awake_window_s": "93"})
    assert entry(settings, "log.level").origin == "file"
    assert entry(settings, "fleet.awake_window_s").origin == "default"
    assert not settings.restart_needed()
    assert tomllib.loads((tmp_path / NAME).read_text()) == {}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("log.level", '"loud"', "give one of debug, info, warning, error"),
        ("log.level", "loud", "this is no value as TOML writes them"),
        ("log.level", '"info"\n[http]\nport = 1', "this is no value as TOML writes them"),
        ("log.level", "[" * 10_000, "this is no value as TOML writes them"),
        ("log.level", '"' + "x" * 30_000 + '"', "this is no value as TOML writes them"),
        ("log.volume", "1", "there is no such setting"),
        ("log", "1", "there is no such setting"),
        ("http.port", "0", "nobody would know where the pages are: give a number"),
        ("http.host", '"192.0.2.1"', "this machine does not have that address"),
        ("leshan.host", '"192.0.2.1"', "this machine does not have that address"),
        ("leshan.server_port", "9443", "http.port has that port already"),
        ("dtls.port", "5683", "coap.port has that port already"),
    ],
)
async def test_what_cannot_be_is_refused_whole(
    load: Load, tmp_path: Path, name: str, text: str, why: str
) -> None:
    settings = load()
    with pytest.raises(SettingsInvalid) as caught:
        await settings.change({"fleet.max_plain_endpoints": "5", name: text})
    assert caught.value.code == "setting_invalid"
    assert caught.value.fields == {name: why}
    assert name in caught.value.message
    assert not settings.restart_needed()
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    ("kind", "name"),
    [(socket.SOCK_STREAM, "http.port"), (socket.SOCK_DGRAM, "dtls.port")],
)
async def test_a_port_that_another_program_uses_is_refused(
    load: Load, kind: socket.SocketKind, name: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(SettingsInvalid, match="another program uses that port"):
            await load().change({name: str(other.getsockname()[1])})


async def test_ones_own_port_is_no_other_programs(load: Load, file: Path) -> None:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen()
        put(file, f"[http]\nport = {own.getsockname()[1]}\n")
        settings = load()
        await settings.change({"http.host": '"0.0.0.0"'})
    assert entry(settings, "http.host").value == '"0.0.0.0"'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[log\n", "settings.toml cannot be read, and is passed over"),
        ("[log]\nlevel = 'loud'\n", "log.level: settings.toml has loud, and is passed over"),
        ("[log]\nvolume = 1\n", "settings.toml has log.volume, which this version does not know"),
        ("log = 1\n", "settings.toml has log., which this version does not know"),
        ("[http]\nport = 70000\n", "http.port: settings.toml has 70000, and is passed over"),
    ],
)
async def test_a_file_that_is_damaged_keeps_nothing_from_starting(
    load: Load, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / NAME).write_text(text)
    settings = load()
    assert settings.config.http.port == 9443
    assert settings.config.log.level == "warning"
    (told,) = settings.problems()
    assert told.startswith(problem)
    # The next change writes a file that is whole.
    await settings.change({"fleet.max_plain_endpoints": "5"})
    assert settings.problems() == []
    assert load().config.fleet.max_plain_endpoints == 5


async def test_a_good_field_beside_a_bad_one_counts(load: Load, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("[http]\nport = 70000\n[fleet]\nmax_plain_endpoints = 5\n")
    settings = load()
    assert settings.config.fleet.max_plain_endpoints == 5
    assert entry(settings, "http.port").problem


async def test_a_box_that_does_not_start_with_them_starts_without(load: Load) -> None:
    await load().change({"log.level": '"debug"'})
    settings = load()
    assert not settings.set_aside(ApplianceError("database_damaged", "something else"))
    assert settings.set_aside(ApplianceError("address_unusable", "cannot listen on 192.0.2.1, port 8443"))
    assert settings.config.log.level == "warning"
    assert settings.problems() == [
        "the box did not start with what was set here: cannot listen on 192.0.2.1, port 8443"
    ]
    assert entry(settings, "log.level").value == '"debug"'
    # Then it is not the page's settings.
    assert not settings.set_aside(ApplianceError("address_unusable", "cannot listen"))


async def test_a_disk_that_takes_nothing_is_told(load: Load, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    settings = load()
    with pytest.raises(ApplianceError) as caught:
        await settings.change({"log.level": '"debug"'})
    assert caught.value.code == "settings_unwritable"
    assert not settings.restart_needed()
    assert names(tmp_path) == {NAME, "appliance.toml"}


def test_a_restart_that_would_end_the_box_does_not_happen(tmp_path: Path, file: Path) -> None:
    asked: list[str] = []
    settings = Settings(file, tmp_path / NAME, lambda: asked.append("restart"))
    settings.restart()
    assert asked == ["restart"]
    file.write_text("[log]\nlevel = 'loud'\n")
    with pytest.raises(UsageError, match="line 2"):
        settings.restart()
    assert asked == ["restart"]


def test_every_setting_is_described(tmp_path: Path) -> None:
    settings = Settings(None, tmp_path / NAME)
    assert settings.config == Config()
    for one in settings.entries():
        assert one.help
        assert one.kind in ("switch", "number", "choice", "lines", "text")
        assert one.value == one.default == one.base == one.in_use


values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8")),
    st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=5),
)


@given(values)
def test_what_is_written_is_what_is_read(value: bool | int | float | str | list[str]) -> None:
    assert read(write(value)) == value
