"""CoAP messages in words, for people who look for what goes wrong between the box and a device.

RFC 7252 section 3. What may hold keys is left out: what is written to Security (0), OSCORE (21) or the
whole device, and what the box answers with content, which is a Bootstrap-Pack (LwM2M Transport 1.2 6.4.2).
"""

from collections.abc import Iterator
from typing import Any, Final

from aiocoap import EMPTY, Code, Message
from aiocoap.numbers.optionnumbers import OptionNumber

from ..fleet.ports import Traced
from .codes import dotted
from .peers import Peer

_SECRET_OBJECTS: Final = frozenset({"0", "21"})
# LwM2M Core 1.1.1 6.3.8, 6.3.9: they have no path, and never reach Security.
_COMPOSITE: Final = frozenset({Code.FETCH, Code.iPATCH})
_TYPES: Final = ("CON", "NON", "ACK", "RST")


def traced(message: Message, peer: Peer, incoming: bool) -> Traced:
    """A message in words; `incoming`: it came from the device."""
    content_format = message.opt.content_format
    return Traced(
        peer=peer.sender.peer,
        incoming=incoming,
        kind=_TYPES[int(message.mtype)],
        code=_code(message),
        message_id=message.mid,
        token=bytes(message.token),
        options=" - ".join(_options(message)),
        payload=None if _may_hold_keys(message, incoming) else bytes(message.payload),
        content_format=None if content_format is None else int(content_format),
    )


def traced_datagram(data: bytes, peer: Peer) -> Traced:
    """The same of a message that the box sends, as it goes out; raises aiocoap's UnparsableMessage."""
    return traced(Message.decode(data, remote=peer), peer, incoming=False)


def _code(message: Message) -> str:
    if message.code is EMPTY:
        return ""
    return str(message.code.name) if message.code.is_request() else dotted(message.code)


def _options(message: Message) -> Iterator[str]:
    """`Uri-Path: "rd", "x7"`: an option each, with all its values, by number."""
    found: dict[int, list[str]] = {}
    for option in message.opt.option_list():
        found.setdefault(int(option.number), []).append(_value(option.value))
    for number, values in found.items():
        yield f"{_name(number)}: {', '.join(values)}"


def _name(number: int) -> str:
    try:
        return "-".join(word.capitalize() for word in OptionNumber(number).name.split("_"))
    except (ValueError, AttributeError):  # one that aiocoap has no name for, see messages.py
        return f"Unknown ({number})"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, int):
        return str(int(value))
    more = "true" if value.more else "false"
    return f"(num={value.block_number}, m={more}, szx={value.size_exponent})"


def _may_hold_keys(message: Message, incoming: bool) -> bool:
    if incoming or not message.payload:
        return False
    if message.code.is_response():
        return bool(message.code.is_successful())
    # A path may begin with the device's alternate path, which is no number.
    numbers = [part for part in message.opt.uri_path if part.isdigit()]
    if not numbers:
        return message.code not in _COMPOSITE
    return numbers[0] in _SECRET_OBJECTS
