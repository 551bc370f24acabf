"""The REST interface under /api/v1: devices, their resources, and the stream. Times are ms since 1970.

The other `api_*.py` have series, history, operations, observations, firmware, models, credentials,
certificates and bootstrap; `openapi.py` describes all of it. Errors have the shape of `errors.py`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from .. import __version__
from ..access.roles import Caller, Role
from ..db.noted import TagCount
from ..errors import UsageError
from ..fleet.noted import MAX_LABEL, MAX_NOTES, MAX_TAG, MAX_TAGS
from . import (
    api_audit,
    api_bootstrap,
    api_campaigns,
    api_certificates,
    api_credentials,
    api_firmware,
    api_history,
    api_models,
    api_observations,
    api_operations,
    api_people,
    api_series,
    api_system,
    api_tokens,
    api_updates,
    devices,
    openapi,
    provisioning,
    requests,
)
from .answers import json_answer
from .devices import Device
from .guard import CALLER, still_holds
from .ports import PARTS
from .provisioning import EnrolmentState
from .resources import ResourceState, describe
from .routes import DEFAULT_LIMIT, MAX_LIMIT, Answer, Query, Route, get, paging, search
from .stream import DETAIL_ENDPOINTS, MESSAGES, HelloMessage, serve_stream
from .wording import STATES

# Beyond what a page shows at once, a listener is better off with the whole fleet.
MAX_STREAM_ENDPOINTS: Final = 200
MAX_EVENT_NUMBER: Final = 2**53


@dataclass(frozen=True, slots=True)
class DeviceList:
    """A page of devices; `next` goes into `?after=` for the following one."""

    items: list[Device]
    next: str | None


@dataclass(frozen=True, slots=True)
class ResourceList:
    """Resources with their newest values, by path."""

    items: list[ResourceState]


@dataclass(frozen=True, slots=True)
class BoxStatus:
    """`devices` by presence; `uris` where devices reach the box; `certificates_doubt` why nothing is
    signed now, or ""; `certificates_next_step_ms` when the next certificate is replaced or dropped."""

    version: str
    now_ms: int
    devices: dict[str, int]
    uris: tuple[str, ...]
    credentials: int
    enrolment: EnrolmentState
    certificates_doubt: str
    certificates_next_step_ms: int | None


@dataclass(frozen=True, slots=True)
class Health:
    """`status` is ok while the database can be read; `devices` by presence."""

    status: str
    devices: dict[str, int]


@dataclass(frozen=True, slots=True)
class TagList:
    """All tags in the order of the alphabet, each with the number of its devices."""

    items: list[TagCount]


class DeviceChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays. `notes` are plain text with its line breaks; `tags` are in place of all that
    the device had. `awake_window_s` is for how long a device in Queue Mode listens after it was heard; 0 or
    null: as configured."""

    # The bounds are checked by the fleet, with errors of their own.
    label: Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": MAX_LABEL})] | UnsetType = UNSET
    notes: Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": MAX_NOTES})] | UnsetType = UNSET
    tags: (
        Annotated[
            list[Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": MAX_TAG})]],
            msgspec.Meta(extra_json_schema={"maxItems": MAX_TAGS}),
        ]
        | UnsetType
    ) = UNSET
    awake_window_s: Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 0})] | UnsetType | None = (
        UNSET
    )


def routes() -> list[Route]:
    """All of the API, each address once."""
    return [
        *_device_routes(),
        *api_series.routes(),
        *api_history.routes(),
        *api_operations.routes(),
        *api_observations.routes(),
        *api_firmware.routes(),
        *api_updates.routes(),
        *api_campaigns.routes(),
        *api_models.routes(),
        *api_credentials.routes(),
        *api_certificates.routes(),
        *api_bootstrap.routes(),
        *api_people.routes(),
        *api_tokens.routes(),
        *api_audit.routes(),
        *api_system.routes(),
        *_box_routes(),
    ]


def _device_routes() -> list[Route]:
    one = "/api/v1/endpoints/{endpoint}"
    return [
        get(
            "/api/v1/endpoints",
            list_devices,
            "Devices, by name if nothing else is asked for",
            "devices",
            DeviceList,
            search("names and labels"),
            Query("state", "Those in this state", values=tuple(STATES)),
            Query("tag", "Those with this tag; upper and lower case are one"),
            Query(
                "sort",
                "label: by label, or name where there is none; heard: the last heard first",
                values=devices.SORTS,
                default=devices.SORTS[0],
            ),
            *paging(),
        ),
        get(one, show_device, "A device with its registration", "devices", Device),
        Route(
            "PATCH",
            one,
            change_device,
            "Set a device's label, notes, tags and awake window",
            "devices",
            (Answer(Device),),
            body=DeviceChange,
            needs=Role.OPERATOR,
        ),
        get("/api/v1/tags", list_tags, "What devices are tagged with", "devices", TagList),
        get(
            f"{one}/resources",
            list_resources,
            "The newest value of every resource that a device has told",
            "resources",
            ResourceList,
        ),
        get(
            f"{one}/resources/{{path:.+}}",
            list_resources,
            "The newest values at or below a path",
            "resources",
            ResourceList,
        ),
    ]


def _box_routes() -> list[Route]:
    events = Answer(
        media=("text/event-stream",),
        help="Server-sent events; x-events has what their data is",
        events={
            **MESSAGES,
            "hello": HelloMessage,
            "counts": dict[str, int],
            "reset": dict[str, Any],
        },
    )
    return [
        Route(
            "GET",
            "/api/v1/stream",
            stream,
            "What happens in the box, as it happens",
            "box",
            (events,),
            (
                Query("endpoint", "Only of these devices", repeated=True),
                Query("after", "The id of the last event that was read", int, low=0, high=MAX_EVENT_NUMBER),
            ),
            headers=(Query("Last-Event-ID", "As after, and goes before it: browsers send it by themselves"),),
            endless=True,
            help=f"A listener to up to {DETAIL_ENDPOINTS} devices gets every event; to more, of each "
            "resource, operation, observation, firmware update and campaign only the newest. Events that are "
            "of no device come to every listener. counts has the devices by presence. reset "
            "means that something was missed: read anew what you show.",
        ),
        get("/api/v1/status", status, "The box at a glance", "box", BoxStatus),
        get("/api/v1/openapi.json", show_description, "This description", "box", dict[str, Any]),
        Route(
            "GET",
            "/healthz",
            health,
            "Whether the box works: 200 while the database can be read",
            "box",
            (Answer(Health),),
            public=True,
        ),
    ]


async def list_devices(request: web.Request) -> web.Response:
    """GET endpoints?q=&state=&tag=&sort=&after=&limit="""
    parts = request.app[PARTS]
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    after = request.query.get("after", "")
    return json_answer(DeviceList(*await devices.page_after(parts, requests.question(request), after, limit)))


async def show_device(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}"""
    return json_answer(await devices.device(request.app[PARTS], requests.endpoint(request)))


async def change_device(request: web.Request) -> web.Response:
    """PATCH endpoints/{endpoint} {"label", "notes", "tags", "awake_window_s"}"""
    parts, endpoint = request.app[PARTS], requests.endpoint(request)
    wanted = await requests.body(request, DeviceChange)
    await parts.fleet.configure(
        endpoint,
        label=None if wanted.label is UNSET else wanted.label,
        notes=None if wanted.notes is UNSET else wanted.notes,
        tags=None if wanted.tags is UNSET else wanted.tags,
        awake_window_s=None if wanted.awake_window_s is UNSET else wanted.awake_window_s or 0.0,
    )
    return json_answer(await devices.device(parts, endpoint))


async def list_tags(request: web.Request) -> web.Response:
    """GET tags"""
    return json_answer(TagList(await request.app[PARTS].reader.tags()))


async def list_resources(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}/resources and .../resources/{path}: all at or below the path."""
    parts = request.app[PARTS]
    device = await devices.device(parts, requests.endpoint(request))
    latest = await parts.reader.latest(device.endpoint)
    items = list(describe(latest, parts.models, device.registration, parts.fleet.observed(device.endpoint)))
    if "path" in request.match_info:
        path = requests.path(request, 1, 2, 3, 4)
        items = [item for item in items if path.covers(path.parse(item.path))]
        if not items:
            raise UsageError(
                "resource_unknown",
                f"the device has told no value of {path}",
                "GET resources of the device lists what there is; a read operation asks the device",
            )
    return json_answer(ResourceList(items))


async def stream(request: web.Request) -> web.StreamResponse:
    """GET stream?endpoint=&endpoint=&after=, the live stream; Last-Event-ID goes before `after`."""
    names = frozenset(request.query.getall("endpoint", ()))
    if len(names) > MAX_STREAM_ENDPOINTS:
        raise UsageError(
            "query_invalid",
            f"{len(names)} endpoints asked for",
            f"ask for at most {MAX_STREAM_ENDPOINTS}, or for none to get all",
        )
    after = requests.whole(request, "after", -1, 0, MAX_EVENT_NUMBER)
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) <= 16:
        after = int(last)
    position = after if after >= 0 else None
    parts = request.app[PARTS]
    caller: Caller = request[CALLER]
    listener = parts.hub.join(names or None, position, caller.user or caller.name)
    return await serve_stream(
        request, parts.hub, listener, lambda: still_holds(request), parts.assets.version
    )


async def status(request: web.Request) -> web.Response:
    """GET status: the box at a glance, as `flownexus status` shows it."""
    parts = request.app[PARTS]
    certificates = api_certificates.entries(parts)
    steps = [entry.next_step_ms for entry in certificates if entry.next_step_ms is not None]
    return json_answer(
        BoxStatus(
            version=__version__,
            now_ms=parts.now_ms(),
            devices=dict(parts.fleet.counts()),
            uris=parts.coap_uris,
            credentials=len(parts.credentials.all()),
            enrolment=provisioning.enrolment_state(parts.credentials.enrolment()),
            certificates_doubt=parts.certificates.doubt(),
            certificates_next_step_ms=min(steps, default=None),
        )
    )


async def show_description(request: web.Request) -> web.Response:
    """GET openapi.json"""
    return json_answer(_description())


@cache
def _description() -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(openapi.document(routes())))


async def health(request: web.Request) -> web.Response:
    """GET /healthz: 200 while the database can be read."""
    parts = request.app[PARTS]
    await parts.reader.endpoint("")
    return json_answer(Health("ok", dict(parts.fleet.counts())))
