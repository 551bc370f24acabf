"""Writing whole files: the old one until the new one is whole, and no litter after an error."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.pki import files


def test_a_file_is_put_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    files.write_whole(path, b"one", files.PRIVATE)
    files.write_whole(path, b"two", files.PRIVATE)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a.key"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_an_error_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "a.key"
    files.write_whole(path, b"one", files.PRIVATE)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if failing == "fsync" else Path, failing, fail)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(path, b"two", files.PRIVATE)
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a.key"]


def test_what_an_earlier_try_left_is_no_obstacle(tmp_path: Path) -> None:
    """The process number comes again after a restart, and the file with it may be open to all."""
    left = tmp_path / f".a.key.{os.getpid()}.new"
    left.write_bytes(b"half")
    left.chmod(0o666)
    files.write_whole(tmp_path / "a.key", b"whole", files.PRIVATE)
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a.key"]


def test_a_folder_is_made_for_its_owner_and_kept_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "pki"
    mask = os.umask(0)
    try:
        files.make_folder(folder)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o750)
    files.make_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


def test_removing_goes_on_past_what_cannot_be_removed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    files.remove([tmp_path / "absent", tmp_path / "folder", tmp_path / "file"])
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize(("mode", "private"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)])
def test_which_files_are_private(tmp_path: Path, mode: int, private: bool) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(b"")
    path.chmod(mode)
    assert files.is_private(path) is private
    files.make_private(path)
    assert files.is_private(path)
