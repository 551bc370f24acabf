"""The box's certificates over REST: what is valid until when and why, rotation, roll-over, and the roots."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import msgspec
from aiohttp import web

from ..pki.describe import CertificateStatus
from . import provisioning, requests
from .answers import json_answer
from .ports import PARTS, Change, Parts
from .routes import Answer, Route, get

TAG: Final = "certificates"
PEM: Final = "application/x-pem-file"
DER: Final = "application/pkix-cert"
# Nothing shorter lets every device hear of the new root; the longest is the life of a root.
MIN_OVERLAP_DAYS = 1
MAX_OVERLAP_DAYS = 20 * 366


class RollOverRequest(msgspec.Struct, forbid_unknown_fields=True):
    """For how long the present root is trusted beside the next one; left out, for as long as is usual."""

    days: Annotated[int, msgspec.Meta(ge=MIN_OVERLAP_DAYS, le=MAX_OVERLAP_DAYS)] | None = None


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """One certificate of the box; times in ms since 1970 UTC, those before are negative.

    `kind` is root, cross, dtls or https, `state` current, old or provisional; `fingerprint` is the SHA-256,
    hexadecimal like `serial`. `trusted_until_ms`: when the box itself stops to use or trust it;
    `next_step_ms`: when it is replaced or dropped by itself, None where it is not; `reason` says why.
    """

    kind: str
    state: str
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before_ms: int
    not_after_ms: int
    trusted_until_ms: int
    next_step_ms: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class CertificateList:
    """Roots newest first, cross certificates, the server's own. `doubt`: why nothing is signed now, or ""."""

    items: list[CertificateEntry]
    doubt: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What was done, in sentences, and how it is now."""

    changes: list[str]
    items: list[CertificateEntry]


def routes() -> list[Route]:
    base = "/api/v1/certificates"
    return [
        get(base, list_certificates, "The box's certificates", TAG, CertificateList),
        Route(
            "POST",
            f"{base}/rotate",
            rotate_certificates,
            "Make the server's certificates anew; no session ends",
            TAG,
            (Answer(Changed),),
        ),
        Route(
            "POST",
            f"{base}/roll-over",
            roll_over,
            "Make the next root",
            TAG,
            (Answer(Changed),),
            body=RollOverRequest,
            body_optional=True,
        ),
        Route(
            "POST",
            f"{base}/roll-over/finish",
            finish_roll_over,
            "Trust the newest root alone from now on",
            TAG,
            (Answer(Changed),),
        ),
        Route(
            "GET",
            f"{base}/ca.pem",
            ca_pem,
            "All trusted roots, newest first",
            TAG,
            (Answer(media=(PEM,), help="RFC 7468"),),
        ),
        Route(
            "GET",
            f"{base}/ca.der",
            ca_der,
            "The newest root alone",
            TAG,
            (Answer(media=(DER,), help="RFC 5280"),),
        ),
    ]


async def list_certificates(request: web.Request) -> web.Response:
    """GET certificates"""
    parts = request.app[PARTS]
    return json_answer(CertificateList(entries(parts), parts.certificates.doubt()))


async def rotate_certificates(request: web.Request) -> web.Response:
    """POST certificates/rotate: the server's certificates anew; no connection ends."""
    parts = request.app[PARTS]
    return _changed(parts, await parts.certificates.rotate())


async def roll_over(request: web.Request) -> web.Response:
    """POST certificates/roll-over {"days"}, or without a body."""
    parts = request.app[PARTS]
    wanted = await requests.body_or(request, RollOverRequest)
    return _changed(parts, await parts.certificates.roll_over(wanted.days))


async def finish_roll_over(request: web.Request) -> web.Response:
    """POST certificates/roll-over/finish: who knows only an older root is refused from now on."""
    parts = request.app[PARTS]
    return _changed(parts, await parts.certificates.finish_roll_over())


async def ca_pem(request: web.Request) -> web.Response:
    """GET certificates/ca.pem: all roots to trust, newest first (RFC 7468)."""
    text = provisioning.ca_pem(request.app[PARTS].certificates)
    return _file(text.encode(), PEM, "flownexus-ca.pem")


async def ca_der(request: web.Request) -> web.Response:
    """GET certificates/ca.der: the newest root alone (RFC 5280), for devices that take one."""
    newest = provisioning.trusted_roots(request.app[PARTS].certificates)[0]
    return _file(newest, DER, "flownexus-ca.der")


def entries(parts: Parts) -> list[CertificateEntry]:
    """The certificates of the box as they are shown."""
    return [_entry(status) for status in parts.certificates.describe()]


def _changed(parts: Parts, changes: Sequence[Change]) -> web.Response:
    return json_answer(Changed([change.message for change in changes], entries(parts)))


def _entry(status: CertificateStatus) -> CertificateEntry:
    return CertificateEntry(
        kind=status.kind.value,
        state=status.state.value,
        subject=status.subject,
        issuer=status.issuer,
        serial=status.serial,
        fingerprint=status.fingerprint,
        not_before_ms=_ms(status.not_before),
        not_after_ms=_ms(status.not_after),
        trusted_until_ms=_ms(status.trusted_until),
        next_step_ms=None if status.next_step is None else _ms(status.next_step),
        reason=status.reason,
    )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _file(content: bytes, content_type: str, name: str) -> web.Response:
    response = web.Response(body=content, content_type=content_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-cache"
    return response
