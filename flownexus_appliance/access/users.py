"""The users in memory: found by name, counted, and never without an admin."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from ..db.people import UserRow
from ..errors import UsageError, clean
from . import names
from .roles import Role

# A household or a workshop; all of them are in memory, and each may have 50 sessions and tokens.
MAX_USERS: Final = 100


class Users:
    """All users, by their numbers."""

    def __init__(self) -> None:
        self._rows: dict[int, UserRow] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._rows)

    def start(self, rows: Iterable[UserRow]) -> None:
        """Take up what an earlier run kept."""
        for row in rows:
            self.put(row)

    def put(self, row: UserRow) -> None:
        self._rows[row.id] = row
        self._next = max(self._next, row.id + 1)

    def drop(self, number: int) -> None:
        del self._rows[number]

    def numbered(self, row: UserRow) -> UserRow:
        """A new user with a number that nobody had in this run: what is open to one is never another's."""
        self._next += 1
        return replace(row, id=self._next - 1)

    def all(self) -> Sequence[UserRow]:
        """By name."""
        return sorted(self._rows.values(), key=lambda row: row.name)

    def get(self, number: int) -> UserRow | None:
        return self._rows.get(number)

    def of(self, number: int) -> UserRow:
        """The user of a session or token, which are never without one."""
        return self._rows[number]

    def named(self, name: str) -> UserRow | None:
        """The user whom somebody means by this."""
        meant = names.folded(name)
        return next((row for row in self._rows.values() if row.name == meant), None)

    def known(self, name: str) -> UserRow:
        """As `named`; raises UsageError("user_unknown")."""
        row = self.named(name)
        if row is None:
            raise UsageError("user_unknown", f"there is no user {clean(name, 40)}", "see the list of users")
        return row

    def check_free(self, name: str) -> None:
        """Raises UsageError: user_taken, user_limit."""
        if self.named(name) is not None:
            raise UsageError("user_taken", f"there is a user {name} already", "choose another name")
        if len(self._rows) >= MAX_USERS:
            raise UsageError(
                "user_limit", f"there are {MAX_USERS} users already", "remove those who are here no more"
            )

    def check_first(self, role: Role) -> None:
        """Raises UsageError("last_admin") for a first user who is no admin: nobody could add another."""
        if not self._rows and role is not Role.ADMIN:
            raise UsageError("last_admin", "the first user has to be an admin", "add an admin first")

    def check_without(self, row: UserRow) -> None:
        """Raises UsageError("last_admin") where no admin is left without this user."""
        admins = [one for one in self._rows.values() if one.role == Role.ADMIN]
        if len(admins) == 1 and admins[0].id == row.id:
            raise UsageError(
                "last_admin",
                f"{row.name} is the only admin",
                "make somebody else an admin first",
            )
