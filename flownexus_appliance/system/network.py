"""What this machine is called and where it is reached: names and addresses for its certificates.

Asks the kernel which address it would speak from; nothing is sent.
"""

import ipaddress
import socket
from typing import Final

# Of the documentation networks (RFC 5737, RFC 3849): any address outside does, and these reach nobody.
_OUTSIDE: Final = (
    (socket.AF_INET, ("192.0.2.1", 9)),
    (socket.AF_INET6, ("2001:db8::1", 9)),
)


def host_name() -> str:
    return socket.gethostname()


def host_addresses() -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """The addresses that others on the network find this machine at, as far as its routes tell."""
    found = []
    for family, outside in _OUTSIDE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect(outside)
                found.append(ipaddress.ip_address(sock.getsockname()[0].partition("%")[0]))
        except OSError:
            continue  # no such family, or no route
    return tuple(found)
