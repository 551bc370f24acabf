"""Leshan's bootstrap configurations over the box's: `/bootstrap`.

LwM2M Core 1.1.1 section 6.1. The shape is the long form of `lwm2m.bootstrap_config`. What is configured in
the box's own short form has no such shape and is left out here; it is at /api/v1/bootstrap.
"""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from ...access.roles import Role
from ...errors import UsageError, clean
from ...lwm2m.bootstrap_config import BootstrapConfig, parse_config, plain_config
from ..answers import json_answer
from ..ports import PARTS
from ..routes import Place, form, page
from .answers import plain_errors, text_answer
from .exchange import blamed, body, done

# Bytes that a device keeps to itself: taken and not shown again.
SECRETS: Final = ("secretKey", "smsBindingKeySecret")


def routes(base: str) -> list[Place]:
    """The routes below `base`, such as /leshan/api."""
    return [
        page(f"{base}/bootstrap", plain_errors(list_configs), Role.ADMIN),
        page(f"{base}/bootstrap/", plain_errors(list_configs), Role.ADMIN),
        form(f"{base}/bootstrap/{{endpoint}}", plain_errors(put_config), Role.ADMIN),
        Place("DELETE", f"{base}/bootstrap/{{endpoint}}", plain_errors(remove_config), Role.ADMIN),
    ]


async def list_configs(request: web.Request) -> web.Response:
    """GET bootstrap: configurations by endpoint, the keys in them left empty."""
    known = request.app[PARTS].bootstrap.configs()
    own = {endpoint: config for endpoint, config in known.items() if endpoint and _long(config)}
    return json_answer({endpoint: _shown(config) for endpoint, config in own.items()})


async def put_config(request: web.Request) -> web.Response:
    """POST bootstrap/{endpoint}: in the place of an earlier one."""
    text = await body(request)
    with blamed("Invalid request body: "):
        config = parse_config(text)
        if not _long(config):
            raise UsageError(
                "bootstrap_config_invalid",
                "there is no field `servers`",
                "give servers and security by their numbers; the short form goes to /api/v1/bootstrap",
            )
        await request.app[PARTS].bootstrap.put_config(request.match_info["endpoint"], config)
    return done()


async def remove_config(request: web.Request) -> web.Response:
    """DELETE bootstrap/{endpoint}: 204, or 404 where there was none."""
    bootstrap = request.app[PARTS].bootstrap
    endpoint = request.match_info["endpoint"]
    if endpoint not in bootstrap.configs():
        return text_answer(f"no config for {clean(endpoint)}", HTTPStatus.NOT_FOUND)
    await bootstrap.put_config(endpoint, None)
    return done(HTTPStatus.NO_CONTENT)


def _long(config: BootstrapConfig) -> bool:
    return config.instances is not None


def _shown(config: BootstrapConfig) -> dict[str, Any]:
    document = plain_config(config)
    for instance in document["security"].values():
        instance.update({name: [] for name in SECRETS if name in instance})
    return document
