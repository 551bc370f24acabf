"""Leshan's object models: those of a device, by the versions that it registered."""

from dataclasses import replace

import pytest

from flownexus_appliance.http.leshan.objectspecs import object_json
from flownexus_appliance.lwm2m.model import ModelSet, ObjectDefinition

from ..house import QUIET, SENSOR, FakeFleet, registration
from .conftest import BASE, Rest


async def test_the_models_of_a_device(rest: Rest) -> None:
    async with rest.get(f"{BASE}/objectspecs/{SENSOR}") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        found = await response.json()
    assert [(one["id"], one["version"]) for one in found] == [(1, "1.1"), (3, "1.2"), (3303, "1.1")]
    device = found[1]
    defs = {one["id"]: one for one in device.pop("resourcedefs")}
    assert device == {
        "id": 3,
        "name": "Device",
        "instancetype": "single",
        "mandatory": True,
        "urn": "urn:oma:lwm2m:oma:3:1.2",
        "version": "1.2",
        "lwm2mversion": "1.1",
        "description": "",
        "description2": "",
    }
    assert defs[9] == {
        "id": 9,
        "name": "Battery Level",
        "operations": "R",
        "instancetype": "single",
        "mandatory": False,
        "type": "integer",
        "range": "0..100",
        "units": "/100",
        "description": "",
    }
    assert (defs[4]["operations"], defs[4]["type"]) == ("E", "none")
    assert (defs[7]["instancetype"], defs[13]["type"]) == ("multiple", "time")


async def test_a_device_that_is_not_registered(rest: Rest) -> None:
    async with rest.get(f"{BASE}/objectspecs/{QUIET}") as response:
        assert (response.status, response.content_type) == (400, "text/plain")
        assert await response.text() == f"No registered client with id '{QUIET}'"


async def test_there_is_nothing_below_a_device(rest: Rest) -> None:
    async with rest.get(f"{BASE}/objectspecs/{SENSOR}/") as response:
        assert response.status == 200
    async with rest.get(f"{BASE}/objectspecs/{SENSOR}/3") as response:
        assert (response.status, await response.text()) == (400, "Invalid path")


async def test_a_version_that_was_not_named_is_the_first(
    rest: Rest, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = registration(SENSOR)
    unnamed = {number: replace(one, version="") for number, one in client.objects.items()}
    without = replace(client, objects={**unnamed, 65000: unnamed[3]})
    monkeypatch.setattr(FakeFleet, "registration", lambda *_: without)
    async with rest.get(f"{BASE}/objectspecs/{SENSOR}") as response:
        found = await response.json()
    assert [(one["id"], one["version"]) for one in found] == [(1, "1.0"), (3, "1.0"), (3303, "1.0")]
    assert [one["urn"] for one in found] == [
        "urn:oma:lwm2m:oma:1",
        "urn:oma:lwm2m:oma:3",
        "urn:oma:lwm2m:ext:3303",
    ]


@pytest.mark.parametrize(
    ("object_id", "label"),
    [(1023, "oma"), (2048, "ext"), (10240, "ext"), (10241, "x"), (32768, "x"), (42769, "x")],
)
def test_the_name_of_an_object_says_whose_it_is(models: ModelSet, object_id: int, label: str) -> None:
    device = models.object(3)
    assert device is not None
    other: ObjectDefinition = replace(device, object_id=object_id, version="2.0")
    assert object_json(other)["urn"] == f"urn:oma:lwm2m:{label}:{object_id}:2.0"


def test_a_resource_that_servers_cannot_use_has_no_operations(models: ModelSet) -> None:
    security = models.object(0)
    assert security is not None
    (uri, *_) = object_json(security)["resourcedefs"]
    assert (uri["operations"], uri["type"]) == ("NONE", "string")
