"""The bare DTLS engine behind a socket: what the daemon's handshakes are measured against.

    python -m benchmarks.bare_engine PORT CREDENTIALS

A loop that reads a datagram, lets the engine do the handshake and sends what it says. No event loop,
nothing kept, nobody asked; `CREDENTIALS` as `benchmarks.credentials` writes them.
"""

import socket
import sys
from pathlib import Path

from flownexus_appliance.coap.dtls.engine import CID_BYTES, Context, Ring, Session

from .credentials import load


def main() -> None:
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    credentials = load(file)
    ring = Ring()
    credentials.let_in(ring)
    context = Context(ring=ring, chain=credentials.server, roots=credentials.roots)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("127.0.0.1", port))
    under_way: dict[tuple[str, int], Session] = {}
    listener = Session(context)
    listener.use_cid(bytes(CID_BYTES))
    print("ready", flush=True)
    while True:
        data, address = sock.recvfrom(2048)
        session = under_way.get(address)
        if session is None:
            if not listener.hello(data, repr(address).encode()):
                _say(sock, listener, address)
                continue
            session = under_way[address] = listener
            listener = Session(context)
            listener.use_cid(bytes(CID_BYTES))
            data = b""
        done = session.advance(data or None)
        _say(sock, session, address)
        if done:
            del under_way[address]


def _say(sock: socket.socket, session: Session, address: tuple[str, int]) -> None:
    for datagram in session.take():
        sock.sendto(datagram, address)


if __name__ == "__main__":
    main()
