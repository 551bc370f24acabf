"""What can go wrong with the box's keys and certificates. A message names files, never what is in a key."""

from pathlib import Path

from ..errors import ApplianceError


class PkiError(ApplianceError):
    """The box cannot make, keep or use its own keys and certificates."""


def damaged(path: Path, why: str) -> PkiError:
    """A file that must be there and whole, and is not; `why` goes on after the file's name."""
    return PkiError(
        "pki_damaged",
        f"{path} {why}",
        f"restore {path.parent} from a backup. Without one, move it away as a whole: the next start makes a "
        "new root, and every device with a certificate needs a new one then",
    )


def foreign(path: Path, why: str) -> PkiError:
    """A file that this software did not write."""
    return PkiError(
        "pki_foreign",
        f"{path} {why}",
        f"put back what this software wrote in {path.parent}, or install the release that wrote this file",
    )


def unreadable(path: Path, error: OSError) -> PkiError:
    return PkiError(
        "pki_unreadable",
        f"cannot read {path}: {error.strerror}",
        f"{path.parent} and its files must belong to the user the daemon runs as",
    )


def unwritable(path: Path, error: OSError) -> PkiError:
    return PkiError(
        "pki_unwritable",
        f"cannot write {path}: {error.strerror}",
        "check the owner of the folder and the free space; the certificates of before go on serving",
    )
