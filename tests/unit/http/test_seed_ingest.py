"""The seed's way in: its format in full, its answers, what it says of mistakes, and its lists."""

import json
from typing import Any

import pytest

from flownexus_appliance.db import by_name
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record, Value

from .conftest import Client
from .house import NOW_MS, FakeFleet, record
from .people import FakeAccess

SINGLE = "/leshan_api/resource/single"
COMPOSITE = "/leshan_api/resource/composite"
# The document's own listings 1 and 2.
TEMPERATURE = {"kind": "singleResource", "id": 5700, "type": "FLOAT", "value": "24.899181214836236"}
LISTING: dict[str, Any] = {
    "instances": [
        {
            "kind": "instance",
            "resources": [
                {"kind": "singleResource", "id": 0, "type": "STRING", "value": "Zephyr"},
                {"kind": "multiResource", "values": {"0": "1", "1": "5"}},
                {"kind": "singleResource", "id": 17, "type": "STRING", "value": "qemu_x86"},
            ],
            "id": 0,
        }
    ],
    "kind": "obj",
    "id": 3,
}


async def post(client: Client, path: str, body: object, status: int = 201) -> Any:
    async with client.post(path, json=body) as response:
        assert response.status == status, await response.text()
        assert response.content_type == "application/json"
        return await response.json()


def single(**more: object) -> dict[str, object]:
    return {"ep": "qemu_x86", "obj_id": 3303, "val": {**TEMPERATURE, **more}}


def composite(*resources: object) -> dict[str, Any]:
    instance = {"kind": "instance", "id": 0, "resources": list(resources)}
    return {"ep": "qemu_x86", "val": {"kind": "obj", "id": 3, "instances": [instance]}}


def kept(fleet: FakeFleet) -> tuple[Record, ...]:
    ((endpoint, records),) = fleet.ingested
    assert endpoint == "qemu_x86"
    return records


# What goes in


async def test_what_a_device_tells_is_no_change_but_a_mistake_is_on_record(
    client: Client, access: FakeAccess
) -> None:
    await post(client, SINGLE, single())
    assert access.notes == []
    await post(client, SINGLE, {}, status=400)
    assert [(what, outcome) for _, _, what, _, outcome in access.notes] == [(f"POST {SINGLE}", "http_400")]


async def test_a_single_resource(client: Client, fleet: FakeFleet) -> None:
    assert await post(client, SINGLE, single()) == single()
    assert kept(fleet) == (record("/3303/0/5700", 24.899181214836236, DataType.FLOAT),)


async def test_the_documents_composite_resource(client: Client, fleet: FakeFleet) -> None:
    body = {"ep": "qemu_x86", "val": LISTING}
    assert await post(client, COMPOSITE, body) == body
    assert kept(fleet) == (
        record("/3/0/0", "Zephyr", DataType.STRING),
        record("/3/0/17", "qemu_x86", DataType.STRING),
    )


async def test_the_later_composite_of_several_objects(client: Client, fleet: FakeFleet) -> None:
    instance = {"kind": "instance", "id": 1, "resources": [TEMPERATURE]}
    body = {
        "ep": "qemu_x86",
        "val": {"/3": LISTING, "/3303/1": {"kind": "obj", "id": 3303, "instances": [instance]}},
    }
    assert await post(client, COMPOSITE, body) == body
    assert [str(one.path) for one in kept(fleet)] == ["/3/0/0", "/3/0/17", "/3303/1/5700"]


async def test_a_multiple_resource_becomes_its_instances(client: Client, fleet: FakeFleet) -> None:
    voltage = {"kind": "multiResource", "id": 7, "type": "INTEGER", "values": {"0": "3800", "5": 5000}}
    await post(client, COMPOSITE, composite(voltage))
    assert kept(fleet) == (
        record("/3/0/7/0", 3800, DataType.INTEGER),
        record("/3/0/7/5", 5000, DataType.INTEGER),
    )


async def test_a_multiple_resource_without_its_type_has_that_of_the_model(
    client: Client, fleet: FakeFleet
) -> None:
    untyped = [
        {"kind": "multiResource", "id": 7, "values": {"0": "3800"}},
        {"kind": "multiResource", "id": 26000, "values": {"0": "3800"}},
    ]
    await post(client, COMPOSITE, composite(*untyped))
    assert kept(fleet) == (
        record("/3/0/7/0", 3800, DataType.INTEGER),
        record("/3/0/26000/0", "3800", DataType.STRING),
    )


@pytest.mark.parametrize(
    ("path", "type_name", "given", "value", "data_type"),
    [
        ("/3/0/0", "STRING", "Zephyr", "Zephyr", DataType.STRING),
        ("/3/0/0", "STRING", "", "", DataType.STRING),
        ("/3/0/0", "STRING", 5, "5", DataType.STRING),
        ("/3/0/9", "INTEGER", "95", 95, DataType.INTEGER),
        ("/3/0/9", "INTEGER", 95, 95, DataType.INTEGER),
        ("/9999/0/1", "UNSIGNED_INTEGER", str(2**64 - 1), 2**64 - 1, DataType.UNSIGNED),
        ("/3303/0/5700", "FLOAT", "1.0E-9", 1e-9, DataType.FLOAT),
        ("/3303/0/5700", "FLOAT", 21, 21.0, DataType.FLOAT),
        ("/3303/0/5700", "INTEGER", "21", 21.0, DataType.FLOAT),  # the model knows better
        ("/9999/0/1", "INTEGER", "21", 21, DataType.INTEGER),
        ("/3342/0/5500", "BOOLEAN", "true", True, DataType.BOOLEAN),
        ("/3342/0/5500", "BOOLEAN", "False", False, DataType.BOOLEAN),
        ("/3342/0/5500", "BOOLEAN", True, True, DataType.BOOLEAN),
        ("/3/0/13", "TIME", "1702050067000", 1_702_050_067, DataType.TIME),
        ("/3/0/13", "TIME", 1_702_050_067_999, 1_702_050_067, DataType.TIME),
        ("/10240/0/2", "TIME", "-1000", -1, DataType.TIME),
        ("/5/0/0", "OPAQUE", "01ff", b"\x01\xff", DataType.OPAQUE),
        ("/9999/0/1", "OBJLNK", "66:0", ObjectLink(66, 0), DataType.OBJLNK),
        ("/9999/0/1", "CORELINK", "</3/0>", "</3/0>", DataType.CORELNK),
    ],
)
async def test_values_of_all_types(
    client: Client,
    fleet: FakeFleet,
    path: str,
    type_name: str,
    given: object,
    value: Value,
    data_type: DataType,
) -> None:
    object_id, _, resource_id = Path.parse(path)
    body = {"ep": "qemu_x86", "obj_id": object_id, "val": {**TEMPERATURE, "id": resource_id}}
    body["val"] |= {"type": type_name, "value": given}  # type: ignore[operator]
    told = await post(client, SINGLE, body)
    assert told["val"]["value"] == (given if isinstance(given, str) else json.dumps(given))
    assert kept(fleet) == (record(path, value, data_type),)
    assert type(kept(fleet)[0].value) is type(value)


async def test_ids_may_be_text_and_more_fields_are_passed_over(client: Client, fleet: FakeFleet) -> None:
    told = await post(client, SINGLE, {**single(id="5700", unit="Cel"), "obj_id": "3303", "more": 1})
    assert told == single()
    assert len(kept(fleet)) == 1


@pytest.mark.parametrize("val", [{}, {"/3": {"kind": "obj", "id": 3}}, {"kind": "obj", "id": 3}])
async def test_a_post_without_values_keeps_nothing(client: Client, fleet: FakeFleet, val: object) -> None:
    body = {"ep": "qemu_x86", "val": val}
    assert await post(client, COMPOSITE, body) == body
    assert fleet.ingested == []


# What does not


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, ["ep", "obj_id", "val"]),
        ([], ["non_field_errors"]),
        (single(kind="obj"), ["val.kind"]),
        (single(type="float"), ["val.type"]),
        (single(type="FLOAT", id=None), ["val.id"]),
        (single(id=65535), ["val.id"]),
        (single(id=-1), ["val.id"]),
        (single(id=1.5), ["val.id"]),
        (single(id=True), ["val.id"]),
        (single(value="x" * 256, type="STRING"), ["val.value"]),
        (single(value=None), ["val.value"]),
        (single(value=[]), ["val.value"]),
        (single(value="warm"), ["val.value"]),
        (single(value="1.5", type="INTEGER"), ["val.value"]),
        (single(value="yes", type="BOOLEAN"), ["val.value"]),
        (single(value="2026-01-01", type="TIME"), ["val.value"]),
        (single(value="xyz", type="OPAQUE"), ["val.value"]),
        (single(value="66", type="OBJLNK"), ["val.value"]),
        ({"ep": 5 * [1], "obj_id": "three", "val": {}}, ["ep", "obj_id", "val.kind", "val.id", "val.type"]),
        (single(kind="multiResource"), ["val.values"]),
        ({"ep": "x" * 256, "obj_id": 3303, "val": TEMPERATURE}, ["ep"]),
        ({"ep": "qemu_x86", "obj_id": 3303, "val": "24.9"}, ["val.non_field_errors"]),
    ],
)
async def test_mistakes_are_told_by_field(
    client: Client, fleet: FakeFleet, body: object, where: list[str]
) -> None:
    faults = await post(client, SINGLE, body, 400)
    for field in where:
        found = faults
        for name in field.split("."):
            found = found[name]
        assert isinstance(found, list)
        assert all(isinstance(reason, str) and reason for reason in found)
    assert fleet.ingested == []


async def test_all_mistakes_are_told_at_once_where_they_are(client: Client, fleet: FakeFleet) -> None:
    good = {"kind": "singleResource", "id": 0, "type": "STRING", "value": "x"}
    multiple = {"kind": "multiResource", "id": 7, "type": "INTEGER", "values": {"0": [], "1": "5"}}
    faults = await post(client, COMPOSITE, composite(good, {**good, "id": "x"}, multiple), 400)
    (instance,) = faults["val"]["instances"]
    first, second, third = instance["resources"]
    assert first == {}
    assert list(second) == ["id"]
    assert list(third["values"]) == ["0"]
    assert fleet.ingested == []


@pytest.mark.parametrize(
    "val",
    [
        5,
        {"/3": 5},
        {"/3": {**LISTING, "instances": {}}},
        {"/3": {**LISTING, "kind": "instance"}},
        {"/3": LISTING, "/5": {"kind": "obj"}},
        {"kind": "obj", "id": 3, "instances": [{"kind": "instance", "id": 0}]},
        {"kind": "obj", "id": 3, "instances": [{"kind": "obj", "id": 0, "resources": []}]},
    ],
)
async def test_a_composite_that_is_none(client: Client, fleet: FakeFleet, val: object) -> None:
    assert "val" in await post(client, COMPOSITE, {"ep": "qemu_x86", "val": val}, 400)
    assert fleet.ingested == []


@pytest.mark.parametrize("values", [{"-1": "5"}, {"65535": "5"}, {"x": "5"}, {"²": "5"}, [], None])
async def test_resource_instances_that_there_are_not(
    client: Client, fleet: FakeFleet, values: object
) -> None:
    resource = {"kind": "multiResource", "id": 7, "type": "INTEGER", "values": values}
    await post(client, COMPOSITE, composite(resource), 400)
    assert fleet.ingested == []


async def test_one_wrong_value_and_nothing_is_kept(client: Client, fleet: FakeFleet) -> None:
    good = {"kind": "singleResource", "id": 0, "type": "STRING", "value": "x"}
    wrong = {"kind": "singleResource", "id": 9, "type": "INTEGER", "value": "full"}
    faults = await post(client, COMPOSITE, composite(good, wrong), 400)
    assert "/3/0/9" in faults["val"]["value"][0]
    assert fleet.ingested == []


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 20_000])
async def test_a_body_that_is_no_json(client: Client, data: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    async with client.post(SINGLE, data=data, headers=headers) as response:
        assert response.status == 400
        assert "JSON" in (await response.json())["detail"]


async def test_other_media_types(client: Client) -> None:
    async with client.post(SINGLE, data=json.dumps(single()).encode()) as response:
        assert response.status == 415


async def test_what_the_house_refuses(client: Client, fleet: FakeFleet) -> None:
    fleet.failure = UsageError("endpoint_invalid", "not a name", "use another")
    assert await post(client, SINGLE, single(), 400) == {"ep": ["not a name: use another"]}
    fleet.failure = StoreError("store_full", "the disk is full", "make room")
    assert (await post(client, SINGLE, single(), 503))["error"] == "store_full"


async def test_pages_of_other_sites_can_post_nothing(client: Client, fleet: FakeFleet) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    async with client.post(SINGLE, json=single(), headers=headers) as response:
        assert response.status == 403
    assert fleet.ingested == []


# What comes out


async def listed(client: Client, name: str, status: int = 200) -> Any:
    async with client.get(f"/leshan_api/data/{name}") as response:
        assert response.status == status
        return await response.json()


async def test_values_by_name_of_all_devices(client: Client) -> None:
    found = await listed(client, "Sensor%20Value/")
    assert found == await listed(client, "Sensor%20Value")
    assert len(found) == 1440 + 3 + 3
    now = {"timestamp_created": "2026-11-18T11:06:40Z", "resource_type": "Sensor Value"}
    assert found[-3:] == [{**now, "value": value} for value in (29.5, 21.0, 21.0)]
    times = [one["timestamp_created"] for one in found]
    assert times == sorted(times)


async def test_only_the_newest_of_many(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = await listed(client, "Sensor%20Value/")
    monkeypatch.setattr(by_name.samples_by_name, "__defaults__", (100,))
    assert await listed(client, "Sensor%20Value/") == everything[-100:]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Current%20Time", [1_794_996_400_000]),  # in ms, as it is posted
        ("Manufacturer", ["Nordic <Semi>"]),
        ("Battery%20Level", [87]),
        ("Resource%207", ["01ff"]),
        ("Digital%20Input%20State", [True]),
    ],
)
async def test_values_of_all_kinds(client: Client, name: str, values: list[object]) -> None:
    found = await listed(client, f"{name}/")
    assert [one["value"] for one in found] == values


@pytest.mark.parametrize("name", ["sensor%20value", "Nothing", "%25", "a%2Fb"])
async def test_names_that_there_are_not(client: Client, name: str) -> None:
    told = await listed(client, f"{name}/", 404)
    assert list(told) == ["error"]


async def test_a_time_that_no_calendar_has(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def far(*_: object) -> list[by_name.NamedSample]:
        return [by_name.NamedSample(moment, 1, "integer") for moment in (-5, 2**62, NOW_MS + 1)]

    monkeypatch.setattr("flownexus_appliance.http.seed_ingest.samples_by_name", far)
    assert [one["timestamp_created"] for one in await listed(client, "x/")] == [
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999000Z",
        "2026-11-18T11:06:40.001000Z",
    ]
