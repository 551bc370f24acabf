"""Checks what no linter knows about this tree; part of `make check`.

Owns the rules on file contents: no path of somebody's machine, no host of a package registry, lock files
without addresses, modules of bounded size that say what they own, shell scripts that parse. Looks at what
git tracks or would track, and changes nothing.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_PYTHON_LINES: Final = 600
MAX_JAVASCRIPT_LINES: Final = 300

# Written so that this file does not match itself. `../work/` or `a/root/` is no absolute path.
MACHINE_PATH: Final = re.compile(r"(?<![\w.$}>*-])/(?:work|root|tmp/w)/|(?<![\w.$}>*-])/home/[a-z_][\w-]*")
REGISTRY_HOST: Final = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|repo1?\.maven(?:\.apache)?\.org"
    r"|crates\.io|proxy\.golang\.org|deb\.debian\.org|security\.debian\.org"
)
LOCK_ADDRESS: Final = re.compile(
    r'"resolved"\s*:\s*"http|^\s*--(?:extra-)?index-url|@\s*https?://', re.MULTILINE
)
SHEBANG: Final = re.compile(rb"#!\s*/(?:usr/)?bin/(?:env\s+)?(sh|bash|dash)\b")

# Without git, in an unpacked archive: what .gitignore names.
UNTRACKED: Final = {"var", "node_modules", "vendor", "build", "dist", "__pycache__"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule; `line` is 0 where the whole file is meant."""

    path: Path
    line: int
    rule: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.rule}"


def files(root: Path) -> list[Path]:
    """The paths, relative to `root`, of every file that is tracked or would be."""
    if (root / ".git").exists() and shutil.which("git"):
        listing = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=root,
            stdout=subprocess.PIPE,
            check=True,
        )
        names = {Path(name) for name in listing.stdout.decode().split("\0") if name}
        return sorted(name for name in names if (root / name).is_file())
    return sorted(_walk(root, root))


def _walk(root: Path, folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        hidden = entry.name.startswith(".") and entry.name not in {
            ".ci",
            ".npmrc",
            ".gitignore",
            ".editorconfig",
        }
        if hidden or entry.name in UNTRACKED or entry.name.endswith(".egg-info"):
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(root, entry)
        elif entry.is_file():
            yield entry.relative_to(root)


def check_file(root: Path, path: Path) -> Iterator[Finding]:
    """Every finding in one file; binary files have none."""
    content = (root / path).read_bytes()
    if b"\0" in content:
        return
    text = content.decode("utf-8", errors="replace")
    yield from _check_text(path, text)
    if path.suffix == ".py":
        yield from _check_python(path, text)
    if path.suffix in {".js", ".mjs"} and text.count("\n") > MAX_JAVASCRIPT_LINES:
        yield Finding(path, 0, f"more than {MAX_JAVASCRIPT_LINES} lines: split it")
    shell = SHEBANG.match(content)
    if shell is not None:
        yield from _check_shell(root, path, shell[1].decode())


def _check_text(path: Path, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        if (found := MACHINE_PATH.search(line)) is not None:
            yield Finding(path, number, f"path of one machine: {found[0]}")
        if (found := REGISTRY_HOST.search(line)) is not None:
            yield Finding(path, number, f"host of a package registry: {found[0]}")
    is_lock = path.name == "package-lock.json" or (
        path.parent.name == "requirements" and path.suffix == ".txt"
    )
    if is_lock and (found := LOCK_ADDRESS.search(text)) is not None:
        yield Finding(
            path, text.count("\n", 0, found.end()) + 1, "a lock file names an address: run make lock"
        )


def _check_python(path: Path, text: str) -> Iterator[Finding]:
    if text.count("\n") > MAX_PYTHON_LINES:
        yield Finding(path, 0, f"more than {MAX_PYTHON_LINES} lines: split it")
    try:
        module = ast.parse(text)
    except SyntaxError as error:
        yield Finding(path, error.lineno or 0, f"does not parse: {error.msg}")
        return
    if not ast.get_docstring(module):
        yield Finding(path, 0, "no module docstring: say what it owns")


def _check_shell(root: Path, path: Path, shell: str) -> Iterator[Finding]:
    parsed = subprocess.run(
        [shell, "-n", str(path)], cwd=root, stderr=subprocess.PIPE, text=True, check=False
    )
    if parsed.returncode != 0:
        yield Finding(path, 0, f"{shell} cannot parse it: {parsed.stderr.strip()}")


def check_tree(root: Path) -> list[Finding]:
    """All findings under `root`, in the order of the files."""
    return [finding for path in files(root) for finding in check_file(root, path)]


def main() -> int:
    """Check the tree this file stands in; the exit code is 1 when anything is wrong."""
    root = Path(__file__).resolve().parent.parent
    findings = check_tree(root)
    for finding in findings:
        print(finding)
    print(f"check_tree: {len(findings)} findings in {len(files(root))} files")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
