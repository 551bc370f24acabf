"""The object model's lookups: versions, overlays, types."""

from collections.abc import Callable
from types import MappingProxyType

import pytest

from flownexus_appliance.lwm2m.model import (
    ModelSet,
    ObjectDefinition,
    ObjectEntry,
    ResourceDefinition,
    tidy,
    tidy_range,
    version_key,
)
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType


def define(object_id: int, version: str, name: str = "Probe", **types: DataType) -> ObjectDefinition:
    """An object with the readable resources `r<id>=<type>`."""
    resources = {
        int(key[1:]): ResourceDefinition(int(key[1:]), key, "R", data_type, False, False)
        for key, data_type in types.items()
    }
    return ObjectDefinition(object_id, version, "1.0", name, True, False, MappingProxyType(resources))


def models(*definitions: ObjectDefinition) -> ModelSet:
    return ModelSet(map(ObjectEntry.of, definitions))


FAMILY = models(
    define(7000, "2.0", r1=DataType.OPAQUE),
    define(7000, "1.2", r1=DataType.STRING, r2=DataType.TIME),
    define(7000, "1.10", r1=DataType.FLOAT),
    define(7000, "1.0", r1=DataType.STRING),
    define(7001, "1.0", name="Other", r5=DataType.INTEGER),
)


def version_of(found: ObjectDefinition | None) -> str | None:
    return found.version if found is not None else None


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, "2.0"),
        ("1.0", "1.0"),
        ("1.2", "1.2"),
        ("1.10", "1.10"),
        ("1.3", "1.10"),  # unknown minor: the newest of major 1, and 10 is newer than 2
        ("2.7", "2.0"),
        ("3.0", "2.0"),  # unknown major: the newest of all
        ("", "2.0"),
        ("one.two", "2.0"),
        ("1", "2.0"),
        ("1.0.0", "2.0"),
        ("٣.٣", "2.0"),
        ("9" * 5000 + ".0", "2.0"),
    ],
)
def test_a_version_resolves_to_the_nearest_known(asked: str | None, given: str) -> None:
    assert version_of(FAMILY.object(7000, asked)) == given


def test_an_unknown_object_has_nothing() -> None:
    assert FAMILY.object(9) is None
    assert FAMILY.resource(Path.parse("/9/0/1")) is None
    assert FAMILY.type_of(Path.parse("/9/0/1")) is None
    assert FAMILY.versions(9) == ()


def test_a_resource_is_found_by_resource_and_resource_instance_path() -> None:
    for text in ("/7000/0/2", "/7000/65534/2/3"):
        resource = FAMILY.resource(Path.parse(text), "1.2")
        assert resource is not None
        assert (resource.resource_id, resource.data_type) == (2, DataType.TIME)
    assert FAMILY.resource(Path.parse("/7000/0/2")) is None  # not in 2.0
    assert FAMILY.resource(Path.parse("/7000/0")) is None


@pytest.mark.parametrize("text", ["/", "/7000", "/7000/0"])
def test_a_path_above_a_resource_has_no_type(text: str) -> None:
    assert FAMILY.type_of(Path.parse(text)) is None
    assert FAMILY.with_versions({7000: "1.0"})(Path.parse(text)) is None


def test_type_of_follows_the_newest_version() -> None:
    assert FAMILY.type_of(Path.parse("/7000/3/1")) is DataType.OPAQUE
    assert FAMILY.type_of(Path.parse("/7000/3/1/0")) is DataType.OPAQUE
    assert FAMILY.type_of(Path.parse("/7000/3/2")) is None


def test_with_versions_follows_what_the_client_registered() -> None:
    types = FAMILY.with_versions({7000: "1.2", 9: "1.0", 7001: "1.0"})
    assert types(Path.parse("/7000/0/1")) is DataType.STRING
    assert types(Path.parse("/7000/0/2/7")) is DataType.TIME
    assert types(Path.parse("/7001/0/5")) is DataType.INTEGER
    assert types(Path.parse("/9/0/5")) is None


def test_devices_of_one_make_share_a_lookup() -> None:
    assert FAMILY.with_versions({}) == FAMILY.type_of
    one = FAMILY.with_versions({7000: "1.2", 7001: "1.0"})
    assert FAMILY.with_versions({7001: "1.0", 7000: "1.2"}) == one
    assert FAMILY.with_versions({7000: "1.0", 7001: "1.0"}) != one


def test_names_are_of_the_newest_version_in_order() -> None:
    named = models(define(7, "1.1", "New name"), define(7, "1.0", "Old name"), define(2, "1.0", "Two"))
    assert named.names() == ((2, "Two"), (7, "New name"))
    assert named.versions(7) == ("1.0", "1.1")


def test_custom_objects_win_and_leave_the_base_as_it_was() -> None:
    custom = FAMILY.with_objects(
        [define(7000, "1.2", "Ours", r1=DataType.BOOLEAN), define(6999, "1.0", "New", r1=DataType.TIME)]
    )
    assert custom.object(7000) == define(7000, "1.2", "Ours", r1=DataType.BOOLEAN)
    assert custom.type_of(Path.parse("/7000/0/1")) is DataType.BOOLEAN
    assert custom.type_of(Path.parse("/6999/0/1")) is DataType.TIME
    assert custom.names() == ((6999, "New"), (7000, "Ours"), (7001, "Other"))
    assert custom.versions(7000) == ("1.0", "1.10", "2.0", "1.2")
    assert version_of(FAMILY.object(7000)) == "2.0"
    assert FAMILY.names() == ((7000, "Probe"), (7001, "Other"))


@pytest.mark.parametrize(("asked", "given"), [("2.0", "2.0"), ("1.0", "1.0"), ("1.7", "1.2"), ("5.0", "1.2")])
def test_other_versions_stay_below_custom_objects(asked: str, given: str) -> None:
    custom = FAMILY.with_objects([define(7000, "1.2", "Ours")])
    assert version_of(custom.object(7000, asked)) == given


def test_the_later_overlay_wins() -> None:
    twice = FAMILY.with_objects([define(7000, "3.0", "First")]).with_objects([define(7000, "1.0", "Second")])
    assert twice.names()[0] == (7000, "Second")
    assert twice.versions(7000) == ("1.2", "1.10", "2.0", "3.0", "1.0")


def test_what_is_laid_over_is_followed_by_all_who_hold_the_set() -> None:
    live = models(define(7000, "1.0", r1=DataType.STRING), define(7001, "1.0", r5=DataType.INTEGER))
    old, other = live.with_versions({7000: "1.0"}), live.with_versions({7001: "1.0"})
    path, unknown = Path.parse("/7000/0/1"), Path.parse("/8000/0/1")
    # Everything is asked before, so that nothing is looked up for the first time afterwards.
    assert [types(path) for types in (live.type_of, old, other)] == [DataType.STRING] * 3
    assert old(unknown) is None
    live.overlay(
        [define(7000, "2.0", "New", r1=DataType.TIME), define(8000, "1.0", "Ours", r1=DataType.FLOAT)]
    )
    assert [types(path) for types in (live.type_of, old, other)] == [
        DataType.TIME,
        DataType.STRING,
        DataType.TIME,
    ]
    assert old(unknown) is DataType.FLOAT
    assert live.names() == ((7000, "New"), (7001, "Probe"), (8000, "Ours"))
    live.overlay([define(7000, "1.0", "Mended", r1=DataType.OPAQUE)])
    assert [types(path) for types in (live.type_of, old, other)] == [DataType.OPAQUE] * 3
    assert live.object(8000) is None
    live.overlay(())
    assert live.names() == ((7000, "Probe"), (7001, "Probe"))
    assert old(path) is DataType.STRING


class Loads:
    """An entry whose parsing is counted."""

    def __init__(self, definition: ObjectDefinition) -> None:
        self.definition = definition
        self.count = 0

    def __call__(self) -> ObjectDefinition:
        self.count += 1
        return self.definition

    def entry(self) -> ObjectEntry:
        return ObjectEntry(self.definition.object_id, self.definition.version, self.definition.name, self)


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.object(1),
        lambda m: m.type_of(Path.parse("/1/0/1")),
        lambda m: m.with_versions({1: "1.0"})(Path.parse("/1/0/1")),
        lambda m: m.with_objects([define(5, "1.0")]).object(1, "1.0"),
    ],
)
def test_an_object_is_parsed_once_and_only_when_asked_for(ask: Callable[[ModelSet], object]) -> None:
    wanted = Loads(define(1, "1.0", r1=DataType.FLOAT))
    other = Loads(define(2, "1.0"))
    lazy = ModelSet([wanted.entry(), other.entry()])
    assert (lazy.names(), lazy.versions(1)) == (((1, "Probe"), (2, "Probe")), ("1.0",))
    assert wanted.count == 0
    assert ask(lazy) == ask(lazy)
    assert ask(lazy) is not None
    assert (wanted.count, other.count) == (1, 0)


def test_lookups_of_unknown_objects_leave_nothing_behind() -> None:
    small = models(define(1, "1.0", r1=DataType.FLOAT))
    for object_id in range(1000):
        small.type_of(Path.of(object_id, 0, 1))
    assert len(small._types) == 1


def test_definitions_cannot_be_changed() -> None:
    definition = define(1, "1.0", r1=DataType.FLOAT)
    with pytest.raises(AttributeError):
        definition.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        definition.resources[2] = definition.resources[1]  # type: ignore[index]
    assert hash(definition) == hash(define(1, "1.0"))


@pytest.mark.parametrize(
    ("operations", "readable"), [("R", True), ("RW", True), ("W", False), ("E", False), ("", False)]
)
def test_readable_means_r_among_the_operations(operations: str, readable: bool) -> None:
    resource = ResourceDefinition(1, "x", operations, DataType.STRING, False, False)
    assert resource.readable is readable


def test_version_key() -> None:
    assert version_key("1.10") == (1, 10)
    assert [version_key(text) for text in ("", ".", "1.", "1.x", "-1.0", "1.123456")] == [None] * 6


def test_tidy() -> None:
    assert tidy("  LWM2M  Server\u00a0 URI\n") == "LWM2M Server URI"
    assert tidy_range(" 1:  normal\n\t\t2: remote\r\n\n3: local ") == "1: normal; 2: remote; 3: local"
    assert tidy_range("0..100") == "0..100"
