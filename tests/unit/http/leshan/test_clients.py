"""Leshan's routes on devices: what each asks of the device, and how its answer is told."""

from typing import Any

import pytest

from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Kind, Operation
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record

from ..house import NOW_MS, SENSOR, SLEEPER, STRANGE, FakeFleet, FakeOperations, FakeReporting, record
from .conftest import BASE, Rest
from .speaking import content, done, links, of_client, refusal, told

LEVEL = record("/3/0/9", 95, DataType.INTEGER)
LEVEL_NODE = {"kind": "singleResource", "id": 9, "type": "INTEGER", "value": "95"}
ZONE = record("/3/0/14", "+02:00", DataType.STRING)
ZONE_NODE = {"id": 14, "kind": "singleResource", "value": "+02:00", "type": "string"}
GOOD = {"valid": True, "success": True, "failure": False}
CHANGED = {"status": "CHANGED(204)", **GOOD}


def path(text: str) -> Path:
    return Path.parse(text)


def asked(operations: FakeOperations) -> Operation:
    """The one operation that was asked for."""
    (one,) = operations.asked
    assert (one.endpoint, one.by, one.checked) == (SENSOR, "anna/script", False)
    return one.operation


async def test_all_registrations(rest: Rest) -> None:
    for address in ("/clients", "/clients/"):
        async with rest.get(BASE + address) as response:
            assert response.status == 200
            assert response.content_type == "application/json"
            found = await response.json()
        assert [one["endpoint"] for one in found] == sorted([SENSOR, SLEEPER, STRANGE])


@pytest.mark.parametrize("endpoint", [SENSOR, STRANGE])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_one_registration(rest: Rest, endpoint: str, slash: str) -> None:
    found = await told(rest, "GET", endpoint, slash)
    assert found["endpoint"] == endpoint
    assert found["availableInstances"]["3303"] == [0, 1]
    assert (await told(rest, "GET", SLEEPER))["sleeping"] is True


async def test_a_head_has_no_body(rest: Rest) -> None:
    async with rest.head(of_client(SENSOR)) as response:
        assert response.status == 200
        assert await response.read() == b""


@pytest.mark.parametrize(
    ("method", "address", "kind"),
    [("GET", "/3/0/9", Kind.READ), ("POST", "/3/0/9/observe", Kind.OBSERVE)],
)
async def test_read_and_observe(
    rest: Rest, operations: FakeOperations, method: str, address: str, kind: Kind
) -> None:
    operations.ends = content(LEVEL)
    answer = await told(rest, method, SENSOR, f"{address}?timeout=10&format=senml_cbor&any=thing")
    assert answer == {"status": "CONTENT(205)", **GOOD, "content": LEVEL_NODE}
    assert asked(operations) == Operation(kind, (path("/3/0/9"),), content_format=112)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("/3", "/3"),
        ("/3/0", "/3/0"),
        ("/3/0/9/", "/3/0/9"),
        ("//3/0/9", "/3/0/9"),
        ("/3/0/11/0", "/3/0/11/0"),
    ],
)
async def test_a_read_at_every_depth(
    rest: Rest, operations: FakeOperations, address: str, target: str
) -> None:
    operations.ends = content(LEVEL, record("/3/0/11/0", 0, DataType.INTEGER))
    answer = await told(rest, "GET", SENSOR, address)
    assert answer["content"]["id"] == path(target)[-1]
    assert asked(operations) == Operation(Kind.READ, (path(target),))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("TLV", 11542),
        ("json", 11543),
        ("TEXT", 0),
        ("opaque", 42),
        ("CBOR", 60),
        ("Senml_Json", 110),
        ("SENML_CBOR", 112),
        ("LINK", 40),
        ("LWM2M", None),
        ("", None),
    ],
)
async def test_formats_have_leshans_names(
    rest: Rest, operations: FakeOperations, name: str, number: int | None
) -> None:
    operations.ends = content(LEVEL)
    await told(rest, "GET", SENSOR, f"/3/0/9?format={name}")
    assert asked(operations).content_format == number


@pytest.mark.parametrize(
    ("query", "timeout_s"),
    [
        ("", 5),
        ("?timeout=1", 1),
        ("?timeout=0", 0),
        ("?timeout=soon", 5),
        ("?timeout=-1", 5),
        ("?timeout=1.5", 5),
        ("?timeout=", 5),
        ("?timeout=%D9%A3", 5),
        ("?timeout=" + "9" * 30, 86_400),
        ("?timeout=7&timeout=9", 7),
    ],
)
async def test_the_timeout_is_seconds(
    rest: Rest, operations: FakeOperations, query: str, timeout_s: int
) -> None:
    operations.ends = content(LEVEL)
    await told(rest, "GET", SENSOR, f"/3/0/9{query}")
    # What nobody waits for any more must not be done late: not after a restart either.
    assert operations.asked[0].deadline_ms == NOW_MS + timeout_s * 1000 + 1000


async def test_floats_are_numbers_unless_asked_otherwise(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = content(record("/3303/0/5700", 22.0, DataType.FLOAT))
    number = (await told(rest, "GET", SENSOR, "/3303/0/5700"))["content"]["value"]
    assert (number, type(number)) == (22.0, float)
    text = (await told(rest, "GET", SENSOR, "/3303/0/5700?float=string"))["content"]["value"]
    assert text == "22.0"


async def test_discover(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = links(
        Link("/3", {"ver": "1.1", "pmin": "10"}), Link("/3/0/9"), Link("/3/0/7", {"dim": "2"})
    )
    answer = await told(rest, "GET", SENSOR, "/3/discover")
    assert answer == {
        "status": "CONTENT(205)",
        **GOOD,
        "objectLinks": [
            {"url": "/3", "attributes": {"ver": "1.1", "pmin": "10"}},
            {"url": "/3/0/9", "attributes": {}},
            {"url": "/3/0/7", "attributes": {"dim": "2"}},
        ],
    }
    assert asked(operations) == Operation(Kind.DISCOVER, (path("/3"),))


@pytest.mark.parametrize("headers", [{"Content-Type": "application/json; charset=utf-8"}, {}])
async def test_a_write_replaces(rest: Rest, operations: FakeOperations, headers: dict[str, str]) -> None:
    operations.ends = done("2.04")
    data = b'{"id": "14", "kind": "singleResource", "value": "+02:00", "type": "string"}'
    assert await told(rest, "PUT", SENSOR, "/3/0/14?format=TLV", data=data, headers=headers) == CHANGED
    assert asked(operations) == Operation(Kind.WRITE, (path("/3/0/14"),), (ZONE,), content_format=11542)


async def test_text_is_a_string_resource(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = done("2.04")
    headers = {"Content-Type": "text/plain"}
    assert await told(rest, "PUT", SENSOR, "/3/0/14", data="+02:00", headers=headers) == CHANGED
    assert asked(operations) == Operation(Kind.WRITE, (path("/3/0/14"),), (ZONE,))


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("", Kind.WRITE),
        ("?replace=true", Kind.WRITE),
        ("?replace=TRUE", Kind.WRITE),
        ("?replace=false", Kind.WRITE_PARTIAL),
        ("?replace=no", Kind.WRITE_PARTIAL),
    ],
)
async def test_an_instance_is_replaced_or_updated(
    rest: Rest, operations: FakeOperations, query: str, kind: Kind
) -> None:
    operations.ends = done("2.04")
    body = {"kind": "instance", "id": 0, "resources": [ZONE_NODE]}
    assert await told(rest, "PUT", SENSOR, f"/3/0{query}", body) == CHANGED
    assert asked(operations) == Operation(kind, (path("/3/0"),), (ZONE,))


async def test_instances_of_a_resource_are_written(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = done("2.04")
    several = {"id": "0", "kind": "multiResource", "values": {"0": "aa", "1": "bb"}, "type": "string"}
    await told(rest, "PUT", SENSOR, "/16/0/0?replace=false&format=SENML_CBOR", several)
    records = (record("/16/0/0/0", "aa", DataType.STRING), record("/16/0/0/1", "bb", DataType.STRING))
    assert asked(operations) == Operation(Kind.WRITE_PARTIAL, (path("/16/0"),), records, content_format=112)
    operations.asked.clear()
    one = {"id": "1", "kind": "resourceInstance", "value": "bb", "type": "string"}
    await told(rest, "PUT", SENSOR, "/16/0/0/1", one)
    assert asked(operations) == Operation(Kind.WRITE, (path("/16/0/0/1"),), records[1:])


@pytest.mark.parametrize("size", [5000, 65_536, 500_000])
async def test_large_opaque_values_are_written(rest: Rest, operations: FakeOperations, size: int) -> None:
    operations.ends = done("2.04")
    body = {"id": 0, "kind": "singleResource", "value": "5a" * size, "type": "opaque"}
    assert await told(rest, "PUT", SENSOR, "/19/0/0?format=OPAQUE", body) == CHANGED
    (written,) = asked(operations).records
    assert written == Record(path("/19/0/0"), b"\x5a" * size, DataType.OPAQUE)


@pytest.mark.parametrize("target", ["/3", "/3/0", "/3/0/9", "/3/0/11/0"])
async def test_attributes_are_the_query(rest: Rest, operations: FakeOperations, target: str) -> None:
    operations.ends = done("2.04")
    assert await told(rest, "PUT", SENSOR, f"{target}/attributes?pmin=10&pmax&epmin=1") == CHANGED
    attributes = (("pmin", "10"), ("pmax", None), ("epmin", "1"))
    assert asked(operations) == Operation(Kind.WRITE_ATTRIBUTES, (path(target),), attributes=attributes)


async def test_attributes_are_decoded(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = done("2.04")
    await told(rest, "PUT", SENSOR, "/3/0/9/attributes?%67t=%2D22.5&&lt")
    assert asked(operations).attributes == (("gt", "-22.5"), ("lt", None))


@pytest.mark.parametrize(
    ("data", "arguments"), [(None, ""), (b"", ""), (b"0='/33629/1',2", "0='/33629/1',2")]
)
async def test_an_execute_takes_its_arguments_as_they_are(
    rest: Rest, operations: FakeOperations, data: bytes | None, arguments: str
) -> None:
    operations.ends = done("2.04")
    assert await told(rest, "POST", SENSOR, "/3/0/4", data=data) == CHANGED
    assert asked(operations) == Operation(Kind.EXECUTE, (path("/3/0/4"),), arguments=arguments)


@pytest.mark.parametrize("location", ["/16/5", "16/5"])
async def test_a_create_with_an_id(rest: Rest, operations: FakeOperations, location: str) -> None:
    operations.ends = done("2.01", location)
    body = {"kind": "instance", "id": 5, "resources": [{"id": "1", "value": "x", "type": "string"}]}
    answer = await told(rest, "POST", SENSOR, "/16?timeout=10&format=SENML_CBOR", body)
    assert answer == {"status": "CREATED(201)", **GOOD, "location": "16/5"}
    records = (record("/16/5/1", "x", DataType.STRING),)
    assert asked(operations) == Operation(Kind.CREATE, (path("/16/5"),), records, content_format=112)


@pytest.mark.parametrize(("query", "number"), [("", None), ("?format=TLV", 11542)])
async def test_a_create_without_an_id(
    rest: Rest, operations: FakeOperations, query: str, number: int | None
) -> None:
    operations.ends = done("2.01")
    body = {"resources": [{"id": "1", "value": "x", "type": "string"}]}
    answer = await told(rest, "POST", SENSOR, f"/16{query}", body)
    assert answer == {"status": "CREATED(201)", **GOOD}
    records = (record("/16/0/1", "x", DataType.STRING),)
    assert asked(operations) == Operation(Kind.CREATE, (path("/16"),), records, content_format=number)


async def test_a_delete(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = done("2.02")
    assert await told(rest, "DELETE", SENSOR, "/16/5") == {"status": "DELETED(202)", **GOOD}
    assert asked(operations) == Operation(Kind.DELETE, (path("/16/5"),))


COMPOSITE = "pathformat=SENML_JSON&nodeformat=SENML_CBOR&timeout=10&paths=/3/0/9,/1/0/1,5/0/3"


@pytest.mark.parametrize(
    ("method", "address", "kind"),
    [
        ("GET", f"/composite?{COMPOSITE}", Kind.READ_COMPOSITE),
        ("POST", f"/composite/observe?{COMPOSITE}", Kind.OBSERVE_COMPOSITE),
    ],
)
async def test_composite_reads(
    rest: Rest, operations: FakeOperations, method: str, address: str, kind: Kind
) -> None:
    operations.ends = content(LEVEL)
    answer = await told(rest, method, SENSOR, address.replace(",", "%2C"))
    assert answer == {"status": "CONTENT(205)", **GOOD, "content": {"/3/0/9": LEVEL_NODE}}
    paths = (path("/3/0/9"), path("/1/0/1"), path("/5/0/3"))
    assert asked(operations) == Operation(kind, paths, content_format=112)


async def test_a_composite_read_of_the_root(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = content(LEVEL)
    answer = await told(rest, "GET", SENSOR, "/composite?pathformat=SENML_JSON&paths=/")
    assert list(answer["content"]) == ["/"]
    assert answer["content"]["/"]["kind"] == "root"
    assert asked(operations) == Operation(Kind.READ_COMPOSITE, (Path.ROOT,), content_format=110)


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream"])
async def test_a_composite_write_expands_multiple_resources(
    rest: Rest, operations: FakeOperations, content_type: str
) -> None:
    operations.ends = done("2.04")
    data = (
        b'{"/1/0/1": {"id": "1", "kind": "singleResource", "value": 60, "type": "integer"},'
        b' "/16/0/0": {"id": 0, "kind": "multiResource", "values": {"0": "aa", "1": "bb"}, "type": "string"},'
        b' "/16/1/0/3": {"id": "3", "kind": "resourceInstance", "value": "cc", "type": "string"}}'
    )
    headers = {"Content-Type": content_type}
    address = "/composite?pathformat=SENML_CBOR&nodeformat=SENML_CBOR&timeout=10"
    assert await told(rest, "PUT", SENSOR, address, data=data, headers=headers) == CHANGED
    assert asked(operations) == Operation(
        Kind.WRITE_COMPOSITE,
        (path("/1/0/1"), path("/16/0/0"), path("/16/1/0/3")),
        (
            record("/1/0/1", 60, DataType.INTEGER),
            record("/16/0/0/0", "aa", DataType.STRING),
            record("/16/0/0/1", "bb", DataType.STRING),
            record("/16/1/0/3", "cc", DataType.STRING),
        ),
        content_format=112,
    )


def observed(fleet: FakeFleet, *found: FakeReporting) -> None:
    fleet.reports[SENSOR] = list(found)


@pytest.mark.parametrize("active", ["active", "active=true", "timeout=3&active="])
async def test_an_observation_is_ended_actively(
    rest: Rest, fleet: FakeFleet, operations: FakeOperations, active: str
) -> None:
    observed(fleet, FakeReporting((path("/3/0"),)), FakeReporting((path("/3/0/9"),)))
    operations.ends = content(LEVEL)
    answer = await told(rest, "DELETE", SENSOR, f"/3/0/9/observe?{active}")
    assert answer == {"status": "CONTENT(205)", **GOOD, "content": LEVEL_NODE}
    assert asked(operations) == Operation(Kind.CANCEL, (path("/3/0/9"),))


async def test_a_composite_observation_is_ended_actively(
    rest: Rest, fleet: FakeFleet, operations: FakeOperations
) -> None:
    kept = (path("/1/0/1"), path("/3/0/9"))
    observed(fleet, FakeReporting(kept, composite=True))
    operations.ends = content(LEVEL)
    answer = await told(rest, "DELETE", SENSOR, "/composite/observe?active&paths=/3/0/9,/1/0/1")
    assert answer["content"] == {"/3/0/9": LEVEL_NODE}
    assert asked(operations) == Operation(Kind.CANCEL, kept)  # in the order it was asked for with


async def test_a_composite_observation_of_one_path_is_told_by_path(
    rest: Rest, fleet: FakeFleet, operations: FakeOperations
) -> None:
    observed(fleet, FakeReporting((path("/3/0/9"),), composite=True))
    operations.ends = content(LEVEL)
    answer = await told(rest, "DELETE", SENSOR, "/composite/observe?active&paths=/3/0/9")
    assert answer["content"] == {"/3/0/9": LEVEL_NODE}


@pytest.mark.parametrize("state", ["active", "waiting", "refused"])
async def test_an_observation_is_forgotten_passively(
    rest: Rest, fleet: FakeFleet, operations: FakeOperations, state: str
) -> None:
    observed(fleet, FakeReporting((path("/3/0/9"),), state=state))
    operations.ends = done("")
    async with rest.delete(of_client(SENSOR, "/3/0/9/observe")) as response:
        assert (response.status, await response.read()) == (200, b"")
    assert asked(operations) == Operation(Kind.CANCEL_PASSIVE, (path("/3/0/9"),))


async def test_a_composite_observation_is_forgotten_passively(
    rest: Rest, fleet: FakeFleet, operations: FakeOperations
) -> None:
    observed(fleet, FakeReporting((path("/1/0/1"), path("/3/0/9")), composite=True))
    operations.ends = done("")
    address = of_client(SENSOR, "/composite/observe?paths=/1/0/1,/3/0/9")
    async with rest.delete(address) as response:
        assert (response.status, await response.read()) == (200, b"")
    assert asked(operations) == Operation(Kind.CANCEL_PASSIVE, (path("/1/0/1"), path("/3/0/9")))


@pytest.mark.parametrize("address", ["/3/0/9/observe", "/composite/observe?paths=/3/0/9"])
async def test_to_forget_what_is_not_observed_is_nothing(
    rest: Rest, fleet: FakeFleet, operations: FakeOperations, address: str
) -> None:
    composite = address.startswith("/composite")
    observed(fleet, FakeReporting((path("/3/0/9"),), composite=not composite))
    async with rest.delete(of_client(SENSOR, address)) as response:
        assert (response.status, await response.read()) == (200, b"")
    assert operations.asked == []


async def test_a_name_with_slashes_is_one_segment(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = content(LEVEL)
    assert (await told(rest, "GET", STRANGE, "/3/0/9"))["success"] is True
    assert operations.asked[0].endpoint == STRANGE


@pytest.mark.parametrize(
    ("code", "status", "valid"),
    [
        ("4.00", "BAD_REQUEST(400)", True),
        ("4.01", "UNAUTHORIZED(401)", True),
        ("4.04", "NOT_FOUND(404)", True),
        ("4.05", "METHOD_NOT_ALLOWED(405)", True),
        ("4.06", "NOT_ACCEPTABLE(406)", True),
        ("5.00", "INTERNAL_SERVER_ERROR(500)", True),
        ("4.03", "FORBIDDEN(403)", False),
        ("4.13", "REQUEST_ENTITY_TOO_LARGE(413)", False),
        ("5.03", "UNKNOWN(503)", False),
    ],
)
async def test_a_refusal_of_the_device_is_an_answer(
    rest: Rest, operations: FakeOperations, code: str, status: str, valid: bool
) -> None:
    operations.ends = refusal(code, "not here")
    expected: dict[str, Any] = {
        "status": status,
        "valid": valid,
        "success": False,
        "failure": True,
        "errormessage": "not here",
    }
    assert await told(rest, "GET", SENSOR, "/3/0/9") == expected
    operations.ends = refusal(code)
    del expected["errormessage"]
    assert await told(rest, "GET", SENSOR, "/3/0/9") == expected
