"""Begins things a little apart, so that many at once do not have everybody else wait."""

import asyncio


class Pace:
    """Turns `gap_s` seconds apart, in the order of their asking."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._next_at = 0.0

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = asyncio.get_running_loop().time()
        begin = max(now, self._next_at)
        self._next_at = begin + self._gap_s
        if begin > now:
            await asyncio.sleep(begin - now)
