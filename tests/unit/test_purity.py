"""The protocol core performs no I/O and reads no clock: what its modules may not import."""

import ast
from pathlib import Path

import flownexus_appliance.lwm2m as core

FORBIDDEN = frozenset(
    (
        "asyncio logging os pathlib random secrets select selectors socket sqlite3 ssl subprocess "
        "threading time"
    ).split()
)


def forbidden_imports(source: str) -> list[str]:
    """The forbidden modules that a module's own import statements name, wherever they stand."""
    named: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            named.append(node.module)
    return [name for name in named if name.partition(".")[0] in FORBIDDEN]


def test_the_scan_finds_every_form_of_import() -> None:
    source = (
        "import os.path\nimport json, time as clock\nfrom random import choice\n"
        "from .time import ticks\nfrom . import socket\n"
        "def late():\n    from asyncio import Queue\n    return Queue\n"
    )
    assert sorted(forbidden_imports(source)) == ["asyncio", "os.path", "random", "time"]


def test_no_module_of_the_core_imports_io_a_clock_or_randomness() -> None:
    assert core.__file__ is not None
    modules = sorted(Path(core.__file__).parent.rglob("*.py"))
    assert len(modules) > 5
    found = {path.name: names for path in modules if (names := forbidden_imports(path.read_text("utf-8")))}
    assert found == {}
