"""Eclipse Leshan's client through Leshan's API: every operation, asleep and awake, with DTLS and without.

The shapes are those that Leshan's own server gives its scripts. Most tests share two clients, one without
security and one with a pre-shared key.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .daemon import Daemon, Psk, Reply
from .events import Events
from .leshan_api import CHANGED, TEXT, LeshanApi, Node, instance, item, multiple, single
from .leshan_client import OBSERVED, Account, LeshanClient, StartLeshan
from .link import Link, resets, tokens
from .program import until

TEMPERATURE = "/3303/0/5700"
# A value of every data type, as Leshan's JSON has it: those that a server may write.
VALUES = {
    110: ("STRING", "Grüße, ✓"),
    120: ("INTEGER", str(-(2**40))),
    125: ("UNSIGNED_INTEGER", str(2**63 + 5)),
    130: ("FLOAT", -0.1),
    140: ("BOOLEAN", False),
    150: ("OPAQUE", "00ff10"),
    160: ("TIME", 1_767_225_600_000),
    170: ("OBJLNK", {"objectId": 3303, "objectInstanceId": 1, "nullLink": False}),
    180: ("CORELINK", "</3>;ver=1.1,</3/0>;pmin=10"),
}
LARGE = 5000  # bytes, several blocks (RFC 7959)
DELETED = {"status": "DELETED(202)", "valid": True, "success": True, "failure": False}
CREATED = {"status": "CREATED(201)", "valid": True, "success": True, "failure": False}


@pytest.fixture(scope="module")
def api(daemon: Daemon) -> LeshanApi:
    return LeshanApi(daemon)


@pytest.fixture
def waiting() -> Iterator[ThreadPoolExecutor]:
    """For a request that is held while the test goes on."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


def asked(daemon: Daemon, endpoint: str, status: str) -> None:
    """Wait until the newest that was asked of a device stands so."""
    until(lambda: daemon.operations(endpoint)[0].status == status, f"{endpoint}: {status}")


# Registrations


def test_registrations(daemon: Daemon, api: LeshanApi, device: LeshanClient) -> None:
    shown = api.ask("GET", f"/clients/{device.endpoint}").json
    assert shown in api.ask("GET", "/clients").json
    stored = daemon.endpoint(device.endpoint)["registration"]
    assert shown["endpoint"] == device.endpoint
    assert shown["registrationId"] == device.registration_id
    assert shown["registrationDate"] == stored["registered_ms"]
    assert shown["lastUpdate"] == stored["updated_ms"]
    assert shown["address"] == stored["address"]
    assert (shown["lwM2mVersion"], shown["lifetime"], shown["bindingMode"]) == ("1.1", 600, "U")
    assert (shown["rootPath"], shown["queuemode"]) == ("/", False)
    assert shown["secure"] is (device.endpoint == "leshan-secure")
    assert shown["availableInstances"] == {"1": [0], "3": [0], "3303": [0, 1], "3442": [0]}
    links = {link["url"]: link["attributes"] for link in shown["objectLinks"]}
    assert links["/"] == {"rt": '"oma.lwm2m"', "ct": '"60 110 112 11542 11543"'}
    assert links["/3"] == {"ver": "1.2"}
    assert set(links) == {"/", "/1/0", "/3", "/3/0", "/3303/0", "/3303/1", "/3442/0"}


def test_both_addresses(daemon: Daemon, api: LeshanApi, endpoint: str) -> None:
    """The port of its own in plain HTTP, and below /leshan/api with TLS."""
    path = f"/clients/{endpoint}/3303/1/5701"
    assert daemon.request("GET", f"/leshan/api{path}") == api.ask("GET", path)


def test_object_models(api: LeshanApi, endpoint: str) -> None:
    models = {model["id"]: model for model in api.ask("GET", f"/objectspecs/{endpoint}").json}
    assert set(models) >= {1, 3, 3303, 3442}
    resources = {resource["id"]: resource for resource in models[3303]["resourcedefs"]}
    assert models[3303]["instancetype"] == "multiple"
    assert (resources[5700]["name"], resources[5700]["operations"]) == ("Sensor Value", "R")
    assert resources[5700]["type"] == "float"


def test_events_of_a_life(daemon: Daemon, api: LeshanApi, start_leshan: StartLeshan) -> None:
    endpoint = "leshan-api-lives"
    with Events(f"{api.base}/event?ep={endpoint}") as events:
        client = start_leshan(endpoint, Account(daemon.coap_uri, queue_mode=True))
        begun = events.wait_for("REGISTRATION", lambda told: told["endpoint"] == endpoint)
        assert begun["registrationId"] == client.registration_id
        assert (begun["queuemode"], begun["sleeping"]) == (True, False)
        daemon.wait_onboarded(endpoint, OBSERVED)
        assert client.send("SENML_CBOR", "/3303/1/5701", "/3/0/11/0") == "204"
        sent = events.wait_for("SEND", lambda told: told["ep"] == endpoint)
        assert set(sent["val"]) == {"/3303/1/5701", "/3/0/11/0"}
        assert sent["val"]["/3/0/11/0"].items() >= item(0, "INTEGER", "0").items()
        daemon.configure(endpoint, awake_window_s=1)
        events.wait_for("SLEEPING", lambda told: told == {"ep": endpoint})
        assert api.ask("GET", f"/clients/{endpoint}").json["sleeping"] is True
        client.update()
        updated = events.wait_for("UPDATED", lambda told: told["registration"]["endpoint"] == endpoint)
        assert updated["update"]["registrationId"] == client.registration_id
        events.wait_for("AWAKE", lambda told: told == {"ep": endpoint})
        client.stop()
        ended = events.wait_for("DEREGISTRATION", lambda told: told["endpoint"] == endpoint)
        assert ended["registrationId"] == client.registration_id


# Read and Write


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("/3303/1/5701", single(5701, "STRING", "Cel")),
        ("/3303/1/5601", single(5601, "FLOAT", -5.0)),
        ("/3/0/11/0", item(0, "INTEGER", "0")),
        ("/3/0/11", multiple(11, "INTEGER", {"0": "0"})),
    ],
)
def test_read(api: LeshanApi, endpoint: str, path: str, node: Node) -> None:
    assert api.read(f"{endpoint}{path}") == node


def test_read_more_at_once(api: LeshanApi, endpoint: str) -> None:
    found = api.read(f"{endpoint}/3303/1")
    assert (found["kind"], found["id"]) == ("instance", 1)
    assert [one["id"] for one in found["resources"]] == [5601, 5602, 5700, 5701]
    assert single(5701, "STRING", "Cel") in found["resources"]
    whole = api.read(f"{endpoint}/3303")
    assert (whole["kind"], whole["id"]) == ("obj", 3303)
    assert [one["id"] for one in whole["instances"]] == [0, 1]
    assert found in whole["instances"]


@pytest.mark.parametrize("content_format", ["TLV", "JSON", "SENML_JSON", "senml_cbor"])
def test_every_data_type_both_ways(api: LeshanApi, endpoint: str, content_format: str) -> None:
    node = instance(
        0,
        *(single(number, *typed) for number, typed in VALUES.items()),
        *(
            multiple(number + 1000, kind, {"0": value, "7": value})
            for number, (kind, value) in VALUES.items()
        ),
    )
    path = f"{endpoint}/3442/0"
    assert api.answer("PUT", path, node, format=content_format) == CHANGED
    assert api.read(path, format=content_format) == node
    for resource in node["resources"]:
        assert api.read(f"{path}/{resource['id']}") == resource


@pytest.mark.parametrize(("number", "typed"), VALUES.items())
def test_write_each_alone(api: LeshanApi, endpoint: str, number: int, typed: tuple[str, object]) -> None:
    """As Zephyr's scripts have it: a type in small letters, an id as text, no kind."""
    kind, value = typed
    node = {"id": str(number), "type": kind.lower(), "value": value}
    assert api.answer("PUT", f"{endpoint}/3442/0/{number}", node) == CHANGED
    assert api.read(f"{endpoint}/3442/0/{number}") == single(number, kind, value)


def test_floats_as_leshan_writes_them(api: LeshanApi, endpoint: str) -> None:
    path = f"{endpoint}/3442/0/130"
    assert api.answer("PUT", path, single(130, "FLOAT", "22.50")) == CHANGED
    assert api.read(path) == single(130, "FLOAT", 22.5)
    assert api.read(path, float="string") == single(130, "FLOAT", "22.5")


def test_text(api: LeshanApi, endpoint: str) -> None:
    path = f"{endpoint}/3442/0/110"
    assert api.answer("PUT", path, "Zürich", TEXT, format="TEXT") == CHANGED
    assert api.read(path, format="TEXT") == single(110, "STRING", "Zürich")


def test_replace_and_partial_update(api: LeshanApi, endpoint: str) -> None:
    path = f"{endpoint}/3442/0"
    one, two, three = (single(110, "STRING", text) for text in ("one", "two", "three"))
    number = single(120, "INTEGER", "1")
    assert api.answer("PUT", path, instance(0, one, number)) == CHANGED
    assert api.answer("PUT", path, instance(0, two), replace="false") == CHANGED
    assert api.read(path) == instance(0, two, number)
    assert api.answer("PUT", path, instance(0, three), replace="true") == CHANGED
    assert api.read(path) == instance(0, three)


def test_the_instances_of_a_multiple_resource(api: LeshanApi, endpoint: str) -> None:
    path = f"{endpoint}/3442/0/1110"
    assert api.answer("PUT", path, multiple(1110, "STRING", {"0": "a", "5": "b"})) == CHANGED
    assert api.answer("PUT", f"{path}/5", item(5, "STRING", "c")) == CHANGED
    assert api.read(path) == multiple(1110, "STRING", {"0": "a", "5": "c"})
    assert api.read(f"{path}/5") == item(5, "STRING", "c")
    assert api.answer("PUT", path, multiple(1110, "STRING", {"9": "d"})) == CHANGED
    assert api.read(path) == multiple(1110, "STRING", {"9": "d"})
    more = multiple(1110, "STRING", {"7": "e"})
    assert api.answer("PUT", path, more, replace="false") == CHANGED
    assert api.read(path) == multiple(1110, "STRING", {"7": "e", "9": "d"})


# Execute, Create, Delete


def test_execute(api: LeshanApi, device: LeshanClient, endpoint: str) -> None:
    assert api.answer("POST", f"{endpoint}/3/0/4") == CHANGED
    device.rebooted()
    assert api.answer("POST", f"{endpoint}/3442/0/3", "0='hi',1,2='there'", TEXT) == CHANGED
    said = multiple(4, "STRING", {"0": "hi", "1": "", "2": "there"})
    assert api.read(f"{endpoint}/3442/0/4") == said


def test_create_and_delete(api: LeshanApi, endpoint: str) -> None:
    def instances() -> list[int]:
        found: list[int] = api.ask("GET", f"/clients/{endpoint}").json["availableInstances"]["3442"]
        return found

    node = instance(None, single(110, "STRING", "chosen"))
    assert api.answer("POST", f"{endpoint}/3442", node) == {**CREATED, "location": "3442/1"}
    node = instance(7, single(110, "STRING", "named"), multiple(1120, "INTEGER", {"3": "4"}))
    assert api.answer("POST", f"{endpoint}/3442", node, format="SENML_CBOR") == CREATED
    until(lambda: instances() == [0, 1, 7], "the Update that tells the new instances")
    assert api.read(f"{endpoint}/3442/1/110") == single(110, "STRING", "chosen")
    assert api.read(f"{endpoint}/3442/7/1120") == multiple(1120, "INTEGER", {"3": "4"})
    assert api.answer("DELETE", f"{endpoint}/3442/1") == DELETED
    assert api.answer("DELETE", f"{endpoint}/3442/7") == DELETED
    until(lambda: instances() == [0], "the Update that tells what is left")
    gone = api.answer("GET", f"{endpoint}/3442/7")
    assert (gone["status"], gone["failure"]) == ("NOT_FOUND(404)", True)


def test_create_with_nothing_in_it(api: LeshanApi, endpoint: str) -> None:
    """Only TLV can tell the id of an instance without resources."""
    assert api.answer("POST", f"{endpoint}/3303", instance(8)) == CREATED
    assert api.read(f"{endpoint}/3303/8/5701") == single(5701, "STRING", "Cel")
    assert api.answer("DELETE", f"{endpoint}/3303/8") == DELETED


# Composite operations


@pytest.mark.parametrize("content_format", ["SENML_JSON", "SENML_CBOR"])
def test_composite_write_and_read(api: LeshanApi, endpoint: str, content_format: str) -> None:
    path = f"{endpoint}/composite"
    nodes = {
        "/3442/0/110": single(110, "STRING", "both"),
        "/3442/0/1110/0": item(0, "STRING", "new"),
        "/3442/0/1120": multiple(1120, "INTEGER", {"0": "5", "3": "6"}),
    }
    assert api.answer("PUT", path, nodes, nodeformat=content_format) == CHANGED
    paths = {"paths": "/3442/0/110,/3442/0/1110/0,/3442/0/1120,/3303/1"}
    found = api.read(path, **paths, pathformat=content_format, nodeformat=content_format)
    assert found == {**nodes, "/3303/1": api.read(f"{endpoint}/3303/1")}


# Observations


def test_observe_and_cancel(api: LeshanApi, device: LeshanClient, endpoint: str) -> None:
    """NOTIFICATION events come, and none once the device was told to stop."""
    path = f"{endpoint}/3442/0/120"

    def value(number: int) -> Node:
        return {
            "ep": endpoint,
            "kind": "single",
            "res": "/3442/0/120",
            "val": single(120, "INTEGER", str(number)),
        }

    with Events(f"{api.base}/event?ep={endpoint}") as events:
        first = api.answer("POST", f"{path}/observe")
        assert (first["status"], first["content"]) == ("CONTENT(205)", single(120, "INTEGER", "1024"))
        assert api.answer("PUT", path, single(120, "INTEGER", "7")) == CHANGED
        events.wait_for("NOTIFICATION", lambda told: told == value(7))
        ended = api.answer("DELETE", f"{path}/observe", active=None)
        assert (ended["status"], ended["content"]) == ("CONTENT(205)", single(120, "INTEGER", "7"))
        assert api.answer("PUT", path, single(120, "INTEGER", "8")) == CHANGED
        device.temperature(0, 77.75)  # comes by another observation, after what must not come
        events.wait_for("NOTIFICATION", lambda told: told["val"]["value"] == 77.75)
        assert value(8) not in events.all("NOTIFICATION")
        missing = api.client("DELETE", f"{path}/observe", active=None)
        assert missing.status == 404


def test_cancel_without_telling(
    daemon: Daemon, api: LeshanApi, link: Link, start_leshan: StartLeshan
) -> None:
    """The device goes on until its next notification is reset (RFC 7641 3.6), and no longer."""
    client = start_leshan("leshan-api-passive", Account(link.plain_uri))
    endpoint = client.endpoint
    daemon.wait_onboarded(endpoint, OBSERVED)
    token = daemon.store.observations(endpoint)[TEMPERATURE]
    sent, told = len(link.heard), len(link.said)
    assert api.client("DELETE", f"{endpoint}{TEMPERATURE}/observe") == Reply(200, "", "")
    with Events(f"{api.base}/event?ep={endpoint}") as events:
        for percent, value in ((50, 31.0), (51, 32.0), (52, 33.0)):
            client.temperature(0, value)
            client.battery(percent)
            battery = single(9, "INTEGER", str(percent))
            events.wait_for("NOTIFICATION", lambda told: told["val"] == battery)  # noqa: B023
        assert {event["res"] for event in events.all("NOTIFICATION")} == {"/3/0/9"}
    assert tokens(link.said[told:]).count(token) == 1
    assert resets(link.heard[sent:]) == 1
    client.stop()


def test_as_zephyrs_scripts_ask(api: LeshanApi, endpoint: str) -> None:
    """Parameters that mean nothing there, an endpoint without `ep=`, empty bodies, types in small letters."""
    usual: Node = {"timeout": 10, "format": "SENML_CBOR"}
    with Events(f"{api.base}/event?{endpoint}") as events:
        path = f"{endpoint}/3442/0/1110"
        begun = api.answer("POST", f"{path}/observe", "", **usual)
        assert begun["content"] == multiple(1110, "STRING", {"0": "initial value"})
        nodes = {
            "/3442/0/1110": {
                "id": 1110,
                "kind": "multiResource",
                "values": {"0": "aa", "1": "bb"},
                "type": "string",
            },
            "/3442/0/120": {"id": 120, "kind": "singleResource", "value": 60, "type": "integer"},
        }
        formats: Node = {"pathformat": "SENML_CBOR", "nodeformat": "SENML_CBOR", "timeout": 10}
        assert api.answer("PUT", f"{endpoint}/composite", nodes, **formats) == CHANGED
        told: Node = {"kind": "single", "res": "/3442/0/1110"}
        told["val"] = multiple(1110, "STRING", {"0": "aa", "1": "bb"})
        events.wait_for("NOTIFICATION", lambda event: event == {"ep": endpoint, **told})
        assert api.client("DELETE", f"{path}/observe") == Reply(200, "", "")
    node = {"kind": "instance", "id": 3, "resources": [{**nodes["/3442/0/120"], "id": "120"}]}
    assert api.answer("POST", f"{endpoint}/3442", node, **usual) == CREATED
    assert api.answer("PUT", f"{endpoint}/3442/3", node, **usual, replace="false") == CHANGED
    assert api.read(f"{endpoint}/3442/3/120", **usual) == single(120, "INTEGER", "60")
    assert api.answer("DELETE", f"{endpoint}/3442/3") == DELETED


def test_composite_observation(api: LeshanApi, endpoint: str) -> None:
    path, paths = f"{endpoint}/composite/observe", "/3303/1/5701,/3442/0/120,/3442/0/1110"
    nodes = {
        "/3303/1/5701": single(5701, "STRING", "Cel"),
        "/3442/0/120": single(120, "INTEGER", "1024"),
        "/3442/0/1110": multiple(1110, "STRING", {"0": "initial value"}),
    }
    formats = {"pathformat": "SENML_CBOR", "nodeformat": "SENML_CBOR"}
    with Events(f"{api.base}/event?ep={endpoint}") as events:
        begun = api.answer("POST", path, paths=paths, **formats)
        assert (begun["status"], begun["content"]) == ("CONTENT(205)", nodes)
        assert api.answer("PUT", f"{endpoint}/3442/0/120", single(120, "INTEGER", "47")) == CHANGED
        nodes["/3442/0/120"] = single(120, "INTEGER", "47")
        event = events.wait_for("NOTIFICATION", lambda told: told["kind"] == "composite")
        assert event == {"ep": endpoint, "kind": "composite", "val": nodes, "paths": paths.split(",")}
        ended = api.answer("DELETE", path, paths=paths, active=None)
        assert (ended["status"], ended["content"]) == ("CONTENT(205)", nodes)
        assert api.client("DELETE", path, paths=paths, active=None).status == 404


def test_attributes(api: LeshanApi, endpoint: str) -> None:
    """Discover shows at each level what was written there, and no longer what was unset by its bare name."""
    whole, resource = f"{endpoint}/3442/0", f"{endpoint}/3442/0/130"

    def write(path: str, **attributes: Any) -> Node:
        reply = api.ask("PUT", f"/clients/{path}/attributes", **attributes)
        assert reply.status == 200, reply
        answer: Node = reply.json
        return answer

    assert write(whole, pmin=5, pmax=60) == CHANGED
    assert write(resource, gt=45.5, lt=-10.25, st=0.5) == CHANGED
    links = api.links(whole)
    assert links["/3442/0"] == {"pmin": "5", "pmax": "60"}
    assert links["/3442/0/130"] == {"gt": "45.5", "lt": "-10.25", "st": "0.5"}
    assert write(whole, pmin=None, pmax=None) == CHANGED
    assert write(resource, gt=None, lt=None, st=None) == CHANGED
    links = api.links(whole)
    assert links["/3442/0"] == links["/3442/0/130"] == {}
    wrong = api.ask("PUT", f"/clients/{resource}/attributes", timeout=5)
    assert (wrong.status, wrong.text.partition(":")[0]) == (400, "Invalid attributes")


# What is refused


def test_what_the_device_refuses(api: LeshanApi, endpoint: str) -> None:
    """Its code and its words are the answer, with HTTP status 200."""
    failed = {"valid": True, "success": False, "failure": True}
    assert api.answer("GET", f"{endpoint}/3/0/7") == {"status": "NOT_FOUND(404)", **failed}
    assert api.answer("GET", f"{endpoint}/9/0/1") == {"status": "NOT_FOUND(404)", **failed}
    refused = {"status": "METHOD_NOT_ALLOWED(405)", **failed}
    assert api.answer("DELETE", f"{endpoint}/3/0") == refused
    assert api.answer("POST", f"{endpoint}/3/0/0") == refused
    assert api.answer("PUT", f"{endpoint}/3303/1/5701", single(5701, "STRING", "K")) == refused
    again = api.answer("POST", f"{endpoint}/3442", instance(0, single(110, "STRING", "again")))
    words = {"errormessage": "instance 0 already exists"}
    assert again == {"status": "BAD_REQUEST(400)", **failed, **words}


def test_what_is_not_even_asked(daemon: Daemon, api: LeshanApi, endpoint: str) -> None:
    before = daemon.operations(endpoint)
    nobody = api.client("GET", "leshan-nobody/3/0/0")
    assert nobody == Reply(400, TEXT, "No registered client with id 'leshan-nobody'")
    for status, begins, method, path, body, query in (
        (400, "Invalid request", "GET", "/3/0/0/0/0", None, {}),
        (400, "Invalid request", "PUT", "/3442/0/110", "{", {}),
        (500, "Unexpected exception", "PUT", "/3442/0/120", single(120, "INTEGER", "many"), {}),
        (500, "Unexpected exception", "GET", "/composite", None, {"paths": "/3/0"}),
        (400, "Invalid request", "DELETE", "/3/0/0", None, {}),
    ):
        reply = api.client(method, f"{endpoint}{path}", body, **query)
        assert (reply.status, reply.media_type) == (status, TEXT)
        assert reply.text.startswith(f"{begins}: ")
    assert daemon.operations(endpoint) == before


# Queue Mode


@pytest.mark.parametrize("kind", ["nosec", "psk"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_request_is_held_while_the_device_sleeps(
    daemon: Daemon,
    api: LeshanApi,
    start_leshan: StartLeshan,
    waiting: ThreadPoolExecutor,
    version: str,
    kind: str,
) -> None:
    """It is answered when the device has woken and done it; in time or not, it is one request."""
    endpoint = f"leshan-api-sleeps-{version}-{kind}"
    credential = daemon.give_psk(endpoint) if kind == "psk" else None
    uri = daemon.coap_uri if credential is None else daemon.coaps_uri
    client = start_leshan(endpoint, Account(uri, credential, 6, queue_mode=True, version=version))
    daemon.wait_onboarded(endpoint, OBSERVED)
    daemon.configure(endpoint, awake_window_s=1)
    daemon.wait_asleep(endpoint)
    path, node = f"{endpoint}/3442/0/110", single(110, "STRING", "held")

    late = api.client("PUT", path, single(110, "STRING", "late"), timeout=1)
    assert late == Reply(504, TEXT, "Request timeout")
    [given_up] = daemon.operations(endpoint)
    assert (given_up.status, given_up.attempts) == ("CANCELLED", 0)

    held: Future[Reply] = waiting.submit(api.client, "PUT", path, node)
    until(lambda: len(daemon.operations(endpoint)) == 2, "the request is taken up")
    asked(daemon, endpoint, "QUEUED")
    assert not held.done()
    client.update()
    reply = held.result()
    assert (reply.status, reply.json) == (200, CHANGED)
    asked(daemon, endpoint, "CONFIRMED")
    assert api.read(path) == node
    assert daemon.operation(given_up.id).status == "CANCELLED"
    client.stop()


# Large transfers


def test_a_large_value(api: LeshanApi, endpoint: str) -> None:
    node = single(150, "OPAQUE", bytes(number % 251 for number in range(LARGE)).hex())
    assert api.answer("PUT", f"{endpoint}/3442/0/150", node, format="OPAQUE") == CHANGED
    assert api.read(f"{endpoint}/3442/0/150") == node


def test_a_timeout_breaks_a_transfer_off(
    daemon: Daemon, api: LeshanApi, link: Link, start_leshan: StartLeshan
) -> None:
    """In the middle of its blocks: nothing more of it goes out, and the next transfer is whole."""
    client = start_leshan("leshan-api-breaks", Account(link.plain_uri))
    daemon.wait_onboarded(client.endpoint, OBSERVED)
    path, first, second = f"{client.endpoint}/3442/0/150", b"\xaa" * LARGE, b"\x55" * LARGE
    link.cut(after=2)
    reply = api.client("PUT", path, single(150, "OPAQUE", first.hex()), timeout=1)
    assert reply == Reply(504, TEXT, "Request timeout")
    assert link.lost
    assert daemon.operations(client.endpoint)[0].status == "CANCELLED"
    before = len(link.heard)
    link.mend()
    assert api.answer("PUT", path, single(150, "OPAQUE", second.hex())) == CHANGED
    assert api.read(path) == single(150, "OPAQUE", second.hex())
    assert not any(first[:64] in datagram for datagram in link.heard[before:])
    client.stop()


# Security


def test_a_key_that_leshans_api_gives(
    daemon: Daemon, api: LeshanApi, start_leshan: StartLeshan, tmp_path: Path
) -> None:
    endpoint, key = "leshan-api-key", bytes(range(16)).hex()
    details = {"identity": endpoint, "key": key}
    entry = {"endpoint": endpoint, "tls": {"mode": "psk", "details": details}}
    assert api.ask("PUT", "/security/clients/", entry, timeout=10, format="SENML_CBOR").status == 200
    client = start_leshan(endpoint, Account(daemon.coaps_uri, Psk(endpoint, key), 6))
    shown = api.ask("GET", "/security/clients", timeout=10, format="SENML_CBOR").json
    assert {"endpoint": endpoint, "tls": {"mode": "psk", "details": {"identity": endpoint}}} in shown
    assert api.read(f"{endpoint}/3303/1/5701") == single(5701, "STRING", "Cel")
    assert api.ask("DELETE", f"/security/clients/{endpoint}").status == 200
    gone = api.client("GET", f"{endpoint}/3303/1/5701")
    assert (gone.status, gone.text) == (400, f"No registered client with id '{endpoint}'")
    client.kill()
