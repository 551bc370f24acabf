"""API tokens, in memory: found by their secret, ended by time. Only the secret's SHA-256 is kept."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from ..db.people import TokenRow
from .holders import Holders, hash_of
from .roles import Role

# Tells a token in a file that nobody meant to publish: secret scanners look for such beginnings.
PREFIX: Final = "fnx_"
SECRET_BYTES: Final = 32
MAX_A_USER: Final = 50


class Tokens(Holders[TokenRow]):
    """All tokens, those that have expired too, until somebody removes them."""

    def prepare(self, user_id: int, name: str, role: Role, expires_ms: int) -> tuple[TokenRow, str]:
        """A new token, not to be found before `add`, and its secret."""
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        row = TokenRow(
            self._next, user_id, name, role.value, hash_of(secret), self._clock().wall_ms, expires_ms
        )
        self._next += 1
        return row, secret

    def find(self, secret: str) -> TokenRow | None:
        """The token of this secret, used by this; None where it has expired."""
        number = self._by_secret.get(hash_of(secret)) if secret.startswith(PREFIX) else None
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
