"""Asks for operations, waits for their end, says what became of them and by which exit code.

All commands that have a device do something come here. An operation is the daemon's from the moment it has a
number: whatever ends the waiting, it goes on.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ..errors import ApplianceError, clean
from .console import Console, Refused, below
from .output import (
    DONE,
    ENDED,
    REFUSED,
    WAITING,
    console,
    moment,
    say_json,
    say_table,
    tell,
    whole_seconds,
)

UNFINISHED: Final = ("QUEUED", "SENDING")
DEFAULT_WAIT_S: Final = 30
# A device that listens has answered by then; of one that does not, whoever waits is told.
FIRST_WAIT_S: Final = 1
# Well below what the daemon allows, and a socket that says nothing.
LONGEST_WAIT_S: Final = 60
LONGEST_VALUE: Final = 1024
AWAY: Final = {"sleeping": "sleeps", "offline": "is offline"}


def add_waiting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait",
        type=whole_seconds,
        default=DEFAULT_WAIT_S,
        metavar="SECONDS",
        help=f"for the result ({DEFAULT_WAIT_S}); 0: queue it and return",
    )


def add_deadline(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--deadline", type=whole_seconds, metavar="SECONDS", help="what is not done by then expires"
    )


def perform(
    options: argparse.Namespace, bodies: Sequence[Mapping[str, Any]], *, several: bool = False
) -> int:
    """Ask the device for operations and say what became of them; the exit code.

    `bodies` are as POST operations takes them. `several`: the answer in JSON is a list, even of one.
    """
    box = console(options)
    address = below("endpoints", options.name, "/operations")

    def ask(body: Mapping[str, Any]) -> list[Any]:
        given = {name: value for name, value in body.items() if value is not None}
        return [box.post(address, with_deadline(options, given))]

    return carry_out(box, options, [partial(ask, body) for body in bodies], several=several)


def carry_out(
    box: Console, options: argparse.Namespace, asks: Sequence[Callable[[], list[Any]]], *, several: bool
) -> int:
    """Call what asks for operations, one after another, and say what became of them; the exit code."""
    states, code = ask_all(options, asks)
    states = wait_for(box, options, states, options.wait)
    return worst([code, report(box, options, states, several=several)])


def ask_all(options: argparse.Namespace, asks: Sequence[Callable[[], list[Any]]]) -> tuple[list[Any], int]:
    """Queue operations; their states, and the exit code so far. Raises Refused where the first is refused.

    Nothing is waited for here, so that their numbers are known whatever comes.
    """
    states: list[Any] = []
    for ask in asks:
        try:
            states += ask()
        except Refused as error:
            if not states:
                raise
            # Those before it are asked for already: what becomes of them is still told.
            tell(error, as_json=options.json)
            return states, REFUSED
    return states, DONE


def with_deadline(options: argparse.Namespace, body: dict[str, Any]) -> dict[str, Any]:
    """The body of a request with what --deadline says."""
    return body if options.deadline is None else body | {"deadline_s": options.deadline}


def wait_for(box: Console, options: argparse.Namespace, states: Sequence[Any], wait_s: float) -> list[Any]:
    """Wait for operations until they have ended, or so many seconds have passed; their states then."""
    latest = list(states)
    left = wait_s
    step, told = FIRST_WAIT_S, False
    try:
        for index, state in enumerate(states):
            while latest[index]["status"] in UNFINISHED and left > 0:
                latest[index], took = _wait_once(box, state["id"], max(1, min(step, int(left))))
                left -= took
                step = LONGEST_WAIT_S
                if latest[index]["status"] in UNFINISHED and not told:
                    told = True
                    _say_what_it_waits_for(box, options, latest)
    except Refused:
        raise
    except (KeyboardInterrupt, ApplianceError):
        _say_it_goes_on(options, latest)
        raise
    return latest


def _wait_once(box: Console, number: int, seconds: int) -> tuple[Any, float]:
    """Let the daemon wait so long; the operation then, and how long that took."""
    before = time.monotonic()
    state = box.get(f"/operations/{number}", wait=str(seconds))
    took = time.monotonic() - before
    # A daemon that is about to stop may answer early: that must not become a busy loop.
    return state, max(seconds, took) if state["status"] in UNFINISHED else took


def report(box: Console, options: argparse.Namespace, states: Sequence[Any], *, several: bool) -> int:
    """Say what became of operations: results on standard output, why there is none on standard error."""
    if options.json:
        say_json({"operations": list(states)} if several else states[0])
    else:
        _say_results(box, [state for state in states if state["status"] == "CONFIRMED"])
    waited: list[Any] = []
    for state in states:
        if state["status"] in UNFINISHED and not options.wait:
            if not options.json:
                print(f"Operation {state['id']} is queued for {clean(state['endpoint'])}.")
        else:
            waited.append(state)
    return tell_failures(options, waited)


def tell_failures(options: argparse.Namespace, states: Sequence[Any]) -> int:
    """Say of each operation that is not CONFIRMED why; the exit code."""
    codes = []
    for state in states:
        found = _failure(state)
        if found is not None:
            error, code = found
            tell(error, as_json=options.json)
            codes.append(code)
    return worst(codes)


def worst(codes: Iterable[int]) -> int:
    """The exit code of several operations: what failed says more than what is still to come."""
    found = set(codes)
    return next((code for code in (REFUSED, ENDED, WAITING) if code in found), DONE)


def shown(value: object, data_type: str = "") -> str:
    """A value for people: a time as a date, everything else as it is typed on the command line."""
    if data_type == "time" and isinstance(value, int):
        return moment(value * 1000, seconds=True)
    return value if isinstance(value, str) else json.dumps(value)


def say_values(box: Console, states: Sequence[Any]) -> None:
    """The values that operations brought, with what the device's object models call them."""
    rows: list[tuple[str, ...]] = []
    known: dict[str, Mapping[str, tuple[str, str]]] = {}
    for state in states:
        if state["endpoint"] not in known:
            known[state["endpoint"]] = names_of(box, state["endpoint"])
        names = known[state["endpoint"]]
        for value in state["values"]:
            name, units = names.get(value["path"], ("", ""))
            # Without a time of the device's own, a value is of the moment that it came.
            time_ms = state["changed_ms"] if value["time_ms"] is None else value["time_ms"]
            cells = (name, shown(value["value"], value["data_type"]), units, moment(time_ms, seconds=True))
            rows.append((value["path"], *cells))
    say_table(("PATH", "NAME", "VALUE", "UNITS", "TIME"), rows, LONGEST_VALUE)


def say_links(links: Sequence[Any]) -> None:
    """What a Discover found."""
    rows = [
        (
            link["path"],
            " ".join(name if text is None else f"{name}={text}" for name, text in link["attributes"].items()),
        )
        for link in links
    ]
    say_table(("PATH", "ATTRIBUTES"), rows, LONGEST_VALUE)


def _say_results(box: Console, states: Sequence[Any]) -> None:
    if any(state["values"] for state in states):
        say_values(box, states)
    for state in states:
        if state["links"]:
            say_links(state["links"])
        elif state["location"]:
            print(f"Created {clean(state['location'])}.")
        elif state["cut"]:
            print(f"Operation {state['id']} brought too many values to be kept; the resources have them.")
        elif not state["values"]:
            print(f"Operation {state['id']} is CONFIRMED: {state['code'] or 'done'}.")


def _failure(state: Any) -> tuple[ApplianceError, int] | None:
    """Why an operation has not been done, and the exit code of that; None where it has."""
    number, name = state["id"], clean(state["endpoint"])
    what = f"{state['operation']} of {clean(', '.join(state['paths']))}"
    again = f"ask again: flownexus op retry {number}"
    match state["status"]:
        case "CONFIRMED":
            return None
        case "FAILED":
            said = clean(" ".join(filter(None, (state["code"], state["message"]))))
            message = f"{name} did not do the {what}: {said}"
            # What a device refuses for a reason (4.xx) it refuses again.
            hint = state["hint"] or ("" if state["code"].startswith("4.") else again)
            return ApplianceError("operation_failed", message, hint), REFUSED
        case "EXPIRED":
            message = f"operation {number} expired: {name} did not do the {what} by its deadline"
            return ApplianceError("operation_expired", message, again), ENDED
        case "CANCELLED":
            message = f"operation {number}, a {what} on {name}, was cancelled"
            return ApplianceError("operation_cancelled", message, again), ENDED
    message = f"operation {number} still waits for {name}"
    hint = f"wait on: flownexus op wait {number}; end it: flownexus op cancel {number}"
    return ApplianceError("operation_waiting", message, hint), WAITING


def names_of(box: Console, endpoint: str) -> Mapping[str, tuple[str, str]]:
    """What the resources of a device are called, and their units, by path."""
    try:
        items = box.get(below("endpoints", endpoint, "/resources"))["items"]
    except Refused:
        return {}  # a table without names is one too
    return {item["path"]: (item["name"], item["units"]) for item in items}


def _say_what_it_waits_for(box: Console, options: argparse.Namespace, states: Sequence[Any]) -> None:
    """Once, to people: nobody should wonder why nothing happens."""
    endpoint = states[0]["endpoint"]
    away = AWAY.get(box.get(below("endpoints", endpoint))["state"])
    if away is not None and not options.json:
        numbers, one = _waiting(states)
        what = f"operation {numbers} waits" if one else f"operations {numbers} wait"
        print(f"{clean(endpoint)} {away}; {what} for it", file=sys.stderr)


def _say_it_goes_on(options: argparse.Namespace, states: Sequence[Any]) -> None:
    numbers, one = _waiting(states)
    if numbers and not options.json:
        what = f"operation {numbers} goes on" if one else f"operations {numbers} go on"
        print(f"{what}; wait again: flownexus op wait {numbers.replace(',', '')}", file=sys.stderr)


def _waiting(states: Sequence[Any]) -> tuple[str, bool]:
    """The numbers of those that have not ended, and whether that is one."""
    numbers = [str(state["id"]) for state in states if state["status"] in UNFINISHED]
    return ", ".join(numbers), len(numbers) == 1
