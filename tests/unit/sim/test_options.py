"""The options of a fleet: defaults that hold, mistakes told all at once."""

from dataclasses import replace

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.sim.channel import MAX_CID_BYTES, DtlsOptions
from flownexus_appliance.sim.credentials import PskPattern
from flownexus_appliance.sim.options import Reporting, SimOptions


def test_the_defaults_are_right() -> None:
    SimOptions().check()
    assert [SimOptions().name(index) for index in (0, 2)] == ["sim-0001", "sim-0003"]
    assert SimOptions(first_number=41, prefix="load").name(1) == "load-0042"
    one = SimOptions(count=1, only="kitchen")
    one.check()
    assert one.name(0) == "kitchen"


def test_where_the_devices_go() -> None:
    assert SimOptions().uri == "coap://127.0.0.1:5683"
    secure = SimOptions(host="::1", port=5684, credentials=PskPattern("{name}", b"key"))
    assert secure.uri == "coaps://[::1]:5684"


@pytest.mark.parametrize(
    ("version", "wanted", "preferred"),
    [
        ("1.0", None, ContentFormat.TLV),
        ("1.1", None, ContentFormat.SENML_CBOR),
        ("1.2", None, ContentFormat.SENML_CBOR),
        ("1.1", ContentFormat.TEXT, ContentFormat.TEXT),
        ("1.2", ContentFormat.LWM2M_CBOR, ContentFormat.LWM2M_CBOR),
    ],
)
def test_the_preferred_format(version: str, wanted: ContentFormat | None, preferred: ContentFormat) -> None:
    options = SimOptions(lwm2m_version=version, content_format=wanted)
    options.check()
    assert options.preferred_format is preferred


@pytest.mark.parametrize(
    "options",
    [
        SimOptions(port=0),
        SimOptions(port=70000),
        SimOptions(count=0),
        SimOptions(count=100_000),
        SimOptions(prefix=""),
        SimOptions(prefix="x" * 28),
        SimOptions(count=1, only="x" * 33),
        SimOptions(count=2, only="kitchen"),
        SimOptions(lifetime_s=5),
        SimOptions(sample_period_s=0),
        SimOptions(awake_s=-1),
        SimOptions(stagger_s=-1),
        SimOptions(block_size=8),
        SimOptions(block_size=2048),
        SimOptions(lwm2m_version="1.3"),
        SimOptions(content_format=ContentFormat.LWM2M_CBOR),
        SimOptions(content_format=ContentFormat.LINK),
        SimOptions(lwm2m_version="1.0", content_format=ContentFormat.SENML_CBOR),
        SimOptions(lwm2m_version="1.0", reporting=Reporting.SEND),
        SimOptions(send_paths=("3303/x",)),
        SimOptions(rebind_every_s=-1),
        SimOptions(bootstrap_hold_s=-1),
        SimOptions(dtls=DtlsOptions(cid_bytes=MAX_CID_BYTES + 1)),
        SimOptions(dtls=DtlsOptions(cid_bytes=-1)),
        SimOptions(dtls=DtlsOptions(live=0)),
    ],
)
def test_what_cannot_be_is_refused(options: SimOptions) -> None:
    with pytest.raises(UsageError) as caught:
        options.check()
    assert caught.value.code == "sim_options_invalid"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        replace(SimOptions(), port=0, count=0, lifetime_s=1).check()
    assert caught.value.message.count(";") == 2
