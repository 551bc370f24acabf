"""What bootstrap gives devices, over REST, and asking a device to bootstrap now.

The name "" stands for the default. LwM2M Core 1.1.1 section 6.1; the configuration is that of
`lwm2m.bootstrap_config`, in its short or its long form.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from ..errors import UsageError, clean
from ..lwm2m.bootstrap_config import BootstrapConfig, parse_config, plain_config
from . import devices, requests
from .answers import json_answer
from .api_operations import answer_of
from .ports import PARTS, Parts

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
# Of the long form's Security instances: what a device keeps to itself is not shown again.
SECRETS: Final = ("secretKey", "smsBindingKeySecret")


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A configuration; `own` is False where it is only what the endpoint gets by the default.

    Keys in it are null: they are taken and never told.
    """

    endpoint: str
    own: bool
    config: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConfigList:
    """The default, and a page of the endpoints with their own; `next` goes into `?after=`."""

    default: ConfigEntry
    items: list[ConfigEntry]
    next: str | None


def routes() -> list[web.RouteDef]:
    return [
        web.get("/api/v1/bootstrap", list_configs),
        web.put("/api/v1/bootstrap", put_default),
        web.delete("/api/v1/bootstrap", remove_default),
        web.get("/api/v1/bootstrap/{endpoint}", show_config),
        web.put("/api/v1/bootstrap/{endpoint}", put_config),
        web.delete("/api/v1/bootstrap/{endpoint}", remove_config),
        web.post("/api/v1/endpoints/{endpoint}/bootstrap", trigger),
    ]


async def list_configs(request: web.Request) -> web.Response:
    """GET bootstrap?q=&after=&limit="""
    parts = request.app[PARTS]
    search = requests.search(request).lower()
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    names = sorted(name for name in parts.bootstrap.configs() if name and search in name.lower())
    first = bisect_right(names, request.query.get("after", ""))
    wanted = names[first : first + limit]
    following = wanted[-1] if first + limit < len(names) else None
    return json_answer(ConfigList(entry(parts, ""), [entry(parts, name) for name in wanted], following))


async def put_default(request: web.Request) -> web.Response:
    """PUT bootstrap: what devices get that have nothing of their own."""
    return await _put(request, "")


async def remove_default(request: web.Request) -> web.Response:
    """DELETE bootstrap: back to the built-in default."""
    return await _remove(request, "")


async def show_config(request: web.Request) -> web.Response:
    """GET bootstrap/{endpoint}: its own, or the default that it gets."""
    return json_answer(entry(request.app[PARTS], requests.endpoint(request)))


async def put_config(request: web.Request) -> web.Response:
    """PUT bootstrap/{endpoint}: for a device that may never have been seen."""
    return await _put(request, requests.endpoint(request))


async def remove_config(request: web.Request) -> web.Response:
    """DELETE bootstrap/{endpoint}: it gets the default from now on."""
    return await _remove(request, requests.endpoint(request))


async def trigger(request: web.Request) -> web.Response:
    """POST endpoints/{endpoint}/bootstrap: ask the device to come now; the answer is that of an operation."""
    parts = request.app[PARTS]
    device = await devices.device(parts, requests.endpoint(request))
    return json_answer(answer_of(await parts.bootstrap.trigger(device.endpoint)))


def entry(parts: Parts, endpoint: str) -> ConfigEntry:
    """What an endpoint gets, "" for the default, without the keys in it."""
    default = parts.bootstrap.config("") or BootstrapConfig()
    own = parts.bootstrap.configs().get(endpoint)
    return ConfigEntry(endpoint, own is not None, _shown(default if own is None else own))


def _shown(config: BootstrapConfig) -> dict[str, Any]:
    document = plain_config(config)
    if config.instances is not None:
        for instance in document["security"].values():
            instance.update({name: None for name in SECRETS if instance.get(name)})
    return document


async def _put(request: web.Request, endpoint: str) -> web.Response:
    parts = request.app[PARTS]
    config = parse_config(await requests.json_text(request))
    await parts.bootstrap.put_config(endpoint, config)
    return json_answer(entry(parts, endpoint))


async def _remove(request: web.Request, endpoint: str) -> web.Response:
    parts = request.app[PARTS]
    if endpoint not in parts.bootstrap.configs():
        whose = clean(endpoint) if endpoint else "the default"
        raise UsageError(
            "bootstrap_config_unknown",
            f"{whose} has no bootstrap configuration of its own",
            "GET bootstrap lists those that have one",
        )
    await parts.bootstrap.put_config(endpoint, None)
    return json_answer(entry(parts, endpoint))
