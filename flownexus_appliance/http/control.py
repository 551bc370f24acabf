"""The control socket: the same application on a Unix socket, for `flownexus` on this machine.

Who may open the socket's file may do everything here, as who may read the database and the keys beside it
may; so it is for its owner alone. It serves no page's stranger: there is no TLS and no name to it.
"""

import contextlib
import os
import socket
import stat
from pathlib import Path as FilePath
from typing import Final

from ..errors import ApplianceError, UsageError

NAME: Final = "control.sock"
PRIVATE_UMASK: Final = 0o177  # what is made has 0600


def open_control(path: FilePath) -> socket.socket:
    """A socket bound at `path`, in place of one that a daemon left behind; not listening yet.

    Raises UsageError("control_in_use") where another daemon answers, ApplianceError("control_unusable").
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_stale(path)
        before = os.umask(PRIVATE_UMASK)
        try:
            bound.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        bound.close()
        raise _unusable(path, error.strerror or str(error)) from error
    except ApplianceError:
        bound.close()
        raise
    return bound


def remove_control(path: FilePath, made: os.stat_result) -> None:
    """Take the socket's file away, unless another one has taken its place since it was `made`."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if (found.st_dev, found.st_ino) == (made.st_dev, made.st_ino):
            path.unlink()


def _remove_stale(path: FilePath) -> None:
    """Remove a socket that nobody answers at. Raises OSError, and ApplianceError where it must stay."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise _unusable(path, "there is something else of that name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # unix(7): somebody listens, whose queue is full
    raise UsageError(
        "control_in_use",
        f"another daemon answers at {path}",
        "stop it first, or name another folder with --state",
    )


def _unusable(path: FilePath, why: str) -> ApplianceError:
    return ApplianceError(
        "control_unusable",
        f"cannot make the control socket {path}: {why}",
        "the state folder must be this user's, and its path short: a socket's may have 107 bytes",
    )
