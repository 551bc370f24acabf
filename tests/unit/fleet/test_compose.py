"""What request an operation becomes: method, path, formats, payload."""

from dataclasses import replace

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.fleet.ports import Downlink, Method
from flownexus_appliance.fleet.requests import compose, composite_format, preferred_format
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.operations import AT_MOST_ONCE, CANCELS, Kind
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration
from flownexus_appliance.lwm2m.values import Value
from tests.box import models

from .conftest import operation

TEXT, LINK, OPAQUE, CBOR, SENML_JSON, SENML_CBOR, TLV, JSON = 0, 40, 42, 60, 110, 112, 11542, 11543
MODERN = Registration(
    id="id",
    endpoint="one",
    address="192.0.2.1:5683",
    lwm2m_version="1.1",
    lifetime_s=60,
    binding="U",
    queue_mode=False,
    root_path="/",
    objects={3: RegisteredObject("", (0,))},
    content_formats=(),
    message_id=1,
    token=b"t",
    registered_ms=1,
    updated_ms=1,
    expires_at=60.0,
)
OLD = replace(MODERN, lwm2m_version="1.0")
VALUE = {"/3303/0/5700": 21.5}


def decoded(down: Downlink, base: str) -> dict[str, object]:
    assert down.content_format is not None
    records = codecs.decode(
        down.content_format, down.payload, base=Path.parse(base), types=models().type_of, now_ms=0
    )
    return {str(record.path): record.value for record in records}


@pytest.mark.parametrize(
    ("kind", "path", "down"),
    [
        ("read", "/3/0", Downlink(Method.GET, Path.of(3, 0), accept=SENML_CBOR)),
        ("discover", "/3", Downlink(Method.GET, Path.of(3), accept=LINK)),
        ("observe", "/3/0/9", Downlink(Method.GET, Path.of(3, 0, 9), accept=SENML_CBOR)),
        ("execute", "/3/0/4", Downlink(Method.POST, Path.of(3, 0, 4), once=True)),
        ("delete", "/3303/1", Downlink(Method.DELETE, Path.of(3303, 1))),
    ],
)
def test_those_without_a_body(kind: str, path: str, down: Downlink) -> None:
    assert compose(operation(kind, path), MODERN) == down


def test_write_attributes_has_queries_and_no_format() -> None:
    """A PUT with a Content-Format would be a Write (zephyr)."""
    wanted = operation("write_attributes", "/3/0/9", attributes=(("pmin", "1"), ("gt", None), ("st", "0.5")))
    assert compose(wanted, MODERN) == Downlink(Method.PUT, Path.of(3, 0, 9), query=("pmin=1", "gt", "st=0.5"))


def test_execute_with_arguments_is_text() -> None:
    down = compose(operation("execute", "/3/0/4", arguments="0='ü'"), MODERN)
    assert (down.payload, down.content_format) == ("0='ü'".encode(), TEXT)


@pytest.mark.parametrize(
    ("kind", "path", "method"),
    [
        ("write", "/3303/0", Method.PUT),
        ("write", "/3303/0/5700", Method.PUT),
        ("write_partial", "/3303/0", Method.POST),
    ],
)
@pytest.mark.parametrize("content_format", [None, SENML_JSON, TLV, JSON, SENML_CBOR])
def test_writes(kind: str, path: str, method: Method, content_format: int | None) -> None:
    down = compose(operation(kind, path, values=VALUE, content_format=content_format), MODERN)
    wanted = SENML_CBOR if content_format is None else content_format
    assert (down.method, down.path, down.content_format, down.accept) == (
        method,
        Path.parse(path),
        wanted,
        None,
    )
    assert decoded(down, path) == VALUE
    assert not down.once


@pytest.mark.parametrize("content_format", [TEXT, CBOR])
def test_a_single_value_may_go_by_itself(content_format: int) -> None:
    down = compose(operation("write", "/3303/0/5700", values=VALUE, content_format=content_format), MODERN)
    assert (down.content_format, decoded(down, "/3303/0/5700")) == (content_format, VALUE)
    with pytest.raises(UsageError):
        compose(operation("write", "/3303/0", values=VALUE, content_format=content_format), MODERN)


# Create


@pytest.mark.parametrize("registration", [MODERN, OLD], ids=["1.1", "1.0"])
def test_a_create_whose_instance_the_device_chooses(registration: Registration) -> None:
    """TLV without an instance around the resources: SenML has no way to name a resource of no instance."""
    down = compose(operation("create", "/3303", values=VALUE), registration)
    assert (down.method, down.path, down.content_format, down.once) == (
        Method.POST,
        Path.of(3303),
        TLV,
        True,
    )
    assert decoded(down, "/3303/0") == VALUE


@pytest.mark.parametrize("content_format", [None, TLV, SENML_JSON, SENML_CBOR, JSON])
def test_a_create_of_an_instance_names_it(content_format: int | None) -> None:
    values = {"/3303/7/5700": 21.5}
    down = compose(operation("create", "/3303/7", values=values, content_format=content_format), MODERN)
    assert down.path == Path.of(3303)
    assert down.content_format == (SENML_CBOR if content_format is None else content_format)
    assert decoded(down, "/3303") == values


def test_an_empty_instance_has_its_number_all_the_same() -> None:
    down = compose(operation("create", "/3303/7"), MODERN)
    assert (down.path, down.content_format, down.payload) == (Path.of(3303), TLV, b"\x00\x07")
    down = compose(operation("create", "/3303"), MODERN)
    assert (down.path, down.content_format, down.payload) == (Path.of(3303), TLV, b"")


# Composite operations


@pytest.mark.parametrize("content_format", [None, SENML_JSON, SENML_CBOR])
def test_a_composite_read_says_its_format_twice(content_format: int | None) -> None:
    wanted = SENML_CBOR if content_format is None else content_format
    for kind in ("read_composite", "observe_composite"):
        down = compose(operation(kind, "/3/0/9", "/3303", content_format=content_format), MODERN)
        assert (down.method, down.path, down.content_format, down.accept) == (
            Method.FETCH,
            Path.ROOT,
            wanted,
            wanted,
        )
        assert codecs.decode_paths(wanted, down.payload) == (Path.of(3, 0, 9), Path.of(3303))


def test_a_composite_write_has_whole_paths() -> None:
    values: dict[str, Value] = {"/3/0/14": "Z", "/3303/0/5700/1": 5.0}
    down = compose(operation("write_composite", *values, values=values), MODERN)
    assert (down.method, down.path, down.content_format) == (Method.IPATCH, Path.ROOT, SENML_CBOR)
    assert decoded(down, "/") == values


@pytest.mark.parametrize("content_format", [TLV, TEXT, 41])
def test_a_format_that_cannot_hold_it(content_format: int) -> None:
    with pytest.raises(UsageError):
        compose(operation("read_composite", "/3", content_format=content_format), MODERN)


# Formats


@pytest.mark.parametrize(
    ("version", "listed", "preferred", "composite"),
    [
        ("1.0", (), TLV, SENML_CBOR),
        ("1.1", (), SENML_CBOR, SENML_CBOR),
        ("1.2", (), SENML_CBOR, SENML_CBOR),
        ("1.1", (SENML_JSON,), SENML_JSON, SENML_JSON),
        ("1.1", (SENML_JSON, SENML_CBOR), SENML_CBOR, SENML_CBOR),
        ("1.1", (TLV, JSON), TLV, SENML_CBOR),
        ("1.1", (TEXT, OPAQUE, CBOR), SENML_CBOR, SENML_CBOR),
        ("1.0", (JSON,), JSON, SENML_CBOR),
        ("1.0", (1543, 1542), 1542, SENML_CBOR),
    ],
)
def test_the_format_is_the_best_that_the_device_names(
    version: str, listed: tuple[int, ...], preferred: int, composite: int
) -> None:
    registration = replace(MODERN, lwm2m_version=version, content_formats=listed)
    assert (preferred_format(registration), composite_format(registration)) == (preferred, composite)
    assert compose(operation("read", "/3"), registration).accept == preferred
    assert compose(operation("write", "/3303/0", values=VALUE), registration).content_format == preferred
    assert compose(operation("read", "/3", content_format=TEXT), registration).accept == TEXT


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in CANCELS])
def test_only_what_must_not_happen_twice_is_sent_rarely(kind: Kind) -> None:
    path = {"execute": "/3/0/4", "create": "/3303", "write_composite": "/3303/0/5700"}.get(kind, "/3303/0")
    values = VALUE if kind.startswith("write") and kind is not Kind.WRITE_ATTRIBUTES else None
    assert compose(operation(kind, path, values=values), MODERN).once is (kind in AT_MOST_ONCE)
