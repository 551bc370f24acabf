"""Firmware packages on their way in: streamed to the store, from a raw body or from a form.

A body may have 64 MiB where others have 64 KiB, and take its time. So nobody is asked to send what is
refused, nothing is held but a piece, only a few come at once, and at the end it is looked whether who sent it
still may. A package that does not come whole leaves nothing.
"""

import asyncio
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ..db.firmware import Firmware
from ..db.package_files import MAX_PACKAGE, MIB
from ..errors import UsageError, clean
from .guard import BY
from .multipart import FormData, Part
from .pages_forms import FORM, Form
from .ports import PARTS
from .ports_firmware import FirmwareFacts, Upload
from .requests import check_still

BYTES: Final = "application/octet-stream"
FORM_DATA: Final = "multipart/form-data"
MAX_UPLOADS: Final = 4
# How long to wait for the next bytes, and for all of them: 64 MiB at 20 kB a second.
PATIENCE_S: Final = 30.0
LONGEST_S: Final = 3600.0
# What a form has beside its file.
MAX_FIELD: Final = 8 * 1024
MAX_FORM: Final = MAX_PACKAGE + 64 * 1024
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(slots=True)
class Slots:
    """How many packages are on their way in."""

    taken: int = 0


SLOTS: Final = web.AppKey("slots", Slots)


async def take_raw(request: web.Request, facts: FirmwareFacts) -> Firmware:
    """Keep the package that is the body of a request.

    UsageError: media_type_unsupported, upload_busy, upload_broken, request_timeout, sign_in_needed, and what
    `FirmwareBox.upload`, `Upload.write` and `FirmwareBox.add` raise.
    """
    _check_kind(request, BYTES, f"send the file itself with Content-Type: {BYTES}")
    _check_length(request, MAX_PACKAGE)
    with _slot(request):
        box = request.app[PARTS].firmware
        body = _Body(request)
        async with box.upload() as upload:
            while piece := await body.read():
                await upload.write(piece)
            check_still(request)
            return await box.add(upload, facts, request[BY])


async def take_form(request: web.Request) -> Firmware:
    """Keep the package that a page's form has sent: its file, and the fields of `FirmwareFacts` by name.

    What was read of the fields is where `pages_forms.read` finds it, also when this raises: UsageError as
    `take_raw`, and body_invalid.
    """
    _check_kind(request, FORM_DATA, "send the form from its page")
    _check_length(request, MAX_FORM)
    fields: dict[str, str] = {}
    request[FORM] = Form(fields)
    with _slot(request):
        box = request.app[PARTS].firmware
        form = FormData(_Body(request, MAX_FORM).read, _boundary(request))
        async with box.upload() as upload:
            file_name = await _take_parts(form, upload, fields)
            check_still(request)
            return await box.add(upload, _facts(request[FORM], file_name), request[BY])


async def _take_parts(form: FormData, upload: Upload, fields: MutableMapping[str, str]) -> str:
    """Put the file away and the fields where they belong; the file's name."""
    file_name: str | None = None
    while (part := await form.next_part()) is not None:
        if part.file_name is None:
            fields[part.name] = await _field(form, part)
        elif file_name is None:
            file_name = part.file_name
            while piece := await form.piece():
                await upload.write(piece)
        else:
            raise UsageError("body_invalid", "the form has several files", "choose one")
    return file_name or ""


async def _field(form: FormData, part: Part) -> str:
    content = b""
    while piece := await form.piece():
        content += piece
        if len(content) > MAX_FIELD:
            raise UsageError(
                "body_invalid", f"the field {clean(part.name, 40)} is too long", "shorten what you entered"
            )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError("body_invalid", "the form is not UTF-8", "send it from the page") from None


def _facts(form: Form, file_name: str) -> FirmwareFacts:
    return FirmwareFacts(
        version=form.text("version"),
        file_name=file_name,
        note=form.text("note"),
        model=form.text("model"),
        tag=form.text("tag"),
        from_version=form.text("from_version"),
    )


class _Body:
    """The body of a request as it comes, at most `limit` bytes of it."""

    def __init__(self, request: web.Request, limit: int | None = None) -> None:
        self._request = request
        self._limit = limit
        self._read = 0
        self._until_s = asyncio.get_running_loop().time() + LONGEST_S
        self._begun = False

    async def read(self) -> bytes:
        """The next bytes, b"" at the end."""
        if not self._begun:
            self._begun = True
            await self._invite()
        until_s = min(self._until_s, asyncio.get_running_loop().time() + PATIENCE_S)
        try:
            async with asyncio.timeout_at(until_s):
                piece = await self._request.content.readany()
        except TimeoutError:
            raise UsageError(
                "request_timeout", "the package did not arrive in time", "try a better connection"
            ) from None
        except (ConnectionError, web.RequestPayloadError, HttpProcessingError) as error:
            raise UsageError("upload_broken", f"the upload broke off: {error}", "send it again") from None
        self._read += len(piece)
        if self._limit is not None and self._read > self._limit:
            raise _too_large()
        return piece

    async def _invite(self) -> None:
        """Say that the body is welcome to who waits for that (RFC 9110 10.1.1)."""
        waits = self._request.headers.get("Expect", "").lower() == "100-continue"
        if waits and self._request.version >= (1, 1):
            await self._request.writer.write(_CONTINUE)
            # Only what belongs to the answer counts as begun.
            self._request.writer.output_size = 0


def _check_kind(request: web.Request, wanted: str, hint: str) -> None:
    if request.content_type != wanted:
        raise UsageError("media_type_unsupported", f"the body is {clean(request.content_type)}", hint)
    packed = request.headers.get("Content-Encoding", "identity").strip().lower()
    if packed not in ("", "identity"):
        raise UsageError(
            "media_type_unsupported",
            f"the body is packed by {clean(packed, 40)}",
            "send the package as it is, without Content-Encoding",
        )


def _check_length(request: web.Request, limit: int) -> None:
    if request.content_length is not None and request.content_length > limit:
        raise _too_large()


def _too_large() -> UsageError:
    return UsageError(
        "package_too_large",
        f"the package is larger than {MAX_PACKAGE // MIB} MiB",
        "send the image that the device installs, not an archive of the build",
    )


def _boundary(request: web.Request) -> str:
    header = Message()
    header["Content-Type"] = request.headers["Content-Type"]
    return header.get_boundary("")


@contextmanager
def _slot(request: web.Request) -> Iterator[None]:
    slots = request.app[SLOTS]
    if slots.taken >= MAX_UPLOADS:
        raise UsageError(
            "upload_busy",
            f"{slots.taken} packages are being uploaded already",
            "wait until one of them is through",
        )
    slots.taken += 1
    try:
        yield
    finally:
        slots.taken -= 1
