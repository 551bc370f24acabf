"""The pages of the box itself: how it is, its settings, a restart, its log."""

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from aiohttp import web

from ..access.roles import Role
from ..errors import ApplianceError
from ..system import logs
from ..system.settings import SettingsInvalid
from . import api_certificates, api_system, guard, pages_forms, views_system
from .api_system import find_lines, value_of
from .language import gettext
from .pages_forms import Form, Problem
from .pages_frame import render
from .ports import PARTS, Parts
from .routes import Place, form, page
from .views_overview import bytes_text
from .wording import number_text

PAGE_SIZE: Final = 200
DONE: Final = ("saved", "restarted")
EVERYWHERE: Final = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Move:
    """Where the pages are from the next start on (host and port); `lost`: not reached from where one is."""

    address: str
    lost: bool


def routes() -> list[Place]:
    return [
        page("/system", show),
        page("/system/settings", show_settings, Role.ADMIN),
        form("/system/settings", change_settings, Role.ADMIN),
        page("/system/log", show_log, Role.OPERATOR),
        page("/system/restart", ask_restart, Role.ADMIN),
        form("/system/restart", restart, Role.ADMIN),
        page("/system/restarting", restarting, Role.ADMIN),
    ]


async def show(request: web.Request) -> web.Response:
    """How the box is: ?done= tells what has just been done."""
    parts = request.app[PARTS]
    state = await api_system.state(parts)
    certificates = api_certificates.entries(parts)
    counts = parts.fleet.counts()
    return render(
        request,
        "system.html",
        tab="health",
        state=state,
        vitals=state.vitals,
        storage=state.storage,
        notices=views_system.notices(state, certificates, parts.settings.problems(), parts.now_ms()),
        days_left=views_system.days_left(certificates, parts.now_ms()),
        devices=sum(counts.values()),
        online=counts.get("online", 0),
        waiting=sum(parts.operations.counts().values()),
        keep_days=_keep_days(parts),
        uris=parts.coap_uris,
        size=bytes_text,
        number=number_text,
        done=_done(request),
    )


async def show_settings(request: web.Request) -> web.Response:
    """What can be set, by section: ?done= tells what has just been done."""
    return _settings(request)


async def change_settings(request: web.Request) -> web.Response:
    """One section's fields, as far as they were touched."""
    parts, sent = request.app[PARTS], await pages_forms.read(request)
    changes, problems = views_system.wanted(parts.settings.entries(), sent)
    try:
        if not problems:
            await parts.settings.change(changes)
            request[guard.DETAIL] = ", ".join(changes)
    except SettingsInvalid as error:
        problems = error.fields
    except ApplianceError as error:
        return _settings(request, sent, {}, Problem.of(error, {}))
    if problems:
        return _settings(request, sent, problems)
    return pages_forms.see_other("/system/settings?done=saved")


async def show_log(request: web.Request) -> web.Response:
    """The newest lines: ?level=, ?q=, ?after= a number for older ones, ?since= for newer ones."""
    parts = request.app[PARTS]
    last = logs.RECENT.last_number
    found = find_lines(request, PAGE_SIZE + 1)
    lines = found[:PAGE_SIZE]
    asked = {"level": request.query.get("level", ""), "q": request.query.get("q", "").strip()}
    older = {**asked, "after": str(lines[-1].number)} if len(found) > PAGE_SIZE else None
    return render(
        request,
        "log.html",
        tab="log",
        lines=views_system.line_views(lines),
        last=last,
        level=asked["level"],
        search=asked["q"],
        levels=views_system.LEVELS,
        written=next(
            (value_of(one.in_use) for one in parts.settings.entries() if one.key == "log.level"), ""
        ),
        newest=_log_url(asked),
        older=None if older is None else _log_url(older),
        first="after" not in request.query,
        kept=logs.KEPT_LINES,
    )


async def ask_restart(request: web.Request) -> web.Response:
    """What a restart means, before it happens."""
    return _ask_restart(request)


async def restart(request: web.Request) -> web.Response:
    """Stop and start anew."""
    await pages_forms.read(request)
    parts = request.app[PARTS]
    try:
        parts.settings.restart()
    except ApplianceError as error:
        return _ask_restart(request, Problem.of(error, {}))
    return pages_forms.see_other(f"/system/restarting?since={parts.health.started_ms}")


async def restarting(request: web.Request) -> web.Response:
    """Until the box is there again: ?since= when the run began that ends."""
    parts = request.app[PARTS]
    if request.query.get("since", "") != str(parts.health.started_ms):
        return pages_forms.see_other("/system?done=restarted")
    response = render(
        request,
        "restarting.html",
        tab="health",
        since=parts.health.started_ms,
        move=_move(request),
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _ask_restart(request: web.Request, problem: Problem | None = None) -> web.Response:
    return render(
        request,
        "restart.html",
        tab="health",
        status=200 if problem is None else problem.status,
        problem=problem,
        waiting=request.app[PARTS].settings.restart_needed(),
        move=_move(request),
    )


def _settings(
    request: web.Request,
    sent: Form | None = None,
    problems: dict[str, str] | None = None,
    problem: Problem | None = None,
) -> web.Response:
    parts = request.app[PARTS]
    entries = parts.settings.entries()
    if problems:
        first = next(iter(problems))
        title = views_system.TITLES.get(first)
        words = gettext("%(name)s: this value cannot be used")
        named = words % {"name": gettext(title) if title else first}
        problem = Problem(first, named, "", 400, "setting_invalid")
    return render(
        request,
        "settings.html",
        tab="settings",
        status=200 if problem is None else problem.status,
        sections=views_system.sections(entries, sent, problems),
        passed_over=parts.settings.problems(),
        restart_needed=parts.settings.restart_needed(),
        move=_move(request),
        problem=problem,
        done=_done(request),
    )


def _done(request: web.Request) -> str:
    done = request.query.get("done", "")
    return done if done in DONE else ""


def _log_url(asked: dict[str, str]) -> str:
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"/system/log?{query}" if query else "/system/log"


def _keep_days(parts: Parts) -> int | None:
    """For how many days samples are kept, 0 for ever; None where nobody says."""
    found = [one for one in parts.settings.entries() if one.key == "storage.keep_samples_days"]
    value = value_of(found[0].in_use) if found else None
    return value if isinstance(value, int) else None


def _move(request: web.Request) -> Move | None:
    """Where the pages are after the next start, None where they stay."""
    entries = {one.key: one for one in request.app[PARTS].settings.entries()}
    wanted = [entries[key] for key in ("http.host", "http.port") if key in entries]
    if all(one.value == one.in_use for one in wanted) or len(wanted) < 2:
        return None
    host, port = (str(value_of(one.value)) for one in wanted)
    used = request.url.host or ""
    if host in EVERYWHERE:
        return Move(_address(used, port), lost=False)
    local = ipaddress.ip_address(host).is_loopback
    return Move(_address(host, port), lost=local and not _is_local(request.remote))


def _address(host: str, port: str) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def _is_local(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return True  # the control socket
