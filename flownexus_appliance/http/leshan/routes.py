"""All routes of Leshan's API below a base of one's choosing: of its server, bootstrap server, or both."""

from typing import Final

from aiohttp import web

from .. import guard
from ..ports import Parts
from ..routes import Place
from . import bootstrap, clients, events, objectspecs, security, server_info
from .events import EVENTS, Events
from .sides import Side

BASE: Final = "/leshan/api"
OWN_BASE: Final = "/api"  # on ports of its own


def routes(base: str, side: Side = Side.BOTH) -> list[Place]:
    """The routes below `base`, such as /leshan/api, or /api on ports of its own."""
    found = [*security.routes(base, side), *server_info.routes(base), *events.routes(base, side)]
    if side is not Side.BOOTSTRAP:
        found += [*clients.routes(base), *objectspecs.routes(base)]
    if side is not Side.SERVER:
        found += bootstrap.routes(base)
    return found


def set_up(app: web.Application, parts: Parts) -> None:
    """Serve both sides beside the rest of the box."""
    app[EVENTS] = Events(parts)
    app.on_shutdown.append(_end_streams)
    app.on_cleanup.append(_stop_events)
    guard.serve(app, routes(BASE))


def set_up_alone(app: web.Application, events: Events, side: Side) -> None:
    """Serve one side, on a port of its own; `events` are those of the application it stands beside."""
    app[EVENTS] = events
    app.on_shutdown.append(_end_streams)
    guard.serve(app, routes(OWN_BASE, side))


async def _end_streams(app: web.Application) -> None:
    app[EVENTS].close_all()


async def _stop_events(app: web.Application) -> None:
    await app[EVENTS].stop()
