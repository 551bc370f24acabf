"""The attributes of Write-Attributes: read, checked, merged, written."""

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.attributes import (
    ATTRIBUTES,
    Attributes,
    attribute_query,
    check_attributes,
    merge_attributes,
    parse_attributes,
)
from flownexus_appliance.lwm2m.paths import Path

RESOURCE = Path.of(3303, 0, 5700)


def of(text: str) -> Attributes:
    return parse_attributes(text.split("&"))


@pytest.mark.parametrize("text", ["pmin=10", "pmin=10&pmax=60&gt=22.5", "pmin&pmax=1", "gt=", "st=0.5&edge"])
def test_what_is_read_is_written_the_same(text: str) -> None:
    assert "&".join(attribute_query(of(text))) == text


def test_a_bare_name_unsets() -> None:
    assert of("pmin=10&pmax&gt=") == (("pmin", "10"), ("pmax", None), ("gt", ""))


def test_a_name_that_stands_twice() -> None:
    with pytest.raises(UsageError) as raised:
        of("pmin=1&pmin=2")
    assert raised.value.code == "attributes_invalid"


@pytest.mark.parametrize(
    "text",
    [
        "pmin=0",
        "pmin=10&pmax=10",
        "pmin=10&pmax=0",  # LwM2M Core 1.1.1 5.1.2: no maximum
        "pmin=10&pmax",
        "pmax=60",
        "gt=-40.5&lt=-50",
        "gt=+40.5",
        "lt=20&gt=30&st=4.9",
        "st=0.001",
        "epmin=1&epmax=2",
        "edge=0&con=1",
        "hqmax=5",
        "&".join(ATTRIBUTES),
    ],
)
def test_attributes_that_can_be_written(text: str) -> None:
    check_attributes(of(text), RESOURCE)


@pytest.mark.parametrize(
    "text",
    [
        "speed=1",
        "",
        "pmin=-1",
        "pmin=1.5",
        "pmin=",
        "pmin=x",
        "pmin=٣",
        "pmin=1\n",
        "pmin=10&pmax=9",
        "epmin=10&epmax=9",
        "gt=1e5",
        "gt=nan",
        "gt=1.",
        "gt=.5",
        "lt=30&gt=30",
        "lt=20&gt=30&st=5",
        "st=0",
        "st=-1",
        "edge=2",
        "con=yes",
        "pmin=99999999999",
    ],
)
def test_attributes_that_cannot(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_attributes(of(text), RESOURCE)
    assert raised.value.code == "attributes_invalid"
    assert raised.value.message
    assert raised.value.hint


def test_none_at_all() -> None:
    with pytest.raises(UsageError) as raised:
        check_attributes((), RESOURCE)
    assert raised.value.code == "attributes_invalid"


@pytest.mark.parametrize("name", ATTRIBUTES)
@pytest.mark.parametrize("path", ["/3303", "/3303/0", "/3303/0/5700", "/3303/0/5700/0"])
def test_changes_of_a_value_belong_to_a_resource(name: str, path: str) -> None:
    for value in ("1", None):
        wanted = ((name, value),)
        if name in ("gt", "lt", "st") and len(Path.parse(path)) < 3:
            with pytest.raises(UsageError):
                check_attributes(wanted, Path.parse(path))
        else:
            check_attributes(wanted, Path.parse(path))


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        ({}, "pmin=1", {"pmin": "1"}),
        ({"pmin": "1", "gt": "5"}, "pmin=2&lt=3", {"pmin": "2", "gt": "5", "lt": "3"}),
        ({"pmin": "1", "gt": "5"}, "pmin", {"gt": "5"}),
        ({"pmin": "1"}, "pmin&pmax", {}),
    ],
)
def test_what_is_set_after_a_write(before: dict[str, str], text: str, after: dict[str, str]) -> None:
    kept = dict(before)
    assert merge_attributes(before, of(text)) == after
    assert before == kept, "what was set is still to be had"
