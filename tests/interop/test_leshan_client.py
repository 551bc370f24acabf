"""Eclipse Leshan's client against the daemon: what it registers, shows, does and reports is in the store.

The first tests share one client; those of the last part start, stop and lose clients and daemons of their
own.
"""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from .daemon import Daemon, running
from .leshan_client import OBSERVED, Account, LeshanClient, StartLeshan
from .program import until

TEMPERATURE = "/3303/0/5700"
# What Leshan's Test Object holds at first, as the API shows it: one value of every data type.
TEST_OBJECT = {
    "/3442/0/110": "initial value",
    "/3442/0/120": 1024,
    "/3442/0/125": 2**63,
    "/3442/0/130": 3.14159,
    "/3442/0/140": True,
    "/3442/0/150": "0123456789abcdef",
    "/3442/0/160": 946_684_800,
    "/3442/0/170": "3:0",
    "/3442/0/180": "</3442>",
}


@pytest.fixture(scope="module")
def endpoint(daemon: Daemon, leshan_client: LeshanClient) -> str:
    """The name of the shared client, once the box has finished onboarding it."""
    daemon.wait_onboarded(leshan_client.endpoint, OBSERVED)
    until(
        lambda: "/3/0/0" in daemon.resources(leshan_client.endpoint),
        "the Device object has been read",
    )
    return leshan_client.endpoint


def wait_value(daemon: Daemon, endpoint: str, path: str, value: object, within_s: float = 15.0) -> None:
    """Wait until a value is the newest of its series."""
    until(
        lambda: daemon.store.values(endpoint, path)[-1:] == [value],
        f"{endpoint} {path} = {value} in the store",
        within_s,
    )


# Registration and onboarding


def test_it_is_registered(daemon: Daemon, leshan_client: LeshanClient, endpoint: str) -> None:
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    assert stored["id"] == leshan_client.registration_id
    assert (stored["lwm2m_version"], stored["binding"], stored["queue_mode"]) == ("1.1", "U", 0)
    assert stored["lifetime_s"] == 600
    assert stored["objects"] == {1: [0], 3: [0], 3303: [0, 1], 3442: [0]}
    shown = daemon.endpoint(endpoint)
    assert shown["registration"]["id"] == leshan_client.registration_id
    assert shown["state"].lower() == "online"
    assert endpoint in [item["endpoint"] for item in daemon.api("/endpoints")["items"]]


def test_it_was_read_and_observed(daemon: Daemon, endpoint: str) -> None:
    assert set(daemon.store.observations(endpoint)) == OBSERVED
    tokens = daemon.store.observations(endpoint).values()
    assert len(set(tokens)) == len(OBSERVED)
    resources = daemon.resources(endpoint)
    assert resources["/3/0/0"]["value"] == "Eclipse Leshan"
    assert resources["/3/0/0"]["name"] == "Manufacturer"
    assert resources["/3/0/1"]["value"] == "interop"
    assert resources["/3303/1/5700"]["value"] == -5.0
    assert {path for path, item in resources.items() if item["observed"]} >= OBSERVED - {"/3/0/11"}
    assert set(daemon.store.values(endpoint, "/3/0/11/0")) == {0}  # a multiple resource, by its instances
    assert daemon.store.values(endpoint, "/3303/1/5700") == [-5.0]


# Reporting


def test_notifications_become_rows(daemon: Daemon, leshan_client: LeshanClient, endpoint: str) -> None:
    started_ms = int(time.time() * 1000)
    before = daemon.store.samples(endpoint, TEMPERATURE)
    for value in (21.5, 22.25, -40.0):
        leshan_client.temperature(0, value)
        wait_value(daemon, endpoint, TEMPERATURE, value)
    new = daemon.store.samples(endpoint, TEMPERATURE)[len(before) :]
    assert [sample.value for sample in new] == [21.5, 22.25, -40.0]
    assert all(earlier.time_ms < later.time_ms for earlier, later in pairwise(new))
    ended_ms = int(time.time() * 1000)
    assert started_ms <= new[0].time_ms <= new[-1].time_ms <= ended_ms
    assert daemon.resources(endpoint)[TEMPERATURE]["value"] == -40.0
    assert daemon.resources(endpoint)[TEMPERATURE]["time_ms"] == new[-1].time_ms
    chart = daemon.series(endpoint, TEMPERATURE, from_ms=started_ms, to_ms=ended_ms + 1, points=1500)
    assert chart["time_ms"] == [sample.time_ms for sample in new]
    assert chart["mean"] == [21.5, 22.25, -40.0]


def test_a_burst_ends_with_its_last_value(daemon: Daemon, leshan_client: LeshanClient, endpoint: str) -> None:
    """While one confirmable notification waits, Californium lets the newest replace those behind it."""
    for step in range(50):
        leshan_client.temperature(1, step / 2)
    wait_value(daemon, endpoint, "/3303/1/5700", 24.5)
    assert daemon.resources(endpoint)["/3303/1/5700"]["value"] == 24.5


def test_an_integer_and_an_observation_on_demand(
    daemon: Daemon, leshan_client: LeshanClient, endpoint: str
) -> None:
    leshan_client.battery(55)
    wait_value(daemon, endpoint, "/3/0/9", 55)

    assert daemon.operate(endpoint, "observe", "/3442/0/120").code == "2.05"
    assert "/3442/0/120" in daemon.store.observations(endpoint)
    assert daemon.operate(endpoint, "write", "/3442/0/120", value=-77).code == "2.04"
    wait_value(daemon, endpoint, "/3442/0/120", -77)


@pytest.mark.parametrize("content_format", ["SENML_CBOR", "SENML_JSON"])
def test_send(daemon: Daemon, leshan_client: LeshanClient, endpoint: str, content_format: str) -> None:
    sent = (TEMPERATURE, "/3/0/0", "/3/0/11/0")
    counts = {path: len(daemon.store.samples(endpoint, path)) for path in sent}
    assert leshan_client.send(content_format, TEMPERATURE, "/3/0") == "204"
    for path, before in counts.items():  # 2.04 was said, so it is there already
        assert len(daemon.store.samples(endpoint, path)) == before + 1


# Device management


def test_read_every_data_type(daemon: Daemon, endpoint: str) -> None:
    assert daemon.operate(endpoint, "execute", "/3442/0/0").code == "2.04"  # Reset values
    answer = daemon.operate(endpoint, "read", "/3442/0")
    assert (answer.status, answer.code) == ("CONFIRMED", "2.05")
    single = {path: value for path, value in answer.values.items() if path in TEST_OBJECT}
    assert single == TEST_OBJECT
    for path, value in TEST_OBJECT.items():  # the same again as instance 0 of a multiple resource
        number = int(path.rpartition("/")[2]) + 1000
        assert answer.values[f"/3442/0/{number}/0"] == value


@pytest.mark.parametrize("path", ["/3303/1/5701", "/3303/1", "/3303"])
def test_read_at_every_depth(daemon: Daemon, endpoint: str, path: str) -> None:
    answer = daemon.operate(endpoint, "read", path)
    assert answer.code == "2.05"
    assert answer.values["/3303/1/5701"] == "Cel"
    assert all(found.startswith(path) for found in answer.values)


def test_read_what_is_not_there(daemon: Daemon, endpoint: str) -> None:
    answer = daemon.operate(endpoint, "read", "/3/0/7")
    assert (answer.status, answer.code) == ("FAILED", "4.04")
    assert daemon.store.values(endpoint, "/3/0/7") == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/3/0/14", "+02:00"),
        ("/3/0/15", "Europe/Berlin"),
        ("/3442/0/110", "Grüße, ✓"),
        ("/3442/0/120", -(2**40)),
        ("/3442/0/130", 0.1),
        ("/3442/0/140", False),
        ("/3442/0/150", "00ff10"),
        ("/3442/0/160", 1_767_225_600),
        ("/3442/0/170", "3303:1"),
    ],
)
def test_write_and_read_back(daemon: Daemon, endpoint: str, path: str, value: object) -> None:
    answer = daemon.operate(endpoint, "write", path, value=value)
    assert (answer.status, answer.code) == ("CONFIRMED", "2.04")
    assert daemon.operate(endpoint, "read", path).values == {path: value}


def test_write_what_the_model_does_not_let_write(daemon: Daemon, endpoint: str) -> None:
    status, error, _ = daemon.refusal(endpoint, "write", path="/3303/0/5701", value="K")
    assert (status, error) == (409, "not_writable")
    assert daemon.operate(endpoint, "read", "/3303/0/5701").values == {"/3303/0/5701": "Cel"}


def test_execute(daemon: Daemon, leshan_client: LeshanClient, endpoint: str) -> None:
    answer = daemon.operate(endpoint, "execute", "/3/0/4")
    assert (answer.status, answer.code) == ("CONFIRMED", "2.04")
    leshan_client.rebooted()
    assert daemon.operate(endpoint, "execute", "/3442/0/3", arguments="0='hi',2='there'").code == "2.04"
    said = daemon.operate(endpoint, "read", "/3442/0/4").values
    assert said == {"/3442/0/4/0": "hi", "/3442/0/4/2": "there"}
    assert daemon.refusal(endpoint, "execute", path="/3/0/0")[:2] == (409, "not_executable")


def test_discover(daemon: Daemon, endpoint: str) -> None:
    answer = daemon.operate(endpoint, "discover", "/3303/1")
    assert answer.code == "2.05"
    assert set(answer.links) == {"/3303/1"} | {f"/3303/1/{n}" for n in (5601, 5602, 5605, 5700, 5701)}


def test_write_attributes_show_in_discover(daemon: Daemon, endpoint: str) -> None:
    attributes = {"pmin": 10.0, "pmax": 60.0, "gt": 45.5}
    answer = daemon.operate(endpoint, "write_attributes", "/3303/1/5601", attributes=attributes)
    assert (answer.status, answer.code) == ("CONFIRMED", "2.04")
    answer = daemon.operate(endpoint, "discover", "/3303/1/5601")
    assert answer.code == "2.05"
    shown = answer.links["/3303/1/5601"].items()
    assert {name: float(value or "nan") for name, value in shown} == attributes


# Comings and goings


def test_it_deregisters_when_it_is_stopped(daemon: Daemon, start_leshan: StartLeshan) -> None:
    client = start_leshan("leshan-leaves", Account(daemon.coap_uri))
    daemon.wait_onboarded("leshan-leaves", OBSERVED)
    client.temperature(0, 23.0)
    wait_value(daemon, "leshan-leaves", TEMPERATURE, 23.0)
    client.stop()
    assert daemon.store.registration("leshan-leaves") is None
    assert daemon.store.observations("leshan-leaves") == {}
    shown = daemon.endpoint("leshan-leaves")
    assert (shown["registration"], shown["state"].lower()) == (None, "offline")
    assert daemon.store.values("leshan-leaves", TEMPERATURE)[-1] == 23.0


def test_it_comes_back_after_losing_power(daemon: Daemon, start_leshan: StartLeshan) -> None:
    first = start_leshan("leshan-again", Account(daemon.coap_uri))
    daemon.wait_onboarded("leshan-again", OBSERVED)
    tokens = set(daemon.store.observations("leshan-again").values())
    first.kill()
    second = start_leshan("leshan-again", Account(daemon.coap_uri))
    assert second.registration_id != first.registration_id
    daemon.wait_onboarded("leshan-again", OBSERVED)
    assert not tokens & set(daemon.store.observations("leshan-again").values())
    stored = daemon.store.registration("leshan-again")
    assert stored is not None
    assert stored["id"] == second.registration_id
    second.temperature(1, 12.5)
    wait_value(daemon, "leshan-again", "/3303/1/5700", 12.5)
    second.stop()


def test_a_queue_mode_client_is_managed_while_awake(daemon: Daemon, start_leshan: StartLeshan) -> None:
    client = start_leshan("leshan-queue", Account(daemon.coap_uri, queue_mode=True))
    stored = daemon.store.registration("leshan-queue")
    assert stored is not None
    assert stored["queue_mode"] == 1
    daemon.wait_onboarded("leshan-queue", OBSERVED)
    assert daemon.operate("leshan-queue", "read", "/3/0/1").values == {"/3/0/1": "interop"}
    client.stop()


def test_a_restart_of_the_box_is_not_noticed(tmp_path: Path, start_leshan: StartLeshan) -> None:
    """Registration and observations come back from the store: the client registers no second time."""
    with running(tmp_path) as daemon:
        client = start_leshan("leshan-stays", Account(daemon.coap_uri))
        daemon.wait_onboarded("leshan-stays", OBSERVED)
        registration = daemon.store.registration("leshan-stays")
        tokens = daemon.store.observations("leshan-stays")

        daemon.stop()
        client.temperature(0, 30.5)  # said to a closed port; the client says it again
        daemon.start()
        wait_value(daemon, "leshan-stays", TEMPERATURE, 30.5, within_s=40)
        assert daemon.store.registration("leshan-stays") == registration
        assert daemon.store.observations("leshan-stays") == tokens
        assert daemon.endpoint("leshan-stays")["registration"]["id"] == client.registration_id

        client.temperature(1, 31.5)
        wait_value(daemon, "leshan-stays", "/3303/1/5700", 31.5)
        client.update()
        assert daemon.operate("leshan-stays", "read", "/3/0/1").values == {"/3/0/1": "interop"}
        client.stop()
        assert client.complaints() == []


def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path, start_leshan: StartLeshan) -> None:
    with running(tmp_path) as daemon:
        client = start_leshan("leshan-witness", Account(daemon.coap_uri))
        daemon.wait_onboarded("leshan-witness", OBSERVED)
        acknowledged = [float(number) for number in range(100, 120)]
        for value in acknowledged:
            client.temperature(0, value)
            assert client.send("SENML_CBOR", TEMPERATURE) == "204"
        daemon.program.kill()
        assert set(daemon.store.values("leshan-witness", TEMPERATURE)) >= set(acknowledged)
        daemon.store.check()

        daemon.start()
        assert set(daemon.store.values("leshan-witness", TEMPERATURE)) >= set(acknowledged)
        client.temperature(1, 42.0)
        wait_value(daemon, "leshan-witness", "/3303/1/5700", 42.0)
        client.update()
        assert client.send("SENML_JSON", TEMPERATURE) == "204"
        client.stop()
        assert client.complaints() == []
