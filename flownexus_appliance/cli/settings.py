"""`flownexus settings` and `flownexus restart`: what is set over the configuration file, and its use."""

import argparse
import time
from collections.abc import Sequence
from typing import Any, Final

from ..errors import ApplianceError, UsageError, clean
from .console import Console
from .output import DONE, add_common, console, say_json, say_table, whole_seconds

WAIT_S: Final = 60
LOOK_S: Final = 0.2
# What can be in a cell of the list: networks, a watch list.
MAX_VALUE: Final = 60


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("settings", help="what is set over the configuration file")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all settings")
    listing.add_argument("--changed", action="store_true", help="those alone that are not the default")
    setting = actions.add_parser("set", help="set one; in use after a restart")
    setting.add_argument("name", metavar="NAME", help="such as log.level")
    setting.add_argument("values", nargs="+", metavar="VALUE", help="several of a list")
    unset = actions.add_parser("unset", help="back to what the file or the default says")
    unset.add_argument("name", metavar="NAME", help="such as log.level")
    for action, run in ((listing, _list), (setting, _set), (unset, _unset)):
        add_common(action)
        action.set_defaults(run=run)
    restart = commands.add_parser("restart", help="stop the daemon in order and start it anew")
    restart.add_argument(
        "--wait", type=whole_seconds, default=WAIT_S, metavar="SECONDS", help=f"until it is back ({WAIT_S})"
    )
    add_common(restart)
    restart.set_defaults(run=_restart)


def _list(options: argparse.Namespace) -> int:
    found = console(options).get("/settings")
    if options.changed:
        found["items"] = [item for item in found["items"] if item["origin"] != "default"]
    if options.json:
        return say_json(found)
    rows = [
        (
            f"{item['section']}.{item['name']}",
            _text(item["value"]),
            item["unit"],
            item["origin"],
            "" if item["value"] == item["in_use"] else _text(item["in_use"]),
        )
        for item in found["items"]
    ]
    say_table(("SETTING", "VALUE", "UNIT", "FROM", "UNTIL THE RESTART"), rows, MAX_VALUE)
    for problem in found["problems"]:
        print(f"Not in use: {clean(problem, 400)}.")
    return DONE


def _set(options: argparse.Namespace) -> int:
    at = console(options)
    known = {f"{item['section']}.{item['name']}": item for item in at.get("/settings")["items"]}
    found = known.get(options.name)
    # What there is not, the daemon refuses itself.
    value = options.values[0] if found is None else _value(found, options.values)
    return _change(at, options, value)


def _unset(options: argparse.Namespace) -> int:
    return _change(console(options), options, None)


def _change(at: Console, options: argparse.Namespace, value: object) -> int:
    found = at.patch("/settings", {"settings": {options.name: value}})
    if options.json:
        return say_json(found)
    (item,) = (item for item in found["items"] if f"{item['section']}.{item['name']}" == options.name)
    print(f"{options.name} is {_text(item['value']) or 'empty'}{' from the next start on' * _waits(item)}.")
    if found["restart_needed"]:
        print("flownexus restart has the daemon start anew.")
    return DONE


def _waits(item: Any) -> bool:
    return bool(item["value"] != item["in_use"])


def _value(item: Any, values: Sequence[str]) -> object:
    """What was written, as the kind of setting has it; raises UsageError("setting_invalid")."""
    if item["kind"] == "lines":
        return [value for value in values if value]
    if len(values) > 1:
        raise UsageError("setting_invalid", "this setting has one value", "quote what has spaces in it")
    (text,) = values
    if item["kind"] == "number":
        try:
            return float(text) if "." in text else int(text)
        except ValueError:
            raise UsageError("setting_invalid", f"not a number: {clean(text, 40)}", "give a number") from None
    if item["kind"] == "switch":
        return {"on": True, "true": True, "off": False, "false": False}.get(text.lower(), text)
    return text


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _restart(options: argparse.Namespace) -> int:
    at = console(options)
    began = at.post("/restart")["started_ms"]
    until = time.monotonic() + options.wait
    while time.monotonic() < until:
        time.sleep(LOOK_S)
        try:
            state = at.get("/system")
        except ApplianceError:
            continue  # it is away
        if state["vitals"]["started_ms"] != began:
            if options.json:
                return say_json({"started_ms": state["vitals"]["started_ms"]})
            print("The daemon has started anew.")
            return DONE
    if options.wait:
        raise ApplianceError(
            "restart_failed",
            f"the daemon is not back after {options.wait} s",
            "see its log, or start it by hand",
        )
    if options.json:
        return say_json({"started_ms": began})
    print("The daemon is about to start anew.")
    return DONE
