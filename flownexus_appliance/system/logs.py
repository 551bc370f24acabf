"""Logs: constant messages with fields, to the console or to the journal.

A record's extra fields in upper case (ENDPOINT, PEER, ERROR_CODE, ...) are the journal's fields; on a
console they follow the message as `key=value`. Everything is cleaned before it is written: peers and
libraries have their say in fields, messages and tracebacks.
"""

import logging
import os
import sys
from collections.abc import Iterator
from typing import Final

from ..errors import clean

MAX_LINE: Final = 2000  # of a message or a line of a traceback; a field is held shorter
THROTTLE_LINES: Final = 200
THROTTLE_S: Final = 10.0
_PRIORITIES: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class Throttle(logging.Filter):
    """Lets at most `limit` lines of one message through in `period_s`, then says how many it held back.

    What a stranger sends must not fill the disk with lines about it. Errors always pass.
    """

    def __init__(self, limit: int = THROTTLE_LINES, period_s: float = THROTTLE_S) -> None:
        super().__init__()
        self._limit = limit
        self._period_s = period_s
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            return True
        # Messages are constants of the code, so there are few.
        key = (record.name, str(record.msg))
        began, count = self._seen.get(key, (record.created, 0))
        if not 0 <= record.created - began < self._period_s:
            if count > self._limit:
                record.HELD_BACK = count - self._limit
            began, count = record.created, 0
        self._seen[key] = (began, count + 1)
        return count < self._limit


class ConsoleFormatter(logging.Formatter):
    """`12:00:03 info registered endpoint=sim-0001 peer=127.0.0.1:40000`."""

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        when = f"{self.formatTime(record, self.datefmt)} {record.levelname.lower()} "
        return when + "\n  ".join(self.lines(record))

    def lines(self, record: logging.LogRecord) -> list[str]:
        """Message and fields in one line, a traceback in those after it; nothing in them unprintable."""
        fields = [f"{key.lower()}={value}" for key, value in journal_fields(record)]
        lines = [" ".join([clean(record.getMessage(), MAX_LINE), *fields])]
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            lines += [clean(line, MAX_LINE) for line in trace.splitlines()]
        return lines


class JournalConsoleFormatter(ConsoleFormatter):
    """For standard error that leads into the journal: severity as sd-daemon(3) prefixes."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelname, 6)}>"
        return "\n".join(prefix + line for line in self.lines(record))


def journal_fields(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    """The fields that a log call gave as `extra`: those with upper-case names."""
    for key, value in record.__dict__.items():
        if key.isupper():
            yield key, clean(str(value))


def set_up(level: str) -> None:
    """Send the logs of the whole process to standard error; the journal's own when systemd listens."""
    handler = logging.StreamHandler(sys.stderr)
    journal = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(JournalConsoleFormatter() if journal else ConsoleFormatter())
    handler.addFilter(Throttle())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The libraries tell of every datagram at INFO; what matters of it the house says itself.
    for chatty in ("aiocoap", "aiosqlite", "aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
