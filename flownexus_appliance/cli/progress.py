"""How far something has got: a line of the terminal that is written over; nothing where there is none."""

import sys
from typing import Final

BAR: Final = 30


class Progress:
    """A line on standard error. `quiet`: not even on a terminal."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._width = 0

    def show(self, what: str, done: int, whole: int) -> None:
        """Say how much of it is there; `done` and `whole` in bytes."""
        if not self._shown:
            return
        filled = BAR * done // max(1, whole)
        line = f"{what}  {'#' * filled:.<{BAR}}  {share(done, whole)}"
        sys.stderr.write("\r" + line.ljust(self._width))
        sys.stderr.flush()
        self._width = len(line)

    def clear(self) -> None:
        """Take the line away: something else is to be said."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0


def share(done: int, whole: int) -> str:
    """How much of a whole is done: `45 % of 1.2 MiB`."""
    return f"{100 * done // max(1, whole)} % of {size(whole)}"


def size(count: int) -> str:
    """A number of bytes for people: 812 B, 256.0 KiB, 1.5 MiB."""
    if count < 1024:
        return f"{count} B"
    if count < 1024 * 1024:
        return f"{count / 1024:.1f} KiB"
    return f"{count / (1024 * 1024):.1f} MiB"
