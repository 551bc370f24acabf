"""Credentials over REST: giving them to devices, listing, renewing and removing them, and enrolment.

The answer that gives a credential holds its key, once; no other answer does.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web

from ..access.roles import Role
from ..db.credentials import CredentialOrigin, ProofKind
from ..errors import UsageError, clean
from . import credentials, provisioning, requests
from .answers import created, json_answer
from .credentials import CredentialEntry, CredentialQuestion
from .guard import DETAIL
from .ports import PARTS, Parts
from .provisioning import EnrolmentGiven, EnrolmentState, Given
from .routes import DEFAULT_LIMIT, MAX_ID, MAX_LIMIT, Answer, Query, Route, get, paging, search

TAG: Final = "credentials"
MAX_VALID_DAYS: Final = 36_500
DEFAULT_MINUTES: Final = 10
MAX_MINUTES: Final = 24 * 60

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=32 * 1024)]
Days = Annotated[int, msgspec.Meta(ge=1, le=MAX_VALID_DAYS)]
Label = Annotated[str, msgspec.Meta(max_length=provisioning.MAX_LABEL)]


class CredentialRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`identity` and `key` (hexadecimal) are for a PSK, `csr` (PKCS#10, PEM) and `valid_days` for a
    certificate; what is left out is made."""

    kind: Literal["psk", "certificate"] = "psk"
    identity: Text | None = None
    key: Text | None = None
    csr: Text | None = None
    valid_days: Days | None = None
    label: Label = ""


class DeviceRequest(CredentialRequest, forbid_unknown_fields=True, kw_only=True):
    """A device by its name, with the credential it is to have."""

    endpoint: Name


class RenewRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Both are for certificates."""

    csr: Text | None = None
    valid_days: Days | None = None


class EnrolmentRequest(msgspec.Struct, forbid_unknown_fields=True):
    """For how long unknown devices may enrol."""

    minutes: Annotated[int, msgspec.Meta(ge=1, le=MAX_MINUTES)] = DEFAULT_MINUTES


@dataclass(frozen=True, slots=True)
class CredentialList:
    """A page of credentials, newest first; `next` goes into `?after=` for the following one."""

    items: list[CredentialEntry]
    next: int | None


@dataclass(frozen=True, slots=True)
class Removed:
    """How many were taken away."""

    removed: int


def routes() -> list[Route]:
    return [*_credential_routes(), *_enrolment_routes()]


def _credential_routes() -> list[Route]:
    given = (Answer(Given, HTTPStatus.CREATED, "What the device is to hold, told this once"),)
    of_device = "/api/v1/endpoints/{endpoint}/credentials"
    one = "/api/v1/credentials/{id}"
    return [
        Route(
            "POST",
            "/api/v1/endpoints",
            add_device,
            "Give a device, which may never have been seen, its credential",
            TAG,
            given,
            body=DeviceRequest,
            needs=Role.OPERATOR,
        ),
        get(
            of_device,
            list_of_device,
            "The credentials that a device has and had, newest first",
            TAG,
            CredentialList,
            *_filters("identities and labels"),
        ),
        Route(
            "POST",
            of_device,
            add_credential,
            "Give a device a credential",
            TAG,
            given,
            body=CredentialRequest,
            needs=Role.OPERATOR,
        ),
        Route(
            "DELETE",
            of_device,
            remove_credentials,
            "Take all credentials of a device away: its sessions and registration end at once",
            TAG,
            (Answer(Removed),),
            needs=Role.OPERATOR,
        ),
        get(
            "/api/v1/credentials",
            list_credentials,
            "Everybody's credentials, newest first",
            TAG,
            CredentialList,
            *_filters("names, identities and labels"),
        ),
        Route(
            "DELETE",
            one,
            remove_credential,
            "Take a credential away",
            TAG,
            (Answer(Removed),),
            needs=Role.OPERATOR,
        ),
        Route(
            "POST",
            f"{one}/renew",
            renew_credential,
            "Make its successor: both are good until the device uses it",
            TAG,
            given,
            body=RenewRequest,
            body_optional=True,
            needs=Role.OPERATOR,
        ),
    ]


def _enrolment_routes() -> list[Route]:
    path = "/api/v1/enrolment"
    return [
        get(path, show_enrolment, "Whether unknown devices may enrol, and until when", TAG, EnrolmentState),
        Route(
            "POST",
            path,
            open_enrolment,
            "Let unknown devices enrol for a while",
            TAG,
            (Answer(EnrolmentGiven, HTTPStatus.CREATED, "The key that they enrol by, told this once"),),
            body=EnrolmentRequest,
            body_optional=True,
            needs=Role.OPERATOR,
        ),
        Route(
            "DELETE",
            path,
            close_enrolment,
            "Let nobody enrol any more",
            TAG,
            (Answer(EnrolmentState),),
            needs=Role.OPERATOR,
        ),
    ]


def _filters(searched: str) -> tuple[Query, ...]:
    return (
        search(searched),
        Query("kind", "Of this kind", values=tuple(ProofKind)),
        Query(
            "state", "In this state: good is offered or active, ended the others", values=credentials.STATES
        ),
        Query("origin", "Made by", values=tuple(CredentialOrigin)),
        *paging(int),
    )


async def add_device(request: web.Request) -> web.Response:
    """POST endpoints {"endpoint", "kind", ...}: the device may never have been seen."""
    wanted = await requests.body(request, DeviceRequest)
    given = await _give(request.app[PARTS], wanted.endpoint, wanted)
    request[DETAIL] = wanted.endpoint
    return created(given)


async def add_credential(request: web.Request) -> web.Response:
    """POST endpoints/{endpoint}/credentials {"kind", ...}"""
    wanted = await requests.body(request, CredentialRequest)
    return created(await _give(request.app[PARTS], requests.endpoint(request), wanted))


async def list_credentials(request: web.Request) -> web.Response:
    """GET credentials?q=&kind=&state=&origin=&after=&limit="""
    return json_answer(await _page(request, CredentialQuestion.of(request)))


async def list_of_device(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}/credentials?kind=&state=&origin=&after=&limit="""
    return json_answer(await _page(request, CredentialQuestion.of(request, requests.endpoint(request))))


async def remove_credential(request: web.Request) -> web.Response:
    """DELETE credentials/{id}: its sessions and the registration that rests on them end at once."""
    await request.app[PARTS].credentials.remove(_id(request))
    return json_answer(Removed(1))


async def remove_credentials(request: web.Request) -> web.Response:
    """DELETE endpoints/{endpoint}/credentials: all of a device."""
    endpoint = requests.endpoint(request)
    removed = await request.app[PARTS].credentials.remove_endpoint(endpoint)
    if not removed:
        raise UsageError(
            "credential_unknown",
            f"{clean(endpoint)} has no credential",
            "check the name in the list of devices; in an address a name is percent-encoded",
        )
    return json_answer(Removed(removed))


async def renew_credential(request: web.Request) -> web.Response:
    """POST credentials/{id}/renew {"csr", "valid_days"}, or without a body."""
    wanted = await requests.body_or(request, RenewRequest)
    given = await provisioning.renew(request.app[PARTS], _id(request), wanted.csr, wanted.valid_days)
    return created(given)


async def show_enrolment(request: web.Request) -> web.Response:
    """GET enrolment: whether it is open, never its key."""
    return json_answer(provisioning.enrolment_state(request.app[PARTS].credentials.enrolment()))


async def open_enrolment(request: web.Request) -> web.Response:
    """POST enrolment {"minutes"}, or without a body."""
    wanted = await requests.body_or(request, EnrolmentRequest)
    return created(provisioning.open_enrolment(request.app[PARTS], wanted.minutes))


async def close_enrolment(request: web.Request) -> web.Response:
    """DELETE enrolment; nothing to do where it is not open."""
    parts = request.app[PARTS]
    parts.credentials.close_enrolment()
    return json_answer(provisioning.enrolment_state(parts.credentials.enrolment()))


async def _give(parts: Parts, endpoint: str, wanted: CredentialRequest) -> Given:
    foreign = ("csr", "valid_days") if wanted.kind == "psk" else ("identity", "key")
    for name in foreign:
        if getattr(wanted, name) is not None:
            raise UsageError("body_invalid", f"{name} does not go with kind {wanted.kind}", "leave it out")
    if wanted.kind == "psk":
        return await provisioning.give_psk(parts, endpoint, wanted.identity, wanted.key, wanted.label)
    return await provisioning.give_certificate(parts, endpoint, wanted.csr, wanted.valid_days, wanted.label)


async def _page(request: web.Request, question: CredentialQuestion) -> CredentialList:
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    after = requests.whole(request, "after", MAX_ID, 1, MAX_ID)
    return CredentialList(*await credentials.page_before(request.app[PARTS], question, after, limit))


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if requests.is_id(text):
        return int(text)
    raise UsageError(
        "credential_unknown",
        f"not the number of a credential: {clean(text, 40)}",
        "GET credentials lists them",
    )
