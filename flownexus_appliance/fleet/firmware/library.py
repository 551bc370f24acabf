"""The firmware packages of the box: what is known of each, and its file.

Owns table `firmware` and, through `PackageFiles`, the folder of the files. A file is in place before its row
and goes after it: a row without a file is a fault, a file without a row is swept away at the next start.
Several packages may have the same bytes, under other versions: then they share the file.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from ...db.firmware import Firmware, Image, KeptFirmware
from ...db.package_files import PackageFiles
from ...db.store import Store
from ...errors import ApplianceError, UsageError, clean
from ...events import EventBus
from ...lwm2m import mcuboot
from ...lwm2m.core import Moment
from ...lwm2m.firmware import same_version
from ...lwm2m.mcuboot import Kind
from .facts import FirmwareFacts as FirmwareFacts
from .facts import check_facts
from .upload import Upload

_T = TypeVar("_T")
log = logging.getLogger(__name__)


class Doubt(StrEnum):
    """What is odd about a package: a word for programs."""

    FILE_MISSING = "file_missing"  # its file is gone, so it cannot be delivered
    ARCHIVE = "archive"  # several files in one, which a device does not take apart
    NOT_BINARY = "not_binary"  # Intel HEX, ELF or UF2: for a programmer, not for a device
    NO_IMAGE = "no_image"  # it has no MCUboot header
    VERSION_MISMATCH = "version_mismatch"  # what was entered is not the version of its header
    UNSIGNED = "unsigned"  # a boot loader that wants a signature refuses it


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was found out of a file that has its place."""

    sha256: bytes
    size: int
    kind: Kind
    image: Image | None


class Library:
    """All firmware. One instance, in the event loop; files are read and written in threads.

    `in_use` tells whether an update or a campaign of a firmware has not ended.
    """

    def __init__(
        self,
        store: Store,
        files: PackageFiles,
        bus: EventBus,
        clock: Callable[[], Moment],
        in_use: Callable[[int], bool],
    ) -> None:
        self._store = store
        self._files = files
        self._bus = bus
        self._clock = clock
        self._in_use = in_use
        self._known: dict[int, Firmware] = {}
        self._kinds: dict[bytes, Kind] = {}  # of the files that are there
        self._dropped: Callable[[bytes], None] = _nobody
        self._lock = asyncio.Lock()
        self._changes: set[asyncio.Task[Any]] = set()

    async def start(self, kept: KeptFirmware) -> None:
        """Take up what an earlier run kept; files that belong to nothing go.

        Where the folder is of no use, that is told in the log: devices report all the same.
        """
        self._known = {firmware.id: firmware for firmware in kept.firmware}
        wanted = {firmware.sha256: firmware.size for firmware in kept.firmware}
        try:
            self._kinds = await asyncio.to_thread(_take_up, self._files, wanted)
        except ApplianceError as error:
            log.error("firmware folder not usable", extra={"ERROR_CODE": error.code}, exc_info=error)
        for firmware in kept.firmware:
            if firmware.sha256 not in self._kinds:
                log.error("firmware package missing", extra=_fields(firmware))

    async def stop(self) -> None:
        """Wait for what is being changed."""
        while self._changes:
            await asyncio.wait(self._changes)

    def tell(self, dropped: Callable[[bytes], None]) -> None:
        """Call `dropped` with the SHA-256 of each file that goes, just before it does."""
        self._dropped = dropped

    # What is known

    def all(self) -> Sequence[Firmware]:
        """The newest first."""
        return [self._known[number] for number in sorted(self._known, reverse=True)]

    def find(self, firmware_id: int) -> Firmware | None:
        """A firmware that is there; one that is being removed is not."""
        return self._known.get(firmware_id)

    def get(self, firmware_id: int) -> Firmware:
        """As `find`; raises UsageError("firmware_unknown").

        Who keeps a row that refers to it does so before awaiting anything: after that it may be gone.
        """
        firmware = self._known.get(firmware_id)
        if firmware is None:
            raise UsageError(
                "firmware_unknown", f"there is no firmware {firmware_id}", "list the firmware that there is"
            )
        return firmware

    def doubts(self, firmware: Firmware) -> Sequence[Doubt]:
        """What is odd about a package; the worst first."""
        found = []
        kind, image = self._kinds.get(firmware.sha256), firmware.image
        if kind is None:
            found.append(Doubt.FILE_MISSING)
        if kind is Kind.ARCHIVE:
            found.append(Doubt.ARCHIVE)
        elif kind in mcuboot.NOT_BINARY:
            found.append(Doubt.NOT_BINARY)
        elif image is None:
            found.append(Doubt.NO_IMAGE)
        if image is not None and not same_version(firmware.version, (image.version,)):
            found.append(Doubt.VERSION_MISMATCH)
        if image is not None and not image.signed:
            found.append(Doubt.UNSIGNED)
        return found

    # Changes

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        """Begin to take a package; leaving the context throws away what was not added."""
        upload = Upload(self._files)
        try:
            yield upload
        finally:
            await self._through(upload.end())

    async def add(self, upload: Upload, facts: FirmwareFacts, by: str) -> Firmware:
        """Keep an uploaded package; it is on disk, and known, when this returns.

        One that is known and whose file was missing is as it was, and has its file again.

        UsageError: package_empty, package_truncated, package_corrupt, version_missing, version_invalid,
        file_name_invalid, note_invalid, target_invalid, firmware_known; ApplianceError("package_unwritable");
        StoreError.
        """
        facts = check_facts(facts)
        if not upload.received:
            raise UsageError(
                "package_empty", "the package has no bytes", "upload the image that the device installs"
            )
        return await self._through(upload.alone(self._add(upload, facts, by)))

    async def change(self, firmware_id: int, facts: FirmwareFacts) -> Firmware:
        """Say other things of a package; its file name stays.

        UsageError: firmware_unknown, and as `add`; StoreError.
        """
        return await self._through(self._change(firmware_id, check_facts(facts)))

    async def remove(self, firmware_id: int) -> None:
        """Take a package away, with what is remembered of its updates and campaigns.

        UsageError: firmware_unknown, firmware_in_use; StoreError: then it is as before.
        """
        await self._through(self._remove(firmware_id))

    # Within

    async def _through(self, change: Coroutine[Any, Any, _T]) -> _T:
        """Have a change come to its end also when who asked for it gives up."""
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        return await asyncio.shield(task)

    async def _add(self, upload: Upload, facts: FirmwareFacts, by: str) -> Firmware:
        async with self._lock:
            sha256, size = await asyncio.to_thread(upload.keep)
            try:
                file = await asyncio.to_thread(_examine, self._files, sha256, size)
                missed = sha256 not in self._kinds
                self._kinds[sha256] = file.kind
                firmware = self._new(file, facts, by)
                same = self._same(firmware)
                if same is not None and missed:  # its file is back
                    log.info("firmware package back", extra=_fields(same))
                    return same
                self._check_new(firmware)
                self._store.put_firmware(firmware)
                await asyncio.shield(self._store.commit())
            except ApplianceError:
                await self._drop(sha256)
                raise
            self._known[firmware.id] = firmware
        self._announce(firmware, "added")
        return firmware

    def _new(self, file: _Kept, facts: FirmwareFacts, by: str) -> Firmware:
        return Firmware(
            id=self._store.new_firmware_id(),
            version=_version(facts, file.image),
            file_name=facts.file_name,
            size=file.size,
            sha256=file.sha256,
            added_by=by,
            added_ms=self._clock().wall_ms,
            image=file.image,
            note=facts.note,
            model=facts.model,
            tag=facts.tag,
            from_version=facts.from_version,
        )

    async def _change(self, firmware_id: int, facts: FirmwareFacts) -> Firmware:
        async with self._lock:
            before = self.get(firmware_id)
            firmware = replace(
                before,
                version=_version(facts, before.image),
                note=facts.note,
                model=facts.model,
                tag=facts.tag,
                from_version=facts.from_version,
            )
            self._check_new(firmware)
            self._store.change_firmware(firmware)
            await asyncio.shield(self._store.commit())
            self._known[firmware_id] = firmware
        self._announce(firmware, "changed")
        return firmware

    async def _remove(self, firmware_id: int) -> None:
        async with self._lock:
            firmware = self.get(firmware_id)
            if self._in_use(firmware_id):
                raise UsageError(
                    "firmware_in_use",
                    f"firmware {firmware_id} is on its way to devices",
                    "wait until its updates and campaigns have ended, or end them",
                )
            self._store.remove_firmware(firmware_id)
            # At once, for no update of it may begin while the disk is at work.
            del self._known[firmware_id]
            try:
                await asyncio.shield(self._store.commit())
            except ApplianceError:
                self._known[firmware_id] = firmware
                raise
            await self._drop(firmware.sha256)
        self._announce(firmware, "removed")

    def _same(self, firmware: Firmware) -> Firmware | None:
        """Another one of the same bytes and version."""
        for other in self._known.values():
            alike = (other.sha256, other.version) == (firmware.sha256, firmware.version)
            if alike and other.id != firmware.id:
                return other
        return None

    def _check_new(self, firmware: Firmware) -> None:
        """Raises UsageError("firmware_known") where another one is the same."""
        same = self._same(firmware)
        if same is not None:
            raise UsageError(
                "firmware_known",
                f"this package is there already as version {clean(firmware.version)}",
                f"use firmware {same.id}, or give this one another version",
            )

    async def _drop(self, sha256: bytes) -> None:
        """Remove a file that belongs to no package; one that stays is swept away at the next start."""
        if any(firmware.sha256 == sha256 for firmware in self._known.values()):
            return
        self._kinds.pop(sha256, None)
        self._dropped(sha256)
        try:
            await asyncio.to_thread(self._files.remove, sha256)
        except ApplianceError as error:
            log.warning("firmware file not removed", extra={"ERROR_CODE": error.code}, exc_info=error)

    def _announce(self, firmware: Firmware, change: str) -> None:
        log.info("firmware " + change, extra=_fields(firmware))
        self._bus.publish("firmware", {"id": firmware.id, "version": firmware.version, "change": change})


def _version(facts: FirmwareFacts, image: Image | None) -> str:
    if facts.version:
        return facts.version
    if image is None:
        raise UsageError(
            "version_missing",
            "the package has no MCUboot header that tells its version",
            "give the version, as a device tells it that runs it",
        )
    return image.version


def _fields(firmware: Firmware) -> dict[str, object]:
    return {"FIRMWARE": firmware.id, "VERSION": clean(firmware.version), "SHA256": firmware.sha256.hex()}


def _nobody(sha256: bytes) -> None:
    """Nobody has to hear of it."""


# In threads


def _take_up(files: PackageFiles, wanted: Mapping[bytes, int]) -> dict[bytes, Kind]:
    """What the files are, but for those that are not there or of another size.

    Raises ApplianceError("package_unwritable").
    """
    found = {}
    for sha256 in wanted.keys() - files.start(wanted):
        try:
            with closing(files.open(sha256)) as file:
                if file.size == wanted[sha256]:
                    found[sha256] = mcuboot.kind_of(file.pread(0, mcuboot.BEGINNING))
        except ApplianceError as error:
            log.error("firmware package not readable", extra={"ERROR_CODE": error.code}, exc_info=error)
    return found


def _examine(files: PackageFiles, sha256: bytes, size: int) -> _Kept:
    """Raises UsageError: package_truncated, package_corrupt; ApplianceError("package_missing")."""
    with closing(files.open(sha256)) as file:
        kind = mcuboot.kind_of(file.pread(0, mcuboot.BEGINNING))
        found = mcuboot.inspect(file.pread, size)
    image = None if found is None else Image(found.version, found.size, found.signed)
    return _Kept(sha256, size, kind, image)
