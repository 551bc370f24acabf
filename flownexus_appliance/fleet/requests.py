"""Asks a device things: Read, Write, Execute, Discover, Write-Attributes, Observe.

LwM2M Core 1.1.1 sections 6.3 and 6.4; Transport 1.1.1 section 6.4.4. One request is under way to a
device at a time: Zephyr breaks off a block transfer for any other request. Formats are named
explicitly and the reply is decoded by its own.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakValueDictionary

from ..errors import PeerError, UsageError, clean
from ..lwm2m import codecs
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.core import Core, Device, Moment
from ..lwm2m.links import Link, parse_links
from ..lwm2m.observation import TOKEN_BYTES, Observation
from ..lwm2m.paths import Path
from ..lwm2m.registration import Registration
from ..lwm2m.values import Record, TypeLookup
from .ports import DeviceSilent, Downlink, DownlinkReply, Method, Wire

# Most wanted first: compact, typed and able to carry several values.
_PREFERENCE: Final = (
    ContentFormat.SENML_CBOR,
    ContentFormat.SENML_JSON,
    ContentFormat.TLV,
    ContentFormat.OLD_TLV,
    ContentFormat.JSON,
    ContentFormat.OLD_JSON,
)
_NOT_ACCEPTABLE: Final = "4.06"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a device answered: the CoAP code, its values, its own words on an error."""

    code: str
    records: tuple[Record, ...] = ()
    links: tuple[Link, ...] = ()
    message: str = ""

    @property
    def success(self) -> bool:
        return self.code.startswith("2.")


# Makes a new observation known; done when it is on disk.
Prepare = Callable[[Observation], asyncio.Future[None]]


class DeviceRequests:
    """Requests to registered devices; raises DeviceSilent, UsageError, PeerError."""

    def __init__(self, core: Core, clock: Callable[[], Moment]) -> None:
        self._core = core
        self._clock = clock
        self._wire: Wire | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def attach(self, wire: Wire) -> None:
        self._wire = wire

    async def read(self, endpoint: str, path: Path, types: TypeLookup) -> Answered:
        registration = self._registration(endpoint)
        wanted = preferred_format(registration)
        reply = await self._request(registration, Downlink(Method.GET, path, accept=wanted))
        if reply.code == _NOT_ACCEPTABLE:
            reply = await self._request(registration, Downlink(Method.GET, path))
        return self._values(reply, path, types)

    async def observe(
        self, endpoint: str, path: Path, types: TypeLookup, prepare: Prepare
    ) -> tuple[Answered, int | None]:
        """Begin to observe a path.

        `prepare` makes the observation known and its future is done when it is on disk; only then
        is the device asked, so that no notification ever comes in unknown. Returns the answer, and
        its Observe option, None where the device did not take the observation.
        """
        registration = self._registration(endpoint)
        observation = Observation(
            token=secrets.token_bytes(TOKEN_BYTES),
            endpoint=endpoint,
            paths=(path,),
            content_format=preferred_format(registration),
            created_ms=self._clock().wall_ms,
        )
        await asyncio.shield(prepare(observation))
        wanted = Downlink(
            Method.GET, path, accept=observation.content_format, observe=0, token=observation.token
        )
        reply = await self._request(registration, wanted)
        if reply.code == _NOT_ACCEPTABLE:
            reply = await self._request(registration, replace(wanted, accept=None))
        return self._values(reply, path, types), reply.observe if reply.success else None

    async def discover(self, endpoint: str, path: Path) -> Answered:
        reply = await self._request(
            self._registration(endpoint), Downlink(Method.GET, path, accept=ContentFormat.LINK)
        )
        if not reply.success:
            return _bare(reply)
        return Answered(reply.code, links=parse_links(reply.payload))

    async def write(self, endpoint: str, path: Path, records: Sequence[Record]) -> Answered:
        """Replace what is at the path (PUT)."""
        registration = self._registration(endpoint)
        content_format = preferred_format(registration)
        payload = codecs.encode(content_format, records, base=path)
        reply = await self._request(
            registration,
            Downlink(Method.PUT, path, payload=payload, content_format=content_format),
        )
        return _bare(reply)

    async def write_attributes(self, endpoint: str, path: Path, query: Sequence[str]) -> Answered:
        reply = await self._request(
            self._registration(endpoint), Downlink(Method.PUT, path, query=tuple(query))
        )
        return _bare(reply)

    async def execute(self, endpoint: str, path: Path, arguments: str = "") -> Answered:
        reply = await self._request(
            self._registration(endpoint),
            Downlink(
                Method.POST,
                path,
                payload=arguments.encode(),
                content_format=ContentFormat.TEXT if arguments else None,
            ),
        )
        return _bare(reply)

    def _registration(self, endpoint: str) -> Registration:
        device: Device | None = self._core.device(endpoint)
        if device is None:
            raise UsageError(
                "endpoint_unknown", f"no endpoint {clean(endpoint)}", "check its name in the list"
            )
        if device.registration is None:
            raise UsageError(
                "endpoint_offline",
                f"{clean(endpoint)} is not registered",
                "wait until the device registers again",
            )
        return device.registration

    async def _request(self, registration: Registration, downlink: Downlink) -> DownlinkReply:
        assert self._wire is not None, "no wire attached"
        lock = self._locks.get(registration.endpoint)
        if lock is None:
            lock = self._locks[registration.endpoint] = asyncio.Lock()
        async with lock:
            # The device may have moved while this request waited for its turn.
            now = self._registration(registration.endpoint)
            if now.id != registration.id:
                raise DeviceSilent(
                    "device_unanswered",
                    f"{clean(registration.endpoint)} registered anew in between",
                    "try again",
                )
            return await self._wire.request(now.peer, replace(downlink, root_path=now.root_path))

    def _values(self, reply: DownlinkReply, path: Path, types: TypeLookup) -> Answered:
        if not reply.success:
            return _bare(reply)
        if reply.content_format is None:
            raise PeerError(
                "content_format_unsupported", "the answer names no Content-Format", "ask the vendor"
            )
        records = codecs.decode(
            reply.content_format,
            reply.payload,
            base=path,
            types=types,
            now_ms=self._clock().wall_ms,
        )
        return Answered(reply.code, records)


def preferred_format(registration: Registration) -> int:
    """What to ask the client for: of what it lists the best, else what its version makes mandatory.

    LwM2M Core 1.1.1 7.4: TLV in 1.0; SenML since 1.1, and CBOR is what the recorded clients speak.
    """
    for wanted in _PREFERENCE:
        if wanted in registration.content_formats:
            return int(wanted)
    return int(ContentFormat.TLV if registration.lwm2m_version == "1.0" else ContentFormat.SENML_CBOR)


def _bare(reply: DownlinkReply) -> Answered:
    """An answer without values: its code, and what the device says of an error."""
    words = "" if reply.success else clean(reply.payload.decode("utf-8", "replace"))
    return Answered(reply.code, message=words)
