"""Keeps the box's certificates in order: made when the clock is right, rotated in time, shown by the servers.

The authority (`pki/`) reads no clock and tells nobody; here is the clock, the journal and who must show
another certificate from now on. RFC 5280. Nothing drops by a change: servers show it from the next handshake.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ..errors import ApplianceError, UsageError
from ..events import EventBus
from ..pki import devices
from ..pki.authority import Authority, Chain, PemFiles
from ..pki.describe import CertificateStatus
from ..pki.devices import DeviceCertificate
from ..pki.errors import PkiError
from ..pki.leafs import VALIDITY
from ..pki.names import ServerNames
from ..pki.roots import OVERLAP
from ..pki.selfsigned import provisional_status
from ..pki.upkeep import Change
from ..system import clock

CHECK_PERIOD_S: Final = 60.0
MAX_CHECKS_A_ROTATION: Final = 20  # a life that is shortened for a test is looked at more often
MAX_DAYS: Final = 36_500
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the servers are to show: a DTLS chain, None where there is PSK only; the trusted roots; the
    files of HTTPS, None for the provisional certificate. `check_dates` is off while the clock cannot be
    right."""

    chain: Chain | None
    roots: tuple[bytes, ...]
    check_dates: bool
    https: PemFiles | None


class Certificates:
    """The box's certificates at the clock of the box; implements what `http/` and bootstrap ask for."""

    def __init__(
        self,
        authority: Authority,
        bus: EventBus,
        names: Callable[[], ServerNames],
        provisional: Path,
        validity: timedelta = VALIDITY,
        now_ms: Callable[[], int] = clock.wall_ms,
    ) -> None:
        self._authority = authority
        self._bus = bus
        self._names = names
        self._provisional = provisional
        self._validity = validity
        self._now_ms = now_ms
        self._noted_ms = 0
        self._show: Callable[[Shown], None] = lambda _: None
        self._shown: Shown | None = None
        self._doubted = ""
        self._task: asyncio.Task[None] | None = None

    async def load(self, noted_ms: int) -> Shown:
        """Read what there is and make what is missing; `noted_ms` is the newest time the box ever noted.

        Raises PkiError where the folder is damaged or foreign: the box does not start on half a CA.
        """
        self._noted_ms = noted_ms
        await asyncio.to_thread(self._authority.load)
        await self._keep()
        return self._current()

    def start(self, show: Callable[[Shown], None]) -> None:
        """Watch the time; `show` is called with each change of what the servers are to show."""
        self._show = show
        self._shown = self._current()
        self._task = asyncio.create_task(self._watch(), name="certificates")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # What is asked

    def doubt(self) -> str:
        """Why the clock cannot be right, so that nothing is signed; "" where it can."""
        return clock.doubt(self._now_ms(), self._noted_ms, synchronised=clock.synchronised())

    def describe(self) -> Sequence[CertificateStatus]:
        """All certificates of the box; with them the provisional one (its file) while that serves."""
        known = self._authority.describe(self._now())
        serving = None if self._authority.ready else provisional_status(self._provisional)
        return known if serving is None else (*known, serving)

    def roots(self) -> tuple[bytes, ...]:
        """DER of all trusted roots, newest first; empty while there are none."""
        return self._authority.roots()

    def accepted_until(self, certificate: bytes) -> datetime | None:
        """See `Authority.accepted_until`."""
        return self._authority.accepted_until(certificate)

    def certify(self, endpoint: str, request: bytes | None, valid_days: int | None) -> DeviceCertificate:
        """Make a device's certificate, about a millisecond's work; see `http.ports.Certificates`."""
        valid = devices.VALIDITY if valid_days is None else _days(valid_days, "validity_invalid")
        self._trust_clock()
        if request is None:
            return self._authority.issue(endpoint, self._now(), valid)
        return self._authority.issue_for(endpoint, request, self._now(), valid)

    def issue(self, endpoint: str) -> DeviceCertificate:
        """Make a key and a certificate for a device, as bootstrap needs them; raises as `certify`."""
        return self.certify(endpoint, None, None)

    async def rotate(self) -> Sequence[Change]:
        """Make the server's certificates anew now."""
        return await self._change(lambda now: self._authority.rotate_now(now, self._names()))

    async def roll_over(self, overlap_days: int | None) -> Sequence[Change]:
        """Make the next root; see `Authority.roll_over`."""
        overlap = OVERLAP if overlap_days is None else _days(overlap_days, "overlap_invalid")
        return await self._change(lambda now: self._authority.roll_over(now, overlap))

    async def finish_roll_over(self) -> Sequence[Change]:
        """Trust the newest root alone from now on; raises UsageError("roll_over_none")."""
        return await self._change(self._authority.finish_roll_over)

    # Within

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._now_ms() / 1000, UTC)

    def _trust_clock(self) -> None:
        doubt = self.doubt()
        if doubt:
            raise PkiError(
                "clock_untrusted",
                f"nothing is signed while {doubt}",
                "set the clock, or let the box reach a time server",
            )

    async def _change(self, change: Callable[[datetime], tuple[Change, ...]]) -> Sequence[Change]:
        self._trust_clock()
        now = self._now()
        changes = await asyncio.to_thread(change, now)
        self._tell(changes)
        self._present()
        return changes

    async def _watch(self) -> None:
        period_s = min(CHECK_PERIOD_S, self._validity.total_seconds() / MAX_CHECKS_A_ROTATION)
        while True:
            await asyncio.sleep(period_s)
            try:
                await self._keep()
                self._present()
            except ApplianceError as error:
                # What is in memory goes on to serve; the operator has time to mend the folder.
                log.error("certificates not kept", extra={"ERROR_CODE": error.code, "CAUSE": error.message})
            except Exception:
                log.exception("certificates not kept")

    async def _keep(self) -> None:
        doubt = self.doubt()
        if doubt != self._doubted:
            self._doubted = doubt
            if doubt:
                log.warning("clock not trusted", extra={"CAUSE": doubt})
            else:
                log.info("clock trusted again")
        if doubt:
            return
        self._noted_ms = max(self._noted_ms, self._now_ms())
        names, now = self._names(), self._now()
        self._tell(await asyncio.to_thread(self._authority.ensure, names, now, self._validity))

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            log.info("certificates changed", extra={"KIND": change.kind.value, "CAUSE": change.message})
            self._bus.publish(
                "certificate",
                {"kind": change.kind.value, "message": change.message, "time_ms": self._now_ms()},
            )

    def _present(self) -> None:
        current = self._current()
        if current != self._shown:
            self._show(current)
            self._shown = current  # where a server could not, the next look tries again

    def _current(self) -> Shown:
        roots = self._authority.roots()
        if not self._authority.ready:
            return Shown(None, roots, check_dates=True, https=None)
        authority = self._authority
        return Shown(authority.dtls_chain(), roots, not self.doubt(), authority.https_files())


def _days(number: int, code: str) -> timedelta:
    with contextlib.suppress(OverflowError):
        if 1 <= number <= MAX_DAYS:
            return timedelta(days=number)
    raise UsageError(code, f"{number} days is no such time", f"give 1 to {MAX_DAYS} days")
