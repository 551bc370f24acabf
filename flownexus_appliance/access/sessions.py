"""Browsers that are signed in, in memory: found by their secret, ended by time.

The secret is in the cookie alone; here and on disk is its SHA-256, which for 32 random bytes is as good as a
slow hash. When a session was used is written down now and then (`access.py` does it), not each time.
"""

import hmac
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ..db.people import SessionRow
from ..system.clock import PLAUSIBLE_FROM, PLAUSIBLE_UNTIL, SET_BACK
from .holders import Holders, hash_of
from .people import Client

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
# Signed in for today: over a working day with its pauses, and a week at most. A cookie that gets lost on a
# borrowed computer is good for no longer.
IDLE_MS: Final = 12 * _HOUR_MS
LIFE_MS: Final = 7 * _DAY_MS
# "Keep me signed in", on one's own phone or the tablet on the wall: over a holiday without it; and twice a
# year one shows that one still knows the password.
KEPT_IDLE_MS: Final = 30 * _DAY_MS
KEPT_LIFE_MS: Final = 180 * _DAY_MS
# More browsers than a person has; one that signs in by a script each time fills no memory.
MAX_A_USER: Final = 50
SECRET_BYTES: Final = 32
MAX_ADDRESS: Final = 64
MAX_AGENT: Final = 200
_FORMS: Final = b"flownexus forms"
# As `system.clock.trustworthy` has them, which makes words for people; this is asked at every request.
_FROM_MS: Final = round(PLAUSIBLE_FROM.timestamp() * 1000)
_UNTIL_MS: Final = round(PLAUSIBLE_UNTIL.timestamp() * 1000)
_SET_BACK_MS: Final = round(SET_BACK.total_seconds() * 1000)


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that is not in the file yet, and those whose place it takes."""

    row: SessionRow
    secret: str = field(repr=False)
    ending: tuple[int, ...]


class Sessions(Holders[SessionRow]):
    """All sessions. One that has ended by time is not told apart from one that never was."""

    def prepare(self, user_id: int, client: Client, *, keep: bool) -> NewSession:
        """A new session, not to be found before `add`."""
        secret, now_ms = secrets.token_urlsafe(SECRET_BYTES), self._clock().wall_ms
        row = SessionRow(
            self._next,
            user_id,
            hash_of(secret),
            keep,
            now_ms,
            now_ms,
            client.address[:MAX_ADDRESS],
            client.agent[:MAX_AGENT],
        )
        self._next += 1
        beyond = self.of({user_id})[MAX_A_USER - 1 :]
        return NewSession(row, secret, tuple(one.id for one in beyond))

    def find(self, secret: str, client: Client) -> SessionRow | None:
        """The session of a cookie, used by this; None where it has ended."""
        number = self._by_secret.get(hash_of(secret))
        return None if number is None else self._use(number, client)

    def touch(self, number: int) -> SessionRow | None:
        """The session of this number, used by this from where it was before."""
        return self._use(number, None)

    def get(self, number: int) -> SessionRow | None:
        """The session of this number, without its being used."""
        row = self._rows.get(number)
        return None if row is None or self._over(row) else self._rows[number]

    def of(self, user_ids: Collection[int] | None) -> Sequence[SessionRow]:
        """Those of these users, or all, the last used first."""
        rows = [row for row in self._rows.values() if user_ids is None or row.user_id in user_ids]
        found = [self._rows[row.id] for row in rows if not self._over(row)]
        return sorted(found, key=lambda row: (-row.used_ms, -row.id))

    def over(self) -> Sequence[int]:
        """Those that have ended by time, to be dropped. By a clock that is wrong none have."""
        if not _can_be_right(self._clock().wall_ms):
            return ()
        return [row.id for row in tuple(self._rows.values()) if self._over(row)]

    def _use(self, number: int, client: Client | None) -> SessionRow | None:
        row = self.get(number)
        if row is None:
            return None
        if client is not None:
            row = replace(row, address=client.address[:MAX_ADDRESS], agent=client.agent[:MAX_AGENT])
        now_ms = self._clock().wall_ms
        # A clock that woke up in 1970 must not make it look idle since then.
        used_ms = now_ms if _can_be_right(now_ms) else max(now_ms, row.used_ms)
        row = self._rows[number] = replace(row, used_ms=used_ms)
        self._used.add(number)
        return row

    def _over(self, row: SessionRow) -> bool:
        """Whether its time is over. It begins anew where a wrong clock has dated it: before this software was
        made, or after now. A box without a clock battery is set up before it knows the time."""
        now_ms = self._clock().wall_ms
        dated_well = _can_be_right(row.made_ms) and row.made_ms <= now_ms + _SET_BACK_MS
        if not dated_well and _can_be_right(now_ms):
            row = self._rows[row.id] = replace(row, made_ms=now_ms, used_ms=now_ms)
            self._used.add(row.id)
        return now_ms >= ends_ms(row)


def _can_be_right(moment_ms: int) -> bool:
    return _FROM_MS <= moment_ms < _UNTIL_MS


def ends_ms(row: SessionRow) -> int:
    """When a session ends if nobody uses it."""
    idle_ms, life_ms = (KEPT_IDLE_MS, KEPT_LIFE_MS) if row.kept else (IDLE_MS, LIFE_MS)
    return min(row.used_ms + idle_ms, row.made_ms + life_ms)


def form_key(secret: str) -> bytes:
    """What the forms of a session's pages are sealed with: made of the secret, and useless without it."""
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), _FORMS, "sha256")
