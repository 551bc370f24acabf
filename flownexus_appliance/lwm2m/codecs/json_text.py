"""JSON as text from a peer (RFC 8259), for SenML JSON and the JSON of LwM2M 1.0.

Reads UTF-8 only, refuses duplicate names, NaN, infinities and lone surrogates; writes values one by
one, because `json` cannot be told how to write a float.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Final

from ...errors import PeerError
from ..values import Value
from .records import decimal_text, is_unicode, utf8


def load(payload: bytes) -> object:
    """Read one JSON value; raises PeerError("payload_invalid")."""
    text = utf8(payload)
    try:
        item = _decoder.decode(text)
        # An escape such as \ud800 makes a str that nothing can store or show.
        if "\\u" in text and not is_unicode(json.dumps(item, ensure_ascii=False)):
            raise _invalid("a text holds half a character")
    except (ValueError, RecursionError):
        # ValueError: bad syntax, and integers of more digits than int() reads.
        raise _invalid("it is not JSON") from None
    return item


def _invalid(what: str) -> PeerError:
    return PeerError("payload_invalid", f"not a usable JSON payload: {what}")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    item = dict(pairs)
    if len(item) != len(pairs):
        raise _invalid("an object names one member twice")
    return item


def _constant(name: str) -> object:
    raise _invalid(f"{name} is not a JSON number")


_decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def dump_object(members: Mapping[str, Value | str]) -> str:
    """Write a flat object: bool, int, float or text members; a float as `decimal_text` has it."""
    return "{" + ",".join(f'"{name}":{_scalar(value)}' for name, value in members.items()) + "}"


def dump_array(items: Iterable[str]) -> str:
    """Write an array of items that are JSON already."""
    return "[" + ",".join(items) + "]"


def _scalar(value: Value | str) -> str:
    return decimal_text(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def from_base64(text: str) -> bytes | None:
    """Read base64 of either alphabet (RFC 4648 4 and 5), padded or not; None where it is neither.

    SenML JSON asks for the URL-safe one unpadded, LwM2M 1.0 for the plain one; clients mix them up.
    """
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
