"""Writes the registry's table from the facts: JSON lines, one object version a line.

Run from the top folder: `python -m tools.build_registry FACTS` (`make registry FACTS=...`). With
`--check` nothing is written: it fails when the table is not what the facts give.

A line holds `id`, `version`, `lwm2m`, `name`, `multiple`, `mandatory` and `resources`, a list of
`id`, `name`, `ops`, `type`, `multiple`, `mandatory`, `range`, `units`.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from flownexus_appliance.lwm2m.model import (
    OPERATIONS,
    TYPE_NAMES,
    ObjectDefinition,
    ResourceDefinition,
    tidy,
    tidy_range,
)
from flownexus_appliance.lwm2m.registry.table import encode_table
from flownexus_appliance.lwm2m.values import DataType

TABLE: Final = Path(__file__).parent.parent / "flownexus_appliance/lwm2m/registry/objects.tsv"
DIFF_LINES: Final = 40

# The registry writes C for a temperature (3388/503, CPU Temperature); C is the coulomb in SenML.
UNITS_CORRECTED: Final = {"C": "Cel"}


def read_facts(text: str) -> list[ObjectDefinition]:
    """Read the facts; raises ValueError that names the line, or the object version said twice."""
    objects: dict[tuple[int, str], ObjectDefinition] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            definition = _object(json.loads(line))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"line {number}: {error!r}") from error
        key = definition.object_id, definition.version
        if key in objects:
            raise ValueError(f"line {number}: object {key[0]} version {key[1]} stands twice")
        objects[key] = definition
    return list(objects.values())


def _object(fact: dict[str, Any]) -> ObjectDefinition:
    resources = [_resource(item) for item in fact["resources"]]
    if len({r.resource_id for r in resources}) != len(resources):
        raise ValueError("a resource id stands twice")
    return ObjectDefinition(
        fact["id"],
        fact["version"],
        fact["lwm2m"],
        tidy(fact["name"]),
        fact["multiple"],
        fact["mandatory"],
        MappingProxyType({r.resource_id: r for r in resources}),
    )


def _resource(fact: dict[str, Any]) -> ResourceDefinition:
    if fact["ops"] not in OPERATIONS:
        raise ValueError(f"resource {fact['id']}: unknown operations {fact['ops']!r}")
    # What is executed has no value, so no type (10260/3 in version 1.0 is given one).
    typeless = fact["ops"] == "E" or fact["type"] is None
    units = tidy(fact["units"] or "")
    return ResourceDefinition(
        fact["id"],
        tidy(fact["name"]),
        fact["ops"],
        DataType.NONE if typeless else TYPE_NAMES[fact["type"].casefold()],
        fact["multiple"],
        fact["mandatory"],
        tidy_range(fact["range"] or "") or None,
        UNITS_CORRECTED.get(units, units) or None,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the table; the exit status is 0, or 1 for bad facts or a table that differs."""
    parser = argparse.ArgumentParser(prog="build_registry", description="Write the registry's table.")
    parser.add_argument("facts", type=Path, help="JSON lines, one object version a line")
    parser.add_argument("--table", type=Path, default=TABLE, help="the table to write or check")
    parser.add_argument("--check", action="store_true", help="only compare, write nothing")
    options = parser.parse_args(arguments)
    try:
        objects = read_facts(options.facts.read_text("utf-8"))
        table = encode_table(objects)
        current = options.table.read_text("utf-8") if options.check else ""
    except (OSError, ValueError) as error:
        print(f"build_registry: {error}", file=sys.stderr)
        return 1
    if not options.check:
        options.table.write_text(table, "utf-8", newline="\n")
        resources = sum(len(definition.resources) for definition in objects)
        print(f"{options.table.name}: {len(objects)} object versions, {resources} resources")
        return 0
    if table == current:
        return 0
    diff = difflib.unified_diff(current.splitlines(), table.splitlines(), "table", "facts", lineterm="")
    print("\n".join(islice(diff, DIFF_LINES)), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
