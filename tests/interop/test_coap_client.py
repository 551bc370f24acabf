"""libcoap's coap-client plays a LwM2M client by hand: each request a process, most from a port of its own.

LwM2M Transport 1.1.1 section 6.4.3 (Register, Update, Deregister) and 6.4.6 (Send); RFC 7252, RFC 7959.
"""

import json
import socket

import cbor2
import pytest

from .coap_client import CoapClient, Reply
from .daemon import Daemon, Sample, free_port

LINKS = b'</>;rt="oma.lwm2m";ct=112,</1/0>,</3>;ver=1.1,</3/0>,</3303/0>,</3303/1>'
OBJECTS = {1: [0], 3: [0], 3303: [0, 1]}
LINK_FORMAT, SENML_JSON, SENML_CBOR, LWM2M_TLV = 40, 110, 112, 11542
UNKNOWN_ID = "/rd/zzzzzzzzzz"


def register(client: CoapClient, endpoint: str, port: int | None = None, links: bytes = LINKS) -> str:
    """Register by the book; the registration id."""
    query = ("lwm2m=1.1", f"ep={endpoint}", "lt=300", "b=U")
    reply = client.request("post", "/rd", query, links, LINK_FORMAT, port=port)
    assert (reply.type, reply.code) == ("ACK", "2.01")
    return location_id(reply)


def location_id(reply: Reply) -> str:
    """The id of a Location that is as Zephyr needs it: exactly two short options, and no other option."""
    (first, root), (second, registration_id) = reply.options
    assert (first, root, second) == ("Location-Path", "rd", "Location-Path")
    assert registration_id.isascii()
    assert registration_id.isalnum()
    assert 8 <= len(registration_id) <= 10
    return registration_id


# A device's life


def test_register_puts_a_registration_into_the_store(daemon: Daemon, coap_client: CoapClient) -> None:
    registration_id = register(coap_client, "coap-register")
    stored = daemon.store.registration("coap-register")
    assert stored is not None
    assert stored["id"] == registration_id
    assert stored["address"].startswith("127.0.0.1:")
    assert (stored["lwm2m_version"], stored["lifetime_s"], stored["binding"]) == ("1.1", 300, "U")
    assert stored["objects"] == OBJECTS
    shown = daemon.endpoint("coap-register")["registration"]
    assert (shown["id"], shown["lifetime_s"]) == (registration_id, 300)


def test_update_changes_lifetime_objects_and_address(daemon: Daemon, coap_client: CoapClient) -> None:
    location = "/rd/" + register(coap_client, "coap-update")
    before = daemon.store.registration("coap-update")
    assert before is not None

    assert coap_client.request("post", location, ("lt=900",)).code == "2.04"
    after = daemon.store.registration("coap-update")
    assert after is not None
    assert (after["id"], after["lifetime_s"], after["objects"]) == (before["id"], 900, OBJECTS)
    assert after["address"] != before["address"]  # each coap-client has a port of its own

    links = b"</1/0>,</3/0>,</3303/7>"
    assert coap_client.request("post", location, (), links, LINK_FORMAT).code == "2.04"
    after = daemon.store.registration("coap-update")
    assert after is not None
    assert (after["lifetime_s"], after["objects"]) == (900, {1: [0], 3: [0], 3303: [7]})


def test_deregister_removes_the_registration_and_keeps_the_endpoint(
    daemon: Daemon, coap_client: CoapClient
) -> None:
    location = "/rd/" + register(coap_client, "coap-deregister")
    assert coap_client.request("delete", location).code == "2.02"
    assert daemon.store.registration("coap-deregister") is None
    assert daemon.store.observations("coap-deregister") == {}
    assert "coap-deregister" in daemon.store.endpoints()
    assert daemon.endpoint("coap-deregister")["registration"] is None
    assert coap_client.request("post", location).code == "4.04"
    assert coap_client.request("delete", location).code == "4.04"


def test_a_second_registration_of_a_name_replaces_the_first(daemon: Daemon, coap_client: CoapClient) -> None:
    first = register(coap_client, "coap-twice")
    second = register(coap_client, "coap-twice", links=b"</3/0>")
    assert first != second
    stored = daemon.store.registration("coap-twice")
    assert stored is not None
    assert (stored["id"], stored["objects"]) == (second, {3: [0]})
    assert coap_client.request("post", f"/rd/{first}").code == "4.04"
    assert coap_client.request("post", f"/rd/{second}").code == "2.04"


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_every_version_registers(daemon: Daemon, coap_client: CoapClient, version: str) -> None:
    endpoint = f"coap-version-{version}"
    query = (f"lwm2m={version}", f"ep={endpoint}", "lt=300")
    location_id(coap_client.request("post", "/rd", query, LINKS, LINK_FORMAT))
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert stored["lwm2m_version"] == version


def test_queue_mode_and_an_alternate_path(daemon: Daemon, coap_client: CoapClient) -> None:
    query = ("lwm2m=1.1", "ep=coap-queue", "lt=300", "b=U", "Q")
    links = b'</lwm2m>;rt="oma.lwm2m";ct="60 110 112",</lwm2m/1/0>,</lwm2m/3/0>'
    location_id(coap_client.request("post", "/rd", query, links, LINK_FORMAT))
    stored = daemon.store.registration("coap-queue")
    assert stored is not None
    assert (stored["queue_mode"], stored["objects"]) == (1, {1: [0], 3: [0]})


def test_an_endpoint_name_beyond_ascii(daemon: Daemon, coap_client: CoapClient) -> None:
    register(coap_client, "coap-Wärme+Kälte ✓")
    assert daemon.endpoint("coap-Wärme+Kälte ✓")["registration"] is not None


def test_register_without_confirmation(daemon: Daemon, coap_client: CoapClient) -> None:
    query = ("lwm2m=1.1", "ep=coap-non", "lt=300")
    reply = coap_client.request("post", "/rd", query, LINKS, LINK_FORMAT, confirmable=False)
    assert (reply.type, reply.code) == ("NON", "2.01")
    location = "/rd/" + location_id(reply)
    reply = coap_client.request("post", location, ("lt=301",), confirmable=False)
    assert (reply.type, reply.code) == ("NON", "2.04")
    stored = daemon.store.registration("coap-non")
    assert stored is not None
    assert stored["lifetime_s"] == 301


@pytest.mark.parametrize("block_size", [64, 512])
def test_a_large_link_list_comes_in_blocks(daemon: Daemon, coap_client: CoapClient, block_size: int) -> None:
    endpoint = f"coap-blocks-{block_size}"
    links = LINKS + b"".join(b",</3303/%d>" % number for number in range(2, 250))
    query = ("lwm2m=1.1", f"ep={endpoint}", "lt=300")
    reply = coap_client.request("post", "/rd", query, links, LINK_FORMAT, block_size=block_size)
    assert reply.code == "2.01"
    assert [name for name, _ in reply.options if name == "Location-Path"] == ["Location-Path"] * 2
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert stored["objects"] == {1: [0], 3: [0], 3303: list(range(250))}


# Send


def test_send_in_senml_cbor(daemon: Daemon, coap_client: CoapClient) -> None:
    port = free_port(socket.SOCK_DGRAM)
    register(coap_client, "coap-send-cbor", port)
    pack = cbor2.dumps([{-2: "/3303/0/", 0: "5700", 2: 21.5}, {0: "5701", 3: "Cel"}])
    assert coap_client.request("post", "/dp", (), pack, SENML_CBOR, port=port).code == "2.04"
    assert daemon.store.values("coap-send-cbor", "/3303/0/5700") == [21.5]
    assert daemon.store.values("coap-send-cbor", "/3303/0/5701") == ["Cel"]
    item = daemon.resources("coap-send-cbor")["/3303/0/5700"]
    assert (item["value"], item["name"]) == (21.5, "Sensor Value")


def test_send_in_senml_json(daemon: Daemon, coap_client: CoapClient) -> None:
    port = free_port(socket.SOCK_DGRAM)
    register(coap_client, "coap-send-json", port)
    pack = json.dumps([{"bn": "/3/0/", "n": "9", "v": 64}, {"n": "0", "vs": "Größe"}]).encode()
    assert coap_client.request("post", "/dp", (), pack, SENML_JSON, port=port).code == "2.04"
    assert daemon.store.values("coap-send-json", "/3/0/9") == [64]
    assert daemon.store.values("coap-send-json", "/3/0/0") == ["Größe"]


def test_send_keeps_every_time_of_the_device(daemon: Daemon, coap_client: CoapClient) -> None:
    port = free_port(socket.SOCK_DGRAM)
    register(coap_client, "coap-send-times", port)
    pack = cbor2.dumps(
        [
            {-2: "/3303/1/5700", -3: 1_700_000_000, 2: 1.0},
            {6: 60, 2: 2.0},
            {6: 120.5, 2: 3.0},
        ]
    )
    assert coap_client.request("post", "/dp", (), pack, SENML_CBOR, port=port).code == "2.04"
    assert daemon.store.samples("coap-send-times", "/3303/1/5700") == [
        Sample(1_700_000_000_000, 1.0),
        Sample(1_700_000_060_000, 2.0),
        Sample(1_700_000_120_500, 3.0),
    ]


def test_send_without_confirmation_and_in_blocks(daemon: Daemon, coap_client: CoapClient) -> None:
    port = free_port(socket.SOCK_DGRAM)
    register(coap_client, "coap-send-more", port)
    pack = cbor2.dumps([{-2: "/3303/0/5700", 2: 1.5}])
    reply = coap_client.request("post", "/dp", (), pack, SENML_CBOR, port=port, confirmable=False)
    assert (reply.type, reply.code) == ("NON", "2.04")
    times = range(1_700_000_000, 1_700_000_060)
    pack = cbor2.dumps([{0: "/3303/1/5700", 6: moment, 2: float(moment)} for moment in times])
    reply = coap_client.request("post", "/dp", (), pack, SENML_CBOR, port=port, block_size=256)
    assert reply.code == "2.04"
    assert daemon.store.values("coap-send-more", "/3303/0/5700") == [1.5]
    assert daemon.store.values("coap-send-more", "/3303/1/5700") == [float(moment) for moment in times]


# What is refused, by which code, and that nothing of it is kept


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (("lwm2m=9.x-bad", "ep=coap-bad", "lt=60"), "4.00"),
        (("lwm2m=", "ep=coap-bad", "lt=60"), "4.00"),
        (("ep=coap-bad", "lt=60"), "4.00"),
        (("lwm2m=9.9", "ep=coap-bad", "lt=60"), "4.12"),
        (("lwm2m=1.1", "lt=60"), "4.00"),
        (("lwm2m=1.1", "ep=", "lt=60"), "4.00"),
        (("lwm2m=1.1", "ep=coap-bad", "lt=soon"), "4.00"),
        (("lwm2m=1.1", "ep=coap-bad", "lt=-1"), "4.00"),
        (("lwm2m=1.1", "ep=coap-bad", "lt=99999999999999999999"), "4.00"),
        (("lwm2m=1.1", "ep=coap-bad", "ep=coap-bad2", "lt=60"), "4.00"),
        (("lwm2m=1.1", "ep=coap-bad", "lt=60", "b=?"), "4.00"),
    ],
)
def test_a_bad_query_is_refused(
    daemon: Daemon, coap_client: CoapClient, query: tuple[str, ...], code: str
) -> None:
    before = daemon.store.endpoints()
    reply = coap_client.request("post", "/rd", query, LINKS, LINK_FORMAT)
    assert (reply.type, reply.code) == ("ACK", code)
    assert daemon.store.endpoints() == before


@pytest.mark.parametrize(
    ("links", "content_format", "code"),
    [
        (b"garbage", LINK_FORMAT, "4.00"),
        (b"\xff\x00\xfe</3/0>", LINK_FORMAT, "4.00"),
        (b"</3/0", LINK_FORMAT, "4.00"),
        (b"", LINK_FORMAT, "4.00"),
        (LINKS, SENML_CBOR, "4.15"),
        (LINKS, 65000, "4.15"),
    ],
)
def test_a_bad_link_list_is_refused(
    daemon: Daemon, coap_client: CoapClient, links: bytes, content_format: int, code: str
) -> None:
    query = ("lwm2m=1.1", "ep=coap-bad-links", "lt=60")
    assert coap_client.request("post", "/rd", query, links, content_format).code == code
    assert "coap-bad-links" not in daemon.store.endpoints()


def test_a_bad_update_leaves_the_registration_as_it_was(daemon: Daemon, coap_client: CoapClient) -> None:
    location = "/rd/" + register(coap_client, "coap-bad-update")
    before = daemon.store.registration("coap-bad-update")
    assert coap_client.request("post", location, ("lt=never",)).code == "4.00"
    assert coap_client.request("post", location, (), b"garbage", LINK_FORMAT).code == "4.00"
    assert coap_client.request("post", location, (), LINKS, SENML_JSON).code == "4.15"
    assert daemon.store.registration("coap-bad-update") == before


def test_a_bad_send_leaves_nothing(daemon: Daemon, coap_client: CoapClient) -> None:
    port = free_port(socket.SOCK_DGRAM)
    register(coap_client, "coap-bad-send", port)
    good = {0: "/3303/0/5700", 2: 1.0}
    for payload, content_format, code in [
        (b"\xff\xff\xff", SENML_CBOR, "4.00"),
        (b"not json", SENML_JSON, "4.00"),
        (cbor2.dumps([good, {0: "/3303/0/70000", 2: 1.0}]), SENML_CBOR, "4.00"),
        (cbor2.dumps([good, {0: "/3303/0/5701"}, "oops"]), SENML_CBOR, "4.00"),
        (b"</3/0>", LINK_FORMAT, "4.15"),
        (cbor2.dumps([good]), 65000, "4.15"),
    ]:
        reply = coap_client.request("post", "/dp", (), payload, content_format, port=port)
        assert (payload, reply.code) == (payload, code)
    assert daemon.store.values("coap-bad-send", "/3303/0/5700") == []


def test_a_send_from_a_stranger_is_refused(daemon: Daemon, coap_client: CoapClient) -> None:
    before = daemon.store.endpoints()
    pack = cbor2.dumps([{0: "/3303/0/5700", 2: 1.0}])
    assert coap_client.request("post", "/dp", (), pack, SENML_CBOR).code == "4.00"
    assert daemon.store.endpoints() == before


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("post", UNKNOWN_ID, "4.04"),
        ("delete", UNKNOWN_ID, "4.04"),
        ("post", "/rd/" + "x" * 90, "4.04"),
        ("get", "/rd", "4.05"),
        ("get", "/dp", "4.05"),
        ("fetch", UNKNOWN_ID, "4.05"),
        ("post", "/", "4.04"),
        ("post", "/nowhere", "4.04"),
        ("get", "/rd/a/b/c", "4.04"),
    ],
)
def test_what_is_not_there(coap_client: CoapClient, method: str, path: str, code: str) -> None:
    assert coap_client.request(method, path).code == code


def test_an_unknown_critical_option_is_refused(daemon: Daemon, coap_client: CoapClient) -> None:
    query = ("lwm2m=1.1", "ep=coap-option", "lt=60")
    critical, elective = "65001,x", "65000,x"
    reply = coap_client.request("post", "/rd", query, LINKS, LINK_FORMAT, options=[critical])
    assert reply.code == "4.02"
    assert "coap-option" not in daemon.store.endpoints()
    reply = coap_client.request("post", "/rd", query, LINKS, LINK_FORMAT, options=[elective])
    assert reply.code == "2.01"
