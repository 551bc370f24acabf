"""What a page shows once: secrets on their way from the form that made them to the page that tells them.

A form answers with the address of the next page, so what it made waits here, under a name nobody can
guess, for that one look. In memory alone, for a few minutes.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from .pages_passwords import PasswordGiven, TokenGiven
from .provisioning import EnrolmentGiven, Given

KEEP_MS: Final = 5 * 60_000
MAX_WAITING: Final = 100
MAX_TOLD: Final = 1000

Secret = Given | EnrolmentGiven | PasswordGiven | TokenGiven


@dataclass(slots=True)
class Once:
    """Things that can be taken once. Where too many wait, the oldest goes.

    Of a credential that was taken its number is known on, so that who asks again can be told the way to a
    new one.
    """

    now_ms: Callable[[], int] = field(repr=False)
    _waiting: dict[str, tuple[int, Secret]] = field(default_factory=dict, repr=False)
    _told: dict[str, int] = field(default_factory=dict, repr=False)

    def put(self, secret: Secret) -> str:
        """Keep it for the one who knows the name that is given back."""
        self._forget()
        while len(self._waiting) >= MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        name = secrets.token_urlsafe(24)
        self._waiting[name] = (self.now_ms() + KEEP_MS, secret)
        return name

    def take(self, name: str) -> Secret | None:
        """What was kept, the first time within some minutes; None after that."""
        self._forget()
        _, secret = self._waiting.pop(name, (0, None))
        if isinstance(secret, Given):
            while len(self._told) >= MAX_TOLD:
                del self._told[next(iter(self._told))]
            self._told[name] = secret.credential.id
        return secret

    def told(self, name: str) -> int | None:
        """The number of the credential that was told under this name."""
        return self._told.get(name)

    def _forget(self) -> None:
        now_ms = self.now_ms()
        # A clock that was set back must not keep a secret for longer.
        stale = [n for n, (end, _) in self._waiting.items() if not end - KEEP_MS <= now_ms < end]
        for name in stale:
            del self._waiting[name]


ONCE: Final = web.AppKey("once", Once)
