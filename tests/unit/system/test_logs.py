"""Log lines: one a record, fields after the message, and no peer writes a line of its own."""

import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.system import logs
from flownexus_appliance.system.logs import ConsoleFormatter, JournalConsoleFormatter, journal_fields

EVIL = "sim\n12:00:00 error intruder\r\x1b[2J\u2028<0>panic\0"


def record(message: str = "registered", level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("test").makeRecord("test", level, "f.py", 1, message, (), None)
    made.__dict__.update(extra)
    return made


def raised() -> logging.LogRecord:
    made = record("failed", logging.ERROR)
    try:
        raise PeerError("payload_invalid", EVIL)
    except PeerError:
        made.exc_info = sys.exc_info()
    return made


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, given back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    chatty = {
        name: logging.getLogger(name).level for name in ("aiocoap", "aiosqlite", "aiohttp.access", "asyncio")
    }
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in chatty.items():
        logging.getLogger(name).setLevel(before)


def test_a_console_line() -> None:
    line = ConsoleFormatter().format(record(ENDPOINT="sim-0001", PEER="127.0.0.1:40000", other="unseen"))
    assert re.fullmatch(r"\d\d:\d\d:\d\d info registered endpoint=sim-0001 peer=127\.0\.0\.1:40000", line)


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
        (35, 6),
    ],
)
def test_a_line_for_the_journal_has_its_priority(level: int, priority: int) -> None:
    line = JournalConsoleFormatter().format(record(level=level, DURATION_MS=5))
    assert line == f"<{priority}>registered duration_ms=5"


def test_fields_are_the_extras_in_capitals() -> None:
    made = record(ENDPOINT="a", COAP_CODE="2.05", ROWS=3, lower="x", Mixed="x")
    assert list(journal_fields(made)) == [("ENDPOINT", "a"), ("COAP_CODE", "2.05"), ("ROWS", "3")]


def test_what_a_peer_says_stays_in_its_field() -> None:
    for made in (
        record(ENDPOINT=EVIL),
        record(f"library says {EVIL}"),
        record(ENDPOINT=PeerError("x", EVIL)),
    ):
        for formatter in (ConsoleFormatter(), JournalConsoleFormatter()):
            line = formatter.format(made)
            assert line.isprintable()
            assert "intruder" in line


def test_what_a_peer_says_is_cut_short() -> None:
    ((_, value),) = journal_fields(record(ENDPOINT="x" * 100_000))
    assert len(value) <= 120
    assert len(ConsoleFormatter().format(record("y" * 100_000))) < 3000


def test_a_traceback_is_told_apart_from_records() -> None:
    first, *others = ConsoleFormatter().format(raised()).split("\n")
    assert first.endswith("error failed")
    assert others[0] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert any("intruder" in line for line in others)


def test_in_the_journal_every_line_has_the_priority() -> None:
    lines = JournalConsoleFormatter().format(raised()).split("\n")
    assert len(lines) > 3
    assert all(line.startswith("<3>") and line.isprintable() for line in lines)


def test_an_exception_of_many_pages_is_cut_by_line() -> None:
    made = record()
    try:
        raise ValueError("z" * 100_000)
    except ValueError:
        made.exc_info = sys.exc_info()
    assert len(ConsoleFormatter().format(made)) < 5000


@pytest.mark.parametrize("journal", [False, True])
def test_everything_goes_to_standard_error(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    if journal:
        monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    else:
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    logs.set_up("info")
    logging.getLogger("flownexus_appliance.fleet").info("registered", extra={"ENDPOINT": "a"})
    logging.getLogger("flownexus_appliance.fleet").debug("not this")
    logging.getLogger("aiocoap.something").info("nor this")
    logging.getLogger("asyncio").warning("but this")
    lines = written.getvalue().splitlines()
    assert [line.partition("registered")[1:] for line in lines[:1]] == [("registered", " endpoint=a")]
    assert lines[0].startswith("<6>") == journal
    assert len(lines) == 2
    assert lines[1].endswith("but this")


def test_setting_up_twice_writes_once(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    logs.set_up("debug")
    logs.set_up("warning")
    assert len(root.handlers) == 2  # what writes, and what keeps
    logging.getLogger("test").info("unheard")
    logging.getLogger("test").warning("heard")
    assert written.getvalue().count("\n") == 1


def test_a_flood_of_one_message_is_held_back_and_counted() -> None:
    throttle = logs.Throttle(limit=3, period_s=10.0)

    def line(message: str, seconds: float, level: int = logging.INFO) -> logging.LogRecord | None:
        record = logging.LogRecord("box", level, __file__, 1, message, None, None)
        record.created = 1000.0 + seconds
        return record if throttle.filter(record) else None

    assert [line("refused", second / 10) is not None for second in range(5)] == [True] * 3 + [False] * 2
    assert line("another", 0.5) is not None
    assert line("refused", 0.6, logging.ERROR) is not None
    later = line("refused", 10.0)
    assert later is not None
    assert dict(logs.journal_fields(later)) == {"HELD_BACK": "2"}
    assert dict(logs.journal_fields(line("refused", 10.1) or later)) == {}


def test_a_clock_that_is_put_back_does_not_hold_lines_back_for_long() -> None:
    throttle = logs.Throttle(limit=1, period_s=10.0)
    record = logging.LogRecord("box", logging.INFO, __file__, 1, "refused", None, None)
    record.created = 5000.0
    assert throttle.filter(record)
    record.created = 100.0
    assert throttle.filter(record)


def kept(*records: logging.LogRecord) -> logs.Recent:
    recent = logs.Recent(5)
    for one in records:
        recent.handle(one)
    return recent


def test_the_newest_lines_are_kept_clean() -> None:
    recent = kept(
        *(record(f"line {number}") for number in range(7)), record("met", ENDPOINT=EVIL, PEER="::1")
    )
    found = recent.find()
    assert [line.number for line in found] == [8, 7, 6, 5, 4]
    assert recent.last_number == 8
    (name, value), peer = found[0].fields
    assert (name, peer) == ("ENDPOINT", ("PEER", "::1"))
    assert value.isprintable()
    assert found[0].message == "met"


def test_a_traceback_is_kept_with_its_line() -> None:
    (line,) = kept(raised()).find()
    assert line.level == "error"
    assert line.trace[0].startswith("Traceback")
    assert all(part.isprintable() for part in line.trace)
    assert len(line.trace) <= logs.MAX_TRACE


@pytest.mark.parametrize(
    ("question", "numbers"),
    [
        ({"level": "warning"}, [3, 2]),
        ({"level": "error"}, [3]),
        ({"text": "KITCHEN"}, [2]),
        ({"text": "endpoint=kit"}, [2]),
        ({"text": "payload_invalid"}, [3]),
        ({"after": 3}, [2, 1]),
        ({"since": 2}, [3]),
        ({"limit": 1}, [3]),
        ({"level": "error", "text": "kitchen"}, []),
    ],
)
def test_lines_are_found(question: dict[str, Any], numbers: list[int]) -> None:
    recent = kept(record("registered"), record("late", logging.WARNING, ENDPOINT="kitchen"), raised())
    assert [line.number for line in recent.find(**question)] == numbers


def test_what_lets_people_in_is_not_kept() -> None:
    recent = kept(record("setup code waits", SETUP_CODE="7K3M-Q0ZD-1XWB"))
    assert recent.find() == []
    assert recent.last_number == 0


def test_the_log_of_the_process_is_kept_and_held_back_like_the_rest(root: logging.Logger) -> None:
    logs.set_up("warning")
    before = logs.RECENT.last_number
    logging.getLogger("test").info("not written")
    for _ in range(logs.THROTTLE_LINES + 50):
        logging.getLogger("test").warning("a stranger again")
    found = logs.RECENT.find(text="a stranger again", since=before, limit=1000)
    assert len(found) == logs.THROTTLE_LINES
    assert logs.RECENT.find(text="not written") == []
