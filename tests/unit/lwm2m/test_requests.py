"""Register and Update as clients send them, and what of it is refused."""

import json
from pathlib import Path as FilePath
from typing import Any

import pytest

from flownexus_appliance.errors import ApplianceError, PeerError, UsageError
from flownexus_appliance.lwm2m.registration import DEFAULT_LIFETIME_S, RegisteredObject
from flownexus_appliance.lwm2m.requests import (
    MAX_LIFETIME_S,
    UpdateRequest,
    check_endpoint,
    named_endpoint,
    parse_register,
    parse_update,
    read_object_list,
)

VECTORS = FilePath(__file__).parents[2] / "vectors" / "register.json"
RECORDED: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))

QUERY = ("lwm2m=1.1", "ep=a")
OBJECTS = b"</1/0>,</3/0>"


@pytest.mark.parametrize("vector", RECORDED, ids=lambda vector: vector["client"])
def test_a_register_reads_as_the_client_meant_it(vector: dict[str, Any]) -> None:
    request = parse_register(vector["query"], vector["payload"].encode())
    listed = request.object_list
    assert {
        "endpoint": request.endpoint,
        "lwm2m_version": request.lwm2m_version,
        "lifetime_s": request.lifetime_s,
        "binding": request.binding,
        "queue_mode": request.queue_mode,
        "root_path": listed.root_path,
        "content_formats": list(listed.content_formats),
        "objects": {str(n): [o.version, list(o.instances)] for n, o in listed.objects.items()},
        "attributes": dict(request.attributes),
    } == vector["expect"]


@pytest.mark.parametrize(
    ("query", "payload", "code"),
    [
        ([], OBJECTS, "version_missing"),
        (["ep=a"], OBJECTS, "version_missing"),
        (["lwm2m=", "ep=a"], OBJECTS, "version_invalid"),
        (["lwm2m=1", "ep=a"], OBJECTS, "version_invalid"),
        (["lwm2m=1.1.1", "ep=a"], OBJECTS, "version_invalid"),
        (["lwm2m=1.1\n", "ep=a"], OBJECTS, "version_invalid"),
        (["lwm2m=2.0", "ep=a"], OBJECTS, "version_unsupported"),
        (["lwm2m=1.3", "ep=a"], OBJECTS, "version_unsupported"),
        (["lwm2m=1.1"], OBJECTS, "endpoint_missing"),
        (["lwm2m=1.1", "ep="], OBJECTS, "endpoint_missing"),
        (["lwm2m=1.1", "ep"], OBJECTS, "endpoint_missing"),
        (["lwm2m=1.1", "ep=" + "a" * 256], OBJECTS, "endpoint_invalid"),
        (["lwm2m=1.1", "ep=" + "é" * 128], OBJECTS, "endpoint_invalid"),
        (["lwm2m=1.1", "ep=a\nb"], OBJECTS, "endpoint_invalid"),
        (["lwm2m=1.1", "ep=a\0"], OBJECTS, "endpoint_invalid"),
        (["lwm2m=1.1", "ep= a"], OBJECTS, "endpoint_invalid"),
        (["lwm2m=1.1", "ep=a\u202e"], OBJECTS, "endpoint_invalid"),
        (["lwm2m=1.1", "ep=\ud800"], OBJECTS, "endpoint_invalid"),
        ([*QUERY, "lt="], OBJECTS, "lifetime_invalid"),
        ([*QUERY, "lt=-1"], OBJECTS, "lifetime_invalid"),
        ([*QUERY, "lt=60.5"], OBJECTS, "lifetime_invalid"),
        ([*QUERY, "lt=6e1"], OBJECTS, "lifetime_invalid"),
        ([*QUERY, "lt=٦٠"], OBJECTS, "lifetime_invalid"),
        ([*QUERY, "lt=4294967296"], OBJECTS, "lifetime_invalid"),
        ([*QUERY, "lt=" + "9" * 5000], OBJECTS, "lifetime_invalid"),
        ([*QUERY, "b=X"], OBJECTS, "binding_invalid"),
        ([*QUERY, "b=u"], OBJECTS, "binding_invalid"),
        ([*QUERY, "b=UUUUUUUUU"], OBJECTS, "binding_invalid"),
        ([*QUERY, "Q=no"], OBJECTS, "query_invalid"),
        ([*QUERY, "ep=b"], OBJECTS, "query_invalid"),
        ([*QUERY, ""], OBJECTS, "query_invalid"),
        ([*QUERY, "=1"], OBJECTS, "query_invalid"),
        ([*QUERY, *(f"p{n}" for n in range(15))], OBJECTS, "query_invalid"),
        (QUERY, b"", "links_invalid"),
        (QUERY, b"</>", "links_invalid"),
        (QUERY, b"</temp>,</3/0/0>,</65535>,</70000/0>", "links_invalid"),
        (QUERY, b"</3/0>,", "links_invalid"),
        (QUERY, b"\xff", "links_invalid"),
        (QUERY, b'</lwm2m>;rt="oma.lwm2m",</3/0>', "links_invalid"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(query: list[str], payload: bytes, code: str) -> None:
    with pytest.raises(PeerError) as caught:
        parse_register(query, payload)
    assert caught.value.code == code
    assert caught.value.hint
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()


def test_the_limits_are_inclusive() -> None:
    request = parse_register(["lwm2m=1.1", "ep=" + "é" * 127 + "a", "lt=4294967295"], OBJECTS)
    assert len(request.endpoint.encode()) == 255
    assert request.lifetime_s == MAX_LIFETIME_S
    assert parse_register([*QUERY, "lt=1"], OBJECTS).lifetime_s == 1
    assert parse_register(QUERY, OBJECTS).lifetime_s == DEFAULT_LIFETIME_S
    assert len(parse_register([*QUERY, *(f"p{n}" for n in range(14))], OBJECTS).attributes) == 14


@pytest.mark.parametrize(
    ("query", "binding", "queue_mode"),
    [
        ([], "U", False),
        (["b=U"], "U", False),
        (["Q"], "U", True),
        (["Q="], "U", True),
        (["Q=true"], "U", True),
        (["b=UQ"], "U", True),
        (["b=Q"], "U", True),
        (["b=UQS"], "US", True),
        (["b=UT", "Q"], "UT", True),
    ],
)
def test_queue_mode_in_both_spellings(query: list[str], binding: str, queue_mode: bool) -> None:
    request = parse_register([*QUERY, *query], OBJECTS)
    assert (request.binding, request.queue_mode) == (binding, queue_mode)
    assert "b" not in request.attributes
    assert "Q" not in request.attributes


@pytest.mark.parametrize(
    ("query", "payload", "expected"),
    [
        ([], b"", UpdateRequest()),
        (["lt=65"], b"", UpdateRequest(lifetime_s=65)),
        (["lt=0"], b"", UpdateRequest(lifetime_s=MAX_LIFETIME_S)),
        (["b=U"], b"", UpdateRequest(binding="U")),
        (["b="], b"", UpdateRequest()),
        (["b=UQ"], b"", UpdateRequest(binding="U", queue_mode=True)),
        (["b=Q"], b"", UpdateRequest(binding="U", queue_mode=True)),
        (["Q"], b"", UpdateRequest(queue_mode=True)),
        (["sms=1", "x"], b"", UpdateRequest()),
        ([], OBJECTS, UpdateRequest(object_list=read_object_list(OBJECTS))),
    ],
)
def test_an_update_says_only_what_changed(query: list[str], payload: bytes, expected: UpdateRequest) -> None:
    assert parse_update(query, payload) == expected


@pytest.mark.parametrize(
    ("query", "payload", "code"),
    [
        (["lt=x"], b"", "lifetime_invalid"),
        (["b=-"], b"", "binding_invalid"),
        (["lt=1", "lt=2"], b"", "query_invalid"),
        ([], b"nonsense", "links_invalid"),
        ([], b"</temp>", "links_invalid"),
    ],
)
def test_an_update_is_refused_by_the_same_rules(query: list[str], payload: bytes, code: str) -> None:
    with pytest.raises(PeerError) as caught:
        parse_update(query, payload)
    assert caught.value.code == code


def test_an_object_is_listed_once_however_often_it_is_named() -> None:
    listed = read_object_list(b"</3303/16>,</3303>;ver=1.1,</3303/0>,</3303/16>,</3303/>,</3303/1/>")
    assert listed.objects == {3303: RegisteredObject("1.1", (0, 1, 16))}


def test_the_link_that_says_it_is_the_root_is_the_root() -> None:
    listed = read_object_list(b'</>;ct=40,</a>;rt="x oma.lwm2m";ct=112,</b>;rt="oma.lwm2m",</a/3/0>,</4/0>')
    assert (listed.root_path, listed.content_formats, set(listed.objects)) == ("/a", (112,), {3})


def test_a_version_that_is_none_is_passed_over() -> None:
    listed = read_object_list(b'</3>;ver="new",</3/0>;ver,</4>;ver="1.1.1",</5>;ver=2.0')
    assert {n: o.version for n, o in listed.objects.items()} == {3: "", 4: "", 5: "2.0"}


def test_formats_are_the_numbers_among_what_ct_says() -> None:
    assert read_object_list(b'</>;ct="112 x 110 999999 -1",</3/0>').content_formats == (112, 110)
    assert read_object_list(b"</>;ct,</3/0>").content_formats == ()


@pytest.mark.parametrize(
    ("query", "proven", "endpoint"),
    [
        (["lwm2m=1.1", "ep=a"], None, "a"),
        (["lwm2m=1.1", "ep=a"], "b", "a"),  # what is asked for; who may is another question
        (["lwm2m=1.1"], "b", "b"),
        (["lwm2m=1.1", "ep="], "b", "b"),
    ],
)
def test_a_name_that_is_left_out_is_the_sessions(query: list[str], proven: str | None, endpoint: str) -> None:
    assert parse_register(query, OBJECTS, proven).endpoint == endpoint
    assert named_endpoint(query, proven) == endpoint


def test_a_request_without_any_name() -> None:
    with pytest.raises(PeerError, match="endpoint_missing"):
        parse_register(["lwm2m=1.1"], OBJECTS)
    with pytest.raises(PeerError, match="endpoint_missing"):
        named_endpoint([])


@pytest.mark.parametrize("error", [PeerError, UsageError])
def test_a_name_is_checked_for_devices_and_for_operators(error: type[ApplianceError]) -> None:
    assert check_endpoint("x" * 255, error) == "x" * 255
    for name, code in ((None, "missing"), ("", "missing"), ("x" * 256, "invalid"), (" a", "invalid")):
        with pytest.raises(error, match=f"endpoint_{code}"):
            check_endpoint(name, error)
