"""Payloads from the specifications and from real clients, decoded, and encoded where canonical.

Each vector names its source. `canonical` means that our encoder writes exactly these bytes.
"""

import json
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.lwm2m.codecs import decode, encode
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.links import Link, format_links, parse_links
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, ObjectLink, Record, Value

VECTORS = FilePath(__file__).parents[3] / "vectors"
FORMATS = {
    "tlv.json": (ContentFormat.TLV, ContentFormat.OLD_TLV),
    "senml_cbor.json": (ContentFormat.SENML_CBOR,),
    "senml_json.json": (ContentFormat.SENML_JSON,),
    "json_legacy.json": (ContentFormat.JSON, ContentFormat.OLD_JSON),
    "lwm2m_cbor.json": (ContentFormat.LWM2M_CBOR,),
    "plain.json": (),  # each vector names its own
}


def load(name: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((VECTORS / name).read_text("utf-8"))
    assert vectors
    return vectors


def cases() -> Iterator[Any]:
    for name, formats in FORMATS.items():
        for vector in load(name):
            for content_format in formats or (ContentFormat(vector["content_format"]),):
                label = f"{content_format.name}: {vector['name']}"
                yield pytest.param(content_format, vector, id=label)


def payload_of(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else str(vector["text"]).encode()


def value_of(item: Any, data_type: DataType) -> Value:
    if isinstance(item, dict):
        return bytes.fromhex(item["hex"])
    if data_type is DataType.OBJLNK:
        return ObjectLink.parse(item)
    value: Value = item
    return value


def record_of(item: dict[str, Any]) -> Record:
    data_type = DataType(item["type"])
    return Record(
        Path.parse(item["path"]), value_of(item["value"], data_type), data_type, item.get("time_ms")
    )


@pytest.mark.parametrize(("content_format", "vector"), list(cases()))
def test_vector(content_format: ContentFormat, vector: dict[str, Any]) -> None:
    base = Path.parse(vector["base"])
    types = {Path.parse(path): DataType(name) for path, name in vector.get("types", {}).items()}
    payload = payload_of(vector)
    now_ms = vector.get("now_ms", 0)

    if "error" in vector:
        with pytest.raises(PeerError) as caught:
            decode(content_format, payload, base=base, types=types.get, now_ms=now_ms)
        assert caught.value.code == vector["error"]
        return

    expected = tuple(map(record_of, vector["records"]))
    decoded = decode(content_format, payload, base=base, types=types.get, now_ms=now_ms)
    assert decoded == expected
    assert [type(record.value) for record in decoded] == [type(record.value) for record in expected]
    if vector["canonical"]:
        assert encode(content_format, expected, base=base) == payload


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in load("links.json")])
def test_link_vector(vector: dict[str, Any]) -> None:
    payload = vector["text"].encode()
    if "error" in vector:
        with pytest.raises(PeerError) as caught:
            parse_links(payload)
        assert caught.value.code == vector["error"]
        return
    links = tuple(Link(target, attributes) for target, attributes in vector["links"])
    assert parse_links(payload) == links
    if vector["canonical"]:
        assert format_links(links) == payload
    assert parse_links(format_links(links)) == links
