"""The configuration: defaults, every mistake at once, each with its line."""

import ipaddress
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.firmware import MAX_URI, PACKAGE_PATH
from flownexus_appliance.lwm2m.watch import DEFAULT_WATCH_LIST
from flownexus_appliance.system.config import (
    MAX_PACKAGE_HOST,
    Config,
    FirmwareConfig,
    describe,
    load_config,
    parse_config,
)


def mistakes(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse_config(text, "appliance.toml")
    assert caught.value.code == "config_invalid"
    assert caught.value.hint
    first, *listed = caught.value.message.split("\n  ")
    assert first == "appliance.toml has mistakes:"
    return listed


def as_toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'


def test_nothing_said_is_all_by_default() -> None:
    assert load_config(None) == parse_config("") == parse_config("[coap]\n[http]\n") == Config()
    assert parse_config("# only a comment") == Config()


def test_by_default_only_what_asks_who_comes_is_open_to_others() -> None:
    config = Config()
    assert all(network.is_loopback for network in config.coap.networks)
    assert ipaddress.ip_address(config.leshan.host).is_loopback
    assert config.leshan.anonymous == "", "nothing without a token"
    assert config.leshan.server_port == config.leshan.bootstrap_port == 0, "off"
    assert config.fleet.watch_list == DEFAULT_WATCH_LIST


def test_every_field_is_described() -> None:
    config = Config()
    known = {
        (section.name, entry.name)
        for section in fields(config)
        for entry in fields(getattr(config, section.name))
    }
    described = list(describe())
    assert {(section, name) for section, name, *_ in described} == known
    assert len(described) == len(known)
    for section, name, default, unit, help_text in described:
        assert getattr(getattr(config, section), name) == default
        assert help_text
        assert not help_text.endswith(".")
        units = {"s": "s", "minutes": "minutes", "days": "days"}
        assert unit == units.get(name.rpartition("_")[2], ""), f"{section}.{name}"


def test_every_field_says_whether_it_needs_a_restart() -> None:
    for section in fields(Config()):
        kind = section.default
        assert is_dataclass(kind)
        assert all(isinstance(entry.metadata["restart"], bool) for entry in fields(kind))


def test_the_defaults_written_out_are_the_defaults() -> None:
    lines: dict[str, list[str]] = {}
    for section, name, default, _, _ in describe():
        lines.setdefault(section, [f"[{section}]"]).append(f"{name} = {as_toml(default)}")
    assert parse_config("\n".join(line for part in lines.values() for line in part)) == Config()


def test_every_field_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text(
        """
        [coap]
        port = 0
        networks = ["192.168.1.0/24", "fd00::/8", "10.1.2.3"]
        [http]
        host = "::1"
        port = 65535
        [fleet]
        watch_list = ["3303/*/5700"]
        awake_window_s = 20
        max_plain_endpoints = 0
        [firmware]
        host = "updates.example.org"
        coap = false
        patience_minutes = 1
        comeback_minutes = 1440
        [log]
        level = "debug"
        """,
        encoding="utf-8",
    )
    config = load_config(path)
    assert [str(network) for network in config.coap.networks] == ["192.168.1.0/24", "fd00::/8", "10.1.2.3/32"]
    assert (config.coap.port, config.http.host, config.http.port) == (0, "::1", 65535)
    assert config.fleet.watch_list == ("3303/*/5700",)
    assert config.fleet.awake_window_s == 20.0
    assert isinstance(config.fleet.awake_window_s, float)
    assert config.fleet.max_plain_endpoints == 0
    assert config.firmware == FirmwareConfig("updates.example.org", False, 1, 1440)
    assert config.log.level == "debug"
    assert parse_config("coap.networks = []").coap.networks == ()


def test_all_mistakes_are_told_at_once_with_their_lines() -> None:
    listed = mistakes(
        """\
[coap]
port = 70000            # line 2
prot = 5683

[http]
# port = "not this line"
"port" = "8443"
host = "localhost"

[htpp]
port = 1
[log]
level = "loud"
[fleet]
watch_list = [
    "/3/0/9",
    "/3/0/9/1/2",
]
awake_window_s = 0
"""
    )
    assert [entry.partition(": ")[0] for entry in listed] == [
        "line 2",
        "line 3",
        "line 7",
        "line 8",
        "line 10",
        "line 13",
        "line 15",
        "line 19",
    ]
    assert "coap.port" in listed[0]
    assert "no field prot in [coap] (port, networks)" in listed[1]
    assert "in quotes" in listed[3]
    assert "no section [htpp]" in listed[4]
    assert "debug, info, warning, error" in listed[5]
    assert "/3/0/9/1/2" in listed[6]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\ncoap.port = 70000", "line 2"),
        ('\n\ncoap . "port" = 70000', "line 3"),
        ("\ncoap = {port = 70000}", "line 2"),
        ("\n[ coap ]\n'port' = 70000", "line 3"),
        ("port = 1\n[coap]\nport = 70000", "line 1"),
        ("[http]\nport = 70000\n[coap]\nport = 5683", "line 2"),
        ("[coap]\nport = 5683\n[coap.tls]\nport = 1", "line 3"),
        ("\n[[coap]]\nport = 1", "line 2"),
        ("\ncoap = 1", "line 2"),
        ("\nloud = true", "line 2"),
        ("[coap]\nreport = 1", "line 2"),
        ("[log]\nlevel = 'info'\n[nosuch.deeper]\na = 1", "line 3"),
    ],
)
def test_where_a_mistake_stands(text: str, line: str) -> None:
    assert mistakes(text)[0].partition(": ")[0] == line


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("coap", "port = -1"),
        ("coap", "port = 65536"),
        ("coap", "port = true"),
        ("coap", "port = 5683.0"),
        ("coap", "networks = '127.0.0.0/8'"),
        ("coap", "networks = ['127.0.0.1/8']"),
        ("coap", "networks = [2130706433]"),
        ("coap", "networks = [true]"),
        ("coap", "networks = ['home']"),
        ("http", "host = ''"),
        ("http", "host = 1"),
        ("http", "host = true"),
        ("http", "host = ['127.0.0.1']"),
        ("http", "host = 'localhost'"),
        ("leshan", "host = 'localhost'"),
        ("leshan", "server_port = -1"),
        ("leshan", "server_port = true"),
        ("leshan", "bootstrap_port = 65536"),
        ("leshan", "bootstrap_port = '8081'"),
        ("fleet", "watch_list = '/3/0/9'"),
        ("fleet", "watch_list = [9]"),
        ("fleet", "watch_list = ['/3/0/*']"),
        ("fleet", "awake_window_s = nan"),
        ("fleet", "awake_window_s = inf"),
        ("fleet", "awake_window_s = 0.5"),
        ("fleet", "awake_window_s = 86401"),
        ("fleet", "awake_window_s = '93'"),
        ("fleet", "awake_window_s = true"),
        ("fleet", "max_plain_endpoints = -1"),
        ("fleet", "max_plain_endpoints = 1000001"),
        ("fleet", "max_plain_endpoints = 1.5"),
        ("fleet", "max_plain_endpoints = true"),
        ("firmware", "host = 5"),
        ("firmware", "host = 'box.local:5684'"),
        ("firmware", "host = 'coaps://box.local'"),
        ("firmware", "host = '[::1]'"),
        ("firmware", "host = 'fe80::1%eth0'"),
        ("firmware", "host = 'box local'"),
        ("firmware", "host = '-'"),
        ("firmware", "host = '192.0.2.300'"),
        ("firmware", "host = 'box.'"),
        ("firmware", 'host = "box\\n"'),
        ("firmware", f"host = '{'b' * 96}'"),
        ("firmware", "coap = 1"),
        ("firmware", "coap = 'true'"),
        ("firmware", "patience_minutes = 0"),
        ("firmware", "patience_minutes = 1441"),
        ("firmware", "patience_minutes = true"),
        ("firmware", "comeback_minutes = 0"),
        ("firmware", "comeback_minutes = 1.5"),
        ("log", "level = 'INFO'"),
        ("log", "level = ['info']"),
        ("log", "level = 20"),
    ],
)
def test_a_value_out_of_bounds(section: str, line: str) -> None:
    (mistake,) = mistakes(f"[{section}]\n{line}")
    assert mistake.startswith(f"line 2: {section}.{line.partition(' ')[0]}: ")


@pytest.mark.parametrize("host", ["", "b", "box.local", "192.0.2.7", "2001:db8::7", "b" * 95])
def test_the_host_of_packages(host: str) -> None:
    assert parse_config(f'[firmware]\nhost = "{host}"').firmware.host == host


def test_the_longest_host_leaves_room_in_the_address_of_a_package() -> None:
    uri = f"https://{'b' * MAX_PACKAGE_HOST}:65535/{PACKAGE_PATH}/{'t' * 12}"
    assert len(uri) <= MAX_URI


def test_text_that_is_no_toml_is_told_with_its_line() -> None:
    (mistake,) = mistakes("[coap]\nport = \n")
    assert "line 2" in mistake
    (mistake,) = mistakes("[coap]\nport = 1\nport = 2\n")
    assert "line 3" in mistake
    (mistake,) = mistakes("[coap]\nport = " + "9" * 5000)
    assert len(mistake) < 200


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# Fühler".encode("latin-1"))
    for path in (tmp_path, tmp_path / "none.toml", latin):
        with pytest.raises(UsageError) as caught:
            load_config(path)
        assert caught.value.code == "config_unreadable"
        assert path.name in caught.value.message
        assert caught.value.hint


toml_values = st.one_of(
    st.integers(-1, 70_000).map(str),
    st.sampled_from(["true", "nan", "1.5", "''", "[]", "['x']", "{}", "{a = 1}", "[[1]]", "1979-05-27"]),
)
toml_lines = st.one_of(
    st.builds(
        "{} = {}".format,
        st.sampled_from(["port", "host", "networks", "level", "watch_list", "awake_window_s", "coap", "x.y"]),
        toml_values,
    ),
    st.sampled_from(["[coap]", "[http]", "[fleet]", "[log]", "[x]", "[[y]]", "[coap.z]", "# remark", ""]),
    st.text(max_size=8),
)


@given(st.lists(toml_lines, max_size=8).map("\n".join))
def test_any_text_gives_a_configuration_or_lines(text: str) -> None:
    try:
        parse_config(text)
    except UsageError as error:
        refusal = error
    else:
        return
    assert refusal.code == "config_invalid"
    for mistake in refusal.message.split("\n  ")[1:]:
        assert re.search(r"line \d+|at end of document", mistake)
