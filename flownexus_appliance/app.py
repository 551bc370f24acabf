"""The composition root: builds the parts, starts them in order, stops them in reverse."""

import fcntl
import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TextIO

from . import __version__
from .access.access import Access
from .coap.dtls.engine import Chain, library_version
from .coap.dtls.transport import Identity
from .coap.server import CoapServer, Secure
from .db.library import SQLITE_VERSION
from .db.reads import Reader
from .db.store import Store
from .db.upkeep import Upkeep
from .errors import UsageError
from .events import EventBus
from .fleet.certificates import Certificates, Shown
from .fleet.firmware.offers import Offers
from .fleet.fleet import Fleet, FleetOptions
from .fleet.models import Models
from .fleet.telemetry import describe
from .fleet.upkeep import UpkeepTask
from .http.ports import PlainCoap, Sources
from .http.server import HttpOptions, HttpServer
from .lwm2m.registry import load_registry
from .pki.authority import Authority
from .pki.names import ServerNames
from .system import clock, network
from .system.config import CertificatesConfig, Config
from .system.health import Health
from .system.settings import Settings

DATABASE = "flownexus.db"
MODELS = "models"
PKI = "pki"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """Where a started appliance is reached; a port is 0 where it is off. `url` is for a browser on this
    machine, `lan_url` for others, "" where they may not. `setup_code` is None once somebody can sign in."""

    coap_port: int
    coaps_port: int
    url: str
    lan_url: str = ""
    setup_code: str | None = field(default=None, repr=False)


@asynccontextmanager
async def appliance(settings: Settings, state: Path) -> AsyncIterator[Running]:
    """Run the appliance on a state folder for as long as the context is open.

    Raises ApplianceError with a hint where the folder, the database or a port cannot be had.
    """
    config = settings.config
    async with AsyncExitStack() as stack:
        stack.enter_context(_take_folder(state))
        models = Models(state / MODELS, load_registry())
        await models.start()
        # Numbers go on rising over a restart, so a browser that reconnects knows what it missed.
        bus = EventBus(first_number=clock.wall_ms())
        store = Store(state / DATABASE, partial(describe, models.set))
        kept = await store.start()
        stack.push_async_callback(store.stop)
        models.tell(store.describe_again)
        reader = Reader(state / DATABASE)
        await reader.start()
        stack.push_async_callback(reader.stop)
        fleet = Fleet(
            store, bus, models.set, _fleet_options(config), reader.operation, clock.now, reader.running
        )
        web = HttpOptions(
            state,
            config.http.host,
            config.http.port,
            leshan=config.leshan,
            names=config.certificates.names,
        )
        certificates = Certificates(
            Authority(state / PKI),
            bus,
            partial(_names, config.certificates),
            web.certificate,
            timedelta(days=config.certificates.server_days),
        )
        shown = await certificates.load(max(kept.heard_ms.values(), default=0))
        secure = Secure(
            config.dtls.port, config.dtls.networks, fleet.credentials, store, kept.sessions, _identity(shown)
        )
        coap = CoapServer(
            config.coap.port, config.coap.networks, fleet.uplinks, secure, fleet.firmware.packages
        )
        stack.push_async_callback(coap.stop)
        # What is known must be in memory before the first datagram is read; and what asks devices
        # things must have stopped before the wire does.
        await fleet.firmware.prepare(kept.firmware)
        fleet.start(kept, coap)
        fleet.bootstrap.attach(certificates)
        stack.push_async_callback(fleet.stop)
        await coap.start()
        fleet.operations.open()
        fleet.bootstrap.listen_on(coap.port, coap.secure_port)
        access = Access(store, clock.now)
        await access.start(kept.people)
        stack.push_async_callback(access.stop)
        health = Health(state, {"SQLite": SQLITE_VERSION, "mbedTLS": library_version()})
        await health.start()
        stack.push_async_callback(health.stop)
        http = HttpServer(
            replace(web, coap_uris=_uris(config, coap), plain=_plain(config, coap)),
            Sources(
                reader,
                access,
                fleet,
                fleet.operations,
                fleet.credentials,
                certificates,
                fleet.bootstrap,
                fleet.firmware,
                bus,
                models,
                settings,
                tracer=coap,
                health=health,
            ),
        )
        if shown.https is not None:
            http.use_certificate(shown.https.chain, shown.https.key)
        await http.start()
        stack.push_async_callback(http.stop)
        fleet.firmware.open(http.port)
        certificates.start(partial(_show, coap, http))
        stack.push_async_callback(certificates.stop)
        upkeep = UpkeepTask(
            Upkeep(store, config.storage.keep_samples_days), clock.wall_ms, certificates.doubt
        )
        upkeep.start()
        stack.push_async_callback(upkeep.stop)
        log.info("started", extra={"VERSION": __version__, "URL": http.url})
        yield Running(coap.port, coap.secure_port, http.url, _lan_url(config, http), access.setup_code())
        log.info("stopping")


def _fleet_options(config: Config) -> FleetOptions:
    firmware = config.firmware
    return FleetOptions(
        config.fleet.watch_list,
        config.fleet.awake_window_s,
        config.fleet.max_plain_endpoints,
        Offers(firmware.host, firmware.coap, config.coap.networks, network.host_addresses),
        firmware.patience_minutes * 60.0,
        firmware.comeback_minutes * 60.0,
    )


def _identity(shown: Shown) -> Identity:
    own = shown.chain
    return Identity(None if own is None else Chain(own.certificates, own.key), shown.roots, shown.check_dates)


def _show(coap: CoapServer, http: HttpServer, shown: Shown) -> None:
    """Have both servers show other certificates from now on."""
    coap.present(_identity(shown))
    if shown.https is not None:
        http.use_certificate(shown.https.chain, shown.https.key)


def _names(config: CertificatesConfig) -> ServerNames:
    return ServerNames.of(network.host_name(), network.host_addresses(), config.names)


def _lan_url(config: Config, http: HttpServer) -> str:
    """Where a browser elsewhere finds the pages."""
    host = ipaddress.ip_address(config.http.host)
    if host.is_loopback:
        return ""
    hosts = network.host_addresses() if host.is_unspecified else (host,)
    if not hosts:
        return ""
    return f"https://{f'[{hosts[0]}]' if hosts[0].version == 6 else hosts[0]}:{http.port}/"


def _uris(config: Config, coap: CoapServer) -> tuple[str, ...]:
    """The addresses that devices can be pointed at, from outside where that is open."""
    uris = []
    if coap.secure_port:
        local = all(wanted.is_loopback for wanted in config.dtls.networks)
        hosts = () if local else network.host_addresses()
        host = hosts[0] if hosts else ipaddress.ip_address("127.0.0.1")
        uris.append(f"coaps://{f'[{host}]' if host.version == 6 else host}:{coap.secure_port}")
    if coap.port:
        uris.append(f"coap://127.0.0.1:{coap.port}")
    return tuple(uris)


def _plain(config: Config, coap: CoapServer) -> PlainCoap | None:
    """What of unencrypted CoAP is open to other machines, which the pages warn of."""
    beyond = tuple(str(network) for network in config.coap.networks if not network.is_loopback)
    return PlainCoap(coap.port, beyond) if coap.port and beyond else None


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
