"""Giving devices their credentials: adding a device, the one look at its key, renewing, removing."""

from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.credentials import ProofKind
from ..errors import ApplianceError, UsageError, clean
from ..pki.devices import VALIDITY
from . import guard, pages_forms, provisioning, qr, requests, views_recipes, views_trust
from .api_credentials import MAX_VALID_DAYS
from .credentials import CredentialEntry, entry_of
from .pages_forms import Form, Problem
from .pages_frame import render
from .pages_once import ONCE
from .ports import PARTS
from .provisioning import Given
from .routes import Place, form, page
from .views import device_url
from .views_arrival import arrival
from .views_recipes import CLIENTS

DEFAULT_CLIENT: Final = "zephyr"
KINDS: Final = tuple(kind.value for kind in ProofKind)
# Which field of the form an error is about.
FIELDS: Final = {
    "endpoint_invalid": "endpoint",
    "endpoint_missing": "endpoint",
    "identity_invalid": "identity",
    "identity_taken": "identity",
    "key_invalid": "key",
    "name_invalid": "endpoint",
    "name_too_long": "endpoint",
    "request_key_unsupported": "csr",
    "request_name": "csr",
    "request_unreadable": "csr",
    "request_unsigned": "csr",
    "validity_invalid": "valid_days",
}
GONE: Final = 410


def routes() -> list[Place]:
    # Not below /devices/, where every name is a device's.
    return [
        page("/add-device", ask_add, Role.OPERATOR),
        form("/add-device", add, Role.OPERATOR),
        page("/given/{name}", show_given, Role.OPERATOR, head=False),  # to look is to take
        page("/credentials/{id}/arrival", show_arrival, Role.OPERATOR),
        page("/credentials/{id}/renew", ask_renew, Role.OPERATOR),
        form("/credentials/{id}/renew", renew, Role.OPERATOR),
        page("/credentials/{id}/remove", ask_remove, Role.OPERATOR),
        form("/credentials/{id}/remove", remove, Role.OPERATOR),
    ]


async def ask_add(request: web.Request) -> web.Response:
    """The form for a device; ?endpoint= fills in its name, ?client= what it is."""
    asked = {name: request.query.get(name, "") for name in ("endpoint", "client")}
    return _add_form(request, Form({**asked, "kind": "psk"}))


async def add(request: web.Request) -> web.Response:
    form = await pages_forms.read(request)
    parts = request.app[PARTS]
    # White space around a name is part of it for the wire, and never meant by who types it here.
    endpoint = form.text("endpoint")
    try:
        if not endpoint:
            raise UsageError("endpoint_missing", "the device has no name", "give it one")
        kind = pages_forms.chosen(form.text("kind"), KINDS, "kind")
        client = pages_forms.chosen(form.text("client") or DEFAULT_CLIENT, tuple(CLIENTS), "client")
        label = form.text("label")[: provisioning.MAX_LABEL]
        if kind == ProofKind.PSK:
            given = await provisioning.give_psk(
                parts, endpoint, form.optional("identity"), form.optional("key"), label
            )
        else:
            given = await provisioning.give_certificate(
                parts, endpoint, form.optional("csr"), _valid_days(form), label
            )
    except ApplianceError as error:
        return _add_form(request, form, Problem.of(error, FIELDS))
    request[guard.DETAIL] = endpoint
    return _hand_over(request, given, client)


async def show_given(request: web.Request) -> web.Response:
    """What was made, this once; ?for= is the client to begin with."""
    parts, name = request.app[PARTS], request.match_info["name"]
    given = request.app[ONCE].take(name)
    if not isinstance(given, Given):
        return render(request, "given_gone.html", status=GONE, secret=True, view=_told(request, name))
    # Before anything is read: what happens from here on, the stream repeats.
    position = parts.hub.last_number
    material = views_recipes.material_of(given)
    return render(
        request,
        "given.html",
        secret=True,
        given=given,
        uri=material.uri,
        recipes=views_recipes.recipes(given, request.query.get("for", "")),
        qr=qr.svg(qr.provisioning_text(material)) if material.uri else None,
        count=len(parts.credentials.of(given.credential.endpoint)),
        arrival=await arrival(parts, given.credential.id),
        stream_after=position,
    )


async def show_arrival(request: web.Request) -> web.Response:
    """Whether the device has come by the credential; the page of the key asks for it again and again."""
    entry = _entry(request)
    parts = request.app[PARTS]
    position = parts.hub.last_number
    return render(
        request,
        "arrival.html",
        arrival=await arrival(parts, entry.id),
        uri=views_recipes.secure_uri(parts.coap_uris),
        stream_after=position,
    )


async def ask_renew(request: web.Request) -> web.Response:
    """What a renewal means, before it is done."""
    return _renew_form(request, _entry(request), Form())


async def renew(request: web.Request) -> web.Response:
    entry = _entry(request)
    form = await pages_forms.read(request)
    try:
        if entry.kind == ProofKind.PSK:
            given = await provisioning.renew(request.app[PARTS], entry.id)
        else:
            csr = form.optional("csr")
            given = await provisioning.renew(request.app[PARTS], entry.id, csr, _valid_days(form))
    except ApplianceError as error:
        return _renew_form(request, entry, form, Problem.of(error, FIELDS))
    return _hand_over(request, given)


async def ask_remove(request: web.Request) -> web.Response:
    """What a removal means, before it is done."""
    return _remove_form(request, _entry(request))


async def remove(request: web.Request) -> web.Response:
    entry = _entry(request)
    await pages_forms.read(request)
    parts = request.app[PARTS]
    try:
        await parts.credentials.remove(entry.id)
    except ApplianceError as error:
        return _remove_form(request, entry, Problem.of(error, {}))
    # A name that was never seen has nothing left to show.
    known = await parts.reader.endpoint(entry.endpoint)
    return pages_forms.see_other("/" if known is None else device_url(entry.endpoint))


def _hand_over(request: web.Request, given: Given, client: str = "") -> web.Response:
    place = f"/given/{request.app[ONCE].put(given)}"
    return pages_forms.see_other(f"{place}?for={client}" if client else place)


def _told(request: web.Request, name: str) -> views_trust.CredentialView | None:
    """What was told under this name, while it is good: it can be renewed."""
    told = request.app[ONCE].told(name)
    found = [one for one in request.app[PARTS].credentials.all() if one.id == told]
    return views_trust.credential_view(entry_of(found[0])) if found else None


def _valid_days(form: Form) -> int | None:
    return form.whole("valid_days", 1, MAX_VALID_DAYS, "validity_invalid")


def _entry(request: web.Request) -> CredentialEntry:
    """The credential in the address, which must be good still."""
    text = request.match_info["id"]
    if not requests.is_id(text):
        raise UsageError(
            "credential_unknown",
            f"not the number of a credential: {clean(text, 40)}",
            "the page of a device lists those it has",
        )
    return entry_of(request.app[PARTS].credentials.get(int(text)))


def _add_form(request: web.Request, form: Form, problem: Problem | None = None) -> web.Response:
    parts = request.app[PARTS]
    return render(
        request,
        "add_device.html",
        status=200 if problem is None else problem.status,
        # A key may stand in the form.
        secret=True,
        form=form,
        problem=problem,
        doubt=parts.certificates.doubt(),
        uri=views_recipes.secure_uri(parts.coap_uris),
        usual_days=VALIDITY.days,
        clients=views_recipes.CLIENT_NAMES,
        client_notes=views_recipes.CLIENT_NOTES,
        default_client=DEFAULT_CLIENT,
    )


def _renew_form(
    request: web.Request, entry: CredentialEntry, form: Form, problem: Problem | None = None
) -> web.Response:
    return render(
        request,
        "renew.html",
        status=200 if problem is None else problem.status,
        view=views_trust.credential_view(entry),
        form=form,
        problem=problem,
        usual_days=VALIDITY.days,
    )


def _remove_form(
    request: web.Request, entry: CredentialEntry, problem: Problem | None = None
) -> web.Response:
    parts = request.app[PARTS]
    return render(
        request,
        "remove.html",
        status=200 if problem is None else problem.status,
        view=views_trust.credential_view(entry),
        problem=problem,
        last=len(parts.credentials.of(entry.endpoint)) == 1,
    )
