"""What a request to Leshan's API asks for: address, query and body read as Leshan reads them.

It is lenient: unknown parameters are passed over, a timeout that is no number is the usual one, a format
that nobody knows is as none.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from ...errors import UsageError, clean
from ...lwm2m.content_formats import ContentFormat
from ...lwm2m.paths import Path
from ...lwm2m.values import DataType
from ..ports import PARTS, Parts
from ..requests import BODY_TIMEOUT_S, check_still
from .answers import Refused, invalid_request, not_registered, unexpected

DEFAULT_TIMEOUT_S: Final = 5
MAX_TIMEOUT_S: Final = 24 * 3600
# A value of 64 KiB in hexadecimal has 128 KiB; the other addresses of the box keep their own, lower bound.
MAX_BODY_BYTES: Final = 1024 * 1024
JSON: Final = "application/json"
TEXT: Final = "text/plain"

FORMATS: Final[Mapping[str, ContentFormat]] = {
    "TLV": ContentFormat.TLV,
    "JSON": ContentFormat.JSON,
    "TEXT": ContentFormat.TEXT,
    "OPAQUE": ContentFormat.OPAQUE,
    "CBOR": ContentFormat.CBOR,
    "SENML_JSON": ContentFormat.SENML_JSON,
    "SENML_CBOR": ContentFormat.SENML_CBOR,
    "LINK": ContentFormat.LINK,
}


@dataclass(frozen=True, slots=True)
class Asking:
    """A request about a device that is registered: `tail` are the segments after its name."""

    request: web.Request
    parts: Parts
    endpoint: str
    tail: tuple[str, ...]

    def type_of(self, path: Path) -> DataType | None:
        """The data type at a path by the models of this device."""
        return self.parts.fleet.type_of(self.endpoint, path)

    @property
    def floats_as_text(self) -> bool:
        """`?float=string`: Leshan's own form."""
        return self.request.query.get("float", "").lower() == "string"

    @property
    def timeout_s(self) -> int:
        """`?timeout=`, seconds."""
        text = self.request.query.get("timeout", "")
        if not (text.isascii() and text.isdigit()):
            return DEFAULT_TIMEOUT_S
        return min(int(text), MAX_TIMEOUT_S) if len(text) < 10 else MAX_TIMEOUT_S

    def format(self, name: str = "format") -> int | None:
        """The Content-Format that a parameter names, None without one."""
        found = FORMATS.get(self.request.query.get(name, "").upper())
        return None if found is None else int(found)

    def needed_format(self, name: str) -> int:
        """A format that a composite operation cannot do without; Leshan answers 500 without it."""
        found = self.format(name)
        if found is None:
            raise unexpected(f"{name} is missing or unknown: give SENML_CBOR or SENML_JSON")
        return found

    def path(self, *, without: int = 0) -> Path:
        """The LwM2M path in the address, up to the last `without` segments."""
        segments = self.tail[: len(self.tail) - without]
        return parse_path("/" + "/".join(segments))

    def paths(self) -> tuple[Path, ...]:
        """`?paths=/3/0,/1/0/1`; without, or unreadable, Leshan answers 500."""
        text = self.request.query.get("paths")
        if text is None:
            raise unexpected("paths is missing: give paths=/3/0,/1/0/1")
        try:
            return tuple(Path.parse(part, UsageError) for part in text.rstrip(",").split(","))
        except UsageError as error:
            raise unexpected(error.message) from None

    def query_parts(self) -> list[str]:
        """The query as it stands, where a bare name is not the same as one with an empty value."""
        return [unquote(part) for part in self.request.rel_url.raw_query_string.split("&") if part]

    async def body(self) -> bytes:
        """The body, whatever its type; raises Refused."""
        # A clone has a bound of its own: the application's is for everything else.
        request = self.request.clone(client_max_size=MAX_BODY_BYTES)
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                content = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Invalid request: more than {MAX_BODY_BYTES} bytes"
            ) from None
        except TimeoutError:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, "Invalid request: the body did not arrive") from None
        check_still(self.request)
        return content

    async def text(self) -> str:
        """The body as text; raises Refused."""
        try:
            return (await self.body()).decode()
        except UnicodeDecodeError:
            raise invalid_request("the body is not UTF-8") from None

    def media_type(self) -> str:
        """The type of the body; some tools send JSON and do not say so."""
        told = self.request.headers.get("Content-Type", JSON).partition(";")[0].strip().lower()
        if told in (JSON, TEXT):
            return told
        raise invalid_request(f"content type {clean(told)} not supported")


def asking_of(request: web.Request) -> Asking:
    """Who is asked for what; raises Refused where the device is not registered now."""
    parts = request.app[PARTS]
    endpoint = request.match_info["endpoint"]
    if parts.fleet.registration(endpoint) is None:
        raise not_registered(endpoint)
    tail = tuple(segment for segment in request.match_info.get("rest", "").split("/") if segment)
    return Asking(request, parts, endpoint, tail)


def parse_path(text: str) -> Path:
    """A LwM2M path; raises Refused."""
    try:
        return Path.parse(text, UsageError)
    except UsageError as error:
        raise invalid_request(error.message) from None
