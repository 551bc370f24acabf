"""Asks a device things: an operation becomes a request, its reply values, links or the device's words.

LwM2M Core 1.1.1 sections 6.3 and 6.4; Transport 1.1.1 section 6.4.4 (which method, path and format an
operation has). One request is under way to a device at a time: Zephyr breaks off a block transfer for any
other request. Formats are named explicitly and the reply is decoded by its own.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isinf
from typing import Final
from weakref import WeakValueDictionary

from ..errors import PeerError, UsageError, clean
from ..lwm2m import codecs
from ..lwm2m.attributes import attribute_query
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.core import Core, Device, Moment, unknown_endpoint
from ..lwm2m.links import Link, parse_links
from ..lwm2m.observation import TOKEN_BYTES, Observation
from ..lwm2m.operations import Kind, Operation
from ..lwm2m.paths import MAX_DEPTH, Path
from ..lwm2m.registration import Registration
from ..lwm2m.values import Record, TypeLookup
from .ports import Body, DeviceSilent, Downlink, DownlinkReply, Method, Wire

# Most wanted first: compact, typed and able to carry several values.
_PREFERENCE: Final = (
    ContentFormat.SENML_CBOR,
    ContentFormat.SENML_JSON,
    ContentFormat.TLV,
    ContentFormat.OLD_TLV,
    ContentFormat.JSON,
    ContentFormat.OLD_JSON,
)
_SENML: Final = (ContentFormat.SENML_CBOR, ContentFormat.SENML_JSON)
_NOT_ACCEPTABLE: Final = "4.06"
_METHODS: Final = {
    Kind.READ: Method.GET,
    Kind.WRITE: Method.PUT,
    Kind.WRITE_PARTIAL: Method.POST,
    Kind.WRITE_ATTRIBUTES: Method.PUT,
    Kind.DISCOVER: Method.GET,
    Kind.EXECUTE: Method.POST,
    Kind.CREATE: Method.POST,
    Kind.DELETE: Method.DELETE,
    Kind.READ_COMPOSITE: Method.FETCH,
    Kind.WRITE_COMPOSITE: Method.IPATCH,
    Kind.OBSERVE: Method.GET,
    Kind.OBSERVE_COMPOSITE: Method.FETCH,
}


@dataclass(frozen=True, slots=True)
class Answered:
    """What a device answered: the CoAP code, its values, its own words on an error.

    `code` is "" for what was done without asking it. `location` is the path of what a Create made.
    `observing` is False of an Observe that was answered as if it were a Read (RFC 7641 3.1).
    """

    code: str = ""
    records: tuple[Record, ...] = ()
    links: tuple[Link, ...] = ()
    message: str = ""
    location: str = ""
    observing: bool = True

    @property
    def success(self) -> bool:
        return (not self.code or self.code.startswith("2.")) and self.observing


# Makes a new observation known; done when it is on disk.
Prepare = Callable[[Observation], asyncio.Future[None]]


class DeviceRequests:
    """Requests to registered devices; raises DeviceSilent, UsageError, PeerError."""

    def __init__(self, core: Core, clock: Callable[[], Moment]) -> None:
        self._core = core
        self._clock = clock
        self._wire: Wire | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._under_way: dict[str, asyncio.Task[DownlinkReply]] = {}
        self._transfers: set[str] = set()

    def attach(self, wire: Wire) -> None:
        self._wire = wire

    async def ask(self, endpoint: str, operation: Operation, types: TypeLookup) -> Answered:
        """Any operation but those on observations."""
        registration = self._registration(endpoint)
        wanted = compose(operation, registration)
        reply = await self._request(registration, wanted)
        if _may_do_without_format(operation, reply):
            reply = await self._request(registration, replace(wanted, accept=None))
        return self._answered(reply, operation, registration, types)

    async def observe(
        self, endpoint: str, operation: Operation, types: TypeLookup, prepare: Prepare
    ) -> tuple[Answered, int | None]:
        """Begin to observe a path, or several as one (Observe-Composite).

        `prepare` makes the observation known and its future is done when it is on disk; only then
        is the device asked, so that no notification ever comes in unknown. Returns the answer, and
        its Observe option, None where the device did not take the observation.
        """
        registration = self._registration(endpoint)
        wanted = compose(operation, registration)
        observation = Observation(
            token=secrets.token_bytes(TOKEN_BYTES),
            endpoint=endpoint,
            paths=operation.paths,
            content_format=wanted.accept or 0,
            created_ms=self._clock().wall_ms,
            composite=operation.composite,
        )
        await asyncio.shield(prepare(observation))
        wanted = replace(wanted, observe=0, token=observation.token)
        reply = await self._request(registration, wanted)
        if _may_do_without_format(operation, reply):
            reply = await self._request(registration, replace(wanted, accept=None))
        answered = self._answered(reply, operation, registration, types)
        if reply.success and reply.observe is None:
            answered = replace(answered, observing=False, message="it answered, and does not report this")
        return answered, reply.observe if reply.success else None

    async def cancel(self, endpoint: str, observation: Observation, types: TypeLookup) -> Answered:
        """End an observation (LwM2M Core 1.1.1 6.4.6): the same request, told to end; brings a last value."""
        registration = self._registration(endpoint)
        kind = Kind.OBSERVE_COMPOSITE if observation.composite else Kind.OBSERVE
        operation = Operation(kind, observation.paths, content_format=observation.content_format)
        wanted = replace(compose(operation, registration), observe=1, token=observation.token)
        reply = await self._request(registration, wanted)
        if reply.code == _NOT_ACCEPTABLE and not observation.composite:
            reply = await self._request(registration, replace(wanted, accept=None))
        return self._answered(reply, operation, registration, types)

    async def push(self, endpoint: str, path: Path, body: Body, sent: Callable[[int], None]) -> Answered:
        """Write what is too large to hold, in blocks; see `Downlink.sent`. Raises PackageGone as well."""
        registration = self._registration(endpoint)
        wanted = Downlink(Method.PUT, path, content_format=ContentFormat.OPAQUE, body=body, sent=sent)
        self._transfers.add(endpoint)
        try:
            reply = await self._request(registration, wanted)
        finally:
            self._transfers.discard(endpoint)
        message = "" if reply.success else clean(reply.payload.decode("utf-8", "replace"))
        return Answered(reply.code, message=message)

    def transferring(self, endpoint: str) -> bool:
        """Whether a body is on its way to a device, which may take an hour: other requests would wait."""
        return endpoint in self._transfers

    def _registration(self, endpoint: str) -> Registration:
        device: Device | None = self._core.device(endpoint)
        if device is None:
            raise unknown_endpoint(endpoint)
        if device.registration is None:
            raise UsageError(
                "endpoint_offline",
                f"{clean(endpoint)} is not registered",
                "wait until the device registers again",
            )
        return device.registration

    async def _request(self, registration: Registration, downlink: Downlink) -> DownlinkReply:
        endpoint = registration.endpoint
        lock = self._locks.get(endpoint)
        if lock is None:
            lock = self._locks[endpoint] = asyncio.Lock()
        async with lock:
            # The device may have moved while this request waited for its turn.
            now = self._registration(endpoint)
            if now.id != registration.id:
                raise DeviceSilent(
                    "endpoint_moved", f"{clean(endpoint)} registered anew in between", "try again", sent=False
                )
            left_s = self._core.listens_for(endpoint, self._clock().now)
            if not left_s and now.queue_mode:
                raise DeviceSilent(
                    "endpoint_asleep", f"{clean(endpoint)} sleeps", "wait until it wakes", sent=False
                )
            # Each block of a body is heard, and has the device listen anew.
            if left_s and not isinf(left_s) and downlink.body is None:
                downlink = replace(downlink, timeout_s=min(downlink.timeout_s, left_s))
            return await self._send(now, replace(downlink, root_path=now.root_path))

    def break_off(self, endpoint: str) -> None:
        """The device registered anew: it will not answer what it was asked before.

        Sent again, the request would come to a device that knows nothing of the first: an Execute would
        happen twice. Who waits for the answer has DeviceSilent.
        """
        flight = self._under_way.get(endpoint)
        if flight is not None:
            flight.cancel()

    async def _send(self, registration: Registration, downlink: Downlink) -> DownlinkReply:
        assert self._wire is not None, "no wire attached"
        endpoint = registration.endpoint
        flight = asyncio.ensure_future(self._wire.request(registration.peer, downlink))
        self._under_way[endpoint] = flight
        try:
            await asyncio.wait({flight})
        finally:
            del self._under_way[endpoint]
            if not flight.done():
                flight.cancel()
                await asyncio.wait({flight})
        if flight.cancelled():
            raise DeviceSilent("endpoint_moved", f"{clean(endpoint)} registered anew in between", "try again")
        return flight.result()

    def _answered(
        self, reply: DownlinkReply, operation: Operation, registration: Registration, types: TypeLookup
    ) -> Answered:
        if not reply.success:
            return Answered(reply.code, message=clean(reply.payload.decode("utf-8", "replace")))
        if operation.kind is Kind.DISCOVER:
            return Answered(reply.code, links=parse_links(reply.payload))
        if operation.kind is Kind.CREATE:
            return Answered(reply.code, location=_location(reply.location, registration.root_path))
        if _METHODS[operation.kind] not in (Method.GET, Method.FETCH):
            return Answered(reply.code)
        if reply.content_format is None:
            raise PeerError(
                "content_format_unsupported", "the answer names no Content-Format", "ask the vendor"
            )
        records = codecs.decode(
            reply.content_format,
            reply.payload,
            base=Path.ROOT if operation.composite else operation.path,
            types=types,
            now_ms=self._clock().wall_ms,
        )
        return Answered(reply.code, records)


def compose(operation: Operation, registration: Registration) -> Downlink:
    """The request of an operation (LwM2M Transport 1.1.1 6.4.4 and 6.4.5).

    Raises UsageError as `codecs.encode`; a Cancel has the request of its observation.
    """
    kind, path = operation.kind, operation.path
    method = _METHODS[kind]
    match kind:
        case Kind.DISCOVER:
            return Downlink(method, path, accept=ContentFormat.LINK)
        case Kind.WRITE_ATTRIBUTES:
            return Downlink(method, path, query=attribute_query(operation.attributes))
        case Kind.DELETE:
            return Downlink(method, path)
        case Kind.EXECUTE:
            text = ContentFormat.TEXT if operation.arguments else None
            payload = operation.arguments.encode()
            return Downlink(method, path, payload=payload, content_format=text, once=True)
        case Kind.CREATE:
            return _compose_create(operation, registration)
    if operation.composite:
        return _compose_composite(operation, registration)
    chosen = operation.content_format
    if chosen is None:
        chosen = preferred_format(registration)
    if method is Method.GET:
        return Downlink(method, path, accept=chosen)
    payload = codecs.encode(chosen, operation.records, base=path)
    return Downlink(method, path, payload=payload, content_format=chosen)


def _compose_composite(operation: Operation, registration: Registration) -> Downlink:
    """Read-, Write- and Observe-Composite: their paths are in the payload."""
    method, chosen = _METHODS[operation.kind], operation.content_format
    if chosen is None:
        chosen = composite_format(registration)
    if operation.kind is Kind.WRITE_COMPOSITE:
        payload = codecs.encode(chosen, operation.records, base=Path.ROOT)
        return Downlink(method, Path.ROOT, payload=payload, content_format=chosen)
    payload = codecs.encode_paths(chosen, operation.paths)
    # Zephyr reads the list of paths in the format it is to answer in, whatever Content-Format says.
    return Downlink(method, Path.ROOT, payload=payload, content_format=chosen, accept=chosen)


def _compose_create(operation: Operation, registration: Registration) -> Downlink:
    """A Create is asked of the object; the instance's number, if it is to have one, is in the payload.

    SenML names resources: neither an instance without a number nor one without resources.
    """
    path, chosen = operation.path, operation.content_format
    numbered, bare = len(path) == 2, not operation.records
    if chosen is None:
        chosen = preferred_format(registration) if numbered and not bare else int(ContentFormat.TLV)
    target = Path(path[:1])
    if numbered and bare and chosen == ContentFormat.TLV:
        payload = codecs.encode_bare_instance(path[1])
    else:
        payload = codecs.encode(chosen, operation.records, base=target if numbered else target.child(0))
    return Downlink(Method.POST, target, payload=payload, content_format=chosen, once=True)


def preferred_format(registration: Registration) -> int:
    """What to ask the client for: of what it lists the best, else what its version makes mandatory.

    LwM2M Core 1.1.1 7.4: TLV in 1.0; SenML since 1.1, and CBOR is what the recorded clients speak.
    """
    for wanted in _PREFERENCE:
        if wanted in registration.content_formats:
            return int(wanted)
    return int(ContentFormat.TLV if registration.lwm2m_version == "1.0" else ContentFormat.SENML_CBOR)


def composite_format(registration: Registration) -> int:
    """Composite operations speak SenML (LwM2M Core 1.1.1 6.3.8): CBOR unless the client lists JSON alone."""
    for wanted in _SENML:
        if wanted in registration.content_formats:
            return int(wanted)
    return int(ContentFormat.SENML_CBOR)


def _may_do_without_format(operation: Operation, reply: DownlinkReply) -> bool:
    """Whether a device that cannot answer in our format may answer in its own."""
    plain_read = operation.kind in (Kind.READ, Kind.OBSERVE) and operation.content_format is None
    return plain_read and reply.code == _NOT_ACCEPTABLE


def _location(parts: tuple[str, ...], root_path: str) -> str:
    """The path that a Create's answer names, "" where it names none."""
    root = [part for part in root_path.split("/") if part]
    below = parts[len(root) :] if list(parts[: len(root)]) == root else parts
    try:
        return str(Path.parse("/".join(below))) if 0 < len(below) <= MAX_DEPTH else ""
    except PeerError:
        return ""
