"""Asking the API in tests: JSON in, JSON out, with the status that is expected."""

from typing import Any
from urllib.parse import quote

from yarl import URL

from .conftest import Client


def of_endpoint(endpoint: str, rest: str = "") -> str:
    """The address of an endpoint, or of something below it."""
    return f"/endpoints/{quote(endpoint, safe='')}{rest}"


async def ask(client: Client, method: str, path: str, body: object = None, status: int = 200) -> Any:
    """Ask for a path below /api/v1; every answer here is JSON that nobody keeps."""
    url = URL(f"/api/v1{path}", encoded=True)
    async with client.request(method, url, json=body) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        return await response.json()
