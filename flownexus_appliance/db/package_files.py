"""Firmware packages as files, each by the hash of its content, in a folder of their own.

A package is written aside, synced, renamed and synced again: it is there whole under its name, or not at all.
What a killed daemon left half-written is swept away at the start. Owns no row and does not know the database:
`fleet/firmware/library.py` says what is kept. All here waits for the disk, but for `PackageFiles.path`: the
event loop calls it in threads.
"""

import contextlib
import errno
import hashlib
import os
import re
import stat
import tempfile
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Final

from ..errors import ApplianceError, UsageError

MIB: Final = 1024 * 1024
# A package is at most this large. The largest images of devices that speak LwM2M have some MiB.
MAX_PACKAGE: Final = 64 * MIB
# What a package leaves free on the disk: the database goes on growing, and below 200 MiB the box says that
# its disk is full (`system.health`). On a small disk it is a part of all there is.
RESERVE_BYTES: Final = 256 * MIB
RESERVE_PART: Final = 0.1
# So much at most waits to be written: more would hold up the commits that devices wait for.
SYNC_BYTES: Final = 4 * MIB
FOLDER_MODE: Final = 0o700
_PREFIX: Final = ".upload-"
_OURS: Final = re.compile(r"[0-9a-f]{64}|\.upload-.*")
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class PackageFiles:
    """The folder of the packages; one instance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, known: Collection[bytes]) -> frozenset[bytes]:
        """Make the folder, and remove from it what was not finished and what is none of the `known` hashes.

        Returns those of `known` that have no file. Raises ApplianceError("package_unwritable").
        """
        try:
            self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            self._folder.chmod(FOLDER_MODE)
        except OSError as error:
            raise _unwritable(error) from error
        return self.sweep(known)

    def sweep(self, known: Collection[bytes]) -> frozenset[bytes]:
        """The second half of `start`: for a time at which no package is on its way in."""
        names = {sha256.hex(): sha256 for sha256 in known}
        try:
            for entry in list(os.scandir(self._folder)):
                if entry.is_file(follow_symlinks=False) and names.pop(entry.name, None) is not None:
                    continue
                if _OURS.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
            _sync(self._folder)
        except OSError as error:
            raise _unwritable(error) from error
        return frozenset(names.values())

    def incoming(self) -> "Incoming":
        """Begin to take a package; raises ApplianceError("package_unwritable")."""
        return Incoming(self._folder)

    def path(self, sha256: bytes) -> Path:
        """Where the package of a hash is, or would be."""
        return self._folder / sha256.hex()

    def open(self, sha256: bytes) -> "PackageFile":
        """A package to be read; raises ApplianceError("package_missing")."""
        try:
            descriptor = os.open(self.path(sha256), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise _missing(error.strerror or str(error)) from error
        return PackageFile(descriptor)

    def remove(self, sha256: bytes) -> None:
        """Remove a package; one that is gone already is none to worry about.

        Who is reading it reads on. Raises ApplianceError("package_unwritable").
        """
        try:
            self.path(sha256).unlink(missing_ok=True)
            _sync(self._folder)
        except OSError as error:
            raise _unwritable(error) from error


class Incoming:
    """A package on its way in; it ends with `keep` or `discard`.

    `received` counts its bytes until now, `path` is where they are until then.
    """

    def __init__(self, folder: Path) -> None:
        self.received = 0
        # Who gives up waiting for a thread may close what that still writes to.
        self._lock = threading.RLock()
        self._folder = folder
        self._hash = hashlib.sha256()
        self._unsynced = 0
        try:
            self._descriptor, name = tempfile.mkstemp(prefix=_PREFIX, dir=folder)
        except OSError as error:
            raise _unwritable(error) from error
        self.path = Path(name)

    @property
    def sha256(self) -> bytes:
        """Of what came until now."""
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """Add to it. UsageError: package_too_large, storage_low; ApplianceError: package_unwritable.

        After an error it is of no use any more, and is to be discarded.
        """
        if self.received + len(data) > MAX_PACKAGE:
            raise UsageError(
                "package_too_large",
                f"the package is larger than {MAX_PACKAGE // MIB} MiB",
                "send the image that the device installs, not an archive of the build",
            )
        with self._lock:
            try:
                self._write(data)
            except OSError as error:
                raise _unwritable(error) from error
            self._hash.update(data)
            self.received += len(data)

    def keep(self) -> tuple[bytes, int]:
        """Give the file its name, also where there is one of that name already; its SHA-256 and size.

        When it returns, it is on the disk. Raises as `write`; what is left then is swept away at the next
        start, if it is not the file of another firmware.
        """
        with self._lock:
            sha256 = self.sha256
            try:
                if self._descriptor < 0:
                    raise OSError(errno.EBADF, "it was given up")
                os.fsync(self._descriptor)
                os.replace(self.path, self._folder / sha256.hex())
                self._close()
                _sync(self._folder)
            except OSError as error:
                self.discard()
                raise _unwritable(error) from error
            return sha256, self.received

    def discard(self) -> None:
        """Throw it away, unless it was kept. What cannot be removed now is swept away at the next start."""
        with self._lock:
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):
                    self.path.unlink()
                with contextlib.suppress(OSError):
                    self._close()

    def _write(self, data: bytes) -> None:
        self._look_for_room(len(data))
        left = memoryview(data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            os.fdatasync(self._descriptor)
            self._unsynced = 0

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        os.close(descriptor)

    def _look_for_room(self, size: int) -> None:
        disk = os.fstatvfs(self._descriptor)
        reserve = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize * RESERVE_PART)
        if disk.f_bavail * disk.f_frsize - size < reserve:
            raise _full()


class PackageFile:
    """A package that is read; `size` in bytes. Reading and closing wait for nothing but the disk."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over; raises ApplianceError("package_missing") where it is no file."""
        self._descriptor = descriptor
        # A thread that still reads must not find another file under the number of this one.
        self._lock = threading.Lock()
        found = os.fstat(descriptor)
        self.size = found.st_size
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise _missing("it is no file")

    def pread(self, offset: int, size: int) -> bytes:
        """`size` bytes from there, fewer at the end of the file.

        Raises ApplianceError("package_missing") where the disk does not give them.
        """
        parts = []
        try:
            with self._lock:
                while size > 0 and (part := os.pread(self._descriptor, size, offset)):
                    parts.append(part)
                    offset += len(part)
                    size -= len(part)
        except OSError as error:
            raise _missing(error.strerror or str(error)) from error
        return b"".join(parts)

    def close(self) -> None:
        """Once or more; what is asked for after it is missing."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(error: OSError) -> ApplianceError:
    if error.errno in _FULL:
        return _full()
    return ApplianceError(
        "package_unwritable",
        f"the package cannot be stored: {error.strerror or error}",
        "check the owner of the state folder and the health of the disk",
    )


def _full() -> UsageError:
    return UsageError(
        "storage_low",
        "there is too little free space for the package",
        "remove firmware that no device needs any more, or use a larger disk",
    )


def _missing(reason: str) -> ApplianceError:
    return ApplianceError(
        "package_missing", f"the package cannot be read: {reason}", "add the firmware again"
    )
