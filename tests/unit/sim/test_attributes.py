"""Write-Attributes: what is taken, what is refused, how levels inherit."""

import pytest

from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType
from flownexus_appliance.sim.attributes import AttributeTable, format_number, parse_attributes
from flownexus_appliance.sim.messages import Code
from flownexus_appliance.sim.objects import RefusedError

OBJECT, INSTANCE, RESOURCE = Path.of(3303), Path.of(3303, 0), Path.of(3303, 0, 5700)


def test_values_and_bare_names_are_read() -> None:
    assert parse_attributes(["pmin=10", "gt=-22.5", "pmax"], "1.1") == {"pmin": 10, "gt": -22.5, "pmax": None}
    assert parse_attributes(["con=1", "edge=0", "hqmax=5"], "1.2") == {"con": 1, "edge": 0, "hqmax": 5}


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ([], "1.1"),
        (["pmin="], "1.1"),
        (["pmin=-1"], "1.1"),
        (["pmin=1.5"], "1.1"),
        (["pmin=1", "pmin=2"], "1.1"),
        (["gt=hot"], "1.1"),
        (["gt=1e3"], "1.1"),
        (["gt=nan"], "1.1"),
        (["st=0"], "1.1"),
        (["st=-1"], "1.1"),
        (["foo=1"], "1.1"),
        (["epmin=1"], "1.0"),
        (["con=1"], "1.1"),
        (["con=2"], "1.2"),
        (["pmin=" + "9" * 11], "1.1"),
        ([f"x{n}=1" for n in range(17)], "1.1"),
    ],
)
def test_what_is_no_attribute_is_refused(query: list[str], version: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_attributes(query, version)
    assert caught.value.code == Code.BAD_REQUEST


def test_levels_inherit_and_the_nearest_wins() -> None:
    table = AttributeTable()
    table.write(OBJECT, {"pmin": 10, "pmax": 60}, None)
    table.write(INSTANCE, {"pmin": 20}, None)
    table.write(RESOURCE, {"gt": 30.0}, DataType.FLOAT)
    assert table.effective(RESOURCE) == {"pmin": 20, "pmax": 60, "gt": 30.0}
    assert table.effective(Path.of(3303, 1, 5700)) == {"pmin": 10, "pmax": 60}
    assert table.at(RESOURCE) == {"gt": 30.0}
    table.write(INSTANCE, {"pmin": None}, None)
    assert table.effective(RESOURCE) == {"pmin": 10, "pmax": 60, "gt": 30.0}


def test_dropping_a_path_drops_what_lies_below_it() -> None:
    table = AttributeTable()
    table.write(OBJECT, {"pmin": 1}, None)
    table.write(RESOURCE, {"st": 1.0}, DataType.FLOAT)
    table.drop(INSTANCE)
    assert table.effective(RESOURCE) == {"pmin": 1}
    table.clear()
    assert table.effective(RESOURCE) == {}


@pytest.mark.parametrize(
    ("path", "changes", "data_type"),
    [
        (INSTANCE, {"gt": 1.0}, None),
        (RESOURCE, {"lt": 1.0}, DataType.STRING),
        (RESOURCE, {"edge": 1}, DataType.FLOAT),
        (RESOURCE, {"lt": 10.0, "gt": 10.0}, DataType.FLOAT),
        (RESOURCE, {"lt": 10.0, "gt": 14.0, "st": 2.0}, DataType.FLOAT),
    ],
)
def test_what_does_not_fit_its_place_is_refused(
    path: Path, changes: dict[str, float | None], data_type: DataType | None
) -> None:
    table = AttributeTable()
    with pytest.raises(RefusedError):
        table.write(path, changes, data_type)
    assert table.effective(path) == {}


def test_a_contradiction_over_two_writes_is_refused_and_changes_nothing() -> None:
    table = AttributeTable()
    table.write(RESOURCE, {"lt": 10.0, "gt": 14.0, "st": 1.5}, DataType.FLOAT)
    with pytest.raises(RefusedError):
        table.write(RESOURCE, {"st": 2.5}, DataType.FLOAT)
    assert table.at(RESOURCE)["st"] == 1.5


@pytest.mark.parametrize(("value", "text"), [(10, "10"), (22.5, "22.5"), (-3.0, "-3"), (0.1, "0.1")])
def test_numbers_are_shown_short(value: float, text: str) -> None:
    assert format_number(value) == text
