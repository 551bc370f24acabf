"""Bootstrap configurations: both forms of JSON, both ways, and what is refused by its field's name."""

import json
from typing import Any

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.bootstrap_config import (
    BootstrapConfig,
    Security,
    format_config,
    parse_config,
    read_config,
)
from flownexus_appliance.lwm2m.bootstrap_instances import Instances
from flownexus_appliance.lwm2m.paths import Path

SECRET = "c0ffeec0ffeec0ffee"

# As Leshan's own interface posts it, and Zephyr's interop tests.
LESHAN: dict[str, Any] = {
    "autoIdForSecurityObject": False,
    "toDelete": ["/0", "/1"],
    "servers": {
        "0": {
            "shortId": 1,
            "lifetime": 86400,
            "defaultMinPeriod": 1,
            "notifIfDisabled": False,
            "binding": "U",
        }
    },
    "security": {
        "1": {
            "uri": "coaps://box.example:5684",
            "bootstrapServer": False,
            "securityMode": "PSK",
            "publicKeyOrId": [97, 98],
            "serverPublicKey": [],
            "secretKey": [200, 1],
            "smsSecurityMode": "NO_SEC",
            "smsBindingKeyParam": [],
            "smsBindingKeySecret": [],
            "serverSmsNumber": "",
            "serverId": 1,
            "clientOldOffTime": 1,
            "bootstrapServerAccountTimeout": 0,
        }
    },
    "acls": {},
    "oscore": {},
}


def leshan(**changes: Any) -> dict[str, Any]:
    """LESHAN with some fields changed: `security_1_uri="x"` is the field security.1.uri."""
    document = json.loads(json.dumps(LESHAN))
    for name, value in changes.items():
        place = document
        *parents, last = name.split("__")
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[last]
        else:
            place[last] = value
    return document  # type: ignore[no-any-return]


def message(document: object) -> str:
    with pytest.raises(UsageError) as caught:
        read_config(document)
    assert caught.value.code == "bootstrap_config_invalid"
    assert caught.value.hint
    return caught.value.message


def test_nothing_configured_keeps_the_kind_of_credential() -> None:
    config = parse_config("{}")
    assert config == BootstrapConfig()
    assert config.security is Security.AS_IS
    assert config.delete == (Path((0,)), Path((1,)))
    assert config.secure


def test_the_short_form_is_read_whole() -> None:
    config = read_config(
        {
            "security": "certificate",
            "uri": "coaps://[2001:db8::1]:5684",
            "lifetime_s": 600,
            "binding": "UQ",
            "short_server_id": 101,
            "default_pmin_s": 5,
            "default_pmax_s": 60,
            "mute_send": False,
            "delete": ["/"],
            "read": ["/1", "/2/0"],
            "writes": {"/3/0/15": "Europe/Berlin", "/3/0/11/0": 0, "/3303/0/5601": 1.5},
            "renew_before_s": 3600,
            "content_format": 112,
        }
    )
    assert config == BootstrapConfig(
        security=Security.CERTIFICATE,
        uri="coaps://[2001:db8::1]:5684",
        lifetime_s=600,
        binding="UQ",
        short_server_id=101,
        default_pmin_s=5,
        default_pmax_s=60,
        mute_send=False,
        delete=(Path.ROOT,),
        read=(Path((1,)), Path((2, 0))),
        writes={Path((3, 0, 15)): "Europe/Berlin", Path((3, 0, 11, 0)): 0, Path((3303, 0, 5601)): 1.5},
        renew_before_s=3600,
        content_format=112,
    )
    assert parse_config(format_config(config)) == config


def test_what_is_null_is_as_if_it_were_not_there() -> None:
    assert read_config({"uri": None, "default_pmin_s": None}) == BootstrapConfig()


def test_only_security_none_holds_no_secret() -> None:
    assert {kind: read_config({"security": kind}).secure for kind in Security} == {
        Security.AS_IS: True,
        Security.PSK: True,
        Security.CERTIFICATE: True,
        Security.NONE: False,
    }


def test_the_shape_of_leshan_comes_back_as_it_was_posted() -> None:
    config = read_config(LESHAN)
    assert isinstance(config.instances, Instances)
    assert json.loads(format_config(config)) == LESHAN
    assert parse_config(format_config(config)) == config
    values = {str(r.path): r.value for rs in config.instances.records.values() for r in rs}
    assert values["/0/1/3"] == b"ab"
    assert values["/0/1/5"] == b"\xc8\x01"
    assert values["/0/1/2"] == 0
    assert values["/1/0/6"] is False


def test_every_field_of_the_long_form_goes_both_ways() -> None:
    document = leshan(
        autoIdForSecurityObject=True,
        contentFormat="SENML_CBOR",
        security__1__matchingType=1,
        security__1__sni="box",
        security__1__certificateUsage=3,
        security__1__cipherSuite={"0": 0xC0A8},
        servers__0__defaultMaxPeriod=60,
        servers__0__disableTimeout=5,
        servers__0__trigger=True,
        servers__0__preferredTransport="U",
        servers__0__muteSend=True,
        acls={"0": {"objectId": 3, "objectInstanceId": 0, "acls": {"1": 15}, "AccessControlOwner": 1}},
    )
    config = read_config(document)
    assert json.loads(format_config(config)) == document
    assert config.instances is not None
    assert config.instances.automatic_ids
    assert config.content_format == 112


def test_bytes_may_be_signed_or_hexadecimal_and_words_numbers() -> None:
    config = read_config(
        leshan(
            security__1__secretKey=[-56, 1], security__1__publicKeyOrId="6162", security__1__securityMode=0
        )
    )
    assert config == read_config(LESHAN)


def test_the_long_form_holds_a_secret_unless_all_of_it_is_nosec() -> None:
    open_to_all = leshan(
        security__1__securityMode="NO_SEC", security__1__publicKeyOrId=[], security__1__secretKey=[]
    )
    assert read_config(LESHAN).secure
    assert not read_config(open_to_all).secure


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([], "not a JSON object"),
        ({"lifetime": 5}, "lifetime: no such field"),
        ({"security": "rpk"}, "security: not one of as_is, psk, certificate, none"),
        ({"security": 3}, "security: not one of"),
        ({"uri": "https://box"}, "uri"),
        ({"uri": "coaps://box:99999"}, "uri: not a port"),
        ({"uri": "coap://box"}, "security as_is goes with coaps://"),
        ({"uri": "coaps://box", "security": "none"}, "security none goes with coap://"),
        ({"lifetime_s": 0}, "lifetime_s: not a whole number from 1"),
        ({"lifetime_s": "60"}, "lifetime_s"),
        ({"lifetime_s": True}, "lifetime_s"),
        ({"binding": "X"}, "binding"),
        ({"short_server_id": 0}, "short_server_id"),
        ({"short_server_id": 65535}, "short_server_id"),
        ({"default_pmin_s": 61, "default_pmax_s": 60}, "default_pmin_s: more than default_pmax_s"),
        ({"mute_send": 1}, "mute_send"),
        ({"delete": "/0"}, "delete: not a list"),
        ({"delete": ["/0/1/2"]}, "delete: not a path of 0 to 2 numbers"),
        ({"delete": [3]}, "delete: not a path"),
        ({"read": ["/0"]}, "read: only /1 and /2"),
        ({"read": ["/"]}, "read: only /1 and /2"),
        ({"writes": {"/3/0": 1}}, "writes./3/0: not a path of 3 to 4 numbers"),
        ({"writes": {"/0/1/5": "00"}}, "writes./0/1/5: accounts are not written this way"),
        ({"writes": {"/3/0/15": None}}, "writes./3/0/15"),
        ({"writes": []}, "writes"),
        ({"renew_before_s": -1}, "renew_before_s"),
        ({"content_format": 60}, "content_format: not one of"),
        ({"content_format": 112.0}, "content_format: not one of"),
        (leshan(more=1), "more: no such field"),
        (leshan(oscore={"0": {}}), "oscore: OSCORE is not offered"),
        (leshan(autoIdForSecurityObject=1), "autoIdForSecurityObject: neither true nor false"),
        (leshan(toDelete=["0/x"]), "toDelete: not a path"),
        (leshan(contentFormat="TEXT"), "contentFormat: not one of"),
        (leshan(security=[]), None),
        (leshan(security__x={}), "security.x: not an instance number"),
        (leshan(security__65535={}), "security.65535: not an instance number"),
        (leshan(security__1=[]), "security.1: not an object"),
        (leshan(security__1__uri=None), "security.1.uri: missing"),
        (leshan(security__1__uri=""), "security.1.uri: missing"),
        (leshan(security__1__uri="a\nb"), "security.1.uri: not at most 255 bytes of printable text"),
        (leshan(security__1__colour=1), "security.1.colour: no such field"),
        (
            leshan(security__1__securityMode="EST"),
            "security.1.securityMode: not one of PSK, RPK, X509, NO_SEC",
        ),
        (leshan(security__1__securityMode=4), "security.1.securityMode: not from 0 to 3"),
        (leshan(security__1__secretKey=None), "security.1.secretKey: missing, which securityMode PSK needs"),
        (leshan(security__1__secretKey=[256]), "security.1.secretKey: neither an array of bytes"),
        (leshan(security__1__secretKey=[True]), "security.1.secretKey: neither an array of bytes"),
        (leshan(security__1__secretKey="0g"), "security.1.secretKey: neither an array of bytes"),
        (leshan(security__1__secretKey=[0] * 9000), "security.1.secretKey: more than 8192 bytes"),
        (leshan(security__1__serverId=2), "security.1.serverId: no server has it"),
        (
            leshan(security__1__bootstrapServer="no"),
            "security.1.bootstrapServer: not a value of type boolean",
        ),
        (leshan(security__1__cipherSuite=7), "security.1.cipherSuite"),
        (leshan(security__1__cipherSuite={"a": 7}), "security.1.cipherSuite: not values by their number"),
        (leshan(servers__0__shortId=None), "servers.0.shortId: missing"),
        (leshan(servers__0__lifetime=-1), "servers.0.lifetime: not from 0"),
        (leshan(servers__1={"shortId": 7}), "servers.1.shortId: no security instance has it"),
        (leshan(acls={"0": {"objectId": 3}}), "acls.0.objectInstanceId: missing"),
        (leshan(security={str(n): {} for n in range(40)}), "security: more than 32 instances"),
    ],
)
def test_a_mistake_is_told_by_its_field(document: object, told: str | None) -> None:
    if told is None:  # an empty list is no instances, as an empty object is
        assert "no security instance" in message(document)
    else:
        assert told in message(document)


def test_text_that_is_no_json_is_told() -> None:
    for text in ("", "{", "[" * 100_000, " " * 70_000):
        with pytest.raises(UsageError, match="bootstrap configuration"):
            parse_config(text)


def test_no_error_and_no_repr_shows_a_key() -> None:
    broken = leshan(security__1__secretKey=SECRET + "x")
    assert SECRET not in message(broken)
    config = read_config(leshan(security__1__secretKey=SECRET))
    assert SECRET not in repr(config).lower()
    assert repr(bytes.fromhex(SECRET)) not in repr(config)
    assert repr(bytes.fromhex(SECRET)) not in repr(config.instances)
