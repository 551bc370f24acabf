"""The Firmware Update instance of a device, as the device tells it: what is known of it, and how it is asked
(LwM2M Core 1.1.1 E.6; object 33629).

What was told before the device registered, or before it was told of a package, may hold no more: `known`
and `fresh` say whether it does.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final

from ...errors import clean
from ...lwm2m.core import Moment
from ...lwm2m.firmware import (
    ADVANCED_FIRMWARE_UPDATE,
    DELIVERY,
    PACKAGE,
    PACKAGE_URI,
    PROTOCOLS,
    RESULT,
    STATE,
    UPDATE,
    DeviceState,
    Told,
    UpdateResult,
    version_path,
)
from ...lwm2m.operations import Kind, Operation
from ...lwm2m.paths import Path
from ...lwm2m.values import DataType, Record
from ..requests import Answered

# What a device says of an earlier update it may say again of this one, at the latest so long after the offer.
SETTLE_S: Final = 30.0
_NOT_FOUND: Final = "4.04"


class Instance:
    """One instance of one device. `ask` asks the device; `observed` says whether it reports a path by
    itself."""

    def __init__(
        self,
        path: Path,
        ask: Callable[[Operation], Awaitable[Answered]],
        observed: Callable[[Path], bool],
        clock: Callable[[], Moment],
    ) -> None:
        self.path = path
        self.told = Told()
        # Whether it was read since it registered, and whether it told nothing else since; when that was, and
        # what it said in the place of its state, if it said none.
        self.known = False
        self.fresh = False
        self.read_at = clock().now
        self.unread = ""
        # Whether it was told of the package in this run, and when; the result it had before, and whether it
        # has said since that it acts on it.
        self.offered = False
        self.offered_at = self.read_at
        self._before: int | None = None
        self._begun = False
        self._ask = ask
        self._observed = observed
        self._clock = clock

    # What is heard

    def take(self, records: Iterable[Record]) -> bool:
        """It has told something by itself; whether that is news."""
        before = self.told
        self._take(records)
        if self.told == before:
            return False
        self.fresh = False
        return True

    def concerns_the_offer(self, result: int | None) -> bool:
        """Whether a failing result is of what was offered: one that lies there from before is not."""
        if result != self._before:
            return True
        # Some do not take back what they said of an earlier one.
        settled = self.known and self.read_at >= self.offered_at + SETTLE_S
        return self.told.state == DeviceState.IDLE and (self._begun or settled)

    # What it is asked; raises as `ask`

    async def read(self) -> bool:
        """Read how it stands; False where there is no such instance."""
        asked_at = self._clock().now
        answered = await self._ask(Operation(Kind.READ, (self.path,)))
        if answered.code == _NOT_FOUND:
            return False
        self.told = Told(version=self.told.version)
        if answered.success:
            self._take(answered.records)
        else:
            for resource in (STATE, RESULT, PROTOCOLS, DELIVERY):
                one = await self._ask(Operation(Kind.READ, (self.path.child(resource),)))
                self._take(one.records)
        self.unread = "no State" if answered.success else f"{answered.code} {answered.message}".strip()
        # Again, for its own words: the record of a version that was told long ago proves nothing.
        version = await self._ask(Operation(Kind.READ, (version_path(self.path),)))
        self._take(version.records)
        for resource in (STATE, RESULT):
            path = self.path.child(resource)
            if not self._observed(path):
                await self._ask(Operation(Kind.OBSERVE, (path,)))
        self.known = self.fresh = True
        # When it began: what changed while it was under way is told by the device.
        self.read_at = max(asked_at, self.read_at)
        return True

    def offer(self) -> None:
        """It is about to be told of a package."""
        self._before, self._begun = self.told.result, False

    def told_of_it(self, *, known: bool) -> None:
        """It was told of the package; `known`: it is left alone now until it tells something by itself."""
        self.offered, self.known = True, known
        self.offered_at = self.read_at = self._clock().now

    async def write_uri(self, uri: str) -> Answered:
        """Tell it where the package is."""
        record = Record(self.path.child(PACKAGE_URI), uri, DataType.STRING)
        return await self._ask(Operation(Kind.WRITE, (record.path,), (record,)))

    async def reset(self) -> None:
        """Have it forget what lies there (E.6, resource 1)."""
        answered = await self.write_uri("")
        if not answered.success:
            record = Record(self.path.child(PACKAGE), b"\0", DataType.OPAQUE)
            await self._ask(Operation(Kind.WRITE, (record.path,), (record,)))
        self.known = False

    async def execute(self) -> Answered:
        """Have it install what it has."""
        advanced = self.path[0] == ADVANCED_FIRMWARE_UPDATE
        arguments = f"0='<{self.path}>'" if advanced else ""
        self.read_at = self._clock().now
        self.fresh = False
        return await self._ask(Operation(Kind.EXECUTE, (self.path.child(UPDATE),), arguments=arguments))

    def _take(self, records: Iterable[Record]) -> None:
        told, version_at = self.told, version_path(self.path)
        protocols: tuple[int, ...] | None = None
        for record in records:
            if record.path == version_at:
                told = replace(told, version=clean(str(record.value)))
            elif record.path[:2] == self.path and isinstance(record.value, int):
                value = record.value
                match record.path[2]:
                    case resource if resource == STATE:
                        told = replace(told, state=value)
                        self._begun = self._begun or (self.offered and value != DeviceState.IDLE)
                    case resource if resource == RESULT:
                        told = replace(told, result=value)
                        if value == UpdateResult.INITIAL:
                            self._before = None  # what it says from now on is new
                    case resource if resource == PROTOCOLS:
                        protocols = (*(protocols or ()), value)
                    case resource if resource == DELIVERY:
                        told = replace(told, method=value)
        self.told = told if protocols is None else replace(told, protocols=protocols)
