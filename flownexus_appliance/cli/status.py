"""`flownexus status`: the box at a glance."""

import argparse

from .output import add_common, console, moment, say_fields, say_json


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("status", help="the box at a glance")
    add_common(parser)
    parser.set_defaults(run=_status)


def _status(options: argparse.Namespace) -> int:
    found = console(options).get("/status")
    if options.json:
        return say_json(found)
    counts = ", ".join(f"{count} {state}" for state, count in found["devices"].items())
    enrolment = found["enrolment"]
    signing = found["certificates_doubt"]
    say_fields(
        [
            ("Version", found["version"]),
            ("Devices", counts),
            ("Reached at", ", ".join(found["uris"]) or "no address: CoAP is off"),
            ("Credentials", str(found["credentials"])),
            ("Enrolment", f"open until {moment(enrolment['ends_ms'])}" if enrolment["open"] else "closed"),
            ("Certificates", f"none is made: {signing}" if signing else ""),
            ("Next rotation", moment(found["certificates_next_step_ms"], "")),
        ]
    )
    return 0
