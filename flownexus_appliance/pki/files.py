"""Files that a power cut leaves whole or absent, never half: written aside, synced, renamed, synced again.

Owns no names and no content: `keystore` and `selfsigned` say what goes where.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
FOLDER: Final = 0o700


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place whole or not at all, with its mode from the first byte on; raises OSError.

    When it returns, the file is on the disk under its name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder that only its owner enters, and the folders above it; raises OSError."""
    if path.is_dir():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=FOLDER, exist_ok=True)
    sync_folder(path.parent)


def remove(paths: Iterable[Path]) -> None:
    """Remove files as far as that is possible; the caller tries again at the next time."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def is_private(path: Path) -> bool:
    """Whether only the owner may read or write a file; raises OSError."""
    return path.stat().st_mode & 0o077 == 0


def make_private(path: Path) -> None:
    """Take a file's reading and writing away from all but its owner; raises OSError."""
    path.chmod(PRIVATE)


def sync_folder(path: Path) -> None:
    """Bring a folder's names to the disk; raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
