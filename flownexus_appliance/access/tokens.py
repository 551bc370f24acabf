"""API tokens, in memory: found by their secret, ended by time. Only the secret's SHA-256 is kept."""

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from ..db.people import TokenRow
from ..lwm2m.core import Moment
from .roles import Role

# Tells a token in a file that nobody meant to publish: secret scanners look for such beginnings.
PREFIX: Final = "fnx_"
SECRET_BYTES: Final = 32
MAX_A_USER: Final = 50


class Tokens:
    """All tokens, those that have expired too, until somebody removes them."""

    def __init__(self, clock: Callable[[], Moment]) -> None:
        self._clock = clock
        self._rows: dict[int, TokenRow] = {}
        self._by_secret: dict[bytes, int] = {}
        self._used: set[int] = set()
        self._next = 1

    def start(self, rows: Iterable[TokenRow]) -> None:
        """Take up what an earlier run kept."""
        for row in rows:
            self.add(row)

    def prepare(self, user_id: int, name: str, role: Role, expires_ms: int) -> tuple[TokenRow, str]:
        """A new token, not to be found before `add`, and its secret."""
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        row = TokenRow(
            self._next, user_id, name, role.value, _hash(secret), self._clock().wall_ms, expires_ms
        )
        self._next += 1
        return row, secret

    def add(self, row: TokenRow) -> None:
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

    def find(self, secret: str) -> TokenRow | None:
        """The token of this secret, used by this; None where it has expired."""
        number = self._by_secret.get(_hash(secret)) if secret.startswith(PREFIX) else None
        return None if number is None else self.touch(number)

    def touch(self, number: int) -> TokenRow | None:
        """The token of this number, used by this."""
        row, now_ms = self._rows.get(number), self._clock().wall_ms
        if row is None or 0 < row.expires_ms <= now_ms:
            return None
        row = self._rows[number] = replace(row, used_ms=now_ms)
        self._used.add(number)
        return row

    def get(self, number: int) -> TokenRow | None:
        """The token of this number, expired or not."""
        return self._rows.get(number)

    def of(self, user_ids: Collection[int] | None) -> Sequence[TokenRow]:
        """Those of these users, or all, by name."""
        found = (row for row in self._rows.values() if user_ids is None or row.user_id in user_ids)
        return sorted(found, key=lambda row: row.name)

    def take_used(self) -> Sequence[TokenRow]:
        """Those used since the last call; `used_again` where that could not be written down."""
        used, self._used = self._used, set()
        return [self._rows[number] for number in sorted(used)]

    def used_again(self, rows: Iterable[TokenRow]) -> None:
        self._used.update(row.id for row in rows if row.id in self._rows)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
