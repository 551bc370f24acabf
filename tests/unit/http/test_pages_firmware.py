"""What runs where: versions by model, devices with what their Firmware Update object told, filters."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path as FilePath

import pytest
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.access.roles import Role
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.http import pages_firmware
from flownexus_appliance.http.ports import Parts, Sources
from flownexus_appliance.http.ports_firmware import FirmwareFacts, Wish
from flownexus_appliance.http.server import build_app, join
from flownexus_appliance.http.views_firmware import newest_of
from flownexus_appliance.lwm2m.firmware import UpdateState
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration
from flownexus_appliance.lwm2m.values import DataType, Record

from .conftest import Client
from .firmware_box import FakeFirmwareBox
from .house import NOW_MS, STRANGE, FakeFleet, fill, record, registration
from .page import Page, check_policy, device, page
from .people import BEARER
from .trust import make_sources

HOSTILE = "<b>v1</b> & \"x\" 'y'\x07"
DAY_MS = 86_400_000


def told(version: str | None, model: str | None = "Nexus", *more: Record) -> tuple[Record, ...]:
    return (
        *(
            [record("/3/0/0", "Acme", DataType.STRING), record("/3/0/1", model, DataType.STRING)]
            if model
            else []
        ),
        *([record("/3/0/3", version, DataType.STRING)] if version else []),
        *more,
    )


# What each device has told; "old 10" ran 1.9 before, and 1.10 before that.
DEVICES = {
    "new": told(
        "1.10",
        "Nexus",
        record("/5/0/3", 1, DataType.INTEGER),
        record("/5/0/5", 8, DataType.INTEGER),
        record("/5/0/8/0", 0, DataType.INTEGER),
        record("/5/0/8/1", 5, DataType.INTEGER),
        record("/5/0/9", 2, DataType.INTEGER),
    ),
    "old 10": (
        *told(None),
        *(
            record("/3/0/3", version, DataType.STRING, NOW_MS - days * DAY_MS)
            for days, version in ((9, "1.9"), (8, "1.10"), (7, "1.9"), (5, "1.9"), (1, "1.9"))
        ),
        record("/5/0/3", 77, DataType.INTEGER),
        record("/5/0/5", 0, DataType.INTEGER),
    ),
    "old 9": told(
        "1.9",
        "Nexus",
        record("/33629/0/3", 2, DataType.INTEGER),
        record("/33629/0/5", 8, DataType.INTEGER),
        record("/33629/0/9", 2, DataType.INTEGER),
    ),
    STRANGE: told(HOSTILE, "Other"),
    "silent": told(None, None),
}


class FirmwareFleet(FakeFleet):
    """Whose devices have a Firmware Update object, but for those in `without`; `away` are not registered,
    and those in `advanced` have object 33629 alone."""

    __slots__ = ()
    without = ("old 9", STRANGE)
    advanced: tuple[str, ...] = ()
    away = ("silent",)

    def registration(self, endpoint: str) -> Registration | None:
        if endpoint in self.away or endpoint not in DEVICES:
            return None
        one = registration(endpoint)
        if endpoint in self.advanced:
            return replace(one, objects={**one.objects, 33629: RegisteredObject("1.0", (0, 1))})
        if endpoint in self.without:
            return one
        return replace(one, objects={**one.objects, 5: RegisteredObject("1.0", (0,))})


@pytest.fixture
async def reader(tmp_path: FilePath, models: ModelSet) -> AsyncIterator[Reader]:
    path = tmp_path / "flownexus.db"
    await fill(path, models, DEVICES, labels={"new": "Cellar"})
    reader = Reader(path)
    await reader.start()
    yield reader
    await reader.stop()


@pytest.fixture
def fleet() -> FirmwareFleet:
    return FirmwareFleet(states=dict.fromkeys(DEVICES, "online"))


def rows(found: Page) -> list[str]:
    return [tag["data-endpoint"] for name, tag in found.tags if name == "tr" and "data-endpoint" in tag]


async def test_it_tells_what_runs_where(client: Client) -> None:
    found = await page(client, "/firmware")
    check_policy(found)
    assert "Acme Nexus 3 devices 1.10 newest here 1 device 1.9 2 devices" in found.text
    # A version that is no number has no order; and who tells nothing is counted too.
    assert "Acme Other 1 device <b>v1</b> & \"x\" 'y'? 1 device" in found.text
    assert "Model not told 1 device Version not told 1 device" in found.text
    assert rows(found) == ["new", STRANGE, "old 9", "old 10", "silent"]
    assert device(STRANGE) in found.all("href")


async def test_a_device_tells_how_it_takes_updates(client: Client) -> None:
    text = (await page(client, "/firmware?q=cellar")).text
    assert "Downloading Result: Update failed Push or pull CoAP, CoAP over TLS Firmware Update object" in text
    found = await page(client, "/firmware?q=old")
    # Numbers that nobody gave a meaning stay what they are.
    assert "77 Result: None yet Not told Firmware Update object" in found.text
    assert "Has no Firmware Update object" in found.text
    urls = found.all("href")
    assert f"{device('old 10')}/resources/5/0" in urls
    assert f"{device('old 9')}/resources/5/0" not in urls
    # Nobody knows whether one that went away has such an object.
    found = await page(client, "/firmware?q=silent")
    assert "State not told Not told" in found.text
    assert f"{device('silent')}/resources/5/0" not in found.all("href")


async def test_a_device_with_object_33629_alone_can_be_updated(
    client: Client, fleet: FirmwareFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FirmwareFleet, "advanced", ("old 9",))
    found = await page(client, "/firmware?q=old+9&state=2")
    assert "Downloaded Result: Update failed Push or pull Firmware Update object" in found.text
    assert f"{device('old 9')}/resources/33629/0" in found.all("href")
    found = await page(client, device("old 9"))
    assert "Update Downloaded Last result Update failed Takes updates by Push or pull" in found.text
    assert "It has no Firmware Update object" not in found.text
    assert "It has no Firmware Update object" not in (await page(client, f"{device('old 9')}/firmware")).text


async def test_a_version_is_known_since_it_came_last(client: Client) -> None:
    found = await page(client, "/firmware?q=old+10")
    assert found.all("data-moment") == [str(NOW_MS - 7 * DAY_MS)]


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        (
            "new",
            "Version 1.10 Update Downloading Last result Update failed Takes updates by Push or pull"
            " Fetches by CoAP, CoAP over TLS Firmware Update object",
        ),
        ("old 9", "Version 1.9 It has no Firmware Update object, so"),
        ("silent", "It has not told of its firmware yet."),
    ],
)
async def test_a_device_has_its_firmware_on_its_page(client: Client, endpoint: str, words: str) -> None:
    found = await page(client, device(endpoint))
    check_policy(found)
    assert f"Firmware {words}" in found.text
    # The script that keeps values current finds them here too.
    assert ("/3/0/3" in found.all("data-path")) is (endpoint != "silent")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("model=Acme+Nexus", ["new", "old 9", "old 10"]),
        ("model=Acme+Nexus&version=1.9", ["old 9", "old 10"]),
        ("version=1.9&q=10", ["old 10"]),
        ("version=-", ["silent"]),
        ("model=-", ["silent"]),
        ("state=none", [STRANGE, "old 9"]),
        ("state=1", ["new"]),
        ("state=untold", ["old 10", "silent"]),
        ("q=CELL", ["new"]),
        ("model=Acme&version=&state=", []),
        ("model=%3Cb%3E%22&q=%3Ci%3E", []),
    ],
)
async def test_devices_are_found(client: Client, query: str, names: list[str]) -> None:
    found = await page(client, f"/firmware?{query}")
    check_policy(found)
    assert rows(found) == names
    assert ("No device answers to that" in found.text) is (not names)


async def test_every_version_leads_to_its_devices(client: Client) -> None:
    found = await page(client, "/firmware?state=none")
    urls = [url for url in found.all("href") if "version=" in url]
    assert len(urls) == 4
    assert all("state=none" in url and url.endswith("#runs") for url in urls)
    assert "runs" in found.all("id")
    hostile = next(url for url in urls if "Other" in url)
    chosen = await page(client, hostile)
    assert rows(chosen) == [STRANGE]
    current = [tag["href"] for _, tag in chosen.tags if tag.get("aria-current") == "true"]
    assert current == ["/firmware?state=none", "/firmware?model=Acme+Other&state=none"]


async def test_the_list_is_cut_into_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_firmware, "PAGE_SIZE", 2)
    seen: list[str] = []
    url = "/firmware?model=Acme+Nexus"
    for _ in range(2):
        found = await page(client, url)
        seen += rows(found)
        url = next((tag["href"] for _, tag in found.tags if tag.get("rel") == "next"), "")
    assert seen == ["new", "old 9", "old 10"]
    assert url == ""
    assert "3 to 3 of 3" in found.text


async def test_many_models_are_folded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_firmware, "FIRST_MODELS", 1)
    monkeypatch.setattr(pages_firmware, "FIRST_VERSIONS", 1)
    found = await page(client, "/firmware")
    check_policy(found)
    assert "1 more version 1.9" in found.text
    assert "2 more models Acme Other" in found.text


@pytest.mark.parametrize("query", ["state=4", "page=0", f"model={'m' * 256}"])
async def test_what_cannot_be_is_refused(client: Client, query: str) -> None:
    await page(client, f"/firmware?{query}", 400)


async def test_it_is_open_to_viewers_and_in_the_navigation(parts: Parts) -> None:
    async with TestClient(TestServer(build_app(parts)), headers=BEARER[Role.VIEWER]) as viewer:
        found = await page(viewer, "/firmware")
    current = [tag["href"] for _, tag in found.tags if tag.get("aria-current") == "page"]
    assert current == ["/firmware", "/firmware"]  # the place, and the tab below it


async def test_an_empty_box_says_so(tmp_path: FilePath, sources: Sources, models: ModelSet) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    await fill(folder / "flownexus.db", models, {})
    reader = Reader(folder / "flownexus.db")
    await reader.start()
    try:
        empty = make_sources(reader, FakeFleet(), sources.bus, models, folder)
        app = build_app(join(empty, (), lambda: NOW_MS))
        async with TestClient(TestServer(app), headers=BEARER[Role.VIEWER]) as client:
            found = await page(client, "/firmware")
    finally:
        await reader.stop()
    check_policy(found)
    assert "No device was heard yet" in found.text


@pytest.mark.parametrize(
    ("versions", "newest"),
    [
        (["1.9", "1.10"], "1.10"),
        (["v2.0.0", "1.99.99"], "v2.0.0"),
        (["1.2", "1.2.1", "1.2.0"], "1.2.1"),
        (["1.2", "1.2.0"], ""),
        (["0.9", "0.9.0", "1"], "1"),
        (["1.0", "1.1-rc1"], ""),
        (["1.0", "1.1+4"], ""),
        (["1.0", "1..1"], ""),
        (["1.0", "٢.0"], ""),
        (["1.0"], ""),
        ([], ""),
    ],
)
def test_the_newest_is_told_only_where_versions_compare(versions: list[str], newest: str) -> None:
    assert newest_of(versions) == newest
    assert newest_of(versions[::-1]) == newest


async def test_how_far_back_is_looked_has_a_bound(tmp_path: FilePath, models: ModelSet) -> None:
    many = tuple(record("/3/0/3", "1.0", DataType.STRING, NOW_MS - 1500 + at) for at in range(1500))
    path = tmp_path / "many.db"
    await fill(path, models, {"a": many, "b": many[-1:], "c": ()})
    reader = Reader(path)
    await reader.start()
    try:
        assert await reader.known_since(["a", "b", "c"]) == {"a": NOW_MS - 1000, "b": NOW_MS - 1}
    finally:
        await reader.stop()


@pytest.mark.parametrize(
    ("query", "url"),
    [
        ("model=Acme+Nexus", "/firmware/campaigns/new?model=Nexus"),
        ("model=Acme+Nexus&version=1.9", "/firmware/campaigns/new?model=Nexus&version=1.9"),
        # All of a model, or none: a search or a state is nothing that a campaign goes by.
        ("model=Acme+Nexus&q=old", ""),
        ("model=Acme+Nexus&state=1", ""),
        # Devices of one version may be of several models, and who tells no version cannot be asked for it.
        ("model=-", ""),
        ("model=-&version=-", ""),
        ("version=1.9", "/firmware/campaigns/new?model=Nexus&version=1.9"),
        ("", ""),
    ],
)
async def test_those_chosen_lead_to_a_campaign_for_them(client: Client, query: str, url: str) -> None:
    links = [one for one in (await page(client, f"/firmware?{query}")).all("href") if "campaigns/new" in one]
    assert links == ([url] if url else [])


async def test_a_viewer_is_led_to_no_campaign(parts: Parts) -> None:
    async with TestClient(TestServer(build_app(parts)), headers=BEARER[Role.VIEWER]) as viewer:
        found = await page(viewer, "/firmware?model=Acme+Nexus")
    assert not [one for one in found.all("href") if "campaigns/new" in one]


async def test_an_update_under_way_stands_in_the_line_of_its_device(
    client: Client, firmware: FakeFirmwareBox
) -> None:
    async with firmware.upload() as upload:
        await upload.write(b"x" * 1000)
        kept = await firmware.add(upload, FirmwareFacts("2.0", "x.bin"), "ada")
    made = await firmware.update("new", kept.id, Wish(), "ada")
    firmware.move(made.id, state=UpdateState.PREPARING)
    firmware.move(made.id, state=UpdateState.DOWNLOADING, bytes=420)
    found = await page(client, "/firmware?q=cellar")
    check_policy(found)
    assert "Downloading to 2.0 42 %" in found.text
    assert f"/firmware/updates/{made.id}" in found.all("href")
