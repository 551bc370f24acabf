"""Faults of the disk that a store meets: another program holds the file, a change is not taken."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from flownexus_appliance.db.store import Store
from tests.peer import until


class DiskFaults:
    """For a harness that has a `store`."""

    __slots__ = ()
    store: Store

    @contextmanager
    def disk_held(self) -> Iterator[None]:
        """Another program holds the file's write lock: commits wait."""
        with closing(sqlite3.connect(self.store.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def disk_fails(self, *changes: str) -> Iterator[None]:
        """The disk does not take these changes, such as "INSERT ON registration"."""
        with closing(sqlite3.connect(self.store.path, isolation_level=None)) as connection:
            for number, change in enumerate(changes):
                connection.execute(
                    f"CREATE TRIGGER broken_{number} BEFORE {change}"
                    " BEGIN SELECT RAISE(ABORT, 'disk full'); END"
                )
            yield
            for number in range(len(changes)):
                connection.execute(f"DROP TRIGGER broken_{number}")

    async def healed(self) -> None:
        """Until the store takes writes again."""

        def takes() -> bool:
            try:
                self.store.writer.gather()
            except Exception:
                return False
            return True

        await until(takes)
