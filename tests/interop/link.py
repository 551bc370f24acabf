"""The way to a device, which can be cut: nothing reaches the device then, and what it says still comes.

For devices without DTLS it also tells what went over it, message by message (RFC 7252 3).
"""

from collections.abc import Sequence

from .daemon import LOOPBACK
from .nat import Nat

RESET = 3
CONTENT = 0x45


class Link(Nat):
    """Devices speak to `port`; used as a context.

    `said` and `heard` are the datagrams of devices and of the daemon that arrived, `lost` counts those that
    a cut kept away.
    """

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self.said: list[bytes] = []
        self.heard: list[bytes] = []
        self._passes: int | None = None

    def __enter__(self) -> "Link":
        super().__enter__()
        return self

    @property
    def plain_uri(self) -> str:
        return f"coap://{LOOPBACK}:{self.port}"

    def cut(self, after: int = 0) -> None:
        """Let so many datagrams more through to the devices, and none then."""
        with self._lock:
            self._passes = after

    def mend(self) -> None:
        with self._lock:
            self._passes = None

    def _outwards(self, data: bytes, device: tuple[str, int]) -> None:
        self.said.append(data)
        super()._outwards(data, device)

    def _inwards(self, data: bytes, sock: object, device: tuple[str, int]) -> None:
        if self._passes == 0:
            self.lost += 1
            return
        if self._passes is not None:
            self._passes -= 1
        self.heard.append(data)
        self._inside.sendto(data, device)


def tokens(messages: Sequence[bytes], code: int = CONTENT) -> list[bytes]:
    """The tokens of those messages that have a code, in their order."""
    return [message[4 : 4 + (message[0] & 15)] for message in messages if message[1] == code]


def resets(messages: Sequence[bytes]) -> int:
    """How many of the messages are Resets."""
    return sum(message[0] >> 4 & 3 == RESET for message in messages)
