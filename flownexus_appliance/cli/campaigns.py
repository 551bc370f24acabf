"""`flownexus firmware campaign`: a firmware for a set of devices, a few at a time."""

import argparse
import re
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ..errors import UsageError, clean
from ..lwm2m.firmware import UNSUCCESSFUL, CampaignState, UpdateState
from .export import UNITS
from .output import (
    DONE,
    add_common,
    campaign_id,
    console,
    device_name,
    moment,
    say_fields,
    say_json,
    say_table,
)
from .packages import package_named
from .updates import add_wish, wish_of

# What the API calls what the options say of devices.
CHOICE: Final = ("model", "tag", "version")
_AHEAD: Final = re.compile(r"([0-9]{1,9})([smhdw])")


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = actions.add_parser("campaign", help="a firmware for a set of devices, a few at a time")
    verbs = parser.add_subparsers(required=True, metavar="ACTION")
    begin = verbs.add_parser("begin", help="begin a campaign")
    _add_plan(begin)
    listing = verbs.add_parser("list", help="all campaigns, the newest first")
    show = verbs.add_parser("show", help="one campaign, and how many devices stand where")
    pause = verbs.add_parser("pause", help="begin no further device; those that are under way go on")
    resume = verbs.add_parser("resume", help="go on, or start before its time")
    stop = verbs.add_parser("stop", help="end it for good; what has not begun is cancelled")
    for action in (show, pause, resume, stop):
        action.add_argument("id", type=campaign_id, metavar="ID", help="the campaign's number")
    for action, state in (
        (pause, CampaignState.PAUSED),
        (resume, CampaignState.RUNNING),
        (stop, CampaignState.STOPPED),
    ):
        action.set_defaults(to=state)
    for action, run in (
        (begin, _begin),
        (listing, _list),
        (show, _show),
        (pause, _steer),
        (resume, _steer),
        (stop, _steer),
    ):
        add_common(action)
        action.set_defaults(run=run)


def _add_plan(parser: argparse.ArgumentParser) -> None:
    add_wish(parser)
    parser.add_argument("--name", metavar="TEXT", help="what the campaign is called")
    parser.add_argument(
        "--endpoint",
        dest="endpoints",
        type=device_name,
        action="append",
        default=[],
        metavar="NAME",
        help="this device; again for more (all that the package is for)",
    )
    parser.add_argument("--model", metavar="MODEL", help="devices whose model number (3/0/1) is this")
    parser.add_argument("--tag", metavar="TAG", help="devices that have this tag")
    parser.add_argument("--version", metavar="VERSION", help="devices that run this version")
    parser.add_argument("--at-once", type=int, metavar="N", help="devices under way at a time, at most (20)")
    parser.add_argument(
        "--failure-limit",
        type=int,
        metavar="PERCENT",
        help="pause when more than so many of those that ended have failed (10)",
    )
    parser.add_argument("--start", type=ahead, metavar="TIME", help="2026-03-01T02:00, or 12h from now (now)")
    parser.add_argument("--dry-run", action="store_true", help="only tell which devices it would have")


def ahead(text: str) -> int:
    """A time to come, ms since 1970 UTC: a date and time, here where it names no zone, or in how long: 30s,
    15m, 12h, 7d, 4w."""
    found = _AHEAD.fullmatch(text)
    if found is not None:
        return int(time.time() * 1000) + int(found[1]) * UNITS[found[2]] * 1000
    try:
        return max(0, round(datetime.fromisoformat(text).timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(
            f"no time: {clean(text, 40)}; write 2026-03-01T02:00, or 12h for in 12 hours"
        ) from None


def _begin(options: argparse.Namespace) -> int:
    choice = {name: getattr(options, name) for name in CHOICE if getattr(options, name) is not None}
    if options.endpoints and choice:
        raise UsageError(
            "options_conflict",
            "devices are either named or chosen by what they are",
            "leave out --endpoint, or --model, --tag and --version",
        )
    box = console(options)
    body = {
        "firmware": package_named(box, options.firmware)["id"],
        "name": options.name,
        "endpoints": options.endpoints or None,
        "at_once": options.at_once,
        "failure_limit": options.failure_limit,
        "starts_ms": options.start,
        **choice,
        **wish_of(options),
    }
    plan = {name: value for name, value in body.items() if value is not None}
    if options.dry_run:
        return _preview(options, box.post("/campaigns/preview", plan))
    answer = box.post("/campaigns", plan)
    if options.json:
        return say_json(answer)
    campaign = answer["campaign"]
    what = _devices(answer["devices"])
    version = clean(campaign["version"])
    print(f"Campaign {campaign['id']} gives {what} version {version}; it is {campaign['state']}.")
    _say_left_out(answer["left_out"])
    return DONE


def _preview(options: argparse.Namespace, answer: Any) -> int:
    if options.json:
        return say_json(answer)
    print(f"It would have {_devices(answer['devices'])}.")
    for endpoint in answer["endpoints"]:
        print(f"  {clean(endpoint)}")
    _say_left_out(answer["left_out"])
    return DONE


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _say_left_out(left_out: Sequence[Any]) -> None:
    if left_out:
        print()
        rows = [(one["endpoint"], one["message"] or one["why"]) for one in left_out]
        say_table(("LEFT OUT", "WHY"), rows)


def _list(options: argparse.Namespace) -> int:
    items = console(options).items("/campaigns")
    if options.json:
        return say_json(items)
    rows = [
        (
            str(one["id"]),
            one["name"],
            one["version"],
            one["state"],
            str(one["devices"]),
            *_counted(one["counts"]),
            moment(one["created_ms"]),
            one["asked_by"],
        )
        for one in items
    ]
    say_table(("ID", "NAME", "VERSION", "STATE", "DEVICES", "DONE", "FAILED", "ASKED", "BY"), rows)
    return DONE


def _counted(counts: Mapping[str, int]) -> tuple[str, str]:
    """How many devices are done, and have failed."""
    failed = sum(counts.get(state, 0) for state in UNSUCCESSFUL)
    return str(counts.get(UpdateState.SUCCEEDED, 0)), str(failed)


def _show(options: argparse.Namespace) -> int:
    found = console(options).get(f"/campaigns/{options.id}")
    if options.json:
        return say_json(found)
    _say(found)
    return DONE


def _steer(options: argparse.Namespace) -> int:
    changed = console(options).patch(f"/campaigns/{options.id}", {"state": options.to})
    if options.json:
        return say_json(changed)
    print(f"Campaign {changed['id']} is {changed['state']}.")
    return DONE


def _say(found: Mapping[str, Any]) -> None:
    say_fields(
        [
            ("Campaign", str(found["id"])),
            ("Name", clean(found["name"])),
            ("Firmware", f"{found['firmware']}, version {clean(found['version'])}"),
            ("State", found["state"]),
            ("Why", clean(found["message"], 512)),
            ("Instance", found["instance"]),
            ("Delivery", found["delivery"] or "the best of each device"),
            ("At once", _devices(found["at_once"])),
            ("Failure limit", f"{found['failure_limit']} %"),
            ("Starts", moment(found["starts_ms"], "")),
            ("Asked", f"{moment(found['created_ms'])} by {clean(found['asked_by'])}"),
        ]
    )
    print()
    rows = [(state.value, str(count)) for state in UpdateState if (count := found["counts"].get(state, 0))]
    say_table(("STATE", "DEVICES"), rows)
    print(f"\nDevice by device: flownexus firmware updates --campaign {found['id']}")
