"""Which devices must bootstrap again, and asking them to: certificates end, roots follow each other.

Server-initiated bootstrap, LwM2M Core 1.1.1 6.1.1 and E.2 (/1/x/9). A device is asked while it listens,
a few at a time; one that does not come is asked again, ever more rarely.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..db.credentials import Credential, CredentialOrigin, ProofKind
from ..lwm2m.bootstrap_instances import SERVER
from ..lwm2m.core import Moment
from ..lwm2m.model import version_key
from ..lwm2m.registration import Registration
from .bootstrap_material import DeviceAuthority
from .credentials import Credentials

AT_ONCE: Final = 4
LOOK_EVERY_S: Final = 60.0
LOOKS_A_TICK: Final = 50  # an unknown certificate takes a signature check to judge
FIRST_PAUSE_S: Final = 20 * 60.0
LONGEST_PAUSE_S: Final = 24 * 3600.0
# /1/x/9 is there since version 1.1 of the Server object.
_TRIGGER_SINCE: Final = (1, 1)


class Reason(StrEnum):
    """Why a device is to come again."""

    CERTIFICATE_ENDS = "its certificate ends"
    NEW_ROOT = "the box has a new root"


@dataclass(slots=True)
class _Pause:
    """When a device may be asked again, in monotonic seconds, and how long to wait after that."""

    until: float = 0.0
    next_s: float = FIRST_PAUSE_S


class Renewals:
    """Looks through the certificates in use and asks devices back; `tick` once a second.

    `gives` says how many seconds before the end a device's certificate is renewed, None where
    bootstrap would not give it one. `ask` asks a device to come and is never awaited by who looks.
    """

    def __init__(
        self,
        credentials: Credentials,
        registration: Callable[[str], Registration | None],
        listens: Callable[[str], bool],
        gives: Callable[[str], int | None],
        ask: Callable[[str, str], Awaitable[bool]],
    ) -> None:
        self._credentials = credentials
        self._registration = registration
        self._listens = listens
        self._gives = gives
        self._ask = ask
        self._authority: DeviceAuthority | None = None
        self._due: dict[str, Reason] = {}
        self._pauses: dict[str, _Pause] = {}
        self._to_look: list[str] = []
        self._look_at = 0.0
        self._roots: tuple[bytes, ...] = ()
        self._ends_ms: dict[bytes, int] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def attach(self, authority: DeviceAuthority) -> None:
        self._authority = authority

    async def stop(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def renewed(self, endpoint: str) -> None:
        """A device has been given what it needs; unless it makes use of it, it is due again later."""
        self._due.pop(endpoint, None)

    def due(self) -> dict[str, Reason]:
        """Who is to come again, as far as it was looked."""
        return dict(self._due)

    def tick(self, moment: Moment) -> None:
        """Look through some more certificates, and ask some of those who are due and listen now."""
        if self._authority is None:
            return
        self._look(moment, self._authority)
        for endpoint in [e for e in self._due if self._listens(e)]:
            if len(self._asking) >= AT_ONCE:
                break
            pause = self._pauses.setdefault(endpoint, _Pause())
            if moment.now < pause.until or not _has_trigger(self._registration(endpoint)):
                continue
            pause.until = moment.now + pause.next_s
            pause.next_s = min(pause.next_s * 2, LONGEST_PAUSE_S)
            task = asyncio.create_task(self._one(endpoint, self._due[endpoint]), name="renewal")
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _one(self, endpoint: str, reason: Reason) -> None:
        await self._ask(endpoint, reason.value)

    def _look(self, moment: Moment, authority: DeviceAuthority) -> None:
        """The next few endpoints with certificates; all of them in turn, once a minute at most."""
        roots = authority.roots()
        if roots != self._roots:
            self._roots = roots
            self._ends_ms.clear()
        if not self._to_look:
            if moment.now < self._look_at:
                return
            self._look_at = moment.now + LOOK_EVERY_S
            self._to_look = sorted(
                {c.endpoint for c in self._credentials.all() if c.kind is ProofKind.CERTIFICATE}
            )
            gone = self._due.keys() - set(self._to_look)
            for endpoint in gone:
                del self._due[endpoint]
            for endpoint in self._pauses.keys() - set(self._to_look):
                del self._pauses[endpoint]
        for endpoint in [self._to_look.pop() for _ in range(min(LOOKS_A_TICK, len(self._to_look)))]:
            reason = self._reason(endpoint, moment, authority)
            if reason is not None:
                self._due[endpoint] = reason
            elif self._due.pop(endpoint, None) is not None:
                self._pauses.pop(endpoint, None)

    def _reason(self, endpoint: str, moment: Moment, authority: DeviceAuthority) -> Reason | None:
        """Why a device is to come again, None where it need not or cannot."""
        before_s = self._gives(endpoint)
        credentials = self._credentials.of(endpoint)
        used = [c for c in credentials if c.kind is ProofKind.CERTIFICATE and c.first_used_ms]
        if before_s is None or not used or not _can_come(credentials):
            return None
        newest = max(used, key=lambda c: c.id)
        ends_ms = self._ends(newest, authority)
        if ends_ms - before_s * 1000 > moment.wall_ms:
            return Reason.NEW_ROOT if ends_ms < newest.not_after_ms else None
        return Reason.CERTIFICATE_ENDS if ends_ms == newest.not_after_ms else Reason.NEW_ROOT

    def _ends(self, credential: Credential, authority: DeviceAuthority) -> int:
        """When a certificate stops to be accepted, in ms since 1970: by itself or with its root."""
        known = self._ends_ms.get(credential.proof.value)
        if known is None:
            until = authority.accepted_until(credential.certificate)
            ends_ms = 0 if until is None else round(until.timestamp() * 1000)
            known = self._ends_ms[credential.proof.value] = min(ends_ms, credential.not_after_ms)
        return known


def _can_come(credentials: Sequence[Credential]) -> bool:
    """Whether the bootstrap account can still be good: by a key, or by a certificate of the operator's.

    A device that is asked to come and cannot may give up altogether.
    """
    return any(c.kind is ProofKind.PSK or c.origin is CredentialOrigin.OPERATOR for c in credentials)


def _has_trigger(registration: Registration | None) -> bool:
    """Whether the device has /1/x/9.

    LwM2M Core 1.1.1 7.2.2: a core object without a version has that of the client's LwM2M version.
    """
    if registration is None or SERVER[0] not in registration.objects:
        return False
    version = registration.objects[SERVER[0]].version or registration.lwm2m_version
    return (version_key(version) or (1, 0)) >= _TRIGGER_SINCE
