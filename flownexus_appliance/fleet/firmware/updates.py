"""All updates that have not ended: which waits for what, whose turn it is, and who leads the others.

An update is a row first. It begins when its device listens, nothing else is being installed on that device,
and its campaign lets it. What a restart finds begun is led on from where it stands.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from ...db.firmware import Firmware, FirmwareUpdate, UpdateStep
from ...db.migrate import StoreError
from ...db.store import Store
from ...db.writer import when_done
from ...errors import UsageError, clean
from ...events import Event, EventBus
from ...lwm2m.core import Moment
from ...lwm2m.effects import Report, Source
from ...lwm2m.firmware import PACKAGE_URI, TRANSITIONS, Delivery, Reason, Step, UpdateState
from ...lwm2m.operations import Kind, Operation
from ...lwm2m.paths import Path
from ...lwm2m.values import DataType, Record
from ..pace import Pace
from .lead import Lead, Means

TICKET_BYTES: Final = 9  # twelve characters: Zephyr reads options of up to 12 bytes
# Between two tries, so that a device which fails at once is not asked without a pause.
RETRY_S: Final = 10.0
GAP_S: Final = 0.02
# How often the file is told how far packages have got; the world is at each tick.
KEPT_EVERY_S: Final = 5.0
# Led at once, whatever campaigns say.
MAX_LED: Final = 1000
_BEGUN: Final = frozenset(
    {UpdateState.PREPARING, UpdateState.DOWNLOADING, UpdateState.DOWNLOADED, UpdateState.UPDATING}
)
_T = TypeVar("_T")
log = logging.getLogger(__name__)


class Gate(Protocol):
    """Who is asked before an update begins, and told what becomes of it."""

    def may_begin(self, update: FirmwareUpdate) -> bool:
        """Whether it is its turn."""

    def moved(self, before: FirmwareUpdate | None, after: FirmwareUpdate) -> None:
        """An update is new (`before` None), or has come to another state; it is on disk."""


class Updates:
    """See `http.ports_firmware.FirmwareBox`. `firmware_of` finds a package, `listens` says for how many
    seconds a device is worth asking."""

    gate: Gate

    def __init__(
        self,
        store: Store,
        bus: EventBus,
        means: Callable[["Updates"], Means],
        firmware_of: Callable[[int], Firmware],
        listens: Callable[[str], float],
        clock: Callable[[], Moment],
    ) -> None:
        self._store = store
        self._bus = bus
        self._means = means(self)
        self._firmware_of = firmware_of
        self._listens = listens
        self._clock = clock
        # In the order of their asking, which is that of their ids.
        self._unfinished: dict[int, FirmwareUpdate] = {}
        # New, and on their way to the disk.
        self._coming: dict[int, FirmwareUpdate] = {}
        self._of_endpoint: dict[str, list[int]] = {}
        self._tickets: dict[str, int] = {}
        self._leads: dict[str, tuple[Lead, asyncio.Task[None]]] = {}
        self._led: Counter[int] = Counter()  # by campaign
        self._not_before: dict[int, float] = {}
        # That these are cancelled is on its way to the disk; one that was being led keeps its place.
        self._closing: set[int] = set()
        # How far packages have got that nobody was told of, or the file does not say, yet.
        self._untold: set[int] = set()
        self._unkept: set[int] = set()
        self._kept_at = 0.0
        self._asides: set[asyncio.Task[Any]] = set()
        self._open = False
        self._pace = Pace(GAP_S)
        bus.listen(self._happened)

    def start(self, kept: Iterable[FirmwareUpdate]) -> None:
        """Take up what an earlier run left; nothing is asked of devices before `open`."""
        for update in kept:
            self._enter(update)

    def open(self) -> None:
        """The wire is up."""
        self._open = True
        for update in list(self._unfinished.values()):
            if update.state in _BEGUN:
                self._lead(update)

    async def stop(self) -> None:
        """Break all off; the next start goes on."""
        self._open = False
        try:
            self._keep_bytes()  # the leads know, and go
        except StoreError:
            log.info("progress of updates not kept")
        tasks = [task for _, task in self._leads.values()] + list(self._asides)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What people ask

    async def add(
        self,
        endpoint: str,
        firmware: Firmware,
        by: str,
        instance: Path,
        wanted: Delivery | None,
        campaign_id: int = 0,
    ) -> FirmwareUpdate:
        """A new update; on disk when this returns. Raises StoreError."""
        update = self.put(endpoint, firmware, by, instance, wanted, campaign_id)
        await asyncio.shield(self.enter([update]))
        return update

    def put(
        self,
        endpoint: str,
        firmware: Firmware,
        by: str,
        instance: Path,
        wanted: Delivery | None,
        campaign_id: int = 0,
    ) -> FirmwareUpdate:
        """Gather a new update for the next commit; `enter` is to follow."""
        now_ms = self._clock().wall_ms
        update = FirmwareUpdate(
            id=self._store.new_update_id(),
            endpoint=endpoint,
            firmware_id=firmware.id,
            ticket=secrets.token_urlsafe(TICKET_BYTES),
            asked_by=by,
            created_ms=now_ms,
            changed_ms=now_ms,
            campaign_id=campaign_id,
            instance=instance,
            wanted=wanted,
        )
        self._store.put_update(update)
        return update

    def enter(
        self, updates: Sequence[FirmwareUpdate], first: Callable[[], None] = lambda: None
    ) -> asyncio.Future[None]:
        """Commit new updates. They count from now on, and are begun when they are on disk, after `first`."""
        self._coming.update((update.id, update) for update in updates)
        done = self._store.commit()

        def arrived() -> None:
            for update in updates:
                del self._coming[update.id]

        def entered() -> None:
            arrived()
            first()
            for update in updates:
                self._enter(update)
                self.gate.moved(None, update)
                self._tell(update)
            for update in updates:
                self.wake(update.endpoint)

        when_done(done, entered, arrived)
        return done

    async def cancel(self, update_id: int, reason: Reason = Reason.ASKED) -> FirmwareUpdate:
        """See `FirmwareBox.cancel`."""
        update = self._unfinished.get(update_id)
        if update is None:
            raise UsageError(
                "update_done", f"update {update_id} has ended, or there is none", "list the updates"
            )
        if update.state is UpdateState.UPDATING:
            raise _installing(update_id)
        if update_id in self._closing:
            raise UsageError("update_done", f"update {update_id} is being cancelled", "look at it again")
        self._closing.add(update_id)
        # It comes to its end also when who asked for it gives up.
        return await asyncio.shield(self._aside(self._cancel(update, reason)))

    async def _cancel(self, update: FirmwareUpdate, reason: Reason) -> FirmwareUpdate:
        try:
            await self._break_off(update)
            return await self._put_cancelled(update, reason)
        finally:
            self._closing.discard(update.id)
            if self._leads_it(update):
                self._released(self._leads[update.endpoint][0])
            # It goes on where it cannot be cancelled, or the disk did not take that it is.
            self._begin_one(update.endpoint)

    async def _put_cancelled(self, update: FirmwareUpdate, reason: Reason) -> FirmwareUpdate:
        now = self.live(update.id)
        if now is None:
            raise UsageError("update_done", f"update {update.id} has ended just now", "look at it again")
        if now.state is UpdateState.UPDATING:  # meanwhile
            raise _installing(update.id)
        moment = self._clock()
        after = replace(
            now,
            state=TRANSITIONS[now.state, Step.CANCEL],
            reason=reason,
            changed_ms=moment.wall_ms,
            ended_ms=moment.wall_ms,
        )
        step = UpdateStep(update.id, 0, moment.wall_ms, after.state, reason)
        await self.keep(after, step, lambda: None)
        if now.state in _BEGUN and self._listens(now.endpoint):
            self._aside(self._forget_package(now))
        return after

    async def drop(self, updates: Sequence[FirmwareUpdate], reason: Reason = Reason.ASKED) -> None:
        """Cancel updates that wait, all in one; those that have begun meanwhile go on. Raises StoreError."""
        moment = self._clock()
        dropped = []
        for update in updates:
            now = self._unfinished.get(update.id)
            if now is None or now.state is not UpdateState.WAITING:
                continue
            if self._leads_it(now) or now.id in self._closing:
                continue
            state = TRANSITIONS[now.state, Step.CANCEL]
            after = replace(
                now, state=state, reason=reason, changed_ms=moment.wall_ms, ended_ms=moment.wall_ms
            )
            self._store.change_update(after, UpdateStep(now.id, 0, moment.wall_ms, state, reason))
            dropped.append(after)
        numbers = {after.id for after in dropped}
        self._closing |= numbers
        done = self._store.commit()

        def settled() -> None:
            self._closing -= numbers
            for after in dropped:
                self._settle(after)

        when_done(done, settled, lambda: self._closing.difference_update(numbers))
        await asyncio.shield(done)

    # What is known

    def led(self, campaign_id: int) -> int:
        """How many updates of a campaign are being led."""
        return self._led[campaign_id]

    def is_coming(self, endpoint: str) -> bool:
        """Whether a new update of a device is on its way to the disk."""
        return any(update.endpoint == endpoint for update in self._coming.values())

    def uses(self, firmware_id: int) -> bool:
        """Whether an update of a firmware has not ended."""
        known = chain(self._unfinished.values(), self._coming.values())
        return any(update.firmware_id == firmware_id for update in known)

    def all(self) -> Iterator[FirmwareUpdate]:
        """Those that have not ended, oldest first."""
        return iter(list(self._unfinished.values()))

    def live(self, update_id: int) -> FirmwareUpdate | None:
        """One that has not ended, with the bytes that have got there by now."""
        update = self._unfinished.get(update_id)
        if update is None:
            return None
        found = self._leads.get(update.endpoint)
        if found is not None and found[0].update.id == update_id and found[0].bytes != update.bytes:
            return replace(update, bytes=found[0].bytes)
        return update

    def of(self, endpoint: str) -> tuple[FirmwareUpdate, ...]:
        """A device's, the one that has begun first, then by age."""
        found = [self.live(number) for number in self._of_endpoint.get(endpoint, ())]
        known = [update for update in found if update is not None]
        return tuple(sorted(known, key=lambda update: (update.state is UpdateState.WAITING, update.id)))

    def by_ticket(self, ticket: str) -> FirmwareUpdate | None:
        """The update that a ticket stands for."""
        number = self._tickets.get(ticket)
        return None if number is None else self._unfinished.get(number)

    # What devices and time bring about

    def wake(self, endpoint: str) -> None:
        """The device was heard."""
        found = self._leads.get(endpoint)
        if found is not None:
            found[0].wake()
        elif endpoint in self._of_endpoint:
            self._begin_one(endpoint)

    def registered(self, endpoint: str) -> None:
        """The device registered anew."""
        found = self._leads.get(endpoint)
        if found is not None:
            found[0].registered()

    def fetched(self, update_id: int, until: int) -> None:
        """Bytes of a package have got to a device."""
        update = self._unfinished.get(update_id)
        found = None if update is None else self._leads.get(update.endpoint)
        if found is not None and found[0].update.id == update_id:
            found[0].fetched(until)

    def progressed(self, update: FirmwareUpdate) -> None:
        """There are more bytes of an update to tell of; the next tick does."""
        self._untold.add(update.id)
        self._unkept.add(update.id)

    def tick(self, moment: Moment) -> None:
        """Tell and keep how far packages have got; begin what may begin by now."""
        untold, self._untold = self._untold, set()
        for number in untold:
            live = self.live(number)
            if live is not None:
                self._tell(live)
        if moment.now - self._kept_at >= KEPT_EVERY_S:
            self._kept_at = moment.now
            self._keep_bytes()
        for update in list(self._unfinished.values()):
            self._begin(update, moment.now)

    # Within

    def _happened(self, event: Event) -> None:
        report = event.subject
        # What another gateway says of a device is not the device's word.
        if not isinstance(report, Report) or report.source is Source.INGEST:
            return
        found = self._leads.get(report.endpoint)
        if found is not None:
            found[0].told(report.records)

    def _enter(self, update: FirmwareUpdate) -> None:
        self._unfinished[update.id] = update
        self._of_endpoint.setdefault(update.endpoint, []).append(update.id)
        self._tickets[update.ticket] = update.id

    def _leave(self, update: FirmwareUpdate) -> None:
        del self._unfinished[update.id]
        del self._tickets[update.ticket]
        self._not_before.pop(update.id, None)
        others = self._of_endpoint[update.endpoint]
        others.remove(update.id)
        if not others:
            del self._of_endpoint[update.endpoint]

    def _begin_one(self, endpoint: str) -> None:
        """Begin the first of a device's that may."""
        for number in list(self._of_endpoint.get(endpoint, ())):
            if self._begin(self._unfinished[number], self._clock().now):
                return

    def _begin(self, update: FirmwareUpdate, now: float) -> bool:
        if (
            not self._open
            or update.endpoint in self._leads
            or update.id in self._closing
            or len(self._leads) >= MAX_LED
            or self._not_before.get(update.id, 0.0) > now
        ):
            return False
        # One that has begun goes on in any case: its lead was broken off.
        if update.state is UpdateState.WAITING and not (
            self.gate.may_begin(update) and self._listens(update.endpoint) and self._is_next(update, now)
        ):
            return False
        self._lead(update)
        return True

    def _is_next(self, update: FirmwareUpdate, now: float) -> bool:
        """Whether no other one of the device has begun, and no older one is about to have another try."""
        for number in self._of_endpoint[update.endpoint]:
            other = self._unfinished[number]
            again = number < update.id and self._not_before.get(number, 0.0) > now
            if other.state in _BEGUN or (again and self.gate.may_begin(other)):
                return False
        return True

    def _lead(self, update: FirmwareUpdate) -> None:
        lead = Lead(update, self._firmware_of(update.firmware_id), self._means)
        task = asyncio.create_task(self._run(lead), name=f"update {update.id}")
        self._leads[update.endpoint] = lead, task
        self._led[update.campaign_id] += 1

    async def _run(self, lead: Lead) -> None:
        update = lead.update
        try:
            await self._pace.turn()
            await lead.run()
        except Exception:
            log.exception("update broken off", extra={"ENDPOINT": update.endpoint, "UPDATE_ID": update.id})
            await self._end_by_defect(replace(lead.update, bytes=lead.bytes))
        finally:
            if update.id not in self._closing:
                self._released(lead)
        if update.id in self._unfinished:
            self._not_before[update.id] = self._clock().now + RETRY_S
        self._begin_one(update.endpoint)

    def _released(self, lead: Lead) -> None:
        update = lead.update
        if self._leads_it(update, lead):
            del self._leads[update.endpoint]
            self._led[update.campaign_id] -= 1
            if not self._led[update.campaign_id]:
                del self._led[update.campaign_id]

    def _leads_it(self, update: FirmwareUpdate, by: Lead | None = None) -> bool:
        found = self._leads.get(update.endpoint)
        return found is not None and (found[0].update.id == update.id if by is None else found[0] is by)

    async def _end_by_defect(self, update: FirmwareUpdate) -> None:
        """A defect of ours must not have an update stand there for ever."""
        now_ms = self._clock().wall_ms
        after = replace(
            update, state=UpdateState.FAILED, reason=Reason.DEFECT, changed_ms=now_ms, ended_ms=now_ms
        )
        try:
            await self.keep(after, UpdateStep(update.id, 0, now_ms, after.state, Reason.DEFECT), lambda: None)
        except StoreError:
            log.warning("update not ended on disk", extra={"UPDATE_ID": update.id})

    async def keep(self, after: FirmwareUpdate, step: UpdateStep, adopt: Callable[[], None]) -> None:
        """Put an update's new state on disk, then take it and tell of it; raises StoreError."""
        self._store.change_update(after, step)
        done = self._store.commit()

        def settled() -> None:
            adopt()
            self._settle(after)

        when_done(done, settled)
        await asyncio.shield(done)

    def _settle(self, after: FirmwareUpdate) -> None:
        before = self._unfinished.get(after.id)
        if before is None:
            return
        self._unkept.discard(after.id)
        if after.done:
            self._leave(before)
        else:
            self._unfinished[after.id] = after
        log.info(
            "firmware update",
            extra={
                "EVENT": f"update {after.state.value.lower()}",
                "ENDPOINT": after.endpoint,
                "UPDATE_ID": after.id,
                "REASON": after.reason.value,
                "DETAIL": clean(after.detail),
            },
        )
        self._tell(after)
        self.gate.moved(before, after)

    async def _break_off(self, update: FirmwareUpdate) -> None:
        """End the lead of an update; what it was about to put on disk is there when this returns."""
        if self._leads_it(update):
            task = self._leads[update.endpoint][1]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.shield(self._store.commit())

    async def _forget_package(self, update: FirmwareUpdate) -> None:
        """Have a device drop what it has fetched of a package that is wanted no more; as well as it can."""
        path = update.instance.child(PACKAGE_URI)
        operation = Operation(Kind.WRITE, (path,), (Record(path, "", DataType.STRING),))
        try:
            await self._means.perform(update.endpoint, operation)
        except Exception as error:
            log.info(
                "device not told of the cancelled update",
                extra={"ENDPOINT": update.endpoint, "CAUSE": clean(str(error))},
            )

    def _aside(self, work: Coroutine[None, None, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._asides.add(task)
        task.add_done_callback(self._asides.discard)
        return task

    def _keep_bytes(self) -> None:
        """Note how far packages have got: a restart shows it, and nothing rests on it."""
        known = {number: self.live(number) for number in self._unkept}
        self._unkept.clear()
        progress = {number: update.bytes for number, update in known.items() if update is not None}
        if progress:
            self._store.put_update_bytes(progress)
            self._store.commit()

    def _tell(self, update: FirmwareUpdate) -> None:
        firmware = self._firmware_of(update.firmware_id)
        self._bus.publish(
            "firmware_update",
            {
                "endpoint": update.endpoint,
                "id": update.id,
                "campaign": update.campaign_id,
                "firmware": firmware.id,
                "version": firmware.version,
                "instance": str(update.instance),
                "state": update.state.value,
                "delivery": update.delivery.value if update.delivery is not None else "",
                "bytes": update.bytes,
                "size": firmware.size,
                "attempts": update.attempts,
                "result": update.result,
                "reason": update.reason.value,
                "detail": update.detail,
                "time_ms": self._clock().wall_ms,
            },
            update,
        )


def _installing(update_id: int) -> UsageError:
    return UsageError(
        "update_installing",
        f"update {update_id} is being installed by its device",
        "nothing can stop that; wait until the device comes back",
    )
