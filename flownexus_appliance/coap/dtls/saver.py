"""Keeps sessions on the disk, so that neither a restart nor a power cut costs a device a handshake.

What a session is goes to the disk when it is made; where its records stand once a second, with all that
were used. The number of a record is never used twice, not even after a crash (RFC 5246 6.1: with CCM
and GCM a repetition gives the key away): what is saved is ahead, and no session sends beyond it.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from ...db.migrate import StoreError
from ...fleet.ports import SessionKeeper
from .peer import AHEAD, DtlsPeer, ahead, records_sent

SAVE_PERIOD_S: Final = 1.0
log = logging.getLogger(__name__)


class Saver:
    """Saves sessions by a `SessionKeeper`; a disk that fails delays, and loses nothing that was sent.

    `saved` is called after each round, once a second.
    """

    def __init__(self, keeper: SessionKeeper, saved: Callable[[], None]) -> None:
        self._keeper = keeper
        self._saved = saved
        self._used: dict[bytes, DtlsPeer] = {}
        self._new: dict[bytes, DtlsPeer] = {}  # not on the disk yet
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="dtls sessions")

    async def stop(self) -> None:
        """Save exactly where every session stands."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        try:
            await self.save(by=0)
        except StoreError as error:
            log.warning("sessions not kept", extra={"ERROR_CODE": error.code})

    def used(self, peer: DtlsPeer) -> None:
        """Its counters have moved."""
        self._used[peer.id] = peer

    def made(self, peer: DtlsPeer) -> None:
        """Keep a session that was just made; it may send AHEAD records at once, nobody else knows it yet.

        Where the disk does not take it, it is tried again until it does.
        """
        self._new[peer.id] = peer
        peer.records_out = records_sent(_counters(peer))
        peer.record_limit = peer.records_out + AHEAD
        self._keep_new(peer)

    def closed(self, peer: DtlsPeer) -> None:
        """Keep a session that can only be resumed any more."""
        self._forget(peer.id)
        saved = peer.saved(_counters(peer), live=False)
        self._put(lambda: self._keeper.put_session(saved))

    def ended(self, session_id: bytes) -> None:
        """Forget a session."""
        self._forget(session_id)
        self._put(lambda: self._keeper.remove_session(session_id))

    async def save(self, by: int = AHEAD) -> None:
        """Save where those stand that were used; each may send `by` more records. Raises StoreError."""
        for peer in tuple(self._new.values()):
            self._keep_new(peer)
        used, self._used = self._used, {}
        if not used:
            return
        rows = {}
        for peer in used.values():
            counters = _counters(peer)
            peer.records_out = records_sent(counters)
            rows[peer.id] = ahead(counters, by), peer.where, peer.used_at
        try:
            self._keeper.put_session_counters(rows)
            await asyncio.shield(self._keeper.commit())
        except BaseException:
            self._used = used | self._used
            raise
        for peer in used.values():
            peer.record_limit = records_sent(rows[peer.id][0])

    def _keep_new(self, peer: DtlsPeer) -> None:
        saved = peer.saved(ahead(_counters(peer)))
        done = self._put(lambda: self._keeper.put_session(saved))

        def settled(future: asyncio.Future[None]) -> None:
            if future.exception() is None and self._new.pop(peer.id, None) is not None:
                # Not before: a row of an earlier try may be all that the disk ever takes.
                peer.record_limit = records_sent(saved.counters)

        if done is not None:
            done.add_done_callback(settled)

    def _forget(self, session_id: bytes) -> None:
        self._used.pop(session_id, None)
        self._new.pop(session_id, None)

    def _put(self, put: Callable[[], None]) -> asyncio.Future[None] | None:
        try:
            put()
            return self._keeper.commit()
        except StoreError as error:
            log.warning("session not kept", extra={"ERROR_CODE": error.code})
            return None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SAVE_PERIOD_S)
            try:
                await self.save()
                self._saved()
            except StoreError as error:
                log.warning("sessions not kept", extra={"ERROR_CODE": error.code})
            except Exception:
                # A defect must not stop the saving: every session would fall silent at its limit.
                log.exception("sessions not kept")


def _counters(peer: DtlsPeer) -> bytes:
    return peer.counters if peer.live is None else peer.live.counters()
