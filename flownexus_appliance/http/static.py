"""The files a browser loads: style sheets, modules, pictures; each under an address made of its content.

The address is `/static/<hash>/<name>`, where the hash is that of the whole tree and not of the one
file: modules import each other by relative names (`./stream.js`), which stay right inside such a
folder without rewriting any script. Every answer may be kept for ever; any change to any file moves all.

Files are read once, at start: two hundred kilobytes. Beside them stand the texts of scripts in other
languages, `js/catalogue/<language>.js`, made when a browser first asks for them.
"""

import asyncio
import gzip
import posixpath
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path as FilePath
from typing import Final

from aiohttp import web

from ..errors import ApplianceError
from .language import DEFAULT, catalogues, language, load
from .routes import Place, page

ROOT: Final = FilePath(__file__).parent / "static"
# Put there by scripts/setup.sh from the npm package that package-lock.json names.
VENDORED: Final = ("vendor/uplot/uPlot.esm.js", "vendor/uplot/uPlot.min.css")

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".png": "image/png",
}
_PACKED: Final = frozenset({"image/png"})  # compressing it again gains nothing
_CATALOGUE: Final = "js/catalogue/"
_IMPORT: Final = re.compile(r'^import (?:[^";]*? from )?"(\.[^"]+)";', re.MULTILINE)


def catalogue_name(tag: str) -> str:
    """The name of the texts that scripts have in a language other than English."""
    return f"{_CATALOGUE}{tag}.js"


@dataclass(slots=True)
class Asset:
    """One file; its compressed form is made when first asked for."""

    content: bytes
    content_type: str
    _compressed: bytes | None = None

    @property
    def compressed(self) -> bytes:
        if self._compressed is None:
            self._compressed = gzip.compress(self.content, 9, mtime=0)
        return self._compressed


class Assets:
    """The tree of files under one root."""

    def __init__(self, root: FilePath = ROOT) -> None:
        self._root = root
        self._assets: dict[str, Asset] = {}
        self._version = ""

    def load(self) -> None:
        """Read the tree; raises ApplianceError("static_missing") where uPlot was not installed."""
        found = {
            path.relative_to(self._root).as_posix(): Asset(path.read_bytes(), _TYPES[path.suffix])
            for path in sorted(self._root.rglob("*"))
            if path.suffix in _TYPES and path.is_file()
        }
        missing = [name for name in VENDORED if name not in found]
        if missing:
            raise ApplianceError(
                "static_missing",
                f"the charts' script is not installed: {', '.join(missing)}",
                "run scripts/setup.sh run in the checkout, or install the package anew",
            )
        digest = sha256()
        for name, asset in found.items():
            digest.update(name.encode() + b"\0" + sha256(asset.content).digest())
        for tag, path in catalogues().items():
            digest.update(tag.encode() + b"\0" + sha256(path.read_bytes()).digest())
        self._version = digest.hexdigest()[:16]
        self._assets = found

    @property
    def version(self) -> str:
        """What stands in all addresses of files: another one means other files."""
        return self._version

    def url(self, name: str) -> str:
        """The address of a file, as templates write it: `static('css/app.css')`."""
        if name not in self._assets and name not in map(catalogue_name, catalogues()):
            raise KeyError(name)
        return f"/static/{self._version}/{name}"

    def catalogue(self) -> str:
        """The address of the texts that scripts have in the language of the request, "" for English."""
        tag = language().tag
        return "" if tag == DEFAULT else self.url(catalogue_name(tag))

    def modules(self, name: str) -> tuple[str, ...]:
        """The addresses of all modules that a script imports, for a page to ask for them at once.

        Without it a browser learns of each only from the one that imports it, a round trip each time.
        """
        found: dict[str, None] = {}
        wanted = [name]
        while wanted:
            one = wanted.pop(0)
            for imported in _IMPORT.findall(self._assets[one].content.decode()):
                path = posixpath.normpath(posixpath.join(posixpath.dirname(one), imported))
                if path not in found:
                    found[path] = None
                    wanted.append(path)
        return tuple(map(self.url, found))

    def routes(self) -> list[Place]:
        return [page("/static/{version}/{name:.+}", self._serve, None)]

    async def _serve(self, request: web.Request) -> web.Response:
        asset = await self._asset(request.match_info["name"])
        if asset is None or request.match_info["version"] != self._version:
            raise web.HTTPNotFound
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Content-Type": asset.content_type,
            "Vary": "Accept-Encoding",
        }
        packed = asset.content_type in _PACKED
        if not packed and "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=asset.compressed, headers=headers)
        return web.Response(body=asset.content, headers=headers)

    async def _asset(self, name: str) -> Asset | None:
        tag = name.removeprefix(_CATALOGUE).removesuffix(".js")
        if name not in self._assets and name == catalogue_name(tag) and tag in catalogues():
            made = await asyncio.to_thread(load, tag)
            self._assets[name] = Asset(made.script, _TYPES[".js"])
        return self._assets.get(name)
