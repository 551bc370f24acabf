"""Errors as HTTP answers: the table from error code to status, the one JSON shape, the error page.

Nothing a handler raises leaves the box in any other form: {"error", "message", "hint"} for programs,
the same three as a page for people.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from ..errors import ApplianceError, PeerError, UsageError, clean
from .answers import MAX_BODY_BYTES, json_answer, page_answer
from .problems import told

STATUS: Final[Mapping[str, int]] = {
    "arguments_invalid": 400,
    "at_once_invalid": 400,
    "attributes_invalid": 400,
    "awake_window_invalid": 400,
    "body_invalid": 400,
    "body_too_large": 413,
    "bootstrap_config_invalid": 400,
    "bootstrap_config_unknown": 404,
    "bootstrap_unsupported": 409,
    "ca_missing": 503,
    "campaign_empty": 409,
    "campaign_ended": 409,
    "campaign_name_invalid": 400,
    "campaign_unknown": 404,
    "campaign_unmoved": 409,
    "certificate_invalid": 400,
    "client_limit": 503,
    "clock_untrusted": 503,
    "config_invalid": 409,
    "config_unreadable": 409,
    "credential_unknown": 404,
    "cross_site": 403,
    "ddf_invalid": 400,
    "deadline_past": 400,
    "delivery_closed": 409,
    "duration_invalid": 400,
    "endpoint_asleep": 409,
    "endpoint_invalid": 400,
    "endpoint_missing": 400,
    "endpoint_offline": 409,
    "endpoint_unknown": 404,
    "endpoint_unseen": 409,
    "etag_differs": 412,
    "expiry_past": 400,
    "failure_limit_invalid": 400,
    "file_name_invalid": 400,
    "firmware_in_use": 409,
    "firmware_known": 409,
    "firmware_not_for": 409,
    "firmware_unknown": 404,
    "form_replayed": 409,
    "form_stale": 403,
    "format_single_value": 400,
    "format_unexpected": 400,
    "identity_invalid": 400,
    "identity_taken": 409,
    "instance_invalid": 400,
    "instance_unknown": 404,
    "internal_error": 500,
    "key_invalid": 400,
    "label_invalid": 400,
    "last_admin": 409,
    "links_invalid": 400,
    "media_type_unsupported": 415,
    "method_not_allowed": 405,
    "model_limit": 409,
    "model_unknown": 404,
    "models_unwritable": 503,
    "name_invalid": 400,
    "name_too_long": 400,
    "not_executable": 409,
    "not_multiple": 409,
    "not_readable": 409,
    "not_writable": 409,
    "note_invalid": 400,
    "notes_changed": 409,
    "notes_invalid": 400,
    "object_missing": 409,
    "object_unknown": 404,
    "observation_unknown": 404,
    "operation_done": 409,
    "operation_missing": 404,
    "operation_unfinished": 409,
    "operation_unknown": 400,
    "overlap_invalid": 400,
    "package_corrupt": 400,
    "package_empty": 400,
    "package_missing": 503,
    "package_too_large": 413,
    "package_truncated": 400,
    "package_unknown": 404,
    "package_unwritable": 503,
    "password_own": 409,
    "password_unlike": 400,
    "password_weak": 400,
    "password_wrong": 403,
    "path_incomplete": 400,
    "path_invalid": 400,
    "path_outside": 400,
    "paths_invalid": 400,
    "pki_damaged": 500,
    "pki_empty": 503,
    "pki_foreign": 500,
    "pki_unreadable": 500,
    "pki_unwritable": 503,
    "query_invalid": 400,
    "queue_full": 429,
    "range_invalid": 400,
    "range_unsatisfiable": 416,
    "request_invalid": 400,
    "request_key_unsupported": 400,
    "request_name": 400,
    "request_timeout": 408,
    "request_unreadable": 400,
    "request_unsigned": 400,
    "resource_undefined": 404,
    "resource_unknown": 404,
    "role_missing": 403,
    "roll_over_limit": 409,
    "roll_over_none": 409,
    "series_unknown": 404,
    "session_needed": 403,
    "session_unknown": 404,
    "setting_invalid": 400,
    "settings_unwritable": 503,
    "setup_code_wrong": 403,
    "setup_done": 404,
    "setup_needed": 403,
    "sign_in_needed": 401,
    "sign_in_refused": 403,
    "sign_in_throttled": 429,
    "start_invalid": 400,
    "storage_low": 507,
    "store_failed": 503,
    "store_full": 503,
    "tag_invalid": 400,
    "tag_limit": 400,
    "target_invalid": 400,
    "time_invalid": 400,
    "time_unsupported": 400,
    "token_limit": 409,
    "token_name_invalid": 400,
    "token_taken": 409,
    "token_unknown": 404,
    "unknown_address": 404,
    "update_done": 409,
    "update_installing": 409,
    "update_under_way": 409,
    "update_unfinished": 409,
    "update_unknown": 404,
    "upload_broken": 400,
    "upload_busy": 503,
    "user_limit": 409,
    "user_name_invalid": 400,
    "user_taken": 409,
    "user_unknown": 404,
    "validity_invalid": 400,
    "value_invalid": 400,
    "value_missing": 400,
    "value_unexpected": 400,
    "version_invalid": 400,
    "version_missing": 400,
    "watch_pattern_invalid": 400,
}


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What every error looks like: a stable code, what failed and where, what to do about it."""

    error: str
    message: str
    hint: str


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
# How an application renders a template for a request; one without it has no pages.
Render = Callable[[web.Request, str, Mapping[str, object]], str]
RENDER: Final[web.AppKey[Render]] = web.AppKey("render")
log = logging.getLogger(__name__)


def status_of(error: ApplianceError) -> int:
    """The HTTP status of an error; a code that is not in the table goes by whose fault it is."""
    if error.code in STATUS:
        return STATUS[error.code]
    if isinstance(error, PeerError):
        return HTTPStatus.BAD_GATEWAY
    return HTTPStatus.BAD_REQUEST if isinstance(error, UsageError) else HTTPStatus.INTERNAL_SERVER_ERROR


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The request boundary: everything raised below becomes an answer in one shape."""
    try:
        return await handler(request)
    except ApplianceError as error:
        return answer(request, error, status_of(error))
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return answer(request, _translate(request, error), error.status, error.headers.get("Allow"))
    except ConnectionError:
        if request.transport is not None and not request.transport.is_closing():
            raise
        # The other side is gone: nobody reads this, but what is raised aiohttp would log as a fault.
        return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
    except Exception:
        log.exception("request failed", extra={"PATH": clean(request.path)})
        failure = ApplianceError(
            "internal_error", "something went wrong in the appliance", "the log tells what: flownexus log"
        )
        return answer(request, failure, HTTPStatus.INTERNAL_SERVER_ERROR)


def answer(
    request: web.Request, error: ApplianceError, status: int, allow: str | None = None
) -> web.Response:
    """The error as JSON, or as a page where a browser asked for one."""
    if wants_page(request):
        said = told(error)
        context = {"status": status, "message": said.message, "hint": said.hint, "detail": said.detail}
        response = page_answer(request.app[RENDER](request, "error.html", context), status)
    else:
        response = json_answer(ErrorAnswer(error.code, error.message, error.hint), status)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    if allow:
        response.headers["Allow"] = allow
    return response


def wants_page(request: web.Request) -> bool:
    path = request.rel_url.raw_path
    programs = path.startswith(("/api/", "/static/", "/leshan", "/fw/")) or path == "/healthz"
    return not programs and RENDER in request.app and "text/html" in request.headers.get("Accept", "")


def _translate(request: web.Request, error: web.HTTPException) -> ApplianceError:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return UsageError(
                "unknown_address",
                f"nothing is served at {clean(request.path)}",
                "the API begins at /api/v1/endpoints, the pages at /",
            )
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = error.headers.get("Allow", "")
            return UsageError(
                "method_not_allowed",
                f"{clean(request.method)} is not for {clean(request.path)}",
                f"use {allowed.replace(',', ' or ')}",
            )
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return UsageError(
                "body_too_large",
                "the request's body is too large",
                f"send at most {MAX_BODY_BYTES} bytes",
            )
    return UsageError("request_invalid", error.reason, "see the API's description of this address")
