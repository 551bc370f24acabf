"""Writes down when sessions and tokens were used, and forgets the sessions that are over: now and then.

A tablet on the wall uses its session all day, and flash memory wears; what a power cut takes is a few minutes
of having been used.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..db.migrate import StoreError
from ..db.people import put_session_uses, put_token_uses, remove_user_sessions
from ..db.store import Store
from ..db.writer import when_done
from ..lwm2m.core import Moment
from .sessions import Sessions
from .tokens import Tokens

EVERY_S: Final = 300.0


class Uses:
    """The uses that are not on disk yet."""

    def __init__(self, store: Store, clock: Callable[[], Moment], sessions: Sessions, tokens: Tokens) -> None:
        self._store = store
        self._clock = clock
        self._sessions = sessions
        self._tokens = tokens
        self._due_at = 0.0

    def write_in_time(self) -> None:
        """Write them down if that is due; called at each use."""
        now = self._clock().now
        if now >= self._due_at:
            self._due_at = now + EVERY_S
            with suppress(StoreError):  # they wait for the next time
                self.write()

    def write(self) -> None:
        """Gather them. Raises StoreError."""
        batch = self._store.writer.gather()
        over = self._sessions.over()
        self._sessions.drop(over)
        remove_user_sessions(batch, over)
        sessions, tokens = self._sessions.take_used(), self._tokens.take_used()
        put_session_uses(batch, sessions)
        put_token_uses(batch, tokens)

        def lost() -> None:
            self._sessions.used_again(sessions)
            self._tokens.used_again(tokens)

        when_done(self._store.commit(), lambda: None, lost)
