"""What a simulated device is made of: true to the object model, believable, and its own."""

import pytest

from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import fit
from flownexus_appliance.sim.options import SimOptions
from flownexus_appliance.sim.profile import VERSIONS, Profile, definitions

WALL_S = 1_750_000_000.0


def profile(index: int = 0, version: str = "1.1", seed: int = 1) -> Profile:
    made = Profile(SimOptions(lwm2m_version=version, seed=seed), index, WALL_S)
    made.measure(0.0, Path.ROOT)
    return made


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_every_value_is_of_the_type_and_arity_its_model_says(version: str) -> None:
    made = profile(version=version)
    for record in made.tree.read(Path.ROOT):
        definition = made.tree.definition(record.path)
        assert definition is not None
        assert record.data_type is definition.data_type
        assert fit(record.value, definition.data_type) == record.value, record.path
        assert type(fit(record.value, definition.data_type)) is type(record.value), record.path
        assert definition.multiple == (len(record.path) == 4), record.path


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_every_mandatory_resource_is_there(version: str) -> None:
    tree = profile(version=version).tree
    for definition, instances in tree.instances():
        assert definition.version == VERSIONS[version][definition.object_id]
        for instance in instances:
            present = {r.resource_id for _, r, _ in tree.resources(Path.of(definition.object_id, instance))}
            assert {r.resource_id for r in definition.resources.values() if r.mandatory} <= present


def test_devices_share_what_never_changes() -> None:
    assert definitions("1.1") is definitions("1.1")


def test_readings_depend_on_seed_and_name_alone() -> None:
    def readings(made: Profile) -> list[object]:
        return [
            record.value for path in ("/3303", "/3304", "/6") for record in made.tree.read(Path.parse(path))
        ]

    assert readings(profile()) == readings(profile())
    assert readings(profile()) != readings(profile(index=1))
    assert readings(profile()) != readings(profile(seed=2))


def test_a_day_of_a_device_is_believable() -> None:
    made = profile()
    seen: dict[Path, list[float]] = {}
    for minute in range(0, 24 * 60, 5):
        made.measure(minute * 60.0, Path.ROOT)
        for record in made.tree.read(Path.ROOT):
            if isinstance(record.value, (int, float)):
                seen.setdefault(record.path, []).append(record.value)
    bounds = {
        "/3303/0/5700": (5.0, 40.0),
        "/3304/0/5700": (5.0, 99.0),
        "/3/0/9": (8, 100),
        "/3/0/7/0": (3200, 4300),
        "/3/0/7/1": (0, 6200),
        "/4/0/2": (-118, -52),
        "/4/0/3": (0, 100),
        "/6/0/0": (52.0, 53.0),
    }
    for path, (low, high) in bounds.items():
        values = seen[Path.parse(path)]
        assert low <= min(values) < max(values) <= high, path
    assert seen[Path.parse("/3303/0/5601")][-1] == min(seen[Path.parse("/3303/0/5700")])
    assert seen[Path.parse("/3303/0/5602")][-1] == max(seen[Path.parse("/3303/0/5700")])
    assert set(seen[Path.parse("/5/0/3")]) == {0}


def test_some_devices_move() -> None:
    def spread(index: int) -> float:
        made = profile(index)
        latitudes = []
        for step in range(60):
            made.measure(step * 60.0, Path.of(6))
            latitudes.append(made.tree.get(Path.of(6, 0, 0)))
        numbers = [value for value in latitudes if isinstance(value, float)]
        return max(numbers) - min(numbers)

    assert spread(2) > 20 * spread(0)


def test_only_what_is_asked_for_is_measured() -> None:
    made = profile()
    wanted = Path.of(3, 0, 9)
    measured = made.measure_watched(60.0, lambda path: path == wanted)
    assert wanted in measured
    assert Path.of(3303, 0, 5700) in measured  # keeps its extremes
    assert Path.of(4, 0, 2) not in measured
