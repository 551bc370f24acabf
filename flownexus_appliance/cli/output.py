"""What the commands say: tables for people, JSON for programs; the options that all of them have."""

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from ..errors import clean
from .console import Console

MAX_CELL: Final = 64
DEFAULT_STATE: Final = Path("var")


def add_common(parser: argparse.ArgumentParser) -> None:
    """--state and --json; `set_defaults` of the whole command has what they are when left out."""
    # SUPPRESS: with a default of its own an action would undo what stands before its name.
    nothing = argparse.SUPPRESS
    parser.add_argument(
        "--state", type=Path, default=nothing, metavar="FOLDER", help="the daemon's folder (var)"
    )
    parser.add_argument("--json", action="store_true", default=nothing, help="answer in JSON")


def console(options: argparse.Namespace) -> Console:
    state: Path = options.state
    return Console(state)


def say_json(data: object) -> int:
    print(json.dumps(data, indent=2, ensure_ascii=False))
    return 0


def say_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as what is in them; what devices told is made printable."""
    cells = [[clean(cell, MAX_CELL) for cell in row] for row in rows]
    lines = [list(headers), *cells]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def say_fields(fields: Sequence[tuple[str, str]]) -> None:
    """A name and a value a line; those without a value are left out."""
    width = max((len(name) for name, value in fields if value), default=0)
    for name, value in fields:
        if value:
            print(f"{name.ljust(width)}  {value}")


def moment(time_ms: int | None, nothing: str = "never") -> str:
    """A time in the zone of whoever reads it, to the minute."""
    if time_ms is None:
        return nothing
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000).astimezone():%Y-%m-%d %H:%M}"
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
