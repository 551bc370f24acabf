"""The firmware of one simulated device: its components, installing, rebooting, what becomes of an update.

LwM2M Core 1.1.1 appendix E.6 (object 5), and object 33629, whose instances are updated alone or together (its
Update takes `0='</33629/1>'`). The state machine of an instance is in `component.py`.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.firmware import (
    ADVANCED_FIRMWARE_UPDATE,
    COMPONENT_VERSION,
    DEFAULT_INSTANCE,
    DEVICE_VERSION,
    OBJECTS,
    PACKAGE,
    PACKAGE_URI,
    RESULT,
    STATE,
    UPDATE,
    DeviceState,
    UpdateResult,
)
from ..lwm2m.paths import Path
from ..lwm2m.values import ObjectLink, Record, Value
from .component import TURNS, Component, Turn
from .download import Download, Ended, Place
from .firmware_objects import LINKED, PACKAGE_NAME, PACKAGE_VERSION
from .firmware_options import Outcome
from .messages import Code, Message
from .objects import RefusedError
from .options import SimOptions
from .package import Intake
from .profile import Profile
from .statistics import Statistics

_SLOW: Final = 10
MAX_FETCHED: Final = 8  # complete downloads that a device remembers
APPLICATION: Final = 0  # of the instances of 33629 the one whose version is the device's
# The instances to update with the one that is executed; `0` alone: none.
_LIST: Final = re.compile(r"0(?:='((?:</33629/[0-9]{1,5}>(?:,(?=<))?)*)')?")
_LINK: Final = re.compile(r"</33629/([0-9]+)>")
_WRITES: Final = frozenset({Code.PUT, Code.POST})


class Host(Protocol):
    """The device that has the firmware."""

    @property
    def secure(self) -> bool:
        """Whether it speaks DTLS."""

    def told(self, paths: Iterable[Path], now: float) -> None:
        """Resources may have new values, and whoever observes them is to hear of it soon."""

    def fetch(self, place: Place, intake: Intake, ended: Ended, now: float) -> Download | None:
        """Begin to fetch a package; None where the device has no credential for that."""

    def restart(self, at: float) -> None:
        """Be gone without a word, and boot at a time (monotonic seconds)."""

    def vanish(self) -> None:
        """Be gone without a word, for good."""


class Firmware:
    """`fetched` are the last complete downloads: size in bytes and SHA-256."""

    __slots__ = (
        "_components",
        "_host",
        "_profile",
        "block_size",
        "fetched",
        "options",
        "outcome",
        "statistics",
    )

    def __init__(
        self,
        options: SimOptions,
        index: int,
        profile: Profile,
        host: Host,
        statistics: Statistics,
    ) -> None:
        self.options = options.firmware
        self.block_size = options.block_size
        self.outcome = options.firmware.outcome_of(index)
        self.statistics = statistics
        self.fetched: tuple[tuple[int, str], ...] = ()
        self._profile = profile
        self._host = host
        # Made when first spoken to: most devices of a large fleet are never updated.
        self._components: dict[Path, Component] | None = None

    @property
    def version(self) -> str:
        """What runs."""
        version = self.get(DEVICE_VERSION)
        return version if isinstance(version, str) else ""

    @property
    def deadline(self) -> float:
        """When `handle_timer` has work."""
        if self._components is None:
            return math.inf
        return min(component.deadline for component in self._components.values())

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for component in self._known():
            component.handle_timer(now)

    # What the server asks for; all of it raises RefusedError

    def require(self, records: Iterable[Record]) -> None:
        """Refuse a Write that cannot be now."""
        for record in records:
            if record.path[0] not in OBJECTS or len(record.path) != 3:
                continue
            self._profile.tree.require(record.path)
            component, resource = self._component(record.path.parent), record.path[2]
            if resource == PACKAGE and isinstance(record.value, bytes):
                component.require_package(record.value)
            elif resource == PACKAGE_URI and record.value:
                component.require(DeviceState.IDLE)
            elif resource == PACKAGE_URI:
                component.require_reset()

    def written(self, path: Path, now: float) -> None:
        """A resource of an instance has been written."""
        tree, component = self._profile.tree, self._component(path.parent)
        value = tree.get(path)
        if path[2] == PACKAGE and isinstance(value, bytes):
            tree.put(path, b"")  # write only, and too large to keep a thousand times
            component.write(value, now)
        elif path[2] == PACKAGE_URI and isinstance(value, str):
            component.fetch(value, now)

    def block(self, request: Message, path: Path, now: float) -> Message | None:
        """Take in a block of a Package; None for any other request."""
        here = len(path) == 3 and path[0] in OBJECTS and path[2] == PACKAGE
        if not here or request.code not in _WRITES or request.content_format != ContentFormat.OPAQUE:
            return None
        self._profile.tree.require(path)
        assert request.block1 is not None
        return self._component(path.parent).write_block(request.block1, request.payload, request.size1, now)

    def execute(self, path: Path, arguments: str, now: float) -> None:
        """Update, or Cancel."""
        component = self._component(path.parent)
        if path[2] != UPDATE:
            component.require(DeviceState.DOWNLOADING, DeviceState.DOWNLOADED)
            component.end(Turn.CANCEL, UpdateResult.CANCELLED, now)
            return
        component.require(DeviceState.DOWNLOADED)
        batch = self._batch(component, arguments)
        if self.outcome is Outcome.DEFERRED and component.due == math.inf:
            component.turn(Turn.DEFER, UpdateResult.DEFERRED, now)
            component.batch = batch
            component.due = now + self.options.defer_s
        else:
            component.batch = batch
            self.install(component, now)

    # What happens to the device

    def abort(self) -> None:
        """Stop all that is under way, as a loss of power does."""
        for component in self._known():
            component.abort()

    def booted(self) -> None:
        """After an ordinary reboot: only nRF Connect SDK remembers where it was."""
        for instance in tuple(self._components or ()):
            state = self.get(instance.child(STATE))
            if state == DeviceState.DOWNLOADED and self.options.persistent:
                continue
            if not self.options.persistent:
                self._settle(instance, UpdateResult.INITIAL)
            elif state == DeviceState.DOWNLOADING:
                self._settle(instance, UpdateResult.CONNECTION_LOST)
            elif state == DeviceState.UPDATING:
                self._settle(instance, UpdateResult.UPDATE_FAILED)

    # For the components

    def get(self, path: Path) -> Value | None:
        return self._profile.tree.get(path)

    def put(self, instance: Path, values: Mapping[int, Value], now: float) -> None:
        paths = [instance.child(resource) for resource in values]
        for path, value in zip(paths, values.values(), strict=True):
            self._profile.tree.put(path, value)
        if instance[0] == ADVANCED_FIRMWARE_UPDATE:
            self._link()
        self._host.told(paths, now)

    def speaks(self, place: Place) -> bool:
        return place.protocol in self.options.protocols(self._host.secure)

    def fetch(self, place: Place, intake: Intake, ended: Ended, now: float) -> Download | None:
        return self._host.fetch(place, intake, ended, now)

    def downloaded(self, intake: Intake) -> None:
        self.statistics.firmware_downloaded += 1
        self.fetched = (*self.fetched, (intake.received, intake.sha256))[-MAX_FETCHED:]

    def install(self, leader: Component, now: float) -> None:
        # While it was deferred another one may have been reset.
        leader.batch = tuple(c for c in leader.batch if c.state is DeviceState.DOWNLOADED)
        for component in (leader, *leader.batch):
            component.turn(Turn.UPDATE, UpdateResult.INITIAL, now)
        leader.due = now + self.options.update_s * (_SLOW if self.outcome is Outcome.SLOW else 1)

    def installed(self, leader: Component, now: float) -> None:
        components = (leader, *leader.batch)
        if self.outcome is Outcome.UPDATE_FAILED:
            for component in components:
                component.failed(now)
            return
        if self.outcome is Outcome.GONE:
            self._host.vanish()
            return
        versions = {component.instance: component.version for component in components}
        self._host.restart(now + self.options.boot_s)
        result = self.options.revert_result
        if self.outcome not in (Outcome.REVERT, Outcome.UNCONFIRMED):
            result = UpdateResult.SUCCESS
            self.statistics.firmware_installed += 1
        for instance, version in versions.items():
            self._settle(instance, result)
            if self.outcome is not Outcome.REVERT:
                self._run(instance, version)

    # Within

    def _known(self) -> tuple[Component, ...]:
        return () if self._components is None else tuple(self._components.values())

    def _component(self, instance: Path) -> Component:
        if self._components is None:
            self._components = {}
        if instance not in self._components:
            self._components[instance] = Component(self, instance)
        return self._components[instance]

    def _instances(self) -> list[Path]:
        return [Path((o, number)) for o in sorted(OBJECTS) for number in self._profile.tree.instance_ids(o)]

    def _settle(self, instance: Path, result: UpdateResult) -> None:
        """Idle, with a result, before anybody can ask."""
        before = self._component(instance).state
        values: dict[int, Value] = {RESULT: int(result), STATE: int(TURNS[before, Turn.BOOT])}
        values |= {PACKAGE_NAME: "", PACKAGE_VERSION: ""}
        for resource, value in values.items():
            self._profile.tree.put(instance.child(resource), value)

    def _run(self, instance: Path, version: str) -> None:
        """This version runs from now on."""
        tree, application = self._profile.tree, Path((ADVANCED_FIRMWARE_UPDATE, APPLICATION))
        if instance[0] == ADVANCED_FIRMWARE_UPDATE:
            tree.put(instance.child(COMPONENT_VERSION), version)
        if instance in (DEFAULT_INSTANCE, application):
            tree.put(DEVICE_VERSION, version)
            if ADVANCED_FIRMWARE_UPDATE in self.options.objects:
                tree.put(application.child(COMPONENT_VERSION), version)

    def _downloaded(self) -> list[Path]:
        """The instances of 33629 whose packages are here."""
        found = [at for at in self._instances() if at[0] == ADVANCED_FIRMWARE_UPDATE]
        return [at for at in found if self.get(at.child(STATE)) == DeviceState.DOWNLOADED]

    def _link(self) -> None:
        """Linked Instances: what is installed together unless the server says otherwise."""
        ready = self._downloaded()
        for instance in self._instances():
            if instance[0] == ADVANCED_FIRMWARE_UPDATE:
                others = [at for at in ready if at != instance] if instance in ready else []
                links: dict[int, Value] = {n: ObjectLink(*at) for n, at in enumerate(others)}
                self._profile.tree.put(instance.child(LINKED), links)

    def _batch(self, leader: Component, arguments: str) -> tuple[Component, ...]:
        """What is installed with a component; raises RefusedError 4.00, 4.05."""
        if leader.instance[0] != ADVANCED_FIRMWARE_UPDATE:
            return ()
        if not arguments:
            wanted = self._downloaded()
        else:
            listed = _LIST.fullmatch(arguments)
            if listed is None:
                raise RefusedError(Code.BAD_REQUEST, "not a list of instances")
            wanted = [Path((ADVANCED_FIRMWARE_UPDATE, int(n))) for n in _LINK.findall(listed[1] or "")]
        batch = []
        for instance in dict.fromkeys(wanted):
            if instance == leader.instance:
                continue
            self._profile.tree.require(instance)
            component = self._component(instance)
            component.require(DeviceState.DOWNLOADED)
            batch.append(component)
        return tuple(batch)
