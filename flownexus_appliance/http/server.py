"""The web server as a part of the house: TLS, limits, the order of middlewares, start and stop."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path as FilePath
from typing import Final

from aiohttp import web

from ..errors import ApplianceError
from ..pki.selfsigned import ensure_certificate
from ..system.clock import wall_ms
from ..system.config import LeshanConfig
from . import (
    api,
    control,
    errors,
    front_door,
    guard,
    language,
    package_download,
    pages,
    seed_ingest,
    uploads,
)
from .answers import MAX_BODY_BYTES, add_security_headers
from .front_door import FrontDoor
from .guard import GATE, Gate
from .leshan import routes as leshan
from .leshan.events import EVENTS
from .leshan.own_ports import OwnPorts
from .ports import PARTS, Parts, PlainCoap, Sources
from .static import Assets
from .stream import Hub

STOP_TIMEOUT_S: Final = 2.0
KEEPALIVE_S: Final = 75.0
# The overview's stream names every device it shows, percent-encoded.
MAX_REQUEST_LINE_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """Where pages and API are served. The certificate lives in `state`, made there if need be.

    `coap_uris` are the addresses a device can be pointed at, as the overview tells them; `plain` where
    unencrypted CoAP is open beyond this machine, `leshan` where Leshan's API is served by itself,
    `names` what the box is called besides.
    """

    state: FilePath
    host: str = "127.0.0.1"
    port: int = 8443
    coap_uris: tuple[str, ...] = ("coap://127.0.0.1:5683",)
    plain: PlainCoap | None = None
    leshan: LeshanConfig = field(default_factory=LeshanConfig)
    names: tuple[str, ...] = ()

    @property
    def certificate(self) -> FilePath:
        return self.state / "https.crt"

    @property
    def key(self) -> FilePath:
        return self.state / "https.key"

    @property
    def control(self) -> FilePath:
        return self.state / control.NAME


class HttpServer:
    """Serves pages, REST and the live stream by HTTPS, and the same on the control socket."""

    def __init__(
        self,
        options: HttpOptions,
        sources: Sources,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._options = options
        self._parts = join(sources, options.coap_uris, now_ms, options.plain)
        self._runner: web.AppRunner | None = None
        self._door: FrontDoor | None = None
        self._own_ports = OwnPorts(options.leshan, options.names)
        self._control: os.stat_result | None = None
        self._port = options.port
        self._context: ssl.SSLContext | None = None
        self._files: tuple[FilePath, FilePath] | None = None

    @property
    def port(self) -> int:
        """The port it listens on: the one chosen by the system where the options say 0."""
        return self._port

    @property
    def url(self) -> str:
        """The address to open in a browser on this machine."""
        host = self._options.host
        if host in ("0.0.0.0", "::"):
            host = "localhost"
        return f"https://{f'[{host}]' if ':' in host else host}:{self._port}/"

    async def start(self) -> None:
        """Listen. Raises ApplianceError: `static_missing`, `certificate_unusable`, `address_unusable`,
        `control_in_use`, `control_unusable`."""
        options = self._options
        context = self._context = await asyncio.to_thread(
            tls_context, options, self._parts.now_ms(), self._files
        )
        app = build_app(self._parts)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=STOP_TIMEOUT_S,
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=MAX_REQUEST_LINE_BYTES,
            logger=front_door.parser_log,
            # Nobody sends packed requests, and 60 kB unpack to 60 MB before anything could look at them.
            auto_decompress=False,
        )
        await self._runner.setup()
        try:
            self._listen(self._runner, context)
            await self._open_control(self._runner)
            await self._own_ports.start(partial(bare_app, self._parts), app[EVENTS])
        except BaseException:
            await self.stop()
            raise

    def _listen(self, runner: web.AppRunner, context: ssl.SSLContext) -> None:
        options = self._options
        try:
            sockets = front_door.listen(options.host, options.port)
        except OSError as error:
            raise ApplianceError(
                "address_unusable",
                f"cannot listen on {options.host}, port {options.port}: {error.strerror}",
                "another program may use the port: choose another one, or end that program",
            ) from error
        assert runner.server is not None
        self._door = FrontDoor(sockets, context, runner.server)
        self._port = self._door.port
        self._door.start()

    async def _open_control(self, runner: web.AppRunner) -> None:
        bound = control.open_control(self._options.control)
        self._control = self._options.control.lstat()
        await web.SockSite(runner, bound).start()

    def use_certificate(self, chain: FilePath, key: FilePath) -> None:
        """Show this certificate (PEM files) to who connects from now on; raises ssl.SSLError, OSError."""
        self._files = chain, key
        if self._context is not None:
            self._context.load_cert_chain(chain, key)

    async def stop(self) -> None:
        """End streams, let requests finish for a moment, close; no socket is left afterwards."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        door, self._door = self._door, None
        if door is not None:
            await door.stop()
        await self._own_ports.stop()
        made, self._control = self._control, None
        if made is not None:
            control.remove_control(self._options.control, made)
        handlers = runner.server.connections if runner.server is not None else []
        transports = [handler.transport for handler in handlers if handler.transport is not None]
        await runner.cleanup()
        # A TLS transport that was closed waits for the browser's goodbye, up to half a minute.
        for transport in transports:
            # Debian 12's Python: such a transport has no protocol left once its connection is lost.
            with contextlib.suppress(AttributeError):
                transport.abort()
        await asyncio.sleep(0)


def join(
    sources: Sources,
    coap_uris: tuple[str, ...],
    now_ms: Callable[[], int] = wall_ms,
    plain: PlainCoap | None = None,
) -> Parts:
    """What handlers may use, made of what the house has."""
    return Parts(
        reader=sources.reader,
        access=sources.access,
        fleet=sources.fleet,
        operations=sources.operations,
        credentials=sources.credentials,
        certificates=sources.certificates,
        bootstrap=sources.bootstrap,
        firmware=sources.firmware,
        bus=sources.bus,
        models=sources.models.set,
        uploads=sources.models,
        settings=sources.settings,
        hub=Hub(sources.bus, sources.fleet.counts),
        assets=Assets(),
        coap_uris=coap_uris,
        now_ms=now_ms,
        plain=plain,
        tracer=sources.tracer,
        health=sources.health,
    )


def build_app(parts: Parts) -> web.Application:
    """The application without its sockets; loads the static files."""
    parts.assets.load()
    app = bare_app(parts)
    app.on_startup.append(_start_hub)
    app.on_shutdown.append(_end_streams)
    app.on_cleanup.append(_stop_hub)
    pages.set_up(app, parts)
    leshan.set_up(app, parts)
    served = (pages, api, parts.assets, seed_ingest, package_download)
    guard.serve(app, [place for one in served for place in one.routes()])
    return app


def bare_app(parts: Parts) -> web.Application:
    """An application with what every request goes through, and no routes yet."""
    app = web.Application(
        middlewares=[front_door.attend, language.choose, guard.identify, errors.answer_errors, guard.admit],
        client_max_size=MAX_BODY_BYTES,
    )
    app[PARTS] = parts
    app[GATE] = Gate()
    app[uploads.SLOTS] = uploads.Slots()
    package_download.set_up(app)
    app.on_response_prepare.append(add_security_headers)
    return app


def tls_context(
    options: HttpOptions, now_ms: int, files: tuple[FilePath, FilePath] | None = None
) -> ssl.SSLContext:
    """TLS 1.2 and later with the certificate in `files` (chain, key), else the one that signs itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        if files is None:
            # The clock is not right yet: what the box's own CA will sign cannot be dated.
            files = options.certificate, options.key
            ensure_certificate(*files, socket.gethostname(), now_ms / 1000)
        context.load_cert_chain(*files)
    except OSError as error:  # ssl.SSLError is one
        raise ApplianceError(
            "certificate_unusable",
            f"cannot make or use the certificate {options.certificate.name}: {error}",
            "check the folder's owner and space, or remove it and its key: the next start makes new ones",
        ) from error
    return context


async def _start_hub(app: web.Application) -> None:
    await app[PARTS].hub.start()


async def _end_streams(app: web.Application) -> None:
    app[PARTS].hub.close_all()


async def _stop_hub(app: web.Application) -> None:
    await app[PARTS].hub.stop()
