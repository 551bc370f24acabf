"""A package on its way in: its file is written in threads, and never by two at a time.

Who uploads may go away at any moment. What a thread is doing then comes to its end before the file is thrown
away.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ...db.package_files import Incoming, PackageFiles

_T = TypeVar("_T")


class Upload:
    """Meets `http.ports_firmware.Upload`; `Library.upload` makes it, and ends it."""

    def __init__(self, files: PackageFiles) -> None:
        self._files = files
        self._incoming: Incoming | None = None
        self._busy: asyncio.Task[Any] | None = None
        self.received = 0

    async def write(self, data: bytes) -> None:
        """Take the next piece; nothing can be written after an error.

        UsageError: package_too_large, storage_low; ApplianceError: package_unwritable.
        """
        await self.alone(asyncio.to_thread(self._write, data))
        self.received += len(data)

    async def alone(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something with the file that comes to its end also when who waits for it gives up."""
        task = asyncio.create_task(work)
        self._busy = task
        return await asyncio.shield(task)

    def keep(self) -> tuple[bytes, int]:
        """The SHA-256 and the size of what was written, now that it has its place; in a thread.

        Raises as `write`.
        """
        assert self._incoming is not None, "nothing was written"
        return self._incoming.keep()

    async def end(self) -> None:
        """Throw away what was not kept."""
        if self._busy is not None:
            await asyncio.wait((self._busy,))
        if self._incoming is not None:
            await asyncio.to_thread(self._incoming.discard)

    def _write(self, data: bytes) -> None:
        # Not before there is something: a request that brings nothing leaves the disk in peace.
        if self._incoming is None:
            self._incoming = self._files.incoming()
        self._incoming.write(data)
