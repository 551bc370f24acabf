"""`flownexus observe`, `attributes` and `observations`: what a device reports by itself, and how often."""

import argparse
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ..errors import UsageError, clean
from ..lwm2m.paths import Path
from .console import Console, below
from .output import DONE, add_common, console, device_name, moment, say_json, say_table
from .typed import path_argument
from .waiting import (
    FIRST_WAIT_S,
    UNFINISHED,
    add_deadline,
    add_waiting,
    carry_out,
    names_of,
    perform,
    shown,
    tell_failures,
    wait_for,
    with_deadline,
    worst,
)

# Options of observe; `attributes` takes every one that the daemon knows.
ATTRIBUTES: Final = {
    "pmin": "seconds between two notifications, at least",
    "pmax": "seconds between two notifications, at most",
    "gt": "notify when the value goes above or below N",
    "lt": "notify when the value goes below or above N",
    "st": "notify when the value has changed by N",
    "epmin": "seconds between two samples, at least",
    "epmax": "seconds between two samples, at most",
}
REPORTED: Final = ("active", "waiting", "refused", "off")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    observe = commands.add_parser("observe", help="have a device report values by itself")
    attributes = commands.add_parser("attributes", help="how often a device reports, and at which values")
    observations = commands.add_parser("observations", help="what a device reports, and what it is wanted to")
    for parser, run in (
        (observe, _observe),
        (attributes, _attributes),
        (observations, _observations),
    ):
        parser.add_argument("name", type=device_name, metavar="NAME", help="the device's endpoint name")
        parser.set_defaults(run=run)
    _add_observing(observe)
    attributes.add_argument("path", type=path_argument, metavar="PATH", help="such as /3303/0/5700")
    attributes.add_argument(
        "words", nargs="+", metavar="ATTRIBUTE=N", help="such as pmin=10; gt= takes gt away"
    )
    observations.add_argument("--only", default="", choices=REPORTED, help="only those")
    for parser in (observe, attributes):
        add_waiting(parser)
        add_deadline(parser)
    for parser in (observe, attributes, observations):
        add_common(parser)


def _add_observing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", type=path_argument, nargs="+", metavar="PATH", help="such as /3303/0/5700")
    parser.add_argument("--composite", action="store_true", help="all paths in one observation")
    for name, text in ATTRIBUTES.items():
        parser.add_argument(f"--{name}", metavar="N", help=text)
    parser.add_argument("--cancel", action="store_true", help="no longer")
    parser.add_argument(
        "--passive", action="store_true", help="cancel without telling: the next notification is refused"
    )
    parser.add_argument("--follow", action="store_true", help="print the values as they come, until Ctrl-C")


def _observe(options: argparse.Namespace) -> int:
    attributes = {name: getattr(options, name) for name in ATTRIBUTES if getattr(options, name) is not None}
    if options.passive and not options.cancel:
        raise UsageError("options_conflict", "--passive is a way to cancel", "add --cancel")
    if options.cancel and (attributes or options.follow or options.deadline is not None):
        raise UsageError(
            "options_conflict",
            "what is cancelled is not reported",
            "give --cancel without attributes, --follow and --deadline",
        )
    box = console(options)
    if options.cancel:
        return carry_out(box, options, _cancelling(box, options), several=True)
    body: dict[str, Any] = {"paths": _paths(options), "composite": options.composite}
    if attributes:
        body["attributes"] = attributes

    def ask() -> list[Any]:
        address = below("endpoints", options.name, "/observations")
        asked: list[Any] = box.post(address, with_deadline(options, body))["operations"]
        return asked

    return _follow(box, options, ask) if options.follow else carry_out(box, options, [ask], several=True)


def _cancelling(box: Console, options: argparse.Namespace) -> list[Callable[[], list[Any]]]:
    """What ends each observation: one of all paths if it is a composite one."""
    observations = [_paths(options)] if options.composite else [[path] for path in _paths(options)]

    def cancel(paths: list[str]) -> list[Any]:
        passive = "1" if options.passive else ""
        return [box.delete(below("endpoints", options.name, "/observations"), path=paths, passive=passive)]

    return [partial(cancel, paths) for paths in observations]


def _paths(options: argparse.Namespace) -> list[str]:
    return [str(path) for path in options.paths]


def _follow(box: Console, options: argparse.Namespace, ask: Callable[[], list[Any]]) -> int:
    """Ask for the observations, then print what comes, for as long as one of them may bring something."""
    # Listening comes first, so that no value falls between the answer and the stream.
    with box.listen("/stream", endpoint=options.name) as events:
        states = wait_for(box, options, ask(), FIRST_WAIT_S)
        pending = {state["id"] for state in states if state["status"] in UNFINISHED}
        codes = [tell_failures(options, [state for state in states if state["id"] not in pending])]
        live = {state["id"] for state in states if _may_report(state)}
        names = names_of(box, options.name)
        while live:
            name, data = next(events)
            if name == "values":
                names = _say_reported(box, options, data, names)
            elif name == "operation" and data["id"] in pending and data["status"] not in UNFINISHED:
                state = box.get(f"/operations/{data['id']}")
                codes.append(tell_failures(options, [state]))
                pending.discard(data["id"])
                if not _may_report(state):
                    live.discard(data["id"])
            elif name == "reset" and not options.json:
                print("some values were missed here", file=sys.stderr)
    return worst(codes)


def _may_report(state: Mapping[str, Any]) -> bool:
    return state["operation"] != "write_attributes" and state["status"] in (*UNFINISHED, "CONFIRMED")


def _say_reported(
    box: Console, options: argparse.Namespace, report: Mapping[str, Any], names: Mapping[str, tuple[str, str]]
) -> Mapping[str, tuple[str, str]]:
    """Print the values of a report that were asked for; what the resources are called, as it is known now."""
    values = [value for value in report["values"] if _covered(value["path"], options.paths)]
    if options.json:
        if values:
            print(json.dumps({**report, "values": values}, ensure_ascii=False), flush=True)
        return names
    if any(value["path"] not in names for value in values):
        names = names_of(box, options.name)
    for value in values:
        name, units = names.get(value["path"], ("", ""))
        told = f"{shown(value['value'], value['data_type'])} {units}".rstrip()
        line = f"{moment(value['time_ms'], seconds=True)}  {value['path']}  {name}  {told}"
        print(clean(line, 2 * len(line)), flush=True)
    return names


def _covered(path: str, wanted: Collection[Path]) -> bool:
    found = Path.parse(path)
    return any(one.covers(found) for one in wanted)


def _attributes(options: argparse.Namespace) -> int:
    attributes: dict[str, str | None] = {}
    for word in options.words:
        name, _, text = word.partition("=")
        if name in attributes:
            raise UsageError("words_invalid", f"{clean(name, 40)} stands twice", "give each attribute once")
        attributes[name] = text or None
    body = {"operation": "write_attributes", "path": str(options.path), "attributes": attributes}
    return perform(options, [body])


def _observations(options: argparse.Namespace) -> int:
    found = console(options).get(below("endpoints", options.name, "/observations"), state=options.only)
    if options.json:
        return say_json(found)
    rows = [
        (
            " ".join(item["paths"]),
            item["state"],
            item["asked_by"],
            moment(item["since_ms"] or None, "-"),
            _set(item["attributes"], item["paths"]),
        )
        for item in found["items"]
    ]
    say_table(("PATHS", "STATE", "ASKED BY", "SINCE", "ATTRIBUTES"), rows)
    return DONE


def _set(attributes: Mapping[str, Mapping[str, str]], paths: Sequence[str]) -> str:
    """Attributes in one line; the path is told where there are several."""
    parts = []
    for path, one in attributes.items():
        text = " ".join(f"{name}={value}" for name, value in one.items())
        parts.append(text if [path] == list(paths) else f"{path}: {text}")
    return "; ".join(parts)
