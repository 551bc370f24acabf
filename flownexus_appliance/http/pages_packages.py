"""Firmware packages for people: what there is; uploading, changing, removing one, giving it to a device."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ..access.roles import Role
from ..db.firmware import Firmware
from ..db.package_files import MAX_PACKAGE
from ..errors import ApplianceError, UsageError
from . import guard, pages_forms, uploads, views_packages, views_updates
from .guard import BY
from .pages_campaigns import wish_of
from .pages_forms import Form, Problem
from .pages_frame import render
from .pages_updates import PLACE, find, number_in
from .ports import PARTS, Parts
from .ports_firmware import FirmwareFacts
from .routes import Place, form, page
from .views_packages import PackageView
from .views_updates import Question

TAB: Final = "packages"
PACKAGE: Final = "firmware"
ADDRESS: Final = "/firmware/packages"
DONE: Final = ("added", "saved", "removed")
# How many of a package's updates its own page shows, and how many devices it suggests by name.
NEWEST: Final = 10
MAX_SUGGESTED: Final = 200
# Which field of a form an error is about.
FACTS: Final[Mapping[str, str]] = {
    "version_missing": "version",
    "version_invalid": "version",
    "firmware_known": "version",
    "note_invalid": "note",
    "target_invalid": "model",
}
UPLOADED: Final[Mapping[str, str]] = {
    **FACTS,
    **dict.fromkeys(
        ("package_empty", "package_truncated", "package_corrupt", "package_too_large", "file_name_invalid"),
        "package",
    ),
}
GIVEN: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "endpoint_unknown",
            "endpoint_unseen",
            "object_missing",
            "firmware_not_for",
            "update_under_way",
        ),
        "endpoint",
    ),
    "delivery_closed": "delivery",
}


@dataclass(frozen=True, slots=True)
class Values:
    """What stands in the fields of a form about a package."""

    version: str = ""
    note: str = ""
    model: str = ""
    tag: str = ""
    from_version: str = ""

    @classmethod
    def sent(cls, form: Form) -> "Values":
        return cls(*(form.text(name) for name in cls.__slots__))

    @classmethod
    def of(cls, kept: Firmware) -> "Values":
        return cls(kept.version, kept.note, kept.model, kept.tag, kept.from_version)

    @property
    def facts(self) -> FirmwareFacts:
        return FirmwareFacts(
            version=self.version,
            note=self.note,
            model=self.model,
            tag=self.tag,
            from_version=self.from_version,
        )


def routes() -> list[Place]:
    return [
        page(ADDRESS, show_all),
        form(ADDRESS, upload, Role.OPERATOR, streamed=True),
        page("/firmware/packages/{id}", show_one),
        form("/firmware/packages/{id}", change, Role.OPERATOR),
        form("/firmware/packages/{id}/update", update, Role.OPERATOR),
        page("/firmware/packages/{id}/remove", ask_remove, Role.OPERATOR),
        form("/firmware/packages/{id}/remove", remove, Role.OPERATOR),
    ]


async def show_all(request: web.Request) -> web.Response:
    """All packages, the newest first, and the form for another one: ?done="""
    return await _all(request)


async def upload(request: web.Request) -> web.Response:
    """Take a package. Where it cannot be kept, the form comes back with what was entered."""
    try:
        added = await uploads.take_form(request)
    except ApplianceError as error:
        sent: Form = request.get(pages_forms.FORM) or Form()
        return await _all(request, Values.sent(sent), Problem.of(error, UPLOADED))
    request[guard.DETAIL] = f"{added.id} {added.version}"
    return pages_forms.see_other(f"{ADDRESS}/{added.id}?done=added")


async def show_one(request: web.Request) -> web.Response:
    """One package, what it is and who was given it: ?done=, ?device= fills in the name of a device."""
    return await _one(request, _kept(request))


async def change(request: web.Request) -> web.Response:
    """Say other things of it."""
    sent = await pages_forms.read(request)
    kept = _kept(request)
    values = Values.sent(sent)
    try:
        await request.app[PARTS].firmware.change(kept.id, values.facts)
    except ApplianceError as error:
        return await _one(request, kept, values, Problem.of(error, FACTS))
    return pages_forms.see_other(f"{ADDRESS}/{kept.id}?done=saved")


async def update(request: web.Request) -> web.Response:
    """Give it to one device."""
    sent = await pages_forms.read(request)
    kept = _kept(request)
    endpoint = sent.text("endpoint")
    try:
        if not endpoint:
            raise UsageError("endpoint_unknown", "no device is named", "write its name")
        begun = await request.app[PARTS].firmware.update(endpoint, kept.id, wish_of(sent), request[BY])
    except ApplianceError as error:
        problem = Problem.of(error, GIVEN)
        return await _one(request, kept, problem=problem, given=sent)
    return pages_forms.see_other(f"/firmware/updates/{begun.id}")


async def ask_remove(request: web.Request) -> web.Response:
    """What removing means, before it is done."""
    return _removal(request, _kept(request))


async def remove(request: web.Request) -> web.Response:
    await pages_forms.read(request)
    kept = _kept(request)
    try:
        await request.app[PARTS].firmware.remove(kept.id)
    except ApplianceError as error:
        return _removal(request, kept, Problem.of(error, {}))
    return pages_forms.see_other(f"{ADDRESS}?done=removed")


def _kept(request: web.Request) -> Firmware:
    return request.app[PARTS].firmware.get(number_in(request, PACKAGE))


def _removal(request: web.Request, kept: Firmware, problem: Problem | None = None) -> web.Response:
    return render(
        request,
        "remove_package.html",
        place=PLACE,
        tab=TAB,
        status=200 if problem is None else problem.status,
        view=views_packages.package_view(request.app[PARTS], kept),
        problem=problem,
    )


async def _all(
    request: web.Request, values: Values | None = None, problem: Problem | None = None
) -> web.Response:
    parts = request.app[PARTS]
    position = parts.hub.last_number
    kept = parts.firmware.all()
    rows = await parts.reader.running()
    updated = await parts.reader.firmware_reached()
    return render(
        request,
        "packages.html",
        place=PLACE,
        tab=TAB,
        status=200 if problem is None else problem.status,
        stream_after=position,
        packages=[
            views_packages.package_view(
                parts, one, views_packages.running_of(rows, one), updated.get(one.id, 0)
            )
            for one in kept
        ],
        known=views_packages.known(rows, await parts.reader.tags(), kept),
        values=values or Values(),
        max_size=MAX_PACKAGE,
        problem=problem,
        done=_done(request),
    )


async def _one(
    request: web.Request,
    kept: Firmware,
    values: Values | None = None,
    problem: Problem | None = None,
    given: Form | None = None,
) -> web.Response:
    parts = request.app[PARTS]
    position = parts.hub.last_number
    rows = await parts.reader.running()
    found, _ = await find(parts, Question(firmware=kept.id), NEWEST)
    given = given or Form()
    return render(
        request,
        "package.html",
        place=PLACE,
        tab=TAB,
        status=200 if problem is None else problem.status,
        stream_after=position,
        view=await _view(parts, kept, views_packages.running_of(rows, kept)),
        values=values or Values.of(kept),
        known=views_packages.known(rows, await parts.reader.tags(), parts.firmware.all()),
        endpoints=[row.endpoint for row in rows[:MAX_SUGGESTED]],
        endpoint=given.text("endpoint") or request.query.get("device", ""),
        delivery=given.text("delivery"),
        deliveries=views_updates.delivery_options(),
        updates=found,
        problem=problem,
        done=_done(request),
    )


async def _view(parts: Parts, kept: Firmware, running: int) -> PackageView:
    updated = await parts.reader.firmware_reached()
    return views_packages.package_view(parts, kept, running, updated.get(kept.id, 0))


def _done(request: web.Request) -> str:
    done = request.query.get("done", "")
    return done if done in DONE else ""
