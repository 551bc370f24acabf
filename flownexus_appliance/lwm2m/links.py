"""CoRE Link Format (RFC 6690), Content-Format 40: Register payloads and Discover replies.

LwM2M Core 1.1.1 6.2.1 (Register), 6.3.2 (Discover), 6.1.7.4 (Bootstrap-Discover).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..errors import PeerError, UsageError, clean

MAX_LINKS: Final = 4096
MAX_PAYLOAD_BYTES: Final = 2**17
MAX_ATTRIBUTES: Final = 64  # of one link

_TARGET: Final = re.compile(r"\s*<([^<>\s]*)>\s*")
# RFC 6690 2: a name is a token, its value a token or a quoted string with backslash escapes.
_ATTRIBUTE: Final = re.compile(
    r"""\s*([A-Za-z0-9!#$&+.^_`|~-]+\*?)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",;<>]*)))?\s*""", re.DOTALL
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_BARE: Final = re.compile(r"[A-Za-z0-9._+:/-]+")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+\*?")
_ALWAYS_QUOTED: Final = frozenset(("rt", "if", "title", "anchor"))


@dataclass(frozen=True, slots=True)
class Link:
    """One link: `</3>;ver=1.1` has the target "/3" and the attributes {"ver": "1.1"}.

    An attribute without a value maps to None; quotes and escapes are gone from values.
    """

    target: str
    attributes: Mapping[str, str | None] = field(default_factory=dict)


def parse_links(payload: bytes) -> tuple[Link, ...]:
    """Read a link list, of which the empty payload is one; raises PeerError("links_invalid").

    Of an attribute given twice the first counts (RFC 6690 3). Spec deviation: LwM2M 1.0 clients and
    Zephyr start their Bootstrap-Discover reply without a link, `lwm2m="1.1",</0/0>`; it reads as
    `</>;lwm2m="1.1",</0/0>`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _invalid(f"it has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are read")
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise _invalid("it is not UTF-8") from None
    if not text:
        return ()
    links: list[Link] = []
    at = _one(text, 0, links) if text.lstrip()[:1] == "<" else _leading(text, links)
    while at < len(text):
        if len(links) >= MAX_LINKS:
            raise _invalid(f"it has more than {MAX_LINKS} links")
        at = _one(text, _after_comma(text, at), links)
    return tuple(links)


def _leading(text: str, links: list[Link]) -> int:
    attributes: dict[str, str | None] = {}
    at = _attribute(text, 0, attributes)
    if "lwm2m" not in attributes:
        raise _unexpected(text, 0)
    at = _attributes(text, at, attributes)
    links.append(Link("/", attributes))
    return at


def _one(text: str, at: int, links: list[Link]) -> int:
    match = _TARGET.match(text, at)
    if match is None:
        raise _unexpected(text, at)
    if text[match.end() : match.end() + 1] != ";":
        links.append(Link(match[1]))
        return match.end()
    attributes: dict[str, str | None] = {}
    at = _attributes(text, match.end(), attributes)
    links.append(Link(match[1], attributes))
    return at


def _attributes(text: str, at: int, attributes: dict[str, str | None]) -> int:
    while text[at : at + 1] == ";":
        at = _attribute(text, at + 1, attributes)
    return at


def _attribute(text: str, at: int, attributes: dict[str, str | None]) -> int:
    match = _ATTRIBUTE.match(text, at)
    if match is None:
        raise _unexpected(text, at)
    name, quoted, bare = match.groups()
    attributes.setdefault(name, bare if quoted is None else _ESCAPED.sub(r"\1", quoted))
    if len(attributes) > MAX_ATTRIBUTES:
        raise _invalid(f"a link has more than {MAX_ATTRIBUTES} attributes")
    return match.end()


def _after_comma(text: str, at: int) -> int:
    if text[at] != ",":
        raise _unexpected(text, at)
    return at + 1


def _unexpected(text: str, at: int) -> PeerError:
    return _invalid(f"at character {at} stands {clean(text[at:], 20) or 'nothing'}")


def _invalid(what: str) -> PeerError:
    return PeerError("links_invalid", f"not a link list: {what}", "links are written </3/0>;ver=1.1,</5>")


def format_links(links: Iterable[Link]) -> bytes:
    """Write a link list; raises UsageError("links_invalid") for what the syntax cannot hold."""
    try:
        return ",".join(map(_written, links)).encode()
    except UnicodeEncodeError:
        raise UsageError("links_invalid", "a link holds half a character") from None


def _written(link: Link) -> str:
    if _TARGET.fullmatch(f"<{link.target}>") is None:
        raise UsageError("links_invalid", f"not a link target: {clean(link.target)}")
    return f"<{link.target}>" + "".join(_parameter(name, value) for name, value in link.attributes.items())


def _parameter(name: str, value: str | None) -> str:
    if _NAME.fullmatch(name) is None:
        raise UsageError("links_invalid", f"not an attribute name: {clean(name)}")
    if value is None:
        return f";{name}"
    if name not in _ALWAYS_QUOTED and _BARE.fullmatch(value):
        return f";{name}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f';{name}="{escaped}"'
