"""CoAP codes: from the house's error codes and successes, and as text; and which options are understood.

RFC 7252 5.4, 5.9 and 12.1.2; LwM2M Transport 1.1.1 section 6.4.3, tables of response codes.
"""

from collections.abc import Mapping
from typing import Final

from aiocoap import Code, Message
from aiocoap.numbers.optionnumbers import OptionNumber

from ..errors import PeerError
from ..lwm2m.effects import Success

SUCCESS_CODES: Final[Mapping[Success, Code]] = {
    Success.CREATED: Code.CREATED,
    Success.CHANGED: Code.CHANGED,
    Success.DELETED: Code.DELETED,
    Success.CONTENT: Code.CONTENT,
}

# What a device is told of each PeerError; tests check that every code raised is in here.
ERROR_CODES: Final[Mapping[str, Code]] = {
    "address_invalid": Code.BAD_REQUEST,
    "binding_invalid": Code.BAD_REQUEST,
    "block_invalid": Code.BAD_REQUEST,
    "block_missing": Code.REQUEST_ENTITY_INCOMPLETE,
    "bootstrap_refused": Code.BAD_REQUEST,
    "body_too_large": Code.REQUEST_ENTITY_TOO_LARGE,
    "content_format_unsupported": Code.UNSUPPORTED_CONTENT_FORMAT,
    "ddf_invalid": Code.BAD_REQUEST,
    "endpoint_invalid": Code.BAD_REQUEST,
    "endpoint_missing": Code.BAD_REQUEST,
    "endpoints_full": Code.FORBIDDEN,
    "identity_refused": Code.FORBIDDEN,
    "lifetime_invalid": Code.BAD_REQUEST,
    "links_invalid": Code.BAD_REQUEST,
    "method_not_allowed": Code.METHOD_NOT_ALLOWED,
    "not_acceptable": Code.NOT_ACCEPTABLE,
    "not_found": Code.NOT_FOUND,
    "option_unknown": Code.BAD_OPTION,
    "path_incomplete": Code.BAD_REQUEST,
    "path_invalid": Code.BAD_REQUEST,
    "path_outside": Code.BAD_REQUEST,
    "path_repeated": Code.BAD_REQUEST,
    "payload_invalid": Code.BAD_REQUEST,
    "payload_too_large": Code.REQUEST_ENTITY_TOO_LARGE,
    "precondition_failed": Code.PRECONDITION_FAILED,
    "query_invalid": Code.BAD_REQUEST,
    "registration_unknown": Code.NOT_FOUND,
    "sender_unknown": Code.BAD_REQUEST,
    "time_invalid": Code.BAD_REQUEST,
    "value_invalid": Code.BAD_REQUEST,
    "version_invalid": Code.BAD_REQUEST,
    "version_missing": Code.BAD_REQUEST,
    "version_unsupported": Code.PRECONDITION_FAILED,
}


# Critical options of requests that are acted on, or mean nothing here.
_UNDERSTOOD: Final = frozenset(
    {
        OptionNumber.IF_MATCH,
        OptionNumber.URI_HOST,
        OptionNumber.IF_NONE_MATCH,
        OptionNumber.URI_PORT,
        OptionNumber.URI_PATH,
        OptionNumber.URI_QUERY,
        OptionNumber.ACCEPT,
        OptionNumber.BLOCK1,
        OptionNumber.BLOCK2,
    }
)
MAX_CONTENT_FORMAT: Final = 2**16 - 1  # RFC 7252 5.10.3: two bytes
MAX_OBSERVE: Final = 2**24 - 1  # RFC 7641 2: three bytes


def number_of(option: int | None, largest: int) -> int | None:
    """An elective option as a plain number, None where it is absent.

    RFC 7252 5.4.3: an option longer than it may be counts as one that is not recognized.
    """
    return None if option is None or option > largest else int(option)


def check_options(request: Message) -> None:
    """RFC 7252 5.4.1: a critical option that is not understood; raises PeerError("option_unknown")."""
    for number in request.opt._options:
        if number % 2 and number not in _UNDERSTOOD:
            raise PeerError("option_unknown", f"critical option {int(number)}", "leave it out")


def dotted(code: Code) -> str:
    """A code as people write it: "2.05"."""
    return f"{code >> 5}.{code & 0x1F:02}"
