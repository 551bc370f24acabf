"""`flownexus firmware update` and what belongs to it: giving a device a firmware, and what became of that.

An update is the daemon's from the moment it has a number: whatever ends the waiting, it goes on.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import ApplianceError, clean
from ..lwm2m.firmware import ENDED as ENDED_STATES
from ..lwm2m.firmware import Delivery, Reason, UpdateState
from .console import Console, Refused, below
from .output import (
    DONE,
    ENDED,
    REFUSED,
    WAITING,
    add_common,
    campaign_id,
    console,
    device_name,
    moment,
    package_name,
    say_fields,
    say_json,
    say_table,
    tell,
    update_id,
    whole_seconds,
)
from .packages import package_named
from .progress import Progress, share

SHOWN: Final = 50
# `--wait` without a number: until it has ended.
FOR_EVER: Final = -1
LOOK_S: Final = 1.0
# A daemon that starts anew is back by then, and goes on with what it had begun.
AWAY_S: Final = 60.0
STATES: Final = (*(one.value for one in UpdateState), "unfinished", "done", "unsuccessful")


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    update = actions.add_parser("update", help="give a device a firmware")
    update.add_argument("name", type=device_name, metavar="NAME", help="the device's endpoint name")
    add_wish(update)
    listing = actions.add_parser("updates", help="updates of devices, the newest first")
    _add_filters(listing)
    status = actions.add_parser("status", help="one update, with every step")
    wait = actions.add_parser("wait", help="wait for an update to end, and show how it goes")
    cancel = actions.add_parser("cancel", help="end an update that does not install yet")
    retry = actions.add_parser("retry", help="do again what an update did: a new update")
    for action in (status, wait, cancel, retry):
        action.add_argument("id", type=update_id, metavar="ID", help="the update's number")
    for action in (update, retry):
        _add_waiting(action, 0, "show how it goes, until it has ended or so long; without, it is begun alone")
    _add_waiting(wait, FOR_EVER, "so long (until it has ended)")
    for action, run in (
        (update, _update),
        (listing, _list),
        (status, _status),
        (wait, _wait),
        (cancel, _cancel),
        (retry, _retry),
    ):
        add_common(action)
        action.set_defaults(run=run)


def add_wish(parser: argparse.ArgumentParser) -> None:
    """Which firmware is to get to devices, and how."""
    parser.add_argument(
        "--firmware",
        type=package_name,
        required=True,
        metavar="ID",
        help="the package's number, or its version",
    )
    parser.add_argument(
        "--delivery", choices=tuple(Delivery), default=None, help="by this (the best that both sides have)"
    )
    parser.add_argument(
        "--instance", metavar="PATH", help="such as 33629/1 (what the device has, 5/0 before 33629/0)"
    )
    parser.add_argument("--anyway", action="store_true", help="also where the package is for other devices")


def wish_of(options: argparse.Namespace) -> dict[str, Any]:
    """What `add_wish` brought, as the API takes it; the package is not in it."""
    wish = {"delivery": options.delivery, "instance": options.instance, "anyway": options.anyway or None}
    return {name: value for name, value in wish.items() if value is not None}


def _add_waiting(parser: argparse.ArgumentParser, default: int, text: str) -> None:
    parser.add_argument(
        "--wait", type=whole_seconds, nargs="?", const=FOR_EVER, default=default, metavar="SECONDS", help=text
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint", type=device_name, default="", metavar="NAME", help="only of this device"
    )
    parser.add_argument(
        "--firmware", type=package_name, default="", metavar="ID", help="only of this package"
    )
    parser.add_argument(
        "--campaign", type=campaign_id, default=None, metavar="ID", help="only of this campaign"
    )
    parser.add_argument("--status", default="", type=_state, choices=STATES, help="only those")
    parser.add_argument("--search", default="", metavar="TEXT", help="in names and details")
    parser.add_argument(
        "--limit", type=whole_seconds, default=SHOWN, metavar="N", help=f"at most so many ({SHOWN}); 0: all"
    )


def _update(options: argparse.Namespace) -> int:
    box = console(options)
    body = {"firmware": package_named(box, options.firmware)["id"], **wish_of(options)}
    return _carry_out(box, options, box.post(below("endpoints", options.name, "/updates"), body))


def _retry(options: argparse.Namespace) -> int:
    box = console(options)
    return _carry_out(box, options, box.post(f"/updates/{options.id}/retry"))


def _wait(options: argparse.Namespace) -> int:
    box = console(options)
    return _carry_out(box, options, box.get(f"/updates/{options.id}"), begun=False)


def _list(options: argparse.Namespace) -> int:
    box = console(options)
    items = box.items(
        "/updates",
        most=options.limit or None,
        endpoint=options.endpoint,
        firmware=str(package_named(box, options.firmware)["id"]) if options.firmware else "",
        campaign="" if options.campaign is None else str(options.campaign),
        state=options.status,
        q=options.search,
    )
    if options.json:
        return say_json(items)
    rows = [
        (
            str(one["id"]),
            one["endpoint"],
            one["version"],
            one["state"],
            one["delivery"] or "-",
            share(one["bytes"], one["size"]),
            moment(one["created_ms"]),
            _why(one),
        )
        for one in items
    ]
    say_table(("ID", "DEVICE", "VERSION", "STATE", "BY", "HAS", "ASKED", "WHY"), rows)
    return DONE


def _status(options: argparse.Namespace) -> int:
    found = console(options).get(f"/updates/{options.id}")
    if options.json:
        return say_json(found)
    say_fields(
        [
            ("Update", str(found["id"])),
            ("Device", clean(found["endpoint"])),
            ("Firmware", f"{found['firmware']}, version {clean(found['version'])}"),
            ("From version", clean(found["from_version"])),
            ("Campaign", str(found["campaign"] or "")),
            ("Instance", found["instance"]),
            ("Delivery", found["delivery"] or ""),
            ("Did not work", ", ".join(found["tried"])),
            ("State", found["state"]),
            ("Why", clean(_why(found), 1024)),
            ("Hint", found["hint"]),
            ("Has", share(found["bytes"], found["size"])),
            ("Attempts", str(found["attempts"])),
            ("Asked", f"{moment(found['created_ms'], seconds=True)} by {clean(found['asked_by'])}"),
            ("Ended", moment(found["ended_ms"] or None, "", seconds=True)),
        ]
    )
    print()
    rows = [_step(step) for step in found["steps"]]
    say_table(("WHEN", "STATE", "WHY"), rows, 256)
    return DONE


def _cancel(options: argparse.Namespace) -> int:
    answer = console(options).delete(f"/updates/{options.id}")
    if options.json:
        return say_json(answer)
    print(f"Update {options.id} of {clean(answer['endpoint'])} is cancelled.")
    return DONE


def _carry_out(box: Console, options: argparse.Namespace, update: Any, *, begun: bool = True) -> int:
    """Wait for an update as long as was asked for, and say what became of it; the exit code.

    `begun`: that it was is what was asked for, where nobody waits.
    """
    if options.wait:
        update = _follow(box, options, update)
    if options.json:
        say_json(update)
    number, name = update["id"], clean(update["endpoint"])
    again = f"do it again: flownexus firmware retry {number}"
    match update["state"]:
        case "SUCCEEDED":
            if not options.json:
                print(f"{name} runs {clean(update['version'])}.")
            return DONE
        case "CANCELLED":
            message = f"update {number} of {name} was cancelled"
            error, code = ApplianceError("update_cancelled", message, again), ENDED
        case "FAILED" | "REVERTED":
            message = f"{name} was not updated: {clean(_why(update), 512)}"
            error, code = ApplianceError("update_failed", message, update["hint"] or again), REFUSED
        case _ if begun and not options.wait:
            if not options.json:
                print(f"Update {number} of {name} to {clean(update['version'])} is begun.")
                print(f"How it goes: flownexus firmware wait {number}")
            return DONE
        case _:
            message = f"update {number} of {name} has not ended yet: it is {update['state']}"
            hint = f"wait on: flownexus firmware wait {number}; end it: flownexus firmware cancel {number}"
            error, code = ApplianceError("update_waiting", message, hint), WAITING
    tell(error, as_json=options.json)
    return code


def _follow(box: Console, options: argparse.Namespace, update: Any) -> Any:
    """Show how an update goes until it has ended, or the time is over; how it stands then."""
    until = None if options.wait == FOR_EVER else time.monotonic() + options.wait
    progress = Progress(quiet=options.json)
    told = 0
    try:
        while True:
            update = _look(box, update["id"])
            told = _say_steps(options, progress, update["steps"], told)
            if update["state"] in ENDED_STATES or (until is not None and time.monotonic() >= until):
                return update
            if update["state"] == UpdateState.DOWNLOADING:
                progress.show(clean(update["endpoint"], 40), update["bytes"], update["size"])
            time.sleep(LOOK_S)
    except Refused:
        raise
    except (KeyboardInterrupt, ApplianceError):
        progress.clear()
        if not options.json:
            again = f"flownexus firmware wait {update['id']}"
            print(f"update {update['id']} goes on; wait again: {again}", file=sys.stderr)
        raise
    finally:
        progress.clear()


def _look(box: Console, number: int) -> Any:
    """How an update stands, also over a restart of the daemon."""
    until = time.monotonic() + AWAY_S
    while True:
        try:
            return box.get(f"/updates/{number}")
        except Refused:
            raise
        except ApplianceError:
            if time.monotonic() >= until:
                raise
        time.sleep(LOOK_S)


def _say_steps(
    options: argparse.Namespace, progress: Progress, steps: Sequence[Mapping[str, Any]], told: int
) -> int:
    """Print the steps that are new; how many have been told now."""
    if not options.json:
        for step in steps[told:]:
            progress.clear()
            line = "  ".join(part for part in _step(step) if part)
            print(clean(line, 512), flush=True)
    return len(steps)


def _step(step: Mapping[str, Any]) -> tuple[str, str, str]:
    return moment(step["time_ms"], seconds=True), step["state"], _why(step) or step["detail"]


def _why(told: Mapping[str, Any]) -> str:
    """Why an update stands where it stands, or came to a step: a sentence with what more is known, or ""."""
    message, detail = str(told["message"]), str(told["detail"])
    if told["reason"] == Reason.RESULT:
        return message  # the detail is the number of what it says
    return f"{message.removesuffix('.')}: {detail}" if message and detail else message


def _state(text: str) -> str:
    """A state's name in any case."""
    return text.upper() if text.upper() in set(UpdateState) else text
