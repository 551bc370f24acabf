"""What bootstrap gives devices, over REST, and asking a device to bootstrap now.

The name "" stands for the default. LwM2M Core 1.1.1 section 6.1; the configuration is that of
`lwm2m.bootstrap_config`, in its short or its long form.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypedDict, cast

import msgspec
from aiohttp import web

from ..access.roles import Role
from ..errors import UsageError, clean
from ..lwm2m.bootstrap_config import (
    MAX_PATHS,
    MAX_PERIOD_S,
    MAX_WRITES,
    BootstrapConfig,
    Security,
    parse_config,
    plain_config,
)
from ..lwm2m.paths import MAX_ID
from ..lwm2m.plain import PlainValue
from . import devices, requests
from .answers import json_answer
from .operations import OperationState, state_of
from .ports import PARTS, Parts
from .routes import DEFAULT_LIMIT, MAX_LIMIT, Answer, Route, get, paging, search

TAG: Final = "bootstrap"
# Of the long form's Security instances: what a device keeps to itself is not shown again.
SECRETS: Final = ("secretKey", "smsBindingKeySecret")


PeriodS = Annotated[int, msgspec.Meta(ge=0, le=MAX_PERIOD_S)]
PathTexts = Annotated[list[str], msgspec.Meta(max_length=MAX_PATHS)]
# Instances by number, each with its resources by name: see the table of `lwm2m.bootstrap_instances`.
InstancesByNumber = dict[str, dict[str, Any]]


class ConfigFields(TypedDict, total=False):
    """What a device is given; every field may be left out.

    Short form: the fields up to `content_format`, and `security` a word. Long form, as Leshan's bootstrap API
    has it: `servers`, `security` and `acls` are instances by number, beside `toDelete`,
    `autoIdForSecurityObject` and `contentFormat`. The two do not mix.
    """

    security: Security | InstancesByNumber
    uri: str | None
    lifetime_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_PERIOD_S)]
    binding: Annotated[str, msgspec.Meta(pattern="^[UTSNMHQ]{1,8}$")]
    short_server_id: Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]
    default_pmin_s: PeriodS | None
    default_pmax_s: PeriodS | None
    mute_send: bool | None
    delete: PathTexts
    read: PathTexts
    writes: Annotated[dict[str, PlainValue], msgspec.Meta(max_length=MAX_WRITES)]
    renew_before_s: PeriodS
    content_format: int | str | None
    servers: InstancesByNumber
    acls: InstancesByNumber
    oscore: Annotated[InstancesByNumber, msgspec.Meta(max_length=0)]
    toDelete: PathTexts
    autoIdForSecurityObject: bool
    contentFormat: int | str | None


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A configuration; `own` is False where it is only what the endpoint gets by the default.

    Keys in it are null: they are taken and never told.
    """

    endpoint: str
    own: bool
    config: ConfigFields


@dataclass(frozen=True, slots=True)
class ConfigList:
    """The default, and a page of the endpoints with their own; `next` goes into `?after=`."""

    default: ConfigEntry
    items: list[ConfigEntry]
    next: str | None


def routes() -> list[Route]:
    default, own = "/api/v1/bootstrap", "/api/v1/bootstrap/{endpoint}"
    entry_answer = (Answer(ConfigEntry),)
    return [
        get(
            default,
            list_configs,
            "The default configuration, and those of devices with their own",
            TAG,
            ConfigList,
            search("names"),
            *paging(),
            needs=Role.ADMIN,
        ),
        Route("PUT", default, put_default, "Set the default", TAG, entry_answer, body=ConfigFields),
        Route("DELETE", default, remove_default, "Back to the built-in default", TAG, entry_answer),
        get(
            own,
            show_config,
            "What a device is given: its own configuration, or the default",
            TAG,
            ConfigEntry,
            needs=Role.ADMIN,
        ),
        Route(
            "PUT",
            own,
            put_config,
            "Give a device, which may never have been seen, a configuration of its own",
            TAG,
            entry_answer,
            body=ConfigFields,
        ),
        Route("DELETE", own, remove_config, "Let a device have the default", TAG, entry_answer),
        Route(
            "POST",
            "/api/v1/endpoints/{endpoint}/bootstrap",
            trigger,
            "Ask a device to bootstrap now",
            TAG,
            (Answer(OperationState, help="How the Execute of /1/x/9 ended"),),
            needs=Role.OPERATOR,
        ),
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
    return json_answer(state_of(await parts.bootstrap.trigger(device.endpoint)))


def entry(parts: Parts, endpoint: str) -> ConfigEntry:
    """What an endpoint gets, "" for the default, without the keys in it."""
    default = parts.bootstrap.config("") or BootstrapConfig()
    own = parts.bootstrap.configs().get(endpoint)
    return ConfigEntry(endpoint, own is not None, _shown(default if own is None else own))


def _shown(config: BootstrapConfig) -> ConfigFields:
    document = plain_config(config)
    if config.instances is not None:
        for instance in document["security"].values():
            instance.update({name: None for name in SECRETS if instance.get(name)})
    return cast("ConfigFields", document)


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
