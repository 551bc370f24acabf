"""Puts the bodies of requests together that come in blocks (RFC 7959 2.3 and 2.5).

Pure: time is an argument. aiocoap has a spool for this, which keeps every body for minutes without a
bound, raises ValueError where blocks do not fit, and cannot take the last block twice; but a
device whose answer was lost or held back sends just that one again.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from ..errors import PeerError

MAX_BODY: Final = 65_536
# All unfinished bodies, and the finished ones whose last block may come again.
MAX_BYTES: Final = 16 * 2**20
MAX_BODIES: Final = 4096
# RFC 7252 4.8.2, EXCHANGE_LIFETIME: nothing of an exchange can come later.
KEPT_S: Final = 247.0
_RESERVED_EXPONENT: Final = 7


@dataclass(slots=True)
class _Body:
    data: bytes
    touched: float


class Bodies:
    """Bodies by what tells them apart (peer, code, path, ...); when full the longest idle one goes."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[Hashable, _Body] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._bodies)

    def take(
        self, key: Hashable, number: int, more: bool, exponent: int, payload: bytes, now: float
    ) -> bytes | None:
        """Add a block, `exponent` and all as Block1 has them: the whole body, None while more is to come.

        Raises PeerError: `block_invalid`, `block_missing` or `body_too_large`. A block that is there
        already is taken again; one that differs takes the place of what was there from it on.
        """
        size = 16 << exponent
        if exponent == _RESERVED_EXPONENT or len(payload) > size or (more and len(payload) != size):
            raise PeerError("block_invalid", "the payload does not fill its block", "see RFC 7959 2.2")
        start, end = number * size, number * size + len(payload)
        if end > MAX_BODY:
            self._remove(key)
            raise PeerError(
                "body_too_large", f"body over {MAX_BODY} bytes", "send fewer objects or values at once"
            )
        body = self._bodies.get(key)
        data = b"" if number == 0 or body is None else body.data
        if start > len(data):
            raise PeerError("block_missing", f"block {number} without those before it", "begin at block 0")
        if not more or data[start:end] != payload:
            data = data[:start] + payload
        self._remove(key)
        self._keep(key, _Body(data, now))
        return None if more else data

    def _keep(self, key: Hashable, body: _Body) -> None:
        self._bodies[key] = body
        self._bytes += len(body.data)
        while self._bytes > MAX_BYTES or len(self._bodies) > MAX_BODIES or self._oldest_is_over(body.touched):
            self._remove(next(iter(self._bodies)))

    def _oldest_is_over(self, now: float) -> bool:
        return next(iter(self._bodies.values())).touched + KEPT_S < now

    def _remove(self, key: Hashable) -> None:
        body = self._bodies.pop(key, None)
        if body is not None:
            self._bytes -= len(body.data)
