"""The one writer: a thread that commits what the event loop has gathered, many messages at once.

Group commit: while one commit is on its way to the disk, everything that arrives gathers in the next
batch; all who wait for a batch share one future. Numeric samples go in by a single statement a
batch, because every statement of `sqlite3` gives the interpreter lock away and must win it back.

When a commit fails, its batch and the one being gathered fail as a whole, nothing of them is on
disk, and nothing new is taken before the store has thrown away what it believed (`on_failure`).
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import copysign
from typing import Any, Final

import msgspec

from ..lwm2m.values import INT64_MAX, INT64_MIN
from .migrate import StoreError

# At most one commit in this time: spares flash memory, and costs a device a wait that its radio
# does not notice.
COMMIT_INTERVAL_S: Final = 0.004
# After a failed commit: a full disk must not fail batch after batch, each with its line in the log.
RETRY_S: Final = 1.0
MAX_GATHERED: Final = 100_000
# Bounds the search for a free millisecond: as many as a stamp in whole seconds stands for.
MAX_BESIDE: Final = 200

# SQLite does not read every decimal number to its last bit (3.46 misses one double in some
# thousands), so a float comes as a fraction of integers, which divide without a rest; 0 below the
# line marks an integer.
_INSERT_NUMBERS: Final = """
    INSERT INTO resource (series_id, time_ms, value)
    SELECT value ->> 0, value ->> 1,
           iif(value ->> 3, CAST(value ->> 2 AS REAL) / (value ->> 3), value ->> 2)
    FROM json_each(?) WHERE true
    ON CONFLICT (series_id, time_ms) DO NOTHING
"""
_INSERT_ONE: Final = """
    INSERT INTO resource (series_id, time_ms, value) VALUES (?, ?, ?)
    ON CONFLICT (series_id, time_ms) DO NOTHING
"""
_TAKEN: Final = """
    SELECT time_ms, value FROM resource WHERE series_id = ? AND time_ms >= ? ORDER BY time_ms LIMIT ?
"""
_INSERT_LAST: Final = """
    INSERT INTO resource (series_id, time_ms, value)
    SELECT series_id, max(time_ms) + 1, ? FROM resource WHERE series_id = ?
"""

SqlValue = int | float | str | bytes
Sample = tuple[int, int, SqlValue]  # series id, time in ms since 1970, value
_Row = tuple[int, int, int, int]  # series id, time, integer or numerator, 0 or denominator
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Batch:
    """What one transaction will hold. Statements run before samples, so a new series exists.

    Jobs run last, and see all that was gathered before they were.
    """

    done: asyncio.Future[None]
    statements: list[tuple[str, tuple[SqlValue | None, ...]]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    jobs: list["Job"] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.statements) + len(self.samples) + len(self.jobs)


@dataclass(slots=True)
class Job:
    """The box's own work on the file: what it returned, or why nothing of it is there.

    One that fails does so alone: what devices wait for is committed without it.
    """

    work: Callable[[sqlite3.Connection], Any]
    result: Any = None
    error: Exception | None = None


class Writer:
    """Owns the writing connection and its thread.

    `reload` runs in the thread after a failed commit and reads anew what the store believes of the
    file; its result is handed to `on_failure` in the event loop.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        reload: Callable[[sqlite3.Connection], Any],
        on_failure: Callable[[Any], None],
    ) -> None:
        self._connection = connection
        self._reload = reload
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._batch = Batch(self._loop.create_future())
        self._in_flight: Batch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._broken = False
        self._stopping = threading.Event()
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="db-writer")
        self.commits = 0
        self.samples = 0

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Commit what is gathered, end the thread, close the connection."""
        while not self._broken and (self._in_flight is not None or len(self._batch)):
            pending = self._in_flight.done if self._in_flight is not None else self.commit()
            await asyncio.wait([pending])
        if self._timer is not None:
            self._timer.cancel()
        self._stopping.set()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._connection.close()

    def gather(self) -> Batch:
        """The batch to add to; what is added in one go of the event loop is committed as one.

        Raises StoreError("store_failed") while the disk does not take writes and
        StoreError("store_full") when too much waits for it already.
        """
        if self._broken:
            raise _failure("the last commit failed")
        if len(self._batch) > MAX_GATHERED:
            raise StoreError(
                "store_full", f"{len(self._batch)} rows wait for the disk", "the disk is too slow"
            )
        return self._batch

    def commit(self) -> asyncio.Future[None]:
        """A future that is done when all gathered so far is on disk.

        It is shared by everybody in the batch: shield it where a task that awaits it may be
        cancelled. It fails with StoreError("store_failed").
        """
        if len(self._batch):
            self._schedule()
            return self._batch.done
        if self._in_flight is not None:
            return self._in_flight.done
        nothing = self._loop.create_future()
        nothing.set_result(None)
        return nothing

    def _schedule(self) -> None:
        if self._in_flight is None and self._timer is None:
            wait = self._flushed_at + COMMIT_INTERVAL_S - self._loop.time()
            self._timer = self._loop.call_later(max(0.0, wait), self._flush)

    def _flush(self) -> None:
        self._timer = None
        self._flushed_at = self._loop.time()
        self._in_flight, self._batch = self._batch, Batch(self._loop.create_future())
        self._queue.put(self._in_flight)

    def _succeeded(self, batch: Batch) -> None:
        self._in_flight = None
        batch.done.set_result(None)
        if len(self._batch):
            self._schedule()

    def _failed(self, batch: Batch, error: Exception) -> None:
        self._broken = True
        failure = _failure(str(error))
        failure.__cause__ = error
        log.error("commit failed", extra={"ERROR_CODE": failure.code, "ROWS": len(batch)}, exc_info=error)
        waiting, self._batch = self._batch, Batch(self._loop.create_future())
        self._in_flight = None
        for lost in (batch, waiting):
            lost.done.set_exception(failure)
            lost.done.exception()  # waiters see it; a batch without any is no unhandled error

    def _recovered(self, knowledge: Any) -> None:
        self._on_failure(knowledge)
        self._broken = False

    # In the thread

    def _run(self) -> None:
        while (batch := self._queue.get()) is not None:
            try:
                self._commit(batch)
            except Exception as error:  # whatever it is: those who wait for the batch must hear of it
                self._call(self._failed, batch, error)
                self._recover()
            else:
                self._call(self._succeeded, batch)

    def _commit(self, batch: Batch) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, parameters in batch.statements:
                connection.execute(sql, parameters)
            rows, left = _rows(batch.samples)
            if rows:
                text = msgspec.json.encode(rows).decode()
                if connection.execute(_INSERT_NUMBERS, (text,)).rowcount != len(rows):
                    left = batch.samples  # all once more: those that are in stay as they are
            for sample in left:
                _insert_beside(connection, sample)
            for job in batch.jobs:
                _do(connection, job)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self.commits += 1
        self.samples += len(batch.samples)

    def _recover(self) -> None:
        while not self._stopping.wait(RETRY_S):
            with contextlib.suppress(Exception):  # a file that cannot be read now may be in a second
                self._call(self._recovered, self._reload(self._connection))
                return

    def _call(self, function: Callable[..., None], *arguments: Any) -> None:
        # A closed loop raises RuntimeError: nobody is left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def when_done(
    done: asyncio.Future[None], then: Callable[[], None], lost: Callable[[], None] | None = None
) -> None:
    """Call `then` when a commit is on disk, `lost` when it failed."""

    def settled(future: asyncio.Future[None]) -> None:
        if future.exception() is None:
            then()
        elif lost is not None:
            lost()

    done.add_done_callback(settled)


def _do(connection: sqlite3.Connection, job: Job) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(connection)
    except Exception as error:
        if not connection.in_transaction:  # a full or broken disk took all of it back
            raise
        job.error = error
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")


def _rows(samples: Iterable[Sample]) -> tuple[list[_Row], list[Sample]]:
    """The numbers as rows for `_INSERT_NUMBERS`, and what has to go in by itself."""
    rows: list[_Row] = []
    left: list[Sample] = []
    for sample in samples:
        series_id, time_ms, value = sample
        if isinstance(value, float):
            above, below = value.as_integer_ratio()
            if not above:
                below = int(copysign(1.0, value))
        elif isinstance(value, int):
            above, below = value, 0
        else:
            left.append(sample)
            continue
        if INT64_MIN <= above <= INT64_MAX and below <= INT64_MAX:
            rows.append((series_id, time_ms, above, below))
        else:
            left.append(sample)
    return rows, left


def _insert_beside(connection: sqlite3.Connection, sample: Sample) -> None:
    """Insert a sample whose moment may be taken.

    The same value at the same moment is the same sample, sent twice. Another value is another
    sample (devices stamp by the second and measure more often): it goes to the next free
    millisecond, or behind the whole series where `MAX_BESIDE` in a row are taken.
    """
    if connection.execute(_INSERT_ONE, sample).rowcount:
        return
    series_id, time_ms, value = sample
    for taken_ms, there in connection.execute(_TAKEN, (series_id, time_ms, MAX_BESIDE)).fetchall():
        if taken_ms != time_ms:
            break
        if there == value and isinstance(there, type(value)):
            return
        time_ms += 1
    if not connection.execute(_INSERT_ONE, (series_id, time_ms, value)).rowcount:
        connection.execute(_INSERT_LAST, (value, series_id))


def _failure(reason: str) -> StoreError:
    return StoreError(
        "store_failed",
        f"the database did not take a write: {reason}",
        "check free space and the health of the disk; devices repeat what was not acknowledged",
    )
