"""What bootstrap gives a device, or every device: the common settings in a form, all of them as JSON."""

import json
import re
from typing import Any, Final

from aiohttp import web

from ..access.roles import Role
from ..errors import ApplianceError
from ..lwm2m.bootstrap_config import Security, parse_config, read_config
from . import pages_forms
from .api_bootstrap import entry
from .language import gettext
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS
from .routes import Place, form, page
from .views import device_url

WHOLE: Final = (
    "lifetime_s",
    "short_server_id",
    "default_pmin_s",
    "default_pmax_s",
    "renew_before_s",
)
TEXTS: Final = ("security", "uri", "binding")
MUTE: Final = {"": None, "true": True, "false": False}
DONE: Final = ("saved", "asked", "default")
MAX_LISTED: Final = 200
# `lwm2m.bootstrap_instances.invalid` names the field before what is wrong with it.
_NAMED: Final = re.compile(r"bootstrap configuration, ([a-z_]+)")


def routes() -> list[Place]:
    return [
        page("/bootstrap", show, Role.ADMIN),
        form("/bootstrap", save, Role.ADMIN),
        form("/bootstrap/default", forget, Role.ADMIN),
        page("/devices/{endpoint}/bootstrap", show, Role.ADMIN),
        form("/devices/{endpoint}/bootstrap", save, Role.ADMIN),
        form("/devices/{endpoint}/bootstrap/default", forget, Role.ADMIN),
        form("/devices/{endpoint}/bootstrap/ask", ask, Role.OPERATOR),
    ]


async def show(request: web.Request) -> web.Response:
    """The configuration of a device, or the default: ?done= tells what has just been done."""
    done = request.query.get("done", "")
    return await _form(request, done=done if done in DONE else "")


async def save(request: web.Request) -> web.Response:
    """Keep what the form says; `json` in place of its fields where it came from there."""
    form = await pages_forms.read(request)
    parts = request.app[PARTS]
    endpoint = _endpoint(request)
    try:
        if "json" in form.fields:
            config = parse_config(form.fields["json"])
        else:
            config = read_config(_document(form, dict(entry(parts, endpoint).config)))
        await parts.bootstrap.put_config(endpoint, config)
    except ApplianceError as error:
        return await _form(request, form, _problem(form, error))
    return pages_forms.see_other(f"{_url(endpoint)}?done=saved")


async def forget(request: web.Request) -> web.Response:
    """The default again, or the built-in one."""
    await pages_forms.read(request)
    endpoint = _endpoint(request)
    try:
        await request.app[PARTS].bootstrap.put_config(endpoint, None)
    except ApplianceError as error:
        return await _form(request, problem=Problem.of(error, {}))
    return pages_forms.see_other(f"{_url(endpoint)}?done=default")


async def ask(request: web.Request) -> web.Response:
    """Have a device come and bootstrap now."""
    await pages_forms.read(request)
    endpoint = _endpoint(request)
    try:
        result = await request.app[PARTS].bootstrap.trigger(endpoint)
    except ApplianceError as error:
        return await _form(request, problem=Problem.of(error, {}))
    if result.status != "CONFIRMED":
        told = result.outcome.message or gettext("the device answered %(code)s") % {
            "code": result.outcome.code
        }
        return await _form(request, problem=Problem("", told, result.outcome.hint, 502))
    return pages_forms.see_other(f"{_url(endpoint)}?done=asked")


def _endpoint(request: web.Request) -> str:
    """The device in the address, "" for the default."""
    return request.match_info.get("endpoint", "")


def _url(endpoint: str) -> str:
    return f"{device_url(endpoint)}/bootstrap" if endpoint else "/bootstrap"


def _document(form: Form, present: dict[str, Any]) -> dict[str, Any]:
    """The short form as JSON: what the page has no field for stays as it is."""
    document = dict(present) if isinstance(present.get("security"), str) else {}
    for name in TEXTS:
        document[name] = form.optional(name)
    for name in WHOLE:
        document[name] = _whole(form, name)
    mute = form.text("mute_send")
    pages_forms.chosen(mute, tuple(MUTE), "mute_send")
    document["mute_send"] = MUTE[mute]
    return document


def _whole(form: Form, name: str) -> int | str | None:
    """A number where it is one; else the text, for the reader of configurations to refuse."""
    text = form.text(name)
    if not text:
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else text


def _problem(form: Form, error: ApplianceError) -> Problem:
    if "json" in form.fields:
        field = "json"
    else:
        named = _NAMED.match(error.message)
        field = named[1] if named else ""
    return Problem.of(error, {"bootstrap_config_invalid": field})


async def _form(
    request: web.Request, form: Form | None = None, problem: Problem | None = None, done: str = ""
) -> web.Response:
    parts = request.app[PARTS]
    endpoint = _endpoint(request)
    shown = entry(parts, endpoint)
    long = not isinstance(shown.config.get("security"), str)
    values = {} if long else {name: _field(shown.config.get(name)) for name in (*TEXTS, *WHOLE, "mute_send")}
    text = json.dumps(shown.config, indent=2, ensure_ascii=False)
    if form is not None and "json" in form.fields:
        text = form.fields["json"]
    elif form is not None:
        values |= {name: form.text(name) for name in values}
    own = sorted(name for name in parts.bootstrap.configs() if name)
    return render(
        request,
        "bootstrap.html",
        tab="" if endpoint else "bootstrap",
        status=200 if problem is None else problem.status,
        # The long form of a configuration that was refused may hold keys.
        secret=True,
        endpoint=endpoint,
        known=bool(endpoint) and await parts.reader.endpoint(endpoint) is not None,
        registered=bool(endpoint) and parts.fleet.presence(endpoint) != "offline",
        url=_url(endpoint),
        own=shown.own,
        long=long,
        values=values,
        securities=tuple(security.value for security in Security),
        json=text,
        json_open=long or (form is not None and "json" in form.fields),
        others=() if endpoint else [(name, _url(name)) for name in own[:MAX_LISTED]],
        more=0 if endpoint else max(0, len(own) - MAX_LISTED),
        problem=problem,
        done=done,
    )


def _field(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
