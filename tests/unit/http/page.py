"""Looking at pages in tests: their tags and text, what forms send, and the policy every page keeps to."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import quote

from yarl import URL

from .conftest import Client


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(html)
        assert not self._open, f"left open: {self._open}"

    @property
    def text(self) -> str:
        return " ".join("".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self._texts.append(data + " ")

    def all(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def parse(html: str) -> Page:
    assert html.lstrip().lower().startswith("<!doctype html>")
    return Page(html)


async def page(client: Client, path: str, status: int = 200, cache: str = "no-cache") -> Page:
    """What a browser gets at an address; `cache` is who may keep it."""
    url = URL(path, encoded=True)
    async with client.get(url, headers={"Accept": "text/html"}, allow_redirects=False) as response:
        text = await response.text()
        assert response.status == status, text
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Cache-Control"] == cache
        return parse(text)


async def send(
    client: Client,
    path: str,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> str:
    """Send a form that is taken; the address the browser is sent on to."""
    url = URL(path, encoded=True)
    # A form without fields has a body all the same, and its type.
    typed = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    async with client.post(url, data=dict(fields or {}), headers=typed, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.read() == b""
        return response.headers["Location"]


async def refused(
    client: Client,
    path: str,
    status: int,
    fields: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> Page:
    """Send a form that is not taken; the page that says why."""
    url = URL(path, encoded=True)
    typed = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html", **(headers or {})}
    async with client.post(url, data=dict(fields), headers=typed, allow_redirects=False) as response:
        text = await response.text()
        assert response.status == status, text
        return parse(text)


def wrong(found: Page) -> list[str]:
    """The fields that a page marks as wrong; each must say why beside it."""
    marked = [tag for _, tag in found.tags if tag.get("aria-invalid") == "true"]
    for tag in marked:
        assert f"{tag['id']}-wrong" in tag["aria-describedby"].split()
        assert f"{tag['id']}-wrong" in found.all("id")
    return [tag["id"] for tag in marked]


def value(found: Page, name: str) -> str:
    """What stands in an input."""
    return next(tag["value"] for _, tag in found.tags if tag.get("id") == name)


def device(endpoint: str) -> str:
    return f"/devices/{quote(endpoint, safe='')}"


def check_policy(found: Page) -> None:
    """No inline script or style and nothing from elsewhere; names, ids and labels are sound."""
    ids = found.all("id")
    assert len(ids) == len(set(ids))
    for tag, attributes in found.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert attributes["src"].startswith("/static/")
        for name in ("src", "href", "action"):
            assert re.match(r"[/#?]", attributes.get(name, "/")), attributes
        if tag in ("input", "select", "textarea") and attributes.get("type") != "hidden":
            assert attributes["id"] in found.all("for"), attributes
        for referred in attributes.get("aria-describedby", "").split():
            assert referred in ids
    assert [tag for tag, _ in found.tags].count("h1") == 1
