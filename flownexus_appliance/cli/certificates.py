"""`flownexus cert`: the box's certificates, what is valid until when and why; rotation and roll-over."""

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from .output import add_common, console, moment, say_json, say_table

TITLES: Final = {
    "root": "root",
    "cross": "bridge to the newer root",
    "dtls": "for devices",
    "https": "for browsers",
}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("cert", help="the box's certificates")
    add_common(parser)
    parser.set_defaults(run=_list)
    actions = parser.add_subparsers(metavar="ACTION")

    listing = actions.add_parser("list", help="what is valid until when and why")
    rotate = actions.add_parser("rotate", help="make the server's certificates anew now")
    over = actions.add_parser("roll-over", help="make the next root, and trust both for a time")
    ending = over.add_mutually_exclusive_group()
    ending.add_argument("--days", type=int, metavar="N", help="how long both are trusted")
    ending.add_argument("--finish", action="store_true", help="trust the newest root alone from now on")
    ca = actions.add_parser("ca", help="the roots to trust, as PEM")
    ca.add_argument("--out", type=Path, metavar="FILE", help="write them into a file")
    for action, run in ((listing, _list), (rotate, _rotate), (over, _roll_over), (ca, _ca)):
        add_common(action)
        action.set_defaults(run=run)


def _list(options: argparse.Namespace) -> int:
    found = console(options).get("/certificates")
    if options.json:
        return say_json(found)
    if found["doubt"]:
        print(f"No certificate is made now: {found['doubt']}.\n")
    _say(found["items"])
    return 0


def _rotate(options: argparse.Namespace) -> int:
    return _changed(options, console(options).post("/certificates/rotate"))


def _roll_over(options: argparse.Namespace) -> int:
    if options.finish:
        return _changed(options, console(options).post("/certificates/roll-over/finish"))
    body = {} if options.days is None else {"days": options.days}
    return _changed(options, console(options).post("/certificates/roll-over", body))


def _ca(options: argparse.Namespace) -> int:
    pem = console(options).fetch("/certificates/ca.pem").decode()
    if options.out is not None:
        try:
            options.out.write_text(pem, encoding="ascii")
        except OSError as error:
            raise UsageError(
                "file_unusable",
                f"cannot write {options.out}: {error.strerror}",
                "name another file with --out",
            ) from error
    if options.json:
        return say_json({"ca": pem, "file": None if options.out is None else str(options.out)})
    if options.out is None:
        sys.stdout.write(pem)
    return 0


def _changed(options: argparse.Namespace, answer: Any) -> int:
    if options.json:
        return say_json(answer)
    for change in answer["changes"]:
        print(change)
    return 0


def _say(items: list[Any]) -> None:
    rows = [
        (
            TITLES.get(item["kind"], item["kind"]),
            item["state"],
            item["subject"],
            moment(item["trusted_until_ms"]),
            moment(item["next_step_ms"], "-"),
        )
        for item in items
    ]
    say_table(("CERTIFICATE", "STATE", "SUBJECT", "GOOD UNTIL", "NEXT STEP"), rows)
    for item in items:
        title = TITLES.get(item["kind"], item["kind"])
        print(f"\n{title}, {item['subject']}: SHA-256 {item['fingerprint']}")
        print(textwrap.fill(item["reason"], 100, initial_indent="  ", subsequent_indent="  "))
