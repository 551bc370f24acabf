"""What the commands say: tables for people, JSON for programs; exit codes; the options all of them have."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from ..errors import ApplianceError, clean
from .console import Console

# Exit codes: docs/command-line.md.
DONE: Final = 0
REFUSED: Final = 1  # by the daemon or the device
UNUSABLE: Final = 2  # wrong use, or no daemon
WAITING: Final = 3  # the operation has not ended yet
ENDED: Final = 4  # the operation expired or was cancelled
INTERRUPTED: Final = 130

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


def device_name(text: str) -> str:
    """The `type` of an argument that is a device's name: completion offers those there are."""
    return text


def user_name(text: str) -> str:
    """The `type` of an argument that is a user's name: completion offers those there are."""
    return text


def operation_id(text: str) -> int:
    """The `type` of an argument that is an operation: completion offers the newest."""
    return _number(text, "an operation")


def package_name(text: str) -> str:
    """The `type` of an argument that is a firmware package, by number or version: completion offers those
    there are."""
    return text


def update_id(text: str) -> int:
    """The `type` of an argument that is a firmware update: completion offers the newest."""
    return _number(text, "a firmware update")


def campaign_id(text: str) -> int:
    """The `type` of an argument that is a campaign: completion offers the newest."""
    return _number(text, "a campaign")


def whole_seconds(text: str) -> int:
    """The `type` of an argument that is a time to wait: whole seconds, 0 or more."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"not a number of seconds: {clean(text, 40)}")
    return int(text)


def _number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"not the number of {what}: {clean(text, 40)}") from None


def console(options: argparse.Namespace) -> Console:
    state: Path = options.state
    return Console(state)


def say_json(data: object) -> int:
    print(json.dumps(data, indent=2, ensure_ascii=False))
    return 0


def tell(error: ApplianceError, *, as_json: bool) -> None:
    """Say what went wrong, and what to do about it, on standard error."""
    if as_json:
        told = {"error": error.code, "message": error.message, "hint": error.hint}
        print(json.dumps(told, ensure_ascii=False), file=sys.stderr)
        return
    print(f"flownexus: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {error.hint}", file=sys.stderr)


def say_table(headers: Sequence[str], rows: Sequence[Sequence[str]], longest: int = MAX_CELL) -> None:
    """Columns as wide as what is in them; what devices told is made printable, and cut when `longest`."""
    cells = [[clean(cell, longest) for cell in row] for row in rows]
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


def moment(time_ms: int | None, nothing: str = "never", *, seconds: bool = False) -> str:
    """A time in the zone of whoever reads it, to the minute or to the second."""
    if time_ms is None:
        return nothing
    form = "%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M"
    try:
        return datetime.fromtimestamp(time_ms / 1000).astimezone().strftime(form)
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
