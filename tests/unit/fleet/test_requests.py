"""Requests to a device: what an operation asks, what comes of the answers, one at a time."""

import asyncio

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import Downlink, Method, Notification, Verdict
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.attributes import parse_attributes
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.operations import Operation, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record, Value
from tests.peer import until

from .conftest import CBOR, HOME, House, operation, plain, senml

BARE = b"</1/0>"
TEMPERATURE = "/3303/0/5700"


def read(path: str) -> Operation:
    return operation("read", path)


def write(path: str, value: Value) -> Operation:
    return operation("write", path, values={path: value})


# One of each kind that a device answers.
EACH = {
    "read": read("/3/0"),
    "discover": operation("discover", "/3/0"),
    "observe": operation("observe", "/3/0"),
    "write": write("/3/0/14", "x"),
    "write_attributes": operation("write_attributes", "/3/0", attributes=(("pmin", "1"),)),
    "execute": operation("execute", "/3/0/4"),
    "create": operation("create", "/3303", values={"/3303/0/5700": 1.0}),
    "delete": operation("delete", "/3303/0"),
    "read_composite": operation("read_composite", "/3/0/9", "/3303"),
    "write_composite": operation("write_composite", "/3/0/14", values={"/3/0/14": "x"}),
    "observe_composite": operation("observe_composite", "/3/0/9", "/3303"),
}


def written(downlink: Downlink) -> list[tuple[str, object]]:
    assert downlink.content_format is not None
    records = codecs.decode(
        downlink.content_format, downlink.payload, base=downlink.path, types=lambda _: None, now_ms=0
    )
    return [(str(record.path), record.value) for record in records]


# Each operation


async def test_read(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(read("/3303/0"))
    asked = await house.wire.asked()
    assert asked.address == HOME
    assert asked.downlink == Downlink(Method.GET, Path.parse("/3303/0"), accept=CBOR)
    asked.value({TEMPERATURE: 21.5, "/3303/0/5701": "Cel"})
    result = await task
    assert (result.status, result.outcome.code, result.outcome.message, result.outcome.hint) == (
        "CONFIRMED",
        "2.05",
        "",
        "",
    )
    assert [(str(r.path), r.value) for r in result.outcome.records] == [
        (TEMPERATURE, 21.5),
        ("/3303/0/5701", "Cel"),
    ]
    assert house.rows.samples("one", TEMPERATURE) == [21.5], "what is read is kept"
    await house.told.value("one", TEMPERATURE, 21.5)


async def test_a_read_is_answered_once_its_values_are_on_disk(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(read(TEMPERATURE))
    asked = await house.wire.asked()
    with house.disk_held():
        asked.value({TEMPERATURE: 21.5})
        await until(lambda: house.store.writer._in_flight is not None)
        assert not task.done()
    await task


async def test_discover(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("discover", "/3303"))
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(Method.GET, Path.parse("/3303"), accept=ContentFormat.LINK)
    asked.answer("2.05", b"</3303>;pmin=10,</3303/0/5700>", ContentFormat.LINK)
    result = await task
    assert result.status == "CONFIRMED"
    assert result.outcome.links == (Link("/3303", {"pmin": "10"}), Link(TEMPERATURE))


async def test_write(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(write("/3/0/14", "+01:00"))
    asked = await house.wire.asked()
    assert (asked.downlink.method, asked.downlink.content_format, asked.downlink.accept) == (
        Method.PUT,
        CBOR,
        None,
    )
    assert written(asked.downlink) == [("/3/0/14", "+01:00")]
    asked.answer("2.04")
    result = await task
    assert (result.status, result.outcome.code, result.outcome.records) == ("CONFIRMED", "2.04", ())


@pytest.mark.parametrize("value", [60, 20.0, -1.5, b"\x00\xff", True, False, "text", 2**40], ids=repr)
async def test_values_are_written_as_they_are_typed(house: House, value: Value) -> None:
    await house.register(links=BARE)
    task = house.perform(write("/40000/0/1", value))
    asked = await house.wire.asked()
    assert written(asked.downlink) == [("/40000/0/1", value)]
    asked.answer("2.04")
    assert (await task).status == "CONFIRMED"


@pytest.mark.parametrize(("arguments", "content_format"), [("", None), ("0='x'", 0)])
async def test_execute(house: House, arguments: str, content_format: int | None) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("execute", "/3/0/4", arguments=arguments))
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(
        Method.POST,
        Path.parse("/3/0/4"),
        payload=arguments.encode(),
        content_format=content_format,
        once=True,
    )
    asked.answer("2.04")
    assert (await task).status == "CONFIRMED"


@pytest.mark.parametrize(
    ("root", "location", "path"),
    [
        ("", ("3303", "2"), "/3303/2"),
        ('</dev>;rt="oma.lwm2m",', ("dev", "3303", "2"), "/3303/2"),
        ('</dev>;rt="oma.lwm2m",', ("3303", "2"), "/3303/2"),
        ("", ("rd", "x"), ""),
        ("", ("1", "2", "3", "4", "5"), ""),
        ("", (), ""),
    ],
)
async def test_create_tells_where(house: House, root: str, location: tuple[str, ...], path: str) -> None:
    await house.register(links=root.encode() + (b"</dev/1/0>" if root else BARE))
    task = house.perform(EACH["create"])
    asked = await house.wire.asked()
    assert (asked.downlink.method, asked.downlink.path, asked.downlink.once) == (
        Method.POST,
        Path.parse("/3303"),
        True,
    )
    asked.answer("2.01", location=location)
    result = await task
    assert (result.status, result.outcome.code, result.outcome.location) == ("CONFIRMED", "2.01", path)


async def test_delete(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(EACH["delete"])
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(Method.DELETE, Path.parse("/3303/0"))
    asked.answer("2.02")
    assert ((await task).status, (await task).outcome.code) == ("CONFIRMED", "2.02")


async def test_a_composite_read(house: House) -> None:
    """Zephyr reads the list in the format it is to answer in: both options say the same."""
    await house.register(links=BARE)
    task = house.perform(EACH["read_composite"])
    asked = await house.wire.asked()
    down = asked.downlink
    assert (down.method, down.path, down.content_format, down.accept) == (Method.FETCH, Path.ROOT, CBOR, CBOR)
    assert codecs.decode_paths(CBOR, down.payload) == (Path.parse("/3/0/9"), Path.parse("/3303"))
    asked.answer("2.05", senml({"/3/0/9": 88, TEMPERATURE: 21.5}))
    result = await task
    assert {str(r.path): r.value for r in result.outcome.records} == {"/3/0/9": 88, TEMPERATURE: 21.5}
    assert house.rows.samples("one", TEMPERATURE) == [21.5]


async def test_a_composite_write(house: House) -> None:
    await house.register(links=BARE)
    values: dict[str, Value] = {"/3/0/14": "Z", "/1/0/1": 60}
    task = house.perform(operation("write_composite", *values, values=values))
    asked = await house.wire.asked()
    assert (asked.downlink.method, asked.downlink.path) == (Method.IPATCH, Path.ROOT)
    assert dict(written(asked.downlink)) == values
    asked.answer("2.04")
    assert (await task).status == "CONFIRMED"


async def test_a_composite_observation(house: House) -> None:
    """Begun, reported by, and ended with the same token and the same list."""
    await house.register(links=BARE)
    task = house.perform(EACH["observe_composite"])
    asked = await house.wire.asked()
    begun = asked.downlink
    assert (begun.method, begun.observe, len(begun.token)) == (Method.FETCH, 0, 8)
    asked.answer("2.05", senml({"/3/0/9": 88}), observe=1)
    assert (await task).status == "CONFIRMED"
    news = Notification(plain(HOME), begun.token, 2, "2.05", CBOR, senml({"/3/0/9": 87, TEMPERATURE: 1.5}))
    assert await house.verdict(news) is Verdict.TAKEN
    assert house.rows.samples("one", TEMPERATURE) == [1.5]
    task = house.perform(operation("cancel", "/3/0/9", "/3303"))
    asked = await house.wire.asked()
    ended = asked.downlink
    assert (ended.method, ended.observe, ended.token, ended.payload) == (
        Method.FETCH,
        1,
        begun.token,
        begun.payload,
    )
    asked.answer("2.05", senml({"/3/0/9": 86}))
    assert (await task).status == "CONFIRMED"
    assert house.fleet.observed("one") == frozenset()
    assert house.rows.observations("one") == {}


async def test_a_device_that_observes_in_its_own_format_alone_ends_so_too(house: House) -> None:
    await house.register(links=BARE)
    for kind in ("observe", "cancel"):
        task = house.perform(operation(kind, TEMPERATURE))
        (await house.wire.asked()).answer("4.06")
        asked = await house.wire.asked()
        assert asked.downlink.accept is None
        asked.answer("2.05", b"21.5", ContentFormat.TEXT, observe=1 if kind == "observe" else None)
        assert (await task).status == "CONFIRMED"
    assert house.fleet.observed("one") == frozenset()


async def test_what_is_not_observed_needs_no_request_to_end(house: House) -> None:
    await house.register(links=BARE)
    for kind in ("cancel", "cancel_passive"):
        result = await house.perform(operation(kind, TEMPERATURE))
        assert (result.status, result.outcome.code) == ("CONFIRMED", "")
    assert house.wire.log == []


async def test_a_passive_cancel_asks_nothing_and_refuses_the_next_notification(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("observe", TEMPERATURE))
    asked = await house.wire.asked()
    asked.value({TEMPERATURE: 1.0}, observe=1)
    await task
    await house.perform(operation("cancel_passive", TEMPERATURE))
    assert len(house.wire.log) == 1
    news = Notification(
        plain(HOME), asked.downlink.token, 2, "2.05", CBOR, senml({TEMPERATURE: 2.0}, TEMPERATURE)
    )
    assert await house.verdict(news) is Verdict.REFUSED


@pytest.mark.parametrize(
    ("code", "ended"), [("2.05", True), ("4.04", True), ("4.05", False), ("5.00", False)]
)
async def test_an_observation_ends_when_the_device_says_so(house: House, code: str, ended: bool) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("observe", TEMPERATURE))
    (await house.wire.asked()).value({TEMPERATURE: 1.0}, observe=1)
    await task
    task = house.perform(operation("cancel", TEMPERATURE))
    (await house.wire.asked()).answer(code, senml({TEMPERATURE: 2.0}, TEMPERATURE))
    result = await task
    assert result.outcome.code == code
    assert (house.fleet.observed("one") == frozenset()) is ended


async def test_observe(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("observe", TEMPERATURE))
    asked = await house.wire.asked()
    down = asked.downlink
    assert (down.method, down.accept, down.observe, len(down.token)) == (Method.GET, CBOR, 0, 8)
    asked.value({TEMPERATURE: 21.5}, observe=5)
    result = await task
    assert (result.status, [r.value for r in result.outcome.records]) == ("CONFIRMED", [21.5])
    assert house.rows.observations("one") == {TEMPERATURE: down.token}
    assert house.fleet.observed("one") == {Path.parse(TEMPERATURE)}
    again = Notification(plain(HOME), down.token, 5, "2.05", CBOR, senml({TEMPERATURE: 9.0}, TEMPERATURE))
    assert await house.verdict(again) is Verdict.TAKEN
    assert house.rows.samples("one", TEMPERATURE) == [21.5], "the answer itself, sent again"


async def test_a_notification_that_overtakes_the_answer_to_its_observe(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("observe", TEMPERATURE))
    asked = await house.wire.asked()
    token = asked.downlink.token
    second = Notification(plain(HOME), token, 6, "2.05", CBOR, senml({TEMPERATURE: 2.0}, TEMPERATURE))
    assert await house.verdict(second) is Verdict.TAKEN
    house.clock.advance(0.5)
    asked.value({TEMPERATURE: 1.0}, observe=5)
    await task
    house.clock.advance(0.5)
    assert await house.verdict(second) is Verdict.TAKEN
    assert sorted(map(str, house.rows.samples("one", TEMPERATURE))) == ["1.0", "2.0"]


async def test_an_observe_replaces_one_of_the_same_path(house: House) -> None:
    """Zephyr has one observation a path (zephyr #63458)."""
    await house.register(links=BARE)
    tokens = []
    for _ in range(2):
        task = house.perform(operation("observe", TEMPERATURE))
        asked = await house.wire.asked()
        asked.value({TEMPERATURE: 1.0}, observe=1)
        await task
        tokens.append(asked.downlink.token)
    assert house.rows.observations("one") == {TEMPERATURE: tokens[1]}
    assert tokens[0] != tokens[1]


async def test_write_attributes(house: House) -> None:
    await house.register(links=BARE)
    attributes = parse_attributes(["pmin=10", "pmax=60", "gt"])
    task = house.perform(operation("write_attributes", TEMPERATURE, attributes=attributes))
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(Method.PUT, Path.parse(TEMPERATURE), query=("pmin=10", "pmax=60", "gt"))
    asked.answer("2.04")
    assert (await task).status == "CONFIRMED"


# Answers


@pytest.mark.parametrize("kind", EACH)
async def test_an_error_of_the_device_is_a_failed_result(house: House, kind: str) -> None:
    await house.register(links=BARE)
    task = house.perform(EACH[kind])
    (await house.wire.asked()).answer("4.05", b"no\tway", 0)
    result = await task
    assert (result.status, result.outcome.code, result.outcome.message) == ("FAILED", "4.05", "no?way")
    assert result.attempts == 1
    assert house.fleet.presence("one") == "online"
    await until(lambda: house.rows.observations("one") == {})


@pytest.mark.parametrize("kind", EACH)
async def test_no_answer_is_tried_again_unless_it_may_have_been_done(house: House, kind: str) -> None:
    await house.register(links=BARE)
    asked = await house.order(EACH[kind])
    (await house.wire.asked()).fail()
    await house.told.presence("one", "offline")
    once = kind in ("execute", "create")
    await house.becomes(asked, Status.FAILED if once else Status.QUEUED)
    kept = await house.fleet.operations.finished(asked.id, 0)
    assert (kept.outcome.code, kept.attempts) == ("", 1)
    assert ("nobody knows" in kept.outcome.message) is once
    assert kept.outcome.message
    assert kept.outcome.hint
    assert house.rows.observations("one") == {}


@pytest.mark.parametrize("kind", ["discover", "write", "execute", "read"])
async def test_any_answer_shows_that_the_device_is_there(house: House, kind: str) -> None:
    """Even to what was asked of one that was taken to be gone: the box's own requests are."""
    await house.register(links=BARE)
    await house.order(read("/3"))
    (await house.wire.asked()).fail()
    await house.told.presence("one", "offline")
    task = asyncio.create_task(house.fleet._performer.perform("one", EACH[kind]))
    (await house.wire.asked()).answer("4.04")
    assert (await task).code == "4.04"
    assert house.fleet.presence("one") == "online"
    (await house.wire.asked()).answer("4.04")  # and what waited for it is asked again


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [(CBOR, b"\xff"), (41, b"<x/>"), (CBOR, senml({"/5/0/3": 1}))],
    ids=["garbage", "unknown format", "another object"],
)
async def test_an_answer_that_nobody_understands(house: House, content_format: int, payload: bytes) -> None:
    await house.register(links=BARE)
    task = house.perform(read("/3303"))
    (await house.wire.asked()).answer("2.05", payload, content_format)
    result = await task
    assert (result.status, result.outcome.code) == ("FAILED", "")
    assert result.outcome.message
    assert house.rows("SELECT count(*) FROM resource") == [(0,)]


async def test_an_answer_without_a_format(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(read("/3303"))
    (await house.wire.asked()).answer("2.05")
    assert (await task).status == "FAILED"


async def test_a_broken_answer_of_the_wire(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(read("/3303"))
    (await house.wire.asked()).fail(PeerError("payload_invalid", "blocks do not fit", "try again"))
    result = await task
    assert (result.status, result.outcome.message, result.outcome.hint) == (
        "FAILED",
        "blocks do not fit",
        "try again",
    )


# Formats


@pytest.mark.parametrize(
    ("links", "version", "wanted"),
    [
        (b"</1/0>", "1.0", ContentFormat.TLV),
        (b"</1/0>", "1.1", CBOR),
        (b"</1/0>", "1.2", CBOR),
        (b"</>;ct=112,</1/0>", "1.1", CBOR),
        (b"</>;ct=110,</1/0>", "1.1", ContentFormat.SENML_JSON),
        (b'</>;ct="110 112",</1/0>', "1.1", CBOR),
        (b'</>;rt="oma.lwm2m";ct=11543,</1/0>', "1.0", ContentFormat.JSON),
        (b'</>;ct="11542 11543",</1/0>', "1.0", ContentFormat.TLV),
        (b"</>;ct=1542,</1/0>", "1.0", ContentFormat.OLD_TLV),
        (b"</>;ct=99,</1/0>", "1.1", CBOR),
    ],
)
async def test_the_format_is_named_by_what_the_client_says(
    house: House, links: bytes, version: str, wanted: ContentFormat
) -> None:
    await house.register(links=links, version=version)
    task = house.perform(read(TEMPERATURE))
    asked = await house.wire.asked()
    assert asked.downlink.accept == wanted
    asked.answer("2.05", senml({TEMPERATURE: 5.0}, TEMPERATURE, wanted), wanted)
    assert [record.value for record in (await task).outcome.records] == [5.0]
    task = house.perform(write("/3/0/14", "Z"))
    asked = await house.wire.asked()
    assert asked.downlink.content_format == wanted
    asked.answer("2.04")
    await task


async def test_4_06_is_asked_again_without_a_format(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(read(TEMPERATURE))
    (await house.wire.asked()).answer("4.06")
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(Method.GET, Path.parse(TEMPERATURE))
    asked.answer("2.05", b"21.5", ContentFormat.TEXT)
    result = await task
    assert [(r.value, r.data_type) for r in result.outcome.records] == [(21.5, DataType.FLOAT)]


async def test_the_answer_is_read_by_its_own_format(house: House) -> None:
    """wakaama answers TLV whatever is asked for."""
    await house.register(links=BARE)
    task = house.perform(read("/3/0"))
    tlv = codecs.encode(
        ContentFormat.TLV, [Record(Path.parse("/3/0/9"), 88, DataType.INTEGER)], base=Path.parse("/3/0")
    )
    (await house.wire.asked()).answer("2.05", tlv, ContentFormat.TLV)
    assert [(str(r.path), r.value) for r in (await task).outcome.records] == [("/3/0/9", 88)]
