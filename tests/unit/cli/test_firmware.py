"""`flownexus firmware add`, `list`, `show`, `set`, `remove`: packages."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.cli import packages
from flownexus_appliance.cli.output import moment
from flownexus_appliance.cli.progress import Progress, share, size
from flownexus_appliance.errors import UsageError

from .scripted import NOW_MS, Problem, Terminal


def package(number: int = 3, **changes: Any) -> dict[str, Any]:
    """A package as the API tells it."""
    told = {
        "id": number,
        "version": "1.2.3",
        "file_name": "app.bin",
        "size": 2048,
        "sha256": "ab" * 32,
        "image": {"version": "1.2.3", "size": 2000, "signed": True},
        "note": "",
        "model": "",
        "tag": "",
        "from_version": "",
        "added_by": "console",
        "added_ms": NOW_MS,
        "doubts": [],
        "updates": {},
    }
    return told | changes


def listed(terminal: Terminal, *items: dict[str, Any]) -> None:
    """Have the daemon know these packages."""
    terminal.daemon.answers["GET /firmware"] = {"items": list(items), "next": None}


def test_a_package_is_sent_as_it_is(terminal: Terminal, tmp_path: Path) -> None:
    content = os.urandom(200_000)
    file = tmp_path / "app.bin"
    file.write_bytes(content)
    doubts = ["version_mismatch", "made_up"]
    terminal.daemon.answers["POST /firmware"] = package(doubts=doubts, size=200_000)
    words = ("--version", "v1.2", "--note", "a & b", "--model", "M", "--tag", "t", "--from-version", "1.1")
    said = terminal.run("firmware", "add", str(file), *words)
    assert said.code == 0
    assert said.rows[0] == ["Package 3 is version 1.2.3."]
    assert ["MCUboot", "version 1.2.3, 2000 bytes, signed"] in said.rows
    assert "note: its MCUboot header has another version" in said.out
    assert "note: made_up" in said.out
    (request,) = terminal.daemon.of("POST", "/firmware")
    assert request.content == content
    assert request.media_type == "application/octet-stream"
    assert request.query == {
        "file_name": ["app.bin"],
        "version": ["v1.2"],
        "note": ["a & b"],
        "model": ["M"],
        "tag": ["t"],
        "from_version": ["1.1"],
    }
    assert terminal.run("firmware", "add", str(file), "--json").data == package(doubts=doubts, size=200_000)
    assert terminal.daemon.asked[-1].query == {"file_name": ["app.bin"]}


def test_what_is_no_package_is_not_sent(terminal: Terminal, tmp_path: Path) -> None:
    empty, large = tmp_path / "empty.bin", tmp_path / "large.bin"
    empty.touch()
    with large.open("wb") as file:
        file.truncate(packages.MAX_PACKAGE + 1)
    for path, why in (
        (tmp_path / "none.bin", "No such file"),
        (tmp_path, "Is a directory"),
        (empty, "is empty"),
        (large, "is too large: 67108865 bytes"),
        (Path(os.devnull), "is no file"),
    ):
        said = terminal.run("firmware", "add", str(path))
        assert (said.code, said.out) == (2, "")
        assert why in said.err, path
        assert "hint: " in said.err
    assert terminal.daemon.asked == []


def test_the_largest_package_is_sent(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    with file.open("wb") as opened:
        opened.truncate(packages.MAX_PACKAGE)
    terminal.daemon.answers["POST /firmware"] = lambda request: package(size=len(request.content))
    assert terminal.run("firmware", "add", str(file), "--json").data["size"] == packages.MAX_PACKAGE


def test_a_file_that_is_not_ours_to_read(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "open", refuse)
    said = terminal.run("firmware", "add", str(tmp_path / "app.bin"))
    assert said.code == 2
    assert "Permission denied" in said.err


def test_a_file_that_changes_while_it_is_read() -> None:
    content = packages._content(Path("app.bin"), io.BytesIO(b"abc"), 4, Progress())
    assert next(content) == b"abc"
    with pytest.raises(UsageError) as caught:
        next(content)
    assert caught.value.code == "file_unusable"
    longer = packages._content(Path("app.bin"), io.BytesIO(b"abcdef"), 4, Progress())
    assert b"".join(longer) == b"abcd"


def test_a_disk_that_fails_in_the_middle(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, _: int | None = -1, /) -> bytes:
            raise OSError(5, os.strerror(5))

    with pytest.raises(UsageError) as caught:
        next(packages._content(Path("app.bin"), Failing(b"abc"), 3, Progress()))
    assert "Input/output error" in caught.value.message


def test_what_the_daemon_refuses_is_told(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "app.bin"
    file.write_bytes(b"x")
    terminal.daemon.answers["POST /firmware"] = Problem(409, "firmware_known", "it is there already")
    said = terminal.run("firmware", "add", str(file), "--json")
    assert said.code == 1
    assert '"firmware_known"' in said.err


def test_packages_are_listed(terminal: Terminal) -> None:
    second = package(4, version="2.0", model="M", tag="t", from_version="1.2.3", note="n", size=1_500_000)
    listed(terminal, second, package(3))
    added = moment(NOW_MS)
    assert terminal.run("firmware", "list").rows == [
        ["ID", "VERSION", "FILE", "SIZE", "FOR", "ADDED", "NOTE"],
        ["4", "2.0", "app.bin", "1.4 MiB", "M, tag t, from 1.2.3", added, "n"],
        ["3", "1.2.3", "app.bin", "2.0 KiB", "any", added],
    ]
    assert terminal.run("firmware", "list", "--json").data == [second, package(3)]


def test_a_package_is_named_by_number_or_version(terminal: Terminal) -> None:
    counts = {"DOWNLOADING": 1, "FAILED": 2}
    listed(terminal, package(4, version="3", updates=counts), package(3, image=None), package(2))
    assert terminal.run("firmware", "show", "3", "--json").data["id"] == 3, "a number goes before a version"
    assert ["Updates", "1 DOWNLOADING, 2 FAILED"] in terminal.run("firmware", "show", "4").rows
    assert ["Package", "4"] in terminal.run("firmware", "show", "4").rows
    assert "MCUboot" not in terminal.run("firmware", "show", "3").out
    listed(terminal, package(3), package(2, version="v2.0.0"))
    assert terminal.run("firmware", "show", "2.0.0+0", "--json").data["id"] == 2
    for words, why in (("9", "no package 9"), ("1.2", "no package 1.2")):
        said = terminal.run("firmware", "show", words)
        assert said.code == 1
        assert why in said.err
    listed(terminal, package(3), package(2))
    said = terminal.run("firmware", "show", "1.2.3")
    assert said.code == 1
    assert "2 packages have version 1.2.3" in said.err
    assert "3, 2" in said.err


def test_things_are_said_of_a_package(terminal: Terminal) -> None:
    listed(terminal, package(3))
    terminal.daemon.answers["PATCH /firmware/3"] = package(3, note="n", model="")
    said = terminal.run("firmware", "set", "1.2.3", "--note", "n", "--model", "")
    assert said.code == 0
    assert ["Note", "n"] in said.rows
    (request,) = terminal.daemon.of("PATCH", "/firmware/3")
    assert request.body == {"note": "n", "model": ""}
    assert terminal.run("firmware", "set", "3", "--tag", "t", "--json").data["note"] == "n"
    said = terminal.run("firmware", "set", "3")
    assert said.code == 2
    assert "--from-version" in said.err


def test_a_package_is_taken_away(terminal: Terminal) -> None:
    listed(terminal, package(3))
    terminal.daemon.answers["DELETE /firmware/3"] = {"removed": 1}
    assert terminal.run("firmware", "remove", "3").out == "Package 3, version 1.2.3, is gone.\n"
    assert terminal.run("firmware", "remove", "3", "--json").data == {"removed": 1}
    terminal.daemon.answers["DELETE /firmware/3"] = Problem(409, "firmware_in_use")
    assert terminal.run("firmware", "remove", "3").code == 1


class Screen(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self) -> bool:
        return True

    def look(self) -> list[str]:
        """What was written over what, since the last look."""
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text.split("\r")


def test_progress_is_one_line_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress()
    progress.show("app.bin", 0, 2048)
    progress.show("app.bin", 1024, 2048)
    progress.clear()
    progress.clear()
    assert screen.look() == [
        "",
        f"app.bin  {'.' * 30}  0 % of 2.0 KiB",
        f"app.bin  {'#' * 15}{'.' * 15}  50 % of 2.0 KiB",
        " " * 56,
        "",
    ]
    quiet = Progress(quiet=True)
    quiet.show("app.bin", 1, 1)
    quiet.clear()
    assert screen.look() == [""]


def test_no_progress_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Progress().show("app.bin", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_how_much_of_it_there_is() -> None:
    assert [size(count) for count in (0, 1023, 1024, 64 << 20)] == ["0 B", "1023 B", "1.0 KiB", "64.0 MiB"]
    assert [share(0, 0), share(1, 3), share(999, 1000)] == ["0 % of 0 B", "33 % of 3 B", "99 % of 1000 B"]
