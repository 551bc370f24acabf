"""A browser in tests of the pages: keeps its session's cookie, sends forms with the token of their page."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from urllib.parse import urlencode

from yarl import URL

from flownexus_appliance.http.guard import COOKIE, FORM_FIELD

from .conftest import Client
from .page import Page, check_policy, parse

HERE = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


@dataclass(slots=True)
class Answer:
    """What came back: the page, or where the browser is sent."""

    status: int
    location: str
    html: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]

    @property
    def page(self) -> Page:
        return parse(self.html)


@dataclass(slots=True)
class Browser:
    """One browser; `cookie` is the secret of its session, "" for a stranger's."""

    client: Client
    cookie: str = ""
    language: str = ""

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self._ask("GET", path, headers or {})

    async def page(self, path: str, status: int = 200) -> Page:
        """A page that keeps to the policy."""
        answer = await self.get(path)
        assert answer.status == status, answer.html
        found = answer.page
        check_policy(found)
        return found

    async def post(
        self, path: str, fields: Mapping[str, str] | None = None, seen: str = "", token: str | None = None
    ) -> Answer:
        """Send a form as it stands on the page `seen`; without one, as a stranger's form, with no token."""
        if token is None:
            token = await self.token(seen) if seen else ""
        body = {FORM_FIELD: token, **(fields or {})}
        return await self._ask("POST", path, {}, body)

    async def token(self, path: str) -> str:
        answer = await self.get(path)
        found = re.search(rf'name="{FORM_FIELD}" value="([^"]+)"', answer.html)
        assert found is not None, answer.html
        return found[1]

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, str] | None = None
    ) -> Answer:
        cookies = {COOKIE: self.cookie, "language": self.language}
        held = "; ".join(f"{name}={value}" for name, value in cookies.items() if value)
        sent = {**HERE, **({"Cookie": held} if held else {}), **headers}
        data = None
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            data = BytesIO(urlencode(body).encode())
        async with self.client.request(
            method, URL(path, encoded=True), data=data, headers=sent, allow_redirects=False
        ) as response:
            html = await response.text()
            given = {name: morsel.value for name, morsel in response.cookies.items()}
            if COOKIE in given:
                self.cookie = given[COOKIE]
            location = response.headers.get("Location", "")
            return Answer(response.status, location, html, response.headers, given)
