"""One simulated device, without socket or clock: its parts put together, its orders carried out.

A driver hands in datagrams and time (`receive`, `handle_timer`) and is handed datagrams to put on
the wire; `deadline` says when the device wants the time again. `now` is monotonic seconds.
"""

import math
from collections.abc import Callable, Iterable
from random import Random
from typing import Final

from ..lwm2m.paths import Path
from .attributes import AttributeTable
from .lifecycle import State
from .messages import Code, Message
from .objects import RefusedError
from .options import SimOptions
from .profile import (
    CURRENT_TIME,
    DEFAULT_PMAX,
    DEFAULT_PMIN,
    DISABLE,
    DISABLE_TIMEOUT,
    ERROR_CODE,
    FACTORY_RESET,
    FIRMWARE_STATE,
    FIRMWARE_UPDATE,
    IP_ADDRESS,
    LIFETIME,
    PACKAGE,
    REBOOT,
    RESET_ERRORS,
    RESET_EXTREMES,
    UPDATE_TRIGGER,
    Profile,
)
from .registration import Registration
from .reporting import Reporter
from .reports import Reports
from .service import Service
from .statistics import Statistics
from .wire import MessageLayer

BOOT_S: Final = 1.5  # from the acknowledged reboot to the new Register
_DEFAULT_DISABLE_S: Final = 86_400
_DOWNLOADED: Final = 2


class Device:
    """A device of a fleet.

    `transmit` puts a datagram on the wire, `wall_offset_s` turns `now` into seconds since 1970 UTC,
    `entropy` is the source of message ids, tokens and jitter.
    """

    __slots__ = (
        "_attributes",
        "_disable_due",
        "_layer",
        "_reboot_due",
        "_reporter",
        "_service",
        "_statistics",
        "profile",
        "registration",
        "reports",
    )

    def __init__(
        self,
        options: SimOptions,
        index: int,
        transmit: Callable[[bytes], None],
        statistics: Statistics,
        *,
        entropy: Random,
        wall_offset_s: float,
    ) -> None:
        self.profile = Profile(options, index, wall_offset_s)
        self._statistics = statistics
        self._attributes = AttributeTable()
        self._reporter = Reporter(self._attributes)
        self._layer = MessageLayer(
            transmit, self._serve, self._reporter.cancel_by_message, entropy, statistics, options.transmission
        )
        self._service = Service(options, self.profile.tree, self._attributes, self._reporter, self)
        self.registration = Registration(options, self.profile, self._layer, self, statistics, entropy)
        self.reports = Reports(
            options, self.profile, self._layer, self.registration, self._service, self._reporter, statistics
        )
        self._reboot_due = math.inf
        self._disable_due = math.inf

    # For the driver

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def state(self) -> State:
        return self.registration.state

    def start(self, at: float) -> None:
        """Switch the device on at a time (monotonic seconds)."""
        self.profile.measure(at, Path.ROOT)
        self.registration.start(at)
        self.reports.start(at)

    def attached(self, address: str) -> None:
        """The network gave the device an address."""
        self.profile.tree.put(IP_ADDRESS, address)

    def receive(self, data: bytes, now: float) -> None:
        """A datagram of the server has come; a sleeping device does not hear it."""
        if self.state in (State.SLEEPING, State.OFF):
            self._statistics.unheard += 1
            return
        self.registration.stay_awake(now)
        self._layer.receive(data, now)
        # What an operation set off happens after its reply is out.
        self.handle_timer(now)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._layer.handle_timer(now)
        if now >= self._reboot_due:
            self._reboot(now)
        if now >= self._disable_due:
            self._disable(now)
        self.registration.handle_timer(now)
        self.reports.handle_timer(now)

    @property
    def deadline(self) -> float:
        """When `handle_timer` wants to be called; infinity: not before a datagram comes."""
        registration = self.registration
        soonest = min(registration.due, registration.sleep_due, self._reboot_due, self._disable_due)
        wire = self._layer.deadline
        return min(soonest, self.reports.deadline, math.inf if wire is None else wire)

    def stop(self, now: float) -> bool:
        """Deregister; False when there is nothing to wait for, else until the state is OFF."""
        if not self.registration.known:
            self.vanish()
            return False
        self.reports.lose_memory()
        self._reboot_due = self._disable_due = math.inf
        self.registration.deregister(now)
        return True

    def vanish(self) -> None:
        """Switch off without a word."""
        self.registration.switch_off()
        self._layer.forget_all()
        self.reports.lose_memory()
        self._reboot_due = self._disable_due = math.inf

    # What the registration brings about

    def began_anew(self) -> None:
        self.reports.began_anew()

    def accepted(self, now: float) -> None:
        self.reports.woke(now)

    # What the server's operations bring about

    def measure(self, path: Path, now: float) -> None:
        self.profile.measure(now, path)

    def wall_ms(self, now: float) -> int:
        return self.profile.wall_ms(now)

    def executed(self, path: Path, now: float) -> None:
        if path == UPDATE_TRIGGER:
            self.registration.trigger_update(now)
        elif path == DISABLE:
            self._disable_due = now
        elif path in (REBOOT, FACTORY_RESET):
            if path == FACTORY_RESET:
                self.profile.factory_reset()
            self._reboot_due = now + BOOT_S
        elif path == RESET_ERRORS:
            if self.profile.tree.put(ERROR_CODE, 0):
                self._reporter.changed(ERROR_CODE, 0)
        elif path == FIRMWARE_UPDATE:
            if self.profile.tree.get(FIRMWARE_STATE) != _DOWNLOADED:
                raise RefusedError(Code.METHOD_NOT_ALLOWED, "no firmware has been downloaded")
        else:
            assert path[2] == RESET_EXTREMES
            self.reports.tell(self.profile.reset_extremes(path[0]))

    def written(self, paths: Iterable[Path], now: float) -> None:
        tree = self.profile.tree
        for path in paths:
            if path == LIFETIME:
                self.registration.lifetime_changed(now)
            elif path in (DEFAULT_PMIN, DEFAULT_PMAX):
                self._adopt_periods()
            elif path == CURRENT_TIME:
                self.profile.set_clock(now)
            elif path == PACKAGE:
                tree.put(PACKAGE, b"")  # write only, and too large to keep a thousand times
            self.reports.tell((path,))

    def instances_changed(self, path: Path, now: float) -> None:
        self._reporter.instances_changed(path)
        if len(path) == 2:
            self.registration.links_changed(now)

    # Within

    def _serve(self, request: Message, now: float) -> Message:
        response = self._service.handle(request, now)
        self._statistics.requests_served += 1
        self._statistics.requests_refused += not response.is_success
        return response

    def _disable(self, now: float) -> None:
        """Execute 1/x/4: away for a while (LwM2M Core 1.1.1 appendix E.2, Disable Timeout)."""
        self._disable_due = math.inf
        if self.registration.known:
            timeout = self.profile.tree.get(DISABLE_TIMEOUT)
            self.reports.began_anew()
            self.registration.deregister(
                now, now + (timeout if isinstance(timeout, int) else _DEFAULT_DISABLE_S)
            )

    def _reboot(self, now: float) -> None:
        """What the server wrote is in flash and stays; attributes and observations are lost."""
        self.vanish()
        self._attributes.clear()
        self._adopt_periods()
        self.start(now)

    def _adopt_periods(self) -> None:
        """The Server object's default pmin and pmax hold where no attribute does."""
        tree, reporter = self.profile.tree, self._reporter
        least, greatest = tree.get(DEFAULT_PMIN), tree.get(DEFAULT_PMAX)
        reporter.default_pmin_s = float(least) if isinstance(least, int) else 0.0
        reporter.default_pmax_s = float(greatest) if isinstance(greatest, int) else 0.0
        reporter.attributes_changed()
