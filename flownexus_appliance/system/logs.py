"""Logs: constant messages with fields, to the console or to the journal.

A record's extra fields in upper case (ENDPOINT, PEER, ERROR_CODE, ...) are the journal's fields; on a
console they follow the message as `key=value`. Everything is cleaned before it is written: peers and
libraries have their say in fields, messages and tracebacks.
"""

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ..errors import clean
from .config import LOG_LEVELS

MAX_LINE: Final = 2000  # of a message or a line of a traceback; a field is held shorter
THROTTLE_LINES: Final = 200
THROTTLE_S: Final = 10.0
# What the page of the log shows: enough for what happened lately, and a few hundred kB of memory.
KEPT_LINES: Final = 2000
MAX_TRACE: Final = 60
# A record with such a field is for the journal and the console alone: it lets people in.
SECRET_FIELDS: Final = frozenset({"SETUP_CODE"})
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


@dataclass(frozen=True, slots=True)
class Line:
    """A record as the page shows it: nothing in it unprintable. `number` rises from 1 with each start.

    `level` is debug, info, warning or error; `fields` are names as in the journal with their values; `trace`
    the lines of a traceback.
    """

    number: int
    time_ms: int
    level: str
    logger: str
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    trace: tuple[str, ...] = ()

    def has(self, text: str) -> bool:
        """Whether a text is in it, upper and lower case being one."""
        wanted = text.casefold()
        told = (self.message, self.logger, *(f"{key}={value}" for key, value in self.fields), *self.trace)
        return any(wanted in part.casefold() for part in told)


class Recent(logging.Handler):
    """The newest records in memory, for who has no journal at hand. Safe to ask from the event loop while
    other threads log."""

    def __init__(self, limit: int = KEPT_LINES) -> None:
        super().__init__()
        self._lines: deque[Line] = deque(maxlen=limit)
        self._number = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record; logging holds the handler's lock."""
        fields = tuple(journal_fields(record))
        if any(key in SECRET_FIELDS for key, _ in fields):
            return
        trace: list[str] = []
        if record.exc_info:
            trace = (self.formatter or logging.Formatter()).formatException(record.exc_info).splitlines()
        self._number += 1
        self._lines.append(
            Line(
                self._number,
                int(record.created * 1000),
                _level_name(record.levelno),
                record.name.removeprefix("flownexus_appliance."),
                clean(record.getMessage(), MAX_LINE),
                fields,
                # The end of a traceback is what tells most.
                tuple(clean(line, MAX_LINE) for line in trace[-MAX_TRACE:]),
            )
        )

    @property
    def last_number(self) -> int:
        """That of the newest record, 0 where there was none."""
        return self._number

    def find(
        self, level: str = "", text: str = "", *, after: int = 0, since: int = 0, limit: int = 100
    ) -> list[Line]:
        """The newest first: those at least as severe as `level`, with `text` in them, numbered above `since`
        and (where it is not 0) below `after`."""
        least = LOG_LEVELS.index(level) if level else 0
        self.acquire()
        try:
            lines = [*reversed(self._lines)]
        finally:
            self.release()
        found = (
            line
            for line in lines
            if line.number > since
            and (not after or line.number < after)
            and LOG_LEVELS.index(line.level) >= least
            and line.has(text)
        )
        return list(islice(found, limit))


# Logging is one for the whole process, and so is what it remembers.
RECENT: Final = Recent()


def _level_name(number: int) -> str:
    """The level at or below a number: a record of 35 is a warning."""
    return LOG_LEVELS[min(max(number // 10, 1), len(LOG_LEVELS)) - 1]


def journal_fields(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    """The fields that a log call gave as `extra`: those with upper-case names."""
    for key, value in record.__dict__.items():
        if key.isupper():
            yield key, clean(str(value))


def set_up(level: str) -> None:
    """Send the logs of the whole process to standard error, the journal's own when systemd listens, and
    keep the newest."""
    handler = logging.StreamHandler(sys.stderr)
    journal = "JOURNAL_STREAM" in os.environ
    handler.setFormatter(JournalConsoleFormatter() if journal else ConsoleFormatter())
    handler.addFilter(Throttle())
    root = logging.getLogger()
    RECENT.filters[:] = [Throttle()]
    root.handlers[:] = [handler, RECENT]
    root.setLevel(level.upper())
    # The libraries tell of every datagram at INFO; what matters of it the house says itself.
    for chatty in ("aiocoap", "aiosqlite", "aiohttp.access", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
