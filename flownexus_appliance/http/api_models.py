"""Object models over REST: what objects and resources mean, and definitions of the operator's own.

LwM2M Core 1.1.1 appendix D. An upload is a DDF file, the only body that may be as large as one.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ..errors import UsageError, clean
from ..lwm2m.ddf import MAX_SIZE_BYTES
from ..lwm2m.model import ObjectDefinition, ResourceDefinition, version_key
from ..lwm2m.paths import MAX_ID
from . import requests
from .answers import created, json_answer
from .api_credentials import Removed
from .ports import PARTS, Parts
from .routes import DEFAULT_LIMIT, MAX_LIMIT, Answer, Query, Route, get, paging, search

TAG: Final = "models"
REGISTRY: Final = "registry"
UPLOADED: Final = "uploaded"
SOURCES: Final = (REGISTRY, UPLOADED)
MEDIA: Final = ("application/xml", "text/xml")
UPLOAD_TIMEOUT_S: Final = 30.0

_Key = tuple[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One version of an object. `source` is registry or uploaded, `file` its name in the folder, "" in the
    registry. `newest`: it counts for devices that register no version of the object."""

    object_id: int
    version: str
    name: str
    newest: bool
    source: str
    file: str


@dataclass(frozen=True, slots=True)
class ModelList:
    """A page of models, by object and version; `next` goes into `?after=` for the following one."""

    items: list[ModelEntry]
    next: str | None


@dataclass(frozen=True, slots=True)
class ModelsAdded:
    """What an upload defined; it is in use."""

    items: list[ModelEntry]


@dataclass(frozen=True, slots=True)
class ResourceModel:
    """One resource of an object.

    `operations` is one of R, W, RW, E and "". `data_type` is none for what is executed, and where no type is
    given. `range` and `units` are the words of the definition, "" where it has none.
    """

    resource_id: int
    name: str
    operations: str
    data_type: str
    multiple: bool
    mandatory: bool
    range: str
    units: str


@dataclass(frozen=True, slots=True)
class Model:
    """One version of an object with its resources by number; `versions` are all that are known of it."""

    object_id: int
    version: str
    name: str
    newest: bool
    source: str
    file: str
    versions: list[str]
    lwm2m_version: str
    multiple: bool
    mandatory: bool
    resources: list[ResourceModel]


def routes() -> list[Route]:
    return [
        get(
            "/api/v1/models",
            list_models,
            "The object models that are known",
            TAG,
            ModelList,
            search("names and object ids"),
            Query("source", "Where it is from", values=SOURCES),
            *paging(),
        ),
        Route(
            "POST",
            "/api/v1/models",
            add_models,
            "Upload a DDF file; what it defines is in use at once",
            TAG,
            (Answer(ModelsAdded, HTTPStatus.CREATED, "In use and on disk"),),
            body_media=MEDIA,
            help=f"At most {MAX_SIZE_BYTES // 1024} KiB. It takes the place of uploads of the same versions, "
            "and goes before the registry.",
        ),
        get(
            "/api/v1/models/{object_id}",
            show_model,
            "An object with its resources",
            TAG,
            Model,
            Query("version", "This version; without, the one that counts as the newest"),
        ),
        Route(
            "DELETE",
            "/api/v1/models/{object_id}/{version}",
            remove_model,
            "Take an uploaded definition away",
            TAG,
            (Answer(Removed),),
        ),
    ]


async def list_models(request: web.Request) -> web.Response:
    """GET models?q=&source=&after=&limit="""
    wanted, source = requests.search(request).lower(), requests.one_of(request, "source", SOURCES)
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    found = {
        key: entry
        for key, entry in _entries(request.app[PARTS]).items()
        if wanted in f"{entry.object_id} {entry.name}".lower() and source in ("", entry.source)
    }
    keys = list(found)
    first = bisect_right(keys, _cursor(request.query.get("after", "")))
    items = [found[key] for key in keys[first : first + limit]]
    more = first + limit < len(keys)
    return json_answer(ModelList(items, f"{items[-1].object_id}/{items[-1].version}" if more else None))


async def show_model(request: web.Request) -> web.Response:
    """GET models/{object_id}?version="""
    parts, object_id = request.app[PARTS], _object_id(request)
    version = request.query.get("version")
    known = parts.models.versions(object_id)
    if not known or (version is not None and version_key(version) not in map(version_key, known)):
        what = f"object {object_id}" if version is None else f"version {clean(version, 40)} of {object_id}"
        raise UsageError("model_unknown", f"no model knows {what}", "GET models lists those that do")
    definition = parts.models.object(object_id, version)
    assert definition is not None
    return json_answer(_model(parts, definition))


async def add_models(request: web.Request) -> web.Response:
    """POST models, a DDF file as application/xml or text/xml."""
    parts = request.app[PARTS]
    added = await parts.uploads.add(await _file(request))
    entries = _entries(parts)
    return created(ModelsAdded([entries[_key(one.definition)] for one in added]))


async def remove_model(request: web.Request) -> web.Response:
    """DELETE models/{object_id}/{version}: where the registry has the same version, that counts again."""
    await request.app[PARTS].uploads.remove(_object_id(request), request.match_info["version"])
    return json_answer(Removed(1))


def _entries(parts: Parts) -> Mapping[_Key, ModelEntry]:
    """Every version of every object, in order; no definition is parsed for it."""
    uploaded = {_key(one.definition): one.file for one in parts.uploads.uploaded()}
    found: dict[_Key, ModelEntry] = {}
    for object_id, _ in parts.models.names():
        versions = parts.models.versions(object_id)
        for version in versions:
            entry = parts.models.entry(object_id, version)
            assert entry is not None
            key = object_id, version_key(version) or (0, 0)
            source = UPLOADED if key in uploaded else REGISTRY
            newest = version == versions[-1]
            found[key] = ModelEntry(object_id, version, entry.name, newest, source, uploaded.get(key, ""))
    return dict(sorted(found.items()))


def _key(definition: ObjectDefinition) -> _Key:
    return definition.object_id, version_key(definition.version) or (0, 0)


def _model(parts: Parts, definition: ObjectDefinition) -> Model:
    entry = _entries(parts)[_key(definition)]
    return Model(
        object_id=entry.object_id,
        version=entry.version,
        name=entry.name,
        newest=entry.newest,
        source=entry.source,
        file=entry.file,
        versions=list(parts.models.versions(definition.object_id)),
        lwm2m_version=definition.lwm2m_version,
        multiple=definition.multiple,
        mandatory=definition.mandatory,
        resources=[_resource(resource) for resource in definition.resources.values()],
    )


def _resource(resource: ResourceDefinition) -> ResourceModel:
    return ResourceModel(
        resource_id=resource.resource_id,
        name=resource.name,
        operations=resource.operations,
        data_type=resource.data_type.value,
        multiple=resource.multiple,
        mandatory=resource.mandatory,
        range=resource.range_text or "",
        units=resource.units or "",
    )


def _cursor(text: str) -> _Key:
    """Where a page ended, as `next` has it; before everything for ""."""
    if not text:
        return -1, (0, 0)
    number, _, version = text.partition("/")
    key = version_key(version)
    if key is None or not (number.isascii() and number.isdigit() and len(number) <= 5):
        raise UsageError(
            "query_invalid",
            f"after is not usable: {clean(text, 40)}",
            "give next of the page before, unchanged",
        )
    return int(number), key


def _object_id(request: web.Request) -> int:
    text = request.match_info["object_id"]
    if text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_ID:
        return int(text)
    raise UsageError("model_unknown", f"not an object id: {clean(text, 40)}", "GET models lists them")


async def _file(request: web.Request) -> bytes:
    """The body, up to the size of a DDF file, whatever other requests may carry."""
    # A page elsewhere can post a form or plain text to this box, but no XML without asking first.
    if request.content_type not in MEDIA:
        raise UsageError(
            "media_type_unsupported",
            f"the body is {clean(request.content_type)}",
            "send the DDF file with Content-Type: application/xml",
        )
    content = bytearray()
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT_S):
            async for piece in request.content.iter_any():
                content += piece
                if len(content) > MAX_SIZE_BYTES:
                    raise UsageError(
                        "body_too_large",
                        f"the file is larger than {MAX_SIZE_BYTES // 1024} KiB",
                        "split it: each object of a DDF file may stand in a file of its own",
                    )
    except TimeoutError:
        raise UsageError(
            "request_timeout", "the file did not arrive in time", f"send it within {UPLOAD_TIMEOUT_S:.0f} s"
        ) from None
    requests.check_still(request)
    return bytes(content)
