"""By which ways the box can give a package to a device, and under which address."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ...db.firmware import FirmwareUpdate
from ...lwm2m.firmware import MAX_URI, PACKAGE_PATH, Delivery
from ...lwm2m.registration import Registration
from ..ports import Ports, Wire

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LOCALHOST: Final = "127.0.0.1"


@dataclass(slots=True)
class Offers:
    """`host` is what devices are given in the place of the address they reach the box by, "" for that;
    `plain` whether packages may go over plain CoAP, to the `networks` that it is open to. `outside` finds our
    address for a device whose way to us is not known. `https_port` is 0 until the web server is up."""

    host: str = ""
    plain: bool = True
    networks: Sequence[Network] = ()
    outside: Callable[[], Sequence[Address]] = lambda: ()
    https_port: int = 0
    wire: Wire | None = field(default=None, repr=False)

    def ways(self, registration: Registration) -> tuple[Delivery, ...]:
        """What is open for a device, as it is registered."""
        ports = self._ports()
        found = [Delivery.PUSH]
        # Who has no credential has no session to fetch by either.
        if ports.coaps and registration.session:
            found.append(Delivery.COAPS)
        if self.https_port:
            found.append(Delivery.HTTPS)
        if self.plain and ports.coap and self._is_let_in(registration):
            found.append(Delivery.COAP)
        return tuple(delivery for delivery in found if self._fits(registration, delivery))

    def uri(self, registration: Registration, update: FirmwareUpdate, delivery: Delivery) -> str:
        """The Package URI of an update."""
        return f"{self._base(registration, delivery)}/{PACKAGE_PATH}/{update.ticket}"

    def open(self) -> tuple[Delivery, ...]:
        """What is open for some device at least."""
        ports = self._ports()
        found = {
            Delivery.PUSH: True,
            Delivery.COAPS: bool(ports.coaps),
            Delivery.HTTPS: bool(self.https_port),
            Delivery.COAP: self.plain and bool(ports.coap),
        }
        return tuple(delivery for delivery, is_open in found.items() if is_open)

    def _ports(self) -> Ports:
        return Ports() if self.wire is None else self.wire.ports

    def _fits(self, registration: Registration, delivery: Delivery) -> bool:
        longest = f"{self._base(registration, delivery)}/{PACKAGE_PATH}/{'-' * 12}"
        return delivery is Delivery.PUSH or len(longest) <= MAX_URI

    def _base(self, registration: Registration, delivery: Delivery) -> str:
        ports = self._ports()
        port = {Delivery.COAPS: ports.coaps, Delivery.COAP: ports.coap, Delivery.HTTPS: self.https_port}
        host = self.host or self._reached_by(registration)
        # A scoped address means something on this machine alone.
        host = host.partition("%")[0]
        return f"{delivery.value}://{f'[{host}]' if ':' in host else host}:{port.get(delivery, 0)}"

    def _reached_by(self, registration: Registration) -> str:
        """Our address as the device knows it."""
        known = "" if self.wire is None else self.wire.local_host(registration.peer)
        if known:
            return known
        device = _address(registration)
        if device is not None and device.is_loopback:
            return str(device) if device.version == 6 else LOCALHOST
        for ours in self.outside():
            if device is None or ours.version == device.version:
                return str(ours)
        return LOCALHOST

    def _is_let_in(self, registration: Registration) -> bool:
        if not registration.session:
            return True  # it is here by plain CoAP
        device = _address(registration)
        return device is not None and any(
            device.version == network.version and device in network for network in self.networks
        )


def _address(registration: Registration) -> Address | None:
    host = registration.address.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
