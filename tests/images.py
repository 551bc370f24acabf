"""Firmware packages for tests: images as MCUboot's `imgtool` makes them, and files that are none.

The signature is none, for the box has no key to verify one by. The same arguments give the same bytes.
"""

import hashlib
import re
from struct import pack
from typing import Final

MAGIC: Final = 0x96F3B83D
ECDSA: Final = 0x22
KEY_HASH: Final = 0x01
SIGNATURE_BYTES: Final = 71
_HASH_TYPES: Final = {"sha256": 0x10, "sha384": 0x11, "sha512": 0x12}
KIB: Final = 1024


def plain(size: int = 4 * KIB, seed: str = "plain") -> bytes:
    """So many bytes that are no image; other ones for another seed."""
    return b"\x00" + hashlib.shake_256(seed.encode()).digest(size - 1)


def image(
    version: str = "1.2.3",
    size: int = 4 * KIB,
    *,
    signed: bool = True,
    seed: str = "image",
    header_size: int = 0x200,
    hash_name: str = "sha256",
    flags: int = 0,
    protected: bytes | None = None,
    padding: int = 0,
) -> bytes:
    """An image of `size` bytes with header and trailer, `padding` behind it.

    `version` is 1.2.3 or 1.2.3+4; `header_size` is Zephyr's; `hash_name` "" leaves the hash away; `protected`
    is the value of a protected TLV.
    """
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)(?:\+(\d+))?", version)
    assert found is not None, version
    numbers = [int(number or 0) for number in found.groups()]
    guarded = b"" if protected is None else tlvs(0x6908, (0x00A0, protected))
    entries = []
    if hash_name:
        entries.append((_HASH_TYPES[hash_name], bytes(hashlib.new(hash_name).digest_size)))
    if signed:
        entries += [(KEY_HASH, bytes(32)), (ECDSA, b"\x30" * SIGNATURE_BYTES)]
    body_size = size - header_size - len(guarded) - len(tlvs(0x6907, *entries))
    assert body_size >= 0, "too small for a header and a trailer"
    head = pack("<IIHHIIBBHI4x", MAGIC, 0, header_size, len(guarded), body_size, flags, *numbers)
    body = hashlib.shake_256(seed.encode()).digest(body_size)
    content = head.ljust(header_size, b"\x00") + body + guarded
    if hash_name:
        entries[0] = (entries[0][0], hashlib.new(hash_name, content).digest())
    return content + tlvs(0x6907, *entries) + b"\xff" * padding


def tlvs(magic: int, *entries: tuple[int, bytes]) -> bytes:
    """An area of type-length-value entries."""
    area = b"".join(pack("<HH", number, len(value)) + value for number, value in entries)
    return pack("<HH", magic, 4 + len(area)) + area
