"""The part of CBOR (RFC 8949) that LwM2M speaks: one reader and one writer for three formats.

Read: integers to 64 bits, floats, text, bytes, arrays, maps, true, false, null, definite and
indefinite lengths, and three tags: 0 and 1 (date and time), 4 (decimal fraction, RFC 8428 6).
Everything else raises PeerError("payload_invalid"): other tags, other simple values, duplicate
keys, bytes left over, nesting deeper than `MAX_DEPTH`. More than `MAX_ITEMS` in one array or map
raise PeerError("payload_too_large").

Why not cbor2, which is at hand: it runs some thirty tags on the peer's bytes (regular expressions,
big floats, shared references) and cannot be told not to, lets duplicate keys and left-over bytes
pass, raises errors of other libraries, and its C decoder up to 5.7.0 mishandles long strings.
Checking a payload before giving it to cbor2 costs as much as reading it, which is all this does.
The tests use cbor2 as the independent witness.
"""

import struct
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

from ...errors import PeerError, clean

MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 2**14  # in one array or map
MAX_DECIMAL_EXPONENT: Final = 400


class EpochTime(NamedTuple):
    """A moment that the wire itself marks as one (tag 0 or 1), in whole seconds since 1970 UTC."""

    seconds: int


Key: TypeAlias = int | str | tuple[int, ...]
Item: TypeAlias = int | float | str | bytes | EpochTime | list["Item"] | dict[Key, "Item"] | None


class _More:
    """Stands in the table of initial bytes where a value needs more than that byte."""


_MORE: Final = _More()
_IMMEDIATE: Final[list[int | bool | _More | None]] = [_MORE] * 256
_IMMEDIATE[0x00:0x18] = range(24)
_IMMEDIATE[0x20:0x38] = range(-1, -25, -1)
_IMMEDIATE[0xF4], _IMMEDIATE[0xF5], _IMMEDIATE[0xF6] = False, True, None
_BREAK: Final = 0xFF

_ARGUMENT: Final = {
    24: struct.Struct(">B"),
    25: struct.Struct(">H"),
    26: struct.Struct(">I"),
    27: struct.Struct(">Q"),
}
_FLOAT: Final = {0xF9: struct.Struct(">e"), 0xFA: struct.Struct(">f"), 0xFB: struct.Struct(">d")}
_read_double: Final = _FLOAT[0xFB].unpack_from


def load(payload: bytes) -> Item:
    """Read the one data item that `payload` is; raises PeerError."""
    item: Item
    try:
        item, end = _item(payload, 0, 0)
    except (IndexError, struct.error):
        raise malformed("it ends too early") from None
    except UnicodeDecodeError:
        raise malformed("a text is not UTF-8") from None
    if end != len(payload):
        raise malformed("bytes are left over")
    return item


def malformed(what: str) -> PeerError:
    return PeerError("payload_invalid", f"not a usable CBOR payload: {what}")


def _too_many() -> PeerError:
    return PeerError("payload_too_large", f"a CBOR array or map of more than {MAX_ITEMS} items")


# Readers take the payload, the position and the depth, and return the item and the position after
# it. What runs past the end raises IndexError or struct.error, which load() turns into a PeerError.


def _item(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    initial = data[at]
    at += 1
    value = _IMMEDIATE[initial]
    if value is not _MORE:
        return value, at
    if 0x60 <= initial <= 0x77:  # short text: every name
        end = at + initial - 0x60
        if end > len(data):
            raise IndexError
        return data[at:end].decode(), end
    if initial < 0x1C:  # a longer integer
        form = _ARGUMENT[initial]
        return form.unpack_from(data, at)[0], at + form.size
    if initial == 0xFB:
        return _read_double(data, at)[0], at + 8
    return _other_item(initial, data, at, depth)


def _other_item(initial: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    major, info = initial >> 5, initial & 31
    if major == 7:
        single = _FLOAT.get(initial)
        if single is None:
            raise malformed(f"unexpected initial byte 0x{initial:02x}")
        return single.unpack_from(data, at)[0], at + single.size
    if info == 31 and 2 <= major <= 5:
        return _indefinite(major, data, at, depth)
    size, at = _argument(info, data, at)
    if major == 1:
        return -1 - size, at
    if major in (2, 3):
        end = at + size
        if end > len(data):
            raise IndexError
        return (data[at:end].decode() if major == 3 else data[at:end]), end
    if depth >= MAX_DEPTH:
        raise malformed("nested too deeply")
    if major == 6:
        return _tagged(size, data, at, depth + 1)
    # An item is at least one byte: a count beyond what is left is a lie, found before any work.
    if size > len(data) - at:
        raise IndexError
    if size > MAX_ITEMS:
        raise _too_many()
    return _array(data, at, depth + 1, size) if major == 4 else _map(data, at, depth + 1, size)


def _argument(info: int, data: bytes, at: int) -> tuple[int, int]:
    if info < 24:
        return info, at
    form = _ARGUMENT.get(info)
    if form is None:
        raise malformed("reserved length")
    number: int = form.unpack_from(data, at)[0]
    return number, at + form.size


def _array(data: bytes, at: int, depth: int, size: int | None) -> tuple[list[Item], int]:
    items: list[Item] = []
    while size is None or len(items) < size:
        if size is None and data[at] == _BREAK:
            return items, at + 1
        if len(items) >= MAX_ITEMS:
            raise _too_many()
        item, at = _item(data, at, depth)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, depth: int, size: int | None) -> tuple[dict[Key, Item], int]:
    pairs: dict[Key, Item] = {}
    while size is None or len(pairs) < size:
        initial = data[at]
        if initial == _BREAK and size is None:
            return pairs, at + 1
        key: Any = _IMMEDIATE[initial]
        if type(key) is int:
            at += 1
        else:
            key, at = _key(data, at, depth)
        if key in pairs:
            raise malformed("a map names one key twice")
        if len(pairs) >= MAX_ITEMS:
            raise _too_many()
        # The next three branches are those of _item once more: calling it for every field of every
        # SenML record would cost as much again as the rest of this loop.
        initial = data[at]
        value: Any = _IMMEDIATE[initial]
        if value is not _MORE:
            at += 1
        elif 0x60 <= initial <= 0x77 and at + initial - 0x60 < len(data):
            start = at + 1
            at = start + initial - 0x60
            value = data[start:at].decode()
        elif initial == 0xFB:
            value = _read_double(data, at + 1)[0]
            at += 9
        else:
            value, at = _item(data, at, depth)
        pairs[key] = value
    return pairs, at


def _key(data: bytes, at: int, depth: int) -> tuple[Key, int]:
    key, at = _item(data, at, depth)
    kind = type(key)
    if kind is int or kind is str:
        return key, at
    if kind is list and all(type(part) is int for part in key):
        return tuple(key), at
    raise malformed("a map key is neither a number, a text nor an array of numbers")


def _indefinite(major: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth >= MAX_DEPTH:
        raise malformed("nested too deeply")
    if major == 4:
        return _array(data, at, depth + 1, None)
    if major == 5:
        return _map(data, at, depth + 1, None)
    chunks: list[bytes] = []
    while data[at] != _BREAK:
        if data[at] >> 5 != major or data[at] & 31 == 31:
            raise malformed("a chunked string holds something else than its chunks")
        size, at = _argument(data[at] & 31, data, at + 1)
        if size > len(data) - at:
            raise IndexError
        chunks.append(data[at : at + size])
        at += size
    whole = b"".join(chunks)
    return (whole.decode() if major == 3 else whole), at + 1


def _tagged(tag: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if tag not in (0, 1, 4):
        raise malformed(f"unexpected tag {tag}")
    content, at = _item(data, at, depth)
    if tag == 4:
        return _decimal(content), at
    if tag == 0 and type(content) is str:
        return read_date_time(content), at
    # Comparing also refuses NaN and the infinities.
    if tag == 1 and type(content) in (int, float) and -(2**63) <= content < 2**63:
        return EpochTime(int(content // 1)), at
    raise malformed("a date and time tag around something else")


def _decimal(content: Item) -> int | float:
    """RFC 8949 3.4.4: `[exponent, mantissa]` stands for mantissa times ten to the exponent."""
    if type(content) is not list or len(content) != 2:
        raise malformed("a decimal fraction is not a pair")
    exponent, mantissa = content
    if type(exponent) is not int or type(mantissa) is not int or abs(exponent) > MAX_DECIMAL_EXPONENT:
        raise malformed("a decimal fraction is not a pair of fitting numbers")
    if exponent < 0:
        return float(mantissa / 10**-exponent)
    whole: int = mantissa * 10**exponent
    if -(2**63) <= whole < 2**64:
        return whole
    try:
        return float(whole)
    except OverflowError:
        raise malformed("a decimal fraction is too large") from None


def read_date_time(text: str) -> EpochTime:
    """Read an RFC 3339 date and time, such as 2026-11-22T13:00:00Z; raises PeerError."""
    if len(text) <= 40 and text.isascii():
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is not None:
            return EpochTime(int((moment - _EPOCH).total_seconds() // 1))
    raise malformed(f"not a date and time: {clean(text)}")


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def dump(item: Item) -> bytes:
    """Write one data item: shortest heads, definite lengths, maps in the order given.

    A float takes four bytes where that loses nothing, else eight; never two: not every client
    reads half floats. Integers must fit 64 bits and texts be valid Unicode (the caller checks).
    """
    if item is None:
        return b"\xf6"
    if isinstance(item, bool):
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, EpochTime):
        return b"\xc1" + dump(item.seconds)
    if isinstance(item, int):
        return _head(0, item) if item >= 0 else _head(1, -1 - item)
    if isinstance(item, float):
        return shortest_float(item, b"\xfa", b"\xfb")
    if isinstance(item, str):
        encoded = item.encode()
        return _head(3, len(encoded)) + encoded
    if isinstance(item, bytes):
        return _head(2, len(item)) + item
    if isinstance(item, dict):
        pairs = [dump(list(k) if isinstance(k, tuple) else k) + dump(v) for k, v in item.items()]
        return _head(5, len(pairs)) + b"".join(pairs)
    return _head(4, len(item)) + b"".join(map(dump, item))


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    info = 24 if number < 2**8 else 25 if number < 2**16 else 26 if number < 2**32 else 27
    return bytes((major << 5 | info,)) + _ARGUMENT[info].pack(number)


def shortest_float(value: float, single: bytes = b"", double: bytes = b"") -> bytes:
    """Write four bytes after `single` where they hold `value` exactly, else eight after `double`."""
    try:
        short = struct.pack(">f", value)
    except OverflowError:
        return double + struct.pack(">d", value)
    exact = struct.unpack(">f", short)[0] == value
    return single + short if exact else double + struct.pack(">d", value)
