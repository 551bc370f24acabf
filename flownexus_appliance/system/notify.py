"""Tells systemd how the service is: READY, STATUS, STOPPING (sd_notify(3)).

A datagram to the socket that systemd named; without one nothing happens.
"""

import os
import socket


def notify(state: str) -> bool:
    """Send a state such as "READY=1"; True when somebody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return False
    return True
