"""Operations on a device: what they ask, what comes of the answers, and what makes no sense."""

import asyncio

import pytest

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.fleet.fleet import OperationResult
from flownexus_appliance.fleet.ports import Downlink, Method, Notification, Verdict
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.links import Link
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record
from tests.peer import DEADLINE_S, until

from .conftest import CBOR, ELSEWHERE, HOME, House, plain, senml, silent

BARE = b"</1/0>"
TEMPERATURE = "/3303/0/5700"


def perform(
    house: House, operation: str, path: str, value: object = None, arguments: str | None = None
) -> "asyncio.Task[OperationResult]":
    async def within() -> OperationResult:
        async with asyncio.timeout(DEADLINE_S):
            return await house.fleet.perform("one", operation, Path.parse(path), value, arguments)

    return asyncio.create_task(within())


def written(downlink: Downlink) -> list[tuple[str, object]]:
    assert downlink.content_format is not None
    records = codecs.decode(
        downlink.content_format, downlink.payload, base=downlink.path, types=lambda _: None, now_ms=0
    )
    return [(str(record.path), record.value) for record in records]


# Each operation


async def test_read(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "read", "/3303/0")
    asked = await house.wire.asked()
    assert asked.address == HOME
    assert asked.downlink == Downlink(Method.GET, Path.parse("/3303/0"), accept=CBOR)
    asked.value({TEMPERATURE: 21.5, "/3303/0/5701": "Cel"})
    result = await task
    assert (result.status, result.code, result.message, result.hint) == ("CONFIRMED", "2.05", "", "")
    assert [(str(r.path), r.value) for r in result.values] == [(TEMPERATURE, 21.5), ("/3303/0/5701", "Cel")]
    assert house.rows.samples("one", TEMPERATURE) == [21.5], "what is read is kept"
    await house.told.value("one", TEMPERATURE, 21.5)


async def test_a_read_is_answered_once_its_values_are_on_disk(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "read", TEMPERATURE)
    asked = await house.wire.asked()
    with house.disk_held():
        asked.value({TEMPERATURE: 21.5})
        await until(lambda: house.store.writer._in_flight is not None)
        assert not task.done()
    await task


async def test_discover(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "discover", "/3303")
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(Method.GET, Path.parse("/3303"), accept=ContentFormat.LINK)
    asked.answer("2.05", b"</3303>;pmin=10,</3303/0/5700>", ContentFormat.LINK)
    result = await task
    assert result.status == "CONFIRMED"
    assert result.links == (Link("/3303", {"pmin": "10"}), Link(TEMPERATURE))


async def test_write(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "write", "/3/0/14", "+01:00")
    asked = await house.wire.asked()
    assert (asked.downlink.method, asked.downlink.content_format, asked.downlink.accept) == (
        Method.PUT,
        CBOR,
        None,
    )
    assert written(asked.downlink) == [("/3/0/14", "+01:00")]
    asked.answer("2.04")
    assert await task == OperationResult("CONFIRMED", "2.04")


@pytest.mark.parametrize(
    ("path", "value", "sent"),
    [
        ("/1/0/1", 60, 60),
        ("/3303/0/5601", 20, 20.0),
        ("/6/0/0", 48.1, 48.1),
        ("/5/0/0", "00ff", b"\x00\xff"),
        ("/1/0/6", True, True),
        ("/40000/0/1", 5, 5),
        ("/40000/0/1", 5.5, 5.5),
        ("/40000/0/1", "text", "text"),
        ("/40000/0/1", False, False),
        ("/3/0/11/0", 3, 3),
    ],
)
async def test_values_are_written_as_the_model_types_them(
    house: House, path: str, value: object, sent: object
) -> None:
    await house.register(links=BARE)
    task = perform(house, "write", path, value)
    asked = await house.wire.asked()
    assert written(asked.downlink) == [(path, sent)]
    asked.answer("2.04")
    assert (await task).status == "CONFIRMED"


@pytest.mark.parametrize(("arguments", "content_format"), [(None, None), ("", None), ("0='x'", 0)])
async def test_execute(house: House, arguments: str | None, content_format: int | None) -> None:
    await house.register(links=BARE)
    task = perform(house, "execute", "/3/0/4", arguments=arguments)
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(
        Method.POST,
        Path.parse("/3/0/4"),
        payload=(arguments or "").encode(),
        content_format=content_format,
    )
    asked.answer("2.04")
    assert (await task).status == "CONFIRMED"


async def test_observe(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "observe", TEMPERATURE)
    asked = await house.wire.asked()
    down = asked.downlink
    assert (down.method, down.accept, down.observe, len(down.token)) == (Method.GET, CBOR, 0, 8)
    asked.value({TEMPERATURE: 21.5}, observe=5)
    result = await task
    assert (result.status, [r.value for r in result.values]) == ("CONFIRMED", [21.5])
    assert house.rows.observations("one") == {TEMPERATURE: down.token}
    assert house.fleet.observed("one") == {Path.parse(TEMPERATURE)}
    again = Notification(plain(HOME), down.token, 5, "2.05", CBOR, senml({TEMPERATURE: 9.0}, TEMPERATURE))
    assert await house.verdict(again) is Verdict.TAKEN
    assert house.rows.samples("one", TEMPERATURE) == [21.5], "the answer itself, sent again"


async def test_a_notification_that_overtakes_the_answer_to_its_observe(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "observe", TEMPERATURE)
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
        task = perform(house, "observe", TEMPERATURE)
        asked = await house.wire.asked()
        asked.value({TEMPERATURE: 1.0}, observe=1)
        await task
        tokens.append(asked.downlink.token)
    assert house.rows.observations("one") == {TEMPERATURE: tokens[1]}
    assert tokens[0] != tokens[1]


async def test_write_attributes(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "write_attributes", TEMPERATURE, arguments="pmin=10&pmax=60&&gt")
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(Method.PUT, Path.parse(TEMPERATURE), query=("pmin=10", "pmax=60", "gt"))
    asked.answer("2.04")
    assert (await task).status == "CONFIRMED"


# Answers


@pytest.mark.parametrize("operation", ["read", "discover", "observe", "write", "execute", "write_attributes"])
async def test_an_error_of_the_device_is_a_failed_result(house: House, operation: str) -> None:
    await house.register(links=BARE)
    path = {"write": "/3/0/14", "execute": "/3/0/4"}.get(operation, "/3/0")
    task = perform(house, operation, path, "x")
    (await house.wire.asked()).answer("4.05", b"no\tway", 0)
    result = await task
    assert (result.status, result.code, result.message) == ("FAILED", "4.05", "no?way")
    assert house.fleet.presence("one") == "online"
    await until(lambda: house.rows.observations("one") == {})


@pytest.mark.parametrize("operation", ["read", "discover", "observe", "execute", "write_attributes"])
async def test_no_answer_is_a_failed_result(house: House, operation: str) -> None:
    await house.register(links=BARE)
    task = perform(house, operation, "/3/0/4" if operation == "execute" else "/3")
    (await house.wire.asked()).fail(silent())
    result = await task
    assert (result.status, result.code) == ("FAILED", "")
    assert result.message
    assert result.hint
    await house.told.presence("one", "offline")


@pytest.mark.parametrize("operation", ["discover", "write", "execute", "read"])
async def test_any_answer_shows_that_the_device_is_there(house: House, operation: str) -> None:
    await house.register(links=BARE)
    task = perform(house, "read", "/3")
    (await house.wire.asked()).fail(silent())
    await task
    assert house.fleet.presence("one") == "offline"
    path = {"write": "/3/0/14", "execute": "/3/0/4"}.get(operation, "/3")
    task = perform(house, operation, path, "x")
    (await house.wire.asked()).answer("4.04")
    await task
    assert house.fleet.presence("one") == "online"


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [(CBOR, b"\xff"), (41, b"<x/>"), (CBOR, senml({"/5/0/3": 1}))],
    ids=["garbage", "unknown format", "another object"],
)
async def test_an_answer_that_nobody_understands(house: House, content_format: int, payload: bytes) -> None:
    await house.register(links=BARE)
    task = perform(house, "read", "/3303")
    (await house.wire.asked()).answer("2.05", payload, content_format)
    result = await task
    assert (result.status, result.code) == ("FAILED", "")
    assert result.message
    assert house.rows("SELECT count(*) FROM resource") == [(0,)]


async def test_an_answer_without_a_format(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "read", "/3303")
    (await house.wire.asked()).answer("2.05")
    assert (await task).status == "FAILED"


async def test_a_broken_answer_of_the_wire(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "read", "/3303")
    (await house.wire.asked()).fail(PeerError("payload_invalid", "blocks do not fit", "try again"))
    result = await task
    assert (result.status, result.message, result.hint) == ("FAILED", "blocks do not fit", "try again")


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
    task = perform(house, "read", TEMPERATURE)
    asked = await house.wire.asked()
    assert asked.downlink.accept == wanted
    asked.answer("2.05", senml({TEMPERATURE: 5.0}, TEMPERATURE, wanted), wanted)
    assert [record.value for record in (await task).values] == [5.0]
    task = perform(house, "write", "/3/0/14", "Z")
    asked = await house.wire.asked()
    assert asked.downlink.content_format == wanted
    asked.answer("2.04")
    await task


async def test_4_06_is_asked_again_without_a_format(house: House) -> None:
    await house.register(links=BARE)
    task = perform(house, "read", TEMPERATURE)
    (await house.wire.asked()).answer("4.06")
    asked = await house.wire.asked()
    assert asked.downlink == Downlink(Method.GET, Path.parse(TEMPERATURE))
    asked.answer("2.05", b"21.5", ContentFormat.TEXT)
    result = await task
    assert [(r.value, r.data_type) for r in result.values] == [(21.5, DataType.FLOAT)]


async def test_the_answer_is_read_by_its_own_format(house: House) -> None:
    """wakaama answers TLV whatever is asked for."""
    await house.register(links=BARE)
    task = perform(house, "read", "/3/0")
    tlv = codecs.encode(
        ContentFormat.TLV, [Record(Path.parse("/3/0/9"), 88, DataType.INTEGER)], base=Path.parse("/3/0")
    )
    (await house.wire.asked()).answer("2.05", tlv, ContentFormat.TLV)
    assert [(str(r.path), r.value) for r in (await task).values] == [("/3/0/9", 88)]


# One at a time


async def test_operations_wait_for_each_other(house: House) -> None:
    await house.register(links=BARE)
    await house.register("other", ELSEWHERE, BARE)
    tasks = [perform(house, "read", "/3") for _ in range(5)]
    other = asyncio.create_task(house.fleet.perform("other", "read", Path.parse("/3"), None, None))
    first, elsewhere = await house.wire.asked(), await house.wire.asked()
    assert {first.address, elsewhere.address} == {HOME, ELSEWHERE}
    for asked in (elsewhere, first):
        asked.answer("4.04")
    for _ in range(4):
        (await house.wire.asked()).answer("4.04")
    assert {(await task).code for task in (*tasks, other)} == {"4.04"}
    assert house.wire.most_a_device == 1


async def test_one_that_is_given_up_lets_the_next_go(house: House) -> None:
    await house.register(links=BARE)
    first, second = perform(house, "read", "/3"), perform(house, "read", "/4")
    await house.wire.asked()
    first.cancel()
    asked = await house.wire.asked()
    assert str(asked.downlink.path) == "/4"
    asked.answer("4.04")
    assert (await second).code == "4.04"


async def test_what_waits_while_the_device_registers_anew_is_not_sent(house: House) -> None:
    await house.register(links=BARE)
    first, second = perform(house, "read", "/3"), perform(house, "read", "/4")
    asked = await house.wire.asked()
    house.clock.advance(1)
    await house.register(address=ELSEWHERE, links=BARE)
    asked.fail(silent())
    assert (await first).status == "FAILED"
    result = await second
    assert result.status == "FAILED"
    assert "anew" in result.message
    assert len(house.wire.log) == 1
    assert house.fleet.presence("one") == "online", "the silent one was its former life"


async def test_what_waits_while_the_device_moves_goes_to_its_new_address(house: House) -> None:
    registration_id = await house.register(links=BARE)
    first, second = perform(house, "read", "/3"), perform(house, "read", "/4")
    asked = await house.wire.asked()
    await house.update(registration_id, ELSEWHERE)
    asked.answer("4.04")
    await first
    asked = await house.wire.asked()
    assert asked.address == ELSEWHERE
    asked.answer("4.04")
    await second


async def test_locks_do_not_pile_up(house: House) -> None:
    for number in range(20):
        await house.register(f"dev-{number}", f"192.0.2.7:{number + 1}", BARE)
        task = asyncio.create_task(house.fleet.perform(f"dev-{number}", "read", Path.parse("/3"), None, None))
        (await house.wire.asked()).answer("4.04")
        await task
    del task
    await until(lambda: len(house.fleet._requests._locks) == 0)


# What makes no sense


@pytest.mark.parametrize(
    ("operation", "path", "value", "code"),
    [
        ("fly", "/3", None, "operation_unknown"),
        ("", "/3", None, "operation_unknown"),
        ("read", "/", None, "path_invalid"),
        ("observe", "/", None, "path_invalid"),
        ("discover", "/", None, "path_invalid"),
        ("discover", "/3/0/11/0", None, "path_invalid"),
        ("write_attributes", "/", None, "path_invalid"),
        ("write", "/3", 1, "path_invalid"),
        ("write", "/3/0", 1, "path_invalid"),
        ("execute", "/3", None, "path_invalid"),
        ("execute", "/3/0", None, "path_invalid"),
        ("execute", "/3/0/11/0", None, "path_invalid"),
        ("write", "/3/0/13", "soon", "value_invalid"),
        ("write", "/3/0/14", None, "value_invalid"),
        ("write", "/3/0/14", {"a": 1}, "value_invalid"),
        ("write", "/3/0/14", [1], "value_invalid"),
        ("write", "/5/0/0", "xyz", "value_invalid"),
        ("write", "/3/0/4", 1, "value_invalid"),
        ("write", "/40000/0/1", 2**70, "value_invalid"),
    ],
)
async def test_what_makes_no_sense_is_never_sent(
    house: House, operation: str, path: str, value: object, code: str
) -> None:
    await house.register(links=BARE)
    with pytest.raises(UsageError) as raised:
        await perform(house, operation, path, value)
    assert raised.value.code == code
    assert raised.value.message
    assert raised.value.hint
    assert house.wire.log == []


@pytest.mark.parametrize("operation", ["read", "discover", "observe", "write", "execute", "write_attributes"])
async def test_a_device_that_is_not_there(house: House, operation: str) -> None:
    path = "/3/0/4" if operation == "execute" else "/3/0/14"
    with pytest.raises(UsageError) as raised:
        await perform(house, operation, path, "x")
    assert (raised.value.code, bool(raised.value.hint)) == ("endpoint_unknown", True)
    await house.deregister(await house.register(links=BARE))
    with pytest.raises(UsageError) as raised:
        await perform(house, operation, path, "x")
    assert (raised.value.code, bool(raised.value.hint)) == ("endpoint_offline", True)
    assert house.wire.log == []
    assert house.rows.observations("one") == {}


async def test_a_device_that_leaves_while_it_is_asked(house: House) -> None:
    registration_id = await house.register(links=BARE)
    first, second = perform(house, "read", TEMPERATURE), perform(house, "read", "/4")
    asked = await house.wire.asked()
    await house.deregister(registration_id)
    asked.value({TEMPERATURE: 1.0})
    assert (await first).status == "CONFIRMED"
    with pytest.raises(UsageError) as raised:
        await second
    assert raised.value.code == "endpoint_offline"
    assert house.fleet.presence("one") == "offline", "an answer after the farewell makes nobody present"
    assert house.fleet.counts()["online"] == 0
