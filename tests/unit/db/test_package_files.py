"""Packages as files: there whole or not at all, never too large, and nothing left of what was given up."""

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.db import package_files
from flownexus_appliance.db.package_files import MAX_PACKAGE, MIB, RESERVE_BYTES, Incoming, PackageFiles
from flownexus_appliance.errors import ApplianceError, UsageError

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).digest()


@pytest.fixture
def files(tmp_path: Path) -> PackageFiles:
    files = PackageFiles(tmp_path / "state" / "firmware")
    files.start(())
    return files


def names(files: PackageFiles) -> set[str]:
    return {entry.name for entry in files.path(SHA256).parent.iterdir()}


def take(files: PackageFiles, content: bytes, piece: int = 1000) -> Incoming:
    incoming = files.incoming()
    for at in range(0, len(content), piece):
        incoming.write(content[at : at + piece])
    return incoming


def code_of(call: Callable[[], object], kind: type[ApplianceError] = ApplianceError) -> str:
    with pytest.raises(kind) as raised:
        call()
    assert type(raised.value) is kind
    assert raised.value.message
    assert raised.value.hint
    return raised.value.code


def refuse(number: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


# In and out


@pytest.mark.parametrize("piece", [1, 1000, len(CONTENT)])
def test_what_comes_in_is_there_by_its_hash(files: PackageFiles, piece: int) -> None:
    content = CONTENT[:5000] if piece == 1 else CONTENT
    incoming = take(files, content, piece)
    assert (incoming.received, incoming.sha256) == (len(content), hashlib.sha256(content).digest())
    assert incoming.path.read_bytes() == content
    sha256, size = incoming.keep()
    assert (sha256, size) == (hashlib.sha256(content).digest(), len(content))
    assert files.path(sha256).read_bytes() == content
    assert names(files) == {sha256.hex()}


def test_the_folder_and_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    folder.mkdir(mode=0o755)
    files = PackageFiles(folder)
    before = os.umask(0)
    try:
        files.start(())
        incoming = take(files, CONTENT)
        assert incoming.path.stat().st_mode & 0o777 == 0o600
        incoming.keep()
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert files.path(SHA256).stat().st_mode & 0o777 == 0o600


def test_the_same_package_twice_is_one_file(files: PackageFiles) -> None:
    first, second = take(files, CONTENT), take(files, CONTENT)
    assert first.keep() == second.keep() == (SHA256, len(CONTENT))
    assert names(files) == {SHA256.hex()}
    assert files.path(SHA256).read_bytes() == CONTENT


def test_a_package_that_is_given_up_leaves_nothing(files: PackageFiles) -> None:
    incoming = take(files, CONTENT)
    incoming.discard()
    incoming.discard()
    assert names(files) == set()
    assert code_of(lambda: incoming.write(b"more")) == "package_unwritable"
    assert code_of(incoming.keep) == "package_unwritable"
    assert names(files) == set()


def test_what_was_kept_cannot_be_given_up(files: PackageFiles) -> None:
    incoming = take(files, CONTENT)
    incoming.keep()
    incoming.discard()
    assert names(files) == {SHA256.hex()}


def test_what_is_kept_is_synced_before_it_has_its_name_and_the_name_after(
    files: PackageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        folder = os.path.isdir(f"/proc/self/fd/{descriptor}")
        done.append("folder" if folder else "file")
        sync(descriptor)

    def note_replace(old: Path, new: Path) -> None:
        done.append("name")
        replace(old, new)

    incoming = take(files, CONTENT)
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    incoming.keep()
    assert done == ["file", "name", "folder"]


def test_little_waits_to_be_written(files: PackageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of the database would wait for it."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    take(files, b"x" * (10 * MIB), 64 * 1024).discard()
    assert synced == [4 * MIB, 8 * MIB]


# Reading


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 10), (0, len(CONTENT)), (100, 1024), (len(CONTENT) - 5, 100), (len(CONTENT), 1), (9, 0)],
)
def test_reading_gives_the_bytes_that_are_there(files: PackageFiles, offset: int, size: int) -> None:
    take(files, CONTENT).keep()
    file = files.open(SHA256)
    assert file.size == len(CONTENT)
    assert file.pread(offset, size) == CONTENT[offset : offset + size]
    file.close()


def test_a_short_read_is_gone_on_with(files: PackageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    take(files, CONTENT).keep()
    file = files.open(SHA256)
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, at: pread(descriptor, min(size, 7), at))
    assert file.pread(3, 100) == CONTENT[3:103]
    file.close()


def test_who_reads_reads_on_when_the_package_goes(files: PackageFiles) -> None:
    take(files, CONTENT).keep()
    file = files.open(SHA256)
    files.remove(SHA256)
    assert file.pread(0, len(CONTENT)) == CONTENT
    file.close()
    assert code_of(lambda: files.open(SHA256)) == "package_missing"


def test_what_is_closed_reads_no_other_file(files: PackageFiles, tmp_path: Path) -> None:
    take(files, CONTENT).keep()
    file = files.open(SHA256)
    file.close()
    file.close()
    with (tmp_path / "secret").open("w+b") as other:  # gets the number that was free
        other.write(b"secret")
        other.flush()
        assert code_of(lambda: file.pread(0, 6)) == "package_missing"


def test_a_disk_that_cannot_be_read_is_told(files: PackageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    take(files, CONTENT).keep()
    file = files.open(SHA256)
    monkeypatch.setattr(os, "pread", refuse(errno.EIO))
    assert code_of(lambda: file.pread(0, 1)) == "package_missing"
    file.close()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_is_no_package(files: PackageFiles, make: Callable[[Path], None]) -> None:
    make(files.path(SHA256))
    assert code_of(lambda: files.open(SHA256)) == "package_missing"


def test_removing_what_is_gone_is_no_fault(files: PackageFiles) -> None:
    files.remove(SHA256)
    take(files, CONTENT).keep()
    files.remove(SHA256)
    assert names(files) == set()


# Bounds


def test_a_package_of_the_largest_size_and_no_more(
    files: PackageFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_PACKAGE == 64 * MIB
    monkeypatch.setattr(package_files, "MAX_PACKAGE", 5000)
    incoming = take(files, CONTENT[:5000])
    assert code_of(lambda: incoming.write(b"x"), UsageError) == "package_too_large"
    assert incoming.path.stat().st_size == incoming.received == 5000
    incoming.discard()
    incoming = files.incoming()
    assert code_of(lambda: incoming.write(CONTENT[:5001]), UsageError) == "package_too_large"
    assert incoming.path.stat().st_size == incoming.received == 0
    incoming.discard()


@pytest.mark.parametrize(
    ("total", "free", "refused"),
    [
        (1000 * 1024 * MIB, RESERVE_BYTES + 1000, False),
        (1000 * 1024 * MIB, RESERVE_BYTES + 999, True),
        (1000 * MIB, 100 * MIB + 1000, False),  # a tenth of a small disk
        (1000 * MIB, 100 * MIB + 999, True),
        (1000 * MIB, 0, True),
    ],
)
def test_the_disk_keeps_room_for_the_database(
    files: PackageFiles, monkeypatch: pytest.MonkeyPatch, total: int, free: int, refused: bool
) -> None:
    incoming = files.incoming()
    disk = os.statvfs_result((4096, 1, total, free + 50 * MIB, free, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "fstatvfs", lambda _: disk)
    if refused:
        assert code_of(lambda: incoming.write(CONTENT[:1000]), UsageError) == "storage_low"
        assert incoming.received == 0
    else:
        incoming.write(CONTENT[:1000])
    incoming.discard()
    assert names(files) == set()


@pytest.mark.parametrize(
    ("number", "kind", "code"),
    [
        (errno.ENOSPC, UsageError, "storage_low"),
        (errno.EDQUOT, UsageError, "storage_low"),
        (errno.EIO, ApplianceError, "package_unwritable"),
        (errno.EROFS, ApplianceError, "package_unwritable"),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_disk_that_takes_nothing_leaves_nothing(
    files: PackageFiles,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    kind: type[ApplianceError],
    code: str,
) -> None:
    incoming = files.incoming() if call == "write" else take(files, CONTENT)
    with monkeypatch.context() as broken:
        broken.setattr(os, call, refuse(number))
        assert code_of(incoming.keep if call != "write" else lambda: incoming.write(CONTENT), kind) == code
    incoming.discard()
    assert names(files) == set()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").touch()
    assert code_of(lambda: PackageFiles(tmp_path / "taken").start(())) == "package_unwritable"
    files = PackageFiles(tmp_path / "firmware")
    assert code_of(files.incoming) == "package_unwritable"
    assert code_of(lambda: files.sweep(())) == "package_unwritable"
    files.start(())
    monkeypatch.setattr(os, "unlink", refuse(errno.EROFS))
    assert code_of(lambda: files.remove(SHA256)) == "package_unwritable"
    monkeypatch.setattr(tempfile, "mkstemp", refuse(errno.EMFILE))
    assert code_of(files.incoming) == "package_unwritable"


# After a restart


def test_what_nobody_knows_is_swept_away_and_nothing_else(files: PackageFiles) -> None:
    """Half uploads, packages whose row was never written; not what somebody else put there."""
    take(files, CONTENT).keep()
    (unknown, _) = take(files, b"unknown").keep()
    half = take(files, CONTENT)
    folder = half.path.parent
    for name in ("lost+found", "README", "a" * 63, SHA256.hex().upper()):
        (folder / name).touch()
    missing = hashlib.sha256(b"missing").digest()
    assert files.sweep({SHA256, missing}) == {missing}
    assert names(files) == {SHA256.hex(), "lost+found", "README", "a" * 63, SHA256.hex().upper()}
    assert unknown.hex() not in names(files)
    half.discard()


def test_what_is_no_file_of_ours_is_missing(files: PackageFiles, tmp_path: Path) -> None:
    """Under the name of a package: a link goes, and not what it leads to; a folder stays."""
    target = tmp_path / "target"
    target.touch()
    files.path(SHA256).symlink_to(target)
    folder = hashlib.sha256(b"folder").digest()
    files.path(folder).mkdir()
    assert files.start({SHA256, folder}) == {SHA256, folder}
    assert names(files) == {folder.hex()}
    assert target.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from flownexus_appliance.db.package_files import PackageFiles
files = PackageFiles(Path(sys.argv[1]))
files.start(())
files.incoming().write(b"whole") if sys.argv[2] == "write" else None
incoming = files.incoming()
incoming.write(b"half")
if sys.argv[2] == "keep":
    os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    incoming.keep()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["write", "keep"])
def test_a_daemon_that_is_killed_in_the_middle_leaves_nothing_for_long(tmp_path: Path, when: str) -> None:
    folder = tmp_path / "firmware"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), when], check=False)
    assert killed.returncode == -9
    left = list(folder.iterdir())
    assert len(left) == (2 if when == "write" else 1)
    assert all(entry.name.startswith(".") for entry in left)
    PackageFiles(folder).start(())
    assert list(folder.iterdir()) == []
