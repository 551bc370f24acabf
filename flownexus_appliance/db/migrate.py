"""Opens the database file and brings its schema up to date.

Numbered SQL files in `schema/`; each is applied in one transaction together with its
`PRAGMA user_version`. A database that already holds data is copied beside itself first, and one
that is newer than this code is refused. The file holds keys: it is made readable for its owner alone,
and so are the copy and what SQLite puts beside it (which takes the mode of the file itself).
"""

import os
import re
import sqlite3
from contextlib import closing, suppress
from importlib import resources
from pathlib import Path
from typing import Final

from ..errors import ApplianceError

# "FNXA" in the file's header: tells our database from anybody else's.
APPLICATION_ID: Final = 0x464E5841
PRIVATE: Final = 0o600
_SCHEMA_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class StoreError(ApplianceError):
    """The database cannot be used, or did not take a write."""


def schema_files() -> list[tuple[int, str]]:
    """Number and SQL of every schema step, in order."""
    steps = []
    for entry in resources.files(__package__).joinpath("schema").iterdir():
        match = _SCHEMA_FILE.fullmatch(entry.name)
        if match:
            steps.append((int(match[1]), entry.read_text(encoding="utf-8")))
    return sorted(steps)


def open_database(path: Path) -> sqlite3.Connection:
    """Open (or make) the database for writing, migrated to the newest schema.

    Raises StoreError: `database_unreadable`, `database_foreign`, `database_newer`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        # A file that is there stays as it is until it is known to be ours.
        with suppress(FileExistsError):
            _make(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise unreadable(path, error) from error
    try:
        # First, and by reading only: a file that is not ours must stay as it is.
        refuse_unknown(connection, path)
        _make_private(path)
        for pragma in (
            "journal_mode = WAL",
            # As Debian builds it: a key that was deleted is overwritten.
            "secure_delete = ON",
            "synchronous = FULL",
            "foreign_keys = ON",
            "busy_timeout = 5000",
            "journal_size_limit = 16777216",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        migrate(connection, path)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise unreadable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE))


def _make_private(path: Path) -> None:
    """For databases of schema 1, which held no keys."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        with suppress(FileNotFoundError):
            path.with_name(name).chmod(PRIVATE)


def refuse_unknown(connection: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError, `database_foreign` or `database_newer`, unless the database is empty or ours."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    newest = schema_files()[-1][0]
    if application not in (0, APPLICATION_ID) or (application == 0 and (tables or version)):
        raise StoreError(
            "database_foreign",
            f"{path.name} is a database of another program",
            "name another state folder",
        )
    if version > newest:
        raise StoreError(
            "database_newer",
            f"{path.name} has schema {version}, this version knows up to {newest}",
            "install the newer version again, or restore the copy made before the upgrade",
        )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Apply the schema steps that the database lacks."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    steps = schema_files()
    if version == steps[-1][0]:
        return
    if version > 0:
        _copy(connection, path.with_name(f"{path.name}.schema-{version}"))
    for number, sql in steps:
        if number > version:
            try:
                connection.executescript(
                    f"BEGIN;\n{sql}\nPRAGMA application_id = {APPLICATION_ID};\n"
                    f"PRAGMA user_version = {number};\nCOMMIT;"
                )
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    _make(target)
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


def unreadable(path: Path, error: Exception) -> StoreError:
    """The error for a file that cannot be opened or holds what nobody can have written."""
    return StoreError(
        "database_unreadable",
        f"cannot open {path.name}: {error}",
        "check the folder's owner and free space; a damaged file can be replaced from a backup",
    )
