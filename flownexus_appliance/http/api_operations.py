"""Operations on a device over REST: Read, Write, Execute and their kin, done while one waits."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from ..errors import UsageError
from ..lwm2m.paths import Path
from ..lwm2m.plain import PlainValue, to_plain
from . import requests
from .answers import json_answer
from .ports import PARTS, OperationResult

MAX_ARGUMENTS: Final = 1024


class OperationRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`value` is for a Write, `arguments` for an Execute (LwM2M Core 1.1.1 6.3.5)."""

    operation: Annotated[str, msgspec.Meta(pattern="^[a-z_]{1,32}$")]
    path: Annotated[str, msgspec.Meta(max_length=32)]
    value: Any = None
    arguments: Annotated[str, msgspec.Meta(max_length=MAX_ARGUMENTS)] | None = None


@dataclass(frozen=True, slots=True)
class OperationValue:
    """`time_ms` is the device's own timestamp, None when it sent none."""

    path: str
    value: PlainValue
    data_type: str
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class OperationLink:
    """A link that Discover found: attributes as the device wrote them, None for a bare name."""

    path: str
    attributes: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class OperationAnswer:
    """`status` is CONFIRMED or FAILED: a device that refuses is an answer, not an error of this API."""

    status: str
    code: str
    values: list[OperationValue]
    links: list[OperationLink]
    message: str
    hint: str


def routes() -> list[web.RouteDef]:
    return [web.post("/api/v1/endpoints/{endpoint}/operations", perform)]


async def perform(request: web.Request) -> web.Response:
    """POST endpoints/{endpoint}/operations {"operation", "path", "value", "arguments"}"""
    wanted = await requests.body(request, OperationRequest)
    path = Path.parse(wanted.path, UsageError)
    result = await request.app[PARTS].fleet.perform(
        requests.endpoint(request), wanted.operation, path, wanted.value, wanted.arguments
    )
    return json_answer(answer_of(result))


def answer_of(result: OperationResult) -> OperationAnswer:
    """What the API says of an operation that ended."""
    return OperationAnswer(
        status=result.status,
        code=result.code,
        values=[
            OperationValue(str(r.path), to_plain(r.value), r.data_type.value, r.time_ms)
            for r in result.values
        ],
        links=[OperationLink(link.target, dict(link.attributes)) for link in result.links],
        message=result.message,
        hint=result.hint,
    )
