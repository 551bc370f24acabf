"""The accounts of a simulated device: which servers it may speak to, where they are, and by what proof.

LwM2M Core 1.1.1 appendix E.1 (Security, object 0) and E.2 (Server, object 1), section 5.2.2 (accounts):
an instance of Security and, but for the Bootstrap-Server, the instance of Server with its Short Server
ID. What a Bootstrap-Server wrote is judged here, before it is lived by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ..coap.dtls.engine import Chain
from ..errors import clean
from ..lwm2m.bootstrap_instances import SecurityMode, SecurityResource, ServerResource
from ..lwm2m.paths import Path
from ..lwm2m.values import Value
from .credentials import Certificate, Credential, Psk, context, read_certificates, read_key
from .messages import Code
from .objects import ObjectTree, RefusedError, Stored

SECURITY: Final = 0
SERVER: Final = 1
HOLD_OFF: Final = 11  # Client Hold Off Time
DEFAULT_PORTS: Final[Mapping[str, int]] = {"coap": 5683, "coaps": 5684}
FACTORY_INSTANCE: Final = 0  # of Security: the account that a device is born with


@dataclass(frozen=True, slots=True)
class Account:
    """A server: where it is, what to prove oneself with (None: NoSec), and its instance of Server."""

    host: str
    port: int
    credential: Credential | None
    server: int = 0


def security_values(
    host: str, port: int, credential: Credential | None, hold_off_s: float
) -> dict[int, Stored]:
    """The resources of a Bootstrap-Server account, as they leave the factory."""
    values: dict[int, Stored] = {
        SecurityResource.URI: server_uri(host, port, credential is not None),
        SecurityResource.BOOTSTRAP_SERVER: True,
        SecurityResource.MODE: int(SecurityMode.NO_SEC),
        SecurityResource.IDENTITY: b"",
        SecurityResource.SERVER_PUBLIC_KEY: b"",
        SecurityResource.SECRET_KEY: b"",
        HOLD_OFF: int(hold_off_s),
    }
    if isinstance(credential, Psk):
        values[SecurityResource.MODE] = int(SecurityMode.PSK)
        values[SecurityResource.IDENTITY] = credential.identity
        values[SecurityResource.SECRET_KEY] = credential.key
    elif credential is not None:
        values[SecurityResource.MODE] = int(SecurityMode.X509)
        values[SecurityResource.IDENTITY] = b"".join(credential.chain.certificates)
        values[SecurityResource.SERVER_PUBLIC_KEY] = b"".join(credential.roots)
        values[SecurityResource.SECRET_KEY] = credential.chain.key
    return values


def server_uri(host: str, port: int, secure: bool) -> str:
    """`coaps://192.0.2.1:5684`; an IPv6 address stands in brackets."""
    return f"{'coaps' if secure else 'coap'}://{f'[{host}]' if ':' in host else host}:{port}"


def bootstrap_instance(tree: ObjectTree) -> int | None:
    """The instance of Security that is the Bootstrap-Server's, None without one."""
    for number in tree.instance_ids(SECURITY):
        if tree.get(Path((SECURITY, number, SecurityResource.BOOTSTRAP_SERVER))) is True:
            return number
    return None


def bootstrap_account(tree: ObjectTree) -> Account | None:
    """The Bootstrap-Server's account; raises RefusedError where it cannot be used."""
    number = bootstrap_instance(tree)
    return None if number is None else _account(tree, number, 0)


def server_account(tree: ObjectTree) -> Account | None:
    """The account of the LwM2M Server, the first where there are several, None without one.

    Raises RefusedError 4.06 for accounts that cannot be used: the answer to a Bootstrap-Finish.
    """
    servers: dict[Value, int] = {}
    for number in tree.instance_ids(SERVER):
        short_id = tree.get(Path((SERVER, number, ServerResource.SHORT_SERVER_ID)))
        if short_id is not None:
            servers.setdefault(short_id, number)
    for number in tree.instance_ids(SECURITY):
        at = Path((SECURITY, number))
        if tree.get(at.child(SecurityResource.BOOTSTRAP_SERVER)) is True:
            continue
        short_id = tree.get(at.child(SecurityResource.SHORT_SERVER_ID))
        if short_id in servers:
            return _account(tree, number, servers[short_id])
    return None


def _account(tree: ObjectTree, number: int, server: int) -> Account:
    at = Path((SECURITY, number))
    uri = tree.get(at.child(SecurityResource.URI))
    mode = tree.get(at.child(SecurityResource.MODE))
    host, port, secure = _place(uri if isinstance(uri, str) else "")
    if secure is (mode == SecurityMode.NO_SEC):
        raise _unusable(number, "its URI and its Security Mode contradict each other")
    try:
        credential = _credential(tree, at, mode)
        if credential is not None:
            context(credential, cid_bytes=0)
    except ValueError as error:
        raise _unusable(number, clean(str(error))) from None
    return Account(host, port, credential, server)


def _place(uri: str) -> tuple[str, int, bool]:
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0:
        raise RefusedError(Code.NOT_ACCEPTABLE, "a Server URI that is none")
    return host, port or DEFAULT_PORTS[parts.scheme], parts.scheme == "coaps"


def _credential(tree: ObjectTree, at: Path, mode: Value | None) -> Credential | None:
    def octets(resource: int) -> bytes:
        value = tree.get(at.child(resource))
        return value if isinstance(value, bytes) else b""

    match mode:
        case SecurityMode.NO_SEC:
            return None
        case SecurityMode.PSK:
            return Psk(octets(SecurityResource.IDENTITY), octets(SecurityResource.SECRET_KEY))
        case SecurityMode.X509:
            chain = Chain(
                read_certificates(octets(SecurityResource.IDENTITY)),
                read_key(octets(SecurityResource.SECRET_KEY)),
            )
            return Certificate(chain, read_certificates(octets(SecurityResource.SERVER_PUBLIC_KEY)))
    raise ValueError("a Security Mode this device does not have")


def _unusable(number: int, what: str) -> RefusedError:
    return RefusedError(Code.NOT_ACCEPTABLE, f"account /0/{number}: {what}")
