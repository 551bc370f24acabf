"""Series of samples over REST: one in full for a chart, many in short for sparklines."""

import asyncio
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from ..db.charts import MAX_POINTS, Chart
from ..errors import UsageError, clean
from ..lwm2m.paths import Path
from . import devices, requests
from .answers import json_answer
from .ports import PARTS, Parts
from .routes import Query, Route, get

DAY_MS: Final = 24 * 3600 * 1000
DEFAULT_POINTS: Final = 1500
DEFAULT_SPARK_POINTS: Final = 60
MAX_SPARK_POINTS: Final = 240
MAX_SPARKLINES: Final = 60


@dataclass(frozen=True, slots=True)
class Sparkline:
    """The means of a series' buckets, one entry a bucket that is not empty."""

    endpoint: str
    path: str
    time_ms: list[int]
    mean: list[float]


@dataclass(frozen=True, slots=True)
class SparklineList:
    """Those of the series asked for that are known, in the order of the asking."""

    items: list[Sparkline]


def routes() -> list[Route]:
    return [
        get(
            "/api/v1/endpoints/{endpoint}/series/{path:.+}",
            show_series,
            "A chart: numeric samples in buckets",
            "resources",
            Chart,
            *_range_queries(),
            Query("points", "Buckets at most", int, default=DEFAULT_POINTS, low=1, high=MAX_POINTS),
        ),
        get(
            "/api/v1/sparklines",
            list_sparklines,
            "Short series of many resources at once",
            "resources",
            SparklineList,
            Query("series", f"1 to {MAX_SPARKLINES}, each /3303/0/5700:name", repeated=True, required=True),
            *_range_queries(),
            Query("points", "Buckets", int, default=DEFAULT_SPARK_POINTS, low=2, high=MAX_SPARK_POINTS),
        ),
    ]


async def show_series(request: web.Request) -> web.Response:
    """GET endpoints/{endpoint}/series/{path}?from_ms=&to_ms=&points="""
    parts = request.app[PARTS]
    endpoint, path = requests.endpoint(request), requests.path(request, 3, 4)
    from_ms, to_ms = _range(request, parts)
    points = requests.whole(request, "points", DEFAULT_POINTS, 1, MAX_POINTS)
    chart = await parts.reader.chart(endpoint, path, from_ms or None, to_ms, points)
    if chart is None:
        await devices.device(parts, endpoint)
        raise UsageError(
            "series_unknown",
            f"there are no samples of {path}",
            "GET resources of the device lists what it has told; observe the resource to gather samples",
        )
    return json_answer(chart)


async def list_sparklines(request: web.Request) -> web.Response:
    """GET sparklines?series=/3303/0/5700:name&series=...&from_ms=&to_ms=&points=; only those known."""
    parts = request.app[PARTS]
    wanted = [_series(text) for text in request.query.getall("series", ())]
    if not 1 <= len(wanted) <= MAX_SPARKLINES:
        raise UsageError(
            "query_invalid",
            f"{len(wanted)} series asked for",
            f"ask for 1 to {MAX_SPARKLINES}, each as series=/3303/0/5700:endpoint-name",
        )
    from_ms, to_ms = _range(request, parts)
    points = requests.whole(request, "points", DEFAULT_SPARK_POINTS, 2, MAX_SPARK_POINTS)
    items: list[Sparkline] = []
    for endpoint, path in wanted:
        chart = await parts.reader.chart(endpoint, path, from_ms or None, to_ms, points)
        if chart is not None:
            items.append(_sparkline(endpoint, chart))
        await asyncio.sleep(0)  # sixty of them must not keep messages of devices waiting
    return json_answer(SparklineList(items))


def _range_queries() -> tuple[Query, Query]:
    last = requests.MAX_TIME_MS
    return (
        Query("from_ms", "From when on, 0: from the first; a day before to_ms", int, low=0, high=last),
        Query("to_ms", "Up to, without it; now", int, low=0, high=last),
    )


def _sparkline(endpoint: str, chart: Chart) -> Sparkline:
    return Sparkline(endpoint, chart.path, chart.time_ms, [float(f"{mean:.6g}") for mean in chart.mean])


def _series(text: str) -> tuple[str, Path]:
    """A path has no colon, so the first one ends it, whatever the name after it holds."""
    path, colon, endpoint = text.partition(":")
    if not colon or not endpoint:
        raise UsageError(
            "query_invalid", f"not a series: {clean(text)}", "write the path, a colon and the endpoint name"
        )
    return endpoint, Path.parse(path, UsageError)


def _range(request: web.Request, parts: Parts) -> tuple[int, int]:
    """`?from_ms=` and `?to_ms=`, by default the 24 hours up to now."""
    to_ms = requests.whole(request, "to_ms", parts.now_ms() + 1, 0, requests.MAX_TIME_MS)
    from_ms = requests.whole(request, "from_ms", max(0, to_ms - DAY_MS), 0, requests.MAX_TIME_MS)
    if from_ms >= to_ms:
        raise UsageError(
            "range_invalid",
            f"from_ms {from_ms} is not before to_ms {to_ms}",
            "give from_ms smaller than to_ms, both in milliseconds since 1970 UTC",
        )
    return from_ms, to_ms
