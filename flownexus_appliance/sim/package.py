"""A firmware package on its way into a simulated device: counted, hashed and judged as it comes, never kept.

What such a device can install is an image of MCUboot whose SHA-256 is right (MCUboot `docs/design.md`, "Image
format"), or a file whose first line is `version=1.2.3`.
"""

import hashlib
import random
import re
from struct import Struct
from typing import Final

from ..errors import UsageError, clean
from ..lwm2m.firmware import UpdateResult
from ..lwm2m.mcuboot import ENCRYPTED, HASHES, HEADER_SIZE, MAGIC, TLVS_MAGIC, Header, Kind, header, kind_of
from .firmware_options import MAX_VERSION, Outcome

_BEGINNING: Final = 128  # kept of a package: a header, or the first line
_TRAILER: Final = 4096  # kept of what follows the hashed part
_FIRST_LINE: Final = re.compile(rb"version=([!-~]{1,%d})\r?\n" % MAX_VERSION)
# Where the middle is of a package whose size is not told.
_MIDDLE: Final = 8192

_IMAGE_HEADER: Final = Struct("<IIHHIIBBHI4x")
_TLV: Final = Struct("<HH")
_SHA256: Final = next(number for number, name in HASHES.items() if name == "sha256")
_VERSION: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?:\.([0-9]{1,5}))?(?:\+([0-9]{1,10}))?")
MIN_MADE: Final = 256
MAX_MADE: Final = 64 << 20


class Intake:
    """One package, byte by byte. `size` is what the sender says it has, None while it says nothing.

    Of `outcome` those come true here that a download ends with: after each `take` look at `failure`.
    """

    __slots__ = (
        "_beginning",
        "_digest",
        "_hashed",
        "_header",
        "_max_size",
        "_outcome",
        "_sha256",
        "_trailer",
        "failure",
        "received",
        "size",
        "stalled",
    )

    def __init__(self, max_size: int, outcome: Outcome = Outcome.SUCCESS) -> None:
        self._max_size = max_size
        self._outcome = outcome
        self.size: int | None = None
        self.restart()

    def restart(self) -> None:
        """It comes from the beginning."""
        self.received = 0
        self.failure: UpdateResult | None = None
        self.stalled = False  # nothing more is to be asked for, and nothing to be said
        self._beginning = b""
        self._trailer = b""
        self._header: Header | None = None
        self._hashed = 0
        self._digest = hashlib.sha256()  # of all
        self._sha256 = hashlib.sha256()  # of what the image's own hash is over

    @property
    def sha256(self) -> str:
        """Of all that has come, in hexadecimal."""
        return self._digest.hexdigest()

    @property
    def name(self) -> str:
        """PkgName: what the device takes the package for."""
        return "" if self._header is None else Kind.MCUBOOT.value

    @property
    def version(self) -> str:
        """PkgVersion: by the header of the package, "" without any."""
        if self._header is not None:
            return self._header.version
        found = _FIRST_LINE.match(self._beginning)
        return found[1].decode() if found else ""

    def expect(self, size: int) -> None:
        """The sender says how large it is."""
        self.size = size
        if size > self._max_size:
            self.failure = UpdateResult.NO_STORAGE

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        if len(self._beginning) < _BEGINNING:
            self._beginning = (self._beginning + piece)[:_BEGINNING]
        self._digest.update(piece)
        self._follow(piece)
        self.received += len(piece)
        self._judge()

    def complete(self) -> UpdateResult | None:
        """All has come: None for a package that can be installed, else what is wrong with it."""
        if self._outcome is Outcome.INTEGRITY_FAILED:
            return UpdateResult.INTEGRITY_FAILED
        if self._outcome is Outcome.UNSUPPORTED_PACKAGE:
            return UpdateResult.UNSUPPORTED_PACKAGE
        if self.size is not None and self.received != self.size:
            return UpdateResult.INTEGRITY_FAILED
        if self._header is None and kind_of(self._beginning) is Kind.MCUBOOT:
            return UpdateResult.INTEGRITY_FAILED  # cut off within its header
        if self._header is not None:
            return None if self._is_whole(self._header) else UpdateResult.INTEGRITY_FAILED
        return None if self.version else UpdateResult.UNSUPPORTED_PACKAGE

    def _judge(self) -> None:
        if self.received > self._max_size or self._outcome is Outcome.NO_STORAGE:
            self.failure = UpdateResult.NO_STORAGE
        if self.received < (_MIDDLE if self.size is None else (self.size + 1) // 2):
            return
        if self._outcome is Outcome.NO_MEMORY:
            self.failure = UpdateResult.NO_MEMORY
        elif self._outcome in (Outcome.CONNECTION_LOST, Outcome.FLAKY):
            self.failure = UpdateResult.CONNECTION_LOST
        elif self._outcome is Outcome.STALL:
            self.stalled = True

    def _follow(self, piece: bytes) -> None:
        """The image's own hash, and its trailer, once its header is here."""
        if self._header is None:
            if len(self._beginning) < HEADER_SIZE or self.received >= HEADER_SIZE:
                return
            self._header = header(self._beginning)
            if self._header is None:
                return
            piece = self._beginning[: self.received] + piece  # the header may have come in pieces
        rest = self._header.hashed - self._hashed
        if rest > 0:
            self._sha256.update(piece[:rest])
            self._hashed += min(rest, len(piece))
        if len(piece) > rest and len(self._trailer) < _TRAILER:
            self._trailer = (self._trailer + piece[rest:])[:_TRAILER]

    def _is_whole(self, found: Header) -> bool:
        """Whether there is a trailer, and the right hash in it."""
        trailer = self._trailer
        if len(trailer) < _TLV.size:
            return False
        magic, total = _TLV.unpack_from(trailer)
        if magic != TLVS_MAGIC or total > len(trailer):
            return False
        if found.flags & ENCRYPTED:
            return True  # its hash is over what only a real device can read
        at = _TLV.size
        while at + _TLV.size <= total:
            number, length = _TLV.unpack_from(trailer, at)
            at += _TLV.size
            if number == _SHA256 and at + length <= total:
                return trailer[at : at + length] == self._sha256.digest()
            at += length
        return False


def make_package(version: str, size_bytes: int) -> bytes:
    """An image of MCUboot of that many bytes with a good SHA-256, unsigned; `version` as 1.2.0 or 1.2.0+7.

    The same arguments give the same bytes. Raises UsageError: `version_invalid`, `package_size_invalid`.
    """
    found = _VERSION.fullmatch(version)
    numbers = [int(part or 0) for part in found.groups()] if found else []
    if not found or any(n > most for n, most in zip(numbers, (255, 255, 65_535, 0xFFFFFFFF), strict=True)):
        raise UsageError(
            "version_invalid",
            f"{clean(version)} is not a version of MCUboot",
            "write it as 1.2.0, or 1.2.0+7 with a build number",
        )
    if not MIN_MADE <= size_bytes <= MAX_MADE:
        raise UsageError(
            "package_size_invalid", f"no package of {size_bytes} bytes", f"it has {MIN_MADE} to {MAX_MADE}"
        )
    hash_bytes = hashlib.sha256().digest_size
    total = _TLV.size * 2 + hash_bytes
    size = size_bytes - HEADER_SIZE - total
    image = _IMAGE_HEADER.pack(MAGIC, 0, HEADER_SIZE, 0, size, 0, *numbers)
    image += random.Random(version).randbytes(size)
    trailer = _TLV.pack(TLVS_MAGIC, total) + _TLV.pack(_SHA256, hash_bytes)
    return image + trailer + hashlib.sha256(image).digest()
