"""The form for what people note about a device: kept as meant, and nothing lost where it is not."""

import io

import pytest

from flownexus_appliance.http.answers import MAX_BODY_BYTES

from .conftest import Client
from .house import QUIET, SENSOR, STRANGE, FakeFleet
from .page import Page, check_policy, device, page, refused, send, value, wrong

HOSTILE = '<script>alert(1)</script> & "quotes"'


def about(endpoint: str) -> str:
    return f"{device(endpoint)}/about"


def known(found: Page) -> str:
    return next(tag["value"] for _, tag in found.tags if tag.get("name") == "known")


async def fields(client: Client, endpoint: str, **filled: str) -> dict[str, str]:
    """The form as it stands, with these fields filled in."""
    found = await page(client, about(endpoint))
    before = {
        "known": known(found),
        "label": value(found, "label"),
        "tags": value(found, "tags"),
        "notes": "",
    }
    return before | filled


async def test_what_is_noted_stands_on_the_page_as_text(client: Client) -> None:
    form = await fields(
        client, STRANGE, label=HOSTILE, tags="Garden, <i>roof</i>,", notes=f"{HOSTILE}\r\nline"
    )
    assert await send(client, about(STRANGE), form) == f"{device(STRANGE)}#about-title"
    found = await page(client, device(STRANGE))
    check_policy(found)
    assert found.text.count(HOSTILE) >= 3
    assert "/?tag=Garden" in found.all("href")
    assert "/?tag=%3Ci%3Eroof%3C/i%3E" in found.all("href")
    assert {value(found, "label"), value(found, "tags")} == {HOSTILE, "<i>roof</i>, Garden"}
    for path in ("/", "/?group=tag", about(STRANGE)):
        found = await page(client, path)
        check_policy(found)
        assert HOSTILE in found.text or value(found, "label") == HOSTILE


async def test_all_of_it_is_taken_away_again(client: Client) -> None:
    await send(client, about(SENSOR), await fields(client, SENSOR, tags="a,b", notes="c"))
    empty = await fields(client, SENSOR, label="", tags=" , ", notes="")
    await send(client, about(SENSOR), empty)
    assert "Nothing is noted about it yet" in (await page(client, device(SENSOR))).text


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("label", "x" * 101),
        ("label", "a\x07b"),
        ("notes", "x" * 4001),
        ("notes", "a\x00b"),
        ("tags", "x" * 33),
        ("tags", ",".join(f"t{number}" for number in range(17))),
    ],
)
async def test_what_cannot_be_kept_comes_back_as_it_was_typed(
    client: Client, fleet: FakeFleet, field: str, text: str
) -> None:
    typed = {"label": "Shed", "tags": "one, two", "notes": "three"} | {field: text}
    found = await refused(client, about(SENSOR), 400, await fields(client, SENSOR, **typed))
    check_policy(found)
    assert wrong(found) == [field]
    assert value(found, "label") == typed["label"]
    assert value(found, "tags") == typed["tags"]
    assert typed["notes"] in found.text
    assert fleet.configured == []


async def test_what_another_one_noted_meanwhile_is_not_lost(client: Client) -> None:
    mine = await fields(client, SENSOR, label="Mine", notes="my notes")
    await send(client, about(SENSOR), await fields(client, SENSOR, label="Theirs", notes="their notes"))
    found = await refused(client, about(SENSOR), 409, mine)
    for words in ("somebody else has changed this meanwhile", "Theirs", "their notes", "my notes"):
        assert words.lower() in found.text.lower()
    assert value(found, "label") == "Mine"
    # Saved again, now that both have been seen, it is taken.
    await send(client, about(SENSOR), mine | {"known": known(found)})
    assert "Mine" in (await page(client, device(SENSOR))).text


async def test_a_form_that_is_too_large_is_refused_with_a_hint(client: Client, fleet: FakeFleet) -> None:
    body = io.BytesIO(b"label=" + b"x" * 2_000_000)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}
    async with client.post(about(SENSOR), data=body, headers=headers) as response:
        assert response.status == 413
        assert f"at most {MAX_BODY_BYTES} bytes" in await response.text()
    assert fleet.configured == []


async def test_who_may_not_note_reads_it_all_the_same(client: Client) -> None:
    await send(client, about(QUIET), await fields(client, QUIET, label="", notes="by the door"))
    viewer = {"Authorization": "Bearer viewer", "Accept": "text/html"}
    async with client.get(device(QUIET), headers=viewer) as response:
        text = await response.text()
    assert "by the door" in text
    assert "/about" not in text
    async with client.post(about(QUIET), data={"label": "x"}, headers=viewer) as response:
        assert response.status == 403


async def test_a_device_that_is_not_there_has_no_form(client: Client) -> None:
    await page(client, about("nobody"), 404)
    await refused(client, about("nobody"), 404, {"label": "x"})
