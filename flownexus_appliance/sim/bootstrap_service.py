"""A simulated device towards its Bootstrap-Server: Discover, Read, Write, Delete, Finish.

LwM2M Core 1.1.1 section 6.1.7, Transport 1.1.1 section 6.4.2 (their CoAP mapping). Only here can
object 0 be seen and written; `device.py` asks here only while `bootstrap.py` says so.
"""

from collections.abc import Iterator
from typing import Final, Protocol

from ..errors import ApplianceError
from ..lwm2m.bootstrap_instances import SecurityResource, ServerResource
from ..lwm2m.codecs import encode
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.model import DEFAULT_VERSION
from ..lwm2m.paths import Path
from ..lwm2m.values import Value
from .accounts import SECURITY, SERVER, bootstrap_instance
from .blocks import Blockwise
from .messages import Code, Message
from .objects import ObjectTree, RefusedError
from .options import SUPPORTED_FORMATS, SimOptions
from .service import decode_payload, path_of

_ACCESS_CONTROL: Final = 2
_READABLE: Final = frozenset({SERVER, _ACCESS_CONTROL})
_FINISH: Final = ("bs",)


class Host(Protocol):
    """Who lives by what is written."""

    def finish(self, now: float) -> None:
        """Bootstrap-Finish; raises RefusedError 4.06."""


class BootstrapService:
    """Answers the requests of a Bootstrap-Server; `handle` never raises for what a peer may send."""

    __slots__ = ("_blockwise", "_formats", "_host", "_options", "_tree")

    def __init__(self, options: SimOptions, tree: ObjectTree, host: Host) -> None:
        self._options = options
        self._tree = tree
        self._host = host
        self._formats = SUPPORTED_FORMATS[options.lwm2m_version]
        self._blockwise = Blockwise(options.block_size)

    def handle(self, request: Message, now: float) -> Message:
        """Answer one request."""
        return self._blockwise.handle(request, now, self._dispatch)

    def _dispatch(self, request: Message, now: float) -> Message:
        if request.path == _FINISH and request.code == Code.POST:
            self._host.finish(now)
            return Message(Code.CHANGED)
        path = path_of(request)
        match request.code:
            case Code.GET if request.accept == ContentFormat.LINK:
                return self._discover(path)
            case Code.GET:
                return self._read(path, request.accept)
            case Code.PUT:
                records = decode_payload(request, path, self._tree.type_of, self._formats)
                self._tree.install(path, records)
                return Message(Code.CHANGED)
            case Code.DELETE:
                self._tree.uninstall(path, bootstrap_instance(self._tree))
                return Message(Code.DELETED)
        raise RefusedError(Code.METHOD_NOT_ALLOWED, "no such operation in a bootstrap")

    def _discover(self, path: Path) -> Message:
        """What objects and instances there are, and of which server (6.1.7.4)."""
        if len(path) > 1:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "discover the root or an object")
        links = tuple(self._links(path))
        if path and not links:
            raise RefusedError(Code.NOT_FOUND, "no such object")
        version = self._options.lwm2m_version
        # As clients of these versions write it: Zephyr without a link, Anjay and Leshan with the root's.
        leading = f"</>;lwm2m={version}" if version == "1.2" else f'lwm2m="{version}"'
        payload = ",".join((leading, *links)).encode()
        return Message(Code.CONTENT, payload, content_format=ContentFormat.LINK)

    def _links(self, path: Path) -> Iterator[str]:
        for definition, instances in self._tree.instances():
            here = Path((definition.object_id,))
            if not path.covers(here):
                continue
            version = "" if definition.version == DEFAULT_VERSION else f";ver={definition.version}"
            if version or not instances:
                yield f"<{here}>{version}"
            for number in instances:
                yield f"<{here.child(number)}>{self._server_of(here.child(number))}"

    def _server_of(self, at: Path) -> str:
        """Which server an account is of: its Short Server ID, and from 1.1 on its URI."""
        get = self._tree.get
        if at[0] == SERVER:
            return _attribute("ssid", get(at.child(ServerResource.SHORT_SERVER_ID)))
        if at[0] != SECURITY or get(at.child(SecurityResource.BOOTSTRAP_SERVER)) is True:
            return ""
        short_id = _attribute("ssid", get(at.child(SecurityResource.SHORT_SERVER_ID)))
        if self._options.lwm2m_version == "1.0":
            return short_id
        return short_id + _attribute("uri", get(at.child(SecurityResource.URI)))

    def _read(self, path: Path, accept: int | None) -> Message:
        """Bootstrap-Read: of Server and Access Control alone (6.1.7.2)."""
        if self._options.lwm2m_version == "1.0" or len(path) not in (1, 2) or path[0] not in _READABLE:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "read /1 and /2 and their instances")
        chosen = self._options.preferred_format if accept is None else accept
        if chosen not in self._formats:
            raise RefusedError(Code.NOT_ACCEPTABLE, "a Content-Format this device does not write")
        try:
            payload = encode(chosen, self._tree.read(path), base=path)
        except ApplianceError as error:
            raise RefusedError(Code.NOT_ACCEPTABLE, error.code) from error
        return Message(Code.CONTENT, payload, content_format=chosen)


def _attribute(name: str, value: Value | None) -> str:
    if isinstance(value, int):
        return f";{name}={value}"
    # What was written may be no URI at all; then it is not repeated.
    if isinstance(value, str) and value.isprintable() and not set(value) & set('"\\'):
        return f';{name}="{value}"'
    return ""
