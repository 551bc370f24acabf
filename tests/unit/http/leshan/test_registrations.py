"""Registrations in Leshan's JSON: every field, and the links put together again."""

from dataclasses import dataclass, replace

import pytest

from flownexus_appliance.http.leshan.registrations import (
    binding_mode,
    link_json,
    object_links,
    registration_json,
)
from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration

from ..house import HOUR_MS, NOW_MS, SENSOR, registration

CLIENT = registration(SENSOR)
LINKS = [
    {"url": "/", "attributes": {"rt": '"oma.lwm2m"', "ct": '"112 110"'}},
    {"url": "/1", "attributes": {"ver": "1.1"}},
    {"url": "/1/0", "attributes": {}},
    {"url": "/3", "attributes": {"ver": "1.2"}},
    {"url": "/3/0", "attributes": {}},
    {"url": "/3303", "attributes": {"ver": "1.1"}},
    {"url": "/3303/0", "attributes": {}},
    {"url": "/3303/1", "attributes": {}},
]


@dataclass(frozen=True, slots=True)
class Presences:
    """Every device is so."""

    state: str = "online"

    def presence(self, _: str) -> str:
        return self.state


def test_a_registration_has_leshans_fields() -> None:
    assert registration_json(CLIENT, Presences()) == {
        "endpoint": SENSOR,
        "registrationId": CLIENT.id,
        "registrationDate": NOW_MS - 5 * HOUR_MS,
        "lastUpdate": NOW_MS - 60_000,
        "address": "192.168.1.20:5683",
        "lwM2mVersion": "1.1",
        "lifetime": 300,
        "bindingMode": "U",
        "rootPath": "/",
        "objectLinks": LINKS,
        "secure": False,
        "additionalRegistrationAttributes": {},
        "queuemode": False,
        "availableInstances": {"1": [0], "3": [0], "3303": [0, 1]},
    }


@pytest.mark.parametrize(("state", "sleeping"), [("online", False), ("sleeping", True), ("offline", True)])
def test_sleeping_is_told_of_queue_mode_alone(state: str, sleeping: bool) -> None:
    queued = replace(CLIENT, queue_mode=True)
    told = registration_json(queued, Presences(state))
    assert (told["queuemode"], told["sleeping"]) == (True, sleeping)
    assert "sleeping" not in registration_json(CLIENT, Presences(state))


def test_secure_is_a_dtls_session() -> None:
    assert registration_json(replace(CLIENT, session="s1"), Presences())["secure"] is True


def test_a_telephone_number_has_a_field_of_its_own() -> None:
    told = registration_json(replace(CLIENT, attributes={"imei": "123", "sms": "+49170"}), Presences())
    assert told["smsNumber"] == "+49170"
    assert told["additionalRegistrationAttributes"] == {"imei": "123"}


def test_the_links_of_an_alternate_path() -> None:
    client = replace(
        CLIENT, root_path="/lwm2m", content_formats=(), objects={1: RegisteredObject("1.1", (0,))}
    )
    assert object_links(client) == [
        {"url": "/lwm2m", "attributes": {"rt": '"oma.lwm2m"'}},
        {"url": "/lwm2m/1", "attributes": {"ver": "1.1"}},
        {"url": "/lwm2m/1/0", "attributes": {}},
    ]
    assert registration_json(client, Presences())["rootPath"] == "/lwm2m"


def test_an_object_stands_by_itself_with_a_version_or_without_instances() -> None:
    client = replace(
        CLIENT, content_formats=(112,), objects={3: RegisteredObject("", (0,)), 5: RegisteredObject()}
    )
    assert object_links(client) == [
        {"url": "/", "attributes": {"rt": '"oma.lwm2m"', "ct": "112"}},
        {"url": "/3/0", "attributes": {}},
        {"url": "/5", "attributes": {}},
    ]
    assert registration_json(client, Presences())["availableInstances"] == {"3": [0]}


def test_without_a_root_and_formats_there_is_no_link_to_the_root() -> None:
    assert object_links(replace(CLIENT, content_formats=(), objects={})) == []


@pytest.mark.parametrize(
    ("version", "binding", "queue_mode", "shown"),
    [
        ("1.0", "U", True, "UQ"),
        ("1.0", "SU", True, "USQ"),
        ("1.1", "U", True, "U"),
        ("1.1", "TU", False, "UT"),
        ("1.2", "UMN", False, "UNM"),
    ],
)
def test_the_binding_as_leshan_writes_it(version: str, binding: str, queue_mode: bool, shown: str) -> None:
    client: Registration = replace(CLIENT, lwm2m_version=version, binding=binding, queue_mode=queue_mode)
    assert binding_mode(client) == shown


def test_attributes_of_links_are_quoted_where_they_were() -> None:
    attributes = {
        "pmin": "10",
        "gt": "-22.5",
        "dim": "2",
        "ct": "60 110",
        "title": 'a "b"',
        "uri": "coap://x",
    }
    assert link_json("/3/0/9", {**attributes, "obs": None}) == {
        "url": "/3/0/9",
        "attributes": {
            "pmin": "10",
            "gt": "-22.5",
            "dim": "2",
            "ct": '"60 110"',
            "title": '"a \\"b\\""',
            "uri": '"coap://x"',
            "obs": None,
        },
    }
