"""The box itself over REST: how it is, its settings, a restart, its log."""

import tomllib
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from ..access.roles import Role
from ..db.storage import Storage
from ..system import health, logs
from ..system.config import LOG_LEVELS
from ..system.health import Vitals, Warn
from ..system.settings import write
from . import requests
from .answers import json_answer
from .guard import DETAIL
from .ports import PARTS, Parts
from .ports_box import SettingEntry
from .routes import DEFAULT_LIMIT, MAX_ID, MAX_LIMIT, Answer, Query, Route, get, search

TAG: Final = "box"
SettingValue = bool | int | float | str | list[str]


@dataclass(frozen=True, slots=True)
class SystemState:
    """How the box is: `versions` by name, what it takes up, and `warnings`, none when all is well."""

    versions: dict[str, str]
    vitals: Vitals
    storage: Storage
    clock_doubt: str
    restart_needed: bool
    warnings: list[Warn]


@dataclass(frozen=True, slots=True)
class SettingState:
    """A setting. `value` is what it is from the next start on, `in_use` what it is now, `base` what the file
    or the default says. `origin` is default, file or page; `problem` why what was set is passed over."""

    section: str
    name: str
    value: SettingValue
    in_use: SettingValue
    base: SettingValue
    default: SettingValue
    unit: str
    help: str
    origin: str
    kind: str
    choices: tuple[str, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class SettingList:
    """All settings by section; `problems` are sentences about what could not be used at the start."""

    items: list[SettingState]
    restart_needed: bool
    problems: list[str]


class SettingsChange(msgspec.Struct, forbid_unknown_fields=True):
    """Settings by `section.name`, such as {"log.level": "debug"}; null: as the file or the default says."""

    settings: dict[str, bool | int | float | str | list[str] | None]


@dataclass(frozen=True, slots=True)
class Restarting:
    """The box is about to start anew; `GET system` has another `vitals.started_ms` than this once it has."""

    started_ms: int


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the log. `number` rises from 1 with each start; `fields` by name; `trace` is a traceback."""

    number: int
    time_ms: int
    level: str
    logger: str
    message: str
    fields: dict[str, str]
    trace: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogList:
    """Lines, newest first; `next` goes into `?after=` for older ones, `last` into `?since=` for newer."""

    items: list[LogLine]
    next: int | None
    last: int


def routes() -> list[Route]:
    settings = "/api/v1/settings"
    return [
        get("/api/v1/system", show_system, "How the box is, and what it stores", TAG, SystemState),
        Route("GET", settings, list_settings, "The settings", TAG, (Answer(SettingList),), needs=Role.ADMIN),
        Route(
            "PATCH",
            settings,
            change_settings,
            "Change settings: all of them or none, in use after a restart",
            TAG,
            (Answer(SettingList),),
            body=SettingsChange,
            needs=Role.ADMIN,
        ),
        Route(
            "POST",
            "/api/v1/restart",
            restart,
            "Have the daemon stop in order and start anew",
            TAG,
            (Answer(Restarting, 202),),
            needs=Role.ADMIN,
        ),
        Route(
            "GET",
            "/api/v1/log",
            list_log,
            "The newest lines of the box's log",
            TAG,
            (Answer(LogList),),
            (
                Query("level", "At least as severe", values=LOG_LEVELS),
                search("messages, fields and tracebacks"),
                Query("after", "Older ones: `next` of the page before", int, low=1, high=MAX_ID),
                Query("since", "Newer ones: `last` of an earlier answer", int, low=0, high=MAX_ID),
                Query("limit", "How many at most", int, default=DEFAULT_LIMIT, low=1, high=MAX_LIMIT),
            ),
            needs=Role.OPERATOR,
            help=f"The last {logs.KEPT_LINES} lines since the start are in memory; the journal has the rest.",
        ),
    ]


async def show_system(request: web.Request) -> web.Response:
    """GET system"""
    return json_answer(await state(request.app[PARTS]))


async def list_settings(request: web.Request) -> web.Response:
    """GET settings"""
    return json_answer(_settings(request.app[PARTS]))


async def change_settings(request: web.Request) -> web.Response:
    """PATCH settings {"settings": {"http.port": 9443, "log.level": null}}"""
    parts = request.app[PARTS]
    wanted = await requests.body(request, SettingsChange)
    await parts.settings.change(
        {name: None if value is None else write(value) for name, value in wanted.settings.items()}
    )
    request[DETAIL] = ", ".join(wanted.settings)
    return json_answer(_settings(parts))


async def restart(request: web.Request) -> web.Response:
    """POST restart"""
    parts = request.app[PARTS]
    parts.settings.restart()
    return json_answer(Restarting(parts.health.started_ms), 202)


async def list_log(request: web.Request) -> web.Response:
    """GET log?level=&q=&after=&since=&limit="""
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    last = logs.RECENT.last_number
    found = find_lines(request, limit + 1)
    items = [
        LogLine(
            line.number, line.time_ms, line.level, line.logger, line.message, dict(line.fields), line.trace
        )
        for line in found[:limit]
    ]
    return json_answer(LogList(items, items[-1].number if len(found) > limit else None, last))


def find_lines(request: web.Request, limit: int) -> list[logs.Line]:
    """Those that the query asks for, the newest first."""
    return logs.RECENT.find(
        requests.one_of(request, "level", LOG_LEVELS),
        requests.search(request),
        after=requests.whole_or_none(request, "after", 1, MAX_ID) or 0,
        since=requests.whole(request, "since", 0, 0, MAX_ID),
        limit=limit,
    )


async def state(parts: Parts) -> SystemState:
    """How the box is."""
    vitals = await parts.health.vitals()
    return SystemState(
        parts.health.all_versions(),
        vitals,
        await parts.reader.storage(),
        parts.certificates.doubt(),
        parts.settings.restart_needed(),
        health.warnings(vitals),
    )


def value_of(text: str) -> SettingValue:
    """A setting's value out of what TOML writes for it."""
    value: SettingValue = tomllib.loads(f"value = {text}")["value"]
    return value


def _settings(parts: Parts) -> SettingList:
    return SettingList(
        [_setting(entry) for entry in parts.settings.entries()],
        parts.settings.restart_needed(),
        list(parts.settings.problems()),
    )


def _setting(entry: SettingEntry) -> SettingState:
    return SettingState(
        entry.section,
        entry.name,
        value_of(entry.value),
        value_of(entry.in_use),
        value_of(entry.base),
        value_of(entry.default),
        entry.unit,
        entry.help,
        entry.origin,
        entry.kind,
        entry.choices,
        entry.problem,
    )
