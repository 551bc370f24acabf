"""The watch list: patterns against what a client registered."""

from types import MappingProxyType

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.model import ModelSet, ObjectDefinition, ResourceDefinition
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registry import load_registry
from flownexus_appliance.lwm2m.values import DataType
from flownexus_appliance.lwm2m.watch import (
    DEFAULT_WATCH_LIST,
    SENSOR_RESOURCES,
    WatchPattern,
    expand_watch_list,
)

CLIENT = {1: (0,), 3: (0,), 5: (0,), 6: (0,), 3303: (1, 0), 3304: (0,), 3308: (0,), 3200: (2,), 42000: (0,)}


@pytest.fixture(scope="module")
def registry() -> ModelSet:
    return load_registry()


def expand(models: ModelSet, *patterns: str) -> list[str]:
    return [str(path) for path in expand_watch_list(patterns, CLIENT, models)]


def test_a_client_with_sensors_is_watched_by_default(registry: ModelSet) -> None:
    assert expand(registry, *DEFAULT_WATCH_LIST) == [
        "/3/0/7",
        "/3/0/9",
        "/3/0/11",
        "/5/0/3",
        "/5/0/5",
        "/6/0/0",
        "/6/0/1",
        "/3200/2/5500",
        "/3303/0/5700",
        "/3303/1/5700",
        "/3304/0/5700",
    ]


def test_results_are_paths_sorted_by_number_without_duplicates(registry: ModelSet) -> None:
    found = expand_watch_list(
        ("/3303/*/5700", "*/1/5700", "/3/0/11", "3/0/9", "/3303/1/5700"), CLIENT, registry
    )
    assert found == (Path.of(3, 0, 9), Path.of(3, 0, 11), Path.of(3303, 0, 5700), Path.of(3303, 1, 5700))
    assert all(isinstance(path, Path) for path in found)


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("*/*/5700", ["/3303/0/5700", "/3303/1/5700", "/3304/0/5700"]),
        ("/*/2/5500", ["/3200/2/5500"]),
        ("/3301/*/5700", []),  # not registered
        ("/3303/7/5700", []),
        ("/3/0/4", []),  # Reboot: executable
        ("/5/0/1", ["/5/0/1"]),
        ("/5/0/0", []),  # Package: writable only
        ("*/*/0", ["/1/0/0", "/3/0/0", "/6/0/0"]),
        ("/42000/*/5700", ["/42000/0/5700"]),  # no model: what is named is watched
        ("/3303/0/26000", ["/3303/0/26000"]),  # a vendor's resource in a known object
        ("/*/*/26000", []),
    ],
)
def test_a_pattern_gives_registered_readable_resources(
    registry: ModelSet, pattern: str, paths: list[str]
) -> None:
    assert expand(registry, pattern) == paths


def test_a_custom_object_joins_the_wildcard(registry: ModelSet) -> None:
    resource = ResourceDefinition(5700, "Sensor Value", "R", DataType.FLOAT, False, True)
    custom = ObjectDefinition(42000, "1.0", "1.0", "Ours", True, False, MappingProxyType({5700: resource}))
    assert "/42000/0/5700" in expand(registry.with_objects([custom]), "*/*/5700")


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/",
        "*",
        "/3303/0",
        "/3303/*/*",
        "/3303/0/5700/0",
        "//0/5700",
        "/3303/0/5700/",
        "/3303/0/057",
        "/3303/**/5700",
        "/3303/1*/5700",
        "/65535/0/1",
        "/3303/-1/5700",
        "/3303/0/٣",
        " /3303/0/5700",
        "/3303/0/" + "9" * 5000,
    ],
)
def test_anything_else_is_refused_with_a_hint(registry: ModelSet, pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        expand_watch_list(["/3/0/9", pattern], CLIENT, registry)
    assert caught.value.code == "watch_pattern_invalid"
    assert "*/*/5700" in caught.value.hint
    assert len(caught.value.message) < 200


def test_pattern_parts() -> None:
    assert WatchPattern.parse("*/*/5700") == WatchPattern(None, None, 5700)
    assert WatchPattern.parse("/65534/0/65534") == WatchPattern(65534, 0, 65534)


def test_sensor_resources_are_readable_where_they_stand_in_sensor_objects(registry: ModelSet) -> None:
    for resource_id, name in SENSOR_RESOURCES.items():
        homes = [
            resource
            for object_id, _ in registry.names()
            if (resource := registry.resource(Path.of(object_id, 0, resource_id))) is not None
        ]
        assert any(home.readable and home.name == name for home in homes)
