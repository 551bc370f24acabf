"""The enrolment window: for some minutes, whoever has the enrolment key may get a key of its own.

One identity, `enrol`, and a key that is made anew each time. It may do nothing but bootstrap, in the
name of a device that nobody knows yet (`identity.py`, `Credentials.enrol`). The window is in memory
alone: a restart closes it, and its key is never written anywhere.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final

from ..db.credentials import Credential, CredentialOrigin, Proof, ProofKind
from ..errors import UsageError
from ..lwm2m.core import Moment

IDENTITY: Final = b"enrol"
PROOF: Final = Proof(ProofKind.PSK, IDENTITY)
KEY_BYTES: Final = 16
DURATION_S: Final = 600.0
MIN_DURATION_S: Final = 10.0
MAX_DURATION_S: Final = 86_400.0
MAX_DEVICES: Final = 1000


@dataclass(frozen=True, slots=True)
class EnrolmentWindow:
    """An open window: its PSK, and when it closes, in monotonic seconds and in ms since 1970 UTC."""

    identity: bytes
    key: bytes = field(repr=False)
    ends_at: float
    ends_ms: int


@dataclass(slots=True)
class Enrolment:
    """The window, if one is open, and which credentials were made in it."""

    window: EnrolmentWindow | None = None
    made: set[int] = field(default_factory=set)

    def open(self, duration_s: float, moment: Moment) -> EnrolmentWindow:
        """Open a window with a new key; raises UsageError("duration_invalid")."""
        if not MIN_DURATION_S <= duration_s <= MAX_DURATION_S:
            raise UsageError(
                "duration_invalid",
                f"an enrolment cannot stay open for {duration_s:g} s",
                f"give from {MIN_DURATION_S:g} to {MAX_DURATION_S:g} seconds",
            )
        self.close()
        self.window = EnrolmentWindow(
            identity=IDENTITY,
            key=secrets.token_bytes(KEY_BYTES),
            ends_at=moment.now + duration_s,
            ends_ms=moment.wall_ms + round(duration_s * 1000),
        )
        return self.window

    def close(self) -> None:
        self.window = None
        self.made.clear()

    def over(self, moment: Moment) -> bool:
        return self.window is not None and moment.now >= self.window.ends_at

    def unclaimed(self, credential: Credential) -> bool:
        """Whether a credential was made in this window and its device has not come back with it."""
        return (
            credential.id in self.made
            and credential.origin is CredentialOrigin.ENROLMENT
            and not credential.first_used_ms
        )
