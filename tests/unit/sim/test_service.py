"""Every operation of the server, as messages to a registered device."""

import pytest

from flownexus_appliance.lwm2m.codecs import encode
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record
from flownexus_appliance.sim.messages import Block, Code, Message, Type, encode_message
from flownexus_appliance.sim.options import SimOptions

from .peer import SENML, booted, segments

FORMATS_1_1 = [ContentFormat.TLV, ContentFormat.JSON, ContentFormat.SENML_JSON, ContentFormat.SENML_CBOR]


# Read


@pytest.mark.parametrize("accept", [*FORMATS_1_1, ContentFormat.OLD_TLV, ContentFormat.OLD_JSON])
def test_an_object_is_read_in_any_format(accept: ContentFormat) -> None:
    peer = booted()
    reply = peer.get("/3", accept)
    assert (reply.code, reply.content_format) == (Code.CONTENT, accept)
    found = peer.read(reply, "/3")
    assert found["/3/0/0"] == "FlowNexus"
    assert found["/3/0/6/1"] == 7
    assert 3000 < int(str(found["/3/0/7/0"])) < 4400
    assert abs(int(str(found["/3/0/13"])) * 1000 - peer.wall_ms) < 1000


def test_lwm2m_cbor_is_of_1_2() -> None:
    newer = booted(SimOptions(lwm2m_version="1.2"))
    reply = newer.get("/3303/0", ContentFormat.LWM2M_CBOR)
    assert newer.read(reply, "/3303/0")["/3303/0/5701"] == "Cel"
    assert booted().get("/3303/0", ContentFormat.LWM2M_CBOR).code == Code.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("path", "accept", "payload"),
    [
        ("/3/0/0", ContentFormat.TEXT, b"FlowNexus"),
        ("/3/0/6/1", ContentFormat.TEXT, b"7"),
        ("/3/0/0", ContentFormat.CBOR, b"\x69FlowNexus"),
    ],
)
def test_a_single_value_is_read_bare(path: str, accept: ContentFormat, payload: bytes) -> None:
    reply = booted().get(path, accept)
    assert (reply.code, reply.content_format, reply.payload) == (Code.CONTENT, accept, payload)


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/3/0", ContentFormat.TEXT),
        ("/3/0/6", ContentFormat.CBOR),  # two instances
        ("/3/0/0", ContentFormat.OPAQUE),  # not opaque
    ],
)
def test_a_format_that_cannot_hold_it_is_not_acceptable(path: str, accept: ContentFormat) -> None:
    assert booted().get(path, accept).code == Code.NOT_ACCEPTABLE


def test_an_unknown_format_is_not_acceptable() -> None:
    request = Message(Code.GET, path=("3",), accept=20000)
    assert booted().request(request).code == Code.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("options", "path", "expected"),
    [
        (SimOptions(), "/3/0/0", ContentFormat.SENML_CBOR),
        (SimOptions(lwm2m_version="1.0"), "/3/0/0", ContentFormat.TLV),
        (SimOptions(content_format=ContentFormat.SENML_JSON), "/3", ContentFormat.SENML_JSON),
        (SimOptions(content_format=ContentFormat.CBOR), "/3/0/0", ContentFormat.CBOR),
        (SimOptions(content_format=ContentFormat.CBOR), "/3/0", ContentFormat.SENML_CBOR),
        (SimOptions(lwm2m_version="1.0", content_format=ContentFormat.TEXT), "/3/0", ContentFormat.TLV),
    ],
)
def test_without_accept_the_device_chooses(options: SimOptions, path: str, expected: ContentFormat) -> None:
    assert booted(options).get(path, None).content_format == expected


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/", Code.METHOD_NOT_ALLOWED),
        ("/0", Code.UNAUTHORIZED),
        ("/99", Code.NOT_FOUND),
        ("/3/7", Code.NOT_FOUND),
        ("/3/0/99", Code.NOT_FOUND),
        ("/3/0/4", Code.METHOD_NOT_ALLOWED),
        ("/.well-known/core", Code.NOT_FOUND),
        ("/3/0/0/0/0", Code.NOT_FOUND),
        ("/70000", Code.NOT_FOUND),
    ],
)
def test_what_cannot_be_read_is_refused(path: str, code: Code) -> None:
    peer = booted()
    assert peer.get(path).code == code
    assert peer.statistics.requests_refused == 1


def test_reading_measures() -> None:
    peer = booted(SimOptions(sample_period_s=1e6))
    first = peer.read(peer.get("/3303/0/5700"), "/3303/0/5700")
    peer.advance(3600)
    assert peer.read(peer.get("/3303/0/5700"), "/3303/0/5700") != first


# Composite


def test_composite_reads_the_root_and_single_paths() -> None:
    peer = booted()
    found = peer.read(peer.fetch("/3/0/0", "/3303/0", "/99"))
    assert found["/3/0/0"] == "FlowNexus"
    assert found["/3303/0/5701"] == "Cel"
    assert {path.split("/")[1] for path in found} == {"3", "3303"}


def test_composite_of_nothing_readable_is_not_found() -> None:
    assert booted().fetch("/99", "/3/0/4").code == Code.NOT_FOUND


@pytest.mark.parametrize(
    ("payload", "content_format", "accept", "code"),
    [
        (b"\xff", SENML, SENML, Code.BAD_REQUEST),
        (b"\x80", SENML, SENML, Code.BAD_REQUEST),
        (b"/3", ContentFormat.TEXT, SENML, Code.UNSUPPORTED_CONTENT_FORMAT),
        (b"/3", None, SENML, Code.UNSUPPORTED_CONTENT_FORMAT),
        (b"\x81\xa1\x00\x62/3", SENML, ContentFormat.TLV, Code.NOT_ACCEPTABLE),
    ],
)
def test_composite_mistakes(
    payload: bytes, content_format: ContentFormat | None, accept: ContentFormat, code: Code
) -> None:
    request = Message(Code.FETCH, payload, content_format=content_format, accept=accept)
    assert booted().request(request).code == code


def test_composite_answers_in_the_format_of_the_question() -> None:
    request = Message(Code.FETCH, b'[{"n":"/3/0/0"}]', content_format=ContentFormat.SENML_JSON)
    reply = booted().request(request)
    assert (reply.code, reply.content_format) == (Code.CONTENT, ContentFormat.SENML_JSON)


def test_composite_operations_came_with_1_1() -> None:
    peer = booted(SimOptions(lwm2m_version="1.0"))
    assert peer.fetch("/3").code == Code.METHOD_NOT_ALLOWED


def test_write_composite_is_all_or_nothing() -> None:
    peer = booted()

    def ipatch(*records: Record) -> int:
        payload = encode(SENML, records, base=Path.ROOT)
        return peer.request(Message(Code.IPATCH, payload, content_format=SENML)).code

    lifetime = Record(Path.of(1, 0, 1), 120, DataType.INTEGER)
    offset = Record(Path.of(3, 0, 14), "+02:00", DataType.STRING)
    fixed = Record(Path.of(3, 0, 0), "Other", DataType.STRING)
    assert ipatch(lifetime, offset, fixed) == Code.METHOD_NOT_ALLOWED
    assert peer.read(peer.get("/1/0/1"), "/1/0/1") == {"/1/0/1": 300}
    assert ipatch(lifetime, offset) == Code.CHANGED
    assert peer.read(peer.fetch("/1/0/1", "/3/0/14")) == {"/1/0/1": 120, "/3/0/14": "+02:00"}


def test_write_composite_is_of_the_root_in_senml() -> None:
    peer = booted()
    payload = encode(SENML, (Record(Path.of(1, 0, 1), 120, DataType.INTEGER),), base=Path.ROOT)
    elsewhere = Message(Code.IPATCH, payload, path=("1",), content_format=SENML)
    assert peer.request(elsewhere).code == Code.METHOD_NOT_ALLOWED
    text = Message(Code.IPATCH, b"120", content_format=ContentFormat.TEXT)
    assert peer.request(text).code == Code.UNSUPPORTED_CONTENT_FORMAT


# Discover


def test_discover_lists_objects_instances_resources_and_attributes() -> None:
    peer = booted()
    assert peer.attributes("/3", "pmin=10") == Code.CHANGED
    assert peer.attributes("/3/0", "pmax=60") == Code.CHANGED
    assert peer.attributes("/3/0/7", "gt=5000", "lt=4000.5", "st=50") == Code.CHANGED
    links = peer.discover("/3").split(",")
    assert links[:3] == ["</3>;ver=1.1;pmin=10", "</3/0>;pmax=60", "</3/0/0>"]
    assert "</3/0/7>;dim=2;gt=5000;lt=4000.5;st=50" in links
    assert "</3/0/4>" in links  # executable
    assert peer.discover("/3/0").startswith("</3/0>;pmin=10;pmax=60,</3/0/0>,")
    assert peer.discover("/3/0/7") == (
        "</3/0/7>;dim=2;pmin=10;pmax=60;gt=5000;lt=4000.5;st=50,</3/0/7/0>,</3/0/7/1>"
    )


def test_discover_in_1_0_ends_at_the_resource() -> None:
    assert booted(SimOptions(lwm2m_version="1.0")).discover("/3/0/7") == "</3/0/7>;dim=2"


@pytest.mark.parametrize(
    ("path", "code"),
    [("/", Code.METHOD_NOT_ALLOWED), ("/9", Code.NOT_FOUND), ("/3/0/7/0", Code.METHOD_NOT_ALLOWED)],
)
def test_discover_of_what_is_not_there(path: str, code: Code) -> None:
    assert booted().get(path, ContentFormat.LINK).code == code


# Write and Write-Attributes


@pytest.mark.parametrize(
    ("content_format", "payload"),
    [
        (ContentFormat.TEXT, b"+03:00"),
        (ContentFormat.CBOR, b"\x66+03:00"),
        (ContentFormat.TLV, b"\xc6\x0e+03:00"),
        (ContentFormat.SENML_JSON, b'[{"n":"/3/0/14","vs":"+03:00"}]'),
        (ContentFormat.JSON, b'{"bn":"/3/0/14","e":[{"sv":"+03:00"}]}'),
    ],
)
@pytest.mark.parametrize("method", [Code.PUT, Code.POST])
def test_a_resource_is_written_in_any_format(
    content_format: ContentFormat, payload: bytes, method: Code
) -> None:
    peer = booted()
    request = Message(method, payload, path=("3", "0", "14"), content_format=content_format)
    assert peer.request(request).code == Code.CHANGED
    assert peer.get("/3/0/14", ContentFormat.TEXT).payload == b"+03:00"


@pytest.mark.parametrize(
    ("path", "payload", "content_format", "code"),
    [
        ("/3/0/9", b"5", ContentFormat.TEXT, Code.METHOD_NOT_ALLOWED),
        ("/3/0/77", b"5", ContentFormat.TEXT, Code.NOT_FOUND),
        ("/1/0/1", b"soon", ContentFormat.TEXT, Code.BAD_REQUEST),
        ("/1/0/1", b"0", ContentFormat.TEXT, Code.BAD_REQUEST),
        ("/1/0/1", b"\xff\xff", SENML, Code.BAD_REQUEST),
        ("/1/0/1", b"5", 20000, Code.UNSUPPORTED_CONTENT_FORMAT),
        ("/1/0/1", b"5", ContentFormat.LWM2M_CBOR, Code.UNSUPPORTED_CONTENT_FORMAT),
        ("/1", b"5", ContentFormat.TEXT, Code.BAD_REQUEST),
        ("/0/0/0", b"coap://x", ContentFormat.TEXT, Code.UNAUTHORIZED),
    ],
)
def test_writes_that_are_refused(path: str, payload: bytes, content_format: int, code: Code) -> None:
    assert booted().put(path, payload, content_format) == code


def test_replace_and_partial_update_of_an_instance() -> None:
    peer = booted()
    both = (
        Record(Path.of(1, 0, 1), 200, DataType.INTEGER),
        Record(Path.of(1, 0, 6), False, DataType.BOOLEAN),
    )
    payload = encode(SENML, both, base=Path.of(1, 0))
    partial = Message(Code.POST, payload, path=("1", "0"), content_format=SENML)
    assert peer.request(partial).code == Code.CHANGED
    assert peer.read(peer.get("/1/0"), "/1/0")["/1/0/5"] == 86_400
    assert peer.put("/1/0", payload, SENML) == Code.CHANGED
    left = peer.read(peer.get("/1/0"), "/1/0")
    assert left == {"/1/0/0": 101, "/1/0/1": 200, "/1/0/6": False, "/1/0/7": "U"}


def test_attributes_are_refused_where_they_do_not_belong() -> None:
    peer = booted()
    assert peer.attributes("/3/0/77", "pmin=1") == Code.NOT_FOUND
    assert peer.attributes("/", "pmin=1") == Code.METHOD_NOT_ALLOWED
    assert peer.attributes("/3/0/0", "gt=1") == Code.BAD_REQUEST
    assert peer.attributes("/3/0/9", "pmin=x") == Code.BAD_REQUEST
    assert peer.attributes("/3/0/9") == Code.BAD_REQUEST
    assert peer.attributes("/3/0/7/0", "pmin=1") == Code.CHANGED
    older = booted(SimOptions(lwm2m_version="1.0"))
    assert older.attributes("/3/0/7/0", "pmin=1") == Code.METHOD_NOT_ALLOWED


def test_the_clock_can_be_set() -> None:
    peer = booted()
    assert peer.write("/3/0/13", 1_000_000) == Code.CHANGED
    peer.advance(60)
    assert peer.get("/3/0/13", ContentFormat.TEXT).payload == b"1000060"


# Execute


@pytest.mark.parametrize("arguments", ["", "0", "0='a',3", "5='</33629/1>',1,2='x y'"])
def test_arguments_as_the_specification_writes_them(arguments: str) -> None:
    assert booted().execute("/3/0/12", arguments) == Code.CHANGED


@pytest.mark.parametrize("arguments", ["x", "10", "0=a", "0='a", "0,,1", ",", "0='" + "a" * 600 + "'"])
def test_arguments_that_are_none(arguments: str) -> None:
    assert booted().execute("/3/0/12", arguments) == Code.BAD_REQUEST


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/3/0/9", Code.METHOD_NOT_ALLOWED),
        ("/3/0/77", Code.NOT_FOUND),
        ("/1/0/9", Code.NOT_FOUND),  # no bootstrap here
        ("/5/0/2", Code.METHOD_NOT_ALLOWED),  # nothing downloaded
        ("/3/0", Code.UNSUPPORTED_CONTENT_FORMAT),
    ],
)
def test_what_cannot_be_executed(path: str, code: Code) -> None:
    assert booted().execute(path) == code


def test_the_extremes_can_be_reset() -> None:
    peer = booted(SimOptions(sample_period_s=60.0))
    peer.advance(6 * 3600)
    before = peer.read(peer.get("/3303/0"), "/3303/0")
    assert float(str(before["/3303/0/5601"])) < float(str(before["/3303/0/5602"]))
    assert peer.execute("/3303/0/5605") == Code.CHANGED
    after = peer.read(peer.get("/3303/0"), "/3303/0")
    assert after["/3303/0/5601"] == after["/3303/0/5602"] == after["/3303/0/5700"]


# Create and Delete


def container(instance: int | None, data: bytes = b"abc") -> bytes:
    """An instance of object 19 as TLV, by itself or as bare resources."""
    resource = bytes((0x80 | (2 + len(data)), 0, 0x40 | len(data), 0)) + data
    return resource if instance is None else bytes((0x08, instance, len(resource))) + resource


def test_an_instance_is_created_updated_in_the_registration_and_deleted() -> None:
    peer = booted()
    create = Message(Code.POST, container(5), path=("19",), content_format=ContentFormat.TLV)
    reply = peer.request(create)
    assert (reply.code, reply.location) == (Code.CREATED, ())
    update = peer.take_one()
    assert (update.path, update.content_format) == (("rd", "abcdefghij"), ContentFormat.LINK)
    assert b"</19/5>" in update.payload
    assert peer.read(peer.get("/19/5"), "/19/5") == {"/19/5/0/0": b"abc"}
    assert peer.request(Message(Code.DELETE, path=("19", "5"))).code == Code.DELETED
    assert b"</19/5>" not in peer.take_one().payload
    assert peer.get("/19/5").code == Code.NOT_FOUND


def test_without_an_instance_id_the_device_chooses_one() -> None:
    peer = booted()
    for number in ("0", "1"):
        create = Message(Code.POST, container(None), path=("19",), content_format=ContentFormat.TLV)
        reply = peer.request(create)
        assert (reply.code, reply.location) == (Code.CREATED, ("19", number))


def test_create_in_senml() -> None:
    payload = encode(SENML, (Record(Path.of(19, 3, 0, 0), b"xyz", DataType.OPAQUE),), base=Path.of(19))
    peer = booted()
    create = Message(Code.POST, payload, path=("19",), content_format=SENML)
    assert peer.request(create).code == Code.CREATED
    assert peer.get("/19/3/0/0", ContentFormat.OPAQUE).payload == b"xyz"


@pytest.mark.parametrize(
    ("path", "payload", "code"),
    [
        ("/3303", b"", Code.METHOD_NOT_ALLOWED),
        ("/99", container(0), Code.NOT_FOUND),
        ("/0", container(0), Code.UNAUTHORIZED),
        ("/19", b"", Code.BAD_REQUEST),  # the mandatory resource is missing
        ("/19", b"\xff\xff", Code.BAD_REQUEST),
        ("/19", container(1) + container(2), Code.BAD_REQUEST),
    ],
)
def test_what_cannot_be_created(path: str, payload: bytes, code: Code) -> None:
    create = Message(Code.POST, payload, path=segments(path), content_format=ContentFormat.TLV)
    assert booted().request(create).code == code


@pytest.mark.parametrize(
    ("path", "code"),
    [("/", 0x85), ("/3/0", 0x85), ("/3/0/14", 0x85), ("/99/0", 0x84), ("/0/0", 0x81), ("/3/0/7/0", 0x85)],
)
def test_what_cannot_be_deleted(path: str, code: int) -> None:
    assert booted().request(Message(Code.DELETE, path=segments(path))).code == code


# Blocks


def test_a_firmware_image_arrives_in_blocks() -> None:
    peer = booted()
    image = b"version=2.0.0\n".ljust(2560, b".")
    for number in range(5):
        part = image[number * 512 : (number + 1) * 512]
        block = Block(number, number < 4, 5)
        request = Message(
            Code.PUT, part, path=("5", "0", "0"), content_format=ContentFormat.OPAQUE, block1=block
        )
        reply = peer.request(request)
        assert reply.block1 == block
        assert reply.code == (Code.CONTINUE if number < 4 else Code.CHANGED)


def test_a_large_value_is_written_and_read_in_blocks() -> None:
    peer = booted(SimOptions(block_size=256))
    peer.request(Message(Code.POST, container(0), path=("19",), content_format=ContentFormat.TLV))
    data = bytes(range(250)) * 5
    for number in range(5):
        part = data[number * 256 : (number + 1) * 256]
        block = Block(number, number < 4, 4)
        put = Message(Code.PUT, part, path=("19", "0", "0", "0"), content_format=42, block1=block)
        assert peer.request(put).code == (Code.CONTINUE if number < 4 else Code.CHANGED)
    body = b""
    for number in range(5):
        get = Message(Code.GET, path=("19", "0", "0", "0"), accept=42)
        get.block2 = Block(number, False, 4) if number else None
        reply = peer.request(get)
        assert reply.block2 == Block(number, number < 4, 4)
        assert reply.size2 == (1250 if number == 0 else None)
        body += reply.payload
    assert body == data


def test_the_blocks_of_a_read_are_of_one_moment() -> None:
    whole = booted().get("/3303/0").payload
    peer = booted(SimOptions(block_size=32))
    reply = peer.get("/3303/0")
    body, number = reply.payload, 0
    while reply.block2 is not None and reply.block2.more:
        number += 1
        peer.advance(7.0)  # samples are taken meanwhile
        reply = peer.request(
            Message(Code.GET, path=("3303", "0"), accept=SENML, block2=Block(number, False, 1))
        )
        body += reply.payload
    assert number > 1
    assert body == whole


def test_a_smaller_block_than_ours_is_honoured() -> None:
    peer = booted()
    get = Message(Code.GET, path=("3",), accept=SENML, block2=Block(0, False, 1))
    reply = peer.request(get)
    assert reply.block2 == Block(0, True, 1)
    assert len(reply.payload) == 32
    beyond = Message(Code.GET, path=("3",), accept=SENML, block2=Block(500, False, 1))
    assert peer.request(beyond).code == Code.BAD_REQUEST


def test_a_block_out_of_order_is_incomplete() -> None:
    peer = booted()
    put = Message(Code.PUT, bytes(16), path=("5", "0", "0"), content_format=42, block1=Block(1, True, 0))
    assert peer.request(put).code == Code.REQUEST_ENTITY_INCOMPLETE


# The rest


def test_an_unknown_critical_option_is_a_bad_option() -> None:
    peer = booted()
    data = encode_message(Message(Code.GET, message_id=9, path=("3",)))
    # If-Match (1) before the Uri-Path (11): the delta of the latter shrinks by one.
    assert data[4] == 0xB1
    peer.device.receive(data[:4] + b"\x10" + bytes((0xA1,)) + data[5:], peer.now)
    reply = peer.take_one()
    assert (reply.type, reply.code) == (Type.ACK, Code.BAD_OPTION)


def test_an_unknown_method_is_not_allowed() -> None:
    peer = booted()
    assert peer.request(Message(Code.PATCH, path=("3",))).code == Code.METHOD_NOT_ALLOWED
    assert peer.request(Message(0x1E, path=("3",))).code == Code.METHOD_NOT_ALLOWED


def test_a_write_of_the_root_is_not_allowed() -> None:
    post = Message(Code.POST, b"1", content_format=ContentFormat.TEXT)
    assert booted().request(post).code == Code.METHOD_NOT_ALLOWED
