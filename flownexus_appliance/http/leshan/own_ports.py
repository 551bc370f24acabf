"""Leshan's API on ports of its own, at /api, where its users look for it; in plain HTTP, as there.

Off unless the operator says so, and nothing else of the box is served there. Who brings no API token may do
what the setting `anonymous` says: by default nothing.
"""

import ipaddress
import logging
import socket
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from ...access.roles import Caller, Role, Way
from ...errors import ApplianceError, clean
from ...system.config import LeshanConfig
from ..errors import Handler
from ..guard import GATE
from .answers import text_answer
from .events import Events
from .routes import set_up_alone
from .sides import Side

STOP_TIMEOUT_S: Final = 2.0
log = logging.getLogger(__name__)


class OwnPorts:
    """The sites of both sides, as far as they are wanted."""

    def __init__(self, config: LeshanConfig, names: Iterable[str] = ()) -> None:
        """`names` are those that the operator gave the box besides its own."""
        self._config = config
        self._names = own_names(names)
        self._runners: list[web.AppRunner] = []

    async def start(self, make_app: Callable[[], web.Application], events: Events) -> None:
        """Listen; `make_app` gives applications without routes. Raises ApplianceError("address_unusable")."""
        wanted = {Side.SERVER: self._config.server_port, Side.BOOTSTRAP: self._config.bootstrap_port}
        for side, port in wanted.items():
            if port:
                app = make_app()
                if self._config.anonymous:
                    app[GATE].anonymous = Caller("leshan", Role(self._config.anonymous), Way.LESHAN)
                set_up_alone(app, events, side)
                await self._serve(app, port)

    async def stop(self) -> None:
        """End streams, close; no socket is left afterwards."""
        while self._runners:
            await self._runners.pop().cleanup()

    async def _serve(self, app: web.Application, port: int) -> None:
        host = self._config.host
        app.middlewares.append(refuse_foreign_names(self._names))
        if not ipaddress.ip_address(host).is_loopback:
            log.warning(
                "Leshan's API is open to other machines, unencrypted",
                extra={"HOST": host, "PORT": port, "ANONYMOUS": self._config.anonymous or "nobody"},
            )
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=STOP_TIMEOUT_S,
            auto_decompress=False,  # as in `server.py`
        )
        await runner.setup()
        self._runners.append(runner)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ApplianceError(
                "address_unusable",
                f"cannot listen on {host}, port {port}: {error.strerror}",
                "another program may use the port: choose another one in [leshan], or end that program",
            ) from error


def own_names(further: Iterable[str]) -> frozenset[str]:
    """What this machine is called, in its network too, and what the operator calls it besides."""
    name = socket.gethostname().lower()
    return frozenset({"localhost", name, f"{name}.local", *(one.lower() for one in further)})


def refuse_foreign_names(names: Collection[str]) -> Middleware:
    """Who means this machine calls it by one of its names or by an address. Others lead a browser astray.

    A page elsewhere may have its own name resolved to this machine, and would be taken for one of ours.
    """

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = (request.url.host or "").lower()
        if host not in names and not _is_address(host):
            text = f"{clean(host, 60)} is not a name of this machine: use its address"
            return text_answer(text, HTTPStatus.MISDIRECTED_REQUEST)
        return await handler(request)

    return refuse


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
