"""CoAP messages as a simulated device reads and writes them.

RFC 7252 section 3 (format), RFC 7641 (Observe), RFC 7959 (Block1, Block2), RFC 8132 (FETCH,
iPATCH). The bytes are aiocoap's business; its untyped objects do not leave this module.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

import aiocoap
from aiocoap.error import UnparsableMessage

from ..errors import PeerError

MAX_TOKEN_BYTES: Final = 8
MAX_BLOCK_EXPONENT: Final = 6  # 1024 bytes; 7 is reserved on UDP (RFC 7959 2.2)
_HEADER_BYTES: Final = 4
_EXPONENT_OFFSET: Final = 4  # RFC 7959 2.2: size = 2 ** (SZX + 4)

# Options a device understands. Of the others a critical one makes the request fail with 4.02
# (RFC 7252 5.4.1), an elective one is passed over.
_URI_HOST: Final = 3
_OBSERVE: Final = 6
_URI_PORT: Final = 7
_URI_PATH: Final = 11
_URI_QUERY: Final = 15
_ACCEPT: Final = 17
_BLOCK2: Final = 23
_BLOCK1: Final = 27
_UNDERSTOOD: Final = frozenset({_URI_HOST, _URI_PORT, _URI_PATH, _URI_QUERY, _ACCEPT, _BLOCK2, _BLOCK1})


class Type(IntEnum):
    CON = 0
    NON = 1
    ACK = 2
    RST = 3


class Code(IntEnum):
    """Methods and response codes: class in the upper three bits, detail in the lower five."""

    EMPTY = 0x00
    GET = 0x01
    POST = 0x02
    PUT = 0x03
    DELETE = 0x04
    FETCH = 0x05
    PATCH = 0x06
    IPATCH = 0x07
    CREATED = 0x41
    DELETED = 0x42
    CHANGED = 0x44
    CONTENT = 0x45
    CONTINUE = 0x5F
    BAD_REQUEST = 0x80
    UNAUTHORIZED = 0x81
    BAD_OPTION = 0x82
    NOT_FOUND = 0x84
    METHOD_NOT_ALLOWED = 0x85
    NOT_ACCEPTABLE = 0x86
    REQUEST_ENTITY_INCOMPLETE = 0x88
    REQUEST_ENTITY_TOO_LARGE = 0x8D
    UNSUPPORTED_CONTENT_FORMAT = 0x8F
    INTERNAL_SERVER_ERROR = 0xA0


_CODES: Final = {int(code): code for code in Code}


def code_text(code: int) -> str:
    """`0x84` as "4.04"."""
    return f"{code >> 5}.{code & 0x1F:02}"


class Block(NamedTuple):
    """A Block1 or Block2 option (RFC 7959 2.2); the block holds `size` bytes."""

    number: int
    more: bool
    exponent: int

    @property
    def size(self) -> int:
        return 1 << (self.exponent + _EXPONENT_OFFSET)

    @classmethod
    def exponent_for(cls, size_bytes: int) -> int:
        """The largest exponent whose block is not larger than `size_bytes` (at least 16)."""
        return max(0, min(MAX_BLOCK_EXPONENT, size_bytes.bit_length() - 1 - _EXPONENT_OFFSET))


@dataclass(slots=True)
class Message:
    """One CoAP message. Type, message id and token are filled in by the message layer."""

    code: int
    payload: bytes = b""
    type: Type = Type.CON
    message_id: int = 0
    token: bytes = b""
    path: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    observe: int | None = None
    content_format: int | None = None
    accept: int | None = None
    location: tuple[str, ...] = ()
    block1: Block | None = None
    block2: Block | None = None
    size1: int | None = None
    size2: int | None = None
    etag: bytes | None = None
    bad_option: bool = False  # carries a critical option a device does not understand

    @property
    def is_request(self) -> bool:
        return 0 < self.code < 0x20

    @property
    def is_success(self) -> bool:
        return self.code >> 5 == 2


def decode_message(data: bytes) -> Message:
    """Read a datagram; raises PeerError("message_invalid")."""
    # RFC 7252 4.1: an Empty message is the four bytes of the header and nothing else. Every
    # acknowledgement of a notification is one, so it is worth its own way.
    if len(data) == _HEADER_BYTES and data[0] & 0xCF == 0x40 and data[1] == Code.EMPTY:
        return Message(Code.EMPTY, type=Type(data[0] >> 4 & 3), message_id=int.from_bytes(data[2:], "big"))
    try:
        raw: Any = aiocoap.Message.decode(data)
    except (UnparsableMessage, ValueError, IndexError) as error:
        raise _invalid("not a CoAP message") from error
    code = int(raw.code)
    if code == Code.EMPTY or len(raw.token) > MAX_TOKEN_BYTES or data[0] & 0x0F != len(raw.token):
        raise _invalid("an Empty message with content, or a token cut short or too long")
    options = raw.opt
    return Message(
        code=_CODES.get(code, code),
        payload=raw.payload,
        type=Type(raw.mtype),
        message_id=raw.mid,
        token=raw.token,
        path=options.uri_path,
        query=options.uri_query,
        observe=options.observe,
        content_format=_number(options.content_format),
        accept=_number(options.accept),
        location=options.location_path,
        block1=_block(options.block1),
        block2=_block(options.block2),
        size1=options.size1,
        size2=options.size2,
        etag=options.etag,
        bad_option=any(o.number & 1 and o.number not in _UNDERSTOOD for o in options.option_list()),
    )


def encode_message(message: Message) -> bytes:
    """Write a message as one datagram; raises ValueError for an option value out of range."""
    if message.code == Code.EMPTY:
        return bytes((0x40 | message.type << 4, 0)) + message.message_id.to_bytes(2, "big")
    raw: Any = aiocoap.Message(code=message.code, payload=message.payload)
    # As attributes: newer releases of aiocoap warn of them as constructor arguments.
    raw.mtype = message.type
    raw.mid = message.message_id
    raw.token = message.token
    options = raw.opt
    if message.path:
        options.uri_path = message.path
    if message.query:
        options.uri_query = message.query
    if message.location:
        options.location_path = message.location
    for name in ("observe", "content_format", "accept", "block1", "block2", "size1", "size2", "etag"):
        value = getattr(message, name)
        if value is not None:
            setattr(options, name, value)
    encoded: bytes = raw.encode()
    return encoded


def _number(value: Any) -> int | None:
    return None if value is None else int(value)


def _block(value: Any) -> Block | None:
    return None if value is None else Block(value.block_number, value.more, value.size_exponent)


def _invalid(what: str) -> PeerError:
    return PeerError("message_invalid", what, "the datagram is dropped")
