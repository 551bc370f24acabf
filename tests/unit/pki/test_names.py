"""The names of the box: those others can use, each once, in an order that makes no new certificates."""

import ipaddress

import pytest
from cryptography import x509

from flownexus_appliance.pki.names import MAX_ADDRESSES, ServerNames, is_dns_name


def addresses(*texts: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [ipaddress.ip_address(text) for text in texts]


def shown(names: ServerNames) -> list[str]:
    return [str(address) for address in names.addresses]


@pytest.mark.parametrize(
    ("hostname", "dns", "common_name"),
    [
        ("flownexus", ("localhost", "flownexus", "flownexus.local"), "flownexus"),
        ("FlowNexus.", ("localhost", "flownexus", "flownexus.local"), "flownexus"),
        ("box.example.org", ("localhost", "box.example.org"), "box.example.org"),
        ("localhost", ("localhost",), "localhost"),
        ("", ("localhost",), "localhost"),
        ("no name", ("localhost",), "localhost"),
        ("ümlaut", ("localhost",), "localhost"),
        ("a" * 63, ("localhost", "a" * 63, "a" * 63 + ".local"), "a" * 63),
        ("a" * 40 + "." + "b" * 40, ("localhost", "a" * 40 + "." + "b" * 40), "localhost"),
    ],
)
def test_names_of_a_host(hostname: str, dns: tuple[str, ...], common_name: str) -> None:
    names = ServerNames.of(hostname)
    assert names.dns == dns
    assert names.common_name == common_name
    assert shown(names) == ["127.0.0.1", "::1"]


def test_addresses_that_others_can_use_in_one_order() -> None:
    found = addresses("192.168.1.20", "fe80::1", "fd00::20", "127.0.1.1", "10.0.0.5", "0.0.0.0", "224.0.0.1")
    names = ServerNames.of("box", found)
    assert shown(names) == ["127.0.0.1", "::1", "10.0.0.5", "192.168.1.20", "fd00::20"]
    assert ServerNames.of("box", [*reversed(found), *found]) == names


def test_no_more_addresses_than_a_handshake_should_carry() -> None:
    names = ServerNames.of("box", addresses(*(f"10.0.0.{n}" for n in range(1, 100))))
    assert len(names.addresses) == 2 + MAX_ADDRESSES


def test_the_extension_holds_all_of_them() -> None:
    extension = ServerNames.of("box", addresses("fd00::20")).extension()
    assert extension.get_values_for_type(x509.DNSName) == ["localhost", "box", "box.local"]
    assert [str(a) for a in extension.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "fd00::20"]


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "-a", "a_b", "a b", "a" * 64, ".".join(["a" * 63] * 4), "ü"]
)
def test_what_is_no_dns_name(name: str) -> None:
    assert not is_dns_name(name)
