"""The files a browser loads: style sheets, modules, pictures; each under an address made of its content.

The address is `/static/<hash>/<name>`, where the hash is that of the whole tree and not of the one
file: modules import each other by relative names (`./stream.js`), which stay right inside such a
folder without rewriting any script. Every answer may be kept for ever; any change to any file moves all.

Files are read once, at start: two hundred kilobytes.
"""

import gzip
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path as FilePath
from typing import Final

from aiohttp import web

from ..errors import ApplianceError

ROOT: Final = FilePath(__file__).parent / "static"
# Put there by scripts/setup.sh from the npm package that package-lock.json names.
VENDORED: Final = ("vendor/uplot/uPlot.esm.js", "vendor/uplot/uPlot.min.css")

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}


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
        self._version = digest.hexdigest()[:16]
        self._assets = found

    def url(self, name: str) -> str:
        """The address of a file, as templates write it: `static('css/app.css')`."""
        if name not in self._assets:
            raise KeyError(name)
        return f"/static/{self._version}/{name}"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/static/{version}/{name:.+}", self._serve)]

    async def _serve(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None or request.match_info["version"] != self._version:
            raise web.HTTPNotFound
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable",
            "Content-Type": asset.content_type,
            "Vary": "Accept-Encoding",
        }
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=asset.compressed, headers=headers)
        return web.Response(body=asset.content, headers=headers)
