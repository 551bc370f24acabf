"""What a device has told, sample by sample: pages of one resource, and exports of any length as a file.

CSV is that of RFC 4180. A cell of text that a spreadsheet would take for a formula gets an apostrophe in
front, which is how spreadsheets themselves mark text; so does one that begins with an apostrophe, so taking
one away gives the text back. NDJSON has everything as it is.
"""

import asyncio
import csv
import io
import logging
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from aiohttp import web

from ..db.history import Sample, Span
from ..db.reads import LatestValue
from ..errors import UsageError, clean
from ..lwm2m.operations import MAX_PATHS
from ..lwm2m.paths import Path
from ..lwm2m.plain import PlainValue
from ..lwm2m.values import DataType
from . import devices, requests
from .answers import json_answer
from .ports import PARTS, Parts
from .routes import Answer, Query, Route, get

TAG: Final = "resources"
DEFAULT_LIMIT: Final = 1000
MAX_LIMIT: Final = 10_000
WRITE_TIMEOUT_S: Final = 60.0
COLUMNS: Final = ("endpoint", "path", "name", "units", "time_ms", "time", "value")
MEDIA: Final = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
ORDERS: Final = ("asc", "desc")

# What spreadsheets begin a formula with, among them the wide forms that some take for the same; and what
# they skip before one.
_FORMULA: Final = re.compile(r"[=+\-@\t\r\n'＝＋－＠]")
_UNSAFE_IN_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME: Final = 100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SPAN: Final = (
    Query("from_ms", "From this moment on, ms since 1970 UTC", type=int),
    Query("to_ms", "Before this moment, ms since 1970 UTC", type=int),
)
# As `to_plain` writes such numbers: "-inf" is one, and what reads numbers knows it.
_NOT_FINITE: Final = frozenset({"nan", "inf", "-inf"})
_NOTHING: Final[frozenset[str]] = frozenset()
_JSON: Final = msgspec.json.Encoder()
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SampleList:
    """A page of samples; `next` goes into `?after=` for the following one."""

    items: list[Sample]
    next: int | None


@dataclass(frozen=True, slots=True)
class ExportedSample:
    """A line of an export as NDJSON. `time` is that of `time_ms` by ISO 8601, "" beyond the year 9999."""

    endpoint: str
    path: str
    name: str
    units: str
    time_ms: int
    time: str
    value: PlainValue


def routes() -> list[Route]:
    history = "/api/v1/endpoints/{endpoint}/history/{path:.+}"
    return [
        get(
            history,
            show_history,
            "The samples of a resource, one by one",
            TAG,
            SampleList,
            *_SPAN,
            Query("order", "The oldest first, or the newest", values=ORDERS, default="asc"),
            Query("after", "The time to go on after: `next` of the page before", type=int),
            Query("limit", f"At most so many, up to {MAX_LIMIT}", type=int, default=DEFAULT_LIMIT),
        ),
        Route(
            "GET",
            "/api/v1/endpoints/{endpoint}/export",
            export,
            "All samples of a device, or of what is at or below some paths, as a file",
            TAG,
            (
                Answer(None, media=(MEDIA["csv"],), help=f"With a header: {', '.join(COLUMNS)}"),
                Answer(ExportedSample, media=(MEDIA["ndjson"],), help="A line a sample"),
            ),
            (
                Query("path", "Only what is at or below this path", repeated=True),
                *_SPAN,
                Query("format", "How it is written", values=tuple(MEDIA), default="csv"),
            ),
        ),
    ]


async def show_history(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}/history/{path}?from_ms=&to_ms=&order=&after=&limit="""
    parts = request.app[PARTS]
    endpoint, path = requests.endpoint(request), requests.path(request, 3, 4)
    from_ms, to_ms = _span(request)
    span = Span(
        from_ms,
        to_ms,
        requests.whole_or_none(request, "after", -requests.MAX_TIME_MS, requests.MAX_TIME_MS),
        requests.one_of(request, "order", ORDERS) == "desc",
    )
    limit = requests.whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    page = await parts.reader.history(endpoint, path, span, limit)
    if page is None:
        await devices.device(parts, endpoint)
        raise _no_series(str(path))
    return json_answer(SampleList(*page))


async def export(request: web.Request) -> web.StreamResponse:
    """GET endpoints/{endpoint}/export?path=&path=&from_ms=&to_ms=&format=csv"""
    parts, kind = request.app[PARTS], requests.one_of(request, "format", tuple(MEDIA)) or "csv"
    from_ms, to_ms = _span(request)
    # What comes in while one reads is not told, or the export of a busy device would have no end.
    span = Span(from_ms, parts.now_ms() + 1 if to_ms is None else to_ms)
    device = await devices.device(parts, requests.endpoint(request))
    series = {one.path: one for one in await _series(request, parts, device.endpoint)}
    response = web.StreamResponse(headers=_headers(device.endpoint, kind))
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    encode = _csv if kind == "csv" else _ndjson
    try:
        if kind == "csv":
            await _write(response, _csv_rows([COLUMNS]))
        async with aclosing(parts.reader.export(device.endpoint, list(series), span)) as pieces:
            async for path, samples in pieces:
                await _write(response, encode(series[path], samples))
    except (ConnectionError, TimeoutError) as error:
        raise _broken_off(request, "who reads is gone, or does not read") from error
    except Exception as error:
        log.exception("export failed", extra={"ENDPOINT": clean(device.endpoint)})
        raise _broken_off(request, "the samples could not be read") from error
    await response.write_eof()
    return response


def text_cell(text: str) -> str:
    """Text as a cell of CSV that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def file_name(endpoint: str, kind: str) -> str:
    """A name that is safe in a header and on any system's disk, whatever the endpoint is called."""
    plain = _UNSAFE_IN_NAME.sub("_", endpoint)[:_MAX_NAME]
    return f"flownexus-{plain}.{kind}"


def iso_time(time_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds; "" beyond the years 1 to 9999."""
    try:
        moment = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _span(request: web.Request) -> tuple[int | None, int | None]:
    from_ms = requests.whole_or_none(request, "from_ms", 0, requests.MAX_TIME_MS)
    to_ms = requests.whole_or_none(request, "to_ms", 0, requests.MAX_TIME_MS)
    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise UsageError(
            "range_invalid",
            f"from_ms {from_ms} is not before to_ms {to_ms}",
            "give from_ms smaller than to_ms, both in milliseconds since 1970 UTC",
        )
    return from_ms, to_ms


async def _series(request: web.Request, parts: Parts, endpoint: str) -> Sequence[LatestValue]:
    """The series that are asked for, by path as numbers."""
    found = await parts.reader.latest(endpoint)
    texts = request.query.getall("path", [])
    if len(texts) > MAX_PATHS:
        raise UsageError("query_invalid", f"{len(texts)} paths", f"name at most {MAX_PATHS}")
    if not texts:
        return found
    wanted = [Path.parse(text, UsageError) for text in texts]
    for path in wanted:
        if not any(path.covers(Path.parse(one.path)) for one in found):
            raise _no_series(str(path))
    return [one for one in found if any(path.covers(Path.parse(one.path)) for path in wanted)]


def _no_series(path: str) -> UsageError:
    return UsageError(
        "series_unknown",
        f"there are no samples of {path}",
        "GET resources of the device lists what it has told; observe the resource to gather samples",
    )


def _headers(endpoint: str, kind: str) -> dict[str, str]:
    charset = "; charset=utf-8; header=present" if kind == "csv" else ""
    return {
        "Content-Type": f"{MEDIA[kind]}{charset}",
        "Content-Disposition": f'attachment; filename="{file_name(endpoint, kind)}"',
        "Cache-Control": "no-store",
    }


def _csv(series: LatestValue, samples: Sequence[Sample]) -> bytes:
    endpoint, name, units = map(text_cell, (series.endpoint, series.name, series.units))
    exact = _NOT_FINITE if series.data_type == DataType.FLOAT else _NOTHING
    return _csv_rows(
        [
            (endpoint, series.path, name, units, s.time_ms, iso_time(s.time_ms), _cell(s.value, exact))
            for s in samples
        ]
    )


def _csv_rows(rows: Sequence[Sequence[object]]) -> bytes:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue().encode()


def _cell(value: PlainValue, exact: frozenset[str]) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return text_cell(value) if isinstance(value, str) and value not in exact else value


def _ndjson(series: LatestValue, samples: Sequence[Sample]) -> bytes:
    endpoint, path, name, units = series.endpoint, series.path, series.name, series.units
    return _JSON.encode_lines(
        [
            ExportedSample(endpoint, path, name, units, s.time_ms, iso_time(s.time_ms), s.value)
            for s in samples
        ]
    )


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(data)


def _broken_off(request: web.Request, why: str) -> ConnectionError:
    """End the connection, so that nobody takes half an export for a whole one."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionResetError(why)
