"""Eclipse Leshan's client through the REST API: every operation, asleep and awake, with DTLS and without.

Most tests share two clients, one without security and one with a pre-shared key.
"""

from pathlib import Path

import pytest

from .daemon import LOOPBACK, Answer, Daemon, running
from .events import Events
from .leshan_client import OBSERVED, Account, LeshanClient, StartLeshan
from .link import Link, resets, tokens
from .program import until

TEMPERATURE = "/3303/0/5700"
# A value of every data type, as the API has it: those that a server may write.
VALUES = {
    "110": "Grüße, ✓",
    "120": -(2**40),
    "125": 2**63 + 5,
    "130": -0.1,
    "140": False,
    "150": "00ff10",
    "160": 1_767_225_600,
    "170": "3303:1",
    "180": "</3>;ver=1.1,</3/0>;pmin=10",
}
TYPES = {
    "110": "string",
    "120": "integer",
    "125": "unsigned",
    "130": "float",
    "140": "boolean",
    "150": "opaque",
    "160": "time",
    "170": "objlnk",
    "180": "corelnk",
}
LARGE = 5000  # bytes, several blocks (RFC 7959)


def done(answer: Answer, code: str) -> Answer:
    """The device did it, and said so by this code."""
    assert (answer.status, answer.code, answer.attempts) == ("CONFIRMED", code, 1), answer
    return answer


# Read and Write


@pytest.mark.parametrize(
    ("path", "data_type"),
    [
        ("/3303/1/5701", "string"),
        ("/3/0/11/0", "integer"),
        ("/3/0/11", "integer"),
        ("/3303/1", "float"),
        ("/3303", "float"),
    ],
)
def test_read(daemon: Daemon, endpoint: str, path: str, data_type: str) -> None:
    """A resource, a resource instance, a multiple resource, an instance, an object."""
    reply = daemon.api(f"/endpoints/{endpoint}/operations?wait=30", {"operation": "read", "path": path})
    done(Answer.of(reply), "2.05")
    found = {value["path"]: value["data_type"] for value in reply["values"]}
    assert all(f"{one}/".startswith(f"{path}/") for one in found)
    assert data_type in found.values()
    assert all(value["time_ms"] is None for value in reply["values"])


@pytest.mark.parametrize("content_format", ["tlv", "json", "senml_json", "senml_cbor"])
def test_every_data_type_both_ways(daemon: Daemon, endpoint: str, content_format: str) -> None:
    """All in one instance: single values, and the same as instances of multiple resources."""
    several = {str(int(number) + 1000): {"0": value, "7": value} for number, value in VALUES.items()}
    written = daemon.operate(
        endpoint, "write", "/3442/0", values={**VALUES, **several}, format=content_format
    )
    done(written, "2.04")
    reply = daemon.api(
        f"/endpoints/{endpoint}/operations?wait=30",
        {"operation": "read", "path": "/3442/0", "format": content_format},
    )
    found = {value["path"]: (value["value"], value["data_type"]) for value in reply["values"]}
    wanted = {}
    for number, value in VALUES.items():
        wanted[f"/3442/0/{number}"] = value, TYPES[number]
        for item in (0, 7):
            wanted[f"/3442/0/{int(number) + 1000}/{item}"] = value, TYPES[number]
    assert found == wanted


@pytest.mark.parametrize(
    ("path", "content_format", "value"),
    [
        ("/3442/0/110", "text", "Zürich"),
        ("/3442/0/120", "text", -7),
        ("/3442/0/130", "text", 0.1),
        ("/3442/0/140", "text", True),
        ("/3442/0/150", "opaque", "00ff"),
        ("/3442/0/130", "cbor", 22.25),
        ("/3442/0/160", "cbor", 1_767_225_600),
    ],
)
def test_formats_of_a_single_value(
    daemon: Daemon, endpoint: str, path: str, content_format: str, value: object
) -> None:
    done(daemon.operate(endpoint, "write", path, value=value, format=content_format), "2.04")
    read = daemon.operate(endpoint, "read", path, format=content_format)
    assert done(read, "2.05").values == {path: value}


@pytest.mark.parametrize("value", [127, 200, 40_000, 2**32 - 1, 2**63, 2**64 - 1])
def test_unsigned_integers(daemon: Daemon, endpoint: str, value: int) -> None:
    """In TLV they are signed to Leshan, both ways; in another format it shows what it has."""
    path = "/3442/0/125"
    done(daemon.operate(endpoint, "write", path, value=value, format="tlv"), "2.04")
    assert daemon.operate(endpoint, "read", path, format="senml_cbor").values == {path: value}


def test_replace_and_partial_update(daemon: Daemon, endpoint: str) -> None:
    done(daemon.operate(endpoint, "write", "/3442/0", values={"110": "one", "120": 1}), "2.04")
    done(daemon.operate(endpoint, "write_partial", "/3442/0", values={"110": "two"}), "2.04")
    kept = {"/3442/0/110": "two", "/3442/0/120": 1}
    assert daemon.operate(endpoint, "read", "/3442/0").values == kept
    done(daemon.operate(endpoint, "write", "/3442/0", values={"110": "three"}), "2.04")
    assert daemon.operate(endpoint, "read", "/3442/0").values == {"/3442/0/110": "three"}


def test_the_instances_of_a_multiple_resource(daemon: Daemon, endpoint: str) -> None:
    path = "/3442/0/1110"

    def instances() -> dict[str, object]:
        read = done(daemon.operate(endpoint, "read", path), "2.05")
        return {found.removeprefix(f"{path}/"): value for found, value in read.values.items()}

    done(daemon.operate(endpoint, "write", path, value={"0": "a", "5": "b"}), "2.04")
    assert instances() == {"0": "a", "5": "b"}
    done(daemon.operate(endpoint, "write", f"{path}/5", value="c"), "2.04")
    assert instances() == {"0": "a", "5": "c"}
    done(daemon.operate(endpoint, "write_partial", "/3442/0", values={"1110": {"7": "d"}}), "2.04")
    assert instances() == {"0": "a", "5": "c", "7": "d"}
    done(daemon.operate(endpoint, "write", path, value={"9": "e"}), "2.04")
    assert instances() == {"9": "e"}


# Execute, Create, Delete


def test_execute(daemon: Daemon, device: LeshanClient, endpoint: str) -> None:
    done(daemon.operate(endpoint, "execute", "/3/0/4"), "2.04")
    device.rebooted()
    done(daemon.operate(endpoint, "execute", "/3442/0/3", arguments="0='hi',1,2='there'"), "2.04")
    said = daemon.operate(endpoint, "read", "/3442/0/4").values
    assert said == {"/3442/0/4/0": "hi", "/3442/0/4/1": "", "/3442/0/4/2": "there"}


def test_create_and_delete(daemon: Daemon, endpoint: str) -> None:
    """Which instances there are is told by the Updates that follow."""

    def instances() -> list[int]:
        found: list[int] = daemon.endpoint(endpoint)["registration"]["objects"]["3442"]["instances"]
        return found

    chosen = done(daemon.operate(endpoint, "create", "/3442", values={"110": "one"}), "2.01").location
    assert chosen == "/3442/1"
    named = daemon.operate(endpoint, "create", "/3442/7", values={"110": "seven", "1120": {"3": 4}})
    done(named, "2.01")
    until(lambda: instances() == [0, 1, 7], "the Update that tells the new instances")
    assert daemon.operate(endpoint, "read", f"{chosen}/110").values == {"/3442/1/110": "one"}
    assert daemon.operate(endpoint, "read", "/3442/7/1120").values == {"/3442/7/1120/3": 4}

    done(daemon.operate(endpoint, "delete", chosen), "2.02")
    done(daemon.operate(endpoint, "delete", "/3442/7"), "2.02")
    until(lambda: instances() == [0], "the Update that tells what is left")
    status, error, hint = daemon.refusal(endpoint, "read", path="/3442/7/110")
    assert (status, error, hint) == (404, "instance_unknown", "it has 0")


def test_an_instance_that_the_device_makes(daemon: Daemon, device: LeshanClient, endpoint: str) -> None:
    """It can be asked for once the device has told of it."""

    def instances() -> list[int]:
        found: list[int] = daemon.endpoint(endpoint)["registration"]["objects"]["3303"]["instances"]
        return found

    device.create(3303, 4)
    until(lambda: instances() == [0, 1, 4], "the Update that tells the new instance")
    read = done(daemon.operate(endpoint, "read", "/3303/4/5701"), "2.05")
    assert read.values == {"/3303/4/5701": "Cel"}
    device.delete(3303, 4)
    until(lambda: instances() == [0, 1], "the Update that tells what is left")
    assert daemon.refusal(endpoint, "read", path="/3303/4/5701")[:2] == (404, "instance_unknown")


# Composite operations


@pytest.mark.parametrize("content_format", ["senml_json", "senml_cbor"])
def test_composite_write_and_read(daemon: Daemon, endpoint: str, content_format: str) -> None:
    done(daemon.operate(endpoint, "write", "/3442/0/1110", value={"0": "old", "1": "kept"}), "2.04")
    written = daemon.ask(
        endpoint,
        "write_composite",
        values={"/3442/0/120": 3, "/3442/0/1110/0": "new", "/3442/0/1130": {"0": 2.5, "4": 3.5}},
        format=content_format,
    )
    done(written, "2.04")
    paths = ["/3/0/0", "/3442/0/120", "/3442/0/1110", "/3442/0/1130"]
    read = daemon.ask(endpoint, "read_composite", paths=paths, format=content_format)
    assert done(read, "2.05").values == {
        "/3/0/0": "Eclipse Leshan",
        "/3442/0/120": 3,
        "/3442/0/1110/0": "new",
        "/3442/0/1110/1": "kept",
        "/3442/0/1130/0": 2.5,
        "/3442/0/1130/4": 3.5,
    }


# Observations


def test_observe_and_cancel(daemon: Daemon, device: LeshanClient, endpoint: str) -> None:
    """Values come on the stream and in the store; none come once the device was told to stop."""
    path = "/3442/0/120"
    values = (value for value in range(1000, 2000))
    stream = f"https://{LOOPBACK}:{daemon.https_port}/api/v1/stream?endpoint={endpoint}"
    with Events(stream, daemon.tls, daemon.bearer) as events:

        def told(path: str, value: object) -> bool:
            return any(
                (one["path"], one["value"]) == (path, value)
                for message in events.all("values")
                for one in message["values"]
            )

        done(daemon.operate(endpoint, "observe", path), "2.05")
        assert daemon.observations(endpoint)[path]["state"] == "active"
        assert daemon.observations(endpoint)[path]["asked_by"] == "anna/tests"
        first = next(values)
        daemon.operate(endpoint, "write", path, value=first)
        until(lambda: told(path, first), f"{first} on the stream")
        until(lambda: daemon.store.values(endpoint, path)[-1] == first, f"{first} in the store")

        assert done(daemon.operate(endpoint, "cancel", path), "2.05").values == {path: first}
        assert path not in daemon.observations(endpoint)
        assert path not in daemon.store.observations(endpoint)
        unseen = next(values)
        daemon.operate(endpoint, "write", path, value=unseen)
        percent = daemon.store.values(endpoint, "/3/0/9")[-1]
        assert isinstance(percent, int)
        device.battery(percent - 1)  # comes by another observation, after what must not come
        until(lambda: told("/3/0/9", percent - 1), "the battery on the stream")
        assert not told(path, unseen)
        assert unseen not in daemon.store.values(endpoint, path)


@pytest.mark.parametrize(("how", "more"), [("cancel", 0), ("cancel_passive", 1)])
def test_cancels_on_the_wire(
    daemon: Daemon, link: Link, start_leshan: StartLeshan, how: str, more: int
) -> None:
    """A device that is told stops at once; one that is not, with the next notification, which is reset.

    RFC 7641 3.6.
    """
    client = start_leshan(f"leshan-{how}", Account(link.plain_uri))
    endpoint = client.endpoint
    daemon.wait_onboarded(endpoint, OBSERVED)
    token = daemon.store.observations(endpoint)[TEMPERATURE]
    sent = len(link.heard)
    cancelled = daemon.operate(endpoint, how, TEMPERATURE)
    assert cancelled.status == "CONFIRMED"
    assert cancelled.values == ({} if more else {TEMPERATURE: 20.0})
    assert len(link.heard) == sent + (not more)
    assert daemon.observations(endpoint)[TEMPERATURE]["state"] == "off"

    told = len(link.said)
    for number, value in enumerate((31.0, 32.0, 33.0)):
        client.temperature(0, value)
        client.battery(50 + number)
        until(lambda: daemon.store.values(endpoint, "/3/0/9")[-1] == 50 + number, "the battery")  # noqa: B023
    assert tokens(link.said[told:]).count(token) == resets(link.heard[sent:]) == more
    assert not {31.0, 32.0, 33.0} & set(daemon.store.values(endpoint, TEMPERATURE))
    client.stop()


def test_composite_observation(daemon: Daemon, endpoint: str) -> None:
    paths = ["/3303/0/5601", "/3442/0/120", "/3442/0/1110"]
    done(daemon.operate(endpoint, "write", "/3442/0", values={"120": 1, "1110": {"3": "three"}}), "2.04")
    begun = daemon.ask(endpoint, "observe_composite", paths=paths)
    assert set(done(begun, "2.05").values) == {"/3303/0/5601", "/3442/0/120", "/3442/0/1110/3"}
    shown = daemon.observations(endpoint)[" ".join(paths)]
    assert (shown["composite"], shown["state"]) == (True, "active")
    daemon.operate(endpoint, "write", "/3442/0/120", value=4711)
    until(lambda: daemon.store.values(endpoint, "/3442/0/120")[-1] == 4711, "the composite notification")
    assert done(daemon.ask(endpoint, "cancel", paths=paths), "2.05").values["/3442/0/120"] == 4711
    assert " ".join(paths) not in daemon.observations(endpoint)
    daemon.operate(endpoint, "write", "/3442/0/120", value=4712)
    daemon.operate(endpoint, "read", "/3/0/0")  # what was notified has come before this answer
    assert 4712 not in daemon.store.values(endpoint, "/3442/0/120")


def test_attributes(daemon: Daemon, endpoint: str) -> None:
    """Discover shows at each level what was written there, and no longer what was unset."""
    instance, resource = "/3442/0", "/3442/0/130"
    done(daemon.operate(endpoint, "write_attributes", instance, attributes={"pmin": 5, "pmax": 60}), "2.04")
    limits = {"gt": 45.5, "lt": -10.25, "st": 0.5}
    done(daemon.operate(endpoint, "write_attributes", resource, attributes=limits), "2.04")
    links = done(daemon.operate(endpoint, "discover", instance), "2.05").links
    assert links[instance] == {"pmin": "5", "pmax": "60"}
    assert links[resource] == {"gt": "45.5", "lt": "-10.25", "st": "0.5"}
    for attributes in ({"pmax": None}, {"pmin": None}):
        done(daemon.operate(endpoint, "write_attributes", instance, attributes=attributes), "2.04")
    unset = dict.fromkeys(limits)
    done(daemon.operate(endpoint, "write_attributes", resource, attributes=unset), "2.04")
    links = done(daemon.operate(endpoint, "discover", instance), "2.05").links
    assert links[instance] == links[resource] == {}


def test_what_is_wanted_comes_back(daemon: Daemon, start_leshan: StartLeshan) -> None:
    """A client that registers anew has forgotten what was asked of it; the box asks again."""
    endpoint, path = "leshan-forgets", "/3442/0/130"
    first = start_leshan(endpoint, Account(daemon.coap_uri))
    daemon.wait_onboarded(endpoint, OBSERVED)
    wanted = {"path": path, "attributes": {"pmin": 1, "gt": 10.5}}
    asked = daemon.api(f"/endpoints/{endpoint}/observations?wait=30", wanted)["operations"]
    assert [one["status"] for one in asked] == ["CONFIRMED", "CONFIRMED"]
    several = ["/3442/0/110", "/3442/0/120"]
    done(daemon.ask(endpoint, "observe_composite", paths=several), "2.05")
    done(daemon.operate(endpoint, "cancel", "/3/0/11"), "2.05")
    first.kill()

    second = start_leshan(endpoint, Account(daemon.coap_uri))
    watched = (OBSERVED - {"/3/0/11"}) | {path, " ".join(several)}
    until(lambda: set(daemon.store.observations(endpoint)) == watched, "what is wanted is observed again")
    until(lambda: daemon.observations(endpoint)[path]["state"] == "active", "it is active")
    assert daemon.observations(endpoint)[path]["attributes"] == {path: {"pmin": "1", "gt": "10.5"}}
    assert daemon.observations(endpoint)["/3/0/11"]["state"] == "off"
    links = done(daemon.operate(endpoint, "discover", path), "2.05").links
    assert links[path] == {"pmin": "1", "gt": "10.5"}
    daemon.operate(endpoint, "write", "/3442/0/120", value=-5)
    until(lambda: daemon.store.values(endpoint, "/3442/0/120")[-1] == -5, "a notification")
    second.stop()


# What is refused


def test_what_the_device_refuses(daemon: Daemon, endpoint: str) -> None:
    """Its code and its words are the answer, once and for all."""
    missing = daemon.operate(endpoint, "read", "/3/0/7")
    assert (missing.status, missing.code, missing.attempts) == ("FAILED", "4.04", 1)
    forbidden = daemon.operate(endpoint, "delete", "/3/0")
    assert (forbidden.status, forbidden.code, forbidden.attempts) == ("FAILED", "4.05", 1)
    again = daemon.operate(endpoint, "create", "/3442/0", values={"110": "again"})
    assert (again.status, again.code, again.message) == ("FAILED", "4.00", "instance 0 already exists")


def test_what_is_not_even_asked(daemon: Daemon, endpoint: str) -> None:
    before = daemon.operations(endpoint)
    for expected, operation, more in (
        ((404, "object_unknown"), "read", {"path": "/9"}),
        ((404, "instance_unknown"), "read", {"path": "/3442/99/110"}),
        ((409, "not_writable"), "write", {"path": "/3/0/0", "value": "x"}),
        ((409, "not_executable"), "execute", {"path": "/3/0/0"}),
        ((400, "value_invalid"), "write", {"path": "/3442/0/120", "value": "abc"}),
        ((400, "operation_unknown"), "fly", {"path": "/3/0/0"}),
    ):
        status, error, hint = daemon.refusal(endpoint, operation, **more)
        assert (status, error) == expected
        assert hint
    assert daemon.refusal("leshan-nobody", "read", path="/3/0/0")[:2] == (404, "endpoint_unknown")
    assert daemon.operations(endpoint) == before


def test_a_device_that_never_came(daemon: Daemon) -> None:
    daemon.give_psk("leshan-unseen")
    status, error, hint = daemon.refusal("leshan-unseen", "read", path="/3/0/0")
    assert (status, error, hint) == (
        409,
        "endpoint_unseen",
        "start the device, and ask when it is there",
    )


# Queue Mode


@pytest.mark.parametrize(
    ("version", "wake"), [("1.1", "update"), ("1.1", "send"), ("1.1", "notify"), ("1.0", "update")]
)
def test_what_is_asked_of_a_sleeper_waits(
    daemon: Daemon, link: Link, start_leshan: StartLeshan, version: str, wake: str
) -> None:
    """Nothing goes out while it sleeps; on its next message all goes out, in the order of the asking."""
    endpoint = f"leshan-sleeps-{version}-{wake}"
    client = start_leshan(endpoint, Account(link.plain_uri, queue_mode=True, version=version))
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert (stored["lwm2m_version"], stored["queue_mode"]) == (version, 1)
    assert (b"b=UQ" in link.said[0]) == (version == "1.0")
    daemon.wait_onboarded(endpoint, OBSERVED)
    daemon.configure(endpoint, awake_window_s=1)
    daemon.wait_asleep(endpoint)

    link.cut()
    asked = [daemon.ask(endpoint, "write", 0, path="/3442/0/120", value=value) for value in (1, 2)]
    asked.append(daemon.ask(endpoint, "read", 0, path="/3442/0/120"))
    asked.append(daemon.ask(endpoint, "execute", 0, path="/3/0/4"))
    assert [(one.status, one.attempts) for one in asked] == [("QUEUED", 0)] * 4
    assert daemon.api(f"/operations?status=unfinished&endpoint={endpoint}")["items"][0]["id"] == asked[-1].id
    assert link.lost == 0

    link.mend()
    if wake == "update":
        client.update()
    elif wake == "send":
        assert client.send("SENML_CBOR", TEMPERATURE) == "204"
    else:
        client.temperature(0, 21.25)
    ended = [daemon.operation(one.id) for one in asked]
    assert [(one.status, one.code) for one in ended] == [
        ("CONFIRMED", "2.04"),
        ("CONFIRMED", "2.04"),
        ("CONFIRMED", "2.05"),
        ("CONFIRMED", "2.04"),
    ]
    assert ended[2].values == {"/3442/0/120": 2}
    client.rebooted()
    client.stop()


def test_a_sleeper_over_dtls_across_a_restart(tmp_path: Path, start_leshan: StartLeshan) -> None:
    """What waits is on disk; the device's session goes on."""
    endpoint, path = "leshan-sleeps-psk", "/3442/0/110"
    with running(tmp_path) as daemon:
        account = Account(daemon.coaps_uri, daemon.give_psk(endpoint), 6, queue_mode=True)
        client = start_leshan(endpoint, account)
        daemon.wait_onboarded(endpoint, OBSERVED)
        daemon.configure(endpoint, awake_window_s=1)
        daemon.wait_asleep(endpoint)
        asked = daemon.ask(endpoint, "write", 0, path=path, value="later")
        unwanted = daemon.ask(endpoint, "write", 0, path=path, value="never")
        assert daemon.cancel(unwanted.id).status == "CANCELLED"
        daemon.stop()
        daemon.start()
        assert daemon.operation(asked.id, 0).status == "QUEUED"
        client.update()
        done(daemon.operation(asked.id), "2.04")
        assert daemon.operate(endpoint, "read", path).values == {path: "later"}
        again = daemon.retry(unwanted.id)
        assert done(again, "2.04").id != unwanted.id
        assert daemon.operate(endpoint, "read", path).values == {path: "never"}
        client.stop()
        assert daemon.handshakes(endpoint) == 1


# Large transfers


def test_a_large_value(daemon: Daemon, endpoint: str) -> None:
    value = bytes(number % 251 for number in range(LARGE)).hex()
    done(daemon.operate(endpoint, "write", "/3442/0/150", value=value), "2.04")
    assert daemon.operate(endpoint, "read", "/3442/0/150").values == {"/3442/0/150": value}


def test_a_transfer_that_is_broken_off(daemon: Daemon, link: Link, start_leshan: StartLeshan) -> None:
    """Cancelled between two blocks: nothing more of it goes out, and the next transfer is whole."""
    client = start_leshan("leshan-breaks", Account(link.plain_uri))
    daemon.wait_onboarded(client.endpoint, OBSERVED)
    link.cut(after=2)
    path, first, second = "/3442/0/150", b"\xaa" * LARGE, b"\x55" * LARGE
    asked = daemon.ask(client.endpoint, "write", 0, path=path, value=first.hex())
    until(lambda: link.lost, "the third block is lost")
    assert daemon.cancel(asked.id).status == "CANCELLED"
    before = len(link.heard)
    link.mend()
    done(daemon.operate(client.endpoint, "write", path, value=second.hex()), "2.04")
    assert daemon.operate(client.endpoint, "read", path).values == {path: second.hex()}
    assert not any(first[:64] in datagram for datagram in link.heard[before:])
    client.stop()
