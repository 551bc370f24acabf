"""A person asks devices in a browser: in the tree, in place; and sees what waits, ends, and was asked."""

import json
from collections.abc import Callable

import pytest

from flownexus_appliance.db.operations import EndpointOperation, Outcome
from flownexus_appliance.http import wording
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType
from flownexus_appliance.system.clock import wall_ms
from tests.unit.http.house import (
    QUIET,
    SENSOR,
    SLEEPER,
    STRANGE,
    FakeOperations,
    FakeReporting,
    fill,
    record,
)

from .chromium import Chromium, Page
from .conftest import House

DeviceUrl = Callable[[str], str]
TEMPERATURE = "/3303/0/5700"
TREE = '[data-region="tree"]'
TIMELINE = '[data-region="timeline"]'
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def operations_of(house: House) -> FakeOperations:
    assert isinstance(house.sources.operations, FakeOperations)
    house.sources.operations.now_ms = wall_ms()
    return house.sources.operations


def row(path: str) -> str:
    return f'{TREE} [data-row="{path}"]'


def button(path: str, kind: str) -> str:
    return f'{row(path)} button[value="{kind} {path}"]'


def link(path: str, which: str) -> str:
    return f'{row(path)} a[data-open="{which}"]'


def told(path: str) -> str:
    """What is told of a path: below its row in a table, beside it above one."""
    return f"{row(path)} .told"


def announce(house: House, one: EndpointOperation) -> None:
    """The stream tells how an operation stands."""
    house.bus.publish(
        "operation",
        {
            "endpoint": one.endpoint,
            "id": one.id,
            "operation": one.operation.kind.value,
            "paths": [str(path) for path in one.operation.paths],
            "status": one.status.value,
            "attempts": one.attempts,
            "code": one.outcome.code,
            "message": one.outcome.message,
            "time_ms": wall_ms(),
        },
    )


async def end(house: House, number: int, status: Status, outcome: Outcome) -> None:
    announce(house, await operations_of(house).end(number, status, outcome))


async def opened(page: Page, url: str) -> None:
    await page.open(url)
    await page.until_text("#live", "Live")
    # The housekeeping of the protocol is folded at first.
    await page.evaluate("document.querySelectorAll('details.object').forEach((one) => { one.open = true; })")


def pardon(page: Page, status: int) -> None:
    """A browser reports every answer that is an error; those that are meant are none to us."""
    page.complaints = [text for text in page.complaints if f"status of {status}" not in text]


async def test_a_read_is_answered_in_its_row(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    async with chromium.page() as page:
        await opened(page, device_url(SENSOR))
        assert "not read yet" in await page.text(row("/3/0/2"))
        await page.click(button("/3/0/2", "read"))
        await page.until_text(told("/3/0/2"), "Waiting for the device")
        house.tell(SENSOR, "/3/0/2", 4711, "integer")
        await page.until_text(f"{row('/3/0/2')} .value", "4711")
        await page.until_text(f"{row('/3/0/2')} .when", "just now")
        answer = Outcome("2.05", (record("/3/0/2", "4711", DataType.STRING),))
        await end(house, 1, Status.CONFIRMED, answer)
        await page.until_text(told("/3/0/2"), "Read of /3/0/2 confirmed: 4711")
        await page.until_text(TIMELINE, "Answer: 4711")
        assert await page.evaluate("location.pathname + location.search") == device_url(SENSOR).removeprefix(
            house.url
        )


async def test_a_refusal_is_told_in_words(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    operations_of(house).ends = Status.FAILED, Outcome("4.04", message="<gone>")
    async with chromium.page() as page:
        await opened(page, device_url(STRANGE))
        await page.click(button("/3303/1", "read"))
        beside = '.level:has([data-row="/3303/1"]) .told'
        await page.until_text(beside, "failed: 4.04 Not Found: the device has no such object")
        await page.until_text(beside, "The device says: <gone>")


async def test_a_sleeper_is_waited_for_and_looked_at_again(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    house.fleet.states[SLEEPER] = "sleeping"
    async with chromium.page() as page:
        await opened(page, device_url(SLEEPER))
        assert "It sleeps: what you ask waits until it wakes." in await page.text(TREE)
        await page.click(button("/3/0/9", "read"))
        await page.until_text(told("/3/0/9"), "waits until sleeper wakes")
        await page.until_text(TIMELINE, "Waits until sleeper wakes")
        answer = Outcome("2.05", (record("/3/0/9", 63, DataType.INTEGER),))
        await end(house, 1, Status.CONFIRMED, answer)
        await page.until_text(told("/3/0/9"), "confirmed: 63")


async def test_what_ended_before_the_answer_came_is_told(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    """The stream may be faster than the answer to the form."""
    async with chromium.page() as page:
        await opened(page, device_url(SENSOR))
        # The form's answer says that it waits, whatever happens meanwhile.
        await page.evaluate(
            """(() => {
              const before = window.fetch;
              window.fetch = async (url, options) => {
                const answer = await before(url, options);
                if (options?.method !== "POST") return answer;
                const text = await answer.text();
                await new Promise((resolve) => (window.goOn = resolve));
                return new Response(text.replaceAll("CONFIRMED", "QUEUED"));
              };
            })()"""
        )
        operations = operations_of(house)
        operations.ends = Status.CONFIRMED, Outcome("2.05", (record("/3/0/9", 63, DataType.INTEGER),))
        await page.click(button("/3/0/9", "read"))
        await page.until("window.goOn")
        announce(house, operations.rows[1])
        await page.until_text(TIMELINE, "Answer: 63")
        await page.evaluate("goOn()")
        await page.until("document.querySelector('.told[data-status=CONFIRMED]')")
        assert "confirmed: 63" in await page.text(told("/3/0/9"))


async def test_a_value_is_written_in_place(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    operations = operations_of(house)
    operations.ends = Status.CONFIRMED, Outcome("2.04")
    async with chromium.page() as page:
        await opened(page, device_url(SENSOR))
        await page.click(link("/1/0/1", "write"))
        await page.until("document.activeElement.id === 'value'")
        assert await page.evaluate("document.getElementById('value').type") == "number"
        # What the browser lets through the box still refuses.
        await page.evaluate("document.getElementById('value').type = 'text'")
        await page.type("#value", "soon")
        await page.click('[data-panel="write"] button[type=submit]')
        await page.until_text("#value-wrong", "Not a whole number: soon")
        assert await page.evaluate("document.activeElement.id") == "value"
        assert operations.asked == []
        pardon(page, 400)

        await page.evaluate("document.getElementById('value').value = ''")
        await page.type("#value", "600")
        await page.click('[data-panel="write"] button[type=submit]')
        await page.until_text(told("/1/0/1"), "Write to /1/0/1 confirmed.")
        assert await page.evaluate("document.querySelector('[data-panel]')") is None
        assert await page.evaluate("document.activeElement.dataset.open") == "write"
        assert operations.asked[0].operation.records == (record("/1/0/1", 600, DataType.INTEGER),)


async def test_a_time_is_written_in_the_browsers_zone(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    operations = operations_of(house)
    async with chromium.page() as page:
        await page.call("Emulation.setTimezoneOverride", timezoneId="Asia/Kolkata")
        await opened(page, device_url(SENSOR))
        await page.click(link("/3/0/13", "write"))
        await page.until("document.getElementById('value')")
        # 10:06:40 UTC, five and a half hours on.
        assert await page.evaluate("document.getElementById('value').value") == "2026-11-18T15:36:40"
        await page.until_text("#value-hint", "In this browser's time zone.")
        await page.evaluate(
            """(() => {
              const input = document.getElementById("value");
              input.value = "2026-11-18T15:36:50";
              input.dispatchEvent(new Event("input", {bubbles: true}));
            })()"""
        )
        await page.click('[data-panel="write"] button[type=submit]')
        await page.until_text(told("/3/0/13"), "Write to /3/0/13")
    assert operations.asked[0].operation.records[0].value == 1_794_996_410


async def test_observing_is_begun_and_shown(chromium: Chromium, house: House, device_url: DeviceUrl) -> None:
    operations = operations_of(house)
    operations.ends = Status.CONFIRMED, Outcome("2.05")
    path = Path.parse(TEMPERATURE)
    async with chromium.page() as page:
        await opened(page, device_url(SENSOR))
        await page.click(link(TEMPERATURE, "observe"))
        await page.until("document.getElementById('pmin')")
        await page.type("#pmin", "10")
        await page.type("#pmax", "5")
        observe = f'[data-panel="observe"] button[value="observe {TEMPERATURE}"]'
        await page.click(observe)
        await page.until_text("#pmax-wrong", "Pmax is below pmin")
        pardon(page, 400)
        await page.evaluate("document.getElementById('pmax').value = '60'")
        house.fleet.reports[SENSOR] = [FakeReporting((path,))]
        await page.click(observe)
        await page.until_text(link(TEMPERATURE, "observe"), "Observed")
        await page.until_text(told(TEMPERATURE), "Write-Attributes of /3303/0/5700 confirmed.")
        await page.until_text(told(TEMPERATURE), "Observation of /3303/0/5700 confirmed.")
        house.fleet.set_attributes[SENSOR] = {path: {"pmin": "10", "pmax": "60"}}
        state = {"endpoint": SENSOR, "paths": [TEMPERATURE], "state": "active"}
        house.bus.publish("observation", state)
        await page.until_text(row(TEMPERATURE), "pmin 10, pmax 60")
    assert [one.operation.kind for one in operations.asked] == [Kind.WRITE_ATTRIBUTES, Kind.OBSERVE]


async def test_a_reboot_is_confirmed_in_place(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    operations = operations_of(house)
    operations.ends = Status.CONFIRMED, Outcome("2.04")
    async with chromium.page() as page:
        await opened(page, device_url(SENSOR))
        await page.click(link("/3/0/4", "execute"))
        await page.until_text('[data-panel="execute"]', "The device restarts.")
        await page.evaluate(
            """document.getElementById("arguments").dispatchEvent(
              new KeyboardEvent("keydown", {key: "Escape", bubbles: true}))"""
        )
        assert await page.evaluate("document.querySelector('[data-panel]')") is None
        assert operations.asked == []
        await page.click(link("/3/0/4", "execute"))
        await page.until("document.getElementById('arguments')")
        await page.click('[data-panel="execute"] button[type=submit]')
        await page.until_text(told("/3/0/4"), "Execute of /3/0/4 confirmed.")
    assert [one.operation.kind for one in operations.asked] == [Kind.EXECUTE]


async def test_what_is_open_and_told_stays_when_the_page_moves(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    async with chromium.page() as page:
        await opened(page, device_url(SENSOR))
        await page.click("#object-3 > summary")
        await page.click("#object-3342 > summary")
        folds = "[...document.querySelectorAll('details.object')].map((one) => one.open)"
        before = await page.evaluate(folds)
        await page.click(button(TEMPERATURE, "read"))
        await page.until_text(told(TEMPERATURE), "waits for its turn")
        await page.click(link("/1/0/1", "write"))
        await page.until("document.activeElement.id === 'value'")
        await page.type("#value", "12")
        reading = record("/3304/0/5700", 55.5, DataType.FLOAT)
        await fill(house.database, house.sources.models.set, {SENSOR: (reading,)})
        house.tell(SENSOR, "/3304/0/5700", 55.5)  # a resource never heard of: the tree is read anew
        await page.until(f"document.querySelector('{row('/3304/0/5700')}')")
        assert await page.evaluate("document.activeElement.id") == "value"
        assert await page.evaluate("document.activeElement.value") == "12"
        assert "waits for its turn" in await page.text(told(TEMPERATURE))
        now = await page.evaluate(folds)
        assert [*now[:2], *now[-1:]] == [*before[:2], *before[-1:]]


async def test_the_timeline_cancels_and_repeats(
    chromium: Chromium, house: House, device_url: DeviceUrl
) -> None:
    operations = operations_of(house)
    async with chromium.page() as page:
        await opened(page, device_url(SENSOR))
        assert "Nothing was asked of it yet." in await page.text(TIMELINE)
        await page.click(button("/3/0/9", "read"))
        await page.until_text(told("/3/0/9"), "waits for its turn")
        announce(house, operations.rows[1])
        await page.until_text(TIMELINE, "Waiting")
        await page.click(f'{TIMELINE} form[action$="/cancel"] button')
        await page.until_text(TIMELINE, "Cancelled")
        assert operations.rows[1].status is Status.CANCELLED
        await page.click(f'{TIMELINE} form[action$="/retry"] button')
        await page.until(f"document.querySelectorAll('{TIMELINE} [data-operation]').length === 2")
        assert operations.rows[2].retry_of == 1


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_device_is_asked_with_and_without_scripts(
    chromium: Chromium, house: House, device_url: DeviceUrl, scripts: bool
) -> None:
    operations = operations_of(house)
    operations.ends = Status.CONFIRMED, Outcome("2.04")
    async with chromium.page(390, 844) as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        await page.open(f"{device_url(STRANGE)}/resources/1/0/1")
        await page.evaluate("document.getElementById('value').focus()")
        await page.type("#value", "300")
        await page.follow('[data-panel="write"] button[type=submit]')
        assert "Write to /1/0/1 confirmed." in await page.text('[data-region="told"]')
        await page.follow(".trail a")
        assert await page.text("h1") == STRANGE
        if scripts:
            return
        await page.follow(button(TEMPERATURE, "read"))
        assert "Read of /3303/0/5700 confirmed." in await page.text('[data-region="told"]')
        await page.follow(link("/3/0/4", "execute"))
        assert "The device restarts." in await page.text("#execute")
    assert [one.operation.kind for one in operations.asked] == [Kind.WRITE, Kind.READ]


async def test_the_list_lives(chromium: Chromium, house: House) -> None:
    operations = operations_of(house)
    async with chromium.page() as page:
        await opened(page, f"{house.url}/operations")
        assert "Nothing was asked of a device yet" in await page.text("main")
        read = Operation(Kind.READ, (Path.parse("/3/0/9"),))
        announce(house, await operations.ask(QUIET, read, "console"))
        await page.until_text('[data-operation="1"]', "Waits until quiet registers.")
        await page.until_text('[data-region="groups"]', "Waiting 1")
        await end(house, 1, Status.CONFIRMED, Outcome("2.05", (record("/3/0/9", 5, DataType.INTEGER),)))
        await page.until_text('[data-operation="1"]', "Answer: 5")
        await page.click('[data-operation="1"] form button')
        await page.until_text('[data-operation="2"]', "Waiting")
        await page.follow('[data-operation="2"] .operation-title a')
        await page.until_text("#live", "Live")
        assert "Repeats operation 1" in await page.text("main")
        await end(house, 2, Status.FAILED, Outcome("5.00"))
        await page.until_text(
            "main", "failed: 5.00 Internal Server Error: something went wrong in the device."
        )
        await page.until_text(".attempts", "5.00 Internal Server Error")


async def test_a_filtered_list_finds(chromium: Chromium, house: House) -> None:
    operations = operations_of(house)
    for endpoint in (SENSOR, STRANGE):
        await operations.ask(endpoint, Operation(Kind.READ, (Path.parse("/3"),)), "web")
    async with chromium.page() as page:
        await page.open(f"{house.url}/operations")
        await page.type("#q", "kitchen")
        await page.follow(".filters button")
        assert await page.evaluate(
            "[...document.querySelectorAll('.endpoint')].map((e) => e.textContent)"
        ) == [STRANGE]
        await page.follow('.groups a[href*="FAILED"]')
        assert "No operation answers to that" in await page.text("main")
        assert await page.evaluate("document.getElementById('q').value") == "kitchen"


async def busy(house: House) -> None:
    """Operations of every kind and length."""
    operations = operations_of(house)
    operations.ends = Status.FAILED, Outcome("4.04", message="m" * 200, hint="h" * 100)
    await operations.ask(STRANGE, Operation(Kind.EXECUTE, (Path.parse("/3/0/4"),), arguments="0='x'"), "web")
    long = record("/3/0/14", "w" * 200, DataType.STRING)
    await operations.ask(STRANGE, Operation(Kind.WRITE, (long.path,), (long,)), "w" * 60)
    values = tuple(record(f"/3303/0/{number}", float(number), DataType.FLOAT) for number in range(5600, 5650))
    operations.ends = Status.CONFIRMED, Outcome("2.05", values)
    paths = tuple(Path((3303, number)) for number in range(20))
    await operations.ask(STRANGE, Operation(Kind.READ_COMPOSITE, paths), "web", checked=False)
    operations.ends = None
    await operations.ask(STRANGE, Operation(Kind.READ, (Path.parse("/3"),)), "web")
    house.fleet.reports[STRANGE] = [
        FakeReporting((Path.parse("/3/0/2"),), state="refused", asked_by="a" * 60),
        FakeReporting(paths, composite=True, state="waiting"),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (768, 1024), (1280, 900)])
async def test_pages_of_operations_fit_every_size(
    chromium: Chromium, house: House, device_url: DeviceUrl, width: int, height: int, scheme: str
) -> None:
    await busy(house)
    urls = [
        f"{house.url}/operations",
        f"{house.url}/operations?status=EXPIRED&q={'q' * 200}",
        *(f"{house.url}/operations/{number}" for number in range(1, 5)),
        f"{device_url(STRANGE)}?operation=1&operation=2",
        *(f"{device_url(STRANGE)}/resources{path}" for path in (TEMPERATURE, "/3303", "/3/0/4", "/3/0/13")),
    ]
    async with chromium.page(width, height, scheme) as page:
        for url in urls:
            await page.open(url)
            await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            assert await page.evaluate(OVERFLOW) <= 0, url
        await opened(page, device_url(STRANGE))
        await page.click(link("/3/0/14", "write"))
        await page.until("document.getElementById('value')")
        await page.click(button("/3/0/2", "read"))
        await page.until_text(told("/3/0/2"), "waits for its turn")
        assert await page.evaluate(OVERFLOW) <= 0
        # A finger finds every button.
        sizes = await page.evaluate(
            "[...document.querySelectorAll('.act')].filter((one) => one.checkVisibility())"
            ".map((one) => one.getBoundingClientRect()).map((box) => [box.width, box.height])"
        )
        assert sizes
        assert min(min(size) for size in sizes) >= 28


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("width", [1024, 1100, 1440])
async def test_a_value_has_room_beside_its_buttons(
    chromium: Chromium, house: House, device_url: DeviceUrl, width: int, language: str
) -> None:
    async with chromium.page(width, 900) as page:
        await page.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": language})
        for url in (device_url(SENSOR), f"{device_url(SENSOR)}/resources/3/0"):
            await page.open(url)
            await page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            value = "document.querySelector('[data-row=\"/3/0/0\"] td').getBoundingClientRect()"
            assert await page.evaluate(f"{value}.width") > 90, url


async def test_every_navigation_fits_a_phone(chromium: Chromium, house: House) -> None:
    async with chromium.page(360, 740) as page:
        for path in ("/", "/operations", "/certificates"):
            await page.open(house.url + path)
            box = "document.querySelector('.places')"
            assert await page.evaluate(f"{box}.scrollWidth - {box}.clientWidth") <= 0, path
            names = await page.evaluate(f"[...{box}.children].map((one) => one.textContent.trim())")
            assert names == ["Devices", "Compare", "Firmware", "Operations", "System"]


async def test_statuses_are_the_same_words_everywhere(chromium: Chromium, house: House) -> None:
    operations = operations_of(house)
    for status in Status:
        operations.ends = None if status is Status.QUEUED else (status, Outcome())
        await operations.ask(SENSOR, Operation(Kind.READ, (Path.parse("/3"),)), "web")
    async with chromium.page() as page:
        await page.open(f"{house.url}/operations")
        words = json.loads(
            await page.evaluate(
                "JSON.stringify(Object.fromEntries([...document.querySelectorAll('.tag[data-status]')]"
                ".map((one) => [one.dataset.status, one.textContent])))"
            )
        )
    assert words == dict(wording.OPERATION_STATUS)
