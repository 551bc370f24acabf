"""Series over REST: charts and sparklines."""

from typing import Any
from urllib.parse import quote

import pytest

from .conftest import Client
from .house import HOUR_MS, NOW_MS, SENSOR, SLEEPER, STRANGE
from .test_api import address, get

SERIES = "/series/3303/0/5700"


async def test_a_chart_covers_the_last_day(client: Client) -> None:
    chart = await get(client, address(SENSOR, SERIES))
    assert (chart["path"], chart["name"], chart["units"]) == ("/3303/0/5700", "Sensor Value", "Cel")
    assert chart["to_ms"] == NOW_MS + 1
    assert chart["to_ms"] - chart["from_ms"] == 24 * HOUR_MS
    assert sum(chart["count"]) == 1440
    assert chart["time_ms"][-1] == NOW_MS
    assert len({len(chart[key]) for key in ("time_ms", "min", "mean", "max", "count")}) == 1


async def test_a_chart_is_cut_to_its_points(client: Client) -> None:
    span = f"?from_ms={NOW_MS - HOUR_MS}&to_ms={NOW_MS}&points=6"
    chart = await get(client, address(SENSOR, SERIES + span))
    assert chart["count"] == [10] * 6
    assert chart["step_ms"] == 600_000
    assert all(
        low <= mean <= high for low, mean, high in zip(chart["min"], chart["mean"], chart["max"], strict=True)
    )


async def test_a_chart_of_all_begins_with_the_first_sample(client: Client) -> None:
    day = await get(client, address(SENSOR, SERIES))
    chart = await get(client, address(SENSOR, f"{SERIES}?from_ms=0&points=100"))
    assert chart["first_ms"] == chart["from_ms"] == chart["time_ms"][0] == day["first_ms"]
    assert sum(chart["count"]) == 1440
    assert chart["resolution_ms"] == 0  # nothing is rolled up here


async def test_a_span_without_samples_is_an_empty_chart(client: Client) -> None:
    chart = await get(client, address(SENSOR, f"{SERIES}?from_ms=0&to_ms=1000"))
    assert chart["time_ms"] == []


@pytest.mark.parametrize(
    ("endpoint", "rest", "status", "code"),
    [
        ("nobody", SERIES, 404, "endpoint_unknown"),
        (SENSOR, "/series/3303/5/5700", 404, "series_unknown"),
        (SENSOR, "/series/3303", 400, "path_invalid"),
        (SENSOR, "/series/3303/0/5700/1/2", 400, "path_invalid"),
        (SENSOR, "/series/a/b/c", 400, "path_invalid"),
        (SENSOR, f"{SERIES}?from_ms=5&to_ms=5", 400, "range_invalid"),
        (SENSOR, f"{SERIES}?from_ms=10&to_ms=5", 400, "range_invalid"),
        (SENSOR, f"{SERIES}?from_ms={NOW_MS + HOUR_MS}", 400, "range_invalid"),
        (SENSOR, f"{SERIES}?points=0", 400, "query_invalid"),
        (SENSOR, f"{SERIES}?points=10001", 400, "query_invalid"),
        (SENSOR, f"{SERIES}?points=1e3", 400, "query_invalid"),
        (SENSOR, f"{SERIES}?from_ms=-1", 400, "query_invalid"),
        (SENSOR, f"{SERIES}?to_ms=yesterday", 400, "query_invalid"),
    ],
)
async def test_bad_questions_for_a_series(
    client: Client, endpoint: str, rest: str, status: int, code: str
) -> None:
    answer = await get(client, address(endpoint, rest), status)
    assert answer["error"] == code
    assert answer["hint"]


async def sparklines(client: Client, *series: str, status: int = 200, more: str = "") -> Any:
    query = "&".join(f"series={quote(one, safe='')}" for one in series)
    return await get(client, f"/api/v1/sparklines?{query}{more}", status)


async def test_many_sparklines_come_at_once(client: Client) -> None:
    wanted = [f"/3303/0/5700:{name}" for name in (SENSOR, SLEEPER, STRANGE)]
    answer = await sparklines(client, *wanted, more="&points=24")
    assert [item["endpoint"] for item in answer["items"]] == [SENSOR, SLEEPER, STRANGE]
    assert len(answer["items"][0]["mean"]) == 24
    assert answer["items"][1]["time_ms"][-1] <= NOW_MS


async def test_unknown_sparklines_are_left_out(client: Client) -> None:
    answer = await sparklines(client, "/3303/0/5700:nobody", f"/9/9/9:{SENSOR}", f"/3303/0/5700:{SLEEPER}")
    assert [item["endpoint"] for item in answer["items"]] == [SLEEPER]


@pytest.mark.parametrize(
    ("series", "code"),
    [
        ([], "query_invalid"),
        (["/3303/0/5700"], "query_invalid"),
        (["/3303/0/5700:"], "query_invalid"),
        (["x:y"], "path_invalid"),
        ([f"/3303/0/5700:{SENSOR}"] * 61, "query_invalid"),
    ],
)
async def test_bad_questions_for_sparklines(client: Client, series: list[str], code: str) -> None:
    assert (await sparklines(client, *series, status=400))["error"] == code
