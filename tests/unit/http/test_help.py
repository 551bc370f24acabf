"""Help and the manifest: what every browser may ask for, and all that they lead to is there."""

import json
import re
import struct

import pytest

from flownexus_appliance.access.roles import Role
from flownexus_appliance.http.manifest import ICONS
from flownexus_appliance.http.pages_help import CHAPTERS
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.static import ROOT

from .conftest import Client
from .page import check_policy, page
from .people import BEARER

TEMPLATES = ROOT.parent / "templates"


async def test_every_chapter_is_there_and_has_its_anchor(client: Client) -> None:
    found = await page(client, "/help")
    check_policy(found)
    for chapter in CHAPTERS:
        assert chapter.name in found.all("id")
        assert f"#{chapter.name}" in found.all("href")
    assert len([1 for tag, _ in found.tags if tag == "h2"]) == len(CHAPTERS)


async def test_pages_lead_to_chapters_that_there_are() -> None:
    names = {chapter.name for chapter in CHAPTERS}
    led = {
        name
        for template in TEMPLATES.glob("*.html")
        for name in re.findall(r'"/help#([a-z-]+)"', template.read_text("utf-8"))
    }
    assert {"adding", "missing"} <= led <= names


async def test_examples_have_the_address_that_was_asked_for(client: Client) -> None:
    found = await page(client, "/help")
    assert f"{client.make_url('/')}api/v1/endpoints" in found.text
    async with client.get("/help", headers={"Accept": "text/html", "Host": 'box"><i>:1'}) as response:
        assert "<i>" not in await response.text()


@pytest.mark.parametrize(("role", "adds"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
async def test_who_may_not_is_not_led_there(client: Client, role: Role, adds: bool) -> None:
    headers = {"Accept": "text/html", **BEARER[role]}
    async with client.get("/help", headers=headers) as response:
        assert response.status == 200
        assert ('href="/add-device"' in await response.text()) is adds


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height by the header of a PNG file (RFC 2083 11.2.2)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    return struct.unpack(">II", png[16:24])


async def test_the_manifest_is_for_everybody_and_its_icons_are_there(client: Client, parts: Parts) -> None:
    nobody = {"Authorization": "Bearer nobody"}
    async with client.get("/manifest.webmanifest", headers=nobody) as response:
        assert response.status == 200
        assert response.content_type == "application/manifest+json"
        assert response.headers["Cache-Control"] == "no-cache"
        manifest = json.loads(await response.text())
    assert (manifest["start_url"], manifest["scope"], manifest["display"]) == ("/", "/", "standalone")
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    assert len(manifest["icons"]) == len(ICONS)
    for icon in manifest["icons"]:
        async with client.get(icon["src"], headers={**nobody, "Accept-Encoding": "gzip"}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"].partition(";")[0] == icon["type"]
            body = await response.read()
        assert len(body) < 20_000
        if icon["sizes"] != "any":
            assert "Content-Encoding" not in response.headers  # compressed already
            assert "{}x{}".format(*size_of(body)) == icon["sizes"]


async def test_every_page_names_manifest_and_icons(client: Client, parts: Parts) -> None:
    found = await page(client, "/help")
    links = {tag["rel"]: tag["href"] for name, tag in found.tags if name == "link"}
    assert links["manifest"] == "/manifest.webmanifest"
    assert links["apple-touch-icon"] == parts.assets.url("img/apple-touch-icon.png")
    assert size_of((ROOT / "img/apple-touch-icon.png").read_bytes()) == (180, 180)
