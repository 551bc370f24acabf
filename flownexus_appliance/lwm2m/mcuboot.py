"""What a firmware package is: the header and the trailer of an MCUboot image, and what else people upload.

MCUboot, `docs/design.md`, "Image format": a header of 32 bytes, the image, protected TLVs, TLVs. All is
little endian, as `imgtool` writes it unless told otherwise. No signature is verified, for the box has no key.

A package may go on behind the trailer: `imgtool --pad` fills the slot, and MCUboot reads no further either.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from struct import Struct
from typing import Final

from ..errors import UsageError

# Magic, load address, size of header, of protected TLVs, of image, flags, version; 4 bytes are unused.
_HEADER: Final = Struct("<IIHHIIBBHI4x")
_TLVS: Final = Struct("<HH")  # magic and size of all; likewise type and size of each
HEADER_SIZE: Final = _HEADER.size
MAGIC: Final = 0x96F3B83D
TLVS_MAGIC: Final = 0x6907
PROTECTED_MAGIC: Final = 0x6908
ENCRYPTED: Final = 0x04 | 0x08  # by AES-128, by AES-256
HASHES: Final = {0x10: "sha256", 0x11: "sha384", 0x12: "sha512"}
# RSA-2048, ECDSA P-224, ECDSA, RSA-3072, Ed25519. 0x25 only says that one of them is over all of the image.
SIGNATURES: Final = frozenset({0x20, 0x21, 0x22, 0x23, 0x24})
PIECE: Final = 64 * 1024
# What `kind_of` looks at.
BEGINNING: Final = 32

# Up to so many bytes (second) from there (first).
Read = Callable[[int, int], bytes]
_AGAIN: Final = "upload the file again, as the build made it"
_HEX_DIGITS: Final = frozenset(b"0123456789ABCDEFabcdef")
_MAX_ESP_SEGMENTS: Final = 16


class Kind(StrEnum):
    """What a file is by its first bytes."""

    MCUBOOT = "mcuboot"
    ESP = "esp"  # an application of Espressif's own boot loader
    ARCHIVE = "archive"  # a zip, as dfu_application.zip of nRF Connect SDK: several images, for other tools
    HEX = "hex"  # Intel HEX, for a programmer
    ELF = "elf"  # for a debugger
    UF2 = "uf2"  # for a boot loader that is a USB drive
    PLAIN = "plain"


# Those that no device writes into its flash as they are.
NOT_BINARY: Final = frozenset({Kind.HEX, Kind.ELF, Kind.UF2})


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image; sizes in bytes. `version` is 1.2.3+4, or 1.2.3 for build 0."""

    version: str
    header_size: int
    protected_size: int
    image_size: int
    flags: int

    @property
    def hashed(self) -> int:
        """How many bytes the hash in the trailer is over; the trailer follows."""
        return self.header_size + self.image_size + self.protected_size


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image that is whole. `size` is that of header, image and trailer; `checked`: its trailer has a hash,
    and that is right. (One of an encrypted image is over what only the device can read.)"""

    version: str
    size: int
    signed: bool
    checked: bool


def kind_of(data: bytes) -> Kind:
    """What a file is that begins so; `BEGINNING` bytes are enough."""
    if data[:4] == MAGIC.to_bytes(4, "little"):
        return Kind.MCUBOOT
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return Kind.ARCHIVE
    if data[:4] == b"\x7fELF":
        return Kind.ELF
    if data[:4] == b"UF2\n":
        return Kind.UF2
    if len(data) >= 9 and data[:1] == b":" and _HEX_DIGITS.issuperset(data[1:9]):
        return Kind.HEX
    if len(data) >= 2 and data[0] == 0xE9 and 1 <= data[1] <= _MAX_ESP_SEGMENTS:
        return Kind.ESP
    return Kind.PLAIN


def header(data: bytes) -> Header | None:
    """The header that a package begins with; None where it is another thing, or less than a header."""
    if len(data) < HEADER_SIZE or kind_of(data) is not Kind.MCUBOOT:
        return None
    _, _, header_size, protected, size, flags, major, minor, revision, build = _HEADER.unpack_from(data)
    version = f"{major}.{minor}.{revision}" + (f"+{build}" if build else "")
    return Header(version, header_size, protected, size, flags)


def inspect(read: Read, size: int) -> ImageInfo | None:
    """What the header and the trailer of a package of so many bytes say; None without a header.

    Reads all of it, in pieces: call it off the event loop. Raises UsageError: `package_truncated` where the
    package ends before its trailer does, `package_corrupt` where the trailer is none or its hash not right.
    """
    start = read(0, HEADER_SIZE)
    if kind_of(start) is not Kind.MCUBOOT:
        return None
    found = header(start)
    if found is None:
        raise _truncated(size, HEADER_SIZE)
    if found.header_size < HEADER_SIZE:
        raise _corrupt(f"its header has {found.header_size} bytes, and {HEADER_SIZE} are the least")
    if found.protected_size:
        where = found.hashed - found.protected_size
        for _ in _tlvs(read, size, where, PROTECTED_MAGIC, found.protected_size):
            pass  # only whether they are whole
    signed = False
    digests: dict[int, bytes] = {}  # each is made once, however often the trailer tells it
    end = found.hashed + _TLVS.size
    for number, value in _tlvs(read, size, found.hashed, TLVS_MAGIC):
        end += _TLVS.size + len(value)
        signed = signed or number in SIGNATURES
        if number in HASHES and not found.flags & ENCRYPTED:
            if number not in digests:
                digests[number] = _digest(read, size, found.hashed, HASHES[number])
            if digests[number] != value:
                raise _corrupt(f"its {HASHES[number].upper()} is not the one in its trailer")
    return ImageInfo(found.version, end, signed, checked=bool(digests))


def _tlvs(
    read: Read, size: int, where: int, magic: int, told: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """The TLVs of an area, as type and value; `told` is its size where the header says it."""
    start = _whole(read, size, where, _TLVS.size)
    found, total = _TLVS.unpack(start)
    if found != magic or total < _TLVS.size or told not in (None, total):
        raise _corrupt(f"there is no trailer at byte {where}, where its header says")
    area = _whole(read, size, where, total)
    at = _TLVS.size
    while at < total:
        if at + _TLVS.size > total:
            raise _corrupt("its trailer ends within an entry")
        number, length = _TLVS.unpack_from(area, at)
        at += _TLVS.size
        if at + length > total:
            raise _corrupt("an entry of its trailer is longer than the trailer")
        yield number, area[at : at + length]
        at += length


def _digest(read: Read, size: int, end: int, name: str) -> bytes:
    digest = hashlib.new(name)
    for offset in range(0, end, PIECE):
        digest.update(_whole(read, size, offset, min(PIECE, end - offset)))
    return digest.digest()


def _whole(read: Read, size: int, offset: int, length: int) -> bytes:
    if offset + length > size:
        raise _truncated(size, offset + length)
    data = read(offset, length)
    if len(data) < length:
        raise _truncated(offset + len(data), offset + length)
    return data


def _truncated(size: int, needed: int) -> UsageError:
    return UsageError(
        "package_truncated", f"the image is cut off: {size} bytes, and it has at least {needed}", _AGAIN
    )


def _corrupt(what: str) -> UsageError:
    return UsageError("package_corrupt", f"the image is damaged: {what}", _AGAIN)
