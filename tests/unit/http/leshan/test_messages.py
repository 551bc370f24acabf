"""What happens in the house in Leshan's words: every event, its exact shape, and nothing beside it."""

from dataclasses import replace
from typing import Any

import pytest

from flownexus_appliance.events import Event
from flownexus_appliance.fleet.ports import Traced
from flownexus_appliance.http.leshan.messages import Message, coap_log, messages_of
from flownexus_appliance.http.leshan.registrations import object_links, registration_json
from flownexus_appliance.lwm2m.effects import Announce, Change, Report, Source
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registration import RegisteredObject
from flownexus_appliance.lwm2m.values import DataType, Record

from ..house import NOW_MS, SENSOR, SLEEPER, FakeFleet, record, registration

OLD = registration(SENSOR)
NEW = replace(OLD, id="new", address="192.168.1.21:5683", registered_ms=NOW_MS, updated_ms=NOW_MS)


def told(fleet: FakeFleet, subject: object, floats_as_text: bool = False) -> list[tuple[str, Any]]:
    event = Event(1, "whatever", {}, subject)
    found = list(messages_of(event, fleet, floats_as_text=floats_as_text))
    assert {message.endpoint for message in found} <= {SENSOR}
    return [(message.name, message.data) for message in found]


def named(fleet: FakeFleet, name: str, **data: object) -> list[tuple[str, Any]]:
    return [(message.name, message.data) for message in messages_of(Event(1, name, data), fleet)]


def report(source: Source, *records: Record, paths: tuple[str, ...] = (), composite: bool = False) -> Report:
    return Report(SENSOR, source, records, NOW_MS, tuple(map(Path.parse, paths)), composite)


# Registrations


def test_a_registration_and_its_end(fleet: FakeFleet) -> None:
    shown = registration_json(OLD, fleet)
    assert told(fleet, Announce(Change.REGISTERED, OLD)) == [("REGISTRATION", shown)]
    for end in (Change.DEREGISTERED, Change.EXPIRED, Change.REVOKED):
        assert told(fleet, Announce(end, OLD)) == [("DEREGISTRATION", shown)]


def test_a_new_registration_ends_the_one_before(fleet: FakeFleet) -> None:
    assert told(fleet, Announce(Change.REGISTERED, NEW, OLD)) == [
        ("DEREGISTRATION", registration_json(OLD, fleet)),
        ("REGISTRATION", registration_json(NEW, fleet)),
    ]


def test_a_register_that_is_repeated_is_told_once(fleet: FakeFleet) -> None:
    assert told(fleet, Announce(Change.REGISTERED, OLD, OLD)) == []


def test_an_update_that_changes_nothing(fleet: FakeFleet) -> None:
    now = replace(OLD, updated_ms=NOW_MS, address="192.168.1.99:5683")
    update = {
        "registrationId": OLD.id,
        "address": "192.168.1.99:5683",
        "secure": False,
        "additionalAttributes": {},
    }
    assert told(fleet, Announce(Change.UPDATED, now, OLD)) == [
        ("UPDATED", {"registration": registration_json(now, fleet), "update": update})
    ]


def test_an_update_that_changes_much(fleet: FakeFleet) -> None:
    objects = {3: RegisteredObject("1.2", (0,)), 5: RegisteredObject("", (0,))}
    now = replace(OLD, lifetime_s=60, root_path="/lwm2m", objects=objects, session="dtls:1")
    ((_, data),) = told(fleet, Announce(Change.UPDATED, now, OLD))
    assert data["update"] == {
        "registrationId": OLD.id,
        "address": OLD.address,
        "lifetime": 60,
        "alternatePath": "/lwm2m",
        "objectLinks": object_links(now),
        "secure": True,
        "additionalAttributes": {},
    }


# Presence


@pytest.mark.parametrize(("presence", "name"), [("online", "AWAKE"), ("sleeping", "SLEEPING")])
def test_a_queue_mode_client_wakes_and_sleeps(fleet: FakeFleet, presence: str, name: str) -> None:
    assert named(fleet, "presence", endpoint=SLEEPER, presence=presence) == [(name, {"ep": SLEEPER})]


@pytest.mark.parametrize(
    ("endpoint", "presence"),
    [(SENSOR, "online"), (SENSOR, "sleeping"), (SLEEPER, "offline"), ("nobody", "online")],
)
def test_others_do_not(fleet: FakeFleet, endpoint: str, presence: str) -> None:
    assert named(fleet, "presence", endpoint=endpoint, presence=presence) == []


# Values


def test_a_notification_of_one_path(fleet: FakeFleet) -> None:
    level = report(Source.NOTIFY, record("/3/0/9", 95, DataType.INTEGER), paths=("/3/0/9",))
    assert told(fleet, level) == [
        (
            "NOTIFICATION",
            {
                "ep": SENSOR,
                "kind": "single",
                "res": "/3/0/9",
                "val": {"kind": "singleResource", "id": 9, "type": "INTEGER", "value": "95"},
            },
        )
    ]


def test_a_notification_has_the_newest_of_several_samples(fleet: FakeFleet) -> None:
    """Leshan takes the first, which is the oldest."""
    samples = [record("/3303/0/5700", 20.0 + n, DataType.FLOAT, NOW_MS + n) for n in (0, 2, 1)]
    ((_, data),) = told(fleet, report(Source.NOTIFY, *samples, paths=("/3303/0",)))
    assert data["val"] == {
        "kind": "instance",
        "id": 0,
        "resources": [
            {
                "kind": "singleResource",
                "id": 5700,
                "type": "FLOAT",
                "value": 22.0,
                "timestamp": NOW_MS + 2,
            }
        ],
    }


def test_a_notification_without_values(fleet: FakeFleet, models: ModelSet) -> None:
    fleet.models = models
    ((_, data),) = told(fleet, report(Source.NOTIFY, paths=("/3/0/7/0",)))
    assert data == {"ep": SENSOR, "kind": "single", "res": "/3/0/7/0", "val": None}
    ((_, data),) = told(fleet, report(Source.NOTIFY, paths=("/3/0/7",)))
    assert data["val"] == {"kind": "multiResource", "id": 7, "type": "INTEGER", "values": {}}


def test_a_notification_of_several_paths(fleet: FakeFleet) -> None:
    records = (record("/3/0/9", 95, DataType.INTEGER), record("/1/0/1", 60, DataType.INTEGER))
    paths = ("/3/0/9", "/1/0", "/5/0")
    ((name, data),) = told(fleet, report(Source.NOTIFY, *records, paths=paths, composite=True))
    lifetime = {"kind": "singleResource", "id": 1, "type": "INTEGER", "value": "60"}
    assert (name, data) == (
        "NOTIFICATION",
        {
            "ep": SENSOR,
            "kind": "composite",
            "val": {
                "/3/0/9": {"kind": "singleResource", "id": 9, "type": "INTEGER", "value": "95"},
                "/1/0": {"kind": "instance", "id": 0, "resources": [lifetime]},
            },
            "paths": list(paths),
        },
    )


def test_a_composite_notification_of_one_path_is_composite(fleet: FakeFleet) -> None:
    level = record("/3/0/9", 95, DataType.INTEGER)
    ((_, data),) = told(fleet, report(Source.NOTIFY, level, paths=("/3/0/9",), composite=True))
    assert (data["kind"], list(data["val"])) == ("composite", ["/3/0/9"])


def test_a_send_has_the_newest_of_each_resource(fleet: FakeFleet) -> None:
    records = (
        record("/3303/0/5700", 21.0, DataType.FLOAT, NOW_MS - 2000),
        record("/3303/0/5700", 22.5, DataType.FLOAT, NOW_MS - 1000),
        record("/3/0/11/0", 0, DataType.INTEGER),
    )
    assert told(fleet, report(Source.SEND, *records)) == [
        (
            "SEND",
            {
                "ep": SENSOR,
                "val": {
                    "/3/0/11/0": {"kind": "resourceInstance", "id": 0, "type": "INTEGER", "value": "0"},
                    "/3303/0/5700": {
                        "kind": "singleResource",
                        "id": 5700,
                        "type": "FLOAT",
                        "value": 22.5,
                        "timestamp": NOW_MS - 1000,
                    },
                },
            },
        )
    ]


@pytest.mark.parametrize("source", [Source.NOTIFY, Source.SEND])
@pytest.mark.parametrize("composite", [False, True])
def test_floats_as_leshan_writes_them(fleet: FakeFleet, source: Source, composite: bool) -> None:
    value = report(
        source, record("/3303/0/5700", 1e-9, DataType.FLOAT), paths=("/3303/0/5700",), composite=composite
    )
    assert "1.0E-9" in repr(told(fleet, value, floats_as_text=True))
    assert "1.0E-9" not in repr(told(fleet, value))


@pytest.mark.parametrize("source", [Source.READ, Source.INGEST])
def test_other_values_are_not_told(fleet: FakeFleet, source: Source) -> None:
    assert told(fleet, report(source, record("/3/0/9", 95, DataType.INTEGER), paths=("/3/0/9",))) == []


@pytest.mark.parametrize("name", ["operation", "credential", "certificate", "enrolment", "observation"])
def test_other_events_are_not_told(fleet: FakeFleet, name: str) -> None:
    assert named(fleet, name, endpoint=SENSOR, status="CONFIRMED", step="finished") == []


# Bootstrap


@pytest.mark.parametrize(
    ("step", "ok", "names"),
    [
        ("requested", True, ["new session", "authorized"]),
        ("refused", False, ["unauthorized"]),
        ("discover", True, ["send discover", "receive success response"]),
        ("delete", False, ["send delete", "receive error response"]),
        ("write", True, ["send write", "receive success response"]),
        ("read", True, ["send request", "receive success response"]),
        ("finish", True, ["send request", "receive success response"]),
        ("finished", True, ["finished"]),
        ("packed", True, ["finished"]),
        ("failed", False, ["failed"]),
        ("asked", True, []),
    ],
)
def test_the_steps_of_a_bootstrap(fleet: FakeFleet, step: str, ok: bool, names: list[str]) -> None:
    found = named(fleet, "bootstrap", endpoint=SENSOR, step=step, ok=ok, message="2.04", time_ms=NOW_MS)
    assert [name for name, _ in found] == ["BSSESSION"] * len(names)
    assert [data["name"] for _, data in found] == names
    for _, data in found:
        assert data.keys() == {"name", "endpoint", "time", "message"}
        assert (data["endpoint"], data["time"]) == (SENSOR, NOW_MS)


def test_what_is_asked_of_a_device_in_a_bootstrap(fleet: FakeFleet) -> None:
    asked, answered = named(
        fleet, "bootstrap", endpoint=SENSOR, step="write", ok=False, message="4.00 no", time_ms=1, path="/0/1"
    )
    assert asked[1]["message"] == "write /0/1"
    assert answered[1]["message"] == "4.00 no"


# The wire


def traced(**more: Any) -> Traced:
    plain: dict[str, Any] = {
        "peer": OLD.peer,
        "incoming": True,
        "kind": "CON",
        "code": "POST",
        "message_id": 7,
        "token": b"\x01\xff",
        "options": 'Uri-Path: "dp"',
        "payload": b"</1/0>",
    }
    return Traced(**{**plain, **more})


def test_a_coap_message() -> None:
    assert coap_log(traced(), SENSOR, NOW_MS) == Message(
        "COAPLOG",
        SENSOR,
        {
            "timestamp": NOW_MS,
            "incoming": True,
            "type": "CON",
            "code": "POST",
            "mId": 7,
            "token": "01ff",
            "options": 'Uri-Path: "dp"',
            "payload": "</1/0>",
            "ep": SENSOR,
        },
    )


def test_a_coap_message_with_little_in_it() -> None:
    empty = traced(incoming=False, kind="ACK", code="", token=b"", options="", payload=b"")
    assert coap_log(empty, SENSOR, 0).data == {
        "timestamp": 0,
        "incoming": False,
        "type": "ACK",
        "mId": 7,
        "ep": SENSOR,
    }


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b"\x80\x01", "Hex:8001"),
        (b"line\n", "Hex:6c696e650a"),
        ("ä".encode(), "Hex:c3a4"),
        (None, "not shown: it may hold keys"),
    ],
)
def test_payloads(payload: bytes | None, shown: str) -> None:
    assert coap_log(traced(payload=payload), SENSOR, 0).data["payload"] == shown


def test_a_frame() -> None:
    assert (
        Message("SEND", "é", {"ep": "é\n"}).encode() == 'event: SEND\r\ndata: {"ep":"é\\n"}\r\n\r\n'.encode()
    )
