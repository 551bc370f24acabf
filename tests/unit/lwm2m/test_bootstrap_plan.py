"""Which requests a configuration becomes, and where they go: never over the bootstrap account."""

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.bootstrap_config import WRITE_FORMATS, BootstrapConfig, Security, read_config
from flownexus_appliance.lwm2m.bootstrap_plan import (
    MAX_INSTANCE_BYTES,
    CertificateMaterial,
    Material,
    Operation,
    PskMaterial,
    Step,
    opening,
    pack,
    plan,
)
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.links import parse_links
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import Value
from tests.box import models

URI = "coaps://192.0.2.1:5684"
PSK = PskMaterial(b"thermometer-1", bytes(range(16)))
SMALL = CertificateMaterial(b"C" * 200, b"K" * 100, b"R" * 200)
LARGE = CertificateMaterial(b"C" * 460, b"K" * 138, b"R" * 450)
# What Zephyr 3.3 answered, recorded: no `</>;` before its version.
ZEPHYR = b'lwm2m="1.1",</0/0>'
ZEPHYR_AGAIN = b'lwm2m="1.1",</0/0>,</0/1>;ssid=101,</1/0>;ssid=101,</3/0>'
ANJAY = b"</>;lwm2m=1.1,</0/0>,</0/1>;ssid=1;uri=coaps://192.0.2.1,</1/1>;ssid=1,</2>,</3/0>"
ELSEWHERE = b"</>;lwm2m=1.1,</0/3>,</0/0>;ssid=7,</1/0>;ssid=7"


def planned(
    config: BootstrapConfig | None = None, material: Material = PSK, discovered: bytes | None = ZEPHYR
) -> tuple[Step, ...]:
    links = None if discovered is None else parse_links(discovered)
    return plan(config or BootstrapConfig(), material, URI, models().type_of, links)


def told(steps: tuple[Step, ...]) -> list[str]:
    """ "delete /0"; a write that must succeed has a mark."""
    marks = {step: "!" for step in steps if step.needed and step.operation is Operation.WRITE}
    return [f"{step.operation.value} {step.path}{marks.get(step, '')}" for step in steps]


def values(steps: tuple[Step, ...]) -> dict[str, Value]:
    return {str(record.path): record.value for step in steps for record in step.records}


def written(steps: tuple[Step, ...]) -> list[Path]:
    return [step.path for step in steps if step.operation is Operation.WRITE]


def test_a_device_with_a_key_is_given_the_account_of_the_key() -> None:
    steps = planned()
    assert told(steps) == ["delete /0", "delete /1", "write /0/1!", "write /1/0!", "finish /"]
    assert values(steps) == {
        "/0/1/0": URI,
        "/0/1/1": False,
        "/0/1/2": 0,
        "/0/1/3": b"thermometer-1",
        "/0/1/4": b"",
        "/0/1/5": bytes(range(16)),
        "/0/1/10": 1,
        "/1/0/0": 1,
        "/1/0/1": 86400,
        "/1/0/6": True,
        "/1/0/7": "U",
    }


def test_all_that_is_configured_is_written_what_not_all_clients_have_by_itself() -> None:
    config = BootstrapConfig(
        uri="coaps://box.example",
        lifetime_s=600,
        binding="UQ",
        short_server_id=101,
        default_pmin_s=5,
        default_pmax_s=60,
        mute_send=True,
        delete=(Path.ROOT,),
        writes={Path((3, 0, 15)): "Europe/Berlin", Path((3, 0, 11, 0)): 0, Path((3, 0, 11, 1)): 2},
    )
    steps = planned(config)
    assert told(steps) == [
        "delete /",
        "write /0/1!",
        "write /1/0!",
        "write /1/0/2",
        "write /1/0/3",
        "write /1/0/23",
        "write /3/0/15",
        "write /3/0/11",
        "finish /",
    ]
    found = values(steps)
    assert found["/0/1/0"] == "coaps://box.example"
    assert (found["/0/1/10"], found["/1/0/0"]) == (101, 101)
    assert (found["/1/0/1"], found["/1/0/7"]) == (600, "UQ")
    assert (found["/1/0/2"], found["/1/0/3"], found["/1/0/23"]) == (5, 60, True)
    assert (found["/3/0/15"], found["/3/0/11/0"], found["/3/0/11/1"]) == ("Europe/Berlin", 0, 2)


def test_nosec_has_empty_keys() -> None:
    steps = planned(BootstrapConfig(security=Security.NONE), None)
    assert {path: value for path, value in values(steps).items() if path.startswith("/0")} == {
        "/0/1/0": URI,
        "/0/1/1": False,
        "/0/1/2": 3,
        "/0/1/3": b"",
        "/0/1/4": b"",
        "/0/1/5": b"",
        "/0/1/10": 1,
    }


def test_a_certificate_comes_with_the_root_as_an_anchor() -> None:
    steps = planned(material=SMALL)
    assert told(steps)[2:] == ["write /0/1!", "write /0/1/15", "write /1/0!", "finish /"]
    found = values(steps)
    assert found["/0/1/2"] == 2
    assert (found["/0/1/3"], found["/0/1/4"], found["/0/1/5"]) == (SMALL.certificate, SMALL.root, SMALL.key)
    assert found["/0/1/15"] == 2


def test_a_security_instance_that_is_large_goes_key_by_key() -> None:
    steps = planned(material=LARGE)
    assert told(steps)[2:] == [
        "write /0/1!",
        "write /0/1/3!",
        "write /0/1/4!",
        "write /0/1/5!",
        "write /0/1/15",
        "write /1/0!",
        "finish /",
    ]
    assert [str(step.path) for step in steps if step.opaque] == ["/0/1/3", "/0/1/4", "/0/1/5"]
    assert set(values(steps[2:3])) == {"/0/1/0", "/0/1/1", "/0/1/2", "/0/1/10"}


def test_what_just_fits_goes_at_once() -> None:
    """In every format, for it may turn out that the device reads only the longest."""

    def largest(size: int) -> tuple[int, bool]:
        material = CertificateMaterial(b"C" * size, b"K" * 100, b"R" * 200)
        steps = planned(material=material)
        whole = not any(step.opaque for step in steps)
        records = [record for step in steps for record in step.records if record.path[:2] == (0, 1)]
        core = [record for record in records if record.path[2] != 15]
        return max(len(codecs.encode(form, core, base=Path((0, 1)))) for form in WRITE_FORMATS), whole

    sizes = [largest(size) for size in range(200, 500)]
    assert max(length for length, whole in sizes if whole) <= MAX_INSTANCE_BYTES
    assert min(length for length, whole in sizes if not whole) > MAX_INSTANCE_BYTES
    assert MAX_INSTANCE_BYTES == 1000


@pytest.mark.parametrize("content_format", WRITE_FORMATS)
@pytest.mark.parametrize("material", [PSK, SMALL, LARGE])
def test_no_instance_is_larger_than_zephyr_takes(material: Material, content_format: ContentFormat) -> None:
    for step in planned(material=material):
        if step.operation is Operation.WRITE and not step.opaque:
            assert len(codecs.encode(content_format, step.records, base=step.path)) <= MAX_INSTANCE_BYTES


@pytest.mark.parametrize(
    ("discovered", "places"),
    [
        (None, ["/0/1", "/1/0"]),
        (ZEPHYR, ["/0/1", "/1/0"]),
        (ZEPHYR_AGAIN, ["/0/1", "/1/0"]),
        (ANJAY, ["/0/1", "/1/0"]),
        (ELSEWHERE, ["/0/0", "/1/0"]),
        (b"</>;lwm2m=1.1,</0/1>", ["/0/0", "/1/0"]),
        (b"</>;lwm2m=1.1,</0/0>,</0/1>,</0/2>", ["/0/3", "/1/0"]),  # which one is the bootstrap's?
        (b"</>;lwm2m=1.1,</0/1>;ssid=65535,</0/0>;ssid=0", ["/0/2", "/1/0"]),
        (b"</>;lwm2m=1.1,</1/0>,</3/0>", ["/0/1", "/1/0"]),  # it keeps Security to itself
        (b"</0>,</1>", ["/0/1", "/1/0"]),
        (b"</0/0>,</0/0>;ssid=1", ["/0/1", "/1/0"]),
        (b"</0/0>;ssid=1,</0/0>", ["/0/1", "/1/0"]),
        (b"</0/0>,</0/99999>,</0/x>,</a/0/1>", ["/0/1", "/1/0"]),
    ],
)
def test_the_bootstrap_account_is_met_wherever_it_is(discovered: bytes | None, places: list[str]) -> None:
    assert [str(path) for path in written(planned(discovered=discovered))] == places


def test_what_is_not_deleted_is_left_alone_but_for_the_own_account() -> None:
    kept = BootstrapConfig(delete=(), short_server_id=7)
    assert [str(p) for p in written(planned(kept, discovered=ELSEWHERE))] == ["/0/0", "/1/0"]
    other = BootstrapConfig(delete=(), short_server_id=8)
    assert [str(p) for p in written(planned(other, discovered=ELSEWHERE))] == ["/0/1", "/1/1"]
    partly = BootstrapConfig(delete=(Path((0, 0)),), short_server_id=8)
    assert [str(p) for p in written(planned(partly, discovered=ELSEWHERE))] == ["/0/0", "/1/1"]


def test_a_value_of_the_wrong_type_is_told() -> None:
    with pytest.raises(UsageError) as caught:
        planned(BootstrapConfig(writes={Path((3, 0, 15)): 5}))
    assert caught.value.code == "value_invalid"


def test_what_no_model_knows_is_typed_by_itself() -> None:
    steps = planned(BootstrapConfig(writes={Path((31024, 0, 1)): 5, Path((31024, 0, 2)): True}))
    assert [r.data_type.value for s in steps for r in s.records if r.path[0] == 31024] == [
        "integer",
        "boolean",
    ]


def test_a_client_of_1_0_is_not_asked_what_it_has_unless_that_is_wanted() -> None:
    reading = BootstrapConfig(read=(Path((1,)), Path((2,))))
    assert told(opening(reading, True)) == ["discover /", "read /1", "read /2"]
    assert opening(reading, False) == ()
    assert told(opening(spelled_out(autoIdForSecurityObject=True), False)) == ["discover /"]


# The long form


def spelled_out(**changes: object) -> BootstrapConfig:
    """Security instances `0` of the bootstrap itself and `1` of a server, unless `changes` says else."""
    security = {
        "0": {"uri": "coaps://bs.example", "bootstrapServer": True, "securityMode": "NO_SEC", "serverId": 0},
        "1": {
            "uri": "coaps://box.example",
            "securityMode": "PSK",
            "publicKeyOrId": [97],
            "serverPublicKey": [],
            "secretKey": [1, 2],
            "smsSecurityMode": "NO_SEC",
            "serverId": 5,
            "clientOldOffTime": 3,
        },
    }
    document = {
        "toDelete": ["/0", "/1"],
        "servers": {"4": {"shortId": 5, "lifetime": 60, "binding": "U", "defaultMinPeriod": 2}},
        "security": security,
        "acls": {"2": {"objectId": 3, "objectInstanceId": 0, "acls": {"5": 7}, "AccessControlOwner": 5}},
        **changes,
    }
    return read_config(document)


def test_what_is_spelled_out_is_written_where_it_says() -> None:
    steps = planned(spelled_out(), None, None)
    assert told(steps) == [
        "delete /0",
        "delete /1",
        "write /0/0!",
        "write /0/1!",
        "write /0/1/11",
        "write /1/4!",
        "write /1/4/2",
        "write /2/2!",
        "finish /",
    ]
    found = values(steps)
    assert (found["/0/1/3"], found["/0/1/5"], found["/2/2/2/5"]) == (b"a", b"\1\2", 7)
    assert (found["/0/0/3"], found["/0/0/4"], found["/0/1/4"]) == (b"", b"", b"")
    # What says nothing is not said: no request goes out for "no SMS".
    assert "/0/1/6" not in found


def test_a_server_never_takes_the_place_of_the_bootstrap_account() -> None:
    for discovered in (b"</0/1>,</0/0>;ssid=3", b"</0/1>"):
        only = spelled_out(security={"1": leshan_server()})
        places = [path for path in written(planned(only, None, discovered)) if path[0] == 0]
        assert Path((0, 1)) not in places
        assert values(planned(only, None, discovered))[f"{places[0]}/0"] == "coaps://box.example"


def test_automatic_numbers_follow_the_device() -> None:
    automatic = spelled_out(autoIdForSecurityObject=True)
    steps = planned(automatic, None, b"</0/6>,</0/1>;ssid=3")
    found = values(steps)
    assert found["/0/6/1"] is True  # the bootstrap account is where the device has it
    assert found["/0/0/0"] == "coaps://box.example"


def test_several_servers_by_automatic_numbers_do_not_meet() -> None:
    several = spelled_out(
        autoIdForSecurityObject=True,
        security={str(n): leshan_server(serverId=n) for n in (1, 2, 3)},
        servers={str(n): {"shortId": n, "lifetime": 60, "binding": "U"} for n in (1, 2, 3)},
    )
    for discovered in (None, ZEPHYR, b"</0/2>,</0/0>;ssid=9"):
        places = {path[:2] for path in written(planned(several, None, discovered)) if path[0] == 0}
        assert len(places) == 3
        bootstrap = 2 if discovered == b"</0/2>,</0/0>;ssid=9" else 0
        assert (0, bootstrap) not in places


def leshan_server(**changes: object) -> dict[str, object]:
    return {"uri": "coaps://box.example", "securityMode": "NO_SEC", "serverId": 5, **changes}


# Bootstrap-Pack


@pytest.mark.parametrize(
    "content_format", [ContentFormat.SENML_CBOR, ContentFormat.SENML_JSON, ContentFormat.LWM2M_CBOR]
)
def test_a_pack_has_everything_at_once(content_format: ContentFormat) -> None:
    config = BootstrapConfig(default_pmin_s=3, writes={Path((3, 0, 15)): "UTC"})
    payload = pack(config, SMALL, URI, models().type_of, content_format)
    records = codecs.decode(content_format, payload, base=Path.ROOT, types=models().type_of, now_ms=0)
    found = {str(record.path): record.value for record in records}
    assert found == values(planned(config, SMALL, None))
    assert {"/0/1/5", "/0/1/15", "/1/0/2", "/3/0/15"} <= found.keys()


def test_no_repr_shows_a_key() -> None:
    assert "KKKK" not in repr(SMALL)
    assert "KKKK" not in repr(planned(material=LARGE))
    assert repr(PSK.key) not in repr(PSK)
