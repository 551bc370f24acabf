"""`flownexus log`: what the daemon wrote lately, and what it writes now."""

import argparse
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from ..errors import ApplianceError, clean
from .output import DONE, add_common, console, say_json

LEVELS: Final = ("debug", "info", "warning", "error")
LINES: Final = 50
MOST: Final = 500
LOOK_S: Final = 1.0
MAX_TEXT: Final = 2000


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("log", help="what the daemon wrote lately, the newest last")
    parser.add_argument("--level", choices=LEVELS, default="", help="at least as severe (all)")
    parser.add_argument("--search", default="", metavar="TEXT", help="in messages, fields and tracebacks")
    parser.add_argument("--limit", type=_count, default=LINES, metavar="N", help=f"the newest N ({LINES})")
    parser.add_argument("--follow", action="store_true", help="go on with what is written, until Ctrl-C")
    add_common(parser)
    parser.set_defaults(run=_log)


def _log(options: argparse.Namespace) -> int:
    at = console(options)
    asked = {"level": options.level, "q": options.search}
    found = at.get("/log", **asked, limit=str(options.limit))
    if options.json and not options.follow:
        return say_json(found["items"])
    _say(reversed(found["items"]))
    last = found["last"]
    while options.follow:
        time.sleep(LOOK_S)
        try:
            found = at.get("/log", **asked, since=str(last), limit=str(MOST))
        except ApplianceError as error:
            if error.code not in ("daemon_absent", "daemon_silent"):
                raise
            continue  # it starts anew
        if found["last"] < last:  # another run, which counts from 1 again
            last = 0
            continue
        last = found["last"]
        _say(reversed(found["items"]))
    return DONE


def _say(lines: Iterable[Any]) -> None:
    for line in lines:
        when = datetime.fromtimestamp(line["time_ms"] / 1000).astimezone()
        fields = "".join(f" {name.lower()}={value}" for name, value in line["fields"].items())
        told = clean(f"{line['message']}{fields}", MAX_TEXT)
        print(f"{when:%Y-%m-%d %H:%M:%S} {line['level']} {told}", flush=True)
        for traced in line["trace"]:
            print(f"  {clean(traced, MAX_TEXT)}", flush=True)


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST:
        return int(text)
    raise argparse.ArgumentTypeError(f"give a number from 1 to {MOST}, not {clean(text, 40)}")
