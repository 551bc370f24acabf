"""What waits to be written to somebody who listens to server-sent events, bounded by whoever fills it."""

import asyncio
import contextlib
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True, kw_only=True)
class Outbox:
    """Bytes for one listener; `size_bytes` of them wait. `closed`: there will be no more."""

    size_bytes: int = 0
    closed: bool = False
    _waiting: list[bytes] = field(default_factory=list)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def overflows(self, data: bytes, limit_bytes: int) -> bool:
        """Whether this is too much beside what waits; alone it never is."""
        return bool(self._waiting) and self.size_bytes + len(data) > limit_bytes

    def put(self, data: bytes) -> None:
        """Leave data to be written."""
        self._waiting.append(data)
        self.size_bytes += len(data)
        self._ready.set()

    def drop(self) -> None:
        """What waits is not to be written."""
        self._waiting, self.size_bytes = [], 0

    def close(self) -> None:
        """Let the listener's request end."""
        self.closed = True
        self._ready.set()

    async def take(self, timeout_s: float) -> bytes:
        """All that waits; b"" after `timeout_s` without anything."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        self._ready.clear()
        data = b"".join(self._waiting)
        self.drop()
        return data
