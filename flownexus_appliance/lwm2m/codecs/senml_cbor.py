"""SenML CBOR, Content-Format 112 (RFC 8428 6, LwM2M Core 1.1.1 7.4.6).

One value in this format is what devices send most: decoding it is the hottest path of the product.
"""

from collections.abc import Sequence

from ..paths import Path
from ..values import Record, TypeLookup
from . import cbor, senml


def decode_senml_cbor(payload: bytes, base: Path, types: TypeLookup, now_ms: int) -> tuple[Record, ...]:
    """Decode a pack; raises PeerError. An array of indefinite length is taken too: Anjay sends it."""
    return senml.resolve(cbor.load(payload), base, types, now_ms)


def encode_senml_cbor(records: Sequence[Record], base: Path) -> bytes:
    """Encode a pack; raises UsageError."""
    return cbor.dump(list(senml.lay_out(records, base)))  # type: ignore[arg-type]


def decode_paths_senml_cbor(payload: bytes) -> tuple[Path, ...]:
    """Decode the body of a composite read; raises PeerError."""
    return senml.resolve_paths(cbor.load(payload))


def encode_paths_senml_cbor(paths: Sequence[Path]) -> bytes:
    """Encode the body of a composite read."""
    return cbor.dump(list(senml.lay_out_paths(paths)))  # type: ignore[arg-type]
