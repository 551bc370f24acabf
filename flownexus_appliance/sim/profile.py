"""What one simulated device is made of: its objects, their first values, and its sensors.

Objects 1, 3, 4, 5, 6, 19, 3303 and 3304 of the OMA registry. Which device it is (its seed) decides
all readings; `measure` brings the tree up to a moment.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from ..lwm2m.firmware import (
    ADVANCED_FIRMWARE_UPDATE,
    COMPONENT_VERSION,
    DEVICE_VERSION,
    FIRMWARE_UPDATE,
    UPDATE,
)
from ..lwm2m.model import ObjectDefinition
from ..lwm2m.paths import Path
from ..lwm2m.registry import load_registry
from ..lwm2m.values import Value
from .firmware_objects import CANCEL, COMPONENTS, Instances, advanced_model, firmware_values
from .objects import ACCOUNT_OBJECTS, ObjectTree, Stored
from .options import SimOptions
from .signals import DAY_S, Battery, Curve, Track, noise, unit

VERSIONS: Final[Mapping[str, Mapping[int, str]]] = {
    "1.0": {1: "1.0", 3: "1.0", 4: "1.0", 5: "1.0", 6: "1.0", 19: "1.0", 3303: "1.0", 3304: "1.0"},
    "1.1": {1: "1.1", 3: "1.1", 4: "1.2", 5: "1.0", 6: "1.0", 19: "1.0", 3303: "1.1", 3304: "1.1"},
    "1.2": {1: "1.2", 3: "1.2", 4: "1.3", 5: "1.1", 6: "1.0", 19: "1.0", 3303: "1.1", 3304: "1.1"},
}
# Security and Access Control: only a device that is bootstrapped has them.
_BOOTSTRAP_VERSIONS: Final[Mapping[str, Mapping[int, str]]] = {
    "1.0": {0: "1.0", 2: "1.0"},
    "1.1": {0: "1.1", 2: "1.1"},
    "1.2": {0: "1.2", 2: "1.1"},
}
SOFTWARE_VERSION: Final = "1.0.0"
SHORT_SERVER_ID: Final = 101

# Resources of Server (1); which instance is in use a bootstrap decides: `Profile.of_server`.
SERVER: Final = 1
LIFETIME: Final = 1
DEFAULT_PMIN: Final = 2
DEFAULT_PMAX: Final = 3
DISABLE: Final = 4
DISABLE_TIMEOUT: Final = 5
STORE_NOTIFICATIONS: Final = 6
UPDATE_TRIGGER: Final = 8
BOOTSTRAP_TRIGGER: Final = 9
MUTE_SEND: Final = 23
REBOOT: Final = Path.of(3, 0, 4)
FACTORY_RESET: Final = Path.of(3, 0, 5)
ERROR_CODE: Final = Path.of(3, 0, 11, 0)
RESET_ERRORS: Final = Path.of(3, 0, 12)
CURRENT_TIME: Final = Path.of(3, 0, 13)
IP_ADDRESS: Final = Path.of(4, 0, 4, 0)
LEAST: Final = 5601
GREATEST: Final = 5602
RESET_EXTREMES: Final = 5605
SENSOR_VALUE: Final = 5700

_EXECUTABLE: Final = frozenset(
    {(p[0], p[2]) for p in (REBOOT, FACTORY_RESET, RESET_ERRORS)}
    | {(SERVER, DISABLE), (SERVER, UPDATE_TRIGGER), (3303, RESET_EXTREMES), (3304, RESET_EXTREMES)}
)
# BinaryAppDataContainer: the one object here whose instances are the server's to make.
_CREATABLE: Final = frozenset({19})
_NO_ERROR: Final = 0
_LOW_BATTERY: Final = 1
_LOW_BATTERY_PERCENT: Final = 15.0


@cache
def definitions(
    lwm2m_version: str, bootstrap: bool = False, firmware: tuple[int, ...] = (FIRMWARE_UPDATE,)
) -> Mapping[int, ObjectDefinition]:
    """The objects of a device of this LwM2M version; one mapping shared by all devices.

    `firmware` are those that its firmware is updated by.
    """
    registry = load_registry()
    versions = {**VERSIONS[lwm2m_version], **(_BOOTSTRAP_VERSIONS[lwm2m_version] if bootstrap else {})}
    if FIRMWARE_UPDATE not in firmware:
        del versions[FIRMWARE_UPDATE]
    found = {number: registry.object(number, text) for number, text in versions.items()}
    if ADVANCED_FIRMWARE_UPDATE in firmware:
        found[ADVANCED_FIRMWARE_UPDATE] = advanced_model(registry)
    return {number: definition for number, definition in found.items() if definition is not None}


@cache
def _executable(lwm2m_version: str, bootstrap: bool, firmware: tuple[int, ...]) -> frozenset[tuple[int, int]]:
    """What a device can Execute; one set shared by all devices."""
    executable = set(_EXECUTABLE)
    if bootstrap and lwm2m_version != "1.0":
        executable.add((SERVER, BOOTSTRAP_TRIGGER))
    for number in firmware:
        executable.add((number, UPDATE))
        # Cancel came with version 1.1 of object 5.
        if number == ADVANCED_FIRMWARE_UPDATE or lwm2m_version == "1.2":
            executable.add((number, CANCEL))
    return frozenset(executable)


@dataclass(frozen=True, slots=True)
class Channel:
    """A resource that is measured, and how: a function of the wall clock in seconds."""

    path: Path
    read: Callable[[float], Value]
    extremes: bool = False  # keeps its least and its greatest value beside it


class Profile:
    """The tree and the sensors of one device; `index` makes it differ from the others.

    `wall_offset_s` turns `now`, monotonic seconds, into seconds since 1970 UTC. `account` are the
    resources of Security it is born with: those of its Bootstrap-Server. `server` is the instance of
    Server in use.
    """

    __slots__ = (
        "_account",
        "_channels",
        "_clock_offset_s",
        "_options",
        "_wall_offset_s",
        "name",
        "phase",
        "server",
        "tree",
    )

    def __init__(
        self,
        options: SimOptions,
        index: int,
        wall_offset_s: float,
        account: Mapping[int, Stored] | None = None,
    ) -> None:
        self._options = options
        self._account = account
        self.server = 0
        self.name = options.name(index)
        self._wall_offset_s = wall_offset_s
        self._clock_offset_s = 0.0  # what the server's write to Current Time made of the clock
        random = Random(f"{options.seed}/{self.name}")
        # Where in the sample period this device takes its samples, 0 to 1: no two keep step.
        self.phase = random.random()
        kind = options.lwm2m_version, account is not None, options.firmware.objects
        self.tree = ObjectTree(definitions(*kind), _executable(*kind), _CREATABLE)
        battery = Battery(
            random.getrandbits(63), random.uniform(2.0, 5.0) * DAY_S, random.uniform(2.0, 4.0) * 3600
        )
        self._channels: tuple[Channel, ...] = (
            *_device_channels(battery, random, self._clock),
            *_radio_channels(random),
            *_place_channels(random, moving=index % 3 == 2),
            *_climate_channels(random),
        )
        self.factory_reset()

    def factory_reset(self) -> None:
        """Everything the server wrote is gone; the sensors begin anew. The firmware stays what it is."""
        self._clock_offset_s = 0.0
        first = _first_values(self._options, self.name)
        self._keep_versions(first)
        if self._account is not None:
            # It knows its Bootstrap-Server and no other.
            for object_id in ACCOUNT_OBJECTS:
                self.tree.clear(object_id)
            del first[SERVER, 0]
            first[0, 0] = dict(self._account)
        for instance, resources in first.items():
            at = Path(instance)
            known = {n: value for n, value in resources.items() if self.tree.definition(at.child(n))}
            self.tree.add(*instance, known)
        for definition, instances in self.tree.instances():
            if definition.object_id in _CREATABLE:
                for instance_id in instances:
                    self.tree.delete(Path.of(definition.object_id, instance_id))

    def _keep_versions(self, first: Instances) -> None:
        """What has been installed stays installed."""
        advanced = (Path((ADVANCED_FIRMWARE_UPDATE, n, COMPONENT_VERSION)) for n in range(len(COMPONENTS)))
        for path in (DEVICE_VERSION, *advanced):
            version = self.tree.get(path)
            if version is not None:
                first[path[0], path[1]][path[2]] = version

    def of_server(self, resource: int) -> Path:
        """A resource of the instance of Server in use."""
        return Path((SERVER, self.server, resource))

    def wall_ms(self, now: float) -> int:
        """The device's own clock, milliseconds since 1970 UTC."""
        return int((now + self._wall_offset_s + self._clock_offset_s) * 1000)

    def set_clock(self, now: float) -> None:
        """Go by the Current Time the server wrote."""
        written = self.tree.get(CURRENT_TIME)
        assert isinstance(written, int)
        self._clock_offset_s = written - (now + self._wall_offset_s)

    def measure(self, now: float, under: Path) -> None:
        """Bring the sensors at and below `under` up to now."""
        self._measure((c for c in self._channels if under.covers(c.path)), now)

    def measure_watched(self, now: float, watched: Callable[[Path], object]) -> list[Path]:
        """Measure what someone asks for, and what has extremes to keep; returns what was measured.

        All of it, not only what changed: a Read in between may have seen the change first.
        """
        return self._measure((c for c in self._channels if c.extremes or watched(c.path)), now)

    def reset_extremes(self, object_id: int) -> list[Path]:
        """Execute 5605: the least and the greatest value are the present one."""
        value = self.tree.get(Path.of(object_id, 0, SENSOR_VALUE))
        assert value is not None
        both = [Path.of(object_id, 0, LEAST), Path.of(object_id, 0, GREATEST)]
        for path in both:
            self.tree.put(path, value)
        return both

    def _clock(self, time_s: float) -> int:
        return int(time_s + self._clock_offset_s)

    def _measure(self, channels: Iterable[Channel], now: float) -> list[Path]:
        tree, time_s = self.tree, now + self._wall_offset_s
        measured = []
        for channel in channels:
            value = channel.read(time_s)
            tree.put(channel.path, value)
            measured.append(channel.path)
            if channel.extremes:
                measured += _keep_extremes(tree, channel.path, value)
        return measured


def _keep_extremes(tree: ObjectTree, path: Path, value: Value) -> tuple[Path, Path]:
    assert isinstance(value, float)
    least, greatest = Path((*path[:2], LEAST)), Path((*path[:2], GREATEST))
    lowest, highest = tree.get(least), tree.get(greatest)
    if not isinstance(lowest, float) or value < lowest:
        tree.put(least, value)
    if not isinstance(highest, float) or value > highest:
        tree.put(greatest, value)
    return least, greatest


def _device_channels(battery: Battery, random: Random, clock: Callable[[float], int]) -> tuple[Channel, ...]:
    sun = Curve(random.getrandbits(63), 1.2, 4.6, 45_000.0, 0.9, 600.0, 0.02, 0.0, 6.2, 3)
    memory = Curve(random.getrandbits(63), 96.0, 0.0, 0.0, 14.0, 240.0, 2.0, 20.0, 160.0, 0)

    def error_code(time_s: float) -> int:
        return _LOW_BATTERY if battery.level(time_s) < _LOW_BATTERY_PERCENT else _NO_ERROR

    def status(time_s: float) -> int:
        if battery.charging(time_s):
            return 1
        return 4 if battery.level(time_s) < _LOW_BATTERY_PERCENT else 0

    return (
        Channel(Path.of(3, 0, 7, 0), battery.voltage_mv),
        Channel(Path.of(3, 0, 7, 1), lambda t: round(sun.at(t) * 1000)),
        Channel(Path.of(3, 0, 8, 0), battery.current_ma),
        Channel(Path.of(3, 0, 8, 1), lambda t: round(sun.at(t) * 30)),
        Channel(Path.of(3, 0, 9), lambda t: round(battery.level(t))),
        Channel(Path.of(3, 0, 10), lambda t: int(memory.at(t))),
        Channel(ERROR_CODE, error_code),
        Channel(CURRENT_TIME, clock),
        Channel(Path.of(3, 0, 20), status),
    )


def _radio_channels(random: Random) -> tuple[Channel, ...]:
    strength = Curve(
        random.getrandbits(63), random.uniform(-98, -72), 0.0, 0.0, 6.0, 400.0, 1.5, -118.0, -52.0, 0
    )
    return (
        Channel(Path.of(4, 0, 2), lambda t: int(strength.at(t))),
        Channel(Path.of(4, 0, 3), lambda t: max(0, min(100, round((strength.at(t) + 118) * 1.5)))),
    )


def _place_channels(random: Random, moving: bool) -> tuple[Channel, ...]:
    track = Track(
        random.getrandbits(63),
        random.uniform(52.49, 52.55),
        random.uniform(13.33, 13.47),
        random.uniform(250.0, 900.0) if moving else 0.0,
        random.uniform(900.0, 2400.0),
    )
    height = random.uniform(32.0, 60.0)
    seed = random.getrandbits(63)
    return (
        Channel(Path.of(6, 0, 0), lambda t: track.at(t)[0]),
        Channel(Path.of(6, 0, 1), lambda t: track.at(t)[1]),
        Channel(Path.of(6, 0, 2), lambda t: round(height + 1.5 * noise(seed, t), 1)),
        Channel(Path.of(6, 0, 3), lambda t: round(3.5 + 2 * unit(seed, int(t)), 1)),
        Channel(Path.of(6, 0, 5), int),
        Channel(Path.of(6, 0, 6), track.speed),
    )


def _climate_channels(random: Random) -> tuple[Channel, ...]:
    daily = random.uniform(1.5, 4.5)
    warmest = random.uniform(50_000.0, 60_000.0)
    temperature = Curve(
        random.getrandbits(63),
        random.uniform(17.0, 25.0),
        daily,
        warmest,
        0.7,
        random.uniform(600.0, 1500.0),
        0.05,
        -40.0,
        85.0,
    )
    # Warm air holds more water: the relative humidity is lowest when it is warmest.
    humidity = Curve(
        random.getrandbits(63),
        random.uniform(42.0, 58.0),
        -2.6 * daily,
        warmest,
        2.5,
        random.uniform(600.0, 1500.0),
        0.2,
        5.0,
        99.0,
        1,
    )
    return (
        Channel(Path.of(3303, 0, SENSOR_VALUE), temperature.at, extremes=True),
        Channel(Path.of(3304, 0, SENSOR_VALUE), humidity.at, extremes=True),
    )


def _first_values(options: SimOptions, name: str) -> Instances:
    """The instances as they leave the factory; measured values are filled in by `measure`."""
    queue_1_0 = options.queue_mode and options.lwm2m_version == "1.0"
    binding = "UQ" if queue_1_0 else "U"
    return {
        (1, 0): {
            0: SHORT_SERVER_ID,
            1: options.lifetime_s,
            2: 0,
            3: 0,
            5: 86_400,
            6: True,
            7: binding,
            23: False,
        },
        (3, 0): {
            0: "FlowNexus",
            1: "Simulated device",
            2: name,
            3: options.firmware.version,
            6: {0: 1, 1: 7},  # internal battery, solar
            7: {0: 0, 1: 0},
            8: {0: 0, 1: 0},
            9: 100,
            10: 96,
            11: {0: _NO_ERROR},
            13: 0,
            14: "+00:00",
            15: "Etc/UTC",
            16: binding,
            17: "Climate sensor",
            18: "1",
            19: SOFTWARE_VERSION,
            20: 0,
            21: 256,
        },
        # Bearer 6 is LTE FDD; 262 and 1 stand for a country and a network.
        (4, 0): {0: 6, 1: {0: 6, 1: 7}, 2: -85, 3: 50, 4: {0: ""}, 7: {0: "iot"}, 8: 31_337, 9: 1, 10: 262},
        **firmware_values(options),
        (6, 0): {0: 0.0, 1: 0.0, 2: 0.0, 3: 0.0, 5: 0, 6: 0.0},
        (3303, 0): {5603: -40.0, 5604: 85.0, SENSOR_VALUE: 0.0, 5701: "Cel", 5750: "Room temperature"},
        (3304, 0): {5603: 0.0, 5604: 100.0, SENSOR_VALUE: 0.0, 5701: "%RH", 5750: "Room humidity"},
    }
