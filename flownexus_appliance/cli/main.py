"""Parses the words of the `flownexus` command, runs it, says errors with their hint."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import ApplianceError
from . import (
    certificates,
    completion,
    devices,
    export,
    firmware,
    log,
    models,
    observing,
    op,
    operations,
    people,
    run,
    settings,
    sim,
    status,
)
from .console import Refused
from .output import DEFAULT_STATE, INTERRUPTED, REFUSED, UNUSABLE, tell

GROUPS = (
    run,
    sim,
    status,
    devices,
    operations,
    observing,
    op,
    export,
    firmware,
    models,
    certificates,
    people,
    settings,
    log,
    completion,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is its exit code."""
    _survive_any_text()
    options = make_parser().parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except ApplianceError as error:
        tell(error, as_json=options.json)
        return REFUSED if isinstance(error, Refused) else UNUSABLE
    except BrokenPipeError:
        # Whoever read our output has had enough; Python must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flownexus", description="A private LwM2M cloud in a box.")
    parser.add_argument("--version", action="version", version=f"flownexus {__version__}")
    parser.set_defaults(state=DEFAULT_STATE, json=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add_to(commands)
    return parser


def _survive_any_text() -> None:
    """Names of devices may hold what the terminal's encoding has not."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
