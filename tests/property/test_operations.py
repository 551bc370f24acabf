"""Whatever people ask, devices do and disks refuse, in whatever order, and whenever the daemon is killed:
each operation ends as the table allows, in its turn, and what must not happen twice does not.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path as FilePath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.operations import EndpointOperation
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import Store
from flownexus_appliance.errors import UsageError
from flownexus_appliance.events import Event, EventBus
from flownexus_appliance.fleet import fleet as fleet_module
from flownexus_appliance.fleet import operations as engine
from flownexus_appliance.fleet.fleet import Fleet, FleetOptions
from flownexus_appliance.fleet.ports import Action, Downlink, DownlinkReply, Ports, Sender, Uplink
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m.effects import Reply
from flownexus_appliance.lwm2m.operations import AT_MOST_ONCE, TRANSITIONS, Status
from tests.box import Rows, models
from tests.conftest import FakeClock
from tests.peer import DEADLINE_S, until
from tests.unit.fleet.conftest import Asked, operation, senml

ENDPOINTS = ("one", "two")
WINDOW_S = 20.0
LINKS = b"</10/0>"
KINDS = ("read", "write", "execute", "create", "observe", "write_attributes", "cancel_passive", "delete")
ONCE = {kind.value for kind in AT_MOST_ONCE}
# What the disk may refuse.
WRITES = (
    "INSERT ON endpoint_operation",
    "UPDATE ON endpoint_operation",
    "UPDATE ON endpoint_operation WHEN new.status <> 'SENDING'",
    "UPDATE ON endpoint_operation WHEN new.status = 'SENDING'",
    "INSERT ON operation_attempt",
    "INSERT ON wanted_observation",
    "INSERT ON wanted_attributes",
    "INSERT ON observation",
    "DELETE ON observation",
)
QUIET_TURNS = 12
T = TypeVar("T")

endpoints = st.sampled_from(ENDPOINTS)


def _reachable() -> dict[Status, set[Status]]:
    """Where a state leads to, in one step or several."""
    direct = {status: {a for (b, _), a in TRANSITIONS.items() if b is status} for status in Status}
    found = {status: set(after) for status, after in direct.items()}
    for _ in Status:
        for after in found.values():
            after.update(*[direct[status] for status in set(after)])
    return found


REACHABLE = _reachable()


def address_of(endpoint: str) -> str:
    return f"192.0.2.{1 + ENDPOINTS.index(endpoint)}:5683"


@dataclass(slots=True)
class Wish:
    """An operation that was taken up: and whether the device may have carried it out."""

    kind: str
    endpoint: str
    maybe_done: bool = False


@dataclass(slots=True)
class World:
    """What outlives the daemon: the disk, the devices, and what was asked, by number."""

    path: FilePath
    rows: Rows
    clock: FakeClock = field(default_factory=FakeClock)
    asked: dict[int, Wish] = field(default_factory=dict)
    registrations: dict[str, str] = field(default_factory=dict)
    messages: int = 0

    def status(self, number: int) -> Status:
        ((status,),) = self.rows("SELECT status FROM endpoint_operation WHERE id = ?", number)
        return Status(status)

    def unfinished(self, endpoint: str | None = None) -> list[int]:
        found = self.rows(
            "SELECT o.id FROM endpoint_operation o JOIN endpoint e ON e.id = o.endpoint_id"
            " WHERE o.status IN ('QUEUED', 'SENDING') AND (?1 IS NULL OR e.name = ?1) ORDER BY o.id",
            endpoint,
        )
        return [number for (number,) in found]


@dataclass(slots=True)
class Run:
    """One life of the daemon. `faults` are what was seen where an exception would be caught."""

    world: World
    store: Store
    reader: Reader
    fleet: Fleet
    pending: dict[str, Asked] = field(default_factory=dict)
    told: dict[int, list[Status]] = field(default_factory=dict)
    waiting: list[tuple[int, "asyncio.Task[EndpointOperation]"]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    # The wire

    ports: Ports = field(default=Ports())

    def local_host(self, peer: str) -> str:
        return ""

    async def request(self, address: str, downlink: Downlink) -> DownlinkReply:
        if address in self.pending:
            self.faults.append(f"two requests under way to {address}")
        self._look_at(address, downlink)
        asked = Asked(address, downlink, asyncio.get_running_loop().create_future())
        self.pending[address] = asked
        try:
            return await asked.answered
        finally:
            self.pending.pop(address, None)

    def number_of(self, downlink: Downlink) -> int:
        """The number that stands in the path of each operation."""
        return downlink.path[2] if len(downlink.path) == 3 else downlink.path[-1]

    def wish_of(self, asked: Asked) -> Wish | None:
        """Whose request this is; None of the box's own."""
        number = self.number_of(asked.downlink)
        wish = self.world.asked.get(number)
        return wish if wish is not None and self.world.status(number) is Status.SENDING else None

    def _look_at(self, address: str, downlink: Downlink) -> None:
        number = self.number_of(downlink)
        wish = self.world.asked[number]
        status = self.world.status(number)
        if status is not Status.SENDING:
            # The box asks again for what was confirmed, after a Register.
            if not (wish.kind in ("observe", "write_attributes") and status is Status.CONFIRMED):
                self.faults.append(f"{wish.kind} {number} is sent while the disk has it {status}")
            return
        if self.world.unfinished(wish.endpoint)[0] != number:
            self.faults.append(f"{number} is sent before its turn")
        if wish.kind in ONCE and wish.maybe_done:
            self.faults.append(f"{wish.kind} {number} is sent once more")
        wish.maybe_done = True

    # The bus

    def heard(self, event: Event) -> None:
        if event.name != "operation":
            return
        number, status = event.data["id"], Status(event.data["status"])
        assert isinstance(event.subject, EndpointOperation)
        before = self.told.setdefault(number, [])
        if before and status not in REACHABLE[before[-1]]:
            self.faults.append(f"{number} is told {status} after {before}")
        on_disk = self.world.status(number)
        if on_disk is not status and on_disk not in REACHABLE[status]:
            self.faults.append(f"{number} is told {status}, and the disk has {on_disk}")
        before.append(status)

    # Time and quiet

    def busy(self) -> bool:
        writer = self.store.writer
        return (
            writer._in_flight is not None
            or writer._timer is not None
            or len(writer._batch) > 0
            or writer._broken
        )

    async def quiet(self) -> None:
        """Until nothing more happens by itself."""
        turns = 0
        while turns < QUIET_TURNS:
            if self.busy():
                await until(lambda: not self.busy())
                turns = 0
            await asyncio.sleep(0)
            turns += 1

    def tick(self) -> None:
        self.fleet._on_time(lambda moment: self.fleet._intake.apply(self.fleet._core.tick(moment)))
        self.fleet._on_time(self.fleet.operations.tick)

    # The end

    def kill(self) -> None:
        """As by SIGKILL: what is gathered is lost, and nothing more is written."""
        writer = self.store.writer
        if writer._timer is not None:
            writer._timer.cancel()
        writer._batch.statements.clear()
        writer._batch.samples.clear()

        def dead() -> None:
            raise StoreError("store_failed", "killed")

        writer.gather = dead  # type: ignore[method-assign, assignment]
        writer._broken = True

    async def stop(self) -> None:
        await self.fleet.stop()
        for _, task in self.waiting:
            task.cancel()
        await asyncio.gather(*(task for _, task in self.waiting), return_exceptions=True)
        await self.reader.stop()
        await self.store.stop()


class Watcher(logging.Handler):
    """Notes down what is logged as an error, but for the disk's."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() != "commit failed":
            self.found.append(self.format(record))


async def started(world: World) -> Run:
    bus = EventBus()
    store = Store(world.path, partial(describe, models()))
    kept = await store.start()
    reader = Reader(world.path)
    await reader.start()
    options = FleetOptions(watch_list=(), awake_window_s=WINDOW_S)
    fleet = Fleet(store, bus, models(), options, reader.operation, world.clock)
    run = Run(world, store, reader, fleet)
    bus.listen(run.heard)
    fleet.start(kept, run)
    fleet.operations.open()
    await run.quiet()
    return run


class OperationsMachine(RuleBasedStateMachine):
    numbers = Bundle("numbers")

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(fleet_module, "TICK_S", 3600.0)
        self.patch.setattr(writer_module, "RETRY_S", 0.001)
        self.patch.setattr(writer_module, "COMMIT_INTERVAL_S", 0.0)
        self.folder = TemporaryDirectory()
        path = FilePath(self.folder.name) / "operations.db"
        self.world = World(path, Rows(path))
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.defects.append(str(context)))
        self.defects: list[str] = []
        self.watcher = Watcher(self.defects)
        logging.getLogger("flownexus_appliance").addHandler(self.watcher)
        self.broken: list[str] = []
        self.run = self.loop.run_until_complete(started(self.world))

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something, and wait until nothing more comes of it."""

        async def then_quiet() -> T:
            try:
                return await work
            finally:
                await self.run.quiet()

        return self.loop.run_until_complete(then_quiet())

    def call(self, function: Callable[[], object]) -> None:
        async def called() -> None:
            function()

        self.do(called())

    # Devices

    def uplink(self, action: Action, endpoint: str, **more: Any) -> Uplink:
        self.world.messages += 1
        address = address_of(endpoint)
        return Uplink(
            action,
            Sender(address, address),
            self.world.messages & 0xFFFF,
            b"%d" % self.world.messages,
            **more,
        )

    def says(self, uplink: Uplink) -> Reply | None:
        async def said() -> Any:
            answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self.run.fleet.uplinks.receive(uplink, answered.set_result)
            return await answered

        outcome = self.do(said())
        return outcome if isinstance(outcome, Reply) else None

    def is_awake(self, endpoint: str) -> None:
        """It was heard and listens: unless the disk is broken, what waits for it is under way."""
        if not self.broken and self.world.unfinished(endpoint):
            assert address_of(endpoint) in self.run.pending, "a wake-up was lost"

    @initialize(queue_mode=st.booleans())
    def begins(self, queue_mode: bool) -> None:
        for endpoint in ENDPOINTS:
            self.registers(endpoint, queue_mode)

    @rule(endpoint=endpoints, queue_mode=st.booleans())
    def registers(self, endpoint: str, queue_mode: bool) -> None:
        query = ["lwm2m=1.1", f"ep={endpoint}", "lt=86400", *(["b=U", "Q"] if queue_mode else [])]
        self.world.clock.advance(0.001)
        reply = self.says(
            self.uplink(Action.REGISTER, endpoint, query=tuple(query), content_format=40, payload=LINKS)
        )
        if reply is not None:
            self.world.registrations[endpoint] = reply.location[1]
            self.is_awake(endpoint)

    @rule(endpoint=endpoints)
    def updates(self, endpoint: str) -> None:
        self.world.clock.advance(0.001)
        registration_id = self.world.registrations.get(endpoint, "nosuch")
        if self.says(self.uplink(Action.UPDATE, endpoint, registration_id=registration_id)) is not None:
            self.is_awake(endpoint)

    @rule(endpoint=endpoints)
    def sends(self, endpoint: str) -> None:
        self.world.clock.advance(0.001)
        payload = senml({"/3303/0/5700": float(self.world.messages)})
        if self.says(self.uplink(Action.SEND, endpoint, content_format=112, payload=payload)) is not None:
            self.is_awake(endpoint)

    @rule(endpoint=endpoints)
    def deregisters(self, endpoint: str) -> None:
        registration_id = self.world.registrations.get(endpoint, "nosuch")
        self.says(self.uplink(Action.DEREGISTER, endpoint, registration_id=registration_id))

    def pending(self, number: int) -> Asked:
        """One of the requests under way."""
        found = sorted(self.run.pending)
        return self.run.pending[found[number % len(found)]]

    @precondition(lambda self: self.run.pending)
    @rule(number=st.integers(0, 1), how=st.sampled_from(("done", "4.05", "5.03", "silent", "nonsense")))
    def answers(self, number: int, how: str) -> None:
        asked = self.pending(number)
        self.world.clock.advance(0.001)
        self.call(partial(self.answer, asked, how))

    def answer(self, asked: Asked, how: str) -> None:
        down = asked.downlink
        wish = self.run.wish_of(asked)
        if how == "5.03" and wish is not None:
            wish.maybe_done = False
        if how == "silent":
            asked.fail()
        elif how == "nonsense":
            asked.answer("2.05", b"\xff")
        elif how != "done":
            asked.answer(how)
        elif down.accept is not None:
            asked.value({str(down.path): 1.0}, observe=None if down.observe is None else 1)
        else:
            asked.answer("2.04")

    @rule(seconds=st.sampled_from((0.5, 5.0, 15.0, 30.0)))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.advance(seconds)
        self.call(self.run.tick)

    # People

    @rule(
        target=numbers,
        endpoint=endpoints,
        kind=st.sampled_from(KINDS),
        deadline_s=st.sampled_from((0, 0, 10)),
    )
    def asks(self, endpoint: str, kind: str, deadline_s: int) -> Any:
        number = self.run.store._catalog.next_operation
        path = {"create": f"/{number}", "delete": f"/10/{number}"}.get(kind, f"/10/0/{number}")
        wanted = operation(
            kind,
            path,
            values={path: 1.0} if kind == "write" else None,
            attributes=(("pmin", str(number)),) if kind == "write_attributes" else (),
        )
        deadline_ms = self.world.clock.wall_ms + deadline_s * 1000 if deadline_s else 0
        wish = Wish(kind, endpoint)
        self.world.asked[number] = wish  # its request may leave before the asking returns
        ask = partial(self.run.fleet.operations.ask, deadline_ms=deadline_ms, checked=False)
        try:
            asked = self.do(ask(endpoint, wanted, "test"))
        except StoreError:
            self.fails_for_a_reason()
            del self.world.asked[number]
            return multiple()
        assert asked.id == number
        return number

    @rule(number=numbers)
    def cancels(self, number: int) -> None:
        # Where the disk takes nothing the end is not to be waited for.
        self.patch.setattr(engine, "STOP_WAIT_S", 0.01 if self.broken else DEADLINE_S)
        try:
            kept = self.do(self.run.fleet.operations.cancel(number))
        except StoreError:
            self.fails_for_a_reason()
            return
        except UsageError:  # it is done, or was in an earlier life
            if number in self.run.fleet.operations._unfinished:
                raise
            return
        if kept.status is Status.CANCELLED:
            assert self.world.status(number) is Status.CANCELLED
        else:
            assert kept.done or self.broken

    @rule(number=numbers)
    def waits(self, number: int) -> None:
        async def begun() -> None:
            task = asyncio.create_task(self.run.fleet.operations.finished(number, 3600.0))
            self.run.waiting.append((number, task))

        self.do(begun())

    @precondition(lambda self: self.run.waiting)
    @rule()
    def one_who_waits_leaves(self) -> None:
        _, task = self.run.waiting.pop()
        self.call(task.cancel)
        self.loop.run_until_complete(asyncio.gather(task, return_exceptions=True))

    def fails_for_a_reason(self) -> None:
        assert self.broken

    # The disk and the daemon

    @precondition(lambda self: not self.broken)
    @rule(change=st.sampled_from(WRITES))
    def the_disk_breaks(self, change: str) -> None:
        self.broken.append(change)
        self.trigger(f"CREATE TRIGGER broken BEFORE {change} BEGIN SELECT RAISE(ABORT, 'disk full'); END")

    @precondition(lambda self: self.broken)
    @rule()
    def the_disk_is_mended(self) -> None:
        self.trigger("DROP TRIGGER broken")
        self.broken.clear()
        self.call(self.run.tick)

    def trigger(self, sql: str) -> None:
        with closing(sqlite3.connect(self.world.path, isolation_level=None)) as connection:
            connection.execute(sql)

    @rule(orderly=st.booleans())
    def the_daemon_starts_anew(self, orderly: bool) -> None:
        self.no_faults()
        told = {number: states[-1] for number, states in self.run.told.items()}
        if not orderly:
            self.run.kill()
        self.loop.run_until_complete(self.run.stop())
        for number, status in told.items():
            now = self.world.status(number)
            assert now is status or now in REACHABLE[status], "what was told is on disk"
        self.run = self.loop.run_until_complete(started(self.world))

    @precondition(lambda self: self.run.pending)
    @rule(number=st.integers(0, 1), orderly=st.booleans(), how=st.sampled_from(("done", "silent", "5.03")))
    def the_daemon_is_killed_in_the_middle(self, number: int, orderly: bool, how: str) -> None:
        """An answer has come, and of what follows from it some may be on disk."""
        asked = self.pending(number)

        async def answered_and_killed() -> None:
            self.answer(asked, how)
            for _ in range(3):
                await asyncio.sleep(0)
            if not orderly:
                self.run.kill()
            await self.run.stop()

        self.loop.run_until_complete(answered_and_killed())
        self.run = self.loop.run_until_complete(started(self.world))

    # What always holds

    @invariant()
    def no_faults(self) -> None:
        assert self.run.faults == []
        assert self.defects == [], "what nobody has caught, or what was caught as a defect"

    @invariant()
    def nothing_is_lost(self) -> None:
        kept = {number for (number,) in self.world.rows("SELECT id FROM endpoint_operation")}
        assert set(self.world.asked) == kept

    @invariant()
    def what_was_told_is_what_the_disk_has(self) -> None:
        for number, states in self.run.told.items():
            assert self.world.status(number) is states[-1]

    @invariant()
    def memory_has_what_is_not_done_and_no_more(self) -> None:
        operations = self.run.fleet.operations
        open_ones = set(self.world.unfinished())
        assert set(operations._unfinished) | set(operations._settling) == open_ones
        assert not set(operations._unfinished) & set(operations._settling)
        assert set(operations._awaited) <= open_ones
        for endpoint, line in operations._lines.items():
            assert [one.id for one in line.waiting] == sorted(one.id for one in line.waiting)
            assert line.waiting, f"an empty line is left of {endpoint}"
            assert (line.task is None) == (line.flight is None)
        if not self.broken:
            assert not operations._settling

    @invariant()
    def an_execute_that_may_have_been_done_waits_no_more(self) -> None:
        for number in self.world.unfinished():
            wish = self.world.asked[number]
            if wish.kind in ONCE and wish.maybe_done:
                assert self.world.status(number) is Status.SENDING

    # The end

    def teardown(self) -> None:
        try:
            self.all_ends()
        finally:
            self.loop.run_until_complete(self.run.stop())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()
            logging.getLogger("flownexus_appliance").removeHandler(self.watcher)
            self.patch.undo()

    def all_ends(self) -> None:
        """The disk is mended, the devices come back and do what they are asked: all is done."""
        if self.broken:
            self.the_disk_is_mended()
        for endpoint in ENDPOINTS:
            self.registers(endpoint, False)
        # After a Register the box asks again for what is wanted, too.
        for _ in range(100 + 10 * len(self.world.asked)):
            if not self.run.pending:
                break
            self.answers(0, "done")
            self.no_faults()
        assert self.world.unfinished() == []
        for number, task in self.run.waiting:
            assert task.done(), f"who waits for {number} waits for ever"
            if task.exception() is None:
                assert task.result().status is self.world.status(number)
        self.run.waiting.clear()
        operations = self.run.fleet.operations
        assert not operations._lines
        assert not operations._owed
        assert not operations._awaited


TestOperations = OperationsMachine.TestCase
TestOperations.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
