"""Firmware packages over REST: uploaded as they come, described, fetched, taken away.

An upload is the body of its request, bytes as they are, the only one of the API that may be large; what
people say of it stands in the query.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from aiohttp import web

from ..access.roles import Role
from ..db.firmware import Firmware
from ..db.package_files import MAX_PACKAGE, MIB
from ..errors import UsageError, clean
from . import requests
from .answers import created, json_answer
from .api_credentials import Removed
from .firmware import FirmwareChange, FirmwareState, facts_of, firmware_state
from .guard import DETAIL
from .package_download import send
from .ports import PARTS, Parts
from .ports_firmware import FirmwareFacts
from .routes import DEFAULT_LIMIT, MAX_ID, MAX_LIMIT, Answer, Query, Route, get, paging, search
from .uploads import BYTES, take_raw

TAG: Final = "firmware"
FACTS: Final = (
    Query("version", "What a device tells that runs it; without it, that of its MCUboot header"),
    Query("file_name", "What the file is called where it comes from"),
    Query("note", "A note of your own"),
    Query("model", "It is for devices that tell this at 3/0/1"),
    Query("tag", "It is for devices with this tag"),
    Query("from_version", "It is for devices that run this version"),
)


@dataclass(frozen=True, slots=True)
class FirmwareList:
    """A page of packages, newest first; `next` goes into `?after=` for the following one."""

    items: list[FirmwareState]
    next: int | None


def routes() -> list[Route]:
    listed, one, operator = "/api/v1/firmware", "/api/v1/firmware/{id}", Role.OPERATOR
    return [
        get(
            listed,
            list_firmware,
            "Firmware packages, newest first",
            TAG,
            FirmwareList,
            search("versions, names of files, notes, and what they are for"),
            *paging(int),
        ),
        Route(
            "POST",
            listed,
            add_firmware,
            "Upload a firmware package",
            TAG,
            (Answer(FirmwareState, HTTPStatus.CREATED, "On disk"),),
            FACTS,
            body_media=(BYTES,),
            streamed=True,
            help=f"At most {MAX_PACKAGE // MIB} MiB, as they are. A package that does not come whole leaves"
            " nothing.",
            needs=operator,
        ),
        get(one, show_firmware, "A package", TAG, FirmwareState),
        Route(
            "PATCH",
            one,
            change_firmware,
            "Say other things of a package",
            TAG,
            (Answer(FirmwareState),),
            body=FirmwareChange,
            needs=operator,
        ),
        Route(
            "DELETE",
            one,
            remove_firmware,
            "Take a package away, with what is remembered of its updates and campaigns",
            TAG,
            (Answer(Removed),),
            needs=operator,
        ),
        Route(
            "GET",
            f"{one}/package",
            show_package,
            "The package itself",
            TAG,
            (
                Answer(None, media=(BYTES,), help="Whole", headers={"ETag": "Its SHA-256"}),
                Answer(None, HTTPStatus.PARTIAL_CONTENT, "The range asked for", media=(BYTES,)),
            ),
            headers=(
                Query("Range", "Of its bytes, one range"),
                Query("If-Range", "The ETag of the beginning that one has"),
            ),
            needs=operator,
        ),
    ]


async def list_firmware(request: web.Request) -> web.Response:
    """GET firmware?q=&after=&limit="""
    parts, wanted = request.app[PARTS], requests.search(request).casefold()
    before = requests.whole_or_none(request, "after", 1, MAX_ID)
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    found = [
        kept
        for kept in parts.firmware.all()
        if wanted in _text(kept) and (before is None or kept.id < before)
    ]
    shown = found[:limit]
    counts = await parts.reader.firmware_counts()
    items = [firmware_state(parts, kept, counts.get(kept.id, {})) for kept in shown]
    return json_answer(FirmwareList(items, shown[-1].id if len(found) > limit else None))


async def add_firmware(request: web.Request) -> web.Response:
    """POST firmware?version=&file_name=&note=&model=&tag=&from_version=, the package as octets"""
    facts = FirmwareFacts(**{one.name: request.query.get(one.name, "").strip() for one in FACTS})
    kept = await take_raw(request, facts)
    request[DETAIL] = f"{kept.id} {kept.version}"
    response = created(firmware_state(request.app[PARTS], kept, {}))
    response.headers["Location"] = f"/api/v1/firmware/{kept.id}"
    return response


async def show_firmware(request: web.Request) -> web.Response:
    """GET firmware/{id}"""
    return json_answer(await _state(request.app[PARTS], firmware(request)))


async def change_firmware(request: web.Request) -> web.Response:
    """PATCH firmware/{id} {"version", "note", "model", "tag", "from_version"}"""
    parts, wanted = request.app[PARTS], await requests.body(request, FirmwareChange)
    kept = firmware(request)
    return json_answer(await _state(parts, await parts.firmware.change(kept.id, facts_of(kept, wanted))))


async def remove_firmware(request: web.Request) -> web.Response:
    """DELETE firmware/{id}"""
    kept = firmware(request)
    await request.app[PARTS].firmware.remove(kept.id)
    request[DETAIL] = kept.version
    return json_answer(Removed(1))


async def show_package(request: web.Request) -> web.StreamResponse:
    """GET firmware/{id}/package"""
    kept = firmware(request)
    name = quote(kept.file_name, safe="")
    return await send(
        request,
        request.app[PARTS].firmware.body(kept.id),
        kept.sha256.hex(),
        disposition=f"attachment; filename*=UTF-8''{name}",
    )


def firmware(request: web.Request) -> Firmware:
    """The package in the address; raises UsageError("firmware_unknown")."""
    text = request.match_info["id"]
    if requests.is_id(text):
        return request.app[PARTS].firmware.get(int(text))
    raise UsageError("firmware_unknown", f"there is no firmware {clean(text, 40)}", "GET firmware lists it")


async def _state(parts: Parts, kept: Firmware) -> FirmwareState:
    counts = await parts.reader.firmware_counts()
    return firmware_state(parts, kept, counts.get(kept.id, {}))


def _text(kept: Firmware) -> str:
    """What is searched."""
    said = (kept.version, kept.file_name, kept.note, kept.model, kept.tag, kept.from_version)
    return "\n".join(said).casefold()
