"""Leshan's security store over the box's credentials: `/security/clients`.

An endpoint has one entry there, and a list of credentials here. A PUT brings a pre-shared key in the place
of those that were there, a DELETE takes all away. Keys are taken and never shown. Leshan's bootstrap server
has a store of its own; here one list serves both, and what came by the bootstrap server's address is told
apart by its label, so that neither side takes the other's key away.
"""

from typing import Final, TypeVar

import msgspec
from aiohttp import web

from ...access.roles import Role
from ...db.credentials import Credential, ProofKind, identity_text
from ...errors import UsageError, clean
from .. import provisioning
from ..answers import json_answer
from ..ports import PARTS, Parts
from ..routes import Place, page
from .answers import plain_errors
from .exchange import blamed, body, done
from .sides import Side

INVALID: Final = "Invalid request body: "
# The labels of what is brought by one side or the other.
SERVER_LABEL: Final = "Leshan's API"
BOOTSTRAP_LABEL: Final = "Leshan's bootstrap API"
Shape = TypeVar("Shape")


class _Psk(msgspec.Struct):
    identity: str
    key: str


class _Tls(msgspec.Struct):
    mode: str
    details: msgspec.Raw = msgspec.Raw(b"null")


class _SecurityInfo(msgspec.Struct):
    endpoint: str
    tls: _Tls | None = None
    oscore: msgspec.Raw | None = None


def routes(base: str, side: Side) -> list[Place]:
    """The routes below `base`, such as /leshan/api."""
    store = SecurityStore(side)
    clients = f"{base}/security/clients"
    return [
        page(clients, plain_errors(store.show), Role.OPERATOR),
        page(f"{clients}/", plain_errors(store.show), Role.OPERATOR),
        Place("PUT", clients, plain_errors(store.put), Role.OPERATOR),
        Place("PUT", f"{clients}/", plain_errors(store.put), Role.OPERATOR),
        Place("DELETE", f"{clients}/{{endpoint}}", plain_errors(store.remove), Role.OPERATOR),
    ]


class SecurityStore:
    """The handlers of one side."""

    def __init__(self, side: Side) -> None:
        self._bootstrap = side is Side.BOOTSTRAP

    async def show(self, request: web.Request) -> web.Response:
        """GET security/clients: an entry for each endpoint that has a credential, without keys."""
        chosen: dict[str, Credential] = {}
        for credential in request.app[PARTS].credentials.all():
            before = chosen.get(credential.endpoint)
            if before is None or self._weight(credential) > self._weight(before):
                chosen[credential.endpoint] = credential
        return json_answer([_entry(chosen[endpoint]) for endpoint in sorted(chosen)])

    async def put(self, request: web.Request) -> web.Response:
        """PUT security/clients {"endpoint", "tls": {"mode": "psk", "details": {"identity", "key"}}}"""
        text = await body(request)
        with blamed(INVALID):
            await self._take(request.app[PARTS], _decode(text, _SecurityInfo))
        return done()

    async def remove(self, request: web.Request) -> web.Response:
        """DELETE security/clients/{endpoint}: its sessions and what rests on them end at once."""
        parts = request.app[PARTS]
        endpoint = request.match_info["endpoint"]
        if self._bootstrap:
            removed = await self._remove_keys(parts, endpoint)
        else:
            removed = await parts.credentials.remove_endpoint(endpoint)
        return done() if removed else json_answer({"message": "not_found"})

    async def _take(self, parts: Parts, info: _SecurityInfo) -> None:
        if info.tls is None:
            what = "there is no tls" if info.oscore is None else "OSCORE is not offered"
            raise UsageError("body_invalid", what, "give tls with the mode psk")
        match info.tls.mode:
            case "psk":
                psk = _decode(bytes(info.tls.details), _Psk)
                present = self._keys(parts, info.endpoint)
                label = BOOTSTRAP_LABEL if self._bootstrap else SERVER_LABEL
                await provisioning.put_psk(parts, info.endpoint, psk.identity, psk.key, present, label)
            case "x509":
                _check_certificate(parts, info.endpoint)
                await self._remove_keys(parts, info.endpoint)
            case mode:
                raise UsageError("body_invalid", f"mode {clean(mode, 40)} is not offered", "use psk, or x509")

    async def _remove_keys(self, parts: Parts, endpoint: str) -> int:
        """Take this side's keys away; how many there were."""
        going = self._keys(parts, endpoint)
        for one in going:
            await parts.credentials.remove(one.id)
        return len(going)

    def _keys(self, parts: Parts, endpoint: str) -> list[Credential]:
        """The pre-shared keys of an endpoint that are this side's to replace."""
        return [one for one in parts.credentials.of(endpoint) if one.kind is ProofKind.PSK and self._own(one)]

    def _own(self, credential: Credential) -> bool:
        return (credential.label == BOOTSTRAP_LABEL) == self._bootstrap

    def _weight(self, credential: Credential) -> int:
        """Which of several is shown: this side's before the other's, keys before certificates."""
        return 2 * self._own(credential) + (credential.kind is ProofKind.PSK)


def _check_certificate(parts: Parts, endpoint: str) -> None:
    """Leshan lets in whatever certificate names the endpoint, the box those alone that it has in its list.

    So mode x509 can be wanted only where there is one. Raises UsageError("body_invalid").
    """
    if not any(one.kind is ProofKind.CERTIFICATE for one in parts.credentials.of(endpoint)):
        raise UsageError(
            "body_invalid",
            f"{clean(endpoint)} has no certificate, and mode x509 brings none",
            "the box makes them: POST /api/v1/endpoints/{endpoint}/credentials with the kind certificate",
        )


def _entry(credential: Credential) -> dict[str, object]:
    tls: dict[str, object] = {"mode": "x509"}
    if credential.kind is ProofKind.PSK:
        tls = {"mode": "psk", "details": {"identity": identity_text(credential.proof.value)}}
    return {"endpoint": credential.endpoint, "tls": tls}


def _decode(text: str | bytes, shape: type[Shape]) -> Shape:
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError("body_invalid", clean(str(error)), "see docs/leshan-api.md") from None
