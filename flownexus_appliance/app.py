"""The composition root: builds the parts, starts them in order, stops them in reverse."""

import fcntl
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from .coap.server import CoapServer
from .db.reads import Reader
from .db.store import Store
from .errors import UsageError
from .events import EventBus
from .fleet.fleet import Fleet, FleetOptions
from .fleet.telemetry import describe
from .http.ports import Sources
from .http.server import HttpOptions, HttpServer
from .lwm2m.registry import load_registry
from .system import clock
from .system.config import Config

DATABASE = "flownexus.db"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """Where a started appliance is reached; `coap_port` is 0 where plain CoAP is off."""

    coap_port: int
    url: str


@asynccontextmanager
async def appliance(config: Config, state: Path) -> AsyncIterator[Running]:
    """Run the appliance on a state folder for as long as the context is open.

    Raises ApplianceError with a hint where the folder, the database or a port cannot be had.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_take_folder(state))
        models = load_registry()
        # Numbers go on rising over a restart, so a browser that reconnects knows what it missed.
        bus = EventBus(first_number=clock.wall_ms())
        store = Store(state / DATABASE, partial(describe, models))
        kept = await store.start()
        stack.push_async_callback(store.stop)
        reader = Reader(state / DATABASE)
        await reader.start()
        stack.push_async_callback(reader.stop)
        options = FleetOptions(config.fleet.watch_list, config.fleet.awake_window_s)
        fleet = Fleet(store, bus, models, options, clock.now)
        coap = CoapServer(config.coap.port, config.coap.networks, fleet.uplinks)
        stack.push_async_callback(coap.stop)
        # What is known must be in memory before the first datagram is read; and what asks devices
        # things must have stopped before the wire does.
        fleet.start(kept, coap)
        stack.push_async_callback(fleet.stop)
        await coap.start()
        uris = (f"coap://127.0.0.1:{coap.port}",) if coap.port else ()
        web = HttpOptions(state, config.http.host, config.http.port, uris)
        nothing: Any = None
        sources = Sources(reader, fleet, nothing, nothing, nothing, bus, models)
        http = HttpServer(web, sources)
        await http.start()
        stack.push_async_callback(http.stop)
        yield Running(coap.port, http.url)
        log.info("stopping")


def _take_folder(state: Path) -> TextIO:
    """Make the state folder if need be, and keep it for this daemon alone while the file is open."""
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o750)
        lock = (state / "lock").open("w")
    except OSError as error:
        raise UsageError(
            "state_unusable",
            f"cannot use {state}: {error.strerror}",
            "name a folder this user may write, with --state",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UsageError(
            "state_in_use",
            f"another daemon runs on {state}",
            "stop it first, or name another folder with --state",
        ) from error
    return lock
