"""SenML JSON, Content-Format 110 (RFC 8428 5, LwM2M Core 1.1.1 7.4.5)."""

import base64
from collections.abc import Iterable, Sequence
from typing import Final

from ...errors import PeerError
from ..paths import Path
from ..values import Record, TypeLookup, Value
from . import json_text, senml

_LABELS: Final[dict[str, senml.Label]] = {
    "bver": senml.BASE_VERSION,
    "bn": senml.BASE_NAME,
    "bt": senml.BASE_TIME,
    "bu": senml.BASE_UNIT,
    "bv": senml.BASE_VALUE,
    "bs": senml.BASE_SUM,
    "n": senml.NAME,
    "u": senml.UNIT,
    "v": senml.VALUE,
    "vs": senml.STRING_VALUE,
    "vb": senml.BOOLEAN_VALUE,
    "s": senml.SUM,
    "t": senml.TIME,
    "ut": senml.UPDATE_TIME,
    "vd": senml.DATA_VALUE,
}
_NAMES: Final[dict[senml.Label, str]] = {label: name for name, label in _LABELS.items()}


def decode_senml_json(payload: bytes, base: Path, types: TypeLookup, now_ms: int) -> tuple[Record, ...]:
    """Decode a pack; raises PeerError."""
    return senml.resolve(_labelled(json_text.load(payload)), base, types, now_ms)


def encode_senml_json(records: Sequence[Record], base: Path) -> bytes:
    """Encode a pack; raises UsageError."""
    return _written(senml.lay_out(records, base))


def decode_paths_senml_json(payload: bytes) -> tuple[Path, ...]:
    """Decode the body of a composite read; raises PeerError."""
    return senml.resolve_paths(_labelled(json_text.load(payload)))


def encode_paths_senml_json(paths: Sequence[Path]) -> bytes:
    """Encode the body of a composite read."""
    return _written(senml.lay_out_paths(paths))


def _labelled(pack: object) -> object:
    """Replace the names of JSON fields by the labels of SenML CBOR, and base64 by bytes."""
    if not isinstance(pack, list):
        return pack
    return [
        {_LABELS.get(name, name): _data(name, item) for name, item in entry.items()}
        if isinstance(entry, dict)
        else entry
        for entry in pack
    ]


def _data(name: str, item: object) -> object:
    if name != "vd" or not isinstance(item, str):
        return item
    data = json_text.from_base64(item)
    if data is None:
        raise PeerError("value_invalid", "a vd field of a SenML pack is not base64")
    return data


def _written(entries: Iterable[senml.Entry]) -> bytes:
    return json_text.dump_array(json_text.dump_object(_named(entry)) for entry in entries).encode()


def _named(entry: senml.Entry) -> dict[str, Value]:
    return {_NAMES.get(label, str(label)): _text(item) for label, item in entry.items()}


def _text(item: Value) -> Value:
    """RFC 8428 5: base64 "with URL safe alphabet ..., with padding omitted"."""
    return base64.urlsafe_b64encode(item).rstrip(b"=").decode() if isinstance(item, bytes) else item
