"""Operations on devices, from their asking to their end: a row first, then a request.

Each endpoint has a line: its operations in the order of their asking, one under way. A line moves on while
its device listens; a device that sleeps or is away is waited for, and every message of it is a wake-up. What
gets no answer goes back to its place and has another try at the next wake-up, three in all; what must not
happen twice (Execute, Create) is not tried again by itself. That an operation is being sent is on disk
before the first byte leaves, so a restart knows what may have happened.
"""

import asyncio
import logging
from bisect import insort
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from ..db.migrate import StoreError
from ..db.operations import Attempt, EndpointOperation, Outcome
from ..db.store import Store
from ..db.writer import when_done
from ..errors import UsageError, clean
from ..events import EventBus
from ..lwm2m.core import Core, Moment, unknown_endpoint
from ..lwm2m.model import ModelSet
from ..lwm2m.operations import (
    AT_MOST_ONCE,
    CANCELS,
    TRANSITIONS,
    Kind,
    Operation,
    Status,
    Step,
    check,
    check_model,
)
from .judging import Try, judge, judge_error, unanswered
from .requests import Answered, compose
from .wanted import Wanted

# Of one endpoint, and of all: what waits is in memory.
MAX_WAITING: Final = 1000
MAX_WAITING_IN_ALL: Final = 100_000
# Those that are done, for who has asked and not yet looked; by number, and by the values they hold.
RECENT: Final = 256
RECENT_VALUES: Final = 20_000
STOP_WAIT_S: Final = 5.0
# What is done on our side alone, whether the device listens or not.
_OURS: Final = frozenset({Kind.CANCEL_PASSIVE})
_CANCELLED_UNSENT: Final = Outcome(message="cancelled before it was sent")
log = logging.getLogger(__name__)

Perform = Callable[[str, Operation], Awaitable[Answered]]
# An operation as it is kept, None where there is none of that id.
Recall = Callable[[int], Awaitable[EndpointOperation | None]]


@dataclass(slots=True)
class _Line:
    """The operations of one endpoint that are not done, oldest first.

    `held`: the first one had its try, the next wake-up is another; `woken`: one came during the try.
    `stalled`: the disk took no write. `flight` is the request under way, `cancelling` whether it is wanted
    no longer.
    """

    waiting: list[EndpointOperation] = field(default_factory=list)
    held: bool = False
    woken: bool = False
    stalled: bool = False
    task: asyncio.Task[None] | None = None
    flight: asyncio.Task[Answered] | None = None
    cancelling: bool = False


class Operations:
    """See `http.ports.Operations`; `wake` for the intake, `tick` once a second."""

    def __init__(
        self,
        core: Core,
        store: Store,
        bus: EventBus,
        models: ModelSet,
        wanted: Wanted,
        perform: Perform,
        recall: Recall,
        clock: Callable[[], Moment],
        transferring: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._core = core
        self._store = store
        self._bus = bus
        self._models = models
        self._wanted = wanted
        self._perform = perform
        self._recall = recall
        self._clock = clock
        # A firmware package is on its way: another request would break it off (zephyr #66607).
        self._transferring = transferring
        self._lines: dict[str, _Line] = {}
        self._unfinished: dict[int, EndpointOperation] = {}
        # Done, and not on disk yet: as the disk has them, which is what is told of them.
        self._settling: dict[int, EndpointOperation] = {}
        self._recent: OrderedDict[int, EndpointOperation] = OrderedDict()
        self._recent_values = 0
        self._awaited: dict[int, asyncio.Future[EndpointOperation]] = {}
        # What the disk did not take, to be put down again.
        self._owed: dict[int, tuple[EndpointOperation, Attempt | None]] = {}
        self._open = False

    def start(self, kept: Iterable[EndpointOperation]) -> None:
        """Take up what an earlier run left: what was under way waits again, or has failed.

        Nothing is sent before `open`.
        """
        for one in kept:
            left = self._broken_off(one) if one.status is Status.SENDING else one
            if not left.done:
                self._enter(left)

    def open(self) -> None:
        """The wire is up: send from now on."""
        self._open = True
        for endpoint in list(self._lines):
            self._go_on(endpoint)

    async def stop(self) -> None:
        """Break all off; what is under way stays SENDING on disk, for the next start to judge."""
        self._open = False
        tasks = [t for line in self._lines.values() for t in (line.task, line.flight) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for operation_id, future in self._awaited.items():
            if not future.done():
                future.set_result(self._find(operation_id))

    # What people ask

    async def ask(
        self,
        endpoint: str,
        operation: Operation,
        by: str,
        *,
        deadline_ms: int = 0,
        checked: bool = True,
        retry_of: int = 0,
    ) -> EndpointOperation:
        """See `http.ports.Operations.ask`."""
        moment = self._clock()
        check(operation)
        self._check_endpoint(endpoint)
        if checked:
            self._check_model(endpoint, operation)
        if 0 < deadline_ms <= moment.wall_ms:
            raise UsageError("deadline_past", "the deadline has passed", "give one that is ahead")
        line = self._lines.get(endpoint)
        if line is not None and len(line.waiting) >= MAX_WAITING:
            raise UsageError(
                "queue_full",
                f"{len(line.waiting)} operations wait for {clean(endpoint)} already",
                "wait until it wakes, or cancel some",
            )
        if len(self._unfinished) >= MAX_WAITING_IN_ALL:
            raise UsageError(
                "queue_full",
                f"{len(self._unfinished)} operations wait for devices already",
                "wait until devices wake, or cancel some",
            )
        new = EndpointOperation(
            id=self._store.new_operation_id(),
            endpoint=endpoint,
            operation=operation,
            asked_by=by,
            created_ms=moment.wall_ms,
            changed_ms=moment.wall_ms,
            deadline_ms=deadline_ms,
            retry_of=retry_of,
        )
        self._store.put_operation(new)
        done = self._store.commit()

        def entered() -> None:
            self._enter(new)
            self._tell(new)
            self._go_on(endpoint)

        when_done(done, entered)
        await asyncio.shield(done)
        return new

    async def finished(self, operation_id: int, timeout_s: float) -> EndpointOperation:
        """See `http.ports.Operations.finished`."""
        self._find(operation_id)
        future = self._awaited.get(operation_id)
        if operation_id in self._unfinished or operation_id in self._settling:
            if future is None:
                future = self._awaited[operation_id] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(timeout_s):
                    return await asyncio.shield(future)
            except TimeoutError:
                pass
        return self._find(operation_id)

    async def cancel(self, operation_id: int) -> EndpointOperation:
        """See `http.ports.Operations.cancel`."""
        one = self._find(operation_id)
        if one.done or operation_id in self._settling:
            said = one.status if one.done else "done"
            raise UsageError(
                "operation_done", f"operation {operation_id} is {said} already", "retry asks anew"
            )
        line = self._lines[one.endpoint]
        if one.status is Status.SENDING:
            line.cancelling = True
            if line.flight is not None:
                line.flight.cancel()
            return await self.finished(operation_id, STOP_WAIT_S)
        cancelled = self._stepped(one, Step.CANCEL, _CANCELLED_UNSENT)
        await asyncio.shield(self._end(one, cancelled))
        return cancelled

    async def retry(self, operation_id: int, by: str) -> EndpointOperation:
        """See `http.ports.Operations.retry`."""
        kept = self._known(operation_id) or await self._recall(operation_id)
        if kept is None:
            raise _missing(operation_id)
        if not kept.done:
            raise UsageError(
                "operation_unfinished", f"operation {kept.id} is {kept.status}", "it is tried by itself"
            )
        return await self.ask(kept.endpoint, kept.operation, by, checked=False, retry_of=kept.id)

    async def idle(self, endpoint: str) -> None:
        """Wait while operations of people are being sent to a device: they go before what the box asks."""
        while (line := self._lines.get(endpoint)) is not None and line.task is not None:
            await asyncio.wait({line.task})

    def waiting(self, endpoint: str) -> int:
        """How many operations of an endpoint are not done."""
        line = self._lines.get(endpoint)
        return 0 if line is None else len(line.waiting)

    def counts(self) -> Mapping[str, int]:
        """How many are QUEUED and SENDING now."""
        sending = sum(line.flight is not None for line in self._lines.values())
        return {
            Status.QUEUED.value: len(self._unfinished) - sending,
            Status.SENDING.value: sending,
        }

    # What devices and time bring about

    def wake(self, endpoint: str) -> None:
        """The device was heard."""
        line = self._lines.get(endpoint)
        if line is not None:
            line.held, line.woken = False, True
            self._go_on(endpoint)

    def tick(self, moment: Moment) -> None:
        """Expire what waited too long; try again what the disk did not take."""
        for after, attempt in list(self._owed.values()):
            self._put_down(after, attempt)
        for one in list(self._unfinished.values()):
            if one.status is Status.QUEUED and 0 < one.deadline_ms <= moment.wall_ms:
                self._expire(one)
        for endpoint, line in list(self._lines.items()):
            if line.stalled:
                line.stalled = line.held = False
                self._go_on(endpoint)

    # The line of an endpoint

    def _go_on(self, endpoint: str) -> None:
        line = self._lines.get(endpoint)
        if line is None or line.task is not None or not self._open:
            return
        if not line.waiting:
            del self._lines[endpoint]
        elif self._may_send(endpoint, line):
            line.task = asyncio.create_task(self._run(endpoint, line), name=f"operations {endpoint}")

    def _may_send(self, endpoint: str, line: _Line) -> bool:
        if line.held or not line.waiting or self._transferring(endpoint):
            return False
        return line.waiting[0].operation.kind in _OURS or (
            self._core.listens_for(endpoint, self._clock().now) > 0
        )

    async def _run(self, endpoint: str, line: _Line) -> None:
        try:
            while self._may_send(endpoint, line):
                await self._send(endpoint, line, line.waiting[0])
        except Exception:
            # A defect must neither end the line nor have it run hot: the next tick tries again.
            log.exception("operations stalled", extra={"ENDPOINT": endpoint})
            line.held = line.stalled = True
        finally:
            line.task = None
            self._go_on(endpoint)

    async def _send(self, endpoint: str, line: _Line, one: EndpointOperation) -> None:
        """One try of the first in line."""
        begun = self._clock()
        line.cancelling = line.woken = False
        sending = replace(self._stepped(one, Step.SEND), attempts=one.attempts + 1, outcome=Outcome())
        attempt = Attempt(one.id, sending.attempts, begun.wall_ms)
        try:
            self._pay(endpoint)
            if 0 < one.deadline_ms <= begun.wall_ms:
                self._expire(one)
                return
            self._replace(line, one, sending)
            self._gather(sending, attempt)
            await asyncio.shield(self._store.commit())
        except StoreError:
            self._fall_back(line, one)
            return
        self._tell(sending)
        tried = await self._fly(endpoint, line, sending)
        ended = self._clock()
        after = self._stepped(sending, tried.step, tried.outcome)
        if not tried.sent:
            after = replace(after, attempts=one.attempts)  # it was not even asked
        # A device that answered "later" shall have its time; one that was heard meanwhile is there.
        line.stalled = tried.stalled
        line.held = tried.step is Step.POSTPONE and (bool(tried.outcome.code) or not line.woken)
        attempt = replace(
            attempt, ended_ms=ended.wall_ms, code=tried.outcome.code, message=tried.outcome.message
        )
        self._replace(line, sending, after)
        self._put_down(after, attempt)

    def _fall_back(self, line: _Line, one: EndpointOperation) -> None:
        """The disk did not take that the first in line is being sent, so it is not; the next tick goes on."""
        line.held = line.stalled = True
        now = line.waiting[0]
        self._replace(line, now, one)
        if line.cancelling:
            cancelled = self._stepped(one, Step.CANCEL, _CANCELLED_UNSENT)
            self._replace(line, one, cancelled)
            self._put_down(cancelled, None)

    async def _fly(self, endpoint: str, line: _Line, sending: EndpointOperation) -> Try:
        """Ask the device."""
        if line.cancelling:
            return Try(Step.CANCEL, _CANCELLED_UNSENT, sent=False)
        flight = asyncio.ensure_future(self._perform(endpoint, sending.operation))
        line.flight = flight
        try:
            await asyncio.wait({flight})
        finally:
            line.flight = None
            if not flight.done():
                flight.cancel()
        if flight.cancelled():
            return Try(Step.CANCEL, unanswered("broken off", sending.operation))
        error = flight.exception()
        if error is None:
            return judge(flight.result(), sending)
        return judge_error(error, sending)

    def _put_down(self, after: EndpointOperation, attempt: Attempt | None) -> None:
        """Keep what became of an operation, and what it changes for good; what is not kept is owed."""
        try:
            if after.status is Status.CONFIRMED:
                self._wanted.confirmed(after)
            self._gather(after, attempt)
        except StoreError:
            self._owed[after.id] = (after, attempt)
        else:
            self._settle(after, attempt, self._store.commit())

    def _gather(self, after: EndpointOperation, attempt: Attempt | None) -> None:
        """Put another state in the next commit; an older one that is owed goes before it, for its attempt."""
        owed = self._owed.get(after.id)
        if owed is not None and owed[0] is not after:
            self._store.change_operation(*owed)
        self._store.change_operation(after, attempt)
        self._owed.pop(after.id, None)

    def _pay(self, endpoint: str) -> None:
        """What the disk lost of an endpoint goes before what follows it."""
        for after, attempt in list(self._owed.values()):
            if after.endpoint == endpoint:
                self._put_down(after, attempt)

    def _settle(self, after: EndpointOperation, attempt: Attempt | None, done: asyncio.Future[None]) -> None:
        """Once it is on disk, tell; what a commit lost is owed to the next."""

        def told() -> None:
            if after.done:
                self._settling.pop(after.id, None)
                self._remember(after)
            self._tell(after)
            _log(after, attempt)

        def lost() -> None:
            self._owed[after.id] = (after, attempt)

        when_done(done, told, lost)

    # Within

    def _enter(self, one: EndpointOperation) -> None:
        self._unfinished[one.id] = one
        insort(self._lines.setdefault(one.endpoint, _Line()).waiting, one, key=lambda other: other.id)

    def _replace(self, line: _Line, before: EndpointOperation, after: EndpointOperation) -> None:
        """Put another state in an operation's place in the line; one that is done leaves it."""
        place = line.waiting.index(before)
        if after.done:
            del line.waiting[place]
            self._settling[after.id] = self._unfinished.pop(after.id)
        else:
            line.waiting[place] = after
            self._unfinished[after.id] = after

    def _stepped(
        self, one: EndpointOperation, step: Step, outcome: Outcome | None = None
    ) -> EndpointOperation:
        status = TRANSITIONS[one.status, step]
        changed_ms = self._clock().wall_ms
        return replace(one, status=status, changed_ms=changed_ms, outcome=outcome or one.outcome)

    def _expire(self, one: EndpointOperation) -> None:
        outcome = one.outcome
        if not outcome.message:
            outcome = replace(outcome, message="its deadline passed before the device was heard")
        expired = self._stepped(one, Step.EXPIRE, replace(outcome, hint="ask again, with more time"))
        self._end(one, expired)

    def _end(self, one: EndpointOperation, after: EndpointOperation) -> asyncio.Future[None]:
        """One that waits is done without being sent; the future is that of the commit."""
        self._gather(after, None)
        self._replace(self._lines[one.endpoint], one, after)
        done = self._store.commit()
        self._settle(after, None, done)
        self._go_on(one.endpoint)
        return done

    def _broken_off(self, one: EndpointOperation) -> EndpointOperation:
        """One that was being sent when the box went down."""
        if one.operation.kind in AT_MOST_ONCE:
            outcome = unanswered("the box went down meanwhile", one.operation)
            after = self._stepped(one, Step.REFUSE, outcome)
        else:
            after = self._stepped(one, Step.POSTPONE)
        if after.done:
            self._settling[after.id] = one
        self._put_down(after, None)
        return after

    def _known(self, operation_id: int) -> EndpointOperation | None:
        for kept in (self._unfinished, self._settling, self._recent):
            if operation_id in kept:
                return kept[operation_id]
        return None

    def _find(self, operation_id: int) -> EndpointOperation:
        found = self._known(operation_id)
        if found is None:
            raise _missing(operation_id)
        return found

    def _remember(self, one: EndpointOperation) -> None:
        """Give it to who waits for it, and keep it for who is about to look."""
        future = self._awaited.pop(one.id, None)
        if future is not None and not future.done():
            future.set_result(one)
        self._recent[one.id] = one
        self._recent_values += len(one.outcome.records)
        while len(self._recent) > RECENT or (self._recent_values > RECENT_VALUES and len(self._recent) > 1):
            _, dropped = self._recent.popitem(last=False)
            self._recent_values -= len(dropped.outcome.records)

    def _tell(self, one: EndpointOperation) -> None:
        self._bus.publish(
            "operation",
            {
                "endpoint": one.endpoint,
                "id": one.id,
                "operation": one.operation.kind.value,
                "paths": [str(path) for path in one.operation.paths],
                "status": one.status.value,
                "attempts": one.attempts,
                "code": one.outcome.code,
                "message": one.outcome.message,
                "time_ms": one.changed_ms,
            },
            one,
        )

    def _check_endpoint(self, endpoint: str) -> None:
        if not self._store.knows(endpoint):
            raise unknown_endpoint(endpoint)
        device = self._core.device(endpoint)
        if device is None or not device.heard_ms:
            raise UsageError(
                "endpoint_unseen",
                f"{clean(endpoint)} has never registered",
                "start the device, and ask when it is there",
            )

    def _check_model(self, endpoint: str, operation: Operation) -> None:
        device = self._core.device(endpoint)
        registration = None if device is None else device.registration
        objects = None if registration is None else registration.objects
        versions = {n: o.version for n, o in (objects or {}).items() if o.version}
        check_model(
            operation,
            objects,
            lambda path: self._models.resource(path, versions.get(path[0])),
            lambda object_id: self._models.entry(object_id, versions.get(object_id)) is not None,
        )
        if registration is not None and operation.kind not in CANCELS:
            compose(operation, registration)  # what cannot be written is told now


def _missing(operation_id: int) -> UsageError:
    return UsageError("operation_missing", f"there is no operation {operation_id}", "list the operations")


def _log(after: EndpointOperation, attempt: Attempt | None) -> None:
    took_ms = {} if attempt is None else {"DURATION_MS": attempt.ended_ms - attempt.started_ms}
    log.info(
        "operation",
        extra={
            "EVENT": f"operation {after.status.value.lower()}",
            "ENDPOINT": after.endpoint,
            "OPERATION_ID": after.id,
            "PATH": str(after.operation.path),
            "COAP_CODE": after.outcome.code,
            **took_ms,
        },
    )
