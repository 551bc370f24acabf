"""The Bootstrap interface as one simulated device lives it: asking, being written to, the new account.

LwM2M Core 1.1.1 section 6.1 (Bootstrap Interface), Transport 1.1.1 section 6.4.2. A bootstrap is all or
nothing: what the server wrote holds once a Register by it was accepted; until then the accounts as they
were are kept, and come back when the server falls silent or what it gave does not work.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from random import Random
from typing import Final, Protocol

from ..errors import clean
from .accounts import Account, bootstrap_account, server_account
from .lifecycle import backoff_s
from .messages import Code, Message, code_text
from .objects import Kept, RefusedError
from .options import SimOptions
from .profile import Profile
from .statistics import Statistics
from .wire import MessageLayer, Outcome

BOOTSTRAP_S: Final = 247.0  # in which the whole of it must be over, as in Zephyr
SETTLE_S: Final = 1.0  # from Bootstrap-Finish to Register, as in Zephyr
MAX_PROOFS: Final = 3  # attempts to register by a new account
# Registers refused in a row after which a device asks its Bootstrap-Server for help (6.1.1).
MAX_REFUSALS: Final = 5


class Phase(StrEnum):
    IDLE = "idle"
    HOLDING = "holding"  # the Client Hold Off Time, or the wait for the next attempt
    REQUESTING = "requesting"  # the Bootstrap-Request is under way
    RECEIVING = "receiving"  # the Bootstrap-Server writes
    FINISHING = "finishing"  # all was written; in a moment it holds
    PROVING = "proving"  # registers by the new account; the old one is kept


class Move(StrEnum):
    BEGIN = "begin"
    DUE = "due"
    ACCEPTED = "accepted"
    FINISH = "finish"
    CONNECT = "connect"
    PROVEN = "proven"  # the new account works
    AGAIN = "again"  # failed, and there is no account to go back to
    RETURN = "return"  # failed: back to the account from before
    STOP = "stop"


_P = Phase
MOVES: Final[Mapping[tuple[Phase, Move], Phase]] = {
    (_P.IDLE, Move.BEGIN): _P.HOLDING,
    (_P.HOLDING, Move.BEGIN): _P.HOLDING,
    (_P.HOLDING, Move.DUE): _P.REQUESTING,
    (_P.REQUESTING, Move.ACCEPTED): _P.RECEIVING,
    # The answer to the request may be lost, or come last.
    (_P.REQUESTING, Move.FINISH): _P.FINISHING,
    (_P.RECEIVING, Move.FINISH): _P.FINISHING,
    (_P.FINISHING, Move.CONNECT): _P.PROVING,
    (_P.PROVING, Move.PROVEN): _P.IDLE,
    **{(phase, Move.AGAIN): _P.HOLDING for phase in (_P.REQUESTING, _P.RECEIVING, _P.PROVING)},
    **{(phase, Move.RETURN): _P.IDLE for phase in (_P.REQUESTING, _P.RECEIVING, _P.PROVING)},
    **{(phase, Move.STOP): _P.IDLE for phase in Phase},
}
# The Bootstrap-Server may read and write in these, and nobody else may do anything.
SERVING: Final = frozenset({_P.REQUESTING, _P.RECEIVING})


class Host(Protocol):
    """The device that is bootstrapped."""

    def leave(self) -> None:
        """Be registered no more, without a word."""

    def join(self, account: Account) -> None:
        """Speak to this server from now on."""

    def register(self, at: float) -> None:
        """Register at a time (monotonic seconds)."""


class Bootstrap:
    """One device's bootstraps. `due` is when `handle_timer` has work."""

    __slots__ = (
        "_account",
        "_before",
        "_entropy",
        "_failures",
        "_host",
        "_layer",
        "_options",
        "_profile",
        "_refusals",
        "_statistics",
        "due",
        "phase",
    )

    def __init__(
        self,
        options: SimOptions,
        profile: Profile,
        layer: MessageLayer,
        host: Host,
        statistics: Statistics,
        entropy: Random,
    ) -> None:
        self.phase = Phase.IDLE
        self.due = math.inf
        self._options = options
        self._profile = profile
        self._layer = layer
        self._host = host
        self._statistics = statistics
        self._entropy = entropy
        self._before: Kept | None = None  # the accounts as they were
        self._account: Account | None = None  # the new one
        self._failures = 0  # bootstraps in a row
        self._refusals = 0  # Registers in a row

    @property
    def serving(self) -> bool:
        """Whether the peer is the Bootstrap-Server, at work."""
        return self.phase in SERVING

    def begin(self, at: float) -> None:
        """Bootstrap at a time (monotonic seconds); until then all goes on."""
        if self.phase in (Phase.IDLE, Phase.HOLDING):
            self._move(Move.BEGIN)
            self.due = at

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if now < self.due:
            return
        self.due = math.inf
        if self.phase is Phase.HOLDING:
            self._request(now)
        elif self.phase is Phase.FINISHING:
            self._connect(now)
        elif self.serving:
            self._failed("no Bootstrap-Finish in time", now)

    def finish(self, now: float) -> None:
        """Bootstrap-Finish; raises RefusedError 4.06 while there is no account that can be used."""
        account = server_account(self._profile.tree)
        if account is None:
            raise RefusedError(Code.NOT_ACCEPTABLE, "no account of a LwM2M Server")
        self._account = account
        self._move(Move.FINISH)
        self.due = now + SETTLE_S

    def interrupted(self, now: float) -> None:
        """The Bootstrap-Server ended the session."""
        if self.serving:
            self._failed("the Bootstrap-Server ended the session", now)

    def accepted(self) -> None:
        """A Register was accepted."""
        self._refusals = 0
        if self.phase is Phase.PROVING:
            self._move(Move.PROVEN)
            self._before = self._account = None
            self._failures = 0
            self._statistics.bootstraps += 1

    def refused(self, now: float) -> None:
        """A Register failed; the next one is due later, unless this is one too many."""
        self._refusals += 1
        if self.phase is Phase.PROVING and self._refusals >= MAX_PROOFS:
            self._failed("no Register by the new account", now)
        elif self.phase is Phase.IDLE and self._refusals >= MAX_REFUSALS:
            self._refusals = 0
            self.begin(now)

    def stop(self) -> None:
        """Be as before, as after a loss of power."""
        self._move(Move.STOP)
        self.due = math.inf
        self._refusals = 0
        self._restore()

    # The Bootstrap-Request, as the message layer sends it

    def build(self, now: float) -> Message | None:
        if self.phase is not Phase.REQUESTING:
            return None
        query = [f"ep={self._profile.name}"]
        if self._options.lwm2m_version != "1.0":
            query.append(f"pct={self._options.preferred_format:d}")
        return Message(Code.POST, path=("bs",), query=tuple(query))

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        if self.phase is not Phase.REQUESTING:
            return
        if response is None:
            self._failed(f"Bootstrap-Request: {outcome.value}", now)
        elif response.code != Code.CHANGED:
            told = clean(response.payload.decode("utf-8", "replace"))
            self._failed(f"Bootstrap-Request: {code_text(response.code)} {told}".rstrip(), now)
        else:
            self._move(Move.ACCEPTED)

    # Within

    def _move(self, move: Move) -> None:
        self.phase = MOVES[self.phase, move]

    def _request(self, now: float) -> None:
        self._move(Move.DUE)
        self._host.leave()
        self._before = self._profile.tree.keep_accounts()
        try:
            account = bootstrap_account(self._profile.tree)
        except RefusedError as refused:
            self._failed(refused.reason, now)
            return
        if account is None:
            self._failed("no account of a Bootstrap-Server", now)
            return
        self._host.join(account)
        self.due = now + BOOTSTRAP_S
        self._layer.submit(self, now, urgent=True)

    def _connect(self, now: float) -> None:
        assert self._account is not None
        self._move(Move.CONNECT)
        self._host.join(self._account)
        self._host.register(now)

    def _failed(self, why: str, now: float) -> None:
        self._statistics.bootstraps_failed += 1
        self._statistics.last_bootstrap_failure = why
        self._host.leave()
        self._restore()
        wait_s = backoff_s(self._failures, self._entropy)
        self._failures += 1
        self._refusals = 0
        try:
            account = server_account(self._profile.tree)
        except RefusedError:
            account = None
        if account is None:
            self._move(Move.AGAIN)
            self.due = now + wait_s
        else:
            self._move(Move.RETURN)
            self.due = math.inf
            self._host.join(account)
            self._host.register(now + wait_s)

    def _restore(self) -> None:
        if self._before is not None:
            self._profile.tree.restore_accounts(self._before)
        self._before = self._account = None
