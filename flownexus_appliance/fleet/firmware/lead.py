"""Leads one device through one update: asks it how it stands, has it fetch the package or gives it, has it
install, and judges what came of it (LwM2M Core 1.1.1 E.6).

What follows from what is a table, `lwm2m.firmware.MOVES`; here is what is done about it. A lead may end at
any moment, with the daemon: each state is on disk before what it stands for is done, and one that is taken up
asks the device before it goes on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from ...db.firmware import Firmware, FirmwareUpdate, UpdateStep
from ...db.migrate import StoreError
from ...errors import PeerError, UsageError
from ...lwm2m.core import Moment
from ...lwm2m.firmware import (
    MOVES,
    OTHER_WAY,
    PACKAGE,
    PASSING,
    TRANSITIONS,
    Delivery,
    DeviceState,
    Move,
    Reason,
    Step,
    UpdateResult,
    UpdateState,
    deliveries,
    fails,
    same_version,
)
from ...lwm2m.operations import Operation
from ...lwm2m.paths import Path
from ...lwm2m.registration import Registration
from ...lwm2m.values import Record
from ..ports import Body, DeviceSilent, PackageGone
from ..requests import Answered
from .instance import SETTLE_S, Instance
from .offers import Offers
from .progress import Progress

# How often a device that says nothing by itself is asked how it stands.
POLL_S: Final = 60.0
# So soon where something should have changed by now: it has the whole package, or was told to install it.
SOON_S: Final = 10.0
DEFERRED_S: Final = 7 * 86_400.0  # a device that was told to may put an installation off for days
MIN_PAUSE_S: Final = 0.01
RETRY_S: Final = 1.0  # what the disk did not take
MAX_ATTEMPTS: Final = 3
MAX_INSTALLS: Final = 3
MAX_RESETS: Final = 2
_STATES: Final = frozenset(DeviceState)
_UNTIL_INSTALLED: Final = frozenset({UpdateState.PREPARING, UpdateState.DOWNLOADING, UpdateState.DOWNLOADED})
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What a lead works with.

    `perform` asks a device and has what it tells on disk; `push` writes a package; `idle` waits until
    people's operations on the device have been sent; `registration` is the live one; `observed` whether a
    path is reported, or about to be; `body` opens a package; `keep` puts an update's new state on disk and
    then calls its callable; `progressed` is told that more bytes have got there. Patience is in seconds.
    """

    perform: Callable[[str, Operation], Awaitable[Answered]]
    push: Callable[[str, Path, Body, Callable[[int], None]], Awaitable[Answered]]
    idle: Callable[[str], Awaitable[None]]
    registration: Callable[[str], Registration | None]
    observed: Callable[[str, Path], bool]
    body: Callable[[FirmwareUpdate], Body]
    keep: Callable[[FirmwareUpdate, UpdateStep, Callable[[], None]], Awaitable[None]]
    progressed: Callable[[FirmwareUpdate], None]
    offers: Offers
    clock: Callable[[], Moment]
    patience_s: float = 1800.0
    comeback_s: float = 1800.0


class Lead:
    """One update under way; `run` it in a task. It ends when the update has ended, or WAITS for another
    try."""

    def __init__(self, update: FirmwareUpdate, firmware: Firmware, means: Means) -> None:
        self.update = update
        self.bytes = update.bytes
        self._firmware = firmware
        self._means = means
        self._woken = asyncio.Event()
        now = means.clock().now
        self._instance = Instance(
            update.instance, self._ask, partial(means.observed, update.endpoint), means.clock
        )
        # Since when nothing went on.
        self._progress = Progress(update.bytes, now)
        self._refusal = ""
        self._lost = False
        self._silent = False
        self._resets = 0
        # Of the installation. What was told before a restart counts from now.
        self._installs = 0
        self._installed_at = now
        self._back = False
        self._resumed = update.state is UpdateState.UPDATING

    async def run(self) -> None:
        """Go on from where the update stands."""
        while not self.update.done:
            self._woken.clear()
            try:
                if await self._turn():
                    if self.update.state is UpdateState.WAITING:
                        return
                    continue
                pause_s = self._pause_s()
            except DeviceSilent as silence:
                self._silent = True
                self._instance.known = False
                pause_s = POLL_S if silence.sent else SOON_S
            except StoreError:
                await asyncio.sleep(RETRY_S)  # whatever is heard meanwhile
                continue
            except UsageError as error:
                # Not registered just now: it is heard when it is.
                log.debug("update waits", extra={"UPDATE_ID": self.update.id, "ERROR_CODE": error.code})
                self._instance.known = False
                pause_s = POLL_S
            await self._rest(pause_s)

    # What is heard meanwhile

    def wake(self) -> None:
        """The device was heard, so it listens."""
        self._silent = False
        self._woken.set()

    def registered(self) -> None:
        """The device registered anew: what it said before may hold no more."""
        self._instance.known = False
        self._back = self.update.state is UpdateState.UPDATING
        self._lost = self.update.state is UpdateState.DOWNLOADING
        self.wake()

    def told(self, records: Iterable[Record]) -> None:
        """The device has told something by itself."""
        if self._instance.take(records):
            self._progress.sign(self._means.clock().now)
            self._woken.set()

    def fetched(self, until: int) -> None:
        """Bytes have got to the device; fewer than before: it begins anew."""
        self.bytes = until
        self._progress.fetched(until, self._means.clock().now)
        if until >= self._firmware.size:
            self._woken.set()
        self._means.progressed(self.update)

    # A turn: whether to go on at once

    async def _turn(self) -> bool:
        update = self.update
        if update.state is UpdateState.WAITING:
            attempts = update.attempts + 1
            started = update.started_ms or self._means.clock().wall_ms
            return await self._step(Step.START, attempts=attempts, started_ms=started, bytes=0)
        late = self._late()
        if late is not None:
            return await late
        try:
            if not self._instance.known and not await self._instance.read():
                return await self._end(Step.FAIL, Reason.OBJECT_MISSING)
            return await self._act()
        except PeerError as error:
            # It answers what cannot be understood; an installation goes on all the same.
            self._instance.known = False
            if self.update.state is UpdateState.UPDATING:
                self._woken.clear()  # by this very answer
                return False
            return await self._again(Reason.REFUSED, detail=error.message)

    async def _act(self) -> bool:
        """Do what follows from what the device has told."""
        stage, told = self.update.state, self._instance.told
        if told.state not in _STATES:
            if stage is UpdateState.UPDATING:
                return False
            said = self._instance.unread if told.state is None else f"State {told.state}"
            return await self._again(Reason.REFUSED, detail=said)
        state = DeviceState(told.state)
        if stage is UpdateState.DOWNLOADING and not self._instance.offered and self._undelivered(state):
            return await self._deliver(state)
        theirs = stage is UpdateState.PREPARING or not self._instance.concerns_the_offer(told.result)
        if fails(told.result) and not theirs:
            return await self._failed(told.result)
        if self._refusal and stage is UpdateState.UPDATING:
            return await self._end(Step.FAIL, Reason.REFUSED, self._refusal)
        if self._refusal:
            return await self._again(Reason.REFUSED, detail=self._refusal)
        if self._installed_by_itself(state):
            return await self._installing()
        match MOVES[stage, state]:
            case Move.OFFER if fails(told.result) and not self._resets:
                # What it says of an earlier update would hide that it says the same of this one.
                return await self._reset()
            case Move.OFFER:
                return await self._offer()
            case Move.RESET:
                return await self._reset()
            case Move.INSTALL if stage is UpdateState.DOWNLOADING:
                self.bytes = self._firmware.size
                return await self._step(Step.DOWNLOADED)
            case Move.INSTALL:
                await self._installing()
                return await self._execute()
            case Move.BEGUN:
                return await self._installing()
            case Move.AGAIN:
                return await self._lost_it()
            case Move.JUDGE:
                return await self._judge()
        if stage is UpdateState.DOWNLOADING and state is DeviceState.IDLE and self._lost:
            return await self._lost_it()
        if stage is UpdateState.UPDATING and state is DeviceState.DOWNLOADED:
            return await self._install_again()
        return False

    def _undelivered(self, state: DeviceState) -> bool:
        """Whether the device is to be told of the package (again, after a restart of the box)."""
        if self.update.delivery is Delivery.PUSH:
            return state in (DeviceState.IDLE, DeviceState.DOWNLOADING)
        return state is DeviceState.IDLE and not self._installed_by_itself(state)

    def _installed_by_itself(self, state: DeviceState) -> bool:
        """Some devices do not wait to be told to."""
        return (
            self.update.state in (UpdateState.DOWNLOADING, UpdateState.DOWNLOADED)
            and state is DeviceState.IDLE
            and self._instance.told.result == UpdateResult.SUCCESS
            and self._runs_it()
        )

    def _runs_it(self) -> bool:
        return same_version(self._instance.told.version or "", self._firmware.versions)

    # What is done

    async def _offer(self) -> bool:
        """Choose how the package gets there."""
        update, told = self.update, self._instance.told
        if self._runs_it():
            before = update.from_version or told.version or ""
            return await self._end(Step.SUCCEED, Reason.ALREADY, told.version or "", from_version=before)
        registration = self._means.registration(update.endpoint)
        if registration is None:
            self._instance.known = False
            return False
        ways = self._means.offers.ways(registration)
        if update.wanted is not None:
            chosen = [update.wanted] if update.wanted in ways else []
        else:
            secure = bool(registration.session)
            chosen = [
                way for way in deliveries(told, secure=secure, open_ways=ways) if way not in update.tried
            ]
        if not chosen:
            return await self._end(Step.FAIL, Reason.NO_DELIVERY)
        return await self._step(
            Step.OFFER,
            delivery=chosen[0],
            from_version=told.version or "",
            reason=Reason.NONE,
            detail="",
            result=None,
        )

    async def _deliver(self, state: DeviceState) -> bool:
        """Tell the device where the package is, or give it."""
        update, means = self.update, self._means
        registration = means.registration(update.endpoint)
        if registration is None or update.delivery is None:
            self._instance.known = False
            return False
        if state is not DeviceState.IDLE:
            return await self._reset()
        self._instance.offer()
        self._lost, self.bytes = False, 0
        if update.delivery is Delivery.PUSH:
            answered = await self._push()
        else:
            uri = means.offers.uri(registration, update, update.delivery)
            answered = await self._instance.write_uri(uri)
        # What it says of itself now is another thing than what it said before; a device that fetches is left
        # alone until it tells, or has the whole of it.
        left_alone = answered.success and update.delivery is not Delivery.PUSH
        self._instance.told_of_it(known=left_alone)
        self._progress.begin(self.bytes, means.clock().now)
        if not answered.success:
            self._refusal = f"{answered.code} {answered.message}".strip()
        return not left_alone

    async def _push(self) -> Answered:
        update, means = self.update, self._means
        try:
            body = means.body(update)
        except PackageGone as error:
            await self._end(Step.FAIL, Reason.PACKAGE_MISSING, error.message)
            return Answered()
        await means.idle(update.endpoint)
        try:
            return await means.push(update.endpoint, update.instance.child(PACKAGE), body, self.fetched)
        except PackageGone as error:
            await self._end(Step.FAIL, Reason.PACKAGE_MISSING, error.message)
            return Answered()
        except DeviceSilent:
            # Half of it is there, and nobody knows which half.
            await self._again(Reason.SILENT)
            return Answered()

    async def _reset(self) -> bool:
        """Have the device forget what lies there (E.6, resource 1)."""
        if self._resets >= MAX_RESETS:
            return await self._again(Reason.BUSY)
        self._resets += 1
        await self._instance.reset()
        return True

    async def _installing(self) -> bool:
        """The device installs, or is about to be told to."""
        now = self._means.clock().now
        self._installed_at, self._back, self._instance.fresh = now, False, False
        self.bytes = self._firmware.size
        return await self._step(Step.INSTALL)

    async def _execute(self) -> bool:
        self._installs += 1
        self._installed_at = self._means.clock().now
        answered = await self._instance.execute()
        if answered.success:
            return False
        self._instance.known = False
        self._refusal = f"{answered.code} {answered.message}".strip()
        return True

    async def _install_again(self) -> bool:
        """It still says "Downloaded": the Execute was lost on the way, or what it set off came to nothing."""
        since_s = self._instance.read_at - self._installed_at
        if self._instance.told.result == UpdateResult.DEFERRED or (since_s < SETTLE_S and not self._back):
            return False  # an Execute whose answer was lost may be at work
        if self._installs >= MAX_INSTALLS:
            return await self._end(Step.FAIL, Reason.STALLED)
        self._back = False
        return await self._execute()

    async def _lost_it(self) -> bool:
        """It had the package, or a part of it, and is idle; unless it is about to say why."""
        if not self._instance.fresh:
            self._instance.known = False
            return True
        return await self._again(Reason.LOST)

    async def _judge(self) -> bool:
        """It is through: what came of it? Success is what the result and the version both say."""
        told, update = self._instance.told, self.update
        if not self._instance.fresh:
            self._instance.known = False
            return True
        version = told.version or ""
        unchanged = bool(update.from_version) and same_version(version, (update.from_version,))
        if told.result == UpdateResult.SUCCESS:
            if self._runs_it():
                return await self._end(Step.SUCCEED, detail=version)
            if unchanged:
                return await self._end(Step.REVERT, Reason.REVERTED, version)
            return await self._end(Step.FAIL, Reason.OTHER_VERSION, version)
        if told.result == UpdateResult.INITIAL and (self._back or self._resumed) and not self._runs_it():
            if unchanged:
                return await self._end(Step.REVERT, Reason.REVERTED, version)
            return await self._end(Step.FAIL, Reason.OTHER_VERSION, version)
        return False  # it has not begun yet, or is about to say how it went

    async def _failed(self, result: int | None) -> bool:
        """The device says that it came to nothing."""
        update = self.update
        if update.state is UpdateState.UPDATING:
            return await self._end(Step.FAIL, Reason.RESULT, result=result)
        if result in OTHER_WAY and update.wanted is None and update.delivery is not None:
            tried = (*update.tried, update.delivery)
            registration = self._means.registration(update.endpoint)
            if registration is not None:
                open_ways = self._means.offers.ways(registration)
                left = deliveries(self._instance.told, secure=bool(registration.session), open_ways=open_ways)
                if set(left) - set(tried):
                    return await self._again(Reason.RESULT, result=result, tried=tried)
        if result in PASSING:
            return await self._again(Reason.RESULT, result=result)
        return await self._end(Step.FAIL, Reason.RESULT, result=result)

    async def _again(
        self,
        reason: Reason,
        *,
        detail: str = "",
        result: int | None = None,
        tried: tuple[Delivery, ...] | None = None,
    ) -> bool:
        """Another try, if there is one left; another way of delivery is none of the tries."""
        update = self.update
        if tried is None and update.attempts - len(update.tried) >= MAX_ATTEMPTS:
            return await self._end(Step.FAIL, reason, detail, result=result)
        self.bytes = 0
        return await self._step(
            Step.AGAIN,
            reason=reason,
            detail=detail,
            delivery=None,
            result=result,
            tried=update.tried if tried is None else tried,
        )

    async def _end(self, step: Step, reason: Reason = Reason.NONE, detail: str = "", **changes: Any) -> bool:
        if step is Step.SUCCEED and reason is not Reason.ALREADY:  # what it says then is of an earlier one
            changes["result"] = self._instance.told.result
        changes["ended_ms"] = self._means.clock().wall_ms
        return await self._step(step, reason=reason, detail=detail, **changes)

    async def _step(self, step: Step, **changes: Any) -> bool:
        """Put a step on disk; it is taken when it is there."""
        update, moment = self.update, self._means.clock()
        state = TRANSITIONS[update.state, step]
        after = replace(update, **{"bytes": self.bytes, **changes}, state=state, changed_ms=moment.wall_ms)
        detail = after.detail if "detail" in changes else ""
        if step is Step.OFFER and after.delivery is not None:
            detail = after.delivery.value
        elif changes.get("reason") is Reason.RESULT:
            detail = str(after.result)
        reason = after.reason if "reason" in changes else Reason.NONE
        happened = UpdateStep(update.id, 0, moment.wall_ms, state, reason, detail)

        def adopt() -> None:
            self.update = after
            self.bytes = after.bytes
            self._progress.begin(after.bytes, self._means.clock().now)

        await self._means.keep(after, happened, adopt)
        return True

    async def _ask(self, operation: Operation) -> Answered:
        endpoint = self.update.endpoint
        await self._means.idle(endpoint)
        return await self._means.perform(endpoint, operation)

    # Time

    def _late(self) -> "Awaitable[bool] | None":
        """What follows where nothing has gone on for too long, None where it has not been that long."""
        if self._left_s() >= 0:
            return None
        if self.update.state in _UNTIL_INSTALLED:
            return self._again(self._stands_still())
        told = self._instance.told
        if self._runs_it():
            return self._end(Step.FAIL, Reason.UNCONFIRMED, told.version or "")
        gone = self._silent or told.state in (None, DeviceState.UPDATING)
        return self._end(Step.FAIL, Reason.GONE if gone else Reason.STALLED)

    def _stands_still(self) -> Reason:
        """Why nothing goes on before the installation."""
        if self._silent:
            return Reason.SILENT
        theirs = (
            self.update.state is UpdateState.PREPARING and self._instance.told.state == DeviceState.UPDATING
        )
        return Reason.BUSY if theirs else Reason.STALLED

    def _left_s(self) -> float:
        """How long the device may go on as it does."""
        means = self._means
        if self.update.state in _UNTIL_INSTALLED:
            until = self._progress.at + means.patience_s
        else:
            deferred = self._instance.told.result == UpdateResult.DEFERRED
            until = self._installed_at + (max(means.comeback_s, DEFERRED_S) if deferred else means.comeback_s)
        return until - means.clock().now

    def _pause_s(self) -> float:
        """How long to wait for a word of the device before it is asked."""
        state = self.update.state
        complete = state is UpdateState.DOWNLOADING and self.bytes >= self._firmware.size
        return SOON_S if complete or state is UpdateState.DOWNLOADED else POLL_S

    async def _rest(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(MIN_PAUSE_S, min(pause_s, self._left_s()))):
                await self._woken.wait()
        # A device that speaks of other things may say nothing of this. Who fetches shows by that how it
        # stands, and is better left alone.
        now = self._means.clock().now
        if now - max(self._instance.read_at, self._progress.at) >= min(pause_s, POLL_S) - 1:
            self._instance.known = False
