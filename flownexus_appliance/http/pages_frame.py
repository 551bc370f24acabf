"""What all pages stand in: the template environment, the navigation, and how a page becomes an answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web
from markupsafe import Markup

from .. import __version__
from ..access.roles import Caller, Role
from . import guard, language, views, wording
from .answers import page_answer
from .errors import RENDER
from .language import N_
from .pages_forms import Problem
from .ports import PARTS, Parts


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the navigation; `name` marks the page that is open, `role` is who has it."""

    name: str
    title: str
    url: str
    icon: str = ""
    role: Role = Role.VIEWER


NAVIGATION: Final = (
    Entry("overview", N_("Devices"), "/", "grid"),
    Entry("compare", N_("Compare"), "/compare", "chart"),
    Entry("firmware", N_("Firmware"), "/firmware", "chip"),
    Entry("operations", N_("Operations"), "/operations", "list"),
    Entry("system", N_("System"), "/system", "box"),
)
# What is below "System".
SYSTEM_TABS: Final = (
    Entry("health", N_("Health"), "/system"),
    Entry("settings", N_("Settings"), "/system/settings", role=Role.ADMIN),
    Entry("log", N_("Log"), "/system/log", role=Role.OPERATOR),
    Entry("certificates", N_("Certificates"), "/certificates"),
    Entry("bootstrap", N_("Bootstrap"), "/bootstrap", role=Role.ADMIN),
    Entry("people", N_("People"), "/people", role=Role.ADMIN),
    Entry("audit", N_("Record of changes"), "/audit", role=Role.ADMIN),
)
# What is below "Firmware".
FIRMWARE_TABS: Final = (
    Entry("runs", N_("What runs"), "/firmware"),
    Entry("packages", N_("Packages"), "/firmware/packages"),
    Entry("campaigns", N_("Campaigns"), "/firmware/campaigns"),
    Entry("updates", N_("Updates"), "/firmware/updates"),
)


def set_up_templates(app: web.Application, parts: Parts) -> None:
    app[RENDER] = html
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader("flownexus_appliance.http"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        language.gettext, language.ngettext, newstyle=True
    )
    environment.globals.update(
        static=parts.assets.url,
        version=__version__,
        ago_text=wording.ago_text,
        ahead_text=wording.ahead_text,
        left_text=wording.left_text,
        moment_text=wording.moment_text,
        duration_text=wording.duration_text,
        states=wording.STATES,
        state_notes=wording.STATE_NOTES,
        content_formats=wording.CONTENT_FORMATS,
        transports=wording.TRANSPORTS,
        credential_kinds=wording.CREDENTIAL_KINDS,
        credential_origins=wording.CREDENTIAL_ORIGINS,
        update_words=wording.UPDATE_WORDS,
        campaign_words=wording.CAMPAIGN_WORDS,
        delivery_words=wording.DELIVERY_WORDS,
        size_text=wording.size_text,
        operation_names=wording.OPERATION_NAMES,
        operation_titles=wording.OPERATION_TITLES,
        operation_status=wording.OPERATION_STATUS,
        observation_states=wording.OBSERVATION_STATES,
        span_text=wording.span_text,
        ranges=views.RANGES,
        device_url=views.device_url,
    )


def render(
    request: web.Request,
    template: str,
    *,
    place: str = "",
    tab: str = "",
    status: int = 200,
    secret: bool = False,
    **context: Any,
) -> web.Response:
    """A page of the navigation's `place`, or of a `tab` below it; one that is `secret` may be kept by nobody.

    A `tab` without a place is System's; without either it is a page of the devices.
    """
    problem = context.get("problem")
    if isinstance(problem, Problem):
        request[guard.FAILED] = problem.code
    context |= {"current": place or ("system" if tab else "overview"), "tab": tab}
    response = page_answer(html(request, template, context), status)
    if secret:
        response.headers["Cache-Control"] = "no-store"
    return response


def html(request: web.Request, template: str, context: Mapping[str, Any]) -> str:
    """A template with what all pages know: who looks, and what is theirs."""
    caller: Caller | None = request.get(guard.CALLER)

    def may(role: str) -> bool:
        return caller is not None and caller.role.includes(Role(role))

    @cache
    def form_seal() -> str:
        # One a page: what is sent by one form of it answers with a page that has another.
        return guard.form_token(caller) if caller is not None else ""

    def form_token() -> Markup:
        return Markup('<input type="hidden" name="{}" value="{}">').format(guard.FORM_FIELD, form_seal())

    frame = {
        "now_ms": request.app[PARTS].now_ms(),
        "lang": language.language().tag,
        "catalogue": request.app[PARTS].assets.catalogue(),
        "caller": caller,
        "may": may,
        "form_token": form_token,
        # For the address of a form whose body is streamed.
        "form_seal": form_seal,
        "navigation": [entry for entry in NAVIGATION if may(entry.role)],
        "system_tabs": [entry for entry in SYSTEM_TABS if may(entry.role)],
        "firmware_tabs": FIRMWARE_TABS,
    }
    return aiohttp_jinja2.render_string(template, request, {**frame, **context})
