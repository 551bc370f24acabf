"""Whether the box could be reached with other settings: asked of the machine before they are kept.

A page that sets an address the machine does not have, or a port that is taken, would be the last page.
"""

import errno
import ipaddress
import socket
from collections.abc import Collection, Iterator
from typing import Final

from .config import Config

_WHY: Final = {
    errno.EADDRNOTAVAIL: "this machine does not have that address",
    errno.EADDRINUSE: "another program uses that port",
    errno.EACCES: "the box may not use that port: choose one from 1024 on",
    errno.EAFNOSUPPORT: "this machine does not have that kind of address",
}
_TCP: Final = ("http.port", "leshan.server_port", "leshan.bootstrap_port")
_UDP: Final = ("coap.port", "dtls.port")


def unusable(wanted: Config, in_use: Config, changed: Collection[str]) -> dict[str, str]:
    """What of the `changed` fields the box could not start with, and why, by `section.name`.

    `in_use` is what this daemon runs with: its own ports are no hindrance. Asks the kernel; blocks shortly.
    """
    found: dict[str, str] = {}
    if "http.port" in changed and not wanted.http.port:
        found["http.port"] = "nobody would know where the pages are: give a number"
    for names in (_TCP, _UDP):
        ports = [(name, _port(wanted, name)) for name in names if _port(wanted, name)]
        for name, port in ports:
            others = [other for other, same in ports if same == port and other != name]
            if others and name in changed:
                found.setdefault(name, f"{others[0]} has that port already")
    for name, host, port, kind in _sockets(wanted, changed):
        if f"{name.partition('.')[0]}.host" in found:
            continue
        held = port in {_port(in_use, other) for other in (_TCP if kind == socket.SOCK_STREAM else _UDP)}
        why = _refusal(host, 0 if held else port, kind)
        if why:
            found.setdefault(name, why)
    return found


def _sockets(config: Config, changed: Collection[str]) -> Iterator[tuple[str, str, int, socket.SocketKind]]:
    """What to try: the field to blame, address, port, kind."""
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    for section, names in (("http", _TCP[:1]), ("leshan", _TCP[1:])):
        host = str(getattr(config, section).host)
        if f"{section}.host" in changed:
            yield f"{section}.host", host, 0, stream
        for name in names:
            if name in changed or f"{section}.host" in changed:
                yield name, host, _port(config, name), stream
    for name in _UDP:
        if name in changed:
            yield name, "0.0.0.0", _port(config, name), datagram


def _port(config: Config, name: str) -> int:
    section, _, field = name.partition(".")
    return int(getattr(getattr(config, section), field))


def _refusal(host: str, port: int, kind: socket.SocketKind) -> str:
    """Why nobody can listen there; "" where one can."""
    family = socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return _WHY.get(error.errno or 0, error.strerror or "the machine refuses it")
    return ""
