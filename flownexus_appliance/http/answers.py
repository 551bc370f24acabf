"""Answers: JSON and pages with their headers, compressed where it pays; what a request may weigh."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

# Below this, one packet carries the answer either way.
COMPRESS_FROM_BYTES: Final = 1400
# What a request may carry; an address that takes more (firmware) says so itself.
MAX_BODY_BYTES: Final = 64 * 1024

# `style-src` and the rest fall back to 'self': no inline script or style, nothing from elsewhere.
# No Strict-Transport-Security: with a certificate of the box's own it would take away a browser's way
# in, and there is nothing on plain HTTP to fall back to.
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

# Set by a handler whose answer no browser reads.
BARE: Final = "bare"

_BLANK_LINES: Final = re.compile(r"\n\s*\n+")


def json_answer(data: object, status: int = 200) -> web.Response:
    """Any dataclass, list or dict of plain values as JSON."""
    return _finished(msgspec.json.encode(data), "application/json", status, "no-store")


def created(data: object) -> web.Response:
    """What a request has made: with the keys that are told this once, so nobody may keep it."""
    return json_answer(data, HTTPStatus.CREATED)


def page_answer(html: str, status: int = 200) -> web.Response:
    """A rendered page. The lines that template tags leave blank are dropped."""
    return _finished(_BLANK_LINES.sub("\n", html).encode(), "text/html", status, "no-cache")


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: the headers every answer carries."""
    if BARE not in request:
        response.headers.update(SECURITY_HEADERS)
    response.headers.popall("Server", None)  # which library in which version is nobody's business


def _finished(body: bytes, content_type: str, status: int, cache: str) -> web.Response:
    charset = "utf-8" if content_type == "text/html" else None
    response = web.Response(body=body, status=status, content_type=content_type, charset=charset)
    response.headers["Cache-Control"] = cache
    if len(body) >= COMPRESS_FROM_BYTES:
        response.headers["Vary"] = "Accept-Encoding"
        response.enable_compression()
    return response
