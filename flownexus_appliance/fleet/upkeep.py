"""Has the store's own work done: roll-ups, and samples that have been kept long enough, a piece at a time.

Devices wait for the same thread, so a piece is short, and many times as much time is theirs. While the clock
cannot be right nothing is done: it would say that everything is old.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ..db.migrate import StoreError
from ..db.upkeep import FAILED, Upkeep

LOOK_EVERY_S: Final = 60.0
# What came late is looked after sooner.
TICK_S: Final = 5.0
# Between two pieces, of the time that the first took: a tenth of the writer's time is ours.
PAUSE_FACTOR: Final = 9.0
LEAST_PAUSE_S: Final = 0.02
RETRY_S: Final = 60.0
log = logging.getLogger(__name__)


class UpkeepTask:
    """Works for as long as the box runs. `doubt` says what is wrong with the clock, "" where nothing is."""

    def __init__(self, upkeep: Upkeep, now_ms: Callable[[], int], doubt: Callable[[], str]) -> None:
        self._upkeep = upkeep
        self._now_ms = now_ms
        self._doubt = doubt
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="upkeep")

    async def stop(self) -> None:
        """What is under way is in the store's hands, and is committed or not as a whole."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        look_at = loop.time()
        while True:
            pause = TICK_S
            if not self._doubt():
                if loop.time() >= look_at:
                    look_at = loop.time() + LOOK_EVERY_S
                    self._upkeep.look(self._now_ms())
                began = loop.time()
                try:
                    if await self._upkeep.piece():
                        pause = max(LEAST_PAUSE_S, PAUSE_FACTOR * (loop.time() - began))
                except StoreError as error:
                    pause = RETRY_S
                    if error.code == FAILED:  # else the writer has told it, and goes on when the disk does
                        log.error("upkeep failed", extra={"ERROR_CODE": error.code}, exc_info=error)
            await asyncio.sleep(pause)
