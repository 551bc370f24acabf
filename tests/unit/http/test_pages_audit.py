"""The record of changes: newest first, in words, filtered, by pages; and that the words fit the addresses."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from flownexus_appliance.http import api, pages, seed_ingest
from flownexus_appliance.http.routes import Place, Route
from flownexus_appliance.http.views_audit import ACTIONS

from .conftest import Client
from .house import NOW_MS, SENSOR
from .page import check_policy, device, page

ROWS = (
    ("anna", "192.168.1.20", "POST /setup", "", ""),
    ("otto", "192.168.1.31", "POST /sign-in", "", "sign_in_refused"),
    ("otto/home-assistant", "192.168.1.5", "POST /api/v1/endpoints/{endpoint}/operations", SENSOR, ""),
    ("console", "", "DELETE /api/v1/models/{object_id}/{version}", "3303 1.1", "model_unknown"),
    ("anna", "::1", "PUT /api/v9/{endpoint}/parts/{part}", "a <b>b</b> 7", "strange_code"),
    ("", "203.0.113.9", "POST /people/{name}/remove", "<i>vera</i>", "last_admin"),
)


def record(folder: Path, rows: Sequence[tuple[str, str, str, str, str]]) -> None:
    """Put rows on record, a minute apart, the last one newest."""
    with closing(sqlite3.connect(folder / "flownexus.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO audit (time_ms, who, address, action, target, outcome, detail)"
            " VALUES (?, ?, ?, ?, ?, ?, '')",
            [(NOW_MS + 60_000 * number, *row) for number, row in enumerate(rows)],
        )


async def test_changes_are_told_in_words(client: Client, tmp_path: Path) -> None:
    record(tmp_path, ROWS)
    found = await page(client, "/audit")
    check_policy(found)
    for words in (
        "A stranger 203.0.113.9 Remove a person · <i>vera</i> Not done",
        "anna ::1 PUT /api/v9/{endpoint}/parts/{part} · a <b>b</b> · 7 Not done strange_code",
        "console on the box Remove an object model · 3303 1.1 Not done there is no such object model",
        f"otto/home-assistant 192.168.1.5 Ask for an operation · {SENSOR} Done",
        "otto 192.168.1.31 Sign in Not done",
        "anna 192.168.1.20 Set the box up Done",
    ):
        assert words in found.text, words
    moments = [int(moment) for moment in found.all("data-moment")]
    assert moments == sorted(moments, reverse=True)
    assert {device(SENSOR), device("a <b>b</b>")} <= set(found.all("href"))


async def test_they_are_filtered_by_who_and_by_text(client: Client, tmp_path: Path) -> None:
    record(tmp_path, ROWS)
    found = await page(client, "/audit?who=otto")
    assert "otto/home-assistant" in found.text
    assert "Set the box up" not in found.text
    found = await page(client, "/audit?q=MODEL")
    assert len(found.all("data-moment")) == 1
    found = await page(client, "/audit?q=%3Cnothing%3E")
    check_policy(found)
    assert "No change answers to that" in found.text
    assert "<nothing>" in found.all("value")


async def test_a_record_that_is_empty_says_so(client: Client) -> None:
    assert "Nothing was changed yet" in (await page(client, "/audit")).text


async def test_it_is_told_by_pages(client: Client, tmp_path: Path) -> None:
    record(
        tmp_path, [("anna", "", "POST /bootstrap", "", "")] * 230 + [("otto", "", "POST /bootstrap", "", "")]
    )
    seen: list[int] = []
    url = "/audit?who=anna"
    for count in (100, 100, 30):
        found = await page(client, url)
        check_policy(found)
        assert len(found.all("data-moment")) == count
        seen += map(int, found.all("data-moment"))
        url = next((tag["href"] for _, tag in found.tags if tag.get("rel") == "next"), "")
        assert url.startswith("/audit?who=anna&before=") is bool(url)
    assert url == ""
    assert len(set(seen)) == 230
    assert "/audit?who=anna" in found.all("href")


@pytest.mark.parametrize("query", ["before=x", "before=-1", f"before={2**60}"])
async def test_a_page_that_cannot_be_is_refused(client: Client, query: str) -> None:
    await page(client, f"/audit?{query}", 400)


def test_every_change_that_can_be_made_here_has_words() -> None:
    served: list[Place | Route] = [*pages.routes(), *api.routes(), *seed_ingest.routes()]
    changes = {f"{place.method} {place.path}" for place in served if place.method != "GET"}
    told = {address.replace(":.+}", "}") for address in changes}
    assert told - set(ACTIONS) == set()
    assert set(ACTIONS) - told == set()
