"""Link lists beyond the vectors: bounds, tolerance, and what cannot be written."""

import pytest

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.lwm2m.links import (
    MAX_ATTRIBUTES,
    MAX_LINKS,
    MAX_PAYLOAD_BYTES,
    Link,
    format_links,
    parse_links,
)


def test_a_link_without_attributes() -> None:
    assert parse_links(b"</3/0>") == (Link("/3/0"),)
    assert Link("/3/0").attributes == {}


def test_white_space_between_the_parts() -> None:
    expected = (Link("/1", {"ver": "1.1", "x": "a b", "con": None}), Link("/1/0"))
    assert parse_links(b' </1> ; ver = 1.1 ; x = "a b" ;con , </1/0> ') == expected


def test_leading_attributes_belong_to_the_root() -> None:
    assert parse_links(b"lwm2m=1.0") == (Link("/", {"lwm2m": "1.0"}),)
    assert parse_links(b'lwm2m="1.1";x=1,</0/0>;ssid=5') == (
        Link("/", {"lwm2m": "1.1", "x": "1"}),
        Link("/0/0", {"ssid": "5"}),
    )


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        b"lwm2m=1.0,",
        b"lwm2m=1.0</0>",
        b"x=1,</0>",
        b"<a b>",
        b"<<a>>",
        b"</1>;",
        b"</1>;;a",
        b"</1>;a=b c",
        b'</1>;a=b"c"',
        b'</1>;a="b"c',
        b"</1>;\xc3\xa9=1",
        b"</1> </2>",
        b",</1>",
        b";</1>",
        b"</1>\0",
    ],
)
def test_refuses(payload: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        parse_links(payload)
    assert caught.value.code == "links_invalid"


def test_counts_are_bounded() -> None:
    assert len(parse_links(b",".join([b"</1>"] * MAX_LINKS))) == MAX_LINKS
    assert len(parse_links(b"</1>" + b"".join(b";a%d" % n for n in range(MAX_ATTRIBUTES)))) == 1
    for payload in (
        b",".join([b"</1>"] * (MAX_LINKS + 1)),
        b"</1>" + b"".join(b";a%d" % n for n in range(MAX_ATTRIBUTES + 1)),
        b"<" + b"/" * MAX_PAYLOAD_BYTES + b">",
    ):
        with pytest.raises(PeerError) as caught:
            parse_links(payload)
        assert caught.value.code == "links_invalid"


@pytest.mark.parametrize(
    "payload",
    [
        b"</1>;a=" + b'"\\' * 60_000,
        b"</1>;a=" + b" " * 130_000,
        b"</1>" + b' ;a=""' * 20_000 + b"x",
        b" " * 131_000,
        b"<" * 131_000,
        b'</1>;a="' + b"\\\\" * 60_000,
        b"a" * 131_000,
    ],
)
def test_hostile_texts_end_quickly(payload: bytes) -> None:
    """Each is read in one pass; a pattern that backtracks would not come back from these."""
    with pytest.raises(PeerError):
        parse_links(payload + b"<")


@pytest.mark.parametrize(
    "link",
    [
        Link("a>b"),
        Link("a b"),
        Link("<"),
        Link("/1", {"": "x"}),
        Link("/1", {"a b": "x"}),
        Link("/1", {"a;b": "x"}),
        Link("/1", {"a": "\ud800"}),
    ],
)
def test_what_cannot_be_written(link: Link) -> None:
    with pytest.raises(UsageError) as caught:
        format_links([link])
    assert caught.value.code == "links_invalid"


def test_quotes_where_they_are_needed() -> None:
    attributes = {"rt": "oma.lwm2m", "ct": "60 110", "ver": "1.1", "x": "", "y": 'a"\\b', "z": "é", "w": None}
    text = '</>;rt="oma.lwm2m";ct="60 110";ver=1.1;x="";y="a\\"\\\\b";z="é";w'
    assert format_links([Link("/", attributes)]) == text.encode()
    assert parse_links(text.encode()) == (Link("/", attributes),)
