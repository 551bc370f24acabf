"""The overview as it leaves the box: filters, orders, groups and pages as links, and the signs of health."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.noted import MAX_FAILED, TagCount
from flownexus_appliance.db.storage import Storage
from flownexus_appliance.http import pages_overview
from flownexus_appliance.http.api_certificates import CertificateEntry
from flownexus_appliance.http.devices import Question
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.views_overview import (
    CHIPS,
    DAY_MS,
    Health,
    View,
    Vital,
    bytes_text,
    chips,
    vitals,
)
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path

from .conftest import Client
from .house import NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet, FakeOperations, Outcome
from .noting import note
from .page import Page, check_policy, page
from .trust import FakeCertificates

HOSTILE = "<b>x</b> & \"y\" 'z'"


@pytest.fixture
def tagged(tmp_path: FilePath, parts: Parts) -> None:
    tags: dict[str, Sequence[str]] = {
        SENSOR: ("Garden", HOSTILE),
        SLEEPER: ("Garden",),
        STRANGE: ("room 10",),
    }
    with closing(sqlite3.connect(tmp_path / "flownexus.db")) as connection, connection:
        for name, some in tags.items():
            note(connection, name, "notes <i>are not here</i>", some)


def links(found: Page) -> dict[str, str]:
    """Where each choice leads."""
    return {tag["data-key"]: tag["href"] for _, tag in found.tags if "data-key" in tag}


def chosen(found: Page) -> list[str]:
    return [tag["data-key"] for _, tag in found.tags if "data-key" in tag and "aria-current" in tag]


def vital(found: Page, key: str) -> dict[str, str]:
    return next(tag for _, tag in found.tags if tag.get("data-vital") == key)


@pytest.mark.usefixtures("tagged")
@pytest.mark.parametrize("path", ["/", "/?group=tag", "/?tag=garden&sort=heard&state=online&q=u", "/?tag=x"])
async def test_every_choice_is_a_page_that_keeps_the_policy(client: Client, path: str) -> None:
    found = await page(client, path)
    check_policy(found)
    for url in links(found).values():
        if url.startswith("/?") or url == "/":
            check_policy(await page(client, url))


async def test_the_overview_is_cut_into_pages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_overview, "PAGE_SIZE", 2)
    first = await page(client, "/")
    assert "1 to 2 of 4" in first.text
    assert links(first)["next"] == "/?page=2"
    second = await page(client, "/?page=2")
    assert "3 to 4 of 4" in second.text
    assert "Next" not in second.text
    # By what people see: Greenhouse is the label of SENSOR.
    assert first.all("data-endpoint") + second.all("data-endpoint") == [SENSOR, STRANGE, QUIET, SLEEPER]
    beyond = await page(client, "/?page=9")
    assert beyond.all("data-endpoint") == []
    assert "Show all devices" in beyond.text


async def test_more_devices_than_the_fleet_counts_are_still_reached(
    client: Client, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages_overview, "PAGE_SIZE", 2)
    fleet.states.clear()
    assert "/?page=2" in (await page(client, "/")).all("href")


@pytest.mark.usefixtures("tagged")
async def test_tags_are_filtered_by_and_left_again(client: Client) -> None:
    found = await page(client, "/")
    assert "Garden 2 devices" in found.text
    assert f"{HOSTILE} 1 device" in found.text
    url = links(found)["tag Garden"]
    assert url == "/?tag=Garden"
    found = await page(client, url)
    assert found.all("data-endpoint") == [SENSOR, SLEEPER]
    assert chosen(found) == ["state", "sort label", "tag Garden"]
    assert links(found)["tag Garden"] == "/"
    assert (await page(client, links(found)["state sleeping"])).all("data-endpoint") == [SLEEPER]
    hostile = await page(client, links(found)[f"tag {HOSTILE}"])
    assert hostile.all("data-endpoint") == [SENSOR]
    assert [tag["value"] for _, tag in hostile.tags if tag.get("name") == "tag"] == [HOSTILE]


@pytest.mark.usefixtures("tagged")
async def test_one_choice_keeps_the_others(client: Client) -> None:
    found = await page(client, "/?q=e&state=online&tag=garden&sort=heard&group=tag&page=1")
    kept = "group=tag&q=e"
    urls = links(found)
    assert urls["state"] == f"/?{kept}&sort=heard&tag=garden"
    assert urls["sort label"] == f"/?{kept}&state=online&tag=garden"
    assert urls["sort state"] == f"/?{kept}&sort=state&state=online&tag=garden"
    assert urls["tag room 10"] == f"/?{kept}&sort=heard&state=online&tag=room+10"
    assert urls["group"] == "/?q=e&sort=heard&state=online&tag=garden"
    sent = {tag["name"]: tag["value"] for _, tag in found.tags if tag.get("type") == "hidden"}
    sent.pop("form_token", None)
    assert sent == {"state": "online", "tag": "garden", "sort": "heard", "group": "tag"}


@pytest.mark.usefixtures("tagged")
async def test_groups_stand_under_their_tags(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await page(client, "/?group=tag")
    assert found.all("data-endpoint") == [SENSOR, SENSOR, SLEEPER, STRANGE, QUIET]
    for words in (f"{HOSTILE} 1 device", "Garden 2 devices", "room 10 1 device", "Without a tag 1 device"):
        assert words in found.text, words
    assert found.all("data-total") == ["4"]
    # Headings in order: the page, its groups, their devices.
    headings = [tag for tag, _ in found.tags if tag in ("h1", "h2", "h3", "h4")]
    assert headings == ["h1", *["h2", "h3"], *["h2", "h3", "h3"], *["h2", "h3"] * 2]
    monkeypatch.setattr(pages_overview, "PAGE_SIZE", 2)
    second = await page(client, "/?group=tag&page=2")
    assert second.all("data-endpoint") == [SLEEPER, STRANGE]
    assert "3 to 4 of 5" in second.text
    assert "Garden 2 devices" in second.text


async def test_no_tags_no_choice_of_them(client: Client) -> None:
    assert "Group by tag" not in (await page(client, "/")).text


@pytest.mark.parametrize("query", ["sort=name", "sort=x", "group=x", "q=" + "x" * 256, "tag=" + "x" * 256])
async def test_a_bad_choice_is_explained(client: Client, query: str) -> None:
    assert "Back to the devices" in (await page(client, f"/?{query}", 400)).text


async def test_all_modules_are_asked_for_at_once(client: Client, parts: Parts) -> None:
    """What a script imports, and what that imports, stands on the page; nothing that is not loaded does."""
    found = await page(client, "/")
    asked = [tag["href"] for _, tag in found.tags if tag.get("rel") == "modulepreload"]
    assert asked == list(parts.assets.modules("js/overview.js"))
    names = {url.rpartition("/")[2] for url in asked}
    assert {"app.js", "sparkline.js", "stream.js", "format.js", "language.js"} <= names
    assert not {"overview.js", "device.js", "uPlot.esm.js"} & names


async def test_health_is_calm_where_all_is_well(client: Client) -> None:
    found = await page(client, "/")
    assert {tag["data-level"] for _, tag in found.tags if "data-vital" in tag} <= {"good", "warning"}
    assert [tag["data-vital"] for _, tag in found.tags if "data-vital" in tag] == [
        "failed",
        "waiting",
        "storage",
        "clock",
        "certificate",
    ]
    assert vital(found, "failed")["data-level"] == "good"
    assert "Failed None operations in 24 h" in found.text
    assert "Clock Right" in found.text


async def test_what_failed_and_what_waits_is_counted(
    client: Client, operations: FakeOperations, certificates: FakeCertificates
) -> None:
    read = Operation(Kind.READ, (Path.of(3, 0, 9),))
    for _ in range(3):
        await operations.ask(SENSOR, read, "web")
    await operations.end(1, Status.FAILED, Outcome("FAILED", "4.05").operation(SENSOR, read).outcome)
    certificates.doubtful = "it says 1970"
    found = await page(client, "/")
    assert vital(found, "failed") == {
        "class": "vital",
        "href": "/operations?status=FAILED",
        "data-level": "warning",
        "data-key": "vital failed",
        "data-vital": "failed",
    }
    assert "Failed 1 operations in 24 h" in found.text
    assert vital(found, "waiting")["href"] == "/operations?status=unfinished"
    assert "Waiting 2 operations" in found.text
    assert vital(found, "clock")["data-level"] == "danger"
    # Each sign leads to a page that is there.
    for key in ("failed", "waiting", "storage", "clock", "certificate"):
        await page(client, vital(found, key)["href"])


STORAGE = Storage(
    database_bytes=2_000_000,
    wal_bytes=500_000,
    free_bytes=50 * 10**9,
    total_bytes=100 * 10**9,
    series=0,
    samples=0,
    oldest_ms=None,
    samples_day=None,
)
CERTIFICATE = CertificateEntry(
    kind="https",
    state="current",
    subject="",
    issuer="",
    serial="",
    fingerprint="",
    not_before_ms=NOW_MS - 10 * DAY_MS,
    not_after_ms=NOW_MS + 80 * DAY_MS + 1,
    trusted_until_ms=NOW_MS + 80 * DAY_MS,
    next_step_ms=NOW_MS + 50 * DAY_MS,
    reason="",
)
WELL = Health(failed=0, waiting=0, storage=STORAGE, doubt="", certificates=(CERTIFICATE,), now_ms=NOW_MS)


def sign(health: Health, key: str) -> Vital:
    return next(one for one in vitals(health) if one.key == key)


def test_all_signs_are_good_where_all_is_well() -> None:
    assert {one.level for one in vitals(WELL)} == {"good"}
    assert sign(WELL, "storage").value == "50\u00a0GB free"
    assert sign(WELL, "storage").note == "the data takes 2.50\u00a0MB"
    assert sign(WELL, "certificate").value == "80 days left"


def test_more_failures_than_are_counted_are_many() -> None:
    assert sign(replace(WELL, failed=MAX_FAILED), "failed").value == f"{MAX_FAILED}+"
    assert sign(replace(WELL, failed=MAX_FAILED - 1), "failed").value == str(MAX_FAILED - 1)


@pytest.mark.parametrize(
    ("free", "level"),
    [(10 * 10**9, "good"), (10 * 10**9 - 1, "warning"), (210 * 2**20, "warning"), (199 * 2**20, "danger")],
)
def test_a_disk_is_told_of_before_it_is_full(free: int, level: str) -> None:
    health = replace(WELL, storage=replace(STORAGE, free_bytes=free))
    assert sign(health, "storage").level == level


@pytest.mark.parametrize(
    ("changes", "value", "level"),
    [
        ({"next_step_ms": NOW_MS - DAY_MS}, "80 days left", "good"),
        ({"next_step_ms": NOW_MS - DAY_MS - 1}, "80 days left", "warning"),
        ({"next_step_ms": NOW_MS - 2 * DAY_MS, "not_after_ms": NOW_MS + DAY_MS}, "1 day left", "danger"),
        ({"next_step_ms": None}, "80 days left", "warning"),
        ({"not_after_ms": NOW_MS}, "Ended", "danger"),
        ({"state": "provisional", "next_step_ms": None}, "80 days left", "warning"),
        ({"kind": "root", "not_after_ms": NOW_MS}, "None", "warning"),  # it serves nobody
    ],
)
def test_a_certificate_that_is_not_renewed_is_told_of(
    changes: dict[str, int | str | None], value: str, level: str
) -> None:
    entry = replace(CERTIFICATE, **changes)  # type: ignore[arg-type]
    one = sign(replace(WELL, certificates=(entry,)), "certificate")
    assert (one.value, one.level) == (value, level)


def test_the_certificate_that_ends_first_is_told_of() -> None:
    sooner = replace(CERTIFICATE, kind="dtls", not_after_ms=NOW_MS + 60 * DAY_MS)
    assert sign(replace(WELL, certificates=(CERTIFICATE, sooner)), "certificate").value == "60 days left"


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0\u00a0B"), (999, "999\u00a0B"), (1000, "1.00\u00a0kB"), (45_600_000_000, "46\u00a0GB")],
)
def test_a_size_has_the_unit_that_fits(size: int, text: str) -> None:
    assert bytes_text(size) == text


def test_of_many_tags_the_frequent_ones_stand_first_and_the_chosen_one_always() -> None:
    tags = [TagCount(f"tag {number}", number) for number in range(1, CHIPS + 4)]
    first, others = chips(View(Question(tag="TAG 1", sort="label")), tags)
    assert [one.tag for one in first] == ["tag 1", *(f"tag {number}" for number in range(5, CHIPS + 4))]
    assert [one.tag for one in others] == ["tag 2", "tag 3", "tag 4"]
    assert [one.tag for one in (*first, *others) if one.chosen] == ["tag 1"]
    assert first[0].url == "/"
