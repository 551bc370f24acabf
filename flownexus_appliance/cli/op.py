"""`flownexus op`: the operations that were asked for, what became of them; cancelling and asking again."""

import argparse
import json
from collections.abc import Mapping
from typing import Any, Final

from ..errors import clean
from ..lwm2m.operations import Kind, Status
from .console import Console
from .output import (
    DONE,
    add_common,
    console,
    device_name,
    moment,
    operation_id,
    say_fields,
    say_json,
    say_table,
)
from .waiting import add_waiting, report, say_links, say_values, shown, wait_for

SHOWN: Final = 50
STATUSES: Final = (*(one.value for one in Status), "unfinished", "done")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("op", help="operations: waiting, done and failed")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all operations, the newest first")
    show = actions.add_parser("show", help="one operation, with every attempt")
    wait = actions.add_parser("wait", help="wait for operations to end")
    cancel = actions.add_parser("cancel", help="end an operation that has not ended")
    retry = actions.add_parser("retry", help="ask again for what an operation asked")
    follow = actions.add_parser("follow", help="print what becomes of operations as it happens, until Ctrl-C")
    _add_filters(listing)
    follow.add_argument("--device", type=device_name, default="", metavar="NAME", help="only of this one")
    for parser in (show, cancel, retry):
        parser.add_argument("id", type=operation_id, metavar="ID", help="the operation's number")
    wait.add_argument("ids", type=operation_id, nargs="+", metavar="ID", help="their numbers")
    for parser in (wait, retry):
        add_waiting(parser)
    for action, run in (
        (listing, _list),
        (show, _show),
        (wait, _wait),
        (cancel, _cancel),
        (retry, _retry),
        (follow, _follow),
    ):
        add_common(action)
        action.set_defaults(run=run)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=device_name, default="", metavar="NAME", help="only of this one")
    parser.add_argument("--status", default="", type=_status, choices=STATUSES, help="only those")
    parser.add_argument("--operation", default="", choices=tuple(Kind), help="only those")
    parser.add_argument("--search", default="", metavar="TEXT", help="in names, paths and answers")
    parser.add_argument(
        "--limit", type=int, default=SHOWN, metavar="N", help=f"at most so many ({SHOWN}); 0: all"
    )


def _status(text: str) -> str:
    """Its name in any case."""
    return text.upper() if text.upper() in set(Status) else text


def _list(options: argparse.Namespace) -> int:
    items = console(options).items(
        "/operations",
        most=options.limit if options.limit > 0 else None,
        endpoint=options.device,
        status=options.status,
        operation=options.operation,
        q=options.search,
    )
    if options.json:
        return say_json(items)
    rows = [
        (
            str(item["id"]),
            item["endpoint"],
            item["operation"],
            " ".join(item["paths"]),
            item["status"],
            item["asked_by"],
            moment(item["created_ms"]),
            f"{item['code']} {item['message']}".strip(),
        )
        for item in items
    ]
    say_table(("ID", "DEVICE", "OPERATION", "PATHS", "STATUS", "BY", "ASKED", "ANSWER"), rows)
    return DONE


def _show(options: argparse.Namespace) -> int:
    box = console(options)
    state = box.get(f"/operations/{options.id}")
    if options.json:
        return say_json(state)
    _say(box, state)
    return DONE


def _wait(options: argparse.Namespace) -> int:
    box = console(options)
    states = [box.get(f"/operations/{number}") for number in options.ids]
    states = wait_for(box, options, states, options.wait)
    return report(box, options, states, several=len(states) > 1)


def _cancel(options: argparse.Namespace) -> int:
    state = console(options).delete(f"/operations/{options.id}")
    if options.json:
        return say_json(state)
    print(f"Operation {state['id']} is cancelled.")
    return DONE


def _retry(options: argparse.Namespace) -> int:
    box = console(options)
    states = wait_for(box, options, [box.post(f"/operations/{options.id}/retry")], options.wait)
    return report(box, options, states, several=False)


def _follow(options: argparse.Namespace) -> int:
    """Until whoever reads has had enough: the stream does not end by itself."""
    with console(options).listen("/stream", endpoint=options.device) as events:
        for name, data in events:
            if name == "operation":
                print(json.dumps(data, ensure_ascii=False) if options.json else _line(data), flush=True)
    return DONE


def _line(data: Mapping[str, Any]) -> str:
    parts = (
        moment(data["time_ms"], seconds=True),
        str(data["id"]),
        data["endpoint"],
        data["operation"],
        " ".join(data["paths"]),
        data["status"],
        data["code"],
        data["message"],
    )
    line = "  ".join(part for part in parts if part)
    return clean(line, len(line))


def _say(box: Console, state: Mapping[str, Any]) -> None:
    wanted = [f"{one['path']}={shown(one['value'], one['data_type'])}" for one in state["wanted"]]
    wanted += [name if text is None else f"{name}={text}" for name, text in state["attributes"].items()]
    fields = [
        ("Operation", f"{state['id']}, {state['operation']}"),
        ("Device", state["endpoint"]),
        ("Paths", " ".join(state["paths"])),
        ("Values", " ".join(wanted)),
        ("Arguments", state["arguments"]),
        ("Status", state["status"]),
        ("Asked", f"{moment(state['created_ms'], seconds=True)} by {state['asked_by']}"),
        ("Again for", "" if state["retry_of"] is None else f"operation {state['retry_of']}"),
        ("Deadline", moment(state["deadline_ms"], "", seconds=True)),
        ("Since", moment(state["changed_ms"], seconds=True)),
        ("Answer", f"{state['code']} {state['message']}".strip()),
        ("Made", state["location"]),
        ("Hint", state["hint"]),
    ]
    say_fields([(name, clean(text, 1024)) for name, text in fields])
    if state["attempts_made"]:
        print()
        _say_attempts(state)
    if state["values"]:
        print()
        say_values(box, [state])
    if state["links"]:
        print()
        say_links(state["links"])


def _say_attempts(state: Mapping[str, Any]) -> None:
    rows = [
        (
            str(attempt["number"]),
            moment(attempt["started_ms"], seconds=True),
            _took(attempt),
            f"{attempt['code']} {attempt['message']}".strip(),
        )
        for attempt in state["attempts_made"]
    ]
    say_table(("ATTEMPT", "SENT", "TOOK", "ANSWER"), rows)


def _took(attempt: Mapping[str, Any]) -> str:
    if attempt["ended_ms"] is None:
        return "-"
    return f"{(attempt['ended_ms'] - attempt['started_ms']) / 1000:.3f} s"
