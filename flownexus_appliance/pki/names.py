"""The names a server's certificate is made for: what a browser or a device may call this box by. RFC 6125."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509

MAX_COMMON_NAME: Final = 64  # X.520: ub-common-name
# A certificate is sent in every handshake over the air: a box with more addresses is not asked for by them.
MAX_ADDRESSES: Final = 8

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
LOOPBACK: Final = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))


@dataclass(frozen=True, slots=True)
class ServerNames:
    """DNS names and IP addresses of the box, each once, in an order that does not vary by itself."""

    dns: tuple[str, ...]
    addresses: tuple[IpAddress, ...]

    @classmethod
    def of(
        cls, hostname: str, addresses: Iterable[IpAddress] = (), further: Iterable[str] = ()
    ) -> "ServerNames":
        """Loopback, the host's name, with `.local` where it has no domain, its addresses; then `further`
        names and addresses of the operator's.

        Of the addresses at most 8 are taken, and none that others cannot use: link-local, multicast, 0.0.0.0.
        A hostname that is no DNS name is left out.
        """
        dns = ["localhost"]
        host = hostname.rstrip(".").lower()
        if host != "localhost" and is_dns_name(host):
            dns.append(host)
            if "." not in host:
                dns.append(f"{host}.local")
        others = {address for address in addresses if _is_reachable(address)}
        for name in further:
            try:
                others.add(ipaddress.ip_address(name))
            except ValueError:
                if is_dns_name(name) and name.lower() not in dns:
                    dns.append(name.lower())
        ordered = sorted(others, key=lambda address: (address.version, int(address)))
        return cls(tuple(dns), LOOPBACK + tuple(ordered[:MAX_ADDRESSES]))

    @property
    def common_name(self) -> str:
        """The name for a certificate's subject, at most 64 characters."""
        return next(
            (name for name in self.dns if name != "localhost" and len(name) <= MAX_COMMON_NAME), "localhost"
        )

    def extension(self) -> x509.SubjectAlternativeName:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in self.dns]
        names += [x509.IPAddress(address) for address in self.addresses]
        return x509.SubjectAlternativeName(names)


def is_dns_name(text: str) -> bool:
    labels = text.split(".")
    return len(text) <= 253 and all(
        0 < len(label) <= 63 and label.isascii() and label.replace("-", "").isalnum() and label[0] != "-"
        for label in labels
    )


def _is_reachable(address: IpAddress) -> bool:
    return not (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    )
