"""Observations of one device: what changed, whether that matters, and when to say so.

LwM2M Core 1.1.1 section 5.1.2 (pmin, pmax, gt, lt, st) and 6.4 (Information Reporting); RFC 7641
(Observe). Decides only; the message is made and sent by `device.py`. `now` is an argument.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..lwm2m.paths import Path
from ..lwm2m.values import Record, Value
from .attributes import Attributes, AttributeTable

MAX_OBSERVATIONS: Final = 64
_SEQUENCE_NUMBERS: Final = 1 << 24  # RFC 7641 3.4
# RFC 7641 4.5: at least one notification in 24 hours is confirmable, so that a client that has gone
# away without a word is found out.
CONFIRM_AT_LEAST_S: Final = 86_400.0


class Observation:
    """One observation the server asked for: of a path, or (composite) of several."""

    __slots__ = (
        "accept",
        "backlog",
        "composite",
        "confirmed_at",
        "key",
        "message_id",
        "own",
        "paths",
        "pending",
        "queued",
        "reported",
        "sent_at",
        "sequence",
        "timing",
        "token",
    )

    def __init__(
        self,
        token: bytes,
        paths: Sequence[Path],
        accept: int | None,
        composite: bool = False,
        own: Attributes | None = None,
        key: tuple[object, ...] = (),
    ) -> None:
        self.token = token
        self.paths = tuple(paths)
        self.accept = accept
        self.composite = composite
        self.own: Attributes = own or {}  # attributes given with the Observe itself (1.2)
        self.key = key  # finds later blocks of a notification
        self.backlog: list[Record] = []  # readings of the time asleep, with their times
        self.reported: dict[Path, Value] = {}
        self.sequence = 0
        self.sent_at = 0.0
        self.confirmed_at = 0.0
        self.pending = False  # something worth a notification has happened
        self.queued = False  # a notification is in flight or waits for its turn
        self.message_id: int | None = None  # of the last unconfirmed notification
        self.timing: tuple[float, float] | None = None  # (pmin, pmax), pmax infinite if there is none

    def next_sequence(self) -> int:
        self.sequence = (self.sequence + 1) % _SEQUENCE_NUMBERS
        return self.sequence

    def sent(self, records: Iterable[Record], now: float) -> None:
        """Remember what the server has been told now."""
        self.reported = {record.path: record.value for record in records}
        self.sent_at = now
        self.pending = False


class Reporter:
    """All observations of a device, at most MAX_OBSERVATIONS, one for a list of paths."""

    __slots__ = ("_attributes", "_by_token", "_watchers", "default_pmax_s", "default_pmin_s")

    def __init__(self, attributes: AttributeTable) -> None:
        self._attributes = attributes
        self._by_token: dict[bytes, Observation] = {}
        self._watchers: dict[Path, tuple[Observation, ...]] = {}
        # The Server object's own defaults, /1/x/2 and /1/x/3.
        self.default_pmin_s = 0.0
        self.default_pmax_s = 0.0

    def __len__(self) -> int:
        return len(self._by_token)

    @property
    def observations(self) -> tuple[Observation, ...]:
        return tuple(self._by_token.values())

    def add(self, observation: Observation) -> bool:
        """Begin to report; the same paths observed again replace the token, as Zephyr does.

        False when there is no room for one more.
        """
        for known in list(self._by_token.values()):
            if known.paths == observation.paths or known.token == observation.token:
                del self._by_token[known.token]
        if len(self._by_token) >= MAX_OBSERVATIONS:
            return False
        self._by_token[observation.token] = observation
        self._watchers.clear()
        return True

    def live(self, observation: Observation) -> bool:
        """Whether this very observation is still asked for."""
        return self._by_token.get(observation.token) is observation

    def cancel(self, token: bytes) -> None:
        """Stop reporting under a token; an unknown one is nothing to speak of."""
        if self._by_token.pop(token, None) is not None:
            self._watchers.clear()

    def cancel_by_message(self, message_id: int) -> None:
        """The peer rejected an unconfirmed notification: RFC 7641 4.5, the observation ends."""
        for observation in self.observations:
            if observation.message_id == message_id:
                self.cancel(observation.token)

    def clear(self) -> None:
        self._by_token.clear()
        self._watchers.clear()

    def attributes_changed(self) -> None:
        """Attributes or the Server object's periods were written: reckon anew."""
        for observation in self._by_token.values():
            observation.timing = None

    def watchers(self, path: Path) -> tuple[Observation, ...]:
        """The observations that cover a resource or resource instance."""
        found = self._watchers.get(path)
        if found is None:
            found = tuple(o for o in self._by_token.values() if any(p.covers(path) for p in o.paths))
            self._watchers[path] = found
        return found

    def changed(self, path: Path, value: Value) -> None:
        """A resource has a new value: mark the observations it matters to."""
        for observation in self.watchers(path):
            if not observation.pending:
                observation.pending = self._matters(observation, path, value)

    def instances_changed(self, path: Path) -> None:
        """Something below `path` came to be or went away."""
        self._watchers.clear()
        for observation in self._by_token.values():
            if any(p.covers(path) or path.covers(p) for p in observation.paths):
                observation.pending = True

    def due_at(self, observation: Observation) -> float:
        """When to notify next as things stand; infinity: not before something changes."""
        if observation.queued:
            return math.inf
        pmin, pmax = observation.timing or self._timing(observation)
        return observation.sent_at + (pmin if observation.pending else pmax)

    def due(self, now: float) -> list[Observation]:
        """The observations to notify now."""
        return [o for o in self._by_token.values() if self.due_at(o) <= now]

    @property
    def deadline(self) -> float:
        """When `due` will have something; infinity if nothing is foreseen."""
        return min(map(self.due_at, self._by_token.values()), default=math.inf)

    def confirmable(self, observation: Observation, usually: bool, now: float) -> bool:
        """Whether the next notification is a confirmable one (1.2: `con` has a say)."""
        if now - observation.confirmed_at >= CONFIRM_AT_LEAST_S:
            return True
        wish = observation.own.get("con")
        if wish is None:
            wish = self._attributes.effective(observation.paths[0]).get("con")
        return usually if wish is None else bool(wish)

    def _timing(self, observation: Observation) -> tuple[float, float]:
        pmin = pmax = 0.0
        for path in observation.paths:
            attributes: Mapping[str, float] = {**self._attributes.effective(path), **observation.own}
            pmin = max(pmin, attributes.get("pmin", self.default_pmin_s))
            longest = attributes.get("pmax", self.default_pmax_s)
            if longest:
                pmax = min(pmax, longest) if pmax else longest
        # LwM2M Core 1.1.1 5.1.2: a pmax below pmin is ignored.
        timing = (pmin, pmax if pmax and pmax >= pmin else math.inf)
        observation.timing = timing
        return timing

    def _matters(self, observation: Observation, path: Path, value: Value) -> bool:
        if path not in observation.reported:
            return True
        last = observation.reported[path]
        if value == last:
            return False
        limits = {**self._attributes.effective(path), **observation.own}
        if limits.keys().isdisjoint(("gt", "lt", "st", "edge")):
            return True
        if isinstance(value, bool):
            return "edge" not in limits or bool(limits["edge"]) is value
        if not isinstance(value, (int, float)) or not isinstance(last, (int, float)):
            return True
        above, below, step = limits.get("gt"), limits.get("lt"), limits.get("st")
        return (
            (above is not None and (last > above) is not (value > above))
            or (below is not None and (last < below) is not (value < below))
            or (step is not None and abs(value - last) >= step)
        )
