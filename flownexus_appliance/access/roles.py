"""What people and programs may do: three roles, each with all rights of the ones before it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """A viewer sees everything but secrets and people; an operator acts on devices, adds and removes them;
    an admin changes the box itself: people, certificates, models, settings."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether who has this role may do what `other` asks for."""
        return _RANK[self] >= _RANK[other]

    def at_most(self, other: "Role") -> "Role":
        """The lesser of the two."""
        return self if other.includes(self) else other


_RANK: Final = {role: rank for rank, role in enumerate(Role)}


class Way(StrEnum):
    """How a caller came in."""

    SESSION = "session"  # a browser that is signed in
    TOKEN = "token"  # a program with an API token
    CONSOLE = "console"  # the control socket, which only the box's own user can open
    LESHAN = "leshan"  # a port of Leshan's API that is open to everybody


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something. `name` is what records say: a user, user/token, console or leshan.

    `number` is that of the session or token, 0 for the others. `form_key` is known to the caller's pages
    alone, and empty for what has no pages.
    """

    name: str
    role: Role
    way: Way
    user: str = ""
    number: int = 0
    form_key: bytes = field(default=b"", repr=False)


CONSOLE: Final = Caller("console", Role.ADMIN, Way.CONSOLE)
