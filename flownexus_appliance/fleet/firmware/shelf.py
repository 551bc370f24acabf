"""The packages as devices fetch them: from a ticket to the file, and who may have it.

Meets `fleet.ports.Packages`. Block by block a device comes anew: files stay open between, a few at a time.
A block is read as it is asked for: that takes a microsecond, and the kernel reads ahead.
LwM2M Core 1.1.1 E.6 (Package URI); RFC 7959 2.4 (the ETag tells blocks of one package from another's).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ...db.firmware import Firmware, FirmwareUpdate
from ...db.package_files import PackageFile, PackageFiles
from ...errors import ApplianceError, PeerError
from ..ports import PackageGone, Sender
from .library import Library

OPEN_FILES: Final = 16
ETAG_BYTES: Final = 8
# Of how many updates it is remembered that their device has come for the package.
REMEMBERED: Final = 4096
log = logging.getLogger(__name__)


class Shelf:
    """Who comes with a ticket. One instance, in the event loop.

    `find` gives the update of a ticket that has not ended; `fetched` is told up to which byte its device has
    come for the package. `plain`: whether packages may go over plain CoAP.

    A ticket is good from the first moment of its update to the last, in whatever state that is: the device
    has the address before its answer to it is here, comes again for a block whose answer was lost, and goes
    on after a restart of the box or while the update waits for another try. Nobody else knows the ticket,
    and when the update ends, so does the fetching.
    """

    def __init__(
        self,
        find: Callable[[str], FirmwareUpdate | None],
        library: Library,
        files: PackageFiles,
        fetched: Callable[[int, int], None],
        *,
        plain: bool = True,
    ) -> None:
        self._find = find
        self._library = library
        self._files = files
        self._fetched = fetched
        self._plain = plain
        self._open: OrderedDict[bytes, PackageFile] = OrderedDict()
        self._come: OrderedDict[int, None] = OrderedDict()
        self._stopped = False

    def start(self) -> None:
        self._library.tell(self._close)

    def stop(self) -> None:
        """Close all files; who still reads gets PackageGone."""
        self._stopped = True
        for sha256 in tuple(self._open):
            self._close(sha256)

    def open(self, ticket: str, sender: Sender | None) -> "ShelfPackage":
        """See `fleet.ports.Packages`.

        By plain CoAP, where it is open, and by HTTP whoever knows the ticket may fetch. A DTLS session has a
        name, and that must be the update's; a device that came by the enrolment key has none yet.
        """
        update = self._find(ticket)
        if update is None or (sender is not None and not sender.secure and not self._plain):
            raise PeerError("not_found", "no package is there", "it is there while its update is under way")
        if not _may_fetch(update, sender):
            log.warning(
                "package refused",
                extra={"ENDPOINT": update.endpoint, "UPDATE_ID": update.id, "PEER": _peer(sender)},
            )
            raise PeerError(
                "identity_refused",
                "the package is for another device",
                "fetch it by the device's own session",
            )
        firmware = self._firmware(update.firmware_id)
        package = ShelfPackage(self, firmware, update.id, self._fetched)
        self._file(firmware)  # a package that is gone is told before the answer has begun
        self._log_first(update, sender)
        return package

    def body(self, firmware_id: int) -> "ShelfBody":
        """A package to be pushed, or downloaded by an operator. Raises PackageGone."""
        firmware = self._firmware(firmware_id)
        self._file(firmware)
        return ShelfBody(self, firmware)

    def read(self, firmware: Firmware, offset: int, size: int) -> bytes:
        """A piece of a package. Raises PackageGone."""
        size = max(0, min(size, firmware.size - offset))
        try:
            data = self._file(firmware).pread(offset, size)
        except ApplianceError as error:
            raise PackageGone(error.message) from error
        if len(data) < size:
            self._close(firmware.sha256)
            raise PackageGone(f"the file of firmware {firmware.id} is cut off")
        return data

    # Within

    def _firmware(self, firmware_id: int) -> Firmware:
        firmware = self._library.find(firmware_id)
        if firmware is None:
            raise PackageGone(f"firmware {firmware_id} was removed")
        return firmware

    def _file(self, firmware: Firmware) -> PackageFile:
        file = self._open.get(firmware.sha256)
        if file is not None:
            self._open.move_to_end(firmware.sha256)
            return file
        if self._stopped:
            raise PackageGone("the appliance is stopping")
        try:
            file = self._files.open(firmware.sha256)
        except ApplianceError as error:
            raise PackageGone(error.message) from error
        if file.size != firmware.size:
            file.close()
            raise PackageGone(
                f"the file of firmware {firmware.id} has {file.size} bytes, not {firmware.size}"
            )
        self._open[firmware.sha256] = file
        if len(self._open) > OPEN_FILES:
            self._open.popitem(last=False)[1].close()
        return file

    def _close(self, sha256: bytes) -> None:
        file = self._open.pop(sha256, None)
        if file is not None:
            file.close()

    def _log_first(self, update: FirmwareUpdate, sender: Sender | None) -> None:
        if update.id in self._come:
            return
        self._come[update.id] = None
        if len(self._come) > REMEMBERED:
            self._come.popitem(last=False)
        log.info(
            "package fetched",
            extra={"ENDPOINT": update.endpoint, "UPDATE_ID": update.id, "PEER": _peer(sender)},
        )


class ShelfBody:
    """Meets `fleet.ports.Body`."""

    __slots__ = ("_firmware", "_shelf")

    def __init__(self, shelf: Shelf, firmware: Firmware) -> None:
        self._shelf = shelf
        self._firmware = firmware

    @property
    def size(self) -> int:
        return self._firmware.size

    @property
    def etag(self) -> bytes:
        return self._firmware.sha256[:ETAG_BYTES]

    def read(self, offset: int, size: int) -> bytes:
        """See `fleet.ports.Body`."""
        return self._shelf.read(self._firmware, offset, size)


class ShelfPackage(ShelfBody):
    """Meets `fleet.ports.Package`."""

    __slots__ = ("_tell", "_update_id")

    def __init__(
        self, shelf: Shelf, firmware: Firmware, update_id: int, tell: Callable[[int, int], None]
    ) -> None:
        super().__init__(shelf, firmware)
        self._update_id = update_id
        self._tell = tell

    def fetched(self, until: int) -> None:
        """See `fleet.ports.Package`."""
        self._tell(self._update_id, until)


def _may_fetch(update: FirmwareUpdate, sender: Sender | None) -> bool:
    return sender is None or not sender.secure or sender.enrolling or sender.endpoint == update.endpoint


def _peer(sender: Sender | None) -> str:
    return "https" if sender is None else sender.address
