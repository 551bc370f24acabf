"""One instance of a Firmware Update object of a simulated device: its state machine, pulls and pushes.

LwM2M Core 1.1.1 appendix E.6 (object 5, figure E.6-1), 1.2 (Cancel, Update Result 10 and 11). State and
result are kept in the tree and nowhere else. Installing is a matter of the whole device: `firmware.py`.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Protocol

from ..lwm2m.firmware import RESULT, STATE, DeliveryMethod, DeviceState, UpdateResult
from ..lwm2m.paths import Path
from ..lwm2m.values import Value
from .download import Download, Ended, Place, parse_uri
from .firmware_objects import PACKAGE_NAME, PACKAGE_VERSION
from .firmware_options import RESULTS, FirmwareOptions, Outcome
from .messages import Block, Code, Message
from .objects import RefusedError
from .package import Intake
from .statistics import Statistics

_RESETS: Final = frozenset({b"", b"\0"})  # a Package that is none: E.6, resource 0
# What a device answers to the block that brought it to a result, as Zephyr does; 5.00 to the others.
_ANSWERS: Final[Mapping[UpdateResult, Code]] = {
    UpdateResult.NO_STORAGE: Code.REQUEST_ENTITY_TOO_LARGE,
    UpdateResult.UNSUPPORTED_PACKAGE: Code.UNSUPPORTED_CONTENT_FORMAT,
}
# These may come true once.
_PASSING: Final = frozenset({Outcome.FLAKY, Outcome.STALL})


class Turn(StrEnum):
    BEGIN = "begin"  # the first byte of a package, or its URI
    COMPLETE = "complete"
    FAIL = "fail"
    UPDATE = "update"  # it is installed
    DEFER = "defer"  # it is installed later
    KEEP = "keep"  # the installation failed; the package is still there
    RESET = "reset"
    CANCEL = "cancel"
    BOOT = "boot"


_S = DeviceState
TURNS: Final[Mapping[tuple[DeviceState, Turn], DeviceState]] = {
    (_S.IDLE, Turn.BEGIN): _S.DOWNLOADING,
    (_S.IDLE, Turn.FAIL): _S.IDLE,  # a URI that cannot be, a package too large
    (_S.IDLE, Turn.RESET): _S.IDLE,
    (_S.DOWNLOADING, Turn.COMPLETE): _S.DOWNLOADED,
    (_S.DOWNLOADING, Turn.FAIL): _S.IDLE,
    (_S.DOWNLOADING, Turn.RESET): _S.IDLE,
    (_S.DOWNLOADING, Turn.CANCEL): _S.IDLE,
    (_S.DOWNLOADED, Turn.UPDATE): _S.UPDATING,
    (_S.DOWNLOADED, Turn.DEFER): _S.DOWNLOADED,
    (_S.DOWNLOADED, Turn.RESET): _S.IDLE,
    (_S.DOWNLOADED, Turn.CANCEL): _S.IDLE,
    (_S.UPDATING, Turn.FAIL): _S.IDLE,
    (_S.UPDATING, Turn.KEEP): _S.DOWNLOADED,
    **{(state, Turn.BOOT): _S.IDLE for state in DeviceState},
}


class Owner(Protocol):
    """The device's firmware, of which this is a part."""

    options: FirmwareOptions
    block_size: int  # of the device's messages
    outcome: Outcome
    statistics: Statistics

    def get(self, path: Path) -> Value | None:
        """The value of a resource."""

    def put(self, instance: Path, values: Mapping[int, Value], now: float) -> None:
        """Set resources of an instance, and tell who observes them."""

    def speaks(self, place: Place) -> bool:
        """Whether packages can be fetched by this protocol."""

    def fetch(self, place: Place, intake: Intake, ended: Ended, now: float) -> Download | None:
        """Begin to fetch a package; None where the device has no credential for that."""

    def downloaded(self, intake: Intake) -> None:
        """A package is complete."""

    def install(self, leader: "Component", now: float) -> None:
        """Begin to install a component, and its `batch` with it."""

    def installed(self, leader: "Component", now: float) -> None:
        """The installation of a component, and of its `batch`, is over."""


class Component:
    """One instance. `due` is when something happens by itself: the installation, its end, a push given up."""

    __slots__ = ("_download", "_firmware", "_intake", "_pushed", "_tries", "batch", "due", "instance")

    def __init__(self, firmware: Owner, instance: Path) -> None:
        self._firmware = firmware
        self.instance = instance
        self.due = math.inf
        self.batch: tuple[Component, ...] = ()  # what it installs with itself
        self._intake: Intake | None = None
        self._download: Download | None = None
        self._pushed = False  # the package is written, not fetched
        self._tries = 0

    @property
    def state(self) -> DeviceState:
        state = self._firmware.get(self.instance.child(STATE))
        assert isinstance(state, int)
        return DeviceState(state)

    @property
    def deadline(self) -> float:
        return self.due if self._download is None else min(self.due, self._download.deadline)

    @property
    def version(self) -> str:
        """Of the package that is here."""
        return "" if self._intake is None else self._intake.version

    def handle_timer(self, now: float) -> None:
        if self._download is not None:
            self._download.handle_timer(now)
        if now < self.due:
            return
        self.due = math.inf
        match self.state:
            case DeviceState.DOWNLOADING:
                self.fail(UpdateResult.CONNECTION_LOST, now)  # the pushing server has gone away
            case DeviceState.DOWNLOADED:
                self._firmware.install(self, now)  # what was deferred
            case DeviceState.UPDATING:
                self._firmware.installed(self, now)

    def require(self, *states: DeviceState) -> None:
        """Raise RefusedError 4.05 unless in one of these states."""
        if self.state not in states:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, f"not while {self.state.name.lower()}")

    def require_reset(self) -> None:
        """Raise RefusedError 4.05 where what lies here cannot be thrown away."""
        self.require(DeviceState.IDLE, DeviceState.DOWNLOADING, DeviceState.DOWNLOADED)

    def turn(self, turn: Turn, result: UpdateResult, now: float) -> None:
        """Go to the next state, and tell."""
        state = TURNS[self.state, turn]
        values: dict[int, Value] = {RESULT: int(result), STATE: int(state)}
        here = state in (DeviceState.DOWNLOADED, DeviceState.UPDATING)
        if state is not DeviceState.DOWNLOADING:
            values[PACKAGE_NAME] = self._intake.name if self._intake and here else ""
            values[PACKAGE_VERSION] = self.version if here else ""
        self._firmware.put(self.instance, values, now)

    def end(self, turn: Turn, result: UpdateResult, now: float) -> None:
        """Go to a state without a package."""
        self.abort()
        self._intake = None
        self.turn(turn, result, now)

    def fail(self, result: UpdateResult, now: float) -> None:
        self._firmware.statistics.firmware_failed += 1
        self.end(Turn.FAIL, result, now)

    def failed(self, now: float) -> None:
        """The installation failed."""
        if self._firmware.options.keeps_package:
            self._firmware.statistics.firmware_failed += 1
            self.batch = ()
            self.turn(Turn.KEEP, UpdateResult.UPDATE_FAILED, now)
        else:
            self.fail(UpdateResult.UPDATE_FAILED, now)

    def abort(self) -> None:
        """Stop what is under way, as a loss of power does."""
        if self._download is not None:
            self._download.abort()
            self._download = None
        self._pushed = False
        self.batch = ()
        self.due = math.inf

    # Pull

    def fetch(self, uri: str, now: float) -> None:
        """The server wrote the Package URI."""
        if not uri:
            self.end(Turn.RESET, UpdateResult.INITIAL, now)
            return
        firmware = self._firmware
        try:
            place = parse_uri(uri)
        except KeyError:
            self.fail(UpdateResult.UNSUPPORTED_PROTOCOL, now)
            return
        except ValueError:
            self.fail(UpdateResult.INVALID_URI, now)
            return
        if firmware.outcome in (Outcome.INVALID_URI, Outcome.UNSUPPORTED_PROTOCOL):
            self.fail(RESULTS[firmware.outcome], now)
        elif not firmware.speaks(place):
            self.fail(UpdateResult.UNSUPPORTED_PROTOCOL, now)
        else:
            intake = self._begin(now)
            self._download = firmware.fetch(place, intake, self._ended(intake), now)
            if self._download is None:
                self.fail(UpdateResult.UNSUPPORTED_PROTOCOL, now)

    def _begin(self, now: float) -> Intake:
        firmware = self._firmware
        firmware.statistics.firmware_begun += 1
        again = firmware.outcome in _PASSING and self._tries
        self._tries += 1
        outcome = Outcome.SUCCESS if again else firmware.outcome
        self._intake = Intake(firmware.options.max_size, outcome)
        self.turn(Turn.BEGIN, UpdateResult.INITIAL, now)
        return self._intake

    def _ended(self, intake: Intake) -> Ended:
        def ended(result: UpdateResult | None, now: float) -> None:
            if self._intake is not intake or self.state is not DeviceState.DOWNLOADING:
                return  # it was given up meanwhile
            self._download = None
            if intake.stalled:
                return
            if result is None:
                self._complete(intake, now)
            else:
                self.fail(result, now)

        return ended

    def _complete(self, intake: Intake, now: float) -> None:
        self._firmware.downloaded(intake)
        self.due = math.inf
        self.turn(Turn.COMPLETE, UpdateResult.INITIAL, now)

    # Push

    def write(self, data: bytes, now: float) -> None:
        """The server wrote the Package in one piece; raises RefusedError."""
        if data in _RESETS:
            self.end(Turn.RESET, UpdateResult.INITIAL, now)
            return
        intake = self._begin_push(len(data), now)
        intake.take(data)
        self._after(intake, now, more=False)

    def write_block(self, block: Block, data: bytes, size: int | None, now: float) -> Message:
        """The server wrote a block of the Package; raises RefusedError."""
        if block.exponent > 6 or (block.more and len(data) != block.size):
            raise RefusedError(Code.BAD_REQUEST, "a block whose size is not what it says")
        offset = block.number * block.size
        if not offset and not block.more:
            self.require_package(data)
            self.write(data, now)
            return Message(Code.CHANGED, block1=block)
        if not offset:
            smaller = self._too_large(block)
            if smaller is not None:
                return smaller
            intake = self._begin_push(size, now)
        else:
            intake = self._going_on(offset + len(data))
        if offset + len(data) != intake.received:  # else it came again
            if offset != intake.received:
                raise RefusedError(Code.REQUEST_ENTITY_INCOMPLETE, "a block out of order")
            intake.take(data)
            self._firmware.statistics.firmware_bytes += len(data)
            self._after(intake, now, block.more)
        if not block.more:
            return Message(Code.CHANGED, block1=block)
        self.due = now + self._firmware.options.push_idle_s
        exponent = min(block.exponent, Block.exponent_for(self._firmware.block_size))
        return Message(Code.CONTINUE, block1=Block(block.number, True, exponent))

    def require_package(self, data: bytes) -> None:
        """Raise RefusedError 4.05 where the Package cannot be written now."""
        if data in _RESETS:
            self.require_reset()
            return
        if self._firmware.options.method is DeliveryMethod.PULL:
            raise RefusedError(Code.METHOD_NOT_ALLOWED, "packages are fetched, not written")
        if not self._pushed or self.state is not DeviceState.DOWNLOADING:
            self.require(DeviceState.IDLE)

    def _begin_push(self, size: int | None, now: float) -> Intake:
        """The first block, which may come again: the package then begins anew."""
        self.require_package(b"package")
        intake = self._intake
        if intake is None or self.state is DeviceState.IDLE:
            intake = self._begin(now)
        intake.restart()
        intake.size = None
        self._pushed = True
        if size is not None:
            intake.expect(size)
            self._refuse(intake, now)
        return intake

    def _going_on(self, end: int) -> Intake:
        """The package that a later block is of; its last block may come again when all is done."""
        intake = self._intake
        there = self.state is DeviceState.DOWNLOADING
        if intake is not None and self.state is DeviceState.DOWNLOADED:
            there = end == intake.received
        if intake is None or not self._pushed or not there:
            raise RefusedError(Code.REQUEST_ENTITY_INCOMPLETE, "a block without its predecessors")
        return intake

    def _too_large(self, block: Block) -> Message | None:
        wanted = Block.exponent_for(self._firmware.options.push_block_size)
        if block.exponent <= wanted:
            return None
        # RFC 7959 2.9.3: the size to try again with.
        return Message(Code.REQUEST_ENTITY_TOO_LARGE, block1=Block(0, block.more, wanted))

    def _after(self, intake: Intake, now: float, more: bool) -> None:
        """A piece was taken in: is it all, and is it good?"""
        self._refuse(intake, now)
        if more:
            return
        result = intake.complete()
        if result is not None:
            intake.failure = result
            self._refuse(intake, now)
        self._complete(intake, now)

    def _refuse(self, intake: Intake, now: float) -> None:
        result = intake.failure
        if result is not None:
            self.fail(result, now)
            raise RefusedError(_ANSWERS.get(result, Code.INTERNAL_SERVER_ERROR), result.name.lower())
