"""How one simulated device tells what it measures: notifications and Sends, stored in its sleep.

LwM2M Core 1.1.1 section 6.4 (Information Reporting), 6.4.4 (Send), 6.5 (Queue Mode). When an
observation is due is decided in `reporting.py`; here samples are taken, and messages made of them.
"""

import math
from collections import deque
from collections.abc import Iterable
from typing import Final

from ..lwm2m.codecs import encode
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.paths import Path
from ..lwm2m.values import Record
from .blocks import Upload
from .messages import Code, Message
from .objects import RefusedError
from .options import Reporting, SimOptions
from .profile import MUTE_SEND, STORE_NOTIFICATIONS, Profile
from .registration import Registration
from .reporting import Observation, Reporter
from .service import SENML, Service
from .statistics import Statistics
from .wire import MessageLayer, Outcome

MAX_STORED: Final = 256  # readings kept while they cannot be told; the oldest give way


class Reports:
    """The reports of one device. `due` is when the next sample is to be taken."""

    __slots__ = (
        "_layer",
        "_options",
        "_profile",
        "_registration",
        "_send_paths",
        "_send_queued",
        "_service",
        "_statistics",
        "_unnotified",
        "_unsent",
        "due",
        "reporter",
    )

    def __init__(
        self,
        options: SimOptions,
        profile: Profile,
        layer: MessageLayer,
        registration: Registration,
        service: Service,
        reporter: Reporter,
        statistics: Statistics,
    ) -> None:
        self.reporter = reporter
        self.due = math.inf
        self._options = options
        self._profile = profile
        self._layer = layer
        self._registration = registration
        self._service = service
        self._statistics = statistics
        self._send_paths = tuple(map(Path.parse, options.send_paths))
        self._send_queued = False
        self._unsent: deque[Record] = deque(maxlen=MAX_STORED)
        self._unnotified: deque[Record] = deque(maxlen=MAX_STORED)

    def start(self, at: float) -> None:
        """Begin to sample within a period from `at`."""
        self.due = at + self._profile.phase * self._options.sample_period_s

    def handle_timer(self, now: float) -> None:
        """Take a sample when it is due, and notify what is due."""
        if now >= self.due:
            self._sample(now)
        if self._registration.awake:
            for observation in self.reporter.due(now):
                self._notify(observation, now)

    @property
    def deadline(self) -> float:
        """When `handle_timer` has work."""
        return min(self.due, self.reporter.deadline) if self._registration.awake else self.due

    def tell(self, paths: Iterable[Path]) -> None:
        """Resources may have new values: whoever observes them hears of it."""
        for path in paths:
            value = self._profile.tree.get(path)
            if value is not None:
                self.reporter.changed(path, value)

    def began_anew(self) -> None:
        """A new registration ends all observations (LwM2M Core 1.1.1 6.4)."""
        self.reporter.clear()
        self._unnotified.clear()

    def woke(self, now: float) -> None:
        """The server listens: what was stored can be told."""
        self._hand_out_stored()
        self._send(now)

    def lose_memory(self) -> None:
        """What a reboot does."""
        self.began_anew()
        self._unsent.clear()
        self._send_queued = False
        self.due = math.inf

    def _sample(self, now: float) -> None:
        self.due += self._options.sample_period_s
        if self.due <= now:  # overrun: there is no use in catching up
            self.due = now + self._options.sample_period_s
        if self._options.reporting is not Reporting.SEND:
            measured = self._profile.measure_watched(now, self.reporter.watchers)
            if self._options.queue_mode:
                self._store(measured, now)
            else:
                self.tell(measured)
        if self._options.reporting is not Reporting.NOTIFY:
            self._sample_for_send(now)

    # Notifications

    def _store(self, measured: Iterable[Path], now: float) -> None:
        """Keep readings for the next wake: all of them or (1/x/6 false) the last sample only."""
        tree, time_ms = self._profile.tree, self._profile.wall_ms(now)
        if tree.get(self._profile.of_server(STORE_NOTIFICATIONS)) is False:
            self._unnotified.clear()
        for path in measured:
            value, data_type = tree.get(path), tree.type_of(path)
            if value is not None and data_type is not None and self.reporter.watchers(path):
                self._unnotified.append(Record(path, value, data_type, time_ms))

    def _hand_out_stored(self) -> None:
        stored = tuple(self._unnotified)
        self._unnotified.clear()
        for record in stored:
            self.reporter.changed(record.path, record.value)
        for record in stored:
            for observation in self.reporter.watchers(record.path):
                if observation.pending:
                    observation.backlog.append(record)

    def _notify(self, observation: Observation, now: float) -> None:
        if self.reporter.confirmable(observation, self._options.confirmable, now):
            observation.queued = True
            self._layer.submit(_Notification(self, observation), now)
            return
        message = self.build(observation, now)
        if message is not None:
            observation.message_id = self._layer.send_unconfirmed(message)
            self._statistics.notifications_unconfirmed += 1

    def build(self, observation: Observation, now: float) -> Message | None:
        """The notification of an observation, None when nobody asks for it any more."""
        if not self.reporter.live(observation):
            return None
        backlog, observation.backlog = observation.backlog, []
        self._statistics.notifications_sent += 1
        try:
            return self._service.notification(observation, backlog, now)
        except RefusedError as refused:
            # RFC 7641 4.2: an error notification, and the observation is over.
            self.reporter.cancel(observation.token)
            return Message(refused.code, token=observation.token)

    def ended(self, observation: Observation, outcome: Outcome, now: float) -> None:
        """A confirmable notification was acknowledged, rejected or lost."""
        observation.queued = False
        if outcome is Outcome.ACKNOWLEDGED:
            self._statistics.notifications_acknowledged += 1
            observation.confirmed_at = now
        elif outcome in (Outcome.TIMEOUT, Outcome.UNREACHABLE):
            self._registration.lost(now)
        elif self.reporter.live(observation):
            # RFC 7641 3.6: rejected, the server does not want it any more.
            self.reporter.cancel(observation.token)

    # Sends

    def _sample_for_send(self, now: float) -> None:
        time_ms = self._profile.wall_ms(now)
        for path in self._send_paths:
            self._profile.measure(now, path)
            try:
                records = self._profile.tree.read(path)
            except RefusedError:
                continue  # not every device has every resource
            self._unsent.extend(Record(r.path, r.value, r.data_type, time_ms) for r in records)
        if not self._options.queue_mode:
            self._send(now)

    def _send(self, now: float) -> None:
        if self._unsent and self._registration.awake and not self._send_queued:
            self._send_queued = True
            self._layer.submit(_Send(self, self._layer, self._options.block_size), now)

    def pack(self, now: float) -> tuple[tuple[Record, ...], Message] | None:
        """All readings that wait, as one Send; None when there are none or they may not go."""
        records = tuple(self._unsent)
        muted = self._profile.tree.get(self._profile.of_server(MUTE_SEND)) is True
        self._send_queued = bool(records) and not muted and self._registration.awake
        if not self._send_queued:
            return None
        self._unsent.clear()
        preferred = self._options.preferred_format
        chosen = preferred if preferred in SENML else ContentFormat.SENML_CBOR
        # Readings of one moment, the present one, need no time of their own.
        first, present = records[0].time_ms, self._profile.wall_ms(now)
        told = records
        if records[-1].time_ms == first and first is not None and present - first < 1000:
            told = tuple(Record(r.path, r.value, r.data_type) for r in records)
        self._statistics.sends += 1
        payload = encode(chosen, told, base=Path.ROOT)
        return records, Message(Code.POST, payload, path=("dp",), content_format=chosen)

    def send_ended(
        self, records: Iterable[Record], outcome: Outcome, response: Message | None, now: float
    ) -> None:
        """A Send was answered, rejected or lost."""
        self._send_queued = False
        if response is not None:
            # An error is an answer too: the readings are not offered again.
            self._statistics.sends_acknowledged += response.is_success
            return
        later = tuple(self._unsent)
        self._unsent.clear()
        self._unsent.extend((*records, *later))
        if outcome in (Outcome.TIMEOUT, Outcome.UNREACHABLE):
            self._registration.lost(now)


class _Notification:
    """The next notification of an observation, made when its turn comes."""

    __slots__ = ("_observation", "_reports")

    def __init__(self, reports: Reports, observation: Observation) -> None:
        self._reports = reports
        self._observation = observation

    def build(self, now: float) -> Message | None:
        return self._reports.build(self._observation, now)

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        self._reports.ended(self._observation, outcome, now)


class _Send:
    """A Send of whatever waits when its turn comes."""

    __slots__ = ("_block_size", "_layer", "_records", "_reports", "_upload")

    def __init__(self, reports: Reports, layer: MessageLayer, block_size: int) -> None:
        self._reports = reports
        self._layer = layer
        self._block_size = block_size
        self._records: tuple[Record, ...] = ()
        self._upload: Upload | None = None

    def build(self, now: float) -> Message | None:
        packed = self._reports.pack(now)
        if packed is None:
            return None
        self._records, request = packed
        self._upload = Upload(self._layer, request, self._block_size, self._sent)
        return self._upload.build(now)

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        # The upload knows us: let go of it, or every Send is left to the garbage collector.
        upload, self._upload = self._upload, None
        assert upload is not None
        upload.ended(outcome, response, now)

    def _sent(self, outcome: Outcome, response: Message | None, now: float) -> None:
        self._reports.send_ended(self._records, outcome, response, now)
