"""Answers as Leshan gives them: the response of a device as JSON, everything else as plain text.

A device that refuses is an answer with HTTP status 200. What never came to an answer is text with a status of
its own: 400 for the asker's mistake, 504 for silence, 500 for the rest.
"""

import logging
from collections.abc import Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from ...db.operations import EndpointOperation
from ...errors import ApplianceError, PeerError, UsageError, clean
from ...lwm2m.operations import AT_MOST_ONCE, MAX_ATTEMPTS, Kind, Status
from ...lwm2m.values import TypeLookup
from ..answers import json_answer
from ..routes import Handler
from .nodes import node_of, nodes_by_path
from .registrations import link_json

MAX_ENDPOINT: Final = 255

_NAMES: Final[Mapping[int, str]] = {
    201: "CREATED",
    202: "DELETED",
    204: "CHANGED",
    205: "CONTENT",
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    408: "REQUEST_ENTITY_INCOMPLETE",
    412: "PRECONDITION_FAILED",
    413: "REQUEST_ENTITY_TOO_LARGE",
    415: "UNSUPPORTED_CONTENT_FORMAT",
    500: "INTERNAL_SERVER_ERROR",
}
# The codes that LwM2M lists for every operation, and for each beside them (Transport 1.1.1 6.4.4).
_ANY: Final = frozenset({400, 401, 404, 405, 500})
_READ: Final = _ANY | {205, 406}
_WRITE: Final = _ANY | {204, 408, 413, 415}
_VALID: Final[Mapping[Kind, frozenset[int]]] = {
    Kind.READ: _READ,
    Kind.OBSERVE: _READ,
    Kind.CANCEL: _READ,
    Kind.READ_COMPOSITE: _READ | {415},
    Kind.OBSERVE_COMPOSITE: _READ | {415},
    Kind.DISCOVER: _ANY | {205},
    Kind.WRITE: _WRITE,
    Kind.WRITE_PARTIAL: _WRITE,
    Kind.WRITE_COMPOSITE: _ANY | {204, 406},
    Kind.WRITE_ATTRIBUTES: _ANY | {204},
    Kind.EXECUTE: _ANY | {204},
    Kind.CREATE: _ANY | {201, 415},
    Kind.DELETE: _ANY | {202},
}
_READS: Final = frozenset({Kind.READ, Kind.OBSERVE, Kind.CANCEL, Kind.READ_COMPOSITE, Kind.OBSERVE_COMPOSITE})
log = logging.getLogger(__name__)


class Refused(Exception):
    """A request that comes to no answer of a device: the status and the text that Leshan says so by."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def invalid_path() -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "Invalid path")


def invalid_request(why: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, f"Invalid request: {why}")


def unexpected(why: str) -> Refused:
    return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"Unexpected exception: {why}")


def timed_out() -> Refused:
    return Refused(HTTPStatus.GATEWAY_TIMEOUT, "Request timeout")


def not_registered(endpoint: str) -> Refused:
    text = f"No registered client with id '{clean(endpoint, MAX_ENDPOINT)}'"
    return Refused(HTTPStatus.BAD_REQUEST, text)


def plain_errors(handler: Handler) -> Handler:
    """The request boundary of this API: everything raised below becomes plain text with Leshan's status."""

    @wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as error:
            refused = error
        except ApplianceError as error:
            refused = _refused(error, request.match_info.get("endpoint", ""))
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("request failed", extra={"PATH": clean(request.path)})
            refused = unexpected("something went wrong in the appliance")
        return text_answer(refused.text, refused.status)

    return answered


def text_answer(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, headers={"Cache-Control": "no-store"})


def status_text(code: str) -> str:
    """The CoAP code "2.05" as `CONTENT(205)`; a code that LwM2M does not name as `UNKNOWN(503)`."""
    number = _number(code)
    return f"{_NAMES.get(number, 'UNKNOWN')}({number})"


def answer_of(
    ended: EndpointOperation,
    *,
    composite: bool = False,
    floats_as_text: bool = False,
    types: TypeLookup | None = None,
) -> web.Response:
    """The answer for an operation that is done, see `response_json`; raises Refused without a device's."""
    outcome = ended.outcome
    if outcome.code:
        return json_answer(
            response_json(ended, composite=composite, floats_as_text=floats_as_text, types=types)
        )
    match ended.status:
        case Status.CONFIRMED:
            return web.Response(headers={"Cache-Control": "no-store"})  # done without asking the device
        case Status.CANCELLED:
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"Request cancelled: {outcome.message}")
        case Status.FAILED if not ended.attempts:
            raise invalid_request(outcome.message)  # it cannot be written in the format that was chosen
        case Status.FAILED if ended.operation.kind not in AT_MOST_ONCE and ended.attempts < MAX_ATTEMPTS:
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"Invalid Response: {outcome.message}")
    raise timed_out()


def response_json(
    ended: EndpointOperation,
    *,
    composite: bool = False,
    floats_as_text: bool = False,
    types: TypeLookup | None = None,
) -> dict[str, Any]:
    """What a device answered. `valid` is whether the specification has this code for the operation.

    `composite`: the values are told by path, as those of a composite operation. `types`: see `node_of`.
    """
    outcome, operation = ended.outcome, ended.operation
    number = _number(outcome.code)
    success = number // 100 == 2
    told: dict[str, Any] = {
        "status": status_text(outcome.code),
        "valid": number in _VALID.get(operation.kind, _ANY),
        "success": success,
        "failure": not success,
    }
    if not success:
        return {**told, "errormessage": outcome.message} if outcome.message else told
    if operation.kind in _READS:
        content = (
            nodes_by_path(operation.paths, outcome.records, floats_as_text=floats_as_text)
            if composite
            else node_of(operation.path, outcome.records, floats_as_text=floats_as_text, types=types)
        )
        return {**told, "content": content} if content is not None else told
    if operation.kind is Kind.DISCOVER:
        return {**told, "objectLinks": [link_json(link.target, link.attributes) for link in outcome.links]}
    if operation.kind is Kind.CREATE and outcome.location:
        return {**told, "location": outcome.location.lstrip("/")}
    return told


def _refused(error: ApplianceError, endpoint: str) -> Refused:
    """An error of the house in Leshan's words."""
    said = f"{error.message}: {error.hint}" if error.hint else error.message
    match error.code:
        case "endpoint_unknown" | "endpoint_unseen" | "endpoint_offline":
            return not_registered(endpoint)
        case "attributes_invalid":
            return Refused(HTTPStatus.BAD_REQUEST, f"Invalid attributes: {said}")
        case "deadline_past":
            return timed_out()
        case "queue_full":
            return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"Request rejected: {said}")
        case "value_invalid":
            return unexpected(said)
    return invalid_request(said) if isinstance(error, UsageError | PeerError) else unexpected(said)


def _number(code: str) -> int:
    major, _, minor = code.partition(".")
    return int(major) * 100 + int(minor)
