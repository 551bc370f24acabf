"""A disk whose power can be cut between any two file operations, and which tells what was done to it."""

import os
from pathlib import Path
from typing import Any

import pytest


class PowerCutError(BaseException):
    """Not an Exception: no handler of errors runs when the power is gone."""


class Disk:
    """Stands between the code and the file system: counts, records, and from `cut_at` on does nothing more.

    `done` holds (operation, file name) of all that reached the disk, a folder's sync with its own name.
    """

    def __init__(self, patch: pytest.MonkeyPatch, cut_at: int | None = None) -> None:
        self.done: list[tuple[str, str]] = []
        self._cut_at = cut_at
        self._open_files: dict[int, str] = {}
        self._real_fsync = os.fsync
        self._patch_path(patch, "replace", lambda path, target: Path(target).name)
        self._patch_path(patch, "unlink", lambda path, *_: path.name)
        self._patch_path(patch, "mkdir", lambda path, *_: path.name)
        self._patch_path(patch, "chmod", lambda path, *_: path.name)
        real_open = os.open

        def opened(path: Any, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_WRONLY:
                self._step("create", Path(path).name)
            descriptor = real_open(path, flags, mode)
            self._open_files[descriptor] = Path(path).name
            return descriptor

        patch.setattr(os, "open", opened)
        patch.setattr(os, "fsync", self._fsync)

    def _patch_path(self, patch: pytest.MonkeyPatch, name: str, names: Any) -> None:
        real = getattr(Path, name)

        def step(path: Path, *arguments: Any, **options: Any) -> Any:
            if name != "unlink" or path.exists():
                self._step(name, names(path, *arguments))
            return real(path, *arguments, **options)

        patch.setattr(Path, name, step)

    def _fsync(self, descriptor: int) -> None:
        name = self._open_files[descriptor]
        if self._cut_at == len(self.done) and name.endswith(".new"):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)  # half of it had reached the disk
        self._step("sync", name)
        self._real_fsync(descriptor)

    def _step(self, operation: str, name: str) -> None:
        if self._cut_at is not None and len(self.done) >= self._cut_at:
            raise PowerCutError
        self.done.append((operation, name))
