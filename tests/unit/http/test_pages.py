"""The pages as they leave the box: readable without a script, right in any language of names."""

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from yarl import URL

from flownexus_appliance.http import pages
from flownexus_appliance.http.ports import Parts

from .conftest import Client
from .house import QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(html)
        assert not self._open, f"left open: {self._open}"

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self._texts.append(data + " ")

    def all(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


async def page(client: Client, path: str, status: int = 200) -> Page:
    async with client.get(URL(path, encoded=True), headers={"Accept": "text/html"}) as response:
        text = await response.text()
        assert response.status == status, text
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-cache"
        assert text.lstrip().lower().startswith("<!doctype html>")
        return Page(text)


def device(endpoint: str) -> str:
    return f"/devices/{quote(endpoint, safe='')}"


PAGES = ["/", "/?state=sleeping", "/?q=nothing", device(SENSOR), device(STRANGE), device(QUIET), "/nothing"]


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_obeys_its_own_policy(client: Client, path: str) -> None:
    """No inline script or style and nothing from elsewhere; names and ids are sound."""
    found = await page(client, path, 404 if path == "/nothing" else 200)
    ids = found.all("id")
    assert len(ids) == len(set(ids))
    for tag, attributes in found.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert attributes["src"].startswith("/static/")
        for name in ("src", "href", "action"):
            assert re.match(r"[/#?]", attributes.get(name, "/")), attributes
        if tag in ("input", "button", "a") and attributes.get("type") != "hidden":
            assert tag != "input" or attributes["id"] in found.all("for")
    assert [tag for tag, _ in found.tags].count("h1") == 1


async def test_the_overview_reads_without_a_script(client: Client) -> None:
    found = await page(client, "/")
    for words in (
        "4 All",
        "2 Online",
        "1 Sleeping",
        "1 Offline",
        "Greenhouse",
        "Nordic <Semi> Thingy:91",
        "29.50 °C",
        "87 %",
        "Last heard 12 s ago",
        "wakes by itself",
        STRANGE,
        "No readings yet",
    ):
        assert words in found.text, words
    assert {device(name) for name in (SENSOR, SLEEPER, STRANGE, QUIET)} <= set(found.all("href"))
    assert set(found.all("data-endpoint")) == {SENSOR, SLEEPER, STRANGE, QUIET}


async def test_the_overview_filters_and_searches(client: Client) -> None:
    assert (await page(client, "/?state=sleeping")).all("data-endpoint") == [SLEEPER]
    assert (await page(client, "/?q=greenh")).all("data-endpoint") == [SENSOR]
    found = await page(client, "/?q=kitchen%2Fnorth&state=offline")
    assert found.all("data-endpoint") == []
    assert "No device answers to that" in found.text
    # The search stays in the links to the states.
    assert "/?q=kitchen%2Fnorth&state=online" in found.all("href")


async def test_the_overview_is_cut_into_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_SIZE", 2)
    first = await page(client, "/")
    assert "1 to 2 of 4" in first.text
    assert "/?page=2" in first.all("href")
    second = await page(client, "/?page=2")
    assert "3 to 4 of 4" in second.text
    assert "Next" not in second.text
    names = first.all("data-endpoint") + second.all("data-endpoint")
    assert names == sorted([SENSOR, SLEEPER, STRANGE, QUIET])
    beyond = await page(client, "/?page=9")
    assert beyond.all("data-endpoint") == []
    assert "Show all devices" in beyond.text


async def test_more_devices_than_the_fleet_counts_are_still_reached(
    client: Client, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_SIZE", 2)
    fleet.states.clear()
    assert "/?page=2" in (await page(client, "/")).all("href")


async def test_a_device_page_reads_without_a_script(client: Client) -> None:
    found = await page(client, device(SENSOR))
    for words in (
        "Greenhouse",
        SENSOR,
        "Nordic <Semi> Thingy:91",
        "Firmware 1.4.2",
        "every 5 min",
        "LwM2M 1.1, UDP",
        "SenML CBOR, SenML JSON",
        "Always listening",
        "192.168.1.20:5683",
        "Sensor Value /3303/0/5700",
        "29.50 °C",
        "No error",
        "On/Off switch",
        "01ff",
        "Instance 1 No values told yet",
        "reported by itself",
    ):
        assert words in found.text, words
    # Sensors first, what lives in the device after them, the rest apart.
    assert found.all("data-chart") == ["/3303/0/5700", "/3342/0/5500", "/3/0/9", "/3/0/11/0"]


async def test_a_time_is_left_to_the_browsers_zone(client: Client) -> None:
    found = await page(client, device(SENSOR))
    assert "1794996400000" in found.all("data-moment")


async def test_a_sleeping_device_is_explained(client: Client) -> None:
    found = await page(client, device(SLEEPER))
    assert "Sleeps between messages and wakes by itself" in found.text


async def test_a_device_that_never_registered_has_a_page(client: Client) -> None:
    found = await page(client, device(QUIET))
    assert "Not registered now" in found.text
    assert found.all("data-chart") == []


@pytest.mark.parametrize(
    ("endpoint", "query", "current"),
    [(QUIET, "", "1h"), (SENSOR, "", "24h"), (SENSOR, "?range=7d", "7d"), (STRANGE, "?range=1y", "1y")],
)
async def test_the_range_is_chosen_by_address_or_age(
    client: Client, endpoint: str, query: str, current: str
) -> None:
    found = await page(client, device(endpoint) + query)
    chosen = [a["data-range"] for _, a in found.tags if "data-range" in a and "aria-current" in a]
    assert chosen == [current]


@pytest.mark.parametrize("path", ["/?page=0", "/?page=x", "/?state=x", device(SENSOR) + "?range=2d"])
async def test_a_bad_address_is_explained_on_a_page(client: Client, path: str) -> None:
    found = await page(client, path, 400)
    assert "Back to the devices" in found.text
    assert "not usable" in found.text


async def test_an_empty_house_tells_how_to_begin(
    client: Client, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(parts.reader, "endpoints", none)
    found = await page(client, "/")
    assert "Waiting for the first device" in found.text
    assert "coap://127.0.0.1:5683" in found.text


async def test_a_page_says_up_to_which_event_it_is_right(client: Client, parts: Parts) -> None:
    assert (await page(client, "/")).all("data-stream-after") == ["0"]
    parts.hub._bus.publish("presence", {"endpoint": SENSOR, "presence": "online", "time_ms": 1})
    assert (await page(client, device(SENSOR))).all("data-stream-after") == ["1"]
