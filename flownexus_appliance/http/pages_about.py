"""What people note about a device, as a form: its label, tags and notes."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..errors import ApplianceError, UsageError
from ..fleet.noted import TAG_SEPARATOR
from . import devices, pages_forms, requests
from .devices import Device
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS
from .routes import Place, form, page
from .views import device_url

# Which field of the form an error is about.
FIELDS: Final = {
    "label_invalid": "label",
    "notes_invalid": "notes",
    "tag_invalid": "tags",
    "tag_limit": "tags",
}


def routes() -> list[Place]:
    return [
        page("/devices/{endpoint}/about", ask, Role.OPERATOR),
        form("/devices/{endpoint}/about", save, Role.OPERATOR),
    ]


async def ask(request: web.Request) -> web.Response:
    """The form by itself, as it stands on the device's page too."""
    device = await devices.device(request.app[PARTS], requests.endpoint(request))
    noted = {"label": device.label, "tags": f"{TAG_SEPARATOR} ".join(device.tags), "notes": device.notes}
    return _form(request, device, noted)


async def save(request: web.Request) -> web.Response:
    """Keep what the form says; where it cannot be kept, the form comes back as it was filled in."""
    parts = request.app[PARTS]
    device = await devices.device(parts, requests.endpoint(request))
    sent = await pages_forms.read(request)
    try:
        if sent.text("known") != device.edition:
            raise UsageError(
                "notes_changed",
                "somebody else has changed this meanwhile",
                "look at what stands there now; saving again puts yours in its place",
            )
        await parts.fleet.configure(
            device.endpoint, label=sent.text("label"), notes=sent.text("notes"), tags=_tags(sent)
        )
    except ApplianceError as error:
        filled = {name: sent.fields.get(name, "") for name in ("label", "tags", "notes")}
        return _form(request, device, filled, Problem.of(error, FIELDS))
    return pages_forms.see_other(f"{device_url(device.endpoint)}#about-title")


def _tags(sent: Form) -> list[str]:
    """Those of the line; a comma too many is no tag."""
    return [tag for tag in sent.text("tags").split(TAG_SEPARATOR) if tag.strip()]


def _form(
    request: web.Request, device: Device, values: Mapping[str, str], problem: Problem | None = None
) -> web.Response:
    return render(
        request,
        "about.html",
        status=200 if problem is None else problem.status,
        device=device,
        values=values,
        problem=problem,
    )
