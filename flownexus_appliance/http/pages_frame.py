"""What all pages stand in: the template environment, the navigation, and how a page becomes an answer."""

from dataclasses import dataclass
from typing import Any, Final

import aiohttp_jinja2
import jinja2
from aiohttp import web

from .. import __version__
from . import views, wording
from .answers import page_answer
from .ports import PARTS, Parts


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation; `name` marks the page that is open."""

    name: str
    title: str
    url: str
    icon: str


NAVIGATION: Final = (
    Place("overview", "Devices", "/", "grid"),
    Place("operations", "Operations", "/operations", "list"),
    Place("certificates", "Certificates", "/certificates", "shield"),
)


def set_up_templates(app: web.Application, parts: Parts) -> None:
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
    # Texts are marked for translation from the first page on; the catalogue comes with a second language.
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(
        static=parts.assets.url,
        navigation=NAVIGATION,
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
    place: str = "overview",
    status: int = 200,
    secret: bool = False,
    **context: Any,
) -> web.Response:
    """A page of the navigation's `place`; one that is `secret` may be kept by nobody."""
    context |= {"now_ms": request.app[PARTS].now_ms(), "current": place}
    response = page_answer(aiohttp_jinja2.render_string(template, request, context), status)
    if secret:
        response.headers["Cache-Control"] = "no-store"
    return response
