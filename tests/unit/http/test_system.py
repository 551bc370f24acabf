"""The box itself: how it is, settings, restart and log, over the API and by the pages."""

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http.api_system import value_of
from flownexus_appliance.http.ports import Parts, Sources
from flownexus_appliance.http.server import build_app, join
from flownexus_appliance.system import health, logs
from flownexus_appliance.system.health import MIB
from flownexus_appliance.system.settings import NAME, Settings

from .asking import ask
from .conftest import Client
from .house import NOW_MS
from .people import BEARER
from .signed import Browser
from .trust import FakeCertificates

CONFIG = '[http]\nport = 9443\n[log]\nlevel = "warning"\n'


class Restarts:
    """Notes that the daemon was to start anew."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def restarts() -> Restarts:
    return Restarts()


@pytest.fixture
def settings(tmp_path: FilePath, restarts: Restarts) -> Settings:
    file = tmp_path / "appliance.toml"
    file.write_text(CONFIG)
    return Settings(file, tmp_path / NAME, restarts)


@pytest.fixture
def parts(sources: Sources, settings: Settings) -> Parts:
    return join(replace(sources, settings=settings), ("coap://127.0.0.1:5683",), lambda: NOW_MS)


@pytest.fixture
async def client(parts: Parts) -> AsyncIterator[Client]:
    async with TestClient(TestServer(build_app(parts)), headers=BEARER[Role.ADMIN]) as client:
        yield client


@pytest.fixture
def browser(client: Client) -> Browser:
    """The admin's."""
    del client.session.headers["Authorization"]
    return Browser(client, "admin")


@pytest.fixture
def recent(monkeypatch: pytest.MonkeyPatch) -> Iterator[logs.Recent]:
    """The log of this test alone."""
    kept = logs.Recent(50)
    monkeypatch.setattr(logs, "RECENT", kept)
    logger = logging.getLogger("flownexus_appliance.test")
    logger.addHandler(kept)
    logger.setLevel(logging.DEBUG)
    yield kept
    logger.removeHandler(kept)
    logger.setLevel(logging.NOTSET)


log = logging.getLogger("flownexus_appliance.test")


async def test_how_the_box_is(client: Client, parts: Parts) -> None:
    found = await ask(client, "GET", "/system")
    assert found["vitals"]["started_ms"] == parts.health.started_ms
    assert found["storage"]["series"] > 0
    assert found["versions"]["aiohttp"]
    assert found["restart_needed"] is False


async def test_settings_are_listed_set_and_taken_back(client: Client) -> None:
    found = await ask(client, "GET", "/settings")
    items = {f"{item['section']}.{item['name']}": item for item in found["items"]}
    assert items["http.port"]["value"] == 9443
    assert items["http.port"]["origin"] == "file"
    assert items["coap.networks"]["default"] == ["127.0.0.0/8", "::1/128"]
    body = {"settings": {"log.level": "debug", "fleet.watch_list": ["/3/0/9"], "fleet.awake_window_s": 20.5}}
    changed = await ask(client, "PATCH", "/settings", body)
    assert changed["restart_needed"] is True
    items = {f"{item['section']}.{item['name']}": item for item in changed["items"]}
    assert items["log.level"]["value"] == "debug"
    assert items["log.level"]["in_use"] == "warning"
    assert items["fleet.watch_list"]["value"] == ["/3/0/9"]
    body = {"settings": {"log.level": None, "fleet.watch_list": None, "fleet.awake_window_s": None}}
    assert (await ask(client, "PATCH", "/settings", body))["restart_needed"] is False


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"settings": {"log.level": "loud"}}, "setting_invalid"),
        ({"settings": {"log.level": 5}}, "setting_invalid"),
        ({"settings": {"http.port": "9000"}}, "setting_invalid"),
        ({"settings": {"http.host": "192.0.2.1"}}, "setting_invalid"),
        ({"settings": {"no.such": 1}}, "setting_invalid"),
        ({"settings": {"log.level": {}}}, "body_invalid"),
        ({"log.level": "info"}, "body_invalid"),
    ],
)
async def test_settings_that_cannot_be(
    client: Client, settings: Settings, body: dict[str, object], error: str
) -> None:
    assert (await ask(client, "PATCH", "/settings", body, 400))["error"] == error
    assert not settings.restart_needed()


async def test_a_restart_is_asked_for(client: Client, parts: Parts, restarts: Restarts) -> None:
    assert await ask(client, "POST", "/restart", status=202) == {"started_ms": parts.health.started_ms}
    assert restarts.count == 1


async def test_a_broken_configuration_file_keeps_it_running(
    client: Client, restarts: Restarts, tmp_path: FilePath
) -> None:
    (tmp_path / "appliance.toml").write_text("[log]\nlevel = 'loud'\n")
    found = await ask(client, "POST", "/restart", status=409)
    assert found["error"] == "config_invalid"
    assert "line 2" in found["message"]
    assert restarts.count == 0


async def test_the_log_is_read_newest_first_in_pages(client: Client, recent: logs.Recent) -> None:
    for number in range(5):
        log.info("registered", extra={"ENDPOINT": f"sim-{number}"})
    log.error("failed")
    first = await ask(client, "GET", "/log?limit=2")
    assert [line["message"] for line in first["items"]] == ["failed", "registered"]
    assert first["items"][1]["fields"] == {"ENDPOINT": "sim-4"}
    assert first["items"][0]["logger"] == "test"
    assert first["last"] == 6
    second = await ask(client, "GET", f"/log?limit=10&after={first['next']}")
    assert [line["number"] for line in second["items"]] == [4, 3, 2, 1]
    assert second["next"] is None
    assert [line["number"] for line in (await ask(client, "GET", "/log?since=5"))["items"]] == [6]
    assert [line["number"] for line in (await ask(client, "GET", "/log?level=error"))["items"]] == [6]
    assert [line["number"] for line in (await ask(client, "GET", "/log?q=SIM-2"))["items"]] == [3]
    assert (await ask(client, "GET", "/log?level=loud", status=400))["error"] == "query_invalid"


async def test_the_page_is_calm_when_all_is_well(browser: Browser) -> None:
    found = await browser.page("/system")
    for words in ("All is well", "Storage", "Versions", "aiohttp", "coap://127.0.0.1:5683", "Restart"):
        assert words in found.text
    assert "banner" not in found.all("class")
    viewer = await Browser(browser.client, "viewer").page("/system")
    assert "/system/restart" not in viewer.all("href")


async def test_what_somebody_should_look_at_comes_first(
    browser: Browser, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(sources.certificates, FakeCertificates)
    sources.certificates.doubtful = "the clock shows 1970-01-01"
    real = health.Health.vitals

    async def short(self: health.Health) -> health.Vitals:
        return replace(await real(self), disk_free_bytes=50 * MIB, temperature_c=85.0)

    monkeypatch.setattr(health.Health, "vitals", short)
    found = await browser.page("/system")
    assert "All is well" not in found.text
    for words in ("The disk is full", "52 MB are free", "The clock is not trusted", "The machine is hot"):
        assert words in found.text
    assert found.text.index("The clock is not trusted") < found.text.index("The machine is hot")


async def test_a_section_is_set_by_its_form(browser: Browser, settings: Settings) -> None:
    shown = await browser.page("/system/settings")
    assert "From the configuration file" in shown.text
    fields = {
        "section": "fleet",
        "fleet.watch_list": "/3/0/9\r\n /*/*/5700 \r\n\r\n",
        "was:fleet.watch_list": "/1/0/1",
        "fleet.awake_window_s": "93",
        "was:fleet.awake_window_s": "93",
    }
    answer = await browser.post("/system/settings", fields, seen="/system/settings")
    assert (answer.status, answer.location) == (303, "/system/settings?done=saved")
    found = await browser.page(answer.location)
    for words in ("Saved", "Changes wait for a restart", "Set here", "Until the restart:"):
        assert words in found.text
    values = {one.key: value_of(one.value) for one in settings.entries()}
    assert values["fleet.watch_list"] == ["/3/0/9", "/*/*/5700"]
    assert [one.key for one in settings.entries() if one.origin == "page"] == ["fleet.watch_list"]
    back = {"section": "fleet", "fleet.watch_list": "whatever", "reset:fleet.watch_list": "1"}
    await browser.post("/system/settings", back, seen="/system/settings")
    assert not settings.restart_needed()


async def test_what_nobody_touched_stays_as_another_has_set_it(browser: Browser, settings: Settings) -> None:
    token = await browser.token("/system/settings")
    await settings.change({"fleet.max_plain_endpoints": "5"})
    fields = {
        "section": "fleet",
        "fleet.max_plain_endpoints": "10000",
        "was:fleet.max_plain_endpoints": "10000",
        "fleet.awake_window_s": "20",
        "was:fleet.awake_window_s": "93",
    }
    assert (await browser.post("/system/settings", fields, token=token)).status == 303
    values = {one.key: one.value for one in settings.entries()}
    assert values["fleet.max_plain_endpoints"] == "5"
    assert values["fleet.awake_window_s"] == "20"


async def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(
    browser: Browser, settings: Settings
) -> None:
    fields = {
        "section": "http",
        "http.host": "<b>192.0.2.1",
        "was:http.host": "127.0.0.1",
        "http.port": "99999",
        "was:http.port": "9443",
    }
    answer = await browser.post("/system/settings", fields, seen="/system/settings")
    assert answer.status == 400
    found = answer.page
    for words in ("Address: this value cannot be used", "Give an IP address", "A port is a number"):
        assert words in found.text
    inputs = {tag["name"]: tag for name, tag in found.tags if name == "input" and "name" in tag}
    assert inputs["http.port"]["value"] == "99999"
    assert inputs["http.host"]["value"] == "<b>192.0.2.1"
    assert inputs["http.port"]["aria-invalid"] == "true"
    assert not settings.restart_needed()
    for typed in ("", "many", "1e3", "5" * 30):
        fields = {
            "section": "fleet",
            "fleet.max_plain_endpoints": typed,
            "was:fleet.max_plain_endpoints": "9",
        }
        assert (await browser.post("/system/settings", fields, seen="/system/settings")).status == 400


async def test_another_address_is_told_before_it_is_in_use(browser: Browser, settings: Settings) -> None:
    await settings.change({"http.port": "9444"})
    for path in ("/system/settings", "/system/restart"):
        found = await browser.page(path)
        assert "//127.0.0.1:9444/" in found.all("href")
        assert "You cannot reach that from here" not in found.text
    await settings.change({"http.host": '"0.0.0.0"', "http.port": None})
    host = browser.client.make_url("/").host
    assert f"//{host}:9443/" in (await browser.page("/system/restart")).all("href")


async def test_a_restart_by_the_page(browser: Browser, parts: Parts, restarts: Restarts) -> None:
    assert "Restart the box?" in (await browser.page("/system/restart")).text
    answer = await browser.post("/system/restart", {}, seen="/system/restart")
    waiting = f"/system/restarting?since={parts.health.started_ms}"
    assert (answer.status, answer.location, restarts.count) == (303, waiting, 1)
    page = await browser.get(waiting)
    assert '<noscript><meta http-equiv="refresh"' in page.html
    assert page.headers["Cache-Control"] == "no-store"
    back = await browser.get("/system/restarting?since=1")
    assert (back.status, back.location) == (303, "/system?done=restarted")
    assert "has restarted" in (await browser.page(back.location)).text


async def test_the_log_page(browser: Browser, recent: logs.Recent) -> None:
    log.info("registered", extra={"ENDPOINT": "<b>kitchen\x1b[2J", "PEER": "192.0.2.9:40000"})
    try:
        raise ValueError("no such thing")
    except ValueError:
        log.exception("request failed")
    found = await browser.page("/system/log")
    assert "<b>kitchen?[2J" in found.text
    assert "ValueError: no such thing" in found.text
    assert found.text.index("request failed") < found.text.index("registered")
    errors = await browser.page("/system/log?level=error&q=failed")
    assert "registered" not in errors.text
    assert "No line answers to that" in (await browser.page("/system/log?q=nowhere")).text
    newer = await browser.page("/system/log?since=1")
    assert "registered" not in newer.text


async def test_older_lines_are_a_page_further(
    browser: Browser, recent: logs.Recent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flownexus_appliance.http.pages_system.PAGE_SIZE", 3)
    for number in range(5):
        log.warning(f"line {number}")
    first = await browser.page("/system/log?level=warning")
    assert "line 4" in first.text
    assert "line 1" not in first.text
    older = next(url for url in first.all("href") if "after=" in url)
    assert older == "/system/log?level=warning&after=3"
    second = await browser.page(older)
    assert "line 1" in second.text
    assert "follow" not in second.all("id")


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/system/settings", Role.OPERATOR),
        ("/system/restart", Role.OPERATOR),
        ("/system/restarting", Role.OPERATOR),
        ("/system/log", Role.VIEWER),
    ],
)
async def test_who_may_not_look(browser: Browser, path: str, role: Role) -> None:
    assert (await Browser(browser.client, role).get(path)).status == 403
