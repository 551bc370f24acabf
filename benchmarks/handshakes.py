"""A load generator of handshakes: many clients in turn, each its own socket, a window of them at once.

    python -m benchmarks.handshakes PORT COUNT WINDOW psk|ecdsa CREDENTIALS

prints how many were made and how long it took. A client whose handshake is complete is gone without a word.
"""

import json
import select
import socket
import sys
import time
from pathlib import Path

from flownexus_appliance.coap.dtls.engine import Context, Session

from .credentials import DEVICES, device_key, device_name, load

PATIENCE_S = 60.0


def main() -> None:
    port, count, window = (int(word) for word in sys.argv[1:4])
    credentials = load(Path(sys.argv[5]))
    if sys.argv[4] == "psk":
        contexts = [
            Context(client=True, psk=(device_name(n).encode(), device_key(n)), cid_bytes=0)
            for n in range(DEVICES)
        ]
    else:
        context = Context(client=True, chain=credentials.device, roots=credentials.roots, cid_bytes=0)
        contexts = [context]
    poll = select.epoll()
    open_: dict[int, tuple[socket.socket, Session]] = {}

    def begin() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect(("127.0.0.1", port))
        session = Session(contexts[started % len(contexts)])
        session.use_cid(b"")
        session.advance()
        open_[sock.fileno()] = sock, session
        poll.register(sock.fileno(), select.EPOLLIN)
        say(sock, session)

    def say(sock: socket.socket, session: Session) -> None:
        for datagram in session.take():
            sock.send(datagram)

    began = time.monotonic()
    made = started = 0
    while made < count:
        while started < count and len(open_) < window:
            begin()
            started += 1
        for fd, _ in poll.poll(1):
            sock, session = open_[fd]
            done = session.advance(sock.recv(4096))
            say(sock, session)
            if done:
                made += 1
                poll.unregister(fd)
                sock.close()
                del open_[fd]
        if time.monotonic() > began + PATIENCE_S:
            raise SystemExit(f"only {made} of {count} handshakes within {PATIENCE_S:.0f} s")
    print(json.dumps({"made": made, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
