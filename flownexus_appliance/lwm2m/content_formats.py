"""CoAP Content-Format numbers that LwM2M uses (IANA registry; LwM2M Core 1.1.1 section 7.4)."""

from enum import IntEnum


class ContentFormat(IntEnum):
    TEXT = 0
    LINK = 40
    OPAQUE = 42
    CBOR = 60
    SENML_JSON = 110
    SENML_CBOR = 112
    OLD_TLV = 1542
    OLD_JSON = 1543
    TLV = 11542
    JSON = 11543
    LWM2M_CBOR = 11544
