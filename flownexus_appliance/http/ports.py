"""What the web side needs from the rest of the house, as types; and what its own parts share.

`Fleet` is met by `fleet/`, without either importing the other's classes for it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import web

from ..db.reads import Reader
from ..lwm2m.links import Link
from ..lwm2m.model import ModelSet
from ..lwm2m.paths import Path
from ..lwm2m.values import Record
from .static import Assets
from .stream import Hub


class OperationResult(Protocol):
    """How an operation on a device ended: `status` CONFIRMED or FAILED, `code` as in "2.05"."""

    @property
    def status(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def values(self) -> tuple[Record, ...]: ...
    @property
    def links(self) -> tuple[Link, ...]: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...


class Fleet(Protocol):
    """The devices as they are now, and the way to act on one."""

    def presence(self, endpoint: str) -> str:
        """online, sleeping or offline; offline for a name never heard of."""

    def heard_ms(self, endpoint: str) -> int | None:
        """When the device last sent anything, ms since 1970 UTC; None when not in this run."""

    def observed(self, endpoint: str) -> frozenset[Path]:
        """The paths the device reports by itself."""

    def counts(self) -> Mapping[str, int]:
        """How many devices are in each state of presence."""

    async def perform(
        self, endpoint: str, operation: str, path: Path, value: object | None, arguments: str | None
    ) -> OperationResult:
        """Do it now; raises UsageError when it cannot be tried (endpoint_unknown, value_invalid, ...)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What every handler may use.

    `coap_uris` are the addresses a device can be pointed at; `now_ms` is the wall clock, ms since 1970.
    """

    reader: Reader
    fleet: Fleet
    models: ModelSet
    hub: Hub
    assets: Assets
    coap_uris: tuple[str, ...]
    now_ms: Callable[[], int]


PARTS: Final = web.AppKey("parts", Parts)
