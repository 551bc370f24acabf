"""Bootstrap against whatever may come: any JSON as a configuration, any answers of a device."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.bootstrap import BootstrapRequest, BootstrapSession
from flownexus_appliance.lwm2m.bootstrap_config import (
    BootstrapConfig,
    Security,
    format_config,
    parse_config,
    read_config,
)
from flownexus_appliance.lwm2m.bootstrap_plan import CertificateMaterial, Operation, PskMaterial, plan
from flownexus_appliance.lwm2m.links import parse_links
from flownexus_appliance.lwm2m.paths import Path
from tests.box import models

SHORT_FORM = ("security", "uri", "lifetime_s", "binding", "delete", "read", "writes", "mute_send", "more")
LONG_FORM = ("servers", "security", "acls", "oscore", "toDelete", "autoIdForSecurityObject", "shortId", "0")

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-300, 70_000),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["psk", "none", "PSK", "NO_SEC", "U", "/0", "/3/0/15", "coap://a", "coaps://a"]),
)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(SHORT_FORM + LONG_FORM) | st.text(max_size=3), inner, max_size=5),
    ),
    max_leaves=20,
)
numbers = st.integers(0, 5).map(str)
octets = st.lists(st.integers(-128, 255), min_size=1, max_size=600)
long_forms = st.fixed_dictionaries(
    {
        "autoIdForSecurityObject": st.booleans(),
        "toDelete": st.lists(st.sampled_from(["/", "/0", "/1", "/0/1", "/1/0"]), max_size=3),
        "servers": st.just({"0": {"shortId": 1}}),
        "security": st.dictionaries(
            numbers,
            st.fixed_dictionaries(
                {
                    "uri": st.just("coaps://a"),
                    "securityMode": st.sampled_from(["PSK", "NO_SEC", "X509"]),
                    "publicKeyOrId": octets,
                    "serverPublicKey": octets,
                    "secretKey": octets,
                    "serverId": st.just(1),
                    "bootstrapServer": st.booleans(),
                }
            ),
            max_size=4,
        ),
    }
)
links = st.lists(
    st.sampled_from(
        ["</>;lwm2m=1.1", "</0/0>", "</0/1>", "</0/1>;ssid=1", "</0/2>;ssid=2", "</0/5>", "</1/0>;ssid=1"]
    ),
    max_size=5,
    unique=True,
)
answers = st.lists(
    st.tuples(
        st.sampled_from(["2.05", "2.04", "2.02", "2.31", "4.00", "4.04", "4.06", "4.15", "5.00"]),
        st.none() | st.sampled_from([0, 40, 42, 110, 112, 11542, 11544, 999]),
        st.binary(max_size=40),
    ),
    max_size=60,
)


@given(trees | st.dictionaries(st.sampled_from(SHORT_FORM), leaves, max_size=4) | long_forms)
def test_any_json_is_a_configuration_or_is_refused_by_name(document: Any) -> None:
    refused = ""
    try:
        config = read_config(document)
    except UsageError as error:
        refused = error.code
    assert refused in ("", "bootstrap_config_invalid")
    assert refused or parse_config(format_config(config)) == config


@given(long_forms, st.none() | links)
def test_no_plan_meets_the_bootstrap_account_or_writes_an_instance_twice(
    document: dict[str, Any], told: list[str] | None
) -> None:
    try:
        config = read_config(document)
    except UsageError:
        return
    discovered = None if told is None else parse_links(",".join(told).encode())
    steps = plan(config, None, "", models().type_of, discovered)
    written = [step.path for step in steps if step.operation is Operation.WRITE and len(step.path) == 2]
    assert len(set(written)) == len(written)
    own = {link.target for link in discovered or () if "ssid" not in link.attributes}
    values = {record.path: record.value for step in steps for record in step.records}
    for path in written:
        assert str(path) not in own or path[0] != 0 or values[path.child(1)] is True


@given(answers, st.booleans(), st.none() | st.sampled_from([110, 112]), st.booleans())
def test_any_answers_lead_on_or_to_an_end(
    said: list[tuple[str, int | None, bytes]], discovers: bool, preferred: int | None, large: bool
) -> None:
    config = BootstrapConfig(
        Security.AS_IS, default_pmin_s=1, read=(Path((1,)),), writes={Path((3, 0, 15)): "UTC"}
    )
    session = BootstrapSession(config, BootstrapRequest(preferred, discovers), models().type_of)
    certificate = CertificateMaterial(b"C" * 460, b"K" * 138, b"R" * 450)
    for answer in said:
        if session.wants_material:
            session.equip(certificate if large else PskMaterial(b"one", b"k" * 16), "coaps://box.example")
        if session.ask() is None:
            break
        session.answered(*answer)
    assert bool(session.reason) is (session.state.value == "failed")
