"""Static files: addresses made of content, kept for ever, compressed, and none outside the tree."""

import gzip
import re
from pathlib import Path

import pytest

from flownexus_appliance.errors import ApplianceError
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.http.static import ROOT, VENDORED, Assets

from .conftest import Client

FOREVER = "public, max-age=31536000, immutable"


def tree(root: Path, script: bytes = b"export {}") -> Assets:
    for name in (*VENDORED, "js/app.js"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(script)
    assets = Assets(root)
    assets.load()
    return assets


def test_an_address_changes_with_the_content_of_any_file(tmp_path: Path) -> None:
    before = tree(tmp_path).url("js/app.js")
    assert re.fullmatch(r"/static/[0-9a-f]{16}/js/app\.js", before)
    assert tree(tmp_path).url("js/app.js") == before
    (tmp_path / "js/other.js").write_bytes(b"1")
    assert tree(tmp_path).url("js/app.js") != before


def test_a_file_that_is_not_there_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        tree(tmp_path).url("js/none.js")


def test_a_checkout_without_uplot_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError) as caught:
        Assets(tmp_path).load()
    assert caught.value.code == "static_missing"
    assert "setup.sh" in caught.value.hint


async def test_a_file_may_be_kept_for_ever(client: Client, parts: Parts) -> None:
    url = parts.assets.url("css/tokens.css")
    async with client.get(url, headers={"Accept-Encoding": "identity"}) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == FOREVER
        assert response.headers["Content-Type"] == "text/css; charset=utf-8"
        assert await response.read() == (ROOT / "css/tokens.css").read_bytes()


async def test_a_browser_gets_it_compressed(client: Client, parts: Parts) -> None:
    url = parts.assets.url("vendor/uplot/uPlot.esm.js")
    async with client.get(url, headers={"Accept-Encoding": "gzip"}, auto_decompress=False) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Vary"] == "Accept-Encoding"
        body = await response.read()
    assert gzip.decompress(body) == (ROOT / "vendor/uplot/uPlot.esm.js").read_bytes()
    assert len(body) < 50_000


@pytest.mark.parametrize(
    "path",
    [
        "/static/0000000000000000/css/tokens.css",
        "/static/{version}/css/none.css",
        "/static/{version}/../http/errors.py",
        "/static/{version}/%2e%2e/errors.py",
        "/static/{version}/vendor/uplot/LICENSE",
    ],
)
async def test_nothing_else_is_served(client: Client, parts: Parts, path: str) -> None:
    version = parts.assets.url("css/tokens.css").split("/")[2]
    async with client.get(path.format(version=version)) as response:
        assert response.status == 404
        assert response.headers["Cache-Control"] == "no-store"


def test_modules_import_only_what_is_there_and_ours() -> None:
    for script in sorted((ROOT / "js").glob("*.js")):
        for name in re.findall(r'(?:from|import)\s+"([^"]+)"', script.read_text("utf-8")):
            assert name.startswith(("./", "../")), f"{script.name} imports {name}"
            assert (script.parent / name).resolve().is_file(), f"{script.name} imports {name}"
