"""The Client Registration interface as one simulated device lives it, and its sleep.

LwM2M Core 1.1.1 section 6.2 (Register, Update, Deregister), 6.5 (Queue Mode). Follows the table in
`lifecycle.py`; never gives up: a device of ours is meant to be there when the server comes back.
"""

import math
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from ..errors import clean
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.links import format_links
from ..lwm2m.registration import DEFAULT_LIFETIME_S
from .blocks import Upload
from .discovery import registration_links
from .lifecycle import AWAKE, KNOWN, TRANSITIONS, State, Step, backoff_s
from .messages import Code, Message, code_text
from .options import SimOptions
from .profile import LIFETIME, Profile
from .statistics import Statistics
from .wire import MessageLayer, Outcome

_MAX_LOCATION: Final = 32  # Zephyr's bound for the id of a registration
_GONE: Final = frozenset({Outcome.TIMEOUT, Outcome.UNREACHABLE})

Ended = Callable[[Outcome, Message | None, float], None]


class Listener(Protocol):
    """Who wants to know how the registration goes."""

    def began_anew(self) -> None:
        """A Register is about to be sent: what the server asked for before is void."""

    def accepted(self, now: float) -> None:
        """The server accepted a Register or an Update: it listens."""

    def refused(self, now: float) -> None:
        """A Register failed; the next one is due later."""

    def left(self) -> None:
        """The Deregister is over."""

    def disconnect(self) -> bool:
        """A message stayed unanswered: let go of the secure session; False where there is none."""


class Registration:
    """One device's registration. `due` and `sleep_due` are when `handle_timer` has work."""

    __slots__ = (
        "_entropy",
        "_failures",
        "_layer",
        "_lifetime_changed",
        "_links_changed",
        "_listener",
        "_options",
        "_profile",
        "_statistics",
        "due",
        "location",
        "sleep_due",
        "state",
    )

    def __init__(
        self,
        options: SimOptions,
        profile: Profile,
        layer: MessageLayer,
        listener: Listener,
        statistics: Statistics,
        entropy: Random,
    ) -> None:
        self.state = State.OFF
        self.location: tuple[str, ...] = ()
        self.due = math.inf
        self.sleep_due = math.inf
        self._options = options
        self._profile = profile
        self._layer = layer
        self._listener = listener
        self._statistics = statistics
        self._entropy = entropy
        self._failures = 0
        self._lifetime_changed = False
        self._links_changed = False

    @property
    def awake(self) -> bool:
        """Whether reports can go out now."""
        return self.state in AWAKE

    @property
    def known(self) -> bool:
        """Whether the server knows the device now."""
        return self.state in KNOWN

    def start(self, at: float) -> None:
        """Register at a time (monotonic seconds)."""
        self.due = at

    def handle_timer(self, now: float) -> None:
        """Do what is due: register, update, fall asleep."""
        if now >= self.due:
            self.due = math.inf
            if self.state is State.OFF:
                self._register(Step.START, now)
            elif self.state is State.WAITING:
                self._register(Step.RETRY, now)
            elif self.state in (State.REGISTERED, State.SLEEPING):
                self._update(now)
            # In the other states what was asked for is under way.
        if now >= self.sleep_due:
            if self._layer.busy:
                self.stay_awake(now)
            else:
                self._step(Step.FALL_ASLEEP)

    def trigger_update(self, now: float) -> None:
        """Send an Update as soon as the reply at hand is out."""
        self.due = now

    def lifetime_changed(self, now: float) -> None:
        self._lifetime_changed = True
        self.due = now

    def links_changed(self, now: float) -> None:
        self._links_changed = True
        self.due = now

    def lost(self, now: float) -> None:
        """A report stayed unanswered, or the session is gone: begin anew, as Zephyr does.

        Over DTLS it is the session that is lost: an Update over a new one tells the server, which
        still knows the registration. One that waits for its turn already is that Update.
        """
        if not self.awake:
            return
        if not self._listener.disconnect():
            self._register(Step.LOST, now)
        elif self.state is State.REGISTERED:
            self.due = math.inf
            self._update(now)

    def stay_awake(self, now: float) -> None:
        """Queue Mode: the server was heard of, listen for a while from now on."""
        if self._options.queue_mode and self.state is State.REGISTERED:
            self.sleep_due = now + self._options.awake_s

    def deregister(self, now: float, restart_at: float = math.inf) -> None:
        """Leave, and register again at `restart_at`; only where `known`."""
        self._step(Step.DEREGISTER)
        self.due = math.inf

        def over(outcome: Outcome, response: Message | None, now: float) -> None:
            self._step(Step.DONE)
            self.due = restart_at
            self._listener.left()

        self._submit(Message(Code.DELETE, path=self.location), over, now)

    def switch_off(self) -> None:
        """Be gone without a word."""
        self._step(Step.SWITCH_OFF)
        self.due = math.inf
        self._failures = 0

    def _step(self, step: Step) -> None:
        before = self.known
        self.state = TRANSITIONS[self.state, step]
        self._statistics.registered += self.known - before
        self.sleep_due = math.inf

    def _register(self, step: Step, now: float) -> None:
        self._step(step)
        self.due = math.inf
        self._listener.began_anew()
        options = self._options
        query = [f"lwm2m={options.lwm2m_version}", f"ep={self._profile.name}", f"lt={self._lifetime_s}"]
        if options.queue_mode:
            query += ["b=UQ"] if options.lwm2m_version == "1.0" else ["b=U", "Q"]
        self._post(("rd",), query, self._register_ended, now)

    def _register_ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        location = () if response is None else response.location
        if (
            response is None
            or response.code != Code.CREATED
            # Zephyr takes two options and nothing else for a location.
            or len(location) != 2
            or not 0 < len(location[1].encode()) <= _MAX_LOCATION
        ):
            self._statistics.registration_failures += 1
            self._statistics.last_failure = _failure(outcome, response)
            self._step(Step.REFUSED)
            self.due = now + backoff_s(self._failures, self._entropy)
            self._failures += 1
            if outcome in _GONE:
                self._listener.disconnect()
            self._listener.refused(now)
            return
        self.location = location
        self._statistics.registrations += 1
        self._accepted(now)

    def _update(self, now: float) -> None:
        self._step(Step.DUE)
        query = [f"lt={self._lifetime_s}"] if self._lifetime_changed else []
        if self._links_changed:
            self._post(self.location, query, self._update_ended, now)
        else:
            self._lifetime_changed = False
            self._submit(Message(Code.POST, path=self.location, query=tuple(query)), self._update_ended, now)

    def _update_ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        if self.state is not State.UPDATING:
            return  # a Deregister waits behind it
        if response is None or not response.is_success:
            # 4.04 or any other error: the server does not know us, so we begin anew, at once.
            if outcome in _GONE:
                self._listener.disconnect()
            self._register(Step.REFUSED, now)
            return
        self._statistics.updates += 1
        self._accepted(now)

    def _accepted(self, now: float) -> None:
        self._step(Step.ACCEPTED)
        self._failures = 0
        self.due = now + self._lifetime_s * self._entropy.uniform(0.75, 0.85)
        if self._options.queue_mode:
            self.due = min(self.due, now + self._options.wake_period_s)
        if self._lifetime_changed or self._links_changed:
            self.due = now  # changed while the request was under way
        self.stay_awake(now)
        self._listener.accepted(now)

    def _post(self, path: tuple[str, ...], query: list[str], ended: Ended, now: float) -> None:
        """A Register, or an Update with the objects."""
        self._lifetime_changed = self._links_changed = False
        version, preferred = self._options.lwm2m_version, self._options.preferred_format
        links = format_links(registration_links(self._profile.tree, version, preferred))
        request = Message(Code.POST, links, path=path, query=tuple(query), content_format=ContentFormat.LINK)
        self._submit(request, ended, now)

    def _submit(self, request: Message, ended: Ended, now: float) -> None:
        upload = Upload(self._layer, request, self._options.block_size, ended)
        self._layer.submit(_WhileIn(self, upload), now, urgent=True)

    @property
    def _lifetime_s(self) -> int:
        lifetime = self._profile.tree.get(self._profile.of_server(LIFETIME))
        # Zephyr raises one that is too short; without any the account was bootstrapped badly.
        return max(1, lifetime) if isinstance(lifetime, int) else DEFAULT_LIFETIME_S


def _failure(outcome: Outcome, response: Message | None) -> str:
    """Why a Register failed, in a few words: `4.12 version not supported`."""
    if response is None:
        return outcome.value
    if response.is_success:
        return f"{code_text(response.code)} without a location of two parts"
    return f"{code_text(response.code)} {clean(response.payload.decode('utf-8', 'replace'))}".rstrip()


class _WhileIn:
    """A request that is dropped if the registration has gone on before its turn came."""

    __slots__ = ("_registration", "_state", "_upload")

    def __init__(self, registration: Registration, upload: Upload) -> None:
        self._registration = registration
        self._state = registration.state
        self._upload = upload

    def build(self, now: float) -> Message | None:
        return self._upload.build(now) if self._registration.state is self._state else None

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        self._upload.ended(outcome, response, now)
