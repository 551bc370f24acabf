"""The page that lays series over each other: what it offers, what an address may ask for, what it says."""

from pathlib import Path as FilePath
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest

from flownexus_appliance.db.reads import Reader
from flownexus_appliance.http.views_compare import MAX_SERIES
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.values import DataType, Record

from .conftest import Client
from .house import SENSOR, SLEEPER, STRANGE, fill, record
from .page import Page, check_policy, page

TEMPERATURE = "/3303/0/5700"
SWITCH = "/3342/0/5500"


def address(*keys: tuple[str, str], **more: str) -> str:
    """The page with these series, each a path and an endpoint."""
    query = [("series", f"{path}:{endpoint}") for path, endpoint in keys]
    return f"/compare?{urlencode([*query, *more.items()])}"


def legend(found: Page) -> list[dict[str, str]]:
    return [tag for name, tag in found.tags if name == "li" and "data-series" in tag]


def offered(found: Page) -> dict[str, bool]:
    """What may be ticked, and whether it is."""
    boxes = [tag for _, tag in found.tags if tag.get("type") == "checkbox"]
    return {tag["value"]: "checked" in tag for tag in boxes}


def hidden(found: Page) -> list[str]:
    return [
        tag["value"] for _, tag in found.tags if tag.get("type") == "hidden" and tag.get("name") == "series"
    ]


@pytest.fixture
async def wide(reader: Reader, models: ModelSet, tmp_path: FilePath) -> None:
    """Sixty more devices that tell a temperature in degrees Celsius, and some other numbers."""
    temperature = (
        record(TEMPERATURE, 21.5, DataType.FLOAT),
        record("/3303/0/5701", "Cel", DataType.STRING),
    )
    devices: dict[str, tuple[Record, ...]] = {f"node-{number:02}": temperature for number in range(60)}
    devices["node-00"] = (
        *temperature,
        record("/3304/0/5700", 55.0, DataType.FLOAT),
        record("/3304/0/5701", "%RH", DataType.STRING),
        record("/3315/0/5700", 1013.0, DataType.FLOAT),
        record("/3315/0/5701", "Pa", DataType.STRING),
        record(SWITCH, True, DataType.BOOLEAN),
    )
    await fill(tmp_path / "flownexus.db", models, devices, labels={"node-01": "Attic"})


@pytest.mark.parametrize(
    "path",
    [
        "/compare",
        address((TEMPERATURE, SENSOR), (TEMPERATURE, STRANGE), (SWITCH, SENSOR), range="7d"),
        address(("/1/0/1", "<b>nobody</b>"), kind="3303/5700", q="<i>"),
    ],
)
async def test_it_obeys_its_policy(client: Client, path: str) -> None:
    found = await page(client, path)
    check_policy(found)
    assert [tag["href"] for _, tag in found.tags if tag.get("aria-current") == "page"] == ["/compare"]


async def test_at_first_it_offers_the_readings_of_the_fleet(client: Client) -> None:
    found = await page(client, "/compare")
    assert legend(found) == []
    assert "Tick the devices" in found.text
    kinds = [tag["value"] for name, tag in found.tags if name == "option" and "/" in tag.get("value", "")]
    assert set(kinds) == {"3303/5700", "3342/5500", "3/9", "3/11"}
    assert kinds.index("3303/5700") < kinds.index("3/11")  # what one senses before the other numbers
    assert "Temperature /3303/*/5700" in found.text
    assert not any(offered(found).values())


async def test_what_is_chosen_stands_in_the_legend(client: Client) -> None:
    found = await page(client, address((TEMPERATURE, STRANGE), (TEMPERATURE, SENSOR), range="1h"))
    first, second = legend(found)
    assert (first["data-endpoint"], first["data-number"], first["data-axis"]) == (STRANGE, "1", "1")
    assert (second["data-name"], second["data-title"], second["data-unit"]) == (
        "Greenhouse",
        "Temperature",
        "°C",
    )
    assert first["data-dash"] != second["data-dash"]
    assert "29.50" in found.text
    boxes = offered(found)
    assert boxes[f"{TEMPERATURE}:{SENSOR}"]
    assert boxes[f"{TEMPERATURE}:{STRANGE}"]
    assert not boxes[f"{TEMPERATURE}:{SLEEPER}"]
    current = [tag["data-range"] for _, tag in found.tags if tag.get("aria-current") == "true"]
    assert current == ["1h"]


async def test_a_link_takes_one_out_and_keeps_the_rest(client: Client) -> None:
    path = address((TEMPERATURE, STRANGE), (SWITCH, SENSOR), kind="3/9", q="sleep", range="30d")
    found = await page(client, path)
    (link,) = [tag["href"] for _, tag in found.tags if tag.get("data-remove") == f"{TEMPERATURE}:{STRANGE}"]
    assert parse_qsl(urlsplit(link).query) == [
        ("series", f"{SWITCH}:{SENSOR}"),
        ("kind", "3/9"),
        ("q", "sleep"),
        ("range", "30d"),
    ]
    assert [one["data-endpoint"] for one in legend(await page(client, link))] == [SENSOR]


async def test_a_form_keeps_what_its_list_does_not_show(client: Client) -> None:
    found = await page(client, address((TEMPERATURE, SENSOR), (SWITCH, SENSOR), kind="3342/5500"))
    assert hidden(found) == [f"{TEMPERATURE}:{SENSOR}"]
    assert offered(found) == {f"{SWITCH}:{SENSOR}": True}


@pytest.mark.usefixtures("wide")
async def test_a_search_finds_names_and_labels(client: Client) -> None:
    found = await page(client, "/compare?kind=3303/5700&q=aTTic")
    assert list(offered(found)) == [f"{TEMPERATURE}:node-01"]
    assert "Attic" in found.text
    found = await page(client, "/compare?kind=3303/5700&q=nobody")
    assert offered(found) == {}
    assert "answers to that" in found.text


@pytest.mark.usefixtures("wide")
async def test_a_large_fleet_is_not_listed_whole(client: Client) -> None:
    found = await page(client, "/compare?kind=3303/5700")
    assert len(offered(found)) == 50
    assert "the first 50" in found.text
    assert next(iter(offered(found))) == f"{TEMPERATURE}:node-01"  # Attic: by the names that are shown
    found = await page(client, "/compare?kind=3303/5700&q=node-4")
    assert len(offered(found)) == 10
    assert "the first 50" not in found.text


@pytest.mark.usefixtures("wide")
async def test_two_units_have_an_axis_each_and_a_third_is_told(client: Client) -> None:
    keys = ((TEMPERATURE, "node-00"), ("/3304/0/5700", "node-00"), (TEMPERATURE, "node-01"))
    found = await page(client, address(*keys))
    assert [one["data-axis"] for one in legend(found)] == ["1", "2", "1"]
    assert "third unit" not in found.text
    found = await page(client, address(*keys, ("/3315/0/5700", "node-00")))
    assert [one["data-axis"] for one in legend(found)] == ["1", "2", "1", "0"]
    assert "third unit" in found.text
    # The words of a state are an axis of their own.
    found = await page(client, address(*keys[:1], (SWITCH, "node-00")))
    assert [one["data-axis"] for one in legend(found)] == ["1", "2"]


@pytest.mark.usefixtures("wide")
async def test_more_than_a_chart_can_show_is_left_out_and_told(client: Client) -> None:
    keys = [(TEMPERATURE, f"node-{number:02}") for number in range(MAX_SERIES + 3)]
    found = await page(client, address(*keys[:MAX_SERIES]))
    assert "left out" not in found.text
    assert len({(one["data-number"]) for one in legend(found)}) == MAX_SERIES
    found = await page(client, address(*keys))
    assert len(legend(found)) == MAX_SERIES
    assert "3 were left out" in found.text


async def test_the_same_series_twice_is_one(client: Client) -> None:
    found = await page(client, address((TEMPERATURE, SENSOR), (TEMPERATURE, SENSOR)))
    assert len(legend(found)) == 1


async def test_what_has_no_samples_is_listed_as_such(client: Client) -> None:
    found = await page(client, address(("/3303/9/5700", SENSOR), ("/3/0/0", SENSOR), (TEMPERATURE, "nobody")))
    assert [one["data-axis"] for one in legend(found)] == ["0", "0", "0"]
    assert found.text.count("No samples") == 3


@pytest.mark.parametrize(
    "query",
    [
        "series=/3303/0/5700",
        "series=:name",
        "series=/3303/0/5700:",
        "series=/3303:name",
        "series=/a/b/c:name",
        "kind=3303",
        "kind=3303/5700/1",
        "kind=99999/1",
        "kind=-1/2",
        "range=2h",
        f"q={'a' * 256}",
        "&".join(f"series=/3303/0/5700:n{number}" for number in range(80)),
    ],
)
async def test_what_cannot_be_shown_is_refused_with_a_page(client: Client, query: str) -> None:
    found = await page(client, f"/compare?{quote(query, safe='=&:/')}", status=400)
    check_policy(found)


async def test_a_fleet_without_numbers_says_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(_reader: Reader) -> list[object]:
        return []

    monkeypatch.setattr(Reader, "kinds", none)
    found = await page(client, "/compare")
    check_policy(found)
    assert "No device has told a number yet" in found.text


async def test_a_chart_of_a_device_leads_here_and_to_its_samples(client: Client) -> None:
    found = await page(client, f"/devices/{quote(STRANGE, safe='')}")
    links = [tag for _, tag in found.tags if "data-compare-link" in tag]
    assert [one["data-series"] for one in legend(await page(client, links[0]["href"]))] == [
        f"{TEMPERATURE}:{STRANGE}"
    ]
    (csv,) = [tag["href"] for _, tag in found.tags if "data-csv" in tag]
    async with client.get(csv) as response:
        assert response.status == 200
        lines = (await response.text()).splitlines()
    assert len(lines) == 1 + 2  # what lies before the present moment


async def test_a_place_is_a_track_and_no_two_curves(
    client: Client, models: ModelSet, tmp_path: FilePath
) -> None:
    places = (
        record("/6/0/0", 52.5, DataType.FLOAT),
        record("/6/0/1", 13.4, DataType.FLOAT),
        record("/6/1/0", 52.5, DataType.FLOAT),
        record("/3336/0/5514", "48.1", DataType.STRING),
        record("/3336/0/5515", "11.6", DataType.STRING),
    )
    await fill(tmp_path / "flownexus.db", models, {"rover": places})
    found = await page(client, "/devices/rover")
    check_policy(found)
    tracks = [tag for _, tag in found.tags if "data-track" in tag]
    assert [(one["data-track"], one["data-source"]) for one in tracks] == [
        ("/6/0", "series"),
        ("/3336/0", "history"),
    ]
    assert found.all("data-chart") == ["/6/1/0", "/6/0/0", "/6/0/1"]  # one coordinate alone is a number
