"""What Leshan tells of its server: `/security/server`, `/server/security` and `/server/endpoint`.

The certificate told is the box's root, not the server's own: that is made anew within weeks, and a device
that pins it would be locked out. A device that trusts the root goes on.
"""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from ...pki.public_key import public_point
from .. import provisioning
from ..answers import json_answer
from ..ports import PARTS
from ..routes import Place, page
from .answers import plain_errors
from .exchange import blamed

CURVE = "secp256r1"


def routes(base: str) -> list[Place]:
    """The routes below `base`, such as /leshan/api."""
    return [
        page(f"{base}/security/server", plain_errors(show_security)),
        page(f"{base}/server/security", plain_errors(show_security)),
        page(f"{base}/server/endpoint", plain_errors(list_endpoints)),
    ]


async def show_security(request: web.Request) -> web.Response:
    """What a device is to trust; 503 while the clock does not allow of a root."""
    with blamed():
        newest = provisioning.trusted_roots(request.app[PARTS].certificates)[0]
    point = public_point(newest)
    key = {"x": point.x.hex(), "y": point.y.hex(), "params": CURVE, "b64Der": _base64(point.der)}
    return json_answer({"certificate": {"pubkey": key, "b64Der": _base64(newest)}})


async def list_endpoints(request: web.Request) -> web.Response:
    """Where devices reach the box."""
    return json_answer(list(_endpoints(request.app[PARTS].coap_uris)))


def _endpoints(uris: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for uri in uris:
        parts = urlsplit(uri)
        yield {
            "uri": {"full": uri, "scheme": parts.scheme, "host": parts.hostname, "port": parts.port},
            "description": "CoAP over DTLS" if parts.scheme == "coaps" else "CoAP over UDP",
        }


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
