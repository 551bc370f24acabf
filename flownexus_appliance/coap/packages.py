"""Serves firmware packages to devices, block by block: `GET /fw/<ticket>`.

RFC 7959 2.4 (Block2) and 4 (Size2), RFC 7252 5.10.6 and 5.10.8 (ETag, If-Match). Whose a ticket is, and what
it stands for, is asked of `Packages` for each block, so that what is cancelled is served no further. Nothing
is kept of a client: any block may be asked for at any time, in any size.
"""

from typing import Any, Final

from aiocoap import Code, Message
from aiocoap.optiontypes import BlockOption

from ..errors import PeerError
from ..fleet.ports import Package, PackageGone, Packages
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.firmware import PACKAGE_PATH
from .codes import check_options
from .peers import BLOCK_SIZE_EXPONENT

_RESERVED_EXPONENT: Final = 7


def ticket_of(request: Message) -> str | None:
    """The ticket in a request's path, None where the path is another."""
    path = request.opt.uri_path
    return path[1] if len(path) == 2 and path[0] == PACKAGE_PATH else None


def serve(packages: Packages, request: Message, ticket: str) -> Message:
    """The answer to a request for the package of a ticket; raises PeerError.

    A GET is safe and gives the same again, so who repeats it may be answered anew (RFC 7252 4.5).
    """
    options = request.opt
    if request.code is not Code.GET:
        raise PeerError("method_not_allowed", f"{request.code.name_printable} not allowed", "use GET")
    check_options(request)
    if options.accept not in (None, ContentFormat.OPAQUE):
        raise PeerError("not_acceptable", "a package is opaque (42)", "leave the Accept option out")
    try:
        package = packages.open(ticket, request.remote.sender)
        return _block(package, request)
    except PackageGone as error:
        # RFC 7252 5.9.3.4: not the device's fault, and over as soon as somebody adds the file again. A 4.04
        # would say that its address is wrong, which many take for final.
        return Message(code=Code.SERVICE_UNAVAILABLE, payload=error.message.encode())


def _block(package: Package, request: Message) -> Message:
    """The block of a package that is asked for; raises PeerError, PackageGone."""
    options, size, etag = request.opt, package.size, package.etag
    _check_conditions(options, etag)
    asked = options.block2
    number, exponent = 0, BLOCK_SIZE_EXPONENT
    if asked is not None:
        number, exponent = asked.block_number, asked.size_exponent
    if exponent == _RESERVED_EXPONENT:
        raise PeerError("block_invalid", "the block size is reserved", "see RFC 7959 2.2")
    start = number << exponent + 4
    if number and start >= size:
        raise PeerError("block_invalid", f"block {number} is behind the end", "see the Size2 option")
    # Only at the beginning of a transfer is the ETag of a request a question; later on, what is asked for is
    # what the client does not have.
    if number == 0 and etag in options.etags:
        return _tagged(Code.VALID, etag)
    # RFC 7959 2.4: the answer may have smaller blocks than the request, and the client goes on with those.
    exponent = request.remote.block_exponent(exponent)
    chunk = package.read(start, 16 << exponent)
    end = start + len(chunk)
    response = _tagged(Code.CONTENT, etag)
    response.payload = chunk
    response.opt.content_format = ContentFormat.OPAQUE
    if asked is not None or end < size:
        response.opt.block2 = BlockOption.BlockwiseTuple(start >> exponent + 4, end < size, exponent)
    if number == 0 or options.size2 is not None:
        response.opt.size2 = size
    package.fetched(end)
    return response


def _check_conditions(options: Any, etag: bytes) -> None:
    """RFC 7252 5.10.8: the package exists, and has one ETag; raises PeerError."""
    matches = options.if_match
    if options.if_none_match or (matches and b"" not in matches and etag not in matches):
        raise PeerError("precondition_failed", "the package is another one", "fetch it from the beginning")


def _tagged(code: Code, etag: bytes) -> Message:
    response = Message(code=code)
    response.opt.etag = etag
    return response
