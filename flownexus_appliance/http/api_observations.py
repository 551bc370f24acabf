"""What a device is wanted to report, over REST: seen, asked for with its attributes, ended.

LwM2M Core 1.1.1 section 6.4. Observing is an operation like any other; what comes of it stays in force over
registrations until it is cancelled.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic as now_s
from typing import Final

import msgspec
from aiohttp import web

from ..access.roles import Role
from ..db.operations import EndpointOperation
from ..errors import ApplianceError, UsageError, clean
from ..fleet.ports import ObservationShown
from ..lwm2m.model import ResourceDefinition
from ..lwm2m.operations import MAX_PATHS, Kind, Operation, check, check_model
from ..lwm2m.paths import Path
from . import devices, requests
from .answers import json_answer
from .api_operations import ASKED, TAG, WAIT, asked_answer
from .guard import BY
from .operations import (
    AttributeTexts,
    DeadlineS,
    OperationState,
    PathText,
    attributes_from,
    deadline_ms,
    paths_from,
    state_of,
    wait_until_done,
)
from .ports import PARTS, Parts, Reporting
from .routes import Answer, Query, Route, get

STATES: Final = tuple(one.value for one in ObservationShown)


class ObservationRequest(msgspec.Struct, forbid_unknown_fields=True):
    """`path` or `paths`, each observed by itself or (`composite`) all in one.

    `attributes` are written to each path before; null unsets one.
    """

    path: PathText | None = None
    paths: list[PathText] | None = None
    composite: bool = False
    attributes: AttributeTexts | None = None
    deadline_s: DeadlineS | None = None


@dataclass(frozen=True, slots=True)
class ObservationState:
    """One observation. `asked_by` is "watch list" or who asked; `attributes` those that were set at, above
    or below its paths, by path.

    `state` is active, waiting (for the next registration or for its turn), refused (by the device), or off
    (somebody ended it, and the watch list names it).
    """

    paths: list[str]
    composite: bool
    state: str
    asked_by: str
    since_ms: int
    attributes: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class ObservationList:
    items: list[ObservationState]


@dataclass(frozen=True, slots=True)
class ObservationAsked:
    """The operations that it takes, in their order."""

    operations: list[OperationState]


def routes() -> list[Route]:
    address = "/api/v1/endpoints/{endpoint}/observations"
    asked = tuple(Answer(ObservationAsked, answer.status, answer.help) for answer in ASKED)
    ended = (
        Query("path", "What is observed; all paths of a composite observation", repeated=True),
        Query("passive", "Tell the device nothing: its next notification is refused", type=bool),
        WAIT,
    )
    return [
        get(
            address,
            list_observations,
            "What a device is wanted to report",
            TAG,
            ObservationList,
            Query("state", "Those in this state", values=STATES),
        ),
        Route(
            "POST", address, observe, "Observe", TAG, asked, (WAIT,), ObservationRequest, needs=Role.OPERATOR
        ),
        Route("DELETE", address, cancel, "Cancel an observation", TAG, ASKED, ended, needs=Role.OPERATOR),
    ]


async def list_observations(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}/observations?state="""
    parts = request.app[PARTS]
    device = await devices.device(parts, requests.endpoint(request))
    state = requests.one_of(request, "state", STATES)
    return json_answer(
        ObservationList([one for one in observations(parts, device.endpoint) if state in ("", one.state)])
    )


async def observe(request: web.Request) -> web.Response:
    """POST endpoints/{endpoint}/observations?wait= {"path", "attributes", ...}"""
    parts, endpoint, wait_s = request.app[PARTS], requests.endpoint(request), requests.wait_s(request)
    wanted = await requests.body(request, ObservationRequest)
    steps = steps_of(wanted)
    for operation in steps:
        _check(parts, endpoint, operation)
    asked: list[EndpointOperation] = []
    try:
        for operation in steps:
            until_ms = deadline_ms(parts, wanted.deadline_s)
            asked.append(await parts.operations.ask(endpoint, operation, request[BY], deadline_ms=until_ms))
    except ApplianceError:
        await _withdraw(parts, asked)
        raise
    done = await _all_done(request, asked, wait_s)
    status = HTTPStatus.OK if all(kept.done for kept in done) else HTTPStatus.ACCEPTED
    return json_answer(ObservationAsked([state_of(kept) for kept in done]), status)


async def cancel(request: web.Request) -> web.Response:
    """DELETE endpoints/{endpoint}/observations?path=&path=&passive&wait="""
    parts, endpoint, wait_s = request.app[PARTS], requests.endpoint(request), requests.wait_s(request)
    kind = Kind.CANCEL_PASSIVE if requests.flag(request, "passive") else Kind.CANCEL
    wanted = paths_from(None, request.query.getall("path", []))
    await devices.device(parts, endpoint)
    reported = parts.fleet.reporting(endpoint)
    same = [one for one in reported if set(one.paths) == set(wanted)]
    found = next((one for one in same if one.paths == wanted), same[0] if same else None)
    if found is None:
        raise UsageError(
            "observation_unknown",
            f"the device is not observed at {clean(', '.join(map(str, wanted))) or 'no path'}",
            "GET observations of the device lists them; name all paths of one as path=/3303/0/5700",
        )
    kept = await parts.operations.ask(endpoint, Operation(kind, found.paths), request[BY])
    return asked_answer(await wait_until_done(request, kept, wait_s))


def observations(parts: Parts, endpoint: str) -> list[ObservationState]:
    """What a device is wanted to report, by path."""
    attributes = parts.fleet.attributes(endpoint)
    return [
        ObservationState(
            paths=[str(path) for path in one.paths],
            composite=one.composite,
            state=one.state,
            asked_by=one.asked_by,
            since_ms=one.since_ms,
            attributes={str(path): dict(attributes[path]) for path in attributes if _about(one, path)},
        )
        for one in parts.fleet.reporting(endpoint)
    ]


def steps_of(wanted: ObservationRequest) -> list[Operation]:
    """The operations that an observation takes: its attributes first, so that it begins with them.

    Raises UsageError: path_invalid, paths_invalid, attributes_invalid.
    """
    paths = paths_from(wanted.path, wanted.paths)
    if not 1 <= len(paths) <= MAX_PATHS or len(set(paths)) < len(paths):
        raise UsageError(
            "paths_invalid", f"{len(paths)} paths to observe", f"give 1 to {MAX_PATHS} different ones"
        )
    steps = []
    if wanted.attributes:
        attributes = attributes_from(wanted.attributes)
        steps += [Operation(Kind.WRITE_ATTRIBUTES, (path,), attributes=attributes) for path in paths]
    if wanted.composite:
        steps.append(Operation(Kind.OBSERVE_COMPOSITE, paths))
    else:
        steps += [Operation(Kind.OBSERVE, (path,)) for path in paths]
    for operation in steps:
        check(operation)
    return steps


def _about(one: Reporting, path: Path) -> bool:
    return any(path.covers(observed) or observed.covers(path) for observed in one.paths)


def _check(parts: Parts, endpoint: str, operation: Operation) -> None:
    """Whether all of it can be asked before any of it is: the checks of `Operations.ask`, by the models."""
    registration = parts.fleet.registration(endpoint)
    objects = None if registration is None else registration.objects

    def defined(path: Path) -> ResourceDefinition | None:
        version = objects[path[0]].version if objects and path[0] in objects else None
        return parts.models.resource(path, version)

    check_model(operation, objects, defined, lambda number: parts.models.entry(number) is not None)


async def _withdraw(parts: Parts, asked: Sequence[EndpointOperation]) -> None:
    """An observation is asked for as a whole or not at all."""
    for kept in asked:
        with contextlib.suppress(ApplianceError):
            await parts.operations.cancel(kept.id)


async def _all_done(
    request: web.Request, asked: Sequence[EndpointOperation], wait_s: int
) -> list[EndpointOperation]:
    end_s = now_s() + wait_s
    return [await wait_until_done(request, kept, end_s - now_s()) for kept in asked]
