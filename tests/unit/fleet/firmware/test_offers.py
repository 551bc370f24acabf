"""The ways a package can go to a device, and the address it is given."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from flownexus_appliance.fleet.firmware.offers import Address, Offers
from flownexus_appliance.fleet.ports import Downlink, DownlinkReply, Ports
from flownexus_appliance.lwm2m.firmware import MAX_URI, Delivery
from flownexus_appliance.lwm2m.registration import Registration
from tests.conftest import FakeClock

from .led import Puppet, asked_for, silent

PUSH, COAPS, COAP, HTTPS = Delivery.PUSH, Delivery.COAPS, Delivery.COAP, Delivery.HTTPS
TICKET = "AbCdEfGhIjKl"
BOTH = Ports(5683, 5684)


class Wire:
    """Where we are reached, and by which of our addresses."""

    def __init__(self, ports: Ports, host: str = "") -> None:
        self.ports = ports
        self.host = host

    async def request(self, peer: str, downlink: Downlink) -> DownlinkReply:
        raise silent()

    def local_host(self, peer: str) -> str:
        return self.host


def registered(address: str = "192.0.2.1:5683", session: str = "dtls:00") -> Registration:
    registration = Puppet(FakeClock()).registration("one")
    return replace(registration, address=address, session=session)


def offers(host: str = "192.0.2.9", ports: Ports = BOTH, **more: Any) -> Offers:
    fields: dict[str, Any] = {"https_port": 8443, "networks": [ip_network("192.0.2.0/24")], **more}
    return Offers(wire=Wire(ports, host), **fields)


def outside(*addresses: str) -> Sequence[Address]:
    return [ip_address(address) for address in addresses]


def test_a_device_behind_a_session_has_all_ways() -> None:
    assert set(offers().ways(registered())) == set(Delivery)
    assert set(offers().open()) == set(Delivery)


@pytest.mark.parametrize(
    ("how", "lost"),
    [
        ({"ports": Ports(5683, 0)}, {COAPS}),
        ({"ports": Ports(0, 5684)}, {COAP}),
        ({"ports": Ports()}, {COAP, COAPS}),
        ({"plain": False}, {COAP}),
        ({"https_port": 0}, {HTTPS}),
    ],
)
def test_what_is_off_is_no_way(how: dict[str, Any], lost: set[Delivery]) -> None:
    assert set(Delivery) - set(offers(**how).ways(registered())) == lost
    assert set(Delivery) - set(offers(**how).open()) == lost


def test_a_device_without_a_credential_has_no_session_to_fetch_by() -> None:
    assert set(offers().ways(registered(session=""))) == {PUSH, COAP, HTTPS}


@pytest.mark.parametrize(
    ("address", "is_let_in"),
    [("192.0.2.77:5683", True), ("198.51.100.1:5683", False), ("[2001:db8::1]:5683", False), ("?", False)],
)
def test_plain_coap_is_for_the_networks_it_is_open_to(address: str, is_let_in: bool) -> None:
    assert (COAP in offers().ways(registered(address))) == is_let_in


def test_before_the_wire_is_up_there_is_only_a_push() -> None:
    assert Offers().open() == (PUSH,)
    assert Offers().ways(registered()) == (PUSH,)


@pytest.mark.parametrize(
    ("delivery", "uri"),
    [
        (COAPS, f"coaps://192.0.2.9:5684/fw/{TICKET}"),
        (COAP, f"coap://192.0.2.9:5683/fw/{TICKET}"),
        (HTTPS, f"https://192.0.2.9:8443/fw/{TICKET}"),
    ],
)
def test_the_address_of_a_package(delivery: Delivery, uri: str) -> None:
    assert offers().uri(registered(), asked_for(), delivery) == uri


@pytest.mark.parametrize(
    ("reached", "told"),
    [("2001:db8::9", "[2001:db8::9]"), ("fe80::1%eth0", "[fe80::1]"), ("box.example", "box.example")],
)
def test_how_a_host_is_written(reached: str, told: str) -> None:
    assert offers(reached).uri(registered(), asked_for(), COAPS) == f"coaps://{told}:5684/fw/{TICKET}"
    configured = offers("192.0.2.9")
    configured.host = reached
    assert configured.uri(registered(), asked_for(), COAPS) == f"coaps://{told}:5684/fw/{TICKET}"


@pytest.mark.parametrize(
    ("device", "ours", "told"),
    [
        ("127.0.0.1:5683", ["192.0.2.9"], "127.0.0.1"),
        ("127.0.0.7:5683", ["192.0.2.9"], "127.0.0.1"),
        ("[::1]:5683", ["192.0.2.9"], "[::1]"),
        ("198.51.100.1:5683", ["2001:db8::9", "192.0.2.9"], "192.0.2.9"),
        ("[2001:db8::1]:5683", ["192.0.2.9", "2001:db8::9"], "[2001:db8::9]"),
        ("[fe80::2%eth1]:5683", ["192.0.2.9", "2001:db8::9"], "[2001:db8::9]"),
        ("?", ["192.0.2.9"], "192.0.2.9"),
        ("198.51.100.1:5683", [], "127.0.0.1"),
    ],
)
def test_which_of_our_addresses_is_told_where_the_way_is_not_known(
    device: str, ours: list[str], told: str
) -> None:
    unknown = offers("", outside=lambda: outside(*ours))
    assert unknown.uri(registered(device), asked_for(), COAPS) == f"coaps://{told}:5684/fw/{TICKET}"


def test_an_address_that_no_device_can_hold_is_no_way() -> None:
    room = MAX_URI - len(f"coaps://:5684/fw/{TICKET}")
    assert COAPS in offers("h" * room).ways(registered())
    assert len(offers("h" * room).uri(registered(), asked_for(), COAPS)) == MAX_URI
    ways = offers("h" * (room + 1)).ways(registered())
    assert COAPS not in ways
    assert {PUSH, COAP} <= set(ways)
