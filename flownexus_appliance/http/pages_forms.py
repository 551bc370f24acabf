"""Forms as browsers send them: read once and in one place, refused from elsewhere, errors by their field.

There is no sign-in yet: whoever reaches the pages may use their forms. `read` is where every form of the
pages passes, and so where roles are to be asked for.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from ..errors import ApplianceError, UsageError, clean
from .errors import status_of
from .requests import BODY_TIMEOUT_S

MAX_FIELDS: Final = 50


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent; keys may be in it."""

    fields: Mapping[str, str] = field(default_factory=dict, repr=False)

    def text(self, name: str) -> str:
        """A field without the white space around it, "" where it was left out."""
        return self.fields.get(name, "").strip()

    def optional(self, name: str) -> str | None:
        return self.text(name) or None

    def whole(self, name: str, low: int, high: int, code: str) -> int | None:
        """A whole number, None where the field was left empty; raises UsageError(`code`)."""
        text = self.text(name)
        if not text:
            return None
        if text.isascii() and text.isdigit() and len(text) <= 12 and low <= int(text) <= high:
            return int(text)
        raise UsageError(
            code, f"not usable: {clean(text, 40)}", f"give a whole number from {low} to {high}, or nothing"
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a form was not taken: `field` is the one to mend, "" where it is none of them."""

    field: str
    message: str
    hint: str
    status: int

    @classmethod
    def of(cls, error: ApplianceError, fields: Mapping[str, str]) -> "Problem":
        """An error in the field that `fields` has for its code."""
        return cls(fields.get(error.code, ""), error.message, error.hint, status_of(error))


async def read(request: web.Request) -> Form:
    """The form that a page of this box has sent.

    Raises UsageError: `media_type_unsupported`, `body_invalid`, `request_timeout`; and lets
    413 through.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise UsageError(
            "media_type_unsupported", f"the form is {clean(request.content_type)}", "send it from the page"
        )
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            content = await request.text()
        pairs = parse_qsl(content, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except TimeoutError:
        raise UsageError(
            "request_timeout", "the form did not arrive in time", f"send it within {BODY_TIMEOUT_S:.0f} s"
        ) from None
    except (ValueError, LookupError):
        raise UsageError("body_invalid", "the form is not usable", "send it from the page") from None
    return Form(dict(pairs))


def see_other(url: str) -> web.Response:
    """Have the browser get a page after its form was taken, so that a reload sends nothing again."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": url, "Cache-Control": "no-store"})


def chosen(text: str, known: Sequence[str], what: str) -> str:
    """One of the known words; raises UsageError("body_invalid")."""
    if text in known:
        return text
    raise UsageError(
        "body_invalid", f"{what} is not usable: {clean(text, 40)}", f"choose one of {', '.join(known)}"
    )
