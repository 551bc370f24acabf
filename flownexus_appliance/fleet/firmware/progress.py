"""Since when an update stands still.

A device that goes round in circles, fetching the beginning again and again or telling now this state and now
that, does not stand still and does not get anywhere either. So bytes that it did not have yet always count;
what it tells, and that it begins anew, counts a number of times.
"""

from typing import Final

# In one state of an update: a device has a few states and results to tell of, and a bad connection has it
# begin its download anew now and then.
MAX_SIGNS: Final = 100


class Progress:
    """Of one update; times are seconds of the monotonic clock. `at` is when something last went on."""

    def __init__(self, reached: int, now: float) -> None:
        self.at = now
        self._most = self._until = reached
        self._signs = 0

    def begin(self, reached: int, now: float) -> None:
        """The update has come to another state, with so many bytes at the device, or offers the package."""
        self.at = now
        self._most = self._until = reached
        self._signs = 0

    def sign(self, now: float) -> bool:
        """The device has told something else than before; whether that is progress."""
        self._signs += 1
        if self._signs > MAX_SIGNS:
            return False
        self.at = now
        return True

    def fetched(self, until: int, now: float) -> None:
        """Bytes have got to the device; fewer than before: it begins anew."""
        if until > self._most:
            self._most, self.at = until, now
        elif until < self._until and self.sign(now):
            self._most = until
        self._until = until
