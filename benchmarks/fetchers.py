"""Devices that fetch a package block by block, again and again, as cheap as Python allows (RFC 7959 2.4).

    python -m benchmarks.fetchers PORT SECONDS PATH...

One device a path, each with one request under way. It prints one JSON object: blocks, seconds, and as `seen`
the SHA-256 of all that came whole, which is to be one.
"""

import json
import os
import select
import socket
import struct
import sys
import time
from hashlib import sha256
from typing import Final

from .wire import CON, CONTENT, URI_PATH, option, read_options

GET: Final = 0x01
BLOCK2: Final = 23
EXPONENT: Final = 6  # 1024 bytes
MORE: Final = 0x08


class Fetcher:
    """One device: the block it waits for, and the hash of those before."""

    def __init__(self, port: int, path: str) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(("127.0.0.1", port))
        first, *others = path.encode().split(b"/")
        self._path = option(URI_PATH, first) + b"".join(option(0, part) for part in others)
        self._message_id = 0
        self.begin()

    def begin(self) -> None:
        self.token = os.urandom(8)
        self.number = 0
        self.hash = sha256()

    def ask(self) -> None:
        self._message_id = self._message_id + 1 & 0xFFFF
        block = (self.number << 4 | EXPONENT).to_bytes(3, "big").lstrip(b"\0")
        head = struct.pack("!BBH", CON | len(self.token), GET, self._message_id) + self.token
        self.sock.send(head + self._path + option(BLOCK2 - URI_PATH, block))

    def hear(self) -> bytes | None:
        """Take the answer; the hash of the whole when that was the last block."""
        data = self.sock.recv(2048)
        if data[1] != CONTENT or data[4 : 4 + len(self.token)] != self.token:
            raise SystemExit(f"block {self.number} was answered {data[:16].hex()}")
        options, payload = read_options(data)
        block = int.from_bytes(options[BLOCK2][0], "big")
        if block >> 4 != self.number or block & 7 != EXPONENT:
            raise SystemExit(f"block {block >> 4} came in the place of {self.number}")
        self.hash.update(payload)
        self.number += 1
        return None if block & MORE else self.hash.digest()


def main(port: int, seconds: float, paths: list[str]) -> None:
    poll = select.epoll()
    fetchers = [Fetcher(port, path) for path in paths]
    by_fd = {fetcher.sock.fileno(): fetcher for fetcher in fetchers}
    for fd, fetcher in by_fd.items():
        poll.register(fd, select.EPOLLIN)
        fetcher.ask()
    blocks, seen = 0, set()
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        for fd, _ in poll.poll(1):
            fetcher = by_fd[fd]
            whole = fetcher.hear()
            blocks += 1
            if whole is not None:
                seen.add(whole.hex())
                fetcher.begin()
            fetcher.ask()
    print(json.dumps({"blocks": blocks, "seconds": time.monotonic() - began, "seen": sorted(seen)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
