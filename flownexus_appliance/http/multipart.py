"""multipart/form-data read as it comes (RFC 7578; RFC 2046 5.1): the parts one after the other, in pieces.

Nothing is held but a piece. A part's head has a bound, and so has the number of parts; what the body weighs
is for who reads it to count.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ..errors import UsageError

MAX_PARTS: Final = 20
MAX_HEAD: Final = 4096
MAX_BOUNDARY: Final = 70
_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_DISPOSITION: Final = re.compile(r"content-disposition\s*:\s*form-data\s*(;.*)", re.IGNORECASE | re.DOTALL)
_PARAMETER: Final = re.compile(rf";\s*(name|filename)\s*=\s*(?:{_QUOTED}|([^\s;\"]+))", re.IGNORECASE)
_ENCODING: Final = re.compile(r"content-transfer-encoding\s*:\s*(\S*)", re.IGNORECASE)
_AS_IT_IS: Final = frozenset({"", "7bit", "8bit", "binary"})
_ESCAPED: Final = re.compile(r'\\(["\\])')

Read = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a form; `file_name` is None where it is no file."""

    name: str
    file_name: str | None


class FormData:
    """Takes a form apart; `read` gives the next bytes of the body, b"" at its end.

    Raises UsageError("body_invalid"), and what `read` raises.
    """

    def __init__(self, read: Read, boundary: str) -> None:
        if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
            raise _unusable("it does not say what stands between its parts")
        self._read = read
        self._delimiter = b"\r\n--" + boundary.encode()
        # As if a line had ended: the first delimiter may stand at the very beginning.
        self._held = bytearray(b"\r\n")
        self._parts = 0

    async def next_part(self) -> Part | None:
        """The next part; what is left of the one before is passed over. None at the end."""
        while await self.piece():
            pass
        del self._held[: len(self._delimiter)]
        if await self._starts_with(b"--"):
            return None
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _unusable(f"it has more than {MAX_PARTS} parts")
        return _part(await self._head())

    async def piece(self) -> bytes:
        """The next bytes of the part, b"" at its end."""
        while True:
            at = self._held.find(self._delimiter)
            # Of what may be the beginning of a delimiter nothing is given yet.
            ready = at if at >= 0 else len(self._held) - len(self._delimiter) + 1
            if ready > 0:
                piece = bytes(self._held[:ready])
                del self._held[:ready]
                return piece
            if at == 0:
                return b""
            await self._more()

    async def _starts_with(self, text: bytes) -> bool:
        while len(self._held) < len(text):
            await self._more()
        return self._held.startswith(text)

    async def _head(self) -> str:
        """The lines from the delimiter's own, which may have white space at its end, to the empty one."""
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > MAX_HEAD:
                raise _unusable("the head of a part is too long")
            await self._more()
        if end > MAX_HEAD:
            raise _unusable("the head of a part is too long")
        head = bytes(self._held[:end])
        del self._held[: end + 2]
        # The empty line's own end may be that of an empty part, before the delimiter.
        if not await self._starts_with(self._delimiter):
            del self._held[:2]
        try:
            return head.decode()
        except UnicodeDecodeError:
            raise _unusable("the head of a part is not UTF-8") from None

    async def _more(self) -> None:
        data = await self._read()
        if not data:
            raise _unusable("it ends in the middle")
        self._held += data


def _part(head: str) -> Part:
    """What the head of a part says of it."""
    name, file_name = None, None
    for line in head.split("\r\n")[1:]:
        if found := _ENCODING.match(line):
            if found[1].lower() not in _AS_IT_IS:
                raise _unusable("a part is packed; send it as it is")
        elif found := _DISPOSITION.match(line):
            for parameter in _PARAMETER.finditer(found[1]):
                value = parameter[3] if parameter[3] is not None else _plain(parameter[2])
                if parameter[1].lower() == "name":
                    name = value
                else:
                    file_name = value
    if name is None:
        raise _unusable("a part of it has no name")
    return Part(name, file_name)


def _plain(quoted: str) -> str:
    """A quoted name; browsers write a quotation mark in it as %22 (HTML 4.10.21.8), others with a stroke."""
    return _ESCAPED.sub(r"\1", quoted).replace("%22", '"')


def _unusable(what: str) -> UsageError:
    return UsageError("body_invalid", f"the form is not usable: {what}", "send it from the page")
