"""One simulated device, without socket or clock: its parts put together, its orders carried out.

A driver hands in datagrams and time (`receive`, `handle_timer`) and is handed datagrams to put on
the wire; `deadline` says when the device wants the time again. `now` is monotonic seconds.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final, Protocol

from ..lwm2m.firmware import OBJECTS, UpdateResult
from ..lwm2m.firmware import Protocol as Fetched
from ..lwm2m.paths import Path
from ..lwm2m.values import Record
from .accounts import Account, bootstrap_account, bootstrap_instance, security_values, server_account
from .attributes import AttributeTable
from .bootstrap import Bootstrap, Phase
from .bootstrap_service import BootstrapService
from .channel import Channel, DtlsChannel, PlainChannel, Sessions
from .credentials import Credential
from .download import CoapDownload, Download, Ended, Line, Means, Place
from .firmware import Firmware
from .lifecycle import State
from .messages import Code, Message
from .objects import RefusedError
from .options import SimOptions
from .package import Intake
from .profile import (
    BOOTSTRAP_TRIGGER,
    CURRENT_TIME,
    DEFAULT_PMAX,
    DEFAULT_PMIN,
    DISABLE,
    DISABLE_TIMEOUT,
    ERROR_CODE,
    FACTORY_RESET,
    IP_ADDRESS,
    LIFETIME,
    REBOOT,
    RESET_ERRORS,
    RESET_EXTREMES,
    SERVER,
    UPDATE_TRIGGER,
    Profile,
)
from .registration import Registration
from .reporting import Reporter
from .reports import Reports
from .service import Service
from .statistics import Statistics
from .web import WebDownload
from .wire import MessageLayer

BOOT_S: Final = 1.5  # from the acknowledged reboot to the new Register
_DEFAULT_DISABLE_S: Final = 86_400


class Network(Protocol):
    """What carries a device's datagrams."""

    def transmit(self, data: bytes) -> None:
        """Put a datagram on the wire."""

    def connect(self, host: str, port: int) -> bool:
        """Speak to this server from now on, from a new port; False while that cannot be."""

    def open_line(self, host: str, port: int, receive: Callable[[bytes, float], None]) -> Line | None:
        """A socket beside that; None while it cannot be."""

    def beside(self, work: Callable[[], UpdateResult | None], done: Ended) -> None:
        """Do something that waits for the network, and be told when it is over."""


class Device:
    """A device of a fleet.

    `sessions` are the fleet's, `wall_offset_s` turns `now` into seconds since 1970 UTC, `entropy` is
    the source of message ids, tokens and jitter. Raises UsageError("credential_unusable").
    """

    __slots__ = (
        "_account",
        "_attached",
        "_attributes",
        "_bootstrap_service",
        "_channel",
        "_disable_due",
        "_entropy",
        "_layer",
        "_network",
        "_options",
        "_reboot_due",
        "_reporter",
        "_service",
        "_sessions",
        "_statistics",
        "_unreachable_due",
        "bootstrap",
        "firmware",
        "profile",
        "registration",
        "reports",
    )

    def __init__(
        self,
        options: SimOptions,
        index: int,
        network: Network,
        statistics: Statistics,
        *,
        sessions: Sessions,
        entropy: Random,
        wall_offset_s: float,
    ) -> None:
        name = options.name(index)
        credential = None if options.credentials is None else options.credentials.of(name)
        first = security_values(options.host, options.port, credential, options.bootstrap_hold_s)
        self.profile = Profile(options, index, wall_offset_s, first if options.bootstrap else None)
        self._options = options
        self._network = network
        self._sessions = sessions
        self._statistics = statistics
        self._entropy = entropy
        self._account = Account(options.host, options.port, credential)
        self._channel = self._channel_to(self._account)
        self._attached = True
        self._attributes = AttributeTable()
        self._reporter = Reporter(self._attributes)
        self._layer = MessageLayer(
            self._transmit,
            self._serve,
            self._reporter.cancel_by_message,
            entropy,
            statistics,
            options.transmission,
            self._ready,
        )
        self.firmware = Firmware(options, index, self.profile, self, statistics)
        self._service = Service(options, self.profile.tree, self._attributes, self._reporter, self)
        self.registration = Registration(options, self.profile, self._layer, self, statistics, entropy)
        self.bootstrap = Bootstrap(options, self.profile, self._layer, self, statistics, entropy)
        self._bootstrap_service = BootstrapService(options, self.profile.tree, self.bootstrap)
        self.reports = Reports(
            options, self.profile, self._layer, self.registration, self._service, self._reporter, statistics
        )
        self._reboot_due = math.inf
        self._disable_due = math.inf
        self._unreachable_due = math.inf

    # For the driver

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def state(self) -> State:
        return self.registration.state

    @property
    def busy(self) -> bool:
        """Whether something is under way that a new port would disturb."""
        return self._layer.busy or self._channel.busy or self.bootstrap.phase is not Phase.IDLE

    def start(self, at: float) -> None:
        """Switch the device on at a time (monotonic seconds)."""
        self.profile.measure(at, Path.ROOT)
        self.reports.start(at)
        account = server_account(self.profile.tree) if self._options.bootstrap else self._account
        if account is None:
            self.bootstrap.begin(at + self._options.bootstrap_hold_s)
            return
        if account is not self._account:
            self.join(account)
        self.registration.start(at)

    def attached(self, address: str) -> None:
        """The network gave the device an address."""
        self.profile.tree.put(IP_ADDRESS, address)

    def receive(self, data: bytes, now: float) -> None:
        """A datagram of the server has come; a sleeping device does not hear it."""
        off = self.state is State.OFF and self.bootstrap.phase is Phase.IDLE
        if off or self.state is State.SLEEPING:
            self._statistics.unheard += 1
            return
        self.registration.stay_awake(now)
        self._channel.receive(data, now)
        # What an operation set off happens after its reply is out.
        self.handle_timer(now)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        self._layer.handle_timer(now)
        if now >= self._reboot_due:
            self._boot(now)
        if now >= self._disable_due:
            self._disable(now)
        self.bootstrap.handle_timer(now)
        self.firmware.handle_timer(now)
        self.registration.handle_timer(now)
        self.reports.handle_timer(now)
        if now >= self._unreachable_due:
            self._unreachable_due = math.inf
            self._layer.give_up(now)
        # The last, for all of the above may want a session.
        self._channel.handle_timer(now)

    @property
    def deadline(self) -> float:
        """When `handle_timer` wants to be called; infinity: not before a datagram comes."""
        registration, wire = self.registration, self._layer.deadline
        return min(
            registration.due,
            registration.sleep_due,
            self._reboot_due,
            self._disable_due,
            self._unreachable_due,
            self.bootstrap.due,
            self._channel.deadline,
            self.firmware.deadline,
            self.reports.deadline,
            math.inf if wire is None else wire,
        )

    def stop(self, now: float) -> bool:
        """Deregister; False when there is nothing to wait for, else until the state is OFF."""
        if not self.registration.known:
            self._channel.close()
            self.vanish()
            return False
        self.bootstrap.stop()
        self.firmware.abort()
        self.reports.lose_memory()
        self._reboot_due = self._disable_due = math.inf
        self.registration.deregister(now)
        return True

    def vanish(self) -> None:
        """Switch off without a word."""
        self.registration.switch_off()
        self.bootstrap.stop()
        self.firmware.abort()
        self._layer.forget_all()
        self._channel.drop(resumable=False)
        self.reports.lose_memory()
        self._reboot_due = self._disable_due = self._unreachable_due = math.inf

    # What the channel brings about

    def received(self, message: bytes, now: float) -> None:
        self._layer.receive(message, now)

    def opened(self, now: float) -> None:
        self._layer.resume(now)

    def failed(self, now: float) -> None:
        self._layer.give_up(now)

    def closed(self, now: float) -> None:
        if self._layer.in_flight:
            self._layer.give_up(now)
        elif self.bootstrap.serving:
            self.bootstrap.interrupted(now)
        else:
            self.registration.lost(now)

    # What a bootstrap brings about

    def leave(self) -> None:
        self.registration.switch_off()
        self._layer.forget_all()
        self._unreachable_due = math.inf

    def join(self, account: Account) -> None:
        self._layer.forget_all()
        self._channel.close()
        self._account = account
        self.profile.server = account.server
        self._channel = self._channel_to(account)
        self._attached = False

    def register(self, at: float) -> None:
        self.registration.start(at)

    # What the registration brings about

    def began_anew(self) -> None:
        self.reports.began_anew()

    def accepted(self, now: float) -> None:
        self.bootstrap.accepted()
        self.reports.woke(now)

    def refused(self, now: float) -> None:
        if self._options.bootstrap:
            self.bootstrap.refused(now)

    def left(self) -> None:
        self._channel.close()

    def disconnect(self) -> bool:
        self._channel.drop()
        return self._channel.secure

    # What the server's operations bring about

    def measure(self, path: Path, now: float) -> None:
        self.profile.measure(now, path)

    def wall_ms(self, now: float) -> int:
        return self.profile.wall_ms(now)

    def executed(self, path: Path, arguments: str, now: float) -> None:
        if path[0] in OBJECTS:
            self.firmware.execute(path, arguments, now)
        elif path[0] == SERVER:
            self._executed_server(path[2], now)
        elif path in (REBOOT, FACTORY_RESET):
            if path == FACTORY_RESET:
                self.firmware.abort()
                self.profile.factory_reset()
            self._reboot_due = now + BOOT_S
        elif path == RESET_ERRORS:
            if self.profile.tree.put(ERROR_CODE, 0):
                self._reporter.changed(ERROR_CODE, 0)
        else:
            assert path[2] == RESET_EXTREMES
            self.reports.tell(self.profile.reset_extremes(path[0]))

    def _executed_server(self, resource: int, now: float) -> None:
        if resource == UPDATE_TRIGGER:
            self.registration.trigger_update(now)
        elif resource == DISABLE:
            self._disable_due = now
        else:
            assert resource == BOOTSTRAP_TRIGGER
            if bootstrap_instance(self.profile.tree) is None:
                raise RefusedError(Code.METHOD_NOT_ALLOWED, "no account of a Bootstrap-Server")
            self.bootstrap.begin(now)

    def block(self, request: Message, path: Path, now: float) -> Message | None:
        return self.firmware.block(request, path, now)

    def require(self, records: Sequence[Record]) -> None:
        self.firmware.require(records)

    def written(self, paths: Iterable[Path], now: float) -> None:
        of_server = self.profile.of_server
        for path in paths:
            if path == of_server(LIFETIME):
                self.registration.lifetime_changed(now)
            elif path in (of_server(DEFAULT_PMIN), of_server(DEFAULT_PMAX)):
                self._adopt_periods()
            elif path == CURRENT_TIME:
                self.profile.set_clock(now)
            elif path[0] in OBJECTS:
                self.firmware.written(path, now)
            self.reports.tell((path,))

    def instances_changed(self, path: Path, now: float) -> None:
        self._reporter.instances_changed(path)
        if len(path) == 2:
            self.registration.links_changed(now)

    # What the firmware brings about

    @property
    def secure(self) -> bool:
        return self._account.credential is not None

    def told(self, paths: Iterable[Path], now: float) -> None:
        self.reports.tell(paths)
        if self.state is State.SLEEPING and self.reports.reporter.deadline <= now:
            self.registration.trigger_update(now)

    def fetch(self, place: Place, intake: Intake, ended: Ended, now: float) -> Download | None:
        if place.protocol in (Fetched.HTTP, Fetched.HTTPS):
            download = WebDownload(self._options.firmware, place, intake)
            self._network.beside(download.run, ended)
            return download
        credential = self._download_credential() if place.protocol is Fetched.COAPS else None
        if credential is None and place.protocol is Fetched.COAPS:
            return None
        means = Means(self._options, self._network, self._sessions, self._statistics, self._entropy)
        return CoapDownload(means, place, credential, intake, ended, now)

    def restart(self, at: float) -> None:
        self._boot(at)
        if self._options.firmware.new_port:
            self._attached = False

    # Within

    def _download_credential(self) -> Credential | None:
        if self._options.firmware.first_credential:
            try:
                first = bootstrap_account(self.profile.tree)
            except RefusedError:
                first = None
            if first is not None:
                return first.credential
        return self._account.credential

    def _channel_to(self, account: Account) -> Channel:
        if account.credential is None:
            return PlainChannel(self._network.transmit, self)
        return DtlsChannel(self._network.transmit, account.credential, self._sessions, self, self._statistics)

    def _transmit(self, message: bytes) -> None:
        self._channel.send(message)

    def _ready(self, now: float) -> bool:
        if not self._attached:
            self._attached = self._network.connect(self._account.host, self._account.port)
            if not self._attached:
                self._unreachable_due = now
                return False
        return self._channel.ready(now)

    def _serve(self, request: Message, now: float) -> Message:
        service = self._bootstrap_service if self.bootstrap.serving else self._service
        response = service.handle(request, now)
        self._statistics.requests_served += 1
        self._statistics.requests_refused += not response.is_success
        return response

    def _disable(self, now: float) -> None:
        """Execute 1/x/4: away for a while (LwM2M Core 1.1.1 appendix E.2, Disable Timeout)."""
        self._disable_due = math.inf
        if self.registration.known:
            timeout = self.profile.tree.get(self.profile.of_server(DISABLE_TIMEOUT))
            self.reports.began_anew()
            self.registration.deregister(
                now, now + (timeout if isinstance(timeout, int) else _DEFAULT_DISABLE_S)
            )

    def _boot(self, at: float) -> None:
        """What the server wrote is in flash and stays; attributes and observations are lost."""
        self.vanish()
        self.firmware.booted()
        self._attributes.clear()
        self._adopt_periods()
        self.start(at)

    def _adopt_periods(self) -> None:
        """The Server object's default pmin and pmax hold where no attribute does."""
        tree, reporter, of_server = self.profile.tree, self._reporter, self.profile.of_server
        least, greatest = tree.get(of_server(DEFAULT_PMIN)), tree.get(of_server(DEFAULT_PMAX))
        reporter.default_pmin_s = float(least) if isinstance(least, int) else 0.0
        reporter.default_pmax_s = float(greatest) if isinstance(greatest, int) else 0.0
        reporter.attributes_changed()
