"""Charts under a hand, a keyboard and a stream: zoom, movement, downloads and tracks."""

import json
import math
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from flownexus_appliance.lwm2m.values import DataType, Record
from flownexus_appliance.system.clock import wall_ms
from tests.unit.http.house import HOUR_MS, SENSOR, SLEEPER, fill, record

from .chromium import Chromium, Page
from .conftest import House

DeviceUrl = Callable[[str], str]
Draw = Callable[..., Awaitable[None]]
DAY_MS = 24 * HOUR_MS
TEMPERATURE = "/3303/0/5700"
CHART = f'[data-chart="{TEMPERATURE}"]'
TRACK = '[data-track="/6/0"]'
ROVER = "rover"


@pytest.fixture
def rover(house: House) -> Callable[[Sequence[Record]], Awaitable[None]]:
    """Give a device these samples, and a year of acquaintance."""

    async def put(records: Sequence[Record]) -> None:
        await fill(house.database, house.sources.models.set, {ROVER: records}, registered=[ROVER])
        with closing(sqlite3.connect(house.database)) as connection, connection:
            begun = wall_ms() - 365 * DAY_MS
            connection.execute("UPDATE endpoint SET first_seen_ms = ? WHERE name = ?", (begun, ROVER))
        house.fleet.states[ROVER] = "online"

    return put


async def drawn(page: Page, chart: str = CHART) -> None:
    """Wait until a chart shows its samples."""
    await page.until(f"document.querySelector('{chart} .u-over')")
    await page.until_text(f"{chart} [data-readout]", "Mean" if chart == CHART else "ast")


async def span(page: Page) -> tuple[int, int] | None:
    """The span of time in the address."""
    query = parse_qs(urlsplit(await page.evaluate("location.href")).query)
    return (int(query["from"][0]), int(query["to"][0])) if "from" in query else None


async def until_span(page: Page) -> tuple[int, int]:
    await page.until("new URLSearchParams(location.search).has('from')")
    found = await span(page)
    assert found is not None
    return found


async def mouse(page: Page, kind: str, x: float, y: float, clicks: int = 1, **more: Any) -> None:
    button = {"button": "left", "buttons": 1, "clickCount": clicks}
    await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button, **more)


async def drag(page: Page, chart: str, begin: float, end: float, **more: Any) -> None:
    """Press, move and let go, from one share of the plot's width to another."""
    left, top, width, height = await over(page, chart)
    y = top + height / 2
    await mouse(page, "mousePressed", left + begin * width, y, **more)
    for share in (begin + (end - begin) / 2, end):
        await mouse(page, "mouseMoved", left + share * width, y, **more)
    await mouse(page, "mouseReleased", left + end * width, y, **more)


async def over(page: Page, chart: str) -> tuple[float, float, float, float]:
    """Where the plot of a chart lies in the window."""
    await page.evaluate(f"document.querySelector('{chart} .u-over').scrollIntoView({{block: 'center'}})")
    box = await page.evaluate(
        f"(({{left, top, width, height}}) => [left, top, width, height])"
        f"(document.querySelector('{chart} .u-over').getBoundingClientRect())"
    )
    return box[0], box[1], box[2], box[3]


async def press(page: Page, key: str, shift: bool = False) -> None:
    for kind in ("keyDown", "keyUp"):
        await page.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=8 if shift else 0)


def asked(page: Page, path: str) -> list[tuple[int, int, int]]:
    """Which spans of a series were asked for, and in how many points."""
    found = [urlsplit(url) for url in page.requested]
    queries = [parse_qs(url.query) for url in found if url.path.endswith(f"/series{path}")]
    return [(int(q["from_ms"][0]), int(q["to_ms"][0]), int(q["points"][0])) for q in queries]


def near(value: float, wanted: float, slack: float) -> bool:
    return abs(value - wanted) <= slack


# A hand


async def test_a_drag_zooms_and_the_address_keeps_it(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    async with chromium.page() as page:
        await page.open(f"{device_url(SENSOR)}?range=24h")
        await drawn(page)
        before = await page.text(f"{CHART} [data-readout]")
        await drag(page, CHART, 0.25, 0.3)
        begin, end = await until_span(page)
        now, day = wall_ms(), 24 * HOUR_MS
        # The device was first seen a moment ago, so all there is lies in the window of a day.
        assert near((end - begin) / day, 0.05, 0.01) or end - begin < day
        assert begin < now
        await page.until("!document.querySelector('.ranges [aria-current]')")
        await page.until_text("[data-span]", "\u2013")
        # Finer samples were asked for, about the span in view.
        await page.until_text(f"{CHART} [data-readout]", "Low")
        from_ms, to_ms, _points = asked(page, TEMPERATURE)[-1]
        assert from_ms <= begin
        assert to_ms >= end
        assert to_ms - from_ms <= 2.1 * (end - begin)

        await page.open(await page.evaluate("location.href"))
        await drawn(page)
        assert await span(page) == (begin, end)

        await page.click('[data-act="reset"]')
        await page.until("!new URLSearchParams(location.search).has('from')")
        await page.until("document.querySelector('[data-range=\"24h\"][aria-current]')")
        await page.until_text(f"{CHART} [data-readout]", before)


async def test_a_double_click_resets_and_shift_moves(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    now = wall_ms()
    await rover([record(TEMPERATURE, 20.0 + n % 7, DataType.FLOAT, now - n * HOUR_MS) for n in range(400)])
    async with chromium.page() as page:
        await page.open(f"{device_url(ROVER)}?range=7d")
        await drawn(page)
        await drag(page, CHART, 0.5, 0.75)
        begin, end = await until_span(page)
        assert near((end - begin) / (7 * DAY_MS), 0.25, 0.02)
        await drag(page, CHART, 0.4, 0.9, modifiers=8)
        await page.until(f"!location.search.includes('from={begin}')")
        moved = await until_span(page)
        assert moved[1] - moved[0] == pytest.approx(end - begin, abs=2)
        assert near((begin - moved[0]) / (end - begin), 0.5, 0.05)
        left, top, width, height = await over(page, CHART)
        for clicks in (1, 2):
            for kind in ("mousePressed", "mouseReleased"):
                await mouse(page, kind, left + width / 2, top + height / 2, clicks)
        await page.until("!new URLSearchParams(location.search).has('from')")


async def test_two_fingers_zoom_about_what_they_hold(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    now = wall_ms()
    await rover([record(TEMPERATURE, 20.0 + n % 7, DataType.FLOAT, now - n * HOUR_MS) for n in range(200)])
    async with chromium.page(390, 844) as page:
        await page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
        await page.open(f"{device_url(ROVER)}?range=7d")
        await drawn(page)
        left, top, width, height = await over(page, CHART)
        y = top + height / 2

        async def touch(kind: str, *shares: float) -> None:
            points = [{"x": left + share * width, "y": y, "id": at} for at, share in enumerate(shares)]
            await page.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

        await touch("touchStart", 0.45)
        await touch("touchStart", 0.45, 0.55)
        for apart in (0.1, 0.15, 0.2):
            await touch("touchMove", 0.5 - apart, 0.5 + apart)
        await touch("touchEnd")
        wide = "['to', 'from'].map((name) => new URLSearchParams(location.search).get(name))"
        await page.until(f"{wide}.reduce((to, from) => Math.abs((to - from) / {7 * DAY_MS} - 0.25) < 0.03)")
        begin, end = await until_span(page)
        assert near((begin + end) / 2, now - 3.5 * DAY_MS, 0.2 * DAY_MS)
        # One finger shows what lies under it.
        await touch("touchStart", 0.5)
        await touch("touchEnd")
        await page.until_text(f"{CHART} [data-readout]", "\u00b7 2")


async def test_from_a_year_to_a_minute(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    """Samples a second apart, in a year of others: zoomed in far enough, each of them is there."""
    now = wall_ms()
    old = [record(TEMPERATURE, 15.0, DataType.FLOAT, now - n * DAY_MS) for n in range(1, 360)]
    middle = now - 180 * DAY_MS + 6 * HOUR_MS
    second = [record(TEMPERATURE, 30.0 + n % 2, DataType.FLOAT, middle + n * 1000) for n in range(120)]
    await rover([*old, *second])
    async with chromium.page() as page:
        await page.open(f"{device_url(ROVER)}?range=1y")
        await drawn(page)
        begin, end = middle - 2 * HOUR_MS, middle + 2 * HOUR_MS
        await page.open(f"{device_url(ROVER)}?range=1y&from={begin}&to={end}")
        await drawn(page)
        while end - begin > 60_000:
            await page.evaluate(f"document.querySelector('{CHART} .stepper').focus()")
            await press(page, "+")
            await page.until(f"!location.search.includes('from={begin}&')")
            begin, end = await until_span(page)
        await page.until_text(f"{CHART} [data-readout]", "Low 30.00")
        from_ms, to_ms, points = asked(page, TEMPERATURE)[-1]
        assert (to_ms - from_ms) / points < 1000
        await press(page, "End")
        told = await page.evaluate(
            f"document.querySelector('{CHART} .stepper').getAttribute('aria-valuetext')"
        )
        assert "(" not in told  # one sample, no spread
        assert ("30.00" in told) or ("31.00" in told)


# A keyboard


async def test_keys_go_through_the_values_and_tell_them(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    now = wall_ms()
    rows = [record(TEMPERATURE, float(n), DataType.FLOAT, now - (10 - n) * HOUR_MS) for n in range(1, 11)]
    await rover([*rows, record("/3303/0/5701", "Cel", DataType.STRING)])
    async with chromium.page() as page:
        await page.open(f"{device_url(ROVER)}?range=24h")
        await drawn(page)
        await page.evaluate(f"document.querySelector('{CHART} .stepper').focus()")
        stepper = f"document.querySelector('{CHART} .stepper')"

        async def told() -> str:
            return str(await page.evaluate(f"{stepper}.getAttribute('aria-valuetext')"))

        for key, value in [
            ("ArrowLeft", "10.00"),
            ("ArrowLeft", "9.00"),
            ("Home", "1.00"),
            ("ArrowRight", "2.00"),
            ("End", "10.00"),
        ]:
            await press(page, key)
            assert f"\u00b7 {value} °C" in await told(), key
            await page.until_text(f"{CHART} [data-readout]", f"{value} °C")
        assert await page.evaluate(f"{stepper}.getAttribute('aria-valuemax')") == "10"
        await press(page, "-")
        wide = await until_span(page)
        await press(page, "ArrowLeft", shift=True)
        await page.until(f"!location.search.includes('from={wide[0]}&')")
        await page.until_text("[data-span-told]", "\u2013")
        await press(page, "0")
        await page.until("!new URLSearchParams(location.search).has('from')")
        await page.evaluate("document.activeElement.blur()")
        await page.until_text(f"{CHART} [data-readout]", "Mean 5.50")


async def test_buttons_do_what_gestures_do(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    now = wall_ms()
    await rover([record(TEMPERATURE, 20.0, DataType.FLOAT, now - n * HOUR_MS) for n in range(100)])
    async with chromium.page() as page:
        await page.open(f"{device_url(ROVER)}?range=24h")
        await drawn(page)
        await page.click('[data-act="in"]')
        begin, end = await until_span(page)
        assert near((end - begin) / DAY_MS, 0.5, 0.01)
        await page.click('[data-act="earlier"]')
        await page.until(f"!location.search.includes('from={begin}&')")
        earlier, _end = await until_span(page)
        assert near((begin - earlier) / DAY_MS, 0.25, 0.01)
        await page.click('[data-range="7d"]')
        await page.until("location.search === '?range=7d'")
        # Nothing is beyond now.
        await page.click('[data-act="later"]')
        _begin, end = await until_span(page)
        assert near(end, wall_ms(), 60_000)


# What is drawn


async def test_a_series_puts_samples_where_they_belong(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        result = await in_page(
            page,
            house,
            "series.js",
            """({Series}) => {
              const series = new Series();
              const times = [0, 1000, 2000, 3000, 20000, 21000];
              series.load({data_type: "float", step_ms: 1000, from_ms: 0, to_ms: 22000, time_ms: [...times],
                min: times.map(() => 1), mean: times.map(() => 1), max: times.map(() => 1),
                count: times.map(() => 1)});
              const repeated = series.add(21000, 1);   // there already
              series.add(21500, 3);                    // into the last bucket
              series.add(22000, 5);                    // a new one
              series.add(22000, 7);                    // another value of the same moment
              series.add(1500, 9);                     // late, into an old one
              series.add(23000, NaN);
              series.add(-1, 9);                       // before what was asked for
              const [x, mean, max, min] = series.columns(0, 22000);
              return {repeated, x, mean, max, min, all: series.summary(), banded: series.banded,
                part: series.summary(2000, 3000), none: series.empty(5000, 9000), near: series.nearest(2400)};
            }""",
        )
    assert result["repeated"] is False
    assert result["x"] == [0, 1, 2, 3, 3.001, 20, 21, 22]
    assert result["mean"] == [1, 5, 1, 1, None, 1, 2, 6]
    assert result["max"] == [1, 9, 1, 1, None, 1, 3, 7]
    assert result["min"] == [1, 1, 1, 1, None, 1, 1, 5]
    assert result["banded"] is True
    assert result["all"]["count"] == 10
    assert result["all"]["mean"] == pytest.approx(30 / 10)
    assert result["part"] == {"low": 1, "high": 1, "mean": 1, "count": 2}
    assert result["none"] is True
    assert result["near"] == 2


async def test_a_span_that_ended_takes_no_live_samples(chromium: Chromium, house: House) -> None:
    async with chromium.page() as page:
        result = await in_page(
            page,
            house,
            "series.js",
            """({Series}) => {
              const series = new Series();
              series.load({data_type: "float", step_ms: 10, from_ms: 0, to_ms: 100, time_ms: [5], min: [1],
                mean: [1], max: [1], count: [1]}, {open: false});
              return [series.add(200, 2), series.add(99, 2), series.times];
            }""",
        )
    assert result == [False, True, [5, 99]]


async def test_a_state_is_held_from_before_the_window_to_now(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    """A switch that was thrown three days ago is on for all of the last hour."""
    await rover([record("/3342/0/5500", True, DataType.BOOLEAN, wall_ms() - 3 * DAY_MS)])
    switch = '[data-chart="/3342/0/5500"]'
    async with chromium.page() as page:
        await page.open(f"{device_url(ROVER)}?range=1h")
        await page.until(f"document.querySelector('{switch} canvas')")
        await page.until_text(f"{switch} [data-readout]", "0 samples")
        await page.evaluate(f"document.querySelector('{switch} .stepper').focus()")
        await press(page, "Home")
        stepper = f"document.querySelector('{switch} .stepper').getAttribute('aria-valuetext')"
        assert (await page.evaluate(stepper)).endswith("\u00b7 On")
        house.tell(ROVER, "/3342/0/5500", False, "boolean")
        await page.evaluate("document.activeElement.blur()")
        await page.until_text(f"{switch} [data-readout]", "1 sample")
        await page.evaluate(f"document.querySelector('{switch} .stepper').focus()")
        await press(page, "End")
        assert (await page.evaluate(stepper)).endswith("\u00b7 Off")


async def test_a_live_chart_is_drawn_a_few_times_a_second_and_a_hidden_one_not(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    async with chromium.page() as page:
        await page.open(f"{device_url(SLEEPER)}?range=1h")
        await drawn(page)
        await page.evaluate(
            """(() => {
              const clear = CanvasRenderingContext2D.prototype.clearRect;
              window.drawings = 0;
              window.begun = performance.now();
              CanvasRenderingContext2D.prototype.clearRect = function (...rest) {
                if (this.canvas.isConnected) window.drawings += 1;
                return clear.apply(this, rest);
              };
            })()"""
        )
        for number in range(60):
            house.tell(SLEEPER, TEMPERATURE, 100.0 + number)
            await page.evaluate("new Promise(requestAnimationFrame)")
        await page.until_text(f"{CHART} [data-readout]", "High 159.0")
        seen, lasted = await page.evaluate("[window.drawings, performance.now() - window.begun]")
        assert 1 <= seen <= lasted / 250 + 1
        # Far below, nobody sees it.
        await page.evaluate("document.querySelector('[data-region=tree]').style.marginTop = '4000px'")
        await page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        await page.evaluate("new Promise((seen) => requestAnimationFrame(() => requestAnimationFrame(seen)))")
        await page.evaluate("window.drawings = 0")
        house.tell(SLEEPER, TEMPERATURE, 500.0)
        await page.until_text(f"{CHART} .figure", "500.0")
        await page.evaluate("new Promise((done) => setTimeout(done, 400))")
        assert await page.evaluate("window.drawings") == 0
        await page.evaluate("window.scrollTo(0, 0)")
        await page.until_text(f"{CHART} [data-readout]", "High 500.0")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_words_of_an_axis_leave_room_on_a_phone(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw, scheme: str
) -> None:
    now = wall_ms()
    await rover([record("/5/0/5", n % 12, DataType.INTEGER, now - n * HOUR_MS) for n in range(24)])
    chart = '[data-chart="/5/0/5"]'
    async with chromium.page(390, 844, scheme) as page:
        await page.open(f"{device_url(ROVER)}?range=24h")
        await page.click("#more-charts > summary")
        await page.until(f"document.querySelector('{chart} .u-over')")
        _left, _top, width, _height = await over(page, chart)
        assert width > 200
        await page.evaluate(f"document.querySelector('{chart} .stepper').focus()")
        await press(page, "End")
        await page.until_text(f"{chart} [data-readout]", "None yet")  # in full where there is room


# Downloads


async def test_a_chart_is_had_as_csv_of_the_span_in_view(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    now = wall_ms()
    await rover([record(TEMPERATURE, float(n), DataType.FLOAT, now - n * HOUR_MS) for n in range(1, 49)])
    async with chromium.page() as page:
        begin, end = now - 10 * HOUR_MS - 1000, now - 5 * HOUR_MS
        await page.open(f"{device_url(ROVER)}?from={begin}&to={end}")
        await drawn(page)
        link = await page.evaluate(f"document.querySelector('{CHART} [data-csv]').href")
        table = await page.evaluate(f"fetch({json.dumps(link)}).then((answer) => answer.text())")
        values = [line.rsplit(",", 1)[1] for line in str(table).splitlines()[1:]]
        assert [float(value) for value in values] == [10.0, 9.0, 8.0, 7.0, 6.0]
        shown = await page.evaluate(f"document.querySelector('{CHART} [data-compare-link]').href")
        assert f"from={begin}&to={end}" in shown


SAVED = """(() => {
  const make = URL.createObjectURL;
  URL.createObjectURL = (blob) => { window.saved = blob; return make(blob); };
  HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };
})()"""
# The size of the saved picture, its corner, and how many colours it has.
PICTURE = """(async () => {
  const bitmap = await createImageBitmap(window.saved);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const ctx = canvas.getContext("2d");
  ctx.drawImage(bitmap, 0, 0);
  const {data} = ctx.getImageData(0, 0, bitmap.width, bitmap.height);
  const colours = new Set();
  for (let at = 0; at < data.length; at += 4) colours.add(data.slice(at, at + 4).join());
  return [bitmap.width, bitmap.height, [...data.slice(0, 4)], colours.size, window.saved.type];
})()"""


@pytest.mark.parametrize(("scheme", "card"), [("light", [255, 255, 255, 255]), ("dark", [20, 31, 29, 255])])
async def test_a_chart_is_had_as_a_picture_in_the_colours_of_the_page(
    chromium: Chromium, house: House, device_url: DeviceUrl, scheme: str, card: list[int]
) -> None:
    async with chromium.page(scheme=scheme) as page:
        await page.open(device_url(SENSOR))
        await drawn(page)
        await page.evaluate(SAVED)
        await page.click(f"{CHART} [data-png]")
        await page.until("window.savedAs")
        width, height, corner, colours, kind = await page.evaluate(PICTURE)
        plot = await page.evaluate(f"document.querySelector('{CHART} canvas').width")
        assert width > plot
        assert height > 200
        assert corner == card
        assert colours > 10
        assert kind == "image/png"
        assert await page.evaluate("window.savedAs") == "flownexus-urn_imei_352656100123456-3303_0_5700.png"


# Where a device was


async def test_a_track_is_drawn_and_tells_its_places(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    now = wall_ms()
    turn = [(n, now - (59 - n) * 50_000 - 300_000) for n in range(60)]
    north = [record("/6/0/0", 52.5 + 0.01 * math.sin(n / 10), DataType.FLOAT, t) for n, t in turn]
    east = [record("/6/0/1", 13.4 + 0.01 * math.cos(n / 10), DataType.FLOAT, t) for n, t in turn]
    await rover([*north, *east])
    async with chromium.page() as page:
        await page.open(f"{device_url(ROVER)}?range=1h")
        await page.until_text(f"{TRACK} [data-readout]", "60 places")
        assert " km" in await page.text(f"{TRACK} [data-readout]")
        told = await page.evaluate(f"document.querySelector('{TRACK} [role=img]').getAttribute('aria-label')")
        assert "Newest:" in told
        assert f"{52.5 + 0.01 * math.sin(5.9):.5f}" in told
        await page.evaluate(f"document.querySelector('{TRACK} .stepper').focus()")
        await press(page, "Home")
        await page.until_text(f"{TRACK} [data-readout]", "52.50000°, 13.41000°")
        await page.evaluate("document.activeElement.blur()")
        house.tell(ROVER, "/6/0/0", 52.6)
        house.tell(ROVER, "/6/0/1", 13.5)
        await page.until_text(f"{TRACK} [data-readout]", "61 places")
        # The two curves are there for who wants them.
        await page.click("#more-charts > summary")
        await page.until("document.querySelector('[data-chart=\"/6/0/0\"] .u-over')")


async def test_coordinates_told_as_text_make_a_track(
    chromium: Chromium, house: House, device_url: DeviceUrl, rover: Draw
) -> None:
    now = wall_ms()
    places = [("48.1", "11.5"), ("48.2", "11.6"), ("nowhere", "11.7")]
    rows = [
        record(f"/3336/0/{resource}", text, DataType.STRING, now - (10 - n) * 60_000)
        for n, place in enumerate(places)
        for resource, text in zip((5514, 5515), place, strict=True)
    ]
    await rover(rows)
    async with chromium.page() as page:
        await page.open(device_url(ROVER))
        await page.until_text('[data-track="/3336/0"] [data-readout]', "2 places")


async def test_a_way_is_measured_as_on_the_ground(chromium: Chromium, house: House) -> None:
    """A degree of latitude is 111.2 km, one of longitude at 60° half of that; the date line is no wall, and
    noise is no way."""
    async with chromium.page() as page:
        result = await in_page(
            page,
            house,
            "way.js",
            """({projected, lengthOf, roundLength, lengthText}) => {
              const way = (...places) => lengthOf(projected(places.map(([latitude, longitude]) =>
                ({latitude, longitude}))));
              const dot = (text) => text;
              return [way([50, 10], [51, 10]), way([60, 10], [60, 11]), way([0, 179.9], [0, -179.9]),
                way([1, 1], [1, 1.00005], [1, 1], [1.00005, 1]), [999, 1000, 2600, 0.7, 50].map(roundLength),
                [0, 0.2, 850, 1500, 20000].map((length) => lengthText(length, dot))];
            }""",
        )
    degree = 6_371_008.8 * math.pi / 180
    assert result[0] == pytest.approx(degree)
    assert result[1] == pytest.approx(degree / 2)
    assert result[2] == pytest.approx(0.2 * degree)
    assert result[3] == 0
    assert result[4] == pytest.approx([500, 1000, 2000, 0.5, 50])
    assert result[5] == ["0 m", "20 cm", "850 m", "1.5 km", "20 km"]


async def in_page(page: Page, house: House, module: str, function: str) -> Any:
    """What a function makes of a script of the box."""
    await page.open(f"{house.url}/")
    script = await page.evaluate("document.querySelector('script[type=module]').src")
    address = script.rpartition("/")[0] + f"/{module}"
    return await page.evaluate(f"import({json.dumps(address)}).then({function})")
