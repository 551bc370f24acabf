"""tools/check_tree.py finds each thing it is there for, and nothing in text that only looks like it."""

import os
from pathlib import Path

import pytest

from tools.check_tree import check_tree

# Put together here, so that the check of the real tree does not find them in this file.
SLASH = "/"
DOT = "."


def findings(root: Path, name: str, text: str) -> list[str]:
    """What check_tree says of a tree that holds this one file."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [str(finding) for finding in check_tree(root)]


@pytest.mark.parametrize("folder", ["work/main", "root/notes", "tmp/w/dev", "home/somebody"])
def test_path_of_one_machine(tmp_path: Path, folder: str) -> None:
    text = f"first\nread {SLASH}{folder}/file\n"
    assert [line.split(": ")[:2] for line in findings(tmp_path, "notes.md", text)] == [
        ["notes.md:2", "path of one machine"]
    ]


@pytest.mark.parametrize(
    "text", ["../work/main", "./root/x", "a/home/pi", "$DIR/root/x", "framework/", "/worker/"]
)
def test_other_paths_pass(tmp_path: Path, text: str) -> None:
    assert findings(tmp_path, "notes.md", text + "\n") == []


@pytest.mark.parametrize(
    "host", ["pypi*org", "files*pythonhosted*org", "registry*npmjs*org", "static*crates*io"]
)
def test_registry_host(tmp_path: Path, host: str) -> None:
    (finding,) = findings(tmp_path, "setup.cfg", f"url = https://{host.replace('*', DOT)}/simple\n")
    assert finding.startswith("setup.cfg:1: host of a package registry")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("package-lock.json", '{\n  "resolved": "https://mirror.example/uplot.tgz"\n}\n'),
        ("requirements/dev.txt", "# made\n--index-url https://mirror.example/simple\n"),
        ("requirements/dev.txt", "# made\nruff @ https://mirror.example/ruff.whl\n"),
    ],
)
def test_address_in_a_lock_file(tmp_path: Path, name: str, text: str) -> None:
    assert findings(tmp_path, name, text) == [f"{name}:2: a lock file names an address: run make lock"]


def test_address_outside_a_lock_file_passes(tmp_path: Path) -> None:
    assert findings(tmp_path, "notes.json", '{"resolved": "https://mirror.example/"}\n') == []


def test_module_size(tmp_path: Path) -> None:
    assert findings(tmp_path, "exact.py", '"""Docs."""\n' + "x = 1\n" * 599) == []
    (finding,) = findings(tmp_path, "long.py", '"""Docs."""\n' + "x = 1\n" * 600)
    assert finding == "long.py: more than 600 lines: split it"


def test_script_size(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, "static/live.js", "let x;\n" * 301)
    assert finding == "static/live.js: more than 300 lines: split it"


@pytest.mark.parametrize("text", ["", "x = 1\n", '""""""\n', 'x = 1\n"""Late."""\n'])
def test_module_without_docstring(tmp_path: Path, text: str) -> None:
    assert findings(tmp_path, "mute.py", text) == ["mute.py: no module docstring: say what it owns"]


def test_python_that_does_not_parse(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, "broken.py", '"""Docs."""\ndef\n')
    assert finding.startswith("broken.py:2: does not parse")


@pytest.mark.parametrize("first_line", ["#!/bin/sh", "#!/usr/bin/env bash"])
def test_shell_script_that_does_not_parse(tmp_path: Path, first_line: str) -> None:
    assert findings(tmp_path, "good", f"{first_line}\nif true; then :; fi\n") == []
    (finding,) = findings(tmp_path, "bad", f"{first_line}\nif true; then\n")
    assert finding.startswith("bad: ")
    assert "cannot parse it" in finding


def test_binary_file_passes(tmp_path: Path) -> None:
    (tmp_path / "icon.py").write_bytes(b"\0\xff" + f"{SLASH}root/x".encode())
    assert check_tree(tmp_path) == []


def test_with_git_only_the_files_it_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    git = programs / "git"
    git.write_text("#!/bin/sh\nprintf 'kept/mute.py\\0deleted.py\\0'\n", encoding="utf-8")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    root = tmp_path / "tree"
    (root / ".git").mkdir(parents=True)
    assert findings(root, "ignored/mute.py", "x = 1\n") == []
    assert findings(root, "kept/mute.py", "x = 1\n") == [
        "kept/mute.py: no module docstring: say what it owns"
    ]


def test_without_git_all_but_what_is_made(tmp_path: Path) -> None:
    for folder in [".venv", "var", "node_modules", "static/vendor", "pkg/__pycache__", "it.egg-info"]:
        assert findings(tmp_path, f"{folder}/mute.py", "x = 1\n") == []
    assert len(findings(tmp_path, ".ci/mute.py", "x = 1\n")) == 1
