"""People, their sessions and tokens as they are told to others, without hashes. Times are ms since 1970."""

from dataclasses import dataclass, field
from typing import Protocol

from .roles import Caller, Role


class Client(Protocol):
    """Where a request comes from: an IP address, and what the program there calls itself."""

    @property
    def address(self) -> str: ...
    @property
    def agent(self) -> str: ...


@dataclass(frozen=True, slots=True)
class User:
    """A person; `changed_ms` is when the password became what it is."""

    name: str
    role: Role
    made_ms: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in; `kept` over weeks. `ends_ms` is when it ends if nobody uses it."""

    id: int
    user: str
    kept: bool
    made_ms: int
    used_ms: int
    ends_ms: int
    address: str
    agent: str


@dataclass(frozen=True, slots=True)
class Token:
    """An API token; `role` is the most it may do, `expires_ms` 0 for no end, `used_ms` 0 for never."""

    id: int
    user: str
    name: str
    role: Role
    made_ms: int
    expires_ms: int
    used_ms: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session that has just begun, with the secret for the browser's cookie."""

    caller: Caller
    secret: str = field(repr=False)
    kept: bool
