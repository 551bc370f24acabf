"""Peers that mean no good at the DTLS port: many addresses, and handshakes that are begun and left.

Every address of 127.0.0.0/8 is the loopback's, so one machine is a million strangers.
"""

import ipaddress
import select
import socket
import time
from collections.abc import Iterator
from typing import Final

from flownexus_appliance.coap.dtls.engine import Context, Session
from tests.peer import DEADLINE_S

AT_ONCE: Final = 200
_FIRST: Final = int(ipaddress.IPv4Address("127.1.0.1"))


def address(number: int) -> str:
    """The address of the stranger of a number from 0; below 16 million none is another's."""
    return str(ipaddress.IPv4Address(_FIRST + number))


def half_open(port: int, made: Context, numbers: range) -> Iterator[int]:
    """Strangers, each from an address of its own, that bring their cookie back and fall silent.

    Goes on in steps of AT_ONCE; yields how many there have been. Each has then made the server begin a
    handshake.
    """
    for first in range(numbers.start, numbers.stop, AT_ONCE):
        wave = range(first, min(first + AT_ONCE, numbers.stop))
        _wave(("127.0.0.1", port), made, wave)
        yield wave.stop - numbers.start


def _wave(server: tuple[str, int], made: Context, numbers: range) -> None:
    greeting: dict[int, tuple[socket.socket, Session]] = {}
    poll = select.epoll()
    try:
        for number in numbers:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            session = Session(made)
            greeting[sock.fileno()] = sock, session
            sock.bind((address(number), 0))
            sock.connect(server)
            session.use_cid(b"")
            session.advance()
            _say(sock, session)
            poll.register(sock.fileno(), select.EPOLLIN)
        _answer_cookies(poll, greeting)
    finally:
        poll.close()
        for sock, _ in greeting.values():
            sock.close()


def _answer_cookies(poll: select.epoll, greeting: dict[int, tuple[socket.socket, Session]]) -> None:
    silent = set(greeting)
    deadline = time.monotonic() + DEADLINE_S
    while silent:
        for fd, _ in poll.poll(1):
            sock, session = greeting[fd]
            session.advance(sock.recv(4096))
            _say(sock, session)
            poll.unregister(fd)
            silent.discard(fd)
        assert time.monotonic() < deadline, f"{len(silent)} strangers got no cookie"


def _say(sock: socket.socket, session: Session) -> None:
    for datagram in session.take():
        sock.send(datagram)
