"""What stands for somebody by a secret: sessions and tokens, in memory, found by the hash of theirs."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from ..db.people import SessionRow, TokenRow
from ..lwm2m.core import Moment

Row = TypeVar("Row", SessionRow, TokenRow)


class Holders(Generic[Row]):
    """Rows by number and by secret, and which of them were used since that was last written down."""

    def __init__(self, clock: Callable[[], Moment]) -> None:
        self._clock = clock
        self._rows: dict[int, Row] = {}
        self._by_secret: dict[bytes, int] = {}
        self._used: set[int] = set()
        self._next = 1

    def start(self, rows: Iterable[Row]) -> None:
        """Take up what an earlier run kept."""
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        self._rows[row.id] = row
        self._by_secret[row.secret_hash] = row.id
        self._next = max(self._next, row.id + 1)

    def drop(self, numbers: Iterable[int]) -> None:
        for number in tuple(numbers):
            row = self._rows.pop(number, None)
            self._used.discard(number)
            if row is not None:
                del self._by_secret[row.secret_hash]

    def drop_user(self, user_id: int) -> None:
        """All of a user, those that have ended too."""
        self.drop([row.id for row in self._rows.values() if row.user_id == user_id])

    def take_used(self) -> Sequence[Row]:
        """Those used since the last call; `used_again` where that could not be written down."""
        used, self._used = self._used, set()
        return [self._rows[number] for number in sorted(used)]

    def used_again(self, rows: Iterable[Row]) -> None:
        self._used.update(row.id for row in rows if row.id in self._rows)


def hash_of(secret: str) -> bytes:
    """What is kept of a secret: its SHA-256."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
