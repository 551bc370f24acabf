"""Object models over REST: what is known, uploads that are in use at once, and what is refused."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest

from flownexus_appliance.errors import ApplianceError
from flownexus_appliance.http import api_models
from flownexus_appliance.http.answers import MAX_BODY_BYTES
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.lwm2m.ddf import MAX_SIZE_BYTES
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType

from .asking import ask, of_endpoint
from .conftest import Client
from .house import SENSOR, FakeModels

XML = "application/xml"


def ddf(object_id: int = 32769, version: str = "1.0", name: str = "Soil", note: str = "") -> bytes:
    """An object with the resource that SENSOR has told without a model: /32769/0/7."""
    return (
        f"<LWM2M><!--{note}--><Object><Name>{name}</Name><ObjectID>{object_id}</ObjectID>"
        f"<ObjectVersion>{version}</ObjectVersion><MultipleInstances>Multiple</MultipleInstances>"
        '<Mandatory>Optional</Mandatory><Resources><Item ID="7"><Name>Moisture</Name>'
        "<Operations>RW</Operations><MultipleInstances>Single</MultipleInstances>"
        "<Mandatory>Mandatory</Mandatory><Type>Opaque</Type><RangeEnumeration>1..4 bytes</RangeEnumeration>"
        "<Units>/100</Units></Item></Resources></Object></LWM2M>"
    ).encode()


async def upload(client: Client, data: bytes, status: int = 201, media: str = XML) -> Any:
    # Bytes of this size would be written in one go, which the client warns of.
    async with client.post("/api/v1/models", data=BytesIO(data), headers={"Content-Type": media}) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def found(client: Client, query: str = "") -> list[tuple[int, str]]:
    items = (await ask(client, "GET", f"/models{query}"))["items"]
    return [(item["object_id"], item["version"]) for item in items]


# What is known


async def test_every_model_comes_once_page_by_page(client: Client, parts: Parts) -> None:
    await upload(client, ddf(3303, "1.05"))
    seen: list[tuple[int, str]] = []
    after = ""
    while True:
        answer = await ask(client, "GET", f"/models?limit=97{f'&after={after}' if after else ''}")
        seen += [(item["object_id"], item["version"]) for item in answer["items"]]
        if answer["next"] is None:
            break
        after = answer["next"]
    known = [
        (number, version) for number, _ in parts.models.names() for version in parts.models.versions(number)
    ]
    assert len(seen) > 300
    assert sorted(seen) == sorted(known)
    assert [number for number, _ in seen] == sorted(number for number, _ in seen)
    assert [version for number, version in seen if number == 3303] == ["1.0", "1.1", "1.05"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("?q=CONCENTRATION", {3325}),
        ("?q=3303", {3303}),
        ("?source=uploaded", {32769}),
        ("?source=uploaded&q=3303", set()),
        ("?source=registry&q=soil", set()),
        ("?q=soil", {32769}),
    ],
)
async def test_models_are_found_by_words_and_source(client: Client, query: str, wanted: set[int]) -> None:
    await upload(client, ddf())
    assert {number for number, _ in await found(client, query)} == wanted


async def test_a_model_says_what_its_resources_are(client: Client) -> None:
    await upload(client, ddf())
    assert await ask(client, "GET", "/models/32769") == {
        "object_id": 32769,
        "version": "1.0",
        "name": "Soil",
        "newest": True,
        "source": "uploaded",
        "file": "32769-1.0.xml",
        "versions": ["1.0"],
        "lwm2m_version": "1.0",
        "multiple": True,
        "mandatory": False,
        "resources": [
            {
                "resource_id": 7,
                "name": "Moisture",
                "operations": "RW",
                "data_type": "opaque",
                "multiple": False,
                "mandatory": True,
                "range": "1..4 bytes",
                "units": "/100",
            }
        ],
    }


async def test_a_version_is_shown_as_asked_for(client: Client) -> None:
    newest = await ask(client, "GET", "/models/3303")
    assert (newest["version"], newest["newest"], newest["source"]) == ("1.1", True, "registry")
    older = await ask(client, "GET", "/models/3303?version=1.0")
    assert (older["version"], older["newest"], older["versions"]) == ("1.0", False, ["1.0", "1.1"])
    assert {one["resource_id"] for one in older["resources"]} < {
        one["resource_id"] for one in newest["resources"]
    }


# Uploads


async def test_an_upload_is_in_use_at_once(client: Client, parts: Parts) -> None:
    resource = f"{of_endpoint(SENSOR)}/resources/32769/0/7"
    before = (await ask(client, "GET", resource))["items"][0]
    assert (before["object_name"], before["name"], before["operations"]) == ("Object 32769", "Resource 7", "")
    types = parts.models.with_versions({3: "1.2"})
    assert types(Path.of(32769, 0, 7)) is None
    answer = await upload(client, ddf())
    assert answer["items"] == [
        {
            "object_id": 32769,
            "version": "1.0",
            "name": "Soil",
            "newest": True,
            "source": "uploaded",
            "file": "32769-1.0.xml",
        }
    ]
    after = (await ask(client, "GET", resource))["items"][0]
    assert (after["object_name"], after["name"], after["operations"]) == ("Soil", "Moisture", "RW")
    assert types(Path.of(32769, 0, 7)) is DataType.OPAQUE


async def test_what_was_uploaded_can_be_removed(client: Client) -> None:
    await upload(client, ddf(3303, "1.1", "Ours"))
    assert (await ask(client, "GET", "/models/3303"))["name"] == "Ours"
    assert await ask(client, "DELETE", "/models/3303/1.1") == {"removed": 1}
    assert (await ask(client, "GET", "/models/3303"))["name"] == "Temperature"
    assert (await ask(client, "DELETE", "/models/3303/1.1", status=404))["error"] == "model_unknown"


@pytest.mark.parametrize("media", [XML, "text/xml", "text/xml; charset=utf-8"])
@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, MAX_SIZE_BYTES])
async def test_a_file_may_be_larger_than_other_bodies(client: Client, media: str, size: int) -> None:
    data = ddf(note="x" * (size - len(ddf())))
    assert len(data) == size
    await upload(client, data, media=media)


async def test_a_file_that_is_too_large_is_refused_with_a_hint(client: Client) -> None:
    answer = await upload(client, ddf(note="x" * MAX_SIZE_BYTES), 413)
    assert answer["error"] == "body_too_large"
    assert "1024 KiB" in answer["message"]
    assert "file of its own" in answer["hint"]
    assert await found(client, "?source=uploaded") == []


async def test_other_bodies_stay_as_small_as_they_were(client: Client) -> None:
    await upload(client, ddf(note="x" * MAX_BODY_BYTES))
    large = {"endpoint": "kitchen", "label": "x" * MAX_BODY_BYTES}
    assert (await ask(client, "POST", "/endpoints", large, 413))["error"] == "body_too_large"


@pytest.mark.parametrize("media", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
async def test_what_another_sites_page_could_send_is_refused(client: Client, media: str) -> None:
    assert (await upload(client, ddf(), 415, media))["error"] == "media_type_unsupported"
    assert await found(client, "?source=uploaded") == []


@pytest.mark.parametrize("data", [b"", b"{}", ddf()[:-10], ddf(70000)])
async def test_what_is_no_ddf_is_refused(client: Client, data: bytes) -> None:
    answer = await upload(client, data, 400)
    assert answer["error"] == "ddf_invalid"
    assert answer["hint"]
    assert await found(client, "?source=uploaded") == []


async def test_a_file_that_does_not_come_in_time_is_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_models, "UPLOAD_TIMEOUT_S", 0.0)
    answered = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield ddf()[:10]
        await answered.wait()

    async with client.post("/api/v1/models", data=slowly(), headers={"Content-Type": XML}) as response:
        assert response.status == 408
        assert (await response.json())["error"] == "request_timeout"
        answered.set()


async def test_a_disk_that_is_full_is_told(client: Client, uploads: FakeModels) -> None:
    uploads.failure = ApplianceError("models_unwritable", "cannot change the folder of models", "make room")
    assert (await upload(client, ddf(), 503))["error"] == "models_unwritable"
    assert (await ask(client, "DELETE", "/models/3303/1.1", status=503))["error"] == "models_unwritable"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/models/9999", 404, "model_unknown"),
        ("GET", "/models/x", 404, "model_unknown"),
        ("GET", "/models/65535", 404, "model_unknown"),
        ("GET", "/models/3303?version=7.0", 404, "model_unknown"),
        ("GET", "/models/3303?version=new", 404, "model_unknown"),
        ("GET", "/models?source=here", 400, "query_invalid"),
        ("GET", "/models?limit=501", 400, "query_invalid"),
        ("GET", "/models?after=3303", 400, "query_invalid"),
        ("GET", "/models?after=x/1.0", 400, "query_invalid"),
        ("DELETE", "/models/3303/1.1", 404, "model_unknown"),
        ("DELETE", "/models/x/1.1", 404, "model_unknown"),
        ("PUT", "/models", 405, "method_not_allowed"),
    ],
)
async def test_bad_questions_are_told_what_is_wrong(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    answer = await ask(client, method, path, status=status)
    assert answer["error"] == code
    assert answer["message"]
    assert answer["hint"]
