"""The registry's table: what ships, its form, and the program that writes it."""

import json
from importlib.resources import files
from pathlib import Path as FilePath
from types import MappingProxyType

import pytest

from flownexus_appliance.lwm2m.model import ModelSet, ObjectDefinition, ResourceDefinition, tidy
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.registry import load_registry
from flownexus_appliance.lwm2m.registry.table import HEADER, decode_table, encode_table
from flownexus_appliance.lwm2m.values import DataType
from tools import build_registry


@pytest.fixture(scope="module")
def registry() -> ModelSet:
    return load_registry()


def everything(models: ModelSet) -> list[ObjectDefinition]:
    found = [
        models.object(object_id, version)
        for object_id, _ in models.names()
        for version in models.versions(object_id)
    ]
    return [definition for definition in found if definition is not None]


def test_all_objects_parse(registry: ModelSet) -> None:
    definitions = everything(registry)
    assert len(registry.names()) == 327
    assert len(definitions) == 424
    assert sum(len(definition.resources) for definition in definitions) == 4506


def test_text_is_tidy_and_what_is_executed_has_no_type(registry: ModelSet) -> None:
    for definition in everything(registry):
        assert list(definition.resources) == sorted(definition.resources)
        for resource in definition.resources.values():
            assert resource.name == tidy(resource.name) != ""
            untyped = (definition.object_id, resource.resource_id) == (10482, 5)
            assert (resource.data_type is DataType.NONE) == (resource.operations == "E" or untyped)
            assert "" not in (resource.range_text, resource.units)


def test_the_shipped_table_is_what_its_definitions_encode_to(registry: ModelSet) -> None:
    shipped = files("flownexus_appliance.lwm2m.registry").joinpath("objects.tsv").read_text("utf-8")
    assert encode_table(everything(registry)) == shipped


def test_temperature(registry: ModelSet) -> None:
    definition = registry.object(3303)
    assert definition is not None
    assert (definition.name, definition.version, definition.multiple) == ("Temperature", "1.1", True)
    value = ResourceDefinition(5700, "Sensor Value", "R", DataType.FLOAT, False, True)
    assert registry.resource(Path.parse("/3303/0/5700")) == value


@pytest.mark.parametrize(
    ("text", "data_type"),
    [
        ("/1/0/1", DataType.INTEGER),
        ("/3/0/0", DataType.STRING),
        ("/3/0/4", DataType.NONE),
        ("/3/0/13", DataType.TIME),
        ("/3/0/11/0", DataType.INTEGER),
        ("/5/0/0", DataType.OPAQUE),
        ("/6/0/0", DataType.FLOAT),
        ("/3200/1/5500", DataType.BOOLEAN),
        ("/3303/0/5700", DataType.FLOAT),
        ("/3303/0/9999", None),
        ("/10482/0/5", None),  # readable, but the registry gives no type
        ("/42769/0/0", None),
    ],
)
def test_types(registry: ModelSet, text: str, data_type: DataType | None) -> None:
    assert registry.type_of(Path.parse(text)) is data_type


def test_types_follow_the_registered_version(registry: ModelSet) -> None:
    path = Path.parse("/21/0/0")
    assert registry.type_of(path) is DataType.OPAQUE
    assert registry.with_versions({21: "1.1"})(path) is DataType.STRING
    assert registry.with_versions({21: "2.0"})(path) is DataType.OPAQUE


SMALL = (
    ObjectDefinition(
        10,
        "1.10",
        "1.1",
        "Ten",
        True,
        False,
        MappingProxyType(
            {
                0: ResourceDefinition(0, "Only", "", DataType.STRING, False, False, None, None),
                3: ResourceDefinition(3, "Run", "E", DataType.NONE, False, True, None, None),
                4: ResourceDefinition(4, "All", "RW", DataType.UNSIGNED, True, True, "0..9; 12", "m3/s"),
            }
        ),
    ),
    ObjectDefinition(10, "1.9", "1.0", "Ten", False, True, MappingProxyType({})),
    ObjectDefinition(9, "1.0", "1.0", "Nine", False, False, MappingProxyType({})),
)

SMALL_TABLE = (
    HEADER
    + """
/9	1.0	1.0	-	Nine

/10	1.9	1.0	!	Ten

/10	1.10	1.1	*	Ten
0	-	string	-	Only	-	-
3	E	none	!	Run	-	-
4	RW	unsigned	*!	All	0..9; 12	m3/s
"""
)


def test_the_table_round_trips() -> None:
    assert encode_table(SMALL) == SMALL_TABLE
    entries = list(decode_table(SMALL_TABLE))
    assert [(entry.object_id, entry.version, entry.name) for entry in entries] == [
        (9, "1.0", "Nine"),
        (10, "1.9", "Ten"),
        (10, "1.10", "Ten"),
    ]
    assert [entry.definition for entry in entries] == [SMALL[2], SMALL[1], SMALL[0]]


@pytest.mark.parametrize("name", ["-", "two\tfields", "two\nlines"])
def test_text_that_would_break_the_table_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not fit for a field"):
        encode_table([ObjectDefinition(1, "1.0", "1.0", name, False, False, MappingProxyType({}))])


def fact(**changed: object) -> dict[str, object]:
    resource = {
        "id": 4,
        "name": "Packets  Received\u00a0 All",
        "ops": "R",
        "type": "Unsigned Integer",
        "multiple": True,
        "mandatory": False,
        "range": "1: on\n\t\t2: off",
        "units": "C",
    }
    lock = {**resource, "id": 1, "name": "Lock", "ops": "E", "type": None, "range": None, "units": None}
    whole: dict[str, object] = {
        "id": 9000,
        "version": "1.0",
        "lwm2m": "1.1",
        "name": " Made  up",
        "multiple": True,
        "mandatory": False,
        "resources": [resource, lock],
    }
    return whole | changed


def write_facts(folder: FilePath, *facts: dict[str, object]) -> str:
    path = folder / "facts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in facts), "utf-8")
    return str(path)


def test_the_table_is_built_from_facts(tmp_path: FilePath) -> None:
    facts = write_facts(tmp_path, fact(version="2.0"), fact())
    table = tmp_path / "objects.tsv"
    assert build_registry.main([facts, "--table", str(table)]) == 0
    resources = (
        "1	E	none	*	Lock	-	-\n"
        "4	R	unsigned	*	Packets Received All	1: on; 2: off	Cel\n"
    )
    assert table.read_text("utf-8") == (
        f"{HEADER}\n/9000	1.0	1.1	*	Made up\n{resources}"
        f"\n/9000	2.0	1.1	*	Made up\n{resources}"
    )


def test_check_tells_whether_the_table_is_what_the_facts_give(
    tmp_path: FilePath, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = write_facts(tmp_path, fact())
    table = tmp_path / "objects.tsv"
    check = [facts, "--check", "--table", str(table)]
    assert build_registry.main(check) == 1  # no table yet, and none is written
    assert not table.exists()
    assert build_registry.main([facts, "--table", str(table)]) == 0
    assert build_registry.main(check) == 0
    table.write_text(table.read_text("utf-8").replace("Lock", "Look"), "utf-8")
    capsys.readouterr()
    assert build_registry.main(check) == 1
    assert "+1\tE\tnone\t*\tLock\t-\t-" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("facts", "complaint"),
    [
        ((fact(), fact()), "line 2: object 9000 version 1.0 stands twice"),
        ((fact(), {"id": 1}), "line 2: KeyError('resources')"),
        ((fact(name=7),), "line 1: "),
    ],
)
def test_bad_facts_are_named_and_nothing_is_written(
    tmp_path: FilePath,
    capsys: pytest.CaptureFixture[str],
    facts: tuple[dict[str, object], ...],
    complaint: str,
) -> None:
    table = tmp_path / "objects.tsv"
    assert build_registry.main([write_facts(tmp_path, *facts), "--table", str(table)]) == 1
    assert complaint in capsys.readouterr().err
    assert not table.exists()
