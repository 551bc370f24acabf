"""The REST interface under /api/v1: devices, their resources, and the stream. Times are ms since 1970.

The other `api_*.py` have series, operations, credentials, certificates and bootstrap. Everything is JSON;
errors have the shape of `errors.py`.
"""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from .. import __version__
from ..errors import UsageError
from . import (
    api_bootstrap,
    api_certificates,
    api_credentials,
    api_operations,
    api_series,
    devices,
    provisioning,
    requests,
)
from .answers import json_answer
from .devices import Device
from .ports import PARTS
from .provisioning import EnrolmentState
from .resources import ResourceState, describe
from .stream import serve_stream

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 500
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


def routes() -> list[web.RouteDef]:
    return [
        web.get("/api/v1/endpoints", list_devices),
        web.get("/api/v1/endpoints/{endpoint}", show_device),
        web.get("/api/v1/endpoints/{endpoint}/resources", list_resources),
        web.get("/api/v1/endpoints/{endpoint}/resources/{path:.+}", list_resources),
        *api_series.routes(),
        *api_operations.routes(),
        *api_credentials.routes(),
        *api_certificates.routes(),
        *api_bootstrap.routes(),
        web.get("/api/v1/stream", stream, allow_head=False),  # it would never end
        web.get("/api/v1/status", status),
        web.get("/healthz", health),
    ]


async def list_devices(request: web.Request) -> web.Response:
    """GET endpoints?q=&state=&after=&limit="""
    parts = request.app[PARTS]
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    after = request.query.get("after", "")
    return json_answer(DeviceList(*await devices.page_after(parts, requests.question(request), after, limit)))


async def show_device(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}"""
    return json_answer(await devices.device(request.app[PARTS], requests.endpoint(request)))


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
    return await serve_stream(request, request.app[PARTS].hub, names or None, after if after >= 0 else None)


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


async def health(request: web.Request) -> web.Response:
    """GET /healthz: 200 while the database can be read."""
    parts = request.app[PARTS]
    await parts.reader.endpoint("")
    return json_answer({"status": "ok", "devices": dict(parts.fleet.counts())})
