"""Forms as browsers send them: read once and in one place, refused from elsewhere, errors by their field.

`guard.py` has read and checked a form before its handler asks for it.
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
from .problems import told
from .requests import BODY_TIMEOUT_S, check_still

MAX_FIELDS: Final = 50
UTF_8: Final = "utf-8"
FORM: Final = "form"  # where a form is kept once it is read


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
    code: str = ""
    detail: str = ""  # the English of the error, where the page is in another language

    @classmethod
    def of(cls, error: ApplianceError, fields: Mapping[str, str]) -> "Problem":
        """An error, in the language of the page, in the field that `fields` has for its code."""
        said = told(error)
        at = fields.get(error.code, "")
        return cls(at, said.message, said.hint, status_of(error), error.code, said.detail)


async def read(request: web.Request) -> Form:
    """The form that a page of this box has sent.

    Raises UsageError: `media_type_unsupported`, `body_invalid`, `request_timeout`; and lets
    413 through.
    """
    if FORM in request:
        known: Form = request[FORM]
        return known
    if request.content_type != "application/x-www-form-urlencoded":
        raise UsageError(
            "media_type_unsupported", f"the form is {clean(request.content_type)}", "send it from the page"
        )
    # Pages are UTF-8. Python knows encodings that take it time by the square of the length.
    if (request.charset or UTF_8).lower() != UTF_8:
        raise _unusable()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            content = (await request.read()).decode()
        pairs = parse_qsl(content, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except TimeoutError:
        raise UsageError(
            "request_timeout", "the form did not arrive in time", f"send it within {BODY_TIMEOUT_S:.0f} s"
        ) from None
    except ValueError:
        raise _unusable() from None
    check_still(request)
    form = request[FORM] = Form(dict(pairs))
    return form


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


def _unusable() -> UsageError:
    return UsageError("body_invalid", "the form is not usable", "send it from the page")
