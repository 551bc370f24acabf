"""One change after the other: checked against memory, on disk by one commit, and only then to be seen."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from ..db.store import Store
from ..db.writer import Batch

Result = TypeVar("Result")
Show = Callable[[], None]


class Changes:
    """The line of those who change people, sessions and tokens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = asyncio.Lock()

    async def make(self, prepare: Callable[[Batch], tuple[Result, Show]]) -> Result:
        """Make a change, when it is its turn.

        `prepare` checks, and then gathers rows, so that what raises leaves nothing behind. The second thing
        it returns changes memory once they are on disk. Raises what it raises, and StoreError: then all is
        as before.
        """
        await self._turn.acquire()
        try:
            result, show = prepare(self._store.writer.gather())
            done = self._store.commit()
        except BaseException:
            self._turn.release()
            raise

        def settled(future: asyncio.Future[None]) -> None:
            try:
                if future.exception() is None:
                    show()
            finally:
                self._turn.release()

        # Who waits may give up: neither what becomes of the change nor whose turn is next hangs on it.
        done.add_done_callback(settled)
        await asyncio.shield(done)
        return result
