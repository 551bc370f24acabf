"""Codecs of all Content-Formats of LwM2M, pure, by one table.

A decoder returns a value or raises PeerError, nothing else, for every possible input. An encoder
raises UsageError. LwM2M Core 1.1.1 and 1.2 section 7.4.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from ...errors import PeerError, UsageError
from ..content_formats import ContentFormat
from ..paths import Path
from ..values import Record, TypeLookup
from .json_legacy import decode_json, encode_json
from .lwm2m_cbor import decode_lwm2m_cbor, encode_lwm2m_cbor
from .plain import decode_cbor, decode_opaque, decode_text, encode_cbor, encode_opaque, encode_text
from .records import MAX_RECORDS
from .senml_cbor import (
    decode_paths_senml_cbor,
    decode_senml_cbor,
    encode_paths_senml_cbor,
    encode_senml_cbor,
)
from .senml_json import (
    decode_paths_senml_json,
    decode_senml_json,
    encode_paths_senml_json,
    encode_senml_json,
)
from .tlv import decode_tlv, encode_bare_instance, encode_tlv

__all__ = [
    "MAX_PAYLOAD_BYTES",
    "MAX_RECORDS",
    "decode",
    "decode_paths",
    "encode",
    "encode_bare_instance",
    "encode_paths",
]

MAX_PAYLOAD_BYTES: Final = 2**17  # of a payload that is parsed; the transport bounds an opaque one

_Decoder: TypeAlias = Callable[[bytes, Path, TypeLookup, int], tuple[Record, ...]]
_TimelessDecoder: TypeAlias = Callable[[bytes, Path, TypeLookup], tuple[Record, ...]]
_Encoder: TypeAlias = Callable[[Sequence[Record], Path], bytes]


def _timeless(decoder: _TimelessDecoder) -> _Decoder:
    return lambda payload, base, types, now_ms: decoder(payload, base, types)


_DECODERS: Final[Mapping[int, _Decoder]] = {
    ContentFormat.TEXT: _timeless(decode_text),
    ContentFormat.OPAQUE: _timeless(decode_opaque),
    ContentFormat.CBOR: _timeless(decode_cbor),
    ContentFormat.SENML_JSON: decode_senml_json,
    ContentFormat.SENML_CBOR: decode_senml_cbor,
    ContentFormat.OLD_TLV: _timeless(decode_tlv),
    ContentFormat.OLD_JSON: decode_json,
    ContentFormat.TLV: _timeless(decode_tlv),
    ContentFormat.JSON: decode_json,
    ContentFormat.LWM2M_CBOR: _timeless(decode_lwm2m_cbor),
}
_ENCODERS: Final[Mapping[int, _Encoder]] = {
    ContentFormat.TEXT: encode_text,
    ContentFormat.OPAQUE: encode_opaque,
    ContentFormat.CBOR: encode_cbor,
    ContentFormat.SENML_JSON: encode_senml_json,
    ContentFormat.SENML_CBOR: encode_senml_cbor,
    ContentFormat.OLD_TLV: encode_tlv,
    ContentFormat.OLD_JSON: encode_json,
    ContentFormat.TLV: encode_tlv,
    ContentFormat.JSON: encode_json,
    ContentFormat.LWM2M_CBOR: encode_lwm2m_cbor,
}
_PATH_DECODERS: Final[Mapping[int, Callable[[bytes], tuple[Path, ...]]]] = {
    ContentFormat.SENML_JSON: decode_paths_senml_json,
    ContentFormat.SENML_CBOR: decode_paths_senml_cbor,
}
_PATH_ENCODERS: Final[Mapping[int, Callable[[Sequence[Path]], bytes]]] = {
    ContentFormat.SENML_JSON: encode_paths_senml_json,
    ContentFormat.SENML_CBOR: encode_paths_senml_cbor,
}


def decode(
    content_format: int, payload: bytes, *, base: Path, types: TypeLookup, now_ms: int
) -> tuple[Record, ...]:
    """Decode a payload that answers for `base` (the root for a Send or a composite operation).

    `now_ms` is the wall time in milliseconds since 1970, for SenML times relative to now. Raises
    PeerError: `content_format_unsupported`, `payload_too_large`, `payload_invalid`, `path_invalid`,
    `path_incomplete`, `path_outside`, `path_repeated`, `value_invalid` or `time_invalid`.
    """
    decoder = _DECODERS.get(content_format)
    if decoder is None:
        raise _unsupported(content_format, PeerError)
    if content_format != ContentFormat.OPAQUE:
        _check_size(payload)
    return decoder(payload, base, types, now_ms)


def encode(content_format: int, records: Sequence[Record], *, base: Path) -> bytes:
    """Encode records for an operation on `base`.

    Raises UsageError: `content_format_unsupported`, `path_incomplete`, `path_outside`,
    `path_repeated`, `value_invalid`, `time_invalid`, `time_unsupported` or `format_single_value`.
    """
    encoder = _ENCODERS.get(content_format)
    if encoder is None:
        raise _unsupported(content_format, UsageError)
    return encoder(records, base)


def decode_paths(content_format: int, payload: bytes) -> tuple[Path, ...]:
    """Decode the body of a Read- or Observe-Composite; raises PeerError as `decode` does."""
    decoder = _PATH_DECODERS.get(content_format)
    if decoder is None:
        raise _unsupported(content_format, PeerError)
    _check_size(payload)
    return decoder(payload)


def encode_paths(content_format: int, paths: Sequence[Path]) -> bytes:
    """Encode the body of a Read- or Observe-Composite; raises UsageError."""
    encoder = _PATH_ENCODERS.get(content_format)
    if encoder is None:
        raise _unsupported(content_format, UsageError)
    return encoder(paths)


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PeerError(
            "payload_too_large",
            f"a payload of {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read",
        )


def _unsupported(content_format: int, error: type[PeerError] | type[UsageError]) -> PeerError | UsageError:
    return error(
        "content_format_unsupported",
        f"Content-Format {content_format} is not supported here",
        "use SenML CBOR (112), or TLV (11542) for a LwM2M 1.0 device",
    )
