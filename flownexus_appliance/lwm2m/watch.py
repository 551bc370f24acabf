"""The watch list: which resources of a client are worth observing.

LwM2M Core 1.1.1 6.4 (Observe works on any readable resource). A pattern names an object, an
instance and a resource; the first two may be `*`. Whether a client has the resource at all, its
registration does not say: that is for Discover to find.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..errors import UsageError, clean
from .model import ModelSet
from .paths import MAX_ID, Path

# Reusable resources that carry a reading, whatever object they stand in. Their neighbours (5601
# Min Measured Value, 5701 Sensor Units, ...) describe a reading and hardly change.
SENSOR_RESOURCES: Final[Mapping[int, str]] = {
    5500: "Digital Input State",
    5600: "Analog Input Current Value",
    5700: "Sensor Value",
    5702: "X Value",
    5703: "Y Value",
    5704: "Z Value",
    5705: "Compass Direction",
    5800: "Instantaneous active power",
}

DEFAULT_WATCH_LIST: Final[tuple[str, ...]] = (
    *(f"/*/*/{resource_id}" for resource_id in SENSOR_RESOURCES),
    "/3/0/7",  # Power Source Voltage
    "/3/0/9",  # Battery Level
    "/3/0/11",  # Error Code
    "/5/0/3",  # firmware State
    "/5/0/5",  # firmware Update Result
    "/6/0/0",  # Latitude
    "/6/0/1",  # Longitude
)

_LONGEST: Final = len("/65534/65534/65534")


@dataclass(frozen=True, slots=True)
class WatchPattern:
    """`/3303/*/5700`: None stands for any object, or any instance."""

    object_id: int | None
    instance_id: int | None
    resource_id: int

    @classmethod
    @lru_cache(maxsize=256)  # the same few settings for every device
    def parse(cls, text: str) -> "WatchPattern":
        """Read a pattern (the first slash may be missing); raises UsageError("watch_pattern_invalid")."""
        parts = text.removeprefix("/").split("/") if len(text) <= _LONGEST else []
        if len(parts) != 3 or not all(map(_is_part, parts)) or parts[2] == "*":
            raise UsageError(
                "watch_pattern_invalid",
                f"not a watch pattern: {clean(text)}",
                "write object, instance and resource, the first two may be *: /3303/*/5700, */*/5700, /3/0/9",
            )
        object_id, instance_id, resource_id = (None if part == "*" else int(part) for part in parts)
        assert resource_id is not None
        return cls(object_id, instance_id, resource_id)


def expand_watch_list(
    patterns: Sequence[str], instances: Mapping[int, Sequence[int]], models: ModelSet
) -> tuple[Path, ...]:
    """The resources to observe of a client that registered `instances` (instance ids by object id).

    A `*` for the object stands for the objects whose model has that resource as a readable one. An
    object that is named needs no model; where it has one that says "not readable", it is left out.
    The result is sorted and without duplicates. Raises UsageError("watch_pattern_invalid").
    """
    found: set[Path] = set()
    for pattern in map(WatchPattern.parse, patterns):
        named = pattern.object_id is not None
        for object_id in instances if pattern.object_id is None else (pattern.object_id,):
            if not _is_readable(models, object_id, pattern.resource_id, unknown=named):
                continue
            for instance_id in instances.get(object_id, ()):
                if pattern.instance_id in (None, instance_id):
                    found.add(Path.of(object_id, instance_id, pattern.resource_id))
    return tuple(sorted(found))


def _is_readable(models: ModelSet, object_id: int, resource_id: int, *, unknown: bool) -> bool:
    definition = models.object(object_id)
    resource = definition.resources.get(resource_id) if definition is not None else None
    return resource.readable if resource is not None else unknown


def _is_part(text: str) -> bool:
    if text == "*":
        return True
    canonical = text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")
    return canonical and int(text) <= MAX_ID
