"""What a device is to hold as a QR code, for whoever provisions with a phone or a scanner.

The text in it is one JSON object on one line: `endpoint` and `uri`, and for a pre-shared key `identity` and
`key` (hexadecimal). A certificate and its key are too large to be read off a screen: of those the code has
the address and the name alone. ISO/IEC 18004; drawn by segno as paths, black on white in every theme.
"""

from typing import Final

import msgspec
import segno
from markupsafe import Markup

from ..fleet.recipes import Material

QUIET_ZONE: Final = 4  # modules, ISO/IEC 18004 6.3.8


def provisioning_text(material: Material) -> str:
    """What the code holds."""
    held = {"endpoint": material.endpoint, "uri": material.uri}
    if material.psk is not None:
        held |= {"identity": material.psk.identity, "key": material.psk.key}
    return msgspec.json.encode(held).decode()


def svg(text: str) -> Markup:
    """A code as an SVG element to stand in a page: presentation attributes, no style, no size of its own."""
    code = segno.make(text, error="m", micro=False, encoding="utf-8")
    drawn = code.svg_inline(omitsize=True, border=QUIET_ZONE, dark="#000", light="#fff", svgclass="qr")
    # segno draws numbers and the two colours, and nothing of the text.
    return Markup(drawn)
