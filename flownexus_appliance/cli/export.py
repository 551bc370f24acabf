"""`flownexus export`: the values that a device has told, as a table or as lines of JSON, however many."""

import argparse
import re
import sys
import time
from datetime import datetime
from typing import Final

from ..errors import clean
from .console import below
from .output import DONE, add_common, console, device_name
from .typed import path_argument

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGO: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("export", help="the values that a device has told, as CSV or NDJSON")
    parser.add_argument("name", type=device_name, metavar="NAME", help="the device's endpoint name")
    parser.add_argument("paths", type=path_argument, nargs="*", metavar="PATH", help="only at or below (all)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="a table (so without --ndjson)")
    form.add_argument("--ndjson", action="store_true", help="a line of JSON a value (so with --json)")
    parser.add_argument(
        "--from", dest="begin", type=point, metavar="TIME", help="2026-03-01, or 7d: days ago"
    )
    parser.add_argument("--to", dest="end", type=point, metavar="TIME", help="2026-03-01T18:00, or 12h ago")
    add_common(parser)
    parser.set_defaults(run=_export)


def point(text: str) -> int:
    """A time of the command line, ms since 1970 UTC: a date and time, here where it names no zone, or how
    long ago: 30s, 15m, 12h, 7d, 4w."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(0, int(time.time() * 1000) - int(ago[1]) * UNITS[ago[2]] * 1000)
    try:
        return max(0, round(datetime.fromisoformat(text).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"no time: {clean(text, 40)}; write 2026-03-01, 2026-03-01T18:00, or 12h for 12 hours ago"
        ) from None


def _export(options: argparse.Namespace) -> int:
    ndjson = options.ndjson or (options.json and not options.csv)
    chunks = console(options).chunks(
        below("endpoints", options.name, "/export"),
        path=[str(path) for path in options.paths],
        from_ms="" if options.begin is None else str(options.begin),
        to_ms="" if options.end is None else str(options.end),
        format="ndjson" if ndjson else "csv",
    )
    for chunk in chunks:
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
    return DONE
