"""Speaking to Leshan's API in tests, and the endings of operations that they need."""

from contextlib import AbstractAsyncContextManager
from io import BytesIO
from typing import Any
from urllib.parse import quote

from aiohttp import ClientResponse
from yarl import URL

from flownexus_appliance.db.operations import Outcome
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Status
from flownexus_appliance.lwm2m.values import Record

from .conftest import BASE, Rest

Ending = tuple[Status, Outcome]


def content(*records: Record) -> Ending:
    return Status.CONFIRMED, Outcome("2.05", records)


def links(*found: Link) -> Ending:
    return Status.CONFIRMED, Outcome("2.05", links=found)


def done(code: str, location: str = "") -> Ending:
    return Status.CONFIRMED, Outcome(code, location=location)


def refusal(code: str, message: str = "") -> Ending:
    return Status.FAILED, Outcome(code, message=message)


def of_client(endpoint: str, rest: str = "") -> URL:
    """The address of a device, or of something below it; `rest` is already encoded."""
    return URL(f"{BASE}/clients/{quote(endpoint, safe='')}{rest}", encoded=True)


async def told(
    rest: Rest,
    method: str,
    endpoint: str,
    path: str = "",
    body: object = None,
    data: bytes | str | None = None,
    headers: dict[str, str] | None = None,
) -> Any:
    """The JSON of an answer with status 200; `body` is sent as JSON, `data` with these headers alone."""
    async with _asked(rest, method, of_client(endpoint, path), body, data, headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "application/json"
        return await response.json()


async def failed(
    rest: Rest,
    method: str,
    endpoint: str,
    path: str = "",
    body: object = None,
    data: bytes | str | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, str]:
    """Status and text of an answer that is no JSON; otherwise as `told`."""
    async with _asked(rest, method, of_client(endpoint, path), body, data, headers) as response:
        assert response.content_type == "text/plain"
        assert response.charset == "utf-8"
        return response.status, await response.text()


def _asked(
    rest: Rest,
    method: str,
    url: URL,
    body: object,
    data: bytes | str | None,
    headers: dict[str, str] | None,
) -> AbstractAsyncContextManager[ClientResponse]:
    if data is None:
        return rest.request(method, url, json=body, headers=headers)
    text = data.encode() if isinstance(data, str) else data
    # By itself the client says that bytes are an octet-stream.
    skipped = ["Content-Type"]
    return rest.request(method, url, data=BytesIO(text), headers=headers, skip_auto_headers=skipped)
