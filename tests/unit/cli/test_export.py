"""`flownexus export`: as it comes, whatever it is, and whole or told."""

import argparse
import io
import sys
import time
from datetime import UTC, datetime

import pytest

from flownexus_appliance.cli.export import point

from .scripted import KITCHEN, Problem, Raw, Terminal

EXPORT = f"/endpoints/{KITCHEN}/export"
LARGE = tuple(bytes([200 + number]) * 100_000 for number in range(20))


def test_it_comes_as_it_is(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.daemon.answers[f"GET {EXPORT}"] = Raw(LARGE)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert terminal.run("export", KITCHEN).code == 0
    assert written.getvalue() == b"".join(LARGE)


def test_what_is_exported(terminal: Terminal) -> None:
    terminal.daemon.answers[f"GET {EXPORT}"] = Raw((b"a,b\r\n", b"1,2\r\n"))
    assert terminal.run("export", KITCHEN, "--csv", "--json").out == "a,b\r\n1,2\r\n"
    times = ("--from", "2026-03-01T00:00:00+00:00", "--to", "2026-03-01T01:00+01:00")
    terminal.run("export", KITCHEN, "3303", "/3/0/9", "--ndjson", *times)
    terminal.run("export", KITCHEN, "--json")
    begin = str(int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 1000)
    assert [request.query for request in terminal.daemon.asked] == [
        {"format": ["csv"]},
        {"path": ["/3303", "/3/0/9"], "from_ms": [begin], "to_ms": [begin], "format": ["ndjson"]},
        {"format": ["ndjson"]},
    ]


def test_what_breaks_off_is_told(terminal: Terminal) -> None:
    terminal.daemon.answers[f"GET {EXPORT}"] = Raw((b"a,b\r\n",), whole=False)
    said = terminal.run("export", KITCHEN)
    assert (said.code, said.out) == (2, "a,b\r\n")
    assert "did not answer" in said.err
    terminal.daemon.answers[f"GET {EXPORT}"] = Problem(404, "series_unknown", "there are no samples of /9")
    said = terminal.run("export", KITCHEN, "/9")
    assert (said.code, said.out) == (1, "")


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.5)
    assert [point(text) for text in ("30s", "15m", "12h", "7d", "1w")] == [
        1_000_000_500 - seconds * 1000 for seconds in (30, 15 * 60, 12 * 3600, 7 * 86400, 7 * 86400)
    ]
    assert point("9999w") == 0
    assert point("2026-03-01") == round(datetime(2026, 3, 1).astimezone().timestamp() * 1000)
    for text in ("", "yesterday", "7", "h", "2026-13-01", "1y"):
        with pytest.raises(argparse.ArgumentTypeError):
            point(text)
