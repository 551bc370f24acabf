"""A simulated device as a CoAP server: every operation the LwM2M server may ask of it.

LwM2M Core 1.1.1 section 6.3 and 6.4, Transport 1.1.1 section 6.4.4 and 6.4.5 (their CoAP mapping).
Reads and changes the tree, the attributes and the observations; what an operation sets off in the
device (reboot, update of the registration) it leaves to the `Host`.
"""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from ..errors import ApplianceError, PeerError
from ..lwm2m.codecs import decode, decode_paths, encode
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.links import format_links
from ..lwm2m.paths import Path
from ..lwm2m.values import DataType, Record, TypeLookup
from .attributes import AttributeTable, parse_attributes
from .blocks import Blockwise, Slices
from .discovery import discover_links
from .messages import Code, Message
from .objects import ObjectTree, RefusedError
from .options import SUPPORTED_FORMATS, SimOptions
from .profile import LIFETIME, SERVER
from .reporting import Observation, Reporter

# LwM2M Core 1.1.1 6.3.5: digits, each with an optional quoted value.
_ARGUMENTS: Final = re.compile(r"([0-9](='[^']*')?(,[0-9](='[^']*')?)*)?")
MAX_ARGUMENTS: Final = 512
# These hold one value and no name (LwM2M Core 1.1.1 7.4.1 to 7.4.3).
_SINGLE: Final = frozenset({ContentFormat.TEXT, ContentFormat.OPAQUE, ContentFormat.CBOR})
SENML: Final = frozenset({ContentFormat.SENML_JSON, ContentFormat.SENML_CBOR})
# These name every value in full, so they can answer for several paths.
_COMPOSITE: Final = SENML | {ContentFormat.LWM2M_CBOR}
# These can say when a value was measured.
_TIMED: Final = SENML | {ContentFormat.JSON, ContentFormat.OLD_JSON}


class Host(Protocol):
    """What an operation sets off in the device."""

    def measure(self, path: Path, now: float) -> None:
        """Bring the sensors at and below `path` up to now."""

    def wall_ms(self, now: float) -> int:
        """The device's clock, milliseconds since 1970 UTC."""

    def executed(self, path: Path, arguments: str, now: float) -> None:
        """Execute a resource that exists; raises RefusedError when it cannot be done now."""

    def block(self, request: Message, path: Path, now: float) -> Message | None:
        """Take in a block of something that is not to be kept whole; None for anything else."""

    def require(self, records: Sequence[Record]) -> None:
        """Raise RefusedError for a Write that cannot be done now."""

    def written(self, paths: Iterable[Path], now: float) -> None:
        """The server wrote these resources."""

    def instances_changed(self, path: Path, now: float) -> None:
        """An instance was created or deleted."""


class Service:
    """Answers requests; `handle` never raises for what a peer may send."""

    __slots__ = ("_attributes", "_blockwise", "_formats", "_host", "_options", "_reporter", "_tree")

    def __init__(
        self,
        options: SimOptions,
        tree: ObjectTree,
        attributes: AttributeTable,
        reporter: Reporter,
        host: Host,
    ) -> None:
        self._options = options
        self._tree = tree
        self._attributes = attributes
        self._reporter = reporter
        self._host = host
        self._formats = SUPPORTED_FORMATS[options.lwm2m_version]
        self._blockwise = Blockwise(options.block_size, self._stream)

    def handle(self, request: Message, now: float) -> Message:
        """Answer one request."""
        return self._blockwise.handle(request, now, self._dispatch)

    def notification(self, observation: Observation, backlog: Sequence[Record], now: float) -> Message:
        """The next notification of an observation, its first block where it is large.

        It tells the values as last sampled: what made it due must be in it. `backlog` are earlier
        readings with their times; a format without times leaves them out. Raises RefusedError when
        the paths cannot be read any more.
        """
        records, response = self._representation(
            observation.paths, observation.accept, observation.composite, backlog, now
        )
        observation.sent(records, now)
        response.observe = observation.next_sequence()
        response.token = observation.token
        return self._blockwise.slices.first_block(observation.key, response, None, now)

    def _stream(self, request: Message, now: float) -> Message | None:
        return self._host.block(request, path_of(request), now)

    def _dispatch(self, request: Message, now: float) -> Message:
        composite = request.code in (Code.FETCH, Code.IPATCH)
        if composite and self._options.lwm2m_version == "1.0":
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "composite operations came with LwM2M 1.1")
        path = path_of(request)
        match request.code:
            case Code.GET if request.accept == ContentFormat.LINK:
                return self._discover(path)
            case Code.GET:
                return self._read(request, (path,), now)
            case Code.FETCH:
                return self._read(request, self._paths_of(request), now)
            case Code.PUT if request.content_format is None:
                return self._write_attributes(path, request.query)
            case Code.PUT:
                return self._write(request, path, replace=True, now=now)
            case Code.POST:
                return self._post(request, path, now)
            case Code.IPATCH:
                return self._write_composite(request, now)
            case Code.DELETE:
                return self._delete(path, now)
        raise RefusedError(Code.METHOD_NOT_ALLOWED, "no such operation")

    # Reading

    def _discover(self, path: Path) -> Message:
        links = discover_links(self._tree, self._attributes, path, self._options.lwm2m_version)
        return Message(Code.CONTENT, format_links(links), content_format=ContentFormat.LINK)

    def _read(self, request: Message, paths: tuple[Path, ...], now: float) -> Message:
        """Read and Observe, of one path (GET) or of several (FETCH)."""
        composite = request.code == Code.FETCH
        if not composite and not paths[0]:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "the root can be read by Read-Composite only")
        accept = request.accept
        if composite and accept is None:
            accept = request.content_format
        if request.observe == 1:
            self._reporter.cancel(request.token)
        for path in paths:
            self._host.measure(path, now)
        records, response = self._representation(paths, accept, composite, (), now)
        if request.observe == 0:
            own = self._own_attributes(request.query)
            observation = Observation(request.token, paths, accept, composite, own, Slices.key(request))
            observation.sent(records, now)
            observation.confirmed_at = now
            # RFC 7641 4.1: without room for one more, the reading goes out without the option.
            if self._reporter.add(observation):
                response.observe = observation.next_sequence()
        return response

    def _representation(
        self,
        paths: tuple[Path, ...],
        accept: int | None,
        composite: bool,
        backlog: Sequence[Record],
        now: float,
    ) -> tuple[tuple[Record, ...], Message]:
        records = self._tree.read_all(paths) if composite else self._tree.read(paths[0])
        single = not composite and len(records) == 1 and records[0].path == paths[0]
        chosen = self._choose(accept, single, composite)
        told: tuple[Record, ...] = records
        if backlog and chosen in _TIMED:
            told = (*backlog, *_rest(records, backlog, self._host.wall_ms(now)))
        base = Path.ROOT if composite else paths[0]
        try:
            payload = encode(chosen, told, base=base)
        except ApplianceError as error:
            raise RefusedError(Code.NOT_ACCEPTABLE, error.code) from error
        return records, Message(Code.CONTENT, payload, content_format=chosen)

    def _choose(self, accept: int | None, single: bool, composite: bool) -> ContentFormat:
        if accept is not None:
            if accept not in self._formats:
                raise RefusedError(Code.NOT_ACCEPTABLE, "a Content-Format this device does not write")
            chosen = ContentFormat(accept)
            if (chosen in _SINGLE and not single) or (composite and chosen not in _COMPOSITE):
                raise RefusedError(Code.NOT_ACCEPTABLE, "a Content-Format that cannot hold these values")
            return chosen
        preferred = self._options.preferred_format
        if preferred in _SINGLE and not single:
            return ContentFormat.TLV if self._options.lwm2m_version == "1.0" else ContentFormat.SENML_CBOR
        return preferred

    def _paths_of(self, request: Message) -> tuple[Path, ...]:
        chosen = readable_format(request, self._formats)
        if chosen not in SENML:
            raise RefusedError(Code.UNSUPPORTED_CONTENT_FORMAT, "composite paths come as SenML")
        try:
            paths = decode_paths(chosen, request.payload)
        except PeerError as error:
            raise RefusedError(Code.BAD_REQUEST, error.code) from error
        if not paths:
            raise RefusedError(Code.BAD_REQUEST, "no paths")
        return tuple(dict.fromkeys(paths))

    def _own_attributes(self, query: Sequence[str]) -> dict[str, float]:
        if not query or self._options.lwm2m_version != "1.2":
            return {}
        found = parse_attributes(query, "1.2")
        return {name: value for name, value in found.items() if value is not None}

    # Changing

    def _write_attributes(self, path: Path, query: Sequence[str]) -> Message:
        if not 1 <= len(path) <= (3 if self._options.lwm2m_version == "1.0" else 4):
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "attributes of an object, instance or resource")
        self._tree.require(path)
        changes = parse_attributes(query, self._options.lwm2m_version)
        self._attributes.write(path, changes, self._tree.type_of(path))
        self._reporter.attributes_changed()
        return Message(Code.CHANGED)

    def _write(self, request: Message, path: Path, replace: bool, now: float) -> Message:
        records = self._decode(request, path)
        if any(
            record.path[0::2] == (SERVER, LIFETIME) and isinstance(record.value, int) and record.value < 1
            for record in records
        ):
            raise RefusedError(Code.BAD_REQUEST, "a lifetime is at least a second")
        self._host.require(records)
        self._host.written(self._tree.write(path, records, replace), now)
        return Message(Code.CHANGED)

    def _write_composite(self, request: Message, now: float) -> Message:
        if readable_format(request, self._formats) not in _COMPOSITE:
            raise RefusedError(Code.UNSUPPORTED_CONTENT_FORMAT, "composite values come as SenML")
        if path_of(request):
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "Write-Composite is of the root")
        records = self._decode(request, Path.ROOT)
        self._host.require(records)
        self._host.written(self._tree.write_all(records), now)
        return Message(Code.CHANGED)

    def _post(self, request: Message, path: Path, now: float) -> Message:
        """Create, Write (partial update) or Execute: the path and the resource tell."""
        if len(path) == 1:
            return self._create(request, path, now)
        if len(path) == 3 and (request.content_format is None or self._executable(path)):
            return self._execute(request, path, now)
        if len(path) < 2:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "no such operation on the root")
        return self._write(request, path, replace=False, now=now)

    def _executable(self, path: Path) -> bool:
        try:
            self._tree.require_executable(path)
        except RefusedError:
            return False
        return True

    def _execute(self, request: Message, path: Path, now: float) -> Message:
        self._tree.require_executable(path)
        if request.content_format not in (None, ContentFormat.TEXT):
            raise RefusedError(Code.UNSUPPORTED_CONTENT_FORMAT, "arguments are plain text")
        arguments = request.payload.decode("utf-8", "replace")
        if len(arguments) > MAX_ARGUMENTS or not _ARGUMENTS.fullmatch(arguments):
            raise RefusedError(Code.BAD_REQUEST, "not a list of arguments")
        self._host.executed(path, arguments, now)
        return Message(Code.CHANGED)

    def _create(self, request: Message, path: Path, now: float) -> Message:
        self._tree.require(path)
        # LwM2M Core 1.1.1 6.3.6: without an Instance ID the payload holds bare resources, and the
        # device chooses the id.
        bare = _is_bare(request)
        base = path.child(self._tree.free_instance(path[0])) if bare else path
        records = self._decode(request, base)
        named = {record.path[1] for record in records}
        if len(named) > 1:
            raise RefusedError(Code.BAD_REQUEST, "one instance at a time")
        instance_id = next(iter(named), None)
        created = Path.of(path[0], self._tree.create(path[0], instance_id, records))
        self._host.instances_changed(created, now)
        location = (str(created[0]), str(created[1])) if bare else ()
        return Message(Code.CREATED, location=location)

    def _delete(self, path: Path, now: float) -> Message:
        if len(path) == 4 and self._options.lwm2m_version != "1.2":
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "resource instances are deleted since 1.2")
        self._tree.delete(path)
        self._attributes.drop(path)
        self._host.instances_changed(path, now)
        return Message(Code.DELETED)

    def _decode(self, request: Message, base: Path) -> tuple[Record, ...]:
        return decode_payload(request, base, self._tree.type_of, self._formats)


def readable_format(request: Message, formats: Container[int]) -> ContentFormat:
    """The Content-Format of a payload; raises RefusedError 4.15."""
    if request.content_format is None or request.content_format not in formats:
        raise RefusedError(Code.UNSUPPORTED_CONTENT_FORMAT, "a Content-Format this device does not read")
    return ContentFormat(request.content_format)


def decode_payload(
    request: Message, base: Path, types: TypeLookup, formats: Container[int]
) -> tuple[Record, ...]:
    """The values of a request's payload, at and below `base`; raises RefusedError 4.00, 4.15."""
    chosen = readable_format(request, formats)
    if chosen is ContentFormat.OPAQUE and types(base) is DataType.OPAQUE:
        # The codecs read no more than a server would ever be sent; a firmware image is larger.
        return (Record(base, request.payload, DataType.OPAQUE),)
    try:
        return decode(chosen, request.payload, base=base, types=types, now_ms=0)
    except PeerError as error:
        raise RefusedError(Code.BAD_REQUEST, error.code) from error


def _is_bare(request: Message) -> bool:
    """Whether a Create holds resources without their instance, which TLV alone can write."""
    tlv = request.content_format in (ContentFormat.TLV, ContentFormat.OLD_TLV)
    # LwM2M Core 1.1.1 7.4.3: bits 7 and 6 of the type byte are 0 for an Object Instance.
    return tlv and bool(request.payload) and request.payload[0] >> 6 != 0


def _rest(records: Iterable[Record], backlog: Iterable[Record], time_ms: int) -> Iterable[Record]:
    """The values the backlog does not tell, stamped as the backlog's are."""
    told = {record.path for record in backlog}
    return (replace(record, time_ms=time_ms) for record in records if record.path not in told)


def path_of(request: Message) -> Path:
    """The LwM2M path of a request; whatever is none names nothing here (4.04)."""
    try:
        return Path.parse("/" + "/".join(request.path))
    except PeerError as error:
        raise RefusedError(Code.NOT_FOUND, "not a LwM2M path") from error
